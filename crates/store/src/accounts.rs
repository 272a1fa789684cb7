//! Accounts: the people whose mail this is.
//!
//! Works inside the server and, through the database's own locking, from another process beside it: `gatepost account add`
//! needs no running server and disturbs none. Commands that write take a [`Turn`] first, so that a busy server lets them in.

use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use gatepost_wire::imap::ask::SpecialUse;
use gatepost_wire::secret::Secret;
use rusqlite::{Connection, OptionalExtension, Row, Transaction, TransactionBehavior};

use crate::db::{Turn, make_folder, now, open_writer};
use crate::ops::{doom, insert};
use crate::read::Readers;
use crate::rows::{signed, unsigned};
use crate::{Account, AccountId, AccountInfo, Credential, Error, MailboxId, name};

/// What a new account begins with (RFC 6154 2).
const BEGINNING: [(&str, Option<SpecialUse>); 6] = [
    (name::INBOX, None),
    ("Archive", Some(SpecialUse::Archive)),
    ("Drafts", Some(SpecialUse::Drafts)),
    ("Junk", Some(SpecialUse::Junk)),
    ("Sent", Some(SpecialUse::Sent)),
    ("Trash", Some(SpecialUse::Trash)),
];

/// The longest address, in octets: a local part of 64, `@`, and a domain of 255 (RFC 5321 4.5.3.1).
const LONGEST: usize = 320;

/// The accounts of a store: usable inside the server ([`crate::Store::accounts`]) and from another process beside it.
/// All calls block.
#[derive(Debug)]
pub struct Accounts {
    writer: Mutex<Connection>,
    turn: Turn,
    readers: Arc<Readers>,
}

impl Accounts {
    /// Opens the accounts of a store, which is made if it is not there. Needs no lock: a server may be running.
    pub fn open(dir: &Path) -> Result<Self, Error> {
        make_folder(dir)?;
        let turn = Turn::open(dir)?;
        let taken = turn.take()?;
        let writer = open_writer(dir)?;
        drop(taken);
        Ok(Self {
            writer: Mutex::new(writer),
            turn,
            readers: Arc::new(Readers::new(dir, 2)),
        })
    }

    pub(crate) fn readers(&self) -> Arc<Readers> {
        Arc::clone(&self.readers)
    }

    /// Makes readers of the server those of the accounts too.
    pub(crate) fn with_readers(mut self, readers: Readers) -> Self {
        self.readers = Arc::new(readers);
        self
    }

    /// Adds an account with INBOX, Archive, Drafts, Junk, Sent and Trash, all subscribed. `quota` in octets.
    pub fn add(
        &self,
        address: &str,
        credential: &Credential,
        quota: Option<u64>,
    ) -> Result<AccountId, Error> {
        let address = check(address)?;
        self.write(|db| {
            let Credential { salt, iterations, stored_key, server_key } = credential;
            let added = db
                .prepare_cached(
                    "INSERT OR IGNORE INTO accounts (address, salt, iterations, stored_key, server_key, quota, created)
                     VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
                )?
                .execute((
                    &address,
                    salt,
                    iterations,
                    stored_key.expose(),
                    server_key.expose(),
                    quota.map(signed),
                    now(),
                ))?;
            if added == 0 {
                return Err(Error::AlreadyExists);
            }
            let id = AccountId(db.last_insert_rowid());
            for (name, special_use) in BEGINNING {
                insert(db, id, name, special_use, now())?;
                db.prepare_cached("INSERT INTO subscriptions (account, name) VALUES (?1, ?2)")?.execute((id.0, name))?;
            }
            Ok(id)
        })
    }

    /// Removes an account and all its mail. Its sessions get [`Error::Gone`]. The server frees the space piece by piece
    /// after it, or when it starts next.
    pub fn remove(&self, address: &str) -> Result<(), Error> {
        self.write(|db| {
            let id = find(db, address)?.ok_or(Error::NoSuchAccount)?.id;
            let mut query = db.prepare_cached("SELECT id FROM mailboxes WHERE account = ?1")?;
            let mailboxes: Vec<i64> = query
                .query_map([id.0], |row| row.get(0))?
                .collect::<Result<_, _>>()?;
            for mailbox in mailboxes {
                doom(db, MailboxId(mailbox))?;
            }
            db.prepare_cached("DELETE FROM subscriptions WHERE account = ?1")?
                .execute([id.0])?;
            db.prepare_cached("DELETE FROM accounts WHERE id = ?1")?
                .execute([id.0])?;
            Ok(())
        })
    }

