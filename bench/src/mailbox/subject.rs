//! The servers whose mailboxes are measured, behind one face: they are filled, started again, and asked where they listen.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use super::letters::Maildir;
use crate::Bench;
use crate::fault::Fault;
use crate::load::count;
use crate::peer::dovecot_store::{Dovecot, Format};
use crate::peer::gatepost::{self, Gatepost, Seed, account};
use crate::peer::{Running, complete};
use crate::process;

/// Work in the background must end within this.
const SETTLED: Duration = Duration::from_secs(900);
/// CPU of a server in a second that is called idle.
const IDLE: Duration = Duration::from_millis(20);
/// So many seconds must be idle behind mail that another process brought: gatepost looks for that every five seconds.
const AFTER_FILLING: u32 = 8;
/// The same behind mail the server took in itself.
const AFTER_WORK: u32 = 2;
/// The kernel forgets what it read from the disk when `3` is written here (proc(5)).
const DROP_CACHES: &str = "/proc/sys/vm/drop_caches";

/// A server with mail in it.
pub(super) struct Subject {
    pub(super) name: &'static str,
    kind: Kind,
    /// There but while it is started again.
    running: Option<Running>,
    pub(super) imaps: u16,
    /// Messages brought in, per second.
    pub(super) filled: f64,
    /// From the last message brought in to the end of the work it caused.
    pub(super) settled: Duration,
}

#[derive(Debug)]
enum Kind {
    Gatepost { data: PathBuf, submissions: u16 },
    Dovecot(Dovecot),
}

impl Subject {
    /// gatepost, filled by `gatepost mailbox import` beside the running server.
    pub(super) fn gatepost(bench: &Bench<'_>, mail: &[(&str, &Maildir)]) -> Result<Self, Fault> {
        let Gatepost { running, ports, .. } = gatepost::start(bench, "mailbox")?;
        let data = bench.work.join("mailbox");
        let seed = seed(bench)?;
        let filled = fill(mail, |name, maildir| {
            let mut import = bench.machine.server_command(seed.binary());
            import.args(["mailbox", "import", "--data"]).arg(&data);
            import.args(["--account", &account(0), "--mailbox", name]);
            complete("gatepost mailbox import", import.arg(&maildir.path))
        })?;
        let submissions = ports.submissions;
        let kind = Kind::Gatepost { data, submissions };
        Self::new("gatepost", (kind, running), ports.imaps, filled)
    }

    /// Dovecot, with the Maildir put in place or brought in by its own tool.
    pub(super) fn dovecot(
        bench: &Bench<'_>,
        format: Format,
        mail: &[(&str, &Maildir)],
    ) -> Result<Self, Fault> {
        let dovecot = Dovecot::prepare(bench, format)?;
        let (running, imaps) = (dovecot.start(bench)?, dovecot.imaps);
        let filled = fill(mail, |name, maildir| {
            dovecot.put(&account(0), name, &maildir.path)
        })?;
        let name = match format {
            Format::Maildir => "dovecot, Maildir",
            Format::Sdbox => "dovecot, sdbox",
        };
        Self::new(name, (Kind::Dovecot(dovecot), running), imaps, filled)
    }

    /// A server that is filled, when it has nothing left to do.
    fn new(
        name: &'static str,
        (kind, running): (Kind, Running),
        imaps: u16,
        filled: f64,
    ) -> Result<Self, Fault> {
        let mut subject = Self {
            name,
            kind,
            running: Some(running),
            imaps,
            filled,
            settled: Duration::ZERO,
        };
        let begun = Instant::now();
        subject.idle_for(AFTER_FILLING)?;
        subject.settled = begun.elapsed();
        Ok(subject)
    }

    /// The process at the root of its tree.
    pub(super) fn pid(&self) -> u32 {
        self.running.as_ref().map_or(0, Running::pid)
    }

    /// Where mail is handed over: submission with implicit TLS, or LMTP in clear.
    pub(super) fn delivery(&self) -> Delivery {
        match &self.kind {
            Kind::Gatepost { submissions, .. } => Delivery::Submission(*submissions),
            Kind::Dovecot(dovecot) => Delivery::Lmtp(dovecot.lmtp),
        }
    }

    /// Waits until the server has nothing left to do.
    pub(super) fn settle(&self) -> Result<(), Fault> {
        self.idle_for(AFTER_WORK)
    }

    fn idle_for(&self, seconds: u32) -> Result<(), Fault> {
        let (begun, mut quiet) = (Instant::now(), 0);
        while quiet < seconds {
            let before = process::cpu(self.pid());
            std::thread::sleep(Duration::from_secs(1));
            let spent = process::cpu(self.pid()).saturating_sub(before);
            quiet = if spent <= IDLE { quiet + 1 } else { 0 };
            if begun.elapsed() > SETTLED {
                return Err(Fault::Late(self.name));
            }
        }
        Ok(())
    }

    /// Ends it, has the kernel forget its files when that is allowed, and starts it again; whether they are forgotten.
    pub(super) fn restart_cold(&mut self, bench: &Bench<'_>) -> Result<bool, Fault> {
        self.running = None;
        complete("sync", &mut Command::new("sync"))?;
        let forgotten = std::fs::write(DROP_CACHES, "3").is_ok();
        self.running = Some(match &self.kind {
            Kind::Gatepost { data, .. } => seed(bench)?.start_in(&bench.machine, data)?.running,
            Kind::Dovecot(dovecot) => dovecot.start(bench)?,
        });
        Ok(forgotten)
    }

    /// Octets on the disk, of everything it keeps.
    pub(super) fn disk(&self) -> Result<u64, Fault> {
        match &self.kind {
            Kind::Gatepost { data, .. } => usage(data),
            Kind::Dovecot(dovecot) => usage(&dovecot.mail()),
        }
    }
}

fn seed<'a>(bench: &'a Bench<'_>) -> Result<&'a Seed, Fault> {
    let seed = bench.seed.as_ref();
    seed.map_err(|_| Fault::Missing("gatepost".to_owned()))
}

/// Brings mail in; messages per second.
fn fill(
    mail: &[(&str, &Maildir)],
    bring: impl Fn(&str, &Maildir) -> Result<(), Fault>,
) -> Result<f64, Fault> {
    let begun = Instant::now();
    for (name, maildir) in mail {
        bring(name, maildir)?;
    }
    let letters = mail.iter().map(|(_, it)| u64::from(it.letters)).sum();
    Ok(count(letters) / begun.elapsed().as_secs_f64())
}

/// How mail is handed over.
#[derive(Debug, Clone, Copy)]
pub(super) enum Delivery {
    Submission(u16),
    Lmtp(u16),
}

/// What `du` says of a folder.
fn usage(folder: &Path) -> Result<u64, Fault> {
    let mut command = Command::new("du");
    command.args(["-s", "--block-size=1"]).arg(folder);
    let output = command.stderr(Stdio::null()).output();
    let output = output.map_err(Fault::at("running du"))?;
    let text = String::from_utf8_lossy(&output.stdout);
    let octets = text
        .split_whitespace()
        .next()
        .and_then(|word| word.parse().ok());
    octets.ok_or(Fault::Died("du", text.into_owned()))
}
