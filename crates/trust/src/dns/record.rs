//! The records mail needs, as types.

use std::net::{Ipv4Addr, Ipv6Addr};

use super::message::Rtype;
use super::name::Name;
use crate::tlsa::Tlsa;

/// A mail exchange (RFC 5321 5.1).
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Mx {
    /// Lower comes first.
    pub preference: u16,
    /// The host; the root means that the domain takes no mail (RFC 7505).
    pub exchange: Name,
}

/// A service location (RFC 2782).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Srv {
    /// Lower comes first.
    pub priority: u16,
    /// Among equals, the chance to come first.
    pub weight: u16,
    /// The port.
    pub port: u16,
    /// The host; the root means that the service is not offered.
    pub target: Name,
}

/// The data of a record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Data {
    /// An IPv4 address.
    A(Ipv4Addr),
    /// An IPv6 address.
    Aaaa(Ipv6Addr),
    /// A mail exchange.
    Mx(Mx),
    /// A TLSA record.
    Tlsa(Tlsa),
    /// A service location.
    Srv(Srv),
    /// Text, as its strings.
    Txt(Vec<Vec<u8>>),
    /// The name this is another name for.
    Cname(Name),
    /// Another type: its data in canonical form.
    Other(Vec<u8>),
}

impl Data {
    /// Reads the data of a record. None if it is not as its type wants it.
    pub fn read(rtype: Rtype, rdata: &[u8]) -> Option<Self> {
        match rtype {
            Rtype::A => Some(Self::A(Ipv4Addr::from(<[u8; 4]>::try_from(rdata).ok()?))),
            Rtype::AAAA => Some(Self::Aaaa(Ipv6Addr::from(
                <[u8; 16]>::try_from(rdata).ok()?,
            ))),
            Rtype::MX => {
                let (preference, _) = rdata.split_first_chunk::<2>()?;
                Some(Self::Mx(Mx {
                    preference: u16::from_be_bytes(*preference),
                    exchange: last_name(rdata, 2)?,
                }))
            }
            Rtype::SRV => {
                let number = |at| Some(u16::from_be_bytes(*rdata.get(at..)?.first_chunk::<2>()?));
                Some(Self::Srv(Srv {
                    priority: number(0)?,
                    weight: number(2)?,
                    port: number(4)?,
                    target: last_name(rdata, 6)?,
                }))
            }
            Rtype::TLSA => Tlsa::from_rdata(rdata).ok().map(Self::Tlsa),
            Rtype::TXT => strings(rdata).map(Self::Txt),
            Rtype::CNAME => last_name(rdata, 0).map(Self::Cname),
            _ => Some(Self::Other(rdata.to_vec())),
        }
    }
}

/// The name at `at`, if nothing stands behind it.
fn last_name(rdata: &[u8], at: usize) -> Option<Name> {
    let (name, behind) = Name::read(rdata, at).ok()?;
    (behind == rdata.len()).then_some(name)
}

fn strings(mut rdata: &[u8]) -> Option<Vec<Vec<u8>>> {
    let mut strings = Vec::new();
    while let Some((length, rest)) = rdata.split_first() {
        let (string, rest) = rest.split_at_checked(usize::from(*length))?;
        strings.push(string.to_vec());
        rdata = rest;
    }
    (!strings.is_empty()).then_some(strings)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_are_read_whole_or_not() {
        let mx = Data::read(Rtype::MX, b"\0\x0a\x02mx\0");
        let exchange = "mx".parse().unwrap();
        assert_eq!(
            mx,
            Some(Data::Mx(Mx {
                preference: 10,
                exchange
            }))
        );
        assert_eq!(Data::read(Rtype::MX, b"\0\x0a\x02mx\0x"), None);
        assert_eq!(Data::read(Rtype::A, &[127, 0, 0]), None);
        assert_eq!(Data::read(Rtype::AAAA, &[0; 17]), None);
        assert_eq!(Data::read(Rtype::SRV, &[0; 6]), None);
        assert!(
            matches!(Data::read(Rtype::SRV, &[0; 7]), Some(Data::Srv(srv)) if srv.target.is_root())
        );
        assert_eq!(Data::read(Rtype::TLSA, &[3, 1]), None);
        assert_eq!(Data::read(Rtype::TXT, b"\x03ab"), None);
        assert_eq!(Data::read(Rtype::TXT, b""), None);
        let strings = vec![b"ab".to_vec(), Vec::new()];
        assert_eq!(
            Data::read(Rtype::TXT, b"\x02ab\0"),
            Some(Data::Txt(strings))
        );
    }
}
