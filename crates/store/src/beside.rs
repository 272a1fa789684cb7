//! Mail brought in by another process, beside a running server or without one.
//!
//! An import writes to a segment file of its own, which the server never appends to, and names it in the database in a transaction
//! of its own, in a turn that the server gives way for. A server that starts in between waits for that turn before it removes files
//! the database does not know. Sessions learn of the messages as of every change from outside: within seconds.
//!
//! What was brought in is noted in the same transaction, so that an import that breaks off can be run again: nothing is lost,
//! and nothing is there twice. The notes are the caller's 16 octets for each message, many to a row of `meta`.

use std::collections::HashSet;
use std::fmt;
use std::fs::{File, TryLockError};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use gatepost_wire::imap::ask::Mailbox;
use rusqlite::{Connection, TransactionBehavior};

use crate::db::{
    Hold, Turn, database_path, now, open_file, open_reader, open_writer, refuse_newer,
};
use crate::incoming::Spool;
use crate::ops::{self, Work};
use crate::read::{self, Readers};
use crate::rows::MailboxRow;
use crate::segments::{Bodies, Segments};
use crate::{
    AccountId, Accounts, BodyRef, Delivery, Error, Incoming, MailboxId, Message, Options, Placed,
    name,
};

/// Tells one message of a source from every other.
pub type Mark = [u8; 16];

/// The writing side.
pub struct Beside {
    accounts: Accounts,
    readers: Readers,
    db: Connection,
    segments: Segments,
    turn: Turn,
    spool: Arc<Spool>,
    options: Options,
    dir: PathBuf,
    /// Two imports at once would not see each other's marks.
    _lock: File,
}

impl fmt::Debug for Beside {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Beside")
    }
}

/// A message to bring in.
#[derive(Debug)]
pub struct Arrival {
    /// Its octets.
    pub incoming: Incoming,
    /// Where it goes.
    pub to: Delivery,
    /// What it is known by.
    pub mark: Mark,
}

impl Beside {
    /// Opens a store that is there; a server may be running. [`Error::Locked`] when another process is bringing mail in.
    /// Messages wait in memory, whatever their size.
    pub fn open(dir: &Path, options: Options) -> Result<Self, Error> {
        let options = Options {
            spool_above: usize::MAX,
            ..options
        };
        let lock = open_file(dir, "import")?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(Error::Locked),
            Err(TryLockError::Error(error)) => return Err(error.into()),
        }
        let turn = Turn::open(dir)?;
        let taken = turn.take()?;
        let db = open_writer(dir)?;
        drop(taken);
        Ok(Self {
            accounts: Accounts::open(dir)?,
            readers: Readers::new(dir, 1),
            db,
            segments: Segments::beside(dir, options.segment_size)?,
            turn,
            spool: Arc::new(Spool::in_memory(dir, options)),
            options,
            dir: dir.to_path_buf(),
            _lock: lock,
        })
    }

    /// The accounts.
    pub fn accounts(&self) -> &Accounts {
        &self.accounts
    }

    /// Begins a message.
    pub fn incoming(&self) -> Result<Incoming, Error> {
        Incoming::new(Arc::clone(&self.spool))
    }

    /// All mailboxes of an account, by name.
    pub fn list(&self, account: AccountId) -> Result<Vec<Mailbox>, Error> {
        self.readers.ask(|db| read::list(db, account))
    }

    /// Makes sure that a mailbox is there; one that is made is subscribed to.
    pub fn ensure_mailbox(&mut self, account: AccountId, name: &str) -> Result<(), Error> {
        let canonical = name::canonical(name);
        let known = |db: &Connection| MailboxRow::by_name(db, account, &canonical);
        if self.readers.ask(known)?.is_some() {
            return Ok(());
        }
        self.transact(|work| {
            // Somebody else may have made it since.
            if MailboxRow::by_name(work.db, account, &canonical)?.is_none() {
                ops::create(work, account, &canonical, None)?;
                ops::set_subscribed(work, account, &canonical, true)?;
            }
            Ok(())
        })
    }

    /// The marks of what was brought into an account before.
    pub fn marks(&self, account: AccountId) -> Result<HashSet<Mark>, Error> {
        self.readers.ask(|db| {
            let mut query =
                db.prepare_cached("SELECT value FROM meta WHERE key >= ?1 AND key < ?2")?;
            let (from, to) = (key(account, 0), key(AccountId(account.0 + 1), 0));
            let mut marks = HashSet::new();
            for value in query.query_map((from, to), |row| row.get::<_, Vec<u8>>(0))? {
                marks.extend(value?.as_chunks::<16>().0);
            }
            Ok(marks)
        })
    }

    /// Forgets what was brought into an account before, so that it can be brought in again.
    pub fn forget_marks(&mut self, account: AccountId) -> Result<(), Error> {
        self.transact(|work| {
            let (from, to) = (key(account, 0), key(AccountId(account.0 + 1), 0));
            work.db
                .execute("DELETE FROM meta WHERE key >= ?1 AND key < ?2", (from, to))?;
            Ok(())
        })
    }

    /// Brings messages into mailboxes of one account, with their marks: all, or none. Durable when it returns.
    pub fn deliver(
        &mut self,
        account: AccountId,
        arrivals: Vec<Arrival>,
    ) -> Result<Vec<Placed>, Error> {
        let mut sealed = Vec::with_capacity(arrivals.len());
        for Arrival { incoming, to, mark } in arrivals {
            sealed.push((incoming.seal()?, to, mark));
        }
        self.transact(|work| {
            let mut placed = Vec::with_capacity(sealed.len());
            let mut marks = Vec::with_capacity(sealed.len() * 16);
            for (message, to, mark) in sealed {
                placed.extend(ops::deliver(work, message, &[to])?);
                marks.extend_from_slice(&mark);
            }
            note(work.db, account, &marks)?;
            Ok(placed)
        })
    }

    fn transact<T>(
        &mut self,
        change: impl FnOnce(&mut Work<'_>) -> Result<T, Error>,
    ) -> Result<T, Error> {
        let _turn = self.turn.take()?;
        let transaction = self
            .db
            .transaction_with_behavior(TransactionBehavior::Immediate)?;
        let result = self.segments.begin_beside(&transaction).and_then(|()| {
            let answer = change(&mut Work {
                db: &transaction,
                segments: &mut self.segments,
                options: &self.options,
                dir: &self.dir,
                now: now(),
                changed: Vec::new(),
                accounts: Vec::new(),
            })?;
            self.segments.sync(&transaction)?;
            Ok(answer)
        });
        let result = match result {
            Ok(answer) => transaction.commit().map(|()| answer).map_err(Error::from),
            Err(error) => transaction.rollback().map_err(Error::from).and(Err(error)),
        };
        match &result {
            Ok(_) => self.segments.committed(),
            Err(_) => self.segments.rolled_back(),
        }
        result
    }
}

