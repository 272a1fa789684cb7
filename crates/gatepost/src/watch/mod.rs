//! `gatepost watch`: reads captures, prints what leaked.
//!
//! The engine (`audit::watch`) does all the judging; here stand files, standard output and the exit code.

mod cli;
mod input;

use std::io::{self, BufWriter, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use clap::ArgMatches;
use gatepost_audit::finding::Severity;
use gatepost_audit::watch::Watcher;
use gatepost_audit::watch::certificates::Judge;
use gatepost_audit::watch::event::{Ends, Event, timestamp};
use gatepost_audit::watch::file::{Reader, Step};
use gatepost_audit::watch::notes::Protocol;
use gatepost_audit::watch::privacy::Privacy;
use gatepost_audit::watch::summary::Summary;
use gatepost_trust::verify::Roots;

use crate::exit::Failure;

pub(crate) use cli::command;

/// What is printed, and how.
struct Output {
    out: BufWriter<io::Stdout>,
    json: bool,
    files: Vec<String>,
    summary: Summary,
}

pub(crate) fn run(given: &ArgMatches) -> Result<(), Failure> {
    let fail_on = given
        .get_one::<String>("fail-on")
        .and_then(|word| Severity::parse(word))
        .unwrap_or(Severity::Low);
    let mut watcher = Watcher::new(privacy(given)?, judge(given)?);
    if given.get_flag("ignore-vlan") {
        watcher.ignore_vlan();
    }
    let mut output = Output {
        out: BufWriter::with_capacity(1 << 16, io::stdout()),
        json: given.get_flag("json"),
        files: Vec::new(),
        summary: Summary::default(),
    };
    let mut troubles = Vec::new();
    for named in given.get_many::<PathBuf>("file").into_iter().flatten() {
        let files = input::expand(named).map_err(|error| cannot_read(named, &error))?;
        for file in files {
            if let Err(failure) = read(&file, &mut watcher, &mut output) {
                troubles.push(failure);
            }
        }
    }
    watcher.finish();
    output.tell(&mut watcher)?;
    output.finish(&watcher)?;
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

fn cannot_read(path: &Path, error: &dyn std::fmt::Display) -> Failure {
    Failure::local(format!("cannot read {}: {error}", path.display()))
}

fn read(path: &Path, watcher: &mut Watcher, output: &mut Output) -> Result<(), Failure> {
    let mut source = input::open(path).map_err(|error| cannot_read(path, &error))?;
    let number = u32::try_from(output.files.len()).unwrap_or(u32::MAX);
    output.files.push(path.display().to_string());
    watcher.begin_file(number);
    let mut reader = Reader::new();
    loop {
        match reader.next().map_err(|error| cannot_read(path, &error))? {
            Step::Packet(packet) => watcher.packet(&packet),
            Step::NeedMore => {
                output.tell(watcher)?;
                let count =
                    fill(&mut source, &mut reader).map_err(|error| cannot_read(path, &error))?;
                if count == 0 {
                    reader.end();
                }
            }
            Step::End { cut } => {
                if cut {
                    eprintln!("gatepost: {}: the last record is cut off", path.display());
                }
                return output.tell(watcher);
            }
        }
    }
}

fn fill(source: &mut dyn Read, reader: &mut Reader) -> io::Result<usize> {
    loop {
        match source.read(reader.space()) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
            Ok(count) => {
                reader.filled(count);
                return Ok(count);
            }
        }
    }
}

impl Output {
    /// Prints what has happened since the last call.
    fn tell(&mut self, watcher: &mut Watcher) -> Result<(), Failure> {
        if !watcher.has_events() {
            return Ok(());
        }
        for event in watcher.take_events() {
            match &event {
                Event::Finding(it) => self.summary.add_finding(it),
                Event::Session(it) => self.summary.add_session(it),
            }
            self.print(&event).map_err(|error| cannot_write(&error))?;
        }
        self.out.flush().map_err(|error| cannot_write(&error))
    }

    fn print(&mut self, event: &Event) -> io::Result<()> {
        let name = |file: u32| self.files.get(file as usize).map_or("", String::as_str);
        match event {
            Event::Finding(it) if self.json => writeln!(self.out, "{}", it.as_json(name(it.file))),
            Event::Session(it) if self.json => writeln!(self.out, "{}", it.as_json(name(it.file))),
            Event::Session(_) => Ok(()),
            Event::Finding(it) => {
                let ends = it.ends.map_or(String::new(), |it| {
                    format!("{} to {}", Ends::word(it.client), Ends::word(it.server))
                });
                let user = it.login.as_ref().and_then(|it| it.user.as_ref());
                let user = user.map_or(String::new(), |it| {
                    let name = it
                        .name
                        .clone()
                        .unwrap_or_else(|| format!("user {}", it.hash));
                    let domain = it.domain.as_ref().filter(|_| it.name.is_none());
                    format!(
                        ", {name}{}",
                        domain.map_or(String::new(), |it| format!(" of {it}"))
                    )
                });
                writeln!(
                    self.out,
                    "{} {:<8} {} {} {ends}: {}{user} ({}, packet {}, {} octet {})",
                    timestamp(it.time),
                    it.severity.word(),
                    it.id,
                    it.protocol.map_or("", Protocol::word),
                    it.evidence,
                    name(it.file),
                    it.packet,
                    it.side,
                    it.offset
                )
            }
        }
    }

    fn finish(&mut self, watcher: &Watcher) -> Result<(), Failure> {
        let counters = watcher.counters();
        let written = if self.json {
            writeln!(self.out, "{}", self.summary.as_json(counters))
        } else {
            write!(self.out, "{}", self.summary.text(counters))
        };
        written
            .and_then(|()| self.out.flush())
            .map_err(|error| cannot_write(&error))
    }
}

fn cannot_write(error: &io::Error) -> Failure {
    Failure::local(format!("cannot write: {error}"))
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
