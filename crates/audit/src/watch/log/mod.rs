//! Logs of mail servers: what they say of sessions in clear, upgrades that failed, and TLS.
//!
//! A line is cut into time, program, process and text; then the state machine of the program's format joins the lines of one session, by
//! process, queue id or session id. Formats: Postfix (smtpd, smtp), Dovecot (login processes), Exim (main log), Gatepost's own, both forms. Lines
//! that are not known are counted, not errors.
//!
//! The rules of packets hold: names are hashed, nothing else of a line is quoted, and a claim is no stronger than the line. Connections from the
//! machine itself are told as sessions and not as leaks: nothing of them was on a wire.

mod dovecot;
mod exim;
mod gatepost;
mod postfix;
mod quick;
mod ratings;
mod time;

use std::net::IpAddr;
use std::sync::Arc;

use self::quick::{Entry, Heads, Program};
use self::ratings::Ratings;
use super::event::{Ends, Event, Finding, Outcome, Session};
use super::honey::{Honey, Use};
use super::login::{Ending, Login, Mechanism, Shown};
use super::notes::{Protocol, Upgrade};
use super::privacy::Privacy;
use super::tls::TlsFacts;
use crate::finding::Severity;
use crate::rules;

/// The longest line that is looked at.
const LONGEST: usize = 64 * 1024;
/// Sessions of one format that are joined at a time.
const MOST_OPEN: usize = 50_000;

/// What was read.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Counters {
    /// Lines.
    pub lines: u64,
    /// Lines that meant nothing to any format.
    pub unknown: u64,
    /// Those among them that do not even begin as a line of a log does: with a time, or an object.
    pub shapeless: u64,
}

/// Reads logs.
#[derive(Debug)]
pub struct LogWatcher {
    teller: Teller,
    postfix: postfix::Postfix,
    heads: Heads,
    counters: Counters,
    honey: Option<Honey>,
    /// A line whose end has not come.
    begun: Vec<u8>,
    /// Every line goes the long way, and nothing is remembered of heads: for tests that compare.
    is_thorough: bool,
}

/// What the formats write to.
#[derive(Debug)]
struct Teller {
    privacy: Privacy,
    events: Vec<Event>,
    next_number: u32,
    file: u32,
    line: u64,
    time: u64,
    ratings: Ratings,
}

/// A session as a log tells it.
#[derive(Debug, Clone)]
struct Logged {
    protocol: Protocol,
    client: Option<IpAddr>,
    server: Option<(IpAddr, u16)>,
    outcome: Outcome,
    upgrade: Upgrade,
    tls: Option<Arc<TlsFacts>>,
    /// Logins, mails sent, mails read in clear.
    in_clear: [u32; 3],
}

impl LogWatcher {
    /// With a way to hide names.
    #[must_use]
    pub fn new(privacy: Privacy) -> Self {
        Self {
            teller: Teller {
                privacy,
                events: Vec::new(),
                next_number: 0,
                file: 0,
                line: 0,
                time: 0,
                ratings: Ratings::default(),
            },
            postfix: postfix::Postfix::default(),
            heads: Heads::default(),
            counters: Counters::default(),
            honey: None,
            begun: Vec::new(),
            is_thorough: false,
        }
    }

    /// Tells who uses this decoy, also inside TLS.
    pub fn seek(&mut self, honey: Honey) {
        self.honey = Some(honey);
    }

    /// The lines that follow are of another file, by its place in the list of files.
    pub fn begin_file(&mut self, file: u32) {
        self.teller.file = file;
        self.teller.line = 0;
    }

    /// What was read so far.
    #[must_use]
    pub fn counters(&self) -> Counters {
        self.counters
    }

    /// Whether events wait.
    #[must_use]
    pub fn has_events(&self) -> bool {
        !self.teller.events.is_empty()
    }

    /// The events since the last call.
    pub fn take_events(&mut self) -> Vec<Event> {
        std::mem::take(&mut self.teller.events)
    }

    /// Takes in octets in any cut. A line is looked at when its end has come; of one that is too long the beginning counts.
    pub fn push(&mut self, mut octets: &[u8]) {
        while let Some(at) = memchr::memchr(b'\n', octets) {
            let (piece, rest) = octets.split_at(at);
            octets = rest.get(1..).unwrap_or_default();
            if self.begun.is_empty() {
                self.line(piece.trim_ascii_end());
            } else {
                self.keep(piece);
                let line = std::mem::take(&mut self.begun);
                self.line(line.trim_ascii_end());
            }
        }
        self.keep(octets);
    }

    fn keep(&mut self, octets: &[u8]) {
        let room = LONGEST.saturating_sub(self.begun.len());
        let kept = octets.get(..room).unwrap_or(octets);
        self.begun.extend_from_slice(kept);
    }

