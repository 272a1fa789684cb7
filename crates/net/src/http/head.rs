//! The head of a response (RFC 9112 2, 4, 5): a status line and header fields, strictly.

/// The most octets of a head.
pub(super) const LONGEST: usize = 16 * 1024;
/// The most header fields.
const MOST_FIELDS: usize = 100;

/// Status and header fields.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Head {
    /// The status code.
    pub status: u16,
    /// Names in lower case, and values.
    pub fields: Vec<(String, String)>,
}

/// How the body's end is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Length {
    /// This many octets.
    Fixed(usize),
    /// In chunks.
    Chunked,
    /// The end of the connection.
    Closed,
}

impl Head {
    /// The value of a field that stands once. None when it is missing or stands more than once.
    pub fn field(&self, name: &str) -> Option<&str> {
        let mut found = self.fields.iter().filter(|(it, _)| it == name);
        let value = found.next().map(|(_, value)| value.as_str());
        value.filter(|_| found.next().is_none())
    }

    /// The media type in lower case, without its parameters: `text/plain`.
    pub fn media_type(&self) -> Option<String> {
        let value = self.field("content-type")?;
        let kind = value.split(';').next().unwrap_or_default();
        Some(kind.trim().to_ascii_lowercase())
    }

    fn has(&self, name: &str) -> bool {
        self.fields.iter().any(|(it, _)| it == name)
    }

    /// Reads a head, which ends with an empty line. None when it is not by the grammar.
    pub(super) fn read(head: &[u8]) -> Option<Self> {
        let text = std::str::from_utf8(head).ok()?;
        let mut lines = text.strip_suffix("\r\n\r\n")?.split("\r\n");
        let status = read_status(lines.next()?)?;
        let fields: Option<Vec<_>> = lines.map(read_field).collect();
        let fields = fields.filter(|it| it.len() <= MOST_FIELDS)?;
        Some(Self { status, fields })
    }

    /// How long the body is. None when that is not clear: where two lengths are given, two readers can read two things
    /// (RFC 9112 6.3).
    pub(super) fn length(&self) -> Option<Length> {
        let coded = self.has("transfer-encoding");
        let counted = self.has("content-length");
        if self
            .field("content-encoding")
            .is_some_and(|it| !it.eq_ignore_ascii_case("identity"))
        {
            return None;
        }
        match (coded, counted) {
            _ if matches!(self.status, 204 | 304) => Some(Length::Fixed(0)),
            (true, true) => None,
            (true, false) => {
                let chunked = self.field("transfer-encoding")?;
                chunked
                    .eq_ignore_ascii_case("chunked")
                    .then_some(Length::Chunked)
            }
            (false, true) => {
                let digits = self.field("content-length")?;
                let plain = !digits.is_empty() && digits.bytes().all(|it| it.is_ascii_digit());
                plain
                    .then(|| digits.parse().ok().map(Length::Fixed))
                    .flatten()
            }
            (false, false) => Some(Length::Closed),
        }
    }
}

fn read_status(line: &str) -> Option<u16> {
    let rest = line
        .strip_prefix("HTTP/1.1 ")
        .or(line.strip_prefix("HTTP/1.0 "))?;
    let (code, reason) = rest.split_at_checked(3)?;
    let plain = code.bytes().all(|it| it.is_ascii_digit()) && is_text(reason);
    let ends = reason.is_empty() || reason.starts_with(' ');
    let code = code.parse().ok()?;
    (plain && ends && (100..600).contains(&code)).then_some(code)
}

/// A name, a colon, a value: no space before the colon, no continuation of the line before.
fn read_field(line: &str) -> Option<(String, String)> {
    let (name, value) = line.split_once(':')?;
    let is_token = |it: u8| it.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&it);
    let good = !name.is_empty() && name.bytes().all(is_token) && is_text(value);
    let value = value.trim_matches([' ', '\t']);
    good.then(|| (name.to_ascii_lowercase(), value.to_owned()))
}

fn is_text(text: &str) -> bool {
    text.bytes().all(|it| it == b'\t' || !it.is_ascii_control())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn length(fields: &str) -> Option<Length> {
        let head = format!("HTTP/1.1 200 OK\r\n{fields}\r\n");
        Head::read(head.as_bytes()).unwrap().length()
    }

    #[test]
    fn a_head() {
        let head =
            Head::read(b"HTTP/1.1 200 OK\r\nContent-Type: Text/Plain; charset=utf-8\r\nX:\r\n\r\n")
                .unwrap();
        assert_eq!(
            (head.status, head.media_type().as_deref()),
            (200, Some("text/plain"))
        );
        assert_eq!(head.field("x"), Some(""));
        assert_eq!(Head::read(b"HTTP/1.0 404\r\n\r\n").unwrap().status, 404);
    }

    #[test]
    fn heads_that_are_none() {
        for head in [
            "HTTP/2 200 OK\r\n\r\n",
            "HTTP/1.1 2000 OK\r\n\r\n",
            "HTTP/1.1 200OK\r\n\r\n",
            "HTTP/1.1 +20 OK\r\n\r\n",
            "HTTP/1.1 099 x\r\n\r\n",
            "http/1.1 200 OK\r\n\r\n",
            "HTTP/1.1 200 OK\r\nX\r\n\r\n",
            "HTTP/1.1 200 OK\r\nX : y\r\n\r\n",
            "HTTP/1.1 200 OK\r\nX: y\r\n z\r\n\r\n",
            "HTTP/1.1 200 OK\r\nX: y\rz\r\n\r\n",
            "HTTP/1.1 200 OK\nX: y\r\n\r\n",
            "HTTP/1.1 200 OK\r\n: y\r\n\r\n",
            "HTTP/1.1 200 OK\r\nX: \0\r\n\r\n",
            "220 mx\r\n\r\n",
        ] {
            assert_eq!(Head::read(head.as_bytes()), None, "{head:?}");
        }
        let many = format!("HTTP/1.1 200 OK\r\n{}\r\n", "X: y\r\n".repeat(101));
        assert_eq!(Head::read(many.as_bytes()), None);
    }

    #[test]
    fn one_clear_length_or_none() {
        assert_eq!(length("Content-Length: 12\r\n"), Some(Length::Fixed(12)));
        assert_eq!(
            length("Transfer-Encoding: Chunked\r\n"),
            Some(Length::Chunked)
        );
        assert_eq!(length(""), Some(Length::Closed));
        for unclear in [
            "Content-Length: 1\r\nContent-Length: 2\r\n",
            "Content-Length: +1\r\n",
            "Content-Length: 1, 1\r\n",
            "Content-Length: \r\n",
            "Content-Length: 0x1\r\n",
            "Content-Length: 99999999999999999999999\r\n",
            "Content-Length: 1\r\nTransfer-Encoding: chunked\r\n",
            "Transfer-Encoding: gzip, chunked\r\n",
            "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n",
            "Content-Encoding: gzip\r\n",
        ] {
            assert_eq!(length(unclear), None, "{unclear:?}");
        }
    }
}
