//! The store: what its callers see of it.

use std::fmt;
use std::fs::File;
use std::path::Path;
use std::sync::mpsc::{Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};

use gatepost_wire::imap::ask::{
    Changes, Copied, FlagChange, Mailbox, ModSeq, Quota, Selected, SpecialUse, Status,
    StoreOutcome, Uid,
};
use gatepost_wire::secret::Secret;

use crate::db::{Turn, make_folder, open_writer, server_secret, take_lock};
use crate::incoming::{Sealed, Spool};
use crate::listen::Listeners;
use crate::lists::{self, Lists};
use crate::ops::{self, Work};
use crate::pieces::{self, MOST_COPIED, PIECE, Uids};
use crate::read::{self, Readers};
use crate::search::keeper::{self, Bell, Keeper, Octets};
use crate::search::{self, Grams, Hint};
use crate::segments::{self, Bodies, Segments};
use crate::writer::{self, Jobs, Writer, job};
use crate::{
    AccountId, Accounts, BodyRef, Delivery, Error, Facts, Fault, Incoming, MailboxId, Message,
    Options, Placed, Subscription,
};

/// The mail store of one data folder. Clones share it; it closes when the last one is dropped, after what is queued is done.
///
/// Reads block and return; writes are queued and answered by their `done`, called on the store's own thread once the
/// change is on disk: it must be short and must not block.
#[derive(Debug, Clone)]
pub struct Store {
    inner: Arc<Inner>,
}

struct Inner {
    accounts: Accounts,
    readers: Arc<Readers>,
    bodies: Arc<Bodies>,
    lists: Lists,
    listeners: Arc<Listeners>,
    spool: Arc<Spool>,
    secret: Secret<[u8; 32]>,
    /// Each is there until the store closes.
    jobs: Option<Jobs>,
    sealer: Option<Sender<Sealing>>,
    bell: Arc<Bell>,
    /// Marks new mail for the search, once it is asked to.
    marker: Mutex<Option<JoinHandle<()>>>,
    /// In the order in which they end.
    threads: Vec<JoinHandle<()>>,
    /// Keeps other processes out. The writer thread holds it too.
    _lock: Arc<File>,
}

/// Makes a large message durable and sends it on.
type Sealing = Box<dyn FnOnce() + Send>;

impl fmt::Debug for Inner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Inner")
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.bell.end();
        drop((self.sealer.take(), self.jobs.take()));
        // The last clone may be dropped in an answer, on a thread of ours: they end by themselves after it.
        let own = |thread: &JoinHandle<()>| thread.thread().id() == thread::current().id();
        if !self.threads.iter().any(own) {
            let mut marker = self.marker.lock().unwrap_or_else(PoisonError::into_inner);
            for thread in marker.take().into_iter().chain(self.threads.drain(..)) {
                let _ = thread.join();
            }
        }
    }
}

impl Store {
    /// Opens the store in a folder, which is made (mode 0700) if it is not there, and repairs what a crash left behind.
    pub fn open(dir: &Path, options: Options) -> Result<Self, Error> {
        make_folder(dir)?;
        let lock = Arc::new(take_lock(dir)?);
        let readers = Readers::new(dir, options.readers);
        let accounts = Accounts::open(dir)?.with_readers(readers);
        let db = open_writer(dir)?;
        let secret = Secret::new(server_secret(&db)?);
        let turn = Turn::open(dir)?;
        // Not while another process (an import) has put a file in place and not yet named it in the database.
        let taken = turn.take()?;
        let segments = Segments::open(dir, &db, options.segment_size)?;
        drop(taken);
        let spool = Arc::new(Spool::open(dir, options)?);
        let bodies = Arc::new(Bodies::new(dir));
        let listeners = Arc::new(Listeners::default());
        let bell = Arc::new(Bell::default());
        let (jobs, writing) = writer::start(Writer {
            db,
            segments,
            bodies: Arc::clone(&bodies),
            listeners: Arc::clone(&listeners),
            bell: Arc::clone(&bell),
            options,
            dir: dir.to_path_buf(),
            turn,
            lock: Arc::clone(&lock),
        })?;
        let (sealer, sealings) = channel::<Sealing>();
        let seal = move || sealings.into_iter().for_each(|sealing| sealing());
        let sealing = thread::Builder::new()
            .name("store-sealer".into())
            .spawn(seal)?;
        let readers = accounts.readers();
        let inner = Inner {
            accounts,
            readers,
            bodies,
            lists: Lists::default(),
            listeners,
            spool,
            secret,
            jobs: Some(jobs),
            sealer: Some(sealer),
            bell,
            marker: Mutex::default(),
            threads: vec![sealing, writing],
            _lock: lock,
        };
        Ok(Self {
            inner: Arc::new(inner),
        })
    }

