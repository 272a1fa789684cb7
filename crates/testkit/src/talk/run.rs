//! Running dialogues.

use std::fmt;
use std::time::Instant;

use gatepost_wire::seam::{Leftover, TlsFacts};
use gatepost_wire::session::{Fresh as _, Machine};

use super::drive::{Pause, drive};
use super::script::{Action, Entry, like, parse};

/// Where a session did something else than the dialogue says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mismatch {
    /// The file, or `dialogue` for text.
    pub file: String,
    /// The line, from 1.
    pub line: usize,
    /// How the client's bytes were cut.
    pub cut: String,
    /// What the dialogue says.
    pub expected: String,
    /// What happened.
    pub got: String,
}

impl fmt::Display for Mismatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{}:{} ({})\nexpected {}\n     got {}",
            self.file, self.line, self.cut, self.expected, self.got
        )
    }
}

/// Runs a dialogue, given as a path or (if it holds a line end) as text, and panics with the [`Mismatch`] if there is one.
///
/// # Panics
/// If the session does not do what the dialogue says.
#[track_caller]
pub fn run<M: Machine>(
    path_or_text: &str,
    make: impl Fn() -> M,
    backend: impl FnMut(M::Ask) -> M::Answer,
) {
    if let Err(mismatch) = try_run(path_or_text, make, backend) {
        panic!("{mismatch}");
    }
}

/// Runs a dialogue whole, then with the client's bytes of each turn cut in two at every position, then byte by byte.
/// Each time with a session and a backend of its own.
///
/// # Panics
/// If the session does not do what the dialogue says, however its input was cut.
#[track_caller]
pub fn run_cut<M: Machine, B: FnMut(M::Ask) -> M::Answer>(
    path_or_text: &str,
    make: impl Fn() -> M,
    backend: impl Fn() -> B,
) {
    if let Err(mismatch) = try_run_cut(path_or_text, make, backend) {
        panic!("{mismatch}");
    }
}

/// As [`run`], with the mismatch as a value.
pub fn try_run<M: Machine>(
    path_or_text: &str,
    make: impl Fn() -> M,
    backend: impl FnMut(M::Ask) -> M::Answer,
) -> Result<(), Mismatch> {
    let (file, entries) = load(path_or_text)?;
    Talk::new(make(), backend, Cut::Whole)
        .run(&entries)
        .map_err(|it| it.of(&file))
}

/// As [`run_cut`], with the mismatch as a value.
pub fn try_run_cut<M: Machine, B: FnMut(M::Ask) -> M::Answer>(
    path_or_text: &str,
    make: impl Fn() -> M,
    backend: impl Fn() -> B,
) -> Result<(), Mismatch> {
    let (file, entries) = load(path_or_text)?;
    let cuts = (1..longest_turn(&entries)).map(Cut::At);
    for cut in [Cut::Whole, Cut::EveryByte].into_iter().chain(cuts) {
        Talk::new(make(), backend(), cut)
            .run(&entries)
            .map_err(|it| it.of(&file))?;
    }
    Ok(())
}

fn load(path_or_text: &str) -> Result<(String, Vec<Entry>), Mismatch> {
    let failed = |file: &str, line: usize, got: String| Mismatch {
        file: file.to_owned(),
        line,
        cut: "reading".to_owned(),
        expected: "a dialogue".to_owned(),
        got,
    };
    let (file, text) = if path_or_text.contains('\n') {
        ("dialogue", path_or_text.to_owned())
    } else {
        let text = std::fs::read_to_string(path_or_text);
        (
            path_or_text,
            text.map_err(|error| failed(path_or_text, 0, error.to_string()))?,
        )
    };
    let entries = parse(&text).map_err(|(line, why)| failed(file, line, why))?;
    Ok((file.to_owned(), entries))
}

fn longest_turn(entries: &[Entry]) -> usize {
    let (mut longest, mut turn) = (0, 0);
    for entry in entries {
        turn = if let Action::Send(octets) = &entry.action {
            turn + octets.len()
        } else {
            0
        };
        longest = longest.max(turn);
    }
    longest
}

