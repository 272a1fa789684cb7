//! Logs of mail servers: what they say of sessions in clear, upgrades that failed, and TLS.
//!
//! A line is cut into time, program, process and text; then the state machine of the program's format joins the lines of one session, by
//! process, queue id or session id. Formats: Postfix (smtpd, smtp), Dovecot (login processes), Exim (main log), Gatepost's own JSON. Lines
//! that are not known are counted, not errors.
//!
//! The rules of packets hold: names are hashed, nothing else of a line is quoted, and a claim is no stronger than the line. Connections from the
//! machine itself are told as sessions and not as leaks: nothing of them was on a wire.

mod dovecot;
mod exim;
mod gatepost;
mod postfix;

use std::net::IpAddr;

use super::event::{Ends, Event, Finding, Outcome, Session};
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
}

/// Reads logs.
#[derive(Debug)]
pub struct LogWatcher {
    teller: Teller,
    postfix: postfix::Postfix,
    counters: Counters,
    /// A line whose end has not come.
    begun: Vec<u8>,
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
}

/// A line, taken apart.
#[derive(Debug, Clone, Copy)]
struct Entry<'a> {
    /// Program and process as they stand there.
    tag: &'a str,
    program: &'a str,
    process: &'a str,
    text: &'a str,
}

/// A session as a log tells it.
#[derive(Debug, Clone)]
struct Logged {
    protocol: Protocol,
    client: Option<IpAddr>,
    server: Option<(IpAddr, u16)>,
    outcome: Outcome,
    upgrade: Upgrade,
    tls: Option<Box<TlsFacts>>,
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
            },
            postfix: postfix::Postfix::default(),
            counters: Counters::default(),
            begun: Vec::new(),
        }
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
        // Nearly every line is sound, and told so faster than it is mended.
        let is_known = match std::str::from_utf8(line) {
            Ok(text) => self.known(text),
            Err(_) => self.known(&String::from_utf8_lossy(line)),
        };
        if !is_known {
            self.counters.unknown += 1;
        }
    }

    /// No more will come.
    pub fn finish(&mut self) {
        let line = std::mem::take(&mut self.begun);
        if !line.is_empty() {
            self.line(line.trim_ascii_end());
        }
        self.postfix.finish(&mut self.teller);
    }

    fn known(&mut self, line: &str) -> bool {
        if line.starts_with('{') {
            return gatepost::read(line, &mut self.teller);
        }
        let is_date = line.starts_with(|it: char| it.is_ascii_digit());
        if is_date && let Some((time, rest)) = exim::time(line) {
            self.teller.time = time;
            return exim::read(rest, &mut self.teller);
        }
        let Some((time, entry)) = syslog(line) else {
            return false;
        };
        self.teller.time = time;
        if entry.program.starts_with("dovecot") {
            return dovecot::read(entry.text, &mut self.teller);
        }
        match entry.program.split_once('/') {
            Some((name, _)) if name.starts_with("postfix") => {
                self.postfix.read(entry, &mut self.teller)
            }
            _ => false,
        }
    }
}

/// `Nov 26 18:00:00 host program[1]: text` or `2026-11-26T18:00:00.1+00:00 host program[1]: text`. The short form has no year, so no time is told.
fn syslog(line: &str) -> Option<(u64, Entry<'_>)> {
    let (time, rest) = if has_short_time(line.as_bytes()) {
        (0, line.get(16..)?)
    } else {
        let (first, rest) = cut(line, b' ')?;
        (iso_time(first)?, rest)
    };
    let (_, rest) = cut(rest, b' ')?;
    let (tag, text) = cut(rest, b':')?;
    let text = text.strip_prefix(' ')?;
    let (program, process) = match cut(tag, b'[') {
        Some((program, process)) => (program, process.trim_end_matches(']')),
        None => (tag, ""),
    };
    let entry = Entry {
        tag,
        program,
        process,
        text,
    };
    Some((time, entry))
}

/// Whether a line begins as `Nov 26 18:00:00 `.
fn has_short_time(line: &[u8]) -> bool {
    let marks = [(3, b' '), (6, b' '), (9, b':'), (12, b':'), (15, b' ')];
    marks.iter().all(|(at, mark)| line.get(*at) == Some(mark))
}

/// What stands before and behind the first of this octet, which is ASCII. A line has many of them, so this is where the time goes.
fn cut(text: &str, at: u8) -> Option<(&str, &str)> {
    let place = memchr::memchr(at, text.as_bytes())?;
    Some((text.get(..place)?, text.get(place + 1..)?))
}

/// RFC 3339, to the second, in nanoseconds since 1970.
fn iso_time(text: &str) -> Option<u64> {
    let (date, time) = text.split_once('T')?;
    let clock = time.get(..8)?;
    let local = civil_time(date, clock)?;
    let zone = time.rfind(['+', '-']).and_then(|at| time.get(at..));
    let Some(zone) = zone else {
        return u64::try_from(local).ok()?.checked_mul(1_000_000_000);
    };
    let sign = if zone.starts_with('-') { -1 } else { 1 };
    let digits: String = zone.chars().filter(char::is_ascii_digit).collect();
    let hours: i64 = digits.get(..2)?.parse().ok()?;
    let minutes: i64 = digits.get(2..4).map_or(Some(0), |it| it.parse().ok())?;
    let seconds = local - sign * (hours * 3600 + minutes * 60);
    u64::try_from(seconds).ok()?.checked_mul(1_000_000_000)
}

