//! Our client against our server: logins, transactions, pipelining.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Instant;

use gatepost_testkit::pair::{Begin, Ended, run};
use gatepost_wire::client::{Credentials, Failure, Mode, Recorder, Seed};
use gatepost_wire::sasl::Mechanism;
use gatepost_wire::session::Why;
use gatepost_wire::smtp::client::{
    Answer, Ask, Client, Config, Delivery, Framing, Fresh, LineEnds, Outcome, Transaction, Unsent,
};
use gatepost_wire::smtp::path::{ForwardPath, ReversePath};
use gatepost_wire::smtp::server::{self, Server};

use super::support::{HOST, Mailbox, mx, peer, submission};

fn message(id: u64, recipients: &[&str]) -> Transaction {
    let recipients = recipients
        .iter()
        .map(|it| ForwardPath::parse(&format!("<{it}>")).unwrap())
        .collect();
    let sender = ReversePath::parse("<me@gatepost.test>").unwrap();
    Transaction::new(id, sender, recipients)
}

/// An owner: logs in if it has credentials, sends its messages, leaves.
#[derive(Default)]
struct Owner {
    credentials: Option<Credentials>,
    queue: VecDeque<(Transaction, Vec<Vec<u8>>)>,
    portions: VecDeque<(u64, VecDeque<Vec<u8>>)>,
    outcomes: Vec<Outcome>,
    logins: Vec<Result<Mechanism, Failure>>,
    under_way: usize,
}

impl Owner {
    fn sending(messages: Vec<(Transaction, &[u8])>) -> Self {
        Self {
            queue: messages
                .into_iter()
                .map(|(it, content)| (it, vec![content.to_vec()]))
                .collect(),
            ..Self::default()
        }
    }

    fn go_on(&mut self) -> Answer {
        match self.queue.pop_front() {
            Some((transaction, portions)) => {
                self.under_way += 1;
                self.portions.push_back((transaction.id, portions.into()));
                Answer::Transaction(Box::new(transaction))
            }
            None if self.under_way > 0 => Answer::Wait,
            None => Answer::Quit,
        }
    }

    fn answer(&mut self, ask: Ask) -> Answer {
        match ask {
            Ask::Ready(_) => match self.credentials.take() {
                Some(credentials) => Answer::Login(Box::new(credentials)),
                None => self.go_on(),
            },
            Ask::LoggedIn(mechanism) => {
                self.logins.push(Ok(mechanism));
                self.go_on()
            }
            Ask::LoginFailed(failure) => {
                self.logins.push(Err(*failure));
                Answer::Quit
            }
            Ask::Content(id) => {
                self.portions.retain(|it| it.0 >= id);
                let portions = &mut self.portions.front_mut().unwrap().1;
                let portion = portions.pop_front().unwrap_or_default();
                let last = portions.is_empty();
                Answer::Content { portion, last }
            }
            Ask::Sent(outcome) => {
                self.under_way -= 1;
                self.outcomes.push(*outcome);
                self.go_on()
            }
            Ask::More | Ask::Reply(_) | Ask::Idle => self.go_on(),
        }
    }
}

fn client(mode: Mode) -> Arc<Config> {
    Arc::new(Config::new(mode, "client.gatepost.test"))
}

fn seed() -> Seed {
    Seed::new([3; 32])
}

fn talk_with(
    config: &Arc<Config>,
    server: server::Config,
    owner: &mut Owner,
    segment: usize,
) -> (Ended, Client, Mailbox) {
    let server = Arc::new(server);
    let begin: Begin<Client, Server> = if config.mode == Mode::Implicit {
        Begin::Implicit(
            Fresh::implicit(Arc::clone(config), seed()),
            server::Fresh::implicit(server, peer()),
        )
    } else {
        Begin::Clear(
            Client::clear(Arc::clone(config), seed()),
            Server::clear(server, peer(), Instant::now()),
        )
    };
    let mut mailbox = Mailbox::default();
    let (ended, client) = run(
        begin,
        |ask| owner.answer(ask),
        |ask| mailbox.handle(ask),
        segment,
    );
    (ended, client, mailbox)
}

fn talk(mode: Mode, server: server::Config, owner: &mut Owner) -> (Ended, Client, Mailbox) {
    talk_with(&client(mode), server, owner, 1 << 20)
}

