//! FETCH: what is asked of the backend, and the responses made of its rows (RFC 9051 6.4.5, 7.5.2).
//!
//! Messages are asked for in batches. A row is written as it comes; text that stands in the stored message is read in pieces
//! straight into the output, and whenever that has grown to [`OUTPUT_FULL`] it is written before anything more is asked, so
//! memory grows neither with the messages nor with their number.

use std::collections::VecDeque;
use std::num::NonZeroU32;
use std::sync::Arc;

use imap_types::core::AString;
use imap_types::fetch::{
    MacroOrMessageDataItemNames, MessageDataItem, MessageDataItemName, Part, Section,
};

use super::arguments::Bad;
use super::decode::item_names;
use super::enabled::Enabled;
use super::extras::Extras;
use super::reply;
use super::view::View;
use crate::imap::ask::{self, Ask, Datum, Item, Row, Rows, SectionText, Uid};

/// How many messages are asked for at once.
const BATCH: usize = 256;
/// The same of small rows.
const SMALL_BATCH: usize = 1_024;
/// The largest piece of a stored message asked for at once, in octets.
const PIECE: u64 = 64 * 1024;
/// When this much output waits, it is written before anything else is done.
pub(super) const OUTPUT_FULL: usize = 64 * 1024;
/// How many parts deep a section may be named; deeper than any real message.
const PART_DEPTH: usize = 100;
/// How many items one FETCH may name.
const ITEMS: usize = 256;

/// One thing told of each message.
#[derive(Debug, Clone)]
enum Column {
    /// UID
    Uid,
    /// THREADID, which is NIL
    ThreadId,
    /// The next item of the row, under this name.
    Item(Box<[u8]>),
}

/// What FETCH tells of each message.
#[derive(Debug, Clone)]
pub(super) struct Plan {
    columns: Vec<Column>,
    items: Vec<Item>,
    mark_seen: bool,
}

impl Plan {
    /// The plan for the items asked for. UID forms always tell the UID (RFC 9051 6.4.9).
    pub(super) fn new(
        names: &MacroOrMessageDataItemNames<'_>,
        tell_uid: bool,
    ) -> Result<Self, Bad> {
        let mut plan = Self {
            columns: Vec::new(),
            items: Vec::new(),
            mark_seen: false,
        };
        let names = item_names(names);
        if names.is_empty() {
            return Err(Bad::Syntax);
        }
        if tell_uid {
            plan.columns.push(Column::Uid);
        }
        for name in &names {
            plan.add(name)?;
        }
        Ok(plan)
    }

    fn push(&mut self, label: impl Into<Vec<u8>>, item: Item) {
        // The same item twice is told once, so a short command cannot ask for one text many times over.
        if !self.items.contains(&item) {
            self.columns
                .push(Column::Item(label.into().into_boxed_slice()));
            self.items.push(item);
        }
    }

    fn push_text(&mut self, label: &str, text: SectionText) {
        self.push(
            label,
            Item::Section(ask::Section {
                part: Vec::new(),
                text,
                partial: None,
            }),
        );
    }

    /// Adds the items the codec does not know.
    pub(super) fn add_extras(&mut self, extras: Extras) {
        if extras.email_id {
            self.push("EMAILID", Item::EmailId);
        }
        if extras.thread_id {
            // Messages are not put into threads for good here: always NIL (RFC 8474 5.2).
            self.columns.push(Column::ThreadId);
        }
        if extras.save_date {
            self.push("SAVEDATE", Item::SaveDate);
        }
        if extras.preview {
            self.push("PREVIEW", Item::Preview);
        }
    }

    /// The same, leaving `\Seen` alone: nobody asked for what NOTIFY tells.
    pub(super) fn peeking(mut self) -> Self {
        self.mark_seen = false;
        self
    }

    pub(super) fn add_modseq(&mut self) {
        self.push("MODSEQ", Item::ModSeq);
    }

    /// Whether MODSEQ is asked for: that enables CONDSTORE (RFC 7162 3.1).
    pub(super) fn modseq(&self) -> bool {
        self.items.contains(&Item::ModSeq)
    }

    pub(super) fn checked(self) -> Result<Self, Bad> {
        if self.items.len() > ITEMS {
            Err(Bad::Syntax)
        } else {
            Ok(self)
        }
    }

