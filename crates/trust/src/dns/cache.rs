//! A cache of bounded size, by time to live.
//!
//! Two generations: what is used is young. When the young fill half the bound, the old are forgotten and the young become old. So
//! the bound holds, every step is cheap, and what is asked for again and again stays.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, SystemTime};

#[derive(Debug)]
pub(crate) struct Cache<K, V> {
    half: usize,
    generations: Mutex<Generations<K, V>>,
}

#[derive(Debug)]
struct Generations<K, V> {
    young: HashMap<K, Entry<V>>,
    old: HashMap<K, Entry<V>>,
}

#[derive(Debug, Clone)]
struct Entry<V> {
    value: V,
    from: SystemTime,
    until: SystemTime,
}

impl<K: Eq + Hash + Clone, V: Clone> Cache<K, V> {
    /// A cache of at most `bound` entries.
    pub(crate) fn new(bound: usize) -> Self {
        Self {
            half: (bound / 2).max(1),
            generations: Mutex::new(Generations {
                young: HashMap::new(),
                old: HashMap::new(),
            }),
        }
    }

    /// What is kept under a key, with the time it still has. A clock that was set back makes entries invalid, not eternal.
    pub(crate) fn find(&self, key: &K, now: SystemTime) -> Option<(V, Duration)> {
        let mut guard = self.lock();
        let generations = &mut *guard;
        if !generations.young.contains_key(key) {
            let entry = generations.old.remove(key)?;
            self.keep_entry(generations, key.clone(), entry);
        }
        let entry = generations.young.get(key)?;
        if now < entry.from || now >= entry.until {
            generations.young.remove(key);
            return None;
        }
        let left = entry.until.duration_since(now).ok()?;
        Some((entry.value.clone(), left))
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
        let mut guard = self.lock();
        guard.old.remove(&key);
        self.keep_entry(&mut guard, key, entry);
    }

    fn keep_entry(&self, generations: &mut Generations<K, V>, key: K, entry: Entry<V>) {
        if generations.young.len() >= self.half && !generations.young.contains_key(&key) {
            generations.old = std::mem::take(&mut generations.young);
        }
        generations.young.insert(key, entry);
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Generations<K, V>> {
        self.generations
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
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
            let guard = cache.lock();
            assert!(guard.young.len() + guard.old.len() <= 10);
        }
        assert_eq!(cache.find(&500, now), None);
    }
}
