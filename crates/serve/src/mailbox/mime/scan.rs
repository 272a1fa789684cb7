//! Reads a message once, in pieces, and finds its parts (RFC 2046 5.1).
//!
//! ```text
//!   Header ──empty line──▶ Body ──delimiter of an open multipart──▶ Header of the next part
//!      └──────delimiter (a part without an empty line)────────────▶ …
//! ```
//! The line break before a delimiter belongs to the delimiter. A delimiter of an outer multipart ends the inner ones; a missing
//! last one ends at the end of the enclosing part. A multipart without parts or boundary gets one part of plain text, so that
//! part 1 exists wherever a client expects it.

use std::io;

use memchr::memchr;

use super::content::{Content, Media};
use super::field::cut_field;
use super::{DEPTH_LIMIT, HEADER_LIMIT, Kind, PARTS_LIMIT, Part, Source};

/// How much is read at a time.
const PIECE: usize = 64 * 1024;
/// How much is read first where only the header is looked for: most end in it.
const BEGINNING: usize = 8 * 1024;
/// Octets of headers in all parts together whose content fields are kept: beyond that, parts have none and are plain text. The
/// longest header of a message leaves its parts as much again.
const FIELDS_LIMIT: usize = 2 * HEADER_LIMIT;
/// How much of a body line is looked at: longer lines are no delimiters. A boundary has at most 70 characters by the standard,
/// but senders exceed it.
const LINE_LIMIT: usize = 1_000;

/// Reads a whole message and makes its tree.
///
/// # Errors
/// When the source cannot be read.
pub fn scan(source: &mut dyn Source) -> io::Result<Part> {
    let mut scanner = Scanner::new();
    let mut offset = 0;
    loop {
        let piece = source.read(offset, PIECE)?;
        if piece.is_empty() {
            return Ok(scanner.finish());
        }
        scanner.push(&piece);
        offset += piece.len() as u64;
    }
}

/// Finds only where the header ends, by reading no further; none when that is not within [`HEADER_LIMIT`] octets. The part
/// has no content fields and no lines.
///
/// # Errors
/// When the source cannot be read.
pub fn shallow(source: &mut dyn Source, size: u64) -> io::Result<Option<Part>> {
    let (mut border, mut offset) = (Border::default(), 0);
    while offset < HEADER_LIMIT as u64 {
        let piece = source.read(offset, if offset == 0 { BEGINNING } else { PIECE })?;
        let found = border.find(&piece);
        let length = found.unwrap_or(piece.len());
        offset += length as u64;
        if found.is_some() || length == 0 || offset >= size {
            return Ok(Some(Part {
                header: 0..offset,
                body: offset..size.max(offset),
                lines: 0,
                content: Box::default(),
                kind: Kind::Leaf,
            }));
        }
    }
    Ok(None)
}

/// Looks for the empty line behind a header that comes in pieces.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
enum Border {
    /// A line begins.
    #[default]
    Line,
    /// A line began with CR.
    Cr,
    /// In a line that is not empty.
    Inside,
}

impl Border {
    /// Where the body begins in this piece, if it does.
    fn find(&mut self, piece: &[u8]) -> Option<usize> {
        let mut at = 0;
        while let Some(octet) = piece.get(at) {
            at += match (*self, octet) {
                (Self::Line | Self::Cr, b'\n') => return Some(at + 1),
                (Self::Line, b'\r') => {
                    *self = Self::Cr;
                    1
                }
                _ => {
                    let rest = piece.get(at..).unwrap_or_default();
                    let end = memchr(b'\n', rest);
                    *self = if end.is_some() {
                        Self::Line
                    } else {
                        Self::Inside
                    };
                    end.map_or(rest.len(), |end| end + 1)
                }
            };
        }
        None
    }
}

/// The scanner; [`scan`] is the usual way to use it.
#[derive(Debug)]
pub struct Scanner {
    open: Vec<Open>,
    place: Place,
    /// The header being read, up to the limit, and whether it is longer.
    header: Vec<u8>,
    header_cut: bool,
    /// The beginning of the line being read, up to [`LINE_LIMIT`]; only when it came in several pieces.
    partial: Vec<u8>,
    /// Where the line being read begins, and how much of it has passed.
    line_start: u64,
    line_length: u64,
    /// Octets of the line break before the line being read.
    break_before: u64,
    /// Whether the last octet seen was CR.
    after_cr: bool,
    /// Line breaks so far.
    breaks: u64,
    parts: usize,
    /// Octets of headers whose content fields may still be kept.
    budget: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    Header,
    Body,
}

