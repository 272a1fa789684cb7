//! From what was said about a connection to what it means. Contradictions are errors that say what to write instead; after this
//! nothing about a connection is open but what the network answers.

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use clap::ArgMatches;
use gatepost_trust::pin::Pin;
use gatepost_trust::verify::RevocationMode;

use super::secret::Source;
use super::url::{Host, Url};
use crate::exit::Failure;

/// How TLS is started.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(clippy::enum_variant_names, reason = "STARTTLS is called so")]
pub(crate) enum Tls {
    /// From the first byte.
    Implicit,
    /// By STARTTLS, or not at all.
    StartTls,
    /// By STARTTLS if it is offered.
    Opportunistic,
    /// Not at all.
    Off,
}

impl Tls {
    /// The word for reports.
    pub(crate) const fn label(self) -> &'static str {
        match self {
            Self::Implicit => "implicit",
            Self::StartTls => "starttls",
            Self::Opportunistic => "opportunistic",
            Self::Off => "off",
        }
    }
}

/// One port to try, and how TLS is started there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Door {
    /// The port.
    pub(crate) port: u16,
    /// How TLS is started.
    pub(crate) tls: Tls,
}

/// A way to know the server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Way {
    /// A trusted authority.
    Ca,
    /// TLSA records.
    Dane,
    /// A trusted authority, and the domain's policy.
    Sts,
    /// A pinned key.
    Pin,
}

/// Which ways suffice.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Verify {
    /// The ways; none at all: the server is not verified.
    pub(crate) ways: Vec<Way>,
    /// Whether all of them are needed; else one suffices.
    pub(crate) all: bool,
}

impl Verify {
    /// Whether this way is among them.
    pub(crate) fn has(&self, way: Way) -> bool {
        self.ways.contains(&way)
    }

    /// Whether nothing is asked of the server.
    pub(crate) fn is_none(&self) -> bool {
        self.ways.is_empty()
    }
}

/// The address to use for a host and port.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Resolved {
    /// The host as it was written.
    pub(crate) host: String,
    /// The port.
    pub(crate) port: u16,
    /// The address.
    pub(crate) address: IpAddr,
}

/// The version of the PROXY header to begin with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ProxyHeader {
    /// Text.
    V1,
    /// Binary.
    V2,
}

/// A certificate of our own, for this connection and no other. [MUA-08]
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ClientCertificate {
    /// The chain.
    pub(crate) chain: PathBuf,
    /// The key.
    pub(crate) key: PathBuf,
}

/// The exceptions a user has asked for by name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Dangers {
    /// Passwords may go unencrypted over a network.
    pub(crate) clear_login: bool,
    /// Passwords may go to a server nobody vouches for.
    pub(crate) unverified_login: bool,
}

/// Everything that was decided about a connection, but where it goes.
#[derive(Debug)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is one switch of the command line"
)]
pub(crate) struct Settings {
    /// How TLS is started; none: what the URL means.
    pub(crate) tls: Option<Tls>,
    /// Whether TLS 1.3 is the oldest version that will do.
    pub(crate) only_tls13: bool,
    /// How the server is known.
    pub(crate) verify: Verify,
    /// The name the certificate must be for, if it is not the host's.
    pub(crate) tls_name: Option<Host>,
    /// The domain whose policy must name the host.
    pub(crate) domain: Option<String>,
    /// Files with trusted certificates.
    pub(crate) ca: Vec<PathBuf>,
    /// Whether the system's authorities are trusted.
    pub(crate) system_ca: bool,
    /// Keys one of which the server must have.
    pub(crate) pins: Vec<Pin>,
    /// A certificate that is taken without an authority.
    pub(crate) exception: Option<[u8; 32]>,
    /// Files with lists of revoked certificates.
    pub(crate) crls: Vec<PathBuf>,
    /// How much revocation counts.
    pub(crate) revocation: RevocationMode,
    /// A certificate of our own.
    pub(crate) client: Option<ClientCertificate>,
    /// The login name.
    pub(crate) user: Option<String>,
    /// Where the password comes from.
    pub(crate) secret: Source,
    /// The weakest mechanism that will do, in capitals.
    pub(crate) mechanism: Option<String>,
    /// Exceptions.
    pub(crate) dangers: Dangers,
    /// Addresses for hosts.
    pub(crate) resolve: Vec<Resolved>,
    /// A SOCKS5 proxy.
    pub(crate) socks5: Option<(Host, u16)>,
    /// The local address.
    pub(crate) source: Option<IpAddr>,
    /// The PROXY header to begin with.
    pub(crate) proxy_header: Option<ProxyHeader>,
    /// The resolver to ask.
    pub(crate) dns: Option<SocketAddr>,
    /// The longest wait for an answer.
    pub(crate) timeout: Option<Duration>,
    /// Whether to print JSON.
    pub(crate) json: bool,
    /// Whether to say what is being done.
    pub(crate) verbose: bool,
}

