//! The client's side of a conversation: lines over TCP, then over TLS. Blocking, one thread each.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::Duration;

use rustls::{ClientConfig, ClientConnection, StreamOwned};
use rustls_pki_types::ServerName;
use socket2::{Domain, Protocol, Socket, Type};

use crate::fault::Fault;

/// No server under test may be silent for longer.
const PATIENCE: Duration = Duration::from_secs(30);
/// No reply line of an honest server is longer: 100,000 numbers behind SEARCH are 700 KB.
const LONGEST_LINE: u64 = 16 * 1024 * 1024;

/// One conversation.
#[derive(Debug)]
pub(crate) struct Talk {
    wire: BufReader<Wire>,
}

impl Talk {
    /// Connects in clear from `source` (any loopback address; its port is chosen by the kernel).
    pub(crate) fn clear(source: Ipv4Addr, port: u16) -> Result<Self, Fault> {
        let tcp = connect(source, port).map_err(Fault::at("connecting"))?;
        Ok(Self {
            wire: BufReader::new(Wire::Clear(tcp)),
        })
    }

    /// Connects with implicit TLS.
    pub(crate) fn encrypted(
        source: Ipv4Addr,
        port: u16,
        config: &Arc<ClientConfig>,
    ) -> Result<Self, Fault> {
        Self::clear(source, port)?.upgrade(config)
    }

    /// Goes on over TLS with a full handshake. Bytes that came in clear behind the server's answer end the conversation.
    pub(crate) fn upgrade(self, config: &Arc<ClientConfig>) -> Result<Self, Fault> {
        if !self.wire.buffer().is_empty() {
            return Err(Fault::Injected);
        }
        let Wire::Clear(mut tcp) = self.wire.into_inner() else {
            return Err(Fault::Injected);
        };
        let name = ServerName::try_from("localhost")
            .map_err(|_| rustls::Error::General("name".to_owned()))?;
        let mut tls = ClientConnection::new(Arc::clone(config), name)?;
        while tls.is_handshaking() {
            tls.complete_io(&mut tcp)
                .map_err(Fault::at("the TLS handshake"))?;
        }
        Ok(Self {
            wire: BufReader::new(Wire::Encrypted(Box::new(StreamOwned::new(tls, tcp)))),
        })
    }

    /// Lets the server be silent for longer.
    pub(crate) fn be_patient(&mut self, patience: Duration) -> Result<(), Fault> {
        let tcp = match self.wire.get_ref() {
            Wire::Clear(tcp) => tcp,
            Wire::Encrypted(tls) => &tls.sock,
        };
        tcp.set_read_timeout(Some(patience))
            .map_err(Fault::at("setting a deadline"))
    }

    /// What TLS negotiated: version, suite, group. Empty in clear.
    pub(crate) fn negotiated(&self) -> String {
        let Wire::Encrypted(stream) = self.wire.get_ref() else {
            return String::new();
        };
        let suite = stream
            .conn
            .negotiated_cipher_suite()
            .map(|suite| suite.suite());
        let group = stream
            .conn
            .negotiated_key_exchange_group()
            .map(rustls::crypto::SupportedKxGroup::name);
        format!("{:?} {suite:?} {group:?}", stream.conn.protocol_version())
    }

    /// Sends bytes as they are, in one write.
    pub(crate) fn send(&mut self, bytes: &[u8]) -> Result<(), Fault> {
        let wire = self.wire.get_mut();
        wire.write_all(bytes)
            .and_then(|()| wire.flush())
            .map_err(Fault::at("sending"))
    }

    /// Reads one line, without its end.
    pub(crate) fn line(&mut self) -> Result<String, Fault> {
        let mut line = Vec::new();
        (&mut self.wire)
            .take(LONGEST_LINE)
            .read_until(b'\n', &mut line)
            .map_err(Fault::at("reading a reply"))?;
        if line.is_empty() {
            return Err(Fault::Reply {
                wanted: "a line",
                got: "the end of the connection".to_owned(),
            });
        }
        Ok(String::from_utf8_lossy(&line).trim_end().to_owned())
    }

    /// Reads octets and forgets them.
    pub(crate) fn skip(&mut self, octets: u64) -> Result<(), Fault> {
        let read = std::io::copy(&mut (&mut self.wire).take(octets), &mut std::io::sink())
            .map_err(Fault::at("reading a literal"))?;
        if read == octets {
            return Ok(());
        }
        Err(Fault::Reply {
            wanted: "the rest of a literal",
            got: "the end of the connection".to_owned(),
        })
    }

