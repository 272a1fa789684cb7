//! From stored octets to what IMAP tells about them (RFC 9051 6.4.5 and 7.5.2; RFC 2045, 2046, 5322).
//!
//! A message is read once, in pieces, by [`scan`]; what stays is a tree of [`Part`]s: where each header and body begins and
//! ends, how many lines it has, and its parsed content fields. Everything else is made from the tree: [`envelope`],
//! [`structure`] (BODY, BODYSTRUCTURE), [`section`] (BODY[…], BINARY[…]).
//!
//! Invariants:
//! - memory does not grow with the message: headers are looked at up to [`HEADER_LIMIT`] octets, there are at most
//!   [`PARTS_LIMIT`] parts, nested at most [`DEPTH_LIMIT`] deep; what lies beyond is plain content;
//! - any octets at all make a tree, and every range in it lies inside the message and inside its parent;
//! - the tree and the numbering of sections agree: a part shown by BODYSTRUCTURE can be fetched.
//!
//! Fields are given as they stand in the message (encoded words and RFC 2231 parameters are the client's to decode), which
//! is why addresses and content types are parsed here and not by a library that decodes as it goes.

pub mod address;
pub mod content;
pub mod envelope;
pub mod field;
pub mod scan;
pub mod section;
pub mod structure;
pub mod transfer;

use std::io;
use std::ops::Range;

use content::Content;
use gatepost_wire::smtp::content::HEADER_OCTETS;

/// How much of one header is looked at, in octets. Real ones are under 16 KiB, those of mail to a thousand recipients 64 KiB;
/// SMTP and APPEND take none over [`HEADER_OCTETS`], to which this server adds up to 8 KiB ([`super::smtp::ADDED_LIMIT`]); only
/// imported mail and embedded messages can have longer ones. What lies beyond is left out by whole fields, so that none is told
/// half ([`read_header`]).
pub const HEADER_LIMIT: usize = HEADER_OCTETS + 8 * 1024;
/// How many parts a message is cut into at the most (as common gateways limit it).
pub const PARTS_LIMIT: usize = 1_000;
/// How deep parts nest at the most. Deeper ones are shown as `application/octet-stream`.
pub const DEPTH_LIMIT: usize = 100;

/// Octets of one message.
pub trait Source {
    /// Octets from `offset`, at most `length`; fewer only at the end of the message.
    ///
    /// # Errors
    /// When the message cannot be read.
    fn read(&mut self, offset: u64, length: usize) -> io::Result<Vec<u8>>;
}

impl Source for &[u8] {
    fn read(&mut self, offset: u64, length: usize) -> io::Result<Vec<u8>> {
        let rest = usize::try_from(offset)
            .ok()
            .and_then(|from| self.get(from..))
            .unwrap_or_default();
        Ok(rest.get(..length).unwrap_or(rest).to_vec())
    }
}

/// Reads a header as far as headers are looked at: the whole of it, or the whole fields within [`HEADER_LIMIT`] octets.
///
/// # Errors
/// When the message cannot be read.
pub fn read_header(source: &mut dyn Source, range: &Range<u64>) -> io::Result<Vec<u8>> {
    let length = usize::try_from(range.end.saturating_sub(range.start)).unwrap_or(usize::MAX);
    let wanted = length.min(HEADER_LIMIT);
    let mut header = Vec::new();
    while header.len() < wanted {
        // A source gives no more at a time than it likes.
        let piece = source.read(range.start + header.len() as u64, wanted - header.len())?;
        if piece.is_empty() {
            return Ok(header);
        }
        header.extend_from_slice(&piece);
    }
    if length > wanted {
        field::cut_field(&mut header);
    }
    Ok(header)
}

/// A message or a body part.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Part {
    /// Its header, the empty line behind it included.
    pub header: Range<u64>,
    /// Its body.
    pub body: Range<u64>,
    /// Line breaks in the body.
    pub lines: u64,
    /// The content fields of the header.
    pub content: Box<Content>,
    /// What the body holds.
    pub kind: Kind,
}

/// What a body holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Kind {
    /// Content that is not looked into.
    Leaf,
    /// A message (`message/rfc822`, `message/global`).
    Message(Box<Part>),
    /// Parts; at least one.
    Multipart(Vec<Part>),
}

impl Part {
    /// The part named by section part numbers (RFC 9051 6.4.5); none when there is no such part. `self` is a message;
    /// without numbers it is the message itself.
    pub fn locate(&self, numbers: &[u32]) -> Option<&Part> {
        let Some((first, rest)) = numbers.split_first() else {
            return Some(self);
        };
        rest.iter()
            .try_fold(self.enter(*first)?, |part, number| match &part.kind {
                Kind::Multipart(children) => child(children, *number),
                Kind::Message(inner) => inner.enter(*number),
                Kind::Leaf => None,
            })
    }

    /// Part `number` of a message: of one that is not multipart, its body is part 1.
    fn enter(&self, number: u32) -> Option<&Part> {
        match &self.kind {
            Kind::Multipart(children) => child(children, number),
            _ => (number == 1).then_some(self),
        }
    }
}

fn child(children: &[Part], number: u32) -> Option<&Part> {
    children.get(usize::try_from(number).ok()?.checked_sub(1)?)
}
