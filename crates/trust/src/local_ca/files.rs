//! Files written whole or not at all.

use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use super::LocalCaError;

/// The text of a file; none when it does not exist.
pub(super) fn read(path: &Path) -> Result<Option<String>, LocalCaError> {
    match fs::read_to_string(path) {
        Ok(text) => Ok(Some(text)),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) if error.kind() == ErrorKind::InvalidData => {
            Err(LocalCaError::Damaged(path.to_path_buf()))
        }
        Err(error) => Err(LocalCaError::File(path.to_path_buf(), error.kind())),
    }
}

/// Writes a file beside its place, makes it durable, and moves it there.
pub(super) fn replace(path: &Path, content: &[u8], mode: u32) -> Result<(), LocalCaError> {
    write(path, content, mode).map_err(|error| LocalCaError::File(path.to_path_buf(), error.kind()))
}

fn write(path: &Path, content: &[u8], mode: u32) -> io::Result<()> {
    let beside = path.with_extension("new");
    // What a crash has left behind may have other rights.
    match fs::remove_file(&beside) {
        Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(mode)
        .open(&beside)?;
    file.write_all(content)?;
    file.sync_all()?;
    fs::rename(&beside, path)?;
    let folder = path.parent().filter(|it| !it.as_os_str().is_empty());
    File::open(folder.unwrap_or(Path::new(".")))?.sync_all()
}
