//! Flags changing.

use std::collections::BTreeSet;

use gatepost_wire::imap::ask::{Changed, FlagChange, Flags, ModSeq, StoreOutcome, Uid};
use rusqlite::{Connection, OptionalExtension};

use super::{Tally, Work};
use crate::flags::{self, Stored};
use crate::rows::{MailboxRow, signed, unsigned};
use crate::{Error, MailboxId};

/// Changes flags. A message whose flags are already so keeps its modification sequence.
pub(crate) fn store_flags(
    work: &mut Work<'_>,
    mailbox: MailboxId,
    uids: &[Uid],
    change: &FlagChange,
    unchanged_since: Option<ModSeq>,
) -> Result<StoreOutcome, Error> {
    MailboxRow::by_id(work.db, mailbox)?;
    let change = respell(work, mailbox, change)?;
    let mut outcome = StoreOutcome::default();
    let mut tally = Tally::default();
    let mut updates = Vec::new();
    let mut find = work.db.prepare_cached(
        "SELECT flags, keywords, modseq FROM messages WHERE mailbox = ?1 AND uid = ?2",
    )?;
    for uid in uids.iter().copied().collect::<BTreeSet<_>>() {
        let found = find.query_row((mailbox.0, uid), |row| {
            Ok((
                Stored {
                    bits: row.get(0)?,
                    keywords: row.get(1)?,
                },
                unsigned(row, 2)?,
            ))
        });
        let Some((old, modseq)) = found.optional()? else {
            continue;
        };
        if unchanged_since.is_some_and(|bound| modseq > bound) {
            outcome.modified.push(uid);
            continue;
        }
        let flags = flags::changed(&old.flags(), &change);
        let new = Stored::from(&flags);
        if new != old {
            tally.unseen += new.unseen() - old.unseen();
            tally.deleted += new.deleted() - old.deleted();
            updates.push((outcome.changed.len(), new));
        }
        outcome.changed.push(Changed { uid, flags, modseq });
    }
    drop(find);
    if !updates.is_empty() {
        let modseq = tally.apply(work.db, mailbox)?;
        write(work.db, mailbox, modseq, (&updates, &mut outcome.changed))?;
        outcome.made.push(modseq);
        work.touch(mailbox);
    }
    Ok(outcome)
}

/// Writes new flags; each belongs to the entry of that index.
fn write(
    db: &Connection,
    mailbox: MailboxId,
    modseq: ModSeq,
    (updates, changed): (&[(usize, Stored)], &mut [Changed]),
) -> Result<(), Error> {
    let mut update =
        db.prepare_cached("UPDATE messages SET flags = ?3, keywords = ?4, modseq = ?5 WHERE mailbox = ?1 AND uid = ?2")?;
    for (index, new) in updates {
        let Some(entry) = changed.get_mut(*index) else {
            continue;
        };
        update.execute((
            mailbox.0,
            entry.uid,
            new.bits,
            &new.keywords,
            signed(modseq),
        ))?;
        entry.modseq = modseq;
    }
    Ok(())
}

/// The change with the mailbox's spelling of keywords.
fn respell(work: &Work<'_>, mailbox: MailboxId, change: &FlagChange) -> Result<FlagChange, Error> {
    let spell = |flags: &Flags, keywords| Flags {
        keywords,
        ..flags.clone()
    };
    let limit = work.options.max_keywords;
    Ok(match change {
        FlagChange::Replace(flags) => FlagChange::Replace(spell(
            flags,
            flags::intern(work.db, mailbox, &flags.keywords, limit)?,
        )),
        FlagChange::Add(flags) => FlagChange::Add(spell(
            flags,
            flags::intern(work.db, mailbox, &flags.keywords, limit)?,
        )),
        FlagChange::Remove(flags) => FlagChange::Remove(spell(
            flags,
            flags::look_up(work.db, mailbox, &flags.keywords)?,
        )),
    })
}
