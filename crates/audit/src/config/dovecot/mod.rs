//! Dovecot 2.3 and 2.4. The version is taken from `dovecot_config_version`, which 2.4 demands; without it a text is of 2.3, unless the
//! caller knows better.
//!
//! [CFG-DC-01] TLS is required before a login, and the names are those of the version.

mod judge;
pub mod parse;
pub mod table;

use super::{Document, Files, Outcome, Report, Version};

/// Judges a configuration and what it includes.
pub fn lint(
    mut documents: Vec<Document>,
    version: Option<Version>,
    files: &mut dyn Files,
) -> Outcome {
    let tree = parse::parse(&mut documents, files);
    let mut report = Report::new(documents);
    for it in &tree.misread {
        report.tell(
            it.rule,
            it.text.clone(),
            None,
            it.file,
            (it.line, it.column),
        );
    }
    judge::judge(&tree, version, &mut report);
    report.done()
}
