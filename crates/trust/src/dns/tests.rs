//! The resolver without servers: replies of real signed zones, recorded (`fixtures/replies.txt`, made by
//! `crates/net/tests/dnssec.rs`), replayed at a fixed time.

use std::collections::HashMap;
use std::pin::pin;
use std::sync::Mutex;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, SystemTime};

use super::*;

const RECORDED: &str = include_str!("fixtures/replies.txt");

/// 2026-01-01.
fn now() -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(1_767_225_600)
}

fn run<T>(future: impl Future<Output = T>) -> T {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(done) => done,
        Poll::Pending => panic!("a record does not wait"),
    }
}

struct Recorded {
    anchor: String,
    verdicts: Vec<(Name, Rtype, String)>,
    replies: HashMap<(Name, Rtype), Vec<u8>>,
}

fn octets(hexadecimal: &str) -> Vec<u8> {
    let pair = |at| u8::from_str_radix(&hexadecimal[at..at + 2], 16).unwrap();
    (0..hexadecimal.len()).step_by(2).map(pair).collect()
}

fn recorded() -> Recorded {
    let mut recorded = Recorded {
        anchor: String::new(),
        verdicts: Vec::new(),
        replies: HashMap::new(),
    };
    for line in RECORDED.lines() {
        let (kind, rest) = line.split_once(' ').unwrap();
        if kind == "anchor" {
            recorded.anchor = rest.into();
            continue;
        }
        let fields: Vec<&str> = rest.splitn(3, ' ').collect();
        let (name, rtype) = (
            fields[0].parse().unwrap(),
            Rtype(fields[1].parse().unwrap()),
        );
        if kind == "verdict" {
            recorded.verdicts.push((name, rtype, fields[2].into()));
        } else {
            recorded
                .replies
                .insert((name, rtype), [vec![0, 7], octets(fields[2])].concat());
        }
    }
    recorded
}

/// Replays; the replies to one question may be changed.
struct Replay<'a> {
    recorded: &'a Recorded,
    changed: Option<((Name, Rtype), Vec<u8>)>,
    asked: Mutex<Vec<(Name, Rtype)>>,
}

impl Transport for Replay<'_> {
    async fn exchange(&self, query: &Query) -> Result<Exchanged, Unanswered> {
        let question = (query.name.clone(), query.rtype);
        self.asked.lock().unwrap().push(question.clone());
        let changed = self
            .changed
            .as_ref()
            .filter(|(about, _)| *about == question);
        let reply = changed.map(|(_, reply)| reply.clone());
        let reply = reply.or_else(|| self.recorded.replies.get(&question).cloned());
        let reply = reply.filter(|reply| query.is_answered_by(7, reply));
        reply
            .map(|reply| Exchanged {
                reply,
                loopback: false,
            })
            .ok_or(Unanswered)
    }
}

fn resolver(
    recorded: &Recorded,
    changed: Option<((Name, Rtype), Vec<u8>)>,
) -> Resolver<Replay<'_>> {
    let replay = Replay {
        recorded,
        changed,
        asked: Mutex::default(),
    };
    Resolver::new(
        replay,
        Validation::Own(Anchors::parse(&recorded.anchor).unwrap()),
        10_000,
    )
}

// [DNSSEC-02] [DNSSEC-03] what real zones said is judged as it was then, when Unbound agreed
#[test]
fn recorded_replies_are_judged_alike() {
    let recorded = recorded();
    let resolver = resolver(&recorded, None);
    assert!(recorded.verdicts.len() > 90);
    for (name, rtype, verdict) in &recorded.verdicts {
        let answer = run(resolver.lookup(name, *rtype, now()));
        assert_eq!(
            format!("{:?}", answer.status),
            *verdict,
            "{name} {}",
            rtype.0
        );
    }
}

