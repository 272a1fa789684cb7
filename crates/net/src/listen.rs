//! Listening sockets, the accept loop and its limits.
//!
//! A connection is counted before anything is read from it: in all, and per address, where all of an IPv6 /64 is one address,
//! for that is what one customer gets. One over a limit is told so in a line where the protocol begins in clear, and closed at
//! once where it begins with TLS. Nothing waits for it: the line goes into the empty buffer of a fresh socket, or is lost.
//!
//! When the process or the machine has no file descriptors left, the loop rests for a moment and goes on: sessions that end
//! give some back. Waiting connections stay in the kernel's queue.

use std::collections::HashMap;
use std::io::{self, ErrorKind};
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::network::Network;
use socket2::{Domain, Protocol, SockRef, Socket, Type};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::time::sleep;

/// Connections the kernel keeps for us while we are busy.
const BACKLOG: i32 = 1024;
/// First and longest rest when there are no file descriptors.
const REST: Duration = Duration::from_millis(20);
const LONGEST_REST: Duration = Duration::from_secs(1);

/// How many connections are allowed.
#[derive(Debug, Clone)]
pub struct DoorLimits {
    /// In all.
    pub total: usize,
    /// Per address: an IPv4 address or an IPv6 /64.
    pub per_address: usize,
    /// Networks whose clients are not counted per address, only in all.
    pub exempt: Vec<Network>,
}

/// The door all listeners share: counts connections.
#[derive(Debug)]
pub struct Door {
    limits: DoorLimits,
    inside: Mutex<Inside>,
}

#[derive(Debug, Default)]
struct Inside {
    total: usize,
    by_address: HashMap<Visitor, usize>,
}

/// Who counts as one: an IPv4 address, or the first 64 bits of an IPv6 address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Visitor {
    V4([u8; 4]),
    V6([u16; 4]),
}

/// A place taken inside; given back when dropped. Keep it as long as the connection.
#[derive(Debug)]
#[must_use = "dropping it gives the place back"]
pub struct Place {
    door: Arc<Door>,
    visitor: Visitor,
}

/// Why a connection was not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Refused {
    /// Too many in all.
    Total,
    /// Too many from this address.
    PerAddress,
    /// No file descriptors are left. The address given with it is the listener's: nobody was accepted.
    NoFiles,
}

impl Refused {
    /// A stable word for logs and metrics.
    pub const fn label(self) -> &'static str {
        match self {
            Self::Total => "too_many_connections",
            Self::PerAddress => "too_many_from_address",
            Self::NoFiles => "no_files",
        }
    }
}

/// What is said to a connection that is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Farewell {
    /// `421 4.7.0` (RFC 5321 3.8).
    Smtp,
    /// `* BYE` (RFC 9051 7.1.5).
    Imap,
    /// `-ERR [SYS/TEMP]` (RFC 3206).
    Pop3,
    /// Nothing: the port is for implicit TLS.
    Silent,
}

impl Farewell {
    const fn line(self) -> &'static [u8] {
        match self {
            Self::Smtp => b"421 4.7.0 Too many connections, try again later\r\n",
            Self::Imap => b"* BYE [UNAVAILABLE] Too many connections, try again later\r\n",
            Self::Pop3 => b"-ERR [SYS/TEMP] Too many connections, try again later\r\n",
            Self::Silent => b"",
        }
    }
}

impl Door {
    /// A door with these limits.
    pub fn new(limits: DoorLimits) -> Arc<Self> {
        Arc::new(Self {
            limits,
            inside: Mutex::default(),
        })
    }

    /// A place for a connection from this address, or why there is none.
    pub fn enter(self: &Arc<Self>, address: IpAddr) -> Result<Place, Refused> {
        let mut inside = self.inside();
        // The narrower limit first: one who is over it learns that it is about them.
        self.limits.admit(&inside, address)?;
        if inside.total >= self.limits.total {
            return Err(Refused::Total);
        }
        let visitor = Visitor::from(address);
        inside.total += 1;
        inside.came(visitor);
        Ok(Place {
            door: Arc::clone(self),
            visitor,
        })
    }

