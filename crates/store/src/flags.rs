//! Flags as the database keeps them: a bit for each system flag, keywords by name with one spelling per mailbox.

use std::collections::{BTreeMap, BTreeSet};

use gatepost_wire::imap::ask::{FlagChange, Flags};
use rusqlite::{Connection, OptionalExtension};

use crate::{Error, MailboxId};

pub(crate) const SEEN: i64 = 1;
const ANSWERED: i64 = 2;
const FLAGGED: i64 = 4;
pub(crate) const DELETED: i64 = 8;
const DRAFT: i64 = 16;

/// The longest keyword, in octets.
const LONGEST: usize = 200;

/// Flags in the form of the database.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Stored {
    pub(crate) bits: i64,
    /// Parted by spaces, ascending.
    pub(crate) keywords: String,
}

impl Stored {
    /// From flags whose keywords have the mailbox's spelling.
    pub(crate) fn from(flags: &Flags) -> Self {
        let bits = [
            (flags.seen, SEEN),
            (flags.answered, ANSWERED),
            (flags.flagged, FLAGGED),
            (flags.deleted, DELETED),
            (flags.draft, DRAFT),
        ];
        let mut keywords = String::new();
        for keyword in &flags.keywords {
            if !keywords.is_empty() {
                keywords.push(' ');
            }
            keywords.push_str(keyword);
        }
        Self {
            bits: bits
                .iter()
                .map(|&(set, bit)| if set { bit } else { 0 })
                .sum(),
            keywords,
        }
    }

    /// As the rest of the program knows them.
    pub(crate) fn flags(&self) -> Flags {
        decode(self.bits, &self.keywords)
    }

    /// The mailbox's sums of one message with these flags.
    pub(crate) const fn unseen(&self) -> i64 {
        if self.bits & SEEN == 0 { 1 } else { 0 }
    }

    /// The same for `\Deleted`.
    pub(crate) const fn deleted(&self) -> i64 {
        if self.bits & DELETED == 0 { 0 } else { 1 }
    }
}

/// As the rest of the program knows them.
pub(crate) fn decode(bits: i64, keywords: &str) -> Flags {
    Flags {
        seen: bits & SEEN != 0,
        answered: bits & ANSWERED != 0,
        flagged: bits & FLAGGED != 0,
        deleted: bits & DELETED != 0,
        draft: bits & DRAFT != 0,
        keywords: keywords
            .split(' ')
            .filter(|keyword| !keyword.is_empty())
            .map(Box::from)
            .collect(),
    }
}

/// What the flags are after the change. Keywords in both must have the mailbox's spelling.
pub(crate) fn changed(old: &Flags, change: &FlagChange) -> Flags {
    match change {
        FlagChange::Replace(new) => new.clone(),
        FlagChange::Add(more) => Flags {
            seen: old.seen || more.seen,
            answered: old.answered || more.answered,
            flagged: old.flagged || more.flagged,
            deleted: old.deleted || more.deleted,
            draft: old.draft || more.draft,
            keywords: old.keywords.union(&more.keywords).cloned().collect(),
        },
        FlagChange::Remove(less) => Flags {
            seen: old.seen && !less.seen,
            answered: old.answered && !less.answered,
            flagged: old.flagged && !less.flagged,
            deleted: old.deleted && !less.deleted,
            draft: old.draft && !less.draft,
            keywords: old.keywords.difference(&less.keywords).cloned().collect(),
        },
    }
}

/// An IMAP atom, not too long.
fn is_keyword(name: &str) -> bool {
    let special = |c: u8| !c.is_ascii_graphic() || b"(){%*\"\\]".contains(&c);
    (1..=LONGEST).contains(&name.len()) && !name.bytes().any(special)
}

/// Gives keywords the mailbox's spelling. New ones are noted, up to `limit` in all.
pub(crate) fn intern(
    db: &Connection,
    mailbox: MailboxId,
    keywords: &BTreeSet<Box<str>>,
    limit: u32,
) -> Result<BTreeSet<Box<str>>, Error> {
    let (mut known, new) = spelled(db, mailbox, keywords)?;
    if new.is_empty() {
        return Ok(known);
    }
    if new.values().any(|name| !is_keyword(name)) {
        return Err(Error::Cannot);
    }
    if count(db, mailbox)? + new.len() > limit as usize {
        forget_unused(db, mailbox)?;
        if count(db, mailbox)? + new.len() > limit as usize {
            return Err(Error::Limit);
        }
        // One of the known ones may have been among the unused.
        return intern(db, mailbox, keywords, limit);
    }
    let mut insert =
        db.prepare_cached("INSERT INTO keywords (mailbox, folded, name) VALUES (?1, ?2, ?3)")?;
    for (folded, name) in new {
        insert.execute((mailbox.0, folded, &*name))?;
        known.insert(name);
    }
    Ok(known)
}

