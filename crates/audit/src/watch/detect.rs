//! What a connection speaks, told by its first octets. Ports are a hint and never a proof.
//!
//! A decision is made as soon as the octets suffice for it and not before; what stays open after [`MOST`] octets is not mail. The order of
//! speaking counts: a mail server speaks first, which is what tells a POP3 server from others that say `+OK`.

use super::notes::{Protocol, Side};
use super::tls::begins_tls;

/// Octets of each side that are looked at.
pub const MOST: usize = 2048;

/// What a port is usually for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Service {
    /// The protocol.
    pub protocol: Protocol,
    /// Whether TLS begins at once.
    pub is_implicit: bool,
}

/// The service of a port.
#[must_use]
pub fn service(port: u16) -> Option<Service> {
    let (protocol, is_implicit) = match port {
        25 | 587 | 2525 | 24 => (Protocol::Smtp, false),
        465 => (Protocol::Smtp, true),
        143 => (Protocol::Imap, false),
        993 => (Protocol::Imap, true),
        110 => (Protocol::Pop3, false),
        995 => (Protocol::Pop3, true),
        4190 => (Protocol::Sieve, false),
        _ => return None,
    };
    Some(Service {
        protocol,
        is_implicit,
    })
}

/// What is known so far.
#[derive(Debug, Clone, Copy)]
pub struct Early<'a> {
    /// What the client said.
    pub client: &'a [u8],
    /// What the server said.
    pub server: &'a [u8],
    /// Who spoke first.
    pub first: Side,
    /// The service of the server's port.
    pub service: Option<Service>,
    /// Whether the beginning was seen.
    pub from_start: bool,
    /// Whether it took too many pieces already.
    pub is_too_long: bool,
}

/// What it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// Not to be told yet.
    Wait,
    /// A mail protocol in clear.
    Mail(Protocol),
    /// The same, with client and server the other way round.
    Reversed(Protocol),
    /// TLS at once, where mail is expected.
    Tls(Protocol),
    /// TLS that was up already, where mail is expected.
    Running(Protocol),
    /// A tunnel is open: so many octets of each side belong to it, and this is the port behind it.
    Tunnel {
        /// The client's octets.
        client: usize,
        /// The server's.
        server: usize,
        /// The port.
        port: u16,
        /// Its kind.
        kind: &'static str,
    },
    /// Neither mail nor TLS.
    Other,
}

/// Decides.
#[must_use]
pub fn decide(early: &Early<'_>) -> Verdict {
    if let Some(verdict) = tunnel(early.client, early.server) {
        return verdict;
    }
    let verdict = decide_plain(early);
    let is_full = early.client.len() >= MOST || early.server.len() >= MOST;
    match verdict {
        Verdict::Wait if is_full || early.is_too_long => Verdict::Other,
        verdict => verdict,
    }
}

fn decide_plain(early: &Early<'_>) -> Verdict {
    if begins_tls(early.client) || (early.client.is_empty() && begins_tls(early.server)) {
        return by_tls(early);
    }
    let is_running = |it: &[u8]| matches!(it, [23, 3, 1..=3, 0..=0x48, _, ..]);
    if let Some(service) = early.service.filter(|_| !early.from_start)
        && (is_running(early.client) || is_running(early.server))
    {
        return Verdict::Running(service.protocol);
    }
    if let Some(verdict) = by_banner(early) {
        return verdict;
    }
    let talk = client_talk(early.client);
    match (talk, early.service) {
        // STARTTLS alone is a word of both.
        (Talk::Sieve, _) => return Verdict::Mail(Protocol::Sieve),
        (Talk::Smtp, Some(service)) if service.protocol == Protocol::Sieve => {
            return Verdict::Mail(Protocol::Sieve);
        }
        (Talk::Smtp, _) => return Verdict::Mail(Protocol::Smtp),
        (Talk::Imap, _) => return Verdict::Mail(Protocol::Imap),
        // USER and PASS are FTP's words too: without a banner only on a port of POP3.
        (Talk::Pop3, Some(service)) if service.protocol == Protocol::Pop3 => {
            return Verdict::Mail(Protocol::Pop3);
        }
        (Talk::Partial, _) => return Verdict::Wait,
        _ => {}
    }
    if !early.from_start
        && let Some(verdict) = by_reply(early)
    {
        return verdict;
    }
    if client_talk(early.server) == Talk::Smtp && !early.from_start {
        return Verdict::Reversed(Protocol::Smtp);
    }
    let enough = !early.client.is_empty() && !is_short_line(early.client);
    let banner_over = memchr::memchr(b'\n', early.server).is_some();
    if enough || (banner_over && early.service.is_none() && !could_be_smtp(early)) {
        return Verdict::Other;
    }
    Verdict::Wait
}

