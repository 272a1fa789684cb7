//! The data in responses: atoms, strings, lists (RFC 9051 9), read over text and literals.

use super::reader::Piece;

/// How deep lists may stand in lists. The structure of a message is such a list.
const DEEPEST: usize = 64;

/// A value in a response.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Value {
    /// A word: a number, a flag, NIL, a name with its section.
    Atom(Vec<u8>),
    /// A quoted string or a literal.
    Text(Vec<u8>),
    /// A literal that was handed on while it came; its length in octets.
    Streamed(u64),
    /// A list in parentheses.
    List(Vec<Value>),
}

impl Value {
    /// Whether it is NIL.
    pub fn is_nil(&self) -> bool {
        matches!(self, Self::Atom(word) if word.eq_ignore_ascii_case(b"NIL"))
    }

    /// The octets of a word or string.
    pub fn octets(&self) -> Option<&[u8]> {
        match self {
            Self::Atom(octets) | Self::Text(octets) => Some(octets),
            Self::Streamed(_) | Self::List(_) => None,
        }
    }

    /// The number a word stands for.
    pub fn number<T: std::str::FromStr>(&self) -> Option<T> {
        match self {
            Self::Atom(word) if word.iter().all(u8::is_ascii_digit) => {
                std::str::from_utf8(word).ok()?.parse().ok()
            }
            _ => None,
        }
    }

    /// The members of a list.
    pub fn members(&self) -> Option<&[Self]> {
        match self {
            Self::List(members) => Some(members),
            _ => None,
        }
    }

    /// The members of a list as text, what is not UTF-8 replaced.
    pub(crate) fn words(&self) -> Option<Vec<Box<str>>> {
        let word = |it: &Self| it.octets().map(|it| String::from_utf8_lossy(it).into());
        self.members()?.iter().map(word).collect()
    }
}

/// Reads values over the pieces of a response.
#[derive(Debug, Clone)]
pub(crate) struct Cursor<'a> {
    text: &'a [u8],
    rest: std::slice::Iter<'a, Piece>,
}

impl<'a> Cursor<'a> {
    pub(crate) fn new(pieces: &'a [Piece]) -> Self {
        let mut rest = pieces.iter();
        let text = match rest.next() {
            Some(Piece::Text(text)) => text.as_slice(),
            _ => &[],
        };
        Self { text, rest }
    }

    /// What is left of the current line.
    pub(crate) fn line(&self) -> &'a [u8] {
        self.text
    }

    pub(crate) fn is_at_end(&self) -> bool {
        self.text.is_empty() && self.rest.len() == 0
    }

    /// Takes a word up to the next space.
    pub(crate) fn word(&mut self) -> &'a [u8] {
        let end = self.text.iter().position(|it| *it == b' ');
        let (word, rest) = self
            .text
            .split_at_checked(end.unwrap_or(self.text.len()))
            .unwrap_or_default();
        self.text = rest.strip_prefix(b" ").unwrap_or(rest);
        word
    }

    fn skip_spaces(&mut self) {
        while let Some(rest) = self.text.strip_prefix(b" ") {
            self.text = rest;
        }
    }

    /// Takes the next value; none when there is none, or it breaks the grammar.
    pub(crate) fn value(&mut self) -> Option<Value> {
        self.nested(0)
    }

    /// Takes all values to the end; none when something breaks the grammar.
    pub(crate) fn values(&mut self) -> Option<Vec<Value>> {
        let mut values = Vec::new();
        self.skip_spaces();
        while !self.is_at_end() {
            values.push(self.value()?);
            self.skip_spaces();
        }
        Some(values)
    }

    fn nested(&mut self, depth: usize) -> Option<Value> {
        self.skip_spaces();
        match *self.text.first()? {
            b'(' => {
                if depth >= DEEPEST {
                    return None;
                }
                self.text = self.text.get(1..)?;
                let mut members = Vec::new();
                loop {
                    self.skip_spaces();
                    if let Some(rest) = self.text.strip_prefix(b")") {
                        self.text = rest;
                        return Some(Value::List(members));
                    }
                    members.push(self.nested(depth + 1)?);
                }
            }
            b'"' => self.quoted(),
            b'{' | b'~' => self.literal(),
            b')' => None,
            _ => self.atom(),
        }
    }

    fn quoted(&mut self) -> Option<Value> {
        let mut octets = Vec::new();
        let mut at = 1;
        loop {
            match *self.text.get(at)? {
                b'"' => break,
                b'\\' => {
                    at += 1;
                    octets.push(*self.text.get(at)?);
                }
                octet => octets.push(octet),
            }
            at += 1;
        }
        self.text = self.text.get(at + 1..)?;
        Some(Value::Text(octets))
    }

    /// The announcement has been understood by the reader; behind it stands the literal.
    fn literal(&mut self) -> Option<Value> {
        let announcement = self.text.strip_prefix(b"~").unwrap_or(self.text);
        let inner = announcement.strip_prefix(b"{")?.strip_suffix(b"}")?;
        if !inner.iter().all(u8::is_ascii_digit) {
            return None;
        }
        let value = match self.rest.next()? {
            Piece::Literal(octets) => Value::Text(octets.clone()),
            Piece::Streamed(octets) => Value::Streamed(*octets),
            Piece::Text(_) => return None,
        };
        self.text = match self.rest.next()? {
            Piece::Text(text) => text,
            _ => return None,
        };
        Some(value)
    }

    /// A word; what stands in brackets belongs to it, spaces included.
    fn atom(&mut self) -> Option<Value> {
        let mut inside = false;
        let mut end = 0;
        for octet in self.text {
            match octet {
                b'[' => inside = true,
                b']' => inside = false,
                b' ' | b'(' | b')' | b'"' if !inside => break,
                _ => {}
            }
            end += 1;
        }
        let (word, rest) = self
            .text
            .split_at_checked(end)
            .filter(|it| !it.0.is_empty())?;
        self.text = rest;
        Some(Value::Atom(word.to_vec()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn values(pieces: &[Piece]) -> Option<Vec<Value>> {
        Cursor::new(pieces).values()
    }

    fn text(text: &str) -> Option<Vec<Value>> {
        values(&[Piece::Text(text.into())])
    }

    fn atom(word: &str) -> Value {
        Value::Atom(word.into())
    }

    #[test]
    fn words_strings_and_lists() {
        assert_eq!(
            text(r#"12 "a \"b\\" (NIL (\Seen x)) BODY[HEADER.FIELDS (A B)]<0>"#),
            Some(vec![
                atom("12"),
                Value::Text(b"a \"b\\".to_vec()),
                Value::List(vec![
                    atom("NIL"),
                    Value::List(vec![atom("\\Seen"), atom("x")])
                ]),
                atom("BODY[HEADER.FIELDS (A B)]<0>"),
            ])
        );
        let pieces = [
            Piece::Text(b"(A {3}".to_vec()),
            Piece::Literal(b") \"".to_vec()),
            Piece::Text(b" B ~{9}".to_vec()),
            Piece::Streamed(9),
            Piece::Text(b")".to_vec()),
        ];
        assert_eq!(
            values(&pieces),
            Some(vec![Value::List(vec![
                atom("A"),
                Value::Text(b") \"".to_vec()),
                atom("B"),
                Value::Streamed(9)
            ])])
        );
    }

    #[test]
    fn what_breaks_the_grammar_gives_nothing() {
        let deep = format!("{}{}", "(".repeat(65), ")".repeat(65));
        for broken in ["(", "(a", ")", "\"a", "\"a\\", "{3}", "(a {3}", &deep] {
            assert_eq!(text(broken), None, "{broken}");
        }
    }
}
