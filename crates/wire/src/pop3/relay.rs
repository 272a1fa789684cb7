//! The dialogue of a logged-in POP3 session, passing through a gate.
//!
//! POP3 has no tags: an answer belongs to the oldest command without one. So what each command's good answer looks like is
//! remembered, in order, and commands this list does not know do not get through; they go on as one that no server knows, so that
//! the upstream refuses them in their place. The list of CAPA loses what is not for the connection to the client [GW-01].

use std::collections::VecDeque;

use memchr::memchr;

use crate::passage::Passage;
use crate::session::Why;

/// The longest command line (RFC 2449 4 has 255), and the longest status line or line of capabilities.
const LONGEST_LINE: usize = 2048;
/// The most commands without an answer.
const MOST_WAITING: usize = 4096;
/// What a refused command is turned into.
const REFUSED: &[u8] = b"XREFUSED\r\n";

/// What a good answer looks like.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Shape {
    /// One line.
    Line,
    /// Lines up to a dot.
    Lines,
    /// The list of capabilities.
    Capabilities,
}

/// Whether a capability of the upstream is also one of the connection to the client [GW-01].
pub fn is_carried(line: &str) -> bool {
    let word = line.split(' ').next().unwrap_or_default();
    // UTF8 is said before login, where the gate itself answers.
    let never = [
        "STLS",
        "SASL",
        "USER",
        "APOP",
        "XCLIENT",
        "IMPLEMENTATION",
        "UTF8",
    ];
    !never.iter().any(|it| it.eq_ignore_ascii_case(word))
}

/// The passage. See the [module documentation](self).
#[derive(Debug, Default)]
pub struct Relay {
    /// A command line that is not complete.
    command: Vec<u8>,
    waiting: VecDeque<Shape>,
    back: Back,
    /// QUIT was said.
    leaving: bool,
}

/// Where the upstream's words stand.
#[derive(Debug)]
enum Back {
    /// At an answer's first line; what there is of it.
    Status(Vec<u8>),
    /// In the lines of an answer.
    Body(Place),
    /// In the list of capabilities; what there is of a line.
    Capabilities(Vec<u8>),
}

impl Default for Back {
    fn default() -> Self {
        Self::Status(Vec::new())
    }
}

/// Where in its lines.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    Start,
    Dot,
    DotCr,
    Text,
    Cr,
}

impl Relay {
    fn command(&mut self, line: &[u8], out: &mut Vec<u8>) -> Result<(), Why> {
        let body = line.strip_suffix(b"\r").ok_or(Why::OutOfSync)?;
        if memchr(b'\r', body).is_some() {
            return Err(Why::OutOfSync);
        }
        let mut words = body.split(|it| *it == b' ');
        let verb = words.next().unwrap_or_default().to_ascii_uppercase();
        self.leaving |= verb == b"QUIT";
        let has_argument = words.any(|it| !it.is_empty());
        let shape = match verb.as_slice() {
            b"STAT" | b"DELE" | b"NOOP" | b"RSET" | b"QUIT" | b"UTF8" => Some(Shape::Line),
            b"LIST" | b"UIDL" | b"LANG" if has_argument => Some(Shape::Line),
            b"LIST" | b"UIDL" | b"LANG" | b"RETR" | b"TOP" => Some(Shape::Lines),
            b"CAPA" => Some(Shape::Capabilities),
            _ => None,
        };
        if self.waiting.len() >= MOST_WAITING {
            return Err(Why::LimitExceeded);
        }
        self.waiting.push_back(shape.unwrap_or(Shape::Line));
        if shape.is_some() {
            out.extend_from_slice(line);
            out.push(b'\n');
        } else {
            out.extend_from_slice(REFUSED);
        }
        Ok(())
    }

