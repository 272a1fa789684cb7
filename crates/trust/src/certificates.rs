//! Which certificate answers a ClientHello.

use std::sync::Arc;

use crate::identity::Identity;
use crate::profile::{Mode, Service};

/// What is done with a server name nobody here has a certificate for [CONF-02].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum UnknownName {
    /// Answer with the default certificate. Always so on port 25.
    FallBack,
    /// Alert `unrecognized_name`. Default on ports for implicit TLS.
    Refuse,
}

/// Options of one service's TLS.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Options {
    /// The service.
    pub service: Service,
    /// How TLS begins.
    pub mode: Mode,
    /// Unknown server names.
    pub unknown_name: UnknownName,
    /// Whether sessions use channel bindings (SCRAM-SHA-256-PLUS is offered).
    pub bindings: bool,
}

/// What of a ClientHello decides the choice.
#[derive(Debug, Clone, Copy)]
pub struct Asked<'a> {
    /// The server name in lower case.
    pub sni: Option<&'a str>,
    /// Signature schemes, IANA numbers.
    pub signature_schemes: &'a [u16],
    /// Cipher suites, IANA numbers.
    pub cipher_suites: &'a [u16],
    /// Whether TLS 1.3 is offered.
    pub tls13: bool,
}

/// The TLS of one listener: its certificates, tickets and rules. Certificates can be exchanged while it is in use.
#[derive(Debug)]
pub struct ServiceTls {
    options: Options,
}

/// The choice made.
#[derive(Debug, Clone)]
pub struct Choice {
    /// Configuration for the engine.
    pub config: Arc<rustls::ServerConfig>,
    /// `tls-server-end-point` (RFC 5929 4).
    pub end_point_hash: Box<[u8]>,
}

/// Why there is no choice.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NoChoice {
    /// The server name matches nothing and the service is strict.
    UnrecognizedName,
    /// There is no certificate at all.
    NoCertificate,
}

/// The profile cannot be built: the cryptographic library lacks something.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ProfileError;

impl ServiceTls {
    /// Sets up a service with the identities given, the first being the default. None is allowed: TLS is then not ready.
    pub fn new(options: Options, _identities: &[Arc<Identity>]) -> Result<Self, ProfileError> {
        Ok(Self { options })
    }

    /// The options it was made with.
    pub fn options(&self) -> Options {
        self.options
    }

    /// Whether there is a certificate to offer; without one STARTTLS is not announced [SMTP-STARTTLS-03].
    pub fn is_ready(&self) -> bool {
        todo!()
    }

    /// Exchanges the certificates. Connections that are up keep theirs; tickets stay valid.
    pub fn replace(&self, _identities: &[Arc<Identity>]) -> Result<(), ProfileError> {
        todo!()
    }

    /// Chooses by ClientHello.
    pub fn select(&self, _asked: &Asked<'_>) -> Result<Choice, NoChoice> {
        todo!()
    }
}
