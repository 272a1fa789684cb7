//! The embedded mailbox: the backends that put SMTP, IMAP and POP3 sessions onto the store, and judge logins.
//!
//! | module | holds |
//! |---|---|
//! | [`account`], [`throttle`] | logins: SCRAM keys, passwords, delays |
//! | [`directory`] | which address is whose |
//! | [`smtp`], [`imap`], [`pop3`] | one backend per session of each protocol |
//! | [`mime`], [`fetch`], [`preview`] | what IMAP tells about messages |
//! | [`search`], [`texts`], [`order`], [`thread`], [`subject`] | how it finds, sorts and threads them |
//! | [`date`] | dates as mail writes them |
//!
//! Reads of the store block, so they run on the runtime's blocking threads, a bounded number of long ones at a time. The way
//! there and back costs some tens of microseconds, about as much as a small read itself; it is paid for every read, because
//! one whose pages are not in memory would hold up all sessions of a runtime thread for milliseconds. The way of a delivery has
//! no such read: addresses are remembered for a while. Writes are queued in the store and answer through a channel. A session holds little while it is idle: a few words and, in IMAP, its
//! place among the mailbox's listeners.

pub mod account;
pub mod date;
pub mod directory;
pub mod fetch;
pub mod imap;
pub mod mime;
pub mod order;
pub mod pop3;
pub mod preview;
pub mod search;
pub mod smtp;
pub mod subject;
pub mod texts;
pub mod thread;
pub mod throttle;

use std::collections::{HashMap, HashSet};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, OnceLock, PoisonError, Weak};

use gatepost_net::driver::Event;
use gatepost_store::{AccountId, Blame, Error, Fault, Incoming, Store};
use tokio::sync::{Semaphore, oneshot};

use account::{AccountKeeper, Login};
use directory::Directory;

/// Messages above this many octets may lie on disk while they come in (the store's `spool_above` is not below it), so that writing
/// waits for the disk.
const INLINE_WRITES: u64 = 256 * 1024;

/// What the backends are told.
#[derive(Debug, Clone)]
pub struct Config {
    /// The server's own name, for `Received:` and Message-ID.
    pub host: String,
    /// Mail domains besides those of the accounts, in lower case.
    pub domains: Vec<String>,
    /// The account that gets mail for postmaster; none: the first one.
    pub postmaster: Option<String>,
    /// The largest message taken, in octets. The store must allow a little more, for the fields this server adds
    /// ([`smtp::ADDED_LIMIT`]).
    pub message_size: u64,
    /// Whether the From field of submitted mail must be the login's own address [SUBM-04].
    pub own_from_only: bool,
}

/// What all backends share.
#[derive(Debug)]
pub struct Shared {
    store: Store,
    keeper: Arc<AccountKeeper>,
    directory: Directory,
    config: Config,
    /// Maildrops that a POP3 session has open (RFC 1939 4).
    maildrops: Mutex<HashSet<AccountId>>,
    /// Long reads at a time (searches, structures of large messages): the rest of the blocking threads stays free.
    long_reads: Semaphore,
    /// Each account's one place among them.
    places: Mutex<HashMap<AccountId, Weak<Semaphore>>>,
    faults: Faults,
}

/// What a session did, for its log line.
#[derive(Debug, Clone, Default)]
pub struct Summary {
    /// The client that a server in front has named.
    pub introduced: Option<Box<SocketAddr>>,
    /// Who is logged in.
    pub login: Option<Login>,
    /// Who is logged in at the server behind this one, and by which mechanism here.
    pub passed_login: Option<(Box<str>, &'static str)>,
    /// The server behind this one, and how words travelled to it.
    pub upstream: Option<Box<(String, String)>>,
    /// Logins refused.
    pub login_failures: u32,
    /// Messages taken.
    pub messages_in: u32,
    /// Messages handed out (IMAP: whose content was).
    pub messages_out: u32,
    noted: Option<Box<Noted>>,
}

/// What seldom happens: most sessions have none of it, and a session that waits for mail is only as large as it must be.
#[derive(Debug, Clone, Default)]
struct Noted {
    limits: Vec<&'static str>,
    events: Vec<Event>,
}

/// A backend that keeps a record of what its session did.
pub trait Recorded {
    /// What the session did so far.
    fn summary(&self) -> &Summary;
}

impl Shared {
    /// Brings them together.
    pub fn new(store: Store, keeper: Arc<AccountKeeper>, config: Config) -> Arc<Self> {
        // Without it searches read every message, and find the same.
        let _ = store.keep_index(texts::index);
        let processors = std::thread::available_parallelism().map_or(1, usize::from);
        Arc::new(Self {
            directory: Directory::new(store.clone(), &config),
            store,
            keeper,
            config,
            maildrops: Mutex::default(),
            long_reads: Semaphore::new(2 * processors),
            places: Mutex::default(),
            faults: Faults::default(),
        })
    }

    /// A long read for an account: waits until its last one is over, then until few enough others run. So one user, on however
    /// many connections, keeps one place and not all of them.
    async fn read_long<T: Send + 'static>(
        &self,
        account: AccountId,
        read: impl FnOnce() -> Result<T, Error> + Send + 'static,
    ) -> Result<T, Error> {
        let own = self.place_of(account);
        let closed = |_| Error::Fault(Fault::Closed);
        let _own = own.acquire().await.map_err(closed)?;
        let _permit = self.long_reads.acquire().await.map_err(closed)?;
        self.block(read).await
    }

