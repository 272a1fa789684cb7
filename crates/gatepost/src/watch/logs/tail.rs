//! A log file that grows, and is moved away while another takes its name, or is emptied: `logrotate` does the one or the other.

use std::fs::{File, Metadata};
use std::io::{self, Read, Seek, SeekFrom};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use super::rotated;
use crate::watch::input;

/// Which file it is, whatever its name, and how far it was read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) device: u64,
    pub(super) inode: u64,
    pub(super) offset: u64,
}

impl Place {
    fn is_of(&self, it: &Metadata) -> bool {
        (it.dev(), it.ino()) == (self.device, self.inode)
    }
}

/// The file.
#[derive(Debug)]
pub(super) struct Tail {
    path: PathBuf,
    file: File,
    place: Place,
    /// Whether it goes on where an earlier run stopped.
    goes_on: bool,
    /// Files it was moved to since then, to be read before the one of its name; the next one last.
    between: Vec<PathBuf>,
}

impl Tail {
    /// Opens a log, where an earlier run stopped, if that place can still be found: in the file itself, or in the one it was moved to.
    pub(super) fn open(path: &Path, place: Option<Place>) -> io::Result<Self> {
        let mut tail = Self::begin(path)?;
        let Some(place) = place else {
            return Ok(tail);
        };
        if place.is_of(&tail.file.metadata()?) {
            tail.seek(place.offset)?;
            tail.goes_on = true;
            return Ok(tail);
        }
        // The youngest first: what lies between is remembered until the right one is found.
        let mut between = Vec::new();
        for older in rotated::beside(path)?.into_iter().rev() {
            let file = File::open(&older)?;
            if place.is_of(&file.metadata()?) {
                tail.file = file;
                tail.place = place;
                tail.seek(place.offset)?;
                tail.goes_on = true;
                tail.between = between;
                return Ok(tail);
            }
            if !input::is_compressed(&older) {
                between.push(older);
            }
        }
        eprintln!(
            "gatepost: {}: where the last run stopped is not found any more; read from the beginning",
            path.display()
        );
        Ok(tail)
    }

    fn begin(path: &Path) -> io::Result<Self> {
        let file = File::open(path)?;
        let metadata = file.metadata()?;
        let place = Place {
            device: metadata.dev(),
            inode: metadata.ino(),
            offset: 0,
        };
        Ok(Self {
            path: path.to_owned(),
            file,
            place,
            goes_on: false,
            between: Vec::new(),
        })
    }

    fn seek(&mut self, offset: u64) -> io::Result<()> {
        // What is shorter than it was has been emptied.
        let offset = if self.file.metadata()?.len() < offset {
            0
        } else {
            offset
        };
        self.place.offset = self.file.seek(SeekFrom::Start(offset))?;
        Ok(())
    }

    /// Whether it goes on where an earlier run stopped.
    pub(super) fn goes_on(&self) -> bool {
        self.goes_on
    }

    /// Where the next run is to go on: before the octets of a line that has no end yet.
    pub(super) fn place(&self, begun: usize) -> Place {
        Place {
            offset: self.place.offset.saturating_sub(begun as u64),
            ..self.place
        }
    }

    /// At the end of what there was: whether there is another file of this name now, or the file was emptied. Then that is read next.
    pub(super) fn move_on(&mut self) -> io::Result<bool> {
        let now = match std::fs::metadata(&self.path) {
            Ok(now) => now,
            // Moved away, and the other one not made yet.
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
            Err(error) => return Err(error),
        };
        if self.place.is_of(&now) {
            if now.len() < self.place.offset {
                self.seek(0)?;
                return Ok(true);
            }
            return Ok(false);
        }
        // The writer may have written to the old one until it opened the new one: that is read first.
        if self.file.metadata()?.len() > self.place.offset {
            return Ok(true);
        }
        if let Some(next) = self.between.pop() {
            let begun = Self::begin(&next)?;
            (self.file, self.place) = (begun.file, begun.place);
            return Ok(true);
        }
        let begun = Self::begin(&self.path)?;
        (self.file, self.place) = (begun.file, begun.place);
        Ok(true)
    }
}

impl Read for &mut Tail {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.file.read(buffer)?;
        self.place.offset += count as u64;
        Ok(count)
    }
}
