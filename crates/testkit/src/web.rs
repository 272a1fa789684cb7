//! A web server for tests: HTTPS on loopback, whose answers a function gives. It lasts as long as the test's process.

#![allow(
    clippy::missing_panics_doc,
    reason = "a fixture that cannot be made is a broken test"
)]

use std::io::{BufRead, BufReader, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use rustls::{ServerConfig, ServerConnection, Stream};

use crate::pki::Issued;

/// What was asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// The name in `Host:`, lower case, without the port; empty without one.
    pub host: String,
    /// The path, with the query.
    pub path: String,
}

/// An answer with status 200.
pub fn ok(media_type: &str, body: &str) -> String {
    let length = body.len();
    format!(
        "HTTP/1.1 200 OK\r\nContent-Type: {media_type}\r\nContent-Length: {length}\r\n\r\n{body}"
    )
}

/// The answer where there is nothing.
pub const NOT_FOUND: &str = "HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n";

/// Starts it, on a thread of its own, and another for every connection. What the function gives is written as it is, and the connection ends
/// with `close_notify`; without an answer it ends without a word.
pub fn serve(
    leaf: &Issued,
    answer: impl Fn(&Request) -> Option<String> + Send + Sync + 'static,
) -> SocketAddr {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![leaf.certificate.clone()], leaf.private_key())
        .unwrap();
    let shared = Arc::new((Arc::new(config), answer));
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let shared = Arc::clone(&shared);
            thread::spawn(move || session(stream, &shared.0, &shared.1));
        }
    });
    address
}

fn session(
    mut stream: TcpStream,
    config: &Arc<ServerConfig>,
    answer: &impl Fn(&Request) -> Option<String>,
) -> Option<()> {
    let limit = Some(Duration::from_secs(20));
    stream.set_read_timeout(limit).ok()?;
    let mut tls = ServerConnection::new(Arc::clone(config)).ok()?;
    let mut reader = BufReader::new(Stream::new(&mut tls, &mut stream));
    let request = read(&mut reader)?;
    let words = answer(&request)?;
    reader.get_mut().write_all(words.as_bytes()).ok()?;
    tls.send_close_notify();
    tls.complete_io(&mut stream).ok().map(drop)
}

/// A GET request, up to the empty line.
fn read(reader: &mut impl BufRead) -> Option<Request> {
    let mut first = String::new();
    reader.read_line(&mut first).ok()?;
    let path = first.strip_prefix("GET ")?.split(' ').next()?.to_owned();
    let (mut host, mut line) = (String::new(), String::from("-"));
    while !line.trim().is_empty() {
        line.clear();
        reader.read_line(&mut line).ok()?;
        if let Some(value) = line.to_ascii_lowercase().strip_prefix("host:") {
            value.trim().split(':').next()?.clone_into(&mut host);
        }
    }
    Some(Request { host, path })
}
