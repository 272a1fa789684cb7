//! A mailbox in memory for tests of IMAP sessions: small, plain, and shared between sessions.
//!
//! It keeps flags, modification sequences and vanished messages truly, so that two sessions on one mailbox can be compared
//! with the standard; it knows nothing of MIME and searches only what the tests need.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;

use gatepost_wire::imap::ask::{
    Answer, Append, Ask, Changed, Changes, Copied, Criterion, Datum, FlagChange, Flags, Found,
    InternalDate, Item, Mailbox, ModSeq, Quota, Refusal, Row, Rows, SectionText, Selected, SortBy,
    SortKey, SpecialUse, Status, StoreOutcome, SystemFlag, Threaded, Uid,
};
use gatepost_wire::sasl::{AccountAnswer, AccountAsk, Attempt};

/// The password of every user.
pub const PASSWORD: &str = "sesame";

/// The largest piece of rows given at once, so that sessions must ask again.
const ROWS: usize = 2;

#[derive(Clone)]
struct Message {
    uid: Uid,
    flags: Flags,
    date: InternalDate,
    modseq: ModSeq,
    content: Vec<u8>,
}

#[derive(Clone)]
struct Folder {
    uidvalidity: u32,
    uidnext: Uid,
    messages: Vec<Message>,
    vanished: Vec<(Uid, ModSeq)>,
    subscribed: bool,
    special_use: Option<SpecialUse>,
}

impl Folder {
    fn new(uidvalidity: u32, special_use: Option<SpecialUse>) -> Self {
        Self {
            uidvalidity,
            uidnext: 1,
            messages: Vec::new(),
            vanished: Vec::new(),
            subscribed: false,
            special_use,
        }
    }

    fn add(&mut self, flags: Flags, date: InternalDate, content: Vec<u8>, modseq: ModSeq) -> Uid {
        let uid = self.uidnext;
        self.uidnext += 1;
        self.messages.push(Message {
            uid,
            flags,
            date,
            modseq,
            content,
        });
        uid
    }

    fn get(&self, uid: Uid) -> Option<&Message> {
        self.messages.iter().find(|it| it.uid == uid)
    }

    /// The modification sequence of this mailbox alone.
    fn highest(&self) -> ModSeq {
        let messages = self.messages.iter().map(|it| it.modseq);
        let vanished = self.vanished.iter().map(|it| it.1);
        messages.chain(vanished).max().unwrap_or(1)
    }

    fn remove(&mut self, uids: &[Uid], modseq: ModSeq) {
        self.messages.retain(|it| !uids.contains(&it.uid));
        self.vanished.extend(uids.iter().map(|uid| (*uid, modseq)));
    }
}

#[derive(Clone)]
struct World {
    folders: BTreeMap<String, Folder>,
    modseq: ModSeq,
    asked: Vec<String>,
    torn: bool,
}

/// All mail of the one user.
#[derive(Clone)]
pub struct Maildrop(Rc<RefCell<World>>);

/// A session's own access to a [`Maildrop`].
pub struct Access {
    maildrop: Maildrop,
    selected: Option<String>,
    /// The messages being appended, the last one perhaps not whole.
    append: Vec<(Append, Vec<u8>)>,
}

impl Default for Maildrop {
    fn default() -> Self {
        let mut folders = BTreeMap::new();
        folders.insert("INBOX".to_owned(), Folder::new(1, None));
        folders.insert("Sent".to_owned(), Folder::new(2, Some(SpecialUse::Sent)));
        Self(Rc::new(RefCell::new(World {
            folders,
            modseq: 1,
            asked: Vec::new(),
            torn: false,
        })))
    }
}

impl Maildrop {
    /// With messages in INBOX, UIDs from 1.
    pub fn with(messages: &[&str]) -> Self {
        let maildrop = Self::default();
        for message in messages {
            maildrop.deliver(message.as_bytes());
        }
        maildrop
    }

    /// A message comes into INBOX.
    pub fn deliver(&self, content: &[u8]) {
        let mut world = self.0.borrow_mut();
        world.modseq += 1;
        let modseq = world.modseq;
        let date = InternalDate {
            unix: 837_595_793,
            offset_minutes: -420,
        };
        world
            .folder("INBOX")
            .add(Flags::default(), date, content.to_vec(), modseq);
    }

