//! Reaching a server: names to addresses, addresses to a connection.
//!
//! 1. What the user said about a name comes first ([`Override`]), then the addresses the caller knows already (from a validating
//!    resolver), then the resolver. With a SOCKS proxy, a name is not resolved here at all.
//! 2. Addresses are tried by turns of their families, IPv6 first, each 250 ms after the one before or when that has failed; the
//!    first connection wins (RFC 8305).
//! 3. Through the proxy, if there is one (RFC 1928), and then the PROXY header, if one is wanted.
//!
//! No more round trips than these need: one for TCP; with a proxy two more, three when it wants a password.

mod race;
mod resolve;
mod socks;

use std::fmt;
use std::io::ErrorKind;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use gatepost_wire::client::{Blame, ExitClass};
use gatepost_wire::proxy::{Header, encode_v1, encode_v2};
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;
use tokio::time::timeout;

pub use race::order;
pub use resolve::{Resolve, ResolveFailure, Resolving, SystemResolver};
pub use socks::{Socks, SocksFailure};

/// Where to.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Target {
    /// A name, or an address as text (IPv6 without brackets).
    pub host: String,
    /// The port.
    pub port: u16,
    /// Addresses that are known already, in the order to try them; none: the host is resolved.
    pub addresses: Vec<IpAddr>,
}

impl Target {
    /// A host and port.
    pub fn new(host: impl Into<String>, port: u16) -> Self {
        Self {
            host: host.into(),
            port,
            addresses: Vec::new(),
        }
    }
}

impl From<SocketAddr> for Target {
    fn from(address: SocketAddr) -> Self {
        Self::new(address.ip().to_string(), address.port())
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.host.contains(':') {
            write!(f, "[{}]:{}", self.host, self.port)
        } else {
            write!(f, "{}:{}", self.host, self.port)
        }
    }
}

/// What the user says about a name: these addresses and no others.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Override {
    /// The name, compared without regard to case.
    pub host: String,
    /// The port it is for; none: every port.
    pub port: Option<u16>,
    /// Its addresses.
    pub addresses: Vec<IpAddr>,
}

/// A PROXY header to be sent first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Announce {
    /// Whether it is of version 1, a line of text.
    pub text: bool,
    /// For whom. None: for us, with the connection's own endpoints.
    pub header: Option<Header>,
}

/// How connections are made.
#[derive(Clone)]
pub struct Dialer {
    /// Names to addresses.
    pub resolver: Arc<dyn Resolve>,
    /// What the user says about names.
    pub overrides: Vec<Override>,
    /// Addresses of ours to connect from, at most one of each family; none: the system chooses. A family without one is not
    /// used.
    pub sources: Vec<IpAddr>,
    /// A proxy to go through.
    pub socks: Option<Socks>,
    /// A PROXY header to be sent first.
    pub announce: Option<Announce>,
    /// For each address to answer, and for the proxy to do its part.
    pub limit: Duration,
    /// How long after one address the next is tried.
    pub stagger: Duration,
}

impl Default for Dialer {
    /// The system's resolver, 30 s, 250 ms, and nothing else.
    fn default() -> Self {
        Self {
            resolver: Arc::new(SystemResolver),
            overrides: Vec::new(),
            sources: Vec::new(),
            socks: None,
            announce: None,
            limit: Duration::from_secs(30),
            stagger: Duration::from_millis(250),
        }
    }
}

impl fmt::Debug for Dialer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Dialer")
            .field("overrides", &self.overrides)
            .field("sources", &self.sources)
            .field("socks", &self.socks)
            .field("announce", &self.announce)
            .finish_non_exhaustive()
    }
}

/// A connection.
#[derive(Debug)]
pub struct Dialed {
    /// It.
    pub stream: TcpStream,
    /// Whom it goes to: the server, or the proxy.
    pub address: SocketAddr,
    /// The server, as it is remembered: its address and port, or behind a proxy its name.
    pub server: String,
}