    /// How many are inside.
    pub fn occupancy(&self) -> usize {
        self.inside().total
    }

    fn inside(&self) -> MutexGuard<'_, Inside> {
        self.inside.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl DoorLimits {
    /// Whether one more may come from this address.
    fn admit(&self, inside: &Inside, address: IpAddr) -> Result<(), Refused> {
        let from_there = inside.by_address.get(&Visitor::from(address)).copied();
        let exempt = || self.exempt.iter().any(|it| it.contains(address));
        if from_there.unwrap_or(0) >= self.per_address && !exempt() {
            return Err(Refused::PerAddress);
        }
        Ok(())
    }
}

impl Inside {
    fn came(&mut self, visitor: Visitor) {
        *self.by_address.entry(visitor).or_default() += 1;
    }

    fn went(&mut self, visitor: Visitor) {
        if let Some(count) = self.by_address.get_mut(&visitor) {
            *count -= 1;
            if *count == 0 {
                self.by_address.remove(&visitor);
            }
        }
    }
}

impl Place {
    /// Gives the place to somebody else: whom a proxy, or a server in front, connects for. There are no more inside than before.
    ///
    /// # Errors
    /// That one has as many as one may have; the place stays whose it was.
    pub fn give_to(&mut self, address: IpAddr) -> Result<(), Refused> {
        let visitor = Visitor::from(address);
        if visitor != self.visitor {
            let mut inside = self.door.inside();
            self.door.limits.admit(&inside, address)?;
            inside.went(self.visitor);
            inside.came(visitor);
            self.visitor = visitor;
        }
        Ok(())
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut inside = self.door.inside();
        inside.total = inside.total.saturating_sub(1);
        inside.went(self.visitor);
    }
}

impl From<IpAddr> for Visitor {
    fn from(address: IpAddr) -> Self {
        match address.to_canonical() {
            IpAddr::V4(address) => Self::V4(address.octets()),
            IpAddr::V6(address) => {
                let [a, b, c, d, ..] = address.segments();
                Self::V6([a, b, c, d])
            }
        }
    }
}

/// Binds an address: `IPV6_V6ONLY` (each family has its own socket, so an IPv4 address never appears in IPv6 clothes),
/// `SO_REUSEADDR` (a restart does not wait for old connections). To be called inside a tokio runtime.
pub fn bind(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = Socket::new(
        Domain::for_address(address),
        Type::STREAM,
        Some(Protocol::TCP),
    )?;
    if address.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    TcpListener::from_std(socket.into())
}

/// Sockets handed over by the service manager (`sd_listen_fds(3)`), in its order. None when there is no socket activation. To
/// be called once, inside a tokio runtime.
pub fn inherited() -> io::Result<Vec<TcpListener>> {
    let mut handed_over = listenfd::ListenFd::from_env();
    let mut listeners = Vec::new();
    for index in 0..handed_over.len() {
        if let Some(listener) = handed_over.take_tcp_listener(index)? {
            listener.set_nonblocking(true)?;
            listeners.push(TcpListener::from_std(listener)?);
        }
    }
    Ok(listeners)
}

/// Accepts until `shutdown` becomes true. `serve` is called for each connection that got a place and must not block: it spawns.
/// `refused` is called for each that did not.
pub async fn accept<S, R>(
    listener: TcpListener,
    door: Arc<Door>,
    farewell: Farewell,
    mut shutdown: watch::Receiver<bool>,
    mut serve: S,
    mut refused: R,
) where
    S: FnMut(TcpStream, SocketAddr, Place),
    R: FnMut(SocketAddr, Refused),
{
    let mut rest = REST;
    loop {
        let accepted = tokio::select! {
            biased;
            // The end, also when nobody is left who could say so.
            _ = shutdown.wait_for(|stop| *stop) => return,
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok((stream, peer)) => {
                rest = REST;
                match door.enter(peer.ip()) {
                    Ok(place) => serve(stream, peer, place),
                    Err(reason) => {
                        turn_away(&stream, farewell);
                        refused(peer, reason);
                    }
                }
            }
            // The client was gone before we came to it.
            Err(error) if is_about_one_connection(&error) => {}
            Err(_) => {
                if let Ok(address) = listener.local_addr() {
                    refused(address, Refused::NoFiles);
                }
                sleep(rest).await;
                rest = (rest * 2).min(LONGEST_REST);
            }
        }
    }
}

fn is_about_one_connection(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        ErrorKind::ConnectionAborted
            | ErrorKind::ConnectionReset
            | ErrorKind::ConnectionRefused
            | ErrorKind::Interrupted
    )
}

