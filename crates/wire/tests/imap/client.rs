//! Our client against our server: logins, reading, writing.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Instant;

use gatepost_testkit::imap::Maildrop;
use gatepost_testkit::pair::{Begin, Ended, run};
use gatepost_wire::client::{Credentials, Failure, Mode, Seed};
use gatepost_wire::imap::ask as server_ask;
use gatepost_wire::imap::client::{
    Answer, Ask, Change, Client, Command, Config, Data, Fresh, Kind, Portion,
};
use gatepost_wire::imap::server::{self, Server};
use gatepost_wire::sasl::Mechanism;
use gatepost_wire::sasl::{AccountAnswer, AccountAsk, Attempt, ScramKeys, ScramRecord};
use gatepost_wire::session::Why;

use super::config;

fn seed() -> Seed {
    Seed::new([9; 32])
}

/// What the owner saw.
#[derive(Default)]
struct Seen {
    data: Vec<Data>,
    portions: Vec<Portion>,
    done: Vec<Kind>,
    logins: Vec<Result<Option<Mechanism>, Failure>>,
}

/// A session to be run.
struct Case {
    mode: Mode,
    starttls: bool,
    credentials: Credentials,
    commands: Vec<Command>,
    /// For APPEND.
    content: Vec<u8>,
    segment: usize,
}

fn case(mode: Mode, commands: Vec<Command>) -> Case {
    Case {
        mode,
        starttls: true,
        credentials: me(),
        commands,
        content: Vec::new(),
        segment: 1 << 20,
    }
}

fn talk(maildrop: &Maildrop, case: Case) -> (Ended, Client, Seen) {
    let (mode, credentials, content) = (case.mode, case.credentials, case.content);
    let client = Arc::new(Config::new(mode));
    let server = config(case.starttls);
    let begin: Begin<Client, Server> = if mode == Mode::Implicit {
        Begin::Implicit(
            Fresh::implicit(client, seed()),
            server::Fresh::implicit(server),
        )
    } else {
        Begin::Clear(
            Client::clear(client, seed()),
            Server::clear(server, None, Instant::now()),
        )
    };
    let mut access = maildrop.access();
    let seen = RefCell::new(Seen::default());
    let mut commands: VecDeque<_> = case.commands.into();
    let mut next = move || commands.pop_front().map_or(Answer::Quit, Answer::Command);
    let owner = |ask| {
        let mut seen = seen.borrow_mut();
        match ask {
            Ask::Ready { .. } => Answer::Login(Box::new(credentials.clone())),
            Ask::LoggedIn(mechanism) => {
                seen.logins.push(Ok(mechanism));
                next()
            }
            Ask::LoginFailed(failure) => {
                seen.logins.push(Err(*failure));
                Answer::Quit
            }
            Ask::Data(data) => {
                seen.data.push(*data);
                Answer::Wait
            }
            Ask::Portion(portion) => {
                seen.portions.push(*portion);
                Answer::Wait
            }
            Ask::Content => Answer::Content(content.clone()),
            Ask::Idling => Answer::Done,
            Ask::Done(status) => {
                seen.done.push(status.kind);
                next()
            }
            Ask::Continue(_) | Ask::Idle => Answer::Wait,
        }
    };
    let backend = |ask| match ask {
        server_ask::Ask::Account(ask) => server_ask::Answer::Account(account(ask)),
        ask => access.handle(ask),
    };
    let (ended, client) = run(begin, owner, backend, case.segment);
    (ended, client, seen.into_inner())
}

/// `me` with the password `sesame`, for every mechanism.
fn account(ask: AccountAsk) -> AccountAnswer {
    let granted = |good| {
        let account = "me".into();
        if good {
            AccountAnswer::Granted { account }
        } else {
            AccountAnswer::Denied
        }
    };
    match ask {
        AccountAsk::ScramKeys { .. } => {
            let record = ScramRecord::derive("sesame", vec![3; 16], 4096).unwrap();
            AccountAnswer::ScramKeys(ScramKeys {
                salt: record.salt.clone(),
                iterations: record.iterations,
                stored_key: record.stored_key.clone(),
                server_key: record.server_key.clone(),
                nonce: "0123456789abcdefghij".to_owned(),
            })
        }
        AccountAsk::Login(Attempt::Token { .. } | Attempt::Certificate { .. }) => {
            AccountAnswer::Denied
        }
        AccountAsk::Login(Attempt::Scram { proven, .. }) => granted(proven),
        AccountAsk::Login(Attempt::Password { password, .. }) => {
            granted(password.expose() == "sesame")
        }
    }
}

fn me() -> Credentials {
    Credentials::password("me", "sesame").allow([Mechanism::Plain])
}

fn select() -> Command {
    Command::Select {
        mailbox: "INBOX".into(),
        read_only: false,
    }
}

fn fetch(uids: &str, items: &str) -> Command {
    Command::Fetch {
        uids: uids.into(),
        items: items.into(),
    }
}

