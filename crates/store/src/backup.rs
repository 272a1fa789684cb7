//! A copy of the whole data folder while the server runs, and the way back.
//!
//! ```text
//!   backup                                         restore
//!   1 hold: the server removes no segment file     1 the backup is complete (backup.json) and no store is there
//!   2 the database, as one transaction sees it     2 segments and other files, durable
//!   3 segments, up to the lengths it names         3 the database, under its name last
//!   4 the database gets its name; what it does     4 every mailbox a new UIDVALIDITY
//!     not name is removed
//! ```
//!
//! A second backup into the same folder copies only what is new: a segment that is full never changes. Until step 4 the earlier
//! backup stays whole, for segments are only added before it. A backup has the form of a data folder, so the check reads it.
//!
//! After a restore, UIDs that were given since the backup would be given again, to other messages. So clients are told that
//! nothing they remember holds (UIDVALIDITY, RFC 9051 2.3.1.1), unless the caller knows that nothing came since.

use std::collections::HashSet;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use rusqlite::{Connection, OptionalExtension};

use crate::db::{
    Hold, database_path, make_folder, now, open_reader, open_writer, refuse_newer, take_lock,
};
use crate::{Error, segments};

/// Written last: a folder without it is not a whole backup.
const MANIFEST: &str = "backup.json";
/// The first words of [`MANIFEST`].
const SCHEMA: &str = "gatepost-backup-1";
/// Files of the data folder that belong to the running server alone.
const OWN: [&str; 5] = ["lock", "turn", "hold", "import", MANIFEST];
/// Octets copied at a time.
const PIECE: usize = 1 << 20;

/// What a backup or a restore copied.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Copies {
    /// Accounts in it.
    pub accounts: u64,
    /// Messages in it; one in two mailboxes counts twice.
    pub messages: u64,
    /// Octets of all its files.
    pub octets: u64,
    /// Octets that were written now.
    pub written: u64,
}

/// Told of octets as they are copied: how many more, and how many in all.
pub type Progress<'a> = &'a mut dyn FnMut(u64, u64);

/// Copies a data folder to another folder, which is new, empty, or holds an earlier backup of the same store. The server
/// may run. [`Error::Cannot`] when the target holds anything else.
pub fn backup(dir: &Path, to: &Path, progress: Progress<'_>) -> Result<Copies, Error> {
    let _hold = Hold::take(dir)?;
    prepare(dir, to)?;
    let fresh = to.join("store.db.new");
    copy_database(dir, &fresh)?;
    let db = Connection::open(&fresh)?;
    refuse_newer(&db)?;
    let needed = needed(&db)?;
    let mut copies = count(&db)?;
    drop(db);
    let mut copying = Copying::new(&needed, file_size(&fresh)?, progress);
    make_folder(&segments::folder(to))?;
    for one in &needed {
        copying.segment(&segments::folder(dir), &segments::folder(to), *one)?;
    }
    copying.others(dir, to)?;
    sync_folder(&segments::folder(to))?;
    fs::rename(&fresh, database_path(to))?;
    forget_journal(to)?;
    write_manifest(to, copies)?;
    sync_folder(to)?;
    remove_unneeded(&segments::folder(to), &needed)?;
    (copies.octets, copies.written) = (copying.total, copying.written);
    Ok(copies)
}

/// Puts a backup into a data folder, which is new or holds no store. With `same_uids` mailboxes keep their UIDVALIDITY: only
/// right when no message came or went since the backup. [`Error::Cannot`] when there is no whole backup, [`Error::AlreadyExists`]
/// when a store is there.
pub fn restore(
    from: &Path,
    dir: &Path,
    same_uids: bool,
    progress: Progress<'_>,
) -> Result<Copies, Error> {
    if !is_whole(from) {
        return Err(Error::Cannot);
    }
    make_folder(dir)?;
    let lock = take_lock(dir)?;
    if database_path(dir).exists() {
        return Err(Error::AlreadyExists);
    }
    make_folder(&segments::folder(dir))?;
    let fresh = dir.join("store.db.new");
    copy_database(from, &fresh)?;
    let db = Connection::open(&fresh)?;
    refuse_newer(&db)?;
    let needed = needed(&db)?;
    let mut copies = count(&db)?;
    drop(db);
    let mut copying = Copying::new(&needed, file_size(&fresh)?, progress);
    for one in &needed {
        copying.segment(&segments::folder(from), &segments::folder(dir), *one)?;
    }
    copying.others(from, dir)?;
    if !same_uids {
        renew_uidvalidity(&fresh)?;
    }
    sync_folder(&segments::folder(dir))?;
    fs::rename(&fresh, database_path(dir))?;
    sync_folder(dir)?;
    // Brings it up to date, and shows that it opens.
    drop(open_writer(dir)?);
    drop(lock);
    (copies.octets, copies.written) = (copying.total, copying.written);
    Ok(copies)
}

