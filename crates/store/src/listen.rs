//! Who wants to know when a mailbox changes, or any mailbox of an account.
//!
//! A listener costs some 40 octets; telling it costs a call. It is told that something changed, not what: it asks with
//! [`crate::Store::changes`] when it suits it, so a burst of changes is one question.

use std::collections::HashMap;
use std::fmt;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use crate::{AccountId, MailboxId};

type Listener = Arc<dyn Fn() + Send + Sync>;

/// What is listened to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Place {
    /// A mailbox.
    Mailbox(MailboxId),
    /// Every mailbox of an account, and its names and subscriptions.
    Account(AccountId),
}

#[derive(Default)]
pub(crate) struct Listeners {
    by_place: Mutex<HashMap<Place, Vec<(u64, Listener)>>>,
    /// How many listen to accounts: mostly none, and then nobody has to find out whose a mailbox is.
    watchers: AtomicUsize,
    next: AtomicU64,
}

impl fmt::Debug for Listeners {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Listeners")
    }
}

impl Listeners {
    /// Calls `listener` after each change of the mailbox, until the subscription is dropped.
    pub(crate) fn add(self: &Arc<Self>, mailbox: MailboxId, listener: Listener) -> Subscription {
        self.listen(Place::Mailbox(mailbox), listener)
    }

    /// The same for every change in an account.
    pub(crate) fn watch(self: &Arc<Self>, account: AccountId, listener: Listener) -> Subscription {
        self.watchers.fetch_add(1, Ordering::Relaxed);
        self.listen(Place::Account(account), listener)
    }

    /// Whether anybody listens to an account.
    pub(crate) fn has_watchers(&self) -> bool {
        self.watchers.load(Ordering::Relaxed) > 0
    }

    fn listen(self: &Arc<Self>, place: Place, listener: Listener) -> Subscription {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let mut by_place = self.by_place.lock().unwrap_or_else(PoisonError::into_inner);
        by_place.entry(place).or_default().push((number, listener));
        Subscription {
            listeners: Arc::clone(self),
            place,
            number,
        }
    }

    /// Tells those who listen to these places.
    pub(crate) fn tell(&self, places: &[Place]) {
        for place in places {
            // Called without the lock: a listener may end its own subscription.
            let listeners: Vec<Listener> = {
                let by_place = self.by_place.lock().unwrap_or_else(PoisonError::into_inner);
                let listeners = by_place.get(place);
                listeners
                    .into_iter()
                    .flatten()
                    .map(|(_, listener)| Arc::clone(listener))
                    .collect()
            };
            for listener in listeners {
                listener();
            }
        }
    }

    /// Tells everybody: somebody outside this process changed something.
    pub(crate) fn tell_all(&self) {
        let all: Vec<Place> = self
            .by_place
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .keys()
            .copied()
            .collect();
        self.tell(&all);
    }
}

/// A listener's place. Dropping it ends the listening; a call that is under way may still come.
#[must_use = "dropping it ends the listening"]
#[derive(Debug)]
pub struct Subscription {
    listeners: Arc<Listeners>,
    place: Place,
    number: u64,
}

impl Drop for Subscription {
    fn drop(&mut self) {
        let mut by_place = self
            .listeners
            .by_place
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if matches!(self.place, Place::Account(_)) {
            self.listeners.watchers.fetch_sub(1, Ordering::Relaxed);
        }
        let Some(listeners) = by_place.get_mut(&self.place) else {
            return;
        };
        let at = listeners
            .iter()
            .position(|(number, _)| *number == self.number);
        let gone = at.map(|at| listeners.swap_remove(at));
        if listeners.is_empty() {
            by_place.remove(&self.place);
        }
        // What the listener holds is dropped without the lock: it may hold subscriptions.
        drop(by_place);
        drop(gone);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU32, Ordering};

    use super::{Listeners, Place};
    use crate::{AccountId, MailboxId};

    #[test]
    fn told_while_subscribed_and_only_then() {
        let listeners = Arc::new(Listeners::default());
        let calls = Arc::new(AtomicU32::new(0));
        let count = {
            let calls = Arc::clone(&calls);
            Arc::new(move || {
                calls.fetch_add(1, Ordering::Relaxed);
            })
        };
        let one = listeners.add(MailboxId(1), count.clone());
        let two = listeners.add(MailboxId(1), count.clone());
        let other = listeners.add(MailboxId(2), count);
        listeners.tell(&[Place::Mailbox(MailboxId(1))]);
        assert_eq!(calls.load(Ordering::Relaxed), 2);
        drop(one);
        listeners.tell(&[1, 3].map(|id| Place::Mailbox(MailboxId(id))));
        assert_eq!(calls.load(Ordering::Relaxed), 3);
        listeners.tell_all();
        assert_eq!(calls.load(Ordering::Relaxed), 5);
        drop((two, other));
        listeners.tell_all();
        assert_eq!(calls.load(Ordering::Relaxed), 5);
        assert!(listeners.by_place.lock().unwrap().is_empty());
    }

    #[test]
    fn an_account_is_watched_apart_from_its_mailboxes() {
        let listeners = Arc::new(Listeners::default());
        let calls = Arc::new(AtomicU32::new(0));
        let count = Arc::clone(&calls);
        let listener = Arc::new(move || {
            count.fetch_add(1, Ordering::Relaxed);
        });
        assert!(!listeners.has_watchers());
        let watch = listeners.watch(AccountId(1), listener);
        assert!(listeners.has_watchers());
        listeners.tell(&[Place::Mailbox(MailboxId(1)), Place::Account(AccountId(2))]);
        assert_eq!(calls.load(Ordering::Relaxed), 0);
        listeners.tell(&[Place::Account(AccountId(1))]);
        assert_eq!(calls.load(Ordering::Relaxed), 1);
        drop(watch);
        assert!(!listeners.has_watchers());
    }
}
