//! Reading the settings of a running server again: on SIGHUP, and when a file has changed that they were read from.
//!
//! The flags of the command line count as at the start. Settings that cannot be read, or contradict themselves, are refused with
//! the words of a start; the server goes on with those it has.

use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use clap::ArgMatches;
use gatepost_serve::server::Running;
use gatepost_serve::settings::Settings;

use crate::config::Values;
use crate::config_verb;
use crate::exit::Failure;
use crate::serve;

/// How often the files are looked at.
pub(crate) const LOOK: Duration = Duration::from_secs(2);

/// Where the settings of a server come from.
pub(crate) struct Source {
    flags: ArgMatches,
    stamps: Stamps,
    /// A change that was seen at the last look: it counts when nothing more has changed since.
    fresh: Option<Stamps>,
}

/// When the files were changed, and how long they are.
type Stamps = Vec<(PathBuf, Option<(SystemTime, u64)>)>;

impl Source {
    /// The settings in force at the start, and where to read them again.
    pub(crate) fn open(flags: &ArgMatches) -> Result<(Self, Settings), Failure> {
        let (values, settings) = read(flags)?;
        let source = Self {
            flags: flags.clone(),
            stamps: stamps(flags, Some(&values)),
            fresh: None,
        };
        Ok((source, settings))
    }

    /// Reads everything again and gives it to the server.
    pub(crate) fn reload(&mut self, running: &Running) {
        let before = stamps(&self.flags, None);
        self.fresh = None;
        match read(&self.flags) {
            Ok((values, settings)) => {
                self.stamps = stamps(&self.flags, Some(&values));
                running.change(settings);
            }
            Err(failure) => {
                // The same wrong words are told once.
                self.stamps = before;
                running.refuse_change(&failure.to_string());
            }
        }
    }

    /// Whether a file has changed and is at rest again: nobody wants half of it.
    pub(crate) fn has_changed(&mut self) -> bool {
        let now: Stamps = self.stamps.iter().map(|(path, _)| stamped(path)).collect();
        if now == self.stamps {
            self.fresh = None;
            return false;
        }
        if self.fresh.as_ref() == Some(&now) {
            return true;
        }
        self.fresh = Some(now);
        false
    }
}

fn read(flags: &ArgMatches) -> Result<(Values, Settings), Failure> {
    let mut values = config_verb::read(flags.get_one::<PathBuf>("config"))?;
    serve::lay_flags(&mut values, flags)?;
    let settings = serve::settings(&values, flags.get_one::<PathBuf>("ready-file").cloned())?;
    Ok((values, settings))
}

/// The files settings are read from. Those that upstreams name are read again on SIGHUP only.
fn stamps(flags: &ArgMatches, values: Option<&Values>) -> Stamps {
    let mut files: Vec<PathBuf> = flags.get_one("config").cloned().into_iter().collect();
    let password = values.map_or("", |it| it.text("egress.password_file"));
    if !password.is_empty() {
        files.push(password.into());
    }
    files.iter().map(stamped).collect()
}

fn stamped(path: &PathBuf) -> (PathBuf, Option<(SystemTime, u64)>) {
    let known = std::fs::metadata(path).ok();
    let stamp = known.and_then(|it| Some((it.modified().ok()?, it.len())));
    (path.clone(), stamp)
}
