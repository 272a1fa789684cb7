//! `gatepost mailbox import`: from files (from a server: see `remote/import.rs`).
//!
//! 1. The source is listed: what is to be read, and what is passed over and why.
//! 2. Messages are read one after the other and brought in in batches: a batch is there with its marks, or not at all.
//! 3. A mark is the hash of the mailbox, of what the source calls the message, and of its content. What has a mark is passed
//!    over: also when it was moved, changed or expunged in the mailbox since.

use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};

use aws_lc_rs::digest::{SHA256, digest};
use clap::ArgMatches;
use gatepost_store::{AccountId, Arrival, Beside, Delivery, Error, Mark, Options};
use serde_json::json;

use super::letter::Letter;
use super::mbox::Quoting;
use super::source::{self, Entry, Listing, Read1, Source};
use super::{data, refused, remote};
use crate::client::progress::Progress;
use crate::exit::Failure;

/// Messages brought in together.
const BATCH: usize = 64;
/// Their octets.
const BATCH_OCTETS: usize = 8 << 20;

pub(crate) fn run(given: &ArgMatches) -> Result<(), Failure> {
    let folder = data(given)?;
    let text = |name: &str| given.get_one::<String>(name).cloned().unwrap_or_default();
    if remote::is_url(&text("from-where")) {
        let mut import = Import::open(&folder, &text("account"), given)?;
        let result = remote::run_import(given, &text("from-where"), &mut import);
        let result = result.and(import.flush());
        import.tell(given.get_flag("json"));
        result?;
        return import.judge();
    }
    let root = PathBuf::from(text("from-where"));
    let listing = source::list(&root)
        .map_err(|error| Failure::usage(format!("cannot read {}: {error}", root.display())))?;
    let mut import = Import::open(&folder, &text("account"), given)?;
    let quoting = match text("mbox").as_str() {
        "mboxo" => Quoting::Mboxo,
        _ => Quoting::Mboxrd,
    };
    let result = import.bring_all(&listing, &mut Source::new(quoting, LARGEST));
    // What was read whole is kept, whatever ended the run.
    let result = result.and(import.flush());
    for (path, why) in &listing.skipped {
        import.name_refused(&path.display().to_string(), why);
    }
    import.tell(given.get_flag("json"));
    result?;
    import.judge()
}

/// The largest message, in octets: what the store takes.
pub(crate) const LARGEST: u64 = 64 << 20;

/// A run.
pub(crate) struct Import {
    beside: Beside,
    address: String,
    account: AccountId,
    /// The mailbox for the source's first, and whether the others go below it.
    base: Option<String>,
    known: HashSet<Mark>,
    /// How often the same message of an mbox came.
    seen: HashMap<Mark, u64>,
    /// Mailboxes that are there.
    there: HashSet<String>,
    batch: Vec<Arrival>,
    batch_octets: usize,
    progress: Progress,
    tally: Tally,
}

/// What became of the messages.
#[derive(Debug, Default, Clone, Copy)]
struct Tally {
    imported: u64,
    octets: u64,
    known: u64,
    refused: u64,
}

impl Import {
    /// Opens the store for an account.
    pub(crate) fn open(folder: &Path, address: &str, given: &ArgMatches) -> Result<Self, Failure> {
        let fail = |error| match error {
            Error::Locked => Failure::local(format!(
                "another import into {} is running; wait for it",
                folder.display()
            )),
            other => refused(folder, other),
        };
        let mut beside = Beside::open(folder, Options::default()).map_err(fail)?;
        let account = beside.accounts().find(address).map_err(fail)?;
        let account = account.ok_or_else(|| {
            Failure::usage(format!(
                "there is no account {address}; gatepost account list shows all"
            ))
        })?;
        if given.get_flag("again") {
            beside.forget_marks(account.id).map_err(fail)?;
        }
        let known = beside.marks(account.id).map_err(fail)?;
        Ok(Self {
            address: address.to_owned(),
            account: account.id,
            base: given.get_one::<String>("mailbox").cloned(),
            known,
            seen: HashMap::new(),
            there: HashSet::new(),
            batch: Vec::new(),
            batch_octets: 0,
            progress: Progress::new("imported", 0),
            tally: Tally::default(),
            beside,
        })
    }

    fn bring_all(&mut self, listing: &Listing, source: &mut Source) -> Result<(), Failure> {
        self.progress = Progress::new(
            "imported",
            listing.entries.iter().map(|entry| entry.size).sum(),
        );
        for folder in &listing.folders {
            self.ensure(folder)?;
        }
        for entry in &listing.entries {
            self.bring_file(entry, source)?;
        }
        Ok(())
    }

    fn bring_file(&mut self, entry: &Entry, source: &mut Source) -> Result<(), Failure> {
        source.read(entry, &mut |read| match read {
            Read1::Letter(letter) => self.bring(letter),
            Read1::Refused(what, why) => {
                self.name_refused(&what, why);
                Ok(())
            }
        })?;
        self.progress.add(entry.size);
        Ok(())
    }

    /// The mailbox that a folder of the source becomes.
    fn mailbox(&self, folder: &str) -> String {
        match (&self.base, folder) {
            (Some(base), "") => base.clone(),
            (Some(base), below) => format!("{base}/{below}"),
            (None, "") => "INBOX".to_owned(),
            (None, own) => own.to_owned(),
        }
    }