/// How the client's bytes of each turn reach the session.
#[derive(Debug, Clone, Copy)]
enum Cut {
    Whole,
    /// Every turn longer than this is cut there.
    At(usize),
    EveryByte,
}

impl Cut {
    fn segments(self, turn: &[u8]) -> Vec<&[u8]> {
        match self {
            Self::At(at) if at < turn.len() => vec![&turn[..at], &turn[at..]],
            Self::EveryByte => turn.chunks(1).collect(),
            Self::Whole | Self::At(_) => vec![turn],
        }
    }
}

/// A mismatch that does not know its file yet.
struct Found {
    line: usize,
    cut: Cut,
    expected: String,
    got: String,
}

impl Found {
    fn of(self, file: &str) -> Mismatch {
        let cut = match self.cut {
            Cut::Whole => "whole".to_owned(),
            Cut::At(at) => format!("cut at {at}"),
            Cut::EveryByte => "byte by byte".to_owned(),
        };
        Mismatch {
            file: file.to_owned(),
            line: self.line,
            cut,
            expected: self.expected,
            got: self.got,
        }
    }
}

/// A dialogue under way.
struct Talk<M: Machine, B> {
    machine: Option<M>,
    backend: B,
    cut: Cut,
    now: Instant,
    pause: Pause,
    /// Said by the client, not yet handed over.
    turn: Vec<u8>,
    /// Written by the session, not yet expected.
    written: Vec<u8>,
    /// Sent, but left on the connection when the session asked for TLS.
    unread: Vec<u8>,
    line: usize,
}

impl<M: Machine, B: FnMut(M::Ask) -> M::Answer> Talk<M, B> {
    fn new(machine: M, backend: B, cut: Cut) -> Self {
        Self {
            machine: Some(machine),
            backend,
            cut,
            now: Instant::now(),
            pause: Pause::Reading,
            turn: Vec::new(),
            written: Vec::new(),
            unread: Vec::new(),
            line: 0,
        }
    }

    fn run(mut self, entries: &[Entry]) -> Result<(), Found> {
        for entry in entries {
            if !matches!(entry.action, Action::Send(_)) {
                self.hand_over()?;
            }
            self.line = entry.line;
            self.act(&entry.action)?;
        }
        self.hand_over()?;
        self.nothing_more("the end of the dialogue")?;
        match self.pause {
            Pause::Reading => Ok(()),
            _ if self.machine.is_none() => Ok(()),
            pause => Err(self.mismatch("the session to go on", format!("{pause:?}"))),
        }
    }

    fn act(&mut self, action: &Action) -> Result<(), Found> {
        match action {
            Action::Send(octets) => {
                self.nothing_more("a turn of the client")?;
                self.turn.extend_from_slice(octets);
                return Ok(());
            }
            Action::Expect(octets) => return self.expect(octets),
            Action::ExpectLike(pattern) => return self.expect_like(pattern),
            _ => self.nothing_more("a directive")?,
        }
        match action {
            Action::Tls { leftover } => return self.upgrade(leftover, crate::facts()),
            Action::OldTls => return self.upgrade(&[], crate::old_facts()),
            Action::UpgradeRefused => return self.refuse_upgrade(),
            Action::Close(label) => return self.expect_close(label),
            _ => {}
        }
        let Some(machine) = self
            .machine
            .as_mut()
            .filter(|_| self.pause == Pause::Reading)
        else {
            return Err(self.mismatch("a session that reads", format!("{:?}", self.pause)));
        };
        match action {
            Action::Wait(time) => self.now += *time,
            Action::News => machine.news(),
            Action::Shutdown => machine.shutdown(),
            Action::Eof { clean } => machine.peer_closed(*clean),
            _ => {}
        }
        self.step()
    }

    /// Gives the session what the client has said, as cut, and lets it run.
    fn hand_over(&mut self) -> Result<(), Found> {
        if self.line == 0 && self.turn.is_empty() {
            return self.step();
        }
        let turn = std::mem::take(&mut self.turn);
        if !turn.is_empty() && self.machine.is_none() {
            return Err(self.mismatch("a session to talk to", "none: it is over".to_owned()));
        }
        if !turn.is_empty() && self.pause != Pause::Reading {
            return Err(self.mismatch("a session that reads", format!("{:?}", self.pause)));
        }
        for segment in self.cut.segments(&turn) {
            if self.pause == Pause::Reading {
                if let Some(machine) = self.machine.as_mut() {
                    machine.receive(segment);
                }
                self.step()?;
            } else {
                self.unread.extend_from_slice(segment);
            }
        }
        Ok(())
    }

