//! One client at a mailbox: how long a command takes, from its first octet sent to its last octet read.

use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustls::ClientConfig;

use crate::fault::Fault;
use crate::peer::gatepost::{PASSWORD, account};
use crate::talk::Talk;

/// A server that reads a gigabyte for a search may be silent for so long.
const PATIENCE: Duration = Duration::from_secs(300);

/// A logged-in session of the first account.
pub(super) struct Session {
    talk: Talk,
}

/// What a command brought.
#[derive(Debug, Clone, Copy)]
pub(super) struct Answer {
    pub(super) elapsed: Duration,
    /// Lines that were not in a literal and began with a star.
    pub(super) lines: u64,
    /// Octets in literals.
    pub(super) octets: u64,
    /// Words behind `* SEARCH`.
    pub(super) found: u64,
}

impl Answer {
    pub(super) fn millis(&self) -> f64 {
        self.elapsed.as_secs_f64() * 1e3
    }
}

impl Session {
    /// Connects and logs in.
    pub(super) fn open(imaps: u16, client: &Arc<ClientConfig>) -> Result<Self, Fault> {
        let mut talk = Talk::encrypted(Ipv4Addr::LOCALHOST, imaps, client)?;
        talk.be_patient(PATIENCE)?;
        talk.imap("* OK")?;
        let mut session = Self { talk };
        session.command(&format!("LOGIN {} {PASSWORD}", account(0)))?;
        Ok(session)
    }

    /// Sends a command, reads its whole answer and forgets it; it must end with OK.
    pub(super) fn command(&mut self, command: &str) -> Result<Answer, Fault> {
        let begun = Instant::now();
        self.talk.send(format!("a {command}\r\n").as_bytes())?;
        let (mut lines, mut octets, mut found) = (0, 0, 0);
        loop {
            let line = self.talk.line()?;
            if let Some(size) = literal(&line) {
                self.talk.skip(size)?;
                octets += size;
            }
            if let Some(end) = line.strip_prefix("a ") {
                let elapsed = begun.elapsed();
                return if end.starts_with("OK") {
                    Ok(Answer {
                        elapsed,
                        lines,
                        octets,
                        found,
                    })
                } else {
                    Err(Fault::Reply {
                        wanted: "OK",
                        got: line,
                    })
                };
            }
            if line.starts_with("* ") {
                lines += 1;
            }
            if let Some(numbers) = line.strip_prefix("* SEARCH ") {
                found += numbers.split(' ').count() as u64;
            }
        }
    }
}

/// The octets that follow a line.
fn literal(line: &str) -> Option<u64> {
    line.strip_suffix('}')?.rsplit_once('{')?.1.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::literal;

    #[test]
    fn a_literal_is_seen() {
        assert_eq!(literal("* 1 FETCH (BODY[] {10240}"), Some(10_240));
        assert_eq!(literal("* 1 FETCH (FLAGS ())"), None);
    }
}
