//! The command line: verbs, flags and their help.

use clap::builder::PathBufValueParser;
use clap::{Arg, ArgAction, Command};

use crate::config_verb;
use crate::directives::{DIRECTIVES, Directive, Kind};
use crate::{client, keep};

const EXAMPLES: &str = "Examples:
  gatepost serve                                   a mail server in this folder, ports + 10000
  gatepost serve --port-offset 0 --bind 0.0.0.0    on the real ports, reachable from everywhere
  gatepost account add anna@example.org            an account more, beside a running server
  gatepost backup /backup/gatepost                 all mail and accounts, beside a running server
  gatepost config sample > gatepost.toml           every directive, explained
  gatepost send --from A --to B letter.txt         a message, over verified TLS or not at all
  gatepost fetch imaps://mail.example.org --user U --to mail
  gatepost connect smtp://mail.example.org         what a server says, shows and is; then talk to it
  gatepost check mail.example.org                  is it set up right, and if not, what to do
  gatepost watch capture.pcap                      what leaks in captured packets

Exit codes: 0 good, 1 findings, 2 wrong usage or configuration, 3 could not tell or do.";

/// The whole command line.
pub(crate) fn command() -> Command {
    Command::new("gatepost")
        .version(env!("CARGO_PKG_VERSION"))
        .about("Encrypted mail transport: SMTP, IMAP and POP3 with STARTTLS and implicit TLS")
        .after_help(EXAMPLES)
        .subcommand_required(true)
        .arg_required_else_help(true)
        .subcommand(serve())
        .subcommand(account())
        .subcommand(crate::oauth::command())
        .subcommand(config_verb::command())
        .subcommand(crate::check::command())
        .subcommand(crate::watch::command())
        .subcommands(keep::commands())
        .subcommand(crate::canary::command())
        .subcommands(client::commands())
}

fn serve() -> Command {
    let command = Command::new("serve")
        .about("Run a mail server")
        .long_about(
            "Run a mail server: SMTP, submission, IMAP and POP3, over STARTTLS and implicit TLS, with its own mailboxes.\n\n\
             Without anything said it makes ./gatepost-data with a local certificate authority and the account \
             me@gatepost.test, and listens on 127.0.0.1 with 10000 added to every port.",
        )
        .after_help(
            "Examples:\n  gatepost serve\n  gatepost serve --bind 127.0.0.1 --bind ::1 --port-offset 20000\n  \
             gatepost serve --account anna@example.org --password-file anna.txt\n  gatepost serve --config gatepost.toml\n  \
             gatepost serve --upstream smtp://127.0.0.1:25 --upstream imap://127.0.0.1:143 --upstream pop3://127.0.0.1:110\n\n\
             Signals: SIGTERM and SIGINT end it in an orderly way within 10 seconds; SIGHUP reads the certificates and the settings again.",
        )
        .arg(file("config", "FILE", "Read directives from this TOML file (see gatepost config sample)"))
        .arg(
            Arg::new("account").long("account").value_name("ADDRESS").action(ArgAction::Append)
                .help("Make sure this account exists; repeatable, each with its --password-file"),
        )
        .arg(
            Arg::new("password-file").long("password-file").value_name("FILE").action(ArgAction::Append)
                .value_parser(PathBufValueParser::new()).requires("account")
                .help("The password of the --account in the same place: the file's first line"),
        )
        .arg(file("ready-file", "PATH", "Write this file when every listener accepts: JSON with version, pid, ports, CA"));
    let command = command.args(crate::lab::flags());
    DIRECTIVES
        .iter()
        .filter(|directive| directive.flag.is_some())
        .fold(command, |command, directive| command.arg(flag(directive)))
}

/// The flag of a directive.
fn flag(directive: &'static Directive) -> Arg {
    let list = matches!(
        directive.kind,
        Kind::Texts | Kind::Mechanisms | Kind::Addresses | Kind::Networks
    );
    let name = directive.flag.unwrap_or_default();
    let repeat = if list { "; repeatable" } else { "" };
    // As it would be typed behind the flag, not as it stands in the file.
    let default = directive.default.trim_matches(['[', ']']).replace('"', "");
    Arg::new(directive.name)
        .long(name)
        .value_name(directive.kind.placeholder())
        .action(if list {
            ArgAction::Append
        } else {
            ArgAction::Set
        })
        .help(format!("{} [default: {default}{repeat}]", directive.short))
        .long_help(format!(
            "{}.\n{}\nTakes {} [default: {default}{repeat}]",
            directive.short,
            directive.long,
            directive.kind.expected_of_flag(),
        ))
}

fn account() -> Command {
    let address = || {
        Arg::new("address")
            .value_name("ADDRESS")
            .required(true)
            .help("The account's mail address")
    };
    let password = || {
        file("password-file", "FILE", "Read the password from this file's first line (- for standard input)")
            .long_help("Read the password from this file's first line (- for standard input). Without it, the environment variable GATEPOST_PASSWORD is used, else it is asked for.")
    };
    let quota = |name: &'static str| {
        Arg::new(name)
            .value_name("SIZE")
            .help("The most it may keep: octets, or with KiB, MiB, GiB; none: no limit")
    };
    Command::new("account")
        .about("Add, list and remove accounts, change passwords; beside a running server too")
        .after_help("Examples:\n  gatepost account add anna@example.org\n  gatepost account add anna@example.org --quota 5GiB\n  gatepost account list --json\n  gatepost account password me@gatepost.test --password-file new.txt")
        .subcommand_required(true)
        .arg_required_else_help(true)
        .arg(file("data", "DIR", "The server's data folder").default_value("gatepost-data").global(true))
        .subcommand(Command::new("add").about("Add an account").arg(address()).arg(password()).arg(quota("quota").long("quota")
            .long_help("The most it may keep: octets, or with KiB, MiB, GiB; none: no limit [default: 10 GiB; mailbox.quota is for the accounts that serve makes]")))
        .subcommand(Command::new("list").about("List the accounts").arg(Arg::new("json").long("json").action(ArgAction::SetTrue).help("As JSON")))
        .subcommand(
            Command::new("quota")
                .about("Change the most an account may keep")
                .arg(address())
                .arg(quota("size").required(true)),
        )
        .subcommand(
            Command::new("remove").about("Remove an account and all its mail").arg(address())
                .arg(Arg::new("yes").long("yes").action(ArgAction::SetTrue).help("Do not ask")),
        )
        .subcommand(Command::new("password").about("Change an account's password").arg(address()).arg(password()))
}

fn file(name: &'static str, value: &'static str, help: &'static str) -> Arg {
    Arg::new(name)
        .long(name)
        .value_name(value)
        .value_parser(PathBufValueParser::new())
        .help(help)
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_command_line_is_consistent() {
        super::command().debug_assert();
    }
}
