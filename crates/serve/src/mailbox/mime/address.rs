//! Address lists as ENVELOPE shows them (RFC 5322 3.4, with the obsolete forms of 4.4), encoded words left alone.

/// How many addresses of one header are shown.
pub const ADDRESSES_LIMIT: usize = 2_000;

/// One entry of ENVELOPE's address lists (RFC 9051 7.5.2).
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Entry {
    /// A mailbox.
    Mailbox {
        /// The display name, quotes undone.
        name: Option<Vec<u8>>,
        /// The source route.
        route: Option<Vec<u8>>,
        /// The local part, quotes undone.
        local: Vec<u8>,
        /// The domain; empty when it is missing.
        domain: Vec<u8>,
    },
    /// A group begins.
    Group(Vec<u8>),
    /// It ends.
    GroupEnd,
}

/// Reads the value of an address field, unfolded. What makes no sense is passed over.
pub fn parse(value: &[u8]) -> Vec<Entry> {
    let mut parser = Parser {
        rest: value,
        comment: None,
    };
    let mut entries = Vec::new();
    let mut in_group = false;
    while entries.len() < ADDRESSES_LIMIT {
        let words = parser.words();
        match parser.next() {
            Some(b'<') => entries.push(parser.angle(&words)),
            Some(b'@') => entries.push(parser.bare(&words)),
            Some(b':') if !in_group => {
                in_group = true;
                entries.push(Entry::Group(words.join(&b' ')));
            }
            end => {
                if !words.is_empty() {
                    entries.push(Entry::Mailbox {
                        name: None,
                        route: None,
                        local: words.join(&b' '),
                        domain: Vec::new(),
                    });
                }
                if in_group && matches!(end, None | Some(b';')) {
                    in_group = false;
                    entries.push(Entry::GroupEnd);
                }
                if end.is_none() {
                    return entries;
                }
            }
        }
        if !matches!(entries.last(), Some(Entry::Group(_) | Entry::GroupEnd)) {
            parser.comment = None;
        }
    }
    entries
}

struct Parser<'a> {
    rest: &'a [u8],
    /// The last comment: the old place of the display name.
    comment: Option<Vec<u8>>,
}

