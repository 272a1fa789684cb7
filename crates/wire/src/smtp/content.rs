//! What is refused in content, whether it came by DATA or by BDAT.
//!
//! - A bare CR or LF (RFC 5321 2.3.8): a next hop that takes it for a line end would see another end of data than we did
//!   [SMTP-SMUG-02], ruling [CONF-14]. Kept content therefore only ever has CRLF [SMTP-CHUNK-04].
//! - A NUL [SMTP-SMUG-03]: programs written in C see less of the line than we do.
//! - A line over [`LINE_OCTETS`]. RFC 5321 4.5.3.1.6 wants 1,000 octets received; generators of HTML send much longer lines, and
//!   refusing those loses mail for nothing. The bound is there for the readers of the stored message.
//! - A header over [`HEADER_OCTETS`]: readers look at no more of it, and would show another message than the one that came. RFC 5321
//!   4.5.3.1 knows no limit of its own; real headers are below 64 KiB.
//! - More than [`RECEIVED_FIELDS`] `Received:` fields: the mail runs in circles [SMTP-BASE-14].
//! - More octets than the limit announced with SIZE.
//!
//! All of the content is looked at, also when something was found: which reply is given does not depend on segments.

use memchr::memchr3;

use super::header::HeaderScan;
use super::reply::{self, Reply};

/// The longest line kept, in octets, its CRLF counted.
pub const LINE_OCTETS: usize = 64 * 1024;
/// The longest header kept, in octets, the empty line behind it counted.
pub const HEADER_OCTETS: usize = 1024 * 1024;
/// The greatest count of `Received:` fields kept (RFC 5321 6.3: "normally at least 100").
pub const RECEIVED_FIELDS: u32 = 100;

/// Why content is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fault {
    /// Over the size limit.
    TooLarge,
    /// A CR or LF that is not half of a CRLF.
    BareLineEnd,
    /// A NUL.
    Nul,
    /// A line over [`LINE_OCTETS`].
    LongLine,
    /// A header over [`HEADER_OCTETS`].
    LongHeader,
    /// More than [`RECEIVED_FIELDS`] `Received:` fields.
    Loop,
}

impl Fault {
    /// The reply to the end of such content.
    pub const fn reply(self) -> Reply {
        match self {
            Self::TooLarge => reply::MESSAGE_TOO_LARGE,
            Self::BareLineEnd => reply::BARE_LINE_END,
            Self::Nul => reply::NUL_IN_CONTENT,
            Self::LongLine => reply::LINE_TOO_LONG_IN_CONTENT,
            Self::LongHeader => reply::HEADER_TOO_LONG,
            Self::Loop => reply::LOOP,
        }
    }
}

/// Looks at content as it passes. Any cut gives the same verdict.
#[derive(Debug)]
pub struct ContentCheck {
    header: HeaderScan,
    size: u64,
    limit: u64,
    /// Octets of the current line so far.
    line: usize,
    after_cr: bool,
    /// Content by BINARYMIME has no lines: any octet may stand anywhere (RFC 3030 3).
    binary: bool,
    /// The gravest fault found.
    fault: Option<Fault>,
}

impl ContentCheck {
    /// Begins a message of at most `limit` octets.
    pub fn new(limit: u64) -> Self {
        Self {
            header: HeaderScan::default(),
            size: 0,
            limit,
            line: 0,
            after_cr: false,
            binary: false,
            fault: None,
        }
    }

    /// The same for content that was announced as binary: it is counted on its whole way and never framed by lines.
    pub fn of_binary(limit: u64) -> Self {
        Self {
            binary: true,
            ..Self::new(limit)
        }
    }

    /// Looks at the next piece.
    pub fn push(&mut self, piece: &[u8]) {
        self.size = self.size.saturating_add(piece.len() as u64);
        if self.size > self.limit {
            self.note(Fault::TooLarge);
        }
        if !self.binary {
            self.lines(piece);
        }
        self.header.push(piece);
        if self.header.octets() > HEADER_OCTETS {
            self.note(Fault::LongHeader);
        }
        if self.header.received() > RECEIVED_FIELDS {
            self.note(Fault::Loop);
        }
    }

    /// The content is complete. A CR at the very end is a bare one.
    pub fn end(&mut self) {
        if std::mem::take(&mut self.after_cr) {
            self.note(Fault::BareLineEnd);
        }
    }

    /// The gravest fault found so far.
    pub const fn fault(&self) -> Option<Fault> {
        self.fault
    }

    /// How many octets there were.
    pub const fn size(&self) -> u64 {
        self.size
    }

    fn note(&mut self, fault: Fault) {
        self.fault = Some(self.fault.map_or(fault, |known| known.min(fault)));
    }

