//! A capture fit to be shown: the packets of the sessions in which something was found, with what was said overwritten.
//!
//! It errs to the safe side. Of what was said in clear only words stay that are in a list here (verbs, mechanisms, codes, capabilities), with
//! line ends and spaces; everything else becomes `X`, octet for octet. TLS stays as it was where the session came to use it, for it is
//! encrypted or meant to be seen. Lengths stay, and check sums are right when they were right before (RFC 1624).

use std::collections::{HashMap, HashSet};

use super::event::{Outcome, Session};
use super::file::Packet;
use super::fragments::Fragments;
use super::ip::{self, Datagram, Segment};
use super::link::{self, Payload};
use super::tls::begins_tls;

/// The most packets kept of one session.
const MOST_PACKETS: u32 = 400;

type End = (u128, u16);

/// The sessions that are kept.
#[derive(Debug, Default)]
pub struct Selection {
    /// File and both ends, the lower first; whether the session came to use TLS.
    sessions: HashMap<(u32, End, End), Kept>,
}

#[derive(Debug, Default)]
struct Kept {
    has_tls: bool,
    packets: u32,
    /// The ends whose octets are TLS from here on.
    in_tls: HashSet<End>,
}

fn sorted(one: End, other: End) -> (End, End) {
    if one <= other {
        (one, other)
    } else {
        (other, one)
    }
}

impl Selection {
    /// Adds a session in which something was found.
    pub fn add(&mut self, session: &Session) {
        if session.found.is_empty() {
            return;
        }
        let (low, high) = sorted(session.ends.client, session.ends.server);
        let has_tls = matches!(session.outcome, Outcome::Encrypted | Outcome::Upgraded);
        let kept = self.sessions.entry((session.file, low, high)).or_default();
        // One session in clear between the same ends, and nothing between them is taken for TLS.
        kept.has_tls = has_tls && (kept.has_tls || kept.packets == 0);
        kept.packets = 1;
    }

    /// Makes ready to go through the packets again.
    pub fn rewind(&mut self) {
        self.sessions.values_mut().for_each(|it| it.packets = 0);
    }

    /// The packet with what was said overwritten, or nothing when it is not of a session that is kept.
    pub fn redact(&mut self, file: u32, packet: &Packet<'_>) -> Option<Vec<u8>> {
        let Payload::Ip(vlan, datagram) = link::open(packet.link, packet.octets) else {
            return None;
        };
        // Fragments are left out: what is in them could not be told apart.
        let Datagram::Tcp(segment) = ip::open(datagram, vlan, &mut Fragments::default()) else {
            return None;
        };
        let source = (segment.source, segment.source_port);
        let (low, high) = sorted(source, (segment.destination, segment.destination_port));
        let kept = self.sessions.get_mut(&(file, low, high))?;
        kept.packets += 1;
        if kept.packets > MOST_PACKETS {
            return None;
        }
        if kept.has_tls && begins_tls(segment.payload) && segment.payload.len() >= 6 {
            kept.in_tls.insert(source);
        }
        let mut octets = packet.octets.to_vec();
        if !kept.in_tls.contains(&source) {
            overwrite(&mut octets, packet.octets, &segment);
        }
        Some(octets)
    }
}

/// Overwrites the payload where it lies in the packet, and corrects the check sum by the difference.
fn overwrite(octets: &mut [u8], packet: &[u8], segment: &Segment<'_>) {
    let start = segment
        .payload
        .as_ptr()
        .addr()
        .wrapping_sub(packet.as_ptr().addr());
    let end = start.saturating_add(segment.payload.len());
    let Some(payload) = octets.get_mut(start..end) else {
        return;
    };
    let before = sum(payload);
    harmless(payload);
    let after = sum(payload);
    // The header's length is in its thirteenth octet; the check sum stands in its seventeenth and eighteenth.
    let header = (20..=60).step_by(4).find(|length| {
        let at = start.checked_sub(*length);
        at.and_then(|at| packet.get(at + 12))
            .is_some_and(|it| usize::from(it >> 4) * 4 == *length)
            && at.and_then(|at| packet.get(at..at + 2)) == Some(&segment.source_port.to_be_bytes())
    });
    let Some(at) = header.map(|length| start - length + 16) else {
        return;
    };
    let Some(field) = octets.get_mut(at..at + 2) else {
        return;
    };
    if let Ok(old) = <[u8; 2]>::try_from(&*field) {
        let new = corrected(u16::from_be_bytes(old), before, after);
        field.copy_from_slice(&new.to_be_bytes());
    }
}

