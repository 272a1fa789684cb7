//! `gatepost tlsa`: records to publish, and whether the published ones match the server.

use clap::{Arg, ArgAction, ArgMatches, Command};
use gatepost_trust::tlsa::{self, RecordReport, Tlsa, Usages};
use rustls_pki_types::CertificateDer;
use serde_json::{Value, json};

use super::flags::{self, Topic};
use super::url::{Host, Protocol, Url};
use super::{cert, place, reach};
use crate::exit::Failure;

/// The verb on the command line.
pub(crate) fn command() -> Command {
    let topics = [Topic::Tls, Topic::Trust, Topic::Network, Topic::Output];
    let number = |name: &'static str, default: &'static str, help: &'static str| {
        Arg::new(name)
            .long(name)
            .value_name("N")
            .default_value(default)
            .value_parser(clap::value_parser!(u8))
            .help(help)
    };
    Command::new("tlsa")
        .about("TLSA records (DANE): make them, and check the published ones")
        .after_help(
            "Examples:\n  gatepost tlsa make smtp://mail.example.org\n  gatepost tlsa make chain.pem --host mail.example.org\n  \
             gatepost tlsa check smtp://mail.example.org\n  gatepost tlsa check smtp://mail.example.org --record '3 1 1 8cb0…'\n\n\
             Publish the record of the next key beside that of the present one, two TTLs before the change.",
        )
        .subcommand_required(true)
        .arg_required_else_help(true)
        .subcommand(flags::add(
            Command::new("make")
                .about("Print records to publish")
                .arg(Arg::new("what").value_name("FILE|HOST").required(true).help("A file with the certificate, or a server [port: 25]"))
                .arg(Arg::new("host").long("host").value_name("NAME").help("The MX host the record is for, with a FILE"))
                .arg(Arg::new("port").long("port").value_name("PORT").value_parser(clap::value_parser!(u16)).help("The port the record is for [default: the server's, else 25]"))
                .arg(number("usage", "3", "Certificate usage: 3 the server's own key, 2 its authority"))
                .arg(number("selector", "1", "Selector: 1 the key, 0 the whole certificate"))
                .arg(number("matching", "1", "Matching type: 1 SHA-256, 2 SHA-512, 0 in full")),
            &topics,
        ))
        .subcommand(flags::add(
            Command::new("check")
                .about("Hold records against the chain a server shows")
                .arg(Arg::new("what").value_name("HOST").required(true).help("The server: a URL, or HOST:PORT with a well-known port [port: 25]"))
                .arg(Arg::new("record").long("record").value_name("RECORD").action(ArgAction::Append).help("Check this record, such as '3 1 1 HEX', instead of those in DNS; repeatable")),
            &topics,
        ))
}

pub(crate) fn run(given: &ArgMatches) -> Result<(), Failure> {
    match given.subcommand() {
        Some(("make", own)) => make(own),
        Some(("check", own)) => check(own),
        _ => Err(Failure::usage("no such verb; see gatepost tlsa --help")),
    }
}

fn make(given: &ArgMatches) -> Result<(), Failure> {
    let what = given.get_one::<String>("what").cloned().unwrap_or_default();
    let (chain, host, port) = source(&what, given)?;
    let number = |name| given.get_one::<u8>(name).copied().unwrap_or_default();
    let usage = number("usage");
    let certificate = if matches!(usage, 1 | 3) {
        chain.first()
    } else {
        chain.get(1)
    };
    let certificate = certificate.ok_or_else(|| {
        Failure::usage("usages 0 and 2 need the certificate of the authority behind the server's")
    })?;
    let record = Tlsa::for_certificate(certificate, usage, number("selector"), number("matching"))
        .ok_or_else(|| {
            Failure::usage("usage is 0 to 3, selector 0 or 1, matching type 0 to 2, and the certificate must be readable")
        })?;
    let owner = format!("_{port}._tcp.{host}.");
    if given.get_flag("json") {
        println!(
            "{}",
            json!({"schema": "gatepost-tlsa-1", "owner": owner, "record": record.to_string()})
        );
    } else {
        println!("{owner} IN TLSA {record}");
    }
    Ok(())
}

