//! Finds citations, `[ID]`, in code, tests, dialogue files and the scripts of the interoperability tests.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use super::table::Row;

/// Where one requirement is cited, as paths from the workspace's folder.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Cited {
    pub(super) code: BTreeSet<String>,
    pub(super) tests: BTreeSet<String>,
}

/// Every citation found.
#[derive(Debug, Default)]
pub(super) struct Citations {
    by_id: BTreeMap<String, Cited>,
    /// Where each id was first seen, for messages.
    first: BTreeMap<String, String>,
}

static NOWHERE: Cited = Cited {
    code: BTreeSet::new(),
    tests: BTreeSet::new(),
};

impl Citations {
    /// Where a requirement is cited.
    pub(super) fn of(&self, id: &str) -> &Cited {
        self.by_id.get(id).unwrap_or(&NOWHERE)
    }

    /// Citations of ids that are no requirement.
    pub(super) fn unknown(&self, rows: &[Row]) -> Vec<String> {
        let known: BTreeSet<&str> = rows.iter().map(|row| row.id.as_str()).collect();
        let strange = self
            .first
            .iter()
            .filter(|(id, _)| !known.contains(id.as_str()));
        strange
            .map(|(id, place)| format!("{place}: [{id}] is in no table"))
            .collect()
    }

    /// Adds the citations of one file.
    pub(super) fn add(&mut self, path: &str, text: &str) {
        let mut place = Place::of_file(path);
        let mut lines = text.lines().enumerate().peekable();
        while let Some((index, line)) = lines.next() {
            if line.trim() == "#[cfg(test)]"
                && lines.peek().is_some_and(|(_, next)| opens_module(next))
            {
                place = Place::Test;
            }
            for id in ids(line) {
                self.note(id, place, path, index + 1);
            }
        }
    }

    fn note(&mut self, id: &str, place: Place, path: &str, line: usize) {
        self.first
            .entry(id.to_owned())
            .or_insert_with(|| format!("{path}:{line}"));
        let cited = self.by_id.entry(id.to_owned()).or_default();
        match place {
            Place::Code => cited.code.insert(path.to_owned()),
            Place::Test => cited.tests.insert(path.to_owned()),
            Place::Neither => false,
        };
    }
}

/// What a citation in a file counts for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    Code,
    Test,
    /// Checked for unknown ids, counted for nothing.
    Neither,
}

impl Place {
    fn of_file(path: &str) -> Self {
        let in_tests = path
            .split('/')
            .any(|part| part == "tests" || part.ends_with("tests.rs"));
        if in_tests || extension(path) == Some("talk") || path.starts_with("crates/testkit/") {
            Self::Test
        } else if path.starts_with("crates/") && path.contains("/src/") {
            Self::Code
        } else {
            Self::Neither
        }
    }
}

fn extension(path: &str) -> Option<&str> {
    Path::new(path)
        .extension()
        .and_then(std::ffi::OsStr::to_str)
}

fn opens_module(line: &str) -> bool {
    let line = line.trim();
    line.starts_with("mod ") && line.ends_with('{')
}

/// Looks through the workspace. `xtask` is left out: its own tests cite ids that do not exist.
pub(super) fn scan(root: &Path) -> Result<Citations, String> {
    let mut citations = Citations::default();
    for folder in ["crates", "tests", "fuzz", "bench"] {
        let folder = root.join(folder);
        if folder.is_dir() {
            scan_folder(root, &folder, &mut citations)
                .map_err(|error| format!("{}: {error}", folder.display()))?;
        }
    }
    Ok(citations)
}

fn scan_folder(root: &Path, folder: &Path, citations: &mut Citations) -> std::io::Result<()> {
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            if path.file_name().is_none_or(|name| name != "target") {
                scan_folder(root, &path, citations)?;
            }
        } else if path.extension().is_some_and(|ending| {
            ["rs", "talk", "py", "sh"]
                .iter()
                .any(|known| ending == *known)
        }) {
            let text = String::from_utf8_lossy(&std::fs::read(&path)?).into_owned();
            let name = path
                .strip_prefix(root)
                .unwrap_or(&path)
                .to_string_lossy()
                .into_owned();
            citations.add(&name, &text);
        }
    }
    Ok(())
}

/// Every id in brackets in a line.
fn ids(line: &str) -> impl Iterator<Item = &str> {
    line.split('[')
        .skip(1)
        .filter_map(|rest| rest.split_once(']'))
        .map(|(inside, _)| inside)
        .filter(|inside| is_id(inside))
}

/// Whether a text has the form of an id: upper-case words and digits joined by hyphens, beginning with a letter, ending with
/// a number.
pub(super) fn is_id(text: &str) -> bool {
    let mut parts = text.split('-').collect::<Vec<_>>();
    let number = parts.pop().unwrap_or_default();
    let word = |part: &&str| {
        !part.is_empty()
            && part
                .bytes()
                .all(|byte| byte.is_ascii_uppercase() || byte.is_ascii_digit())
    };
    text.starts_with(|first: char| first.is_ascii_uppercase())
        && !parts.is_empty()
        && parts.iter().all(word)
        && !number.is_empty()
        && number.bytes().all(|byte| byte.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_recognised() {
        for id in [
            "SMTP-BASE-01",
            "TLS-0RTT-01",
            "SMTP-8BIT-01",
            "PQ-01",
            "NAT-NL-01",
        ] {
            assert!(is_id(id), "{id}");
        }
        for other in [
            "SMTP-BASE",
            "smtp-BASE-01",
            "01-02",
            "A--1",
            "-1",
            "SMTP-BASE-01a",
            "",
            "UID 1",
        ] {
            assert!(!is_id(other), "{other}");
        }
    }

    #[test]
    fn several_in_one_line_are_found() {
        let found: Vec<_> =
            ids("// [SMTP-BASE-01] and [IMAP-TLS-05][POP-TLS-05], not [0] nor `[IN-USE]` nor [X-1")
                .collect();
        assert_eq!(found, ["SMTP-BASE-01", "IMAP-TLS-05", "POP-TLS-05"]);
    }

    #[test]
    fn the_test_module_of_a_source_file_counts_as_test() {
        let mut citations = Citations::default();
        citations.add(
            "crates/wire/src/a.rs",
            "// [A-1]\n#[cfg(test)]\nuse x;\n// [A-2]\n#[cfg(test)]\nmod tests {\n// [A-3]\n}\n",
        );
        assert_eq!(
            (
                citations.of("A-1").code.len(),
                citations.of("A-1").tests.len()
            ),
            (1, 0)
        );
        assert_eq!(
            (
                citations.of("A-2").code.len(),
                citations.of("A-2").tests.len()
            ),
            (1, 0)
        );
        assert_eq!(
            (
                citations.of("A-3").code.len(),
                citations.of("A-3").tests.len()
            ),
            (0, 1)
        );
    }

    #[test]
    fn places_follow_the_path() {
        assert_eq!(
            Place::of_file("crates/wire/src/smtp/server.rs"),
            Place::Code
        );
        assert_eq!(Place::of_file("crates/wire/src/smtp/tests.rs"), Place::Test);
        assert_eq!(Place::of_file("crates/wire/tests/talk/a.talk"), Place::Test);
        assert_eq!(Place::of_file("tests/interop/run.py"), Place::Test);
        assert_eq!(Place::of_file("fuzz/src/lib.rs"), Place::Neither);
    }
}
