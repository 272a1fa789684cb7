//! The gates in the race, each before the same mail system, with the same certificate, on the server's core.

use std::fs;
use std::path::Path;
use std::process::Command;

use super::backend::Backend;
use crate::Bench;
use crate::fault::Fault;
use crate::peer::{self, Running, folder, free_port, installed, require_root, write};

/// A gate that runs. Dropping it ends it.
pub(super) struct Front {
    pub(super) running: Running,
    /// STARTTLS, where the gate has it.
    pub(super) imap: Option<u16>,
    pub(super) imaps: u16,
    pub(super) submissions: Option<u16>,
}

/// Who takes part.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Who {
    Gatepost,
    Nginx,
    Stunnel,
    Haproxy,
    Dovecot,
}

impl Who {
    pub(super) const ALL: [Self; 5] = [
        Self::Gatepost,
        Self::Nginx,
        Self::Stunnel,
        Self::Haproxy,
        Self::Dovecot,
    ];

    pub(super) fn label(self) -> &'static str {
        match self {
            Self::Gatepost => "gatepost",
            Self::Nginx => "nginx mail",
            Self::Stunnel => "stunnel",
            Self::Haproxy => "haproxy",
            Self::Dovecot => "dovecot proxy",
        }
    }

    /// Starts it.
    pub(super) fn start(self, bench: &Bench<'_>, backend: Backend) -> Result<Front, Fault> {
        match self {
            Self::Gatepost => gatepost(bench, backend),
            Self::Nginx => nginx(bench, backend),
            Self::Stunnel => stunnel(bench, backend),
            Self::Haproxy => haproxy(bench, backend),
            Self::Dovecot => dovecot(bench, backend),
        }
    }
}

/// The program under test, as one would start it: no configuration file.
fn gatepost(bench: &Bench<'_>, backend: Backend) -> Result<Front, Fault> {
    let upstreams = [
        format!("imap://127.0.0.1:{}", backend.imap),
        format!("submission://127.0.0.1:{}", backend.smtp),
    ];
    let (running, ports) = peer::gatepost::start_gate(bench, "gate", &upstreams)?;
    Ok(Front {
        running,
        imap: Some(ports.imap),
        imaps: ports.imaps,
        submissions: Some(ports.submissions),
    })
}

fn nginx(bench: &Bench<'_>, backend: Backend) -> Result<Front, Fault> {
    let program = installed("nginx")?;
    let dir = folder(&bench.work.join("gate-nginx"))?;
    let (imap, imaps, submissions) = (free_port()?, free_port()?, free_port()?);
    let configuration = dir.join("nginx.conf");
    let text = format!(
        "load_module {module};
daemon off;
worker_processes 1;
pid {dir}/nginx.pid;
error_log {dir}/error.log;
events {{ worker_connections 19000; }}
mail {{
    server_name mail.gatepost.test;
    auth_http 127.0.0.1:{auth}/;
    timeout 31m;
    xclient off;
    imap_auth plain login;
    smtp_auth plain login;
    ssl_certificate {certificate};
    ssl_certificate_key {key};
    ssl_protocols TLSv1.2 TLSv1.3;
    server {{ listen 127.0.0.1:{imap}; protocol imap; starttls on; }}
    server {{ listen 127.0.0.1:{imaps} ssl; protocol imap; }}
    server {{ listen 127.0.0.1:{submissions} ssl; protocol smtp; }}
}}
",
        module = peer::nginx::module()?,
        dir = dir.display(),
        auth = backend.auth_http,
        certificate = bench.identity.certificate_file.display(),
        key = bench.identity.key_file.display(),
    );
    write(&configuration, &text)?;
    let mut command = bench.machine.server_command(program);
    command.arg("-p").arg(&dir).arg("-c").arg(&configuration);
    command.arg("-e").arg(dir.join("error.log"));
    let mut running = Running::start("nginx", &mut command, &dir.join("output.log"))?;
    running.wait_for_port(submissions)?;
    Ok(Front {
        running,
        imap: Some(imap),
        imaps,
        submissions: Some(submissions),
    })
}

