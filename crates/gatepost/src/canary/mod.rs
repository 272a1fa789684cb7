//! `gatepost canary`: one's own mail, logins and programs as a test of the way.
//!
//! What is found is told with the rules of `watch`, in its words, and ends with its exit codes: 1 when there is something, 3 when it could not be
//! told.

mod baseline;
mod compare;
mod honey;
mod looped;
mod received;

use std::fmt::Write as _;

use clap::{ArgMatches, Command};
use gatepost_audit::canary::Trouble;
use gatepost_audit::shown::shown;
use serde_json::{Value, json};

use crate::exit::Failure;

pub(crate) use honey::read as read_honey;

pub(crate) fn command() -> Command {
    Command::new("canary")
        .about("Send oneself something and see what became of it on the way")
        .after_help(
            "Examples:\n  \
             gatepost canary loop --send submissions://mail.example.org --fetch imaps://mail.example.org \\\n      \
             --address anna@example.org --user anna@example.org --password-file p.txt\n  \
             gatepost canary received mail/new/1.eml        which hops of a mail were encrypted\n  \
             gatepost canary baseline --state seen.json smtp://mx.example.org imap://mail.example.org\n  \
             gatepost canary honey make --domain example.org --to honey      a login nobody should ever see used\n  \
             gatepost serve --lab --lab-port 25             on the other side; then\n  \
             gatepost canary compare smtp://lab.example.org do both ends see the same before TLS?\n\n\
             Exit codes: 0 good, 1 findings, 2 wrong usage, 3 could not tell.",
        )
        .subcommand_required(true)
        .arg_required_else_help(true)
        .subcommand(looped::command())
        .subcommand(received::command())
        .subcommand(baseline::command())
        .subcommand(compare::command())
        .subcommand(honey::command())
}

pub(crate) fn run(given: &ArgMatches) -> Result<(), Failure> {
    match given.subcommand() {
        Some(("received", given)) => received::run(given),
        Some(("loop", given)) => looped::run(given),
        Some(("baseline", given)) => baseline::run(given),
        Some(("compare", given)) => compare::run(given),
        Some(("honey", given)) => honey::run(given),
        _ => Err(Failure::usage("no such verb; see gatepost canary --help")),
    }
}

/// A finding as `watch` prints it.
fn as_json(it: &Trouble, server: &str) -> Value {
    json!({
        "kind": "finding", "id": it.id, "severity": it.severity.word(), "text": it.text(),
        "evidence": it.evidence, "server": server,
    })
}

/// A finding in a line.
fn line(it: &Trouble, server: &str) -> String {
    format!(
        "{:<8} {} {server}: {}",
        it.severity.word(),
        it.id,
        shown(&it.evidence)
    )
}

/// The end: 1 when something was found.
fn verdict(count: usize) -> Result<(), Failure> {
    match count {
        0 => Ok(()),
        1 => Err(Failure::finding("1 finding")),
        count => Err(Failure::finding(format!("{count} findings"))),
    }
}

/// Random octets as hexadecimal digits.
fn random(octets: usize) -> Result<String, Failure> {
    let mut random = vec![0; octets];
    aws_lc_rs::rand::fill(&mut random)
        .map_err(|_| Failure::local("the system gives no randomness"))?;
    Ok(hexadecimal(&random))
}

fn hexadecimal(octets: &[u8]) -> String {
    octets.iter().fold(String::new(), |mut text, it| {
        // Writing to a String cannot fail.
        let _ = write!(text, "{it:02x}");
        text
    })
}
