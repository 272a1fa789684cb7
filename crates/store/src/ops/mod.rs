//! What changes the store. Each function is one job inside the writer's transaction: it either returns `Ok`, or what it
//! did is undone.

mod flagging;
mod mailboxes;
mod messages;

use std::path::PathBuf;

use rusqlite::Connection;

pub(crate) use flagging::store_flags;
pub(crate) use mailboxes::{create, delete, doom, insert, reap, rename, set_subscribed};
pub(crate) use messages::{copy, deliver, expunge, expunge_after, remove, replace};

use crate::incoming::check_space;
use crate::rows::signed;
use crate::segments::Segments;
use crate::{AccountId, Error, MailboxId, Options};

/// What a job works with.
pub(crate) struct Work<'a> {
    pub(crate) db: &'a Connection,
    pub(crate) segments: &'a mut Segments,
    pub(crate) options: &'a Options,
    pub(crate) dir: &'a PathBuf,
    /// Seconds since 1970-01-01 00:00 UTC.
    pub(crate) now: i64,
    /// Mailboxes whose listeners are to be told.
    pub(crate) changed: Vec<MailboxId>,
    /// Accounts whose mailboxes or subscriptions have come, gone or changed their names.
    pub(crate) accounts: Vec<AccountId>,
}

impl Work<'_> {
    /// Refuses what would make the disk too full. Whatever frees space must not ask.
    pub(crate) fn check_space(&self, octets: u64) -> Result<(), Error> {
        check_space(self.dir, self.options, octets)
    }

    fn touch(&mut self, mailbox: MailboxId) {
        if self.changed.last() != Some(&mailbox) {
            self.changed.push(mailbox);
        }
    }
}

/// The least a message counts against a quota, in octets: its rows take room and time whatever its size.
const LEAST_CHARGED: u64 = 1_024;

/// What a message of this size counts against a quota.
fn charged(size: u64) -> u64 {
    size.max(LEAST_CHARGED)
}

/// By how much the sums of a mailbox, and its account's octets, change.
#[derive(Debug, Default, Clone, Copy)]
struct Tally {
    messages: i64,
    unseen: i64,
    deleted: i64,
    size: i64,
    charged: i64,
}

impl Tally {
    fn subtract(&mut self, unseen: i64, deleted: i64, size: u64) {
        self.messages -= 1;
        self.unseen -= unseen;
        self.deleted -= deleted;
        self.size -= signed(size);
        self.charged -= signed(charged(size));
    }

    /// Writes the sums, and gives the change its modification sequence.
    fn apply(self, db: &Connection, mailbox: MailboxId) -> Result<u64, Error> {
        let modseq = db
            .prepare_cached(
                "UPDATE mailboxes SET modseq = modseq + 1, messages = messages + ?2, unseen = unseen + ?3,
                 deleted = deleted + ?4, size = size + ?5, charged = charged + ?6 WHERE id = ?1 RETURNING modseq",
            )?
            .query_row((mailbox.0, self.messages, self.unseen, self.deleted, self.size, self.charged), |row| {
                crate::rows::unsigned(row, 0)
            })?;
        if self.charged != 0 {
            db.prepare_cached(
                "UPDATE accounts SET used = used + ?2 WHERE id = (SELECT account FROM mailboxes WHERE id = ?1)",
            )?
            .execute((mailbox.0, self.charged))?;
        }
        Ok(modseq)
    }
}
