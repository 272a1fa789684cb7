//! Commands under way: written ahead where the server allows it, answered in order.

use std::collections::VecDeque;

use super::{AHEAD, Ask, Command, Data, Done, LONGEST_LINE, Reply};
use crate::client::{Breach, Failure, Link, Stage, is_plain, verb};
use crate::smtp::data::DataDecoder;

/// Octets of a message handed on at once.
const BLOCK: usize = 64 * 1024;
/// The most octets of a list that are kept.
const MOST_LISTED: usize = 64 * 1024 * 1024;
/// The most messages in a list: each takes more memory than its line has octets.
const MOST_MESSAGES: usize = 1_000_000;

#[derive(Default)]
pub(super) struct Run {
    waiting: VecDeque<Command>,
    due: VecDeque<Command>,
    body: Option<Body>,
    /// A message was marked: QUIT's answer matters.
    marked: bool,
    over: bool,
}

/// The lines behind a good reply.
struct Body {
    done: Box<Done>,
    decoder: DataDecoder,
    text: Vec<u8>,
    /// Octets of a list when the deadline was last moved.
    moved: usize,
}

/// What a body brought.
pub(super) struct Brought {
    pub(super) asks: Vec<Ask>,
    /// Whether it is enough to wait anew: a block, or the end. A server that says an octet now and then does not buy time.
    pub(super) counts: bool,
}

impl Command {
    /// Whether a good reply to it has many lines.
    fn has_body(&self) -> bool {
        match self {
            Self::List | Self::Uidl | Self::Retrieve(_) | Self::Top(..) => true,
            Self::Raw(_, many) => *many,
            _ => false,
        }
    }

    /// The number of the message whose text follows.
    fn message(&self) -> Option<u32> {
        match self {
            Self::Retrieve(number) | Self::Top(number, _) => Some(*number),
            _ => None,
        }
    }

    fn line(&self) -> Vec<u8> {
        match self {
            Self::Stat => b"STAT".to_vec(),
            Self::List => b"LIST".to_vec(),
            Self::Uidl => b"UIDL".to_vec(),
            Self::Retrieve(number) => format!("RETR {number}").into_bytes(),
            Self::Top(number, lines) => format!("TOP {number} {lines}").into_bytes(),
            Self::Delete(number) => format!("DELE {number}").into_bytes(),
            Self::Noop => b"NOOP".to_vec(),
            Self::Reset => b"RSET".to_vec(),
            Self::Raw(line, _) => line.to_vec(),
            Self::Quit => b"QUIT".to_vec(),
        }
    }

    /// Whether it may be said: one line, no second TLS, no credential where none may go.
    fn is_sayable(&self, leave: bool) -> bool {
        let Self::Raw(line, _) = self else {
            return true;
        };
        let verb = verb(line);
        let secret = [&b"USER"[..], b"PASS", b"APOP", b"AUTH"];
        // An exchange has lines of its own; it is not for a person to type.
        let forbidden = [&b"STLS"[..], b"AUTH", b"QUIT"];
        let is_one_of = |words: &[&[u8]]| words.contains(&verb.as_slice());
        is_plain(line) && !is_one_of(&forbidden) && (leave || !is_one_of(&secret))
    }

    fn is_secret(&self) -> bool {
        matches!(self, Self::Raw(line, _) if verb(line) == b"PASS")
    }
}

impl Run {
    pub(super) fn is_idle(&self) -> bool {
        self.waiting.is_empty() && self.due.is_empty() && self.body.is_none()
    }

    pub(super) fn is_body(&self) -> bool {
        self.body.is_some()
    }

    pub(super) fn is_over(&self) -> bool {
        self.over
    }

    /// Whether QUIT was said and nothing depends on its answer.
    pub(super) fn may_just_leave(&self) -> bool {
        !self.marked && self.body.is_none() && self.due.front() == Some(&Command::Quit)
    }

    pub(super) fn stage(&self) -> Stage {
        match self.due.front() {
            _ if self.body.is_some() => Stage::Body,
            None => Stage::Idle,
            Some(Command::Quit) => Stage::Farewell,
            Some(_) => Stage::Command,
        }
    }

    pub(super) fn add(&mut self, commands: Vec<Command>, leave: bool) -> Result<(), Failure> {
        let quits =
            self.waiting.back() == Some(&Command::Quit) || self.due.back() == Some(&Command::Quit);
        if quits || !commands.iter().all(|it| it.is_sayable(leave)) {
            return Err(Failure::Misuse);
        }
        self.waiting.extend(commands);
        Ok(())
    }

