//! How an upstream is named: `SCHEME://HOST[:PORT][?PARAMETER=VALUE&…]`.
//!
//! | scheme | protocol | port | TLS |
//! |---|---|---|---|
//! | `smtp`, `submission`, `imap`, `pop3` | | 25, 587, 143, 110 | none: loopback only, or with `tls=none` |
//! | the same with `+starttls` | | the same | STARTTLS, verified |
//! | the same with `:///PATH` | | a Unix socket | none |
//! | `smtps`, `submissions`, `imaps`, `pop3s` | | 465, 465, 993, 995 | from the first octet, verified |
//!
//! What is not understood, or contradicts itself, is an error: a gate that guessed would guess about passwords.

use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;
use std::str::FromStr as _;
use std::time::Duration;

use gatepost_trust::pin::Pin;

use crate::services::Protocol;

/// How TLS comes about on the way to an upstream.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Tls {
    /// Not at all.
    None,
    /// By STARTTLS if the upstream offers it; never with a credential.
    May,
    /// By STARTTLS.
    StartTls,
    /// From the first octet.
    Implicit,
}

/// What must be known of the upstream.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Level {
    /// Nothing: encryption alone.
    Encrypt,
    /// That it is the one meant.
    Verify,
    /// The same, by its TLSA records and nothing else.
    Dane,
}

impl Level {
    /// Whether the upstream is known to be the one meant.
    pub const fn is_verified(self) -> bool {
        matches!(self, Self::Verify | Self::Dane)
    }
}

/// The version of a PROXY header.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ProxyVersion {
    /// A line of text.
    V1,
    /// Binary, with facts about the client's TLS.
    V2,
}

/// An upstream, as the operator describes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Spec {
    /// What is spoken.
    pub protocol: Protocol,
    /// A name in lower case, or an address. Of a Unix socket: `localhost`.
    pub host: String,
    /// The Unix socket, if it is one.
    pub socket: Option<PathBuf>,
    /// The port.
    pub port: u16,
    /// How TLS comes about.
    pub tls: Tls,
    /// What must be known of it.
    pub level: Level,
    /// A file of authorities that count instead of the system's.
    pub ca: Option<PathBuf>,
    /// The name its certificate must have, if it is not the host.
    pub name: Option<String>,
    /// Its keys or certificates.
    pub pins: Vec<Pin>,
    /// Our own certificate's chain and key.
    pub client_cert: Option<(PathBuf, PathBuf)>,
    /// Who is asked for its TLSA records, if not the system's resolver.
    pub resolver: Option<SocketAddr>,
    /// Whether it is logged in to with a token, by the consent of an account here.
    pub oauth: bool,
    /// The PROXY header sent first.
    pub proxy: Option<ProxyVersion>,
    /// Whether it is told who the client is in the protocol's own words (XCLIENT, ID).
    pub xclient: bool,
    /// Whether a `Received:` field is added for the way from the client to here.
    pub received: bool,
    /// For connecting and for each answer before the session is ready.
    pub timeout: Duration,
    /// Its share of the sessions.
    pub weight: u32,
    /// The group a route can name it by.
    pub group: Option<String>,
}

/// Why a URL does not name an upstream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BadUrl(String);

impl std::fmt::Display for BadUrl {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for BadUrl {}

fn bad<T>(text: impl Into<String>) -> Result<T, BadUrl> {
    Err(BadUrl(text.into()))
}

impl Spec {
    /// Reads a URL.
    ///
    /// # Errors
    /// [`BadUrl`] says what is wrong and what to write instead.
    pub fn parse(text: &str) -> Result<Self, BadUrl> {
        let Some((scheme, rest)) = text.split_once("://") else {
            return bad(format!(
                "{text:?} is no URL; write one such as imap://127.0.0.1:143"
            ));
        };
        let (place, query) = rest.split_once('?').unwrap_or((rest, ""));
        let place = match place.strip_suffix('/') {
            Some(stripped) if !stripped.is_empty() => stripped,
            _ => place,
        };
        let (protocol, tls, port) = scheme_parts(scheme)?;
        if place.contains('@') {
            return bad(format!(
                "{text:?} holds a user name; the gate passes on what its clients log in with"
            ));
        }
        let socket = place.starts_with('/').then(|| decode(place)).transpose()?;
        let (host, port) = match socket {
            Some(_) => ("localhost".to_owned(), port),
            None => host_and_port(place, port)?,
        };
        let mut spec = Self {
            protocol,
            host,
            socket: socket.map(PathBuf::from),
            port,
            tls,
            level: Level::Verify,
            ca: None,
            name: None,
            pins: Vec::new(),
            client_cert: None,
            resolver: None,
            oauth: false,
            proxy: None,
            xclient: false,
            received: true,
            timeout: Duration::from_secs(30),
            weight: 1,
            group: None,
        };
        let mut given = Given::default();
        for pair in query.split('&').filter(|it| !it.is_empty()) {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            if given.seen.iter().any(|it| it == name) && name != "pin" {
                return bad(format!("{name} stands twice in {text:?}"));
            }
            given.seen.push(name.to_owned());
            spec.parameter(name, &decode(value)?, &mut given)?;
        }
        spec.settle(&given, text)?;
        Ok(spec)
    }

