//! What a server is called on the command line: `SCHEME://[USER@]HOST[:PORT][/MAILBOX]`.
//!
//! | scheme | protocol | port | TLS with `--tls auto` |
//! |---|---|---|---|
//! | `smtp` | SMTP | 25 | STARTTLS |
//! | `submission` | SMTP, for handing in mail | 465, then 587 | implicit, then STARTTLS |
//! | `submissions`, `smtps` | the same | 465 | implicit |
//! | `lmtp` | LMTP (RFC 2033) | 24 | STARTTLS |
//! | `imap`, `imaps` | IMAP | 993, then 143; 993 | implicit, then STARTTLS; implicit |
//! | `pop3`, `pop3s` | POP3 | 995, then 110; 995 | the same |
//! | `sieve` | `ManageSieve` (RFC 5804) | 4190 | STARTTLS |
//!
//! Where a port is written it is the only one tried, and 465, 993 and 995 mean implicit TLS. The syntax is that of RFC 3986:
//! IPv6 addresses stand in brackets, what is not plain ASCII may be percent-encoded; international names are taken as they
//! are written and become A-labels (RFC 5891). A password in a URL would stand in the shell's history and in the list of
//! processes: it is refused.

use std::fmt;
use std::net::{IpAddr, Ipv6Addr};

/// The protocol to speak.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Protocol {
    /// SMTP between servers.
    Smtp,
    /// SMTP for handing in mail (RFC 6409).
    Submission,
    /// LMTP (RFC 2033).
    Lmtp,
    /// IMAP.
    Imap,
    /// POP3.
    Pop3,
    /// `ManageSieve` (RFC 5804).
    Sieve,
}

impl Protocol {
    /// Its name for people.
    pub(crate) const fn label(self) -> &'static str {
        match self {
            Self::Smtp => "SMTP",
            Self::Submission => "submission",
            Self::Lmtp => "LMTP",
            Self::Imap => "IMAP",
            Self::Pop3 => "POP3",
            Self::Sieve => "ManageSieve",
        }
    }

    /// The port for implicit TLS, where the protocol has one.
    pub(crate) const fn implicit_port(self) -> Option<u16> {
        match self {
            Self::Submission => Some(465),
            Self::Imap => Some(993),
            Self::Pop3 => Some(995),
            Self::Smtp | Self::Lmtp | Self::Sieve => None,
        }
    }

    /// The port that begins in clear.
    pub(crate) const fn clear_port(self) -> u16 {
        match self {
            Self::Smtp => 25,
            Self::Submission => 587,
            Self::Lmtp => 24,
            Self::Imap => 143,
            Self::Pop3 => 110,
            Self::Sieve => 4190,
        }
    }

    /// Whether mail is handed over with it.
    pub(crate) const fn sends(self) -> bool {
        matches!(self, Self::Smtp | Self::Submission | Self::Lmtp)
    }

    /// Whether mail is fetched with it.
    pub(crate) const fn fetches(self) -> bool {
        matches!(self, Self::Imap | Self::Pop3)
    }
}

/// Every scheme, what it speaks, and whether its name promises implicit TLS.
const SCHEMES: &[(&str, Protocol, bool)] = &[
    ("smtp", Protocol::Smtp, false),
    ("submission", Protocol::Submission, false),
    ("submissions", Protocol::Submission, true),
    ("smtps", Protocol::Submission, true),
    ("lmtp", Protocol::Lmtp, false),
    ("imap", Protocol::Imap, false),
    ("imaps", Protocol::Imap, true),
    ("pop3", Protocol::Pop3, false),
    ("pop3s", Protocol::Pop3, true),
    ("sieve", Protocol::Sieve, false),
];

/// A host as it goes into DNS, SNI and reference identifiers.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) enum Host {
    /// A name in A-labels and lower case.
    Name(String),
    /// An address.
    Ip(IpAddr),
}