    /// Reads one SMTP reply of any number of lines and checks its code; gives the lines' texts.
    pub(crate) fn smtp(&mut self, code: &'static str) -> Result<Vec<String>, Fault> {
        let mut texts = Vec::new();
        loop {
            let line = self.line()?;
            let Some(text) = line.strip_prefix(code) else {
                return Err(Fault::Reply {
                    wanted: code,
                    got: line,
                });
            };
            texts.push(text.get(1..).unwrap_or_default().to_owned());
            if !text.starts_with('-') {
                return Ok(texts);
            }
        }
    }

    /// Sends one SMTP command and checks its reply.
    pub(crate) fn smtp_command(
        &mut self,
        command: &str,
        code: &'static str,
    ) -> Result<Vec<String>, Fault> {
        self.send(command.as_bytes())?;
        self.smtp(code)
    }

    /// Reads IMAP lines up to one that begins with `prefix`; gives all of them. A tagged NO or BAD is an error.
    pub(crate) fn imap(&mut self, prefix: &'static str) -> Result<Vec<String>, Fault> {
        let mut lines = Vec::new();
        loop {
            let line = self.line()?;
            let done = line.starts_with(prefix);
            if !done && !line.starts_with("* ") {
                return Err(Fault::Reply {
                    wanted: prefix,
                    got: line,
                });
            }
            lines.push(line);
            if done {
                return Ok(lines);
            }
        }
    }

    /// Sends one IMAP command and reads up to `prefix`.
    pub(crate) fn imap_command(
        &mut self,
        command: &str,
        prefix: &'static str,
    ) -> Result<Vec<String>, Fault> {
        self.send(command.as_bytes())?;
        self.imap(prefix)
    }
}

/// The loopback address of the client with this number, 127.0.1.1 and up; 127.0.0.1 itself is left to single sessions.
pub(crate) fn source(number: u32) -> Ipv4Addr {
    let [_, _, high, low] = (number + 257).to_be_bytes();
    Ipv4Addr::new(127, 0, high, low)
}

fn connect(source: Ipv4Addr, port: u16) -> std::io::Result<TcpStream> {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, Some(Protocol::TCP))?;
    // Binding takes a port for good; the kernel's own choice at connect does not, so it is left to the kernel where it can be.
    if source != Ipv4Addr::LOCALHOST {
        socket.bind(&SocketAddr::from((source, 0)).into())?;
    }
    socket.connect(&SocketAddr::from((Ipv4Addr::LOCALHOST, port)).into())?;
    socket.set_tcp_nodelay(true)?;
    socket.set_read_timeout(Some(PATIENCE))?;
    socket.set_write_timeout(Some(PATIENCE))?;
    Ok(socket.into())
}

/// Below the lines: a socket, or TLS over it.
#[derive(Debug)]
enum Wire {
    Clear(TcpStream),
    Encrypted(Box<StreamOwned<ClientConnection, TcpStream>>),
}

impl Read for Wire {
    fn read(&mut self, into: &mut [u8]) -> std::io::Result<usize> {
        match self {
            Wire::Clear(tcp) => tcp.read(into),
            Wire::Encrypted(tls) => tls.read(into),
        }
    }
}

impl Write for Wire {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        match self {
            Wire::Clear(tcp) => tcp.write(bytes),
            Wire::Encrypted(tls) => tls.write(bytes),
        }
    }

    fn flush(&mut self) -> std::io::Result<()> {
        match self {
            Wire::Clear(tcp) => tcp.flush(),
            Wire::Encrypted(tls) => tls.flush(),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;
    use std::io::Write;
    use std::net::{Ipv4Addr, TcpListener};
    use std::thread;

    use super::{Talk, source};
    use crate::fault::Fault;
    use crate::identity::Identity;
    use crate::tls::{self, Group};

    #[test]
    fn bytes_in_clear_behind_the_answer_to_starttls_end_the_conversation() {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("bind");
        let port = listener.local_addr().expect("address").port();
        let server = thread::spawn(move || {
            let (mut client, _) = listener.accept().expect("accept");
            client
                .write_all(b"220 go ahead\r\n250 injected\r\n")
                .expect("write");
            client
        });
        let mut talk = Talk::clear(Ipv4Addr::LOCALHOST, port).expect("connect");
        talk.smtp("220").expect("reply");
        let folder = tempfile::tempdir().expect("folder");
        let identity = Identity::make(folder.path()).expect("identity");
        let client = tls::load_client(&identity, tls::provider(Group::X25519)).expect("client");
        assert!(matches!(talk.upgrade(&client), Err(Fault::Injected)));
        server.join().expect("server");
    }

    #[test]
    fn each_client_has_its_own_loopback_address() {
        let addresses: HashSet<_> = (0..4000).map(source).collect();
        assert_eq!(addresses.len(), 4000);
        assert!(addresses.iter().all(Ipv4Addr::is_loopback));
        assert!(!addresses.contains(&Ipv4Addr::LOCALHOST));
    }
}
