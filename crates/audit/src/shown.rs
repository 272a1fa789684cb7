//! Words of others, made harmless for the place they are shown in. Everything a server says can be chosen by somebody hostile: it must
//! not drive a terminal, become markup, or turn the direction of a line around.

/// For a terminal and any other plain text: control characters, line and paragraph ends, invisible characters and those that change the
/// direction of writing are written as escapes. Quotes and backslashes stay as they are.
#[must_use]
pub fn shown(text: &str) -> String {
    text.chars().fold(String::new(), |mut out, it| {
        match it {
            '\t' => out.push(' '),
            it if is_unshowable(it) => out.extend(it.escape_unicode()),
            it => out.push(it),
        }
        out
    })
}

/// For HTML, as text and inside quoted attributes.
#[must_use]
pub fn html(text: &str) -> String {
    markup(&shown(text))
}

/// For XML 1.0, as text and inside quoted attributes. What XML cannot hold at all was escaped as by [`shown`].
#[must_use]
pub fn xml(text: &str) -> String {
    text.split('\n')
        .map(|line| markup(&shown(line)))
        .collect::<Vec<_>>()
        .join("\n")
}

fn markup(text: &str) -> String {
    text.chars().fold(String::new(), |mut out, it| {
        match it {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            it => out.push(it),
        }
        out
    })
}

/// Control characters; zero width and bidirectional marks; line separators; noncharacters, which XML forbids.
pub(crate) fn is_unshowable(it: char) -> bool {
    it.is_control()
        || matches!(it,
            '\u{ad}' | '\u{61c}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}'
            | '\u{fff0}'..='\u{fffb}' | '\u{fffe}' | '\u{ffff}' | '\u{e0000}'..='\u{e007f}')
}

/// A date and time of day in UTC, from seconds since 1970.
#[must_use]
pub fn moment(seconds: u64) -> String {
    let nanoseconds = seconds.saturating_mul(1_000_000_000);
    let text = crate::watch::event::timestamp(nanoseconds);
    let (date, clock) = text.split_once('T').unwrap_or((&text, ""));
    let minute = clock.get(..5).unwrap_or_default();
    format!("{date} {minute} UTC")
}

/// The date alone.
#[must_use]
pub fn date(seconds: u64) -> String {
    moment(seconds).chars().take(10).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_drives_a_terminal_is_written_out() {
        assert_eq!(
            shown("a\u{1b}[31mb\u{202e}c\r\n"),
            "a\\u{1b}[31mb\\u{202e}c\\u{d}\\u{a}"
        );
        assert_eq!(shown("250 \"x\" \\r ü"), "250 \"x\" \\r ü");
    }

    #[test]
    fn what_is_shown_cannot_become_markup() {
        assert_eq!(html("<a \"&'\">"), "&lt;a &quot;&amp;&#39;&quot;&gt;");
        assert_eq!(xml("a\u{0}\nb\u{fffe}"), "a\\u{0}\nb\\u{fffe}");
    }

    #[test]
    fn a_moment_is_short() {
        assert_eq!(moment(1_764_196_000), "2025-11-26 22:26 UTC");
        assert_eq!(date(0), "1970-01-01");
    }
}
