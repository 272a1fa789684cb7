//! Puts right what a check found. The store is locked, nobody else has it.
//!
//! | found | done |
//! |---|---|
//! | damaged index | made anew from its table |
//! | damaged table | what can be read is moved to a new database (see `salvage.rs`); the old one is kept beside it |
//! | message that cannot be read | what is left of its octets goes to `damaged/`, the message leaves the mailbox |
//! | sums, counts, highest numbers | counted anew |
//! | search index that does not fit the mail | forgotten; the server makes it anew |
//! | bodies without a message, unknown files | removed, as the next start would |
//!
//! Afterwards everything is examined once more: what is still wrong is in the report without a repair.

use std::fs;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use rusqlite::{Connection, TransactionBehavior};

use crate::check::{Finding, Harmed, Report, SUMS, examine};
use crate::db::{make_folder, open_writer};
use crate::{Error, record, salvage, search, segments};

/// Repairs what the report tells of.
pub(crate) fn run(dir: &Path, report: &mut Report, harmed: &[Harmed]) -> Result<(), Error> {
    let damaged = |report: &Report| {
        report
            .findings
            .iter()
            .any(|found| matches!(found.finding, Finding::Database(_)))
    };
    let mut harmed = harmed.to_vec();
    if damaged(report) {
        let done = mend_database(dir, report)?;
        for found in &mut report.findings {
            if matches!(found.finding, Finding::Database(_)) {
                found.repaired = Some(done.clone());
            }
        }
        // The damage may have hidden more.
        report.findings.retain(|found| found.repaired.is_some());
        harmed = examine(dir, report, &mut |_, _| {})?;
    }
    let mut db = open_writer(dir)?;
    let transaction = db.transaction_with_behavior(TransactionBehavior::Immediate)?;
    for one in &harmed {
        let done = set_aside(dir, &transaction, one)?;
        report.findings[one.finding].repaired = Some(done);
    }
    recount(&transaction)?;
    let index = |found: &crate::check::Found| matches!(found.finding, Finding::Index(_));
    if report.findings.iter().any(index) {
        search::forget_all(&transaction)?;
    }
    transaction.commit()?;
    drop(db);
    settle(dir, report)
}

/// Marks what is gone, and adds what is still wrong.
fn settle(dir: &Path, report: &mut Report) -> Result<(), Error> {
    for found in &mut report.findings {
        found.repaired = match &found.finding {
            Finding::Sums { .. } | Finding::Used(_) | Finding::Counts(_) => {
                Some("counted anew".into())
            }
            Finding::Index(_) => Some("forgotten; the server makes it anew".into()),
            Finding::Bodies(_) | Finding::Stray(_) => Some("removed".into()),
            Finding::UnknownFile(name) => fs::remove_file(segments::folder(dir).join(name))
                .ok()
                .map(|()| "removed".into()),
            _ => found.repaired.take(),
        };
    }
    let mut again = Report::default();
    examine(dir, &mut again, &mut |_, _| {})?;
    (report.messages, report.bodies, report.octets) = (again.messages, again.bodies, again.octets);
    report.findings.append(&mut again.findings);
    Ok(())
}

/// Makes a damaged database good again; says how.
fn mend_database(dir: &Path, report: &mut Report) -> Result<String, Error> {
    let reindexed = open_writer(dir).and_then(|db| {
        db.execute_batch("REINDEX")?;
        let answer: String = db.query_row("PRAGMA integrity_check(1)", [], |row| row.get(0))?;
        Ok(answer == "ok")
    });
    if matches!(reindexed, Ok(true)) {
        return Ok("indexes made anew".into());
    }
    let outcome = salvage::run(dir)?;
    for place in outcome.lost {
        report.add(Finding::RowLost(place.0));
        if let Some(found) = report.findings.last_mut() {
            found.repaired = Some(place.1);
        }
    }
    Ok(format!(
        "what could be read was moved to a new database; the old one is kept as {}",
        outcome.kept_as
    ))
}

