//! Keys and signatures of DNSSEC (RFC 4034): DNSKEY, DS and RRSIG records, and whether a signature fits.
//!
//! Algorithms: RSA with SHA-1 (5 and 7: still met, RFC 9905 lets validators go on), SHA-256 (8), SHA-512 (10), ECDSA P-256 (13)
//! and P-384 (14), Ed25519 (15). What is not known here counts as unsigned where only such algorithms are announced (RFC 4035 5.2).

use aws_lc_rs::digest;
use aws_lc_rs::signature::{self, RsaParameters, RsaPublicKeyComponents, UnparsedPublicKey};

use super::cache::Bounded;
use super::message::{CLASS_IN, Record, Rtype};
use super::name::Name;
use super::status::Bogus;

/// A key of a zone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Key {
    tag: u16,
    flags: u16,
    protocol: u8,
    algorithm: u8,
    public: Vec<u8>,
    rdata: Vec<u8>,
}

impl Key {
    pub(crate) fn from_rdata(rdata: &[u8]) -> Option<Self> {
        let (flags, rest) = rdata.split_first_chunk::<2>()?;
        let [protocol, algorithm, public @ ..] = rest else {
            return None;
        };
        Some(Self {
            tag: key_tag(rdata),
            flags: u16::from_be_bytes(*flags),
            protocol: *protocol,
            algorithm: *algorithm,
            public: public.to_vec(),
            rdata: rdata.to_vec(),
        })
    }

    /// A key of a zone that is not revoked (RFC 4034 2.1.1, RFC 5011 2.1).
    pub(crate) fn is_usable(&self) -> bool {
        const ZONE: u16 = 0x0100;
        const REVOKED: u16 = 0x0080;
        self.flags & ZONE != 0 && self.flags & REVOKED == 0 && self.protocol == 3
    }

    pub(crate) fn algorithm(&self) -> u8 {
        self.algorithm
    }
}

/// RFC 4034 appendix B.
pub(super) fn key_tag(rdata: &[u8]) -> u16 {
    let mut sum: u32 = 0;
    for (position, octet) in rdata.iter().enumerate() {
        let octet = u32::from(*octet);
        sum = sum.wrapping_add(if position % 2 == 0 { octet << 8 } else { octet });
    }
    sum = sum.wrapping_add(sum >> 16);
    u16::try_from(sum & 0xffff).unwrap_or(0)
}

/// A hash of a key, in the parent zone or as trust anchor.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Ds {
    pub(crate) tag: u16,
    pub(crate) algorithm: u8,
    pub(crate) digest_type: u8,
    pub(crate) digest: Vec<u8>,
}

impl Ds {
    pub(crate) fn from_rdata(rdata: &[u8]) -> Option<Self> {
        let (tag, rest) = rdata.split_first_chunk::<2>()?;
        let [algorithm, digest_type, digest @ ..] = rest else {
            return None;
        };
        Some(Self {
            tag: u16::from_be_bytes(*tag),
            algorithm: *algorithm,
            digest_type: *digest_type,
            digest: digest.to_vec(),
        })
    }

    /// Whether algorithm and digest are known here.
    pub(crate) fn is_supported(&self) -> bool {
        is_supported(self.algorithm) && digest_of(self.digest_type).is_some()
    }

    /// Whether this is the hash of `key` of `zone` (RFC 4034 5.1.4).
    pub(crate) fn fits(&self, zone: &Name, key: &Key) -> bool {
        if self.tag != key.tag || self.algorithm != key.algorithm {
            return false;
        }
        let Some(algorithm) = digest_of(self.digest_type) else {
            return false;
        };
        let mut context = digest::Context::new(algorithm);
        context.update(zone.as_wire());
        context.update(&key.rdata);
        context.finish().as_ref() == self.digest
    }
}

fn digest_of(digest_type: u8) -> Option<&'static digest::Algorithm> {
    match digest_type {
        1 => Some(&digest::SHA1_FOR_LEGACY_USE_ONLY),
        2 => Some(&digest::SHA256),
        4 => Some(&digest::SHA384),
        _ => None,
    }
}

/// Whether signatures of an algorithm can be verified here.
pub(crate) fn is_supported(algorithm: u8) -> bool {
    matches!(algorithm, 5 | 7 | 8 | 10 | 13 | 14 | 15)
}

/// A signature over the records of one owner and type.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Rrsig {
    pub(crate) covered: Rtype,
    pub(crate) algorithm: u8,
    pub(crate) labels: u8,
    pub(crate) original_ttl: u32,
    expiration: u32,
    inception: u32,
    tag: u16,
    pub(crate) signer: Name,
    /// The data up to the signature itself: it is signed, too.
    head: Vec<u8>,
    signature: Vec<u8>,
}