impl Host {
    /// Reads a name or an address; brackets around an IPv6 address may be left out.
    pub(crate) fn parse(text: &str) -> Result<Self, Problem> {
        let bare = text
            .strip_prefix('[')
            .and_then(|rest| rest.strip_suffix(']'))
            .unwrap_or(text);
        if let Ok(address) = bare.parse() {
            return Ok(Self::Ip(address));
        }
        let bad = || Problem::Host(text.to_owned());
        if bare.len() != text.len() || text.is_empty() {
            return Err(bad());
        }
        let name = idna::domain_to_ascii_strict(text.strip_suffix('.').unwrap_or(text))
            .map_err(|_| bad())?;
        // `1.2.3` and `0x7f.1` are addresses to some resolvers and names to others.
        let numeric = name
            .rsplit('.')
            .next()
            .is_none_or(|label| label.starts_with(|first: char| first.is_ascii_digit()));
        if numeric || name.is_empty() {
            return Err(bad());
        }
        Ok(Self::Name(name))
    }
}

impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name(name) => f.write_str(name),
            Self::Ip(IpAddr::V4(address)) => write!(f, "{address}"),
            Self::Ip(IpAddr::V6(address)) => write!(f, "[{address}]"),
        }
    }
}

/// A server, and for IMAP a mailbox.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Url {
    /// What to speak.
    pub(crate) protocol: Protocol,
    /// Whether the scheme's own name promises implicit TLS.
    pub(crate) implicit: bool,
    /// The login name.
    pub(crate) user: Option<String>,
    /// The host.
    pub(crate) host: Host,
    /// The port, when one is written.
    pub(crate) port: Option<u16>,
    /// The mailbox, when one is written.
    pub(crate) mailbox: Option<String>,
}

/// Why a text is no URL of a server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Problem {
    /// There is no `scheme://`.
    NoScheme(String),
    /// The scheme is none of ours.
    Scheme(String),
    /// A password stands in it.
    Password,
    /// The host is none.
    Host(String),
    /// An IPv6 address without brackets.
    Brackets(Ipv6Addr),
    /// The port is none.
    Port(String),
    /// A path where the protocol has no mailboxes.
    Path(Protocol),
    /// `?` or `#`.
    Tail(char),
    /// A percent sign without two hexadecimal digits, or octets that are no UTF-8 or control characters.
    Encoding(String),
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoScheme(text) => write!(
                f,
                "{text:?} does not say what to speak; write a URL such as imaps://{text} or submissions://{text}"
            ),
            Self::Scheme(scheme) => {
                let known: Vec<&str> = SCHEMES.iter().map(|(name, ..)| *name).collect();
                write!(
                    f,
                    "{scheme:?} is no scheme known here; write one of {}",
                    known.join(", ")
                )
            }
            Self::Password => f.write_str(
                "there is a password in the URL, where the list of processes and the shell's history show it; take it out, \
                 change it, and give it with --password-file, --password-command or in GATEPOST_PASSWORD. A colon that belongs to the \
                 login name is written %3A",
            ),
            Self::Host(host) => write!(
                f,
                "{host:?} is no host name and no address; write one such as mail.example.org, 192.0.2.1 or [2001:db8::1]"
            ),
            Self::Brackets(address) => {
                write!(f, "an IPv6 address stands in brackets: write [{address}]")
            }
            Self::Port(port) => write!(f, "{port:?} is no port; write a number from 1 to 65535"),
            Self::Path(protocol) => write!(
                f,
                "{} has no mailboxes to name; leave out what follows the host",
                protocol.label()
            ),
            Self::Tail(sign) => write!(
                f,
                "{sign:?} has no meaning in the URL; what to search for is given with --search, and a mailbox's name with such a sign \
                 is written in percent-encoding"
            ),
            Self::Encoding(text) => write!(
                f,
                "{text:?} is not in percent-encoding: a percent sign is written %25, and what is encoded must be UTF-8 without control \
                 characters"
            ),
        }
    }
}

