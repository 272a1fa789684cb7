//! Replies as a client reads them (RFC 5321 4.2).
//!
//! Decisions hang on the code alone [SMTP-BASE-07]; the text is for people. All lines of a reply have one code [SMTP-BASE-08].

use crate::client::{Breach, Failure, Link, Quote, Refused, Stage};

/// The longest line of a reply read, in octets. RFC 5321 4.5.3.1.5 has 512; a challenge may have 12,288 (RFC 4954 4).
const LONGEST_LINE: usize = 12_300;
/// The most lines and octets of a reply.
const MOST: (usize, usize) = (256, 64 * 1024);
/// The most lines and octets of a greeting.
const MOST_GREETING: (usize, usize) = (50, 8 * 1024);

/// An enhanced status code: class, subject, detail (RFC 3463 2).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Enhanced(pub u8, pub u16, pub u16);

/// A complete reply.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reply {
    /// The code, 200 to 599.
    pub code: u16,
    /// The lines without code and line end.
    pub lines: Vec<Vec<u8>>,
}

impl Reply {
    /// Class 2: done.
    pub fn is_positive(&self) -> bool {
        self.code / 100 == 2
    }

    /// Class 4: it may go well later.
    pub fn is_temporary(&self) -> bool {
        self.code / 100 == 4
    }

    /// Whether it is a refusal, now or for good.
    pub fn is_negative(&self) -> bool {
        self.code >= 400
    }

    /// The enhanced status code at the head of the text, if it is one and its class is that of the code.
    pub fn enhanced(&self) -> Option<Enhanced> {
        let text = self.lines.first()?;
        let word = text.split(|it| *it == b' ').next()?;
        let mut parts = std::str::from_utf8(word).ok()?.split('.');
        let class = number(parts.next()?, 1)?;
        let subject = number(parts.next()?, 3)?;
        let detail = number(parts.next()?, 3)?;
        let complete = parts.next().is_none() && class == self.code / 100;
        complete.then_some(Enhanced(u8::try_from(class).ok()?, subject, detail))
    }

    /// Code and text, escaped and cut to a length fit to be shown.
    pub fn shown(&self) -> String {
        Quote::new(&self.joined(), true).text().to_owned()
    }

    /// The whole reply as octets, lines joined by a space: for quoting. Not safe to print.
    pub(crate) fn joined(&self) -> Vec<u8> {
        let mut joined = self.code.to_string().into_bytes();
        for line in &self.lines {
            joined.push(b' ');
            joined.extend_from_slice(line);
        }
        joined
    }

    pub(crate) fn refused(&self, link: &Link) -> Refused {
        link.refused(self.is_temporary(), &self.joined())
    }
}

fn number(text: &str, longest: usize) -> Option<u16> {
    let digits =
        !text.is_empty() && text.len() <= longest && text.bytes().all(|it| it.is_ascii_digit());
    text.parse().ok().filter(|_| digits)
}

/// Puts the lines of a reply together.
#[derive(Debug, Default)]
pub(crate) struct Reader {
    code: Option<u16>,
    lines: Vec<Vec<u8>>,
    octets: usize,
}

impl Reader {
    /// The next reply, if it is complete.
    pub(crate) fn read(&mut self, link: &mut Link, stage: Stage) -> Result<Option<Reply>, Failure> {
        let (most_lines, most_octets) = if stage == Stage::Greeting {
            MOST_GREETING
        } else {
            MOST
        };
        while let Some(line) = link.reply_line(LONGEST_LINE.min(most_octets), stage)? {
            let (code, text, last) =
                parse(&line).ok_or_else(|| Failure::malformed(&line, stage, "SMTP"))?;
            // [SMTP-BASE-08]
            if self.code.is_some_and(|it| it != code) {
                return Err(Failure::Protocol(Breach::MixedCodes, stage));
            }
            self.code = Some(code);
            self.octets += line.len() + 2;
            self.lines.push(text.to_vec());
            if self.lines.len() > most_lines || self.octets > most_octets {
                return Err(Failure::TooMuch(stage));
            }
            if last {
                let lines = std::mem::take(self).lines;
                return Ok(Some(Reply { code, lines }));
            }
        }
        Ok(None)
    }
}

/// One line of a reply, understood: for who reads replies from beside.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ReplyLine<'a> {
    /// The code, 200 to 599.
    pub code: u16,
    /// What stands behind it. Not safe to print.
    pub text: &'a [u8],
    /// Whether it is the reply's last line.
    pub is_last: bool,
}

