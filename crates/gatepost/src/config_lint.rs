//! `gatepost config lint`: what the lines of another server's configuration really mean. The file is read, never run, and
//! what is too big, not text or of no known kind is refused with a word.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use clap::ArgMatches;
use gatepost_audit::finding::Severity;
use gatepost_audit::{postfix, report};

use crate::exit::Failure;

/// Far above any configuration, far below what would hurt.
const LARGEST: u64 = 4 * 1024 * 1024;

pub(crate) fn run(given: &ArgMatches) -> Result<(), Failure> {
    let words: Vec<&String> = given.get_many("what").into_iter().flatten().collect();
    let (kind, file) = match words.as_slice() {
        [file] => (None, file.as_str()),
        [kind, file] => (Some(kind.as_str()), file.as_str()),
        _ => return Err(Failure::usage("config lint takes [KIND] FILE")),
    };
    if kind.is_some_and(|kind| kind != "postfix") {
        return Err(Failure::usage(
            "the only KIND that config lint reads is postfix",
        ));
    }
    let fail_on = given
        .get_one::<String>("fail-on")
        .and_then(|word| Severity::parse(word))
        .unwrap_or(Severity::High);
    let text = read(file)?;
    if kind.is_none() && !postfix::looks_like(&text) {
        return Err(Failure::local(format!(
            "cannot tell what {file} is; if it is a main.cf, say so: gatepost config lint postfix {file}"
        )));
    }
    let findings = postfix::lint(file, &text);
    if given.get_flag("json") {
        println!("{:#}", report::json(&findings));
    } else {
        print!("{}", report::text(&findings));
    }
    if report::exit_code(&findings, fail_on) == 0 {
        Ok(())
    } else {
        Err(Failure::finding(format!(
            "{file}: findings at or above {}",
            fail_on.word()
        )))
    }
}

/// The text of a file, of `main.cf` in a directory, or of standard input.
fn read(name: &str) -> Result<String, Failure> {
    let cannot = |error: io::Error| Failure::local(format!("cannot read {name}: {error}"));
    let mut octets = Vec::new();
    if name == "-" {
        io::stdin().take(LARGEST + 1).read_to_end(&mut octets)
    } else {
        let path = Path::new(name);
        let path = if path.is_dir() {
            path.join("main.cf")
        } else {
            path.to_owned()
        };
        File::open(path)
            .map_err(cannot)?
            .take(LARGEST + 1)
            .read_to_end(&mut octets)
    }
    .map_err(cannot)?;
    if octets.len() as u64 > LARGEST {
        return Err(Failure::local(format!(
            "{name} is larger than {LARGEST} octets: not a configuration"
        )));
    }
    match String::from_utf8(octets) {
        Ok(text) if !text.contains('\0') => Ok(text),
        _ => Err(Failure::local(format!("{name} is not text in UTF-8"))),
    }
}
