//! Every rule has a sample in which it is found, and a neighbour, as well formed and nearly the same, in which it is not.
//!
//! The list of rules is the table itself: a rule without samples fails here. All samples are then damaged: cut, shuffled, repeated, flipped.

use std::collections::BTreeMap;

use gatepost_audit::watch::compare::Point;
use gatepost_audit::watch::event::Event;
use gatepost_audit::watch::honey::Honey;
use gatepost_audit::watch::log::LogWatcher;
use gatepost_audit::watch::privacy::Privacy;
use gatepost_testkit::capture::{Call, Capture, Speaker};

use super::support::{connection, play, watch, watch_file, watcher};
use super::tls;

/// A capture or a log.
pub(crate) enum Sample {
    Packets(Capture),
    /// Judged by the authorities of the tests of TLS.
    Handshake(tls::Recorded),
    /// Seen at two points.
    Two(Capture, Capture),
    /// A link type nobody knows.
    Link(Vec<u8>),
    Log(&'static str),
}

impl Sample {
    fn ids(&self) -> Vec<&'static str> {
        match self {
            Self::Packets(capture) => watch(capture).ids(),
            Self::Handshake(recorded) => recorded.watch().ids(),
            Self::Link(file) => watch_file(file, watcher()).ids(),
            Self::Two(here, there) => {
                let mut point = Point::default();
                watch(here).sessions.iter().for_each(|it| point.add(it));
                let told = watch(there);
                let events = told.sessions.iter().flat_map(|it| point.compare(it));
                events
                    .filter_map(|it| match it {
                        Event::Finding(it) => Some(it.id),
                        Event::Session(_) => None,
                    })
                    .collect()
            }
            Self::Log(lines) => {
                let privacy = Privacy::new([3; 32], false);
                let honey = Honey::new("decoy77@example.org", &[], &privacy);
                let mut log = LogWatcher::new(privacy);
                log.seek(honey.unwrap());
                log.push(lines.as_bytes());
                log.finish();
                let events = log.take_events().into_iter();
                events
                    .filter_map(|it| match it {
                        Event::Finding(it) => Some(it.id),
                        Event::Session(_) => None,
                    })
                    .collect()
            }
        }
    }

    /// As files.
    pub(crate) fn files(&self) -> Vec<Vec<u8>> {
        match self {
            Self::Packets(capture) => vec![capture.to_pcap()],
            Self::Handshake(recorded) => vec![recorded.capture.to_pcap()],
            Self::Two(here, there) => vec![here.to_pcap(), there.to_pcap()],
            Self::Link(file) => vec![file.clone()],
            Self::Log(_) => Vec::new(),
        }
    }
}

const EHLO: &str =
    "S: 220 mx.example.org ESMTP\nC: EHLO c.example.net\nS: 250-mx.example.org\n+ 250 STARTTLS";
const EHLO_WITHOUT: &str =
    "S: 220 mx.example.org ESMTP\nC: EHLO c.example.net\nS: 250-mx.example.org\n+ 250 8BITMIME";
const SUBMIT: &str = "S: 220 mx.example.org ESMTP\nC: EHLO c.example.net\nS: 250-mx.example.org\n+ 250 STARTTLS\nC: AUTH PLAIN AGFubmEAcGVuY2ls\nS: 235 ok";
const SUBMIT_NOT: &str = "S: 220 mx.example.org ESMTP\nC: EHLO c.example.net\nS: 250-mx.example.org\n+ 250 STARTTLS\nC: AUTH LOGIN\nS: 503 not now";
const LETTER: &str = "C: MAIL FROM:<a@example.net>\nS: 250 ok\nC: RCPT TO:<b@example.org>\nS: 250 ok\nC: DATA\nS: 354 go\nC: text\n+ .\nS: 250 queued\nC: QUIT\nS: 221 bye";
const IMAP: &str = "S: * OK [CAPABILITY IMAP4rev1 STARTTLS LOGINDISABLED] ready";
const IMAP_OPEN: &str = "S: * OK [CAPABILITY IMAP4rev1 STARTTLS AUTH=PLAIN] ready";
const POP3: &str = "S: +OK ready";
const SIEVE: &str = "S: \"IMPLEMENTATION\" \"x\"\n+ \"SASL\" \"\"\n+ \"SIEVE\" \"fileinto\"\n+ \"STARTTLS\"\n+ OK \"ready\"";
const BYE: &str = "C: QUIT\nS: 221 bye";
const LOGOUT: &str = "C: z LOGOUT\nS: * BYE\n+ z OK";

