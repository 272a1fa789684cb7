//! Bytes received and not yet understood, and the lines in them.
//!
//! Only CRLF ends a line [SMTP-BASE-03] (RFC 5321 2.3.8; RFC 9051 2.2; RFC 1939 3). A bare LF or CR is part of the line it
//! stands in; whoever parses the line refuses it there. The buffer holds no memory while it is empty, so an idle session
//! costs nothing here.

/// Received bytes waiting to be understood.
#[derive(Debug, Default)]
pub struct Inbox {
    bytes: Vec<u8>,
    /// Everything before this index has been taken.
    start: usize,
    /// Bytes from `start` already searched for a line end, so that a line trickling in is not searched again and again.
    searched: usize,
}

/// What [`Inbox::line`] found.
#[derive(Debug, PartialEq, Eq)]
pub enum Line {
    /// A complete line, without its CRLF.
    Complete(Vec<u8>),
    /// No line end yet.
    Incomplete,
    /// The line is longer than allowed. Nothing was taken; [`Inbox::skip_line`] gets rid of it.
    TooLong,
}

impl Inbox {
    /// Appends received bytes.
    pub fn push(&mut self, bytes: &[u8]) {
        if self.start > 0 && self.start >= self.bytes.len() / 2 {
            self.bytes.drain(..self.start);
            self.start = 0;
        }
        self.bytes.extend_from_slice(bytes);
    }

    /// Whether nothing is waiting.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// How many bytes are waiting.
    pub fn len(&self) -> usize {
        self.bytes.len() - self.start
    }

    /// The bytes waiting.
    pub fn waiting(&self) -> &[u8] {
        self.bytes.get(self.start..).unwrap_or_default()
    }

    /// Drops the first `count` bytes (at most all of them).
    pub fn consume(&mut self, count: usize) {
        self.start = (self.start + count).min(self.bytes.len());
        self.searched = 0;
        if self.start == self.bytes.len() {
            *self = Self::default();
        }
    }

    /// The length of the first line without its CRLF, if it is complete.
    pub fn line_length(&mut self) -> Option<usize> {
        let waiting = self.bytes.get(self.start..).unwrap_or_default();
        let unsearched = waiting.get(self.searched..).unwrap_or_default();
        let found = memchr::memmem::find(unsearched, b"\r\n").map(|at| self.searched + at);
        self.searched = found.unwrap_or_else(|| waiting.len().saturating_sub(1));
        found
    }

    /// Takes the first line. `limit` is the greatest length in octets, the CRLF not counted.
    pub fn line(&mut self, limit: usize) -> Line {
        match self.line_length() {
            Some(length) if length <= limit => {
                let line = self.waiting().get(..length).unwrap_or_default().to_vec();
                self.consume(length + 2);
                Line::Complete(line)
            }
            Some(_) => Line::TooLong,
            // A CR may still turn out to be half of the line end, hence one more.
            None if self.len() > limit + 1 => Line::TooLong,
            None => Line::Incomplete,
        }
    }

    /// Drops bytes up to and including the first line end and says whether there was one. Without one, all but a final
    /// CR is dropped: call again when more has come.
    pub fn skip_line(&mut self) -> bool {
        if let Some(length) = self.line_length() {
            self.consume(length + 2);
            return true;
        }
        let keep = usize::from(self.waiting().last() == Some(&b'\r'));
        self.consume(self.len() - keep);
        false
    }

    /// Takes everything and leaves the buffer empty.
    pub fn take(&mut self) -> Vec<u8> {
        let mut taken = std::mem::take(self);
        taken.bytes.drain(..taken.start);
        taken.bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn inbox(bytes: &[u8]) -> Inbox {
        let mut inbox = Inbox::default();
        inbox.push(bytes);
        inbox
    }

    #[test]
    fn only_crlf_ends_a_line() {
        let mut it = inbox(b"a\nb\rc\r\r\nd\r\n");
        assert_eq!(it.line(100), Line::Complete(b"a\nb\rc\r".to_vec()));
        assert_eq!(it.line(100), Line::Complete(b"d".to_vec()));
        assert_eq!(it.line(100), Line::Incomplete);
    }

    #[test]
    fn a_line_cut_anywhere_is_the_same_line() {
        let text = b"NOOP\r\nQUIT\r\n";
        for cut in 0..=text.len() {
            let mut it = inbox(&text[..cut]);
            let mut lines = Vec::new();
            while let Line::Complete(line) = it.line(10) {
                lines.push(line);
            }
            it.push(&text[cut..]);
            while let Line::Complete(line) = it.line(10) {
                lines.push(line);
            }
            assert_eq!(lines, [b"NOOP".to_vec(), b"QUIT".to_vec()], "cut at {cut}");
        }
    }

    #[test]
    fn the_limit_counts_the_line_without_its_end() {
        assert_eq!(
            inbox(b"12345\r\n").line(5),
            Line::Complete(b"12345".to_vec())
        );
        assert_eq!(inbox(b"123456\r\n").line(5), Line::TooLong);
        assert_eq!(inbox(b"12345\r").line(5), Line::Incomplete);
        assert_eq!(inbox(b"1234567").line(5), Line::TooLong);
    }

    #[test]
    fn an_overlong_line_is_skipped_whole() {
        let mut it = inbox(b"123456789\r");
        assert!(!it.skip_line());
        it.push(b"\nQUIT\r\n");
        assert!(it.skip_line());
        assert_eq!(it.line(10), Line::Complete(b"QUIT".to_vec()));
    }

    #[test]
    fn holds_no_memory_when_empty() {
        let mut it = inbox(b"QUIT\r\n");
        let _ = it.line(10);
        assert_eq!(it.bytes.capacity(), 0);
    }
}