/// Where marks are noted: keys sort by account, then by time.
fn key(account: AccountId, number: i64) -> String {
    format!("imported/{:019}/{number:019}", account.0)
}

fn note(db: &Connection, account: AccountId, marks: &[u8]) -> Result<(), Error> {
    let (from, to) = (key(account, 0), key(AccountId(account.0 + 1), 0));
    let last: Option<String> = db
        .prepare_cached("SELECT max(key) FROM meta WHERE key >= ?1 AND key < ?2")?
        .query_row((from, to), |row| row.get(0))?;
    let last = last
        .and_then(|key| {
            key.rsplit('/')
                .next()
                .and_then(|number| number.parse().ok())
        })
        .unwrap_or(0_i64);
    db.prepare_cached("INSERT INTO meta (key, value) VALUES (?1, ?2)")?
        .execute((key(account, last + 1), marks))?;
    Ok(())
}

/// Reading by another process, beside a running server or without one. Segments that are read stay until it is dropped.
#[derive(Debug)]
pub struct Reading {
    readers: Readers,
    bodies: Bodies,
    _hold: Hold,
}

impl Reading {
    /// Opens a store, or a backup of one.
    pub fn open(dir: &Path) -> Result<Self, Error> {
        if !database_path(dir).exists() {
            return Err(Error::Gone);
        }
        let hold = Hold::take(dir)?;
        refuse_newer(&open_reader(dir)?)?;
        Ok(Self {
            readers: Readers::new(dir, 1),
            bodies: Bodies::new(dir),
            _hold: hold,
        })
    }

    /// The account of an address.
    pub fn account(&self, address: &str) -> Result<Option<AccountId>, Error> {
        self.readers.ask(|db| crate::accounts::find_id(db, address))
    }

    /// All mailboxes of an account, by name; also names that only have children or are only subscribed to.
    pub fn list(&self, account: AccountId) -> Result<Vec<Mailbox>, Error> {
        self.readers.ask(|db| read::list(db, account))
    }

    /// A mailbox by name, its UIDVALIDITY, and how many octets it holds.
    pub fn mailbox(
        &self,
        account: AccountId,
        name: &str,
    ) -> Result<Option<(MailboxId, u32, u64)>, Error> {
        let row = self
            .readers
            .ask(|db| MailboxRow::by_name(db, account, &name::canonical(name)))?;
        Ok(row.map(|row| (row.id, row.uidvalidity, row.size)))
    }

    /// The first `limit` messages with UIDs above `after`, ascending.
    pub fn messages_after(
        &self,
        mailbox: MailboxId,
        after: u32,
        limit: usize,
    ) -> Result<Vec<Message>, Error> {
        self.readers
            .ask(|db| read::messages_after(db, mailbox, after, limit))
    }

    /// Octets of a message, verified.
    pub fn read(&self, body: &BodyRef, offset: u64, length: u32) -> Result<Vec<u8>, Error> {
        match self.bodies.read(body, offset, length) {
            // No segment goes while we hold them: one that is not there was lost.
            Err(Error::Gone) => Err(Error::Damaged),
            other => other,
        }
    }
}
