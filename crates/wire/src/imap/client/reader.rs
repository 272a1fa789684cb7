//! Responses put together from lines and literals (RFC 9051 4.3, 9).
//!
//! A literal is counted, never searched: what stands in it cannot end the response. The body of a message in a FETCH response is
//! handed on in blocks while it comes; everything else is small and kept until the response is complete.

use crate::client::{Breach, Failure, Link, Stage, is_plain};

/// Octets of a body handed on at once. Full blocks, so that what is handed on does not depend on how the network cut it.
pub(crate) const BLOCK: usize = 64 * 1024;

/// What bounds a response.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Bounds {
    /// Octets of a response, literals that are handed on not counted.
    pub(crate) response: usize,
    /// Octets of a literal that is kept.
    pub(crate) literal: usize,
    /// Whether bodies are handed on; if not, they count.
    pub(crate) streams: bool,
    /// Whether status responses are text to the end of their line, whatever stands there. A `{5}` at the end of a greeting or of
    /// the reply to STARTTLS must not swallow what comes behind it.
    pub(crate) imap: bool,
}

impl Bounds {
    /// Before login.
    pub(crate) const EARLY: Self = Self {
        response: 64 * 1024,
        literal: 4096,
        streams: false,
        imap: true,
    };
    /// After login. A SEARCH result of a million messages fits.
    pub(crate) const LATE: Self = Self {
        response: 16 * 1024 * 1024,
        literal: 1024 * 1024,
        streams: true,
        imap: true,
    };
}

/// A part of a response.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Piece {
    /// Text up to the end of a line; if a literal follows, its announcement is the end of it.
    Text(Vec<u8>),
    /// A literal.
    Literal(Vec<u8>),
    /// A literal that was handed on.
    Streamed(u64),
}

/// A block of a message body, as it comes in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Portion {
    /// The message's sequence number. Its UID, if it was asked for, is in [`super::Fetched`], which follows.
    pub sequence: u32,
    /// Which part of the message: `BODY[]`, for example.
    pub section: Box<str>,
    /// How many octets the whole part has.
    pub octets: u64,
    /// Where this block begins.
    pub offset: u64,
    /// The octets; at most 64 KiB.
    pub bytes: Vec<u8>,
}

impl Portion {
    /// Whether this is the last block of the part.
    pub fn is_last(&self) -> bool {
        self.offset + self.bytes.len() as u64 >= self.octets
    }
}

/// What was read.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Event {
    /// A complete response.
    Response(Vec<Piece>),
    /// A block of a body.
    Portion(Portion),
}

#[derive(Debug, Default)]
pub(crate) struct Reader {
    pieces: Vec<Piece>,
    octets: usize,
    state: State,
}

#[derive(Debug, Default)]
enum State {
    #[default]
    Line,
    Literal(usize),
    Stream {
        sequence: u32,
        section: Box<str>,
        octets: u64,
        offset: u64,
    },
}

impl Reader {
    /// Whether a body is on its way.
    pub(crate) fn is_streaming(&self) -> bool {
        matches!(self.state, State::Stream { .. })
    }

    /// The next event, if what it takes has come.
    pub(crate) fn read(
        &mut self,
        link: &mut Link,
        bounds: Bounds,
        stage: Stage,
    ) -> Result<Option<Event>, Failure> {
        loop {
            match &mut self.state {
                State::Line => {
                    let room = bounds.response.saturating_sub(self.octets);
                    let Some(text) = link.line(room, stage)? else {
                        return Ok(None);
                    };
                    if let Some(response) = self.on_line(text, bounds, stage)? {
                        return Ok(Some(Event::Response(response)));
                    }
                }
                State::Literal(length) => {
                    let length = *length;
                    let Some(bytes) = link.inbox.waiting().get(..length) else {
                        return Ok(None);
                    };
                    self.pieces.push(Piece::Literal(bytes.to_vec()));
                    link.inbox.consume(length);
                    link.spend(length, stage)?;
                    self.state = State::Line;
                }
                State::Stream { .. } => {
                    return Ok(self.block(link).map(Event::Portion));
                }
            }
        }
    }

