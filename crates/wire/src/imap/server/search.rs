//! SEARCH: criteria, result options and results (RFC 9051 6.4.4, 7.3.4; RFC 7162 3.1.5; RFC 8474 4.3; RFC 5032;
//! RFC 8514; RFC 9394).
//!
//! The codec knows neither `RETURN`, `$`, EMAILID nor sizes over 32 bits, so the keys are read here, from a table. Nesting is
//! limited; sequence numbers become UIDs at once, so the backend never sees one.

use std::sync::Arc;

use super::arguments::{Bad, date};
use super::cursor::{Cursor, Syntax};
use super::enabled::Enabled;
use super::list::options;
use super::reply;
use super::view::{Set, View};
use super::window::Window;
use crate::imap::ask::{Criterion, Found, SystemFlag, Uid};

/// How deep NOT, OR and parentheses may nest.
const DEPTH: u8 = 32;

/// How many ranges all sets of one search may have together; a set alone may have more, as many as it needs.
const RANGES: usize = 100_000;

/// How many keys of one search may read the messages themselves: each is one more pass over every message.
const READING: u8 = 32;

/// What the client wants to be told (RFC 9051 6.4.4).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[allow(
    clippy::struct_excessive_bools,
    reason = "each is one independent option of the standard"
)]
pub(super) struct Return {
    /// RETURN was said.
    pub(super) extended: bool,
    min: bool,
    max: bool,
    all: bool,
    count: bool,
    /// PARTIAL (RFC 9394 3.1)
    partial: Option<Window>,
    /// Keep the result for `$`.
    pub(super) save: bool,
}

/// A search as asked for.
#[derive(Debug, PartialEq)]
pub(super) struct Search {
    pub(super) want: Return,
    pub(super) criteria: Criterion,
    /// MODSEQ is mentioned, so the highest one is wanted in the result.
    pub(super) modseq: bool,
}

/// Options alone, read first: they decide what a failing search does to `$`.
pub(super) fn parse_return(cursor: &mut Cursor<'_>) -> Result<Return, Bad> {
    let mut want = Return::default();
    let mut ahead = *cursor;
    ahead.space()?;
    if !ahead.eat_word("RETURN") {
        return Ok(want);
    }
    want.extended = true;
    ahead.space()?;
    options(&mut ahead, |option, cursor| {
        match option {
            "PARTIAL" if want.partial.is_none() => {
                cursor.space()?;
                want.partial = Some(Window::parse(cursor)?);
            }
            "MIN" => want.min = true,
            "MAX" => want.max = true,
            "ALL" => want.all = true,
            "COUNT" => want.count = true,
            "SAVE" => want.save = true,
            _ => return Err(Bad::Syntax),
        }
        Ok(())
    })?;
    *cursor = ahead;
    // RFC 9394 3.1: either all of it or a piece.
    if want.all && want.partial.is_some() {
        return Err(Bad::Syntax);
    }
    want.all |= !(want.tells() || want.save);
    Ok(want)
}

/// The arguments of SEARCH behind the result options.
pub(super) fn parse(
    mut cursor: Cursor<'_>,
    want: Return,
    view: &View,
    enabled: Enabled,
) -> Result<Search, Bad> {
    cursor.space()?;
    if cursor.eat_word("CHARSET") {
        // RFC 6855 3: after ENABLE UTF8=ACCEPT everything is UTF-8 and saying so is an error.
        if enabled.utf8 {
            return Err(Bad::Syntax);
        }
        cursor.space()?;
        charset(&mut cursor)?;
        cursor.space()?;
    }
    parse_keys(cursor, want, view, enabled)
}

/// The name of a character set we know.
pub(super) fn charset(cursor: &mut Cursor<'_>) -> Result<(), Bad> {
    let charset = cursor.text()?;
    let known = ["UTF-8", "US-ASCII"];
    if known.iter().any(|it| charset.eq_ignore_ascii_case(it)) {
        Ok(())
    } else {
        Err(Bad::Charset)
    }
}

