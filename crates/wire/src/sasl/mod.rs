//! SASL: the exchanges by which a user proves who they are, the same in SMTP, IMAP and POP3.
//!
//! An exchange is begun with [`crate::seam::MayReadCredentials`]: no proof of TLS (or named exception), no exchange. It never
//! touches an account: it asks for SCRAM keys and for judgement with [`AccountAsk`], so passwords are compared in one place, by
//! whoever keeps the accounts. Mechanisms offered: SCRAM-SHA-256-PLUS, SCRAM-SHA-256, PLAIN, LOGIN; nothing weaker
//! [SASL-SEC-01]. SCRAM-SHA-1 and its PLUS are there for who asks for them by name [CONF-07].
//!
//! Base64 is the protocols' business in form (each has its own line rules) but is decoded here, strictly [SMTP-AUTH-05].

mod base64;
pub mod client;
mod exchange;
mod hash;
mod mechanism;
mod prepare;
mod record;
mod scram;
#[cfg(test)]
mod tests;

pub use base64::{BadBase64, decode_base64, encode_base64};
pub use exchange::{Exchange, Failure, Step};
pub use hash::ScramHash;
pub use mechanism::Mechanism;
pub use prepare::{Preparation, normal_name, prepare_name, prepare_password};
pub use record::{LEAST_ITERATIONS, ScramRecord};

use crate::seam::Channel;
use crate::secret::Secret;

/// The mechanisms to announce on this channel, strongest first, among those the configuration allows. None where credentials may not be read
/// [SASL-PLAIN-01] [SMTP-AUTH-01]; PLUS, beside the plain form [SASL-SCRAM-03], where the channel has values to
/// bind to.
///
/// To leave PLUS out, give the channel no values to bind to: a client that could bind and is not offered it says so, and
/// [`Exchange`] takes that for an attack where values are there. So it is PLUS with every hash function, or with none.
pub fn offered(channel: &Channel, allowed: &[Mechanism]) -> Vec<Mechanism> {
    let Some(may) = channel.may_read_credentials() else {
        return Vec::new();
    };
    let bound = may.bindings().is_some();
    Mechanism::SPOKEN
        .into_iter()
        .filter(|it| allowed.contains(it))
        .filter(|it| bound || !it.is_bound())
        // [SASL-EXT-01] nobody without a verified certificate can use it
        .filter(|it| may.client().is_some() || *it != Mechanism::External)
        // [SASL-OAUTH-01] a token in clear is anybody's (RFC 7628 4): the exception for clear logins does not hold for it
        .filter(|it| may.is_encrypted() || !it.is_token())
        .collect()
}

/// Whether the protocols' own commands for name and password (LOGIN, USER and PASS) may be used on this channel: where
/// PLAIN is offered, for they say the same.
pub fn password_commands_offered(channel: &Channel, allowed: &[Mechanism]) -> bool {
    offered(channel, allowed).contains(&Mechanism::Plain)
}

/// A question to whoever keeps the accounts.
#[derive(Debug, PartialEq, Eq)]
pub enum AccountAsk {
    /// The SCRAM keys of a user. For a user who does not exist the answer holds keys that no proof fits, with a salt that
    /// is the same every time [SASL-SCRAM-02]; the session cannot tell the difference.
    ScramKeys {
        /// The name as the client gave it, prepared.
        user: String,
        /// The hash function they are made with. Who has an account and no such keys is answered like who has none.
        hash: ScramHash,
    },
    /// Judge a login. The keeper counts failures and takes its time over the answer where there were many.
    Login(Attempt),
}

/// What the client brought forward.
#[derive(Debug, PartialEq, Eq)]
pub enum Attempt {
    /// A password, to be compared with the record.
    Password {
        /// The name as the client gave it, prepared.
        user: String,
        /// The password, prepared (`SASLprep`).
        password: Secret<String>,
        /// By which mechanism.
        mechanism: Mechanism,
    },
    /// An access token, for its issuer to judge (RFC 7628). Only where [`Mechanism::OAuthBearer`] or [`Mechanism::XOAuth2`] is
    /// allowed.
    Token {
        /// The name as the client gave it, prepared.
        user: String,
        /// The token: printable ASCII.
        token: Secret<String>,
        /// By which mechanism.
        mechanism: Mechanism,
    },
    /// A verified client certificate, which gives this name [SASL-EXT-01]. Only where [`Mechanism::External`] is allowed.
    Certificate {
        /// The name in the certificate, prepared.
        user: String,
    },
    /// A SCRAM proof was checked against the keys given, with this result.
    Scram {
        /// The name as the client gave it, prepared.
        user: String,
        /// Whether the proof fits the keys.
        proven: bool,
        /// By which mechanism.
        mechanism: Mechanism,
    },
}

/// The answer to an [`AccountAsk`].
#[derive(Debug, PartialEq, Eq)]
pub enum AccountAnswer {
    /// The keys asked for.
    ScramKeys(ScramKeys),
    /// The login is good.
    Granted {
        /// The canonical account name, as it goes into logs.
        account: Box<str>,
    },
    /// Wrong name or password: the same answer for both.
    Denied,
    /// It cannot be told now; the client may try again later.
    Unavailable,
}

/// What SCRAM needs to know of an account (RFC 5802 3), and the server's fresh nonce.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ScramKeys {
    /// The salt, at least 16 octets.
    pub salt: Vec<u8>,
    /// The iteration count, at least 4096 (RFC 7677 4).
    pub iterations: u32,
    /// `StoredKey`: as long as the hash.
    pub stored_key: Secret<Vec<u8>>,
    /// `ServerKey`: as long as the hash.
    pub server_key: Secret<Vec<u8>>,
    /// Fresh randomness for the server's half of the nonce: printable ASCII without a comma, at least 18 characters.
    pub nonce: String,
}