/// `220 ` may be the banner of SMTP or of FTP: outside the ports of mail the client's word decides.
fn could_be_smtp(early: &Early<'_>) -> bool {
    early.server.starts_with(b"220") && early.client.len() < 64
}

fn is_short_line(octets: &[u8]) -> bool {
    octets.len() < 64 && memchr::memchr(b'\n', octets).is_none()
}

fn by_tls(early: &Early<'_>) -> Verdict {
    match early.service {
        Some(service) if early.client.len().max(early.server.len()) >= 6 => {
            Verdict::Tls(service.protocol)
        }
        Some(_) => Verdict::Wait,
        None => by_alpn(early.client),
    }
}

/// On other ports the client's own word is needed: its hello names one protocol, and that is one of mail. (SMTP has no such name.)
fn by_alpn(client: &[u8]) -> Verdict {
    let named = ALPN
        .iter()
        .find(|(extension, _)| memchr::memmem::find(client, extension).is_some());
    if let Some((_, protocol)) = named {
        return Verdict::Tls(*protocol);
    }
    let [22, 3, _, high, low, rest @ ..] = client else {
        return Verdict::Other;
    };
    // The extension may stand behind a large key share.
    if rest.len() < usize::from(u16::from_be_bytes([*high, *low])) {
        Verdict::Wait
    } else {
        Verdict::Other
    }
}

/// RFC 7301 section 3.1: the extension whole, of a list of one name.
const ALPN: [(&[u8], Protocol); 3] = [
    (b"\0\x10\0\x07\0\x05\x04imap", Protocol::Imap),
    (b"\0\x10\0\x07\0\x05\x04pop3", Protocol::Pop3),
    (b"\0\x10\0\x0e\0\x0c\x0bmanagesieve", Protocol::Sieve),
];

/// The server spoke first.
fn by_banner(early: &Early<'_>) -> Option<Verdict> {
    if early.server.is_empty() || (early.first == Side::Client && early.from_start) {
        return None;
    }
    let upper = early
        .server
        .get(..12)
        .unwrap_or(early.server)
        .to_ascii_uppercase();
    let protocol = if upper.starts_with(b"* OK")
        || upper.starts_with(b"* PREAUTH")
        || upper.starts_with(b"* BYE")
    {
        Protocol::Imap
    } else if upper.starts_with(b"+OK") && matches!(upper.get(3), Some(b' ' | b'\r' | b'\n')) {
        // A client that was heard without such words speaks something else.
        if early.first == Side::Client && client_talk(early.client) != Talk::Pop3 {
            return None;
        }
        Protocol::Pop3
    } else if is_sieve_banner(&upper, early) {
        Protocol::Sieve
    } else if matches!(upper.get(..4), Some(b"220 " | b"220-" | b"554 " | b"421 ")) {
        let on_port = early
            .service
            .is_some_and(|it| it.protocol == Protocol::Smtp);
        let says_so = memchr::memmem::find(early.server, b"SMTP").is_some();
        if !on_port && !says_so {
            return None;
        }
        Protocol::Smtp
    } else {
        return None;
    };
    Some(Verdict::Mail(protocol))
}

