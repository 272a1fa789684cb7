//! A reader of DER (X.690), for what no crate at hand reads: OCSP responses, SRV names, the outer shape of signed objects.
//!
//! Definite lengths up to 2^32 - 1 in their shortest form, single-octet tags. Everything else is none. It allocates nothing.

use std::time::SystemTime;

use rustls_pki_types::SignatureVerificationAlgorithm;

use crate::x509::moment;

pub(crate) const BOOLEAN: u8 = 0x01;
pub(crate) const INTEGER: u8 = 0x02;
pub(crate) const BIT_STRING: u8 = 0x03;
pub(crate) const OCTET_STRING: u8 = 0x04;
pub(crate) const OBJECT_ID: u8 = 0x06;
pub(crate) const ENUMERATED: u8 = 0x0a;
pub(crate) const IA5_STRING: u8 = 0x16;
pub(crate) const UTC_TIME: u8 = 0x17;
pub(crate) const GENERALIZED_TIME: u8 = 0x18;
pub(crate) const SEQUENCE: u8 = 0x30;
pub(crate) const CONTEXT_0: u8 = 0xa0;
pub(crate) const CONTEXT_1: u8 = 0xa1;
pub(crate) const CONTEXT_2: u8 = 0xa2;

/// A place in a string of DER values.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The tag of the next value.
    pub(crate) fn peek(&self) -> Option<u8> {
        self.0.first().copied()
    }

    /// The content of the next value, if it has this tag.
    pub(crate) fn take(&mut self, tag: u8) -> Option<&'a [u8]> {
        let (found, header, length) = self.header()?;
        if found != tag {
            return None;
        }
        let content = self.0.get(header..header.checked_add(length)?)?;
        self.0 = self.0.get(header + length..)?;
        Some(content)
    }

    /// The content of the next value if it has this tag; otherwise nothing is taken.
    pub(crate) fn take_if(&mut self, tag: u8) -> Option<&'a [u8]> {
        (self.peek()? == tag).then(|| self.take(tag)).flatten()
    }

    /// The next value, whole, whatever its tag.
    pub(crate) fn take_whole(&mut self) -> Option<(u8, &'a [u8])> {
        let (tag, header, length) = self.header()?;
        let end = header.checked_add(length)?;
        let whole = self.0.get(..end)?;
        self.0 = self.0.get(end..)?;
        Some((tag, whole))
    }

    /// Tag, octets of the header, octets of the content.
    fn header(&self) -> Option<(u8, usize, usize)> {
        let [tag, first, rest @ ..] = self.0 else {
            return None;
        };
        if tag & 0x1f == 0x1f {
            return None;
        }
        if *first < 0x80 {
            return Some((*tag, 2, usize::from(*first)));
        }
        let octets = usize::from(first & 0x7f);
        let length = rest.get(..octets)?;
        if octets == 0 || octets > 4 || length.first() == Some(&0) {
            return None;
        }
        let length = length
            .iter()
            .fold(0_usize, |sum, octet| sum << 8 | usize::from(*octet));
        (length >= 0x80).then_some((*tag, 2 + octets, length))
    }
}

/// An object with a signature: certificate, revocation list, OCSP answer share the shape.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Signed<'a> {
    /// What is signed, with its header.
    pub(crate) data: &'a [u8],
    /// The content of the `AlgorithmIdentifier`.
    algorithm: &'a [u8],
    signature: &'a [u8],
}

impl<'a> Signed<'a> {
    /// Takes the three parts from the content of the outer SEQUENCE; what follows them stays.
    pub(crate) fn take(reader: &mut Reader<'a>) -> Option<Self> {
        let (SEQUENCE, data) = reader.take_whole()? else {
            return None;
        };
        let algorithm = reader.take(SEQUENCE)?;
        let signature = reader.take(BIT_STRING)?.strip_prefix(&[0])?;
        Some(Self {
            data,
            algorithm,
            signature,
        })
    }

    /// Whether the signature is by this key (a `SubjectPublicKeyInfo` with its SEQUENCE), with one of the algorithms.
    pub(crate) fn is_by(
        &self,
        spki: &[u8],
        algorithms: &[&dyn SignatureVerificationAlgorithm],
    ) -> bool {
        let mut fitting = algorithms.iter();
        fitting.any(|it| {
            it.signature_alg_id().as_ref() == self.algorithm
                && is_signed(self.data, self.signature, spki, *it)
        })
    }
}

/// Whether a signature is by this key (a `SubjectPublicKeyInfo` with its SEQUENCE), which is one for the algorithm.
pub(crate) fn is_signed(
    data: &[u8],
    signature: &[u8],
    spki: &[u8],
    algorithm: &dyn SignatureVerificationAlgorithm,
) -> bool {
    let Some((key_algorithm, key)) = key_parts(spki) else {
        return false;
    };
    algorithm.public_key_alg_id().as_ref() == key_algorithm
        && algorithm.verify_signature(key, data, signature).is_ok()
}

/// The content of the `AlgorithmIdentifier`, and the key, of a `SubjectPublicKeyInfo`.
pub(crate) fn key_parts(spki: &[u8]) -> Option<(&[u8], &[u8])> {
    let mut fields = Reader::new(Reader::new(spki).take(SEQUENCE)?);
    let algorithm = fields.take(SEQUENCE)?;
    let key = fields.take(BIT_STRING)?.strip_prefix(&[0])?;
    Some((algorithm, key))
}