/// The criteria, up to the end of the command.
pub(super) fn parse_keys(
    cursor: Cursor<'_>,
    want: Return,
    view: &View,
    enabled: Enabled,
) -> Result<Search, Bad> {
    let mut keys = Keys {
        cursor,
        view,
        enabled,
        modseq: false,
        saved: None,
        ranges: 0,
        reading: 0,
    };
    let criteria = keys.all()?;
    keys.cursor.end()?;
    Ok(Search {
        want,
        criteria,
        modseq: keys.modseq,
    })
}

struct Keys<'a> {
    cursor: Cursor<'a>,
    view: &'a View,
    enabled: Enabled,
    modseq: bool,
    /// What `$` stands for, once it was named.
    saved: Option<Arc<[(Uid, Uid)]>>,
    /// The ranges of all sets so far.
    ranges: usize,
    /// The keys so far that read messages.
    reading: u8,
}

/// Whether a key has to look into the messages, not only at what is noted about them.
fn reads(name: &str) -> bool {
    matches!(
        name,
        "BCC"
            | "BODY"
            | "CC"
            | "FROM"
            | "HEADER"
            | "SENTBEFORE"
            | "SENTON"
            | "SENTSINCE"
            | "SUBJECT"
            | "TEXT"
            | "TO"
    )
}

fn not(criterion: Criterion) -> Criterion {
    Criterion::Not(Box::new(criterion))
}

impl Keys<'_> {
    fn all(&mut self) -> Result<Criterion, Bad> {
        self.list(DEPTH)
    }

    fn list(&mut self, depth: u8) -> Result<Criterion, Bad> {
        let first = self.key(depth)?;
        if self.cursor.peek() != Some(b' ') {
            return Ok(first);
        }
        let mut keys = vec![first];
        while self.cursor.eat(b' ') {
            keys.push(self.key(depth)?);
        }
        Ok(Criterion::And(keys))
    }

    fn key(&mut self, depth: u8) -> Result<Criterion, Bad> {
        let depth = depth.checked_sub(1).ok_or(Bad::Syntax)?;
        if self.cursor.eat(b'(') {
            let inner = self.list(depth)?;
            self.cursor.expect(b')')?;
            return Ok(inner);
        }
        if matches!(self.cursor.peek(), Some(b'$' | b'*' | b'0'..=b'9')) {
            return self.set(false);
        }
        let name = self.cursor.atom()?.to_ascii_uppercase();
        match name.as_str() {
            "NOT" => {
                self.cursor.space()?;
                Ok(not(self.key(depth)?))
            }
            "OR" => {
                self.cursor.space()?;
                let one = self.key(depth)?;
                self.cursor.space()?;
                Ok(Criterion::Or(Box::new(one), Box::new(self.key(depth)?)))
            }
            other => match flag_key(other) {
                Some(criterion) => Ok(criterion),
                None => self.key_with_argument(other),
            },
        }
    }

    fn key_with_argument(&mut self, name: &str) -> Result<Criterion, Bad> {
        self.cursor.space()?;
        if reads(name) {
            self.reading += 1;
            if self.reading > READING {
                return Err(Bad::Limit);
            }
        }
        let cursor = &mut self.cursor;
        Ok(match name {
            "BCC" | "CC" | "FROM" | "SUBJECT" | "TO" => {
                Criterion::Header(name.into(), cursor.text()?)
            }
            "HEADER" => {
                let field = cursor.text()?;
                cursor.space()?;
                Criterion::Header(field, cursor.text()?)
            }
            "BODY" => Criterion::Body(cursor.text()?),
            "TEXT" => Criterion::Text(cursor.text()?),
            "BEFORE" => Criterion::Before(date(cursor)?),
            "ON" => Criterion::On(date(cursor)?),
            "SINCE" => Criterion::Since(date(cursor)?),
            "SENTBEFORE" => Criterion::SentBefore(date(cursor)?),
            "SENTON" => Criterion::SentOn(date(cursor)?),
            "SENTSINCE" => Criterion::SentSince(date(cursor)?),
            "LARGER" => Criterion::Larger(cursor.number()?),
            "SMALLER" => Criterion::Smaller(cursor.number()?),
            "KEYWORD" => Criterion::Keyword(cursor.atom()?.into()),
            "UNKEYWORD" => not(Criterion::Keyword(cursor.atom()?.into())),
            "SAVEDBEFORE" => Criterion::SavedBefore(date(cursor)?),
            "SAVEDON" => Criterion::SavedOn(date(cursor)?),
            "SAVEDSINCE" => Criterion::SavedSince(date(cursor)?),
            "OLDER" => Criterion::Older(interval(cursor)?),
            "YOUNGER" => Criterion::Younger(interval(cursor)?),
            "EMAILID" => Criterion::EmailId(cursor.atom()?.into()),
            // There are no threads to be in (RFC 8474 4.3).
            "THREADID" => cursor.atom().map(|_| not(Criterion::All))?,
            "UID" => return self.set(true),
            "MODSEQ" => return self.modseq(),
            _ => return Err(Bad::Syntax),
        })
    }

    fn set(&mut self, by_uid: bool) -> Result<Criterion, Bad> {
        let set = Set::parse(&mut self.cursor)?;
        if self.enabled.uid_only && !by_uid && set != Set::Saved {
            return Err(Bad::UidRequired);
        }
        let ranges: Arc<[(Uid, Uid)]> = match (&set, &self.saved) {
            (Set::Saved, Some(saved)) => Arc::clone(saved),
            _ => self.view.uid_ranges(&set, by_uid)?.into(),
        };
        let total = self.ranges.saturating_add(ranges.len());
        if self.ranges > 0 && total > RANGES {
            return Err(Bad::Limit);
        }
        self.ranges = total;
        if set == Set::Saved {
            self.saved = Some(Arc::clone(&ranges));
        }
        Ok(Criterion::Uids(ranges))
    }

    /// `MODSEQ ["/flags/\\draft" all] 620162338`: we keep one modification sequence for all of a message, so the entry named
    /// changes nothing (RFC 7162 3.1.5).
    fn modseq(&mut self) -> Result<Criterion, Bad> {
        if self.cursor.peek() == Some(b'"') {
            self.cursor.string()?;
            self.cursor.space()?;
            let kind = self.cursor.atom()?.to_ascii_lowercase();
            if !["priv", "shared", "all"].contains(&kind.as_str()) {
                return Err(Bad::Syntax);
            }
            self.cursor.space()?;
        }
        self.modseq = true;
        Ok(Criterion::ModSeq(self.cursor.number()?))
    }
}

