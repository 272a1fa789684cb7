//! What was learned is not asked again: many domains share few servers. Whoever asks for something that is being learned waits for it.
//! Bounded by weight, so that a list of any length fits. The oldest go first, but for those that were asked for since they were last looked
//! at: the few providers behind many domains stay.

use std::collections::{HashMap, VecDeque};
use std::future::Future;
use std::hash::Hash;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::OnceCell;

#[derive(Debug)]
struct Shelf<K, V> {
    places: HashMap<K, Place<V>>,
    /// In the order they were learned or spared, with their weights.
    order: VecDeque<(K, usize)>,
    weight: usize,
}

#[derive(Debug)]
struct Place<V> {
    answer: Arc<OnceCell<V>>,
    /// Whether it was asked for again since it was last looked at.
    is_wanted: bool,
}

/// Answers by key.
#[derive(Debug)]
pub struct Cache<K, V> {
    kept: Mutex<Shelf<K, V>>,
    most: usize,
}

impl<K: Eq + Hash + Clone, V: Clone> Cache<K, V> {
    /// Keeps at most this weight, in octets or whatever the caller weighs.
    #[must_use]
    pub fn new(most: usize) -> Self {
        let shelf = Shelf {
            places: HashMap::new(),
            order: VecDeque::new(),
            weight: 0,
        };
        Self {
            kept: Mutex::new(shelf),
            most,
        }
    }

    /// The answer; learned now, by whom comes first, if it is not there. The bool says whether it was learned now, by this caller.
    pub async fn get_or_learn<F: Future<Output = V>>(
        &self,
        key: K,
        measure: impl Fn(&V) -> usize,
        learn: impl FnOnce() -> F,
    ) -> (V, bool) {
        let place = {
            let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
            let place = kept.places.entry(key.clone()).or_insert_with(|| Place {
                answer: Arc::default(),
                is_wanted: false,
            });
            place.is_wanted |= place.answer.initialized();
            Arc::clone(&place.answer)
        };
        let mut is_new = false;
        // Where the first one is dropped before it is done, the next who waits goes on.
        let value = place
            .get_or_init(|| {
                is_new = true;
                learn()
            })
            .await
            .clone();
        if is_new {
            self.keep(key, measure(&value));
        }
        (value, is_new)
    }

    fn keep(&self, key: K, weight: usize) {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        kept.order.push_back((key, weight));
        kept.weight += weight;
        while kept.weight > self.most {
            let Some((oldest, weight)) = kept.order.pop_front() else {
                break;
            };
            // Spared once for each time it was asked for; the mark goes, so this ends.
            if let Some(place) = kept.places.get_mut(&oldest).filter(|it| it.is_wanted) {
                place.is_wanted = false;
                kept.order.push_back((oldest, weight));
                continue;
            }
            kept.weight -= weight;
            kept.places.remove(&oldest);
        }
    }

    /// How many answers are kept.
    #[must_use]
    pub fn len(&self) -> usize {
        self.kept
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .order
            .len()
    }

    /// Whether none is.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicUsize, Ordering};

    #[tokio::test]
    async fn what_many_ask_is_learned_once() {
        let cache = Arc::new(Cache::new(100));
        let asked = Arc::new(AtomicUsize::new(0));
        let tasks: Vec<_> = (0..8)
            .map(|_| {
                let (cache, asked) = (Arc::clone(&cache), Arc::clone(&asked));
                tokio::spawn(async move {
                    let learn = || async {
                        tokio::task::yield_now().await;
                        asked.fetch_add(1, Ordering::SeqCst)
                    };
                    cache.get_or_learn("key", |_| 1, learn).await
                })
            })
            .collect();
        let mut new = 0;
        for task in tasks {
            let (value, is_new) = task.await.unwrap();
            assert_eq!(value, 0);
            new += usize::from(is_new);
        }
        assert_eq!((asked.load(Ordering::SeqCst), new, cache.len()), (1, 1, 1));
    }

    #[tokio::test]
    async fn the_oldest_goes_when_it_gets_too_much() {
        let cache = Cache::new(10);
        for key in 0..5 {
            cache.get_or_learn(key, |_| 4, || async move { key }).await;
        }
        assert_eq!(cache.len(), 2);
        assert_eq!(
            cache.get_or_learn(4, |_| 4, || async { 9 }).await,
            (4, false)
        );
        assert_eq!(
            cache.get_or_learn(0, |_| 4, || async { 9 }).await,
            (9, true)
        );
    }

    #[tokio::test]
    async fn what_is_asked_for_again_stays() {
        let cache = Cache::new(10);
        for key in 1..50 {
            for key in [0, key] {
                cache.get_or_learn(key, |_| 4, || async move { key }).await;
            }
        }
        let learn = || async { 9 };
        assert_eq!(cache.get_or_learn(0, |_| 4, learn).await, (0, false));
        assert_eq!(cache.get_or_learn(1, |_| 4, learn).await, (9, true));
    }

    #[tokio::test]
    async fn one_too_heavy_for_all_is_not_kept() {
        let cache = Cache::new(10);
        cache.get_or_learn(1, |_| 11, || async { 1 }).await;
        assert!(cache.is_empty());
    }
}
