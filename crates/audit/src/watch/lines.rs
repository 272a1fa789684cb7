//! Lines in a stream that comes in pieces, with the place where each began.
//!
//! A line that lies within one piece is not copied. A line ends with LF; whether a CR stood before it is told, since programs differ in
//! what they take for a line end and the watcher must see what any of them would. Memory is bounded: of a longer line the first
//! octets are kept.

use super::notes::{At, Side};

/// The most octets kept of a line. The longest honest ones are answers in logins (RFC 4954 4: 12,288).
const LONGEST: usize = 16 * 1024;

/// A piece of one direction, taken from the front.
#[derive(Debug, Clone, Copy)]
pub struct Piece<'a> {
    /// What is left of it.
    pub octets: &'a [u8],
    /// Where its first octet stands.
    pub at: At,
}

impl<'a> Piece<'a> {
    /// Takes octets from the front.
    pub fn take(&mut self, count: usize) -> &'a [u8] {
        let count = count.min(self.octets.len());
        let (taken, rest) = self.octets.split_at(count);
        self.octets = rest;
        self.at.offset += count as u64;
        taken
    }

    /// Whether nothing is left.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.octets.is_empty()
    }
}

/// A complete line.
#[derive(Debug, Clone, Copy)]
pub struct Line<'a> {
    /// Without its end.
    pub octets: &'a [u8],
    /// Where it began.
    pub at: At,
    /// Its length, as far as that exceeds what was kept.
    pub length: usize,
    /// Whether it ended with CR and LF.
    pub has_cr: bool,
}

/// Collects the lines of one direction.
#[derive(Debug)]
pub struct Lines {
    partial: Vec<u8>,
    begun: At,
    /// The length of the line so far.
    length: usize,
    /// The partial line was given out.
    is_spent: bool,
    /// Nothing is believed until the next line end: octets are missing.
    is_lost: bool,
}

impl Lines {
    /// For one side.
    #[must_use]
    pub fn new(side: Side) -> Self {
        let begun = At {
            side,
            packet: 0,
            offset: 0,
            time: 0,
        };
        Self {
            partial: Vec::new(),
            begun,
            length: 0,
            is_spent: false,
            is_lost: false,
        }
    }

    /// Whether the next octet begins a line.
    #[must_use]
    pub fn is_at_start(&self) -> bool {
        (self.length == 0 || self.is_spent) && !self.is_lost
    }

    /// Octets are missing: the line they stood in is not told.
    pub fn lose(&mut self) {
        self.forget();
        self.is_lost = true;
    }

    /// The next octet begins a line after all.
    pub fn settle(&mut self) {
        self.forget();
        self.is_lost = false;
    }

    fn forget(&mut self) {
        // A line may have held a password.
        zeroize::Zeroize::zeroize(&mut self.partial);
        self.partial = Vec::new();
        self.length = 0;
        self.is_spent = false;
    }

    /// The next line. What is left of the piece without a line end is kept.
    pub fn next<'b, 'p: 'b>(&'b mut self, piece: &mut Piece<'p>) -> Option<Line<'b>> {
        if self.is_spent {
            self.forget();
        }
        loop {
            if piece.is_empty() {
                return None;
            }
            let begun = piece.at;
            let Some(end) = memchr::memchr(b'\n', piece.octets) else {
                let rest = piece.take(usize::MAX);
                if !self.is_lost {
                    self.keep(rest, begun);
                }
                return None;
            };
            let taken = piece.take(end + 1);
            if self.is_lost {
                self.is_lost = false;
                continue;
            }
            if self.length == 0 {
                return Some(line(taken, begun, taken.len()));
            }
            self.keep(taken, begun);
            self.is_spent = true;
            return Some(line(&self.partial, self.begun, self.length));
        }
    }

    fn keep(&mut self, octets: &[u8], at: At) {
        if self.length == 0 {
            self.begun = at;
        }
        self.length += octets.len();
        let room = LONGEST.saturating_sub(self.partial.len());
        self.partial
            .extend_from_slice(octets.get(..room).unwrap_or(octets));
    }
}

fn line(octets: &[u8], at: At, length: usize) -> Line<'_> {
    let octets = octets.strip_suffix(b"\n").unwrap_or(octets);
    let stripped = octets.strip_suffix(b"\r");
    Line {
        octets: stripped.unwrap_or(octets),
        at,
        length,
        has_cr: stripped.is_some(),
    }
}