/// `2026-11-26` and `18:00:00` in seconds since 1970.
fn civil_time(date: &str, clock: &str) -> Option<i64> {
    let number = |text: Option<&str>| text.and_then(|it| it.parse::<i64>().ok());
    let mut parts = date.split('-');
    let (year, month, day) = (
        number(parts.next())?,
        number(parts.next())?,
        number(parts.next())?,
    );
    let mut parts = clock.split(':');
    let (hour, minute, second) = (
        number(parts.next())?,
        number(parts.next())?,
        number(parts.next())?,
    );
    let fits = (1970..3000).contains(&year) && (1..=12).contains(&month) && (1..=31).contains(&day);
    fits.then_some(())?;
    // Days since 1970 by the same rule that writes dates.
    let (year, month) = if month > 2 {
        (year, month - 3)
    } else {
        (year - 1, month + 9)
    };
    let (era, year_of_era) = (year / 400, year % 400);
    let day_of_year = (153 * month + 2) / 5 + day - 1;
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    let days = era * 146_097 + day_of_era - 719_468;
    Some(days * 86_400 + hour * 3600 + minute * 60 + second)
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

    /// TLS was up, at once or after STARTTLS.
    fn encrypted(&mut self, outcome: Outcome, facts: TlsFacts) {
        self.outcome = outcome;
        if outcome == Outcome::Upgraded {
            self.upgrade = Upgrade::Accepted;
        }
        self.tls = Some(Box::new(TlsFacts {
            is_established: true,
            ..facts
        }));
    }

    /// Whether nothing of it was on a wire.
    fn is_local(&self) -> bool {
        let peer = self.client.or(self.server.map(|it| it.0));
        peer.is_some_and(|it| it.is_loopback())
    }

    fn ends(&self) -> Ends {
        let number = |it: IpAddr| match it {
            IpAddr::V4(it) => u128::from(it.to_ipv6_mapped()),
            IpAddr::V6(it) => u128::from(it),
        };
        Ends {
            client: (self.client.map_or(0, number), 0),
            server: self.server.map_or((0, 0), |it| (number(it.0), it.1)),
        }
    }
}

/// What a log says of TLS: `TLSv1.3` and a suite as OpenSSL names it.
fn facts(version: &str, suite: &str) -> TlsFacts {
    let number = match version {
        "TLSv1.3" | "TLS1.3" => Some(0x0304),
        "TLSv1.2" | "TLS1.2" => Some(0x0303),
        "TLSv1.1" | "TLS1.1" => Some(0x0302),
        "TLSv1" | "TLSv1.0" | "TLS1" | "TLS1.0" => Some(0x0301),
        "SSLv3" | "SSL3" => Some(0x0300),
        _ => None,
    };
    let is_name = suite.len() <= 64
        && suite
            .bytes()
            .all(|it| it.is_ascii_alphanumeric() || matches!(it, b'-' | b'_'));
    TlsFacts {
        version: number,
        suite_name: is_name.then(|| suite.to_owned()),
        ..TlsFacts::default()
    }
}

/// Versions and suites that should not be.
fn judge(session: &Logged, teller: &mut Teller) {
    let Some(tls) = &session.tls else {
        return;
    };
    match tls.version {
        Some(0x0300) => teller.tell(
            "W501",
            Some(Severity::High),
            session,
            "SSL 3.0".into(),
            None,
        ),
        Some(0x0301) => teller.tell(
            "W501",
            Some(Severity::Medium),
            session,
            "TLS 1.0".into(),
            None,
        ),
        Some(0x0302) => teller.tell(
            "W501",
            Some(Severity::Medium),
            session,
            "TLS 1.1".into(),
            None,
        ),
        _ => {}
    }
    let name = tls.suite_name.as_deref().unwrap_or_default();
    let has = |words: &[&str]| words.iter().any(|it| name.contains(it));
    if has(&[
        "RC4", "NULL", "EXP-", "EXPORT", "ADH-", "AECDH-", "_anon_", "DES-CBC-", "DES_CBC_",
    ]) && !has(&["DES-CBC3", "3DES"])
    {
        teller.finding("W502", session, name);
    } else if has(&["DES-CBC3", "3DES"]) {
        teller.tell(
            "W502",
            Some(Severity::Medium),
            session,
            name.to_owned(),
            None,
        );
    }
}

/// What stands between two marks.
fn between<'a>(text: &'a str, from: &str, to: &str) -> Option<&'a str> {
    let (_, rest) = text.split_once(from)?;
    rest.split_once(to).map(|it| it.0)
}

/// The address in `name[192.0.2.1]` or `name [192.0.2.1]:25`.
fn bracketed(text: &str) -> Option<IpAddr> {
    let (_, rest) = cut(text, b'[')?;
    let (inner, _) = cut(rest, b']')?;
    inner.trim_start_matches("IPv6:").parse().ok()
}

#[cfg(test)]
#[path = "tests.rs"]
mod tests;
