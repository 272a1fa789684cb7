//! The token of the web page: 32 random octets, kept in the data folder, so that scripts can read it and a bookmark stays good.
//! Whoever can read that folder can read the mail anyway.

use std::fmt;
use std::fs::{self, OpenOptions};
use std::io::{self, ErrorKind, Write as _};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use aws_lc_rs::rand;
use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use gatepost_wire::secret::Secret;
use subtle::ConstantTimeEq as _;

/// Its file in the data folder.
const FILE: &str = "web-token";
/// Its length in characters: 32 octets in base64.
const LENGTH: usize = 43;

/// The token.
#[derive(Debug)]
pub struct Token(Secret<String>);

/// Why there is no token.
#[derive(Debug)]
pub enum TokenError {
    /// Its file cannot be read or written.
    File(PathBuf, io::Error),
    /// Its file holds something else.
    Damaged(PathBuf),
    /// The system gives no randomness.
    Randomness,
}

impl fmt::Display for TokenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path, error) => {
                write!(
                    f,
                    "cannot use the web page's token in {}: {error}",
                    path.display()
                )
            }
            Self::Damaged(path) => write!(
                f,
                "{} does not hold the web page's token; remove it, and a new one is made",
                path.display()
            ),
            Self::Randomness => f.write_str("the system gives no randomness"),
        }
    }
}

impl std::error::Error for TokenError {}

impl Token {
    /// Reads the token in the data folder, or makes one there, for its owner's eyes only.
    ///
    /// # Errors
    /// A file that cannot be read, written or understood.
    pub fn ensure(data: &Path) -> Result<Self, TokenError> {
        let path = data.join(FILE);
        let failed = |error| TokenError::File(path.clone(), error);
        match fs::read_to_string(&path) {
            Ok(text) => Self::read(text.trim_end()).ok_or(TokenError::Damaged(path)),
            Err(error) if error.kind() == ErrorKind::NotFound => {
                let token = Self::make()?;
                let mut file = OpenOptions::new()
                    .write(true)
                    .create_new(true)
                    .mode(0o600)
                    .open(&path)
                    .map_err(failed)?;
                writeln!(file, "{}", token.expose()).map_err(failed)?;
                Ok(token)
            }
            Err(error) => Err(failed(error)),
        }
    }

    fn make() -> Result<Self, TokenError> {
        let mut octets = [0; 32];
        rand::fill(&mut octets).map_err(|_| TokenError::Randomness)?;
        Ok(Self(Secret::new(BASE64_URL_SAFE_NO_PAD.encode(octets))))
    }

    fn read(text: &str) -> Option<Self> {
        let character = |octet: u8| octet.is_ascii_alphanumeric() || b"-_".contains(&octet);
        let good = text.len() == LENGTH && text.bytes().all(character);
        good.then(|| Self(Secret::new(text.to_owned())))
    }

    /// Its characters.
    pub fn expose(&self) -> &str {
        self.0.expose()
    }

    /// Whether this is it; the time taken tells nothing of how much of it is right.
    pub fn is(&self, said: &[u8]) -> bool {
        self.expose().as_bytes().ct_eq(said).into()
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn it_is_made_once_and_for_the_owner_alone() {
        let folder = tempfile::tempdir().unwrap();
        let made = Token::ensure(folder.path()).unwrap();
        let again = Token::ensure(folder.path()).unwrap();
        assert_eq!(made.expose(), again.expose());
        assert!(made.is(again.expose().as_bytes()));
        assert!(!made.is(b""));
        assert!(!made.is(&again.expose().as_bytes()[1..]));
        let rights = fs::metadata(folder.path().join(FILE))
            .unwrap()
            .permissions();
        assert_eq!(rights.mode() & 0o777, 0o600);
        assert_ne!(Token::make().unwrap().expose(), made.expose());
    }

    #[test]
    fn what_is_no_token_is_not_taken_for_one() {
        let folder = tempfile::tempdir().unwrap();
        for text in ["", "short", &"x y".repeat(20), &"a".repeat(44)] {
            fs::write(folder.path().join(FILE), text).unwrap();
            assert!(matches!(
                Token::ensure(folder.path()),
                Err(TokenError::Damaged(_))
            ));
        }
    }
}