    /// Takes in a line without its end.
    pub fn line(&mut self, line: &[u8]) {
        self.counters.lines += 1;
        self.teller.line += 1;
        let line = line.get(..LONGEST).unwrap_or(line);
        let entry = if self.is_thorough {
            None
        } else {
            self.heads.read(line)
        };
        let is_known = match entry {
            Some(Entry {
                program: Program::Idle,
                ..
            }) => false,
            Some(entry) => self.entry(entry, 0),
            None => self.known(line),
        };
        if !is_known {
            self.counters.unknown += 1;
        }
        // After the line was read, for then the time is known.
        if let Some(used) = self.honey.as_ref().and_then(|it| it.find(line)) {
            self.teller.decoy(&used, is_known);
        }
    }

    /// Forgets the line whose end has not come, and says how many octets of it there were: who keeps the place goes on before them.
    pub fn forget_begun(&mut self) -> usize {
        std::mem::take(&mut self.begun).len()
    }

    /// No more will come.
    pub fn finish(&mut self) {
        let line = std::mem::take(&mut self.begun);
        if !line.is_empty() {
            self.line(line.trim_ascii_end());
        }
        self.postfix.finish(&mut self.teller);
    }

    /// The long way: every format in turn.
    fn known(&mut self, line: &[u8]) -> bool {
        if line.starts_with(b"{") {
            return gatepost::read_json(&String::from_utf8_lossy(line), &mut self.teller);
        }
        if line.get(10) == Some(&b'T')
            && gatepost::read_words(&String::from_utf8_lossy(line), &mut self.teller)
        {
            return true;
        }
        if line.get(10) == Some(&b' ')
            && let Some((time, rest)) = exim::time(&String::from_utf8_lossy(line))
        {
            self.teller.time = time;
            return exim::read(rest, &mut self.teller);
        }
        let (time, rest) = if quick::has_short_time(line) {
            let rest = line.get(16..).unwrap_or_default();
            let host = memchr::memchr(b' ', rest).and_then(|at| rest.get(at + 1..));
            // The short form has no year, so no time is told.
            (0, host.unwrap_or_default())
        } else if let Some((time, rest)) = iso_head(line) {
            (time, rest)
        } else {
            self.counters.shapeless += 1;
            return false;
        };
        let mut none = Heads::default();
        let heads = if self.is_thorough {
            &mut none
        } else {
            &mut self.heads
        };
        match heads.entry(rest) {
            Some(entry) => self.entry(entry, time),
            None => false,
        }
    }

    fn entry(&mut self, entry: Entry<'_>, time: u64) -> bool {
        if entry.program == Program::Idle {
            return false;
        }
        self.teller.time = time;
        // Nearly every line is sound, and told so faster than it is mended.
        let mended;
        let text = if let Ok(text) = std::str::from_utf8(entry.text) {
            text
        } else {
            mended = String::from_utf8_lossy(entry.text).into_owned();
            &mended
        };
        let teller = &mut self.teller;
        match entry.program {
            Program::Server { is_wrapped } => {
                self.postfix.server(entry.place, is_wrapped, text, teller)
            }
            Program::Client => self.postfix.client(entry.place, text, teller),
            Program::Dovecot => dovecot::read(text, teller),
            Program::Idle => false,
        }
    }
}

/// What stands behind the time and the host, when a line begins as `2026-11-26T18:00:00.1+00:00 host program[1]: text`.
fn iso_head(line: &[u8]) -> Option<(u64, &[u8])> {
    let (first, rest) = line.split_at(memchr::memchr(b' ', line)?);
    let time = time::iso_time(std::str::from_utf8(first).ok()?)?;
    let rest = rest.get(1..)?;
    Some((time, rest.get(memchr::memchr(b' ', rest)? + 1..)?))
}

/// What stands before and behind the first of this octet, which is ASCII. A line has many of them, so this is where the time goes.
fn cut(text: &str, at: u8) -> Option<(&str, &str)> {
    let place = memchr::memchr(at, text.as_bytes())?;
    Some((text.get(..place)?, text.get(place + 1..)?))
}

impl Teller {
    fn finding(&mut self, id: &'static str, session: &Logged, evidence: impl Into<String>) {
        self.tell(id, None, session, evidence.into(), None);
    }

    fn tell(
        &mut self,
        id: &'static str,
        severity: Option<Severity>,
        session: &Logged,
        evidence: String,
        login: Option<Login>,
    ) {
        if session.is_local() {
            return;
        }
        self.events.push(Event::Finding(Box::new(Finding {
            id,
            severity: severity
                .or(rules::find(id).map(|it| it.severity))
                .unwrap_or(Severity::Info),
            session: None,
            protocol: Some(session.protocol),
            ends: Some(session.ends()),
            file: self.file,
            packet: 0,
            line: self.line,
            offset: 0,
            side: "",
            time: self.time,
            evidence,
            login: login.map(Box::new),
        })));
    }

