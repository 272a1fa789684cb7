//! FETCH: the data of messages, made from their rows and, where it takes that, their octets.
//!
//! An answer is bounded: it ends with the message that brings it over `INLINE_LIMIT` octets of data or `ROWS_LIMIT` rows,
//! and the session asks again for the rest. A message whose header alone is asked for is not read to its end.

use std::io;

use gatepost_store::{Error, Fault, MailboxId, Message, Store};
use gatepost_wire::imap::ask::{Datum, InternalDate, Item, Row, Rows, Section, SectionText, Uid};

use super::mime::envelope::envelope;
use super::mime::scan::{scan, shallow};
use super::mime::section::{binary, binary_size, section, whole};
use super::mime::structure::structure;
use super::mime::{Part, Source, read_header};
use super::preview::preview;

/// Octets of data in one answer, about.
const INLINE_LIMIT: usize = 256 * 1024;
/// Rows in one answer.
const ROWS_LIMIT: usize = 1_024;
/// Rows looked up at a time, where messages are read: an answer of large ones ends soon, and what was looked up beyond is lost.
const LOOKED_UP: usize = 32;
/// What a part or an envelope counts as beside what stands in its lists: roughly the memory it takes.
const PART_WEIGHT: usize = 512;
/// What an address of an envelope counts as.
const ADDRESS_WEIGHT: usize = 256;
/// What a parameter of a part counts as, with its text.
const PARAMETER_WEIGHT: usize = 128;

/// Whether messages must be read to their end for this: it may take long.
pub fn is_long(items: &[Item]) -> bool {
    items.iter().any(needs_tree)
}

/// Whether the item hands out a message's content.
pub fn is_content(item: &Item) -> bool {
    match item {
        Item::Section(section) => matches!(section.text, SectionText::All | SectionText::Text),
        Item::Binary { .. } => true,
        _ => false,
    }
}

/// Answers for the first of `uids`, at least one; for none where the first has a header longer than [`SHORT_HEADER`] and this is
/// not a long read: as many of those as there are threads would take too much memory.
///
/// # Errors
/// When the mailbox is gone or a message cannot be read.
pub fn rows(
    store: &Store,
    mailbox: MailboxId,
    uids: &[Uid],
    items: &[Item],
    long: bool,
) -> Result<Rows, Error> {
    let asked = uids.get(..ROWS_LIMIT).unwrap_or(uids);
    if items.iter().all(Item::is_in_row) {
        return rows_alone(store, mailbox, asked, items);
    }
    let (mut rows, mut weight) = (Rows::default(), 0);
    for asked in asked.chunks(LOOKED_UP) {
        let found = store.messages(mailbox, asked)?;
        for uid in asked {
            rows.answered += 1;
            let Ok(at) = found.binary_search_by_key(uid, |message| message.uid) else {
                continue;
            };
            let Some(message) = found.get(at) else {
                continue;
            };
            let row = match row(store, message, items, long)? {
                Outcome::Row(row) => row,
                Outcome::Gone => continue,
                Outcome::Long => {
                    rows.answered -= 1;
                    return Ok(rows);
                }
            };
            weight += row.data.iter().map(self::weight).sum::<usize>();
            rows.rows.push(row);
            if weight > INLINE_LIMIT {
                return Ok(rows);
            }
        }
    }
    Ok(rows)
}

/// The same when nothing is asked for but what stands in the rows: clients ask for the flags of whole mailboxes.
fn rows_alone(
    store: &Store,
    mailbox: MailboxId,
    asked: &[Uid],
    items: &[Item],
) -> Result<Rows, Error> {
    let found = store.facts(mailbox, asked)?;
    let row = |uid: &Uid| {
        let at = found.binary_search_by_key(uid, |it| it.uid).ok()?;
        let facts = found.get(at)?;
        let data = items
            .iter()
            .filter_map(|item| in_row(item, facts.date, facts.saved, facts.size))
            .collect();
        Some(Row {
            uid: facts.uid,
            flags: facts.flags.clone(),
            modseq: facts.modseq,
            newly_seen: false,
            data,
        })
    };
    Ok(Rows {
        rows: asked.iter().filter_map(row).collect(),
        answered: asked.len(),
    })
}

/// What came of a message.
enum Outcome {
    Row(Row),
    /// It vanished meanwhile.
    Gone,
    /// Its header is too long for a short read.
    Long,
}

