//! Mailbox names in modified UTF-7 (RFC 3501 5.1.3), the form they have on the wire until a client enables IMAP4rev2.
//!
//! Decoding is strict: a name has exactly one encoded form, so two spellings can never mean one mailbox. Refused are bytes
//! outside printable ASCII, base64 of characters that need none, runs that are not closed or directly follow one another,
//! bad padding bits, and surrogates without their half.

use base64::Engine;
use base64::alphabet::IMAP_MUTF7;
use base64::engine::{GeneralPurpose, general_purpose::NO_PAD};

const BASE64: GeneralPurpose = GeneralPurpose::new(&IMAP_MUTF7, NO_PAD);

/// The name is not the canonical modified UTF-7 of anything.
#[derive(Debug, PartialEq, Eq)]
pub struct NotModifiedUtf7;

/// The encoded form of a name.
pub fn encode(name: &str) -> String {
    let mut out = String::with_capacity(name.len());
    let mut shifted = Vec::new();
    for character in name.chars() {
        if matches!(character, ' '..='~') {
            flush(&mut shifted, &mut out);
            out.push(character);
            if character == '&' {
                out.push('-');
            }
        } else {
            let mut units = [0; 2];
            shifted.extend(
                character
                    .encode_utf16(&mut units)
                    .iter()
                    .flat_map(|unit| unit.to_be_bytes()),
            );
        }
    }
    flush(&mut shifted, &mut out);
    out
}

fn flush(shifted: &mut Vec<u8>, out: &mut String) {
    if !shifted.is_empty() {
        out.push('&');
        BASE64.encode_string(&shifted, out);
        out.push('-');
        shifted.clear();
    }
}

/// The name an encoded form stands for.
pub fn decode(encoded: &[u8]) -> Result<String, NotModifiedUtf7> {
    let text = str::from_utf8(encoded).map_err(|_| NotModifiedUtf7)?;
    let mut name = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((plain, shifted)) = rest.split_once('&') {
        let (inner, after) = shifted.split_once('-').ok_or(NotModifiedUtf7)?;
        name.push_str(plain);
        if inner.is_empty() {
            name.push('&');
        } else {
            name.push_str(&decode_run(inner)?);
        }
        rest = after;
    }
    name.push_str(rest);
    // One comparison catches every form that is not the canonical one.
    if encode(&name).as_bytes() == encoded {
        Ok(name)
    } else {
        Err(NotModifiedUtf7)
    }
}

fn decode_run(inner: &str) -> Result<String, NotModifiedUtf7> {
    let octets = BASE64.decode(inner).map_err(|_| NotModifiedUtf7)?;
    let (pairs, odd) = octets.as_chunks::<2>();
    if !odd.is_empty() {
        return Err(NotModifiedUtf7);
    }
    let units: Vec<u16> = pairs.iter().map(|pair| u16::from_be_bytes(*pair)).collect();
    String::from_utf16(&units).map_err(|_| NotModifiedUtf7)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_example_of_rfc_3501() {
        let name = "~peter/mail/台北/日本語";
        assert_eq!(encode(name), "~peter/mail/&U,BTFw-/&ZeVnLIqe-");
        assert_eq!(decode(b"~peter/mail/&U,BTFw-/&ZeVnLIqe-").unwrap(), name);
        assert_eq!(encode("Q&A 😀"), "Q&-A &2D3eAA-");
    }

    #[test]
    fn only_the_canonical_form_is_read() {
        for bad in [
            "&",
            "a&b",
            "&Jjo!",
            "&U,BTFw-&ZeVnLIqe-",
            "&AGE-",
            "&2D0-",
            "&AOQ",
            "&AOR-",
            "ä",
            "&AA-",
            "a\tb",
        ] {
            assert_eq!(decode(bad.as_bytes()), Err(NotModifiedUtf7), "{bad}");
        }
    }

    proptest! {
        #[test]
        fn every_name_comes_back(name in "\\PC*") {
            let encoded = encode(&name);
            prop_assert!(encoded.bytes().all(|byte| matches!(byte, b' '..=b'~')));
            prop_assert_eq!(decode(encoded.as_bytes()).unwrap(), name);
        }

        #[test]
        fn no_two_forms_mean_one_name(encoded in "[&a-c,A-Z-]{0,12}") {
            if let Ok(name) = decode(encoded.as_bytes()) {
                prop_assert_eq!(encode(&name), encoded);
            }
        }
    }
}
