//! A list that several machines share: what one of them asks the database next. No database here, and no clock: rows claimed come in,
//! lines done come in, steps go out.
//!
//! ```text
//!              claimed(rows)                        finished(line)
//!   Claim ───────────────────▶ held: under way ────────────────────▶ held: done ──Store──▶ let go
//!                                │ every third of the lease
//!                                └──Renew
//! ```
//!
//! 1. A row is claimed under a lease, and the lease is renewed while the row is held. A machine that dies renews nothing, and its rows are
//!    free again when their lease ends; the database's clock says when.
//! 2. Whoever stores a line must still hold the claim on its row: a machine that slept through its lease stores nothing over another's work.
//! 3. No more rows are held than lines may be under way, so memory is bounded, also while the database is away.
//! 4. The end is when no row is open, not when none is free: the rows of a machine that dies now are done by those that wait.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use super::{Finished, Line};

/// How a machine shares.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Habits {
    /// Rows held at once, under way or done and not yet stored.
    pub held: usize,
    /// Rows claimed or stored together.
    pub batch: usize,
    /// For how long a claim is good.
    pub lease: Duration,
    /// The longest a line that is done waits for others to be stored with.
    pub pace: Duration,
    /// How long to wait when no row is free and some are open.
    pub wait: Duration,
}

impl Habits {
    /// Those of a machine with so many lines under way.
    #[must_use]
    pub fn new(held: usize, lease: Duration) -> Self {
        Self {
            held: held.max(1),
            batch: 100,
            lease,
            pace: Duration::from_secs(1),
            wait: (lease / 4).min(Duration::from_secs(2)),
        }
    }
}

/// What to do next.
#[derive(Debug, PartialEq)]
pub enum Step {
    /// Store these lines, if their claims are still ours; then [`Desk::stored`].
    Store(Vec<Finished>),
    /// Renew the claims on these rows, and say that this machine is there; then [`Desk::renewed`].
    Renew(Vec<u64>),
    /// Claim at most so many rows; then [`Desk::claimed`].
    Claim(usize),
    /// Nothing for so long, unless a line is done.
    Wait(Duration),
    /// Give the claims on these rows back, if there are any, and say that this machine leaves; then [`Desk::gave_back`].
    GiveBack(Vec<u64>),
    /// The end.
    End,
}

/// What a machine holds.
#[derive(Debug)]
pub struct Desk {
    habits: Habits,
    held: BTreeSet<u64>,
    /// Held, done and not yet stored; since when the first one waits.
    done: Vec<Finished>,
    since: Instant,
    renewed: Instant,
    /// Not to ask for rows before.
    ask: Instant,
    /// No row is open any more.
    is_over: bool,
    is_closing: bool,
    /// The others know that this machine leaves.
    is_gone: bool,
}

impl Desk {
    /// Nothing held.
    #[must_use]
    pub fn new(habits: Habits, now: Instant) -> Self {
        Self {
            habits,
            held: BTreeSet::new(),
            done: Vec::new(),
            since: now,
            renewed: now,
            ask: now,
            is_over: false,
            is_closing: false,
            is_gone: false,
        }
    }

    /// What to do next.
    pub fn next(&mut self, now: Instant) -> Step {
        let waits = self.since + self.habits.pace;
        let is_due = self.is_closing || self.done.len() >= self.habits.batch || now >= waits;
        if is_due && !self.done.is_empty() {
            return Step::Store(std::mem::take(&mut self.done));
        }
        if self.is_closing && !self.is_gone {
            return Step::GiveBack(self.held.iter().copied().collect());
        }
        // What is held when no row is open was done by others; it is under way here all the same.
        if self.is_closing || (self.is_over && self.held.is_empty()) {
            return Step::End;
        }
        let renew = self.renewed + self.habits.lease / 3;
        if now >= renew {
            return Step::Renew(self.held.iter().copied().collect());
        }
        let places = if self.is_over { 0 } else { self.places() };
        if places > 0 && now >= self.ask {
            return Step::Claim(places);
        }
        let store = (!self.done.is_empty()).then_some(waits);
        let ask = (places > 0).then_some(self.ask);
        let next = [Some(renew), store, ask].into_iter().flatten().min();
        Step::Wait(next.unwrap_or(renew).saturating_duration_since(now))
    }

    /// How many rows to ask for: a batch, or none while there is no place for a good part of one.
    fn places(&self) -> usize {
        let free = self.habits.held.saturating_sub(self.held.len());
        let worth = self.habits.batch.min(self.habits.held.div_ceil(4));
        if free < worth {
            return 0;
        }
        free.min(self.habits.batch)
    }

    /// These rows are ours; without one, whether any is open, ours or another's.
    pub fn claimed(&mut self, rows: &[Line], any_open: bool, now: Instant) {
        self.held.extend(rows.iter().map(|(line, _)| *line));
        if rows.is_empty() {
            self.is_over = !any_open;
            self.ask = now + self.habits.wait;
        }
    }