    fn parameter(&mut self, name: &str, value: &str, given: &mut Given) -> Result<(), BadUrl> {
        match name {
            "tls" => given.tls = Some(value.to_owned()),
            "ca" if !value.is_empty() => self.ca = Some(PathBuf::from(value)),
            "name" if !value.is_empty() => self.name = Some(value.to_lowercase()),
            "pin" => match Pin::from_str(value) {
                Ok(pin) => self.pins.push(pin),
                Err(error) => return bad(format!("pin={value}: {error}")),
            },
            "client-cert" => match value.split_once(',') {
                Some((chain, key)) => self.client_cert = Some((chain.into(), key.into())),
                None => {
                    return bad("client-cert takes two PEM files: client-cert=CHAIN,KEY");
                }
            },
            "dns" => match super::dane::resolver(value) {
                Some(address) => self.resolver = Some(address),
                None => {
                    return bad(
                        "dns takes the address of a resolver, such as 127.0.0.1 or 127.0.0.1:5300",
                    );
                }
            },
            "proxy" => {
                self.proxy = match value {
                    "v1" => Some(ProxyVersion::V1),
                    "v2" => Some(ProxyVersion::V2),
                    _ => return bad("proxy takes v1 or v2"),
                }
            }
            "xclient" => self.xclient = switch(name, value)?,
            "oauth" => self.oauth = switch(name, value)?,
            "received" => given.received = Some(switch(name, value)?),
            "timeout" => match value.strip_suffix('s').unwrap_or(value).parse() {
                Ok(seconds @ 1..=3600) => self.timeout = Duration::from_secs(seconds),
                _ => return bad("timeout takes seconds from 1 to 3600"),
            },
            "weight" => match value.parse() {
                Ok(weight @ 1..=1000) => self.weight = weight,
                _ => return bad("weight takes a number from 1 to 1000"),
            },
            "group" if !value.is_empty() && !value.contains(char::is_whitespace) => {
                self.group = Some(value.to_owned());
            }
            _ => {
                return bad(format!(
                    "{name}={value} is no parameter of an upstream; there are tls, ca, name, pin, dns, client-cert, oauth, proxy, xclient, \
                     received, timeout, weight and group"
                ));
            }
        }
        Ok(())
    }

    /// What the parameters mean together.
    fn settle(&mut self, given: &Given, text: &str) -> Result<(), BadUrl> {
        let wanted = given.tls.as_deref();
        match (wanted, self.tls) {
            (None | Some("none"), Tls::None) => {}
            (None | Some("verify"), _) => self.tls = upgraded(self.tls),
            (Some("may"), Tls::None) => {
                self.tls = Tls::May;
                self.level = Level::Encrypt;
            }
            (Some("encrypt"), _) => {
                self.tls = upgraded(self.tls);
                self.level = Level::Encrypt;
            }
            (Some("dane"), _) => {
                self.tls = upgraded(self.tls);
                self.level = Level::Dane;
            }
            (Some(word @ ("none" | "may")), _) => {
                return bad(format!("tls={word} contradicts the scheme in {text:?}"));
            }
            (Some(word), _) => {
                return bad(format!(
                    "tls={word} in {text:?}: write none, may, encrypt, verify or dane"
                ));
            }
        }
        // [GW-02] in clear only to this machine, or where that is said.
        if self.tls == Tls::None && wanted != Some("none") && !self.is_loopback() {
            return bad(format!(
                "{text:?} is in clear and not on this machine: write {} or {} for TLS, or add tls=none to send mail and passwords in clear",
                self.with_scheme("+starttls"),
                self.with_scheme("s"),
            ));
        }
        let reads = matches!(self.protocol, Protocol::Imap | Protocol::Pop3);
        if self.level == Level::Encrypt && reads {
            return bad(format!(
                "{text:?}: a password is sent only to a verified server, so tls=may and tls=encrypt are for smtp only"
            ));
        }
        self.settle_dane(text)?;
        if self.oauth && self.protocol == Protocol::Smtp {
            return bad(format!(
                "{text:?}: oauth is for logins; write submission instead of smtp"
            ));
        }
        let verifies = self.ca.is_some() || self.name.is_some() || !self.pins.is_empty();
        let has_tls = matches!(self.tls, Tls::StartTls | Tls::Implicit);
        if verifies && !(has_tls && self.level.is_verified()) {
            return bad(format!(
                "{text:?}: ca, name and pin say whom to expect, and nothing is verified there; write {}",
                self.with_scheme("+starttls"),
            ));
        }
        if self.client_cert.is_some() && !has_tls {
            return bad(format!("{text:?}: client-cert needs TLS"));
        }
        // [GW-04] version 2 tells the upstream of the client's TLS; where it does not, only we can write it down.
        self.received = given
            .received
            .unwrap_or(self.proxy != Some(ProxyVersion::V2));
        Ok(())
    }

