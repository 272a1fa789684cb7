//! Why a check did not pass, in words a user can act on: what was expected, what came, whose fault it is, what to do.

use std::fmt;
use std::time::SystemTime;

use crate::x509::{Certificate, PublicKeyKind, SignatureKind};

/// A certificate of the chain the server sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Whose {
    /// Its place: 0 is the server's own.
    pub position: usize,
    /// Its subject, as it says itself.
    pub subject: String,
}

impl Whose {
    pub(crate) fn new(position: usize, certificate: &Certificate) -> Self {
        Self {
            position,
            subject: certificate.subject.clone(),
        }
    }
}

impl fmt::Display for Whose {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.position, self.subject.as_str()) {
            (0, _) => f.write_str("the server's certificate"),
            (_, subject) => write!(f, "the certificate of the authority {subject:?}"),
        }
    }
}

/// Why a check did not pass.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reason {
    /// The server sent no certificate.
    NoCertificate,
    /// A certificate is not DER, or contradicts itself.
    Malformed {
        /// Its place in the chain.
        position: usize,
    },
    /// Nobody trusted has issued the chain.
    UnknownIssuer {
        /// Who has, as the last certificate says.
        issuer: String,
        /// Whether the server sent its own certificate only: it may have left out the one in between.
        alone: bool,
    },
    /// The server's certificate is signed by itself, and is not trusted as such.
    SelfSigned,
    /// A signature of the chain is not by whom it should be.
    BadSignature,
    /// The server's certificate is that of an authority.
    LeafIsAuthority,
    /// A certificate of the chain signs others without leave to.
    NotAuthority,
    /// More authorities stand below one another than one of them allows.
    PathTooLong,
    /// An authority has issued for names it must not.
    NameConstraints,
    /// A certificate has an extension that must be understood and is not.
    CriticalExtension,
    /// The chain is too tangled to be followed.
    TooComplex,
    /// Something before this failed, so this was not looked at.
    NotTested,
    /// The certificate names nobody in its subject alternative names.
    NoNames,
    /// The certificate is for others.
    NameMismatch {
        /// Who was expected; one would have sufficed.
        expected: Vec<String>,
        /// Who it is for.
        came: Vec<String>,
    },
    /// A certificate has ended.
    Expired {
        /// Which.
        whose: Whose,
        /// When it ended.
        not_after: SystemTime,
        /// What our clock says.
        now: SystemTime,
    },
    /// A certificate is not good yet.
    NotYetValid {
        /// Which.
        whose: Whose,
        /// When it begins.
        not_before: SystemTime,
        /// What our clock says.
        now: SystemTime,
    },
    /// A certificate is not for TLS servers.
    NotForServers(Whose),
    /// The key of a certificate is not for signing, or not for signing certificates.
    KeyUsage(Whose),
    /// A key is too small, or of a kind that is not taken.
    WeakKey {
        /// Whose.
        whose: Whose,
        /// The key.
        key: PublicKeyKind,
    },
    /// A signature rests on a broken hash function.
    WeakSignature {
        /// Whose.
        whose: Whose,
        /// The signature.
        signature: SignatureKind,
    },
}

/// Who can do something about it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Blame {
    /// The server: its operator must act, or somebody else answers in its place.
    Peer,
    /// Our own clock, files or configuration may be wrong.
    Local,
    /// Both are honest; what would settle it could not be had.
    Nobody,
}

impl Reason {
    /// A stable name for scripts.
    pub const fn label(&self) -> &'static str {
        match self {
            Self::NoCertificate => "E-CERT-NONE",
            Self::Malformed { .. } => "E-CERT-MALFORMED",
            Self::UnknownIssuer { .. } => "E-CERT-UNKNOWN-ISSUER",
            Self::SelfSigned => "E-CERT-SELF-SIGNED",
            Self::BadSignature => "E-CERT-BAD-SIGNATURE",
            Self::LeafIsAuthority => "E-CERT-IS-CA",
            Self::NotAuthority => "E-CERT-NOT-CA",
            Self::PathTooLong => "E-CERT-PATH-TOO-LONG",
            Self::NameConstraints => "E-CERT-NAME-CONSTRAINTS",
            Self::CriticalExtension => "E-CERT-CRITICAL-EXTENSION",
            Self::TooComplex => "E-CERT-TOO-COMPLEX",
            Self::NotTested => "E-CERT-NOT-TESTED",
            Self::NoNames => "E-CERT-NO-NAMES",
            Self::NameMismatch { .. } => "E-CERT-NAME",
            Self::Expired { .. } => "E-CERT-EXPIRED",
            Self::NotYetValid { .. } => "E-CERT-NOT-YET-VALID",
            Self::NotForServers(_) => "E-CERT-PURPOSE",
            Self::KeyUsage(_) => "E-CERT-KEY-USAGE",
            Self::WeakKey { .. } => "E-CERT-WEAK-KEY",
            Self::WeakSignature { .. } => "E-CERT-WEAK-SIGNATURE",
        }
    }
}
