//! The `ManageSieve` client's session (RFC 5804).
//!
//! ```text
//!  Greeting ─OK─▶ Asking ─OK─▶ Upgrade ─▶ (Fresh) ─▶ Greeting inside TLS ─OK─▶ Open ◀──▶ Exchange, Running
//!     └─ opportunistic and not offered, off ──────────────────────────────────▶  └──▶ Farewell
//! ```
//!
//! 1. The server greets with its capabilities. In clear they decide nothing; STARTTLS goes out alone in its write.
//! 2. After the handshake the server says its capabilities again; only these count [SIEVE-TLS-01].
//! 3. No credential goes out where [`crate::seam::MaySendCredentials`] cannot be had.
//!
//! # Example
//!
//! ```
//! use std::sync::Arc;
//! use std::time::Instant;
//! use gatepost_wire::client::{Mode, Seed};
//! use gatepost_wire::session::{Machine as _, Next};
//! use gatepost_wire::sieve::client::{Client, Config};
//!
//! let mut session = Client::clear(Arc::new(Config::new(Mode::StartTls)), Seed::new([0; 32]));
//! let now = Instant::now();
//! session.receive(b"\"SASL\" \"PLAIN\"\r\nOK\r\n");
//! assert_eq!(session.next(now), Next::Write);
//! assert_eq!(std::mem::take(session.output()), b"STARTTLS\r\n");
//! session.receive(b"NO \"not here\"\r\n");
//! assert!(matches!(session.next(now), Next::Close(_)));
//! assert_eq!(session.failure().unwrap().label(), "E-STARTTLS-MISSING");
//! ```

mod ask;
mod login;

use std::collections::VecDeque;
use std::mem;
use std::sync::Arc;
use std::time::Instant;

pub use ask::{Answer, Ask, Capabilities, Data, Script};

use crate::client::{
    Breach, Deadlines, Failure, Link, Mode, Recorder, Refused, Seed, Stage, is_plain, verb,
};
use crate::imap::client::reader::{Bounds, Event, Piece, Reader};
use crate::imap::client::value::{Cursor, Value};
use crate::sasl::client::Exchange;
use crate::seam::{Channel, Leftover, MaySendCredentials, TlsFacts, UnverifiedLogin};
use crate::session::{Fresh as FreshSession, Machine, Next, Why};

/// What bounds a response: scripts are small.
const BOUNDS: Bounds = Bounds {
    response: 4 * 1024 * 1024,
    literal: 4 * 1024 * 1024,
    streams: false,
    imap: false,
};
/// The same before login.
const EARLY_BOUNDS: Bounds = Bounds {
    imap: false,
    ..Bounds::EARLY
};
/// The most lines of a response.
const MOST_LINES: usize = 10_000;

/// What is decided before connecting.
#[derive(Debug, Clone)]
pub struct Config {
    /// How TLS comes about.
    pub mode: Mode,
    /// How long to wait.
    pub deadlines: Deadlines,
    /// The exception for logins, if the user made one.
    pub exception: Option<UnverifiedLogin>,
    /// Where to record the dialogue.
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
}

/// The session.
pub struct Client {
    config: Arc<Config>,
    seed: Seed,
    link: Link,
    state: State,
    reader: Reader,
    capabilities: Capabilities,
    /// The lines of the response so far.
    lines: Vec<Vec<Value>>,
    question: Option<Ask>,
    put_off: VecDeque<Answer>,
    asked: bool,
    news: bool,
    logged_in: bool,
}

enum State {
    Greeting,
    Asking,
    Upgrade,
    Exchange(Box<Exchange>),
    Cancelled(Box<Failure>),
    Open,
    Running(Command),
    Farewell,
    Over(Why),
    Failing(Box<Failure>),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Command {
    List,
    Get,
    Raw,
}

/// The line that ends a response.
struct End {
    kind: Kind,
    /// The code's words, such as `SASL` and its argument.
    code: Vec<Value>,
    line: Vec<u8>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Ok,
    No,
    Bye,
}

impl Fresh {
    /// A session that begins with TLS.
    pub fn implicit(config: Arc<Config>, seed: Seed) -> Self {
        Self { config, seed }
    }
}

impl FreshSession for Fresh {
    type Session = Client;

