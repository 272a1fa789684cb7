//! Commands under way, and the owner's answers.

use std::mem;

use super::command::write;
use super::{Answer, Ask, Client, Command, MOST_PUT_OFF, Place, State};
use crate::client::{Breach, Failure, Stage, is_plain, verb};
use crate::seam::MaySendCredentials;

/// What is special about the command under way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Run {
    Plain,
    Select,
    Raw,
    /// IDLE was said, and not yet confirmed.
    IdleAsked,
    /// The server waits for changes.
    Idling,
    /// DONE was said.
    IdleDone,
    /// APPEND waits for leave to send the message.
    AppendAsked {
        octets: u64,
    },
    /// The message is being sent.
    Appending {
        left: u64,
    },
    /// The message was sent.
    Appended,
}

impl Run {
    pub(super) fn stage(self) -> Stage {
        match self {
            Self::Idling => Stage::Idle,
            Self::Appending { .. } | Self::Appended => Stage::Content,
            _ => Stage::Command,
        }
    }

    pub(super) fn selects(self) -> bool {
        self == Self::Select
    }

    /// Whether a command may end here. One that is good before it was complete is none of ours.
    pub(super) fn check_over(self, good: bool) -> Result<(), Failure> {
        let incomplete = matches!(
            self,
            Self::AppendAsked { .. } | Self::Appending { .. } | Self::IdleAsked | Self::Idling
        );
        let failed = Failure::Protocol(Breach::UnexpectedReply, self.stage());
        match self {
            _ if good && incomplete => Err(failed),
            // Half a message has been sent: what follows would be read as the rest of it.
            Self::Appending { .. } => Err(failed),
            _ => Ok(()),
        }
    }
}

impl Client {
    /// Carries out an answer, or puts it off until the command under way is over.
    pub(super) fn act(&mut self, answer: Answer) -> Result<(), Failure> {
        match (&mut self.state, answer) {
            (State::Failing(_) | State::Over(_), _) | (_, Answer::Wait) => Ok(()),
            (State::Running(Run::Appending { left }), Answer::Content(portion)) => {
                let length = portion.len() as u64;
                if portion.is_empty() || length > *left {
                    return Err(Failure::Misuse);
                }
                *left -= length;
                let complete = *left == 0;
                self.link.output.extend_from_slice(&portion);
                if complete {
                    self.end_append();
                }
                Ok(())
            }
            (State::Running(Run::Raw), Answer::Line(line)) if is_plain(&line) => {
                // It may be a credential: the record does not get it.
                self.link.say_secret(&line, "(line)");
                Ok(())
            }
            (_, Answer::Done) => {
                self.end_idle();
                Ok(())
            }
            (_, Answer::Content(_) | Answer::Line(_)) => Err(Failure::Misuse),
            _ if self.put_off.len() >= MOST_PUT_OFF => Err(Failure::Misuse),
            (_, other) => {
                self.put_off.push_back(other);
                Ok(())
            }
        }
    }

    /// Goes on with what was put off. False when there is nothing to do but wait.
    pub(super) fn proceed(&mut self) -> Result<bool, Failure> {
        match &self.state {
            State::Open => {
                if let Some(answer) = self.put_off.pop_front() {
                    self.begin(answer)?;
                    return Ok(true);
                }
                if mem::take(&mut self.news) {
                    self.questions.push_back(Ask::Idle);
                    return Ok(true);
                }
                Ok(false)
            }
            State::Running(Run::Appending { .. }) => {
                self.link.check_open(Stage::Content)?;
                self.questions.push_back(Ask::Content);
                Ok(true)
            }
            State::Running(Run::Idling) => {
                // Another command ends IDLE.
                let ends = mem::take(&mut self.news) || !self.put_off.is_empty();
                Ok(ends && self.end_idle())
            }
            _ => Ok(false),
        }
    }

    fn begin(&mut self, answer: Answer) -> Result<(), Failure> {
        match answer {
            Answer::Login(credentials) if !self.is_logged_in() => self.login(&credentials),
            Answer::Command(command) => self.run(&command)?,
            Answer::Quit => {
                self.say_command(b"LOGOUT");
                self.state = State::Farewell;
            }
            _ => return Err(Failure::Misuse),
        }
        Ok(())
    }

    fn run(&mut self, command: &Command) -> Result<(), Failure> {
        let line = write(command, &self.capabilities)?;
        let run = match command {
            Command::Raw(_) => {
                self.check_raw(&line)?;
                let verb = verb(&line);
                if verb == b"SELECT" || verb == b"EXAMINE" {
                    self.place = Place::Selected;
                    Run::Select
                } else {
                    Run::Raw
                }
            }
            _ if !self.is_logged_in() && *command != Command::Noop => return Err(Failure::Misuse),
            Command::Select { .. } => {
                // What comes with it is about the mailbox.
                self.place = Place::Selected;
                Run::Select
            }
            Command::Idle => Run::IdleAsked,
            Command::Append { octets, .. } if line.ends_with(b"+}") => {
                Run::Appending { left: *octets }
            }
            Command::Append { octets, .. } => Run::AppendAsked { octets: *octets },
            _ => Run::Plain,
        };
        let verb = verb(&line);
        if verb == b"LOGIN" || verb == b"AUTHENTICATE" {
            self.say_secret_command(&line, &String::from_utf8_lossy(&verb));
        } else {
            self.say_command(&line);
        }
        self.state = State::Running(run);
        if run == (Run::Appending { left: 0 }) {
            self.end_append();
        }
        Ok(())
    }

    /// A command typed by a person: no second TLS, no compression, no credential where none may go.
    fn check_raw(&self, line: &[u8]) -> Result<(), Failure> {
        let verb = verb(line);
        let leave = MaySendCredentials::on(&self.link.channel, self.config.exception).is_some();
        let login = verb == b"LOGIN" || verb == b"AUTHENTICATE";
        if verb == b"STARTTLS" || verb == b"COMPRESS" || (login && !leave) {
            return Err(Failure::Misuse);
        }
        Ok(())
    }

    fn end_append(&mut self) {
        self.link.output.extend_from_slice(b"\r\n");
        self.state = State::Running(Run::Appended);
    }

    /// Ends IDLE if it is under way.
    pub(super) fn end_idle(&mut self) -> bool {
        if !matches!(self.state, State::Running(Run::Idling)) {
            return false;
        }
        self.link.say(b"DONE");
        self.link.advance();
        self.state = State::Running(Run::IdleDone);
        true
    }

    pub(super) fn on_continue(&mut self, text: &[u8], stage: Stage) -> Result<(), Failure> {
        match mem::replace(&mut self.state, State::Open) {
            State::Exchange(exchange) => self.on_challenge(exchange, text),
            State::Running(Run::IdleAsked) => {
                self.state = State::Running(Run::Idling);
                self.questions.push_back(Ask::Idling);
            }
            State::Running(Run::AppendAsked { octets }) => {
                self.state = State::Running(Run::Appending { left: octets });
                if octets == 0 {
                    self.end_append();
                }
            }
            State::Running(Run::Raw) => {
                self.state = State::Running(Run::Raw);
                self.questions
                    .push_back(Ask::Continue(self.link.quote(text)));
            }
            _ => return Err(Failure::Protocol(Breach::UnexpectedContinuation, stage)),
        }
        Ok(())
    }
}
