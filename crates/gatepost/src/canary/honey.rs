//! `gatepost canary honey`: a login that opens nothing and that nobody should ever see used.
//!
//! It is shown in clear where nobody should listen (`plant`). Who uses it has listened: `gatepost watch --honey` looks for it in captures and
//! logs, also in logins inside TLS, which logs alone tell.

use std::io::{self, Write as _};
use std::net::IpAddr;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use clap::builder::PathBufValueParser;
use clap::{Arg, ArgAction, ArgMatches, Command, value_parser};
use gatepost_audit::watch::honey::Honey;
use gatepost_audit::watch::privacy::Privacy;
use serde_json::{Value, json};

use super::random;
use crate::client::{self, flags};
use crate::exit::Failure;
use crate::whole;

const SCHEMA: &str = "gatepost-canary-honey-1";
/// The name, and from where it is shown.
const FACTS: &str = "honey.json";
const PASSWORD: &str = "password";

pub(super) fn command() -> Command {
    Command::new("honey")
        .about("A login nobody should ever see used: make it, and show it in clear")
        .after_help(
            "Examples:\n  gatepost canary honey make --domain example.org --from 192.0.2.7 --to honey\n  \
             gatepost canary honey plant honey imap://192.0.2.1     shows it in clear, as an old client would\n  \
             gatepost watch --honey honey -i eth0                   who else uses it?\n  \
             gatepost watch --honey honey --log /var/log/mail.log --log journal\n\n\
             Make no account of that name: the login is to fail, and most servers log who tried. Gatepost logs the names of logins that\n\
             succeed only: there, make an account of that name with that password.",
        )
        .subcommand_required(true)
        .arg_required_else_help(true)
        .subcommand(
            Command::new("make")
                .about("Make a name and a password, and keep them in a folder")
                .arg(flags::one("domain", "DOMAIN", "What stands behind the @ of the name").required(true))
                .arg(
                    flags::one("from", "ADDRESS", "An address it is shown from: its use from there is one's own; repeatable")
                        .value_parser(value_parser!(IpAddr))
                        .action(ArgAction::Append),
                )
                .arg(folder(Arg::new("to").long("to"), "The folder to make")),
        )
        .subcommand(
            Command::new("plant")
                .about("Log in with it in clear, for whoever listens")
                .arg(folder(Arg::new("folder"), "The folder that was made"))
                .arg(Arg::new("url").value_name("URL").required(true).help("Where, such as imap://192.0.2.1 or pop3://old.example.org")),
        )
}

fn folder(arg: Arg, help: &'static str) -> Arg {
    arg.value_name("DIR")
        .value_parser(PathBufValueParser::new())
        .required(true)
        .help(help)
}

pub(super) fn run(given: &ArgMatches) -> Result<(), Failure> {
    match given.subcommand() {
        Some(("make", given)) => make(given),
        Some(("plant", given)) => plant(given),
        _ => Err(Failure::usage(
            "no such verb; see gatepost canary honey --help",
        )),
    }
}

/// Reads what was made; the password is left alone.
pub(crate) fn read(folder: &Path, privacy: &Privacy) -> Result<Honey, Failure> {
    let facts = facts(folder)?;
    let own = facts["from"].as_array().into_iter().flatten();
    let own: Option<Vec<IpAddr>> = own.map(|it| it.as_str()?.parse().ok()).collect();
    own.zip(facts["name"].as_str())
        .and_then(|(own, name)| Honey::new(name, &own, privacy))
        .ok_or_else(|| not_made(folder))
}

fn facts(folder: &Path) -> Result<Value, Failure> {
    let path = folder.join(FACTS);
    let octets = whole::read(&path)
        .map_err(|error| Failure::local(format!("cannot read {}: {error}", path.display())))?;
    serde_json::from_slice(&octets)
        .ok()
        .filter(|it: &Value| it["schema"] == SCHEMA)
        .ok_or_else(|| not_made(folder))
}

fn not_made(folder: &Path) -> Failure {
    Failure::usage(format!(
        "{} was not made by gatepost canary honey make",
        folder.display()
    ))
}

fn make(given: &ArgMatches) -> Result<(), Failure> {
    let domain = given.get_one::<String>("domain").map_or("", String::as_str);
    // Random, so that nobody comes upon it by guessing.
    let name = format!("{}@{domain}", random(6)?);
    if domain.is_empty() || Honey::new(&name, &[], &Privacy::new([0; 32], false)).is_none() {
        return Err(Failure::usage(
            "--domain takes a domain, such as example.org",
        ));
    }
    let folder = given.get_one::<PathBuf>("to").cloned().unwrap_or_default();
    let own: Vec<String> = given
        .get_many::<IpAddr>("from")
        .into_iter()
        .flatten()
        .map(ToString::to_string)
        .collect();
    let cannot =
        |error: io::Error| Failure::local(format!("cannot make {}: {error}", folder.display()));
    let mut builder = std::fs::DirBuilder::new();
    builder.mode(0o700).create(&folder).map_err(cannot)?;
    let facts = json!({ "schema": SCHEMA, "name": name, "from": own });
    for (file, text) in [
        (PASSWORD, format!("{}\n", random(12)?)),
        (FACTS, format!("{facts}\n")),
    ] {
        let mut options = std::fs::OpenOptions::new();
        options.write(true).create_new(true).mode(0o600);
        options
            .open(folder.join(file))
            .and_then(|mut it| it.write_all(text.as_bytes()))
            .map_err(cannot)?;
    }
    let folder = folder.display();
    println!(
        "{folder} keeps the login {name}\nnext: gatepost canary honey plant {folder} imap://HOST"
    );
    Ok(())
}

/// How a failure begins where the server saw the login, and did not let it in.
const REFUSED: &str = "E-LOGIN-REFUSED";

/// As `gatepost connect` would log in, with every safety off: this password is to be seen.
fn plant(given: &ArgMatches) -> Result<(), Failure> {
    let folder = given
        .get_one::<PathBuf>("folder")
        .cloned()
        .unwrap_or_default();
    let facts = facts(&folder)?;
    let name = facts["name"].as_str().unwrap_or_default();
    let password = folder.join(PASSWORD);
    let url = given.get_one::<String>("url").cloned().unwrap_or_default();
    let words = [
        "connect",
        &url,
        "--tls",
        "off",
        "--danger-clear-login",
        "--quit",
        "--mechanism",
        "plain",
        "--user",
        name,
        "--password-file",
        &password.to_string_lossy(),
    ]
    .map(str::to_owned);
    let connect = client::commands()
        .into_iter()
        .find(|it| it.get_name() == "connect")
        .ok_or_else(|| Failure::local("connect is missing"))?;
    let given = connect
        .try_get_matches_from(words)
        .map_err(Failure::usage)?;
    match client::run("connect", &given) {
        // It is meant to fail.
        Err(failure) if failure.to_string().starts_with(REFUSED) => {
            println!("shown to whoever listens, and refused, as it should be");
            Ok(())
        }
        Ok(()) => {
            println!("shown to whoever listens; and it was let in, which a decoy should not be");
            Ok(())
        }
        Err(failure) if failure.code() == 1 => Err(Failure::finding(format!(
            "{failure}\nnothing was shown to anybody: no login was sent. A decoy wants a server, or a proxy before it, that takes logins in clear"
        ))),
        Err(failure) => Err(failure),
    }
}