/// The mechanisms a floor can name, strongest first.
pub(crate) const MECHANISMS: &[&str] = &[
    "EXTERNAL",
    "SCRAM-SHA-256-PLUS",
    "SCRAM-SHA-256",
    "SCRAM-SHA-1-PLUS",
    "SCRAM-SHA-1",
    "OAUTHBEARER",
    "XOAUTH2",
    "PLAIN",
    "LOGIN",
];

impl Settings {
    /// Reads what was given. Flags of topics the verb does not have count as not given.
    pub(crate) fn read(given: &ArgMatches) -> Result<Self, Failure> {
        let said = Said(given);
        let settings = Self {
            tls: tls(said.one("tls"))?,
            only_tls13: tls13(said.one("tls-min"))?,
            verify: verify(said.one("verify").unwrap_or("ca"))?,
            tls_name: said
                .one("tls-name")
                .map(|name| host(name, "tls-name"))
                .transpose()?,
            domain: said
                .one("domain")
                .map(|name| host(name, "domain"))
                .transpose()?
                .map(|host| host.to_string()),
            ca: said.paths("ca"),
            system_ca: !said.has("no-system-ca"),
            pins: said
                .many("pin")
                .map(|pin| {
                    pin.parse()
                        .map_err(|error| Failure::usage(format!("--pin {pin}: {error}")))
                })
                .collect::<Result<_, _>>()?,
            exception: exception(said.one("trust-exception"))?,
            crls: said.paths("crl"),
            revocation: revocation(said.one("revocation"))?,
            client: client_certificate(&said)?,
            user: said.one("user").map(str::to_owned),
            secret: Source::read(given)?,
            mechanism: mechanism(said.one("mechanism"))?,
            dangers: Dangers {
                clear_login: said.has("danger-clear-login"),
                unverified_login: said.has("danger-unverified-login"),
            },
            resolve: said
                .many("resolve")
                .map(resolve)
                .collect::<Result<_, _>>()?,
            socks5: said.one("socks5").map(proxy).transpose()?,
            source: said.one("source").map(source).transpose()?,
            proxy_header: proxy_header(said.one("proxy-header"))?,
            dns: said.one("dns").map(resolver).transpose()?,
            timeout: said.one("timeout").map(timeout).transpose()?,
            json: said.has("json"),
            verbose: said.has("verbose"),
        };
        settings.refuse_contradictions(&said)?;
        Ok(settings)
    }