impl Rrsig {
    pub(crate) fn from_rdata(rdata: &[u8]) -> Option<Self> {
        let (covered, rest) = rdata.split_first_chunk::<2>()?;
        let ([algorithm, labels], rest) = rest.split_first_chunk::<2>()?;
        let (original_ttl, rest) = rest.split_first_chunk::<4>()?;
        let (expiration, rest) = rest.split_first_chunk::<4>()?;
        let (inception, rest) = rest.split_first_chunk::<4>()?;
        let (tag, _) = rest.split_first_chunk::<2>()?;
        let (signer, behind) = Name::read(rdata, 18).ok()?;
        Some(Self {
            covered: Rtype(u16::from_be_bytes(*covered)),
            algorithm: *algorithm,
            labels: *labels,
            original_ttl: u32::from_be_bytes(*original_ttl),
            expiration: u32::from_be_bytes(*expiration),
            inception: u32::from_be_bytes(*inception),
            tag: u16::from_be_bytes(*tag),
            signer,
            head: rdata.get(..behind)?.to_vec(),
            signature: rdata.get(behind..)?.to_vec(),
        })
    }

    /// Seconds from `now` to the end of the signature's time, or why it is not in force. Times are serial numbers (RFC 4034
    /// 3.1.5): they go round every 136 years.
    pub(crate) fn seconds_left(&self, now: u32) -> Result<u32, Bogus> {
        if after(self.inception, now) {
            return Err(Bogus::SignatureNotYetValid);
        }
        if after(now, self.expiration) {
            return Err(Bogus::SignatureExpired);
        }
        Ok(self.expiration.wrapping_sub(now))
    }

    /// Whether `key` may have made this signature.
    pub(crate) fn names(&self, key: &Key) -> bool {
        self.tag == key.tag && self.algorithm == key.algorithm
    }

    /// Whether `key` made this signature over records of `owner` with this data. Time is not looked at.
    pub(crate) fn is_valid(
        &self,
        owner: &Name,
        records: &[&Record],
        key: &Key,
        known: &Known,
    ) -> bool {
        let signed_owner = if self.is_expanded(owner) {
            match owner.last(usize::from(self.labels)).wildcard() {
                Ok(owner) => owner,
                Err(_) => return false,
            }
        } else {
            owner.clone()
        };
        let mut datas: Vec<&[u8]> = records.iter().map(|record| &*record.rdata).collect();
        datas.sort_unstable();
        datas.dedup();
        let mut signed = self.head.clone();
        for data in datas {
            signed.extend_from_slice(signed_owner.as_wire());
            signed.extend_from_slice(&self.covered.0.to_be_bytes());
            signed.extend_from_slice(&CLASS_IN.to_be_bytes());
            signed.extend_from_slice(&self.original_ttl.to_be_bytes());
            let length = u16::try_from(data.len()).unwrap_or(u16::MAX);
            signed.extend_from_slice(&length.to_be_bytes());
            signed.extend_from_slice(data);
        }
        known.is_good(self.algorithm, &key.public, &signed, &self.signature)
    }

    /// Whether a wildcard was expanded to `owner` (RFC 4034 3.1.3).
    pub(crate) fn is_expanded(&self, owner: &Name) -> bool {
        usize::from(self.labels) < owner.depth() - usize::from(owner.is_wildcard())
    }

    /// Whether the signature can be about records of `owner` at all.
    pub(crate) fn may_sign(&self, owner: &Name) -> bool {
        let labels = owner.depth() - usize::from(owner.is_wildcard());
        owner.is_within(&self.signer)
            && usize::from(self.labels) <= labels
            && usize::from(self.labels) >= self.signer.depth()
    }
}

fn after(left: u32, right: u32) -> bool {
    left != right && left.wrapping_sub(right) < 1 << 31
}

/// Signatures that were found good. Most answers that say no share theirs: the same NSEC record stands beside every question below a name.
/// Whether a signature fits its data and its key never changes, so it is computed once; its time is looked at each time.
#[derive(Debug)]
pub(crate) struct Known(Bounded<[u8; 32], ()>);

impl Known {
    /// At most so many.
    pub(crate) fn new(bound: usize) -> Self {
        Self(Bounded::new(bound))
    }

    fn is_good(&self, algorithm: u8, public: &[u8], message: &[u8], made: &[u8]) -> bool {
        let print = fingerprint(algorithm, [public, made, message]);
        if print.is_some_and(|print| self.0.find(&print).is_some()) {
            return true;
        }
        let good = verify(algorithm, public, message, made);
        if let (true, Some(print)) = (good, print) {
            self.0.keep(print, ());
        }
        good
    }
}