/// Rule, port, what is said where it is found, what is said where it is not.
const DIALOGUES: &[(&str, u16, &[&str], &[&str])] = &[
    ("W101", 587, &[SUBMIT], &[SUBMIT_NOT]),
    (
        "W102",
        143,
        &[IMAP_OPEN, "C: a LOGIN anna pencil\nS: a OK done"],
        &[IMAP_OPEN, "C: a LOGOUT\nS: a OK done"],
    ),
    (
        "W103",
        110,
        &[POP3, "C: USER anna\nS: +OK\nC: PASS pencil\nS: +OK"],
        &[POP3, "C: USER anna\nS: -ERR not here\nC: QUIT\nS: +OK"],
    ),
    (
        "W104",
        143,
        &[
            IMAP,
            "C: a AUTHENTICATE XOAUTH2 dXNlcj1hbm5hAWF1dGg9QmVhcmVyIHRva2VuAQE=\nS: a OK done",
        ],
        &[
            IMAP,
            "C: a AUTHENTICATE XOAUTH2\nS: a NO not here\nC: b LOGOUT\nS: b OK",
        ],
    ),
    (
        "W105",
        110,
        &[
            "S: +OK ready <1.2@mx.example.org>",
            "C: APOP anna c4c9334bac560ecc979e58001b3e22fb\nS: +OK",
        ],
        &[
            "S: +OK ready <1.2@mx.example.org>",
            "C: CAPA\nS: +OK\n+ .\nC: QUIT\nS: +OK",
        ],
    ),
    (
        "W107",
        110,
        &[POP3, "C: USER anna\nS: -ERR no"],
        &[POP3, "C: CAPA\nS: +OK\n+ USER\n+ .\nC: QUIT\nS: +OK"],
    ),
    (
        "W108",
        4190,
        &[
            SIEVE,
            "C: AUTHENTICATE \"PLAIN\" \"AGFubmEAcGVuY2ls\"\nS: OK",
        ],
        &[
            SIEVE,
            "C: AUTHENTICATE \"PLAIN\"\nS: NO (ENCRYPT-NEEDED) \"no\"",
        ],
    ),
    ("W201", 25, &[EHLO, LETTER], &[EHLO_WITHOUT, LETTER]),
    ("W202", 25, &[EHLO_WITHOUT, LETTER], &[EHLO_WITHOUT, BYE]),
    (
        "W203",
        110,
        &[
            POP3,
            "C: USER anna\nS: +OK\nC: PASS pencil\nS: +OK\nC: RETR 1\nS: +OK\n+ Subject: x\n+\n+ y\n+ .",
        ],
        &[
            POP3,
            "C: USER anna\nS: +OK\nC: PASS pencil\nS: +OK\nC: RETR 1\nS: -ERR no such message",
        ],
    ),
    (
        "W204",
        4190,
        &[SIEVE, "C: GETSCRIPT \"x\"\nS: {5}\n+ keep;\n+ OK"],
        &[SIEVE, "C: GETSCRIPT \"x\"\nS: NO (NONEXISTENT) \"no\""],
    ),
    (
        "W301",
        4190,
        &[SIEVE, "C: STARTTLS\nS: NO \"not now\""],
        &[SIEVE, "C: LOGOUT\nS: OK"],
    ),
    (
        "W302",
        4190,
        &[SIEVE, "C: STARTTLS\nS: OK\nC: NOOP\nS: OK"],
        &[SIEVE, "C: NOOP\nS: OK"],
    ),
    (
        "W304",
        4190,
        &[SIEVE, "C: STARTTLS\n+ NOOP\nS: NO\n+ OK"],
        &[SIEVE, "C: STARTTLS\nS: NO\nC: NOOP\nS: OK"],
    ),
    (
        "W305",
        4190,
        &[SIEVE, "C: STARTTLS\nS: OK\n+ \"SASL\" \"PLAIN\"\n+ OK"],
        &[
            SIEVE,
            "C: STARTTLS\nS: NO\nC: CAPABILITY\nS: \"SASL\" \"\"\n+ OK",
        ],
    ),
    (
        "W306",
        4190,
        &[SIEVE, "C: STARTTLS\nC: STARTTLS\nS: NO\n+ NO"],
        &[SIEVE, "C: STARTTLS\nS: NO\nC: STARTTLS\nS: NO"],
    ),
    (
        "W311",
        4190,
        &[
            SIEVE,
            "C: LISTSCRIPTS\nS: BYE (REFERRAL \"sieve://other.example\") \"there\"",
        ],
        &[
            SIEVE,
            "C: LISTSCRIPTS\nS: BYE (TRYLATER) \"sieve://other.example\"",
        ],
    ),
    (
        "W312",
        4190,
        &[
            "S: \"IMPLEMENTATION\" \"x\"\n+ \"SASL\" \"PLAIN\"\n+ \"STARTTLS\"\n+ OK",
            "C: LOGOUT\nS: OK",
        ],
        &[SIEVE, "C: LOGOUT\nS: OK"],
    ),
    (
        "W301",
        25,
        &[EHLO, "C: STARTTLS\nS: 454 not now", BYE],
        &[EHLO, BYE],
    ),
    (
        "W302",
        25,
        &[EHLO, "C: STARTTLS\nS: 220 go\nC: NOOP\nS: 250 ok"],
        &[EHLO, "C: NOOP\nS: 250 ok"],
    ),
    (
        "W304",
        25,
        &[EHLO, "C: STARTTLS\n+ RSET\nS: 454 no\n+ 250 ok"],
        &[EHLO, "C: STARTTLS\nS: 454 no\nC: RSET\nS: 250 ok"],
    ),
    (
        "W305",
        110,
        &[POP3, "C: STLS\nS: +OK go\n+ +OK logged in"],
        &[POP3, "C: STLS\nS: -ERR no\nC: NOOP\nS: +OK"],
    ),
    (
        "W306",
        25,
        &[EHLO, "C: STARTTLS\nC: STARTTLS\nS: 454 no\n+ 454 no"],
        &[EHLO, "C: STARTTLS\nS: 454 no\nC: STARTTLS\nS: 454 no"],
    ),
    (
        "W307",
        25,
        &[
            "S: 220 mx\nC: EHLO c\nS: 250-mx.example.org\n+ 250-XXXXXXXA\n+ 250 8BITMIME",
            BYE,
        ],
        &[
            "S: 220 mx\nC: EHLO c\nS: 250-XXXXXXXA.example.org\n+ 250 8BITMIME",
            BYE,
        ],
    ),
    (
        "W308",
        143,
        &["S: * PREAUTH ready", LOGOUT],
        &["S: * OK ready", LOGOUT],
    ),
    (
        "W310",
        143,
        &[IMAP, "C: a STARTTLS\nS: * 3 EXISTS\n+ a NO no"],
        &[IMAP, "C: a STARTTLS\nS: * OK still here\n+ a NO no"],
    ),
    (
        "W311",
        143,
        &[
            IMAP,
            "C: a LOGIN anna pencil\nS: a NO [REFERRAL imap://other.example/] there",
        ],
        &[
            IMAP,
            "C: a LOGIN anna pencil\nS: a NO [UNAVAILABLE] imap://other.example/",
        ],
    ),
    (
        "W312",
        587,
        &[
            "S: 220 mx ESMTP\nC: EHLO c\nS: 250-mx\n+ 250 AUTH PLAIN",
            BYE,
        ],
        &["S: 220 mx ESMTP\nC: EHLO c\nS: 250-mx\n+ 250 SIZE", BYE],
    ),
    (
        "W313",
        143,
        &[IMAP, "C: a LOGIN anna pencil\nS: a NO no"],
        &[IMAP_OPEN, "C: a LOGIN anna pencil\nS: a NO no"],
    ),
    ("W401", 993, &[IMAP, LOGOUT], &[]),
    (
        "W402",
        25,
        &["C: GET / HTTP/1.1\n+ Host: x\n+\nS: HTTP/1.1 400 no"],
        &[EHLO, BYE],
    ),
    (
        "W601",
        25,
        &[
            EHLO,
            "C: MAIL FROM:<a@b.example>\nS: 250 ok\nC: DATA\nS: 354 go\nC: a\\n.\\r\\n\\\n+ .\nS: 250 ok",
        ],
        &[
            EHLO,
            "C: MAIL FROM:<a@b.example>\nS: 250 ok\nC: DATA\nS: 354 go\nC: a\n+ ..\n+ .\nS: 250 ok",
        ],
    ),
    (
        "W602",
        25,
        &["S: 220 mx\nC: EHLO c\n+ NOOP\nS: 250 mx\n+ 250 ok"],
        &["S: 220 mx\nC: EHLO c\nS: 250 mx\nC: NOOP\nS: 250 ok"],
    ),
];

