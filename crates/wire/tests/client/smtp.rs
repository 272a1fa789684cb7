//! SMTP and LMTP: what our own server never does.

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;

use gatepost_testkit::{facts, verified_facts};
use gatepost_wire::client::{Credentials, Mode, Recorder, Seed};
use gatepost_wire::seam::{TlsFacts, UnverifiedLogin};
use gatepost_wire::session::Fresh as _;
use gatepost_wire::smtp::client::{
    Answer, Ask, Client, Config, Delivery, Framing, Fresh, Outcome, Protocol, Transaction, Unsent,
};
use gatepost_wire::smtp::path::{ForwardPath, ReversePath};

use super::script::{self, run};

const HELLO: &str = "220 mx\r\n";
const FULL: &str =
    "250-mx\r\n250-PIPELINING\r\n250-8BITMIME\r\n250-SMTPUTF8\r\n250-CHUNKING\r\n250 SIZE 1000\r\n";
const BARE: &str = "250 mx\r\n";

fn client(protocol: Protocol, facts: TlsFacts) -> Client {
    let mut config = Config::new(Mode::Implicit, "me.test");
    config.protocol = protocol;
    Fresh::implicit(Arc::new(config), Seed::new([1; 32])).secured(facts)
}

fn message(id: u64, recipients: &[&str]) -> Transaction {
    let recipients = recipients
        .iter()
        .map(|it| ForwardPath::parse(&format!("<{it}>")).unwrap())
        .collect();
    Transaction::new(id, ReversePath::Null, recipients)
}

type Outcomes = Rc<RefCell<Vec<Outcome>>>;

/// Sends the messages one after the other, with this content in one or more portions, and leaves.
fn owner(
    messages: Vec<Transaction>,
    portions: &'static [&'static [u8]],
    outcomes: &Outcomes,
) -> impl FnMut(Ask) -> Answer + use<> {
    let mut messages = messages.into_iter();
    let (mut under_way, mut place) = (0, 0);
    let outcomes = Rc::clone(outcomes);
    outcomes.borrow_mut().clear();
    move |ask| {
        match ask {
            Ask::Content(_) => {
                let portion = portions[place].to_vec();
                place = (place + 1) % portions.len();
                return Answer::Content {
                    portion,
                    last: place == 0,
                };
            }
            Ask::Sent(outcome) => {
                under_way -= 1;
                outcomes.borrow_mut().push(*outcome);
            }
            _ => {}
        }
        match messages.next() {
            Some(message) => {
                under_way += 1;
                Answer::Transaction(Box::new(message))
            }
            None if under_way > 0 => Answer::Wait,
            None => Answer::Quit,
        }
    }
}

struct Sent {
    outcome: script::Outcome,
    outcomes: Vec<Outcome>,
}

fn send_with(
    protocol: Protocol,
    messages: &[Transaction],
    portions: &'static [&'static [u8]],
    replies: &[&str],
) -> Sent {
    let outcomes = Outcomes::default();
    let outcome = run(
        || client(protocol, verified_facts()),
        || owner(messages.to_vec(), portions, &outcomes),
        replies,
    );
    Sent {
        outcome,
        outcomes: outcomes.take(),
    }
}

fn send(messages: &[Transaction], replies: &[&str]) -> Sent {
    send_with(Protocol::Smtp, messages, &[b"a: b\r\n"], replies)
}

fn code(outcome: &Outcome, index: usize) -> u16 {
    match outcome.delivery(index) {
        Delivery::Taken(reply) | Delivery::Refused(reply) => reply.code,
        Delivery::Unsent(_) => 0,
    }
}

#[test]
fn without_pipelining_one_command_waits_for_the_other() {
    let sent = send(
        &[message(1, &["a@b.test"])],
        &[
            HELLO,
            BARE,
            "250 ok\r\n",
            "250 ok\r\n",
            "354 go\r\n",
            "250 ok\r\n",
            "221\r\n",
        ],
    );
    let said = [
        "",
        "EHLO me.test\r\n",
        "MAIL FROM:<>\r\n",
        "RCPT TO:<a@b.test>\r\n",
        "DATA\r\n",
        "a: b\r\n.\r\n",
        "QUIT\r\n",
        "",
    ];
    assert_eq!(sent.outcome.said, said);
    assert!(sent.outcomes[0].is_delivered() && sent.outcome.end.is_empty());
}

