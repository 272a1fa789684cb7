//! Responses, understood.

use super::reader::Piece;
use super::value::{Cursor, Value};
use crate::client::Quote;
use crate::imap::mutf7;

/// How a command ended, or what an untagged status response says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kind {
    /// OK.
    Ok,
    /// NO.
    No,
    /// BAD.
    Bad,
    /// PREAUTH, in a greeting only.
    PreAuth,
    /// BYE.
    Bye,
}

/// A status response.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Status {
    /// OK, NO, BAD, …
    pub kind: Kind,
    /// The response code without its brackets, in upper case up to its first space: `UIDVALIDITY 7`. Server text.
    pub code: Option<Box<str>>,
    /// The text for people.
    pub text: Quote,
    /// The whole line, for quoting.
    pub(super) line: Vec<u8>,
}

impl Status {
    /// The argument of the response code with this name.
    pub fn code_argument(&self, name: &str) -> Option<&str> {
        let code = self.code.as_deref()?;
        let (word, argument) = code.split_once(' ').unwrap_or((code, ""));
        (word == name).then_some(argument)
    }

    /// Whether the code says that trying again later makes sense (RFC 5530).
    pub(super) fn is_temporary(&self) -> bool {
        ["UNAVAILABLE", "INUSE", "LIMIT", "SERVERBUG"]
            .iter()
            .any(|it| self.code_argument(it).is_some())
    }
}

/// A message's data.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fetched {
    /// The sequence number.
    pub sequence: u32,
    /// The UID, if the server told it.
    pub uid: Option<u32>,
    /// The flags, if asked for.
    pub flags: Option<Vec<Box<str>>>,
    /// The size in octets (RFC822.SIZE).
    pub size: Option<u64>,
    /// The internal date, as written.
    pub date: Option<Box<str>>,
    /// The parts that were handed on as [`super::Ask::Portion`], by name.
    pub sections: Vec<Box<str>>,
    /// Everything else, by name; a part the server has no content for (NIL) among it.
    pub other: Vec<(Box<str>, Value)>,
}

/// A mailbox in a list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listed {
    /// The attributes, such as `\Noselect`.
    pub attributes: Vec<Box<str>>,
    /// The hierarchy delimiter.
    pub delimiter: Option<char>,
    /// The name, decoded.
    pub name: Box<str>,
}

/// Data the server sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Data {
    /// An untagged status response, an ALERT among them: server text.
    Status(Status),
    /// The number of messages.
    Exists(u32),
    /// A message is gone.
    Expunged(u32),
    /// Messages are gone, by UID (RFC 7162); whether before now.
    Vanished(Box<str>, bool),
    /// The flags of the mailbox.
    Flags(Vec<Box<str>>),
    /// A message's data.
    Fetched(Fetched),
    /// A mailbox.
    Listed(Listed),
    /// The numbers found. An extended result (RFC 4731) is given as the same.
    Found(Vec<u32>),
    /// STATUS: the mailbox, and pairs of name and number.
    Counts(Box<str>, Vec<(Box<str>, u64)>),
    /// Anything else, its values taken apart.
    Other(Vec<Value>),
}

/// A response, as far as the session needs it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Response {
    Tagged(Vec<u8>, Status),
    Continue(Vec<u8>),
    Status(Status),
    Capability(Vec<u8>),
    Data(Box<Data>, Vec<(Box<str>, Vec<u8>)>),
}

/// Ranges of UIDs are opened up to so many numbers.
const MOST_FOUND: usize = 2_000_000;

