//! What a server said in clear where TLS was expected: a class for counting, and the beginning, quoted.

use std::fmt;

use gatepost_wire::client::Quote;

/// Whose words they look like.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum WordsClass {
    /// A greeting or an error of SMTP or LMTP.
    Smtp,
    /// A greeting of IMAP.
    Imap,
    /// A greeting or an error of POP3.
    Pop3,
    /// An answer of HTTP.
    Http,
    /// A greeting of SSH.
    Ssh,
    /// Anything else.
    Other,
}

impl WordsClass {
    /// Classes the first bytes of a server.
    pub fn of(bytes: &[u8]) -> Self {
        match bytes {
            [b'1'..=b'5', b'0'..=b'9', b'0'..=b'9', b' ' | b'-', ..] => Self::Smtp,
            _ if bytes.starts_with(b"* ") => Self::Imap,
            _ if bytes.starts_with(b"+OK") || bytes.starts_with(b"-ERR") => Self::Pop3,
            _ if bytes.starts_with(b"HTTP/") => Self::Http,
            _ if bytes.starts_with(b"SSH-") => Self::Ssh,
            _ => Self::Other,
        }
    }

    /// A stable word in lower case.
    pub const fn label(self) -> &'static str {
        match self {
            Self::Smtp => "smtp",
            Self::Imap => "imap",
            Self::Pop3 => "pop3",
            Self::Http => "http",
            Self::Ssh => "ssh",
            Self::Other => "other",
        }
    }
}

/// Words in clear where TLS was expected.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct ClearWords {
    /// Whose they look like.
    pub class: WordsClass,
    /// Their first line. Anyone on the path can have written it.
    pub quote: Quote,
}

impl ClearWords {
    pub(crate) fn new(bytes: &[u8]) -> Self {
        let line = bytes
            .split(|octet| matches!(octet, b'\r' | b'\n'))
            .next()
            .unwrap_or_default();
        Self {
            class: WordsClass::of(bytes),
            quote: Quote::unauthenticated(line),
        }
    }
}

impl fmt::Display for ClearWords {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.quote.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn classes() {
        for (bytes, class) in [
            (&b"220 mx.example ESMTP\r\n"[..], WordsClass::Smtp),
            (b"554-no\r\n", WordsClass::Smtp),
            (b"* OK ready\r\n", WordsClass::Imap),
            (b"+OK ready\r\n", WordsClass::Pop3),
            (b"HTTP/1.1 400 Bad Request\r\n", WordsClass::Http),
            (b"SSH-2.0-x\r\n", WordsClass::Ssh),
            (b"2200", WordsClass::Other),
            (b"", WordsClass::Other),
        ] {
            assert_eq!(WordsClass::of(bytes), class, "{bytes:?}");
        }
    }

    #[test]
    fn only_the_first_line_is_quoted() {
        let words = ClearWords::new(b"220 mx\x1b[2J\r\n250 evil\r\n");
        assert_eq!(words.to_string(), "\"220 mx\\u{1b}[2J\" (unauthenticated)");
    }
}
