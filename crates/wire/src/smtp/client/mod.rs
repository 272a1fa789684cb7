//! The SMTP and LMTP client's session (RFC 5321, RFC 2033).
//!
//! ```text
//!  Greeting ─220─▶ Hello ─250─▶ Asking ─220─▶ Upgrade ─▶ (Fresh) ─▶ Hello ─250─▶ Open ◀──▶ Login
//!                    └─ opportunistic, not offered; off ───────────────────────▲  │
//!                                                                    Farewell ◀──┘
//! ```
//!
//! 1. The greeting is exactly 220. In clear, words that come before they are asked for end the session.
//! 2. In mode [`Mode::StartTls`] STARTTLS is asked for whether it is offered or not: what the server offers in clear decides
//!    nothing. It stands alone in its write [SMTP-STARTTLS-08]; only 220 leads to the hand-over, at which nothing may be left over
//!    [SMTP-STARTTLS-20].
//! 3. Inside TLS the session begins anew with EHLO [SMTP-STARTTLS-06].
//! 4. [`Ask::Ready`] tells the owner what the server can do; from then on every question tells what happened, and every answer
//!    is the next action. Transactions are pipelined where the server allows it ([`Ask::More`]).
//! 5. Content streams: it is asked for in portions, and no more is held than one portion and what waits to be written.
//!
//! # Example
//!
//! ```
//! use std::sync::Arc;
//! use std::time::Instant;
//! use gatepost_wire::client::{Mode, Seed};
//! use gatepost_wire::session::{Machine as _, Next};
//! use gatepost_wire::smtp::client::{Client, Config};
//!
//! let config = Arc::new(Config::new(Mode::StartTls, "client.example"));
//! let mut session = Client::clear(config, Seed::new([0; 32]));
//! let now = Instant::now();
//! assert!(matches!(session.next(now), Next::Read { .. }));
//! session.receive(b"220 mx.example ESMTP\r\n");
//! assert_eq!(session.next(now), Next::Write);
//! assert_eq!(std::mem::take(session.output()), b"EHLO client.example\r\n");
//! session.receive(b"250 mx.example\r\n");
//! assert_eq!(session.next(now), Next::Write);
//! assert_eq!(std::mem::take(session.output()), b"STARTTLS\r\n");
//! session.receive(b"502 what?\r\n");
//! assert!(matches!(session.next(now), Next::Close(_)));
//! assert_eq!(session.failure().unwrap().label(), "E-STARTTLS-MISSING");
//! ```

mod ask;
mod capabilities;
mod flow;
mod login;
mod reply;
mod stuff;

use std::mem;
use std::sync::Arc;
use std::time::Instant;

pub use ask::{Answer, Ask, Delivery, Framing, Outcome, Transaction, Unsent};
pub use capabilities::{Capabilities, Limits, keyword_looks_masked};
pub use reply::{Enhanced, Reply, ReplyLine};
pub use stuff::{BareLineEnd, Encoder, LineEnds};

use crate::client::{
    Breach, Deadlines, Failure, Link, Mode, Patience, Recorder, Seed, Stage, is_plain, verb,
};
use crate::sasl::client::Exchange;
use crate::seam::{Channel, Leftover, MaySendCredentials, TlsFacts, UnverifiedLogin};
use crate::session::{Fresh as FreshSession, Machine, Next, Why};
use flow::Flow;
use reply::Reader;

/// Which of the two protocols.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Hash)]
pub enum Protocol {
    /// SMTP (RFC 5321).
    #[default]
    Smtp,
    /// LMTP (RFC 2033): LHLO, and a verdict for each recipient.
    Lmtp,
}

/// What is decided before connecting.
#[derive(Debug, Clone)]
pub struct Config {
    /// SMTP or LMTP.
    pub protocol: Protocol,
    /// How TLS comes about.
    pub mode: Mode,
    /// The name in EHLO: a domain or an address literal, ASCII [SMTP-UTF8-03].
    pub hello: Box<str>,
    /// How long to wait.
    pub deadlines: Deadlines,
    /// The exception for logins, if the user made one.
    pub exception: Option<UnverifiedLogin>,
    /// Where to record the dialogue.
    pub recorder: Option<Recorder>,
}

