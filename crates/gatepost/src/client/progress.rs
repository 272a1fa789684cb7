//! A line on standard error for what takes longer than two seconds, on a terminal only.

use std::io::{IsTerminal, Write};
use std::time::{Duration, Instant};

/// How long nothing is shown.
const PATIENCE: Duration = Duration::from_secs(2);

/// How often the line changes.
const PACE: Duration = Duration::from_millis(200);

/// The progress of one task.
#[derive(Debug)]
pub(crate) struct Progress {
    what: &'static str,
    total: u64,
    done: u64,
    begun: Instant,
    shown: Option<Instant>,
    visible: bool,
}

impl Progress {
    /// Of so many octets; 0: nobody knows how many.
    pub(crate) fn new(what: &'static str, total: u64) -> Self {
        Self {
            what,
            total,
            done: 0,
            begun: Instant::now(),
            shown: None,
            visible: std::io::stderr().is_terminal(),
        }
    }

    /// So many octets more.
    pub(crate) fn add(&mut self, octets: u64) {
        self.done += octets;
        let due = self.shown.is_none_or(|shown| shown.elapsed() >= PACE);
        if self.visible && due && self.begun.elapsed() >= PATIENCE {
            self.shown = Some(Instant::now());
            let _ = write!(std::io::stderr(), "\r{}\u{1b}[K", self.line());
        }
    }

    fn line(&self) -> String {
        let mib = |octets: u64| octets / 1024 * 10 / 1024;
        let (done, total) = (mib(self.done), mib(self.total));
        let seconds = self.begun.elapsed().as_secs().max(1);
        let rate = mib(self.done / seconds);
        let of = if self.total == 0 {
            String::new()
        } else {
            format!(
                " of {}.{} MiB, {} %",
                total / 10,
                total % 10,
                self.done.saturating_mul(100) / self.total.max(1)
            )
        };
        format!(
            "{} {}.{}{of}, {}.{} MiB/s",
            self.what,
            done / 10,
            done % 10,
            rate / 10,
            rate % 10
        )
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if self.shown.is_some() {
            let _ = write!(std::io::stderr(), "\r\u{1b}[K");
        }
    }
}
