//! Questions that change nothing. Each sees one state of the database from its first row to its last.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Condvar, Mutex, PoisonError};

use gatepost_wire::imap::ask::{Changed, Changes, Mailbox, ModSeq, Quota, Selected, Status, Uid};
use rusqlite::{Connection, OptionalExtension, Row};

use crate::db::open_reader;
use crate::lists::{List, Lists};
use crate::rows::{FACTS, MESSAGE, MailboxRow, facts, message, signed, special_use, unsigned};
use crate::{AccountId, Error, Facts, MailboxId, Message, flags, name};

/// The reading connections: opened when needed, so many at most, then callers wait.
#[derive(Debug)]
pub(crate) struct Readers {
    dir: PathBuf,
    limit: usize,
    state: Mutex<State>,
    returned: Condvar,
}

#[derive(Debug, Default)]
struct State {
    idle: Vec<Connection>,
    opened: usize,
}

impl Readers {
    pub(crate) fn new(dir: &Path, limit: usize) -> Self {
        Self {
            dir: dir.to_path_buf(),
            limit: limit.max(1),
            state: Mutex::default(),
            returned: Condvar::new(),
        }
    }

    /// Asks on a connection of its own, in one transaction.
    pub(crate) fn ask<T>(
        &self,
        question: impl FnOnce(&Connection) -> Result<T, Error>,
    ) -> Result<T, Error> {
        let lent = self.lend()?;
        let Some(db) = &lent.db else {
            return Err(Error::Damaged);
        };
        let transaction = db.unchecked_transaction()?;
        let answer = question(&transaction)?;
        transaction.commit()?;
        Ok(answer)
    }

    fn lend(&self) -> Result<Lent<'_>, Error> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            if let Some(db) = state.idle.pop() {
                return Ok(Lent {
                    readers: self,
                    db: Some(db),
                });
            }
            if state.opened < self.limit {
                state.opened += 1;
                drop(state);
                // Lent without a connection, so that the count is put right if opening fails.
                let mut lent = Lent {
                    readers: self,
                    db: None,
                };
                lent.db = Some(open_reader(&self.dir)?);
                return Ok(lent);
            }
            state = self
                .returned
                .wait(state)
                .unwrap_or_else(PoisonError::into_inner);
        }
    }
}

/// A connection that goes back when it is dropped.
struct Lent<'a> {
    readers: &'a Readers,
    db: Option<Connection>,
}

impl Drop for Lent<'_> {
    fn drop(&mut self) {
        let mut state = self
            .readers
            .state
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        match self.db.take() {
            Some(db) => state.idle.push(db),
            None => state.opened -= 1,
        }
        self.readers.returned.notify_one();
    }
}

/// A mailbox that was opened.
pub(crate) struct Opened {
    pub(crate) mailbox: MailboxId,
    pub(crate) selected: Selected,
    /// A list that took long to read and is worth writing down.
    pub(crate) to_write: Option<List>,
}

/// See [`crate::Store::select`].
pub(crate) fn select(
    db: &Connection,
    lists: &Lists,
    account: AccountId,
    name: &str,
) -> Result<Opened, Error> {
    let mailbox =
        MailboxRow::by_name(db, account, &name::canonical(name))?.ok_or(Error::NoSuchMailbox)?;
    let (list, is_new) = lists.read(db, &mailbox)?;
    let selected = Selected {
        uids: list.uids.to_vec(),
        uidvalidity: mailbox.uidvalidity,
        uidnext: mailbox.uidnext,
        highest_modseq: mailbox.modseq,
        first_unseen: list.first_unseen,
        keywords: flags::in_use(db, mailbox.id)?,
        mailbox_id: mailbox.mailbox_id(),
        read_only: false,
    };
    Ok(Opened {
        mailbox: mailbox.id,
        selected,
        to_write: is_new.then_some(list),
    })
}

