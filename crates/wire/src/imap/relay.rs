//! The dialogue of a logged-in IMAP session, passing through a gate.
//!
//! ```text
//!   client ──command lines, literals by count──▶ upstream      STARTTLS, COMPRESS, LOGIN, … become a command nobody knows
//!   client ◀──lines, literals by count────────── upstream      CAPABILITY without what is not for this connection
//! ```
//!
//! - Literals are counted, never searched: what a message holds is not looked at.
//! - A refused command goes on under its own tag as one the upstream does not know: the upstream answers BAD, in its place among
//!   the other answers.
//! - A synchronising literal waits for the upstream's word: after `+` octets follow, after a tagged answer a new command. A
//!   client that does not wait cannot be followed and is cut off.
//! - A bare CR or LF in a command line ends the session: two servers could see two different commands in it.

use memchr::memchr;

use crate::passage::Passage;
use crate::session::Why;

/// The longest beginning of a command (its tag and name) that is waited for.
const LONGEST_HEAD: usize = 2048;
/// The longest beginning of a response that is kept to see what it is.
const GLANCE: usize = 512;
/// The longest line of capabilities.
const LONGEST_CAPABILITIES: usize = 16 * 1024;
/// What a refused command is turned into.
const REFUSED: &[u8] = b"XREFUSED";

/// Commands that do not get through: they would change what the connection is, or who uses it.
const NOT_CARRIED: [&[u8]; 7] = [
    b"STARTTLS",
    b"COMPRESS",
    b"LOGIN",
    b"AUTHENTICATE",
    b"UNAUTHENTICATE",
    b"XCLIENT",
    b"XFORWARD",
];

/// Whether a capability of the upstream is also one of the connection to the client [GW-01]: how TLS, logins and compression
/// stand there says nothing about here. [SASL-CB-03] mechanisms bound to the upstream's TLS go with all the others.
pub fn is_carried(word: &str) -> bool {
    let word = word.to_ascii_uppercase();
    let never = [
        "STARTTLS",
        "LOGINDISABLED",
        "SASL-IR",
        "UNAUTHENTICATE",
        "XCLIENT",
        "XFORWARD",
        "LOGIN-REFERRALS",
    ];
    !never.contains(&word.as_str())
        && !word.starts_with("AUTH=")
        && !word.starts_with("COMPRESS=")
        && !word.ends_with("-PLUS")
}

/// The capabilities of a list that are carried.
pub fn carried(list: &str) -> String {
    let words: Vec<&str> = list
        .split(' ')
        .filter(|word| !word.is_empty() && is_carried(word))
        .collect();
    words.join(" ")
}

/// The passage. See the [module documentation](self).
#[derive(Debug, Default)]
pub struct Relay {
    forth: Forth,
    back: Back,
    /// The tag of the command whose synchronising literal waits for leave.
    waiting: Option<Box<[u8]>>,
    /// LOGOUT was said.
    leaving: bool,
}

/// Where the client's words stand.
#[derive(Debug)]
enum Forth {
    /// At the beginning of a command; what there is of it.
    Head(Vec<u8>),
    /// In a line. `refused`: nothing of it goes on.
    Line {
        tail: Tail,
        refused: bool,
        tag: Box<[u8]>,
    },
    /// In a literal.
    Literal {
        left: u64,
        refused: bool,
        tag: Box<[u8]>,
    },
    /// Behind the announcement of a literal that must wait.
    Asked { octets: u64, tag: Box<[u8]> },
}

impl Default for Forth {
    fn default() -> Self {
        Self::Head(Vec::new())
    }
}

/// Where the upstream's words stand.
#[derive(Debug)]
enum Back {
    Head(Vec<u8>),
    /// `literals`: whether the line may end in the announcement of one.
    Line {
        tail: Tail,
        literals: bool,
    },
    Literal(u64),
}

impl Default for Back {
    fn default() -> Self {
        Self::Head(Vec::new())
    }
}

/// The last octets of a line.
#[derive(Debug, Default, Clone, Copy)]
struct Tail {
    octets: [u8; 24],
    length: usize,
}