/// One message's data.
fn row(store: &Store, message: &Message, items: &[Item], long: bool) -> Result<Outcome, Error> {
    let mut content = Content {
        source: Stored::new(store, message),
        part: None,
        whole: false,
        short: !long,
    };
    let data = items
        .iter()
        .map(|item| datum(message, item, &mut content))
        .collect::<io::Result<Vec<_>>>();
    let data = match (data, content.source.failure) {
        (Ok(data), _) => data,
        (Err(_), Some(Error::Gone)) => return Ok(Outcome::Gone),
        (Err(error), None) if error.kind() == TOO_LONG => return Ok(Outcome::Long),
        (Err(_), failure) => return Err(failure.unwrap_or(Error::Fault(Fault::Closed))),
    };
    let (uid, flags, modseq) = (message.uid, message.flags.clone(), message.modseq);
    Ok(Outcome::Row(Row {
        uid,
        flags,
        modseq,
        newly_seen: false,
        data,
    }))
}

/// What a message's row tells by itself.
fn in_row(item: &Item, date: InternalDate, saved: i64, size: u64) -> Option<Datum> {
    Some(match item {
        Item::Flags | Item::ModSeq => Datum::InRow,
        Item::InternalDate => Datum::Date(date),
        Item::Size => Datum::Number(size),
        Item::SaveDate => Datum::Date(InternalDate {
            unix: saved,
            offset_minutes: 0,
        }),
        _ => return None,
    })
}

fn datum(message: &Message, item: &Item, content: &mut Content<'_>) -> io::Result<Datum> {
    if let Some(datum) = in_row(item, message.date, message.saved, message.size) {
        return Ok(datum);
    }
    Ok(match item {
        Item::EmailId => Datum::ObjectId(message.email_id.to_string().into()),
        Item::Preview => {
            let (part, source) = content.tree(true, message.size)?;
            Datum::Bytes(preview(part, source)?.into_bytes())
        }
        Item::Envelope => {
            let (part, source) = content.tree(false, message.size)?;
            Datum::Envelope(Box::new(envelope(&read_header(source, &part.header)?)))
        }
        Item::BodyStructure { extended } => {
            let (part, source) = content.tree(true, message.size)?;
            Datum::BodyStructure(Box::new(structure(part, source, *extended)?))
        }
        Item::Section(Section {
            part,
            text: SectionText::All,
            partial,
        }) if part.is_empty() => whole(&mut content.source, message.size, *partial)?,
        Item::Section(wanted) => {
            let (part, source) = content.tree(needs_tree(item), message.size)?;
            section(part, source, wanted)?
        }
        Item::Binary {
            part: numbers,
            partial,
        } => {
            let (part, source) = content.tree(needs_tree(item), message.size)?;
            binary(part, source, numbers, *partial)?
        }
        Item::BinarySize { part: numbers } => {
            let (part, source) = content.tree(needs_tree(item), message.size)?;
            binary_size(part, source, numbers)?
        }
        Item::Flags | Item::ModSeq | Item::InternalDate | Item::Size | Item::SaveDate => Datum::Nil,
    })
}

/// Whether the item takes the tree of parts, not just the border between header and body.
fn needs_tree(item: &Item) -> bool {
    match item {
        Item::BodyStructure { .. } | Item::Preview => true,
        Item::Section(Section { part, .. })
        | Item::Binary { part, .. }
        | Item::BinarySize { part } => !part.is_empty(),
        _ => false,
    }
}

fn weight(datum: &Datum) -> usize {
    match datum {
        Datum::Bytes(octets) => octets.len(),
        Datum::BodyStructure(structure) => parts(structure),
        // What is left for the session to read ends the answer: nothing is gained by looking ahead.
        Datum::Stored { .. } => INLINE_LIMIT,
        Datum::Envelope(envelope) => PART_WEIGHT + addresses(envelope) * ADDRESS_WEIGHT,
        _ => 32,
    }
}

fn addresses(envelope: &imap_types::envelope::Envelope<'_>) -> usize {
    let imap_types::envelope::Envelope {
        from,
        sender,
        reply_to,
        to,
        cc,
        bcc,
        ..
    } = envelope;
    [from, sender, reply_to, to, cc, bcc]
        .into_iter()
        .map(Vec::len)
        .sum()
}