/// Seconds, of OLDER and YOUNGER (RFC 5032 3): not zero.
fn interval(cursor: &mut Cursor<'_>) -> Result<u64, Bad> {
    Ok(cursor.number().ok().filter(|it| *it > 0).ok_or(Syntax)?)
}

/// Keys without an argument.
fn flag_key(name: &str) -> Option<Criterion> {
    use SystemFlag::{Answered, Deleted, Draft, Flagged, Seen};
    let flag = Criterion::Flag;
    Some(match name {
        // Every mailbox here notes when a message came into it (RFC 8514 4.3).
        "ALL" | "OLD" | "SAVEDATESUPPORTED" => Criterion::All,
        "ANSWERED" => flag(Answered),
        "DELETED" => flag(Deleted),
        "DRAFT" => flag(Draft),
        "FLAGGED" => flag(Flagged),
        "SEEN" => flag(Seen),
        "UNANSWERED" => not(flag(Answered)),
        "UNDELETED" => not(flag(Deleted)),
        "UNDRAFT" => not(flag(Draft)),
        "UNFLAGGED" => not(flag(Flagged)),
        "UNSEEN" => not(flag(Seen)),
        // No message is ever recent here.
        "NEW" | "RECENT" => not(Criterion::All),
        _ => return None,
    })
}

