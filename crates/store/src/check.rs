//! Whether everything that is kept is there and is what was written.
//!
//! 1. The database's own structure, page by page.
//! 2. Every body against its checksums in its segment.
//! 3. Every message against its body; every sum, count and highest number against the rows it stands for.
//! 4. The search index against the messages, and its blocks against their checksums.
//! 5. Segment files that are missing, too short, or known to nobody.
//!
//! Reading needs no lock: a server may be running. With `repair` the store must not be in use (see `repair.rs` for what is
//! put right, and how). What cannot be read is named by account, mailbox and UID.

use std::collections::HashMap;
use std::fmt;
use std::fs::{self, File};
use std::io;
use std::path::Path;

use rusqlite::Connection;

use crate::backup::Progress;
use crate::db::{Hold, database_path, has_index, open_reader, refuse_newer, take_lock};
use crate::rows::unsigned;
use crate::{Error, record, repair, search, segments};

/// Lines of the database's own report that are kept.
const MOST_LINES: usize = 50;

/// Where a message is.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Place {
    /// The account's address.
    pub account: String,
    /// The mailbox's name.
    pub mailbox: String,
    /// The message's UID.
    pub uid: u32,
}

/// What is wrong with a message's octets.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Harm {
    /// The file they were in is not there.
    FileMissing,
    /// The file ends before or within them.
    Truncated,
    /// They do not fit their checksum.
    Changed,
    /// The database does not say where they are.
    Nowhere,
}

/// Something that is wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Finding {
    /// The database's structure is damaged; in SQLite's words.
    Database(String),
    /// A message cannot be read.
    Message(Place, Harm),
    /// A message's row could be read only in part: the message is there, and what is known of it is not.
    RowLost(Place),
    /// Sums or highest numbers of a mailbox do not fit its messages.
    Sums {
        /// The account's address.
        account: String,
        /// The mailbox's name.
        mailbox: String,
    },
    /// What an account is said to use does not fit its messages.
    Used(String),
    /// So many counts of bodies and segments do not fit.
    Counts(u64),
    /// So many bodies that no message refers to.
    Bodies(u64),
    /// So many messages of mailboxes that are not there.
    Stray(u64),
    /// So many entries of the search index do not fit the mail. Nothing is lost by it, but a search may miss a message.
    Index(u64),
    /// A file in `segments/` the database does not know. No mail that was ever answered for.
    UnknownFile(String),
}

impl Finding {
    /// Whether mail is lost, as far as this store goes.
    pub const fn is_loss(&self) -> bool {
        matches!(
            self,
            Self::Message(..) | Self::RowLost(_) | Self::Database(_) | Self::Stray(_)
        )
    }
}

impl Finding {
    /// Whether nothing needs to be done: the next start does it.
    pub const fn is_harmless(&self) -> bool {
        matches!(self, Self::UnknownFile(_))
    }
}

impl fmt::Display for Harm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::FileMissing => "the segment file it was in is missing",
            Self::Truncated => "the segment file ends too early",
            Self::Changed => "its octets do not fit their checksum",
            Self::Nowhere => "the database does not say where its octets are",
        })
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} UID {}", self.account, self.mailbox, self.uid)
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Database(line) => write!(f, "database: {line}"),
            Self::Message(place, harm) => write!(f, "{place}: {harm}"),
            Self::RowLost(place) => write!(f, "{place}: its row in the database is damaged"),
            Self::Sums { account, mailbox } => {
                write!(f, "{account} {mailbox}: its sums do not fit its messages")
            }
            Self::Used(account) => write!(f, "{account}: the octets it uses are counted wrongly"),
            Self::Counts(1) => write!(f, "1 count of bodies or segments is wrong"),
            Self::Counts(many) => write!(f, "{many} counts of bodies and segments are wrong"),
            Self::Bodies(many) => write!(f, "{many} bodies no message refers to"),
            Self::Stray(many) => write!(f, "{many} messages of mailboxes that are not there"),
            Self::Index(1) => write!(f, "1 entry of the search index does not fit the mail"),
            Self::Index(many) => {
                write!(f, "{many} entries of the search index do not fit the mail")
            }
            Self::UnknownFile(name) => write!(
                f,
                "segments/{name}: left by a run that broke off; the server's next start removes it"
            ),
        }
    }
}

