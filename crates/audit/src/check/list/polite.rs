//! Manners towards those who are asked. A list names many domains, but few providers stand behind them: without manners a fast program
//! would knock at the same door hundreds of times a second, be taken for an attack, and learn nothing any more.
//!
//! A connection waits until each of these has a place: its address (so many at once), its network (a /24, for IPv6 a /48) and its provider
//! (the base domain of the host), each so many new ones a second after a short burst. Loopback is nobody's network.
//!
//! Where several machines share a list each takes its part of the rates: whoever is asked cares for the sum.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;

/// How much is allowed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Manners {
    /// Connections at once, to everybody together.
    pub connections: usize,
    /// Examinations at once at one address.
    pub per_address: usize,
    /// New connections a second in one network.
    pub network_rate: u32,
    /// New connections a second at one provider.
    pub provider_rate: u32,
    /// How many may come at once after a pause.
    pub burst: u32,
}

impl Default for Manners {
    fn default() -> Self {
        Self {
            connections: 256,
            per_address: 2,
            network_rate: 5,
            provider_rate: 20,
            burst: 10,
        }
    }
}

/// Whose turn is counted together.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Key {
    /// A /24 or a /48, by its first octets.
    Network([u8; 6]),
    /// A base domain.
    Provider(String),
}

/// Beyond so many keys those that hold nobody back are forgotten.
const MOST: usize = 1 << 12;

#[derive(Debug, Default)]
struct Turns {
    /// When the next one would come if all came evenly (the virtual schedule of a leaky bucket).
    next: HashMap<Key, Instant>,
    doors: HashMap<IpAddr, Arc<Semaphore>>,
    /// How many keys there may be before it is looked which can go: twice what was left the last time, so that looking costs little.
    most: [usize; 2],
}

/// Whether a table that has grown to this is to be looked through.
fn is_full(length: usize, most: usize) -> bool {
    length >= most.max(MOST)
}

/// Gives turns.
#[derive(Debug)]
pub struct Turnstile {
    manners: Manners,
    /// How many machines share the rates.
    machines: AtomicU32,
    all: Arc<Semaphore>,
    turns: Mutex<Turns>,
}

/// The leave to connect, until it is dropped.
#[derive(Debug)]
pub struct Turn {
    _door: OwnedSemaphorePermit,
    _all: OwnedSemaphorePermit,
}

impl Turnstile {
    /// With these manners.
    #[must_use]
    pub fn new(manners: Manners) -> Self {
        Self {
            manners,
            machines: AtomicU32::new(1),
            all: Arc::new(Semaphore::new(manners.connections.max(1))),
            turns: Mutex::default(),
        }
    }

    /// So many machines share the rates from now on.
    pub fn share(&self, machines: u32) {
        self.machines.store(machines.max(1), Ordering::Relaxed);
    }

    /// Waits for a turn for so many connections to this address of this host. None only when the turnstile is being torn down.
    pub async fn enter(&self, address: IpAddr, host: &str, connections: u32) -> Option<Turn> {
        let door = self.door(address).acquire_owned().await.ok()?;
        let wait = self.reserve(address, host, connections, Instant::now());
        if !wait.is_zero() {
            tokio::time::sleep(wait).await;
        }
        let all = Arc::clone(&self.all).acquire_owned().await.ok()?;
        Some(Turn {
            _door: door,
            _all: all,
        })
    }

    fn door(&self, address: IpAddr) -> Arc<Semaphore> {
        let mut turns = self.turns.lock().unwrap_or_else(PoisonError::into_inner);
        if is_full(turns.doors.len(), turns.most[0]) {
            // A door somebody waits at is held by more than the map.
            turns.doors.retain(|_, it| Arc::strong_count(it) > 1);
            turns.most[0] = turns.doors.len() * 2;
        }
        let places = self.manners.per_address.max(1);
        Arc::clone(
            turns
                .doors
                .entry(address)
                .or_insert_with(|| Arc::new(Semaphore::new(places))),
        )
    }

    /// Takes the next turn of the network and of the provider, and says how long it is until then.
    fn reserve(&self, address: IpAddr, host: &str, connections: u32, now: Instant) -> Duration {
        if address.is_loopback() {
            return Duration::ZERO;
        }
        let mut turns = self.turns.lock().unwrap_or_else(PoisonError::into_inner);
        if is_full(turns.next.len(), turns.most[1]) {
            turns.next.retain(|_, at| *at > now);
            turns.most[1] = turns.next.len() * 2;
        }
        let provider = base_domain(host).map(|it| (Key::Provider(it), self.manners.provider_rate));
        let keys = provider
            .into_iter()
            .chain([(Key::Network(network(address)), self.manners.network_rate)]);
        let mut wait = Duration::ZERO;
        for (key, rate) in keys {
            let machines = self.machines.load(Ordering::Relaxed);
            let gap = Duration::from_secs(1) * machines / rate.max(1);
            let at = turns.next.entry(key).or_insert(now);
            let due = (*at).max(now);
            let early = gap * (self.manners.burst / machines);
            wait = wait.max(due.saturating_duration_since(now + early));
            *at = due + gap * connections.max(1);
        }
        wait
    }
}

/// The network an address is in: a /24, or a /48.
fn network(address: IpAddr) -> [u8; 6] {
    let mut octets = [0; 6];
    match address.to_canonical() {
        IpAddr::V4(it) => {
            let [first, second, third, _] = it.octets();
            octets = [4, 0, 0, first, second, third];
        }
        IpAddr::V6(it) => octets
            .iter_mut()
            .zip(it.octets())
            .for_each(|(to, from)| *to = from),
    }
    octets
}

