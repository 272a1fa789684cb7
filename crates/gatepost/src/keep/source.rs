//! Where messages are brought in from: Maildir, mbox and .eml files, and folders of these.
//!
//! A source is the words of strangers. Only plain files are read: symbolic links are not followed (they could lead to anybody's
//! file), pipes and devices are not opened (they could block or never end). What is passed over is named.

use std::fs::{self, File, OpenOptions};
use std::io::{BufReader, Read};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use gatepost_wire::imap::ask::{Flags, InternalDate};
use serde_json::Value;

use super::letter::{Letter, internal_date, set_flag, to_crlf};
use super::mbox::{self, Quoting};
use super::names;

/// Folders within folders.
const DEEPEST: usize = 20;
/// The name of the file that holds the flags of .eml files.
pub(crate) const FLAGS: &str = "flags.jsonl";
/// The largest file of flags or keywords that is read, in octets.
const LARGEST_NOTES: u64 = 256 << 20;

/// What a file is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Form {
    /// A message in a Maildir.
    Maildir,
    /// Many messages.
    Mbox,
    /// One message.
    Eml,
}

/// A file to read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Entry {
    /// What it is.
    pub(crate) form: Form,
    /// The mailbox it belongs to; empty: the source's first.
    pub(crate) folder: String,
    /// Where it is.
    pub(crate) path: PathBuf,
    /// Its octets.
    pub(crate) size: u64,
}

/// All files of a source, and what was passed over.
#[derive(Debug, Default)]
pub(crate) struct Listing {
    /// The files, by folder.
    pub(crate) entries: Vec<Entry>,
    /// The mailboxes, also those without messages.
    pub(crate) folders: Vec<String>,
    /// What was passed over, and why.
    pub(crate) skipped: Vec<(PathBuf, &'static str)>,
}

/// Lists a source. The source itself may be a symbolic link.
pub(crate) fn list(root: &Path) -> std::io::Result<Listing> {
    let facts = fs::metadata(root)?;
    let mut listing = Listing::default();
    if facts.is_dir() {
        listing.scan(root, "", 0)?;
    } else if facts.is_file() {
        listing.folders.push(String::new());
        let form = if is_mbox(root) { Form::Mbox } else { Form::Eml };
        listing.add(form, "", root.to_owned(), facts.len());
    } else {
        listing.skip(root, "neither a folder nor a plain file");
    }
    listing
        .entries
        .sort_by(|a, b| (&a.folder, &a.path).cmp(&(&b.folder, &b.path)));
    listing.folders.sort();
    listing.folders.dedup();
    Ok(listing)
}

impl Listing {
    fn add(&mut self, form: Form, folder: &str, path: PathBuf, size: u64) {
        self.entries.push(Entry {
            form,
            folder: folder.to_owned(),
            path,
            size,
        });
    }

    fn skip(&mut self, path: &Path, why: &'static str) {
        self.skipped.push((path.to_owned(), why));
    }

    fn scan(&mut self, dir: &Path, folder: &str, depth: usize) -> std::io::Result<()> {
        if depth > DEEPEST {
            self.skip(dir, "too many folders within folders");
            return Ok(());
        }
        let maildir = is_maildir(dir);
        if maildir {
            self.folders.push(folder.to_owned());
            for part in ["new", "cur"] {
                self.scan_maildir(&dir.join(part), folder)?;
            }
        }
        for entry in fs::read_dir(dir)? {
            let entry = entry?;
            let (path, kind) = (entry.path(), entry.file_type()?);
            let name = entry.file_name().to_string_lossy().into_owned();
            if maildir && matches!(&*name, "cur" | "new" | "tmp") {
                continue;
            }
            if kind.is_dir() {
                self.scan_below(&path, folder, &name, maildir, depth)?;
            } else if !maildir && !name.starts_with('.') {
                self.add_file(&path, folder, &name, kind.is_file())?;
            }
        }
        Ok(())
    }

    /// A folder in a folder: a level further down, or, with a dot in front, a Maildir++ folder.
    fn scan_below(
        &mut self,
        path: &Path,
        folder: &str,
        name: &str,
        in_maildir: bool,
        depth: usize,
    ) -> std::io::Result<()> {
        let below = match name.strip_prefix('.') {
            Some(rest) if in_maildir && is_maildir(path) => names::levels_from_maildir(rest),
            Some(_) => return Ok(()),
            None => names::level_from_file(name),
        };
        // A Maildir holds more than mail: indexes, control files.
        if below.is_empty() || (in_maildir && !is_maildir(path)) {
            return Ok(());
        }
        self.scan(path, &join(folder, &below), depth + 1)
    }

