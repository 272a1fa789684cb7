//! The POP3 client's session (RFC 1939, RFC 2449, RFC 2595, RFC 5034).
//!
//! ```text
//!  Greeting ─+OK─▶ Asking ─+OK─▶ Upgrade ─▶ (Fresh) ─▶ Capabilities ─▶ Open ◀──▶ Exchange; User ─▶ Pass
//!     └─ opportunistic, off ─▶ Capabilities in clear ──────┘             └──▶ Farewell
//! ```
//!
//! 1. STLS goes out at once, alone in its write; only `+OK` leads to the hand-over, and nothing may stand behind it [POP-TLS-03].
//! 2. Inside TLS the capabilities are asked for anew. The timestamp of the greeting (APOP) is never used.
//! 3. No credential goes out where [`crate::seam::MaySendCredentials`] cannot be had [POP-TLS-07].
//! 4. Messages stream in blocks. A message is complete with its final dot; if the connection ends before, the session fails.
//! 5. With PIPELINING commands go out ahead of their replies, at most [`AHEAD`] of them.
//!
//! # Example
//!
//! ```
//! use std::sync::Arc;
//! use std::time::Instant;
//! use gatepost_wire::client::{Mode, Seed};
//! use gatepost_wire::pop3::client::{Client, Config};
//! use gatepost_wire::session::{Machine as _, Next};
//!
//! let mut session = Client::clear(Arc::new(Config::new(Mode::StartTls)), Seed::new([0; 32]));
//! let now = Instant::now();
//! assert!(matches!(session.next(now), Next::Read { .. }));
//! session.receive(b"+OK ready\r\n");
//! assert_eq!(session.next(now), Next::Write);
//! assert_eq!(std::mem::take(session.output()), b"STLS\r\n");
//! session.receive(b"+OK go\r\n+OK injected\r\n");
//! assert_eq!(session.next(now), Next::Upgrade);
//! let (_, leftover) = session.upgrade();
//! assert_eq!(leftover.into_client_handshake().unwrap_err().octets, 14);
//! ```

mod ask;
mod login;
mod run;

use std::collections::VecDeque;
use std::mem;
use std::sync::Arc;
use std::time::Instant;

pub use ask::{Answer, Ask, Capabilities, Command, Data, Done};

use crate::client::{Breach, Deadlines, Failure, Link, Mode, Recorder, Seed, Stage};
use crate::sasl::client::Exchange;
use crate::seam::{Channel, Leftover, TlsFacts, UnverifiedLogin};
use crate::secret::Secret;
use crate::session::{Fresh as FreshSession, Machine, Next, Why};
use run::Run;

/// The longest line of a reply. RFC 1939 3 has 512; challenges can be longer.
const LONGEST_LINE: usize = 12_300;
/// Commands that go out ahead of their replies.
pub const AHEAD: usize = 16;

/// What is decided before connecting.
#[derive(Debug, Clone)]
pub struct Config {
    /// How TLS comes about.
    pub mode: Mode,
    /// How long to wait.
    pub deadlines: Deadlines,
    /// The exception for logins, if the user made one.
    pub exception: Option<UnverifiedLogin>,
    /// Where to record the dialogue. Messages are not recorded.
    pub recorder: Option<Recorder>,
}