impl Parser<'_> {
    fn next(&mut self) -> Option<u8> {
        let (first, rest) = self.rest.split_first()?;
        self.rest = rest;
        Some(*first)
    }

    /// Passes over space and comments.
    fn skip(&mut self) {
        while let Some(byte) = self.rest.first() {
            match byte {
                b' ' | b'\t' => self.rest = self.rest.get(1..).unwrap_or_default(),
                b'(' => {
                    let text = self.comment_text();
                    self.comment = Some(text).filter(|text| !text.is_empty());
                }
                _ => return,
            }
        }
    }

    fn comment_text(&mut self) -> Vec<u8> {
        let (mut text, mut depth) = (Vec::new(), 0_usize);
        while let Some(byte) = self.next() {
            match byte {
                b'(' => {
                    depth += 1;
                    if depth == 1 {
                        continue;
                    }
                }
                b')' => {
                    depth -= 1;
                    if depth == 0 {
                        break;
                    }
                }
                b'\\' => {
                    text.extend(self.next());
                    continue;
                }
                _ => {}
            }
            text.push(byte);
        }
        text.trim_ascii().to_vec()
    }

    /// Atoms and quoted strings up to a special.
    fn words(&mut self) -> Vec<Vec<u8>> {
        let mut words = Vec::new();
        loop {
            self.skip();
            match self.rest.first() {
                Some(b'"') => words.push(self.quoted()),
                Some(byte) if !b"<>@,;:".contains(byte) => words.push(self.atom(b" \t(\"<>@,;:")),
                _ => return words,
            }
        }
    }

    fn quoted(&mut self) -> Vec<u8> {
        self.next();
        let mut text = Vec::new();
        while let Some(byte) = self.next() {
            match byte {
                b'"' => break,
                b'\\' => text.extend(self.next()),
                _ => text.push(byte),
            }
        }
        text
    }

    /// At least one octet, up to one of `ends`.
    fn atom(&mut self, ends: &[u8]) -> Vec<u8> {
        let length = self
            .rest
            .iter()
            .skip(1)
            .position(|byte| ends.contains(byte))
            .map_or(self.rest.len(), |at| at + 1);
        let (atom, rest) = self.rest.split_at(length);
        self.rest = rest;
        atom.to_vec()
    }

    /// Behind `<`: an optional route, an address, and `>`.
    fn angle(&mut self, name: &[Vec<u8>]) -> Entry {
        self.skip();
        let route = (self.rest.first() == Some(&b'@'))
            .then(|| self.until(b":>"))
            .filter(|route| !route.is_empty());
        if self.rest.first() == Some(&b':') {
            self.next();
        }
        let local = self.words().concat();
        let domain = if self.rest.first() == Some(&b'@') {
            self.next();
            self.until(b">,;")
        } else {
            Vec::new()
        };
        self.until(b">,;");
        if self.rest.first() == Some(&b'>') {
            self.next();
        }
        let name = (!name.is_empty()).then(|| name.join(&b' '));
        self.until(b",;");
        Entry::Mailbox {
            name,
            route,
            local,
            domain,
        }
    }

    /// Behind `@` of an address without angle brackets.
    fn bare(&mut self, local: &[Vec<u8>]) -> Entry {
        self.comment = None;
        let domain = self.until(b",;<>");
        self.until(b",;");
        Entry::Mailbox {
            name: self.comment.take(),
            route: None,
            local: local.concat(),
            domain,
        }
    }

    /// The text up to one of `ends`, without space and comments.
    fn until(&mut self, ends: &[u8]) -> Vec<u8> {
        let mut text = Vec::new();
        loop {
            self.skip();
            match self.rest.first() {
                Some(b'"') => text.append(&mut self.quoted()),
                Some(byte) if !ends.contains(byte) => {
                    text.extend(self.next());
                }
                _ => return text,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn mailbox(name: Option<&str>, local: &str, domain: &str) -> Entry {
        let name = name.map(|name| name.as_bytes().to_vec());
        Entry::Mailbox {
            name,
            route: None,
            local: local.into(),
            domain: domain.into(),
        }
    }

    /// RFC 5322 appendix A.1.2, A.1.3, A.5, A.6.
    #[test]
    fn rfc_5322_examples() {
        let parse = |text: &str| parse(text.as_bytes());
        assert_eq!(
            parse("\"Joe Q. Public\" <john.q.public@example.com>"),
            [mailbox(
                Some("Joe Q. Public"),
                "john.q.public",
                "example.com"
            )]
        );
        assert_eq!(
            parse("Mary Smith <mary@x.test>, jdoe@example.org, Who? <one@y.test>"),
            [
                mailbox(Some("Mary Smith"), "mary", "x.test"),
                mailbox(None, "jdoe", "example.org"),
                mailbox(Some("Who?"), "one", "y.test"),
            ]
        );
        assert_eq!(
            parse("<boss@nil.test>, \"Giant; \\\"Big\\\" Box\" <sysservices@example.net>"),
            [
                mailbox(None, "boss", "nil.test"),
                mailbox(Some("Giant; \"Big\" Box"), "sysservices", "example.net"),
            ]
        );
        assert_eq!(
            parse("A Group:Ed Jones <c@a.test>,joe@where.test,John <jdoe@one.test>;"),
            [
                Entry::Group(b"A Group".to_vec()),
                mailbox(Some("Ed Jones"), "c", "a.test"),
                mailbox(None, "joe", "where.test"),
                mailbox(Some("John"), "jdoe", "one.test"),
                Entry::GroupEnd,
            ]
        );
        assert_eq!(
            parse("Undisclosed recipients:;"),
            [
                Entry::Group(b"Undisclosed recipients".to_vec()),
                Entry::GroupEnd
            ]
        );
        assert_eq!(
            parse("Pete(A nice \\) chap) <pete(his account)@silly.test(his host)>"),
            [mailbox(Some("Pete"), "pete", "silly.test")]
        );
        assert_eq!(
            parse("(Empty list)(start)Hidden recipients  :(nobody(that I know))  ;"),
            [Entry::Group(b"Hidden recipients".to_vec()), Entry::GroupEnd,]
        );
        assert_eq!(
            parse("Mary Smith <@node.test:mary@example.net>, , jdoe@test   . example"),
            [
                Entry::Mailbox {
                    name: Some(b"Mary Smith".to_vec()),
                    route: Some(b"@node.test".to_vec()),
                    local: b"mary".to_vec(),
                    domain: b"example.net".to_vec()
                },
                mailbox(None, "jdoe", "test.example"),
            ]
        );
        assert_eq!(
            parse("joe@example.org (Joe)"),
            [mailbox(Some("Joe"), "joe", "example.org")]
        );
    }

    #[test]
    fn nonsense_is_shown_somehow() {
        assert_eq!(
            parse(b"MAILER-DAEMON"),
            [mailbox(None, "MAILER-DAEMON", "")]
        );
        assert_eq!(
            parse(b"=?utf-8?q?J=C3=B6rg?= <j@x>"),
            [mailbox(Some("=?utf-8?q?J=C3=B6rg?="), "j", "x")]
        );
        assert_eq!(parse(b""), []);
    }

    proptest! {
        #[test]
        fn never_hangs_or_panics(text in "[a<>@,;:\"() \\\\.]{0,60}") {
            prop_assert!(parse(text.as_bytes()).len() <= 130);
        }
    }
}
