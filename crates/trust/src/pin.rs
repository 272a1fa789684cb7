//! Pins: keys or certificates the user has said the peer has.
//!
//! Two things with two names [CONF-12]:
//!
//! - A *pin* is set up beforehand. Beside an authority or TLSA records it is one more condition, looked at after them; alone
//!   it is a way to verify a peer of its own (`Verified` by pin).
//! - A *trust exception* (RFC 8314 5.4) replaces the authority for one certificate, when the user has looked at it during
//!   setup. It lets a connection go on; nothing is ever called verified by it [PIN-01].
//!
//! A pin names the SHA-256 of a public key (`sha256-spki:`) or of a certificate (`sha256-cert:`), in hexadecimal digits: the
//! former are those of a TLSA record `3 1 1`. Keys outlive certificates, so pin keys. Who pins one key only is locked out the
//! day it is lost: a second one, made ahead and kept aside, is the backup [PIN-02].

mod file;

use std::fmt;
use std::str::FromStr;

use rustls_pki_types::CertificateDer;

pub use file::{Entry, PinFile, PinFileError, PinFileProblem};

use crate::x509::{Certificate, sha256};

/// The hash of a key or of a certificate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Pin {
    /// SHA-256 of the `SubjectPublicKeyInfo`.
    Spki([u8; 32]),
    /// SHA-256 of the whole certificate.
    Certificate([u8; 32]),
}

/// A text is no pin.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BadPin;

impl fmt::Display for BadPin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a pin is sha256-spki: or sha256-cert: and 64 hexadecimal digits")
    }
}

impl std::error::Error for BadPin {}

impl Pin {
    /// The pin of a certificate's key. None when the certificate cannot be read.
    pub fn of_key(certificate: &CertificateDer<'_>) -> Option<Self> {
        let read = Certificate::read(certificate).ok()?;
        Some(Self::Spki(read.spki_hash()))
    }

    /// The pin of a certificate.
    pub fn of_certificate(certificate: &CertificateDer<'_>) -> Self {
        Self::Certificate(sha256(certificate))
    }

    pub(crate) fn is_of(&self, certificate: &Certificate) -> bool {
        match self {
            Self::Spki(hash) => *hash == certificate.spki_hash(),
            Self::Certificate(hash) => *hash == certificate.hash(),
        }
    }
}

impl fmt::Display for Pin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (word, hash) = match self {
            Self::Spki(hash) => ("sha256-spki:", hash),
            Self::Certificate(hash) => ("sha256-cert:", hash),
        };
        f.write_str(word)?;
        hash.iter().try_for_each(|octet| write!(f, "{octet:02x}"))
    }
}

/// The digits may be in pairs with colons between, as other programs print them.
impl FromStr for Pin {
    type Err = BadPin;

    fn from_str(text: &str) -> Result<Self, BadPin> {
        let (word, digits) = text.split_once(':').ok_or(BadPin)?;
        let hash = hash(digits).ok_or(BadPin)?;
        match word {
            "sha256-spki" => Ok(Self::Spki(hash)),
            "sha256-cert" => Ok(Self::Certificate(hash)),
            _ => Err(BadPin),
        }
    }
}

fn hash(digits: &str) -> Option<[u8; 32]> {
    let digit = |it: char| it.to_digit(16).and_then(|it| u8::try_from(it).ok());
    let digits: Option<Vec<u8>> = digits.chars().filter(|it| *it != ':').map(digit).collect();
    let octets: Vec<u8> = digits?
        .chunks(2)
        .map(|pair| match pair {
            [high, low] => Some(high << 4 | low),
            _ => None,
        })
        .collect::<Option<_>>()?;
    octets.try_into().ok()
}

/// The pins of one peer; one match suffices.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PinSet {
    /// The pins, at least one.
    pins: Vec<Pin>,
    /// A mismatch is told and not acted on.
    pub report_only: bool,
}

impl PinSet {
    /// Pins that are enforced. None when there is not one.
    pub fn new(pins: Vec<Pin>) -> Option<Self> {
        (!pins.is_empty()).then_some(Self {
            pins,
            report_only: false,
        })
    }

    /// The pins.
    pub fn pins(&self) -> &[Pin] {
        &self.pins
    }

    /// Whether a pin is there that none of these certificates has: the backup.
    pub fn has_backup(&self, chain: &[CertificateDer<'_>]) -> bool {
        let read: Vec<Certificate> = chain
            .iter()
            .filter_map(|der| Certificate::read(der).ok())
            .collect();
        let used = |pin: &Pin| read.iter().any(|it| pin.is_of(it));
        self.pins.iter().any(|pin| !used(pin))
    }
}

/// The user's exception for one certificate (RFC 8314 5.4): made during setup, kept with the account, revocable by removing it
/// there. It never makes a peer `Verified`.
/// [PIN-01] [CONF-12]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct TrustException {
    certificate: [u8; 32],
}

impl TrustException {
    /// Weakens verification: this one certificate is taken without an authority, though not as verified.
    pub const fn danger_for_certificate(sha256: [u8; 32]) -> Self {
        Self {
            certificate: sha256,
        }
    }

    pub(crate) fn is_for(&self, certificate: &Certificate) -> bool {
        self.certificate == certificate.hash()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pin_is_read_as_it_is_written() {
        let pin = Pin::Spki([0xab; 32]);
        assert_eq!(pin.to_string().parse(), Ok(pin));
        let pin = Pin::Certificate([1; 32]);
        assert_eq!(pin.to_string().parse(), Ok(pin));
        let colons = format!("sha256-cert:{}", ["01"; 32].join(":"));
        assert_eq!(colons.parse(), Ok(pin));
    }

    #[test]
    fn what_is_no_pin_is_refused() {
        let digits = "ab".repeat(32);
        for text in [
            "",
            "sha256-spki:",
            "sha256-spki:ab",
            &digits,
            &format!("sha1-spki:{digits}"),
            &format!("sha256-spki:{digits}0"),
            &format!("sha256-spki:{digits}00"),
            &format!("sha256-spki:{}", "xy".repeat(32)),
        ] {
            assert_eq!(text.parse::<Pin>(), Err(BadPin), "{text}");
        }
    }
}
