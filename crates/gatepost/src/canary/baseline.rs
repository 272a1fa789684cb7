//! `gatepost canary baseline`: what servers offer, kept, and held against what they offer the next time, or to somebody else.
//!
//! What should not be is a finding, and what was known is kept until `--accept` says that it is right so; a server seen for the first time is kept.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

use clap::builder::PathBufValueParser;
use clap::{Arg, ArgAction, ArgMatches, Command};
use gatepost_audit::canary::baseline::Seen;
use gatepost_audit::shown::shown;
use gatepost_net::client::Channel;
use gatepost_wire::client::{Entry, Speaker};
use serde_json::{Value, json};

use super::{as_json, hexadecimal, line, verdict};
use crate::client::flags::{self, Topic};
use crate::client::kinds::Kind;
use crate::client::reach;
use crate::client::settings::Settings;
use crate::client::url::{Protocol, Url};
use crate::exit::Failure;
use crate::whole;

const SCHEMA: &str = "gatepost-canary-baseline-1";

type Known = BTreeMap<String, Seen>;

pub(super) fn command() -> Command {
    let path = |name: &'static str, help: &'static str| {
        Arg::new(name)
            .long(name)
            .value_name("FILE")
            .value_parser(PathBufValueParser::new())
            .help(help)
    };
    let command = Command::new("baseline")
        .about("Keep what servers offer, and say what they do not offer any more")
        .long_about(
            "Keep what servers offer, and say what they do not offer any more: STARTTLS, REQUIRETLS, a certificate that verifies; or \
             what is offered that was not: logins before TLS.\n\nRun it from time to time, and from more than one place.",
        )
        .after_help(
            "Examples:\n  gatepost canary baseline --state seen.json smtp://mx.example.org imap://mail.example.org\n  \
             gatepost canary baseline --state seen.json --accept smtp://mx.example.org    it is right so\n  \
             gatepost canary baseline --state here.json --with there.json smtp://mx.example.org\n\n\
             Exit codes: 0 as before, 1 findings, 2 wrong usage, 3 a server was not reached.",
        )
        .arg(
            Arg::new("url")
                .value_name("URL")
                .action(ArgAction::Append)
                .required(true)
                .help("A server, such as smtp://mx.example.org"),
        )
        .arg(path("state", "Where what was seen is kept").required(true))
        .arg(path("with", "What was seen from another place, to be compared with too; repeatable").action(ArgAction::Append))
        .arg(
            Arg::new("accept")
                .long("accept")
                .action(ArgAction::SetTrue)
                .help("Keep what is seen now, findings or not"),
        );
    let topics = [Topic::Tls, Topic::Trust, Topic::Network, Topic::Output];
    flags::add(command, &topics)
}

pub(super) fn run(given: &ArgMatches) -> Result<(), Failure> {
    let settings = Settings::read(given)?;
    let path = given
        .get_one::<PathBuf>("state")
        .cloned()
        .unwrap_or_default();
    let mut known = read(&path, true)?;
    let elsewhere = given
        .get_many::<PathBuf>("with")
        .into_iter()
        .flatten()
        .map(|it| read(it, false))
        .collect::<Result<Vec<Known>, _>>()?;
    let (mut count, mut undecided) = (0, None);
    for text in given.get_many::<String>("url").into_iter().flatten() {
        let url = Url::parse(text).map_err(Failure::usage)?;
        let seen = match reach::block_on(look_by_protocol(&settings, &url)) {
            Ok(seen) => seen,
            Err(failure) if failure.code() == 3 => {
                eprintln!("gatepost: {text}: {failure}");
                undecided = Some(failure);
                continue;
            }
            Err(failure) => return Err(failure),
        };
        let found = tell(text, &seen, known.get(text), &elsewhere, settings.json);
        count += found;
        if found == 0 || given.get_flag("accept") || !known.contains_key(text) {
            known.insert(text.clone(), seen);
        }
    }
    write(&path, &known)?;
    match undecided {
        Some(failure) if count == 0 => Err(failure),
        _ => verdict(count),
    }
}

