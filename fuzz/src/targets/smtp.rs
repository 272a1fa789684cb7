//! SMTP: the command line, and whole sessions.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use gatepost_wire::smtp::ask::{Answer, Ask, Refusal};
use gatepost_wire::smtp::command::{Command, Tolerance, split};
use gatepost_wire::smtp::relay::Passed;
use gatepost_wire::smtp::server::{Config, Fresh, Peer, Server};

use super::account;
use crate::Target;
use crate::behaviour;
use crate::corpus;
use crate::input::Input;
use crate::session::{self, Backend, Begin};

const WORDS: &[&str] = &[
    "EHLO a.test\r\n",
    "HELO a\r\n",
    "MAIL FROM:<",
    "RCPT TO:<",
    ">\r\n",
    "DATA\r\n",
    "\r\n.\r\n",
    "\n.\n",
    "\r.\r",
    "\r\n.\n",
    "BDAT 5\r\n",
    "BDAT 0 LAST\r\n",
    "BDAT 99999999999999999999 LAST\r\n",
    "RSET\r\n",
    "NOOP\r\n",
    "QUIT\r\n",
    "STARTTLS\r\n",
    "AUTH PLAIN ",
    "AUTH LOGIN\r\n",
    "AUTH SCRAM-SHA-256 ",
    "AHVzZXIAcGVuY2ls\r\n",
    "*\r\n",
    "=\r\n",
    " SIZE=",
    " BODY=8BITMIME",
    " SMTPUTF8",
    " AUTH=<>",
    "<>",
    "user@gatepost.test",
    "\"a b\"@gatepost.test",
    "[127.0.0.1]",
    "[IPv6:::1]",
    "postmaster",
    "VRFY x\r\n",
    "HELP\r\n",
    "<tls>",
    "Subject: x\r\n\r\n",
    "Received: x\r\n",
    ".",
    "..",
    "\u{fc}@gatepost.test",
    "@a.test:",
];

/// Whole sessions, with upgrade.
pub const SESSION: Target = Target {
    name: "smtp",
    run: session,
    seeds: session_seeds,
    words: WORDS,
};

/// One command line.
pub const COMMAND: Target = Target {
    name: "smtp-command",
    run: command,
    seeds: command_seeds,
    words: WORDS,
};

/// Reads a command line.
///
/// # Panics
/// Never, if the reader is right.
pub fn command(data: &[u8]) {
    let Ok((row, argument)) = split(data) else {
        return;
    };
    // As strict as can be, and as much allowed as can be.
    for allows in [false, true] {
        match Command::parse(
            row,
            argument,
            Tolerance {
                quirk_space_before_path: allows,
                dsn: allows,
                binary: allows,
            },
        ) {
            Ok(command) => {
                behaviour::note(std::mem::discriminant(&command));
                if let Command::Mail(mail) = command {
                    behaviour::note((mail.size.is_some(), mail.smtputf8));
                }
            }
            Err(syntax) => behaviour::note(syntax as u8),
        }
    }
}

/// Runs a session: port 25, 587 or 465, of a mailbox or of a gate, by the flags.
///
/// # Panics
/// When the cut changes the outcome, a reply is malformed, or the session asks what it must not.
pub fn session(data: &[u8]) {
    let input = Input::parse(data);
    let peer = Peer {
        address: IpAddr::V4(Ipv4Addr::LOCALHOST),
        introduces: input.flags & 8 != 0,
        clear_login: None,
    };
    let host = || String::from("mail.gatepost.test");
    let mut config = if input.flags & 1 == 0 {
        Config::mx(host())
    } else {
        Config::submission(host())
    };
    config.groups = input.flags & 4 != 0;
    let passes = config.groups;
    let config = Arc::new(config);
    let begin = |now| match input.flags & 2 {
        0 => Begin::Clear(Server::clear(Arc::clone(&config), peer, now)),
        _ => Begin::Implicit(Fresh::implicit(Arc::clone(&config), peer)),
    };
    let keeper = || Keeper {
        passes,
        ..Keeper::default()
    };
    let outcome = session::run(&input, begin, keeper);
    for text in [&outcome.clear, &outcome.inside] {
        check_replies(text);
    }
}

