//! A message as RETR and TOP send it: every line ended by CRLF, a dot before every line that begins with one (RFC 1939 3),
//! and for TOP no more lines than asked for.
//!
//! Pieces come as the backend cuts them; the result does not depend on the cuts.

/// How much of the message is wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Extent {
    /// All of it.
    Whole,
    /// The rest of the header, the empty line, and this many lines of the body.
    Header { then: u64 },
    /// This many lines more.
    Body { left: u64 },
}

/// The encoder's place in the message.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Encoder {
    extent: Extent,
    /// The next octet begins a line.
    at_start: bool,
    /// The last octet was a CR.
    after_cr: bool,
    /// The current line holds nothing so far, or a CR.
    empty: bool,
}

impl Encoder {
    pub(super) fn new(extent: Extent) -> Self {
        Self {
            extent,
            at_start: true,
            after_cr: false,
            empty: true,
        }
    }

    /// Whether all lines asked for have been written.
    pub(super) fn is_satisfied(&self) -> bool {
        self.extent == Extent::Body { left: 0 }
    }

    /// Writes the next piece of the message.
    pub(super) fn push(&mut self, piece: &[u8], output: &mut Vec<u8>) {
        output.reserve(piece.len() + piece.len() / 16);
        let mut rest = piece;
        while !self.is_satisfied()
            && let Some(first) = rest.first()
        {
            if self.at_start && *first == b'.' {
                // [POP-TLS-06]
                output.push(b'.');
            }
            let end = memchr::memchr(b'\n', rest);
            let (text, after) = rest.split_at(end.unwrap_or(rest.len()));
            self.text(text, output);
            match after.split_first() {
                Some((_, next)) => {
                    self.end_line(output);
                    rest = next;
                }
                None => rest = &[],
            }
        }
    }

    /// Ends the last line if the message does not, and writes the final dot.
    pub(super) fn finish(mut self, output: &mut Vec<u8>) {
        if !self.at_start {
            self.end_line(output);
        }
        output.extend_from_slice(b".\r\n");
    }

    fn text(&mut self, text: &[u8], output: &mut Vec<u8>) {
        let Some(last) = text.last() else {
            return;
        };
        self.empty = self.empty && text == b"\r" && !self.after_cr;
        self.after_cr = *last == b'\r';
        self.at_start = false;
        output.extend_from_slice(text);
    }

    fn end_line(&mut self, output: &mut Vec<u8>) {
        output.extend_from_slice(if self.after_cr { b"\n" } else { b"\r\n" });
        self.extent = match self.extent {
            Extent::Whole => Extent::Whole,
            Extent::Header { then } if self.empty => Extent::Body { left: then },
            Extent::Header { then } => Extent::Header { then },
            Extent::Body { left } => Extent::Body {
                left: left.saturating_sub(1),
            },
        };
        (self.at_start, self.after_cr, self.empty) = (true, false, true);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn encode(extent: Extent, pieces: &[&[u8]]) -> String {
        let mut encoder = Encoder::new(extent);
        let mut output = Vec::new();
        for piece in pieces {
            encoder.push(piece, &mut output);
        }
        encoder.finish(&mut output);
        String::from_utf8(output).unwrap()
    }

    #[test]
    fn whole_messages() {
        // [POP-TLS-06]
        for (message, expected) in [
            ("", ".\r\n"),
            ("a\r\n", "a\r\n.\r\n"),
            ("a", "a\r\n.\r\n"),
            ("a\r", "a\r\n.\r\n"),
            ("a\nb\n", "a\r\nb\r\n.\r\n"),
            (".\r\n", "..\r\n.\r\n"),
            (".", "..\r\n.\r\n"),
            ("a\n.\nb", "a\r\n..\r\nb\r\n.\r\n"),
            ("..a\r\n.b", "...a\r\n..b\r\n.\r\n"),
            ("\n\n", "\r\n\r\n.\r\n"),
            ("a\r.\r\n", "a\r.\r\n.\r\n"),
            ("a\r\r\n", "a\r\r\n.\r\n"),
        ] {
            assert_eq!(
                encode(Extent::Whole, &[message.as_bytes()]),
                expected,
                "{message:?}"
            );
        }
    }

    #[test]
    fn top_counts_lines_of_the_body() {
        let message = b"A: 1\r\nB: 2\n\r\none\r\n\r\n.three\r\nfour".as_slice();
        for (lines, body) in [
            (0, ""),
            (1, "one\r\n"),
            (2, "one\r\n\r\n"),
            (3, "one\r\n\r\n..three\r\n"),
            (9, "one\r\n\r\n..three\r\nfour\r\n"),
        ] {
            let expected = format!("A: 1\r\nB: 2\r\n\r\n{body}.\r\n");
            assert_eq!(
                encode(Extent::Header { then: lines }, &[message]),
                expected,
                "{lines} lines"
            );
            let singly: Vec<&[u8]> = message.chunks(1).collect();
            assert_eq!(
                encode(Extent::Header { then: lines }, &singly),
                expected,
                "{lines} lines"
            );
        }
        assert_eq!(
            encode(Extent::Header { then: 1 }, &[b"A: 1\r\n"]),
            "A: 1\r\n.\r\n",
            "no body"
        );
        assert_eq!(
            encode(Extent::Header { then: 0 }, &[b"A\r\n\r\r\n\nb"]),
            "A\r\n\r\r\n\r\n.\r\n",
            "two CRs are not nothing"
        );
    }

    proptest! {
        #[test]
        fn cuts_do_not_matter(message in "[a.\r\n]{0,40}", cuts in proptest::collection::vec(0..40usize, 0..6), lines in 0..4u64) {
            let mut cuts: Vec<usize> = cuts.into_iter().map(|it| it.min(message.len())).collect();
            cuts.extend([0, message.len()]);
            cuts.sort_unstable();
            let pieces: Vec<&[u8]> = cuts.windows(2).map(|it| &message.as_bytes()[it[0]..it[1]]).collect();
            for extent in [Extent::Whole, Extent::Header { then: lines }] {
                prop_assert_eq!(encode(extent, &pieces), encode(extent, &[message.as_bytes()]));
            }
        }

        #[test]
        fn a_client_reads_back_what_was_kept(message in "[a.\r\n]{0,40}") {
            let sent = encode(Extent::Whole, &[message.as_bytes()]);
            let mut lines: Vec<&str> = sent.split("\r\n").collect();
            prop_assert_eq!(lines.pop(), Some(""));
            prop_assert_eq!(lines.pop(), Some("."));
            prop_assert!(!lines.contains(&"."), "no end before the end");
            let read: String = lines.iter().map(|it| it.strip_prefix('.').unwrap_or(it).to_owned() + "\r\n").collect();
            let mut kept = message.replace("\r\n", "\n");
            if kept.ends_with('\r') { kept.pop(); }
            if !kept.is_empty() && !kept.ends_with('\n') || message.ends_with('\r') && !message.is_empty() { kept.push('\n'); }
            prop_assert_eq!(read, kept.replace('\n', "\r\n"));
        }
    }
}