/// The target holds nothing, or an earlier backup of this store.
fn prepare(dir: &Path, to: &Path) -> Result<(), Error> {
    make_folder(to)?;
    if fs::canonicalize(dir)? == fs::canonicalize(to)? {
        return Err(Error::Cannot);
    }
    let begun = |name: &std::ffi::OsStr| name == "store.db.new" || name == "segments";
    let mut names = fs::read_dir(to)?.map(|entry| entry.map(|entry| entry.file_name()));
    if !database_path(to).exists() {
        // A backup that broke off before its database was there may go on.
        return if names.try_fold(true, |empty, name| name.map(|name| empty && begun(&name)))? {
            Ok(())
        } else {
            Err(Error::Cannot)
        };
    }
    if !to.join(MANIFEST).exists() || identity(dir)? != identity(to)? {
        return Err(Error::Cannot);
    }
    Ok(())
}

/// What tells one store from another.
fn identity(dir: &Path) -> Result<Option<Vec<u8>>, Error> {
    let db = open_reader(dir)?;
    Ok(db
        .query_row(
            "SELECT value FROM meta WHERE key = 'server_secret'",
            [],
            |row| row.get(0),
        )
        .optional()?)
}

/// One state of the database, as a file of its own, durable.
fn copy_database(dir: &Path, fresh: &Path) -> Result<(), Error> {
    match fs::remove_file(fresh) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error.into()),
        _ => {}
    }
    // Made here for its mode: nobody else reads mail. SQLite takes an empty file.
    private(fresh)?;
    let db = open_reader(dir)?;
    let path = fresh.to_str().ok_or(Error::Cannot)?;
    db.execute("VACUUM INTO ?1", [path])?;
    File::open(fresh)?.sync_all()?;
    Ok(())
}

fn private(path: &Path) -> io::Result<File> {
    OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(path)
}

/// A segment that bodies are kept in: its number, and how long it is.
type Needed = (i64, u64);

fn needed(db: &Connection) -> Result<Vec<Needed>, Error> {
    let mut query = db.prepare("SELECT id, length FROM segments WHERE live > 0 ORDER BY id")?;
    let rows = query.query_map([], |row| Ok((row.get(0)?, crate::rows::unsigned(row, 1)?)))?;
    Ok(rows.collect::<Result<_, _>>()?)
}

fn count(db: &Connection) -> Result<Copies, Error> {
    let one = |query| db.query_row(query, [], |row| crate::rows::unsigned(row, 0));
    Ok(Copies {
        accounts: one("SELECT count(*) FROM accounts")?,
        messages: one("SELECT coalesce(sum(messages), 0) FROM mailboxes")?,
        ..Copies::default()
    })
}

fn file_size(path: &Path) -> Result<u64, Error> {
    Ok(fs::metadata(path)?.len())
}

fn sync_folder(path: &Path) -> Result<(), Error> {
    Ok(File::open(path)?.sync_all()?)
}

struct Copying<'a> {
    total: u64,
    written: u64,
    progress: Progress<'a>,
}

impl<'a> Copying<'a> {
    fn new(needed: &[Needed], database: u64, progress: Progress<'a>) -> Self {
        let total = needed.iter().map(|(_, length)| length).sum::<u64>() + database;
        progress(database, total);
        Self {
            total,
            written: database,
            progress,
        }
    }

