//! What an IMAP session asks of the mailbox behind it.
//!
//! Sequence numbers never pass this border: the session keeps the list of UIDs it has told the client about and translates.
//! Messages are named by UID in the selected mailbox. Content of any size passes in pieces ([`Ask::Read`],
//! [`Ask::AppendContent`]), so memory does not grow with it.

mod criteria;

use std::collections::BTreeSet;
use std::sync::Arc;

use imap_types::body::BodyStructure;
use imap_types::envelope::Envelope;

pub use self::criteria::{Criterion, Found, SortBy, SortKey, SystemFlag, Threaded, Threading};
use crate::sasl::{AccountAnswer, AccountAsk};

/// A message's UID in its mailbox, from 1.
pub type Uid = u32;
/// A modification sequence (RFC 7162), from 1.
pub type ModSeq = u64;

/// A question of the session.
#[derive(Debug, PartialEq)]
pub enum Ask {
    /// About a login. Answer: [`Answer::Account`].
    Account(AccountAsk),
    /// Open a mailbox and begin to watch it for changes. Answer: [`Answer::Selected`].
    Select {
        /// Its name, decoded; `INBOX` in upper case.
        mailbox: String,
        /// EXAMINE.
        read_only: bool,
    },
    /// Leave the selected mailbox. Answer: [`Answer::Done`].
    Unselect,
    /// What changed in the selected mailbox after `since`? Answer: [`Answer::Changes`].
    Changes {
        /// The highest modification sequence the session knows.
        since: ModSeq,
    },
    /// Data of messages, in the order of `uids`. The backend may answer for the first ones only (at least one), when the
    /// answer would grow large; the session asks again for the rest. Messages that are gone are left out, but named in
    /// [`Rows::answered`]. Answer: [`Answer::Rows`].
    Fetch {
        /// Which messages.
        uids: Vec<Uid>,
        /// What of each.
        items: Arc<[Item]>,
        /// Set `\Seen` on them first (RFC 9051 6.4.5).
        mark_seen: bool,
    },
    /// Octets of a stored message from `offset`, at most `length`. Answer: [`Answer::Octets`].
    Read {
        /// Which message.
        uid: Uid,
        /// First octet wanted.
        offset: u64,
        /// How many, at most 64 KiB.
        length: u32,
    },
    /// Which messages match? Answer: [`Answer::Found`].
    Search {
        /// The criteria, sequence sets resolved to UIDs.
        criteria: Criterion,
        /// Only messages among these (what the session has told the client about).
        among: Arc<[Uid]>,
    },
    /// The same, in an order (RFC 5256 3). Answer: [`Answer::Found`].
    Sort {
        /// By what, the most important first.
        by: Arc<[SortKey]>,
        /// The criteria, sequence sets resolved to UIDs.
        criteria: Criterion,
        /// Only messages among these.
        among: Arc<[Uid]>,
    },
    /// The same, put together in threads (RFC 5256 3). Answer: [`Answer::Threads`].
    Thread {
        /// How.
        by: Threading,
        /// The criteria, sequence sets resolved to UIDs.
        criteria: Criterion,
        /// Only messages among these.
        among: Arc<[Uid]>,
    },
    /// Change flags. Answer: [`Answer::Stored`].
    Store {
        /// Which messages.
        uids: Vec<Uid>,
        /// How.
        change: FlagChange,
        /// Only messages whose modification sequence is not above this (RFC 7162 3.1.3).
        unchanged_since: Option<ModSeq>,
    },
    /// Copy messages. Answer: [`Answer::Copied`].
    Copy {
        /// Which messages.
        uids: Vec<Uid>,
        /// To which mailbox.
        to: String,
        /// Remove them here in the same step (RFC 6851).
        remove: bool,
    },
    /// Remove messages marked `\Deleted`. Answer: [`Answer::Expunged`].
    Expunge {
        /// Only these (UID EXPUNGE, RFC 4315), or all.
        only: Option<Vec<Uid>>,
    },
    /// A message is about to be appended. Without a commit between them, several are kept together or not at all (RFC 3502): a
    /// refusal forgets those before it too. Answer: [`Answer::Checked`].
    AppendBegin(Append),
    /// A piece of it, at most 64 KiB. Answer: [`Answer::Checked`].
    AppendContent(Vec<u8>),
    /// All came: keep them. Answer: [`Answer::Appended`], when they are on disk.
    AppendCommit,
    /// Forget them. Answer: [`Answer::Done`].
    AppendAbort,
    /// All mailboxes of the account. Answer: [`Answer::Mailboxes`].
    List,
    /// Facts about a mailbox. Answer: [`Answer::Status`].
    Status {
        /// Which.
        mailbox: String,
        /// Whether DELETED-STORAGE is wanted too, which takes a look at every message.
        deleted_size: bool,
    },
    /// What the account may keep, and what it keeps. Answer: [`Answer::Quota`].
    Quota {
        /// A mailbox that must be there.
        mailbox: Option<String>,
    },
    /// From now on call changes of any mailbox of the account news, or no longer. Answer: [`Answer::Done`].
    Watch {
        /// Whether to.
        on: bool,
    },
    /// All mailboxes of the account with their facts, for NOTIFY. Answer: [`Answer::Overview`].
    Overview,
    /// Create a mailbox. Answer: [`Answer::Checked`].
    Create {
        /// Its name.
        mailbox: String,
        /// Its special use (RFC 6154).
        special_use: Option<SpecialUse>,
    },
    /// Delete a mailbox. Answer: [`Answer::Checked`].
    Delete {
        /// Which.
        mailbox: String,
    },
    /// Rename a mailbox (and its children; INBOX as RFC 9051 6.3.6 says). Answer: [`Answer::Checked`].
    Rename {
        /// The present name.
        from: String,
        /// The new one.
        to: String,
    },
    /// Subscribe or unsubscribe. Answer: [`Answer::Checked`].
    Subscribe {
        /// Which mailbox.
        mailbox: String,
        /// True to subscribe.
        subscribed: bool,
    },
}