    fn add(&mut self, name: &MessageDataItemName<'_>) -> Result<(), Bad> {
        use MessageDataItemName as Name;
        match name {
            Name::Uid
                if !self
                    .columns
                    .iter()
                    .any(|column| matches!(column, Column::Uid)) =>
            {
                self.columns.push(Column::Uid);
            }
            Name::Uid => {}
            Name::Flags => self.push("FLAGS", Item::Flags),
            Name::InternalDate => self.push("INTERNALDATE", Item::InternalDate),
            Name::Rfc822Size => self.push("RFC822.SIZE", Item::Size),
            Name::ModSeq => self.add_modseq(),
            Name::Envelope => self.push("ENVELOPE", Item::Envelope),
            Name::Body => self.push("BODY", Item::BodyStructure { extended: false }),
            Name::BodyStructure => {
                self.push("BODYSTRUCTURE", Item::BodyStructure { extended: true });
            }
            Name::Rfc822 => {
                self.mark_seen = true;
                self.push_text("RFC822", SectionText::All);
            }
            Name::Rfc822Header => self.push_text("RFC822.HEADER", SectionText::Header),
            Name::Rfc822Text => {
                self.mark_seen = true;
                self.push_text("RFC822.TEXT", SectionText::Text);
            }
            Name::BodyExt {
                section,
                partial,
                peek,
            } => {
                self.mark_seen |= !peek;
                let (label, item) = body(section.as_ref(), *partial)?;
                self.push(label, item);
            }
            Name::Binary {
                section,
                partial,
                peek,
            } => {
                self.mark_seen |= !peek;
                let mut label = b"BINARY".to_vec();
                let part = binary_part(&mut label, section)?;
                self.push(
                    with_origin(label, *partial),
                    Item::Binary {
                        part,
                        partial: count(*partial),
                    },
                );
            }
            Name::BinarySize { section } => {
                let mut label = b"BINARY.SIZE".to_vec();
                let part = binary_part(&mut label, section)?;
                self.push(label, Item::BinarySize { part });
            }
        }
        Ok(())
    }
}

fn count(partial: Option<(u32, NonZeroU32)>) -> Option<(u32, u32)> {
    partial.map(|(start, count)| (start, count.get()))
}

/// The origin of a partial text is told, not its length (RFC 9051 7.5.2).
fn with_origin(mut label: Vec<u8>, partial: Option<(u32, NonZeroU32)>) -> Vec<u8> {
    if let Some((start, _)) = partial {
        reply::put(&mut label, format_args!("<{start}>"));
    }
    label
}

fn numbers(label: &mut Vec<u8>, part: &[NonZeroU32]) -> Result<Vec<u32>, Bad> {
    if part.len() > PART_DEPTH {
        return Err(Bad::Syntax);
    }
    for (index, number) in part.iter().enumerate() {
        reply::put(
            label,
            format_args!("{}{number}", if index == 0 { "" } else { "." }),
        );
    }
    Ok(part.iter().map(|number| number.get()).collect())
}

fn binary_part(label: &mut Vec<u8>, section: &[NonZeroU32]) -> Result<Vec<u32>, Bad> {
    label.push(b'[');
    let part = numbers(label, section)?;
    label.push(b']');
    Ok(part)
}

/// BODY[…] as it is told, and as it is asked for.
fn body(
    section: Option<&Section<'_>>,
    partial: Option<(u32, NonZeroU32)>,
) -> Result<(Vec<u8>, Item), Bad> {
    let mut label = b"BODY[".to_vec();
    let (part, text) = match section {
        None => (Vec::new(), SectionText::All),
        Some(Section::Part(part)) => (numbers(&mut label, part.0.as_ref())?, SectionText::All),
        Some(Section::Mime(part)) => {
            let part = numbers(&mut label, part.0.as_ref())?;
            label.extend_from_slice(b".MIME");
            (part, SectionText::Mime)
        }
        Some(Section::Header(part)) => (
            named(&mut label, part.as_ref(), b"HEADER")?,
            SectionText::Header,
        ),
        Some(Section::Text(part)) => (
            named(&mut label, part.as_ref(), b"TEXT")?,
            SectionText::Text,
        ),
        Some(Section::HeaderFields(part, fields)) => {
            let part = named(&mut label, part.as_ref(), b"HEADER.FIELDS ")?;
            (
                part,
                SectionText::HeaderFields(field_names(&mut label, fields.as_ref())?),
            )
        }
        Some(Section::HeaderFieldsNot(part, fields)) => {
            let part = named(&mut label, part.as_ref(), b"HEADER.FIELDS.NOT ")?;
            (
                part,
                SectionText::HeaderFieldsNot(field_names(&mut label, fields.as_ref())?),
            )
        }
    };
    label.push(b']');
    let section = ask::Section {
        part,
        text,
        partial: count(partial),
    };
    Ok((with_origin(label, partial), Item::Section(section)))
}

