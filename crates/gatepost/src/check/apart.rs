//! What needs no connection: a rule explained, two documents compared, kept facts judged again, documents written as columns.

use std::fs::File;
use std::io::{self, BufRead, BufReader};
use std::path::{Path, PathBuf};

use clap::builder::PathBufValueParser;
use clap::{Arg, ArgMatches};
use gatepost_audit::check::diff;
use gatepost_audit::check::document::Report;
use gatepost_audit::check::fixes;
use gatepost_audit::check::kept::{Kept, LARGEST};
use gatepost_audit::report::parquet::Columns;
use serde_json::Value;

use super::domains::Domains;
use super::{Order, Sight, judged, output};
use crate::exit::Failure;
use crate::whole;

const HEADING: &str = "Without a connection";

pub(super) fn flags() -> Vec<Arg> {
    let file = |name, help| output::file(name, help).help_heading(HEADING);
    vec![
        Arg::new("explain")
            .long("explain")
            .value_name("ID")
            .help_heading(HEADING)
            .conflicts_with_all(["target", "list", "every", "diff", "reassess"])
            .help("Say what a check means, where that is written, and what to write in each program"),
        Arg::new("diff")
            .long("diff")
            .value_names(["OLD", "NEW"])
            .num_args(2)
            .value_parser(PathBufValueParser::new())
            .help_heading(HEADING)
            .conflicts_with_all(["target", "list", "every", "reassess"])
            .help("Say what changed between two documents of --json; exit code 1 when something is new or worse from --fail-on on"),
        Arg::new("parquet")
            .long("parquet")
            .value_names(["DOCUMENTS", "FILE"])
            .num_args(2)
            .value_parser(PathBufValueParser::new())
            .help_heading(HEADING)
            .conflicts_with_all(["target", "list", "every", "diff", "reassess"])
            .help("Write the documents of --json or --list, one a line (- for standard input), to a file of columns, one row for each check"),
        file("reassess", "Judge the facts in this file again, by --profile").conflicts_with_all(["target", "list", "every"]),
    ]
}

/// Does what was asked for; None when it needs connections.
pub(super) fn run(given: &ArgMatches) -> Option<Result<(), Failure>> {
    if let Some(id) = given.get_one::<String>("explain") {
        return Some(explain(id));
    }
    if let Some(files) = given.get_many::<PathBuf>("diff") {
        return Some(compare(given, &files.collect::<Vec<_>>()));
    }
    if let Some(files) = given.get_many::<PathBuf>("parquet") {
        return Some(columns(&files.collect::<Vec<_>>()));
    }
    given
        .get_one::<PathBuf>("reassess")
        .map(|path| reassess(given, path))
}

fn explain(id: &str) -> Result<(), Failure> {
    let text =
        fixes::explain(id).ok_or_else(|| Failure::usage(format!("there is no check {id}")))?;
    print!("{text}");
    Ok(())
}

/// A line at a time, so that a list of any length can be written.
fn columns(files: &[&PathBuf]) -> Result<(), Failure> {
    let [documents, to] = files else {
        return Err(Failure::usage("--parquet takes two files"));
    };
    let source: Box<dyn BufRead> = if documents.as_os_str() == "-" {
        Box::new(io::stdin().lock())
    } else {
        Box::new(BufReader::new(File::open(documents).map_err(|error| {
            Failure::local(format!("cannot read {}: {error}", documents.display()))
        })?))
    };
    let failed = |why: &dyn std::fmt::Display| Failure::local(format!("{}: {why}", to.display()));
    whole::replace_by(to, |out| {
        let mut columns = Columns::new(out).map_err(|it| failed(&it))?;
        for (number, line) in (1..).zip(source.lines()) {
            let wrong = |why: &dyn std::fmt::Display| {
                Failure::usage(format!("{}, line {number}: {why}", documents.display()))
            };
            let line = line.map_err(|error| wrong(&error))?;
            if line.trim().is_empty() {
                continue;
            }
            let document = serde_json::from_str(&line).map_err(|error| wrong(&error))?;
            columns.push(&document).map_err(|error| wrong(&error))?;
        }
        columns.finish().map_err(|it| failed(&it))?;
        Ok(())
    })
}

fn compare(given: &ArgMatches, files: &[&PathBuf]) -> Result<(), Failure> {
    let [old, new] = files else {
        return Err(Failure::usage("--diff takes two files"));
    };
    let changes = diff::diff(&document(old)?, &document(new)?).map_err(Failure::usage)?;
    if given.get_flag("json") {
        println!("{}", diff::as_json(&changes));
    } else {
        print!("{}", diff::text(&changes));
    }
    let fail_on = Order::read(given)?.fail_on;
    if diff::is_worse(&changes, fail_on) {
        return Err(Failure::finding(format!(
            "new or worse at or above {}",
            fail_on.word()
        )));
    }
    Ok(())
}

fn document(path: &Path) -> Result<Value, Failure> {
    let text = read(path)?;
    serde_json::from_str(&text)
        .map_err(|error| Failure::usage(format!("{}: {error}", path.display())))
}

/// A file, if it is not too large to be one of ours.
pub(super) fn read(path: &Path) -> Result<String, Failure> {
    use std::io::Read as _;
    let cannot =
        |error: std::io::Error| Failure::local(format!("cannot read {}: {error}", path.display()));
    let mut text = String::new();
    let file = std::fs::File::open(path).map_err(cannot)?;
    file.take(LARGEST)
        .read_to_string(&mut text)
        .map_err(cannot)?;
    Ok(text)
}

fn reassess(given: &ArgMatches, path: &Path) -> Result<(), Failure> {
    let order = Order::read(given)?;
    let kept = Kept::read(&read(path)?)
        .map_err(|why| Failure::usage(format!("{}: {why}", path.display())))?;
    let report = Report {
        profile: order.profile.name.to_owned(),
        tier: kept.tier,
        at: kept.at,
        domains: Domains::judge_kept(&kept.domains, &kept.services, kept.at),
        targets: judged(&kept.services, &order.profile),
    };
    let seen = Sight {
        report,
        facts: kept.services,
        domains: kept.domains,
    };
    output::tell(given, given.get_flag("json"), order.fail_on, &seen)?;
    super::end(given, &seen.report, order.fail_on)
}
