//! The program under test, through the flags scripts rely on: `serve --data --bind --port-offset --account
//! --password-file --ready-file`. Every run begins from a copy of one seed: a data folder made by a first start, with the
//! certificate and the accounts, and no mail.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use serde::Deserialize;

use super::{Running, complete, folder, write};
use crate::fault::Fault;
use crate::machine::Machine;
use crate::{Bench, Plan};

/// Accounts that mail is sent to; several, so that one mailbox is not the limit for any server.
pub(crate) const ACCOUNTS: u32 = 8;
/// The password of each. It guards nothing: the server listens on loopback for the length of a run.
pub(crate) const PASSWORD: &str = "bench-password-1";
/// Moves the ports away from a gatepost that may be running here.
const PORT_OFFSET: &str = "21000";

/// The account with this number.
pub(crate) fn account(number: u32) -> String {
    format!("user{}@gatepost.test", number % ACCOUNTS)
}

/// All accounts.
pub(crate) fn accounts() -> Vec<String> {
    (0..ACCOUNTS).map(account).collect()
}

/// A data folder after a first start.
#[derive(Debug)]
pub(crate) struct Seed {
    binary: PathBuf,
    /// Where `cert.pem`, `key.pem` and `ca.pem` are.
    pub(crate) data: PathBuf,
    password: PathBuf,
    /// How long the first start took: exec to ready, with certificates and store made.
    pub(crate) first_start: Duration,
}

/// A running gatepost.
#[derive(Debug)]
pub(crate) struct Gatepost {
    /// Dropping it ends gatepost.
    pub(crate) running: Running,
    /// Where it listens.
    pub(crate) ports: Ports,
    /// Exec to ready.
    pub(crate) start: Duration,
}

/// Ports by service, as the ready file says.
#[derive(Debug, Deserialize)]
pub(crate) struct Ports {
    /// Server to server, STARTTLS.
    pub(crate) smtp: u16,
    /// Submission, implicit TLS.
    pub(crate) submissions: u16,
    /// IMAP, implicit TLS.
    pub(crate) imaps: u16,
}

/// What the ready file holds, as far as it is used here.
#[derive(Debug, Deserialize)]
struct Ready {
    ports: Ports,
}

impl Seed {
    /// Starts the program once in an empty folder, and ends it.
    pub(crate) fn make(plan: &Plan, machine: &Machine, dir: &Path) -> Result<Self, Fault> {
        let binary = fs::canonicalize(&plan.binary)
            .map_err(|_| Fault::Missing(format!("gatepost ({})", plan.binary.display())))?;
        let dir = folder(dir)?;
        let password = dir.join("password");
        write(&password, PASSWORD)?;
        let mut seed = Self {
            binary,
            data: dir.join("data"),
            password,
            first_start: Duration::ZERO,
        };
        let gatepost = seed.start_in(machine, &seed.data)?;
        seed.first_start = gatepost.start;
        drop(gatepost);
        Ok(seed)
    }

    /// The program under test.
    pub(crate) fn binary(&self) -> &Path {
        &self.binary
    }

    /// Starts the program on `data`.
    pub(crate) fn start_in(&self, machine: &Machine, data: &Path) -> Result<Gatepost, Fault> {
        let ready = data.with_extension("ready");
        if ready.exists() {
            fs::remove_file(&ready).map_err(Fault::at("removing an old ready file"))?;
        }
        let mut command = machine.server_command(&self.binary);
        command.arg("serve").arg("--data").arg(data).args([
            "--bind",
            "127.0.0.1",
            "--port-offset",
            PORT_OFFSET,
        ]);
        for account in accounts() {
            command
                .args(["--account", &account])
                .arg("--password-file")
                .arg(&self.password);
        }
        command.arg("--ready-file").arg(&ready);
        let begun = Instant::now();
        let mut running = Running::start("gatepost", &mut command, &data.with_extension("log"))?;
        running.wait(|| ready.exists())?;
        let start = begun.elapsed();
        let text = fs::read(&ready).map_err(Fault::at("reading the ready file"))?;
        let Ready { ports } = serde_json::from_slice(&text)?;
        Ok(Gatepost {
            running,
            ports,
            start,
        })
    }
}

/// Starts gatepost on a fresh copy of the seed called `name`.
pub(crate) fn start(bench: &Bench<'_>, name: &str) -> Result<Gatepost, Fault> {
    let seed = bench
        .seed
        .as_ref()
        .map_err(|_| Fault::Missing("gatepost".to_owned()))?;
    let data = bench.work.join(name);
    complete(
        "cp",
        Command::new("cp").arg("-a").arg(&seed.data).arg(&data),
    )?;
    seed.start_in(&bench.machine, &data)
}

/// Where a gate listens.
#[derive(Debug, Deserialize)]
pub(crate) struct GatePorts {
    /// IMAP, STARTTLS.
    pub(crate) imap: u16,
    /// IMAP, implicit TLS.
    pub(crate) imaps: u16,
    /// Submission, implicit TLS.
    pub(crate) submissions: u16,
}

/// What the ready file of a gate holds, as far as it is used here.
#[derive(Debug, Deserialize)]
struct GateReady {
    ports: GatePorts,
}

/// Starts gatepost as a gate before `upstreams`, with the peers' certificate, in a folder called `name`.
pub(crate) fn start_gate(
    bench: &Bench<'_>,
    name: &str,
    upstreams: &[String],
) -> Result<(Running, GatePorts), Fault> {
    let seed = bench.seed.as_ref();
    let seed = seed.map_err(|_| Fault::Missing("gatepost".to_owned()))?;
    let dir = folder(&bench.work.join(name))?;
    let ready = dir.join("ready.json");
    if ready.exists() {
        fs::remove_file(&ready).map_err(Fault::at("removing an old ready file"))?;
    }
    let mut command = bench.machine.server_command(&seed.binary);
    command.arg("serve").arg("--data").arg(dir.join("data"));
    command.args(["--bind", "127.0.0.1", "--port-offset", PORT_OFFSET]);
    command
        .arg("--tls-chain")
        .arg(&bench.identity.certificate_file)
        .arg("--tls-key")
        .arg(&bench.identity.key_file);
    for upstream in upstreams {
        command.args(["--upstream", upstream]);
    }
    command.arg("--ready-file").arg(&ready);
    let mut running = Running::start("gatepost", &mut command, &dir.join("output.log"))?;
    running.wait(|| ready.exists())?;
    let text = fs::read(&ready).map_err(Fault::at("reading the ready file"))?;
    let GateReady { ports } = serde_json::from_slice(&text)?;
    Ok((running, ports))
}
