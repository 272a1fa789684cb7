//! Listening sockets, the accept loop and its limits.

use std::net::SocketAddr;

use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

/// How many connections are allowed.
#[derive(Debug, Clone, Copy)]
pub struct DoorLimits {
    /// In all.
    pub total: usize,
    /// Per address: an IPv4 address or an IPv6 /64.
    pub per_address: usize,
}

/// The door all listeners share: counts connections.
#[derive(Debug)]
pub struct Door {
    _limits: DoorLimits,
}

/// A place taken inside; given back when dropped. Keep it as long as the connection.
#[derive(Debug)]
pub struct Place {
    _todo: (),
}

/// Why a connection was refused at the door.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Refused {
    /// Too many in all.
    Total,
    /// Too many from this address.
    PerAddress,
}

/// What is said to a connection that is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Farewell {
    /// `421 4.7.0`.
    Smtp,
    /// `* BYE`.
    Imap,
    /// `-ERR [SYS/TEMP]`.
    Pop3,
    /// Nothing: the port is for implicit TLS.
    Silent,
}

impl Door {
    /// A door with these limits.
    pub fn new(limits: DoorLimits) -> std::sync::Arc<Self> {
        std::sync::Arc::new(Self { _limits: limits })
    }
}

/// Binds an address: `IPV6_V6ONLY`, `SO_REUSEADDR`, backlog 1024.
pub fn bind(_address: SocketAddr) -> std::io::Result<TcpListener> {
    todo!()
}

/// Sockets handed over by the service manager (socket activation), in its order.
pub fn inherited() -> std::io::Result<Vec<TcpListener>> {
    todo!()
}

/// Accepts until `shutdown` becomes true. `serve` is called for each connection that got a place and must not block: it spawns.
/// `refused` is called for each that did not.
pub async fn accept<S, R>(
    _listener: TcpListener,
    _door: std::sync::Arc<Door>,
    _farewell: Farewell,
    _shutdown: watch::Receiver<bool>,
    _serve: S,
    _refused: R,
) where
    S: FnMut(TcpStream, SocketAddr, Place),
    R: FnMut(SocketAddr, Refused),
{
    todo!()
}