    fn scan_maildir(&mut self, part: &Path, folder: &str) -> std::io::Result<()> {
        let entries = match fs::read_dir(part) {
            Ok(entries) if fs::symlink_metadata(part)?.is_dir() => entries,
            Ok(_) => {
                self.skip(part, "a symbolic link");
                return Ok(());
            }
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
            Err(error) => return Err(error),
        };
        for entry in entries {
            let entry = entry?;
            if entry.file_name().to_string_lossy().starts_with('.') {
                continue;
            }
            if entry.file_type()?.is_file() {
                let size = entry.metadata()?.len();
                self.add(Form::Maildir, folder, entry.path(), size);
            } else {
                self.skip(&entry.path(), "no plain file");
            }
        }
        Ok(())
    }

    fn add_file(
        &mut self,
        path: &Path,
        folder: &str,
        name: &str,
        is_plain: bool,
    ) -> std::io::Result<()> {
        if !is_plain {
            self.skip(path, "no plain file");
            return Ok(());
        }
        let size = fs::symlink_metadata(path)?.len();
        let ending = Path::new(name).extension().unwrap_or_default();
        if ending.eq_ignore_ascii_case("eml") {
            self.folders.push(folder.to_owned());
            self.add(Form::Eml, folder, path.to_owned(), size);
        } else if ending.eq_ignore_ascii_case("mbox") || is_mbox(path) {
            let stem = name.strip_suffix(".mbox").unwrap_or(name);
            let own = join(folder, &names::level_from_file(stem));
            self.folders.push(own.clone());
            self.add(Form::Mbox, &own, path.to_owned(), size);
        } else if name != FLAGS {
            self.skip(path, "no message: neither .eml nor an mbox");
        }
        Ok(())
    }
}

fn join(folder: &str, below: &str) -> String {
    if folder.is_empty() {
        below.to_owned()
    } else {
        format!("{folder}/{below}")
    }
}

fn is_maildir(dir: &Path) -> bool {
    let real = |part: &str| fs::symlink_metadata(dir.join(part)).is_ok_and(|it| it.is_dir());
    real("cur") || real("new")
}

fn is_mbox(path: &Path) -> bool {
    let mut first = [0; 5];
    open(path).is_ok_and(|mut file| file.read_exact(&mut first).is_ok()) && &first == b"From "
}

/// Opens a plain file, and nothing else: no link, no pipe, also if it became one since it was listed.
fn open(path: &Path) -> std::io::Result<File> {
    let flags = rustix::fs::OFlags::NOFOLLOW | rustix::fs::OFlags::NONBLOCK;
    let file = OpenOptions::new()
        .read(true)
        .custom_flags(i32::try_from(flags.bits()).unwrap_or_default())
        .open(path)?;
    if file.metadata()?.is_file() {
        Ok(file)
    } else {
        Err(std::io::Error::other("no plain file"))
    }
}

/// What became of an entry's reading.
pub(crate) enum Read1 {
    /// A message.
    Letter(Letter),
    /// One that cannot be taken: which, and why.
    Refused(String, &'static str),
}

/// Reads the messages of the files of one folder after the other.
#[derive(Debug)]
pub(crate) struct Source {
    quoting: Quoting,
    limit: u64,
    /// The folder whose notes are in hand: keywords of a Maildir, flags of .eml files.
    notes_of: PathBuf,
    keywords: Vec<String>,
    flags: std::collections::HashMap<String, (Flags, Option<InternalDate>)>,
}

impl Source {
    /// Messages up to this size are read.
    pub(crate) fn new(quoting: Quoting, limit: u64) -> Self {
        Self {
            quoting,
            limit,
            notes_of: PathBuf::new(),
            keywords: Vec::new(),
            flags: std::collections::HashMap::new(),
        }
    }

    /// Reads what is in a file, message by message.
    pub(crate) fn read<E>(
        &mut self,
        entry: &Entry,
        take: &mut dyn FnMut(Read1) -> Result<(), E>,
    ) -> Result<(), E> {
        let shown = entry.path.display().to_string();
        let refused = |why| Read1::Refused(shown.clone(), why);
        // The source may also be named by a link; only what stands in it may not be one.
        let named = entry.folder.is_empty() && entry.form != Form::Maildir;
        let opened = match open(&entry.path) {
            Err(_) if named => fs::canonicalize(&entry.path).and_then(|path| open(&path)),
            opened => opened,
        };
        let Ok(file) = opened else {
            return take(refused("cannot be opened"));
        };
        let modified = file
            .metadata()
            .and_then(|facts| facts.modified())
            .unwrap_or_else(|_| SystemTime::now());
        if entry.form == Form::Mbox {
            return self.read_mbox(entry, file, modified, take);
        }
        let mut octets = Vec::new();
        let mut limited = file.take(self.limit + 1);
        if limited.read_to_end(&mut octets).is_err() {
            return take(refused("cannot be read"));
        }
        if octets.len() as u64 > self.limit {
            return take(refused("is too large"));
        }
        if let Some(why) = unfit(&octets) {
            return take(refused(why));
        }
        let name = entry.path.file_name().unwrap_or_default().to_string_lossy();
        self.open_notes(entry);
        let (flags, noted) = match entry.form {
            Form::Maildir => (self.maildir_flags(&name), None),
            _ => self.flags.get(&*name).cloned().unwrap_or_default(),
        };
        take(Read1::Letter(Letter {
            folder: entry.folder.clone(),
            // A message keeps this part of its name when its flags change.
            name: match entry.form {
                Form::Maildir => name.split(':').next().unwrap_or_default().to_owned(),
                _ => name.into_owned(),
            },
            octets: to_crlf(octets),
            flags,
            date: noted.unwrap_or_else(|| internal_date(modified)),
        }))
    }

