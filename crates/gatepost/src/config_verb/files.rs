//! Reading configurations of others. A file is read, never run; what is no plain file, too big or not text is refused with a word, so
//! that a named pipe does not block and a disk image does not fill the memory.

use std::fs::{File, OpenOptions};
use std::io::{self, Read};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use gatepost_audit::config::{Document, Files, Unread};
use rustix::fs::OFlags;

use crate::exit::Failure;

/// Far above any configuration, far below what would hurt.
pub(crate) const LARGEST: u64 = 4 * 1024 * 1024;
/// Lines of one file: far above any configuration too.
const MOST_LINES: usize = 20_000;
/// All included files of one configuration together.
const LARGEST_TOGETHER: u64 = 4 * 1024 * 1024;

/// The text of a file, or why it is none.
pub(crate) fn text(path: &Path) -> Result<String, String> {
    // A pipe without a writer would wait for one.
    let nonblocking = i32::try_from(OFlags::NONBLOCK.bits()).unwrap_or_default();
    let file = OpenOptions::new()
        .read(true)
        .custom_flags(nonblocking)
        .open(path)
        .map_err(|error| error.to_string())?;
    let kind = file.metadata().map_err(|error| error.to_string())?;
    if kind.is_dir() {
        return Err("it is a directory".to_owned());
    }
    if !kind.is_file() {
        return Err("it is not a plain file".to_owned());
    }
    decode(read_some(file).map_err(|error| error.to_string())?)
}

fn read_some(file: File) -> io::Result<Vec<u8>> {
    let mut octets = Vec::new();
    file.take(LARGEST + 1).read_to_end(&mut octets)?;
    Ok(octets)
}

fn decode(octets: Vec<u8>) -> Result<String, String> {
    if octets.len() as u64 > LARGEST {
        return Err(format!(
            "it is larger than {LARGEST} octets: not a configuration"
        ));
    }
    match String::from_utf8(octets) {
        Ok(text) if text.lines().nth(MOST_LINES).is_some() => Err(format!(
            "it has more than {MOST_LINES} lines: not a configuration"
        )),
        Ok(text) if !text.contains('\0') => Ok(text),
        _ => Err("it is not text in UTF-8".to_owned()),
    }
}

/// The text on standard input.
pub(crate) fn standard_input() -> Result<String, Failure> {
    let mut octets = Vec::new();
    io::stdin()
        .take(LARGEST + 1)
        .read_to_end(&mut octets)
        .map_err(|error| Failure::local(format!("cannot read standard input: {error}")))?;
    decode(octets).map_err(|why| Failure::local(format!("cannot read standard input: {why}")))
}

/// A file as a document.
pub(crate) fn document(path: &Path) -> Result<Document, Failure> {
    let name = path.display().to_string();
    match text(path) {
        Ok(text) => Ok(Document::new(name, text)),
        Err(why) => Err(Failure::local(format!("cannot read {name}: {why}"))),
    }
}

/// Gives out included files from the disk.
#[derive(Debug, Default)]
pub(crate) struct OnDisk {
    octets: u64,
}

impl Files for OnDisk {
    fn include(&mut self, pattern: &str, from: &str) -> Result<Vec<Document>, Unread> {
        let base = Path::new(from).parent().unwrap_or(Path::new(""));
        let whole = base.join(pattern);
        let wild = pattern.contains(['*', '?', '[']);
        let mut paths = if wild { matching(&whole) } else { vec![whole] };
        // Exim's includes and Dovecot's may name a folder: everything in it.
        if let [only] = paths.as_slice()
            && !wild
            && only.is_dir()
        {
            paths = matching(&only.join("*"));
        }
        let mut found = Vec::new();
        for path in paths {
            if !wild && !path.exists() {
                return Err(Unread::Missing);
            }
            let text =
                text(&path).map_err(|why| Unread::Refused(format!("{}: {why}", path.display())))?;
            self.octets += text.len() as u64;
            if self.octets > LARGEST_TOGETHER {
                return Err(Unread::Refused(format!(
                    "the included files are larger than {LARGEST_TOGETHER} octets together"
                )));
            }
            found.push(Document::new(path.display().to_string(), text));
        }
        Ok(found)
    }
}

/// The files a pattern fits, in order. `*` and `?` stand within one part of the path.
fn matching(pattern: &Path) -> Vec<PathBuf> {
    let mut found = vec![PathBuf::new()];
    for part in pattern.components() {
        let part = part.as_os_str().to_string_lossy();
        if !part.contains(['*', '?']) {
            for path in &mut found {
                path.push(part.as_ref());
            }
            continue;
        }
        let mut next = Vec::new();
        for folder in &found {
            let folder = if folder.as_os_str().is_empty() {
                Path::new(".")
            } else {
                folder
            };
            let Ok(entries) = std::fs::read_dir(folder) else {
                continue;
            };
            for entry in entries.flatten() {
                let name = entry.file_name().to_string_lossy().into_owned();
                if !name.starts_with('.') && fits(part.as_bytes(), name.as_bytes()) {
                    next.push(folder.join(name));
                }
            }
        }
        next.sort();
        found = next;
    }
    found.retain(|path| path.exists());
    found
}

/// Whether a name fits a pattern with `*` and `?`.
fn fits(pattern: &[u8], name: &[u8]) -> bool {
    let (mut p, mut n, mut star) = (0, 0, None);
    while n < name.len() {
        match pattern.get(p) {
            Some(b'*') => {
                star = Some((p, n));
                p += 1;
            }
            Some(letter) if *letter == b'?' || *letter == name[n] => {
                p += 1;
                n += 1;
            }
            _ => {
                let Some((at, taken)) = star else {
                    return false;
                };
                star = Some((at, taken + 1));
                p = at + 1;
                n = taken + 1;
            }
        }
    }
    pattern[p..].iter().all(|letter| *letter == b'*')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_fit() {
        assert!(fits(b"*.conf", b"10-auth.conf") && fits(b"??-*.conf", b"10-auth.conf"));
        assert!(!fits(b"*.conf", b"10-auth.conf.ext") && !fits(b"?", b""));
    }

    #[test]
    fn a_pipe_is_refused_at_once_and_a_link_is_followed() {
        let folder = tempfile::tempdir().unwrap();
        let pipe = folder.path().join("pipe");
        rustix::fs::mknodat(
            rustix::fs::CWD,
            &pipe,
            rustix::fs::FileType::Fifo,
            0o600.into(),
            0,
        )
        .unwrap();
        assert!(text(&pipe).unwrap_err().contains("plain file"));
        assert!(text(folder.path()).unwrap_err().contains("directory"));
        std::fs::write(folder.path().join("a"), "x").unwrap();
        std::os::unix::fs::symlink(folder.path().join("a"), folder.path().join("b")).unwrap();
        assert_eq!(text(&folder.path().join("b")).unwrap(), "x");
    }
}
