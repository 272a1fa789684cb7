//! Deadlines, news, and an owner that breaks off.

use std::sync::Arc;
use std::time::{Duration, Instant};

use gatepost_testkit::verified_facts;
use gatepost_wire::client::{Deadlines, Failure, Mode, Seed, Session, Stage};
use gatepost_wire::session::{Fresh as _, Machine, Next};
use gatepost_wire::smtp::path::{ForwardPath, ReversePath};
use gatepost_wire::{imap, pop3, smtp};

const MINUTE: Duration = Duration::from_secs(60);

/// Lets a session go on until it reads; writes are thrown away. Returns the deadline.
fn until<M: Machine>(
    session: &mut M,
    now: Instant,
    owner: &mut impl FnMut(M::Ask) -> M::Answer,
) -> Instant {
    loop {
        match session.next(now) {
            Next::Ask(ask) => session.answer(owner(ask)),
            Next::Write => session.output().clear(),
            Next::Read { until } => return until,
            Next::Upgrade => panic!("no TLS here"),
            Next::Close(why) => panic!("{why:?}"),
        }
    }
}

fn smtp_session() -> smtp::client::Client {
    let config = smtp::client::Config::new(Mode::Implicit, "me.test");
    smtp::client::Fresh::implicit(Arc::new(config), Seed::new([1; 32])).secured(verified_facts())
}

fn smtp_owner() -> impl FnMut(smtp::client::Ask) -> smtp::client::Answer {
    use smtp::client::{Answer, Ask, Transaction};
    |ask| match ask {
        Ask::Ready(_) => {
            let recipient = ForwardPath::parse("<a@b.test>").unwrap();
            Answer::Transaction(Box::new(Transaction::new(
                1,
                ReversePath::Null,
                vec![recipient],
            )))
        }
        Ask::Content(_) => Answer::Content {
            portion: b"x\r\n".to_vec(),
            last: true,
        },
        Ask::Idle => Answer::Noop,
        _ => Answer::Wait,
    }
}

// [SMTP-BASE-10] [SMTP-BASE-11] a slow server is not given up too early, and a stalled one in the end
#[test]
fn smtp_waits_as_long_as_the_standard_asks() {
    let steps = [
        ("220 mx\r\n", 5),
        ("250 mx\r\n", 5),
        ("250 ok\r\n", 5),
        ("250 ok\r\n", 5),
        ("354 go\r\n", 2),
        ("250 ok\r\n", 10),
    ];
    for stall in 0..steps.len() {
        let (mut session, mut owner) = (smtp_session(), smtp_owner());
        let mut now = Instant::now();
        for (reply, minutes) in &steps[..stall] {
            let end = until(&mut session, now, &mut owner);
            assert_eq!(end - now, MINUTE * *minutes, "{reply}");
            now = end.checked_sub(Duration::from_secs(1)).unwrap();
            session.receive(reply.as_bytes());
        }
        let end = until(&mut session, now, &mut owner);
        // Bytes that trickle in do not move the deadline.
        session.receive(b"2");
        assert_eq!(
            until(&mut session, end.checked_sub(MINUTE).unwrap(), &mut owner),
            end
        );
        assert!(matches!(session.next(end), Next::Close(_)));
        let failure = session.failure().unwrap();
        assert!(
            matches!(failure, Failure::GreetingMissing | Failure::Timeout(_)),
            "{failure}"
        );
        assert_eq!(failure == &Failure::GreetingMissing, stall == 0);
    }
}

#[test]
fn news_wakes_an_idle_session() {
    let (mut session, mut owner) = (smtp_session(), smtp_owner());
    let now = Instant::now();
    let replies = [
        "220 mx\r\n",
        "250 mx\r\n",
        "250\r\n",
        "250\r\n",
        "354\r\n",
        "250 taken\r\n",
    ];
    for reply in replies {
        until(&mut session, now, &mut owner);
        session.receive(reply.as_bytes());
    }
    until(&mut session, now, &mut owner);
    session.news();
    assert_eq!(session.next(now), Next::Ask(smtp::client::Ask::Idle));
    session.answer(smtp::client::Answer::Noop);
    assert_eq!(session.next(now), Next::Write);
    assert_eq!(session.output(), b"NOOP\r\n");
}

#[test]
fn a_session_that_is_stopped_says_nothing_more() {
    let mut session = smtp_session();
    session.receive(b"220 mx\r\n");
    session.shutdown();
    assert!(matches!(session.next(Instant::now()), Next::Close(_)));
    assert_eq!(session.failure(), Some(&Failure::Stopped));
    assert!(session.output().is_empty());
}

