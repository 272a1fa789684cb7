//! `gatepost serve --lab`: wrong servers, to see whether one's own clients and servers refuse them. Who continues is reported.
//!
//! Each wrong server has a port of its own. A client that is told to trust the laboratory's authority must send mail to `right` and to no other.

mod session;
mod wrong;

use std::fmt::Write as _;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use clap::{Arg, ArgAction, ArgMatches, value_parser};
use rustls::ServerConfig;
use serde_json::{Value, json};

pub(crate) use self::session::VIEW;
use self::session::Went;
use self::wrong::{Authorities, KINDS, Kind};
use crate::exit::Failure;

/// Connections at a time.
const MOST: usize = 64;

/// The flags of the laboratory, which stand beside those of the server.
pub(crate) fn flags() -> [Arg; 4] {
    [
        Arg::new("lab")
            .long("lab")
            .action(ArgAction::SetTrue)
            .help("Serve wrong servers instead, and report who continues (see docs/canary.md)"),
        Arg::new("lab-port")
            .long("lab-port")
            .value_name("PORT")
            .value_parser(value_parser!(u16))
            .default_value("12025")
            .requires("lab")
            .help(
                "The first port of the laboratory, one for each wrong server; 0: any that are free",
            ),
        Arg::new("lab-domain")
            .long("lab-domain")
            .value_name("DOMAIN")
            .default_value("lab.gatepost.test")
            .requires("lab")
            .help("The hosts are named KIND.DOMAIN"),
        Arg::new("lab-folder")
            .long("lab-folder")
            .value_name("DIR")
            .value_parser(value_parser!(PathBuf))
            .default_value("gatepost-lab")
            .requires("lab")
            .help("Where the laboratory's authority is written to, for clients to trust"),
    ]
}

/// A wrong server that listens.
struct Server {
    kind: Kind,
    host: String,
    tls: Arc<ServerConfig>,
    listener: TcpListener,
    address: SocketAddr,
}

pub(crate) fn run(given: &ArgMatches) -> Result<(), Failure> {
    let domain = given
        .get_one::<String>("lab-domain")
        .map_or("", String::as_str);
    let first = given
        .get_one::<u16>("lab-port")
        .copied()
        .unwrap_or_default();
    let bind = given
        .get_many::<String>("server.bind")
        .and_then(|mut it| it.next().cloned())
        .unwrap_or_else(|| "127.0.0.1".to_owned());
    let folder = given
        .get_one::<PathBuf>("lab-folder")
        .cloned()
        .unwrap_or_default();
    let authorities = Authorities::new()?;
    let ca = keep(&folder, authorities.pem())?;
    let mut servers = Vec::new();
    for (port, kind) in (0_u16..).zip(KINDS) {
        let port = if first == 0 {
            0
        } else {
            first.saturating_add(port)
        };
        servers.push(listen(kind, domain, &bind, port, &authorities)?);
    }
    println!("{}", introduction(&servers, domain, &ca));
    if let Some(path) = given.get_one::<PathBuf>("ready-file") {
        let text = ready(&servers, &ca).to_string();
        std::fs::write(path, text)
            .map_err(|error| Failure::local(format!("cannot write {}: {error}", path.display())))?;
    }
    let threads: Vec<_> = servers
        .into_iter()
        .map(|server| std::thread::spawn(move || serve(&server)))
        .collect();
    for thread in threads {
        let _ = thread.join();
    }
    Ok(())
}

fn keep(folder: &Path, pem: &str) -> Result<PathBuf, Failure> {
    let path = folder.join("ca.pem");
    std::fs::create_dir_all(folder)
        .and_then(|()| std::fs::write(&path, pem))
        .map_err(|error| Failure::local(format!("cannot write {}: {error}", path.display())))?;
    Ok(path)
}

fn listen(
    kind: Kind,
    domain: &str,
    bind: &str,
    port: u16,
    authorities: &Authorities,
) -> Result<Server, Failure> {
    let host = format!("{}.{domain}", kind.label());
    let cannot = |error: std::io::Error| {
        Failure::local(format!("cannot listen on {bind} port {port}: {error}"))
    };
    let listener = TcpListener::bind((bind, port)).map_err(cannot)?;
    Ok(Server {
        kind,
        tls: authorities.tls(kind, &host)?,
        address: listener.local_addr().map_err(cannot)?,
        host,
        listener,
    })
}

fn introduction(servers: &[Server], domain: &str, ca: &Path) -> String {
    let mut text = format!(
        "A laboratory of wrong servers. Trust {} in your client, and send to each:\n",
        ca.display()
    );
    for server in servers {
        let _ = writeln!(
            text,
            "  {:<21} {:<16} {}",
            server.address.to_string(),
            server.kind.label(),
            server.kind.text()
        );
    }
    let _ = writeln!(text, "For the last two, in the DNS and on the web:");
    // The record belongs to the port: a sender that is led to another one than 25 looks there.
    let port = servers
        .iter()
        .find(|it| it.kind == Kind::BadTlsa)
        .map_or(25, |it| it.address.port());
    let _ = writeln!(
        text,
        "  _{port}._tcp.bad-tlsa.{domain}. IN TLSA 3 1 1 {}",
        "00".repeat(32)
    );
    let _ = writeln!(
        text,
        "  mta-sts policy: version: STSv1, mode: enforce, mx: elsewhere.{domain}, max_age: 86400"
    );
    text.push_str("Nothing is taken in. Who continues is told here, one JSON object a line.");
    text
}

fn ready(servers: &[Server], ca: &Path) -> Value {
    let ports: serde_json::Map<String, Value> = servers
        .iter()
        .map(|it| (it.kind.label().to_owned(), it.address.port().into()))
        .collect();
    json!({ "pid": std::process::id(), "ca": ca, "ports": ports })
}

fn serve(server: &Server) {
    let open = Arc::new(AtomicUsize::new(0));
    loop {
        let Ok((stream, peer)) = server.listener.accept() else {
            std::thread::sleep(Duration::from_millis(100));
            continue;
        };
        if open.fetch_add(1, Ordering::Relaxed) >= MOST {
            open.fetch_sub(1, Ordering::Relaxed);
            continue;
        }
        let (kind, host, tls, open) = (
            server.kind,
            server.host.clone(),
            Arc::clone(&server.tls),
            Arc::clone(&open),
        );
        std::thread::spawn(move || {
            report(kind, peer, &went(kind, &host, &tls, stream));
            open.fetch_sub(1, Ordering::Relaxed);
        });
    }
}

fn went(kind: Kind, host: &str, tls: &Arc<ServerConfig>, stream: TcpStream) -> Went {
    session::play(kind, host, tls, stream).unwrap_or(Went::Left)
}

/// Who continued where nobody should is a finding.
fn report(kind: Kind, peer: SocketAddr, went: &Went) {
    let (result, detail) = match went {
        Went::Refused(why) => ("refused", why.clone()),
        Went::Left => ("left", "without mail or a login".to_owned()),
        Went::Continued { encrypted, with } => {
            let channel = if *encrypted { "over TLS" } else { "in clear" };
            ("continued", format!("{with} {channel}"))
        }
    };
    let is_finding = result == "continued" && kind != Kind::Right;
    println!(
        "{}",
        json!({
            "kind": "lab", "server": kind.label(), "peer": peer.to_string(), "result": result, "detail": detail,
            "finding": is_finding,
        })
    );
}