/// A finding, and what became of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// What is wrong.
    pub finding: Finding,
    /// What was done about it.
    pub repaired: Option<String>,
}

/// What a check came to.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Report {
    /// Messages that were looked at.
    pub messages: u64,
    /// Bodies whose octets were verified.
    pub bodies: u64,
    /// Their octets.
    pub octets: u64,
    /// Whether a server had the store open meanwhile.
    pub in_use: bool,
    /// What is wrong, in the order it was found.
    pub findings: Vec<Found>,
}

impl Report {
    pub(crate) fn add(&mut self, finding: Finding) {
        self.findings.push(Found {
            finding,
            repaired: None,
        });
    }

    /// Whether nothing is wrong, or everything was put right.
    pub fn is_good(&self) -> bool {
        self.findings
            .iter()
            .all(|found| found.repaired.is_some() || found.finding.is_harmless())
    }
}

/// Checks the store in a folder, and repairs it if that is wanted. `progress` is told of octets verified.
/// [`Error::Locked`] when it is to be repaired and in use.
pub fn check(dir: &Path, repair: bool, progress: Progress<'_>) -> Result<Report, Error> {
    let lock = match (take_lock(dir), repair) {
        (Ok(lock), _) => Some(lock),
        (Err(Error::Locked), false) => None,
        (Err(error), _) => return Err(error),
    };
    let in_use = lock.is_none();
    // Kept only for a repair: a server may start during a check.
    let _lock = lock.filter(|_| repair);
    let _hold = Hold::take(dir)?;
    let mut report = Report {
        in_use,
        ..Report::default()
    };
    let harmed = examine(dir, &mut report, progress)?;
    if repair && !report.findings.is_empty() {
        repair::run(dir, &mut report, &harmed)?;
    }
    Ok(report)
}

/// A message that cannot be read, as the repair needs it.
#[derive(Debug, Clone)]
pub(crate) struct Harmed {
    pub(crate) mailbox: i64,
    pub(crate) uid: u32,
    pub(crate) size: u64,
    /// Segment and position, if they are known.
    pub(crate) body: Option<(i64, u64)>,
    /// Which finding it is.
    pub(crate) finding: usize,
}

/// All checks. What the database cannot tell because it is damaged ends them, and is a finding.
pub(crate) fn examine(
    dir: &Path,
    report: &mut Report,
    progress: Progress<'_>,
) -> Result<Vec<Harmed>, Error> {
    let mut harmed = Vec::new();
    let outcome = examine_all(dir, report, &mut harmed, progress);
    match outcome {
        Err(Error::Damaged) => {
            let known = |found: &Found| matches!(found.finding, Finding::Database(_));
            if !report.findings.iter().any(known) {
                report.add(Finding::Database("a page of it cannot be read".into()));
            }
            Ok(harmed)
        }
        other => other.map(|()| harmed),
    }
}

fn examine_all(
    dir: &Path,
    report: &mut Report,
    harmed: &mut Vec<Harmed>,
    progress: Progress<'_>,
) -> Result<(), Error> {
    let db = open_reader(dir)?;
    refuse_newer(&db)?;
    // One transaction: what a running server changes meanwhile is not seen.
    let db = db.unchecked_transaction()?;
    examine_database(&db, report)?;
    let bad = examine_bodies(dir, &db, report, progress)?;
    examine_messages(&db, &bad, report, harmed)?;
    examine_sums(&db, report)?;
    examine_counts(&db, report)?;
    if has_index(&db)? {
        let wrong = search::verify(&db)?;
        if wrong > 0 {
            report.add(Finding::Index(wrong));
        }
    }
    examine_files(dir, &db, report)
}

fn examine_database(db: &Connection, report: &mut Report) -> Result<(), Error> {
    let mut query = db.prepare(&format!("PRAGMA integrity_check({MOST_LINES})"))?;
    let lines: Vec<String> = query
        .query_map([], |row| row.get(0))?
        .collect::<Result<_, _>>()?;
    for line in lines.iter().flat_map(|text| text.lines()) {
        if line != "ok" {
            report.add(Finding::Database(line.to_owned()));
        }
    }
    Ok(())
}

