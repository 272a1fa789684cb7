//! What an IMAP server says, taken apart as far as the model asks.

use std::collections::BTreeSet;

/// The flags of a message.
pub(crate) type Flags = BTreeSet<String>;

/// All that was said to one command.
#[derive(Debug)]
pub(crate) struct Said {
    pub(crate) untagged: Vec<Response>,
    pub(crate) ok: bool,
    /// Behind the tag.
    pub(crate) tagged: String,
}

#[derive(Debug)]
pub(crate) enum Response {
    Exists(usize),
    Expunge(usize),
    Vanished { earlier: bool, uids: Vec<u32> },
    Fetch(usize, Row),
    Search(Vec<u32>),
    Other(String),
}

/// One FETCH response.
#[derive(Debug, Default, Clone)]
pub(crate) struct Row {
    pub(crate) uid: Option<u32>,
    pub(crate) flags: Option<Flags>,
    pub(crate) modseq: Option<u64>,
    pub(crate) size: Option<usize>,
    pub(crate) date: Option<String>,
    pub(crate) body: Option<String>,
}

impl Said {
    /// The number behind a response code, in any line.
    pub(crate) fn code(&self, name: &str) -> Option<u64> {
        let words = self.code_words(name)?;
        words.first()?.parse().ok()
    }

    /// The words behind a response code, in any line.
    pub(crate) fn code_words(&self, name: &str) -> Option<Vec<String>> {
        let lines = self.untagged.iter().filter_map(|response| match response {
            Response::Other(line) => Some(line),
            _ => None,
        });
        lines.chain([&self.tagged]).find_map(|line| {
            let inside = line.split_once(&format!("[{name} "))?.1.split(']').next()?;
            Some(inside.split(' ').map(str::to_owned).collect())
        })
    }

    /// Where each copied message went.
    pub(crate) fn copied(&self) -> Result<Vec<(u32, u32)>, String> {
        let Some(words) = self.code_words("COPYUID") else {
            return Ok(Vec::new());
        };
        let sets = (words.get(1), words.get(2));
        let (Some(from), Some(to)) = sets else {
            return Err(format!("a COPYUID of {words:?}"));
        };
        let (from, to) = (expand(from)?, expand(to)?);
        if from.len() != to.len() {
            return Err(format!("a COPYUID of unlike lengths: {words:?}"));
        }
        Ok(from.into_iter().zip(to).collect())
    }
}

/// The numbers of a set, in its order.
pub(crate) fn expand(set: &str) -> Result<Vec<u32>, String> {
    let mut all = Vec::new();
    for part in set.split(',') {
        let (first, last) = part.split_once(':').unwrap_or((part, part));
        let number = |text: &str| text.parse::<u32>().map_err(|_| format!("the set {set:?}"));
        let (first, last) = (number(first)?, number(last)?);
        all.extend(first.min(last)..=first.max(last));
    }
    Ok(all)
}

/// Takes apart what was said up to the tagged line, behind which nothing may stand.
pub(crate) fn parse(octets: &[u8], tag: &str) -> Result<Said, String> {
    let text = std::str::from_utf8(octets).map_err(|_| "not UTF-8".to_owned())?;
    let mut rest = text;
    let mut untagged = Vec::new();
    while !rest.is_empty() {
        let line = cut_line(&mut rest)?;
        if let Some(untag) = line.strip_prefix("* ") {
            untagged.push(response(untag)?);
        } else if let Some(tagged) = line.strip_prefix(tag) {
            let tagged = tagged.trim_start().to_owned();
            if !rest.is_empty() {
                return Err("something behind the tagged line".to_owned());
            }
            let ok = tagged.starts_with("OK");
            if tagged.starts_with("BAD") {
                return Err(format!("BAD: {tagged}"));
            }
            return Ok(Said {
                untagged,
                ok,
                tagged,
            });
        } else if !line.starts_with('+') {
            return Err(format!("the line {line:?}"));
        }
    }
    Err("no tagged line".to_owned())
}

