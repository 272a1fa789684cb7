//! Why a check did not pass, in words a user can act on: what was expected, what came, whose fault it is, what to do.

use std::fmt;
use std::time::SystemTime;

use super::crl::CrlProblem;
use super::ocsp::StapleProblem;
use super::verdict::VerifiedBy;
use crate::pin::Pin;
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
            (_, subject) => write!(f, "the certificate of the authority \"{subject}\""),
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
    /// A certificate has been revoked by its issuer.
    Revoked(Whose),
    /// Nobody could tell whether a certificate has been revoked.
    StatusUnknown {
        /// Which.
        whose: Whose,
        /// What kept us.
        problem: CrlProblem,
    },
    /// The stapled OCSP answer does not count.
    Staple(StapleProblem),
    /// The certificate must come with a good OCSP answer, and came without (RFC 7633).
    StapleMissing,
    /// No pin matches.
    PinMismatch {
        /// The pins, each of which would have sufficed.
        expected: Vec<Pin>,
        /// The key that came.
        came: Pin,
        /// What vouches for the new key all the same.
        covered: Option<VerifiedBy>,
    },
    /// There are no TLSA records that count.
    NoTlsa,
    /// No TLSA record matches.
    NoTlsaMatch {
        /// The certificate that came.
        whose: Whose,
        /// The records that count.
        expected: Vec<String>,
        /// The record `3 1 1` that would have matched.
        came: String,
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
            Self::Revoked(_) => "E-CERT-REVOKED",
            Self::StatusUnknown { .. } => "E-CERT-STATUS-UNKNOWN",
            Self::Staple(_) => "E-CERT-STAPLE",
            Self::StapleMissing => "E-CERT-MUST-STAPLE",
            Self::PinMismatch { .. } => "E-PIN-MISMATCH",
            Self::NoTlsa => "E-DANE-NO-RECORD",
            Self::NoTlsaMatch { .. } => "E-DANE-NO-MATCH",
        }
    }

    /// Who can do something about it.
    pub const fn blame(&self) -> Blame {
        match self {
            Self::StatusUnknown { .. } | Self::NotTested => Blame::Nobody,
            Self::NotYetValid { .. } | Self::PinMismatch { .. } | Self::NoTlsa => Blame::Local,
            _ => Blame::Peer,
        }
    }

    /// The result type of a TLS report (RFC 8460 4.3).
    pub const fn report(&self) -> &'static str {
        match self {
            Self::NameMismatch { .. } | Self::NoNames => "certificate-host-mismatch",
            Self::Expired { .. } => "certificate-expired",
            Self::UnknownIssuer { .. }
            | Self::SelfSigned
            | Self::BadSignature
            | Self::WeakSignature { .. } => "certificate-not-trusted",
            Self::NoTlsa => "tlsa-invalid",
            _ => "validation-failure",
        }
    }

    /// What to do next.
    pub fn advice(&self) -> &'static str {
        match self {
            Self::NoCertificate | Self::Malformed { .. } | Self::BadSignature => {
                "the server is broken, or this is not it"
            }
            Self::UnknownIssuer { alone: true, .. } => {
                "if it is an authority of your own, name it with --ca FILE; if it is one everybody knows, the server has left out the certificate between"
            }
            Self::UnknownIssuer { .. } => "if you trust this authority, name it with --ca",
            Self::SelfSigned => {
                "compare its pin with the operator over another way, then pin it; or name it with --ca"
            }
            Self::LeafIsAuthority
            | Self::NotAuthority
            | Self::PathTooLong
            | Self::NameConstraints
            | Self::CriticalExtension
            | Self::TooComplex
            | Self::NotForServers(_)
            | Self::KeyUsage(_)
            | Self::NoNames
            | Self::WeakKey { .. }
            | Self::WeakSignature { .. } => "the server's operator needs another certificate",
            Self::NotTested => "see what failed before",
            Self::NameMismatch { .. } => {
                "connect to a name the certificate has, or name it with --tls-name if you know it is the same server"
            }
            Self::Expired { .. } | Self::NotYetValid { .. } => {
                "if the clock here is right, the server's operator must renew the certificate"
            }
            Self::Revoked(_) => "do not connect; tell the server's operator",
            Self::StatusUnknown { .. } => {
                "give the list with --crl, or take an unknown status with --revocation soft"
            }
            Self::Staple(_) | Self::StapleMissing => {
                "the server's operator must get a fresh OCSP answer"
            }
            Self::PinMismatch {
                covered: Some(_), ..
            } => "if the operator has announced a new key, pin it; if not, ask over another way",
            Self::PinMismatch { covered: None, .. } => {
                "nobody else vouches for this key: ask the operator over another way before pinning it"
            }
            Self::NoTlsa => "the domain's operator must publish 3 1 1",
            Self::NoTlsaMatch { .. } => {
                "the domain's operator must publish the record of the key in use; until then there is no delivery"
            }
        }
    }
}

