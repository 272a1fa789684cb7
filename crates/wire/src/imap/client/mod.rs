//! The IMAP client's session (RFC 3501, RFC 9051).
//!
//! ```text
//!  Greeting ─OK─▶ Asking ─tagged OK─▶ Upgrade ─▶ (Fresh) ─▶ Capabilities ─▶ Open ◀──▶ Running
//!     │                                                         ▲           │  └──▶ LoggingIn
//!     └─ opportunistic, off ─▶ Capabilities in clear ───────────┘           └──▶ Farewell
//! ```
//!
//! 1. The greeting in clear is `* OK`; PREAUTH ends the session, for STARTTLS is not possible after it [IMAP-TLS-11].
//! 2. STARTTLS goes out at once, alone in its write [IMAP-TLS-08]. Its reply must carry our tag: 48 random bits, which nobody can
//!    have sent ahead. Untagged words before it are dropped [IMAP-TLS-12]; `+`, BYE and anything else end the session.
//! 3. Inside TLS the capabilities are asked for anew [IMAP-TLS-07]; alerts, referrals and all other words said in clear are gone.
//! 4. LOGIN is not said where LOGINDISABLED is listed, and no credential where [`crate::seam::MaySendCredentials`] cannot be had [IMAP-TLS-10].
//! 5. Referrals are never followed: a response code is data for the owner, nothing else.
//! 6. Message bodies stream in blocks ([`Ask::Portion`]), so memory does not grow with them. If the connection ends within
//!    one, the message is incomplete and the session fails.
//!
//! # Example
//!
//! ```
//! use std::sync::Arc;
//! use std::time::Instant;
//! use gatepost_wire::client::{Mode, Seed};
//! use gatepost_wire::imap::client::{Client, Config};
//! use gatepost_wire::session::{Machine as _, Next};
//!
//! let mut session = Client::clear(Arc::new(Config::new(Mode::StartTls)), Seed::new([0; 32]));
//! let now = Instant::now();
//! assert!(matches!(session.next(now), Next::Read { .. }));
//! session.receive(b"* PREAUTH welcome back\r\n");
//! assert!(matches!(session.next(now), Next::Close(_)));
//! assert_eq!(session.failure().unwrap().label(), "E-PREAUTH");
//! ```

mod ask;
mod command;
mod hear;
mod login;
pub(crate) mod reader;
mod response;
mod run;
pub(crate) mod value;

use std::collections::VecDeque;
use std::mem;
use std::sync::Arc;
use std::time::Instant;

pub use ask::{Answer, Ask, Capabilities, Change, Command};
pub use reader::Portion;
pub use response::{Data, Fetched, Kind, Listed, Status};
pub use value::Value;

use crate::client::{Deadlines, Failure, Link, Mode, Recorder, Seed, Stage};
use crate::sasl::client::Exchange;
use crate::seam::{Channel, Leftover, TlsFacts, UnverifiedLogin};
use crate::session::{Fresh as FreshSession, Machine, Next, Why};
use reader::{Bounds, Reader};
use run::Run;

/// The most answers that wait for their turn.
const MOST_PUT_OFF: usize = 8;

/// What is decided before connecting.
#[derive(Debug, Clone)]
pub struct Config {
    /// How TLS comes about.
    pub mode: Mode,
    /// How long to wait. [`Deadlines::idle`] is also how long IDLE lasts before it is ended to be begun anew.
    pub deadlines: Deadlines,
    /// The exception for logins, if the user made one.
    pub exception: Option<UnverifiedLogin>,
    /// Where to record the dialogue. Message bodies are not recorded.
    pub recorder: Option<Recorder>,
    /// Whether alerts and referrals before login end the session: for a gate, whose client must not be led anywhere by words that
    /// are not for it [GW-03].
    pub strict_before_login: bool,
}

impl Config {
    /// The deadlines of a person who waits, no exception and no record.
    pub fn new(mode: Mode) -> Self {
        let deadlines = Deadlines {
            idle: std::time::Duration::from_secs(29 * 60),
            ..Deadlines::INTERACTIVE
        };
        Self {
            mode,
            deadlines,
            exception: None,
            recorder: None,
            strict_before_login: false,
        }
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
    /// The tag of the command under way.
    tag: Option<[u8; 12]>,
    /// How often the server said something of itself, and not of messages and mailboxes, since the last command.
    chatter: u32,
    capabilities: Capabilities,
    place: Place,
    questions: VecDeque<Ask>,
    put_off: VecDeque<Answer>,
    asked: Asked,
    news: bool,
}

/// What was asked and has no answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Asked {
    Nothing,
    Event,
    Content,
}

