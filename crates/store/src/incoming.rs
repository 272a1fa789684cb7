//! A message on its way in: in memory while it is small, in a file of `spool/` when it grows.
//!
//! The file is laid out as the segment it becomes, so that keeping a large message is a rename. Whatever a crash leaves in
//! `spool/` is removed at the next start.

use std::fs::{self, File};
use std::io::{Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::db::make_folder;
use crate::record::{HEADER, Sums};
use crate::{Error, Options};

/// Octets gathered before a spool file is written to.
const PIECE: usize = 64 << 10;

/// Where messages come in.
#[derive(Debug)]
pub(crate) struct Spool {
    dir: PathBuf,
    folder: PathBuf,
    next: AtomicU64,
    options: Options,
}

impl Spool {
    /// Opens the folder and empties it.
    pub(crate) fn open(dir: &Path, options: Options) -> Result<Self, Error> {
        let folder = dir.join("spool");
        make_folder(&folder)?;
        for entry in fs::read_dir(&folder)? {
            fs::remove_file(entry?.path())?;
        }
        Ok(Self {
            dir: dir.to_path_buf(),
            folder,
            next: AtomicU64::new(0),
            options,
        })
    }

    /// For messages that stay in memory: touches no folder, which is the running server's.
    pub(crate) fn in_memory(dir: &Path, options: Options) -> Self {
        Self {
            dir: dir.to_path_buf(),
            folder: dir.join("spool"),
            next: AtomicU64::new(0),
            options,
        }
    }

    /// Whether so many more octets leave enough of the disk free.
    pub(crate) fn check_space(&self, octets: u64) -> Result<(), Error> {
        check_space(&self.dir, &self.options, octets)
    }

    fn create(&self) -> Result<SpoolFile, Error> {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let path = self.folder.join(format!("{number}.in"));
        let file = fs::OpenOptions::new()
            .write(true)
            .create_new(true)
            .open(&path)?;
        Ok(SpoolFile { path, file })
    }
}

/// Whether so many more octets leave [`Options::min_free`] of the disk free.
pub(crate) fn check_space(dir: &Path, options: &Options, octets: u64) -> Result<(), Error> {
    let facts = rustix::fs::statvfs(dir).map_err(std::io::Error::from)?;
    let free = facts.f_bavail.saturating_mul(facts.f_frsize);
    if free < options.min_free.saturating_add(octets) {
        Err(Error::DiskFull)
    } else {
        Ok(())
    }
}

/// A file that is removed when it is dropped, unless it has been renamed.
#[derive(Debug)]
pub(crate) struct SpoolFile {
    path: PathBuf,
    file: File,
}

impl SpoolFile {
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for SpoolFile {
    fn drop(&mut self) {
        // Not there when it was renamed; if it stays, the next start removes it.
        let _ = fs::remove_file(&self.path);
    }
}

/// A message being received. Dropped before [`crate::Store::deliver`]: gone.
///
/// Fields the server adds in front (`Received:`, `Return-Path:`) are written first.
#[derive(Debug)]
pub struct Incoming {
    spool: Arc<Spool>,
    sums: Sums,
    /// The record from its header on; once there is a file, what has not been written to it.
    buffer: Vec<u8>,
    file: Option<SpoolFile>,
}

/// A message that is complete, framed as a record.
#[derive(Debug)]
pub(crate) enum Sealed {
    /// The whole record, and the message's size.
    Memory(Vec<u8>, u64),
    /// A durable file that holds the record, the file's length, and the message's size.
    File(SpoolFile, u64, u64),
}

impl Sealed {
    /// The message's size in octets.
    pub(crate) const fn size(&self) -> u64 {
        match self {
            Self::Memory(_, size) | Self::File(_, _, size) => *size,
        }
    }
}

impl Incoming {
    pub(crate) fn new(spool: Arc<Spool>) -> Result<Self, Error> {
        spool.check_space(0)?;
        Ok(Self {
            spool,
            sums: Sums::default(),
            buffer: vec![0; HEADER],
            file: None,
        })
    }

    /// Adds octets at the end. May write to disk, so it may block for a moment.
    ///
    /// After an error the message cannot be kept: drop it.
    pub fn write(&mut self, octets: &[u8]) -> Result<(), Error> {
        if self.len().saturating_add(octets.len() as u64) > self.spool.options.max_message {
            return Err(Error::TooBig);
        }
        self.sums.update(octets);
        self.buffer.extend_from_slice(octets);
        if self.file.is_none() && self.len() > self.spool.options.spool_above as u64 {
            self.file = Some(self.spool.create()?);
        }
        if self.buffer.len() >= PIECE {
            self.write_out()?;
        }
        Ok(())
    }

    /// Octets so far.
    pub const fn len(&self) -> u64 {
        self.sums.size()
    }

    /// Whether nothing came so far.
    pub const fn is_empty(&self) -> bool {
        self.len() == 0
    }

    pub(crate) const fn is_spooled(&self) -> bool {
        self.file.is_some()
    }

    fn write_out(&mut self) -> Result<(), Error> {
        if let Some(SpoolFile { file, .. }) = &mut self.file {
            self.spool.check_space(self.buffer.len() as u64)?;
            file.write_all(&self.buffer)?;
            self.buffer.clear();
            self.buffer.shrink_to(PIECE * 2);
        }
        Ok(())
    }

    /// Completes the record. A spooled one is durable afterwards, which takes time.
    pub(crate) fn seal(mut self) -> Result<Sealed, Error> {
        let size = self.sums.size();
        self.write_out()?;
        let (header, tail) = std::mem::take(&mut self.sums).finish();
        let Some(mut spooled) = self.file.take() else {
            let mut record = std::mem::take(&mut self.buffer);
            record[..HEADER].copy_from_slice(&header);
            record.extend_from_slice(&tail);
            return Ok(Sealed::Memory(record, size));
        };
        spooled.file.write_all(&tail)?;
        let length = spooled.file.stream_position()?;
        spooled.file.seek(SeekFrom::Start(0))?;
        spooled.file.write_all(&header)?;
        spooled.file.sync_data()?;
        Ok(Sealed::File(spooled, length, size))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::{Incoming, Sealed, Spool};
    use crate::{Error, Options, record};

    fn spool(folder: &tempfile::TempDir, options: Options) -> Arc<Spool> {
        Arc::new(Spool::open(folder.path(), options).unwrap())
    }

    fn files(folder: &tempfile::TempDir) -> usize {
        std::fs::read_dir(folder.path().join("spool"))
            .unwrap()
            .count()
    }

    #[test]
    fn a_large_message_waits_in_a_file_that_is_a_record() {
        let folder = tempfile::tempdir().unwrap();
        let spool = spool(
            &folder,
            Options {
                min_free: 0,
                spool_above: 1000,
                ..Options::default()
            },
        );
        let mut incoming = Incoming::new(spool).unwrap();
        let mut content = Vec::new();
        for i in 0..3000_u32 {
            let piece = i.to_be_bytes().repeat(37);
            incoming.write(&piece).unwrap();
            content.extend_from_slice(&piece);
            assert!(
                incoming.buffer.capacity() <= 4 * super::PIECE,
                "memory grows with the message"
            );
        }
        assert_eq!(files(&folder), 1);
        let Sealed::File(file, length, size) = incoming.seal().unwrap() else {
            panic!("not spooled")
        };
        assert_eq!(
            (length, size),
            (record::length(content.len() as u64), content.len() as u64)
        );
        let read = std::fs::File::open(file.path()).unwrap();
        assert!(record::read(&read, 0, size, 0, u32::MAX).unwrap() == content);
        drop(file);
        assert_eq!(files(&folder), 0);
    }

    #[test]
    fn what_is_dropped_or_left_by_a_crash_is_gone() {
        let folder = tempfile::tempdir().unwrap();
        let options = Options {
            min_free: 0,
            spool_above: 10,
            ..Options::default()
        };
        let mut incoming = Incoming::new(spool(&folder, options)).unwrap();
        incoming.write(b"more than ten octets").unwrap();
        assert_eq!(files(&folder), 1);
        drop(incoming);
        assert_eq!(files(&folder), 0);
        std::fs::write(folder.path().join("spool/7.in"), b"left").unwrap();
        drop(spool(&folder, options));
        assert_eq!(files(&folder), 0);
    }

    #[test]
    fn a_message_over_the_limit_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let spool = spool(
            &folder,
            Options {
                min_free: 0,
                max_message: 10,
                ..Options::default()
            },
        );
        let mut incoming = Incoming::new(spool).unwrap();
        incoming.write(b"0123456789").unwrap();
        assert_eq!(incoming.write(b"x"), Err(Error::TooBig));
    }

    #[test]
    fn nothing_is_begun_when_the_disk_is_nearly_full() {
        let folder = tempfile::tempdir().unwrap();
        let spool = spool(
            &folder,
            Options {
                min_free: u64::MAX,
                ..Options::default()
            },
        );
        assert_eq!(Incoming::new(spool).unwrap_err(), Error::DiskFull);
    }
}
