//! `http` and `https` URLs, as far as they are fetched here (RFC 3986, RFC 9110 4.2).

use std::fmt;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

/// A URL to be fetched.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Url {
    /// Whether the scheme is `https`.
    pub tls: bool,
    /// A host name in lower case, or an address; IPv6 without brackets.
    pub host: String,
    /// The port.
    pub port: u16,
    /// Path and query, beginning with `/`.
    pub target: String,
}

/// Not a URL that is fetched here.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct BadUrl;

impl fmt::Display for BadUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("not an http or https URL")
    }
}

impl std::error::Error for BadUrl {}

impl FromStr for Url {
    type Err = BadUrl;

    fn from_str(text: &str) -> Result<Self, BadUrl> {
        read(text).ok_or(BadUrl)
    }
}

impl Url {
    /// The value of the Host field: the port only where it is not the usual one.
    pub(super) fn authority(&self) -> String {
        let host = if self.host.contains(':') {
            format!("[{}]", self.host)
        } else {
            self.host.clone()
        };
        if self.port == usual_port(self.tls) {
            host
        } else {
            format!("{host}:{}", self.port)
        }
    }
}

impl fmt::Display for Url {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = if self.tls { "https" } else { "http" };
        write!(f, "{scheme}://{}{}", self.authority(), self.target)
    }
}

const fn usual_port(tls: bool) -> u16 {
    if tls { 443 } else { 80 }
}

fn read(text: &str) -> Option<Url> {
    let (scheme, rest) = text.split_once("://")?;
    let tls = match scheme.to_ascii_lowercase().as_str() {
        "http" => false,
        "https" => true,
        _ => return None,
    };
    let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    let (authority, target) = rest.split_at_checked(end)?;
    // A fragment is the reader's own; nothing here has one.
    if !target.bytes().all(|it| it.is_ascii_graphic()) || target.contains('#') {
        return None;
    }
    let (host, port) = split_authority(authority)?;
    let slash = if target.starts_with('/') { "" } else { "/" };
    Some(Url {
        tls,
        host,
        port: match port {
            None => usual_port(tls),
            Some(digits) if digits.bytes().all(|it| it.is_ascii_digit()) => digits.parse().ok()?,
            Some(_) => return None,
        },
        target: format!("{slash}{target}"),
    })
}

fn split_authority(authority: &str) -> Option<(String, Option<&str>)> {
    if let Some(rest) = authority.strip_prefix('[') {
        let (host, rest) = rest.split_once(']')?;
        let address: Ipv6Addr = host.parse().ok()?;
        let port = match rest {
            "" => None,
            _ => Some(rest.strip_prefix(':')?),
        };
        return Some((address.to_string(), port));
    }
    let (host, port) = match authority.split_once(':') {
        None => (authority, None),
        Some((host, port)) => (host, Some(port)),
    };
    let is_plain = |it: u8| it.is_ascii_alphanumeric() || matches!(it, b'-' | b'.' | b'_');
    let named = !host.is_empty() && host.len() <= 253 && host.bytes().all(is_plain);
    // What looks like a number must be an address: 127.1 is a name to some, and loopback to others.
    let number = host.bytes().all(|it| it.is_ascii_digit() || it == b'.');
    if !named || (number && host.parse::<Ipv4Addr>().is_err()) {
        return None;
    }
    Some((host.to_ascii_lowercase(), port))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_and_back() {
        for (text, shown) in [
            (
                "https://Mta-Sts.Example/.well-known/mta-sts.txt",
                "https://mta-sts.example/.well-known/mta-sts.txt",
            ),
            ("http://crl.example", "http://crl.example/"),
            ("http://crl.example:80/a?b=c", "http://crl.example/a?b=c"),
            ("http://crl.example?b", "http://crl.example/?b"),
            ("HTTPS://192.0.2.1:8443/x", "https://192.0.2.1:8443/x"),
            ("https://[2001:DB8::1]:444/", "https://[2001:db8::1]:444/"),
        ] {
            let url: Url = text.parse().unwrap();
            assert_eq!(url.to_string(), shown);
        }
    }

    #[test]
    fn refused() {
        for text in [
            "ftp://x/",
            "https:/x",
            "https://",
            "https://user@host/",
            "https://host:/x y",
            "https://host:x/",
            "https://host:99999/",
            "https://host:+1/",
            "https://[::1/",
            "https://[x]/",
            "https://[::1]1/",
            "https://127.1/",
            "https://h\u{fc}/",
            "https://host/\r\nX: y",
            "https://host/#frag",
            "https://ho st/",
            "x",
        ] {
            assert_eq!(text.parse::<Url>(), Err(BadUrl), "{text:?}");
        }
    }
}
