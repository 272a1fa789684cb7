//! The content fields of a part (RFC 2045, 2183, 3282, 2557, 1864), as they stand: parameters are not decoded.

use super::field::{Field, fields};

/// How long one value is kept at the most, in octets; longer ones are cut. Boundaries are at most 70 (RFC 2046 5.1.1).
const VALUE_LIMIT: usize = 4 * 1024;
/// How many parameters of one field are kept.
const PARAMETERS_LIMIT: usize = 50;

/// A parameter's name and value.
pub type Parameter = (Vec<u8>, Vec<u8>);

/// The content fields of a header.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Content {
    /// Content-Type; none when it is missing or makes no sense.
    pub media: Option<Media>,
    /// Content-Transfer-Encoding, as written.
    pub encoding: Option<Vec<u8>>,
    /// Content-ID
    pub id: Option<Vec<u8>>,
    /// Content-Description
    pub description: Option<Vec<u8>>,
    /// Content-MD5
    pub md5: Option<Vec<u8>>,
    /// Content-Disposition
    pub disposition: Option<(Vec<u8>, Vec<Parameter>)>,
    /// Content-Language
    pub language: Vec<Vec<u8>>,
    /// Content-Location
    pub location: Option<Vec<u8>>,
}

/// A media type with its parameters.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Media {
    /// The type, as written.
    pub kind: Vec<u8>,
    /// The subtype, as written.
    pub subtype: Vec<u8>,
    /// The parameters in order.
    pub parameters: Vec<Parameter>,
}

impl Media {
    /// Whether it is this type; case does not matter.
    pub fn is(&self, kind: &str) -> bool {
        self.kind.eq_ignore_ascii_case(kind.as_bytes())
    }

    /// Whether it is `message/rfc822` or `message/global`.
    pub fn is_message(&self) -> bool {
        self.is("message")
            && (self.subtype.eq_ignore_ascii_case(b"rfc822")
                || self.subtype.eq_ignore_ascii_case(b"global"))
    }

    /// A parameter's value; names are compared without regard to case.
    pub fn parameter(&self, name: &str) -> Option<&[u8]> {
        let found = self
            .parameters
            .iter()
            .find(|(key, _)| key.eq_ignore_ascii_case(name.as_bytes()));
        found.map(|(_, value)| value.as_slice())
    }
}

impl Content {
    /// Reads the fields of a header. The first of each name counts.
    pub fn parse(header: &[u8]) -> Self {
        let mut content = Self::default();
        for field in fields(header) {
            let is_content = field
                .name
                .get(..8)
                .is_some_and(|start| start.eq_ignore_ascii_case(b"content-"));
            if is_content {
                content.take(&field);
            }
        }
        content
    }

    fn take(&mut self, field: &Field<'_>) {
        let mut value = field.unfolded();
        value.truncate(VALUE_LIMIT);
        if value.is_empty() {
            return;
        }
        match field
            .name
            .get(8..)
            .unwrap_or_default()
            .to_ascii_lowercase()
            .as_slice()
        {
            b"type" if self.media.is_none() => self.media = media(&value),
            b"transfer-encoding" if self.encoding.is_none() => {
                self.encoding = Words(&value).token();
            }
            b"id" => set(&mut self.id, value),
            b"description" => set(&mut self.description, value),
            b"md5" => set(&mut self.md5, value),
            b"location" => set(&mut self.location, value),
            b"disposition" if self.disposition.is_none() => self.disposition = disposition(&value),
            b"language" if self.language.is_empty() => {
                let tags = value
                    .split(|byte| *byte == b',')
                    .map(<[u8]>::trim_ascii)
                    .filter(|tag| !tag.is_empty());
                self.language = tags.take(PARAMETERS_LIMIT).map(<[u8]>::to_vec).collect();
            }
            _ => {}
        }
    }

    /// The transfer encoding, understood.
    pub fn transfer(&self) -> Transfer {
        match self
            .encoding
            .as_deref()
            .map(<[u8]>::to_ascii_lowercase)
            .as_deref()
        {
            None | Some(b"7bit" | b"8bit" | b"binary") => Transfer::Identity,
            Some(b"base64") => Transfer::Base64,
            Some(b"quoted-printable") => Transfer::QuotedPrintable,
            Some(_) => Transfer::Unknown,
        }
    }
}

/// A content transfer encoding (RFC 2045 6).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Transfer {
    /// `7bit`, `8bit`, `binary`: the octets themselves.
    Identity,
    /// `base64`
    Base64,
    /// `quoted-printable`
    QuotedPrintable,
    /// Another one.
    Unknown,
}

fn set(place: &mut Option<Vec<u8>>, value: Vec<u8>) {
    place.get_or_insert(value);
}

