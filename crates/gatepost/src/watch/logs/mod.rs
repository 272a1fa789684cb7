//! Logs into the engine: files, also compressed ones and those a log was rotated into, standard input, the journal of systemd.
//!
//! Each log has a [`LogWatcher`] of its own. Read once, they are read one after the other; followed, in turn, as they grow. Where each was read to
//! can be kept ([`Places`]), so that the next run goes on there.

mod journal;
mod places;
mod rotated;
mod tail;

use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::ArgMatches;
use gatepost_audit::watch::log::LogWatcher;

use self::journal::Journal;
use self::places::Places;
use self::tail::Tail;
use super::output::Output;
use super::stop::Stop;
use super::{Users, cannot_read, input};
use crate::exit::Failure;
use crate::whole::replace;

/// How long to wait for more of a log that grows.
const PAUSE: Duration = Duration::from_millis(300);
/// Octets read at a time.
const PORTION: usize = 1 << 16;

/// A log that is read.
struct Log {
    named: PathBuf,
    watcher: LogWatcher,
    source: Source,
}

enum Source {
    /// From its beginning to its end, and no more: standard input, what is compressed.
    Once,
    /// It was read so.
    Done,
    File(Tail),
    Journal(Journal),
}

/// Reads all logs that were asked for. What went wrong is given back; the other logs are read all the same.
pub(super) fn read_all(
    given: &ArgMatches,
    users: &Users,
    stop: &Stop,
    output: &mut Output,
) -> Vec<Failure> {
    let named: Vec<&PathBuf> = given
        .get_many::<PathBuf>("log")
        .into_iter()
        .flatten()
        .collect();
    if named.is_empty() {
        return Vec::new();
    }
    let resume = given.get_one::<PathBuf>("resume");
    let mut places = match resume.map_or(Ok(Places::default()), |it| Places::read(it)) {
        Ok(places) => places,
        Err(failure) => return vec![failure],
    };
    let mut run = Run {
        keeps_place: resume.is_some(),
        reads_rotated: given.get_flag("rotated"),
        places: &mut places,
        output,
        troubles: Vec::new(),
    };
    if given.get_flag("follow") {
        run.follow(&named, users, stop);
    } else {
        for path in named {
            run.read(path, users);
        }
    }
    let mut troubles = run.troubles;
    if let Some(path) = resume
        && let Err(failure) = replace(path, places.as_json().to_string().as_bytes())
    {
        troubles.push(failure);
    }
    troubles
}

struct Run<'a> {
    keeps_place: bool,
    reads_rotated: bool,
    places: &'a mut Places,
    output: &'a mut Output,
    troubles: Vec<Failure>,
}

