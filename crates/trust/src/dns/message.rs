//! DNS messages (RFC 1035 4): the question we send and the reply we read.
//!
//! A reply is read whole or not at all: one broken record makes it [`Malformed`]. Names inside record data are written out and
//! put in lower case where RFC 4034 6.2 (with RFC 6840 5.1) wants the canonical form, so what is stored is what is signed.

use super::name::Name;

/// The size of UDP replies we ask for: fits every path without fragments (DNS Flag Day 2020).
const UDP_SIZE: u16 = 1232;

const FLAG_RESPONSE: u16 = 0x8000;
const FLAG_TRUNCATED: u16 = 0x0200;
const FLAG_RECURSION_DESIRED: u16 = 0x0100;
const FLAG_AUTHENTIC: u16 = 0x0020;
const FLAG_CHECKING_DISABLED: u16 = 0x0010;

/// The class Internet.
pub(crate) const CLASS_IN: u16 = 1;

/// A record type, by its IANA number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Rtype(pub u16);

#[allow(missing_docs)] // the names are IANA's
impl Rtype {
    pub const A: Self = Self(1);
    pub const NS: Self = Self(2);
    pub const CNAME: Self = Self(5);
    pub const SOA: Self = Self(6);
    pub const PTR: Self = Self(12);
    pub const MX: Self = Self(15);
    pub const TXT: Self = Self(16);
    pub const AAAA: Self = Self(28);
    pub const SRV: Self = Self(33);
    pub const DNAME: Self = Self(39);
    pub const OPT: Self = Self(41);
    pub const DS: Self = Self(43);
    pub const RRSIG: Self = Self(46);
    pub const NSEC: Self = Self(47);
    pub const DNSKEY: Self = Self(48);
    pub const NSEC3: Self = Self(50);
    pub const TLSA: Self = Self(52);
}

/// A message that cannot be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Malformed;

/// One question to a resolver.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Query {
    /// The name asked for.
    pub name: Name,
    /// The type asked for.
    pub rtype: Rtype,
    /// Ask the resolver to hand on what its own validation rejects. Off for all work; a tool that wants to know why something
    /// is bogus sets it.
    pub checking_disabled: bool,
}

impl Query {
    /// The message, with recursion desired, and DNSSEC records wanted (EDNS, DO).
    pub fn encode(&self, id: u16) -> Vec<u8> {
        let mut flags = FLAG_RECURSION_DESIRED | FLAG_AUTHENTIC;
        if self.checking_disabled {
            flags |= FLAG_CHECKING_DISABLED;
        }
        let mut message = Vec::with_capacity(64);
        for number in [id, flags, 1, 0, 0, 1] {
            message.extend_from_slice(&number.to_be_bytes());
        }
        message.extend_from_slice(self.name.as_wire());
        for number in [self.rtype.0, CLASS_IN] {
            message.extend_from_slice(&number.to_be_bytes());
        }
        // EDNS: the root's name, OPT, our size, no extended code, version 0, DO, no options.
        message.push(0);
        for number in [Rtype::OPT.0, UDP_SIZE, 0, 0x8000, 0] {
            message.extend_from_slice(&number.to_be_bytes());
        }
        message
    }

    /// Whether `reply` answers this question asked with `id`. A transport throws away what does not: it may be forged.
    pub fn is_answered_by(&self, id: u16, reply: &[u8]) -> bool {
        let Some((reply_id, flags, counts)) = header(reply) else {
            return false;
        };
        if reply_id != id || flags & FLAG_RESPONSE == 0 || counts.first() != Some(&1) {
            return false;
        }
        let Ok((name, at)) = Name::read(reply, HEADER) else {
            return false;
        };
        name == self.name
            && number(reply, at) == Some(self.rtype.0)
            && number(reply, at + 2) == Some(CLASS_IN)
    }
}

/// Whether a reply was cut to fit a datagram and must be asked for again over TCP.
pub fn is_truncated(reply: &[u8]) -> bool {
    header(reply).is_some_and(|(_, flags, _)| flags & FLAG_TRUNCATED != 0)
}

/// A record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Record {
    pub(crate) owner: Name,
    pub(crate) rtype: Rtype,
    pub(crate) ttl: u32,
    /// The data in canonical form.
    pub(crate) rdata: Vec<u8>,
}

