//! Writes responses (RFC 9051 7). What the client or a message supplied goes out only through these functions, so no CR, LF
//! or quote of theirs can end a line or a string early.

use crate::calendar::civil;
use std::fmt::Write as _;
use std::io::Write as _;

use imap_codec::ResponseCodec;
use imap_codec::encode::Encoder;
use imap_types::core::Vec1;
use imap_types::fetch::MessageDataItem;
use imap_types::response::{Data, Response};

use super::view::runs;
use crate::imap::ask::{Flags, InternalDate, SpecialUse};

/// A quoted string. Control characters, which no caller lets through, become `?`.
pub(super) fn quoted(out: &mut Vec<u8>, text: &str) {
    out.push(b'"');
    for byte in text.bytes() {
        match byte {
            b'"' | b'\\' => out.extend_from_slice(&[b'\\', byte]),
            0..=0x1f | 0x7f => out.push(b'?'),
            _ => out.push(byte),
        }
    }
    out.push(b'"');
}

/// Octets as a literal.
pub(super) fn literal(out: &mut Vec<u8>, octets: &[u8]) {
    line(out, format_args!("{{{}}}", octets.len()));
    out.extend_from_slice(octets);
}

/// Text as a quoted string, or as a literal where it has what a quoted string cannot hold before UTF-8 is enabled.
pub(super) fn text(out: &mut Vec<u8>, octets: &[u8]) {
    match str::from_utf8(octets) {
        Ok(text) if text.bytes().all(|byte| matches!(byte, 0x20..=0x7e)) => quoted(out, text),
        _ => literal(out, octets),
    }
}

/// Appends text. Writing to memory cannot fail.
pub(super) fn put(out: &mut Vec<u8>, text: std::fmt::Arguments<'_>) {
    let _ = out.write_fmt(text);
}

/// Appends text and CRLF.
pub(super) fn line(out: &mut Vec<u8>, text: std::fmt::Arguments<'_>) {
    put(out, text);
    out.extend_from_slice(b"\r\n");
}

/// `(\Seen $Forwarded)`
pub(super) fn flags(out: &mut Vec<u8>, flags: &Flags) {
    out.push(b'(');
    let system = [
        (flags.answered, "\\Answered"),
        (flags.flagged, "\\Flagged"),
        (flags.deleted, "\\Deleted"),
        (flags.seen, "\\Seen"),
        (flags.draft, "\\Draft"),
    ];
    let set = system
        .into_iter()
        .filter(|(set, _)| *set)
        .map(|(_, name)| name);
    let mut first = true;
    for name in set.chain(flags.keywords.iter().map(|keyword| &**keyword)) {
        if !std::mem::take(&mut first) {
            out.push(b' ');
        }
        out.extend_from_slice(name.as_bytes());
    }
    out.push(b')');
}

/// `1:3,7` from numbers in the order they stand.
pub(super) fn set(numbers: impl Iterator<Item = u32>) -> String {
    let mut text = String::new();
    for (low, high) in runs(numbers) {
        if !text.is_empty() {
            text.push(',');
        }
        let _ = if low == high {
            write!(text, "{low}")
        } else {
            write!(text, "{low}:{high}")
        };
    }
    text
}

/// `" 1-Feb-2026 12:00:00 +0100"`, quotes included.
pub(super) fn date_time(out: &mut Vec<u8>, date: InternalDate) {
    const MONTHS: [&str; 12] = [
        "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec",
    ];
    let local = date
        .unix
        .saturating_add(i64::from(date.offset_minutes) * 60);
    let (year, month, day) = civil(local.div_euclid(86_400));
    let time = local.rem_euclid(86_400);
    let name = usize::try_from(month - 1)
        .ok()
        .and_then(|index| MONTHS.get(index))
        .copied()
        .unwrap_or("Jan");
    let sign = if date.offset_minutes < 0 { '-' } else { '+' };
    let offset = date.offset_minutes.unsigned_abs();
    put(
        out,
        format_args!(
            "\"{day:>2}-{name}-{:04} {:02}:{:02}:{:02} {sign}{:02}{:02}\"",
            year.clamp(0, 9999),
            time / 3600,
            time / 60 % 60,
            time % 60,
            offset / 60,
            offset % 60
        ),
    );
}