/// A part whose end has not been seen.
#[derive(Debug)]
struct Open {
    header_start: u64,
    body_start: u64,
    breaks_before_body: u64,
    content: Content,
    digest: bool,
    inside: Inside,
}

#[derive(Debug)]
enum Inside {
    Content,
    Message(Option<Box<Part>>),
    Parts {
        boundary: Vec<u8>,
        children: Vec<Part>,
        closed: bool,
    },
}

impl Default for Scanner {
    fn default() -> Self {
        Self::new()
    }
}

impl Scanner {
    /// At the beginning of a message.
    pub fn new() -> Self {
        Self {
            open: vec![Open::new(0, false)],
            place: Place::Header,
            header: Vec::new(),
            header_cut: false,
            partial: Vec::new(),
            line_start: 0,
            line_length: 0,
            break_before: 0,
            after_cr: false,
            breaks: 0,
            parts: 1,
            budget: FIELDS_LIMIT,
        }
    }

    /// Takes the next octets.
    pub fn push(&mut self, mut piece: &[u8]) {
        while let Some(at) = memchr(b'\n', piece) {
            let (line, rest) = piece.split_at(at + 1);
            self.line(line);
            piece = rest;
        }
        self.keep(piece);
    }

    /// The message is complete.
    pub fn finish(mut self) -> Part {
        if self.line_length > 0 {
            let partial = std::mem::take(&mut self.partial);
            self.whole_line(&partial);
            self.line_start += self.line_length;
            self.break_before = 0;
        }
        if self.place == Place::Header {
            self.header_ends(self.line_start);
        }
        let end = self.line_start;
        while self.open.len() > 1 {
            self.close_last(end, self.breaks);
        }
        let last = self.open.pop().unwrap_or_else(|| Open::new(0, false));
        last.close(end, self.breaks)
    }

    /// The end of a line (with its LF): together with what was kept it is whole.
    fn line(&mut self, end: &[u8]) {
        let cr = end
            .len()
            .checked_sub(2)
            .map_or(self.after_cr, |at| end.get(at) == Some(&b'\r'));
        if self.line_length == 0 {
            self.line_length = end.len() as u64;
            self.whole_line(end);
        } else {
            self.keep(end);
            let partial = std::mem::take(&mut self.partial);
            self.whole_line(&partial);
        }
        self.partial.clear();
        self.line_start += self.line_length;
        self.line_length = 0;
        self.break_before = 1 + u64::from(cr);
        self.after_cr = false;
        self.breaks += 1;
    }

    /// A piece of a line: kept as far as it may matter.
    fn keep(&mut self, piece: &[u8]) {
        let Some(last) = piece.last() else { return };
        let limit = if self.place == Place::Header {
            HEADER_LIMIT
        } else {
            LINE_LIMIT
        };
        let room = limit.saturating_sub(self.partial.len());
        self.partial
            .extend_from_slice(piece.get(..room).unwrap_or(piece));
        self.line_length += piece.len() as u64;
        self.after_cr = *last == b'\r';
    }

    /// Acts on a line (or the beginning of a very long one).
    fn whole_line(&mut self, line: &[u8]) {
        if line.starts_with(b"--")
            && self.line_length <= LINE_LIMIT as u64
            && self.delimiter(line.trim_ascii_end())
        {
            return;
        }
        if self.place == Place::Header {
            let empty = line == b"\r\n" || line == b"\n";
            self.keep_header(line);
            if empty {
                self.breaks += 1;
                self.header_ends(self.line_start + self.line_length);
                self.breaks -= 1;
            }
        }
    }

    /// Adds a line to the header, up to the limit.
    fn keep_header(&mut self, line: &[u8]) {
        let room = HEADER_LIMIT.saturating_sub(self.header.len());
        self.header
            .extend_from_slice(line.get(..room).unwrap_or(line));
        // Of a very long line only the beginning came.
        self.header_cut |= line.len() > room || line.len() as u64 != self.line_length;
    }

