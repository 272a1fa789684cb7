//! Who wants to know when a mailbox changes.
//!
//! A listener costs some 40 octets; telling it costs a call. It is told that something changed, not what: it asks with
//! [`crate::Store::changes`] when it suits it, so a burst of changes is one question.

use std::collections::HashMap;
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use crate::MailboxId;

type Listener = Arc<dyn Fn() + Send + Sync>;

#[derive(Default)]
pub(crate) struct Listeners {
    by_mailbox: Mutex<HashMap<MailboxId, Vec<(u64, Listener)>>>,
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
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let mut by_mailbox = self
            .by_mailbox
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        by_mailbox
            .entry(mailbox)
            .or_default()
            .push((number, listener));
        Subscription {
            listeners: Arc::clone(self),
            mailbox,
            number,
        }
    }

    /// Tells those who listen to these mailboxes.
    pub(crate) fn tell(&self, mailboxes: &[MailboxId]) {
        for mailbox in mailboxes {
            // Called without the lock: a listener may end its own subscription.
            let listeners: Vec<Listener> = {
                let by_mailbox = self
                    .by_mailbox
                    .lock()
                    .unwrap_or_else(PoisonError::into_inner);
                let listeners = by_mailbox.get(mailbox);
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
        let all: Vec<MailboxId> = self
            .by_mailbox
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
    mailbox: MailboxId,
    number: u64,
}

impl Drop for Subscription {
    fn drop(&mut self) {
        let mut by_mailbox = self
            .listeners
            .by_mailbox
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let Some(listeners) = by_mailbox.get_mut(&self.mailbox) else {
            return;
        };
        let at = listeners
            .iter()
            .position(|(number, _)| *number == self.number);
        let gone = at.map(|at| listeners.swap_remove(at));
        if listeners.is_empty() {
            by_mailbox.remove(&self.mailbox);
        }
        // What the listener holds is dropped without the lock: it may hold subscriptions.
        drop(by_mailbox);
        drop(gone);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU32, Ordering};

    use super::Listeners;
    use crate::MailboxId;

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
        listeners.tell(&[MailboxId(1)]);
        assert_eq!(calls.load(Ordering::Relaxed), 2);
        drop(one);
        listeners.tell(&[MailboxId(1), MailboxId(3)]);
        assert_eq!(calls.load(Ordering::Relaxed), 3);
        listeners.tell_all();
        assert_eq!(calls.load(Ordering::Relaxed), 5);
        drop((two, other));
        listeners.tell_all();
        assert_eq!(calls.load(Ordering::Relaxed), 5);
        assert!(listeners.by_mailbox.lock().unwrap().is_empty());
    }
}
