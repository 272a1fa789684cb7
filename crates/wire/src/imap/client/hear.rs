//! What the server says, and what comes of it.

use std::mem;

use zeroize::Zeroize as _;

use super::reader::{Event, Piece};
use super::response::Response;
use super::{Ask, Capabilities, Client, Data, Kind, Place, Portion, State, Status, Then};
use crate::client::{Breach, Failure, Mode, Stage};
use crate::session::Why;

/// The most words of its own a server may say to one command.
const MOST_CHATTER: u32 = 100_000;

impl Client {
    pub(super) fn on_event(&mut self, event: Event) -> Result<(), Failure> {
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
                let response = Response::parse(&pieces, &quote).ok_or_else(|| {
                    let line = match pieces.first() {
                        Some(Piece::Text(line)) => line.as_slice(),
                        _ => &[],
                    };
                    Failure::malformed(line, stage, "IMAP")
                })?;
                self.on_response(response, stage)
            }
        }
    }

    fn on_response(&mut self, response: Response, stage: Stage) -> Result<(), Failure> {
        if matches!(self.state, State::Greeting) {
            return self.on_greeting(response);
        }
        self.count_chatter(&response, stage)?;
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
                self.check_unasked(&status, stage)?;
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

    /// A server may say how it stands at any time, and a long command is kept alive by that. One that says nothing else has no end.
    fn count_chatter(&mut self, response: &Response, stage: Stage) -> Result<(), Failure> {
        let is_chatter = match response {
            Response::Status(_) | Response::Capability(_) => true,
            Response::Data(data, _) => {
                matches!(**data, Data::Exists(_) | Data::Flags(_) | Data::Other(_))
            }
            _ => false,
        };
        self.chatter += u32::from(is_chatter);
        if self.chatter > MOST_CHATTER {
            return Err(Failure::Protocol(Breach::Endless, stage));
        }
        Ok(())
    }

    fn on_greeting(&mut self, response: Response) -> Result<(), Failure> {
        let Response::Status(status) = response else {
            return Err(Failure::Protocol(Breach::Malformed, Stage::Greeting));
        };
        self.check_unasked(&status, Stage::Greeting)?;
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

    /// [GW-03] before login a server has nothing to say to a user.
    fn check_unasked(&self, status: &Status, stage: Stage) -> Result<(), Failure> {
        let leads = ["ALERT", "REFERRAL"]
            .iter()
            .any(|code| status.code_argument(code).is_some());
        if leads && self.config.strict_before_login && !self.is_logged_in() {
            return Err(Failure::Protocol(Breach::Unasked, stage));
        }
        Ok(())
    }

    fn ask_starttls(&mut self) {
        // [IMAP-TLS-08] alone in its write
        self.say_command(b"STARTTLS");
        self.state = State::Asking;
    }

    pub(super) fn ask_capabilities(&mut self, then: Then) {
        self.capabilities = Capabilities::default();
        self.say_command(b"CAPABILITY");
        self.state = State::Capabilities(then);
    }

    /// Says a command with a fresh tag.
    pub(super) fn say_command(&mut self, command: &[u8]) {
        let tag = self.seed.tag();
        let line = [&tag[..], b" ", command].concat();
        self.link.say(&line);
        self.tag = Some(tag);
        self.chatter = 0;
    }

    /// Says a command that carries a credential with a fresh tag; the record gets only what kind of command it was.
    pub(super) fn say_secret_command(&mut self, command: &[u8], shown: &str) {
        let tag = self.seed.tag();
        let mut line = [&tag[..], b" ", command].concat();
        let shown = format!("{} {shown} (credentials)", String::from_utf8_lossy(&tag));
        self.link.say_secret(&line, &shown);
        line.zeroize();
        self.tag = Some(tag);
        self.chatter = 0;
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

    pub(super) fn is_logged_in(&self) -> bool {
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

    pub(super) fn take_capability_code(&mut self, status: &Status) {
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
