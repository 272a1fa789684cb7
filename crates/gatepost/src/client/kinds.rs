//! The protocols behind one interface, as far as `connect`, `pin` and the like need no more of them: start, log in, say a line,
//! leave. `send` and `fetch` speak to their sessions themselves.

use std::sync::Arc;

use gatepost_net::client::{Dialogue, Start};
use gatepost_wire::client::{Credentials, Deadlines, Failure, Mode, Recorder, Seed};
use gatepost_wire::imap::client as imap;
use gatepost_wire::pop3::client as pop3;
use gatepost_wire::seam::UnverifiedLogin;
use gatepost_wire::sieve::client as sieve;
use gatepost_wire::smtp::client as smtp;

/// What is decided before connecting, for any protocol.
#[derive(Debug, Clone)]
pub(crate) struct Beginning {
    /// How TLS is started.
    pub(crate) mode: Mode,
    /// How long to wait.
    pub(crate) deadlines: Deadlines,
    /// The exception for logins.
    pub(crate) exception: Option<UnverifiedLogin>,
    /// Where to record the dialogue.
    pub(crate) recorder: Recorder,
    /// The name for EHLO.
    pub(crate) hello: String,
    /// Whether LMTP is spoken instead of SMTP.
    pub(crate) lmtp: bool,
}

/// What happened, as far as a person at a terminal is concerned.
#[derive(Debug)]
pub(crate) enum Event {
    /// The session is ready.
    Ready,
    /// The login is good, by this mechanism.
    LoggedIn(Option<&'static str>),
    /// The login failed.
    LoginFailed(Box<Failure>),
    /// A command is over, or the server waits for more of it.
    Reply(Wants),
    /// A command is over, and this came with the answer.
    Lines(Vec<u8>),
    /// What a server has to say at length, as it came.
    Text(Vec<u8>),
    /// The session can take something.
    Idle,
    /// Something else, which the record shows.
    Other,
}

/// What the server waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Wants {
    /// A command.
    Command,
    /// A line of the command under way, as it is.
    Line,
    /// Lines as they are, up to a dot that stands alone.
    Lines,
}

/// A protocol.
pub(crate) trait Kind: Dialogue + Sized {
    /// Begins a session.
    fn start(beginning: &Beginning, seed: Seed) -> Start<Self>;
    /// What happened.
    fn event(ask: &Self::Ask) -> Event;
    /// Log in.
    fn login(credentials: Credentials) -> Self::Answer;
    /// Say a command.
    fn command(line: &[u8]) -> Self::Answer;
    /// Why a command cannot be typed, if it cannot: the session would end by it.
    fn cannot_say(line: &[u8]) -> Option<&'static str> {
        let verb = line.split(|octet| *octet == b' ').next();
        match verb.unwrap_or_default().to_ascii_uppercase().as_slice() {
            b"STARTTLS" | b"STLS" => {
                Some("STARTTLS cannot be typed: TLS is up already, or was not to be")
            }
            b"" => Some("an empty line is no command"),
            _ if line.iter().any(u8::is_ascii_control) => {
                Some("a command with control characters cannot be typed")
            }
            _ => None,
        }
    }
    /// Say a line of content, or the one that ends it.
    fn line(line: &[u8]) -> Self::Answer;
    /// Nothing now.
    fn wait() -> Self::Answer;
    /// Leave.
    fn quit() -> Self::Answer;
}

impl Kind for smtp::Client {
    fn start(beginning: &Beginning, seed: Seed) -> Start<Self> {
        let mut config = smtp::Config::new(beginning.mode, &beginning.hello);
        if beginning.lmtp {
            config.protocol = smtp::Protocol::Lmtp;
        }
        config.deadlines = beginning.deadlines;
        config.exception = beginning.exception;
        config.recorder = Some(beginning.recorder.clone());
        let config = Arc::new(config);
        if beginning.mode == Mode::Implicit {
            Start::Implicit(smtp::Fresh::implicit(config, seed))
        } else {
            Start::Clear(Self::clear(config, seed))
        }
    }

