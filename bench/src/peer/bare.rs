//! The bare loop (`crate::bare`) as a server under test: this very program, in a process of its own.

use std::env;

use super::{Running, free_port};
use crate::Bench;
use crate::fault::Fault;

/// Starts it; gives its port.
pub(crate) fn start(bench: &Bench<'_>) -> Result<(Running, u16), Fault> {
    let program = env::current_exe().map_err(Fault::at("finding this program"))?;
    let port = free_port()?;
    let mut command = bench.machine.server_command(program);
    command.arg("bare-loop").args(["--port", &port.to_string()]);
    command
        .arg("--certificate")
        .arg(&bench.identity.certificate_file);
    command.arg("--key").arg(&bench.identity.key_file);
    let mut running = Running::start("bare loop", &mut command, &bench.work.join("bare.log"))?;
    running.wait_for_port(port)?;
    Ok((running, port))
}