/// The hash of everything that decides, each part with its length before it: no two questions have the same.
fn fingerprint(algorithm: u8, parts: [&[u8]; 3]) -> Option<[u8; 32]> {
    let mut context = digest::Context::new(&digest::SHA256);
    context.update(&[algorithm]);
    for part in parts {
        context.update(&part.len().to_be_bytes());
        context.update(part);
    }
    context.finish().as_ref().try_into().ok()
}

fn verify(algorithm: u8, public: &[u8], message: &[u8], made: &[u8]) -> bool {
    match algorithm {
        5 | 7 => rsa(
            &signature::RSA_PKCS1_1024_8192_SHA1_FOR_LEGACY_USE_ONLY,
            public,
            message,
            made,
        ),
        8 => rsa(
            &signature::RSA_PKCS1_1024_8192_SHA256_FOR_LEGACY_USE_ONLY,
            public,
            message,
            made,
        ),
        10 => rsa(
            &signature::RSA_PKCS1_1024_8192_SHA512_FOR_LEGACY_USE_ONLY,
            public,
            message,
            made,
        ),
        13 => ecdsa(&signature::ECDSA_P256_SHA256_FIXED, public, message, made),
        14 => ecdsa(&signature::ECDSA_P384_SHA384_FIXED, public, message, made),
        15 => UnparsedPublicKey::new(&signature::ED25519, public)
            .verify(message, made)
            .is_ok(),
        _ => false,
    }
}

/// Keys are x and y without the octet for "not compressed" (RFC 6605 4).
fn ecdsa(
    algorithm: &'static signature::EcdsaVerificationAlgorithm,
    public: &[u8],
    message: &[u8],
    made: &[u8],
) -> bool {
    let mut point = vec![4];
    point.extend_from_slice(public);
    UnparsedPublicKey::new(algorithm, point)
        .verify(message, made)
        .is_ok()
}

/// Keys are the length of the exponent, exponent, modulus (RFC 3110 2).
fn rsa(parameters: &RsaParameters, public: &[u8], message: &[u8], made: &[u8]) -> bool {
    let split = || match public {
        [0, high, low, rest @ ..] => {
            rest.split_at_checked(usize::from(*high) << 8 | usize::from(*low))
        }
        [length, rest @ ..] => rest.split_at_checked(usize::from(*length)),
        [] => None,
    };
    let Some((e, n)) = split() else {
        return false;
    };
    let (e, n) = (without_zeros(e), without_zeros(n));
    // An exponent of more than 64 bits makes one verification cost as much as thousands; none in use has one.
    if e.len() > 8 {
        return false;
    }
    RsaPublicKeyComponents { n, e }
        .verify(parameters, message, made)
        .is_ok()
}

fn without_zeros(mut octets: &[u8]) -> &[u8] {
    while let [0, rest @ ..] = octets {
        octets = rest;
    }
    octets
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_time_of_signatures_goes_round() {
        let signature = |inception, expiration| Rrsig {
            covered: Rtype::A,
            algorithm: 13,
            labels: 1,
            original_ttl: 60,
            expiration,
            inception,
            tag: 1,
            signer: Name::root(),
            head: Vec::new(),
            signature: Vec::new(),
        };
        assert_eq!(signature(10, 20).seconds_left(15), Ok(5));
        assert_eq!(signature(10, 20).seconds_left(20), Ok(0));
        assert_eq!(
            signature(10, 20).seconds_left(21),
            Err(Bogus::SignatureExpired)
        );
        assert_eq!(
            signature(10, 20).seconds_left(9),
            Err(Bogus::SignatureNotYetValid)
        );
        assert_eq!(signature(u32::MAX - 5, 5).seconds_left(0), Ok(5));
    }

    #[test]
    fn only_what_was_found_good_is_known() {
        use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair as _};

        const ED25519: u8 = 15;
        let known = Known::new(10);
        let pair = Ed25519KeyPair::generate().unwrap();
        let (public, message) = (pair.public_key().as_ref().to_vec(), b"data".to_vec());
        let made = pair.sign(&message).as_ref().to_vec();
        let kept = |known: &Known| {
            let print = fingerprint(ED25519, [&public, &made, &message]).unwrap();
            known.0.find(&print).is_some()
        };
        for round in 0..2 {
            assert_eq!(kept(&known), round > 0);
            assert!(known.is_good(ED25519, &public, &message, &made));
            for part in 0..3 {
                let mut parts = [public.clone(), message.clone(), made.clone()];
                *parts[part].last_mut().unwrap() ^= 1;
                let [public, message, made] = &parts;
                for _ in 0..2 {
                    assert!(!known.is_good(ED25519, public, message, made));
                }
            }
            assert!(!known.is_good(14, &public, &message, &made));
        }
        // Octets that move from one part to the next are another question.
        assert_ne!(
            fingerprint(1, [b"ab", b"c", b""]),
            fingerprint(1, [b"a", b"bc", b""])
        );
    }
}