/// What was expected and what came, in one sentence.
impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoCertificate => f.write_str("the server sent no certificate"),
            Self::Malformed { position } => {
                write!(
                    f,
                    "certificate {} of the chain cannot be read",
                    position + 1
                )
            }
            Self::UnknownIssuer { issuer, alone } => {
                write!(
                    f,
                    "the certificate is issued by \"{issuer}\", whom nothing here trusts"
                )?;
                if *alone {
                    f.write_str("; the server sent no certificate but its own")?;
                }
                Ok(())
            }
            Self::SelfSigned => f.write_str("the certificate is signed by nobody but itself"),
            Self::BadSignature => {
                f.write_str("a certificate of the chain is not signed by its issuer")
            }
            Self::LeafIsAuthority => f.write_str("the server uses the certificate of an authority"),
            Self::NotAuthority => f.write_str(
                "a certificate of the chain signs others and is not that of an authority",
            ),
            Self::PathTooLong => {
                f.write_str("there are more authorities in the chain than one of them allows")
            }
            Self::NameConstraints => {
                f.write_str("an authority has issued for a name it must not issue for")
            }
            Self::CriticalExtension => {
                f.write_str("a certificate has an extension that must be understood and is not")
            }
            Self::TooComplex => f.write_str("the chain is too tangled to be followed"),
            Self::NotTested => f.write_str("not looked at, for something before it failed"),
            Self::NoNames => f.write_str(
                "the certificate has no subject alternative names; its common name does not count",
            ),
            Self::NameMismatch { expected, came } => write!(
                f,
                "expected a certificate for {}, and it is for {}",
                expected.join(" or "),
                came.join(", ")
            ),
            _ => self.write_more(f),
        }
    }
}

impl Reason {
    fn write_more(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Expired {
                whose,
                not_after,
                now,
            } => {
                write!(
                    f,
                    "{whose} ended at {}; the clock here says {}",
                    utc(*not_after),
                    utc(*now)
                )
            }
            Self::NotYetValid {
                whose,
                not_before,
                now,
            } => {
                write!(
                    f,
                    "{whose} begins at {}; the clock here says {}",
                    utc(*not_before),
                    utc(*now)
                )
            }
            Self::NotForServers(whose) => write!(f, "{whose} is not for TLS servers"),
            Self::KeyUsage(whose) => {
                write!(f, "the key of {whose} is not for signing what it signs")
            }
            Self::WeakKey { whose, key } => write!(f, "{whose} has a weak key ({key})"),
            Self::WeakSignature { whose, signature } => {
                write!(f, "{whose} is signed with {signature}, which is broken")
            }
            Self::Revoked(whose) => write!(f, "{whose} has been revoked by its issuer"),
            Self::StatusUnknown { whose, problem } => {
                write!(
                    f,
                    "whether {whose} has been revoked is not known: {problem}"
                )
            }
            Self::Staple(problem) => {
                write!(f, "the OCSP answer of the server does not count: {problem}")
            }
            Self::StapleMissing => f.write_str(
                "the certificate must come with a good OCSP answer and came without (RFC 7633)",
            ),
            Self::PinMismatch {
                expected,
                came,
                covered,
            } => {
                let expected: Vec<String> = expected.iter().map(ToString::to_string).collect();
                write!(
                    f,
                    "expected the key {}, and {came} came",
                    expected.join(" or ")
                )?;
                match covered {
                    Some(by) => write!(f, "; {by} vouches for the new key"),
                    None => f.write_str("; nothing else vouches for the new key"),
                }
            }
            Self::NoTlsa => f.write_str("none of the TLSA records can be used"),
            Self::NoTlsaMatch { expected, came, .. } => write!(
                f,
                "none of the TLSA records matches: expected {}, and {came} came",
                expected.join(" or ")
            ),
            _ => f.write_str(self.label()),
        }
    }
}

/// A moment as `2026-11-01 00:00:00 UTC`.
fn utc(moment: SystemTime) -> String {
    let moment = time::OffsetDateTime::from(moment);
    let (date, (hour, minute, second)) = (moment.date(), moment.to_hms());
    format!("{date} {hour:02}:{minute:02}:{second:02} UTC")
}
