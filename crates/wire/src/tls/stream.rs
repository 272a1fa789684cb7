//! One direction of a TLS connection, read from outside: what stands in clear is told, what is encrypted is counted.
//!
//! No keys and no cryptography: this is what a probe needs that only wants the server's answer to its hello, and what a listener sees who
//! stands beside the wire. Push what comes, in any cut, and take [`Piece`]s until there are none.
//!
//! - Records are read one at a time, messages over any number of them (RFC 9846 5.1). A record of another kind in the midst of a message
//!   ends the reading, as does a length that does not fit.
//! - Memory is bounded: one record and one message, the latter at most [`TlsStream::with_limit`] octets. Work is linear.
//! - After `ChangeCipherSpec` everything is encrypted, save for the hellos that follow a `HelloRetryRequest` (RFC 9846 D.4); they are told by their
//!   type and length.

use super::answer::{KeyExchange, ServerHello};
use super::bytes::Bytes;
use super::hello::ClientHello;

/// The length of a record's header.
const HEADER: usize = 5;
/// The most octets in an encrypted record (RFC 5246 6.2.3).
const MAX_PAYLOAD: usize = (1 << 14) + 2048;
/// The most octets in one message, unless said otherwise. Chains of certificates are the longest, and seldom 16 KiB.
const MAX_MESSAGE: usize = 256 * 1024;

/// What is seen next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Piece {
    /// A client's hello.
    ClientHello(Box<ClientHello>),
    /// A server's hello.
    ServerHello(Box<ServerHello>),
    /// A server asks for another hello.
    HelloRetryRequest(Box<ServerHello>),
    /// The server's or the client's certificates up to TLS 1.2, in DER, the first one its own.
    Certificate(Vec<Vec<u8>>),
    /// What a TLS 1.2 server says about its half of the key exchange.
    KeyExchange(KeyExchange),
    /// A TLS 1.2 server asks for a client's certificate.
    CertificateRequest,
    /// The end of a TLS 1.2 server's first words.
    ServerHelloDone,
    /// A ticket for resumption in TLS 1.2.
    Ticket {
        /// For how many seconds it is meant to hold; 0 is not said.
        lifetime: u32,
    },
    /// The OCSP answer a server up to TLS 1.2 sends along with its certificate, in DER (RFC 6066 8).
    Status(Vec<u8>),
    /// Another message of the handshake, by its type.
    Message(u8),
    /// A heartbeat in clear (RFC 6520 4).
    Heartbeat {
        /// How many octets of payload it claims to hold.
        claimed: u16,
        /// How many octets came: type, length, payload and padding.
        length: usize,
    },
    /// An alert in clear.
    Alert {
        /// 1 is a warning, 2 fatal.
        level: u8,
        /// Why (RFC 9846 6).
        description: u8,
    },
    /// What follows is encrypted.
    ChangeCipherSpec,
    /// An encrypted record.
    Encrypted {
        /// Its content type as it stands in the header.
        kind: u8,
        /// Its length.
        length: usize,
    },
    /// The first octets are not those of a TLS record. Nothing more is read.
    NotTls,
    /// A length or an order that cannot be. Nothing more is read.
    Malformed,
    /// A message longer than the limit. Nothing more is read.
    TooLarge,
}

/// A reader of one direction.
#[derive(Debug)]
pub struct TlsStream {
    /// What was pushed and not yet taken; `at` octets of it are done with.
    raw: Vec<u8>,
    at: usize,
    /// The payload of handshake records, until a message is whole.
    message: Vec<u8>,
    /// Octets of `message` that are done with.
    used: usize,
    limit: usize,
    has_begun: bool,
    has_ended: bool,
    is_encrypted: bool,
    /// Octets of an encrypted record's payload still to be let go unseen; none where payloads are kept.
    skip: Option<usize>,
    /// Suite and version, from the ServerHello.
    agreed: Option<(u16, u16)>,
}

impl Default for TlsStream {
    fn default() -> Self {
        Self::with_limit(MAX_MESSAGE)
    }
}

