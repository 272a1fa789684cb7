//! Logs into the engine: files, also compressed ones, standard input, the journal of systemd.

use std::io::{self, BufRead, BufReader, Read};
use std::path::Path;
use std::process::{Command, Stdio};

use gatepost_audit::watch::log::LogWatcher;
use gatepost_audit::watch::privacy::Privacy;

use super::output::Output;
use super::{cannot_read, input};
use crate::exit::Failure;

/// A line is cut here; the rest of it is passed over.
const LONGEST: u64 = 1 << 20;

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

fn lines(source: impl Read, watcher: &mut LogWatcher, output: &mut Output) -> Result<(), Failure> {
    let mut source = BufReader::with_capacity(1 << 18, source);
    let mut line = Vec::new();
    loop {
        line.clear();
        let count = read_line(&mut source, &mut line)
            .map_err(|error| Failure::local(format!("cannot read the log: {error}")))?;
        if count == 0 {
            return Ok(());
        }
        watcher.line(line.trim_ascii_end());
        if watcher.has_events() {
            output.tell(&watcher.take_events())?;
        }
    }
}

fn read_line(source: &mut impl BufRead, line: &mut Vec<u8>) -> io::Result<usize> {
    let count = source.by_ref().take(LONGEST).read_until(b'\n', line)?;
    if count as u64 == LONGEST && line.last() != Some(&b'\n') {
        source.skip_until(b'\n')?;
    }
    Ok(count)
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
