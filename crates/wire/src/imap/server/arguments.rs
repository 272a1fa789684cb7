//! What is said, made into what is meant: flags, mailbox names, dates, common to several commands.

use std::collections::BTreeSet;

use imap_types::flag::Flag;
use imap_types::mailbox::Mailbox;

use super::cursor::{Cursor, Syntax};
use super::reply::days;
use super::view::NoSuchMessage;
use crate::imap::ask::{Flags, InternalDate, SpecialUse};
use crate::imap::mutf7;

/// Why arguments are refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Bad {
    /// They do not follow the grammar: BAD.
    Syntax,
    /// A mailbox name that cannot be: `NO [CANNOT]`.
    Name,
    /// A charset we do not know: `NO [BADCHARSET]`.
    Charset,
    /// A sequence number that names no message: BAD.
    Number,
    /// A flag that cannot be set: `NO [CANNOT]`.
    Flag,
    /// A special use we do not know: `NO [USEATTR]`.
    SpecialUse,
    /// A message is named by number, after ENABLE UIDONLY: `BAD [UIDREQUIRED]`.
    UidRequired,
    /// The mailbox was opened read-only: `NO [NOPERM]`.
    ReadOnly,
    /// An event we cannot tell of: `NO [BADEVENT …]` (RFC 5465 5).
    Event,
    /// More is asked for than one command may cost: `NO [LIMIT]`.
    Limit,
}

impl From<Syntax> for Bad {
    fn from(_: Syntax) -> Self {
        Self::Syntax
    }
}

impl From<NoSuchMessage> for Bad {
    fn from(_: NoSuchMessage) -> Self {
        Self::Number
    }
}

/// How mailbox names are written on the wire.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Names {
    /// Modified UTF-7 (RFC 3501 5.1.3).
    ModifiedUtf7,
    /// UTF-8, after ENABLE IMAP4rev2 (RFC 9051 5.1).
    Utf8,
}

impl Names {
    /// A name from the wire; `INBOX`, and the first level of what lies below it, in upper case.
    pub(super) fn decode(self, octets: &[u8]) -> Result<String, Bad> {
        let mut name = match self {
            Self::ModifiedUtf7 => mutf7::decode(octets).map_err(|_| Bad::Name)?,
            Self::Utf8 => String::from_utf8(octets.to_vec()).map_err(|_| Bad::Name)?,
        };
        if name.chars().any(char::is_control) {
            return Err(Bad::Name);
        }
        let first = name.split('/').next().unwrap_or_default();
        if first.eq_ignore_ascii_case("INBOX") {
            name.replace_range(..first.len(), "INBOX");
        }
        Ok(name)
    }

    /// A name as a quoted string.
    pub(super) fn encode(self, out: &mut Vec<u8>, name: &str) {
        match self {
            Self::ModifiedUtf7 => super::reply::quoted(out, &mutf7::encode(name)),
            Self::Utf8 => super::reply::quoted(out, name),
        }
    }

    /// `mailbox`
    pub(super) fn mailbox(self, cursor: &mut Cursor<'_>) -> Result<String, Bad> {
        self.decode(&cursor.astring()?)
    }

    /// The name the codec has read.
    pub(super) fn decoded(self, mailbox: &Mailbox<'_>) -> Result<String, Bad> {
        match mailbox {
            Mailbox::Inbox => Ok("INBOX".to_owned()),
            Mailbox::Other(name) => self.decode(name.as_ref()),
        }
    }
}

/// A name for CREATE and RENAME's destination: no empty level, no wildcard; a final separator says only that children will
/// follow (RFC 9051 6.3.4) and goes away.
pub(super) fn new_name(mut name: String) -> Result<String, Bad> {
    if name.ends_with('/') {
        name.pop();
    }
    if name.split('/').any(str::is_empty) || name.contains(['*', '%']) {
        return Err(Bad::Name);
    }
    Ok(name)
}

