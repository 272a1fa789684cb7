//! A backend in memory, sessions to test, and small helpers.

use std::sync::Arc;
use std::time::Instant;

use gatepost_testkit::facts;
use gatepost_wire::sasl::{AccountAnswer, AccountAsk, Attempt, ScramKeys, ScramRecord};
use gatepost_wire::seam::{ClearLogin, TlsFacts};
use gatepost_wire::session::{Fresh as _, Machine, Next, Why};
use gatepost_wire::smtp::ask::{Answer, Ask, Body, Envelope, Group, MailFrom, RcptTo, Refusal};
use gatepost_wire::smtp::path::{ForwardPath, ReversePath};
use gatepost_wire::smtp::relay::Passed;
use gatepost_wire::smtp::server::{Config, Fresh, Peer, Role, Server};

pub(crate) const HOST: &str = "mx.gatepost.test";

/// What one transaction left behind.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Stored {
    pub(crate) envelope: Envelope,
    pub(crate) content: Vec<u8>,
}

/// Keeps mail, refuses by what the addresses and the content say, and holds the session to the order of questions.
#[derive(Debug, Default)]
pub(crate) struct Mailbox {
    pub(crate) stored: Vec<Stored>,
    /// Every question in a word or two.
    pub(crate) asked: Vec<String>,
    /// Every recipient asked about.
    pub(crate) recipients: Vec<RcptTo>,
    /// Whether it answers as the backend of a gate does, with replies of its own.
    passes: bool,
    mail: bool,
    open: Option<Stored>,
}

impl Mailbox {
    pub(crate) fn handle(&mut self, ask: Ask) -> Answer {
        let of_envelope = matches!(ask, Ask::Mail(_) | Ask::Recipient(_));
        match self.decide(ask) {
            Answer::Verdict(verdict) if self.passes && of_envelope => {
                Answer::Passed(Box::new(passed(verdict)))
            }
            answer => answer,
        }
    }

    /// Each by itself; behind a refused MAIL the server behind has its own opinion, which must not count.
    fn group(&mut self, group: Group) -> Vec<Passed> {
        let mut replies = Vec::new();
        let mail = group.mail.map(Ask::Mail);
        for ask in mail
            .into_iter()
            .chain(group.recipients.into_iter().map(Ask::Recipient))
        {
            if !self.mail && matches!(ask, Ask::Recipient(_)) {
                replies.push(passed(Ok(())));
                continue;
            }
            match self.decide(ask) {
                Answer::Verdict(verdict) => replies.push(passed(verdict)),
                other => panic!("{other:?}"),
            }
        }
        replies
    }

    fn decide(&mut self, ask: Ask) -> Answer {
        if let Ask::Group(group) = ask {
            assert!(self.passes && !group.recipients.is_empty());
            return Answer::Group(self.group(*group));
        }
        self.asked.push(describe(&ask));
        match ask {
            Ask::Group(_) => unreachable!(),
            Ask::Account(ask) => Answer::Account(account(ask)),
            Ask::Mail(mail) => {
                assert!(
                    !self.mail && self.open.is_none(),
                    "a transaction within a transaction"
                );
                let verdict = judge_sender(&mail);
                self.mail = verdict.is_ok();
                Answer::Verdict(verdict)
            }
            Ask::Recipient(rcpt) => {
                assert!(self.mail && self.open.is_none(), "a recipient out of order");
                self.recipients.push(rcpt.clone());
                Answer::Verdict(judge_recipient(&rcpt.forward_path))
            }
            Ask::Introduced(introduced) => {
                assert!(
                    !self.mail && self.open.is_none(),
                    "in the middle of a transaction"
                );
                let crowded = introduced.address == Some([192, 0, 2, 99].into());
                Answer::Verdict(if crowded {
                    Err(Refusal::TooManyConnections)
                } else {
                    Ok(())
                })
            }
            Ask::Begin(envelope) => Answer::Verdict(self.begin(*envelope)),
            Ask::Content(piece) => Answer::Verdict(self.content(piece)),
            Ask::Commit => Answer::Stored(self.commit()),
            Ask::Abort => {
                assert!(self.mail || self.open.is_some(), "nothing to forget");
                self.mail = false;
                self.open = None;
                Answer::Verdict(Ok(()))
            }
        }
    }

