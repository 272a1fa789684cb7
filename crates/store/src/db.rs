//! The database file: how it is opened, how it grows from version to version, and whose turn it is to write.
//!
//! `PRAGMA user_version` counts the steps of [`STEPS`] that were applied. Each start applies the missing ones in one
//! transaction; a database with more steps than this program knows is refused.

use std::fs::{self, DirBuilder, File, OpenOptions, TryLockError};
use std::io::{self, Read};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, fchown};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use rusqlite::{Connection, OpenFlags, OptionalExtension, TransactionBehavior};

use crate::Error;

/// What makes a database of one version into the next; the first makes it from nothing.
const STEPS: &[&str] = &[
    include_str!("schema/1.sql"),
    include_str!("schema/2.sql"),
    include_str!("schema/3.sql"),
    include_str!("schema/4.sql"),
];

/// How long a write waits for another process's transaction.
const BUSY: Duration = Duration::from_secs(10);

/// How long the server's writes give way to an account command that was stopped in mid-air.
const PATIENCE: Duration = Duration::from_secs(2);

/// Seconds since 1970-01-01 00:00 UTC.
pub(crate) fn now() -> i64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |passed| {
            i64::try_from(passed.as_secs()).unwrap_or(i64::MAX)
        })
}

/// Makes a folder (mode 0700: mail is nobody else's business) if it is not there.
pub(crate) fn make_folder(path: &Path) -> Result<(), Error> {
    match DirBuilder::new().recursive(true).mode(0o700).create(path) {
        Err(_) if path.is_dir() => Ok(()),
        other => Ok(other?),
    }
}

/// Opens a file of the data folder for writing. One that is made by root in another user's folder is given to that user,
/// whose server could not use it otherwise. Only a new one: an old name could lead elsewhere.
pub(crate) fn open_file(dir: &Path, name: &'static str) -> Result<File, Error> {
    let path = dir.join(name);
    let new = OpenOptions::new().create_new(true).write(true).open(&path);
    let opened = match new {
        Ok(file) => give_to_owner(dir, &file).map(|()| file),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            OpenOptions::new().write(true).open(&path)
        }
        Err(error) => Err(error),
    };
    opened.map_err(|error| Error::of_file(name, &error))
}

fn give_to_owner(dir: &Path, file: &File) -> io::Result<()> {
    let (owner, made) = (fs::metadata(dir)?, file.metadata()?);
    if rustix::process::geteuid().is_root() && made.uid() != owner.uid() {
        fchown(file, Some(owner.uid()), Some(owner.gid()))?;
    }
    Ok(())
}

/// The database of a data folder.
pub(crate) fn database_path(dir: &Path) -> PathBuf {
    dir.join("store.db")
}

/// Opens the database for writing, brings it up to date, and makes the server secret.
pub(crate) fn open_writer(dir: &Path) -> Result<Connection, Error> {
    // Never opened here when it is there: closing a file ends the locks that this process has on it, SQLite's too.
    if !database_path(dir).exists() {
        open_file(dir, "store.db")?;
    }
    let mut db = Connection::open(database_path(dir))?;
    db.busy_timeout(BUSY)?;
    db.pragma_update(None, "journal_mode", "WAL")?;
    // An answered write must survive the loss of power, not only of the process.
    db.pragma_update(None, "synchronous", "FULL")?;
    db.pragma_update(None, "foreign_keys", true)?;
    db.pragma_update(None, "trusted_schema", false)?;
    db.pragma_update(None, "temp_store", "MEMORY")?;
    db.pragma_update(None, "cache_size", -16_384)?;
    db.pragma_update(None, "wal_autocheckpoint", 4_000)?;
    db.pragma_update(None, "journal_size_limit", 64 << 20)?;
    db.set_prepared_statement_cache_capacity(96);
    migrate(&mut db, STEPS)?;
    make_secret(&db)?;
    Ok(db)
}

/// Opens the database for reading. The writer must have been opened before.
pub(crate) fn open_reader(dir: &Path) -> Result<Connection, Error> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let db = Connection::open_with_flags(database_path(dir), flags)?;
    db.busy_timeout(BUSY)?;
    db.pragma_update(None, "trusted_schema", false)?;
    db.pragma_update(None, "cache_size", -4_096)?;
    db.set_prepared_statement_cache_capacity(32);
    Ok(db)
}

/// Applies the steps that are missing, all or none.
fn migrate(db: &mut Connection, steps: &[&str]) -> Result<(), Error> {
    if version(db)? == steps.len() {
        return Ok(());
    }
    let transaction = db.transaction_with_behavior(TransactionBehavior::Immediate)?;
    // Read again under the lock: another process may have been faster.
    let missing = steps.get(version(&transaction)?..).ok_or(Error::Newer)?;
    for step in missing {
        transaction.execute_batch(step)?;
    }
    transaction.pragma_update(
        None,
        "user_version",
        i64::try_from(steps.len()).unwrap_or(i64::MAX),
    )?;
    transaction.commit()?;
    Ok(())
}

/// Refuses a database that a newer program wrote.
pub(crate) fn refuse_newer(db: &Connection) -> Result<(), Error> {
    if version(db)? > STEPS.len() {
        Err(Error::Newer)
    } else {
        Ok(())
    }
}

/// Whether the database has a search index: one that an older program wrote and none has opened for writing since has none.
pub(crate) fn has_index(db: &Connection) -> Result<bool, Error> {
    Ok(version(db)? >= 2)
}

fn version(db: &Connection) -> Result<usize, Error> {
    let version: i64 = db.pragma_query_value(None, "user_version", |row| row.get(0))?;
    usize::try_from(version).map_err(|_| Error::Damaged)
}

