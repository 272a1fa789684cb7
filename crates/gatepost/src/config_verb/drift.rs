//! `gatepost config drift`: what changed between what was generated, what is configured and what is live.
//!
//! The state is one JSON file. `config generate --state` notes what was made; the first `drift` notes what the files say and what the
//! hosts show; each later one tells what is different, and with `--update` takes it over. Nothing secret is in it.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use clap::builder::PathBufValueParser;
use clap::{Arg, ArgAction, ArgMatches, Command};
use gatepost_audit::finding::Severity;
use gatepost_trust::cert;
use serde_json::{Value, json};

use super::generate::{Made, Wanted};
use super::words::hash;
use super::{files, lint};
use crate::client::flags::{self, Topic};
use crate::client::reach;
use crate::client::text::plain;
use crate::client::url::Url;
use crate::exit::Failure;
use crate::whole;

const SCHEMA: &str = "gatepost-config-drift-1";

/// The doors that are looked at when a host has none named.
const DOORS: [&str; 3] = ["smtp", "submissions", "imaps"];

/// The verb on the command line.
pub(crate) fn command() -> Command {
    let command = Command::new("drift")
        .about("Tell what changed between what was generated, what is configured and what is live")
        .after_help(
            "Examples:\n  gatepost config generate --for postfix --domain example.org --host mail.example.org --output etc --state mail.json\n  \
             gatepost config drift --state mail.json --config /etc/postfix/main.cf mail.example.org      notes what is there\n  \
             gatepost config drift --state mail.json mail.example.org                                    tells what changed since\n\n\
             A HOST is a name (ports 25, 465 and 993 are looked at) or a URL such as imaps://mail.example.org.\n\
             Exit codes: 0 nothing changed, 1 something did, 3 a host or file could not be looked at.",
        )
        .arg(Arg::new("hosts").value_name("HOST").num_args(0..).help("A server to look at, or a URL"))
        .arg(
            Arg::new("state")
                .long("state")
                .value_name("FILE")
                .required(true)
                .value_parser(PathBufValueParser::new())
                .help("The file with what was noted"),
        )
        .arg(
            Arg::new("config")
                .long("config")
                .value_name("FILE")
                .action(ArgAction::Append)
                .value_parser(PathBufValueParser::new())
                .help("A configuration in use, to be watched; repeatable, kept in the state"),
        )
        .arg(Arg::new("update").long("update").action(ArgAction::SetTrue).help("Take what is there now as what should be"));
    flags::add(command, &[Topic::Trust, Topic::Network, Topic::Output])
}

/// The state.
struct State {
    path: PathBuf,
    value: Value,
}

impl State {
    fn read(path: &Path) -> Result<Self, Failure> {
        let empty = json!({"schema": SCHEMA, "generated": {}, "configured": {}, "live": {}});
        let value = if path.exists() {
            let text = files::text(path)
                .map_err(|why| Failure::usage(format!("cannot read {}: {why}", path.display())))?;
            let value: Value = serde_json::from_str(&text)
                .map_err(|error| Failure::usage(format!("{}: {error}", path.display())))?;
            let parts = ["generated", "configured", "live"];
            if value["schema"] != SCHEMA || parts.iter().any(|it| !value[*it].is_object()) {
                return Err(Failure::usage(format!(
                    "{} is no state of config drift",
                    path.display()
                )));
            }
            value
        } else {
            empty
        };
        Ok(Self {
            path: path.to_owned(),
            value,
        })
    }

    /// Written beside and put in place at once: a crash leaves the old one.
    fn write(&self) -> Result<(), Failure> {
        whole::replace(&self.path, format!("{:#}\n", self.value).as_bytes())
    }
}