    fn refuse_contradictions(&self, said: &Said<'_>) -> Result<(), Failure> {
        // [MUA-04] each of these would look stricter than it is, or weaker than was meant.
        let off = self.tls == Some(Tls::Off);
        let unused = [
            "verify",
            "tls-name",
            "ca",
            "pin",
            "trust-exception",
            "crl",
            "revocation",
            "tls-min",
            "client-cert",
        ];
        if let Some(flag) = unused.iter().find(|flag| off && said.given(flag)) {
            return wrong(format!(
                "--{flag} has nothing to look at with --tls off; leave one of them out"
            ));
        }
        // [MUA-09]
        if self.mechanism.as_deref() == Some("EXTERNAL") && self.client.is_none() {
            return wrong(
                "--mechanism EXTERNAL logs in by a certificate: give it with --client-cert",
            );
        }
        let authorities = self.verify.has(Way::Ca) || self.verify.has(Way::Sts);
        if !self.system_ca && self.ca.is_empty() && authorities {
            return wrong(
                "--no-system-ca leaves nobody to trust: name authorities with --ca FILE, or another way with --verify dane or \
                 --verify pin",
            );
        }
        if self.verify.is_none() && !self.pins.is_empty() {
            return wrong(
                "--verify none and --pin contradict each other; for the pin alone write --verify pin",
            );
        }
        if self.verify.has(Way::Sts) && self.domain.is_none() {
            return wrong(
                "--verify sts needs the domain whose policy is meant: give --domain DOMAIN",
            );
        }
        if self.revocation == RevocationMode::Off && !self.crls.is_empty() {
            return wrong(
                "--revocation off and --crl contradict each other; leave out --revocation off",
            );
        }
        if self.dangers.clear_login && !off {
            return wrong(
                "--danger-clear-login has a meaning with --tls off only; leave it out, and the password travels encrypted",
            );
        }
        let unverified = self.verify.is_none() || self.exception.is_some();
        if self.dangers.unverified_login && !unverified {
            return wrong(
                "--danger-unverified-login has a meaning with --verify none or --trust-exception only; leave it out",
            );
        }
        Ok(())
    }

    /// The doors to try at a server, in this order. A second one is for when nothing listens at the first, never for when TLS
    /// failed there. [MUA-01] [CONF-11]
    pub(crate) fn doors(&self, url: &Url) -> Result<Vec<Door>, Failure> {
        let (implicit, clear) = (url.protocol.implicit_port(), url.protocol.clear_port());
        let door = |port: u16, tls| vec![Door { port, tls }];
        if url.implicit {
            return match self.tls {
                None | Some(Tls::Implicit) => {
                    Ok(door(url.port.or(implicit).unwrap_or(clear), Tls::Implicit))
                }
                Some(other) => wrong(format!(
                    "the scheme of the URL means implicit TLS, --tls {} another thing; write {}",
                    other.label(),
                    clear_scheme(url)
                )),
            };
        }
        match (self.tls, url.port) {
            (Some(Tls::Implicit), None) => match implicit {
                Some(port) => Ok(door(port, Tls::Implicit)),
                None => wrong(format!(
                    "{} has no port of its own for implicit TLS; write the port, such as {}:PORT",
                    url.protocol.label(),
                    url.host
                )),
            },
            (Some(tls), port) => Ok(door(port.unwrap_or(clear), tls)),
            (None, Some(port @ (465 | 993 | 995))) => Ok(door(port, Tls::Implicit)),
            (None, Some(port)) => Ok(door(port, Tls::StartTls)),
            (None, None) => {
                let first = implicit.map(|port| Door {
                    port,
                    tls: Tls::Implicit,
                });
                let second = Door {
                    port: clear,
                    tls: Tls::StartTls,
                };
                Ok(first.into_iter().chain([second]).collect())
            }
        }
    }

    /// Whether a password may be asked for at all, before anything is connected.
    pub(crate) fn refuse_hopeless_login(&self, url: &Url) -> Result<(), Failure> {
        if self.user.is_none() && url.user.is_none() {
            return Ok(());
        }
        // [MUA-05] [CONF-08]
        let here = match &url.host {
            Host::Ip(address) => address.is_loopback(),
            Host::Name(name) => super::lookup::is_local(name),
        };
        if self.tls == Some(Tls::Off) && !here && !self.dangers.clear_login {
            return wrong(format!(
                "with --tls off the password would cross the network in clear; leave out --tls off, or, if that is really meant for {}, add \
                 --danger-clear-login",
                url.host
            ));
        }
        let unverified = self.verify.is_none() || self.exception.is_some();
        if unverified && !self.dangers.unverified_login {
            return wrong(
                "a password is not sent to a server nobody vouches for; leave out --user to look around without logging in, or, if that is \
                 really meant, add --danger-unverified-login",
            );
        }
        Ok(())
    }
}

