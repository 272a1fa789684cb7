//! `gatepost send`: hand in a message.
//!
//! 1. The command line and the input become a [`Plan`]: envelope, message, what the server must be able to carry. Nothing has been connected yet,
//!    and whatever is wrong with what was given is told now.
//! 2. The server is the one given, or the one kept for the sender's address, or found from it and approved.
//! 3. One session: TLS and verification as asked for, login, the message; more than one transaction where the server takes fewer recipients at a time.
//! 4. What became of it, recipient by recipient.

mod address;
mod cli;
mod compose;
mod deliver;
mod encode;
mod plan;
mod ready;
mod report;

use clap::ArgMatches;
use serde_json::json;

pub(crate) use cli::command;

use super::discover;
use super::reach::{self, Reached};
use super::settings::Settings;
use super::url::{Protocol, Url};
use super::{date, text};
use crate::exit::Failure;
use crate::results;
use plan::Plan;
use report::{Fate, exit_code};

pub(crate) fn run(given: &ArgMatches) -> Result<(), Failure> {
    let mut settings = Settings::read(given)?;
    let plan = Plan::read(given, &settings)?;
    let url = server(given, &mut settings, &plan)?;
    if !url.protocol.sends() {
        return Err(Failure::usage(format!(
            "mail is not handed in by {}; write a URL such as submissions://{}",
            url.protocol.label(),
            url.host
        )));
    }
    settings.refuse_hopeless_login(&url)?;
    let outcome = reach::block_on(deliver::deliver(&settings, &url, &plan))?;
    let (reached, fates) = outcome;
    let code = exit_code(&fates);
    if fates.iter().any(Fate::is_taken) {
        results::done("the message was taken: ", code);
    }
    print(&settings, &plan, &reached, &fates, code);
    match code {
        0 => Ok(()),
        1 => Err(Failure::finding(summary(&fates))),
        _ => Err(Failure::local(summary(&fates))),
    }
}

/// Hands in a finished message from and to one address, as `send` would: how the server was reached.
pub(crate) fn hand_in(
    settings: &Settings,
    url: &Url,
    address: &str,
    message: &[u8],
) -> Result<String, Failure> {
    let plan = Plan::to_oneself(address, message)?;
    let (reached, fates) = reach::block_on(deliver::deliver(settings, url, &plan))?;
    match exit_code(&fates) {
        0 => Ok(reached.line()),
        1 => Err(Failure::finding(refused(&fates))),
        _ => Err(Failure::local(refused(&fates))),
    }
}

/// What the server said, and the summary.
fn refused(fates: &[Fate]) -> String {
    let lines: Vec<String> = fates.iter().map(Fate::line).collect();
    format!("{}\n{}", summary(fates), lines.join("\n"))
}

/// Where the message is handed in.
fn server(given: &ArgMatches, settings: &mut Settings, plan: &Plan) -> Result<Url, Failure> {
    if let Some(url) = given.get_one::<String>("server") {
        return Url::parse(url).map_err(Failure::usage);
    }
    let Some(from) = &plan.from else {
        return Err(Failure::usage(
            "the sender is empty, so no server can be found from it; give --server URL",
        ));
    };
    discover::server_of(&from.bare(), Protocol::Submission, given, settings)
}

fn print(settings: &Settings, plan: &Plan, reached: &Reached, fates: &[Fate], code: u8) {
    if settings.json {
        let recipients: Vec<_> = fates.iter().map(Fate::as_json).collect();
        let mut document = reached.as_json(deliver::SCHEMA);
        document["octets"] = json!(plan.message.length());
        document["recipients"] = json!(recipients);
        document["exit"] = json!(code);
        println!("{document}");
        return;
    }
    println!("{}", reached.line());
    for fate in fates {
        println!("{}", fate.line());
    }
}

fn summary(fates: &[Fate]) -> String {
    let missing = fates.iter().filter(|fate| !fate.is_taken()).count();
    let again = fates.iter().any(|fate| !fate.is_taken() && fate.temporary);
    let next = if again {
        "try again later for those marked so"
    } else {
        "read what the server says above"
    };
    format!(
        "the message was not taken for {missing} of {} recipients\n  next: {next}",
        fates.len()
    )
}