    /// Another session's access.
    pub fn access(&self) -> Access {
        Access {
            maildrop: self.clone(),
            selected: None,
            append: Vec::new(),
        }
    }

    /// Keeps mail in a mailbox that a client has not opened.
    pub fn deliver_to(&self, mailbox: &str, content: &[u8]) {
        let mut world = self.0.borrow_mut();
        let modseq = world.bump();
        let date = InternalDate {
            unix: 0,
            offset_minutes: 0,
        };
        let folder = world.folder(mailbox);
        folder.add(Flags::default(), date, content.to_vec(), modseq);
    }

    /// From now on reading a stored message gives less than was asked for.
    pub fn tear(&self) {
        self.0.borrow_mut().torn = true;
    }

    /// What was asked so far: the names of the questions.
    pub fn asked(&self) -> Vec<String> {
        self.0.borrow().asked.clone()
    }

    /// The content of the messages in a mailbox.
    pub fn contents(&self, mailbox: &str) -> Vec<Vec<u8>> {
        self.0
            .borrow_mut()
            .folder(mailbox)
            .messages
            .iter()
            .map(|it| it.content.clone())
            .collect()
    }
}

impl World {
    fn folder(&mut self, name: &str) -> &mut Folder {
        self.folders
            .get_mut(name)
            .expect("the test names a mailbox that exists")
    }

    fn bump(&mut self) -> ModSeq {
        self.modseq += 1;
        self.modseq
    }
}

impl Access {
    /// Answers a question.
    pub fn handle(&mut self, ask: Ask) -> Answer {
        let name = format!("{ask:?}");
        let end = name
            .find(|it: char| !it.is_alphanumeric())
            .unwrap_or(name.len());
        let maildrop = self.maildrop.clone();
        let world = &mut *maildrop.0.borrow_mut();
        world.asked.push(name[..end].to_owned());
        match ask {
            Ask::Account(ask) => Answer::Account(account(ask)),
            Ask::AppendBegin(_) | Ask::AppendContent(_) | Ask::AppendCommit | Ask::AppendAbort => {
                self.append(world, ask)
            }
            Ask::List => Answer::Mailboxes(Ok(list(world))),
            Ask::Status { mailbox, .. } => Answer::Status(status(world, &mailbox)),
            Ask::Quota { mailbox } => {
                let there = mailbox.is_none_or(|it| world.folders.contains_key(&it));
                let quota = Quota {
                    used: 10_241,
                    limit: Some(512 * 1024),
                };
                Answer::Quota(there.then_some(quota).ok_or(Refusal::NoSuchMailbox))
            }
            Ask::Watch { .. } => Answer::Done,
            Ask::Overview => {
                let status = |it: Mailbox| {
                    let mut status = status(world, &it.name).ok();
                    if let (Some(status), Some(folder)) = (&mut status, world.folders.get(&it.name))
                    {
                        status.highest_modseq = folder.highest();
                    }
                    (it, status)
                };
                Answer::Overview(Ok(list(world).into_iter().map(status).collect()))
            }
            Ask::Create {
                mailbox,
                special_use,
            } => Answer::Checked(create(world, mailbox, special_use)),
            Ask::Delete { mailbox } => Answer::Checked(match mailbox.as_str() {
                "INBOX" => Err(Refusal::Cannot),
                _ => world
                    .folders
                    .remove(&mailbox)
                    .map(|_| ())
                    .ok_or(Refusal::NoSuchMailbox),
            }),
            Ask::Rename { from, to } => {
                // A mailbox stays selected under its new name.
                if self.selected.as_ref() == Some(&from) {
                    self.selected = Some(to.clone());
                }
                Answer::Checked(rename(world, &from, to))
            }
            Ask::Subscribe {
                mailbox,
                subscribed,
            } => Answer::Checked(match world.folders.get_mut(&mailbox) {
                Some(folder) => {
                    folder.subscribed = subscribed;
                    Ok(())
                }
                None => Err(Refusal::NoSuchMailbox),
            }),
            Ask::Select { mailbox, read_only } => self.select(world, mailbox, read_only),
            other => self.selected(world, other),
        }
    }