impl Tail {
    fn push(&mut self, bytes: &[u8]) {
        let size = self.octets.len();
        let from = bytes.len().saturating_sub(size);
        for octet in bytes.get(from..).unwrap_or_default() {
            if self.length == size {
                self.octets.rotate_left(1);
                self.length -= 1;
            }
            if let Some(place) = self.octets.get_mut(self.length) {
                *place = *octet;
                self.length += 1;
            }
        }
    }

    fn bytes(&self) -> &[u8] {
        self.octets.get(..self.length).unwrap_or_default()
    }

    /// Whether it ends in CR, LF being next.
    fn ends_in_cr(&self) -> bool {
        self.bytes().last() == Some(&b'\r')
    }
}

/// A literal announced at the end of a line (CRLF taken off): its octets, and whether it waits for leave.
fn announced(line: &[u8]) -> Option<(u64, bool)> {
    let inner = line.strip_suffix(b"}")?;
    let open = inner.iter().rposition(|it| *it == b'{')?;
    let digits = inner.get(open + 1..)?;
    let (digits, waits) = match digits.strip_suffix(b"+") {
        Some(digits) => (digits, false),
        // LITERAL- writes its literals with a minus in no version of the document, but with the same plus.
        None => (digits, true),
    };
    if digits.is_empty() || digits.len() > 19 || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let octets = std::str::from_utf8(digits).ok()?.parse().ok()?;
    Some((octets, waits))
}