/// Gives keywords the mailbox's spelling; those it does not know are left out: no message has them.
pub(crate) fn look_up(
    db: &Connection,
    mailbox: MailboxId,
    keywords: &BTreeSet<Box<str>>,
) -> Result<BTreeSet<Box<str>>, Error> {
    Ok(spelled(db, mailbox, keywords)?.0)
}

/// The known ones as the mailbox spells them, and the others by their folded form.
type Spelled = (BTreeSet<Box<str>>, BTreeMap<String, Box<str>>);

fn spelled(
    db: &Connection,
    mailbox: MailboxId,
    keywords: &BTreeSet<Box<str>>,
) -> Result<Spelled, Error> {
    let mut known = BTreeSet::new();
    let mut new = BTreeMap::new();
    if keywords.is_empty() {
        return Ok((known, new));
    }
    let mut query =
        db.prepare_cached("SELECT name FROM keywords WHERE mailbox = ?1 AND folded = ?2")?;
    for keyword in keywords {
        let folded = keyword.to_ascii_lowercase();
        match query
            .query_row((mailbox.0, &folded), |row| row.get::<_, String>(0))
            .optional()?
        {
            Some(name) => drop(known.insert(name.into())),
            None => drop(new.insert(folded, keyword.clone())),
        }
    }
    Ok((known, new))
}

fn count(db: &Connection, mailbox: MailboxId) -> Result<usize, Error> {
    let mut query = db.prepare_cached("SELECT count(*) FROM keywords WHERE mailbox = ?1")?;
    let count: i64 = query.query_row([mailbox.0], |row| row.get(0))?;
    usize::try_from(count).map_err(|_| Error::Damaged)
}

/// All keywords of a mailbox.
pub(crate) fn in_use(db: &Connection, mailbox: MailboxId) -> Result<BTreeSet<Box<str>>, Error> {
    let mut query = db.prepare_cached("SELECT name FROM keywords WHERE mailbox = ?1")?;
    let names = query.query_map([mailbox.0], |row| Ok(row.get::<_, String>(0)?.into()))?;
    Ok(names.collect::<Result<_, _>>()?)
}

fn forget_unused(db: &Connection, mailbox: MailboxId) -> Result<(), Error> {
    let mut query =
        db.prepare_cached("SELECT DISTINCT keywords FROM messages WHERE mailbox = ?1")?;
    let mut used = BTreeSet::new();
    for keywords in query.query_map([mailbox.0], |row| row.get::<_, String>(0))? {
        used.extend(keywords?.split(' ').map(str::to_owned));
    }
    let mut delete = db.prepare_cached("DELETE FROM keywords WHERE mailbox = ?1 AND name = ?2")?;
    for name in in_use(db, mailbox)? {
        if !used.contains(&*name) {
            delete.execute((mailbox.0, &*name))?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use gatepost_wire::imap::ask::{FlagChange, Flags};

    use super::{Stored, changed, is_keyword};

    fn flags(seen: bool, draft: bool, keywords: &[&str]) -> Flags {
        Flags {
            seen,
            draft,
            keywords: keywords.iter().map(|&k| k.into()).collect(),
            ..Flags::default()
        }
    }

    #[test]
    fn there_and_back() {
        for flags in [
            Flags::default(),
            flags(true, false, &["$Junk"]),
            flags(false, true, &["a", "b"]),
            Flags {
                answered: true,
                flagged: true,
                deleted: true,
                ..Flags::default()
            },
        ] {
            assert_eq!(Stored::from(&flags).flags(), flags);
        }
    }

    #[test]
    fn changes() {
        let old = flags(true, false, &["a", "b"]);
        let with = flags(false, true, &["b", "c"]);
        assert_eq!(changed(&old, &FlagChange::Replace(with.clone())), with);
        assert_eq!(
            changed(&old, &FlagChange::Add(with.clone())),
            flags(true, true, &["a", "b", "c"])
        );
        assert_eq!(
            changed(&old, &FlagChange::Remove(with)),
            flags(true, false, &["a"])
        );
        assert_eq!(
            changed(&old, &FlagChange::Remove(flags(true, false, &[]))),
            flags(false, false, &["a", "b"])
        );
    }

    #[test]
    fn keywords_are_atoms() {
        for bad in [
            "",
            "a b",
            "(",
            "\\Seen",
            "a%",
            "*",
            "\"",
            "]",
            "{",
            "ä",
            "\n",
            &"x".repeat(201),
        ] {
            assert!(!is_keyword(bad), "{bad:?}");
        }
        for good in ["$Forwarded", "Junk", "a/b", "x.y", "[", &"x".repeat(200)] {
            assert!(is_keyword(good), "{good:?}");
        }
    }
}
