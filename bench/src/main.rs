//! `gatepost-bench`: measures the real `gatepost` program beside real peers, in the same run, on the same machine.
//!
//! Every figure is a ratio to something measured minutes apart under the same load: the in-memory handshake, a bare
//! tokio and rustls loop, or a server from Debian with the same certificate. An absolute number says how fast this machine is;
//! a ratio says how good the program is. `bench/README.md` explains each figure.
//!
//! The server under test, whichever it is, runs pinned to the first core this process may use; the load generator runs on the last.
//! A peer that is not installed is named as skipped. Nothing is ever filled in.

mod bare;
mod check;
mod client;
mod dns;
mod fault;
mod gate;
mod handshake;
mod identity;
mod idle;
mod load;
mod machine;
mod mailbox;
mod peer;
mod process;
mod report;
mod sample;
mod start;
mod starttls;
mod submission;
mod talk;
mod tls;
mod watch;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::fault::Fault;
use crate::identity::Identity;
use crate::machine::Machine;
use crate::report::Report;

/// Measures gatepost beside its peers.
#[derive(Debug, Parser)]
#[command(version, about)]
struct Options {
    #[command(subcommand)]
    what: What,
    #[command(flatten)]
    plan: Plan,
}

/// What to measure.
#[derive(Debug, Clone, PartialEq, Eq, Subcommand)]
enum What {
    /// Everything below, in this order.
    All,
    /// The in-memory TLS 1.3 handshake: the floor.
    Handshake,
    /// STARTTLS sessions: server CPU, rate, latency of a lone one.
    Starttls,
    /// Memory of an idle IMAP session.
    Idle,
    /// Durable submissions per second.
    Submission,
    /// The mailbox beside Dovecot's: opening, flags, bodies, search, moving, writing, disk.
    Mailbox,
    /// Time from exec to ready.
    Start,
    /// DNSSEC validation and DANE decisions.
    Dns,
    /// Sending, fetching, and the round trips of one cold send.
    Client,
    /// Reading captures and logs, and what a flow costs in memory.
    Watch,
    /// Servers, looked at from outside: connections and seconds of one, rate and memory of a list.
    Check,
    /// The gate beside nginx, stunnel, haproxy and Dovecot's proxy.
    Gate,
    /// The bare loop, as a server of its own (the harness starts it).
    #[command(hide = true)]
    BareLoop(bare::Options),
}

/// How to measure.
#[derive(Debug, clap::Args)]
pub(crate) struct Plan {
    /// The program under test.
    #[arg(long, global = true, default_value = "target/release/gatepost")]
    binary: PathBuf,
    /// Write every run, median and ratio here as JSON.
    #[arg(long, global = true)]
    json: Option<PathBuf>,
    /// Runs of each measurement; the median is quoted.
    #[arg(long, global = true, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=100))]
    runs: u32,
    /// Length of one run under load, in seconds.
    #[arg(long, global = true, default_value_t = 5, value_parser = clap::value_parser!(u64).range(1..=600))]
    seconds: u64,
    /// Idle IMAP sessions to open on gatepost.
    #[arg(long, global = true, default_value_t = 4000, value_parser = clap::value_parser!(u32).range(1..=60_000))]
    sessions: u32,
    /// Idle IMAP sessions to open on Dovecot, which spends a process on each.
    #[arg(long, global = true, default_value_t = 200, value_parser = clap::value_parser!(u32).range(1..=5_000))]
    peer_sessions: u32,
    /// Messages of the large mailbox; the small one has a tenth.
    #[arg(long, global = true, default_value_t = 100_000, value_parser = clap::value_parser!(u32).range(100..=1_000_000))]
    messages: u32,
    /// Idle sessions from one loopback address, so that a limit by address is not what is measured.
    #[arg(long, global = true, default_value_t = 16, value_parser = clap::value_parser!(u32).range(1..=20_000))]
    per_address: u32,
    /// Folder for data, queues and configurations; must be on the disk to be measured. Default: the system's temporary folder.
    #[arg(long, global = true)]
    work: Option<PathBuf>,
    /// Keep the work folder, to look at logs and configurations.
    #[arg(long, global = true)]
    keep: bool,
}

fn main() -> ExitCode {
    let options = Options::parse();
    let outcome = match &options.what {
        What::BareLoop(bare) => bare::run(bare),
        what => measure(what, &options.plan),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(fault) => {
            eprintln!("gatepost-bench: {fault}");
            ExitCode::from(3)
        }
    }
}

/// Everything a measurement needs to know about its surroundings.
pub(crate) struct Bench<'a> {
    plan: &'a Plan,
    machine: Machine,
    work: PathBuf,
    identity: Identity,
    /// The started-and-stopped data folder every run of gatepost begins from; the reason when there is none.
    seed: Result<peer::gatepost::Seed, Fault>,
}

fn measure(what: &What, plan: &Plan) -> Result<(), Fault> {
    let folder = match &plan.work {
        Some(parent) => tempfile::Builder::new()
            .prefix("gatepost-bench-")
            .tempdir_in(parent),
        None => tempfile::Builder::new().prefix("gatepost-bench-").tempdir(),
    };
    let folder = folder.map_err(Fault::at("making the work folder"))?;
    // Postfix and Dovecot drop root and must still reach their queues and mailboxes below.
    peer::open_to_all(folder.path())?;
    let machine = Machine::read(folder.path());
    machine.prepare_load();
    let work = folder.path().to_path_buf();
    let seed = peer::gatepost::Seed::make(plan, &machine, &work.join("seed"));
    let identity = match &seed {
        Ok(seed) => Identity::read(&seed.data)?,
        Err(_) => Identity::make(&work.join("identity"))?,
    };
    let bench = Bench {
        plan,
        machine,
        work,
        identity,
        seed,
    };
    let mut report = Report::new(&bench.machine);
    if let Err(fault) = &bench.seed {
        report.skip("gatepost", &fault.to_string());
    }
    let result = run(what, &bench, &mut report);
    report.finish(plan.json.as_deref())?;
    if plan.keep {
        eprintln!("kept: {}", folder.keep().display());
    }
    result
}

impl Bench<'_> {
    /// Removes what a run left on disk, unless it is to be kept.
    fn discard(&self, name: &str) {
        if !self.plan.keep {
            // The whole work folder goes at the end; this only spares the disk until then.
            std::fs::remove_dir_all(self.work.join(name)).ok();
        }
    }
}

fn run(what: &What, bench: &Bench<'_>, report: &mut Report) -> Result<(), Fault> {
    let wanted = |this: What| *what == What::All || *what == this;
    // STARTTLS is judged by its distance from the handshake, so it always brings the handshake along.
    let floors = if wanted(What::Handshake) || wanted(What::Starttls) {
        Some(handshake::measure(bench, report)?)
    } else {
        None
    };
    if wanted(What::Starttls) {
        starttls::measure(bench, report, &floors.unwrap_or_default());
    }
    if wanted(What::Idle) {
        idle::measure(bench, report);
    }
    if wanted(What::Submission) {
        submission::measure(bench, report);
    }
    if wanted(What::Mailbox) {
        mailbox::measure(bench, report);
    }
    if wanted(What::Start) {
        start::measure(bench, report);
    }
    if wanted(What::Dns) {
        dns::measure(bench, report);
    }
    if wanted(What::Client) {
        client::measure(bench, report);
    }
    if wanted(What::Watch) {
        watch::measure(bench, report);
    }
    if wanted(What::Gate) {
        gate::measure(bench, report);
    }
    if wanted(What::Check) {
        check::measure(bench, report);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_sound() {
        super::Options::command().debug_assert();
    }
}
