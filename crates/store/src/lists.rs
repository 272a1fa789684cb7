//! The UIDs of large mailboxes, so that opening one does not read a row for each of its messages.
//!
//! Those opened lately are in memory. All are in the database as ranges, where the first one to open a mailbox after a start finds them: its
//! rows are spread over the file as the messages came, and reading a row for each takes the disk long. Whoever finds none there writes it, and
//! the thread behind (`search::keeper`) writes those that are missing or old before anybody asks.
//!
//! A list is as old as the modification sequence it was read at. Every change has a higher one, so what is missing is read from the two
//! indexes that tell of changes (`messages_by_modseq`, `expunged`), and a list that does not come out as long as the mailbox says it is
//! is read anew. Nothing depends on a list being kept.

use std::sync::{Arc, Mutex, PoisonError};

use gatepost_wire::imap::ask::Uid;
use rusqlite::{Connection, OptionalExtension, Row};

use crate::rows::{MailboxRow, signed, unsigned};
use crate::{Error, MailboxId, flags};

/// Mailboxes with fewer messages are read each time: that is quick.
const SMALL: u32 = 1_000;
/// UIDs kept in all, in four octets each: the lists used longest ago go first.
const MOST: usize = 2_000_000;
/// A list in more ranges than this is not written to the database.
const RANGES: usize = 20_000;
/// With more changes than one in so many messages a list is read anew: looking changes up costs more for each.
const STALE: u64 = 8;
/// With more changes than one in so many messages the one in the database is written again. Well before it is of no use any more.
const OLD: u64 = 16;
/// In place of the sum of a list that is in too many ranges to be kept.
const NOT_KEPT: i64 = -1;

/// What a mailbox holds.
#[derive(Debug, Clone)]
pub(crate) struct List {
    /// Ascending.
    pub(crate) uids: Arc<Vec<Uid>>,
    /// The first message that has not been seen.
    pub(crate) first_unseen: Option<Uid>,
    mailbox: MailboxId,
    uidvalidity: u32,
    modseq: u64,
}

impl List {
    fn is_of(&self, mailbox: &MailboxRow) -> bool {
        self.mailbox == mailbox.id
            && self.uidvalidity == mailbox.uidvalidity
            && self.modseq <= mailbox.modseq
    }

    /// First and last UID of each range.
    fn ranges(&self) -> Vec<(Uid, Uid)> {
        let mut ranges: Vec<(Uid, Uid)> = Vec::new();
        for uid in &*self.uids {
            match ranges.last_mut() {
                Some((_, last)) if last.checked_add(1) == Some(*uid) => *last = *uid,
                _ => ranges.push((*uid, *uid)),
            }
        }
        ranges
    }
}

/// Writes a list to the database, for the next start. Of one that is in too many ranges only its age is noted.
pub(crate) fn write(db: &Connection, list: &List) -> Result<(), Error> {
    let ranges = list.ranges();
    let kept = ranges.len() <= RANGES;
    let octets: Vec<u8> = ranges
        .iter()
        .filter(|_| kept)
        .flat_map(|(first, last)| [first.to_le_bytes(), last.to_le_bytes()])
        .flatten()
        .collect();
    let unseen = list.first_unseen.unwrap_or_default();
    let sum = sum(list.uidvalidity, list.modseq, unseen, &octets);
    let sum = if kept { i64::from(sum) } else { NOT_KEPT };
    db.prepare_cached(
        "INSERT OR REPLACE INTO lists (mailbox, uidvalidity, modseq, first_unseen, ranges, sum)
         SELECT id, ?2, ?3, ?4, ?5, ?6 FROM mailboxes WHERE id = ?1",
    )?
    .execute((
        list.mailbox.0,
        list.uidvalidity,
        signed(list.modseq),
        unseen,
        octets,
        sum,
    ))?;
    Ok(())
}

/// The large mailbox with the lowest id above `after` whose list in the database is missing or old.
pub(crate) fn overdue(db: &Connection, after: MailboxId) -> Result<Option<MailboxId>, Error> {
    let mut query = db.prepare_cached(
        "SELECT m.id, m.messages, l.modseq
         FROM mailboxes m LEFT JOIN lists l ON l.mailbox = m.id AND l.uidvalidity = m.uidvalidity
         WHERE m.id > ?1 AND m.messages >= ?2 AND (l.modseq IS NULL OR l.modseq < m.modseq)
         ORDER BY m.id",
    )?;
    let mut rows = query.query((after.0, SMALL))?;
    while let Some(row) = rows.next()? {
        let (id, messages): (i64, u64) = (row.get(0)?, unsigned(row, 1)?);
        let written: Option<i64> = row.get(2)?;
        let is_old = match written {
            None => true,
            Some(modseq) => changed_more_often(db, id, modseq, messages / OLD)?,
        };
        if is_old {
            return Ok(Some(MailboxId(id)));
        }
    }
    Ok(None)
}

