//! The bare loop: the least a tokio and rustls program can do and still hold this conversation: greeting, EHLO, STARTTLS,
//! handshake, EHLO, QUIT. No limits, no policy, no deadlines, no log, no mailbox. It is not a server to run; it is the
//! line below which a real server has nothing left to save in its own code.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;

use rustls::{ServerConfig, ServerConnection};
use tokio::io::AsyncReadExt;
use tokio::net::{TcpListener, TcpStream};

use crate::fault::Fault;
use crate::identity::Identity;
use crate::tls;

/// Room for what a client says before one answer; more ends the session.
const BUFFER: usize = 4096;

/// The bare loop's command line.
#[derive(Debug, Clone, PartialEq, Eq, clap::Args)]
pub(crate) struct Options {
    /// Certificate chain, PEM.
    #[arg(long)]
    certificate: PathBuf,
    /// Key, PEM.
    #[arg(long)]
    key: PathBuf,
    /// Port on 127.0.0.1.
    #[arg(long)]
    port: u16,
}

#[cfg(test)]
impl Options {
    /// The command line a test would write.
    pub(crate) fn new(identity: &Identity, port: u16) -> Self {
        let (certificate, key) = (identity.certificate_file.clone(), identity.key_file.clone());
        Self {
            certificate,
            key,
            port,
        }
    }
}

/// Serves until killed.
pub(crate) fn run(options: &Options) -> Result<(), Fault> {
    let identity = Identity::read_pair(&options.certificate, &options.key)?;
    let config = tls::gatepost_server(&identity)?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_io()
        .build()
        .map_err(Fault::at("building the bare loop's runtime"))?;
    runtime
        .block_on(accept(options.port, config))
        .map_err(Fault::at("the bare loop"))
}

async fn accept(port: u16, config: Arc<ServerConfig>) -> io::Result<()> {
    let listener = TcpListener::bind(SocketAddr::from((Ipv4Addr::LOCALHOST, port))).await?;
    loop {
        let (tcp, _) = listener.accept().await?;
        let config = Arc::clone(&config);
        // A session that fails ends alone; the client notices.
        tokio::spawn(async move { session(tcp, config).await.ok() });
    }
}

async fn session(mut tcp: TcpStream, config: Arc<ServerConfig>) -> io::Result<()> {
    tcp.set_nodelay(true)?;
    write(&tcp, b"220 mail.gatepost.test ESMTP\r\n").await?;
    expect(&mut tcp, b"EHLO ").await?;
    write(
        &tcp,
        b"250-mail.gatepost.test\r\n250-PIPELINING\r\n250 STARTTLS\r\n",
    )
    .await?;
    expect(&mut tcp, b"STARTTLS").await?;
    write(&tcp, b"220 2.0.0 go ahead\r\n").await?;
    let tls = ServerConnection::new(config).map_err(io::Error::other)?;
    let mut tls = Tls { tcp, tls };
    tls.expect(b"EHLO ").await?;
    tls.answer(b"250-mail.gatepost.test\r\n250 PIPELINING\r\n")
        .await?;
    tls.expect(b"QUIT").await?;
    io::Write::write_all(&mut tls.tls.writer(), b"221 2.0.0 bye\r\n")?;
    tls.tls.send_close_notify();
    tls.flush().await
}

/// Reads one line in clear that begins with `word`.
async fn expect(tcp: &mut TcpStream, word: &[u8]) -> io::Result<()> {
    let mut buffer = [0; BUFFER];
    let mut held = 0;
    loop {
        held += read(tcp, &mut buffer[held..]).await?;
        if buffer[..held].ends_with(b"\n") {
            return check(&buffer[..held], word);
        }
    }
}

fn check(line: &[u8], word: &[u8]) -> io::Result<()> {
    if line.starts_with(word) {
        Ok(())
    } else {
        Err(io::ErrorKind::InvalidData.into())
    }
}

/// `AsyncRead` and not `try_read`: after a short read tokio knows that the socket is empty and spares one system call.
async fn read(tcp: &mut TcpStream, into: &mut [u8]) -> io::Result<usize> {
    match tcp.read(into).await? {
        0 => Err(io::ErrorKind::UnexpectedEof.into()),
        length => Ok(length),
    }
}

async fn write(tcp: &TcpStream, mut bytes: &[u8]) -> io::Result<()> {
    while !bytes.is_empty() {
        match tcp.try_write(bytes) {
            Ok(sent) => bytes = &bytes[sent..],
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => tcp.writable().await?,
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

struct Tls {
    tcp: TcpStream,
    tls: ServerConnection,
}

impl Tls {
    /// Reads until one line that begins with `word` has come, handshaking on the way.
    async fn expect(&mut self, word: &[u8]) -> io::Result<()> {
        let mut buffer = [0; BUFFER];
        loop {
            let held = read(&mut self.tcp, &mut buffer).await?;
            let mut rest = &buffer[..held];
            while !rest.is_empty() {
                self.tls.read_tls(&mut rest)?;
                let state = self.tls.process_new_packets().map_err(io::Error::other)?;
                if state.plaintext_bytes_to_read() > 0 {
                    let mut line = [0; BUFFER];
                    let length = io::Read::read(&mut self.tls.reader(), &mut line)?;
                    return check(&line[..length], word);
                }
            }
            // Once the handshake is over the ticket waits for the first answer and leaves in the same write.
            if self.tls.is_handshaking() {
                self.flush().await?;
            }
        }
    }

    async fn answer(&mut self, line: &[u8]) -> io::Result<()> {
        io::Write::write_all(&mut self.tls.writer(), line)?;
        self.flush().await
    }

    /// Sends everything the engine has ready in one write.
    async fn flush(&mut self) -> io::Result<()> {
        let mut out = Vec::new();
        while self.tls.wants_write() {
            self.tls.write_tls(&mut out)?;
        }
        write(&self.tcp, &out).await
    }
}
