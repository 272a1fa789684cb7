//! Paths: who a message is from and for (RFC 5321 4.1.2).
//!
//! Strict: what the grammar does not allow is refused, because the next reader might see another address in it. Source
//! routes are understood and dropped (RFC 5321 appendix C). With SMTPUTF8 any non-ASCII character that is neither a control
//! nor a space may stand in a local part and in a domain's label (RFC 6531 3.3); domains are kept as they were written, and compared
//! in one form ([`normal_domain`]).

use std::net::{Ipv4Addr, Ipv6Addr};

/// The greatest length of a local part in octets (RFC 5321 4.5.3.1.1) [SMTP-BASE-09].
pub const LOCAL_PART_OCTETS: usize = 64;
/// The greatest length of a domain in octets (RFC 5321 4.5.3.1.2) [SMTP-BASE-09].
pub const DOMAIN_OCTETS: usize = 255;
/// The greatest length of a path in octets, its brackets counted. RFC 5321 4.5.3.1.3 wants 256 received; the greatest local
/// part and domain together are longer, and are received too [SMTP-BASE-09].
pub const PATH_OCTETS: usize = LOCAL_PART_OCTETS + 1 + DOMAIN_OCTETS + 2;

/// A mailbox: local part and domain (RFC 5321 4.1.2; RFC 6531 3.3 with UTF-8).
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Mailbox {
    /// The local part as it was written, quotes kept.
    pub local: String,
    /// The domain, or an address literal in brackets; empty only for a bare `postmaster` [SMTP-BASE-20].
    pub domain: String,
}

/// Where a message comes from.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum ReversePath {
    /// `<>`: the message must never cause another [SMTP-BASE-16].
    Null,
    /// A mailbox.
    Mailbox(Mailbox),
}

/// Where a message goes.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct ForwardPath(pub Mailbox);

/// The text is not a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BadPath;

impl ReversePath {
    /// Reads a reverse-path in its brackets.
    pub fn parse(path: &str) -> Result<Self, BadPath> {
        match unbracket(path)? {
            "" => Ok(Self::Null),
            inner => Mailbox::parse(skip_source_route(inner)?).map(Self::Mailbox),
        }
    }

    /// Whether it is pure ASCII.
    pub fn is_ascii(&self) -> bool {
        match self {
            Self::Null => true,
            Self::Mailbox(mailbox) => mailbox.is_ascii(),
        }
    }
}

impl ForwardPath {
    /// Reads a forward-path in its brackets. A bare `postmaster` needs no domain [SMTP-BASE-20].
    pub fn parse(path: &str) -> Result<Self, BadPath> {
        let inner = unbracket(path)?;
        if inner.eq_ignore_ascii_case("postmaster") {
            return Ok(Self(Mailbox {
                local: inner.to_owned(),
                domain: String::new(),
            }));
        }
        Mailbox::parse(skip_source_route(inner)?).map(Self)
    }
}

impl Mailbox {
    /// Reads a mailbox: `Local-part "@" ( Domain / address-literal )`.
    pub fn parse(text: &str) -> Result<Self, BadPath> {
        let at = local_part_length(text)?;
        let (local, rest) = text.split_at_checked(at).ok_or(BadPath)?;
        let domain = rest.strip_prefix('@').ok_or(BadPath)?;
        if local.is_empty()
            || local.len() > LOCAL_PART_OCTETS
            || !(is_domain(domain) || is_address_literal(domain))
        {
            return Err(BadPath);
        }
        Ok(Self {
            local: local.to_owned(),
            domain: domain.to_owned(),
        })
    }

    /// Whether it is pure ASCII.
    pub fn is_ascii(&self) -> bool {
        self.local.is_ascii() && self.domain.is_ascii()
    }

    /// Whether the domain has at least two labels or is an address literal [SUBM-02].
    pub fn is_fully_qualified(&self) -> bool {
        self.domain.starts_with('[') || self.domain.contains('.')
    }
}

/// The form in which domains are compared: A-labels in lower case (RFC 5890 2.3.2.4; RFC 6531 3.2). A domain that no international
/// name can be is only put in lower case.
pub fn normal_domain(domain: &str) -> String {
    if domain.is_ascii() {
        return domain.to_ascii_lowercase();
    }
    idna::domain_to_ascii(domain).unwrap_or_else(|_| domain.to_lowercase())
}

/// A domain as people read it: U-labels, where it has any.
pub fn readable_domain(domain: &str) -> String {
    let normal = normal_domain(domain);
    match idna::domain_to_unicode(&normal) {
        (readable, Ok(())) => readable,
        (_, Err(_)) => normal,
    }
}

