//! How long a login must wait, from the failures before it [SASL-RATE-01].
//!
//! Failures are counted by client address (IPv4 alone, IPv6 by /64), by account name (whether or not there is such an account)
//! and by both together. After a few, each further attempt waits, twice as long every time.
//!
//! Nobody can lock out an owner this way:
//! - an address from which the account was used lately waits only for failures of that account from that address, and never
//!   longer than `PAIR_LONGEST`;
//! - the wait for an account's failures is never longer than `ACCOUNT_LONGEST` and holds nobody else up;
//! - attempts of one address, or of an address at an account it is known for, wait one after the other, so that opening many
//!   connections gains nothing.
//!
//! Everything is bounded: what has not been touched for the longest time is forgotten first.

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::net::IpAddr;
use std::time::{Duration, Instant};

/// Failures that cost nothing: people mistype, and mail clients try an old password on several connections at once.
const FREE: u32 = 4;
/// The first wait.
const FIRST: Duration = Duration::from_millis(500);
/// The longest wait between two attempts of one address.
const ADDRESS_LONGEST: Duration = Duration::from_secs(10);
/// The longest wait for an account's failures.
const ACCOUNT_LONGEST: Duration = Duration::from_secs(4);
/// The longest wait of an address the account was used from lately.
const PAIR_LONGEST: Duration = Duration::from_secs(4);
/// When so much would have to be waited in the queue of an address, the attempt is turned away unjudged.
const QUEUE_LONGEST: Duration = Duration::from_secs(30);
/// Failures are forgotten after so long without a new one.
const FORGET: Duration = Duration::from_secs(60 * 60);
/// How long a good login makes an address known for its account.
const KNOWN: Duration = Duration::from_secs(30 * 24 * 60 * 60);
/// Entries of each half of a table: a table takes at most some 2 MiB.
const HALF: usize = 16 * 1024;

/// The counts.
#[derive(Debug)]
pub struct Throttle {
    failures: Table<Failures>,
    known: Table<Instant>,
    hasher: RandomState,
}

#[derive(Debug, Clone, Copy)]
struct Failures {
    count: u32,
    last: Instant,
    /// Before this instant no further attempt is judged (addresses only).
    next: Instant,
}

/// What an attempt must do first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wait {
    /// Wait so long, then be judged.
    For(Duration),
    /// It would be too long: turned away, whether or not the password is right.
    TooLong,
}

/// The keys of one attempt in the tables.
#[derive(Debug, Clone, Copy)]
pub struct Keys {
    address: u64,
    account: u64,
    pair: u64,
}

impl Default for Throttle {
    fn default() -> Self {
        Self {
            failures: Table::default(),
            known: Table::default(),
            hasher: RandomState::new(),
        }
    }
}

impl Throttle {
    /// The keys of an attempt. The hash is keyed by chance, so no one can choose names that meet in one entry.
    pub fn keys(&self, client: IpAddr, user: &str) -> Keys {
        let (network, user) = (network(client), user.to_lowercase());
        Keys {
            address: self.hasher.hash_one((0_u8, network)),
            account: self.hasher.hash_one((1_u8, &user)),
            pair: self.hasher.hash_one((2_u8, network, &user)),
        }
    }

    /// An attempt comes: how long must it wait? Takes a place in the address's queue.
    pub fn attempt(&mut self, keys: Keys, now: Instant) -> Wait {
        let known = self
            .known
            .get(keys.pair)
            .is_some_and(|since| now.saturating_duration_since(*since) < KNOWN);
        if known {
            return self.queue(keys.pair, now, PAIR_LONGEST);
        }
        let of_account = self.wait(keys.account, now, ACCOUNT_LONGEST);
        match self.queue(keys.address, now, ADDRESS_LONGEST) {
            Wait::For(time) => Wait::For(time.max(of_account)),
            Wait::TooLong => Wait::TooLong,
        }
    }

