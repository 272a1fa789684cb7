//! How the program ends: 0 good, 1 findings, 2 wrong usage or configuration, 3 could not tell or do (network, disk).

use std::fmt::Display;
use std::process::ExitCode;

/// Why the program ends without having done its work.
#[derive(Debug)]
pub(crate) struct Failure {
    code: u8,
    /// What happened, who is at fault, what to do next.
    text: String,
}

impl Failure {
    /// Wrong usage or configuration.
    pub(crate) fn usage(text: impl Display) -> Self {
        Self {
            code: 2,
            text: text.to_string(),
        }
    }

    /// The peer broke the rules, refused, or is not whom it should be.
    pub(crate) fn finding(text: impl Display) -> Self {
        Self {
            code: 1,
            text: text.to_string(),
        }
    }

    /// The machine or the network did not let us.
    pub(crate) fn local(text: impl Display) -> Self {
        Self {
            code: 3,
            text: text.to_string(),
        }
    }

    /// This code, and nothing to say: all was said already.
    pub(crate) const fn silent(code: u8) -> Self {
        Self {
            code,
            text: String::new(),
        }
    }

    /// The exit code.
    pub(crate) const fn code(&self) -> u8 {
        self.code
    }

    /// Says it on standard error.
    pub(crate) fn report(&self) -> ExitCode {
        if !self.text.is_empty() {
            eprintln!("gatepost: {}", self.text);
        }
        ExitCode::from(self.code)
    }
}

impl Display for Failure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.text)
    }
}