fn said(port: u16, parts: &[&str]) -> Sample {
    Sample::Packets(connection(port, &parts.join("\n")))
}

fn begun() -> (Capture, Call) {
    let mut capture = Capture::new();
    let mut call = capture.call(25);
    play(&mut capture, &mut call, EHLO);
    (capture, call)
}

/// Rules about what a dialogue alone does not show.
fn others() -> Vec<(&'static str, Sample, Sample)> {
    let mut samples = about_captures();
    samples.push((
        "W108",
        Sample::Log("Nov 26 18:00:00 mx dovecot: managesieve-login: Login: user=<anna>, method=PLAIN, rip=192.0.2.7, lip=198.51.100.1, session=<a>\n"),
        Sample::Log("Nov 26 18:00:00 mx dovecot: managesieve-login: Login: user=<anna>, method=PLAIN, rip=192.0.2.7, lip=198.51.100.1, TLS, session=<a>\n"),
    ));
    samples.push((
        "W109",
        Sample::Log("Nov 26 18:00:00 mx dovecot: imap-login: Login: user=<decoy77@example.org>, method=PLAIN, rip=192.0.2.7, lip=198.51.100.1, TLS, session=<a>\n"),
        Sample::Log("Nov 26 18:00:00 mx dovecot: imap-login: Login: user=<decoy78@example.org>, method=PLAIN, rip=192.0.2.7, lip=198.51.100.1, TLS, session=<a>\n"),
    ));
    samples.push(("W106", one_sided("235 ok\r\n"), one_sided("535 no\r\n")));
    samples.push(("W309", twice(1_000_000), twice(301_000_000)));
    samples.push(("W906", reset(30), reset(64)));
    samples.extend(tls::samples());
    samples
}

