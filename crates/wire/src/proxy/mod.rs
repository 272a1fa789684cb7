//! The PROXY header, by which one who connects for another says for whom (haproxy's `proxy-protocol.txt`, versions 1 and 2).
//!
//! [`encode_v1`] and [`encode_v2`] write it, [`parse`] reads it. It is the first thing on a connection, before a greeting and
//! before TLS. Whoever reads it must have decided beforehand, by the peer's address, that there is one: it is never guessed,
//! for anyone can write it [PROXY-01]. What is not exactly by the grammar ends the connection.

mod crc;
mod ssl;
#[cfg(test)]
mod tests;
mod v1;
mod v2;

use std::net::SocketAddr;

pub use ssl::{Shown, Ssl, VERIFIED};
pub use v1::encode as encode_v1;
pub use v2::{TooLong, encode as encode_v2};

/// For whom the connection is made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Endpoints {
    /// The client.
    pub source: SocketAddr,
    /// Where the client connected to.
    pub destination: SocketAddr,
}

/// One piece of further information (version 2).
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Tlv {
    /// Its type.
    pub kind: u8,
    /// Its value; what it means depends on the type.
    pub value: Box<[u8]>,
}

impl Tlv {
    /// The application protocol the client named in TLS.
    pub const ALPN: u8 = 0x01;
    /// The server name the client asked for (UTF-8).
    pub const AUTHORITY: u8 = 0x02;
    /// CRC-32C of the header. Written by [`encode_v2`] and verified by [`parse`]; never handed in.
    pub const CRC32C: u8 = 0x03;
    /// Padding.
    pub const NOOP: u8 = 0x04;
    /// An identifier of the connection, at most 128 octets.
    pub const UNIQUE_ID: u8 = 0x05;
    /// What TLS is: see [`Ssl`].
    pub const SSL: u8 = 0x20;
    /// A network name space.
    pub const NETNS: u8 = 0x30;
    /// Of our own, in the range for private use: how many gates the connection has come through, see [`gates`].
    pub const GATES: u8 = 0xe7;

    /// A piece of information.
    pub fn new(kind: u8, value: impl Into<Box<[u8]>>) -> Self {
        let value = value.into();
        Self { kind, value }
    }
}

/// Marks the number of gates as ours: the range for private use is everybody's.
const GATES_MARK: [u8; 2] = *b"gp";

/// The information that a connection has come through so many gates, the one that writes it counted.
pub fn gates(count: u8) -> Tlv {
    let [first, second] = GATES_MARK;
    Tlv::new(Tlv::GATES, [first, second, count])
}

/// A PROXY header.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub struct Header {
    /// For whom the connection is made. None: for the one who connects (LOCAL, UNKNOWN), or for one without an address; the
    /// connection's own endpoints count then.
    pub endpoints: Option<Endpoints>,
    /// Further information. Version 1 has none.
    pub tlvs: Vec<Tlv>,
}

impl Header {
    /// For another.
    pub fn of(source: SocketAddr, destination: SocketAddr) -> Self {
        Self {
            endpoints: Some(Endpoints {
                source,
                destination,
            }),
            tlvs: Vec::new(),
        }
    }

    /// For the one who connects: a check of health [PROXY-06].
    pub fn local() -> Self {
        Self::default()
    }

    /// The first piece of information of a type.
    pub fn tlv(&self, kind: u8) -> Option<&[u8]> {
        let found = self.tlvs.iter().find(|it| it.kind == kind);
        found.map(|it| &*it.value)
    }

    /// How many gates the connection has come through, as far as they have said so.
    pub fn gates(&self) -> u8 {
        match self.tlv(Tlv::GATES) {
            Some([first, second, count]) if [*first, *second] == GATES_MARK => *count,
            _ => 0,
        }
    }
}

/// What [`parse`] found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Progress {
    /// Right so far, and not all of it.
    NeedMore,
    /// A header; the connection's own words begin behind this many octets.
    Complete(Header, usize),
    /// Not a PROXY header, or a damaged one.
    Invalid(Fault),
}

/// What is wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Fault {
    /// It does not begin as a header does.
    NoHeader,
    /// Version 1: not by the grammar, or longer than 107 octets.
    Line,
    /// Version 2: another version, or an unknown command.
    Command,
    /// Version 2: an unknown family or transport.
    Family,
    /// Version 2: shorter than its addresses, or a piece of information longer than the rest.
    Length,
    /// Version 2: the checksum is another.
    Checksum,
}

/// Reads a header from the first octets of a connection, of either version.
pub fn parse(bytes: &[u8]) -> Progress {
    let begins = |mark: &[u8]| {
        let length = mark.len().min(bytes.len());
        bytes.get(..length) == mark.get(..length)
    };
    if begins(v1::MARK) {
        v1::parse(bytes)
    } else if begins(v2::MARK) {
        v2::parse(bytes)
    } else {
        Progress::Invalid(Fault::NoHeader)
    }
}