    /// Makes sure that the mailbox of a folder is there; says which it is.
    pub(crate) fn ensure(&mut self, folder: &str) -> Result<String, Failure> {
        let mailbox = self.mailbox(folder);
        if !self.there.contains(&mailbox) {
            self.beside
                .ensure_mailbox(self.account, &mailbox)
                .map_err(|error| self.stopped(&format!("the mailbox {mailbox:?}"), error))?;
            self.there.insert(mailbox.clone());
        }
        Ok(mailbox)
    }

    fn bring(&mut self, letter: Letter) -> Result<(), Failure> {
        let mailbox = self.ensure(&letter.folder)?;
        let mark = self.mark(&mailbox, &letter);
        self.bring_marked(letter, mark)
    }

    /// Whether a message was brought in before.
    pub(crate) fn knows(&self, mark: &Mark) -> bool {
        self.known.contains(mark)
    }

    /// Whether everything goes to one mailbox and below it.
    pub(crate) fn has_base(&self) -> bool {
        self.base.is_some()
    }

    /// Messages that were not even looked at, because they are known.
    pub(crate) fn count_known(&mut self, many: u64) {
        self.tally.known += many;
    }

    /// So many octets more came in.
    pub(crate) fn progress(&mut self, octets: u64) {
        self.progress.add(octets);
    }

    /// Brings in a message that is known by this mark.
    pub(crate) fn bring_marked(&mut self, letter: Letter, mark: Mark) -> Result<(), Failure> {
        let mailbox = self.ensure(&letter.folder)?;
        if self.known.contains(&mark) {
            self.tally.known += 1;
            return Ok(());
        }
        let mut incoming = self
            .beside
            .incoming()
            .map_err(|error| self.stopped("the next message", error))?;
        if incoming.write(&letter.octets).is_err() {
            self.name_refused(
                &format!("{} {}", letter.folder, letter.name),
                "is too large",
            );
            return Ok(());
        }
        self.batch_octets += letter.octets.len();
        self.batch.push(Arrival {
            incoming,
            to: Delivery {
                account: self.account,
                mailbox,
                flags: letter.flags,
                date: letter.date,
            },
            mark,
        });
        if self.batch.len() >= BATCH || self.batch_octets >= BATCH_OCTETS {
            return self.flush();
        }
        Ok(())
    }

    /// What a message is known by. Messages of an mbox have no name: the same one twice is told apart by its turn.
    fn mark(&mut self, mailbox: &str, letter: &Letter) -> Mark {
        let mut words = Vec::new();
        for word in [mailbox.as_bytes(), letter.name.as_bytes()] {
            words.extend_from_slice(&(word.len() as u64).to_le_bytes());
            words.extend_from_slice(word);
        }
        words.extend_from_slice(digest(&SHA256, &letter.octets).as_ref());
        let mark = shorten(&words);
        let turn = self.seen.entry(mark).or_default();
        *turn += 1;
        if *turn == 1 {
            return mark;
        }
        words.extend_from_slice(&turn.to_le_bytes());
        shorten(&words)
    }

    pub(crate) fn flush(&mut self) -> Result<(), Failure> {
        let batch = std::mem::take(&mut self.batch);
        let octets = std::mem::take(&mut self.batch_octets);
        if batch.is_empty() {
            return Ok(());
        }
        let marks: Vec<Mark> = batch.iter().map(|arrival| arrival.mark).collect();
        let placed = self
            .beside
            .deliver(self.account, batch)
            .map_err(|error| self.stopped("the next messages", error))?;
        self.known.extend(marks);
        self.tally.imported += placed.len() as u64;
        self.tally.octets += octets as u64;
        Ok(())
    }

    /// Names what cannot be taken.
    pub(crate) fn name_refused(&mut self, what: &str, why: &str) {
        self.tally.refused += 1;
        eprintln!("gatepost: left out: {what}: {why}");
    }

    /// Why it cannot go on, and what to do.
    fn stopped(&self, what: &str, error: Error) -> Failure {
        let done = format!(
            "{} messages are in; run the same command again to go on",
            self.tally.imported
        );
        match error {
            Error::OverQuota => Failure::local(format!(
                "{} has reached its quota: {done} after: gatepost account quota {} SIZE",
                self.address, self.address
            )),
            Error::Cannot => Failure::usage(format!(
                "{what}: the name is not possible; give another with --mailbox"
            )),
            Error::DiskFull => Failure::local(format!("the disk is full, or nearly so: {done}")),
            other => Failure::local(format!("{what}: {other}; {done}")),
        }
    }

    fn tell(&self, as_json: bool) {
        let Tally {
            imported,
            octets,
            known,
            refused,
        } = self.tally;
        if as_json {
            println!(
                "{}",
                json!({
                    "schema": "gatepost-mailbox-import-1", "imported": imported, "octets": octets, "known": known,
                    "left_out": refused,
                })
            );
        } else {
            println!(
                "{}: imported {imported} messages ({octets} octets), {known} were there already, {refused} left out",
                self.address
            );
        }
    }

    fn judge(&self) -> Result<(), Failure> {
        match self.tally.refused {
            0 => Ok(()),
            many => Err(Failure::finding(format!(
                "{many} were left out; the lines above name them"
            ))),
        }
    }
}

/// The hash of words, as short as a mark.
pub(crate) fn shorten(words: &[u8]) -> Mark {
    let mut mark = [0; 16];
    mark.copy_from_slice(&digest(&SHA256, words).as_ref()[..16]);
    mark
}
