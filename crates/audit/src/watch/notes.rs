//! What the trackers of one session write down: findings as they come, and the facts told when the session is over.
//!
//! Nothing here can hold a secret: evidence is put together from words of this program, names are hashed before they come here
//! ([`super::privacy`]), and where something stood is said by packet and offset.

use std::borrow::Cow;

use super::certificates::Judge;
use super::login::Login;
use super::privacy::Privacy;
use super::tls::TlsFacts;
use crate::finding::Severity;

/// Who says something.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Side {
    /// Who opened the connection.
    Client,
    /// Who was called.
    Server,
}

impl Side {
    /// The other one.
    #[must_use]
    pub fn other(self) -> Self {
        match self {
            Self::Client => Self::Server,
            Self::Server => Self::Client,
        }
    }

    /// The word in reports.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Client => "client",
            Self::Server => "server",
        }
    }
}

/// Where something stood.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct At {
    /// In whose octets.
    pub side: Side,
    /// The packet, counted from 1 in its file.
    pub packet: u64,
    /// The octet of that direction of the stream, counted from 0.
    pub offset: u64,
    /// When, in nanoseconds since 1970.
    pub time: u64,
}

/// A mail protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Protocol {
    /// SMTP, submission and LMTP.
    Smtp,
    /// IMAP.
    Imap,
    /// POP3.
    Pop3,
    /// `ManageSieve`.
    Sieve,
}

impl Protocol {
    /// The word in reports.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Smtp => "smtp",
            Self::Imap => "imap",
            Self::Pop3 => "pop3",
            Self::Sieve => "managesieve",
        }
    }
}

/// How an upgrade went.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub enum Upgrade {
    /// Nothing was seen that would say so.
    #[default]
    Unknown,
    /// What the server can do was seen, and STARTTLS was not in it.
    NotOffered,
    /// It was.
    Offered,
    /// The client asked for it.
    Asked,
    /// The server said no.
    Refused,
    /// The server said yes.
    Accepted,
}

impl Upgrade {
    /// The word in reports.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Unknown => "unknown",
            Self::NotOffered => "not offered",
            Self::Offered => "offered",
            Self::Asked => "asked",
            Self::Refused => "refused",
            Self::Accepted => "accepted",
        }
    }
}

/// Something found, not yet joined with the session it was found in.
#[derive(Debug)]
pub struct Note {
    /// The rule.
    pub id: &'static str,
    /// How bad it is here, where that differs from the rule.
    pub severity: Option<Severity>,
    /// Where.
    pub at: At,
    /// What was seen, in words of this program.
    pub evidence: Cow<'static, str>,
    /// The login it is about.
    pub login: Option<Box<Login>>,
}

impl Note {
    /// As grave as its rule, and about no login.
    pub(super) fn new(id: &'static str, at: At, evidence: impl Into<Cow<'static, str>>) -> Self {
        Self {
            id,
            severity: None,
            at,
            evidence: evidence.into(),
            login: None,
        }
    }
}

/// What is told of a session when it is over.
#[derive(Debug, Default)]
#[expect(clippy::struct_excessive_bools, reason = "each is a fact of its own")]
pub struct Facts {
    /// The protocol, once known.
    pub protocol: Option<Protocol>,
    /// Whether the protocol is a guess by the port: too little was seen.
    pub is_untold: bool,
    /// Whether TLS was to begin at once.
    pub is_implicit: bool,
    /// Through what the session was tunnelled.
    pub tunnel: Option<&'static str>,
    /// How far the upgrade came.
    pub upgrade: Upgrade,
    /// What was seen of TLS.
    pub tls: Option<Box<TlsFacts>>,
    /// Whether TLS failed.
    pub has_failed: bool,
    /// Whether somebody took the offer of TLS away.
    pub is_stripped: bool,
    /// Logins with something in clear.
    pub logins: u32,
    /// Mails sent in clear.
    pub sent: u32,
    /// Mails read in clear.
    pub read: u32,
    /// Lines said in clear after TLS had failed.
    pub lines_after_failure: u32,
    /// Octets that are missing.
    pub missing: u64,
}

/// What trackers write to.
#[derive(Debug)]
pub struct Notes<'a> {
    /// Findings.
    pub found: &'a mut Vec<Note>,
    /// Facts.
    pub facts: &'a mut Facts,
    /// How names are hidden.
    pub privacy: &'a Privacy,
    /// What certificates are judged by.
    pub judge: &'a Judge,
    /// Room to work in.
    pub scratch: &'a mut Vec<u8>,
    /// Whether each side was seen at all: client, server.
    pub seen: [bool; 2],
}

impl Notes<'_> {
    /// Writes a finding.
    pub fn find(&mut self, id: &'static str, at: At, evidence: impl Into<Cow<'static, str>>) {
        self.found.push(Note::new(id, at, evidence));
    }

    /// Writes a finding that is more or less grave here than its rule.
    pub fn find_at(
        &mut self,
        id: &'static str,
        severity: Severity,
        at: At,
        evidence: impl Into<Cow<'static, str>>,
    ) {
        self.found.push(Note {
            severity: Some(severity),
            ..Note::new(id, at, evidence)
        });
    }

    /// Whether this side was seen at all.
    #[must_use]
    pub fn has_seen(&self, side: Side) -> bool {
        let [client, server] = self.seen;
        match side {
            Side::Client => client,
            Side::Server => server,
        }
    }
}
