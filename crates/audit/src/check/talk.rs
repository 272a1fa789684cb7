//! A conversation with a server up to TLS and behind it: greeting, capabilities, STARTTLS, farewell, in the words of its protocol.
//!
//! Everything said and heard is noted, a line each. Nothing is said before the greeting: a talker before his turn is taken for a
//! robot (RFC 5321 4.3.1), and would be seen by nobody who greets late.

use std::time::{Duration, Instant};

use gatepost_net::client::LegFailure;
use gatepost_net::client::probe::Probe;

use super::facts::{Capabilities, Greeting, GreetingKind};
use super::reply::{self, Mood, Reply, Until, escape};
use super::target::Protocol;

/// The most characters of a greeting that are kept.
const SHOWN: usize = 512;

/// Why a conversation cannot go on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Silence {
    /// Closed, in an orderly way or not.
    Closed,
    /// No answer in time.
    Slow,
    /// More than any answer needs.
    TooLong,
    /// It was answered, but with a no that ends it: this one.
    Refused(String),
}

impl Silence {
    /// In words, for evidence.
    pub(crate) fn words(&self, after: &str) -> String {
        match self {
            Self::Closed => format!("the connection was closed after {after}"),
            Self::Slow => format!("no answer to {after} in time"),
            Self::TooLong => format!("the answer to {after} does not end"),
            Self::Refused(reply) => format!("{after} was answered with {reply}"),
        }
    }
}

impl From<LegFailure> for Silence {
    fn from(failure: LegFailure) -> Self {
        match failure {
            LegFailure::TooSlow => Self::Slow,
            LegFailure::Broken | LegFailure::Closed => Self::Closed,
        }
    }
}

/// A conversation.
pub(crate) struct Talk {
    /// The wire.
    pub(crate) probe: Probe,
    /// What is spoken.
    pub(crate) protocol: Protocol,
    /// For each answer.
    pub(crate) patience: Duration,
    /// What was said and heard.
    pub(crate) transcript: Vec<String>,
    tags: u32,
}

impl Talk {
    pub(crate) fn new(probe: Probe, protocol: Protocol, patience: Duration) -> Self {
        Self {
            probe,
            protocol,
            patience,
            transcript: Vec::new(),
            tags: 0,
        }
    }

    /// Waits for a whole reply.
    pub(crate) async fn hear(&mut self, until: &Until) -> Result<Reply, Silence> {
        let deadline = Instant::now() + self.patience;
        loop {
            if let Some(reply) = reply::take(self.probe.received(), until) {
                let lines = reply.lines.iter().map(|line| format!("S: {line}"));
                self.transcript.extend(lines);
                return Ok(reply);
            }
            if self.probe.received().len() > reply::MOST {
                return Err(Silence::TooLong);
            }
            self.probe.read(deadline).await?;
        }
    }

    /// Says octets.
    pub(crate) async fn say(&mut self, octets: &[u8]) -> Result<(), Silence> {
        for line in octets.split_inclusive(|octet| *octet == b'\n') {
            let line = line.strip_suffix(b"\r\n").unwrap_or(line);
            self.transcript.push(format!("C: {}", escape(line)));
        }
        Ok(self.probe.write(octets, self.patience).await?)
    }

    /// Says a command and waits for its reply.
    pub(crate) async fn ask(&mut self, command: &str) -> Result<Reply, Silence> {
        let (octets, until) = self.spell(command);
        self.say(&octets).await?;
        self.hear(&until).await
    }

    /// A command as its protocol spells it, and where its reply ends.
    pub(crate) fn spell(&mut self, command: &str) -> (Vec<u8>, Until) {
        match self.protocol {
            Protocol::Smtp | Protocol::Lmtp => (format!("{command}\r\n").into_bytes(), Until::Code),
            Protocol::Imap => {
                self.tags += 1;
                let tag = format!("g{:03}", self.tags);
                let line = format!("{tag} {command}\r\n");
                (line.into_bytes(), Until::Tag(tag))
            }
            Protocol::Pop3 if command == "CAPA" => (b"CAPA\r\n".to_vec(), Until::List),
            Protocol::Pop3 => (format!("{command}\r\n").into_bytes(), Until::Line),
            Protocol::Sieve => (format!("{command}\r\n").into_bytes(), Until::Word),
        }
    }

