//! Messages into files: Maildir, mbox, one file a message, or JSON.
//!
//! A message is written to a temporary file while it comes. When it has come whole it waits with others, and they are made
//! durable together: sync, rename, note in the state file. What breaks off on the way is never seen under its name [TLS-CLOSE-01]. The
//! names say where a message came from, so that a run that died between rename and note does not store it twice. Two accounts in one
//! folder may give the same name to two messages, and so may a server: what is there is never replaced, the second gets a number.
//!
//! | format | name | line ends |
//! |---|---|---|
//! | `maildir` | `new/` or `cur/`, flags in the name, date as time of the file | LF |
//! | `mbox` | one file for the mailbox, mboxrd | LF |
//! | `eml` | `MAILBOX.UIDVALIDITY.UID.eml` | as they came |
//! | `json` | the same with `.json`: facts, header fields and the content in base64 | as they came |

use std::collections::HashMap;
use std::fs::{self, File, OpenOptions};
use std::io::{BufRead, BufReader, BufWriter, ErrorKind, Read, Seek, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use super::state::{State, Unfinished};
use super::{date, json};
use crate::exit::Failure;

/// The form messages are kept in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Format {
    /// Maildir.
    Maildir,
    /// mboxrd.
    Mbox,
    /// A file for each message.
    Eml,
    /// The same, as JSON.
    Json,
}

/// Where messages come from, and what they are called there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Origin {
    /// For the state file: login name, host, mailbox and UIDVALIDITY.
    pub(crate) source: String,
    /// For file names: the mailbox and its UIDVALIDITY, plain characters only.
    pub(crate) stem: String,
}

/// What is known about a message beside its content.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Facts {
    /// The UID, or the unique-id.
    pub(crate) id: String,
    /// Flags, such as `\Seen`.
    pub(crate) flags: Vec<String>,
    /// When the server got it.
    pub(crate) date: Option<SystemTime>,
}

/// How many messages are made durable together.
const BATCH: usize = 64;

/// How many octets are appended to an mbox at a time.
const PORTION: usize = 8 * 1024 * 1024;

/// The most octets of a message that is put together in memory. A server may announce any number of them.
const MOST_IN_MEMORY: u64 = 256 * 1024 * 1024;
/// The most octets of any message: far beyond what a mail server takes (RFC 1870 knows no bound), and less than a disk.
const MOST_OCTETS: u64 = 1 << 30;

/// How many messages may want the same name.
const NAMESAKES: usize = 1000;

/// An output folder.
#[derive(Debug)]
pub(crate) struct Store {
    format: Format,
    folder: PathBuf,
    origin: Origin,
    state: State,
    /// Whole messages that are not yet under their names.
    waiting: Vec<Waiting>,
    serial: u64,
    /// The messages in the Maildir when it was opened, by their names without the flags.
    present: HashMap<String, PathBuf>,
}

#[derive(Debug)]
struct Waiting {
    facts: Facts,
    temporary: Temporary,
}

/// A file that vanishes unless it is kept.
#[derive(Debug)]
struct Temporary(PathBuf);

impl Drop for Temporary {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}

/// A message that is coming in.
#[derive(Debug)]
pub(crate) struct Incoming {
    sink: Sink,
    /// Whether CRLF becomes LF, and whether a CR is held back for that.
    unix: bool,
    held: bool,
    /// Whether it will be in memory as a whole.
    in_memory: bool,
    /// How many octets have come.
    pub(crate) octets: u64,
}

#[derive(Debug)]
enum Sink {
    File(Temporary, BufWriter<File>),
    /// For standard output.
    Memory(Vec<u8>),
}

impl Write for Sink {
    fn write(&mut self, octets: &[u8]) -> std::io::Result<usize> {
        match self {
            Self::File(_, file) => file.write(octets),
            Self::Memory(memory) => memory.write(octets),
        }
    }

    fn flush(&mut self) -> std::io::Result<()> {
        match self {
            Self::File(_, file) => file.flush(),
            Self::Memory(_) => Ok(()),
        }
    }
}

