//! What every client session holds: buffers, channel, deadline, record, and the failure it ended with.

use std::time::{Duration, Instant};

use super::{Breach, Entry, Failure, Quote, Recorder, Refused, Speaker, Stage};
use crate::inbox::{Inbox, Line};
use crate::seam::{Channel, Encrypted, Leftover, TLS_HANDSHAKE_RECORD, TlsFacts};
use crate::session::{Next, Why};

/// The most octets read before TLS or, in clear, before the session is ready.
const CLEAR_BUDGET: usize = 64 * 1024;
/// Output that is written before more is made.
const PORTION: usize = 64 * 1024;

/// How long to wait, and for what.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Patience {
    pub(crate) stage: Stage,
    pub(crate) time: Duration,
}

pub(crate) struct Link {
    pub(crate) channel: Channel,
    pub(crate) inbox: Inbox,
    pub(crate) output: Vec<u8>,
    recorder: Option<Recorder>,
    until: Option<Instant>,
    /// The peer has closed, in an orderly way or not.
    closed: Option<bool>,
    failure: Option<Failure>,
    /// Octets of lines read while the budget for clear text counts.
    early: usize,
    budgeted: bool,
    pub(crate) stopping: bool,
    /// The last line of ours carried a credential: what the server answers may be part of the same exchange.
    exchanging: bool,
}

impl Link {
    pub(crate) fn clear(recorder: Option<Recorder>) -> Self {
        Self::new(Channel::Clear(None), recorder)
    }

    pub(crate) fn secured(facts: TlsFacts, recorder: Option<Recorder>) -> Self {
        if let Some(recorder) = &recorder {
            let facts = format!("{} {}", facts.version.label(), facts.suite);
            recorder.write(Entry {
                speaker: Speaker::Tls,
                text: Quote::new(facts.as_bytes(), true),
                encrypted: true,
                secret: false,
            });
        }
        Self::new(Channel::Encrypted(Encrypted::new(facts)), recorder)
    }

    fn new(channel: Channel, recorder: Option<Recorder>) -> Self {
        Self {
            budgeted: !channel.is_encrypted(),
            channel,
            inbox: Inbox::default(),
            output: Vec::new(),
            recorder,
            until: None,
            closed: None,
            failure: None,
            early: 0,
            stopping: false,
            exchanging: false,
        }
    }

    /// What was said in clear is not authenticated; nor is what an unverified peer said.
    pub(crate) fn is_authenticated(&self) -> bool {
        self.channel
            .encrypted()
            .is_some_and(|it| it.facts().verified.is_some())
    }

    pub(crate) fn quote(&self, octets: &[u8]) -> Quote {
        Quote::new(octets, self.is_authenticated())
    }

    pub(crate) fn refused(&self, temporary: bool, octets: &[u8]) -> Refused {
        Refused {
            temporary,
            reply: self.quote(octets),
        }
    }

    /// The session is ready in clear: the budget counts no longer.
    pub(crate) fn lift_budget(&mut self) {
        self.budgeted = false;
    }

    /// Takes a line of at most `limit` octets.
    pub(crate) fn line(&mut self, limit: usize, stage: Stage) -> Result<Option<Vec<u8>>, Failure> {
        if stage == Stage::Greeting
            && !self.channel.is_encrypted()
            && self.inbox.waiting().first() == Some(&TLS_HANDSHAKE_RECORD)
        {
            return Err(Failure::TlsOnClearPort);
        }
        match self.inbox.line(limit) {
            Line::Incomplete => Ok(None),
            Line::TooLong => Err(Failure::TooMuch(stage)),
            Line::Complete(line) => {
                self.note_received(&line);
                self.spend(line.len() + 2, stage)?;
                Ok(Some(line))
            }
        }
    }

    /// A line of a reply: bare line ends and NUL in it are a breach.
    pub(crate) fn reply_line(
        &mut self,
        limit: usize,
        stage: Stage,
    ) -> Result<Option<Vec<u8>>, Failure> {
        let line = self.line(limit, stage)?;
        match line {
            Some(line) if !is_plain(&line) => Err(Failure::Protocol(Breach::BareControl, stage)),
            line => Ok(line),
        }
    }

    /// Counts octets against the budget for clear text.
    pub(crate) fn spend(&mut self, octets: usize, stage: Stage) -> Result<(), Failure> {
        self.early = self.early.saturating_add(octets);
        if self.budgeted && self.early > CLEAR_BUDGET {
            return Err(Failure::TooMuch(stage));
        }
        Ok(())
    }

