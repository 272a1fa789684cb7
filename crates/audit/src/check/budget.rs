//! How many connections an examination may make, and what ends it early.
//!
//! The budget is for one address and port. The first refusal ("too many connections", "not now", a closed door where there was an open one)
//! ends it: more knocking would only lengthen a ban. What was not asked then says so, and how many connections it takes.

use std::sync::{Mutex, PoisonError};

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
            return Err(format!(
                "the {} connections of this tier are used up",
                self.most
            ));
        }
        state.made += 1;
        Ok(())
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

#[cfg(test)]
mod tests {
    use super::*;

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
