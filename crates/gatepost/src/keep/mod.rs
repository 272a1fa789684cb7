//! The verbs that keep mail over the years: `backup`, `restore`, and `mailbox` with `import`, `export` and `check`. All work on the
//! data folder, beside a running server or without one (a repair only without).

mod cli;
mod export;
mod import;
mod letter;
mod mbox;
mod names;
mod remote;
mod source;
mod target;

use std::path::{Path, PathBuf};

use clap::ArgMatches;
use gatepost_store::{Copies, Error, Finding, Report, backup, check, is_store, restore};
use serde_json::json;

pub(crate) use cli::commands;

use crate::client::progress::Progress;
use crate::exit::Failure;

/// Whether a verb is one of these.
pub(crate) fn has(verb: &str) -> bool {
    matches!(verb, "backup" | "restore" | "mailbox")
}

/// Runs one of them.
pub(crate) fn run(verb: &str, given: &ArgMatches) -> Result<(), Failure> {
    match verb {
        "backup" => run_backup(given),
        "restore" => run_restore(given),
        _ => match given.subcommand() {
            Some(("check", own)) => run_check(own),
            Some(("import", own)) => import::run(own),
            Some(("export", own)) => export::run(own),
            _ => Err(Failure::usage("no such verb; see gatepost mailbox --help")),
        },
    }
}

fn path(given: &ArgMatches, name: &str) -> PathBuf {
    given.get_one::<PathBuf>(name).cloned().unwrap_or_default()
}

/// The data folder, which must hold a store.
fn data(given: &ArgMatches) -> Result<PathBuf, Failure> {
    let folder = path(given, "data");
    if is_store(&folder) {
        return Ok(folder);
    }
    if let Err(error) = std::fs::read_dir(&folder)
        && error.kind() == std::io::ErrorKind::PermissionDenied
    {
        return Err(Failure::local(format!(
            "cannot look into {}: {error}; run this as the user the server runs as",
            folder.display()
        )));
    }
    Err(Failure::usage(format!(
        "there is no mail store in {}; give the server's data folder with --data DIR",
        folder.display()
    )))
}

/// What the store refused, in the words of these verbs.
fn refused(folder: &Path, error: Error) -> Failure {
    let place = folder.display();
    match error {
        Error::Damaged => Failure::finding(format!(
            "{place}: the database cannot be read any more; put back a backup with: gatepost restore DIR --data NEW"
        )),
        Error::Newer => Failure::usage(format!(
            "{place} was written by a newer gatepost; use that one"
        )),
        Error::Locked => Failure::local(format!("{place} is in use; stop the server first")),
        other => Failure::local(format!("{place}: {other}")),
    }
}

fn copying(what: &'static str) -> impl FnMut(u64, u64) {
    let mut progress = None;
    move |octets, total| {
        progress
            .get_or_insert_with(|| Progress::new(what, total))
            .add(octets);
    }
}

/// Why nothing can be written into a folder, if nothing can. Asked once something has failed: whose fault was it?
fn cannot_write(folder: &Path) -> Option<std::io::Error> {
    let file = folder.join("gatepost-probe");
    let made = std::fs::create_dir_all(folder).and_then(|()| std::fs::write(&file, ""));
    let _ = std::fs::remove_file(&file);
    made.err()
}

fn run_backup(given: &ArgMatches) -> Result<(), Failure> {
    let (folder, target) = (data(given)?, path(given, "dir"));
    if target.exists() && !target.is_dir() {
        return Err(Failure::usage(format!(
            "{} is no folder; a backup is one",
            target.display()
        )));
    }
    let copies = backup(&folder, &target, &mut copying("copied")).map_err(|error| match error {
        Error::Cannot => Failure::usage(format!(
            "{} holds something else than an earlier backup of this store; give a new or empty folder",
            target.display()
        )),
        Error::DiskFull => Failure::local(format!(
            "{}: the disk is full; an earlier backup in it is still whole",
            target.display()
        )),
        other => match cannot_write(&target) {
            Some(error) => Failure::usage(format!(
                "cannot write into {}: {error}; give a folder that can be written to",
                target.display()
            )),
            None => refused(&folder, other),
        },
    })?;
    // A backup that nobody has read is none.
    let report =
        check(&target, false, &mut copying("verified")).map_err(|error| refused(&target, error))?;
    say_copies("gatepost-backup-run-1", &copies, &report, given, &target);
    judge(
        &report,
        "the backup is complete, but the store it was made from is damaged; see gatepost mailbox check",
    )
}

