//! How an input of a session target is laid out.
//!
//! ```text
//! flags (1 octet) | number of borders (1 octet) | borders (2 octets each) | clear text | "<tls>" | text inside TLS
//! ```
//!
//! The borders cut both texts into segments. Everything may be missing.

/// Stands between what is sent in clear and what is sent inside TLS.
pub const TLS_MARK: &[u8] = b"<tls>";

/// The most borders that are read.
const MOST_BORDERS: usize = 32;

/// An input, taken apart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Input<'a> {
    /// Switches for the target.
    pub flags: u8,
    /// Lengths of the segments, used over and over; never zero.
    lengths: Vec<usize>,
    /// What is sent in clear.
    pub clear: &'a [u8],
    /// What is sent inside TLS, if the session gets there.
    pub inside: &'a [u8],
}

impl<'a> Input<'a> {
    /// Takes an input apart. Any bytes are an input.
    pub fn parse(data: &'a [u8]) -> Self {
        let (flags, rest) = data
            .split_first()
            .map_or((0, data), |(first, rest)| (*first, rest));
        let (count, rest) = rest
            .split_first()
            .map_or((0, rest), |(first, rest)| (usize::from(*first), rest));
        let count = (count % (MOST_BORDERS + 1)).min(rest.len() / 2);
        let (borders, text) = rest.split_at(count * 2);
        let lengths = borders
            .as_chunks::<2>()
            .0
            .iter()
            .map(|pair| usize::from(u16::from_be_bytes(*pair)).max(1))
            .collect();
        let at = text
            .windows(TLS_MARK.len())
            .position(|window| window == TLS_MARK);
        let (clear, inside) = at.map_or((text, &b""[..]), |at| {
            (&text[..at], &text[at + TLS_MARK.len()..])
        });
        Self {
            flags,
            lengths,
            clear,
            inside,
        }
    }

    /// Builds an input, for seeds.
    pub fn build(flags: u8, lengths: &[u16], text: &[u8]) -> Vec<u8> {
        let count = u8::try_from(lengths.len().min(MOST_BORDERS)).unwrap_or_default();
        let mut data = vec![flags, count];
        lengths
            .iter()
            .take(MOST_BORDERS)
            .for_each(|length| data.extend(length.to_be_bytes()));
        data.extend_from_slice(text);
        data
    }

    /// Cuts a text at the borders. Without borders it is one segment.
    pub fn segments<'t>(&self, text: &'t [u8]) -> Vec<&'t [u8]> {
        let mut segments = Vec::new();
        let mut rest = text;
        let mut lengths = self.lengths.iter().cycle();
        while !rest.is_empty() {
            let length = lengths
                .next()
                .map_or(rest.len(), |length| (*length).min(rest.len()));
            let (segment, after) = rest.split_at(length);
            segments.push(segment);
            rest = after;
        }
        segments
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_built_is_taken_apart() {
        let data = Input::build(3, &[1, 0, 500], b"EHLO a\r\n<tls>QUIT\r\n");
        let input = Input::parse(&data);
        assert_eq!(
            (input.flags, input.clear, input.inside),
            (3, &b"EHLO a\r\n"[..], &b"QUIT\r\n"[..])
        );
        assert_eq!(input.segments(b"abcd"), [&b"a"[..], b"b", b"cd"]);
    }

    #[test]
    fn any_bytes_are_an_input() {
        for data in [
            &b""[..],
            b"\x01",
            b"\x01\xff",
            b"\x01\x02\x00",
            b"\x01\x01\x00\x00<tls>",
        ] {
            let input = Input::parse(data);
            assert_eq!(input.segments(b"xyz").concat(), b"xyz");
        }
    }
}
