//! Our client against our server.

use std::sync::Arc;
use std::time::Instant;

use gatepost_testkit::pair::{Begin, Ended, run};
use gatepost_wire::client::{self, Credentials, Failure, Mode, Seed};
use gatepost_wire::pop3::client::{Answer, Ask, Client, Command, Data, Fresh};
use gatepost_wire::pop3::server::{self, Server};
use gatepost_wire::sasl::Mechanism;
use gatepost_wire::session::Why;

use super::config;
use super::mailbox::Mailbox;

#[derive(Default)]
struct Seen {
    logins: Vec<Result<Option<Mechanism>, Failure>>,
    message: Vec<u8>,
    data: Vec<Data>,
    good: Vec<bool>,
}

fn talk(
    mode: Mode,
    credentials: &Credentials,
    commands: &[Command],
    mailbox: &Mailbox,
    segment: usize,
) -> (Ended, Client, Seen) {
    let client = Arc::new(gatepost_wire::pop3::client::Config::new(mode));
    let begin: Begin<Client, Server> = if mode == Mode::Implicit {
        Begin::Implicit(
            Fresh::implicit(client, Seed::new([5; 32])),
            server::Fresh::implicit(config()),
        )
    } else {
        Begin::Clear(
            Client::clear(client, Seed::new([5; 32])),
            Server::clear(config(), None, Instant::now()),
        )
    };
    let mut seen = Seen::default();
    let owner = |ask| match ask {
        Ask::Ready(_) => Answer::Login(Box::new(credentials.clone())),
        Ask::LoggedIn(mechanism) => {
            seen.logins.push(Ok(mechanism));
            Answer::Commands([commands, &[Command::Quit]].concat())
        }
        Ask::LoginFailed(failure) => {
            seen.logins.push(Err(*failure));
            Answer::Quit
        }
        Ask::Portion(_, bytes) => {
            seen.message.extend(bytes);
            Answer::Wait
        }
        Ask::Done(done) => {
            seen.good.push(done.good);
            seen.data.push(done.data);
            Answer::Wait
        }
        Ask::Idle => Answer::Wait,
    };
    let (ended, client) = run(begin, owner, mailbox.backend(), segment);
    (ended, client, seen)
}

#[test]
fn every_mechanism_logs_in_in_every_mode() {
    // [POP-TLS-03] [POP-AUTH-04] [SASL-SCRAM-01] [SASL-CB-01]
    for (user, password, allowed) in [
        ("user", "pencil", Mechanism::ScramSha256Plus),
        ("user", "pencil", Mechanism::ScramSha256),
        ("mrose", "tanstaaf", Mechanism::Plain),
        ("mrose", "tanstaaf", Mechanism::Login),
    ] {
        for mode in [Mode::Implicit, Mode::StartTls, Mode::Opportunistic] {
            for (password, good) in [(password, true), ("wrong", false)] {
                let credentials = Credentials::password(user, password).allow([allowed]);
                let (ended, client, seen) = talk(mode, &credentials, &[], &Mailbox::new(), 1 << 20);
                if allowed == Mechanism::ScramSha256 {
                    // [SASL-SCRAM-03] [SASL-SCRAM-04] PLUS is offered, and we do not deny that
                    assert_eq!(seen.logins.len(), 1);
                }
                assert_eq!((ended.client, client.failure()), (Why::Quit, None));
                assert_eq!(
                    seen.logins[0].is_ok(),
                    good,
                    "{allowed:?} {:?}",
                    seen.logins
                );
                if ended.upgraded {
                    let asked = if mode == Mode::StartTls {
                        &b"STLS\r\n"[..]
                    } else {
                        b"CAPA\r\nSTLS\r\n"
                    };
                    assert_eq!(ended.clear, asked);
                }
            }
        }
    }
}

#[test]
fn messages_come_whole_and_dots_are_undone() {
    use Command::{Delete, List, Retrieve, Stat, Top, Uidl};
    let credentials = Credentials::password("mrose", "tanstaaf").allow([Mechanism::Plain]);
    for segment in [3, 1 << 20] {
        let mailbox = Mailbox::new();
        let commands = [
            Stat,
            List,
            Uidl,
            Retrieve(1),
            Top(2, 0),
            Retrieve(9),
            Delete(2),
        ];
        let (ended, client, seen) =
            talk(Mode::StartTls, &credentials, &commands, &mailbox, segment);
        assert_eq!((ended.client, client.failure()), (Why::Quit, None));
        assert_eq!(seen.good, [true, true, true, true, true, false, true, true]);
        let expected = b"Subject: one\r\n\r\n.dot\r\n..\r\nlast\r\nSubject: two\r\n\r\n";
        assert_eq!(seen.message, expected);
        assert!(matches!(seen.data[0], Data::Extent(2, _)));
        assert!(matches!(&seen.data[1], Data::Sizes(it) if it.len() == 2));
        assert!(matches!(&seen.data[2], Data::Uids(it) if it.len() == 2));
        assert_eq!(mailbox.asked_for("Update"), 1);
    }
    let mailbox = Mailbox::sized(1_000_000);
    let (_, _, seen) = talk(
        Mode::Implicit,
        &credentials,
        &[Retrieve(1)],
        &mailbox,
        1 << 20,
    );
    // the server ends the last line
    assert!(seen.message.starts_with(&mailbox.messages[0].2) && seen.message.len() <= 1_000_002);
}

#[test]
fn no_credential_is_said_in_clear() {
    // [POP-TLS-07] [MUA-05]
    let credentials = Credentials::password("mrose", "tanstaaf");
    let (ended, _, seen) = talk(Mode::Off, &credentials, &[], &Mailbox::new(), 1 << 20);
    assert_eq!(seen.logins, [Err(client::Failure::NotVerified)]);
    assert_eq!(ended.clear, b"CAPA\r\nQUIT\r\n");
}
