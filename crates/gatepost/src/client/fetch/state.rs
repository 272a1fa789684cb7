//! What has been stored already: `.gatepost-fetch` in the output folder, a line per message, only ever appended to.
//!
//! ```text
//! gatepost-fetch-1
//! done     SOURCE  ID           the message is stored
//! writing  SOURCE  ID  OFFSET  LENGTH  FILE   mbox: the octets at OFFSET are about to be written
//! mended   FILE                what broke off in this mbox has been taken out again
//! ```
//!
//! SOURCE is the login name, the host, and for IMAP the mailbox with its UIDVALIDITY; ID is the UID, or POP3's unique-id. A line
//! that breaks off at the end of the file (the machine stopped while it was written) counts as not there. One run at a time: the
//! file is locked.

use std::collections::HashSet;
use std::fs::{File, OpenOptions, TryLockError};
use std::io::{Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use crate::exit::Failure;

/// The file's name.
pub(crate) const NAME: &str = ".gatepost-fetch";

const FIRST_LINE: &str = "gatepost-fetch-1";

/// A write to an mbox that was announced and not seen to end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Unfinished {
    /// The mbox's file name: several may stand in a folder, and several accounts may share one.
    pub(crate) mbox: String,
    /// Where it began.
    pub(crate) offset: u64,
    /// How many octets were to be written.
    pub(crate) length: u64,
}

/// The state of one output folder.
#[derive(Debug)]
pub(crate) struct State {
    path: PathBuf,
    file: File,
    /// `SOURCE\tID` of everything stored.
    known: HashSet<String>,
    /// The source that announced each write.
    unfinished: Vec<(String, Unfinished)>,
}

impl State {
    /// Opens or makes the state of a folder, and locks it.
    pub(crate) fn open(folder: &Path) -> Result<Self, Failure> {
        let path = folder.join(NAME);
        let fail = |error: std::io::Error| cannot(&path, &error);
        let mut file = OpenOptions::new()
            .read(true)
            .append(true)
            .create(true)
            .mode(0o600)
            .open(&path)
            .map_err(fail)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                return Err(Failure::local(format!(
                    "another gatepost fetch is writing to {}; wait for it, or give another folder",
                    folder.display()
                )));
            }
            Err(TryLockError::Error(error)) => return Err(fail(error)),
        }
        let mut text = String::new();
        file.read_to_string(&mut text).map_err(fail)?;
        let whole = text.rfind('\n').map_or(0, |at| at + 1);
        if whole < text.len() {
            file.set_len(whole as u64).map_err(fail)?;
        }
        let lines = &text[..whole];
        if lines.is_empty() {
            writeln!(file, "{FIRST_LINE}").map_err(fail)?;
        } else if !lines.starts_with(FIRST_LINE) {
            return Err(Failure::usage(format!(
                "{} is not a state file of this version; give another folder",
                path.display()
            )));
        }
        let (known, unfinished) = read(lines);
        Ok(Self {
            path,
            file,
            known,
            unfinished,
        })
    }

    /// Whether a message is stored already.
    pub(crate) fn knows(&self, source: &str, id: &str) -> bool {
        self.known.contains(&key(source, id))
    }

    /// Notes that an mbox is about to be written to.
    pub(crate) fn announce(
        &mut self,
        source: &str,
        id: &str,
        write: &Unfinished,
    ) -> Result<(), Failure> {
        let line = format!(
            "writing\t{}\t{}\t{}\t{}\n",
            key(source, id),
            write.offset,
            write.length,
            write.mbox
        );
        self.append(&line)
    }

    /// The write to this mbox that a run before did not end.
    pub(crate) fn unfinished(&self, mbox: &str) -> Option<&Unfinished> {
        let mut all = self.unfinished.iter().map(|(_, write)| write);
        all.find(|write| write.mbox == mbox)
    }

    /// Notes that there is nothing half written in this mbox any more. Without it the next run would cut off what stands there by then.
    pub(crate) fn note_mended(&mut self, mbox: &str) -> Result<(), Failure> {
        self.append(&format!("mended\t{mbox}\n"))?;
        self.unfinished.retain(|(_, write)| write.mbox != mbox);
        Ok(())
    }

    /// Notes that messages are stored, durably.
    pub(crate) fn note(&mut self, source: &str, ids: &[String]) -> Result<(), Failure> {
        let mut lines = String::new();
        for id in ids {
            lines.push_str(&format!(
                "done	{}
",
                key(source, id)
            ));
        }
        self.append(&lines)?;
        self.known.extend(ids.iter().map(|id| key(source, id)));
        Ok(())
    }

    fn append(&mut self, lines: &str) -> Result<(), Failure> {
        let written = self
            .file
            .write_all(lines.as_bytes())
            .and_then(|()| self.file.sync_data());
        written.map_err(|error| cannot(&self.path, &error))
    }
}

