//! The machine: what stands beside every figure, and which core belongs to whom.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use serde::Serialize;

use crate::process;

/// What a reader must know of the machine to judge an absolute number.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Machine {
    /// Processor, as `/proc/cpuinfo` names it.
    cpu: String,
    /// Cores this process may use.
    cores: Vec<u32>,
    /// Kernel release.
    kernel: String,
    /// Kind of file system the data and the queues are on.
    filesystem: String,
    /// Load average over one minute when the run began: above 0.5, others were at work and absolute numbers are worth less.
    load: f64,
}

impl Machine {
    /// Reads the machine's state; what cannot be read is called unknown.
    pub(crate) fn read(work: &Path) -> Self {
        let text = |path: &str| fs::read_to_string(path).unwrap_or_default();
        let cpu = field(&text("/proc/cpuinfo"), "model name");
        let cores = parse_list(&field(&text("/proc/self/status"), "Cpus_allowed_list"));
        let load = text("/proc/loadavg");
        Self {
            cpu,
            cores,
            kernel: text("/proc/sys/kernel/osrelease").trim().to_owned(),
            filesystem: filesystem(work),
            load: load
                .split(' ')
                .next()
                .and_then(|word| word.parse().ok())
                .unwrap_or(0.0),
        }
    }

    /// The core the server under test is pinned to; `None` when there is only one.
    pub(crate) fn server_core(&self) -> Option<u32> {
        (self.cores.len() > 1)
            .then(|| self.cores.first().copied())
            .flatten()
    }

    /// The core the load generator is pinned to; `None` when there is only one.
    pub(crate) fn load_core(&self) -> Option<u32> {
        (self.cores.len() > 1)
            .then(|| self.cores.last().copied())
            .flatten()
    }

    /// Pins this process to the load core and raises its limit on open files as far as it may. Threads and servers started
    /// later inherit both; servers are then moved to their own core.
    pub(crate) fn prepare_load(&self) {
        let pid = std::process::id().to_string();
        if let Some(core) = self.load_core() {
            let mut taskset = Command::new("taskset");
            taskset.args(["-a", "-c", "-p", &core.to_string(), &pid]);
            if !quietly(&mut taskset) {
                eprintln!("warning: the load generator is not pinned; server and load share cores");
            }
        }
        let hard = process::open_files().hard;
        let mut prlimit = Command::new("prlimit");
        prlimit
            .args(["--pid", &pid])
            .arg(format!("--nofile={hard}:{hard}"));
        if !quietly(&mut prlimit) {
            eprintln!("warning: the limit on open files could not be raised");
        }
    }

    /// A command that runs `program` on the server's core.
    pub(crate) fn server_command(&self, program: impl AsRef<std::ffi::OsStr>) -> Command {
        let Some(core) = self.server_core() else {
            return Command::new(program);
        };
        let mut command = Command::new("taskset");
        command.args(["-c", &core.to_string()]).arg(program);
        command
    }

    /// A command that runs `program` on every core this process was given: for what is measured as a user runs it, beside what it talks to.
    pub(crate) fn free_command(&self, program: impl AsRef<std::ffi::OsStr>) -> Command {
        let cores: Vec<String> = self.cores.iter().map(ToString::to_string).collect();
        if cores.is_empty() {
            return Command::new(program);
        }
        let mut command = Command::new("taskset");
        command.args(["-c", &cores.join(",")]).arg(program);
        command
    }

    /// Whether a durable write means anything on the file system under the work folder.
    pub(crate) fn disk_is_memory(&self) -> bool {
        matches!(self.filesystem.as_str(), "tmpfs" | "ramfs")
    }

    /// The machine in one line.
    pub(crate) fn line(&self) -> String {
        let pinning = match (self.server_core(), self.load_core()) {
            (Some(server), Some(load)) => format!("server on core {server}, load on core {load}"),
            _ => "one core shared by server and load".to_owned(),
        };
        format!(
            "{}, {} cores, Linux {}, {}; {pinning}; load average {} at the start",
            self.cpu,
            self.cores.len(),
            self.kernel,
            self.filesystem,
            self.load
        )
    }
}

/// Runs a small program; whether it succeeded.
fn quietly(command: &mut Command) -> bool {
    let command = command.stdout(Stdio::null()).stderr(Stdio::null());
    command.status().is_ok_and(|status| status.success())
}

/// The value behind `name` and a colon, on its own line.
fn field(text: &str, name: &str) -> String {
    text.lines()
        .filter_map(|line| line.split_once(':'))
        .find(|(key, _)| key.trim() == name)
        .map_or_else(
            || "unknown".to_owned(),
            |(_, value)| value.trim().to_owned(),
        )
}

/// A kernel list of numbers: `0-2,5`.
fn parse_list(list: &str) -> Vec<u32> {
    let range = |part: &str| {
        let (low, high) = part.split_once('-').unwrap_or((part, part));
        Some(low.trim().parse::<u32>().ok()?..=high.trim().parse::<u32>().ok()?)
    };
    list.split(',').filter_map(range).flatten().collect()
}

fn filesystem(work: &Path) -> String {
    let output = Command::new("stat")
        .args(["-f", "-c", "%T"])
        .arg(work)
        .output();
    output
        .ok()
        .and_then(|output| String::from_utf8(output.stdout).ok())
        .map_or_else(|| "unknown".to_owned(), |name| name.trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::{field, parse_list};

    #[test]
    fn kernel_lists_are_read() {
        assert_eq!(parse_list("0-2,5"), [0, 1, 2, 5]);
        assert_eq!(parse_list("unknown"), Vec::<u32>::new());
    }

    #[test]
    fn a_missing_field_is_unknown() {
        assert_eq!(field("model name\t: X\n", "model name"), "X");
        assert_eq!(field("", "model name"), "unknown");
    }
}
