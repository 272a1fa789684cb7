//! Reading dialogue files.

use std::time::Duration;

/// One line of a dialogue.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Entry {
    /// Line number, from 1.
    pub(super) line: usize,
    pub(super) action: Action,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Action {
    Send(Vec<u8>),
    Expect(Vec<u8>),
    ExpectLike(String),
    Tls { leftover: Vec<u8> },
    OldTls,
    UpgradeRefused,
    Close(String),
    Wait(Duration),
    News,
    Shutdown,
    Eof { clean: bool },
}

/// Reads a whole dialogue. The error is a line number and what is wrong with the line.
pub(super) fn parse(text: &str) -> Result<Vec<Entry>, (usize, String)> {
    let mut entries = Vec::new();
    for (index, raw) in text.lines().enumerate() {
        let line = index + 1;
        if raw.trim().is_empty() || raw.starts_with('#') {
            continue;
        }
        let action = action(raw).map_err(|why| (line, why))?;
        entries.push(Entry { line, action });
    }
    Ok(entries)
}

fn action(raw: &str) -> Result<Action, String> {
    if let Some(inner) = raw.strip_prefix('<') {
        let inner = inner.trim_end().strip_suffix('>').ok_or("no closing `>`")?;
        return directive(inner);
    }
    let kind = raw.get(..2).unwrap_or(raw);
    let rest = raw.get(2..).unwrap_or_default();
    let rest = rest.strip_prefix(' ').unwrap_or(rest);
    match kind {
        "C:" => Ok(Action::Send(line_of(rest))),
        "C<" => Ok(Action::Send(unescape(rest)?)),
        "S:" => Ok(Action::Expect(line_of(rest))),
        "S<" => Ok(Action::Expect(unescape(rest)?)),
        "S~" => Ok(Action::ExpectLike(rest.to_owned())),
        _ => Err("not a dialogue line".to_owned()),
    }
}

fn directive(inner: &str) -> Result<Action, String> {
    let (word, rest) = inner.split_once(' ').unwrap_or((inner, ""));
    match (word, rest) {
        ("tls", leftover) => Ok(Action::Tls {
            leftover: unescape(leftover)?,
        }),
        ("tls1.2", "") => Ok(Action::OldTls),
        ("upgrade-refused", "") => Ok(Action::UpgradeRefused),
        ("close", label) if !label.is_empty() => Ok(Action::Close(label.to_owned())),
        ("wait", time) => duration(time).map(Action::Wait),
        ("news", "") => Ok(Action::News),
        ("shutdown", "") => Ok(Action::Shutdown),
        ("eof", "") => Ok(Action::Eof { clean: true }),
        ("broken", "") => Ok(Action::Eof { clean: false }),
        _ => Err("unknown directive".to_owned()),
    }
}

fn line_of(text: &str) -> Vec<u8> {
    [text.as_bytes(), b"\r\n"].concat()
}

fn duration(text: &str) -> Result<Duration, String> {
    let digits = text.trim_end_matches(|it: char| it.is_ascii_alphabetic());
    let count: u64 = digits.parse().map_err(|_| "not a time".to_owned())?;
    match &text[digits.len()..] {
        "ms" => Ok(Duration::from_millis(count)),
        "s" => Ok(Duration::from_secs(count)),
        "m" => Ok(Duration::from_secs(count * 60)),
        "h" => Ok(Duration::from_secs(count * 3600)),
        _ => Err("a time needs a unit: ms, s, m, h".to_owned()),
    }
}

fn unescape(text: &str) -> Result<Vec<u8>, String> {
    let mut octets = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('\\') {
        octets.extend_from_slice(before.as_bytes());
        let (octet, length) = match after.chars().next() {
            Some('r') => (b'\r', 1),
            Some('n') => (b'\n', 1),
            Some('t') => (b'\t', 1),
            Some('0') => (0, 1),
            Some('\\') => (b'\\', 1),
            Some('x') => (hexadecimal(after)?, 3),
            _ => return Err("unknown escape".to_owned()),
        };
        octets.push(octet);
        rest = &after[length..];
    }
    octets.extend_from_slice(rest.as_bytes());
    Ok(octets)
}

fn hexadecimal(after: &str) -> Result<u8, String> {
    let digits = after.get(1..3).ok_or("an escape `\\x` needs two digits")?;
    u8::from_str_radix(digits, 16).map_err(|_| "an escape `\\x` needs two digits".to_owned())
}

/// Whether the text is like the pattern.
pub(super) fn like(pattern: &str, text: &str) -> bool {
    let Some((head, rest)) = first_star(pattern) else {
        return unstar(pattern) == text;
    };
    let Some(mut text) = text.strip_prefix(unstar(head).as_str()) else {
        return false;
    };
    loop {
        if like(rest, text) {
            return true;
        }
        let Some(next) = text.chars().next() else {
            return false;
        };
        text = &text[next.len_utf8()..];
    }
}

/// Splits at the first `*` that is not escaped.
fn first_star(pattern: &str) -> Option<(&str, &str)> {
    let mut escaped = false;
    for (at, octet) in pattern.bytes().enumerate() {
        match octet {
            b'*' if !escaped => return Some((&pattern[..at], &pattern[at + 1..])),
            _ => escaped = octet == b'\\' && !escaped,
        }
    }
    None
}

fn unstar(text: &str) -> String {
    text.replace("\\*", "*")
}