#[test]
fn pipelined_commands_stand_in_groups_that_end_where_they_must() {
    // [SMTP-PIPE-02] DATA is last in its group
    let sent = send(
        &[
            message(1, &["a@b.test", "c@b.test"]),
            message(2, &["a@b.test"]),
        ],
        &[
            HELLO,
            FULL,
            "250 ok\r\n250 ok\r\n550 5.1.1 no\r\n354 go\r\n",
            "250 taken\r\n250 ok\r\n250 ok\r\n354 go\r\n",
            "451 4.3.0 later\r\n",
            "221\r\n",
        ],
    );
    let envelope = "MAIL FROM:<> BODY=8BITMIME\r\nRCPT TO:<a@b.test>\r\n";
    assert_eq!(
        sent.outcome.said,
        [
            String::new(),
            "EHLO me.test\r\n".into(),
            format!("{envelope}RCPT TO:<c@b.test>\r\nDATA\r\n"),
            format!("a: b\r\n.\r\n{envelope}DATA\r\n"),
            "a: b\r\n.\r\n".into(),
            "QUIT\r\n".into(),
            String::new()
        ]
    );
    let codes: Vec<_> = [(0, 0), (0, 1), (1, 0)]
        .map(|(it, index)| code(&sent.outcomes[it], index))
        .into();
    assert_eq!(codes, [250, 550, 451]);
}

#[test]
fn when_no_recipient_is_left_nothing_is_sent() {
    // [SMTP-PIPE-01] DATA's own reply counts even then
    for (data, said) in [("554 none\r\n", "RSET\r\n"), ("354 go\r\n", ".\r\n")] {
        let replies = format!("250 ok\r\n550 no\r\n{data}");
        let rest = if data.starts_with('3') {
            "554 none\r\n"
        } else {
            "250 ok\r\n"
        };
        let sent = send(
            &[message(1, &["a@b.test"])],
            &[HELLO, FULL, &replies, rest, "250 ok\r\n", "221\r\n"],
        );
        assert_eq!(sent.outcome.said[3], said);
        assert_eq!((code(&sent.outcomes[0], 0), sent.outcome.end), (550, ""));
    }
    // and without pipelining DATA is not even said
    let sent = send(
        &[message(1, &["a@b.test"])],
        &[
            HELLO,
            BARE,
            "250 ok\r\n",
            "450 later\r\n",
            "250 ok\r\n",
            "221\r\n",
        ],
    );
    assert_eq!(sent.outcome.said[4], "RSET\r\n");
    assert_eq!(code(&sent.outcomes[0], 0), 450);
}

#[test]
fn a_sender_that_is_refused_ends_the_transaction() {
    let sent = send(
        &[message(1, &["a@b.test"])],
        &[HELLO, FULL, "550 no\r\n503 x\r\n503 x\r\n", "221\r\n"],
    );
    assert_eq!((code(&sent.outcomes[0], 0), sent.outcome.end), (550, ""));
    let sent = send(
        &[message(1, &["a@b.test"])],
        &[HELLO, BARE, "450 no\r\n", "221\r\n"],
    );
    assert_eq!(
        (code(&sent.outcomes[0], 0), &*sent.outcome.said[3]),
        (450, "QUIT\r\n")
    );
}

