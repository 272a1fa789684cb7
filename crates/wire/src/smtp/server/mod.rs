//! The server's session: RFC 5321 with PIPELINING (2920), SIZE (1870), 8BITMIME (6152), SMTPUTF8 (6531),
//! ENHANCEDSTATUSCODES (2034), CHUNKING (3030), LIMITS (9422), STARTTLS (3207) and, for submission (6409), AUTH (4954). At a gate
//! also DSN (3461) and BINARYMIME (3030), where the servers behind have them.
//!
//! Left out, and never listed: REQUIRETLS.
//!
//! A session is a [`Machine`]: see there how it is driven. What it guarantees:
//!
//! - One reply for one command, in order [SMTP-BASE-05] [SMTP-PIPE-03]; replies are handed out when the input is used up or
//!   32 KiB have gathered. Only a farewell (421) comes unasked.
//! - The greeting is handed out whole by the first step. Bytes that were received before the step after it came too early
//!   [SMTP-SMUG-04]: the client is told so and the session ends.
//! - Inside TLS nothing is left of what was said in clear: the session is another one [SMTP-STARTTLS-05] [SMTP-STARTTLS-19].
//!   Only counters of nuisances and the time the connection began are carried over.
//! - While it waits it holds no buffers. Between two chunks of a message it may hold one piece of it.

mod config;
mod core;
mod group;
mod intake;
mod limits;
mod login;
mod rest;
mod state;

use std::sync::Arc;
use std::time::Instant;

pub use self::config::{Config, Offers, Peer, Role, TlsPolicy};
use self::core::{Core, Counters};
pub use self::limits::Limits;
use self::state::{Rest, Skip, State, Turn};
use super::ask::{Answer, Ask};
use super::reply::{self, Reply};
use crate::inbox::{Inbox, Line};
use crate::seam::{Channel, ClearLogin, Encrypted, Leftover, TLS_HANDSHAKE_RECORD, TlsFacts};
use crate::session::{self, Machine, Next, Why};

/// Replies are handed out when this many octets have gathered, even if more commands are waiting.
const FLUSH_OCTETS: usize = 32 * 1024;

/// An SMTP session of the server. See the [module documentation](self).
pub struct Server {
    core: Core,
    inbox: Inbox,
    state: State,
    clock: Clock,
    /// Whether the first octets have been looked at.
    heard: bool,
    /// Set when the peer will send nothing more: why the session then ends.
    closed: Option<Why>,
    /// The server is about to stop.
    stopping: bool,
}

/// What is left of a session when it is upgraded, or is there before an implicit TLS handshake.
pub struct Fresh {
    config: Arc<Config>,
    peer: Peer,
    counters: Counters,
    began: Option<Instant>,
    /// With implicit TLS the greeting comes inside; after STARTTLS there is none.
    greets: bool,
    stopping: bool,
}

/// When the session runs out of patience.
#[derive(Debug, Default)]
struct Clock {
    began: Option<Instant>,
    /// Since when it has waited for this command or block.
    waits: Option<Instant>,
    /// Since when content has been coming in.
    content: Option<Instant>,
    /// Since when no message has been taken.
    mail: Option<Instant>,
    /// Since when the server is stopping.
    stops: Option<Instant>,
    /// Whether anything was received since the last look.
    moved: bool,
}

impl Server {
    /// A session on a clear connection. `now` is when the connection was accepted.
    pub fn clear(config: Arc<Config>, peer: Peer, now: Instant) -> Self {
        let exception: Option<ClearLogin> = peer.clear_login;
        let core = Core::new(config, peer, Channel::Clear(exception), Counters::default());
        let clock = Clock {
            began: Some(now),
            ..Clock::default()
        };
        Self::new(core, State::Greet { written: false }, clock, false)
    }

    fn new(core: Core, state: State, clock: Clock, stopping: bool) -> Self {
        Self {
            core,
            inbox: Inbox::default(),
            state,
            clock,
            heard: false,
            closed: None,
            stopping,
        }
    }

    /// The account logged in, if any.
    pub fn account(&self) -> Option<&str> {
        self.core.account.as_deref()
    }

    /// What was negotiated, if TLS is up.
    pub fn tls(&self) -> Option<&TlsFacts> {
        self.core.channel.encrypted().map(Encrypted::facts)
    }

