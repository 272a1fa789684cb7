//! The POP3 session, seen from outside: dialogues, attacks on the upgrade, any cut of the input, garbage.

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::{Arc, LazyLock};
use std::time::{Duration, Instant};

use gatepost_testkit::talk::{self, End, Outcome};
use gatepost_testkit::{facts, talk::outcome};
use gatepost_wire::pop3::ask::{Answer, Ask, Fault, Maildrop, OpenError};
use gatepost_wire::pop3::server::{Config, Fresh, Limits, Server};
use gatepost_wire::sasl::{
    AccountAnswer, AccountAsk, Attempt, ScramKeys, ScramRecord, decode_base64,
};
use gatepost_wire::seam::ClearLogin;
use gatepost_wire::session::{Fresh as _, Machine as _, Next, Why};
use proptest::prelude::*;

/// `user` with the password `pencil`, as RFC 7677 3 has it.
static PENCIL: LazyLock<ScramRecord> = LazyLock::new(|| {
    ScramRecord::derive(
        "pencil",
        decode_base64(b"W22ZaJ0SNY7soEsUEjb6gQ==").unwrap(),
        4096,
    )
    .unwrap()
});

fn config() -> Arc<Config> {
    let host = "dbc.mtview.ca.us".into();
    Arc::new(Config {
        host,
        greeting: "POP3 server ready".into(),
        starttls: true,
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

/// A maildrop of any messages and an account, and a list of everything asked.
#[derive(Clone)]
struct Mailbox {
    messages: Vec<(u32, u64, Vec<u8>)>,
    open: Result<(), OpenError>,
    /// UIDs that cannot be read from this offset on.
    spoilt: Option<(u32, u64)>,
    update: Result<(), Fault>,
    asked: Rc<RefCell<Vec<String>>>,
}

impl Mailbox {
    fn new() -> Self {
        let one = b"Subject: one\r\n\r\n.dot\r\n..\nlast".to_vec();
        let two = b"Subject: two\r\n\r\nbody\r\n".to_vec();
        Self::of(vec![(4, 120, one), (9, 200, two)])
    }

    fn of(messages: Vec<(u32, u64, Vec<u8>)>) -> Self {
        Self {
            messages,
            open: Ok(()),
            spoilt: None,
            update: Ok(()),
            asked: Rc::default(),
        }
    }

    /// A message of so many octets, alone.
    fn sized(octets: usize) -> Self {
        let message = b"0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcd\r\n"
            .iter()
            .copied()
            .cycle();
        Self::of(vec![(1, octets as u64, message.take(octets).collect())])
    }

    fn answer(&self, ask: Ask) -> Answer {
        self.asked.borrow_mut().push(format!("{ask:?}"));
        match ask {
            Ask::Account(AccountAsk::ScramKeys { .. }) => {
                Answer::Account(AccountAnswer::ScramKeys(ScramKeys {
                    salt: PENCIL.salt.clone(),
                    iterations: PENCIL.iterations,
                    stored_key: PENCIL.stored_key.clone(),
                    server_key: PENCIL.server_key.clone(),
                    nonce: "%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0".into(),
                }))
            }
            Ask::Account(AccountAsk::Login(attempt)) => Answer::Account(judge(&attempt)),
            Ask::Open => {
                let messages = self
                    .messages
                    .iter()
                    .map(|(uid, size, _)| (*uid, *size))
                    .collect();
                Answer::Opened(self.open.map(|()| Maildrop {
                    uidvalidity: 77,
                    messages,
                }))
            }
            Ask::Read {
                uid,
                offset,
                length,
            } => Answer::Octets(self.read(uid, offset, length)),
            Ask::Update { .. } => Answer::Updated(self.update),
        }
    }

    fn read(&self, uid: u32, offset: u64, length: u32) -> Result<Vec<u8>, Fault> {
        if self
            .spoilt
            .is_some_and(|(spoilt, from)| uid == spoilt && offset >= from)
        {
            return Err(Fault);
        }
        let (_, _, message) = self
            .messages
            .iter()
            .find(|(it, ..)| *it == uid)
            .ok_or(Fault)?;
        let start = message.len().min(usize::try_from(offset).unwrap());
        let end = message.len().min(start + length as usize);
        Ok(message[start..end].to_vec())
    }

    fn backend(&self) -> impl FnMut(Ask) -> Answer + use<> {
        let this = self.clone();
        move |ask| this.answer(ask)
    }

    fn asked_for(&self, word: &str) -> usize {
        self.asked
            .borrow()
            .iter()
            .filter(|it| it.starts_with(word))
            .count()
    }
}

fn judge(attempt: &Attempt) -> AccountAnswer {
    let good = match attempt {
        Attempt::Password { user, password, .. } if user == "down" && password.expose() == "x" => {
            return AccountAnswer::Unavailable;
        }
        Attempt::Password { user, password, .. } => {
            user == "mrose" && password.expose() == "tanstaaf"
        }
        Attempt::Scram { user, proven, .. } => user == "user" && *proven,
    };
    if good {
        AccountAnswer::Granted {
            account: "mrose@dbc.mtview.ca.us".into(),
        }
    } else {
        AccountAnswer::Denied
    }
}

fn run_cut(file_or_text: &str, make: fn() -> Server) {
    talk::run_cut(file_or_text, make, || Mailbox::new().backend());
}

#[test]
fn dialogues_hold_however_the_input_is_cut() {
    // [POP-PIPE-01] [POP-TLS-01] [POP-TLS-02] [POP-TLS-04] [POP-TLS-06] [POP-AUTH-01] [POP-AUTH-02] [POP-AUTH-04]
    for file in ["rfc1939", "sasl", "scram", "messages", "limits", "failures"] {
        run_cut(&format!("tests/pop3/{file}.talk"), implicit);
    }
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
    // [POP-TLS-04] [POP-AUTH-04] [SASL-PLAIN-01] [SMTP-AUTH-01]
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
fn the_deadline_is_not_moved_by_octets() {
    let start = Instant::now();
    let mut session = Server::clear(config(), None, start);
    let mut untils = Vec::new();
    for seconds in 0..3 {
        session.receive(b"N");
        let now = start + Duration::from_secs(seconds);
        while let Next::Write = session.next(now) {
            session.output().clear();
        }
        let Next::Read { until } = session.next(now) else {
            panic!()
        };
        untils.push(until);
    }
    assert_eq!(untils[0], untils[2]);
    assert!(untils[0] >= start + Duration::from_secs(60));
}

/// Lines that reach every state, and some that should not.
fn lines() -> impl Strategy<Value = Vec<u8>> {
    let known = prop::sample::select(vec![
        "USER mrose",
        "PASS tanstaaf",
        "PASS wrong",
        "AUTH PLAIN AG1yb3NlAHRhbnN0YWFm",
        "AUTH PLAIN",
        "AG1yb3NlAHRhbnN0YWFm",
        "AUTH LOGIN",
        "bXJvc2U=",
        "*",
        "CAPA",
        "STLS",
        "STAT",
        "LIST",
        "LIST 1",
        "UIDL",
        "UIDL 2",
        "RETR 1",
        "RETR 2",
        "TOP 1 1",
        "DELE 1",
        "RSET",
        "NOOP",
        "QUIT",
        "GET / HTTP/1.1",
        "",
        "\x16\x03\x01",
    ]);
    prop_oneof![9 => known.prop_map(|it| it.as_bytes().to_vec()), 1 => prop::collection::vec(any::<u8>(), 0..20)]
}

proptest! {
    #[test]
    fn any_cut_gives_the_same_session(
        lines in prop::collection::vec(lines(), 0..12),
        cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..8),
        login in any::<bool>(),
        in_clear in any::<bool>(),
    ) {
        // [POP-PIPE-01]
        let mut input = if login { b"USER mrose\r\nPASS tanstaaf\r\n".to_vec() } else { Vec::new() };
        lines.iter().for_each(|it| { input.extend_from_slice(it); input.extend_from_slice(b"\r\n"); });
        let mut at: Vec<usize> = cuts.iter().map(|it| it.index(input.len() + 1)).collect();
        at.extend([0, input.len()]);
        at.sort_unstable();
        let segments: Vec<&[u8]> = at.windows(2).map(|it| &input[it[0]..it[1]]).collect();
        let make = if in_clear { clear } else { implicit };
        let (whole, cut) = (Mailbox::new(), Mailbox::new());
        prop_assert_eq!(outcome(make(), &[&input], whole.backend()), outcome(make(), &segments, cut.backend()));
        prop_assert_eq!(&*whole.asked.borrow(), &*cut.asked.borrow());
    }

    #[test]
    fn garbage_is_survived(segments in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..300), 0..8), in_clear in any::<bool>()) {
        let mailbox = Mailbox::new();
        let segments: Vec<&[u8]> = segments.iter().map(Vec::as_slice).collect();
        let Outcome { output, .. } = outcome(if in_clear { clear() } else { implicit() }, &segments, mailbox.backend());
        prop_assert!(output.starts_with(b"+OK "));
        prop_assert_eq!(mailbox.asked.borrow().len(), 0);
    }
}