    fn on_line(
        &mut self,
        line: Vec<u8>,
        bounds: Bounds,
        stage: Stage,
    ) -> Result<Option<Vec<Piece>>, Failure> {
        if !is_plain(&line) {
            return Err(Failure::Protocol(Breach::BareControl, stage));
        }
        self.octets += line.len() + 2;
        let is_text = bounds.imap && self.pieces.is_empty() && is_status(&line);
        let literal = announced(&line).filter(|_| !is_text);
        let body = literal.and_then(|_| self.body(&line));
        self.pieces.push(Piece::Text(line));
        match (literal, body) {
            (None, _) => {
                self.octets = 0;
                return Ok(Some(std::mem::take(&mut self.pieces)));
            }
            (Some(octets), Some((sequence, section))) if bounds.streams => {
                self.state = State::Stream {
                    sequence,
                    section,
                    octets,
                    offset: 0,
                };
            }
            (Some(octets), _) => {
                let length = usize::try_from(octets)
                    .ok()
                    .filter(|it| *it <= bounds.literal);
                let length = length.ok_or(Failure::TooMuch(stage))?;
                self.octets += length;
                if self.octets > bounds.response {
                    return Err(Failure::TooMuch(stage));
                }
                self.state = State::Literal(length);
            }
        }
        Ok(None)
    }

    /// Sequence number and section, if the line announces a body in a FETCH response.
    fn body(&self, line: &[u8]) -> Option<(u32, Box<str>)> {
        let first = match self.pieces.first() {
            Some(Piece::Text(first)) => first,
            Some(_) => return None,
            None => line,
        };
        let sequence = fetch_sequence(first)?;
        let text = std::str::from_utf8(line).ok()?;
        let text = text.get(..text.rfind('{')?)?.trim_end_matches(['~', ' ']);
        let name = match text.rfind(']') {
            // `BODY[HEADER.FIELDS (TO)]<0>`: the name begins before its bracket
            Some(close)
                if text
                    .get(close + 1..)?
                    .chars()
                    .all(|it| "<>0123456789".contains(it)) =>
            {
                let open = text.get(..close)?.rfind('[')?;
                let begin = text.get(..open)?.rfind([' ', '(']).map_or(0, |at| at + 1);
                text.get(begin..)?
            }
            _ => text.rsplit([' ', '(']).next()?,
        };
        let upper = name.to_ascii_uppercase();
        let is_body = upper.starts_with("BODY[")
            || upper.starts_with("BINARY[")
            || upper.starts_with("RFC822");
        is_body.then(|| (sequence, upper.into()))
    }

    fn block(&mut self, link: &mut Link) -> Option<Portion> {
        let State::Stream {
            sequence,
            section,
            octets,
            offset,
        } = &mut self.state
        else {
            return None;
        };
        let left = usize::try_from(*octets - *offset).unwrap_or(usize::MAX);
        let length = left.min(BLOCK);
        let bytes = link.inbox.waiting().get(..length)?.to_vec();
        link.inbox.consume(length);
        let portion = Portion {
            sequence: *sequence,
            section: section.clone(),
            octets: *octets,
            offset: *offset,
            bytes,
        };
        *offset += length as u64;
        if *offset >= *octets {
            self.pieces.push(Piece::Streamed(*octets));
            self.state = State::Line;
        }
        Some(portion)
    }
}

/// The length of the literal that the line's end announces: `{n}`.
fn announced(line: &[u8]) -> Option<u64> {
    let inner = line.strip_suffix(b"}")?;
    let at = inner.iter().rposition(|it| *it == b'{')?;
    let digits = inner.get(at + 1..)?;
    let is_number = !digits.is_empty() && digits.iter().all(u8::is_ascii_digit);
    std::str::from_utf8(digits)
        .ok()?
        .parse()
        .ok()
        .filter(|_| is_number)
}

/// Whether the line is a status response, tagged or not, or a continuation: text to its end (RFC 9051 9, `resp-text`).
fn is_status(line: &[u8]) -> bool {
    let mut words = line.split(|it| *it == b' ');
    if words.next() != Some(b"*") {
        return true;
    }
    let word = words.next().unwrap_or_default();
    [&b"OK"[..], b"NO", b"BAD", b"BYE", b"PREAUTH"]
        .iter()
        .any(|it| it.eq_ignore_ascii_case(word))
}

