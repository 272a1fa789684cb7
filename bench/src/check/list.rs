//! A list of servers: one gatepost that listens on all of 127.0.0.0/8, each line another address, so that nothing comes from a cache.

use std::fmt::Write as _;
use std::fs::{self, File};
use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

use super::FEW;
use crate::Bench;
use crate::fault::Fault;
use crate::peer::{Running, folder, write};
use crate::process;
use crate::report::{Goal, Report};
use crate::sample::Sample;

pub(super) const FOLDER: &str = "check-list";
/// Lines of the long list.
const MANY: u32 = 20_000;
/// Added to the ports of the server of the list.
const OFFSET: u16 = 23_000;
/// What a list should reach, lines a second: a million in an hour.
pub(super) const GOAL: f64 = 300.0;
/// One in so many lines may stay untold; how many did is told.
const TOLERATED: usize = 1_000;
/// What a list may hold, in MiB: the cache fills up, then nothing grows.
pub(super) const LIMIT: f64 = 256.0;

/// Lists of two lengths: the rate of the long one, and what its length costs in memory.
pub(super) fn measure(bench: &Bench<'_>, report: &mut Report) -> Result<(), Fault> {
    let folder = folder(&bench.work.join(FOLDER))?;
    let _server = server(bench, &folder, "0.0.0.0", OFFSET)?;
    let mut runs = Runs::default();
    for _ in 0..bench.plan.runs {
        let few = work(bench, &folder, &servers(FEW), |_| ())?;
        let many = work(bench, &folder, &servers(MANY), |_| ())?;
        runs.push(few, many);
    }
    runs.tell(report, "servers")
}

/// A gatepost that counts nobody by address.
pub(super) fn server(
    bench: &Bench<'_>,
    folder: &Path,
    bind: &str,
    offset: u16,
) -> Result<Running, Fault> {
    let config = folder.join("gatepost.toml");
    write(
        &config,
        "[limits]\nunlimited_networks = [\"127.0.0.0/8\"]\n",
    )?;
    let mut command = bench.machine.server_command(&bench.plan.binary);
    command.arg("serve").arg("--config").arg(&config);
    command.arg("--data").arg(folder.join("data"));
    command.args(["--bind", bind, "--port-offset", &offset.to_string()]);
    let mut running = Running::start("gatepost", &mut command, &folder.join("log"))?;
    running.wait_for_port(offset + 25)?;
    Ok(running)
}

fn servers(lines: u32) -> Vec<String> {
    let line = |number: u32| {
        let [_, second, third, fourth] = number.to_be_bytes();
        format!("smtp://127.{}.{third}.{fourth}:{}", second + 1, OFFSET + 25)
    };
    (1..=lines).map(line).collect()
}

/// How one list went.
pub(super) struct Ran {
    lines: usize,
    time: Duration,
    cpu: Duration,
    /// Lines of which nobody could tell how they stand.
    untold: usize,
    /// The most memory it held, in MiB.
    peak: f64,
}

/// How lists of two lengths went, run by run.
#[derive(Default)]
pub(super) struct Runs(Vec<(Ran, Ran)>);

impl Runs {
    pub(super) fn push(&mut self, few: Ran, many: Ran) {
        self.0.push((few, many));
    }

    /// The figures and how they stand to what a list should reach. `what`: what a line names.
    pub(super) fn tell(&self, report: &mut Report, what: &str) -> Result<(), Fault> {
        let mut figure = |name: &str, unit, value: &dyn Fn(&(Ran, Ran)) -> f64| {
            let sample = Sample::new(self.0.iter().map(value).collect());
            let sample = sample.ok_or(Fault::Late("check"))?;
            Ok::<_, Fault>(report.figure("gatepost check", name, unit, &sample))
        };
        let rate = figure(&format!("a list of {what}, tier light"), "lines/s", &|it| {
            lines(&it.1) / it.1.time.as_secs_f64()
        })?;
        figure(&format!("CPU of one of {what}"), "ms", &|it| {
            it.1.cpu.as_secs_f64() * 1000.0 / lines(&it.1)
        })?;
        figure(&format!("{what} that could not be told"), "lines", &|it| {
            u32::try_from(it.1.untold).map_or(f64::NAN, f64::from)
        })?;
        let memory = |it: &Ran| format!("memory of {} {what}", it.lines);
        let Some((few, many)) = self.0.first().map(|it| (memory(&it.0), memory(&it.1))) else {
            return Err(Fault::Late("check"));
        };
        let few = figure(&few, "MiB", &|it| it.0.peak)?;
        let many = figure(&many, "MiB", &|it| it.1.peak)?;
        report.ratio_to_least(&rate, GOAL);
        report.ratio(&many, &few, Goal::None);
        report.ratio_to_limit(&many, LIMIT);
        Ok(())
    }
}

