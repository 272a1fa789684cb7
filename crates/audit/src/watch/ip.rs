//! IP datagrams, from octets to the TCP segment in them: both versions, extension headers, fragments, and what is tunnelled plainly.
//!
//! Lengths are taken from the IP header, octets from what was kept: a packet that was cut short moves no sequence number.

use super::fragments::{Fragments, Place};
use super::link::{self, Vlan};

/// How many headers and tunnels may be nested.
const DEEPEST: usize = 24;

/// The FIN flag.
pub const FIN: u8 = 1;
/// The SYN flag.
pub const SYN: u8 = 2;
/// The RST flag.
pub const RST: u8 = 4;
/// The ACK flag.
pub const ACK: u8 = 16;

/// A TCP segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Segment<'a> {
    /// From where: the address (IPv4 as a mapped one).
    pub source: u128,
    /// To where.
    pub destination: u128,
    /// The port it came from.
    pub source_port: u16,
    /// The port it went to.
    pub destination_port: u16,
    /// The network it was seen in.
    pub vlan: Vlan,
    /// Its first octet's number.
    pub sequence: u32,
    /// The number its sender waits for.
    pub acknowledged: u32,
    /// The flags.
    pub flags: u8,
    /// The hops it may still go.
    pub ttl: u8,
    /// The number of its datagram in IPv4, 0 where it has none.
    pub id: u16,
    /// The octets that were kept.
    pub payload: &'a [u8],
    /// How many octets there were.
    pub length: usize,
}

impl Segment<'_> {
    /// Whether a flag is set.
    #[must_use]
    pub fn has(&self, flag: u8) -> bool {
        self.flags & flag != 0
    }
}

/// What a datagram came to.
#[derive(Debug)]
pub enum Datagram<'a> {
    /// A TCP segment.
    Tcp(Segment<'a>),
    /// All fragments of a datagram are there; open it with [`open_payload`].
    Whole(Envelope, Vec<u8>),
    /// A fragment, kept or dropped.
    Fragment,
    /// Something else, or too little of it.
    Other,
}

/// What stands around a payload.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Envelope {
    /// From where.
    pub source: u128,
    /// To where.
    pub destination: u128,
    /// The protocol of the payload.
    pub protocol: u8,
    /// The network.
    pub vlan: Vlan,
    /// The hops it may still go.
    pub ttl: u8,
    /// Its number in IPv4, 0 where it has none.
    pub id: u16,
}

/// An IPv4 address as a mapped one.
fn mapped(octets: [u8; 4]) -> u128 {
    0xffff_0000_0000 | u128::from(u32::from_be_bytes(octets))
}

/// Opens a datagram.
pub fn open<'a>(octets: &'a [u8], vlan: Vlan, fragments: &mut Fragments) -> Datagram<'a> {
    open_at(octets, vlan, fragments, 0).unwrap_or(Datagram::Other)
}

fn open_at<'a>(
    octets: &'a [u8],
    vlan: Vlan,
    fragments: &mut Fragments,
    depth: usize,
) -> Option<Datagram<'a>> {
    if depth > DEEPEST {
        return None;
    }
    match octets.first()? >> 4 {
        4 => version4(octets, vlan, fragments, depth),
        6 => version6(octets, vlan, fragments, depth),
        _ => None,
    }
}

fn version4<'a>(
    octets: &'a [u8],
    vlan: Vlan,
    fragments: &mut Fragments,
    depth: usize,
) -> Option<Datagram<'a>> {
    let head = octets.first_chunk::<20>()?;
    let [
        first,
        _,
        length_high,
        length_low,
        id_high,
        id_low,
        offset_high,
        offset_low,
        ttl,
        protocol,
        ..,
    ] = *head;
    let header = usize::from(first & 15) * 4;
    let total = usize::from(u16::from_be_bytes([length_high, length_low]));
    // Offloading cards write 0 where the length does not fit.
    let total = if total == 0 { octets.len() } else { total };
    if header < 20 || total < header {
        return None;
    }
    let envelope = Envelope {
        source: mapped(*octets.get(12..)?.first_chunk()?),
        destination: mapped(*octets.get(16..)?.first_chunk()?),
        protocol,
        vlan,
        ttl,
        id: u16::from_be_bytes([id_high, id_low]),
    };
    let kept = octets.get(header..octets.len().min(total))?;
    let field = u16::from_be_bytes([offset_high, offset_low]);
    if field & 0x3fff != 0 {
        let place = Place {
            id: u32::from(u16::from_be_bytes([id_high, id_low])),
            offset: usize::from(field & 0x1fff) * 8,
            more: field & 0x2000 != 0,
        };
        return Some(fragment(fragments, envelope, place, kept, total - header));
    }
    payload(envelope, kept, total - header, fragments, depth)
}

fn version6<'a>(
    octets: &'a [u8],
    vlan: Vlan,
    fragments: &mut Fragments,
    depth: usize,
) -> Option<Datagram<'a>> {
    let head = octets.first_chunk::<40>()?;
    let [_, _, _, _, length_high, length_low, next, ttl, ..] = *head;
    let length = usize::from(u16::from_be_bytes([length_high, length_low]));
    let body = octets.get(40..)?;
    // 0 stands for more than fits: a jumbogram, or an offloading card.
    let length = if length == 0 { body.len() } else { length };
    let envelope = Envelope {
        source: u128::from_be_bytes(*head.get(8..)?.first_chunk()?),
        destination: u128::from_be_bytes(*head.get(24..)?.first_chunk()?),
        protocol: next,
        vlan,
        ttl,
        id: 0,
    };
    payload(
        envelope,
        body.get(..length).unwrap_or(body),
        length,
        fragments,
        depth,
    )
}

