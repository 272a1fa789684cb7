//! How many questions may be under way at once.
//!
//! A resolver that gets more than it can hold drops questions without a word, and silence looks like a zone whose servers are dead. So there
//! is a window, as TCP has one (RFC 5681 3.1): small at first, wider after a round of answers in which it was full, half as wide after a round in
//! which many stayed away. Few that stay away are dead zones, of which every list of domains has some; they say nothing of the resolver.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Where it begins; below this it never goes.
const FIRST: usize = 64;
const LEAST: usize = 16;
/// One in so many questions may stay away.
const TOLERATED: usize = 10;
/// The widest: one socket each.
pub(super) const WIDEST: usize = 512;

/// Places for questions.
#[derive(Debug)]
pub(super) struct Window {
    places: Arc<Semaphore>,
    round: Mutex<Round>,
    widest: usize,
}

/// What happened since the width was changed last.
#[derive(Debug)]
struct Round {
    width: usize,
    /// Places to be taken away when they come back.
    owed: usize,
    answered: usize,
    lost: usize,
    /// Whether somebody had to wait.
    full: bool,
}

impl Window {
    /// Never wider than this.
    pub(super) fn new(widest: usize) -> Self {
        let width = FIRST.min(widest.max(1));
        Self {
            places: Arc::new(Semaphore::new(width)),
            round: Mutex::new(Round {
                width,
                owed: 0,
                answered: 0,
                lost: 0,
                full: false,
            }),
            widest: widest.max(1),
        }
    }

    /// Waits for a place. None only when the window is being torn down.
    pub(super) async fn enter(&self) -> Option<Place<'_>> {
        let free = Arc::clone(&self.places).try_acquire_owned();
        let permit = if let Ok(permit) = free {
            permit
        } else {
            self.round().full = true;
            Arc::clone(&self.places).acquire_owned().await.ok()?
        };
        Some(Place {
            window: self,
            permit: Some(permit),
        })
    }

    fn round(&self) -> MutexGuard<'_, Round> {
        self.round.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Counts an outcome, and at the end of a round changes the width.
    fn count(&self, lost: bool) {
        let mut round = self.round();
        if lost {
            round.lost += 1;
        } else {
            round.answered += 1;
        }
        let (all, many) = (
            round.answered + round.lost,
            round.lost.saturating_mul(TOLERATED) > round.answered + round.lost,
        );
        if all < round.width {
            return;
        }
        let width = match (many, round.full) {
            (true, _) => (round.width / 2).max(LEAST.min(self.widest)),
            (false, true) => (round.width + round.width.div_ceil(4)).min(self.widest),
            (false, false) => round.width,
        };
        self.resize(&mut round, width);
    }

    /// A new round with so many places.
    fn resize(&self, round: &mut Round, width: usize) {
        let more = width.saturating_sub(round.width);
        let kept = more.min(round.owed);
        self.places.add_permits(more - kept);
        let fewer = round.width.saturating_sub(width);
        let free = self.places.forget_permits(fewer);
        round.owed = round.owed - kept + fewer - free;
        (round.width, round.answered, round.lost, round.full) = (width, 0, 0, false);
    }
}

/// A place for one question, until it is dropped.
#[derive(Debug)]
pub(super) struct Place<'a> {
    window: &'a Window,
    permit: Option<OwnedSemaphorePermit>,
}

impl Place<'_> {
    /// A reply came.
    pub(super) fn answered(self) {
        self.window.count(false);
    }

    /// None came in time.
    pub(super) fn lost(self) {
        self.window.count(true);
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        let mut round = self.window.round();
        if round.owed > 0
            && let Some(permit) = self.permit.take()
        {
            round.owed -= 1;
            permit.forget();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::future::Future as _;
    use std::pin::pin;
    use std::task::{Context, Poll, Waker};

    use super::*;

    /// All places there are now.
    fn fill(window: &Window) -> Vec<Place<'_>> {
        let mut taken = Vec::new();
        loop {
            let mut entering = pin!(window.enter());
            match entering
                .as_mut()
                .poll(&mut Context::from_waker(Waker::noop()))
            {
                Poll::Ready(place) => taken.push(place.unwrap()),
                Poll::Pending => return taken,
            }
        }
    }

    fn round(window: &Window, lost: usize) {
        for (number, place) in fill(window).into_iter().enumerate() {
            if number < lost {
                place.lost();
            } else {
                place.answered();
            }
        }
    }

    #[test]
    fn it_widens_while_answers_come_and_it_is_full() {
        let window = Window::new(100);
        assert_eq!(fill(&window).len(), FIRST);
        round(&window, FIRST / TOLERATED);
        assert_eq!(fill(&window).len(), 80);
        round(&window, 0);
        round(&window, 0);
        assert_eq!(fill(&window).len(), 100, "the widest");
    }

    #[test]
    fn it_narrows_when_many_stay_away_and_widens_again() {
        let window = Window::new(WIDEST);
        round(&window, FIRST / TOLERATED + 1);
        assert_eq!(fill(&window).len(), 32);
        round(&window, 32);
        round(&window, 32);
        round(&window, 32);
        assert_eq!(fill(&window).len(), LEAST);
        round(&window, 0);
        assert_eq!(fill(&window).len(), 20);
    }

    #[test]
    fn places_that_are_out_are_taken_away_as_they_come_back() {
        let window = Window::new(WIDEST);
        let mut out = fill(&window);
        for place in out.split_off(FIRST / 2) {
            place.lost();
        }
        assert_eq!(fill(&window).len(), FIRST / 2);
        // The other half of the round.
        let again = fill(&window);
        for place in again {
            place.lost();
        }
        assert_eq!(
            fill(&window).len(),
            0,
            "half of the places, and that half is out"
        );
        drop(out);
        assert_eq!(fill(&window).len(), FIRST / 2);
    }

    #[test]
    fn one_that_is_never_full_stays_as_it_is() {
        let window = Window::new(WIDEST);
        for _ in 0..10 * FIRST {
            let mut entering = pin!(window.enter());
            let Poll::Ready(Some(place)) = entering
                .as_mut()
                .poll(&mut Context::from_waker(Waker::noop()))
            else {
                panic!("there is room");
            };
            place.answered();
        }
        assert_eq!(fill(&window).len(), FIRST);
    }
}
