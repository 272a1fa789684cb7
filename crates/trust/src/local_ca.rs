//! A private authority for a server without certificates.
//!
//! | file | what | mode |
//! |---|---|---|
//! | `ca.pem` | the authority's certificate, for clients to trust; 10 years | 0644 |
//! | `ca.key` | its key | 0600 |
//! | `cert.pem` | the server's certificate; 90 days at most, renewed a month ahead | 0644 |
//! | `key.pem` | its key | 0600 |
//!
//! Files are written beside their place and moved there, so a reader never sees half of one, and a crash in between leaves
//! something the next call repairs. The authority is made once and never changed: clients trust it. Its name ends with part
//! of the hash of its key, so that two authorities are never taken for one another.

mod files;

use std::fmt::Write;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use aws_lc_rs::{digest, rand};
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa,
    Issuer, KeyPair, KeyUsagePurpose, SerialNumber,
};
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;
use x509_parser::prelude::{FromDer, X509Certificate};

use crate::identity::Identity;

const DAY: Duration = Duration::from_secs(24 * 3600);
const CA_LIFE: Duration = Duration::from_secs(3652 * 24 * 3600);
/// The server's certificate: from an hour ago (clocks differ) until then, 90 days in all.
const LEAF_LIFE: Duration = Duration::from_secs(90 * 24 * 3600);
const CLOCK_SKEW: Duration = Duration::from_secs(3600);
/// Renew with less than this left.
const RENEW_AHEAD: Duration = Duration::from_secs(30 * 24 * 3600);
/// The names every local certificate has.
const NAMES: [&str; 4] = ["mail.gatepost.test", "localhost", "127.0.0.1", "::1"];

/// Where the files are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LocalFiles {
    /// The authority's certificate, for clients.
    pub ca: PathBuf,
    /// The server's certificate chain.
    pub chain: PathBuf,
    /// The server's key.
    pub key: PathBuf,
    /// Whether the server's certificate was made or renewed by this call.
    pub renewed: bool,
}

/// Why the authority cannot be used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LocalCaError {
    /// A file cannot be read or written.
    File(PathBuf, std::io::ErrorKind),
    /// A file is there but does not hold what it should, or not what belongs to the file beside it. It is left as it is: the
    /// authority may be trusted by clients.
    Damaged(PathBuf),
    /// The authority has come to its end.
    AuthorityEnded(PathBuf),
    /// A name is not one a certificate can have.
    BadName(String),
    /// The cryptographic library refused.
    Crypto,
}

impl std::fmt::Display for LocalCaError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::File(path, kind) => write!(f, "cannot use {}: {kind}", path.display()),
            Self::Damaged(path) => {
                write!(
                    f,
                    "{} does not belong to the local authority; move it away",
                    path.display()
                )
            }
            Self::AuthorityEnded(path) => {
                write!(
                    f,
                    "the local authority in {} has ended; move it away to get a new one",
                    path.display()
                )
            }
            Self::BadName(name) => write!(f, "{name} cannot be a name in a certificate"),
            Self::Crypto => f.write_str("the cryptographic library failed"),
        }
    }
}

impl std::error::Error for LocalCaError {}

impl From<rcgen::Error> for LocalCaError {
    fn from(_: rcgen::Error) -> Self {
        Self::Crypto
    }
}

/// Makes the authority and a certificate for `localhost`, `mail.gatepost.test`, 127.0.0.1, `::1` and `extra_names` in
/// `folder`, or reuses what is there. Renews the server's certificate a month ahead of its end, and when a name is not
/// covered; the authority stays the same. Call it again from time to time (daily) and reload when [`LocalFiles::renewed`] is
/// true. Not to be called by two processes at once.
pub fn ensure(
    folder: &Path,
    extra_names: &[String],
    now: SystemTime,
) -> Result<LocalFiles, LocalCaError> {
    let mut files = LocalFiles {
        ca: folder.join("ca.pem"),
        chain: folder.join("cert.pem"),
        key: folder.join("key.pem"),
        renewed: false,
    };
    let names = all_names(extra_names);
    let authority = Authority::ensure(&files.ca, &folder.join("ca.key"), now)?;
    if !leaf_is_good(&files, &authority, &names, now) {
        let key = leaf_key(&files.key)?;
        let leaf = leaf_params(&names, now)?.signed_by(&key, &authority.issuer())?;
        files::replace(&files.chain, leaf.pem().as_bytes(), 0o644)?;
        files.renewed = true;
    }
    Ok(files)
}

fn all_names(extra: &[String]) -> Vec<String> {
    let mut names: Vec<String> = NAMES.iter().map(ToString::to_string).collect();
    for name in extra {
        let name = name.to_ascii_lowercase();
        if !names.contains(&name) {
            names.push(name);
        }
    }
    names
}

/// The authority: its key, and the parameters its certificate follows from.
struct Authority {
    key: KeyPair,
    params: CertificateParams,
}

impl Authority {
    fn ensure(certificate: &Path, key_file: &Path, now: SystemTime) -> Result<Self, LocalCaError> {
        let Some(key_pem) = files::read(key_file)? else {
            return Self::create(certificate, key_file, now);
        };
        let damaged = || LocalCaError::Damaged(key_file.to_path_buf());
        let key = KeyPair::from_pem(&key_pem).map_err(|_| damaged())?;
        let authority = Self {
            params: authority_params(&key, now)?,
            key,
        };
        match files::read(certificate)? {
            Some(pem) => authority.check_certificate(certificate, &pem, now)?,
            // The key was written, and then the machine stopped.
            None => authority.write_certificate(certificate)?,
        }
        Ok(authority)
    }

