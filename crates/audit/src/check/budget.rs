//! How many connections an examination may make, and what ends it early.
//!
//! The budget is for one address and port. The first refusal ("too many connections", "not now", a closed door where there was an open one)
//! ends it: more knocking would only lengthen a ban. What was not asked then says so, and how many connections it takes.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

use tokio::sync::{Semaphore, SemaphorePermit};

#[derive(Debug)]
struct State {
    made: u32,
    stopped: Option<String>,
}

/// The budget of one examination.
#[derive(Debug)]
pub(crate) struct Budget {
    most: u32,
    state: Mutex<State>,
}

impl Budget {
    pub(crate) fn new(most: u32) -> Self {
        let state = State {
            made: 0,
            stopped: None,
        };
        Self {
            most,
            state: Mutex::new(state),
        }
    }

    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes one connection, or says why there is none.
    pub(crate) fn take(&self) -> Result<(), String> {
        let mut state = self.state();
        if let Some(why) = &state.stopped {
            return Err(format!("not asked any more: {why}"));
        }
        if state.made >= self.most {
            return Err(self.used_up());
        }
        state.made += 1;
        Ok(())
    }

    /// Why there is no more, if nothing else ended it.
    pub(crate) fn used_up(&self) -> String {
        format!("the {} connections of this tier are used up", self.most)
    }

    /// How many can still be made.
    pub(crate) fn left(&self) -> u32 {
        self.most.saturating_sub(self.made())
    }

    /// Ends the examination; the first reason stands.
    pub(crate) fn stop(&self, why: impl Into<String>) {
        let mut state = self.state();
        if state.stopped.is_none() {
            state.stopped = Some(why.into());
        }
    }

    /// How many were made.
    pub(crate) fn made(&self) -> u32 {
        self.state().made
    }

    /// Why it ended early, if it did.
    pub(crate) fn stopped(&self) -> Option<String> {
        self.state().stopped.clone()
    }
}

/// Where it begins: one has been there before.
const FIRST: usize = 2;

/// How many connections are open at once: few at first, one more for each that was let in, so that a server which counts them is not met by
/// a crowd.
#[derive(Debug)]
pub(crate) struct Crowd {
    places: Semaphore,
    closed: AtomicUsize,
}

impl Crowd {
    /// Never more than `most`, and at least one.
    pub(crate) fn new(most: usize) -> Self {
        let open = most.clamp(1, FIRST);
        Self {
            places: Semaphore::new(open),
            closed: AtomicUsize::new(most.saturating_sub(open)),
        }
    }

    /// Waits for a place, until it is dropped. None never comes: nobody closes it.
    pub(crate) async fn enter(&self) -> Option<SemaphorePermit<'_>> {
        self.places.acquire().await.ok()
    }

    /// One was let in: there is room for another.
    pub(crate) fn grow(&self) {
        let fewer = |it: usize| it.checked_sub(1);
        let order = Ordering::Relaxed;
        if self.closed.fetch_update(order, order, fewer).is_ok() {
            self.places.add_permits(1);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_crowd_grows_with_those_who_are_let_in_and_no_further() {
        for (most, sizes) in [
            (1, [1, 1, 1]),
            (2, [2, 2, 2]),
            (3, [2, 3, 3]),
            (8, [2, 3, 4]),
        ] {
            let crowd = Crowd::new(most);
            for size in sizes {
                assert_eq!(crowd.places.available_permits(), size, "{most}");
                crowd.grow();
            }
        }
    }

    #[test]
    fn a_budget_ends_and_a_refusal_ends_it_before() {
        let budget = Budget::new(2);
        assert!(budget.take().is_ok() && budget.take().is_ok());
        assert!(budget.take().unwrap_err().contains("2 connections"));
        assert_eq!((budget.made(), budget.stopped()), (2, None));

        let budget = Budget::new(9);
        assert!(budget.take().is_ok());
        budget.stop("421 too many");
        budget.stop("another");
        assert!(budget.take().unwrap_err().contains("421 too many"));
        assert_eq!(budget.made(), 1);
    }
}
