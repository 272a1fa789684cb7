//! Where a login's secret comes from: a file, a command, a descriptor, the environment or a prompt; never an argument.
//!
//! It is read only when it is needed, that is after the server has been verified, and lives in a `Secret` that prints nothing and is wiped.

use std::fs::File;
use std::io::{IsTerminal, Read};
use std::path::PathBuf;
use std::process::{Command, Stdio};

use clap::ArgMatches;
use gatepost_wire::secret::Secret;

use crate::exit::Failure;
use crate::password;

/// The environment variable for a token.
const TOKEN: &str = "GATEPOST_TOKEN";

/// The longest token read, in octets. Tokens of large providers have some 2,000.
const LONGEST_TOKEN: u64 = 16 * 1024;

/// Where the secret comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Source {
    /// The environment, else a prompt.
    Default,
    /// A file's first line; `-` is standard input.
    File(PathBuf),
    /// The first line of what a command prints.
    Command(String),
    /// The first line from an open descriptor.
    Descriptor(u32),
    /// A token in a file.
    Token(PathBuf),
}

/// What a user proves to be themselves with.
#[derive(Debug)]
pub(crate) enum Proof {
    /// A password.
    Password(Secret<String>),
    /// An OAuth 2.0 access token.
    Token(Secret<String>),
}

impl Source {
    /// What the flags name.
    pub(crate) fn read(given: &ArgMatches) -> Result<Self, Failure> {
        let one = |name| given.try_get_one::<String>(name).ok().flatten().cloned();
        let fd = one("password-fd").map(|text| {
            text.parse().map_err(|_| {
                Failure::usage(format!(
                    "--password-fd {text}: write the number of an open descriptor"
                ))
            })
        });
        let named: Vec<Self> = [
            one("password-file").map(|path| Self::File(path.into())),
            one("password-command").map(Self::Command),
            fd.transpose()?.map(Self::Descriptor),
            one("token-file").map(|path| Self::Token(path.into())),
        ]
        .into_iter()
        .flatten()
        .collect();
        match named.as_slice() {
            [] => Ok(Self::Default),
            [one] => Ok(one.clone()),
            _ => Err(Failure::usage(
                "--password-file, --password-command, --password-fd and --token-file each say where the secret comes from; give one of \
                 them",
            )),
        }
    }

    /// Whether it is read from standard input, which then is not free for anything else.
    pub(crate) fn takes_stdin(&self) -> bool {
        match self {
            Self::File(path) | Self::Token(path) => path.as_os_str() == "-",
            Self::Descriptor(number) => *number == 0,
            Self::Default | Self::Command(_) => false,
        }
    }

    /// The secret of a user. Runs a command or asks, if that is what was said.
    pub(crate) fn obtain(&self, user: &str, place: &str) -> Result<Proof, Failure> {
        match self {
            Self::File(path) => password::from_file(path).map(Proof::Password),
            Self::Command(command) => from_command(command).map(Proof::Password),
            Self::Descriptor(number) => from_descriptor(*number).map(Proof::Password),
            Self::Token(path) => {
                password::first_line(path, "token", LONGEST_TOKEN).map(Proof::Token)
            }
            Self::Default => by_default(user, place),
        }
    }
}

fn by_default(user: &str, place: &str) -> Result<Proof, Failure> {
    if let Ok(token) = std::env::var(TOKEN) {
        return password::checked(token, TOKEN, LONGEST_TOKEN).map(Proof::Token);
    }
    if let Ok(word) = std::env::var(password::VARIABLE) {
        return password::checked(word, password::VARIABLE, password::LONGEST).map(Proof::Password);
    }
    if !std::io::stdin().is_terminal() {
        return Err(Failure::usage(format!(
            "no password for {user} at {place}: give --password-file FILE or --password-command COMMAND, or set {}, or run it in a \
             terminal",
            password::VARIABLE
        )));
    }
    let word = rpassword::prompt_password(format!("Password of {user} at {place}: "))
        .map_err(|error| Failure::local(format!("cannot ask for a password: {error}")))?;
    password::checked(word, "the prompt", password::LONGEST).map(Proof::Password)
}

fn from_command(command: &str) -> Result<Secret<String>, Failure> {
    let output = Command::new("sh")
        .args(["-c", command])
        .stdin(Stdio::inherit())
        .stderr(Stdio::inherit())
        .output()
        .map_err(|error| Failure::local(format!("cannot run the --password-command: {error}")))?;
    let printed = Secret::new(output.stdout);
    if !output.status.success() {
        return Err(Failure::usage(format!(
            "the --password-command ended with {}; run it by hand to see why",
            output.status
        )));
    }
    let text = std::str::from_utf8(printed.expose())
        .map_err(|_| Failure::usage("the --password-command prints something that is not UTF-8"))?;
    let line = text.split(['\r', '\n']).next().unwrap_or_default();
    password::checked(
        line.to_owned(),
        "what the --password-command prints",
        password::LONGEST,
    )
}

/// Opened anew by its name: taking over a number needs `unsafe`, and the number may be anything.
fn from_descriptor(number: u32) -> Result<Secret<String>, Failure> {
    let path = format!("/dev/fd/{number}");
    let file = File::open(&path).map_err(|error| {
        Failure::usage(format!(
            "cannot read from descriptor {number}: {error}; open it in the shell, such as {number}<FILE"
        ))
    })?;
    let mut octets = Vec::new();
    file.take(password::LONGEST + 3)
        .read_to_end(&mut octets)
        .map_err(|error| {
            Failure::usage(format!("cannot read from descriptor {number}: {error}"))
        })?;
    let octets = Secret::new(octets);
    let text = std::str::from_utf8(octets.expose())
        .map_err(|_| Failure::usage(format!("what descriptor {number} holds is not UTF-8")))?;
    let line = text.split(['\r', '\n']).next().unwrap_or_default();
    password::checked(line.to_owned(), &path, password::LONGEST)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn word(source: &Source) -> Result<String, Failure> {
        match source.obtain("anna", "mail.test")? {
            Proof::Password(secret) | Proof::Token(secret) => Ok(secret.expose().clone()),
        }
    }

    #[test]
    fn a_command_gives_its_first_line() {
        let from = |text: &str| word(&Source::Command(text.to_owned()));
        assert_eq!(from("printf 'two words\\nmore'").unwrap(), "two words");
        assert!(from("exit 3").unwrap_err().to_string().contains('3'));
        assert!(from("true").is_err());
    }

    #[test]
    fn a_token_may_be_long() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("token");
        std::fs::write(&path, "x".repeat(3000)).unwrap();
        assert_eq!(word(&Source::Token(path.clone())).unwrap().len(), 3000);
        assert!(word(&Source::File(path)).is_err());
    }

    #[test]
    fn a_secret_never_prints() {
        let proof = Source::Command("echo hunter2".into())
            .obtain("anna", "mail.test")
            .unwrap();
        assert!(!format!("{proof:?}").contains("hunter2"));
    }
}