#[test]
fn messages_come_as_they_are_in_every_mode() {
    // [IMAP-TLS-07] [IMAP-TLS-08]
    let large = format!(
        "Subject: large\r\n\r\n{}",
        "0123456789abcdef\r\n".repeat(20_000)
    );
    let maildrop = Maildrop::with(&["Subject: a\r\n\r\n* BYE\r\n", &large, ""]);
    for mode in [Mode::Implicit, Mode::StartTls, Mode::Opportunistic] {
        for segment in [13, 1 << 20] {
            let commands = vec![
                select(),
                Command::Search {
                    criteria: "ALL".into(),
                },
                fetch("1:*", "(UID FLAGS BODY.PEEK[])"),
                Command::Noop,
            ];
            let case = Case {
                segment,
                ..case(mode, commands)
            };
            let (ended, client, seen) = talk(&maildrop, case);
            assert_eq!((ended.client, client.failure()), (Why::Quit, None));
            assert_eq!(seen.done, [Kind::Ok; 4]);
            let joined = |sequence| -> Vec<u8> {
                let of = seen.portions.iter().filter(|it| it.sequence == sequence);
                of.flat_map(|it| it.bytes.clone()).collect()
            };
            assert_eq!(joined(1), b"Subject: a\r\n\r\n* BYE\r\n");
            assert!(joined(2) == large.as_bytes() && joined(3).is_empty());
            assert!(seen.portions.iter().all(|it| it.bytes.len() <= 64 * 1024));
            assert!(seen.data.contains(&Data::Found(vec![1, 2, 3])));
            let fetched = seen
                .data
                .iter()
                .filter(|it| matches!(it, Data::Fetched(it) if it.uid.is_some()));
            assert_eq!(fetched.count(), 3);
            if ended.upgraded {
                let clear = String::from_utf8(ended.clear).unwrap();
                let asked = if mode == Mode::StartTls { 1 } else { 2 };
                assert_eq!(clear.lines().count(), asked, "{clear}");
                assert!(clear.ends_with(" STARTTLS\r\n"));
            }
        }
    }
}

#[test]
fn every_mechanism_logs_in_and_login_where_there_is_none() {
    // [IMAP-AUTH-02] [IMAP-TLS-01]
    let maildrop = Maildrop::with(&[]);
    for (allowed, expected) in [
        (
            Mechanism::FOR_CLIENTS.to_vec(),
            Some(Mechanism::ScramSha256Plus),
        ),
        (vec![Mechanism::ScramSha256], Some(Mechanism::ScramSha256)),
        (vec![Mechanism::Plain], Some(Mechanism::Plain)),
        (vec![Mechanism::Login], Some(Mechanism::Login)),
    ] {
        for password in ["sesame", "wrong"] {
            let credentials = Credentials::password("me", password).allow(allowed.clone());
            let case = Case {
                credentials,
                ..case(Mode::StartTls, vec![])
            };
            let (ended, _, seen) = talk(&maildrop, case);
            assert_eq!(ended.client, Why::Quit);
            match &seen.logins[..] {
                [Ok(mechanism)] => assert!(password == "sesame" && *mechanism == expected),
                [Err(Failure::LoginRefused(_))] => assert_eq!(password, "wrong"),
                other => panic!("{other:?}"),
            }
        }
    }
}

#[test]
fn no_credential_is_said_in_clear() {
    // [IMAP-TLS-10] [MUA-05]
    for mode in [Mode::Off, Mode::Opportunistic] {
        let case = Case {
            starttls: false,
            ..case(mode, vec![])
        };
        let (ended, _, seen) = talk(&Maildrop::with(&[]), case);
        assert_eq!(seen.logins, [Err(Failure::NotVerified)]);
        let clear = String::from_utf8(ended.clear).unwrap();
        assert!(
            clear
                .lines()
                .all(|it| it.ends_with("CAPABILITY") || it.ends_with("LOGOUT"))
        );
    }
}

#[test]
fn what_is_appended_is_fetched() {
    let maildrop = Maildrop::with(&["one\r\n"]);
    let content = b"Subject: b\r\n\r\n".repeat(1000);
    let commands = vec![
        Command::Append {
            mailbox: "INBOX".into(),
            flags: "\\Seen".into(),
            date: None,
            octets: content.len() as u64,
        },
        select(),
        Command::Idle,
        Command::Store {
            uids: "1".into(),
            change: Change::Add,
            flags: "\\Deleted".into(),
        },
        Command::Expunge { uids: None },
        Command::List {
            pattern: "*".into(),
        },
        fetch("2", "(UID BODY[])"),
    ];
    let case = Case {
        content: content.clone(),
        ..case(Mode::Implicit, commands)
    };
    let (ended, client, seen) = talk(&maildrop, case);
    assert_eq!((ended.client, client.failure()), (Why::Quit, None));
    assert_eq!(seen.done, [Kind::Ok; 7], "{:?}", seen.data);
    assert_eq!(maildrop.contents("INBOX"), [&content[..]]);
    let joined: Vec<u8> = seen
        .portions
        .iter()
        .flat_map(|it| it.bytes.clone())
        .collect();
    assert_eq!(joined, content);
    assert!(seen.data.contains(&Data::Expunged(1)));
    assert!(
        seen.data
            .iter()
            .any(|it| matches!(it, Data::Listed(it) if &*it.name == "INBOX"))
    );
}
