//! Whole POP3 sessions.

use std::sync::Arc;

use gatepost_wire::pop3::ask::{Answer, Ask, Maildrop, OpenError};
use gatepost_wire::pop3::server::{Config, Fresh, Limits, Server};

use super::account;
use crate::Target;
use crate::behaviour;
use crate::corpus;
use crate::input::Input;
use crate::session::{self, Backend, Begin};

/// Whole sessions, with upgrade.
pub const SESSION: Target = Target {
    name: "pop3",
    run: session,
    seeds,
    words: &[
        "CAPA\r\n",
        "STLS\r\n",
        "USER user\r\n",
        "PASS pencil\r\n",
        "AUTH PLAIN ",
        "AUTH\r\n",
        "AHVzZXIAcGVuY2ls\r\n",
        "*\r\n",
        "STAT\r\n",
        "LIST\r\n",
        "LIST 1\r\n",
        "RETR 1\r\n",
        "RETR 2\r\n",
        "DELE 1\r\n",
        "TOP 2 1\r\n",
        "UIDL\r\n",
        "RSET\r\n",
        "NOOP\r\n",
        "QUIT\r\n",
        "<tls>",
        " 4294967296",
        " 0",
        " -1",
        "APOP x y\r\n",
        "UTF8\r\n",
    ],
};

/// Runs a session: port 110 or 995, by the flags.
///
/// # Panics
/// When the cut changes the outcome, a reply is malformed, or the session asks what it must not.
pub fn session(data: &[u8]) {
    let input = Input::parse(data);
    let config = Arc::new(Config {
        host: "mail.gatepost.test".into(),
        greeting: "Gatepost".into(),
        offer: None,
        starttls: input.flags & 4 == 0,
        least: gatepost_wire::seam::TlsVersion::Tls12,
        mechanisms: gatepost_wire::sasl::Mechanism::FOR_ACCOUNTS.to_vec(),
        limits: Limits::default(),
    });
    let begin = |now| match input.flags & 2 {
        0 => Begin::Clear(Server::clear(Arc::clone(&config), None, now)),
        _ => Begin::Implicit(Fresh::implicit(Arc::clone(&config))),
    };
    let outcome = session::run(&input, begin, Keeper::default);
    for text in [&outcome.clear, &outcome.inside] {
        check_lines(text);
    }
}

/// Every line ends with CRLF and holds neither CR nor LF.
fn check_lines(text: &[u8]) {
    assert!(
        text.is_empty() || text.ends_with(b"\r\n"),
        "half a line: {}",
        text.escape_ascii()
    );
    for line in text.split(|byte| *byte == b'\n') {
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        assert!(!line.contains(&b'\r'), "a bare CR: {}", line.escape_ascii());
        if line.starts_with(b"+OK") || line.starts_with(b"-ERR") {
            behaviour::note(&line[..line.len().min(12)]);
        }
    }
}

/// The maildrop behind the session: three messages, one of them empty, one without a line end.
#[derive(Default)]
struct Keeper {
    opened: bool,
}

const MESSAGES: [&[u8]; 3] = [
    b"Subject: x\r\n\r\n.dot\r\n..\r\n.\r\n",
    b"",
    b"A: b\r\n\r\nno end",
];

impl Backend<Server> for Keeper {
    fn answer(&mut self, ask: Ask, encrypted: bool) -> Answer {
        match ask {
            Ask::Account(ask) => {
                assert!(encrypted, "credentials were read in clear");
                Answer::Account(account(ask))
            }
            Ask::Open if self.opened => Answer::Opened(Err(OpenError::InUse)),
            Ask::Open => {
                self.opened = true;
                let sizes = MESSAGES
                    .iter()
                    .zip(1..)
                    .map(|(text, uid)| (uid, text.len() as u64))
                    .collect();
                Answer::Opened(Ok(Maildrop {
                    uidvalidity: 7,
                    messages: sizes,
                }))
            }
            Ask::Read {
                uid,
                offset,
                length,
            } => {
                assert!(self.opened, "a message is read before the maildrop is open");
                Answer::Octets(Ok(super::piece(message(uid), offset, length)))
            }
            Ask::Update { deleted } => {
                assert!(
                    deleted.iter().all(|uid| (1..=3).contains(uid)),
                    "messages that are not there: {deleted:?}"
                );
                Answer::Updated(Ok(()))
            }
        }
    }
}

fn message(uid: u32) -> &'static [u8] {
    MESSAGES
        .iter()
        .zip(1..)
        .find(|(_, number)| *number == uid)
        .map_or(&b""[..], |(text, _)| text)
}

fn seeds() -> Vec<Vec<u8>> {
    let read = "STAT\r\nLIST\r\nUIDL\r\nRETR 1\r\nRETR 2\r\nRETR 3\r\nTOP 1 1\r\nDELE 2\r\nRSET\r\nDELE 1\r\nQUIT\r\n";
    let mut seeds = vec![
        Input::build(
            0,
            &[],
            format!("CAPA\r\nSTLS\r\n<tls>CAPA\r\nUSER user\r\nPASS pencil\r\n{read}").as_bytes(),
        ),
        Input::build(
            2,
            &[9, 2],
            format!("<tls>AUTH PLAIN AHVzZXIAcGVuY2ls\r\n{read}").as_bytes(),
        ),
        Input::build(
            2,
            &[],
            format!("<tls>AUTH LOGIN\r\ndXNlcg==\r\ncGVuY2ls\r\n{read}").as_bytes(),
        ),
        Input::build(0, &[], b"USER user\r\nPASS pencil\r\nSTLS\r\nNOOP\r\n"),
    ];
    seeds.extend(corpus::dialogues("pop3"));
    seeds
}