    fn begin(&mut self, envelope: Envelope) -> Result<(), Refusal> {
        assert!(
            std::mem::take(&mut self.mail) && self.open.is_none(),
            "content out of order"
        );
        assert!(!envelope.recipients.is_empty());
        if local(&envelope.mail.reverse_path) == "disk" {
            return Err(Refusal::DiskFull);
        }
        self.open = Some(Stored {
            envelope,
            content: Vec::new(),
        });
        Ok(())
    }

    fn content(&mut self, piece: Vec<u8>) -> Result<(), Refusal> {
        assert!(
            !piece.is_empty() && piece.len() <= 64 * 1024,
            "a piece of {} octets",
            piece.len()
        );
        let open = self.open.as_mut().expect("content of no message");
        open.content.extend(piece);
        if open.content.starts_with(b"REFUSE") {
            self.open = None;
            return Err(Refusal::BadContent);
        }
        Ok(())
    }

    fn commit(&mut self) -> Result<Box<str>, Refusal> {
        let message = self.open.take().expect("nothing to keep");
        if message.envelope.mail.body != Body::BinaryMime {
            assert_only_crlf(&message.content);
        }
        if message.content.starts_with(b"Subject: quota") {
            return Err(Refusal::MailboxFull);
        }
        self.stored.push(message);
        Ok(format!("M{}", self.stored.len()).into())
    }
}

/// [SMTP-SMUG-02] [SMTP-CHUNK-04] what is kept holds no bare CR or LF and no NUL.
pub(crate) fn assert_only_crlf(content: &[u8]) {
    let mut before = 0;
    for (at, &octet) in content.iter().enumerate() {
        assert!(octet != 0, "a NUL is kept at {at}");
        assert_eq!(
            octet == b'\n',
            before == b'\r',
            "a bare CR or LF is kept at {at}"
        );
        before = octet;
    }
    assert!(before != b'\r', "a bare CR is kept at the end");
}

fn passed(verdict: Result<(), Refusal>) -> Passed {
    match verdict {
        Ok(()) => Passed::own(250, "2.1.0 Yes"),
        Err(Refusal::MailboxFull | Refusal::TooFast) => Passed::own(450, "4.2.0 Not now"),
        Err(_) => Passed::own(550, "5.7.1 No"),
    }
}

fn describe(ask: &Ask) -> String {
    match ask {
        Ask::Content(piece) => format!("Content {}", piece.len()),
        Ask::Begin(envelope) => format!("Begin {}", envelope.recipients.len()),
        Ask::Mail(mail) => format!("Mail {}", local(&mail.reverse_path)),
        Ask::Recipient(rcpt) => format!("Recipient {}", rcpt.forward_path.0.local),
        Ask::Group(_) => "Group".to_owned(),
        Ask::Introduced(it) => format!("Introduced {:?}", it.address),
        Ask::Account(AccountAsk::ScramKeys { user, .. }) => format!("ScramKeys {user}"),
        Ask::Account(AccountAsk::Login(_)) => "Login".to_owned(),
        Ask::Commit => "Commit".to_owned(),
        Ask::Abort => "Abort".to_owned(),
    }
}

fn local(path: &ReversePath) -> &str {
    match path {
        ReversePath::Null => "",
        ReversePath::Mailbox(mailbox) => &mailbox.local,
    }
}

fn judge_sender(mail: &MailFrom) -> Result<(), Refusal> {
    match local(&mail.reverse_path) {
        "spoofed" => Err(Refusal::SenderNotAuthorized),
        "hasty" => Err(Refusal::TooFast),
        _ => Ok(()),
    }
}

