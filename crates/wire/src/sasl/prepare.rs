//! Preparation of names and passwords: `SASLprep` (RFC 4013).
//!
//! Two ways of typing one password (composed or decomposed accents, odd spaces) become one string, and characters that no
//! keyboard means (controls, private use, mixed direction) are refused. Code points that Unicode 3.2 did not know are
//! refused too, as RFC 4013 2.5 asks for strings that are stored.

use crate::secret::Secret;
use crate::smtp::path::normal_domain;

/// Why a name or password cannot be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Preparation {
    /// It holds a character that `SASLprep` prohibits.
    Prohibited,
    /// Nothing is left of it.
    Empty,
}

/// Prepares a user's name.
///
/// # Errors
/// See [`Preparation`].
pub fn prepare_name(name: &str) -> Result<String, Preparation> {
    prepare(name)
}

/// Prepares a password.
///
/// # Errors
/// See [`Preparation`].
pub fn prepare_password(password: &str) -> Result<Secret<String>, Preparation> {
    prepare(password).map(Secret::new)
}

/// A prepared name in the form in which names are compared: in lower case, the domain's labels in one of their two forms.
pub fn normal_name(name: &str) -> String {
    let name = name.to_lowercase();
    match name.rsplit_once('@') {
        Some((local, domain)) => format!("{local}@{}", normal_domain(domain)),
        None => name,
    }
}

/// Whether two prepared names are one user's.
pub(super) fn is_same_user(one: &str, other: &str) -> bool {
    normal_name(one) == normal_name(other)
}

// [SMTP-AUTH-12] [SASL-PLAIN-03] failure or an empty result is a failure of the login
fn prepare(text: &str) -> Result<String, Preparation> {
    let prepared = stringprep::saslprep(text).map_err(|_| Preparation::Prohibited)?;
    if prepared.is_empty() {
        return Err(Preparation::Empty);
    }
    Ok(prepared.into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn examples_of_rfc_4013() {
        // [SMTP-AUTH-12] RFC 4013 3
        assert_eq!(prepare_name("I\u{ad}X").as_deref(), Ok("IX"));
        assert_eq!(prepare_name("user").as_deref(), Ok("user"));
        assert_eq!(prepare_name("USER").as_deref(), Ok("USER"));
        assert_eq!(prepare_name("\u{aa}").as_deref(), Ok("a"));
        assert_eq!(prepare_name("\u{2168}").as_deref(), Ok("IX"));
        assert_eq!(prepare_name("\u{7}"), Err(Preparation::Prohibited));
        assert_eq!(prepare_name("\u{627}1"), Err(Preparation::Prohibited));
        // RFC 4013 2.5: unassigned in Unicode 3.2
        assert_eq!(prepare_name("\u{1f600}"), Err(Preparation::Prohibited));
    }

    #[test]
    fn nothing_left_is_a_failure() {
        // [SMTP-AUTH-12] [SASL-PLAIN-03]
        assert_eq!(prepare_name(""), Err(Preparation::Empty));
        assert_eq!(prepare_name("\u{ad}"), Err(Preparation::Empty));
        assert!(matches!(
            prepare_password("\u{ad}\u{200d}"),
            Err(Preparation::Empty)
        ));
    }

    #[test]
    fn both_ways_to_type_an_accent_are_one_password() {
        assert_eq!(
            prepare_password("caf\u{e9}"),
            prepare_password("cafe\u{301}")
        );
    }
}