impl Store {
    /// Opens or makes a folder for mail of one origin.
    pub(crate) fn open(format: Format, folder: &Path, origin: Origin) -> Result<Self, Failure> {
        make(folder)?;
        let state = State::open(folder)?;
        let mut store = Self {
            format,
            folder: folder.to_owned(),
            origin,
            state,
            waiting: Vec::new(),
            serial: 0,
            present: HashMap::new(),
        };
        for part in ["tmp", "new", "cur"] {
            if format == Format::Maildir {
                make(&folder.join(part))?;
                if part != "tmp" {
                    let there = by_name_without_flags(&folder.join(part));
                    store.present.extend(there);
                }
            }
        }
        store.finish_what_broke_off()?;
        Ok(store)
    }

    /// Whether a message is stored already.
    pub(crate) fn knows(&self, id: &str) -> bool {
        self.state.knows(&self.origin.source, id) || self.waiting.iter().any(|it| it.facts.id == id)
    }

    /// Begins a message. What it is called is often known only when it has come whole.
    pub(crate) fn begin(&mut self) -> Result<Incoming, Failure> {
        self.serial += 1;
        // Nobody must have put something there before, such as a link to another file: the name is not to be guessed, and new.
        let mut chance = [0_u8; 8];
        aws_lc_rs::rand::fill(&mut chance)
            .map_err(|_| Failure::local("the system gives no randomness"))?;
        let chance = u64::from_ne_bytes(chance);
        let name = format!(".gatepost-{}-{chance:016x}", self.serial);
        let folder = match self.format {
            Format::Maildir => self.folder.join("tmp"),
            _ => self.folder.clone(),
        };
        let path = folder.join(name);
        let file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&path)
            .map_err(|error| cannot(&path, &error))?;
        Ok(Incoming {
            sink: Sink::File(Temporary(path), BufWriter::with_capacity(64 * 1024, file)),
            unix: matches!(self.format, Format::Maildir | Format::Mbox),
            held: false,
            in_memory: matches!(self.format, Format::Mbox | Format::Json),
            octets: 0,
        })
    }

    /// Takes a message that has come whole. It is durable after the next [`Store::flush`] at the latest. Says which messages
    /// became durable now.
    pub(crate) fn keep(
        &mut self,
        incoming: Incoming,
        facts: Facts,
    ) -> Result<Vec<String>, Failure> {
        self.waiting.extend(incoming.end(facts)?);
        if self.waiting.len() >= BATCH {
            return self.flush();
        }
        Ok(Vec::new())
    }

    /// Makes everything durable that has come whole. Says which messages that were.
    pub(crate) fn flush(&mut self) -> Result<Vec<String>, Failure> {
        let waiting = std::mem::take(&mut self.waiting);
        if waiting.is_empty() {
            return Ok(Vec::new());
        }
        let ids: Vec<String> = waiting.iter().map(|it| it.facts.id.clone()).collect();
        match self.format {
            Format::Mbox => self.append_all(&waiting)?,
            Format::Json => {
                for it in &waiting {
                    self.write_json(it)?;
                }
                self.rename_all(&waiting)?;
            }
            Format::Eml | Format::Maildir => self.rename_all(&waiting)?,
        }
        if self.format != Format::Mbox {
            self.state.note(&self.origin.source, &ids)?;
        }
        Ok(ids)
    }

    fn rename_all(&mut self, waiting: &[Waiting]) -> Result<(), Failure> {
        self.sync(waiting)?;
        let mut folders = Vec::new();
        for it in waiting {
            let Some(target) = self.settle(it)? else {
                continue;
            };
            let folder = target.parent().unwrap_or(&self.folder).to_owned();
            if !folders.contains(&folder) {
                folders.push(folder);
            }
        }
        for folder in folders {
            let synced = File::open(&folder).and_then(|it| it.sync_all());
            synced.map_err(|error| cannot(&folder, &error))?;
        }
        Ok(())
    }

    /// Gives a message its name, or another where another message has it. None when the same message is there already: a run that
    /// died before its note may have stored it, and a mail program may have moved it since.
    fn settle(&mut self, waiting: &Waiting) -> Result<Option<PathBuf>, Failure> {
        let temporary = &waiting.temporary.0;
        for number in 0..NAMESAKES {
            let (name, target) = self.target(&waiting.facts, number);
            let fail = |error: std::io::Error| cannot(&target, &error);
            let there = match self.present.get(&name) {
                Some(path) => path.clone(),
                None => match rename_as_new(temporary, &target) {
                    Ok(()) => {
                        self.present.insert(name, target.clone());
                        return Ok(Some(target));
                    }
                    Err(error) if error.kind() == ErrorKind::AlreadyExists => target.clone(),
                    Err(error) => return Err(fail(error)),
                },
            };
            if is_same(temporary, &there).map_err(fail)? {
                return Ok(None);
            }
        }
        Err(Failure::local(format!(
            "there are {NAMESAKES} other messages of the same name in {}; give another folder",
            self.folder.display()
        )))
    }

    /// One sync of the file system for many files, a sync of the file for one.
    fn sync(&self, waiting: &[Waiting]) -> Result<(), Failure> {
        let fail = |error: &std::io::Error| cannot(&self.folder, error);
        if let [one] = waiting {
            let synced = File::open(&one.temporary.0).and_then(|file| file.sync_all());
            return synced.map_err(|error| fail(&error));
        }
        let folder = File::open(&self.folder).map_err(|error| fail(&error))?;
        rustix::fs::syncfs(&folder).map_err(|error| fail(&error.into()))
    }

    /// The name a message is known by, and its path; `number` tells namesakes apart.
    fn target(&self, facts: &Facts, number: usize) -> (String, PathBuf) {
        let mut name = format!("{}.{}", self.origin.stem, plain(&facts.id));
        if number > 0 {
            name.push_str(&format!("~{number}"));
        }
        let path = match self.format {
            Format::Eml => self.folder.join(format!("{name}.eml")),
            Format::Json => self.folder.join(format!("{name}.json")),
            Format::Mbox => self.folder.join(self.mbox()),
            Format::Maildir => {
                let letters = letters(&facts.flags);
                let part = if letters.is_empty() { "new" } else { "cur" };
                let ending = if letters.is_empty() {
                    String::new()
                } else {
                    format!(":2,{letters}")
                };
                name = maildir_name(&name, facts.date);
                self.folder.join(part).join(format!("{name}{ending}"))
            }
        };
        (name, path)
    }

    /// The mbox's file name.
    fn mbox(&self) -> String {
        let mailbox = self
            .origin
            .stem
            .rsplit_once('.')
            .map_or(self.origin.stem.as_str(), |(mailbox, _)| mailbox);
        format!("{mailbox}.mbox")
    }

    /// Appends messages to the mbox, some mebibytes at a time.
    fn append_all(&mut self, waiting: &[Waiting]) -> Result<(), Failure> {
        let path = self.folder.join(self.mbox());
        let (mut quoted, mut ids) = (Vec::new(), Vec::new());
        for it in waiting {
            quote_for_mbox(it, &mut quoted).map_err(|error| cannot(&path, &error))?;
            ids.push(it.facts.id.clone());
            if quoted.len() >= PORTION {
                self.append(
                    &path,
                    &std::mem::take(&mut quoted),
                    &std::mem::take(&mut ids),
                )?;
            }
        }
        self.append(&path, &quoted, &ids)
    }

    /// Appends to the mbox, announced before and synced after.
    fn append(&mut self, path: &Path, quoted: &[u8], ids: &[String]) -> Result<(), Failure> {
        let Some(first) = ids.first() else {
            return Ok(());
        };
        let fail = |error: std::io::Error| cannot(path, &error);
        let mut mbox = OpenOptions::new()
            .append(true)
            .create(true)
            .mode(0o600)
            .open(path)
            .map_err(fail)?;
        let offset = mbox.metadata().map_err(fail)?.len();
        let write = Unfinished {
            mbox: self.mbox(),
            offset,
            length: quoted.len() as u64,
        };
        self.state.announce(&self.origin.source, first, &write)?;
        mbox.write_all(quoted).map_err(fail)?;
        mbox.sync_all().map_err(fail)?;
        self.state.note(&self.origin.source, ids)
    }

    /// Takes half a message out of an mbox, which a run that died left there. What others appended since is left alone.
    fn finish_what_broke_off(&mut self) -> Result<(), Failure> {
        let name = self.mbox();
        let (Format::Mbox, Some(write)) = (self.format, self.state.unfinished(&name)) else {
            return Ok(());
        };
        let path = self.folder.join(&name);
        if let Ok(mbox) = OpenOptions::new().write(true).open(&path) {
            let fail = |error: std::io::Error| cannot(&path, &error);
            let length = mbox.metadata().map_err(fail)?.len();
            if (write.offset..=write.offset + write.length).contains(&length) {
                mbox.set_len(write.offset).map_err(fail)?;
                mbox.sync_all().map_err(fail)?;
            }
        }
        self.state.note_mended(&name)
    }

    /// Turns the raw message in a temporary file into JSON, in place.
    fn write_json(&self, waiting: &Waiting) -> Result<(), Failure> {
        let path = &waiting.temporary.0;
        let fail = |error: std::io::Error| cannot(path, &error);
        let content = fs::read(path).map_err(fail)?;
        let document = json::message(&self.origin, &waiting.facts, &content);
        fs::write(path, format!("{document}\n")).map_err(fail)
    }
}