// No octet of a reply can be changed so that other records are secure, or that a denial becomes another.
#[test]
fn no_changed_octet_is_believed() {
    let recorded = recorded();
    let name: Name = "_25._tcp.mx.ec".parse().unwrap();
    let honest = run(resolver(&recorded, None).lookup(&name, Rtype::TLSA, now()));
    assert_eq!(honest.status, Status::Secure);
    let absent: Name = "_24._tcp.mx.ec".parse().unwrap();
    let denied = run(resolver(&recorded, None).lookup(&absent, Rtype::TLSA, now()));
    assert_eq!(
        (denied.status, denied.denial),
        (Status::Secure, Some(Denial::NoName))
    );
    let ec: Name = "ec".parse().unwrap();
    let mut believed = 0;
    for (about, asked, expected) in [
        ((name.clone(), Rtype::TLSA), &name, &honest),
        ((ec.clone(), Rtype::DS), &name, &honest),
        ((ec, Rtype::DNSKEY), &name, &honest),
        ((absent.clone(), Rtype::TLSA), &absent, &denied),
    ] {
        let reply = &recorded.replies[&about];
        for at in 2..reply.len() {
            for bit in [1, 0x80] {
                let mut changed = reply.clone();
                changed[at] ^= bit;
                let resolver = resolver(&recorded, Some((about.clone(), changed)));
                let answer = run(resolver.lookup(asked, Rtype::TLSA, now()));
                // A DS or an answer whose rcode is now another one is no forgery of records.
                if answer.status == Status::Secure {
                    believed += 1;
                    assert_eq!(answer.records, expected.records, "octet {at} of {about:?}");
                    assert_eq!(answer.denial.is_some(), expected.denial.is_some());
                } else {
                    assert_ne!(answer.status, Status::Insecure, "octet {at} of {about:?}");
                }
            }
        }
    }
    assert!(believed > 0, "flags and TTLs may change");
}

// [DNSSEC-04] the time of signatures is looked at when they are read, and when they are kept
#[test]
fn signatures_count_at_the_time_they_are_for() {
    let recorded = recorded();
    let name: Name = "_25._tcp.mx.ec".parse().unwrap();
    let status = |seconds| {
        let at = SystemTime::UNIX_EPOCH + Duration::from_secs(seconds);
        run(resolver(&recorded, None).lookup(&name, Rtype::TLSA, at)).status
    };
    // From 2020-01-01 to 2037-01-01.
    assert_eq!(
        status(1_577_836_799),
        Status::Bogus(Bogus::SignatureNotYetValid)
    );
    assert_eq!(status(1_577_836_800), Status::Secure);
    assert_eq!(status(2_114_380_800), Status::Secure);
    assert_eq!(
        status(2_114_380_801),
        Status::Bogus(Bogus::SignatureExpired)
    );
    let resolver = resolver(&recorded, None);
    let end = SystemTime::UNIX_EPOCH + Duration::from_secs(2_114_380_800);
    let answer = run(resolver.lookup(&name, Rtype::TLSA, end - Duration::from_secs(7)));
    assert_eq!(answer.ttl, Duration::from_secs(7));
}

#[test]
fn what_is_known_is_not_asked_for_again() {
    let recorded = recorded();
    let resolver = resolver(&recorded, None);
    let asked = || resolver_questions(&resolver);
    let name: Name = "_25._tcp.mx.ec".parse().unwrap();
    run(resolver.lookup(&name, Rtype::TLSA, now()));
    let words = |(name, rtype): (Name, Rtype)| format!("{name} {}", rtype.0);
    let first: Vec<String> = asked().into_iter().map(words).collect();
    assert_eq!(first, ["_25._tcp.mx.ec 52", ". 48", "ec 43", "ec 48"]);
    run(resolver.lookup(&name, Rtype::TLSA, now()));
    assert_eq!(asked().len(), 4);
    let other: Name = "_24._tcp.mx.ec".parse().unwrap();
    run(resolver.lookup(&other, Rtype::TLSA, now()));
    assert_eq!(asked().len(), 5, "the keys are known");
}

fn resolver_questions(resolver: &Resolver<Replay<'_>>) -> Vec<(Name, Rtype)> {
    resolver.transport().asked.lock().unwrap().clone()
}

#[test]
fn without_a_reply_nothing_is_known() {
    let recorded = recorded();
    let name: Name = "never.recorded".parse().unwrap();
    let answer = run(resolver(&recorded, None).lookup(&name, Rtype::A, now()));
    let unreachable = Status::Indeterminate(Indeterminate::Unreachable);
    assert_eq!(answer, Answer::unknown(unreachable));
}
