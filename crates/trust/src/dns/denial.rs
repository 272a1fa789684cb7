//! Proofs that there is no such name or record: NSEC (RFC 4035 5.4) and NSEC3 (RFC 5155 8), with the traps of RFC 6840 4: what
//! stands at a delegation proves nothing about the zone below it, and what stands at the top of a zone nothing about its DS.
//!
//! Everything here is given records whose signatures were verified. More than 100 rounds of NSEC3 count as unsigned (RFC 9276 3.2).

use aws_lc_rs::digest;

use super::message::{Record, Rtype};
use super::name::Name;

/// More rounds of hashing than this make a zone insecure.
const MAX_ITERATIONS: u16 = 100;

/// How far a proof reaches.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Proof {
    /// Proven.
    Proven,
    /// Only that what is asked for would not be signed: a delegation may stand in a span of NSEC3 with opt-out, or the hashes are
    /// too costly.
    Unsigned,
    /// Not proven.
    Missing,
}

/// What stands between a name and the zone above it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Cut {
    /// The name belongs to the zone, or does not exist.
    None,
    /// A zone begins there, or may begin there, which is not signed.
    Unsigned,
    /// Nothing is proven.
    Unproven,
}

/// The types a name has (RFC 4034 4.1.2).
#[derive(Debug, Clone, PartialEq, Eq)]
struct Types(Vec<u8>);

impl Types {
    fn has(&self, rtype: Rtype) -> bool {
        let [window, low] = rtype.0.to_be_bytes();
        let mut rest = &*self.0;
        while let [number, length, tail @ ..] = rest {
            let Some((bits, tail)) = tail.split_at_checked(usize::from(*length)) else {
                return false;
            };
            if *number == window {
                let octet = bits.get(usize::from(low / 8)).copied().unwrap_or(0);
                return octet & (0x80 >> (low % 8)) != 0;
            }
            rest = tail;
        }
        false
    }

    /// Delegated to another zone: NS without SOA.
    fn is_delegation(&self) -> bool {
        self.has(Rtype::NS) && !self.has(Rtype::SOA)
    }

    /// Whether names below may belong elsewhere.
    fn leads_away(&self) -> bool {
        self.is_delegation() || self.has(Rtype::DNAME)
    }

    /// Whether the owner of these types has no records of a type.
    fn deny(&self, rtype: Rtype) -> bool {
        if self.has(rtype) || self.has(Rtype::CNAME) {
            return false;
        }
        if rtype == Rtype::DS {
            !self.has(Rtype::SOA)
        } else {
            !self.is_delegation()
        }
    }

    fn cut(&self) -> Cut {
        if self.has(Rtype::DS) || self.has(Rtype::SOA) {
            Cut::Unproven
        } else if self.has(Rtype::NS) {
            Cut::Unsigned
        } else {
            Cut::None
        }
    }
}

#[derive(Debug)]
struct Nsec {
    owner: Name,
    next: Name,
    types: Types,
}

#[derive(Debug)]
struct Nsec3 {
    hash: Vec<u8>,
    next: Vec<u8>,
    opt_out: bool,
    types: Types,
}

/// How names are hashed.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Hashing {
    iterations: u16,
    salt: Vec<u8>,
}

/// The denials of one zone in one reply.
#[derive(Debug)]
pub(crate) struct Denials {
    zone: Name,
    nsec: Vec<Nsec>,
    hashing: Option<Hashing>,
    nsec3: Vec<Nsec3>,
}

