//! Messages coming, moving and going.

use std::collections::{BTreeSet, HashMap};

use gatepost_wire::imap::ask::{Copied, Uid};
use rusqlite::{Connection, OptionalExtension, Row};

use super::{Tally, Work, charged};
use crate::flags::{self, Stored};
use crate::incoming::Sealed;
use crate::rows::{MailboxRow, signed, unsigned};
use crate::{AccountId, Delivery, Error, MailboxId, Placed, name};

/// A message's row, as far as copying needs it.
#[derive(Debug, Clone)]
struct Source {
    uid: Uid,
    flags: Stored,
    date: i64,
    zone: i64,
    size: u64,
    body: i64,
}

const SOURCE: &str =
    "SELECT uid, flags, keywords, date, zone, size, body FROM messages WHERE mailbox = ?1";

impl Source {
    fn from(row: &Row<'_>) -> rusqlite::Result<Self> {
        Ok(Self {
            uid: row.get(0)?,
            flags: Stored {
                bits: row.get(1)?,
                keywords: row.get(2)?,
            },
            date: row.get(3)?,
            zone: row.get(4)?,
            size: unsigned(row, 5)?,
            body: row.get(6)?,
        })
    }
}

/// Keeps a message in all the mailboxes, or in none.
pub(crate) fn deliver(
    work: &mut Work<'_>,
    message: Sealed,
    to: &[Delivery],
) -> Result<Vec<Placed>, Error> {
    let size = message.size();
    work.check_space(size)?;
    let mut mailboxes = Vec::with_capacity(to.len());
    for delivery in to {
        let name = name::canonical(&delivery.mailbox);
        let found = MailboxRow::by_name(work.db, delivery.account, &name)?;
        mailboxes.push(found.ok_or(Error::NoSuchMailbox)?.id);
    }
    // Without a recipient nothing would be kept: that must not look like success.
    if mailboxes.is_empty() {
        return Err(Error::NoSuchMailbox);
    }
    let body = keep_body(work, message)?;
    let mut placed = Vec::with_capacity(to.len());
    for (delivery, mailbox) in to.iter().zip(mailboxes) {
        charge(work.db, delivery.account, charged(size))?;
        let keywords = flags::intern(
            work.db,
            mailbox,
            &delivery.flags.keywords,
            work.options.max_keywords,
        )?;
        let source = Source {
            uid: 0,
            flags: Stored::from(&gatepost_wire::imap::ask::Flags {
                keywords,
                ..delivery.flags.clone()
            }),
            date: delivery.date.unix,
            zone: delivery.date.offset_minutes.into(),
            size,
            body,
        };
        placed.push(place(work, mailbox, &source)?);
    }
    Ok(placed)
}

/// Keeps a message and removes the one it replaces; neither when that one is not there.
pub(crate) fn replace(
    work: &mut Work<'_>,
    message: Sealed,
    to: &Delivery,
    (mailbox, old): (MailboxId, Uid),
) -> Result<Option<Placed>, Error> {
    let source = MailboxRow::by_id(work.db, mailbox)?;
    let Some(replaced) = find(work.db, mailbox, &[old])?.pop() else {
        return Ok(None);
    };
    // What goes makes room first: a draft can be saved again in a full mailbox. Its account is the new one's.
    let freed = signed(charged(replaced.size));
    let mut free = work
        .db
        .prepare_cached("UPDATE accounts SET used = used + ?2 WHERE id = ?1")?;
    free.execute((source.account.0, -freed))?;
    let placed = deliver(work, message, std::slice::from_ref(to))?.pop();
    free.execute((source.account.0, freed))?;
    drop(free);
    take_out(work, mailbox, &[replaced])?;
    Ok(placed)
}

/// Puts the octets into a segment; says which body they are.
fn keep_body(work: &mut Work<'_>, message: Sealed) -> Result<i64, Error> {
    let size = signed(message.size());
    let (segment, position) = match message {
        Sealed::Memory(record, _) => work.segments.append(&record)?,
        Sealed::File(file, length, _) => (work.segments.adopt(work.db, file.path(), length)?, 0),
    };
    work.db
        .prepare_cached("INSERT INTO bodies (segment, position, size) VALUES (?1, ?2, ?3)")?
        .execute((segment, signed(position), size))?;
    Ok(work.db.last_insert_rowid())
}

/// Counts octets against the account's quota.
fn charge(db: &Connection, account: AccountId, octets: u64) -> Result<(), Error> {
    let rows = db
        .prepare_cached("UPDATE accounts SET used = used + ?2 WHERE id = ?1 AND (quota IS NULL OR used + ?2 <= quota)")?
        .execute((account.0, signed(octets)))?;
    if rows == 0 {
        Err(Error::OverQuota)
    } else {
        Ok(())
    }
}

