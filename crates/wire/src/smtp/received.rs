//! The `Received:` field (RFC 5321 4.4; RFC 3848; RFC 6531 4.3; RFC 8314 4.3).
//!
//! The session knows who spoke and how; whoever stores the message knows its id and the time. [`Trace::render`] joins both.
//! What the client said goes in only if it is a domain or an address literal, so it cannot add a line, a comment or a clause.
//! The login's account is never in it: mail travels on, and account names are half of a login.

use std::borrow::Cow;
use std::fmt::Write as _;
use std::net::IpAddr;

use super::path::{ForwardPath, is_address_literal, is_domain};

/// Lines are folded to at most this many characters where a word allows it (RFC 5322 2.1.1).
const LINE_OCTETS: usize = 78;

/// What a session knows for its `Received:` field.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trace {
    /// The name the client gave in EHLO or HELO, inside TLS if there is TLS [SMTP-STARTTLS-05].
    pub helo: String,
    /// The client's address.
    pub client: IpAddr,
    /// Whether the client's address and name are left out [RECV-05].
    pub hide_client: bool,
    /// How the message came.
    pub protocol: Protocol,
    /// What TLS was negotiated, if there was TLS.
    pub tls: Option<TlsClause>,
    /// The recipient, when there is exactly one [RECV-03].
    pub only_recipient: Option<ForwardPath>,
}

/// What the `with` clause is made of (RFC 3848 1, RFC 6531 4.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
// Four facts that do not depend on each other; three of them are a letter or a word of their own.
#[allow(clippy::struct_excessive_bools)]
pub struct Protocol {
    /// Greeted with EHLO, not HELO.
    pub extended: bool,
    /// Inside TLS.
    pub encrypted: bool,
    /// After a login.
    pub authenticated: bool,
    /// With the SMTPUTF8 parameter.
    pub smtputf8: bool,
}

/// The `tls` clause (RFC 8314 4.3, 7.4).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TlsClause {
    /// The cipher suite's IANA name, or `0xHHHH`.
    pub suite: Cow<'static, str>,
    /// The group's IANA name, if known: the grammar has no number for one.
    pub group: Option<&'static str>,
}

impl Protocol {
    /// The word of the `with` clause. HELO knows no extensions, so it is `SMTP` whatever came before [RECV-01].
    pub const fn word(self) -> &'static str {
        match (
            self.extended,
            self.smtputf8,
            self.encrypted,
            self.authenticated,
        ) {
            (false, ..) => "SMTP",
            (true, false, false, false) => "ESMTP",
            (true, false, false, true) => "ESMTPA",
            (true, false, true, false) => "ESMTPS",
            // [SMTP-AUTH-09]
            (true, false, true, true) => "ESMTPSA",
            // [SMTP-UTF8-04]
            (true, true, false, false) => "UTF8SMTP",
            (true, true, false, true) => "UTF8SMTPA",
            (true, true, true, false) => "UTF8SMTPS",
            (true, true, true, true) => "UTF8SMTPSA",
        }
    }
}

impl Trace {
    /// The whole field, folded, with CRLF line ends. `by` is the server's name, `id` the message's, `date` an RFC 5322
    /// date-time with a numeric offset. [RECV-01] [RECV-02] [RECV-03]
    pub fn render(&self, by: &str, id: &str, date: &str) -> Vec<u8> {
        let mut field = Folder::new("Received:");
        if !self.hide_client {
            field.clause(
                "from",
                &[
                    &self.client_name(),
                    &format!("({})", address_literal(self.client)),
                ],
            );
        }
        field.clause("by", &[&printable(by)]);
        field.clause("with", &[self.protocol.word()]);
        field.clause("id", &[&printable(id)]);
        if let Some(ForwardPath(mailbox)) = self
            .only_recipient
            .as_ref()
            .filter(|path| !path.0.domain.is_empty())
        {
            field.clause("for", &[&format!("<{}@{}>", mailbox.local, mailbox.domain)]);
        }
        if let Some(tls) = &self.tls {
            field.clause("tls", &[&tls.suite]);
            if let Some(group) = tls.group {
                field.clause("group", &[group]);
            }
        }
        field.date(date)
    }