impl Relay {
    /// Takes from the client's words what belongs to the state; returns what is left.
    fn step_forth<'a>(&mut self, bytes: &'a [u8], out: &mut Vec<u8>) -> Result<&'a [u8], Why> {
        match std::mem::take(&mut self.forth) {
            Forth::Head(head) => self.forth_head(head, bytes, out),
            Forth::Line { tail, refused, tag } => self.forth_line(tail, refused, tag, bytes, out),
            Forth::Literal { left, refused, tag } => {
                let (now, rest) = split(bytes, left);
                if !refused {
                    out.extend_from_slice(now);
                }
                let left = left - now.len() as u64;
                self.forth = if left > 0 {
                    Forth::Literal { left, refused, tag }
                } else {
                    let tail = Tail::default();
                    Forth::Line { tail, refused, tag }
                };
                Ok(rest)
            }
            // Neither leave nor an answer has been seen.
            Forth::Asked { .. } => Err(Why::OutOfSync),
        }
    }

    fn forth_head<'a>(
        &mut self,
        mut head: Vec<u8>,
        bytes: &'a [u8],
        out: &mut Vec<u8>,
    ) -> Result<&'a [u8], Why> {
        let is_end = |it: &u8| matches!(it, b' ' | b'\r' | b'\n');
        let Some(at) = bytes.iter().position(is_end) else {
            head.extend_from_slice(bytes);
            if head.len() > LONGEST_HEAD {
                return Err(Why::LimitExceeded);
            }
            self.forth = Forth::Head(head);
            return Ok(&[]);
        };
        let rest = bytes.get(at..).unwrap_or_default();
        head.extend_from_slice(bytes.get(..at).unwrap_or_default());
        if head.len() > LONGEST_HEAD {
            return Err(Why::LimitExceeded);
        }
        let has_tag = head.contains(&b' ');
        if rest.first() == Some(&b' ') && !has_tag {
            head.push(b' ');
            self.forth = Forth::Head(head);
            return Ok(rest.get(1..).unwrap_or_default());
        }
        let (tag, verb) = match head.iter().position(|it| *it == b' ') {
            Some(space) => head.split_at(space),
            None => (&head[..], &[][..]),
        };
        let verb = verb.get(1..).unwrap_or_default();
        let refused = NOT_CARRIED.iter().any(|it| it.eq_ignore_ascii_case(verb));
        let tag: Box<[u8]> = tag.into();
        self.leaving |= verb.eq_ignore_ascii_case(b"LOGOUT");
        if refused {
            out.extend_from_slice(&tag);
            out.push(b' ');
            out.extend_from_slice(REFUSED);
        } else {
            out.extend_from_slice(&head);
        }
        let tail = Tail::default();
        self.forth = Forth::Line { tail, refused, tag };
        Ok(rest)
    }

    fn forth_line<'a>(
        &mut self,
        mut tail: Tail,
        refused: bool,
        tag: Box<[u8]>,
        bytes: &'a [u8],
        out: &mut Vec<u8>,
    ) -> Result<&'a [u8], Why> {
        let end = memchr(b'\n', bytes);
        let line = bytes.get(..end.unwrap_or(bytes.len())).unwrap_or_default();
        check_line_end(tail, line, end.is_some())?;
        tail.push(line);
        let Some(end) = end else {
            if !refused {
                out.extend_from_slice(line);
            }
            self.forth = Forth::Line { tail, refused, tag };
            return Ok(&[]);
        };
        let rest = bytes.get(end + 1..).unwrap_or_default();
        let ended = tail.bytes().strip_suffix(b"\r").unwrap_or_default();
        let literal = announced(ended);
        if !refused {
            out.extend_from_slice(line);
            out.push(b'\n');
        }
        self.forth = match literal {
            Some((left, false)) => Forth::Literal { left, refused, tag },
            Some((octets, true)) if !refused => {
                self.waiting = Some(tag.clone());
                Forth::Asked { octets, tag }
            }
            // The refusal is the answer; a literal that waits for leave never comes.
            _ => {
                if refused {
                    out.extend_from_slice(b"\r\n");
                }
                Forth::default()
            }
        };
        Ok(rest)
    }

    /// The upstream has given leave for the literal.
    fn go_ahead(&mut self) {
        if let Forth::Asked { octets, tag } = std::mem::take(&mut self.forth) {
            self.waiting = None;
            self.forth = Forth::Literal {
                left: octets,
                refused: false,
                tag,
            };
        }
    }

    /// The upstream has answered the command instead: the literal never comes.
    fn answered(&mut self, tag: &[u8]) {
        if self.waiting.as_deref() == Some(tag) {
            self.waiting = None;
            self.forth = Forth::default();
        }
    }

    fn step_back<'a>(&mut self, bytes: &'a [u8], out: &mut Vec<u8>) -> Result<&'a [u8], Why> {
        match std::mem::take(&mut self.back) {
            Back::Head(head) => self.back_head(head, bytes, out),
            Back::Line { mut tail, literals } => {
                let end = memchr(b'\n', bytes).map_or(bytes.len(), |at| at + 1);
                let line = bytes.get(..end).unwrap_or_default();
                out.extend_from_slice(line);
                tail.push(line);
                self.back = if line.ends_with(b"\n") {
                    behind(tail.bytes(), literals)
                } else {
                    Back::Line { tail, literals }
                };
                Ok(bytes.get(end..).unwrap_or_default())
            }
            Back::Literal(left) => {
                let (now, rest) = split(bytes, left);
                out.extend_from_slice(now);
                let left = left - now.len() as u64;
                self.back = if left > 0 {
                    Back::Literal(left)
                } else {
                    let tail = Tail::default();
                    Back::Line {
                        tail,
                        literals: true,
                    }
                };
                Ok(rest)
            }
        }
    }

    fn back_head<'a>(
        &mut self,
        mut head: Vec<u8>,
        bytes: &'a [u8],
        out: &mut Vec<u8>,
    ) -> Result<&'a [u8], Why> {
        let end = memchr(b'\n', bytes).map_or(bytes.len(), |at| at + 1);
        head.extend_from_slice(bytes.get(..end).unwrap_or_default());
        let rest = bytes.get(end..).unwrap_or_default();
        if !head.ends_with(b"\n") {
            let line = Line::of(&head);
            if head.len() <= GLANCE || line.has_capabilities() {
                if head.len() > LONGEST_CAPABILITIES {
                    return Err(Why::LimitExceeded);
                }
                self.back = Back::Head(head);
                return Ok(rest);
            }
            let mut tail = Tail::default();
            tail.push(&head);
            let literals = line.may_have_literals();
            out.append(&mut head);
            self.back = Back::Line { tail, literals };
            return Ok(rest);
        }
        let line = Line::of(&head);
        match line.kind {
            LineKind::Continuation => self.go_ahead(),
            LineKind::Tagged(tag) => self.answered(tag),
            _ => {}
        }
        line.write(out);
        let mut tail = Tail::default();
        tail.push(&head);
        self.back = behind(tail.bytes(), Line::of(&head).may_have_literals());
        Ok(rest)
    }
}

