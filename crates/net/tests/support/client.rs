//! A blocking client: words in clear, then TLS by rustls.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::time::Duration;

use rustls::{ClientConfig, ClientConnection, StreamOwned, SupportedProtocolVersion};
use rustls_pki_types::ServerName;

use super::{Server, pki};

pub type Tls = BufReader<StreamOwned<ClientConnection, TcpStream>>;

pub fn config() -> ClientConfig {
    config_for(rustls::ALL_VERSIONS)
}

pub fn config_for(versions: &[&'static SupportedProtocolVersion]) -> ClientConfig {
    ClientConfig::builder_with_provider(gatepost_trust::profile::provider())
        .with_protocol_versions(versions)
        .unwrap()
        .with_root_certificates(Arc::clone(&pki::shared().roots))
        .with_no_client_auth()
}

pub fn connect(server: &Server) -> TcpStream {
    let stream = TcpStream::connect(server.address).unwrap();
    stream.set_nodelay(true).unwrap();
    stream
        .set_read_timeout(Some(Duration::from_secs(5)))
        .unwrap();
    stream
}

/// Reads a line, octet by octet, so that nothing behind it is taken.
pub fn line(stream: &mut impl Read) -> String {
    let mut line = Vec::new();
    let mut octet = [0];
    while !line.ends_with(b"\r\n") {
        match stream.read(&mut octet) {
            Ok(1) => line.push(octet[0]),
            Ok(_) => break,
            Err(error) => panic!("after {:?}: {error}", String::from_utf8_lossy(&line)),
        }
    }
    String::from_utf8(line).unwrap()
}

pub fn session(config: &Arc<ClientConfig>, name: &str) -> ClientConnection {
    let name = ServerName::try_from(name.to_owned()).unwrap();
    ClientConnection::new(Arc::clone(config), name).unwrap()
}

/// The handshake, complete.
pub fn handshake(mut stream: TcpStream, config: &Arc<ClientConfig>, name: &str) -> io::Result<Tls> {
    let mut session = session(config, name);
    while session.is_handshaking() {
        session.complete_io(&mut stream)?;
    }
    Ok(BufReader::new(StreamOwned::new(session, stream)))
}

/// Greeting, STARTTLS, handshake.
pub fn upgrade(server: &Server, config: &Arc<ClientConfig>) -> io::Result<Tls> {
    let mut stream = connect(server);
    assert_eq!(line(&mut stream), "220 clear\r\n");
    stream.write_all(b"STARTTLS\r\n").unwrap();
    assert_eq!(line(&mut stream), "220 go\r\n");
    handshake(stream, config, "mail.example")
}

/// A handshake at once.
pub fn implicit(server: &Server, config: &Arc<ClientConfig>, name: &str) -> io::Result<Tls> {
    handshake(connect(server), config, name)
}

pub fn say(tls: &mut Tls, words: &str) {
    tls.get_mut().write_all(words.as_bytes()).unwrap();
    tls.get_mut().flush().unwrap();
}

pub fn hear(tls: &mut Tls) -> String {
    let mut line = String::new();
    tls.read_line(&mut line).unwrap();
    line
}

pub fn ask(tls: &mut Tls, words: &str) -> String {
    say(tls, &format!("{words}\r\n"));
    hear(tls)
}

/// The rest, to the end of TLS. An error when it was cut off.
pub fn rest(tls: &mut Tls) -> io::Result<String> {
    let mut text = String::new();
    tls.read_to_string(&mut text)?;
    Ok(text)
}

/// All octets to the end of the connection, however it ends.
pub fn raw_rest(stream: &mut TcpStream) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut buffer = [0; 4096];
    while let Ok(count @ 1..) = stream.read(&mut buffer) {
        bytes.extend_from_slice(&buffer[..count]);
    }
    bytes
}

/// The alert a failed handshake ended with, as the client saw it.
pub fn alert_of(error: &io::Error) -> Option<rustls::AlertDescription> {
    match error.get_ref()?.downcast_ref::<rustls::Error>()? {
        rustls::Error::AlertReceived(description) => Some(*description),
        // The engine's word for just this alert.
        rustls::Error::NoApplicationProtocol => {
            Some(rustls::AlertDescription::NoApplicationProtocol)
        }
        _ => None,
    }
}
