//! The files bodies are kept in: `segments/NNNNNNNNNN.seg`, records one behind the other (see [`crate::record`]).
//!
//! Most messages are appended to the one shared segment that is open for it; large ones come as a file of their own, which
//! is renamed into place. Invariants, in the order that makes a crash at any point harmless:
//!
//! 1. octets are appended, or a finished file is renamed into place;
//! 2. [`Segments::sync`] makes file and folder durable;
//! 3. only then does the transaction that names them commit.
//!
//! What a crash leaves behind the length the database knows, or in files it does not know, was never answered for:
//! [`Segments::open`] cuts it off and removes it. So a database put back from a copy must not be older than the segments
//! next to it.

use std::collections::{HashMap, HashSet};
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use rusqlite::{Connection, OptionalExtension};

use crate::db::make_folder;
use crate::{BodyRef, Error, record};

/// Open segment files kept for reading.
const OPEN_FILES: usize = 32;

/// The folder of the segments.
pub(crate) fn folder(dir: &Path) -> PathBuf {
    dir.join("segments")
}

/// The file of a segment.
pub(crate) fn path(folder: &Path, id: i64) -> PathBuf {
    folder.join(format!("{id:010}.seg"))
}

/// The writing side; the writer thread has it alone.
#[derive(Debug)]
pub(crate) struct Segments {
    folder: PathBuf,
    /// Where appends go; none until the first one.
    tail: Option<Tail>,
    /// Files renamed into place since the last commit.
    adopted: Vec<PathBuf>,
    /// A file came into being since the last commit.
    folder_changed: bool,
    limit: u64,
    /// Makes the next sync fail, as a broken disk would.
    #[cfg(test)]
    pub(crate) break_sync: Arc<std::sync::atomic::AtomicBool>,
}

#[derive(Debug)]
struct Tail {
    id: i64,
    file: File,
    /// Where the next record goes.
    length: u64,
    /// Up to where the database knows it.
    committed: u64,
}

/// A point to go back to when a job fails.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Mark {
    length: u64,
    adopted: usize,
}

impl Segments {
    /// Opens the folder and puts it in step with the database.
    pub(crate) fn open(dir: &Path, db: &Connection, limit: u64) -> Result<Self, Error> {
        let folder = folder(dir);
        make_folder(&folder)?;
        // The folder itself must survive a loss of power before anything in it can.
        File::open(dir)?.sync_all()?;
        match_files(&folder, db)?;
        let mut segments = Self {
            folder,
            tail: None,
            adopted: Vec::new(),
            folder_changed: false,
            limit,
            #[cfg(test)]
            break_sync: Arc::default(),
        };
        segments.tail = segments.find_tail(db)?;
        Ok(segments)
    }

    /// Segments for another process beside the server: a file of its own, which the server never appends to. Nothing is put in
    /// step: that is the server's.
    pub(crate) fn beside(dir: &Path, limit: u64) -> Result<Self, Error> {
        let folder = folder(dir);
        make_folder(&folder)?;
        Ok(Self {
            folder,
            tail: None,
            adopted: Vec::new(),
            folder_changed: false,
            limit,
            #[cfg(test)]
            break_sync: Arc::default(),
        })
    }

    /// [`Segments::begin`] for another process. The server may have removed our file since the last transaction, if every
    /// message in it was expunged.
    pub(crate) fn begin_beside(&mut self, db: &Connection) -> Result<(), Error> {
        if let Some(tail) = &self.tail {
            let length = i64::try_from(tail.length).map_err(|_| Error::Damaged)?;
            let mut query = db.prepare_cached(
                "SELECT 1 FROM segments WHERE id = ?1 AND length = ?2 AND live > 0",
            )?;
            if tail.length < self.limit && query.exists([tail.id, length])? {
                return Ok(());
            }
        }
        db.prepare_cached("INSERT INTO segments (shared) VALUES (0)")?
            .execute([])?;
        self.make_tail(db.last_insert_rowid())
    }

