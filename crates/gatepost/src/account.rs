//! `gatepost account`: add, list, remove, change a password; beside a running server too.

use std::io::{IsTerminal, Write};
use std::path::PathBuf;

use clap::ArgMatches;
use gatepost_serve::mailbox::account::record;
use gatepost_store::{AccountInfo, Accounts, Credential, Error};
use gatepost_wire::sasl::prepare_name;
use gatepost_wire::secret::Secret;

use crate::exit::Failure;
use crate::{config, config_verb, password};

pub(crate) fn run(given: &ArgMatches) -> Result<(), Failure> {
    let (verb, own) = given
        .subcommand()
        .ok_or_else(|| Failure::usage("no such verb; see gatepost account --help"))?;
    let folder = own.get_one::<PathBuf>("data").cloned().unwrap_or_default();
    if !folder.is_dir() {
        return Err(Failure::usage(format!(
            "there is no data folder {}; start gatepost serve first, or give --data",
            folder.display()
        )));
    }
    let accounts = Accounts::open(&folder).map_err(|error| {
        Failure::local(format!(
            "cannot open the accounts in {}: {error}",
            folder.display()
        ))
    })?;
    let address = own
        .try_get_one::<String>("address")
        .ok()
        .flatten()
        .cloned()
        .unwrap_or_default();
    match verb {
        "add" => add(&accounts, &address, own),
        "list" => show(&accounts, own.get_flag("json")),
        "quota" => {
            let text = own.get_one::<String>("size");
            change_quota(&accounts, &address, text.map_or("", String::as_str))
        }
        "remove" => remove(&accounts, &address, own.get_flag("yes")),
        _ => change_password(&accounts, &address, own),
    }
}

fn add(accounts: &Accounts, address: &str, given: &ArgMatches) -> Result<(), Failure> {
    // Before a password is asked for.
    let kept = Accounts::check(address).map_err(|error| refused(address, error))?;
    if let Ok(Some(_)) = accounts.find(address) {
        return Err(refused(address, Error::AlreadyExists));
    }
    let quota = match given.get_one::<String>("quota") {
        Some(text) => size(text)?,
        None => Some(config_verb::read(None)?.number("mailbox.quota")),
    };
    let secret = password::obtain(
        given
            .get_one::<PathBuf>("password-file")
            .map(PathBuf::as_path),
    )?;
    accounts
        .add(address, &derive(accounts, &secret)?, quota)
        .map_err(|error| refused(address, error))?;
    println!("{kept} can log in now.");
    Ok(())
}

fn change_password(accounts: &Accounts, address: &str, given: &ArgMatches) -> Result<(), Failure> {
    if let Ok(None) = accounts.find(address) {
        return Err(refused(address, Error::NoSuchAccount));
    }
    let secret = password::obtain(
        given
            .get_one::<PathBuf>("password-file")
            .map(PathBuf::as_path),
    )?;
    accounts
        .set_credential(address, &derive(accounts, &secret)?)
        .map_err(|error| refused(address, error))?;
    println!("{address} has a new password; sessions that are logged in stay so.");
    Ok(())
}

fn change_quota(accounts: &Accounts, address: &str, text: &str) -> Result<(), Failure> {
    accounts
        .set_quota(address, size(text)?)
        .map_err(|error| refused(address, error))?;
    println!("{address} may keep {text} now.");
    Ok(())
}

/// What an account may keep; none: no limit.
fn size(text: &str) -> Result<Option<u64>, Failure> {
    match (text, config::octets(text)) {
        ("none", _) => Ok(None),
        (_, Some(octets)) => Ok(Some(octets)),
        _ => Err(Failure::usage(format!(
            "{text:?} is no size; write one such as 500MiB, or none"
        ))),
    }
}

fn remove(accounts: &Accounts, address: &str, sure: bool) -> Result<(), Failure> {
    let known = accounts
        .find(address)
        .map_err(|error| refused(address, error))?;
    if known.is_none() {
        return Err(refused(address, Error::NoSuchAccount));
    }
    if !sure {
        if !std::io::stdin().is_terminal() {
            return Err(Failure::usage(
                "removing an account removes its mail; say --yes to mean it",
            ));
        }
        print!("Remove {address} and all its mail? Type the address to confirm: ");
        let _ = std::io::stdout().flush();
        let mut line = String::new();
        std::io::stdin()
            .read_line(&mut line)
            .map_err(|error| Failure::local(format!("cannot read the answer: {error}")))?;
        if line.trim() != address {
            return Err(Failure::usage(
                "that was not the address; nothing was removed",
            ));
        }
    }
    accounts
        .remove(address)
        .map_err(|error| refused(address, error))?;
    println!("{address} and its mail are gone.");
    Ok(())
}