/// The `SubjectPublicKeyInfo` of a certificate, with its SEQUENCE, whatever else stands in it.
pub(crate) fn spki_of(certificate: &[u8]) -> Option<&[u8]> {
    let mut outer = Reader::new(Reader::new(certificate).take(SEQUENCE)?);
    let mut fields = Reader::new(outer.take(SEQUENCE)?);
    fields.take_if(CONTEXT_0);
    fields.take(INTEGER)?;
    // Algorithm, issuer, validity, subject.
    for _ in 0..4 {
        fields.take(SEQUENCE)?;
    }
    match fields.take_whole()? {
        (SEQUENCE, spki) => Some(spki),
        _ => None,
    }
}

/// Takes a time (RFC 5280 4.1.2.5): UTC to the second, in either form.
pub(crate) fn take_time(reader: &mut Reader<'_>) -> Option<SystemTime> {
    let (year, rest) = match reader.peek()? {
        UTC_TIME => {
            let (year, rest) = number(reader.take(UTC_TIME)?, 2)?;
            (if year < 50 { 2000 + year } else { 1900 + year }, rest)
        }
        GENERALIZED_TIME => number(reader.take(GENERALIZED_TIME)?, 4)?,
        _ => return None,
    };
    let (month, rest) = number(rest, 2)?;
    let (day, rest) = number(rest, 2)?;
    let (hour, rest) = number(rest, 2)?;
    let (minute, rest) = number(rest, 2)?;
    let (second, rest) = number(rest, 2)?;
    let ranges = (1..=12).contains(&month) && (1..=31).contains(&day);
    if rest != b"Z" || !ranges || hour > 23 || minute > 59 || second > 59 {
        return None;
    }
    let seconds = ((days(year, month, day) * 24 + hour) * 60 + minute) * 60 + second;
    Some(moment(seconds))
}

fn number(text: &[u8], digits: usize) -> Option<(i64, &[u8])> {
    let (head, rest) = text.split_at_checked(digits)?;
    let value = head.iter().try_fold(0, |sum, digit| {
        digit
            .is_ascii_digit()
            .then(|| sum * 10 + i64::from(digit - b'0'))
    })?;
    Some((value, rest))
}

/// Days since 1970-01-01 in the Gregorian calendar, counted in years that begin in March.
fn days(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    365 * year + year.div_euclid(4) - year.div_euclid(100) + year.div_euclid(400) + day_of_year
        - 719_468
}

/// A SEQUENCE with this content.
pub(crate) fn wrapped(content: &[u8]) -> Vec<u8> {
    let length = content.len();
    let mut out = vec![SEQUENCE];
    if let Some(short) = u8::try_from(length).ok().filter(|it| *it < 0x80) {
        out.push(short);
    } else {
        let octets = length.to_be_bytes();
        let significant: Vec<u8> = octets.into_iter().skip_while(|it| *it == 0).collect();
        // At most 8, for a usize has no more.
        out.push(0x80 | u8::try_from(significant.len()).unwrap_or_default());
        out.extend(significant);
    }
    out.extend(content);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_are_in_their_shortest_form() {
        let take = |bytes: &'static [u8]| Reader::new(bytes).take(OCTET_STRING);
        assert_eq!(take(&[4, 1, 7]), Some(&[7][..]));
        assert_eq!(take(&[4, 0x81, 1, 7]), None, "long form for a short length");
        assert_eq!(take(&[4, 0x80, 0, 0]), None, "indefinite");
        assert_eq!(take(&[4, 2, 7]), None, "cut off");
        assert_eq!(take(&[4]), None);
        assert_eq!(take(&[4, 0x84, 0xff, 0xff, 0xff, 0xff, 0]), None);
        let padded = [&[4, 0x82, 0, 0x80][..], &[9; 0x80]].concat();
        assert_eq!(
            Reader::new(&padded).take(OCTET_STRING),
            None,
            "a leading zero"
        );
        let mut long = vec![4, 0x81, 0x80];
        long.extend([9; 0x80]);
        assert_eq!(Reader::new(&long).take(OCTET_STRING), Some(&[9; 0x80][..]));
    }

    #[test]
    fn times_are_utc_to_the_second() {
        let seconds = |tag: u8, text: &str| {
            let length = u8::try_from(text.len()).unwrap();
            let bytes = [&[tag, length], text.as_bytes()].concat();
            let time = take_time(&mut Reader::new(&bytes))?;
            Some(
                time.duration_since(SystemTime::UNIX_EPOCH)
                    .unwrap()
                    .as_secs(),
            )
        };
        assert_eq!(seconds(UTC_TIME, "700101000000Z"), Some(0));
        assert_eq!(seconds(UTC_TIME, "261101000000Z"), Some(1_793_491_200));
        assert_eq!(
            seconds(GENERALIZED_TIME, "20240229235959Z"),
            Some(1_709_251_199)
        );
        assert_eq!(
            seconds(GENERALIZED_TIME, "20000301000000Z"),
            Some(951_868_800)
        );
        for text in [
            "20241301000000Z",
            "20240101240000Z",
            "20240101000000",
            "2024010100000Z0",
        ] {
            assert_eq!(seconds(GENERALIZED_TIME, text), None, "{text}");
        }
        assert_eq!(seconds(OCTET_STRING, "20240101000000Z"), None);
    }

    #[test]
    fn another_tag_takes_nothing() {
        let mut reader = Reader::new(&[2, 1, 5, 4, 0]);
        assert_eq!(reader.take_if(OCTET_STRING), None);
        assert_eq!(reader.take(OCTET_STRING), None);
        assert_eq!(reader.take(INTEGER), Some(&[5][..]));
        assert_eq!(reader.take_whole(), Some((OCTET_STRING, &[4, 0][..])));
        assert!(reader.is_empty());
    }
}