    /// A decoy that was used, in a line of a format that is read or of another one. A client on the machine itself counts: it may
    /// speak for others.
    fn decoy(&mut self, used: &Use, is_known: bool) {
        self.events.push(Event::Finding(Box::new(Finding {
            line: self.line,
            ends: used.client.map(|it| Logged::ends_of(Some(it), None)),
            ..Finding::of_file(
                "W109",
                "the decoy was used".to_owned(),
                self.file,
                0,
                if is_known { self.time } else { 0 },
            )
        })));
    }

    /// A login without TLS.
    fn login(&mut self, session: &mut Logged, mechanism: &str, user: &str, ending: Ending) {
        let mechanism = Mechanism::find(mechanism.as_bytes());
        let (id, severity, shown) = match mechanism {
            Mechanism::Xoauth2 | Mechanism::OauthBearer => ("W104", None, Shown::Token),
            Mechanism::CramMd5 | Mechanism::DigestMd5 | Mechanism::Ntlm | Mechanism::Apop => {
                ("W105", None, Shown::Challenge)
            }
            Mechanism::Scram => ("W105", Some(Severity::Low), Shown::Challenge),
            Mechanism::Kerberos | Mechanism::External | Mechanism::Anonymous | Mechanism::Other => {
                ("W106", None, Shown::Nothing)
            }
            _ => {
                let id = match session.protocol {
                    Protocol::Smtp => "W101",
                    Protocol::Imap => "W102",
                    Protocol::Pop3 => "W103",
                    Protocol::Sieve => "W108",
                };
                (id, None, Shown::Password)
            }
        };
        session.in_clear[0] += 1;
        let login = Login {
            mechanism,
            user: self.privacy.hide(user.as_bytes()),
            shown,
            password: None,
            ending,
        };
        let evidence = format!("{} without TLS, {}", mechanism.word(), ending.word());
        self.tell(id, severity, session, evidence, Some(login));
    }

    fn session(&mut self, session: Logged) {
        let number = self.next_number;
        self.next_number = self.next_number.wrapping_add(1);
        let ends = session.ends();
        self.events.push(Event::Session(Box::new(Session {
            number,
            protocol: session.protocol,
            outcome: session.outcome,
            ends,
            file: self.file,
            line: self.line,
            time: (self.time, self.time),
            size: (0, 0),
            upgrade: session.upgrade,
            tls: session.tls,
            tunnel: None,
            in_clear: session.in_clear,
            missing: 0,
            first_number: 0,
            first_packet: 0,
            said: [0; 2],
            found: Vec::new(),
        })));
    }
}

impl Logged {
    fn new(protocol: Protocol, client: Option<IpAddr>) -> Self {
        Self {
            protocol,
            client,
            server: None,
            outcome: Outcome::Clear,
            upgrade: Upgrade::Unknown,
            tls: None,
            in_clear: [0; 3],
        }
    }

    /// Whether nothing of it was on a wire.
    fn is_local(&self) -> bool {
        let peer = self.client.or(self.server.map(|it| it.0));
        peer.is_some_and(|it| it.is_loopback())
    }

    fn ends(&self) -> Ends {
        Self::ends_of(self.client, self.server)
    }

    fn ends_of(client: Option<IpAddr>, server: Option<(IpAddr, u16)>) -> Ends {
        let number = |it: IpAddr| match it {
            IpAddr::V4(it) => u128::from(it.to_ipv6_mapped()),
            IpAddr::V6(it) => u128::from(it),
        };
        Ends {
            client: (client.map_or(0, number), 0),
            server: server.map_or((0, 0), |it| (number(it.0), it.1)),
        }
    }
}

/// What stands between two marks.
fn between<'a>(text: &'a str, from: &str, to: u8) -> Option<&'a str> {
    behind(text, from).and_then(|it| cut(it, to)).map(|it| it.0)
}

/// What stands behind a mark.
fn behind<'a>(text: &'a str, mark: &str) -> Option<&'a str> {
    let at = memchr::memmem::find(text.as_bytes(), mark.as_bytes())?;
    text.get(at + mark.len()..)
}

/// The address in `name[192.0.2.1]` or `name [192.0.2.1]:25`.
fn bracketed(text: &str) -> Option<IpAddr> {
    let (_, rest) = cut(text, b'[')?;
    let (inner, _) = cut(rest, b']')?;
    inner.strip_prefix("IPv6:").unwrap_or(inner).parse().ok()
}

#[cfg(test)]
#[path = "tests.rs"]
mod tests;
