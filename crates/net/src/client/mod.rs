//! The client's side: dialling, and a session the owner pulls questions out of.
//!
//! ```text
//!   Dialer ──dial──▶ socket ──┬─ implicit ─▶ handshake ─▶ judge ─▶ session ──┬─▶ next(): a question, answer(), next() …
//!                             └─ clear ─▶ session ─Upgrade─▶ nothing left over? ─▶ handshake ─▶ judge ─▶ session anew
//! ```
//!
//! 1. Everything is decided before connecting: the mode by the session ([`gatepost_wire::client::Mode`]), who the server must be and
//!    how that is known by the terms ([`gatepost_trust::verify::Terms`]). Nothing the server says changes either.
//! 2. [`open`] connects and runs the session to its first question. TLS is up by then, or is not to be; with
//!    [`gatepost_trust::verify::Demand::Verified`] the server is verified too, or there is no session.
//! 3. At the upgrade everything that came before our hello is left over, in the session's buffer or still in the kernel's, and a
//!    single octet of it ends the connection [SMTP-STARTTLS-20]. A failed handshake ends it too: never clear text again.
//! 4. The owner pulls: [`Session::next`] returns a question, [`Session::answer`] takes the answer. A call that waits can be dropped
//!    and made again without loss: so a session that idles is woken by dropping the call, [`Session::news`], and calling again.
//! 5. While it writes it hears the server, so that two sides that both talk do not wait for each other; a server that takes
//!    nothing for a minute is given up.
//! 6. An idle session holds its state, its TLS keys and no buffer. One that is kept for long can give back the evidence of its
//!    handshake ([`Session::forget_evidence`]).
//! 7. Every failure has a stable label, a blame, and says what was expected, what came and what to do ([`Failure`]).
//!
//! # Example
//!
//! Sends a message by STARTTLS to a server that a trusted authority vouches for:
//!
//! ```no_run
//! use std::sync::Arc;
//! use gatepost_net::client::dial::{Dialer, Target};
//! use gatepost_net::client::{Channel, Failure, Options, Start, open};
//! use gatepost_trust::verify::{ClientTls, Reference, Roots, Terms};
//! use gatepost_wire::client::{Credentials, Mode, Seed};
//! use gatepost_wire::smtp::client::{Answer, Ask, Client, Config, Transaction};
//! use gatepost_wire::smtp::path::{ForwardPath, ReversePath};
//!
//! # async fn send(random: [u8; 32]) -> Result<(), Box<dyn std::error::Error>> {
//! // Decided before connecting.
//! let host = Reference::host("mail.example.org")?;
//! let tls = ClientTls::new(Terms::for_host(host, Arc::new(Roots::system()?)));
//! let config = Arc::new(Config::new(Mode::StartTls, "client.example.org"));
//! let begin = || Start::Clear(Client::clear(Arc::clone(&config), Seed::new(random)));
//!
//! let target = Target::new("mail.example.org", 587);
//! let options = Arc::new(Options::default());
//! let mut session = open(&Dialer::default(), &target, &tls, &options, begin).await?;
//! assert!(matches!(session.channel(), Channel::Verified(_)));
//!
//! let mut message = b"Subject: hello\r\n\r\nIt works.\r\n".to_vec();
//! while let Some(ask) = session.next().await? {
//!     session.answer(match ask {
//!         Ask::Ready(_) => Answer::Login(Box::new(Credentials::password("ada", "secret"))),
//!         Ask::LoggedIn(_) => {
//!             let sender = ReversePath::parse("<ada@example.org>").expect("a path");
//!             let recipient = ForwardPath::parse("<bob@example.net>").expect("a path");
//!             Answer::Transaction(Box::new(Transaction::new(1, sender, vec![recipient])))
//!         }
//!         Ask::Content(_) => Answer::Content {
//!             portion: std::mem::take(&mut message),
//!             last: true,
//!         },
//!         Ask::Sent(outcome) => {
//!             assert!(outcome.is_delivered());
//!             Answer::Quit
//!         }
//!         Ask::LoginFailed(failure) => return Err(Failure::Session(*failure).into()),
//!         _ => Answer::Wait,
//!     });
//! }
//! # Ok(())
//! # }
//! ```

pub mod dial;
mod failure;
mod hello;
mod leg;
mod open;
pub mod probe;
mod session;
mod words;

use std::future::Future;
use std::pin::Pin;

use gatepost_trust::verify::{CrlUrl, Crls};
use gatepost_wire::client::Failure as SessionFailure;
use gatepost_wire::session::Machine;

pub use crate::driver::Start;
pub use crate::failure::TlsFailure;
pub use failure::Failure;
pub use gatepost_wire::client::{Blame, ExitClass};
pub use hello::HelloMemory;
pub use leg::{Leg, LegFailure};
pub use open::open;
pub use session::{Channel, Limits, Options, Session, Traffic};
pub use words::{ClearWords, WordsClass};

/// A client's session: a [`Machine`] that says why it failed.
pub trait Dialogue: Machine<Fresh: Send> + Send {
    /// Why the session failed, when it has.
    fn failure(&self) -> Option<SessionFailure>;
}

macro_rules! dialogue {
    ($($protocol:ident),*) => {$(
        impl Dialogue for gatepost_wire::$protocol::client::Client {
            fn failure(&self) -> Option<SessionFailure> {
                self.failure().cloned()
            }
        }
    )*};
}

dialogue!(smtp, imap, pop3, sieve);

/// Lists of revoked certificates, on their way.
pub type Fetching<'a> = Pin<Box<dyn Future<Output = Crls> + Send + 'a>>;

/// Where lists of revoked certificates come from.
pub trait CrlSource: Send + Sync {
    /// Fetches what can be had of these. What cannot is left out: the judge knows what its absence means.
    fn fetch<'a>(&'a self, urls: &'a [CrlUrl]) -> Fetching<'a>;
}