    fn secured(self, facts: TlsFacts) -> Client {
        // [SIEVE-TLS-01] the server says its capabilities anew, and nothing is known before
        let link = Link::secured(facts, self.config.recorder.clone());
        Client::new(self.config, self.seed, link)
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
            capabilities: Capabilities::default(),
            lines: Vec::new(),
            question: None,
            put_off: VecDeque::new(),
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
                    let leaves = matches!(
                        failure,
                        Failure::StartTlsRefused(_) | Failure::StartTlsMissing(_)
                    );
                    let close = self.link.fail(failure);
                    if leaves {
                        self.link.say(b"LOGOUT");
                    }
                    self.state = State::Over(Why::Failed);
                    return close;
                }
            }
        }
    }

    fn answer(&mut self, answer: Answer) {
        let known = mem::take(&mut self.asked) && self.put_off.is_empty();
        match answer {
            Answer::Wait if known => {}
            answer if known => self.put_off.push_back(answer),
            _ => self.state = State::Failing(Box::new(Failure::Misuse)),
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
        // [SIEVE-TLS-01] of the session only configuration and the seed go on
        let fresh = Fresh {
            config: self.config,
            seed: self.seed,
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
        if !self.link.output.is_empty() {
            return Ok(Some(self.link.write()));
        }
        let stage = self.stage();
        let bounds = if self.logged_in { BOUNDS } else { EARLY_BOUNDS };
        if let Some(event) = self.reader.read(&mut self.link, bounds, stage)? {
            if let Event::Response(pieces) = event {
                self.on_line(&pieces, stage)?;
            }
            return Ok(None);
        }
        if matches!(self.state, State::Open) {
            if let Some(answer) = self.put_off.pop_front() {
                self.begin(answer)?;
                return Ok(None);
            }
            if mem::take(&mut self.news) {
                self.question = Some(Ask::Idle);
                return Ok(None);
            }
        }
        let patience = self.config.deadlines.patience(self.stage());
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
        match &self.state {
            State::Greeting => Stage::Greeting,
            State::Asking => Stage::StartTls,
            State::Exchange(_) | State::Cancelled(_) => Stage::Login,
            State::Running(_) => Stage::Command,
            State::Farewell => Stage::Farewell,
            _ => Stage::Idle,
        }
    }

    fn on_line(&mut self, pieces: &[Piece], stage: Stage) -> Result<(), Failure> {
        let malformed = Failure::Protocol(Breach::Malformed, stage);
        let values = Cursor::new(pieces).values().ok_or(malformed.clone())?;
        if let Some(end) = End::read(&values, pieces) {
            self.link.advance();
            return self.on_end(&end);
        }
        match mem::replace(&mut self.state, State::Over(Why::Failed)) {
            State::Exchange(exchange) => match values.as_slice() {
                [Value::Text(text)] => self.on_challenge(exchange, text),
                _ => return Err(malformed),
            },
            // Untagged words make a list; nothing is known of them before its end.
            before @ (State::Greeting | State::Running(_)) if self.lines.len() < MOST_LINES => {
                self.state = before;
                self.lines.push(values);
            }
            State::Greeting | State::Running(_) => return Err(Failure::TooMuch(stage)),
            _ => return Err(Failure::Protocol(Breach::Unasked, stage)),
        }
        Ok(())
    }

    fn on_end(&mut self, end: &End) -> Result<(), Failure> {
        let good = end.kind == Kind::Ok;
        let refused = self.refused(end);
        if end.kind == Kind::Bye && !matches!(self.state, State::Farewell) {
            return Err(match self.state {
                State::Greeting => Failure::GreetingRefused(refused),
                _ => Failure::Farewell(refused),
            });
        }
        match mem::replace(&mut self.state, State::Over(Why::Failed)) {
            State::Greeting if good => self.greeted()?,
            State::Greeting => return Err(Failure::GreetingRefused(refused)),
            // What stands behind it is judged at the hand-over.
            State::Asking if good => self.state = State::Upgrade,
            State::Asking if self.config.mode == Mode::Opportunistic => {
                self.link.check_silent(Stage::StartTls)?;
                self.ready();
            }
            State::Asking if self.capabilities.value("STARTTLS").is_some() => {
                return Err(Failure::StartTlsRefused(refused));
            }
            State::Asking => return Err(Failure::StartTlsMissing(refused)),
            State::Exchange(exchange) => self.on_exchange_over(*exchange, end)?,
            State::Cancelled(failure) if !good => {
                self.state = State::Open;
                self.question = Some(Ask::LoginFailed(failure));
            }
            State::Running(command) => {
                let lines = mem::take(&mut self.lines);
                let data = if good {
                    brought(command, lines)
                } else {
                    Some(Data::Nothing)
                };
                let data = data.ok_or(Failure::Protocol(Breach::Malformed, Stage::Command))?;
                self.state = State::Open;
                self.question = Some(Ask::Done(good, self.link.quote(&end.line), data));
            }
            State::Farewell => self.state = State::Over(Why::Quit),
            _ => return Err(Failure::Protocol(Breach::Unasked, Stage::Idle)),
        }
        Ok(())
    }

    fn refused(&self, end: &End) -> Refused {
        let code = end.code.first().and_then(Value::octets).unwrap_or_default();
        self.link
            .refused(code.eq_ignore_ascii_case(b"TRYLATER"), &end.line)
    }

    fn greeted(&mut self) -> Result<(), Failure> {
        self.link.check_silent(Stage::Greeting)?;
        let mut capabilities = Capabilities::default();
        for line in mem::take(&mut self.lines) {
            let mut words = line
                .iter()
                .map(|it| it.octets().map(String::from_utf8_lossy));
            let name = words.next().flatten();
            let name = name.ok_or(Failure::Protocol(Breach::Malformed, Stage::Greeting))?;
            capabilities.add(&name, &words.next().flatten().unwrap_or_default());
        }
        self.capabilities = capabilities;
        let asks = match self.config.mode {
            _ if self.link.channel.is_encrypted() => false,
            Mode::StartTls | Mode::Implicit => true,
            Mode::Opportunistic => self.capabilities.value("STARTTLS").is_some(),
            Mode::Off => false,
        };
        if asks {
            self.link.say(b"STARTTLS");
            self.state = State::Asking;
        } else {
            self.ready();
        }
        Ok(())
    }

    fn ready(&mut self) {
        self.link.lift_budget();
        self.state = State::Open;
        self.question = Some(Ask::Ready(Box::new(self.capabilities.clone())));
    }

    fn begin(&mut self, answer: Answer) -> Result<(), Failure> {
        let command = match answer {
            Answer::Login(credentials) if !self.logged_in => {
                self.login(&credentials);
                return Ok(());
            }
            Answer::List => {
                self.link.say(b"LISTSCRIPTS");
                Command::List
            }
            Answer::Get(name) => {
                if !is_plain(name.as_bytes()) {
                    return Err(Failure::Misuse);
                }
                let name = name.replace('\\', "\\\\").replace('"', "\\\"");
                self.link.say(format!("GETSCRIPT \"{name}\"").as_bytes());
                Command::Get
            }
            Answer::Raw(line) => {
                self.check_raw(&line)?;
                self.link.say(&line);
                Command::Raw
            }
            Answer::Quit => {
                self.link.say(b"LOGOUT");
                self.state = State::Farewell;
                return Ok(());
            }
            Answer::Login(_) | Answer::Wait => return Err(Failure::Misuse),
        };
        self.lines.clear();
        self.state = State::Running(command);
        Ok(())
    }

    /// A command typed by a person: one line without a literal behind it, no second TLS, and no exchange, which has lines of
    /// its own.
    fn check_raw(&self, line: &[u8]) -> Result<(), Failure> {
        let verb = verb(line);
        let leave = MaySendCredentials::on(&self.link.channel, self.config.exception).is_some();
        let forbidden = verb == b"STARTTLS" || verb == b"LOGOUT" || verb.is_empty();
        let exchange = verb == b"AUTHENTICATE" && (!leave || !line.is_empty());
        if forbidden || exchange || !is_plain(line) || line.ends_with(b"}") {
            return Err(Failure::Misuse);
        }
        Ok(())
    }
}

/// What a command's lines say; none when they cannot be its answer.
fn brought(command: Command, lines: Vec<Vec<Value>>) -> Option<Data> {
    match command {
        Command::Raw => Some(Data::Lines(lines)),
        Command::Get => match lines.as_slice() {
            [line] => match line.as_slice() {
                [Value::Text(script)] => Some(Data::Script(script.clone())),
                _ => None,
            },
            _ => None,
        },
        Command::List => {
            let script = |line: &Vec<Value>| {
                let name = line.first()?.octets()?;
                let active = line.get(1).and_then(Value::octets);
                Some(Script {
                    name: String::from_utf8_lossy(name).into(),
                    active: active.is_some_and(|it| it.eq_ignore_ascii_case(b"ACTIVE")),
                })
            };
            lines
                .iter()
                .map(script)
                .collect::<Option<_>>()
                .map(Data::Scripts)
        }
    }
}

impl End {
    fn read(values: &[Value], pieces: &[Piece]) -> Option<Self> {
        let Some(Value::Atom(word)) = values.first() else {
            return None;
        };
        let kind = match word.to_ascii_uppercase().as_slice() {
            b"OK" => Kind::Ok,
            b"NO" => Kind::No,
            b"BYE" => Kind::Bye,
            _ => return None,
        };
        let code = match values.get(1) {
            Some(Value::List(code)) => code.clone(),
            _ => Vec::new(),
        };
        let mut line = Vec::new();
        for piece in pieces {
            if let Piece::Text(text) | Piece::Literal(text) = piece {
                line.extend_from_slice(text);
            }
        }
        Some(Self { kind, code, line })
    }
}
