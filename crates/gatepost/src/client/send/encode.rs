//! Text into what mail can carry: encoded words (RFC 2047), quoted-printable and base64 (RFC 2045), parameters (RFC 2231),
//! folding (RFC 5322 section 2.2.3).

use std::io::Read;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

/// The octets of a file that become one line of base64: 76 characters.
const LINE: usize = 57;

/// The lines of base64 made at a time.
const LINES: usize = 1024;

/// A display name: as it is, in quotes, or as encoded words.
pub(crate) fn phrase(name: &str) -> String {
    let plain = |sign: char| sign.is_ascii_alphanumeric() || " !#$%&'*+-/=?^_`{|}~".contains(sign);
    if !name.is_ascii() {
        return words(name);
    }
    if name.chars().all(plain) && !name.starts_with("=?") {
        return name.to_owned();
    }
    format!("\"{}\"", name.replace('\\', "\\\\").replace('"', "\\\""))
}

/// The text of an unstructured field: as it is, or as encoded words.
pub(crate) fn unstructured(text: &str) -> String {
    if text.is_ascii() && !text.contains("=?") {
        text.to_owned()
    } else {
        words(text)
    }
}

/// Encoded words, none longer than 75 characters and none with part of a character.
fn words(text: &str) -> String {
    let mut words = Vec::new();
    let mut piece = String::new();
    for sign in text.chars() {
        if piece.len() + sign.len_utf8() > 45 {
            words.push(word(&piece));
            piece.clear();
        }
        piece.push(sign);
    }
    words.push(word(&piece));
    words.join(" ")
}

fn word(piece: &str) -> String {
    format!("=?utf-8?B?{}?=", STANDARD.encode(piece))
}

/// A header field, folded at spaces so that lines are at most 78 characters where that is possible.
pub(crate) fn field(name: &str, value: &str) -> String {
    let mut lines = format!("{name}:");
    let mut width = lines.len();
    for word in value.split(' ') {
        if width + 1 + word.len() > 78 && width > name.len() + 1 && !word.is_empty() {
            lines.push_str("\r\n");
            width = 0;
        }
        lines.push(' ');
        lines.push_str(word);
        width += 1 + word.len();
    }
    lines.push_str("\r\n");
    lines
}

/// A file's name as parameter of a field (RFC 2231 where it is not plain).
pub(crate) fn parameter(name: &str, value: &str) -> String {
    let plain = |octet: u8| octet.is_ascii_alphanumeric() || b"-_. ()+@,".contains(&octet);
    if value.bytes().all(plain) && value.len() <= 60 {
        return format!("{name}=\"{value}\"");
    }
    let encoded: String = value
        .bytes()
        .map(|octet| {
            if octet.is_ascii_alphanumeric() || b"-_.".contains(&octet) {
                char::from(octet).to_string()
            } else {
                format!("%{octet:02X}")
            }
        })
        .collect();
    format!("{name}*=utf-8''{encoded}")
}

/// Whether text can stand in a message as it is: ASCII, no line over 998 octets, no control characters but tabs.
pub(crate) fn is_plain(text: &[u8]) -> bool {
    let good = |octet: &u8| matches!(octet, b'\r' | b'\n' | b'\t' | 0x20..=0x7e);
    text.iter().all(good)
        && text
            .split(|octet| *octet == b'\n')
            .all(|line| line.len() <= 998)
}

/// Quoted-printable of text whose lines end with CRLF.
pub(crate) fn quoted_printable(text: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len() + text.len() / 8);
    let mut rest = text;
    while !rest.is_empty() {
        let end = rest.windows(2).position(|pair| pair == b"\r\n");
        let (line, after) = rest.split_at(end.unwrap_or(rest.len()));
        quote_line(line, &mut out);
        if end.is_some() {
            out.extend_from_slice(b"\r\n");
        }
        rest = after.get(2..).unwrap_or_default();
    }
    out
}

