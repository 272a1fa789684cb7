//! The texts of a message: what a search looks for a text in, and what the search index is made of.
//!
//! A text is a header field with its name, decoded (encoded words, RFC 2047), or a body part of type `text`, decoded (transfer
//! encoding, character set), or a header field of an embedded message. Texts are given in lower case and piece by piece, so memory does
//! not grow with the message. The search and the index take the same pieces: what a search would find, the index knows.

use std::borrow::Cow;
use std::io;

use gatepost_store::{Error, Fault, Grams, Octets};
use mail_parser::decoders::charsets::map::charset_decoder;
use mail_parser::parsers::MessageStream;

use super::mime::field::{Field, fields};
use super::mime::scan::{scan, shallow};
use super::mime::section::decode;
use super::mime::transfer::Decoder;
use super::mime::{self, Kind, Part, Source};

/// Octets decoded to text at a time.
const PIECE: usize = 64 * 1024;
/// Messages up to this many octets are read at once.
const SMALL: u64 = 256 * 1024;

/// Takes texts.
pub(super) trait Taker {
    /// A new text begins.
    fn begin(&mut self);
    /// The next piece of it. Says whether to go on.
    fn take(&mut self, piece: &str) -> bool;
}

/// Looks for a text.
pub(super) struct Finder<'a> {
    /// In lower case.
    wanted: &'a str,
    /// The end of the text looked at, in which a match may have begun.
    tail: String,
    found: bool,
}

impl<'a> Finder<'a> {
    /// For a text in lower case.
    pub(super) fn new(wanted: &'a str) -> Self {
        Self {
            wanted,
            tail: String::new(),
            found: false,
        }
    }

    /// Whether it was there.
    pub(super) fn found(&self) -> bool {
        self.found
    }
}

impl Taker for Finder<'_> {
    fn begin(&mut self) {
        self.tail.clear();
    }

    fn take(&mut self, piece: &str) -> bool {
        self.tail.push_str(piece);
        self.found = self.found || self.tail.contains(self.wanted);
        let keep = self.tail.len().saturating_sub(self.wanted.len());
        let keep = (keep..=self.tail.len())
            .find(|at| self.tail.is_char_boundary(*at))
            .unwrap_or(keep);
        self.tail.drain(..keep);
        !self.found
    }
}

impl Taker for Grams {
    fn begin(&mut self) {
        Grams::begin(self);
    }

    fn take(&mut self, piece: &str) -> bool {
        self.push(piece)
    }
}

/// Pushes all texts of a message of `size` octets, for [`gatepost_store::Store::keep_index`].
///
/// # Errors
/// When it cannot be read.
pub fn index(size: u64, octets: &Octets<'_>, grams: &mut Grams) -> Result<(), Error> {
    let mut source = Indexed {
        octets,
        size,
        failure: None,
    };
    let outcome = if size <= SMALL {
        let whole = octets(0, u32::try_from(size).unwrap_or(u32::MAX))?;
        all_texts(&mut whole.as_slice(), size, grams)
    } else {
        all_texts(&mut source, size, grams)
    };
    outcome.map_err(|_| source.failure.unwrap_or(Error::Fault(Fault::Closed)))
}

fn all_texts(source: &mut dyn Source, size: u64, taker: &mut dyn Taker) -> io::Result<()> {
    if header_texts(&read_header(source, size)?, taker) {
        let root = scan(source)?;
        body_texts(&root, source, taker)?;
    }
    Ok(())
}

/// A stored message that is being indexed.
struct Indexed<'a> {
    octets: &'a Octets<'a>,
    size: u64,
    failure: Option<Error>,
}

impl Source for Indexed<'_> {
    fn read(&mut self, offset: u64, length: usize) -> io::Result<Vec<u8>> {
        if offset >= self.size || length == 0 {
            return Ok(Vec::new());
        }
        let length = u32::try_from(length.min(PIECE)).unwrap_or(u32::MAX);
        (self.octets)(offset, length).map_err(|error| {
            self.failure = Some(error);
            io::ErrorKind::Other.into()
        })
    }
}

/// The header of a message, as far as headers are looked at.
pub(super) fn read_header(source: &mut dyn Source, size: u64) -> io::Result<Vec<u8>> {
    let header = match shallow(source, size)? {
        Some(part) => part.header,
        None => 0..size,
    };
    mime::read_header(source, &header)
}

/// The fields of a header. Says whether to go on.
pub(super) fn header_texts(header: &[u8], taker: &mut dyn Taker) -> bool {
    fields(header).all(|field| {
        let name = String::from_utf8_lossy(field.name).to_lowercase();
        taker.begin();
        taker.take(&format!("{name}: {}", decoded(&field)))
    })
}

/// The texts of a body. Says whether to go on.
pub(super) fn body_texts(
    part: &Part,
    source: &mut dyn Source,
    taker: &mut dyn Taker,
) -> io::Result<bool> {
    match &part.kind {
        Kind::Multipart(children) => {
            for child in children {
                if !body_texts(child, source, taker)? {
                    return Ok(false);
                }
            }
            Ok(true)
        }
        Kind::Message(inner) => {
            let header = mime::read_header(source, &inner.header)?;
            Ok(header_texts(&header, taker) && body_texts(inner, source, taker)?)
        }
        Kind::Leaf => leaf_text(part, source, taker),
    }
}

