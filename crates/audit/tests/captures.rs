//! Real captures of other projects, with the verdicts they must yield. They are not part of this project: the folder is named by the variable
//! `GATEPOST_CAPTURES`, and without it these tests say that they were skipped.

use std::collections::BTreeSet;
use std::path::PathBuf;

use gatepost_audit::watch::Watcher;
use gatepost_audit::watch::certificates::Judge;
use gatepost_audit::watch::event::Event;
use gatepost_audit::watch::file::{Reader, Step};
use gatepost_audit::watch::privacy::Privacy;

/// What came of a capture: `(session, rule)`, and `(session, protocol, outcome, version of TLS)`.
#[derive(Debug, Default)]
struct Told {
    findings: Vec<(u32, &'static str, String)>,
    sessions: Vec<(u32, &'static str, &'static str, Option<u16>)>,
}

impl Told {
    fn has(&self, session: u32, id: &str) -> bool {
        self.findings.iter().any(|it| it.0 == session && it.1 == id)
    }

    fn count(&self, id: &str) -> usize {
        self.findings.iter().filter(|it| it.1 == id).count()
    }

    fn ids(&self) -> BTreeSet<&'static str> {
        self.findings.iter().map(|it| it.1).collect()
    }

    fn has_none_of(&self, ids: &[&str]) -> bool {
        ids.iter().all(|id| self.count(id) == 0)
    }
}

const IN_CLEAR: [&str; 3] = ["W201", "W202", "W203"];

fn watch(name: &str) -> Option<Told> {
    let Some(folder) = std::env::var_os("GATEPOST_CAPTURES") else {
        eprintln!("skipped: GATEPOST_CAPTURES names no folder");
        return None;
    };
    let octets = std::fs::read(PathBuf::from(folder).join(name)).expect(name);
    let mut watcher = Watcher::new(Privacy::new([1; 32], false), Judge::new(None));
    let mut reader = Reader::new();
    let mut rest = octets.as_slice();
    loop {
        match reader.next().expect(name) {
            Step::Packet(packet) => watcher.packet(&packet),
            Step::NeedMore => {
                let space = reader.space();
                let count = space.len().min(rest.len());
                space[..count].copy_from_slice(&rest[..count]);
                reader.filled(count);
                rest = &rest[count..];
                if count == 0 {
                    reader.end();
                }
            }
            Step::End { .. } => break,
        }
    }
    watcher.finish();
    let mut told = Told::default();
    for event in watcher.take_events() {
        match event {
            Event::Finding(it) => {
                told.findings
                    .push((it.session.unwrap_or(u32::MAX), it.id, it.evidence));
            }
            Event::Session(it) => told.sessions.push((
                it.number,
                it.protocol.word(),
                it.outcome.word(),
                it.tls.and_then(|it| it.version),
            )),
        }
    }
    Some(told)
}

#[test]
fn smtp_with_starttls() {
    let Some(told) = watch("z-smtp-starttls.pcap") else {
        return;
    };
    assert_eq!(told.sessions, [(0, "smtp", "upgraded", Some(0x0303))]);
    assert!(told.has(0, "W508"));
    assert!(told.has_none_of(&["W201", "W202", "W203", "W301", "W302", "W401"]));
}

#[test]
fn pop3_with_stls() {
    let Some(told) = watch("z-pop3-starttls.pcap") else {
        return;
    };
    assert_eq!(told.sessions, [(0, "pop3", "upgraded", Some(0x0303))]);
    assert!(told.has_none_of(&["W103", "W301", "W302"]));
}

#[test]
fn imaps() {
    let Some(told) = watch("z-imaps.pcap") else {
        return;
    };
    assert_eq!(told.sessions, [(0, "imap", "Encrypted", Some(0x0303))]);
    assert!(told.has_none_of(&["W401"]));
}

#[test]
fn pop3_logins() {
    let Some(told) = watch("z-pop3-logins.pcap") else {
        return;
    };
    let logins: Vec<(u32, &str)> = told
        .findings
        .iter()
        .filter(|it| it.1 == "W103")
        .map(|it| (it.0, it.2.as_str()))
        .collect();
    assert_eq!(
        logins,
        [
            (3, "PLAIN before TLS, rejected"),
            (5, "PLAIN before TLS, accepted"),
            (6, "PLAIN before TLS, accepted")
        ]
    );
    assert!(told.has(6, "W203") && told.has(3, "W312"));
    assert!(told.has_none_of(&["W401"]));
}