/// How far the session has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Place {
    Outside,
    LoggedIn,
    /// A mailbox is selected, or about to be.
    Selected,
}

enum State {
    Greeting,
    /// CAPABILITY was asked; what comes after it.
    Capabilities(Then),
    Asking,
    Upgrade,
    Exchange(Box<Exchange>),
    /// The exchange was cancelled for this reason.
    Cancelled(Box<Failure>),
    /// LOGIN was said.
    LoggingIn,
    Open,
    Running(Run),
    Farewell,
    Over(Why),
    Failing(Box<Failure>),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Then {
    Ready,
    LoggedIn(Option<crate::sasl::Mechanism>),
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
        let mut client = Client::new(self.config, self.seed, link);
        if !self.greets {
            // [IMAP-TLS-07]
            client.ask_capabilities(Then::Ready);
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
        Self {
            config,
            seed,
            link,
            state: State::Greeting,
            reader: Reader::default(),
            tag: None,
            chatter: 0,
            capabilities: Capabilities::default(),
            place: Place::Outside,
            questions: VecDeque::new(),
            put_off: VecDeque::new(),
            asked: Asked::Nothing,
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

    /// What the server can do, as it said last on this channel.
    pub fn capabilities(&self) -> &Capabilities {
        &self.capabilities
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
                    let leaves = matches!(failure, Failure::StartTlsRefused(_));
                    let close = self.link.fail(failure);
                    if leaves {
                        self.say_command(b"LOGOUT");
                    }
                    self.state = State::Over(Why::Failed);
                    return close;
                }
            }
        }
    }

    fn answer(&mut self, answer: Answer) {
        // Content was asked for, or something was told: each has its answers.
        let is_content = matches!(answer, Answer::Content(_));
        let fits = match mem::replace(&mut self.asked, Asked::Nothing) {
            Asked::Nothing => false,
            Asked::Event => !is_content,
            Asked::Content => is_content,
        };
        let result = if fits {
            self.act(answer)
        } else {
            Err(Failure::Misuse)
        };
        if let Err(failure) = result {
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
        // [IMAP-TLS-07] of the session only configuration and the seed go on
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
        if self.asked != Asked::Nothing {
            return Err(Failure::Misuse);
        }
        match &mut self.state {
            State::Over(why) => return Ok(Some(Next::Close(*why))),
            State::Failing(failure) => return Err((**failure).clone()),
            State::Upgrade => return Ok(Some(Next::Upgrade)),
            _ if self.link.stopping => return Err(Failure::Stopped),
            _ => {}
        }
        if let Some(question) = self.questions.pop_front() {
            self.asked = match question {
                Ask::Content => Asked::Content,
                _ => Asked::Event,
            };
            return Ok(Some(Next::Ask(question)));
        }
        if self.link.is_full()
            || (!self.link.output.is_empty() && !self.link.channel.is_encrypted())
        {
            return Ok(Some(self.link.write()));
        }
        let stage = self.stage();
        let bounds = if self.is_logged_in() {
            Bounds::LATE
        } else {
            Bounds::EARLY
        };
        if let Some(event) = self.reader.read(&mut self.link, bounds, stage)? {
            self.on_event(event)?;
            // Before login, words nobody asked for do not buy time.
            if self.is_logged_in() || self.stage() != stage {
                self.link.advance();
            }
            return Ok(None);
        }
        if self.proceed()? {
            return Ok(None);
        }
        let patience = self.config.deadlines.patience(self.stage());
        match self.link.wait(now, patience) {
            // The server need not answer a farewell.
            Err(_) if matches!(self.state, State::Farewell) => {
                self.state = State::Over(Why::Quit);
                Ok(None)
            }
            // RFC 2177: IDLE is begun anew before the server tires of it.
            Err(Failure::Timeout(Stage::Idle)) if self.end_idle() => Ok(None),
            result => result.map(Some),
        }
    }

    fn stage(&self) -> Stage {
        match &self.state {
            _ if self.reader.is_streaming() => Stage::Body,
            State::Greeting => Stage::Greeting,
            State::Capabilities(_) => Stage::Capabilities,
            State::Asking => Stage::StartTls,
            State::Exchange(_) | State::Cancelled(_) | State::LoggingIn => Stage::Login,
            State::Farewell => Stage::Farewell,
            State::Running(run) => run.stage(),
            _ => Stage::Idle,
        }
    }
}