/// How long the path in its brackets is that `text` begins with. A `>` within quotes does not end it.
pub(super) fn path_length(text: &str) -> Result<usize, BadPath> {
    let mut quoted = false;
    let mut escaped = false;
    for (at, octet) in text.bytes().enumerate() {
        match octet {
            _ if at == 0 && octet != b'<' => return Err(BadPath),
            _ if escaped => escaped = false,
            b'\\' if quoted => escaped = true,
            b'"' => quoted = !quoted,
            b'>' if !quoted => return Ok(at + 1),
            _ => {}
        }
    }
    Err(BadPath)
}

fn unbracket(path: &str) -> Result<&str, BadPath> {
    path.strip_prefix('<')
        .and_then(|rest| rest.strip_suffix('>'))
        .ok_or(BadPath)
}

/// Source routes must be accepted and should be ignored (RFC 5321 4.1.1.3, appendix C).
fn skip_source_route(path: &str) -> Result<&str, BadPath> {
    if !path.starts_with('@') {
        return if path.len() + 2 <= PATH_OCTETS {
            Ok(path)
        } else {
            Err(BadPath)
        };
    }
    let (route, mailbox) = path.split_once(':').ok_or(BadPath)?;
    let hops_are_domains = route
        .split(',')
        .all(|hop| hop.strip_prefix('@').is_some_and(is_domain));
    if hops_are_domains && mailbox.len() + 2 <= PATH_OCTETS {
        Ok(mailbox)
    } else {
        Err(BadPath)
    }
}

fn local_part_length(text: &str) -> Result<usize, BadPath> {
    if text.starts_with('"') {
        return quoted_string_length(text);
    }
    let at = text.find('@').ok_or(BadPath)?;
    let local = text.get(..at).ok_or(BadPath)?;
    let atoms = local
        .split('.')
        .all(|atom| !atom.is_empty() && atom.chars().all(is_atext));
    if atoms { Ok(at) } else { Err(BadPath) }
}

/// `Quoted-string` of RFC 5321 4.1.2: printable ASCII, spaces, quoted pairs; non-ASCII with RFC 6531.
fn quoted_string_length(text: &str) -> Result<usize, BadPath> {
    let mut escaped = false;
    for (at, character) in text.char_indices().skip(1) {
        match character {
            ' '..='~' if escaped => escaped = false,
            _ if escaped => return Err(BadPath),
            '\\' => escaped = true,
            '"' => return Ok(at + 1),
            ' '..='~' => {}
            other if is_international(other) => {}
            _ => return Err(BadPath),
        }
    }
    Err(BadPath)
}

fn is_atext(character: char) -> bool {
    character.is_ascii_alphanumeric()
        || "!#$%&'*+-/=?^_`{|}~".contains(character)
        || is_international(character)
}

fn is_international(character: char) -> bool {
    !character.is_ascii() && !character.is_control() && !character.is_whitespace()
}

/// Whether the text is a domain: labels of letters, digits and hyphens, 63 octets each; non-ASCII letters with RFC 6531.
pub(super) fn is_domain(text: &str) -> bool {
    let is_edge =
        |character: char| character.is_ascii_alphanumeric() || is_international(character);
    text.len() <= DOMAIN_OCTETS
        && text.split('.').all(|label| {
            label.len() <= 63
                && label.starts_with(is_edge)
                && label.ends_with(is_edge)
                && label
                    .chars()
                    .all(|character| is_edge(character) || character == '-')
        })
}

