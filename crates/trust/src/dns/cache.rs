//! Memory of bounded size: by time to live ([`Cache`]), or of what never changes ([`Bounded`]).
//!
//! Two generations: what is used is young. When the young fill half the bound, the old are forgotten and the young become old. So
//! the bound holds, every step is cheap, and what is asked for again and again stays.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

/// So many values, whatever their age.
#[derive(Debug)]
pub(crate) struct Bounded<K, V> {
    half: usize,
    generations: Mutex<Generations<K, V>>,
}

#[derive(Debug)]
struct Generations<K, V> {
    young: HashMap<K, V>,
    old: HashMap<K, V>,
}

impl<K: Eq + Hash, V: Clone> Bounded<K, V> {
    /// At most `bound` values.
    pub(crate) fn new(bound: usize) -> Self {
        Self {
            half: (bound / 2).max(1),
            generations: Mutex::new(Generations {
                young: HashMap::new(),
                old: HashMap::new(),
            }),
        }
    }

    /// What is kept under a key.
    pub(crate) fn find(&self, key: &K) -> Option<V> {
        let mut guard = self.lock();
        if let Some(value) = guard.young.get(key) {
            return Some(value.clone());
        }
        let (key, value) = guard.old.remove_entry(key)?;
        self.put(&mut guard, key, value.clone());
        Some(value)
    }

    /// Keeps a value.
    pub(crate) fn keep(&self, key: K, value: V) {
        let mut guard = self.lock();
        guard.old.remove(&key);
        self.put(&mut guard, key, value);
    }

    /// Forgets a value.
    fn forget(&self, key: &K) {
        let mut guard = self.lock();
        guard.old.remove(key);
        guard.young.remove(key);
    }

    fn put(&self, generations: &mut Generations<K, V>, key: K, value: V) {
        if generations.young.len() >= self.half && !generations.young.contains_key(&key) {
            generations.old = std::mem::take(&mut generations.young);
        }
        generations.young.insert(key, value);
    }

    fn lock(&self) -> MutexGuard<'_, Generations<K, V>> {
        self.generations
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

/// So many values, each for its time.
#[derive(Debug)]
pub(crate) struct Cache<K, V>(Bounded<K, Entry<V>>);

#[derive(Debug, Clone)]
struct Entry<V> {
    value: V,
    from: SystemTime,
    until: SystemTime,
}

impl<K: Eq + Hash, V: Clone> Cache<K, V> {
    /// A cache of at most `bound` entries.
    pub(crate) fn new(bound: usize) -> Self {
        Self(Bounded::new(bound))
    }

    /// What is kept under a key, with the time it still has. A clock that was set back makes entries invalid, not eternal.
    pub(crate) fn find(&self, key: &K, now: SystemTime) -> Option<(V, Duration)> {
        let entry = self.0.find(key)?;
        if now < entry.from || now >= entry.until {
            self.0.forget(key);
            return None;
        }
        let left = entry.until.duration_since(now).ok()?;
        Some((entry.value, left))
    }

    /// Keeps a value for a time. Nothing is kept for no time.
    pub(crate) fn keep(&self, key: K, value: V, now: SystemTime, ttl: Duration) {
        let Some(until) = now.checked_add(ttl).filter(|until| *until > now) else {
            return;
        };
        let entry = Entry {
            value,
            from: now,
            until,
        };
        self.0.keep(key, entry);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTE: Duration = Duration::from_secs(60);

    // [DNSSEC-04] nothing is kept past its time
    #[test]
    fn entries_end_with_their_time() {
        let cache = Cache::new(10);
        let now = SystemTime::UNIX_EPOCH + MINUTE;
        cache.keep(1, "one", now, MINUTE);
        assert_eq!(cache.find(&1, now), Some(("one", MINUTE)));
        assert_eq!(cache.find(&1, now + MINUTE), None);
        cache.keep(1, "one", now, MINUTE);
        assert_eq!(cache.find(&1, now - Duration::from_secs(1)), None);
        cache.keep(1, "one", now, Duration::ZERO);
        assert_eq!(cache.find(&1, now), None);
    }

    #[test]
    fn the_bound_holds_and_the_used_stay() {
        let cache = Cache::new(10);
        let now = SystemTime::UNIX_EPOCH;
        for key in 0..1000 {
            cache.keep(key, key, now, MINUTE);
            assert_eq!(cache.find(&0, now).map(|found| found.0), Some(0));
            let guard = cache.0.lock();
            assert!(guard.young.len() + guard.old.len() <= 10);
        }
        assert_eq!(cache.find(&500, now), None);
    }
}