    /// [DANE-04] records stand for names, and nothing else says who it is.
    fn settle_dane(&self, text: &str) -> Result<(), BadUrl> {
        if self.level != Level::Dane {
            if self.resolver.is_some() {
                return bad(format!("{text:?}: dns goes with tls=dane"));
            }
            return Ok(());
        }
        if self.socket.is_some() || self.host.parse::<IpAddr>().is_ok() || self.host == "localhost"
        {
            return bad(format!(
                "{text:?}: tls=dane needs a host name: TLSA records are published for names"
            ));
        }
        if self.ca.is_some() || self.name.is_some() || !self.pins.is_empty() {
            return bad(format!(
                "{text:?}: with tls=dane its TLSA records say whom to expect; leave out ca, name and pin"
            ));
        }
        Ok(())
    }

    fn with_scheme(&self, ending: &str) -> String {
        let scheme = match self.protocol {
            Protocol::Smtp => "smtp",
            Protocol::Submission => "submission",
            Protocol::Imap => "imap",
            Protocol::Pop3 => "pop3",
        };
        format!("{scheme}{ending}://{}", self.host)
    }

    /// Whether the host is this machine by its very name; what a resolver says does not count.
    pub fn is_loopback(&self) -> bool {
        match self.host.parse::<IpAddr>() {
            Ok(address) => address.to_canonical().is_loopback(),
            Err(_) => self.host == "localhost",
        }
    }

    /// Host and port, as people write them; or the socket.
    pub fn place(&self) -> String {
        if let Some(path) = &self.socket {
            return path.display().to_string();
        }
        if self.host.parse::<Ipv6Addr>().is_ok() {
            format!("[{}]:{}", self.host, self.port)
        } else {
            format!("{}:{}", self.host, self.port)
        }
    }

    /// How words travel to it, and what is known of it.
    pub fn tls_words(&self) -> &'static str {
        match (self.tls, self.level) {
            (Tls::None, _) => "in clear",
            (Tls::May, _) => "STARTTLS if offered, not verified",
            (Tls::StartTls, Level::Encrypt) => "STARTTLS, not verified",
            (Tls::StartTls, Level::Verify) => "STARTTLS, verified",
            (Tls::StartTls, Level::Dane) => "STARTTLS, verified by DANE",
            (Tls::Implicit, Level::Dane) => "implicit TLS, verified by DANE",
            (Tls::Implicit, Level::Encrypt) => "implicit TLS, not verified",
            (Tls::Implicit, Level::Verify) => "implicit TLS, verified",
        }
    }
}

/// What was given, before it is known what it means.
#[derive(Default)]
struct Given {
    seen: Vec<String>,
    tls: Option<String>,
    received: Option<bool>,
}

/// TLS where there was none asked for by the scheme.
fn upgraded(tls: Tls) -> Tls {
    match tls {
        Tls::None | Tls::May => Tls::StartTls,
        tls => tls,
    }
}

fn switch(name: &str, value: &str) -> Result<bool, BadUrl> {
    match value {
        "" | "yes" | "true" | "1" => Ok(true),
        "no" | "false" | "0" => Ok(false),
        _ => bad(format!("{name} takes yes or no")),
    }
}

