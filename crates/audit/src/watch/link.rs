//! Link layers, from a packet to the IP datagram in it.
//!
//! VLAN tags in any depth, MPLS, PPP and `PPPoE`, the cooked forms of Linux, loopback and raw forms. What is not known is named, so
//! that "nothing found" is never said of what was not looked at.

/// The tags of the networks a packet was seen in, folded into one number; 0 is none.
pub type Vlan = u32;

/// What a packet holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Payload<'a> {
    /// An IP datagram.
    Ip(Vlan, &'a [u8]),
    /// Something else, or too little of it.
    Other,
    /// A link layer that is not known.
    UnknownLink,
}

/// Looks into a packet of this link type.
#[must_use]
pub fn open(link: u32, octets: &[u8]) -> Payload<'_> {
    let found = match link {
        1 => ethernet(octets, 0),
        0 => family(octets.first_chunk().map(|it| {
            let value = u32::from_le_bytes(*it);
            // The writer's byte order; the families are small numbers.
            if value > 0xffff {
                value.swap_bytes()
            } else {
                value
            }
        }))
        .and_then(|()| octets.get(4..).map(|rest| (0, rest))),
        108 => family(octets.first_chunk().map(|it| u32::from_be_bytes(*it)))
            .and_then(|()| octets.get(4..).map(|rest| (0, rest))),
        12 | 14 | 101 | 228 | 229 => Some((0, octets)),
        113 => typed(octets, 14, 16),
        276 => typed(octets, 0, 20),
        9 | 50 => ppp(octets),
        51 => pppoe(octets),
        104 => typed(octets, 2, 4),
        239 => netfilter(octets),
        _ => return Payload::UnknownLink,
    };
    match found {
        Some((vlan, ip)) if matches!(ip.first().map(|it| it >> 4), Some(4 | 6)) => {
            Payload::Ip(vlan, ip)
        }
        _ => Payload::Other,
    }
}

type Found<'a> = Option<(Vlan, &'a [u8])>;

/// The address families of IP in the systems that write these captures.
fn family(value: Option<u32>) -> Option<()> {
    matches!(value?, 2 | 10 | 24 | 28 | 30).then_some(())
}

/// A header of `length` octets with an Ethernet type at `at`.
fn typed(octets: &[u8], at: usize, length: usize) -> Found<'_> {
    let kind = u16::from_be_bytes(*octets.get(at..)?.first_chunk()?);
    by_type(kind, octets.get(length..)?, 0, 0)
}

/// An Ethernet frame, also one inside a tunnel.
pub(super) fn ethernet(octets: &[u8], vlan: Vlan) -> Found<'_> {
    let kind = u16::from_be_bytes(*octets.get(12..)?.first_chunk()?);
    by_type(kind, octets.get(14..)?, vlan, 0)
}

fn by_type(mut kind: u16, mut rest: &[u8], mut vlan: Vlan, depth: usize) -> Found<'_> {
    // A packet of 64 KiB holds no more tags than the loop can pass in no time.
    loop {
        match kind {
            0x8100 | 0x88a8 | 0x9100 | 0x9200 => {
                let (tag, behind) = rest.split_first_chunk::<4>()?;
                let [high, low, next_high, next_low] = *tag;
                let id = u32::from(u16::from_be_bytes([high, low]) & 0x0fff);
                // The number 0 is a priority without a network.
                if id != 0 {
                    vlan = vlan.rotate_left(12) ^ (id + 1);
                }
                kind = u16::from_be_bytes([next_high, next_low]);
                rest = behind;
            }
            0x0800 | 0x86dd => return Some((vlan, rest)),
            0x8847 | 0x8848 => return mpls(rest, vlan, depth),
            0x8864 => return pppoe(rest).map(|(_, ip)| (vlan, ip)),
            0x6558 if depth < 4 => return ethernet(rest, vlan),
            _ => return None,
        }
    }
}

/// Labels up to the bottom of the stack; then IP, or an Ethernet frame behind a control word (RFC 3032, RFC 4448).
fn mpls(mut rest: &[u8], vlan: Vlan, depth: usize) -> Found<'_> {
    loop {
        let (label, behind) = rest.split_first_chunk::<4>()?;
        rest = behind;
        if label.get(2).is_some_and(|it| it & 1 == 1) {
            break;
        }
    }
    match rest.first()? >> 4 {
        4 | 6 => Some((vlan, rest)),
        0 if depth < 4 => {
            let frame = rest.get(4..)?;
            let kind = u16::from_be_bytes(*frame.get(12..)?.first_chunk()?);
            by_type(kind, frame.get(14..)?, vlan, depth + 1)
        }
        _ => None,
    }
}

/// A session of `PPPoE` (RFC 2516).
fn pppoe(octets: &[u8]) -> Found<'_> {
    (*octets.first()? == 0x11 && *octets.get(1)? == 0).then_some(())?;
    ppp(octets.get(6..)?)
}

/// PPP, with or without its address and control, and with a protocol of one or two octets (RFC 1661, 1662).
fn ppp(octets: &[u8]) -> Found<'_> {
    let octets = octets.strip_prefix(&[0xff, 0x03]).unwrap_or(octets);
    match octets {
        [0x00, 0x21 | 0x57, rest @ ..] | [0x21 | 0x57, rest @ ..] => Some((0, rest)),
        _ => None,
    }
}

/// The log of Linux' netfilter: attributes, one of which is the packet.
fn netfilter(octets: &[u8]) -> Found<'_> {
    let mut rest = octets.get(4..)?;
    loop {
        let length = usize::from(u16::from_le_bytes(*rest.first_chunk()?));
        let kind = u16::from_le_bytes(*rest.get(2..)?.first_chunk()?);
        if length < 4 {
            return None;
        }
        if kind & 0x7fff == 9 {
            return Some((0, rest.get(4..length)?));
        }
        rest = rest.get(length.next_multiple_of(4)..)?;
    }
}
