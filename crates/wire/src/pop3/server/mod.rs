//! The POP3 server session.
//!
//! ```text
//!                        ┌──────────── refused ◀───────────┐
//!                        ▼                                  │
//! Greet ──▶ Authorization ──USER, PASS──▶ Judging ──▶ Opening ──▶ Transaction ──QUIT──▶ Updating ──▶ Leaving
//!              │     ▲  └──AUTH──▶ Exchange ─▲ │
//!              │     └───── refused ──────────┘ (a round of challenge and response)
//!              └──STLS──▶ Upgrade ──▶ (Fresh) ──▶ Greet is skipped: Authorization
//! ```
//!
//! 1. The greeting is written. On a port for implicit TLS there is no session before the handshake [IMPL-01].
//! 2. In clear, USER, PASS and AUTH are refused before their arguments are looked at [POP-TLS-04] [POP-TLS-07]; STLS leads to TLS, and
//!    nothing said before counts after [POP-TLS-05].
//! 3. A login opens the maildrop, which stays as it is until the session ends. A client certificate never logs in [IMPL-02].
//! 4. Messages marked by DELE are removed when QUIT is answered, and never otherwise [POP-TLS-06].
//!
//! Commands are carried out in the order they came, however they were cut into segments [POP-PIPE-01]. When the session ends
//! in any way but QUIT the backend unlocks the maildrop by itself.

mod commands;
mod languages;
mod logins;

use std::mem;
use std::sync::Arc;
use std::time::{Duration, Instant};

use zeroize::Zeroize as _;

use super::ask::{Answer, Ask};
use super::command::is_http;
use super::reply::{self, Refusal};
use super::transaction::{Need, Transaction};
use crate::inbox::{Inbox, Line};
use crate::sasl::Exchange;
use crate::sasl::Mechanism;
use crate::seam::{Channel, ClearLogin, Leftover, TLS_HANDSHAKE_RECORD, TlsFacts, TlsVersion};
use crate::session::{Fresh as FreshSession, Machine, Next, Why};

/// The longest command line in octets; RFC 2449 4 asks for 255, PLAIN with an initial response can be longer.
const LONGEST_COMMAND: usize = 2048;
/// The longest line of a SASL response in octets (RFC 5034 4, as RFC 4954 4).
const LONGEST_RESPONSE: usize = 12_288;
/// Output that is written before more is made.
const PORTION: usize = 64 * 1024;

/// What the sessions of a listener share.
#[derive(Debug, Clone)]
pub struct Config {
    /// This server's name, for the greeting.
    pub host: Box<str>,
    /// What the greeting says behind the name. Characters that would end the line or announce APOP are left out.
    pub greeting: Box<str>,
    /// Whether TLS can be offered: on a listener in clear, that STLS is announced and works.
    pub starttls: bool,
    /// The oldest version of TLS that is worked with; with an older one there is no login [REPLY-07].
    pub least: TlsVersion,
    /// What CAPA lists before login instead of what the maildrop behind this session can do: a gate's list, of what its upstream
    /// offers [GW-01]. Logins and TLS are announced by this session's own state in any case.
    pub offer: Option<Box<[Box<str>]>>,
    /// The mechanisms allowed for logins; USER and PASS go with PLAIN.
    pub mechanisms: Vec<Mechanism>,
    /// Limits.
    pub limits: Limits,
}

/// How long and how often.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// How long a client that has not logged in may be silent. Default 60 s.
    pub login_idle: Duration,
    /// How long a login may take in all, TLS not counted. Default 5 min.
    pub login_total: Duration,
    /// How long a client that has logged in may be silent. Default 10 min, the least RFC 1939 3 allows.
    pub idle: Duration,
    /// The bad command that ends the session. Default 10.
    pub bad_commands: u8,
    /// The failed login that ends the session. Default 3.
    pub failed_logins: u8,
    /// How many commands may come before a login. Default 100.
    pub commands_before_login: u16,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            login_idle: Duration::from_secs(60),
            login_total: Duration::from_secs(300),
            // [POP-TLS-06]
            idle: Duration::from_secs(600),
            bad_commands: 10,
            failed_logins: 3,
            commands_before_login: 100,
        }
    }
}

