//! SORT (RFC 5256 3): puts what was found in order. Headers are read only where a key needs them; what is kept of a message is its
//! keys alone.

use std::cmp::Ordering;
use std::time::Instant;

use gatepost_store::{Error, Fault, MailboxId, Message, Store};
use gatepost_wire::imap::ask::{Found, SortBy, SortKey, Uid};

use super::fetch::Stored;
use super::mime::address::{Entry, parse};
use super::mime::field::first;
use super::search::sent_time;
use super::subject::subject;
use super::texts::read_header;

/// Messages looked up at a time.
const BATCH: usize = 1_000;
/// How much of an address is compared, in octets.
const ADDRESS: usize = 256;

/// What a message is compared by.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Value {
    Number(i64),
    Text(Box<str>),
}

/// Sorts. Messages that are equal stay in the mailbox's order.
///
/// # Errors
/// When the mailbox is gone, a message cannot be read, or `until` has come: [`Error::Limit`].
pub fn sort(
    store: &Store,
    mailbox: MailboxId,
    mut found: Found,
    by: &[SortKey],
    until: Instant,
) -> Result<Found, Error> {
    let mut rows: Vec<(Uid, Vec<Value>)> = Vec::with_capacity(found.uids.len());
    let by_header = by
        .iter()
        .any(|key| !matches!(key.by, SortBy::Arrival | SortBy::Size));
    each_header(
        store,
        (mailbox, &found.uids),
        by_header,
        until,
        |message, header| {
            let values = by.iter().map(|key| value(message, header, key.by));
            rows.push((message.uid, values.collect()));
        },
    )?;
    rows.sort_by(|one, other| compare(&one.1, &other.1, by).then(one.0.cmp(&other.0)));
    found.uids = rows.into_iter().map(|(uid, _)| uid).collect();
    Ok(found)
}

fn compare(one: &[Value], other: &[Value], by: &[SortKey]) -> Ordering {
    let keys = one.iter().zip(other).zip(by);
    keys.fold(Ordering::Equal, |order, ((one, other), key)| {
        let next = one.cmp(other);
        order.then(if key.reverse { next.reverse() } else { next })
    })
}

fn value(message: &Message, header: &[u8], by: SortBy) -> Value {
    match by {
        SortBy::Arrival => Value::Number(message.date.unix),
        SortBy::Size => Value::Number(i64::try_from(message.size).unwrap_or(i64::MAX)),
        SortBy::Date => Value::Number(sent_time(header).unwrap_or(message.date.unix)),
        SortBy::Subject => Value::Text(subject(header).base.into()),
        SortBy::From => Value::Text(mailbox_of(header, "From")),
        SortBy::To => Value::Text(mailbox_of(header, "To")),
        SortBy::Cc => Value::Text(mailbox_of(header, "Cc")),
    }
}

/// The local part of the first address; of a group, its name (RFC 5256 3, RFC 9051 7.5.2).
fn mailbox_of(header: &[u8], name: &str) -> Box<str> {
    let value = first(header, name).map(|field| field.unfolded());
    let entry = value.and_then(|value| parse(&value).into_iter().next());
    let local = match entry {
        Some(Entry::Mailbox { local, .. }) => local,
        Some(Entry::Group(name)) => name,
        Some(Entry::GroupEnd) | None => Vec::new(),
    };
    let local = local.get(..ADDRESS).unwrap_or(&local);
    String::from_utf8_lossy(local).to_lowercase().into()
}

/// Goes through messages with their headers (empty ones, if none are wanted). Those that are gone are passed over.
///
/// # Errors
/// As [`sort`].
pub fn each_header(
    store: &Store,
    (mailbox, uids): (MailboxId, &[Uid]),
    headers: bool,
    until: Instant,
    mut each: impl FnMut(&Message, &[u8]),
) -> Result<(), Error> {
    for uids in uids.chunks(BATCH) {
        for message in store.messages(mailbox, uids)? {
            if Instant::now() >= until {
                return Err(Error::Limit);
            }
            if !headers {
                each(&message, &[]);
                continue;
            }
            let mut source = Stored::new(store, &message);
            match (read_header(&mut source, message.size), source.failure) {
                (Ok(header), _) => each(&message, &header),
                (Err(_), Some(Error::Gone)) => {}
                (Err(_), failure) => return Err(failure.unwrap_or(Error::Fault(Fault::Closed))),
            }
        }
    }
    Ok(())
}
