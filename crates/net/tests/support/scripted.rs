//! A server that does what a test says, octet by octet, with the engine's own TLS where it wants some.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::time::Duration;

use rustls::{ServerConfig, ServerConnection, StreamOwned};

use super::pki;

pub type Tls = StreamOwned<ServerConnection, TcpStream>;

/// Runs the script for each connection, with its number. The thread ends with the test's process.
pub fn start(script: impl Fn(TcpStream, usize) + Send + 'static) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for number in 0.. {
            let Ok((stream, _)) = listener.accept() else {
                return;
            };
            stream.set_nodelay(true).unwrap();
            stream
                .set_read_timeout(Some(Duration::from_secs(10)))
                .unwrap();
            script(stream, number);
        }
    });
    address
}

/// Reads a line.
pub fn hear(stream: &mut impl std::io::Read) -> String {
    super::client::line(stream)
}

pub fn say(stream: &mut impl std::io::Write, words: &str) {
    stream.write_all(words.as_bytes()).unwrap();
    stream.flush().unwrap();
}

/// Waits for the peer's end, whatever it says.
pub fn wait_for_end(mut stream: TcpStream) {
    let mut buffer = [0; 4096];
    while let Ok(1..) = stream.read(&mut buffer) {}
}

/// Closes with a reset.
pub fn reset(stream: TcpStream) {
    let socket = socket2::SockRef::from(&stream);
    socket.set_linger(Some(Duration::ZERO)).unwrap();
    drop(stream);
}

/// The server's handshake.
pub fn tls(stream: TcpStream) -> Option<Tls> {
    tls_with(stream, &pki::shared().server)
}

/// The server's handshake, for clients that can do X25519MLKEM768 alone.
pub fn hybrid_tls(stream: TcpStream) -> Option<Tls> {
    tls_with(stream, &pki::shared().hybrid_server)
}

/// The same with a configuration.
pub fn tls_with(mut stream: TcpStream, config: &Arc<ServerConfig>) -> Option<Tls> {
    let mut connection = ServerConnection::new(Arc::clone(config)).unwrap();
    while connection.is_handshaking() {
        if connection.complete_io(&mut stream).is_err() {
            return None;
        }
    }
    Some(StreamOwned::new(connection, stream))
}

/// `close_notify`, and the end.
pub fn close(mut tls: Tls) {
    tls.conn.send_close_notify();
    let _ = tls.flush();
}