    fn step(&mut self) -> Result<(), Found> {
        let Some(machine) = self.machine.as_mut() else {
            return Ok(());
        };
        match drive(machine, &mut self.backend, self.now, &mut self.written) {
            Ok(pause) => {
                self.pause = pause;
                Ok(())
            }
            Err(rule) => {
                Err(self.mismatch("a session that keeps the rules", format!("one that {rule}")))
            }
        }
    }

    fn expect(&mut self, octets: &[u8]) -> Result<(), Found> {
        if self.written.starts_with(octets) {
            self.written.drain(..octets.len());
            return Ok(());
        }
        Err(self.mismatch(&show(octets), show(&self.written)))
    }

    fn expect_like(&mut self, pattern: &str) -> Result<(), Found> {
        let end = self.written.windows(2).position(|pair| pair == b"\r\n");
        let line = end.and_then(|end| std::str::from_utf8(&self.written[..end]).ok());
        match (line, end) {
            (Some(line), Some(end)) if like(pattern, line) => {
                self.written.drain(..end + 2);
                Ok(())
            }
            _ => Err(self.mismatch(&format!("like {pattern:?}"), show(&self.written))),
        }
    }

    fn nothing_more(&mut self, before: &str) -> Result<(), Found> {
        if self.written.is_empty() {
            return Ok(());
        }
        Err(self.mismatch(
            &format!("nothing more before {before}"),
            show(&self.written),
        ))
    }

    /// Upgrades the session and gives what goes into the handshake, with what still was on the connection.
    fn leave(&mut self) -> Result<(M::Fresh, Leftover), Found> {
        let machine = match (self.pause, self.machine.take()) {
            (Pause::Upgrade, Some(machine)) => machine,
            (pause, machine) => {
                self.machine = machine;
                return Err(self.mismatch("the session to ask for TLS", format!("{pause:?}")));
            }
        };
        let (fresh, leftover) = machine.upgrade();
        let unread = std::mem::take(&mut self.unread);
        let leftover = match leftover.into_handshake() {
            Ok(octets) => Leftover::new([octets, unread].concat()),
            // What it said does not matter, only that it is not TLS.
            Err(injection) => Leftover::new(vec![b'!'; injection.octets]),
        };
        Ok((fresh, leftover))
    }

    fn upgrade(&mut self, expected: &[u8], facts: TlsFacts) -> Result<(), Found> {
        let (fresh, leftover) = self.leave()?;
        match leftover.into_handshake() {
            Ok(octets) if octets == expected => {
                self.machine = Some(fresh.secured(facts));
                self.pause = Pause::Reading;
                self.step()
            }
            other => Err(self.mismatch(
                &format!("{} left over", show(expected)),
                format!("{other:?}"),
            )),
        }
    }

    fn refuse_upgrade(&mut self) -> Result<(), Found> {
        match self.leave()?.1.into_handshake() {
            Err(_) => Ok(()),
            Ok(octets) => Err(self.mismatch(
                "an injection to be found",
                format!("{} left over", show(&octets)),
            )),
        }
    }

    fn expect_close(&mut self, label: &str) -> Result<(), Found> {
        match self.pause {
            Pause::Closed(why) if why.label() == label => {
                self.machine = None;
                Ok(())
            }
            pause => Err(self.mismatch(
                &format!("the session to close: {label}"),
                format!("{pause:?}"),
            )),
        }
    }

    fn mismatch(&self, expected: &str, got: String) -> Found {
        Found {
            line: self.line,
            cut: self.cut,
            expected: expected.to_owned(),
            got,
        }
    }
}

/// Octets as the escapes of a dialogue show them.
fn show(octets: &[u8]) -> String {
    format!("\"{}\"", octets.escape_ascii())
}