fn quote_line(line: &[u8], out: &mut Vec<u8>) {
    let mut width = 0;
    for (at, octet) in line.iter().enumerate() {
        let last = at + 1 == line.len();
        // A space at a line's end would be lost; a dot or "From " at its beginning is what careless programs change.
        let literal = match octet {
            b' ' | b'\t' => !last,
            b'.' | b'F' => at != 0,
            0x21..=0x7e => *octet != b'=',
            _ => false,
        };
        let needs = if literal { 1 } else { 3 };
        if width + needs > 75 {
            out.extend_from_slice(b"=\r\n");
            width = 0;
        }
        if literal {
            out.push(*octet);
        } else {
            out.extend_from_slice(format!("={octet:02X}").as_bytes());
        }
        width += needs;
    }
}

/// How long a file of so many octets is in base64, line ends counted.
pub(crate) const fn base64_length(octets: u64) -> u64 {
    let line = LINE as u64;
    let (whole, rest) = (octets / line, octets % line);
    let tail = if rest == 0 {
        0
    } else {
        rest.div_ceil(3) * 4 + 2
    };
    whole * 78 + tail
}

/// The next piece of a file in base64; empty at its end.
pub(crate) fn base64_piece(file: &mut impl Read) -> std::io::Result<Vec<u8>> {
    let mut octets = Vec::with_capacity(LINE * LINES);
    file.take((LINE * LINES) as u64).read_to_end(&mut octets)?;
    let mut out = Vec::with_capacity(octets.len() / LINE * 78 + 78);
    for line in octets.chunks(LINE) {
        out.extend_from_slice(STANDARD.encode(line).as_bytes());
        out.extend_from_slice(b"\r\n");
    }
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn encoded_words_keep_characters_whole_and_lines_short() {
        let long = "Grüße aus Übersee ".repeat(9);
        let encoded = unstructured(&long);
        let mut decoded = String::new();
        for word in encoded.split(' ') {
            assert!(word.len() <= 75, "{word}");
            let inner = word
                .strip_prefix("=?utf-8?B?")
                .and_then(|it| it.strip_suffix("?="))
                .unwrap();
            decoded += std::str::from_utf8(&STANDARD.decode(inner).unwrap()).unwrap();
        }
        assert_eq!(decoded, long);
        assert_eq!(unstructured("plain"), "plain");
        assert_ne!(unstructured("=?utf-8?B?eA==?="), "=?utf-8?B?eA==?=");
    }

    #[test]
    fn fields_are_folded_at_spaces_and_nowhere_else() {
        let value = vec!["word"; 60].join(" ");
        let folded = field("Subject", &value);
        assert!(folded.split("\r\n").all(|line| line.len() <= 78));
        assert_eq!(folded.replace("\r\n", ""), format!("Subject: {value}"));
        assert_eq!(
            field("X", &"y".repeat(100)),
            format!("X: {}\r\n", "y".repeat(100))
        );
        assert_eq!(field("Subject", "two  spaces"), "Subject: two  spaces\r\n");
    }

    #[test]
    fn quoted_printable_by_example() {
        let text = "Grüße=1 \r\n.dot\r\nFrom here\r\nend".as_bytes();
        let quoted = "Gr=C3=BC=C3=9Fe=3D1=20\r\n=2Edot\r\n=46rom here\r\nend";
        assert_eq!(String::from_utf8(quoted_printable(text)).unwrap(), quoted);
        let long = quoted_printable("ü".repeat(200).as_bytes());
        assert!(
            long.split(|octet| *octet == b'\n')
                .all(|line| line.len() <= 77)
        );
    }

    #[test]
    fn the_length_of_base64_is_known_beforehand() {
        for length in [0, 1, 2, 3, 56, 57, 58, 114, 58_367, 58_368, 58_369, 200_000] {
            let octets = vec![7_u8; length];
            let mut file = octets.as_slice();
            let mut total = 0;
            loop {
                let piece = base64_piece(&mut file).unwrap();
                if piece.is_empty() {
                    break;
                }
                total += piece.len() as u64;
            }
            assert_eq!(total, base64_length(length as u64), "{length}");
        }
    }

    #[test]
    fn file_names_survive() {
        assert_eq!(parameter("filename", "a b.txt"), "filename=\"a b.txt\"");
        assert_eq!(
            parameter("filename", "ü\".txt"),
            "filename*=utf-8''%C3%BC%22.txt"
        );
    }
}
