//! What clear text on a TLS port looked like: a class, never the words [IMPL-03].

/// What clear text on a TLS port looked like.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum VerbClass {
    /// A login in any mail protocol: somebody's password may have been on the wire in clear.
    Login,
    /// An SMTP verb.
    Smtp,
    /// A tagged IMAP command.
    Imap,
    /// A POP3 verb.
    Pop3,
    /// An HTTP request.
    Http,
    /// Anything else.
    Other,
}

impl VerbClass {
    /// Classes the first bytes of a connection.
    pub fn of(bytes: &[u8]) -> Self {
        let line = bytes
            .split(|b| *b == b'\r' || *b == b'\n')
            .next()
            .unwrap_or_default();
        let mut words = line.split(|b| *b == b' ');
        let first = words.next().unwrap_or_default().to_ascii_uppercase();
        let second = words.next().unwrap_or_default().to_ascii_uppercase();
        match (first.as_slice(), second.as_slice()) {
            (b"AUTH" | b"USER" | b"PASS" | b"APOP", _) | (_, b"LOGIN" | b"AUTHENTICATE") => {
                Self::Login
            }
            (b"EHLO" | b"HELO" | b"LHLO" | b"MAIL" | b"RCPT" | b"STARTTLS", _) => Self::Smtp,
            (b"CAPA" | b"STLS", _) => Self::Pop3,
            (b"GET" | b"POST" | b"HEAD" | b"PUT" | b"OPTIONS" | b"CONNECT" | b"PRI", _) => {
                Self::Http
            }
            (_, b"CAPABILITY" | b"STARTTLS" | b"ID" | b"NOOP" | b"LOGOUT") => Self::Imap,
            _ => Self::Other,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::VerbClass;

    #[test]
    fn classes() {
        for (bytes, class) in [
            (&b"ehlo x\r\n"[..], VerbClass::Smtp),
            (b"AUTH PLAIN AGEAYg==\r\n", VerbClass::Login),
            (b"a1 login x y\r\n", VerbClass::Login),
            (b"USER x\r\n", VerbClass::Login),
            (b"a1 CAPABILITY\r\n", VerbClass::Imap),
            (b"CAPA\r\n", VerbClass::Pop3),
            (b"GET / HTTP/1.1\r\n", VerbClass::Http),
            (b"\x80\x2e\x01", VerbClass::Other),
            (b"", VerbClass::Other),
        ] {
            assert_eq!(VerbClass::of(bytes), class, "{bytes:?}");
        }
    }
}
