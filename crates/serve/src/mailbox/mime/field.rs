//! Header fields as they stand in a message (RFC 5322 2.2), tolerant of bare LF line ends.

use memchr::memchr;

/// One header field.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Field<'a> {
    /// The name, without space before the colon.
    pub name: &'a [u8],
    /// What follows the colon, folded as it was, line end included.
    pub value: &'a [u8],
    /// The whole field with its line ends.
    pub raw: &'a [u8],
}

impl Field<'_> {
    /// Whether the field has this name; case does not matter.
    pub fn is(&self, name: &str) -> bool {
        self.name.eq_ignore_ascii_case(name.as_bytes())
    }

    /// The value on one line, without space at its ends (RFC 5322 2.2.3).
    pub fn unfolded(&self) -> Vec<u8> {
        let text: Vec<u8> = self
            .value
            .iter()
            .copied()
            .filter(|byte| !matches!(byte, b'\r' | b'\n' | 0))
            .collect();
        text.trim_ascii().to_vec()
    }
}

/// The fields of a header, in order. Lines that are not fields are passed over; the empty line ends them.
pub fn fields(header: &[u8]) -> impl Iterator<Item = Field<'_>> {
    let mut rest = header;
    std::iter::from_fn(move || {
        loop {
            let (raw, after) = take_field(rest)?;
            rest = after;
            if let Some(field) = parse(raw) {
                return Some(field);
            }
        }
    })
}

/// The first field of that name.
pub fn first<'a>(header: &'a [u8], name: &str) -> Option<Field<'a>> {
    fields(header).find(|field| field.is(name))
}

/// Takes the last field off a header that was cut somewhere: of an address cut in the middle another would be left.
pub(crate) fn cut_field(header: &mut Vec<u8>) {
    let begins = |at: &usize| !matches!(header.get(at + 1), None | Some(b' ' | b'\t'));
    let last = memchr::memrchr_iter(b'\n', header).find(begins);
    header.truncate(last.map_or(0, |at| at + 1));
}

/// A line with the lines that continue it; none at the end of the header.
fn take_field(header: &[u8]) -> Option<(&[u8], &[u8])> {
    if header.is_empty() || header.starts_with(b"\n") || header.starts_with(b"\r\n") {
        return None;
    }
    let mut end = 0;
    loop {
        let rest = header.get(end..).unwrap_or_default();
        end += memchr(b'\n', rest).map_or(rest.len(), |at| at + 1);
        if !matches!(header.get(end), Some(b' ' | b'\t')) {
            return Some(header.split_at(end.min(header.len())));
        }
    }
}

fn parse(raw: &[u8]) -> Option<Field<'_>> {
    let colon = memchr(b':', raw)?;
    let name = raw.get(..colon)?.trim_ascii_end();
    let printable = !name.is_empty() && name.iter().all(u8::is_ascii_graphic);
    printable.then_some(Field {
        name,
        value: raw.get(colon + 1..).unwrap_or_default(),
        raw,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_field_that_was_cut_is_left_out() {
        for (cut, left) in [
            ("A: b\r\nTo: anna@exam", "A: b\r\n"),
            ("A: b\r\nTo: anna@example.org,\r\n ben@exam", "A: b\r\n"),
            // The next line might have gone on with it.
            ("A: b\r\nTo: anna@example.org\r\n", "A: b\r\n"),
            ("To: anna@exam", ""),
            ("", ""),
        ] {
            let mut header = cut.as_bytes().to_vec();
            cut_field(&mut header);
            assert_eq!(header, left.as_bytes(), "{cut:?}");
        }
    }

    #[test]
    fn fields_folded_and_odd() {
        let header = b"Subject: a\r\n b\r\nno field here\r\nX : \ty \r\nLast:\n\nBody: no";
        let found: Vec<_> = fields(header)
            .map(|field| (field.name, field.unfolded()))
            .collect();
        assert_eq!(
            found,
            [
                (&b"Subject"[..], b"a b".to_vec()),
                (&b"X"[..], b"y".to_vec()),
                (&b"Last"[..], Vec::new())
            ]
        );
        assert_eq!(
            first(header, "SUBJECT").unwrap().raw,
            b"Subject: a\r\n b\r\n"
        );
    }
}
