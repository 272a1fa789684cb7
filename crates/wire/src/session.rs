//! How a session is driven: bytes in, decisions out, time as an argument.
//!
//! A [`Machine`] is one protocol session of one role. A driver owns the socket, the TLS engine and the clock; it hands the
//! machine what arrived and carries out what [`Machine::next`] asks for, one step at a time:
//!
//! 1. call [`Machine::next`] with the current instant;
//! 2. do what the returned [`Next`] says: carry out the question and [`Machine::answer`] it, write the output, wait for
//!    bytes until a deadline and [`Machine::receive`] them, start TLS, or close;
//! 3. go back to 1.
//!
//! Invariants every machine keeps:
//! - [`Machine::receive`] only stores. Nothing happens to input but in [`Machine::next`].
//! - The sequence of questions and the bytes of output do not depend on how the input was cut into segments; only whether
//!   words came before the greeting depends on when they came.
//! - After [`Next::Ask`] no further step is taken before the answer: a slow backend holds the peer back, not memory.
//! - A deadline that has passed is the machine's to act on: the driver calls [`Machine::next`] and the machine says farewell.

use std::time::Instant;

use crate::seam::{Leftover, TlsFacts};

/// One protocol session, without its socket. See the [module documentation](self) for how to drive it.
pub trait Machine: Sized {
    /// What the session needs decided or done by whoever stands behind it (a mailbox, another server).
    type Ask: Send;
    /// The decision.
    type Answer: Send;
    /// What is left of the session when it is upgraded: configuration and counters, nothing the peer said.
    type Fresh: Fresh<Session = Self>;

    /// Stores bytes received from the peer. Never acts on them.
    fn receive(&mut self, bytes: &[u8]);

    /// Takes the one next step.
    fn next(&mut self, now: Instant) -> Next<Self::Ask>;

    /// Hands in the answer to the question last returned as [`Next::Ask`].
    fn answer(&mut self, answer: Self::Answer);

    /// The bytes to be written to the peer. The driver takes them out, on [`Next::Write`] and before [`Next::Upgrade`]
    /// and [`Next::Close`].
    fn output(&mut self) -> &mut Vec<u8>;

    /// The backend has something to report (another session changed the mailbox). The machine decides when to ask.
    fn news(&mut self) {}

    /// The server is about to stop: say farewell (421, BYE) at the next step at which the protocol allows it.
    fn shutdown(&mut self);

    /// The peer will send nothing more. `clean` is false when TLS was cut off without its closing alert.
    fn peer_closed(&mut self, clean: bool);

    /// After [`Why::HandedOver`]: what was received and not understood. It is the next owner's.
    fn unread(&mut self) -> Vec<u8> {
        Vec::new()
    }

    /// Whether TLS is up and older than this session works with, so that it serves nothing [SMTP-STARTTLS-14].
    fn is_below_floor(&self) -> bool {
        false
    }

    /// Gives up the session for the upgrade: the buffer, the peer's words and the state are consumed at once.
    /// To be called after [`Next::Upgrade`], when the output has been written.
    fn upgrade(self) -> (Self::Fresh, Leftover);
}

/// A session that has not begun: only configuration and counters are in it.
pub trait Fresh {
    /// The session it becomes.
    type Session;

    /// Begins the session inside TLS.
    fn secured(self, facts: TlsFacts) -> Self::Session;
}

/// What the driver is to do next.
#[derive(Debug, PartialEq, Eq)]
#[must_use]
pub enum Next<A> {
    /// Carry this out and call [`Machine::answer`]. Output may be waiting; it need not be written first.
    Ask(A),
    /// Write all of [`Machine::output`] to the peer.
    Write,
    /// Wait for bytes from the peer (or for news, or for shutdown), at the longest until the instant given.
    Read {
        /// When to call [`Machine::next`] even if nothing has come.
        until: Instant,
    },
    /// Write the output, then call [`Machine::upgrade`] and let the TLS engine take over.
    Upgrade,
    /// Write the output, then close the connection (inside TLS: with `close_notify`).
    Close(Why),
}

/// Why a session ended. The word goes to the log line and to the metrics label: see [`Why::label`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Why {
    /// The peer said QUIT or LOGOUT.
    Quit,
    /// The peer closed the connection in an orderly way without saying QUIT.
    PeerClosed,
    /// The connection broke, or TLS was cut off without its closing alert.
    Broken,
    /// The server is stopping.
    Shutdown,
    /// Nothing came for the time allowed in this state.
    Timeout,
    /// Too many bad commands.
    TooManyErrors,
    /// Too many failed logins.
    TooManyLoginFailures,
    /// A line, a literal or a count went over its limit in a way that does not allow going on.
    LimitExceeded,
    /// The client spoke when it was not its turn (before the greeting, before 354).
    OutOfSync,
    /// Clear-text bytes that are not TLS stood behind STARTTLS: command injection.
    StartTlsInjection,
    /// Clear text came on a port for implicit TLS.
    PlaintextOnTlsPort,
    /// A TLS `ClientHello` came on a clear-text port.
    TlsOnPlaintextPort,
    /// The first command was an HTTP request: a browser lured here, or a scanner.
    HttpRequest,
    /// The TLS handshake failed or took too long.
    HandshakeFailed,
    /// The TLS negotiated is older than this side works with.
    TlsTooWeak,
    /// The mailbox or the account vanished under the session.
    Gone,
    /// A fault on our side (disk, database) that does not allow going on.
    Fault,
    /// A client's session failed; its `failure()` says how.
    Failed,
    /// The session is over and the connection is not: whoever stands behind the session takes it, with what
    /// [`Machine::unread`] gives. A driver that cannot hand a connection over closes it.
    HandedOver,
    /// The server behind a gate has ended the session, in an orderly way.
    UpstreamClosed,
    /// The connection to the server behind a gate broke.
    UpstreamBroken,
}

impl Why {
    /// A stable word in lower case for logs and metrics.
    pub const fn label(self) -> &'static str {
        match self {
            Self::Quit => "quit",
            Self::PeerClosed => "peer_closed",
            Self::Broken => "broken",
            Self::Shutdown => "shutdown",
            Self::Timeout => "timeout",
            Self::TooManyErrors => "too_many_errors",
            Self::TooManyLoginFailures => "too_many_login_failures",
            Self::LimitExceeded => "limit_exceeded",
            Self::OutOfSync => "out_of_sync",
            Self::StartTlsInjection => "starttls_injection",
            Self::PlaintextOnTlsPort => "plaintext_on_tls_port",
            Self::TlsOnPlaintextPort => "tls_on_plaintext_port",
            Self::HttpRequest => "http_request",
            Self::HandshakeFailed => "handshake_failed",
            Self::TlsTooWeak => "tls_too_weak",
            Self::Gone => "gone",
            Self::Fault => "fault",
            Self::Failed => "failed",
            Self::HandedOver => "handed_over",
            Self::UpstreamClosed => "upstream_closed",
            Self::UpstreamBroken => "upstream_broken",
        }
    }
}