    fn select(&mut self, world: &mut World, mailbox: String, read_only: bool) -> Answer {
        let highest_modseq = world.modseq;
        let Some(folder) = world.folders.get(&mailbox) else {
            return Answer::Selected(Err(Refusal::NoSuchMailbox));
        };
        self.selected = Some(mailbox);
        Answer::Selected(Ok(Selected {
            uids: folder.messages.iter().map(|it| it.uid).collect(),
            uidvalidity: folder.uidvalidity,
            uidnext: folder.uidnext,
            highest_modseq,
            first_unseen: folder
                .messages
                .iter()
                .find(|it| !it.flags.seen)
                .map(|it| it.uid),
            keywords: folder
                .messages
                .iter()
                .flat_map(|it| it.flags.keywords.clone())
                .collect(),
            mailbox_id: format!("F{}", folder.uidvalidity).into(),
            read_only,
        }))
    }

    fn selected(&mut self, world: &mut World, ask: Ask) -> Answer {
        if ask == Ask::Unselect {
            self.selected = None;
            return Answer::Done;
        }
        let name = self.selected.clone().expect("a mailbox is selected");
        match ask {
            Ask::Changes { .. } if !world.folders.contains_key(&name) => {
                Answer::Changes(Err(Refusal::Gone))
            }
            Ask::Changes { since } => Answer::Changes(Ok(changes(world, &name, since))),
            Ask::Fetch {
                uids,
                items,
                mark_seen,
            } => Answer::Rows(Ok(rows(world, &name, &uids, &items, mark_seen))),
            Ask::Read {
                uid,
                offset,
                length,
            } => Answer::Octets(read(world, &name, uid, offset, length)),
            Ask::Search { criteria, among } => {
                Answer::Found(Ok(search(world, &name, &criteria, &among)))
            }
            Ask::Sort {
                by,
                criteria,
                among,
            } => {
                let mut found = search(world, &name, &criteria, &among);
                sort(world.folder(&name), &by, &mut found.uids);
                Answer::Found(Ok(found))
            }
            Ask::Thread {
                criteria, among, ..
            } => {
                // Every second message replies to the one before.
                let found = search(world, &name, &criteria, &among).uids;
                let threads = found.iter().enumerate().map(|(at, uid)| Threaded {
                    uid: Some(*uid),
                    depth: u32::from(at % 2 == 1),
                });
                Answer::Threads(Ok(threads.collect()))
            }
            Ask::Store {
                uids,
                change,
                unchanged_since,
            } => Answer::Stored(Ok(store(world, &name, &uids, &change, unchanged_since))),
            Ask::Copy { uids, to, remove } => {
                Answer::Copied(copy(world, &name, &uids, &to, remove))
            }
            Ask::Expunge { only } => {
                let modseq = world.bump();
                let folder = world.folder(&name);
                let marked = folder
                    .messages
                    .iter()
                    .filter(|it| it.flags.deleted)
                    .map(|it| it.uid);
                let uids: Vec<Uid> = marked
                    .filter(|uid| only.as_ref().is_none_or(|only| only.contains(uid)))
                    .collect();
                folder.remove(&uids, modseq);
                Answer::Expunged(Ok(uids))
            }
            other => panic!("not a question about messages: {other:?}"),
        }
    }

    fn append(&mut self, world: &mut World, ask: Ask) -> Answer {
        match ask {
            Ask::AppendBegin(append) => {
                let refusal = if append.mailbox == "Full" {
                    Some(Refusal::OverQuota)
                } else if world.folders.contains_key(&append.mailbox) {
                    None
                } else {
                    Some(Refusal::NoSuchMailbox)
                };
                match refusal {
                    None => self.append.push((append, Vec::new())),
                    Some(_) => self.append.clear(),
                }
                Answer::Checked(refusal.map_or(Ok(()), Err))
            }
            Ask::AppendContent(octets) => {
                let (_, content) = self.append.last_mut().expect("an append has begun");
                content.extend_from_slice(&octets);
                Answer::Checked(if content.starts_with(b"refuse") {
                    Err(Refusal::Unavailable)
                } else {
                    Ok(())
                })
            }
            Ask::AppendCommit => Answer::Appended(self.keep(world)),
            _ => {
                self.append.clear();
                Answer::Done
            }
        }
    }

