//! The end of a line, kept while its pieces pass: it says whether a literal follows, and that CR and LF stand together.

use memchr::memchr;

use crate::session::Why;

/// The last octets of a line.
#[derive(Debug, Default, Clone, Copy)]
pub(super) struct Tail {
    octets: [u8; 24],
    length: usize,
}

impl Tail {
    pub(super) fn push(&mut self, bytes: &[u8]) {
        let size = self.octets.len();
        let from = bytes.len().saturating_sub(size);
        for octet in bytes.get(from..).unwrap_or_default() {
            if self.length == size {
                self.octets.rotate_left(1);
                self.length -= 1;
            }
            if let Some(place) = self.octets.get_mut(self.length) {
                *place = *octet;
                self.length += 1;
            }
        }
    }

    pub(super) fn bytes(&self) -> &[u8] {
        self.octets.get(..self.length).unwrap_or_default()
    }

    /// Whether it ends in CR, LF being next.
    fn ends_in_cr(&self) -> bool {
        self.bytes().last() == Some(&b'\r')
    }
}

/// A literal announced at the end of a line (CRLF taken off): its octets, and whether it waits for leave.
pub(super) fn announced(line: &[u8]) -> Option<(u64, bool)> {
    let inner = line.strip_suffix(b"}")?;
    let open = inner.iter().rposition(|it| *it == b'{')?;
    let digits = inner.get(open + 1..)?;
    let (digits, waits) = match digits.strip_suffix(b"+") {
        Some(digits) => (digits, false),
        // LITERAL- writes its literals with a minus in no version of the document, but with the same plus.
        None => (digits, true),
    };
    if digits.is_empty() || digits.len() > 19 || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let octets = std::str::from_utf8(digits).ok()?.parse().ok()?;
    Some((octets, waits))
}

/// A CR must stand before LF and nowhere else.
pub(super) fn check_line_end(tail: Tail, line: &[u8], ended: bool) -> Result<(), Why> {
    let (body, closes) = match line.strip_suffix(b"\r") {
        Some(body) => (body, true),
        None => (line, false),
    };
    // The CR of the piece before is good only if this piece begins with the LF.
    let before = tail.ends_in_cr() && !(ended && line.is_empty());
    let alone = memchr(b'\r', body).is_some();
    let whole = !ended || closes || (line.is_empty() && tail.ends_in_cr());
    if before || alone || !whole {
        return Err(Why::OutOfSync);
    }
    Ok(())
}
