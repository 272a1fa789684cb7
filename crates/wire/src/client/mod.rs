//! What the client sessions of all protocols have in common: how TLS comes about, what can go wrong, credentials, the record
//! of what was said.
//!
//! The sessions are [`crate::smtp::client`], [`crate::imap::client`], [`crate::pop3::client`] and [`crate::sieve::client`]. Each is a
//! [`crate::session::Machine`]: its questions tell what happened and ask what to do next, its answers are the owner's next action.
//!
//! ```text
//!  mode StartTls                                                       mode Implicit
//!  Greeting ─▶ (Hello) ─▶ Asking ─▶ Next::Upgrade ─▶ [handshake] ─▶ Fresh::secured ─▶ Hello ─▶ Ready ─▶ login, commands
//!      │          │          │                                                          ▲
//!      └──────────┴──────────┴──▶ Close, failure() says why            mode Off ────────┘ (never a credential)
//! ```
//!
//! 1. The mode is fixed before connecting and never changes in a session [MUA-03].
//! 2. STARTTLS stands alone in its write, nothing is written behind it, and only its final reply is accepted.
//! 3. At the hand-over nothing may be left in the buffer: [`crate::seam::Leftover::into_client_handshake`].
//! 4. Everything said in clear is gone after it. A session inside TLS begins with its own greeting or capability command.
//! 5. A credential needs [`crate::seam::MaySendCredentials`].
//! 6. What the server says in clear is shown as a quotation marked unauthenticated ([`Quote`]), and used for nothing else.
//! 7. Every state has a deadline that bytes trickling in do not move, and a budget of octets and lines.

mod credentials;
mod deadlines;
mod failure;
mod link;
mod quote;
mod record;
mod seed;

pub use credentials::{Credentials, Proof};
pub use deadlines::Deadlines;
pub use failure::{Blame, Breach, ExitClass, Failure, Refused};
pub(crate) use link::{Link, Patience, is_plain, verb};
pub use quote::Quote;
pub use record::{Entry, Recorder, Speaker};
pub use seed::Seed;

use crate::seam::Channel;
use crate::session::Machine;

/// How TLS comes about. Fixed before connecting.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Mode {
    /// The connection begins with the handshake (RFC 8314 3): make the session with `Fresh::implicit`.
    Implicit,
    /// The session begins in clear and goes on only inside TLS. It asks for TLS even if the server does not offer it.
    StartTls,
    /// TLS if the server offers it and does not refuse it; in clear otherwise. For mail relay without credentials: in clear,
    /// none is ever sent.
    Opportunistic,
    /// In clear.
    Off,
}

/// A client's session, whatever its protocol: for drivers and tests that run any of them.
pub trait Session: Machine {
    /// Why the session failed, after [`crate::session::Next::Close`] with [`crate::session::Why::Failed`].
    fn failure(&self) -> Option<&Failure>;

    /// How the session's words travel.
    fn channel(&self) -> &Channel;
}

/// The methods are the session's own.
macro_rules! session {
    ($client:ty) => {
        impl Session for $client {
            fn failure(&self) -> Option<&Failure> {
                Self::failure(self)
            }

            fn channel(&self) -> &Channel {
                Self::channel(self)
            }
        }
    };
}

session!(crate::smtp::client::Client);
session!(crate::imap::client::Client);
session!(crate::pop3::client::Client);
session!(crate::sieve::client::Client);

/// Where a session stands, for deadlines and failures.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Stage {
    /// Waiting for the greeting.
    Greeting,
    /// Waiting for the reply to EHLO, CAPABILITY or CAPA.
    Capabilities,
    /// Waiting for the reply to STARTTLS.
    StartTls,
    /// Logging in.
    Login,
    /// Waiting for the reply to a command.
    Command,
    /// Sending a message, or waiting for the verdict on it.
    Content,
    /// Receiving a message.
    Body,
    /// Nothing is asked; the connection is kept.
    Idle,
    /// QUIT or LOGOUT was sent.
    Farewell,
}

impl Stage {
    /// A stable word in lower case.
    pub const fn label(self) -> &'static str {
        match self {
            Self::Greeting => "greeting",
            Self::Capabilities => "capabilities",
            Self::StartTls => "starttls",
            Self::Login => "login",
            Self::Command => "command",
            Self::Content => "content",
            Self::Body => "body",
            Self::Idle => "idle",
            Self::Farewell => "farewell",
        }
    }
}