    /// The client's name if it is safe to repeat, else its address.
    fn client_name(&self) -> String {
        let safe =
            self.helo.is_ascii() && (is_domain(&self.helo) || is_address_literal(&self.helo));
        if safe {
            self.helo.clone()
        } else {
            address_literal(self.client)
        }
    }
}

/// An address as RFC 5321 4.1.3 writes it.
fn address_literal(address: IpAddr) -> String {
    match address.to_canonical() {
        IpAddr::V4(address) => format!("[{address}]"),
        IpAddr::V6(address) => format!("[IPv6:{address}]"),
    }
}

/// Only what can stand in an atom or a domain: our own words cannot break the field either.
fn printable(text: &str) -> String {
    text.chars()
        .filter(|character| character.is_ascii_graphic() && !"();<>\"\\".contains(*character))
        .collect()
}

/// Joins words with spaces, or with a line break where the line would be too long.
struct Folder {
    text: String,
    column: usize,
}

impl Folder {
    fn new(name: &str) -> Self {
        Self {
            text: name.to_owned(),
            column: name.len(),
        }
    }

    /// A word and what belongs to it; broken before the word rather than within.
    fn clause(&mut self, word: &str, rest: &[&str]) {
        let mut clause = word.to_owned();
        for part in rest {
            let _ = write!(clause, " {part}");
        }
        self.push(&clause);
    }

    fn push(&mut self, words: &str) {
        let length = words.chars().count();
        // One place is kept for the semicolon.
        if self.column + 1 + length < LINE_OCTETS {
            self.text.push(' ');
            self.column += 1 + length;
        } else {
            self.text.push_str("\r\n\t");
            self.column = 8 + length;
        }
        self.text.push_str(words);
    }

    fn date(mut self, date: &str) -> Vec<u8> {
        self.text.push(';');
        self.column += 1;
        let date: String = date
            .chars()
            .filter(|character| (' '..='~').contains(character))
            .collect();
        self.push(&date);
        self.text.push_str("\r\n");
        self.text.into_bytes()
    }
}

#[cfg(test)]
mod tests {
    use super::super::path::Mailbox;
    use super::*;
    use crate::tls::names;

    const DATE: &str = "Mon, 23 Nov 2026 17:00:00 +0000";

    fn trace() -> Trace {
        Trace {
            helo: "client.example".to_owned(),
            client: "192.0.2.7".parse().unwrap(),
            hide_client: false,
            protocol: Protocol {
                extended: true,
                encrypted: true,
                authenticated: true,
                smtputf8: false,
            },
            tls: Some(TlsClause {
                suite: "TLS_AES_128_GCM_SHA256".into(),
                group: Some("X25519MLKEM768"),
            }),
            only_recipient: Some(ForwardPath(Mailbox::parse("you@b.example").unwrap())),
        }
    }

    fn render(trace: &Trace) -> String {
        String::from_utf8(trace.render("mx.example", "1A2B", DATE)).unwrap()
    }

    // [RECV-02] [RECV-03]
    #[test]
    fn says_who_how_and_when() {
        assert_eq!(
            render(&trace()),
            "Received: from client.example ([192.0.2.7]) by mx.example with ESMTPSA\r\n\
             \tid 1A2B for <you@b.example> tls TLS_AES_128_GCM_SHA256\r\n\
             \tgroup X25519MLKEM768; Mon, 23 Nov 2026 17:00:00 +0000\r\n"
        );
    }

