//! `gatepost config dns`: what a mail domain publishes, in the order to publish it, and with `--verify` whether it is there.
//!
//! [SRVREC-01] First what others find out about failures by (TLS-RPT), then what can fail (MTA-STS in testing mode, DANE). Records for a
//! host of another zone are printed as comments: they are that zone's to publish.

mod probe;
mod records;
mod verify;

use std::net::IpAddr;
use std::path::PathBuf;

use clap::builder::PathBufValueParser;
use clap::{Arg, ArgAction, ArgMatches, Command};
use gatepost_trust::cert;
use gatepost_trust::tlsa::Tlsa;

use self::probe::Tried;
use super::words;
use crate::client::flags::{self, Topic};
use crate::client::reach;
use crate::client::url::Url;
use crate::exit::Failure;
use crate::whole;

/// What a zone is made for.
#[derive(Debug, Clone)]
pub(crate) struct Wanted {
    /// The mail domain.
    pub(crate) domain: String,
    /// The mail server.
    pub(crate) host: String,
    /// Further MX hosts, in order.
    pub(crate) more: Vec<String>,
    /// The server's addresses.
    pub(crate) addresses: Vec<IpAddr>,
    /// TLSA records of the server's key, and of the next one.
    pub(crate) tlsa: Vec<Tlsa>,
    /// The ports TLSA records are for.
    pub(crate) tlsa_ports: Vec<u16>,
    /// The authority that may issue.
    pub(crate) issuer: String,
    /// MTA-STS' mode.
    pub(crate) mode: String,
    /// Where reports go.
    pub(crate) reports: String,
    /// POP3 is served.
    pub(crate) pop3: bool,
    /// What came of trying the services; none: they were not tried.
    pub(crate) tried: Option<Tried>,
}

/// The verb on the command line.
pub(crate) fn command() -> Command {
    let text = |name: &'static str, value: &'static str, help: &'static str| {
        Arg::new(name).long(name).value_name(value).help(help)
    };
    let many = |name: &'static str, value: &'static str, help: &'static str| {
        text(name, value, help).action(ArgAction::Append)
    };
    let switch = |name: &'static str, help: &'static str| {
        Arg::new(name)
            .long(name)
            .action(ArgAction::SetTrue)
            .help(help)
    };
    let file = |name: &'static str, help: &'static str| {
        text(name, "FILE", help).value_parser(PathBufValueParser::new())
    };
    let command = Command::new("dns")
        .about("Print what a mail domain publishes in DNS, in the order to publish it; or see whether it is there")
        .after_help(
            "Examples:\n  gatepost config dns example.org --host mail.example.org --address 192.0.2.1 --chain chain.pem\n  \
             gatepost config dns example.org --host mail.example.org --live          the certificate the server shows on port 25 now\n  \
             gatepost config dns example.org --host mail.example.org --chain chain.pem --next next.pem    before a change of keys\n  \
             gatepost config dns example.org --host mail.example.org --chain chain.pem --probe            TLSA only where TLS works\n  \
             gatepost config dns example.org --host mail.example.org --live --verify   exit code 1 if something is missing or wrong",
        )
        .arg(Arg::new("zone").value_name("DOMAIN").required(true).help("The mail domain"))
        .arg(text("host", "H", "The mail server [default: mail.DOMAIN]"))
        .arg(many("mx", "H", "A further MX host, less preferred; repeatable"))
        .arg(many("address", "IP", "An address of the server; repeatable"))
        .arg(file("chain", "The certificate in use, for TLSA"))
        .arg(file("next", "The next certificate, for TLSA: published before it is used"))
        .arg(switch("live", "Take the certificate the server shows now, on the first of --tlsa-ports").conflicts_with("chain"))
        .arg(text("tlsa-ports", "PORTS", "Ports TLSA records are for").default_value("25"))
        .arg(
            switch("probe", "Try TLS at every address of the server, and hold TLSA records back where it does not work or the zone is not signed")
                .conflicts_with("verify"),
        )
        .arg(text("issuer", "CA", "The authority that may issue certificates (CAA)").default_value("letsencrypt.org"))
        .arg(text("sts-mode", "MODE", "MTA-STS: testing first, enforce when the reports are clean").value_parser(["testing", "enforce", "none"]).default_value("testing"))
        .arg(text("reports", "ADDRESS", "Where TLS reports go [default: tlsrpt@DOMAIN]"))
        .arg(switch("pop3", "POP3 is served too"))
        .arg(switch("verify", "Ask DNS whether it is there as it should be, instead of printing it"))
        .arg(switch("json", "With --verify: print JSON"));
    flags::add(command, &[Topic::Network])
}

