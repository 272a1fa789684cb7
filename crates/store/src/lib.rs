//! The mail store: accounts, mailboxes and messages of one machine, kept so that an answered write survives a crash and the
//! loss of power.
//!
//! ```text
//!   DIR/store.db      SQLite (write-ahead log): accounts, mailboxes, messages, where each body is
//!   DIR/segments/     bodies: append-only files, large messages each in a file of their own
//!   DIR/spool/        large messages while they come in
//!   DIR/lock          held by the one process that serves the mail
//!   DIR/turn          held by an account command or an import while it writes
//!   DIR/import        held by the one import that brings mail in
//!   DIR/hold          held by a backup, a check or an export: the server removes no segment meanwhile
//! ```
//!
//! - [`Store`] is the server's: reads block and return, writes are queued, made durable in groups by one thread, and then
//!   answered (see `writer.rs` for the order that makes a crash harmless).
//! - [`Incoming`] is a message on its way in; memory does not grow with it.
//! - [`Accounts`] works beside a running server, from another process.
//! - [`Store::candidates`] narrows a search for texts down, by an index that [`Store::keep_index`] has a thread keep.
//! - [`Store::subscribe`] tells a session that its mailbox changed; [`Store::changes`] tells what.
//!
//! Invariants: no message is visible before it is durable; a UID and a UIDVALIDITY are never given twice; each change of a
//! mailbox has a higher modification sequence than the last (RFC 7162); a body is removed with its last message; octets that
//! do not fit their checksum are never returned. Damage is an [`Error`], never a panic.
//!
//! Refused: a second server on one folder, a folder written by a newer version, messages that would leave less than
//! [`Options::min_free`] of the disk, mailbox names that cannot be told to every client.
//!
//! Beside the server, from other processes: [`backup`] and [`restore`] copy the whole, [`check`] finds damage and repairs it,
//! [`Beside`] brings mail in and [`Reading`] reads it.

mod accounts;
mod backup;
mod beside;
mod check;
mod db;
mod error;
mod flags;
mod incoming;
mod listen;
mod lists;
mod name;
mod ops;
mod pieces;
mod read;
mod record;
mod repair;
mod rows;
mod salvage;
mod search;
mod segments;
mod store;
mod types;
mod writer;

pub use accounts::Accounts;
pub use backup::{Copies, Progress, backup, restore};
pub use beside::{Arrival, Beside, Mark, Reading};
pub use check::{Finding, Found, Harm, Place, Report, check, is_store};
pub use error::{Blame, Error, Fault};
pub use incoming::Incoming;
pub use listen::Subscription;
pub use search::keeper::Octets;
pub use search::{Grams, Hint};
pub use store::Store;
pub use types::{
    Account, AccountId, AccountInfo, BodyRef, Credential, Delivery, EmailId, Facts, MailboxId,
    Message, Options, Placed,
};
