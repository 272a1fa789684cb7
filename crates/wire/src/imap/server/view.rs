//! What the client has been told about the selected mailbox, and the one place where sequence numbers become UIDs.
//!
//! A sequence number is a position in the list of UIDs told to the client, so it changes only when the client is told
//! (RFC 9051 2.3.1.2, 7.5.1). A message another session removed stays in the list until EXPUNGE may be said. `\Recent` is
//! not tracked: IMAP4rev2 dropped it, and IMAP4rev1 allows a server to have no recent messages.

use imap_types::sequence::{SeqOrUid, Sequence, SequenceSet};

use super::cursor::{Cursor, Syntax};
use crate::imap::ask::{ModSeq, Uid};

/// A sequence set as the client wrote it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Set {
    /// `$`: the saved result of a search (RFC 5182).
    Saved,
    /// Ranges; `None` is `*`.
    Ranges(Vec<(Option<u32>, Option<u32>)>),
}

/// A sequence number names no message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct NoSuchMessage;

impl Set {
    /// `sequence-set` with `$` (RFC 9051 9).
    pub(super) fn parse(cursor: &mut Cursor<'_>) -> Result<Self, Syntax> {
        if cursor.eat(b'$') {
            return Ok(Self::Saved);
        }
        let mut ranges = Vec::new();
        loop {
            let from = bound(cursor)?;
            let to = if cursor.eat(b':') {
                bound(cursor)?
            } else {
                from
            };
            ranges.push((from, to));
            if !cursor.eat(b',') {
                return Ok(Self::Ranges(ranges));
            }
        }
    }
}

impl Set {
    /// The ranges as numbers, ascending and disjoint; `*` is `star`. None of a saved result.
    pub(super) fn bounds(&self, star: u32) -> Vec<(u32, u32)> {
        let Self::Ranges(ranges) = self else {
            return Vec::new();
        };
        let number = |bound: &Option<u32>| bound.unwrap_or(star);
        let ranges = ranges.iter().map(|(from, to)| (number(from), number(to)));
        merge(
            ranges
                .map(|(from, to)| (from.min(to), from.max(to)))
                .collect(),
        )
    }
}

fn bound(cursor: &mut Cursor<'_>) -> Result<Option<u32>, Syntax> {
    if cursor.eat(b'*') {
        return Ok(None);
    }
    let number = u32::try_from(cursor.number()?).map_err(|_| Syntax)?;
    if number == 0 {
        Err(Syntax)
    } else {
        Ok(Some(number))
    }
}

impl From<&SequenceSet> for Set {
    fn from(set: &SequenceSet) -> Self {
        let bound = |bound: &SeqOrUid| match bound {
            SeqOrUid::Value(number) => Some(number.get()),
            SeqOrUid::Asterisk => None,
        };
        Self::Ranges(
            set.0
                .as_ref()
                .iter()
                .map(|sequence| match sequence {
                    Sequence::Single(one) => (bound(one), bound(one)),
                    Sequence::Range(from, to) => (bound(from), bound(to)),
                })
                .collect(),
        )
    }
}

/// The selected mailbox as this client knows it.
#[derive(Debug, Default)]
pub(super) struct View {
    /// UIDs told to the client, ascending; a sequence number is an index, plus one.
    uids: Vec<Uid>,
    /// Of these, the ones that are gone though the client does not know yet.
    vanished: Vec<Uid>,
    /// The saved search result, ascending.
    saved: Vec<Uid>,
    /// The highest modification sequence the client has been told everything up to.
    pub(super) known: ModSeq,
    /// EXAMINE, or a mailbox that cannot be changed.
    pub(super) read_only: bool,
    /// The name it was opened by: NOTIFY tells of the others.
    pub(super) name: Box<str>,
}

impl View {
    pub(super) fn new(mut uids: Vec<Uid>, known: ModSeq, read_only: bool) -> Self {
        uids.shrink_to_fit();
        Self {
            uids,
            known,
            read_only,
            ..Self::default()
        }
    }

    pub(super) fn uids(&self) -> &[Uid] {
        &self.uids
    }

    /// How many messages the client knows of.
    pub(super) fn count(&self) -> usize {
        self.uids.len()
    }