impl Config {
    /// SMTP with RFC 5321's deadlines, no exception and no record.
    pub fn new(mode: Mode, hello: &str) -> Self {
        Self {
            protocol: Protocol::Smtp,
            mode,
            hello: hello.into(),
            deadlines: Deadlines::RELAY,
            exception: None,
            recorder: None,
        }
    }

    fn is_usable(&self) -> bool {
        !self.hello.is_empty() && self.hello.bytes().all(|it| it.is_ascii_graphic())
    }
}

/// A session that has not begun.
#[derive(Debug)]
pub struct Fresh {
    config: Arc<Config>,
    seed: Seed,
    greets: bool,
}

/// The session.
pub struct Client {
    config: Arc<Config>,
    seed: Seed,
    link: Link,
    state: State,
    reader: Reader,
    capabilities: Capabilities,
    flow: Flow,
    question: Option<Ask>,
    /// A question has been asked and has no answer.
    asked: bool,
    news: bool,
}

enum State {
    Greeting,
    Hello {
        helo: bool,
    },
    Asking,
    Upgrade,
    /// XCLIENT was said; these lines are still to be.
    Introducing(Vec<String>),
    Login(Box<Exchange>),
    /// The exchange was cancelled for this reason.
    Cancelled(Box<Failure>),
    Open,
    Farewell,
    Over(Why),
    /// To be failed at the next step.
    Failing(Box<Failure>),
}

impl Fresh {
    /// A session that begins with TLS.
    pub fn implicit(config: Arc<Config>, seed: Seed) -> Self {
        Self {
            config,
            seed,
            greets: true,
        }
    }
}

impl FreshSession for Fresh {
    type Session = Client;

    fn secured(self, facts: TlsFacts) -> Client {
        let link = Link::secured(facts, self.config.recorder.clone());
        // [SMTP-STARTTLS-06] nothing is known of the server: EHLO again, before anything
        let mut client = Client::new(self.config, self.seed, link);
        if !self.greets {
            client.say_hello(false);
        }
        client
    }
}

impl Client {
    /// A session that begins in clear: modes [`Mode::StartTls`], [`Mode::Opportunistic`] and [`Mode::Off`].
    pub fn clear(config: Arc<Config>, seed: Seed) -> Self {
        let link = Link::clear(config.recorder.clone());
        let implicit = config.mode == Mode::Implicit;
        let mut client = Self::new(config, seed, link);
        if implicit {
            client.state = State::Failing(Box::new(Failure::Misuse));
        }
        client
    }

    fn new(config: Arc<Config>, seed: Seed, link: Link) -> Self {
        let state = if config.is_usable() {
            State::Greeting
        } else {
            State::Failing(Box::new(Failure::Misuse))
        };
        Self {
            config,
            seed,
            link,
            state,
            reader: Reader::default(),
            capabilities: Capabilities::default(),
            flow: Flow::default(),
            question: None,
            asked: false,
            news: false,
        }
    }

    /// Why the session failed, after [`Next::Close`] with [`Why::Failed`].
    pub fn failure(&self) -> Option<&Failure> {
        self.link.failure()
    }

    /// How the session's words travel.
    pub fn channel(&self) -> &Channel {
        &self.link.channel
    }

    /// What the server can do, from the last EHLO on this channel. In clear, whatever someone on the path made of it.
    pub fn capabilities(&self) -> &Capabilities {
        &self.capabilities
    }

    /// The transactions without an outcome, by id, and whether their content was sent whole: then the server may have taken
    /// the message though its reply never came. For the owner of a session that failed.
    pub fn unfinished(&self) -> impl Iterator<Item = (u64, bool)> {
        self.flow.unfinished()
    }

