//! Configurations of mail servers: what a line really means, and what to write instead.
//!
//! A parser reads text into settings with their places, a judge holds them against the rules and makes findings, and, where there is
//! one right answer, edits. Nothing here opens a file or runs anything: included files come from the caller ([`Files`]), which
//! decides what may be read. What cannot be decided from the text is a finding that says so, never silence.
//!
//! | module | reads |
//! |---|---|
//! | [`postfix`] | main.cf and master.cf together |
//! | [`dovecot`] | dovecot.conf and what it includes, 2.3 and 2.4 |
//! | [`exim`] | the main section, and the parts of the others that are about TLS and logins |
//! | [`courier`] | imapd, imapd-ssl, pop3d, pop3d-ssl, esmtpd |

pub mod courier;
pub mod document;
pub mod dovecot;
pub mod edit;
pub mod exim;
pub mod kind;
pub mod name;
pub mod postfix;
pub mod tls;

pub use document::{Document, Files, NoFiles, Unread};
pub use edit::Edit;
pub use kind::Kind;

use std::collections::HashMap;

use crate::finding::{Finding, Place};
use crate::rules;

/// What a judge says of a configuration.
#[derive(Debug, Default)]
pub struct Outcome {
    /// Every finding, in the order of the files and lines.
    pub findings: Vec<Finding>,
    /// What the findings with one right answer would change.
    pub edits: Vec<Edit>,
    /// Every document that was read.
    pub documents: Vec<Document>,
    /// Certificates and keys that are named, for whoever may look at them.
    pub pairs: Vec<Pair>,
}

/// A certificate and its key, as a configuration names them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pair {
    /// The file with the certificate and its chain.
    pub chain: String,
    /// The file with the key; the same one where both stand in it.
    pub key: String,
    /// The name it must cover, where the configuration says one.
    pub host: Option<String>,
    /// The line that names the certificate.
    pub evidence: String,
    /// Where it stands.
    pub place: Place,
}

/// Judges documents of a kind. `version` is that of the server, such as `3.7`; without one, the newest that is known is meant.
pub fn lint(
    kind: Kind,
    documents: Vec<Document>,
    version: Option<Version>,
    files: &mut dyn Files,
) -> Outcome {
    let mut outcome = match kind {
        Kind::Postfix => postfix::lint(documents, version),
        Kind::Dovecot => dovecot::lint(documents, version, files),
        Kind::Exim => exim::lint(documents, files),
        Kind::Courier => courier::lint(documents),
    };
    outcome.sort();
    outcome
}

impl Outcome {
    /// Puts the findings into the order of the files and lines.
    pub fn sort(&mut self) {
        let order: HashMap<&str, usize> = self
            .documents
            .iter()
            .map(|it| it.name.as_str())
            .zip(0..)
            .collect();
        let key = |it: &Finding| {
            let file = order.get(it.place.file.as_str()).copied();
            (file, it.place.line, it.place.column, it.rule.id)
        };
        self.findings.sort_by_key(key);
    }
}

/// A version, major and minor.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Version(pub u16, pub u16);

impl Version {
    /// Reads `3.7`, `3.7.11` or `3`.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let mut parts = text.trim().split(['.', '-', '+']);
        let major = parts.next()?.parse().ok()?;
        let minor = match parts.next() {
            Some(minor) => minor.parse().ok()?,
            None => 0,
        };
        Some(Self(major, minor))
    }
}

impl std::fmt::Display for Version {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}.{}", self.0, self.1)
    }
}

/// One setting as it stands in a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Setting {
    /// Its name.
    pub name: String,
    /// Its value, continuations joined.
    pub value: String,
    /// The document it stands in.
    pub file: usize,
    /// Line and column of the name, from 1.
    pub line: usize,
    /// Column of the name, in characters from 1.
    pub column: usize,
    /// Column of the value, in characters from 1; that of the name when the value stands on another line.
    pub value_column: usize,
    /// Its last line.
    pub last: usize,
}

impl Setting {
    /// As it is shown.
    #[must_use]
    pub fn shown(&self) -> String {
        format!("{} = {}", self.name, self.value)
            .trim_end()
            .to_owned()
    }
}

/// Collects what a judge finds.
#[derive(Debug)]
pub(crate) struct Report {
    pub(crate) documents: Vec<Document>,
    findings: Vec<Finding>,
    edits: Vec<Edit>,
    pairs: Vec<Pair>,
    /// Where each line of each document begins.
    starts: Vec<Vec<usize>>,
    /// How many unknown names are still compared with the known ones.
    guesses: usize,
}