    /// Takes a place in a queue: attempts wait one after the other.
    fn queue(&mut self, key: u64, now: Instant, longest: Duration) -> Wait {
        let own = self.wait(key, now, longest);
        match self.failures.get(key) {
            Some(entry) if own > Duration::ZERO => {
                let turn = entry.next.max(now) + own;
                if turn.saturating_duration_since(now) > QUEUE_LONGEST {
                    return Wait::TooLong;
                }
                entry.next = turn;
                Wait::For(turn.saturating_duration_since(now))
            }
            _ => Wait::For(Duration::ZERO),
        }
    }

    /// The attempt failed.
    pub fn failed(&mut self, keys: Keys, now: Instant) {
        for key in [keys.address, keys.account, keys.pair] {
            let entry = self.failures.entry(
                key,
                Failures {
                    count: 0,
                    last: now,
                    next: now,
                },
            );
            if now.saturating_duration_since(entry.last) > FORGET {
                entry.count = 0;
            }
            entry.count = entry.count.saturating_add(1);
            entry.last = now;
        }
    }

    /// The attempt was good: the address is known for the account, and its own failures are forgotten. Those of the account
    /// are not: others may be guessing.
    pub fn succeeded(&mut self, keys: Keys, now: Instant) {
        self.failures.remove(keys.address);
        self.failures.remove(keys.pair);
        *self.known.entry(keys.pair, now) = now;
    }

    fn wait(&mut self, key: u64, now: Instant, longest: Duration) -> Duration {
        let Some(entry) = self.failures.get(key) else {
            return Duration::ZERO;
        };
        if entry.count < FREE || now.saturating_duration_since(entry.last) > FORGET {
            return Duration::ZERO;
        }
        let doublings = (entry.count - FREE).min(16);
        FIRST.saturating_mul(1 << doublings).min(longest)
    }
}

/// What an address is counted by: all of IPv4, the /64 of IPv6, where a customer has at least that.
fn network(address: IpAddr) -> u128 {
    match address.to_canonical() {
        IpAddr::V4(address) => u128::from(u32::from(address)),
        IpAddr::V6(address) => u128::from(address) >> 64 << 64,
    }
}

/// A bounded table: two halves; when the young one is full, the old one is forgotten and the young one becomes old.
/// What is touched moves into the young half.
#[derive(Debug)]
pub struct Table<T> {
    young: HashMap<u64, T>,
    old: HashMap<u64, T>,
}

impl<T> Default for Table<T> {
    fn default() -> Self {
        Self {
            young: HashMap::new(),
            old: HashMap::new(),
        }
    }
}

impl<T> Table<T> {
    /// The entry, if it is not forgotten.
    pub fn get(&mut self, key: u64) -> Option<&mut T> {
        if let Some(value) = self.old.remove(&key) {
            self.put(key, value);
        }
        self.young.get_mut(&key)
    }

    /// The entry, made if it is not there.
    pub fn entry(&mut self, key: u64, default: T) -> &mut T {
        if let Some(value) = self.old.remove(&key) {
            self.put(key, value);
        } else if !self.young.contains_key(&key) {
            self.make_room();
        }
        self.young.entry(key).or_insert(default)
    }

    /// Forgets the entry.
    pub fn remove(&mut self, key: u64) {
        self.young.remove(&key);
        self.old.remove(&key);
    }

    fn put(&mut self, key: u64, value: T) {
        self.make_room();
        self.young.insert(key, value);
    }

