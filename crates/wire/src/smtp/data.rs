//! Where the data of DATA ends, and dot-stuffing undone (RFC 5321 4.1.1.4, 4.5.2).
//!
//! End of data is exactly `CRLF "." CRLF`, the first CRLF being that of the DATA command if the message is empty
//! [SMTP-SMUG-01]. Nothing else ends it: not with a bare LF, not with a bare CR, not with a NUL between. What else is wrong
//! with the content is not looked at here (see [`super::content`]): it can refuse a message, but not move its end.
//!
//! ```text
//!   Text ──CR──▶ Cr ──LF──▶ LineStart ──"."──▶ Dot ──CR──▶ DotCr ──LF──▶ end
//!    ▲──other────┘              │              │(dot dropped) │(CR kept)
//!    ▲──────────other───────────┘──────────────┘──────────────┘
//! ```
//!
//! The decoder searches for `CRLF "."` in whole slices: long messages cost one vectorised search and one copy.

use memchr::memmem;

/// Finds the end of data and undoes dot-stuffing. Any cut of the input gives the same output.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct DataDecoder {
    place: Place,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
enum Place {
    Text,
    Cr,
    #[default]
    LineStart,
    Dot,
    DotCr,
}

/// How far [`DataDecoder::decode`] came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Decoded {
    /// How many octets of the input were used up.
    pub consumed: usize,
    /// Whether the end of data was among them; what follows are commands.
    pub ended: bool,
}

impl DataDecoder {
    /// In the midst of data, where octets are missing and it is not known what stood before.
    pub fn in_text() -> Self {
        Self { place: Place::Text }
    }

    /// Decodes input into `out` until the input is used up, the data ends, or `out` holds `limit` octets.
    pub fn decode(&mut self, input: &[u8], out: &mut Vec<u8>, limit: usize) -> Decoded {
        let mut consumed = 0;
        while let Some(&octet) = input.get(consumed) {
            let room = limit.saturating_sub(out.len());
            if room == 0 {
                break;
            }
            match (self.place, octet) {
                (Place::DotCr, b'\n') => {
                    *self = Self::default();
                    return Decoded {
                        consumed: consumed + 1,
                        ended: true,
                    };
                }
                (Place::DotCr, _) => {
                    out.push(b'\r');
                    self.place = Place::Text;
                }
                (Place::Dot, b'\r') => {
                    consumed += 1;
                    self.place = Place::DotCr;
                }
                (Place::LineStart, b'.') => {
                    consumed += 1;
                    self.place = Place::Dot;
                }
                (Place::Cr, b'\n') => {
                    out.push(octet);
                    consumed += 1;
                    self.place = Place::LineStart;
                }
                _ => consumed += self.text(input.get(consumed..).unwrap_or_default(), room, out),
            }
        }
        Decoded {
            consumed,
            ended: false,
        }
    }

    /// Copies up to and including the next CRLF that has a dot behind it, at most `room` octets.
    fn text(&mut self, input: &[u8], room: usize, out: &mut Vec<u8>) -> usize {
        let slice = input.get(..room).unwrap_or(input);
        let length = memmem::find(slice, b"\r\n.").map_or(slice.len(), |at| at + 2);
        let text = slice.get(..length).unwrap_or_default();
        out.extend_from_slice(text);
        self.place = match text {
            [.., b'\r', b'\n'] => Place::LineStart,
            [.., b'\r'] => Place::Cr,
            _ => Place::Text,
        };
        length
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What comes out, and what is left behind the end; nothing when the end was not found.
    fn decode(input: &[u8]) -> Option<(Vec<u8>, Vec<u8>)> {
        let mut out = Vec::new();
        let decoded = DataDecoder::default().decode(input, &mut out, usize::MAX);
        decoded
            .ended
            .then(|| (out, input[decoded.consumed..].to_vec()))
    }

    fn pair(out: &[u8], left: &[u8]) -> (Vec<u8>, Vec<u8>) {
        (out.to_vec(), left.to_vec())
    }

    #[test]
    fn ends_at_the_dot_between_line_ends() {
        assert_eq!(decode(b".\r\nQUIT"), Some(pair(b"", b"QUIT")));
        assert_eq!(decode(b"a\r\n.\r\nQUIT"), Some(pair(b"a\r\n", b"QUIT")));
        assert_eq!(decode(b"\r\n.\r\n"), Some(pair(b"\r\n", b"")));
    }

    #[test]
    fn undoes_dot_stuffing() {
        assert_eq!(
            decode(b"..\r\n...a\r\n.b\r\n.\r\n"),
            Some(pair(b".\r\n..a\r\nb\r\n", b""))
        );
    }

    // [SMTP-SMUG-01] the nine sequences of the published scanner, and a few more: none ends the data.
    #[test]
    fn nothing_else_ends_the_data() {
        let sequences: [&[u8]; 16] = [
            b"\n.\n",
            b"\n.\r",
            b"\r.\n",
            b"\r.\r",
            b"\n.\r\n",
            b"\r.\r\n",
            b"\r\n.\r\r\n",
            b"\r\r\n.\r\r\n",
            b"\r\n\0.\r\n",
            b"\r\n.\n",
            b"\r\n.\r",
            b"\r\n.\0\r\n",
            b"\r\n. \r\n",
            b"\r\n..\r\n",
            b"\r\n.\r.\r\n",
            b"\r\n.\r\r\n.\r\r\n",
        ];
        for sequence in sequences {
            let input = [b"text", sequence, b"MAIL FROM:<a@b>\r\n"].concat();
            assert_eq!(decode(&input), None, "{sequence:?}");
            let (out, left) = decode(&[&input[..], b".\r\n"].concat()).unwrap();
            assert!(
                out.ends_with(b"MAIL FROM:<a@b>\r\n") && left.is_empty(),
                "{sequence:?}"
            );
        }
    }

    #[test]
    fn any_cut_and_any_limit_gives_the_same() {
        let input = b"a\r\n..\r\n.\rb\r\r\n.c\n.\n\r\r\n.\r\r\n\r\n.\r\n";
        let whole = decode(input);
        assert!(whole.is_some());
        for cut in 0..=input.len() {
            for limit in 1..=input.len() {
                assert_eq!(
                    decode_in_parts(&[&input[..cut], &input[cut..]], limit),
                    whole,
                    "cut {cut}, limit {limit}"
                );
            }
        }
    }

    fn decode_in_parts(parts: &[&[u8]], limit: usize) -> Option<(Vec<u8>, Vec<u8>)> {
        let mut decoder = DataDecoder::default();
        let (mut all, mut piece) = (Vec::new(), Vec::new());
        for part in parts {
            let mut rest = *part;
            while !rest.is_empty() {
                let step = decoder.decode(rest, &mut piece, limit);
                rest = &rest[step.consumed..];
                assert!(piece.len() <= limit);
                if step.ended || piece.len() == limit {
                    all.append(&mut piece);
                }
                if step.ended {
                    return Some((all, rest.to_vec()));
                }
            }
        }
        None
    }
}
