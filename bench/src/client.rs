//! The clients: sending beside Postfix's smtp-source, fetching beside mbsync and curl, and the round trips of one cold send.
//!
//! smtp-source of Debian 12 speaks no TLS. With TLS it goes through stunnel, which verifies the same certificate, and stunnel's CPU
//! is charged to it; in clear it stands alone, so a reader has both. The sink is smtp-sink, with TLS behind another stunnel on the
//! server's core: the same for both.

mod cold;
mod fetch;
mod send;

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use crate::Bench;
use crate::fault::Fault;
use crate::process;
use crate::report::Report;

/// Messages of one run.
const MESSAGES: u32 = 10_000;

/// Measures all three.
pub(crate) fn measure(bench: &Bench<'_>, report: &mut Report) {
    send::measure(bench, report);
    fetch::measure(bench, report);
    cold::measure(bench, report);
}

/// What one client did in one run.
#[derive(Debug, Clone, Copy)]
struct Spent {
    elapsed: Duration,
    /// User and kernel time of the client and what it needs on its side.
    cpu: Duration,
}

impl Spent {
    fn rate(&self) -> f64 {
        f64::from(MESSAGES) / self.elapsed.as_secs_f64()
    }

    fn micros(&self) -> f64 {
        self.cpu.as_secs_f64() * 1e6 / f64::from(MESSAGES)
    }
}

/// Runs a client program on the load's core to its end.
fn spend(name: &'static str, command: &mut Command, log: &Path) -> Result<Spent, Fault> {
    let errors = std::fs::File::create(log).map_err(Fault::at("making a log file"))?;
    let command = command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(errors);
    let (before, begun) = (process::waited_cpu(), Instant::now());
    let status = command.status().map_err(Fault::at("starting a client"))?;
    let elapsed = begun.elapsed();
    if !status.success() {
        let words = std::fs::read_to_string(log).unwrap_or_default();
        let last = words.lines().last().unwrap_or_default().to_owned();
        return Err(Fault::Died(name, last));
    }
    let cpu = process::waited_cpu().saturating_sub(before);
    Ok(Spent { elapsed, cpu })
}
