//! What a STARTTLS session costs the server, beside the TLS handshake alone in memory, in the same run.
//!
//! `cargo run --release -p gatepost-net --example starttls_cost [sessions]`
//!
//! A session is: connect, greeting, a command, STARTTLS, full TLS 1.3 handshake, a command, QUIT, TLS and TCP closed. Server
//! time is what the kernel accounts to the one server thread, user and kernel time together.

#[path = "../tests/support/mod.rs"]
mod support;

use std::fs;
use std::io::Write;
use std::sync::Arc;
use std::time::{Duration, Instant};

use gatepost_trust::certificates::Asked;
use rustls::client::Resumption;
use rustls::{ClientConfig, ServerConnection};
use support::client::{ask, config_for, connect, handshake, line, rest, session};

const ROUNDS: usize = 5;

fn main() {
    let sessions: usize = std::env::args()
        .nth(1)
        .and_then(|n| n.parse().ok())
        .unwrap_or(1000);
    let server = support::starttls();
    let mut config = config_for(&[&rustls::version::TLS13]);
    config.resumption = Resumption::disabled();
    let config = Arc::new(config);
    let (mut alone, mut whole, mut wall) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        alone.push(in_memory(&server, &config, sessions));
        let (before, begun) = (server_time(), Instant::now());
        for _ in 0..sessions {
            one_session(&server, &config);
        }
        wall.push(begun.elapsed() / u32::try_from(sessions).unwrap());
        let spent = server_time().saturating_sub(before);
        whole.push(spent / u32::try_from(sessions).unwrap());
    }
    let (alone, whole, wall) = (median(alone), median(whole), median(wall));
    let ratio = whole.as_secs_f64() / alone.as_secs_f64();
    println!("handshake alone, in memory, server side   {alone:>9.1?}");
    println!("whole STARTTLS session, server thread     {whole:>9.1?}   {ratio:.2} x");
    println!("a lone session, both sides, wall clock    {wall:>9.1?}");
}

fn median(mut all: Vec<Duration>) -> Duration {
    all.sort_unstable();
    all[all.len() / 2]
}

fn one_session(server: &support::Server, config: &Arc<ClientConfig>) {
    let mut stream = connect(server);
    line(&mut stream);
    stream.write_all(b"EHLO me.example\r\n").unwrap();
    line(&mut stream);
    stream.write_all(b"STARTTLS\r\n").unwrap();
    line(&mut stream);
    let mut tls = handshake(stream, config, "mail.example").unwrap();
    ask(&mut tls, "EHLO me.example");
    ask(&mut tls, "QUIT");
    assert_eq!(rest(&mut tls).unwrap(), "");
}

/// The median time the server's side of a handshake takes with the same certificate and profile: a busy machine takes the
/// processor away from some of them.
fn in_memory(server: &support::Server, config: &Arc<ClientConfig>, count: usize) -> Duration {
    let asked = Asked {
        sni: Some("mail.example"),
        signature_schemes: &[0x0403],
        certificate_schemes: &[],
        cipher_suites: &[0x1301],
        tls13: true,
    };
    let choice = server.tls.select(&asked).unwrap();
    let mut times = Vec::new();
    for _ in 0..count {
        let mut client = session(config, "mail.example");
        let (mut to_server, mut to_client) = (Vec::new(), Vec::new());
        client.write_tls(&mut to_server).unwrap();
        let begun = Instant::now();
        let mut ours = ServerConnection::new(choice.config.clone()).unwrap();
        ours.read_tls(&mut &to_server[..]).unwrap();
        ours.process_new_packets().unwrap();
        while ours.wants_write() {
            ours.write_tls(&mut to_client).unwrap();
        }
        let first = begun.elapsed();
        to_server.clear();
        let mut rest = &to_client[..];
        while !rest.is_empty() {
            client.read_tls(&mut rest).unwrap();
            client.process_new_packets().unwrap();
        }
        while client.wants_write() {
            client.write_tls(&mut to_server).unwrap();
        }
        let begun = Instant::now();
        ours.read_tls(&mut &to_server[..]).unwrap();
        ours.process_new_packets().unwrap();
        to_client.clear();
        while ours.wants_write() {
            ours.write_tls(&mut to_client).unwrap();
        }
        drop(ours);
        times.push(first + begun.elapsed());
    }
    median(times)
}

/// What the kernel has accounted to the server's thread.
fn server_time() -> Duration {
    let mut total = 0;
    for task in fs::read_dir("/proc/self/task").unwrap() {
        let task = task.unwrap().path();
        let name = fs::read_to_string(task.join("comm")).unwrap_or_default();
        if name.starts_with("tokio-rt-worker") {
            let text = fs::read_to_string(task.join("schedstat")).unwrap_or_default();
            total += text
                .split(' ')
                .next()
                .and_then(|ns| ns.parse::<u64>().ok())
                .unwrap_or(0);
        }
    }
    Duration::from_nanos(total)
}
