//! Reference identifiers: who the peer is expected to be (RFC 9525), fixed before its certificate is seen [ID-01].
//!
//! | reference | presented | how they match |
//! |---|---|---|
//! | DNS-ID `mail.example.org` | dNSName | label by label, case of ASCII aside; `*` as the whole first label stands for exactly one |
//! | IP-ID `192.0.2.1` | iPAddress | octet for octet |
//! | SRV-ID `_imaps` at `example.org` | `SRVName` | service and domain, both |
//!
//! The subject's common name never counts [CONF-04] [ID-07], nor do URI names; only to tell an operator that the name stands there, and
//! nowhere else, is it read. A reference name from DNS belongs here
//! only when DNSSEC vouches for the way to it [ID-02]; that is its maker's to know.

use std::fmt;
use std::net::IpAddr;

use rustls_pki_types::{DnsName, ServerName};

use crate::x509::Names;

/// A host name as certificates write it: ASCII, lower case, A-labels, no dot at its end.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct HostName(String);

/// Why a text is no host name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BadName {
    /// Letters beyond ASCII: the name must be given by its A-labels (`xn--…`).
    NotAscii,
    /// Empty, too long, or with characters host names do not have.
    NotHost,
}

impl fmt::Display for BadName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NotAscii => {
                "the name has letters beyond ASCII; give its A-labels, which begin with xn--"
            }
            Self::NotHost => "this is not a host name",
        })
    }
}

impl std::error::Error for BadName {}

impl HostName {
    /// Takes a name in any case, with or without the dot of the root. International names must come as A-labels [ID-03].
    pub fn new(text: &str) -> Result<Self, BadName> {
        if !text.is_ascii() {
            return Err(BadName::NotAscii);
        }
        let text = text.strip_suffix('.').unwrap_or(text).to_ascii_lowercase();
        let numeric = text
            .rsplit('.')
            .next()
            .is_some_and(|it| it.bytes().all(|octet| octet.is_ascii_digit()));
        if numeric || DnsName::try_from(text.as_str()).is_err() {
            return Err(BadName::NotHost);
        }
        Ok(Self(text))
    }

    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    pub(crate) fn server_name(&self) -> Option<ServerName<'static>> {
        DnsName::try_from(self.0.clone())
            .ok()
            .map(ServerName::DnsName)
    }
}

impl fmt::Display for HostName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// One name the peer may have.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Reference {
    /// A host name.
    Dns(HostName),
    /// An address, when the user gave one.
    Ip(IpAddr),
    /// A service of a domain, when it was found by SRV (RFC 6186, RFC 4985) [ID-06].
    Srv {
        /// The service without its underscore, such as `imaps`.
        service: &'static str,
        /// The domain that was asked.
        domain: HostName,
    },
}

impl Reference {
    /// A host name or an address, as a user writes it.
    pub fn host(text: &str) -> Result<Self, BadName> {
        let bare = text.strip_prefix('[').and_then(|it| it.strip_suffix(']'));
        if let Ok(address) = bare.unwrap_or(text).parse() {
            return Ok(Self::Ip(address));
        }
        HostName::new(text).map(Self::Dns)
    }

    /// Whether the certificate presents this name. `services` says whether SRV names count: under an authority that is
    /// held to certain names they do not, for such limits speak of DNS names only [ID-11].
    pub(crate) fn is_presented(&self, names: &Names, services: bool) -> bool {
        match self {
            Self::Dns(host) => names.dns.iter().any(|it| covers(it, host.as_str())),
            // [ID-05] no address is ever compared with a DNS name.
            Self::Ip(address) => names.addresses.contains(address),
            Self::Srv { service, domain } => {
                let presented = |it: &(String, String)| it.0 == *service && it.1 == domain.as_str();
                services && names.services.iter().any(presented)
            }
        }
    }

    /// Whether a common name is this name: what a client before RFC 9525 took where there was nothing else. For words, not for trust.
    pub(crate) fn is_common_name(&self, text: &str) -> bool {
        match self {
            Self::Dns(host) => covers(&text.to_ascii_lowercase(), host.as_str()),
            Self::Ip(address) => text.parse() == Ok(*address),
            Self::Srv { .. } => false,
        }
    }
}

impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Dns(host) => write!(f, "{host}"),
            Self::Ip(address) => write!(f, "{address}"),
            Self::Srv { service, domain } => write!(f, "_{service}.{domain}"),
        }
    }
}

/// Whether a presented DNS name, in lower case, covers a host. A wildcard is the whole first label, stands for exactly one
/// label, and is the only one; of anything else with an asterisk nothing is believed [ID-03] [ID-04].
fn covers(presented: &str, host: &str) -> bool {
    let Some(parent) = presented.strip_prefix("*.") else {
        return presented == host && !presented.contains('*');
    };
    // `*.org` would speak for whole registries.
    let deep = parent.contains('.') && !parent.contains('*');
    let host_parent = host.split_once('.').map(|(_, parent)| parent);
    deep && host_parent == Some(parent)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn dns(names: &[&str]) -> Names {
        Names {
            dns: names.iter().map(ToString::to_string).collect(),
            ..Names::default()
        }
    }

    fn matches(reference: &str, presented: &str) -> bool {
        Reference::host(reference)
            .unwrap()
            .is_presented(&dns(&[presented]), true)
    }

    #[test]
    fn names_match_label_by_label() {
        // [ID-03]
        assert!(matches("mail.example.org", "mail.example.org"));
        assert!(matches("MAIL.example.ORG.", "mail.example.org"));
        assert!(!matches("mail.example.org", "example.org"));
        assert!(!matches("example.org", "mail.example.org"));
        assert!(!matches("mail.example.org", "mail.example"));
        assert!(!matches("mail.example.org", "mail"));
        assert!(!matches("mail.example.org", "mail.example.org\0.evil.test"));
        assert!(matches("xn--bcher-kva.example", "xn--bcher-kva.example"));
    }

    #[test]
    fn a_wildcard_is_one_whole_first_label() {
        // [ID-04]
        assert!(matches("mail.example.org", "*.example.org"));
        assert!(!matches("a.mail.example.org", "*.example.org"));
        assert!(!matches("example.org", "*.example.org"));
        assert!(!matches("mail.example.org", "m*.example.org"));
        assert!(!matches("mail.example.org", "*l.example.org"));
        assert!(!matches("mail.example.org", "mail.*.org"));
        assert!(!matches("mail.example.org", "*.*.org"));
        assert!(!matches("example.org", "*.org"));
        assert!(!matches("org", "*"));
    }

    #[test]
    fn an_address_is_compared_with_addresses_only() {
        // [ID-05]
        let reference = Reference::host("192.0.2.1").unwrap();
        assert!(!reference.is_presented(&dns(&["192.0.2.1"]), true));
        let presented = Names {
            addresses: vec!["192.0.2.1".parse().unwrap()],
            ..Names::default()
        };
        assert!(reference.is_presented(&presented, true));
        let mapped = Reference::host("[::ffff:192.0.2.1]").unwrap();
        assert!(!mapped.is_presented(&presented, true), "octet for octet");
    }

    #[test]
    fn a_service_is_matched_as_a_pair() {
        // [ID-06] [ID-11]
        let domain = HostName::new("example.org").unwrap();
        let reference = Reference::Srv {
            service: "imaps",
            domain,
        };
        let presented = |service: &str, domain: &str| Names {
            services: vec![(service.to_owned(), domain.to_owned())],
            ..Names::default()
        };
        assert!(reference.is_presented(&presented("imaps", "example.org"), true));
        assert!(!reference.is_presented(&presented("imap", "example.org"), true));
        assert!(!reference.is_presented(&presented("imaps", "example.net"), true));
        assert!(!reference.is_presented(&presented("imaps", "example.org"), false));
        assert!(!reference.is_presented(&dns(&["example.org"]), true));
    }

    #[test]
    fn what_is_no_name_is_refused() {
        // [ID-03]
        assert_eq!(HostName::new("bücher.example"), Err(BadName::NotAscii));
        for text in ["", ".", "a..b", "a b", "1.2.3.4", "a/b", "*.example.org"] {
            assert_eq!(HostName::new(text), Err(BadName::NotHost), "{text:?}");
        }
    }
}
