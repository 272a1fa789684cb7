//! Changes of many messages, made in pieces so that nobody waits long for the one thread that writes: each piece is a job
//! of its own that goes to the end of the queue, so other jobs go between two. A crash or a fault between them leaves the
//! pieces before it made.

use std::mem;

use gatepost_wire::imap::ask::{Copied, FlagChange, ModSeq, StoreOutcome, Uid};

use crate::ops::{self, Work};
use crate::writer::{Jobs, job};
use crate::{AccountId, Error, MailboxId};

/// The most messages one job changes, where it may be made in pieces.
pub(crate) const PIECE: usize = 5_000;
/// The most messages copied at once: that is all or nothing (RFC 9051 6.4.7), so it cannot be made in pieces.
pub(crate) const MOST_COPIED: usize = 100_000;
/// What a message changed counts in a batch, in octets: a full piece fills it, so that pieces do not gather in one.
const WEIGHT: u64 = 4 << 10;

/// What so many messages count in a batch.
pub(crate) fn weight(messages: usize) -> u64 {
    messages as u64 * WEIGHT
}

/// Runs `step` as one job after the other until it answers; `None` says that there is more.
pub(crate) fn run<T: Send + 'static>(
    jobs: &Jobs,
    weight: u64,
    mut step: impl FnMut(&mut Work<'_>) -> Result<Option<T>, Error> + Send + 'static,
    done: impl FnOnce(Result<T, Error>) + Send + 'static,
) {
    let next = jobs.clone();
    let piece = move |work: &mut Work<'_>| {
        let answer = step(work)?;
        Ok((answer, step))
    };
    let after = move |result| match result {
        Ok((Some(answer), _)) => done(Ok(answer)),
        Ok((None, step)) => run(&next, weight, step, done),
        Err(error) => done(Err(error)),
    };
    jobs.send(job(weight, piece, after));
}

/// UIDs, ascending and each once, handed out piece by piece.
pub(crate) struct Uids {
    all: Vec<Uid>,
    used: usize,
}

impl Uids {
    pub(crate) fn new(mut all: Vec<Uid>) -> Self {
        all.sort_unstable();
        all.dedup();
        Self { all, used: 0 }
    }

    pub(crate) fn len(&self) -> usize {
        self.all.len()
    }

    pub(crate) fn all(&self) -> &[Uid] {
        &self.all
    }

    /// The next piece, and whether it is the last.
    fn next(&mut self) -> (&[Uid], bool) {
        let from = self.used;
        self.used = self.all.len().min(from + PIECE);
        let piece = self.all.get(from..self.used).unwrap_or_default();
        (piece, self.used == self.all.len())
    }
}

/// See [`crate::Store::store_flags`].
pub(crate) fn store_flags(
    mailbox: MailboxId,
    mut uids: Uids,
    change: FlagChange,
    unchanged_since: Option<ModSeq>,
) -> impl FnMut(&mut Work<'_>) -> Result<Option<StoreOutcome>, Error> + Send + 'static {
    let mut sum = StoreOutcome::default();
    move |work| {
        let (piece, last) = uids.next();
        let outcome = ops::store_flags(work, mailbox, piece, &change, unchanged_since)?;
        sum.changed.extend(outcome.changed);
        sum.modified.extend(outcome.modified);
        sum.made.extend(outcome.made);
        Ok(last.then(|| mem::take(&mut sum)))
    }
}

/// See [`crate::Store::remove`].
pub(crate) fn remove(
    mailbox: MailboxId,
    mut uids: Uids,
) -> impl FnMut(&mut Work<'_>) -> Result<Option<Vec<Uid>>, Error> + Send + 'static {
    let mut sum = Vec::new();
    move |work| {
        let (piece, last) = uids.next();
        sum.extend(ops::remove(work, mailbox, piece)?);
        Ok(last.then(|| mem::take(&mut sum)))
    }
}

/// See [`crate::Store::expunge`]: only these.
pub(crate) fn expunge_these(
    mailbox: MailboxId,
    mut uids: Uids,
) -> impl FnMut(&mut Work<'_>) -> Result<Option<Vec<Uid>>, Error> + Send + 'static {
    let mut sum = Vec::new();
    move |work| {
        let (piece, last) = uids.next();
        sum.extend(ops::expunge(work, mailbox, piece)?);
        Ok(last.then(|| mem::take(&mut sum)))
    }
}

/// See [`crate::Store::expunge`]: all.
pub(crate) fn expunge_all(
    mailbox: MailboxId,
) -> impl FnMut(&mut Work<'_>) -> Result<Option<Vec<Uid>>, Error> + Send + 'static {
    let mut sum = Vec::new();
    let mut from = Some(0);
    move |work| {
        let (removed, next) = ops::expunge_after(work, mailbox, from.unwrap_or(Uid::MAX), PIECE)?;
        sum.extend(removed);
        from = next;
        Ok(next.is_none().then(|| mem::take(&mut sum)))
    }
}

/// See [`crate::Store::copy`]: moving, which may stop between two messages (RFC 6851 3.3).
pub(crate) fn move_to(
    mailbox: MailboxId,
    mut uids: Uids,
    to: (AccountId, String),
) -> impl FnMut(&mut Work<'_>) -> Result<Option<Copied>, Error> + Send + 'static {
    let mut sum: Option<Copied> = None;
    move |work| {
        let (piece, last) = uids.next();
        let copied = ops::copy(work, mailbox, piece, (to.0, &to.1), true)?;
        match &mut sum {
            None => sum = Some(copied),
            // Another mailbox has the name now: its UIDs cannot be told together with the first one's.
            Some(sum) if sum.uidvalidity != copied.uidvalidity => return Err(Error::NoSuchMailbox),
            Some(sum) => sum.uids.extend(copied.uids),
        }
        Ok(if last { sum.take() } else { None })
    }
}
