//! What every TLS connection of ours is allowed to be (RFC 9325, RFC 9846 9).
//!
//! | what | value | why |
//! |---|---|---|
//! | versions | 1.3, 1.2 | older ones are void (RFC 8996) |
//! | suites | AES-128-GCM first, our order | as strong as any attack we know of needs, and its SHA-256 key schedule is a third cheaper |
//! | groups | X25519MLKEM768, X25519, P-256, P-384 | recorded today, to be kept from tomorrow's computers |
//! | extended master secret | required on 1.2 | channel bindings and resumption mean nothing without (RFC 7627) |
//! | early data | never | can be replayed, and mail has no profile for it (RFC 9325 3.10) |
//! | tickets | one, keys exchanged every 6 hours, taken for 12 at most | RFC 9325 3.4 |
//! | renegotiation, compression, CBC, static RSA, finite-field DH | never | the engine has none of them |
//!
//! What the engine does not have cannot be turned on by mistake: renegotiation [TLS-RENEG-01], compression [TLS-COMP-01],
//! resumption without a fresh key exchange [TLS-TICK-02]. It renews its keys long before the limits of their cipher
//! [TLS-LIM-01].
//!
//! Tickets are only good for the service, mode and server name they were given for: each
//! [`crate::certificates::ServiceTls`] has keys of its own, and the engine compares the name [TLS-SNI-03].

use std::sync::{Arc, OnceLock};

use rustls::crypto::CryptoProvider;
use rustls::crypto::aws_lc_rs::{self, cipher_suite, kx_group};
use rustls::server::{NoServerSessionStorage, ProducesTickets};
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::version::{TLS12, TLS13};
use rustls::{ServerConfig, SupportedCipherSuite};

use crate::client_ca::ClientCa;
use crate::exporter::Tap;

/// A service, as far as TLS is concerned: it decides the ALPN list and which tickets are taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Service {
    /// SMTP between servers (port 25).
    Smtp,
    /// Submission (587, 465).
    Submission,
    /// IMAP (143, 993).
    Imap,
    /// POP3 (110, 995).
    Pop3,
}

impl Service {
    /// The application protocols taken when a client offers any; a client that offers none is welcome. Foreign lists are
    /// refused, so that a browser's connection cannot be turned here [TLS-ALPN-02].
    pub const fn alpn(self) -> &'static [&'static str] {
        match self {
            // None is registered; these are the ones mail programs send.
            Self::Smtp | Self::Submission => &["smtp", "esmtp", "submission", "lmtp"],
            Self::Imap => &["imap"],
            Self::Pop3 => &["pop3"],
        }
    }
}

/// How TLS begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Mode {
    /// By STARTTLS or STLS on a connection in clear.
    StartTls,
    /// At once.
    Implicit,
}

/// The profile cannot be built: the cryptographic library lacks something, or randomness failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ProfileError;

impl std::fmt::Display for ProfileError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("the cryptographic library does not support the TLS profile")
    }
}

impl std::error::Error for ProfileError {}

/// Suites in our order, strongest reason first [TLS-CIPH-01] [TLS-CIPH-02] [TLS-CIPH-03] [TLS-CIPH-04]
/// [CONF-05] [IMAP-TLS-14].
const SUITES: [SupportedCipherSuite; 9] = [
    cipher_suite::TLS13_AES_128_GCM_SHA256,
    cipher_suite::TLS13_AES_256_GCM_SHA384,
    cipher_suite::TLS13_CHACHA20_POLY1305_SHA256,
    cipher_suite::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256,
    cipher_suite::TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256,
    cipher_suite::TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384,
    cipher_suite::TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384,
    cipher_suite::TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256,
    cipher_suite::TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256,
];

/// Suites, groups, signatures and randomness, the same object everywhere.
pub fn provider() -> Arc<CryptoProvider> {
    static PROVIDER: OnceLock<Arc<CryptoProvider>> = OnceLock::new();
    PROVIDER.get_or_init(|| Arc::new(build_provider())).clone()
}

fn build_provider() -> CryptoProvider {
    CryptoProvider {
        cipher_suites: SUITES.to_vec(),
        // [TLS-GRP-01] [PQ-01]
        kx_groups: vec![
            kx_group::X25519MLKEM768,
            kx_group::X25519,
            kx_group::SECP256R1,
            kx_group::SECP384R1,
        ],
        ..aws_lc_rs::default_provider()
    }
}

