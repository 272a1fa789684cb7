//! The words of a gate between an SMTP client and the server behind it.
//!
//! Commands are made anew from what was understood, never copied: what does not read back as itself is not said [GW-01]. Replies
//! of the upstream are passed on with their codes; of their text what is printable.
//!
//! XCLIENT (Postfix `XCLIENT_README`) tells an upstream who the client is: only attributes it lists, their values in xtext, so
//! nothing in them can end the line or begin another attribute [XCL-01].

use std::fmt::Write as _;
use std::net::IpAddr;

use super::ask::{Body, MailFrom, RcptTo};
use super::client::{Capabilities, Reply};
use super::path::{Mailbox, ReversePath};
use crate::client::is_plain;

/// The most lines of a reply that are passed on, and octets of each.
const MOST_LINES: usize = 16;
const MOST_OCTETS: usize = 480;
/// The longest line with XCLIENT, its end counted: "should not exceed 512".
const LONGEST_XCLIENT: usize = 512;

/// A reply of the upstream, fit to be said to the client.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Passed {
    pub(super) code: u16,
    pub(super) lines: Vec<Box<str>>,
}

impl Passed {
    /// Makes it of the upstream's reply. A code that answers no command of a transaction becomes 451: what it meant is not
    /// known, and the client may try again.
    pub fn new(reply: &Reply) -> Self {
        if !matches!(reply.code, 250..=259 | 400..=599) {
            return Self::own(
                451,
                "4.3.0 The server behind this one gave an unknown answer",
            );
        }
        let lines = reply
            .lines
            .iter()
            .take(MOST_LINES)
            .map(|line| printable(line).into())
            .collect();
        Self {
            code: reply.code,
            lines,
        }
    }

    /// A reply of the gate's own. The text is printable.
    pub fn own(code: u16, text: &str) -> Self {
        let lines = vec![printable(text.as_bytes()).into()];
        Self { code, lines }
    }

    /// Whether it grants.
    pub fn is_positive(&self) -> bool {
        self.code / 100 == 2
    }

    /// The code.
    pub fn code(&self) -> u16 {
        self.code
    }

    pub(super) fn write(&self, out: &mut Vec<u8>) {
        use std::io::Write as _;
        for (place, line) in self.lines.iter().enumerate() {
            let sign = if place + 1 < self.lines.len() {
                '-'
            } else {
                ' '
            };
            // Writing to a vector cannot fail.
            let _ = write!(out, "{}{sign}{line}\r\n", self.code);
        }
        if self.lines.is_empty() {
            let _ = write!(out, "{}\r\n", self.code);
        }
    }
}

fn printable(text: &[u8]) -> String {
    text.iter()
        .take(MOST_OCTETS)
        .map(|octet| match octet {
            0x20..=0x7e => char::from(*octet),
            _ => '?',
        })
        .collect()
}

/// The longest reply of an upstream.
const LONGEST_REPLY: usize = 64 * 1024;

/// What the upstream said is no reply.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NoReply;

/// Takes a reply out of what the upstream has said; none when it is not complete.
///
/// # Errors
/// [`NoReply`] for what breaks the grammar, lines with different codes [SMTP-BASE-08], bare line ends, and replies without end.
pub fn take_reply(received: &mut Vec<u8>) -> Result<Option<Reply>, NoReply> {
    let (mut at, mut code, mut lines) = (0, None, Vec::new());
    while let Some(length) = memchr::memmem::find(received.get(at..).unwrap_or_default(), b"\r\n") {
        let line = received.get(at..at + length).unwrap_or_default();
        at += length + 2;
        let (own, last, text) = read_line(line).ok_or(NoReply)?;
        if code.is_some_and(|it| it != own) || !is_plain(line) {
            return Err(NoReply);
        }
        code = Some(own);
        lines.push(text.to_vec());
        if last {
            received.drain(..at);
            return Ok(Some(Reply { code: own, lines }));
        }
    }
    if received.len() > LONGEST_REPLY {
        return Err(NoReply);
    }
    Ok(None)
}

/// Code, whether it is the last line, and text.
fn read_line(line: &[u8]) -> Option<(u16, bool, &[u8])> {
    let (digits, rest) = line.split_at_checked(3)?;
    if !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let code: u16 = std::str::from_utf8(digits).ok()?.parse().ok()?;
    let (last, text) = match rest.split_first() {
        None => (true, rest),
        Some((b' ', text)) => (true, text),
        Some((b'-', text)) => (false, text),
        Some(_) => return None,
    };
    (200..600).contains(&code).then_some((code, last, text))
}