impl TlsStream {
    /// With a limit for the length of one message.
    pub fn with_limit(limit: usize) -> Self {
        Self {
            raw: Vec::new(),
            at: 0,
            message: Vec::new(),
            used: 0,
            limit,
            has_begun: false,
            has_ended: false,
            is_encrypted: false,
            skip: None,
            agreed: None,
        }
    }

    /// Takes in what came.
    pub fn push(&mut self, octets: &[u8]) {
        if self.has_ended {
            return;
        }
        if self.at == self.raw.len() && self.skip.is_some() {
            self.raw = Vec::new();
        } else {
            self.raw.drain(..self.at);
        }
        self.at = 0;
        let skipped = self.skip.map_or(0, |left| left.min(octets.len()));
        self.skip = self.skip.map(|left| left - skipped);
        self.raw
            .extend_from_slice(octets.get(skipped..).unwrap_or_default());
    }

    /// From here on nothing is kept of the payload of encrypted records: each is told as soon as its header is there. For who goes on
    /// watching what kinds of records come and cannot read them.
    pub fn skip_payloads(&mut self) {
        self.skip = self.skip.or(Some(0));
    }

    /// The next thing seen, or None when more octets are needed or reading has ended.
    #[expect(clippy::should_implement_trait, reason = "more may come after None")]
    pub fn next(&mut self) -> Option<Piece> {
        while !self.has_ended {
            if let Some(piece) = self.next_message() {
                return Some(self.told(piece));
            }
            match self.next_record()? {
                Record::Part => {}
                Record::Whole(piece) => return Some(self.told(piece)),
            }
        }
        None
    }

    /// Whether reading has ended because of what came.
    pub fn has_ended(&self) -> bool {
        self.has_ended
    }

    /// Octets pushed that are not yet part of anything told.
    pub fn pending(&self) -> usize {
        (self.raw.len() - self.at) + (self.message.len() - self.used)
    }

    fn told(&mut self, piece: Piece) -> Piece {
        if matches!(piece, Piece::NotTls | Piece::Malformed | Piece::TooLarge) {
            self.has_ended = true;
            self.raw = Vec::new();
            self.at = 0;
            self.message = Vec::new();
            self.used = 0;
        }
        piece
    }

    fn next_record(&mut self) -> Option<Record> {
        let rest = self.raw.get(self.at..).unwrap_or_default();
        let kind = *rest.first()?;
        let foreign = !(20..=24).contains(&kind) || rest.get(1).is_some_and(|major| *major != 3);
        if foreign {
            let piece = if self.has_begun {
                Piece::Malformed
            } else {
                Piece::NotTls
            };
            return Some(Record::Whole(piece));
        }
        let &[high, low] = rest.get(3..HEADER)? else {
            return None;
        };
        let length = usize::from(u16::from_be_bytes([high, low]));
        if length > MAX_PAYLOAD {
            return Some(Record::Whole(Piece::Malformed));
        }
        if self.skip.is_some() && self.is_encrypted {
            let begun = self.at + HEADER;
            let here = length.min(self.raw.len() - begun);
            self.at = begun + here;
            self.skip = Some(length - here);
            return Some(Record::Whole(Piece::Encrypted { kind, length }));
        }
        let end = self.at + HEADER + length;
        let payload = self.at + HEADER..end;
        self.raw.get(payload.clone())?;
        self.at = end;
        self.has_begun = true;
        Some(self.take_record(kind, payload))
    }