/// A session before it has begun: configuration and counters.
#[derive(Debug)]
pub struct Fresh {
    config: Arc<Config>,
    counters: Counters,
    greets: bool,
}

/// What is counted against the limits.
#[derive(Debug, Clone, Copy, Default)]
struct Counters {
    commands: u16,
    bad_commands: u8,
    failed_logins: u8,
}

/// The session.
pub struct Server {
    config: Arc<Config>,
    channel: Channel,
    counters: Counters,
    state: State,
    inbox: Inbox,
    output: Vec<u8>,
    /// A question decided on and not yet asked.
    question: Option<Ask>,
    /// When the client's silence has lasted too long.
    until: Option<Instant>,
    /// When the session was first waited for on this channel.
    began: Option<Instant>,
    /// The rest of a line that was too long is being dropped.
    skipping: bool,
    /// The peer has closed; what it said before still counts.
    closed: Option<Why>,
    stopping: bool,
}

enum State {
    Greet,
    Authorization {
        user: Option<Box<str>>,
    },
    /// A challenge was sent.
    Exchange(Box<Exchange>),
    /// The keeper of the accounts was asked; in a SASL exchange this is it.
    Judging(Option<Box<Exchange>>),
    /// The maildrop was asked for.
    Opening,
    Transaction(Box<Transaction>),
    /// The removal was asked for.
    Updating,
    Upgrade,
    Leaving(Why),
}

impl Fresh {
    /// A session on a port for implicit TLS: it greets inside TLS.
    pub fn implicit(config: Arc<Config>) -> Self {
        Self {
            config,
            counters: Counters::default(),
            greets: true,
        }
    }
}

impl FreshSession for Fresh {
    type Session = Server;

    fn secured(self, facts: TlsFacts) -> Server {
        // RFC 2595 4: no second greeting after STLS.
        let state = if self.greets {
            State::Greet
        } else {
            State::Authorization { user: None }
        };
        let channel = Channel::secured(facts, self.config.least);
        Server::new(self.config, channel, self.counters, state)
    }
}

impl Server {
    /// A session in clear. `exception` lets this client log in without TLS.
    pub fn clear(config: Arc<Config>, exception: Option<ClearLogin>, now: Instant) -> Self {
        let until = now + config.limits.login_idle;
        let session = Self::new(
            config,
            Channel::Clear(exception),
            Counters::default(),
            State::Greet,
        );
        Self {
            until: Some(until),
            ..session
        }
    }

    fn new(config: Arc<Config>, channel: Channel, counters: Counters, state: State) -> Self {
        Self {
            config,
            channel,
            counters,
            state,
            inbox: Inbox::default(),
            output: Vec::new(),
            question: None,
            until: None,
            began: None,
            skipping: false,
            closed: None,
            stopping: false,
        }
    }
}

impl Machine for Server {
    type Ask = Ask;
    type Answer = Answer;
    type Fresh = Fresh;

    fn receive(&mut self, bytes: &[u8]) {
        self.inbox.push(bytes);
    }

    fn next(&mut self, now: Instant) -> Next<Ask> {
        loop {
            if let Some(question) = self.question.take() {
                self.until = None;
                return Next::Ask(question);
            }
            if let Some(next) = self.step(now) {
                return next;
            }
        }
    }