/// What follows a line that ends so.
fn behind(line: &[u8], literals: bool) -> Back {
    let line = line.strip_suffix(b"\n").unwrap_or(line);
    let line = line.strip_suffix(b"\r").unwrap_or(line);
    match announced(line) {
        Some((octets, _)) if literals => Back::Literal(octets),
        _ => Back::default(),
    }
}

/// A CR must stand before LF and nowhere else.
fn check_line_end(tail: Tail, line: &[u8], ended: bool) -> Result<(), Why> {
    let (body, closes) = match line.strip_suffix(b"\r") {
        Some(body) => (body, true),
        None => (line, false),
    };
    // The CR of the piece before is good only if this piece begins with the LF.
    let before = tail.ends_in_cr() && !(ended && line.is_empty());
    let alone = memchr(b'\r', body).is_some();
    let whole = !ended || closes || (line.is_empty() && tail.ends_in_cr());
    if before || alone || !whole {
        return Err(Why::OutOfSync);
    }
    Ok(())
}

fn split(bytes: &[u8], left: u64) -> (&[u8], &[u8]) {
    let now = usize::try_from(left).unwrap_or(usize::MAX).min(bytes.len());
    bytes.split_at_checked(now).unwrap_or((bytes, &[]))
}

/// A line of the upstream, or its beginning.
struct Line<'a> {
    bytes: &'a [u8],
    kind: LineKind<'a>,
    /// Where the words of a list of capabilities begin.
    list: Option<usize>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum LineKind<'a> {
    Continuation,
    /// `OK`, `NO` or `BAD` with a tag.
    Tagged(&'a [u8]),
    /// An untagged status: its text announces nothing.
    Status,
    Data,
}

impl<'a> Line<'a> {
    fn of(bytes: &'a [u8]) -> Self {
        let data = Self {
            bytes,
            kind: LineKind::Data,
            list: None,
        };
        if bytes.first() == Some(&b'+') {
            return Self {
                kind: LineKind::Continuation,
                ..data
            };
        }
        let Some(space) = memchr(b' ', bytes) else {
            return data;
        };
        let (tag, rest) = bytes.split_at(space);
        let rest = rest.get(1..).unwrap_or_default();
        let length = rest
            .iter()
            .position(|it| matches!(it, b' ' | b'\r' | b'\n'))
            .unwrap_or(rest.len());
        let word = rest.get(..length).unwrap_or_default().to_ascii_uppercase();
        let begins = space + 1 + length;
        match word.as_slice() {
            b"CAPABILITY" if tag == b"*" => Self {
                list: Some(begins),
                ..data
            },
            b"OK" | b"NO" | b"BAD" | b"BYE" | b"PREAUTH" => {
                let code = b" [CAPABILITY ";
                let behind = bytes.get(begins..).unwrap_or_default();
                let has_code = behind
                    .get(..code.len())
                    .is_some_and(|it| it.eq_ignore_ascii_case(code));
                Self {
                    kind: if tag == b"*" {
                        LineKind::Status
                    } else {
                        LineKind::Tagged(tag)
                    },
                    list: has_code.then_some(begins + code.len() - 1),
                    ..data
                }
            }
            _ => data,
        }
    }

    fn has_capabilities(&self) -> bool {
        self.list.is_some()
    }

    fn may_have_literals(&self) -> bool {
        self.kind == LineKind::Data && self.list.is_none()
    }