fn run_restore(given: &ArgMatches) -> Result<(), Failure> {
    let (from, folder) = (path(given, "dir"), path(given, "data"));
    let same = given.get_flag("same-uids");
    let copies =
        restore(&from, &folder, same, &mut copying("copied")).map_err(|error| match error {
            Error::Cannot => Failure::usage(format!(
                "{} is no whole backup; gatepost backup makes one",
                from.display()
            )),
            Error::AlreadyExists => Failure::usage(format!(
                "there is a mail store in {}; restore into a new folder, or move it away",
                folder.display()
            )),
            Error::Damaged => Failure::finding(format!(
                "{}: the database of the backup cannot be read; take another backup. {} is not whole: remove it",
                from.display(),
                folder.display()
            )),
            other => refused(&folder, other),
        })?;
    let report =
        check(&folder, false, &mut copying("verified")).map_err(|error| refused(&folder, error))?;
    say_copies("gatepost-restore-run-1", &copies, &report, given, &folder);
    judge(
        &report,
        "what the backup holds was put back, damage included; see gatepost mailbox check --repair",
    )
}

fn say_copies(schema: &str, copies: &Copies, report: &Report, given: &ArgMatches, to: &Path) {
    if given.get_flag("json") {
        println!(
            "{}",
            json!({
                "schema": schema, "accounts": copies.accounts, "messages": copies.messages, "octets": copies.octets,
                "written": copies.written, "verified": report.octets, "findings": report.findings.len(),
            })
        );
        return;
    }
    let read_again = if report.findings.is_empty() {
        "all read again and verified"
    } else {
        "all read again; not all of it is sound:"
    };
    println!(
        "{}: {} accounts, {} messages, {} octets ({} written now), {read_again}",
        to.display(),
        copies.accounts,
        copies.messages,
        copies.octets,
        copies.written
    );
    say_findings(report);
}

fn say_findings(report: &Report) {
    for found in &report.findings {
        match &found.repaired {
            Some(done) => println!("{} ({done})", found.finding),
            None => println!("{}", found.finding),
        }
    }
}

/// Mail that is lost is a finding also when the store was put right.
fn judge(report: &Report, text: &str) -> Result<(), Failure> {
    let lost = report.findings.iter().any(|found| found.finding.is_loss());
    if report.is_good() && !lost {
        Ok(())
    } else {
        Err(Failure::finding(text))
    }
}

fn run_check(given: &ArgMatches) -> Result<(), Failure> {
    let folder = data(given)?;
    let repair = given.get_flag("repair");
    let report = check(&folder, repair, &mut copying("verified"))
        .map_err(|error| refused(&folder, error))?;
    if given.get_flag("json") {
        println!("{}", as_json(&report));
    } else {
        say_findings(&report);
        println!(
            "{} messages, {} bodies, {} octets verified: {}",
            report.messages,
            report.bodies,
            report.octets,
            match (report.findings.len(), report.is_good()) {
                (0, _) => "all is well".to_owned(),
                (many, true) => format!("{many} findings, all put right"),
                (many, false) => format!("{many} findings"),
            }
        );
    }
    let advice = if repair {
        "mail was lost, or not everything could be put right; the lines above name it"
    } else {
        "the store is damaged; stop the server and run: gatepost mailbox check --repair"
    };
    judge(&report, advice)
}

fn as_json(report: &Report) -> serde_json::Value {
    let findings = report.findings.iter().map(|found| {
        let mut row = json!({
            "text": found.finding.to_string(), "loss": found.finding.is_loss(), "repaired": found.repaired,
        });
        if let Finding::Message(place, _) | Finding::RowLost(place) = &found.finding {
            row["account"] = json!(place.account);
            row["mailbox"] = json!(place.mailbox);
            row["uid"] = json!(place.uid);
        }
        row
    });
    json!({
        "schema": "gatepost-mailbox-check-1", "messages": report.messages, "bodies": report.bodies,
        "octets": report.octets, "in_use": report.in_use, "good": report.is_good(), "findings": findings.collect::<Vec<_>>(),
    })
}