    /// Replaces the keys of an account.
    pub fn set_credential(&self, address: &str, credential: &Credential) -> Result<(), Error> {
        self.write(|db| {
            let Credential { salt, iterations, stored_key, server_key } = credential;
            let changed = db
                .prepare_cached(
                    "UPDATE accounts SET salt = ?2, iterations = ?3, stored_key = ?4, server_key = ?5 WHERE address = ?1",
                )?
                .execute((fold(address), salt, iterations, stored_key.expose(), server_key.expose()))?;
            if changed == 0 { Err(Error::NoSuchAccount) } else { Ok(()) }
        })
    }

    /// Changes the quota of an account, in octets.
    pub fn set_quota(&self, address: &str, quota: Option<u64>) -> Result<(), Error> {
        self.write(|db| {
            let changed = db
                .prepare_cached("UPDATE accounts SET quota = ?2 WHERE address = ?1")?
                .execute((fold(address), quota.map(signed)))?;
            if changed == 0 {
                Err(Error::NoSuchAccount)
            } else {
                Ok(())
            }
        })
    }

    /// All accounts, by address.
    pub fn list(&self) -> Result<Vec<AccountInfo>, Error> {
        self.readers.ask(|db| {
            let mut query = db.prepare_cached(
                "SELECT a.id, a.address, a.quota, a.used,
                 (SELECT coalesce(sum(m.messages), 0) FROM mailboxes m WHERE m.account = a.id)
                 FROM accounts a ORDER BY a.address",
            )?;
            let all = query.query_map([], |row| {
                Ok(AccountInfo {
                    id: AccountId(row.get(0)?),
                    address: row.get(1)?,
                    quota: row.get::<_, Option<i64>>(2)?.map(i64::unsigned_abs),
                    used: unsigned(row, 3)?,
                    messages: unsigned(row, 4)?,
                })
            })?;
            Ok(all.collect::<Result<_, _>>()?)
        })
    }

    /// The account of an address; local part and domain are compared in lower case.
    pub fn find(&self, address: &str) -> Result<Option<Account>, Error> {
        self.readers.ask(|db| find(db, address))
    }

    /// Changes the accounts in a transaction of its own.
    fn write<T>(
        &self,
        change: impl FnOnce(&Transaction<'_>) -> Result<T, Error>,
    ) -> Result<T, Error> {
        let mut db = self.writer.lock().unwrap_or_else(PoisonError::into_inner);
        let _turn = self.turn.take()?;
        let transaction = db.transaction_with_behavior(TransactionBehavior::Immediate)?;
        let result = change(&transaction)?;
        transaction.commit()?;
        Ok(result)
    }
}

/// The account of an address.
pub(crate) fn find(db: &Connection, address: &str) -> Result<Option<Account>, Error> {
    let mut query = db.prepare_cached(
        "SELECT id, address, salt, iterations, stored_key, server_key, quota FROM accounts WHERE address = ?1",
    )?;
    Ok(query.query_row([fold(address)], account).optional()?)
}

fn account(row: &Row<'_>) -> rusqlite::Result<Account> {
    Ok(Account {
        id: AccountId(row.get(0)?),
        address: row.get(1)?,
        credential: Credential {
            salt: row.get(2)?,
            iterations: row.get(3)?,
            stored_key: Secret::new(row.get(4)?),
            server_key: Secret::new(row.get(5)?),
        },
        quota: row.get::<_, Option<i64>>(6)?.map(i64::unsigned_abs),
    })
}

/// An address as it is compared and kept.
fn fold(address: &str) -> String {
    address.to_lowercase()
}

/// An address that can be an account's.
fn check(address: &str) -> Result<String, Error> {
    let parts = address
        .rsplit_once('@')
        .filter(|(local, domain)| !local.is_empty() && !domain.is_empty());
    let possible = !address
        .contains(|c: char| c.is_control() || c.is_whitespace() || matches!(c, '<' | '>' | ','));
    if parts.is_some() && possible && address.len() <= LONGEST {
        Ok(fold(address))
    } else {
        Err(Error::Cannot)
    }
}