fn scheme_parts(scheme: &str) -> Result<(Protocol, Tls, u16), BadUrl> {
    let (base, starttls) = match scheme.strip_suffix("+starttls") {
        Some(base) => (base, true),
        None => (scheme, false),
    };
    let (protocol, tls, port) = match base {
        "smtp" => (Protocol::Smtp, Tls::None, 25),
        "submission" => (Protocol::Submission, Tls::None, 587),
        "imap" => (Protocol::Imap, Tls::None, 143),
        "pop3" => (Protocol::Pop3, Tls::None, 110),
        "smtps" => (Protocol::Smtp, Tls::Implicit, 465),
        "submissions" => (Protocol::Submission, Tls::Implicit, 465),
        "imaps" => (Protocol::Imap, Tls::Implicit, 993),
        "pop3s" => (Protocol::Pop3, Tls::Implicit, 995),
        _ => {
            return bad(format!(
                "there is no scheme {scheme}; write smtp, submission, imap or pop3, with +starttls, or smtps, submissions, imaps, pop3s"
            ));
        }
    };
    match (starttls, tls) {
        (false, tls) => Ok((protocol, tls, port)),
        (true, Tls::None) => Ok((protocol, Tls::StartTls, port)),
        (true, _) => bad(format!(
            "{scheme}: TLS comes from the first octet or by STARTTLS, not both"
        )),
    }
}

fn host_and_port(place: &str, port: u16) -> Result<(String, u16), BadUrl> {
    let wrong = || BadUrl(format!("{place:?} is no host and port"));
    let (host, port) = if let Some(rest) = place.strip_prefix('[') {
        let (host, behind) = rest.split_once(']').ok_or_else(wrong)?;
        host.parse::<Ipv6Addr>().map_err(|_| wrong())?;
        match behind.strip_prefix(':') {
            Some(digits) => (host, digits.parse().map_err(|_| wrong())?),
            None if behind.is_empty() => (host, port),
            None => return Err(wrong()),
        }
    } else {
        match place.rsplit_once(':') {
            Some((host, digits)) => (host, digits.parse().map_err(|_| wrong())?),
            None => (place, port),
        }
    };
    let is_name = |it: char| it.is_ascii_alphanumeric() || matches!(it, '.' | '-' | '_');
    let fits = host.parse::<IpAddr>().is_ok() || (!host.is_empty() && host.chars().all(is_name));
    if !fits || port == 0 {
        return Err(wrong());
    }
    Ok((host.to_lowercase(), port))
}

