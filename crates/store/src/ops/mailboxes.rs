//! Mailboxes coming, going and changing their names.

use gatepost_wire::imap::ask::SpecialUse;
use rusqlite::{Connection, OptionalExtension};

use super::Work;
use super::messages::move_all;
use crate::name::{self, INBOX};
use crate::pieces::{MOST_COPIED, PIECE};
use crate::rows::{MailboxRow, signed, special_use_word};
use crate::{AccountId, Error, MailboxId};

/// Creates a mailbox and the ones above it (RFC 9051 6.3.4). A `/` at the end only says that others will follow below.
pub(crate) fn create(
    work: &mut Work<'_>,
    account: AccountId,
    name: &str,
    special_use: Option<SpecialUse>,
) -> Result<(), Error> {
    let name = name::check(name.strip_suffix('/').unwrap_or(name))?;
    work.check_space(0)?;
    if MailboxRow::by_name(work.db, account, &name)?.is_some() {
        return Err(Error::AlreadyExists);
    }
    if let Some(special_use) = special_use {
        let mut query = work
            .db
            .prepare_cached("SELECT 1 FROM mailboxes WHERE account = ?1 AND special_use = ?2")?;
        if query.exists((account.0, special_use_word(special_use)))? {
            return Err(Error::UseAttr);
        }
    }
    make(work, account, &name, special_use)?;
    work.accounts.push(account);
    Ok(())
}

/// Makes a mailbox whose name is checked and free, and those above it.
fn make(
    work: &Work<'_>,
    account: AccountId,
    name: &str,
    special_use: Option<SpecialUse>,
) -> Result<MailboxId, Error> {
    make_parents(work, account, name)?;
    let id = insert(work.db, account, name, special_use, work.now)?;
    check_count(
        work,
        account,
        "SELECT count(*) FROM mailboxes WHERE account = ?1",
    )?;
    Ok(id)
}

fn make_parents(work: &Work<'_>, account: AccountId, name: &str) -> Result<(), Error> {
    for parent in name::parents(name) {
        if MailboxRow::by_name(work.db, account, parent)?.is_none() {
            insert(work.db, account, parent, None, work.now)?;
        }
    }
    Ok(())
}

fn check_count(work: &Work<'_>, account: AccountId, query: &str) -> Result<(), Error> {
    let count: i64 = work
        .db
        .prepare_cached(query)?
        .query_row([account.0], |row| row.get(0))?;
    if count > i64::from(work.options.max_mailboxes) {
        Err(Error::Limit)
    } else {
        Ok(())
    }
}

/// Adds a mailbox's row. Its UIDVALIDITY is one no mailbox of the account ever had, and greater than all before: the time,
/// or one more than the last.
pub(crate) fn insert(
    db: &Connection,
    account: AccountId,
    name: &str,
    special_use: Option<SpecialUse>,
    now: i64,
) -> Result<MailboxId, Error> {
    let uidvalidity: Option<u32> = db
        .prepare_cached(
            "UPDATE accounts SET last_uidvalidity = max(last_uidvalidity + 1, ?2) WHERE id = ?1
             RETURNING last_uidvalidity",
        )?
        .query_row((account.0, now), |row| row.get(0))
        .optional()?;
    let uidvalidity = uidvalidity.ok_or(Error::NoSuchAccount)?;
    db.prepare_cached(
        "INSERT INTO mailboxes (account, name, special_use, uidvalidity) VALUES (?1, ?2, ?3, ?4)",
    )?
    .execute((
        account.0,
        name,
        special_use.map(special_use_word),
        uidvalidity,
    ))?;
    Ok(MailboxId(db.last_insert_rowid()))
}

/// Deletes a mailbox and its messages. Mailboxes below it stay.
pub(crate) fn delete(work: &mut Work<'_>, account: AccountId, name: &str) -> Result<(), Error> {
    let name = name::canonical(name);
    if name == INBOX {
        return Err(Error::Cannot);
    }
    let Some(mailbox) = MailboxRow::by_name(work.db, account, &name)? else {
        return Err(if has_children(work.db, account, &name)? {
            Error::HasChildren
        } else {
            Error::NoSuchMailbox
        });
    };
    work.db
        .prepare_cached(
            "UPDATE accounts SET used = used - (SELECT charged FROM mailboxes WHERE id = ?2) WHERE id = ?1",
        )?
        .execute((account.0, mailbox.id.0))?;
    doom(work.db, mailbox.id)?;
    work.touch(mailbox.id);
    work.accounts.push(account);
    Ok(())
}

/// Deletes a mailbox. Its messages cannot be found any more; [`reap`] removes them.
pub(crate) fn doom(db: &Connection, mailbox: MailboxId) -> Result<(), Error> {
    for statement in [
        "INSERT INTO doomed (mailbox) VALUES (?1)",
        "DELETE FROM mailboxes WHERE id = ?1",
    ] {
        db.prepare_cached(statement)?.execute([mailbox.0])?;
    }
    Ok(())
}

