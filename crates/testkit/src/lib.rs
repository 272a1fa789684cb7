//! What the tests of several crates share.
//!
//! - [`dns_lab`] runs real name servers with signed zones.
//! - [`imap`] is a mailbox in memory.
//! - `pki` and `ocsp` (feature `pki`) make certificates, revocation lists and OCSP answers.
//! - [`talk`] runs dialogue files over any session, in memory and on a simulated clock.
//! - [`facts`] are the TLS facts such a session is told.

use gatepost_wire::seam::{ChannelBindings, TlsFacts, TlsVersion};

pub mod dns_lab;
pub mod imap;
#[cfg(feature = "pki")]
pub mod ocsp;
#[cfg(feature = "pki")]
pub mod pki;
pub mod talk;

/// Facts of a TLS 1.3 connection with channel bindings: `tls-exporter` is 32 times 7, `tls-server-end-point` 32 times 9.
pub fn facts() -> TlsFacts {
    TlsFacts {
        version: TlsVersion::Tls13,
        suite: "TLS_AES_128_GCM_SHA256",
        group: Some("X25519"),
        sni: Some("mail.gatepost.test".into()),
        alpn: None,
        resumed: false,
        bindings: Some(Box::new(ChannelBindings {
            exporter: [7; 32],
            server_end_point: Box::new([9; 32]),
        })),
    }
}