    /// Copies a segment up to its length, unless the target has it already.
    fn segment(&mut self, from: &Path, to: &Path, (id, length): Needed) -> Result<(), Error> {
        let (from, to) = (segments::path(from, id), segments::path(to, id));
        let source = match File::open(&from) {
            Ok(file) => file,
            // Damage is kept as it is, and named by the check; the rest of the mail must still be saved.
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            Err(error) => return Err(error.into()),
        };
        let modified = source.metadata()?.modified()?;
        let same = fs::metadata(&to).is_ok_and(|there| {
            there.len() == length && there.modified().is_ok_and(|time| time == modified)
        });
        if same {
            (self.progress)(length, self.total);
            return Ok(());
        }
        let fresh = to.with_extension("new");
        let mut target = private(&fresh)?;
        self.stream(source.take(length), &mut target)?;
        target.set_modified(modified)?;
        target.sync_all()?;
        fs::rename(&fresh, &to)?;
        Ok(())
    }

    fn stream(&mut self, mut from: impl Read, to: &mut File) -> Result<(), Error> {
        let mut piece = vec![0; PIECE];
        loop {
            let count = from.read(&mut piece)?;
            if count == 0 {
                return Ok(());
            }
            to.write_all(&piece[..count])?;
            self.written += count as u64;
            (self.progress)(count as u64, self.total);
        }
    }

    /// Certificates, keys and what else an operator keeps in the folder: plain files only.
    fn others(&mut self, from: &Path, to: &Path) -> Result<(), Error> {
        for entry in fs::read_dir(from)? {
            let entry = entry?;
            let name = entry.file_name();
            let text = name.to_string_lossy();
            let own = OWN.contains(&&*text) || text.starts_with("store.db");
            if own || !entry.file_type()?.is_file() {
                continue;
            }
            let target = to.join(&name);
            let mut file = private(&target)?;
            self.stream(File::open(entry.path())?, &mut file)?;
            file.set_permissions(entry.metadata()?.permissions())?;
            file.sync_all()?;
        }
        Ok(())
    }
}

/// A journal of the earlier database must not be played into the new one.
fn forget_journal(dir: &Path) -> Result<(), Error> {
    for name in ["store.db-wal", "store.db-shm", "store.db-journal"] {
        match fs::remove_file(dir.join(name)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error.into()),
            _ => {}
        }
    }
    Ok(())
}

fn write_manifest(to: &Path, copies: Copies) -> Result<(), Error> {
    let text = format!(
        "{{\"schema\":\"{SCHEMA}\",\"version\":\"{}\",\"made\":{},\"accounts\":{},\"messages\":{}}}\n",
        env!("CARGO_PKG_VERSION"),
        now(),
        copies.accounts,
        copies.messages,
    );
    let fresh = to.join("backup.json.new");
    let mut file = private(&fresh)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()?;
    Ok(fs::rename(fresh, to.join(MANIFEST))?)
}

/// Whether a folder holds a backup that was finished.
fn is_whole(from: &Path) -> bool {
    let manifest = fs::read_to_string(from.join(MANIFEST)).unwrap_or_default();
    manifest.contains(SCHEMA) && database_path(from).exists()
}

fn remove_unneeded(folder: &Path, needed: &[Needed]) -> Result<(), Error> {
    let keep: HashSet<_> = needed
        .iter()
        .map(|(id, _)| segments::path(folder, *id))
        .collect();
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        let ours = path
            .extension()
            .is_some_and(|extension| extension == "seg" || extension == "new");
        if ours && !keep.contains(&path) {
            fs::remove_file(path)?;
        }
    }
    Ok(())
}

/// Gives every mailbox a UIDVALIDITY that none of its account ever had.
fn renew_uidvalidity(path: &Path) -> Result<(), Error> {
    let mut db = Connection::open(path)?;
    let transaction = db.transaction()?;
    transaction.execute(
        "UPDATE mailboxes SET uidvalidity = max(?1, (SELECT last_uidvalidity FROM accounts a WHERE a.id = account))
         + (SELECT count(*) FROM mailboxes other WHERE other.account = mailboxes.account AND other.id <= mailboxes.id)",
        [now()],
    )?;
    transaction.execute(
        "UPDATE accounts SET last_uidvalidity =
         max(last_uidvalidity, coalesce((SELECT max(uidvalidity) FROM mailboxes m WHERE m.account = accounts.id), 0))",
        [],
    )?;
    transaction.commit()?;
    drop(db);
    Ok(File::open(path)?.sync_all()?)
}
