//! SEARCH (RFC 9051 6.4.4): which messages match.
//!
//! The store's index tells which messages may hold the texts that are looked for; what it does not know, or cannot tell, is judged here
//! with the rest. What stands in a message's row (flags, dates, sizes) is judged first; the header is read when that is not enough, and
//! the body last. Which texts there are, and how they are compared, stands in [`super::texts`], for the index is made of the same.

use std::io;
use std::time::Instant;

use gatepost_store::{Error, Fault, Hint, MailboxId, Message, Store};
use gatepost_wire::imap::ask::{Criterion, Found, SystemFlag, Uid};
use mail_parser::parsers::MessageStream;

use super::date;
use super::fetch::Stored;
use super::mime::field::fields;
use super::mime::scan::scan;
use super::texts::{Finder, body_texts, decoded, header_texts, read_header};

/// Messages looked up at a time.
const BATCH: usize = 1_000;

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
    let told = store.candidates(mailbox, &hint(&criterion))?;
    let candidates: Vec<Uid> = match &told {
        Some(told) => common(among, told),
        None => among.to_vec(),
    };
    let candidates: Vec<Uid> = candidates
        .into_iter()
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

/// What the index can tell of a criterion. It must hold for every message that matches, so what a NOT says is not looked at.
fn hint(criterion: &Criterion) -> Hint {
    match criterion {
        Criterion::And(all) => Hint::all(all.iter().map(hint)),
        Criterion::Or(one, other) => Hint::one([hint(one), hint(other)]),
        Criterion::Header(name, text) => Hint::all([
            Hint::text(&format!("{}: ", name.to_lowercase())),
            Hint::text(&text.to_lowercase()),
        ]),
        Criterion::Body(text) | Criterion::Text(text) => Hint::text(&text.to_lowercase()),
        _ => Hint::Any,
    }
}

/// What is in both; both ascend.
fn common(one: &[Uid], other: &[Uid]) -> Vec<Uid> {
    let (few, many) = if one.len() < other.len() {
        (one, other)
    } else {
        (other, one)
    };
    let (mut both, mut rest) = (Vec::new(), many);
    for uid in few {
        rest = rest
            .get(rest.partition_point(|other| other < uid)..)
            .unwrap_or_default();
        if rest.first() == Some(uid) {
            both.push(*uid);
        }
    }
    both
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
        let mut finder = Finder::new(&wanted);
        header_texts(self.header()?, &mut finder);
        Ok(finder.found())
    }

    fn body_has(&mut self, text: &str) -> io::Result<bool> {
        if text.is_empty() {
            return Ok(true);
        }
        let wanted = text.to_lowercase();
        let mut finder = Finder::new(&wanted);
        let root = scan(&mut self.source)?;
        body_texts(&root, &mut self.source, &mut finder)?;
        Ok(finder.found())
    }
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

#[cfg(test)]
mod tests {
    use super::*;

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
    fn the_index_is_asked_only_what_every_match_has() {
        let text = |text: &str| Criterion::Text(text.into());
        let not = |inner| Criterion::Not(Box::new(inner));
        let or = |one, other| Criterion::Or(Box::new(one), Box::new(other));
        assert_eq!(hint(&not(text("word"))), Hint::Any);
        assert_eq!(hint(&or(text("word"), Criterion::All)), Hint::Any);
        assert_eq!(hint(&or(text("word"), not(text("other")))), Hint::Any);
        let word = Hint::text("word");
        assert_eq!(
            hint(&Criterion::And(vec![text("WORD"), not(text("other"))])),
            word
        );
        assert_eq!(
            hint(&or(text("word"), text("Word"))),
            Hint::One(vec![word.clone(), word.clone()])
        );
        let named = Hint::text("x-id: ");
        assert_eq!(
            hint(&Criterion::Header("X-Id".into(), "word".into())),
            Hint::All(vec![named.clone(), word])
        );
        assert_eq!(hint(&Criterion::Header("X-Id".into(), "".into())), named);
    }

    #[test]
    fn common_to_both() {
        assert_eq!(common(&[1, 3, 5, 9], &[2, 3, 4, 9, 10]), [3, 9]);
        assert!(common(&[], &[2, 3]).is_empty());
        assert_eq!(common(&[7], &[1, 2, 7]), [7]);
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