/// Reads every body; those that are harmed, by id.
fn examine_bodies(
    dir: &Path,
    db: &Connection,
    report: &mut Report,
    progress: Progress<'_>,
) -> Result<HashMap<i64, Harm>, Error> {
    let total = db.query_row("SELECT coalesce(sum(size), 0) FROM bodies", [], |row| {
        unsigned(row, 0)
    })?;
    let mut query =
        db.prepare("SELECT id, segment, position, size FROM bodies ORDER BY segment, position")?;
    let mut rows = query.query([])?;
    let (mut bad, mut open) = (HashMap::new(), None::<(i64, Option<File>)>);
    while let Some(row) = rows.next()? {
        let (id, segment): (i64, i64) = (row.get(0)?, row.get(1)?);
        let (position, size) = (unsigned(row, 2)?, unsigned(row, 3)?);
        if open.as_ref().is_none_or(|(known, _)| *known != segment) {
            let path = segments::path(&segments::folder(dir), segment);
            open = Some((segment, File::open(path).ok()));
        }
        let file = open.as_ref().and_then(|(_, file)| file.as_ref());
        if let Some(harm) = harm_of(file, position, size)? {
            bad.insert(id, harm);
        }
        report.bodies += 1;
        report.octets += size;
        progress(size, total);
    }
    Ok(bad)
}

fn harm_of(file: Option<&File>, position: u64, size: u64) -> Result<Option<Harm>, Error> {
    let Some(file) = file else {
        return Ok(Some(Harm::FileMissing));
    };
    match record::verify(file, position, size) {
        Ok(()) => Ok(None),
        Err(Error::Damaged) => {
            let end = position.saturating_add(record::length(size));
            let short = end > file.metadata()?.len();
            Ok(Some(if short {
                Harm::Truncated
            } else {
                Harm::Changed
            }))
        }
        // A sector that cannot be read is damage to this message, not to the check.
        Err(Error::Fault(_)) => Ok(Some(Harm::Changed)),
        Err(error) => Err(error),
    }
}

fn examine_messages(
    db: &Connection,
    bad: &HashMap<i64, Harm>,
    report: &mut Report,
    harmed: &mut Vec<Harmed>,
) -> Result<(), Error> {
    let mut query = db.prepare(
        "SELECT x.mailbox, x.uid, x.size, x.body, b.segment, b.position, b.size, m.name,
         (SELECT address FROM accounts a WHERE a.id = m.account)
         FROM messages x JOIN mailboxes m ON m.id = x.mailbox LEFT JOIN bodies b ON b.id = x.body",
    )?;
    let mut rows = query.query([])?;
    while let Some(row) = rows.next()? {
        report.messages += 1;
        let size = unsigned(row, 2)?;
        let body: Option<(i64, u64)> = match row.get::<_, Option<i64>>(4)? {
            Some(segment) => Some((segment, unsigned(row, 5)?)),
            None => None,
        };
        let fits = body.is_some() && unsigned(row, 6)? == size;
        let harm = match bad.get(&row.get(3)?) {
            Some(harm) => *harm,
            None if fits => continue,
            None => Harm::Nowhere,
        };
        let (mailbox, uid) = (row.get(0)?, row.get(1)?);
        let place = Place {
            account: row.get::<_, Option<String>>(8)?.unwrap_or_default(),
            mailbox: row.get(7)?,
            uid,
        };
        harmed.push(Harmed {
            mailbox,
            uid,
            size,
            body,
            finding: report.findings.len(),
        });
        report.add(Finding::Message(place, harm));
    }
    Ok(())
}

/// The sums of each mailbox as its messages give them.
pub(crate) const SUMS: &str =
    "SELECT mailbox, count(*) AS messages, sum(flags & 1 = 0) AS unseen, sum(flags & 8 <> 0) AS deleted,
     sum(size) AS size, sum(max(size, 1024)) AS charged, max(uid) AS last, max(modseq) AS modseq
     FROM messages GROUP BY mailbox";

