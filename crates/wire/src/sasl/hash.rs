//! The hash functions SCRAM is spoken with, and what it makes of them (RFC 5802 2.2).
//!
//! ```text
//! Hi    PBKDF2 with HMAC
//! HMAC  over several parts joined
//! H     the hash
//! ```
//!
//! That SHA-1 has collisions does no harm inside of HMAC (RFC 6194 3.3); but it is fast, so a stolen record is cheaper to guess at.
//! It is there for programs that know nothing else, where the configuration asks for it [CONF-07].

use hmac::{Hmac, KeyInit as _, Mac};
use sha1::Sha1;
use sha2::{Digest as _, Sha256};
use zeroize::Zeroize as _;

use crate::secret::Secret;

/// The hash function of a SCRAM mechanism.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ScramHash {
    /// SHA-256 (RFC 7677).
    Sha256,
    /// SHA-1 (RFC 5802), for old programs.
    Sha1,
}

impl ScramHash {
    /// The octets of a hash, and so of every key and proof.
    pub const fn length(self) -> usize {
        match self {
            Self::Sha256 => 32,
            Self::Sha1 => 20,
        }
    }

    /// `H`.
    pub(in crate::sasl) fn hash(self, octets: &[u8]) -> Vec<u8> {
        match self {
            Self::Sha256 => Sha256::digest(octets).to_vec(),
            Self::Sha1 => Sha1::digest(octets).to_vec(),
        }
    }

    /// `HMAC` over the parts joined. The key is a hash.
    pub(in crate::sasl) fn keyed_hash(self, key: &[u8], parts: &[&[u8]]) -> Vec<u8> {
        // HMAC fills a short key up with zeros, to 64 octets with both; doing it here leaves no key length that could be refused.
        let mut block = [0; 64];
        for (slot, octet) in block.iter_mut().zip(key) {
            *slot = *octet;
        }
        let code = match self {
            Self::Sha256 => code(Hmac::<Sha256>::new(&block.into()), parts),
            Self::Sha1 => code(Hmac::<Sha1>::new(&block.into()), parts),
        };
        block.zeroize();
        code
    }

    /// `Hi`: slow by design.
    pub(in crate::sasl) fn salted_password(
        self,
        password: &Secret<String>,
        salt: &[u8],
        iterations: u32,
    ) -> Secret<Vec<u8>> {
        let password = password.expose().as_bytes();
        let mut salted = vec![0; self.length()];
        match self {
            Self::Sha256 => {
                pbkdf2::pbkdf2_hmac::<Sha256>(password, salt, iterations, &mut salted);
            }
            Self::Sha1 => pbkdf2::pbkdf2_hmac::<Sha1>(password, salt, iterations, &mut salted),
        }
        Secret::new(salted)
    }
}

fn code(mut mac: impl Mac, parts: &[&[u8]]) -> Vec<u8> {
    for part in parts {
        mac.update(part);
    }
    mac.finalize().into_bytes().to_vec()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keyed_hash_known_answers() {
        // RFC 4231 4.2 and RFC 2202 3, test case 1: the same key of 20 octets
        let key = [0x0b; 20];
        let sha256 = [
            0xb0, 0x34, 0x4c, 0x61, 0xd8, 0xdb, 0x38, 0x53, 0x5c, 0xa8, 0xaf, 0xce, 0xaf, 0x0b,
            0xf1, 0x2b, 0x88, 0x1d, 0xc2, 0x00, 0xc9, 0x83, 0x3d, 0xa7, 0x26, 0xe9, 0x37, 0x6c,
            0x2e, 0x32, 0xcf, 0xf7,
        ];
        let sha1 = [
            0xb6, 0x17, 0x31, 0x86, 0x55, 0x05, 0x72, 0x64, 0xe2, 0x8b, 0xc0, 0xb6, 0xfb, 0x37,
            0x8c, 0x8e, 0xf1, 0x46, 0xbe, 0x00,
        ];
        for (hash, expected) in [
            (ScramHash::Sha256, &sha256[..]),
            (ScramHash::Sha1, &sha1[..]),
        ] {
            assert_eq!(hash.keyed_hash(&key, &[b"Hi ", b"There"]), expected);
            assert_eq!(hash.hash(b"abc").len(), hash.length());
        }
    }

    #[test]
    fn salted_password_known_answer() {
        // RFC 6070 2, the case of 4096 iterations
        let password = Secret::new("password".to_owned());
        let expected = [
            0x4b, 0x00, 0x79, 0x01, 0xb7, 0x65, 0x48, 0x9a, 0xbe, 0xad, 0x49, 0xd9, 0x26, 0xf7,
            0x21, 0xd0, 0x65, 0xa4, 0x29, 0xc1,
        ];
        let salted = ScramHash::Sha1.salted_password(&password, b"salt", 4096);
        assert_eq!(salted.expose()[..], expected);
    }
}