/// Percent-encoding undone.
fn decode(text: &str) -> Result<String, BadUrl> {
    let wrong = || {
        BadUrl(format!(
            "{text:?} has a % that is not followed by two hexadecimal digits"
        ))
    };
    let mut octets = Vec::new();
    let mut rest = text.bytes();
    while let Some(octet) = rest.next() {
        if octet != b'%' {
            octets.push(octet);
            continue;
        }
        let digits = [
            rest.next().ok_or_else(wrong)?,
            rest.next().ok_or_else(wrong)?,
        ];
        let digits = std::str::from_utf8(&digits).map_err(|_| wrong())?;
        octets.push(u8::from_str_radix(digits, 16).map_err(|_| wrong())?);
    }
    String::from_utf8(octets).map_err(|_| wrong())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spec(text: &str) -> Spec {
        Spec::parse(text).unwrap()
    }

    #[test]
    fn schemes_say_protocol_port_and_tls() {
        for (text, protocol, port, tls) in [
            ("smtp://127.0.0.1", Protocol::Smtp, 25, Tls::None),
            ("imap://localhost:1143", Protocol::Imap, 1143, Tls::None),
            ("pop3://[::1]", Protocol::Pop3, 110, Tls::None),
            (
                "imap+starttls://a.example",
                Protocol::Imap,
                143,
                Tls::StartTls,
            ),
            (
                "submission+starttls://a.example/",
                Protocol::Submission,
                587,
                Tls::StartTls,
            ),
            (
                "submissions://a.example",
                Protocol::Submission,
                465,
                Tls::Implicit,
            ),
            ("imaps://a.example", Protocol::Imap, 993, Tls::Implicit),
            (
                "smtp://a.example?tls=encrypt",
                Protocol::Smtp,
                25,
                Tls::StartTls,
            ),
            ("smtp://a.example?tls=may", Protocol::Smtp, 25, Tls::May),
            (
                "imap://a.example?tls=verify",
                Protocol::Imap,
                143,
                Tls::StartTls,
            ),
        ] {
            let spec = spec(text);
            assert_eq!(
                (spec.protocol, spec.port, spec.tls),
                (protocol, port, tls),
                "{text}"
            );
        }
    }

    // [GW-02]
    #[test]
    fn clear_text_goes_to_this_machine_or_where_it_is_said() {
        for text in [
            "imap://mail.example",
            "smtp://192.0.2.1:25",
            "pop3://10.0.0.1",
            "submission://h",
        ] {
            let error = Spec::parse(text).unwrap_err().to_string();
            assert!(
                error.contains("tls=none") && error.contains("+starttls"),
                "{error}"
            );
            assert_eq!(spec(&format!("{text}?tls=none")).tls, Tls::None);
        }
        for text in ["imap://127.1.2.3", "imap://[::1]:143", "imap://LOCALHOST"] {
            assert!(spec(text).is_loopback(), "{text}");
        }
        assert!(Spec::parse("imap://localhost.evil.example").is_err());
    }

    #[test]
    fn what_is_not_understood_is_an_error() {
        for text in [
            "127.0.0.1:25",
            "http://a",
            "imap://",
            "imap://a:b",
            "imap://127.0.0.1:0",
            "imap://u@127.0.0.1",
            "imap://[::1",
            "imaps+starttls://a",
            "imaps://a?tls=none",
            "imaps://a?tls=may",
            "imap+starttls://a?tls=encrypt",
            "imap://127.0.0.1?tls=sometimes",
            "imap://127.0.0.1?what=1",
            "imap://127.0.0.1?ca=/x",
            "imap://127.0.0.1?pin=sha256-spki:00",
            "imap+starttls://a?pin=x",
            "imap+starttls://a?ca=x&ca=y",
            "imap+starttls://a?client-cert=x",
            "imap://127.0.0.1?timeout=0",
            "imap://127.0.0.1?weight=0",
            "imap://127.0.0.1?proxy=v3",
            "imap://127.0.0.1?xclient=perhaps",
            "imap+starttls://a?ca=%zz",
            "imap://127.0.0.1?group=",
            "imap://127.0.0.1?group",
            "imap://127.0.0.1?group=a%20b",
            "imap://127.0.0.1?group=%09",
            "imap://127.0.0.1?group=a%0a",
        ] {
            assert!(Spec::parse(text).is_err(), "{text}");
        }
    }

    // [GW-02]
    #[test]
    fn dane_is_for_names_and_alone() {
        let by_starttls = spec("imap://mail.example?tls=dane&dns=127.0.0.1:5300");
        assert_eq!(
            (by_starttls.tls, by_starttls.level),
            (Tls::StartTls, Level::Dane)
        );
        assert_eq!(
            by_starttls.resolver,
            Some("127.0.0.1:5300".parse().unwrap())
        );
        assert_eq!(spec("smtps://mail.example?tls=dane").tls, Tls::Implicit);
        let pin = format!("sha256-spki:{}", "ab".repeat(32));
        for text in [
            "imaps://192.0.2.1?tls=dane",
            "imaps://[2001:db8::1]?tls=dane",
            "imap://localhost?tls=dane",
            "imap:///run/imap?tls=dane",
            "imaps://a.example?tls=dane&ca=/x",
            "imaps://a.example?tls=dane&name=b.example",
            "imaps://a.example?dns=127.0.0.1",
            "imaps://a.example?tls=dane&dns=resolver",
            "smtps://a.example?oauth",
            "imaps://a.example?oauth=perhaps",
            &format!("imaps://a.example?tls=dane&pin={pin}"),
        ] {
            assert!(Spec::parse(text).is_err(), "{text}");
        }
    }

    // [GW-02]
    #[test]
    fn a_socket_is_this_machine() {
        let spec = spec("imap:///run/mail/imap%20x.sock?xclient");
        assert_eq!(spec.place(), "/run/mail/imap x.sock");
        assert!(spec.is_loopback() && spec.tls == Tls::None && spec.xclient);
        assert!(
            self::spec("imap:///run/x?tls=verify&name=a.example")
                .socket
                .is_some()
        );
    }

    #[test]
    fn parameters_are_read() {
        let pin = format!("sha256-spki:{}", "ab".repeat(32));
        let spec = spec(&format!(
            "imap+starttls://a.example?ca=/etc/ca%20x.pem&name=B.example&pin={pin}&client-cert=c.pem,k.pem&proxy=v2&xclient&timeout=5s&weight=3"
        ));
        assert_eq!(spec.ca.unwrap().to_str(), Some("/etc/ca x.pem"));
        assert_eq!(spec.name.as_deref(), Some("b.example"));
        assert_eq!((spec.pins.len(), spec.weight, spec.xclient), (1, 3, true));
        assert_eq!(spec.timeout, Duration::from_secs(5));
        // [GW-04]
        assert!(!spec.received);
        assert!(self::spec("smtp://127.0.0.1?proxy=v1").received);
        assert!(self::spec("smtp://127.0.0.1?proxy=v2&received=yes").received);
        assert!(!self::spec("smtp://127.0.0.1?received=no").received);
    }
}
