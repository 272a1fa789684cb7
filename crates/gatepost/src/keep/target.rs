//! Where messages are written to: a Maildir++, mbox files, or folders of .eml files.
//!
//! A message gets its name only when it is whole and durable, and the name says which message it is (UIDVALIDITY and UID): an export
//! that broke off goes on, and nothing is there twice. An mbox gets its name when the whole mailbox is in it.

use std::collections::HashMap;
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use gatepost_store::Message;
use serde_json::json;

use super::letter::{flag_names, system_time, to_lf};
use super::source::FLAGS;
use super::{mbox, names};

/// The form of an export.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Format {
    /// Maildir++.
    Maildir,
    /// An mbox for each mailbox.
    Mbox,
    /// A folder for each mailbox.
    Eml,
}

/// Files made durable together.
const BATCH: usize = 64;
/// Octets of an mbox written at a time.
const PORTION: usize = 4 << 20;
/// Keywords that a Maildir can tell, by letter.
const MOST_KEYWORDS: usize = 26;

/// One mailbox's place in the target.
pub(crate) struct Target {
    format: Format,
    /// Maildir: the folder with `cur`; mbox: the file; eml: the folder.
    path: PathBuf,
    validity: u32,
    /// Messages that are there already, by their names without flags.
    present: HashMap<String, PathBuf>,
    /// Temporary names and names of what is written and not yet durable.
    waiting: Vec<(PathBuf, PathBuf)>,
    keywords: Vec<String>,
    /// Keywords that have no letter any more.
    pub(crate) too_many_keywords: bool,
    mbox: Option<(File, Vec<u8>)>,
    notes: String,
}

impl Target {
    /// Opens or makes the place of a mailbox. `None`: an mbox that is there, and stays as it is.
    pub(crate) fn open(
        format: Format,
        root: &Path,
        mailbox: &str,
        validity: u32,
    ) -> io::Result<Option<Self>> {
        let path = place(format, root, mailbox);
        let mut target = Self {
            format,
            validity,
            present: HashMap::new(),
            waiting: Vec::new(),
            keywords: Vec::new(),
            too_many_keywords: false,
            mbox: None,
            notes: String::new(),
            path,
        };
        match format {
            Format::Maildir => target.open_maildir()?,
            Format::Eml => {
                make(&target.path)?;
                target.look_at(&target.path.clone())?;
            }
            Format::Mbox if target.path.exists() => return Ok(None),
            Format::Mbox => {
                make(target.path.parent().unwrap_or(root))?;
                let file = private(&part(&target.path))?;
                target.mbox = Some((file, Vec::new()));
            }
        }
        Ok(Some(target))
    }

    fn open_maildir(&mut self) -> io::Result<()> {
        for part in ["tmp", "new", "cur"] {
            make(&self.path.join(part))?;
        }
        // How others know a folder of a Maildir++.
        private(&self.path.join("maildirfolder"))?;
        for part in ["new", "cur"] {
            self.look_at(&self.path.join(part))?;
        }
        let known = fs::read_to_string(self.path.join("dovecot-keywords")).unwrap_or_default();
        for line in known.lines() {
            if let Some((_, name)) = line.split_once(' ') {
                self.keywords.push(name.to_owned());
            }
        }
        Ok(())
    }

    fn look_at(&mut self, folder: &Path) -> io::Result<()> {
        for entry in fs::read_dir(folder)? {
            let path = entry?.path();
            if let Some(name) = path.file_name().and_then(|name| name.to_str()) {
                let stem = name.split(':').next().unwrap_or(name).to_owned();
                self.present.insert(stem, path);
            }
        }
        Ok(())
    }

    /// Whether a message is there already. Flags that changed since are brought up to date.
    pub(crate) fn has(&mut self, message: &Message) -> io::Result<bool> {
        let name = self.name(message);
        match self.format {
            Format::Mbox => Ok(false),
            Format::Eml => {
                self.note(&name, message);
                Ok(self.present.contains_key(&name))
            }
            Format::Maildir => {
                let Some(old) = self.present.get(&name).cloned() else {
                    return Ok(false);
                };
                let new = self.path.join("cur").join(self.with_flags(&name, message));
                if old != new {
                    fs::rename(&old, &new)?;
                    self.present.insert(name, new);
                }
                Ok(true)
            }
        }
    }

    /// Writes a message.
    pub(crate) fn write(&mut self, message: &Message, octets: &[u8]) -> io::Result<()> {
        let date = system_time(message.date);
        if let Some((file, waiting)) = &mut self.mbox {
            mbox::write(octets, &message.flags, date, waiting);
            if waiting.len() >= PORTION {
                file.write_all(waiting)?;
                waiting.clear();
            }
            return Ok(());
        }
        let name = self.name(message);
        let (temporary, last) = match self.format {
            Format::Maildir => (
                self.path.join("tmp").join(&name),
                self.path.join("cur").join(self.with_flags(&name, message)),
            ),
            _ => (
                self.path.join(format!(".{name}.part")),
                self.path.join(&name),
            ),
        };
        let mut file = private(&temporary)?;
        match self.format {
            Format::Maildir => file.write_all(&to_lf(octets))?,
            _ => file.write_all(octets)?,
        }
        file.set_modified(date)?;
        self.waiting.push((temporary, last));
        if self.waiting.len() >= BATCH {
            self.flush()?;
        }
        Ok(())
    }

