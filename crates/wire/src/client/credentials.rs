//! What a client logs in with.

use crate::sasl::Mechanism;
use crate::sasl::client::Binding;
use crate::secret::Secret;

/// What proves who the user is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Proof {
    /// A password: SCRAM-SHA-256-PLUS, SCRAM-SHA-256, PLAIN, LOGIN, or the protocol's own command.
    Password(Secret<String>),
    /// An OAuth 2.0 access token: OAUTHBEARER, XOAUTH2.
    Token(Secret<String>),
    /// The client certificate shown in the handshake: EXTERNAL [MUA-09].
    Certificate,
}

/// A user and what proves it, with the floor: the mechanisms that may be used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Credentials {
    /// The name to log in with.
    pub user: String,
    /// Password, token or certificate.
    pub proof: Proof,
    /// The mechanisms allowed. The strongest of them that the server offers is used, and no other.
    pub allowed: Vec<Mechanism>,
    /// What SCRAM-SHA-256-PLUS binds to. Default [`Binding::Exporter`].
    pub binding: Binding,
}

impl Credentials {
    /// A name and a password, with every mechanism for passwords allowed.
    pub fn password(user: impl Into<String>, password: impl Into<String>) -> Self {
        Self {
            user: user.into(),
            proof: Proof::Password(Secret::new(password.into())),
            allowed: Mechanism::FOR_CLIENTS.to_vec(),
            binding: Binding::Exporter,
        }
    }

    /// A name and an access token.
    pub fn token(user: impl Into<String>, token: impl Into<String>) -> Self {
        Self {
            user: user.into(),
            proof: Proof::Token(Secret::new(token.into())),
            allowed: Mechanism::FOR_CLIENTS.to_vec(),
            binding: Binding::Exporter,
        }
    }

    /// The client certificate; `user` may be empty, the server then takes the name from the certificate.
    pub fn certificate(user: impl Into<String>) -> Self {
        Self {
            user: user.into(),
            proof: Proof::Certificate,
            allowed: Mechanism::FOR_CLIENTS.to_vec(),
            binding: Binding::Exporter,
        }
    }

    /// Sets the floor: only these mechanisms.
    #[must_use]
    pub fn allow(mut self, mechanisms: impl Into<Vec<Mechanism>>) -> Self {
        self.allowed = mechanisms.into();
        self
    }
}