/// See [`crate::Store::changes`].
pub(crate) fn changes(
    db: &Connection,
    mailbox: MailboxId,
    since: ModSeq,
) -> Result<Changes, Error> {
    let highest_modseq = MailboxRow::by_id(db, mailbox)?.modseq;
    if highest_modseq <= since {
        return Ok(Changes {
            highest_modseq,
            ..Changes::default()
        });
    }
    let since = signed(since);
    let mut query = db.prepare_cached(
        "SELECT uid FROM expunged WHERE mailbox = ?1 AND modseq > ?2 ORDER BY uid",
    )?;
    let vanished = query
        .query_map((mailbox.0, since), |row| row.get(0))?
        .collect::<Result<_, _>>()?;
    let mut query = db.prepare_cached(
        "SELECT uid, flags, keywords, modseq FROM messages WHERE mailbox = ?1 AND modseq > ?2 ORDER BY uid",
    )?;
    let changed = query.query_map((mailbox.0, since), |row| {
        let flags = flags::decode(row.get(1)?, row.get_ref(2)?.as_str()?);
        Ok(Changed {
            uid: row.get(0)?,
            flags,
            modseq: unsigned(row, 3)?,
        })
    })?;
    Ok(Changes {
        vanished,
        changed: changed.collect::<Result<_, _>>()?,
        highest_modseq,
    })
}

/// See [`crate::Store::messages`].
pub(crate) fn messages(
    db: &Connection,
    mailbox: MailboxId,
    uids: &[Uid],
) -> Result<Vec<Message>, Error> {
    of_uids(db, mailbox, uids, (MESSAGE, message))
}

/// See [`crate::Store::facts`].
pub(crate) fn facts_of(
    db: &Connection,
    mailbox: MailboxId,
    uids: &[Uid],
) -> Result<Vec<Facts>, Error> {
    of_uids(db, mailbox, uids, (FACTS, facts))
}

