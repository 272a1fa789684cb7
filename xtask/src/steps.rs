//! `cargo xtask test`: the steps, their limits and their order, quick ones first.

use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};
use std::time::{Duration, Instant};

use crate::run::{Job, Tally};
use crate::{edges, root, spec};

/// What `cargo xtask test` was asked for.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Options {
    /// Only these steps; all when empty.
    only: Vec<String>,
    /// Seconds for all fuzz targets together.
    fuzz_seconds: u32,
    /// How often the store is killed.
    crash_rounds: u32,
    /// Print the names of the steps and do nothing.
    list: bool,
}

impl Options {
    /// Reads the arguments.
    pub(crate) fn parse(args: &[String]) -> Result<Self, String> {
        let mut options = Self {
            only: Vec::new(),
            fuzz_seconds: 20,
            crash_rounds: 1000,
            list: false,
        };
        let mut args = args.iter();
        while let Some(arg) = args.next() {
            let mut value = || args.next().ok_or_else(|| format!("`{arg}` wants a value"));
            match arg.as_str() {
                "--only" => options.only.push(step_name(value()?)?),
                "--fuzz-seconds" => options.fuzz_seconds = number(value()?)?,
                "--crash-rounds" => options.crash_rounds = number(value()?)?,
                "--list" => options.list = true,
                other => return Err(format!("`test` does not know `{other}`")),
            }
        }
        Ok(options)
    }
}

fn step_name(name: &str) -> Result<String, String> {
    if STEPS.iter().any(|step| step.name == name) {
        return Ok(name.to_owned());
    }
    let names: Vec<_> = STEPS.iter().map(|step| step.name).collect();
    Err(format!(
        "there is no step `{name}`; the steps are {}",
        names.join(", ")
    ))
}

fn number(text: &str) -> Result<u32, String> {
    text.parse()
        .map_err(|_| format!("`{text}` is not a number"))
}

struct Step {
    name: &'static str,
    shows: &'static str,
    run: fn(&Path, &Options) -> Tally,
}

const STEPS: &[Step] = &[
    Step {
        name: "fmt",
        shows: "the format",
        run: |root, _| Job::cargo(root, ["fmt", "--all", "--check"]).run(),
    },
    Step {
        name: "edges",
        shows: "the dependencies between our crates",
        run: |root, _| Tally::one(edges::run(root)),
    },
    Step {
        name: "spec",
        shows: "requirements against citations",
        run: check_spec,
    },
    Step {
        name: "clippy",
        shows: "lints, warnings are errors",
        run: clippy,
    },
    Step {
        name: "programs",
        shows: "the real programs that tests hold ours against, installed where that is possible",
        run: |root, _| programs(root),
    },
    Step {
        name: "unit",
        shows: "unit, dialogue, pair and property tests",
        run: unit_tests,
    },
    Step {
        name: "doctest",
        shows: "the examples in the documentation",
        run: doc_tests,
    },
    Step {
        name: "doc",
        shows: "the documentation, warnings are errors",
        run: documentation,
    },
    Step {
        name: "fuzz",
        shows: "every fuzz target for a few seconds",
        run: fuzz_smoke,
    },
    Step {
        name: "crash",
        shows: "kill -9 at random points: nothing acknowledged is lost",
        run: crash,
    },
    Step {
        name: "interop",
        shows: "real mail programs, live attacks",
        run: |root, _| interop(root, &[]),
    },
    Step {
        name: "deny",
        shows: "licences, advisories, sources",
        run: |root, _| deny(root),
    },
];

