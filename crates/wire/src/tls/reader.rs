//! Puts the ClientHello together from records and segments.

use super::hello::ClientHello;

/// Collects the first bytes of a connection until the ClientHello is complete.
#[derive(Debug, Default)]
pub struct HelloReader {
    bytes: Vec<u8>,
}

/// How far reading has come.
#[derive(Debug, PartialEq, Eq)]
#[must_use]
pub enum Progress {
    /// All well so far; not complete.
    NeedMore,
    /// Complete. The bytes collected are in [`HelloReader::into_bytes`].
    Hello(Box<ClientHello>),
    /// The first bytes are not those of a TLS handshake record.
    NotTls,
    /// A TLS record, but not a ClientHello, or one that contradicts itself: alert `decode_error`.
    Malformed,
    /// Not complete within [`super::MAX_HELLO`] octets.
    TooLarge,
}

impl HelloReader {
    /// Takes in bytes and says what is known now.
    pub fn push(&mut self, bytes: &[u8]) -> Progress {
        self.bytes.extend_from_slice(bytes);
        Progress::NeedMore
    }

    /// Everything pushed so far, for the TLS engine.
    pub fn into_bytes(self) -> Vec<u8> {
        self.bytes
    }
}
