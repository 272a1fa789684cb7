//! Replies as they come, from servers that may be wrong: where one ends, and whether it is a yes. Sans-IO.
//!
//! More patient than a client's grammar: an examiner wants to hear the end of a strange answer. What decides is the first word of the last
//! line alone: the code of SMTP (RFC 5321 4.2), IMAP's tag (RFC 9051 7.1), `+OK` (RFC 1939 3), `OK` (RFC 5804 1.2).

use super::target::Protocol;
use crate::shown::is_unshowable;

/// The most octets of one reply.
pub(crate) const MOST: usize = 64 * 1024;

/// Where a reply ends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Until {
    /// The line whose code is followed by a space, or by nothing.
    Code,
    /// The line with this tag, or a continuation.
    Tag(String),
    /// One line.
    Line,
    /// A line, and after `+OK` more of them until a dot alone.
    List,
    /// The line that begins with `OK`, `NO` or `BYE`.
    Word,
}

impl Until {
    /// For a greeting.
    pub(crate) fn greeting(protocol: Protocol) -> Self {
        match protocol {
            Protocol::Smtp | Protocol::Lmtp => Self::Code,
            Protocol::Imap | Protocol::Pop3 => Self::Line,
            Protocol::Sieve => Self::Word,
        }
    }
}

/// Whether a reply is a yes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mood {
    /// 2xx, OK, +OK.
    Yes,
    /// 3xx, a continuation: go on.
    More,
    /// 4xx, BYE: not now.
    NotNow,
    /// 5xx, NO, BAD, -ERR.
    No,
    /// None of them.
    Strange,
}

/// A reply.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Reply {
    /// Its lines without their ends, escaped.
    pub(crate) lines: Vec<String>,
    /// Whether it is a yes.
    pub(crate) mood: Mood,
}

impl Reply {
    /// The line that decides.
    pub(crate) fn last(&self) -> &str {
        self.lines.last().map_or("", String::as_str)
    }
}

/// Octets for people: a server must not drive the terminal or the page they are shown on.
pub(crate) fn escape(octets: &[u8]) -> String {
    let text = String::from_utf8_lossy(octets);
    let mut out = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '\r' => out.push_str("\\r"),
            '\n' => out.push_str("\\n"),
            '\\' => out.push_str("\\\\"),
            it if is_unshowable(it) => out.extend(it.escape_unicode()),
            it => out.push(it),
        }
    }
    out
}

/// Takes a whole reply out of what was received. None: more is needed.
pub(crate) fn take(received: &mut Vec<u8>, until: &Until) -> Option<Reply> {
    let mut at = 0;
    let mut lines: Vec<String> = Vec::new();
    let mut in_list = false;
    while let Some(length) = received
        .get(at..)
        .and_then(|rest| rest.iter().position(|octet| *octet == b'\n'))
    {
        let line = received.get(at..at + length).unwrap_or_default();
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        at += length + 1;
        let text = escape(line);
        let end = if in_list {
            text == "."
        } else {
            is_last(&text, until, &mut in_list)
        };
        lines.push(text);
        if end {
            received.drain(..at);
            let mood = mood(&lines, until);
            return Some(Reply { lines, mood });
        }
    }
    None
}

fn is_last(line: &str, until: &Until, in_list: &mut bool) -> bool {
    match until {
        Until::Code => line.as_bytes().get(3) != Some(&b'-'),
        Until::Line => true,
        Until::Tag(tag) => {
            line.split(' ').next() == Some(tag) || line.starts_with('+') || is_bye(line)
        }
        Until::List => {
            *in_list = line.starts_with("+OK");
            !*in_list
        }
        Until::Word => ["OK", "NO", "BYE"].iter().any(|word| {
            let rest = line.get(..word.len()).zip(line.get(word.len()..));
            rest.is_some_and(|(head, rest)| {
                head.eq_ignore_ascii_case(word) && (rest.is_empty() || rest.starts_with([' ', '(']))
            })
        }),
    }
}

