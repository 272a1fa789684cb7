//! Words of others, made fit to be printed.

use std::time::SystemTime;

use super::date;

/// Text from a certificate or a server without anything that could move a cursor, forge a line or hide what stands there.
pub(crate) fn plain(text: &str) -> String {
    let harmless = |sign: char| {
        !sign.is_control()
            && !matches!(sign, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{61c}')
    };
    text.chars()
        .flat_map(|sign| {
            let escaped: Vec<char> = if harmless(sign) {
                vec![sign]
            } else {
                sign.escape_default().collect()
            };
            escaped
        })
        .collect()
}

/// A moment, as RFC 3339 writes it.
pub(crate) fn utc(moment: SystemTime) -> String {
    date::rfc3339(moment)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_moves_the_cursor() {
        assert_eq!(
            plain("Müller \u{1b}[2J\r\n\u{202e}x"),
            "Müller \\u{1b}[2J\\r\\n\\u{202e}x"
        );
    }
}
