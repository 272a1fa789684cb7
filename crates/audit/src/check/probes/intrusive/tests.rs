//! Scripted servers: sound ones, ones with the hole open, and ones that cannot be told. No package has these holes any more.

use std::io::{Read as _, Write as _};
use std::net::{IpAddr, Ipv4Addr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use gatepost_net::client::dial::Dialer;
use gatepost_trust::verify::Roots;
use num_bigint::BigUint;

use super::padding::{Padding, encrypt};
use super::{early_ccs, heartbeat, padding, relay};
use crate::check::budget::{Budget, Crowd};
use crate::check::der::RsaKey;
use crate::check::examine::Tier;
use crate::check::facts::{Provocation, Seen};
use crate::check::probes::Errand;
use crate::check::target::{Protocol, Role, Start, Target};

/// Long enough for a busy machine to answer; waited out only where the script is silent.
const PATIENCE: Duration = Duration::from_secs(3);
const SILENT: Duration = Duration::from_millis(700);

fn errand(port: u16, start: Start, patience: Duration) -> Errand {
    Errand {
        target: Target {
            host: "mail.example.test".to_owned(),
            address: IpAddr::V4(Ipv4Addr::LOCALHOST),
            port,
            protocol: Protocol::Smtp,
            start,
            role: Role::Mx,
        },
        tier: Tier::Deep,
        dialer: Arc::new(Dialer::default()),
        roots: Arc::new(Roots::none()),
        name: "examiner.example.test".to_owned(),
        patience,
        budget: Budget::new(100),
        crowd: Crowd::new(8),
        nonce: "gp0123456789abcdef".to_owned(),
        mailbox: None,
    }
}

/// A server whose connections are numbered from 0. Its thread ends with the test program.
fn serve(script: impl Fn(&mut TcpStream, usize) -> Option<()> + Send + Sync + 'static) -> u16 {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let port = listener.local_addr().unwrap().port();
    let script = Arc::new(script);
    std::thread::spawn(move || {
        for (number, stream) in listener.incoming().flatten().enumerate() {
            let script = Arc::clone(&script);
            std::thread::spawn(move || {
                let mut stream = stream;
                let limit = Some(Duration::from_secs(20));
                stream.set_read_timeout(limit).unwrap();
                let _ = script(&mut stream, number);
            });
        }
    });
    port
}

fn record(kind: u8, payload: &[u8]) -> Vec<u8> {
    let length = u16::try_from(payload.len()).unwrap().to_be_bytes();
    [&[kind, 3, 3][..], &length, payload].concat()
}

fn message(kind: u8, body: &[u8]) -> Vec<u8> {
    let [_, a, b, c] = u32::try_from(body.len()).unwrap().to_be_bytes();
    [&[kind, a, b, c], body].concat()
}

fn alert(stream: &mut TcpStream, number: u8) -> Option<()> {
    stream.write_all(&record(21, &[2, number])).ok()
}

/// The next record: its kind and payload. None at the end.
fn next(stream: &mut TcpStream) -> Option<(u8, Vec<u8>)> {
    let mut header = [0; 5];
    stream.read_exact(&mut header).ok()?;
    let mut payload = vec![0; usize::from(u16::from_be_bytes([header[3], header[4]]))];
    stream.read_exact(&mut payload).ok()?;
    Some((header[0], payload))
}

/// Two primes; their product is as short as a key can be that holds a premaster secret.
fn primes() -> [BigUint; 2] {
    let two = BigUint::from(2u8);
    [two.pow(255) - 19u8, two.pow(256) - 189u8]
}

fn modulus() -> Vec<u8> {
    let [p, q] = primes();
    (p * q).to_bytes_be()
}

fn element(tag: u8, content: &[u8]) -> Vec<u8> {
    let length = u8::try_from(content.len()).unwrap();
    let header = if length < 0x80 {
        vec![tag, length]
    } else {
        vec![tag, 0x81, length]
    };
    [&header, content].concat()
}

/// As much of a certificate as there must be for its key to be found.
fn certificate() -> Vec<u8> {
    let number = |octets: &[u8]| element(2, &[&[0], octets].concat());
    let key = element(0x30, &[number(&modulus()), number(&[1, 0, 1])].concat());
    let spki = [element(0x30, &[]), element(3, &[&[0][..], &key].concat())].concat();
    let nothing = element(0x30, &[]).repeat(4);
    let body = [element(2, &[1]), nothing, element(0x30, &spki)].concat();
    element(0x30, &element(0x30, &body))
}

/// Reads the hello and says all of a server's first words, for RSA key exchange.
fn greet(stream: &mut TcpStream, extensions: &[u8]) -> Option<()> {
    next(stream)?;
    let length = u16::try_from(extensions.len()).unwrap().to_be_bytes();
    let hello = [&[3, 3][..], &[7; 32], &[0, 0, 0x2f, 0], &length, extensions].concat();
    let list = |octets: &[u8]| {
        let [_, a, b, c] = u32::try_from(octets.len()).unwrap().to_be_bytes();
        [&[a, b, c], octets].concat()
    };
    let chain = list(&list(&certificate()));
    let all = [message(2, &hello), message(11, &chain), message(14, &[])].concat();
    stream.write_all(&record(22, &all)).ok()
}

const HEARTBEAT: [u8; 5] = [0, 15, 0, 1, 1];

fn is_unknown(seen: &Seen<Provocation>) -> bool {
    matches!(seen, Seen::Unknown { missing: 1, .. })
}

fn is_refused(seen: &Seen<Provocation>) -> bool {
    matches!(seen, Seen::Known(Provocation::Refused { .. }))
}

fn proof(seen: Seen<Provocation>) -> String {
    match seen {
        Seen::Known(Provocation::Worked { proof }) => proof,
        other => panic!("no proof: {other:?}"),
    }
}

#[tokio::test]
async fn a_server_that_gives_its_memory_away_is_found() {
    let port = serve(|stream, _| {
        greet(stream, &HEARTBEAT)?;
        let (kind, payload) = next(stream)?;
        assert_eq!((kind, payload.as_slice()), (24, &[1, 0, 16][..]));
        let answer = [&[2, 0, 16][..], &[0x5a; 16], &[0; 16]].concat();
        stream.write_all(&record(24, &answer)).ok()
    });
    let seen = heartbeat::run(&errand(port, Start::Implicit, PATIENCE)).await;
    let proof = proof(seen);
    assert!(
        proof.contains("35 octets") && !proof.contains('Z'),
        "{proof}"
    );
}

#[tokio::test]
async fn heartbeats_that_are_passed_over_or_refused_are_sound() {
    let passes_over = serve(|stream, _| {
        greet(stream, &HEARTBEAT)?;
        while next(stream)?.0 != 21 {}
        Some(())
    });
    let refuses = serve(|stream, _| {
        greet(stream, &[])?;
        next(stream)?;
        alert(stream, 10)
    });
    // One that answers only what it holds, though nobody should ask so early.
    let echoes = serve(|stream, _| {
        greet(stream, &HEARTBEAT)?;
        next(stream)?;
        stream.write_all(&record(24, &[2, 0, 0])).ok()
    });
    for port in [passes_over, refuses, echoes] {
        let seen = heartbeat::run(&errand(port, Start::Implicit, PATIENCE)).await;
        assert!(is_refused(&seen), "{seen:?}");
    }
}

#[tokio::test]
async fn silence_proves_nothing() {
    let port = serve(|stream, _| {
        greet(stream, &HEARTBEAT)?;
        while next(stream).is_some() {}
        std::thread::sleep(PATIENCE);
        Some(())
    });
    let errand = errand(port, Start::Implicit, SILENT);
    assert!(is_unknown(&heartbeat::run(&errand).await));
    assert!(is_unknown(&early_ccs::run(&errand, SILENT).await));
}

#[tokio::test]
async fn keys_before_there_are_keys_are_found() {
    let port = serve(|stream, _| {
        greet(stream, &[])?;
        assert_eq!(next(stream)?, (20, vec![1]));
        next(stream)?;
        alert(stream, 20)
    });
    let seen = early_ccs::run(&errand(port, Start::Implicit, PATIENCE), SILENT).await;
    assert!(proof(seen).contains("alert 20"));
}

#[tokio::test]
async fn an_early_ccs_that_is_refused_is_sound_and_a_late_end_says_nothing() {
    let refuses = serve(|stream, _| {
        greet(stream, &[])?;
        next(stream)?;
        alert(stream, 10)
    });
    let seen = early_ccs::run(&errand(refuses, Start::Implicit, PATIENCE), SILENT).await;
    assert!(is_refused(&seen), "{seen:?}");
    let ends_late = serve(|stream, _| {
        greet(stream, &[])?;
        next(stream)?;
        next(stream).map(|_| ())
    });
    let seen = early_ccs::run(&errand(ends_late, Start::Implicit, PATIENCE), SILENT).await;
    assert!(is_unknown(&seen), "{seen:?}");
}

/// Whether a key exchange was padded rightly, as a server with this private key sees it.
fn is_right(payload: &[u8]) -> bool {
    let [p, q] = primes();
    let order = (&p - 1u8) * (&q - 1u8);
    let private = BigUint::from(65_537u32).modinv(&order).unwrap();
    let number = BigUint::from_bytes_be(&payload[6..]);
    let block = number.modpow(&private, &(p * q)).to_bytes_be();
    // The zero in front is not part of a number.
    block.len() == 63 && block[0] == 2 && block[63 - 49] == 0
}

/// What follows the key exchange, to the end of our words.
fn rest(stream: &mut TcpStream) -> Option<()> {
    next(stream)?;
    next(stream).map(|_| ())
}

#[tokio::test]
async fn answers_that_tell_paddings_apart_are_found() {
    let port = serve(|stream, _| {
        greet(stream, &[])?;
        let (_, exchange) = next(stream)?;
        rest(stream)?;
        alert(stream, if is_right(&exchange) { 20 } else { 51 })
    });
    let seen = padding::run(&errand(port, Start::Implicit, PATIENCE), SILENT).await;
    let proof = proof(seen);
    assert!(
        proof.contains("right padding: alert 20") && proof.contains("no zero: alert 51"),
        "{proof}"
    );
}

#[tokio::test]
async fn an_oracle_that_speaks_too_early_is_found() {
    let port = serve(|stream, _| {
        greet(stream, &[])?;
        let (_, exchange) = next(stream)?;
        if is_right(&exchange) {
            rest(stream)?;
            return alert(stream, 20);
        }
        // Where the rest follows at once everything is answered alike.
        stream.set_read_timeout(Some(SILENT / 4)).unwrap();
        let number = if rest(stream).is_some() { 20 } else { 51 };
        alert(stream, number)
    });
    let seen = padding::run(&errand(port, Start::Implicit, PATIENCE), SILENT).await;
    let proof = proof(seen);
    assert!(proof.contains("right padding: no answer"), "{proof}");
}

#[tokio::test]
async fn answers_all_alike_are_sound_and_moody_ones_cannot_be_told() {
    let alike = serve(|stream, _| {
        greet(stream, &[])?;
        next(stream)?;
        rest(stream)?;
        alert(stream, 20)
    });
    let seen = padding::run(&errand(alike, Start::Implicit, PATIENCE), SILENT).await;
    assert!(is_refused(&seen), "{seen:?}");
    let moody = serve(|stream, number| {
        greet(stream, &[])?;
        next(stream)?;
        rest(stream)?;
        alert(stream, if number == 3 { 40 } else { 20 })
    });
    let seen = padding::run(&errand(moody, Start::Implicit, PATIENCE), SILENT).await;
    assert!(is_unknown(&seen), "{seen:?}");
    let modern = serve(|stream, _| {
        next(stream)?;
        alert(stream, 40)
    });
    let seen = padding::run(&errand(modern, Start::Implicit, PATIENCE), SILENT).await;
    assert!(
        matches!(seen, Seen::Known(Provocation::Absent { .. })),
        "{seen:?}"
    );
}

#[test]
fn blocks_are_what_they_are_called() {
    let secret = [0x77; 48];
    let n = modulus();
    let key = RsaKey {
        modulus: &n,
        exponent: &[1, 0, 1],
    };
    for padding in Padding::ALL {
        let block = padding.block(n.len(), &secret).unwrap();
        assert_eq!(block.len(), 64);
        let exchange = [&[16, 0, 0, 66, 0, 64], encrypt(&block, key).as_slice()].concat();
        let is_padded = matches!(padding, Padding::Right | Padding::WrongVersion);
        assert_eq!(is_right(&exchange), is_padded, "{padding:?}");
        let zeros = block.iter().skip(2).filter(|it| **it == 0).count();
        assert_eq!(
            zeros,
            usize::from(padding != Padding::NoZero),
            "{padding:?}"
        );
    }
    assert_eq!(Padding::Right.block(58, &secret), None);
}

/// An exchanger: what it answers to a command, and all commands it heard.
fn exchanger(
    answers: &'static [(&'static str, &'static str)],
) -> (u16, Arc<std::sync::Mutex<Vec<String>>>) {
    let heard = Arc::new(std::sync::Mutex::new(Vec::new()));
    let noted = Arc::clone(&heard);
    let port = serve(move |stream, _| {
        stream.write_all(b"220 mail.example.test ESMTP\r\n").ok()?;
        let mut lines = std::io::BufReader::new(stream.try_clone().ok()?);
        loop {
            let mut line = String::new();
            if std::io::BufRead::read_line(&mut lines, &mut line).ok()? == 0 {
                return None;
            }
            let line = line.trim_end().to_owned();
            let found = answers.iter().find(|(begin, _)| line.starts_with(begin));
            let answer = found.map_or("250 2.0.0 ok", |it| it.1);
            noted.lock().unwrap().push(line);
            stream.write_all(format!("{answer}\r\n").as_bytes()).ok()?;
        }
    });
    (port, heard)
}

async fn ask(answers: &'static [(&'static str, &'static str)]) -> (relay::Found, Vec<String>) {
    let (port, heard) = exchanger(answers);
    let found = relay::run(&errand(port, Start::StartTls, PATIENCE), false).await;
    let heard = heard.lock().unwrap().clone();
    (found, heard)
}

#[tokio::test]
async fn an_open_relay_is_found_and_given_no_mail() {
    let (found, heard) = ask(&[
        ("VRFY post", "252 2.0.0 postmaster"),
        ("VRFY", "550 5.1.1 nobody"),
    ])
    .await;
    let proof = proof(found.relay);
    assert!(proof.contains("@example.com"), "{proof}");
    assert!(matches!(
        found.names,
        Seen::Known(Provocation::Worked { .. })
    ));
    let recipients = heard.iter().filter(|it| it.starts_with("RCPT")).count();
    assert_eq!(recipients, 1, "{heard:?}");
    assert!(!heard.iter().any(|it| it.starts_with("DATA")), "{heard:?}");
    let at = heard.iter().position(|it| it.starts_with("RCPT")).unwrap();
    assert_eq!(heard[at + 1], "RSET", "{heard:?}");
}

#[tokio::test]
async fn one_that_relays_for_its_own_senders_is_found() {
    let (found, _) = ask(&[
        ("MAIL FROM:<>", "550 5.7.1 no"),
        ("MAIL FROM:<gp", "550 5.7.1 no"),
        ("EXPN", "502 5.5.1 no"),
        ("VRFY", "252 2.0.0 whoever"),
    ])
    .await;
    assert!(proof(found.relay).starts_with("<postmaster@mail.example.test>"));
    assert!(is_refused(&found.names), "{:?}", found.names);
}

#[tokio::test]
async fn who_refuses_strangers_is_sound_and_who_puts_off_cannot_be_told() {
    let (found, _) = ask(&[
        ("RCPT", "554 5.7.1 relay access denied"),
        ("VRFY", "502 5.5.1 no"),
        ("EXPN", "250 list"),
    ])
    .await;
    assert!(is_refused(&found.relay), "{:?}", found.relay);
    assert!(proof(found.names).starts_with("EXPN"));
    let (found, _) = ask(&[("RCPT", "450 4.7.1 later"), ("VRFY", "450 4.7.1 later")]).await;
    assert!(
        is_unknown(&found.relay) && is_unknown(&found.names),
        "{found:?}"
    );
}

#[tokio::test]
async fn a_spent_budget_is_no_verdict() {
    let asked = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&asked);
    let port = serve(move |stream, _| {
        counted.fetch_add(1, Ordering::SeqCst);
        greet(stream, &[])
    });
    let errand = Errand {
        budget: Budget::new(1),
        ..errand(port, Start::Implicit, PATIENCE)
    };
    errand.budget.take().unwrap();
    for seen in [
        heartbeat::run(&errand).await,
        early_ccs::run(&errand, SILENT).await,
        padding::run(&errand, SILENT).await,
        relay::run(&errand, true).await.relay,
    ] {
        assert!(is_unknown(&seen), "{seen:?}");
    }
    assert_eq!(asked.load(Ordering::SeqCst), 0);
}