/// The words of a command line, by name; a flag the verb does not have was not given.
struct Said<'a>(&'a ArgMatches);

impl<'a> Said<'a> {
    fn one(&self, name: &str) -> Option<&'a str> {
        let value = self.0.try_get_one::<String>(name).ok().flatten();
        value.map(String::as_str)
    }

    fn many(&self, name: &str) -> impl Iterator<Item = &'a str> + use<'a> {
        let values = self.0.try_get_many::<String>(name).ok().flatten();
        values.into_iter().flatten().map(String::as_str)
    }

    fn paths(&self, name: &str) -> Vec<PathBuf> {
        self.many(name).map(PathBuf::from).collect()
    }

    fn has(&self, name: &str) -> bool {
        matches!(self.0.try_get_one::<bool>(name), Ok(Some(true)))
    }

    fn given(&self, name: &str) -> bool {
        matches!(self.0.try_contains_id(name), Ok(true))
    }
}

fn wrong<T>(text: impl std::fmt::Display) -> Result<T, Failure> {
    Err(Failure::usage(text))
}

fn host(text: &str, flag: &str) -> Result<Host, Failure> {
    Host::parse(text).map_err(|problem| Failure::usage(format!("--{flag}: {problem}")))
}

fn tls(word: Option<&str>) -> Result<Option<Tls>, Failure> {
    match word {
        None | Some("auto") => Ok(None),
        Some("implicit") => Ok(Some(Tls::Implicit)),
        Some("starttls") => Ok(Some(Tls::StartTls)),
        Some("opportunistic") => Ok(Some(Tls::Opportunistic)),
        Some("off") => Ok(Some(Tls::Off)),
        Some(other) => wrong(format!(
            "--tls {other}: write implicit, starttls, auto, opportunistic or off"
        )),
    }
}

fn tls13(word: Option<&str>) -> Result<bool, Failure> {
    match word {
        None | Some("1.2") => Ok(false),
        Some("1.3") => Ok(true),
        Some(other) => wrong(format!(
            "--tls-min {other}: write 1.2 or 1.3; older versions are never spoken"
        )),
    }
}

fn verify(words: &str) -> Result<Verify, Failure> {
    if words == "none" {
        return Ok(Verify {
            ways: Vec::new(),
            all: false,
        });
    }
    if words.contains('+') && words.contains(',') {
        return wrong(
            "--verify takes either + (all are needed) or a comma (one suffices), not both",
        );
    }
    let way = |word: &str| match word.trim() {
        "ca" => Ok(Way::Ca),
        "dane" => Ok(Way::Dane),
        "sts" => Ok(Way::Sts),
        "pin" => Ok(Way::Pin),
        other => wrong(format!(
            "--verify {other}: write ca, dane, sts, pin, several joined by + or by commas, or none alone"
        )),
    };
    let ways: Vec<Way> = words
        .split(['+', ','])
        .map(way)
        .collect::<Result<_, Failure>>()?;
    if ways
        .iter()
        .enumerate()
        .any(|(at, it)| ways[..at].contains(it))
    {
        return wrong(format!("--verify {words} names a way twice"));
    }
    Ok(Verify {
        all: words.contains('+'),
        ways,
    })
}

fn revocation(word: Option<&str>) -> Result<RevocationMode, Failure> {
    match word {
        None | Some("soft") => Ok(RevocationMode::Soft),
        Some("hard") => Ok(RevocationMode::Hard),
        Some("off") => Ok(RevocationMode::Off),
        Some(other) => wrong(format!("--revocation {other}: write soft, hard or off")),
    }
}

/// The hash of a certificate that is taken without an authority.
pub(crate) fn exception(text: Option<&str>) -> Result<Option<[u8; 32]>, Failure> {
    match text.map(str::parse::<Pin>) {
        None => Ok(None),
        Some(Ok(Pin::Certificate(hash))) => Ok(Some(hash)),
        Some(_) => wrong(
            "--trust-exception takes the hash of one certificate: sha256-cert: and 64 hexadecimal digits",
        ),
    }
}

