//! Randomness, handed in: this crate has no source of its own.
//!
//! A seed gives a stream (SHA-256 over the seed and a counter) from which a session takes its IMAP tags and SASL nonces. Give each
//! session a fresh one from the system's generator; give tests a fixed one.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use sha2::{Digest as _, Sha256};

use crate::secret::Secret;

/// A source of unpredictable values for one session.
#[derive(Debug, Clone)]
pub struct Seed {
    key: Secret<[u8; 32]>,
    counter: u64,
}

impl Seed {
    /// A stream from 32 octets of the system's randomness. Never use one seed for two sessions.
    pub const fn new(octets: [u8; 32]) -> Self {
        Self {
            key: Secret::new(octets),
            counter: 0,
        }
    }

    fn block(&mut self) -> [u8; 32] {
        let mut digest = Sha256::new();
        digest.update(self.key.expose());
        digest.update(self.counter.to_be_bytes());
        self.counter += 1;
        digest.finalize().into()
    }

    /// An IMAP tag of 48 random bits: twelve letters and digits.
    pub(crate) fn tag(&mut self) -> [u8; 12] {
        let mut tag = [0; 12];
        let block = self.block();
        let nibbles = block.iter().flat_map(|octet| [octet >> 4, octet & 15]);
        for (slot, nibble) in tag.iter_mut().zip(nibbles) {
            // Letters only, so that a tag looks like nothing else.
            *slot = b'a' + nibble;
        }
        tag
    }

    /// A SASL nonce of 192 random bits, printable and without a comma (RFC 5802 5.1).
    pub(crate) fn nonce(&mut self) -> String {
        let block = self.block();
        STANDARD_NO_PAD.encode(block.get(..24).unwrap_or(&block))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn values_differ_and_a_seed_repeats_them() {
        let mut seed = Seed::new([1; 32]);
        let tags: HashSet<_> = (0..1000).map(|_| seed.tag()).collect();
        assert_eq!(tags.len(), 1000);
        assert!(tags.iter().flatten().all(u8::is_ascii_lowercase));
        assert_eq!(
            Seed::new([1; 32]).nonce(),
            Seed::new([1; 32]).nonce(),
            "repeatable"
        );
        assert_ne!(Seed::new([1; 32]).nonce(), Seed::new([2; 32]).nonce());
        assert_eq!(seed.nonce().len(), 32);
    }
}
