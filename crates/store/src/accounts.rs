//! Accounts: the people whose mail this is.
//!
//! Works inside the server and, through the database's own locking, from another process beside it: `gatepost account add`
//! needs no running server and disturbs none. Commands that write take a [`Turn`] first, so that a busy server lets them in.

use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use gatepost_wire::imap::ask::SpecialUse;
use gatepost_wire::sasl::{ScramHash, ScramRecord, prepare_name};
use gatepost_wire::secret::Secret;
use gatepost_wire::smtp::path::{Mailbox, normal_domain, readable_domain};
use rusqlite::types::ValueRef;
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

/// The longest address, in octets: as a name it must fit into a login (RFC 4616 2).
const LONGEST: usize = 255;

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
        let address = Self::check(address)?;
        self.write(|db| {
            if find_id(db, &address)?.is_some() {
                return Err(Error::AlreadyExists);
            }
            let ScramRecord { salt, iterations, stored_key, server_key, .. } = &credential.record;
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
            put_sha1(db, id, credential.sha1.as_ref())?;
            for (name, special_use) in BEGINNING {
                insert(db, id, name, special_use, now())?;
                db.prepare_cached("INSERT INTO subscriptions (account, name) VALUES (?1, ?2)")?.execute((id.0, name))?;
            }
            Ok(id)
        })
    }

    /// An address that can be an account's, as it is kept: one that RCPT takes without quotes, and that a login brings unchanged.
    /// Its domain is kept in U-labels, where a login can bring them; [`Accounts::find`] takes every way to write it.
    ///
    /// # Errors
    /// [`Error::Cannot`].
    pub fn check(address: &str) -> Result<String, Error> {
        let mailbox = Mailbox::parse(address).map_err(|_| Error::Cannot)?;
        // RFC 4013: what is prepared otherwise (wide letters, invisible ones) would never be found by its own name.
        let is_name = |text: &str| {
            text.len() <= LONGEST && prepare_name(text).is_ok_and(|prepared| prepared == text)
        };
        if address.starts_with('"') || !is_name(address) {
            return Err(Error::Cannot);
        }
        [
            readable_domain(&mailbox.domain),
            normal_domain(&mailbox.domain),
        ]
        .iter()
        .map(|domain| format!("{}@{domain}", mailbox.local.to_lowercase()))
        .find(|kept| is_name(kept))
        .ok_or(Error::Cannot)
    }

    /// Removes an account and all its mail. Its sessions get [`Error::Gone`]. The server frees the space piece by piece
    /// after it, or when it starts next.
    pub fn remove(&self, address: &str) -> Result<(), Error> {
        self.write(|db| {
            let id = find_id(db, address)?.ok_or(Error::NoSuchAccount)?;
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

    /// Replaces the keys of an account. Those of SHA-1 go with the password they were made of.
    pub fn set_credential(&self, address: &str, credential: &Credential) -> Result<(), Error> {
        self.write(|db| {
            let ScramRecord { salt, iterations, stored_key, server_key, .. } = &credential.record;
            let id = find_id(db, address)?.ok_or(Error::NoSuchAccount)?;
            db.prepare_cached(
                "UPDATE accounts SET salt = ?2, iterations = ?3, stored_key = ?4, server_key = ?5 WHERE id = ?1",
            )?
            .execute((id.0, salt, iterations, stored_key.expose(), server_key.expose()))?;
            put_sha1(db, id, credential.sha1.as_ref())
        })
    }

    /// Notes whether new passwords get keys of SHA-1, too: the server's configuration says so [CONF-07].
    pub fn set_keeps_sha1(&self, keeps: bool) -> Result<(), Error> {
        if self.keeps_sha1()? == keeps {
            return Ok(());
        }
        self.write(|db| {
            db.prepare_cached(
                "INSERT INTO meta (key, value) VALUES ('sha1', ?1) ON CONFLICT (key) DO UPDATE SET value = ?1",
            )?
            .execute([[u8::from(keeps)]])?;
            Ok(())
        })
    }

    /// Whether new passwords get keys of SHA-1, too.
    pub fn keeps_sha1(&self) -> Result<bool, Error> {
        self.readers.ask(|db| {
            let noted: Option<[u8; 1]> = db
                .prepare_cached("SELECT value FROM meta WHERE key = 'sha1'")?
                .query_row([], |row| row.get(0))
                .optional()?;
            Ok(noted == Some([1]))
        })
    }

    /// How many accounts have no keys of SHA-1.
    pub fn without_sha1(&self) -> Result<u64, Error> {
        self.readers.ask(|db| {
            let mut query = db.prepare_cached(
                "SELECT count(*) FROM accounts WHERE id NOT IN (SELECT account FROM sha1_keys)",
            )?;
            Ok(query.query_row([], |row| unsigned(row, 0))?)
        })
    }

    /// Changes the quota of an account, in octets.
    pub fn set_quota(&self, address: &str, quota: Option<u64>) -> Result<(), Error> {
        self.write(|db| {
            let id = find_id(db, address)?.ok_or(Error::NoSuchAccount)?;
            db.prepare_cached("UPDATE accounts SET quota = ?2 WHERE id = ?1")?
                .execute((id.0, quota.map(signed)))?;
            Ok(())
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

    /// The account of an address; local part and domain are compared in lower case, labels of the domain in both their forms.
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

/// The id alone, which a database of every version can tell.
pub(crate) fn find_id(db: &Connection, address: &str) -> Result<Option<AccountId>, Error> {
    let mut query = db.prepare_cached("SELECT id FROM accounts WHERE address = ?1")?;
    for way in ways(address) {
        let found = query.query_row([way], |row| Ok(AccountId(row.get(0)?)));
        if let Some(id) = found.optional()? {
            return Ok(Some(id));
        }
    }
    Ok(None)
}

/// The account of an address.
pub(crate) fn find(db: &Connection, address: &str) -> Result<Option<Account>, Error> {
    let mut query = db.prepare_cached(
        "SELECT a.id, a.address, a.quota, a.salt, a.iterations, a.stored_key, a.server_key, k.salt, k.iterations, k.stored_key, k.server_key
         FROM accounts a LEFT JOIN sha1_keys k ON k.account = a.id WHERE a.address = ?1",
    )?;
    for way in ways(address) {
        if let Some(found) = query.query_row([way], account).optional()? {
            return Ok(Some(found));
        }
    }
    Ok(None)
}

/// The ways in which the address may be kept, the likeliest first. Stores that older versions made have domains as they were
/// typed; where an account is of each form there, each is found by its own (RFC 5890 2.3.2.4).
fn ways(address: &str) -> Vec<String> {
    let mut ways = vec![address.to_lowercase()];
    if let Some((local, domain)) = address.rsplit_once('@') {
        // Most domains have one form.
        let international = !domain.is_ascii() || domain.to_ascii_lowercase().contains("xn--");
        if international {
            let local = local.to_lowercase();
            ways.push(format!("{local}@{}", readable_domain(domain)));
            ways.push(format!("{local}@{}", normal_domain(domain)));
        }
    }
    ways
}

fn account(row: &Row<'_>) -> rusqlite::Result<Account> {
    Ok(Account {
        id: AccountId(row.get(0)?),
        address: row.get(1)?,
        quota: row.get::<_, Option<i64>>(2)?.map(i64::unsigned_abs),
        credential: Credential {
            record: keys::<32>(row, 3, ScramHash::Sha256)?,
            sha1: match row.get_ref(7)? {
                ValueRef::Null => None,
                _ => Some(keys::<20>(row, 7, ScramHash::Sha1)?),
            },
        },
    })
}

/// Salt, iterations and keys, from a column on. Keys that are not as long as the hash are damaged.
fn keys<const LENGTH: usize>(
    row: &Row<'_>,
    first: usize,
    hash: ScramHash,
) -> rusqlite::Result<ScramRecord> {
    Ok(ScramRecord {
        hash,
        salt: row.get(first)?,
        iterations: row.get(first + 1)?,
        stored_key: Secret::new(row.get::<_, [u8; LENGTH]>(first + 2)?.to_vec()),
        server_key: Secret::new(row.get::<_, [u8; LENGTH]>(first + 3)?.to_vec()),
    })
}

/// Replaces an account's keys of SHA-1.
fn put_sha1(db: &Connection, id: AccountId, keys: Option<&ScramRecord>) -> Result<(), Error> {
    db.prepare_cached("DELETE FROM sha1_keys WHERE account = ?1")?
        .execute([id.0])?;
    if let Some(keys) = keys {
        db.prepare_cached(
            "INSERT INTO sha1_keys (account, salt, iterations, stored_key, server_key) VALUES (?1, ?2, ?3, ?4, ?5)",
        )?
        .execute((id.0, &keys.salt, keys.iterations, keys.stored_key.expose(), keys.server_key.expose()))?;
    }
    Ok(())
}