fn media(value: &[u8]) -> Option<Media> {
    let mut words = Words(value);
    let kind = words.token()?;
    words.expect(b'/')?;
    let subtype = words.token()?;
    Some(Media {
        kind,
        subtype,
        parameters: words.parameters(),
    })
}

fn disposition(value: &[u8]) -> Option<(Vec<u8>, Vec<Parameter>)> {
    let mut words = Words(value);
    Some((words.token()?, words.parameters()))
}

/// The rest of a structured field body (RFC 2045 5.1).
struct Words<'a>(&'a [u8]);

impl Words<'_> {
    fn next(&mut self) -> Option<u8> {
        let (first, rest) = self.0.split_first()?;
        self.0 = rest;
        Some(*first)
    }

    /// Passes over space and comments.
    fn skip(&mut self) {
        let mut depth = 0_usize;
        while let Some(byte) = self.0.first() {
            match byte {
                b'(' => depth += 1,
                b')' if depth > 0 => depth -= 1,
                b'\\' if depth > 0 => {
                    self.next();
                }
                b' ' | b'\t' => {}
                _ if depth > 0 => {}
                _ => return,
            }
            self.next();
        }
    }

    fn expect(&mut self, wanted: u8) -> Option<()> {
        self.skip();
        (self.0.first() == Some(&wanted)).then(|| {
            self.next();
        })
    }

    fn token(&mut self) -> Option<Vec<u8>> {
        self.skip();
        let is_token = |byte: &u8| byte.is_ascii_graphic() && !b"()<>@,;:\\\"/[]?=".contains(byte);
        let length = self
            .0
            .iter()
            .position(|byte| !is_token(byte))
            .unwrap_or(self.0.len());
        let (token, rest) = self.0.split_at(length);
        self.0 = rest;
        (!token.is_empty()).then(|| token.to_vec())
    }

    /// A token or quoted string; unquoted values with characters that ought to be quoted are taken to the next `;`.
    fn value(&mut self) -> Option<Vec<u8>> {
        self.skip();
        if self.0.first() == Some(&b'"') {
            self.next();
            return Some(self.quoted());
        }
        let length = self
            .0
            .iter()
            .position(|byte| matches!(byte, b';' | b' ' | b'\t'))
            .unwrap_or(self.0.len());
        let (value, rest) = self.0.split_at(length);
        self.0 = rest;
        (!value.is_empty()).then(|| value.to_vec())
    }

    fn quoted(&mut self) -> Vec<u8> {
        let mut value = Vec::new();
        while let Some(byte) = self.next() {
            match byte {
                b'"' => break,
                b'\\' => value.extend(self.next()),
                _ => value.push(byte),
            }
        }
        value
    }

    fn parameters(&mut self) -> Vec<Parameter> {
        let mut found = Vec::new();
        while found.len() < PARAMETERS_LIMIT {
            let Some(semicolon) = self.0.iter().position(|byte| *byte == b';') else {
                break;
            };
            self.0 = self.0.get(semicolon + 1..).unwrap_or_default();
            let name = self.token();
            if let (Some(name), Some(())) = (name, self.expect(b'=')) {
                found.extend(self.value().map(|value| (name, value)));
            }
        }
        found
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(value: &str) -> Option<Media> {
        Content::parse(format!("Content-Type: {value}\r\n\r\n").as_bytes()).media
    }

    #[test]
    fn parameters_as_they_stand() {
        let media = parse("Text/Plain (comment (nested)) ; charset=\"us-\\ascii\"; name*0*=utf-8''a%20;\r\n x=a/b; ;y").unwrap();
        assert!(media.is("text"));
        assert_eq!(media.parameter("CHARSET"), Some(&b"us-ascii"[..]));
        assert_eq!(media.parameter("name*0*"), Some(&b"utf-8''a%20"[..]));
        assert_eq!(media.parameter("x"), Some(&b"a/b"[..]));
        assert_eq!(media.parameters.len(), 3);
    }

    #[test]
    fn nonsense_is_no_media_type() {
        for value in [
            "",
            "text",
            "text/",
            "/plain",
            "(text/plain",
            ";charset=x",
            "text plain",
        ] {
            assert_eq!(parse(value), None, "{value}");
        }
    }

    #[test]
    fn encodings() {
        let transfer = |value: &str| {
            Content::parse(format!("content-transfer-encoding:{value}\n\n").as_bytes()).transfer()
        };
        assert_eq!(transfer(" BASE64 (why)"), Transfer::Base64);
        assert_eq!(transfer("8bit"), Transfer::Identity);
        assert_eq!(transfer("x-uuencode"), Transfer::Unknown);
        assert_eq!(Content::default().transfer(), Transfer::Identity);
    }
}
