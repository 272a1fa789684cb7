//! Trying addresses: the first connection wins (RFC 8305 5).

use std::io::ErrorKind;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use tokio::net::{TcpSocket, TcpStream};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until, timeout};

/// What was tried, and how each ended.
type Tried = Vec<(SocketAddr, ErrorKind)>;

/// The order to try addresses in: by turns of their families, IPv6 first, each family in the order given (RFC 8305 4).
pub fn order(addresses: &[IpAddr]) -> Vec<IpAddr> {
    let (mut sixes, mut fours): (Vec<_>, Vec<_>) =
        addresses.iter().copied().partition(IpAddr::is_ipv6);
    sixes.dedup();
    fours.dedup();
    let longest = sixes.len().max(fours.len());
    let by_turns = (0..longest).flat_map(|turn| [sixes.get(turn), fours.get(turn)]);
    by_turns.flatten().copied().collect()
}

/// The address of ours to connect to this one from.
pub(super) fn source_for(address: IpAddr, sources: &[IpAddr]) -> Option<IpAddr> {
    let same_family = |it: &&IpAddr| it.is_ipv4() == address.is_ipv4();
    sources.iter().find(same_family).copied()
}

/// Connects to whichever address answers first. The others are dropped.
pub(super) async fn connect(
    addresses: &[SocketAddr],
    sources: &[IpAddr],
    limit: Duration,
    stagger: Duration,
) -> Result<(SocketAddr, TcpStream), Tried> {
    let mut waiting = addresses.iter().copied();
    let mut running = JoinSet::new();
    let mut tried = Tried::new();
    let mut next_at = Instant::now();
    loop {
        // Each turn of the loop is a reason to try the next.
        if let Some(address) = waiting.next() {
            running.spawn(attempt(address, source_for(address.ip(), sources), limit));
            next_at = Instant::now() + stagger;
        }
        let more = waiting.len() > 0;
        tokio::select! {
            ended = running.join_next() => match ended {
                None => return Err(tried),
                Some(Ok((address, Ok(stream)))) => return Ok((address, stream)),
                Some(Ok((address, Err(kind)))) => tried.push((address, kind)),
                // An attempt that panicked: its address is unknown by now.
                Some(Err(_)) => {
                    tried.push((SocketAddr::new(Ipv4Addr::UNSPECIFIED.into(), 0), ErrorKind::Other));
                }
            },
            () = sleep_until(next_at), if more => {}
        }
    }
}

async fn attempt(
    address: SocketAddr,
    source: Option<IpAddr>,
    limit: Duration,
) -> (SocketAddr, Result<TcpStream, ErrorKind>) {
    let connecting = async {
        let socket = if address.is_ipv4() {
            TcpSocket::new_v4()
        } else {
            TcpSocket::new_v6()
        }?;
        if let Some(source) = source {
            socket.bind(SocketAddr::new(source, 0))?;
        }
        socket.connect(address).await
    };
    let connected = timeout(limit, connecting).await;
    let result = connected.map_err(|_| ErrorKind::TimedOut);
    (
        address,
        result.and_then(|it| it.map_err(|error| error.kind())),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn addresses(texts: &[&str]) -> Vec<IpAddr> {
        texts.iter().map(|it| it.parse().unwrap()).collect()
    }

    #[test]
    fn families_take_turns() {
        let given = addresses(&["192.0.2.1", "192.0.2.2", "192.0.2.3", "2001:db8::1"]);
        let expected = addresses(&["2001:db8::1", "192.0.2.1", "192.0.2.2", "192.0.2.3"]);
        assert_eq!(order(&given), expected);
        let given = addresses(&["2001:db8::1", "2001:db8::2", "192.0.2.1"]);
        let expected = addresses(&["2001:db8::1", "192.0.2.1", "2001:db8::2"]);
        assert_eq!(order(&given), expected);
        assert!(order(&[]).is_empty());
    }
}
