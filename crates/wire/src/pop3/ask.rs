//! What a POP3 session asks of the backend behind it.

use crate::sasl::{AccountAnswer, AccountAsk};

/// A question of the session.
#[derive(Debug, PartialEq, Eq)]
pub enum Ask {
    /// About a login. Answer: [`Answer::Account`].
    Account(AccountAsk),
    /// Lock the maildrop of the account just granted and list it. Answer: [`Answer::Opened`].
    Open,
    /// Octets of a message, from `offset`, at most `length`. Answer: [`Answer::Octets`]; fewer octets than asked for mean
    /// the end of the message, an error that it cannot be read (any more).
    Read {
        /// The message's UID.
        uid: u32,
        /// First octet wanted.
        offset: u64,
        /// How many octets at the most.
        length: u32,
    },
    /// QUIT in the TRANSACTION state: remove these messages, all or none, and unlock (RFC 1939 6).
    /// Answer: [`Answer::Updated`].
    Update {
        /// UIDs marked by DELE.
        deleted: Vec<u32>,
    },
}

/// The backend's answer.
#[derive(Debug, PartialEq, Eq)]
pub enum Answer {
    /// To [`Ask::Account`].
    Account(AccountAnswer),
    /// To [`Ask::Account`], instead of [`AccountAnswer::Granted`]: the login is good at the server behind this one, and that
    /// server takes the session over.
    HandOver {
        /// The account's name, for logs.
        account: Box<str>,
    },
    /// To [`Ask::Open`].
    Opened(Result<Maildrop, OpenError>),
    /// To [`Ask::Read`].
    Octets(Result<Vec<u8>, Fault>),
    /// To [`Ask::Update`].
    Updated(Result<(), Fault>),
}

/// The messages of a maildrop, fixed for the session.
#[derive(Debug, PartialEq, Eq)]
pub struct Maildrop {
    /// For UIDL: makes UIDs unique over the life of the maildrop.
    pub uidvalidity: u32,
    /// UID and size in octets of each message, in order of UID.
    pub messages: Vec<(u32, u64)>,
}

/// Why a maildrop cannot be opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OpenError {
    /// Another POP3 session has it: `[IN-USE]` (RFC 2449 8.1.1).
    InUse,
    /// A fault of ours: `[SYS/TEMP]` (RFC 3206).
    Fault,
}

/// A fault of ours: `[SYS/TEMP]` (RFC 3206).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fault;
