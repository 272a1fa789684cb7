//! What happened, and what the owner of the session wants next.

use super::reader::Portion;
use super::response::{Data, Status};
use crate::client::{Credentials, Failure, Quote};
use crate::sasl::Mechanism;

/// What the server says it can do.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Capabilities {
    /// Every word, in upper case.
    pub words: Vec<Box<str>>,
    /// The SASL mechanisms that we speak too.
    pub mechanisms: Vec<Mechanism>,
}

impl Capabilities {
    pub(super) fn read(text: &[u8]) -> Self {
        let text = String::from_utf8_lossy(text).to_ascii_uppercase();
        let words: Vec<Box<str>> = text
            .split(' ')
            .filter(|it| !it.is_empty())
            .map(Into::into)
            .collect();
        let mechanisms = words
            .iter()
            .filter_map(|it| Mechanism::from_name(it.strip_prefix("AUTH=")?.as_bytes()))
            .collect();
        Self { words, mechanisms }
    }

    /// Whether the word, given in upper case, is among them.
    pub fn has(&self, word: &str) -> bool {
        self.words.iter().any(|it| &**it == word)
    }

    pub(super) fn auth(&self) -> Vec<u8> {
        let names: Vec<&str> = self
            .words
            .iter()
            .filter_map(|it| it.strip_prefix("AUTH="))
            .collect();
        names.join(" ").into_bytes()
    }
}

/// What happened. Every one wants an [`Answer`]; [`Answer::Wait`] is right unless content or a line is wanted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ask {
    /// The session is ready: for a login, or, if `logged_in`, for commands (PREAUTH inside TLS).
    Ready {
        /// What the server can do.
        capabilities: Box<Capabilities>,
        /// Whether the server says that the client certificate was login enough.
        logged_in: bool,
    },
    /// The login is good: by this mechanism, or by LOGIN, the command. Capabilities are those after the login.
    LoggedIn(Option<Mechanism>),
    /// The login failed; the session goes on. With [`Failure::NotVerified`], [`Failure::NoMechanism`],
    /// [`Failure::LoginDisabled`] or [`Failure::UnusableCredentials`] nothing of it was sent.
    LoginFailed(Box<Failure>),
    /// Data from the server. [`Data::Fetched`] comes behind the portions of its message.
    Data(Box<Data>),
    /// A block of a message body.
    Portion(Box<Portion>),
    /// The message for APPEND is wanted: answer [`Answer::Content`].
    Content,
    /// The server waits for the next line of a command given as [`Command::Raw`]: answer [`Answer::Line`].
    Continue(Quote),
    /// The server waits for changes and will tell them ([`Command::Idle`]); [`Answer::Done`] or
    /// [`crate::session::Machine::news`] ends it.
    Idling,
    /// The command is over.
    Done(Box<Status>),
    /// There is news ([`crate::session::Machine::news`] was called) and no command is under way: what next?
    Idle,
}

/// What to do next.
#[derive(Debug, PartialEq, Eq)]
pub enum Answer {
    /// Log in.
    Login(Box<Credentials>),
    /// Carry out a command. While another is under way it waits for it.
    Command(Command),
    /// A portion of the message for APPEND.
    Content(Vec<u8>),
    /// The next line of a raw command.
    Line(Box<[u8]>),
    /// End IDLE.
    Done,
    /// Nothing now.
    Wait,
    /// Say LOGOUT and end.
    Quit,
}

/// What STORE does with the flags.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Change {
    /// Adds them.
    Add,
    /// Removes them.
    Remove,
    /// Sets exactly them.
    Replace,
}

/// A command. Names of mailboxes are given as they are; sets of UIDs as in RFC 9051 9, `sequence-set`: `1:*`, `4,7:9`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Command {
    /// SELECT, or EXAMINE.
    Select {
        /// The mailbox.
        mailbox: String,
        /// Whether to look without changing anything.
        read_only: bool,
    },
    /// LIST with an empty reference.
    List {
        /// The pattern: `*`, `%`, a name.
        pattern: String,
    },
    /// STATUS.
    Status {
        /// The mailbox.
        mailbox: String,
        /// The items, such as `MESSAGES UIDNEXT UIDVALIDITY`.
        items: String,
    },
    /// UID SEARCH; the result is [`Data::Found`] with ESEARCH or without.
    Search {
        /// The criteria in IMAP's words, ASCII.
        criteria: String,
    },
    /// UID FETCH.
    Fetch {
        /// The UIDs.
        uids: String,
        /// The items, such as `(UID FLAGS BODY.PEEK[])`.
        items: String,
    },
    /// UID STORE, silent.
    Store {
        /// The UIDs.
        uids: String,
        /// What to do.
        change: Change,
        /// The flags, such as `\Seen \Deleted`.
        flags: String,
    },
    /// EXPUNGE, or UID EXPUNGE (RFC 4315) of these only.
    Expunge {
        /// The UIDs; none: all marked.
        uids: Option<String>,
    },
    /// CREATE.
    Create {
        /// The mailbox.
        mailbox: String,
    },
    /// APPEND; the message is asked for with [`Ask::Content`].
    Append {
        /// The mailbox.
        mailbox: String,
        /// The flags, such as `\Seen`; may be empty.
        flags: String,
        /// When it came (RFC 9051 9, `date-time`, without its quotes): `26-Nov-2026 13:05:07 +0100`; none: now.
        date: Option<String>,
        /// The exact size of the message in octets.
        octets: u64,
    },
    /// IDLE (RFC 2177).
    Idle,
    /// NOOP.
    Noop,
    /// A command as written, without its tag, for a person at a terminal. STARTTLS and COMPRESS are refused; so are LOGIN and
    /// AUTHENTICATE where credentials may not be sent.
    Raw(Box<[u8]>),
}