    /// Writes what can be written now. True when something was.
    pub(super) fn pump(&mut self, link: &mut Link, ahead: bool) -> Result<bool, Failure> {
        let most = if ahead { AHEAD } else { 1 };
        let mut wrote = false;
        while self.due.len() + usize::from(self.body.is_some()) < most
            && let Some(command) = self.waiting.pop_front()
        {
            link.check_open(self.stage())?;
            if command.is_secret() {
                link.say_secret(&command.line(), "PASS (password)");
            } else {
                link.say(&command.line());
            }
            self.marked |= matches!(command, Command::Delete(_));
            self.due.push_back(command);
            wrote = true;
        }
        Ok(wrote)
    }

    pub(super) fn on_reply(&mut self, reply: &Reply, link: &Link) -> Result<Option<Ask>, Failure> {
        let stage = self.stage();
        let command = self
            .due
            .pop_front()
            .ok_or(Failure::Protocol(Breach::Unasked, stage))?;
        let data = match command {
            Command::Stat if reply.good => {
                extent(&reply.text).ok_or(Failure::Protocol(Breach::Malformed, stage))?
            }
            _ => Data::Nothing,
        };
        let has_body = reply.good && command.has_body();
        self.over = command == Command::Quit;
        let done = Box::new(Done {
            command,
            good: reply.good,
            text: link.quote(&reply.text),
            code: reply.code(),
            data,
        });
        if has_body {
            self.body = Some(Body {
                done,
                decoder: DataDecoder::default(),
                text: Vec::new(),
                moved: 0,
            });
            return Ok(None);
        }
        Ok(Some(Ask::Done(done)))
    }

    /// Reads on in a body: none when more must come, else what there is to tell.
    pub(super) fn body(&mut self, link: &mut Link) -> Result<Option<Brought>, Failure> {
        let Some(body) = &mut self.body else {
            return Ok(None);
        };
        let number = body.done.command.message();
        let limit = number.map_or(MOST_LISTED, |_| BLOCK);
        if link.inbox.is_empty() {
            return Ok(None);
        }
        let decoded = body
            .decoder
            .decode(link.inbox.waiting(), &mut body.text, limit);
        link.inbox.consume(decoded.consumed);
        let mut asks = Vec::new();
        if let Some(number) = number {
            let full = body.text.len() >= limit;
            if full || (decoded.ended && !body.text.is_empty()) {
                asks.push(Ask::Portion(number, std::mem::take(&mut body.text)));
            }
        } else if body.text.len() >= limit {
            return Err(Failure::TooMuch(Stage::Body));
        }
        let more_of_list = number.is_none() && body.text.len() - body.moved >= BLOCK;
        if more_of_list {
            body.moved = body.text.len();
        }
        if decoded.ended
            && let Some(body) = self.body.take()
        {
            asks.push(Ask::Done(body.finish()?));
        }
        let counts = more_of_list || !asks.is_empty();
        Ok(Some(Brought { asks, counts }))
    }
}

impl Body {
    fn finish(mut self) -> Result<Box<Done>, Failure> {
        let malformed = Failure::Protocol(Breach::Malformed, Stage::Body);
        let is_list = matches!(self.done.command, Command::List | Command::Uidl);
        if is_list && memchr::memchr_iter(b'\n', &self.text).count() > MOST_MESSAGES {
            return Err(Failure::TooMuch(Stage::Body));
        }
        let data = match &self.done.command {
            Command::List => lines(&self.text, |number, rest| {
                Some((number, rest.split(' ').next()?.parse().ok()?))
            })
            .map(Data::Sizes),
            Command::Uidl => lines(&self.text, |number, rest| {
                let good =
                    (1..=70).contains(&rest.len()) && rest.bytes().all(|it| it.is_ascii_graphic());
                good.then(|| (number, rest.into()))
            })
            .map(Data::Uids),
            Command::Raw(..) => Some(Data::Lines(self.text)),
            _ => Some(Data::Nothing),
        };
        self.done.data = data.ok_or(malformed)?;
        Ok(self.done)
    }
}

/// `number rest` on every line.
fn lines<T>(text: &[u8], mut read: impl FnMut(u32, &str) -> Option<T>) -> Option<Vec<T>> {
    let text = std::str::from_utf8(text).ok()?;
    let lines = text
        .split("\r\n")
        .filter(|it| !it.is_empty() && it.len() <= LONGEST_LINE);
    lines
        .map(|line| {
            let (number, rest) = line.split_once(' ')?;
            read(number.parse().ok()?, rest.trim_matches(' '))
        })
        .collect()
}

fn extent(text: &[u8]) -> Option<Data> {
    let mut words = std::str::from_utf8(text).ok()?.split(' ');
    Some(Data::Extent(
        words.next()?.parse().ok()?,
        words.next()?.parse().ok()?,
    ))
}
