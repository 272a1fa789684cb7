//! Consents on disk: each in a file of its own, sealed with AES-256-GCM.
//!
//! ```text
//! DATA/oauth/key              32 octets, for the owner alone (0600)
//! DATA/oauth/HASH.consent     "gp-consent-1\n", nonce, sealed text; bound to its name, the hash of the account's
//! ```
//!
//! The key stands beside what it seals: it keeps tokens out of a copy or a backup of these files that was made without it, and out of
//! sight of whoever looks at them. Against one who may read the whole folder it does nothing. A file under another account's
//! name does not open.

use std::fmt::Write as _;
use std::fs;
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::SystemTime;

use aws_lc_rs::aead::{AES_256_GCM, Aad, NONCE_LEN, Nonce, RandomizedNonceKey};
use aws_lc_rs::digest::{SHA256, digest};
use gatepost_wire::secret::Secret;

use super::consent::Consent;

/// What a file begins with: also what its sealing covers.
const MARK: &[u8] = b"gp-consent-1\n";
/// The largest file that is read.
const MOST: u64 = 256 * 1024;

/// Why the files cannot be used.
#[derive(Debug)]
pub enum VaultError {
    /// The disk, or the file's owner, does not let us.
    Disk(PathBuf, io::Error),
    /// Others may read it.
    Open(PathBuf, u32),
    /// It is not what was written there: damaged, sealed with another key, or another account's.
    Damaged(PathBuf),
    /// The library gave no randomness or no key.
    Sealing,
}

impl std::fmt::Display for VaultError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Disk(path, error) => write!(f, "{}: {error}", path.display()),
            Self::Open(path, mode) => write!(
                f,
                "others can read {0} (mode {mode:03o}), and it opens the tokens: chmod 600 {0}",
                path.display()
            ),
            Self::Damaged(path) => write!(
                f,
                "{} does not open: it is damaged, or the key beside it is another; remove it and give consent again",
                path.display()
            ),
            Self::Sealing => f.write_str("the system gives no randomness to seal tokens with"),
        }
    }
}

impl std::error::Error for VaultError {}

/// When a file was written, and how long it is.
pub(super) type Stamp = Option<(SystemTime, u64)>;

/// The files.
#[derive(Debug)]
pub struct Vault {
    folder: PathBuf,
    key: RandomizedNonceKey,
}

impl Vault {
    /// Opens the files in a server's data folder; makes the folder and the key when there are none.
    ///
    /// # Errors
    /// See [`VaultError`].
    pub fn open(data: &Path) -> Result<Self, VaultError> {
        let folder = data.join("oauth");
        let made = fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(&folder);
        made.map_err(|error| VaultError::Disk(folder.clone(), error))?;
        let path = folder.join("key");
        let octets = match read_key(&path) {
            Err(VaultError::Disk(_, error)) if error.kind() == io::ErrorKind::NotFound => {
                make_key(&path)?;
                // Another one may have been quicker: what stands there counts.
                read_key(&path)?
            }
            read => read?,
        };
        let key = RandomizedNonceKey::new(&AES_256_GCM, octets.expose());
        let key = key.map_err(|_| VaultError::Damaged(path))?;
        Ok(Self { folder, key })
    }

    /// The consent of an account, if there is one.
    ///
    /// # Errors
    /// See [`VaultError`].
    pub fn read(&self, account: &str) -> Result<Option<Consent>, VaultError> {
        let path = self.path(account);
        let sealed = match read_file(&path) {
            Ok(sealed) => sealed,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(VaultError::Disk(path, error)),
        };
        let consent = self.unseal(&name_of(account), &sealed);
        consent.map(Some).ok_or(VaultError::Damaged(path))
    }

