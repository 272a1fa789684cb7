//! `gatepost`: encrypted mail transport. One verb, one file.

mod account;
mod canary;
mod check;
mod cli;
mod client;
mod config;
mod config_verb;
mod directives;
mod exit;
mod explain_caps;
mod intro;
mod keep;
mod lab;
mod oauth;
mod password;
mod reload;
mod results;
mod serve;
mod upgrade;
mod watch;
mod whole;

use std::process::ExitCode;

fn main() -> ExitCode {
    results::end_when_output_fails();
    let matches = cli::command().get_matches();
    let outcome = match matches.subcommand() {
        Some(("serve", given)) if given.get_flag("lab") => lab::run(given),
        Some(("serve", given)) => serve::run(given),
        Some(("account", given)) => account::run(given),
        Some(("oauth", given)) => oauth::run(given),
        Some(("config", given)) => config_verb::run(given),
        Some(("canary", given)) => canary::run(given),
        Some(("check", given)) => check::run(given),
        Some(("watch", given)) => watch::run(given),
        Some((verb, given)) if keep::has(verb) => keep::run(verb, given),
        Some((verb, given)) if client::has(verb) => client::run(verb, given),
        _ => Err(exit::Failure::usage("no such verb; see gatepost --help")),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => failure.report(),
    }
}
