//! The flags of `check`.

use clap::builder::PossibleValuesParser;
use clap::{Arg, ArgAction, Command};
use gatepost_audit::check::profile;

use crate::client::flags::{self, Topic};

const EXAMPLES: &str = "Examples:
  gatepost check mail.example.org                     the mail ports of a host
  gatepost check example.org                          a domain: DNS, policies, and all its servers
  gatepost check anna@example.org                     the same for the domain of an address
  gatepost check smtp://mx.example.org                one service
  gatepost check smtp://127.0.0.1:10587 --role submission --ca ca.pem
  gatepost check imap://mail.example.org --tier deep  every suite, and the rarer attacks
  gatepost check mx.example.org --tier intrusive --consent   own servers: Heartbleed, ROBOT, open relay, …
  gatepost check smtp://mx.example.org --tier intrusive --consent --smuggling me@example.org   does anything but CRLF.CRLF end a mail?
  gatepost check mail.example.org --profile ncsc-2025 --fail-on medium
  gatepost check smtp://mx.example.org --json         for scripts
  gatepost check mail.example.org --html report.html --junit report.xml
  gatepost check --explain STLS-001                   what it means, and what to write in which program
  gatepost check --reassess facts.json --profile strict
  gatepost check --diff monday.json tuesday.json
  gatepost check --list hosts.txt --tier light --state hosts.state > hosts.jsonl
  gatepost check --list hosts.txt --tier light --share postgres://anna@db.example.org/lists --share-name march
  gatepost check --tier light --share postgres://anna@db.example.org/lists --share-name march   a second machine
  gatepost check --share postgres://anna@db.example.org/lists --share-name march --results > hosts.jsonl
  gatepost check --parquet hosts.jsonl hosts.parquet  the same as columns
  gatepost check mail.example.org --every 6h --state watch.json --metrics 127.0.0.1:9464

No credential is ever sent, and no mail but with --smuggling, to the mailbox named there. --tier intrusive provokes servers with what no honest client sends; ask their owner first. Exit codes: 0 nothing at or above --fail-on, 1 findings, 2 wrong usage,
3 nothing failed and something could not be told.";

/// The verb on the command line.
pub(crate) fn command() -> Command {
    let command = Command::new("check")
        .about(
            "Is a server or a domain set up right? What is wrong, who is at fault, how to fix it",
        )
        .after_help(EXAMPLES)
        .arg(
            Arg::new("target")
                .value_name("TARGET")
                .action(ArgAction::Append)
                .required_unless_present_any(super::output::WITHOUT_TARGET)
                .help("A domain, a host, HOST:PORT, or a URL such as smtp://mail.example.org:25"),
        )
        .arg(
            word(
                "role",
                "ROLE",
                &[
                    "mx",
                    "submission",
                    "access",
                    "imap",
                    "pop3",
                    "sieve",
                    "lmtp",
                ],
            )
            .help("The part the service plays [default: by its scheme and port]"),
        )
        .arg(
            Arg::new("profile")
                .long("profile")
                .value_name("NAME")
                .value_parser(PossibleValuesParser::new(profile::names()))
                .default_value(profile::DEFAULT)
                .help("By what it is judged"),
        )
        .args(tiers())
        .arg(
            Arg::new("connections")
                .long("connections")
                .value_name("N")
                .value_parser(clap::value_parser!(u32).range(1..))
                .help("No more connections than this for each address and port"),
        )
        .arg(
            word(
                "fail-on",
                "SEVERITY",
                &["info", "low", "medium", "high", "critical"],
            )
            .default_value("high")
            .help("Exit code 1 from this severity on"),
        )
        .arg(
            Arg::new("hello")
                .long("hello")
                .value_name("NAME")
                .help("The name said in EHLO; the default tells nothing of this machine"),
        );
    let command = command
        .args(trust())
        .args(super::output::flags())
        .args(super::apart::flags())
        .args(super::list::flags())
        .args(shared())
        .args(super::every::flags());
    let command = command.arg(
        Arg::new("selector")
            .long("selector")
            .value_name("NAME")
            .action(ArgAction::Append)
            .help("Look at this DKIM key of the domain, SELECTOR._domainkey; repeatable"),
    );
    flags::add(command, &[Topic::Network, Topic::Output])
}

/// Working together with other machines, where that was built in.
fn shared() -> Vec<Arg> {
    #[cfg(feature = "postgres")]
    return super::share::flags();
    #[cfg(not(feature = "postgres"))]
    Vec::new()
}

/// Whom to trust.
fn trust() -> [Arg; 3] {
    [
        Arg::new("ca")
            .long("ca")
            .value_name("FILE")
            .action(ArgAction::Append)
            .help("Trust the certificates in this PEM file as well; repeatable"),
        Arg::new("no-system-ca")
            .long("no-system-ca")
            .action(ArgAction::SetTrue)
            .help("Do not trust the system's authorities"),
        Arg::new("tls-name")
            .long("tls-name")
            .value_name("NAME")
            .help("The name the certificate must be for [default: the host as you wrote it]"),
    ]
}

/// How deep, and the leave to go to the bottom.
fn tiers() -> [Arg; 3] {
    let tier = word("tier", "TIER", &["light", "default", "deep", "intrusive"])
        .default_value("default")
        .help("How deep: 1, 12, 130 or 170 connections at most for each address and port");
    let consent = Arg::new("consent")
        .long("consent")
        .action(ArgAction::SetTrue)
        .help("The servers are mine, or their owner agrees; --tier intrusive wants it");
    let smuggling = Arg::new("smuggling")
        .long("smuggling")
        .value_name("ADDRESS")
        .help("With --tier intrusive: a mailbox of yours at the server, to try false ends of a mail on; test mails may arrive there");
    [tier, consent, smuggling]
}

fn word(name: &'static str, value: &'static str, words: &[&'static str]) -> Arg {
    Arg::new(name)
        .long(name)
        .value_name(value)
        .value_parser(PossibleValuesParser::new(words.to_vec()))
}
