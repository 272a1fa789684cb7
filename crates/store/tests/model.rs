//! The store against a model in memory: the same random changes, the same answers.
//!
//! After each change the model and the store are compared in all they tell: LIST, STATUS, SELECT, the messages, and for an
//! observer who syncs by modification sequence now and then, what it knows after [`Store::changes`].

mod common;

use std::collections::{BTreeMap, BTreeSet};

use common::{content, deliver_with, delivery, flags, wait, with_account};
use gatepost_store::{AccountId, Error, MailboxId, Store};
use gatepost_wire::imap::ask::{FlagChange, Flags};
use proptest::prelude::*;

const NAMES: [&str; 5] = ["INBOX", "Archive", "a", "a/b", "c/d/e"];
const KEYWORDS: [&str; 3] = ["$One", "two", "Three"];

#[derive(Debug, Clone)]
enum Step {
    Deliver(usize, Flags, u16),
    /// To two mailboxes at once; one of them may not be there.
    DeliverTwice(usize, usize),
    Store(usize, Vec<u32>, FlagChange, Option<u64>),
    Copy(usize, Vec<u32>, usize, bool),
    Expunge(usize, Option<Vec<u32>>),
    Remove(usize, Vec<u32>),
    Create(usize),
    Delete(usize),
    Rename(usize, usize),
    Sync(usize),
    Reopen,
}

fn some_flags() -> impl Strategy<Value = Flags> {
    (
        any::<bool>(),
        any::<bool>(),
        prop::collection::vec(0..KEYWORDS.len(), 0..3),
    )
        .prop_map(|(seen, deleted, keywords)| {
            flags(
                seen,
                deleted,
                &keywords
                    .iter()
                    .map(|&keyword| KEYWORDS[keyword])
                    .collect::<Vec<_>>(),
            )
        })
}

fn uids() -> impl Strategy<Value = Vec<u32>> {
    prop::collection::vec(1_u32..7, 0..6)
}

fn step() -> impl Strategy<Value = Step> {
    // INBOX more often than the others: it is always there.
    let name = || prop_oneof![1 => Just(0), 1 => 0..NAMES.len()];
    let change = prop_oneof![
        some_flags().prop_map(FlagChange::Replace),
        some_flags().prop_map(FlagChange::Add),
        some_flags().prop_map(FlagChange::Remove),
    ];
    prop_oneof![
        6 => (name(), some_flags(), 0_u16..3000).prop_map(|(name, flags, size)| Step::Deliver(name, flags, size)),
        2 => (name(), name()).prop_map(|(one, two)| Step::DeliverTwice(one, two)),
        4 => (name(), uids(), change, prop::option::of(1_u64..12))
            .prop_map(|(name, uids, change, since)| Step::Store(name, uids, change, since)),
        4 => (name(), uids(), name(), any::<bool>()).prop_map(|(from, uids, to, remove)| Step::Copy(from, uids, to, remove)),
        2 => (name(), prop::option::of(uids())).prop_map(|(name, only)| Step::Expunge(name, only)),
        1 => (name(), uids()).prop_map(|(name, uids)| Step::Remove(name, uids)),
        2 => name().prop_map(Step::Create),
        1 => name().prop_map(Step::Delete),
        2 => (name(), name()).prop_map(|(from, to)| Step::Rename(from, to)),
        4 => name().prop_map(Step::Sync),
        1 => Just(Step::Reopen),
    ]
}

#[derive(Debug, Clone, PartialEq)]
struct Mail {
    flags: Flags,
    content: Vec<u8>,
    modseq: u64,
}

#[derive(Debug, Clone)]
struct Folder {
    id: MailboxId,
    uidvalidity: u32,
    uidnext: u32,
    modseq: u64,
    mails: BTreeMap<u32, Mail>,
}

impl Folder {
    fn add(&mut self, flags: Flags, content: Vec<u8>) -> u32 {
        let uid = self.uidnext;
        self.uidnext += 1;
        self.modseq += 1;
        self.mails.insert(
            uid,
            Mail {
                flags,
                content,
                modseq: self.modseq,
            },
        );
        uid
    }