/// Adds a message to a mailbox, at the next UID. The account has been charged.
fn place(work: &mut Work<'_>, mailbox: MailboxId, message: &Source) -> Result<Placed, Error> {
    // The last UID is never given (there must be a UIDNEXT), and a mailbox does not grow without limit.
    let next = work
        .db
        .prepare_cached(
            "UPDATE mailboxes SET uidnext = uidnext + 1, modseq = modseq + 1, messages = messages + 1,
             unseen = unseen + ?2, deleted = deleted + ?3, size = size + ?4, charged = charged + ?5
             WHERE id = ?1 AND uidnext < 4294967295 AND messages < ?6 RETURNING uidnext - 1, uidvalidity, modseq",
        )?
        .query_row(
            (
                mailbox.0,
                message.flags.unseen(),
                message.flags.deleted(),
                signed(message.size),
                signed(charged(message.size)),
                work.options.max_messages,
            ),
            |row| Ok((row.get(0)?, row.get(1)?, row.get::<_, i64>(2)?)),
        )
        .optional()?;
    let (uid, uidvalidity, modseq) = next.ok_or(Error::Limit)?;
    work.db
        .prepare_cached(
            "INSERT INTO messages (mailbox, uid, modseq, flags, keywords, date, zone, saved, size, body)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)",
        )?
        .execute((
            mailbox.0,
            uid,
            modseq,
            message.flags.bits,
            &message.flags.keywords,
            message.date,
            message.zone,
            work.now,
            signed(message.size),
            message.body,
        ))?;
    work.touch(mailbox);
    Ok(Placed {
        mailbox,
        uidvalidity,
        uid,
    })
}

/// Copies messages, ascending; with `remove` they are moved.
pub(crate) fn copy(
    work: &mut Work<'_>,
    from: MailboxId,
    uids: &[Uid],
    to: (AccountId, &str),
    remove: bool,
) -> Result<Copied, Error> {
    let source = MailboxRow::by_id(work.db, from)?;
    let target =
        MailboxRow::by_name(work.db, to.0, &name::canonical(to.1))?.ok_or(Error::NoSuchMailbox)?;
    let mut messages = find(work.db, from, uids)?;
    if !remove {
        work.check_space(0)?;
    }
    respell(work, target.id, &mut messages)?;
    let octets = messages.iter().map(|message| charged(message.size)).sum();
    if remove && source.account == target.account {
        // What moves is the account's already: it must move even when the account is over its quota.
        recharge(work.db, target.account, octets)?;
    } else {
        charge(work.db, target.account, octets)?;
    }
    let mut copied = Vec::with_capacity(messages.len());
    for message in &messages {
        copied.push((message.uid, place(work, target.id, message)?.uid));
    }
    if source.account != target.account {
        wait_for_mark(work.db, &messages)?;
    }
    if remove {
        take_out(work, from, &messages)?;
    }
    Ok(Copied {
        uidvalidity: target.uidvalidity,
        uids: copied,
    })
}

/// Has the search index look at bodies again: another account has them now.
fn wait_for_mark(db: &Connection, messages: &[Source]) -> Result<(), Error> {
    let mut note = db.prepare_cached("INSERT OR IGNORE INTO unmarked (body) VALUES (?1)")?;
    for message in messages {
        note.execute([message.body])?;
    }
    Ok(())
}

/// Counts octets that are about to be taken off again.
fn recharge(db: &Connection, account: AccountId, size: u64) -> Result<(), Error> {
    db.prepare_cached("UPDATE accounts SET used = used + ?2 WHERE id = ?1")?
        .execute((account.0, signed(size)))?;
    Ok(())
}

/// Gives the keywords of messages the spelling of another mailbox.
fn respell(work: &Work<'_>, mailbox: MailboxId, messages: &mut [Source]) -> Result<(), Error> {
    let used: BTreeSet<Box<str>> = messages
        .iter()
        .flat_map(|message| message.flags.flags().keywords)
        .collect();
    if used.is_empty() {
        return Ok(());
    }
    let known = flags::intern(work.db, mailbox, &used, work.options.max_keywords)?;
    let spelling: HashMap<String, &Box<str>> = known
        .iter()
        .map(|name| (name.to_ascii_lowercase(), name))
        .collect();
    for message in messages {
        let mut flags = message.flags.flags();
        let respelled = flags
            .keywords
            .iter()
            .filter_map(|name| spelling.get(&name.to_ascii_lowercase()));
        flags.keywords = respelled.map(|&name| name.clone()).collect();
        message.flags = Stored::from(&flags);
    }
    Ok(())
}