impl Response {
    /// Understands a response; none when it breaks the grammar.
    pub(super) fn parse(pieces: &[Piece], quote: &dyn Fn(&[u8]) -> Quote) -> Option<Self> {
        let mut cursor = Cursor::new(pieces);
        let line = cursor.line();
        let first = cursor.word();
        if first == b"+" {
            return Some(Self::Continue(cursor.line().to_vec()));
        }
        if first != b"*" {
            let is_tag = !first.is_empty() && first.iter().all(u8::is_ascii_graphic);
            let status = status(cursor.line(), line, quote)?;
            let ends = matches!(status.kind, Kind::Ok | Kind::No | Kind::Bad);
            return (is_tag && ends).then(|| Self::Tagged(first.to_vec(), status));
        }
        if let Some(status) = status(cursor.line(), line, quote) {
            return Some(Self::Status(status));
        }
        let word = cursor.word().to_ascii_uppercase();
        if word.is_empty() {
            return None;
        }
        if word == b"CAPABILITY" {
            return Some(Self::Capability(cursor.line().to_vec()));
        }
        let (data, inline) = data(&word, &mut cursor)?;
        Some(Self::Data(Box::new(data), inline))
    }
}

fn status(text: &[u8], line: &[u8], quote: &dyn Fn(&[u8]) -> Quote) -> Option<Status> {
    let end = text.iter().position(|it| *it == b' ').unwrap_or(text.len());
    let (word, rest) = text.split_at_checked(end)?;
    let kind = match word.to_ascii_uppercase().as_slice() {
        b"OK" => Kind::Ok,
        b"NO" => Kind::No,
        b"BAD" => Kind::Bad,
        b"PREAUTH" => Kind::PreAuth,
        b"BYE" => Kind::Bye,
        _ => return None,
    };
    let rest = rest.strip_prefix(b" ").unwrap_or(rest);
    let (code, shown) = match rest.strip_prefix(b"[") {
        Some(inner) => {
            let close = inner.iter().position(|it| *it == b']')?;
            let code = String::from_utf8_lossy(inner.get(..close)?);
            let (name, argument) = code
                .split_once(' ')
                .map_or((&*code, None), |it| (it.0, Some(it.1)));
            let mut code = name.to_ascii_uppercase();
            if let Some(argument) = argument {
                code.push(' ');
                code.push_str(argument);
            }
            (
                Some(code.into()),
                inner.get(close + 1..)?.trim_ascii_start(),
            )
        }
        None => (None, rest),
    };
    Some(Status {
        kind,
        code,
        text: quote(shown),
        line: line.to_vec(),
    })
}

type Inline = Vec<(Box<str>, Vec<u8>)>;

fn data(word: &[u8], cursor: &mut Cursor<'_>) -> Option<(Data, Inline)> {
    if let Some(number) = Value::Atom(word.to_vec()).number::<u32>() {
        let name = cursor.word().to_ascii_uppercase();
        return match name.as_slice() {
            b"EXISTS" => Some((Data::Exists(number), Vec::new())),
            b"EXPUNGE" => Some((Data::Expunged(number), Vec::new())),
            b"FETCH" => fetched(number, cursor),
            _ => other(word, cursor),
        };
    }
    let data = match word {
        b"LIST" | b"LSUB" => listed(cursor)?,
        b"FLAGS" => Data::Flags(cursor.value()?.words()?),
        b"SEARCH" => {
            // A list at the end gives the modification sequence (RFC 7162); it is passed over.
            let values = cursor.values()?;
            let numbers = values.iter().filter(|it| it.members().is_none());
            Data::Found(numbers.map(Value::number).collect::<Option<_>>()?)
        }
        b"ESEARCH" => extended(cursor)?,
        b"STATUS" => counts(cursor)?,
        b"VANISHED" => {
            let values = cursor.values()?;
            let set = values.last()?.octets()?;
            let earlier = values.len() > 1;
            Data::Vanished(String::from_utf8_lossy(set).into(), earlier)
        }
        _ => return other(word, cursor),
    };
    Some((data, Vec::new()))
}

fn other(word: &[u8], cursor: &mut Cursor<'_>) -> Option<(Data, Inline)> {
    let mut values = vec![Value::Atom(word.to_vec())];
    values.extend(cursor.values()?);
    Some((Data::Other(values), Vec::new()))
}

