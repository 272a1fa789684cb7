//! Dovecot as a mailbox: IMAP with implicit TLS and LMTP, keeping Maildir or sdbox, as Debian ships it but for the paths. It runs on one
//! core as gatepost does, with the same users and passwords. LMTP is in clear, which spares Dovecot the TLS that gatepost does.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::gatepost::{PASSWORD, accounts};
use super::{Running, complete, folder, free_port, installed, require_root, write};
use crate::Bench;
use crate::fault::Fault;

/// How it keeps mail.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Format {
    /// A file for each message, named as Maildir wants.
    Maildir,
    /// A file for each message, everything else in an index.
    Sdbox,
}

impl Format {
    /// Dovecot's name of it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Format::Maildir => "maildir",
            Format::Sdbox => "sdbox",
        }
    }
}

/// A configured Dovecot, which may be started more than once on the same mail.
#[derive(Debug)]
pub(crate) struct Dovecot {
    format: Format,
    dir: PathBuf,
    configuration: PathBuf,
    /// IMAP with implicit TLS.
    pub(crate) imaps: u16,
    /// LMTP in clear.
    pub(crate) lmtp: u16,
}

impl Dovecot {
    /// Writes the configuration and makes the folders.
    pub(crate) fn prepare(bench: &Bench<'_>, format: Format) -> Result<Self, Fault> {
        require_root("dovecot")?;
        let dir = folder(&bench.work.join(format!("dovecot-{}", format.name())))?;
        folder(&dir.join("mail"))?;
        folder(&dir.join("run"))?;
        let users = accounts()
            .iter()
            .map(|user| format!("{user}:{{PLAIN}}{PASSWORD}\n"))
            .collect::<Vec<_>>()
            .concat();
        write(&dir.join("users"), &users)?;
        let dovecot = Self {
            format,
            configuration: dir.join("dovecot.conf"),
            dir,
            imaps: free_port()?,
            lmtp: free_port()?,
        };
        write(&dovecot.configuration, &dovecot.text(bench))?;
        dovecot.give_away()?;
        Ok(dovecot)
    }

    /// Where all users' mail is.
    pub(crate) fn mail(&self) -> PathBuf {
        self.dir.join("mail")
    }

    /// Puts a Maildir in place as a user's mailbox `name`. Into sdbox Dovecot's own tool brings it.
    pub(crate) fn put(&self, user: &str, name: &str, maildir: &Path) -> Result<(), Fault> {
        if self.format == Format::Maildir {
            let home = folder(&self.mail().join(user))?;
            let place = home.join(format!(".{name}"));
            let mut copy = Command::new("cp");
            complete("cp", copy.arg("-a").arg(maildir).arg(place))?;
            return self.give_away();
        }
        // A source of doveadm's is a whole account, in which the mailbox has its name.
        let source = folder(&self.dir.join(format!("source-{name}")))?;
        let mut copy = Command::new("cp");
        copy.arg("-al").arg(maildir);
        complete("cp", copy.arg(source.join(format!(".{name}"))))?;
        let mut owner = Command::new("chown");
        complete("chown", owner.args(["-R", "nobody"]).arg(&source))?;
        let mut import = Command::new(installed("doveadm")?);
        import.arg("-c").arg(&self.configuration);
        import.args(["import", "-u", user]);
        import.arg(format!("maildir:{}", source.display()));
        complete("doveadm", import.args(["", "mailbox", name]))?;
        fs::remove_dir_all(&source).map_err(Fault::at("removing what was imported"))
    }

    /// Dovecot drops root, and must own the mail.
    fn give_away(&self) -> Result<(), Fault> {
        let mut owner = Command::new("chown");
        complete("chown", owner.args(["-R", "nobody"]).arg(self.mail()))
    }

    /// Starts it.
    pub(crate) fn start(&self, bench: &Bench<'_>) -> Result<Running, Fault> {
        let mut command = bench.machine.server_command(installed("dovecot")?);
        let mut running = Running::start(
            "dovecot",
            command.arg("-F").arg("-c").arg(&self.configuration),
            &self.dir.join("output.log"),
        )?;
        running.wait_for_port(self.imaps)?;
        running.wait_for_port(self.lmtp)?;
        Ok(running)
    }

    fn text(&self, bench: &Bench<'_>) -> String {
        format!(
            "protocols = imap lmtp
base_dir = {dir}/run
log_path = {dir}/dovecot.log
listen = 127.0.0.1
ssl = required
ssl_cert = <{certificate}
ssl_key = <{key}
mail_location = {format}:{dir}/mail/%u
mail_max_userip_connections = 200
first_valid_uid = 1
auth_mechanisms = plain login
postmaster_address = postmaster@gatepost.test
passdb {{
  driver = passwd-file
  args = {dir}/users
}}
userdb {{
  driver = static
  args = uid=nobody gid=nogroup home={dir}/mail/%u
}}
namespace inbox {{
  inbox = yes
  separator = /
}}
service imap-login {{
  inet_listener imap {{
    port = 0
  }}
  inet_listener imaps {{
    port = {imaps}
    ssl = yes
  }}
}}
service lmtp {{
  inet_listener lmtp {{
    address = 127.0.0.1
    port = {lmtp}
  }}
}}
",
            dir = self.dir.display(),
            certificate = bench.identity.certificate_file.display(),
            key = bench.identity.key_file.display(),
            format = self.format.name(),
            imaps = self.imaps,
            lmtp = self.lmtp,
        )
    }
}
