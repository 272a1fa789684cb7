//! Reads the arguments of one complete command, literals included, where the codec's grammar does not reach.
//!
//! RFC 9051 9 (formal syntax). Strict: one space between arguments, no bare CR or LF, no NUL, numbers within their range.

use std::borrow::Cow;

/// The arguments do not follow the grammar.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Syntax;

/// What is left of a command's text.
#[derive(Debug, Clone, Copy)]
pub(super) struct Cursor<'a>(&'a [u8]);

/// `ATOM-CHAR` of RFC 9051 9, `]` included where the grammar says so.
fn is_atom(byte: u8) -> bool {
    matches!(byte, 0x21..=0x7e) && !b"(){%*\"\\]".contains(&byte)
}

fn is_astring(byte: u8) -> bool {
    is_atom(byte) || byte == b']'
}

fn is_list(byte: u8) -> bool {
    is_astring(byte) || byte == b'%' || byte == b'*'
}

impl<'a> Cursor<'a> {
    pub(super) fn new(text: &'a [u8]) -> Self {
        Self(text)
    }

    pub(super) fn peek(&self) -> Option<u8> {
        self.0.first().copied()
    }

    /// Takes this byte if it comes next.
    pub(super) fn eat(&mut self, byte: u8) -> bool {
        let found = self.peek() == Some(byte);
        if found {
            self.0 = self.0.get(1..).unwrap_or_default();
        }
        found
    }

    pub(super) fn expect(&mut self, byte: u8) -> Result<(), Syntax> {
        if self.eat(byte) { Ok(()) } else { Err(Syntax) }
    }

    pub(super) fn space(&mut self) -> Result<(), Syntax> {
        self.expect(b' ')
    }

    /// The command ends here: CRLF and nothing behind it.
    pub(super) fn end(self) -> Result<(), Syntax> {
        if self.0 == b"\r\n" {
            Ok(())
        } else {
            Err(Syntax)
        }
    }

    fn take_while(&mut self, wanted: fn(u8) -> bool) -> Result<&'a str, Syntax> {
        let length = self
            .0
            .iter()
            .position(|byte| !wanted(*byte))
            .unwrap_or(self.0.len());
        let (taken, rest) = self.0.split_at_checked(length).ok_or(Syntax)?;
        if taken.is_empty() {
            return Err(Syntax);
        }
        self.0 = rest;
        str::from_utf8(taken).map_err(|_| Syntax)
    }

    /// `tag`
    pub(super) fn tag(&mut self) -> Result<&'a str, Syntax> {
        self.take_while(|byte| is_astring(byte) && byte != b'+')
    }

    /// `atom`
    pub(super) fn atom(&mut self) -> Result<&'a str, Syntax> {
        self.take_while(is_atom)
    }

    /// Takes this word if it comes next as a whole atom, without regard to case.
    pub(super) fn eat_word(&mut self, word: &str) -> bool {
        let mut ahead = *self;
        let found = ahead
            .atom()
            .is_ok_and(|atom| atom.eq_ignore_ascii_case(word));
        if found {
            *self = ahead;
        }
        found
    }

    /// `number64`, at most 63 bits.
    pub(super) fn number(&mut self) -> Result<u64, Syntax> {
        let digits = self.take_while(|byte| byte.is_ascii_digit())?;
        digits
            .parse()
            .ok()
            .filter(|number| i64::try_from(*number).is_ok())
            .ok_or(Syntax)
    }

    /// `astring`
    pub(super) fn astring(&mut self) -> Result<Cow<'a, [u8]>, Syntax> {
        match self.peek() {
            Some(b'"' | b'{') => self.string(),
            _ => self
                .take_while(is_astring)
                .map(|atom| Cow::Borrowed(atom.as_bytes())),
        }
    }

    /// `list-mailbox`: an astring in which the wildcards may stand bare.
    pub(super) fn list_mailbox(&mut self) -> Result<Cow<'a, [u8]>, Syntax> {
        match self.peek() {
            Some(b'"' | b'{') => self.string(),
            _ => self
                .take_while(is_list)
                .map(|token| Cow::Borrowed(token.as_bytes())),
        }
    }

    /// `string`
    pub(super) fn string(&mut self) -> Result<Cow<'a, [u8]>, Syntax> {
        if self.eat(b'"') {
            self.quoted().map(Cow::Owned)
        } else {
            self.literal().map(Cow::Borrowed)
        }
    }

    fn quoted(&mut self) -> Result<Vec<u8>, Syntax> {
        let mut text = Vec::new();
        let mut bytes = self.0.iter().enumerate();
        while let Some((at, byte)) = bytes.next() {
            match byte {
                b'"' => {
                    self.0 = self.0.get(at + 1..).unwrap_or_default();
                    return Ok(text);
                }
                b'\\' => match bytes.next() {
                    Some((_, escaped @ (b'"' | b'\\'))) => text.push(*escaped),
                    _ => return Err(Syntax),
                },
                b'\r' | b'\n' | 0 => return Err(Syntax),
                other => text.push(*other),
            }
        }
        Err(Syntax)
    }

    fn literal(&mut self) -> Result<&'a [u8], Syntax> {
        self.expect(b'{')?;
        let length = usize::try_from(self.number()?).map_err(|_| Syntax)?;
        self.eat(b'+');
        for byte in *b"}\r\n" {
            self.expect(byte)?;
        }
        let (literal, rest) = self.0.split_at_checked(length).ok_or(Syntax)?;
        self.0 = rest;
        if literal.contains(&0) {
            Err(Syntax)
        } else {
            Ok(literal)
        }
    }

    /// A string of text: UTF-8 (US-ASCII is part of it).
    pub(super) fn text(&mut self) -> Result<Box<str>, Syntax> {
        let octets = self.astring()?;
        str::from_utf8(&octets).map(Box::from).map_err(|_| Syntax)
    }

    /// What is left.
    pub(super) fn rest(self) -> &'a [u8] {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strings_of_every_kind() {
        let mut it = Cursor::new(b"a]b \"q\\\"\\\\\" {3}\r\nx\r\n {0+}\r\n\r\n");
        assert_eq!(&*it.astring().unwrap(), b"a]b");
        it.space().unwrap();
        assert_eq!(&*it.astring().unwrap(), b"q\"\\");
        it.space().unwrap();
        assert_eq!(&*it.astring().unwrap(), b"x\r\n");
        it.space().unwrap();
        assert_eq!(&*it.astring().unwrap(), b"");
        it.end().unwrap();
    }

    #[test]
    fn what_the_grammar_forbids_is_refused() {
        for bad in [
            &b"\"a\nb\""[..],
            b"\"a\0\"",
            b"\"a\\b\"",
            b"\"a",
            b"{2}\r\na",
            b"{1}\r\n\0",
            b"{1}\na",
            b"(",
            b"",
        ] {
            assert_eq!(Cursor::new(bad).astring(), Err(Syntax), "{bad:?}");
        }
        assert_eq!(Cursor::new(b"9223372036854775808").number(), Err(Syntax));
        assert_eq!(Cursor::new(b"x\r\n").end(), Err(Syntax));
    }
}