    /// How many more transactions the server's limit allows in this session; none without a limit. [SMTP-LIM-03]
    pub fn transactions_left(&self) -> Option<u32> {
        let limit = self.capabilities.limits.transactions?;
        Some(limit.saturating_sub(self.flow.begun()))
    }
}

impl Machine for Client {
    type Ask = Ask;
    type Answer = Answer;
    type Fresh = Fresh;

    fn receive(&mut self, bytes: &[u8]) {
        self.link.inbox.push(bytes);
    }

    fn next(&mut self, now: Instant) -> Next<Ask> {
        loop {
            match self.step(now) {
                Ok(Some(next)) => return next,
                Ok(None) => {}
                Err(failure) => {
                    let quits = matches!(
                        failure,
                        Failure::HelloRefused(_)
                            | Failure::StartTlsMissing(_)
                            | Failure::StartTlsRefused(_)
                    );
                    let close = self.link.fail(failure);
                    if quits {
                        self.link.say(b"QUIT");
                    }
                    self.state = State::Over(Why::Failed);
                    return close;
                }
            }
        }
    }

    fn answer(&mut self, answer: Answer) {
        if !mem::take(&mut self.asked) {
            self.state = State::Failing(Box::new(Failure::Misuse));
            return;
        }
        if let Err(failure) = self.act(answer) {
            self.state = State::Failing(Box::new(failure));
        }
    }

    fn output(&mut self) -> &mut Vec<u8> {
        &mut self.link.output
    }

    fn news(&mut self) {
        self.news = true;
    }

    fn shutdown(&mut self) {
        self.link.stopping = true;
    }

    fn peer_closed(&mut self, clean: bool) {
        self.link.peer_closed(clean);
    }

    fn unread(&mut self) -> Vec<u8> {
        self.link.inbox.take()
    }

    fn upgrade(self) -> (Fresh, Leftover) {
        // [SMTP-STARTTLS-06] [SMTP-STARTTLS-20] of the session only configuration and the seed go on
        let fresh = Fresh {
            config: self.config,
            seed: self.seed,
            greets: false,
        };
        (fresh, self.link.into_leftover())
    }
}

/// Steps.
impl Client {
    /// Takes a step; none means that another can follow at once.
    fn step(&mut self, now: Instant) -> Result<Option<Next<Ask>>, Failure> {
        if self.asked {
            return Err(Failure::Misuse);
        }
        match &mut self.state {
            State::Over(why) => return Ok(Some(Next::Close(*why))),
            State::Failing(failure) => return Err((**failure).clone()),
            State::Upgrade => return Ok(Some(Next::Upgrade)),
            _ if self.link.stopping => return Err(Failure::Stopped),
            _ => {}
        }
        if let Some(question) = self.question.take() {
            self.asked = true;
            return Ok(Some(Next::Ask(question)));
        }
        if self.link.is_full() {
            return Ok(Some(self.link.write()));
        }
        if !self.link.output.is_empty() && !self.link.channel.is_encrypted() {
            // In clear, one word at a time: what is read after this was said after it.
            return Ok(Some(self.link.write()));
        }
        let stage = self.stage();
        if let Some(reply) = self.reader.read(&mut self.link, stage)? {
            self.link.advance();
            self.on_reply(reply)?;
            return Ok(None);
        }
        if matches!(self.state, State::Open) && self.proceed()? {
            return Ok(None);
        }
        let patience = self.patience();
        match self.link.wait(now, patience) {
            // The server need not answer a farewell.
            Err(_) if matches!(self.state, State::Farewell) => {
                self.state = State::Over(Why::Quit);
                Ok(None)
            }
            result => result.map(Some),
        }
    }

    fn stage(&self) -> Stage {
        match self.state {
            State::Greeting => Stage::Greeting,
            State::Hello { .. } | State::Introducing(_) => Stage::Capabilities,
            State::Asking => Stage::StartTls,
            State::Login(_) | State::Cancelled(_) => Stage::Login,
            State::Farewell => Stage::Farewell,
            _ => self.flow.stage(),
        }
    }