impl Incoming {
    /// A message that is not to be stored.
    pub(crate) fn in_memory() -> Self {
        Self {
            sink: Sink::Memory(Vec::new()),
            unix: false,
            held: false,
            in_memory: true,
            octets: 0,
        }
    }

    /// What has come of a message that is not to be stored.
    pub(crate) fn memory(&self) -> &[u8] {
        match &self.sink {
            Sink::Memory(octets) => octets,
            Sink::File(..) => &[],
        }
    }

    /// Octets of the message, as they came.
    pub(crate) fn write(&mut self, octets: &[u8]) -> Result<(), Failure> {
        self.octets += octets.len() as u64;
        if self.in_memory && self.octets > MOST_IN_MEMORY {
            return Err(Failure::usage(format!(
                "a message has more than {} MiB, which --output maildir and --output eml alone can keep",
                MOST_IN_MEMORY / 1024 / 1024
            )));
        }
        if self.octets > MOST_OCTETS {
            return Err(Failure::finding(
                "a message does not end: more than 1 GiB of it came, and none of it is kept",
            ));
        }
        let written = if self.unix {
            self.write_unix(octets)
        } else {
            self.sink.write_all(octets)
        };
        written.map_err(|error| Failure::local(format!("cannot write a message: {error}")))
    }