    fn make_room(&mut self) {
        if self.young.len() >= HALF {
            self.old = std::mem::take(&mut self.young);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HERE: &str = "192.0.2.1";
    const THERE: &str = "198.51.100.7";

    struct World {
        throttle: Throttle,
        now: Instant,
    }

    impl World {
        fn new() -> Self {
            Self {
                throttle: Throttle::default(),
                now: Instant::now(),
            }
        }

        fn keys(&self, client: &str, user: &str) -> Keys {
            self.throttle.keys(client.parse().unwrap(), user)
        }

        fn attempt(&mut self, client: &str, user: &str) -> Wait {
            let keys = self.keys(client, user);
            self.throttle.attempt(keys, self.now)
        }

        fn fail(&mut self, client: &str, user: &str, times: u32) {
            let keys = self.keys(client, user);
            (0..times).for_each(|_| self.throttle.failed(keys, self.now));
        }

        fn succeed(&mut self, client: &str, user: &str) {
            let keys = self.keys(client, user);
            self.throttle.succeeded(keys, self.now);
        }
    }

    fn seconds(seconds: f64) -> Wait {
        Wait::For(Duration::from_secs_f64(seconds))
    }

    /// [SASL-RATE-01] by address
    #[test]
    fn an_address_waits_longer_and_longer_in_one_queue() {
        let mut world = World::new();
        world.fail(HERE, "a", FREE - 1);
        assert_eq!(world.attempt(HERE, "b"), seconds(0.0));
        world.fail(HERE, "c", 1);
        assert_eq!(world.attempt(HERE, "b"), seconds(0.5));
        assert_eq!(
            world.attempt(HERE, "b"),
            seconds(1.0),
            "behind the one before"
        );
        world.fail(HERE, "d", 20);
        assert_eq!(world.attempt(HERE, "b"), seconds(11.0));
        assert_eq!(world.attempt(HERE, "b"), seconds(21.0));
        assert_eq!(world.attempt(HERE, "b"), Wait::TooLong);
        assert_eq!(world.attempt(THERE, "b"), seconds(0.0));
        world.now += FORGET * 2;
        assert_eq!(world.attempt(HERE, "b"), seconds(0.0));
    }

    #[test]
    fn ipv6_is_counted_by_network() {
        let mut world = World::new();
        world.fail("2001:db8::1", "a", FREE);
        assert_eq!(world.attempt("2001:db8::ffff:1", "b"), seconds(0.5));
        assert_eq!(world.attempt("2001:db8:0:1::1", "b"), seconds(0.0));
        world.fail("::ffff:192.0.2.1", "a", FREE);
        assert_eq!(world.attempt(HERE, "b"), seconds(0.5));
    }

    /// [SASL-RATE-01] by account, whatever the addresses
    #[test]
    fn an_account_guessed_from_many_addresses_slows_down() {
        let mut world = World::new();
        for last in 0..100 {
            world.fail(&format!("203.0.113.{last}"), "Owner@example.org", 1);
        }
        assert_eq!(world.attempt(HERE, "owner@example.org"), seconds(4.0));
        assert_eq!(
            world.attempt(HERE, "owner@example.org"),
            seconds(4.0),
            "no queue"
        );
        assert_eq!(world.attempt(HERE, "other@example.org"), seconds(0.0));
    }

    #[test]
    fn the_owner_is_not_locked_out() {
        let mut world = World::new();
        world.succeed(HERE, "owner");
        world.fail(THERE, "owner", 1_000);
        assert_eq!(world.attempt(HERE, "owner"), seconds(0.0));
        assert_eq!(world.attempt(THERE, "owner"), seconds(10.0));
        world.fail(HERE, "stranger", 1_000);
        assert_eq!(
            world.attempt(HERE, "owner"),
            seconds(0.0),
            "neighbours behind one address"
        );
        world.fail(HERE, "owner", 1_000);
        for turn in 1..=7 {
            assert_eq!(
                world.attempt(HERE, "owner"),
                seconds(f64::from(turn) * 4.0),
                "guessing goes slowly even here, on however many connections"
            );
        }
        assert_eq!(world.attempt(HERE, "owner"), Wait::TooLong);
    }

    #[test]
    fn a_good_login_clears_its_address_but_not_the_account() {
        let mut world = World::new();
        world.fail(HERE, "a", 30);
        world.succeed(HERE, "b");
        assert_eq!(world.attempt(HERE, "c"), seconds(0.0));
        assert_eq!(world.attempt(THERE, "a"), seconds(4.0));
    }

    #[test]
    fn tables_are_bounded_and_forget_the_oldest() {
        let mut table = Table::default();
        for key in 0..10 * HALF as u64 {
            *table.entry(key, 0) = key;
            assert_eq!(table.get(0), Some(&mut 0), "touched every time");
        }
        assert!(table.young.len() + table.old.len() <= 2 * HALF);
        assert_eq!(table.get(1), None);
        table.remove(0);
        assert_eq!(table.get(0), None);
    }
}
