//! stunnel with `protocol = smtp`: it speaks STARTTLS itself and passes the rest to a server in clear, played here by a
//! thread of the load generator, on the load's core, so that only stunnel's own CPU is counted.

use std::io::{BufRead, BufReader, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::thread;

use super::{Running, folder, free_port, installed, write};
use crate::Bench;
use crate::fault::Fault;

/// Starts it; gives its port.
pub(crate) fn start(bench: &Bench<'_>) -> Result<(Running, u16), Fault> {
    let program = installed("stunnel4")?;
    let dir = folder(&bench.work.join("stunnel"))?;
    let backend = backend()?;
    let port = free_port()?;
    let configuration = dir.join("stunnel.conf");
    let text = format!(
        "foreground = yes
pid =
syslog = no
[smtp]
accept = 127.0.0.1:{port}
connect = 127.0.0.1:{backend}
protocol = smtp
cert = {certificate}
key = {key}
",
        certificate = bench.identity.certificate_file.display(),
        key = bench.identity.key_file.display(),
    );
    write(&configuration, &text)?;
    let mut command = bench.machine.server_command(program);
    let mut running = Running::start(
        "stunnel",
        command.arg(&configuration),
        &dir.join("output.log"),
    )?;
    running.wait_for_port(port)?;
    Ok((running, port))
}

/// The server behind stunnel, in clear, for as long as this process lives; gives its port.
fn backend() -> Result<u16, Fault> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))
        .map_err(Fault::at("binding stunnel's backend"))?;
    let port = listener
        .local_addr()
        .map_err(Fault::at("binding stunnel's backend"))?
        .port();
    thread::spawn(move || {
        for client in listener.incoming().flatten() {
            // A session that breaks off is noticed by the load's client, not here.
            thread::spawn(move || converse(&client).ok());
        }
    });
    Ok(port)
}

fn converse(client: &TcpStream) -> std::io::Result<()> {
    client.set_nodelay(true)?;
    let mut writer = client;
    writer.write_all(b"220 mail.gatepost.test ESMTP\r\n")?;
    for line in BufReader::new(client).lines() {
        let line = line?;
        if line.starts_with("QUIT") {
            return writer.write_all(b"221 2.0.0 bye\r\n");
        }
        writer.write_all(b"250-mail.gatepost.test\r\n250 PIPELINING\r\n")?;
    }
    Ok(())
}
