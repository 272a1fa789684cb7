//! Lists of revoked certificates kept in a folder between runs [REV-02].
//!
//! A file holds the list's URL, a line end, and the list as it came. Names are hashes, so the URL inside decides whether it is the
//! right file. Whoever can write here can do no more than whoever sends a list: it is judged again each time it is read.
//! Nothing depends on the folder: what cannot be read or written is fetched again.

use std::fs::{self, DirBuilder, OpenOptions};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

/// The most files kept; when there are more, those not renewed for [`STALE`] go.
const MOST: usize = 256;
/// No list is of use for so long after it was fetched.
const STALE: Duration = Duration::from_secs(7 * 24 * 3600);
/// The longest URL kept.
const LONGEST_URL: usize = 2048;

/// The folder.
#[derive(Debug)]
pub(super) struct Folder(PathBuf);

impl Folder {
    pub(super) fn new(path: PathBuf) -> Self {
        Self(path)
    }

    fn place(&self, url: &str) -> PathBuf {
        let mut hasher = DefaultHasher::new();
        url.hash(&mut hasher);
        self.0.join(format!("{:016x}.crl", hasher.finish()))
    }

    /// The list of a URL, if it was fetched less than `life` ago and has at most `largest` octets.
    pub(super) fn read(&self, url: &str, life: Duration, largest: usize) -> Option<Vec<u8>> {
        let file = fs::File::open(self.place(url)).ok()?;
        let made = file.metadata().ok()?.modified().ok()?;
        // A time in the future says nothing about age.
        let age = SystemTime::now().duration_since(made).ok()?;
        if age >= life {
            return None;
        }
        let most = u64::try_from(largest + LONGEST_URL + 1).ok()?;
        let mut octets = Vec::new();
        file.take(most).read_to_end(&mut octets).ok()?;
        let line_end = octets.iter().position(|it| *it == b'\n')?;
        let list = octets.split_off(line_end + 1);
        octets.pop();
        (octets == url.as_bytes() && list.len() <= largest).then_some(list)
    }

    /// Keeps a list, if it can be kept.
    pub(super) fn write(&self, url: &str, list: &[u8]) {
        if url.len() <= LONGEST_URL && !url.contains('\n') {
            // The list is at hand; without a copy the next run fetches it again.
            let _ = self.try_write(url, list);
        }
    }

    fn try_write(&self, url: &str, list: &[u8]) -> io::Result<()> {
        static NUMBER: AtomicU64 = AtomicU64::new(0);
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(&self.0)?;
        self.prune()?;
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let place = self.place(url);
        let temporary = place.with_extension(format!("new-{}-{number}", std::process::id()));
        let written = write_whole(&temporary, &[url.as_bytes(), b"\n", list]);
        let kept = written.and_then(|()| fs::rename(&temporary, &place));
        if kept.is_err() {
            let _ = fs::remove_file(&temporary);
        }
        kept
    }

    fn prune(&self) -> io::Result<()> {
        let files: Vec<_> = fs::read_dir(&self.0)?.filter_map(Result::ok).collect();
        if files.len() < MOST {
            return Ok(());
        }
        for file in files {
            let made = file.metadata().and_then(|it| it.modified());
            let stale = made.map_or(true, |made| made.elapsed().is_ok_and(|age| age > STALE));
            if stale {
                fs::remove_file(file.path())?;
            }
        }
        // Still too many: the folder is being filled with lists nobody asked for twice.
        if fs::read_dir(&self.0)?.count() >= MOST {
            return Err(io::ErrorKind::StorageFull.into());
        }
        Ok(())
    }
}

fn write_whole(path: &Path, parts: &[&[u8]]) -> io::Result<()> {
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)?;
    parts.iter().try_for_each(|part| file.write_all(part))
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: Duration = Duration::from_secs(3600);
    const URL: &str = "http://crl.test/a.crl";

    fn folder() -> (tempfile::TempDir, Folder) {
        let parent = tempfile::tempdir().unwrap();
        let folder = Folder::new(parent.path().join("made/when/needed"));
        (parent, folder)
    }

    #[test]
    fn what_was_kept_is_found_until_it_is_old_or_too_large() {
        // [REV-02]
        let (_parent, folder) = folder();
        assert_eq!(folder.read(URL, HOUR, 100), None);
        folder.write(URL, b"list\nwith a line end");
        let found = folder.read(URL, HOUR, 100);
        assert_eq!(found.as_deref(), Some(&b"list\nwith a line end"[..]));
        assert_eq!(folder.read(URL, HOUR, 10), None);
        let file = fs::File::options()
            .append(true)
            .open(folder.place(URL))
            .unwrap();
        file.set_modified(SystemTime::now() - 2 * HOUR).unwrap();
        assert_eq!(folder.read(URL, HOUR, 100), None);
        file.set_modified(SystemTime::now() + 2 * HOUR).unwrap();
        assert_eq!(folder.read(URL, HOUR, 100), None);
        assert_eq!(fs::read_dir(&folder.0).unwrap().count(), 1);
    }

    #[test]
    fn a_file_of_another_url_or_cut_short_is_not_taken() {
        let (_parent, folder) = folder();
        folder.write(URL, b"list");
        fs::rename(folder.place(URL), folder.place("http://other.test/")).unwrap();
        assert_eq!(folder.read("http://other.test/", HOUR, 100), None);
        folder.write(URL, b"list");
        fs::write(folder.place(URL), URL).unwrap();
        assert_eq!(folder.read(URL, HOUR, 100), None);
    }

    #[test]
    fn a_full_folder_takes_no_more_until_something_is_old() {
        let (_parent, folder) = folder();
        for number in 0..MOST + 5 {
            folder.write(&format!("http://crl.test/{number}"), b"list");
        }
        assert_eq!(fs::read_dir(&folder.0).unwrap().count(), MOST);
        let old = fs::File::options()
            .append(true)
            .open(folder.place("http://crl.test/7"))
            .unwrap();
        old.set_modified(SystemTime::now() - 2 * STALE).unwrap();
        folder.write(URL, b"list");
        assert!(folder.read(URL, HOUR, 100).is_some());
    }

    #[test]
    fn a_folder_that_cannot_be_made_is_no_error() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let folder = Folder::new(file.path().join("below"));
        folder.write(URL, b"list");
        assert_eq!(folder.read(URL, HOUR, 100), None);
    }
}