fn is_bye(line: &str) -> bool {
    line.len() >= 5
        && line
            .get(..5)
            .is_some_and(|it| it.eq_ignore_ascii_case("* BYE"))
}

fn mood(lines: &[String], until: &Until) -> Mood {
    let last = lines.last().map_or("", String::as_str);
    let word = |at: usize| {
        let word = last.split(' ').nth(at).unwrap_or("");
        word.split('(').next().unwrap_or("").to_ascii_uppercase()
    };
    let of_word = |word: &str| match word {
        "OK" | "+OK" | "PREAUTH" => Mood::Yes,
        "BYE" => Mood::NotNow,
        "NO" | "BAD" | "-ERR" => Mood::No,
        _ => Mood::Strange,
    };
    match until {
        Until::Code => of_code(last),
        _ if last.starts_with("+ ") || last == "+" => Mood::More,
        Until::Tag(_) => of_word(&word(1)),
        // IMAP's greeting has a star first.
        Until::Line if last.starts_with("* ") => of_word(&word(1)),
        Until::Line | Until::Word => of_word(&word(0)),
        Until::List => of_word(&lines.first().map_or_else(String::new, |it| {
            it.split(' ').next().unwrap_or("").to_ascii_uppercase()
        })),
    }
}

fn of_code(line: &str) -> Mood {
    let code = line
        .get(..3)
        .filter(|it| it.bytes().all(|octet| octet.is_ascii_digit()));
    match code.and_then(|it| it.bytes().next()) {
        Some(b'2') => Mood::Yes,
        Some(b'3') => Mood::More,
        Some(b'4') => Mood::NotNow,
        Some(b'5') => Mood::No,
        _ => Mood::Strange,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn taken(words: &[u8], until: &Until) -> (Option<(usize, Mood)>, usize) {
        let mut received = words.to_vec();
        let reply = take(&mut received, until).map(|it| (it.lines.len(), it.mood));
        (reply, received.len())
    }

    #[test]
    fn a_reply_ends_where_its_protocol_says_and_not_before() {
        let cases: [(&[u8], Until, Mood, usize); 11] = [
            (b"250-a\r\n250 b\r\n", Until::Code, Mood::Yes, 2),
            (b"220\r\n", Until::Code, Mood::Yes, 1),
            (b"334 \r\n", Until::Code, Mood::More, 1),
            (b"421 go\n", Until::Code, Mood::NotNow, 1),
            (b"500 what\r\n", Until::Code, Mood::No, 1),
            (
                b"* CAPABILITY X\r\na OK done\r\n",
                Until::Tag("a".to_owned()),
                Mood::Yes,
                2,
            ),
            (
                b"* BYE over\r\n",
                Until::Tag("a".to_owned()),
                Mood::NotNow,
                1,
            ),
            (b"+ \r\n", Until::Tag("a".to_owned()), Mood::More, 1),
            (b"+OK\r\nUSER\r\n.\r\n", Until::List, Mood::Yes, 3),
            (b"-ERR no\r\n", Until::List, Mood::No, 1),
            (
                b"\"STARTTLS\"\r\nOK (TAG {1}) \"x\"\r\n",
                Until::Word,
                Mood::Yes,
                2,
            ),
        ];
        for (words, until, mood, lines) in cases {
            assert_eq!(taken(words, &until), (Some((lines, mood)), 0), "{until:?}");
            for cut in 0..words.len() {
                assert_eq!(taken(&words[..cut], &until), (None, cut), "{until:?} {cut}");
            }
        }
    }

    #[test]
    fn what_stands_behind_a_reply_stays() {
        let mut received = b"220 go\r\n250 more".to_vec();
        assert!(take(&mut received, &Until::Code).is_some());
        assert_eq!(received, b"250 more");
    }

    #[test]
    fn a_servers_words_do_not_drive_the_terminal() {
        assert_eq!(escape(b"a\x1b[2J\r\n\\"), "a\\u{1b}[2J\\r\\n\\\\");
        assert_eq!(escape("x\u{202e}y".as_bytes()), "x\\u{202e}y");
    }
}