impl Denials {
    /// The denials among verified records of a zone.
    pub(crate) fn new<'a>(zone: &Name, records: impl IntoIterator<Item = &'a Record>) -> Self {
        let mut denials = Self {
            zone: zone.clone(),
            nsec: Vec::new(),
            hashing: None,
            nsec3: Vec::new(),
        };
        for record in records {
            match record.rtype {
                Rtype::NSEC => denials.nsec.extend(Nsec::read(record)),
                Rtype::NSEC3 => denials.add_nsec3(record),
                _ => (),
            }
        }
        denials
    }

    fn add_nsec3(&mut self, record: &Record) {
        if record.owner.parent().as_ref() != Some(&self.zone) {
            return;
        }
        let Some((hashing, nsec3)) = Nsec3::read(record) else {
            return;
        };
        // One zone hashes one way (RFC 5155 8.2): what differs is left out.
        if *self.hashing.get_or_insert(hashing.clone()) == hashing {
            self.nsec3.push(nsec3);
        }
    }

    fn hash(&self, name: &Name) -> Vec<u8> {
        self.hashing
            .as_ref()
            .map_or_else(Vec::new, |hashing| hashing.hash(name))
    }

    fn is_too_costly(&self) -> bool {
        self.hashing
            .as_ref()
            .is_some_and(|hashing| hashing.iterations > MAX_ITERATIONS)
    }

    /// That `name` exists, or stands between names that do, but has no records of this type.
    pub(crate) fn no_data(&self, name: &Name, rtype: Rtype) -> Proof {
        if self.nsec.iter().any(|nsec| nsec.denies(name, rtype)) {
            return Proof::Proven;
        }
        if let Some(closest) = self.nsec_closest_encloser(name)
            && let Ok(wildcard) = closest.wildcard()
            && self
                .nsec
                .iter()
                .any(|nsec| nsec.owner == wildcard && nsec.types.deny(rtype))
        {
            return Proof::Proven;
        }
        self.no_data_nsec3(name, rtype)
    }

    fn no_data_nsec3(&self, name: &Name, rtype: Rtype) -> Proof {
        if self.nsec3.is_empty() {
            return Proof::Missing;
        }
        if self.is_too_costly() {
            return Proof::Unsigned;
        }
        if let Some(nsec3) = self.matching(name) {
            return if nsec3.types.deny(rtype) {
                Proof::Proven
            } else {
                Proof::Missing
            };
        }
        let Some((closest, cover)) = self.closest_encloser(name) else {
            return Proof::Missing;
        };
        let wildcard = closest
            .wildcard()
            .ok()
            .and_then(|name| self.matching(&name));
        // In a span with opt-out an unsigned delegation may stand at the name, whatever the wildcard says.
        match wildcard {
            Some(wildcard) if !wildcard.types.deny(rtype) => Proof::Missing,
            _ if cover.opt_out => Proof::Unsigned,
            Some(_) => Proof::Proven,
            None => Proof::Missing,
        }
    }

    /// That `name` does not exist, and no wildcard stands for it.
    pub(crate) fn no_name(&self, name: &Name) -> Proof {
        if let Some(closest) = self.nsec_closest_encloser(name)
            && let Ok(wildcard) = closest.wildcard()
            && self
                .nsec
                .iter()
                .any(|nsec| nsec.covers(&wildcard, &self.zone))
        {
            return Proof::Proven;
        }
        if self.nsec3.is_empty() {
            return Proof::Missing;
        }
        if self.is_too_costly() {
            return Proof::Unsigned;
        }
        let Some((closest, cover)) = self.closest_encloser(name) else {
            return Proof::Missing;
        };
        let no_wildcard = closest
            .wildcard()
            .is_ok_and(|wildcard| self.covering(&wildcard).is_some());
        match (no_wildcard, cover.opt_out) {
            (false, _) => Proof::Missing,
            (true, true) => Proof::Unsigned,
            (true, false) => Proof::Proven,
        }
    }

    /// That a wildcard whose parent has `labels` labels may answer for `name`: nothing closer exists (RFC 4035 5.3.4, RFC 5155
    /// 8.8).
    pub(crate) fn wildcard_may_answer(&self, name: &Name, labels: usize) -> Proof {
        let closest = name.last(labels);
        if self.nsec_closest_encloser(name) == Some(closest) {
            return Proof::Proven;
        }
        if self.nsec3.is_empty() {
            return Proof::Missing;
        }
        if self.is_too_costly() {
            return Proof::Unsigned;
        }
        match self.covering(&name.last(labels + 1)) {
            Some(cover) if cover.opt_out => Proof::Unsigned,
            Some(_) => Proof::Proven,
            None => Proof::Missing,
        }
    }

    /// Whether another zone begins at `name`, which has no DS.
    pub(crate) fn cut(&self, name: &Name) -> Cut {
        if let Some(nsec) = self.nsec.iter().find(|nsec| nsec.owner == *name) {
            return nsec.types.cut();
        }
        if self.nsec.iter().any(|nsec| nsec.covers(name, &self.zone)) {
            // Between two names: it does not exist, or has only names below it, or a wildcard answered. No delegation.
            return Cut::None;
        }
        if self.nsec3.is_empty() {
            return Cut::Unproven;
        }
        if self.is_too_costly() {
            return Cut::Unsigned;
        }
        if let Some(nsec3) = self.matching(name) {
            return nsec3.types.cut();
        }
        match self.closest_encloser(name) {
            Some((_, cover)) if cover.opt_out => Cut::Unsigned,
            Some(_) => Cut::None,
            None => Cut::Unproven,
        }
    }

    /// The closest existing ancestor of a name that an NSEC covers; none if no NSEC does, or the name exists.
    fn nsec_closest_encloser(&self, name: &Name) -> Option<Name> {
        let cover = self
            .nsec
            .iter()
            .find(|nsec| nsec.covers(name, &self.zone))?;
        if cover.next.is_within(name) {
            return None;
        }
        let (before, after) = (name.common(&cover.owner), name.common(&cover.next));
        Some(if after.depth() > before.depth() {
            after
        } else {
            before
        })
    }

    fn matching(&self, name: &Name) -> Option<&Nsec3> {
        let hash = self.hash(name);
        self.nsec3.iter().find(|nsec3| nsec3.hash == hash)
    }

    fn covering(&self, name: &Name) -> Option<&Nsec3> {
        let hash = self.hash(name);
        self.nsec3.iter().find(|nsec3| nsec3.covers(&hash))
    }

    /// RFC 5155 8.3: the closest existing ancestor, with what covers the name one label longer.
    fn closest_encloser(&self, name: &Name) -> Option<(Name, &Nsec3)> {
        for labels in (self.zone.depth()..name.depth()).rev() {
            let candidate = name.last(labels);
            if let Some(nsec3) = self.matching(&candidate) {
                if nsec3.types.leads_away() {
                    return None;
                }
                let cover = self.covering(&name.last(labels + 1))?;
                return Some((candidate, cover));
            }
        }
        None
    }
}