impl Dialer {
    /// Connects.
    pub async fn dial(&self, target: &Target) -> Result<Dialed, DialFailure> {
        let known = self.known(target);
        if let Some(socks) = &self.socks {
            return self
                .dial_through(socks, target, known.first().copied())
                .await;
        }
        let addresses = if known.is_empty() {
            self.resolve(&target.host).await?
        } else {
            known
        };
        let (address, stream) = self.connect(&addresses, target.port).await?;
        self.announce(stream, address, address.to_string()).await
    }

    /// Addresses that need no resolver.
    fn known(&self, target: &Target) -> Vec<IpAddr> {
        let said = self.overrides.iter().find(|it| {
            it.host.eq_ignore_ascii_case(&target.host)
                && it.port.is_none_or(|port| port == target.port)
        });
        match (said, target.host.parse()) {
            (Some(said), _) => said.addresses.clone(),
            (None, _) if !target.addresses.is_empty() => target.addresses.clone(),
            (None, Ok(address)) => vec![address],
            (None, Err(_)) => Vec::new(),
        }
    }

    async fn resolve(&self, host: &str) -> Result<Vec<IpAddr>, DialFailure> {
        let resolving = timeout(self.limit, self.resolver.resolve(host)).await;
        let resolved = resolving.unwrap_or(Err(ResolveFailure::Temporary));
        let addresses = resolved.map_err(|failure| match failure {
            ResolveFailure::NoName => DialFailure::NoName(host.to_owned()),
            ResolveFailure::Temporary => DialFailure::NoAnswer(host.to_owned()),
        })?;
        if addresses.is_empty() {
            return Err(DialFailure::NoName(host.to_owned()));
        }
        Ok(addresses)
    }

    async fn connect(
        &self,
        addresses: &[IpAddr],
        port: u16,
    ) -> Result<(SocketAddr, TcpStream), DialFailure> {
        let usable = |address: &IpAddr| {
            self.sources.is_empty() || race::source_for(*address, &self.sources).is_some()
        };
        let usable: Vec<IpAddr> = addresses.iter().copied().filter(usable).collect();
        if usable.is_empty() {
            return Err(DialFailure::NoSource);
        }
        let addresses: Vec<SocketAddr> = order(&usable)
            .into_iter()
            .map(|address| SocketAddr::new(address, port))
            .collect();
        race::connect(&addresses, &self.sources, self.limit, self.stagger)
            .await
            .map_err(DialFailure::Unconnected)
    }

    async fn dial_through(
        &self,
        socks: &Socks,
        target: &Target,
        known: Option<IpAddr>,
    ) -> Result<Dialed, DialFailure> {
        let proxy = match socks.host.parse() {
            Ok(address) => vec![address],
            Err(_) => self.resolve(&socks.host).await?,
        };
        let (address, mut stream) = self.connect(&proxy, socks.port).await?;
        let destination = (known, target.host.as_str(), target.port);
        let asked = timeout(self.limit, socks.ask(&mut stream, destination)).await;
        asked
            .unwrap_or(Err(SocksFailure::Timeout))
            .map_err(DialFailure::Socks)?;
        let server = format!("{target} through {address}");
        self.announce(stream, address, server).await
    }

    /// The header is the first that is said; it fits any send buffer.
    async fn announce(
        &self,
        mut stream: TcpStream,
        address: SocketAddr,
        server: String,
    ) -> Result<Dialed, DialFailure> {
        let broken = |_| DialFailure::Unconnected(vec![(address, ErrorKind::ConnectionReset)]);
        if let Some(announce) = &self.announce {
            let own = stream.local_addr().map_err(broken)?;
            let header = announce.header.clone();
            let header = header.unwrap_or_else(|| Header::of(own, address));
            let bytes = if announce.text {
                encode_v1(&header)
            } else {
                encode_v2(&header).map_err(|_| DialFailure::Header)?
            };
            stream.write_all(&bytes).await.map_err(broken)?;
        }
        Ok(Dialed {
            stream,
            address,
            server,
        })
    }
}

