//! STATUS (RFC 9051 6.3.11; RFC 8438, RFC 7889, RFC 8474, RFC 7162, RFC 9208).

use super::arguments::{Bad, Names};
use super::cursor::Cursor;
use super::reply;
use crate::imap::ask::Status;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Item {
    Messages,
    Recent,
    UidNext,
    UidValidity,
    Unseen,
    Deleted,
    DeletedStorage,
    Size,
    HighestModSeq,
    MailboxId,
    AppendLimit,
}

const ITEMS: [(&str, Item); 11] = [
    ("MESSAGES", Item::Messages),
    ("RECENT", Item::Recent),
    ("UIDNEXT", Item::UidNext),
    ("UIDVALIDITY", Item::UidValidity),
    ("UNSEEN", Item::Unseen),
    ("DELETED", Item::Deleted),
    ("DELETED-STORAGE", Item::DeletedStorage),
    ("SIZE", Item::Size),
    ("HIGHESTMODSEQ", Item::HighestModSeq),
    ("MAILBOXID", Item::MailboxId),
    ("APPENDLIMIT", Item::AppendLimit),
];

/// What is to be told of a mailbox.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct StatusItems(Vec<Item>);

impl StatusItems {
    /// `"(" status-att *(SP status-att) ")"`
    pub(super) fn parse(cursor: &mut Cursor<'_>) -> Result<Self, Bad> {
        cursor.expect(b'(')?;
        let mut items = Vec::new();
        loop {
            let name = cursor.atom()?;
            let item = ITEMS
                .iter()
                .find(|row| row.0.eq_ignore_ascii_case(name))
                .map(|row| row.1)
                .ok_or(Bad::Syntax)?;
            if !items.contains(&item) {
                items.push(item);
            }
            if cursor.eat(b')') {
                return Ok(Self(items));
            }
            cursor.space()?;
        }
    }

    /// Whether HIGHESTMODSEQ is asked for: that enables CONDSTORE (RFC 7162 3.1).
    pub(super) fn modseq(&self) -> bool {
        self.0.contains(&Item::HighestModSeq)
    }

    /// Whether DELETED-STORAGE is asked for.
    pub(super) fn deleted_size(&self) -> bool {
        self.0.contains(&Item::DeletedStorage)
    }

    /// Writes the response.
    pub(super) fn tell(
        &self,
        out: &mut Vec<u8>,
        name: &str,
        status: &Status,
        names: Names,
        append_limit: u64,
    ) {
        out.extend_from_slice(b"* STATUS ");
        names.encode(out, name);
        for (index, item) in self.0.iter().enumerate() {
            out.extend_from_slice(if index == 0 { b" (" } else { b" " });
            let label = ITEMS
                .iter()
                .find(|row| row.1 == *item)
                .map_or("", |row| row.0);
            let value: u64 = match item {
                Item::Messages => status.messages.into(),
                Item::Recent => 0,
                Item::UidNext => status.uidnext.into(),
                Item::UidValidity => status.uidvalidity.into(),
                Item::Unseen => status.unseen.into(),
                Item::Deleted => status.deleted.into(),
                Item::DeletedStorage => status.deleted_size.unwrap_or(0),
                Item::Size => status.size,
                Item::HighestModSeq => status.highest_modseq,
                Item::AppendLimit => append_limit,
                Item::MailboxId => {
                    reply::put(out, format_args!("{label} ({})", status.mailbox_id));
                    continue;
                }
            };
            reply::put(out, format_args!("{label} {value}"));
        }
        out.extend_from_slice(b")\r\n");
    }
}