    /// The sequence number of a message.
    pub(super) fn number(&self, uid: Uid) -> Option<u32> {
        self.uids
            .binary_search(&uid)
            .ok()
            .map(|index| u32::try_from(index + 1).unwrap_or(u32::MAX))
    }

    /// Adds new messages; those already known, or older than the newest known, are left out. Says whether there were any.
    pub(super) fn extend(&mut self, uids: impl Iterator<Item = Uid>) -> bool {
        let before = self.uids.len();
        for uid in uids {
            if self.uids.last().is_none_or(|last| *last < uid) {
                self.uids.push(uid);
            }
        }
        self.uids.len() > before
    }

    /// A change made by this session itself: when nothing else happened before it, there is nothing left to ask about.
    pub(super) fn own_change(&mut self, modseq: ModSeq) {
        if modseq == self.known + 1 {
            self.known = modseq;
        }
    }

    /// Notes that messages are gone, to be told when [`View::take_vanished`] may be.
    pub(super) fn vanish(&mut self, uids: impl IntoIterator<Item = Uid>) {
        let known: Vec<Uid> = uids
            .into_iter()
            .filter(|uid| self.uids.binary_search(uid).is_ok())
            .collect();
        self.vanished.extend(known);
    }

    /// Forgets vanished messages and gives the numbers to be told in EXPUNGE responses, the highest first, so that each is
    /// right at the moment it is read.
    pub(super) fn take_vanished(&mut self) -> Vec<u32> {
        if self.vanished.is_empty() {
            return Vec::new();
        }
        let before = std::mem::take(&mut self.vanished);
        let mut numbers: Vec<u32> = before.iter().filter_map(|uid| self.number(*uid)).collect();
        numbers.sort_unstable_by(|one, other| other.cmp(one));
        numbers.dedup();
        self.vanished = before;
        self.take_vanished_uids();
        numbers
    }

    /// Forgets vanished messages and gives their UIDs, ascending, to be told in VANISHED (RFC 7162 3.2.10).
    pub(super) fn take_vanished_uids(&mut self) -> Vec<Uid> {
        if self.vanished.is_empty() {
            return Vec::new();
        }
        let mut gone = std::mem::take(&mut self.vanished);
        gone.sort_unstable();
        gone.dedup();
        self.uids.retain(|uid| gone.binary_search(uid).is_err());
        self.saved.retain(|uid| gone.binary_search(uid).is_err());
        gone
    }

    /// Whether the client is still to be told that messages are gone.
    pub(super) fn has_vanished(&self) -> bool {
        !self.vanished.is_empty()
    }

    /// Whether the client has been told of a message and not of its end.
    pub(super) fn knows(&self, uid: Uid) -> bool {
        self.uids.binary_search(&uid).is_ok()
    }

    /// Keeps a search result for `$`.
    pub(super) fn save(&mut self, uids: Vec<Uid>) {
        self.saved = uids;
    }

    /// The messages a set names, ascending. A UID that names no message is passed over; a sequence number that does not
    /// exist is an error (RFC 9051 9, seq-number), but `*` in an empty mailbox just names none.
    pub(super) fn resolve(&self, set: &Set, by_uid: bool) -> Result<Vec<Uid>, NoSuchMessage> {
        let mut found = Vec::new();
        for (low, high) in self.uid_ranges(set, by_uid)? {
            let from = self.uids.partition_point(|uid| *uid < low);
            let to = self.uids.partition_point(|uid| *uid <= high);
            found.extend_from_slice(self.uids.get(from..to).unwrap_or_default());
        }
        Ok(found)
    }

