//! A mailbox as one session has been told of it: sequence numbers, UIDs, flags.

use std::collections::BTreeSet;

use crate::reply::{Flags, Row};

#[derive(Debug, Default)]
pub(crate) struct View {
    pub(crate) slots: Vec<Slot>,
}

/// What stands under a sequence number.
#[derive(Debug, Default, Clone)]
pub(crate) struct Slot {
    /// None until the session was told.
    pub(crate) uid: Option<u32>,
    pub(crate) flags: Option<Flags>,
    pub(crate) modseq: u64,
}

impl View {
    pub(crate) fn exists(&mut self, number: usize) -> Result<(), String> {
        if number < self.slots.len() {
            return Err(format!("{number} EXISTS after {}", self.slots.len()));
        }
        self.slots.resize(number, Slot::default());
        Ok(())
    }

    pub(crate) fn expunge(&mut self, number: usize) -> Result<Option<u32>, String> {
        if number == 0 || number > self.slots.len() {
            return Err(format!("{number} EXPUNGE of {}", self.slots.len()));
        }
        Ok(self.slots.remove(number - 1).uid)
    }

    pub(crate) fn vanish(&mut self, uid: u32) -> Result<(), String> {
        let known = self.slots.iter().position(|slot| slot.uid == Some(uid));
        // Not known: one of those that are new, between the UIDs that are known; which of them makes no difference.
        let after = self
            .slots
            .iter()
            .position(|slot| slot.uid.is_some_and(|known| known > uid));
        let before = &self.slots[..after.unwrap_or(self.slots.len())];
        let place = known.or_else(|| before.iter().rposition(|slot| slot.uid.is_none()));
        let place = place.ok_or_else(|| format!("VANISHED {uid}, which was never there"))?;
        self.slots.remove(place);
        Ok(())
    }

    /// Takes in a row; gives its UID where that is known.
    pub(crate) fn fetched(&mut self, number: usize, row: &Row) -> Result<Option<u32>, String> {
        let count = self.slots.len();
        let Some(slot) = number.checked_sub(1).and_then(|at| self.slots.get_mut(at)) else {
            return Err(format!("{number} FETCH of {count}"));
        };
        if let (Some(known), Some(told)) = (slot.uid, row.uid)
            && known != told
        {
            return Err(format!("{number} is UID {told}, and was UID {known}"));
        }
        slot.uid = slot.uid.or(row.uid);
        if let Some(modseq) = row.modseq {
            if modseq < slot.modseq {
                return Err(format!(
                    "{number} went from {} back to {modseq}",
                    slot.modseq
                ));
            }
            slot.modseq = modseq;
        }
        if let Some(flags) = &row.flags {
            slot.flags = Some(flags.clone());
        }
        let uid = slot.uid;
        self.check_order(number - 1)?;
        Ok(uid)
    }

    /// UIDs ascend with sequence numbers.
    fn check_order(&self, at: usize) -> Result<(), String> {
        let uid = self.slots[at].uid;
        let before = self.slots[..at].iter().rev().find_map(|slot| slot.uid);
        let after = self.slots[at + 1..].iter().find_map(|slot| slot.uid);
        let rises = |low: Option<u32>, high: Option<u32>| {
            low.zip(high).is_none_or(|(low, high)| low < high)
        };
        if rises(before, uid) && rises(uid, after) {
            return Ok(());
        }
        Err(format!("UIDs in the order {before:?} {uid:?} {after:?}"))
    }

    pub(crate) fn uids(&self) -> BTreeSet<u32> {
        self.slots.iter().filter_map(|slot| slot.uid).collect()
    }

    pub(crate) fn slot_of(&mut self, uid: u32) -> Option<&mut Slot> {
        self.slots.iter_mut().find(|slot| slot.uid == Some(uid))
    }

    /// The first sequence number whose UID is not known.
    pub(crate) fn first_unknown(&self) -> Option<usize> {
        Some(self.slots.iter().position(|slot| slot.uid.is_none())? + 1)
    }
}
