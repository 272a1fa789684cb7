//! Undoes content transfer encodings piece by piece (RFC 2045 6.7 and 6.8).

use super::content::Transfer;

/// A decoder fed with encoded octets. What does not fit the encoding is passed over (base64) or kept as it is
/// (quoted-printable), as RFC 2045 advises.
#[derive(Debug)]
pub enum Decoder {
    /// The octets themselves.
    Identity,
    /// base64: bits gathered so far and how many there are; ended by padding.
    Base64 {
        /// Bits not yet given out.
        bits: u32,
        /// How many.
        count: u32,
        /// Padding was seen.
        ended: bool,
    },
    /// quoted-printable: what is held back because its meaning depends on what follows.
    QuotedPrintable {
        /// An `=` with what followed it so far, or white space that may end the line.
        held: Vec<u8>,
    },
}

impl Decoder {
    /// A decoder for the encoding; none when it is unknown.
    pub fn new(transfer: Transfer) -> Option<Self> {
        match transfer {
            Transfer::Identity => Some(Self::Identity),
            Transfer::Base64 => Some(Self::Base64 {
                bits: 0,
                count: 0,
                ended: false,
            }),
            Transfer::QuotedPrintable => Some(Self::QuotedPrintable { held: Vec::new() }),
            Transfer::Unknown => None,
        }
    }

    /// Decodes the next piece; the result is appended to `out`.
    pub fn push(&mut self, piece: &[u8], out: &mut Vec<u8>) {
        match self {
            Self::Identity => out.extend_from_slice(piece),
            Self::Base64 { bits, count, ended } => {
                for byte in piece {
                    base64(*byte, bits, count, ended, out);
                }
            }
            Self::QuotedPrintable { held } => {
                for byte in piece {
                    quoted_printable(*byte, held, out);
                }
            }
        }
    }

    /// The encoded text is complete.
    pub fn finish(self, out: &mut Vec<u8>) {
        if let Self::QuotedPrintable { held } = self {
            // White space at the very end, and a soft line break, are dropped.
            if held.starts_with(b"=") && !matches!(held.as_slice(), b"=" | b"=\r") {
                out.extend_from_slice(&held);
            }
        }
    }
}

fn base64(byte: u8, bits: &mut u32, count: &mut u32, ended: &mut bool, out: &mut Vec<u8>) {
    let value = match byte {
        b'A'..=b'Z' => byte - b'A',
        b'a'..=b'z' => byte - b'a' + 26,
        b'0'..=b'9' => byte - b'0' + 52,
        b'+' => 62,
        b'/' => 63,
        b'=' => {
            *ended = true;
            return;
        }
        _ => return,
    };
    if *ended {
        return;
    }
    *bits = (*bits << 6) | u32::from(value);
    *count += 6;
    if *count >= 8 {
        *count -= 8;
        out.push(((*bits >> *count) & 0xFF) as u8);
        *bits &= (1 << *count) - 1;
    }
}

fn quoted_printable(byte: u8, held: &mut Vec<u8>, out: &mut Vec<u8>) {
    if held.first() == Some(&b'=') {
        return escape(byte, held, out);
    }
    match byte {
        b'=' => {
            out.append(held);
            held.push(b'=');
        }
        // RFC 2045 6.7 (3): white space at the end of a line was added in transport. The bound keeps memory small.
        b' ' | b'\t' if held.len() < 1_000 => held.push(byte),
        b'\r' | b'\n' => {
            held.clear();
            out.push(byte);
        }
        _ => {
            out.append(held);
            out.push(byte);
        }
    }
}

/// Behind an `=`.
fn escape(byte: u8, held: &mut Vec<u8>, out: &mut Vec<u8>) {
    let hex = |digit: u8| {
        char::from(digit)
            .to_digit(16)
            .and_then(|value| u8::try_from(value).ok())
    };
    match (held.get(1..).unwrap_or_default(), byte) {
        (rest, b'\n') if rest.iter().all(u8::is_ascii_whitespace) => held.clear(),
        ([] | [b' ' | b'\t', ..], b' ' | b'\t' | b'\r') if held.len() < 1_000 => held.push(byte),
        ([], digit) if hex(digit).is_some() => held.push(byte),
        ([high], low) if hex(*high).is_some() && hex(low).is_some() => {
            out.push(hex(*high).unwrap_or_default() << 4 | hex(low).unwrap_or_default());
            held.clear();
        }
        _ => {
            out.append(held);
            quoted_printable(byte, held, out);
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn decode(transfer: Transfer, text: &[u8], cut: usize) -> Vec<u8> {
        let (mut decoder, mut out) = (Decoder::new(transfer).unwrap(), Vec::new());
        text.chunks(cut)
            .for_each(|piece| decoder.push(piece, &mut out));
        decoder.finish(&mut out);
        out
    }

    #[test]
    fn quoted_printable_of_rfc_2045() {
        let text = b"Now's the time =\r\nfor all folk to come=\r\n to the aid of their country.";
        let plain = b"Now's the time for all folk to come to the aid of their country.";
        assert_eq!(decode(Transfer::QuotedPrintable, text, 1), plain);
    }

    #[test]
    fn quoted_printable_odd() {
        for (text, plain) in [
            ("a=3Db=c3=BC", "a=bü"),
            ("trailing \t \r\nx  ", "trailing\r\nx"),
            ("soft= \r\nbreak", "softbreak"),
            ("bad =ZZ =4", "bad =ZZ =4"),
            ("end=", "end"),
            ("==41", "=A"),
        ] {
            assert_eq!(
                String::from_utf8(decode(Transfer::QuotedPrintable, text.as_bytes(), 3)).unwrap(),
                plain
            );
        }
    }

    #[test]
    fn base64_with_line_breaks_and_noise() {
        assert_eq!(
            decode(Transfer::Base64, b"Zm 9v\r\nYm!Fy\r\n", 2),
            b"foobar"
        );
        assert_eq!(decode(Transfer::Base64, b"Zm9vYg==\r\nfooter", 5), b"foob");
        assert!(Decoder::new(Transfer::Unknown).is_none());
    }

    proptest! {
        #[test]
        fn cuts_do_not_matter(text in "[=A-Fa-f0-9 \t\r\n]{0,80}", cut in 1_usize..7) {
            for transfer in [Transfer::Base64, Transfer::QuotedPrintable] {
                let whole = decode(transfer, text.as_bytes(), 1_000);
                prop_assert_eq!(decode(transfer, text.as_bytes(), cut), whole);
            }
        }
    }
}
