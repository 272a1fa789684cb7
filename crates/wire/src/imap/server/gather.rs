//! Gathers one complete command from the bytes received: its lines, and the literals between them (RFC 9051 4.3).
//!
//! A line that ends in `{n}` or `{n+}` announces a literal. Whether it is wanted is the session's to decide: it is kept
//! ([`Gather::accept`]), left to be streamed ([`Gather::stream`]), or the whole command is dropped unread
//! ([`Gather::drop_command`]). Memory is bounded by the limits: whatever goes over one ends the connection, because after it
//! nobody knows where the next command begins.

use super::Limits;
use crate::inbox::{Inbox, Line};

/// The announcement of a literal at the end of a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Announced {
    /// Its length in octets.
    pub length: u64,
    /// Whether the client waits for `+` before it sends it.
    pub waits: bool,
}

/// What [`Gather::step`] came to.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Got {
    /// More bytes are needed.
    Incomplete,
    /// A command, with its CRLF and its literals.
    Command(Vec<u8>),
    /// A literal is announced at the end of [`Gather::text`].
    Literal(Announced),
    /// The command that was to be dropped is over: its reply may be sent.
    Dropped,
    /// A limit was passed.
    TooLong,
}

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum Mode {
    #[default]
    Line,
    Literal(u64),
    Decide,
    DropLine,
    DropLiteral(u64),
}

/// The command being gathered.
#[derive(Debug, Default)]
pub(super) struct Gather {
    text: Vec<u8>,
    literals: u64,
    /// How many literals were accepted.
    accepted: usize,
    mode: Mode,
}

impl Gather {
    /// Whether no command is begun.
    pub(super) fn is_idle(&self) -> bool {
        self.mode == Mode::Line && self.text.is_empty()
    }

    /// The command so far, up to and including the announcement of the literal and its CRLF.
    pub(super) fn text(&self) -> &[u8] {
        &self.text
    }

    /// How many literals of the command were accepted so far.
    pub(super) fn accepted(&self) -> usize {
        self.accepted
    }

    /// Goes on until something has to be decided.
    pub(super) fn step(&mut self, inbox: &mut Inbox, limits: &Limits) -> Got {
        loop {
            let got = match self.mode {
                Mode::Line => Some(self.line(inbox, limits)),
                Mode::Literal(left) => self.literal(inbox, left),
                Mode::DropLine => self.dropped_line(inbox, limits),
                Mode::DropLiteral(left) => self.dropped_literal(inbox, left),
                Mode::Decide => Some(Got::TooLong),
            };
            if let Some(got) = got {
                return got;
            }
        }
    }

    fn line(&mut self, inbox: &mut Inbox, limits: &Limits) -> Got {
        let kept = self
            .text
            .len()
            .saturating_sub(usize::try_from(self.literals).unwrap_or(usize::MAX));
        let line = match inbox.line(limits.line.saturating_sub(kept)) {
            Line::Complete(line) => line,
            Line::Incomplete => return Got::Incomplete,
            Line::TooLong => return Got::TooLong,
        };
        let announced = announcement(&line);
        if self.text.is_empty() {
            self.text = line;
        } else {
            self.text.extend_from_slice(&line);
        }
        self.text.extend_from_slice(b"\r\n");
        if let Some(announced) = announced {
            self.mode = Mode::Decide;
            return Got::Literal(announced);
        }
        Got::Command(std::mem::take(self).text)
    }

    fn literal(&mut self, inbox: &mut Inbox, left: u64) -> Option<Got> {
        let take = inbox.len().min(usize::try_from(left).unwrap_or(usize::MAX));
        self.text
            .extend_from_slice(inbox.waiting().get(..take).unwrap_or_default());
        inbox.consume(take);
        self.mode = match left - take as u64 {
            0 => Mode::Line,
            more => Mode::Literal(more),
        };
        (self.mode != Mode::Line).then_some(Got::Incomplete)
    }

    fn dropped_literal(&mut self, inbox: &mut Inbox, left: u64) -> Option<Got> {
        let take = inbox.len().min(usize::try_from(left).unwrap_or(usize::MAX));
        inbox.consume(take);
        self.mode = match left - take as u64 {
            0 => Mode::DropLine,
            more => Mode::DropLiteral(more),
        };
        (self.mode != Mode::DropLine).then_some(Got::Incomplete)
    }

