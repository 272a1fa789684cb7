//! nginx as a mail proxy: SMTP with STARTTLS. One worker, because it has one core; everything else as Debian ships it.
//! It answers this dialogue itself: the authorisation server it must be given is only asked at AUTH, which never comes.

use std::path::Path;

use super::{Running, folder, free_port, installed, write};
use crate::Bench;
use crate::fault::Fault;

/// Where Debian puts the module.
const MODULE: &str = "/usr/lib/nginx/modules/ngx_mail_module.so";

/// The module, where it is installed.
pub(crate) fn module() -> Result<&'static str, Fault> {
    if Path::new(MODULE).exists() {
        Ok(MODULE)
    } else {
        Err(Fault::Missing("nginx's mail module".to_owned()))
    }
}

/// Starts it; gives its port.
pub(crate) fn start(bench: &Bench<'_>) -> Result<(Running, u16), Fault> {
    let program = installed("nginx")?;
    module()?;
    let dir = folder(&bench.work.join("nginx"))?;
    let port = free_port()?;
    let configuration = dir.join("nginx.conf");
    write(&configuration, &text(bench, &dir, port))?;
    let mut command = bench.machine.server_command(program);
    command
        .arg("-p")
        .arg(&dir)
        .arg("-c")
        .arg(&configuration)
        .arg("-e")
        .arg(dir.join("error.log"));
    let mut running = Running::start("nginx", &mut command, &dir.join("output.log"))?;
    running.wait_for_port(port)?;
    Ok((running, port))
}

fn text(bench: &Bench<'_>, dir: &Path, port: u16) -> String {
    format!(
        "load_module {MODULE};
daemon off;
worker_processes 1;
pid {dir}/nginx.pid;
error_log {dir}/error.log;
events {{ worker_connections 768; }}
mail {{
    server_name mail.gatepost.test;
    auth_http 127.0.0.1:9/;
    ssl_certificate {certificate};
    ssl_certificate_key {key};
    ssl_protocols TLSv1.2 TLSv1.3;
    server {{ listen 127.0.0.1:{port}; protocol smtp; smtp_auth plain login; starttls on; }}
}}
",
        dir = dir.display(),
        certificate = bench.identity.certificate_file.display(),
        key = bench.identity.key_file.display(),
    )
}
