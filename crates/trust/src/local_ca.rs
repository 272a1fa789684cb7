//! A private authority for a server without certificates.

use std::path::{Path, PathBuf};
use std::time::SystemTime;

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
#[derive(Debug)]
pub enum LocalCaError {
    /// A file cannot be read or written.
    File(PathBuf, std::io::ErrorKind),
    /// The files are there but do not hold what they should.
    Damaged(PathBuf),
    /// The cryptographic library refused.
    Crypto,
}

/// Makes the authority and a certificate for `localhost`, `mail.gatepost.test`, 127.0.0.1, ::1 and `extra_names` in `folder`,
/// or reuses what is there. Renews the server's certificate ahead of its end, and when a name is not covered; the authority
/// stays the same. Call it again from time to time (daily) and reload when [`LocalFiles::renewed`] is true.
pub fn ensure(
    _folder: &Path,
    _extra_names: &[String],
    _now: SystemTime,
) -> Result<LocalFiles, LocalCaError> {
    todo!()
}
