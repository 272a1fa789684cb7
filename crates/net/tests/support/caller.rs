//! The toy protocol's client, as a session: it says what it is told, and hands out what it hears line by line.

use std::sync::Arc;
use std::time::{Duration, Instant};

use gatepost_net::client::{Dialogue, Failure, Options, Session, Start};
use gatepost_trust::verify::{ClientTls, Demand, Reference, Terms};
use gatepost_wire::client::{Failure as SessionFailure, Stage};
use gatepost_wire::inbox::{Inbox, Line};
use gatepost_wire::seam::{Leftover, TlsFacts};
use gatepost_wire::session::{Fresh, Machine, Next, Why};
use tokio::net::TcpStream;

use super::pki;

#[derive(Debug, PartialEq, Eq)]
pub enum Say {
    /// A line.
    Line(String),
    /// Octets as they are.
    Raw(Vec<u8>),
    /// Nothing: wait for words or news.
    Nothing,
    /// QUIT.
    Quit,
    /// The upgrade, as if the server had agreed to it.
    Upgrade,
}

#[derive(Default)]
#[allow(clippy::struct_excessive_bools, reason = "a toy, not a model")]
pub struct Caller {
    inbox: Inbox,
    output: Vec<u8>,
    patience: Duration,
    starttls: bool,
    pub facts: Option<Box<TlsFacts>>,
    asked: bool,
    news: bool,
    upgrade: bool,
    leaving: bool,
    closed: Option<bool>,
    until: Option<Instant>,
    failure: Option<SessionFailure>,
}

pub struct CallerFresh {
    pub patience: Duration,
    /// Whether the server speaks first.
    pub greets: bool,
}

impl Fresh for CallerFresh {
    type Session = Caller;

    fn secured(self, facts: TlsFacts) -> Caller {
        Caller {
            facts: Some(Box::new(facts)),
            patience: self.patience,
            news: !self.greets,
            ..Caller::default()
        }
    }
}

impl Caller {
    /// Begins in clear, with STARTTLS when asked to.
    pub fn clear(starttls: bool) -> Self {
        Self {
            starttls,
            patience: Duration::from_secs(20),
            ..Self::default()
        }
    }

    fn fail(&mut self, failure: SessionFailure) -> Next<String> {
        self.failure = Some(failure);
        Next::Close(Why::Failed)
    }

    fn heard(&mut self, line: String) -> Option<Next<String>> {
        match line.as_str() {
            "220 clear" if self.starttls => self.output.extend_from_slice(b"STARTTLS\r\n"),
            "220 go" => return Some(Next::Upgrade),
            "221 bye" if self.leaving => return Some(Next::Close(Why::Quit)),
            _ => {
                self.asked = true;
                return Some(Next::Ask(line));
            }
        }
        None
    }
}

impl Machine for Caller {
    type Ask = String;
    type Answer = Say;
    type Fresh = CallerFresh;

    fn receive(&mut self, bytes: &[u8]) {
        self.inbox.push(bytes);
        self.until = None;
    }

    fn next(&mut self, now: Instant) -> Next<String> {
        assert!(!self.asked, "a question without an answer");
        if !self.output.is_empty() {
            return Next::Write;
        }
        if self.upgrade {
            return Next::Upgrade;
        }
        if let Line::Complete(line) = self.inbox.line(1_000_000) {
            let line = String::from_utf8_lossy(&line).into_owned();
            return self.heard(line).unwrap_or_else(|| self.next(now));
        }
        match self.closed {
            Some(true) => return self.fail(SessionFailure::Closed(Stage::Command)),
            Some(false) => return self.fail(SessionFailure::Truncated(Stage::Command)),
            None => {}
        }
        if std::mem::take(&mut self.news) {
            self.asked = true;
            return Next::Ask("news".to_owned());
        }
        let until = *self.until.get_or_insert(now + self.patience);
        if now >= until {
            return self.fail(SessionFailure::Timeout(Stage::Command));
        }
        Next::Read { until }
    }

    fn answer(&mut self, answer: Say) {
        assert!(std::mem::take(&mut self.asked));
        match answer {
            Say::Line(line) => self.output.extend(format!("{line}\r\n").into_bytes()),
            Say::Raw(octets) => self.output.extend(octets),
            Say::Nothing => {}
            Say::Upgrade => self.upgrade = true,
            Say::Quit => {
                self.leaving = true;
                self.output.extend_from_slice(b"QUIT\r\n");
            }
        }
    }

    fn output(&mut self) -> &mut Vec<u8> {
        &mut self.output
    }

    fn news(&mut self) {
        self.news = true;
    }

    fn shutdown(&mut self) {
        self.failure = Some(SessionFailure::Stopped);
    }

    fn peer_closed(&mut self, clean: bool) {
        self.closed = Some(clean);
    }

    fn upgrade(mut self) -> (CallerFresh, Leftover) {
        let patience = self.patience;
        let fresh = CallerFresh {
            patience,
            greets: false,
        };
        (fresh, Leftover::new(self.inbox.take()))
    }
}

impl Dialogue for Caller {
    fn failure(&self) -> Option<SessionFailure> {
        self.failure.clone()
    }
}

/// Terms that verify `mail.example` against the tests' authority.
pub fn terms() -> Terms {
    terms_for("mail.example")
}

pub fn terms_for(host: &str) -> Terms {
    Terms::for_host(
        Reference::host(host).unwrap(),
        Arc::clone(&pki::shared().trusted),
    )
}

/// Terms that take any certificate.
pub fn unverified() -> ClientTls {
    ClientTls::new(Terms {
        demand: Demand::Encrypted,
        ..terms_for("elsewhere.example")
    })
}

pub fn implicit() -> Start<Caller> {
    Start::Implicit(CallerFresh {
        patience: Duration::from_secs(20),
        greets: true,
    })
}

pub async fn session(
    address: std::net::SocketAddr,
    start: Start<Caller>,
    tls: ClientTls,
) -> Session<Caller> {
    session_with(address, start, tls, Options::default()).await
}

pub async fn session_with(
    address: std::net::SocketAddr,
    start: Start<Caller>,
    tls: ClientTls,
    options: Options,
) -> Session<Caller> {
    let stream = TcpStream::connect(address).await.unwrap();
    Session::new(stream, start, tls, Arc::new(options))
}

/// Says a line and hears the next.
pub async fn ask(session: &mut Session<Caller>, line: &str) -> String {
    session.answer(Say::Line(line.to_owned()));
    session.next().await.unwrap().unwrap()
}

pub async fn failure(session: &mut Session<Caller>) -> Failure {
    loop {
        match session.next().await {
            Ok(Some(_)) => session.answer(Say::Nothing),
            Ok(None) => panic!("ended in order"),
            Err(failure) => return failure,
        }
    }
}
