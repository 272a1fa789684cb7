//! The servers under test: each is started from a configuration written here, with the same certificate, on the server's
//! core, on ports nobody uses, and stopped when its handle is dropped.

pub(crate) mod bare;
pub(crate) mod dovecot;
pub(crate) mod dovecot_store;
pub(crate) mod gatepost;
pub(crate) mod nginx;
pub(crate) mod postfix;
pub(crate) mod stunnel;

use std::fs::{self, File, Permissions};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use crate::fault::Fault;

/// A server must accept connections within this time.
const START: Duration = Duration::from_secs(20);
/// A server must be gone this long after it was asked to end; design.md gives gatepost 10 s.
const STOP: Duration = Duration::from_secs(12);

/// A running server. Dropping it ends it.
#[derive(Debug)]
pub(crate) struct Running {
    child: Child,
    name: &'static str,
    log: PathBuf,
}

impl Running {
    /// Starts `command`, which must stay in the foreground; its output goes to `log`.
    pub(crate) fn start(
        name: &'static str,
        command: &mut Command,
        log: &Path,
    ) -> Result<Self, Fault> {
        let open = || File::create(log).map_err(Fault::at("making a log file"));
        let (out, err) = (
            open()?,
            File::options()
                .append(true)
                .open(log)
                .map_err(Fault::at("opening a log file"))?,
        );
        let child = command.stdin(Stdio::null()).stdout(out).stderr(err).spawn();
        let child = child.map_err(Fault::at("starting a server"))?;
        Ok(Self {
            child,
            name,
            log: log.to_path_buf(),
        })
    }

    /// The process at the root of the server's tree.
    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Waits until `ready` holds, asking five times a millisecond.
    pub(crate) fn wait(&mut self, ready: impl Fn() -> bool) -> Result<(), Fault> {
        let begun = Instant::now();
        while !ready() {
            if self
                .child
                .try_wait()
                .map_err(Fault::at("waiting for a server"))?
                .is_some()
            {
                return Err(Fault::Died(self.name, self.last_words()));
            }
            if begun.elapsed() > START {
                return Err(Fault::Late(self.name));
            }
            thread::sleep(Duration::from_micros(200));
        }
        Ok(())
    }

    /// Waits until `port` accepts.
    pub(crate) fn wait_for_port(&mut self, port: u16) -> Result<(), Fault> {
        self.wait(|| TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_ok())
    }

    fn last_words(&self) -> String {
        let log = fs::read(&self.log).unwrap_or_default();
        let log = String::from_utf8_lossy(&log);
        let mut lines: Vec<&str> = log.lines().rev().take(3).collect();
        lines.reverse();
        lines.join(" | ")
    }

    /// Asks the server to end and waits for it; kills it when it does not.
    fn stop(&mut self) {
        let asked = Command::new("kill")
            .args(["-TERM", &self.pid().to_string()])
            .status();
        let begun = Instant::now();
        while asked.is_ok() && begun.elapsed() < STOP {
            match self.child.try_wait() {
                Ok(None) => thread::sleep(Duration::from_millis(5)),
                _ => return,
            }
        }
        eprintln!(
            "warning: {} did not end when asked and was killed",
            self.name
        );
        // Nothing is left to do when even that fails.
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.stop();
    }
}

/// A port that nothing on 127.0.0.1 uses now.
pub(crate) fn free_port() -> Result<u16, Fault> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))
        .map_err(Fault::at("looking for a free port"))?;
    Ok(listener
        .local_addr()
        .map_err(Fault::at("looking for a free port"))?
        .port())
}

/// The path of an installed program, or that it is missing.
pub(crate) fn installed(program: &str) -> Result<PathBuf, Fault> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders = std::env::split_paths(&path)
        .chain(["/usr/sbin", "/sbin", "/usr/lib/postfix/sbin"].map(PathBuf::from));
    let mut candidates = folders.map(|folder| folder.join(program));
    candidates
        .find(|candidate| candidate.is_file())
        .ok_or_else(|| Fault::Missing(program.to_owned()))
}

/// Whether this process may start servers that change their user.
pub(crate) fn require_root(peer: &'static str) -> Result<(), Fault> {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status
        .lines()
        .find(|line| line.starts_with("Uid:"))
        .unwrap_or_default();
    if line.split_whitespace().nth(2) == Some("0") {
        Ok(())
    } else {
        Err(Fault::NeedsRoot(peer))
    }
}

/// Makes a fresh folder.
pub(crate) fn folder(path: &Path) -> Result<PathBuf, Fault> {
    fs::create_dir_all(path).map_err(Fault::at("making a folder"))?;
    Ok(path.to_path_buf())
}

/// Lets every user pass through a folder, as servers that drop root need to.
pub(crate) fn open_to_all(path: &Path) -> Result<(), Fault> {
    fs::set_permissions(path, Permissions::from_mode(0o755))
        .map_err(Fault::at("setting a folder's permissions"))
}

/// Writes a configuration file.
pub(crate) fn write(path: &Path, text: &str) -> Result<(), Fault> {
    fs::write(path, text).map_err(Fault::at("writing a configuration"))
}

/// Runs a helper program to its end; its last words when it fails.
pub(crate) fn complete(name: &'static str, command: &mut Command) -> Result<(), Fault> {
    let output = command
        .stdin(Stdio::null())
        .output()
        .map_err(Fault::at("running a helper program"))?;
    if output.status.success() {
        return Ok(());
    }
    Err(Fault::Died(
        name,
        String::from_utf8_lossy(&output.stderr).trim().to_owned(),
    ))
}