fn lines(ran: &Ran) -> f64 {
    u32::try_from(ran.lines).map_or(f64::NAN, f64::from)
}

/// Goes through a list of these lines, on every core, with whatever `more` adds to the command. Fails unless each line has its document, and
/// nearly each document a look inside TLS: the resolver beside a full machine may give up on one.
pub(super) fn work(
    bench: &Bench<'_>,
    folder: &Path,
    lines: &[String],
    more: impl Fn(&mut Command),
) -> Result<Ran, Fault> {
    let path = folder.join("list");
    let mut text = String::new();
    for line in lines {
        let _ = writeln!(text, "{line}");
    }
    write(&path, &text)?;
    let out = folder.join("out");
    let mut command = bench.machine.free_command(&bench.plan.binary);
    command.arg("check").arg("--list").arg(&path);
    command.args(["--tier", "light", "--fail-on", "critical"]);
    more(&mut command);
    command
        .stdin(Stdio::null())
        .stdout(File::create(&out).map_err(Fault::at("making a file"))?)
        .stderr(Stdio::null());
    let (begun, before) = (Instant::now(), process::waited_cpu());
    let mut child = command.spawn().map_err(Fault::at("running check"))?;
    let status = format!("/proc/{}/status", child.id());
    let mut peak = 0.0_f64;
    let ended = loop {
        peak = peak.max(fs::read_to_string(&status).map_or(0.0, |it| high_water(&it)));
        if let Some(ended) = child.try_wait().map_err(Fault::at("waiting for check"))? {
            break ended;
        }
        std::thread::sleep(Duration::from_millis(5));
    };
    let (time, cpu) = (
        begun.elapsed(),
        process::waited_cpu().saturating_sub(before),
    );
    let told = File::open(&out).map_err(Fault::at("reading documents"))?;
    let documents = BufReader::new(told).lines().map_while(Result::ok);
    let looks: Vec<bool> = documents.map(|it| is_whole(&it)).collect();
    let untold = looks.iter().filter(|it| !**it).count();
    match ended.code() {
        Some(0 | 1 | 3) if looks.len() == lines.len() && untold <= lines.len() / TOLERATED => {
            Ok(Ran {
                lines: lines.len(),
                time,
                cpu,
                untold,
                peak,
            })
        }
        _ => Err(Fault::Died(
            "check",
            format!(
                "{ended}; {untold} of {} lines untold",
                looks.len().max(lines.len())
            ),
        )),
    }
}

/// Whether STARTTLS led to TLS, at each service of a line, and there is one.
fn is_whole(document: &str) -> bool {
    let document: Value = serde_json::from_str(document).unwrap_or_default();
    let targets = document["targets"].as_array();
    let upgraded = |target: &Value| {
        let mut checks = target["checks"].as_array().into_iter().flatten();
        checks.any(|it| it["id"] == "STLS-002" && it["status"] == "pass")
    };
    targets.is_some_and(|it| !it.is_empty() && it.iter().all(upgraded))
}

/// `VmHWM` of `/proc/PID/status`, in MiB.
fn high_water(status: &str) -> f64 {
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kilobytes = line.and_then(|line| line.split_whitespace().next()?.parse::<u32>().ok());
    f64::from(kilobytes.unwrap_or(0)) / 1024.0
}
