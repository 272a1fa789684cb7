//! The body of a response, however its length is told (RFC 9112 6, 7.1).

use gatepost_wire::inbox::{Inbox, Line};

use super::head::Length;

/// The longest line before a chunk, and after the last one.
const LINE: usize = 1024;
/// The most lines after the last chunk.
const TRAILERS: usize = 20;

/// Why a body cannot be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Bad {
    /// Not by the grammar.
    Malformed,
    /// More than allowed.
    TooMuch,
}

/// A body being read.
#[derive(Debug)]
pub(super) struct Body {
    part: Part,
    pub(super) octets: Vec<u8>,
    most: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Part {
    /// This many octets to come; a chunk, or all there is.
    Octets {
        left: usize,
        chunk: bool,
    },
    /// The line end behind a chunk.
    ChunkEnd,
    /// The line before a chunk.
    ChunkSize,
    /// Lines behind the last chunk.
    Trailers(usize),
    /// Whatever comes until the end.
    Rest,
    Done,
}

impl Body {
    pub(super) fn new(length: Length, most: usize) -> Result<Self, Bad> {
        let part = match length {
            Length::Fixed(left) if left > most => return Err(Bad::TooMuch),
            Length::Fixed(left) => Part::Octets { left, chunk: false },
            Length::Chunked => Part::ChunkSize,
            Length::Closed => Part::Rest,
        };
        let octets = Vec::new();
        Ok(Self { part, octets, most })
    }

    /// Whether the body ends with the connection.
    pub(super) fn ends_with_connection(&self) -> bool {
        self.part == Part::Rest
    }

    /// Takes what is there. True when the body is complete.
    pub(super) fn take(&mut self, inbox: &mut Inbox) -> Result<bool, Bad> {
        loop {
            match self.part {
                Part::Done => return Ok(true),
                Part::Rest => {
                    self.append(inbox, usize::MAX)?;
                    return Ok(false);
                }
                Part::Octets { left, chunk } => {
                    let left = left - self.append(inbox, left)?;
                    if left > 0 {
                        self.part = Part::Octets { left, chunk };
                        return Ok(false);
                    }
                    self.part = if chunk { Part::ChunkEnd } else { Part::Done };
                }
                _ => match inbox.line(LINE) {
                    Line::Incomplete => return Ok(false),
                    Line::TooLong => return Err(Bad::Malformed),
                    Line::Complete(line) => self.part = self.on_line(&line)?,
                },
            }
        }
    }

    fn append(&mut self, inbox: &mut Inbox, most: usize) -> Result<usize, Bad> {
        let count = inbox.len().min(most);
        if self.octets.len() + count > self.most {
            return Err(Bad::TooMuch);
        }
        let taken = inbox.waiting().get(..count).unwrap_or_default();
        self.octets.extend_from_slice(taken);
        inbox.consume(count);
        Ok(count)
    }

    fn on_line(&self, line: &[u8]) -> Result<Part, Bad> {
        match self.part {
            Part::ChunkEnd if line.is_empty() => Ok(Part::ChunkSize),
            Part::ChunkSize => match chunk_size(line).ok_or(Bad::Malformed)? {
                0 => Ok(Part::Trailers(0)),
                left if left > self.most => Err(Bad::TooMuch),
                left => Ok(Part::Octets { left, chunk: true }),
            },
            Part::Trailers(_) if line.is_empty() => Ok(Part::Done),
            Part::Trailers(count) if count < TRAILERS => Ok(Part::Trailers(count + 1)),
            _ => Err(Bad::Malformed),
        }
    }
}

/// Hexadecimal digits, and extensions that are not looked at.
fn chunk_size(line: &[u8]) -> Option<usize> {
    let digits = line.split(|it| *it == b';').next()?;
    let digits = std::str::from_utf8(digits)
        .ok()?
        .trim_end_matches([' ', '\t']);
    let plain = (1..=8).contains(&digits.len()) && digits.bytes().all(|it| it.is_ascii_hexdigit());
    plain
        .then(|| usize::from_str_radix(digits, 16).ok())
        .flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(length: Length, text: &[u8], most: usize) -> Result<Option<Vec<u8>>, Bad> {
        let mut body = Body::new(length, most)?;
        let mut inbox = Inbox::default();
        let mut complete = false;
        for octet in text {
            inbox.push(&[*octet]);
            complete = body.take(&mut inbox)?;
        }
        Ok(complete.then_some(body.octets))
    }

    #[test]
    fn chunks_octet_by_octet() {
        let text = b"5\r\nhello\r\n6;x=y\r\n world\r\n0\r\nA: b\r\n\r\n";
        assert_eq!(
            read(Length::Chunked, text, 100),
            Ok(Some(b"hello world".to_vec()))
        );
        assert_eq!(
            read(Length::Chunked, &text[..text.len() - 2], 100),
            Ok(None)
        );
        assert_eq!(read(Length::Fixed(3), b"abc", 3), Ok(Some(b"abc".to_vec())));
        assert_eq!(read(Length::Closed, b"abc", 3), Ok(None));
    }

    #[test]
    fn bad_chunks() {
        for text in [
            &b"5\r\nhelloX\r\n"[..],
            b"-5\r\n",
            b"+5\r\n",
            b"\r\n",
            b"x\r\n",
            b"0x5\r\n",
            b"123456789\r\n",
            b" 5\r\n",
        ] {
            assert_eq!(
                read(Length::Chunked, text, 100),
                Err(Bad::Malformed),
                "{text:?}"
            );
        }
        let trailers = [b"0\r\n".to_vec(), b"A: b\r\n".repeat(TRAILERS + 1)].concat();
        assert_eq!(read(Length::Chunked, &trailers, 100), Err(Bad::Malformed));
    }

    #[test]
    fn no_more_than_allowed() {
        for (length, text) in [
            (Length::Fixed(11), &b""[..]),
            (Length::Closed, b"12345678901"),
            (Length::Chunked, b"b\r\n"),
            (Length::Chunked, b"a\r\n1234567890\r\n1\r\n1"),
        ] {
            assert_eq!(read(length, text, 10), Err(Bad::TooMuch), "{length:?}");
        }
    }
}