fn cannot(path: &Path, error: &std::io::Error) -> Failure {
    Failure::local(format!(
        "cannot keep the state in {}: {error}",
        path.display()
    ))
}

fn key(source: &str, id: &str) -> String {
    let plain = |text: &str| text.replace(['\t', '\r', '\n'], " ");
    format!("{}\t{}", plain(source), plain(id))
}

fn read(lines: &str) -> (HashSet<String>, Vec<(String, Unfinished)>) {
    let mut known = HashSet::new();
    let mut unfinished: Vec<(String, Unfinished)> = Vec::new();
    for line in lines.lines().skip(1) {
        let fields: Vec<&str> = line.split('\t').collect();
        match fields.as_slice() {
            ["done", source, id] => {
                unfinished.retain(|(by, _)| by != source);
                known.insert(format!("{source}\t{id}"));
            }
            ["mended", mbox] => unfinished.retain(|(_, write)| write.mbox != *mbox),
            ["writing", source, _, offset, length, mbox] => {
                let numbers = offset.parse().ok().zip(length.parse().ok());
                unfinished.extend(numbers.map(|(offset, length)| {
                    let mbox = (*mbox).to_owned();
                    let write = Unfinished {
                        mbox,
                        offset,
                        length,
                    };
                    ((*source).to_owned(), write)
                }));
            }
            _ => {}
        }
    }
    (known, unfinished)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_noted_is_known_the_next_time() {
        let folder = tempfile::tempdir().unwrap();
        let mut state = State::open(folder.path()).unwrap();
        state
            .note("anna@h/INBOX;7", &["1".into(), "2".into()])
            .unwrap();
        drop(state);
        let state = State::open(folder.path()).unwrap();
        assert!(state.knows("anna@h/INBOX;7", "2") && !state.knows("anna@h/INBOX;7", "3"));
        assert!(!state.knows("anna@h/INBOX;8", "2"));
    }

    #[test]
    fn a_line_that_breaks_off_is_not_there() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(NAME);
        std::fs::write(&path, "gatepost-fetch-1\ndone\ts\t1\ndone\ts\t2").unwrap();
        let mut state = State::open(folder.path()).unwrap();
        assert!(state.knows("s", "1") && !state.knows("s", "2"));
        state.note("s", &["3".into()]).unwrap();
        drop(state);
        assert_eq!(
            std::fs::read_to_string(&path).unwrap(),
            "gatepost-fetch-1\ndone\ts\t1\ndone\ts\t3\n"
        );
    }

    #[test]
    fn a_write_that_did_not_end_is_remembered() {
        let folder = tempfile::tempdir().unwrap();
        let write = |mbox: &str| Unfinished {
            mbox: mbox.to_owned(),
            offset: 10,
            length: 5,
        };
        let mut state = State::open(folder.path()).unwrap();
        state.announce("s", "1", &write("a.mbox")).unwrap();
        state.announce("t", "1", &write("b.mbox")).unwrap();
        drop(state);
        let mut state = State::open(folder.path()).unwrap();
        assert_eq!(state.unfinished("a.mbox"), Some(&write("a.mbox")));
        assert_eq!(state.unfinished("c.mbox"), None);
        state.note("s", &["1".into()]).unwrap();
        drop(state);
        let mut state = State::open(folder.path()).unwrap();
        assert_eq!(state.unfinished("a.mbox"), None);
        // What one account notes says nothing of another's write.
        assert_eq!(state.unfinished("b.mbox"), Some(&write("b.mbox")));
        state.note_mended("b.mbox").unwrap();
        drop(state);
        assert_eq!(
            State::open(folder.path()).unwrap().unfinished("b.mbox"),
            None
        );
    }

    #[test]
    fn nobody_else_reads_what_was_fetched_from_where() {
        use std::os::unix::fs::PermissionsExt as _;
        let folder = tempfile::tempdir().unwrap();
        State::open(folder.path()).unwrap();
        let facts = std::fs::metadata(folder.path().join(NAME)).unwrap();
        assert_eq!(facts.permissions().mode() & 0o077, 0);
    }

    #[test]
    fn two_runs_do_not_write_at_once_and_foreign_files_are_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        let _first = State::open(folder.path()).unwrap();
        assert!(State::open(folder.path()).is_err());
        let other = tempfile::tempdir().unwrap();
        std::fs::write(other.path().join(NAME), "something else\n").unwrap();
        assert!(State::open(other.path()).is_err());
    }
}
