//! What a command is waiting for, and what comes when it is over.

use std::collections::VecDeque;

use super::append::Append;
use super::changes::Resync;
use super::fetch::{Fetch, Plan};
use super::list::List;
use super::messages::Quiet;
use super::notify::Notify;
use super::search::Return;
use super::status::StatusItems;
use super::table::Verb;
use crate::imap::ask::Uid;

/// What a command is waiting for.
#[derive(Debug)]
#[allow(
    clippy::large_enum_variant,
    reason = "a job lives in a box of its own, for one command"
)]
pub(super) enum Job {
    /// The mailbox selected before is being left; then the new one is opened.
    Reselect(Selecting),
    Select(Selecting),
    /// SELECT (QRESYNC …) asks what the client missed (RFC 7162 3.2.5).
    Resync {
        tag: Box<str>,
        resync: Resync,
    },
    /// CLOSE is removing what is marked.
    Close {
        tag: Box<str>,
    },
    Unselect {
        tag: Box<str>,
        verb: Verb,
    },
    /// Changes to be told.
    Changes(After),
    Idle {
        tag: Box<str>,
    },
    /// UID FETCH (CHANGEDSINCE … VANISHED) asks what is gone (RFC 7162 3.2.6).
    Vanished(Narrowing),
    /// FETCH CHANGEDSINCE is looking for the messages it is about.
    Narrow(Narrowing),
    Fetch {
        end: FetchEnd,
        fetch: Fetch,
    },
    Search {
        tag: Box<str>,
        verb: Verb,
        want: Return,
    },
    Sort {
        tag: Box<str>,
        verb: Verb,
    },
    Thread {
        tag: Box<str>,
        verb: Verb,
    },
    Store {
        tag: Box<str>,
        quiet: Quiet,
    },
    /// COPY and MOVE.
    Copy {
        tag: Box<str>,
        verb: Verb,
    },
    Expunge {
        tag: Box<str>,
        verb: Verb,
    },
    List {
        tag: Box<str>,
        list: List,
    },
    /// LIST RETURN (STATUS …), one mailbox after the other.
    ListStatus {
        tag: Box<str>,
        items: StatusItems,
        current: String,
        left: VecDeque<String>,
    },
    Status {
        tag: Box<str>,
        items: StatusItems,
        mailbox: String,
    },
    /// GETQUOTA, and GETQUOTAROOT with its mailbox.
    Quota {
        tag: Box<str>,
        verb: Verb,
        mailbox: Option<String>,
    },
    Create {
        tag: Box<str>,
        mailbox: String,
    },
    /// The mailbox is made; its id is asked for.
    Created {
        tag: Box<str>,
    },
    /// DELETE, RENAME, SUBSCRIBE, UNSUBSCRIBE.
    Change {
        tag: Box<str>,
        verb: Verb,
    },
    Append(Append),
    /// NOTIFY begins or ends to watch the account.
    Watch {
        tag: Box<str>,
        notify: Option<Box<Notify>>,
    },
    /// NOTIFY SET looks at all mailboxes for the first time.
    FirstOverview {
        tag: Box<str>,
        notify: Box<Notify>,
    },
    /// NOTIFY looks at them again.
    Overview {
        idle: Option<Box<str>>,
    },
}

/// SELECT or EXAMINE.
#[derive(Debug)]
pub(super) struct Selecting {
    pub(super) tag: Box<str>,
    pub(super) mailbox: String,
    pub(super) read_only: bool,
    pub(super) resync: Option<Resync>,
}

/// FETCH CHANGEDSINCE.
#[derive(Debug)]
pub(super) struct Narrowing {
    pub(super) tag: Box<str>,
    pub(super) by_uid: bool,
    pub(super) plan: Plan,
    pub(super) uids: Vec<Uid>,
    pub(super) since: u64,
    /// The set as ranges of UIDs, when VANISHED was asked for.
    pub(super) ranges: Vec<(Uid, Uid)>,
    pub(super) partial: Option<super::window::Window>,
}

/// What comes when changes have been told.
#[derive(Debug)]
pub(super) enum After {
    /// The tagged reply.
    Reply(Ending),
    /// IDLE goes on.
    Idle(Box<str>),
    /// Nothing: it was told between commands (RFC 5465).
    Nothing,
    /// The end of a DELETE that was done. The mailbox selected may have been the one.
    Deleted(Box<str>),
}

/// The end of a command.
#[derive(Debug, Default)]
pub(super) struct Ending {
    /// What stands before the code.
    pub(super) head: String,
    /// What stands behind it, or all of the reply.
    pub(super) tail: String,
    /// `[HIGHESTMODSEQ n]` stands between them (RFC 7162 3.2.7).
    pub(super) highest: bool,
    /// Whether the client may be told now that messages are gone.
    pub(super) expunge: bool,
}

/// How a FETCH ends.
#[derive(Debug)]
pub(super) enum FetchEnd {
    /// With the tagged reply.
    Tagged { tag: Box<str>, by_uid: bool },
    /// It told what NOTIFY wants to know of new messages; this comes then.
    Pushed(After),
}
