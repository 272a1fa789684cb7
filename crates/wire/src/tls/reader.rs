//! Puts the ClientHello together from records and segments (RFC 9846 5.1).

use super::MAX_HELLO;
use super::hello::ClientHello;
use crate::seam::TLS_HANDSHAKE_RECORD;

/// The length of a record's header.
const HEADER: usize = 5;
/// The most octets of payload in a record in clear.
const MAX_PAYLOAD: usize = 1 << 14;
/// The handshake message type of a ClientHello.
const CLIENT_HELLO: u8 = 1;

/// Collects the first bytes of a connection until the ClientHello is complete.
///
/// Work is linear in the bytes pushed, however small the pieces.
#[derive(Debug, Default)]
pub struct HelloReader {
    /// Everything pushed, as the TLS engine is to see it.
    raw: Vec<u8>,
    /// Where in `raw` the first record that is not yet complete begins.
    at: usize,
    /// The payloads of complete records.
    message: Vec<u8>,
}

/// How far reading has come.
#[derive(Debug, Clone, PartialEq, Eq)]
#[must_use]
pub enum Progress {
    /// All well so far; not complete.
    NeedMore,
    /// Complete. The bytes collected are in [`HelloReader::into_bytes`]. Nothing more is to be pushed.
    Hello(Box<ClientHello>),
    /// The first bytes are not those of a TLS handshake record.
    NotTls,
    /// A TLS record, but not a ClientHello, or one that contradicts itself: alert `decode_error`.
    Malformed,
    /// Not complete within [`MAX_HELLO`] octets.
    TooLarge,
}

impl HelloReader {
    /// Takes in bytes and says what is known now. After anything but [`Progress::NeedMore`] the reader has done its work.
    pub fn push(&mut self, bytes: &[u8]) -> Progress {
        self.raw.extend_from_slice(bytes);
        loop {
            match self.next_record() {
                Record::Complete => {}
                Record::Incomplete if self.raw.len() >= MAX_HELLO => return Progress::TooLarge,
                Record::Incomplete => return Progress::NeedMore,
                Record::Foreign if self.at == 0 => return Progress::NotTls,
                Record::Foreign | Record::BadLength => return Progress::Malformed,
            }
            if let Some(done) = self.read_message() {
                return done;
            }
        }
    }

    /// Everything pushed so far, for the TLS engine.
    pub fn into_bytes(self) -> Vec<u8> {
        self.raw
    }

    /// Everything pushed so far.
    pub fn bytes(&self) -> &[u8] {
        &self.raw
    }

    /// Moves the payload of the next record, if it is complete, into the message.
    fn next_record(&mut self) -> Record {
        let rest = self.raw.get(self.at..).unwrap_or_default();
        // Judged octet by octet, so that clear text is recognised from its first one.
        // [TLS-VER-03] any {03,xx}; the minor version says nothing.
        let foreign = |at: usize, expected: u8| rest.get(at).is_some_and(|b| *b != expected);
        if foreign(0, TLS_HANDSHAKE_RECORD) || foreign(1, 3) {
            return Record::Foreign;
        }
        let Some(&[high, low]) = rest.get(3..HEADER) else {
            return Record::Incomplete;
        };
        let length = usize::from(u16::from_be_bytes([high, low]));
        if length == 0 || length > MAX_PAYLOAD {
            return Record::BadLength;
        }
        let Some(payload) = rest.get(HEADER..HEADER + length) else {
            return Record::Incomplete;
        };
        self.message.extend_from_slice(payload);
        self.at += HEADER + length;
        Record::Complete
    }

    /// The message, if it is complete or known to be bad.
    fn read_message(&self) -> Option<Progress> {
        let first = self.message.first();
        if first.is_some_and(|kind| *kind != CLIENT_HELLO) {
            return Some(Progress::Malformed);
        }
        let (header, body) = self.message.split_first_chunk::<4>()?;
        let [_, a, b, c] = *header;
        let length = usize::try_from(u32::from_be_bytes([0, a, b, c])).unwrap_or(usize::MAX);
        if length > MAX_HELLO {
            return Some(Progress::TooLarge);
        }
        if body.len() < length {
            return None;
        }
        // A second message in the same flight would be a message no client can send yet.
        let hello = (body.len() == length)
            .then(|| ClientHello::parse(body))
            .flatten();
        Some(hello.map_or(Progress::Malformed, |it| Progress::Hello(Box::new(it))))
    }
}

enum Record {
    Complete,
    Incomplete,
    Foreign,
    BadLength,
}

#[cfg(test)]
#[path = "reader_tests.rs"]
mod tests;
