//! The IMAP server session (RFC 9051, RFC 3501), without its socket.
//!
//! ```text
//!            greeting              LOGIN, AUTHENTICATE
//!   Greet ─────────────▶ Front ───────────────────────▶ Mailbox ──▶ closed
//!     │                    │ STARTTLS                      │
//!     │                    └──▶ Upgrade ──▶ Front          │
//!     └──────────────────── any: closed ◀─────────────────┘
//! ```
//!
//! - [`Server`] holds one session; its `Io` (buffers, channel, counters) is shared by both halves.
//! - The *front* half ends with the login: greeting, CAPABILITY, ID, NOOP, STARTTLS, LOGIN, AUTHENTICATE, LOGOUT. It knows
//!   nothing of mailboxes.
//! - The *mailbox* half puts questions to the backend ([`crate::imap::ask`]), one at a time.
//!
//! Invariants: credentials are parsed only with [`crate::seam::MayReadCredentials`]; nothing but configuration and counters
//! crosses [`Machine::upgrade`]; memory is bounded by [`Limits`] and four octets per message; sequence numbers are
//! translated in one file (`view.rs`).
//!
//! Left out: `\Recent` is not tracked (always 0). Which extensions there are: `docs/imap-extensions.md`.

mod append;
mod arguments;
mod changes;
mod compress;
mod cursor;
mod decode;
mod enabled;
mod extras;
mod fetch;
mod folders;
mod front;
mod gather;
mod io;
mod job;
mod list;
mod mailbox;
mod messages;
mod notify;
mod quota;
mod reply;
mod search;
mod sort;
mod status;
pub mod table;
mod view;
mod watched;
mod window;

use std::sync::Arc;
use std::time::{Duration, Instant};

pub use self::gather::{Announced, announcement};

use self::fetch::OUTPUT_FULL;
use self::front::Front;
use self::io::Io;
use self::mailbox::Mailbox;
use super::ask::{Answer, Ask};
use crate::sasl::Mechanism;
use crate::seam::{Channel, ClearLogin, Leftover, TLS_HANDSHAKE_RECORD, TlsFacts, TlsVersion};
use crate::session::{self, Machine, Next, Why};

/// What a listener's sessions have in common.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// The name of this host, for the greeting.
    pub host: Box<str>,
    /// Whether TLS can be had on this listener, so that STARTTLS is offered in clear.
    pub starttls: bool,
    /// The oldest version that is worked with; with an older one there is no login [REPLY-07].
    pub least: TlsVersion,
    /// The greatest size of a message for APPEND, in octets (RFC 7889).
    pub append_limit: u64,
    /// What is announced before login instead of what the mailbox behind this session can do: a gate's list, of what its
    /// upstream offers [GW-01]. Logins and TLS are announced by this session's own state in any case.
    pub offer: Option<Box<str>>,
    /// The mechanisms allowed for logins; LOGIN, the command, goes with PLAIN.
    pub mechanisms: Vec<Mechanism>,
    /// What bounds a session.
    pub limits: Limits,
}

/// What bounds a session. Every limit ends in a clear reply.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// Octets of a command without its literals. Holds the largest initial response of any mechanism [IMAP-AUTH-03].
    pub line: usize,
    /// Octets of all literals of a command before login.
    pub literals_before_login: u64,
    /// Octets of all literals of a command after login; APPEND's message is not counted.
    pub literals: u64,
    /// Octets of literals read only to be thrown away; more ends the session.
    pub dropped: u64,
    /// Commands with errors before login.
    pub bad_before_login: u8,
    /// Commands with errors after login, one after the other.
    pub bad: u8,
    /// Failed logins.
    pub failed_logins: u8,
    /// How long a client may be silent before login.
    pub login_wait: Duration,
    /// How long it may take to log in, whatever it says.
    pub login_total: Duration,
    /// How long it may be silent after login: at least 30 minutes (RFC 9051 5.4) [IMAP-TLS-16].
    pub idle: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            line: 64 * 1024,
            literals_before_login: 8 * 1024,
            literals: 64 * 1024,
            dropped: 64 * 1024,
            bad_before_login: 10,
            bad: 20,
            failed_logins: 3,
            login_wait: Duration::from_secs(60),
            login_total: Duration::from_secs(300),
            idle: Duration::from_secs(30 * 60),
        }
    }
}

/// One session.
#[derive(Debug)]
pub struct Server {
    io: Io,
    state: State,
}

#[derive(Debug)]
enum State {
    Greet,
    Front(Front),
    Mailbox(Mailbox),
}

/// What a half of the session needs next.
#[derive(Debug)]
enum Step {
    /// Nothing: go on.
    Again,
    /// An answer.
    Ask(Ask),
    /// Its output written before it goes on.
    Write,
    /// More bytes.
    Input,
    /// TLS.
    Upgrade,
    /// Nothing more: the client has logged in.
    LoggedIn,
    /// Nothing more: the client has logged in at the server behind this one.
    HandOver,
}

/// A session that has not begun.
#[derive(Debug)]
pub struct Fresh {
    config: Arc<Config>,
    /// Whether the greeting is still to be said: on implicit TLS it is, after STARTTLS it is not (RFC 9051 6.2.1).
    greet: bool,
    counters: io::Counters,
}

impl Fresh {
    /// A session that begins with TLS and greets inside it [IMPL-01] [IMAP-TLS-02].
    pub fn implicit(config: Arc<Config>) -> Self {
        Self {
            config,
            greet: true,
            counters: io::Counters::default(),
        }
    }
}