    fn dropped_line(&mut self, inbox: &mut Inbox, limits: &Limits) -> Option<Got> {
        let line = match inbox.line(limits.line) {
            Line::Complete(line) => line,
            Line::Incomplete => return Some(Got::Incomplete),
            Line::TooLong => return Some(Got::TooLong),
        };
        match announcement(&line) {
            Some(Announced {
                length,
                waits: false,
            }) if self.literals + length > limits.dropped => Some(Got::TooLong),
            Some(Announced {
                length,
                waits: false,
            }) => {
                self.literals += length;
                self.mode = Mode::DropLiteral(length);
                None
            }
            // A client that waits for `+` takes the tagged reply as the answer.
            Some(_) | None => {
                *self = Self::default();
                Some(Got::Dropped)
            }
        }
    }

    /// The literal announced is wanted. False when it goes over the limit for all literals of a command.
    pub(super) fn accept(&mut self, announced: Announced, limit: u64) -> bool {
        let fits = self.literals.saturating_add(announced.length) <= limit;
        if fits {
            self.literals += announced.length;
            self.accepted += 1;
            self.mode = if announced.length == 0 {
                Mode::Line
            } else {
                Mode::Literal(announced.length)
            };
        }
        fits
    }

    /// The literal announced is streamed by somebody else; the command so far is forgotten.
    pub(super) fn stream(&mut self) {
        *self = Self::default();
    }

    /// Drops the rest of the command without looking at it. True when there is none: the client waits. Otherwise
    /// [`Got::Dropped`] comes when it is over.
    pub(super) fn drop_command(&mut self, announced: Announced, limits: &Limits) -> Dropping {
        let literals = self.literals;
        *self = Self::default();
        if announced.waits {
            return Dropping::Over;
        }
        if literals.saturating_add(announced.length) > limits.dropped {
            return Dropping::TooLong;
        }
        self.drop_literal(announced.length);
        Dropping::Begun
    }

    /// Drops this many octets of a literal, and then the rest of the command.
    pub(super) fn drop_literal(&mut self, left: u64) {
        *self = Self::default();
        self.mode = if left == 0 {
            Mode::DropLine
        } else {
            Mode::DropLiteral(left)
        };
    }
}

/// What became of a command to be dropped.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Dropping {
    /// Nothing more of it will come.
    Over,
    /// The rest is being dropped.
    Begun,
    /// It is too long to be worth reading.
    TooLong,
}

/// The literal announced at the end of a line, if any.
pub fn announcement(line: &[u8]) -> Option<Announced> {
    let inner = line.strip_suffix(b"}")?;
    let (inner, waits) = match inner.strip_suffix(b"+") {
        Some(inner) => (inner, false),
        None => (inner, true),
    };
    let at = inner.iter().rposition(|byte| *byte == b'{')?;
    let digits = inner.get(at + 1..)?;
    if digits.is_empty() || digits.len() > 18 {
        return None;
    }
    let mut length = 0_u64;
    for digit in digits {
        if !digit.is_ascii_digit() {
            return None;
        }
        length = length * 10 + u64::from(digit - b'0');
    }
    Some(Announced { length, waits })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn announcements() {
        let waits = |length| {
            Some(Announced {
                length,
                waits: true,
            })
        };
        assert_eq!(announcement(b"a LOGIN {5}"), waits(5));
        assert_eq!(announcement(b"a LOGIN ~{5}"), waits(5));
        assert_eq!(
            announcement(b"a LOGIN {5+}"),
            Some(Announced {
                length: 5,
                waits: false
            })
        );
        for none in [
            &b"{}"[..],
            b"{+}",
            b"{5",
            b"{-5}",
            b"{5++}",
            b"5}",
            b"{ 5}",
            b"{5} ",
            b"{1234567890123456789}",
        ] {
            assert_eq!(announcement(none), None, "{none:?}");
        }
    }

    #[test]
    fn a_command_with_literals_is_one_text() {
        let limits = Limits::default();
        let (mut gather, mut inbox) = (Gather::default(), Inbox::default());
        inbox.push(b"a LOGIN {2}\r\n");
        let Got::Literal(announced) = gather.step(&mut inbox, &limits) else {
            panic!()
        };
        assert!(gather.accept(announced, 100));
        inbox.push(b"m");
        assert_eq!(gather.step(&mut inbox, &limits), Got::Incomplete);
        inbox.push(b"e x\r\nnext");
        assert_eq!(
            gather.step(&mut inbox, &limits),
            Got::Command(b"a LOGIN {2}\r\nme x\r\n".to_vec())
        );
        assert!(gather.is_idle());
        assert_eq!(inbox.waiting(), b"next");
    }
}