    /// A line is done.
    pub fn finished(&mut self, done: Finished, now: Instant) {
        if self.done.is_empty() {
            self.since = now;
        }
        self.done.push(done);
    }

    /// These are stored, or were another's.
    pub fn stored(&mut self, lines: &[u64]) {
        for line in lines {
            self.held.remove(line);
        }
    }

    /// The claims are good for a lease from `asked` on, when it was asked for.
    pub fn renewed(&mut self, asked: Instant) {
        self.renewed = asked;
    }

    /// What is done is to be stored, the rest given back: the run is ending.
    pub fn close(&mut self) {
        self.is_closing = true;
    }

    /// The rest is given back, and the others know.
    pub fn gave_back(&mut self) {
        self.held.clear();
        self.is_gone = true;
    }
}

#[cfg(test)]
mod tests {
    use super::super::summary::Summary;
    use super::*;

    const LEASE: Duration = Duration::from_secs(30);

    fn desk(held: usize, now: Instant) -> Desk {
        let habits = Habits {
            batch: 4,
            ..Habits::new(held, LEASE)
        };
        Desk::new(habits, now)
    }

    fn rows(lines: std::ops::RangeInclusive<u64>) -> Vec<Line> {
        lines.map(|line| (line, format!("host{line}"))).collect()
    }

    fn done(line: u64) -> Finished {
        Finished {
            line,
            document: serde_json::Value::Null,
            summary: Summary::default(),
        }
    }

    #[test]
    fn no_more_is_held_than_has_a_place_however_long_the_database_is_away() {
        let now = Instant::now();
        let mut desk = desk(6, now);
        assert_eq!(desk.next(now), Step::Claim(4));
        desk.claimed(&rows(1..=4), true, now);
        assert_eq!(desk.next(now), Step::Claim(2));
        desk.claimed(&rows(5..=6), true, now);
        assert_eq!(desk.next(now), Step::Wait(LEASE / 3));
        for line in 1..=6 {
            desk.finished(done(line), now);
        }
        let Step::Store(batch) = desk.next(now) else {
            panic!("not stored");
        };
        assert_eq!(batch.len(), 6);
        // Not stored yet: still held, so no place is free.
        assert_eq!(desk.next(now), Step::Wait(LEASE / 3));
        desk.stored(&[1, 2, 3, 4, 5, 6]);
        assert_eq!(desk.next(now), Step::Claim(4));
    }

    #[test]
    fn one_line_waits_for_others_no_longer_than_its_pace() {
        let now = Instant::now();
        let mut desk = desk(4, now);
        desk.claimed(&rows(1..=4), true, now);
        desk.finished(done(2), now);
        assert_eq!(desk.next(now), Step::Wait(Duration::from_secs(1)));
        let later = now + Duration::from_secs(1);
        assert_eq!(desk.next(later), Step::Store(vec![done(2)]));
    }

    #[test]
    fn leases_are_renewed_long_before_they_end() {
        let now = Instant::now();
        let mut desk = desk(1, now);
        desk.claimed(&rows(7..=7), true, now);
        let later = now + LEASE / 3;
        assert_eq!(desk.next(later), Step::Renew(vec![7]));
        desk.renewed(later);
        assert_eq!(desk.next(later), Step::Wait(LEASE / 3));
    }

    #[test]
    fn it_ends_when_no_row_is_open_not_when_none_is_free() {
        let now = Instant::now();
        let mut desk = desk(4, now);
        assert_eq!(desk.next(now), Step::Claim(4));
        desk.claimed(&[], true, now);
        assert_eq!(desk.next(now), Step::Wait(Duration::from_secs(2)));
        let later = now + Duration::from_secs(2);
        assert_eq!(desk.next(later), Step::Claim(4));
        desk.claimed(&[], false, later);
        assert_eq!(desk.next(later), Step::End);
    }

    #[test]
    fn who_is_ended_stores_what_is_done_and_gives_the_rest_back() {
        let now = Instant::now();
        let mut desk = desk(4, now);
        desk.claimed(&rows(1..=3), true, now);
        desk.finished(done(2), now);
        desk.close();
        assert_eq!(desk.next(now), Step::Store(vec![done(2)]));
        desk.stored(&[2]);
        assert_eq!(desk.next(now), Step::GiveBack(vec![1, 3]));
        desk.gave_back();
        assert_eq!(desk.next(now), Step::End);
    }

    #[test]
    fn who_is_ended_with_nothing_under_way_says_that_it_leaves_all_the_same() {
        let now = Instant::now();
        let mut desk = desk(4, now);
        desk.close();
        assert_eq!(desk.next(now), Step::GiveBack(vec![]));
        desk.gave_back();
        assert_eq!(desk.next(now), Step::End);
    }
}
