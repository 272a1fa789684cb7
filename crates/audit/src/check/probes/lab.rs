//! Scripted servers for tests of probes: line by line, in clear or inside TLS.

use std::io::{Read, Write};
use std::net::{IpAddr, Ipv4Addr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use gatepost_net::client::dial::Dialer;
use gatepost_trust::verify::Roots;
use rustls::server::{ServerConfig, ServerConnection};

use super::Errand;
use crate::check::budget::{Budget, Crowd};
use crate::check::examine::{Means, Tier};
use crate::check::target::{Protocol, Role, Start, Target};

/// How a scripted server answers a line; none closes the connection.
pub(crate) type Script = Arc<dyn Fn(&str) -> Option<String> + Send + Sync>;

/// A server, and every line that was said to it.
pub(crate) struct Server {
    pub(crate) port: u16,
    pub(crate) heard: Arc<Mutex<Vec<String>>>,
}

impl Server {
    /// With TLS from the first octet where there is a configuration. Its threads end with the test program.
    pub(crate) fn new(tls: Option<Arc<ServerConfig>>, greeting: &str, script: Script) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        let heard = Arc::new(Mutex::new(Vec::new()));
        let said = Arc::clone(&heard);
        let greeting = format!("{greeting}\r\n");
        std::thread::spawn(move || {
            for mut stream in listener.incoming().flatten() {
                let (tls, script) = (tls.clone(), Arc::clone(&script));
                let (greeting, said) = (greeting.clone(), Arc::clone(&said));
                std::thread::spawn(move || {
                    let limit = Some(Duration::from_secs(20));
                    stream.set_read_timeout(limit).unwrap();
                    let _ = match tls {
                        Some(config) => encrypted(&mut stream, config, |it| {
                            dialogue(it, &greeting, &script, &said)
                        }),
                        None => dialogue(&mut stream, &greeting, &script, &said),
                    };
                });
            }
        });
        Self { port, heard }
    }

    /// What was said so far.
    pub(crate) fn heard(&self) -> Vec<String> {
        self.heard.lock().unwrap().clone()
    }
}

fn encrypted(
    stream: &mut TcpStream,
    config: Arc<ServerConfig>,
    then: impl FnOnce(&mut rustls::Stream<'_, ServerConnection, TcpStream>) -> Option<()>,
) -> Option<()> {
    let mut tls = ServerConnection::new(config).ok()?;
    // The alert that says why there is no TLS must get out, too.
    while tls.is_handshaking() {
        tls.complete_io(stream).ok()?;
    }
    then(&mut rustls::Stream::new(&mut tls, stream))
}

fn dialogue(
    wire: &mut (impl Read + Write),
    greeting: &str,
    script: &Script,
    said: &Mutex<Vec<String>>,
) -> Option<()> {
    wire.write_all(greeting.as_bytes()).ok()?;
    let mut line = Vec::new();
    let mut octet = [0];
    while wire.read(&mut octet).ok()? > 0 {
        if octet != *b"\n" {
            line.push(octet[0]);
            continue;
        }
        let text = String::from_utf8_lossy(&line).trim_end().to_owned();
        line.clear();
        said.lock().unwrap().push(text.clone());
        let answer = script(&text)?;
        wire.write_all(answer.as_bytes()).ok()?;
    }
    Some(())
}

/// The name of every scripted server.
pub(crate) const HOST: &str = "mail.example.test";

/// A service on loopback.
pub(crate) fn target(port: u16, protocol: Protocol, start: Start) -> Target {
    Target {
        host: HOST.to_owned(),
        address: IpAddr::V4(Ipv4Addr::LOCALHOST),
        port,
        protocol,
        start,
        role: Role::Access,
    }
}

/// How to look at it.
pub(crate) fn means(tier: Tier) -> Means {
    Means {
        dialer: Arc::new(Dialer::default()),
        roots: Arc::new(Roots::none()),
        name: "examiner.example.test".to_owned(),
        patience: Duration::from_secs(3),
        tier,
        budget: tier.budget(),
        at_once: 8,
        nonce: "gp0123456789abcdef".to_owned(),
        mailbox: None,
    }
}

/// For a probe by itself.
pub(crate) fn errand(port: u16, protocol: Protocol, start: Start) -> Errand {
    let means = means(Tier::Deep);
    Errand {
        target: target(port, protocol, start),
        tier: means.tier,
        dialer: means.dialer,
        roots: means.roots,
        name: means.name,
        patience: means.patience,
        budget: Budget::new(means.budget),
        crowd: Crowd::new(means.at_once),
        nonce: means.nonce,
        mailbox: means.mailbox,
    }
}
