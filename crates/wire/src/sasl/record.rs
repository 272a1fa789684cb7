//! What is kept of a password: salted keys (RFC 5802 3), from which the password cannot be read back.
//!
//! ```text
//! SaltedPassword = PBKDF2-HMAC-SHA-256(password, salt, iterations)
//! ClientKey = HMAC(SaltedPassword, "Client Key")     StoredKey = SHA-256(ClientKey)
//! ServerKey = HMAC(SaltedPassword, "Server Key")
//! ```
//!
//! The same record serves SCRAM, PLAIN and LOGIN.

use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq as _;
use zeroize::Zeroize as _;

use super::prepare::{Preparation, prepare_password};
use crate::secret::Secret;

/// The least iteration count (RFC 7677 4). [SASL-SCRAM-02]
pub const LEAST_ITERATIONS: u32 = 4096;

/// The keys kept for one account.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ScramRecord {
    /// The salt, at least 16 octets.
    pub salt: Vec<u8>,
    /// The iteration count, at least [`LEAST_ITERATIONS`].
    pub iterations: u32,
    /// Tells whether a client's proof is right.
    pub stored_key: Secret<[u8; 32]>,
    /// Proves to the client that the server knows the account.
    pub server_key: Secret<[u8; 32]>,
}

impl ScramRecord {
    /// Makes the record of a password. Slow by design: `iterations` rounds of HMAC (fewer than [`LEAST_ITERATIONS`] are raised
    /// to it). Keep it off the threads that serve connections.
    ///
    /// # Errors
    /// [`Preparation`] when the password cannot be used.
    pub fn derive(password: &str, salt: Vec<u8>, iterations: u32) -> Result<Self, Preparation> {
        let password = prepare_password(password)?;
        let iterations = iterations.max(LEAST_ITERATIONS);
        let salted = salted_password(&password, &salt, iterations);
        let stored_key = Secret::new(stored_key(&salted));
        let server_key = Secret::new(keyed_hash(salted.expose(), &[b"Server Key"]));
        Ok(Self {
            salt,
            iterations,
            stored_key,
            server_key,
        })
    }

    /// Whether this is the password the record was made of. As slow as [`ScramRecord::derive`], and the comparison takes
    /// the same time whatever the keys are.
    pub fn verifies(&self, password: &str) -> bool {
        let Ok(password) = prepare_password(password) else {
            return false;
        };
        let salted = salted_password(&password, &self.salt, self.iterations);
        let candidate = Secret::new(stored_key(&salted));
        // [SASL-SCRAM-02] in constant time
        candidate.expose().ct_eq(self.stored_key.expose()).into()
    }
}

pub(in crate::sasl) fn salted_password(
    password: &Secret<String>,
    salt: &[u8],
    iterations: u32,
) -> Secret<[u8; 32]> {
    let mut salted = [0; 32];
    pbkdf2::pbkdf2_hmac::<Sha256>(password.expose().as_bytes(), salt, iterations, &mut salted);
    let kept = Secret::new(salted);
    salted.zeroize();
    kept
}

fn stored_key(salted: &Secret<[u8; 32]>) -> [u8; 32] {
    let mut client_key = keyed_hash(salted.expose(), &[b"Client Key"]);
    let stored = hash(&client_key);
    client_key.zeroize();
    stored
}

/// SHA-256.
pub(in crate::sasl) fn hash(octets: &[u8]) -> [u8; 32] {
    Sha256::digest(octets).into()
}

/// HMAC-SHA-256 over the parts joined.
pub(in crate::sasl) fn keyed_hash(key: &[u8; 32], parts: &[&[u8]]) -> [u8; 32] {
    // HMAC fills a short key up with zeros; doing it here leaves no key length that could be refused.
    let mut block = [0; 64];
    for (slot, octet) in block.iter_mut().zip(key) {
        *slot = *octet;
    }
    let mut mac = Hmac::<Sha256>::new(&block.into());
    block.zeroize();
    for part in parts {
        mac.update(part);
    }
    mac.finalize().into_bytes().into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sasl::decode_base64;

    #[test]
    fn keyed_hash_known_answer() {
        // RFC 4231 4.2 has a key of 20 octets; zeros behind it change nothing.
        let mut key = [0; 32];
        key[..20].fill(0x0b);
        let expected = [
            0xb0, 0x34, 0x4c, 0x61, 0xd8, 0xdb, 0x38, 0x53, 0x5c, 0xa8, 0xaf, 0xce, 0xaf, 0x0b,
            0xf1, 0x2b, 0x88, 0x1d, 0xc2, 0x00, 0xc9, 0x83, 0x3d, 0xa7, 0x26, 0xe9, 0x37, 0x6c,
            0x2e, 0x32, 0xcf, 0xf7,
        ];
        assert_eq!(keyed_hash(&key, &[b"Hi ", b"There"]), expected);
    }

    #[test]
    fn the_record_verifies_its_password_and_no_other() {
        let salt = decode_base64(b"W22ZaJ0SNY7soEsUEjb6gQ==").unwrap();
        let record = ScramRecord::derive("pencil", salt, 4096).unwrap();
        assert!(record.verifies("pencil"));
        assert!(
            record.verifies("pen\u{ad}cil"),
            "compared after preparation"
        );
        for wrong in ["", "Pencil", "pencil ", "pencils", "\u{7}"] {
            assert!(!record.verifies(wrong), "{wrong:?}");
        }
    }

    #[test]
    fn too_few_iterations_are_raised() {
        // [SASL-SCRAM-02]
        let record = ScramRecord::derive("pencil", vec![1; 16], 1).unwrap();
        assert_eq!(record.iterations, 4096);
        assert!(record.verifies("pencil"));
    }

    #[test]
    fn an_unusable_password_makes_no_record() {
        assert_eq!(
            ScramRecord::derive("", vec![1; 16], 4096),
            Err(Preparation::Empty)
        );
        assert_eq!(
            ScramRecord::derive("a\u{7}", vec![1; 16], 4096),
            Err(Preparation::Prohibited)
        );
    }
}