    /// The newest shared segment, its torn end cut off. One that is too short is left alone: its bodies are damaged, and
    /// reading them says so. One that is missing has no bodies.
    fn find_tail(&self, db: &Connection) -> Result<Option<Tail>, Error> {
        let newest = db
            .query_row(
                "SELECT id, length FROM segments WHERE shared = 1 ORDER BY id DESC LIMIT 1",
                [],
                |row| Ok((row.get::<_, i64>(0)?, row.get::<_, i64>(1)?)),
            )
            .optional()?;
        let Some((id, length)) = newest else {
            return Ok(None);
        };
        let length = u64::try_from(length).map_err(|_| Error::Damaged)?;
        let file = match fs::OpenOptions::new()
            .read(true)
            .write(true)
            .open(path(&self.folder, id))
        {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error.into()),
        };
        let found = file.metadata()?.len();
        if found < length {
            return Ok(None);
        }
        if found > length {
            file.set_len(length)?;
            file.sync_data()?;
        }
        Ok(Some(Tail {
            id,
            file,
            length,
            committed: length,
        }))
    }

    /// Before the first job of a transaction: makes sure there is a segment to append to.
    pub(crate) fn begin(&mut self, db: &Connection) -> Result<(), Error> {
        if self
            .tail
            .as_ref()
            .is_some_and(|tail| tail.length < self.limit)
        {
            return Ok(());
        }
        db.prepare_cached("INSERT INTO segments (shared) VALUES (1)")?
            .execute([])?;
        self.make_tail(db.last_insert_rowid())
    }

    fn make_tail(&mut self, id: i64) -> Result<(), Error> {
        // A file of this number can only be left over from a transaction that failed.
        let path = path(&self.folder, id);
        let file = fs::OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(true)
            .open(path)?;
        self.folder_changed = true;
        self.tail = Some(Tail {
            id,
            file,
            length: 0,
            committed: 0,
        });
        Ok(())
    }

    /// The point a failing job goes back to.
    pub(crate) fn mark(&self) -> Mark {
        Mark {
            length: self.tail.as_ref().map_or(0, |tail| tail.length),
            adopted: self.adopted.len(),
        }
    }

    /// Forgets what came after the mark.
    pub(crate) fn back_to(&mut self, mark: Mark) {
        if let Some(tail) = &mut self.tail {
            tail.length = mark.length;
        }
        for path in self.adopted.drain(mark.adopted..) {
            // If it stays, the next start removes it: the database does not know it.
            let _ = fs::remove_file(path);
        }
    }

    /// Appends a record to the shared segment; says in which and where.
    pub(crate) fn append(&mut self, record: &[u8]) -> Result<(i64, u64), Error> {
        let tail = self.tail.as_mut().ok_or(Error::Damaged)?;
        let position = tail.length;
        tail.file.write_all_at(record, position)?;
        tail.length += record.len() as u64;
        Ok((tail.id, position))
    }

    /// Takes a finished, durable file as a segment of its own; says which.
    pub(crate) fn adopt(
        &mut self,
        db: &Connection,
        from: &Path,
        length: u64,
    ) -> Result<i64, Error> {
        let length = i64::try_from(length).map_err(|_| Error::TooBig)?;
        db.prepare_cached("INSERT INTO segments (shared, length) VALUES (0, ?1)")?
            .execute([length])?;
        let id = db.last_insert_rowid();
        let path = path(&self.folder, id);
        fs::rename(from, &path)?;
        self.adopted.push(path);
        self.folder_changed = true;
        Ok(id)
    }

    /// Makes everything since the last commit durable and notes the new length in the open transaction.
    pub(crate) fn sync(&mut self, db: &Connection) -> Result<(), Error> {
        #[cfg(test)]
        if self.break_sync.load(std::sync::atomic::Ordering::SeqCst) {
            return Err(Error::Fault(crate::Fault::Io(io::ErrorKind::Other)));
        }
        if let Some(tail) = &self.tail
            && tail.length != tail.committed
        {
            tail.file.sync_data()?;
            let length = i64::try_from(tail.length).map_err(|_| Error::Damaged)?;
            db.prepare_cached("UPDATE segments SET length = ?2 WHERE id = ?1")?
                .execute([tail.id, length])?;
        }
        if self.folder_changed {
            File::open(&self.folder)?.sync_all()?;
        }
        Ok(())
    }

    /// The transaction committed.
    pub(crate) fn committed(&mut self) {
        if let Some(tail) = &mut self.tail {
            tail.committed = tail.length;
        }
        self.adopted.clear();
        self.folder_changed = false;
    }

    /// The transaction did not commit: nothing since the last commit is there.
    pub(crate) fn rolled_back(&mut self) {
        let committed = self.tail.as_ref().map_or(0, |tail| tail.committed);
        self.back_to(Mark {
            length: committed,
            adopted: 0,
        });
        // A segment made in this transaction is not in the database. Its file is overwritten or removed later.
        if committed == 0 {
            self.tail = None;
        }
    }

    /// Takes segments without a live body out of the database; says which. To be called between transactions.
    pub(crate) fn sweep(&mut self, db: &Connection) -> Result<Vec<i64>, Error> {
        let keep = self
            .tail
            .as_ref()
            .filter(|tail| tail.length == 0)
            .map_or(0, |tail| tail.id);
        let mut query =
            db.prepare_cached("DELETE FROM segments WHERE live <= 0 AND id <> ?1 RETURNING id")?;
        let dead: Vec<i64> = query
            .query_map([keep], |row| row.get(0))?
            .collect::<Result<_, _>>()?;
        if self
            .tail
            .as_ref()
            .is_some_and(|tail| dead.contains(&tail.id))
        {
            self.tail = None;
        }
        Ok(dead)
    }

    /// Removes the files of segments that are no longer in the database.
    pub(crate) fn delete(&self, ids: &[i64]) {
        for id in ids {
            // If it stays, the next start removes it.
            let _ = fs::remove_file(path(&self.folder, *id));
        }
    }
}

