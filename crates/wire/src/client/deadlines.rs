//! How long a client waits.

use std::time::Duration;

use super::{Patience, Stage};

/// How long a session waits in each state. Bytes that trickle in do not move a deadline; where a body streams, each portion does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Deadlines {
    /// For the greeting.
    pub greeting: Duration,
    /// For the reply to EHLO, CAPABILITY, CAPA or STARTTLS.
    pub hello: Duration,
    /// For each reply of a login.
    pub login: Duration,
    /// For the reply to any other command.
    pub command: Duration,
    /// For 354 (SMTP).
    pub data: Duration,
    /// For each portion of a message, in either direction.
    pub block: Duration,
    /// For the verdict on a message (SMTP: after the final dot).
    pub verdict: Duration,
    /// How long a connection on which nothing is asked is kept.
    pub idle: Duration,
    /// For the answer to QUIT or LOGOUT.
    pub farewell: Duration,
}

impl Deadlines {
    /// What RFC 5321 4.5.3.2 asks of a client that relays mail. [SMTP-BASE-10]
    pub const RELAY: Self = Self {
        greeting: Duration::from_secs(5 * 60),
        hello: Duration::from_secs(5 * 60),
        login: Duration::from_secs(5 * 60),
        command: Duration::from_secs(5 * 60),
        data: Duration::from_secs(2 * 60),
        block: Duration::from_secs(3 * 60),
        verdict: Duration::from_secs(10 * 60),
        idle: Duration::from_secs(30 * 60),
        farewell: Duration::from_secs(5),
    };

    /// For a person who waits: 10 s for the greeting, after which the port probably wants implicit TLS.
    pub const INTERACTIVE: Self = Self {
        greeting: Duration::from_secs(10),
        hello: Duration::from_secs(30),
        login: Duration::from_secs(60),
        command: Duration::from_secs(120),
        ..Self::RELAY
    };

    /// How long to wait at this stage.
    pub(crate) fn patience(&self, stage: Stage) -> Patience {
        let time = match stage {
            Stage::Greeting => self.greeting,
            Stage::Capabilities | Stage::StartTls => self.hello,
            Stage::Login => self.login,
            Stage::Command => self.command,
            Stage::Content => self.verdict,
            Stage::Body => self.block,
            Stage::Idle => self.idle,
            Stage::Farewell => self.farewell,
        };
        Patience { stage, time }
    }
}

impl Default for Deadlines {
    /// [`Deadlines::RELAY`].
    fn default() -> Self {
        Self::RELAY
    }
}
