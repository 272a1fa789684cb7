//! Logs into the engine: files, also compressed ones, standard input, the journal of systemd.

use std::io::{self, Read};
use std::path::Path;
use std::process::{Command, Stdio};

use gatepost_audit::watch::log::LogWatcher;
use gatepost_audit::watch::privacy::Privacy;

use super::output::Output;
use super::{cannot_read, input};
use crate::exit::Failure;

pub(super) fn read(named: &Path, privacy: &Privacy, output: &mut Output) -> Result<(), Failure> {
    let mut watcher = LogWatcher::new(privacy.clone());
    watcher.begin_file(output.add_file(named.display().to_string()));
    let result = if named == Path::new("journal") {
        journal(&mut watcher, output)
    } else {
        input::open(named)
            .map_err(|error| cannot_read(named, &error))
            .and_then(|source| lines(source, &mut watcher, output))
    };
    watcher.finish();
    output.tell(&watcher.take_events())?;
    let counters = watcher.counters();
    eprintln!(
        "gatepost: {}: {} lines read, {} of them not of a kind that is known",
        named.display(),
        counters.lines,
        counters.unknown
    );
    result
}

fn lines(
    mut source: impl Read,
    watcher: &mut LogWatcher,
    output: &mut Output,
) -> Result<(), Failure> {
    let mut buffer = vec![0; 1 << 18];
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

fn journal(watcher: &mut LogWatcher, output: &mut Output) -> Result<(), Failure> {
    let cannot = |error: io::Error| Failure::local(format!("cannot run journalctl: {error}"));
    let mut child = Command::new("journalctl")
        .args([
            "--no-pager",
            "--quiet",
            "--output=short-iso-precise",
            "--facility=mail",
        ])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .map_err(cannot)?;
    let read = match child.stdout.take() {
        Some(stdout) => lines(stdout, watcher, output),
        None => Ok(()),
    };
    let status = child.wait().map_err(cannot)?;
    read?;
    if status.success() {
        return Ok(());
    }
    Err(Failure::local(format!("journalctl ended with {status}")))
}
