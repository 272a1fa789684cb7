//! The client's side: dialling, and a session the owner pulls questions out of.
//!
//! TODO
pub mod dial;
mod failure;
mod hello;
mod open;
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
