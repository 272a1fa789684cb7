//! Marks going onto their shelves, and what becomes of a shelf.

use std::collections::BTreeMap;

use rusqlite::{Connection, OptionalExtension};

use super::grams::Bits;
use super::{BLOCK, SLICE};
use crate::Error;
use crate::ops::Work;

/// A mark on its way in.
#[derive(Debug)]
pub(crate) struct Marked {
    pub(crate) body: i64,
    /// Tells the body from a later one of the same id.
    pub(crate) email_id: i64,
    pub(crate) mark: Bits,
}

/// Keeps marks: bodies that have gone meanwhile are passed over, the others wait no longer.
pub(crate) fn keep(work: &Work<'_>, marked: &[Marked]) -> Result<(), Error> {
    work.check_space(marked.iter().map(|one| one.mark.bits.len() as u64).sum())?;
    let db = work.db;
    for one in marked {
        let mut known =
            db.prepare_cached("SELECT 1 FROM bodies WHERE id = ?1 AND email_id = ?2")?;
        if !known.exists((one.body, one.email_id))? {
            continue;
        }
        for account in accounts_without(db, one.body)? {
            put(db, account, one)?;
        }
        db.prepare_cached("DELETE FROM unmarked WHERE body = ?1")?
            .execute([one.body])?;
    }
    Ok(())
}

/// The accounts that have messages of this body and no mark for it.
fn accounts_without(db: &Connection, body: i64) -> Result<Vec<i64>, Error> {
    let mut query = db.prepare_cached(
        "SELECT DISTINCT x.account FROM messages m INDEXED BY messages_by_body CROSS JOIN mailboxes x ON x.id = m.mailbox
         WHERE m.body = ?1 AND NOT EXISTS
         (SELECT 1 FROM marks k CROSS JOIN shelves s ON s.id = k.shelf WHERE k.body = ?1 AND s.account = x.account)",
    )?;
    let accounts = query.query_map([body], |row| row.get(0))?;
    Ok(accounts.collect::<Result<_, _>>()?)
}

fn put(db: &Connection, account: i64, one: &Marked) -> Result<(), Error> {
    let (shelf, slot): (i64, i64) = db
        .prepare_cached(
            "INSERT INTO shelves (account, width, next) VALUES (?1, ?2, 1)
             ON CONFLICT (account, width) DO UPDATE SET next = next + 1 RETURNING id, next - 1",
        )?
        .query_row((account, one.mark.width), |row| {
            Ok((row.get(0)?, row.get(1)?))
        })?;
    db.prepare_cached("INSERT INTO marks (shelf, slot, body) VALUES (?1, ?2, ?3)")?
        .execute((shelf, slot, one.body))?;
    if one.mark.width == 0 {
        return Ok(());
    }
    db.prepare_cached("INSERT INTO loose (id, slot, bits) VALUES (?1, ?2, ?3)")?
        .execute((loose_id(shelf, slot), slot, &one.mark.bits))?;
    if slot % BLOCK == BLOCK - 1 {
        slice(db, shelf, slot / BLOCK, one.mark.width as usize)?;
    }
    Ok(())
}

/// Where a loose mark is kept.
pub(super) fn loose_id(shelf: i64, slot: i64) -> i64 {
    shelf * BLOCK + slot % BLOCK
}

/// Turns a full block from a row of bits for each message into a row of messages for each bit.
fn slice(db: &Connection, shelf: i64, block: i64, width: usize) -> Result<(), Error> {
    let mut rows: Vec<Vec<u8>> = vec![Vec::new(); SLICE * 8];
    let mut live = 0_i64;
    {
        let mut query =
            db.prepare_cached("SELECT slot, bits FROM loose WHERE id BETWEEN ?1 AND ?2")?;
        let mut found = query.query((loose_id(shelf, 0), loose_id(shelf, BLOCK - 1)))?;
        while let Some(row) = found.next()? {
            let slot: i64 = row.get(0)?;
            if let Ok(at) = usize::try_from(slot % BLOCK) {
                rows[at] = row.get(1)?;
                live += 1;
            }
        }
    }
    let first: i64 = db
        .prepare_cached("SELECT coalesce(max(id), 0) + 1 FROM slices")?
        .query_row([], |row| row.get(0))?;
    let mut sum = crc32fast::Hasher::new();
    let mut insert = db.prepare_cached("INSERT INTO slices (id, bits) VALUES (?1, ?2)")?;
    let mut id = first;
    for octet in 0..width / 8 {
        for bits in transposed(&rows, octet) {
            insert.execute((id, &bits[..]))?;
            sum.update(&bits);
            id += 1;
        }
    }
    db.prepare_cached("DELETE FROM loose WHERE id BETWEEN ?1 AND ?2")?
        .execute((loose_id(shelf, 0), loose_id(shelf, BLOCK - 1)))?;
    db.prepare_cached(
        "INSERT INTO blocks (shelf, block, first, live, sum) VALUES (?1, ?2, ?3, ?4, ?5)",
    )?
    .execute((shelf, block, first, live, sum.finalize()))?;
    Ok(())
}

