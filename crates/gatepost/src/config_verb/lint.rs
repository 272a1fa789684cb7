//! `gatepost config lint`: what the lines of a server's configuration really mean, and with `--fix` the corrected files beside the old.

use std::collections::HashMap;
use std::fs::OpenOptions;
use std::io::Write;
use std::path::{Path, PathBuf};

use clap::{Arg, ArgAction, ArgMatches, Command};
use gatepost_audit::config::{self, Document, Kind, NoFiles, Outcome, Version};
use gatepost_audit::finding::{Finding, Severity};
use gatepost_audit::report;
use serde_json::json;

use super::files::{self, OnDisk};
use super::{certificates, own};
use crate::exit::Failure;

/// The verb on the command line.
pub(crate) fn command() -> Command {
    Command::new("lint")
        .about("Say what the lines of a server's configuration really mean, and what to write instead")
        .long_about(
            "Say what the lines of a server's configuration really mean, why it matters, and what to write instead.\n\n\
             Reads Postfix (main.cf and master.cf), Dovecot 2.3 and 2.4, Exim, Courier and Gatepost's own. Included files are read too. \
             Nothing in them is ever run; what depends on something that is not known here is said to be undecided.",
        )
        .after_help(
            "Examples:\n  gatepost config lint /etc/postfix\n  gatepost config lint dovecot /etc/dovecot/dovecot.conf --version 2.4\n  \
             gatepost config lint main.cf --fix                 writes main.cf.fixed\n  \
             postconf -n | gatepost config lint postfix -\n  gatepost config lint /etc/postfix --sarif > lint.sarif\n\n\
             Exit codes: 0 nothing at or above --fail-on, 1 findings, 2 wrong usage, 3 could not read or tell.",
        )
        .arg(
            Arg::new("what")
                .value_names(["KIND", "FILE"])
                .num_args(1..=2)
                .required(true)
                .help("[postfix|dovecot|exim|courier|gatepost] and a file, a directory, or - for standard input"),
        )
        .arg(
            Arg::new("version")
                .long("version")
                .value_name("V")
                .help("The server's version, such as 3.7: names are judged by what that one knows"),
        )
        .arg(switch("fix", "Write corrected files beside the old ones, FILE.fixed; comments and order stay"))
        .arg(switch("json", "Print JSON"))
        .arg(switch("sarif", "Print SARIF 2.1.0, for editors and review tools").conflicts_with("json"))
        .arg(
            Arg::new("fail-on")
                .long("fail-on")
                .value_name("SEVERITY")
                .value_parser(["info", "low", "medium", "high", "critical"])
                .default_value("high")
                .help("End with 1 from this severity on"),
        )
}

fn switch(name: &'static str, help: &'static str) -> Arg {
    Arg::new(name)
        .long(name)
        .action(ArgAction::SetTrue)
        .help(help)
}

pub(crate) fn run(given: &ArgMatches) -> Result<(), Failure> {
    let words: Vec<&String> = given.get_many("what").into_iter().flatten().collect();
    let (kind, file) = match words.as_slice() {
        [file] => (None, file.as_str()),
        [kind, file] => (Some(kind.as_str()), file.as_str()),
        _ => return Err(Failure::usage("config lint takes [KIND] FILE")),
    };
    let version = given.get_one::<String>("version").map(|text| {
        Version::parse(text)
            .ok_or_else(|| Failure::usage(format!("--version {text}: give a version such as 3.7")))
    });
    let outcome = judge(kind, file, version.transpose()?)?;
    let fixed = if given.get_flag("fix") {
        write_fixes(file, &outcome)?
    } else {
        Vec::new()
    };
    print(given, file, &outcome, &fixed);
    let fail_on = given
        .get_one::<String>("fail-on")
        .and_then(|word| Severity::parse(word))
        .unwrap_or(Severity::High);
    if report::exit_code(&outcome.findings, fail_on) == 0 {
        Ok(())
    } else {
        Err(Failure::finding(format!(
            "{file}: findings at or above {}",
            fail_on.word()
        )))
    }
}

