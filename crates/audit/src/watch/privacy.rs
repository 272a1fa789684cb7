//! How names are hidden. A name becomes a keyed hash before anything else of the program sees it; the same name under the same key has
//! the same hash, so that a user can be followed through a report without being named.

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

/// The key of the hashes, and whether names may be shown.
#[derive(Debug, Clone)]
pub struct Privacy {
    key: [u8; 32],
    reveal: bool,
}

/// A user, as far as may be told.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct User {
    /// The keyed hash of the name in lower case, 16 hexadecimal digits.
    pub hash: String,
    /// What stands behind the `@`, if it can be a domain.
    pub domain: Option<String>,
    /// The name itself, only where that was asked for.
    pub name: Option<String>,
}

impl Privacy {
    /// With a key, which should be random and kept from who reads the reports.
    #[must_use]
    pub fn new(key: [u8; 32], reveal: bool) -> Self {
        Self { key, reveal }
    }

    /// Hides a name. None when there is none.
    #[must_use]
    pub fn hide(&self, name: &[u8]) -> Option<User> {
        if name.is_empty() {
            return None;
        }
        let lower = name.to_ascii_lowercase();
        let mut mac = Hmac::<Sha256>::new_from_slice(&self.key).ok()?;
        mac.update(&lower);
        let digest = mac.finalize().into_bytes();
        let hash = super::hexadecimal(digest.iter().take(8));
        let domain = lower
            .iter()
            .rposition(|it| *it == b'@')
            .and_then(|at| lower.get(at + 1..))
            .and_then(domain);
        // What holds control octets is not a name alone: behind a NUL there may be what belongs to nobody else.
        let is_name = !name.iter().any(u8::is_ascii_control);
        let name = (self.reveal && is_name)
            .then(|| name.escape_ascii().to_string().chars().take(128).collect());
        Some(User { hash, domain, name })
    }
}

/// A name of the DNS with at least one dot and letters in its last label; anything else could be part of something else.
fn domain(octets: &[u8]) -> Option<String> {
    let text = std::str::from_utf8(octets).ok()?;
    let (_, last) = text.rsplit_once('.')?;
    let label_fits = |label: &str| {
        (1..=63).contains(&label.len())
            && label
                .bytes()
                .all(|it| it.is_ascii_alphanumeric() || it == b'-')
    };
    let fits = text.len() <= 253
        && text.split('.').all(label_fits)
        && last.bytes().all(|it| it.is_ascii_lowercase())
        && last.len() >= 2;
    fits.then(|| text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_a_hash_and_the_same_one_every_time() {
        let privacy = Privacy::new([7; 32], false);
        let user = privacy.hide(b"Anna@Example.ORG").unwrap();
        assert_eq!(user.domain.as_deref(), Some("example.org"));
        assert_eq!(user.name, None);
        assert_eq!(user.hash.len(), 16);
        assert_eq!(privacy.hide(b"anna@example.org"), Some(user.clone()));
        let other = Privacy::new([8; 32], false);
        assert_ne!(other.hide(b"anna@example.org"), Some(user));
    }

    #[test]
    fn only_what_can_be_a_domain_is_told() {
        let privacy = Privacy::new([7; 32], false);
        for name in [
            &b"anna"[..],
            b"a@b",
            b"a@b c.org",
            b"a@1.2.3.4",
            b"a@\xff.org",
            b"a@.org",
        ] {
            assert_eq!(privacy.hide(name).unwrap().domain, None, "{name:?}");
        }
    }

    #[test]
    fn a_name_is_told_only_where_asked_for() {
        let privacy = Privacy::new([7; 32], true);
        assert_eq!(privacy.hide(b"anna").unwrap().name.as_deref(), Some("anna"));
        assert_eq!(privacy.hide(b"anna\0pencil").unwrap().name, None);
    }
}