/// `flag-list` (RFC 9051 9), parentheses included.
pub(super) fn flag_list(cursor: &mut Cursor<'_>) -> Result<Flags, Bad> {
    cursor.expect(b'(')?;
    let mut flags = Flags::default();
    if cursor.eat(b')') {
        return Ok(flags);
    }
    loop {
        let system = cursor.eat(b'\\');
        let atom = cursor.atom()?;
        if system {
            set_system(&mut flags, atom)?;
        } else {
            keyword(&mut flags.keywords, atom);
        }
        if cursor.eat(b')') {
            return Ok(flags);
        }
        cursor.space()?;
    }
}

fn set_system(flags: &mut Flags, name: &str) -> Result<(), Bad> {
    let flag = match name.to_ascii_lowercase().as_str() {
        "seen" => &mut flags.seen,
        "answered" => &mut flags.answered,
        "flagged" => &mut flags.flagged,
        "deleted" => &mut flags.deleted,
        "draft" => &mut flags.draft,
        // `\Recent` is the server's alone; others are not defined (RFC 9051 2.3.2).
        _ => return Err(Bad::Flag),
    };
    *flag = true;
    Ok(())
}

fn keyword(keywords: &mut BTreeSet<Box<str>>, atom: &str) {
    if !keywords
        .iter()
        .any(|known| known.eq_ignore_ascii_case(atom))
    {
        keywords.insert(atom.into());
    }
}

