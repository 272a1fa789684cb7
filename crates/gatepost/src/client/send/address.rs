//! Addresses as people write them: `anna@example.org` or `Anna Büro <anna@example.org>`.
//!
//! The address itself must be what RFC 5321 section 4.1.2 allows. A domain with letters beyond ASCII is taken as A-labels, so
//! that only a local part beyond ASCII needs SMTPUTF8 (RFC 6531).

use std::fmt;

use gatepost_wire::smtp::path::Mailbox;

use super::encode;

/// Somebody who sends or receives.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Address {
    /// The name shown; empty for none.
    pub(crate) name: String,
    /// Local part and domain.
    pub(crate) mailbox: Mailbox,
}

/// Why a text is no address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Problem {
    /// A line end or another control character stands in it.
    Control,
    /// It is not of the form expected.
    Form(String),
    /// Several addresses stand in it.
    Several,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Control => f.write_str(
                "there is a line end or another control character in it, with which header fields or commands could be smuggled in; \
                 nothing was sent",
            ),
            Self::Form(text) => write!(
                f,
                "{text:?} is no address; write anna@example.org or \"Anna <anna@example.org>\""
            ),
            Self::Several => {
                f.write_str("write one address, and give the flag again for each of the others")
            }
        }
    }
}

impl Address {
    /// Reads an address.
    pub(crate) fn parse(text: &str) -> Result<Self, Problem> {
        // What stands here goes into headers and into commands (no line may be smuggled in).
        if text.chars().any(char::is_control) {
            return Err(Problem::Control);
        }
        let text = text.trim();
        let bad = || Problem::Form(text.to_owned());
        let (name, inner) = match text.strip_suffix('>') {
            Some(rest) => rest.rsplit_once('<').ok_or_else(bad)?,
            None => ("", text),
        };
        let name = unquote(name.trim());
        if name.is_none() || (inner.contains(',') && !inner.starts_with('"')) {
            return Err(Problem::Several);
        }
        let mailbox = Mailbox::parse(&with_a_labels(inner.trim())).map_err(|_| bad())?;
        if mailbox.domain.is_empty() {
            return Err(bad());
        }
        Ok(Self {
            name: name.unwrap_or_default(),
            mailbox,
        })
    }

    /// The address without the name.
    pub(crate) fn bare(&self) -> String {
        format!("{}@{}", self.mailbox.local, self.mailbox.domain)
    }

    /// How it stands in a header field.
    pub(crate) fn in_header(&self) -> String {
        let bare = self.bare();
        if self.name.is_empty() {
            return bare;
        }
        format!("{} <{bare}>", encode::phrase(&self.name))
    }

    /// Whether it can only be written with SMTPUTF8.
    pub(crate) fn needs_utf8(&self) -> bool {
        !self.mailbox.is_ascii()
    }
}

/// The name without quotes; none when a comma stands outside of them, which parts addresses.
fn unquote(name: &str) -> Option<String> {
    let quoted = name
        .strip_prefix('"')
        .and_then(|rest| rest.strip_suffix('"'));
    match quoted {
        Some(inner) => Some(inner.replace("\\\"", "\"").replace("\\\\", "\\")),
        None if name.contains([',', '@', '<', '>']) => None,
        None => Some(name.to_owned()),
    }
}

fn with_a_labels(address: &str) -> String {
    let Some((local, domain)) = address.rsplit_once('@') else {
        return address.to_owned();
    };
    if domain.is_ascii() {
        return address.to_owned();
    }
    match idna::domain_to_ascii_strict(domain) {
        Ok(ascii) => format!("{local}@{ascii}"),
        Err(_) => address.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_addresses() {
        let table = [
            ("anna@example.org", "anna@example.org"),
            (" <anna@example.org> ", "anna@example.org"),
            ("Anna <anna@example.org>", "Anna <anna@example.org>"),
            ("Anna B. Meier <a@b.test>", "\"Anna B. Meier\" <a@b.test>"),
            ("\"Meier, Anna\" <a@b.test>", "\"Meier, Anna\" <a@b.test>"),
            ("Änna <a@b.test>", "=?utf-8?B?w4RubmE=?= <a@b.test>"),
            ("\"a b\"@b.test", "\"a b\"@b.test"),
            ("a@bücher.test", "a@xn--bcher-kva.test"),
        ];
        for (text, header) in table {
            assert_eq!(Address::parse(text).unwrap().in_header(), header, "{text}");
        }
        assert!(Address::parse("büro@example.org").unwrap().needs_utf8());
        assert!(!Address::parse("a@bücher.test").unwrap().needs_utf8());
    }

    #[test]
    fn no_line_is_smuggled_in() {
        for text in [
            "a@b.test\r\nBcc: c@d.test",
            "a@b.test>\nRCPT TO:<c@d.test",
            "Anna\r\nX: y <a@b.test>",
            "a@b.test\0",
        ] {
            assert_eq!(Address::parse(text), Err(Problem::Control), "{text:?}");
        }
    }

    #[test]
    fn what_is_no_address() {
        for text in [
            "",
            "anna",
            "a@",
            "@b",
            "a b@c.test",
            "a@b.test>",
            "a@b.test, c@d.test",
            "Meier, Anna <a@b.test>",
            "x@y <a@b.test>",
        ] {
            assert!(Address::parse(text).is_err(), "{text:?}");
        }
    }
}