fn turn_away(stream: &TcpStream, farewell: Farewell) {
    let socket = SockRef::from(stream);
    // Whoever is refused has no claim on our time: what does not fit, or fails, is lost.
    if farewell != Farewell::Silent {
        let _ = socket.send(farewell.line());
    }
    let _ = socket.shutdown(std::net::Shutdown::Write);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn door(total: usize, per_address: usize) -> Arc<Door> {
        Door::new(DoorLimits {
            total,
            per_address,
            exempt: vec![Network::parse("198.51.100.0/24").unwrap()],
        })
    }

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn one_address_cannot_take_all_places() {
        let door = door(10, 2);
        let places = [
            door.enter(ip("192.0.2.1")).unwrap(),
            door.enter(ip("192.0.2.1")).unwrap(),
        ];
        assert_eq!(
            door.enter(ip("192.0.2.1")).unwrap_err(),
            Refused::PerAddress
        );
        assert!(door.enter(ip("192.0.2.2")).is_ok());
        drop(places);
        assert!(door.enter(ip("192.0.2.1")).is_ok());
    }

    #[test]
    fn a_whole_ipv6_customer_is_one_address() {
        let door = door(10, 1);
        let _place = door.enter(ip("2001:db8:1:2::1")).unwrap();
        assert_eq!(
            door.enter(ip("2001:db8:1:2:ffff::9")).unwrap_err(),
            Refused::PerAddress
        );
        assert!(door.enter(ip("2001:db8:1:3::1")).is_ok());
        let _mapped = door.enter(ip("::ffff:192.0.2.1")).unwrap();
        assert_eq!(
            door.enter(ip("192.0.2.1")).unwrap_err(),
            Refused::PerAddress
        );
    }

    #[test]
    fn a_listed_network_counts_only_in_all() {
        let door = door(3, 1);
        let _places = [1, 2, 3].map(|_| door.enter(ip("198.51.100.7")).unwrap());
        assert_eq!(door.enter(ip("198.51.100.7")).unwrap_err(), Refused::Total);
    }

    // [PROXY-01] [XCL-02] whoever connects for others has their places, and there are no more of them.
    #[test]
    fn a_place_is_given_to_whom_it_is_for() {
        let door = door(3, 1);
        let mut places = [1, 2, 3].map(|_| door.enter(ip("198.51.100.7")).unwrap());
        let [one, two, three] = &mut places;
        // With every place taken, too.
        assert_eq!(one.give_to(ip("192.0.2.1")), Ok(()));
        assert_eq!(one.give_to(ip("192.0.2.1")), Ok(()));
        assert_eq!(two.give_to(ip("192.0.2.1")), Err(Refused::PerAddress));
        assert_eq!(two.give_to(ip("192.0.2.2")), Ok(()));
        assert_eq!(three.give_to(ip("192.0.2.2")), Err(Refused::PerAddress));
        assert_eq!(one.give_to(ip("198.51.100.7")), Ok(()));
        assert_eq!(three.give_to(ip("192.0.2.1")), Ok(()));
        assert_eq!(door.occupancy(), 3);
        drop(places);
        assert_eq!(door.occupancy(), 0);
        assert!(door.inside().by_address.is_empty());
    }

    #[test]
    fn places_come_back_and_nothing_is_remembered() {
        let door = door(2, 2);
        let one = door.enter(ip("192.0.2.1")).unwrap();
        let two = door.enter(ip("192.0.2.2")).unwrap();
        assert_eq!(door.enter(ip("192.0.2.3")).unwrap_err(), Refused::Total);
        drop((one, two));
        assert_eq!(door.occupancy(), 0);
        assert!(door.inside().by_address.is_empty());
    }
}
