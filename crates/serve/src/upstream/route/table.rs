//! A file that says where users go. Read again when it has changed; a file that has become wrong leaves the last good one in force,
//! and the operator is told: once when it is wrong, and once when it is well again.
//!
//! ```text
//! # user, @domain, sni:NAME or *     group, or host:port of an upstream
//! anna@example.org                   new
//! @example.net                       old
//! sni:mail.example.com               com
//! *                                  old
//! ```
//!
//! The most particular line counts: the user, then the domain, then the name the client asked for in its hello, then `*`. Without
//! a line for it a session goes nowhere.

use std::collections::HashMap;
use std::fs;
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use crate::log::Log;

/// How often the file is looked at.
const PAUSE: Duration = Duration::from_secs(1);
/// The most octets of a file.
const MOST: u64 = 64 * 1024 * 1024;

/// The file, and what it said last.
#[derive(Debug)]
pub(in crate::upstream) struct Table {
    path: PathBuf,
    log: Log,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    looked: Instant,
    /// What is wrong with the file now; the lines are those it had before.
    wrong: Option<String>,
    stamp: Stamp,
    lines: HashMap<Box<str>, Box<str>>,
}

/// What changes when the file does.
type Stamp = Option<(SystemTime, u64)>;

impl Table {
    /// # Errors
    /// The file cannot be read, or a line of it.
    pub(super) fn open(path: PathBuf, log: Log) -> Result<Self, String> {
        let stamp = stamp(&path);
        let lines = read(&path)?;
        let state = State {
            looked: Instant::now(),
            wrong: None,
            stamp,
            lines,
        };
        Ok(Self {
            path,
            log,
            state: Mutex::new(state),
        })
    }

    /// Where a session goes.
    pub(super) fn find(&self, user: Option<&str>, server_name: Option<&str>) -> Option<Box<str>> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if state.looked.elapsed() >= PAUSE {
            state.look(&self.path, &self.log);
        }
        let domain = user.and_then(|it| it.rsplit_once('@'));
        let keys = [
            user.map(str::to_owned),
            domain.map(|(_, domain)| format!("@{domain}")),
            server_name.map(|it| format!("sni:{}", it.to_lowercase())),
            Some("*".to_owned()),
        ];
        let found = keys
            .into_iter()
            .flatten()
            .find_map(|key| state.lines.get(key.as_str()));
        found.cloned()
    }
}

impl State {
    fn look(&mut self, path: &std::path::Path, log: &Log) {
        self.looked = Instant::now();
        let stamp = stamp(path);
        if stamp == self.stamp && self.wrong.is_none() {
            return;
        }
        // Half a file, or none, while it is written: looked at again.
        match read(path) {
            Ok(lines) => {
                self.lines = lines;
                self.stamp = stamp;
                if self.wrong.take().is_some() {
                    let text = format!("gate.route: {} is well again", path.display());
                    log.notice("route_table_read", &text);
                }
            }
            Err(error) => {
                if self.wrong.as_ref() != Some(&error) {
                    let text = format!("{error}; what it said before stays in force");
                    log.notice("route_table_unreadable", &text);
                    self.wrong = Some(error);
                }
            }
        }
    }
}

fn stamp(path: &std::path::Path) -> Stamp {
    let known = fs::metadata(path).ok()?;
    Some((known.modified().ok()?, known.len()))
}

