//! Bytes of a session that pass through a gate, looked at as they go.
//!
//! After the login a gate's connection carries the upstream's own dialogue. A [`Passage`] stands in it: it knows where lines and
//! literals begin, so that what one server offers is not announced for another connection [GW-01], and commands that would
//! change what the connection is (TLS, compression, another login) do not get through. It does no I/O and holds little: what it
//! needs to see whole (a command's name, a line of capabilities) is bounded, all else goes on as it came.

use crate::session::Why;

/// Where the bytes of both sides pass.
pub trait Passage: Send {
    /// Words of the client, on to the upstream.
    ///
    /// # Errors
    /// Why the session must end: what cannot be followed is not passed on.
    fn forth(&mut self, bytes: &[u8], out: &mut Vec<u8>) -> Result<(), Why>;

    /// Words of the upstream, on to the client.
    ///
    /// # Errors
    /// Why the session must end.
    fn back(&mut self, bytes: &[u8], out: &mut Vec<u8>) -> Result<(), Why>;

    /// Whether the client has said goodbye in the protocol's words.
    fn is_leaving(&self) -> bool;

    /// What may be said to the client now when the gate stops. Empty where it would stand in the middle of something.
    fn farewell(&self) -> &'static [u8];
}