    /// One step; nothing when there is another to take.
    fn step(&mut self, now: Instant) -> Option<Next<Ask>> {
        let turn = match std::mem::take(&mut self.state) {
            State::Greet { written } => self.greet(written),
            State::Rest(rest) => self.rest(rest),
            State::Skip(skip) => skip.on(&mut self.core, &mut self.inbox),
            State::Prompt(intake) => intake.prompt(&mut self.core, &self.inbox),
            State::Content(intake) => intake.on(&mut self.core, &mut self.inbox),
            State::Drain(drain) => drain.on(&mut self.core, &mut self.inbox),
            State::Auth(login) => login.on(&mut self.core, &mut self.inbox),
            State::ToAsk(question) => Turn::Ask(question.0, question.1),
            // A step was taken without an answer: the driver's mistake.
            State::Asked(_) => self.core.leave(reply::OUR_FAULT_CLOSING, Why::Fault),
            State::Upgrade => {
                self.state = State::Upgrade;
                return Some(Next::Upgrade);
            }
            State::Leaving(why) => {
                self.state = State::Leaving(why);
                return Some(Next::Close(why));
            }
        };
        match turn {
            Turn::Go(state) => {
                self.state = state;
                self.clock.waits = None;
                None
            }
            Turn::Ask(ask, asked) => {
                self.state = State::Asked(asked);
                Some(Next::Ask(ask))
            }
            Turn::More(state) => {
                self.state = state;
                self.wait(now)
            }
        }
    }

    fn greet(&mut self, written: bool) -> Turn {
        if !self.inbox.is_empty() {
            return self.too_early();
        }
        if written {
            return Turn::Go(State::Rest(Rest::Ready));
        }
        if self.stopping {
            return self.core.leave(reply::STOPPING, Why::Shutdown);
        }
        let (host, out) = (&self.core.config.host, &mut self.core.out);
        if self.core.channel.is_below_floor() {
            // [REPLY-07] on a port for implicit TLS the answer is there before anything is asked (RFC 5321 3.1).
            reply::write_refusal(host, reply::TLS_TOO_WEAK, out);
        } else {
            reply::write_greeting(host, out);
        }
        Turn::More(State::Greet { written: true })
    }

    /// The client spoke before it was greeted [SMTP-SMUG-04].
    fn too_early(&mut self) -> Turn {
        if self.is_client_hello() {
            return self.silent(Why::TlsOnPlaintextPort);
        }
        if rest::is_http(self.inbox.waiting()) {
            return self.core.leave(reply::NOT_HTTP, Why::HttpRequest);
        }
        self.core.leave(reply::OUT_OF_SYNC, Why::OutOfSync)
    }

    /// Whether the client took this port for one with implicit TLS [IMPL-04].
    fn is_client_hello(&self) -> bool {
        !self.core.channel.is_encrypted()
            && self.inbox.waiting().first() == Some(&TLS_HANDSHAKE_RECORD)
    }

    fn silent(&mut self, why: Why) -> Turn {
        self.core.out.clear();
        Turn::Go(State::Leaving(why))
    }

    fn rest(&mut self, rest: Rest) -> Turn {
        self.clock.content = None;
        if self.stopping {
            // [SMTP-BASE-12] a command border, and nothing half done.
            return self.core.leave(reply::STOPPING, Why::Shutdown);
        }
        if !self.heard && self.is_client_hello() {
            return self.silent(Why::TlsOnPlaintextPort);
        }
        match self.inbox.line(self.core.config.limits.command_octets) {
            Line::Incomplete => {
                self.heard |= !self.inbox.is_empty();
                Turn::More(State::Rest(rest))
            }
            Line::TooLong => {
                self.heard = true;
                Turn::Go(State::Skip(Skip {
                    octets: 0,
                    reply: reply::LINE_TOO_LONG,
                    back: rest,
                }))
            }
            Line::Complete(line) => {
                let first = self.core.client.is_none() && self.core.counters.bad_commands == 0;
                self.heard = true;
                if first && rest::is_http(&line) {
                    return self.core.leave(reply::NOT_HTTP, Why::HttpRequest);
                }
                let turn = rest::on_line(rest, &line, !self.inbox.is_empty(), &mut self.core);
                group::gather(turn, &self.core, &mut self.inbox)
            }
        }
    }

    /// Nothing can be done without more bytes: hand out the output, or wait, or give up.
    fn wait(&mut self, now: Instant) -> Option<Next<Ask>> {
        if !self.core.out.is_empty() {
            return Some(Next::Write);
        }
        // An idle session holds no memory for what it said.
        self.core.out = Vec::new();
        if let Some(why) = self.closed {
            self.state = State::Leaving(why);
            return None;
        }
        if self.stopping && !self.takes_content() {
            return self.give_up(reply::STOPPING, Why::Shutdown);
        }
        let (until, reply, why) = self.deadline(now);
        if now >= until {
            self.give_up(reply, why)
        } else {
            Some(Next::Read { until })
        }
    }

