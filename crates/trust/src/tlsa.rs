//! The TLSA record (RFC 6698 2): how a name says which certificate or key its service has.
//!
//! A [`Tlsa`] holds what stood in the record, numbers as they are: unknown values are kept, because "there are records, and none
//! of them is usable" means something else than "there are no records" (RFC 7672 2.2). Only a record too short to have the three
//! numbers is refused.

mod matching;

use std::fmt;
use std::str::FromStr;

pub use matching::{RecordReport, TlsaSet, Unusable, Usages, check};

/// The most octets of association data that are looked at: a full certificate fits many times over.
const MAX_DATA: usize = 65_000;

/// One TLSA record.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Tlsa {
    /// Certificate usage: 0 PKIX-TA, 1 PKIX-EE, 2 DANE-TA, 3 DANE-EE (RFC 7218).
    pub usage: u8,
    /// Selector: 0 the whole certificate, 1 its public key.
    pub selector: u8,
    /// Matching type: 0 the octets themselves, 1 SHA-256, 2 SHA-512.
    pub matching: u8,
    /// The certificate association data.
    pub data: Vec<u8>,
}

/// Why something is no TLSA record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TlsaError {
    /// Fewer than three octets or fields before the data.
    TooShort,
    /// More data than any certificate has.
    TooLong,
    /// A field that is no number from 0 to 255.
    Number,
    /// Data that is not an even number of hexadecimal digits.
    Hexadecimal,
}

impl fmt::Display for TlsaError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::TooShort => {
                "a TLSA record needs usage, selector and matching type before its data"
            }
            Self::TooLong => "the data of the TLSA record is longer than any certificate",
            Self::Number => {
                "usage, selector and matching type of a TLSA record are numbers from 0 to 255"
            }
            Self::Hexadecimal => {
                "the data of a TLSA record is an even number of hexadecimal digits"
            }
        })
    }
}

impl std::error::Error for TlsaError {}

impl Tlsa {
    /// Reads the RDATA of a record (RFC 6698 2.1).
    pub fn from_rdata(rdata: &[u8]) -> Result<Self, TlsaError> {
        let [usage, selector, matching, data @ ..] = rdata else {
            return Err(TlsaError::TooShort);
        };
        if data.len() > MAX_DATA {
            return Err(TlsaError::TooLong);
        }
        Ok(Self {
            usage: *usage,
            selector: *selector,
            matching: *matching,
            data: data.to_vec(),
        })
    }

    /// The RDATA of the record.
    pub fn to_rdata(&self) -> Vec<u8> {
        let mut rdata = vec![self.usage, self.selector, self.matching];
        rdata.extend_from_slice(&self.data);
        rdata
    }
}

/// The presentation form (RFC 6698 2.2): `3 1 1 0123…`. The digits may be cut by spaces, as zone files do. The names of RFC 7218
/// are taken too.
impl FromStr for Tlsa {
    type Err = TlsaError;

    fn from_str(text: &str) -> Result<Self, TlsaError> {
        let mut fields = text.split_ascii_whitespace();
        let mut number = |names: &[&str]| {
            let field = fields.next().ok_or(TlsaError::TooShort)?;
            named(field, names).ok_or(TlsaError::Number)
        };
        let usage = number(&["PKIX-TA", "PKIX-EE", "DANE-TA", "DANE-EE"])?;
        let selector = number(&["Cert", "SPKI"])?;
        let matching = number(&["Full", "SHA2-256", "SHA2-512"])?;
        let digits: Vec<u8> = fields.flat_map(str::bytes).collect();
        if digits.len() > 2 * MAX_DATA {
            return Err(TlsaError::TooLong);
        }
        Ok(Self {
            usage,
            selector,
            matching,
            data: from_hexadecimal(&digits).ok_or(TlsaError::Hexadecimal)?,
        })
    }
}

impl fmt::Display for Tlsa {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} {} ", self.usage, self.selector, self.matching)?;
        for octet in &self.data {
            write!(f, "{octet:02x}")?;
        }
        Ok(())
    }
}

fn named(field: &str, names: &[&str]) -> Option<u8> {
    let by_name = names
        .iter()
        .position(|name| name.eq_ignore_ascii_case(field));
    match by_name {
        Some(position) => u8::try_from(position).ok(),
        None if field.bytes().all(|octet| octet.is_ascii_digit()) => field.parse().ok(),
        None => None,
    }
}

fn from_hexadecimal(digits: &[u8]) -> Option<Vec<u8>> {
    let value = |digit: u8| char::from(digit).to_digit(16);
    if !digits.len().is_multiple_of(2) {
        return None;
    }
    digits
        .chunks_exact(2)
        .map(|pair| match pair {
            [high, low] => u8::try_from(value(*high)? * 16 + value(*low)?).ok(),
            _ => None,
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_is_read_from_its_octets_and_written_back() {
        let rdata = [3, 1, 1, 0xab, 0xcd];
        let tlsa = Tlsa::from_rdata(&rdata).unwrap();
        assert_eq!(tlsa.to_string(), "3 1 1 abcd");
        assert_eq!(tlsa.to_rdata(), rdata);
        assert_eq!(tlsa.to_string().parse(), Ok(tlsa));
    }

    #[test]
    fn a_record_too_short_for_its_numbers_is_refused() {
        assert_eq!(Tlsa::from_rdata(&[3, 1]), Err(TlsaError::TooShort));
        assert_eq!("3 1".parse::<Tlsa>(), Err(TlsaError::TooShort));
        assert!(Tlsa::from_rdata(&[3, 1, 1]).is_ok());
    }

    #[test]
    fn unknown_numbers_are_kept() {
        let tlsa: Tlsa = "255 7 9 00".parse().unwrap();
        assert_eq!((tlsa.usage, tlsa.selector, tlsa.matching), (255, 7, 9));
    }

    #[test]
    fn names_and_broken_digits_are_read() {
        let tlsa: Tlsa = "DANE-EE SPKI SHA2-256 00 1A\tfF".parse().unwrap();
        assert_eq!((tlsa.usage, tlsa.selector, tlsa.matching), (3, 1, 1));
        assert_eq!(tlsa.data, [0, 0x1a, 0xff]);
    }

    #[test]
    fn what_is_no_number_or_digit_is_refused() {
        assert_eq!("256 1 1 00".parse::<Tlsa>(), Err(TlsaError::Number));
        assert_eq!("+3 1 1 00".parse::<Tlsa>(), Err(TlsaError::Number));
        assert_eq!("3 1 1 0".parse::<Tlsa>(), Err(TlsaError::Hexadecimal));
        assert_eq!("3 1 1 0g".parse::<Tlsa>(), Err(TlsaError::Hexadecimal));
        assert_eq!("3 1 1 é0".parse::<Tlsa>(), Err(TlsaError::Hexadecimal));
    }
}