/// Reads and judges.
pub(crate) fn judge(
    kind: Option<&str>,
    file: &str,
    version: Option<Version>,
) -> Result<Outcome, Failure> {
    if let Some(word) = kind
        && word != "gatepost"
        && Kind::parse(word).is_none()
    {
        return Err(Failure::usage(format!(
            "config lint reads postfix, dovecot, exim, courier and gatepost, not {word}"
        )));
    }
    let documents = documents(kind, file)?;
    let of_gatepost = match kind {
        Some(word) => word == "gatepost",
        None => documents.first().is_some_and(own::looks_like),
    };
    if of_gatepost {
        let mut outcome = own::lint(documents);
        if file != "-" {
            certificates::judge(&mut outcome);
        }
        return Ok(outcome);
    }
    let kind = kind
        .and_then(Kind::parse)
        .or_else(|| documents.first().and_then(Kind::of));
    let kind = kind.ok_or_else(|| {
        Failure::local(format!(
            "cannot tell whose configuration {file} is; say so, for example: gatepost config lint postfix {file}"
        ))
    })?;
    if file == "-" {
        return Ok(config::lint(kind, documents, version, &mut NoFiles));
    }
    let mut outcome = config::lint(kind, documents, version, &mut OnDisk::default());
    certificates::judge(&mut outcome);
    Ok(outcome)
}

/// The well-known files of each server, those it begins with.
const KNOWN: [(&str, &[&str]); 5] = [
    ("postfix", &["main.cf", "master.cf"]),
    ("dovecot", &["dovecot.conf"]),
    (
        "exim",
        &[
            "exim4.conf",
            "exim.conf",
            "exim4.conf.template",
            "configure",
        ],
    ),
    (
        "courier",
        &[
            "imapd",
            "imapd-ssl",
            "pop3d",
            "pop3d-ssl",
            "esmtpd",
            "esmtpd-ssl",
        ],
    ),
    ("gatepost", &["gatepost.toml"]),
];

/// What the words name: standard input, a file, or the well-known files of a directory.
fn documents(kind: Option<&str>, name: &str) -> Result<Vec<Document>, Failure> {
    if name == "-" {
        return Ok(vec![Document::new("-", files::standard_input()?)]);
    }
    let path = Path::new(name);
    if !path.is_dir() {
        return Ok(vec![files::document(path)?]);
    }
    for (word, names) in KNOWN {
        if kind.is_some_and(|kind| kind != word) {
            continue;
        }
        let mut there: Vec<PathBuf> = names
            .iter()
            .map(|name| path.join(name))
            .filter(|path| path.exists())
            .collect();
        if word == "exim" {
            there.truncate(1);
        }
        if !there.is_empty() {
            return there.iter().map(|path| files::document(path)).collect();
        }
    }
    Err(Failure::local(format!(
        "{name} holds no main.cf, dovecot.conf, exim4.conf, imapd-ssl or gatepost.toml"
    )))
}

/// Writes what was corrected; returns the names of the new files.
fn write_fixes(file: &str, outcome: &Outcome) -> Result<Vec<String>, Failure> {
    if file == "-" {
        // The text goes where it came from: into the pipe. The findings go to standard error.
        let text = outcome
            .documents
            .first()
            .map(|it| config::edit::apply(&it.text, &outcome.edits, 0));
        print!("{}", text.unwrap_or_default());
        return Ok(Vec::new());
    }
    let mut written = Vec::new();
    for (index, document) in outcome.documents.iter().enumerate() {
        if !outcome.edits.iter().any(|edit| edit.file == index) {
            continue;
        }
        let name = format!("{}.fixed", document.name);
        let text = config::edit::apply(&document.text, &outcome.edits, index);
        let made = OpenOptions::new().write(true).create_new(true).open(&name);
        made.and_then(|mut file| file.write_all(text.as_bytes()))
            .map_err(|error| Failure::local(format!("cannot write {name}: {error}")))?;
        written.push(name);
    }
    Ok(written)
}

fn print(given: &ArgMatches, file: &str, outcome: &Outcome, fixed: &[String]) {
    let findings = &outcome.findings;
    if given.get_flag("sarif") {
        println!(
            "{:#}",
            report::sarif::sarif(findings, env!("CARGO_PKG_VERSION"))
        );
    } else if given.get_flag("json") {
        let mut told = report::json(findings);
        told["fixed"] = json!(fixed);
        println!("{told:#}");
    } else {
        let text = told(findings, outcome);
        if file == "-" && given.get_flag("fix") {
            eprint!("{text}");
        } else {
            print!("{text}");
        }
        for name in fixed {
            println!("wrote {name}");
        }
    }
}

fn told(findings: &[Finding], outcome: &Outcome) -> String {
    let documents: HashMap<&str, Vec<&str>> = outcome
        .documents
        .iter()
        .map(|it| (it.name.as_str(), it.text.lines().collect()))
        .collect();
    report::text_with(findings, &|name, line| {
        documents.get(name)?.get(line.checked_sub(1)?).copied()
    })
}