fn leaf_text(part: &Part, source: &mut dyn Source, taker: &mut dyn Taker) -> io::Result<bool> {
    let media = part.content.media.as_ref();
    if media.is_some_and(|media| !media.is("text")) {
        return Ok(true);
    }
    let Some(decoder) = Decoder::new(part.content.transfer()) else {
        return Ok(true);
    };
    let charset = media
        .and_then(|media| media.parameter("charset"))
        .unwrap_or_default();
    taker.begin();
    let mut leaf = Leaf {
        charset,
        pending: Vec::new(),
        taker,
        more: true,
    };
    decode(source, part.body.clone(), decoder, |_, octets| {
        leaf.push(octets)
    })?;
    leaf.flush(usize::MAX);
    Ok(leaf.more)
}

/// Decoded octets that come piece by piece, made into text.
struct Leaf<'a> {
    charset: &'a [u8],
    /// Octets not yet given on.
    pending: Vec<u8>,
    taker: &'a mut dyn Taker,
    more: bool,
}

impl Leaf<'_> {
    /// Whether to go on.
    fn push(&mut self, octets: &[u8]) -> bool {
        self.pending.extend_from_slice(octets);
        if self.pending.len() >= PIECE {
            // Cut behind a line: there no character set has a character in two pieces.
            let line_end =
                memchr::memrchr(b'\n', &self.pending).map_or(self.pending.len(), |at| at + 1);
            self.flush(line_end);
        }
        self.more
    }

    fn flush(&mut self, length: usize) {
        let rest = self.pending.split_off(length.min(self.pending.len()));
        let text = decode_charset(self.charset, &self.pending).to_lowercase();
        self.pending = rest;
        self.more = self.more && self.taker.take(&text);
    }
}

/// A field's value with its encoded words decoded (RFC 2047), in lower case.
pub(super) fn decoded(field: &Field<'_>) -> String {
    decoded_case(field).to_lowercase()
}

/// The same as it was written.
pub(super) fn decoded_case(field: &Field<'_>) -> String {
    let mut text = field.unfolded();
    text.push(b'\n');
    MessageStream::new(&text)
        .parse_unstructured()
        .into_text()
        .unwrap_or_default()
        .into_owned()
}

/// Octets in a character set as text.
pub(super) fn decode_charset<'a>(charset: &[u8], octets: &'a [u8]) -> Cow<'a, str> {
    // Much mail says nothing, or US-ASCII, and is UTF-8. Most of it says UTF-8 and is: nothing is to be done but to see that.
    let is_utf8 = ["", "us-ascii", "utf-8"]
        .iter()
        .any(|name| charset.eq_ignore_ascii_case(name.as_bytes()));
    if is_utf8 && let Ok(text) = std::str::from_utf8(octets) {
        return text.into();
    }
    match charset_decoder(charset) {
        Some(decoder) => decoder(octets).into(),
        None => String::from_utf8_lossy(octets),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn has(message: &[u8], wanted: &str) -> bool {
        let mut source = message;
        let root = scan(&mut source).unwrap();
        let wanted = wanted.to_lowercase();
        let mut finder = Finder::new(&wanted);
        body_texts(&root, &mut source, &mut finder).unwrap();
        finder.found()
    }

    #[test]
    fn bodies_are_searched_decoded() {
        let quoted = b"Content-Type: text/plain; charset=iso-8859-1\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\nGr=FC=\r\n=DFe\r\n";
        assert!(has(quoted, "GRÜSSE") == "GRÜSSE".to_lowercase().contains("grüße"));
        assert!(has(quoted, "grüße"));
        let base64 = b"Content-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: base64\r\n\r\nR3LDvMOfZQ==\r\n";
        assert!(has(base64, "GRÜß"));
        assert!(!has(base64, "R3LD"));
        assert!(has("\r\nGrüße".as_bytes(), "rüß"));
    }

    #[test]
    fn only_text_and_embedded_headers() {
        let message = b"Content-Type: multipart/mixed; boundary=b\r\n\r\npreamble\r\n--b\r\nContent-Type: application/x\r\n\r\nhidden\r\n\
            --b\r\nContent-Type: message/rfc822\r\n\r\nSubject: =?utf-8?q?f=C3=BCnf?=\r\n\r\ninner text\r\n--b--\r\n";
        assert!(has(message, "Inner Text"));
        assert!(has(message, "subject: FÜNF"));
        assert!(!has(message, "hidden"));
        assert!(!has(message, "preamble"));
    }

    #[test]
    fn a_match_across_pieces_is_found() {
        let mut message = b"\r\n".to_vec();
        message.extend(
            std::iter::repeat_n(
                b"0123456789abcdef0123456789abcdef0123456789abcdef012345678\r\n",
                4_000,
            )
            .flatten(),
        );
        message.extend_from_slice("the needle\r\nis here".as_bytes());
        for cut in [0, 1, 7, 30] {
            message.splice(2..2, vec![b'x'; cut]);
            assert!(has(&message, "NEEDLE\r\nis"), "{cut}");
        }
        let unbroken = [vec![b'x'; 3 * PIECE - 3], b"needle".to_vec()].concat();
        assert!(has(&[b"\r\n".to_vec(), unbroken].concat(), "xneedle"));
    }
}