/// Takes a message that cannot be read out of its mailbox, and keeps what is left of it.
fn set_aside(dir: &Path, db: &Connection, harmed: &Harmed) -> Result<String, Error> {
    let left = harmed
        .body
        .and_then(|(segment, position)| {
            let file = fs::File::open(segments::path(&segments::folder(dir), segment)).ok()?;
            record::remains(&file, position, harmed.size).ok()
        })
        .filter(|octets| !octets.is_empty());
    let note = match left {
        Some(octets) => {
            let name = format!("mailbox-{}-uid-{}.eml", harmed.mailbox, harmed.uid);
            keep(dir, &name, &octets)?;
            format!("taken out of the mailbox; what is left of it is in damaged/{name}")
        }
        None => "taken out of the mailbox; nothing is left of it".to_owned(),
    };
    take_out(db, harmed.mailbox, harmed.uid)?;
    Ok(note)
}

/// Writes octets to a file of `damaged/`, durable.
pub(crate) fn keep(dir: &Path, name: &str, octets: &[u8]) -> Result<(), Error> {
    let folder = dir.join("damaged");
    make_folder(&folder)?;
    let mut file = fs::OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(folder.join(name))?;
    file.write_all(octets)?;
    file.sync_all()?;
    Ok(fs::File::open(&folder)?.sync_all()?)
}

/// As an expunge would, so that clients learn of it.
fn take_out(db: &Connection, mailbox: i64, uid: u32) -> Result<(), Error> {
    let modseq: i64 = db.query_row(
        "UPDATE mailboxes SET modseq = modseq + 1 WHERE id = ?1 RETURNING modseq",
        [mailbox],
        |row| row.get(0),
    )?;
    db.execute(
        "DELETE FROM messages WHERE mailbox = ?1 AND uid = ?2",
        (mailbox, uid),
    )?;
    db.execute(
        "INSERT OR IGNORE INTO expunged (mailbox, modseq, uid) VALUES (?1, ?2, ?3)",
        (mailbox, modseq, uid),
    )?;
    Ok(())
}

/// Counts everything anew that is kept beside the rows it is counted from.
pub(crate) fn recount(db: &Connection) -> Result<(), Error> {
    db.execute_batch(&format!(
        "DELETE FROM messages WHERE mailbox NOT IN (SELECT id FROM mailboxes)
             AND mailbox NOT IN (SELECT mailbox FROM doomed);
         UPDATE bodies SET refs = (SELECT count(*) FROM messages WHERE body = bodies.id)
             WHERE id IN (SELECT b.id FROM bodies b LEFT JOIN (SELECT body, count(*) AS n FROM messages GROUP BY body) x
             ON x.body = b.id WHERE b.refs <> coalesce(x.n, 0));
         DELETE FROM bodies WHERE refs <= 0;
         INSERT OR IGNORE INTO segments (id, shared, length)
             SELECT segment, 0, max(position + size) FROM bodies WHERE segment NOT IN (SELECT id FROM segments) GROUP BY segment;
         UPDATE segments SET live = coalesce((SELECT n FROM (SELECT segment, count(*) AS n FROM bodies GROUP BY segment) x
             WHERE x.segment = segments.id), 0);
         UPDATE mailboxes SET messages = 0, unseen = 0, deleted = 0, size = 0, charged = 0;
         UPDATE mailboxes SET messages = s.messages, unseen = s.unseen, deleted = s.deleted, size = s.size,
             charged = s.charged, uidnext = max(uidnext, s.last + 1), modseq = max(mailboxes.modseq, s.modseq)
             FROM ({SUMS}) AS s WHERE s.mailbox = mailboxes.id;
         UPDATE mailboxes SET modseq = max(modseq, coalesce((SELECT max(e.modseq) FROM expunged e WHERE e.mailbox = id), 0));
         UPDATE accounts SET used = (SELECT coalesce(sum(charged), 0) FROM mailboxes m WHERE m.account = accounts.id);"
    ))?;
    Ok(())
}
