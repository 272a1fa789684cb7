//! Rows as the database gives them, turned into the nouns of the store. A value out of its range is damage.

use gatepost_wire::imap::ask::{InternalDate, SpecialUse, Status};
use rusqlite::{Connection, OptionalExtension, Row};

use crate::{AccountId, BodyRef, EmailId, Error, Facts, MailboxId, Message, flags};

/// A mailbox's row.
#[derive(Debug, Clone)]
pub(crate) struct MailboxRow {
    pub(crate) id: MailboxId,
    pub(crate) account: AccountId,
    pub(crate) object_id: i64,
    pub(crate) uidvalidity: u32,
    pub(crate) uidnext: u32,
    pub(crate) modseq: u64,
    pub(crate) messages: u32,
    pub(crate) unseen: u32,
    pub(crate) deleted: u32,
    pub(crate) size: u64,
}

const MAILBOX: &str =
    "SELECT id, account, object_id, uidvalidity, uidnext, modseq, messages, unseen, deleted, size
    FROM mailboxes WHERE ";

impl MailboxRow {
    /// By name, in its canonical form.
    pub(crate) fn by_name(
        db: &Connection,
        account: AccountId,
        name: &str,
    ) -> Result<Option<Self>, Error> {
        let mut query = db.prepare_cached(&format!("{MAILBOX} account = ?1 AND name = ?2"))?;
        Ok(query.query_row((account.0, name), Self::from).optional()?)
    }

    /// By id; gone if it is not there.
    pub(crate) fn by_id(db: &Connection, id: MailboxId) -> Result<Self, Error> {
        let mut query = db.prepare_cached(&format!("{MAILBOX} id = ?1"))?;
        query
            .query_row([id.0], Self::from)
            .optional()?
            .ok_or(Error::Gone)
    }

    fn from(row: &Row<'_>) -> rusqlite::Result<Self> {
        Ok(Self {
            id: MailboxId(row.get(0)?),
            account: AccountId(row.get(1)?),
            object_id: row.get(2)?,
            uidvalidity: row.get(3)?,
            uidnext: row.get(4)?,
            modseq: unsigned(row, 5)?,
            messages: row.get(6)?,
            unseen: row.get(7)?,
            deleted: row.get(8)?,
            size: unsigned(row, 9)?,
        })
    }

    /// As STATUS tells of it.
    pub(crate) fn status(&self) -> Status {
        Status {
            messages: self.messages,
            unseen: self.unseen,
            deleted: self.deleted,
            size: self.size,
            uidnext: self.uidnext,
            uidvalidity: self.uidvalidity,
            highest_modseq: self.modseq,
            mailbox_id: self.mailbox_id(),
            deleted_size: None,
        }
    }

    /// MAILBOXID (RFC 8474 4).
    pub(crate) fn mailbox_id(&self) -> Box<str> {
        format!("M{:016x}", self.object_id.cast_unsigned()).into()
    }
}

/// A number that is never negative.
pub(crate) fn unsigned(row: &Row<'_>, column: usize) -> rusqlite::Result<u64> {
    let value: i64 = row.get(column)?;
    u64::try_from(value).map_err(|_| rusqlite::Error::IntegralValueOutOfRange(column, value))
}

/// A number as the database takes it. None of ours comes near the bound.
pub(crate) fn signed(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

/// The columns [`message`] reads. A message whose body is not in the database is damaged, not absent: segment 0.
pub(crate) const MESSAGE: &str =
    "SELECT m.uid, m.flags, m.keywords, m.modseq, m.date, m.zone, m.saved, m.size,
    coalesce(b.segment, 0), coalesce(b.position, 0), coalesce(b.email_id, 0)
    FROM messages m LEFT JOIN bodies b ON b.id = m.body WHERE m.mailbox = ?1";

/// A row of [`MESSAGE`].
pub(crate) fn message(row: &Row<'_>) -> rusqlite::Result<Message> {
    let size = unsigned(row, 7)?;
    Ok(Message {
        uid: row.get(0)?,
        flags: flags::decode(row.get(1)?, row.get_ref(2)?.as_str()?),
        modseq: unsigned(row, 3)?,
        date: InternalDate {
            unix: row.get(4)?,
            offset_minutes: row.get(5)?,
        },
        saved: row.get(6)?,
        size,
        email_id: EmailId(row.get::<_, i64>(10)?.cast_unsigned()),
        body: BodyRef {
            segment: row.get(8)?,
            position: unsigned(row, 9)?,
            size,
        },
    })
}

/// The columns [`facts`] reads.
pub(crate) const FACTS: &str =
    "SELECT m.uid, m.flags, m.keywords, m.modseq, m.date, m.zone, m.saved, m.size
    FROM messages m WHERE m.mailbox = ?1";

/// A row of [`FACTS`].
pub(crate) fn facts(row: &Row<'_>) -> rusqlite::Result<Facts> {
    Ok(Facts {
        uid: row.get(0)?,
        flags: flags::decode(row.get(1)?, row.get_ref(2)?.as_str()?),
        modseq: unsigned(row, 3)?,
        date: InternalDate {
            unix: row.get(4)?,
            offset_minutes: row.get(5)?,
        },
        saved: row.get(6)?,
        size: unsigned(row, 7)?,
    })
}

/// How special uses are kept.
const SPECIAL_USES: [(SpecialUse, &str); 5] = [
    (SpecialUse::Archive, "archive"),
    (SpecialUse::Drafts, "drafts"),
    (SpecialUse::Junk, "junk"),
    (SpecialUse::Sent, "sent"),
    (SpecialUse::Trash, "trash"),
];

pub(crate) fn special_use_word(special_use: SpecialUse) -> &'static str {
    SPECIAL_USES
        .iter()
        .find(|(known, _)| *known == special_use)
        .map_or("", |(_, word)| word)
}

pub(crate) fn special_use(word: Option<&str>) -> Option<SpecialUse> {
    SPECIAL_USES
        .iter()
        .find(|(_, known)| word == Some(known))
        .map(|(special_use, _)| *special_use)
}