#[test]
fn a_message_arrives_byte_for_byte_in_every_mode() {
    // [SMTP-STARTTLS-06] [SMTP-STARTTLS-16] [SMTP-STARTTLS-15]
    let content = b"Subject: x\r\n\r\n.\r\n..a\r\n.b\r\nlast\r\n";
    for mode in [
        Mode::Implicit,
        Mode::StartTls,
        Mode::Opportunistic,
        Mode::Off,
    ] {
        for framing in [Framing::Data, Framing::Chunks] {
            for segment in [1, 7, 1 << 20] {
                let mut transaction = message(1, &["a@gatepost.test", "b@gatepost.test"]);
                transaction.framing = framing;
                transaction.size = Some(content.len() as u64);
                let mut owner = Owner::sending(vec![(transaction, content)]);
                let (ended, client, mailbox) = talk_with(&client(mode), mx(), &mut owner, segment);
                assert_eq!((ended.client, client.failure()), (Why::Quit, None));
                assert_eq!(
                    ended.upgraded,
                    matches!(mode, Mode::StartTls | Mode::Opportunistic)
                );
                assert!(
                    mailbox.stored[0].content.ends_with(content),
                    "{mode:?} {framing:?}"
                );
                assert_eq!(mailbox.stored[0].envelope.recipients.len(), 2);
                assert!(owner.outcomes[0].is_delivered());
                if ended.upgraded {
                    // [SMTP-STARTTLS-08] [MUA-03] in clear nothing but the way to TLS
                    assert_eq!(ended.clear, b"EHLO client.gatepost.test\r\nSTARTTLS\r\n");
                    assert!(ended.inside.starts_with(b"EHLO "));
                }
            }
        }
    }
}

#[test]
fn every_mechanism_logs_in() {
    // [SMTP-AUTH-02] [SASL-SCRAM-01]
    use Mechanism::{Login, Plain, ScramSha256, ScramSha256Plus};
    let cases: [(&[Mechanism], Mechanism); 5] = [
        (&Mechanism::FOR_CLIENTS, ScramSha256Plus),
        (&[ScramSha256], ScramSha256),
        (&[Login, Plain], Plain),
        (&[Plain], Plain),
        (&[Login], Login),
    ];
    for (allowed, expected) in cases {
        for (password, good) in [("pencil", true), ("wrong", false)] {
            let credentials = Credentials::password("me@gatepost.test", password).allow(allowed);
            let mut owner = Owner::sending(vec![(message(1, &["a@gatepost.test"]), b"x: y\r\n")]);
            owner.credentials = Some(credentials);
            let (ended, _, mailbox) = talk(Mode::StartTls, submission(), &mut owner);
            assert_eq!(ended.client, Why::Quit);
            match &owner.logins[..] {
                [Ok(mechanism)] => assert!(good && *mechanism == expected),
                [Err(Failure::LoginRefused(refused))] => {
                    assert!(!good && !refused.temporary && refused.reply.text().starts_with("535"));
                }
                other => panic!("{other:?}"),
            }
            assert_eq!(mailbox.stored.len(), usize::from(good));
        }
    }
}

#[test]
fn a_long_secret_does_not_go_along_with_the_command() {
    // [SMTP-AUTH-06]
    let password = "x".repeat(250);
    let user = "u".repeat(250);
    let mut owner = Owner {
        credentials: Some(Credentials::password(user, password).allow([Mechanism::Plain])),
        ..Owner::default()
    };
    let (ended, ..) = talk(Mode::Implicit, submission(), &mut owner);
    let said = String::from_utf8(ended.inside).unwrap();
    assert!(said.contains("\r\nAUTH PLAIN\r\n"), "{said}");
}

#[test]
fn no_credential_is_said_in_clear() {
    // [SMTP-AUTH-11] [MUA-05] [SASL-PLAIN-01]
    for mode in [Mode::Off, Mode::Opportunistic] {
        let mut config = submission();
        config.tls.offered = false;
        let mut owner = Owner {
            credentials: Some(Credentials::password("me@gatepost.test", "pencil")),
            ..Owner::default()
        };
        let (ended, ..) = talk(mode, config, &mut owner);
        assert_eq!(owner.logins, [Err(Failure::NotVerified)]);
        assert_eq!(ended.clear, b"EHLO client.gatepost.test\r\nQUIT\r\n");
    }
}

