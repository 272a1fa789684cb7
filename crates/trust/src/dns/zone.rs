//! A signed zone with its verified keys, and what its keys say about records.

use std::time::Duration;

use super::anchor::Anchors;
use super::denial::{Denials, Proof};
use super::message::{Record, Reply, Rtype};
use super::name::Name;
use super::signature::{Ds, Key, Rrsig, is_supported};
use super::status::{Bogus, Status};
use super::work::Work;

/// The most keys of a zone that are looked at.
const MAX_KEYS: usize = 32;
/// The most DS records of a zone.
const MAX_DS: usize = 16;
/// The most signatures over the same records.
const MAX_SIGNATURES: usize = 8;
/// The most keys with the same tag and algorithm.
const MAX_SAME_TAG: usize = 3;

/// A zone with verified keys.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Zone {
    pub(crate) name: Name,
    keys: Vec<Key>,
}

/// Records of one owner and type with their signatures.
#[derive(Debug)]
pub(crate) struct Rrset<'a> {
    pub(crate) owner: &'a Name,
    pub(crate) rtype: Rtype,
    pub(crate) records: Vec<&'a Record>,
    pub(crate) signatures: Vec<Rrsig>,
}

/// Verified records.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Verified {
    /// How long they hold: by their TTL, and by their signature [DNSSEC-04].
    pub(crate) ttl: Duration,
    /// Set if a wildcard was expanded: the labels of its parent.
    pub(crate) expanded: Option<usize>,
}

impl<'a> Rrset<'a> {
    /// The records of an owner and type in a section; none if there are none.
    pub(crate) fn find(section: &'a [Record], owner: &'a Name, rtype: Rtype) -> Option<Self> {
        let of = |rtype| {
            section
                .iter()
                .filter(move |record| record.rtype == rtype && record.owner == *owner)
        };
        let records: Vec<_> = of(rtype).collect();
        if records.is_empty() {
            return None;
        }
        let signatures = of(Rtype::RRSIG)
            .filter_map(|record| Rrsig::from_rdata(&record.rdata))
            .filter(|signature| signature.covered == rtype && signature.may_sign(owner))
            .take(MAX_SIGNATURES)
            .collect();
        Some(Self {
            owner,
            rtype,
            records,
            signatures,
        })
    }

    /// The time the records have by themselves.
    pub(crate) fn ttl(&self) -> Duration {
        let shortest = self.records.iter().map(|record| record.ttl).min();
        Duration::from_secs(shortest.unwrap_or(0).into())
    }

    /// The zone that is said to have signed the records: the deepest.
    pub(crate) fn signer(&self) -> Option<&Name> {
        self.signatures
            .iter()
            .map(|signature| &signature.signer)
            .max_by_key(|signer| signer.depth())
    }
}

impl Zone {
    /// Whether the zone signed these records: one signature that holds is enough (RFC 6840 5.11).
    pub(crate) fn verify(
        &self,
        set: &Rrset<'_>,
        now: u32,
        work: &mut Work,
    ) -> Result<Verified, Status> {
        let mut why = Bogus::SignatureMissing;
        for signature in &set.signatures {
            if signature.signer != self.name || !is_supported(signature.algorithm) {
                continue;
            }
            let left = match signature.seconds_left(now) {
                Ok(left) => left,
                Err(reason) => {
                    why = reason;
                    continue;
                }
            };
            let named = self.keys.iter().filter(|key| signature.names(key));
            let mut found = false;
            for key in named.take(MAX_SAME_TAG) {
                found = true;
                work.signature()?;
                if signature.is_valid(set.owner, &set.records, key, &work.known) {
                    return Ok(verified(set, signature, left));
                }
                work.failure()?;
            }
            why = if found {
                Bogus::SignatureInvalid
            } else {
                Bogus::KeyMissing
            };
        }
        Err(Status::Bogus(why))
    }

    /// The denials of this zone in a reply, verified, with how long they hold.
    pub(crate) fn denials(
        &self,
        reply: &Reply,
        now: u32,
        work: &mut Work,
    ) -> Result<(Denials, Duration), Status> {
        let mut ttl = Duration::MAX;
        let mut verified: Vec<&Record> = Vec::new();
        let mut last = Ok(());
        for set in denial_sets(reply) {
            match self.verify(&set, now, work) {
                // A denial is never made from a wildcard.
                Ok(found) if found.expanded.is_none() => {
                    ttl = ttl.min(found.ttl);
                    verified.extend(&set.records);
                }
                Ok(_) => (),
                Err(status @ Status::Bogus(_)) => last = Err(status),
                Err(status) => return Err(status),
            }
        }
        if verified.is_empty() {
            last?;
        }
        Ok((Denials::new(&self.name, verified), ttl))
    }

    /// Whether the wildcard that answered for `name` may do so.
    pub(crate) fn check_wildcard(
        &self,
        reply: &Reply,
        name: &Name,
        labels: usize,
        now: u32,
        work: &mut Work,
    ) -> Result<(Status, Duration), Status> {
        let (denials, ttl) = self.denials(reply, now, work)?;
        match denials.wildcard_may_answer(name, labels) {
            Proof::Proven => Ok((Status::Secure, ttl)),
            Proof::Unsigned => Ok((Status::Insecure, ttl)),
            Proof::Missing => Err(Status::Bogus(Bogus::WildcardUnproven)),
        }
    }