fn one_sided(verdict: &str) -> Sample {
    let mut capture = Capture::new();
    let mut call = capture.call_unseen(587);
    for reply in [
        "220 mx ESMTP\r\n",
        "250 mx\r\n",
        "334 \r\n",
        verdict,
        "221 bye\r\n",
    ] {
        capture.say(&mut call, Speaker::Server, reply.as_bytes());
    }
    Sample::Packets(capture)
}

/// A refusal, and after some time a mail in clear.
fn twice(pause: u64) -> Sample {
    let mut capture = Capture::new();
    let mut first = capture.call(25);
    play(
        &mut capture,
        &mut first,
        &[EHLO, "C: STARTTLS\nS: 454 not now", BYE].join("\n"),
    );
    capture.close(&mut first);
    capture.wait(pause);
    let mut second = capture.call(25);
    play(&mut capture, &mut second, &[EHLO, LETTER].join("\n"));
    capture.close(&mut second);
    Sample::Packets(capture)
}

fn reset(hops: u8) -> Sample {
    let (mut capture, mut call) = begun();
    play(&mut capture, &mut call, "C: STARTTLS\nS: 220 go");
    capture.reset(&call, Speaker::Server, hops);
    Sample::Packets(capture)
}

fn about_captures() -> Vec<(&'static str, Sample, Sample)> {
    let whole = || said(25, &[EHLO, BYE]);
    let gap = {
        let mut capture = Capture::new();
        let mut call = capture.call(25);
        capture.say(&mut call, Speaker::Server, b"220 mx ESMTP\r\n");
        capture.say(&mut call, Speaker::Client, b"EHLO c\r\n");
        capture.say_unseen(&mut call, Speaker::Server, b"250-mx\r\n250 STARTTLS\r\n");
        play(&mut capture, &mut call, BYE);
        capture.close(&mut call);
        Sample::Packets(capture)
    };
    let mut short = connection(25, &[EHLO, BYE].join("\n"));
    let last = short.packets.len() - 3;
    short.packets[last].octets.truncate(56);
    let unseen = {
        let mut capture = Capture::new();
        let mut call = capture.call_unseen(25);
        play(&mut capture, &mut call, LETTER);
        Sample::Packets(capture)
    };
    let again = |octets: &[u8]| {
        let (mut capture, call) = begun();
        capture.say_again(&call, Speaker::Server, octets);
        Sample::Packets(capture)
    };
    let link = |number: u32| {
        let mut file = connection(25, &[EHLO, BYE].join("\n")).to_pcap();
        file[20..24].copy_from_slice(&number.to_le_bytes());
        Sample::Link(file)
    };
    vec![
        ("W901", gap, whole()),
        ("W902", Sample::Packets(short), whole()),
        ("W903", unseen, whole()),
        ("W904", one_sided("235 ok\r\n"), whole()),
        (
            "W905",
            again(b"250-mx.example.org\r\n250 XTARTTLS\r\n"),
            again(b"250-mx.example.org\r\n250 STARTTLS\r\n"),
        ),
        ("W907", link(147), link(1)),
    ]
}