    /// Waits for the greeting and says what it is. `ManageSieve`'s greeting is its capabilities (RFC 5804 1.7).
    pub(crate) async fn greeting(&mut self) -> (Greeting, Option<Reply>) {
        let begun = Instant::now();
        let until = Until::greeting(self.protocol);
        let heard = self.hear(&until).await;
        let milliseconds = millis(begun.elapsed());
        let received = shorten(&escape(self.probe.received()));
        let (kind, text) = match &heard {
            Ok(reply) => (self.greeting_kind(reply), shorten(&reply.lines.join("\\n"))),
            Err(_) if is_tls(self.probe.received()) => (GreetingKind::Tls, received),
            Err(Silence::Slow) if received.is_empty() => (GreetingKind::Silent, received),
            Err(Silence::Closed) if received.is_empty() => (GreetingKind::Closed, received),
            Err(Silence::TooLong) => (GreetingKind::Endless, received),
            Err(Silence::Slow) if is_going_on(self.probe.received()) => {
                (GreetingKind::Endless, received)
            }
            Err(_) => (GreetingKind::Strange, received),
        };
        let greeting = Greeting {
            kind,
            text,
            milliseconds,
        };
        (greeting, heard.ok())
    }

    fn greeting_kind(&self, reply: &Reply) -> GreetingKind {
        let last = reply.last();
        match (self.protocol, reply.mood) {
            (Protocol::Imap, Mood::Yes) if last.to_ascii_uppercase().starts_with("* PREAUTH") => {
                GreetingKind::Preauthenticated
            }
            (_, Mood::Yes) => GreetingKind::Welcome,
            // POP3 has no other way to say not now.
            (_, Mood::NotNow) | (Protocol::Pop3, Mood::No) => GreetingKind::Throttled,
            (_, Mood::No) => GreetingKind::Rejected,
            _ => GreetingKind::Strange,
        }
    }

    /// Asks what the server can. `name` is ours, for SMTP.
    pub(crate) async fn capabilities(&mut self, name: &str) -> Result<Capabilities, Silence> {
        match self.protocol {
            Protocol::Smtp => self.hello("EHLO", name).await,
            Protocol::Lmtp => self.hello("LHLO", name).await,
            Protocol::Imap | Protocol::Sieve => match self.ask("CAPABILITY").await? {
                reply if reply.mood == Mood::Yes => Ok(self.read(&reply)),
                reply => Err(Silence::Refused(reply.last().to_owned())),
            },
            // -ERR is the word of one that has no such list (RFC 2449 5), but for these (RFC 2449 8.1, RFC 3206).
            Protocol::Pop3 => {
                let reply = self.ask("CAPA").await?;
                let not_now = ["[SYS/TEMP]", "[IN-USE]", "[LOGIN-DELAY]"];
                if reply.mood != Mood::Yes && not_now.iter().any(|it| reply.last().contains(it)) {
                    return Err(Silence::Refused(reply.last().to_owned()));
                }
                Ok(self.read(&reply))
            }
        }
    }

    /// Who is put off, or refused whatever he says, has learned nothing of what is offered. HELO is for those who do not know EHLO
    /// (RFC 5321 3.2).
    async fn hello(&mut self, verb: &str, name: &str) -> Result<Capabilities, Silence> {
        let reply = self.ask(&format!("{verb} {name}")).await?;
        match reply.mood {
            Mood::Yes => return Ok(self.read(&reply)),
            Mood::NotNow => return Err(Silence::Refused(reply.last().to_owned())),
            _ => {}
        }
        let again = self.ask(&format!("HELO {name}")).await;
        if again.is_ok_and(|it| it.mood == Mood::Yes) {
            return Ok(Capabilities {
                only_helo: true,
                ..Capabilities::default()
            });
        }
        Err(Silence::Refused(reply.last().to_owned()))
    }