#[test]
fn imap_idle_is_ended_in_time() {
    use imap::client::{Answer, Ask, Command, Config, Fresh};
    let config = Arc::new(Config::new(Mode::Implicit));
    let mut session = Fresh::implicit(config, Seed::new([1; 32])).secured(verified_facts());
    let mut owner = |ask| match ask {
        Ask::Ready { .. } => Answer::Command(Command::Idle),
        _ => Answer::Wait,
    };
    let now = Instant::now();
    session.receive(b"* PREAUTH [CAPABILITY IMAP4rev1 IDLE] x\r\n");
    until(&mut session, now, &mut owner);
    session.receive(b"+ idling\r\n");
    let end = until(&mut session, now, &mut owner);
    assert_eq!(end - now, 29 * MINUTE);
    assert_eq!(session.next(end), Next::Write);
    assert_eq!(session.output(), b"DONE\r\n");
    session.output().clear();
    let end = until(&mut session, end, &mut owner);
    assert!(matches!(session.next(end), Next::Close(_)));
    assert_eq!(session.failure(), Some(&Failure::Timeout(Stage::Command)));
}

/// Says a line every ten seconds until the session has had enough; how long that took.
fn patience<M: Session>(
    session: &mut M,
    opening: &[&str],
    line: &str,
    mut owner: impl FnMut(M::Ask) -> M::Answer,
) -> (Duration, &'static str) {
    let mut now = Instant::now();
    for reply in opening {
        until(session, now, &mut owner);
        session.receive(reply.as_bytes());
    }
    let begun = now;
    loop {
        match session.next(now) {
            Next::Ask(ask) => session.answer(owner(ask)),
            Next::Write => session.output().clear(),
            Next::Read { .. } if now - begun > 24 * 60 * MINUTE => return (now - begun, ""),
            Next::Read { until } => {
                now = until.min(now + Duration::from_secs(10));
                session.receive(line.as_bytes());
            }
            Next::Upgrade => panic!("no TLS here"),
            Next::Close(_) => return (now - begun, session.failure().unwrap().label()),
        }
    }
}

#[test]
fn lines_that_trickle_in_do_not_buy_time() {
    let config = Arc::new(imap::client::Config::new(Mode::StartTls));
    let mut session = imap::client::Client::clear(config, Seed::new([1; 32]));
    let wait = |_| imap::client::Answer::Wait;
    let taken = patience(&mut session, &["* OK x\r\n"], "* OK still here\r\n", wait);
    assert_eq!(taken, (Duration::from_secs(30), "E-TIMEOUT"));

    let config = Arc::new(pop3::client::Config::new(Mode::Opportunistic));
    let mut session = pop3::client::Client::clear(config, Seed::new([1; 32]));
    let wait = |_| pop3::client::Answer::Wait;
    let opening = ["+OK x\r\n", "+OK\r\n"];
    let taken = patience(&mut session, &opening, "X-MORE\r\n", wait);
    assert_eq!(taken, (Duration::from_secs(30), "E-TIMEOUT"));

    let config = Arc::new(smtp::client::Config {
        deadlines: Deadlines::INTERACTIVE,
        ..smtp::client::Config::new(Mode::StartTls, "me.test")
    });
    let mut session = smtp::client::Client::clear(config, Seed::new([1; 32]));
    let wait = |_| smtp::client::Answer::Wait;
    let taken = patience(&mut session, &["220 x\r\n"], "250-more\r\n", wait);
    assert_eq!(taken, (Duration::from_secs(30), "E-TIMEOUT"));
}

#[test]
fn octets_of_a_message_that_trickle_in_do_not_buy_time() {
    use pop3::client::{Answer, Ask, Command, Config, Fresh};
    let credentials = || gatepost_wire::client::Credentials::password("user", "pencil");
    let opening = [
        "+OK x\r\n",
        "+OK\r\nUSER\r\n.\r\n",
        "+OK\r\n",
        "+OK\r\n",
        "+OK\r\n",
    ];
    for command in [Command::Retrieve(1), Command::Uidl] {
        let config = Arc::new(Config::new(Mode::Implicit));
        let mut session = Fresh::implicit(config, Seed::new([1; 32])).secured(verified_facts());
        let owner = |ask| match ask {
            Ask::Ready(_) => Answer::Login(Box::new(credentials())),
            Ask::LoggedIn(_) => Answer::Commands(vec![command.clone()]),
            _ => Answer::Wait,
        };
        let taken = patience(&mut session, &opening, "x", owner);
        assert_eq!(taken, (3 * MINUTE, "E-TIMEOUT"), "{command:?}");
    }
}