/// The sequence number of `* n FETCH …`.
fn fetch_sequence(line: &[u8]) -> Option<u32> {
    let mut words = std::str::from_utf8(line.get(..line.len().min(32))?)
        .ok()?
        .split(' ');
    let star = words.next()? == "*";
    let sequence = words.next()?.parse().ok()?;
    (star && words.next()?.eq_ignore_ascii_case("FETCH")).then_some(sequence)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn events(segments: &[&[u8]], bounds: Bounds) -> Result<Vec<Event>, Failure> {
        let mut link = Link::clear(None);
        link.lift_budget();
        let mut reader = Reader::default();
        let mut events = Vec::new();
        for segment in segments {
            link.inbox.push(segment);
            while let Some(event) = reader.read(&mut link, bounds, Stage::Command)? {
                events.push(event);
            }
        }
        Ok(events)
    }

    #[test]
    fn a_literal_is_counted_and_never_searched() {
        let text = b"* LIST () \"/\" {13}\r\na OK\r\n* BYE\r\n\r\n* 1 EXISTS\r\n";
        let whole = events(&[text], Bounds::LATE).unwrap();
        assert_eq!(whole.len(), 2);
        let Event::Response(pieces) = &whole[0] else {
            panic!("{whole:?}");
        };
        assert_eq!(pieces[1], Piece::Literal(b"a OK\r\n* BYE\r\n".to_vec()));
        for cut in 0..text.len() {
            let (left, right) = text.split_at(cut);
            assert_eq!(events(&[left, right], Bounds::LATE).unwrap(), whole);
        }
    }

    #[test]
    fn bodies_are_handed_on_in_blocks() {
        let body = vec![b'x'; BLOCK + 5];
        let text = [
            format!(
                "* 7 FETCH (UID 9 BODY[HEADER.FIELDS (TO CC)]<0> {{{}}}\r\n",
                body.len()
            )
            .as_bytes(),
            &body,
            b" FLAGS ())\r\n",
        ]
        .concat();
        let whole = events(&[&text], Bounds::LATE).unwrap();
        let pieces: Vec<&[u8]> = text.chunks(1000).collect();
        assert_eq!(events(&pieces, Bounds::LATE).unwrap(), whole);
        assert_eq!(whole.len(), 3);
        let Event::Portion(first) = &whole[0] else {
            panic!("{whole:?}")
        };
        assert_eq!((first.sequence, first.bytes.len()), (7, BLOCK));
        assert_eq!(&*first.section, "BODY[HEADER.FIELDS (TO CC)]<0>");
        assert!(!first.is_last());
        assert!(matches!(&whole[1], Event::Portion(it) if it.is_last() && it.bytes.len() == 5));
    }

    #[test]
    fn what_is_too_much_is_not_read() {
        let too_much = Err(Failure::TooMuch(Stage::Command));
        assert_eq!(events(&[b"* LIST () {4097}\r\n"], Bounds::EARLY), too_much);
        assert_eq!(
            events(&[b"* LIST () {99999999999999999999}\r\n"], Bounds::EARLY),
            Ok(vec![Event::Response(vec![Piece::Text(
                b"* LIST () {99999999999999999999}".to_vec()
            )])])
        );
        let many = b"* X {4000}\r\n".to_vec();
        let many = [&many[..], &[b'x'; 4000]].concat();
        let many = [&many[..], &b" {4000}\r\n"[..], &[b'x'; 4000]]
            .concat()
            .repeat(20);
        assert!(events(&[&many], Bounds::EARLY).is_err() || many.len() < 64 * 1024);
        assert_eq!(events(&[&b"*".repeat(70_000)], Bounds::EARLY), too_much);
        // before login no body streams
        assert_eq!(
            events(&[b"* 1 FETCH (BODY[] {50000}\r\n"], Bounds::EARLY),
            too_much
        );
    }
}
