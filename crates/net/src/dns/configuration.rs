//! Which resolvers to ask: `resolv.conf`, or addresses a user gives.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::Path;

/// The port of DNS.
const PORT: u16 = 53;
/// The most resolvers that are asked.
const MAX_RESOLVERS: usize = 3;

/// What `resolv.conf` says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Resolvers {
    /// The resolvers, the first to be asked first.
    pub addresses: Vec<SocketAddr>,
    /// Whether the system's owner trusts their AD bit (`options trust-ad`).
    pub trust_ad: bool,
}

impl Resolvers {
    /// Reads `/etc/resolv.conf`. Without it, or without a resolver in it: the one on this machine, as the C library does.
    pub fn system() -> Self {
        Self::read(Path::new("/etc/resolv.conf"))
    }

    /// Reads a file of the form of `resolv.conf`.
    pub fn read(file: &Path) -> Self {
        Self::parse(&std::fs::read_to_string(file).unwrap_or_default())
    }

    /// Reads the text of such a file. Lines that are not understood are passed over, as resolvers do.
    pub fn parse(text: &str) -> Self {
        let mut resolvers = Self {
            addresses: Vec::new(),
            trust_ad: false,
        };
        for line in text.lines() {
            let mut words = line.split_ascii_whitespace();
            match words.next() {
                Some("nameserver") => {
                    let address = words.next().and_then(Self::parse_address);
                    resolvers.addresses.extend(address);
                }
                Some("options") => {
                    resolvers.trust_ad |= words.any(|word| word == "trust-ad");
                }
                _ => (),
            }
        }
        resolvers.addresses.truncate(MAX_RESOLVERS);
        if resolvers.addresses.is_empty() {
            let own = SocketAddr::from((Ipv4Addr::LOCALHOST, PORT));
            resolvers.addresses.push(own);
        }
        resolvers
    }

    /// Reads one address: `192.0.2.1`, `192.0.2.1:5300`, `2001:db8::1`, `[2001:db8::1]:5300`. A zone (`fe80::1%eth0`) is not
    /// understood.
    pub fn parse_address(text: &str) -> Option<SocketAddr> {
        if let Ok(address) = text.parse::<SocketAddr>() {
            return Some(address);
        }
        let address: IpAddr = text.parse().ok()?;
        Some(SocketAddr::from((address, PORT)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn resolv_conf_is_read() {
        let text = "# comment\nsearch example\nnameserver 192.0.2.1\nnameserver\tfe80::1\nnameserver nonsense\noptions edns0 trust-ad\n";
        let resolvers = Resolvers::parse(text);
        assert_eq!(
            resolvers.addresses,
            [
                "192.0.2.1:53".parse().unwrap(),
                "[fe80::1]:53".parse().unwrap()
            ]
        );
        assert!(resolvers.trust_ad);
    }

    #[test]
    fn without_a_resolver_it_is_this_machine() {
        let resolvers = Resolvers::parse("; nothing\n");
        assert_eq!(resolvers.addresses, ["127.0.0.1:53".parse().unwrap()]);
        assert!(!resolvers.trust_ad);
    }

    #[test]
    fn ports_may_be_given() {
        let port = |text| Resolvers::parse_address(text).map(|address| address.port());
        assert_eq!(port("192.0.2.1"), Some(53));
        assert_eq!(port("192.0.2.1:5300"), Some(5300));
        assert_eq!(port("[2001:db8::1]:5300"), Some(5300));
        assert_eq!(port("2001:db8::1"), Some(53));
        assert_eq!(port("resolver.example"), None);
    }
}
