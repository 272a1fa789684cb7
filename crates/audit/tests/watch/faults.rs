//! What can go wrong with a capture: order, repetition, loss, cuts, damage. No panic, and never a stronger claim than on the whole.

use std::collections::BTreeSet;

use gatepost_audit::watch::event::Event;
use gatepost_audit::watch::{Watcher, file};
use gatepost_testkit::capture::{Capture, Packet, Speaker};

use super::support::{connection, watch, watch_file, watcher};

const SUBMISSION: &str = "
    S: 220 mx.example.org ESMTP
    C: EHLO client.example.net
    S: 250-mx.example.org
    + 250-STARTTLS
    + 250 AUTH PLAIN
    C: AUTH PLAIN AGFubmEAcGVuY2ls
    S: 235 ok
    C: MAIL FROM:<a@example.net>
    S: 250 ok
    C: RCPT TO:<b@example.org>
    S: 250 ok
    C: DATA
    S: 354 go on
    C: Subject: x
    +
    + text
    + .
    S: 250 queued
    C: QUIT
    S: 221 bye";
const FOUND: [&str; 3] = ["W101", "W201", "W312"];
/// What is said of the capture rather than of the session.
const ABOUT_CAPTURES: [&str; 4] = ["W901", "W902", "W903", "W904"];
/// What may be said when it was not seen whether STARTTLS was offered.
const WEAKER: [&str; 2] = ["W202", "W106"];

/// A generator of numbers that is the same every time (`SplitMix64`).
struct Numbers(u64);