fn client_certificate(said: &Said<'_>) -> Result<Option<ClientCertificate>, Failure> {
    match (said.one("client-cert"), said.one("client-key")) {
        (None, None) => Ok(None),
        (None, Some(_)) => wrong("--client-key without --client-cert: give both"),
        (Some(chain), key) => Ok(Some(ClientCertificate {
            chain: chain.into(),
            key: key.unwrap_or(chain).into(),
        })),
    }
}

fn mechanism(name: Option<&str>) -> Result<Option<String>, Failure> {
    let Some(name) = name else { return Ok(None) };
    let name = name.to_ascii_uppercase();
    if MECHANISMS.contains(&name.as_str()) {
        return Ok(Some(name));
    }
    wrong(format!(
        "--mechanism {name} is not known here; write one of {}",
        MECHANISMS.join(", ")
    ))
}

fn resolve(text: &str) -> Result<Resolved, Failure> {
    let bad = || {
        Failure::usage(format!(
            "--resolve {text}: write HOST:PORT:ADDRESS, such as mail.example.org:993:192.0.2.1"
        ))
    };
    let (host, rest) = match text.strip_prefix('[') {
        Some(rest) => rest.split_once("]:").ok_or_else(bad)?,
        None => text.split_once(':').ok_or_else(bad)?,
    };
    let (port, address) = rest.split_once(':').ok_or_else(bad)?;
    let address = address
        .strip_prefix('[')
        .and_then(|bare| bare.strip_suffix(']'))
        .unwrap_or(address);
    let host = match Host::parse(host).map_err(|_| bad())? {
        Host::Ip(address) => address.to_string(),
        name @ Host::Name(_) => name.to_string(),
    };
    Ok(Resolved {
        host,
        port: port.parse().map_err(|_| bad())?,
        address: address.parse().map_err(|_| bad())?,
    })
}

fn proxy(text: &str) -> Result<(Host, u16), Failure> {
    let url = Url::parse(&format!("smtp://{text}"))
        .ok()
        .filter(|url| url.user.is_none());
    match url {
        Some(url) => Ok((url.host, url.port.unwrap_or(1080))),
        None => wrong(format!("--socks5 {text}: write HOST or HOST:PORT")),
    }
}

fn source(text: &str) -> Result<IpAddr, Failure> {
    text.parse()
        .map_err(|_| Failure::usage(format!("--source {text}: write an address of this machine")))
}

fn proxy_header(word: Option<&str>) -> Result<Option<ProxyHeader>, Failure> {
    match word {
        None => Ok(None),
        Some("v1") => Ok(Some(ProxyHeader::V1)),
        Some("v2") => Ok(Some(ProxyHeader::V2)),
        Some(other) => wrong(format!("--proxy-header {other}: write v1 or v2")),
    }
}

fn resolver(text: &str) -> Result<SocketAddr, Failure> {
    let bare = text
        .strip_prefix('[')
        .and_then(|rest| rest.strip_suffix(']'))
        .unwrap_or(text);
    let alone = bare.parse().map(|address| SocketAddr::new(address, 53));
    alone.or_else(|_| text.parse()).map_err(|_| {
        Failure::usage(format!(
            "--dns {text}: write an address, such as 127.0.0.1, 127.0.0.1:5353 or [::1]:5353"
        ))
    })
}

fn timeout(text: &str) -> Result<Duration, Failure> {
    match text.parse::<u64>() {
        Ok(seconds @ 1..=86_400) => Ok(Duration::from_secs(seconds)),
        _ => wrong(format!(
            "--timeout {text}: write whole seconds, from 1 to 86400"
        )),
    }
}

/// The URL with the scheme that leaves the way TLS is started open.
fn clear_scheme(url: &Url) -> String {
    let scheme = match url.protocol {
        super::url::Protocol::Imap => "imap",
        super::url::Protocol::Pop3 => "pop3",
        _ => "submission",
    };
    format!("{scheme}://{}", url.host)
}

#[cfg(test)]
mod tests;