/// Ticket keys: made at random now, exchanged every 6 hours, the last but one destroyed; never written anywhere, so a restart
/// keeps none [TLS-TICK-01].
pub(crate) fn ticketer() -> Result<Arc<dyn ProducesTickets>, ProfileError> {
    let whole = aws_lc_rs::Ticketer::new().map_err(|_| ProfileError)?;
    Ok(Arc::new(HalfLife(whole)))
}

/// Tickets that live half as long as the keys they are made with: no key is ever needed after its exchange [TLS-TICK-01].
#[derive(Debug)]
struct HalfLife(Arc<dyn ProducesTickets>);

impl ProducesTickets for HalfLife {
    fn enabled(&self) -> bool {
        self.0.enabled()
    }

    fn lifetime(&self) -> u32 {
        self.0.lifetime() / 2
    }

    fn encrypt(&self, plain: &[u8]) -> Option<Vec<u8>> {
        self.0.encrypt(plain)
    }

    fn decrypt(&self, cipher: &[u8]) -> Option<Vec<u8>> {
        self.0.decrypt(cipher)
    }
}

/// The engine's configuration for one certificate of one service.
pub(crate) fn server_config(
    service: Service,
    key: &Arc<CertifiedKey>,
    ticketer: &Arc<dyn ProducesTickets>,
    bindings: bool,
    clients: Option<&ClientCa>,
) -> Result<ServerConfig, ProfileError> {
    // [TLS-VER-01] [TLS-VER-02] [SVC-03]
    let builder = ServerConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&TLS13, &TLS12])
        .map_err(|_| ProfileError)?;
    let builder = match clients {
        Some(clients) => builder.with_client_cert_verifier(clients.verifier()),
        // [SVC-07] nobody is asked for a certificate that no login would take.
        None => builder.with_no_client_auth(),
    };
    let mut config = builder.with_cert_resolver(Arc::new(SingleCertAndKey::from(Arc::clone(key))));
    // [TLS-CIPH-05] our order, not the client's.
    config.ignore_client_order = true;
    config.alpn_protocols = service
        .alpn()
        .iter()
        .map(|id| id.as_bytes().to_vec())
        .collect();
    // [TLS-EMS-01] [SASL-CB-02]
    config.require_ems = true;
    // [TLS-0RTT-01] [CONF-16]
    config.max_early_data_size = 0;
    config.send_half_rtt_data = false;
    config.send_tls13_tickets = 1;
    config.max_tls13_tickets = 0;
    if clients.is_some() {
        // A session that is resumed shows no certificate anew: with certificates each is a handshake of its own.
        config.send_tls13_tickets = 0;
    } else {
        config.ticketer = Arc::clone(ticketer);
    }
    config.session_storage = Arc::new(NoServerSessionStorage {});
    // [REV-05] nothing is said to status_request_v2, which the engine does not know.
    if bindings {
        config.key_log = Arc::new(Tap);
    }
    Ok(config)
}

#[cfg(test)]
mod tests {
    use rustls::NamedGroup;

    use super::*;

    #[test]
    fn the_suites_are_exactly_these() {
        // [TLS-CIPH-03] [TLS-CIPH-05] [CONF-05] [IMAP-TLS-14]
        let names: Vec<String> = provider()
            .cipher_suites
            .iter()
            .map(|s| format!("{:?}", s.suite()))
            .collect();
        let expected = [
            "TLS13_AES_128_GCM_SHA256",
            "TLS13_AES_256_GCM_SHA384",
            "TLS13_CHACHA20_POLY1305_SHA256",
            "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256",
            "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256",
            "TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384",
            "TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384",
            "TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256",
            "TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256",
        ];
        assert_eq!(names, expected);
    }

    #[test]
    fn the_groups_are_exactly_these() {
        // [TLS-GRP-01]
        let groups: Vec<NamedGroup> = provider().kx_groups.iter().map(|g| g.name()).collect();
        let expected = [
            NamedGroup::X25519MLKEM768,
            NamedGroup::X25519,
            NamedGroup::secp256r1,
            NamedGroup::secp384r1,
        ];
        assert_eq!(groups, expected);
    }

    #[test]
    fn a_ticket_lives_twelve_hours_and_its_key_dies_with_the_process() {
        // [TLS-TICK-01]
        let (one, other) = (ticketer().unwrap(), ticketer().unwrap());
        // The library keeps a key for 12 hours.
        assert_eq!(one.lifetime(), 6 * 3600);
        let ticket = one.encrypt(b"state").unwrap();
        assert_eq!(one.decrypt(&ticket).unwrap(), b"state");
        assert_eq!(other.decrypt(&ticket), None);
    }
}
