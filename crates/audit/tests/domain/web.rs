//! The web hosts of all domains: one HTTPS server that answers by name and path.

use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::time::Duration;

use gatepost_testkit::pki::Issued;
use rustls::{ServerConfig, ServerConnection, Stream};

use super::zones;

/// Starts it, on a thread of its own, and another for every connection.
pub(crate) fn serve(leaf: &Issued) -> SocketAddr {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![leaf.certificate.clone()], leaf.private_key())
        .unwrap();
    let config = Arc::new(config);
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let config = Arc::clone(&config);
            std::thread::spawn(move || session(stream, config));
        }
    });
    address
}

fn session(mut stream: TcpStream, config: Arc<ServerConfig>) -> Option<()> {
    let limit = Some(Duration::from_secs(20));
    stream.set_read_timeout(limit).ok()?;
    let mut tls = ServerConnection::new(config).ok()?;
    let mut reader = BufReader::new(Stream::new(&mut tls, &mut stream));
    let mut first = String::new();
    reader.read_line(&mut first).ok()?;
    let path = first.split(' ').nth(1)?.to_owned();
    let (mut host, mut line) = (String::new(), String::from("-"));
    while !line.trim().is_empty() {
        line.clear();
        reader.read_line(&mut line).ok()?;
        if let Some(value) = line.to_ascii_lowercase().strip_prefix("host:") {
            value.trim().split(':').next()?.clone_into(&mut host);
        }
    }
    let answer = match zones::file(&host, &path) {
        // A connection that ends before the answer: nothing is told by it.
        Some(body) if body.is_empty() => return None,
        Some(body) => {
            let media = if path.contains("config") {
                "text/xml"
            } else {
                "text/plain"
            };
            let length = body.len();
            format!(
                "HTTP/1.1 200 OK\r\nContent-Type: {media}\r\nContent-Length: {length}\r\n\r\n{body}"
            )
        }
        None => "HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n".to_owned(),
    };
    reader.get_mut().write_all(answer.as_bytes()).ok()?;
    tls.send_close_notify();
    tls.complete_io(&mut stream).ok().map(|_| ())
}