/// Why a command cannot be said to this upstream.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Unsayable {
    /// It does not read back as itself.
    Malformed,
    /// It needs 8BITMIME, which the upstream does not offer.
    EightBit,
    /// It needs SMTPUTF8, which the upstream does not offer.
    Utf8,
    /// It needs BINARYMIME and CHUNKING, which the upstream does not offer.
    Binary,
    /// It needs DSN, which the upstream does not offer.
    Notifications,
}

/// MAIL, as it is said to an upstream with these capabilities.
///
/// # Errors
/// What cannot be said is not left out in silence.
pub fn mail_command(mail: &MailFrom, capabilities: &Capabilities) -> Result<String, Unsayable> {
    let mut line = match &mail.reverse_path {
        ReversePath::Null => "MAIL FROM:<>".to_owned(),
        ReversePath::Mailbox(mailbox) => format!("MAIL FROM:<{}>", written(mailbox)?),
    };
    if let (Some(size), Some(_)) = (mail.size, capabilities.size) {
        let _ = write!(line, " SIZE={size}");
    }
    match (mail.body, capabilities.eight_bit) {
        (Body::EightBitMime, true) => line.push_str(" BODY=8BITMIME"),
        (Body::EightBitMime, false) => return Err(Unsayable::EightBit),
        // [SMTP-CHUNK-03]
        (Body::BinaryMime, _) if capabilities.binary && capabilities.chunking => {
            line.push_str(" BODY=BINARYMIME");
        }
        (Body::BinaryMime, _) => return Err(Unsayable::Binary),
        (Body::SevenBit, _) => {}
    }
    match (mail.smtputf8, capabilities.utf8) {
        (true, true) => line.push_str(" SMTPUTF8"),
        (true, false) => return Err(Unsayable::Utf8),
        (false, _) => {}
    }
    // [SMTP-DSN-01] never to a server that does not offer it.
    if !mail.dsn.is_empty() && !capabilities.dsn {
        return Err(Unsayable::Notifications);
    }
    mail.dsn.write(&mut line);
    Ok(line)
}

/// RCPT, as it is said to an upstream with these capabilities.
///
/// # Errors
/// What cannot be said is not left out in silence.
pub fn recipient_command(rcpt: &RcptTo, capabilities: &Capabilities) -> Result<String, Unsayable> {
    if !rcpt.dsn.is_empty() && !capabilities.dsn {
        return Err(Unsayable::Notifications);
    }
    let mut line = format!("RCPT TO:<{}>", written(&rcpt.forward_path.0)?);
    rcpt.dsn.write(&mut line);
    Ok(line)
}

/// A mailbox as it stands in a command: what does not read back as itself could say more than an address.
fn written(mailbox: &Mailbox) -> Result<String, Unsayable> {
    if mailbox.domain.is_empty() && mailbox.local.eq_ignore_ascii_case("postmaster") {
        return Ok(mailbox.local.clone());
    }
    let text = format!("{}@{}", mailbox.local, mailbox.domain);
    let same = is_plain(text.as_bytes()) && Mailbox::parse(&text).as_ref() == Ok(mailbox);
    same.then_some(text).ok_or(Unsayable::Malformed)
}

/// Who the client is, for XCLIENT.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Introduction {
    /// Its address.
    pub address: IpAddr,
    /// Its port.
    pub port: u16,
    /// Where it connected to.
    pub destination: Option<(IpAddr, u16)>,
    /// The name it gave in EHLO or HELO.
    pub helo: Option<String>,
    /// Whether it said EHLO.
    pub extended: bool,
    /// The account it has logged in as.
    pub login: Option<String>,
}

/// The lines of XCLIENT for an upstream with these capabilities; none where it takes none. [XCL-01]
pub fn introduce(who: &Introduction, capabilities: &Capabilities) -> Vec<String> {
    let offered = offered_attributes(capabilities);
    let mut values: Vec<(&str, String)> = Vec::new();
    let mut add = |name: &'static str, value: Option<String>| {
        if offered.iter().any(|it| it == name) {
            let value = value.map_or_else(|| "[UNAVAILABLE]".to_owned(), |it| xtext(&it));
            values.push((name, value));
        }
    };
    add("HELO", who.helo.clone());
    let protocol = if who.extended { "ESMTP" } else { "SMTP" };
    add("PROTO", Some(protocol.to_owned()));
    add("LOGIN", who.login.clone());
    add("DESTADDR", who.destination.map(|(it, _)| address(it)));
    add("DESTPORT", who.destination.map(|(_, it)| it.to_string()));
    add("PORT", Some(who.port.to_string()));
    // No name is looked up for a client's address: whoever owns the address decides what it says.
    add("NAME", None);
    add("ADDR", Some(address(who.address)));
    lines(&values)
}