/// The domain of the provider a host belongs to, by a rule of thumb: two labels, three below a country's short second level such as
/// `co.uk`. None for an address or a single label.
#[must_use]
pub fn base_domain(host: &str) -> Option<String> {
    if host.parse::<IpAddr>().is_ok() {
        return None;
    }
    let host = host.trim_end_matches('.').to_ascii_lowercase();
    let labels: Vec<&str> = host.rsplit('.').collect();
    let [last, second, rest @ ..] = labels.as_slice() else {
        return None;
    };
    let short = last.len() == 2 && second.len() <= 3;
    match rest.first() {
        Some(third) if short => Some(format!("{third}.{second}.{last}")),
        _ => Some(format!("{second}.{last}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stile(network_rate: u32, provider_rate: u32) -> Turnstile {
        Turnstile::new(Manners {
            network_rate,
            provider_rate,
            burst: 2,
            ..Manners::default()
        })
    }

    fn address(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn after_a_burst_a_network_is_asked_evenly() {
        let (stile, now) = (stile(10, 1000), Instant::now());
        let waits: Vec<u128> = (1..=5)
            .map(|it| {
                stile
                    .reserve(
                        address(&format!("192.0.2.{it}")),
                        &format!("mx.{it}a.example"),
                        1,
                        now,
                    )
                    .as_millis()
            })
            .collect();
        assert_eq!(waits, [0, 0, 0, 100, 200]);
        // Another network does not wait, and this one does not when time has gone by.
        assert_eq!(
            stile.reserve(address("198.51.100.1"), "mx.x.example", 1, now),
            Duration::ZERO
        );
        assert_eq!(
            stile.reserve(
                address("192.0.2.9"),
                "mx.y.example",
                1,
                now + Duration::from_secs(5)
            ),
            Duration::ZERO
        );
    }

    #[test]
    fn machines_that_share_a_list_share_the_rates() {
        let (stile, now) = (stile(10, 1000), Instant::now());
        stile.share(2);
        let mut waits = (1..=4).map(|it| {
            let there = address(&format!("192.0.2.{it}"));
            stile.reserve(there, "mx.a.example", 1, now).as_millis()
        });
        assert_eq!(waits.next(), Some(0));
        assert_eq!(waits.collect::<Vec<_>>(), [0, 200, 400]);
    }

    #[test]
    fn a_provider_is_one_however_many_networks_it_has() {
        let (stile, now) = (stile(1000, 10), Instant::now());
        let waits: Vec<u128> = (1..=4)
            .map(|it| {
                stile
                    .reserve(
                        address(&format!("192.0.{it}.1")),
                        &format!("mx{it}.provider.example"),
                        1,
                        now,
                    )
                    .as_millis()
            })
            .collect();
        assert_eq!(waits, [0, 0, 0, 100]);
    }

    #[test]
    fn many_connections_take_many_turns() {
        let (stile, now) = (stile(10, 10), Instant::now());
        assert_eq!(
            stile.reserve(address("192.0.2.1"), "mx.a.example", 12, now),
            Duration::ZERO
        );
        assert_eq!(
            stile
                .reserve(address("192.0.2.1"), "mx.a.example", 1, now)
                .as_millis(),
            1000
        );
    }

    #[test]
    fn addresses_of_one_network_count_together() {
        assert_eq!(
            network(address("192.0.2.1")),
            network(address("192.0.2.200"))
        );
        assert_ne!(network(address("192.0.2.1")), network(address("192.0.3.1")));
        assert_eq!(
            network(address("2001:db8:1::1")),
            network(address("2001:db8:1:ffff::2"))
        );
        assert_ne!(
            network(address("2001:db8:1::1")),
            network(address("2001:db8:2::1"))
        );
        assert_eq!(
            network(address("::ffff:192.0.2.1")),
            network(address("192.0.2.1"))
        );
    }

    #[test]
    fn the_base_domain_is_the_providers() {
        for (host, base) in [
            ("mx1.mail.example.org.", Some("example.org")),
            ("a.b.co.uk", Some("b.co.uk")),
            ("aspmx.l.GOOGLE.com", Some("google.com")),
            ("localhost", None),
            ("192.0.2.1", None),
        ] {
            assert_eq!(base_domain(host).as_deref(), base, "{host}");
        }
    }

    #[tokio::test]
    async fn doors_nobody_stands_at_are_forgotten() {
        let stile = Turnstile::new(Manners::default());
        let waiting = stile.enter(address("127.1.0.1"), "a", 1).await.unwrap();
        for number in 0..3 * u32::try_from(MOST).unwrap() {
            let octets = (0x7f02_0000 + number).to_be_bytes();
            drop(stile.enter(IpAddr::from(octets), "a", 1).await.unwrap());
        }
        let turns = stile.turns.lock().unwrap();
        assert!(turns.doors.len() <= MOST, "{}", turns.doors.len());
        assert!(turns.doors.contains_key(&address("127.1.0.1")));
        drop(waiting);
    }

    #[tokio::test]
    async fn one_address_has_so_many_places() {
        let stile = Arc::new(Turnstile::new(Manners {
            per_address: 1,
            ..Manners::default()
        }));
        let here = address("127.0.0.1");
        let first = stile.enter(here, "a", 1).await.unwrap();
        let second = {
            let stile = Arc::clone(&stile);
            tokio::spawn(async move { stile.enter(here, "a", 1).await.is_some() })
        };
        // Another address is free meanwhile.
        drop(stile.enter(address("127.0.0.2"), "a", 1).await.unwrap());
        assert!(!second.is_finished());
        drop(first);
        assert!(second.await.unwrap());
    }
}