pub(crate) fn run(given: &ArgMatches) -> Result<(), Failure> {
    let mut wanted = wanted(given)?;
    if given.get_flag("verify") {
        return verify::run(&wanted, given);
    }
    if given.get_flag("probe") {
        wanted.tried = Some(probe::run(&wanted, given)?);
    }
    print!("{}", records::zone(&wanted));
    match &wanted.tried {
        Some(tried) => tried.verdict(&wanted.host),
        None => Ok(()),
    }
}

fn wanted(given: &ArgMatches) -> Result<Wanted, Failure> {
    let text = |name: &str| given.get_one::<String>(name).map_or("", String::as_str);
    let many = |name: &str| given.get_many::<String>(name).into_iter().flatten();
    let domain = words::host(text("zone"), "the domain")?;
    let host = match text("host") {
        "" => format!("mail.{domain}"),
        host => words::host(host, "--host")?,
    };
    let addresses = many("address").map(|it| {
        it.parse()
            .map_err(|_| Failure::usage(format!("--address {it}: no IP address")))
    });
    let ports = text("tlsa-ports").split(',').map(|it| {
        it.trim().parse().map_err(|_| {
            Failure::usage(format!("--tlsa-ports {it}: ports with commas between them"))
        })
    });
    let reports = match text("reports") {
        "" => format!("tlsrpt@{domain}"),
        address => {
            let (local, domain) = words::address(address)?;
            format!("{local}@{domain}")
        }
    };
    if !reports
        .chars()
        .all(|it| it.is_ascii_alphanumeric() || "@.-_+".contains(it))
    {
        return Err(Failure::usage(format!(
            "--reports {reports}: letters, digits and .-_+ only"
        )));
    }
    let tlsa_ports: Vec<u16> = ports.collect::<Result<_, _>>()?;
    Ok(Wanted {
        more: many("mx")
            .map(|it| words::host(it, "--mx"))
            .collect::<Result<_, _>>()?,
        addresses: addresses.collect::<Result<_, _>>()?,
        tlsa: tlsa(&host, &tlsa_ports, given)?,
        tlsa_ports,
        issuer: words::host(text("issuer"), "--issuer")?,
        mode: text("sts-mode").to_owned(),
        pop3: given.get_flag("pop3"),
        reports,
        domain,
        host,
        tried: None,
    })
}

/// What is spoken at a port of the host; at one without a service of its own, SMTP.
fn service(host: &str, port: u16) -> Result<Url, Failure> {
    let scheme = match port {
        465 => "submissions",
        587 => "submission",
        143 => "imap",
        993 => "imaps",
        110 => "pop3",
        995 => "pop3s",
        4190 => "sieve",
        _ => "smtp",
    };
    Url::parse(&format!("{scheme}://{host}:{port}")).map_err(Failure::usage)
}

/// Records 3 1 1 for the certificate in use, and for the next one behind it.
fn tlsa(host: &str, ports: &[u16], given: &ArgMatches) -> Result<Vec<Tlsa>, Failure> {
    let mut chains = Vec::new();
    if given.get_flag("live")
        && let Some(port) = ports.first()
    {
        chains.push(reach::chain_of(&service(host, *port)?, given)?);
    }
    for name in ["chain", "next"] {
        if let Some(path) = given.get_one::<PathBuf>(name) {
            let octets = whole::read(path).map_err(|error| {
                Failure::usage(format!("cannot read {}: {error}", path.display()))
            })?;
            chains.push(
                cert::read_chain(&octets)
                    .map_err(|error| Failure::usage(format!("{}: {error}", path.display())))?,
            );
        }
    }
    let mut records: Vec<Tlsa> = Vec::new();
    for chain in chains {
        // [DANE-05] 3 1 1: the key, so that a renewal with the same key changes nothing.
        let record = chain
            .first()
            .and_then(|leaf| Tlsa::for_certificate(leaf, 3, 1, 1));
        let record = record.ok_or_else(|| Failure::usage("a certificate could not be read"))?;
        if !records.contains(&record) {
            records.push(record);
        }
    }
    Ok(records)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::client::url::Protocol;

    #[test]
    fn a_port_is_spoken_to_as_its_service_is() {
        for (port, protocol, implicit) in [
            (25, Protocol::Smtp, false),
            (465, Protocol::Submission, true),
            (587, Protocol::Submission, false),
            (993, Protocol::Imap, true),
            (143, Protocol::Imap, false),
            (995, Protocol::Pop3, true),
            (110, Protocol::Pop3, false),
            (4190, Protocol::Sieve, false),
            (2525, Protocol::Smtp, false),
        ] {
            let url = service("mail.example.org", port).unwrap();
            let found = (url.port, url.protocol, url.implicit);
            assert_eq!(found, (Some(port), protocol, implicit));
        }
    }
}