fn read(path: &std::path::Path) -> Result<HashMap<Box<str>, Box<str>>, String> {
    let cannot = |error: &dyn std::fmt::Display| {
        format!("gate.route: cannot read {}: {error}", path.display())
    };
    if fs::metadata(path).is_ok_and(|it| it.len() > MOST) {
        return Err(cannot(&"it is larger than 64 MiB"));
    }
    let text = fs::read_to_string(path).map_err(|error| cannot(&error))?;
    let mut lines = HashMap::new();
    for (number, line) in (1..).zip(text.lines()) {
        let line = line.split('#').next().unwrap_or("").trim();
        if line.is_empty() {
            continue;
        }
        let mut words = line.split_whitespace();
        let (Some(key), Some(name), None) = (words.next(), words.next(), words.next()) else {
            let text = format!(
                "line {number}: write a user, @domain, sni:NAME or *, and then a group or host:port"
            );
            return Err(cannot(&text));
        };
        if lines
            .insert(key.to_lowercase().into(), name.into())
            .is_some()
        {
            return Err(cannot(&format!("line {number}: {key} stands twice")));
        }
    }
    Ok(lines)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::LogFormat;

    fn quiet() -> Log {
        Log::to(LogFormat::Json, std::io::sink())
    }

    fn table(text: &str) -> (tempfile::TempDir, Table) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("routes");
        fs::write(&path, text).unwrap();
        let table = Table::open(path, quiet()).unwrap();
        (folder, table)
    }

    fn find<'a>(
        table: &Table,
        user: impl Into<Option<&'a str>>,
        name: Option<&str>,
    ) -> Option<String> {
        table.find(user.into(), name).map(Into::into)
    }

    #[test]
    fn the_most_particular_line_counts() {
        let (_folder, table) = table(
            "# where\nAnna@Example.org new\n@example.org old # all others\nsni:mail.example.com com\n",
        );
        assert_eq!(
            find(&table, "anna@example.org", None).as_deref(),
            Some("new")
        );
        assert_eq!(
            find(&table, "ben@example.org", Some("mail.example.com")).as_deref(),
            Some("old")
        );
        assert_eq!(
            find(&table, "ben@example.net", Some("MAIL.example.com")).as_deref(),
            Some("com")
        );
        assert_eq!(
            find(&table, None, Some("mail.example.com")).as_deref(),
            Some("com")
        );
        assert_eq!(find(&table, "ben@example.net", None), None);
    }

    #[test]
    fn a_changed_file_is_read_again_and_a_wrong_one_is_not_taken() {
        let (folder, table) = table("* old\n");
        let path = folder.path().join("routes");
        let again = |text: &str| {
            fs::write(&path, text).unwrap();
            let mut state = table.state.lock().unwrap();
            state.look(&path, &quiet());
        };
        again("* newer\n");
        assert_eq!(find(&table, "a", None).as_deref(), Some("newer"));
        again("* two words too many\n");
        assert_eq!(find(&table, "a", None).as_deref(), Some("newer"));
        fs::remove_file(&path).unwrap();
        table.state.lock().unwrap().look(&path, &quiet());
        assert_eq!(find(&table, "a", None).as_deref(), Some("newer"));
    }

    #[test]
    fn what_is_wrong_is_told_with_its_line() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("routes");
        assert!(
            Table::open(path.clone(), quiet())
                .unwrap_err()
                .contains("cannot read")
        );
        fs::write(&path, "a b\na c\n").unwrap();
        assert!(
            Table::open(path.clone(), quiet())
                .unwrap_err()
                .contains("line 2")
        );
        fs::write(&path, "a\n").unwrap();
        assert!(Table::open(path, quiet()).unwrap_err().contains("line 1"));
    }

    #[derive(Clone, Default)]
    struct Heard(std::sync::Arc<Mutex<Vec<u8>>>);

    impl std::io::Write for Heard {
        fn write(&mut self, octets: &[u8]) -> std::io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(octets);
            Ok(octets.len())
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_table_that_cannot_be_read_is_told_once_and_so_is_its_return() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("routes");
        fs::write(&path, "* old\n").unwrap();
        let heard = Heard::default();
        let log = Log::to(LogFormat::Json, heard.clone());
        let table = Table::open(path.clone(), log.clone()).unwrap();
        let look = || table.state.lock().unwrap().look(&path, &log);
        let count = |word: &str| {
            log.flush();
            let text = String::from_utf8(heard.0.lock().unwrap().clone()).unwrap();
            text.matches(word).count()
        };
        fs::rename(&path, folder.path().join("away")).unwrap();
        for _ in 0..3 {
            look();
        }
        assert_eq!(count("route_table_unreadable"), 1);
        assert_eq!(find(&table, "a", None).as_deref(), Some("old"));
        // Put back as it was: that is news too.
        fs::rename(folder.path().join("away"), &path).unwrap();
        for _ in 0..3 {
            look();
        }
        assert_eq!(count("route_table_read"), 1);
    }

    #[test]
    fn a_table_is_64_mib_at_the_most() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("routes");
        let file = fs::File::create(&path).unwrap();
        // Nothing but a hole: it is the length that is judged, before anything is read.
        file.set_len(MOST + 1).unwrap();
        let error = Table::open(path.clone(), quiet()).unwrap_err();
        assert!(error.contains("64 MiB"), "{error}");
        // As long as that is allowed, it is read.
        file.set_len(0).unwrap();
        fs::write(&path, "* a\n").unwrap();
        assert!(Table::open(path, quiet()).is_ok());
    }
}
