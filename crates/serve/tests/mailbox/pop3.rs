use std::sync::Arc;

use gatepost_serve::mailbox::Recorded as _;
use gatepost_serve::mailbox::pop3::Pop3Backend;
use gatepost_testkit::talk;
use gatepost_wire::pop3::ask::{Answer, Ask, Fault, Maildrop, OpenError};

use gatepost_wire::pop3::server::{Config, Fresh, Limits};
use gatepost_wire::session::Fresh as _;

use crate::world::{ANN, BOB, CLIENT, PASSWORD, World};

async fn open(backend: &mut Pop3Backend) -> Result<Maildrop, OpenError> {
    match backend.answer(Ask::Open).await {
        Answer::Opened(opened) => opened,
        other => panic!("{other:?}"),
    }
}

/// RFC 1939 4, RFC 2449 8.1.1
#[tokio::test]
async fn one_session_at_a_time_has_a_maildrop() {
    let world = World::new();
    let (mut first, mut second, mut other) = (
        world.pop3(ANN).await,
        world.pop3(ANN).await,
        world.pop3(BOB).await,
    );
    assert!(open(&mut first).await.is_ok());
    assert_eq!(open(&mut second).await, Err(OpenError::InUse));
    assert!(open(&mut other).await.is_ok());
    assert_eq!(
        first.answer(Ask::Update { deleted: vec![] }).await,
        Answer::Updated(Ok(()))
    );
    assert!(open(&mut second).await.is_ok());
    drop(second);
    assert!(
        open(&mut first).await.is_ok(),
        "a broken connection unlocks too"
    );
}

#[tokio::test]
async fn messages_are_listed_and_read_in_pieces() {
    let world = World::new();
    let large = format!("Subject: large\r\n\r\n{}", "0123456789".repeat(20_000));
    for text in ["Subject: small\r\n\r\nhello\r\n", &large] {
        world.append(ANN, "INBOX", text).await;
    }
    world.append(ANN, "Sent", "elsewhere").await;
    let mut backend = world.pop3(ANN).await;
    let maildrop = open(&mut backend).await.unwrap();
    assert_eq!(maildrop.messages, [(1, 25), (2, large.len() as u64)]);
    let mut read = Vec::new();
    loop {
        let ask = Ask::Read {
            uid: 2,
            offset: read.len() as u64,
            length: 65_536,
        };
        let Answer::Octets(Ok(octets)) = backend.answer(ask).await else {
            panic!("not read")
        };
        let end = octets.len() < 65_536;
        read.extend(octets);
        if end {
            break;
        }
    }
    assert_eq!(String::from_utf8(read).unwrap(), large);
    let small = backend
        .answer(Ask::Read {
            uid: 1,
            offset: 18,
            length: 5,
        })
        .await;
    assert_eq!(small, Answer::Octets(Ok(b"hello".to_vec())));
    assert_eq!(
        backend
            .answer(Ask::Read {
                uid: 3,
                offset: 0,
                length: 5
            })
            .await,
        Answer::Octets(Err(Fault))
    );
    assert_eq!(backend.summary().messages_out, 2);
}

/// RFC 1939 6
#[tokio::test]
async fn update_removes_what_was_marked() {
    let world = World::new();
    for text in ["1", "2", "3"] {
        world.append(ANN, "INBOX", text).await;
    }
    let mut backend = world.pop3(ANN).await;
    open(&mut backend).await.unwrap();
    drop(backend);
    assert_eq!(world.texts(ANN, "INBOX").len(), 3, "nothing without QUIT");
    let mut backend = world.pop3(ANN).await;
    open(&mut backend).await.unwrap();
    assert_eq!(
        backend
            .answer(Ask::Update {
                deleted: vec![1, 3]
            })
            .await,
        Answer::Updated(Ok(()))
    );
    assert_eq!(world.texts(ANN, "INBOX"), ["2"]);
    assert_eq!(
        backend.answer(Ask::Update { deleted: vec![2] }).await,
        Answer::Updated(Err(Fault)),
        "not open any more"
    );
    assert_eq!(world.texts(ANN, "INBOX"), ["2"]);
}

#[tokio::test]
async fn nothing_without_a_login() {
    let world = World::new();
    let mut backend = Pop3Backend::new(Arc::clone(&world.shared), CLIENT);
    assert_eq!(open(&mut backend).await, Err(OpenError::Fault));
    assert_eq!(
        backend
            .answer(Ask::Read {
                uid: 1,
                offset: 0,
                length: 1
            })
            .await,
        Answer::Octets(Err(Fault))
    );
}

/// Through the real session: list, retrieve, delete.
#[test]
fn a_session_from_end_to_end() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let world = World::new();
    let large = format!("Subject: 2\r\n\r\n{}", ".0123456789\r\n".repeat(10_000));
    for text in ["Subject: 1\r\n\r\nhello\r\n", &large] {
        runtime.block_on(world.append(ANN, "INBOX", text));
    }
    let (host, greeting) = ("mail.example.org".into(), "ready".into());
    let config = Config {
        host,
        greeting,
        offer: None,
        starttls: true,
        least: gatepost_wire::seam::TlsVersion::Tls12,
        mechanisms: gatepost_wire::sasl::Mechanism::FOR_ACCOUNTS.to_vec(),
        limits: Limits::default(),
    };
    let session = Fresh::implicit(Arc::new(config)).secured(gatepost_testkit::facts());
    let mut backend = Pop3Backend::new(Arc::clone(&world.shared), CLIENT);
    let input = format!("USER {ANN}\r\nPASS {PASSWORD}\r\nLIST\r\nRETR 2\r\nDELE 1\r\nQUIT\r\n");
    let output = talk::transcript(session, &[input.as_bytes()], |ask| {
        runtime.block_on(backend.answer(ask))
    });
    let output = String::from_utf8(output).unwrap();
    let stuffed = large.replace("\r\n.", "\r\n..");
    for expected in [
        format!("\r\n1 21\r\n2 {}\r\n.\r\n", large.len()),
        format!("\r\n{stuffed}.\r\n"),
    ] {
        assert!(
            output.contains(&expected),
            "{}",
            output.get(..400).unwrap_or(&output)
        );
    }
    assert_eq!(
        output
            .lines()
            .filter(|line| line.starts_with("-ERR"))
            .count(),
        0
    );
    assert_eq!(world.texts(ANN, "INBOX"), [large]);
}