#[test]
fn no_chunk_follows_one_that_failed() {
    // [SMTP-CHUNK-02]
    let mut chunked = message(1, &["a@b.test"]);
    chunked.framing = Framing::Chunks;
    let portions: &[&[u8]] = &[b"a: b\r\n", b"\r\n.c\r\n", b"d"];
    let accepted = "250 ok\r\n250 ok\r\n";
    let sent = send_with(
        Protocol::Smtp,
        &[chunked.clone()],
        portions,
        &[
            HELLO,
            FULL,
            accepted,
            "250 ok\r\n250 ok\r\n250 ok\r\n",
            "221\r\n",
        ],
    );
    assert_eq!(
        sent.outcome.said[3],
        "BDAT 6\r\na: b\r\nBDAT 6\r\n\r\n.c\r\nBDAT 1 LAST\r\nd"
    );
    assert!(sent.outcomes[0].is_delivered());
    for replies in [
        "552 no\r\n503 x\r\n503 x\r\n",
        "250 ok\r\n552 no\r\n250 ok\r\n",
    ] {
        let sent = send_with(
            Protocol::Smtp,
            &[chunked.clone(), message(2, &["a@b.test"])],
            &[b"a: b\r\n", b"\r\n.c\r\n", b"d"],
            &[
                HELLO,
                FULL,
                accepted,
                replies,
                "250 reset\r\n250 ok\r\n250 ok\r\n354 go\r\n",
                "250 ok\r\n",
                "221\r\n",
            ],
        );
        assert_eq!(
            code(&sent.outcomes[0], 0),
            552,
            "a later 250 does not make it good"
        );
        let all = sent.outcome.said.concat();
        let (_, behind) = all.split_once("LAST\r\nd").unwrap();
        assert!(behind.starts_with("RSET\r\nMAIL FROM:"), "{behind}");
    }
}

#[test]
fn chunks_only_where_they_are_offered() {
    // [SMTP-CHUNK-03]
    let mut chunked = message(1, &["a@b.test"]);
    chunked.framing = Framing::Chunks;
    let sent = send(
        &[chunked],
        &[
            HELLO,
            BARE,
            "250 ok\r\n",
            "250 ok\r\n",
            "354 go\r\n",
            "250 ok\r\n",
            "221\r\n",
        ],
    );
    assert_eq!(sent.outcome.said[4], "DATA\r\n");
}

#[test]
fn eight_bit_goes_only_to_a_server_that_takes_it() {
    // [SMTP-8BIT-01]
    let portions: &'static [&'static [u8]] = &[b"a: \xc3\xbc\r\n"];
    let replies = [HELLO, BARE, "250 ok\r\n", "250 ok\r\n", "354 go\r\n"];
    let sent = send_with(
        Protocol::Smtp,
        &[message(1, &["a@b.test"])],
        portions,
        &replies,
    );
    assert_eq!(sent.outcome.end, "E-8BIT");
    assert!(!sent.outcome.said.concat().contains("a:"));
    let mut declared = message(1, &["a@b.test"]);
    declared.eight_bit = Some(true);
    let sent = send_with(
        Protocol::Smtp,
        &[declared],
        portions,
        &[HELLO, BARE, "221\r\n"],
    );
    assert_eq!(sent.outcomes[0].unsent, Some(Unsent::EightBit));
    let sent = send_with(
        Protocol::Smtp,
        &[message(1, &["a@b.test"])],
        portions,
        &[
            HELLO,
            FULL,
            "250 ok\r\n250 ok\r\n354 go\r\n",
            "250 ok\r\n",
            "221\r\n",
        ],
    );
    assert!(sent.outcome.said[2].starts_with("MAIL FROM:<> BODY=8BITMIME\r\n"));
    assert!(sent.outcomes[0].is_delivered());
}

#[test]
fn international_addresses_need_smtputf8() {
    // [SMTP-UTF8-02] the parameter goes along only where it is needed
    let international = || message(1, &["ü@b.test"]);
    let sent = send(&[international()], &[HELLO, BARE, "221\r\n"]);
    assert_eq!(sent.outcomes[0].unsent, Some(Unsent::Utf8));
    let sent = send(
        &[international()],
        &[HELLO, FULL, "250 ok\r\n550 no\r\n554 no\r\n"],
    );
    assert!(sent.outcome.said[2].starts_with("MAIL FROM:<> BODY=8BITMIME SMTPUTF8\r\n"));
}