    /// The accounts.
    pub fn accounts(&self) -> &Accounts {
        &self.inner.accounts
    }

    /// Random octets made when the store was, for salts of users that do not exist.
    pub fn server_secret(&self) -> Secret<[u8; 32]> {
        self.inner.secret.clone()
    }

    /// Begins a message. Refused with [`Error::DiskFull`] when the disk is nearly full.
    pub fn incoming(&self) -> Result<Incoming, Error> {
        Incoming::new(Arc::clone(&self.inner.spool))
    }

    /// Keeps a message in all the mailboxes named, or in none. The octets are kept once.
    pub fn deliver(
        &self,
        incoming: Incoming,
        to: Vec<Delivery>,
        done: impl FnOnce(Result<Vec<Placed>, Error>) + Send + 'static,
    ) {
        self.keep(
            vec![incoming],
            move |work, mut sealed| match sealed.pop() {
                Some(message) => ops::deliver(work, message, &to),
                None => Err(Error::Fault(Fault::Closed)),
            },
            done,
        );
    }

    /// Keeps several messages, each in its mailbox, or none of them.
    pub fn deliver_all(
        &self,
        messages: Vec<(Incoming, Delivery)>,
        done: impl FnOnce(Result<Vec<Placed>, Error>) + Send + 'static,
    ) {
        let (incoming, to): (Vec<_>, Vec<_>) = messages.into_iter().unzip();
        let all = move |work: &mut Work<'_>, sealed: Vec<Sealed>| {
            let mut placed = Vec::with_capacity(sealed.len());
            for (message, to) in sealed.into_iter().zip(&to) {
                placed.extend(ops::deliver(work, message, std::slice::from_ref(to))?);
            }
            Ok(placed)
        };
        self.keep(incoming, all, done);
    }

    /// Keeps a message and removes the one it replaces (RFC 8508); neither, and none is answered, when that one is not there.
    pub fn replace(
        &self,
        incoming: Incoming,
        to: Delivery,
        old: (MailboxId, Uid),
        done: impl FnOnce(Result<Option<Placed>, Error>) + Send + 'static,
    ) {
        let both = move |work: &mut Work<'_>, mut sealed: Vec<Sealed>| {
            let message = sealed.pop().ok_or(Error::Fault(Fault::Closed))?;
            ops::replace(work, message, &to, old)
        };
        self.keep(vec![incoming], both, done);
    }

    /// Seals messages and hands them to the writer.
    fn keep<T: Send + 'static>(
        &self,
        incoming: Vec<Incoming>,
        run: impl FnOnce(&mut Work<'_>, Vec<Sealed>) -> Result<T, Error> + Send + 'static,
        done: impl FnOnce(Result<T, Error>) + Send + 'static,
    ) {
        let Some(jobs) = self.inner.jobs.clone() else {
            return done(Err(Error::Fault(Fault::Closed)));
        };
        let spooled = incoming.iter().any(Incoming::is_spooled);
        let seal_and_send = move || {
            // A file needs no time in the batch; octets in memory are still to be written.
            let in_memory = |it: &Incoming| if it.is_spooled() { 0 } else { it.len() };
            let octets = incoming.iter().map(in_memory).sum();
            match incoming.into_iter().map(Incoming::seal).collect() {
                Ok(sealed) => jobs.send(job(octets, move |work| run(work, sealed), done)),
                Err(error) => done(Err(error)),
            }
        };
        match &self.inner.sealer {
            Some(sealer) if spooled => {
                // Should the thread be gone, the caller waits.
                if let Err(back) = sealer.send(Box::new(seal_and_send)) {
                    (back.0)();
                }
            }
            _ => seal_and_send(),
        }
    }

    /// Opens a mailbox by name.
    pub fn select(&self, account: AccountId, name: &str) -> Result<(MailboxId, Selected), Error> {
        let Inner {
            readers,
            lists,
            jobs,
            ..
        } = &*self.inner;
        let read::Opened {
            mailbox,
            selected,
            to_write,
        } = readers.ask(|db| read::select(db, lists, account, name))?;
        if let (Some(list), Some(jobs)) = (to_write, jobs) {
            // Should it fail, the next start reads the rows again.
            jobs.send(job(0, move |work| lists::write(work.db, &list), drop));
        }
        Ok((mailbox, selected))
    }

    /// What changed in a mailbox after a modification sequence. [`Error::Gone`] when the mailbox was deleted.
    pub fn changes(&self, mailbox: MailboxId, since: ModSeq) -> Result<Changes, Error> {
        self.inner
            .readers
            .ask(|db| read::changes(db, mailbox, since))
    }

    /// Messages by UID, ascending; those that are gone are left out.
    pub fn messages(&self, mailbox: MailboxId, uids: &[Uid]) -> Result<Vec<Message>, Error> {
        self.inner
            .readers
            .ask(|db| read::messages(db, mailbox, uids))
    }

    /// The same, of the rows alone.
    pub fn facts(&self, mailbox: MailboxId, uids: &[Uid]) -> Result<Vec<Facts>, Error> {
        self.inner
            .readers
            .ask(|db| read::facts_of(db, mailbox, uids))
    }

    /// The first `limit` messages with UIDs above `after`, ascending: for going through a mailbox piece by piece.
    pub fn messages_after(
        &self,
        mailbox: MailboxId,
        after: Uid,
        limit: usize,
    ) -> Result<Vec<Message>, Error> {
        self.inner
            .readers
            .ask(|db| read::messages_after(db, mailbox, after, limit))
    }

    /// All messages of a mailbox, ascending by UID. Some 150 octets of memory each.
    pub fn all(&self, mailbox: MailboxId) -> Result<Vec<Message>, Error> {
        self.messages_after(mailbox, 0, usize::MAX)
    }

    /// Octets of a message from `offset`, at most `length`; fewer only at its end. What is returned was verified against
    /// its checksum ([`Error::Damaged`]). [`Error::Gone`] when no copy of the message is kept any more.
    pub fn read(&self, body: &BodyRef, offset: u64, length: u32) -> Result<Vec<u8>, Error> {
        match self.inner.bodies.read(body, offset, length) {
            // A segment's rows go before its file: one that should be there and is not was lost.
            Err(Error::Gone)
                if self
                    .inner
                    .readers
                    .ask(|db| segments::is_live(db, body.segment))? =>
            {
                Err(Error::Damaged)
            }
            other => other,
        }
    }

    /// Has a thread of the store mark new mail for the search from now on, and what has come before. `read` is asked for the texts of
    /// a message of so many octets: it reads what it needs and pushes them. What it cannot read is always a candidate.
    pub fn keep_index(
        &self,
        read: impl Fn(u64, &Octets<'_>, &mut Grams) -> Result<(), Error> + Send + 'static,
    ) -> Result<(), Error> {
        let mut marker = self
            .inner
            .marker
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let jobs = self.inner.jobs.clone().ok_or(Error::Fault(Fault::Closed))?;
        if marker.is_none() {
            *marker = Some(keeper::start(Keeper {
                readers: Arc::clone(&self.inner.readers),
                bodies: Arc::clone(&self.inner.bodies),
                jobs,
                bell: Arc::clone(&self.inner.bell),
                reader: Box::new(read),
            })?);
        }
        Ok(())
    }

    /// The messages of a mailbox that may be what the hint says, ascending; none: all may be. No other is, among those that were
    /// there when this was asked.
    pub fn candidates(&self, mailbox: MailboxId, hint: &Hint) -> Result<Option<Vec<Uid>>, Error> {
        let ask = |db: &_| search::candidates(db, mailbox, hint);
        self.inner.readers.ask(ask)
    }

    /// How many bodies the search index does not know yet.
    pub fn unmarked(&self) -> Result<u64, Error> {
        self.inner.readers.ask(read::unmarked)
    }

    /// Changes flags; of many messages piece by piece, with other work between. On an error some may be changed.
    pub fn store_flags(
        &self,
        mailbox: MailboxId,
        uids: Vec<Uid>,
        change: FlagChange,
        unchanged_since: Option<ModSeq>,
        done: impl FnOnce(Result<StoreOutcome, Error>) + Send + 'static,
    ) {
        let uids = Uids::new(uids);
        let weight = pieces::weight(uids.len());
        let step = pieces::store_flags(mailbox, uids, change, unchanged_since);
        self.change_in_pieces(weight, step, done);
    }

    /// Copies messages to a mailbox, also of another account; with `remove` they are moved.
    /// [`Error::NoSuchMailbox`] is about the destination, [`Error::Gone`] about the source. Copying is all or nothing, and
    /// [`Error::Limit`] above 100,000 messages at once; many are moved piece by piece, and on an error some may have been.
    pub fn copy(
        &self,
        mailbox: MailboxId,
        uids: Vec<Uid>,
        to: (AccountId, String),
        remove: bool,
        done: impl FnOnce(Result<Copied, Error>) + Send + 'static,
    ) {
        let uids = Uids::new(uids);
        let weight = pieces::weight(uids.len());
        if remove {
            return self.change_in_pieces(weight, pieces::move_to(mailbox, uids, to), done);
        }
        if uids.len() > MOST_COPIED {
            return done(Err(Error::Limit));
        }
        let whole = move |work: &mut Work<'_>| {
            ops::copy(work, mailbox, uids.all(), (to.0, &to.1), false).map(Some)
        };
        self.change_in_pieces(weight, whole, done);
    }

    /// Removes messages marked `\Deleted`: only these, or all. Answers with the removed ones, ascending.
    /// Many go piece by piece, with other work between; on an error some may be gone.
    pub fn expunge(
        &self,
        mailbox: MailboxId,
        only: Option<Vec<Uid>>,
        done: impl FnOnce(Result<Vec<Uid>, Error>) + Send + 'static,
    ) {
        match only.map(Uids::new) {
            Some(uids) => {
                let weight = pieces::weight(uids.len());
                self.change_in_pieces(weight, pieces::expunge_these(mailbox, uids), done);
            }
            None => {
                self.change_in_pieces(pieces::weight(PIECE), pieces::expunge_all(mailbox), done);
            }
        }
    }

    /// Removes messages whatever their flags (POP3 DELE). Answers with those that were there, ascending.
    /// Many go piece by piece, with other work between; on an error some may be gone (RFC 1939 6).
    pub fn remove(
        &self,
        mailbox: MailboxId,
        uids: Vec<Uid>,
        done: impl FnOnce(Result<Vec<Uid>, Error>) + Send + 'static,
    ) {
        let uids = Uids::new(uids);
        let weight = pieces::weight(uids.len());
        self.change_in_pieces(weight, pieces::remove(mailbox, uids), done);
    }

    /// All mailboxes of an account, by name; also names that only have children or are only subscribed to.
    /// [`Error::Gone`] when the account was removed.
    pub fn list(&self, account: AccountId) -> Result<Vec<Mailbox>, Error> {
        self.inner.readers.ask(|db| read::list(db, account))
    }

    /// Facts about a mailbox.
    pub fn status(&self, account: AccountId, name: &str) -> Result<Status, Error> {
        self.inner.readers.ask(|db| read::status(db, account, name))
    }

    /// Octets of the messages marked `\Deleted` in a mailbox. Takes a look at every message if there are any.
    pub fn deleted_size(&self, account: AccountId, name: &str) -> Result<u64, Error> {
        let ask = |db: &_| read::deleted_size(db, account, name);
        self.inner.readers.ask(ask)
    }

    /// All mailboxes of an account with their facts, as [`Store::list`] gives them.
    pub fn overview(&self, account: AccountId) -> Result<Vec<(Mailbox, Option<Status>)>, Error> {
        self.inner.readers.ask(|db| read::overview(db, account))
    }

    /// What an account keeps, and may keep. [`Error::Gone`] when it was removed.
    pub fn quota(&self, account: AccountId) -> Result<Quota, Error> {
        self.inner.readers.ask(|db| read::quota(db, account))
    }

    /// Creates a mailbox and those above it. Nothing is subscribed.
    pub fn create(
        &self,
        account: AccountId,
        name: &str,
        special_use: Option<SpecialUse>,
        done: impl FnOnce(Result<(), Error>) + Send + 'static,
    ) {
        let name = name.to_owned();
        self.change(
            move |work| ops::create(work, account, &name, special_use),
            done,
        );
    }

    /// Deletes a mailbox and its messages; mailboxes below it stay. Its space is freed piece by piece after the answer.
    pub fn delete(
        &self,
        account: AccountId,
        name: &str,
        done: impl FnOnce(Result<(), Error>) + Send + 'static,
    ) {
        let name = name.to_owned();
        self.change(move |work| ops::delete(work, account, &name), done);
    }

    /// Renames a mailbox and those below it. From INBOX the messages move, and INBOX stays (RFC 9051 6.3.6).
    pub fn rename(
        &self,
        account: AccountId,
        from: &str,
        to: &str,
        done: impl FnOnce(Result<(), Error>) + Send + 'static,
    ) {
        let (from, to) = (from.to_owned(), to.to_owned());
        self.change(move |work| ops::rename(work, account, &from, &to), done);
    }

    /// Subscribes to a name, which need not be a mailbox, or ends that.
    pub fn set_subscribed(
        &self,
        account: AccountId,
        name: &str,
        subscribed: bool,
        done: impl FnOnce(Result<(), Error>) + Send + 'static,
    ) {
        let name = name.to_owned();
        self.change(
            move |work| ops::set_subscribed(work, account, &name, subscribed),
            done,
        );
    }

    /// Calls `listener` after every change of a mailbox, also after its end; on the store's own thread, after those who
    /// made the change have their answers. It must be short and must not block. Changes by other processes (an account
    /// removed) are told within seconds.
    pub fn subscribe(
        &self,
        mailbox: MailboxId,
        listener: Arc<dyn Fn() + Send + Sync>,
    ) -> Subscription {
        self.inner.listeners.add(mailbox, listener)
    }

    /// The same for every change of any mailbox of an account: messages, names and subscriptions.
    pub fn watch(&self, account: AccountId, listener: Arc<dyn Fn() + Send + Sync>) -> Subscription {
        self.inner.listeners.watch(account, listener)
    }

    fn change_in_pieces<T: Send + 'static>(
        &self,
        weight: u64,
        step: impl FnMut(&mut Work<'_>) -> Result<Option<T>, Error> + Send + 'static,
        done: impl FnOnce(Result<T, Error>) + Send + 'static,
    ) {
        match &self.inner.jobs {
            Some(jobs) => pieces::run(jobs, weight, step, done),
            None => done(Err(Error::Fault(Fault::Closed))),
        }
    }

    fn change<T: Send + 'static>(
        &self,
        run: impl FnOnce(&mut Work<'_>) -> Result<T, Error> + Send + 'static,
        done: impl FnOnce(Result<T, Error>) + Send + 'static,
    ) {
        match &self.inner.jobs {
            Some(jobs) => jobs.send(job(0, run, done)),
            None => done(Err(Error::Fault(Fault::Closed))),
        }
    }
}