fn fetched(sequence: u32, cursor: &mut Cursor<'_>) -> Option<(Data, Inline)> {
    let list = cursor.value()?;
    let mut fetched = Fetched {
        sequence,
        uid: None,
        flags: None,
        size: None,
        date: None,
        sections: Vec::new(),
        other: Vec::new(),
    };
    let mut inline = Vec::new();
    let mut members = list.members()?.iter();
    while let Some(name) = members.next() {
        let name: Box<str> = String::from_utf8_lossy(name.octets()?)
            .to_uppercase()
            .into();
        let value = members.next()?;
        match &*name {
            "UID" => fetched.uid = Some(value.number()?),
            "FLAGS" => fetched.flags = Some(value.words()?),
            "RFC822.SIZE" => fetched.size = Some(value.number()?),
            "INTERNALDATE" => fetched.date = Some(String::from_utf8_lossy(value.octets()?).into()),
            it if it.starts_with("BODY[")
                || it.starts_with("BINARY[")
                || it.starts_with("RFC822") =>
            {
                match value {
                    Value::Streamed(_) => {}
                    // There is no such content: not the same as content of no octets, which may be stored and removed.
                    value if value.is_nil() => {
                        fetched.other.push((name, value.clone()));
                        continue;
                    }
                    value => inline.push((name.clone(), value.octets()?.to_vec())),
                }
                fetched.sections.push(name);
            }
            _ => fetched.other.push((name, value.clone())),
        }
    }
    Some((Data::Fetched(fetched), inline))
}

fn listed(cursor: &mut Cursor<'_>) -> Option<Data> {
    let attributes = cursor.value()?.words()?;
    let delimiter = cursor.value()?;
    let name = cursor.value()?;
    let delimiter = match delimiter.octets()? {
        _ if delimiter.is_nil() => None,
        octets => std::str::from_utf8(octets).ok()?.chars().next(),
    };
    Some(Data::Listed(Listed {
        attributes,
        delimiter,
        name: mailbox(name.octets()?),
    }))
}

/// A mailbox's name: UTF-8 or its older encoding; what is neither is kept readable.
pub(super) fn mailbox(octets: &[u8]) -> Box<str> {
    mutf7::decode(octets).map_or_else(|_| String::from_utf8_lossy(octets).into(), Into::into)
}

fn counts(cursor: &mut Cursor<'_>) -> Option<Data> {
    let name = mailbox(cursor.value()?.octets()?);
    let list = cursor.value()?;
    let mut counts = Vec::new();
    let mut members = list.members()?.iter();
    while let Some(name) = members.next() {
        let name = String::from_utf8_lossy(name.octets()?).to_uppercase();
        counts.push((name.into(), members.next()?.number()?));
    }
    Some(Data::Counts(name, counts))
}

/// RFC 4731 3.1: `* ESEARCH (TAG "a") UID ALL 4:18,21`.
fn extended(cursor: &mut Cursor<'_>) -> Option<Data> {
    let values = cursor.values()?;
    let mut found = Vec::new();
    let mut values = values.iter().filter(|it| it.members().is_none());
    while let Some(name) = values.next() {
        let name = name.octets()?.to_ascii_uppercase();
        if name == b"UID" {
            continue;
        }
        let value = values.next()?;
        if name == b"ALL" {
            found = open_set(value.octets()?)?;
        }
    }
    Some(Data::Found(found))
}

