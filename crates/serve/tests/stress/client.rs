//! One IMAP client: its view of the selected mailbox, and how each reply is held against it and the ledger.
//!
//! Every client has a keyword of its own that nobody else touches. So it knows at every moment which messages bear it, and any
//! FLAGS or SEARCH that says otherwise is wrong, however the others' commands fall in between.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::{Mutex, MutexGuard};
use std::time::Duration;

use tokio::runtime::Handle;

use crate::BOXES;
use crate::chance::Chance;
use crate::ledger::{Ledger, Place};
use crate::link::Imap;
use crate::reply::{Flags, Response, Row, Said};
use crate::view::View;
use crate::world::World;

/// How much of CONDSTORE and QRESYNC a client asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Flavour {
    Plain,
    Condstore,
    Qresync,
}

pub(crate) struct Client<'a> {
    pub(crate) chance: Chance,
    pub(crate) flavour: Flavour,
    pub(crate) keyword: String,
    pub(crate) place: Place,
    pub(crate) read_only: bool,
    pub(crate) view: View,
    /// Whether a message bears the client's keyword, where that is known.
    pub(crate) own: HashMap<(Place, u32), bool>,
    /// What this client has marked as deleted, acknowledged.
    pub(crate) deleted: HashSet<(Place, u32)>,
    link: Imap,
    runtime: Handle,
    world: &'a World,
    ledger: &'a Mutex<Ledger>,
    memory: HashMap<Place, Memory>,
}

/// Flags and modification sequences by UID.
type Remembered = BTreeMap<u32, (Flags, u64)>;

/// What a client remembers of a mailbox it left.
struct Memory {
    validity: u64,
    modseq: u64,
    messages: Remembered,
}

/// Whether a reply may remove messages from the view.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Expunging {
    Allowed,
    /// In FETCH, STORE and SEARCH by sequence number (RFC 9051 7.5.1).
    Forbidden,
}

impl<'a> Client<'a> {
    pub(crate) fn new(
        number: usize,
        seed: u64,
        runtime: &Handle,
        world: &'a World,
        ledger: &'a Mutex<Ledger>,
    ) -> Self {
        Self {
            chance: Chance::new(seed.wrapping_add(number as u64)),
            flavour: [Flavour::Plain, Flavour::Condstore, Flavour::Qresync][number % 3],
            keyword: format!("$own{number}"),
            place: 0,
            read_only: false,
            view: View::default(),
            own: HashMap::new(),
            deleted: HashSet::new(),
            link: Imap::open(runtime, world),
            runtime: runtime.clone(),
            world,
            ledger,
            memory: HashMap::new(),
        }
    }

