//! Handing a running server's ports over to a new process, without refusing a connection.
//!
//! ```text
//!   old  starts the program anew: its listening sockets stand in a row of descriptors (LISTEN_FDS, as sd_listen_fds(3) has it),
//!        its standard input is one end of a pair of sockets
//!   new  takes the sockets, accepts, says READY there
//!   old  takes no more connections, lets its sessions end, and ends
//! ```
//!
//! Both accept from the same sockets for a moment, so what waits in the kernel's queue is taken by one of them. While the new one has
//! not said that it is ready nothing has changed for the old one: if it ends, or is silent for a minute, the old one goes on.
//!
//! Only for a gate: mailboxes have one writer, and two processes are two.

use std::ffi::OsString;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::io::{FdFlags, fcntl_dupfd_cloexec, fcntl_setfd};
use rustix::process::{Pid, Signal, kill_process};
use tokio::sync::oneshot;

/// Set for a process that takes over.
const MARK: &str = "GATEPOST_TAKES_OVER";
const READY: &[u8] = b"READY\n";
/// How long the new one may take to be ready.
const PATIENCE: Duration = Duration::from_secs(60);
/// Where a row of free descriptors is looked for: above those in use, below the limit.
const ROWS: [i32; 6] = [128, 512, 2048, 8192, 32_768, 131_072];

/// A process that is about to take over.
#[derive(Debug)]
pub struct Successor {
    pid: Pid,
    outcome: oneshot::Receiver<Result<(), String>>,
}

impl Successor {
    /// Starts `program` with these sockets and the arguments of this process.
    pub(super) fn start(program: &Path, sockets: &[OwnedFd]) -> io::Result<Self> {
        let row = in_a_row(sockets)?;
        let first = row.first().map_or(3, AsRawFd::as_raw_fd);
        let (ours, theirs) = UnixStream::pair()?;
        let arguments: Vec<OsString> = std::env::args_os().skip(1).collect();
        let child = Command::new(program)
            .args(arguments)
            .env("LISTEN_FDS", row.len().to_string())
            .env("LISTEN_FDS_FIRST_FD", first.to_string())
            .env_remove("LISTEN_PID")
            .env_remove("LISTEN_FDNAMES")
            .env(MARK, "1")
            .stdin(Stdio::from(OwnedFd::from(theirs)))
            .spawn()?;
        drop(row);
        let pid = Pid::from_child(&child);
        let (tell, outcome) = oneshot::channel();
        std::thread::Builder::new()
            .name("successor".to_owned())
            .spawn(move || watch(child, ours, tell))?;
        Ok(Self { pid, outcome })
    }

    /// Its process id.
    pub fn id(&self) -> i32 {
        self.pid.as_raw_nonzero().get()
    }

    /// Waits until it is ready.
    ///
    /// # Errors
    /// Why it will not be.
    pub async fn ready(&mut self) -> Result<(), String> {
        match (&mut self.outcome).await {
            Ok(outcome) => outcome,
            Err(_) => Err("it could not be watched".to_owned()),
        }
    }

    /// Ends it: this process is told to stop before it was ready.
    pub fn abandon(self) {
        let _ = kill_process(self.pid, Signal::TERM);
    }
}

/// Watches the new process from a thread of its own, to its end: nobody else would collect it.
fn watch(mut child: Child, ours: UnixStream, tell: oneshot::Sender<Result<(), String>>) {
    let outcome = heard_ready(ours).map_err(|error| {
        let _ = child.kill();
        match (error.kind(), child.wait()) {
            (io::ErrorKind::TimedOut, _) => format!("it was not ready within {PATIENCE:?}"),
            (_, Ok(status)) => format!("it ended before it was ready ({status})"),
            (_, Err(error)) => error.to_string(),
        }
    });
    let _ = tell.send(outcome);
    let _ = child.wait();
}

fn heard_ready(mut ours: UnixStream) -> io::Result<()> {
    let until = Instant::now() + PATIENCE;
    let mut heard = Vec::new();
    while heard != READY {
        let left = until.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(io::ErrorKind::TimedOut.into());
        }
        ours.set_read_timeout(Some(left))?;
        let mut octets = [0; 16];
        match ours.read(&mut octets) {
            Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(count) => heard.extend_from_slice(&octets[..count]),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                return Err(io::ErrorKind::TimedOut.into());
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// Copies of the sockets with numbers that follow each other, open in a program that is started now.
fn in_a_row(sockets: &[OwnedFd]) -> io::Result<Vec<OwnedFd>> {
    for first in ROWS {
        let mut row: Vec<OwnedFd> = Vec::with_capacity(sockets.len());
        for (socket, number) in sockets.iter().zip(first..) {
            match fcntl_dupfd_cloexec(socket, number) {
                Ok(copy) if copy.as_raw_fd() == number => row.push(copy),
                // Taken by a connection, or over the limit.
                _ => break,
            }
        }
        if row.len() == sockets.len() {
            for copy in &row {
                fcntl_setfd(copy, FdFlags::empty())?;
            }
            return Ok(row);
        }
    }
    Err(io::Error::other("too few file descriptors are free"))
}

/// Whether this process takes over from another one.
pub fn takes_over() -> bool {
    std::env::var_os(MARK).is_some()
}

/// Tells the process this one takes over from, if there is one, that it may end.
pub(super) fn tell_predecessor() -> io::Result<()> {
    if !takes_over() {
        return Ok(());
    }
    let input = io::stdin().as_fd().try_clone_to_owned()?;
    UnixStream::from(input).write_all(READY)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpListener;

    fn sockets(count: usize) -> Vec<OwnedFd> {
        let one = || TcpListener::bind("127.0.0.1:0").unwrap().into();
        (0..count).map(|_| one()).collect()
    }

    #[test]
    fn sockets_stand_in_a_row_and_are_inherited() {
        let given = sockets(14);
        let row = in_a_row(&given).unwrap();
        assert_eq!(row.len(), 14);
        let first = row[0].as_raw_fd();
        for (copy, number) in row.iter().zip(first..) {
            assert_eq!(copy.as_raw_fd(), number);
            assert!(rustix::io::fcntl_getfd(copy).unwrap().is_empty());
        }
        // Where something stands in the way there is another place.
        let other = in_a_row(&given).unwrap();
        assert!(other[0].as_raw_fd() > first);
    }

    #[test]
    fn one_that_ends_early_is_not_ready_and_one_that_says_so_is() {
        for (script, good) in [
            ("exit 3", false),
            ("echo READY >&0", true),
            ("echo RE >&0", false),
        ] {
            let (ours, theirs) = UnixStream::pair().unwrap();
            let child = Command::new("sh")
                .args(["-c", script])
                .stdin(Stdio::from(OwnedFd::from(theirs)))
                .spawn()
                .unwrap();
            let (tell, outcome) = oneshot::channel();
            watch(child, ours, tell);
            let outcome = outcome.blocking_recv().unwrap();
            assert_eq!(outcome.is_ok(), good, "{script}: {outcome:?}");
        }
    }
}
