//! A `ManageSieve` session as one who listens sees it (RFC 5804).
//!
//! There are no tags: responses come in the order of the commands, each ended by OK, NO or BYE. Strings may be literals on both sides; of those
//! only the arguments of AUTHENTICATE and the answers in it are put together, looked at and wiped.

use std::collections::VecDeque;

use gatepost_wire::imap::server::announcement;
use zeroize::{Zeroize, Zeroizing};

use super::imap::take_astring;
use super::lines::{Line, Lines, Piece};
use super::login::{Ending, Exchange, Mechanism};
use super::notes::{At, Notes, Protocol, Side, Upgrade};
use super::smtp::Came;

/// Commands that may wait for their responses.
const MOST_OUTSTANDING: usize = 4096;
/// The most octets of a login that are put together.
const LONGEST_LOGIN: usize = 16 * 1024;

/// What a response is awaited for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Asked {
    Capabilities,
    StartTls,
    Login,
    Script,
    Other,
}

/// What the client's line is part of, as far as that is looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Part {
    Authenticate,
    Answer,
}

/// The tracker.
#[derive(Debug)]
pub struct Sieve {
    client: Lines,
    server: Lines,
    /// Octets of a literal still to come: client, server.
    client_literal: u64,
    server_literal: u64,
    /// The line goes on behind a literal: client, server.
    is_client_inside: bool,
    is_server_inside: bool,
    /// What is put together of a login, as far as it came.
    kept: Option<(Part, At, Vec<u8>)>,
    outstanding: VecDeque<Asked>,
    exchange: Option<Exchange>,
    is_greeted: bool,
    asked_in: Option<u64>,
    capabilities: Capabilities,
    told: Told,
}

/// The lines of the response under way.
#[derive(Debug, Default, Clone, Copy)]
struct Capabilities {
    any: bool,
    starttls: bool,
    logins: bool,
}

/// What was told, once.
#[derive(Debug, Default, Clone, Copy)]
struct Told {
    auth: bool,
    script: bool,
    referral: bool,
}

impl Default for Sieve {
    fn default() -> Self {
        Self {
            client: Lines::new(Side::Client),
            server: Lines::new(Side::Server),
            client_literal: 0,
            server_literal: 0,
            is_client_inside: false,
            is_server_inside: false,
            kept: None,
            outstanding: VecDeque::new(),
            exchange: None,
            is_greeted: false,
            asked_in: None,
            capabilities: Capabilities::default(),
            told: Told::default(),
        }
    }
}

impl Sieve {
    /// Whether this side's next octet begins a line.
    pub fn is_at_start(&self, side: Side) -> bool {
        match side {
            Side::Client => {
                self.client.is_at_start() && self.client_literal == 0 && !self.is_client_inside
            }
            Side::Server => {
                self.server.is_at_start() && self.server_literal == 0 && !self.is_server_inside
            }
        }
    }

    /// Whether a literal is under way that holds no login.
    pub fn is_bulk(&self, side: Side) -> bool {
        match side {
            Side::Client => self.client_literal > 0 && self.kept.is_none(),
            Side::Server => self.server_literal > 0,
        }
    }

    /// The next line of this side begins with its next octet.
    pub fn settle(&mut self, side: Side) {
        match side {
            Side::Client => self.client.settle(),
            Side::Server => self.server.settle(),
        }
    }

    /// Octets of this side are missing.
    pub fn lose(&mut self, side: Side, count: u64) {
        let literal = match side {
            Side::Client => &mut self.client_literal,
            Side::Server => &mut self.server_literal,
        };
        let is_within = *literal >= count;
        *literal = literal.saturating_sub(count);
        if side == Side::Client {
            self.forget_login();
        }
        if is_within {
            return;
        }
        // Which response is for which command is not known any more.
        self.outstanding.clear();
        self.asked_in = None;
        match side {
            Side::Client => {
                self.client_literal = 0;
                self.client.lose();
                self.is_client_inside = false;
            }
            Side::Server => {
                self.server_literal = 0;
                self.server.lose();
                self.is_server_inside = false;
            }
        }
    }

    fn forget_login(&mut self) {
        if let Some((_, _, mut text)) = self.kept.take() {
            text.zeroize();
        }
    }

    /// The session is over.
    pub fn end(&mut self, notes: &mut Notes<'_>) {
        // A login of which the end is missing: what was said was said.
        self.read_login(notes);
        self.end_login(Ending::Unknown, notes);
    }

    /// Takes in what one side said.
    pub fn hear(&mut self, piece: &mut Piece<'_>, notes: &mut Notes<'_>) -> Came {
        match piece.at.side {
            Side::Client => {
                self.hear_client(piece, notes);
                Came::Through
            }
            Side::Server => self.hear_server(piece, notes),
        }
    }