    /// The zone made of a DNSKEY reply, if one key that `trusted` accepts signed all of them (RFC 4035 5.2, 5.3).
    pub(crate) fn from_reply(
        name: &Name,
        reply: &Reply,
        trusted: impl Fn(&Key) -> bool,
        now: u32,
        work: &mut Work,
    ) -> Result<(Self, Duration), Status> {
        let set = Rrset::find(&reply.answer, name, Rtype::DNSKEY)
            .ok_or(Status::Bogus(Bogus::KeyMissing))?;
        let keys: Vec<Key> = set
            .records
            .iter()
            .take(MAX_KEYS)
            .filter_map(|record| Key::from_rdata(&record.rdata))
            .filter(Key::is_usable)
            .collect();
        let entry = Self {
            name: name.clone(),
            keys: keys.iter().filter(|key| trusted(key)).cloned().collect(),
        };
        if entry.keys.is_empty() {
            return Err(Status::Bogus(Bogus::KeyUnproven));
        }
        let verified = entry.verify(&set, now, work)?;
        let zone = Self {
            name: name.clone(),
            keys,
        };
        Ok((zone, verified.ttl))
    }

    /// The keys of a zone by the trust anchors.
    pub(crate) fn at_anchor(
        name: &Name,
        reply: &Reply,
        anchors: &Anchors,
        now: u32,
        work: &mut Work,
    ) -> Result<(Self, Duration), Status> {
        Self::from_reply(name, reply, |key| anchors.trust(name, key), now, work)
    }
}

fn verified(set: &Rrset<'_>, signature: &Rrsig, left: u32) -> Verified {
    let signed = signature.original_ttl.min(left);
    Verified {
        ttl: set.ttl().min(Duration::from_secs(signed.into())),
        expanded: signature
            .is_expanded(set.owner)
            .then_some(usize::from(signature.labels)),
    }
}

/// The NSEC and NSEC3 sets of a reply.
pub(crate) fn denial_sets(reply: &Reply) -> Vec<Rrset<'_>> {
    /// NXDOMAIN wants three; a CNAME chain with wildcards a few more.
    const MAX_SETS: usize = 16;
    let mut seen: Vec<(&Name, Rtype)> = Vec::new();
    for record in &reply.authority {
        let key = (&record.owner, record.rtype);
        if matches!(record.rtype, Rtype::NSEC | Rtype::NSEC3) && !seen.contains(&key) {
            seen.push(key);
        }
    }
    seen.into_iter()
        .take(MAX_SETS)
        .filter_map(|(owner, rtype)| Rrset::find(&reply.authority, owner, rtype))
        .collect()
}

/// The DS records by which a child's keys are known: those understood here, and of these not SHA-1 where better stands beside it
/// (RFC 4509 3). None understood: the child counts as unsigned.
pub(crate) fn usable_ds(set: &Rrset<'_>) -> Vec<Ds> {
    let supported: Vec<Ds> = set
        .records
        .iter()
        .filter_map(|record| Ds::from_rdata(&record.rdata))
        .filter(Ds::is_supported)
        .take(MAX_DS)
        .collect();
    let better = supported.iter().any(|ds| ds.digest_type != 1);
    supported
        .into_iter()
        .filter(|ds| !better || ds.digest_type != 1)
        .collect()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::super::signature::{Known, key_tag};
    use super::super::work::SPENT;
    use super::*;

    fn record(rtype: Rtype, rdata: Vec<u8>) -> Record {
        Record {
            owner: "mx.example".parse().unwrap(),
            rtype,
            ttl: 60,
            rdata,
        }
    }

    /// Keys that all have the same tag: pairs of octets trade places.
    fn same_tag(count: u8) -> Vec<Key> {
        let key = |number: u8| {
            let mut rdata = vec![1, 0, 3, 13];
            rdata.extend([0; 64]);
            rdata[4] = number;
            rdata[6] = 255 - number;
            Key::from_rdata(&rdata).unwrap()
        };
        (0..count).map(key).collect()
    }

    /// A wrong signature that names that tag.
    fn signature(tag: u16, number: u8) -> Record {
        let mut rdata = vec![0, 1, 13, 2, 0, 0, 0, 60, 0x7f, 0, 0, 0, 0, 0, 0, 0];
        rdata.extend(tag.to_be_bytes());
        rdata.extend(b"\x07example\0");
        rdata.extend([number; 64]);
        record(Rtype::RRSIG, rdata)
    }

    // CVE-2023-50387: many keys of one tag times many signatures
    #[test]
    fn many_keys_and_signatures_do_not_multiply() {
        let keys = same_tag(30);
        let tag = key_tag(&[vec![1, 0, 3, 13, 0, 0, 255], vec![0; 61]].concat());
        let zone = Zone {
            name: "example".parse().unwrap(),
            keys,
        };
        let mut section = vec![record(Rtype::A, vec![127, 0, 0, 1])];
        section.extend((0..100).map(|number| signature(tag, number)));
        let owner = section[0].owner.clone();
        let set = Rrset::find(&section, &owner, Rtype::A).unwrap();
        assert_eq!(set.signatures.len(), MAX_SIGNATURES);
        assert!(zone.keys.iter().all(|key| set.signatures[0].names(key)));
        let mut work = Work::new(Arc::new(Known::new(10)));
        assert_eq!(zone.verify(&set, 1000, &mut work), Err(SPENT));
        let looked_at = (0..1000).take_while(|_| work.signature().is_ok()).count();
        assert!(
            looked_at >= 90,
            "only {} may have been looked at",
            100 - looked_at
        );
        // With fewer signatures, each is tried with a few keys only.
        let section = &section[..2];
        let set = Rrset::find(section, &owner, Rtype::A).unwrap();
        let mut work = Work::new(Arc::new(Known::new(10)));
        let refused = Err(Status::Bogus(Bogus::SignatureInvalid));
        assert_eq!(zone.verify(&set, 1000, &mut work), refused);
        let left = (0..1000).take_while(|_| work.signature().is_ok()).count();
        assert_eq!(left, 100 - MAX_SAME_TAG);
    }
}