/// The messages of these UIDs that are there, ascending.
fn find(db: &Connection, mailbox: MailboxId, uids: &[Uid]) -> Result<Vec<Source>, Error> {
    let wanted: BTreeSet<Uid> = uids.iter().copied().collect();
    let mut query = db.prepare_cached(&format!("{SOURCE} AND uid = ?2"))?;
    let found = wanted
        .iter()
        .map(|uid| query.query_row((mailbox.0, uid), Source::from).optional());
    Ok(found
        .filter_map(Result::transpose)
        .collect::<Result<_, _>>()?)
}

/// Removes those of these messages that are marked `\Deleted`. Says which.
pub(crate) fn expunge(
    work: &mut Work<'_>,
    mailbox: MailboxId,
    only: &[Uid],
) -> Result<Vec<Uid>, Error> {
    if MailboxRow::by_id(work.db, mailbox)?.deleted == 0 {
        return Ok(Vec::new());
    }
    let mut messages = find(work.db, mailbox, only)?;
    messages.retain(|message| message.flags.bits & flags::DELETED != 0);
    take_out(work, mailbox, &messages)
}

/// Removes the first `limit` messages marked `\Deleted` with UIDs above `after`. Says which, and after which UID to go on.
pub(crate) fn expunge_after(
    work: &mut Work<'_>,
    mailbox: MailboxId,
    after: Uid,
    limit: usize,
) -> Result<(Vec<Uid>, Option<Uid>), Error> {
    if MailboxRow::by_id(work.db, mailbox)?.deleted == 0 {
        return Ok((Vec::new(), None));
    }
    let mut query = work
        .db
        .prepare_cached(&format!("{SOURCE} AND uid > ?2 ORDER BY uid"))?;
    let mut rows = query.query((mailbox.0, after))?;
    let (mut messages, mut looked_at, mut next) = (Vec::new(), 0, None);
    while let Some(row) = rows.next()? {
        let message = Source::from(row)?;
        let uid = message.uid;
        if message.flags.bits & flags::DELETED != 0 {
            messages.push(message);
        }
        looked_at += 1;
        // A message that is only looked at costs about a tenth of one removed.
        if messages.len() == limit || looked_at == 10 * limit {
            next = Some(uid);
            break;
        }
    }
    drop(rows);
    drop(query);
    Ok((take_out(work, mailbox, &messages)?, next))
}

/// Removes messages whatever their flags. Says which were there.
pub(crate) fn remove(
    work: &mut Work<'_>,
    mailbox: MailboxId,
    uids: &[Uid],
) -> Result<Vec<Uid>, Error> {
    MailboxRow::by_id(work.db, mailbox)?;
    let messages = find(work.db, mailbox, uids)?;
    take_out(work, mailbox, &messages)
}

/// Moves all messages of a mailbox into another one of the account.
pub(super) fn move_all(work: &mut Work<'_>, from: &MailboxRow, to: MailboxId) -> Result<(), Error> {
    let mut messages = all(work.db, from.id)?;
    respell(work, to, &mut messages)?;
    recharge(
        work.db,
        from.account,
        messages.iter().map(|message| charged(message.size)).sum(),
    )?;
    for message in &messages {
        place(work, to, message)?;
    }
    take_out(work, from.id, &messages)?;
    Ok(())
}

fn all(db: &Connection, mailbox: MailboxId) -> Result<Vec<Source>, Error> {
    let mut query = db.prepare_cached(&format!("{SOURCE} ORDER BY uid"))?;
    let found = query
        .query_map([mailbox.0], Source::from)?
        .collect::<Result<_, _>>()?;
    Ok(found)
}

fn take_out(
    work: &mut Work<'_>,
    mailbox: MailboxId,
    messages: &[Source],
) -> Result<Vec<Uid>, Error> {
    if messages.is_empty() {
        return Ok(Vec::new());
    }
    let mut tally = Tally::default();
    for message in messages {
        tally.subtract(
            message.flags.unseen(),
            message.flags.deleted(),
            message.size,
        );
    }
    let modseq = signed(tally.apply(work.db, mailbox)?);
    let mut delete = work
        .db
        .prepare_cached("DELETE FROM messages WHERE mailbox = ?1 AND uid = ?2")?;
    let mut note = work
        .db
        .prepare_cached("INSERT INTO expunged (mailbox, modseq, uid) VALUES (?1, ?2, ?3)")?;
    for message in messages {
        delete.execute((mailbox.0, message.uid))?;
        note.execute((mailbox.0, modseq, message.uid))?;
    }
    drop((delete, note));
    work.touch(mailbox);
    Ok(messages.iter().map(|message| message.uid).collect())
}
