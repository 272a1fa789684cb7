//! A certificate chain with its key: loaded, judged, ready for use.
//!
//! Everything that would make every handshake fail, or make clients refuse us, is found here, when the files are read, and
//! said in words an operator can act on. Names are taken from the subject alternative names only (RFC 9525 1.3) [CONF-04].

mod error;
mod inspect;

use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::time::SystemTime;

use rustls::sign::CertifiedKey;
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};

pub use error::{IdentityError, IdentityWarning};

use crate::profile::provider;
use crate::x509::Certificate;

/// A certificate chain and key that passed all checks.
#[derive(Debug)]
pub struct Identity {
    pub(crate) key: Arc<CertifiedKey>,
    pub(crate) kind: KeyKind,
    names: Vec<String>,
    not_after: SystemTime,
    end_point_hash: Box<[u8]>,
    signed_by: Vec<Option<u16>>,
}

/// What kind of key a certificate has: decides which clients can use it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum KeyKind {
    /// RSA, 2048 bits or more.
    Rsa,
    /// ECDSA on P-256.
    EcdsaP256,
    /// ECDSA on P-384.
    EcdsaP384,
    /// ECDSA on P-521.
    EcdsaP521,
    /// Ed25519.
    Ed25519,
}

/// How well a certificate covers a name; better is greater.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Coverage {
    /// By a wildcard in the leftmost label (RFC 9525 6.3).
    Wildcard,
    /// By the name itself.
    Exact,
}

impl Identity {
    /// Loads a chain (leaf first) and its key from PEM files; they may be the same file. `host` is the name the certificate
    /// must cover, when one is configured.
    pub fn load(
        chain: &Path,
        key: &Path,
        host: Option<&str>,
        now: SystemTime,
    ) -> Result<(Self, Vec<IdentityWarning>), IdentityError> {
        let chain_pem = read(chain)?;
        let key_pem = read(key)?;
        let (identity, mut warnings) = Self::from_pem(&chain_pem, &key_pem, host, now)?;
        if readable_by_others(key) {
            warnings.push(IdentityWarning::KeyReadableByOthers(key.to_path_buf()));
        }
        Ok((identity, warnings))
    }

    /// The same from PEM text.
    /// [CERT-03]
    pub fn from_pem(
        chain: &[u8],
        key: &[u8],
        host: Option<&str>,
        now: SystemTime,
    ) -> Result<(Self, Vec<IdentityWarning>), IdentityError> {
        let (chain, key) = read_pem(chain, key)?;
        let leaf = chain.first().ok_or(IdentityError::NoCertificate)?;
        let facts = inspect::leaf(leaf)?;
        let inspect::Chain {
            mut warnings,
            signed_by,
        } = inspect::chain(&chain)?;
        warnings.extend(inspect::judge(&facts, host, now)?);
        let certified = certify(chain, key)?;
        let identity = Self {
            key: Arc::new(certified),
            kind: facts.kind,
            not_after: facts.not_after(),
            end_point_hash: facts.end_point_hash(),
            names: facts.names,
            signed_by,
        };
        Ok((identity, warnings))
    }

    /// The names the certificate is for, in lower case, wildcards as they are.
    pub fn names(&self) -> &[String] {
        &self.names
    }

    /// When it ends.
    pub fn not_after(&self) -> SystemTime {
        self.not_after
    }

    /// What kind of key it has.
    pub fn kind(&self) -> KeyKind {
        self.kind
    }

    /// `tls-server-end-point` (RFC 5929 4.1): the hash of the certificate, by the hash function of its signature, at least
    /// SHA-256. Where the signature has no hash function of its own (Ed25519), SHA-256.
    pub fn end_point_hash(&self) -> &[u8] {
        &self.end_point_hash
    }

    /// Whether all its certificates are signed by these schemes (IANA numbers). Self-signed ones need no signature.
    pub(crate) fn is_signed_by(&self, schemes: &[u16]) -> bool {
        let known = |scheme: &Option<u16>| scheme.is_some_and(|it| schemes.contains(&it));
        self.signed_by.iter().all(known)
    }

    /// Whether, and how, the certificate covers a host name in lower case.
    pub fn covers(&self, host: &str) -> Option<Coverage> {
        coverage(&self.names, host)
    }
}

/// `tls-server-end-point` (RFC 5929 4.1) of any certificate. None when it cannot be read.
pub(crate) fn end_point_hash(der: &CertificateDer<'_>) -> Option<Box<[u8]>> {
    Certificate::read(der).ok().map(|it| it.end_point_hash())
}

fn coverage(names: &[String], host: &str) -> Option<Coverage> {
    let parent = host.split_once('.').map(|(_, parent)| parent);
    let cover = |name: &String| match name.strip_prefix("*.") {
        _ if name == host => Some(Coverage::Exact),
        Some(rest) if parent == Some(rest) => Some(Coverage::Wildcard),
        _ => None,
    };
    names.iter().filter_map(cover).max()
}

/// A client's certificate with its key from PEM text, for [`crate::verify::Terms::client`]. Whom it is for is the server's to
/// judge; that the two belong together is seen here.
pub fn client_key(chain: &[u8], key: &[u8]) -> Result<Arc<CertifiedKey>, IdentityError> {
    let (chain, key) = read_pem(chain, key)?;
    certify(chain, key).map(Arc::new)
}

fn read_pem(
    chain: &[u8],
    key: &[u8],
) -> Result<(Vec<CertificateDer<'static>>, PrivateKeyDer<'static>), IdentityError> {
    let chain = CertificateDer::pem_slice_iter(chain)
        .collect::<Result<Vec<_>, _>>()
        .map_err(|_| IdentityError::ChainNotPem)?;
    if chain.is_empty() {
        return Err(IdentityError::NoCertificate);
    }
    let key = PrivateKeyDer::from_pem_slice(key).map_err(|error| match error {
        rustls_pki_types::pem::Error::NoItemsFound => IdentityError::NoKey,
        _ => IdentityError::KeyNotPem,
    })?;
    Ok((chain, key))
}

fn certify(
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
) -> Result<CertifiedKey, IdentityError> {
    let signer = provider()
        .key_provider
        .load_private_key(key)
        .map_err(|_| IdentityError::UnsupportedKey)?;
    let certified = CertifiedKey::new(chain, signer);
    certified
        .keys_match()
        .map_err(|_| IdentityError::KeyMismatch)?;
    Ok(certified)
}

fn read(path: &Path) -> Result<Vec<u8>, IdentityError> {
    fs::read(path).map_err(|error| IdentityError::Unreadable(path.to_path_buf(), error.kind()))
}

fn readable_by_others(path: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt;
    fs::metadata(path).is_ok_and(|it| it.permissions().mode() & 0o004 != 0)
}

#[cfg(test)]
#[path = "identity/tests.rs"]
mod tests;
