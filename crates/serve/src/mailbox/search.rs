//! SEARCH (RFC 9051 6.4.4): which messages match.
//!
//! What stands in a message's row (flags, dates, sizes) is judged first; the header is read when that is not enough, and the
//! body last. Text is compared decoded (encoded words, transfer encodings, character sets) and without regard to case; of the
//! body, parts of type `text` and the headers of embedded messages are looked into. Memory does not grow with the message.

use std::io;
use std::time::Instant;

use gatepost_store::{Error, Fault, MailboxId, Message, Store};
use gatepost_wire::imap::ask::{Criterion, Found, SystemFlag, Uid};
use mail_parser::decoders::charsets::map::charset_decoder;
use mail_parser::parsers::MessageStream;

use super::date;
use super::fetch::Stored;
use super::mime::field::{Field, fields};
use super::mime::scan::{scan, shallow};
use super::mime::section::decode;
use super::mime::transfer::Decoder;
use super::mime::{HEADER_LIMIT, Kind, Part, Source};

/// Messages looked up at a time.
const BATCH: usize = 1_000;
/// Text searched at a time, in octets.
const PIECE: usize = 64 * 1024;

/// Finds the messages among `among` (ascending) that match.
///
/// # Errors
/// When the mailbox is gone, a message cannot be read, or `until` has come: [`Error::Limit`]. A search cannot be taken back by a
/// client that has gone, so it must end by itself.
pub fn search(
    store: &Store,
    mailbox: MailboxId,
    criterion: Criterion,
    among: &[Uid],
    until: Instant,
) -> Result<Found, Error> {
    let criterion = ordered(criterion);
    let candidates: Vec<Uid> = among
        .iter()
        .copied()
        .filter(|uid| possible(&criterion, *uid))
        .collect();
    let mut found = Found::default();
    let mut highest = 0;
    for uids in candidates.chunks(BATCH) {
        for message in store.messages(mailbox, uids)? {
            if Instant::now() >= until {
                return Err(Error::Limit);
            }
            if matches(store, &message, &criterion)? {
                found.uids.push(message.uid);
                highest = highest.max(message.modseq);
            }
        }
    }
    found.modseq = (highest > 0 && mentions_modseq(&criterion)).then_some(highest);
    Ok(found)
}

fn matches(store: &Store, message: &Message, criterion: &Criterion) -> Result<bool, Error> {
    let mut subject = Subject {
        message,
        source: Stored::new(store, message),
        header: None,
    };
    match (subject.matches(criterion), subject.source.failure) {
        (Ok(matches), _) => Ok(matches),
        (Err(_), Some(Error::Gone)) => Ok(false),
        (Err(_), failure) => Err(failure.unwrap_or(Error::Fault(Fault::Closed))),
    }
}

/// Cheap criteria first, so that dear ones are judged for few messages.
fn ordered(criterion: Criterion) -> Criterion {
    match criterion {
        Criterion::And(all) => {
            let mut all: Vec<_> = all.into_iter().map(ordered).collect();
            all.sort_by_key(cost);
            Criterion::And(all)
        }
        Criterion::Or(one, other) => {
            let (one, other) = (ordered(*one), ordered(*other));
            let (first, second) = if cost(&other) < cost(&one) {
                (other, one)
            } else {
                (one, other)
            };
            Criterion::Or(Box::new(first), Box::new(second))
        }
        Criterion::Not(inner) => Criterion::Not(Box::new(ordered(*inner))),
        other => other,
    }
}

/// 0: the row; 1: the header; 2: the body.
fn cost(criterion: &Criterion) -> u8 {
    match criterion {
        Criterion::And(all) => all.iter().map(cost).max().unwrap_or_default(),
        Criterion::Or(one, other) => cost(one).max(cost(other)),
        Criterion::Not(inner) => cost(inner),
        Criterion::Header(..)
        | Criterion::SentBefore(_)
        | Criterion::SentOn(_)
        | Criterion::SentSince(_) => 1,
        Criterion::Body(_) | Criterion::Text(_) => 2,
        _ => 0,
    }
}