impl Return {
    /// What `$` shall hold (RFC 5182 2.1, RFC 9394 3.1): with only MIN, MAX or a piece asked for, only those.
    pub(super) fn saved(self, found: &[Uid]) -> Vec<Uid> {
        if self.all || self.count || !self.tells() {
            return found.to_vec();
        }
        let piece = self.partial.map_or(&[][..], |window| window.of(found));
        let first = found.first().filter(|_| self.min);
        let last = found.last().filter(|_| self.max);
        let mut saved: Vec<Uid> = piece.iter().chain(first).chain(last).copied().collect();
        saved.sort_unstable();
        saved.dedup();
        saved
    }

    /// Whether there is anything to be told.
    fn tells(self) -> bool {
        self.min || self.max || self.all || self.count || self.partial.is_some()
    }
}

/// Where and how a result is told.
pub(super) struct Telling<'a> {
    pub(super) tag: &'a str,
    pub(super) by_uid: bool,
    /// ESEARCH instead of SEARCH: RETURN was said, or IMAP4rev2 is enabled.
    pub(super) extended: bool,
}

/// Writes the result (RFC 9051 7.3.4, RFC 3501 7.2.5).
pub(super) fn tell(
    out: &mut Vec<u8>,
    telling: &Telling<'_>,
    mut want: Return,
    found: &Found,
    view: &View,
) {
    let numbers: Vec<u32> = if telling.by_uid {
        found.uids.clone()
    } else {
        found
            .uids
            .iter()
            .filter_map(|uid| view.number(*uid))
            .collect()
    };
    if !telling.extended {
        reply::put(out, format_args!("* SEARCH"));
        for number in &numbers {
            reply::put(out, format_args!(" {number}"));
        }
        if let (Some(modseq), false) = (found.modseq, numbers.is_empty()) {
            reply::put(out, format_args!(" (MODSEQ {modseq})"));
        }
        out.extend_from_slice(b"\r\n");
        return;
    }
    want.all |= !want.extended;
    if want.tells() {
        tell_extended(out, telling, want, &numbers, found);
    }
}

fn tell_extended(
    out: &mut Vec<u8>,
    telling: &Telling<'_>,
    want: Return,
    numbers: &[u32],
    found: &Found,
) {
    reply::put(out, format_args!("* ESEARCH (TAG "));
    reply::quoted(out, telling.tag);
    out.push(b')');
    if telling.by_uid {
        out.extend_from_slice(b" UID");
    }
    if let (true, Some(first)) = (want.min, numbers.first()) {
        reply::put(out, format_args!(" MIN {first}"));
    }
    if let (true, Some(last)) = (want.max, numbers.last()) {
        reply::put(out, format_args!(" MAX {last}"));
    }
    if want.all && !numbers.is_empty() {
        reply::put(
            out,
            format_args!(" ALL {}", reply::set(numbers.iter().copied())),
        );
    }
    if let Some(window) = want.partial {
        let piece = window.of(numbers);
        reply::put(out, format_args!(" PARTIAL ({window} "));
        if piece.is_empty() {
            out.extend_from_slice(b"NIL)");
        } else {
            let set = reply::set(piece.iter().copied());
            reply::put(out, format_args!("{set})"));
        }
    }
    if want.count {
        reply::put(out, format_args!(" COUNT {}", numbers.len()));
    }
    if let (Some(modseq), false) = (found.modseq, numbers.is_empty()) {
        reply::put(out, format_args!(" MODSEQ {modseq}"));
    }
    out.extend_from_slice(b"\r\n");
}

#[cfg(test)]
mod tests {
    use super::*;

    fn search(text: &str) -> Result<Search, Bad> {
        let view = View::new(vec![10, 20, 30], 1, false);
        let text = format!("{text}\r\n");
        let mut cursor = Cursor::new(text.as_bytes());
        let want = parse_return(&mut cursor)?;
        parse(cursor, want, &view, Enabled::default())
    }

    #[test]
    fn the_example_of_rfc_9051() {
        let it = search(" RETURN (MIN COUNT) FLAGGED SINCE 1-Feb-1994 NOT FROM \"Smith\"").unwrap();
        assert!(it.want.min && it.want.count && !it.want.all);
        let from = Criterion::Header("FROM".into(), "Smith".into());
        let expected = vec![
            Criterion::Flag(SystemFlag::Flagged),
            Criterion::Since(8797),
            not(from),
        ];
        assert_eq!(it.criteria, Criterion::And(expected));
    }