    fn status(&mut self, line: &[u8]) -> Back {
        // A word nobody asked for is a farewell, of one line.
        let shape = self.waiting.pop_front().unwrap_or(Shape::Line);
        match shape {
            _ if !line.starts_with(b"+OK") => Back::default(),
            Shape::Line => Back::default(),
            Shape::Lines => Back::Body(Place::Start),
            Shape::Capabilities => Back::Capabilities(Vec::new()),
        }
    }

    fn step_back<'a>(&mut self, bytes: &'a [u8], out: &mut Vec<u8>) -> Result<&'a [u8], Why> {
        match std::mem::take(&mut self.back) {
            Back::Status(line) => {
                let (line, rest) = gather(line, bytes)?;
                if line.ends_with(b"\n") {
                    out.extend_from_slice(&line);
                    self.back = self.status(&line);
                } else {
                    self.back = Back::Status(line);
                }
                Ok(rest)
            }
            Back::Capabilities(line) => {
                let (line, rest) = gather(line, bytes)?;
                if !line.ends_with(b"\n") {
                    self.back = Back::Capabilities(line);
                    return Ok(rest);
                }
                let text = String::from_utf8_lossy(&line);
                let text = text.trim_end_matches(['\r', '\n']);
                if is_carried(text) {
                    out.extend_from_slice(&line);
                }
                if text != "." {
                    self.back = Back::Capabilities(Vec::new());
                }
                Ok(rest)
            }
            Back::Body(place) => {
                let (taken, ended, place) = body(place, bytes);
                let (now, rest) = bytes.split_at_checked(taken).unwrap_or((bytes, &[]));
                out.extend_from_slice(now);
                if !ended {
                    self.back = Back::Body(place);
                }
                Ok(rest)
            }
        }
    }
}

/// Adds to a line up to its end.
fn gather(mut line: Vec<u8>, bytes: &[u8]) -> Result<(Vec<u8>, &[u8]), Why> {
    let end = memchr(b'\n', bytes).map_or(bytes.len(), |at| at + 1);
    let (now, rest) = bytes.split_at_checked(end).unwrap_or((bytes, &[]));
    line.extend_from_slice(now);
    if line.len() > LONGEST_LINE {
        return Err(Why::LimitExceeded);
    }
    Ok((line, rest))
}

/// How many octets belong to an answer of many lines, whether its end is among them, and where it stands then.
fn body(mut place: Place, bytes: &[u8]) -> (usize, bool, Place) {
    let mut at = 0;
    while let Some(&octet) = bytes.get(at) {
        at += 1;
        place = match (place, octet) {
            (Place::DotCr, b'\n') => return (at, true, Place::Start),
            (Place::Start, b'.') => Place::Dot,
            (Place::Dot, b'\r') => Place::DotCr,
            (Place::Cr, b'\n') => Place::Start,
            (_, b'\r') => Place::Cr,
            _ => {
                let rest = bytes.get(at..).unwrap_or_default();
                at += memchr(b'\r', rest).unwrap_or(rest.len());
                Place::Text
            }
        };
    }
    (at, false, place)
}

impl Passage for Relay {
    fn forth(&mut self, bytes: &[u8], out: &mut Vec<u8>) -> Result<(), Why> {
        let mut rest = bytes;
        while let Some(end) = memchr(b'\n', rest) {
            let (now, behind) = rest.split_at_checked(end).unwrap_or((rest, &[]));
            let mut line = std::mem::take(&mut self.command);
            line.extend_from_slice(now);
            if line.len() > LONGEST_LINE {
                return Err(Why::LimitExceeded);
            }
            self.command(&line, out)?;
            rest = behind.get(1..).unwrap_or_default();
        }
        self.command.extend_from_slice(rest);
        if self.command.len() > LONGEST_LINE {
            return Err(Why::LimitExceeded);
        }
        Ok(())
    }

    fn back(&mut self, bytes: &[u8], out: &mut Vec<u8>) -> Result<(), Why> {
        let mut rest = bytes;
        while !rest.is_empty() {
            rest = self.step_back(rest, out)?;
        }
        Ok(())
    }

    fn is_leaving(&self) -> bool {
        self.leaving
    }

