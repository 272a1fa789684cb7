//! Watching: how fast captures and logs are read on one core, and what a flow costs in memory.
//!
//! The files are made by code ([`traffic`]) and read once before they count, so that the disk is not measured. Beside them stands tshark on a
//! slice of the same traffic, and grep on the same log.

mod traffic;

use std::fmt::Write as _;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use self::traffic::Traffic;
use crate::Bench;
use crate::fault::Fault;
use crate::report::{Figure, Goal, Report};
use crate::sample::Sample;

/// Size of a capture, and of the slice tshark is given.
const CAPTURE: u64 = 1_000_000_000;
const SLICE: u64 = 30_000_000;
/// Size of a log.
const LOG: usize = 200_000_000;
/// Flows held open, few and many: the difference is divided by the difference.
const FEW: u32 = 2_000;
const MANY: u32 = 42_000;

/// Measures all of it.
pub(crate) fn measure(bench: &Bench<'_>, report: &mut Report) {
    report.section("watch", "captures and logs, read on one core");
    let folder = bench.work.join("watch");
    let result = fs::create_dir_all(&folder)
        .map_err(Fault::at("making a folder for captures"))
        .and_then(|()| try_measure(bench, report, &folder));
    if let Err(fault) = result {
        report.skip("watch", &fault.to_string());
    }
    bench.discard("watch");
}

fn try_measure(bench: &Bench<'_>, report: &mut Report, folder: &Path) -> Result<(), Fault> {
    let settled = captured(folder, "settled", |it| it.settled(993, CAPTURE))?;
    let settled = speed(bench, report, "settled flows", &settled, 8e9)?;
    tshark(bench, report, &settled, folder, |it| it.settled(993, SLICE))?;
    let decoded = captured(folder, "decoded", |it| it.decoded(CAPTURE))?;
    let decoded = speed(bench, report, "every stream decoded", &decoded, 3e9)?;
    tshark(bench, report, &decoded, folder, |it| it.decoded(SLICE))?;
    let mixed = captured(folder, "mixed", |it| it.mixed(CAPTURE))?;
    speed(bench, report, "mail in 5 % of packets", &mixed, 10e9)?;
    for (what, is_settled, limit) in [("clear phase", false, 1536.0), ("settled", true, 160.0)] {
        memory(bench, report, folder, (what, is_settled), limit)?;
    }
    logs(bench, report, folder)
}

/// A capture file and its size.
struct Captured {
    path: PathBuf,
    size: u64,
}

fn captured(
    folder: &Path,
    name: &str,
    fill: impl FnOnce(&mut Traffic) -> io::Result<()>,
) -> Result<Captured, Fault> {
    let path = folder.join(format!("{name}.pcap"));
    let write = || {
        let mut traffic = Traffic::create(&path)?;
        fill(&mut traffic)?;
        traffic.finish()
    };
    let size = write().map_err(Fault::at("writing a capture"))?;
    Ok(Captured { path, size })
}

/// Bits a second through the program, against a goal in bits a second.
fn speed(
    bench: &Bench<'_>,
    report: &mut Report,
    what: &str,
    file: &Captured,
    goal: f64,
) -> Result<Figure, Fault> {
    let mut rates = Vec::new();
    for run in 0..=bench.plan.runs {
        let ran = watch(bench, &[file.path.as_os_str().to_owned()])?;
        if run > 0 {
            rates.push(bits(file.size, ran.time) / 1e9);
        }
    }
    let rates = Sample::new(rates).ok_or(Fault::Late("watch"))?;
    let figure = report.figure("gatepost watch", what, "Gbit/s", &rates);
    report.ratio_to_least(&figure, goal / 1e9);
    fs::remove_file(&file.path).map_err(Fault::at("removing a capture"))?;
    Ok(figure)
}

fn bits(octets: u64, time: Duration) -> f64 {
    #[expect(
        clippy::cast_precision_loss,
        reason = "a file is smaller than 2^53 octets"
    )]
    let octets = octets as f64;
    octets * 8.0 / time.as_secs_f64()
}

/// How a run went.
struct Ran {
    time: Duration,
    /// The most memory it held, in octets.
    peak: u64,
}

/// Runs the program over files; findings are its business, so exit code 1 is as good as 0.
fn watch(bench: &Bench<'_>, words: &[std::ffi::OsString]) -> Result<Ran, Fault> {
    let mut command = bench.machine.server_command(&bench.plan.binary);
    command.arg("watch").args(words);
    run(command)
}