/// Comparing names is dear; whoever has more wrong ones than this needs another file, not suggestions.
const GUESSES: usize = 200;

impl Report {
    pub(crate) fn new(documents: Vec<Document>) -> Self {
        let starts = documents.iter().map(|it| line_starts(&it.text)).collect();
        Self {
            documents,
            findings: Vec::new(),
            edits: Vec::new(),
            pairs: Vec::new(),
            starts,
            guesses: GUESSES,
        }
    }

    /// The known name nearest to a wrong one.
    pub(crate) fn nearest<'a>(
        &mut self,
        wrong: &str,
        known: impl Iterator<Item = &'a str>,
    ) -> Option<&'a str> {
        self.guesses = self.guesses.checked_sub(1)?;
        name::nearest(wrong, known)
    }

    /// A line of a document, from 1, without its end.
    pub(crate) fn line(&self, file: usize, line: usize) -> Option<&str> {
        let start = *self.starts.get(file)?.get(line.checked_sub(1)?)?;
        self.documents.get(file)?.text.get(start..)?.lines().next()
    }

    /// A finding at a place. A rule that is not in the table is a mistake the tests find.
    pub(crate) fn tell(
        &mut self,
        id: &str,
        evidence: String,
        fix: Option<String>,
        file: usize,
        (line, column): (usize, usize),
    ) {
        let Some(rule) = rules::find(id) else {
            debug_assert!(false, "there is no rule {id}");
            return;
        };
        let file = self.documents.get(file).map_or("-", |it| it.name.as_str());
        let file = file.to_owned();
        self.findings.push(Finding {
            rule,
            evidence,
            fix: fix.or_else(|| rule.fix.map(str::to_owned)),
            place: Place { file, line, column },
        });
    }

    /// A finding about a setting, with what to write instead of it.
    pub(crate) fn about(&mut self, id: &str, setting: &Setting, fix: Option<String>) {
        self.tell(
            id,
            setting.shown(),
            fix,
            setting.file,
            (setting.line, setting.column),
        );
    }

    /// A finding about the value of a setting.
    pub(crate) fn about_value(&mut self, id: &str, setting: &Setting, fix: Option<String>) {
        self.tell(
            id,
            setting.shown(),
            fix,
            setting.file,
            (setting.line, setting.value_column),
        );
    }

    /// The lines of a setting are to be replaced.
    pub(crate) fn replace(&mut self, setting: &Setting, lines: Vec<String>) {
        self.edits.push(Edit {
            file: setting.file,
            first: setting.line,
            last: setting.last,
            lines,
        });
    }

    /// A finding whose right answer replaces the setting's lines.
    pub(crate) fn correct(&mut self, id: &str, setting: &Setting, line: impl Into<String>) {
        let line = line.into();
        let indent = self.indent(setting);
        self.about_value(id, setting, Some(line.clone()));
        self.replace(
            setting,
            line.lines().map(|it| format!("{indent}{it}")).collect(),
        );
    }

    /// Lines are to be put behind a setting.
    pub(crate) fn insert_after(&mut self, setting: &Setting, lines: Vec<String>) {
        self.edits.push(Edit {
            file: setting.file,
            first: setting.last + 1,
            last: setting.last,
            lines,
        });
    }

    /// The white space before a setting.
    pub(crate) fn indent(&self, setting: &Setting) -> String {
        let line = self.line(setting.file, setting.line).unwrap_or_default();
        let inner = line.len() - line.trim_start().len();
        line.get(..inner).unwrap_or_default().to_owned()
    }

    pub(crate) fn done(self) -> Outcome {
        Outcome {
            findings: self.findings,
            edits: edit::settle(self.edits),
            documents: self.documents,
            pairs: self.pairs,
        }
    }

    /// Notes a certificate and its key. What is no absolute path is left out: nobody knows what it is relative to.
    pub(crate) fn pair(&mut self, setting: &Setting, chain: &str, key: &str) {
        let file = self.documents.get(setting.file).map(|it| it.name.clone());
        if !chain.starts_with('/')
            || !key.starts_with('/')
            || chain.contains('$')
            || key.contains('$')
        {
            return;
        }
        self.pairs.push(Pair {
            chain: chain.to_owned(),
            key: key.to_owned(),
            host: None,
            evidence: setting.shown(),
            place: Place {
                file: file.unwrap_or_default(),
                line: setting.line,
                column: setting.value_column,
            },
        });
    }
}

/// Where each line begins.
fn line_starts(text: &str) -> Vec<usize> {
    let ends = text.match_indices('\n').map(|(at, _)| at + 1);
    std::iter::once(0).chain(ends).collect()
}