impl Nsec {
    fn read(record: &Record) -> Option<Self> {
        let (next, behind) = Name::read(&record.rdata, 0).ok()?;
        Some(Self {
            owner: record.owner.clone(),
            next,
            types: Types(record.rdata.get(behind..)?.to_vec()),
        })
    }

    /// Whether `name` would stand between this owner and the next.
    fn covers(&self, name: &Name, zone: &Name) -> bool {
        if name.is_within(&self.owner) && self.types.leads_away() {
            return false;
        }
        let before_next = *name < self.next || self.next == *zone;
        self.owner < *name && before_next && name.is_within(zone)
    }

    fn denies(&self, name: &Name, rtype: Rtype) -> bool {
        if self.owner == *name {
            return self.types.deny(rtype);
        }
        // An empty name between others: the next name stands below it.
        self.owner < *name
            && *name < self.next
            && self.next.is_within(name)
            && !(name.is_within(&self.owner) && self.types.leads_away())
    }
}

impl Hashing {
    /// RFC 5155 5.
    fn hash(&self, name: &Name) -> Vec<u8> {
        let mut octets = name.as_wire().to_vec();
        for _ in 0..=self.iterations {
            octets.extend_from_slice(&self.salt);
            octets = digest::digest(&digest::SHA1_FOR_LEGACY_USE_ONLY, &octets)
                .as_ref()
                .to_vec();
        }
        octets
    }
}

impl Nsec3 {
    fn read(record: &Record) -> Option<(Hashing, Self)> {
        let [1, flags @ 0..=1, high, low, rest @ ..] = &*record.rdata else {
            return None;
        };
        let (salt, rest) = counted(rest)?;
        let (next, types) = counted(rest)?;
        let hashing = Hashing {
            iterations: u16::from_be_bytes([*high, *low]),
            salt: salt.to_vec(),
        };
        let nsec3 = Self {
            hash: base32hex(record.owner.labels().first()?)?,
            next: next.to_vec(),
            opt_out: *flags == 1,
            types: Types(types.to_vec()),
        };
        Some((hashing, nsec3))
    }

    fn covers(&self, hash: &[u8]) -> bool {
        let (own, next) = (&*self.hash, &*self.next);
        if own < next {
            own < hash && hash < next
        } else {
            // The last of the zone leads back to the first; alone, it covers all but itself.
            own < hash || hash < next
        }
    }
}

fn counted(octets: &[u8]) -> Option<(&[u8], &[u8])> {
    let (length, rest) = octets.split_first()?;
    rest.split_at_checked(usize::from(*length))
}

