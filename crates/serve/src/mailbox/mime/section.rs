//! BODY[…] and BINARY[…] (RFC 9051 6.4.5): which octets of the stored message a section is, or the octets themselves.

use std::io;
use std::ops::Range;

use gatepost_wire::imap::ask::{Datum, Section, SectionText};

use super::content::Transfer;
use super::field::fields;
use super::transfer::Decoder;
use super::{Kind, Part, Source, read_header};

/// Sections up to this many octets are answered at once; longer ones are left for the session to read.
pub const INLINE_LIMIT: u64 = 64 * 1024;
/// A decoded part is answered up to this many octets at once: the answer is built in memory. Beyond it a client gets
/// `UNKNOWN-CTE` and falls back to BODY[…], or asks for the part in pieces (`<start.count>`).
pub const DECODED_LIMIT: usize = 4 * 1024 * 1024;
/// How much is read at a time.
const PIECE: usize = 64 * 1024;

/// Answers BODY[…].
///
/// # Errors
/// When the message cannot be read.
pub fn section(root: &Part, source: &mut dyn Source, wanted: &Section) -> io::Result<Datum> {
    match &wanted.text {
        SectionText::HeaderFields(names) => {
            filtered(root, source, wanted, |field| named(names, field))
        }
        SectionText::HeaderFieldsNot(names) => {
            filtered(root, source, wanted, |field| !named(names, field))
        }
        text => match place(root, &wanted.part, text) {
            Some(range) => stored(source, cut(range, wanted.partial)),
            None => Ok(Datum::Nil),
        },
    }
}

/// Answers BODY[] of a message of `size` octets, for which no border in it matters.
///
/// # Errors
/// When the message cannot be read.
pub fn whole(source: &mut dyn Source, size: u64, partial: Option<(u32, u32)>) -> io::Result<Datum> {
    stored(source, cut(0..size, partial))
}

/// Answers BINARY[…].
///
/// # Errors
/// When the message cannot be read.
pub fn binary(
    root: &Part,
    source: &mut dyn Source,
    numbers: &[u32],
    partial: Option<(u32, u32)>,
) -> io::Result<Datum> {
    let Some((range, transfer)) = encoded(root, numbers) else {
        return Ok(Datum::Nil);
    };
    if transfer == Transfer::Identity {
        return stored(source, cut(range, partial));
    }
    let Some(decoder) = Decoder::new(transfer) else {
        return Ok(Datum::UnknownEncoding);
    };
    let (start, count) = partial.map_or((0, None), |(start, count)| {
        (u64::from(start), Some(u64::from(count)))
    });
    let wanted = start..count.map_or(u64::MAX, |count| start.saturating_add(count));
    let mut found = Vec::new();
    let mut too_long = false;
    decode(source, range, decoder, |offset, octets| {
        let inside = overlap(offset, octets, &wanted);
        too_long = found.len() + inside.len() > DECODED_LIMIT;
        if !too_long {
            found.extend_from_slice(inside);
        }
        !too_long && offset + (octets.len() as u64) < wanted.end
    })?;
    Ok(if too_long {
        Datum::UnknownEncoding
    } else {
        Datum::Bytes(found)
    })
}

/// Answers BINARY.SIZE[…].
///
/// # Errors
/// When the message cannot be read.
pub fn binary_size(root: &Part, source: &mut dyn Source, numbers: &[u32]) -> io::Result<Datum> {
    let Some((range, transfer)) = encoded(root, numbers) else {
        return Ok(Datum::Nil);
    };
    if transfer == Transfer::Identity {
        return Ok(Datum::Number(range.end - range.start));
    }
    let Some(decoder) = Decoder::new(transfer) else {
        return Ok(Datum::UnknownEncoding);
    };
    let mut size = 0;
    decode(source, range, decoder, |_, octets| {
        size += octets.len() as u64;
        true
    })?;
    Ok(Datum::Number(size))
}

