//! What an idle connection costs. One test in this file: the allocator counts everything in the process.

mod support;

use std::alloc::System;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::time::Duration;

use cap::Cap;
use support::client::{config, connect, session};

#[global_allocator]
static ALLOCATED: Cap<System> = Cap::new(System, usize::MAX);

const CONNECTIONS: usize = 500;
/// Octets per idle connection, everything in it but the C library's own: TLS, session, task, timer.
const LIMIT: usize = 6 * 1024;

/// Shakes hands, hears the greeting, and forgets everything but the socket.
fn idle(server: &support::Server, config: &Arc<rustls::ClientConfig>) -> TcpStream {
    let mut stream = connect(server);
    let mut session = session(config, "mail.example");
    rustls::Stream::new(&mut session, &mut stream)
        .write_all(b"hello\r\n")
        .unwrap();
    let mut heard = [0; 12 + 11];
    rustls::Stream::new(&mut session, &mut stream)
        .read_exact(&mut heard)
        .unwrap();
    assert_eq!(&heard, b"220 inside\r\n250 hello\r\n");
    stream
}

#[test]
fn an_idle_tls_connection_is_small() {
    let server = support::implicit();
    let config = Arc::new(config());
    // Scratch, thread locals and pools are there after the first few.
    let mut streams: Vec<TcpStream> = (0..20).map(|_| idle(&server, &config)).collect();
    streams.reserve(CONNECTIONS);
    std::thread::sleep(Duration::from_millis(100));
    let before = ALLOCATED.allocated();
    streams.extend((0..CONNECTIONS).map(|_| idle(&server, &config)));
    std::thread::sleep(Duration::from_millis(100));
    let each = (ALLOCATED.allocated() - before) / CONNECTIONS;
    println!("{each} octets per idle connection");
    assert!(
        each <= LIMIT,
        "{each} octets per idle connection, {LIMIT} allowed"
    );
    assert!(each > 1000, "{each}: nothing was measured");
}
