//! Postfix with its own configuration, queue and ports, as Debian ships it except where the comment in the file says so.
//! Two services: smtpd on a clear port with STARTTLS, and submission with implicit TLS, both with the benchmark's certificate.
//! Mail is delivered to Maildir by virtual(8).

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use super::{Running, complete, folder, free_port, installed, require_root, write};
use crate::Bench;
use crate::fault::Fault;

/// Queues in which an acknowledged message waits for its delivery.
const QUEUES: [&str; 4] = ["maildrop", "incoming", "active", "deferred"];
/// How long the queue may take to empty.
const DRAIN: Duration = Duration::from_secs(120);

/// A running Postfix.
#[derive(Debug)]
pub(crate) struct Postfix {
    /// Dropping it ends Postfix.
    pub(crate) running: Running,
    /// Clear, then STARTTLS.
    pub(crate) smtp: u16,
    /// Submission with implicit TLS.
    pub(crate) submissions: u16,
    queue: PathBuf,
    mail: PathBuf,
}

/// Starts it below the work folder, in a folder called `name`.
pub(crate) fn start(bench: &Bench<'_>, name: &str, users: &[String]) -> Result<Postfix, Fault> {
    require_root("postfix")?;
    let (postfix, master) = (installed("postfix")?, installed("master")?);
    let dir = folder(&bench.work.join(name))?;
    let (config, queue, data, mail) = (
        folder(&dir.join("etc"))?,
        folder(&dir.join("queue"))?,
        folder(&dir.join("data"))?,
        folder(&dir.join("mail"))?,
    );
    let (smtp, submissions) = (free_port()?, free_port()?);
    write(&config.join("main.cf"), &main_cf(bench, &dir))?;
    write(&config.join("master.cf"), &master_cf(smtp, submissions))?;
    let boxes = users
        .iter()
        .map(|user| format!("{user} {user}/\n"))
        .collect::<Vec<_>>()
        .concat();
    write(&config.join("mailboxes"), &boxes)?;
    complete("chown", Command::new("chown").arg("postfix").arg(&data))?;
    complete("chown", Command::new("chown").arg("nobody").arg(&mail))?;
    complete(
        "postfix check",
        Command::new(postfix).arg("-c").arg(&config).arg("check"),
    )?;
    let mut command = bench.machine.server_command(master);
    command
        .arg("-c")
        .arg(&config)
        .arg("-d")
        .env("MAIL_CONFIG", &config);
    let mut running = Running::start("postfix", &mut command, &dir.join("output.log"))?;
    running.wait_for_port(submissions)?;
    Ok(Postfix {
        running,
        smtp,
        submissions,
        queue,
        mail,
    })
}

impl Postfix {
    /// Waits until every acknowledged message is delivered; gives the time that took and the messages in the mailboxes.
    pub(crate) fn drain(&self) -> Result<(Duration, u64), Fault> {
        let begun = Instant::now();
        while QUEUES
            .iter()
            .any(|queue| files(&self.queue.join(queue)) > 0)
        {
            if begun.elapsed() > DRAIN {
                return Err(Fault::Late("postfix's queue"));
            }
            thread::sleep(Duration::from_millis(50));
        }
        Ok((begun.elapsed(), files(&self.mail)))
    }
}

/// Files in a folder and all folders below.
fn files(folder: &Path) -> u64 {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    entries
        .map(|entry| {
            if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                files(&entry.path())
            } else {
                1
            }
        })
        .sum()
}

fn main_cf(bench: &Bench<'_>, dir: &Path) -> String {
    format!(
        "compatibility_level = 3.6
queue_directory = {dir}/queue
data_directory = {dir}/data
inet_interfaces = 127.0.0.1
inet_protocols = ipv4
myhostname = mail.gatepost.test
mydestination =
mynetworks = 127.0.0.0/8
# Clients come from many loopback addresses; how fast this machine's resolver says that they have no name is not of interest.
smtpd_peername_lookup = no
biff = no
append_dot_mydomain = no
alias_maps =
alias_database =
local_recipient_maps =
smtpd_tls_cert_file = {certificate}
smtpd_tls_key_file = {key}
smtpd_tls_security_level = may
smtpd_relay_restrictions = permit_mynetworks reject
virtual_mailbox_domains = gatepost.test
virtual_mailbox_base = {dir}/mail
virtual_mailbox_maps = texthash:{dir}/etc/mailboxes
virtual_uid_maps = static:65534
virtual_gid_maps = static:65534
# Room for every message of a run: what is measured is mail, not a limit.
virtual_mailbox_limit = 0
",
        dir = dir.display(),
        certificate = bench.identity.certificate_file.display(),
        key = bench.identity.key_file.display(),
    )
}

/// Debian's services that this mail needs. No chroot: its copies of system files are made by Debian's start script.
fn master_cf(smtp: u16, submissions: u16) -> String {
    format!(
        "127.0.0.1:{smtp} inet n - n - - smtpd
127.0.0.1:{submissions} inet n - n - - smtpd
  -o smtpd_tls_wrappermode=yes
pickup unix n - n 60 1 pickup
cleanup unix n - n - 0 cleanup
qmgr unix n - n 300 1 qmgr
tlsmgr unix - - n 1000? 1 tlsmgr
rewrite unix - - n - - trivial-rewrite
bounce unix - - n - 0 bounce
defer unix - - n - 0 bounce
trace unix - - n - 0 bounce
verify unix - - n - 1 verify
flush unix n - n 1000? 0 flush
proxymap unix - - n - - proxymap
proxywrite unix - - n - 1 proxymap
smtp unix - - n - - smtp
relay unix - - n - - smtp
showq unix n - n - - showq
error unix - - n - - error
retry unix - - n - - error
discard unix - - n - - discard
local unix - n n - - local
virtual unix - n n - - virtual
lmtp unix - - n - - lmtp
anvil unix - - n - 1 anvil
scache unix - - n - 1 scache
"
    )
}
