//! `gatepost mailbox export`: to files (to a server: see `remote/export.rs`).

use std::path::{Path, PathBuf};

use clap::ArgMatches;
use gatepost_store::{AccountId, Error, MailboxId, Message, Reading};
use serde_json::json;

use super::target::{Format, Target};
use super::{data, refused, remote};
use crate::client::progress::Progress;
use crate::exit::Failure;

/// Messages asked for at a time.
const AT_ONCE: usize = 500;

pub(crate) fn run(given: &ArgMatches) -> Result<(), Failure> {
    let folder = data(given)?;
    let text = |name: &str| given.get_one::<String>(name).cloned().unwrap_or_default();
    let reading = Reading::open(&folder).map_err(|error| refused(&folder, error))?;
    let account = account(&reading, &folder, &text("account"))?;
    let wanted = given.get_one::<String>("mailbox").map(String::as_str);
    let mailboxes =
        mailboxes(&reading, account, wanted).map_err(|error| refused(&folder, error))?;
    if mailboxes.is_empty() {
        return Err(Failure::usage(format!(
            "{} has no mailbox {}",
            text("account"),
            wanted.unwrap_or_default()
        )));
    }
    if remote::is_url(&text("to-where")) {
        let mut tally = Tally::default();
        let target = text("to-where");
        let result = remote::run_export(given, &target, &reading, mailboxes, &mut tally);
        tally.tell(&target, given.get_flag("json"));
        result?;
        return tally.judge();
    }
    let mut export = Export {
        format: match text("format").as_str() {
            "mbox" => Format::Mbox,
            "eml" => Format::Eml,
            _ => Format::Maildir,
        },
        root: PathBuf::from(text("to-where")),
        folder,
        progress: Progress::new("exported", mailboxes.iter().map(|it| it.octets).sum()),
        reading,
        tally: Tally::default(),
    };
    for mailbox in &mailboxes {
        export.write_mailbox(mailbox)?;
    }
    export.end(given.get_flag("json"))
}

/// The account of an address.
pub(crate) fn account(
    reading: &Reading,
    folder: &Path,
    address: &str,
) -> Result<AccountId, Failure> {
    let found = reading
        .account(address)
        .map_err(|error| refused(folder, error))?;
    found.ok_or_else(|| {
        Failure::usage(format!(
            "there is no account {address}; gatepost account list shows all"
        ))
    })
}

/// A mailbox to write.
pub(crate) struct Mailbox {
    pub(crate) name: String,
    pub(crate) id: MailboxId,
    pub(crate) validity: u32,
    pub(crate) octets: u64,
}

/// All mailboxes of an account, or one and those below it.
pub(crate) fn mailboxes(
    reading: &Reading,
    account: AccountId,
    wanted: Option<&str>,
) -> Result<Vec<Mailbox>, Error> {
    let mut all = Vec::new();
    for listed in reading.list(account)? {
        let below = |top: &str| {
            listed.name.eq_ignore_ascii_case(top) && top.eq_ignore_ascii_case("INBOX")
                || listed.name == top
                || listed
                    .name
                    .strip_prefix(top)
                    .is_some_and(|rest| rest.starts_with('/'))
        };
        if !listed.exists || !wanted.is_none_or(below) {
            continue;
        }
        if let Some((id, validity, octets)) = reading.mailbox(account, &listed.name)? {
            all.push(Mailbox {
                name: listed.name,
                id,
                validity,
                octets,
            });
        }
    }
    Ok(all)
}

/// All octets of a message, verified. [`Error::Damaged`] when they are not what was written.
pub(crate) fn content(reading: &Reading, message: &Message) -> Result<Vec<u8>, Error> {
    reading.read(&message.body, 0, u32::MAX)
}

/// What became of the messages.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    /// Mailboxes written.
    pub(crate) mailboxes: u64,
    /// Messages written.
    pub(crate) messages: u64,
    /// Their octets.
    pub(crate) octets: u64,
    /// Messages that were there already.
    pub(crate) known: u64,
    /// Mailboxes that were there already and stay as they are.
    pub(crate) kept: u64,
    /// What could not be written.
    pub(crate) refused: u64,
}

struct Export {
    format: Format,
    root: PathBuf,
    folder: PathBuf,
    reading: Reading,
    progress: Progress,
    tally: Tally,
}

impl Export {
    fn write_mailbox(&mut self, mailbox: &Mailbox) -> Result<(), Failure> {
        let name = &mailbox.name;
        let target = Target::open(self.format, &self.root, name, mailbox.validity);
        let Some(mut target) = target.map_err(|error| self.cannot(name, &error))? else {
            self.tally.kept += 1;
            eprintln!("gatepost: {name}: its mbox is there already and stays as it is");
            return Ok(());
        };
        let mut after = 0;
        loop {
            let messages = self
                .reading
                .messages_after(mailbox.id, after, AT_ONCE)
                .map_err(|error| refused(&self.folder, error))?;
            for message in &messages {
                after = message.uid;
                self.write_message(name, message, &mut target)?;
            }
            if messages.len() < AT_ONCE {
                break;
            }
        }
        let lost_keywords = target.finish().map_err(|error| self.cannot(name, &error))?;
        if lost_keywords {
            self.tally.refused += 1;
            eprintln!(
                "gatepost: {name}: a Maildir can tell 26 keywords; the others are left out (eml and mbox hold all)"
            );
        }
        self.tally.mailboxes += 1;
        Ok(())
    }

    fn write_message(
        &mut self,
        name: &str,
        message: &Message,
        target: &mut Target,
    ) -> Result<(), Failure> {
        if target
            .has(message)
            .map_err(|error| self.cannot(name, &error))?
        {
            self.tally.known += 1;
            return Ok(());
        }
        match content(&self.reading, message) {
            Ok(octets) => {
                target
                    .write(message, &octets)
                    .map_err(|error| self.cannot(name, &error))?;
                self.tally.messages += 1;
                self.tally.octets += message.size;
                self.progress.add(message.size);
                Ok(())
            }
            Err(Error::Damaged | Error::Gone) => {
                self.tally.refused += 1;
                eprintln!(
                    "gatepost: left out: {name} UID {}: damaged; see gatepost mailbox check",
                    message.uid
                );
                Ok(())
            }
            Err(error) => Err(refused(&self.folder, error)),
        }
    }

    fn cannot(&self, name: &str, error: &std::io::Error) -> Failure {
        Failure::local(format!(
            "{name}: cannot write to {}: {error}; {} messages are written, run the same command again to go on",
            self.root.display(),
            self.tally.messages
        ))
    }

    fn end(self, as_json: bool) -> Result<(), Failure> {
        self.tally.tell(&self.root.display().to_string(), as_json);
        self.tally.judge()
    }
}

impl Tally {
    fn tell(&self, target: &str, as_json: bool) {
        let Self {
            mailboxes,
            messages,
            octets,
            known,
            kept,
            refused,
        } = self;
        if as_json {
            println!(
                "{}",
                json!({
                    "schema": "gatepost-mailbox-export-1", "mailboxes": mailboxes, "exported": messages, "octets": octets,
                    "known": known, "kept": kept, "left_out": refused,
                })
            );
        } else {
            println!(
                "{target}: exported {messages} messages ({octets} octets) of {mailboxes} mailboxes, {known} were there already"
            );
        }
    }

    fn judge(&self) -> Result<(), Failure> {
        match self.refused {
            0 => Ok(()),
            many => Err(Failure::finding(format!(
                "{many} were left out; the lines above name them"
            ))),
        }
    }
}
