//! Looking at servers from outside: how many connections and how long one Postfix takes behind 50 ms of round trip, and how many servers a
//! second a list goes through, with the memory it holds.
//!
//! The delay proxy makes its connection at once: a round trip is to be counted for each connection beside what is measured. The servers
//! of the list are one gatepost that listens on all of 127.0.0.0/8, each line another address, so that nothing comes from a cache; it shares
//! the machine with the program that is measured.

use std::fmt::Write as _;
use std::fs;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use gatepost_testkit::delay::Delay;
use serde_json::Value;

use crate::Bench;
use crate::fault::Fault;
use crate::peer::{Running, postfix};
use crate::report::Report;
use crate::sample::Sample;

/// Half a round trip.
const ONE_WAY: Duration = Duration::from_millis(25);
/// Lines of a short and a long list.
const FEW: u32 = 2_000;
const MANY: u32 = 20_000;
/// Added to the ports of the server of the list.
const OFFSET: u16 = 23_000;

/// Measures all of it.
pub(crate) fn measure(bench: &Bench<'_>, report: &mut Report) {
    report.section("check", "servers, looked at from outside");
    if let Err(fault) = one(bench, report) {
        report.skip("check of one server", &fault.to_string());
    }
    bench.discard("check-postfix");
    if let Err(fault) = list(bench, report) {
        report.skip("check of a list", &fault.to_string());
    }
    bench.discard("check-list");
}

/// One Postfix, behind a delay.
fn one(bench: &Bench<'_>, report: &mut Report) -> Result<(), Fault> {
    let postfix = postfix::start(bench, "check-postfix", &[])?;
    for (tier, most, limit) in [("default", 12.0, 1.0), ("deep", 130.0, 6.0)] {
        let mut times = Vec::new();
        let mut connections = Vec::new();
        for _ in 0..bench.plan.runs {
            let server = SocketAddr::from((Ipv4Addr::LOCALHOST, postfix.smtp));
            let delay = Delay::start(server, ONE_WAY);
            let url = format!("smtp://{}", delay.address);
            let mut command = Command::new(&bench.plan.binary);
            command.args(["check", &url, "--role", "mx", "--tier", tier, "--json"]);
            let begun = Instant::now();
            let ran = command.stdin(Stdio::null()).output();
            let ran = ran.map_err(Fault::at("running check"))?;
            times.push(begun.elapsed().as_secs_f64());
            connections.push(made(&ran.stdout)?);
        }
        let times = Sample::new(times).ok_or(Fault::Late("check"))?;
        let connections = Sample::new(connections).ok_or(Fault::Late("check"))?;
        let what = format!("one Postfix at 50 ms, tier {tier}");
        let figure = report.figure("gatepost check", &what, "s", &times);
        report.ratio_to_limit(&figure, limit);
        let figure = report.figure("gatepost check", &what, "connections", &connections);
        report.ratio_to_limit(&figure, most);
    }
    Ok(())
}

/// The connections a document tells of.
fn made(document: &[u8]) -> Result<f64, Fault> {
    let document: Value = serde_json::from_slice(document)?;
    document["targets"][0]["connections"]
        .as_f64()
        .ok_or(Fault::Late("check"))
}

