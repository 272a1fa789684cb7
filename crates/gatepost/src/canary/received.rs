//! `gatepost canary received`: which hops of a message were encrypted, by its Received fields.

use std::io::Read as _;
use std::path::{Path, PathBuf};

use clap::builder::PathBufValueParser;
use clap::{Arg, ArgAction, ArgMatches, Command};
use gatepost_audit::canary::{Channel, Hop, hops};
use serde_json::{Value, json};

use crate::exit::Failure;

/// Far above any header.
const LARGEST: u64 = 64 << 20;

pub(super) fn command() -> Command {
    Command::new("received")
        .about("Say which hops of a message were encrypted, by its Received fields")
        .after_help("Examples:\n  gatepost canary received mail/new/1.eml\n  gatepost canary received --json < mail.eml")
        .arg(
            Arg::new("file")
                .value_name("FILE")
                .value_parser(PathBufValueParser::new())
                .default_value("-")
                .help("The message (- for standard input)"),
        )
        .arg(
            Arg::new("json")
                .long("json")
                .action(ArgAction::SetTrue)
                .help("Print JSON"),
        )
}

pub(super) fn run(given: &ArgMatches) -> Result<(), Failure> {
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

fn print(chain: &[Hop], prints_json: bool) {
    if prints_json {
        println!(
            "{}",
            json!({ "schema": "gatepost-canary-received-1", "hops": as_json(chain) })
        );
        return;
    }
    for it in chain {
        println!("{}", line(it));
    }
}

/// The hops as JSON.
pub(super) fn as_json(chain: &[Hop]) -> Vec<Value> {
    let hop = |it: &Hop| json!({ "from": it.from, "by": it.by, "with": it.with, "channel": it.channel.word() });
    chain.iter().map(hop).collect()
}

/// A hop in a line.
pub(super) fn line(it: &Hop) -> String {
    let word = |it: &Option<String>| it.as_deref().unwrap_or("-").to_owned();
    format!(
        "{:<10} {} to {}, with {}",
        it.channel.word(),
        word(&it.from),
        word(&it.by),
        word(&it.with)
    )
}