fn judge_recipient(path: &ForwardPath) -> Result<(), Refusal> {
    let is_ours = path.0.domain.is_empty() || path.0.domain.eq_ignore_ascii_case("gatepost.test");
    match path.0.local.as_str() {
        _ if !is_ours => Err(Refusal::NoRelay),
        "nobody" => Err(Refusal::NoSuchMailbox),
        "full" => Err(Refusal::MailboxFull),
        _ => Ok(()),
    }
}

fn account(ask: AccountAsk) -> AccountAnswer {
    match ask {
        AccountAsk::ScramKeys { .. } => {
            let record = ScramRecord::derive("pencil", vec![7; 16], 4096).expect("a good password");
            AccountAnswer::ScramKeys(ScramKeys {
                salt: record.salt.clone(),
                iterations: record.iterations,
                stored_key: record.stored_key.clone(),
                server_key: record.server_key.clone(),
                nonce: "0123456789abcdefghij".to_owned(),
            })
        }
        AccountAsk::Login(Attempt::Password { user, .. }) if user == "later" => {
            AccountAnswer::Unavailable
        }
        AccountAsk::Login(Attempt::Password { user, password, .. })
            if user == "me@gatepost.test" && password.expose() == "pencil" =>
        {
            AccountAnswer::Granted {
                account: user.into(),
            }
        }
        AccountAsk::Login(Attempt::Scram {
            user, proven: true, ..
        }) => AccountAnswer::Granted {
            account: user.into(),
        },
        AccountAsk::Login(_) => AccountAnswer::Denied,
    }
}

pub(crate) fn peer() -> Peer {
    Peer {
        address: [192, 0, 2, 7].into(),
        introduces: false,
        clear_login: None,
    }
}

pub(crate) fn clear(config: Config) -> Server {
    Server::clear(Arc::new(config), peer(), Instant::now())
}

pub(crate) fn implicit(config: Config) -> Server {
    implicit_with(config, facts())
}

pub(crate) fn implicit_with(config: Config, facts: TlsFacts) -> Server {
    Fresh::implicit(Arc::new(config), peer()).secured(facts)
}

pub(crate) fn with_clear_login(config: Config) -> Server {
    let clear_login = Some(ClearLogin::danger_allowed_by_configuration());
    Server::clear(
        Arc::new(config),
        Peer {
            clear_login,
            ..peer()
        },
        Instant::now(),
    )
}

/// A session with a server in front.
pub(crate) fn introducing(config: Config) -> Server {
    let clear_login =
        (config.role == Role::Submission).then(ClearLogin::danger_allowed_by_configuration);
    let peer = Peer {
        introduces: true,
        clear_login,
        ..peer()
    };
    Server::clear(Arc::new(config), peer, Instant::now())
}

pub(crate) fn mx() -> Config {
    Config::mx(HOST.to_owned())
}

pub(crate) fn submission() -> Config {
    Config::submission(HOST.to_owned())
}

/// How a session stood when it wanted something.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Pause {
    Reading,
    Upgrade,
    Closed(Why),
}

/// A session under test, its backend, and what it wrote.
pub(crate) struct Talk {
    pub(crate) server: Server,
    pub(crate) mailbox: Mailbox,
    pub(crate) written: Vec<u8>,
    pub(crate) pause: Pause,
    pub(crate) now: Instant,
    /// The most that was waiting to be written at once.
    pub(crate) greatest_write: usize,
}

impl Talk {
    /// Runs the session to where it reads, which takes the greeting.
    pub(crate) fn new(server: Server) -> Self {
        let mut talk = Self {
            server,
            mailbox: Mailbox::default(),
            written: Vec::new(),
            pause: Pause::Reading,
            now: Instant::now(),
            greatest_write: 0,
        };
        talk.run();
        talk
    }

    /// The same before a far backend, that of a gate.
    pub(crate) fn far(config: Config) -> Self {
        let mut talk = Self::new(clear(Config {
            groups: true,
            ..config
        }));
        talk.mailbox.passes = true;
        talk
    }

    /// Says something and returns what the session says to it.
    pub(crate) fn say(&mut self, bytes: impl AsRef<[u8]>) -> String {
        let before = self.written.len();
        if self.pause == Pause::Reading {
            self.server.receive(bytes.as_ref());
            self.run();
        }
        String::from_utf8(self.written[before..].to_vec()).expect("replies in UTF-8")
    }