    fn keep(&mut self, world: &mut World) -> Result<(u32, Vec<Uid>), Refusal> {
        let (mut uidvalidity, mut uids) = (0, Vec::new());
        for (append, content) in std::mem::take(&mut self.append) {
            assert_eq!(content.len() as u64, append.size, "all of the message came");
            let modseq = world.bump();
            if let (Some(old), Some(name)) = (append.replaces, &self.selected) {
                let folder = world.folder(name);
                if folder.get(old).is_none() {
                    return Err(Refusal::Expunged);
                }
                folder.remove(&[old], modseq);
            }
            let date = append.date.unwrap_or(InternalDate {
                unix: 0,
                offset_minutes: 0,
            });
            let folder = world.folder(&append.mailbox);
            uids.push(folder.add(append.flags, date, content, modseq));
            uidvalidity = folder.uidvalidity;
        }
        assert!(!uids.is_empty(), "an append has begun");
        Ok((uidvalidity, uids))
    }
}

fn account(ask: AccountAsk) -> AccountAnswer {
    match ask {
        AccountAsk::Login(Attempt::Password { user, password, .. })
            if password.expose() == PASSWORD =>
        {
            AccountAnswer::Granted {
                account: user.into(),
            }
        }
        AccountAsk::Login(Attempt::Password { user, .. }) if user == "later" => {
            AccountAnswer::Unavailable
        }
        AccountAsk::Login(_) | AccountAsk::ScramKeys { .. } => AccountAnswer::Denied,
    }
}

fn list(world: &World) -> Vec<Mailbox> {
    let mailbox = |(name, folder): (&String, &Folder)| Mailbox {
        name: name.clone(),
        subscribed: folder.subscribed,
        exists: true,
        special_use: folder.special_use,
    };
    world.folders.iter().map(mailbox).collect()
}

fn status(world: &World, mailbox: &str) -> Result<Status, Refusal> {
    let folder = world.folders.get(mailbox).ok_or(Refusal::NoSuchMailbox)?;
    let count = |wanted: fn(&Message) -> bool| {
        u32::try_from(folder.messages.iter().filter(|it| wanted(it)).count())
    };
    Ok(Status {
        messages: count(|_| true).expect("few messages"),
        unseen: count(|it| !it.flags.seen).expect("few messages"),
        deleted: count(|it| it.flags.deleted).expect("few messages"),
        size: folder
            .messages
            .iter()
            .map(|it| it.content.len() as u64)
            .sum(),
        uidnext: folder.uidnext,
        uidvalidity: folder.uidvalidity,
        highest_modseq: world.modseq,
        mailbox_id: format!("F{}", folder.uidvalidity).into(),
        deleted_size: Some(0),
    })
}

fn create(
    world: &mut World,
    mailbox: String,
    special_use: Option<SpecialUse>,
) -> Result<(), Refusal> {
    if world.folders.contains_key(&mailbox) {
        return Err(Refusal::AlreadyExists);
    }
    let uidvalidity = 10 + u32::try_from(world.folders.len()).expect("few mailboxes");
    world
        .folders
        .insert(mailbox, Folder::new(uidvalidity, special_use));
    Ok(())
}

fn rename(world: &mut World, from: &str, to: String) -> Result<(), Refusal> {
    if world.folders.contains_key(&to) {
        return Err(Refusal::AlreadyExists);
    }
    let folder = world.folders.remove(from).ok_or(Refusal::NoSuchMailbox)?;
    world.folders.insert(to, folder);
    Ok(())
}

fn changes(world: &mut World, name: &str, since: ModSeq) -> Changes {
    let highest_modseq = world.modseq;
    let folder = world.folder(name);
    let mut vanished: Vec<Uid> = folder
        .vanished
        .iter()
        .filter(|it| it.1 > since)
        .map(|it| it.0)
        .collect();
    vanished.sort_unstable();
    let changed = folder
        .messages
        .iter()
        .filter(|it| it.modseq > since)
        .map(told)
        .collect();
    Changes {
        vanished,
        changed,
        highest_modseq,
    }
}

fn told(message: &Message) -> Changed {
    Changed {
        uid: message.uid,
        flags: message.flags.clone(),
        modseq: message.modseq,
    }
}

