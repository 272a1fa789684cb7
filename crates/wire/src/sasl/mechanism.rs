//! The mechanisms of SASL spoken here, at either end.

use super::ScramHash;

/// A mechanism, strongest first [CONF-07].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Mechanism {
    /// SCRAM-SHA-256-PLUS (RFC 7677), bound to the TLS connection.
    ScramSha256Plus,
    /// SCRAM-SHA-256 (RFC 7677).
    ScramSha256,
    /// SCRAM-SHA-1-PLUS (RFC 5802), bound in the same way; never by tls-unique. One of [`Mechanism::OPT_IN`].
    ScramSha1Plus,
    /// SCRAM-SHA-1 (RFC 5802). One of [`Mechanism::OPT_IN`].
    ScramSha1,
    /// EXTERNAL (RFC 4422 A): the client's certificate. A server offers it only where one was verified.
    External,
    /// OAUTHBEARER (RFC 7628): a token, for whoever can have it judged.
    OAuthBearer,
    /// XOAUTH2, the older form of the same, as two large providers have it [SASL-OAUTH-02].
    XOAuth2,
    /// PLAIN (RFC 4616).
    Plain,
    /// LOGIN, never standardised, for old programs [SASL-LOGIN-01].
    Login,
}

impl Mechanism {
    // [SASL-SEC-01] nothing else: no CRAM-MD5, DIGEST-MD5, NTLM, ANONYMOUS
    /// All that a session can speak; what a server announces is in this order. Certificates come first: who has one is asked for no password.
    pub const SPOKEN: [Self; 9] = [
        Self::External,
        Self::ScramSha256Plus,
        Self::ScramSha256,
        Self::ScramSha1Plus,
        Self::ScramSha1,
        Self::OAuthBearer,
        Self::XOAuth2,
        Self::Plain,
        Self::Login,
    ];

    /// All that a server with accounts of its own offers, strongest first.
    pub const FOR_ACCOUNTS: [Self; 4] = [
        Self::ScramSha256Plus,
        Self::ScramSha256,
        Self::Plain,
        Self::Login,
    ];

    /// All that a client uses without being asked for by name, strongest first.
    pub const FOR_CLIENTS: [Self; 7] = [
        Self::ScramSha256Plus,
        Self::ScramSha256,
        Self::External,
        Self::OAuthBearer,
        Self::XOAuth2,
        Self::Plain,
        Self::Login,
    ];

    /// What either end uses only where it is named, for programs that know nothing else, strongest first [CONF-07].
    pub const OPT_IN: [Self; 2] = [Self::ScramSha1Plus, Self::ScramSha1];

    /// Whether it carries an access token.
    pub const fn is_token(self) -> bool {
        matches!(self, Self::OAuthBearer | Self::XOAuth2)
    }

    /// Whether it proves that somebody knows a password.
    pub const fn is_for_password(self) -> bool {
        self.hash().is_some() || matches!(self, Self::Plain | Self::Login)
    }

    /// The hash function of SCRAM; none: it is something else.
    pub const fn hash(self) -> Option<ScramHash> {
        match self {
            Self::ScramSha256Plus | Self::ScramSha256 => Some(ScramHash::Sha256),
            Self::ScramSha1Plus | Self::ScramSha1 => Some(ScramHash::Sha1),
            _ => None,
        }
    }

    /// Whether it binds the login to the TLS connection.
    pub const fn is_bound(self) -> bool {
        matches!(self, Self::ScramSha256Plus | Self::ScramSha1Plus)
    }

    /// Whether the client speaks first, so that its message can go along with the command.
    pub const fn is_client_first(self) -> bool {
        !matches!(self, Self::Login)
    }

    /// The registered name, in upper case.
    pub const fn name(self) -> &'static str {
        match self {
            Self::ScramSha256Plus => "SCRAM-SHA-256-PLUS",
            Self::ScramSha256 => "SCRAM-SHA-256",
            Self::ScramSha1Plus => "SCRAM-SHA-1-PLUS",
            Self::ScramSha1 => "SCRAM-SHA-1",
            Self::External => "EXTERNAL",
            Self::OAuthBearer => "OAUTHBEARER",
            Self::XOAuth2 => "XOAUTH2",
            Self::Plain => "PLAIN",
            Self::Login => "LOGIN",
        }
    }

    /// The mechanism of this name, in any case. Whether it is offered, or may be configured, is another question.
    pub fn from_name(name: &[u8]) -> Option<Self> {
        Self::SPOKEN
            .into_iter()
            .find(|it| it.name().as_bytes().eq_ignore_ascii_case(name))
    }
}
