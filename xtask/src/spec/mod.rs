//! `cargo xtask spec`: every requirement that is said to be met is met in code, and proved in a test.
//!
//! `spec/*.tsv` holds the requirements, one file per area. Code and tests cite them as `[ID]` in a comment. The check fails on
//! - a citation of an id that is in no file;
//! - a row marked `done` that is not cited in code (`crates/*/src`), or not in a test;
//! - a row marked `open`, unless `--allow-open` is given.
//!
//! It writes `docs/conformance.md`.

mod cite;
mod report;
mod table;

use std::path::Path;

use cite::Citations;
use table::{Row, Status};

/// What `cargo xtask spec` was asked for.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Options {
    /// Rows may still be `open`.
    allow_open: bool,
    /// Print which open rows could be marked done, and what is missing for the others.
    suggest: bool,
}

impl Options {
    /// Reads the arguments.
    pub(crate) fn parse(args: &[String]) -> Result<Self, String> {
        let mut options = Self::default();
        for arg in args {
            match arg.as_str() {
                "--allow-open" => options.allow_open = true,
                "--suggest" => options.suggest = true,
                other => return Err(format!("`spec` does not know `{other}`")),
            }
        }
        Ok(options)
    }
}

/// Runs the check and prints what is wrong. True when nothing is.
pub(crate) fn run(root: &Path, options: &Options) -> bool {
    match check(root, options) {
        Ok(problems) => {
            for problem in &problems {
                println!("spec: {problem}");
            }
            problems.is_empty()
        }
        Err(message) => {
            println!("spec: {message}");
            false
        }
    }
}

fn check(root: &Path, options: &Options) -> Result<Vec<String>, String> {
    let rows = table::read(&root.join("spec"))?;
    let citations = cite::scan(root)?;
    if options.suggest {
        suggest(&rows, &citations);
    }
    let target = root.join("docs/conformance.md");
    std::fs::write(&target, report::render(&rows, &citations))
        .map_err(|error| format!("{}: {error}", target.display()))?;
    println!("{}", report::counts(&rows));
    Ok(judge(&rows, &citations, options.allow_open))
}

fn judge(rows: &[Row], citations: &Citations, allow_open: bool) -> Vec<String> {
    let mut problems = citations.unknown(rows);
    for row in rows {
        let cited = citations.of(&row.id);
        let problem = match &row.status {
            Status::Done | Status::Part(_) if cited.code.is_empty() => {
                "is marked done but cited in no code"
            }
            Status::Done | Status::Part(_) if cited.tests.is_empty() => {
                "is marked done but cited in no test"
            }
            Status::Open if !allow_open => "is open",
            _ => continue,
        };
        problems.push(format!("{} {problem}", row.id));
    }
    problems
}

fn suggest(rows: &[Row], citations: &Citations) {
    for row in rows.iter().filter(|row| row.status != Status::Done) {
        let cited = citations.of(&row.id);
        let word = match (cited.code.is_empty(), cited.tests.is_empty()) {
            (false, false) => "cited in code and test, could be done",
            (false, true) => "cited in code only",
            (true, false) => "cited in tests only",
            (true, true) if row.status == Status::Open => "open, cited nowhere",
            (true, true) => continue,
        };
        println!("{:<18} {word}", row.id);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(id: &str, status: Status) -> Row {
        Row {
            area: "smtp".into(),
            id: id.into(),
            who: String::new(),
            level: String::new(),
            source: String::new(),
            text: String::new(),
            status,
        }
    }

    fn cited(code: &[&str], tests: &[&str]) -> Citations {
        let mut citations = Citations::default();
        let text = |ids: &[&str]| {
            ids.iter().fold(String::new(), |text, id| {
                text + "// ["
                    + id
                    + "]
"
            })
        };
        citations.add("crates/wire/src/a.rs", &text(code));
        citations.add("crates/wire/tests/a.rs", &text(tests));
        citations
    }

    #[test]
    fn done_needs_code_and_test() {
        let rows = [row("SMTP-BASE-01", Status::Done)];
        assert!(judge(&rows, &cited(&["SMTP-BASE-01"], &["SMTP-BASE-01"]), false).is_empty());
        assert_eq!(judge(&rows, &cited(&["SMTP-BASE-01"], &[]), false).len(), 1);
        assert_eq!(judge(&rows, &cited(&[], &["SMTP-BASE-01"]), false).len(), 1);
    }

    #[test]
    fn an_unknown_id_is_a_problem() {
        let rows = [row("SMTP-BASE-01", Status::Later("relay".into()))];
        assert_eq!(judge(&rows, &cited(&["SMTP-BASE-10"], &[]), false).len(), 1);
    }

    #[test]
    fn open_rows_are_a_problem_unless_allowed() {
        let rows = [row("SMTP-BASE-01", Status::Open)];
        assert_eq!(judge(&rows, &Citations::default(), false).len(), 1);
        assert!(judge(&rows, &Citations::default(), true).is_empty());
    }

    #[test]
    fn the_committed_tables_are_well_formed() {
        let rows = table::read(&crate::root().join("spec")).unwrap();
        assert!(rows.len() > 300);
    }
}