fn run(mut command: Command) -> Result<Ran, Fault> {
    let begun = Instant::now();
    let mut child = command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .map_err(Fault::at("starting a reader"))?;
    let status = format!("/proc/{}/status", child.id());
    let mut peak = 0;
    loop {
        if let Ok(text) = fs::read_to_string(&status) {
            peak = peak.max(high_water(&text));
        }
        if let Some(ended) = child
            .try_wait()
            .map_err(Fault::at("waiting for a reader"))?
        {
            let time = begun.elapsed();
            return match ended.code() {
                Some(0 | 1) => Ok(Ran { time, peak }),
                _ => Err(Fault::Died("watch", ended.to_string())),
            };
        }
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// `VmHWM` of `/proc/PID/status`, in octets.
fn high_water(status: &str) -> u64 {
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kilobytes = line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok());
    kilobytes.unwrap_or(0) * 1024
}

/// tshark over a slice of the same, with the fields a watcher of mail would ask for.
fn tshark(
    bench: &Bench<'_>,
    report: &mut Report,
    ours: &Figure,
    folder: &Path,
    fill: impl FnOnce(&mut Traffic) -> io::Result<()>,
) -> Result<(), Fault> {
    let slice = captured(folder, "slice", fill)?;
    let mut command = bench.machine.server_command("tshark");
    command.args(["-n", "-r"]).arg(&slice.path).args([
        "-Y",
        "smtp || imap || pop || tls.handshake",
        "-T",
        "fields",
        "-e",
        "frame.number",
        "-e",
        "_ws.col.Info",
    ]);
    match run(command) {
        Ok(ran) => {
            let rate = Sample::new(vec![bits(slice.size, ran.time) / 1e9]);
            if let Some(rate) = rate {
                let theirs = report.figure("tshark", "a slice of the same", "Gbit/s", &rate);
                report.ratio(ours, &theirs, Goal::AtLeast(10.0));
            }
        }
        Err(_) => report.skip("tshark", "not installed, or it failed"),
    }
    fs::remove_file(&slice.path).map_err(Fault::at("removing a capture"))
}

fn memory(
    bench: &Bench<'_>,
    report: &mut Report,
    folder: &Path,
    (what, is_settled): (&str, bool),
    limit: f64,
) -> Result<(), Fault> {
    let mut peaks = Vec::new();
    for count in [FEW, MANY] {
        let file = captured(folder, "held", |it| it.held(count, is_settled))?;
        peaks.push(watch(bench, &[file.path.as_os_str().to_owned()])?.peak);
        fs::remove_file(&file.path).map_err(Fault::at("removing a capture"))?;
    }
    let [few, many] = peaks[..] else {
        return Err(Fault::Late("watch"));
    };
    let grown = u32::try_from(many.saturating_sub(few)).unwrap_or(u32::MAX);
    let each = f64::from(grown) / f64::from(MANY - FEW);
    if let Some(each) = Sample::new(vec![each]) {
        let figure = report.figure(
            "gatepost watch",
            &format!("memory per flow, {what}"),
            "bytes",
            &each,
        );
        report.ratio_to_limit(&figure, limit);
    }
    Ok(())
}

/// A Postfix log: half of the sessions encrypted, a few logins.
fn log() -> String {
    let mut log = String::with_capacity(LOG + 1024);
    let mut number = 0u32;
    while log.len() < LOG {
        number += 1;
        let (client, pid) = (
            format!(
                "client{}.example.test[192.0.2.{}]",
                number % 500,
                number % 250
            ),
            number % 30_000,
        );
        let head = format!(
            "Nov 26 12:{:02}:{:02} mail postfix/",
            number / 60 % 60,
            number % 60
        );
        // Writing to a String cannot fail.
        let _ = writeln!(log, "{head}smtpd[{pid}]: connect from {client}");
        if number.is_multiple_of(2) {
            let _ = writeln!(
                log,
                "{head}smtpd[{pid}]: Anonymous TLS connection established from {client}: TLSv1.3 with cipher TLS_AES_256_GCM_SHA384 (256/256 bits)"
            );
        }
        let _ = writeln!(log, "{head}smtpd[{pid}]: {number:X}: client={client}");
        let _ = writeln!(
            log,
            "{head}cleanup[{pid}]: {number:X}: message-id=<{number}@example.test>"
        );
        let _ = writeln!(
            log,
            "{head}qmgr[77]: {number:X}: from=<a@example.test>, size=1234, nrcpt=1 (queue active)"
        );
        let _ = writeln!(
            log,
            "{head}smtpd[{pid}]: disconnect from {client} ehlo=1 mail=1 rcpt=1 data=1 quit=1 commands=5"
        );
        let _ = writeln!(log, "{head}qmgr[77]: {number:X}: removed");
    }
    log
}

fn logs(bench: &Bench<'_>, report: &mut Report, folder: &Path) -> Result<(), Fault> {
    let path = folder.join("mail.log");
    let log = log();
    fs::write(&path, &log).map_err(Fault::at("writing a log"))?;
    let size = log.len() as u64;
    drop(log);
    let rate = |time: Duration| bits(size, time) / 8e6;
    let mut ours = Vec::new();
    for run in 0..=bench.plan.runs {
        let ran = watch(bench, &["--log".into(), path.as_os_str().to_owned()])?;
        if run > 0 {
            ours.push(rate(ran.time));
        }
    }
    let Some(ours) = Sample::new(ours) else {
        return Err(Fault::Late("watch"));
    };
    let ours = report.figure("gatepost watch --log", "a Postfix log", "MB/s", &ours);
    report.ratio_to_least(&ours, 500.0);
    let peers: [(&str, &[&str]); 2] = [
        ("grep", &["-c", "TLS connection established"]),
        ("pflogsumm", &[]),
    ];
    for (peer, words) in peers {
        let mut command = bench.machine.server_command(peer);
        command.args(words).arg(&path).env("LC_ALL", "C");
        match run(command) {
            Ok(ran) => {
                if let Some(sample) = Sample::new(vec![rate(ran.time)]) {
                    let theirs = report.figure(peer, "the same log", "MB/s", &sample);
                    report.ratio(&ours, &theirs, Goal::None);
                }
            }
            Err(_) => report.skip(peer, "not installed, or it failed"),
        }
    }
    Ok(())
}
