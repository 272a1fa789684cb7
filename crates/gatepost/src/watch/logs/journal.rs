//! The journal of systemd, read by `journalctl`, which alone knows its format.
//!
//! It is run once, or again and again with the cursor it gave the last time: its manual's own way to follow a journal without losing or
//! repeating an entry.

use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::process::{ChildStdout, Command, Stdio};

use gatepost_audit::watch::log::LogWatcher;

use super::places::Places;
use crate::exit::Failure;

/// What precedes the cursor, behind the last entry.
const MARK: &[u8] = b"-- cursor: ";
/// No cursor is longer.
const LONGEST: usize = 1024;

/// A journal: the system's, or the files in a folder.
#[derive(Debug)]
pub(super) struct Journal {
    name: String,
    folder: Option<PathBuf>,
    cursor: Option<String>,
}

impl Journal {
    /// `journal`, or `journal:FOLDER`.
    pub(super) fn named(path: &Path, places: &Places) -> Option<Self> {
        let name = path.to_str()?;
        let folder = match name.strip_prefix("journal")? {
            "" => None,
            rest => Some(PathBuf::from(rest.strip_prefix(':')?)),
        };
        Some(Self {
            name: name.to_owned(),
            folder,
            cursor: places.cursor(name),
        })
    }

    pub(super) fn name(&self) -> &str {
        &self.name
    }

    pub(super) fn cursor(&self) -> Option<&str> {
        self.cursor.as_deref()
    }

    /// Reads what came since the last time.
    pub(super) fn run(
        &mut self,
        mut pour: impl FnMut(&mut Entries, &mut LogWatcher) -> Result<(), Failure>,
        watcher: &mut LogWatcher,
    ) -> Result<(), Failure> {
        let cannot = |error: io::Error| Failure::local(format!("cannot run journalctl: {error}"));
        let mut command = Command::new("journalctl");
        command.args([
            "--no-pager",
            "--quiet",
            "--output=short-iso-precise",
            "--facility=mail",
            "--show-cursor",
        ]);
        if let Some(folder) = &self.folder {
            command.arg("--directory").arg(folder);
        }
        if let Some(cursor) = &self.cursor {
            command.arg(format!("--after-cursor={cursor}"));
        }
        let mut child = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .map_err(cannot)?;
        let mut read = Ok(());
        if let Some(stdout) = child.stdout.take() {
            let mut entries = Entries::new(stdout);
            read = pour(&mut entries, watcher);
            if let Some(cursor) = entries.cursor() {
                self.cursor = Some(cursor);
            }
        }
        let status = child.wait().map_err(cannot)?;
        read?;
        if status.success() {
            return Ok(());
        }
        Err(Failure::local(format!("journalctl ended with {status}")))
    }
}

/// What journalctl prints, without its last line where that is the cursor.
#[derive(Debug)]
pub(super) struct Entries<R = ChildStdout> {
    source: R,
    /// Read and not given on: the last line so far may be the cursor.
    kept: Vec<u8>,
    is_over: bool,
}

impl<R: Read> Entries<R> {
    fn new(source: R) -> Self {
        Self {
            source,
            kept: Vec::new(),
            is_over: false,
        }
    }

    fn cursor(&self) -> Option<String> {
        let line = self.kept.strip_prefix(MARK)?.trim_ascii_end();
        std::str::from_utf8(line).ok().map(str::to_owned)
    }

    /// How many of the octets kept can be no part of a last line with the cursor.
    fn free(&self) -> usize {
        let kept = &self.kept;
        let body = kept.strip_suffix(b"\n").unwrap_or(kept);
        let begun = body
            .iter()
            .rposition(|it| *it == b'\n')
            .map_or(0, |it| it + 1);
        let line = kept.get(begun..).unwrap_or_default();
        let length = line.len().min(MARK.len());
        let may_be_cursor = line.len() <= LONGEST && line.get(..length) == MARK.get(..length);
        if may_be_cursor { begun } else { kept.len() }
    }
}

impl<R: Read> Read for Entries<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            let free = self.free();
            if free > 0 || self.is_over {
                let count = free.min(buffer.len());
                for (to, from) in buffer.iter_mut().zip(self.kept.drain(..count)) {
                    *to = from;
                }
                return Ok(count);
            }
            let mut portion = vec![0; 1 << 16];
            let count = self.source.read(&mut portion)?;
            self.is_over = count == 0;
            self.kept
                .extend_from_slice(portion.get(..count).unwrap_or_default());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Gives one octet at a time.
    struct Slow<'a>(&'a [u8]);

    impl Read for Slow<'_> {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            self.0.read(buffer.get_mut(..1).unwrap_or_default())
        }
    }

    #[test]
    fn the_cursor_is_no_entry() {
        for (printed, entries, cursor) in [
            (
                "a\n-- b\n-- cursor: s=1;i=2\n",
                "a\n-- b\n",
                Some("s=1;i=2"),
            ),
            ("a\nb\n", "a\nb\n", None),
            ("-- cursor: s=1\n", "", Some("s=1")),
            ("a\n-- cursor: s=1\nb\n", "a\n-- cursor: s=1\nb\n", None),
            ("", "", None),
        ] {
            let mut read = String::new();
            let mut slow = Entries::new(Slow(printed.as_bytes()));
            slow.read_to_string(&mut read).unwrap();
            assert_eq!((read.as_str(), slow.cursor().as_deref()), (entries, cursor));
            let mut read = String::new();
            let mut whole = Entries::new(printed.as_bytes());
            whole.read_to_string(&mut read).unwrap();
            assert_eq!(
                (read.as_str(), whole.cursor().as_deref()),
                (entries, cursor)
            );
        }
    }
}
