//! Which servers do not answer a large hello [PQ-01].
//!
//! A hello with a key share for X25519MLKEM768 has some 1,500 octets and comes in two segments. Some servers, and boxes before
//! them, only ever look at the first, and stay silent or reset. For those the share is left out; the group is still listed, and a
//! server that wants it can ask for it with a second hello.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use gatepost_trust::verify::Shares;

/// How long a server is remembered: it may be repaired.
const KEPT: Duration = Duration::from_secs(24 * 3600);
/// The most servers remembered.
const MOST: usize = 10_000;

/// Servers that answered a small hello after they had not answered a large one.
#[derive(Debug, Default)]
pub struct HelloMemory {
    since: Mutex<HashMap<String, Instant>>,
}

impl HelloMemory {
    fn lock(&self) -> MutexGuard<'_, HashMap<String, Instant>> {
        self.since.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The shares for a server, which is named by its address and port.
    pub fn shares(&self, server: &str, now: Instant) -> Shares {
        match self.lock().get(server) {
            Some(since) if now.saturating_duration_since(*since) < KEPT => Shares::Classic,
            _ => Shares::Hybrid,
        }
    }

    /// Remembers a server. When there is no room, those too old are forgotten; if there are none, all are.
    pub fn remember(&self, server: String, now: Instant) {
        let mut since = self.lock();
        if since.len() >= MOST {
            since.retain(|_, since| now.saturating_duration_since(*since) < KEPT);
            if since.len() >= MOST {
                since.clear();
            }
        }
        since.insert(server, now);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_is_remembered_for_a_day() {
        let (memory, now) = (HelloMemory::default(), Instant::now());
        assert_eq!(memory.shares("a:25", now), Shares::Hybrid);
        memory.remember("a:25".to_owned(), now);
        assert_eq!(memory.shares("a:25", now), Shares::Classic);
        assert_eq!(memory.shares("b:25", now), Shares::Hybrid);
        assert_eq!(memory.shares("a:25", now + KEPT), Shares::Hybrid);
    }

    #[test]
    fn the_memory_is_bounded() {
        let (memory, now) = (HelloMemory::default(), Instant::now());
        for number in 0..=MOST {
            memory.remember(number.to_string(), now);
        }
        assert!(memory.lock().len() <= MOST);
        assert_eq!(memory.shares(&MOST.to_string(), now), Shares::Classic);
    }
}
