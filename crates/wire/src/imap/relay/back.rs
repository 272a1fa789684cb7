//! The upstream's words on their way to the client: lines of capabilities are seen whole, everything else passes as it comes.

use memchr::memchr;

use super::line::{Line, LineKind};
use super::tail::{Tail, announced};
use super::{Relay, split};
use crate::session::Why;

/// The longest beginning of a response that is kept to see what it is.
const GLANCE: usize = 512;

/// The longest line of capabilities.
const LONGEST_CAPABILITIES: usize = 16 * 1024;

/// Where the upstream's words stand.
#[derive(Debug)]
pub(super) enum Back {
    Head(Vec<u8>),
    /// `literals`: whether the line may end in the announcement of one.
    Line {
        tail: Tail,
        literals: bool,
    },
    Literal(u64),
}

impl Default for Back {
    fn default() -> Self {
        Self::Head(Vec::new())
    }
}

impl Relay {
    pub(super) fn step_back<'a>(
        &mut self,
        bytes: &'a [u8],
        out: &mut Vec<u8>,
    ) -> Result<&'a [u8], Why> {
        match std::mem::take(&mut self.back) {
            Back::Head(head) => self.back_head(head, bytes, out),
            Back::Line { mut tail, literals } => {
                let end = memchr(b'\n', bytes).map_or(bytes.len(), |at| at + 1);
                let line = bytes.get(..end).unwrap_or_default();
                out.extend_from_slice(line);
                tail.push(line);
                self.back = if line.ends_with(b"\n") {
                    behind(tail.bytes(), literals)
                } else {
                    Back::Line { tail, literals }
                };
                Ok(bytes.get(end..).unwrap_or_default())
            }
            Back::Literal(left) => {
                let (now, rest) = split(bytes, left);
                out.extend_from_slice(now);
                let left = left - now.len() as u64;
                self.back = if left > 0 {
                    Back::Literal(left)
                } else {
                    let tail = Tail::default();
                    Back::Line {
                        tail,
                        literals: true,
                    }
                };
                Ok(rest)
            }
        }
    }

    fn back_head<'a>(
        &mut self,
        mut head: Vec<u8>,
        bytes: &'a [u8],
        out: &mut Vec<u8>,
    ) -> Result<&'a [u8], Why> {
        let end = memchr(b'\n', bytes).map_or(bytes.len(), |at| at + 1);
        head.extend_from_slice(bytes.get(..end).unwrap_or_default());
        let rest = bytes.get(end..).unwrap_or_default();
        if !head.ends_with(b"\n") {
            let line = Line::of(&head);
            if head.len() <= GLANCE || line.has_capabilities() {
                if head.len() > LONGEST_CAPABILITIES {
                    return Err(Why::LimitExceeded);
                }
                self.back = Back::Head(head);
                return Ok(rest);
            }
            let mut tail = Tail::default();
            tail.push(&head);
            let literals = line.may_have_literals();
            out.append(&mut head);
            self.back = Back::Line { tail, literals };
            return Ok(rest);
        }
        let line = Line::of(&head);
        match line.kind {
            LineKind::Continuation => self.go_ahead(),
            LineKind::Tagged(tag) => self.answered(tag),
            _ => {}
        }
        line.write(out);
        let mut tail = Tail::default();
        tail.push(&head);
        self.back = behind(tail.bytes(), Line::of(&head).may_have_literals());
        Ok(rest)
    }
}

/// What follows a line that ends so.
fn behind(line: &[u8], literals: bool) -> Back {
    let line = line.strip_suffix(b"\n").unwrap_or(line);
    let line = line.strip_suffix(b"\r").unwrap_or(line);
    match announced(line) {
        Some((octets, _)) if literals => Back::Literal(octets),
        _ => Back::default(),
    }
}