    fn write_unix(&mut self, octets: &[u8]) -> std::io::Result<()> {
        let mut rest = octets;
        while let Some(first) = rest.first() {
            if std::mem::take(&mut self.held) && *first != b'\n' {
                self.sink.write_all(b"\r")?;
            }
            let end = rest.iter().position(|octet| *octet == b'\r');
            let Some(end) = end else {
                return self.sink.write_all(rest);
            };
            self.sink.write_all(&rest[..end])?;
            self.held = true;
            rest = &rest[end + 1..];
        }
        Ok(())
    }

    fn end(mut self, facts: Facts) -> Result<Option<Waiting>, Failure> {
        let fail =
            |error: std::io::Error| Failure::local(format!("cannot write a message: {error}"));
        if self.held {
            self.sink.write_all(b"\r").map_err(fail)?;
        }
        let Sink::File(temporary, file) = self.sink else {
            return Ok(None);
        };
        let file = file
            .into_inner()
            .map_err(|error| fail(error.into_error()))?;
        if let Some(date) = facts.date {
            // The date is a convenience: a file system that cannot keep it is no reason to lose the message.
            let _ = file.set_modified(date);
        }
        Ok(Some(Waiting { facts, temporary }))
    }
}

fn cannot(path: &Path, error: &std::io::Error) -> Failure {
    Failure::local(format!("cannot write {}: {error}", path.display()))
}

fn make(folder: &Path) -> Result<(), Failure> {
    std::fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(folder)
        .map_err(|error| cannot(folder, &error))
}

fn by_name_without_flags(folder: &Path) -> HashMap<String, PathBuf> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    entries
        .filter_map(|entry| {
            let name = entry.file_name().into_string().ok()?;
            Some((name.split(':').next()?.to_owned(), entry.path()))
        })
        .collect()
}