    fn lines(&mut self, piece: &[u8]) {
        let mut rest = piece;
        while !rest.is_empty() {
            let plain = memchr3(b'\r', b'\n', b'\0', rest).unwrap_or(rest.len());
            if plain > 0 {
                self.plain(plain);
            }
            let Some(&octet) = rest.get(plain) else {
                return;
            };
            self.special(octet);
            rest = rest.get(plain + 1..).unwrap_or_default();
        }
    }

    fn plain(&mut self, octets: usize) {
        self.end();
        self.lengthen(octets);
    }

    fn special(&mut self, octet: u8) {
        match (octet, self.after_cr) {
            (b'\n', true) => {
                self.lengthen(1);
                self.after_cr = false;
                self.line = 0;
                return;
            }
            (_, true) | (b'\n', false) => self.note(Fault::BareLineEnd),
            _ => {}
        }
        if octet == 0 {
            self.note(Fault::Nul);
        }
        self.after_cr = octet == b'\r';
        self.lengthen(1);
    }

    fn lengthen(&mut self, octets: usize) {
        self.line = self.line.saturating_add(octets);
        if self.line > LINE_OCTETS {
            self.note(Fault::LongLine);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(pieces: &[&[u8]], limit: u64) -> Option<Fault> {
        let mut check = ContentCheck::new(limit);
        for piece in pieces {
            check.push(piece);
        }
        check.end();
        check.fault()
    }

    fn whole(content: &[u8]) -> Option<Fault> {
        check(&[content], u64::MAX)
    }

    // [SMTP-SMUG-02] [SMTP-SMUG-03]
    #[test]
    fn only_crlf_and_no_nul() {
        assert_eq!(whole(b"Subject: a\r\n\r\nb\r\n"), None);
        for bare in [
            &b"a\nb"[..],
            b"a\rb",
            b"a\r\r\n",
            b"\n",
            b"a\r",
            b"\r\n\n",
            b"\r\0",
        ] {
            assert_eq!(whole(bare), Some(Fault::BareLineEnd), "{bare:?}");
        }
        assert_eq!(whole(b"a\0b\r\n"), Some(Fault::Nul));
    }

    #[test]
    fn any_cut_gives_the_same_verdict() {
        for content in [
            &b"a\r\nb\r\n"[..],
            b"a\0\r\r\n",
            b"a\n\0b",
            b"ab\r",
            b"\r\0\n",
        ] {
            for cut in 0..=content.len() {
                assert_eq!(
                    check(&[&content[..cut], &content[cut..]], 99),
                    whole(content),
                    "{content:?} cut at {cut}"
                );
            }
        }
    }

    // [SMTP-BASE-09] a text line of 1,000 octets is received; ours is bounded far above.
    #[test]
    fn lines_have_a_bound() {
        let line = |octets: usize| [&vec![b'x'; octets - 2][..], b"\r\n"].concat();
        assert_eq!(whole(&line(1000)), None);
        assert_eq!(
            whole(&[line(LINE_OCTETS), line(LINE_OCTETS)].concat()),
            None
        );
        assert_eq!(whole(&line(LINE_OCTETS + 1)), Some(Fault::LongLine));
    }

    #[test]
    fn headers_have_a_bound() {
        let field = format!("X: {}\r\n", "x".repeat(1019));
        let header = |octets: &str| [field.repeat(1023), octets.to_owned()].concat();
        let last = format!("Y: {}\r\n\r\n", "y".repeat(1017));
        let good = header(&last);
        assert_eq!(good.len(), HEADER_OCTETS);
        assert_eq!(whole(good.as_bytes()), None);
        assert_eq!(whole([good.as_str(), &field].concat().as_bytes()), None);
        let long = header(&format!("Z{last}"));
        assert_eq!(whole(long.as_bytes()), Some(Fault::LongHeader));
        assert_eq!(Fault::LongHeader.reply(), reply::HEADER_TOO_LONG);
    }

    // [SMTP-CHUNK-03]
    #[test]
    fn binary_content_has_no_lines() {
        let mut check = ContentCheck::of_binary(99_999);
        check.push(b"Subject: x\r\n\r\n\0\r\n\n\r");
        check.push(&vec![b'x'; LINE_OCTETS + 1]);
        check.end();
        assert_eq!(check.fault(), None);
        check.push(&vec![0; 99_999]);
        assert_eq!(check.fault(), Some(Fault::TooLarge));
    }

    // [SMTP-BASE-14]
    #[test]
    fn mail_that_runs_in_circles_is_refused() {
        let hop = "Received: from a by b; c\r\n";
        assert_eq!(whole(hop.repeat(100).as_bytes()), None);
        assert_eq!(whole(hop.repeat(101).as_bytes()), Some(Fault::Loop));
        let quoted = format!("Subject: x\r\n\r\n{}", hop.repeat(101));
        assert_eq!(whole(quoted.as_bytes()), None);
    }

    #[test]
    fn the_size_is_counted() {
        assert_eq!(check(&[b"ab\r\n"], 4), None);
        assert_eq!(check(&[b"ab", b"c\r\n"], 4), Some(Fault::TooLarge));
    }
}