/// Every line is a reply line: three digits, a space or hyphen, printable text, CRLF, at most 512 octets (RFC 5321 4.5.3.1.5).
fn check_replies(text: &[u8]) {
    assert!(
        text.is_empty() || text.ends_with(b"\r\n"),
        "half a reply: {}",
        text.escape_ascii()
    );
    let Some(lines) = text.strip_suffix(b"\r\n") else {
        return;
    };
    for line in lines
        .split(|byte| *byte == b'\n')
        .map(|line| line.strip_suffix(b"\r").unwrap_or(line))
    {
        let shape = matches!(
            line,
            [b'2'..=b'5', b'0'..=b'9', b'0'..=b'9', b' ' | b'-', ..]
                | [b'2'..=b'5', b'0'..=b'9', b'0'..=b'9']
        );
        assert!(
            shape && line.len() <= 510,
            "not a reply line: {}",
            line.escape_ascii()
        );
        assert!(
            !line.iter().any(u8::is_ascii_control),
            "a control character in a reply: {}",
            line.escape_ascii()
        );
        behaviour::note(&line[..3]);
    }
}

/// The mailbox behind the session. It also checks the order of the questions.
#[derive(Default)]
struct Keeper {
    stage: Stage,
    /// Whether it answers as the backend of a gate does.
    passes: bool,
}

#[derive(Default, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
enum Stage {
    #[default]
    Idle,
    Mail,
    Recipient,
    Content,
}

impl Backend<Server> for Keeper {
    fn answer(&mut self, ask: Ask, encrypted: bool) -> Answer {
        let of_envelope = matches!(ask, Ask::Mail(_) | Ask::Recipient(_));
        match self.decide(ask, encrypted) {
            Answer::Verdict(verdict) if self.passes && of_envelope => {
                Answer::Passed(Box::new(passed(verdict)))
            }
            answer => answer,
        }
    }
}

/// A reply of the server behind, such as makes the session count and leave.
fn passed(verdict: Result<(), Refusal>) -> Passed {
    match verdict {
        Ok(()) => Passed::own(250, "2.1.0 Yes"),
        Err(Refusal::MailboxFull) => Passed::own(421, "4.3.2 Bye"),
        Err(_) => Passed::own(550, "5.7.1 No"),
    }
}

impl Keeper {
    fn decide(&mut self, ask: Ask, encrypted: bool) -> Answer {
        match ask {
            Ask::Group(group) => {
                assert!(self.passes && !group.recipients.is_empty());
                let mail = group.mail.map(Ask::Mail);
                let recipients = group.recipients.into_iter().map(Ask::Recipient);
                let asks = mail.into_iter().chain(recipients);
                let replies = asks.map(|ask| match self.decide(ask, encrypted) {
                    Answer::Verdict(verdict) => passed(verdict),
                    other => panic!("{other:?}"),
                });
                Answer::Group(replies.collect())
            }
            Ask::Account(ask) => {
                assert!(encrypted, "credentials were read in clear");
                Answer::Account(account(ask))
            }
            Ask::Mail(_) => {
                assert_eq!(self.stage, Stage::Idle, "MAIL inside a transaction");
                self.stage = Stage::Mail;
                Answer::Verdict(Ok(()))
            }
            Ask::Recipient(rcpt) => {
                assert!(
                    matches!(self.stage, Stage::Mail | Stage::Recipient),
                    "a recipient at {:?}",
                    self.stage
                );
                let verdict = recipient(&rcpt.forward_path.0.local);
                if verdict.is_ok() {
                    self.stage = Stage::Recipient;
                }
                Answer::Verdict(verdict)
            }
            Ask::Introduced(_) => {
                assert_eq!(self.stage, Stage::Idle, "a new client inside a transaction");
                Answer::Verdict(Ok(()))
            }
            Ask::Begin(envelope) => {
                assert_eq!(self.stage, Stage::Recipient, "content without a recipient");
                assert!(!envelope.recipients.is_empty(), "no recipient");
                self.stage = Stage::Content;
                Answer::Verdict(Ok(()))
            }
            Ask::Content(piece) => {
                assert_eq!(self.stage, Stage::Content, "content without a beginning");
                assert!(piece.len() <= 64 << 10, "a piece of {} octets", piece.len());
                Answer::Verdict(Ok(()))
            }
            Ask::Commit => {
                assert_eq!(self.stage, Stage::Content, "a commit without content");
                self.stage = Stage::Idle;
                Answer::Stored(Ok("id".into()))
            }
            Ask::Abort => {
                self.stage = Stage::Idle;
                Answer::Verdict(Ok(()))
            }
        }
    }
}

