//! What is told, and where: standard output, and a file for each kind of reader.

use std::io::IsTerminal as _;
use std::path::PathBuf;

use clap::builder::PathBufValueParser;
use clap::{Arg, ArgAction, ArgMatches};
use gatepost_audit::check::document::Report;
use gatepost_audit::check::kept::Kept;
use gatepost_audit::check::life::Life;
use gatepost_audit::check::score;
use gatepost_audit::finding::{Severity, Status};
use gatepost_audit::report::terminal::Style;
use gatepost_audit::report::{csv, html, junit, prometheus, sarif, terminal};

use super::Sight;
use crate::exit::Failure;
use crate::whole;

/// What is said on the command line where nothing is to be looked at by name.
pub(super) const WITHOUT_TARGET: &[&str] = &[
    "explain",
    "diff",
    "reassess",
    "list",
    "parquet",
    #[cfg(feature = "postgres")]
    "share",
];

const HEADING: &str = "Reports";

/// The flags that name a file.
const FILES: [&str; 6] = ["html", "csv", "junit", "sarif", "prometheus", "facts"];

/// The flags of reports.
pub(super) fn flags() -> Vec<Arg> {
    vec![
        file("html", "Write a page for people: one file, printable, without scripts"),
        file("csv", "Write a table, one row for each check"),
        file("junit", "Write JUnit's XML, for build servers: findings from --fail-on on are failures"),
        file("sarif", "Write SARIF, for tools that collect findings"),
        file("prometheus", "Write metrics, for a collector that reads files"),
        file("facts", "Keep what was seen, to be judged again with --reassess"),
        Arg::new("nagios")
            .long("nagios")
            .action(ArgAction::SetTrue)
            .help_heading(HEADING)
            .conflicts_with_all(["json", "list", "every", "explain", "diff"])
            .help("Print one line and end as monitoring plug-ins do: 0 good, 1 findings below --fail-on, 2 from there on, 3 could not tell"),
    ]
}

/// A flag that takes a file.
pub(super) fn file(name: &'static str, help: &'static str) -> Arg {
    Arg::new(name)
        .long(name)
        .value_name("FILE")
        .value_parser(PathBufValueParser::new())
        .help_heading(HEADING)
        .help(help)
}

/// Makes sure that the files asked for can be written, before anybody is looked at in vain.
pub(super) fn try_files(given: &ArgMatches) -> Result<(), Failure> {
    let paths = FILES
        .iter()
        .filter_map(|name| given.get_one::<PathBuf>(name));
    paths.map(PathBuf::as_path).try_for_each(whole::try_place)
}

/// Tells what was seen.
pub(super) fn tell(
    given: &ArgMatches,
    as_json: bool,
    fail_on: Severity,
    seen: &Sight,
) -> Result<(), Failure> {
    let Sight {
        report,
        facts,
        domains,
    } = seen;
    if as_json {
        println!("{}", report.as_json(fail_on));
    } else if !given.get_flag("nagios") {
        print!("{}", terminal::text(report, facts, style()));
    }
    let version = env!("CARGO_PKG_VERSION");
    write(given, "html", || html::html(report, facts))?;
    write(given, "csv", || csv::csv(report))?;
    write(given, "junit", || junit::junit(report, fail_on))?;
    write(given, "sarif", || {
        format!("{:#}\n", sarif::sarif_of_checks(report, version))
    })?;
    write(given, "prometheus", || {
        let lives: Vec<Life> = facts.iter().filter_map(Life::of).collect();
        prometheus::metrics(report, &lives)
    })?;
    write(given, "facts", || {
        Kept::new(&report.tier, report.at, facts.clone())
            .with(domains.clone())
            .to_json()
    })
}

/// Writes a file if it was asked for.
pub(super) fn write(
    given: &ArgMatches,
    name: &str,
    text: impl FnOnce() -> String,
) -> Result<(), Failure> {
    match given.get_one::<PathBuf>(name) {
        Some(path) => whole::replace(path, text().as_bytes()),
        None => Ok(()),
    }
}

/// How the terminal wants it.
fn style() -> Style {
    let out = std::io::stdout();
    if !out.is_terminal() {
        return Style::default();
    }
    let width = rustix::termios::tcgetwinsize(&out).map_or(0, |it| usize::from(it.ws_col));
    Style {
        colours: std::env::var_os("NO_COLOR").is_none_or(|it| it.is_empty()),
        width: if width == 0 {
            Style::default().width
        } else {
            width.min(160)
        },
    }
}

/// One line, and the exit code of a monitoring plug-in.
pub(super) fn nagios(report: &Report, fail_on: Severity) -> Result<(), Failure> {
    let (code, word) = match (report.exit_code(fail_on), score::worst(report)) {
        (1, _) => (2, "CRITICAL"),
        (3, _) => (3, "UNKNOWN"),
        (_, Some(worst)) if worst > Severity::Info => (1, "WARNING"),
        _ => (0, "OK"),
    };
    println!("{}", nagios_line(report, word));
    if code == 0 {
        Ok(())
    } else {
        Err(Failure::silent(code))
    }
}

/// The line of a look that could not be taken.
pub(super) fn nagios_failure(failure: &Failure) -> Failure {
    let text = failure.to_string().replace('|', "/");
    let first = text.lines().next().unwrap_or_default();
    println!("CHECK UNKNOWN - {first}");
    Failure::silent(3)
}

fn nagios_line(report: &Report, word: &str) -> String {
    let mut found: Vec<_> = report.checks().filter(|(_, it)| it.is_finding()).collect();
    found.sort_by_key(|(_, it)| std::cmp::Reverse(it.severity));
    let open = report
        .checks()
        .filter(|(_, it)| it.status == Status::Inconclusive)
        .count();
    let first = found.first().map_or_else(
        || "nothing wrong was found".to_owned(),
        |(subject, it)| format!("{} {} at {subject}", it.rule.id, it.severity.word()),
    );
    let connections: u32 = report.targets.iter().map(|it| it.connections).sum();
    // A bar begins the numbers: none may stand in the words.
    let words = gatepost_audit::shown::shown(&first).replace('|', "/");
    format!(
        "CHECK {word} - {words}; {} findings, {open} not told | findings={};;;0 unanswered={open};;;0 connections={connections};;;0",
        found.len(),
        found.len()
    )
}
