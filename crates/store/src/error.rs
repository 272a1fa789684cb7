//! What can go wrong, by whose fault it is. No free text: each variant is one reason, and callers map it with a total
//! `match` to a reply or a response code of their protocol.

use std::fmt;
use std::io;

/// Why the store did not do what it was asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Error {
    // Policy: the request is understood and refused.
    /// There is no mailbox of this name, or no such account.
    NoSuchMailbox,
    /// A mailbox or account of this name is there already.
    AlreadyExists,
    /// The mailbox name, keyword or account address is not possible, or INBOX was to be deleted.
    Cannot,
    /// A name that exists only through its children cannot be deleted while it has them (RFC 9051 6.3.5).
    HasChildren,
    /// The account would have more octets than its quota allows.
    OverQuota,
    /// The message is larger than [`crate::Options::max_message`].
    TooBig,
    /// The account or mailbox has as many mailboxes, subscriptions, messages or keywords as it may have, or one command
    /// was to copy too many messages.
    Limit,
    /// Another mailbox of the account has this special use (RFC 6154 3).
    UseAttr,
    /// There is no account of this address.
    NoSuchAccount,
    /// The mailbox or the message was there when its id was handed out, and is gone.
    Gone,

    // Local: our disk, our machine.
    /// The disk is full, or less than [`crate::Options::min_free`] octets of it are free. May pass.
    DiskFull,
    /// Another process has the store open.
    Locked,
    /// What is on disk is not what was written: a checksum or the database's structure is wrong.
    Damaged,
    /// The store was written by a newer version of this program.
    Newer,
    /// A fault of the disk or the database, or a write after one: see [`Fault`].
    Fault(Fault),
}

/// The cause of an [`Error::Fault`], for the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Fault {
    /// The operating system refused.
    Io(io::ErrorKind),
    /// It refused a file of the data folder, by its name in there, when the store was opened.
    File(&'static str, io::ErrorKind),
    /// The database refused; its extended result code.
    Database(i32),
    /// An earlier write could not be made durable. What the disk holds is not known any more, so nothing is written until
    /// the program starts again.
    Poisoned,
    /// The store is being closed.
    Closed,
}

/// Whose fault an [`Error`] is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Blame {
    /// We refuse.
    Policy,
    /// Our disk or our machine.
    Local,
}

impl Error {
    /// Whose fault it is.
    pub const fn blame(self) -> Blame {
        match self {
            Self::NoSuchMailbox
            | Self::AlreadyExists
            | Self::Cannot
            | Self::HasChildren
            | Self::OverQuota
            | Self::TooBig
            | Self::Limit
            | Self::UseAttr
            | Self::NoSuchAccount
            | Self::Gone => Blame::Policy,
            Self::DiskFull | Self::Locked | Self::Damaged | Self::Newer | Self::Fault(_) => {
                Blame::Local
            }
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NoSuchMailbox => "no such mailbox",
            Self::AlreadyExists => "it exists already",
            Self::Cannot => "the name is not possible",
            Self::HasChildren => "it has children",
            Self::OverQuota => "over quota",
            Self::TooBig => "the message is too large",
            Self::Limit => "a limit is reached",
            Self::UseAttr => "another mailbox has this special use",
            Self::NoSuchAccount => "no such account",
            Self::Gone => "it is gone",
            Self::DiskFull => "the disk is full, or nearly so",
            Self::Locked => {
                "another gatepost uses this folder: stop it, or give another data folder"
            }
            Self::Damaged => "the stored data is damaged",
            Self::Newer => "the store was written by a newer version",
            Self::Fault(Fault::Io(kind)) => return write!(f, "disk fault: {kind}"),
            Self::Fault(Fault::File(name, kind)) => {
                return write!(f, "cannot use the file {name} in the data folder: {kind}");
            }
            Self::Fault(Fault::Database(code)) => {
                return write!(f, "database fault: SQLite code {code}");
            }
            Self::Fault(Fault::Poisoned) => "an earlier write failed; restart needed",
            Self::Fault(Fault::Closed) => "the store is closing",
        })
    }
}

impl std::error::Error for Error {}

impl Error {
    /// A file of the data folder that cannot be used.
    pub(crate) fn of_file(name: &'static str, error: &io::Error) -> Self {
        match Self::from(error.kind()) {
            Self::Fault(Fault::Io(kind)) => Self::Fault(Fault::File(name, kind)),
            other => other,
        }
    }
}

impl From<io::Error> for Error {
    fn from(error: io::Error) -> Self {
        Self::from(error.kind())
    }
}

impl From<io::ErrorKind> for Error {
    fn from(kind: io::ErrorKind) -> Self {
        match kind {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Self::DiskFull,
            kind => Self::Fault(Fault::Io(kind)),
        }
    }
}

impl From<rusqlite::Error> for Error {
    fn from(error: rusqlite::Error) -> Self {
        use rusqlite::ErrorCode;
        match error {
            rusqlite::Error::SqliteFailure(failure, _) => match failure.code {
                ErrorCode::DiskFull => Self::DiskFull,
                ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase => Self::Damaged,
                _ => Self::Fault(Fault::Database(failure.extended_code)),
            },
            // A value of the wrong type or out of range: the row is not one this program wrote.
            rusqlite::Error::FromSqlConversionFailure(..)
            | rusqlite::Error::IntegralValueOutOfRange(..)
            | rusqlite::Error::InvalidColumnType(..)
            | rusqlite::Error::QueryReturnedNoRows => Self::Damaged,
            _ => Self::Fault(Fault::Database(rusqlite::ffi::SQLITE_ERROR)),
        }
    }
}
