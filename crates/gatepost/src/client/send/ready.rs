//! A ready message: found out by its header, taken as it is but for line ends and a Bcc field.
//!
//! Signatures cover what stands in a message, so nothing is added or encoded anew. Line ends become CRLF, for a bare CR or LF on
//! the wire is read differently by different servers ([CONF-14], SMTP smuggling). A Bcc field is taken out: its purpose
//! is not to be seen.

/// The fields one of which a header must have to be taken for one.
const TELLING: &[&str] = &[
    "from",
    "to",
    "date",
    "subject",
    "message-id",
    "mime-version",
    "received",
    "return-path",
];

/// Whether text begins with a message header rather than with prose.
pub(crate) fn is_message(text: &[u8]) -> bool {
    let mut telling = false;
    for line in text.split(|octet| *octet == b'\n') {
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        if line.is_empty() {
            return telling;
        }
        if line.starts_with(b" ") || line.starts_with(b"\t") {
            continue;
        }
        let Some(name) = field_name(line) else {
            return false;
        };
        telling |= TELLING.contains(&name.as_str());
    }
    // A header without a body is a message too.
    telling
}

/// The name of a header field, in lower case, if the line begins one.
pub(crate) fn field_name(line: &[u8]) -> Option<String> {
    let colon = line.iter().position(|octet| *octet == b':')?;
    let name = line.get(..colon)?;
    let good = !name.is_empty() && name.iter().all(|octet| (0x21..=0x7e).contains(octet));
    good.then(|| String::from_utf8_lossy(name).to_ascii_lowercase())
}

/// Every line end as CRLF, and one at the end.
pub(crate) fn normalise(text: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len() + text.len() / 32 + 2);
    let mut previous = 0;
    for octet in text {
        match octet {
            b'\n' if previous == b'\r' => {}
            b'\r' | b'\n' => out.extend_from_slice(b"\r\n"),
            other => out.push(*other),
        }
        previous = *octet;
    }
    if !out.is_empty() && !out.ends_with(b"\r\n") {
        out.extend_from_slice(b"\r\n");
    }
    out
}

/// The message without its Bcc fields, and whether there were any. Lines must end with CRLF.
pub(crate) fn without_bcc(message: Vec<u8>) -> (Vec<u8>, bool) {
    let mut out = Vec::with_capacity(message.len());
    let (mut dropping, mut found) = (false, false);
    let mut rest = message.as_slice();
    while !rest.is_empty() && !rest.starts_with(b"\r\n") {
        let end = rest
            .windows(2)
            .position(|pair| pair == b"\r\n")
            .map_or(rest.len(), |at| at + 2);
        let (line, after) = rest.split_at(end);
        let continued = line.starts_with(b" ") || line.starts_with(b"\t");
        dropping = if continued { dropping } else { is_bcc(line) };
        found |= dropping;
        if !dropping {
            out.extend_from_slice(line);
        }
        rest = after;
    }
    if !found {
        return (message, false);
    }
    out.extend_from_slice(rest);
    (out, true)
}

/// Whether the line begins a Bcc field. Between name and colon old programs write spaces (RFC 5322 section 4.5).
fn is_bcc(line: &[u8]) -> bool {
    let colon = line.iter().position(|octet| *octet == b':');
    let name = colon.and_then(|at| line.get(..at)).unwrap_or_default();
    let name = name.trim_ascii_end();
    name.eq_ignore_ascii_case(b"bcc") || name.eq_ignore_ascii_case(b"resent-bcc")
}

/// What a message needs of the server to be carried as it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is one thing the server must be able to do"
)]
pub(crate) struct Needs {
    /// Octets beyond ASCII in the body: 8BITMIME (RFC 6152).
    pub(crate) eight_bit: bool,
    /// Octets beyond ASCII in the header: SMTPUTF8 (RFC 6531).
    pub(crate) utf8_header: bool,
    /// NUL octets, which nothing but BINARYMIME carries.
    pub(crate) binary: bool,
    /// Lines over 998 octets, which servers may refuse (RFC 5321 section 4.5.3.1.6).
    pub(crate) long_lines: bool,
}

/// What a ready message needs. Lines must end with CRLF.
pub(crate) fn needs(message: &[u8]) -> Needs {
    let header_end = message
        .windows(4)
        .position(|four| four == b"\r\n\r\n")
        .unwrap_or(message.len());
    let header = message.get(..header_end).unwrap_or_default();
    Needs {
        eight_bit: !message.is_ascii(),
        utf8_header: !header.is_ascii(),
        binary: message.contains(&0),
        long_lines: message
            .split(|octet| *octet == b'\n')
            .any(|line| line.len() > 999),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_are_told_from_prose() {
        for message in [
            "From: a@b.test\nSubject: x\n\nbody",
            "Received: from x\r\n\tby y\r\nX-A: b\r\n\r\n",
            "Subject: only a header",
        ] {
            assert!(is_message(message.as_bytes()), "{message}");
        }
        for prose in [
            "",
            "\nFrom: a@b.test\n",
            "Hello,\n\nFrom: me",
            "Note: buy milk\n\nmore",
            "Subject line one\nFrom: x\n\n",
            "From here on: x\n\n",
            "Dear all: the\nnext line\n\n",
        ] {
            assert!(!is_message(prose.as_bytes()), "{prose}");
        }
    }

    #[test]
    fn no_bare_cr_or_lf_is_left() {
        // [CONF-14]
        let table: [(&[u8], &[u8]); 6] = [
            (b"a\nb", b"a\r\nb\r\n"),
            (b"a\r\nb\r\n", b"a\r\nb\r\n"),
            (b"a\rb\r\r\nc", b"a\r\nb\r\n\r\nc\r\n"),
            (b"\n.\n", b"\r\n.\r\n"),
            (b"\r\n.\r", b"\r\n.\r\n"),
            (b"", b""),
        ];
        for (text, expected) in table {
            assert_eq!(normalise(text), expected, "{text:?}");
        }
    }

    #[test]
    fn a_bcc_field_is_not_sent() {
        let message =
            b"From: a@b.test\r\nBCC: c@d.test,\r\n e@f.test\r\nSubject: x\r\n\r\nBcc: stays\r\n"
                .to_vec();
        let (sent, found) = without_bcc(message);
        assert!(found);
        assert_eq!(sent, b"From: a@b.test\r\nSubject: x\r\n\r\nBcc: stays\r\n");
        let spaced = b"From: a@b.test\r\nBcc : c@d.test\r\n\r\nx\r\n".to_vec();
        let (sent, found) = without_bcc(spaced);
        assert!(found && sent == b"From: a@b.test\r\n\r\nx\r\n");
        let plain = b"From: a@b.test\r\n\r\nBcc: x\r\n".to_vec();
        assert_eq!(without_bcc(plain.clone()), (plain, false));
    }

    #[test]
    fn what_a_message_needs() {
        assert_eq!(needs(b"A: b\r\n\r\nc\r\n"), Needs::default());
        let eight = needs("A: b\r\n\r\nü\r\n".as_bytes());
        assert!(eight.eight_bit && !eight.utf8_header);
        assert!(needs("A: ü\r\n\r\nc\r\n".as_bytes()).utf8_header);
        assert!(needs(b"A: b\r\n\r\n\0\r\n").binary);
        assert!(!needs(&[b"A: b\r\n\r\n".as_slice(), &[b'x'; 998], b"\r\n"].concat()).long_lines);
        assert!(needs(&[b"A: b\r\n\r\n".as_slice(), &[b'x'; 999], b"\r\n"].concat()).long_lines);
    }
}