/// Decodes a range piece by piece; `take` gets each piece with its offset and says whether to go on.
///
/// # Errors
/// When the message cannot be read.
pub fn decode(
    source: &mut dyn Source,
    range: Range<u64>,
    mut decoder: Decoder,
    mut take: impl FnMut(u64, &[u8]) -> bool,
) -> io::Result<()> {
    let (mut at, mut given, mut out) = (range.start, 0, Vec::new());
    while at < range.end {
        let length = usize::try_from(range.end - at).unwrap_or(PIECE).min(PIECE);
        let piece = source.read(at, length)?;
        if piece.is_empty() {
            break;
        }
        at += piece.len() as u64;
        decoder.push(&piece, &mut out);
        if !take(given, &out) {
            return Ok(());
        }
        given += out.len() as u64;
        out.clear();
    }
    decoder.finish(&mut out);
    take(given, &out);
    Ok(())
}

/// Where the part's encoded octets stand, and how they are encoded; none when there is no such part.
fn encoded(root: &Part, numbers: &[u32]) -> Option<(Range<u64>, Transfer)> {
    if numbers.is_empty() {
        return Some((root.header.start..root.body.end, Transfer::Identity));
    }
    let part = root.locate(numbers)?;
    // RFC 2045 6.4: composite types are never encoded.
    let transfer = if part.kind == Kind::Leaf {
        part.content.transfer()
    } else {
        Transfer::Identity
    };
    Some((part.body.clone(), transfer))
}

/// Where a section stands; none when there is no such section.
fn place(root: &Part, numbers: &[u32], text: &SectionText) -> Option<Range<u64>> {
    match text {
        SectionText::All if numbers.is_empty() => Some(root.header.start..root.body.end),
        SectionText::All => Some(root.locate(numbers)?.body.clone()),
        SectionText::Mime if numbers.is_empty() => None,
        SectionText::Mime => Some(root.locate(numbers)?.header.clone()),
        SectionText::Text => Some(message(root, numbers)?.body.clone()),
        SectionText::Header | SectionText::HeaderFields(_) | SectionText::HeaderFieldsNot(_) => {
            Some(message(root, numbers)?.header.clone())
        }
    }
}

/// The message HEADER and TEXT are about: the whole one, or the one embedded in a part.
fn message<'a>(root: &'a Part, numbers: &[u32]) -> Option<&'a Part> {
    if numbers.is_empty() {
        return Some(root);
    }
    match &root.locate(numbers)?.kind {
        Kind::Message(inner) => Some(inner),
        _ => None,
    }
}

/// A header with only some of its fields, and the empty line (RFC 9051 6.4.5).
fn filtered(
    root: &Part,
    source: &mut dyn Source,
    wanted: &Section,
    keep: impl Fn(&[u8]) -> bool,
) -> io::Result<Datum> {
    let Some(range) = place(root, &wanted.part, &wanted.text) else {
        return Ok(Datum::Nil);
    };
    let header = read_header(source, &range)?;
    let mut text: Vec<u8> = Vec::new();
    for field in fields(&header).filter(|field| keep(field.name)) {
        text.extend_from_slice(field.raw);
        if !field.raw.ends_with(b"\n") {
            text.extend_from_slice(b"\r\n");
        }
    }
    text.extend_from_slice(b"\r\n");
    let cut = wanted.partial.map_or(0..u64::MAX, |(start, count)| {
        u64::from(start)..u64::from(start) + u64::from(count)
    });
    Ok(Datum::Bytes(overlap(0, &text, &cut).to_vec()))
}

fn named(names: &[String], field: &[u8]) -> bool {
    names
        .iter()
        .any(|name| field.eq_ignore_ascii_case(name.as_bytes()))
}

fn stored(source: &mut dyn Source, range: Range<u64>) -> io::Result<Datum> {
    let length = range.end - range.start;
    if length > INLINE_LIMIT {
        return Ok(Datum::Stored {
            offset: range.start,
            length,
        });
    }
    let octets = source.read(range.start, usize::try_from(length).unwrap_or_default())?;
    Ok(Datum::Bytes(octets))
}

/// `<start.count>` of a range; empty when it begins behind the end.
fn cut(range: Range<u64>, partial: Option<(u32, u32)>) -> Range<u64> {
    let Some((start, count)) = partial else {
        return range;
    };
    let start = range.start.saturating_add(start.into()).min(range.end);
    start..start.saturating_add(count.into()).min(range.end)
}

