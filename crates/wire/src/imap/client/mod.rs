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
//! 4. LOGIN is not said where LOGINDISABLED is listed, and no credential where [`MaySendCredentials`] cannot be had [IMAP-TLS-10].
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
use zeroize::Zeroize as _;

use crate::client::{Breach, Deadlines, Failure, Link, Mode, Patience, Recorder, Seed, Stage};
use crate::sasl::client::Exchange;
use crate::seam::{Channel, Leftover, TlsFacts, UnverifiedLogin};
use crate::session::{Fresh as FreshSession, Machine, Next, Why};
use reader::{Bounds, Event, Reader};
use response::Response;
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
    LoggedIn(Option<crate::sasl::client::Mechanism>),
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
            self.link.advance();
            self.on_event(event)?;
            return Ok(None);
        }
        if self.proceed()? {
            return Ok(None);
        }
        let patience = self.patience();
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

    fn patience(&self) -> Patience {
        let deadlines = &self.config.deadlines;
        let stage = self.stage();
        let time = match stage {
            Stage::Greeting => deadlines.greeting,
            Stage::Capabilities | Stage::StartTls => deadlines.hello,
            Stage::Login => deadlines.login,
            Stage::Command => deadlines.command,
            Stage::Body => deadlines.block,
            Stage::Content => deadlines.verdict,
            Stage::Idle => deadlines.idle,
            Stage::Farewell => deadlines.farewell,
        };
        Patience { stage, time }
    }

    fn on_event(&mut self, event: Event) -> Result<(), Failure> {
        let stage = self.stage();
        match event {
            Event::Portion(portion) => {
                if self.place == Place::Selected {
                    self.questions.push_back(Ask::Portion(Box::new(portion)));
                }
                Ok(())
            }
            Event::Response(pieces) => {
                let authenticated = self.link.is_authenticated();
                let quote = |it: &[u8]| crate::client::Quote::new(it, authenticated);
                let response = Response::parse(&pieces, &quote)
                    .ok_or(Failure::Protocol(Breach::Malformed, stage))?;
                self.on_response(response, stage)
            }
        }
    }

    fn on_response(&mut self, response: Response, stage: Stage) -> Result<(), Failure> {
        if matches!(self.state, State::Greeting) {
            return self.on_greeting(response);
        }
        match response {
            Response::Tagged(tag, status) => {
                // Nobody can have sent this ahead: the tag is random, and was written before this was read.
                let ours = self.tag.take().is_some_and(|it| it.as_slice() == tag);
                if !ours {
                    return Err(Failure::Protocol(Breach::UnknownTag, stage));
                }
                self.on_tagged(status)
            }
            Response::Continue(text) => self.on_continue(&text, stage),
            Response::Status(status) if status.kind == Kind::Bye => {
                if matches!(self.state, State::Farewell) {
                    return Ok(());
                }
                Err(Failure::Farewell(self.link.refused(true, &status.line)))
            }
            Response::Status(status) if status.kind == Kind::PreAuth => {
                let _ = status;
                Err(Failure::Protocol(Breach::UnexpectedReply, stage))
            }
            Response::Status(status) => {
                self.take_capability_code(&status);
                self.tell(Data::Status(status));
                Ok(())
            }
            Response::Capability(text) => {
                self.take_capabilities(&text);
                Ok(())
            }
            Response::Data(data, inline) => {
                self.on_data(*data, inline);
                Ok(())
            }
        }
    }

    fn on_greeting(&mut self, response: Response) -> Result<(), Failure> {
        let Response::Status(status) = response else {
            return Err(Failure::Protocol(Breach::Malformed, Stage::Greeting));
        };
        let encrypted = self.link.channel.is_encrypted();
        match status.kind {
            Kind::Ok => {}
            // [IMAP-TLS-11]
            Kind::PreAuth if !encrypted && self.config.mode != Mode::Off => {
                return Err(Failure::PreAuthInClear);
            }
            Kind::PreAuth => self.place = Place::LoggedIn,
            Kind::Bye => {
                return Err(Failure::GreetingRefused(
                    self.link.refused(true, &status.line),
                ));
            }
            Kind::No | Kind::Bad => {
                return Err(Failure::Protocol(Breach::Malformed, Stage::Greeting));
            }
        }
        self.link.check_silent(Stage::Greeting)?;
        if encrypted {
            self.take_capability_code(&status);
        }
        if !encrypted && self.config.mode == Mode::StartTls {
            self.ask_starttls();
        } else if encrypted && !self.capabilities.words.is_empty() {
            self.ready();
        } else {
            self.ask_capabilities(Then::Ready);
        }
        Ok(())
    }

    fn ask_starttls(&mut self) {
        // [IMAP-TLS-08] alone in its write
        self.say_command(b"STARTTLS");
        self.state = State::Asking;
    }

    fn ask_capabilities(&mut self, then: Then) {
        self.capabilities = Capabilities::default();
        self.say_command(b"CAPABILITY");
        self.state = State::Capabilities(then);
    }

    /// Says a command with a fresh tag.
    fn say_command(&mut self, command: &[u8]) {
        let tag = self.seed.tag();
        let line = [&tag[..], b" ", command].concat();
        self.link.say(&line);
        self.tag = Some(tag);
    }

    /// Says a command that carries a credential with a fresh tag; the record gets only what kind of command it was.
    fn say_secret_command(&mut self, command: &[u8], shown: &str) {
        let tag = self.seed.tag();
        let mut line = [&tag[..], b" ", command].concat();
        let shown = format!("{} {shown} (credentials)", String::from_utf8_lossy(&tag));
        self.link.say_secret(&line, &shown);
        line.zeroize();
        self.tag = Some(tag);
    }

    fn on_tagged(&mut self, status: Status) -> Result<(), Failure> {
        let refused = self.link.refused(status.is_temporary(), &status.line);
        let good = status.kind == Kind::Ok;
        match mem::replace(&mut self.state, State::Over(Why::Failed)) {
            State::Capabilities(then) => {
                self.take_capability_code(&status);
                if !good {
                    return Err(Failure::HelloRefused(refused));
                }
                self.link.check_silent(Stage::Capabilities)?;
                self.capable(then);
            }
            // What stands behind it is judged at the hand-over.
            State::Asking if good => self.state = State::Upgrade,
            State::Asking if self.config.mode == Mode::Opportunistic => {
                self.link.check_silent(Stage::StartTls)?;
                self.ready();
            }
            State::Asking => return Err(Failure::StartTlsRefused(refused)),
            State::Exchange(exchange) => self.on_exchange_over(*exchange, good, &status)?,
            State::Cancelled(failure) if !good => {
                self.state = State::Open;
                self.questions.push_back(Ask::LoginFailed(failure));
            }
            State::LoggingIn if good => self.logged_in(None, &status),
            State::LoggingIn => {
                self.state = State::Open;
                let failure = Box::new(Failure::LoginRefused(refused));
                self.questions.push_back(Ask::LoginFailed(failure));
            }
            State::Running(run) => {
                run.check_over(good)?;
                if run.selects() {
                    self.place = if good {
                        Place::Selected
                    } else {
                        Place::LoggedIn
                    };
                }
                self.take_capability_code(&status);
                self.state = State::Open;
                self.questions.push_back(Ask::Done(Box::new(status)));
            }
            State::Farewell => self.state = State::Over(Why::Quit),
            _ => return Err(Failure::Protocol(Breach::UnexpectedReply, Stage::Login)),
        }
        Ok(())
    }

    fn capable(&mut self, then: Then) {
        let encrypted = self.link.channel.is_encrypted();
        match then {
            Then::LoggedIn(mechanism) => {
                self.state = State::Open;
                self.questions.push_back(Ask::LoggedIn(mechanism));
            }
            Then::Ready
                if !encrypted
                    && self.config.mode == Mode::Opportunistic
                    && self.capabilities.has("STARTTLS") =>
            {
                self.ask_starttls();
            }
            Then::Ready => self.ready(),
        }
    }

    fn is_logged_in(&self) -> bool {
        self.place >= Place::LoggedIn
    }

    fn ready(&mut self) {
        self.link.lift_budget();
        self.state = State::Open;
        self.questions.push_back(Ask::Ready {
            capabilities: Box::new(self.capabilities.clone()),
            logged_in: self.is_logged_in(),
        });
    }

    fn take_capabilities(&mut self, text: &[u8]) {
        // [IMAP-TLS-07] [IMAP-TLS-12] what is said while TLS is asked for is not even kept
        if !matches!(self.state, State::Asking | State::Greeting) {
            self.capabilities = Capabilities::read(text);
        }
    }

    fn take_capability_code(&mut self, status: &Status) {
        if let Some(words) = status.code_argument("CAPABILITY")
            && !matches!(self.state, State::Asking)
        {
            self.capabilities = Capabilities::read(words.as_bytes());
        }
    }

    fn on_data(&mut self, data: Data, inline: Vec<(Box<str>, Vec<u8>)>) {
        // [IMAP-TLS-12] messages are spoken of only while a mailbox is selected
        let of_messages = matches!(
            data,
            Data::Exists(_)
                | Data::Expunged(_)
                | Data::Vanished(..)
                | Data::Flags(_)
                | Data::Fetched(_)
                | Data::Found(_)
        );
        if of_messages && self.place != Place::Selected {
            return;
        }
        if let Data::Fetched(fetched) = &data {
            for (section, bytes) in inline {
                let octets = bytes.len() as u64;
                self.questions.push_back(Ask::Portion(Box::new(Portion {
                    sequence: fetched.sequence,
                    section,
                    octets,
                    offset: 0,
                    bytes,
                })));
            }
        }
        self.tell(data);
    }

    fn tell(&mut self, data: Data) {
        // [IMAP-TLS-12] before login there is nothing to tell but what commands were answered
        if self.is_logged_in() {
            self.questions.push_back(Ask::Data(Box::new(data)));
        }
    }
}
