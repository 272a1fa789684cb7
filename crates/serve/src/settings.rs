//! What a server is told: the meaning of the configuration, with every choice made.

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use gatepost_wire::sasl::Mechanism;

/// Everything a server needs to know to start.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The folder that holds everything.
    pub data: PathBuf,
    /// The server's own name.
    pub host: String,
    /// Mail domains served besides those of the accounts, in lower case.
    pub domains: Vec<String>,
    /// Addresses to listen on.
    pub bind: Vec<IpAddr>,
    /// Added to every standard port.
    pub port_offset: u16,
    /// The account that gets mail for postmaster.
    pub postmaster: Option<String>,
    /// Certificate chain and key files; none: the local CA's.
    pub certificates: Vec<(PathBuf, PathBuf)>,
    /// Whether port 25 refuses MAIL without TLS (ruling CONF-01: the default is no).
    pub mx_requires_tls: bool,
    /// The largest message, in octets.
    pub message_size: u64,
    /// The most one account may keep, in octets.
    pub quota: u64,
    /// New mail is refused when less than this is free, in octets.
    pub disk_floor: u64,
    /// Connections at the same time, in all.
    pub connections: usize,
    /// Connections at the same time from one address (IPv6: one /64).
    pub connections_per_address: usize,
    /// Networks whose clients are not counted per address.
    pub unlimited: Vec<Network>,
    /// TLS handshakes at the same time.
    pub handshakes: usize,
    /// How long a handshake may take.
    pub handshake_time: Duration,
    /// Networks whose clients may log in without TLS.
    pub clear_login: Vec<Network>,
    /// The mechanisms allowed for logins.
    pub mechanisms: Vec<Mechanism>,
    /// How session lines look.
    pub log: LogFormat,
    /// Where OpenMetrics are served.
    pub metrics: Option<SocketAddr>,
    /// The file to write when every listener accepts.
    pub ready_file: Option<PathBuf>,
}

/// How session lines look.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    /// For people.
    Human,
    /// One JSON object a line.
    Json,
}

/// An IP network in CIDR form.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Network {
    address: IpAddr,
    prefix: u8,
}

impl Network {
    /// Reads `192.0.2.0/24`, `2001:db8::/32` or a single address. None if it is none of these.
    pub fn parse(text: &str) -> Option<Self> {
        let (address, prefix) = match text.split_once('/') {
            Some((address, prefix)) => (address, Some(prefix)),
            None => (text, None),
        };
        let address: IpAddr = address.parse().ok()?;
        let longest = if address.is_ipv4() { 32 } else { 128 };
        let prefix = prefix.map_or(Some(longest), |digits| digits.parse().ok())?;
        (prefix <= longest).then_some(Self { address, prefix })
    }

    /// Whether the address is in the network. An IPv4-mapped IPv6 address counts as the IPv4 address it maps.
    pub fn contains(self, address: IpAddr) -> bool {
        match (self.address, address.to_canonical()) {
            (IpAddr::V4(own), IpAddr::V4(other)) => {
                let shift = 32 - u32::from(self.prefix);
                u32::from(own).checked_shr(shift) == u32::from(other).checked_shr(shift)
            }
            (IpAddr::V6(own), IpAddr::V6(other)) => {
                let shift = 128 - u32::from(self.prefix);
                u128::from(own).checked_shr(shift) == u128::from(other).checked_shr(shift)
            }
            _ => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn networks_contain_what_they_should() {
        let inside = |network: &str, address: &str| {
            Network::parse(network)
                .unwrap()
                .contains(address.parse().unwrap())
        };
        assert!(inside("192.0.2.0/24", "192.0.2.255"));
        assert!(!inside("192.0.2.0/24", "192.0.3.0"));
        assert!(inside("0.0.0.0/0", "203.0.113.9"));
        assert!(inside("127.0.0.1", "127.0.0.1"));
        assert!(!inside("127.0.0.1", "127.0.0.2"));
        assert!(inside("127.0.0.0/8", "::ffff:127.0.0.1"));
        assert!(inside("2001:db8::/32", "2001:db8:ffff::1"));
        assert!(!inside("2001:db8::/32", "2001:db9::1"));
        assert!(!inside("::/0", "192.0.2.1"));
        for bad in [
            "",
            "x",
            "192.0.2.0/33",
            "::/129",
            "192.0.2.0/-1",
            "192.0.2/24",
        ] {
            assert_eq!(Network::parse(bad), None, "{bad}");
        }
    }
}
