//! A message on its way out: line ends made whole or refused, dots doubled (RFC 5321 4.5.2).
//!
//! The encoder holds one octet of the past and no content, so memory does not grow with the message. A bare CR or LF never
//! leaves [SMTP-BASE-04] [SMTP-SMUG-02]: the next reader might see a line end in it, and a second message behind it.

use memchr::memchr2;

/// What to do about a CR or LF that stands alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Hash)]
pub enum LineEnds {
    /// Refuse the message.
    #[default]
    Refuse,
    /// Make CRLF of each.
    Normalise,
}

/// A CR or LF stood alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BareLineEnd;

/// Makes content fit to be sent. Any cut of the content gives the same octets.
#[derive(Debug, Clone, Copy)]
pub struct Encoder {
    line_ends: LineEnds,
    /// Double dots at the beginning of lines, for DATA.
    dots: bool,
    place: Place,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    LineStart,
    Text,
    /// A CR has been taken and not yet written.
    Cr,
}

impl Encoder {
    /// For DATA: dots are doubled.
    pub const fn for_data(line_ends: LineEnds) -> Self {
        Self {
            line_ends,
            dots: true,
            place: Place::LineStart,
        }
    }

    /// For BDAT: octets are counted, dots stay.
    pub const fn for_chunks(line_ends: LineEnds) -> Self {
        Self {
            line_ends,
            dots: false,
            place: Place::LineStart,
        }
    }

    /// Encodes a portion.
    ///
    /// # Errors
    /// [`BareLineEnd`]; what is in `out` must not be sent on as a whole message.
    pub fn encode(&mut self, content: &[u8], out: &mut Vec<u8>) -> Result<(), BareLineEnd> {
        let mut rest = content;
        while let Some(&first) = rest.first() {
            match (self.place, first) {
                (Place::Cr, b'\n') => {
                    out.extend_from_slice(b"\r\n");
                    self.place = Place::LineStart;
                    rest = rest.get(1..).unwrap_or_default();
                }
                (Place::Cr, _) => self.bare(out)?,
                (_, b'\r') => {
                    self.place = Place::Cr;
                    rest = rest.get(1..).unwrap_or_default();
                }
                (_, b'\n') => {
                    self.bare(out)?;
                    rest = rest.get(1..).unwrap_or_default();
                }
                (place, _) => {
                    if self.dots && place == Place::LineStart && first == b'.' {
                        out.push(b'.');
                    }
                    let length = memchr2(b'\r', b'\n', rest).unwrap_or(rest.len());
                    let (text, after) = rest.split_at_checked(length).unwrap_or((rest, &[]));
                    out.extend_from_slice(text);
                    self.place = Place::Text;
                    rest = after;
                }
            }
        }
        Ok(())
    }

    /// Ends the content. For DATA, the last line gets an end if it has none, so that the final dot stands alone.
    ///
    /// # Errors
    /// [`BareLineEnd`] when the content ends in a CR.
    pub fn finish(mut self, out: &mut Vec<u8>) -> Result<(), BareLineEnd> {
        if self.place == Place::Cr {
            self.bare(out)?;
        }
        if self.dots {
            if self.place == Place::Text {
                out.extend_from_slice(b"\r\n");
            }
            out.extend_from_slice(b".\r\n");
        }
        Ok(())
    }

    fn bare(&mut self, out: &mut Vec<u8>) -> Result<(), BareLineEnd> {
        if self.line_ends == LineEnds::Refuse {
            return Err(BareLineEnd);
        }
        out.extend_from_slice(b"\r\n");
        self.place = Place::LineStart;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::smtp::data::DataDecoder;

    fn encode(line_ends: LineEnds, parts: &[&[u8]]) -> Result<Vec<u8>, BareLineEnd> {
        let mut out = Vec::new();
        let mut encoder = Encoder::for_data(line_ends);
        for part in parts {
            encoder.encode(part, &mut out)?;
        }
        encoder.finish(&mut out)?;
        Ok(out)
    }

    #[test]
    fn dots_are_doubled_and_the_end_stands_alone() {
        // [SMTP-SMUG-02]
        let encode = |text: &[u8]| encode(LineEnds::Refuse, &[text]).unwrap();
        assert_eq!(encode(b""), b".\r\n");
        assert_eq!(encode(b"."), b"..\r\n.\r\n");
        assert_eq!(encode(b".a\r\n..\r\nb."), b"..a\r\n...\r\nb.\r\n.\r\n");
    }

    #[test]
    fn the_sequences_of_smuggling_never_leave() {
        // [SMTP-SMUG-02] [SMTP-BASE-04]
        let sequences: [&[u8]; 9] = [
            b"\n.\n",
            b"\n.\r",
            b"\r.\n",
            b"\r.\r",
            b"\n.\r\n",
            b"\r.\r\n",
            b"\r\n.\r\r\n",
            b"\r\r\n.\r\r\n",
            b"\r\n.\r",
        ];
        for sequence in sequences {
            let content = [b"text", sequence, b"MAIL FROM:<a@b>\r\n"].concat();
            assert_eq!(encode(LineEnds::Refuse, &[&content]), Err(BareLineEnd));
            let sent = encode(LineEnds::Normalise, &[&content]).unwrap();
            for (at, octet) in sent.iter().enumerate() {
                match octet {
                    b'\r' => assert_eq!(sent.get(at + 1), Some(&b'\n')),
                    b'\n' => assert_eq!(sent[at - 1], b'\r'),
                    _ => {}
                }
            }
            let mut out = Vec::new();
            let decoded = DataDecoder::default().decode(&sent, &mut out, usize::MAX);
            assert!(
                decoded.ended && decoded.consumed == sent.len(),
                "one message"
            );
        }
    }

    #[test]
    fn any_cut_gives_the_same_and_the_server_reads_it_back() {
        let content = b"a\r\n.b\r\n..\r\n\r\n.\r\nc\r\n";
        let whole = encode(LineEnds::Refuse, &[content]).unwrap();
        for cut in 0..=content.len() {
            let parts = [&content[..cut], &content[cut..]];
            assert_eq!(encode(LineEnds::Refuse, &parts).unwrap(), whole);
        }
        let mut back = Vec::new();
        assert!(
            DataDecoder::default()
                .decode(&whole, &mut back, usize::MAX)
                .ended
        );
        assert_eq!(back, content);
    }
}