fn mentions_modseq(criterion: &Criterion) -> bool {
    match criterion {
        Criterion::ModSeq(_) => true,
        Criterion::And(all) => all.iter().any(mentions_modseq),
        Criterion::Or(one, other) => mentions_modseq(one) || mentions_modseq(other),
        Criterion::Not(inner) => mentions_modseq(inner),
        _ => false,
    }
}

/// Whether a message of this UID may match at all: what UID sets alone tell, before anything is read.
fn possible(criterion: &Criterion, uid: Uid) -> bool {
    match criterion {
        Criterion::Uids(ranges) => in_ranges(ranges, uid),
        Criterion::And(all) => all.iter().all(|criterion| possible(criterion, uid)),
        Criterion::Or(one, other) => possible(one, uid) || possible(other, uid),
        _ => true,
    }
}

fn in_ranges(ranges: &[(Uid, Uid)], uid: Uid) -> bool {
    let next = ranges.partition_point(|(first, _)| *first <= uid);
    next.checked_sub(1)
        .and_then(|at| ranges.get(at))
        .is_some_and(|(_, last)| uid <= *last)
}

/// A message being judged.
struct Subject<'a> {
    message: &'a Message,
    source: Stored<'a>,
    header: Option<Vec<u8>>,
}

impl Subject<'_> {
    fn matches(&mut self, criterion: &Criterion) -> io::Result<bool> {
        Ok(match criterion {
            Criterion::All => true,
            Criterion::And(all) => {
                for criterion in all {
                    if !self.matches(criterion)? {
                        return Ok(false);
                    }
                }
                true
            }
            Criterion::Or(one, other) => self.matches(one)? || self.matches(other)?,
            Criterion::Not(inner) => !self.matches(inner)?,
            Criterion::SentBefore(day) => self.sent()?.is_some_and(|sent| sent < *day),
            Criterion::SentOn(day) => self.sent()?.is_some_and(|sent| sent == *day),
            Criterion::SentSince(day) => self.sent()?.is_some_and(|sent| sent >= *day),
            Criterion::Header(name, text) => self.header_has(name, text)?,
            Criterion::Body(text) => self.body_has(text)?,
            Criterion::Text(text) => self.any_field_has(text)? || self.body_has(text)?,
            _ => self.row_matches(criterion),
        })
    }

    /// Criteria about what stands in the row.
    fn row_matches(&self, criterion: &Criterion) -> bool {
        let message = self.message;
        let day = || {
            message
                .date
                .unix
                .saturating_add(i64::from(message.date.offset_minutes) * 60)
                .div_euclid(date::DAY)
        };
        match criterion {
            Criterion::Uids(ranges) => in_ranges(ranges, message.uid),
            Criterion::Flag(flag) => match flag {
                SystemFlag::Seen => message.flags.seen,
                SystemFlag::Answered => message.flags.answered,
                SystemFlag::Flagged => message.flags.flagged,
                SystemFlag::Deleted => message.flags.deleted,
                SystemFlag::Draft => message.flags.draft,
            },
            Criterion::Keyword(keyword) => message
                .flags
                .keywords
                .iter()
                .any(|set| set.eq_ignore_ascii_case(keyword)),
            Criterion::Before(limit) => day() < *limit,
            Criterion::On(wanted) => day() == *wanted,
            Criterion::Since(limit) => day() >= *limit,
            Criterion::Older(_) | Criterion::Younger(_) => self.age_matches(criterion),
            Criterion::SavedBefore(limit) => message.saved.div_euclid(date::DAY) < *limit,
            Criterion::SavedOn(wanted) => message.saved.div_euclid(date::DAY) == *wanted,
            Criterion::SavedSince(limit) => message.saved.div_euclid(date::DAY) >= *limit,
            Criterion::Larger(size) => message.size > *size,
            Criterion::Smaller(size) => message.size < *size,
            Criterion::ModSeq(modseq) => message.modseq >= *modseq,
            Criterion::EmailId(id) => message.email_id.to_string() == **id,
            _ => false,
        }
    }

    /// RFC 5032 3: both include the very second.
    fn age_matches(&self, criterion: &Criterion) -> bool {
        let age = date::now().unix.saturating_sub(self.message.date.unix);
        let seconds = |interval: u64| i64::try_from(interval).unwrap_or(i64::MAX);
        match criterion {
            Criterion::Older(interval) => age >= seconds(*interval),
            Criterion::Younger(interval) => age <= seconds(*interval),
            _ => false,
        }
    }

    fn header(&mut self) -> io::Result<&[u8]> {
        if self.header.is_none() {
            self.header = Some(read_header(&mut self.source, self.message.size)?);
        }
        Ok(self.header.as_deref().unwrap_or_default())
    }

    /// The day of the Date: field, in its own time zone (RFC 9051 6.4.4), counted from 1970-01-01.
    fn sent(&mut self) -> io::Result<Option<i64>> {
        let date = sent_date(self.header()?);
        Ok(date.map(|date| date::days(date.year.into(), date.month.into(), date.day.into())))
    }

    fn header_has(&mut self, name: &str, text: &str) -> io::Result<bool> {
        let wanted = text.to_lowercase();
        let header = self.header()?;
        let mut named = fields(header).filter(|field| field.is(name));
        Ok(named.any(|field| text.is_empty() || decoded(&field).contains(&wanted)))
    }

    fn any_field_has(&mut self, text: &str) -> io::Result<bool> {
        let wanted = text.to_lowercase();
        let header = self.header()?;
        Ok(header_contains(header, &wanted))
    }

    fn body_has(&mut self, text: &str) -> io::Result<bool> {
        if text.is_empty() {
            return Ok(true);
        }
        let root = scan(&mut self.source)?;
        part_has(&root, &mut self.source, &text.to_lowercase())
    }
}