fn rows(world: &mut World, name: &str, uids: &[Uid], items: &[Item], mark_seen: bool) -> Rows {
    let asked = &uids[..uids.len().min(ROWS)];
    let mut rows = Vec::new();
    for uid in asked {
        let next = world.modseq + 1;
        let folder = world.folder(name);
        let Some(message) = folder.messages.iter_mut().find(|it| it.uid == *uid) else {
            continue;
        };
        let newly_seen = mark_seen && !message.flags.seen;
        if newly_seen {
            message.flags.seen = true;
            message.modseq = next;
        }
        let data = items.iter().map(|item| datum(message, item)).collect();
        let (flags, modseq) = (message.flags.clone(), message.modseq);
        rows.push(Row {
            uid: *uid,
            flags,
            modseq,
            newly_seen,
            data,
        });
        if newly_seen {
            world.modseq = next;
        }
    }
    Rows {
        rows,
        answered: asked.len(),
    }
}

fn datum(message: &Message, item: &Item) -> Datum {
    let content = &message.content;
    let split = content
        .windows(4)
        .position(|it| it == b"\r\n\r\n")
        .map_or(content.len(), |at| at + 4);
    match item {
        Item::Flags | Item::ModSeq => Datum::InRow,
        Item::InternalDate | Item::SaveDate => Datum::Date(message.date),
        Item::Size | Item::BinarySize { .. } => Datum::Number(content.len() as u64),
        Item::EmailId => Datum::ObjectId(format!("M{}", message.uid).into()),
        Item::Section(section) if !section.part.is_empty() => Datum::Nil,
        Item::Section(section) => match (&section.text, section.partial) {
            (SectionText::All, None) => Datum::Stored {
                offset: 0,
                length: content.len() as u64,
            },
            (SectionText::Text, None) => Datum::Stored {
                offset: split as u64,
                length: (content.len() - split) as u64,
            },
            (SectionText::All, Some((start, count))) => {
                let from = content.len().min(start as usize);
                let to = content.len().min(from + count as usize);
                Datum::Bytes(content[from..to].to_vec())
            }
            _ => Datum::Bytes(content[..split].to_vec()),
        },
        Item::Binary { part, .. } if part.is_empty() => Datum::Bytes(content.clone()),
        Item::Binary { .. } => Datum::UnknownEncoding,
        Item::Preview => Datum::Bytes(content[split..].trim_ascii().to_vec()),
        Item::Envelope | Item::BodyStructure { .. } => Datum::Nil,
    }
}

fn read(
    world: &mut World,
    name: &str,
    uid: Uid,
    offset: u64,
    length: u32,
) -> Result<Vec<u8>, Refusal> {
    let torn = world.torn;
    let message = world.folder(name).get(uid).ok_or(Refusal::Unavailable)?;
    let rest = message
        .content
        .get(usize::try_from(offset).expect("small")..)
        .unwrap_or_default();
    let wanted = rest.len().min(length as usize);
    Ok(rest[..if torn { wanted / 2 } else { wanted }].to_vec())
}

fn search(world: &mut World, name: &str, criteria: &Criterion, among: &[Uid]) -> Found {
    let folder = world.folder(name);
    let matching: Vec<&Message> = folder
        .messages
        .iter()
        .filter(|it| among.contains(&it.uid) && matches(it, criteria))
        .collect();
    Found {
        uids: matching.iter().map(|it| it.uid).collect(),
        modseq: matching.iter().map(|it| it.modseq).max(),
    }
    .only_if(mentions_modseq(criteria))
}

/// By size or by the whole text, which is as good as by subject.
fn sort(folder: &Folder, by: &[SortKey], uids: &mut [Uid]) {
    uids.sort_by(|one, other| {
        let (one, other) = (folder.get(*one), folder.get(*other));
        let mut order = std::cmp::Ordering::Equal;
        for key in by {
            let next = match key.by {
                SortBy::Size => one
                    .map(|it| it.content.len())
                    .cmp(&other.map(|it| it.content.len())),
                _ => one.map(|it| &it.content).cmp(&other.map(|it| &it.content)),
            };
            order = order.then(if key.reverse { next.reverse() } else { next });
        }
        order
    });
}

trait OnlyIf {
    fn only_if(self, modseq: bool) -> Self;
}

impl OnlyIf for Found {
    fn only_if(mut self, modseq: bool) -> Self {
        self.modseq = self.modseq.filter(|_| modseq);
        self
    }
}

fn mentions_modseq(criteria: &Criterion) -> bool {
    match criteria {
        Criterion::ModSeq(_) => true,
        Criterion::And(all) => all.iter().any(mentions_modseq),
        Criterion::Not(one) => mentions_modseq(one),
        Criterion::Or(one, other) => mentions_modseq(one) || mentions_modseq(other),
        _ => false,
    }
}

