//! What is kept of a password: salted keys (RFC 5802 3), from which the password cannot be read back.
//!
//! ```text
//! SaltedPassword = Hi(password, salt, iterations)
//! ClientKey = HMAC(SaltedPassword, "Client Key")     StoredKey = H(ClientKey)
//! ServerKey = HMAC(SaltedPassword, "Server Key")
//! ```
//!
//! The same record, with SHA-256, serves SCRAM, PLAIN and LOGIN. One with SHA-1 serves nothing but SCRAM-SHA-1 [CONF-07].

use subtle::ConstantTimeEq as _;

use super::hash::ScramHash;
use super::prepare::{Preparation, prepare_password};
use crate::secret::Secret;

/// The least iteration count (RFC 7677 4). [SASL-SCRAM-02]
pub const LEAST_ITERATIONS: u32 = 4096;

/// The keys kept for one account.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ScramRecord {
    /// The hash function they were made with.
    pub hash: ScramHash,
    /// The salt, at least 16 octets.
    pub salt: Vec<u8>,
    /// The iteration count, at least [`LEAST_ITERATIONS`].
    pub iterations: u32,
    /// Tells whether a client's proof is right.
    pub stored_key: Secret<Vec<u8>>,
    /// Proves to the client that the server knows the account.
    pub server_key: Secret<Vec<u8>>,
}

impl ScramRecord {
    /// Makes the record of a password, with SHA-256. Slow by design: `iterations` rounds of HMAC (fewer than [`LEAST_ITERATIONS`] are raised
    /// to it). Keep it off the threads that serve connections.
    ///
    /// # Errors
    /// [`Preparation`] when the password cannot be used.
    pub fn derive(password: &str, salt: Vec<u8>, iterations: u32) -> Result<Self, Preparation> {
        Self::derive_with(ScramHash::Sha256, password, salt, iterations)
    }

    /// The same with another hash function. The salt must be another one, too.
    ///
    /// # Errors
    /// [`Preparation`] when the password cannot be used.
    pub fn derive_with(
        hash: ScramHash,
        password: &str,
        salt: Vec<u8>,
        iterations: u32,
    ) -> Result<Self, Preparation> {
        let password = prepare_password(password)?;
        let iterations = iterations.max(LEAST_ITERATIONS);
        let salted = hash.salted_password(&password, &salt, iterations);
        let stored_key = stored_key(hash, &salted);
        let server_key = Secret::new(hash.keyed_hash(salted.expose(), &[b"Server Key"]));
        Ok(Self {
            hash,
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
        let salted = (self.hash).salted_password(&password, &self.salt, self.iterations);
        let candidate = stored_key(self.hash, &salted);
        // [SASL-SCRAM-02] in constant time
        candidate
            .expose()
            .as_slice()
            .ct_eq(self.stored_key.expose())
            .into()
    }
}

fn stored_key(hash: ScramHash, salted: &Secret<Vec<u8>>) -> Secret<Vec<u8>> {
    let client_key = Secret::new(hash.keyed_hash(salted.expose(), &[b"Client Key"]));
    Secret::new(hash.hash(client_key.expose()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sasl::decode_base64;

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