impl Run<'_> {
    /// One log to its end.
    fn read(&mut self, path: &Path, users: &Users) {
        let mut log = match self.open(path, users) {
            Ok(log) => log,
            Err(failure) => return self.troubles.push(failure),
        };
        if let Err(failure) = self.step(&mut log) {
            self.troubles.push(failure);
        }
        self.close(log);
    }

    /// All of them in turn, until asked to stop.
    fn follow(&mut self, named: &[&PathBuf], users: &Users, stop: &Stop) {
        let mut logs = Vec::new();
        for path in named {
            match self.open(path, users) {
                Ok(log) => logs.push(log),
                Err(failure) => self.troubles.push(failure),
            }
        }
        while !logs.is_empty() {
            let is_last_look = stop.is_asked();
            let mut open = Vec::new();
            for mut log in logs {
                match self.step(&mut log) {
                    Ok(()) => open.push(log),
                    Err(failure) => {
                        self.troubles.push(failure);
                        self.close(log);
                    }
                }
            }
            logs = open;
            if is_last_look {
                break;
            }
            std::thread::sleep(PAUSE);
        }
        for log in logs {
            self.close(log);
        }
    }

    fn open(&mut self, path: &Path, users: &Users) -> Result<Log, Failure> {
        let mut watcher = users.log_watcher();
        watcher.begin_file(self.output.add_file(path.display().to_string()));
        let source = if let Some(journal) = Journal::named(path, self.places) {
            Source::Journal(journal)
        } else if path == Path::new("-") || input::is_compressed(path) {
            Source::Once
        } else {
            let place = if self.keeps_place {
                self.places.file(path)
            } else {
                None
            };
            Source::File(Tail::open(path, place).map_err(|error| cannot_read(path, &error))?)
        };
        let mut log = Log {
            named: path.to_owned(),
            watcher,
            source,
        };
        // What was read before needs no second reading.
        if self.reads_rotated && !matches!(&log.source, Source::File(tail) if tail.goes_on()) {
            self.read_rotated(&mut log)?;
        }
        Ok(log)
    }

    /// The files this log was rotated into, the oldest first.
    fn read_rotated(&mut self, log: &mut Log) -> Result<(), Failure> {
        let older = rotated::beside(&log.named).map_err(|error| cannot_read(&log.named, &error))?;
        for path in older {
            log.watcher
                .begin_file(self.output.add_file(path.display().to_string()));
            let source = input::open(&path).map_err(|error| cannot_read(&path, &error))?;
            pour(source, &mut log.watcher, self.output)?;
        }
        log.watcher
            .begin_file(self.output.add_file(log.named.display().to_string()));
        Ok(())
    }

    /// Reads what there is now.
    fn step(&mut self, log: &mut Log) -> Result<(), Failure> {
        match &mut log.source {
            Source::Once => {
                let source =
                    input::open(&log.named).map_err(|error| cannot_read(&log.named, &error))?;
                pour(source, &mut log.watcher, self.output)?;
                log.source = Source::Done;
                Ok(())
            }
            Source::Done => Ok(()),
            Source::File(tail) => loop {
                pour(&mut *tail, &mut log.watcher, self.output)?;
                let moved = tail
                    .move_on()
                    .map_err(|error| cannot_read(&log.named, &error))?;
                if !moved {
                    return Ok(());
                }
                log.watcher
                    .begin_file(self.output.add_file(log.named.display().to_string()));
            },
            Source::Journal(journal) => journal.run(
                |source, watcher| pour(source, watcher, self.output),
                &mut log.watcher,
            ),
        }
    }

    fn close(&mut self, mut log: Log) {
        if self.keeps_place {
            match &log.source {
                Source::Once | Source::Done => {}
                // A line whose end has not come is read the next time, whole.
                Source::File(tail) => self
                    .places
                    .put_file(&log.named, tail.place(log.watcher.forget_begun())),
                Source::Journal(journal) => self.places.put_cursor(journal),
            }
        }
        log.watcher.finish();
        if let Err(failure) = self.output.tell(&log.watcher.take_events()) {
            self.troubles.push(failure);
        }
        let counters = log.watcher.counters();
        let is_whole = !self.keeps_place && !matches!(log.source, Source::Journal(_));
        if is_whole && counters.lines > 0 && counters.shapeless == counters.lines {
            self.troubles.push(Failure::local(format!(
                "{}: none of its lines begins as one of a log does, so nothing was told: the logs of Postfix, Dovecot, Exim and Gatepost are known",
                log.named.display()
            )));
        }
        eprintln!(
            "gatepost: {}: {} lines read, {} of them not of a kind that is known",
            log.named.display(),
            counters.lines,
            counters.unknown
        );
    }
}

/// Everything there is.
fn pour(
    mut source: impl Read,
    watcher: &mut LogWatcher,
    output: &mut Output,
) -> Result<(), Failure> {
    let mut buffer = vec![0; PORTION];
    loop {
        let count = match source.read(&mut buffer) {
            Ok(0) => return Ok(()),
            Ok(count) => count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(Failure::local(format!("cannot read the log: {error}"))),
        };
        watcher.push(buffer.get(..count).unwrap_or_default());
        if watcher.has_events() {
            output.tell(&watcher.take_events())?;
        }
    }
}
