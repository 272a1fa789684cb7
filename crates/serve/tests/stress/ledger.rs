//! What all clients know together: which letter stands under which UID, what may be gone, and what is.
//!
//! A client writes down what it is about to remove before it says so, and what a server acknowledged once it has. So at every
//! moment: whatever was acknowledged and is not doomed must be there, and whatever was reported gone must not come back.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use crate::reply::{Flags, Row};

/// A mailbox, by its place in [`crate::BOXES`].
pub(crate) type Place = usize;

#[derive(Debug, Default)]
pub(crate) struct Ledger {
    /// Letters are numbered; the number is in the subject.
    letters: u32,
    boxes: [Drawer; 2],
    /// What happened to each, in order: what a fault is told with.
    history: HashMap<(Place, u32), Vec<String>>,
    /// What each says of the other's flags at the same modification sequence.
    flags: HashMap<(Place, u32, u64), Flags>,
    pub(crate) counts: BTreeMap<&'static str, u64>,
}

#[derive(Debug, Default)]
struct Drawer {
    letters: HashMap<u32, u32>,
    /// What never changes, as first said: size and date.
    constant: HashMap<u32, (Option<usize>, Option<String>)>,
    /// Acknowledged, and nobody has wanted to remove it.
    kept: BTreeSet<u32>,
    doomed: BTreeSet<u32>,
    /// Those of the doomed that may bear `\Deleted`: a copy bears it too.
    marked: BTreeSet<u32>,
    gone: BTreeSet<u32>,
    /// Told by whoever made it.
    claimed: BTreeSet<u32>,
    /// Reported gone before whoever made it told that it was made.
    unclaimed: BTreeSet<u32>,
}

/// What had been acknowledged when a question was asked.
#[derive(Debug)]
pub(crate) struct Known {
    kept: BTreeSet<u32>,
    gone: BTreeSet<u32>,
}

/// A letter: all of it follows from its number.
pub(crate) fn letter(number: u32) -> String {
    let lines = number as usize % 37;
    let body = format!(".{number} is the number of this line's letter\r\n").repeat(lines);
    format!("From: a@example.org\r\nSubject: letter-{number}-\r\n\r\n{body}")
}

/// The number of a letter, if it is whole.
pub(crate) fn number_of(text: &str) -> Result<u32, String> {
    let number = text
        .split_once("Subject: letter-")
        .and_then(|(_, rest)| rest.split_once('-')?.0.parse().ok());
    match number {
        Some(number) if letter(number) == text => Ok(number),
        _ => Err(format!("a letter that nobody wrote: {text:?}")),
    }
}

impl Ledger {
    pub(crate) fn next_letter(&mut self) -> u32 {
        self.letters += 1;
        self.letters
    }

    /// Writes down what happens to a message.
    pub(crate) fn note(&mut self, place: Place, uid: u32, what: impl Into<String>) {
        let history = self.history.entry((place, uid)).or_default();
        history.push(what.into());
    }

    fn told(&self, place: Place, uid: u32) -> String {
        let history = self.history.get(&(place, uid));
        history.map_or_else(String::new, |it| it.join(" | "))
    }

    pub(crate) fn count(&mut self, what: &'static str) {
        *self.counts.entry(what).or_default() += 1;
    }

    /// The letter under a UID, if anybody has seen it.
    pub(crate) fn letter_at(&self, place: Place, uid: u32) -> Option<u32> {
        self.boxes[place].letters.get(&uid).copied()
    }

    /// Somebody saw this letter under this UID.
    pub(crate) fn learn(&mut self, place: Place, uid: u32, letter: u32) -> Result<(), String> {
        match self.boxes[place].letters.insert(uid, letter) {
            Some(before) if before != letter => Err(format!(
                "UID {uid} is letter {letter}, and was letter {before}"
            )),
            _ => Ok(()),
        }
    }

    /// A server acknowledged that it has this.
    pub(crate) fn keep(&mut self, place: Place, uid: u32) -> Result<(), String> {
        self.note(place, uid, "acknowledged");
        let drawer = &mut self.boxes[place];
        drawer.claimed.insert(uid);
        if drawer.unclaimed.contains(&uid) {
            let told = self.told(place, uid);
            return Err(format!("UID {uid} went as soon as it was there: {told}"));
        }
        if !drawer.doomed.contains(&uid) {
            drawer.kept.insert(uid);
        }
        Ok(())
    }

