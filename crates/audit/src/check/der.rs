//! The little of DER (X.690) that the checks need of keys: elements of definite length, and the numbers of an RSA key.

/// SEQUENCE.
pub(crate) const SEQUENCE: u8 = 0x30;
const INTEGER: u8 = 0x02;
const BIT_STRING: u8 = 0x03;
/// The version of a certificate (RFC 5280 4.1), which may be missing.
const VERSION: u8 = 0xa0;

/// The content of an element of this tag, and what stands behind.
pub(crate) fn element(octets: &[u8], tag: u8) -> Option<(&[u8], &[u8])> {
    let [found, length, rest @ ..] = octets else {
        return None;
    };
    if *found != tag {
        return None;
    }
    let (length, rest) = match length {
        0..=0x7f => (usize::from(*length), rest),
        0x81 => (usize::from(*rest.first()?), rest.get(1..)?),
        0x82 => {
            let (two, rest) = rest.split_first_chunk::<2>()?;
            (usize::from(u16::from_be_bytes(*two)), rest)
        }
        _ => return None,
    };
    rest.split_at_checked(length)
}

/// An RSA key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct RsaKey<'a> {
    /// Without leading zeros.
    pub(crate) modulus: &'a [u8],
    /// Without leading zeros.
    pub(crate) exponent: &'a [u8],
}

impl<'a> RsaKey<'a> {
    /// The content of an `RSAPublicKey` (RFC 8017 A.1.1).
    pub(crate) fn of_content(content: &'a [u8]) -> Option<Self> {
        let (modulus, rest) = element(content, INTEGER)?;
        let (exponent, _) = element(rest, INTEGER)?;
        let (modulus, exponent) = (unsigned(modulus), unsigned(exponent));
        (!modulus.is_empty() && !exponent.is_empty()).then_some(Self { modulus, exponent })
    }

    /// Of the content of a `SubjectPublicKeyInfo` (RFC 5280 4.1): its algorithm, then the key in a bit string.
    pub(crate) fn of_spki(content: &'a [u8]) -> Option<Self> {
        let (_, rest) = element(content, SEQUENCE)?;
        let (bits, _) = element(rest, BIT_STRING)?;
        let (key, _) = element(bits.strip_prefix(&[0])?, SEQUENCE)?;
        Self::of_content(key)
    }

    /// Of a certificate (RFC 5280 4.1). None where its key is another one.
    pub(crate) fn of_certificate(certificate: &'a [u8]) -> Option<Self> {
        let (certificate, _) = element(certificate, SEQUENCE)?;
        let (mut body, _) = element(certificate, SEQUENCE)?;
        if let Some((_, rest)) = element(body, VERSION) {
            body = rest;
        }
        let (_, mut body) = element(body, INTEGER)?;
        // Signature, issuer, validity, subject.
        for _ in 0..4 {
            (_, body) = element(body, SEQUENCE)?;
        }
        Self::of_spki(element(body, SEQUENCE)?.0)
    }

    /// The length of the modulus in bits.
    pub(crate) fn bits(&self) -> usize {
        let top = self.modulus.first().map_or(0, |it| it.leading_zeros());
        (self.modulus.len() * 8).saturating_sub(top as usize)
    }
}

fn unsigned(number: &[u8]) -> &[u8] {
    let start = number.iter().position(|octet| *octet != 0);
    start.and_then(|it| number.get(it..)).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_certificate_without_an_rsa_key_has_none() {
        let made = rcgen::generate_simple_self_signed(vec!["mail.example.test".to_owned()]);
        assert_eq!(RsaKey::of_certificate(made.unwrap().cert.der()), None);
        for cut in [
            &[][..],
            &[SEQUENCE],
            &[SEQUENCE, 0x83, 0, 0, 1],
            &[SEQUENCE, 2, 2, 0],
        ] {
            assert_eq!(RsaKey::of_certificate(cut), None);
        }
    }

    #[test]
    fn leading_zeros_do_not_count() {
        let key = RsaKey::of_content(&[2, 3, 0, 0x41, 9, 2, 1, 3]).unwrap();
        assert_eq!(
            (key.modulus, key.exponent, key.bits()),
            (&[0x41, 9][..], &[3][..], 15)
        );
        assert_eq!(RsaKey::of_content(&[2, 1, 0, 2, 1, 3]), None);
    }
}