/// Flags the codec has read.
pub(super) fn flags(list: &[Flag<'_>]) -> Result<Flags, Bad> {
    let mut flags = Flags::default();
    for flag in list {
        match flag {
            Flag::Answered => flags.answered = true,
            Flag::Deleted => flags.deleted = true,
            Flag::Draft => flags.draft = true,
            Flag::Flagged => flags.flagged = true,
            Flag::Seen => flags.seen = true,
            Flag::Extension(_) => return Err(Bad::Flag),
            Flag::Keyword(atom) => keyword(&mut flags.keywords, atom.as_ref()),
        }
    }
    Ok(flags)
}

/// `date` (RFC 9051 9), quoted or not, as a day counted from 1970-01-01.
pub(super) fn date(cursor: &mut Cursor<'_>) -> Result<i64, Syntax> {
    let quoted = cursor.eat(b'"');
    let text = cursor.atom()?;
    if quoted {
        cursor.expect(b'"')?;
    }
    let mut parts = text.splitn(3, '-');
    let (day, month, year) = (parts.next(), parts.next(), parts.next());
    let day = day
        .filter(|text| text.len() <= 2)
        .and_then(number)
        .ok_or(Syntax)?;
    calendar_day(day, month.ok_or(Syntax)?, year.ok_or(Syntax)?)
}

fn number(text: &str) -> Option<i64> {
    if text.bytes().all(|byte| byte.is_ascii_digit()) {
        text.parse().ok()
    } else {
        None
    }
}

fn calendar_day(day: i64, month: &str, year: &str) -> Result<i64, Syntax> {
    const MONTHS: [&str; 12] = [
        "jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec",
    ];
    let index = MONTHS
        .iter()
        .position(|name| month.eq_ignore_ascii_case(name))
        .ok_or(Syntax)?;
    let year = Some(year)
        .filter(|year| year.len() == 4)
        .and_then(number)
        .ok_or(Syntax)?;
    days(year, i64::try_from(index + 1).map_err(|_| Syntax)?, day).ok_or(Syntax)
}

/// `date-time` (RFC 9051 9): `" 1-Feb-2026 12:00:00 +0100"`.
pub(super) fn date_time(cursor: &mut Cursor<'_>) -> Result<InternalDate, Syntax> {
    if cursor.peek() != Some(b'"') {
        return Err(Syntax);
    }
    let text = cursor.text()?;
    let mut words = text.strip_prefix(' ').unwrap_or(&text).split(' ');
    let (Some(date), Some(time), Some(zone), None) =
        (words.next(), words.next(), words.next(), words.next())
    else {
        return Err(Syntax);
    };
    // A day of one digit has the space before it (date-day-fixed).
    let width = if text.starts_with(' ') { 10 } else { 11 };
    let [day, month, year] =
        <[&str; 3]>::try_from(date.split('-').collect::<Vec<_>>()).map_err(|_| Syntax)?;
    if date.len() != width {
        return Err(Syntax);
    }
    let day = calendar_day(number(day).ok_or(Syntax)?, month, year)?;
    let offset = zone_minutes(zone)?;
    let unix = day * 86_400 + seconds(time)? - i64::from(offset) * 60;
    Ok(InternalDate {
        unix,
        offset_minutes: offset,
    })
}

fn seconds(time: &str) -> Result<i64, Syntax> {
    let [hour, minute, second] =
        <[&str; 3]>::try_from(time.split(':').collect::<Vec<_>>()).map_err(|_| Syntax)?;
    let two = |text: &str, limit: i64| {
        Some(text)
            .filter(|text| text.len() == 2)
            .and_then(number)
            .filter(|value| *value <= limit)
            .ok_or(Syntax)
    };
    // 60 is a leap second.
    Ok(two(hour, 23)? * 3600 + two(minute, 59)? * 60 + two(second, 60)?)
}

fn zone_minutes(zone: &str) -> Result<i16, Syntax> {
    let (sign, digits) = zone.split_at_checked(1).ok_or(Syntax)?;
    let value = Some(digits)
        .filter(|digits| digits.len() == 4)
        .and_then(number)
        .ok_or(Syntax)?;
    let minutes = i16::try_from(value / 100 * 60 + value % 100).map_err(|_| Syntax)?;
    match sign {
        _ if value % 100 > 59 || value / 100 > 23 => Err(Syntax),
        "+" => Ok(minutes),
        "-" => Ok(-minutes),
        _ => Err(Syntax),
    }
}

/// A special-use attribute (RFC 6154 2) without its backslash.
pub(super) fn special_use(name: &str) -> Option<SpecialUse> {
    const ALL: [SpecialUse; 5] = [
        SpecialUse::Archive,
        SpecialUse::Drafts,
        SpecialUse::Junk,
        SpecialUse::Sent,
        SpecialUse::Trash,
    ];
    ALL.into_iter().find(|special_use| {
        super::reply::special_use(*special_use)
            .strip_prefix('\\')
            .is_some_and(|known| known.eq_ignore_ascii_case(name))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_and_times() {
        let parse = |text: &str| date_time(&mut Cursor::new(text.as_bytes()));
        let zero = InternalDate {
            unix: 0,
            offset_minutes: 0,
        };
        assert_eq!(parse("\" 1-Jan-1970 00:00:00 +0000\""), Ok(zero));
        assert_eq!(
            parse("\"01-jan-1970 01:00:00 +0100\""),
            Ok(InternalDate {
                unix: 0,
                offset_minutes: 60
            })
        );
        for bad in [
            "\"1-Jan-1970 00:00:00 +0000\"",
            "\" 1-Jan-1970 24:00:00 +0000\"",
            "\"31-Feb-1970 00:00:00 +0000\"",
            "\" 1-Jan-1970 00:00:00 0000\"",
            "\" 1-Jan-1970  00:00:00 +0000\"",
            "x",
        ] {
            assert_eq!(parse(bad), Err(Syntax), "{bad}");
        }
        assert_eq!(date(&mut Cursor::new(b"1-Feb-1994 ")), Ok(8797));
        assert_eq!(date(&mut Cursor::new(b"\"01-Feb-1994\"")), Ok(8797));
        assert_eq!(date(&mut Cursor::new(b"001-Feb-1994")), Err(Syntax));
    }

    #[test]
    fn names() {
        let utf7 = Names::ModifiedUtf7;
        assert_eq!(utf7.decode(b"inbox"), Ok("INBOX".into()));
        assert_eq!(utf7.decode(b"iNbox/a"), Ok("INBOX/a".into()));
        assert_eq!(utf7.decode(b"inboxes"), Ok("inboxes".into()));
        assert_eq!(utf7.decode("ä".as_bytes()), Err(Bad::Name));
        assert_eq!(Names::Utf8.decode("ä&".as_bytes()), Ok("ä&".into()));
        assert_eq!(Names::Utf8.decode(b"a\tb"), Err(Bad::Name));
        assert_eq!(new_name("a/b/".into()), Ok("a/b".into()));
        for bad in ["", "/", "/a", "a//b", "a*"] {
            assert_eq!(new_name(bad.into()), Err(Bad::Name), "{bad}");
        }
    }
}
