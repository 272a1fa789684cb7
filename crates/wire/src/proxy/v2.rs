//! Version 2: octets.
//!
//! ```text
//!  signature 12 │ version, command 1 │ family, transport 1 │ length 2 │ addresses │ (type 1, length 2, value)*
//! ```

use std::fmt;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};

use super::crc::checksum;
use super::{Endpoints, Fault, Header, Progress, Tlv};

pub(super) const MARK: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";
/// Everything before the addresses.
const FIXED: usize = 16;
const LOCAL: u8 = 0x20;
const PROXY: u8 = 0x21;
const UNSPECIFIED: u8 = 0x00;
const TCP4: u8 = 0x11;
const TCP6: u8 = 0x21;

/// The further information does not fit into a header.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct TooLong;

impl fmt::Display for TooLong {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("more than fits into a PROXY header")
    }
}

impl std::error::Error for TooLong {}

/// Writes a header of version 2 with its checksum. [PROXY-05] [PROXY-06]
pub fn encode(header: &Header) -> Result<Vec<u8>, TooLong> {
    let (command, family, mut body) = match header.endpoints {
        None => (LOCAL, UNSPECIFIED, Vec::new()),
        Some(endpoints) => {
            let (family, addresses) = encode_addresses(endpoints);
            (PROXY, family, addresses)
        }
    };
    for tlv in &header.tlvs {
        append(&mut body, tlv.kind, &tlv.value)?;
    }
    append(&mut body, Tlv::CRC32C, &[0; 4])?;
    let length = u16::try_from(body.len()).map_err(|_| TooLong)?;
    let mut out = [MARK, &[command, family], &length.to_be_bytes(), &body].concat();
    let sum = checksum(out.iter().copied());
    // The checksum stands last.
    out.truncate(out.len().saturating_sub(4));
    out.extend(sum.to_be_bytes());
    Ok(out)
}

/// Addresses of different families are told as IPv6.
fn encode_addresses(endpoints: Endpoints) -> (u8, Vec<u8>) {
    let Endpoints {
        source,
        destination,
    } = endpoints;
    let ports = [
        source.port().to_be_bytes(),
        destination.port().to_be_bytes(),
    ]
    .concat();
    if let (SocketAddr::V4(from), SocketAddr::V4(to)) = (source, destination) {
        let (from, to) = (from.ip().octets(), to.ip().octets());
        return (TCP4, [&from[..], &to, &ports].concat());
    }
    let six = |address: SocketAddr| match address {
        SocketAddr::V4(it) => it.ip().to_ipv6_mapped().octets(),
        SocketAddr::V6(it) => it.ip().octets(),
    };
    let (from, to) = (six(source), six(destination));
    (TCP6, [&from[..], &to, &ports].concat())
}

pub(super) fn append(out: &mut Vec<u8>, kind: u8, value: &[u8]) -> Result<(), TooLong> {
    let length = u16::try_from(value.len()).map_err(|_| TooLong)?;
    out.push(kind);
    out.extend(length.to_be_bytes());
    out.extend_from_slice(value);
    Ok(())
}

/// [PROXY-03] The length is honoured whatever stands there; what is unknown ends the connection.
pub(super) fn parse(bytes: &[u8]) -> Progress {
    let Some([command, family, high, low]) = bytes.get(MARK.len()..FIXED) else {
        return early(bytes);
    };
    if let Err(fault) = check(*command, *family) {
        return Progress::Invalid(fault);
    }
    let length = usize::from(u16::from_be_bytes([*high, *low]));
    let end = FIXED + length;
    let Some(whole) = bytes.get(..end) else {
        return Progress::NeedMore;
    };
    let body = whole.get(FIXED..).unwrap_or_default();
    let header = match *command {
        // The block is skipped: the connection's own endpoints count.
        LOCAL => Ok(Header::local()),
        _ => read_body(*family, body, whole),
    };
    match header {
        Ok(header) => Progress::Complete(header, end),
        Err(fault) => Progress::Invalid(fault),
    }
}

