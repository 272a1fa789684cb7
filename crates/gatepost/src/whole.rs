//! Files that are read and replaced whole: whoever reads sees the old one or the new one, and a crash leaves one of them.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use crate::exit::Failure;

/// Rights of a file others may read, less what the user's mask takes away.
const OPEN: u32 = 0o666;
/// Rights of a file only the user may read.
const PRIVATE: u32 = 0o600;

/// The most octets of a file that is read whole: certificates, settings, states. A device has no end.
const LARGEST: u64 = 64 << 20;

/// Reads a file that must not be larger than any of its kind.
pub(crate) fn read(path: &Path) -> io::Result<Vec<u8>> {
    use io::Read as _;
    let mut octets = Vec::new();
    let length = File::open(path)?
        .take(LARGEST + 1)
        .read_to_end(&mut octets)?;
    if length as u64 > LARGEST {
        return Err(io::Error::other(format!(
            "it is larger than {} MiB",
            LARGEST >> 20
        )));
    }
    Ok(octets)
}

/// The same for text.
pub(crate) fn read_text(path: &Path) -> io::Result<String> {
    String::from_utf8(read(path)?).map_err(io::Error::other)
}

/// Replaces a file by these octets. What is no file (a device, a pipe) has no place beside it, and is written to.
pub(crate) fn replace(path: &Path, octets: &[u8]) -> Result<(), Failure> {
    replace_by(path, |file| write(path, file, octets))
}

/// The same with what `write` writes, for what is too large to be held.
pub(crate) fn replace_by(
    path: &Path,
    write: impl FnOnce(&mut File) -> Result<(), Failure>,
) -> Result<(), Failure> {
    if path.exists() && !path.is_file() {
        let opened = OpenOptions::new().write(true).open(path);
        return write(&mut opened.map_err(|error| cannot_write(path, &error))?);
    }
    put(path, OPEN, write)
}

/// Replaces a file by these octets; only the user can read it.
pub(crate) fn replace_private(path: &Path, octets: &[u8]) -> Result<(), Failure> {
    put(path, PRIVATE, |file| write(path, file, octets))
}

/// Makes sure that a file could be put in place here, and leaves nothing behind.
pub(crate) fn try_place(path: &Path) -> Result<(), Failure> {
    if path.is_dir() {
        return Err(cannot_write(path, &io::Error::other("it is a folder")));
    }
    if path.exists() && !path.is_file() {
        return Ok(());
    }
    let beside = beside(path);
    let made = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .open(&beside);
    let _ = fs::remove_file(&beside);
    made.map(drop).map_err(|error| cannot_write(path, &error))
}

/// Where a file is written before it is moved into place.
fn beside(path: &Path) -> std::path::PathBuf {
    let mut beside = path.as_os_str().to_owned();
    beside.push(format!(".new-{}", std::process::id()));
    beside.into()
}

/// A local failure: this file cannot be written.
pub(crate) fn cannot_write(path: &Path, error: &io::Error) -> Failure {
    Failure::local(format!("cannot write {}: {error}", path.display()))
}

fn write(path: &Path, file: &mut File, octets: &[u8]) -> Result<(), Failure> {
    file.write_all(octets)
        .map_err(|error| cannot_write(path, &error))
}

/// Written beside, made durable, and moved into place.
fn put(
    path: &Path,
    rights: u32,
    write: impl FnOnce(&mut File) -> Result<(), Failure>,
) -> Result<(), Failure> {
    let cannot = |error: io::Error| cannot_write(path, &error);
    let beside = beside(path);
    let written = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(rights)
        .open(&beside)
        .map_err(cannot)
        .and_then(|mut file| {
            write(&mut file)?;
            file.sync_all().map_err(cannot)
        })
        .and_then(|()| fs::rename(&beside, path).map_err(cannot));
    if written.is_err() {
        let _ = fs::remove_file(&beside);
    }
    written
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn a_file_is_replaced_and_nothing_else_is_left() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("state.json");
        replace(&path, b"one").unwrap();
        replace_private(&path, b"two").unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"two");
        let rights = fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(rights & 0o777, 0o600);
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    #[test]
    fn what_cannot_be_put_in_place_is_said_and_cleared_away() {
        let folder = tempfile::tempdir().unwrap();
        let taken = folder.path().join("folder");
        fs::create_dir(&taken).unwrap();
        assert!(replace_private(&taken, b"x").is_err());
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
        replace(Path::new("/dev/null"), b"x").unwrap();
    }
}