/// Removes files the database does not know. A file that is missing while bodies are in it is damage: serving on would
/// hide the loss until somebody reads one.
fn match_files(folder: &Path, db: &Connection) -> Result<(), Error> {
    let mut query = db.prepare("SELECT id, live > 0 FROM segments")?;
    let known: HashMap<i64, bool> = query
        .query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?
        .collect::<Result<_, _>>()?;
    let (mut found, mut unknown) = (HashSet::new(), Vec::new());
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        let id = path
            .file_stem()
            .and_then(|stem| stem.to_str())
            .and_then(|stem| stem.parse().ok());
        let is_segment = path.extension().is_some_and(|extension| extension == "seg");
        match id {
            Some(id) if is_segment && known.contains_key(&id) => {
                found.insert(id);
            }
            Some(_) if is_segment => unknown.push(path),
            _ => {}
        }
    }
    let missing = |(id, live): (&i64, &bool)| *live && !found.contains(id);
    // Before anything is removed: it may be the database that is the wrong one.
    if known.iter().any(missing) {
        return Err(Error::Damaged);
    }
    for path in unknown {
        fs::remove_file(path)?;
    }
    Ok(())
}

/// Whether bodies are kept in a segment.
pub(crate) fn is_live(db: &Connection, id: i64) -> Result<bool, Error> {
    let mut query = db.prepare_cached("SELECT 1 FROM segments WHERE id = ?1 AND live > 0")?;
    Ok(query.exists([id])?)
}

/// The reading side: a few open files, the one used last in front.
#[derive(Debug)]
pub(crate) struct Bodies {
    folder: PathBuf,
    open: Mutex<Vec<(i64, Arc<File>)>>,
}

impl Bodies {
    pub(crate) fn new(dir: &Path) -> Self {
        Self {
            folder: folder(dir),
            open: Mutex::new(Vec::new()),
        }
    }

    /// Octets of a body from `offset`, at most `length`, verified.
    pub(crate) fn read(&self, body: &BodyRef, offset: u64, length: u32) -> Result<Vec<u8>, Error> {
        record::read(
            &*self.file(body.segment)?,
            body.position,
            body.size,
            offset,
            length,
        )
    }

    fn file(&self, id: i64) -> Result<Arc<File>, Error> {
        if id <= 0 {
            return Err(Error::Damaged);
        }
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(at) = open.iter().position(|(other, _)| *other == id) {
            open[..=at].rotate_right(1);
        } else {
            let file = File::open(path(&self.folder, id)).map_err(|error| match error.kind() {
                io::ErrorKind::NotFound => Error::Gone,
                _ => error.into(),
            })?;
            open.truncate(OPEN_FILES - 1);
            open.insert(0, (id, Arc::new(file)));
        }
        Ok(Arc::clone(&open[0].1))
    }

    /// Closes files that were deleted, so that their space is free.
    pub(crate) fn forget(&self, ids: &[i64]) {
        self.open
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .retain(|(id, _)| !ids.contains(id));
    }
}