    fn read_mbox<E>(
        &self,
        entry: &Entry,
        file: File,
        modified: SystemTime,
        take: &mut dyn FnMut(Read1) -> Result<(), E>,
    ) -> Result<(), E> {
        let mut reader = mbox::Reader::new(BufReader::new(file), self.limit, self.quoting);
        for number in 1.. {
            let refused =
                |why| Read1::Refused(format!("{} message {number}", entry.path.display()), why);
            match reader.next() {
                Ok(None) => break,
                Ok(Some(message)) if message.too_big => take(refused("is too large"))?,
                Ok(Some(message)) => match unfit(&message.octets) {
                    Some(why) => take(refused(why))?,
                    None => take(Read1::Letter(Letter {
                        folder: entry.folder.clone(),
                        name: String::new(),
                        octets: to_crlf(message.octets),
                        flags: message.flags,
                        date: internal_date(message.date.unwrap_or(modified)),
                    }))?,
                },
                Err(_) => return take(refused("and what follows cannot be read")),
            }
        }
        Ok(())
    }

    fn open_notes(&mut self, entry: &Entry) {
        let parent = entry.path.parent().unwrap_or(Path::new(""));
        let folder = match entry.form {
            Form::Maildir => parent.parent().unwrap_or(parent),
            _ => parent,
        };
        if self.notes_of == folder {
            return;
        }
        folder.clone_into(&mut self.notes_of);
        self.keywords.clear();
        self.flags.clear();
        if entry.form == Form::Maildir {
            for line in small_file(&folder.join("dovecot-keywords")).lines() {
                let index = line
                    .split_once(' ')
                    .and_then(|(index, name)| Some((index.parse::<usize>().ok()?, name)));
                if let Some((index, name)) = index.filter(|(index, _)| *index < 26) {
                    self.keywords
                        .resize(self.keywords.len().max(index + 1), String::new());
                    name.clone_into(&mut self.keywords[index]);
                }
            }
        } else {
            for line in small_file(&folder.join(FLAGS)).lines() {
                self.note(line);
            }
        }
    }

    /// A line of the flags of .eml files.
    fn note(&mut self, line: &str) -> Option<()> {
        let value: Value = serde_json::from_str(line).ok()?;
        let mut flags = Flags::default();
        for name in value["flags"].as_array()? {
            set_flag(&mut flags, name.as_str()?);
        }
        let date = value["unix"].as_i64().map(|unix| InternalDate {
            unix: unix.max(0),
            offset_minutes: value["offset"]
                .as_i64()
                .and_then(|minutes| i16::try_from(minutes).ok())
                .filter(|minutes| minutes.abs() < 24 * 60)
                .unwrap_or_default(),
        });
        self.flags
            .insert(value["file"].as_str()?.to_owned(), (flags, date));
        Some(())
    }

    fn maildir_flags(&self, name: &str) -> Flags {
        let mut flags = Flags::default();
        let letters = name.rsplit_once(":2,").map_or("", |(_, letters)| letters);
        for letter in letters.bytes() {
            match letter {
                b'D' => flags.draft = true,
                b'F' => flags.flagged = true,
                b'P' => set_flag(&mut flags, "$Forwarded"),
                b'R' => flags.answered = true,
                b'S' => flags.seen = true,
                b'T' => flags.deleted = true,
                b'a'..=b'z' => {
                    if let Some(keyword) = self.keywords.get(usize::from(letter - b'a')) {
                        set_flag(&mut flags, keyword);
                    }
                }
                _ => {}
            }
        }
        flags
    }
}

fn small_file(path: &Path) -> String {
    let mut text = String::new();
    let read = open(path).and_then(|file| file.take(LARGEST_NOTES).read_to_string(&mut text));
    read.map_or_else(|_| String::new(), |_| text)
}

/// Why a message cannot be kept. [RFC 9051 9: no CHAR8 is NUL]
pub(crate) fn unfit(octets: &[u8]) -> Option<&'static str> {
    if octets.is_empty() {
        Some("is empty")
    } else if octets.contains(&0) {
        Some("holds a NUL octet, which no mail protocol carries")
    } else {
        None
    }
}