/// The header of a message, as far as headers are looked at.
pub(super) fn read_header(source: &mut Stored<'_>, size: u64) -> io::Result<Vec<u8>> {
    let end = match shallow(source, size)? {
        Some(part) => usize::try_from(part.header.end)
            .unwrap_or(HEADER_LIMIT)
            .min(HEADER_LIMIT),
        None => HEADER_LIMIT,
    };
    source.read(0, end)
}

fn part_has(part: &Part, source: &mut dyn Source, wanted: &str) -> io::Result<bool> {
    match &part.kind {
        Kind::Multipart(children) => {
            for child in children {
                if part_has(child, source, wanted)? {
                    return Ok(true);
                }
            }
            Ok(false)
        }
        Kind::Message(inner) => {
            let length =
                usize::try_from(inner.header.end - inner.header.start).unwrap_or(HEADER_LIMIT);
            let header = source.read(inner.header.start, length.min(HEADER_LIMIT))?;
            Ok(header_contains(&header, wanted) || part_has(inner, source, wanted)?)
        }
        Kind::Leaf => leaf_has(part, source, wanted),
    }
}

fn leaf_has(part: &Part, source: &mut dyn Source, wanted: &str) -> io::Result<bool> {
    let media = part.content.media.as_ref();
    if media.is_some_and(|media| !media.is("text")) {
        return Ok(false);
    }
    let Some(decoder) = Decoder::new(part.content.transfer()) else {
        return Ok(false);
    };
    let charset = media
        .and_then(|media| media.parameter("charset"))
        .unwrap_or_default();
    let mut window = Window {
        wanted,
        charset,
        pending: Vec::new(),
        tail: String::new(),
        found: false,
    };
    decode(source, part.body.clone(), decoder, |_, octets| {
        window.push(octets)
    })?;
    window.flush(usize::MAX);
    Ok(window.found)
}

