//! `gatepost fetch` on the command line.

use clap::{Arg, ArgAction, Command};

use super::super::flags::{self, Topic};

/// The verb.
pub(crate) fn command() -> Command {
    let command = Command::new("fetch")
        .about("Fetch messages into files")
        .long_about(
            "Fetch messages by IMAP or POP3 into a Maildir, an mbox, or a file each: over STARTTLS or implicit TLS from a server whose certificate is \
             verified, or not at all.\n\nWhat was stored once is not stored again, what breaks off on the way is not stored at all.",
        )
        .after_help(
            "Examples:\n  gatepost fetch imaps://mail.example.org/INBOX --user anna@example.org --to mail\n  \
             gatepost fetch imap://localhost:10143/INBOX --tls starttls --ca gatepost-data/ca.pem --user me@gatepost.test --password-file p.txt \
             --output eml --to mail\n  gatepost fetch imaps://mail.example.org --user anna --search 'UNSEEN SINCE 2026-11-01' --output json\n  \
             gatepost fetch pop3s://mail.example.org --user anna --output mbox --to mail --delete\n  \
             gatepost fetch --account anna@example.org --to mail --idle\n\n\
             Exit codes: 0 good, 1 the server refused or failed verification, 2 wrong usage, 3 network.",
        )
        .arg(
            Arg::new("url")
                .value_name("URL")
                .help("The mailbox, such as imaps://mail.example.org/INBOX or pop3s://mail.example.org"),
        )
        .arg(
            flags::one("account", "ADDRESS", "Use the server kept for this address, or find it from the address")
                .conflicts_with("url"),
        )
        .arg(flags::one("mailbox", "NAME", "The IMAP mailbox [default: the URL's, else INBOX]"))
        .arg(
            flags::one("search", "CRITERIA", "IMAP search criteria, such as 'UNSEEN FROM ben'; dates may be written 2026-11-26")
                .conflicts_with("account"),
        )
        .arg(
            flags::one("output", "FORMAT", "maildir, mbox, eml (a file each) or json")
                .value_parser(["maildir", "mbox", "eml", "json"])
                .default_value("maildir"),
        )
        .arg(flags::one("to", "DIR", "The folder to store in; without it, --output json goes to standard output"))
        .arg(
            flags::one("limit", "N", "Store at most so many messages, the oldest first")
                .value_parser(clap::value_parser!(u64).range(1..)),
        )
        .arg(
            Arg::new("idle")
                .long("idle")
                .action(ArgAction::SetTrue)
                .help("Stay, and fetch what arrives (IMAP); Ctrl-C ends it"),
        )
        .arg(
            Arg::new("delete")
                .long("delete")
                .action(ArgAction::SetTrue)
                .help("Remove from the server what is stored durably, now or by an earlier run"),
        )
        .arg(
            Arg::new("yes")
                .long("yes")
                .action(ArgAction::SetTrue)
                .help("Approve the server found from the address without being asked"),
        );
    flags::add(command, &Topic::ALL)
}
