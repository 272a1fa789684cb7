//! The nouns of the store that its callers hold.

use std::fmt;

use gatepost_wire::imap::ask::{Flags, InternalDate, ModSeq, Uid};
use gatepost_wire::sasl::ScramRecord;

/// What is kept of a password.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Credential {
    /// Keys made with SHA-256.
    pub record: ScramRecord,
    /// Keys made with SHA-1 for old programs, if the configuration asked for them when the password was set [CONF-07].
    pub sha1: Option<ScramRecord>,
}

/// An account. Never used again for another one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AccountId(pub(crate) i64);

/// A mailbox, whatever its name is at the moment. Never used again for another one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MailboxId(pub(crate) i64);

/// EMAILID (RFC 8474 5.1): the same for every copy of a message. Displays as `E` and 16 hexadecimal digits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EmailId(pub(crate) u64);

impl fmt::Display for EmailId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "E{:016x}", self.0)
    }
}

/// An account, with what is needed to judge a login.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Account {
    /// Its id.
    pub id: AccountId,
    /// Its address, in lower case.
    pub address: String,
    /// Its keys.
    pub credential: Credential,
    /// The octets it may keep, where a message counts 1,024 at least; none: as many as it likes.
    pub quota: Option<u64>,
}

/// An account as the list of accounts shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AccountInfo {
    /// Its id.
    pub id: AccountId,
    /// Its address, in lower case.
    pub address: String,
    /// The octets it may keep, where a message counts 1,024 at least; none: as many as it likes.
    pub quota: Option<u64>,
    /// The octets it keeps, as its quota counts them: a message counts 1,024 at least, and a copied one twice.
    pub used: u64,
    /// How many messages it keeps.
    pub messages: u64,
}

/// Where a message is to go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Delivery {
    /// Whose mailbox.
    pub account: AccountId,
    /// Its name.
    pub mailbox: String,
    /// Flags to begin with.
    pub flags: Flags,
    /// INTERNALDATE.
    pub date: InternalDate,
}

/// Where a message went.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Placed {
    /// The mailbox.
    pub mailbox: MailboxId,
    /// Its UIDVALIDITY.
    pub uidvalidity: u32,
    /// The message's UID.
    pub uid: Uid,
}

/// A message in a mailbox.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    /// Its UID.
    pub uid: Uid,
    /// Its flags.
    pub flags: Flags,
    /// Its modification sequence.
    pub modseq: ModSeq,
    /// INTERNALDATE.
    pub date: InternalDate,
    /// SAVEDATE (RFC 8514): when it came into this mailbox, in seconds since 1970-01-01 00:00 UTC.
    pub saved: i64,
    /// Its size in octets.
    pub size: u64,
    /// EMAILID.
    pub email_id: EmailId,
    /// Where its octets are, for [`crate::Store::read`].
    pub body: BodyRef,
}

/// What stands in a message's row alone: cheaper to ask for than a [`Message`], for clients that compare all flags of a mailbox.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Facts {
    /// Its UID.
    pub uid: Uid,
    /// Its flags.
    pub flags: Flags,
    /// Its modification sequence.
    pub modseq: ModSeq,
    /// INTERNALDATE.
    pub date: InternalDate,
    /// SAVEDATE, as in [`Message`].
    pub saved: i64,
    /// Its size in octets.
    pub size: u64,
}

/// Where a message's octets are. Stays good as long as any copy of the message is kept; after that, reading answers
/// [`crate::Error::Gone`] or still the octets.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct BodyRef {
    pub(crate) segment: i64,
    pub(crate) position: u64,
    pub(crate) size: u64,
}

impl BodyRef {
    /// The message's size in octets.
    pub const fn size(&self) -> u64 {
        self.size
    }
}

/// How the store behaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Options {
    /// Octets of the file system that are left free: with less, nothing new is taken ([`crate::Error::DiskFull`]).
    pub min_free: u64,
    /// Messages above this many octets wait on disk while they come in, and get a file of their own.
    pub spool_above: usize,
    /// A segment file that has reached this many octets gets no more messages.
    pub segment_size: u64,
    /// The largest message taken, in octets, with the fields added on the way in: above the limit sessions announce.
    pub max_message: u64,
    /// How many mailboxes an account may have, and how many subscriptions.
    pub max_mailboxes: u32,
    /// How many messages a mailbox may have ([`crate::Error::Limit`]).
    pub max_messages: u32,
    /// How many different keywords a mailbox may have.
    pub max_keywords: u32,
    /// How many reads can run at the same time.
    pub readers: usize,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            min_free: 128 << 20,
            spool_above: 256 << 10,
            segment_size: 64 << 20,
            max_message: 64 << 20,
            max_mailboxes: 10_000,
            max_messages: 1_000_000,
            max_keywords: 500,
            readers: 4,
        }
    }
}