    fn answer(&mut self, answer: Answer) {
        // Whatever does not fit ends the session.
        match (
            mem::replace(&mut self.state, State::Leaving(Why::Fault)),
            answer,
        ) {
            (State::Judging(None), Answer::Account(answer)) => self.judged(&answer),
            (State::Judging(Some(mut exchange)), Answer::Account(answer)) => {
                let step = exchange.answer(answer);
                self.follow(exchange, step);
            }
            (State::Judging(exchange), Answer::HandOver { account }) => {
                self.hand_over(exchange, account);
            }
            (State::Opening, Answer::Opened(result)) => self.opened(result),
            (State::Updating, Answer::Updated(result)) => {
                match result {
                    Ok(()) => reply::ok(&mut self.output, format_args!("goodbye")),
                    Err(_) => reply::err(&mut self.output, Refusal::NotRemoved),
                }
                self.state = State::Leaving(Why::Quit);
            }
            (State::Transaction(mut transaction), Answer::Octets(result)) => {
                let taken = transaction.octets(result, &mut self.output);
                self.state = taken.map_or(State::Leaving(Why::Fault), |()| {
                    State::Transaction(transaction)
                });
            }
            _ => {}
        }
    }

    fn output(&mut self) -> &mut Vec<u8> {
        &mut self.output
    }

    fn shutdown(&mut self) {
        self.stopping = true;
    }

    fn peer_closed(&mut self, clean: bool) {
        self.closed = Some(if clean { Why::PeerClosed } else { Why::Broken });
    }

    fn unread(&mut self) -> Vec<u8> {
        self.inbox.take()
    }

    fn is_below_floor(&self) -> bool {
        self.channel.is_below_floor()
    }

    fn upgrade(mut self) -> (Fresh, Leftover) {
        // [POP-TLS-05] of the session only configuration and counters go on
        let fresh = Fresh {
            config: self.config,
            counters: self.counters,
            greets: false,
        };
        (fresh, Leftover::new(self.inbox.take()))
    }
}

/// Steps.
impl Server {
    /// Takes a step; none means that another can follow at once.
    fn step(&mut self, now: Instant) -> Option<Next<Ask>> {
        match &mut self.state {
            State::Leaving(why) => return Some(Next::Close(*why)),
            State::Upgrade => return Some(Next::Upgrade),
            // A question was asked and has no answer: the driver may not go on.
            State::Judging(_) | State::Opening | State::Updating => {
                return Some(Next::Close(Why::Fault));
            }
            _ if self.output.len() >= PORTION => return Some(self.write()),
            State::Greet => self.greet(),
            State::Transaction(transaction) if transaction.is_busy() => {
                match transaction.work(&mut self.output) {
                    Need::Nothing => {}
                    Need::Write => return Some(self.write()),
                    Need::Ask(ask) => self.question = Some(ask),
                    Need::Answer => return Some(Next::Close(Why::Fault)),
                }
            }
            _ => return self.listen(now),
        }
        None
    }

    fn greet(&mut self) {
        if let Some(why) = self.too_early() {
            self.state = State::Leaving(why);
            return;
        }
        if self.channel.is_below_floor() {
            return self.leave(Refusal::TlsTooWeak, Why::TlsTooWeak);
        }
        self.state = State::Authorization { user: None };
        if !self.stopping {
            let (host, text) = (
                reply::harmless(&self.config.host),
                reply::harmless(&self.config.greeting),
            );
            reply::ok(&mut self.output, format_args!("{host} {text}"));
        }
    }

    /// [REPLY-09] Words in clear before the greeting: whoever sends them does not speak POP3. Inside TLS they are put up with,
    /// as some programs hand over all they have to say at once.
    fn too_early(&self) -> Option<Why> {
        let waiting = self.inbox.waiting();
        match waiting.first() {
            None => None,
            Some(_) if self.channel.is_encrypted() => None,
            // [IMPL-04]
            Some(&TLS_HANDSHAKE_RECORD) => Some(Why::TlsOnPlaintextPort),
            Some(_) if is_http(waiting.split(|it| *it == b'\r').next().unwrap_or_default()) => {
                Some(Why::HttpRequest)
            }
            Some(_) => Some(Why::OutOfSync),
        }
    }