/// Notes what `config generate` made.
pub(crate) fn note_generated(
    state: &Path,
    server: &str,
    wanted: &Wanted,
    made: &[Made],
    folder: Option<&PathBuf>,
) -> Result<(), Failure> {
    let mut state = State::read(state)?;
    let files: BTreeMap<&str, Value> = made
        .iter()
        .map(|it| {
            let path = folder.map(|folder| folder.join(it.name).display().to_string());
            (
                it.name,
                json!({"hash": hash(&it.text), "lines": lines(&it.text), "path": path}),
            )
        })
        .collect();
    state.value["generated"][server] = json!({
        "version": wanted.version.to_string(), "profile": wanted.profile.word(), "domain": wanted.domain, "host": wanted.host, "files": files,
    });
    state.write()
}

/// The lines that say something, white space made one.
fn lines(text: &str) -> Vec<String> {
    text.lines()
        .map(|line| line.split_whitespace().collect::<Vec<_>>().join(" "))
        .filter(|line| !line.is_empty() && !line.starts_with('#'))
        .collect()
}

pub(crate) fn run(given: &ArgMatches) -> Result<(), Failure> {
    let path = given
        .get_one::<PathBuf>("state")
        .cloned()
        .unwrap_or_default();
    let mut state = State::read(&path)?;
    let update = given.get_flag("update");
    let (mut changed, mut unknown) = (Vec::new(), Vec::new());
    generated(&state.value, &mut changed, &mut unknown);
    let named: Vec<String> = given
        .get_many::<PathBuf>("config")
        .into_iter()
        .flatten()
        .map(|it| it.display().to_string())
        .collect();
    configured(&mut state.value, &named, update, &mut changed, &mut unknown);
    for url in urls(given)? {
        live(
            &mut state.value,
            &url,
            given,
            update,
            (&mut changed, &mut unknown),
        );
    }
    state.write()?;
    report(given, &changed, &unknown);
    if !changed.is_empty() && !update {
        return Err(Failure::finding(format!(
            "{} changes since what {} notes",
            changed.len(),
            path.display()
        )));
    }
    if !unknown.is_empty() {
        return Err(Failure::local("not everything could be looked at"));
    }
    Ok(())
}

fn report(given: &ArgMatches, changed: &[String], unknown: &[String]) {
    if given.get_flag("json") {
        println!(
            "{:#}",
            json!({"schema": SCHEMA, "changed": changed, "unknown": unknown})
        );
        return;
    }
    for (word, texts) in [("changed", changed), ("unknown", unknown)] {
        for text in texts {
            let mut lines = text.lines();
            println!("{word}  {}", plain(lines.next().unwrap_or_default()));
            for line in lines {
                println!("         {}", plain(line.trim()));
            }
        }
    }
    if changed.is_empty() && unknown.is_empty() {
        println!("nothing changed");
    }
}

/// Generated files that were written: what of them is not in the file any more.
fn generated(state: &Value, changed: &mut Vec<String>, unknown: &mut Vec<String>) {
    for (server, made) in state["generated"].as_object().into_iter().flatten() {
        for (name, file) in made["files"].as_object().into_iter().flatten() {
            let Some(path) = file["path"].as_str() else {
                continue;
            };
            let text = match files::text(Path::new(path)) {
                Ok(text) => text,
                Err(why) => {
                    unknown.push(format!("{server} {name}: {path}: {why}"));
                    continue;
                }
            };
            if file["hash"] == hash(&text) {
                continue;
            }
            let there = lines(&text);
            let wanted: Vec<&str> = file["lines"]
                .as_array()
                .into_iter()
                .flatten()
                .filter_map(Value::as_str)
                .collect();
            for line in wanted
                .iter()
                .filter(|line| !there.iter().any(|it| it == *line))
            {
                changed.push(format!("{path}: generated and not there any more: {line}"));
            }
            for line in there.iter().filter(|line| !wanted.contains(&line.as_str())) {
                changed.push(format!("{path}: not generated: {line}"));
            }
        }
    }
}

