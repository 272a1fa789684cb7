//! What the store's tests share: a store in a temporary folder, and answers waited for.

#![allow(
    dead_code,
    reason = "each test file is a crate of its own and uses a part of this"
)]

use std::path::Path;
use std::sync::mpsc::channel;
use std::time::{Duration, Instant};

use gatepost_store::{AccountId, Credential, Delivery, Error, MailboxId, Options, Placed, Store};
use gatepost_wire::imap::ask::{Flags, InternalDate};
use gatepost_wire::sasl::{ScramHash, ScramRecord};
use gatepost_wire::secret::Secret;

/// Small enough for tests, no floor of free space.
pub(crate) fn options() -> Options {
    Options {
        min_free: 0,
        ..Options::default()
    }
}

pub(crate) fn open(dir: &Path) -> Store {
    try_open(dir).unwrap()
}

/// Opens a store that was closed a moment ago. A test beside this one that starts a process hands all that is open to it until the program is
/// exchanged, locks too: so one that is locked is tried again for a while.
pub(crate) fn try_open(dir: &Path) -> Result<Store, Error> {
    let begun = Instant::now();
    loop {
        match Store::open(dir, options()) {
            Err(Error::Locked) if begun.elapsed() < Duration::from_secs(2) => {
                std::thread::sleep(Duration::from_millis(5));
            }
            other => return other,
        }
    }
}

pub(crate) fn credential() -> Credential {
    Credential {
        record: ScramRecord {
            hash: ScramHash::Sha256,
            salt: vec![7; 16],
            iterations: 4096,
            stored_key: Secret::new(vec![1; 32]),
            server_key: Secret::new(vec![2; 32]),
        },
        sha1: None,
    }
}

/// The same with keys of SHA-1.
pub(crate) fn with_sha1() -> Credential {
    Credential {
        sha1: Some(ScramRecord {
            hash: ScramHash::Sha1,
            salt: vec![9; 16],
            iterations: 5_000,
            stored_key: Secret::new(vec![3; 20]),
            server_key: Secret::new(vec![4; 20]),
        }),
        ..credential()
    }
}

/// A store with one account.
pub(crate) fn with_account(dir: &Path) -> (Store, AccountId) {
    let store = open(dir);
    let account = store
        .accounts()
        .add("me@gatepost.test", &credential(), None)
        .unwrap();
    (store, account)
}

/// Waits for the answer of a write: `wait(|done| store.expunge(mailbox, None, done))`.
pub(crate) fn wait<T: Send + 'static>(
    write: impl FnOnce(Box<dyn FnOnce(Result<T, Error>) + Send>),
) -> Result<T, Error> {
    let (sender, receiver) = channel();
    write(Box::new(move |result| sender.send(result).unwrap()));
    receiver.recv().unwrap()
}

pub(crate) fn delivery(account: AccountId, mailbox: &str, flags: Flags) -> Delivery {
    let date = InternalDate {
        unix: 1_700_000_000,
        offset_minutes: -90,
    };
    Delivery {
        account,
        mailbox: mailbox.to_owned(),
        flags,
        date,
    }
}

/// Delivers to one mailbox.
pub(crate) fn deliver(
    store: &Store,
    account: AccountId,
    mailbox: &str,
    content: &[u8],
) -> Result<Placed, Error> {
    deliver_with(store, account, mailbox, content, Flags::default())
}

pub(crate) fn deliver_with(
    store: &Store,
    account: AccountId,
    mailbox: &str,
    content: &[u8],
    flags: Flags,
) -> Result<Placed, Error> {
    let mut incoming = store.incoming()?;
    incoming.write(content)?;
    wait(|done| store.deliver(incoming, vec![delivery(account, mailbox, flags)], done))
        .map(|placed| placed[0])
}

/// The whole content of a message.
pub(crate) fn content(store: &Store, mailbox: MailboxId, uid: u32) -> Result<Vec<u8>, Error> {
    let message = store.messages(mailbox, &[uid])?.pop().ok_or(Error::Gone)?;
    store.read(&message.body, 0, u32::MAX)
}

pub(crate) fn flags(seen: bool, deleted: bool, keywords: &[&str]) -> Flags {
    Flags {
        seen,
        deleted,
        keywords: keywords.iter().map(|&keyword| keyword.into()).collect(),
        ..Flags::default()
    }
}