/// RFC 5804 1.7: the capabilities, each a string, in any order. Outside its port the one is awaited that every server has, and first.
fn is_sieve_banner(upper: &[u8], early: &Early<'_>) -> bool {
    let on_port = early
        .service
        .is_some_and(|it| it.protocol == Protocol::Sieve);
    upper.starts_with(b"\"IMPLEMENTA")
        || (on_port
            && [&b"\""[..], b"BYE ", b"BYE(", b"NO "]
                .iter()
                .any(|it| upper.starts_with(it)))
}

/// In the midst of a connection the server's replies must do, on a port of mail.
fn by_reply(early: &Early<'_>) -> Option<Verdict> {
    let service = early.service?;
    let line = early.server.split(|it| *it == b'\n').next()?;
    let fits = match service.protocol {
        Protocol::Smtp => {
            gatepost_wire::smtp::client::ReplyLine::parse(line.strip_suffix(b"\r")?).is_some()
        }
        Protocol::Pop3 => line.starts_with(b"+OK") || line.starts_with(b"-ERR"),
        Protocol::Imap => line.starts_with(b"* ") || line.starts_with(b"+ "),
        Protocol::Sieve => [&b"OK"[..], b"NO", b"BYE"].iter().any(|it| {
            let rest = line.strip_prefix(*it);
            rest.is_some_and(|rest| matches!(rest.first(), Some(b' ' | b'\r' | b'(')))
        }),
    };
    fits.then_some(Verdict::Mail(service.protocol))
}

/// Whose words a client speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Talk {
    Smtp,
    Imap,
    Pop3,
    Sieve,
    /// It could still become one of them.
    Partial,
    Other,
}

fn client_talk(octets: &[u8]) -> Talk {
    let Some(end) = memchr::memchr(b'\n', octets) else {
        let plain = octets.iter().all(|it| it.is_ascii_graphic() || *it == b' ');
        return if plain && octets.len() < 64 {
            Talk::Partial
        } else {
            Talk::Other
        };
    };
    let line = octets.get(..end).unwrap_or_default().trim_ascii_end();
    let upper = line.get(..80).unwrap_or(line).to_ascii_uppercase();
    let mut words = upper.split(|it| *it == b' ');
    let first = words.next().unwrap_or_default();
    let second = words.next();
    match (first, second) {
        (b"EHLO" | b"HELO" | b"LHLO", _) | (b"STARTTLS", None) => Talk::Smtp,
        (b"MAIL", Some(it)) if it.starts_with(b"FROM:") => Talk::Smtp,
        (b"RCPT", Some(it)) if it.starts_with(b"TO:") => Talk::Smtp,
        (b"CAPA" | b"STLS" | b"STAT" | b"UIDL" | b"LIST", None)
        | (b"USER" | b"PASS" | b"APOP" | b"RETR", Some(_))
        | (b"AUTH", _) => Talk::Pop3,
        (b"LISTSCRIPTS", None) => Talk::Sieve,
        (b"AUTHENTICATE" | b"PUTSCRIPT" | b"GETSCRIPT" | b"SETACTIVE" | b"HAVESPACE", Some(it))
            if matches!(it.first(), Some(b'"' | b'{')) =>
        {
            Talk::Sieve
        }
        (tag, Some(verb)) if is_tag(tag) && is_imap_verb(verb) => Talk::Imap,
        _ => Talk::Other,
    }
}

fn is_tag(word: &[u8]) -> bool {
    (1..=32).contains(&word.len())
        && word
            .iter()
            .all(|it| it.is_ascii_alphanumeric() || matches!(it, b'.' | b'-' | b'_'))
        && word.iter().any(u8::is_ascii_digit)
}

fn is_imap_verb(word: &[u8]) -> bool {
    matches!(
        word,
        b"CAPABILITY"
            | b"STARTTLS"
            | b"LOGIN"
            | b"AUTHENTICATE"
            | b"SELECT"
            | b"EXAMINE"
            | b"LOGOUT"
            | b"ID"
            | b"NAMESPACE"
            | b"LSUB"
            | b"FETCH"
            | b"UID"
            | b"APPEND"
            | b"IDLE"
    )
}

