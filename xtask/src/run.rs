//! Runs a program with a deadline, passes its output on, and counts the tests it reports.

use std::ffi::OsString;
use std::io::{BufRead, BufReader, Read};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

/// How many tests passed, failed and were skipped.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Tally {
    pub(crate) passed: u32,
    pub(crate) failed: u32,
    pub(crate) skipped: u32,
}

impl Tally {
    /// One test with this result.
    pub(crate) fn one(passed: bool) -> Self {
        Self {
            passed: u32::from(passed),
            failed: u32::from(!passed),
            skipped: 0,
        }
    }

    /// One test left out.
    pub(crate) fn skipped() -> Self {
        Self {
            skipped: 1,
            ..Self::default()
        }
    }

    /// Adds another count to this one.
    pub(crate) fn add(&mut self, other: Self) {
        self.passed += other.passed;
        self.failed += other.failed;
        self.skipped += other.skipped;
    }

    /// Whether nothing failed.
    pub(crate) fn is_clean(self) -> bool {
        self.failed == 0
    }

    /// Reads a summary line: that of the test harness (`test result: ok. 3 passed; 0 failed; 1 ignored; ...`) or our own
    /// (`3 passed, 0 failed, 1 skipped`).
    fn from_line(line: &str) -> Option<Self> {
        let line = line.trim();
        let harness = line
            .strip_prefix("test result: ")
            .and_then(|rest| rest.split_once(". "));
        let (list, separator) = match harness {
            Some((_, list)) => (list, "; "),
            None => (line, ", "),
        };
        let mut tally = Self::default();
        let mut passed_seen = false;
        for part in list.split(separator) {
            match (part.split_once(' '), harness.is_some()) {
                (Some((count, "passed")), _) => {
                    tally.passed = count.parse().ok()?;
                    passed_seen = true;
                }
                (Some((count, "failed")), _) => tally.failed = count.parse().ok()?,
                (Some((count, "skipped" | "ignored")), _) => tally.skipped = count.parse().ok()?,
                (_, true) => {}
                (_, false) => return None,
            }
        }
        passed_seen.then_some(tally)
    }
}

impl std::fmt::Display for Tally {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} passed, {} failed", self.passed, self.failed)?;
        if self.skipped > 0 {
            write!(f, ", {} skipped", self.skipped)?;
        }
        Ok(())
    }
}

/// A program to be run.
pub(crate) struct Job {
    command: Command,
    name: String,
    limit: Duration,
}

impl Job {
    /// A program found on the path, run in `folder`, for at most ten minutes.
    pub(crate) fn new(folder: &Path, program: impl Into<OsString>) -> Self {
        let program = program.into();
        let name = program.to_string_lossy().into_owned();
        let mut command = Command::new(program);
        command.current_dir(folder);
        Self {
            command,
            name,
            limit: Duration::from_secs(600),
        }
    }

    /// The cargo that runs this program.
    pub(crate) fn cargo<const N: usize>(folder: &Path, args: [&str; N]) -> Self {
        let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
        let mut job = Self::new(folder, cargo);
        job.name = format!("cargo {}", args.join(" "));
        job.args(&args.map(String::from))
    }

    /// Adds arguments.
    pub(crate) fn args(mut self, args: &[String]) -> Self {
        self.command.args(args);
        self
    }

    /// Sets an environment variable.
    pub(crate) fn env(mut self, name: &str, value: &str) -> Self {
        self.command.env(name, value);
        self
    }

    /// Sets the deadline.
    pub(crate) fn minutes(mut self, minutes: u64) -> Self {
        self.limit = Duration::from_secs(minutes * 60);
        self
    }

    /// Sets the deadline.
    pub(crate) fn hours(self, hours: u64) -> Self {
        self.minutes(hours * 60)
    }

    /// Runs it. A program that reports no tests counts as one test; one that fails without naming a failed test, that cannot
    /// be started or that is not done in time counts as one failed test more.
    pub(crate) fn run(mut self) -> Tally {
        self.command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .process_group(0);
        let mut child = match self.command.spawn() {
            Ok(child) => child,
            Err(error) => {
                println!("xtask: cannot run {}: {error}", self.name);
                return Tally::one(false);
            }
        };
        let counted = Arc::new(Mutex::new(Tally::default()));
        let reader = child.stdout.take().map(|stdout| {
            let counted = Arc::clone(&counted);
            thread::spawn(move || pass_on(stdout, &counted))
        });
        let good = wait(&mut child, &self.name, self.limit);
        // A process left behind by the child may hold the pipe open: do not wait for it for ever.
        let patience = Instant::now() + Duration::from_secs(5);
        while reader.as_ref().is_some_and(|reader| !reader.is_finished())
            && Instant::now() < patience
        {
            thread::sleep(Duration::from_millis(10));
        }
        let tally = *counted.lock().unwrap_or_else(PoisonError::into_inner);
        settle(tally, good)
    }
}

