//! mbox (RFC 4155, mboxrd and mboxo): many messages in a file, each behind a line `From SENDER DATE`.
//!
//! Reading takes lines of any length and files of any size; a message is held in memory up to the largest that the store takes.
//! A `From ` line counts only behind an empty line and with a time and a year in it: files whose writer did not quote are still
//! taken apart well. The fields in which programs keep an mbox's flags (`Status`, `X-Status`, `X-Keywords`, and the UIDs
//! beside them) are read and taken off; writing adds them.

use std::io::{BufRead, Read as _};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use gatepost_wire::imap::ask::Flags;

use super::letter::{self, set_flag};
use crate::client::date;

/// How lines that begin with `From ` are quoted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Quoting {
    /// `>` before `>*From `; unambiguous.
    Mboxrd,
    /// `>` before `From ` only.
    Mboxo,
}

/// A message of an mbox.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Entry {
    /// Its octets, without what belongs to the mbox.
    pub(crate) octets: Vec<u8>,
    /// Its flags.
    pub(crate) flags: Flags,
    /// The date of its `From ` line.
    pub(crate) date: Option<SystemTime>,
    /// Whether it is larger than the limit: then the octets are cut off.
    pub(crate) too_big: bool,
    /// How many octets it takes in the file.
    pub(crate) length: u64,
}

/// Octets of a line that are looked at at once.
const PIECE: u64 = 64 * 1024;

/// Reads an mbox message by message.
pub(crate) struct Reader<R> {
    input: R,
    limit: u64,
    quoting: Quoting,
    /// The separator that ended the last message.
    separator: Option<Vec<u8>>,
    begun: bool,
}

impl<R: BufRead> Reader<R> {
    /// A reader of messages up to this size.
    pub(crate) fn new(input: R, limit: u64, quoting: Quoting) -> Self {
        Self {
            input,
            limit,
            quoting,
            separator: None,
            begun: false,
        }
    }

    /// The next message.
    pub(crate) fn next(&mut self) -> std::io::Result<Option<Entry>> {
        loop {
            let Some(entry) = self.read()? else {
                return Ok(None);
            };
            if !is_internal(&entry.octets) {
                return Ok(Some(entry));
            }
        }
    }

    fn read(&mut self) -> std::io::Result<Option<Entry>> {
        let mut body = Body::new(self.limit, self.quoting);
        let separator = match self.separator.take() {
            Some(line) => line,
            None if self.begun => return Ok(None),
            None => match self.first_line(&mut body)? {
                Some(line) => line,
                None => return Ok(None),
            },
        };
        self.begun = true;
        let (mut piece, mut at_start) = (Vec::new(), true);
        loop {
            piece.clear();
            let count = (&mut self.input)
                .take(PIECE)
                .read_until(b'\n', &mut piece)?;
            if count == 0 {
                break;
            }
            if at_start && body.after_blank && is_separator(&piece) {
                self.separator = Some(std::mem::take(&mut piece));
                break;
            }
            body.add(&piece, at_start);
            at_start = piece.ends_with(b"\n");
        }
        Ok(Some(body.end(date_of(&separator))))
    }

    /// The separator at the very beginning; empty lines before it count for nothing.
    fn first_line(&mut self, body: &mut Body) -> std::io::Result<Option<Vec<u8>>> {
        let mut line = Vec::new();
        loop {
            line.clear();
            if (&mut self.input).take(PIECE).read_until(b'\n', &mut line)? == 0 {
                return Ok(None);
            }
            if line.starts_with(b"From ") {
                return Ok(Some(line));
            }
            if !line.iter().all(u8::is_ascii_whitespace) {
                // A message without its separator: better taken than lost.
                body.add(&line, true);
                return Ok(Some(Vec::new()));
            }
        }
    }
}

struct Body {
    limit: u64,
    quoting: Quoting,
    octets: Vec<u8>,
    too_big: bool,
    after_blank: bool,
    length: u64,
}

impl Body {
    fn new(limit: u64, quoting: Quoting) -> Self {
        Self {
            limit,
            quoting,
            octets: Vec::new(),
            too_big: false,
            after_blank: true,
            length: 0,
        }
    }

    fn add(&mut self, piece: &[u8], at_start: bool) {
        self.length += piece.len() as u64;
        self.after_blank = at_start && matches!(piece, b"\n" | b"\r\n");
        let quoted = at_start && self.is_quoted(piece);
        let piece = if quoted { &piece[1..] } else { piece };
        if self.octets.len() as u64 + piece.len() as u64 > self.limit {
            self.too_big = true;
        } else if !self.too_big {
            self.octets.extend_from_slice(piece);
        }
    }

    fn is_quoted(&self, line: &[u8]) -> bool {
        let quotes = line.iter().take_while(|octet| **octet == b'>').count();
        let right = match self.quoting {
            Quoting::Mboxrd => quotes > 0,
            Quoting::Mboxo => quotes == 1,
        };
        right && line[quotes..].starts_with(b"From ")
    }

