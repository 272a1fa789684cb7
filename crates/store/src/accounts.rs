//! Accounts.
use std::path::Path;

use crate::{Account, AccountId, AccountInfo, Credential, Error};

/// The accounts of a store: usable inside the server ([`crate::Store::accounts`]) and from another process beside it.
/// All calls block.
#[derive(Debug)]
pub struct Accounts {}

impl Accounts {
    /// Opens the accounts of a store, which is made if it is not there. Needs no lock: a server may be running.
    pub fn open(_dir: &Path) -> Result<Self, Error> {
        todo!()
    }
    /// Adds an account with INBOX, Archive, Drafts, Junk, Sent and Trash, all subscribed. `quota` in octets.
    pub fn add(
        &self,
        _address: &str,
        _credential: &Credential,
        _quota: Option<u64>,
    ) -> Result<AccountId, Error> {
        todo!()
    }
    /// Removes an account and all its mail. Its sessions get [`Error::Gone`].
    pub fn remove(&self, _address: &str) -> Result<(), Error> {
        todo!()
    }
    /// Replaces the keys of an account.
    pub fn set_credential(&self, _address: &str, _credential: &Credential) -> Result<(), Error> {
        todo!()
    }
    /// Changes the quota of an account.
    pub fn set_quota(&self, _address: &str, _quota: Option<u64>) -> Result<(), Error> {
        todo!()
    }
    /// All accounts, by address.
    pub fn list(&self) -> Result<Vec<AccountInfo>, Error> {
        todo!()
    }
    /// The account of an address; local part and domain are compared in lower case.
    pub fn find(&self, _address: &str) -> Result<Option<Account>, Error> {
        todo!()
    }
}