#[test]
fn what_is_not_mail() {
    for name in [
        "z-redis.pcap",
        "z-vlan-collisions.pcap",
        "z-xmpp-starttls.pcap",
        "s-sll2.pcap",
    ] {
        let Some(told) = watch(name) else { return };
        assert!(
            told.findings.is_empty() && told.sessions.is_empty(),
            "{name}: {told:?}"
        );
    }
}

#[test]
fn one_side_of_smtp() {
    let Some(told) = watch("z-smtp-one-side.pcap") else {
        return;
    };
    assert_eq!(told.count("W202"), 2);
    assert!(told.has(0, "W904") && told.count("W201") == 0);
}

#[test]
fn auth_login_among_other_connections() {
    let Some(told) = watch("z-smtp-auth-login.pcap") else {
        return;
    };
    assert!(
        told.findings
            .iter()
            .any(|it| it.0 == 0 && it.1 == "W101" && it.2.ends_with("accepted"))
    );
    assert!(told.has(0, "W201") && told.has(2, "W202"));
    assert!(told.findings.iter().all(|it| matches!(it.0, 0 | 2)));
}

#[test]
fn starttls_that_was_offered_and_ignored() {
    let Some(told) = watch("z-smtp-clear-starttls-ignored.pcap") else {
        return;
    };
    assert!(told.has(0, "W201") && told.count("W101") == 0);
}

#[test]
fn packets_cut_short() {
    let Some(told) = watch("z-truncated.pcap") else {
        return;
    };
    assert_eq!(told.ids(), BTreeSet::from(["W902"]));
}

#[test]
fn old_tls() {
    let Some(told) = watch("a-smtp-starttls-tls10-rc4.pcap") else {
        return;
    };
    assert_eq!(told.sessions, [(0, "smtp", "upgraded", Some(0x0301))]);
    assert!(told.has(0, "W501") && told.has(0, "W502") && told.has_none_of(&IN_CLEAR));
}

#[test]
fn clear_text_after_220() {
    let Some(told) = watch("a-smtp-clear-after-220.pcap") else {
        return;
    };
    for session in 0..4 {
        assert!(
            told.has(session, "W302") && told.has(session, "W201"),
            "{session}"
        );
    }
    assert!(told.sessions.iter().all(|it| it.2 == "Clear") && told.sessions.len() == 4);
}

#[test]
fn auth_plain_in_a_line_of_its_own() {
    let Some(told) = watch("a-submission-auth-plain-continuation.pcap") else {
        return;
    };
    assert!(
        told.findings
            .iter()
            .any(|it| it.1 == "W101" && it.2.ends_with("accepted"))
    );
    assert!(told.has(0, "W201") && told.count("W301") == 0);
}

#[test]
fn smtp_inside_socks() {
    let Some(told) = watch("a-smtp-in-socks5.pcap") else {
        return;
    };
    assert_eq!(told.sessions, [(0, "smtp", "Clear", None)]);
    assert_eq!(told.count("W101"), 0);
}

#[test]
fn tls13_hides_the_certificate() {
    let Some(told) = watch("s-smtp-starttls-tls13.pcap") else {
        return;
    };
    assert_eq!(told.sessions, [(0, "smtp", "upgraded", Some(0x0304))]);
    assert!(told.has(0, "W510") && told.has_none_of(&["W504", "W505", "W506"]));
}

#[test]
fn something_else_after_starttls() {
    let Some(told) = watch("s-http-after-starttls.pcap") else {
        return;
    };
    assert!(told.has(0, "W302") && told.has(0, "W602"));
    assert_eq!(told.sessions, [(0, "smtp", "failed", None)]);
}

#[test]
fn a_banner_in_clear_on_465() {
    let Some(told) = watch("s-clear-banner-on-465.pcap") else {
        return;
    };
    assert!(told.has(0, "W401"));
    assert_eq!(told.sessions, [(0, "smtp", "failed", None)]);
}

#[test]
fn a_token_in_clear() {
    let Some(told) = watch("s-pop3-xoauth2-clear.pcap") else {
        return;
    };
    assert!(told.has(0, "W104") && told.count("W103") == 0);
}