/// The slices of the eight bits in one octet of each row.
fn transposed(rows: &[Vec<u8>], octet: usize) -> [[u8; SLICE]; 8] {
    let mut slices = [[0; SLICE]; 8];
    for (slot, row) in rows.iter().enumerate() {
        let value = row.get(octet).copied().unwrap_or_default();
        for (bit, slice) in slices.iter_mut().enumerate() {
            slice[slot / 8] |= ((value >> bit) & 1) << (slot % 8);
        }
    }
    slices
}

/// Whether there is a block of which little is left.
pub(crate) fn has_thin(db: &Connection) -> Result<bool, Error> {
    let mut query = db.prepare_cached("SELECT 1 FROM blocks WHERE live < 512")?;
    Ok(query.exists([])?)
}

/// Takes a block apart of which little is left: its bodies wait again. Says whether there was one.
pub(crate) fn thin(db: &Connection) -> Result<bool, Error> {
    let found = db
        .prepare_cached(
            "SELECT b.shelf, b.block, b.first, s.width FROM blocks b JOIN shelves s ON s.id = b.shelf
             WHERE b.live < 512 LIMIT 1",
        )?
        .query_row([], |row| {
            Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?))
        })
        .optional()?;
    let Some((shelf, block, first, width)): Option<(i64, i64, i64, i64)> = found else {
        return Ok(false);
    };
    let slots = (shelf, block * BLOCK, (block + 1) * BLOCK - 1);
    db.prepare_cached("DELETE FROM blocks WHERE shelf = ?1 AND block = ?2")?
        .execute((shelf, block))?;
    db.prepare_cached("DELETE FROM slices WHERE id BETWEEN ?1 AND ?2")?
        .execute((first, first + width - 1))?;
    for statement in [
        "INSERT OR IGNORE INTO unmarked (body) SELECT body FROM marks WHERE shelf = ?1 AND slot BETWEEN ?2 AND ?3",
        "DELETE FROM marks WHERE shelf = ?1 AND slot BETWEEN ?2 AND ?3",
    ] {
        db.prepare_cached(statement)?.execute(slots)?;
    }
    Ok(true)
}

/// Forgets the whole index: every body waits again.
pub(crate) fn forget_all(db: &Connection) -> Result<(), Error> {
    db.execute_batch(
        "DELETE FROM blocks; DELETE FROM slices; DELETE FROM loose; DELETE FROM marks; DELETE FROM shelves;
         INSERT OR IGNORE INTO unmarked (body) SELECT id FROM bodies;
         DELETE FROM unmarked WHERE body NOT IN (SELECT id FROM bodies);",
    )?;
    Ok(())
}

/// How many entries do not fit the mail or each other. Whether the bits are those of the texts is not looked at: that would mean
/// reading all texts.
pub(crate) fn verify(db: &Connection) -> Result<u64, Error> {
    let one = |query: &str| db.query_row(query, [], |row| crate::rows::unsigned(row, 0));
    let unknown = one(
        "SELECT count(*) FROM (SELECT DISTINCT m.body, x.account FROM messages m JOIN mailboxes x ON x.id = m.mailbox
         WHERE m.body NOT IN (SELECT body FROM unmarked) AND m.body IN (SELECT id FROM bodies)) d WHERE NOT EXISTS
         (SELECT 1 FROM marks k JOIN shelves s ON s.id = k.shelf WHERE k.body = d.body AND s.account = d.account)",
    )?;
    let stray = one(
        "SELECT (SELECT count(*) FROM marks WHERE body NOT IN (SELECT id FROM bodies))
         + (SELECT count(*) FROM unmarked WHERE body NOT IN (SELECT id FROM bodies))
         + (SELECT count(*) FROM marks WHERE shelf NOT IN (SELECT id FROM shelves))",
    )?;
    let nowhere = one(
        "SELECT count(*) FROM marks k JOIN shelves s ON s.id = k.shelf WHERE s.width > 0
         AND NOT EXISTS (SELECT 1 FROM loose l WHERE l.id = k.shelf * 2048 + k.slot % 2048 AND l.slot = k.slot
         AND length(l.bits) = s.width / 8)
         AND NOT EXISTS (SELECT 1 FROM blocks b WHERE b.shelf = k.shelf AND b.block = k.slot / 2048)",
    )?;
    Ok(unknown + stray + nowhere + bad_blocks(db)?)
}

/// Blocks whose slices are not all there, or not as they were written.
fn bad_blocks(db: &Connection) -> Result<u64, Error> {
    let mut query = db
        .prepare("SELECT b.first, b.sum, s.width FROM blocks b JOIN shelves s ON s.id = b.shelf")?;
    let blocks: BTreeMap<i64, (u32, i64)> = query
        .query_map([], |row| Ok((row.get(0)?, (row.get(1)?, row.get(2)?))))?
        .collect::<Result<_, _>>()?;
    let mut read = db.prepare("SELECT bits FROM slices WHERE id BETWEEN ?1 AND ?2 ORDER BY id")?;
    let mut bad = 0;
    for (first, (sum, width)) in blocks {
        let (mut found, mut count) = (crc32fast::Hasher::new(), 0);
        let mut rows = read.query((first, first + width - 1))?;
        while let Some(row) = rows.next()? {
            found.update(row.get_ref(0)?.as_blob().map_err(|_| Error::Damaged)?);
            count += 1;
        }
        bad += u64::from(count != width || found.finalize() != sum);
    }
    Ok(bad)
}
