//! The POP3 session, seen from outside: dialogues, attacks on the upgrade, any cut of the input, garbage.

mod client;
mod cuts;
mod limits;
mod mailbox;

use std::sync::Arc;
use std::time::Instant;

use gatepost_testkit::talk::{self, End, Outcome, outcome};
use gatepost_testkit::{facts, old_facts};
use gatepost_wire::pop3::ask::{Answer, Ask, Fault, Maildrop, OpenError};
use gatepost_wire::pop3::server::{Config, Fresh, Limits, Server};
use gatepost_wire::sasl::Mechanism;
use gatepost_wire::seam::{ClearLogin, TlsVersion};
use gatepost_wire::session::{Fresh as _, Machine as _, Next, Why};

use mailbox::Mailbox;

fn config() -> Arc<Config> {
    let host = "dbc.mtview.ca.us".into();
    Arc::new(Config {
        host,
        greeting: "POP3 server ready".into(),
        offer: None,
        starttls: true,
        least: TlsVersion::Tls12,
        mechanisms: Mechanism::FOR_ACCOUNTS.to_vec(),
        limits: Limits::default(),
    })
}

fn clear() -> Server {
    Server::clear(config(), None, Instant::now())
}

fn excepted() -> Server {
    Server::clear(
        config(),
        Some(ClearLogin::danger_allowed_by_configuration()),
        Instant::now(),
    )
}

fn implicit() -> Server {
    Fresh::implicit(config()).secured(facts())
}

fn run_cut(file_or_text: &str, make: fn() -> Server) {
    talk::run_cut(file_or_text, make, || Mailbox::new().backend());
}

#[test]
fn dialogues_hold_however_the_input_is_cut() {
    // [IMPL-02] [POP-PIPE-01] [POP-TLS-01] [POP-TLS-02] [POP-TLS-04] [POP-TLS-06] [POP-AUTH-01] [POP-AUTH-02] [POP-AUTH-04]
    for file in [
        "rfc1939", "sasl", "scram", "messages", "limits", "failures", "lang",
    ] {
        run_cut(&format!("tests/pop3/{file}.talk"), implicit);
    }
    let german = || {
        let one = "Subject: Grüße\r\n\r\nbody\r\n".into();
        let two = "Subject: two\r\n\r\nGrüße\r\n".into();
        Mailbox::of(vec![(4, 40, one), (9, 40, two)]).backend()
    };
    talk::run_cut("tests/pop3/utf8.talk", implicit, german);
    talk::run_cut("tests/pop3/ascii.talk", implicit, german);
    run_cut("tests/pop3/stls.talk", clear);
    run_cut("tests/pop3/forget.talk", excepted);
    run_cut("tests/pop3/exception.talk", excepted);
}

const HELLO: &str = "S: +OK dbc.mtview.ca.us POP3 server ready\n";
const LOGIN: &str =
    "C: USER mrose\nS: +OK say PASS\nC: PASS tanstaaf\nS: +OK 2 messages (320 octets)\n";

#[test]
fn the_greeting_announces_no_apop() {
    // [POP-TLS-08]
    for session in [clear(), implicit()] {
        let output = talk::transcript(
            session,
            &[b"APOP mrose c4c9334bac560ecc979e58001b3e22fb\r\n"],
            Mailbox::new().backend(),
        );
        assert!(!output.contains(&b'<'));
        assert!(output.ends_with(b"\r\n-ERR unknown command\r\n"));
    }
}

#[test]
fn nothing_said_in_clear_survives_the_upgrade() {
    // [POP-TLS-05] whole command, pieces of one, a bare LF, a NUL, before and behind
    for injected in [
        "NOOP\\r\\n",
        "QUIT\\r\\n",
        "CAPA\\r\\nCAPA\\r\\n",
        "N",
        "\\n",
        "\\r\\n",
        "\\0",
        "\\n\\x16\\x03\\x01",
        "CAPA\\r\\n\\x16\\x03",
    ] {
        run_cut(
            &format!("{HELLO}C< STLS\\r\\n{injected}\nS: +OK begin TLS\n<upgrade-refused>\n"),
            clear,
        );
    }
    // A line that is not ended by CRLF is no STLS.
    run_cut(
        &format!("{HELLO}C< STLS\\nNOOP\\r\\n\nS: -ERR unknown command\n"),
        clear,
    );
    run_cut(
        &format!("{HELLO}C< NOOP\\nSTLS\\r\\n\nS: -ERR unknown command\n"),
        clear,
    );
}