/// Prints what differs: how many findings.
fn tell(
    text: &str,
    seen: &Seen,
    known: Option<&Seen>,
    elsewhere: &[Known],
    prints_json: bool,
) -> usize {
    let others = elsewhere.iter().filter_map(|it| it.get(text));
    let mut troubles = Vec::new();
    let mut changes = Vec::new();
    for it in known.into_iter().chain(others) {
        let difference = seen.against(it);
        troubles.extend(difference.troubles);
        changes.extend(difference.changes);
    }
    if prints_json {
        let findings: Vec<Value> = troubles.iter().map(|it| as_json(it, text)).collect();
        println!(
            "{}",
            json!({
                "schema": SCHEMA, "server": text, "is_new": known.is_none(), "seen": seen.as_json(), "findings": findings,
                "changes": changes,
            })
        );
        return troubles.len();
    }
    if known.is_none() {
        println!("{text}: seen for the first time, and kept");
    } else if troubles.is_empty() && changes.is_empty() {
        println!("{text}: as before");
    }
    for it in &troubles {
        println!("{}", line(it, text));
    }
    for it in &changes {
        println!("{text}: {}", shown(it));
    }
    troubles.len()
}

async fn look_by_protocol(settings: &Settings, url: &Url) -> Result<Seen, Failure> {
    match url.protocol {
        Protocol::Smtp | Protocol::Submission | Protocol::Lmtp => {
            look::<gatepost_wire::smtp::client::Client>(settings, url).await
        }
        Protocol::Imap => look::<gatepost_wire::imap::client::Client>(settings, url).await,
        Protocol::Pop3 => look::<gatepost_wire::pop3::client::Client>(settings, url).await,
        Protocol::Sieve => look::<gatepost_wire::sieve::client::Client>(settings, url).await,
    }
}

async fn look<M: Kind>(settings: &Settings, url: &Url) -> Result<Seen, Failure> {
    let mut open = match reach::open_to_show::<M>(settings, url, "[127.0.0.1]").await? {
        Ok(open) => open,
        Err(refusal) if refusal.dialogue.is_empty() || refusal.trouble.code == 3 => {
            return Err(Failure::local(refusal.trouble.text));
        }
        Err(refusal) => {
            return Ok(Seen {
                before: offered(&refusal.dialogue, false, url.protocol),
                failed: Some(refusal.trouble.label),
                ..Seen::default()
            });
        }
    };
    let reached = open.reached();
    open.quit().await;
    let entries = open.recorder.take();
    let digest = |der: &[u8]| {
        let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, der);
        hexadecimal(digest.as_ref())
    };
    Ok(Seen {
        before: offered(&entries, false, url.protocol),
        inside: offered(&entries, true, url.protocol),
        is_encrypted: !matches!(reached.channel, Channel::Clear),
        is_verified: matches!(reached.channel, Channel::Verified(_)),
        version: reached
            .facts
            .as_ref()
            .map(|it| it.version.label().to_owned()),
        certificate: reached.chain.first().map(|it| digest(it)),
        failed: None,
    })
}