    /// All consents, in the order of their accounts.
    ///
    /// # Errors
    /// See [`VaultError`]; one that does not open is an error.
    pub fn list(&self) -> Result<Vec<Consent>, VaultError> {
        let failed = |error| VaultError::Disk(self.folder.clone(), error);
        let mut consents = Vec::new();
        for entry in fs::read_dir(&self.folder).map_err(failed)? {
            let path = entry.map_err(failed)?.path();
            if path.extension().is_none_or(|it| it != "consent") {
                continue;
            }
            let name = path.file_stem().unwrap_or_default().to_string_lossy();
            let sealed = read_file(&path).map_err(failed)?;
            let consent = self.unseal(&name, &sealed);
            consents.push(consent.ok_or_else(|| VaultError::Damaged(path.clone()))?);
        }
        consents.sort_by(|a, b| a.account.cmp(&b.account));
        Ok(consents)
    }

    /// Keeps a consent: a reader sees the old one or the new one.
    ///
    /// # Errors
    /// See [`VaultError`].
    pub fn write(&self, consent: &Consent) -> Result<(), VaultError> {
        static COUNT: AtomicU64 = AtomicU64::new(0);
        let path = self.path(&consent.account);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let beside = path.with_extension(format!("{}-{number}.new", std::process::id()));
        let octets = self.seal(consent)?;
        let written = write_private(&beside, &octets).and_then(|()| fs::rename(&beside, &path));
        written.map_err(|error| {
            let _ = fs::remove_file(&beside);
            VaultError::Disk(path, error)
        })
    }

    /// Forgets a consent. False when there was none.
    ///
    /// # Errors
    /// See [`VaultError`].
    pub fn remove(&self, account: &str) -> Result<bool, VaultError> {
        let path = self.path(account);
        match fs::remove_file(&path) {
            Ok(()) => Ok(true),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(error) => Err(VaultError::Disk(path, error)),
        }
    }

    /// When an account's consent was last written.
    pub(super) fn stamp(&self, account: &str) -> Stamp {
        let known = fs::metadata(self.path(account)).ok()?;
        Some((known.modified().ok()?, known.len()))
    }

    fn path(&self, account: &str) -> PathBuf {
        self.folder.join(format!("{}.consent", name_of(account)))
    }

    fn seal(&self, consent: &Consent) -> Result<Vec<u8>, VaultError> {
        let mut text = consent.to_text().expose().clone().into_bytes();
        let aad = Aad::from(bound_to(&name_of(&consent.account)));
        let nonce = self.key.seal_in_place_append_tag(aad, &mut text);
        let nonce = nonce.map_err(|_| VaultError::Sealing)?;
        let nonce: &[u8] = nonce.as_ref();
        Ok([MARK, nonce, &text[..]].concat())
    }

    fn unseal(&self, name: &str, sealed: &[u8]) -> Option<Consent> {
        let rest = sealed.strip_prefix(MARK)?;
        let (nonce, text) = rest.split_first_chunk::<NONCE_LEN>()?;
        let mut text = text.to_vec();
        let nonce = Nonce::assume_unique_for_key(*nonce);
        let aad = Aad::from(bound_to(name));
        let clear = self.key.open_in_place(nonce, aad, &mut text).ok()?;
        let clear = Secret::new(String::from_utf8(clear.to_vec()).ok()?);
        Consent::from_text(clear.expose()).filter(|it| name_of(&it.account) == name)
    }
}

/// A file's name is a hash: account names are no file names.
fn name_of(account: &str) -> String {
    let hash = digest(&SHA256, account.as_bytes());
    hash.as_ref().iter().fold(String::new(), |mut name, octet| {
        let _ = write!(name, "{octet:02x}");
        name
    })
}

/// What a file is bound to: its form and its name.
fn bound_to(name: &str) -> Vec<u8> {
    [MARK, name.as_bytes()].concat()
}

fn read_key(path: &Path) -> Result<Secret<Vec<u8>>, VaultError> {
    let failed = |error| VaultError::Disk(path.to_path_buf(), error);
    let known = fs::metadata(path).map_err(failed)?;
    let mode = known.permissions().mode() & 0o777;
    if mode & 0o077 != 0 {
        return Err(VaultError::Open(path.to_path_buf(), mode));
    }
    read_file(path).map(Secret::new).map_err(failed)
}

