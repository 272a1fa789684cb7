//! What happened, and what the owner of the session wants next.

use crate::client::{Credentials, Failure, Quote};
use crate::imap::client::value::Value;
use crate::sasl::Mechanism;

/// What the server says it can do.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Capabilities {
    /// Name, in upper case, and value. Server text.
    pub entries: Vec<(Box<str>, Box<str>)>,
    /// The SASL mechanisms that we speak too.
    pub mechanisms: Vec<Mechanism>,
}

impl Capabilities {
    pub(super) fn add(&mut self, name: &str, value: &str) {
        let name = name.to_ascii_uppercase();
        if name == "SASL" {
            let names = value
                .split(' ')
                .filter_map(|it| Mechanism::from_name(it.as_bytes()));
            self.mechanisms.extend(names);
        }
        self.entries.push((name.into(), value.into()));
    }

    /// The value of a capability, its name given in upper case.
    pub fn value(&self, name: &str) -> Option<&str> {
        let entry = self.entries.iter().find(|it| &*it.0 == name);
        entry.map(|it| &*it.1)
    }
}

/// A script in the list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Script {
    /// Its name. Server text.
    pub name: Box<str>,
    /// Whether it is the active one.
    pub active: bool,
}

/// What a command brought.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Data {
    /// Nothing more.
    Nothing,
    /// LISTSCRIPTS.
    Scripts(Vec<Script>),
    /// GETSCRIPT: the script as it is.
    Script(Vec<u8>),
    /// The lines of a raw command's response, their values taken apart.
    Lines(Vec<Vec<Value>>),
}

/// What happened. Every one wants an [`Answer`]; [`Answer::Wait`] is always right.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ask {
    /// The session is ready.
    Ready(Box<Capabilities>),
    /// The login is good.
    LoggedIn(Mechanism),
    /// The login failed; the session goes on.
    LoginFailed(Box<Failure>),
    /// A command is over: whether it went well, what the server says, what it brought.
    Done(bool, Quote, Data),
    /// There is news ([`crate::session::Machine::news`] was called) and nothing is under way: what next?
    Idle,
}

/// What to do next.
#[derive(Debug, PartialEq, Eq)]
pub enum Answer {
    /// Log in.
    Login(Box<Credentials>),
    /// LISTSCRIPTS.
    List,
    /// GETSCRIPT.
    Get(Box<str>),
    /// A command as written, for a person at a terminal. STARTTLS is refused; so is AUTHENTICATE where credentials may not be
    /// sent.
    Raw(Box<[u8]>),
    /// Nothing now.
    Wait,
    /// Say LOGOUT and end.
    Quit,
}