    /// Whether the line is a delimiter of an open multipart; if so, acts on it.
    fn delimiter(&mut self, line: &[u8]) -> bool {
        let Some(text) = line.get(2..) else {
            return false;
        };
        let matching = self
            .open
            .iter()
            .rposition(|open| open.delimits(text).is_some());
        let Some(index) = matching else { return false };
        let last = self
            .open
            .get(index)
            .and_then(|open| open.delimits(text))
            .unwrap_or(false);
        if !last && self.parts >= PARTS_LIMIT {
            return false;
        }
        let next_line = self.line_start + self.line_length;
        if self.place == Place::Header {
            self.header_ends(self.line_start);
        }
        let end = self.line_start.saturating_sub(self.break_before);
        let breaks = self.breaks.saturating_sub(u64::from(self.break_before > 0));
        while self.open.len() > index + 1 {
            self.close_last(end, breaks);
        }
        let Some(Open {
            content,
            inside: Inside::Parts { closed, .. },
            ..
        }) = self.open.last_mut()
        else {
            return false;
        };
        if last {
            *closed = true;
            self.place = Place::Body;
        } else {
            let digest = content
                .media
                .as_ref()
                .is_some_and(|media| media.subtype.eq_ignore_ascii_case(b"digest"));
            self.open.push(Open::new(next_line, digest));
            self.parts += 1;
            self.place = Place::Header;
        }
        true
    }

    /// The header of the innermost part is complete; its body begins at `body_start`.
    fn header_ends(&mut self, body_start: u64) {
        self.place = Place::Body;
        let mut header = std::mem::take(&mut self.header);
        if std::mem::take(&mut self.header_cut) {
            cut_field(&mut header);
        }
        let deep = self.open.len() >= DEPTH_LIMIT;
        let room = self.parts < PARTS_LIMIT;
        let breaks = self.breaks;
        let affordable = header.len() <= self.budget;
        self.budget = self.budget.saturating_sub(header.len());
        let Some(open) = self.open.last_mut() else {
            return;
        };
        if affordable {
            open.content = Content::parse(&header);
        }
        if open.digest && open.content.media.is_none() {
            // RFC 2046 5.1.5: the default inside a digest.
            let (kind, subtype) = (b"message".to_vec(), b"rfc822".to_vec());
            open.content.media = Some(Media {
                kind,
                subtype,
                parameters: Vec::new(),
            });
        }
        open.body_start = body_start;
        open.breaks_before_body = breaks;
        let Some(media) = open.content.media.as_ref().filter(|_| !deep) else {
            return;
        };
        if media.is("multipart") {
            let boundary = media
                .parameter("boundary")
                .unwrap_or_default()
                .trim_ascii_end()
                .to_vec();
            open.inside = Inside::Parts {
                closed: boundary.is_empty(),
                boundary,
                children: Vec::new(),
            };
        } else if media.is_message() && room {
            open.inside = Inside::Message(None);
            self.open.push(Open::new(body_start, false));
            self.parts += 1;
            self.place = Place::Header;
        }
    }

    fn close_last(&mut self, end: u64, breaks: u64) {
        let Some(open) = self.open.pop() else { return };
        let part = open.close(end, breaks);
        match self.open.last_mut().map(|parent| &mut parent.inside) {
            Some(Inside::Parts { children, .. }) => children.push(part),
            Some(Inside::Message(inner)) => *inner = Some(Box::new(part)),
            _ => {}
        }
    }
}

impl Open {
    fn new(header_start: u64, digest: bool) -> Self {
        Self {
            header_start,
            body_start: header_start,
            breaks_before_body: 0,
            content: Content::default(),
            digest,
            inside: Inside::Content,
        }
    }

    /// Whether the text behind `--` is this part's boundary, and if so whether it closes it.
    fn delimits(&self, text: &[u8]) -> Option<bool> {
        let Inside::Parts {
            boundary,
            closed: false,
            ..
        } = &self.inside
        else {
            return None;
        };
        match text.strip_prefix(boundary.as_slice())? {
            b"" => Some(false),
            b"--" => Some(true),
            _ => None,
        }
    }