/// Configurations in use: their lines against those noted, and what the lint says of them now and did not before.
fn configured(
    state: &mut Value,
    named: &[String],
    update: bool,
    changed: &mut Vec<String>,
    unknown: &mut Vec<String>,
) {
    let known = state["configured"]
        .as_object()
        .into_iter()
        .flatten()
        .map(|(path, _)| path.clone());
    let mut paths: Vec<String> = known.chain(named.iter().cloned()).collect();
    paths.sort();
    paths.dedup();
    for path in paths {
        let now = match facts_of(&path) {
            Ok(now) => now,
            Err(failure) => {
                unknown.push(failure.to_string());
                continue;
            }
        };
        let before = state["configured"].get(&path).cloned();
        if let Some(before) = &before {
            for (part, words) in [("lines", "line"), ("findings", "finding")] {
                differences(&before[part], &now[part], |sign, text| {
                    changed.push(format!("{path}: {words} {sign}: {text}"));
                });
            }
        }
        if before.is_none() || update {
            state["configured"][path.as_str()] = now;
        }
    }
}

fn facts_of(path: &str) -> Result<Value, Failure> {
    let outcome = lint::judge(None, path, None)?;
    let findings: Vec<String> = outcome
        .findings
        .iter()
        .filter(|it| it.rule.severity >= Severity::Medium)
        .map(|it| format!("{} {}", it.rule.id, it.evidence))
        .collect();
    let all: Vec<String> = outcome
        .documents
        .iter()
        .flat_map(|it| lines(&it.text))
        .collect();
    // The lines themselves may hold secrets: their names are enough to say what changed, their hashes that they did.
    let lines: Vec<String> = all
        .iter()
        .map(|line| {
            let name: String = line
                .chars()
                .take_while(|it| !matches!(it, '=' | ' ' | '{'))
                .take(60)
                .collect();
            format!("{name} ({})", &hash(line)[..8])
        })
        .collect();
    Ok(json!({"lines": lines, "findings": findings}))
}

fn differences(before: &Value, now: &Value, mut tell: impl FnMut(&str, &str)) {
    let texts = |value: &Value| -> Vec<String> {
        value
            .as_array()
            .into_iter()
            .flatten()
            .filter_map(|it| it.as_str().map(str::to_owned))
            .collect()
    };
    let (before, now) = (texts(before), texts(now));
    now.iter()
        .filter(|it| !before.contains(it))
        .for_each(|it| tell("new", it));
    before
        .iter()
        .filter(|it| !now.contains(it))
        .for_each(|it| tell("gone", it));
}

fn urls(given: &ArgMatches) -> Result<Vec<Url>, Failure> {
    let mut urls = Vec::new();
    for host in given.get_many::<String>("hosts").into_iter().flatten() {
        if host.contains("://") {
            urls.push(Url::parse(host).map_err(Failure::usage)?);
        } else {
            for door in DOORS {
                urls.push(Url::parse(&format!("{door}://{host}")).map_err(Failure::usage)?);
            }
        }
    }
    Ok(urls)
}

/// What a server shows, against what was noted.
fn live(
    state: &mut Value,
    url: &Url,
    given: &ArgMatches,
    update: bool,
    (changed, unknown): (&mut Vec<String>, &mut Vec<String>),
) {
    let look = match reach::look(url, given) {
        Ok(look) => look,
        Err(failure) => return unknown.push(failure.to_string()),
    };
    let place = url.place(look.door.port);
    let leaf = look.chain.first().and_then(|it| cert::describe(it).ok());
    let now = json!({
        "tls": look.channel_word(),
        "verified": look.verified.map(|it| it.to_string()),
        "key": leaf.as_ref().map(|it| it.key_pin.to_string()),
        "certificate": leaf.as_ref().map(|it| it.certificate_pin.to_string()),
        "issuer": leaf.as_ref().map(|it| it.issuer.clone()),
        "names": leaf.as_ref().map(|it| it.names.clone()),
    });
    let before = state["live"].get(&place).cloned();
    if let Some(before) = &before {
        for name in ["tls", "verified", "key", "certificate", "issuer", "names"] {
            if before[name] != now[name] {
                changed.push(format!(
                    "{place}: {name}: {} is now {}",
                    before[name], now[name]
                ));
            }
        }
    }
    if before.is_none() || update {
        state["live"][place.as_str()] = now;
    }
}