/// A reply, read.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Reply {
    /// The response code, with the bits of EDNS.
    pub(crate) rcode: u16,
    /// The AD bit.
    pub(crate) authentic: bool,
    pub(crate) answer: Vec<Record>,
    pub(crate) authority: Vec<Record>,
    /// The first extended error (RFC 8914).
    pub(crate) extended_error: Option<u16>,
}

const HEADER: usize = 12;

fn number(message: &[u8], at: usize) -> Option<u16> {
    let octets = message.get(at..)?.first_chunk::<2>()?;
    Some(u16::from_be_bytes(*octets))
}

fn number32(message: &[u8], at: usize) -> Option<u32> {
    let octets = message.get(at..)?.first_chunk::<4>()?;
    Some(u32::from_be_bytes(*octets))
}

fn header(message: &[u8]) -> Option<(u16, u16, [u16; 4])> {
    let mut counts = [0; 4];
    for (count, at) in counts.iter_mut().zip([4, 6, 8, 10]) {
        *count = number(message, at)?;
    }
    Some((number(message, 0)?, number(message, 2)?, counts))
}

impl Reply {
    /// Reads a reply. Records of other classes are left out.
    pub(crate) fn read(message: &[u8]) -> Result<Self, Malformed> {
        let (_, flags, [questions, answers, authorities, additional]) =
            header(message).ok_or(Malformed)?;
        let mut at = HEADER;
        for _ in 0..questions {
            at = Name::read(message, at).map_err(|_| Malformed)?.1 + 4;
        }
        let mut reply = Self {
            rcode: flags & 0x000f,
            authentic: flags & FLAG_AUTHENTIC != 0,
            ..Self::default()
        };
        for _ in 0..answers {
            at = read_record(message, at, &mut |record| reply.answer.push(record))?.behind;
        }
        for _ in 0..authorities {
            at = read_record(message, at, &mut |record| reply.authority.push(record))?.behind;
        }
        for _ in 0..additional {
            let read = read_record(message, at, &mut |_| ())?;
            at = read.behind;
            if read.rtype == Rtype::OPT {
                reply.rcode |= u16::try_from(read.ttl >> 24).unwrap_or(0) << 4;
                reply.extended_error = extended_error(read.rdata);
            }
        }
        Ok(reply)
    }
}

/// A record where it stands.
struct Read<'a> {
    rtype: Rtype,
    ttl: u32,
    rdata: &'a [u8],
    behind: usize,
}

fn read_record<'a>(
    message: &'a [u8],
    at: usize,
    keep: &mut dyn FnMut(Record),
) -> Result<Read<'a>, Malformed> {
    let (owner, at) = Name::read(message, at).map_err(|_| Malformed)?;
    let rtype = Rtype(number(message, at).ok_or(Malformed)?);
    let class = number(message, at + 2).ok_or(Malformed)?;
    let ttl = number32(message, at + 4).ok_or(Malformed)?;
    let length = usize::from(number(message, at + 8).ok_or(Malformed)?);
    let from = at + 10;
    let behind = from + length;
    let rdata = message.get(from..behind).ok_or(Malformed)?;
    if class == CLASS_IN && rtype != Rtype::OPT {
        keep(Record {
            owner,
            rtype,
            // The top bit set means no time to live at all (RFC 2181 8).
            ttl: if ttl > 0x7fff_ffff { 0 } else { ttl },
            rdata: canonical(message, rtype, from, behind)?,
        });
    }
    Ok(Read {
        rtype,
        ttl,
        rdata,
        behind,
    })
}

/// The data of a record with names written out, in lower case. NSEC is left as it is (RFC 6840 5.1).
fn canonical(
    message: &[u8],
    rtype: Rtype,
    from: usize,
    behind: usize,
) -> Result<Vec<u8>, Malformed> {
    // Octets before the names, and how many names.
    let (before, names) = match rtype {
        Rtype::NS | Rtype::CNAME | Rtype::PTR | Rtype::DNAME => (0, 1),
        Rtype::SOA => (0, 2),
        Rtype::MX => (2, 1),
        Rtype::SRV => (6, 1),
        Rtype::RRSIG => (18, 1),
        _ => (behind - from, 0),
    };
    // Nothing of a record may be read from behind it.
    let message = message.get(..behind).ok_or(Malformed)?;
    let mut rdata = message.get(from..from + before).ok_or(Malformed)?.to_vec();
    let mut at = from + before;
    for _ in 0..names {
        let (name, next) = Name::read(message, at).map_err(|_| Malformed)?;
        rdata.extend_from_slice(name.as_wire());
        at = next;
    }
    rdata.extend_from_slice(message.get(at..).ok_or(Malformed)?);
    Ok(rdata)
}