    fn hear_client(&mut self, piece: &mut Piece<'_>, notes: &mut Notes<'_>) {
        while !piece.is_empty() {
            if self.client_literal > 0 {
                let count = usize::try_from(self.client_literal).unwrap_or(usize::MAX);
                let taken = piece.take(count);
                self.client_literal -= taken.len() as u64;
                self.keep(taken);
                continue;
            }
            let mut lines = std::mem::replace(&mut self.client, Lines::new(Side::Client));
            if let Some(line) = lines.next(piece) {
                self.client_line(&line, notes);
            }
            self.client = lines;
        }
    }

    fn keep(&mut self, octets: &[u8]) {
        if let Some((_, _, text)) = &mut self.kept {
            let room = LONGEST_LOGIN.saturating_sub(text.len());
            text.extend_from_slice(octets.get(..room).unwrap_or(octets));
        }
    }

    fn client_line(&mut self, line: &Line<'_>, notes: &mut Notes<'_>) {
        if notes.facts.has_failed {
            notes.facts.lines_after_failure += 1;
        }
        if self.is_client_inside {
            self.keep(line.octets);
        } else {
            self.client_command(line, notes);
        }
        // Whether the server has to give leave for it (RFC 5804 4 knows no such literals): the octets follow.
        if let Some(literal) = announcement(line.octets) {
            self.is_client_inside = true;
            self.keep(b"\r\n");
            self.client_literal = literal.length;
            return;
        }
        self.is_client_inside = false;
        self.read_login(notes);
    }

    /// The first line of a command, or of an answer in a login.
    fn client_command(&mut self, line: &Line<'_>, notes: &mut Notes<'_>) {
        let (word, argument) = split(line.octets);
        if self.outstanding.contains(&Asked::StartTls)
            && (notes.has_seen(Side::Server) || self.asked_in == Some(line.at.packet))
        {
            let id = if word == b"STARTTLS" { "W306" } else { "W304" };
            notes.find(id, line.at, "said behind STARTTLS, before its response");
        }
        // RFC 5804 2.1: an answer is a string and nothing else.
        if matches!(line.octets.first(), Some(b'"' | b'{')) {
            if self.exchange.is_some() {
                self.kept = Some((Part::Answer, line.at, line.octets.to_vec()));
            }
            return;
        }
        let asked = self.on_verb(&word, argument, line.at, notes);
        if self.outstanding.len() < MOST_OUTSTANDING {
            self.outstanding.push_back(asked);
        }
    }

    fn on_verb(&mut self, verb: &[u8], argument: &[u8], at: At, notes: &mut Notes<'_>) -> Asked {
        match verb {
            b"CAPABILITY" => Asked::Capabilities,
            b"STARTTLS" => {
                self.asked_in = Some(at.packet);
                notes.facts.upgrade = notes.facts.upgrade.max(Upgrade::Asked);
                Asked::StartTls
            }
            b"AUTHENTICATE" => {
                self.kept = Some((Part::Authenticate, at, argument.to_vec()));
                Asked::Login
            }
            b"PUTSCRIPT" | b"CHECKSCRIPT" => {
                self.note_script(at, "a script was stored or checked", notes);
                Asked::Other
            }
            b"GETSCRIPT" => {
                if !notes.has_seen(Side::Server) {
                    self.note_script(at, "asked for a script; the answer was not seen", notes);
                }
                Asked::Script
            }
            _ => Asked::Other,
        }
    }

    /// Reads what was put together of a login.
    fn read_login(&mut self, notes: &mut Notes<'_>) {
        let Some((part, at, text)) = self.kept.take() else {
            return;
        };
        let text = Zeroizing::new(text);
        let mut rest = text.as_slice();
        let mut next = || take_astring(&mut rest).map(Zeroizing::new);
        if part == Part::Authenticate {
            let mechanism = Mechanism::find(&next().unwrap_or_default());
            self.end_login(Ending::Unknown, notes);
            self.exchange = Some(Exchange::begin(mechanism, at));
        }
        if let (Some(exchange), Some(answer)) = (&mut self.exchange, next()) {
            exchange.respond(&answer, notes.privacy);
        }
    }

    fn end_login(&mut self, ending: Ending, notes: &mut Notes<'_>) {
        if let Some(exchange) = self.exchange.take() {
            exchange.end(ending, Protocol::Sieve, notes);
        }
    }

    fn note_script(&mut self, at: At, evidence: &'static str, notes: &mut Notes<'_>) {
        if !self.told.script {
            self.told.script = true;
            notes.find("W204", at, evidence);
        }
    }

    fn hear_server(&mut self, piece: &mut Piece<'_>, notes: &mut Notes<'_>) -> Came {
        while !piece.is_empty() {
            if self.server_literal > 0 {
                let count = usize::try_from(self.server_literal).unwrap_or(usize::MAX);
                self.server_literal -= piece.take(count).len() as u64;
                continue;
            }
            let mut lines = std::mem::replace(&mut self.server, Lines::new(Side::Server));
            let line = lines.next(piece);
            let accepted = line.is_some_and(|line| self.server_line(&line, notes));
            self.server = lines;
            if accepted {
                return Came::Accepted;
            }
        }
        Came::Through
    }

