//! A message of 50 MiB passes through a session without ever being in it.

use std::sync::Arc;
use std::time::Instant;

use gatepost_testkit::verified_facts;
use gatepost_wire::client::{Mode, Seed};
use gatepost_wire::session::{Fresh as _, Machine, Next};
use gatepost_wire::smtp::path::{ForwardPath, ReversePath};
use gatepost_wire::{imap, pop3, smtp};

const LARGE: usize = 50 << 20;
const PIECE: usize = 64 << 10;

/// Lets a session go on until it reads, counting what it writes. Returns the largest write.
fn go_on<M: Machine>(
    session: &mut M,
    owner: &mut impl FnMut(M::Ask) -> M::Answer,
    written: &mut usize,
) -> usize {
    let now = Instant::now();
    let mut largest = 0;
    loop {
        match session.next(now) {
            Next::Ask(ask) => session.answer(owner(ask)),
            Next::Write => {
                largest = largest.max(session.output().len());
                *written += session.output().len();
                session.output().clear();
            }
            Next::Read { .. } => return largest,
            Next::Upgrade => panic!("no TLS here"),
            Next::Close(why) => panic!("{why:?}"),
        }
    }
}

#[test]
fn what_is_sent_is_asked_for_in_portions() {
    use smtp::client::{Answer, Ask, Config, Framing, Fresh, Transaction};
    let portion = b"0123456789abcde\r\n.123456789abcd\r\n".repeat(PIECE / 32);
    for framing in [Framing::Data, Framing::Chunks] {
        let config = Arc::new(Config::new(Mode::Implicit, "me.test"));
        let mut session = Fresh::implicit(config, Seed::new([1; 32])).secured(verified_facts());
        let mut given = 0;
        let mut owner = |ask| match ask {
            Ask::Ready(_) => {
                let recipient = ForwardPath::parse("<a@b.test>").unwrap();
                let mut transaction = Transaction::new(1, ReversePath::Null, vec![recipient]);
                transaction.framing = framing;
                Answer::Transaction(Box::new(transaction))
            }
            Ask::Content(_) => {
                given += portion.len();
                Answer::Content {
                    portion: portion.clone(),
                    last: given >= LARGE,
                }
            }
            _ => Answer::Wait,
        };
        let mut written = 0;
        let replies = [
            "220 x\r\n",
            "250-x\r\n250 CHUNKING\r\n",
            "250\r\n",
            "250\r\n",
            "354\r\n",
        ];
        let data = framing == Framing::Data;
        for reply in &replies[..if data { 5 } else { 4 }] {
            go_on(&mut session, &mut owner, &mut written);
            session.receive(reply.as_bytes());
        }
        let mut largest = go_on(&mut session, &mut owner, &mut written);
        while !data && written < LARGE {
            // the chunks so far are taken
            session.receive(&b"250\r\n".repeat(8));
            largest = largest.max(go_on(&mut session, &mut owner, &mut written));
        }
        assert!(
            written >= LARGE && largest <= 3 * PIECE,
            "{framing:?} {written} {largest}"
        );
    }
}

/// Feeds a body in pieces and checks after each that it has been handed on but for one block.
fn read_through<M: Machine>(
    session: &mut M,
    piece: &[u8],
    mut owner: impl FnMut(M::Ask, &mut usize) -> M::Answer,
) {
    let (mut told, mut written) = (0, 0);
    for round in 1..=LARGE / piece.len() {
        session.receive(piece);
        go_on(session, &mut |ask| owner(ask, &mut told), &mut written);
        assert!(
            told + PIECE + piece.len() >= round * piece.len(),
            "{told} of {round} pieces"
        );
    }
    assert!(told + PIECE + piece.len() >= LARGE);
}

#[test]
fn what_is_fetched_is_handed_on_in_blocks() {
    use imap::client::{Answer, Ask, Command, Config, Fresh};
    let config = Arc::new(Config::new(Mode::Implicit));
    let mut session = Fresh::implicit(config, Seed::new([1; 32])).secured(verified_facts());
    let mut owner = |ask| match ask {
        Ask::Ready { .. } => Answer::Command(Command::Select {
            mailbox: "INBOX".into(),
            read_only: true,
        }),
        _ => Answer::Wait,
    };
    session.receive(b"* PREAUTH [CAPABILITY IMAP4rev1] x\r\n");
    go_on(&mut session, &mut owner, &mut 0);
    session.receive(format!("* 1 FETCH (BODY[] {{{LARGE}}}\r\n").as_bytes());
    read_through(&mut session, &[b'x'; 10_000], |ask, told| {
        if let Ask::Portion(portion) = ask {
            *told += portion.bytes.len();
        }
        Answer::Wait
    });
}

#[test]
fn what_is_retrieved_is_handed_on_in_blocks() {
    use pop3::client::{Answer, Ask, Command, Config, Fresh};
    let mut config = Config::new(Mode::Implicit);
    config.exception = None;
    let mut session =
        Fresh::implicit(Arc::new(config), Seed::new([1; 32])).secured(verified_facts());
    let mut owner = |ask| match ask {
        Ask::Ready(_) => Answer::Commands(vec![Command::Retrieve(1)]),
        _ => Answer::Wait,
    };
    for reply in ["+OK x\r\n", "+OK\r\n.\r\n", "+OK\r\n"] {
        session.receive(reply.as_bytes());
        go_on(&mut session, &mut owner, &mut 0);
    }
    let piece = b"0123456789abcdef\r\n".repeat(500);
    read_through(&mut session, &piece, |ask, told| {
        if let Ask::Portion(_, bytes) = ask {
            *told += bytes.len();
        }
        Answer::Wait
    });
}