/// The code of the first extended error among the options of EDNS (RFC 8914 2).
fn extended_error(mut options: &[u8]) -> Option<u16> {
    loop {
        let code = number(options, 0)?;
        let length = usize::from(number(options, 2)?);
        if code == 15 {
            return number(options, 4);
        }
        options = options.get(4 + length..)?;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn query() -> Query {
        Query {
            name: "mx.example".parse().unwrap(),
            rtype: Rtype::A,
            checking_disabled: false,
        }
    }

    /// A reply of the query with one answer whose data is `rdata`.
    fn reply(rtype: Rtype, rdata: &[u8]) -> Vec<u8> {
        let mut message = query().encode(7);
        message[2] = 0x81;
        message[7] = 1; // one answer
        message[11] = 0; // no EDNS
        message.truncate(HEADER + 12 + 4);
        message.extend_from_slice(&[0xc0, 12]);
        message.extend_from_slice(&rtype.0.to_be_bytes());
        message.extend_from_slice(&[0, 1, 0, 0, 0, 60]);
        message.extend_from_slice(&u16::try_from(rdata.len()).unwrap().to_be_bytes());
        message.extend_from_slice(rdata);
        message
    }

    #[test]
    fn a_query_asks_for_signatures_and_leaves_checking_on() {
        let message = query().encode(0x1234);
        assert_eq!(&message[..4], [0x12, 0x34, 0x01, 0x20]);
        assert_eq!(
            &message[message.len() - 11..],
            [0, 0, 41, 4, 0xd0, 0, 0, 0x80, 0, 0, 0]
        );
        let disabled = Query {
            checking_disabled: true,
            ..query()
        };
        assert_eq!(disabled.encode(1)[3] & 0x10, 0x10);
    }

    #[test]
    fn only_the_reply_to_the_question_is_its_answer() {
        let right = reply(Rtype::A, &[127, 0, 0, 1]);
        assert!(query().is_answered_by(7, &right));
        assert!(!query().is_answered_by(8, &right));
        let mut question = right.clone();
        question[2] = 0x01;
        assert!(!query().is_answered_by(7, &question));
        let mut other = right.clone();
        other[13] = b'n';
        assert!(!query().is_answered_by(7, &other));
        assert!(!query().is_answered_by(7, &right[..11]));
    }

    #[test]
    fn a_record_is_read_with_its_names_written_out() {
        let mail = reply(Rtype::MX, b"\0\x0a\x02MX\xc0\x0f");
        let read = Reply::read(&mail).unwrap();
        assert_eq!(read.answer.len(), 1);
        assert_eq!(read.answer[0].owner, query().name);
        assert_eq!(read.answer[0].ttl, 60);
        assert_eq!(read.answer[0].rdata, b"\0\x0a\x02mx\x07example\0");
    }

    #[test]
    fn a_broken_record_breaks_the_reply() {
        let whole = reply(Rtype::A, &[127, 0, 0, 1]);
        for length in 0..whole.len() {
            assert_eq!(Reply::read(&whole[..length]), Err(Malformed), "{length}");
        }
        assert_eq!(Reply::read(&reply(Rtype::MX, b"\0")), Err(Malformed));
        assert_eq!(Reply::read(&reply(Rtype::CNAME, b"\x05ab")), Err(Malformed));
    }

    #[test]
    fn truncation_is_seen() {
        let mut message = reply(Rtype::A, &[127, 0, 0, 1]);
        assert!(!is_truncated(&message));
        message[2] |= 0x02;
        assert!(is_truncated(&message));
    }

    #[test]
    fn the_extended_error_is_found() {
        assert_eq!(extended_error(&[0, 3, 0, 1, 9, 0, 15, 0, 2, 0, 7]), Some(7));
        assert_eq!(extended_error(&[0, 3, 0, 9]), None);
    }
}
