//! Words of a server, fit to be shown.
//!
//! Control characters are escaped, so that no server text can move a cursor, forge a line or colour a terminal, and what came
//! before TLS says so: anyone on the path can have written it.

use std::fmt;

/// The most octets of server text kept.
const LONGEST: usize = 512;

/// Words of a server: escaped, cut to 512 octets, marked when they came in clear.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Quote {
    text: Box<str>,
    authenticated: bool,
}

impl Quote {
    /// Quotes octets. `authenticated`: they came inside TLS from a verified peer.
    pub fn new(octets: &[u8], authenticated: bool) -> Self {
        let cut = octets.get(..LONGEST).unwrap_or(octets);
        let mut text = String::with_capacity(cut.len());
        for chunk in cut.utf8_chunks() {
            for character in chunk.valid().chars() {
                if is_harmless(character) {
                    text.push(character);
                } else {
                    text.extend(character.escape_default());
                }
            }
            for octet in chunk.invalid() {
                text.push_str(&format!("\\x{octet:02x}"));
            }
        }
        if cut.len() < octets.len() {
            text.push('…');
        }
        Self {
            text: text.into(),
            authenticated,
        }
    }

    /// Quotes octets that came in clear.
    pub fn unauthenticated(octets: &[u8]) -> Self {
        Self::new(octets, false)
    }

    /// The words, escaped.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Whether they came inside TLS from a verified peer. If not, anyone on the path can have written them.
    pub fn is_authenticated(&self) -> bool {
        self.authenticated
    }
}

/// Not a control character, and none that reorders or hides text.
fn is_harmless(character: char) -> bool {
    !character.is_control()
        && !matches!(character,
            '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{61c}')
}

impl fmt::Display for Quote {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mark = if self.authenticated {
            ""
        } else {
            " (unauthenticated)"
        };
        write!(f, "\"{}\"{mark}", self.text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_in_a_quote_moves_a_cursor() {
        let quote = Quote::new(b"220 \x1b[2J\r\nhi \xff \xe2\x80\xaedrow\0", false);
        assert_eq!(
            quote.to_string(),
            "\"220 \\u{1b}[2J\\r\\nhi \\xff \\u{202e}drow\\u{0}\" (unauthenticated)"
        );
    }

    #[test]
    fn a_quote_is_short() {
        let quote = Quote::new(&[b'x'; 5000], true);
        assert_eq!(quote.text().len(), LONGEST + '…'.len_utf8());
        assert!(quote.is_authenticated() && !quote.to_string().contains("unauth"));
    }
}
