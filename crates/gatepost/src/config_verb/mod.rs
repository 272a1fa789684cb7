//! `gatepost config`: our own configuration (sample, reference, what is in force), and those of others: what is wrong with them, right
//! ones for servers and clients, and what belongs into DNS.

mod certificates;
mod client;
mod dns;
mod drift;
mod files;
mod generate;
mod lint;
mod own;
mod topics;
mod words;

use std::path::PathBuf;

use clap::builder::PathBufValueParser;
use clap::{Arg, ArgMatches, Command};

use crate::config::Values;
use crate::directives;
use crate::exit::Failure;
use crate::explain_caps;
use crate::serve;
use crate::whole;

/// The verb on the command line.
pub(crate) fn command() -> Command {
    Command::new("config")
        .about("Configurations: our own, and what is right and wrong with those of other servers and clients")
        .after_help(EXAMPLES)
        .subcommand_required(true)
        .arg_required_else_help(true)
        .subcommand(Command::new("sample").about("Print an annotated sample file"))
        .subcommand(Command::new("reference").about("Print the reference page (Markdown)"))
        .subcommand(explain_command())
        .subcommand(lint::command())
        .subcommand(generate::command())
        .subcommand(client::command())
        .subcommand(dns::command())
        .subcommand(drift::command())
}

const EXAMPLES: &str = "Examples:
  gatepost config sample > gatepost.toml            every directive of ours, explained
  gatepost config lint /etc/postfix                 what is wrong, and what to write instead
  gatepost config generate --for dovecot --domain example.org --host mail.example.org
  gatepost config client anna@example.org --for msmtp --host mail.example.org
  gatepost config dns example.org --host mail.example.org --live
  gatepost config explain ports                     short answers with sources
  gatepost config drift --state mail.json mail.example.org";

fn explain_command() -> Command {
    Command::new("explain")
        .about("Answer a question about mail and TLS; without a topic: print what is in force, and why")
        .after_help(format!(
            "Topics:\n{}\nExamples:\n  gatepost config explain --config gatepost.toml\n  \
             gatepost config explain caps --upstream imap://127.0.0.1:143 --upstream smtp://127.0.0.1:25",
            topics::list()
        ))
        .arg(Arg::new("topic").value_name("TOPIC").help("What to explain; caps: what upstreams offer and what of it is passed on; without it, the configuration in force"))
        .arg(
            Arg::new("upstream")
                .long("upstream")
                .value_name("URL")
                .action(clap::ArgAction::Append)
                .requires("topic")
                .help("With caps: an upstream, instead of those of the file"),
        )
        .arg(
            Arg::new("config")
                .long("config")
                .value_name("FILE")
                .value_parser(PathBufValueParser::new())
                .help("The TOML file; without it, the defaults"),
        )
}

pub(crate) fn run(given: &ArgMatches) -> Result<(), Failure> {
    match given.subcommand() {
        Some(("sample", _)) => print!("{}", directives::sample()),
        Some(("reference", _)) => print!("{}", directives::reference()),
        Some(("explain", given)) => {
            if let Some(topic) = given.get_one::<String>("topic") {
                if topic == "caps" {
                    let mut values = read(given.get_one::<PathBuf>("config"))?;
                    return explain_caps::run(&mut values, given);
                }
                if given.contains_id("config") || given.contains_id("upstream") {
                    return Err(Failure::usage(
                        "--config and --upstream go with: gatepost config explain caps",
                    ));
                }
                print!("{}", topics::explain(topic)?);
                return Ok(());
            }
            let values = read(given.get_one::<PathBuf>("config"))?;
            // What `serve` would refuse is not in force.
            serve::settings(&values, None)?;
            print!("{}", values.explain());
        }
        Some(("lint", given)) => lint::run(given)?,
        Some(("generate", given)) => generate::run(given)?,
        Some(("client", given)) => client::run(given)?,
        Some(("dns", given)) => dns::run(given)?,
        Some(("drift", given)) => drift::run(given)?,
        _ => return Err(Failure::usage("no such verb; see gatepost config --help")),
    }
    Ok(())
}

/// The defaults, with a file laid over them.
pub(crate) fn read(file: Option<&PathBuf>) -> Result<Values, Failure> {
    let mut values = Values::defaults();
    if let Some(file) = file {
        let text = whole::read_text(file).map_err(|error| {
            Failure::usage(format!(
                "cannot read the configuration {}: {error}",
                file.display()
            ))
        })?;
        values.read_file(&text).map_err(|problems| {
            let lines: Vec<String> = problems
                .iter()
                .map(|problem| format!("{}: {problem}", file.display()))
                .collect();
            Failure::usage(lines.join("\ngatepost: "))
        })?;
    }
    Ok(values)
}