    /// Writes the line, with a list of capabilities cut down to what is carried [GW-01].
    fn write(&self, out: &mut Vec<u8>) {
        let Some(list) = self.list else {
            out.extend_from_slice(self.bytes);
            return;
        };
        let (before, behind) = self
            .bytes
            .split_at_checked(list)
            .unwrap_or((self.bytes, &[]));
        let stop = behind
            .iter()
            .position(|it| matches!(it, b']' | b'\r' | b'\n'))
            .unwrap_or(behind.len());
        let (words, rest) = behind.split_at_checked(stop).unwrap_or((behind, &[]));
        out.extend_from_slice(before);
        out.push(b' ');
        out.extend_from_slice(carried(&String::from_utf8_lossy(words)).as_bytes());
        out.extend_from_slice(rest);
    }
}

impl Passage for Relay {
    fn forth(&mut self, bytes: &[u8], out: &mut Vec<u8>) -> Result<(), Why> {
        let mut rest = bytes;
        while !rest.is_empty() {
            rest = self.step_forth(rest, out)?;
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
            Back::Head(head) if head.is_empty() => b"* BYE The server is stopping\r\n",
            _ => b"",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn forth(bytes: &[u8]) -> Result<String, Why> {
        let mut whole = Vec::new();
        let result = Relay::default().forth(bytes, &mut whole);
        // Any cut gives the same.
        for cut in 0..=bytes.len() {
            let (mut relay, mut out) = (Relay::default(), Vec::new());
            let parts = relay
                .forth(&bytes[..cut], &mut out)
                .and_then(|()| relay.forth(&bytes[cut..], &mut out));
            assert_eq!(parts, result, "cut at {cut}");
            if result.is_ok() {
                assert_eq!(out, whole, "cut at {cut}");
            }
        }
        result.map(|()| String::from_utf8(whole).unwrap())
    }

    fn back(bytes: &[u8]) -> String {
        let mut whole = Vec::new();
        Relay::default().back(bytes, &mut whole).unwrap();
        for cut in 0..=bytes.len() {
            let (mut relay, mut out) = (Relay::default(), Vec::new());
            relay.back(&bytes[..cut], &mut out).unwrap();
            relay.back(&bytes[cut..], &mut out).unwrap();
            assert_eq!(out, whole, "cut at {cut}");
        }
        String::from_utf8(whole).unwrap()
    }

    #[test]
    fn commands_pass_as_they_are() {
        for text in [
            "a SELECT INBOX\r\nb FETCH 1:* (FLAGS)\r\n",
            "a IDLE\r\nDONE\r\n",
            "a LOGOUT\r\n",
            "a APPEND INBOX {3+}\r\nabc\r\nb NOOP\r\n",
            "a APPEND INBOX (\\Seen) ~{4+}\r\na\n\rb\r\nb NOOP\r\n",
            "\r\n",
        ] {
            assert_eq!(forth(text.as_bytes()).as_deref(), Ok(text), "{text:?}");
        }
    }

    // [GW-01]
    #[test]
    fn commands_that_change_the_connection_do_not_get_through() {
        assert_eq!(
            forth(b"a COMPRESS DEFLATE\r\nb NOOP\r\n").as_deref(),
            Ok("a XREFUSED\r\nb NOOP\r\n")
        );
        for command in NOT_CARRIED {
            let verb = String::from_utf8_lossy(command).to_lowercase();
            let text = format!("t1 {verb} x {{3+}}\r\na b{{1+}}\r\nc\r\nt2 noop\r\n");
            assert_eq!(
                forth(text.as_bytes()).as_deref(),
                Ok("t1 XREFUSED\r\nt2 noop\r\n"),
                "{verb}"
            );
        }
        // A literal that waits for leave gets none, and the next line is a command.
        assert_eq!(
            forth(b"a LOGIN {3}\r\nb NOOP\r\n").as_deref(),
            Ok("a XREFUSED\r\nb NOOP\r\n")
        );
    }

    #[test]
    fn a_second_command_cannot_hide_in_a_line() {
        for text in [
            &b"a NOOP\nb COMPRESS DEFLATE\r\n"[..],
            b"a NOOP\rb COMPRESS DEFLATE\r\n",
            b"a NOOP\r\r\n",
            b"a\nb COMPRESS DEFLATE\r\n",
            b"a NOOP \r \n",
        ] {
            assert_eq!(forth(text), Err(Why::OutOfSync), "{text:?}");
        }
    }

    #[test]
    fn a_literal_in_a_message_is_no_command() {
        let mut relay = Relay::default();
        let mut out = Vec::new();
        relay.forth(b"a APPEND INBOX {22}\r\n", &mut out).unwrap();
        relay.back(b"+ go\r\n", &mut Vec::new()).unwrap();
        relay
            .forth(b"b COMPRESS DEFLATE\r\nxx\r\nc NOOP\r\n", &mut out)
            .unwrap();
        assert_eq!(
            out,
            b"a APPEND INBOX {22}\r\nb COMPRESS DEFLATE\r\nxx\r\nc NOOP\r\n"
        );
    }

    #[test]
    fn after_a_refused_literal_comes_a_command() {
        let mut relay = Relay::default();
        let mut out = Vec::new();
        relay
            .forth(b"a APPEND INBOX {999999}\r\n", &mut out)
            .unwrap();
        // Another command's answer is not this one's.
        relay
            .back(b"* 3 EXISTS\r\nz OK done\r\n", &mut Vec::new())
            .unwrap();
        relay
            .back(b"a NO [TOOBIG] no\r\n", &mut Vec::new())
            .unwrap();
        out.clear();
        relay.forth(b"b COMPRESS DEFLATE\r\n", &mut out).unwrap();
        assert_eq!(out, b"b XREFUSED\r\n");
    }

    #[test]
    fn a_client_that_does_not_wait_for_leave_is_cut_off() {
        assert_eq!(forth(b"a APPEND INBOX {3}\r\nabc\r\n"), Err(Why::OutOfSync));
    }

    // [GW-01] [SASL-CB-03]
    #[test]
    fn capabilities_lose_what_is_not_for_this_connection() {
        assert_eq!(
            back(b"* CAPABILITY IMAP4rev1 STARTTLS LOGINDISABLED AUTH=PLAIN AUTH=SCRAM-SHA-256-PLUS SASL-IR COMPRESS=DEFLATE IDLE\r\nb OK done\r\n"),
            "* CAPABILITY IMAP4rev1 IDLE\r\nb OK done\r\n"
        );
        assert_eq!(
            back(b"a OK [CAPABILITY IMAP4rev1 COMPRESS=DEFLATE XCLIENT MOVE] in\r\n"),
            "a OK [CAPABILITY IMAP4rev1 MOVE] in\r\n"
        );
        let long = format!(
            "* CAPABILITY {} COMPRESS=DEFLATE\r\n",
            "XLONG ".repeat(300).trim()
        );
        assert!(!back(long.as_bytes()).contains("COMPRESS"));
    }

    #[test]
    fn messages_pass_as_they_are() {
        for text in [
            "* 1 FETCH (BODY[] {34}\r\n* CAPABILITY COMPRESS=DEFLATE\r\nabc)\r\na OK done\r\n",
            "* 1 FETCH (BINARY[1] ~{34}\r\n* CAPABILITY COMPRESS=DEFLATE\r\nabc)\r\na OK done\r\n",
            "* OK a text that ends in {5}\r\n* 1 EXISTS\r\n",
            "+ idling\r\n* 2 EXISTS\r\n",
            "* SEARCH 1 2 3\r\n",
        ] {
            assert_eq!(back(text.as_bytes()), text);
        }
        let long = format!("* SEARCH{}\r\na OK done\r\n", " 12345".repeat(200));
        assert_eq!(back(long.as_bytes()), long);
        // A status text announces nothing, so what follows is a line of its own.
        assert_eq!(
            back(b"a OK {30}\r\n* CAPABILITY IDLE STARTTLS\r\n"),
            "a OK {30}\r\n* CAPABILITY IDLE\r\n"
        );
    }

    #[test]
    fn a_farewell_never_stands_inside_something() {
        let mut relay = Relay::default();
        assert!(!relay.farewell().is_empty());
        relay
            .back(b"* 1 FETCH (BODY[] {10}\r\nabc", &mut Vec::new())
            .unwrap();
        assert!(relay.farewell().is_empty());
    }
}