    fn take(&mut self, uids: &[u32]) {
        if !uids.is_empty() {
            self.modseq += 1;
        }
        for uid in uids {
            self.mails.remove(uid);
        }
    }
}

/// What an observer of a mailbox knows, synced by modification sequence.
#[derive(Debug, Default)]
struct Observer {
    since: u64,
    flags: BTreeMap<u32, Flags>,
    vanished: BTreeSet<u32>,
}

struct World {
    dir: tempfile::TempDir,
    store: Option<Store>,
    account: AccountId,
    folders: BTreeMap<String, Folder>,
    observers: BTreeMap<MailboxId, Observer>,
    used_uidvalidity: BTreeSet<u32>,
    count: u8,
}

impl World {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let (store, account) = with_account(dir.path());
        let mut world = Self {
            dir,
            store: Some(store),
            account,
            folders: BTreeMap::new(),
            observers: BTreeMap::new(),
            used_uidvalidity: BTreeSet::new(),
            count: 0,
        };
        for name in ["INBOX", "Archive", "Drafts", "Junk", "Sent", "Trash"] {
            world.learn(name);
        }
        world
    }

    fn store(&self) -> &Store {
        self.store.as_ref().unwrap()
    }

    /// Takes a mailbox that has just come into being into the model; its UIDVALIDITY must be new.
    fn learn(&mut self, name: &str) {
        let (id, selected) = self.store().select(self.account, name).unwrap();
        assert!(
            self.used_uidvalidity
                .last()
                .is_none_or(|last| selected.uidvalidity > *last),
            "UIDVALIDITY must grow"
        );
        self.used_uidvalidity.insert(selected.uidvalidity);
        // What it begins with, messages moved there at once apart: the check that follows compares the sums.
        let folder = Folder {
            id,
            uidvalidity: selected.uidvalidity,
            uidnext: 1,
            modseq: 1,
            mails: BTreeMap::new(),
        };
        self.folders.insert(name.into(), folder);
    }

    fn learn_with_parents(&mut self, name: &str) {
        let parents: Vec<&str> = name
            .match_indices('/')
            .map(|(at, _)| &name[..at])
            .chain([name])
            .collect();
        for name in parents {
            if !self.folders.contains_key(name) {
                self.learn(name);
            }
        }
    }

    fn apply(&mut self, step: Step) {
        match step {
            Step::Deliver(name, flags, size) => self.deliver(NAMES[name], flags, size),
            Step::DeliverTwice(one, two) => self.deliver_twice(NAMES[one], NAMES[two]),
            Step::Store(name, uids, change, since) => {
                self.change_flags(NAMES[name], &uids, &change, since);
            }
            Step::Copy(from, uids, to, remove) => self.copy(NAMES[from], &uids, NAMES[to], remove),
            Step::Expunge(name, only) => self.expunge(NAMES[name], only.as_deref()),
            Step::Remove(name, uids) => self.remove(NAMES[name], &uids),
            Step::Create(name) => self.create(NAMES[name]),
            Step::Delete(name) => self.delete(NAMES[name]),
            Step::Rename(from, to) => self.rename(NAMES[from], NAMES[to]),
            Step::Sync(name) => self.sync(NAMES[name]),
            Step::Reopen => {
                self.store = None;
                self.store = Some(common::open(self.dir.path()));
            }
        }
    }

    fn deliver(&mut self, name: &str, flags: Flags, size: u16) {
        self.count = self.count.wrapping_add(1);
        let content = vec![self.count; size.into()];
        let result = deliver_with(self.store(), self.account, name, &content, flags.clone());
        match self.folders.get_mut(name) {
            None => assert_eq!(result.unwrap_err(), Error::NoSuchMailbox),
            Some(folder) => assert_eq!(result.unwrap().uid, folder.add(flags, content)),
        }
    }

    fn deliver_twice(&mut self, one: &str, two: &str) {
        self.count = self.count.wrapping_add(1);
        let content = vec![self.count; 100];
        let mut incoming = self.store().incoming().unwrap();
        incoming.write(&content).unwrap();
        let to = [one, two]
            .map(|name| delivery(self.account, name, Flags::default()))
            .to_vec();
        let result = wait(|done| self.store().deliver(incoming, to, done));
        if !self.folders.contains_key(one) || !self.folders.contains_key(two) {
            assert_eq!(result.unwrap_err(), Error::NoSuchMailbox);
            return;
        }
        for (name, placed) in [one, two].into_iter().zip(result.unwrap()) {
            let folder = self.folders.get_mut(name).unwrap();
            assert_eq!(placed.uid, folder.add(Flags::default(), content.clone()));
        }
    }

    fn change_flags(&mut self, name: &str, uids: &[u32], change: &FlagChange, since: Option<u64>) {
        let Some(folder) = self.folders.get_mut(name) else {
            return;
        };
        let store = self.store.as_ref().unwrap();
        let outcome =
            wait(|done| store.store_flags(folder.id, uids.to_vec(), change.clone(), since, done))
                .unwrap();
        let next = folder.modseq + 1;
        let (mut changed, mut modified) = (Vec::new(), Vec::new());
        for uid in uids.iter().collect::<BTreeSet<_>>() {
            let Some(mail) = folder.mails.get_mut(uid) else {
                continue;
            };
            if since.is_some_and(|since| mail.modseq > since) {
                modified.push(*uid);
                continue;
            }
            let new = changed_flags(&mail.flags, change);
            if new != mail.flags {
                mail.flags = new;
                mail.modseq = next;
                folder.modseq = next;
            }
            changed.push((*uid, mail.flags.clone(), mail.modseq));
        }
        let told: Vec<_> = outcome
            .changed
            .into_iter()
            .map(|entry| (entry.uid, entry.flags, entry.modseq))
            .collect();
        assert_eq!((told, outcome.modified), (changed, modified));
    }

    fn copy(&mut self, from: &str, uids: &[u32], to: &str, remove: bool) {
        let Some(source) = self.folders.get(from).cloned() else {
            return;
        };
        let target = (self.account, to.to_owned());
        let result = wait(|done| {
            self.store()
                .copy(source.id, uids.to_vec(), target, remove, done);
        });
        let Some(target) = self.folders.get_mut(to) else {
            assert_eq!(result.unwrap_err(), Error::NoSuchMailbox);
            return;
        };
        let mut expected = Vec::new();
        for uid in uids.iter().collect::<BTreeSet<_>>() {
            if let Some(mail) = source.mails.get(uid) {
                expected.push((*uid, target.add(mail.flags.clone(), mail.content.clone())));
            }
        }
        let copied = result.unwrap();
        assert_eq!(
            (copied.uidvalidity, &copied.uids),
            (target.uidvalidity, &expected)
        );
        if remove {
            let gone: Vec<u32> = expected.iter().map(|(old, _)| *old).collect();
            self.folders.get_mut(from).unwrap().take(&gone);
        }
    }

    fn expunge(&mut self, name: &str, only: Option<&[u32]>) {
        let Some(folder) = self.folders.get_mut(name) else {
            return;
        };
        let store = self.store.as_ref().unwrap();
        let told = wait(|done| store.expunge(folder.id, only.map(<[u32]>::to_vec), done)).unwrap();
        let wanted = |uid: &u32| only.is_none_or(|only| only.contains(uid));
        let deleted = folder
            .mails
            .iter()
            .filter(|(uid, mail)| mail.flags.deleted && wanted(uid));
        let expected: Vec<u32> = deleted.map(|(uid, _)| *uid).collect();
        assert_eq!(told, expected);
        folder.take(&expected);
    }

    fn remove(&mut self, name: &str, uids: &[u32]) {
        let Some(folder) = self.folders.get_mut(name) else {
            return;
        };
        let store = self.store.as_ref().unwrap();
        let told = wait(|done| store.remove(folder.id, uids.to_vec(), done)).unwrap();
        let expected: Vec<u32> = folder
            .mails
            .keys()
            .copied()
            .filter(|uid| uids.contains(uid))
            .collect();
        assert_eq!(told, expected);
        folder.take(&expected);
    }

    fn create(&mut self, name: &str) {
        let result = wait(|done| self.store().create(self.account, name, None, done));
        if self.folders.contains_key(name) {
            assert_eq!(result, Err(Error::AlreadyExists));
        } else {
            assert_eq!(result, Ok(()));
            self.learn_with_parents(name);
        }
    }

    fn has_children(&self, name: &str) -> bool {
        self.folders
            .keys()
            .any(|other| other.starts_with(&format!("{name}/")))
    }

    fn delete(&mut self, name: &str) {
        let result = wait(|done| self.store().delete(self.account, name, done));
        if name == "INBOX" {
            assert_eq!(result, Err(Error::Cannot));
        } else if let Some(folder) = self.folders.remove(name) {
            assert_eq!(result, Ok(()));
            assert_eq!(self.store().changes(folder.id, 0), Err(Error::Gone));
        } else if self.has_children(name) {
            assert_eq!(result, Err(Error::HasChildren));
        } else {
            assert_eq!(result, Err(Error::NoSuchMailbox));
        }
    }

    fn rename(&mut self, from: &str, to: &str) {
        let result = wait(|done| self.store().rename(self.account, from, to, done));
        if !self.folders.contains_key(from) && !self.has_children(from) {
            assert_eq!(result, Err(Error::NoSuchMailbox));
        } else if self.folders.contains_key(to) {
            assert_eq!(result, Err(Error::AlreadyExists));
        } else if from == "INBOX" {
            assert_eq!(result, Ok(()));
            self.learn_with_parents(to);
            let mails: Vec<(u32, Mail)> = self.folders["INBOX"].mails.clone().into_iter().collect();
            for (_, mail) in &mails {
                self.folders
                    .get_mut(to)
                    .unwrap()
                    .add(mail.flags.clone(), mail.content.clone());
            }
            let gone: Vec<u32> = mails.iter().map(|(uid, _)| *uid).collect();
            self.folders.get_mut("INBOX").unwrap().take(&gone);
        } else if to.starts_with(&format!("{from}/")) {
            assert_eq!(result, Err(Error::Cannot));
        } else {
            self.rename_tree(from, to, result);
        }
    }

    fn rename_tree(&mut self, from: &str, to: &str, result: Result<(), Error>) {
        let inside = |name: &str| name == from || name.starts_with(&format!("{from}/"));
        let (tree, rest): (BTreeMap<_, _>, BTreeMap<_, _>) = std::mem::take(&mut self.folders)
            .into_iter()
            .partition(|(name, _)| inside(name));
        self.folders = rest;
        let renamed: BTreeMap<String, Folder> = tree
            .iter()
            .map(|(name, folder)| (format!("{to}{}", &name[from.len()..]), folder.clone()))
            .collect();
        if renamed.keys().any(|name| self.folders.contains_key(name)) {
            assert_eq!(result, Err(Error::AlreadyExists));
            self.folders.extend(tree);
            return;
        }
        assert_eq!(result, Ok(()));
        self.folders.extend(renamed);
        if let Some((parents, _)) = to.rsplit_once('/') {
            self.learn_with_parents(parents);
        }
    }

    /// The observer asks what changed, and then knows what is there.
    fn sync(&mut self, name: &str) {
        let Some(folder) = self.folders.get(name) else {
            return;
        };
        let observer = self.observers.entry(folder.id).or_default();
        let changes = self
            .store
            .as_ref()
            .unwrap()
            .changes(folder.id, observer.since)
            .unwrap();
        assert!(
            changes.vanished.is_sorted() && changes.changed.is_sorted_by_key(|entry| entry.uid)
        );
        assert!(
            changes
                .changed
                .iter()
                .all(|entry| entry.modseq > observer.since)
        );
        for uid in changes.vanished {
            observer.flags.remove(&uid);
            assert!(
                observer.vanished.insert(uid),
                "told twice that {uid} vanished"
            );
        }
        for entry in changes.changed {
            observer.flags.insert(entry.uid, entry.flags);
        }
        observer.since = changes.highest_modseq;
        let truth: BTreeMap<u32, Flags> = folder
            .mails
            .iter()
            .map(|(uid, mail)| (*uid, mail.flags.clone()))
            .collect();
        assert_eq!((&observer.flags, observer.since), (&truth, folder.modseq));
    }

    fn check(&self) {
        let listed = self.store().list(self.account).unwrap();
        let there: Vec<&str> = listed
            .iter()
            .filter(|entry| entry.exists)
            .map(|entry| entry.name.as_str())
            .collect();
        assert_eq!(
            there,
            self.folders.keys().map(String::as_str).collect::<Vec<_>>()
        );
        let mut octets = 0;
        for (name, folder) in &self.folders {
            octets += self.check_folder(name, folder);
        }
        let info = &self.store().accounts().list().unwrap()[0];
        let messages: usize = self.folders.values().map(|folder| folder.mails.len()).sum();
        assert_eq!((info.used, info.messages), (octets, messages as u64));
    }

    fn check_folder(&self, name: &str, folder: &Folder) -> u64 {
        let store = self.store();
        let (id, selected) = store.select(self.account, name).unwrap();
        assert_eq!(id, folder.id, "{name}");
        assert_eq!(
            selected.uids,
            folder.mails.keys().copied().collect::<Vec<_>>()
        );
        let unseen = || folder.mails.iter().filter(|(_, mail)| !mail.flags.seen);
        assert_eq!(selected.first_unseen, unseen().next().map(|(uid, _)| *uid));
        assert_eq!(
            (selected.uidvalidity, selected.uidnext),
            (folder.uidvalidity, folder.uidnext)
        );
        let octets = folder
            .mails
            .values()
            .map(|mail| mail.content.len() as u64)
            .sum();
        let charged = folder
            .mails
            .values()
            .map(|mail| mail.content.len().max(1_024) as u64)
            .sum();
        let status = store.status(self.account, name).unwrap();
        let deleted = folder
            .mails
            .values()
            .filter(|mail| mail.flags.deleted)
            .count();
        assert_eq!(
            (status.messages as usize, status.unseen as usize),
            (folder.mails.len(), unseen().count())
        );
        assert_eq!((status.deleted as usize, status.size), (deleted, octets));
        assert_eq!(
            (status.uidnext, status.highest_modseq),
            (folder.uidnext, folder.modseq)
        );
        for (message, (uid, mail)) in store.all(id).unwrap().into_iter().zip(&folder.mails) {
            assert_eq!(
                (message.uid, &message.flags, message.modseq),
                (*uid, &mail.flags, mail.modseq)
            );
            assert!(
                content(store, id, *uid).unwrap() == mail.content,
                "{name} {uid}"
            );
        }
        charged
    }
}

/// Written apart from the store's own, on purpose.
fn changed_flags(old: &Flags, change: &FlagChange) -> Flags {
    let pick = |old: bool, other: bool| match change {
        FlagChange::Replace(_) => other,
        FlagChange::Add(_) => old | other,
        FlagChange::Remove(_) => old && !other,
    };
    let (FlagChange::Replace(other) | FlagChange::Add(other) | FlagChange::Remove(other)) = change;
    let all: Vec<&str> = KEYWORDS
        .into_iter()
        .filter(|keyword| {
            pick(
                old.keywords.contains(*keyword),
                other.keywords.contains(*keyword),
            )
        })
        .collect();
    flags(
        pick(old.seen, other.seen),
        pick(old.deleted, other.deleted),
        &all,
    )
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    #[test]
    fn the_store_is_the_model(steps in prop::collection::vec(step(), 1..40)) {
        let mut world = World::new();
        for step in steps {
            world.apply(step);
            world.check();
        }
    }
}
