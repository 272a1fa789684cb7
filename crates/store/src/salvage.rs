//! Moves what can be read of a damaged database to a new one.
//!
//! Each table is read from its beginning until a page cannot be read, then from its end: what lies between is lost. Messages are
//! read so mailbox by mailbox. Of messages whose row is lost, their index often still tells the UID, and their body is still
//! kept: bodies are removed with their last message, so one that nothing refers to belonged to a lost row. If all lost rows
//! are of one account (or there is only one), these bodies go to its mailbox `Recovered`; else to files in `damaged/`.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::path::Path;

use rusqlite::types::Value;
use rusqlite::{Connection, OptionalExtension, params_from_iter};

use crate::check::Place;
use crate::db::{database_path, now, open_writer};
use crate::{AccountId, Error, ops, record, repair, segments};

/// What came of it.
pub(crate) struct Outcome {
    /// The name the damaged database has now.
    pub(crate) kept_as: String,
    /// Messages whose rows are lost, and what became of them.
    pub(crate) lost: Vec<(Place, String)>,
}

/// The mailbox for bodies whose rows are lost.
const RECOVERED: &str = "Recovered";

/// Tables in an order in which their references are there; messages come after these.
const TABLES: [&str; 9] = [
    "meta",
    "accounts",
    "sha1_keys",
    "mailboxes",
    "subscriptions",
    "keywords",
    "doomed",
    "segments",
    "bodies",
];

/// Replaces the database by a new one.
pub(crate) fn run(dir: &Path) -> Result<Outcome, Error> {
    let path = database_path(dir);
    // Everything the journal holds goes into the file first, as far as it can.
    let _ = Connection::open(&path)
        .and_then(|db| db.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(())));
    let kept_as = format!("store.db.damaged-{}", now());
    let aside = dir.join(&kept_as);
    fs::rename(&path, &aside)?;
    for ending in ["-wal", "-shm"] {
        let beside = |path: &Path| {
            let mut name = path.as_os_str().to_owned();
            name.push(ending);
            name
        };
        if fs::exists(beside(&path))? {
            fs::rename(beside(&path), beside(&aside))?;
        }
    }
    match refill(dir, &aside) {
        Ok(lost) => Ok(Outcome { kept_as, lost }),
        Err(error) => {
            // As it was: a store without its database would be begun anew.
            let _ = fs::rename(&aside, &path);
            Err(error)
        }
    }
}

fn refill(dir: &Path, aside: &Path) -> Result<Vec<(Place, String)>, Error> {
    let old = Connection::open(aside)?;
    old.pragma_update(None, "cell_size_check", true)?;
    let mut new = open_writer(dir)?;
    let new = new.transaction()?;
    new.execute_batch("DELETE FROM meta")?;
    for table in TABLES {
        move_table(&old, &new, table)?;
    }
    // The triggers count anew as messages come.
    new.execute_batch("UPDATE bodies SET refs = 0; DELETE FROM segments WHERE id NOT IN (SELECT segment FROM bodies)
        AND shared = 0; UPDATE segments SET live = (SELECT count(*) FROM bodies b WHERE b.segment = segments.id)")?;
    move_messages(&old, &new)?;
    move_table(&old, &new, "expunged")?;
    let lost = lost_rows(&old, &new)?;
    let fate = recover_bodies(dir, &new, &lost)?;
    repair::recount(&new)?;
    raise_numbers(&new, &lost)?;
    let named = name_all(&new, &lost, &fate)?;
    new.commit()?;
    File::open(dir)?.sync_all()?;
    Ok(named)
}

/// The columns of a table, in the new database's order, that the old one has too.
fn columns(old: &Connection, new: &Connection, table: &str) -> Result<Vec<String>, Error> {
    let of = |db: &Connection| -> Result<Vec<String>, Error> {
        let mut query = db.prepare("SELECT name FROM pragma_table_info(?1)")?;
        let names = query.query_map([table], |row| row.get(0))?;
        Ok(names.collect::<Result<_, _>>()?)
    };
    let there: BTreeSet<String> = of(old)?.into_iter().collect();
    let mut columns = of(new)?;
    columns.retain(|name| there.contains(name));
    Ok(columns)
}

/// How the rows of a table are ordered.
fn order(table: &str) -> &'static str {
    match table {
        "meta" => "key",
        "subscriptions" => "account, name",
        "keywords" => "mailbox, folded",
        "expunged" => "mailbox, modseq, uid",
        "doomed" => "mailbox",
        "sha1_keys" => "account",
        _ => "id",
    }
}

