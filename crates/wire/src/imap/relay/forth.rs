//! The client's words on their way to the upstream: commands by line, literals by count.

use memchr::memchr;

use super::tail::{Tail, announced, check_line_end};
use super::{Relay, split};
use crate::session::Why;

/// The longest beginning of a command (its tag and name) that is waited for.
const LONGEST_HEAD: usize = 2048;

/// What a refused command is turned into.
const REFUSED: &[u8] = b"XREFUSED";

/// Commands that do not get through: they would change what the connection is, or who uses it.
pub(super) const NOT_CARRIED: [&[u8]; 7] = [
    b"STARTTLS",
    b"COMPRESS",
    b"LOGIN",
    b"AUTHENTICATE",
    b"UNAUTHENTICATE",
    b"XCLIENT",
    b"XFORWARD",
];

/// Where the client's words stand.
#[derive(Debug)]
pub(super) enum Forth {
    /// At the beginning of a command; what there is of it.
    Head(Vec<u8>),
    /// In a line. `refused`: nothing of it goes on.
    Line {
        tail: Tail,
        refused: bool,
        tag: Box<[u8]>,
    },
    /// In a literal.
    Literal {
        left: u64,
        refused: bool,
        tag: Box<[u8]>,
    },
    /// Behind the announcement of a literal that must wait.
    Asked { octets: u64, tag: Box<[u8]> },
}

impl Default for Forth {
    fn default() -> Self {
        Self::Head(Vec::new())
    }
}

impl Relay {
    /// Takes from the client's words what belongs to the state; returns what is left.
    pub(super) fn step_forth<'a>(
        &mut self,
        bytes: &'a [u8],
        out: &mut Vec<u8>,
    ) -> Result<&'a [u8], Why> {
        match std::mem::take(&mut self.forth) {
            Forth::Head(head) => self.forth_head(head, bytes, out),
            Forth::Line { tail, refused, tag } => self.forth_line(tail, refused, tag, bytes, out),
            Forth::Literal { left, refused, tag } => {
                let (now, rest) = split(bytes, left);
                if !refused {
                    out.extend_from_slice(now);
                }
                let left = left - now.len() as u64;
                self.forth = if left > 0 {
                    Forth::Literal { left, refused, tag }
                } else {
                    let tail = Tail::default();
                    Forth::Line { tail, refused, tag }
                };
                Ok(rest)
            }
            // Neither leave nor an answer has been seen.
            Forth::Asked { .. } => Err(Why::OutOfSync),
        }
    }

    fn forth_head<'a>(
        &mut self,
        mut head: Vec<u8>,
        bytes: &'a [u8],
        out: &mut Vec<u8>,
    ) -> Result<&'a [u8], Why> {
        let is_end = |it: &u8| matches!(it, b' ' | b'\r' | b'\n');
        let Some(at) = bytes.iter().position(is_end) else {
            head.extend_from_slice(bytes);
            if head.len() > LONGEST_HEAD {
                return Err(Why::LimitExceeded);
            }
            self.forth = Forth::Head(head);
            return Ok(&[]);
        };
        let rest = bytes.get(at..).unwrap_or_default();
        head.extend_from_slice(bytes.get(..at).unwrap_or_default());
        if head.len() > LONGEST_HEAD {
            return Err(Why::LimitExceeded);
        }
        let has_tag = head.contains(&b' ');
        if rest.first() == Some(&b' ') && !has_tag {
            head.push(b' ');
            self.forth = Forth::Head(head);
            return Ok(rest.get(1..).unwrap_or_default());
        }
        let (tag, verb) = match head.iter().position(|it| *it == b' ') {
            Some(space) => head.split_at(space),
            None => (&head[..], &[][..]),
        };
        let verb = verb.get(1..).unwrap_or_default();
        let refused = NOT_CARRIED.iter().any(|it| it.eq_ignore_ascii_case(verb));
        let tag: Box<[u8]> = tag.into();
        self.leaving |= verb.eq_ignore_ascii_case(b"LOGOUT");
        if refused {
            out.extend_from_slice(&tag);
            out.push(b' ');
            out.extend_from_slice(REFUSED);
        } else {
            out.extend_from_slice(&head);
        }
        let tail = Tail::default();
        self.forth = Forth::Line { tail, refused, tag };
        Ok(rest)
    }

    fn forth_line<'a>(
        &mut self,
        mut tail: Tail,
        refused: bool,
        tag: Box<[u8]>,
        bytes: &'a [u8],
        out: &mut Vec<u8>,
    ) -> Result<&'a [u8], Why> {
        let end = memchr(b'\n', bytes);
        let line = bytes.get(..end.unwrap_or(bytes.len())).unwrap_or_default();
        check_line_end(tail, line, end.is_some())?;
        tail.push(line);
        let Some(end) = end else {
            if !refused {
                out.extend_from_slice(line);
            }
            self.forth = Forth::Line { tail, refused, tag };
            return Ok(&[]);
        };
        let rest = bytes.get(end + 1..).unwrap_or_default();
        let ended = tail.bytes().strip_suffix(b"\r").unwrap_or_default();
        let literal = announced(ended);
        if !refused {
            out.extend_from_slice(line);
            out.push(b'\n');
        }
        self.forth = match literal {
            Some((left, false)) => Forth::Literal { left, refused, tag },
            Some((octets, true)) if !refused => {
                self.waiting = Some(tag.clone());
                Forth::Asked { octets, tag }
            }
            // The refusal is the answer; a literal that waits for leave never comes.
            _ => {
                if refused {
                    out.extend_from_slice(b"\r\n");
                }
                Forth::default()
            }
        };
        Ok(rest)
    }

    /// The upstream has given leave for the literal.
    pub(super) fn go_ahead(&mut self) {
        if let Forth::Asked { octets, tag } = std::mem::take(&mut self.forth) {
            self.waiting = None;
            self.forth = Forth::Literal {
                left: octets,
                refused: false,
                tag,
            };
        }
    }

    /// The upstream has answered the command instead: the literal never comes.
    pub(super) fn answered(&mut self, tag: &[u8]) {
        if self.waiting.as_deref() == Some(tag) {
            self.waiting = None;
            self.forth = Forth::default();
        }
    }
}
