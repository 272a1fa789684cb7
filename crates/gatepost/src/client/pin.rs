//! `gatepost pin`: which keys a server has now, and which it must have.
//!
//! Pins are kept in the user's `pins` file and are a condition of every later connection to that host and port, on top of whatever
//! else verifies the server [CONF-12] [PIN-02]. Setting one up connects under the strict terms of any other connection: what
//! is pinned is the key of a server that was verified, or a hash the user got from its operator.

use clap::{Arg, ArgAction, ArgMatches, Command};
use gatepost_trust::pin::{Pin, PinSet};
use serde_json::{Value, json};

use super::flags::{self, Topic};
use super::reach::{self, Look};
use super::settings::Settings;
use super::terms::{self, PINS};
use super::url::{Host, Url};
use super::{home, place};
use crate::exit::Failure;

/// The verb on the command line.
pub(crate) fn command() -> Command {
    let topics = [Topic::Tls, Topic::Trust, Topic::Network, Topic::Output];
    let host = || {
        Arg::new("host")
            .value_name("HOST")
            .help("The server: a URL such as imaps://mail.example.org, or HOST:PORT with a well-known port [port: 993]")
    };
    let report_only = Arg::new("report-only")
        .long("report-only")
        .action(ArgAction::SetTrue)
        .help("Tell a mismatch and go on: for trying pins out");
    let no_backup = Arg::new("no-backup")
        .long("no-backup")
        .action(ArgAction::SetTrue)
        .help("Pin one key only; when it is lost or replaced, you are locked out until you change the pin");
    Command::new("pin")
        .about("Pins: the keys a server has, and the keys it must have")
        .after_help(
            "Examples:\n  gatepost pin show imaps://mail.example.org\n  gatepost pin add imaps://mail.example.org --pin sha256-spki:BACKUP\n  \
             gatepost pin rotate imaps://mail.example.org --pin sha256-spki:NEXT\n  gatepost pin remove mail.example.org:993\n\n\
             The hash of a key kept aside:\n  openssl pkey -in next.key -pubout -outform der | openssl dgst -sha256",
        )
        .subcommand_required(true)
        .arg_required_else_help(true)
        .subcommand(flags::add(
            Command::new("show")
                .about("The pins a server has now, and those kept; without HOST all that are kept")
                .arg(host()),
            &topics,
        ))
        .subcommand(flags::add(
            Command::new("add")
                .about("Keep the pin of a server's key, with --pin as backup")
                .arg(host().required(true))
                .arg(no_backup)
                .arg(report_only),
            &topics,
        ))
        .subcommand(flags::add(
            Command::new("rotate")
                .about("Keep the pin in use now and the new backup given with --pin; forget the others")
                .arg(host().required(true)),
            &topics,
        ))
        .subcommand(
            Command::new("remove")
                .about("Forget the pins of a server")
                .arg(host().required(true)),
        )
}

pub(crate) fn run(given: &ArgMatches) -> Result<(), Failure> {
    let (verb, own) = given
        .subcommand()
        .ok_or_else(|| Failure::usage("no such verb; see gatepost pin --help"))?;
    // Nothing is spoken to forget a pin: as `pin show` writes it will do.
    let parse = |text: &String| match (verb, text.contains("://")) {
        ("remove", false) => Url::parse(&format!("imaps://{text}")).map_err(Failure::usage),
        _ => place(text, "imaps"),
    };
    let server = own.get_one::<String>("host").map(parse).transpose()?;
    match (verb, server) {
        ("show", None) => show_kept(own.get_flag("json")),
        ("show", Some(url)) => show(&url, own),
        ("add", Some(url)) => add(&url, own),
        ("rotate", Some(url)) => rotate(&url, own),
        ("remove", Some(url)) => remove(&url),
        _ => Err(Failure::usage("name the server; see gatepost pin --help")),
    }
}

fn show_kept(as_json: bool) -> Result<(), Failure> {
    let kept = terms::pin_file()?;
    if as_json {
        let entries: Vec<Value> = kept
            .entries()
            .map(|it| json!({"host": it.host, "port": it.port, "pins": texts(it.pins.pins()), "report_only": it.pins.report_only}))
            .collect();
        println!("{}", json!({"schema": "gatepost-pins-1", "kept": entries}));
        return Ok(());
    }
    print!("{}", kept.to_text());
    Ok(())
}

