//! What a message's header has, read as the content streams by (RFC 5322 2.2, 3.6).
//!
//! Used to find mail that runs in circles [SMTP-BASE-14] and, by whoever takes submissions, to add what is missing [SUBM-04].
//! Any cut of the content into pieces gives the same result.

/// The longest field name that matters here, and one octet to see that a name is longer.
const NAME_OCTETS: usize = "message-id".len() + 1;

/// Reads a header piece by piece. Small, copies nothing but the start of the current field name.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct HeaderScan {
    place: Place,
    name: [u8; NAME_OCTETS],
    /// Octets of `name` that are filled.
    filled: usize,
    /// Octets of the header so far.
    octets: usize,
    received: u32,
    date: bool,
    message_id: bool,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
enum Place {
    /// In a field's name, or at the start of a line.
    #[default]
    Name,
    /// In a field's body, a folded line, or a line that is no field.
    Rest,
    /// Behind the empty line.
    Body,
}

impl HeaderScan {
    /// Reads the next piece of content.
    pub fn push(&mut self, mut piece: &[u8]) {
        while let Some((&octet, rest)) = piece.split_first() {
            match self.place {
                Place::Body => return,
                Place::Rest => {
                    let Some(end) = memchr::memchr(b'\n', piece) else {
                        self.octets = self.octets.saturating_add(piece.len());
                        return;
                    };
                    self.octets = self.octets.saturating_add(end + 1);
                    piece = piece.get(end + 1..).unwrap_or_default();
                    self.start_line();
                }
                Place::Name => {
                    self.octets = self.octets.saturating_add(1);
                    self.name_octet(octet);
                    piece = rest;
                }
            }
        }
    }

    /// How many `Received:` fields have been seen.
    pub const fn received(&self) -> u32 {
        self.received
    }

    /// Whether a `Date:` field has been seen.
    pub const fn has_date(&self) -> bool {
        self.date
    }

    /// Whether a `Message-ID:` field has been seen.
    pub const fn has_message_id(&self) -> bool {
        self.message_id
    }

    /// How many octets of the header have been seen, the empty line behind it counted.
    pub const fn octets(&self) -> usize {
        self.octets
    }

    /// Whether the empty line behind the header has been seen.
    pub fn ended(&self) -> bool {
        self.place == Place::Body
    }

    fn start_line(&mut self) {
        self.place = Place::Name;
        self.filled = 0;
    }

    fn name_octet(&mut self, octet: u8) {
        match octet {
            b':' => self.field(),
            b'\n' if self.filled == 0 => self.place = Place::Body,
            b'\n' => self.start_line(),
            // A folded line begins with a space; one between the name and its colon is the obsolete syntax (RFC 5322 4.5).
            b' ' | b'\t' if self.filled == 0 => self.place = Place::Rest,
            b' ' | b'\t' | b'\r' => {}
            _ => match self.name.get_mut(self.filled) {
                Some(slot) => {
                    *slot = octet.to_ascii_lowercase();
                    self.filled += 1;
                }
                None => self.place = Place::Rest,
            },
        }
    }

    fn field(&mut self) {
        match self.name.get(..self.filled).unwrap_or_default() {
            b"received" => self.received = self.received.saturating_add(1),
            b"date" => self.date = true,
            b"message-id" => self.message_id = true,
            _ => {}
        }
        self.place = Place::Rest;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scan(content: &[u8]) -> HeaderScan {
        let mut scan = HeaderScan::default();
        scan.push(content);
        scan
    }

    const MESSAGE: &[u8] = b"Received: from a\r\n by b; x\r\nRECEIVED : y\r\nX-Received: n\r\nSubject: Received: no\r\n Date: folded\r\n\
        Message-Id: <a@b>\r\n\r\nDate: body\r\nReceived: body\r\n";

    #[test]
    fn sees_fields_of_the_header_only() {
        let scan = scan(MESSAGE);
        assert_eq!(scan.received(), 2);
        assert!(scan.has_message_id());
        assert!(!scan.has_date());
        assert!(scan.ended());
        assert_eq!(
            &MESSAGE[scan.octets()..],
            b"Date: body\r\nReceived: body\r\n"
        );
    }

    #[test]
    fn any_cut_gives_the_same() {
        for cut in 0..=MESSAGE.len() {
            let mut pieces = HeaderScan::default();
            pieces.push(&MESSAGE[..cut]);
            pieces.push(&MESSAGE[cut..]);
            assert_eq!(pieces, scan(MESSAGE), "cut at {cut}");
        }
    }

    #[test]
    fn a_line_without_a_colon_is_no_field() {
        let scan = scan(b"Received\r\nDate: x\r\nMessage-ID-More: y\r\n");
        assert_eq!(
            (
                scan.received(),
                scan.has_date(),
                scan.has_message_id(),
                scan.ended()
            ),
            (0, true, false, false)
        );
    }
}