/// What can be said before the fixed part is complete.
fn early(bytes: &[u8]) -> Progress {
    match (bytes.get(MARK.len()), bytes.get(MARK.len() + 1)) {
        (Some(command), family) => match check(*command, family.copied().unwrap_or(UNSPECIFIED)) {
            Ok(()) => Progress::NeedMore,
            Err(fault) => Progress::Invalid(fault),
        },
        _ => Progress::NeedMore,
    }
}

fn check(command: u8, family: u8) -> Result<(), Fault> {
    if !matches!(command, LOCAL | PROXY) {
        return Err(Fault::Command);
    }
    if family >> 4 > 3 || family & 15 > 2 {
        return Err(Fault::Family);
    }
    Ok(())
}

fn read_body(family: u8, body: &[u8], whole: &[u8]) -> Result<Header, Fault> {
    let (endpoints, length) = match family >> 4 {
        1 => (Some(read_ipv4(body).ok_or(Fault::Length)?), 12),
        2 => (Some(read_ipv6(body).ok_or(Fault::Length)?), 36),
        3 => (None, 216),
        _ => return Ok(Header::local()),
    };
    let rest = body.get(length..).ok_or(Fault::Length)?;
    let tlvs = read_tlvs(rest, whole)?;
    Ok(Header { endpoints, tlvs })
}

fn read_ipv4(body: &[u8]) -> Option<Endpoints> {
    let address = |at: usize| {
        let octets: [u8; 4] = body.get(at..at + 4)?.try_into().ok()?;
        Some(Ipv4Addr::from(octets))
    };
    Some(Endpoints {
        source: (address(0)?, port(body, 8)?).into(),
        destination: (address(4)?, port(body, 10)?).into(),
    })
}

fn read_ipv6(body: &[u8]) -> Option<Endpoints> {
    let address = |at: usize| {
        let octets: [u8; 16] = body.get(at..at + 16)?.try_into().ok()?;
        Some(Ipv6Addr::from(octets))
    };
    Some(Endpoints {
        source: (address(0)?, port(body, 32)?).into(),
        destination: (address(16)?, port(body, 34)?).into(),
    })
}

fn port(body: &[u8], at: usize) -> Option<u16> {
    let octets = body.get(at..at + 2)?.try_into().ok()?;
    Some(u16::from_be_bytes(octets))
}

fn read_tlvs(mut rest: &[u8], whole: &[u8]) -> Result<Vec<Tlv>, Fault> {
    let mut tlvs = Vec::new();
    while let Some((tlv, behind)) = take(rest)? {
        let at = whole.len() - behind.len() - tlv.1.len();
        match tlv {
            (Tlv::CRC32C, sum) => verify(whole, at, sum)?,
            (Tlv::NOOP, _) => {}
            (kind, value) => tlvs.push(Tlv::new(kind, value)),
        }
        rest = behind;
    }
    Ok(tlvs)
}

type Piece<'a> = ((u8, &'a [u8]), &'a [u8]);

/// The first piece and what stands behind it.
pub(super) fn take(bytes: &[u8]) -> Result<Option<Piece<'_>>, Fault> {
    let Some((kind, rest)) = bytes.split_first() else {
        return Ok(None);
    };
    let (length, rest) = rest.split_first_chunk().ok_or(Fault::Length)?;
    let length = usize::from(u16::from_be_bytes(*length));
    let (value, behind) = rest.split_at_checked(length).ok_or(Fault::Length)?;
    Ok(Some(((*kind, value), behind)))
}

/// [PROXY-04] The checksum is that of the whole header with zeros in its own place, which begins at `at`.
fn verify(whole: &[u8], at: usize, sum: &[u8]) -> Result<(), Fault> {
    let sum: [u8; 4] = sum.try_into().map_err(|_| Fault::Length)?;
    let zeroed = whole.iter().enumerate().map(|(place, octet)| {
        if (at..at + 4).contains(&place) {
            0
        } else {
            *octet
        }
    });
    if checksum(zeroed) == u32::from_be_bytes(sum) {
        Ok(())
    } else {
        Err(Fault::Checksum)
    }
}