    /// The account's one place for long reads. Forgotten when nobody uses it.
    fn place_of(&self, account: AccountId) -> Arc<Semaphore> {
        let mut places = self.places.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(place) = places.get(&account).and_then(Weak::upgrade) {
            return place;
        }
        places.retain(|_, place| place.strong_count() > 0);
        let place = Arc::new(Semaphore::new(1));
        places.insert(account, Arc::downgrade(&place));
        place
    }

    /// Begins a message.
    fn incoming(&self) -> Result<Incoming, Error> {
        let begun = self.store.incoming();
        begun.inspect_err(|error| self.faults.note(*error))
    }

    /// Adds to a message: at once while it is in memory, on a blocking thread when it is large enough to lie on disk.
    async fn add(&self, mut incoming: Incoming, octets: Vec<u8>) -> Result<Incoming, Error> {
        if incoming.len() + (octets.len() as u64) < INLINE_WRITES {
            let added = incoming.write(&octets);
            added.inspect_err(|error| self.faults.note(*error))?;
            return Ok(incoming);
        }
        self.block(move || incoming.write(&octets).map(|()| incoming))
            .await
    }

    /// Runs a read of the store on a blocking thread.
    async fn block<T: Send + 'static>(
        &self,
        read: impl FnOnce() -> Result<T, Error> + Send + 'static,
    ) -> Result<T, Error> {
        block(read)
            .await
            .inspect_err(|error| self.faults.note(*error))
    }

    /// Runs a write of the store: `start` hands it over, with the callback given.
    async fn write<T: Send + 'static>(&self, start: impl FnOnce(Done<T>)) -> Result<T, Error> {
        write(start)
            .await
            .inspect_err(|error| self.faults.note(*error))
    }

    /// Whoever wants to know of faults of the disk and the database, with their cause: clients are only told that there was
    /// one. To be set once, before the first session.
    pub fn observe_faults(&self, observer: impl Fn(Error) + Send + Sync + 'static) {
        // A second observer would be a mistake of the caller without consequence.
        let _ = self.faults.0.set(Box::new(observer));
    }
}

/// Where faults are reported.
#[derive(Default)]
struct Faults(OnceLock<Box<dyn Fn(Error) + Send + Sync>>);

impl Faults {
    fn note(&self, error: Error) {
        if let (Blame::Local, Some(observer)) = (error.blame(), self.0.get()) {
            observer(error);
        }
    }
}

impl std::fmt::Debug for Faults {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Faults")
    }
}

impl Summary {
    /// Limits of the server that were hit: a word each.
    pub fn limits(&self) -> &[&'static str] {
        self.noted.as_ref().map_or(&[], |it| &it.limits)
    }

    /// What else happened on the connection. At most one of each kind.
    pub fn events(&self) -> &[Event] {
        self.noted.as_ref().map_or(&[], |it| &it.events)
    }

    pub(crate) fn note(&mut self, event: Event) {
        let events = &mut self.noted.get_or_insert_default().events;
        if events.len() < 4 {
            events.push(event);
        }
    }

    /// A limit of the server was hit. Each is counted once a session: a client that tries again is still one client.
    pub(crate) fn limit(&mut self, word: &'static str) {
        let limits = &mut self.noted.get_or_insert_default().limits;
        if !limits.contains(&word) {
            limits.push(word);
        }
    }

    /// Takes note of the keeper's judgement.
    pub(crate) fn judged(&mut self, judged: account::Judged) -> gatepost_wire::sasl::AccountAnswer {
        self.login_failures += u32::from(judged.failed);
        if judged.throttled {
            self.limit("login_throttled");
        }
        if judged.login.is_some() {
            self.login = judged.login;
        }
        judged.answer
    }
}

/// An open maildrop; dropping it lets others open it.
#[derive(Debug)]
struct Locked {
    shared: Arc<Shared>,
    account: AccountId,
}

impl Locked {
    /// None when somebody has it open.
    fn take(shared: &Arc<Shared>, account: AccountId) -> Option<Self> {
        let mut open = shared
            .maildrops
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        open.insert(account).then(|| Self {
            shared: Arc::clone(shared),
            account,
        })
    }
}

impl Drop for Locked {
    fn drop(&mut self) {
        self.shared
            .maildrops
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .remove(&self.account);
    }
}

/// Runs a read of the store on a blocking thread.
async fn block<T: Send + 'static>(
    read: impl FnOnce() -> Result<T, Error> + Send + 'static,
) -> Result<T, Error> {
    tokio::task::spawn_blocking(read)
        .await
        .unwrap_or(Err(Error::Fault(Fault::Closed)))
}

/// Runs a write of the store: `start` hands it over, with the callback given.
async fn write<T: Send + 'static>(start: impl FnOnce(Done<T>)) -> Result<T, Error> {
    let (sender, receiver) = oneshot::channel();
    // Nobody waits any more when the session has ended: then the result is of no interest.
    start(Box::new(move |result| drop(sender.send(result))));
    receiver.await.unwrap_or(Err(Error::Fault(Fault::Closed)))
}

/// A callback of the store.
type Done<T> = Box<dyn FnOnce(Result<T, Error>) + Send>;
