//! The flags of `watch`.

use clap::builder::PathBufValueParser;
use clap::{Arg, ArgAction, Command};

pub(crate) fn command() -> Command {
    Command::new("watch")
        .about("Say what leaks: read captured packets of mail sessions and judge what went in clear")
        .long_about(
            "Say what leaks: read captured packets and judge what went in clear.\n\n\
             Takes pcap and pcapng files, also in gzip and zstd, and - for standard input. Protocols are told by what is said, not \
             by ports. Nothing printed ever contains a password, a token or a mail; user names are keyed hashes unless \
             --reveal-users. What a capture does not show is told as not seen.",
        )
        .after_help(
            "Examples:\n  gatepost watch capture.pcap\n  gatepost watch --json *.pcapng.gz\n  \
             tcpdump -i eth0 -w - port 25 or port 587 | gatepost watch -\n  \
             gatepost watch --fail-on medium test-run.pcap       a gate: no plaintext in this test run\n\n\
             Exit codes: 0 nothing at or above --fail-on, 1 findings, 2 wrong usage, 3 a capture could not be read.",
        )
        .arg(
            Arg::new("file")
                .value_name("FILE")
                .value_parser(PathBufValueParser::new())
                .action(ArgAction::Append)
                .required(true)
                .help("A capture, a folder of captures, or - for standard input"),
        )
        .arg(flag("json", "Print one JSON object per line: findings, sessions, at the end a summary"))
        .arg(
            Arg::new("fail-on")
                .long("fail-on")
                .value_name("SEVERITY")
                .value_parser(["info", "low", "medium", "high", "critical"])
                .default_value("low")
                .help("End with 1 from this severity on"),
        )
        .arg(flag("reveal-users", "Show user names instead of their hashes; passwords and tokens are never shown"))
        .arg(path("key-file", "Hash names with the key in this file, so that several runs can be compared; made if absent"))
        .arg(flag("ignore-vlan", "Join packets of one connection that were tagged differently"))
        .arg(path("ca-file", "Trust the authorities in this file besides those of the system"))
        .arg(flag("no-system-roots", "Do not trust the authorities of the system"))
}

fn flag(name: &'static str, help: &'static str) -> Arg {
    Arg::new(name)
        .long(name)
        .action(ArgAction::SetTrue)
        .help(help)
}

fn path(name: &'static str, help: &'static str) -> Arg {
    Arg::new(name)
        .long(name)
        .value_name("FILE")
        .value_parser(PathBufValueParser::new())
        .help(help)
}