    /// Between two commands.
    fn listen(&mut self, now: Instant) -> Option<Next<Ask>> {
        if self.stopping {
            self.leave(Refusal::Stopping, Why::Shutdown);
            return None;
        }
        // [IMPL-04]
        let first = self.counters.commands == 0 && !self.channel.is_encrypted();
        if first && self.inbox.waiting().first() == Some(&TLS_HANDSHAKE_RECORD) {
            self.state = State::Leaving(Why::TlsOnPlaintextPort);
            return None;
        }
        if self.skipping {
            self.skipping = !self.inbox.skip_line();
            if self.skipping {
                return self.wait(now);
            }
        }
        let limit = if matches!(self.state, State::Exchange(_)) {
            LONGEST_RESPONSE
        } else {
            LONGEST_COMMAND
        };
        match self.inbox.line(limit) {
            Line::Incomplete => return self.wait(now),
            Line::Complete(mut line) => {
                self.count_command();
                self.on_line(&line);
                line.zeroize();
            }
            Line::TooLong => {
                self.count_command();
                self.skip_line();
            }
        }
        self.until = None;
        None
    }

    /// There is no complete line: writes what waits, or waits for more.
    fn wait(&mut self, now: Instant) -> Option<Next<Ask>> {
        if !self.output.is_empty() {
            return Some(self.write());
        }
        if let Some(why) = self.closed {
            self.state = State::Leaving(why);
            return None;
        }
        let limits = &self.config.limits;
        let began = *self.began.get_or_insert(now);
        let until = if matches!(self.state, State::Transaction(_)) {
            *self.until.get_or_insert(now + limits.idle)
        } else {
            let silent = *self.until.get_or_insert(now + limits.login_idle);
            silent.min(began + limits.login_total)
        };
        if now >= until {
            // [POP-TLS-06] without a word and without removing anything (RFC 1939 3)
            self.state = State::Leaving(Why::Timeout);
            return None;
        }
        self.output = Vec::new();
        Some(Next::Read { until })
    }

    fn write(&mut self) -> Next<Ask> {
        self.until = None;
        Next::Write
    }

    fn count_command(&mut self) {
        self.counters.commands = self.counters.commands.saturating_add(1);
    }

    fn skip_line(&mut self) {
        self.skipping = !self.inbox.skip_line();
        if let State::Exchange(_) = self.state {
            self.state = State::Authorization { user: None };
        }
        self.refuse(Refusal::LineTooLong);
    }

    fn on_line(&mut self, line: &[u8]) {
        if self.counters.commands == 1 && is_http(line) {
            self.state = State::Leaving(Why::HttpRequest);
            return;
        }
        let logged_in = matches!(self.state, State::Transaction(_));
        if !logged_in && self.counters.commands > self.config.limits.commands_before_login {
            self.leave(Refusal::TooManyCommands, Why::LimitExceeded);
            return;
        }
        match mem::replace(&mut self.state, State::Leaving(Why::Fault)) {
            State::Exchange(exchange) => self.on_response(exchange, line),
            state => {
                self.state = state;
                self.on_command(line)
                    .unwrap_or_else(|refusal| self.refuse(refusal));
            }
        }
    }

    fn refuse(&mut self, refusal: Refusal) {
        if refusal.is_bad() {
            self.counters.bad_commands = self.counters.bad_commands.saturating_add(1);
            if self.counters.bad_commands >= self.config.limits.bad_commands {
                return self.leave(Refusal::TooManyErrors, Why::TooManyErrors);
            }
        }
        if refusal == Refusal::WrongCredentials {
            self.counters.failed_logins = self.counters.failed_logins.saturating_add(1);
            if self.counters.failed_logins >= self.config.limits.failed_logins {
                return self.leave(refusal, Why::TooManyLoginFailures);
            }
        }
        reply::err(&mut self.output, refusal);
    }

    fn leave(&mut self, refusal: Refusal, why: Why) {
        reply::err(&mut self.output, refusal);
        self.state = State::Leaving(why);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_idle_session_is_small() {
        assert!(size_of::<Server>() <= 400, "{}", size_of::<Server>());
    }
}