#[test]
fn a_client_hello_directly_behind_is_taken() {
    // [POP-TLS-02] [POP-TLS-05]
    let sent = "C< STLS\\r\\n\\x16\\x03\\x01\\x02\nS: +OK begin TLS\n<tls \\x16\\x03\\x01\\x02>\n";
    run_cut(
        &format!("{HELLO}{sent}C: STAT\nS: -ERR not in this state\n"),
        clear,
    );
}

// [REPLY-07] [SMTP-STARTTLS-12] below the floor nobody behind the session is asked.
#[test]
fn no_login_below_the_floor() {
    let strict = || {
        let least = TlsVersion::Tls13;
        Arc::new(Config {
            least,
            ..config().as_ref().clone()
        })
    };
    let nobody = || |ask: Ask| -> Answer { panic!("asked for {ask:?}") };
    let exception = ClearLogin::danger_allowed_by_configuration();
    for exception in [None, Some(exception)] {
        let make = || Server::clear(strict(), exception, Instant::now());
        talk::run_cut("tests/pop3/floor.talk", make, nobody);
    }
    let implicit = || Fresh::implicit(strict()).secured(old_facts());
    let greeting = "S: -ERR [SYS/PERM] TLS 1.3 is required here\n<close tls_too_weak>\n";
    talk::run_cut(greeting, implicit, nobody);
    let make = || Server::clear(strict(), None, Instant::now());
    run_with("tests/pop3/stls.talk", make);
}

fn run_with(file: &str, make: impl Fn() -> Server) {
    talk::run_cut(file, make, || Mailbox::new().backend());
}

#[test]
fn commands_before_stls_in_one_segment_are_answered_in_clear() {
    // [POP-PIPE-01]
    run_cut(
        &format!("{HELLO}C: NOOP\nC: STLS\nS: -ERR not in this state\nS: +OK begin TLS\n<tls>\n"),
        clear,
    );
}

#[test]
fn without_a_certificate_stls_is_neither_announced_nor_taken() {
    // [POP-TLS-01]
    let make = || {
        let config = Config {
            starttls: false,
            ..config().as_ref().clone()
        };
        Server::clear(Arc::new(config), None, Instant::now())
    };
    let output = talk::transcript(make(), &[b"CAPA\r\nSTLS\r\n"], Mailbox::new().backend());
    let output = String::from_utf8(output).unwrap();
    assert!(!output.contains("\r\nSTLS\r\n"));
    assert!(output.ends_with("-ERR [SYS/TEMP] TLS is not available\r\n"));
}

#[test]
fn credentials_in_clear_never_reach_the_keeper() {
    // [POP-TLS-04] [POP-TLS-07] [POP-AUTH-04] [SASL-PLAIN-01] [SMTP-AUTH-01]
    let mailbox = Mailbox::new();
    let said = b"USER mrose\r\nPASS tanstaaf\r\nAUTH PLAIN AG1yb3NlAHRhbnN0YWFm\r\nAUTH LOGIN\r\nbXJvc2U=\r\nQUIT\r\n";
    let Outcome { output, end } = outcome(clear(), &[said], mailbox.backend());
    assert_eq!(end, End::Closed(Why::Quit));
    assert_eq!(mailbox.asked.borrow().len(), 0);
    let output = String::from_utf8(output).unwrap();
    assert_eq!(output.matches("-ERR login needs TLS\r\n").count(), 4);
    assert!(!output.contains("[AUTH]") && !output.contains("+ "));
}

#[test]
fn a_browser_or_a_client_hello_on_the_clear_port_ends_it_without_a_word() {
    // [IMPL-04]
    run_cut(
        &format!("{HELLO}C< \\x16\\x03\\x01\\x02\\x00\\x01\\r\\n\n<close tls_on_plaintext_port>\n"),
        clear,
    );
    for session in [clear as fn() -> Server, implicit] {
        run_cut(
            &format!("{HELLO}C: GET / HTTP/1.1\nC: Host: x\nC: USER mrose\n<close http_request>\n"),
            session,
        );
    }
    // Only as the first thing said.
    run_cut(
        &format!(
            "{HELLO}C: CAPABLE\nS: -ERR unknown command\nC< \\x16\\r\\n\nS: -ERR unknown command\n"
        ),
        clear,
    );
    run_cut(
        &format!(
            "{HELLO}C: X\nS: -ERR unknown command\nC: GET / HTTP/1.1\nS: -ERR unknown command\n"
        ),
        clear,
    );
}

