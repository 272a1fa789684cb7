//! `gatepost watch`: reads captures, an interface, logs; prints what leaked.
//!
//! The engine (`audit::watch`) does all the judging; here stand files, sockets, standard output and the exit code.

mod cli;
mod filter;
mod input;
mod live;
mod logs;
mod output;
mod packets;
mod stop;

use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use clap::ArgMatches;
use gatepost_audit::finding::Severity;
use gatepost_audit::watch::certificates::Judge;
use gatepost_audit::watch::history::History;
use gatepost_audit::watch::honey::Honey;
use gatepost_audit::watch::log::LogWatcher;
use gatepost_audit::watch::privacy::Privacy;
use gatepost_audit::watch::{Counters, Watcher};
use gatepost_trust::verify::Roots;

use self::output::Output;
use self::stop::Stop;
use crate::canary;
use crate::exit::Failure;
use crate::whole;

pub(crate) use cli::command;

/// How users are told of, and the one that is looked for.
struct Users {
    privacy: Privacy,
    honey: Option<Honey>,
}

impl Users {
    fn read(given: &ArgMatches) -> Result<Self, Failure> {
        let privacy = privacy(given)?;
        let honey = given
            .get_one::<PathBuf>("honey")
            .map(|folder| canary::read_honey(folder, &privacy))
            .transpose()?;
        Ok(Self { privacy, honey })
    }

    fn watcher(&self, judge: Judge) -> Watcher {
        let mut watcher = Watcher::new(self.privacy.clone(), judge);
        if let Some(honey) = &self.honey {
            watcher.seek(honey.clone());
        }
        watcher
    }

    fn log_watcher(&self) -> LogWatcher {
        let mut watcher = LogWatcher::new(self.privacy.clone());
        if let Some(honey) = &self.honey {
            watcher.seek(honey.clone());
        }
        watcher
    }
}

pub(crate) fn run(given: &ArgMatches) -> Result<(), Failure> {
    let fail_on = given
        .get_one::<String>("fail-on")
        .and_then(|word| Severity::parse(word))
        .unwrap_or(Severity::Low);
    let users = Users::read(given)?;
    if given.get_flag("follow") && given.contains_id("log") && given.contains_id("file") {
        return Err(Failure::usage(
            "--follow goes on with captures or with logs, not with both in one run",
        ));
    }
    let mut output = Output::new(given.get_flag("json"), given.contains_id("html"));
    let mut troubles = Vec::new();
    let stop = Stop::after(given.get_one::<u64>("seconds").copied(), lasts(given));
    let counters = watch_packets(given, &users, &stop, &mut output, &mut troubles)?;
    troubles.extend(logs::read_all(given, &users, &stop, &mut output));
    output.finish(&counters)?;
    write_reports(given, &output, &counters)?;
    if output.summary.worst().is_some_and(|it| it >= fail_on) {
        for failure in troubles {
            eprintln!("gatepost: {failure}");
        }
        return Err(Failure::finding(format!(
            "findings at or above {}",
            fail_on.word()
        )));
    }
    troubles.into_iter().next().map_or(Ok(()), Err)
}

/// Whether it goes on until it is stopped.
fn lasts(given: &ArgMatches) -> bool {
    given.contains_id("interface") || given.get_flag("follow")
}

/// Captures and an interface.
fn watch_packets(
    given: &ArgMatches,
    users: &Users,
    stop: &Stop,
    output: &mut Output,
    troubles: &mut Vec<Failure>,
) -> Result<Counters, Failure> {
    let mut watcher = users.watcher(judge(given)?);
    if given.get_flag("ignore-vlan") {
        watcher.ignore_vlan();
    }
    let state = given.get_one::<PathBuf>("state");
    if let Some(path) = state {
        watcher.remember(history(path)?);
    }
    let mut packets = packets::Packets::new(given, watcher);
    if let Some(path) = given.get_one::<PathBuf>("compare") {
        packets.compare_with(path, users.privacy.clone())?;
    }
    if let Some(interface) = given.get_one::<String>("interface") {
        live::watch(interface, given, stop, &mut packets, output, troubles)?;
    }
    for named in given.get_many::<PathBuf>("file").into_iter().flatten() {
        packets.read_all(named, stop, output, troubles);
    }
    let watcher = packets.finish(output)?;
    if let Some(path) = state {
        whole::replace(path, watcher.history().as_json().to_string().as_bytes())?;
    }
    Ok(watcher.counters().clone())
}

fn write_reports(given: &ArgMatches, output: &Output, counters: &Counters) -> Result<(), Failure> {
    if let Some(path) = given.get_one::<PathBuf>("metrics") {
        whole::replace(path, output.summary.metrics(counters).as_bytes())?;
    }
    if let (Some(path), Some(page)) = (given.get_one::<PathBuf>("html"), &output.page) {
        whole::replace(path, page.html(&output.summary, counters).as_bytes())?;
    }
    Ok(())
}

fn cannot_read(path: &Path, error: &dyn std::fmt::Display) -> Failure {
    Failure::local(format!("cannot read {}: {error}", path.display()))
}

/// What earlier runs learnt of servers.
fn history(path: &Path) -> Result<History, Failure> {
    let octets = match std::fs::read(path) {
        Ok(octets) => octets,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(History::default()),
        Err(error) => return Err(cannot_read(path, &error)),
    };
    serde_json::from_slice(&octets)
        .ok()
        .and_then(|value| History::from_json(&value).ok())
        .ok_or_else(|| Failure::usage(format!("{} is no state of gatepost watch", path.display())))
}

/// The key that hides names: random for this run, or kept in a file.
fn privacy(given: &ArgMatches) -> Result<Privacy, Failure> {
    let mut key = [0; 32];
    aws_lc_rs::rand::fill(&mut key).map_err(|_| Failure::local("no randomness to be had"))?;
    if let Some(path) = given.get_one::<PathBuf>("key-file") {
        match std::fs::read(path) {
            Ok(kept) => {
                key = kept.try_into().map_err(|_| {
                    Failure::usage(format!(
                        "{} does not hold a key of 32 octets",
                        path.display()
                    ))
                })?;
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => keep_key(path, &key)?,
            Err(error) => return Err(cannot_read(path, &error)),
        }
    }
    Ok(Privacy::new(key, given.get_flag("reveal-users")))
}

fn keep_key(path: &Path, key: &[u8]) -> Result<(), Failure> {
    use std::os::unix::fs::OpenOptionsExt as _;
    let mut options = std::fs::OpenOptions::new();
    options.write(true).create_new(true).mode(0o600);
    options
        .open(path)
        .and_then(|mut file| file.write_all(key))
        .map_err(|error| {
            Failure::local(format!(
                "cannot keep the key in {}: {error}",
                path.display()
            ))
        })
}

fn judge(given: &ArgMatches) -> Result<Judge, Failure> {
    let mut roots = if given.get_flag("no-system-roots") {
        Roots::none()
    } else {
        Roots::system().unwrap_or_else(|_| Roots::none())
    };
    if let Some(path) = given.get_one::<PathBuf>("ca-file") {
        roots
            .add_file(path)
            .map_err(|error| cannot_read(path, &error))?;
    }
    Ok(Judge::new(Some(Arc::new(roots))))
}