impl<'a> ReplyLine<'a> {
    /// Reads a line without its end. None when it is no line of a reply.
    pub fn parse(line: &'a [u8]) -> Option<Self> {
        let (code, text, is_last) = parse(line)?;
        Some(Self {
            code,
            text,
            is_last,
        })
    }
}

/// Code, text, and whether it is the last line.
fn parse(line: &[u8]) -> Option<(u16, &[u8], bool)> {
    let (code, rest) = line.split_at_checked(3)?;
    let digits = code.iter().all(u8::is_ascii_digit);
    let code: u16 = std::str::from_utf8(code).ok()?.parse().ok()?;
    // [SMTP-BASE-08] a first digit out of range is fatal
    if !digits || !(200..600).contains(&code) {
        return None;
    }
    match rest.split_first() {
        // [SMTP-BASE-07] text and space may be missing
        None => Some((code, rest, true)),
        Some((b' ', text)) => Some((code, text, true)),
        Some((b'-', text)) => Some((code, text, false)),
        Some(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &[u8], stage: Stage) -> Result<Option<Reply>, Failure> {
        let mut link = Link::clear(None);
        link.inbox.push(text);
        Reader::default().read(&mut link, stage)
    }

    fn reply(text: &[u8]) -> Reply {
        read(text, Stage::Command).unwrap().unwrap()
    }

    #[test]
    fn the_code_decides() {
        // [SMTP-BASE-07]
        assert_eq!(reply(b"250\r\n").code, 250);
        assert!(reply(b"299 odd\r\n").is_positive());
        assert!(reply(b"451 later\r\n").is_temporary());
        let many = reply(b"250-a\r\n250-b\r\n250\r\n");
        assert_eq!(many.lines, [b"a".to_vec(), b"b".to_vec(), b"".to_vec()]);
    }

    #[test]
    fn what_breaks_the_grammar_is_refused() {
        // [SMTP-BASE-08]
        let malformed: [&[u8]; 9] = [
            b"\r\n",
            b"25\r\n",
            b"2500 x\r\n",
            b"250x\r\n",
            b"199 x\r\n",
            b"600 x\r\n",
            b"+OK\r\n",
            b"2 0 x\r\n",
            b" 250 x\r\n",
        ];
        for text in malformed {
            assert_eq!(
                read(text, Stage::Command),
                Err(Failure::Protocol(Breach::Malformed, Stage::Command)),
                "{}",
                text.escape_ascii()
            );
        }
        assert_eq!(
            read(b"250-a\r\n550 b\r\n", Stage::Command),
            Err(Failure::Protocol(Breach::MixedCodes, Stage::Command))
        );
        for text in [&b"250 a\nb\r\n"[..], b"250 a\rb\r\n", b"250 \0\r\n"] {
            assert_eq!(
                read(text, Stage::Command),
                Err(Failure::Protocol(Breach::BareControl, Stage::Command))
            );
        }
    }

    #[test]
    fn too_much_is_not_read() {
        let line = b"220-x\r\n".repeat(51);
        assert_eq!(
            read(&line, Stage::Greeting),
            Err(Failure::TooMuch(Stage::Greeting))
        );
        let line = [&[b'2'; 3][..], &[b'x'; 9000]].concat();
        assert_eq!(
            read(&line, Stage::Greeting),
            Err(Failure::TooMuch(Stage::Greeting))
        );
        let lines = b"250-x\r\n".repeat(257);
        assert_eq!(
            read(&lines, Stage::Command),
            Err(Failure::TooMuch(Stage::Command))
        );
    }

    #[test]
    fn enhanced_codes() {
        assert_eq!(
            reply(b"550 5.1.1 no\r\n").enhanced(),
            Some(Enhanced(5, 1, 1))
        );
        assert_eq!(reply(b"250 2.0.0\r\n").enhanced(), Some(Enhanced(2, 0, 0)));
        for text in [
            &b"550 4.1.1 no\r\n"[..],
            b"550 5.1 no\r\n",
            b"550 5.1.1.1 no\r\n",
            b"550 5.1.1000 no\r\n",
            b"550 no\r\n",
            b"550\r\n",
        ] {
            assert_eq!(reply(text).enhanced(), None);
        }
    }
}
