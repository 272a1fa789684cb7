//! The store.
use std::path::Path;
use std::sync::Arc;

use gatepost_wire::imap::ask::{
    Changes, Copied, FlagChange, Mailbox, ModSeq, Selected, SpecialUse, Status, StoreOutcome, Uid,
};
use gatepost_wire::secret::Secret;

use crate::{
    AccountId, Accounts, BodyRef, Delivery, Error, Incoming, MailboxId, Message, Options, Placed,
    Subscription,
};

/// The mail store of one data folder. Clones share it.
///
/// Reads block and return; writes are queued and answered by their `done`, called on the store's own thread once the
/// change is on disk: it must be short and must not block.
#[derive(Debug, Clone)]
pub struct Store {}

impl Store {
    /// Opens the store in a folder, which is made (mode 0700) if it is not there.
    pub fn open(_dir: &Path, _options: Options) -> Result<Self, Error> {
        todo!()
    }
    /// The accounts.
    pub fn accounts(&self) -> &Accounts {
        todo!()
    }
    /// Random octets made when the store was, for salts of users that do not exist.
    pub fn server_secret(&self) -> Secret<[u8; 32]> {
        todo!()
    }
    /// Begins a message.
    pub fn incoming(&self) -> Result<Incoming, Error> {
        todo!()
    }
    /// Keeps a message in all the mailboxes named, or in none.
    pub fn deliver(
        &self,
        _incoming: Incoming,
        _to: Vec<Delivery>,
        _done: impl FnOnce(Result<Vec<Placed>, Error>) + Send + 'static,
    ) {
        todo!()
    }
    /// Opens a mailbox by name.
    pub fn select(&self, _account: AccountId, _name: &str) -> Result<(MailboxId, Selected), Error> {
        todo!()
    }
    /// What changed in a mailbox after a modification sequence.
    pub fn changes(&self, _mailbox: MailboxId, _since: ModSeq) -> Result<Changes, Error> {
        todo!()
    }
    /// Messages by UID, ascending; those that are gone are left out.
    pub fn messages(&self, _mailbox: MailboxId, _uids: &[Uid]) -> Result<Vec<Message>, Error> {
        todo!()
    }
    /// The first `limit` messages with UIDs above `after`, ascending: for going through a mailbox piece by piece.
    pub fn messages_after(
        &self,
        _mailbox: MailboxId,
        _after: Uid,
        _limit: usize,
    ) -> Result<Vec<Message>, Error> {
        todo!()
    }
    /// All messages of a mailbox, ascending by UID.
    pub fn all(&self, _mailbox: MailboxId) -> Result<Vec<Message>, Error> {
        todo!()
    }
    /// Octets of a message from `offset`, at most `length`; fewer only at its end.
    pub fn read(&self, _body: &BodyRef, _offset: u64, _length: u32) -> Result<Vec<u8>, Error> {
        todo!()
    }
    /// Changes flags.
    pub fn store_flags(
        &self,
        _mailbox: MailboxId,
        _uids: Vec<Uid>,
        _change: FlagChange,
        _unchanged_since: Option<ModSeq>,
        _done: impl FnOnce(Result<StoreOutcome, Error>) + Send + 'static,
    ) {
        todo!()
    }
    /// Copies messages; with `remove` they are moved.
    pub fn copy(
        &self,
        _mailbox: MailboxId,
        _uids: Vec<Uid>,
        _to: (AccountId, String),
        _remove: bool,
        _done: impl FnOnce(Result<Copied, Error>) + Send + 'static,
    ) {
        todo!()
    }
    /// Removes messages marked `\Deleted`: only these, or all.
    pub fn expunge(
        &self,
        _mailbox: MailboxId,
        _only: Option<Vec<Uid>>,
        _done: impl FnOnce(Result<Vec<Uid>, Error>) + Send + 'static,
    ) {
        todo!()
    }
    /// Removes messages whatever their flags (POP3 DELE).
    pub fn remove(
        &self,
        _mailbox: MailboxId,
        _uids: Vec<Uid>,
        _done: impl FnOnce(Result<Vec<Uid>, Error>) + Send + 'static,
    ) {
        todo!()
    }
    /// All mailboxes of an account.
    pub fn list(&self, _account: AccountId) -> Result<Vec<Mailbox>, Error> {
        todo!()
    }
    /// Facts about a mailbox.
    pub fn status(&self, _account: AccountId, _name: &str) -> Result<Status, Error> {
        todo!()
    }
    /// Creates a mailbox.
    pub fn create(
        &self,
        _account: AccountId,
        _name: &str,
        _special_use: Option<SpecialUse>,
        _done: impl FnOnce(Result<(), Error>) + Send + 'static,
    ) {
        todo!()
    }
    /// Deletes a mailbox.
    pub fn delete(
        &self,
        _account: AccountId,
        _name: &str,
        _done: impl FnOnce(Result<(), Error>) + Send + 'static,
    ) {
        todo!()
    }
    /// Renames a mailbox and its children.
    pub fn rename(
        &self,
        _account: AccountId,
        _from: &str,
        _to: &str,
        _done: impl FnOnce(Result<(), Error>) + Send + 'static,
    ) {
        todo!()
    }
    /// Subscribes or unsubscribes.
    pub fn set_subscribed(
        &self,
        _account: AccountId,
        _name: &str,
        _subscribed: bool,
        _done: impl FnOnce(Result<(), Error>) + Send + 'static,
    ) {
        todo!()
    }
    /// Calls `listener` after every change of a mailbox.
    pub fn subscribe(
        &self,
        _mailbox: MailboxId,
        _listener: Arc<dyn Fn() + Send + Sync>,
    ) -> Subscription {
        todo!()
    }
}
