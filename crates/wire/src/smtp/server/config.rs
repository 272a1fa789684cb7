//! What a listener's sessions are configured with.

use std::net::IpAddr;

use super::limits::Limits;
use crate::sasl::Mechanism;
use crate::seam::{ClearLogin, TlsVersion};

/// The configuration all sessions of one listener share.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// The server's own name: ASCII, A-labels for international names [SMTP-UTF8-03].
    pub host: String,
    /// Whom this listener serves.
    pub role: Role,
    /// When TLS is offered and asked for.
    pub tls: TlsPolicy,
    /// Whether mail is taken only after a login [SUBM-01]. Never true for [`Role::Mx`], where there are no logins.
    pub requires_auth: bool,
    /// The mechanisms allowed for logins [SASL-LOGIN-01].
    pub mechanisms: Vec<Mechanism>,
    /// Which extensions are offered.
    pub offers: Offers,
    /// Whether MAIL and RCPT that came in one go are put to the backend in one question: for a backend that takes a round trip to answer.
    pub groups: bool,
    /// Whether `Received:` leaves out the client's name and address [RECV-05].
    pub hide_client: bool,
    /// What a session puts up with.
    pub limits: Limits,
}

/// Extensions that a listener may have to leave out: a gate offers what its upstream offers too [GW-01]. The others (PIPELINING,
/// SIZE, CHUNKING, LIMITS) are the session's own business.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is a keyword of its own"
)]
pub struct Offers {
    /// 8BITMIME (RFC 6152).
    pub eight_bit: bool,
    /// SMTPUTF8 (RFC 6531).
    pub utf8: bool,
    /// ENHANCEDSTATUSCODES (RFC 2034).
    pub enhanced: bool,
    /// DSN (RFC 3461): who offers it promises to send notifications, or to have them sent.
    pub dsn: bool,
    /// BINARYMIME (RFC 3030).
    pub binary: bool,
}

impl Default for Offers {
    /// All that mailboxes can keep their word on: notifications are for who relays, and stored messages have lines.
    fn default() -> Self {
        Self {
            eight_bit: true,
            utf8: true,
            enhanced: true,
            dsn: false,
            binary: false,
        }
    }
}

/// Whom a listener serves.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Role {
    /// Other servers (port 25). No logins, strict grammar.
    Mx,
    /// Users' programs (ports 587 and 465; RFC 6409).
    Submission,
}

/// When TLS is offered and asked for [SMTP-STARTTLS-15] [SMTP-STARTTLS-16].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TlsPolicy {
    /// Whether STARTTLS is offered. False while there is no certificate to show [SMTP-STARTTLS-03].
    pub offered: bool,
    /// Whether nothing is served in clear. Not for a public MX [SMTP-STARTTLS-10].
    pub required: bool,
    /// The oldest version that is served; with an older one the client can only leave [SMTP-STARTTLS-12].
    pub least: TlsVersion,
}

/// Who is at the other end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Peer {
    /// The client's address.
    pub address: IpAddr,
    /// Whether it is a server in front that may say who its client is (XCLIENT).
    pub introduces: bool,
    /// The configuration's exception for this address: it may log in without TLS.
    pub clear_login: Option<ClearLogin>,
}

impl Config {
    /// A public MX: TLS when available, never required (RFC 3207 4) [SMTP-STARTTLS-10].
    pub fn mx(host: String) -> Self {
        let tls = TlsPolicy {
            offered: true,
            required: false,
            least: TlsVersion::Tls12,
        };
        Self {
            host,
            role: Role::Mx,
            tls,
            requires_auth: false,
            mechanisms: Mechanism::FOR_ACCOUNTS.to_vec(),
            offers: Offers::default(),
            groups: false,
            hide_client: false,
            limits: Limits::default(),
        }
    }

    /// Submission: TLS required, then a login required.
    pub fn submission(host: String) -> Self {
        let tls = TlsPolicy {
            offered: true,
            required: true,
            least: TlsVersion::Tls12,
        };
        Self {
            host,
            role: Role::Submission,
            tls,
            requires_auth: true,
            mechanisms: Mechanism::FOR_ACCOUNTS.to_vec(),
            offers: Offers::default(),
            groups: false,
            hide_client: false,
            limits: Limits::default(),
        }
    }
}
