//! What SEARCH, SORT and THREAD ask for, and what they find.

use std::sync::Arc;

use super::{ModSeq, Uid};

/// SEARCH criteria (RFC 9051 6.4.4). Strings are UTF-8, compared without regard to case.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Criterion {
    /// ALL
    All,
    /// All of them.
    And(Vec<Criterion>),
    /// Either.
    Or(Box<Criterion>, Box<Criterion>),
    /// Not.
    Not(Box<Criterion>),
    /// A sequence set or UID set, resolved: ascending, inclusive ranges. Shared, because one command may name `$` often.
    Uids(Arc<[(Uid, Uid)]>),
    /// A system flag is set.
    Flag(SystemFlag),
    /// A keyword is set.
    Keyword(Box<str>),
    /// INTERNALDATE's day is before (days since 1970-01-01, in the message's own offset).
    Before(i64),
    /// … is that day.
    On(i64),
    /// … is that day or later.
    Since(i64),
    /// The Date: field's day is before.
    SentBefore(i64),
    /// … is that day.
    SentOn(i64),
    /// … is that day or later.
    SentSince(i64),
    /// Size above.
    Larger(u64),
    /// Size below.
    Smaller(u64),
    /// A header field (BCC, CC, FROM, SUBJECT, TO, HEADER) contains the text; an empty text: the field is there.
    Header(Box<str>, Box<str>),
    /// The body contains the text.
    Body(Box<str>),
    /// Header or body contain the text.
    Text(Box<str>),
    /// OLDER (RFC 5032): INTERNALDATE is at least so many seconds ago.
    Older(u64),
    /// YOUNGER: INTERNALDATE is at most so many seconds ago.
    Younger(u64),
    /// SAVEDBEFORE (RFC 8514): the day in UTC on which it came into the mailbox is before.
    SavedBefore(i64),
    /// SAVEDON
    SavedOn(i64),
    /// SAVEDSINCE
    SavedSince(i64),
    /// MODSEQ: the modification sequence is at least this (RFC 7162 3.1.5).
    ModSeq(ModSeq),
    /// EMAILID (RFC 8474)
    EmailId(Box<str>),
}

/// The flags SEARCH has keys of its own for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum SystemFlag {
    /// `\Seen`
    Seen,
    /// `\Answered`
    Answered,
    /// `\Flagged`
    Flagged,
    /// `\Deleted`
    Deleted,
    /// `\Draft`
    Draft,
}

/// The result of a search.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Found {
    /// Ascending; of a sorting, in the order asked for.
    pub uids: Vec<Uid>,
    /// The highest modification sequence among them, if the criteria mention MODSEQ.
    pub modseq: Option<ModSeq>,
}

/// What SORT compares messages by (RFC 5256 3).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct SortKey {
    /// By which property.
    pub by: SortBy,
    /// REVERSE
    pub reverse: bool,
}

/// The properties SORT knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum SortBy {
    /// INTERNALDATE
    Arrival,
    /// The mailbox part of the first Cc address.
    Cc,
    /// The Date field in UTC, or INTERNALDATE where there is none.
    Date,
    /// The mailbox part of the first From address.
    From,
    /// RFC822.SIZE
    Size,
    /// The base subject (RFC 5256 2.1).
    Subject,
    /// The mailbox part of the first To address.
    To,
}

/// How THREAD puts messages together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Threading {
    /// ORDEREDSUBJECT
    OrderedSubject,
    /// REFERENCES
    References,
}

/// A message in a thread. Threads are told as one list, each message before its replies, so that deep ones need no recursion.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Threaded {
    /// Which message; none: one that others refer to and that is not there.
    pub uid: Option<Uid>,
    /// 0 begins a thread; a reply has one more than what it replies to.
    pub depth: u32,
}
