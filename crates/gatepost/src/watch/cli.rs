//! The flags of `watch`.

use clap::builder::PathBufValueParser;
use clap::{Arg, ArgAction, ArgGroup, Command, value_parser};

pub(crate) fn command() -> Command {
    Command::new("watch")
        .about("Say what leaks: read captured packets, an interface or logs, and judge what went in clear")
        .long_about(
            "Say what leaks: read captured packets, an interface or logs, and judge what went in clear.\n\n\
             Takes pcap and pcapng files, also in gzip and zstd, and - for standard input. Protocols are told by what is said, not \
             by ports. Nothing printed ever contains a password, a token or a mail; user names are keyed hashes unless \
             --reveal-users. What a capture does not show is told as not seen.",
        )
        .after_help(
            "Examples:\n  gatepost watch capture.pcap\n  gatepost watch --json *.pcapng.gz\n  \
             tcpdump -i eth0 -w - port 25 or port 587 | gatepost watch -\n  \
             gatepost watch --fail-on medium test-run.pcap       a gate: no plaintext in this test run\n  \
             gatepost watch -i eth0 --state servers.json         live, until Ctrl-C\n  \
             gatepost watch --log /var/log/mail.log --log journal\n  \
             gatepost watch --log /var/log/mail.log --rotated     all there is, the compressed ones too\n  \
             gatepost watch --log /var/log/mail.log --resume at   what came since the last run\n  \
             gatepost watch --log journal --follow                as it grows, until Ctrl-C\n  \
             gatepost watch --honey honey --log /var/log/mail.log  who uses the decoy of gatepost canary honey?\n  \
             gatepost watch --evidence shown.pcap capture.pcap   a capture without what was said\n\n\
             Exit codes: 0 nothing at or above --fail-on, 1 findings, 2 wrong usage, 3 a source could not be read.",
        )
        .args(sources())
        .args(reports())
        .args(judgement())
        .group(
            ArgGroup::new("source")
                .args(["file", "interface", "log"])
                .multiple(true)
                .required(true),
        )
}

fn sources() -> [Arg; 11] {
    [
        Arg::new("file")
            .value_name("FILE")
            .value_parser(PathBufValueParser::new())
            .action(ArgAction::Append)
            .help("A capture, a folder of captures, or - for standard input"),
        Arg::new("interface")
            .short('i')
            .long("interface")
            .value_name("IFACE")
            .conflicts_with_all(["follow", "evidence", "compare"])
            .help("Watch this interface until Ctrl-C; needs CAP_NET_RAW, which is given up after opening"),
        Arg::new("log")
            .long("log")
            .value_name("FILE")
            .value_parser(PathBufValueParser::new())
            .action(ArgAction::Append)
            .help("A log of Postfix, Dovecot, Exim or Gatepost; - for standard input, journal for that of systemd, journal:DIR for \
                 one in a folder; repeatable"),
        flag("rotated", "Read what each --log was rotated into first (mail.log.2.gz, mail.log.1)").requires("log"),
        path(
            "resume",
            "Keep in this file how far each --log was read, and go on there the next time",
        )
        .requires("log"),
        flag("follow", "Go on reading as files, folders or logs grow and logs are rotated, until Ctrl-C"),
        Arg::new("seconds")
            .long("seconds")
            .value_name("N")
            .value_parser(value_parser!(u64))
            .help("End -i and --follow after this time"),
        Arg::new("port")
            .long("port")
            .value_name("PORT")
            .value_parser(value_parser!(u16))
            .action(ArgAction::Append)
            .help("Let the kernel pass these ports to -i [default: those of mail, 1080 and 3128; repeatable]"),
        flag("all-ports", "Let the kernel pass everything to -i").conflicts_with("port"),
        Arg::new("workers")
            .long("workers")
            .value_name("N")
            .value_parser(value_parser!(u32).range(1..=64))
            .requires("interface")
            .help("Read -i with so many threads [default: one for each processor, up to 4]"),
        flag("ignore-vlan", "Join packets of one connection that were tagged differently"),
    ]
}

fn reports() -> [Arg; 7] {
    [
        flag(
            "json",
            "Print one JSON object per line: findings, sessions, at the end a summary",
        ),
        Arg::new("fail-on")
            .long("fail-on")
            .value_name("SEVERITY")
            .value_parser(["info", "low", "medium", "high", "critical"])
            .default_value("low")
            .help("End with 1 from this severity on"),
        flag(
            "reveal-users",
            "Show user names instead of their hashes; passwords and tokens are never shown",
        ),
        path(
            "key-file",
            "Hash names with the key in this file, so that several runs can be compared; made if absent",
        ),
        path(
            "metrics",
            "Write the counts in OpenMetrics to this file at the end",
        ),
        path(
            "html",
            "Write a page with a timeline to this file at the end",
        ),
        path(
            "evidence",
            "Write the packets of sessions with findings, all that was said overwritten, to this file",
        ),
    ]
}

fn judgement() -> [Arg; 5] {
    [
        path(
            "state",
            "Remember in this file what servers offer, and tell when one stops offering STARTTLS",
        ),
        path(
            "compare",
            "A capture of the same sessions at another point: tell what differs before TLS",
        ),
        path(
            "honey",
            "Tell every use of the decoy that gatepost canary honey keeps in this folder",
        )
        .value_name("DIR"),
        path(
            "ca-file",
            "Trust the authorities in this file besides those of the system",
        ),
        flag(
            "no-system-roots",
            "Do not trust the authorities of the system",
        ),
    ]
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