    /// What a reply says the server can.
    pub(crate) fn read(&self, reply: &Reply) -> Capabilities {
        let words = match self.protocol {
            Protocol::Smtp | Protocol::Lmtp => {
                let lines = reply.lines.iter().skip(1);
                lines.filter_map(|line| line.get(4..)).map(upper).collect()
            }
            Protocol::Imap => reply
                .lines
                .iter()
                .filter_map(|it| imap_words(it))
                .flatten()
                .collect(),
            Protocol::Pop3 => {
                let lines = reply.lines.iter().skip(1).filter(|line| *line != ".");
                lines.map(|line| upper(line)).collect()
            }
            Protocol::Sieve => reply.lines.iter().filter_map(|it| sieve_word(it)).collect(),
        };
        Capabilities {
            words,
            only_helo: false,
            codes: reply.lines.iter().filter_map(|it| imap_code(it)).collect(),
        }
    }

    /// Leaves.
    pub(crate) async fn leave(self) {
        let words: &[u8] = match self.protocol {
            Protocol::Imap | Protocol::Sieve => match self.protocol {
                Protocol::Imap => b"g999 LOGOUT\r\n",
                _ => b"LOGOUT\r\n",
            },
            _ => b"QUIT\r\n",
        };
        self.probe.finish(words).await;
    }
}

/// Whether a reply of SMTP has begun whose last line is still to come (RFC 5321 4.2.1).
fn is_going_on(octets: &[u8]) -> bool {
    matches!(octets, [b'2'..=b'5', a, b, b'-', ..] if a.is_ascii_digit() && b.is_ascii_digit())
}

/// The beginning of a text that a server may make as long as it likes: it goes into evidence, and into that of many checks.
fn shorten(text: &str) -> String {
    match text.char_indices().nth(SHOWN) {
        Some((at, _)) => format!("{}…", text.get(..at).unwrap_or_default()),
        None => text.to_owned(),
    }
}

/// Milliseconds, for facts.
pub(crate) fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

/// Whether octets begin as a TLS record does.
pub(crate) fn is_tls(octets: &[u8]) -> bool {
    matches!(octets, [20..=23, 3, ..])
}

fn upper(line: &str) -> String {
    let (first, rest) = line.split_once(' ').unwrap_or((line, ""));
    let first = first.to_ascii_uppercase();
    let rest = match first.as_str() {
        // Mechanisms are compared.
        "AUTH" | "SASL" => rest.to_ascii_uppercase(),
        _ => rest.to_owned(),
    };
    format!("{first} {rest}").trim_end().to_owned()
}

/// `* CAPABILITY …`, and `[CAPABILITY …]` in a response (RFC 9051 7.1, 7.2.2).
fn imap_words(line: &str) -> Option<Vec<String>> {
    let text = line.to_ascii_uppercase();
    let list = match text.strip_prefix("* CAPABILITY ") {
        Some(list) => list,
        None => text.split_once("[CAPABILITY ")?.1.split(']').next()?,
    };
    Some(list.split_whitespace().map(str::to_owned).collect())
}

/// A code that matters before TLS: `[ALERT]`, `[REFERRAL …]`.
fn imap_code(line: &str) -> Option<String> {
    let text = line.split_once('[')?.1.split(']').next()?;
    let first = text.split(' ').next()?.to_ascii_uppercase();
    matches!(first.as_str(), "ALERT" | "REFERRAL").then(|| text.to_owned())
}

/// `"SASL" "PLAIN"` (RFC 5804 1.7).
fn sieve_word(line: &str) -> Option<String> {
    let mut parts = line.split('"').skip(1).step_by(2);
    let name = parts.next()?.to_ascii_uppercase();
    line.starts_with('"').then(|| {
        format!("{name} {}", parts.next().unwrap_or(""))
            .trim_end()
            .to_owned()
    })
}
