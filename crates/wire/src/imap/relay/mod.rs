//! The dialogue of a logged-in IMAP session, passing through a gate.
//!
//! ```text
//!   client ──command lines, literals by count──▶ upstream      STARTTLS, COMPRESS, LOGIN, … become a command nobody knows
//!   client ◀──lines, literals by count────────── upstream      CAPABILITY without what is not for this connection
//! ```
//!
//! - Literals are counted, never searched: what a message holds is not looked at.
//! - A refused command goes on under its own tag as one the upstream does not know: the upstream answers BAD, in its place among
//!   the other answers.
//! - A synchronising literal waits for the upstream's word: after `+` octets follow, after a tagged answer a new command. A
//!   client that does not wait cannot be followed and is cut off.
//! - A bare CR or LF in a command line ends the session: two servers could see two different commands in it.
//!
//! | file | holds |
//! |---|---|
//! | `forth` | the client's words |
//! | `back` | the upstream's words |
//! | `line` | what a line of the upstream is |
//! | `tail` | where a line ends, and the literal it announces |

mod back;
mod forth;
mod line;
mod tail;

#[cfg(test)]
mod tests;

use back::Back;
use forth::Forth;

use crate::passage::Passage;
use crate::session::Why;

/// Whether a capability of the upstream is also one of the connection to the client [GW-01]: how TLS, logins and compression
/// stand there says nothing about here. [SASL-CB-03] mechanisms bound to the upstream's TLS go with all the others.
pub fn is_carried(word: &str) -> bool {
    let word = word.to_ascii_uppercase();
    let never = [
        "STARTTLS",
        "LOGINDISABLED",
        "SASL-IR",
        "UNAUTHENTICATE",
        "XCLIENT",
        "XFORWARD",
        "LOGIN-REFERRALS",
    ];
    !never.contains(&word.as_str())
        && !word.starts_with("AUTH=")
        && !word.starts_with("COMPRESS=")
        && !word.ends_with("-PLUS")
}

/// The capabilities of a list that are carried.
pub fn carried(list: &str) -> String {
    let words: Vec<&str> = list
        .split(' ')
        .filter(|word| !word.is_empty() && is_carried(word))
        .collect();
    words.join(" ")
}

/// The passage. See the [module documentation](self).
#[derive(Debug, Default)]
pub struct Relay {
    forth: Forth,
    back: Back,
    /// The tag of the command whose synchronising literal waits for leave.
    waiting: Option<Box<[u8]>>,
    /// LOGOUT was said.
    leaving: bool,
}

impl Passage for Relay {
    fn forth(&mut self, bytes: &[u8], out: &mut Vec<u8>) -> Result<(), Why> {
        let mut rest = bytes;
        while !rest.is_empty() {
            rest = self.step_forth(rest, out)?;
        }
        Ok(())
    }

    fn back(&mut self, bytes: &[u8], out: &mut Vec<u8>) -> Result<(), Why> {
        let mut rest = bytes;
        while !rest.is_empty() {
            rest = self.step_back(rest, out)?;
        }
        Ok(())
    }

    fn is_leaving(&self) -> bool {
        self.leaving
    }

    fn farewell(&self) -> &'static [u8] {
        match &self.back {
            Back::Head(head) if head.is_empty() => b"* BYE The server is stopping\r\n",
            _ => b"",
        }
    }
}

/// As much of the words as is left of a literal, and the rest.
fn split(bytes: &[u8], left: u64) -> (&[u8], &[u8]) {
    let now = usize::try_from(left).unwrap_or(usize::MAX).min(bytes.len());
    bytes.split_at_checked(now).unwrap_or((bytes, &[]))
}