/// One line, with the literals in it, without its end.
fn cut_line<'a>(rest: &mut &'a str) -> Result<&'a str, String> {
    let mut from = 0;
    loop {
        let end = rest[from..].find("\r\n").ok_or("a line without an end")? + from;
        let head = &rest[..end];
        let literal = head
            .strip_suffix('}')
            .and_then(|head| head.rsplit_once('{'))
            .and_then(|(_, size)| size.parse::<usize>().ok());
        let Some(size) = literal else {
            *rest = &rest[end + 2..];
            return Ok(head);
        };
        from = end + 2 + size;
        if from > rest.len() {
            return Err("a literal cut off".to_owned());
        }
    }
}

fn response(line: &str) -> Result<Response, String> {
    let mut words = line.splitn(3, ' ');
    let (first, second) = (words.next().unwrap_or(""), words.next().unwrap_or(""));
    if let Ok(number) = first.parse::<usize>() {
        return match second {
            "EXISTS" => Ok(Response::Exists(number)),
            "EXPUNGE" => Ok(Response::Expunge(number)),
            "FETCH" => Ok(Response::Fetch(number, row(words.next().unwrap_or(""))?)),
            _ => Ok(Response::Other(line.to_owned())),
        };
    }
    match first {
        "VANISHED" => {
            let earlier = second == "(EARLIER)";
            let set = if earlier {
                words.next().unwrap_or("")
            } else {
                second
            };
            let uids = expand(set)?;
            Ok(Response::Vanished { earlier, uids })
        }
        "SEARCH" => {
            let numbers = line["SEARCH".len()..].split("(MODSEQ").next().unwrap_or("");
            let numbers: Result<Vec<u32>, _> = numbers.split_whitespace().map(str::parse).collect();
            numbers
                .map(Response::Search)
                .map_err(|_| format!("the line {line:?}"))
        }
        _ => Ok(Response::Other(line.to_owned())),
    }
}

/// The items of a FETCH response, those that were asked for.
fn row(text: &str) -> Result<Row, String> {
    let wrong = || format!("the row {text:?}");
    let mut rest = text
        .strip_prefix('(')
        .and_then(|text| text.strip_suffix(')'))
        .ok_or_else(wrong)?;
    let mut row = Row::default();
    while !rest.is_empty() {
        let (name, behind) = rest.split_once(' ').ok_or_else(wrong)?;
        let (value, behind) = value(behind).ok_or_else(wrong)?;
        match name {
            "UID" => row.uid = Some(value.parse().map_err(|_| wrong())?),
            "MODSEQ" => row.modseq = Some(value.parse().map_err(|_| wrong())?),
            "RFC822.SIZE" => row.size = Some(value.parse().map_err(|_| wrong())?),
            "INTERNALDATE" => row.date = Some(value.to_owned()),
            "BODY[]" => row.body = Some(value.to_owned()),
            "FLAGS" => {
                let flags: Vec<_> = value.split_whitespace().map(str::to_owned).collect();
                let set: Flags = flags.iter().cloned().collect();
                if set.len() != flags.len() {
                    return Err(format!("a flag twice: {flags:?}"));
                }
                row.flags = Some(set);
            }
            _ => return Err(wrong()),
        }
        rest = behind.strip_prefix(' ').unwrap_or(behind);
    }
    Ok(row)
}

/// A number, a quoted string, a literal or a flat list, and what stands behind it.
fn value(text: &str) -> Option<(&str, &str)> {
    if let Some(list) = text.strip_prefix('(') {
        return list.split_once(')');
    }
    if let Some(quoted) = text.strip_prefix('"') {
        return quoted.split_once('"');
    }
    if let Some(literal) = text.strip_prefix('{') {
        let (size, behind) = literal.split_once("}\r\n")?;
        return behind.split_at_checked(size.parse().ok()?);
    }
    Some(text.split_at(text.find(' ').unwrap_or(text.len())))
}