fn maildir_name(name: &str, date: Option<SystemTime>) -> String {
    let seconds = date.and_then(|date| {
        let since = date.duration_since(SystemTime::UNIX_EPOCH);
        since.ok().map(|since| since.as_secs())
    });
    format!("{}.{name}.gatepost", seconds.unwrap_or_default())
}

/// Renames without replacing what is there.
fn rename_as_new(from: &Path, to: &Path) -> std::io::Result<()> {
    use rustix::fs::{CWD, RenameFlags, renameat_with};
    match renameat_with(CWD, from, CWD, to, RenameFlags::NOREPLACE) {
        Ok(()) => Ok(()),
        // Not every file system can. The folder is locked against other runs.
        Err(rustix::io::Errno::INVAL | rustix::io::Errno::NOSYS) => {
            match fs::symlink_metadata(to) {
                Ok(_) => Err(ErrorKind::AlreadyExists.into()),
                Err(_) => fs::rename(from, to),
            }
        }
        Err(error) => Err(error.into()),
    }
}

/// Whether two files hold the same octets. A link or a pipe that somebody has put there holds nothing.
fn is_same(one: &Path, other: &Path) -> std::io::Result<bool> {
    if !fs::symlink_metadata(other).is_ok_and(|it| it.is_file()) {
        return Ok(false);
    }
    let (one, other) = (File::open(one)?, File::open(other)?);
    if one.metadata()?.len() != other.metadata()?.len() {
        return Ok(false);
    }
    let (one, other) = (BufReader::new(one), BufReader::new(other));
    for pair in one.bytes().zip(other.bytes()) {
        if pair.0? != pair.1? {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Names on the server are the server's words: only letters, digits and a few signs get into file names.
pub(crate) fn plain(text: &str) -> String {
    let mut name: String = text
        .bytes()
        .map(|octet| {
            if octet.is_ascii_alphanumeric() || b"-_@+".contains(&octet) {
                char::from(octet).to_string()
            } else {
                format!("%{octet:02x}")
            }
        })
        .collect();
    if name.len() > 100 {
        // Long names keep their beginning and the hash of the whole, which no two share.
        let hash = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, text.as_bytes());
        name.truncate(80);
        for octet in &hash.as_ref()[..8] {
            name.push_str(&format!("{octet:02x}"));
        }
    }
    name
}

/// Flags as Maildir's letters, in ASCII order as its standard wants.
fn letters(flags: &[String]) -> String {
    let has = |name: &str| flags.iter().any(|flag| flag.eq_ignore_ascii_case(name));
    [
        ("D", "\\Draft"),
        ("F", "\\Flagged"),
        ("P", "$Forwarded"),
        ("R", "\\Answered"),
        ("S", "\\Seen"),
        ("T", "\\Deleted"),
    ]
    .into_iter()
    .filter(|(_, flag)| has(flag))
    .map(|(letter, _)| letter)
    .collect()
}

/// A message as it stands in an mbox (mboxrd): a separator line, `>` before lines that look like one, an empty line.
fn quote_for_mbox(waiting: &Waiting, out: &mut Vec<u8>) -> std::io::Result<()> {
    let mut file = File::open(&waiting.temporary.0)?;
    file.rewind()?;
    let mut reader = BufReader::new(file);
    let date = waiting.facts.date.unwrap_or_else(SystemTime::now);
    out.extend_from_slice(format!("From MAILER-DAEMON {}\n", date::asctime(date)).as_bytes());
    let seen = waiting
        .facts
        .flags
        .iter()
        .any(|flag| flag.eq_ignore_ascii_case("\\Seen"));
    let mut line = Vec::new();
    let mut first = true;
    while reader.read_until(b'\n', &mut line)? > 0 {
        if first && seen {
            out.extend_from_slice(b"Status: RO\n");
        }
        first = false;
        let quotes = line.iter().take_while(|octet| **octet == b'>').count();
        if line[quotes..].starts_with(b"From ") {
            out.push(b'>');
        }
        out.extend_from_slice(&line);
        line.clear();
    }
    if !out.ends_with(b"\n") {
        out.push(b'\n');
    }
    out.push(b'\n');
    Ok(())
}

#[cfg(test)]
mod tests;