fn stunnel(bench: &Bench<'_>, backend: Backend) -> Result<Front, Fault> {
    let program = installed("stunnel4")?;
    let dir = folder(&bench.work.join("gate-stunnel"))?;
    let (imap, imaps, submissions) = (free_port()?, free_port()?, free_port()?);
    let configuration = dir.join("stunnel.conf");
    let text = format!(
        "foreground = yes
pid =
syslog = no
debug = 3
cert = {certificate}
key = {key}
socket = l:TCP_NODELAY=1
socket = r:TCP_NODELAY=1
[imap]
accept = 127.0.0.1:{imap}
connect = 127.0.0.1:{behind}
protocol = imap
[imaps]
accept = 127.0.0.1:{imaps}
connect = 127.0.0.1:{behind}
[submissions]
accept = 127.0.0.1:{submissions}
connect = 127.0.0.1:{sink}
",
        certificate = bench.identity.certificate_file.display(),
        key = bench.identity.key_file.display(),
        behind = backend.imap,
        sink = backend.smtp,
    );
    write(&configuration, &text)?;
    let mut command = bench.machine.server_command(program);
    let log = dir.join("output.log");
    let mut running = Running::start("stunnel", command.arg(&configuration), &log)?;
    running.wait_for_port(submissions)?;
    Ok(Front {
        running,
        imap: Some(imap),
        imaps,
        submissions: Some(submissions),
    })
}

/// Without STARTTLS: it has none.
fn haproxy(bench: &Bench<'_>, backend: Backend) -> Result<Front, Fault> {
    let program = installed("haproxy")?;
    let dir = folder(&bench.work.join("gate-haproxy"))?;
    let (imaps, submissions) = (free_port()?, free_port()?);
    let bundle = dir.join("bundle.pem");
    let read = |path: &Path| fs::read_to_string(path).map_err(Fault::at("reading a certificate"));
    let (chain, key) = (
        read(&bench.identity.certificate_file)?,
        read(&bench.identity.key_file)?,
    );
    write(&bundle, &format!("{chain}\n{key}"))?;
    let configuration = dir.join("haproxy.cfg");
    let text = format!(
        "global
  nbthread 1
  maxconn 4000
defaults
  mode tcp
  timeout connect 10s
  timeout client 31m
  timeout server 31m
listen imaps
  bind 127.0.0.1:{imaps} ssl crt {bundle}
  server one 127.0.0.1:{behind}
listen submissions
  bind 127.0.0.1:{submissions} ssl crt {bundle}
  server one 127.0.0.1:{sink}
",
        bundle = bundle.display(),
        behind = backend.imap,
        sink = backend.smtp,
    );
    write(&configuration, &text)?;
    let mut command = bench.machine.server_command(program);
    command.arg("-db").arg("-f").arg(&configuration);
    let mut running = Running::start("haproxy", &mut command, &dir.join("output.log"))?;
    running.wait_for_port(submissions)?;
    Ok(Front {
        running,
        imap: None,
        imaps,
        submissions: Some(submissions),
    })
}

/// As its documentation says for many sessions: one login process that is never replaced.
fn dovecot(bench: &Bench<'_>, backend: Backend) -> Result<Front, Fault> {
    require_root("dovecot")?;
    let program = installed("dovecot")?;
    let dir = folder(&bench.work.join("gate-dovecot"))?;
    fs::create_dir_all(dir.join("run")).map_err(Fault::at("making dovecot's folder"))?;
    let (imap, imaps) = (free_port()?, free_port()?);
    let room = bench.plan.peer_sessions.saturating_mul(6).max(400);
    let text = format!(
        "protocols = imap
base_dir = {dir}/run
log_path = {dir}/dovecot.log
listen = 127.0.0.1
ssl = required
ssl_cert = <{certificate}
ssl_key = <{key}
mail_max_userip_connections = {room}
auth_mechanisms = plain login
passdb {{
  driver = static
  args = proxy=y host=127.0.0.1 port={behind} nopassword=y
}}
service imap-login {{
  service_count = 0
  process_min_avail = 1
  process_limit = 1
  client_limit = {wide}
  inet_listener imap {{
    port = {imap}
  }}
  inet_listener imaps {{
    port = {imaps}
    ssl = yes
  }}
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
        behind = backend.imap,
        wide = room.saturating_mul(3),
    );
    let configuration = dir.join("dovecot.conf");
    write(&configuration, &text)?;
    let mut command: Command = bench.machine.server_command(program);
    command.arg("-F").arg("-c").arg(&configuration);
    let mut running = Running::start("dovecot", &mut command, &dir.join("output.log"))?;
    running.wait_for_port(imaps)?;
    Ok(Front {
        running,
        imap: Some(imap),
        imaps,
        submissions: None,
    })
}
