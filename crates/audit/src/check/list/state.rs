//! How far a list is done, so that a run that was ended goes on where it was.
//!
//! Lines are read in order and done in any order, so it is two numbers and a few more: every line up to `done` is, and some beyond. The file
//! stays small for any list. It also keeps a chain of hashes of the lines read: a list that was changed since is refused, as the numbers
//! would then mean other lines. What was under way when the run ended is done again, so a line may stand twice in the output, never not at all.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use super::summary::Summary;

/// Goes up when a field changes its meaning or goes away.
pub const SCHEMA: &str = "gatepost-check-list-1";

/// How far it is.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Progress {
    /// Always [`SCHEMA`].
    pub schema: String,
    /// How many lines were read.
    pub read: u64,
    /// The hash over them.
    pub hash: String,
    /// All lines up to this one are done; they count from 1.
    pub done: u64,
    /// Lines done beyond.
    pub beyond: BTreeSet<u64>,
    /// What was found so far.
    pub summary: Summary,
}

/// Why a state is of no use.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Unusable {
    /// Not JSON, or not of this shape or schema.
    Unreadable(String),
    /// The list is not the one it was.
    OtherList,
}

impl std::fmt::Display for Unusable {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Unreadable(why) => write!(f, "this is no state of a list: {why}"),
            Self::OtherList => f.write_str("the list was changed since; take another state file"),
        }
    }
}

impl std::error::Error for Unusable {}

impl Progress {
    /// Nothing done yet.
    #[must_use]
    pub fn new() -> Self {
        Self {
            schema: SCHEMA.to_owned(),
            read: 0,
            hash: String::new(),
            done: 0,
            beyond: BTreeSet::new(),
            summary: Summary::default(),
        }
    }

    /// Reads it back.
    pub fn read_back(text: &str) -> Result<Self, Unusable> {
        let this: Self =
            serde_json::from_str(text).map_err(|error| Unusable::Unreadable(error.to_string()))?;
        if this.schema != SCHEMA {
            return Err(Unusable::Unreadable(format!(
                "the schema is {:?}, not {SCHEMA}",
                this.schema
            )));
        }
        // Nothing is done that was not read: such a state would pass over lines nobody looked at.
        if this.done.max(this.beyond.last().copied().unwrap_or(0)) > this.read {
            return Err(Unusable::Unreadable(
                "more lines are done than were read".to_owned(),
            ));
        }
        Ok(this)
    }

    /// The file's text.
    #[must_use]
    pub fn to_json(&self) -> String {
        serde_json::to_string(self).unwrap_or_default()
    }

    /// Whether this line is done.
    #[must_use]
    pub fn has(&self, line: u64) -> bool {
        line <= self.done || self.beyond.contains(&line)
    }

    /// A line is done.
    pub fn finish(&mut self, line: u64) {
        self.beyond.insert(line);
        while self.beyond.remove(&(self.done + 1)) {
            self.done += 1;
        }
    }
}

impl Default for Progress {
    fn default() -> Self {
        Self::new()
    }
}

/// The hash of all lines so far.
#[derive(Debug, Clone, Default)]
pub struct Chain {
    last: [u8; 32],
    count: u64,
}

impl Chain {
    /// The next line.
    pub fn add(&mut self, line: &str) {
        let mut hash = Sha256::new();
        hash.update(self.last);
        hash.update(line.as_bytes());
        self.last = hash.finalize().into();
        self.count += 1;
    }

    /// How many there were.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.count
    }

    /// In hexadecimal digits; a half of it is plenty.
    #[must_use]
    pub fn to_text(&self) -> String {
        let octets = self.last.iter().take(16);
        let digits: Vec<String> = octets.map(|it| format!("{it:02x}")).collect();
        digits.concat()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_done_in_any_order() {
        let mut progress = Progress::new();
        progress.read = 5;
        for line in [3, 1, 5] {
            progress.finish(line);
        }
        assert_eq!((progress.done, progress.beyond.len()), (1, 2));
        assert!(progress.has(3) && !progress.has(2) && !progress.has(4));
        progress.finish(2);
        assert_eq!((progress.done, progress.beyond.len()), (3, 1));
        progress.finish(4);
        assert_eq!((progress.done, progress.beyond.len()), (5, 0));
        assert_eq!(Progress::read_back(&progress.to_json()), Ok(progress));
    }

    #[test]
    fn another_file_is_no_state() {
        assert!(Progress::read_back("{}").is_err() && Progress::read_back("").is_err());
        let other = Progress::new()
            .to_json()
            .replace(SCHEMA, "gatepost-check-list-2");
        assert!(matches!(
            Progress::read_back(&other),
            Err(Unusable::Unreadable(_))
        ));
    }

    #[test]
    fn nothing_is_done_that_was_not_read() {
        let mut progress = Progress::new();
        (progress.read, progress.done) = (7, 7);
        assert!(Progress::read_back(&progress.to_json()).is_ok());
        progress.done = u64::MAX;
        assert!(Progress::read_back(&progress.to_json()).is_err());
        progress.done = 3;
        progress.beyond.insert(9);
        assert!(Progress::read_back(&progress.to_json()).is_err());
    }

    #[test]
    fn the_chain_tells_lists_apart() {
        let chain = |lines: &[&str]| {
            let mut chain = Chain::default();
            for line in lines {
                chain.add(line);
            }
            chain.to_text()
        };
        assert_eq!(chain(&["a", "b"]), chain(&["a", "b"]));
        assert_ne!(chain(&["a", "b"]), chain(&["b", "a"]));
        assert_ne!(chain(&["ab"]), chain(&["a", "b"]));
    }
}