#[test]
fn each_recipient_has_an_outcome() {
    // [SMTP-PIPE-01]
    let recipients = [
        "a@gatepost.test",
        "nobody@gatepost.test",
        "x@elsewhere.test",
    ];
    let mut owner = Owner::sending(vec![
        (message(1, &recipients), b"a: b\r\n"),
        (message(2, &["nobody@gatepost.test"]), b"a: b\r\n"),
        (message(3, &["a@gatepost.test"]), b"Subject: quota\r\n"),
        (message(4, &["a@gatepost.test"]), b"a: b\r\n"),
    ]);
    let mut config = mx();
    config.limits.unknown_recipients = 10;
    let (ended, client, mailbox) = talk(Mode::StartTls, config, &mut owner);
    assert_eq!((ended.client, client.failure()), (Why::Quit, None));
    assert_eq!(mailbox.stored.len(), 2);
    let code = |message: usize, index| match owner.outcomes[message].delivery(index) {
        Delivery::Taken(reply) | Delivery::Refused(reply) => reply.code,
        Delivery::Unsent(_) => 0,
    };
    let codes = [
        code(0, 0),
        code(0, 1),
        code(0, 2),
        code(1, 0),
        code(2, 0),
        code(3, 0),
    ];
    assert_eq!(codes, [250, 550, 550, 550, 452, 250]);
    let enhanced = owner.outcomes[2].verdicts[0].enhanced().unwrap();
    assert_eq!((enhanced.0, enhanced.1, enhanced.2), (4, 2, 2));
}

#[test]
fn many_messages_take_one_round_trip_each() {
    for framing in [Framing::Data, Framing::Chunks] {
        let content = [b'x'; 78]
            .iter()
            .chain(b"\r\n")
            .copied()
            .collect::<Vec<_>>()
            .repeat(120);
        let make = |id| {
            let mut transaction = message(id, &["a@gatepost.test"]);
            transaction.framing = framing;
            (transaction, &content[..])
        };
        let config = mx();
        let mut owner = Owner::sending((0..1000).map(make).collect());
        let (ended, client, mailbox) = talk(Mode::Implicit, config, &mut owner);
        assert_eq!((ended.client, client.failure()), (Why::Quit, None));
        assert_eq!(mailbox.stored.len(), 1000);
        assert!(owner.outcomes.iter().all(Outcome::is_delivered));
        assert!(owner.outcomes.iter().map(|it| it.id).eq(0..1000));
        assert!(ended.waits <= 1010, "{framing:?}: {} waits", ended.waits);
    }
}

#[test]
fn a_large_message_streams() {
    let portion = b"0123456789abcdef0123456789abcdef0123456789abcdef0123456789ab\r\n".repeat(1000);
    for framing in [Framing::Data, Framing::Chunks] {
        let mut transaction = message(1, &["a@gatepost.test"]);
        transaction.framing = framing;
        let mut owner = Owner::default();
        owner.queue.push_back((
            transaction,
            [vec![b"\r\n".to_vec()], vec![portion.clone(); 100]].concat(),
        ));
        let (ended, client, mailbox) = talk(Mode::Implicit, mx(), &mut owner);
        assert_eq!(
            (ended.client, client.failure()),
            (Why::Quit, None),
            "{framing:?}"
        );
        assert!(mailbox.stored[0].content.ends_with(&portion.repeat(100)));
    }
}

#[test]
fn what_cannot_be_sent_is_not_tried() {
    // [SMTP-SIZE-01] [SMTP-8BIT-01] [SMTP-UTF8-02]
    let mut too_large = message(1, &["a@gatepost.test"]);
    too_large.size = Some(u64::MAX);
    let mut owner = Owner::sending(vec![
        (too_large, b""),
        (message(2, &["a@gatepost.test"]), b"a: b\r\n"),
    ]);
    let (ended, _, mailbox) = talk(Mode::Implicit, mx(), &mut owner);
    assert_eq!(ended.client, Why::Quit);
    assert_eq!(owner.outcomes[0].unsent, Some(Unsent::TooLarge));
    assert_eq!(
        owner.outcomes[0].delivery(0),
        Delivery::Unsent(Some(Unsent::TooLarge))
    );
    assert_eq!(mailbox.stored.len(), 1);
}

