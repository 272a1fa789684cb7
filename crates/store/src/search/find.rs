//! Which messages of a mailbox a search must look at.

use gatepost_wire::imap::ask::Uid;
use rusqlite::{CachedStatement, Connection, OptionalExtension};

use super::grams::{Hint, bit};
use super::shelf::loose_id;
use super::{BLOCK, SLICE};
use crate::rows::MailboxRow;
use crate::{Error, MailboxId};

/// With more bodies waiting the index is young: asking it would cost more than it saves.
const MOST_WAITING: i64 = 20_000;
/// A block with more candidates is read through; fewer are looked up one by one.
const MANY: u32 = 256;

/// One bit for each slot of a block.
type Slots = [u64; SLICE / 8];

/// The messages that may be meant, ascending; none: any.
pub(crate) fn candidates(
    db: &Connection,
    mailbox: MailboxId,
    hint: &Hint,
) -> Result<Option<Vec<Uid>>, Error> {
    if *hint == Hint::Any || !is_ready(db)? {
        return Ok(None);
    }
    let account = MailboxRow::by_id(db, mailbox)?.account;
    let mut query = db.prepare_cached(
        "SELECT m.uid FROM unmarked u CROSS JOIN messages m INDEXED BY messages_by_body ON m.body = u.body
         WHERE m.mailbox = ?1",
    )?;
    let mut uids: Vec<Uid> = query
        .query_map([mailbox.0], |row| row.get(0))?
        .collect::<Result<_, _>>()?;
    let mut query = db.prepare_cached("SELECT id, width FROM shelves WHERE account = ?1")?;
    let shelves: Vec<(i64, u32)> = query
        .query_map([account.0], |row| Ok((row.get(0)?, row.get(1)?)))?
        .collect::<Result<_, _>>()?;
    let mut bodies = Vec::new();
    for (shelf, width) in shelves {
        look_through(db, (shelf, width), hint, &mut bodies)?;
    }
    let mut query = db.prepare_cached(
        "SELECT uid FROM messages INDEXED BY messages_by_body WHERE body = ?1 AND mailbox = ?2",
    )?;
    for body in bodies {
        for uid in query.query_map((body, mailbox.0), |row| row.get(0))? {
            uids.push(uid?);
        }
    }
    uids.sort_unstable();
    uids.dedup();
    Ok(Some(uids))
}

fn is_ready(db: &Connection) -> Result<bool, Error> {
    let mut query = db.prepare_cached("SELECT count(*) FROM (SELECT 1 FROM unmarked LIMIT ?1)")?;
    let waiting: i64 = query.query_row([MOST_WAITING + 1], |row| row.get(0))?;
    Ok(waiting <= MOST_WAITING)
}

/// Adds the bodies of a shelf that may be meant.
fn look_through(
    db: &Connection,
    (shelf, width): (i64, u32),
    hint: &Hint,
    bodies: &mut Vec<i64>,
) -> Result<(), Error> {
    let mut read =
        db.prepare_cached("SELECT body FROM marks WHERE shelf = ?1 AND slot BETWEEN ?2 AND ?3")?;
    if width == 0 {
        for body in read.query_map((shelf, 0, i64::MAX), |row| row.get(0))? {
            bodies.push(body?);
        }
        return Ok(());
    }
    let mut query = db.prepare_cached("SELECT block, first FROM blocks WHERE shelf = ?1")?;
    let blocks: Vec<(i64, i64)> = query
        .query_map([shelf], |row| Ok((row.get(0)?, row.get(1)?)))?
        .collect::<Result<_, _>>()?;
    let mut slices = Slices {
        query: db.prepare_cached("SELECT bits FROM slices WHERE id = ?1")?,
        width,
        first: 0,
    };
    for (block, first) in blocks {
        slices.first = first;
        let slots = slices.may_hold(hint)?;
        add(db, (shelf, block * BLOCK), &slots, bodies)?;
    }
    let mut query = db.prepare_cached("SELECT slot, bits FROM loose WHERE id BETWEEN ?1 AND ?2")?;
    let mut rows = query.query((loose_id(shelf, 0), loose_id(shelf, BLOCK - 1)))?;
    while let Some(row) = rows.next()? {
        let bits = row.get_ref(1)?.as_blob().map_err(|_| Error::Damaged)?;
        if mark_may_hold(bits, width, hint) {
            let slot: i64 = row.get(0)?;
            for body in read.query_map((shelf, slot, slot), |row| row.get(0))? {
                bodies.push(body?);
            }
        }
    }
    Ok(())
}

