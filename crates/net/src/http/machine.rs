//! One request as a session: the request, a head, a body, the end.

use std::time::{Duration, Instant};

use gatepost_wire::client::{Breach, Failure, Stage};
use gatepost_wire::inbox::Inbox;
use gatepost_wire::seam::{Leftover, TlsFacts};
use gatepost_wire::session::{Fresh, Machine, Next, Why};

use super::body::{Bad, Body};
use super::head::{Head, LONGEST};
use super::url::Url;
use super::{Limits, Response};
use crate::client::Dialogue;

/// How many interim responses (1xx) are read over.
const INTERIM: usize = 4;

/// A GET that has not begun.
#[derive(Debug)]
pub(super) struct GetFresh {
    request: Vec<u8>,
    limits: Limits,
}

/// A GET under way.
#[derive(Debug)]
pub(super) struct Get {
    inbox: Inbox,
    output: Vec<u8>,
    limits: Limits,
    state: State,
    interim: usize,
    until: Option<Instant>,
    closed: Option<bool>,
    failure: Option<Failure>,
}

#[derive(Debug)]
enum State {
    Head,
    Body(Head, Body),
    Asked,
}

impl GetFresh {
    pub(super) fn new(url: &Url, limits: Limits) -> Self {
        let (target, host) = (&url.target, url.authority());
        let request = format!(
            "GET {target} HTTP/1.1\r\nHost: {host}\r\nUser-Agent: gatepost\r\nAccept: */*\r\nConnection: close\r\n\r\n"
        );
        Self {
            request: request.into_bytes(),
            limits,
        }
    }

    /// The same with a form to post.
    pub(super) fn form(url: &Url, limits: Limits, form: &str) -> Self {
        let (target, host, length) = (&url.target, url.authority(), form.len());
        let request = format!(
            "POST {target} HTTP/1.1\r\nHost: {host}\r\nUser-Agent: gatepost\r\nAccept: application/json\r\nContent-Type: \
             application/x-www-form-urlencoded\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{form}"
        );
        Self {
            request: request.into_bytes(),
            limits,
        }
    }

    pub(super) fn begin(self) -> Get {
        Get {
            inbox: Inbox::default(),
            output: self.request,
            limits: self.limits,
            state: State::Head,
            interim: 0,
            until: None,
            closed: None,
            failure: None,
        }
    }
}

impl Fresh for GetFresh {
    type Session = Get;

    fn secured(self, _facts: TlsFacts) -> Get {
        self.begin()
    }
}

impl Get {
    /// A response, when it is complete.
    fn step(&mut self) -> Result<Option<Response>, Failure> {
        loop {
            match &mut self.state {
                State::Head => match self.read_head()? {
                    None => return Ok(None),
                    // RFC 9110 15.2
                    Some(head) if head.status < 200 && self.interim < INTERIM => self.interim += 1,
                    Some(head) => {
                        let length = head.length().ok_or(malformed(Stage::Body))?;
                        let body = Body::new(length, self.limits.body).map_err(failure)?;
                        self.state = State::Body(head, body);
                    }
                },
                State::Body(_, body) => {
                    let complete = body.take(&mut self.inbox).map_err(failure)?;
                    // [TLS-CLOSE-01]
                    let ended = body.ends_with_connection() && self.closed == Some(true);
                    return Ok((complete || ended).then(|| self.finish()).flatten());
                }
                State::Asked => return Ok(None),
            }
        }
    }

    fn finish(&mut self) -> Option<Response> {
        match std::mem::replace(&mut self.state, State::Asked) {
            State::Body(head, body) => Some(Response {
                head,
                body: body.octets,
            }),
            _ => None,
        }
    }

    fn read_head(&mut self) -> Result<Option<Head>, Failure> {
        let waiting = self.inbox.waiting();
        let window = waiting.get(..LONGEST).unwrap_or(waiting);
        let Some(end) = window.windows(4).position(|it| it == b"\r\n\r\n") else {
            return if window.len() < LONGEST {
                Ok(None)
            } else {
                Err(Failure::TooMuch(Stage::Command))
            };
        };
        let head = window.get(..end + 4).unwrap_or_default();
        let head = Head::read(head).ok_or(malformed(Stage::Command))?;
        self.inbox.consume(end + 4);
        Ok(Some(head))
    }

    fn stage(&self) -> Stage {
        match self.state {
            State::Head => Stage::Command,
            _ => Stage::Body,
        }
    }

    fn fail(&mut self, failure: Failure) -> Next<Box<Response>> {
        self.failure = Some(failure);
        Next::Close(Why::Failed)
    }
}

fn malformed(stage: Stage) -> Failure {
    Failure::Protocol(Breach::Malformed, stage)
}

fn failure(bad: Bad) -> Failure {
    match bad {
        Bad::Malformed => malformed(Stage::Body),
        Bad::TooMuch => Failure::TooMuch(Stage::Body),
    }
}

impl Machine for Get {
    type Ask = Box<Response>;
    type Answer = ();
    type Fresh = GetFresh;

    fn receive(&mut self, bytes: &[u8]) {
        self.inbox.push(bytes);
    }

    fn next(&mut self, now: Instant) -> Next<Box<Response>> {
        if !self.output.is_empty() {
            return Next::Write;
        }
        if matches!(self.state, State::Asked) {
            return Next::Close(Why::Quit);
        }
        match self.step() {
            Ok(Some(response)) => return Next::Ask(Box::new(response)),
            Ok(None) => {}
            Err(failure) => return self.fail(failure),
        }
        let stage = self.stage();
        match self.closed {
            Some(true) => return self.fail(Failure::Closed(stage)),
            Some(false) => return self.fail(Failure::Truncated(stage)),
            None => {}
        }
        let time = self.limits.time.min(Duration::from_secs(3600));
        let until = *self.until.get_or_insert(now + time);
        if now >= until {
            return self.fail(Failure::Timeout(stage));
        }
        Next::Read { until }
    }

    fn answer(&mut self, (): ()) {}

    fn output(&mut self) -> &mut Vec<u8> {
        &mut self.output
    }

    fn shutdown(&mut self) {
        self.state = State::Asked;
    }

    fn peer_closed(&mut self, clean: bool) {
        self.closed = Some(clean);
    }

    fn upgrade(mut self) -> (GetFresh, Leftover) {
        let fresh = GetFresh {
            request: Vec::new(),
            limits: self.limits,
        };
        (fresh, Leftover::new(self.inbox.take()))
    }
}

impl Dialogue for Get {
    fn failure(&self) -> Option<Failure> {
        self.failure.clone()
    }
}
