//! Load: threads that repeat one thing until the time is up, and what it cost both ends.

use std::sync::Barrier;
use std::thread;
use std::time::{Duration, Instant};

use crate::fault::Fault;
use crate::process;

/// Above this share of its core the load generator, not the server, sets the rate.
pub(crate) const SATURATED: f64 = 0.95;

/// What one run under load did.
#[derive(Debug)]
pub(crate) struct Outcome {
    /// Things done, by all threads.
    pub(crate) done: u64,
    /// From the first to the last.
    pub(crate) elapsed: Duration,
    /// CPU of the server's process tree.
    pub(crate) server_cpu: Duration,
    /// CPU of this process.
    pub(crate) load_cpu: Duration,
}

impl Outcome {
    /// Things done in a second.
    pub(crate) fn rate(&self) -> f64 {
        count(self.done) / self.elapsed.as_secs_f64()
    }

    /// Server CPU for one thing, in microseconds.
    pub(crate) fn server_micros(&self) -> f64 {
        self.server_cpu.as_secs_f64() * 1e6 / count(self.done)
    }

    /// Share of one core the server used, 0 to 1 (above 1 only when it is not pinned).
    pub(crate) fn server_busy(&self) -> f64 {
        self.server_cpu.as_secs_f64() / self.elapsed.as_secs_f64()
    }

    /// Share of one core the load generator used.
    pub(crate) fn load_busy(&self) -> f64 {
        self.load_cpu.as_secs_f64() / self.elapsed.as_secs_f64()
    }
}

/// A count as a number to calculate with; exact up to 2^53.
#[allow(clippy::cast_precision_loss)] // no measurement comes near 2^53
pub(crate) fn count(number: u64) -> f64 {
    number as f64
}

/// Runs one worker per thread: each gets ready (connects, logs in), all wait for each other, then each repeats its step
/// until `time` is over. The first fault of any of them is the run's.
pub(crate) fn run<W: Send>(
    server: u32,
    time: Duration,
    workers: u32,
    ready: impl Fn(u32) -> Result<W, Fault> + Sync,
    step: impl Fn(&mut W) -> Result<(), Fault> + Sync,
) -> Result<Outcome, Fault> {
    let barrier = Barrier::new(
        usize::try_from(workers)
            .unwrap_or(usize::MAX)
            .saturating_add(1),
    );
    let work = |index| {
        let worker = ready(index);
        barrier.wait();
        repeat(worker?, time, &step)
    };
    let work = &work;
    let results = thread::scope(|scope| {
        let threads: Vec<_> = (0..workers)
            .map(|index| scope.spawn(move || work(index)))
            .collect();
        barrier.wait();
        let (server_before, load_before, begun) =
            (process::cpu(server), process::own_cpu(), Instant::now());
        let mut done = 0;
        let mut fault = None;
        for thread in threads {
            match thread.join() {
                Ok(Ok(number)) => done += number,
                Ok(Err(error)) => fault = fault.or(Some(error)),
                Err(_) => fault = fault.or(Some(Fault::Late("a load thread"))),
            }
        }
        let outcome = Outcome {
            done,
            elapsed: begun.elapsed(),
            server_cpu: process::cpu(server).saturating_sub(server_before),
            load_cpu: process::own_cpu().saturating_sub(load_before),
        };
        fault.map_or(Ok(outcome), Err)
    })?;
    if results.done == 0 {
        Err(Fault::Late("the server under load"))
    } else {
        Ok(results)
    }
}

fn repeat<W>(
    mut worker: W,
    time: Duration,
    step: impl Fn(&mut W) -> Result<(), Fault>,
) -> Result<u64, Fault> {
    let end = Instant::now() + time;
    let mut done = 0;
    while Instant::now() < end {
        step(&mut worker)?;
        done += 1;
    }
    Ok(done)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::run;
    use crate::fault::Fault;

    #[test]
    fn work_of_all_threads_is_counted_once() {
        let outcome = run(
            std::process::id(),
            Duration::from_millis(50),
            3,
            |_| Ok(0_u64),
            |made| {
                *made += 1;
                std::thread::sleep(Duration::from_millis(10));
                Ok(())
            },
        )
        .expect("no fault");
        assert!((6..=15).contains(&outcome.done), "{}", outcome.done);
    }

    #[test]
    fn one_worker_that_cannot_begin_fails_the_run() {
        let ready = |index| {
            if index == 1 {
                Err(Fault::Injected)
            } else {
                Ok(())
            }
        };
        let outcome = run(
            std::process::id(),
            Duration::from_millis(10),
            2,
            ready,
            |()| {
                std::thread::sleep(Duration::from_millis(1));
                Ok(())
            },
        );
        assert!(matches!(outcome, Err(Fault::Injected)));
    }
}