impl session::Fresh for Fresh {
    type Session = Server;

    fn secured(self, facts: TlsFacts) -> Server {
        let channel = Channel::secured(facts, self.config.least);
        let io = Io::new(self.config, channel, self.counters);
        // [IMAP-TLS-04] [IMAP-TLS-11] [IMPL-02]: TLS alone logs nobody in, whatever certificate the client may have.
        let state = if self.greet {
            State::Greet
        } else {
            State::Front(Front::default())
        };
        Server { io, state }
    }
}

impl Server {
    /// A session on a clear connection, to begin with the greeting. `exception` is the configuration's leave to log in
    /// without TLS.
    pub fn clear(config: Arc<Config>, exception: Option<ClearLogin>, now: Instant) -> Self {
        let mut io = Io::new(config, Channel::Clear(exception), io::Counters::default());
        io.begin(now);
        Self {
            io,
            state: State::Greet,
        }
    }

    fn greet(&mut self) -> Step {
        self.state = State::Front(Front::default());
        let waiting = self.io.inbox.waiting();
        if !self.io.channel.is_encrypted() && !waiting.is_empty() {
            if waiting.first() == Some(&TLS_HANDSHAKE_RECORD) {
                // [IMPL-04] answered with silence: no TLS engine could read what we say.
                return self.io.leave(Why::TlsOnPlaintextPort);
            }
            // [REPLY-09] a client listens first; what speaks before is made to speak (another protocol's request).
            return self.io.bye(Why::OutOfSync, "Wait for the greeting");
        }
        if self.io.channel.is_below_floor() {
            return self.io.too_weak(None);
        }
        let capabilities = front::capabilities(&self.io);
        let host = self.io.config.host.clone();
        self.io.line(format_args!(
            "* OK [CAPABILITY {capabilities}] {host} Gatepost ready"
        ));
        Step::Again
    }

    fn wait(&mut self, now: Instant) -> Next<Ask> {
        let appending = matches!(&self.state, State::Mailbox(mailbox) if mailbox.is_appending());
        let before_login = !matches!(self.state, State::Mailbox(_));
        if !self.io.output.is_empty() || !self.io.outgoing().is_empty() {
            return Next::Write;
        }
        self.io.rest();
        if let Some(clean) = self.io.closed {
            self.io
                .leave(if clean { Why::PeerClosed } else { Why::Broken });
        } else if self.io.shutdown && !appending {
            self.io.bye(Why::Shutdown, "The server is stopping");
        } else {
            let until = self.io.deadline(now, before_login);
            if now < until {
                return Next::Read { until };
            }
            // [IMAP-TLS-16]
            self.io.bye(Why::Timeout, "Silent for too long");
        }
        self.io.leaving.map_or(Next::Write, Next::Close)
    }
    /// The next step, with output as it is said.
    fn decide(&mut self, now: Instant) -> Next<Ask> {
        loop {
            if let Some(why) = self.io.leaving {
                return Next::Close(why);
            }
            if self.io.output.len() >= OUTPUT_FULL {
                return Next::Write;
            }
            let step = match &mut self.state {
                State::Greet => self.greet(),
                State::Front(front) => front.step(&mut self.io),
                State::Mailbox(mailbox) => mailbox.step(&mut self.io),
            };
            match step {
                Step::Again => {}
                Step::Ask(ask) => return Next::Ask(ask),
                Step::Write => return Next::Write,
                Step::Upgrade => return Next::Upgrade,
                Step::Input if self.io.inflate() => {}
                Step::Input => return self.wait(now),
                Step::LoggedIn => self.state = State::Mailbox(Mailbox::default()),
                Step::HandOver => {
                    self.io.leave(Why::HandedOver);
                }
            }
        }
    }
}

impl Machine for Server {
    type Ask = Ask;
    type Answer = Answer;
    type Fresh = Fresh;

    fn receive(&mut self, bytes: &[u8]) {
        self.io.receive(bytes);
    }

    fn next(&mut self, now: Instant) -> Next<Ask> {
        let next = self.decide(now);
        if matches!(next, Next::Write | Next::Close(_)) {
            self.io.pack();
        }
        next
    }

    fn answer(&mut self, answer: Answer) {
        match &mut self.state {
            State::Front(front) => front.answer(&mut self.io, answer),
            State::Mailbox(mailbox) => mailbox.answer(&mut self.io, answer),
            State::Greet => {}
        }
    }

    fn output(&mut self) -> &mut Vec<u8> {
        self.io.outgoing()
    }

    fn news(&mut self) {
        self.io.news = true;
        self.io.overview_due = true;
    }

    fn shutdown(&mut self) {
        self.io.shutdown = true;
    }

    fn peer_closed(&mut self, clean: bool) {
        self.io.closed = Some(clean);
    }

    fn unread(&mut self) -> Vec<u8> {
        self.io.inbox.take()
    }

    fn is_below_floor(&self) -> bool {
        self.io.channel.is_below_floor()
    }

    fn upgrade(mut self) -> (Fresh, Leftover) {
        // [IMAP-TLS-05]: buffer, tags and state go with `self`; only configuration and counters cross.
        let leftover = Leftover::new(self.io.inbox.take());
        (
            Fresh {
                config: self.io.config,
                greet: false,
                counters: self.io.counters,
            },
            leftover,
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_idle_session_is_small() {
        assert!(size_of::<Server>() <= 512, "{}", size_of::<Server>());
    }
}