    /// Writes what waits, or waits for more.
    pub(crate) fn wait<A>(&mut self, now: Instant, patience: Patience) -> Result<Next<A>, Failure> {
        if !self.output.is_empty() {
            return Ok(self.write());
        }
        if let Some(clean) = self.closed {
            // [SMTP-STARTTLS-25] what is not complete does not count, however the end came
            return Err(if clean {
                Failure::Closed(patience.stage)
            } else {
                Failure::Truncated(patience.stage)
            });
        }
        let until = *self.until.get_or_insert(now + patience.time);
        if now >= until {
            return Err(match patience.stage {
                Stage::Greeting => Failure::GreetingMissing,
                stage => Failure::Timeout(stage),
            });
        }
        self.output = Vec::new();
        Ok(Next::Read { until })
    }

    pub(crate) fn write<A>(&mut self) -> Next<A> {
        self.until = None;
        Next::Write
    }

    /// Whether so much output waits that it should be written first.
    pub(crate) fn is_full(&self) -> bool {
        self.output.len() >= PORTION
    }

    /// Something was completed: the next wait has a deadline of its own.
    pub(crate) fn advance(&mut self) {
        self.until = None;
    }

    /// Says a line; CRLF is added. The caller has seen to it that there is none in it.
    pub(crate) fn say(&mut self, line: &[u8]) {
        self.note(Speaker::Client, line, false);
        self.exchanging = false;
        self.output.extend_from_slice(line);
        self.output.extend_from_slice(b"\r\n");
    }

    /// Says a line that carries a credential; the record gets `instead`.
    pub(crate) fn say_secret(&mut self, line: &[u8], instead: &str) {
        self.note(Speaker::Client, instead.as_bytes(), true);
        self.exchanging = true;
        self.output.extend_from_slice(line);
        self.output.extend_from_slice(b"\r\n");
    }

    pub(crate) fn note(&self, speaker: Speaker, line: &[u8], secret: bool) {
        if let Some(recorder) = &self.recorder {
            let authenticated = speaker != Speaker::Server || self.is_authenticated();
            recorder.write(Entry {
                speaker,
                text: Quote::new(line, authenticated),
                encrypted: self.channel.is_encrypted(),
                secret,
            });
        }
    }

    fn note_received(&self, line: &[u8]) {
        if self.exchanging && is_challenge(line) {
            // Nonce, salt and proof of SCRAM are all that a dictionary needs to be tried on the password.
            self.note(Speaker::Server, b"(challenge)", true);
        } else {
            self.note(Speaker::Server, line, false);
        }
    }

    pub(crate) fn fail<A>(&mut self, failure: Failure) -> Next<A> {
        self.failure.get_or_insert(failure);
        // What was not written yet is not worth writing any more, and half a message must not look like a whole one.
        self.output.clear();
        Next::Close(Why::Failed)
    }

    pub(crate) fn failure(&self) -> Option<&Failure> {
        self.failure.as_ref()
    }

    pub(crate) fn peer_closed(&mut self, clean: bool) {
        self.closed = Some(clean);
    }

    /// Fails when the peer has closed: for states that make output without waiting.
    pub(crate) fn check_open(&self, stage: Stage) -> Result<(), Failure> {
        match self.closed {
            None => Ok(()),
            Some(true) => Err(Failure::Closed(stage)),
            Some(false) => Err(Failure::Truncated(stage)),
        }
    }

    /// In clear, nothing may have come before it was asked for: it would not be an answer.
    pub(crate) fn check_silent(&self, stage: Stage) -> Result<(), Failure> {
        if self.channel.is_encrypted() || self.inbox.is_empty() {
            return Ok(());
        }
        Err(Failure::Protocol(Breach::Unasked, stage))
    }

    pub(crate) fn into_leftover(mut self) -> Leftover {
        Leftover::new(self.inbox.take())
    }
}

/// Whether a server's line is part of an exchange of credentials, in any of the protocols: `334 …`, `+ …`, and in `ManageSieve`
/// a string, the literal behind its announcement, or `OK (SASL …)`.
fn is_challenge(line: &[u8]) -> bool {
    let bare_verdict = [&b"OK"[..], b"NO", b"BYE", b"+OK", b"-ERR"].contains(&line)
        || (line.len() == 3 && line.iter().all(u8::is_ascii_digit));
    line.starts_with(b"334 ")
        || line.starts_with(b"+ ")
        || (!line.contains(&b' ') && !bare_verdict)
        || memchr::memmem::find(line, b"(SASL").is_some()
}

/// No CR, LF or NUL: fit to stand in a line. [SMTP-BASE-04]
pub(crate) fn is_plain(octets: &[u8]) -> bool {
    !octets.iter().any(|it| matches!(it, b'\r' | b'\n' | 0))
}

/// The verb of a line typed by a person, in upper case: spaces and tabs before it and behind it do not hide it.
pub(crate) fn verb(line: &[u8]) -> Vec<u8> {
    let mut words = line.split(u8::is_ascii_whitespace);
    let first = words.find(|it| !it.is_empty());
    first.unwrap_or_default().to_ascii_uppercase()
}