/// The sum of 16-bit words in ones' complement.
fn sum(octets: &[u8]) -> u16 {
    let words = octets.chunks(2).map(|it| {
        let high = it.first().copied().unwrap_or_default();
        let low = it.get(1).copied().unwrap_or_default();
        u64::from(u16::from_be_bytes([high, low]))
    });
    folded(words.sum())
}

fn folded(mut sum: u64) -> u16 {
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    u16::try_from(sum).unwrap_or_default()
}

/// RFC 1624, equation 3.
fn corrected(checksum: u16, before: u16, after: u16) -> u16 {
    !folded(u64::from(!checksum) + u64::from(!before) + u64::from(after))
}

/// Overwrites everything but words that are in the list, at the places where they mean something.
fn harmless(payload: &mut [u8]) {
    for line in payload.split_mut(|it| *it == b'\n') {
        let end = line.len() - usize::from(line.last() == Some(&b'\r'));
        let Some(text) = line.get_mut(..end) else {
            continue;
        };
        let mut kept = 0;
        for word in text.split_mut(|it| matches!(it, b' ' | b'-' | b'=')) {
            // The first words of a line at most: code, capability, mechanism; tag, verb, mechanism.
            kept += 1;
            if kept > 3 || !is_known(word) {
                word.fill(b'X');
            }
        }
    }
}

fn is_known(word: &[u8]) -> bool {
    const WORDS: &[&str] = &[
        "EHLO",
        "HELO",
        "LHLO",
        "MAIL",
        "RCPT",
        "BDAT",
        "RSET",
        "NOOP",
        "QUIT",
        "VRFY",
        "HELP",
        "STARTTLS",
        "AUTH",
        "FROM:",
        "TO:",
        "CAPA",
        "STLS",
        "USER",
        "PASS",
        "APOP",
        "RETR",
        "TOP",
        "STAT",
        "LIST",
        "UIDL",
        "DELE",
        "CAPABILITY",
        "LOGIN",
        "AUTHENTICATE",
        "SELECT",
        "FETCH",
        "LOGOUT",
        "APPEND",
        "IDLE",
        "PLAIN",
        "XOAUTH2",
        "OAUTHBEARER",
        "NTLM",
        "EXTERNAL",
        "PIPELINING",
        "SIZE",
        "8BITMIME",
        "CHUNKING",
        "DSN",
        "SMTPUTF8",
        "ENHANCEDSTATUSCODES",
        "IMAP4rev1",
        "LOGINDISABLED",
        "SASL",
        "+OK",
        "-ERR",
        "+",
        "*",
        "OK",
        "NO",
        "BAD",
        "BYE",
        "PREAUTH",
    ];
    let is_code = word.len() == 3
        && word.iter().all(u8::is_ascii_digit)
        && matches!(word.first(), Some(b'2'..=b'5'));
    is_code
        || WORDS
            .iter()
            .any(|it| word.eq_ignore_ascii_case(it.as_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn redacted(text: &str) -> String {
        let mut octets = text.as_bytes().to_vec();
        harmless(&mut octets);
        String::from_utf8(octets).unwrap()
    }

    #[test]
    fn only_words_of_the_list_stay() {
        for (text, expected) in [
            ("AUTH PLAIN AGEAYg==\r\n", "AUTH PLAIN XXXXXX==\r\n"),
            (
                "250-mx.example.org\r\n250-STARTTLS\r\n",
                "250-XXXXXXXXXXXXXX\r\n250-STARTTLS\r\n",
            ),
            ("a1 LOGIN anna pencil\r\n", "XX LOGIN XXXX XXXXXX\r\n"),
            ("PASS pen cil\r\n", "PASS XXX XXX\r\n"),
            ("cGVuY2ls", "XXXXXXXX"),
        ] {
            assert_eq!(redacted(text), expected);
        }
    }

    #[test]
    fn a_check_sum_that_was_right_stays_right() {
        let whole = |payload: &[u8]| !sum(&[&[1, 2, 3, 4], payload].concat());
        let (before, after) = (b"PASS pencil", b"PASS XXXXXX");
        assert_eq!(
            corrected(whole(before), sum(before), sum(after)),
            whole(after)
        );
    }
}