/// The octets, which begin at `offset`, that lie in `wanted`.
fn overlap<'a>(offset: u64, octets: &'a [u8], wanted: &Range<u64>) -> &'a [u8] {
    let at = |position: u64| {
        usize::try_from(position.saturating_sub(offset))
            .unwrap_or(usize::MAX)
            .min(octets.len())
    };
    octets
        .get(at(wanted.start)..at(wanted.end))
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::mailbox::mime::scan::scan;

    const MESSAGE: &str = "From: a@b\r\nSubject: one\r\n two\r\nReceived: x\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n\
        --b\r\nContent-Type: text/plain\r\nContent-Transfer-Encoding: base64\r\n\r\naGVsbG8g\r\nd29ybGQ=\r\n\
        --b\r\nContent-Type: message/rfc822\r\n\r\nSubject: inner\r\n\r\nbody\r\n\
        --b\r\nContent-Transfer-Encoding: x-none\r\n\r\n???\r\n--b--\r\n";

    fn get(part: &[u32], text: SectionText, partial: Option<(u32, u32)>) -> Option<String> {
        let mut source = MESSAGE.as_bytes();
        let root = scan(&mut source).unwrap();
        match section(
            &root,
            &mut source,
            &Section {
                part: part.to_vec(),
                text,
                partial,
            },
        )
        .unwrap()
        {
            Datum::Bytes(octets) => Some(String::from_utf8(octets).unwrap()),
            Datum::Nil => None,
            other => panic!("{other:?}"),
        }
    }

    #[allow(clippy::unnecessary_wraps)] // what `get` is compared with
    fn some(text: &str) -> Option<String> {
        Some(text.to_owned())
    }

    #[test]
    fn sections_of_the_message() {
        assert_eq!(get(&[], SectionText::All, None), some(MESSAGE));
        let (header, body) = MESSAGE.split_at(MESSAGE.find("\r\n\r\n").unwrap() + 4);
        assert_eq!(get(&[], SectionText::Header, None), some(header));
        assert_eq!(get(&[], SectionText::Text, None), some(body));
        assert_eq!(get(&[], SectionText::Mime, None), None);
    }

    #[test]
    fn sections_of_parts() {
        assert_eq!(
            get(&[1], SectionText::All, None),
            some("aGVsbG8g\r\nd29ybGQ=")
        );
        let mime = "Content-Type: text/plain\r\nContent-Transfer-Encoding: base64\r\n\r\n";
        assert_eq!(get(&[1], SectionText::Mime, None), some(mime));
        assert_eq!(get(&[1], SectionText::Header, None), None);
        assert_eq!(
            get(&[2], SectionText::All, None),
            some("Subject: inner\r\n\r\nbody")
        );
        assert_eq!(
            get(&[2], SectionText::Header, None),
            some("Subject: inner\r\n\r\n")
        );
        assert_eq!(get(&[2], SectionText::Text, None), some("body"));
        assert_eq!(get(&[2, 1], SectionText::All, None), some("body"));
        assert_eq!(
            get(&[2, 1], SectionText::Mime, None),
            some("Subject: inner\r\n\r\n")
        );
        assert_eq!(get(&[4], SectionText::All, None), None);
    }

    #[test]
    fn header_fields() {
        let names = |names: &[&str]| names.iter().map(ToString::to_string).collect();
        let only = SectionText::HeaderFields(names(&["SUBJECT", "from", "absent"]));
        assert_eq!(
            get(&[], only.clone(), None),
            some("From: a@b\r\nSubject: one\r\n two\r\n\r\n")
        );
        assert_eq!(get(&[], only.clone(), Some((5, 6))), some(" a@b\r\n"));
        assert_eq!(get(&[2], only, None), some("Subject: inner\r\n\r\n"));
        let rest = SectionText::HeaderFieldsNot(names(&["Subject", "Content-Type"]));
        assert_eq!(
            get(&[], rest, None),
            some("From: a@b\r\nReceived: x\r\n\r\n")
        );
        assert_eq!(
            get(&[], SectionText::HeaderFields(names(&["none"])), None),
            some("\r\n")
        );
    }

    #[test]
    fn partial_ranges_end_with_the_section() {
        assert_eq!(get(&[2], SectionText::Text, Some((1, 2))), some("od"));
        assert_eq!(get(&[2], SectionText::Text, Some((3, 99))), some("y"));
        assert_eq!(get(&[2], SectionText::Text, Some((4, 1))), some(""));
        assert_eq!(
            get(&[2], SectionText::Text, Some((u32::MAX, u32::MAX))),
            some("")
        );
    }

    #[test]
    fn binary_is_decoded() {
        let mut source = MESSAGE.as_bytes();
        let root = scan(&mut source).unwrap();
        let bytes = |text: &str| Datum::Bytes(text.into());
        assert_eq!(
            binary(&root, &mut source, &[1], None).unwrap(),
            bytes("hello world")
        );
        assert_eq!(
            binary(&root, &mut source, &[1], Some((4, 3))).unwrap(),
            bytes("o w")
        );
        assert_eq!(
            binary(&root, &mut source, &[1], Some((40, 3))).unwrap(),
            bytes("")
        );
        assert_eq!(
            binary(&root, &mut source, &[2], None).unwrap(),
            bytes("Subject: inner\r\n\r\nbody")
        );
        assert_eq!(
            binary(&root, &mut source, &[3], None).unwrap(),
            Datum::UnknownEncoding
        );
        assert_eq!(binary(&root, &mut source, &[4], None).unwrap(), Datum::Nil);
        assert_eq!(
            binary_size(&root, &mut source, &[1]).unwrap(),
            Datum::Number(11)
        );
        assert_eq!(
            binary_size(&root, &mut source, &[]).unwrap(),
            Datum::Number(MESSAGE.len() as u64)
        );
        assert_eq!(
            binary_size(&root, &mut source, &[3]).unwrap(),
            Datum::UnknownEncoding
        );
    }

    #[test]
    fn long_sections_are_left_to_be_read() {
        let message = format!("A: b\r\n\r\n{}", "x".repeat(100_000));
        let mut source = message.as_bytes();
        let root = scan(&mut source).unwrap();
        let whole = Section {
            part: vec![],
            text: SectionText::Text,
            partial: None,
        };
        assert_eq!(
            section(&root, &mut source, &whole).unwrap(),
            Datum::Stored {
                offset: 8,
                length: 100_000
            }
        );
        let partial = Section {
            partial: Some((10, 70_000)),
            ..whole
        };
        assert_eq!(
            section(&root, &mut source, &partial).unwrap(),
            Datum::Stored {
                offset: 18,
                length: 70_000
            }
        );
    }

    #[test]
    fn decoded_parts_stay_small_in_memory() {
        let message = format!(
            "Content-Transfer-Encoding: base64\r\n\r\n{}",
            "AAAA".repeat(DECODED_LIMIT / 3 + 1)
        );
        let mut source = message.as_bytes();
        let root = scan(&mut source).unwrap();
        assert_eq!(
            binary(&root, &mut source, &[1], None).unwrap(),
            Datum::UnknownEncoding
        );
        assert_eq!(
            binary(
                &root,
                &mut source,
                &[1],
                Some((u32::try_from(DECODED_LIMIT).unwrap(), 2))
            )
            .unwrap(),
            Datum::Bytes(vec![0; 2])
        );
    }

    proptest! {
        #[test]
        fn any_octets_and_any_section(
            message in proptest::collection::vec(any::<u8>(), 0..300),
            part in proptest::collection::vec(0_u32..4, 0..3),
            partial in proptest::option::of((any::<u32>(), any::<u32>())),
        ) {
            let mut source = message.as_slice();
            let root = scan(&mut source).unwrap();
            for text in [SectionText::All, SectionText::Header, SectionText::Text, SectionText::Mime] {
                let wanted = Section { part: part.clone(), text, partial };
                if let Datum::Bytes(octets) = section(&root, &mut source, &wanted).unwrap() {
                    prop_assert!(octets.len() <= message.len());
                }
            }
            binary(&root, &mut source, &part, partial).unwrap();
        }
    }
}