/// Lists of two lengths: the rate of the long one, and what its length costs in memory.
fn list(bench: &Bench<'_>, report: &mut Report) -> Result<(), Fault> {
    let folder = bench.work.join("check-list");
    fs::create_dir_all(&folder).map_err(Fault::at("making a folder"))?;
    let _server = server(bench, &folder)?;
    let mut rates = Vec::new();
    let mut peaks = Vec::new();
    for _ in 0..bench.plan.runs {
        let few = work(bench, &folder, FEW)?;
        let many = work(bench, &folder, MANY)?;
        rates.push(f64::from(MANY) / many.seconds);
        peaks.push((few.peak, many.peak));
    }
    let rates = Sample::new(rates).ok_or(Fault::Late("check"))?;
    let figure = report.figure("gatepost check", "a list, tier light", "lines/s", &rates);
    report.ratio_to_least(&figure, 300.0);
    let mib = |peaks: Vec<f64>| Sample::new(peaks).ok_or(Fault::Late("check"));
    let few = mib(peaks.iter().map(|it| it.0).collect())?;
    let many = mib(peaks.iter().map(|it| it.1).collect())?;
    let few = report.figure(
        "gatepost check",
        &format!("memory of {FEW} lines"),
        "MiB",
        &few,
    );
    let many = report.figure(
        "gatepost check",
        &format!("memory of {MANY} lines"),
        "MiB",
        &many,
    );
    // Flat: the cache fills up to its 64 MiB and stays there.
    report.ratio(&many, &few, crate::report::Goal::None);
    report.ratio_to_limit(&many, 256.0);
    Ok(())
}

/// A gatepost on every loopback address, that counts nobody by address.
fn server(bench: &Bench<'_>, folder: &Path) -> Result<Running, Fault> {
    let config = folder.join("gatepost.toml");
    let text = "[limits]\nunlimited_networks = [\"127.0.0.0/8\"]\n";
    fs::write(&config, text).map_err(Fault::at("writing a configuration"))?;
    let mut command = Command::new(&bench.plan.binary);
    command.arg("serve").arg("--config").arg(&config);
    command.arg("--data").arg(folder.join("data"));
    command.args(["--bind", "0.0.0.0", "--port-offset", &OFFSET.to_string()]);
    let mut running = Running::start("gatepost", &mut command, &folder.join("log"))?;
    running.wait_for_port(OFFSET + 25)?;
    Ok(running)
}

/// How a list went.
struct Ran {
    seconds: f64,
    /// The most memory it held, in MiB.
    peak: f64,
}

fn work(bench: &Bench<'_>, folder: &Path, lines: u32) -> Result<Ran, Fault> {
    let path = folder.join("list");
    let mut text = String::new();
    for number in 1..=lines {
        let [_, second, third, fourth] = number.to_be_bytes();
        let _ = writeln!(
            text,
            "smtp://127.{}.{third}.{fourth}:{}",
            second + 1,
            OFFSET + 25
        );
    }
    fs::write(&path, text).map_err(Fault::at("writing a list"))?;
    let mut command = Command::new(&bench.plan.binary);
    command.arg("check").arg("--list").arg(&path);
    command.args(["--tier", "light", "--fail-on", "critical"]);
    let out = fs::File::create(folder.join("out")).map_err(Fault::at("making a file"))?;
    command
        .stdin(Stdio::null())
        .stdout(out)
        .stderr(Stdio::null());
    let begun = Instant::now();
    let mut child = command.spawn().map_err(Fault::at("running check"))?;
    let status = format!("/proc/{}/status", child.id());
    let mut peak = 0.0_f64;
    loop {
        peak = peak.max(fs::read_to_string(&status).map_or(0.0, |it| high_water(&it)));
        if let Some(ended) = child.try_wait().map_err(Fault::at("waiting for check"))? {
            let seconds = begun.elapsed().as_secs_f64();
            let told = fs::read_to_string(folder.join("out")).unwrap_or_default();
            return match (ended.code(), told.lines().count()) {
                (Some(0 | 1 | 3), count) if count == lines as usize => Ok(Ran { seconds, peak }),
                (_, count) => Err(Fault::Died(
                    "check",
                    format!("{ended}, {count} of {lines} lines"),
                )),
            };
        }
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// `VmHWM` of `/proc/PID/status`, in MiB.
fn high_water(status: &str) -> f64 {
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kilobytes = line.and_then(|line| line.split_whitespace().next()?.parse::<u32>().ok());
    f64::from(kilobytes.unwrap_or(0)) / 1024.0
}
