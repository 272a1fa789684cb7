//! Project tasks: `cargo xtask TASK`.
//!
//! | task | does |
//! |---|---|
//! | `test` | everything that must hold before a change is merged, step by step, with a summary |
//! | `spec` | compares `spec/*.tsv` with the citations in code and tests, writes `docs/conformance.md` |
//! | `edges` | compares the dependencies between our crates with the table of ARCHITECTURE.md |
//! | `interop` | runs the server against real mail programs |
//! | `fuzz SECONDS` | runs every fuzz target, the time divided between them |
//! | `bench` | runs the benchmarks |
//!
//! The exit code is 0 when all is well, 1 when something failed, 2 for wrong usage.

mod edges;
mod run;
mod spec;
mod steps;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use run::{Job, Tally};

const USAGE: &str = "usage: cargo xtask TASK

  test [--only STEP]... [--fuzz-seconds N] [--crash-rounds N] [--list]
                     run every check (or only the steps named)
  spec [--allow-open] [--suggest]
                     compare spec/*.tsv with the citations, write docs/conformance.md
  edges              compare the dependencies between our crates with the table
  interop [ARGS]...  run the server against real mail programs (ARGS go to tests/interop/run.py)
  fuzz SECONDS [TARGET]...
                     run the fuzz targets
  bench [ARGS]...    run the benchmarks";

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let Some((task, rest)) = args.split_first() else {
        return usage("name a task");
    };
    match task.as_str() {
        "test" => match steps::Options::parse(rest) {
            Ok(options) => steps::run_all(&options),
            Err(message) => usage(&message),
        },
        "spec" => match spec::Options::parse(rest) {
            Ok(options) => exit(spec::run(&root(), &options)),
            Err(message) => usage(&message),
        },
        "edges" => exit(edges::run(&root())),
        "interop" => exit(steps::interop(&root(), rest).is_clean()),
        "fuzz" => exit(steps::fuzz_job(&root(), rest).run().is_clean()),
        "bench" => exit(bench(&root(), rest).is_clean()),
        "help" | "--help" | "-h" => {
            println!("{USAGE}");
            ExitCode::SUCCESS
        }
        other => usage(&format!("there is no task `{other}`")),
    }
}

/// Builds the program as a user would, then measures it.
fn bench(root: &Path, args: &[String]) -> Tally {
    let built = Job::cargo(root, ["build", "--release", "--package", "gatepost"])
        .minutes(20)
        .run();
    if !built.is_clean() {
        return built;
    }
    let all = [String::from("all")];
    let args = if args.is_empty() { &all } else { args };
    Job::cargo(
        root,
        ["run", "--release", "--package", "gatepost-bench", "--"],
    )
    .args(args)
    .hours(2)
    .run()
}

fn usage(message: &str) -> ExitCode {
    eprintln!("xtask: {message}\n\n{USAGE}");
    ExitCode::from(2)
}

fn exit(good: bool) -> ExitCode {
    if good {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

/// The workspace's folder.
fn root() -> PathBuf {
    let own = Path::new(env!("CARGO_MANIFEST_DIR"));
    own.parent().unwrap_or(own).to_path_buf()
}
