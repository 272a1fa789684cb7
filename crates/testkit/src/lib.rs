//! What the tests of several crates share.
//!
//! - [`capture`] makes captures of packets.
//! - [`delay`] stands on the path and takes its time.
//! - [`dns_lab`] runs real name servers with signed zones.
//! - [`hostile`] is a scripted server and whoever stands on the path to it.
//! - [`imap`] is a mailbox in memory.
//! - [`pair`] runs our client against our server.
//! - `pki` and `ocsp` (feature `pki`) make certificates, revocation lists and OCSP answers.
//! - [`planted`] holds a password, wherever one can stand.
//! - [`talk`] runs dialogue files over any session, in memory and on a simulated clock.
//! - `web` (feature `web`) is an HTTPS server whose answers a test gives.
//! - [`facts`] are the TLS facts such a session is told.

use gatepost_wire::seam::{ChannelBindings, TlsFacts, TlsVersion, VerifiedBy};

pub mod capture;
pub mod delay;
pub mod dns_lab;
pub mod hostile;
pub mod imap;
#[cfg(feature = "pki")]
pub mod ocsp;
pub mod pair;
#[cfg(feature = "pki")]
pub mod pki;
pub mod planted;
pub mod talk;
#[cfg(feature = "web")]
pub mod web;

/// Facts of a TLS 1.3 connection with channel bindings: `tls-exporter` is 32 times 7, `tls-server-end-point` 32 times 9.
pub fn facts() -> TlsFacts {
    TlsFacts {
        client: None,
        signature: None,
        version: TlsVersion::Tls13,
        suite: "TLS_AES_128_GCM_SHA256".into(),
        group: Some("X25519"),
        sni: Some("mail.gatepost.test".into()),
        alpn: None,
        resumed: false,
        bindings: Some(Box::new(ChannelBindings {
            exporter: [7; 32],
            server_end_point: Box::new([9; 32]),
        })),
        verified: None,
    }
}

/// [`facts`] of a TLS 1.2 connection.
pub fn old_facts() -> TlsFacts {
    TlsFacts {
        version: TlsVersion::Tls12,
        suite: "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256".into(),
        ..facts()
    }
}

/// [`facts`] as a client has them whose peer is verified by its certificate.
pub fn verified_facts() -> TlsFacts {
    TlsFacts {
        verified: Some(VerifiedBy::Pkix),
        ..facts()
    }
}