    /// Gives everything its name, durable.
    pub(crate) fn finish(mut self) -> io::Result<bool> {
        if let Some((mut file, waiting)) = self.mbox.take() {
            file.write_all(&waiting)?;
            file.sync_all()?;
            // Never over somebody's file, also if it came meanwhile.
            fs::hard_link(part(&self.path), &self.path)?;
            fs::remove_file(part(&self.path))?;
            return Ok(self.too_many_keywords);
        }
        self.flush()?;
        match self.format {
            Format::Eml => self.replace(FLAGS, &self.notes)?,
            _ if !self.keywords.is_empty() => {
                let lines = self.keywords.iter().enumerate();
                let text = lines.fold(String::new(), |text, (index, name)| {
                    text + &format!("{index} {name}\n")
                });
                self.replace("dovecot-keywords", &text)?;
            }
            _ => {}
        }
        Ok(self.too_many_keywords)
    }

    fn replace(&self, name: &str, text: &str) -> io::Result<()> {
        let fresh = self.path.join(format!(".{name}.part"));
        let mut file = private(&fresh)?;
        file.write_all(text.as_bytes())?;
        file.sync_all()?;
        fs::rename(fresh, self.path.join(name))?;
        File::open(&self.path)?.sync_all()
    }

    /// One sync of the file system for many files.
    fn flush(&mut self) -> io::Result<()> {
        if self.waiting.is_empty() {
            return Ok(());
        }
        let folder = File::open(&self.path)?;
        rustix::fs::syncfs(&folder)?;
        for (from, to) in self.waiting.drain(..) {
            fs::rename(from, to)?;
        }
        let changed = match self.format {
            Format::Maildir => self.path.join("cur"),
            _ => self.path.clone(),
        };
        File::open(changed)?.sync_all()
    }

    fn name(&self, message: &Message) -> String {
        match self.format {
            Format::Maildir => format!(
                "{}.V{}U{}.gatepost",
                message.date.unix.max(0),
                self.validity,
                message.uid
            ),
            _ => format!("{}.{}.eml", self.validity, message.uid),
        }
    }

    fn with_flags(&mut self, name: &str, message: &Message) -> String {
        let flags = &message.flags;
        let system = [
            (flags.draft, 'D'),
            (flags.flagged, 'F'),
            (flags.answered, 'R'),
            (flags.seen, 'S'),
            (flags.deleted, 'T'),
        ];
        let mut letters: Vec<char> = system
            .iter()
            .filter(|(set, _)| *set)
            .map(|(_, letter)| *letter)
            .collect();
        for keyword in &flags.keywords {
            if keyword.eq_ignore_ascii_case("$Forwarded") {
                // The letter for most programs, and the keyword for Dovecot, which knows no such letter.
                letters.push('P');
            }
            let known = self
                .keywords
                .iter()
                .position(|it| it.eq_ignore_ascii_case(keyword));
            let index = known.unwrap_or_else(|| {
                self.keywords.push(keyword.to_string());
                self.keywords.len() - 1
            });
            match u8::try_from(index).ok().filter(|_| index < MOST_KEYWORDS) {
                Some(index) => letters.push(char::from(b'a' + index)),
                None => self.too_many_keywords = true,
            }
        }
        // In ASCII order, as Maildir wants.
        letters.sort_unstable();
        format!("{name}:2,{}", letters.into_iter().collect::<String>())
    }

    /// A line of the file with the flags.
    fn note(&mut self, name: &str, message: &Message) {
        let line = json!({
            "file": name, "flags": flag_names(&message.flags), "unix": message.date.unix,
            "offset": message.date.offset_minutes,
        });
        self.notes.push_str(&format!("{line}\n"));
    }
}

/// Where a mailbox goes. Nothing of its name leads out of the target.
fn place(format: Format, root: &Path, mailbox: &str) -> PathBuf {
    let levels = mailbox.split('/');
    match format {
        Format::Maildir if mailbox == "INBOX" => root.to_owned(),
        Format::Maildir => {
            let levels: Vec<String> = levels.map(names::level_to_maildir).collect();
            root.join(format!(".{}", levels.join(".")))
        }
        Format::Mbox => {
            let mut path = levels
                .map(names::level_to_file)
                .fold(root.to_owned(), |path, level| path.join(level))
                .into_os_string();
            path.push(".mbox");
            path.into()
        }
        Format::Eml => levels
            .map(names::level_to_file)
            .fold(root.to_owned(), |path, level| path.join(level)),
    }
}

fn part(path: &Path) -> PathBuf {
    let mut name = std::ffi::OsString::from(".");
    name.push(path.file_name().unwrap_or_default());
    name.push(".part");
    path.with_file_name(name)
}

fn make(folder: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(folder)
}

/// A file for us alone. A link that somebody put in its place is not followed.
fn private(path: &Path) -> io::Result<File> {
    let no_link = rustix::fs::OFlags::NOFOLLOW.bits();
    OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .custom_flags(i32::try_from(no_link).unwrap_or_default())
        .open(path)
}