    fn event(ask: &smtp::Ask) -> Event {
        match ask {
            smtp::Ask::Ready(_) => Event::Ready,
            smtp::Ask::LoggedIn(mechanism) => Event::LoggedIn(Some(mechanism.name())),
            smtp::Ask::LoginFailed(failure) => Event::LoginFailed(failure.clone()),
            smtp::Ask::Reply(reply) if reply.code == 354 => Event::Reply(Wants::Lines),
            smtp::Ask::Reply(_) => Event::Reply(Wants::Command),
            smtp::Ask::Idle => Event::Idle,
            smtp::Ask::Content(_) | smtp::Ask::More | smtp::Ask::Sent(_) => Event::Other,
        }
    }

    fn login(credentials: Credentials) -> smtp::Answer {
        smtp::Answer::Login(Box::new(credentials))
    }

    fn command(line: &[u8]) -> smtp::Answer {
        smtp::Answer::Command(line.into())
    }

    fn line(line: &[u8]) -> smtp::Answer {
        // The single dot ends the content, and is answered.
        if line == b"." {
            smtp::Answer::Command(line.into())
        } else {
            smtp::Answer::Line(line.into())
        }
    }

    fn wait() -> smtp::Answer {
        smtp::Answer::Wait
    }

    fn quit() -> smtp::Answer {
        smtp::Answer::Quit
    }
}

impl Kind for imap::Client {
    fn start(beginning: &Beginning, seed: Seed) -> Start<Self> {
        let mut config = imap::Config::new(beginning.mode);
        config.deadlines = beginning.deadlines;
        config.exception = beginning.exception;
        config.recorder = Some(beginning.recorder.clone());
        let config = Arc::new(config);
        if beginning.mode == Mode::Implicit {
            Start::Implicit(imap::Fresh::implicit(config, seed))
        } else {
            Start::Clear(Self::clear(config, seed))
        }
    }

    fn event(ask: &imap::Ask) -> Event {
        match ask {
            imap::Ask::Ready {
                logged_in: true, ..
            } => Event::LoggedIn(None),
            imap::Ask::Ready { .. } => Event::Ready,
            imap::Ask::LoggedIn(mechanism) => {
                Event::LoggedIn(Some(mechanism.map_or("LOGIN", |it| it.name())))
            }
            imap::Ask::LoginFailed(failure) => Event::LoginFailed(failure.clone()),
            imap::Ask::Continue(_) => Event::Reply(Wants::Line),
            imap::Ask::Done(_) => Event::Reply(Wants::Command),
            imap::Ask::Portion(portion) => Event::Text(portion.bytes.clone()),
            imap::Ask::Idle => Event::Idle,
            imap::Ask::Data(_) | imap::Ask::Content | imap::Ask::Idling => Event::Other,
        }
    }

    fn login(credentials: Credentials) -> imap::Answer {
        imap::Answer::Login(Box::new(credentials))
    }

    fn cannot_say(line: &[u8]) -> Option<&'static str> {
        let text = String::from_utf8_lossy(line).to_ascii_uppercase();
        match text.split(' ').next() {
            _ if text.ends_with('}') => {
                Some("a command with a literal cannot be typed: write it as a quoted string")
            }
            Some("STARTTLS") => {
                Some("STARTTLS cannot be typed: TLS is up already, or was not to be")
            }
            Some("COMPRESS") => Some("COMPRESS cannot be typed: nobody could read on"),
            Some("") => Some("an empty line is no command; tags are added here"),
            _ => None,
        }
    }

    fn command(line: &[u8]) -> imap::Answer {
        imap::Answer::Command(imap::Command::Raw(line.into()))
    }

    fn line(line: &[u8]) -> imap::Answer {
        imap::Answer::Line(line.into())
    }

    fn wait() -> imap::Answer {
        imap::Answer::Wait
    }

    fn quit() -> imap::Answer {
        imap::Answer::Quit
    }
}

