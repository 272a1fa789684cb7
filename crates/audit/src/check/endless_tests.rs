//! Servers that never come to an end: what they say is cut, time and connections are bounded, and nothing is concluded from it.

use std::io::{Read as _, Write as _};
use std::net::{IpAddr, Ipv4Addr, TcpListener, TcpStream};
use std::sync::Arc;
use std::time::{Duration, Instant};

use gatepost_net::client::dial::Dialer;
use gatepost_trust::verify::Roots;

use super::examine::{Means, Tier, examine};
use super::facts::{Facts, GreetingKind, HelloAnswer, Seen};
use super::judge::judge;
use super::profile::{DEFAULT, Profile};
use super::target::{Protocol, Role, Start, Target};
use crate::finding::Status;

const PATIENCE: Duration = Duration::from_secs(2);

/// Looks at a server that says this again and again, with a pause in between, after the first words.
async fn look(
    protocol: Protocol,
    first: &'static str,
    again: &'static str,
    pause: Duration,
) -> Facts {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            std::thread::spawn(move || talk(stream, first, again, pause));
        }
    });
    let target = Target {
        host: "mail.example.test".to_owned(),
        address: IpAddr::V4(Ipv4Addr::LOCALHOST),
        port,
        protocol,
        start: Start::StartTls,
        role: Role::Mx,
    };
    let means = Means {
        dialer: Arc::new(Dialer::default()),
        roots: Arc::new(Roots::none()),
        name: "examiner.example.test".to_owned(),
        patience: PATIENCE,
        tier: Tier::Deep,
        budget: 130,
        at_once: 8,
        nonce: "gp0123456789abcdef".to_owned(),
        mailbox: None,
    };
    let begun = Instant::now();
    let facts = examine(&target, &means, 1).await;
    // One greeting's patience, and room for a busy machine.
    assert!(begun.elapsed() < PATIENCE * 8, "{:?}", begun.elapsed());
    facts
}

fn talk(mut stream: TcpStream, first: &str, again: &str, pause: Duration) -> std::io::Result<()> {
    stream.set_write_timeout(Some(Duration::from_secs(20)))?;
    stream.write_all(first.as_bytes())?;
    if !first.is_empty() {
        // The rest is the answer to a command.
        let _ = stream.read(&mut [0; 64])?;
    }
    loop {
        stream.write_all(again.as_bytes())?;
        std::thread::sleep(pause);
    }
}

/// Octets that go on for ever where the answer to a hello should be, on a port for implicit TLS.
async fn flood(octets: &'static [u8]) -> Facts {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            std::thread::spawn(move || {
                let _ = stream.read(&mut [0; 4096]);
                let many = octets.repeat(1000);
                while stream.write_all(&many).is_ok() {}
            });
        }
    });
    let target = super::probes::lab::target(port, Protocol::Imap, Start::Implicit);
    let means = Means {
        patience: PATIENCE,
        ..super::probes::lab::means(Tier::Default)
    };
    let begun = Instant::now();
    let facts = examine(&target, &means, 1).await;
    assert!(begun.elapsed() < PATIENCE * 8, "{:?}", begun.elapsed());
    facts
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn records_without_an_end_end_and_tell_nothing() {
    // HelloRequest, and a warning nobody minds: both may stand before the answer.
    for octets in [
        &[22, 3, 3, 0, 4, 0, 0, 0, 0][..],
        &[21, 3, 3, 0, 2, 1, 112][..],
    ] {
        let facts = flood(octets).await;
        let mut known = facts.hellos.values().filter_map(Seen::known);
        assert!(!known.any(HelloAnswer::is_tls), "{:?}", facts.hellos);
        // More than any answer is enough; nobody waits for the end of his patience.
        let cut = |it: &Seen<HelloAnswer>| matches!(it, Seen::Unknown { why, .. } if why.contains("does not end"));
        assert!(facts.hellos.values().any(cut), "{:?}", facts.hellos);
    }
}

/// Everything is told in few words, over one connection, and nothing but that the door is open is a pass.
fn holds(facts: &Facts) {
    assert_eq!(facts.connections, 1);
    let kept = serde_json::to_string(facts).unwrap();
    assert!(kept.len() < 16 * 1024, "{} octets are kept", kept.len());
    let judged = judge(facts, &Profile::find(DEFAULT).unwrap());
    for check in &judged.checks {
        assert!(check.evidence.len() < 2048, "{}", check.rule.id);
        let is_open = check.rule.id == "NET-001";
        assert!(
            is_open || check.status != Status::Pass,
            "{}: {}",
            check.rule.id,
            check.evidence
        );
    }
    let reached = judged
        .checks
        .iter()
        .find(|it| it.rule.id == "NET-003")
        .unwrap();
    assert_eq!(reached.status, Status::Inconclusive);
}

#[tokio::test]
async fn a_greeting_without_an_end_is_cut() {
    let flood = look(
        Protocol::Smtp,
        "",
        "220-more and more and more and more\r\n",
        Duration::ZERO,
    )
    .await;
    let drip = look(
        Protocol::Smtp,
        "",
        "220-more\r\n",
        Duration::from_millis(50),
    )
    .await;
    let line = look(
        Protocol::Imap,
        "",
        "* OK and on and on and on",
        Duration::ZERO,
    )
    .await;
    for facts in [flood, drip, line] {
        let greeting = facts.greeting.known().unwrap();
        assert_eq!(greeting.kind, GreetingKind::Endless, "{greeting:?}");
        assert!(greeting.text.chars().count() <= 513);
        assert!(facts.stopped.as_deref().unwrap().contains("does not end"));
        holds(&facts);
    }
}

#[tokio::test]
async fn an_answer_without_an_end_is_cut_too() {
    let facts = look(
        Protocol::Smtp,
        "220 mail.example.test ESMTP\r\n",
        "250-MORE\r\n",
        Duration::ZERO,
    )
    .await;
    assert!(facts.clear.known().is_none(), "{:?}", facts.clear);
    let kept = serde_json::to_string(&facts).unwrap();
    assert!(kept.len() < 16 * 1024, "{} octets are kept", kept.len());
}