    fn end(mut self, date: Option<SystemTime>) -> Entry {
        // The empty line before the next separator, or at the end, is the format's.
        if self.after_blank && !self.too_big {
            let blank = if self.octets.ends_with(b"\r\n") { 2 } else { 1 };
            self.octets
                .truncate(self.octets.len().saturating_sub(blank));
        }
        let mut flags = Flags::default();
        let octets = take_off(&self.octets, &mut flags);
        Entry {
            octets,
            flags,
            date,
            too_big: self.too_big,
            length: self.length,
        }
    }
}

/// Whether a line parts two messages: a time and a year are in it.
fn is_separator(line: &[u8]) -> bool {
    let Some(rest) = line.strip_prefix(b"From ") else {
        return false;
    };
    let clock = rest
        .windows(5)
        .any(|it| it[2] == b':' && [0, 1, 3, 4].iter().all(|at| it[*at].is_ascii_digit()));
    let words = || rest.split(u8::is_ascii_whitespace);
    clock && words().any(|word| word.len() == 4 && word.iter().all(u8::is_ascii_digit))
}

/// The date of a separator: `From anna@example.org Thu Nov 26 19:15:42 2026`. In UTC, as asctime is understood here.
fn date_of(line: &[u8]) -> Option<SystemTime> {
    let text = String::from_utf8_lossy(line);
    let words: Vec<&str> = text.split_ascii_whitespace().collect();
    let at = words
        .iter()
        .position(|word| word.contains(':') && word.starts_with(|c: char| c.is_ascii_digit()))?;
    let (month, day) = (words.get(at.checked_sub(2)?)?, words.get(at - 1)?);
    let year = words[at..]
        .iter()
        .find(|word| word.len() == 4 && word.bytes().all(|octet| octet.is_ascii_digit()))?;
    let clock = words[at];
    let clock = if clock.matches(':').count() == 1 {
        format!("{clock}:00")
    } else {
        clock.to_owned()
    };
    date::from_imap(&format!("{day}-{month}-{year} {clock} +0000"))
}

/// Fields that belong to the mbox.
const OWN: [&str; 6] = [
    "status",
    "x-status",
    "x-keywords",
    "x-uid",
    "x-imap",
    "x-imapbase",
];

/// Takes the mbox's own fields off the header, and reads the flags in them.
fn take_off(octets: &[u8], flags: &mut Flags) -> Vec<u8> {
    let mut out = Vec::with_capacity(octets.len());
    let mut rest = octets;
    let mut dropping = false;
    while !rest.is_empty() {
        let end = rest
            .iter()
            .position(|octet| *octet == b'\n')
            .map_or(rest.len(), |at| at + 1);
        let (line, after) = rest.split_at(end);
        if matches!(line, b"\n" | b"\r\n") {
            break;
        }
        let folded = line.starts_with(b" ") || line.starts_with(b"\t");
        if !folded {
            dropping = read_field(line, flags);
        }
        if !dropping {
            out.extend_from_slice(line);
        }
        rest = after;
    }
    out.extend_from_slice(rest);
    out
}

/// Reads a field if it is the mbox's own; says whether it is.
fn read_field(line: &[u8], flags: &mut Flags) -> bool {
    let Some(colon) = line
        .iter()
        .position(|octet| *octet == b':')
        .filter(|at| *at < 20)
    else {
        return false;
    };
    let name = String::from_utf8_lossy(&line[..colon]).to_ascii_lowercase();
    if !OWN.contains(&name.trim_end()) {
        return false;
    }
    let value = String::from_utf8_lossy(&line[colon + 1..]);
    match name.trim_end() {
        "status" => flags.seen |= value.contains('R'),
        "x-status" => {
            flags.answered |= value.contains('A');
            flags.flagged |= value.contains('F');
            flags.deleted |= value.contains('D');
            flags.draft |= value.contains('T');
        }
        "x-keywords" => value
            .split_ascii_whitespace()
            .for_each(|word| set_flag(flags, word)),
        _ => {}
    }
    true
}

/// The pseudo-message in which some servers keep their state.
fn is_internal(octets: &[u8]) -> bool {
    let head = &octets[..octets.len().min(2048)];
    let wanted = b"FOLDER INTERNAL DATA";
    head.windows(wanted.len()).any(|it| it == wanted)
        && head.windows(22).any(|it| it == b"DON'T DELETE THIS MESS")
}

