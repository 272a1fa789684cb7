//! Exim: what of TLS and logins can be told without expanding. A string with `$` is expanded by Exim for each connection; a few forms
//! that everybody writes are known here, the rest could not be told.
//!
//! [CFG-EX-01] STARTTLS for all, implicit TLS on 465, AUTH announced inside TLS only.

mod judge;
pub mod parse;
pub mod table;

use super::{Document, Files, Outcome, Report};

/// Judges a configuration and what it includes.
pub fn lint(mut documents: Vec<Document>, files: &mut dyn Files) -> Outcome {
    let tree = parse::parse(&mut documents, files);
    let mut report = Report::new(documents);
    for it in &tree.misread {
        report.tell(it.rule, it.text.clone(), None, it.file, (it.line, 1));
    }
    judge::judge(&tree, &mut report);
    report.done()
}