type Source = (Vec<CertificateDer<'static>>, String, u16);

fn source(what: &str, given: &ArgMatches) -> Result<Source, Failure> {
    let port = given.get_one::<u16>("port").copied();
    if what.contains("://") || (what.contains(':') && !what.contains('/')) {
        let url = place(what, "smtp")?;
        let look = reach::look(&url, given)?;
        let host = host_of(&url)?;
        return Ok((look.chain, host, port.unwrap_or(look.door.port)));
    }
    let (chain, _) = cert::chain(what, given)?;
    let Some(host) = given.get_one::<String>("host") else {
        return Err(Failure::usage(
            "name the host the record is for with --host NAME",
        ));
    };
    match Host::parse(host) {
        Ok(Host::Name(name)) => Ok((chain, name, port.unwrap_or(25))),
        Ok(Host::Ip(_)) => Err(Failure::usage(
            "records are published for names, not for addresses",
        )),
        Err(problem) => Err(Failure::usage(format!("--host: {problem}"))),
    }
}

fn host_of(url: &Url) -> Result<String, Failure> {
    match &url.host {
        Host::Name(name) => Ok(name.clone()),
        Host::Ip(_) => Err(Failure::usage(
            "records are published for names, not for addresses",
        )),
    }
}

fn check(given: &ArgMatches) -> Result<(), Failure> {
    let what = given.get_one::<String>("what").cloned().unwrap_or_default();
    let url = place(&what, "smtp")?;
    let usages = match url.protocol {
        Protocol::Smtp => Usages::DaneOnly,
        _ => Usages::All,
    };
    let by_hand: Vec<Tlsa> = given
        .get_many::<String>("record")
        .into_iter()
        .flatten()
        .map(|text| {
            text.parse()
                .map_err(|error| Failure::usage(format!("--record {text:?}: {error}")))
        })
        .collect::<Result<_, _>>()?;
    let look = reach::look(&url, given)?;
    let records = if by_hand.is_empty() {
        reach::published(&url, look.door.port, given)?
    } else {
        by_hand
    };
    let reports = tlsa::check(&records, &look.chain, usages);
    let good = reports
        .iter()
        .any(|it| it.unusable.is_none() && it.matches.is_some());
    if given.get_flag("json") {
        let reports: Vec<Value> = reports.iter().map(as_json).collect();
        println!(
            "{}",
            json!({"schema": "gatepost-tlsa-check-1", "server": url.place(look.door.port), "matches": good, "records": reports})
        );
    } else {
        for report in &reports {
            println!("{}\n     {}", report.record, in_words(report));
        }
    }
    if good {
        return Ok(());
    }
    let needed = look
        .chain
        .first()
        .and_then(|leaf| Tlsa::for_certificate(leaf, 3, 1, 1));
    let needed = needed.map(|it| it.to_string()).unwrap_or_default();
    Err(Failure::finding(format!(
        "no record matches the chain of {}: publish {needed}, or the server uses another key than meant",
        url.place(look.door.port)
    )))
}

fn in_words(report: &RecordReport) -> String {
    match (&report.unusable, report.matches) {
        (Some(reason), _) => format!("does not count: {reason}"),
        (None, Some(0)) => "matches the server's certificate".to_owned(),
        (None, Some(place)) => format!("matches certificate {} of the chain", place + 1),
        (None, None) => "matches nothing in the chain".to_owned(),
    }
}

fn as_json(report: &RecordReport) -> Value {
    json!({
        "record": report.record.to_string(),
        "unusable": report.unusable.as_ref().map(ToString::to_string),
        "matches": report.matches,
    })
}