/// The backend's answer.
#[derive(Debug, PartialEq)]
pub enum Answer {
    /// To [`Ask::Account`].
    Account(AccountAnswer),
    /// To [`Ask::Account`], instead of [`AccountAnswer::Granted`]: the login is good at the server behind this one, and that
    /// server takes the session over. The list is what it can do now, if it has said so.
    HandOver {
        /// The account's name, for logs.
        account: Box<str>,
        /// Capabilities for the tagged OK.
        capabilities: Option<Box<str>>,
    },
    /// To [`Ask::Select`].
    Selected(Result<Selected, Refusal>),
    /// Nothing to say.
    Done,
    /// To [`Ask::Changes`].
    Changes(Result<Changes, Refusal>),
    /// To [`Ask::Fetch`].
    Rows(Result<Rows, Refusal>),
    /// To [`Ask::Read`]. Fewer octets than asked for: the message ends there.
    Octets(Result<Vec<u8>, Refusal>),
    /// To [`Ask::Search`] and [`Ask::Sort`], with the highest modification sequence found if the criteria mention MODSEQ.
    Found(Result<Found, Refusal>),
    /// To [`Ask::Thread`].
    Threads(Result<Vec<Threaded>, Refusal>),
    /// To [`Ask::Store`].
    Stored(Result<StoreOutcome, Refusal>),
    /// To [`Ask::Copy`].
    Copied(Result<Copied, Refusal>),
    /// To [`Ask::Expunge`]: what was removed, ascending.
    Expunged(Result<Vec<Uid>, Refusal>),
    /// To [`Ask::AppendCommit`]: UIDVALIDITY and the UIDs, in the order in which the messages came.
    Appended(Result<(u32, Vec<Uid>), Refusal>),
    /// To [`Ask::List`].
    Mailboxes(Result<Vec<Mailbox>, Refusal>),
    /// To [`Ask::Status`].
    Status(Result<Status, Refusal>),
    /// To [`Ask::Quota`].
    Quota(Result<Quota, Refusal>),
    /// To [`Ask::Overview`]: no facts of names that are no mailboxes.
    Overview(Result<Vec<(Mailbox, Option<Status>)>, Refusal>),
    /// Done, or the reason why not.
    Checked(Result<(), Refusal>),
}

/// Why the backend refuses; the response code of each is RFC 5530's (RFC 9051 7.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Refusal {
    /// `NO [NONEXISTENT]`; in APPEND, COPY and MOVE `NO [TRYCREATE]`.
    NoSuchMailbox,
    /// `NO [ALREADYEXISTS]`.
    AlreadyExists,
    /// `NO [CANNOT]`: the name is not possible, or INBOX cannot be deleted.
    Cannot,
    /// `NO [HASCHILDREN]`.
    HasChildren,
    /// `NO [OVERQUOTA]`.
    OverQuota,
    /// `NO [TOOBIG]` (RFC 7889).
    TooBig,
    /// `NO [LIMIT]`.
    Limit,
    /// `NO [USEATTR]` (RFC 6154).
    UseAttr,
    /// `NO [EXPUNGEISSUED]`: the message to be replaced is gone.
    Expunged,
    /// `NO [UNAVAILABLE]`: the disk is full, or another fault of ours that may pass.
    Unavailable,
    /// The selected mailbox or the account is gone: the session ends with BYE.
    Gone,
}