/// Puts attributes on as few lines as hold them.
fn lines(values: &[(&str, String)]) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for (name, value) in values {
        let word = format!(" {name}={value}");
        match lines.last_mut() {
            Some(line) if line.len() + word.len() + 2 <= LONGEST_XCLIENT => line.push_str(&word),
            _ => lines.push(format!("XCLIENT{word}")),
        }
    }
    lines.retain(|line| line.len() + 2 <= LONGEST_XCLIENT);
    lines
}

/// The attributes the upstream lists behind XCLIENT.
fn offered_attributes(capabilities: &Capabilities) -> Vec<String> {
    let line = capabilities.keywords.iter().find_map(|line| {
        let text = std::str::from_utf8(line).ok()?.to_ascii_uppercase();
        text.strip_prefix("XCLIENT ").map(str::to_owned)
    });
    line.map(|it| it.split(' ').map(str::to_owned).collect())
        .unwrap_or_default()
}

fn address(address: IpAddr) -> String {
    match address.to_canonical() {
        IpAddr::V4(address) => address.to_string(),
        IpAddr::V6(address) => format!("IPV6:{address}"),
    }
}

/// RFC 1891 5: what is not a harmless character is written as `+` and two hexadecimal digits. A value that would look like
/// `[UNAVAILABLE]` cannot: brackets are coded too.
fn xtext(value: &str) -> String {
    let mut text = String::new();
    for octet in value.bytes().take(255) {
        if octet.is_ascii_alphanumeric() || matches!(octet, b'.' | b'-' | b':' | b'_' | b'@') {
            text.push(char::from(octet));
        } else {
            let _ = write!(text, "+{octet:02X}");
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::smtp::dsn;
    use crate::smtp::path::ForwardPath;

    fn capabilities(keywords: &[&str]) -> Capabilities {
        Capabilities {
            keywords: keywords.iter().map(|it| it.as_bytes().to_vec()).collect(),
            ..Capabilities::default()
        }
    }

    fn who() -> Introduction {
        Introduction {
            address: "2001:db8::7".parse().unwrap(),
            port: 4711,
            destination: None,
            helo: Some("client.example".into()),
            extended: true,
            login: None,
        }
    }

    // [XCL-01]
    #[test]
    fn only_listed_attributes_are_told() {
        let lines = introduce(
            &who(),
            &capabilities(&["XCLIENT NAME ADDR PORT PROTO HELO"]),
        );
        assert_eq!(
            lines,
            [
                "XCLIENT HELO=client.example PROTO=ESMTP PORT=4711 NAME=[UNAVAILABLE] ADDR=IPV6:2001:db8::7"
            ]
        );
        assert!(introduce(&who(), &capabilities(&["XFORWARD ADDR"])).is_empty());
        let lines = introduce(&who(), &capabilities(&["XCLIENT LOGIN"]));
        assert_eq!(lines, ["XCLIENT LOGIN=[UNAVAILABLE]"]);
    }

    // [XCL-01]
    #[test]
    fn nothing_in_a_value_can_say_more() {
        let mut who = who();
        who.helo = Some("x ADDR=192.0.2.1\r\nMAIL FROM:<a@b>".into());
        who.login = Some("[UNAVAILABLE]+é".into());
        let lines = introduce(&who, &capabilities(&["XCLIENT HELO LOGIN ADDR"]));
        assert_eq!(
            lines,
            [
                "XCLIENT HELO=x+20ADDR+3D192.0.2.1+0D+0AMAIL+20FROM:+3Ca@b+3E LOGIN=+5BUNAVAILABLE+5D+2B+C3+A9 ADDR=IPV6:2001:db8::7"
            ]
        );
        who.helo = Some("h".repeat(300));
        who.login = Some("l".repeat(300));
        let lines = introduce(&who, &capabilities(&["XCLIENT HELO LOGIN ADDR"]));
        assert!(lines.len() == 2 && lines.iter().all(|it| it.len() <= 510));
        assert!(lines.last().unwrap().ends_with("ADDR=IPV6:2001:db8::7"));
    }

    #[test]
    fn what_does_not_read_back_as_itself_is_not_said() {
        let mailbox = |local: &str, domain: &str| Mailbox {
            local: local.into(),
            domain: domain.into(),
        };
        let rcpt = |mailbox| RcptTo::from(ForwardPath(mailbox));
        let none = Capabilities::default();
        assert_eq!(
            recipient_command(&rcpt(mailbox("a", "b.example")), &none).as_deref(),
            Ok("RCPT TO:<a@b.example>")
        );
        for bad in [
            mailbox("a> SIZE=1", "b.example"),
            mailbox("a\r\nDATA", "b.example"),
            mailbox("a", "b.example> NOTIFY=NEVER"),
            mailbox("other", ""),
        ] {
            assert_eq!(
                recipient_command(&rcpt(bad), &none),
                Err(Unsayable::Malformed)
            );
        }
    }

    #[test]
    fn parameters_go_only_where_they_are_offered() {
        let mail = MailFrom {
            reverse_path: ReversePath::Null,
            size: Some(5),
            body: Body::EightBitMime,
            smtputf8: false,
            dsn: dsn::OfMail::default(),
        };
        let mut capabilities = Capabilities::default();
        assert_eq!(mail_command(&mail, &capabilities), Err(Unsayable::EightBit));
        capabilities.eight_bit = true;
        assert_eq!(
            mail_command(&mail, &capabilities).as_deref(),
            Ok("MAIL FROM:<> BODY=8BITMIME")
        );
        capabilities.size = Some(None);
        assert_eq!(
            mail_command(&mail, &capabilities).as_deref(),
            Ok("MAIL FROM:<> SIZE=5 BODY=8BITMIME")
        );
        let mail = MailFrom {
            smtputf8: true,
            ..mail
        };
        assert_eq!(mail_command(&mail, &capabilities), Err(Unsayable::Utf8));
    }

    // [SMTP-CHUNK-03]
    #[test]
    fn binary_content_needs_both_keywords() {
        let mail = MailFrom {
            reverse_path: ReversePath::Null,
            size: None,
            body: Body::BinaryMime,
            smtputf8: false,
            dsn: dsn::OfMail::default(),
        };
        for (binary, chunking) in [(false, false), (true, false), (false, true)] {
            let capabilities = Capabilities {
                chunking,
                binary,
                ..Capabilities::default()
            };
            assert_eq!(mail_command(&mail, &capabilities), Err(Unsayable::Binary));
        }
        let capabilities = Capabilities {
            binary: true,
            chunking: true,
            ..Capabilities::default()
        };
        assert_eq!(
            mail_command(&mail, &capabilities).as_deref(),
            Ok("MAIL FROM:<> BODY=BINARYMIME")
        );
    }

    // [SMTP-DSN-01]
    #[test]
    fn notifications_are_asked_of_those_who_send_them() {
        let mut mail = MailFrom {
            reverse_path: ReversePath::Null,
            size: None,
            body: Body::SevenBit,
            smtputf8: false,
            dsn: dsn::OfMail::default(),
        };
        mail.dsn.take("ENVID", Some("x+20y")).unwrap();
        let mut rcpt = RcptTo::from(ForwardPath::parse("<a@b.example>").unwrap());
        rcpt.dsn.take("NOTIFY", Some("NEVER")).unwrap();
        let mut capabilities = Capabilities::default();
        assert_eq!(
            mail_command(&mail, &capabilities),
            Err(Unsayable::Notifications)
        );
        assert_eq!(
            recipient_command(&rcpt, &capabilities),
            Err(Unsayable::Notifications)
        );
        capabilities.dsn = true;
        assert_eq!(
            mail_command(&mail, &capabilities).as_deref(),
            Ok("MAIL FROM:<> ENVID=x+20y")
        );
        assert_eq!(
            recipient_command(&rcpt, &capabilities).as_deref(),
            Ok("RCPT TO:<a@b.example> NOTIFY=NEVER")
        );
    }

    #[test]
    fn replies_are_taken_whole_or_not_at_all() {
        let mut received = b"250-a\r\n250 b\r\n550".to_vec();
        let reply = take_reply(&mut received).unwrap().unwrap();
        assert_eq!((reply.code, reply.lines.len()), (250, 2));
        assert_eq!(received, b"550");
        assert_eq!(take_reply(&mut received), Ok(None));
        received.extend_from_slice(b" 5.1.1 no\r\n");
        assert_eq!(take_reply(&mut received).unwrap().unwrap().code, 550);
        for bad in [
            &b"250-a\r\n550 b\r\n"[..],
            b"hello\r\n",
            b"2500 x\r\n",
            b"+50 x\r\n",
            b"250 a\n250 b\r\n",
            b"100 x\r\n",
            b"\r\n",
        ] {
            assert_eq!(take_reply(&mut bad.to_vec()), Err(NoReply), "{bad:?}");
        }
        assert_eq!(take_reply(&mut vec![b'2'; LONGEST_REPLY + 1]), Err(NoReply));
    }

    #[test]
    fn replies_keep_code_and_printable_text() {
        let reply = Reply {
            code: 550,
            lines: vec![
                b"5.1.1 no \xe9\x1b[2J".to_vec(),
                b"5.1.1 such user".to_vec(),
            ],
        };
        let mut out = Vec::new();
        Passed::new(&reply).write(&mut out);
        assert_eq!(out, b"550-5.1.1 no ??[2J\r\n550 5.1.1 such user\r\n");
        for code in [220, 235, 334, 354, 221] {
            let reply = Reply {
                code,
                lines: vec![],
            };
            assert_eq!(Passed::new(&reply).code(), 451, "{code}");
        }
    }
}
