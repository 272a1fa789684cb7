//! A line of the upstream: an answer, a status, leave for a literal or data, and the list of capabilities it may hold.

use memchr::memchr;

use super::carried;

/// A line of the upstream, or its beginning.
pub(super) struct Line<'a> {
    bytes: &'a [u8],
    pub(super) kind: LineKind<'a>,
    /// Where the words of a list of capabilities begin.
    list: Option<usize>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum LineKind<'a> {
    Continuation,
    /// `OK`, `NO` or `BAD` with a tag.
    Tagged(&'a [u8]),
    /// An untagged status: its text announces nothing.
    Status,
    Data,
}

impl<'a> Line<'a> {
    pub(super) fn of(bytes: &'a [u8]) -> Self {
        let data = Self {
            bytes,
            kind: LineKind::Data,
            list: None,
        };
        if bytes.first() == Some(&b'+') {
            return Self {
                kind: LineKind::Continuation,
                ..data
            };
        }
        let Some(space) = memchr(b' ', bytes) else {
            return data;
        };
        let (tag, rest) = bytes.split_at(space);
        let rest = rest.get(1..).unwrap_or_default();
        let length = rest
            .iter()
            .position(|it| matches!(it, b' ' | b'\r' | b'\n'))
            .unwrap_or(rest.len());
        let word = rest.get(..length).unwrap_or_default().to_ascii_uppercase();
        let begins = space + 1 + length;
        match word.as_slice() {
            b"CAPABILITY" if tag == b"*" => Self {
                list: Some(begins),
                ..data
            },
            b"OK" | b"NO" | b"BAD" | b"BYE" | b"PREAUTH" => {
                let code = b" [CAPABILITY ";
                let behind = bytes.get(begins..).unwrap_or_default();
                let has_code = behind
                    .get(..code.len())
                    .is_some_and(|it| it.eq_ignore_ascii_case(code));
                Self {
                    kind: if tag == b"*" {
                        LineKind::Status
                    } else {
                        LineKind::Tagged(tag)
                    },
                    list: has_code.then_some(begins + code.len() - 1),
                    ..data
                }
            }
            _ => data,
        }
    }

    pub(super) fn has_capabilities(&self) -> bool {
        self.list.is_some()
    }

    pub(super) fn may_have_literals(&self) -> bool {
        self.kind == LineKind::Data && self.list.is_none()
    }

    /// Writes the line, with a list of capabilities cut down to what is carried [GW-01].
    pub(super) fn write(&self, out: &mut Vec<u8>) {
        let Some(list) = self.list else {
            out.extend_from_slice(self.bytes);
            return;
        };
        let (before, behind) = self
            .bytes
            .split_at_checked(list)
            .unwrap_or((self.bytes, &[]));
        let stop = behind
            .iter()
            .position(|it| matches!(it, b']' | b'\r' | b'\n'))
            .unwrap_or(behind.len());
        let (words, rest) = behind.split_at_checked(stop).unwrap_or((behind, &[]));
        out.extend_from_slice(before);
        out.push(b' ');
        out.extend_from_slice(carried(&String::from_utf8_lossy(words)).as_bytes());
        out.extend_from_slice(rest);
    }
}