/// The capabilities in what a server said, in capitals, without their arguments.
fn offered(
    entries: &[Entry],
    encrypted: bool,
    protocol: Protocol,
) -> std::collections::BTreeSet<String> {
    let said = entries
        .iter()
        .filter(|it| it.speaker == Speaker::Server && it.encrypted == encrypted);
    let lines = said.map(|it| it.text.text().to_ascii_uppercase());
    let mut words = std::collections::BTreeSet::new();
    for line in lines {
        if let Some(at) = line.find("CAPABILITY ") {
            let list = line.get(at + 11..).unwrap_or_default();
            let list = list.split(']').next().unwrap_or_default();
            words.extend(list.split_ascii_whitespace().map(str::to_owned));
            continue;
        }
        // In IMAP nothing else tells of them; other lines begin with a tag, which is random.
        if protocol == Protocol::Imap {
            continue;
        }
        // SMTP: a line of the reply to EHLO. POP3: a line that is neither a status nor the end. ManageSieve: in quotes.
        let rest = line
            .strip_prefix("250-")
            .or_else(|| line.strip_prefix("250 "))
            .unwrap_or(&line);
        let is_status = ["+OK", "-ERR", "OK", "NO", "BYE", "*", "+", "."]
            .iter()
            .any(|it| rest.split([' ', '\t']).next() == Some(*it));
        let word = rest
            .trim_matches('"')
            .split([' ', '"'])
            .next()
            .unwrap_or_default();
        let is_word = !word.is_empty()
            && word
                .bytes()
                .all(|it| it.is_ascii_alphanumeric() || matches!(it, b'-' | b'=' | b'+'))
            && !word.starts_with(|it: char| it.is_ascii_digit());
        if is_word && !is_status {
            words.insert(word.to_owned());
        }
    }
    words
}

fn read(path: &Path, may_be_new: bool) -> Result<Known, Failure> {
    let octets = match whole::read(path) {
        Ok(octets) => octets,
        Err(error) if may_be_new && error.kind() == io::ErrorKind::NotFound => {
            return Ok(Known::new());
        }
        Err(error) => {
            return Err(Failure::local(format!(
                "cannot read {}: {error}",
                path.display()
            )));
        }
    };
    serde_json::from_slice(&octets)
        .ok()
        .and_then(|it| from_json(&it))
        .ok_or_else(|| {
            Failure::usage(format!(
                "{} is no baseline of gatepost canary",
                path.display()
            ))
        })
}

fn from_json(value: &Value) -> Option<Known> {
    (value.get("schema")?.as_str()? == SCHEMA).then_some(())?;
    let servers = value.get("servers")?.as_object()?;
    servers
        .iter()
        .map(|(name, it)| Some((name.clone(), Seen::from_json(it)?)))
        .collect()
}

fn write(path: &Path, known: &Known) -> Result<(), Failure> {
    let servers: BTreeMap<&String, Value> = known
        .iter()
        .map(|(name, it)| (name, it.as_json()))
        .collect();
    let text = json!({ "schema": SCHEMA, "servers": servers }).to_string();
    whole::replace(path, text.as_bytes())
}

#[cfg(test)]
mod tests {
    use gatepost_wire::client::Quote;

    use super::*;

    fn words(protocol: Protocol, lines: &[&str]) -> Vec<String> {
        let entries: Vec<Entry> = lines
            .iter()
            .map(|it| Entry {
                speaker: Speaker::Server,
                text: Quote::new(it.as_bytes(), false),
                encrypted: false,
                secret: false,
            })
            .collect();
        assert!(offered(&entries, true, protocol).is_empty());
        offered(&entries, false, protocol).into_iter().collect()
    }

    #[test]
    fn capabilities_of_every_protocol() {
        assert_eq!(
            words(
                Protocol::Smtp,
                &[
                    "220 mx ESMTP",
                    "250-SIZE 1000",
                    "250-StartTLS",
                    "250 AUTH PLAIN",
                    "220 go"
                ]
            ),
            ["AUTH", "SIZE", "STARTTLS"]
        );
        assert_eq!(
            words(
                Protocol::Imap,
                &[
                    "* OK [CAPABILITY IMAP4rev1 STARTTLS LOGINDISABLED] ready",
                    "* CAPABILITY IDLE",
                    "xkcd OK done"
                ]
            ),
            ["IDLE", "IMAP4REV1", "LOGINDISABLED", "STARTTLS"]
        );
        assert_eq!(
            words(Protocol::Pop3, &["+OK ready", "+OK", "STLS", "TOP", "."]),
            ["STLS", "TOP"]
        );
        assert_eq!(
            words(
                Protocol::Sieve,
                &["\"STARTTLS\"", "\"SASL\" \"PLAIN\"", "OK"]
            ),
            ["SASL", "STARTTLS"]
        );
    }
}