/// Why there is no connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DialFailure {
    /// The name has no address.
    NoName(String),
    /// The resolver did not answer, or could not.
    NoAnswer(String),
    /// None of our addresses is of a family the server has.
    NoSource,
    /// No address of the server took the connection.
    Unconnected(Vec<(SocketAddr, ErrorKind)>),
    /// The proxy did not do its part.
    Socks(SocksFailure),
    /// The PROXY header would be too long.
    Header,
}

impl DialFailure {
    /// The cause that says most: one that answered tells more than one that is silent.
    fn cause(tried: &[(SocketAddr, ErrorKind)]) -> ErrorKind {
        let has = |kind: ErrorKind| tried.iter().any(|(_, it)| *it == kind);
        [
            ErrorKind::ConnectionRefused,
            ErrorKind::AddrNotAvailable,
            ErrorKind::TimedOut,
        ]
        .into_iter()
        .find(|kind| has(*kind))
        .or(tried.last().map(|(_, kind)| *kind))
        .unwrap_or(ErrorKind::Other)
    }

    /// A stable label.
    pub fn label(&self) -> &'static str {
        match self {
            Self::NoName(_) => "E-NO-NAME",
            Self::NoAnswer(_) => "E-DNS",
            Self::NoSource => "E-NO-SOURCE",
            Self::Unconnected(tried) => match Self::cause(tried) {
                ErrorKind::ConnectionRefused => "E-REFUSED",
                ErrorKind::TimedOut => "E-CONNECT-TIMEOUT",
                ErrorKind::AddrNotAvailable => "E-NO-SOURCE",
                _ => "E-UNREACHABLE",
            },
            Self::Socks(it) => it.label(),
            Self::Header => "E-PROXY-HEADER",
        }
    }

    /// Who is at fault.
    pub fn blame(&self) -> Blame {
        match self {
            Self::NoName(_) | Self::NoAnswer(_) => Blame::Network,
            Self::Unconnected(tried) => match Self::cause(tried) {
                ErrorKind::AddrNotAvailable => Blame::Misuse,
                _ => Blame::Network,
            },
            Self::Socks(it) => it.blame(),
            Self::NoSource | Self::Header => Blame::Misuse,
        }
    }

    /// The class of the exit code: nothing is known of the server.
    pub fn exit_class(&self) -> ExitClass {
        match self.blame() {
            Blame::Misuse => ExitClass::Usage,
            _ => ExitClass::Undecided,
        }
    }

    /// What to do next.
    pub fn advice(&self) -> &'static str {
        match self.label() {
            "E-NO-NAME" => "check the name",
            "E-REFUSED" => "check the port: nothing listens there, or a firewall refuses",
            "E-NO-SOURCE" => "give a source address this machine has, of the server's family",
            "E-PROXY-HEADER" => "give less information",
            "E-SOCKS-AUTH" => "check the name and password for the proxy",
            _ => "check the network, and try again later",
        }
    }
}

impl fmt::Display for DialFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoName(host) => write!(f, "{host:?} has no address"),
            Self::NoAnswer(host) => write!(f, "nobody could tell the address of {host:?}"),
            Self::NoSource => f.write_str("no source address fits the server's addresses"),
            Self::Unconnected(tried) => {
                f.write_str("no connection")?;
                for (place, (address, kind)) in tried.iter().enumerate() {
                    let sign = if place == 0 { ": " } else { ", " };
                    write!(f, "{sign}{address} ({kind})")?;
                }
                Ok(())
            }
            Self::Socks(it) => it.fmt(f),
            Self::Header => f.write_str("the PROXY header is too long"),
        }
    }
}

impl std::error::Error for DialFailure {}
