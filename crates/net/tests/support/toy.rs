//! The toy protocol.

use std::fmt::Write;
use std::time::{Duration, Instant};

use gatepost_wire::inbox::{Inbox, Line};
use gatepost_wire::seam::{Leftover, TlsFacts};
use gatepost_wire::session::{Fresh, Machine, Next, Why};

#[derive(Debug, Default)]
pub struct Toy {
    inbox: Inbox,
    output: Vec<u8>,
    patience: Duration,
    facts: Option<Box<TlsFacts>>,
    /// Octets still to be written for `BIG`.
    big: usize,
    ask: Option<String>,
    upgrade: bool,
    leaving: Option<Why>,
    /// The peer says nothing more; what it said is still answered.
    closed: Option<Why>,
    until: Option<Instant>,
}

#[derive(Debug)]
pub struct ToyFresh {
    pub patience: Duration,
    pub greets: bool,
}

impl Fresh for ToyFresh {
    type Session = Toy;

    fn secured(self, facts: TlsFacts) -> Toy {
        let output = if self.greets {
            b"220 inside\r\n".to_vec()
        } else {
            Vec::new()
        };
        Toy {
            patience: self.patience,
            facts: Some(Box::new(facts)),
            output,
            ..Toy::default()
        }
    }
}

impl Toy {
    pub fn clear(patience: Duration) -> Self {
        Self {
            patience,
            output: b"220 clear\r\n".to_vec(),
            ..Self::default()
        }
    }

    fn say(&mut self, line: &str) {
        self.output.extend_from_slice(line.as_bytes());
        self.output.extend_from_slice(b"\r\n");
    }

    fn command(&mut self, line: &str) {
        match line.split_once(' ').unwrap_or((line, "")) {
            ("STARTTLS", _) => {
                self.say("220 go");
                self.upgrade = true;
            }
            ("QUIT", _) => {
                self.say("221 bye");
                self.leaving = Some(Why::Quit);
            }
            ("ASK", what) => self.ask = Some(what.to_owned()),
            ("BIG", size) => self.big = size.parse().unwrap(),
            ("FACTS", _) => self.say_facts(),
            _ => self.say(&format!("250 {line}")),
        }
    }

    fn say_facts(&mut self) {
        let Some(facts) = self.facts.take() else {
            return self.say("250 clear");
        };
        self.say(&format!("{facts:?}"));
        if let Some(bindings) = &facts.bindings {
            let mut hex = String::new();
            for octet in bindings
                .exporter
                .iter()
                .chain(bindings.server_end_point.iter())
            {
                write!(hex, "{octet:02x}").unwrap();
            }
            self.say(&hex);
        }
        self.facts = Some(facts);
    }
}

impl Machine for Toy {
    type Ask = String;
    type Answer = String;
    type Fresh = ToyFresh;

    fn receive(&mut self, bytes: &[u8]) {
        self.inbox.push(bytes);
        self.until = None;
    }

    fn next(&mut self, now: Instant) -> Next<String> {
        if let Some(why) = self.leaving {
            return Next::Close(why);
        }
        if self.upgrade {
            return Next::Upgrade;
        }
        if let Some(ask) = self.ask.take() {
            return Next::Ask(ask);
        }
        if self.big > 0 {
            let piece = self.big.min(64 * 1024);
            self.big -= piece;
            self.output.resize(self.output.len() + piece, b'x');
            return Next::Write;
        }
        if let Line::Complete(line) = self.inbox.line(1000) {
            self.command(&String::from_utf8_lossy(&line));
            return self.next(now);
        }
        if !self.output.is_empty() {
            return Next::Write;
        }
        if let Some(why) = self.closed {
            return Next::Close(why);
        }
        let until = *self.until.get_or_insert(now + self.patience);
        if now >= until {
            self.say("421 too slow");
            return Next::Close(Why::Timeout);
        }
        Next::Read { until }
    }

    fn answer(&mut self, answer: String) {
        self.say(&format!("250 answer {answer}"));
    }

    fn output(&mut self) -> &mut Vec<u8> {
        &mut self.output
    }

    fn news(&mut self) {
        self.say("* news");
    }

    fn shutdown(&mut self) {
        self.say("421 stopping");
        self.leaving = Some(Why::Shutdown);
    }

    fn peer_closed(&mut self, clean: bool) {
        self.closed = Some(if clean { Why::PeerClosed } else { Why::Broken });
    }

    fn upgrade(mut self) -> (ToyFresh, Leftover) {
        let fresh = ToyFresh {
            patience: self.patience,
            greets: false,
        };
        (fresh, Leftover::new(self.inbox.take()))
    }
}