/// Runs the steps and prints the summary. The last line is `N passed, N failed` with `, N skipped` if there were any.
pub(crate) fn run_all(options: &Options) -> ExitCode {
    if options.list {
        for step in STEPS {
            println!("{:<8} {}", step.name, step.shows);
        }
        return ExitCode::SUCCESS;
    }
    let wanted =
        |step: &&Step| options.only.is_empty() || options.only.iter().any(|name| name == step.name);
    let mut results = Vec::new();
    for step in STEPS.iter().filter(wanted) {
        println!("\n==> {}: {}", step.name, step.shows);
        let start = Instant::now();
        let tally = (step.run)(&root(), options);
        let took = start.elapsed();
        println!("==> {}: {tally}, {:.1} s", step.name, took.as_secs_f64());
        results.push((step.name, tally, took));
    }
    if summary(&results).is_clean() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

fn summary(results: &[(&str, Tally, Duration)]) -> Tally {
    let mut total = Tally::default();
    println!(
        "\n{:<9} {:>7} {:>7} {:>8} {:>9}",
        "step", "passed", "failed", "skipped", "seconds"
    );
    for (name, tally, took) in results {
        let Tally {
            passed,
            failed,
            skipped,
        } = tally;
        println!(
            "{name:<9} {passed:>7} {failed:>7} {skipped:>8} {:>9.1}",
            took.as_secs_f64()
        );
        total.add(*tally);
    }
    println!("{total}");
    total
}

fn check_spec(root: &Path, _: &Options) -> Tally {
    Tally::one(spec::run(root, &spec::Options::default()))
}

fn clippy(root: &Path, _: &Options) -> Tally {
    Job::cargo(
        root,
        [
            "clippy",
            "--workspace",
            "--all-targets",
            "--quiet",
            "--",
            "-D",
            "warnings",
        ],
    )
    .minutes(20)
    .run()
}

/// Before the unit tests: those of certificates and DNS have second opinions too, and leave them out where they are missing.
fn programs(root: &Path) -> Tally {
    Job::new(root, "python3")
        .args(&["tests/interop/install.py".to_owned()])
        .minutes(12)
        .run()
}

fn unit_tests(root: &Path, _: &Options) -> Tally {
    // The crash test has a step of its own; here it runs the few rounds it does when nobody says how many.
    Job::cargo(
        root,
        [
            "test",
            "--workspace",
            "--lib",
            "--bins",
            "--tests",
            "--no-fail-fast",
        ],
    )
    .minutes(20)
    .run()
}

fn doc_tests(root: &Path, _: &Options) -> Tally {
    Job::cargo(root, ["test", "--workspace", "--doc"]).run()
}

fn documentation(root: &Path, _: &Options) -> Tally {
    Job::cargo(root, ["doc", "--workspace", "--no-deps", "--quiet"])
        .env("RUSTDOCFLAGS", "-D warnings")
        .run()
}

fn fuzz_smoke(root: &Path, options: &Options) -> Tally {
    fuzz_job(root, &[options.fuzz_seconds.to_string()]).run()
}

/// The fuzz runner; the arguments are the seconds for all targets together and the names of targets.
pub(crate) fn fuzz_job(root: &Path, args: &[String]) -> Job {
    // Not `--release`: the overflow checks and assertions of a development build are half of what fuzzing finds.
    let seconds: u64 = args
        .first()
        .and_then(|text| text.parse().ok())
        .unwrap_or(20);
    Job::cargo(root, ["run", "--quiet", "--package", "gatepost-fuzz", "--"])
        .args(args)
        .minutes(15 + seconds / 60)
}

fn crash(root: &Path, options: &Options) -> Tally {
    Job::cargo(
        root,
        ["test", "--package", "gatepost-store", "--test", "crash"],
    )
    .env("GATEPOST_CRASH_ROUNDS", &options.crash_rounds.to_string())
    .run()
}

/// Runs the interoperability tests on the program of the development build: the unit tests have built it already, and its overflow
/// checks and assertions see more than a release would.
pub(crate) fn interop(root: &Path, args: &[String]) -> Tally {
    let built = Job::cargo(
        root,
        [
            "test",
            "--workspace",
            "--bins",
            "--tests",
            "--no-run",
            "--quiet",
        ],
    )
    .minutes(20)
    .run();
    if !built.is_clean() {
        return built;
    }
    let binary = target_folder(root).join("debug/gatepost");
    Job::new(root, "python3")
        .args(&[
            "tests/interop/run.py".to_owned(),
            "--binary".to_owned(),
            binary.to_string_lossy().into_owned(),
        ])
        .args(args)
        .minutes(20)
        .run()
}

fn target_folder(root: &Path) -> PathBuf {
    std::env::var_os("CARGO_TARGET_DIR")
        .map_or_else(|| root.join("target"), |folder| root.join(folder))
}

fn deny(root: &Path) -> Tally {
    let probe = Command::new("cargo-deny")
        .arg("--version")
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status();
    if !probe.is_ok_and(|status| status.success()) {
        println!("skipped: cargo-deny is not installed (cargo install --locked cargo-deny)");
        return Tally::skipped();
    }
    Job::cargo(root, ["deny", "check"]).run()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(words: &[&str]) -> Result<Options, String> {
        let words: Vec<String> = words.iter().copied().map(String::from).collect();
        Options::parse(&words)
    }

    #[test]
    fn arguments_are_read() {
        let options = parse(&[
            "--only",
            "fmt",
            "--only",
            "spec",
            "--fuzz-seconds",
            "5",
            "--crash-rounds",
            "7",
        ]);
        let only = vec!["fmt".to_owned(), "spec".to_owned()];
        assert_eq!(
            options,
            Ok(Options {
                only,
                fuzz_seconds: 5,
                crash_rounds: 7,
                list: false
            })
        );
    }

    #[test]
    fn a_wrong_argument_is_an_error() {
        for wrong in [
            &["--only"][..],
            &["--only", "nothing"],
            &["--fuzz-seconds", "x"],
            &["fmt"],
        ] {
            assert!(parse(wrong).is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn one_failed_step_fails_the_whole() {
        let second = Duration::from_secs(1);
        let good = Tally {
            passed: 3,
            failed: 0,
            skipped: 1,
        };
        assert!(summary(&[("a", good, second), ("b", Tally::skipped(), second)]).is_clean());
        assert!(!summary(&[("a", good, second), ("b", Tally::one(false), second)]).is_clean());
    }
}