    pub(crate) fn ledger(&self) -> MutexGuard<'a, Ledger> {
        self.ledger.lock().unwrap()
    }

    /// A connection that ends without a word, and a new one.
    pub(crate) fn reconnect(&mut self) -> Result<(), String> {
        self.link = Imap::open(&self.runtime, self.world);
        if self.flavour == Flavour::Qresync && !self.link.say("ENABLE QRESYNC")?.ok {
            return Err("QRESYNC cannot be enabled".to_owned());
        }
        self.select(self.place, self.read_only)
    }

    /// Says a command and takes in what it brings.
    pub(crate) fn say(&mut self, command: &str, expunging: Expunging) -> Result<Said, String> {
        let said = self.link.say(command)?;
        let taken = self.take_in(&said, expunging);
        taken.map_err(|fault| format!("{fault}, after {command:?}: {said:?}"))?;
        Ok(said)
    }

    pub(crate) fn idle(&mut self, patience: Duration) -> Result<(), String> {
        let said = self.link.idle(patience)?;
        self.take_in(&said, Expunging::Allowed)
            .map_err(|fault| format!("{fault}, in IDLE: {said:?}"))
    }

    fn take_in(&mut self, said: &Said, expunging: Expunging) -> Result<(), String> {
        for response in &said.untagged {
            let removes = matches!(response, Response::Expunge(_) | Response::Vanished { .. });
            if removes && expunging == Expunging::Forbidden {
                return Err("a message removed where that is forbidden".to_owned());
            }
            match response {
                Response::Exists(number) => self.view.exists(*number)?,
                Response::Expunge(_) if self.flavour == Flavour::Qresync => {
                    return Err("EXPUNGE after QRESYNC".to_owned());
                }
                Response::Expunge(number) => {
                    if let Some(uid) = self.view.expunge(*number)? {
                        self.ledger().vanish(self.place, uid)?;
                    }
                }
                Response::Vanished { earlier: true, .. } => {
                    return Err("VANISHED (EARLIER) unasked".to_owned());
                }
                Response::Vanished { uids, .. } => {
                    for uid in uids {
                        self.view.vanish(*uid)?;
                        self.ledger().vanish(self.place, *uid)?;
                    }
                }
                Response::Fetch(number, row) => self.take_row(*number, row)?,
                Response::Search(_) | Response::Other(_) => {}
            }
        }
        Ok(())
    }

    fn take_row(&mut self, number: usize, row: &Row) -> Result<(), String> {
        let Some(uid) = self.view.fetched(number, row)? else {
            return Ok(());
        };
        self.ledger().check_row(self.place, uid, row)?;
        let Some(flags) = &row.flags else {
            return Ok(());
        };
        let bears = flags.contains(&self.keyword);
        let before = *self.own.entry((self.place, uid)).or_insert(bears);
        if before != bears {
            return Err(format!("UID {uid}: {} is {bears}", self.keyword));
        }
        Ok(())
    }

    /// Opens a mailbox; with QRESYNC what was remembered is brought up to date, and held against all there is.
    pub(crate) fn select(&mut self, place: Place, read_only: bool) -> Result<(), String> {
        let memory = self.memory.remove(&place);
        let memory = memory.filter(|_| self.flavour == Flavour::Qresync);
        let verb = if read_only { "EXAMINE" } else { "SELECT" };
        let option = match (&memory, self.flavour) {
            (Some(memory), _) => format!(" (QRESYNC ({} {}))", memory.validity, memory.modseq),
            (None, Flavour::Condstore) => " (CONDSTORE)".to_owned(),
            _ => String::new(),
        };
        let known = self.ledger().known(place);
        let command = format!("{verb} {}{option}", BOXES[place]);
        let said = self.link.say(&command)?;
        if !said.ok {
            return Err(format!("{command:?}: {}", said.tagged));
        }
        (self.place, self.read_only, self.view) = (place, read_only, View::default());
        let mut caught_up = self.catch_up(&said, memory)?;
        self.fetch_all()?;
        let modseq = said.code("HIGHESTMODSEQ").ok_or("no HIGHESTMODSEQ")?;
        if let Some(messages) = &mut caught_up {
            self.check_caught_up(messages, modseq)
                .map_err(|fault| format!("{fault}, after {command:?}: {said:?}"))?;
        }
        let seen = self.view.uids();
        self.ledger()
            .compare(place, &known, &seen)
            .map_err(|fault| format!("{fault}, after {command:?}: {said:?}"))?;
        self.remember(said.code("UIDVALIDITY").ok_or("no UIDVALIDITY")?, modseq);
        Ok(())
    }

    /// Takes in what SELECT says; gives what the remembered messages have become.
    fn catch_up(
        &mut self,
        said: &Said,
        memory: Option<Memory>,
    ) -> Result<Option<Remembered>, String> {
        let mut messages = memory.map(|memory| memory.messages);
        for response in &said.untagged {
            match (response, &mut messages) {
                (Response::Exists(number), _) => self.view.exists(*number)?,
                (
                    Response::Vanished {
                        earlier: true,
                        uids,
                    },
                    Some(messages),
                ) => {
                    for uid in uids {
                        if messages.remove(uid).is_some() {
                            self.ledger().vanish(self.place, *uid)?;
                        }
                    }
                }
                (Response::Fetch(number, row), Some(messages)) => {
                    self.take_row(*number, row)?;
                    let (Some(uid), Some(flags), Some(modseq)) = (row.uid, &row.flags, row.modseq)
                    else {
                        return Err("a row that does not say enough".to_owned());
                    };
                    messages.insert(uid, (flags.clone(), modseq));
                }
                (Response::Other(_), _) => {}
                _ => return Err(format!("unasked {response:?}")),
            }
        }
        Ok(messages)
    }

    fn check_caught_up(&self, messages: &Remembered, modseq: u64) -> Result<(), String> {
        for slot in self.view.slots.iter().filter(|slot| slot.modseq <= modseq) {
            let (Some(uid), Some(flags)) = (slot.uid, &slot.flags) else {
                continue;
            };
            let told = messages.get(&uid);
            if told != Some(&(flags.clone(), slot.modseq)) {
                return Err(format!("UID {uid} is {slot:?}, and was told as {told:?}"));
            }
        }
        let seen = self.view.uids();
        let ledger = self.ledger();
        let mut lost = messages.keys().filter(|uid| !seen.contains(uid));
        match lost.find(|uid| ledger.is_kept(self.place, **uid)) {
            Some(uid) => Err(format!("UID {uid} was told, and is not there")),
            None => Ok(()),
        }
    }

    fn remember(&mut self, validity: u64, modseq: u64) {
        let message =
            |slot: &crate::view::Slot| Some((slot.uid?, (slot.flags.clone()?, slot.modseq)));
        let memory = Memory {
            validity,
            modseq,
            messages: self.view.slots.iter().filter_map(message).collect(),
        };
        self.memory.insert(self.place, memory);
    }

    /// Asks for all there is of all messages but their text.
    pub(crate) fn fetch_all(&mut self) -> Result<(), String> {
        if self.view.slots.is_empty() {
            return Ok(());
        }
        let modseq = self.modseq_item();
        self.say(
            &format!("FETCH 1:* (UID FLAGS RFC822.SIZE INTERNALDATE{modseq})"),
            Expunging::Forbidden,
        )?;
        Ok(())
    }

    pub(crate) fn modseq_item(&self) -> &'static str {
        match self.flavour {
            Flavour::Plain => "",
            _ => " MODSEQ",
        }
    }

    /// Asks for the UIDs of messages that are new.
    pub(crate) fn fill(&mut self) -> Result<(), String> {
        let Some(first) = self.view.first_unknown() else {
            return Ok(());
        };
        let modseq = self.modseq_item();
        self.say(
            &format!("FETCH {first}:* (UID FLAGS{modseq})"),
            Expunging::Forbidden,
        )?;
        Ok(())
    }

    /// NOOP, after which the session must have been told of everything that was acknowledged before.
    pub(crate) fn noop(&mut self) -> Result<(), String> {
        let known = self.ledger().known(self.place);
        let said = self.say("NOOP", Expunging::Allowed)?;
        self.fill()?;
        let seen = self.view.uids();
        self.ledger()
            .compare(self.place, &known, &seen)
            .map_err(|fault| format!("{fault}, after NOOP: {said:?}"))
    }

    /// What the mailbox is when nobody changes it. The flags that were told must be those that are asked for.
    pub(crate) fn checkpoint(&mut self) -> Result<(Place, Vec<(u32, Flags)>), String> {
        self.noop()?;
        let told = self.view.slots.clone();
        self.fetch_all()?;
        let mut all = Vec::new();
        for (told, asked) in told.iter().zip(&self.view.slots) {
            let (Some(uid), Some(flags)) = (asked.uid, &asked.flags) else {
                return Err(format!("not all is known: {asked:?}"));
            };
            if told.flags.as_ref().is_some_and(|told| told != flags) {
                return Err(format!(
                    "{} was told {told:?}, and it is {asked:?}",
                    self.keyword
                ));
            }
            all.push((uid, flags.clone()));
        }
        Ok((self.place, all))
    }
}