#[test]
fn the_limits_of_the_server_are_kept() {
    // [SMTP-LIM-02] [SMTP-LIM-03]
    let limited = "250-mx\r\n250 LIMITS RCPTMAX=1 MAILMAX=1\r\n";
    let sent = send(
        &[
            message(1, &["a@b.test", "c@b.test"]),
            message(2, &["a@b.test"]),
            message(3, &["a@b.test"]),
        ],
        &[
            HELLO, limited, "250\r\n", "250\r\n", "354\r\n", "250\r\n", "221\r\n",
        ],
    );
    let unsent: Vec<_> = sent.outcomes.iter().map(|it| it.unsent).collect();
    assert_eq!(
        unsent,
        [
            Some(Unsent::TooManyRecipients),
            None,
            Some(Unsent::TooManyTransactions)
        ]
    );
}

#[test]
fn lmtp_has_a_verdict_for_each_recipient() {
    let sent = send_with(
        Protocol::Lmtp,
        &[message(1, &["a@b.test", "c@b.test", "d@b.test"])],
        &[b"x: y\r\n"],
        &[
            HELLO,
            FULL,
            "250\r\n250\r\n550 no\r\n250\r\n354\r\n",
            "250 a\r\n452 d\r\n",
            "221\r\n",
        ],
    );
    assert_eq!(sent.outcome.said[1], "LHLO me.test\r\n");
    let codes = [0, 1, 2].map(|index| code(&sent.outcomes[0], index));
    assert_eq!(codes, [250, 550, 452]);
    assert!(!sent.outcomes[0].is_delivered());
}

#[test]
fn replies_that_cannot_be_end_the_session() {
    // [SMTP-BASE-08] [SMTP-BASE-07] [SMTP-STARTTLS-25]
    let one = [message(1, &["a@b.test"])];
    let cases: [(&[&str], &str); 7] = [
        (
            &[HELLO, FULL, "250\r\n250\r\n354\r\n", "250-x\r\n550 y\r\n"],
            "E-PROTOCOL",
        ),
        (&[HELLO, FULL, "354\r\n"], "E-PROTOCOL"),
        (&[HELLO, FULL, "250\r\n250\r\n250\r\n"], "E-PROTOCOL"),
        (&[HELLO, FULL, "421 4.3.2 bye\r\n"], "E-SERVER-CLOSING"),
        (&[HELLO, FULL, "250\r\n250\r\n354\r\n", "25"], "E-CLOSED"),
        (&[HELLO, FULL, "250\r\n250\r\n354\r\n"], "E-CLOSED"),
        (&[HELLO, FULL, "250\r\n250\r\n999 x\r\n"], "E-PROTOCOL"),
    ];
    for (replies, end) in cases {
        let sent = send(&one, replies);
        assert_eq!(sent.outcome.end, end, "{replies:?}");
        assert!(!sent.outcomes.iter().any(Outcome::is_delivered) || end == "E-PROTOCOL");
    }
}

/// Logs in with a password and tells what came of it.
fn login(
    facts: &TlsFacts,
    exception: Option<UnverifiedLogin>,
    replies: &[&str],
) -> script::Outcome {
    let mut config = Config::new(Mode::Implicit, "me.test");
    config.exception = exception;
    let config = Arc::new(config);
    run(
        || Fresh::implicit(Arc::clone(&config), Seed::new([1; 32])).secured(facts.clone()),
        || {
            |ask| match ask {
                Ask::Ready(_) => Answer::Login(Box::new(Credentials::password("user", "pencil"))),
                _ => Answer::Quit,
            }
        },
        replies,
    )
}