impl Numbers {
    fn next(&mut self, below: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut value = self.0;
        value = (value ^ value >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        value = (value ^ value >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        usize::try_from((value ^ value >> 31) % below as u64).unwrap()
    }
}

fn assert_no_stronger(capture: &Capture, what: &str) {
    let told = watch(capture);
    for id in told.ids() {
        let known = FOUND.contains(&id) || ABOUT_CAPTURES.contains(&id) || WEAKER.contains(&id);
        assert!(known, "{id} after {what}: {:?}", told.findings);
    }
}

#[test]
fn the_order_of_packets_does_not_matter() {
    let whole = connection(587, SUBMISSION);
    assert_eq!(watch(&whole).ids(), FOUND);
    for seed in 0..300 {
        let mut shuffled = whole.clone();
        let mut numbers = Numbers(seed);
        for at in (1..shuffled.packets.len()).rev() {
            shuffled.packets.swap(at, numbers.next(at + 1));
        }
        let told = watch(&shuffled);
        let ids: Vec<_> = told.ids();
        assert_eq!(ids, FOUND, "seed {seed}: {:?}", told.findings);
    }
}

#[test]
fn packets_seen_twice_are_seen_once() {
    let mut capture = connection(587, SUBMISSION);
    let twice = capture
        .packets
        .iter()
        .flat_map(|it| [it.clone(), it.clone()]);
    capture.packets = twice.collect();
    assert_eq!(watch(&capture).ids(), FOUND);
    let again = capture.packets.clone();
    capture.packets.extend(again);
    assert_eq!(watch(&capture).ids(), FOUND);
}

#[test]
fn lost_packets_make_no_stronger_claim() {
    let whole = connection(587, SUBMISSION);
    for lost in 0..whole.packets.len() {
        let mut capture = whole.clone();
        capture.packets.remove(lost);
        assert_no_stronger(&capture, &format!("losing packet {lost}"));
    }
    for seed in 0..200 {
        let mut numbers = Numbers(seed);
        let mut capture = whole.clone();
        capture.packets.retain(|_| numbers.next(3) > 0);
        assert_no_stronger(&capture, &format!("losing a third, seed {seed}"));
    }
}

#[test]
fn a_gap_before_tls_is_told() {
    let mut capture = Capture::new();
    let mut call = capture.call(25);
    capture.say(&mut call, Speaker::Server, b"220 mx ESMTP\r\n");
    capture.say(&mut call, Speaker::Client, b"EHLO c\r\n");
    capture.say_unseen(&mut call, Speaker::Server, b"250-mx\r\n250 STARTTLS\r\n");
    capture.say(&mut call, Speaker::Client, b"QUIT\r\n");
    capture.say(&mut call, Speaker::Server, b"221 bye\r\n");
    capture.close(&mut call);
    assert_eq!(watch(&capture).ids(), ["W901"]);
}

#[test]
fn a_capture_of_one_side_claims_what_that_side_shows() {
    let whole = connection(587, SUBMISSION);
    let from_client = |it: &&Packet| it.octets[34..36] != 587_u16.to_be_bytes();
    let (client, server): (Vec<_>, Vec<_>) = whole.packets.iter().partition(from_client);
    let one = |packets: Vec<&Packet>| {
        let mut capture = Capture::new();
        capture.packets = packets.into_iter().cloned().collect();
        capture
    };
    let told = watch(&one(client));
    assert_eq!(told.ids(), ["W101", "W202", "W904"]);
    assert_eq!(
        told.find("W101").login.as_ref().unwrap().ending.word(),
        "unknown"
    );
    let ids: BTreeSet<_> = watch(&one(server)).ids().into_iter().collect();
    assert_eq!(ids, BTreeSet::from(["W106", "W312", "W904"]));
}

#[test]
fn other_content_sent_again_is_told() {
    let mut capture = Capture::new();
    let mut call = capture.call(25);
    capture.say(&mut call, Speaker::Server, b"220 mx ESMTP\r\n");
    capture.say(&mut call, Speaker::Client, b"EHLO c\r\n");
    capture.say(&mut call, Speaker::Server, b"250-mx\r\n250 STARTTLS\r\n");
    let honest = capture.clone();
    capture.say_again(&call, Speaker::Server, b"250-mx\r\n250 XTARTTLS\r\n");
    assert_eq!(watch(&capture).ids(), ["W905"]);
    // The same again is nothing, nor is a keep-alive.
    let mut capture = honest;
    capture.say_again(&call, Speaker::Server, b"250-mx\r\n250 STARTTLS\r\n");
    capture.say_again(&call, Speaker::Server, b"\0");
    assert!(watch(&capture).ids().is_empty());
}

#[test]
fn a_reset_from_elsewhere_is_told() {
    for (hops, ids) in [(64, &["W303"][..]), (30, &["W303", "W906"])] {
        let mut capture = Capture::new();
        let mut call = capture.call(25);
        capture.say(&mut call, Speaker::Server, b"220 mx ESMTP\r\n");
        capture.say(&mut call, Speaker::Client, b"EHLO c\r\n");
        capture.say(&mut call, Speaker::Server, b"250-mx\r\n250 STARTTLS\r\n");
        capture.say(&mut call, Speaker::Client, b"STARTTLS\r\n");
        capture.say(&mut call, Speaker::Server, b"220 go\r\n");
        capture.reset(&call, Speaker::Server, hops);
        assert_eq!(watch(&capture).ids(), ids);
    }
}

#[test]
fn a_reset_that_is_not_counted_with_its_flow_is_told() {
    let upgrading = |counts: bool, id: Option<u16>| {
        let mut capture = Capture::new();
        let mut call = capture.call(25);
        if counts {
            call.count_datagrams(500, 65_000);
        }
        capture.say(&mut call, Speaker::Server, b"220 mx ESMTP\r\n");
        capture.say(&mut call, Speaker::Client, b"EHLO c\r\n");
        for line in [
            "250-mx\r\n",
            "250-PIPELINING\r\n",
            "250-SIZE\r\n",
            "250 STARTTLS\r\n",
        ] {
            capture.say(&mut call, Speaker::Server, line.as_bytes());
        }
        capture.say(&mut call, Speaker::Client, b"STARTTLS\r\n");
        capture.say(&mut call, Speaker::Server, b"220 go\r\n");
        match id {
            Some(id) => capture.reset_numbered(&call, Speaker::Server, id),
            None => capture.reset(&call, Speaker::Server, 64),
        }
        watch(&capture).ids()
    };
    assert_eq!(upgrading(true, Some(30_000)), ["W303", "W906"]);
    // The next one, one that was counted for others between, and none, which kernels write that know nothing of the connection.
    assert_eq!(upgrading(true, None), ["W303"]);
    assert_eq!(upgrading(true, Some(200)), ["W303"]);
    assert_eq!(upgrading(true, Some(0)), ["W303"]);
    // Who does not count may give any number.
    assert_eq!(upgrading(false, Some(30_000)), ["W303"]);
}

#[test]
fn a_connection_that_was_open_before() {
    let mut capture = Capture::new();
    let mut call = capture.call_unseen(25);
    capture.say(&mut call, Speaker::Client, b"MAIL FROM:<a@example.net>\r\n");
    capture.say(&mut call, Speaker::Server, b"250 ok\r\n");
    capture.say(&mut call, Speaker::Client, b"DATA\r\n");
    capture.say(&mut call, Speaker::Server, b"354 go\r\n");
    capture.say(&mut call, Speaker::Client, b"text\r\n.\r\n");
    capture.say(&mut call, Speaker::Server, b"250 ok\r\n");
    assert_eq!(watch(&capture).ids(), ["W202", "W903"]);
}

#[test]
fn every_cut_of_the_segments_tells_the_same() {
    let whole = connection(587, SUBMISSION);
    for size in [1, 2, 3, 7, 16] {
        let mut capture = Capture::new();
        let mut call = capture.call(587);
        for packet in &whole.packets {
            let payload = &packet.octets[54..];
            let from_server = packet.octets[34..36] == 587_u16.to_be_bytes();
            let speaker = if from_server {
                Speaker::Server
            } else {
                Speaker::Client
            };
            for part in payload.chunks(size) {
                capture.say(&mut call, speaker, part);
            }
        }
        capture.close(&mut call);
        assert_eq!(watch(&capture).ids(), FOUND, "{size}");
    }
}

#[test]
fn packets_cut_short_make_no_stronger_claim() {
    let whole = connection(587, SUBMISSION);
    for kept in (0..140).step_by(3) {
        let mut capture = whole.clone();
        for packet in &mut capture.packets {
            packet.octets.truncate(kept);
        }
        assert_no_stronger(&capture, &format!("cutting at {kept}"));
    }
}

#[test]
fn damaged_files_are_survived() {
    let file = connection(587, SUBMISSION).to_pcap();
    for cut in (0..file.len()).step_by(5) {
        watch_file(&file[..cut], watcher());
    }
    for at in 0..file.len() {
        let mut file = file.clone();
        file[at] ^= 1 << (at % 8);
        watch_file(&file, watcher());
    }
}

#[test]
fn many_connections_are_read_in_bounded_memory() {
    let mut capture = Capture::new();
    let mut half_open = capture.call(25);
    capture.say(&mut half_open, Speaker::Server, b"220 mx ESMTP\r\n");
    capture.say(&mut half_open, Speaker::Client, b"EHLO c\r\n");
    for _ in 0..2000 {
        capture.call(25);
    }
    capture.say(
        &mut half_open,
        Speaker::Server,
        b"250-mx\r\n250 AUTH PLAIN\r\n",
    );
    let mut watcher = watcher();
    watcher.limit_flows(64);
    let told = watch_file(&capture.to_pcap(), watcher);
    // The flood of openings did not push out what was half read.
    assert_eq!(told.ids(), ["W312"]);
}

#[test]
fn a_server_that_stops_offering_is_missed() {
    let dialogue = |offer: &str| {
        format!(
            "S: 220 mx\nC: EHLO c\nS: 250-mx\n+ 250-{offer}\n+ 250 8BITMIME\nC: QUIT\nS: 221 bye"
        )
    };
    let mut capture = Capture::new();
    for offer in ["STARTTLS", "STARTTLS", "STARTTLS", "PIPELINING"] {
        let mut call = capture.call(25);
        super::support::play(&mut capture, &mut call, &dialogue(offer));
        capture.close(&mut call);
    }
    let told = watch(&capture);
    assert_eq!(told.ids(), ["W307"]);
    assert_eq!(told.sessions.last().unwrap().outcome.word(), "stripped");
}

#[test]
fn two_points_that_disagree_are_told() {
    use gatepost_audit::watch::compare::Point;
    let here = connection(
        25,
        "S: 220 mx\nC: EHLO c\nS: 250-mx\n+ 250 STARTTLS\nC: QUIT\nS: 221 bye",
    );
    let there = connection(
        25,
        "S: 220 mx\nC: EHLO c\nS: 250-mx\n+ 250 XTARTTLS\nC: QUIT\nS: 221 bye",
    );
    let mut point = Point::default();
    watch(&here).sessions.iter().for_each(|it| point.add(it));
    let same: Vec<_> = watch(&here)
        .sessions
        .iter()
        .flat_map(|it| point.compare(it))
        .collect();
    assert!(same.is_empty());
    let differing: Vec<_> = watch(&there)
        .sessions
        .iter()
        .flat_map(|it| point.compare(it))
        .collect();
    assert_eq!(differing.len(), 1);
}

/// Reads a capture with an engine that goes on: the numbers of its sessions, and the rules that were told.
fn read(watcher: &mut Watcher, capture: &Capture) -> (Vec<u32>, Vec<&'static str>) {
    for packet in &capture.packets {
        watcher.packet(&file::Packet {
            link: 1,
            time: packet.time,
            octets: &packet.octets,
            length: packet.octets.len(),
        });
    }
    watcher.finish();
    let (mut numbers, mut ids) = (Vec::new(), Vec::new());
    for event in watcher.take_events() {
        match event {
            Event::Session(it) => numbers.push(it.number),
            Event::Finding(it) => ids.push(it.id),
        }
    }
    (numbers, ids)
}

#[test]
fn parts_of_an_engine_share_what_they_know_and_no_number() {
    let greeted = |offer: &str| {
        let text =
            format!("S: 220 mx ESMTP\nC: EHLO c\nS: 250-mx\n+ 250 {offer}\nC: QUIT\nS: 221 bye");
        connection(25, &text)
    };
    let (offered, missing) = (greeted("STARTTLS"), greeted("SIZE"));
    let mut whole = watcher();
    let (mut first, mut second) = (whole.split(0, 2), whole.split(1, 2));
    let mut alone = watcher();
    let mut numbers = Vec::new();
    for _ in 0..3 {
        let (number, ids) = read(&mut first, &offered);
        assert!(ids.is_empty(), "{ids:?}");
        numbers.extend(number);
    }
    let (number, ids) = read(&mut second, &missing);
    numbers.extend(number);
    // One saw what the server offers, the other that it does not any more.
    assert_eq!(ids, ["W307"]);
    assert!(read(&mut alone, &missing).1.is_empty());
    assert_eq!(numbers, [0, 2, 4, 1]);
    whole.join(&first);
    whole.join(&second);
    assert_eq!(whole.counters().flows, 4);
    assert_eq!(read(&mut whole, &missing).0, [6]);
}
