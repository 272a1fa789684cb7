//! A certificate chain with its key: loaded, judged, ready for use.

use std::path::{Path, PathBuf};
use std::time::SystemTime;

/// A certificate chain and key that passed all checks.
#[derive(Debug)]
pub struct Identity {
    _todo: (),
}

/// Why an identity cannot be used. [`std::fmt::Display`] says it in words an operator can act on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum IdentityError {
    /// A file cannot be read.
    Unreadable(PathBuf),
}

/// Something that does not prevent the use but wants attention.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum IdentityWarning {
    /// Others on this machine can read the key file.
    KeyReadableByOthers(PathBuf),
}

impl Identity {
    /// Loads a chain (leaf first) and its key from PEM files; they may be the same file. `host` is the name the certificate
    /// must cover, when one is configured.
    pub fn load(
        _chain: &Path,
        _key: &Path,
        _host: Option<&str>,
        _now: SystemTime,
    ) -> Result<(Self, Vec<IdentityWarning>), IdentityError> {
        todo!()
    }
}