/// All samples: rule, found in, not found in.
pub(crate) fn samples() -> Vec<(&'static str, Sample, Sample)> {
    let mut samples = others();
    for (id, port, found, neighbour) in DIALOGUES {
        let neighbour = if neighbour.is_empty() {
            // On its own port the same is right.
            said(143, found)
        } else {
            said(*port, neighbour)
        };
        samples.push((id, said(*port, found), neighbour));
    }
    samples
}

#[test]
fn every_rule_has_a_sample_and_a_neighbour() {
    let samples = samples();
    let table = include_str!("../../src/rules/watch.tsv");
    let rules: Vec<&str> = table
        .lines()
        .filter(|it| it.starts_with('W'))
        .filter_map(|it| it.split('\t').next())
        .collect();
    assert!(rules.len() > 40, "{}", rules.len());
    let mut wrong = BTreeMap::new();
    for rule in rules {
        let of_rule: Vec<_> = samples.iter().filter(|it| it.0 == rule).collect();
        if of_rule.is_empty() {
            wrong.insert(rule, "no sample".to_owned());
        }
        for (_, found, neighbour) in of_rule {
            let (found, neighbour) = (found.ids(), neighbour.ids());
            if !found.contains(&rule) || neighbour.contains(&rule) {
                wrong.insert(rule, format!("{found:?} and {neighbour:?}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn two_points_are_compared() {
    let here = || connection(25, &[EHLO, BYE].join("\n"));
    let there = || {
        connection(
            25,
            &[EHLO.replace("STARTTLS", "XTARTTLS").as_str(), BYE].join("\n"),
        )
    };
    assert_eq!(Sample::Two(here(), there()).ids(), ["W307"]);
    assert_eq!(Sample::Two(here(), here()).ids(), [""; 0]);
}

/// A generator of numbers that is the same every time (`SplitMix64`).
struct Numbers(u64);

impl Numbers {
    fn next(&mut self, below: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut value = self.0;
        value = (value ^ value >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        value = (value ^ value >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        usize::try_from((value ^ value >> 31) % below.max(1) as u64).unwrap()
    }
}

/// The records of a pcap file, headers included.
fn records(file: &[u8]) -> Vec<&[u8]> {
    let mut records = Vec::new();
    let mut rest = &file[24..];
    while rest.len() >= 16 {
        let length = u32::from_le_bytes(rest[8..12].try_into().unwrap()) as usize;
        let (record, after) = rest.split_at(16 + length);
        records.push(record);
        rest = after;
    }
    records
}

/// Damage of every kind to every sample: nothing falls over, and each run is bounded.
#[test]
fn every_sample_is_damaged_and_survived() {
    let mut numbers = Numbers(7);
    for (_, found, neighbour) in samples() {
        for file in found.files().into_iter().chain(neighbour.files()) {
            for _ in 0..12 {
                let cut = numbers.next(file.len());
                watch_file(&file[..cut], watcher());
                let mut flipped = file.clone();
                for _ in 0..=numbers.next(4) {
                    let at = numbers.next(flipped.len());
                    flipped[at] ^= 1 << numbers.next(8);
                }
                watch_file(&flipped, watcher());
                let mut order = records(&file);
                for at in (1..order.len()).rev() {
                    order.swap(at, numbers.next(at + 1));
                }
                let twice = order.iter().chain(&order).copied();
                let mut shuffled = file[..24].to_vec();
                shuffled.extend(twice.flatten());
                watch_file(&shuffled, watcher());
            }
        }
    }
}