fn named(label: &mut Vec<u8>, part: Option<&Part>, name: &[u8]) -> Result<Vec<u32>, Bad> {
    let part = part.map_or(Ok(Vec::new()), |part| {
        let numbers = numbers(label, part.0.as_ref());
        label.push(b'.');
        numbers
    })?;
    label.extend_from_slice(name);
    Ok(part)
}

/// Field names are printable ASCII without a colon (RFC 5322 2.2): nothing else can be in a message.
fn field_names(label: &mut Vec<u8>, fields: &[AString<'_>]) -> Result<Vec<String>, Bad> {
    let mut names = Vec::with_capacity(fields.len());
    for (index, field) in fields.iter().enumerate() {
        let name = str::from_utf8(field.as_ref()).map_err(|_| Bad::Syntax)?;
        if name.is_empty()
            || !name
                .bytes()
                .all(|byte| matches!(byte, 0x21..=0x7e) && byte != b':')
        {
            return Err(Bad::Syntax);
        }
        label.push(if index == 0 { b'(' } else { b' ' });
        let plain = name
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
        if plain {
            label.extend_from_slice(name.as_bytes());
        } else {
            reply::quoted(label, name);
        }
        names.push(name.to_owned());
    }
    label.push(b')');
    Ok(names)
}

/// A FETCH under way.
#[derive(Debug)]
pub(super) struct Fetch {
    uids: Vec<Uid>,
    /// How many of them have been answered for.
    answered: usize,
    plan: Plan,
    items: Arc<[Item]>,
    /// How many messages are asked for at once.
    batch: usize,
    rows: VecDeque<Row>,
    row: Option<Writing>,
    /// What is told depends on it: MODSEQ whenever flags are (RFC 7162 3.2), the UID.
    enabled: Enabled,
    /// Messages that turned out to be gone.
    pub(super) missing: bool,
    /// A part's transfer encoding was unknown (RFC 3516).
    pub(super) unknown_encoding: bool,
}

/// The row being written.
#[derive(Debug)]
struct Writing {
    uid: Uid,
    data: std::vec::IntoIter<Datum>,
    /// The column the next datum belongs to.
    column: usize,
    /// What is to be told last: flags that this very fetch has changed.
    tail: Vec<u8>,
    flags: ask::Flags,
    modseq: u64,
    stream: Option<(u64, u64)>,
}

/// What a fetch needs next.
#[derive(Debug, PartialEq)]
pub(super) enum Step {
    /// An answer.
    Ask(Ask),
    /// Its output written.
    Write,
    /// Nothing: all is told.
    Done,
}

/// The backend's answer does not fit: what was begun cannot be ended.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Torn;

impl Fetch {
    pub(super) fn new(uids: Vec<Uid>, mut plan: Plan, enabled: Enabled, read_only: bool) -> Self {
        plan.mark_seen &= !read_only;
        let items: Arc<[Item]> = std::mem::take(&mut plan.items).into();
        let batch = if items.iter().all(Item::is_in_row) {
            SMALL_BATCH
        } else {
            BATCH
        };
        Self {
            uids,
            answered: 0,
            plan,
            items,
            batch,
            rows: VecDeque::new(),
            row: None,
            enabled,
            missing: false,
            unknown_encoding: false,
        }
    }

    /// Goes on until an answer is needed, the output is full, or all is told.
    pub(super) fn step(&mut self, out: &mut Vec<u8>, view: &mut View) -> Step {
        loop {
            if out.len() >= OUTPUT_FULL {
                return Step::Write;
            }
            if let Some(writing) = &mut self.row {
                if let Some(ask) = writing.piece() {
                    return Step::Ask(ask);
                }
                if let Some(ask) = self.columns(out) {
                    return Step::Ask(ask);
                }
                self.row = None;
                continue;
            }
            if let Some(row) = self.rows.pop_front() {
                self.begin_row(row, out, view);
                continue;
            }
            let left = self.uids.get(self.answered..).unwrap_or_default();
            if left.is_empty() {
                return Step::Done;
            }
            let uids = left
                .get(..self.batch.min(left.len()))
                .unwrap_or_default()
                .to_vec();
            return Step::Ask(Ask::Fetch {
                uids,
                items: Arc::clone(&self.items),
                mark_seen: self.plan.mark_seen,
            });
        }
    }

    fn begin_row(&mut self, row: Row, out: &mut Vec<u8>, view: &mut View) {
        let Some(number) = view.number(row.uid) else {
            return;
        };
        let mut tail = Vec::new();
        if row.newly_seen {
            view.own_change(row.modseq);
            if !self.items.contains(&Item::Flags) {
                tail.extend_from_slice(b" FLAGS ");
                reply::flags(&mut tail, &row.flags);
            }
            if self.enabled.condstore && !self.items.contains(&Item::ModSeq) {
                reply::put(&mut tail, format_args!(" MODSEQ ({})", row.modseq));
            }
        }
        self.enabled.begin_fetch(out, number, row.uid, false);
        self.row = Some(Writing {
            uid: row.uid,
            data: row.data.into_iter(),
            column: 0,
            tail,
            flags: row.flags,
            modseq: row.modseq,
            stream: None,
        });
    }

    /// Writes columns until one must be streamed, or the row is complete.
    fn columns(&mut self, out: &mut Vec<u8>) -> Option<Ask> {
        let writing = self.row.as_mut()?;
        while let Some(column) = self.plan.columns.get(writing.column) {
            if writing.column > 0 {
                out.push(b' ');
            }
            writing.column += 1;
            match column {
                Column::Uid => reply::put(out, format_args!("UID {}", writing.uid)),
                Column::ThreadId => out.extend_from_slice(b"THREADID NIL"),
                Column::Item(label) => {
                    out.extend_from_slice(label);
                    out.push(b' ');
                    let datum = writing.data.next().unwrap_or(Datum::Nil);
                    self.unknown_encoding |= datum == Datum::UnknownEncoding;
                    writing.datum(out, label, datum);
                    if let Some(ask) = writing.piece() {
                        return Some(ask);
                    }
                }
            }
        }
        out.append(&mut writing.tail);
        out.extend_from_slice(b")\r\n");
        None
    }

    /// Takes rows.
    pub(super) fn rows(&mut self, rows: Rows) -> Result<(), Torn> {
        let asked = self.batch.min(self.uids.len() - self.answered);
        if rows.answered == 0 || rows.answered > asked || rows.rows.len() > rows.answered {
            return Err(Torn);
        }
        self.missing |= rows.rows.len() < rows.answered;
        self.answered += rows.answered;
        self.rows = rows.rows.into();
        Ok(())
    }

    /// Takes a piece of the message being streamed. Fewer octets than asked for cannot be mended: the literal's length
    /// has been told.
    pub(super) fn octets(&mut self, octets: &[u8], out: &mut Vec<u8>) -> Result<(), Torn> {
        let (offset, left) = self
            .row
            .as_mut()
            .and_then(|row| row.stream.as_mut())
            .ok_or(Torn)?;
        let wanted = (*left).min(PIECE);
        if octets.len() as u64 != wanted {
            return Err(Torn);
        }
        out.extend_from_slice(octets);
        *offset += wanted;
        *left -= wanted;
        Ok(())
    }
}

impl Writing {
    /// The next piece of a streamed text, if there is one.
    fn piece(&mut self) -> Option<Ask> {
        let (offset, left) = self.stream?;
        if left == 0 {
            self.stream = None;
            return None;
        }
        let length = u32::try_from(left.min(PIECE)).unwrap_or(u32::MAX);
        Some(Ask::Read {
            uid: self.uid,
            offset,
            length,
        })
    }

    fn datum(&mut self, out: &mut Vec<u8>, label: &[u8], datum: Datum) {
        let binary = label.starts_with(b"BINARY[");
        match datum {
            Datum::InRow if label == b"MODSEQ" => {
                reply::put(out, format_args!("({})", self.modseq));
            }
            Datum::InRow => reply::flags(out, &self.flags),
            Datum::Date(date) => reply::date_time(out, date),
            Datum::Number(number) => reply::put(out, format_args!("{number}")),
            Datum::ObjectId(id) => reply::put(out, format_args!("({id})")),
            Datum::Envelope(envelope) => {
                reply::structure(out, MessageDataItem::Envelope(*envelope));
            }
            Datum::BodyStructure(structure) if label == b"BODY" => {
                reply::structure(out, MessageDataItem::Body(*structure));
            }
            Datum::BodyStructure(structure) => {
                reply::structure(out, MessageDataItem::BodyStructure(*structure));
            }
            Datum::Bytes(octets) if label == b"PREVIEW" => reply::text(out, &octets),
            Datum::Bytes(octets) => {
                // Only literal8 may hold NUL (RFC 9051 9).
                if binary && octets.contains(&0) {
                    out.push(b'~');
                }
                reply::literal(out, &octets);
            }
            Datum::Stored { offset, length } => {
                if binary {
                    out.push(b'~');
                }
                reply::line(out, format_args!("{{{length}}}"));
                self.stream = Some((offset, length));
            }
            Datum::Nil | Datum::UnknownEncoding => out.extend_from_slice(b"NIL"),
        }
    }
}