fn header_contains(header: &[u8], wanted: &str) -> bool {
    fields(header).any(|field| {
        let name = String::from_utf8_lossy(field.name).to_lowercase();
        format!("{name}: {}", decoded(&field)).contains(wanted)
    })
}

/// The Date: field, if it says a date.
fn sent_date(header: &[u8]) -> Option<mail_parser::DateTime> {
    let field = fields(header).find(|field| field.is("Date"))?;
    let mut text = field.unfolded();
    text.push(b'\n');
    MessageStream::new(&text)
        .parse_date()
        .into_datetime()
        .filter(mail_parser::DateTime::is_valid)
}

/// When the Date: field says the message was sent, in seconds since 1970-01-01 00:00 UTC.
pub(super) fn sent_time(header: &[u8]) -> Option<i64> {
    sent_date(header).map(|date| date.to_timestamp())
}

/// A field's value with its encoded words decoded (RFC 2047), in lower case.
fn decoded(field: &Field<'_>) -> String {
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

/// Looks for a text in decoded octets that come piece by piece.
struct Window<'a> {
    /// In lower case.
    wanted: &'a str,
    charset: &'a [u8],
    /// Octets not yet looked at.
    pending: Vec<u8>,
    /// The end of the text looked at, in which a match may have begun.
    tail: String,
    found: bool,
}

impl Window<'_> {
    /// Whether to go on.
    fn push(&mut self, octets: &[u8]) -> bool {
        self.pending.extend_from_slice(octets);
        if self.pending.len() >= PIECE {
            // Cut behind a line: there no character set has a character in two pieces.
            let line_end =
                memchr::memrchr(b'\n', &self.pending).map_or(self.pending.len(), |at| at + 1);
            self.flush(line_end);
        }
        !self.found
    }

    fn flush(&mut self, length: usize) {
        let rest = self.pending.split_off(length.min(self.pending.len()));
        let text = decode_charset(self.charset, &self.pending).to_lowercase();
        self.pending = rest;
        self.tail.push_str(&text);
        self.found = self.found || self.tail.contains(self.wanted);
        let keep = self.tail.len().saturating_sub(self.wanted.len());
        let keep = (keep..=self.tail.len())
            .find(|at| self.tail.is_char_boundary(*at))
            .unwrap_or(keep);
        self.tail.drain(..keep);
    }
}

pub(super) fn decode_charset(charset: &[u8], octets: &[u8]) -> String {
    // Much mail says nothing, or US-ASCII, and is UTF-8.
    let unsaid = charset.is_empty() || charset.eq_ignore_ascii_case(b"us-ascii");
    match (std::str::from_utf8(octets), charset_decoder(charset)) {
        (Ok(text), _) if unsaid => text.to_owned(),
        (_, Some(decoder)) => decoder(octets),
        (_, None) => String::from_utf8_lossy(octets).into_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn has(message: &[u8], wanted: &str) -> bool {
        let mut source = message;
        let root = scan(&mut source).unwrap();
        part_has(&root, &mut source, &wanted.to_lowercase()).unwrap()
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

    #[test]
    fn dear_criteria_come_last() {
        let text = || Criterion::Text("x".into());
        let and = Criterion::And(vec![
            text(),
            Criterion::Header("a".into(), "b".into()),
            Criterion::All,
        ]);
        let Criterion::And(sorted) = ordered(and) else {
            panic!("not an and")
        };
        assert_eq!(sorted.iter().map(cost).collect::<Vec<_>>(), [0, 1, 2]);
    }

    #[test]
    fn uid_sets_narrow_the_search() {
        let set = Criterion::Uids([(2, 4), (7, 7)].into());
        let possible: Vec<Uid> = (1..9).filter(|uid| possible(&set, *uid)).collect();
        assert_eq!(possible, [2, 3, 4, 7]);
        assert!(
            super::possible(&Criterion::Not(Box::new(set)), 2),
            "only judged with the row"
        );
    }
}