/// Whether the text is an address literal: `[192.0.2.1]` or `[IPv6:2001:db8::1]`.
pub(super) fn is_address_literal(text: &str) -> bool {
    let Some(inner) = text
        .strip_prefix('[')
        .and_then(|rest| rest.strip_suffix(']'))
    else {
        return false;
    };
    match inner.get(..5) {
        Some(tag) if tag.eq_ignore_ascii_case("IPv6:") => inner
            .get(5..)
            .is_some_and(|address| address.parse::<Ipv6Addr>().is_ok()),
        _ => inner.parse::<Ipv4Addr>().is_ok(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn forward(path: &str) -> Result<(String, String), BadPath> {
        ForwardPath::parse(path).map(|path| (path.0.local, path.0.domain))
    }

    fn pair(local: &str, domain: &str) -> (String, String) {
        (local.to_owned(), domain.to_owned())
    }

    #[test]
    fn reads_what_the_grammar_allows() {
        assert_eq!(forward("<a@b.example>"), Ok(pair("a", "b.example")));
        assert_eq!(
            forward("<a.b+c@[192.0.2.1]>"),
            Ok(pair("a.b+c", "[192.0.2.1]"))
        );
        assert_eq!(
            forward("<a@[IPv6:2001:db8::1]>"),
            Ok(pair("a", "[IPv6:2001:db8::1]"))
        );
        assert_eq!(
            forward(r#"<"a b@c\"d>"@b.example>"#),
            Ok(pair(r#""a b@c\"d>""#, "b.example"))
        );
        assert_eq!(ReversePath::parse("<>"), Ok(ReversePath::Null));
    }

    // [SMTP-BASE-20] case-insensitive, with and without domain.
    #[test]
    fn postmaster_needs_no_domain() {
        assert_eq!(forward("<PostMaster>"), Ok(pair("PostMaster", "")));
        assert_eq!(
            forward("<Postmaster@b.example>"),
            Ok(pair("Postmaster", "b.example"))
        );
        assert_eq!(forward("<other>"), Err(BadPath));
        assert!(ReversePath::parse("<postmaster>").is_err());
    }

    #[test]
    fn drops_source_routes() {
        assert_eq!(
            forward("<@x.example,@y.example:a@b.example>"),
            Ok(pair("a", "b.example"))
        );
        assert_eq!(forward("<@x.example:>"), Err(BadPath));
        assert_eq!(forward("<@x example:a@b.example>"), Err(BadPath));
    }

    #[test]
    fn refuses_what_it_does_not() {
        for bad in [
            "<>",
            "a@b.example",
            "<a@b.example",
            "<a@>",
            "<@b.example>",
            "<a..b@c.example>",
            "<.a@c.example>",
            "<a@b..c>",
            "<a@b.example.>",
            "<a@-b.example>",
            "<a b@c.example>",
            "<a@b@c>",
            "<a@[192.0.2]>",
            "<a@[IPv6:x]>",
            "<\"a@b.example>",
            "<a@b_c.example>",
            "<\"a\tb\"@c.example>",
            "<a\u{85}@b.example>",
            "<a@b\u{3000}c>",
        ] {
            assert_eq!(forward(bad), Err(BadPath), "{bad}");
        }
    }

    // [SMTP-BASE-09] the sizes that must be received, and one octet more.
    #[test]
    fn holds_the_sizes() {
        let label = "d".repeat(63);
        let domain = [label.as_str(); 4].join(".");
        assert_eq!(domain.len(), 255);
        let local = "l".repeat(64);
        assert_eq!(
            forward(&format!("<{local}@{domain}>")),
            Ok(pair(&local, &domain))
        );
        assert_eq!(forward(&format!("<l{local}@b.example>")), Err(BadPath));
        assert_eq!(forward(&format!("<a@{domain}.d>")), Err(BadPath));
        assert_eq!(forward(&format!("<a@d{label}.example>")), Err(BadPath));
    }

    #[test]
    fn a_bracket_in_quotes_does_not_end_the_path() {
        assert_eq!(path_length(r#"<"a>b"@c> X"#), Ok(9));
        assert_eq!(path_length("x<a@b>"), Err(BadPath));
        assert_eq!(path_length("<a@b"), Err(BadPath));
    }

    #[test]
    fn domains_have_one_form() {
        for same in [
            "b\u{fc}cher.test",
            "B\u{dc}CHER.test",
            "bu\u{308}cher.TEST",
            "xn--bcher-kva.test",
            "XN--BCHER-KVA.Test",
        ] {
            assert_eq!(normal_domain(same), "xn--bcher-kva.test", "{same}");
            assert_eq!(readable_domain(same), "b\u{fc}cher.test", "{same}");
        }
        for (domain, normal) in [
            ("Mail.Example.ORG", "mail.example.org"),
            ("[IPv6:2001:DB8::1]", "[ipv6:2001:db8::1]"),
            ("xn--a.test", "xn--a.test"),
            ("", ""),
        ] {
            assert_eq!(normal_domain(domain), normal);
            assert_eq!(readable_domain(domain), normal);
        }
    }

    #[test]
    fn knows_names_that_are_not_fully_qualified() {
        let mailbox = |text| Mailbox::parse(text).unwrap();
        assert!(!mailbox("a@host").is_fully_qualified());
        assert!(mailbox("a@host.example").is_fully_qualified());
        assert!(mailbox("a@[192.0.2.1]").is_fully_qualified());
    }
}
