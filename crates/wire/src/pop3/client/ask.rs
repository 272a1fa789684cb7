//! What happened, and what the owner of the session wants next.

use crate::client::{Credentials, Failure, Quote};
use crate::sasl::Mechanism;

/// What the server says it can do (RFC 2449).
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Capabilities {
    /// Every line, in upper case.
    pub lines: Vec<Box<str>>,
    /// The SASL mechanisms that we speak too.
    pub mechanisms: Vec<Mechanism>,
    /// Whether the server knew CAPA at all.
    pub known: bool,
}

impl Capabilities {
    pub(super) fn read(text: &[u8]) -> Self {
        let text = String::from_utf8_lossy(text).to_ascii_uppercase();
        let lines: Vec<Box<str>> = text
            .lines()
            .filter(|it| !it.is_empty())
            .map(Into::into)
            .collect();
        let mechanisms = lines
            .iter()
            .filter_map(|it| it.strip_prefix("SASL "))
            .flat_map(|it| it.split(' '))
            .filter_map(|it| Mechanism::from_name(it.as_bytes()))
            .collect();
        Self {
            lines,
            mechanisms,
            known: true,
        }
    }

    /// Whether a capability, given in upper case, is among them.
    pub fn has(&self, word: &str) -> bool {
        self.lines
            .iter()
            .any(|it| it.split(' ').next() == Some(word))
    }

    pub(super) fn sasl(&self) -> Vec<u8> {
        let line = self.lines.iter().find_map(|it| it.strip_prefix("SASL "));
        line.unwrap_or_default().as_bytes().to_vec()
    }
}

/// A command. Messages have numbers from 1.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Command {
    /// STAT.
    Stat,
    /// LIST of all messages.
    List,
    /// UIDL of all messages.
    Uidl,
    /// RETR.
    Retrieve(u32),
    /// TOP: the header and so many lines.
    Top(u32, u32),
    /// DELE: removed when QUIT is answered.
    Delete(u32),
    /// NOOP.
    Noop,
    /// RSET.
    Reset,
    /// A command as written, for a person at a terminal, and whether its good reply has many lines. STLS is refused; so are
    /// USER, PASS, APOP and AUTH where credentials may not be sent.
    Raw(Box<[u8]>, bool),
    /// QUIT, as it stands in [`Ask::Done`].
    Quit,
}

/// What a good reply brought.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Data {
    /// Nothing more.
    Nothing,
    /// STAT: messages and octets.
    Extent(u32, u64),
    /// LIST: number and octets.
    Sizes(Vec<(u32, u64)>),
    /// UIDL: number and unique id. Server text.
    Uids(Vec<(u32, Box<str>)>),
    /// The lines of a raw command's reply, dots undone. Not safe to print.
    Lines(Vec<u8>),
}

/// A command is over.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Done {
    /// Which.
    pub command: Command,
    /// Whether the reply was `+OK`.
    pub good: bool,
    /// The reply's text.
    pub text: Quote,
    /// The response code (RFC 2449 8, RFC 3206), in upper case: `SYS/TEMP`. Server text.
    pub code: Option<Box<str>>,
    /// What it brought.
    pub data: Data,
}

/// What happened. Every one wants an [`Answer`]; [`Answer::Wait`] is always right.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ask {
    /// The session is ready for a login.
    Ready(Box<Capabilities>),
    /// The login is good: by this mechanism, or by USER and PASS.
    LoggedIn(Option<Mechanism>),
    /// The login failed; the session goes on. With [`Failure::NotVerified`], [`Failure::NoMechanism`] or
    /// [`Failure::UnusableCredentials`] nothing of it was sent.
    LoginFailed(Box<Failure>),
    /// A block of the message of the command under way; at most 64 KiB, dots undone. The message is complete only when
    /// [`Ask::Done`] has come.
    Portion(u32, Vec<u8>),
    /// A command is over.
    Done(Box<Done>),
    /// There is news ([`crate::session::Machine::news`] was called) and nothing is under way: what next?
    Idle,
}

/// What to do next.
#[derive(Debug, PartialEq, Eq)]
pub enum Answer {
    /// Log in.
    Login(Box<Credentials>),
    /// Carry out these commands, in this order, behind those under way; ahead of their replies where the server allows it.
    Commands(Vec<Command>),
    /// Nothing now.
    Wait,
    /// Say QUIT when everything is done, and end.
    Quit,
}