#[test]
fn a_peer_nobody_verified_gets_no_credential() {
    // [SMTP-AUTH-11] [MUA-02] [SMTP-STARTTLS-12]
    let hello = "250 AUTH PLAIN\r\n";
    let hello = &format!("250-mx\r\n{hello}");
    let outcome = login(&facts(), None, &[HELLO, hello, "221\r\n"]);
    assert_eq!(outcome.said[2], "QUIT\r\n");
    assert!(outcome.told[1].contains("NotVerified"));
    let named = Some(UnverifiedLogin::danger_unverified_peer());
    let outcome = login(&facts(), named, &[HELLO, hello, "235\r\n", "221\r\n"]);
    assert!(outcome.said[2].starts_with("AUTH PLAIN "));
}

#[test]
fn what_the_server_says_in_an_exchange_is_checked() {
    // [SMTP-AUTH-05] [SASL-SCRAM-01]
    let scram = "250-mx\r\n250 AUTH SCRAM-SHA-256\r\n";
    // success without the server's proof
    let outcome = login(&verified_facts(), None, &[HELLO, scram, "235 welcome\r\n"]);
    assert_eq!(outcome.end, "E-SERVER-NOT-PROVEN");
    // a challenge that is not base64, or breaks the mechanism's rules, is cancelled
    for (challenge, why) in [
        ("334 !!!\r\n", "BadBase64"),
        ("334 cj1h\r\n", "ServerNotProven"),
    ] {
        let replies = [HELLO, scram, challenge, "501 cancelled\r\n", "221\r\n"];
        let outcome = login(&verified_facts(), None, &replies);
        assert_eq!(outcome.said[3], "*\r\n");
        assert!(outcome.told[1].contains(why), "{:?}", outcome.told);
    }
    let outcome = login(
        &verified_facts(),
        None,
        &[HELLO, "250-mx\r\n250 AUTH X-OWN\r\n", "221\r\n"],
    );
    assert!(outcome.told[1].contains("NoMechanism") && outcome.said[2] == "QUIT\r\n");
}

#[test]
fn a_raw_command_is_one_line_and_no_way_around_the_rules() {
    // [SMTP-STARTTLS-09] [SMTP-BASE-04]
    for (line, good) in [
        (&b"VRFY x"[..], true),
        (b"NOOP\r\nMAIL FROM:<>", false),
        (b"STARTTLS", false),
        (b"starttls", false),
        (b" STARTTLS", false),
    ] {
        let outcome = run(
            || client(Protocol::Smtp, verified_facts()),
            || {
                |ask| match ask {
                    Ask::Ready(_) => Answer::Command(line.into()),
                    _ => Answer::Quit,
                }
            },
            &[HELLO, BARE, "252 maybe\r\n", "221\r\n"],
        );
        assert_eq!(outcome.end, if good { "" } else { "E-MISUSE" });
    }
}

#[test]
fn the_record_of_a_person_s_login_has_no_secret() {
    let recorder = Recorder::new();
    let mut config = Config::new(Mode::Implicit, "me.test");
    config.recorder = Some(recorder.clone());
    let config = Arc::new(config);
    let commands = [&b"AUTH LOGIN"[..], b"dXNlcg==", b"cGVuY2ls", b"NOOP"];
    let outcome = run(
        || Fresh::implicit(Arc::clone(&config), Seed::new([1; 32])).secured(verified_facts()),
        || {
            let mut commands = commands.iter();
            move |_| {
                commands
                    .next()
                    .map_or(Answer::Quit, |it| Answer::Command((*it).into()))
            }
        },
        &[
            HELLO,
            BARE,
            "334 VXNlcm5hbWU6\r\n",
            "334 UGFzc3dvcmQ6\r\n",
            "235 in\r\n",
            "250\r\n",
            "221\r\n",
        ],
    );
    assert_eq!(outcome.end, "");
    assert!(outcome.said.concat().contains("cGVuY2ls\r\nNOOP\r\n"));
    let shown: Vec<_> = recorder
        .take()
        .iter()
        .map(|it| it.text.text().to_owned())
        .collect();
    let shown = shown.join("\n");
    assert!(
        shown.contains("NOOP") && !shown.contains("cGVuY2ls") && !shown.contains("dXNl"),
        "{shown}"
    );
}