/// Base 32 with extended hex alphabet (RFC 4648 7), in lower case as names are here.
fn base32hex(text: &[u8]) -> Option<Vec<u8>> {
    let (mut bits, mut count, mut octets) = (0u32, 0u32, Vec::with_capacity(20));
    for digit in text {
        let value = char::from(*digit).to_digit(32)?;
        bits = (bits << 5 | value) & 0xffff;
        count += 5;
        if count >= 8 {
            count -= 8;
            octets.push(u8::try_from(bits >> count & 0xff).ok()?);
        }
    }
    Some(octets)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(text: &str) -> Name {
        text.parse().unwrap()
    }

    fn bitmap(types: &[Rtype]) -> Vec<u8> {
        let mut bits = vec![0; 32];
        for rtype in types {
            bits[usize::from(rtype.0) / 8] |= 0x80 >> (rtype.0 % 8);
        }
        [vec![0, 32], bits].concat()
    }

    fn nsec(owner: &str, next: &str, types: &[Rtype]) -> Record {
        Record {
            owner: name(owner),
            rtype: Rtype::NSEC,
            ttl: 60,
            rdata: [name(next).as_wire(), &bitmap(types)].concat(),
        }
    }

    fn denials(records: &[Record]) -> Denials {
        Denials::new(&name("example"), records)
    }

    #[test]
    fn the_hash_is_that_of_rfc_5155() {
        let hashing = Hashing {
            iterations: 12,
            salt: vec![0xaa, 0xbb, 0xcc, 0xdd],
        };
        // RFC 5155 appendix A.
        let expected = base32hex(b"0p9mhaveqvm6t7vbl5lop2u3t2rp3tom").unwrap();
        assert_eq!(hashing.hash(&name("example")), expected);
    }

    #[test]
    fn types_at_the_name_deny_others() {
        let proof = denials(&[nsec("mx.example", "www.example", &[Rtype::A])]);
        assert_eq!(
            proof.no_data(&name("mx.example"), Rtype::TLSA),
            Proof::Proven
        );
        assert_eq!(proof.no_data(&name("mx.example"), Rtype::A), Proof::Missing);
        assert_eq!(proof.no_data(&name("my.example"), Rtype::A), Proof::Missing);
    }

    #[test]
    fn a_cname_denies_nothing() {
        let proof = denials(&[nsec("mx.example", "www.example", &[Rtype::CNAME])]);
        assert_eq!(
            proof.no_data(&name("mx.example"), Rtype::TLSA),
            Proof::Missing
        );
    }

    #[test]
    fn the_parent_denies_nothing_of_its_child() {
        let types = [Rtype::NS, Rtype::DS];
        let proof = denials(&[nsec("child.example", "www.example", &types)]);
        assert_eq!(
            proof.no_data(&name("child.example"), Rtype::A),
            Proof::Missing
        );
        assert_eq!(proof.no_name(&name("mx.child.example")), Proof::Missing);
        assert_eq!(proof.cut(&name("child.example")), Cut::Unproven);
    }

    #[test]
    fn the_child_does_not_deny_its_ds() {
        let proof = denials(&[nsec("example", "www.example", &[Rtype::NS, Rtype::SOA])]);
        assert_eq!(proof.no_data(&name("example"), Rtype::DS), Proof::Missing);
        assert_eq!(proof.cut(&name("example")), Cut::Unproven);
        assert_eq!(proof.no_data(&name("example"), Rtype::MX), Proof::Proven);
    }

    #[test]
    fn a_name_is_denied_with_its_wildcard_or_not_at_all() {
        let between = nsec("mx.example", "www.example", &[Rtype::A]);
        let wildcard = nsec("example", "mx.example", &[Rtype::SOA, Rtype::NS]);
        let missing = name("no.example");
        assert_eq!(
            denials(std::slice::from_ref(&between)).no_name(&missing),
            Proof::Missing
        );
        assert_eq!(
            denials(&[between, wildcard]).no_name(&missing),
            Proof::Proven
        );
    }

    #[test]
    fn an_empty_name_between_others_has_no_data() {
        let proof = denials(&[nsec("a.example", "_25._tcp.mx.example", &[Rtype::A])]);
        assert_eq!(proof.no_data(&name("mx.example"), Rtype::A), Proof::Proven);
        assert_eq!(proof.no_name(&name("mx.example")), Proof::Missing);
        assert_eq!(proof.cut(&name("mx.example")), Cut::None);
    }

    #[test]
    fn delegations_are_told_from_names() {
        let unsigned = nsec("child.example", "www.example", &[Rtype::NS]);
        assert_eq!(
            denials(&[unsigned]).cut(&name("child.example")),
            Cut::Unsigned
        );
        let host = nsec("child.example", "www.example", &[Rtype::A]);
        assert_eq!(denials(&[host]).cut(&name("child.example")), Cut::None);
        assert_eq!(denials(&[]).cut(&name("child.example")), Cut::Unproven);
    }

    #[test]
    fn a_wildcard_answers_only_what_does_not_exist() {
        let proof = denials(&[nsec("mx.example", "www.example", &[Rtype::A])]);
        assert_eq!(
            proof.wildcard_may_answer(&name("no.example"), 1),
            Proof::Proven
        );
        assert_eq!(
            proof.wildcard_may_answer(&name("mx.example"), 1),
            Proof::Missing
        );
        assert_eq!(
            proof.wildcard_may_answer(&name("a.mx.example"), 1),
            Proof::Missing
        );
    }
}