#[test]
fn a_bare_line_end_cuts_the_connection_or_is_made_whole() {
    // [SMTP-BASE-04] [SMTP-SMUG-02]
    let content = b"a: b\r\n\r\ntext\n.\nMAIL FROM:<x@y>\r\n";
    for framing in [Framing::Data, Framing::Chunks] {
        let mut transaction = message(1, &["a@gatepost.test"]);
        transaction.framing = framing;
        let mut owner = Owner::sending(vec![(transaction.clone(), content)]);
        let (ended, client, mailbox) = talk(Mode::Implicit, mx(), &mut owner);
        assert_eq!(ended.client, Why::Failed);
        assert_eq!(client.failure(), Some(&Failure::BareLineEnd));
        assert!(mailbox.stored.is_empty());
        transaction.line_ends = LineEnds::Normalise;
        let mut owner = Owner::sending(vec![(transaction, content)]);
        let (_, _, mailbox) = talk(Mode::Implicit, mx(), &mut owner);
        let whole = b"a: b\r\n\r\ntext\r\n.\r\nMAIL FROM:<x@y>\r\n";
        assert!(mailbox.stored[0].content.ends_with(whole), "{framing:?}");
        assert_eq!(mailbox.stored.len(), 1);
    }
}

#[test]
fn the_record_shows_the_dialogue_without_the_secret() {
    let recorder = Recorder::new();
    let mut config = Config::new(Mode::StartTls, "client.gatepost.test");
    config.recorder = Some(recorder.clone());
    let mut owner = Owner {
        credentials: Some(
            Credentials::password("me@gatepost.test", "pencil").allow([Mechanism::Plain]),
        ),
        ..Owner::default()
    };
    talk_with(&Arc::new(config), submission(), &mut owner, 1 << 20);
    let entries = recorder.take();
    let text: Vec<_> = entries.iter().map(|it| it.text.text()).collect();
    assert!(text[0].contains(HOST) && !entries[0].encrypted && !entries[0].text.is_authenticated());
    assert!(text.contains(&"AUTH PLAIN (initial response)"), "{text:?}");
    assert!(
        text.iter()
            .all(|it| !it.contains("pencil") && !it.contains("AG1l")),
        "{text:?}"
    );
    assert!(
        entries
            .last()
            .is_some_and(|it| it.encrypted && it.text.is_authenticated())
    );
}

#[test]
fn the_record_of_a_scram_login_gives_no_dictionary_a_chance() {
    let recorder = Recorder::new();
    let mut config = Config::new(Mode::StartTls, "client.gatepost.test");
    config.recorder = Some(recorder.clone());
    let mut owner = Owner {
        credentials: Some(
            Credentials::password("me@gatepost.test", "pencil").allow([Mechanism::ScramSha256]),
        ),
        ..Owner::default()
    };
    talk_with(&Arc::new(config), submission(), &mut owner, 1 << 20);
    let text: Vec<_> = recorder
        .take()
        .iter()
        .map(|it| it.text.text().to_owned())
        .collect();
    // Salt and count in the first, the server's proof in the second.
    assert_eq!(
        text.iter().filter(|it| *it == "(challenge)").count(),
        2,
        "{text:?}"
    );
    assert!(!text.iter().any(|it| it.starts_with("334")), "{text:?}");
    assert!(text.iter().any(|it| it.starts_with("235 ")), "{text:?}");
}

#[test]
fn a_delivery_takes_the_round_trips_it_must() {
    // greeting, EHLO, STARTTLS, (the handshake), EHLO, login, envelope, content, QUIT
    let cases = [
        (Mode::StartTls, None, 7),
        (Mode::Implicit, None, 5),
        (Mode::StartTls, Some(Mechanism::Plain), 8),
        (Mode::StartTls, Some(Mechanism::ScramSha256Plus), 10),
    ];
    for (mode, mechanism, waits) in cases {
        let mut owner = Owner::sending(vec![(message(1, &["a@gatepost.test"]), b"x: y\r\n")]);
        owner.credentials =
            mechanism.map(|it| Credentials::password("me@gatepost.test", "pencil").allow([it]));
        let server = if mechanism.is_some() {
            submission()
        } else {
            mx()
        };
        let (ended, _, mailbox) = talk(mode, server, &mut owner);
        assert_eq!(
            (ended.waits, mailbox.stored.len()),
            (waits, 1),
            "{mode:?} {mechanism:?}"
        );
    }
}
