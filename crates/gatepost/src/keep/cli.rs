//! `gatepost backup`, `restore` and `mailbox` on the command line.

use clap::builder::PathBufValueParser;
use clap::{Arg, ArgAction, Command};

use crate::client::flags::{self, Topic};

/// What the server at the other end is asked for, and how it is known.
const REMOTE: [Topic; 5] = [
    Topic::Tls,
    Topic::Trust,
    Topic::Login,
    Topic::Network,
    Topic::Output,
];

/// The verbs.
pub(crate) fn commands() -> [Command; 3] {
    [backup(), restore(), mailbox()]
}

fn data() -> Arg {
    Arg::new("data")
        .long("data")
        .value_name("DIR")
        .value_parser(PathBufValueParser::new())
        .default_value("gatepost-data")
        .help("The server's data folder")
}

fn folder(help: &'static str) -> Arg {
    Arg::new("dir")
        .value_name("DIR")
        .value_parser(PathBufValueParser::new())
        .required(true)
        .help(help)
}

fn switch(name: &'static str, help: &'static str) -> Arg {
    Arg::new(name)
        .long(name)
        .action(ArgAction::SetTrue)
        .help(help)
}

fn json() -> Arg {
    switch("json", "Print the result as JSON")
}

fn backup() -> Command {
    Command::new("backup")
        .about("Copy all mail, accounts and certificates to a folder, beside a running server")
        .long_about(
            "Copy all mail, accounts and certificates to a folder, as they are at one moment. The server may run.\n\n\
             A second backup into the same folder copies only what is new. What was copied is read again and verified.",
        )
        .after_help(
            "Examples:\n  gatepost backup /backup/gatepost\n  gatepost backup /backup/gatepost --data /var/lib/gatepost --json\n\n\
             The folder holds private keys, and mail in clear: keep it as you keep the data folder.\n\n\
             Exit codes: 0 good, 1 the store is damaged, 2 wrong usage, 3 disk.",
        )
        .arg(folder("The folder to copy to: new, empty, or with an earlier backup of the same store"))
        .arg(data())
        .arg(json())
}

fn restore() -> Command {
    Command::new("restore")
        .about("Put a backup into a new data folder")
        .long_about(
            "Put a backup into a data folder that holds no mail store yet, and verify it.\n\n\
             Mail clients then load their mailboxes anew: what they remember may be newer than the backup (a new UIDVALIDITY).",
        )
        .after_help(
            "Examples:\n  gatepost restore /backup/gatepost --data gatepost-new\n  \
             gatepost restore /backup/gatepost --data gatepost-new --same-uids\n\n\
             Exit codes: 0 good, 1 the backup is damaged, 2 wrong usage, 3 disk.",
        )
        .arg(folder("The backup"))
        .arg(data())
        .arg(switch("same-uids", "Keep UIDVALIDITY: only when the server had stopped before the backup was made"))
        .arg(json())
}

fn mailbox() -> Command {
    Command::new("mailbox")
        .about("Import and export mail, check and repair the store")
        .subcommand_required(true)
        .arg_required_else_help(true)
        .subcommand(import())
        .subcommand(export())
        .subcommand(check())
}

fn check() -> Command {
    Command::new("check")
        .about("Verify every message, and repair what can be repaired")
        .long_about(
            "Verify the database, the checksum of every message, and that everything that belongs together is there. \
             What is lost is named by account, mailbox and UID. The server may run.\n\n\
             With --repair (server stopped) counts and indexes are made anew, a damaged database is moved to a new one as far as \
             it can be read, and messages that cannot be read are taken out of their mailboxes; what is left of them is kept in \
             the folder damaged/.",
        )
        .after_help(
            "Examples:\n  gatepost mailbox check\n  gatepost mailbox check --data /var/lib/gatepost --json\n  \
             gatepost mailbox check --data /backup/gatepost\n  gatepost mailbox check --repair\n\n\
             Exit codes: 0 good, 1 damage, 2 wrong usage, 3 could not tell.",
        )
        .arg(data())
        .arg(switch("repair", "Put right what can be"))
        .arg(json())
}

fn import() -> Command {
    let command = Command::new("import")
        .about("Bring mail in from a Maildir, an mbox, .eml files or an IMAP server")
        .long_about(
            "Bring mail in from a Maildir, an mbox, .eml files or an IMAP server, with flags and dates, folders within folders \
             too. The server of this data folder may run.\n\nWhat was brought in once is not brought in again, so an import that breaks off is simply run again.",
        )
        .after_help(
            "Examples:\n  gatepost mailbox import --account anna@example.org ~/Maildir\n  \
             gatepost mailbox import --account anna@example.org --mailbox Archive/2024 old.mbox\n  \
             gatepost mailbox import --account anna@example.org --mailbox Old letters/ --data /var/lib/gatepost\n  \
             gatepost mailbox import --account anna@example.org imaps://mail.example.org --user anna\n\n\
             Exit codes: 0 good, 1 some messages could not be taken (each is named), 2 wrong usage, 3 disk.",
        )
        .arg(flags::one("account", "ADDRESS", "Whose mail it becomes").required(true))
        .arg(flags::one("mailbox", "NAME", "The mailbox for it; folders go below [default: INBOX, and folders by their own names]"))
        .arg(
            flags::one("mbox", "QUOTING", "How lines that begin with From are quoted in an mbox: mboxrd or mboxo")
                .value_parser(["mboxrd", "mboxo"])
                .default_value("mboxrd"),
        )
        .arg(switch("again", "Bring in what was brought in before, too"))
        .arg(
            Arg::new("from-where")
                .value_name("SOURCE")
                .required(true)
                .help("A Maildir, an mbox file, an .eml file, or a folder of these; or imaps://HOST[/MAILBOX]"),
        )
        .arg(data());
    flags::add(command, &REMOTE)
}

fn export() -> Command {
    let command = Command::new("export")
        .about("Write an account's mail to a Maildir, mbox or .eml files, or to an IMAP server")
        .long_about(
            "Write an account's mail to a Maildir, mbox files or .eml files, or to an IMAP server, with flags and dates. The \
             server of this data folder may run.\n\n\
             An export that breaks off is simply run again; Maildir and .eml folders are brought up to date that way.",
        )
        .after_help(
            "Examples:\n  gatepost mailbox export --account anna@example.org ~/Maildir\n  \
             gatepost mailbox export --account anna@example.org --format mbox --mailbox Archive mail/\n  \
             gatepost mailbox export --account anna@example.org imaps://mail.example.org/Old --user anna\n\n\
             Exit codes: 0 good, 1 some messages could not be read or written (each is named), 2 wrong usage, 3 disk.",
        )
        .arg(flags::one("account", "ADDRESS", "Whose mail").required(true))
        .arg(flags::one("mailbox", "NAME", "This mailbox and those below it [default: all]"))
        .arg(
            flags::one("format", "FORMAT", "maildir, mbox or eml")
                .value_parser(["maildir", "mbox", "eml"])
                .default_value("maildir"),
        )
        .arg(
            Arg::new("to-where")
                .value_name("TARGET")
                .required(true)
                .help("The folder to write to; or imaps://HOST[/MAILBOX], below which all go"),
        )
        .arg(data());
    flags::add(command, &REMOTE)
}