/// Adds the bodies in these slots of a block.
fn add(
    db: &Connection,
    (shelf, from): (i64, i64),
    slots: &Slots,
    bodies: &mut Vec<i64>,
) -> Result<(), Error> {
    let count: u32 = slots.iter().map(|word| word.count_ones()).sum();
    let is_set = |at: i64| {
        usize::try_from(at).is_ok_and(|at| {
            slots
                .get(at / 64)
                .is_some_and(|word| word >> (at % 64) & 1 == 1)
        })
    };
    if count > MANY {
        let mut query = db.prepare_cached(
            "SELECT slot, body FROM marks WHERE shelf = ?1 AND slot BETWEEN ?2 AND ?3",
        )?;
        let mut rows = query.query((shelf, from, from + BLOCK - 1))?;
        while let Some(row) = rows.next()? {
            if is_set(row.get::<_, i64>(0)? - from) {
                bodies.push(row.get(1)?);
            }
        }
        return Ok(());
    }
    if count == 0 {
        return Ok(());
    }
    let mut query = db.prepare_cached("SELECT body FROM marks WHERE shelf = ?1 AND slot = ?2")?;
    for at in (0..BLOCK).filter(|at| is_set(*at)) {
        let body = query.query_row((shelf, from + at), |row| row.get::<_, i64>(0));
        bodies.extend(body.optional()?);
    }
    Ok(())
}

/// The slices of a block.
struct Slices<'a> {
    query: CachedStatement<'a>,
    width: u32,
    first: i64,
}

impl Slices<'_> {
    /// The slots whose messages may hold it.
    fn may_hold(&mut self, hint: &Hint) -> Result<Slots, Error> {
        let mut slots = [u64::MAX; SLICE / 8];
        match hint {
            Hint::Any => {}
            Hint::Grams(places) => {
                for place in places {
                    self.keep_set(*place, &mut slots)?;
                    if slots == [0; SLICE / 8] {
                        break;
                    }
                }
            }
            Hint::All(all) => {
                for hint in all {
                    let also = self.may_hold(hint)?;
                    slots
                        .iter_mut()
                        .zip(also)
                        .for_each(|(slot, also)| *slot &= also);
                }
            }
            Hint::One(one) => {
                slots = [0; SLICE / 8];
                for hint in one {
                    let also = self.may_hold(hint)?;
                    slots
                        .iter_mut()
                        .zip(also)
                        .for_each(|(slot, also)| *slot |= also);
                }
            }
        }
        Ok(slots)
    }

    /// Takes the slots out that do not have a bit. A slice that is not there takes none: a search may read too much, but must not
    /// miss anything.
    fn keep_set(&mut self, place: u16, slots: &mut Slots) -> Result<(), Error> {
        let id = self.first + i64::from(bit(place, self.width));
        let bits = self.query.query_row([id], |row| {
            Ok(row.get_ref(0)?.as_blob().map(|blob| {
                let (words, rest) = blob.as_chunks::<8>();
                let whole = words.len() == slots.len() && rest.is_empty();
                for (slot, word) in slots.iter_mut().zip(words).filter(|_| whole) {
                    *slot &= u64::from_le_bytes(*word);
                }
            })?)
        });
        bits.optional()?;
        Ok(())
    }
}

/// Whether the message of a mark may hold it. A mark that is too short says yes.
fn mark_may_hold(bits: &[u8], width: u32, hint: &Hint) -> bool {
    match hint {
        Hint::Any => true,
        Hint::Grams(places) => places.iter().all(|place| {
            let bit = bit(*place, width) as usize;
            bits.get(bit / 8)
                .is_none_or(|octet| octet >> (bit % 8) & 1 == 1)
        }),
        Hint::All(all) => all.iter().all(|hint| mark_may_hold(bits, width, hint)),
        Hint::One(one) => one.iter().any(|hint| mark_may_hold(bits, width, hint)),
    }
}