    /// One line of the server; whether STARTTLS is accepted with it.
    fn server_line(&mut self, line: &Line<'_>, notes: &mut Notes<'_>) -> bool {
        let inside = self.is_server_inside;
        let literal = announcement(line.octets);
        self.is_server_inside = literal.is_some();
        self.server_literal = literal.map_or(0, |it| it.length);
        if inside {
            return false;
        }
        let (word, rest) = split(line.octets);
        match word.as_slice() {
            b"OK" | b"NO" | b"BYE" => self.on_end(&word, rest, line.at, notes),
            _ => {
                self.on_data(line, notes);
                false
            }
        }
    }

    fn on_data(&mut self, line: &Line<'_>, notes: &mut Notes<'_>) {
        match self.outstanding.front() {
            Some(Asked::Script) => self.note_script(line.at, "a script was read", notes),
            // Before any command it is the greeting.
            None | Some(Asked::Capabilities) => self.capability(line.octets),
            Some(_) if !self.is_greeted => self.capability(line.octets),
            Some(_) => {}
        }
    }

    fn capability(&mut self, line: &[u8]) {
        let mut rest = line;
        let name = take_astring(&mut rest).unwrap_or_default();
        let seen = &mut self.capabilities;
        match name.to_ascii_uppercase().as_slice() {
            b"IMPLEMENTATION" | b"SIEVE" | b"VERSION" => seen.any = true,
            b"STARTTLS" => (seen.any, seen.starttls) = (true, true),
            b"SASL" => {
                seen.any = true;
                let value = take_astring(&mut rest).unwrap_or_default();
                seen.logins = !value.trim_ascii().is_empty();
            }
            _ => {}
        }
    }

    /// The end of a response; whether STARTTLS is accepted with it.
    fn on_end(&mut self, word: &[u8], rest: &[u8], at: At, notes: &mut Notes<'_>) -> bool {
        self.code(rest, at, notes);
        let is_greeting = !std::mem::replace(&mut self.is_greeted, true);
        self.end_of_capabilities(at, notes);
        // In the midst of a session what was seen first is no greeting.
        if is_greeting && self.outstanding.is_empty() {
            return false;
        }
        let good = word == b"OK";
        match self.outstanding.pop_front() {
            Some(Asked::StartTls) => return self.on_starttls(good, at, notes),
            Some(Asked::Login) => {
                self.read_login(notes);
                let ending = if good {
                    Ending::Accepted
                } else {
                    Ending::Rejected
                };
                self.told.auth |= good;
                self.end_login(ending, notes);
            }
            None if good && says_logged_in(rest) => {
                Exchange::unseen(at).end(Ending::Accepted, Protocol::Sieve, notes);
            }
            _ => {}
        }
        false
    }

    fn on_starttls(&mut self, good: bool, at: At, notes: &mut Notes<'_>) -> bool {
        self.asked_in = None;
        if good {
            notes.facts.upgrade = Upgrade::Accepted;
            return true;
        }
        notes.facts.upgrade = Upgrade::Refused;
        notes.facts.has_failed = true;
        notes.find("W301", at, "STARTTLS answered with NO or BYE");
        false
    }

    fn end_of_capabilities(&mut self, at: At, notes: &mut Notes<'_>) {
        let seen = std::mem::take(&mut self.capabilities);
        if seen.starttls {
            notes.facts.upgrade = notes.facts.upgrade.max(Upgrade::Offered);
        } else if seen.any && notes.facts.upgrade == Upgrade::Unknown {
            notes.facts.upgrade = Upgrade::NotOffered;
        }
        if seen.logins && !self.told.auth {
            self.told.auth = true;
            notes.find("W312", at, "SASL mechanisms offered before TLS");
        }
    }

    /// RFC 5804 1.3: a code in parentheses; a referral has a URL.
    fn code(&mut self, text: &[u8], at: At, notes: &mut Notes<'_>) {
        let name = text.strip_prefix(b"(").and_then(|it| it.get(..8));
        let is_referral = name.is_some_and(|it| it.eq_ignore_ascii_case(b"REFERRAL"));
        if is_referral && !self.told.referral {
            self.told.referral = true;
            notes.find("W311", at, "a referral to another server, in clear");
        }
    }
}

/// The first word, in upper case, and what stands behind it.
fn split(line: &[u8]) -> (Vec<u8>, &[u8]) {
    let end = line.iter().position(|it| matches!(it, b' ' | b'('));
    let (word, rest) = line.split_at(end.unwrap_or(line.len()));
    let word = word.get(..32).unwrap_or(word);
    (word.to_ascii_uppercase(), rest.trim_ascii_start())
}

/// What servers answer to a login, where the login itself was not seen.
fn says_logged_in(text: &[u8]) -> bool {
    let text = text.to_ascii_lowercase();
    [
        &b"logged in"[..],
        b"(sasl ",
        b"authentication successful",
        b"authenticate completed",
    ]
    .iter()
    .any(|it| memchr::memmem::find(&text, it).is_some())
}