/// The day counted from 1970-01-01, if there is such a date.
pub(super) fn days(year: i64, month: i64, day: i64) -> Option<i64> {
    let shifted_year = year - i64::from(month <= 2);
    let era = shifted_year.div_euclid(400);
    let year_of_era = shifted_year.rem_euclid(400);
    let shifted_month = (month + 9) % 12;
    let day_of_year = (153 * shifted_month + 2) / 5 + day - 1;
    let days = era * 146_097 + year_of_era * 365 + year_of_era / 4 - year_of_era / 100
        + day_of_year
        - 719_468;
    (civil(days) == (year, month, day)).then_some(days)
}

/// The special-use attribute (RFC 6154).
pub(super) fn special_use(special_use: SpecialUse) -> &'static str {
    match special_use {
        SpecialUse::Archive => "\\Archive",
        SpecialUse::Drafts => "\\Drafts",
        SpecialUse::Junk => "\\Junk",
        SpecialUse::Sent => "\\Sent",
        SpecialUse::Trash => "\\Trash",
    }
}

/// A data item as the codec writes it, without its name: for the structures whose grammar is large.
pub(super) fn structure(out: &mut Vec<u8>, item: MessageDataItem<'_>) {
    let response = Response::Data(Data::Fetch {
        seq: std::num::NonZeroU32::MIN,
        items: Vec1::from(item),
    });
    let encoded = ResponseCodec::new().encode(&response).dump();
    // The codec writes whole responses only: `* 1 FETCH (NAME value)` and CRLF.
    let value = encoded
        .strip_prefix(b"* 1 FETCH (")
        .and_then(|rest| rest.strip_suffix(b")\r\n"))
        .and_then(|rest| rest.splitn(2, |byte| *byte == b' ').nth(1));
    out.extend_from_slice(value.unwrap_or(b"NIL"));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates() {
        let mut out = Vec::new();
        date_time(
            &mut out,
            InternalDate {
                unix: 837_595_793,
                offset_minutes: -420,
            },
        );
        assert_eq!(
            out,
            b"\"17-Jul-1996 02:29:53 -0700\"",
            "{}",
            String::from_utf8_lossy(&out)
        );
        assert_eq!(days(1970, 1, 1), Some(0));
        assert_eq!(days(2000, 2, 29), Some(11_016));
        assert_eq!(days(2001, 2, 29), None);
        assert_eq!(days(2001, 13, 1), None);
        for day in [-800_000, -1, 0, 59, 60, 10_957, 20_000, 2_000_000] {
            let (year, month, date) = civil(day);
            assert_eq!(days(year, month, date), Some(day));
        }
    }

    #[test]
    fn structures_are_the_codecs() {
        use imap_types::core::NString;
        use imap_types::envelope::Envelope;
        let envelope = Envelope {
            date: NString::try_from("Wed, 17 Jul 1996 02:23:25 -0700").unwrap(),
            subject: NString::try_from("a) \"b\"").unwrap(),
            from: vec![],
            sender: vec![],
            reply_to: vec![],
            to: vec![],
            cc: vec![],
            bcc: vec![],
            in_reply_to: NString(None),
            message_id: NString::try_from("<x@y>").unwrap(),
        };
        let mut out = Vec::new();
        structure(&mut out, MessageDataItem::Envelope(envelope));
        let expected =
            r#"("Wed, 17 Jul 1996 02:23:25 -0700" "a) \"b\"" NIL NIL NIL NIL NIL NIL NIL "<x@y>")"#;
        assert_eq!(String::from_utf8(out).unwrap(), expected);
    }

    #[test]
    fn sets_and_strings() {
        assert_eq!(set([1, 2, 3, 7, 9, 10].into_iter()), "1:3,7,9:10");
        assert_eq!(set([3, 2].into_iter()), "3,2");
        let mut out = Vec::new();
        quoted(&mut out, "a\"\\\r\n");
        assert_eq!(out, b"\"a\\\"\\\\??\"");
    }
}