    /// The line break before the delimiter is not the part's, even where it is the empty line behind the header.
    fn close(self, end: u64, breaks: u64) -> Part {
        let end = end.max(self.header_start);
        let body = self.body_start.min(end)..end;
        let lines = breaks.saturating_sub(self.breaks_before_body);
        let kind = match self.inside {
            Inside::Content | Inside::Message(None) => Kind::Leaf,
            Inside::Message(Some(mut inner)) => {
                inner.end_at(end);
                Kind::Message(inner)
            }
            Inside::Parts { mut children, .. } if !children.is_empty() => {
                if let Some(last) = children.last_mut() {
                    last.end_at(end);
                }
                Kind::Multipart(children)
            }
            Inside::Parts { boundary, .. } if boundary.is_empty() => {
                Kind::Multipart(vec![Part::plain(body.start, end, lines)])
            }
            Inside::Parts { .. } => Kind::Multipart(vec![Part::plain(end, end, 0)]),
        };
        let header = self.header_start..body.start;
        let content = Box::new(self.content);
        Part {
            header,
            body,
            lines,
            content,
            kind,
        }
    }
}

impl Part {
    /// Ends with what it is in. A delimiter directly behind the header of an embedded message takes its line break from both.
    fn end_at(&mut self, end: u64) {
        if self.body.end <= end {
            return;
        }
        self.header = self.header.start.min(end)..self.header.end.min(end);
        self.body = self.body.start.min(end)..end;
        match &mut self.kind {
            Kind::Leaf => {}
            Kind::Message(inner) => inner.end_at(end),
            Kind::Multipart(children) => {
                if let Some(last) = children.last_mut() {
                    last.end_at(end);
                }
            }
        }
    }

    /// Plain text without a header.
    fn plain(start: u64, end: u64, lines: u64) -> Self {
        Self {
            header: start..start,
            body: start..end,
            lines,
            content: Box::default(),
            kind: Kind::Leaf,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::read_header;
    use super::*;

    fn tree(message: &[u8]) -> Part {
        scan(&mut { message }).unwrap()
    }

    fn text<'a>(message: &'a [u8], range: &std::ops::Range<u64>) -> &'a str {
        let range = usize::try_from(range.start).unwrap()..usize::try_from(range.end).unwrap();
        std::str::from_utf8(&message[range]).unwrap()
    }