    /// A server acknowledged that it has this copy.
    pub(crate) fn keep_copy(
        &mut self,
        (from, source): (Place, u32),
        (to, copy): (Place, u32),
    ) -> Result<(), String> {
        if let Some(letter) = self.letter_at(from, source) {
            self.learn(to, copy, letter)?;
        }
        let origin = format!("copied from {from}/{source}: {}", self.told(from, source));
        self.note(to, copy, origin);
        // A source its own maker has not told of yet may be a copy of something marked.
        let source_is_plain = {
            let from = &self.boxes[from];
            from.claimed.contains(&source) && !from.marked.contains(&source)
        };
        if !source_is_plain {
            self.boxes[to].claimed.insert(copy);
            self.mark(to, &[copy]);
            return Ok(());
        }
        self.keep(to, copy)
    }

    /// Somebody is about to remove these.
    pub(crate) fn doom(&mut self, place: Place, uids: &[u32]) {
        for uid in uids {
            self.note(place, *uid, "doomed");
        }
        let drawer = &mut self.boxes[place];
        for uid in uids {
            drawer.kept.remove(uid);
            drawer.doomed.insert(*uid);
        }
    }

    /// Somebody is about to mark these, so that anybody may remove them.
    pub(crate) fn mark(&mut self, place: Place, uids: &[u32]) {
        self.doom(place, uids);
        self.boxes[place].marked.extend(uids);
    }

    fn is_doomed(&self, place: Place, uid: u32) -> bool {
        self.boxes[place].doomed.contains(&uid)
    }

    /// Acknowledged, and nobody has wanted to remove it: it must be there.
    pub(crate) fn is_kept(&self, place: Place, uid: u32) -> bool {
        self.boxes[place].kept.contains(&uid)
    }

    /// A session was told that this is gone.
    pub(crate) fn vanish(&mut self, place: Place, uid: u32) -> Result<(), String> {
        let drawer = &mut self.boxes[place];
        if drawer.kept.contains(&uid) {
            let told = self.told(place, uid);
            return Err(format!("UID {uid} is gone, and nobody removed it: {told}"));
        }
        if !drawer.doomed.contains(&uid) {
            drawer.unclaimed.insert(uid);
            drawer.doomed.insert(uid);
        }
        drawer.gone.insert(uid);
        Ok(())
    }

    pub(crate) fn known(&self, place: Place) -> Known {
        let drawer = &self.boxes[place];
        Known {
            kept: drawer.kept.clone(),
            gone: drawer.gone.clone(),
        }
    }

    /// A session that asked after `known` was written down, and was told all, sees these.
    pub(crate) fn compare(
        &self,
        place: Place,
        known: &Known,
        seen: &BTreeSet<u32>,
    ) -> Result<(), String> {
        if let Some(uid) = seen.intersection(&known.gone).next() {
            return Err(format!("UID {uid} was gone, and is still shown"));
        }
        let lost = known.kept.difference(seen);
        match lost.into_iter().find(|uid| !self.is_doomed(place, **uid)) {
            Some(uid) => Err(format!("UID {uid} was acknowledged, and is not shown")),
            None => Ok(()),
        }
    }

    /// What a row says must be what every row says.
    pub(crate) fn check_row(&mut self, place: Place, uid: u32, row: &Row) -> Result<(), String> {
        let constant = self.boxes[place].constant.entry(uid).or_default();
        if let Some(size) = row.size {
            let before = *constant.0.get_or_insert(size);
            if before != size {
                return Err(format!("UID {uid} has {size} octets, and had {before}"));
            }
        }
        if let Some(date) = &row.date {
            let before = constant.1.get_or_insert_with(|| date.clone());
            if before != date {
                return Err(format!("UID {uid} is of {date}, and was of {before}"));
            }
        }
        if let Some(body) = &row.body {
            self.learn(place, uid, number_of(body)?)?;
        }
        if let (Some(size), Some(number)) = (row.size, self.letter_at(place, uid))
            && letter(number).len() != size
        {
            return Err(format!("UID {uid}, letter {number}, has {size} octets"));
        }
        if let (Some(modseq), Some(flags)) = (row.modseq, &row.flags) {
            let key = (place, uid, modseq);
            let before = self.flags.entry(key).or_insert_with(|| flags.clone());
            if before != flags {
                return Err(format!(
                    "UID {uid} at {modseq} has {flags:?}, and another session saw {before:?}"
                ));
            }
        }
        Ok(())
    }

    /// At a checkpoint, when nobody asks: forgets what is not needed to compare any more.
    pub(crate) fn tidy(&mut self) {
        self.flags.clear();
    }
}