fn recipient(local: &str) -> Result<(), Refusal> {
    match local.as_bytes().first() {
        Some(b'n') => Err(Refusal::NoSuchMailbox),
        Some(b'r') => Err(Refusal::NoRelay),
        Some(b'f') => Err(Refusal::MailboxFull),
        _ => Ok(()),
    }
}

fn command_seeds() -> Vec<Vec<u8>> {
    [
        "EHLO client.test",
        "MAIL FROM:<a@b.test> SIZE=100 BODY=8BITMIME SMTPUTF8 AUTH=<>",
        "RCPT TO:<\"a b\"@[IPv6:::1]>",
        "BDAT 100 LAST",
        "AUTH PLAIN =",
    ]
    .map(|line| line.as_bytes().to_vec())
    .to_vec()
}

fn session_seeds() -> Vec<Vec<u8>> {
    let mail = "MAIL FROM:<a@b.test>\r\nRCPT TO:<user@gatepost.test>\r\nDATA\r\nSubject: x\r\n\r\n..dot\r\n.\r\nQUIT\r\n";
    let chunks = "MAIL FROM:<>\r\nRCPT TO:<user@gatepost.test>\r\nBDAT 9\r\nA: b\r\n\r\nxBDAT 2 LAST\r\n\r\nQUIT\r\n";
    let group = "MAIL FROM:<a@b.test>\r\nRCPT TO:<n@b.test>\r\nRCPT TO:<user@b.test>\r\nRCPT TO:<@>\r\nRCPT TO:<f@b.test>\r\nRSET\r\n";
    let login = "EHLO b.test\r\nAUTH PLAIN AHVzZXIAcGVuY2ls\r\n";
    let mut seeds = vec![
        Input::build(0, &[], format!("EHLO a.test\r\n{mail}").as_bytes()),
        Input::build(
            0,
            &[5, 1, 300],
            format!("EHLO a.test\r\n{chunks}").as_bytes(),
        ),
        Input::build(
            0,
            &[],
            format!("EHLO a.test\r\nSTARTTLS\r\n<tls>EHLO b.test\r\n{mail}").as_bytes(),
        ),
        Input::build(
            1,
            &[3],
            format!("EHLO a.test\r\nSTARTTLS\r\n<tls>{login}{mail}").as_bytes(),
        ),
        Input::build(3, &[], format!("<tls>{login}{chunks}").as_bytes()),
        Input::build(0, &[], b"EHLO a.test\r\nSTARTTLS\r\nNOOP\r\n"),
        Input::build(4, &[], format!("EHLO a.test\r\n{group}{mail}").as_bytes()),
        Input::build(8, &[], format!("XCLIENT ADDR=192.0.2.7 PORT=1 NAME=[UNAVAILABLE]\r\nEHLO a.test\r\n{mail}XCLIENT HELO=x+20y\r\n").as_bytes()),
    ];
    seeds.extend(corpus::dialogues("smtp"));
    seeds
}
