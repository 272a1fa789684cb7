//! What is examined: a service at a host, address and port, and the part it plays.

use std::fmt;
use std::net::IpAddr;

use serde::{Deserialize, Serialize};

/// What is spoken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Protocol {
    /// SMTP and submission (RFC 5321, RFC 6409).
    Smtp,
    /// LMTP (RFC 2033).
    Lmtp,
    /// IMAP (RFC 9051).
    Imap,
    /// POP3 (RFC 1939).
    Pop3,
    /// `ManageSieve` (RFC 5804).
    Sieve,
}

impl Protocol {
    /// The word in reports.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Self::Smtp => "smtp",
            Self::Lmtp => "lmtp",
            Self::Imap => "imap",
            Self::Pop3 => "pop3",
            Self::Sieve => "sieve",
        }
    }
}

/// How TLS begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Start {
    /// In clear, then STARTTLS or STLS.
    StartTls,
    /// With the first octet.
    Implicit,
}

/// The part a service plays. It decides how grave a fault is: a mail exchanger must take mail from those who know no TLS, and never sees a
/// password; the others see nothing but passwords and mail.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Mail from other servers: port 25.
    Mx,
    /// Mail from users: 587 and 465.
    Submission,
    /// Mail to users: IMAP, POP3 and `ManageSieve`.
    Access,
}

impl Role {
    /// The word in reports and flags.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Self::Mx => "mx",
            Self::Submission => "submission",
            Self::Access => "access",
        }
    }

    /// Reads the word back; `imap`, `pop3`, `sieve` and `lmtp` are taken too.
    #[must_use]
    pub fn parse(word: &str) -> Option<Self> {
        Some(match word {
            "mx" | "relay" => Self::Mx,
            "submission" | "submissions" | "msa" => Self::Submission,
            "access" | "imap" | "imaps" | "pop3" | "pop3s" | "sieve" | "lmtp" => Self::Access,
            _ => return None,
        })
    }
}

/// What is examined.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Target {
    /// The host as the user or DNS named it: a name, or an address as text. The certificate must be for it.
    pub host: String,
    /// Where it was reached, or is to be.
    pub address: IpAddr,
    /// The port.
    pub port: u16,
    /// What is spoken.
    pub protocol: Protocol,
    /// How TLS begins.
    pub start: Start,
    /// The part it plays.
    pub role: Role,
}

impl Target {
    /// The name to ask for in the hello; none for an address (RFC 6066 3).
    #[must_use]
    pub fn server_name(&self) -> Option<&str> {
        let host = self.host.trim_end_matches('.');
        host.parse::<IpAddr>().is_err().then_some(host)
    }

    /// The name of the command that begins TLS.
    #[must_use]
    pub const fn command(&self) -> &'static str {
        match self.protocol {
            Protocol::Pop3 => "STLS",
            _ => "STARTTLS",
        }
    }
}

impl fmt::Display for Target {
    /// `smtp://host:port (address)`; the scheme of an implicit service ends in `s`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let end = match self.start {
            Start::Implicit => "s",
            Start::StartTls => "",
        };
        let scheme = match (self.protocol, self.role) {
            (Protocol::Smtp, Role::Submission) => "submission",
            (protocol, _) => protocol.label(),
        };
        let host = if self.host.contains(':') {
            format!("[{}]", self.host)
        } else {
            self.host.clone()
        };
        write!(f, "{scheme}{end}://{host}:{}", self.port)?;
        if self.server_name().is_some() {
            write!(f, " ({})", self.address)?;
        }
        Ok(())
    }
}
