//! What an IMAP client does at random, and what each reply must then say.

use std::time::Duration;

use crate::BOXES;
use crate::client::{Client, Expunging, Flavour};
use crate::ledger::letter;
use crate::reply::{Response, Said, expand};

/// Above this many messages in a mailbox none is added.
const FULL: usize = 120;

/// Messages, named in one of the two ways.
struct Chosen {
    uids: Vec<u32>,
    set: String,
    by_uid: bool,
}

impl Chosen {
    fn prefix(&self) -> &'static str {
        if self.by_uid { "UID " } else { "" }
    }

    fn expunging(&self) -> Expunging {
        if self.by_uid {
            Expunging::Allowed
        } else {
            Expunging::Forbidden
        }
    }
}

impl Client<'_> {
    /// One act.
    pub(crate) fn act(&mut self) -> Result<(), String> {
        let (name, done) = match self.chance.below(100) {
            0..12 => ("append", self.append()),
            12..30 => ("store", self.store()),
            30..36 => ("conditional store", self.store_unchanged()),
            36..46 => ("mark as deleted", self.mark_deleted()),
            46..51 => ("expunge", self.expunge()),
            51..54 => ("uid expunge", self.uid_expunge()),
            54..59 => ("copy", self.copy_or_move(false)),
            59..64 => ("move", self.copy_or_move(true)),
            64..78 => ("fetch", self.fetch()),
            78..87 => ("search", self.search()),
            87..93 => ("noop", self.noop()),
            93..95 => ("idle", self.wait()),
            95..99 => ("select", self.select_any()),
            _ => ("reconnect", self.reconnect()),
        };
        self.ledger().count(name);
        done.map_err(|fault| format!("{name} by {} ({:?}): {fault}", self.keyword, self.flavour))
    }

    /// Up to four messages whose UIDs are known.
    fn choose(&mut self) -> Option<Chosen> {
        let by_uid = self.chance.once_in(2);
        let mut at: Vec<usize> = (0..=self.chance.below(4))
            .filter(|_| !self.view.slots.is_empty())
            .map(|_| self.chance.below(self.view.slots.len()))
            .collect();
        at.sort_unstable();
        at.dedup();
        let known = at
            .into_iter()
            .filter_map(|at| Some((at + 1, self.view.slots[at].uid?)));
        let (numbers, uids): (Vec<_>, Vec<_>) = known.unzip();
        let words: Vec<String> = if by_uid {
            uids.iter().map(u32::to_string).collect()
        } else {
            numbers.iter().map(usize::to_string).collect()
        };
        let set = words.join(",");
        (!uids.is_empty()).then_some(Chosen { uids, set, by_uid })
    }

    /// Writes down what is about to be done to these.
    fn note(&self, chosen: &Chosen, what: &str) {
        let text = format!("{what} by {} ({})", self.keyword, chosen.set);
        let mut ledger = self.ledger();
        for uid in &chosen.uids {
            ledger.note(self.place, *uid, text.clone());
        }
    }

    fn append(&mut self) -> Result<(), String> {
        if self.view.slots.len() >= FULL {
            return self.noop();
        }
        let place = self.chance.below(BOXES.len());
        let bears = self.chance.once_in(3);
        let flags = if bears {
            self.keyword.clone()
        } else {
            String::new()
        };
        let number = self.chance.below(2) + 1;
        let letters: Vec<u32> = (0..number).map(|_| self.ledger().next_letter()).collect();
        let mut command = format!("APPEND {}", BOXES[place]);
        for text in letters.iter().map(|number| letter(*number)) {
            command += &format!(" ({flags}) {{{}+}}\r\n{text}", text.len());
        }
        let said = self.say(&command, Expunging::Allowed)?;
        let words = said
            .code_words("APPENDUID")
            .ok_or_else(|| said.tagged.clone())?;
        let uids = expand(words.get(1).ok_or("APPENDUID without UIDs")?)?;
        if uids.len() != letters.len() {
            return Err(format!("{letters:?} became {uids:?}"));
        }
        for (uid, letter) in uids.into_iter().zip(letters) {
            // Whoever saw it since has seen it with the keyword.
            self.own.insert((place, uid), bears);
            self.ledger().learn(place, uid, letter)?;
            self.ledger().keep(place, uid)?;
        }
        Ok(())
    }

    fn store(&mut self) -> Result<(), String> {
        let Some(chosen) = self.choose() else {
            return self.noop();
        };
        let keyword = self.keyword.clone();
        let flag = self
            .chance
            .pick(&[
                keyword.as_str(),
                keyword.as_str(),
                "\\Seen",
                "\\Flagged",
                "\\Answered",
            ])
            .to_owned();
        let sign = self.chance.pick(&["+", "-"]).to_owned();
        let silent = self.chance.once_in(3);
        self.forget(&chosen, silent);
        let tail = if silent { ".SILENT" } else { "" };
        let (prefix, set) = (chosen.prefix(), &chosen.set);
        let said = self.say(
            &format!("{prefix}STORE {set} {sign}FLAGS{tail} ({flag})"),
            chosen.expunging(),
        )?;
        self.check_writable(&said)?;
        if said.ok && flag == keyword {
            self.expect_own(&chosen.uids, sign == "+")?;
        }
        Ok(())
    }

    /// What may change without a word is not known any more.
    fn forget(&mut self, chosen: &Chosen, silent: bool) {
        for uid in &chosen.uids {
            self.own.remove(&(self.place, *uid));
            if let Some(slot) = self.view.slot_of(*uid).filter(|_| silent) {
                slot.flags = None;
            }
        }
    }

    fn check_writable(&self, said: &Said) -> Result<(), String> {
        if said.ok && self.read_only {
            return Err(format!("done in EXAMINE: {said:?}"));
        }
        Ok(())
    }

    /// The keyword is as was asked for, unless the reply said otherwise.
    fn expect_own(&mut self, uids: &[u32], bears: bool) -> Result<(), String> {
        for uid in uids {
            let told = *self.own.entry((self.place, *uid)).or_insert(bears);
            if told != bears {
                return Err(format!("UID {uid}: the keyword was to be {bears}"));
            }
        }
        Ok(())
    }

    /// STORE on condition that nothing has changed since, one that holds perhaps and one that cannot.
    fn store_unchanged(&mut self) -> Result<(), String> {
        let known = self.choose().map(|chosen| chosen.uids[0]);
        let Some(uid) = known.filter(|_| self.flavour != Flavour::Plain && !self.read_only) else {
            return self.noop();
        };
        let modseq = self.view.slot_of(uid).map_or(0, |slot| slot.modseq);
        if modseq < 2 {
            return Ok(());
        }
        let stale = self.chance.once_in(2);
        let since = modseq - u64::from(stale);
        let before = self.own.remove(&(self.place, uid));
        let bears = self.chance.once_in(2);
        let sign = if bears { "+" } else { "-" };
        let keyword = &self.keyword;
        let command = format!("UID STORE {uid} (UNCHANGEDSINCE {since}) {sign}FLAGS ({keyword})");
        let said = self.say(&command, Expunging::Allowed)?;
        let refused = said.code_words("MODIFIED").is_some();
        if said.ok && !refused {
            if stale && self.ledger().is_kept(self.place, uid) {
                return Err(format!("{command:?} was done: {said:?}"));
            }
            return self.expect_own(&[uid], bears);
        }
        match before {
            Some(before) => self.expect_own(&[uid], before),
            None => Ok(()),
        }
    }

    fn mark_deleted(&mut self) -> Result<(), String> {
        let Some(chosen) = self.choose() else {
            return self.noop();
        };
        if !self.read_only {
            self.note(&chosen, "is to be marked as deleted");
            self.ledger().mark(self.place, &chosen.uids);
        }
        let (prefix, set) = (chosen.prefix(), &chosen.set);
        let said = self.say(
            &format!("{prefix}STORE {set} +FLAGS (\\Deleted)"),
            chosen.expunging(),
        )?;
        self.check_writable(&said)?;
        if said.ok {
            let place = self.place;
            self.deleted
                .extend(chosen.uids.iter().map(|uid| (place, *uid)));
        }
        Ok(())
    }

    fn expunge(&mut self) -> Result<(), String> {
        let said = self.say("EXPUNGE", Expunging::Allowed)?;
        self.check_writable(&said)?;
        if said.ok {
            // What another session removed first is told with the news, which may come with the next command.
            self.noop()?;
            let (place, all) = (self.place, self.view.uids());
            let left = all
                .iter()
                .find(|uid| self.deleted.contains(&(place, **uid)));
            if let Some(uid) = left {
                return Err(format!("UID {uid} is still there: {said:?}"));
            }
            self.deleted.retain(|(marked, _)| *marked != place);
        }
        Ok(())
    }

    fn uid_expunge(&mut self) -> Result<(), String> {
        let Some(chosen) = self.choose() else {
            return self.noop();
        };
        let set: Vec<String> = chosen.uids.iter().map(u32::to_string).collect();
        let said = self.say(
            &format!("UID EXPUNGE {}", set.join(",")),
            Expunging::Allowed,
        )?;
        self.check_writable(&said)?;
        if said.ok {
            self.noop()?;
            let (place, all) = (self.place, self.view.uids());
            let mut left = chosen.uids.iter().filter(|uid| all.contains(uid));
            if let Some(uid) = left.find(|uid| self.deleted.contains(&(place, **uid))) {
                return Err(format!("UID {uid} is still there: {said:?}"));
            }
        }
        Ok(())
    }

    fn copy_or_move(&mut self, moves: bool) -> Result<(), String> {
        let Some(chosen) = self.choose() else {
            return self.noop();
        };
        if !moves && self.view.slots.len() >= FULL {
            return self.noop();
        }
        let to = self.chance.below(BOXES.len());
        let verb = if moves { "MOVE" } else { "COPY" };
        self.note(&chosen, &format!("is to {verb} to {to}"));
        if moves && !self.read_only {
            self.ledger().doom(self.place, &chosen.uids);
        }
        let (prefix, set) = (chosen.prefix(), &chosen.set);
        let said = self.say(
            &format!("{prefix}{verb} {set} {}", BOXES[to]),
            Expunging::Allowed,
        )?;
        if moves {
            self.check_writable(&said)?;
        }
        if said.ok {
            self.check_copied(&chosen, to, moves, &said)?;
        }
        Ok(())
    }

    fn check_copied(
        &mut self,
        chosen: &Chosen,
        to: usize,
        moves: bool,
        said: &Said,
    ) -> Result<(), String> {
        let copied = said.copied()?;
        let seen = self.view.uids();
        for (source, copy) in &copied {
            if !chosen.uids.contains(source) {
                return Err(format!("UID {source} was not asked for: {said:?}"));
            }
            if moves && seen.contains(source) {
                return Err(format!("UID {source} has moved, and is there: {said:?}"));
            }
            self.ledger()
                .keep_copy((self.place, *source), (to, *copy))?;
        }
        for uid in &chosen.uids {
            let left_out = !copied.iter().any(|(source, _)| source == uid);
            if left_out && self.ledger().is_kept(self.place, *uid) {
                return Err(format!("UID {uid} was left out: {said:?}"));
            }
        }
        Ok(())
    }

    fn fetch(&mut self) -> Result<(), String> {
        let Some(chosen) = self.choose() else {
            return self.noop();
        };
        let items = [
            "FLAGS",
            "RFC822.SIZE INTERNALDATE",
            "BODY.PEEK[] RFC822.SIZE",
            "BODY[]",
        ];
        let items = self.chance.pick(&items);
        let (prefix, set, modseq) = (chosen.prefix(), &chosen.set, self.modseq_item());
        let said = self.say(
            &format!("{prefix}FETCH {set} (UID {items}{modseq})"),
            chosen.expunging(),
        )?;
        for uid in &chosen.uids {
            let came = said.untagged.iter().any(|response| match response {
                Response::Fetch(_, row) => {
                    row.uid == Some(*uid) && (row.body.is_some() || !items.contains("BODY"))
                }
                _ => false,
            });
            if !came && self.ledger().is_kept(self.place, *uid) {
                return Err(format!("nothing of UID {uid}: {said:?}"));
            }
        }
        Ok(())
    }

    /// What a search must find: by the client's own keyword, by a letter's number, all.
    fn search(&mut self) -> Result<(), String> {
        self.fill()?;
        let by_uid = self.chance.once_in(2);
        let kind = self.chance.below(4);
        let some = self.choose().map(|chosen| chosen.uids[0]);
        let letter = some.and_then(|uid| self.ledger().letter_at(self.place, uid));
        let criterion = match (kind, letter) {
            (0, _) => format!("KEYWORD {}", self.keyword),
            (1, _) => format!("UNKEYWORD {}", self.keyword),
            (2, Some(letter)) => format!("SUBJECT letter-{letter}-"),
            _ => "ALL".to_owned(),
        };
        // Before the reply, which may bring new messages that were not searched.
        let view: Vec<u32> = self
            .view
            .slots
            .iter()
            .map(|slot| slot.uid.unwrap_or(0))
            .collect();
        let expunging = if by_uid {
            Expunging::Allowed
        } else {
            Expunging::Forbidden
        };
        let prefix = if by_uid { "UID " } else { "" };
        let said = self.say(&format!("{prefix}SEARCH {criterion}"), expunging)?;
        let mut found = Vec::new();
        for response in &said.untagged {
            if let Response::Search(numbers) = response {
                found.extend(numbers.iter().copied());
            }
        }
        if !by_uid {
            let uid = |number: &u32| view.get((*number as usize).checked_sub(1)?).copied();
            let uids: Option<Vec<u32>> = found.iter().map(uid).collect();
            found = uids.ok_or_else(|| format!("beyond the mailbox: {said:?}"))?;
        }
        for uid in view.iter().copied().filter(|uid| *uid != 0) {
            let fits = match (kind, letter) {
                (0, _) => self.own.get(&(self.place, uid)).copied(),
                (1, _) => self.own.get(&(self.place, uid)).map(|bears| !bears),
                (2, Some(letter)) => {
                    let known = self.ledger().letter_at(self.place, uid);
                    known.map(|known| known == letter)
                }
                _ => Some(true),
            };
            let (Some(fits), is_found) = (fits, found.contains(&uid)) else {
                continue;
            };
            let may_lack = !self.ledger().is_kept(self.place, uid);
            if fits != is_found && !(fits && may_lack) {
                return Err(format!("{criterion}: UID {uid} fits: {fits}, {said:?}"));
            }
        }
        Ok(())
    }

    fn wait(&mut self) -> Result<(), String> {
        let patience = Duration::from_millis(self.chance.below(40) as u64);
        self.idle(patience)
    }

    fn select_any(&mut self) -> Result<(), String> {
        let (place, read_only) = (self.chance.below(BOXES.len()), self.chance.once_in(4));
        self.select(place, read_only)
    }
}