/// SOCKS 4 and 5 and HTTP CONNECT (RFC 1928, RFC 1929, RFC 9110 9.3.6), read to the point where both sides go on to something else. None when
/// it is no tunnel.
fn tunnel(client: &[u8], server: &[u8]) -> Option<Verdict> {
    match client.first()? {
        5 => Some(socks5(client, server)),
        4 => Some(socks4(client, server)),
        b'C' if client.starts_with(b"CONNECT ") => Some(connect(client, server)),
        _ => None,
    }
}

/// Waits while something is missing.
fn or_wait(found: Option<Verdict>) -> Verdict {
    found.unwrap_or(Verdict::Wait)
}

fn socks5(client: &[u8], server: &[u8]) -> Verdict {
    or_wait((|| {
        let methods = usize::from(*client.get(1)?);
        let mut rest = client.get(2 + methods..)?;
        let (&[version, method], mut replies) = server.split_first_chunk()?;
        if version != 5 || !matches!(method, 0 | 2) {
            return Some(Verdict::Other);
        }
        if method == 2 {
            let name = usize::from(*rest.get(1)?);
            let password = usize::from(*rest.get(2 + name)?);
            rest = rest.get(3 + name + password..)?;
            replies = replies.get(2..)?;
        }
        let (&[version, command, _, kind], behind) = rest.split_first_chunk()?;
        if version != 5 || command != 1 {
            return Some(Verdict::Other);
        }
        let address = address_length(kind, behind)?;
        let port = u16::from_be_bytes(*behind.get(address..)?.first_chunk()?);
        let left = behind.get(address + 2..)?;
        let (&[_, status, _, kind], behind) = replies.split_first_chunk()?;
        if status != 0 {
            return Some(Verdict::Other);
        }
        let bound = address_length(kind, behind)?;
        let replies = behind.get(bound + 2..)?;
        Some(Verdict::Tunnel {
            client: client.len() - left.len(),
            server: server.len() - replies.len(),
            port,
            kind: "SOCKS 5",
        })
    })())
}

fn address_length(kind: u8, behind: &[u8]) -> Option<usize> {
    match kind {
        1 => Some(4),
        4 => Some(16),
        3 => Some(1 + usize::from(*behind.first()?)),
        _ => None,
    }
}

fn socks4(client: &[u8], server: &[u8]) -> Verdict {
    or_wait((|| {
        let (&[_, command, high, low, ..], rest) = client.split_first_chunk::<8>()?;
        if command != 1 {
            return Some(Verdict::Other);
        }
        let address = client.get(4..8)?;
        let mut end = memchr::memchr(0, rest)? + 1;
        if matches!(address, [0, 0, 0, last] if *last != 0) {
            end += memchr::memchr(0, rest.get(end..)?)? + 1;
        }
        let answer = server.get(..8)?;
        if !answer.starts_with(&[0, 0x5a]) {
            return Some(Verdict::Other);
        }
        Some(Verdict::Tunnel {
            client: 8 + end,
            server: 8,
            port: u16::from_be_bytes([high, low]),
            kind: "SOCKS 4",
        })
    })())
}

fn connect(client: &[u8], server: &[u8]) -> Verdict {
    or_wait((|| {
        let asked = memchr::memmem::find(client, b"\r\n\r\n")? + 4;
        let target = client.get(8..)?.split(|it| *it == b' ').next()?;
        let digits = target.rsplit(|it| *it == b':').next()?;
        let port = std::str::from_utf8(digits)
            .ok()
            .and_then(|it| it.parse().ok());
        let answered = memchr::memmem::find(server, b"\r\n\r\n")? + 4;
        let good = server.starts_with(b"HTTP/1.") && server.get(9..10) == Some(b"2");
        Some(match port {
            Some(port) if good => Verdict::Tunnel {
                client: asked,
                server: answered,
                port,
                kind: "HTTP CONNECT",
            },
            _ => Verdict::Other,
        })
    })())
}