fn make_key(path: &Path) -> Result<(), VaultError> {
    let mut octets = [0; 32];
    aws_lc_rs::rand::fill(&mut octets).map_err(|_| VaultError::Sealing)?;
    let beside = path.with_extension(format!("{}.new", std::process::id()));
    // The whole key or none, and never one in place of another.
    let made = write_private(&beside, &octets).and_then(|()| fs::hard_link(&beside, path));
    let _ = fs::remove_file(&beside);
    match made {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
            Err(VaultError::Disk(path.to_path_buf(), error))
        }
        _ => Ok(()),
    }
}

fn read_file(path: &Path) -> io::Result<Vec<u8>> {
    if fs::metadata(path)?.len() > MOST {
        return Err(io::Error::other("too large"));
    }
    fs::read(path)
}

fn write_private(path: &Path, octets: &[u8]) -> io::Result<()> {
    let mut file = fs::OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(path)?;
    file.write_all(octets)?;
    file.sync_all()
}

#[cfg(test)]
mod tests {
    use super::super::consent::tests::sample;
    use super::*;

    #[test]
    fn what_is_kept_comes_back_and_cannot_be_read_or_moved() {
        let data = tempfile::tempdir().unwrap();
        let vault = Vault::open(data.path()).unwrap();
        let consent = sample();
        assert_eq!(vault.read(&consent.account).unwrap(), None);
        vault.write(&consent).unwrap();
        let again = Vault::open(data.path()).unwrap();
        assert_eq!(again.read(&consent.account).unwrap(), Some(consent.clone()));
        assert_eq!(again.list().unwrap(), std::slice::from_ref(&consent));
        for entry in fs::read_dir(data.path().join("oauth")).unwrap() {
            let entry = entry.unwrap();
            let mode = entry.metadata().unwrap().permissions().mode();
            assert_eq!(mode & 0o077, 0, "{:?}", entry.path());
            let octets = fs::read(entry.path()).unwrap();
            for secret in [&b"refresh-1"[..], b"app-secret", b"anna@"] {
                let found = octets.windows(secret.len()).any(|it| it == secret);
                assert!(!found, "{:?}", entry.path());
            }
        }
        // Under another account's name it does not open.
        fs::copy(vault.path(&consent.account), vault.path("ben@example.org")).unwrap();
        let moved = vault.read("ben@example.org");
        assert!(matches!(moved, Err(VaultError::Damaged(_))), "{moved:?}");
        // A changed octet anywhere is found.
        let path = vault.path(&consent.account);
        let good = fs::read(&path).unwrap();
        for place in [0, MARK.len(), MARK.len() + NONCE_LEN, good.len() - 1] {
            let mut bad = good.clone();
            bad[place] ^= 1;
            fs::write(&path, bad).unwrap();
            assert!(vault.read(&consent.account).is_err(), "octet {place}");
        }
        assert!(vault.remove(&consent.account).unwrap());
        assert!(!vault.remove(&consent.account).unwrap());
    }

    #[test]
    fn a_key_that_others_can_read_or_that_is_another_opens_nothing() {
        let data = tempfile::tempdir().unwrap();
        Vault::open(data.path()).unwrap().write(&sample()).unwrap();
        let key = data.path().join("oauth/key");
        fs::set_permissions(&key, fs::Permissions::from_mode(0o640)).unwrap();
        assert!(matches!(
            Vault::open(data.path()),
            Err(VaultError::Open(..))
        ));
        fs::remove_file(&key).unwrap();
        let other = Vault::open(data.path()).unwrap();
        assert!(other.read(&sample().account).is_err());
        fs::write(&key, b"short").unwrap();
        assert!(Vault::open(data.path()).is_err());
    }
}