fn show(url: &Url, given: &ArgMatches) -> Result<(), Failure> {
    let look = reach::look(url, given)?;
    let kept = terms::pin_file()?;
    let pins = kept.pins(&name(&url.host), look.door.port);
    let now: Vec<(Option<Pin>, Pin)> = look
        .chain
        .iter()
        .map(|it| (Pin::of_key(it), Pin::of_certificate(it)))
        .collect();
    if given.get_flag("json") {
        let now: Vec<Value> = now
            .iter()
            .map(|(key, certificate)| json!({"key": key.map(|it| it.to_string()), "certificate": certificate.to_string()}))
            .collect();
        let kept = pins.map(|it| texts(it.pins()));
        println!(
            "{}",
            json!({"schema": "gatepost-pins-1", "server": url.place(look.door.port), "channel": look.channel_word(), "now": now, "kept": kept})
        );
        return Ok(());
    }
    println!("{}  {}", url.place(look.door.port), look.channel_word());
    for (position, (key, certificate)) in now.iter().enumerate() {
        let whose = if position == 0 { "server" } else { "issuer" };
        if let Some(key) = key {
            let mark = pins.is_some_and(|it| it.pins().contains(key));
            println!("  {whose}  {key}{}", if mark { "  (pinned)" } else { "" });
        }
        println!("          {certificate}");
    }
    match pins {
        None => println!("  nothing is pinned here"),
        Some(pins) => {
            let kept: Vec<String> = texts(pins.pins());
            println!("  kept    {}", kept.join("\n          "));
        }
    }
    Ok(())
}

fn add(url: &Url, given: &ArgMatches) -> Result<(), Failure> {
    let settings = Settings::read(given)?;
    let mut pins = settings.pins.clone();
    let look = verified(url, given)?;
    let key = key_of(&look)?;
    if !pins.contains(&key) {
        pins.insert(0, key);
    }
    // [PIN-02]
    if pins.len() < 2 && !given.get_flag("no-backup") {
        return Err(Failure::usage(format!(
            "the server's key is {key}; give the hash of a second key, kept aside, with --pin, or say --no-backup"
        )));
    }
    keep(url, look.door.port, pins, given.get_flag("report-only"))
}

fn rotate(url: &Url, given: &ArgMatches) -> Result<(), Failure> {
    let settings = Settings::read(given)?;
    let kept = terms::pin_file()?;
    let look = verified(url, given)?;
    let (host, port) = (name(&url.host), look.door.port);
    let Some(old) = kept.pins(&host, port) else {
        return Err(Failure::usage(format!(
            "nothing is pinned for {}; begin with: gatepost pin add",
            url.place(port)
        )));
    };
    let key = key_of(&look)?;
    if !old.pins().contains(&key) {
        return Err(Failure::finding(format!(
            "expected one of the pinned keys, and {key} came: this is not a rotation. Ask the operator over another way; if the key is good, \
             remove the pins and add them anew",
        )));
    }
    let next: Vec<Pin> = settings
        .pins
        .iter()
        .copied()
        .filter(|it| *it != key)
        .collect();
    if next.is_empty() {
        return Err(Failure::usage(
            "give the hash of the next backup key with --pin",
        ));
    }
    let pins = std::iter::once(key).chain(next).collect();
    keep(url, port, pins, old.report_only)
}

fn remove(url: &Url) -> Result<(), Failure> {
    let mut kept = terms::pin_file()?;
    let port = url
        .port
        .or(url.protocol.implicit_port())
        .unwrap_or(url.protocol.clear_port());
    if !kept.remove(&name(&url.host), port) {
        return Err(Failure::usage(format!(
            "nothing is pinned for {}; gatepost pin show lists what is",
            url.place(port)
        )));
    }
    home::write(PINS, &kept.to_text())?;
    println!("{} may have any key again.", url.place(port));
    Ok(())
}

/// A look at a server under strict terms, without the pins that are to be changed.
fn verified(url: &Url, given: &ArgMatches) -> Result<Look, Failure> {
    let look = reach::look_without_pins(url, given)?;
    if look.verified.is_none() {
        return Err(Failure::finding(format!(
            "nobody vouches for {}, so its key is not pinned from the wire; get the hash from its operator and write it into {}",
            url.place(look.door.port),
            home::path(PINS)?.display()
        )));
    }
    Ok(look)
}

fn key_of(look: &Look) -> Result<Pin, Failure> {
    look.chain
        .first()
        .and_then(|leaf| Pin::of_key(leaf))
        .ok_or_else(|| Failure::finding("the server's certificate cannot be read"))
}

fn keep(url: &Url, port: u16, pins: Vec<Pin>, report_only: bool) -> Result<(), Failure> {
    let mut set = PinSet::new(pins).ok_or_else(|| Failure::usage("no pin to keep"))?;
    set.report_only = report_only;
    let mut kept = terms::pin_file()?;
    kept.set(&name(&url.host), port, set.clone());
    let path = home::write(PINS, &kept.to_text())?;
    println!(
        "{} must have one of these keys from now on:",
        url.place(port)
    );
    for pin in set.pins() {
        println!("  {pin}");
    }
    println!("kept in {}", path.display());
    Ok(())
}

/// The host as it stands in the file: without brackets.
fn name(host: &Host) -> String {
    match host {
        Host::Name(name) => name.clone(),
        Host::Ip(address) => address.to_string(),
    }
}

fn texts(pins: &[Pin]) -> Vec<String> {
    pins.iter().map(ToString::to_string).collect()
}
