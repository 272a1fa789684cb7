//! `gatepost canary`: one's own mail and one's own programs as a test of the way.

use std::io::Read as _;
use std::path::{Path, PathBuf};

use clap::builder::PathBufValueParser;
use clap::{Arg, ArgAction, ArgMatches, Command};
use gatepost_audit::canary::{Channel, Hop, hops};
use serde_json::json;

use crate::exit::Failure;

/// Far above any header.
const LARGEST: u64 = 64 << 20;

pub(crate) fn command() -> Command {
    Command::new("canary")
        .about("Send oneself something and see what became of it on the way")
        .after_help(
            "Examples:\n  gatepost fetch imaps://mail.example.org --user anna@example.org --to mail\n  \
             gatepost canary received mail/new/1.eml        which hops of a mail were encrypted\n  \
             gatepost serve --lab                           wrong servers for one's own clients (docs/canary.md)\n  \
             gatepost watch --state servers.json …          offers that disappear",
        )
        .subcommand_required(true)
        .arg_required_else_help(true)
        .subcommand(
            Command::new("received")
                .about("Say which hops of a message were encrypted, by its Received fields")
                .arg(
                    Arg::new("file")
                        .value_name("FILE")
                        .value_parser(PathBufValueParser::new())
                        .default_value("-")
                        .help("The message (- for standard input)"),
                )
                .arg(Arg::new("json").long("json").action(ArgAction::SetTrue).help("Print JSON")),
        )
}

pub(crate) fn run(given: &ArgMatches) -> Result<(), Failure> {
    match given.subcommand() {
        Some(("received", given)) => received(given),
        _ => Err(Failure::usage("no such verb; see gatepost canary --help")),
    }
}

fn received(given: &ArgMatches) -> Result<(), Failure> {
    let path = given
        .get_one::<PathBuf>("file")
        .cloned()
        .unwrap_or_default();
    let cannot =
        |error: std::io::Error| Failure::local(format!("cannot read {}: {error}", path.display()));
    let mut message = Vec::new();
    if path == Path::new("-") {
        std::io::stdin().take(LARGEST).read_to_end(&mut message)
    } else {
        std::fs::File::open(&path)
            .map_err(cannot)?
            .take(LARGEST)
            .read_to_end(&mut message)
    }
    .map_err(cannot)?;
    let chain = hops(&message);
    if chain.is_empty() {
        return Err(Failure::local(format!(
            "{} has no Received field: nothing can be told",
            path.display()
        )));
    }
    print(&chain, given.get_flag("json"));
    let clear = chain
        .iter()
        .filter(|it| it.channel == Channel::Clear)
        .count();
    if clear > 0 {
        return Err(Failure::finding(format!(
            "{clear} of {} hops in clear",
            chain.len()
        )));
    }
    Ok(())
}

fn print(chain: &[Hop], as_json: bool) {
    if as_json {
        let hops: Vec<_> = chain
            .iter()
            .map(|it| json!({ "from": it.from, "by": it.by, "with": it.with, "channel": it.channel.word() }))
            .collect();
        println!(
            "{}",
            json!({ "schema": "gatepost-canary-received-1", "hops": hops })
        );
        return;
    }
    for it in chain {
        let word = |it: &Option<String>| it.as_deref().unwrap_or("-").to_owned();
        println!(
            "{:<10} {} to {}, with {}",
            it.channel.word(),
            word(&it.from),
            word(&it.by),
            word(&it.with)
        );
    }
}