    /// A set as ascending, disjoint, inclusive ranges of UIDs.
    pub(super) fn uid_ranges(
        &self,
        set: &Set,
        by_uid: bool,
    ) -> Result<Vec<(Uid, Uid)>, NoSuchMessage> {
        let ranges = match set {
            Set::Saved => return Ok(runs(self.saved.iter().copied())),
            Set::Ranges(ranges) => ranges,
        };
        let count = u32::try_from(self.uids.len()).unwrap_or(u32::MAX);
        let star = if by_uid {
            self.uids.last().copied().unwrap_or(0)
        } else {
            count
        };
        let mut resolved = Vec::with_capacity(ranges.len());
        for (from, to) in ranges {
            let (from, to) = (from.unwrap_or(star), to.unwrap_or(star));
            resolved.push((from.min(to), from.max(to)));
        }
        let starred = ranges
            .iter()
            .any(|(from, to)| from.is_none() || to.is_none());
        if !by_uid {
            if self.uids.is_empty() && starred {
                return Ok(Vec::new());
            }
            if resolved.iter().any(|(_, high)| *high > count) {
                return Err(NoSuchMessage);
            }
        }
        let merged = merge(resolved);
        Ok(if by_uid {
            merged
        } else {
            merged
                .into_iter()
                .filter_map(|range| self.to_uids(range))
                .collect()
        })
    }

    fn to_uids(&self, (low, high): (u32, u32)) -> Option<(Uid, Uid)> {
        let at = |number: u32| {
            self.uids
                .get(usize::try_from(number).ok()?.checked_sub(1)?)
                .copied()
        };
        Some((at(low)?, at(high)?))
    }
}

/// Sorts ranges and joins those that overlap, so that what a set costs does not depend on how often it names a message.
fn merge(mut ranges: Vec<(u32, u32)>) -> Vec<(u32, u32)> {
    ranges.sort_unstable();
    let mut merged: Vec<(u32, u32)> = Vec::with_capacity(ranges.len());
    for (low, high) in ranges {
        match merged.last_mut() {
            Some(last) if low <= last.1.saturating_add(1) => last.1 = last.1.max(high),
            _ => merged.push((low, high)),
        }
    }
    merged
}

/// Numbers, in the order given, as runs of consecutive ones.
pub(super) fn runs(numbers: impl Iterator<Item = u32>) -> Vec<(u32, u32)> {
    let mut runs: Vec<(u32, u32)> = Vec::new();
    for number in numbers {
        match runs.last_mut() {
            Some(last) if last.1.checked_add(1) == Some(number) => last.1 = number,
            _ => runs.push((number, number)),
        }
    }
    runs
}

#[cfg(test)]
mod tests {
    use super::*;

    fn view() -> View {
        View::new(vec![10, 20, 30, 40, 50], 7, false)
    }

    fn set(text: &str) -> Set {
        Set::parse(&mut Cursor::new(text.as_bytes())).unwrap()
    }

    #[test]
    fn numbers_and_uids_resolve() {
        assert_eq!(view().resolve(&set("2:4"), false).unwrap(), [20, 30, 40]);
        assert_eq!(
            view().resolve(&set("4:2,3,*"), false).unwrap(),
            [20, 30, 40, 50]
        );
        assert_eq!(view().resolve(&set("15:35"), true).unwrap(), [20, 30]);
        assert_eq!(
            view().resolve(&set("559:*"), true).unwrap(),
            [50],
            "the last message is always in n:*"
        );
        assert_eq!(view().resolve(&set("6"), false), Err(NoSuchMessage));
        assert_eq!(View::default().resolve(&set("1:*"), false), Ok(vec![]));
        assert_eq!(
            View::default().resolve(&set("1"), false),
            Err(NoSuchMessage)
        );
    }

    #[test]
    fn a_set_naming_a_message_often_costs_it_once() {
        let often = vec!["1:*"; 1000].join(",");
        assert_eq!(view().resolve(&set(&often), true).unwrap().len(), 5);
    }

    #[test]
    fn expunges_are_told_from_the_top() {
        let mut it = view();
        it.save(vec![20, 30]);
        it.vanish([20, 40, 99]);
        assert_eq!(it.count(), 5, "the client has not been told");
        assert_eq!(it.take_vanished(), [4, 2]);
        assert_eq!(it.uids(), [10, 30, 50]);
        assert_eq!(it.resolve(&Set::Saved, true).unwrap(), [30]);
        assert!(it.take_vanished().is_empty());
    }

    #[test]
    fn bad_sets_are_refused() {
        for bad in ["0", "1:", ":1", "1,,2", "4294967296", "a", ""] {
            let mut cursor = Cursor::new(bad.as_bytes());
            assert!(Set::parse(&mut cursor).is_err(), "{bad}");
        }
    }
}