/// The weight of a structure.
fn parts(structure: &imap_types::body::BodyStructure<'_>) -> usize {
    use imap_types::body::{BodyStructure, SpecificFields};
    match structure {
        BodyStructure::Multi { bodies, .. } => {
            PART_WEIGHT + bodies.as_ref().iter().map(parts).sum::<usize>()
        }
        BodyStructure::Single { body, .. } => {
            let parameters = body.basic.parameter_list.iter();
            let own = PART_WEIGHT
                + parameters
                    .map(|(_, value)| PARAMETER_WEIGHT + value.as_ref().len())
                    .sum::<usize>();
            match &body.specific {
                SpecificFields::Message {
                    body_structure,
                    envelope,
                    ..
                } => own + addresses(envelope) * ADDRESS_WEIGHT + parts(body_structure),
                _ => own,
            }
        }
    }
}

/// A message's octets and, once asked for, its tree.
struct Content<'a> {
    source: Stored<'a>,
    part: Option<Part>,
    /// Whether `part` is the tree of all parts.
    whole: bool,
    /// Whether only headers up to [`SHORT_HEADER`] may be read.
    short: bool,
}

/// Octets of a header that any number of sessions may have read at once.
pub const SHORT_HEADER: u64 = 64 * 1024;

/// How [`Content`] says that a header is longer.
const TOO_LONG: io::ErrorKind = io::ErrorKind::FileTooLarge;

impl<'a> Content<'a> {
    fn tree(&mut self, whole: bool, size: u64) -> io::Result<(&Part, &mut Stored<'a>)> {
        if self.part.is_none() && !whole {
            self.part = shallow(&mut self.source, size)?;
            let header = self.part.as_ref().map_or(size, |part| part.header.end);
            if self.short && header > SHORT_HEADER {
                return Err(TOO_LONG.into());
            }
        }
        if self.part.is_none() || (whole && !self.whole) {
            self.part = Some(scan(&mut self.source)?);
            self.whole = true;
        }
        match &self.part {
            Some(part) => Ok((part, &mut self.source)),
            None => Err(io::ErrorKind::InvalidData.into()),
        }
    }
}

/// A stored message as a source. What was read last is kept, so small messages are read once.
#[derive(Debug)]
pub struct Stored<'a> {
    store: &'a Store,
    message: &'a Message,
    kept: Vec<u8>,
    kept_from: u64,
    /// What the store said when it could not read.
    pub failure: Option<Error>,
}

/// How much is read from the store at least. The store verifies 64 KiB at a time, so a message that is not larger is read whole.
const READ_AHEAD: usize = 8 * 1024;
/// How much is read at the most.
const READ_LIMIT: usize = 64 * 1024;

impl<'a> Stored<'a> {
    /// The octets of a message.
    pub fn new(store: &'a Store, message: &'a Message) -> Self {
        Self {
            store,
            message,
            kept: Vec::new(),
            kept_from: 0,
            failure: None,
        }
    }

    fn kept(&self, offset: u64, length: usize) -> Option<&[u8]> {
        let from = usize::try_from(offset.checked_sub(self.kept_from)?).ok()?;
        let to_end = self.kept_from + self.kept.len() as u64 >= self.message.size;
        let end = if to_end {
            self.kept.len().min(from.checked_add(length)?)
        } else {
            from.checked_add(length)?
        };
        self.kept.get(from.min(end)..end)
    }

    fn refill(&mut self, offset: u64, length: usize) -> io::Result<()> {
        let whole = self.message.size <= READ_LIMIT as u64;
        let (offset, length) = if whole {
            (0, READ_LIMIT)
        } else {
            (offset, length.clamp(READ_AHEAD, READ_LIMIT))
        };
        let length = u32::try_from(length).unwrap_or(u32::MAX);
        match self.store.read(&self.message.body, offset, length) {
            Ok(octets) => {
                self.kept = octets;
                self.kept_from = offset;
                Ok(())
            }
            Err(error) => {
                self.failure = Some(error);
                Err(io::ErrorKind::Other.into())
            }
        }
    }
}

impl Source for Stored<'_> {
    fn read(&mut self, offset: u64, length: usize) -> io::Result<Vec<u8>> {
        let length = length.min(READ_LIMIT);
        if offset >= self.message.size || length == 0 {
            return Ok(Vec::new());
        }
        if self.kept(offset, length).is_none() {
            self.refill(offset, length)?;
        }
        Ok(self.kept(offset, length).unwrap_or_default().to_vec())
    }
}
