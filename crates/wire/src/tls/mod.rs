//! Hellos and what follows them in clear, read and written without a TLS engine.
//!
//! A server must know the server name, the signature schemes and the versions a client offers before it can choose a
//! certificate, and must be able to refuse (`unrecognized_name`) before any engine is set up. This is a reader of TLS records
//! and of one message, not a TLS engine: no keys, no state beyond the bytes collected.
//!
//! - [`HelloReader`] puts a ClientHello together over any number of records and segments, at most [`MAX_HELLO`] octets
//!   [PQ-02].
//! - Any record version `{03,xx}` is accepted (RFC 8996 4) [TLS-VER-03]; what the hello offers is what counts.
//! - The reader is strict about lengths (every vector must fit exactly where it stands) and indifferent to values it does
//!   not know (GREASE, RFC 8701).
//! - [`Offer`] writes `ClientHellos` that no engine would, SSL 3 to TLS 1.3, and [`ssl2`] those of SSL 2: to ask a server what it
//!   would take. [`TlsStream`] reads what stands in clear in either direction, in any cut, with bounded memory.
//! - [`SessionTicket`] reads what a ticket of TLS 1.3 says of itself, for who has decrypted it.
//! - [`suites`] says what a cipher suite is made of.
//! - [`alert`] writes an alert record in clear; [`names`] gives IANA names.
//!
//! Standards: RFC 9846 (TLS 1.3) 4.1.2, 5.1, 6; RFC 5246 7.4.1.2; RFC 6066 3 (SNI); RFC 7301 (ALPN); RFC 7627 (EMS).

mod answer;
mod bytes;
mod hello;
pub mod names;
mod offer;
mod reader;
pub mod ssl2;
mod stream;
pub mod suites;
mod ticket;

pub use answer::{KeyExchange, ServerHello};
pub use hello::{ClientHello, SSL3, TLS10, TLS11, TLS12, TLS13};
pub use offer::{ALL_SCHEMES, COMMON_GROUPS, Offer};
pub use reader::{HelloReader, Progress};
pub use stream::{Piece, TlsStream};
pub use ticket::SessionTicket;

/// The most octets, record headers included, that are collected for one ClientHello. Hybrid key shares make hellos of about
/// 2 KiB; nothing honest comes near this.
pub const MAX_HELLO: usize = 32 * 1024;

/// Why an alert is sent (RFC 9846 6, RFC 6066 9, RFC 7301 3.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum AlertDescription {
    /// No more data will follow.
    CloseNotify = 0,
    /// A message that has no place here.
    UnexpectedMessage = 10,
    /// No common parameters.
    HandshakeFailure = 40,
    /// A field had an impossible value.
    IllegalParameter = 47,
    /// A message could not be decoded.
    DecodeError = 50,
    /// No common version.
    ProtocolVersion = 70,
    /// Our own fault.
    InternalError = 80,
    /// An extension is absent that must be there.
    MissingExtension = 109,
    /// No certificate for the server name asked for.
    UnrecognizedName = 112,
    /// No common application protocol.
    NoApplicationProtocol = 120,
}

/// How grave an alert is (RFC 5246 7.2). TLS 1.3 ignores it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum AlertLevel {
    /// The connection may go on, or ends in an orderly way.
    Warning = 1,
    /// The connection ends.
    Fatal = 2,
}

/// The record of an alert in clear, for use before keys are agreed on. Record version `{03,03}`.
pub const fn alert(level: AlertLevel, description: AlertDescription) -> [u8; 7] {
    [21, 3, 3, 0, 2, level as u8, description as u8]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_alert_is_one_record() {
        assert_eq!(
            alert(AlertLevel::Fatal, AlertDescription::UnrecognizedName),
            [0x15, 3, 3, 0, 2, 2, 112]
        );
    }
}
