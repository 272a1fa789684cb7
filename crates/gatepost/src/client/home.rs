//! The user's folders for what is kept between runs: pins and accounts in `$XDG_CONFIG_HOME/gatepost`, else `~/.config/gatepost`;
//! lists of revoked certificates in `$XDG_CACHE_HOME/gatepost`, else `~/.cache/gatepost`.

use std::fs::{self, OpenOptions};
use std::io::Write;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use crate::exit::Failure;

/// The path of a file in the folder; whether it is there is another question.
pub(crate) fn path(name: &str) -> Result<PathBuf, Failure> {
    let folder = absolute("XDG_CONFIG_HOME")
        .or_else(|| absolute("HOME").map(|home| home.join(".config")))
        .ok_or_else(|| {
            Failure::usage("there is no folder for the configuration: set HOME or XDG_CONFIG_HOME")
        })?;
    Ok(folder.join("gatepost").join(name))
}

/// A folder for what can be had again, `$XDG_CACHE_HOME/gatepost/NAME`, else below `~/.cache`; none without a home.
pub(crate) fn cache(name: &str) -> Option<PathBuf> {
    let folder =
        absolute("XDG_CACHE_HOME").or_else(|| absolute("HOME").map(|home| home.join(".cache")))?;
    Some(folder.join("gatepost").join(name))
}

/// The absolute path in a variable.
fn absolute(variable: &str) -> Option<PathBuf> {
    let path = PathBuf::from(std::env::var_os(variable)?);
    // The standard for these variables wants relative paths ignored.
    path.is_absolute().then_some(path)
}

/// The text of a file; none when it is not there.
pub(crate) fn read(name: &str) -> Result<Option<String>, Failure> {
    let path = path(name)?;
    match fs::read_to_string(&path) {
        Ok(text) => Ok(Some(text)),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(Failure::usage(format!(
            "cannot read {}: {error}",
            path.display()
        ))),
    }
}

/// Replaces a file by another text, at once and durably; only the user can read it.
pub(crate) fn write(name: &str, text: &str) -> Result<PathBuf, Failure> {
    let path = path(name)?;
    replace(&path, text)
        .map_err(|error| Failure::local(format!("cannot write {}: {error}", path.display())))?;
    Ok(path)
}

fn replace(path: &Path, text: &str) -> std::io::Result<()> {
    let folder = path.parent().unwrap_or(Path::new("."));
    fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(folder)?;
    let temporary = path.with_extension(format!("new-{}", std::process::id()));
    let mut file = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(&temporary)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()?;
    fs::rename(&temporary, path)
}