/// The numbers of a set such as `1:3,7`.
fn open_set(set: &[u8]) -> Option<Vec<u32>> {
    let mut numbers = Vec::new();
    for range in std::str::from_utf8(set).ok()?.split(',') {
        let (first, last) = range.split_once(':').unwrap_or((range, range));
        let (first, last): (u32, u32) = (first.parse().ok()?, last.parse().ok()?);
        let (first, last) = (first.min(last), first.max(last));
        let length = usize::try_from(last - first).ok()?;
        if numbers.len() + length >= MOST_FOUND {
            return None;
        }
        numbers.extend(first..=last);
    }
    Some(numbers)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Option<Response> {
        Response::parse(&[Piece::Text(text.into())], &|it| Quote::new(it, true))
    }

    fn data(text: &str) -> Data {
        match parse(text) {
            Some(Response::Data(data, _)) => *data,
            other => panic!("{text}: {other:?}"),
        }
    }

    #[test]
    fn status_responses_and_their_codes() {
        let Some(Response::Tagged(tag, status)) = parse("abc OK [uidvalidity 7] done") else {
            panic!();
        };
        assert_eq!((tag.as_slice(), status.kind), (&b"abc"[..], Kind::Ok));
        assert_eq!(status.code_argument("UIDVALIDITY"), Some("7"));
        assert_eq!(status.text.text(), "done");
        assert!(matches!(parse("* BYE"), Some(Response::Status(it)) if it.kind == Kind::Bye));
        for broken in [
            "",
            "abc",
            "abc PREAUTH x",
            "* ",
            "abc OK [X y",
            "* 1 FETCH",
            "* FLAGS x",
        ] {
            assert_eq!(parse(broken), None, "{broken}");
        }
    }

    #[test]
    fn a_message_and_its_parts() {
        let text = r#"* 3 FETCH (UID 9 FLAGS (\Seen) RFC822.SIZE 44 INTERNALDATE "1-Jan-2026" body[TEXT] "hi" X-GM 7)"#;
        let Some(Response::Data(data, inline)) = parse(text) else {
            panic!();
        };
        let Data::Fetched(fetched) = *data else {
            panic!();
        };
        assert_eq!((fetched.uid, fetched.size), (Some(9), Some(44)));
        assert_eq!(fetched.sections, ["BODY[TEXT]".into()]);
        assert_eq!(inline, [("BODY[TEXT]".into(), b"hi".to_vec())]);
        assert_eq!(fetched.other.len(), 1);
    }

    #[test]
    fn a_part_that_is_not_there_is_not_an_empty_part() {
        let parts = |text: &str| match parse(text) {
            Some(Response::Data(data, inline)) => match *data {
                Data::Fetched(it) => (inline, it.sections, it.other.len()),
                other => panic!("{other:?}"),
            },
            other => panic!("{other:?}"),
        };
        let nothing = parts("* 3 FETCH (UID 9 BODY[] NIL)");
        assert_eq!(nothing, (vec![], vec![], 1));
        let empty = parts("* 3 FETCH (UID 9 BODY[] \"\")");
        assert_eq!(
            empty,
            (vec![("BODY[]".into(), vec![])], vec!["BODY[]".into()], 0)
        );
    }

    #[test]
    fn searches_old_and_new() {
        assert_eq!(data("* SEARCH 2 84 882"), Data::Found(vec![2, 84, 882]));
        assert_eq!(data("* SEARCH"), Data::Found(vec![]));
        assert_eq!(data("* SEARCH 5 (MODSEQ 7)"), Data::Found(vec![5]));
        assert_eq!(
            data("* ESEARCH (TAG \"a\") UID COUNT 3 ALL 4:5,9"),
            Data::Found(vec![4, 5, 9])
        );
        assert_eq!(data("* ESEARCH (TAG \"a\") UID"), Data::Found(vec![]));
        assert_eq!(parse("* ESEARCH (TAG \"a\") UID ALL 1:4294967295"), None);
    }

    #[test]
    fn mailboxes() {
        let Data::Listed(listed) = data(r#"* LIST (\HasNoChildren) "/" "Entw&APw-rfe""#) else {
            panic!();
        };
        assert_eq!((&*listed.name, listed.delimiter), ("Entwürfe", Some('/')));
        assert!(matches!(data("* LIST () NIL INBOX"), Data::Listed(it) if it.delimiter.is_none()));
        let expected = Data::Counts("INBOX".into(), vec![("MESSAGES".into(), 3)]);
        assert_eq!(data("* STATUS INBOX (MESSAGES 3)"), expected);
    }
}