    fn patience(&self) -> Patience {
        let deadlines = &self.config.deadlines;
        let patience = deadlines.patience(self.stage());
        if patience.stage == Stage::Content && self.flow.awaits_go() {
            let time = deadlines.data;
            return Patience { time, ..patience };
        }
        patience
    }

    fn on_reply(&mut self, reply: Reply) -> Result<(), Failure> {
        let unexpected = Failure::Protocol(Breach::UnexpectedReply, self.stage());
        match mem::replace(&mut self.state, State::Over(Why::Failed)) {
            State::Greeting if reply.code == 220 => {
                self.link.check_silent(Stage::Greeting)?;
                self.say_hello(false);
            }
            State::Greeting if reply.is_negative() => {
                return Err(Failure::GreetingRefused(reply.refused(&self.link)));
            }
            State::Hello { helo } if reply.code == 250 => {
                self.link.check_silent(Stage::Capabilities)?;
                self.capabilities = if helo {
                    Capabilities::default()
                } else {
                    Capabilities::read(&reply)
                };
                self.greeted();
            }
            State::Hello { helo } if reply.is_negative() => {
                if helo || !self.may_fall_back(&reply) {
                    return Err(Failure::HelloRefused(reply.refused(&self.link)));
                }
                self.say_hello(true);
            }
            State::Asking => self.on_starttls_reply(&reply)?,
            // [XCL-01] 220, and EHLO anew: what is offered depends on the client.
            State::Introducing(rest) if reply.code == 220 => self.introduce(rest),
            State::Introducing(_) if reply.is_negative() => {
                return Err(Failure::HelloRefused(reply.refused(&self.link)));
            }
            State::Login(exchange) => self.on_login_reply(exchange, &reply)?,
            State::Cancelled(failure) if reply.is_negative() => {
                self.state = State::Open;
                self.question = Some(Ask::LoginFailed(failure));
            }
            State::Open => {
                self.state = State::Open;
                self.on_open_reply(reply)?;
            }
            State::Farewell => self.state = State::Over(Why::Quit),
            _ => return Err(unexpected),
        }
        Ok(())
    }

    /// HELO, for a server so old that it knows no EHLO: only in clear, where nothing was asked of TLS, and never with LMTP.
    fn may_fall_back(&self, reply: &Reply) -> bool {
        !self.link.channel.is_encrypted()
            && matches!(self.config.mode, Mode::Off | Mode::Opportunistic)
            && self.config.protocol == Protocol::Smtp
            && matches!(reply.code, 500..=504)
    }

    fn say_hello(&mut self, helo: bool) {
        if !self.config.is_usable() {
            self.state = State::Failing(Box::new(Failure::Misuse));
            return;
        }
        let verb = match (self.config.protocol, helo) {
            (Protocol::Lmtp, _) => "LHLO",
            (Protocol::Smtp, false) => "EHLO",
            (Protocol::Smtp, true) => "HELO",
        };
        let line = format!("{verb} {}", self.config.hello);
        self.link.say(line.as_bytes());
        self.state = State::Hello { helo };
    }

    /// Says the next line of XCLIENT, or EHLO behind the last one.
    fn introduce(&mut self, mut lines: Vec<String>) {
        if lines.is_empty() {
            self.say_hello(false);
            return;
        }
        let line = lines.remove(0);
        self.link.say(line.as_bytes());
        self.state = State::Introducing(lines);
    }

    /// The server has said what it can do.
    fn greeted(&mut self) {
        let asks = match self.config.mode {
            // [SMTP-STARTTLS-09] [SMTP-STARTTLS-06] inside TLS the keyword means nothing
            _ if self.link.channel.is_encrypted() => false,
            Mode::StartTls | Mode::Implicit => true,
            Mode::Opportunistic => self.capabilities.starttls,
            Mode::Off => false,
        };
        if asks {
            // [SMTP-STARTTLS-08] [SMTP-PIPE-02] alone, and last
            self.link.say(b"STARTTLS");
            self.state = State::Asking;
        } else {
            self.open();
        }
    }