fn move_table(old: &Connection, new: &Connection, table: &str) -> Result<(), Error> {
    let columns = columns(old, new, table)?;
    // One that an older program wrote may not have the table.
    if columns.is_empty() {
        return Ok(());
    }
    move_rows(old, new, (table, &columns, order(table)), None)
}

fn move_messages(old: &Connection, new: &Connection) -> Result<(), Error> {
    let columns = columns(old, new, "messages")?;
    let mut query = new.prepare("SELECT id FROM mailboxes UNION SELECT mailbox FROM doomed")?;
    let mailboxes: Vec<i64> = query
        .query_map([], |row| row.get(0))?
        .collect::<Result<_, _>>()?;
    for mailbox in mailboxes {
        move_rows(old, new, ("messages", &columns, "uid"), Some(mailbox))?;
    }
    Ok(())
}

/// Forward to the first page that cannot be read, then backward to it.
fn move_rows(
    old: &Connection,
    new: &Connection,
    (table, columns, order): (&str, &[String], &str),
    mailbox: Option<i64>,
) -> Result<(), Error> {
    let names = columns.join(", ");
    let places = vec!["?"; columns.len()].join(", ");
    let backward = order.replace(',', " DESC,") + " DESC";
    let filter = if mailbox.is_some() {
        "WHERE mailbox = ?1"
    } else {
        ""
    };
    let mut insert = new.prepare(&format!(
        "INSERT OR IGNORE INTO {table} ({names}) VALUES ({places})"
    ))?;
    for order in [order, &backward] {
        let statement = format!("SELECT {names} FROM {table} {filter} ORDER BY {order}");
        let Ok(mut query) = old.prepare(&statement) else {
            continue;
        };
        let Ok(mut rows) = query.query(params_from_iter(mailbox)) else {
            continue;
        };
        loop {
            match rows.next() {
                Ok(Some(row)) => {
                    let values: Result<Vec<Value>, _> =
                        (0..columns.len()).map(|column| row.get(column)).collect();
                    // A row of the wrong types is damage too, and is left out.
                    if let Ok(values) = values {
                        let _ = insert.execute(params_from_iter(values));
                    }
                }
                Ok(None) => return Ok(()),
                Err(_) => break,
            }
        }
    }
    Ok(())
}

/// UIDs the index tells of and no row is there for, by mailbox.
fn lost_rows(old: &Connection, new: &Connection) -> Result<BTreeMap<i64, BTreeSet<u32>>, Error> {
    let mut lost: BTreeMap<i64, BTreeSet<u32>> = BTreeMap::new();
    let mut known = new.prepare("SELECT 1 FROM messages WHERE mailbox = ?1 AND uid = ?2")?;
    for direction in ["", "DESC"] {
        let statement = format!(
            "SELECT mailbox, uid FROM messages INDEXED BY messages_by_modseq
             ORDER BY mailbox {direction}, modseq {direction}"
        );
        let Ok(mut query) = old.prepare(&statement) else {
            continue;
        };
        let mut rows = query.query([])?;
        while let Ok(Some(row)) = rows.next() {
            let (Ok(mailbox), Ok(uid)) = (row.get::<_, i64>(0), row.get::<_, u32>(1)) else {
                continue;
            };
            if !known.exists((mailbox, uid))? {
                lost.entry(mailbox).or_default().insert(uid);
            }
        }
    }
    Ok(lost)
}

