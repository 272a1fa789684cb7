//! The way to a recursive resolver, for [`gatepost_trust::dns`]: UDP, and TCP where a reply does not fit.
//!
//! - Every question has a random id, and a socket of its own, whose port the system draws: both must be guessed to forge a reply.
//!   The socket is connected, so replies from elsewhere never arrive. What arrives and does not answer the question is thrown away
//!   and waited past.
//! - Resolvers are asked in turn, each for some seconds, all of them twice. One that says SERVFAIL or REFUSED is asked no more if
//!   another is there to ask; its word stands if none says better.
//! - So many questions are under way at once as the resolvers answer (`window`): one that is asked more than it can hold drops
//!   questions, and silence must not be its asker's fault.
//! - An answer counts as local only if it came from a loopback address.
//!
//! ```
//! use std::time::SystemTime;
//!
//! use gatepost_net::dns::Network;
//! use gatepost_trust::dns::{Anchors, Lookup, NameError, Resolver, Status, Validation};
//!
//! # async fn example() -> Result<(), NameError> {
//! let resolver = Resolver::new(Network::system(), Validation::Own(Anchors::root()), 10_000);
//! let answer = resolver.mx(&"example.org".parse()?, SystemTime::now()).await;
//! match answer.status {
//!     Status::Secure => println!("signed: {:?}", answer.records),
//!     Status::Insecure => println!("not signed: {:?}", answer.records),
//!     broken => println!("not believed: {broken}"),
//! }
//! # Ok(())
//! # }
//! ```

mod configuration;
mod names;
mod window;

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use gatepost_trust::dns::{Exchanged, Query, Transport, Unanswered, is_truncated};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, UdpSocket};
use tokio::time::timeout;

pub use configuration::Resolvers;
pub use names::Names;
use window::{WIDEST, Window};

/// How long one resolver has, first and second time.
const PATIENCE: [Duration; 2] = [Duration::from_secs(2), Duration::from_secs(4)];
/// How long a reply over TCP may take.
const TCP_PATIENCE: Duration = Duration::from_secs(5);
/// The most forged or late datagrams looked at for one question.
const MAX_STRAYS: usize = 64;
/// How long to wait when the system has no socket to give.
const PAUSE: Duration = Duration::from_millis(50);

/// Recursive resolvers, asked over the network. Clones share what is known of how much the resolvers can hold.
#[derive(Debug, Clone)]
pub struct Network {
    resolvers: Vec<SocketAddr>,
    patience: [Duration; 2],
    window: Arc<Window>,
}

impl Network {
    /// Asks these resolvers, in this order.
    pub fn new(resolvers: Vec<SocketAddr>) -> Self {
        Self {
            resolvers,
            patience: PATIENCE,
            window: Arc::new(Window::new(WIDEST)),
        }
    }

    /// Waits so long for each resolver, the first and the second time.
    #[must_use]
    pub fn with_patience(mut self, patience: [Duration; 2]) -> Self {
        self.patience = patience;
        self
    }

    /// Asks the resolvers the system is configured with.
    pub fn system() -> Self {
        Self::new(Resolvers::system().addresses)
    }

    async fn ask(
        &self,
        resolver: SocketAddr,
        query: &Query,
        patience: Duration,
    ) -> Option<Vec<u8>> {
        let place = self.window.enter().await?;
        let Ok(reply) = timeout(patience, over_udp(resolver, query)).await else {
            place.lost();
            return None;
        };
        let reply = reply.ok()?;
        if !is_truncated(&reply) {
            place.answered();
            return Some(reply);
        }
        let reply = timeout(TCP_PATIENCE, over_tcp(resolver, query)).await;
        place.answered();
        reply.ok()?.ok()
    }
}

impl Transport for Network {
    async fn exchange(&self, query: &Query) -> Result<Exchanged, Unanswered> {
        let mut poor = None;
        for patience in self.patience {
            for resolver in &self.resolvers {
                let Some(reply) = self.ask(*resolver, query, patience).await else {
                    continue;
                };
                let good = is_good(&reply);
                let exchanged = Exchanged {
                    reply,
                    loopback: resolver.ip().to_canonical().is_loopback(),
                };
                if good {
                    return Ok(exchanged);
                }
                poor.get_or_insert(exchanged);
            }
            if poor.is_some() {
                break;
            }
        }
        poor.ok_or(Unanswered)
    }
}

/// Whether a resolver says that there is something, or that there is not.
fn is_good(reply: &[u8]) -> bool {
    matches!(reply.get(3).map(|flags| flags & 0x0f), Some(0 | 3))
}

async fn over_udp(resolver: SocketAddr, query: &Query) -> std::io::Result<Vec<u8>> {
    let any: IpAddr = match resolver {
        SocketAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        SocketAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    };
    let socket = socket(any).await?;
    socket.connect(resolver).await?;
    let id = draw_id()?;
    socket.send(&query.encode(id)).await?;
    let mut datagram = vec![0; 4096];
    for _ in 0..MAX_STRAYS {
        let length = socket.recv(&mut datagram).await?;
        let reply = datagram.get(..length).unwrap_or_default();
        if query.is_answered_by(id, reply) {
            return Ok(reply.to_vec());
        }
    }
    Err(std::io::ErrorKind::InvalidData.into())
}

/// A socket with a port nobody can foresee. While the system has none to give, those that are under way end.
async fn socket(any: IpAddr) -> std::io::Result<UdpSocket> {
    loop {
        match UdpSocket::bind((any, 0)).await {
            Err(error) if is_used_up(&error) => tokio::time::sleep(PAUSE).await,
            done => return done,
        }
    }
}

/// Whether there are no more descriptors, buffers or ports at the moment.
fn is_used_up(error: &std::io::Error) -> bool {
    use rustix::io::Errno;
    let used_up = [
        Errno::MFILE,
        Errno::NFILE,
        Errno::NOBUFS,
        Errno::NOMEM,
        Errno::ADDRINUSE,
    ];
    Errno::from_io_error(error).is_some_and(|it| used_up.contains(&it))
}

async fn over_tcp(resolver: SocketAddr, query: &Query) -> std::io::Result<Vec<u8>> {
    let mut stream = TcpStream::connect(resolver).await?;
    let id = draw_id()?;
    let message = query.encode(id);
    let length = u16::try_from(message.len()).unwrap_or(u16::MAX);
    let mut framed = length.to_be_bytes().to_vec();
    framed.extend_from_slice(&message);
    stream.write_all(&framed).await?;
    let length = stream.read_u16().await?;
    let mut reply = vec![0; usize::from(length)];
    stream.read_exact(&mut reply).await?;
    if query.is_answered_by(id, &reply) && !is_truncated(&reply) {
        Ok(reply)
    } else {
        Err(std::io::ErrorKind::InvalidData.into())
    }
}

/// An id nobody can foresee, from the random numbers of the TLS engine. Without them no question is asked.
fn draw_id() -> std::io::Result<u16> {
    let mut octets = [0; 2];
    rustls::crypto::aws_lc_rs::default_provider()
        .secure_random
        .fill(&mut octets)
        .map_err(|_| std::io::Error::other("no random numbers"))?;
    Ok(u16::from_be_bytes(octets))
}

#[cfg(test)]
mod tests;