    fn give_up(&mut self, reply: Reply, why: Why) -> Option<Next<Ask>> {
        self.core.say(reply);
        self.state = State::Leaving(why);
        None
    }

    fn takes_content(&self) -> bool {
        matches!(self.state, State::Content(_) | State::Drain(_))
    }

    /// The soonest of the deadlines that hold now, and what to say when it passes.
    fn deadline(&mut self, now: Instant) -> (Instant, Reply, Why) {
        let limits = &self.core.config.limits;
        let clock = &mut self.clock;
        let moved = std::mem::take(&mut clock.moved);
        let mut until = if matches!(self.state, State::Content(_) | State::Drain(_)) {
            if moved {
                clock.waits = None;
            }
            let total = *clock.content.get_or_insert(now) + limits.content_total;
            total.min(*clock.waits.get_or_insert(now) + limits.content_wait)
        } else {
            clock.content = None;
            let mail = *clock.mail.get_or_insert(now) + limits.message_wait;
            mail.min(*clock.waits.get_or_insert(now) + limits.command_wait)
        };
        if self.core.must_log_in() {
            until = until.min(*clock.began.get_or_insert(now) + limits.login_total);
        }
        if self.stopping {
            let stop = *clock.stops.get_or_insert(now) + limits.shutdown_grace;
            if stop < until {
                return (stop, reply::STOPPING, Why::Shutdown);
            }
        }
        (until, reply::TIMED_OUT, Why::Timeout)
    }
}

impl Machine for Server {
    type Ask = Ask;
    type Answer = Answer;
    type Fresh = Fresh;

    fn receive(&mut self, bytes: &[u8]) {
        self.clock.moved |= !bytes.is_empty();
        self.inbox.push(bytes);
    }

    fn next(&mut self, now: Instant) -> Next<Ask> {
        self.clock.began.get_or_insert(now);
        loop {
            if self.core.out.len() >= FLUSH_OCTETS {
                return Next::Write;
            }
            if let Some(next) = self.step(now) {
                return next;
            }
        }
    }

    fn answer(&mut self, answer: Answer) {
        if matches!(answer, Answer::Stored(Ok(_))) {
            self.clock.mail = None;
        }
        let turn = match std::mem::take(&mut self.state) {
            State::Asked(asked) => asked.on(answer, &mut self.core),
            // An answer nobody asked for: the driver's mistake.
            _ => self.core.leave(reply::OUR_FAULT_CLOSING, Why::Fault),
        };
        self.clock.waits = None;
        self.state = match turn {
            Turn::Go(state) | Turn::More(state) => state,
            Turn::Ask(ask, asked) => State::ToAsk(Box::new((ask, asked))),
        };
    }

    fn output(&mut self) -> &mut Vec<u8> {
        &mut self.core.out
    }

    fn shutdown(&mut self) {
        self.stopping = true;
    }

    fn peer_closed(&mut self, clean: bool) {
        self.closed = Some(if clean { Why::PeerClosed } else { Why::Broken });
    }

    fn is_below_floor(&self) -> bool {
        self.core.channel.is_below_floor()
    }

    /// [SMTP-STARTTLS-05] The buffer goes into the handshake; the client's words, the transaction and the state are dropped.
    fn upgrade(mut self) -> (Fresh, Leftover) {
        let fresh = Fresh {
            config: self.core.config,
            peer: self.core.peer,
            counters: self.core.counters,
            began: self.clock.began,
            greets: false,
            stopping: self.stopping,
        };
        (fresh, Leftover::new(self.inbox.take()))
    }
}

impl Fresh {
    /// Before the handshake on a port for implicit TLS: the greeting comes inside [IMPL-01].
    pub fn implicit(config: Arc<Config>, peer: Peer) -> Self {
        Self {
            config,
            peer,
            counters: Counters::default(),
            began: None,
            greets: true,
            stopping: false,
        }
    }
}

impl session::Fresh for Fresh {
    type Session = Server;

    fn secured(self, facts: TlsFacts) -> Server {
        // [SMTP-STARTTLS-12] the outcome of the negotiation is held against the policy.
        let channel = Channel::secured(facts, self.config.tls.least);
        let core = Core::new(self.config, self.peer, channel, self.counters);
        let state = if self.greets {
            State::Greet { written: false }
        } else {
            State::Rest(Rest::Ready)
        };
        let clock = Clock {
            began: self.began,
            ..Clock::default()
        };
        Server::new(core, state, clock, self.stopping)
    }
}
