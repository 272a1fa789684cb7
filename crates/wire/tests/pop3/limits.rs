//! How long, how much, how often.

use std::time::{Duration, Instant};

use gatepost_testkit::talk::{self, End, Outcome, outcome};
use gatepost_wire::pop3::server::Server;
use gatepost_wire::session::{Machine as _, Next, Why};

use super::mailbox::Mailbox;
use super::{HELLO, LOGIN, clear, config, implicit, run_cut};

#[test]
fn silence_ends_the_session() {
    // [POP-TLS-06] at least ten minutes once logged in
    run_cut(
        &format!("{HELLO}<wait 59s>\n<wait 1s>\n<close timeout>\n"),
        clear,
    );
    run_cut(
        &format!("{HELLO}C< NO\n<wait 30s>\nC< OP\n<wait 30s>\n<close timeout>\n"),
        clear,
    );
    run_cut(
        &format!(
            "{HELLO}<wait 59s>\nC: NOOP\nS: -ERR not in this state\n<wait 59s>\n<eof>\n<close peer_closed>\n"
        ),
        clear,
    );
    run_cut(
        &format!(
            "{HELLO}{LOGIN}<wait 599s>\nC: NOOP\nS: +OK nothing done\n<wait 599s>\n<wait 1s>\n<close timeout>\n"
        ),
        implicit,
    );
}

#[test]
fn a_login_has_its_time() {
    let busy = "<wait 50s>\nC: NOOP\nS: -ERR not in this state\n".repeat(5);
    run_cut(
        &format!("{HELLO}{busy}<wait 49s>\n<wait 1s>\n<close timeout>\n"),
        clear,
    );
}

#[test]
fn long_lines() {
    // [POP-TLS-06] 255 octets are read; a line too long is dropped whole, and what follows it is the next command
    let name = "x".repeat(248);
    run_cut(
        &format!("{HELLO}C: USER {name}\nS: +OK say PASS\n"),
        implicit,
    );
    let endless = "x".repeat(5000);
    let dialogue = format!(
        "{HELLO}C: USER {endless}\nC: QUIT\nS: -ERR line too long\nS: +OK goodbye\n<close quit>\n"
    );
    talk::run(&dialogue, implicit, Mailbox::new().backend());
    let said = format!("USER {endless}\r\nQUIT\r\n");
    for cut in [1, 2047, 2048, 2049, 2050, 5005, 5006, 5007] {
        let (head, tail) = said.as_bytes().split_at(cut);
        let Outcome { output, end } = outcome(implicit(), &[head, tail], Mailbox::new().backend());
        assert!(
            output.ends_with(b"ready\r\n-ERR line too long\r\n+OK goodbye\r\n"),
            "cut at {cut}"
        );
        assert_eq!(end, End::Closed(Why::Quit));
    }
    // [SMTP-AUTH-05] a response of 12288 octets is read, a longer one ends the exchange
    for (length, reply) in [
        (12288, "-ERR malformed response"),
        (12292, "-ERR line too long"),
    ] {
        let response = "A".repeat(length);
        let dialogue = format!(
            "{HELLO}C: AUTH PLAIN\nS< + \\r\\n\nC: {response}\nS: {reply}\nC: NOOP\nS: -ERR not in this state\n"
        );
        talk::run(&dialogue, implicit, Mailbox::new().backend());
    }
}

#[test]
fn the_rest_of_a_dropped_line_is_never_a_command() {
    let mut session = implicit();
    session.receive(&[b'x'; 4000]);
    let Outcome { end, .. } = {
        let mut backend = Mailbox::new().backend();
        while !matches!(session.next(Instant::now()), Next::Read { .. }) {
            session.output().clear();
        }
        session.receive(b"QUIT\r\n");
        session.peer_closed(true);
        outcome(session, &[], &mut backend)
    };
    assert_eq!(end, End::Closed(Why::PeerClosed));
}

#[test]
fn commands_before_login_are_bounded() {
    let Outcome { output, end } = outcome(
        clear(),
        &[b"CAPA\r\n".repeat(200).as_slice()],
        Mailbox::new().backend(),
    );
    assert_eq!(end, End::Closed(Why::LimitExceeded));
    assert!(output.ends_with(b"\r\n.\r\n-ERR too many commands before login\r\n"));
}

#[test]
fn output_waiting_is_bounded() {
    let mut mailbox = Mailbox::sized(1024 * 1024);
    mailbox
        .messages
        .extend((2..50_000).map(|uid| (uid, 1, Vec::new())));
    let mut backend = mailbox.backend();
    let mut session = implicit();
    session.receive(b"USER mrose\r\nPASS tanstaaf\r\nRETR 1\r\nLIST\r\nUIDL\r\nNOOP\r\n");
    let (now, mut most) = (Instant::now(), 0);
    loop {
        match session.next(now) {
            Next::Ask(ask) => session.answer(backend(ask)),
            Next::Write => {
                most = most.max(session.output().len());
                session.output().clear();
            }
            _ => break,
        }
    }
    assert!(most > 60_000 && most < 150_000, "{most}");
}

#[test]
fn the_deadline_is_not_moved_by_octets() {
    let start = Instant::now();
    let mut session = Server::clear(config(), None, start);
    let mut untils = Vec::new();
    while let Next::Write = session.next(start) {
        session.output().clear();
    }
    for seconds in 0..3 {
        session.receive(b"N");
        let now = start + Duration::from_secs(seconds);
        let Next::Read { until } = session.next(now) else {
            panic!()
        };
        untils.push(until);
    }
    assert_eq!(untils[0], untils[2]);
    assert!(untils[0] >= start + Duration::from_secs(60));
}