fn matches(message: &Message, criteria: &Criterion) -> bool {
    let text = String::from_utf8_lossy(&message.content).to_lowercase();
    match criteria {
        Criterion::All | Criterion::Older(_) | Criterion::SavedSince(_) => true,
        Criterion::And(all) => all.iter().all(|it| matches(message, it)),
        Criterion::Or(one, other) => matches(message, one) || matches(message, other),
        Criterion::Not(one) => !matches(message, one),
        Criterion::Uids(ranges) => ranges
            .iter()
            .any(|(low, high)| (*low..=*high).contains(&message.uid)),
        Criterion::Flag(SystemFlag::Seen) => message.flags.seen,
        Criterion::Flag(SystemFlag::Answered) => message.flags.answered,
        Criterion::Flag(SystemFlag::Flagged) => message.flags.flagged,
        Criterion::Flag(SystemFlag::Deleted) => message.flags.deleted,
        Criterion::Flag(SystemFlag::Draft) => message.flags.draft,
        Criterion::Keyword(keyword) => message.flags.keywords.contains(keyword),
        Criterion::Header(_, wanted) | Criterion::Body(wanted) | Criterion::Text(wanted) => {
            text.contains(&wanted.to_lowercase())
        }
        Criterion::Larger(size) => message.content.len() as u64 > *size,
        Criterion::Smaller(size) => (message.content.len() as u64) < *size,
        Criterion::Younger(_) | Criterion::SavedBefore(_) | Criterion::SavedOn(_) => false,
        Criterion::ModSeq(modseq) => message.modseq >= *modseq,
        Criterion::EmailId(id) => **id == format!("M{}", message.uid),
        other => panic!("the mailbox of the tests does not search by {other:?}"),
    }
}

fn store(
    world: &mut World,
    name: &str,
    uids: &[Uid],
    change: &FlagChange,
    unless: Option<ModSeq>,
) -> StoreOutcome {
    let modseq = world.bump();
    let mut outcome = StoreOutcome::default();
    for message in world
        .folder(name)
        .messages
        .iter_mut()
        .filter(|it| uids.contains(&it.uid))
    {
        if unless.is_some_and(|since| message.modseq > since) {
            outcome.modified.push(message.uid);
            continue;
        }
        let before = message.flags.clone();
        match change {
            FlagChange::Replace(flags) => message.flags = flags.clone(),
            FlagChange::Add(flags) => set(&mut message.flags, flags, true),
            FlagChange::Remove(flags) => set(&mut message.flags, flags, false),
        }
        if message.flags != before {
            message.modseq = modseq;
            outcome.made = vec![modseq];
        }
        outcome.changed.push(told(message));
    }
    outcome
}

fn set(flags: &mut Flags, these: &Flags, to: bool) {
    for (flag, chosen) in [
        (&mut flags.seen, these.seen),
        (&mut flags.answered, these.answered),
        (&mut flags.flagged, these.flagged),
        (&mut flags.deleted, these.deleted),
        (&mut flags.draft, these.draft),
    ] {
        if chosen {
            *flag = to;
        }
    }
    for keyword in &these.keywords {
        if to {
            flags.keywords.insert(keyword.clone());
        } else {
            flags.keywords.remove(keyword);
        }
    }
}

fn copy(
    world: &mut World,
    name: &str,
    uids: &[Uid],
    to: &str,
    remove: bool,
) -> Result<Copied, Refusal> {
    if !world.folders.contains_key(to) {
        return Err(Refusal::NoSuchMailbox);
    }
    let modseq = world.bump();
    let chosen = world
        .folder(name)
        .messages
        .iter()
        .filter(|it| uids.contains(&it.uid));
    let messages: Vec<Message> = chosen.cloned().collect();
    let target = world.folder(to);
    let uidvalidity = target.uidvalidity;
    let pairs: Vec<(Uid, Uid)> = messages
        .into_iter()
        .map(|it| (it.uid, target.add(it.flags, it.date, it.content, modseq)))
        .collect();
    if remove {
        let from: Vec<Uid> = pairs.iter().map(|pair| pair.0).collect();
        world.folder(name).remove(&from, modseq);
    }
    Ok(Copied {
        uidvalidity,
        uids: pairs,
    })
}