fn make_secret(db: &Connection) -> Result<(), Error> {
    let there = db
        .query_row("SELECT 1 FROM meta WHERE key = 'server_secret'", [], |_| {
            Ok(())
        })
        .optional()?;
    if there.is_none() {
        let mut secret = [0_u8; 32];
        File::open("/dev/urandom")?.read_exact(&mut secret)?;
        db.execute(
            "INSERT OR IGNORE INTO meta (key, value) VALUES ('server_secret', ?1)",
            [secret],
        )?;
    }
    Ok(())
}

/// The server secret.
pub(crate) fn server_secret(db: &Connection) -> Result<[u8; 32], Error> {
    Ok(db.query_row(
        "SELECT value FROM meta WHERE key = 'server_secret'",
        [],
        |row| row.get(0),
    )?)
}

/// Keeps the server from removing segment files, while another process copies or verifies them.
///
/// What is read belongs to one state of the database; a file that this state names must be there until the last one was read.
/// The server only frees space later for it.
#[derive(Debug)]
pub(crate) struct Hold(#[expect(dead_code, reason = "held, not read")] File);

impl Hold {
    /// Waits until no removal is under way, and keeps further ones off until it is dropped.
    pub(crate) fn take(dir: &Path) -> Result<Self, Error> {
        let file = open_file(dir, "hold")?;
        file.lock_shared()?;
        Ok(Self(file))
    }

    /// For whoever removes: nothing when files are held.
    pub(crate) fn remover(dir: &Path) -> Option<Self> {
        let file = open_file(dir, "hold").ok()?;
        file.try_lock().ok().map(|()| Self(file))
    }
}

/// Keeps every other server out of the folder. The lock is the operating system's: it ends with the process.
pub(crate) fn take_lock(dir: &Path) -> Result<File, Error> {
    let file = open_file(dir, "lock")?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(Error::Locked),
        Err(TryLockError::Error(error)) => Err(error.into()),
    }
}

/// Lets account commands come in between the server's transactions.
///
/// Under load the server begins its next transaction microseconds after the last one, and the database's waiting (which sleeps and
/// tries again) would rarely find a gap. So an account command holds a file lock while it waits and writes, and the server
/// lets whoever holds it go first.
#[derive(Debug)]
pub(crate) struct Turn(File);

/// A turn that was taken; dropping it hands it back.
pub(crate) struct Taken<'a>(&'a File);

impl Turn {
    pub(crate) fn open(dir: &Path) -> Result<Self, Error> {
        Ok(Self(open_file(dir, "turn")?))
    }

    /// Waits until nobody else has the turn, and takes it.
    pub(crate) fn take(&self) -> Result<Taken<'_>, Error> {
        self.0.lock()?;
        Ok(Taken(&self.0))
    }

    /// Waits while somebody has the turn, but not forever.
    pub(crate) fn give_way(&self) {
        let begin = Instant::now();
        while let Err(TryLockError::WouldBlock) = self.0.try_lock() {
            if begin.elapsed() > PATIENCE {
                return;
            }
            std::thread::sleep(Duration::from_millis(1));
        }
        // Locked, or the lock does not work here: then there is only SQLite's own.
        let _ = self.0.unlock();
    }
}

impl Drop for Taken<'_> {
    fn drop(&mut self) {
        let _ = self.0.unlock();
    }
}

#[cfg(test)]
mod tests {
    use super::{migrate, open_writer, server_secret, version};
    use crate::Error;

    #[test]
    fn steps_are_applied_once_and_in_order() {
        let folder = tempfile::tempdir().unwrap();
        let mut db = open_writer(folder.path()).unwrap();
        let now = super::STEPS.len();
        let mut later = super::STEPS.to_vec();
        later.extend([
            "CREATE TABLE later (id INTEGER PRIMARY KEY); INSERT INTO later VALUES (1);",
            "INSERT INTO later VALUES (2);",
        ]);
        migrate(&mut db, &later[..=now]).unwrap();
        migrate(&mut db, &later[..=now]).unwrap();
        migrate(&mut db, &later).unwrap();
        assert_eq!(version(&db).unwrap(), now + 2);
        let sum: i64 = db
            .query_row("SELECT sum(id) FROM later", [], |row| row.get(0))
            .unwrap();
        assert_eq!(sum, 3);
    }

    #[test]
    fn a_step_that_fails_leaves_the_old_version() {
        let folder = tempfile::tempdir().unwrap();
        let mut db = open_writer(folder.path()).unwrap();
        let mut broken = super::STEPS.to_vec();
        broken.push("CREATE TABLE half (id INTEGER); CREATE TABLE half (id INTEGER);");
        assert!(migrate(&mut db, &broken).is_err());
        assert_eq!(version(&db).unwrap(), super::STEPS.len());
        assert!(db.prepare("SELECT id FROM half").is_err());
    }

    #[test]
    fn a_newer_database_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let db = open_writer(folder.path()).unwrap();
        db.pragma_update(None, "user_version", 1_000).unwrap();
        drop(db);
        assert_eq!(open_writer(folder.path()).unwrap_err(), Error::Newer);
    }

    #[test]
    fn the_secret_is_made_once() {
        let folder = tempfile::tempdir().unwrap();
        let first = server_secret(&open_writer(folder.path()).unwrap()).unwrap();
        let second = server_secret(&open_writer(folder.path()).unwrap()).unwrap();
        assert_eq!(first, second);
        assert_ne!(first, [0; 32]);
    }

    #[test]
    fn a_file_that_is_no_database_is_damaged() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(super::database_path(folder.path()), [0x5A; 8192]).unwrap();
        assert_eq!(open_writer(folder.path()).unwrap_err(), Error::Damaged);
    }
}