/// Makes the count agree with how the program ended.
fn settle(mut tally: Tally, good: bool) -> Tally {
    if !good && tally.failed == 0 {
        tally.failed = 1;
    }
    if tally == Tally::default() {
        tally.passed = 1;
    }
    tally
}

fn pass_on(stdout: impl Read, counted: &Mutex<Tally>) {
    let mut stdout = BufReader::new(stdout);
    let mut line = Vec::new();
    while matches!(stdout.read_until(b'\n', &mut line), Ok(1..)) {
        let text = String::from_utf8_lossy(&line);
        print!("{text}");
        if let Some(found) = Tally::from_line(&text) {
            counted
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .add(found);
        }
        line.clear();
    }
}

/// Waits for the child and says whether it ended well. At the deadline its whole process group is killed.
fn wait(child: &mut Child, name: &str, limit: Duration) -> bool {
    let deadline = Instant::now() + limit;
    loop {
        match child.try_wait() {
            Ok(Some(status)) => return status.success(),
            Ok(None) if Instant::now() < deadline => thread::sleep(Duration::from_millis(50)),
            Ok(None) => {
                println!(
                    "xtask: {name} is not done after {} s and is stopped",
                    limit.as_secs()
                );
                let group = format!("-{}", child.id());
                let _ = Command::new("kill").args(["-KILL", "--", &group]).status();
                let _ = child.wait();
                return false;
            }
            Err(error) => {
                println!("xtask: cannot wait for {name}: {error}");
                return false;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_kinds_of_summary_are_counted() {
        let harness = "test result: FAILED. 12 passed; 1 failed; 2 ignored; 0 measured; 0 filtered out; finished in 0.10s";
        assert_eq!(
            Tally::from_line(harness),
            Some(Tally {
                passed: 12,
                failed: 1,
                skipped: 2
            })
        );
        assert_eq!(
            Tally::from_line("3 passed, 0 failed\n"),
            Some(Tally {
                passed: 3,
                failed: 0,
                skipped: 0
            })
        );
        assert_eq!(
            Tally::from_line("3 passed, 1 failed, 4 skipped"),
            Some(Tally {
                passed: 3,
                failed: 1,
                skipped: 4
            })
        );
        assert_eq!(Tally::from_line("test smtp::passed ... ok"), None);
        assert_eq!(Tally::from_line("it has passed, 3 failed"), None);
        assert_eq!(Tally::from_line(""), None);
    }

    #[test]
    fn a_failure_without_a_failed_test_is_a_failure() {
        assert_eq!(
            settle(
                Tally {
                    passed: 5,
                    failed: 0,
                    skipped: 0
                },
                false
            ),
            Tally {
                passed: 5,
                failed: 1,
                skipped: 0
            }
        );
        assert_eq!(settle(Tally::default(), false), Tally::one(false));
        assert_eq!(settle(Tally::default(), true), Tally::one(true));
        assert_eq!(
            settle(
                Tally {
                    passed: 5,
                    failed: 2,
                    skipped: 0
                },
                false
            ),
            Tally {
                passed: 5,
                failed: 2,
                skipped: 0
            }
        );
    }

    #[test]
    fn a_program_that_fails_hangs_or_is_missing_fails() {
        let here = Path::new(".");
        let shell = |script: &str| Job::new(here, "sh").args(&["-c".into(), script.into()]);
        assert_eq!(
            shell("echo '2 passed, 0 failed'").run(),
            Tally {
                passed: 2,
                failed: 0,
                skipped: 0
            }
        );
        assert_eq!(
            shell("echo '2 passed, 0 failed'; exit 3").run(),
            Tally {
                passed: 2,
                failed: 1,
                skipped: 0
            }
        );
        assert_eq!(shell("sleep 60").minutes(0).run(), Tally::one(false));
        assert_eq!(
            Job::new(here, "no-such-program-anywhere").run(),
            Tally::one(false)
        );
    }

    #[test]
    fn the_last_line_names_skipped_only_when_there_are_some() {
        assert_eq!(
            Tally {
                passed: 1,
                failed: 2,
                skipped: 0
            }
            .to_string(),
            "1 passed, 2 failed"
        );
        assert_eq!(
            Tally {
                passed: 1,
                failed: 2,
                skipped: 3
            }
            .to_string(),
            "1 passed, 2 failed, 3 skipped"
        );
    }
}