#[test]
fn only_quit_removes_messages() {
    // [POP-TLS-06]
    for (end, label) in [
        ("<eof>", "peer_closed"),
        ("<broken>", "broken"),
        ("<wait 10m>", "timeout"),
        ("<shutdown>", "shutdown"),
    ] {
        let farewell = if end == "<shutdown>" {
            "S: -ERR [SYS/TEMP] the server is stopping\n"
        } else {
            ""
        };
        let mailbox = Mailbox::new();
        let dialogue = format!(
            "{HELLO}{LOGIN}C: DELE 1\nS: +OK message 1 deleted\n{end}\n{farewell}<close {label}>\n"
        );
        talk::run(&dialogue, implicit, mailbox.backend());
        assert_eq!(mailbox.asked_for("Update"), 0, "{end}");
    }
    let mailbox = Mailbox::new();
    let dialogue = format!(
        "{HELLO}{LOGIN}C: DELE 2\nC: QUIT\nS: +OK message 2 deleted\nS: +OK goodbye\n<close quit>\n"
    );
    talk::run(&dialogue, implicit, mailbox.backend());
    assert_eq!(
        mailbox.asked.borrow().last().unwrap(),
        "Update { deleted: [9] }"
    );
}

#[test]
fn quit_counts_even_if_the_client_does_not_wait() {
    let mailbox = Mailbox::new();
    let mut session = implicit();
    session.receive(b"USER mrose\r\nPASS tanstaaf\r\nDELE 1\r\nQUIT\r\n");
    session.peer_closed(true);
    let Outcome { end, .. } = outcome(session, &[], mailbox.backend());
    assert_eq!(end, End::Closed(Why::Quit));
    assert_eq!(
        mailbox.asked.borrow().last().unwrap(),
        "Update { deleted: [4] }"
    );
}

#[test]
fn a_removal_that_failed_is_said() {
    let mut mailbox = Mailbox::new();
    mailbox.update = Err(Fault);
    let dialogue = format!(
        "{HELLO}{LOGIN}C: QUIT\nS: -ERR [SYS/TEMP] deleted messages not removed\n<close quit>\n"
    );
    talk::run(&dialogue, implicit, mailbox.backend());
}

#[test]
fn shutdown_is_said_between_commands() {
    run_cut(
        &format!(
            "{HELLO}<shutdown>\nS: -ERR [SYS/TEMP] the server is stopping\n<close shutdown>\n"
        ),
        clear,
    );
}

#[test]
fn a_maildrop_that_cannot_be_opened() {
    for (error, text) in [
        (
            OpenError::InUse,
            "[IN-USE] another session has this maildrop",
        ),
        (
            OpenError::Fault,
            "[SYS/TEMP] the maildrop cannot be opened now",
        ),
    ] {
        let mut mailbox = Mailbox::new();
        mailbox.open = Err(error);
        let dialogue = format!(
            "{HELLO}C: USER mrose\nC: PASS tanstaaf\nC: STAT\nS: +OK say PASS\nS: -ERR {text}\nS: -ERR not in this state\n"
        );
        talk::run_cut(&dialogue, implicit, || mailbox.backend());
    }
}

#[test]
fn a_keeper_who_cannot_tell_is_no_failed_login() {
    let text =
        "C: USER down\nC: PASS x\nS: +OK say PASS\nS: -ERR [SYS/TEMP] no login possible now\n";
    run_cut(&format!("{HELLO}{text}{text}{text}{text}"), implicit);
}