fn examine_sums(db: &Connection, report: &mut Report) -> Result<(), Error> {
    let mut query = db.prepare(&format!(
        "SELECT a.address, m.name FROM mailboxes m JOIN accounts a ON a.id = m.account
         LEFT JOIN ({SUMS}) s ON s.mailbox = m.id
         WHERE m.messages <> coalesce(s.messages, 0) OR m.unseen <> coalesce(s.unseen, 0)
         OR m.deleted <> coalesce(s.deleted, 0) OR m.size <> coalesce(s.size, 0)
         OR m.charged <> coalesce(s.charged, 0) OR m.uidnext <= coalesce(s.last, 0)
         OR m.modseq < coalesce(s.modseq, 0)
         OR m.modseq < coalesce((SELECT max(modseq) FROM expunged e WHERE e.mailbox = m.id), 0)
         ORDER BY a.address, m.name"
    ))?;
    let mut rows = query.query([])?;
    while let Some(row) = rows.next()? {
        report.add(Finding::Sums {
            account: row.get(0)?,
            mailbox: row.get(1)?,
        });
    }
    let mut query = db.prepare(
        "SELECT address FROM accounts a WHERE used <>
         (SELECT coalesce(sum(charged), 0) FROM mailboxes m WHERE m.account = a.id) ORDER BY address",
    )?;
    let mut rows = query.query([])?;
    while let Some(row) = rows.next()? {
        report.add(Finding::Used(row.get(0)?));
    }
    Ok(())
}

fn examine_counts(db: &Connection, report: &mut Report) -> Result<(), Error> {
    let one = |query: &str| db.query_row(query, [], |row| unsigned(row, 0));
    let stray = one(
        "SELECT count(*) FROM messages WHERE mailbox NOT IN (SELECT id FROM mailboxes)
         AND mailbox NOT IN (SELECT mailbox FROM doomed)",
    )?;
    let unused = one("SELECT count(*) FROM bodies WHERE id NOT IN (SELECT body FROM messages)")?;
    let wrong = one(
        "SELECT (SELECT count(*) FROM bodies b JOIN (SELECT body, count(*) AS n FROM messages GROUP BY body) x
         ON x.body = b.id WHERE b.refs <> x.n)
         + (SELECT count(*) FROM segments s WHERE live <> (SELECT n FROM (SELECT count(*) AS n FROM bodies b
         WHERE b.segment = s.id)))
         + (SELECT count(*) FROM (SELECT DISTINCT segment FROM bodies) WHERE segment NOT IN (SELECT id FROM segments))",
    )?;
    for finding in [
        Finding::Stray(stray),
        Finding::Bodies(unused),
        Finding::Counts(wrong),
    ] {
        let (Finding::Stray(many) | Finding::Bodies(many) | Finding::Counts(many)) = finding else {
            continue;
        };
        if many > 0 {
            report.add(finding);
        }
    }
    Ok(())
}

fn examine_files(dir: &Path, db: &Connection, report: &mut Report) -> Result<(), Error> {
    // A server or an import puts files in place before it names them.
    if report.in_use {
        return Ok(());
    }
    let mut query = db.prepare("SELECT 1 FROM segments WHERE id = ?1")?;
    let mut unknown = Vec::new();
    let entries = match fs::read_dir(segments::folder(dir)) {
        // No server has run here yet.
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        other => other?,
    };
    for entry in entries {
        let path = entry?.path();
        let stem = path.file_stem().and_then(|stem| stem.to_str());
        let id = stem.and_then(|stem| stem.parse::<i64>().ok());
        let is_segment = path.extension().is_some_and(|extension| extension == "seg");
        if let (Some(id), true) = (id, is_segment)
            && !query.exists([id])?
        {
            unknown.extend(
                path.file_name()
                    .map(|name| name.to_string_lossy().into_owned()),
            );
        }
    }
    unknown.sort();
    for name in unknown {
        report.add(Finding::UnknownFile(name));
    }
    Ok(())
}

/// Whether a folder holds a store at all.
pub fn is_store(dir: &Path) -> bool {
    database_path(dir).exists()
}