    fn body<'a>(message: &'a [u8], part: &Part, numbers: &[u32]) -> Option<&'a str> {
        part.locate(numbers).map(|part| text(message, &part.body))
    }

    /// RFC 2046 5.1.1.
    const SIMPLE: &[u8] = b"From: Nathaniel Borenstein <nsb@bellcore.com>\r\nMIME-Version: 1.0\r\n\
        Content-type: multipart/mixed; boundary=\"simple boundary\"\r\n\r\n\
        This is the preamble.\r\n\r\n--simple boundary\r\n\r\n\
        This is implicitly typed plain US-ASCII text.\r\nIt does NOT end with a linebreak.\r\n\
        --simple boundary\r\nContent-type: text/plain; charset=us-ascii\r\n\r\n\
        This is explicitly typed plain US-ASCII text.\r\nIt DOES end with a linebreak.\r\n\r\n\
        --simple boundary--\r\n\r\nThis is the epilogue.\r\n";

    #[test]
    fn rfc_2046_example() {
        let root = tree(SIMPLE);
        let first =
            "This is implicitly typed plain US-ASCII text.\r\nIt does NOT end with a linebreak.";
        let second =
            "This is explicitly typed plain US-ASCII text.\r\nIt DOES end with a linebreak.\r\n";
        assert_eq!(body(SIMPLE, &root, &[1]), Some(first));
        assert_eq!(body(SIMPLE, &root, &[2]), Some(second));
        assert_eq!(body(SIMPLE, &root, &[3]), None);
        assert_eq!(
            (
                root.locate(&[1]).unwrap().lines,
                root.locate(&[2]).unwrap().lines
            ),
            (1, 2)
        );
        assert_eq!(root.body.end, SIMPLE.len() as u64);
        assert_eq!(
            text(SIMPLE, &root.locate(&[2]).unwrap().header),
            "Content-type: text/plain; charset=us-ascii\r\n\r\n"
        );
    }

    #[test]
    fn embedded_message_numbers_as_in_rfc_9051() {
        let message = b"Content-Type: multipart/mixed; boundary=a\n\n--a\n\nfirst\n--a\nContent-Type: message/rfc822\n\n\
            Subject: inner\nContent-Type: multipart/alternative; boundary=ab\n\n--ab\n\nx\n--ab\n\ny\n--ab--\n--a\n\
            Content-Type: message/rfc822\n\nSubject: plain\n\nonly\n--a--\n";
        let root = tree(message);
        assert_eq!(body(message, &root, &[1]), Some("first"));
        assert_eq!(body(message, &root, &[1, 1]), None);
        assert_eq!(body(message, &root, &[2, 1]), Some("x"));
        assert_eq!(body(message, &root, &[2, 2]), Some("y"));
        assert_eq!(body(message, &root, &[3]), Some("Subject: plain\n\nonly"));
        assert_eq!(body(message, &root, &[3, 1]), Some("only"));
        assert_eq!(body(message, &root, &[3, 2]), None);
        assert_eq!(body(message, &root, &[4]), None);
        assert_eq!(body(message, &root, &[0]), None);
    }

    #[test]
    fn digest_parts_are_messages() {
        let message = b"Content-Type: multipart/digest; boundary=d\r\n\r\n--d\r\n\r\nSubject: one\r\n\r\nhello\r\n--d--";
        let root = tree(message);
        assert_eq!(body(message, &root, &[1, 1]), Some("hello"));
    }

    #[test]
    fn broken_multiparts() {
        let unclosed = b"Content-Type: multipart/mixed; boundary=x\r\n\r\n--x\r\n\r\na\r\n--x\r\nContent-Type: text/html";
        let root = tree(unclosed);
        assert_eq!(body(unclosed, &root, &[1]), Some("a"));
        assert_eq!(body(unclosed, &root, &[2]), Some(""));
        let empty = b"Content-Type: multipart/mixed; boundary=x\r\n\r\nnothing\r\n";
        assert_eq!(body(empty, &tree(empty), &[1]), Some(""));
        let boundless = b"Content-Type: multipart/mixed\r\n\r\ntext\r\n";
        assert_eq!(body(boundless, &tree(boundless), &[1]), Some("text\r\n"));
        let bare =
            b"Content-Type: multipart/mixed; boundary=x\r\n\r\n--x\r\n\r\n--x\r\nA: b\r\n--x--\r\n";
        let root = tree(bare);
        assert_eq!(
            (
                body(bare, &root, &[1]),
                body(bare, &root, &[2]),
                body(bare, &root, &[3])
            ),
            (Some(""), Some(""), None)
        );
    }

    #[test]
    fn a_delimiter_behind_a_header_takes_the_empty_line() {
        let message = b"Content-Type: multipart/mixed; boundary=x\r\n\r\n--x\r\nContent-Type: message/rfc822\r\n\r\n\
            Subject: a\r\n\r\n--x\r\nContent-Type: message/rfc822\r\n\r\n--x--";
        let root = tree(message);
        assert_eq!(body(message, &root, &[1]), Some("Subject: a\r\n"));
        assert_eq!(body(message, &root, &[1, 1]), Some(""));
        assert_eq!(body(message, &root, &[2]), Some(""));
        within(&root, &(0..message.len() as u64));
    }

    #[test]
    fn depth_and_number_are_limited() {
        let mut nested = Vec::new();
        for _ in 0..10_000 {
            nested.extend_from_slice(b"Content-Type: message/rfc822\r\n\r\n");
        }
        let mut part = &tree(&nested);
        let mut depth = 1;
        while let Kind::Message(inner) = &part.kind {
            part = inner;
            depth += 1;
        }
        assert_eq!(depth, DEPTH_LIMIT);
        let mut wide = b"Content-Type: multipart/mixed; boundary=x\r\n\r\n".to_vec();
        for _ in 0..3_000 {
            wide.extend_from_slice(b"--x\r\n\r\n");
        }
        let Kind::Multipart(children) = tree(&wide).kind else {
            panic!("not a multipart")
        };
        assert_eq!(children.len(), PARTS_LIMIT - 1);
    }

    #[test]
    fn long_headers_are_passed_over() {
        let mut message = format!(
            "Content-Type: text/html\r\nX: {}\r\n\r\nbody",
            "x".repeat(2 * HEADER_LIMIT)
        )
        .into_bytes();
        assert!(
            shallow(&mut message.as_slice(), message.len() as u64)
                .unwrap()
                .is_none()
        );
        let root = tree(&message);
        assert_eq!(text(&message, &root.body), "body");
        assert!(root.content.media.as_ref().unwrap().is("text"));
        let long = format!(
            "--x\r\nContent-Type: text/html; {}\r\n\r\n\r\n",
            "y=z;".repeat(10_000)
        );
        message = format!(
            "Content-Type: multipart/mixed; boundary=x\r\n\r\n{}",
            long.repeat(80)
        )
        .into_bytes();
        let Kind::Multipart(children) = tree(&message).kind else {
            panic!("not a multipart")
        };
        assert_eq!(
            children
                .iter()
                .filter(|child| child.content.media.is_some())
                .count(),
            FIELDS_LIMIT / (long.len() - 5)
        );
    }

    /// What lies beyond the limit is left out by whole fields: of one that was cut, something else would be told.
    #[test]
    fn a_field_across_the_limit_is_left_out() {
        // Thirty octets of the field are within the limit.
        let padding = "X: y\r\n".repeat(HEADER_LIMIT / 6 - 5);
        for field in [
            "Content-Type: multipart/mixed; boundary=b",
            "Content-Type: multipart/mixed;\r\n boundary=b",
        ] {
            let message = format!("{padding}{field}\r\n\r\n--b\r\n\r\n");
            assert_eq!(tree(message.as_bytes()).content.media, None, "{field}");
            let mut source = message.as_bytes();
            let header = read_header(&mut source, &(0..message.len() as u64)).unwrap();
            assert_eq!(header, padding.as_bytes());
        }
        let whole = format!(
            "{}Content-Type: text/html\r\n\r\n",
            "X: y\r\n".repeat(50_000)
        );
        let mut source = whole.as_bytes();
        let part = shallow(&mut source, whole.len() as u64).unwrap().unwrap();
        assert_eq!(part.header.end, whole.len() as u64);
        assert!(tree(whole.as_bytes()).content.media.unwrap().is("text"));
    }

    fn within(part: &Part, outer: &std::ops::Range<u64>) {
        assert!(outer.start <= part.header.start && part.header.start <= part.header.end);
        assert!(
            part.header.end == part.body.start
                && part.body.start <= part.body.end
                && part.body.end <= outer.end,
            "{part:?} {outer:?}"
        );
        match &part.kind {
            Kind::Leaf => {}
            Kind::Message(inner) => {
                assert_eq!(
                    (inner.header.start, inner.body.end),
                    (part.body.start, part.body.end)
                );
                within(inner, &part.body);
            }
            Kind::Multipart(children) => {
                assert!(!children.is_empty());
                for child in children {
                    within(child, &part.body);
                }
            }
        }
    }

    /// Lines likely to make structure.
    fn lines() -> impl Strategy<Value = Vec<u8>> {
        let line = prop_oneof![
            Just("Content-Type: multipart/mixed; boundary=x"),
            Just("Content-Type: multipart/digest; boundary=xy"),
            Just("Content-Type: message/rfc822"),
            Just("--x"),
            Just("--x--"),
            Just("--xy"),
            Just("--xy-- "),
            Just(""),
            Just("text"),
            Just("\r"),
        ];
        let end = prop_oneof![Just("\r\n"), Just("\n"), Just("")];
        proptest::collection::vec((line, end), 0..40).prop_map(|all| {
            all.into_iter()
                .flat_map(|(line, end)| [line, end].concat().into_bytes())
                .collect()
        })
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn ranges_lie_inside(message in prop_oneof![lines(), proptest::collection::vec(any::<u8>(), 0..400)]) {
            let root = tree(&message);
            within(&root, &(0..message.len() as u64));
            prop_assert_eq!(root.body.end, message.len() as u64);
        }

        #[test]
        fn shallow_agrees(message in lines()) {
            let root = tree(&message);
            let part = shallow(&mut message.as_slice(), message.len() as u64).unwrap().unwrap();
            // A delimiter ends a header too, but only of a part.
            prop_assert_eq!((part.header, part.body), (root.header, root.body));
        }

        #[test]
        fn cuts_do_not_matter(message in lines(), cut in 1_usize..9) {
            let mut scanner = Scanner::new();
            message.chunks(cut).for_each(|piece| scanner.push(piece));
            prop_assert_eq!(scanner.finish(), tree(&message));
        }
    }
}
