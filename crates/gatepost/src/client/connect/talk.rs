//! The interactive part: lines of a person to the server, its answers back.

use std::io::BufRead;

use gatepost_wire::client::Credentials;
use tokio::sync::mpsc::{self, Receiver};

use super::super::kinds::{Event, Kind, Wants};
use super::super::reach::Open;
use super::super::text::plain;
use super::super::trouble::Trouble;
use super::show;

/// The most octets shown in a line.
const MOST_SHOWN: usize = 4096;
/// How many lines wait to be sent.
const WAITING: usize = 16;

/// Logs in if there is something to log in with, and talks until either side has had enough. Gives the mechanism of the login.
pub(super) async fn talk<M: Kind>(
    open: &mut Open<M>,
    credentials: Option<Credentials>,
    report_only: bool,
) -> Result<Option<&'static str>, Trouble> {
    let mut talk = Talk {
        credentials,
        lines: None,
        report_only,
        mechanism: None,
        wants: Wants::Command,
        leaving: false,
    };
    while let Some(ask) = talk.next(open).await? {
        if !report_only {
            show(&open.recorder.take());
        }
        let answer = talk.answer::<M>(&ask, open).await?;
        open.session.answer(answer);
    }
    Ok(talk.mechanism)
}

struct Talk {
    credentials: Option<Credentials>,
    /// Lines typed; none before the session is ready for them.
    lines: Option<Receiver<Vec<u8>>>,
    report_only: bool,
    mechanism: Option<&'static str>,
    wants: Wants,
    leaving: bool,
}

impl Talk {
    /// The session's next question; while it waits, what a server says unasked is shown, and a line typed makes it ask.
    async fn next<M: Kind>(&mut self, open: &mut Open<M>) -> Result<Option<M::Ask>, Trouble> {
        if self.wants == Wants::Lines {
            // The server is silent until the last of them: the session would wait for it.
            open.session.news();
        }
        let asked = open.session.next().await;
        match asked {
            Ok(ask) => Ok(ask),
            // Whoever types QUIT, or is told to go, has not failed.
            Err(_) if self.leaving => Ok(None),
            Err(failure) => Err(Trouble::of(&failure)),
        }
    }

    async fn answer<M: Kind>(
        &mut self,
        ask: &M::Ask,
        open: &mut Open<M>,
    ) -> Result<M::Answer, Trouble> {
        match M::event(ask) {
            Event::Ready => match self.credentials.take() {
                Some(credentials) => Ok(M::login(credentials)),
                None => self.say(open).await,
            },
            Event::LoggedIn(mechanism) => {
                self.mechanism = mechanism;
                self.say(open).await
            }
            Event::LoginFailed(failure) => Err(Trouble::of_session(&failure)),
            Event::Reply(wants) => {
                self.wants = wants;
                self.say(open).await
            }
            Event::Text(text) => {
                show_text(&text);
                Ok(M::wait())
            }
            Event::Lines(text) => {
                show_text(&text);
                self.say(open).await
            }
            Event::Idle => self.say(open).await,
            Event::Other => Ok(M::wait()),
        }
    }

    /// The next line typed, as an answer; leaving at the end of the input.
    async fn say<M: Kind>(&mut self, open: &mut Open<M>) -> Result<M::Answer, Trouble> {
        if self.report_only {
            return Ok(M::quit());
        }
        if self.wants == Wants::Command {
            open.note("type a command");
        }
        let lines = self.lines.get_or_insert_with(typed);
        loop {
            let Some(line) = lines.recv().await else {
                self.leaving = true;
                return Ok(M::quit());
            };
            if self.wants != Wants::Command {
                if line == b"." {
                    self.wants = Wants::Command;
                }
                return Ok(M::line(&line));
            }
            let word = line.to_ascii_uppercase();
            if word == b"QUIT" || word == b"LOGOUT" {
                self.leaving = true;
                return Ok(M::quit());
            }
            match M::cannot_say(&line) {
                Some(why) => open.say(why),
                None => return Ok(M::command(&line)),
            }
        }
    }
}

/// Shows the lines of a message or a list, without anything that could move the cursor.
fn show_text(text: &[u8]) {
    for line in text.split_inclusive(|octet| *octet == b'\n') {
        let line = line.strip_suffix(b"\n").unwrap_or(line);
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        for part in line.chunks(MOST_SHOWN) {
            println!("  S: {}", plain(&String::from_utf8_lossy(part)));
        }
    }
}

/// Lines of standard input, read by a thread of their own: a terminal cannot be waited for otherwise.
fn typed() -> Receiver<Vec<u8>> {
    let (sender, receiver) = mpsc::channel(WAITING);
    std::thread::spawn(move || {
        let mut input = std::io::stdin().lock();
        loop {
            let mut line = Vec::new();
            match input.read_until(b'\n', &mut line) {
                Ok(0) | Err(_) => return,
                Ok(_) => {}
            }
            while line.ends_with(b"\n") || line.ends_with(b"\r") {
                line.pop();
            }
            if sender.blocking_send(line).is_err() {
                return;
            }
        }
    });
    receiver
}