/// Removes a piece of what deleted mailboxes left; says whether there may be more.
pub(crate) fn reap(db: &Connection) -> Result<bool, Error> {
    let mut query = db.prepare_cached("SELECT mailbox FROM doomed LIMIT 1")?;
    let Some(mailbox) = query.query_row([], |row| row.get(0)).optional()? else {
        return Ok(false);
    };
    let mailbox: i64 = mailbox;
    for statement in [
        "DELETE FROM messages WHERE mailbox = ?1 AND uid IN
         (SELECT uid FROM messages WHERE mailbox = ?1 ORDER BY uid LIMIT ?2)",
        "DELETE FROM expunged WHERE mailbox = ?1 AND (modseq, uid) IN
         (SELECT modseq, uid FROM expunged WHERE mailbox = ?1 ORDER BY modseq, uid LIMIT ?2)",
    ] {
        let removed = db
            .prepare_cached(statement)?
            .execute((mailbox, signed(PIECE as u64)))?;
        if removed == PIECE {
            return Ok(true);
        }
    }
    for statement in [
        "DELETE FROM keywords WHERE mailbox = ?1",
        "DELETE FROM doomed WHERE mailbox = ?1",
    ] {
        db.prepare_cached(statement)?.execute([mailbox])?;
    }
    Ok(true)
}

fn has_children(db: &Connection, account: AccountId, name: &str) -> Result<bool, Error> {
    let (from, to) = name::below(name);
    let mut query = db.prepare_cached(
        "SELECT 1 FROM mailboxes WHERE account = ?1 AND name >= ?2 AND name < ?3",
    )?;
    Ok(query.exists((account.0, from, to))?)
}

/// Renames a mailbox and those below it; from INBOX the messages move and INBOX stays (RFC 9051 6.3.6). Subscriptions stay
/// as they are: only their owner changes them.
pub(crate) fn rename(
    work: &mut Work<'_>,
    account: AccountId,
    from: &str,
    to: &str,
) -> Result<(), Error> {
    let (from, to) = (name::canonical(from), name::check(to)?);
    let source = MailboxRow::by_name(work.db, account, &from)?;
    if source.is_none() && !has_children(work.db, account, &from)? {
        return Err(Error::NoSuchMailbox);
    }
    if MailboxRow::by_name(work.db, account, &to)?.is_some() {
        return Err(Error::AlreadyExists);
    }
    work.accounts.push(account);
    match source {
        Some(inbox) if from == INBOX => {
            // All or nothing, as a copy.
            if inbox.messages as usize > MOST_COPIED {
                return Err(Error::Limit);
            }
            let target = make(work, account, &to, None)?;
            move_all(work, &inbox, target)
        }
        _ if to.starts_with(&format!("{from}/")) => Err(Error::Cannot),
        _ => rename_tree(work, account, &from, &to),
    }
}

fn rename_tree(work: &Work<'_>, account: AccountId, from: &str, to: &str) -> Result<(), Error> {
    let (first, last) = name::below(from);
    let mut query = work.db.prepare_cached(
        "SELECT id, name FROM mailboxes WHERE account = ?1 AND (name = ?2 OR name >= ?3 AND name < ?4)",
    )?;
    let tree: Vec<(i64, String)> = query
        .query_map((account.0, from, first, last), |row| {
            Ok((row.get(0)?, row.get(1)?))
        })?
        .collect::<Result<_, _>>()?;
    make_parents(work, account, to)?;
    let mut update = work
        .db
        .prepare_cached("UPDATE mailboxes SET name = ?2 WHERE id = ?1")?;
    for (id, old) in tree {
        let new = name::check(&format!(
            "{to}{}",
            old.strip_prefix(from).unwrap_or_default()
        ))?;
        if MailboxRow::by_name(work.db, account, &new)?.is_some() {
            return Err(Error::AlreadyExists);
        }
        update.execute((id, new))?;
    }
    check_count(
        work,
        account,
        "SELECT count(*) FROM mailboxes WHERE account = ?1",
    )
}

/// Subscribes to a name, which need not be a mailbox (RFC 9051 6.3.7), or ends that.
pub(crate) fn set_subscribed(
    work: &mut Work<'_>,
    account: AccountId,
    name: &str,
    subscribed: bool,
) -> Result<(), Error> {
    work.accounts.push(account);
    if !subscribed {
        let mut delete = work
            .db
            .prepare_cached("DELETE FROM subscriptions WHERE account = ?1 AND name = ?2")?;
        delete.execute((account.0, name::canonical(name)))?;
        return Ok(());
    }
    let name = name::check(name)?;
    let mut account_there = work
        .db
        .prepare_cached("SELECT 1 FROM accounts WHERE id = ?1")?;
    if !account_there.exists([account.0])? {
        return Err(Error::NoSuchAccount);
    }
    work.db
        .prepare_cached("INSERT OR IGNORE INTO subscriptions (account, name) VALUES (?1, ?2)")?
        .execute((account.0, name))?;
    check_count(
        work,
        account,
        "SELECT count(*) FROM subscriptions WHERE account = ?1",
    )
}