fn fragment<'a>(
    fragments: &mut Fragments,
    envelope: Envelope,
    place: Place,
    kept: &[u8],
    length: usize,
) -> Datagram<'a> {
    if kept.len() < length {
        return Datagram::Fragment;
    }
    match fragments.add(envelope, place, kept) {
        Some(whole) => Datagram::Whole(envelope, whole),
        None => Datagram::Fragment,
    }
}

/// Opens the payload of a datagram that came in fragments.
pub fn open_payload<'a>(
    envelope: Envelope,
    octets: &'a [u8],
    fragments: &mut Fragments,
) -> Datagram<'a> {
    payload(envelope, octets, octets.len(), fragments, 1).unwrap_or(Datagram::Other)
}

/// Follows extension headers (RFC 8200 4) and plain tunnels to the segment.
fn payload<'a>(
    mut envelope: Envelope,
    mut kept: &'a [u8],
    mut length: usize,
    fragments: &mut Fragments,
    depth: usize,
) -> Option<Datagram<'a>> {
    for depth in depth..DEEPEST {
        let size = match envelope.protocol {
            6 => return tcp(&envelope, kept, length).map(Datagram::Tcp),
            0 | 43 | 60 | 135 | 139 | 140 => 8 + usize::from(*kept.get(1)?) * 8,
            51 => 8 + usize::from(*kept.get(1)?) * 4,
            44 => {
                let (head, rest) = kept.split_first_chunk::<8>()?;
                let [next, _, high, low, id @ ..] = *head;
                let field = u16::from_be_bytes([high, low]);
                envelope.protocol = next;
                // A fragment that is the whole is no fragment (RFC 6946).
                if field & 0xfff9 != 0 {
                    let place = Place {
                        id: u32::from_be_bytes(id),
                        offset: usize::from(field & 0xfff8),
                        more: field & 1 != 0,
                    };
                    return Some(fragment(
                        fragments,
                        envelope,
                        place,
                        rest,
                        length.checked_sub(8)?,
                    ));
                }
                kept = rest;
                length = length.checked_sub(8)?;
                continue;
            }
            4 | 41 => return open_at(kept, envelope.vlan, fragments, depth + 1),
            47 => return generic_tunnel(kept, envelope.vlan, fragments, depth),
            17 => return udp_tunnel(kept, envelope.vlan, fragments, depth),
            _ => return None,
        };
        envelope.protocol = *kept.first()?;
        kept = kept.get(size..)?;
        length = length.checked_sub(size)?;
    }
    None
}

/// GRE (RFC 2784, 2890) with IP or Ethernet in it.
fn generic_tunnel<'a>(
    kept: &'a [u8],
    vlan: Vlan,
    fragments: &mut Fragments,
    depth: usize,
) -> Option<Datagram<'a>> {
    let (&[flags, version, high, low], _) = kept.split_first_chunk()?;
    if version & 7 != 0 || flags & 0x40 != 0 {
        return None;
    }
    let options = [0x80, 0x20, 0x10]
        .iter()
        .filter(|it| flags & **it != 0)
        .count();
    let inner = kept.get(4 + options * 4..)?;
    match u16::from_be_bytes([high, low]) {
        0x0800 | 0x86dd => open_at(inner, vlan, fragments, depth + 1),
        0x6558 => {
            let (vlan, ip) = link::ethernet(inner, vlan)?;
            open_at(ip, vlan, fragments, depth + 1)
        }
        _ => None,
    }
}

/// VXLAN (RFC 7348) and Geneve (RFC 8926) on their ports.
fn udp_tunnel<'a>(
    kept: &'a [u8],
    vlan: Vlan,
    fragments: &mut Fragments,
    depth: usize,
) -> Option<Datagram<'a>> {
    let port = u16::from_be_bytes(*kept.get(2..)?.first_chunk()?);
    let body = kept.get(8..)?;
    let inner = match port {
        4789 if *body.first()? == 8 => body.get(8..)?,
        6081 => {
            let options = usize::from(*body.first()? & 0x3f) * 4;
            let kind = u16::from_be_bytes(*body.get(2..)?.first_chunk()?);
            (kind == 0x6558).then_some(())?;
            body.get(8 + options..)?
        }
        _ => return None,
    };
    let (vlan, ip) = link::ethernet(inner, vlan)?;
    open_at(ip, vlan, fragments, depth + 1)
}

fn tcp<'a>(envelope: &Envelope, kept: &'a [u8], length: usize) -> Option<Segment<'a>> {
    let head = kept.first_chunk::<14>()?;
    let [
        sp_high,
        sp_low,
        dp_high,
        dp_low,
        s1,
        s2,
        s3,
        s4,
        a1,
        a2,
        a3,
        a4,
        offset,
        flags,
    ] = *head;
    let header = usize::from(offset >> 4) * 4;
    if header < 20 || header > length {
        return None;
    }
    Some(Segment {
        source: envelope.source,
        destination: envelope.destination,
        source_port: u16::from_be_bytes([sp_high, sp_low]),
        destination_port: u16::from_be_bytes([dp_high, dp_low]),
        vlan: envelope.vlan,
        sequence: u32::from_be_bytes([s1, s2, s3, s4]),
        acknowledged: u32::from_be_bytes([a1, a2, a3, a4]),
        flags,
        ttl: envelope.ttl,
        id: envelope.id,
        // Where the options were cut off there is a length all the same.
        payload: kept.get(header..).unwrap_or_default(),
        length: length - header,
    })
}