/// A message as it stands in an mbox (mboxrd).
pub(crate) fn write(octets: &[u8], flags: &Flags, date: SystemTime, out: &mut Vec<u8>) {
    out.extend_from_slice(
        format!(
            "From MAILER-DAEMON {}\n",
            date::asctime(date.max(UNIX_EPOCH + Duration::ZERO))
        )
        .as_bytes(),
    );
    out.extend_from_slice(if flags.seen {
        b"Status: RO\n"
    } else {
        b"Status: O\n"
    });
    let marks = [
        (flags.answered, 'A'),
        (flags.flagged, 'F'),
        (flags.deleted, 'D'),
        (flags.draft, 'T'),
    ];
    let marks: String = marks
        .iter()
        .filter(|(set, _)| *set)
        .map(|(_, mark)| *mark)
        .collect();
    if !marks.is_empty() {
        out.extend_from_slice(format!("X-Status: {marks}\n").as_bytes());
    }
    // One field each: no line grows too long.
    for keyword in &flags.keywords {
        out.extend_from_slice(format!("X-Keywords: {keyword}\n").as_bytes());
    }
    for line in letter::to_lf(octets).split_inclusive(|octet| *octet == b'\n') {
        let quotes = line.iter().take_while(|octet| **octet == b'>').count();
        if line[quotes..].starts_with(b"From ") {
            out.push(b'>');
        }
        out.extend_from_slice(line);
    }
    if !out.ends_with(b"\n") {
        out.push(b'\n');
    }
    out.push(b'\n');
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read_as(text: &[u8], limit: u64, quoting: Quoting) -> Vec<Entry> {
        let mut reader = Reader::new(text, limit, quoting);
        std::iter::from_fn(|| reader.next().unwrap()).collect()
    }

    fn read(text: &str) -> Vec<Entry> {
        read_as(text.as_bytes(), 1 << 20, Quoting::Mboxrd)
    }

    #[test]
    fn flags_and_dates_and_quotes() {
        let all = read(
            "From anna@example.org Thu Nov 26 19:15:42 2026\nStatus: RO\nX-Status: AF\nX-Keywords: Junk $Label1\n\
            Subject: a\n\n>From me\n>>From you\n\nFrom here it is text\n\nFrom - Fri Nov 27 01:02 2026\nX-UID: 7\nSubject: b\n folded\n\nend\n",
        );
        assert_eq!(all.len(), 2);
        assert_eq!(
            all[0].octets,
            b"Subject: a\n\nFrom me\n>From you\n\nFrom here it is text\n"
        );
        let flags = &all[0].flags;
        assert!(flags.seen && flags.answered && flags.flagged && !flags.deleted);
        assert_eq!(flags.keywords.len(), 2);
        assert_eq!(date::rfc3339(all[0].date.unwrap()), "2026-11-26T19:15:42Z");
        assert_eq!(all[1].octets, b"Subject: b\n folded\n\nend\n");
        assert_eq!(date::rfc3339(all[1].date.unwrap()), "2026-11-27T01:02:00Z");
    }

    #[test]
    fn the_older_quoting() {
        let text = b"From a Thu Nov 26 19:15:42 2026\n\n>From me\n>>From you\n";
        let all = read_as(text, 100, Quoting::Mboxo);
        assert_eq!(all[0].octets, b"\nFrom me\n>>From you\n");
    }

    #[test]
    fn what_is_written_is_read() {
        let flags = Flags {
            seen: true,
            draft: true,
            ..Flags::default()
        };
        let bodies: [&[u8]; 4] = [
            b"A: b\r\n\r\nFrom x\r\n>From y\r\n\r\n",
            b"A: b\r\n\r\nno end",
            b"",
            b"A: b\r\n",
        ];
        let mut out = Vec::new();
        for body in bodies {
            write(body, &flags, UNIX_EPOCH, &mut out);
        }
        let all = read_as(&out, 1 << 20, Quoting::Mboxrd);
        let back: Vec<Vec<u8>> = all
            .iter()
            .map(|it| letter::to_crlf(it.octets.clone()))
            .collect();
        assert_eq!(
            back,
            [
                &b"A: b\r\n\r\nFrom x\r\n>From y\r\n\r\n"[..],
                b"A: b\r\n\r\nno end\r\n",
                b"",
                b"A: b\r\n"
            ]
        );
        assert!(all.iter().all(|it| it.flags == flags));
    }

    #[test]
    fn endless_lines_and_large_messages_take_no_memory() {
        let mut text = b"From a Thu Nov 26 19:15:42 2026\n".to_vec();
        text.extend(std::iter::repeat_n(b'x', 3 << 20));
        text.extend_from_slice(b"\n\nFrom b Thu Nov 26 19:15:42 2026\nS: b\n");
        let all = read_as(&text, 1000, Quoting::Mboxrd);
        assert_eq!(
            (all.len(), all[0].too_big, all[1].too_big),
            (2, true, false)
        );
        assert!(all[0].octets.len() <= 1000);
    }

    #[test]
    fn broken_files() {
        assert_eq!(read(""), []);
        assert_eq!(read("\n\n"), []);
        assert_eq!(
            read("Subject: x\n\nno separator\n")[0].octets,
            b"Subject: x\n\nno separator\n"
        );
        assert_eq!(read("From a Thu Nov 26 19:15:42 2026")[0].octets, b"");
        assert_eq!(
            read(
                "From a Thu Nov 26 19:15:42 2026\nSubject: DON'T DELETE THIS MESSAGE -- FOLDER INTERNAL DATA\n\nx\n"
            ),
            []
        );
        assert_eq!(date_of(b"From a 19:15:42 2026"), None);
        assert_eq!(date_of(b"From a 99-\xff 1:1 2026"), None);
    }
}
