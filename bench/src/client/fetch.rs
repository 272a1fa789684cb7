//! Fetching 10,000 messages from a running gatepost into an empty folder: `gatepost fetch`, mbsync, curl.
//!
//! gatepost and mbsync store a Maildir and sync every message to disk, as each does by default; mbsync is shown without syncing as
//! well. curl writes a file each and syncs nothing.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::{MESSAGES, Spent, spend};
use crate::Bench;
use crate::fault::Fault;
use crate::peer::gatepost::{self, PASSWORD, account};
use crate::peer::{folder, installed, write};
use crate::report::{Figure, Goal, Report};
use crate::sample::Sample;
use crate::submission;

/// Measures all, interleaved run by run.
pub(super) fn measure(bench: &Bench<'_>, report: &mut Report) {
    report.section(
        "client: fetch",
        "10,000 messages of 10 KiB from gatepost by IMAP over implicit TLS, verified",
    );
    if let Err(fault) = compare(bench, report) {
        report.skip("fetch", &fault.to_string());
    }
}

/// Who fetches, and how it is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Who {
    Maildir,
    Files,
    Mbsync,
    MbsyncLoose,
    Curl,
}

impl Who {
    const ALL: [Self; 5] = [
        Self::Maildir,
        Self::Mbsync,
        Self::MbsyncLoose,
        Self::Files,
        Self::Curl,
    ];

    fn label(self) -> &'static str {
        match self {
            Self::Maildir => "gatepost, Maildir",
            Self::Files => "gatepost, a file each",
            Self::Mbsync => "mbsync",
            Self::MbsyncLoose => "mbsync, FSync no",
            Self::Curl => "curl",
        }
    }
}

fn compare(bench: &Bench<'_>, report: &mut Report) -> Result<(), Fault> {
    let gatepost = gatepost::start(bench, "fetch")?;
    submission::fill(bench, gatepost.ports.submissions, MESSAGES)?;
    let dir = folder(&bench.work.join("fetched"))?;
    write(&dir.join("password"), PASSWORD)?;
    let from = From {
        bench,
        port: gatepost.ports.imaps,
        authority: bench.identity.certificate_file.with_file_name("ca.pem"),
        dir,
    };
    let mut runs: Vec<(Who, Result<Vec<Spent>, Fault>)> =
        Who::ALL.map(|who| (who, Ok(Vec::new()))).into();
    for number in 0..bench.plan.runs {
        for (who, spent) in &mut runs {
            if let Ok(list) = spent {
                match from.fetch(*who, number) {
                    Ok(run) => list.push(run),
                    Err(fault) => *spent = Err(fault),
                }
            }
        }
    }
    let mut figures = Vec::new();
    for (who, spent) in runs {
        match spent.and_then(|spent| tell(report, who, &spent)) {
            Ok(figure) => figures.push((who, figure)),
            Err(fault) => report.skip(who.label(), &fault.to_string()),
        }
    }
    for (ours, theirs) in [
        (Who::Maildir, Who::Mbsync),
        (Who::Maildir, Who::MbsyncLoose),
        (Who::Files, Who::Curl),
    ] {
        let find = |wanted| figures.iter().find(|(who, _)| *who == wanted);
        if let (Some((_, ours)), Some((_, theirs))) = (find(ours), find(theirs)) {
            report.ratio(ours, theirs, Goal::AtLeast(1.0));
        }
    }
    Ok(())
}

fn tell(report: &mut Report, who: Who, spent: &[Spent]) -> Result<Figure, Fault> {
    let sample = |value: fn(&Spent) -> f64| {
        Sample::new(spent.iter().map(value).collect()).ok_or(Fault::Late("the client"))
    };
    let rate = report.figure(who.label(), "messages stored", "/s", &sample(Spent::rate)?);
    report.figure(
        who.label(),
        "client CPU per message",
        "us",
        &sample(Spent::micros)?,
    );
    Ok(rate)
}

/// Where the mail is.
struct From<'a> {
    bench: &'a Bench<'a>,
    port: u16,
    authority: PathBuf,
    dir: PathBuf,
}

impl From<'_> {
    /// One fetch into an empty folder; the messages there are counted.
    fn fetch(&self, who: Who, run: u32) -> Result<Spent, Fault> {
        let into = folder(&self.dir.join(format!("{who:?}-{run}")))?;
        let mut command = match who {
            Who::Maildir => self.ours("maildir", &into)?,
            Who::Files => self.ours("eml", &into)?,
            Who::Mbsync => self.mbsync("yes", &into)?,
            Who::MbsyncLoose => self.mbsync("no", &into)?,
            Who::Curl => self.curl(&into)?,
        };
        let spent = spend(who.label(), &mut command, &into.with_extension("log"))?;
        let found = messages(&into);
        fs::remove_dir_all(&into).map_err(Fault::at("removing what was fetched"))?;
        if found == u64::from(MESSAGES) {
            Ok(spent)
        } else {
            Err(Fault::Lost {
                acknowledged: u64::from(MESSAGES),
                found,
            })
        }
    }

    fn ours(&self, output: &str, into: &Path) -> Result<Command, Fault> {
        let seed = self.bench.seed.as_ref();
        let seed = seed.map_err(|_| Fault::Missing("gatepost".to_owned()))?;
        let mut command = Command::new(seed.binary());
        command
            .arg("fetch")
            .arg(format!("imaps://localhost:{}/INBOX", self.port))
            .args(["--user", &account(0), "--password-file"])
            .arg(self.dir.join("password"))
            .arg("--ca")
            .arg(&self.authority)
            .args(["--no-system-ca", "--output", output, "--to"])
            .arg(into);
        Ok(command)
    }

    fn mbsync(&self, sync: &str, into: &Path) -> Result<Command, Fault> {
        let file = into.with_extension("mbsyncrc");
        let text = format!(
            "FSync {sync}

IMAPAccount bench
Host localhost
Port {port}
User {user}
Pass {PASSWORD}
SSLType IMAPS
SystemCertificates no
CertificateFile {authority}

IMAPStore far
Account bench

MaildirStore near
Path {into}/
Inbox {into}/INBOX

Channel bench
Far :far:
Near :near:
Create Near
Sync Pull
SyncState *
",
            port = self.port,
            user = account(0),
            authority = self.authority.display(),
            into = into.display(),
        );
        write(&file, &text)?;
        let mut command = Command::new(installed("mbsync")?);
        command.arg("-c").arg(file).arg("bench");
        Ok(command)
    }

    fn curl(&self, into: &Path) -> Result<Command, Fault> {
        let mut command = Command::new(installed("curl")?);
        command
            .args(["-sS", "--cacert"])
            .arg(&self.authority)
            .args(["-u", &format!("{}:{PASSWORD}", account(0))])
            .arg(format!(
                "imaps://localhost:{}/INBOX;MAILINDEX=[1-{MESSAGES}]",
                self.port
            ))
            .arg("-o")
            .arg(into.join("#1.eml"));
        Ok(command)
    }
}

/// Files of at least a message's size in a folder and all below.
fn messages(folder: &Path) -> u64 {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    entries
        .map(|entry| match entry.metadata() {
            Ok(about) if about.is_dir() => messages(&entry.path()),
            Ok(about) if about.len() >= 10 * 1024 => {
                u64::from(!entry.file_name().to_string_lossy().starts_with('.'))
            }
            _ => 0,
        })
        .sum()
}
