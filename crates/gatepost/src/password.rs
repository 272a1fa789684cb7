//! Where passwords come from: a file, standard input, the environment or a prompt; never an argument.

use std::fs::File;
use std::io::{IsTerminal, Read};
use std::path::Path;

use gatepost_wire::secret::Secret;

use crate::exit::Failure;

/// The environment variable.
pub(crate) const VARIABLE: &str = "GATEPOST_PASSWORD";

/// The longest password read, in octets. PLAIN allows no more than 255 (RFC 4616 section 2).
pub(crate) const LONGEST: u64 = 255;

/// The password from a file (`-`: standard input), else the environment, else a prompt.
pub(crate) fn obtain(file: Option<&Path>) -> Result<Secret<String>, Failure> {
    if let Some(file) = file {
        return from_file(file);
    }
    if let Ok(password) = std::env::var(VARIABLE) {
        return checked(password, VARIABLE, LONGEST);
    }
    if !std::io::stdin().is_terminal() {
        return Err(Failure::usage(format!(
            "no password: give --password-file FILE, or set {VARIABLE}, or run it in a terminal"
        )));
    }
    let ask = |prompt| {
        rpassword::prompt_password(prompt)
            .map_err(|error| Failure::local(format!("cannot ask for a password: {error}")))
    };
    let password = Secret::new(ask("New password: ")?);
    let again = Secret::new(ask("The same again: ")?);
    if password != again {
        return Err(Failure::usage(
            "the two passwords differ; nothing was changed",
        ));
    }
    checked(password.expose().clone(), "the prompt", LONGEST)
}

/// The first line of a file (`-`: standard input), which is a password.
pub(crate) fn from_file(file: &Path) -> Result<Secret<String>, Failure> {
    first_line(file, "password", LONGEST)
}

/// The first line of a file (`-`: standard input), of at most so many octets. `what` names it in errors.
pub(crate) fn first_line(file: &Path, what: &str, longest: u64) -> Result<Secret<String>, Failure> {
    let fail = |error: std::io::Error| {
        Failure::usage(format!(
            "cannot read the {what} file {}: {error}",
            file.display()
        ))
    };
    let mut text = String::new();
    let limit = longest + 3;
    if file == Path::new("-") {
        std::io::stdin()
            .take(limit)
            .read_to_string(&mut text)
            .map_err(fail)?;
    } else {
        File::open(file)
            .map_err(fail)?
            .take(limit)
            .read_to_string(&mut text)
            .map_err(fail)?;
    }
    let text = Secret::new(text);
    let line = text
        .expose()
        .split(['\r', '\n'])
        .next()
        .unwrap_or_default()
        .to_owned();
    checked(
        line,
        &format!("the {what} file {}", file.display()),
        longest,
    )
}

/// A secret that is not empty and not overlong. `source` names where it comes from.
pub(crate) fn checked(
    secret: String,
    source: &str,
    longest: u64,
) -> Result<Secret<String>, Failure> {
    let secret = Secret::new(secret);
    match secret.expose().len() as u64 {
        0 => Err(Failure::usage(format!("the secret in {source} is empty"))),
        length if length > longest => Err(Failure::usage(format!(
            "the secret in {source} is longer than {longest} octets"
        ))),
        _ => Ok(secret),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(content: &[u8]) -> Result<String, Failure> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("password");
        std::fs::write(&path, content).unwrap();
        from_file(&path).map(|secret| secret.expose().clone())
    }

    #[test]
    fn the_first_line_counts_without_its_end() {
        assert_eq!(of(b"secret\nmore").unwrap(), "secret");
        assert_eq!(of(b"two words \r\n").unwrap(), "two words ");
        assert_eq!(of("pässwörd".as_bytes()).unwrap(), "pässwörd");
    }

    #[test]
    fn empty_overlong_and_binary_are_refused() {
        assert!(of(b"").is_err());
        assert!(of(b"\nsecond line").is_err());
        assert!(of(&[b'x'; 256]).is_err());
        assert!(of(&[0xff, 0xfe]).is_err());
    }
}