    fn take_record(&mut self, kind: u8, payload: std::ops::Range<usize>) -> Record {
        let payload = self.raw.get(payload).unwrap_or_default();
        let midst = self.used < self.message.len();
        if kind == 22 && (!self.is_encrypted || midst || is_clear_hello(payload)) {
            if payload.is_empty() {
                return Record::Whole(Piece::Malformed);
            }
            self.message.drain(..self.used);
            self.used = 0;
            self.message.extend_from_slice(payload);
            return Record::Part;
        }
        if midst {
            return Record::Whole(Piece::Malformed);
        }
        Record::Whole(match (kind, payload) {
            (20, [1]) if !self.is_encrypted => {
                self.is_encrypted = true;
                Piece::ChangeCipherSpec
            }
            (20, [1]) => Piece::ChangeCipherSpec,
            (21, &[level @ 1..=2, description]) if !self.is_encrypted => {
                Piece::Alert { level, description }
            }
            (20 | 21, _) if !self.is_encrypted => Piece::Malformed,
            (24, &[_, high, low, ..]) if !self.is_encrypted => Piece::Heartbeat {
                claimed: u16::from_be_bytes([high, low]),
                length: payload.len(),
            },
            _ => Piece::Encrypted {
                kind,
                length: payload.len(),
            },
        })
    }

    fn next_message(&mut self) -> Option<Piece> {
        let rest = self.message.get(self.used..).unwrap_or_default();
        let (header, body) = rest.split_first_chunk::<4>()?;
        let [kind, a, b, c] = *header;
        let length = usize::from(a) << 16 | usize::from(b) << 8 | usize::from(c);
        if length > self.limit {
            return Some(Piece::TooLarge);
        }
        let body = body.get(..length)?;
        let piece = read_message(kind, body, self.agreed);
        self.used += 4 + length;
        if let Some(Piece::ServerHello(hello)) = &piece {
            self.agreed = Some((hello.suite, hello.version()));
        }
        if self.used == self.message.len() {
            self.message = Vec::new();
            self.used = 0;
        }
        Some(piece.unwrap_or(Piece::Malformed))
    }
}

enum Record {
    /// Its payload went to the message.
    Part,
    /// It says something by itself.
    Whole(Piece),
}

/// Whether this payload after `ChangeCipherSpec` is a hello in clear that fills its record: the second ones of TLS 1.3.
fn is_clear_hello(payload: &[u8]) -> bool {
    let mut octets = Bytes(payload);
    matches!(octets.u8(), Some(1 | 2))
        && octets.u24() == Some(octets.len())
        && octets.take(1) == Some(&[3])
}

fn read_message(kind: u8, body: &[u8], agreed: Option<(u16, u16)>) -> Option<Piece> {
    Some(match kind {
        1 => Piece::ClientHello(Box::new(ClientHello::parse(body)?)),
        2 => {
            let hello = Box::new(ServerHello::parse(body)?);
            if hello.is_retry() {
                Piece::HelloRetryRequest(hello)
            } else {
                Piece::ServerHello(hello)
            }
        }
        4 => Piece::Ticket {
            lifetime: u32::from_be_bytes(body.first_chunk().copied()?),
        },
        11 => Piece::Certificate(certificates(body)?),
        12 => match agreed {
            Some((suite, version)) => Piece::KeyExchange(KeyExchange::parse(body, suite, version)?),
            None => Piece::KeyExchange(KeyExchange::Other),
        },
        13 => Piece::CertificateRequest,
        14 => Piece::ServerHelloDone,
        22 => Piece::Status(status(body)?),
        other => Piece::Message(other),
    })
}

/// RFC 5246 7.4.2.
fn certificates(body: &[u8]) -> Option<Vec<Vec<u8>>> {
    let mut body = Bytes(body);
    let mut list = body.vec24()?;
    if !body.is_empty() {
        return None;
    }
    let mut chain = Vec::new();
    while !list.is_empty() {
        chain.push(list.vec24()?.0.to_vec());
    }
    Some(chain)
}

/// RFC 6066 8. Of other types than OCSP nothing is known; they are told as empty.
fn status(body: &[u8]) -> Option<Vec<u8>> {
    let mut body = Bytes(body);
    if body.u8()? != 1 {
        return Some(Vec::new());
    }
    let answer = body.vec24()?;
    body.is_empty().then(|| answer.0.to_vec())
}

#[cfg(test)]
#[path = "stream_tests.rs"]
mod tests;
