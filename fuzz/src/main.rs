//! Runs the fuzz targets: `gatepost-fuzz SECONDS [TARGET]... [--seed N]`, or `gatepost-fuzz --replay TARGET FILE`.
//!
//! The time is divided between the targets. An input under which a target panics, or does not come back within ten seconds, is
//! saved to `fuzz/found/`, and the exit code is 1. The last line is `N passed, N failed`, counting targets.

use std::cell::RefCell;
use std::collections::HashSet;
use std::panic::{self, AssertUnwindSafe};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use gatepost_fuzz::mutate::{Random, mutate};
use gatepost_fuzz::{TARGETS, Target, behaviour};

/// A target that does not come back for so long is held to be hanging.
const PATIENCE: Duration = Duration::from_secs(10);
/// The most inputs kept of a target.
const MOST_KEPT: usize = 4000;

/// What is running now, for the watchdog.
static RUNNING: Mutex<Option<(Instant, &str, Vec<u8>)>> = Mutex::new(None);

thread_local! {
    static MESSAGE: RefCell<String> = const { RefCell::new(String::new()) };
}

struct Options {
    seconds: u64,
    seed: u64,
    targets: Vec<Target>,
}

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    panic::set_hook(Box::new(|info| MESSAGE.set(info.to_string())));
    thread::spawn(watch);
    if let [flag, name, file] = args.as_slice()
        && flag == "--replay"
    {
        return replay(name, Path::new(file));
    }
    match parse(&args) {
        Ok(options) => run(&options),
        Err(message) => {
            eprintln!("gatepost-fuzz: {message}");
            ExitCode::from(2)
        }
    }
}

fn parse(args: &[String]) -> Result<Options, String> {
    let now = SystemTime::now()
        .duration_since(SystemTime::UNIX_EPOCH)
        .unwrap_or_default();
    let mut options = Options {
        seconds: 20,
        seed: now.as_secs(),
        targets: Vec::new(),
    };
    let mut args = args.iter();
    while let Some(arg) = args.next() {
        if arg == "--seed" {
            let value = args.next().and_then(|text| text.parse().ok());
            options.seed = value.ok_or("`--seed` wants a number")?;
        } else if let Ok(seconds) = arg.parse() {
            options.seconds = seconds;
        } else {
            options.targets.push(find(arg)?);
        }
    }
    if options.targets.is_empty() {
        options.targets = TARGETS.to_vec();
    }
    Ok(options)
}

fn find(name: &str) -> Result<Target, String> {
    let names = || {
        TARGETS
            .iter()
            .map(|target| target.name)
            .collect::<Vec<_>>()
            .join(", ")
    };
    let found = TARGETS.iter().find(|target| target.name == name).copied();
    found.ok_or_else(|| format!("there is no target `{name}`; the targets are {}", names()))
}

fn run(options: &Options) -> ExitCode {
    println!("seed {}", options.seed);
    let share = Duration::from_secs(options.seconds)
        / u32::try_from(options.targets.len()).unwrap_or(1).max(1);
    let mut failed = 0;
    for target in &options.targets {
        if let Err((input, message)) = fuzz(target, share, options.seed) {
            failed += 1;
            println!("{}: {message}", target.name);
            save(target.name, &input);
        }
    }
    println!("{} passed, {failed} failed", options.targets.len() - failed);
    if failed == 0 {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

/// Runs one target: the seeds, then mutations of what led to something new, until the time is up.
fn fuzz(target: &Target, share: Duration, seed: u64) -> Result<(), (Vec<u8>, String)> {
    let end = Instant::now() + share;
    let mut random = Random::new(seed);
    let mut known = HashSet::new();
    let mut pool = (target.seeds)();
    for input in &pool {
        known.insert(attempt(target, input)?);
    }
    let mut count = pool.len();
    while Instant::now() < end {
        let input = mutate(&mut random, &pool, target.words);
        let new = known.insert(attempt(target, &input)?);
        if new && pool.len() < MOST_KEPT {
            pool.push(input);
        }
        count += 1;
    }
    println!(
        "{:<14} {count} inputs, {} behaviours, {:.1} s",
        target.name,
        known.len(),
        share.as_secs_f64()
    );
    Ok(())
}

/// Runs one input; the number tells behaviours apart.
fn attempt(target: &Target, input: &[u8]) -> Result<u64, (Vec<u8>, String)> {
    *RUNNING.lock().unwrap_or_else(PoisonError::into_inner) =
        Some((Instant::now(), target.name, input.to_vec()));
    behaviour::take();
    let outcome = panic::catch_unwind(AssertUnwindSafe(|| (target.run)(input)));
    *RUNNING.lock().unwrap_or_else(PoisonError::into_inner) = None;
    match outcome {
        Ok(()) => Ok(behaviour::take()),
        Err(_) => Err((input.to_vec(), MESSAGE.take())),
    }
}

/// Ends the program when an input hangs.
fn watch() {
    loop {
        thread::sleep(Duration::from_millis(500));
        let running = RUNNING.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((since, name, input)) = running.as_ref()
            && since.elapsed() > PATIENCE
        {
            println!("{name}: does not come back");
            save(name, input);
            println!("0 passed, 1 failed");
            std::process::exit(1);
        }
    }
}

fn save(name: &str, input: &[u8]) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("found");
    let path: PathBuf = folder.join(format!("{name}-{:016x}", fingerprint(input)));
    match std::fs::create_dir_all(&folder).and_then(|()| std::fs::write(&path, input)) {
        Ok(()) => println!(
            "saved to {0}; cargo run -p gatepost-fuzz -- --replay {name} {0}",
            path.display()
        ),
        Err(error) => println!(
            "cannot save to {}: {error}\n{}",
            path.display(),
            input.escape_ascii()
        ),
    }
}

fn fingerprint(input: &[u8]) -> u64 {
    input.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
    })
}

fn replay(name: &str, file: &Path) -> ExitCode {
    let input = match std::fs::read(file) {
        Ok(input) => input,
        Err(error) => {
            eprintln!("gatepost-fuzz: {}: {error}", file.display());
            return ExitCode::from(2);
        }
    };
    match find(name).map(|target| attempt(&target, &input)) {
        Ok(Ok(_)) => {
            println!("nothing happened");
            ExitCode::SUCCESS
        }
        Ok(Err((_, message))) => {
            println!("{message}");
            ExitCode::FAILURE
        }
        Err(message) => {
            eprintln!("gatepost-fuzz: {message}");
            ExitCode::from(2)
        }
    }
}