/// Whether a mailbox had more changes than `most` since a modification sequence. One sequence may stand for many of them, so they are counted.
fn changed_more_often(db: &Connection, mailbox: i64, since: i64, most: u64) -> Result<bool, Error> {
    let mut changes = 0;
    for table in ["messages", "expunged"] {
        let mut query = db.prepare_cached(&format!(
            "SELECT count(*) FROM (SELECT 1 FROM {table} WHERE mailbox = ?1 AND modseq > ?2 LIMIT ?3)"
        ))?;
        changes += query.query_row((mailbox, since, signed(most + 1)), |row| unsigned(row, 0))?;
    }
    Ok(changes > most)
}

/// A mailbox's list as it is now, without a look into memory.
pub(crate) fn current(db: &Connection, mailbox: MailboxId) -> Result<List, Error> {
    let mailbox = MailboxRow::by_id(db, mailbox)?;
    let list = match written(db, &mailbox) {
        Some(list) => bring_up_to_date(db, &mailbox, list)?,
        None => None,
    };
    match list {
        Some(list) => Ok(list),
        None => read_all(db, &mailbox),
    }
}

/// The list in the database, if there is one that fits the mailbox. What is damaged is as good as absent.
fn written(db: &Connection, mailbox: &MailboxRow) -> Option<List> {
    let read = |row: &Row<'_>| {
        Ok((
            row.get(0)?,
            unsigned(row, 1)?,
            row.get(2)?,
            row.get::<_, Vec<u8>>(3)?,
            row.get::<_, u32>(4)?,
        ))
    };
    let (uidvalidity, modseq, unseen, octets, told) = db
        .prepare_cached(
            "SELECT uidvalidity, modseq, first_unseen, ranges, sum FROM lists WHERE mailbox = ?1",
        )
        .ok()?
        .query_row([mailbox.id.0], read)
        .ok()?;
    if sum(uidvalidity, modseq, unseen, &octets) != told {
        return None;
    }
    let numbers: Vec<Uid> = octets
        .chunks_exact(4)
        .filter_map(|it| Some(Uid::from_le_bytes(it.try_into().ok()?)))
        .collect();
    let mut uids = Vec::with_capacity((mailbox.messages as usize).min(1 << 20));
    for range in numbers.chunks_exact(2) {
        if let [first, last] = range {
            uids.extend(*first..=*last);
        }
    }
    let list = List {
        uids: Arc::new(uids),
        first_unseen: (unseen > 0).then_some(unseen),
        mailbox: mailbox.id,
        uidvalidity,
        modseq,
    };
    list.is_of(mailbox).then_some(list)
}

fn sum(uidvalidity: u32, modseq: u64, unseen: Uid, ranges: &[u8]) -> u32 {
    let mut sum = crc32fast::Hasher::new();
    sum.update(&uidvalidity.to_le_bytes());
    sum.update(&modseq.to_le_bytes());
    sum.update(&unseen.to_le_bytes());
    sum.update(ranges);
    sum.finalize()
}

/// The lists that are kept, the one used last in front.
#[derive(Debug, Default)]
pub(crate) struct Lists {
    kept: Mutex<Vec<List>>,
}

impl Lists {
    /// What the mailbox holds, in the state of the database that `db` sees, and whether that is worth writing down.
    pub(crate) fn read(
        &self,
        db: &Connection,
        mailbox: &MailboxRow,
    ) -> Result<(List, bool), Error> {
        if mailbox.messages < SMALL {
            return Ok((read_all(db, mailbox)?, false));
        }
        let known = self.find(mailbox).or_else(|| written(db, mailbox));
        let list = match known {
            Some(list) if list.modseq == mailbox.modseq => Some(list),
            Some(list) => bring_up_to_date(db, mailbox, list)?,
            None => None,
        };
        let is_new = list.is_none();
        let list = match list {
            Some(list) => list,
            None => read_all(db, mailbox)?,
        };
        self.keep(list.clone());
        Ok((list, is_new))
    }

    /// A list of this mailbox that is not newer than what is seen of it.
    fn find(&self, mailbox: &MailboxRow) -> Option<List> {
        let kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        kept.iter().find(|it| it.is_of(mailbox)).cloned()
    }

