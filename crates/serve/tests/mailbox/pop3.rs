use gatepost_serve::mailbox::pop3::Pop3Backend;
use gatepost_wire::pop3::ask::{Answer, Ask, Fault, Maildrop, OpenError};

use crate::world::{ANN, BOB, World};

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
    let mut backend = Pop3Backend::new(std::sync::Arc::clone(&world.shared), crate::world::CLIENT);
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
