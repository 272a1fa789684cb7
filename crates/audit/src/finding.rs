//! The words of a judgement. They are said once, so that a linter of files and a check of live servers cannot drift apart.

use crate::rules::Rule;

/// How bad it is, from a remark to a hole.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// Worth knowing, nothing to do.
    Info,
    /// Untidy.
    Low,
    /// Does not do what its writer believes.
    Medium,
    /// Protection is missing.
    High,
    /// Passwords or mail go out in clear.
    Critical,
}

impl Severity {
    /// The word in reports and flags.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Info => "info",
            Self::Low => "low",
            Self::Medium => "medium",
            Self::High => "high",
            Self::Critical => "critical",
        }
    }

    /// Reads the word back.
    #[must_use]
    pub fn parse(word: &str) -> Option<Self> {
        [
            Self::Info,
            Self::Low,
            Self::Medium,
            Self::High,
            Self::Critical,
        ]
        .into_iter()
        .find(|severity| severity.word() == word)
    }
}

/// How one question about a target ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Status {
    /// As it should be.
    Pass,
    /// Works, should be better.
    Warn,
    /// Not as it must be.
    Fail,
    /// Told, not judged.
    Info,
    /// Could not be told; never counted as a pass.
    Inconclusive,
    /// The question does not arise here.
    NotApplicable,
}

impl Status {
    /// The word in reports.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Pass => "pass",
            Self::Warn => "warn",
            Self::Fail => "fail",
            Self::Info => "info",
            Self::Inconclusive => "inconclusive",
            Self::NotApplicable => "not applicable",
        }
    }
}

/// Where it stands: lines and columns count from 1.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// The file as the user named it.
    pub file: String,
    /// Line.
    pub line: usize,
    /// Column, in characters.
    pub column: usize,
}

/// One rule that has something to say about one place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// What was broken: id, severity, text, source.
    pub rule: &'static Rule,
    /// What was read.
    pub evidence: String,
    /// What to write instead; none when it is right as it stands.
    pub fix: Option<String>,
    /// Where.
    pub place: Place,
}
