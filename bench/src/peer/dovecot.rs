//! Dovecot: IMAP with implicit TLS, Maildir, the same users and passwords as gatepost. Twice: as Debian ships it (a process for every session), and
//! with its processes shared as far as its documentation recommends.

use std::fs;
use std::path::Path;
use std::process::Command;

use super::gatepost::{PASSWORD, accounts};
use super::{Running, complete, folder, free_port, installed, require_root, write};
use crate::Bench;
use crate::fault::Fault;

/// How sessions share processes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Sharing {
    /// Debian's default: one imap and one imap-login process per session.
    PerSession,
    /// "High performance" login processes, and imap processes of 100 sessions each.
    Shared,
}

/// Starts it for one run, with mail and sockets of its own; gives its implicit TLS port.
pub(crate) fn start(
    bench: &Bench<'_>,
    run: u32,
    sharing: Sharing,
) -> Result<(Running, u16), Fault> {
    require_root("dovecot")?;
    let program = installed("dovecot")?;
    let dir = folder(&bench.work.join(format!("dovecot-{sharing:?}-{run}")))?;
    let mail = folder(&dir.join("mail"))?;
    complete("chown", Command::new("chown").arg("nobody").arg(&mail))?;
    fs::create_dir_all(dir.join("run")).map_err(Fault::at("making dovecot's folder"))?;
    let users = accounts()
        .iter()
        .map(|user| format!("{user}:{{PLAIN}}{PASSWORD}\n"))
        .collect::<Vec<_>>()
        .concat();
    write(&dir.join("users"), &users)?;
    let port = free_port()?;
    let configuration = dir.join("dovecot.conf");
    write(&configuration, &text(bench, &dir, port, sharing))?;
    let mut command = bench.machine.server_command(program);
    let mut running = Running::start(
        "dovecot",
        command.arg("-F").arg("-c").arg(&configuration),
        &dir.join("output.log"),
    )?;
    running.wait_for_port(port)?;
    Ok((running, port))
}

fn text(bench: &Bench<'_>, dir: &Path, port: u16, sharing: Sharing) -> String {
    // Twice the sessions leaves room for those used to warm up.
    let room = bench.plan.peer_sessions.saturating_mul(2).max(200);
    let (login, imap) = match sharing {
        Sharing::PerSession => (
            format!("process_limit = {room}"),
            format!("process_limit = {room}"),
        ),
        Sharing::Shared => {
            let login =
                format!("service_count = 0\n  process_min_avail = 1\n  client_limit = {room}");
            (
                login,
                format!("service_count = 0\n  client_limit = 100\n  process_limit = {room}"),
            )
        }
    };
    format!(
        "protocols = imap
base_dir = {dir}/run
log_path = {dir}/dovecot.log
listen = 127.0.0.1
ssl = required
ssl_cert = <{certificate}
ssl_key = <{key}
mail_location = maildir:{dir}/mail/%u
mail_max_userip_connections = {room}
first_valid_uid = 1
auth_mechanisms = plain login
passdb {{
  driver = passwd-file
  args = {dir}/users
}}
userdb {{
  driver = static
  args = uid=nobody gid=nogroup home={dir}/mail/%u
}}
service imap-login {{
  {login}
  inet_listener imap {{
    port = 0
  }}
  inet_listener imaps {{
    port = {port}
    ssl = yes
  }}
}}
service imap {{
  {imap}
}}
service anvil {{
  client_limit = {wide}
}}
service auth {{
  client_limit = {wide}
}}
",
        dir = dir.display(),
        certificate = bench.identity.certificate_file.display(),
        key = bench.identity.key_file.display(),
        wide = room.saturating_mul(3),
    )
}