    // [RECV-02] RFC 8314 4.3: `tls-cipher-hex`, and no group that has no name
    #[test]
    fn a_suite_without_a_name_is_told_by_its_number() {
        for (number, told) in [
            (0x1302, "tls TLS_AES_256_GCM_SHA384;"),
            (0x0abc, "tls 0x0ABC;"),
            (0xfefe, "tls 0xFEFE;"),
        ] {
            let mut trace = trace();
            trace.tls = Some(TlsClause {
                suite: names::suite_label(number),
                group: names::group(0x0a0a),
            });
            let field = render(&trace).replace("\r\n\t", " ");
            assert!(field.contains(told), "{field}");
            assert!(!field.contains("group"), "{field}");
        }
    }

    #[test]
    fn lines_stay_within_their_length() {
        for line in render(&trace()).split("\r\n") {
            assert!(
                line.replace('\t', "        ").len() <= LINE_OCTETS,
                "{line}"
            );
        }
    }

    // [RECV-01] the matrix of TLS and AUTH; [SMTP-UTF8-04] with SMTPUTF8; [SMTP-AUTH-09] the A.
    #[test]
    fn with_tells_tls_and_login() {
        let word = |extended, encrypted, authenticated, smtputf8| {
            Protocol {
                extended,
                encrypted,
                authenticated,
                smtputf8,
            }
            .word()
        };
        assert_eq!(word(false, false, false, false), "SMTP");
        assert_eq!(word(true, false, false, false), "ESMTP");
        assert_eq!(word(true, true, false, false), "ESMTPS");
        assert_eq!(word(true, false, true, false), "ESMTPA");
        assert_eq!(word(true, true, true, false), "ESMTPSA");
        assert_eq!(word(true, false, false, true), "UTF8SMTP");
        assert_eq!(word(true, true, false, true), "UTF8SMTPS");
        assert_eq!(word(true, false, true, true), "UTF8SMTPA");
        assert_eq!(word(true, true, true, true), "UTF8SMTPSA");
    }

    #[test]
    fn a_name_that_is_no_domain_is_not_repeated() {
        for helo in [
            "a(b",
            "x;y",
            "a b",
            "a\r\nX: y",
            "häuschen.example",
            "_x",
            "",
            "[192.0.2.7",
            "a\"b",
        ] {
            let text = render(&Trace {
                helo: helo.to_owned(),
                ..trace()
            });
            assert!(
                text.starts_with("Received: from [192.0.2.7] ([192.0.2.7]) by "),
                "{text}"
            );
        }
        let literal = Trace {
            helo: "[IPv6:2001:db8::1]".to_owned(),
            ..trace()
        };
        assert!(render(&literal).starts_with("Received: from [IPv6:2001:db8::1] ("));
    }

    #[test]
    fn our_own_words_cannot_break_the_field() {
        let text =
            String::from_utf8(trace().render("mx\r\nX: y", "1\r\n\r\n(2", "d\r\nX: y")).unwrap();
        assert!(text.ends_with(";\r\n\tdX: y\r\n"), "{text}");
        assert!(
            !text.contains("\r\nX:") && text.contains("by mxX:y ") && text.contains(" id 12\r\n"),
            "{text}"
        );
    }

    // [RECV-03] `for` only with one recipient; [RECV-05] the client's address can be left out.
    #[test]
    fn tells_no_more_than_it_may() {
        let text = render(&Trace {
            only_recipient: None,
            hide_client: true,
            ..trace()
        });
        assert!(
            !text.contains(" for ")
                && !text.contains("192.0.2.7")
                && !text.contains("client.example"),
            "{text}"
        );
        assert!(text.starts_with("Received: by mx.example with ESMTPSA"));
    }

    #[test]
    fn writes_addresses_as_literals() {
        let six = Trace {
            client: "2001:db8::5".parse().unwrap(),
            ..trace()
        };
        assert!(render(&six).contains("([IPv6:2001:db8::5])"));
        let mapped = Trace {
            client: "::ffff:192.0.2.9".parse().unwrap(),
            ..trace()
        };
        assert!(render(&mapped).contains("([192.0.2.9])"));
    }
}