/// A message's flags.
#[allow(
    clippy::struct_excessive_bools,
    reason = "each is one independent flag of the standard"
)]
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Flags {
    /// `\Seen`
    pub seen: bool,
    /// `\Answered`
    pub answered: bool,
    /// `\Flagged`
    pub flagged: bool,
    /// `\Deleted`
    pub deleted: bool,
    /// `\Draft`
    pub draft: bool,
    /// Keywords (`$Forwarded`, `Junk`, …), each an IMAP atom; compared without regard to ASCII case, kept as first written.
    pub keywords: BTreeSet<Box<str>>,
}

/// How STORE changes flags.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FlagChange {
    /// `FLAGS`
    Replace(Flags),
    /// `+FLAGS`
    Add(Flags),
    /// `-FLAGS`
    Remove(Flags),
}

/// A point in time as IMAP's date-time gives it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct InternalDate {
    /// Seconds since 1970-01-01 00:00 UTC.
    pub unix: i64,
    /// Offset from UTC in minutes, for display.
    pub offset_minutes: i16,
}

/// A mailbox just opened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Selected {
    /// UIDs in ascending order.
    pub uids: Vec<Uid>,
    /// UIDVALIDITY.
    pub uidvalidity: u32,
    /// UIDNEXT.
    pub uidnext: Uid,
    /// HIGHESTMODSEQ.
    pub highest_modseq: ModSeq,
    /// The first message without `\Seen`.
    pub first_unseen: Option<Uid>,
    /// Keywords in use in the mailbox.
    pub keywords: BTreeSet<Box<str>>,
    /// MAILBOXID (RFC 8474): letters, digits, `-` and `_`.
    pub mailbox_id: Box<str>,
    /// What is kept of vanished messages reaches back to this modification sequence.
    pub read_only: bool,
}

/// What changed in a mailbox after a modification sequence.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Changes {
    /// Removed messages, ascending. May name messages the session never knew.
    pub vanished: Vec<Uid>,
    /// New messages and messages with changed flags, ascending by UID.
    pub changed: Vec<Changed>,
    /// HIGHESTMODSEQ after all of it.
    pub highest_modseq: ModSeq,
}

/// A new message, or one whose flags changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Changed {
    /// Which.
    pub uid: Uid,
    /// Its flags now.
    pub flags: Flags,
    /// Its modification sequence now.
    pub modseq: ModSeq,
}

/// What FETCH asks of each message. `UID` is the session's own to give.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Item {
    /// FLAGS
    Flags,
    /// INTERNALDATE
    InternalDate,
    /// RFC822.SIZE
    Size,
    /// MODSEQ
    ModSeq,
    /// ENVELOPE
    Envelope,
    /// BODYSTRUCTURE (`extended`) or BODY
    BodyStructure {
        /// With extension data.
        extended: bool,
    },
    /// EMAILID (RFC 8474)
    EmailId,
    /// SAVEDATE (RFC 8514)
    SaveDate,
    /// PREVIEW (RFC 8970): the beginning of its text.
    Preview,
    /// BODY[…], RFC822, RFC822.HEADER, RFC822.TEXT
    Section(Section),
    /// BINARY[…] (RFC 3516): the part with its transfer encoding undone.
    Binary {
        /// The part numbers; empty: the whole message.
        part: Vec<u32>,
        /// `<start.count>`
        partial: Option<(u32, u32)>,
    },
    /// BINARY.SIZE[…]
    BinarySize {
        /// The part numbers; empty: the whole message.
        part: Vec<u32>,
    },
}

impl Item {
    /// Whether it tells of a message what stands in its row: flags, dates, numbers. Such rows are small, and many are asked for at once.
    pub fn is_in_row(&self) -> bool {
        matches!(
            self,
            Self::Flags | Self::InternalDate | Self::Size | Self::ModSeq | Self::SaveDate
        )
    }
}

/// A section of a message (RFC 9051 6.4.5).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Section {
    /// The part numbers; empty: the whole message.
    pub part: Vec<u32>,
    /// Which text of it.
    pub text: SectionText,
    /// `<start.count>`
    pub partial: Option<(u32, u32)>,
}

/// Which text of a part.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SectionText {
    /// All of it (of a part: its body).
    All,
    /// HEADER: of the message, or of the embedded message
    Header,
    /// HEADER.FIELDS: only the fields named (compared without regard to case), in the message's order
    HeaderFields(Vec<String>),
    /// HEADER.FIELDS.NOT
    HeaderFieldsNot(Vec<String>),
    /// TEXT
    Text,
    /// MIME: the part's own header
    Mime,
}