impl Kind for pop3::Client {
    fn start(beginning: &Beginning, seed: Seed) -> Start<Self> {
        let mut config = pop3::Config::new(beginning.mode);
        config.deadlines = beginning.deadlines;
        config.exception = beginning.exception;
        config.recorder = Some(beginning.recorder.clone());
        let config = Arc::new(config);
        if beginning.mode == Mode::Implicit {
            Start::Implicit(pop3::Fresh::implicit(config, seed))
        } else {
            Start::Clear(Self::clear(config, seed))
        }
    }

    fn event(ask: &pop3::Ask) -> Event {
        match ask {
            pop3::Ask::Ready(_) => Event::Ready,
            pop3::Ask::LoggedIn(mechanism) => {
                Event::LoggedIn(Some(mechanism.map_or("USER", |it| it.name())))
            }
            pop3::Ask::LoginFailed(failure) => Event::LoginFailed(failure.clone()),
            pop3::Ask::Done(done) if done.command == pop3::Command::Quit => Event::Other,
            pop3::Ask::Done(done) => match &done.data {
                pop3::Data::Lines(lines) => Event::Lines(lines.clone()),
                _ => Event::Reply(Wants::Command),
            },
            pop3::Ask::Idle => Event::Idle,
            pop3::Ask::Portion(_, text) => Event::Text(text.clone()),
        }
    }

    fn login(credentials: Credentials) -> pop3::Answer {
        pop3::Answer::Login(Box::new(credentials))
    }

    fn command(line: &[u8]) -> pop3::Answer {
        let mut words = line
            .split(|octet| *octet == b' ')
            .filter(|word| !word.is_empty());
        let verb = words.next().unwrap_or_default().to_ascii_uppercase();
        // LIST and UIDL of one message are answered in a line.
        let many = match verb.as_slice() {
            b"RETR" | b"TOP" | b"CAPA" => true,
            b"LIST" | b"UIDL" => words.next().is_none(),
            _ => false,
        };
        pop3::Answer::Commands(vec![pop3::Command::Raw(line.into(), many)])
    }

    fn line(line: &[u8]) -> pop3::Answer {
        Self::command(line)
    }

    fn wait() -> pop3::Answer {
        pop3::Answer::Wait
    }

    fn quit() -> pop3::Answer {
        pop3::Answer::Quit
    }
}

impl Kind for sieve::Client {
    fn start(beginning: &Beginning, seed: Seed) -> Start<Self> {
        let mut config = sieve::Config::new(beginning.mode);
        config.deadlines = beginning.deadlines;
        config.exception = beginning.exception;
        config.recorder = Some(beginning.recorder.clone());
        let config = Arc::new(config);
        if beginning.mode == Mode::Implicit {
            Start::Implicit(sieve::Fresh::implicit(config, seed))
        } else {
            Start::Clear(Self::clear(config, seed))
        }
    }

    fn event(ask: &sieve::Ask) -> Event {
        match ask {
            sieve::Ask::Ready(_) => Event::Ready,
            sieve::Ask::LoggedIn(mechanism) => Event::LoggedIn(Some(mechanism.name())),
            sieve::Ask::LoginFailed(failure) => Event::LoginFailed(failure.clone()),
            sieve::Ask::Done(..) => Event::Reply(Wants::Command),
            sieve::Ask::Idle => Event::Idle,
        }
    }

    fn login(credentials: Credentials) -> sieve::Answer {
        sieve::Answer::Login(Box::new(credentials))
    }

    fn command(line: &[u8]) -> sieve::Answer {
        sieve::Answer::Raw(line.into())
    }

    fn line(line: &[u8]) -> sieve::Answer {
        Self::command(line)
    }

    fn wait() -> sieve::Answer {
        sieve::Answer::Wait
    }

    fn quit() -> sieve::Answer {
        sieve::Answer::Quit
    }
}
