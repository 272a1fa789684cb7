//! Base64 as SASL carries it, decoded strictly.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

/// The text is not base64: a character outside the alphabet, padding that is missing or stands inside, or bits left over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BadBase64;

/// Decodes base64 with padding (RFC 4648 4). Empty text gives no octets.
///
/// # Errors
/// [`BadBase64`] for anything that is not the one canonical form: leniency here lets two programs read two things.
pub fn decode_base64(text: &[u8]) -> Result<Vec<u8>, BadBase64> {
    // [SMTP-AUTH-05] characters outside the alphabet and a `=` inside are refused
    STANDARD.decode(text).map_err(|_| BadBase64)
}

/// Encodes with padding (RFC 4648 4), in one line.
pub fn encode_base64(octets: &[u8]) -> String {
    STANDARD.encode(octets)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_canonical_form_is_read() {
        // [SMTP-AUTH-05]
        assert_eq!(decode_base64(b""), Ok(vec![]));
        assert_eq!(decode_base64(b"AGZvbwBiYXI="), Ok(b"\0foo\0bar".to_vec()));
        let refused = [
            "AAA=BBB", "AAA=BBB=", "AA=A", "A", "AA", "AAA", "AAAA=", "====", "=", "AA==AA==",
            "AAB=", "A-_A", "AA A", "AAAA\r",
        ];
        for text in refused {
            assert_eq!(decode_base64(text.as_bytes()), Err(BadBase64), "{text}");
        }
    }

    #[test]
    fn the_longest_line_decodes() {
        // [SMTP-AUTH-05] 12288 octets of text are 9216 octets of token
        let token = vec![0x5a; 9216];
        let text = encode_base64(&token);
        assert_eq!(text.len(), 12288);
        assert_eq!(decode_base64(text.as_bytes()), Ok(token));
    }
}