impl Url {
    /// Reads a URL.
    pub(crate) fn parse(text: &str) -> Result<Self, Problem> {
        if let Some(bad) = text.chars().find(|sign| sign.is_control() || *sign == ' ') {
            return Err(Problem::Encoding(bad.to_string()));
        }
        let (scheme, rest) = text
            .split_once("://")
            .ok_or_else(|| Problem::NoScheme(text.to_owned()))?;
        let (_, protocol, implicit) = SCHEMES
            .iter()
            .find(|(name, ..)| name.eq_ignore_ascii_case(scheme))
            .ok_or_else(|| Problem::Scheme(scheme.to_owned()))?;
        let (authority, path) = match rest.find('/') {
            Some(at) => rest.split_at(at),
            None => (rest, ""),
        };
        let (user, address) = match authority.rsplit_once('@') {
            Some((user, address)) => (Some(user), address),
            None => (None, authority),
        };
        // Before anything else is complained about, and without repeating a word of it.
        if user.is_some_and(|user| user.contains(':')) {
            return Err(Problem::Password);
        }
        if let Some(sign) = rest.chars().find(|sign| matches!(sign, '?' | '#')) {
            return Err(Problem::Tail(sign));
        }
        let (host, port) = split_port(address)?;
        Ok(Self {
            protocol: *protocol,
            implicit: *implicit,
            user: user
                .map(decode)
                .transpose()?
                .filter(|user| !user.is_empty()),
            host: Host::parse(&decode(host)?)?,
            port,
            mailbox: mailbox(*protocol, path)?,
        })
    }

    /// The host and port as people write them.
    pub(crate) fn place(&self, port: u16) -> String {
        format!("{}:{port}", self.host)
    }
}

fn split_port(address: &str) -> Result<(&str, Option<u16>), Problem> {
    if let Ok(bare) = address.parse::<Ipv6Addr>() {
        return Err(Problem::Brackets(bare));
    }
    let end = match address.find(']') {
        Some(bracket) => bracket + 1,
        None => address.find(':').unwrap_or(address.len()),
    };
    let (host, rest) = address.split_at(end);
    if rest.is_empty() {
        return Ok((host, None));
    }
    let bad = || Problem::Port(rest.trim_start_matches(':').to_owned());
    let digits = rest.strip_prefix(':').ok_or_else(bad)?;
    if !digits.bytes().all(|octet| octet.is_ascii_digit()) {
        return Err(bad());
    }
    match digits.parse::<u16>() {
        Ok(port) if port > 0 => Ok((host, Some(port))),
        _ => Err(bad()),
    }
}

fn mailbox(protocol: Protocol, path: &str) -> Result<Option<String>, Problem> {
    let name = path.strip_prefix('/').unwrap_or(path);
    match (protocol, name) {
        (_, "") => Ok(None),
        (Protocol::Imap, name) => decode(name).map(Some),
        (protocol, _) => Err(Problem::Path(protocol)),
    }
}