    fn create(certificate: &Path, key_file: &Path, now: SystemTime) -> Result<Self, LocalCaError> {
        if files::read(certificate)?.is_some() {
            // A certificate without its key cannot be of ours any more.
            return Err(LocalCaError::Damaged(certificate.to_path_buf()));
        }
        let key = KeyPair::generate()?;
        files::replace(key_file, key.serialize_pem().as_bytes(), 0o600)?;
        let authority = Self {
            params: authority_params(&key, now)?,
            key,
        };
        authority.write_certificate(certificate)?;
        Ok(authority)
    }

    fn write_certificate(&self, path: &Path) -> Result<(), LocalCaError> {
        let certificate = self.params.self_signed(&self.key)?;
        files::replace(path, certificate.pem().as_bytes(), 0o644)
    }

    fn check_certificate(
        &self,
        path: &Path,
        pem: &str,
        now: SystemTime,
    ) -> Result<(), LocalCaError> {
        let damaged = || LocalCaError::Damaged(path.to_path_buf());
        let der = CertificateDer::from_pem_slice(pem.as_bytes()).map_err(|_| damaged())?;
        let (_, certificate) = X509Certificate::from_der(&der).map_err(|_| damaged())?;
        let ours = certificate.public_key().subject_public_key.data == self.key.public_key_raw();
        if !ours {
            return Err(damaged());
        }
        let end = certificate.validity().not_after.timestamp();
        if seconds(now + LEAF_LIFE) > end {
            return Err(LocalCaError::AuthorityEnded(path.to_path_buf()));
        }
        Ok(())
    }

    fn issuer(&self) -> Issuer<'_, &KeyPair> {
        Issuer::from_params(&self.params, &self.key)
    }
}

fn authority_params(key: &KeyPair, now: SystemTime) -> Result<CertificateParams, LocalCaError> {
    let hash = digest::digest(&digest::SHA256, key.public_key_raw());
    let mut name = "Gatepost local CA ".to_owned();
    for octet in hash.as_ref().iter().take(4) {
        // Writing to a string cannot fail.
        let _ = write!(name, "{octet:02x}");
    }
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, name);
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params.serial_number = Some(serial()?);
    params.not_before = (now - DAY).into();
    params.not_after = (now + CA_LIFE).into();
    Ok(params)
}

fn leaf_params(names: &[String], now: SystemTime) -> Result<CertificateParams, LocalCaError> {
    let bad = |name: &String| !name.is_ascii() || name.is_empty();
    if let Some(name) = names.iter().find(|name| bad(name)) {
        return Err(LocalCaError::BadName(name.clone()));
    }
    let mut params = CertificateParams::new(names)?;
    params.distinguished_name = DistinguishedName::new();
    params
        .distinguished_name
        .push(DnType::CommonName, "Gatepost");
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    params.use_authority_key_identifier_extension = true;
    params.serial_number = Some(serial()?);
    params.not_before = (now - CLOCK_SKEW).into();
    params.not_after = (now + LEAF_LIFE - CLOCK_SKEW).into();
    Ok(params)
}

/// A random serial number: 127 bits, never zero. Two certificates of one issuer must not share one, and ours share a key.
fn serial() -> Result<SerialNumber, LocalCaError> {
    let mut octets = [0; 16];
    rand::fill(&mut octets).map_err(|_| LocalCaError::Crypto)?;
    if let Some(first) = octets.first_mut() {
        *first = *first & 0x7f | 0x40;
    }
    Ok(SerialNumber::from_slice(&octets))
}

fn leaf_key(path: &Path) -> Result<KeyPair, LocalCaError> {
    if let Some(key) = files::read(path)?.and_then(|pem| KeyPair::from_pem(&pem).ok()) {
        return Ok(key);
    }
    let key = KeyPair::generate()?;
    files::replace(path, key.serialize_pem().as_bytes(), 0o600)?;
    Ok(key)
}

/// Whether the server's files can be used as they are. Any doubt means a new certificate.
fn leaf_is_good(
    files: &LocalFiles,
    authority: &Authority,
    names: &[String],
    now: SystemTime,
) -> bool {
    let Ok((identity, _)) = Identity::load(&files.chain, &files.key, None, now) else {
        return false;
    };
    let lasts = identity
        .not_after()
        .duration_since(now)
        .is_ok_and(|left| left > RENEW_AHEAD);
    // An address is written in one form only in the certificate.
    let canonical = |name: &String| {
        name.parse::<IpAddr>()
            .map_or(name.clone(), |it| it.to_string())
    };
    let covers = names
        .iter()
        .all(|name| identity.covers(&canonical(name)).is_some());
    lasts && covers && is_issued_by(&identity, authority)
}

fn is_issued_by(identity: &Identity, authority: &Authority) -> bool {
    let Some(leaf) = identity.key.cert.first() else {
        return false;
    };
    let Ok((_, certificate)) = X509Certificate::from_der(leaf) else {
        return false;
    };
    let expected = authority.params.distinguished_name.get(&DnType::CommonName);
    let mut common_names = certificate
        .issuer()
        .iter_common_name()
        .filter_map(|it| it.as_str().ok());
    matches!(expected, Some(rcgen::DnValue::Utf8String(name)) if common_names.any(|it| it == name))
}

fn seconds(moment: SystemTime) -> i64 {
    let since = moment
        .duration_since(SystemTime::UNIX_EPOCH)
        .unwrap_or_default();
    i64::try_from(since.as_secs()).unwrap_or(i64::MAX)
}

#[cfg(test)]
#[path = "local_ca/tests.rs"]
mod tests;
