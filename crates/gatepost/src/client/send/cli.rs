//! `gatepost send` on the command line.

use clap::{Arg, ArgAction, Command};

use super::super::flags::{self, Topic};

/// The verb.
pub(crate) fn command() -> Command {
    let command = Command::new("send")
        .about("Send a message")
        .long_about(
            "Send a message: over STARTTLS or implicit TLS to a server whose certificate is verified, or not at all.\n\n\
             The input is the text, or a ready message if it begins with a header.",
        )
        .after_help(
            "Examples:\n  gatepost send --from anna@example.org --to ben@example.net --subject Hello letter.txt\n  \
             gatepost send --server submission://mail.example.org --from anna@example.org --to ben@example.net --user anna@example.org \
             --password-command 'pass mail' --attach report.pdf < letter.txt\n  \
             gatepost send --server smtp://localhost:10025 --tls starttls --ca gatepost-data/ca.pem --from a@gatepost.test --to me@gatepost.test \
             message.eml\n\n\
             Exit codes: 0 taken for all recipients, 1 refused or the server failed verification, 2 wrong usage, 3 network or try again later.",
        )
        .arg(
            Arg::new("file")
                .value_name("FILE")
                .default_value("-")
                .help("The text or the ready message (- for standard input)"),
        )
        .arg(flags::one("server", "URL", "Hand it in here [default: kept for the sender's address, or found from it]"))
        .arg(
            Arg::new("from")
                .long("from")
                .value_name("ADDRESS")
                .required(true)
                .help("The sender: anna@example.org, or \"Anna <anna@example.org>\"; <> for none"),
        )
        .arg(many("to", "ADDRESS", "A recipient; repeatable"))
        .arg(many("cc", "ADDRESS", "A recipient of a copy; repeatable"))
        .arg(many("bcc", "ADDRESS", "A recipient nobody else sees: in no header; repeatable"))
        .arg(flags::one("subject", "TEXT", "The subject"))
        .arg(many("header", "FIELD", "A header field more, such as \"X-Note: hello\"; repeatable"))
        .arg(many("attach", "FILE", "A file to go with it; repeatable"))
        .arg(
            Arg::new("raw")
                .long("raw")
                .action(ArgAction::SetTrue)
                .conflicts_with("body")
                .help("The input is a ready message, whatever it looks like"),
        )
        .arg(
            Arg::new("body")
                .long("body")
                .action(ArgAction::SetTrue)
                .help("The input is text, whatever it looks like"),
        )
        .arg(flags::one("envelope-from", "ADDRESS", "Where reports of failed delivery go [default: the sender]"))
        .arg(
            flags::one("hello", "NAME", "The name said in EHLO; the default tells nothing of this machine")
                .default_value("[127.0.0.1]"),
        )
        .arg(
            Arg::new("yes")
                .long("yes")
                .action(ArgAction::SetTrue)
                .help("Approve the server found from the address without being asked"),
        );
    flags::add(command, &Topic::ALL)
}

fn many(name: &'static str, value: &'static str, help: &'static str) -> Arg {
    flags::one(name, value, help).action(ArgAction::Append)
}