/// Keeps the bodies of lost rows; says where they are now.
fn recover_bodies(
    dir: &Path,
    db: &Connection,
    lost: &BTreeMap<i64, BTreeSet<u32>>,
) -> Result<String, Error> {
    let mut query =
        db.prepare("SELECT id, segment, position, size FROM bodies WHERE refs <= 0 ORDER BY id")?;
    let bodies: Vec<(i64, i64, i64, i64)> = query
        .query_map([], |row| {
            Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?))
        })?
        .collect::<Result<_, _>>()?;
    if bodies.is_empty() {
        return Ok("its octets were not found".into());
    }
    let Some(account) = owner(db, lost)? else {
        for (id, segment, position, size) in bodies {
            let file = File::open(segments::path(&segments::folder(dir), segment))?;
            let octets = record::remains(&file, position.unsigned_abs(), size.unsigned_abs())?;
            repair::keep(dir, &format!("body-{id}.eml"), &octets)?;
        }
        return Ok("the octets of such messages are in damaged/".into());
    };
    let mailbox = recovered(db, account)?;
    for (uid, (id, _, _, size)) in (1_i64..).zip(bodies) {
        db.execute(
            "INSERT INTO messages (mailbox, uid, modseq, flags, keywords, date, zone, saved, size, body)
             VALUES (?1, ?2, ?3, 0, '', ?4, 0, ?4, ?5, ?6)",
            (mailbox, uid, uid + 1, now(), size, id),
        )?;
    }
    Ok(format!(
        "its octets are in the mailbox {RECOVERED}, without flags and date"
    ))
}

/// Whose all the lost rows are.
fn owner(db: &Connection, lost: &BTreeMap<i64, BTreeSet<u32>>) -> Result<Option<AccountId>, Error> {
    let mut owners = BTreeSet::new();
    let mut query = db.prepare("SELECT account FROM mailboxes WHERE id = ?1")?;
    for mailbox in lost.keys() {
        owners.extend(
            query
                .query_row([mailbox], |row| row.get::<_, i64>(0))
                .optional()?,
        );
    }
    if owners.is_empty() {
        let mut all = db.prepare("SELECT id FROM accounts LIMIT 2")?;
        for id in all.query_map([], |row| row.get(0))? {
            owners.insert(id?);
        }
    }
    Ok(match owners.first() {
        Some(one) if owners.len() == 1 => Some(AccountId(*one)),
        _ => None,
    })
}

/// A new mailbox of this name, or of this name and a number.
fn recovered(db: &Connection, account: AccountId) -> Result<i64, Error> {
    let mut taken = db.prepare("SELECT 1 FROM mailboxes WHERE account = ?1 AND name = ?2")?;
    let mut name = RECOVERED.to_owned();
    for number in 2.. {
        if !taken.exists((account.0, &name))? {
            break;
        }
        name = format!("{RECOVERED} {number}");
    }
    Ok(ops::insert(db, account, &name, None, now())?.0)
}

/// A UID that was lost must not be given again, nor a modification sequence.
fn raise_numbers(db: &Connection, lost: &BTreeMap<i64, BTreeSet<u32>>) -> Result<(), Error> {
    for (mailbox, uids) in lost {
        if let Some(last) = uids.last() {
            db.execute(
                "UPDATE mailboxes SET uidnext = max(uidnext, ?2 + 1), modseq = modseq + 1 WHERE id = ?1",
                (mailbox, last),
            )?;
        }
        for uid in uids {
            db.execute(
                "INSERT OR IGNORE INTO expunged (mailbox, modseq, uid) SELECT id, modseq, ?2 FROM mailboxes WHERE id = ?1",
                (mailbox, uid),
            )?;
        }
    }
    Ok(())
}

fn name_all(
    db: &Connection,
    lost: &BTreeMap<i64, BTreeSet<u32>>,
    fate: &str,
) -> Result<Vec<(Place, String)>, Error> {
    let mut query = db.prepare(
        "SELECT a.address, m.name FROM mailboxes m JOIN accounts a ON a.id = m.account WHERE m.id = ?1",
    )?;
    let mut places = Vec::new();
    for (mailbox, uids) in lost {
        let owner: Option<(String, String)> = query
            .query_row([mailbox], |row| Ok((row.get(0)?, row.get(1)?)))
            .optional()?;
        let (account, name) = owner.unwrap_or_else(|| ("?".into(), format!("mailbox {mailbox}")));
        places.extend(uids.iter().map(|uid| {
            let place = Place {
                account: account.clone(),
                mailbox: name.clone(),
                uid: *uid,
            };
            (place, fate.to_owned())
        }));
    }
    Ok(places)
}