/// The rows of these UIDs that are there, ascending.
fn of_uids<T>(
    db: &Connection,
    mailbox: MailboxId,
    uids: &[Uid],
    (columns, read): (&str, fn(&Row<'_>) -> rusqlite::Result<T>),
) -> Result<Vec<T>, Error> {
    MailboxRow::by_id(db, mailbox)?;
    let mut wanted = uids.to_vec();
    wanted.sort_unstable();
    wanted.dedup();
    let (Some(&first), Some(&last)) = (wanted.first(), wanted.last()) else {
        return Ok(Vec::new());
    };
    // A row skipped in a scan costs about an eighth of a row looked up by itself.
    if (last - first) as usize / wanted.len() < 8 {
        let mut query = db.prepare_cached(&format!(
            "{columns} AND m.uid BETWEEN ?2 AND ?3 ORDER BY m.uid"
        ))?;
        let mut rows = query.query((mailbox.0, first, last))?;
        let mut found = Vec::with_capacity(wanted.len());
        while let Some(row) = rows.next()? {
            if wanted.binary_search(&row.get(0)?).is_ok() {
                found.push(read(row)?);
            }
        }
        return Ok(found);
    }
    let mut query = db.prepare_cached(&format!("{columns} AND m.uid = ?2"))?;
    let found = wanted
        .iter()
        .map(|uid| query.query_row((mailbox.0, uid), read).optional());
    Ok(found
        .filter_map(Result::transpose)
        .collect::<Result<_, _>>()?)
}

/// See [`crate::Store::messages_after`].
pub(crate) fn messages_after(
    db: &Connection,
    mailbox: MailboxId,
    after: Uid,
    limit: usize,
) -> Result<Vec<Message>, Error> {
    MailboxRow::by_id(db, mailbox)?;
    let limit = i64::try_from(limit).unwrap_or(i64::MAX);
    let mut query =
        db.prepare_cached(&format!("{MESSAGE} AND m.uid > ?2 ORDER BY m.uid LIMIT ?3"))?;
    let found = query
        .query_map((mailbox.0, after, limit), message)?
        .collect::<Result<_, _>>()?;
    Ok(found)
}

/// See [`crate::Store::status`].
pub(crate) fn status(db: &Connection, account: AccountId, name: &str) -> Result<Status, Error> {
    let mailbox =
        MailboxRow::by_name(db, account, &name::canonical(name))?.ok_or(Error::NoSuchMailbox)?;
    Ok(mailbox.status())
}

/// See [`crate::Store::deleted_size`].
pub(crate) fn deleted_size(db: &Connection, account: AccountId, name: &str) -> Result<u64, Error> {
    let mailbox =
        MailboxRow::by_name(db, account, &name::canonical(name))?.ok_or(Error::NoSuchMailbox)?;
    if mailbox.deleted == 0 {
        return Ok(0);
    }
    let mut query = db.prepare_cached(
        "SELECT coalesce(sum(size), 0) FROM messages WHERE mailbox = ?1 AND flags & ?2 != 0",
    )?;
    Ok(query.query_row((mailbox.id.0, flags::DELETED), |row| unsigned(row, 0))?)
}

/// See [`crate::Store::overview`].
pub(crate) fn overview(
    db: &Connection,
    account: AccountId,
) -> Result<Vec<(Mailbox, Option<Status>)>, Error> {
    let mut all = Vec::new();
    for mailbox in list(db, account)? {
        let row = MailboxRow::by_name(db, account, &mailbox.name)?;
        all.push((mailbox, row.map(|row| row.status())));
    }
    Ok(all)
}

/// See [`crate::Store::quota`].
pub(crate) fn quota(db: &Connection, account: AccountId) -> Result<Quota, Error> {
    let mut query = db.prepare_cached("SELECT used, quota FROM accounts WHERE id = ?1")?;
    let found = query.query_row([account.0], |row| {
        let limit: Option<i64> = row.get(1)?;
        Ok(Quota {
            used: unsigned(row, 0)?,
            limit: limit.map(|limit| limit.try_into().unwrap_or(0)),
        })
    });
    found.optional()?.ok_or(Error::Gone)
}

/// See [`crate::Store::unmarked`].
pub(crate) fn unmarked(db: &Connection) -> Result<u64, Error> {
    let mut query = db.prepare_cached("SELECT count(*) FROM unmarked")?;
    Ok(query.query_row([], |row| unsigned(row, 0))?)
}

/// See [`crate::Store::list`].
pub(crate) fn list(db: &Connection, account: AccountId) -> Result<Vec<Mailbox>, Error> {
    let mut query = db.prepare_cached("SELECT 1 FROM accounts WHERE id = ?1")?;
    if !query.exists([account.0])? {
        return Err(Error::Gone);
    }
    let mut all = BTreeMap::new();
    let mut query =
        db.prepare_cached("SELECT name, special_use FROM mailboxes WHERE account = ?1")?;
    let mut rows = query.query([account.0])?;
    while let Some(row) = rows.next()? {
        let name: String = row.get(0)?;
        let special_use = special_use(
            row.get_ref(1)?
                .as_str_or_null()
                .map_err(|_| Error::Damaged)?,
        );
        for parent in name::parents(&name) {
            all.entry(parent.to_owned())
                .or_insert_with(|| absent(parent));
        }
        all.insert(
            name.clone(),
            Mailbox {
                name,
                subscribed: false,
                exists: true,
                special_use,
            },
        );
    }
    let mut query = db.prepare_cached("SELECT name FROM subscriptions WHERE account = ?1")?;
    let mut rows = query.query([account.0])?;
    while let Some(row) = rows.next()? {
        let name: String = row.get(0)?;
        all.entry(name.clone())
            .or_insert_with(|| absent(&name))
            .subscribed = true;
    }
    Ok(all.into_values().collect())
}

/// A name that is told though there is no mailbox behind it.
fn absent(name: &str) -> Mailbox {
    Mailbox {
        name: name.to_owned(),
        subscribed: false,
        exists: false,
        special_use: None,
    }
}