    fn farewell(&self) -> &'static [u8] {
        match &self.back {
            Back::Status(line) if line.is_empty() && self.waiting.is_empty() => {
                b"-ERR [SYS/TEMP] The server is stopping\r\n"
            }
            _ => b"",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What goes to the upstream, and what comes to the client, for any cut of the upstream's words.
    fn pass(commands: &[u8], answers: &[u8]) -> (String, String) {
        let mut whole: Option<(String, String)> = None;
        for cut in 0..=answers.len() {
            let (mut relay, mut up, mut down) = (Relay::default(), Vec::new(), Vec::new());
            relay.forth(commands, &mut up).unwrap();
            relay.back(&answers[..cut], &mut down).unwrap();
            relay.back(&answers[cut..], &mut down).unwrap();
            let now = (
                String::from_utf8(up).unwrap(),
                String::from_utf8(down).unwrap(),
            );
            assert_eq!(*whole.get_or_insert(now.clone()), now, "cut at {cut}");
        }
        whole.unwrap()
    }

    #[test]
    fn commands_and_messages_pass_as_they_are() {
        let commands = "STAT\r\nLIST\r\nRETR 1\r\nuidl 1\r\nTOP 1 0\r\nQUIT\r\n";
        let answers = "+OK 1 9\r\n+OK\r\n1 9\r\n.\r\n+OK\r\nSubject: x\r\n..\r\n.a\r\n\r\n.\r\n+OK 1 u\r\n-ERR no\r\n+OK bye\r\n";
        let (up, down) = pass(commands.as_bytes(), answers.as_bytes());
        assert_eq!((up.as_str(), down.as_str()), (commands, answers));
    }

    // [GW-01] [SASL-CB-03]
    #[test]
    fn capabilities_lose_what_is_not_for_this_connection() {
        let (_, down) = pass(
            b"CAPA\r\nNOOP\r\n",
            b"+OK\r\nTOP\r\nSTLS\r\nUSER\r\nSASL PLAIN SCRAM-SHA-256-PLUS\r\nXCLIENT\r\nUIDL\r\n.\r\n+OK\r\n",
        );
        assert_eq!(down, "+OK\r\nTOP\r\nUIDL\r\n.\r\n+OK\r\n");
    }

    #[test]
    fn what_is_not_known_does_not_get_through() {
        for verb in [
            "STLS",
            "AUTH PLAIN x",
            "USER a",
            "PASS b",
            "APOP a b",
            "XCLIENT ADDR=1",
            "stls",
            "",
        ] {
            let (up, down) = pass(
                format!("{verb}\r\nNOOP\r\n").as_bytes(),
                b"-ERR what?\r\n+OK\r\n",
            );
            assert_eq!(up, "XREFUSED\r\nNOOP\r\n", "{verb}");
            assert_eq!(down, "-ERR what?\r\n+OK\r\n");
        }
    }

    #[test]
    fn a_message_cannot_look_like_an_answer() {
        // The capabilities in the message are the message's.
        let message = "+OK\r\n+OK\r\nSTLS\r\n.\r\r\n\n.\r\nSASL PLAIN\r\n.\r\n";
        let (_, down) = pass(
            b"RETR 1\r\nCAPA\r\n",
            format!("{message}+OK\r\nSTLS\r\n.\r\n").as_bytes(),
        );
        assert_eq!(down, format!("{message}+OK\r\n.\r\n"));
    }

    #[test]
    fn bare_line_ends_end_the_session() {
        for text in [&b"NOOP\nSTLS\r\n"[..], b"NOOP\rSTLS\r\n", b"NOOP\n"] {
            assert_eq!(
                Relay::default().forth(text, &mut Vec::new()),
                Err(Why::OutOfSync)
            );
        }
        let long = vec![b'x'; LONGEST_LINE + 1];
        assert_eq!(
            Relay::default().forth(&long, &mut Vec::new()),
            Err(Why::LimitExceeded)
        );
    }
}