    fn keep(&self, list: List) {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(at) = kept.iter().position(|it| it.mailbox == list.mailbox) {
            // Another reader may have seen a later state.
            let older = kept.remove(at);
            let list = if older.modseq > list.modseq && older.uidvalidity == list.uidvalidity {
                older
            } else {
                list
            };
            kept.insert(0, list);
        } else {
            kept.insert(0, list);
        }
        let mut sum = 0;
        kept.retain(|it| {
            sum += it.uids.len();
            sum <= MOST
        });
    }
}

/// Reads a row for each message.
fn read_all(db: &Connection, mailbox: &MailboxRow) -> Result<List, Error> {
    // Bounded: the number could be damaged.
    let mut uids = Vec::with_capacity((mailbox.messages as usize).min(1 << 20));
    let mut first_unseen = None;
    let mut query =
        db.prepare_cached("SELECT uid, flags FROM messages WHERE mailbox = ?1 ORDER BY uid")?;
    let mut rows = query.query([mailbox.id.0])?;
    while let Some(row) = rows.next()? {
        let uid: Uid = row.get(0)?;
        if first_unseen.is_none() && row.get::<_, i64>(1)? & flags::SEEN == 0 {
            first_unseen = Some(uid);
        }
        uids.push(uid);
    }
    Ok(List {
        uids: Arc::new(uids),
        first_unseen,
        mailbox: mailbox.id,
        uidvalidity: mailbox.uidvalidity,
        modseq: mailbox.modseq,
    })
}

/// Adds and removes what changed since; none when that would be dearer than reading all, or does not fit the mailbox's count.
fn bring_up_to_date(
    db: &Connection,
    mailbox: &MailboxRow,
    list: List,
) -> Result<Option<List>, Error> {
    let most = list.uids.len() as u64 / STALE;
    if mailbox.modseq - list.modseq > most {
        // One sequence may stand for many changes, but none for fewer than one.
        return Ok(None);
    }
    let since = (mailbox.id.0, signed(list.modseq), signed(most + 1));
    let mut query = db.prepare_cached(
        "SELECT uid FROM expunged WHERE mailbox = ?1 AND modseq > ?2 ORDER BY modseq LIMIT ?3",
    )?;
    let mut gone: Vec<Uid> = query
        .query_map(since, |row| row.get(0))?
        .collect::<Result<_, _>>()?;
    let mut query = db.prepare_cached(
        "SELECT uid, flags FROM messages INDEXED BY messages_by_modseq WHERE mailbox = ?1 AND modseq > ?2 LIMIT ?3",
    )?;
    let mut changed: Vec<(Uid, bool)> = query
        .query_map(since, |row| {
            Ok((row.get(0)?, row.get::<_, i64>(1)? & flags::SEEN == 0))
        })?
        .collect::<Result<_, _>>()?;
    if gone.len() as u64 > most || changed.len() as u64 > most {
        return Ok(None);
    }
    gone.sort_unstable();
    changed.sort_unstable();
    let newest = list.uids.last().copied().unwrap_or_default();
    let first_unseen = first_unseen(db, &list, &gone, &changed)?;
    let mut uids = Arc::unwrap_or_clone(list.uids);
    if !gone.is_empty() {
        uids.retain(|uid| gone.binary_search(uid).is_err());
    }
    uids.extend(changed.iter().map(|it| it.0).filter(|uid| *uid > newest));
    let fits = uids.len() == mailbox.messages as usize;
    Ok(fits.then(|| List {
        uids: Arc::new(uids),
        first_unseen,
        modseq: mailbox.modseq,
        ..list
    }))
}

/// The first unseen message, from what it was before.
fn first_unseen(
    db: &Connection,
    list: &List,
    gone: &[Uid],
    changed: &[(Uid, bool)],
) -> Result<Option<Uid>, Error> {
    let of_changed = changed.iter().find(|it| it.1).map(|it| it.0);
    let of_others = match list.first_unseen {
        None => None,
        Some(uid)
            if gone.binary_search(&uid).is_err()
                && changed.binary_search_by_key(&uid, |it| it.0).is_err() =>
        {
            Some(uid)
        }
        // It has been read, or is gone: the next one stands somewhere behind it.
        Some(uid) => db
            .prepare_cached(
                "SELECT uid FROM messages WHERE mailbox = ?1 AND uid > ?2 AND flags & ?3 = 0 ORDER BY uid LIMIT 1",
            )?
            .query_row((list.mailbox.0, uid, flags::SEEN), |row| row.get(0))
            .optional()?,
    };
    Ok(of_changed.into_iter().chain(of_others).min())
}