#[test]
fn messages_come_in_pieces() {
    // [POP-TLS-06] one question for a small message; for a large one never more than a piece in memory
    const PIECE: usize = 64 * 1024;
    for (octets, questions) in [
        (0, 1),
        (1000, 1),
        (PIECE - 1, 1),
        (PIECE, 2),
        (3 * PIECE + 5, 4),
    ] {
        let mailbox = Mailbox::sized(octets);
        let mut expected = b"+OK dbc.mtview.ca.us POP3 server ready\r\n+OK say PASS\r\n".to_vec();
        expected.extend_from_slice(
            format!("+OK 1 messages ({octets} octets)\r\n+OK {octets} octets\r\n").as_bytes(),
        );
        expected.extend_from_slice(&mailbox.messages[0].2);
        if !expected.ends_with(b"\r\n") {
            expected.extend_from_slice(if expected.ends_with(b"\r") {
                b"\n"
            } else {
                b"\r\n"
            });
        }
        expected.extend_from_slice(b".\r\n+OK nothing done\r\n");
        let said = b"USER mrose\r\nPASS tanstaaf\r\nRETR 1\r\nNOOP\r\n";
        let output = talk::transcript(implicit(), &[said], mailbox.backend());
        assert!(output == expected, "{octets} octets");
        assert_eq!(mailbox.asked_for("Read"), questions, "{octets} octets");
    }
}

#[test]
fn a_message_that_breaks_off_is_never_ended() {
    let mut mailbox = Mailbox::sized(200_000);
    mailbox.spoilt = Some((1, 65_536));
    let said = b"USER mrose\r\nPASS tanstaaf\r\nRETR 1\r\nNOOP\r\n";
    let Outcome { output, end } = outcome(implicit(), &[said], mailbox.backend());
    assert_eq!(end, End::Closed(Why::Fault));
    assert!(output.len() > 65_536 && output.iter().rev().take(3).all(|it| *it != b'.'));

    // Nothing was said yet: an error is enough.
    mailbox.spoilt = Some((1, 0));
    let Outcome { output, end } = outcome(implicit(), &[said], mailbox.backend());
    assert_eq!(end, End::Reading);
    assert!(
        output.ends_with(b"-ERR [SYS/TEMP] the message cannot be read\r\n+OK nothing done\r\n")
    );
}

#[test]
fn an_answer_that_does_not_fit_ends_the_session() {
    let answers: [fn() -> Answer; 4] = [
        || Answer::Opened(Err(OpenError::InUse)),
        || Answer::Octets(Ok(vec![])),
        || Answer::Updated(Ok(())),
        || {
            Answer::Opened(Ok(Maildrop {
                uidvalidity: 1,
                messages: vec![],
            }))
        },
    ];
    for answer in answers {
        let Outcome { output, end } =
            outcome(implicit(), &[b"USER mrose\r\nPASS tanstaaf\r\n"], |_| {
                answer()
            });
        assert_eq!(end, End::Closed(Why::Fault));
        assert!(output.ends_with(b"+OK say PASS\r\n"));
    }
    let mut session = implicit();
    session.receive(b"USER mrose\r\nPASS tanstaaf\r\n");
    let now = Instant::now();
    assert!(matches!(session.next(now), Next::Ask(_)));
    assert_eq!(
        session.next(now),
        Next::Close(Why::Fault),
        "no step before the answer"
    );
}

#[test]
fn a_password_takes_its_name_with_it() {
    // [SMTP-AUTH-12] a password of which nothing is left after preparation is wrong, and USER has to come again
    let failed =
        "C: USER mrose\nS: +OK say PASS\nC: PASS \u{ad}\nS: -ERR [AUTH] wrong name or password\n";
    let again = "C: PASS tanstaaf\nS: -ERR say USER first\n";
    run_cut(&format!("{HELLO}{failed}{again}"), implicit);
}

#[test]
fn more_octets_than_asked_for_are_a_fault() {
    let mailbox = Mailbox::new();
    let backend = |ask| match ask {
        Ask::Read {
            length, offset: 0, ..
        } => Answer::Octets(Ok(vec![b'x'; length as usize + 1])),
        Ask::Read { .. } => Answer::Octets(Ok(vec![])),
        ask => mailbox.answer(ask),
    };
    let said = b"USER mrose\r\nPASS tanstaaf\r\nRETR 1\r\n";
    let Outcome { output, end } = outcome(implicit(), &[said], backend);
    assert_eq!(end, End::Closed(Why::Fault));
    assert!(output.ends_with(b"+OK 2 messages (320 octets)\r\n"));
}