    #[test]
    fn sets_become_uids() {
        let it = search(" OR 2:* (UID 5:15 UNSEEN)").unwrap();
        let unseen = not(Criterion::Flag(SystemFlag::Seen));
        let both = Criterion::And(vec![Criterion::Uids([(5, 15)].into()), unseen]);
        let expected = Criterion::Or(Box::new(Criterion::Uids([(20, 30)].into())), Box::new(both));
        assert_eq!(it.criteria, expected);
    }

    #[test]
    fn what_cannot_be_is_refused() {
        for bad in [
            "",
            " ",
            " FROB",
            " NOT",
            " OR SEEN",
            " (SEEN",
            " SEEN ",
            " BEFORE x",
            " RETURN (FOO) ALL",
            " FROM \"\u{0}\"",
        ] {
            assert_eq!(search(bad), Err(Bad::Syntax), "{bad}");
        }
        assert_eq!(search(" CHARSET KOI8-R ALL"), Err(Bad::Charset));
        assert_eq!(search(" 4"), Err(Bad::Number));
        assert_eq!(
            search(&format!(" {}ALL", "NOT ".repeat(32))),
            Err(Bad::Syntax),
            "depth is limited"
        );
        assert!(search(&format!(" {}ALL", "NOT ".repeat(31))).is_ok());
    }

    fn with_saved(saved: u32, text: &str) -> Result<Search, Bad> {
        // Every second message, so that each is a range of its own.
        let mut view = View::new((1..=2 * saved).collect(), 1, false);
        view.save((0..saved).map(|at| 2 * at + 1).collect());
        let text = format!(" {text}\r\n");
        parse(
            Cursor::new(text.as_bytes()),
            Return::default(),
            &view,
            Enabled::default(),
        )
    }

    #[test]
    fn the_saved_result_is_held_once() {
        let found = with_saved(100, "$ OR $ NOT $").unwrap().criteria;
        let Criterion::And(keys) = found else {
            panic!()
        };
        let [Criterion::Uids(one), Criterion::Or(two, three)] = keys.as_slice() else {
            panic!()
        };
        let (Criterion::Uids(two), Criterion::Not(three)) = (&**two, &**three) else {
            panic!()
        };
        let Criterion::Uids(three) = &**three else {
            panic!()
        };
        assert_eq!(one.len(), 100);
        assert!(Arc::ptr_eq(one, two) && Arc::ptr_eq(one, three));
    }

    #[test]
    fn all_ranges_of_a_search_are_limited_together() {
        assert!(with_saved(100_001, "$").is_ok(), "one set always passes");
        assert_eq!(with_saved(100_001, "$ $"), Err(Bad::Limit));
        assert_eq!(with_saved(100_000, "$ 1"), Err(Bad::Limit));
        assert!(with_saved(10_000, &["$"; 10].join(" ")).is_ok());
        assert_eq!(with_saved(10_000, &["$"; 11].join(" ")), Err(Bad::Limit));
        let set = vec!["1,3,5,7"; 25_001].join(" ");
        assert_eq!(with_saved(10, &set), Err(Bad::Limit));
    }

    #[test]
    fn keys_that_read_messages_are_limited() {
        for key in [
            "BCC x",
            "BODY x",
            "CC x",
            "FROM x",
            "HEADER x y",
            "SENTBEFORE 1-Feb-1994",
            "SENTON 1-Feb-1994",
            "SENTSINCE 1-Feb-1994",
            "SUBJECT x",
            "TEXT x",
            "TO x",
        ] {
            let keys = |count| format!(" {}", vec![key; count].join(" "));
            assert!(search(&keys(32)).is_ok(), "{key}");
            assert_eq!(search(&keys(33)), Err(Bad::Limit), "{key}");
        }
        assert!(search(&" SEEN".repeat(33)).is_ok());
    }
}
