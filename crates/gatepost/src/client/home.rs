//! The user's folders for what is kept between runs: pins and accounts in `$XDG_CONFIG_HOME/gatepost`, else `~/.config/gatepost`;
//! lists of revoked certificates in `$XDG_CACHE_HOME/gatepost`, else `~/.cache/gatepost`.

use std::fs::{self, DirBuilder};
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};

use crate::exit::Failure;
use crate::whole;

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
    let folder = path.parent().unwrap_or(Path::new("."));
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(folder)
        .map_err(|error| whole::cannot_write(folder, &error))?;
    whole::replace_private(&path, text.as_bytes())?;
    Ok(path)
}