    /// Says something in the segments given.
    pub(crate) fn say_in(&mut self, segments: &[&[u8]]) -> String {
        segments.iter().map(|segment| self.say(segment)).collect()
    }

    pub(crate) fn run(&mut self) {
        loop {
            match self.server.next(self.now) {
                Next::Ask(ask) => {
                    let answer = self.mailbox.handle(ask);
                    self.server.answer(answer);
                    continue;
                }
                Next::Write => {
                    assert!(!self.server.output().is_empty(), "asks to write nothing");
                    self.flush();
                    continue;
                }
                Next::Read { until } => {
                    assert!(until > self.now && self.server.output().is_empty());
                    self.pause = Pause::Reading;
                }
                Next::Upgrade => self.pause = Pause::Upgrade,
                Next::Close(why) => self.pause = Pause::Closed(why),
            }
            self.flush();
            return;
        }
    }

    fn flush(&mut self) {
        self.greatest_write = self.greatest_write.max(self.server.output().len());
        self.written.append(self.server.output());
    }

    /// Goes on inside TLS, as the driver would. Nothing may be left over.
    pub(crate) fn upgrade(self) -> Self {
        assert_eq!(self.pause, Pause::Upgrade);
        let (fresh, leftover) = self.server.upgrade();
        assert_eq!(leftover.into_handshake(), Ok(Vec::new()));
        let mut talk = Self {
            server: fresh.secured(facts()),
            pause: Pause::Reading,
            ..self
        };
        talk.run();
        talk
    }
}

/// Reply codes of the final lines in some output.
pub(crate) fn codes(output: &str) -> Vec<u16> {
    let last_lines = output
        .split_terminator("\r\n")
        .filter(|line| line.as_bytes().get(3) == Some(&b' '));
    last_lines
        .map(|line| line[..3].parse().expect("a code"))
        .collect()
}

/// [SMTP-ESC-01] every reply has an enhanced status code of its class, but for the greeting, HELO, EHLO and 3xx.
pub(crate) fn lint<'a>(lines: impl IntoIterator<Item = &'a str>) {
    let mut several = false;
    for line in lines {
        let continued = line.as_bytes()[3] == b'-';
        // Only EHLO gets several lines.
        if !continued && !std::mem::take(&mut several) {
            lint_line(line);
        }
        several |= continued;
    }
}

fn lint_line(line: &str) {
    let (class, rest) = (&line[..1], &line[4..]);
    if class == "3" || line.starts_with(&format!("220 {HOST} ")) || rest == HOST {
        return;
    }
    let (enhanced, text) = rest.split_once(' ').unwrap_or_default();
    let parts: Vec<&str> = enhanced.split('.').collect();
    assert!(
        parts.len() == 3 && parts[0] == class && !text.is_empty(),
        "{line}"
    );
    let is_number =
        |part: &&str| !part.is_empty() && part.bytes().all(|digit| digit.is_ascii_digit());
    assert!(parts.iter().all(is_number), "{line}");
}

/// Dialogues make more mistakes than a session puts up with.
pub(crate) fn patient(mut config: Config) -> Config {
    config.limits.bad_commands = 1000;
    config
}

pub(crate) const MAIL: &str = "MAIL FROM:<you@example.org>\r\n";
pub(crate) const RCPT: &str = "RCPT TO:<me@gatepost.test>\r\n";
pub(crate) const EHLO: &str = "EHLO client.example\r\n";
pub(crate) const LOGIN: &str = "AUTH PLAIN AG1lQGdhdGVwb3N0LnRlc3QAcGVuY2ls\r\n";

/// A session of an MX that has got as far as 354.
pub(crate) fn at_content(config: Config) -> Talk {
    let mut talk = Talk::new(clear(config));
    talk.say(EHLO);
    let output = talk.say([MAIL, RCPT, "DATA\r\n"].concat());
    assert_eq!(codes(&output), [250, 250, 354]);
    talk
}