/// Messages' data, in the order asked for.
#[derive(Debug, PartialEq, Default)]
pub struct Rows {
    /// One for each message that is still there.
    pub rows: Vec<Row>,
    /// How many of the UIDs asked for are answered by this, the vanished ones counted.
    pub answered: usize,
}

/// One message's data.
#[derive(Debug, PartialEq)]
pub struct Row {
    /// Which message.
    pub uid: Uid,
    /// Its flags (after `\Seen` was set).
    pub flags: Flags,
    /// Its modification sequence.
    pub modseq: ModSeq,
    /// Whether `\Seen` was set by this very fetch.
    pub newly_seen: bool,
    /// The data, one for each [`Item`] asked for, in the same order.
    pub data: Vec<Datum>,
}

/// One piece of a message's data.
#[derive(Debug, PartialEq)]
pub enum Datum {
    /// The item stands in the row itself (FLAGS, MODSEQ).
    InRow,
    /// INTERNALDATE
    Date(InternalDate),
    /// RFC822.SIZE, BINARY.SIZE
    Number(u64),
    /// ENVELOPE
    Envelope(Box<Envelope<'static>>),
    /// BODY, BODYSTRUCTURE
    BodyStructure(Box<BodyStructure<'static>>),
    /// EMAILID: letters, digits, `-` and `_`
    ObjectId(Box<str>),
    /// Text that is in memory: small sections, header fields, decoded parts.
    Bytes(Vec<u8>),
    /// Text that stands in the stored message from `offset` for `length` octets: the session reads it piece by piece.
    Stored {
        /// First octet.
        offset: u64,
        /// How many.
        length: u64,
    },
    /// There is no such part.
    Nil,
    /// The part's transfer encoding is unknown: `NO [UNKNOWN-CTE]` (RFC 3516).
    UnknownEncoding,
}

/// The result of STORE.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct StoreOutcome {
    /// The messages, with their flags now; only those that are still there.
    pub changed: Vec<Changed>,
    /// Messages left alone because they changed after UNCHANGEDSINCE.
    pub modified: Vec<Uid>,
    /// The modification sequences this change itself was given; none when all flags were already so. A message in `changed` may have
    /// another: then its flags were as wanted before, by somebody else's change.
    pub made: Vec<ModSeq>,
}

/// The result of COPY and MOVE (RFC 4315 3).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Copied {
    /// UIDVALIDITY of the destination.
    pub uidvalidity: u32,
    /// Old and new UID, ascending by the old one; messages that were gone are left out.
    pub uids: Vec<(Uid, Uid)>,
}

/// What APPEND announces.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Append {
    /// The destination.
    pub mailbox: String,
    /// The flags.
    pub flags: Flags,
    /// INTERNALDATE, if given.
    pub date: Option<InternalDate>,
    /// The size announced, in octets.
    pub size: u64,
    /// REPLACE (RFC 8508): the message of the selected mailbox that goes when this one is kept.
    pub replaces: Option<Uid>,
}

/// A mailbox as LIST tells it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mailbox {
    /// The full name, decoded, levels separated by `/`.
    pub name: String,
    /// Whether it is subscribed.
    pub subscribed: bool,
    /// False for a name that is subscribed, or has children, but does not exist itself (`\NonExistent`).
    pub exists: bool,
    /// Its special use.
    pub special_use: Option<SpecialUse>,
}

/// Special uses (RFC 6154).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum SpecialUse {
    /// `\Archive`
    Archive,
    /// `\Drafts`
    Drafts,
    /// `\Junk`
    Junk,
    /// `\Sent`
    Sent,
    /// `\Trash`
    Trash,
}

/// What STATUS tells.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Status {
    /// MESSAGES
    pub messages: u32,
    /// UNSEEN
    pub unseen: u32,
    /// DELETED
    pub deleted: u32,
    /// SIZE
    pub size: u64,
    /// UIDNEXT
    pub uidnext: Uid,
    /// UIDVALIDITY
    pub uidvalidity: u32,
    /// HIGHESTMODSEQ
    pub highest_modseq: ModSeq,
    /// MAILBOXID
    pub mailbox_id: Box<str>,
    /// DELETED-STORAGE (RFC 9208), if it was asked for.
    pub deleted_size: Option<u64>,
}

/// What an account may keep (RFC 9208).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Quota {
    /// Octets it keeps, as its quota counts them.
    pub used: u64,
    /// Octets it may keep; none: as many as it likes.
    pub limit: Option<u64>,
}