/// Percent-decoding (RFC 3986 section 2.1).
fn decode(text: &str) -> Result<String, Problem> {
    let bad = || Problem::Encoding(text.to_owned());
    let mut octets = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((first, tail)) = rest.split_first() {
        rest = tail;
        if *first != b'%' {
            octets.push(*first);
            continue;
        }
        let digits = rest.get(..2).ok_or_else(bad)?;
        if !digits.iter().all(u8::is_ascii_hexdigit) {
            return Err(bad());
        }
        let digits = std::str::from_utf8(digits).map_err(|_| bad())?;
        octets.push(u8::from_str_radix(digits, 16).map_err(|_| bad())?);
        rest = &rest[2..];
    }
    let decoded = String::from_utf8(octets).map_err(|_| bad())?;
    // What is decoded goes into commands: no line may be smuggled in by it.
    if decoded.chars().any(char::is_control) {
        return Err(bad());
    }
    Ok(decoded)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn url(text: &str) -> Url {
        Url::parse(text).unwrap_or_else(|problem| panic!("{text}: {problem}"))
    }

    #[test]
    fn every_scheme_is_known() {
        for (scheme, protocol, implicit) in SCHEMES {
            let read = url(&format!("{scheme}://mail.example.org"));
            assert_eq!((read.protocol, read.implicit), (*protocol, *implicit));
            assert_eq!(
                url(&format!("{}://h.test:2525/", scheme.to_uppercase())).port,
                Some(2525)
            );
        }
    }

    #[test]
    fn hosts_of_all_kinds() {
        let cases = [
            ("imap://Mail.Example.ORG", "mail.example.org"),
            ("imap://mail.example.org.:143", "mail.example.org"),
            ("imap://localhost", "localhost"),
            ("imap://192.0.2.7:10143", "192.0.2.7"),
            ("imap://[2001:db8::1]:993", "[2001:db8::1]"),
            ("imap://[::1]", "[::1]"),
            ("imap://bücher.example", "xn--bcher-kva.example"),
            ("imap://b%C3%BCcher.example/", "xn--bcher-kva.example"),
            ("imap://faß.example", "xn--fa-hia.example"),
        ];
        for (text, host) in cases {
            assert_eq!(url(text).host.to_string(), host, "{text}");
        }
    }

    #[test]
    fn user_and_mailbox_are_decoded() {
        let read = url("imaps://anna%40example.org@mail.example.org/Lists%2F2026/B%C3%BCro");
        assert_eq!(read.user.as_deref(), Some("anna@example.org"));
        assert_eq!(read.mailbox.as_deref(), Some("Lists/2026/Büro"));
        assert_eq!(
            url("imaps://anna@example.org@mail.test").user.as_deref(),
            Some("anna@example.org")
        );
        assert_eq!(url("imaps://mail.test/").mailbox, None);
    }

    #[test]
    fn a_password_is_refused_and_not_repeated() {
        for text in [
            "imap://anna:s3cret@mail.example.org",
            "imap://anna:s3?cret@mail.example.org",
            "smtp://a@b:s3cret@h.test/x",
        ] {
            let said = Url::parse(text).unwrap_err().to_string();
            assert!(
                said.contains("--password-file") && !said.contains("s3"),
                "{said}"
            );
        }
    }

    #[test]
    fn what_is_no_url() {
        for text in [
            "mail.example.org",
            "ftp://mail.example.org",
            "imap://",
            "imap:///INBOX",
            "imap://h.test:0",
            "imap://h.test:65536",
            "imap://h.test:+143",
            "imap://h.test:imap",
            "imap://h.test:",
            "imap://2001:db8::1",
            "imap://[2001:db8::1",
            "imap://[h.test]",
            "imap://[::1]x",
            "imap://a b",
            "imap://a_b",
            "imap://a..b",
            "imap://-a.test",
            "imap://1.2.3",
            "imap://127.1",
            "imap://h.test/a%0d%0ab",
            "imap://h.test/a%zz",
            "imap://h.test/a%2",
            "imap://h.test/a%ff",
            "imap://h.test/INBOX?x",
            "imap://h.test/INBOX#x",
            "imap://h\r\n.test",
            "pop3://h.test/INBOX",
            "smtp://h.test/x",
        ] {
            assert!(Url::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn an_error_says_what_to_write() {
        let said = |text| Url::parse(text).unwrap_err().to_string();
        assert!(said("imap://2001:db8::1").contains("write [2001:db8::1]"));
        assert!(said("mail.test").contains("imaps://mail.test"));
        assert!(said("imapx://h.test").contains("imaps, pop3"));
        assert!(said("pop3://h.test/x").contains("POP3 has no mailboxes"));
    }
}