    fn on_starttls_reply(&mut self, reply: &Reply) -> Result<(), Failure> {
        // [SMTP-STARTTLS-07] exactly 220; what stands behind it is judged at the hand-over
        if reply.code == 220 {
            self.state = State::Upgrade;
            return Ok(());
        }
        if !reply.is_negative() {
            return Err(Failure::Protocol(Breach::UnexpectedReply, Stage::StartTls));
        }
        if self.config.mode == Mode::Opportunistic {
            // [SMTP-STARTTLS-16]
            self.link.check_silent(Stage::StartTls)?;
            self.open();
            return Ok(());
        }
        let refused = reply.refused(&self.link);
        Err(if self.capabilities.starttls {
            Failure::StartTlsRefused(refused)
        } else {
            Failure::StartTlsMissing(refused)
        })
    }

    fn open(&mut self) {
        self.link.lift_budget();
        self.state = State::Open;
        self.question = Some(Ask::Ready(Box::new(self.capabilities.clone())));
    }

    /// Carries out an answer.
    fn act(&mut self, answer: Answer) -> Result<(), Failure> {
        if matches!(self.state, State::Failing(_) | State::Over(_)) {
            return Ok(());
        }
        match answer {
            Answer::Content { portion, last } => self.flow.content(&mut self.link, &portion, last),
            Answer::Abandon => Err(Failure::Stopped),
            Answer::Wait => self.flow.nothing(),
            Answer::Transaction(transaction) => self.flow.hand_in(transaction),
            other => self.flow.defer(other),
        }
    }

    /// Goes on with what is under way or was put off. False when there is nothing to do but wait.
    fn proceed(&mut self) -> Result<bool, Failure> {
        let lmtp = self.config.protocol == Protocol::Lmtp;
        if let Some(ask) = self.flow.pump(&mut self.link, &self.capabilities, lmtp)? {
            self.question = Some(ask);
            return Ok(true);
        }
        if let Some(answer) = self.flow.deferred() {
            self.command(answer)?;
            return Ok(true);
        }
        if mem::take(&mut self.news) && self.flow.is_idle() {
            self.question = Some(Ask::Idle);
            return Ok(true);
        }
        Ok(false)
    }

    fn command(&mut self, answer: Answer) -> Result<(), Failure> {
        match answer {
            Answer::Login(credentials) => self.login(&credentials),
            Answer::Introduce(lines) => {
                let harmless = |it: &String| it.starts_with("XCLIENT ") && is_plain(it.as_bytes());
                if !lines.iter().all(harmless) {
                    return Err(Failure::Misuse);
                }
                self.introduce(lines);
            }
            Answer::Noop => self.flow.ask(&mut self.link, b"NOOP"),
            Answer::Reset => self.flow.ask(&mut self.link, b"RSET"),
            Answer::Quit => {
                self.link.say(b"QUIT");
                self.state = State::Farewell;
            }
            // It may be a credential: the record does not get it.
            Answer::Line(line) if is_plain(&line) => self.link.say_secret(&line, "(line)"),
            Answer::Command(line) if self.may_say(&line) => self.flow.ask(&mut self.link, &line),
            _ => return Err(Failure::Misuse),
        }
        Ok(())
    }

    /// A command typed by a person: one line, no second TLS, no credential where none may go.
    fn may_say(&self, line: &[u8]) -> bool {
        let verb = verb(line);
        let leave = MaySendCredentials::on(&self.link.channel, self.config.exception).is_some();
        // [SMTP-STARTTLS-09] [SMTP-STARTTLS-08]
        is_plain(line) && verb != b"STARTTLS" && (verb != b"AUTH" || leave)
    }

    fn on_open_reply(&mut self, reply: Reply) -> Result<(), Failure> {
        if reply.code == 421 {
            return Err(Failure::Farewell(reply.refused(&self.link)));
        }
        if let Some(ask) = self.flow.on_reply(reply, &mut self.link)? {
            self.question = Some(ask);
        }
        Ok(())
    }
}