impl Config {
    /// The deadlines of a person who waits, no exception and no record.
    pub fn new(mode: Mode) -> Self {
        Self {
            mode,
            deadlines: Deadlines::INTERACTIVE,
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
    capabilities: Capabilities,
    run: Run,
    questions: VecDeque<Ask>,
    asked: bool,
    news: bool,
    logged_in: bool,
}

enum State {
    Greeting,
    /// CAPA was asked.
    Asked,
    /// The lines of its reply come.
    Capabilities(Vec<u8>),
    Asking,
    Upgrade,
    Exchange(Box<Exchange>),
    Cancelled(Box<Failure>),
    /// USER was said.
    User(Secret<String>),
    Pass,
    Open,
    Over(Why),
    Failing(Box<Failure>),
}

/// The first line of a reply.
struct Reply {
    good: bool,
    text: Vec<u8>,
    line: Vec<u8>,
}

impl Reply {
    fn read(line: Vec<u8>) -> Option<Self> {
        // [POP-TLS-06] upper case, and nothing else
        let (good, rest) = match (line.strip_prefix(b"+OK"), line.strip_prefix(b"-ERR")) {
            (Some(rest), _) => (true, rest),
            (_, Some(rest)) => (false, rest),
            _ => return None,
        };
        let text = match rest.split_first() {
            None => Vec::new(),
            Some((b' ', text)) => text.to_vec(),
            Some(_) => return None,
        };
        Some(Self { good, text, line })
    }

    fn code(&self) -> Option<Box<str>> {
        let inner = self.text.strip_prefix(b"[")?;
        let close = inner.iter().position(|it| *it == b']')?;
        Some(
            String::from_utf8_lossy(inner.get(..close)?)
                .to_ascii_uppercase()
                .into(),
        )
    }

    fn is_temporary(&self) -> bool {
        // RFC 3206, RFC 2449 8.1
        self.code()
            .is_some_and(|it| ["SYS/TEMP", "IN-USE", "LOGIN-DELAY"].contains(&&*it))
    }
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
            // [POP-TLS-03]
            client.ask_capabilities();
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
            capabilities: Capabilities::default(),
            run: Run::default(),
            questions: VecDeque::new(),
            asked: false,
            news: false,
            logged_in: false,
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
                        self.link.say(b"QUIT");
                    }
                    self.state = State::Over(Why::Failed);
                    return close;
                }
            }
        }
    }

    fn answer(&mut self, answer: Answer) {
        let result = if mem::take(&mut self.asked) {
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
        // [POP-TLS-03] of the session only configuration and the seed go on
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
            State::Failing(failure) => return Err((**failure).clone()),
            State::Upgrade => return Ok(Some(Next::Upgrade)),
            _ if self.link.stopping => return Err(Failure::Stopped),
            _ => {}
        }
        if let Some(question) = self.questions.pop_front() {
            self.asked = true;
            return Ok(Some(Next::Ask(question)));
        }
        if let State::Over(why) = self.state {
            return Ok(Some(Next::Close(why)));
        }
        if self.link.is_full()
            || (!self.link.output.is_empty() && !self.link.channel.is_encrypted())
        {
            return Ok(Some(self.link.write()));
        }
        let before = self.stage();
        if let Some(counts) = self.read()? {
            // Before login, lines without end do not buy time.
            if (self.logged_in && counts) || self.stage() != before {
                self.link.advance();
            }
            return Ok(None);
        }
        if matches!(self.state, State::Open) {
            if self
                .run
                .pump(&mut self.link, self.capabilities.has("PIPELINING"))?
            {
                return Ok(None);
            }
            if mem::take(&mut self.news) && self.run.is_idle() {
                self.questions.push_back(Ask::Idle);
                return Ok(None);
            }
        }
        let patience = self.config.deadlines.patience(self.stage());
        match self.link.wait(now, patience) {
            // Nothing depends on the answer to QUIT if nothing was marked.
            Err(_) if matches!(self.state, State::Open) && self.run.may_just_leave() => {
                self.state = State::Over(Why::Quit);
                Ok(None)
            }
            result => result.map(Some),
        }
    }

    fn stage(&self) -> Stage {
        match &self.state {
            State::Greeting => Stage::Greeting,
            State::Asked | State::Capabilities(_) => Stage::Capabilities,
            State::Asking => Stage::StartTls,
            State::Exchange(_) | State::Cancelled(_) | State::User(_) | State::Pass => Stage::Login,
            _ => self.run.stage(),
        }
    }

    /// Reads the next line or block, and says whether it is enough to wait anew; none when nothing has come.
    fn read(&mut self) -> Result<Option<bool>, Failure> {
        if matches!(self.state, State::Open) && self.run.is_body() {
            let Some(brought) = self.run.body(&mut self.link)? else {
                return Ok(None);
            };
            self.questions.extend(brought.asks);
            return Ok(Some(brought.counts));
        }
        let stage = self.stage();
        let Some(line) = self.link.reply_line(LONGEST_LINE, stage)? else {
            return Ok(None);
        };
        match mem::replace(&mut self.state, State::Over(Why::Failed)) {
            State::Capabilities(text) => self.on_capability(text, &line)?,
            State::Exchange(exchange) => self.on_exchange_line(exchange, line)?,
            before => {
                let malformed = Failure::malformed(&line, stage, "POP3");
                let reply = Reply::read(line).ok_or(malformed)?;
                self.on_reply(before, &reply)?;
            }
        }
        Ok(Some(true))
    }

    fn on_reply(&mut self, state: State, reply: &Reply) -> Result<(), Failure> {
        let refused = self.link.refused(reply.is_temporary(), &reply.line);
        match state {
            State::Greeting if reply.good => {
                self.link.check_silent(Stage::Greeting)?;
                if !self.link.channel.is_encrypted() && self.config.mode == Mode::StartTls {
                    self.ask_tls();
                } else {
                    self.ask_capabilities();
                }
            }
            State::Greeting => return Err(Failure::GreetingRefused(refused)),
            State::Asked if reply.good => self.state = State::Capabilities(Vec::new()),
            State::Asked => {
                self.capabilities = Capabilities::default();
                self.capable()?;
            }
            // What stands behind it is judged at the hand-over.
            State::Asking if reply.good => self.state = State::Upgrade,
            State::Asking if self.config.mode == Mode::Opportunistic => {
                self.link.check_silent(Stage::StartTls)?;
                self.ready();
            }
            State::Asking => return Err(Failure::StartTlsRefused(refused)),
            State::Cancelled(failure) if !reply.good => self.login_failed(*failure),
            State::User(password) if reply.good => self.say_password(&password),
            State::Pass if reply.good => self.logged_in(None),
            State::User(_) | State::Pass => self.login_failed(Failure::LoginRefused(refused)),
            State::Open => {
                self.state = State::Open;
                let ask = self.run.on_reply(reply, &self.link)?;
                self.questions.extend(ask);
                if self.run.is_over() {
                    self.state = State::Over(Why::Quit);
                }
            }
            _ => return Err(Failure::Protocol(Breach::UnexpectedReply, Stage::Login)),
        }
        Ok(())
    }

    fn on_capability(&mut self, mut text: Vec<u8>, line: &[u8]) -> Result<(), Failure> {
        if line == b"." {
            self.capabilities = Capabilities::read(&text);
            return self.capable();
        }
        if text.len() > 16 * 1024 {
            return Err(Failure::TooMuch(Stage::Capabilities));
        }
        text.extend_from_slice(line.strip_prefix(b".").unwrap_or(line));
        text.push(b'\n');
        self.state = State::Capabilities(text);
        Ok(())
    }

    fn capable(&mut self) -> Result<(), Failure> {
        self.link.check_silent(Stage::Capabilities)?;
        let encrypted = self.link.channel.is_encrypted();
        let offered = self.config.mode == Mode::Opportunistic && self.capabilities.has("STLS");
        if !encrypted && offered {
            self.ask_tls();
        } else {
            self.ready();
        }
        Ok(())
    }

    fn ask_tls(&mut self) {
        // [POP-TLS-03] [POP-PIPE-01] alone in its write
        self.link.say(b"STLS");
        self.state = State::Asking;
    }

    fn ask_capabilities(&mut self) {
        self.link.say(b"CAPA");
        self.state = State::Asked;
    }

    fn ready(&mut self) {
        self.link.lift_budget();
        self.state = State::Open;
        let capabilities = Box::new(self.capabilities.clone());
        self.questions.push_back(Ask::Ready(capabilities));
    }

    fn act(&mut self, answer: Answer) -> Result<(), Failure> {
        match (&self.state, answer) {
            (State::Failing(_) | State::Over(_), _) | (_, Answer::Wait) => Ok(()),
            (State::Open, Answer::Login(credentials)) if !self.logged_in && self.run.is_idle() => {
                self.login(&credentials);
                Ok(())
            }
            (_, Answer::Commands(commands)) => {
                let leave =
                    crate::seam::MaySendCredentials::on(&self.link.channel, self.config.exception);
                self.run.add(commands, leave.is_some())
            }
            (_, Answer::Quit) => self.run.add(vec![Command::Quit], false),
            _ => Err(Failure::Misuse),
        }
    }
}