fn show(accounts: &Accounts, as_json: bool) -> Result<(), Failure> {
    let all = list(accounts)?;
    if as_json {
        let rows: Vec<serde_json::Value> = all
            .iter()
            .map(|account| {
                serde_json::json!({
                    "address": account.address, "messages": account.messages, "octets": account.used, "quota": account.quota,
                })
            })
            .collect();
        println!(
            "{}",
            serde_json::json!({"schema": "gatepost-accounts-1", "accounts": rows})
        );
        return Ok(());
    }
    println!(
        "{:<40} {:>10} {:>14} {:>14}",
        "address", "messages", "octets", "quota"
    );
    for account in all {
        let quota = account
            .quota
            .map_or_else(|| "-".to_owned(), |octets| octets.to_string());
        println!(
            "{:<40} {:>10} {:>14} {:>14}",
            account.address, account.messages, account.used, quota
        );
    }
    Ok(())
}

/// All accounts.
pub(crate) fn list(accounts: &Accounts) -> Result<Vec<AccountInfo>, Failure> {
    accounts
        .list()
        .map_err(|error| Failure::local(format!("cannot read the accounts: {error}")))
}

/// Makes sure the account exists and has this password.
pub(crate) fn ensure(
    accounts: &Accounts,
    address: &str,
    secret: &Secret<String>,
    quota: u64,
) -> Result<(), Failure> {
    let sha1 = keeps_sha1(accounts)?;
    let outcome = match accounts.find(address) {
        Ok(None) => accounts
            .add(address, &derive(accounts, secret)?, Some(quota))
            .map(drop),
        Ok(Some(known))
            if known.credential.record.verifies(secret.expose())
                && known.credential.sha1.is_some() == sha1 =>
        {
            Ok(())
        }
        Ok(Some(_)) => accounts.set_credential(address, &derive(accounts, secret)?),
        Err(error) => Err(error),
    };
    outcome.map_err(|error| refused(address, error))
}

/// A password nobody has to invent: 100 bits in 20 letters and digits that are hard to confuse.
pub(crate) fn random_password() -> Result<Secret<String>, Failure> {
    const LETTERS: &[u8; 32] = b"abcdefghijkmnpqrstuvwxyz23456789";
    let mut octets = [0_u8; 20];
    aws_lc_rs::rand::fill(&mut octets)
        .map_err(|_| Failure::local("the system gives no randomness"))?;
    let letters: String = octets
        .iter()
        .map(|octet| char::from(LETTERS[usize::from(octet % 32)]))
        .collect();
    Ok(Secret::new(letters))
}

/// Whether the server's configuration names SCRAM-SHA-1.
fn keeps_sha1(accounts: &Accounts) -> Result<bool, Failure> {
    accounts
        .keeps_sha1()
        .map_err(|error| Failure::local(format!("cannot read the accounts: {error}")))
}

/// What is kept of a password, in the store it is for.
fn derive(accounts: &Accounts, secret: &Secret<String>) -> Result<Credential, Failure> {
    record(secret.expose(), keeps_sha1(accounts)?).map_err(|_| Failure::usage("the password holds characters that no login can carry (control characters, or characters newer than Unicode 3.2 such as emoji)"))
}

fn refused(address: &str, error: Error) -> Failure {
    match error {
        Error::AlreadyExists => Failure::usage(format!(
            "{address} exists already; change its password with: gatepost account password {address}"
        )),
        Error::NoSuchAccount | Error::Gone => Failure::usage(format!(
            "there is no account {address}; gatepost account list shows all"
        )),
        Error::Cannot => Failure::usage(cannot(address)),
        other => Failure::local(format!("{address}: {other}")),
    }
}

/// Why an address cannot be an account's.
fn cannot(address: &str) -> String {
    match prepare_name(address) {
        Ok(prepared) if prepared != address && Accounts::check(&prepared).is_ok() => format!(
            "{address:?} is {prepared:?} to a login (RFC 4013), so nobody could log in by it; write that address"
        ),
        _ => format!(
            "{address:?} is no mail address that can be written to and log in; write one such as anna@example.org, in 255 octets at the most"
        ),
    }
}
