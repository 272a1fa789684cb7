//! Why an identity cannot be used, in words an operator can act on.

use std::fmt;
use std::io::ErrorKind;
use std::path::PathBuf;
use std::time::SystemTime;

/// Why an identity cannot be used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum IdentityError {
    /// A file cannot be read.
    Unreadable(PathBuf, ErrorKind),
    /// The chain file is damaged PEM.
    ChainNotPem,
    /// The chain file holds no certificate.
    NoCertificate,
    /// The key file is damaged PEM.
    KeyNotPem,
    /// The key file holds no private key (or an encrypted one).
    NoKey,
    /// A certificate in the chain cannot be decoded; the leaf is number 1.
    BadCertificate(usize),
    /// The key is of a kind TLS servers cannot use here.
    UnsupportedKey,
    /// The key does not belong to the certificate.
    KeyMismatch,
    /// An RSA key under 2048 bits; how many it has [TLS-KEY-01].
    WeakRsa(usize),
    /// A certificate in the chain is signed with MD5 or SHA-1; the leaf is number 1.
    WeakSignature(usize),
    /// The certificate begins in the future.
    NotYetValid(SystemTime),
    /// The certificate has ended.
    Expired(SystemTime),
    /// The certificate has no DNS name or address in its subject alternative names.
    NoNames,
    /// The certificate does not cover the configured host name.
    NotForHost {
        /// The name configured.
        host: String,
        /// The names it is for.
        names: Vec<String>,
    },
    /// The leaf is an authority's certificate.
    IsAuthority,
    /// The certificate is not meant for servers (extended key usage).
    NotForServers,
    /// The certificate says it must come with a stapled OCSP response (RFC 7633), and there is none.
    MustStaple,
}

/// Something that does not prevent the use but wants attention.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum IdentityWarning {
    /// Others on this machine can read the key file.
    KeyReadableByOthers(PathBuf),
    /// A certificate in the chain was not issued by the one after it; its number, the leaf being 1.
    ChainOutOfOrder(usize),
    /// It is its own authority: only who has been told to trust exactly it does, and some programs refuse even then.
    SelfSignedAuthority,
    /// Less than a third of its life is left.
    EndsSoon(SystemTime),
}

impl fmt::Display for IdentityError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unreadable(path, kind) => write!(f, "cannot read {}: {kind}", path.display()),
            Self::ChainNotPem => f.write_str("the certificate file is not valid PEM"),
            Self::NoCertificate => f.write_str("the certificate file holds no certificate"),
            Self::KeyNotPem => f.write_str("the key file is not valid PEM"),
            Self::NoKey => f.write_str(
                "the key file holds no private key in clear (PKCS#8, PKCS#1 or SEC1); an encrypted key must be decrypted first",
            ),
            Self::BadCertificate(number) => {
                write!(f, "certificate number {number} in the file cannot be decoded")
            }
            Self::UnsupportedKey => {
                f.write_str("the key is of a kind that cannot be used; take ECDSA P-256 or RSA 2048")
            }
            Self::KeyMismatch => f.write_str("the key does not belong to the certificate"),
            Self::WeakRsa(bits) => {
                write!(f, "the RSA key has {bits} bits; at least 2048 are needed (or ECDSA P-256)")
            }
            Self::WeakSignature(number) => {
                write!(f, "certificate number {number} in the file is signed with MD5 or SHA-1, which clients refuse")
            }
            Self::NotYetValid(from) => {
                write!(f, "the certificate is valid only from {}; is the clock right?", Day(*from))
            }
            Self::Expired(end) => write!(f, "the certificate ended on {}", Day(*end)),
            Self::NoNames => f.write_str("the certificate names no host (subject alternative name)"),
            Self::NotForHost { host, names } => {
                write!(f, "the certificate is not for {host}; it is for {}", names.join(", "))
            }
            Self::IsAuthority => f.write_str(
                "the first certificate in the file is an authority's; the server's own must come first",
            ),
            Self::NotForServers => {
                f.write_str("the certificate is not meant for servers (extended key usage)")
            }
            Self::MustStaple => f.write_str(
                "the certificate demands a stapled OCSP response, which is not supported; take one without must-staple",
            ),
        }
    }
}

impl std::error::Error for IdentityError {}

impl fmt::Display for IdentityWarning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::KeyReadableByOthers(path) => {
                write!(
                    f,
                    "every user of this machine can read {}; chmod 600 it",
                    path.display()
                )
            }
            Self::ChainOutOfOrder(number) => {
                write!(
                    f,
                    "certificate number {number} in the file was not issued by the one after it"
                )
            }
            Self::SelfSignedAuthority => f.write_str(
                "the certificate is self-signed and an authority's: clients must be told to trust exactly it, and some refuse; \
                 one issued by an authority works everywhere",
            ),
            Self::EndsSoon(end) => write!(f, "the certificate ends on {}", Day(*end)),
        }
    }
}

/// A day as `2026-11-23`, in UTC.
struct Day(SystemTime);

impl fmt::Display for Day {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let date = time::OffsetDateTime::from(self.0).date();
        write!(
            f,
            "{:04}-{:02}-{:02}",
            date.year(),
            u8::from(date.month()),
            date.day()
        )
    }
}
