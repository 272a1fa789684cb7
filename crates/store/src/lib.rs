//! The mail store: accounts, mailboxes and messages of one machine, kept so that an answered write survives a crash and the
//! loss of power.
//!
//! ```text
//!   DIR/store.db      SQLite (write-ahead log): accounts, mailboxes, messages, where each body is
//!   DIR/segments/     bodies: append-only files, large messages each in a file of their own
//!   DIR/spool/        large messages while they come in
//!   DIR/lock          held by the one process that serves the mail
//!   DIR/turn          held by an account command while it writes
//! ```
//!
//! - [`Store`] is the server's: reads block and return, writes are queued, made durable in groups by one thread, and then
//!   answered (see `writer.rs` for the order that makes a crash harmless).
//! - [`Incoming`] is a message on its way in; memory does not grow with it.
//! - [`Accounts`] works beside a running server, from another process.
//! - [`Store::subscribe`] tells a session that its mailbox changed; [`Store::changes`] tells what.
//!
//! Invariants: no message is visible before it is durable; a UID and a UIDVALIDITY are never given twice; each change of a
//! mailbox has a higher modification sequence than the last (RFC 7162); a body is removed with its last message; octets that
//! do not fit their checksum are never returned. Damage is an [`Error`], never a panic.
//!
//! Refused: a second server on one folder, a folder written by a newer version, messages that would leave less than
//! [`Options::min_free`] of the disk, mailbox names that cannot be told to every client.
//!
//! For a backup, copy `segments/` after `store.db` (with the database's own backup): what is there and not in the database is
//! removed at the next start, the other way round it would be missed.

mod accounts;
mod db;
mod error;
mod flags;
mod incoming;
mod listen;
mod name;
mod ops;
mod pieces;
mod read;
mod record;
mod rows;
mod segments;
mod store;
mod types;
mod writer;

pub use accounts::Accounts;
pub use error::{Blame, Error, Fault};
pub use incoming::Incoming;
pub use listen::Subscription;
pub use store::Store;
pub use types::{
    Account, AccountId, AccountInfo, BodyRef, Credential, Delivery, EmailId, MailboxId, Message,
    Options, Placed,
};
