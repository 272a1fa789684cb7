//! An IMAP session as one who listens sees it (RFC 9051, RFC 3501, RFC 7888, RFC 4959).
//!
//! Commands are lines with literals between them. Only the arguments of LOGIN and the answers in AUTHENTICATE are put together, looked at
//! and wiped; of everything else the length is enough. What the server says is joined by tags.

use gatepost_wire::imap::server::announcement;
use zeroize::Zeroize;

use super::lines::{Line, Lines, Piece};
use super::login::{Ending, Exchange, Mechanism};
use super::notes::{At, Notes, Protocol, Side, Upgrade};
use super::smtp::Came;

/// Commands that may wait for their replies.
const MOST_OUTSTANDING: usize = 256;
/// The most octets of a LOGIN command that are put together.
const LONGEST_LOGIN: usize = 16 * 1024;

/// What a tagged reply is awaited for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Asked {
    StartTls,
    Login,
    Append,
    Other,
}

#[derive(Debug)]
struct Waiting {
    tag: Box<[u8]>,
    asked: Asked,
}

/// The tracker.
#[derive(Debug)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is one thing seen or told once"
)]
pub struct Imap {
    client: Lines,
    server: Lines,
    /// Octets of a literal still to come: client, server.
    client_literal: u64,
    server_literal: u64,
    /// A literal is announced and waits for leave.
    waits_for_leave: Option<u64>,
    /// A LOGIN command, as far as it came.
    login: Option<(At, Vec<u8>)>,
    /// The line goes on behind a literal: client, server.
    is_client_inside: bool,
    is_server_inside: bool,
    outstanding: Vec<Waiting>,
    exchange: Option<Exchange>,
    is_greeted: bool,
    asked_in: Option<u64>,
    was_offered: bool,
    seen: Seen,
}

/// What was seen, and told, once.
#[derive(Debug, Default)]
#[expect(clippy::struct_excessive_bools, reason = "each is one thing seen")]
struct Seen {
    logindisabled: bool,
    auth_note: bool,
    read_note: bool,
    append_note: bool,
    untagged_note: bool,
    referral_note: bool,
    length_note: bool,
    /// Data without a tag came before anyone logged in.
    untagged: Option<At>,
    has_logged_in: bool,
}

impl Default for Imap {
    fn default() -> Self {
        Self {
            client: Lines::new(Side::Client),
            server: Lines::new(Side::Server),
            client_literal: 0,
            server_literal: 0,
            waits_for_leave: None,
            login: None,
            is_client_inside: false,
            is_server_inside: false,
            outstanding: Vec::new(),
            exchange: None,
            is_greeted: false,
            asked_in: None,
            was_offered: false,
            seen: Seen::default(),
        }
    }
}

impl Imap {
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
            Side::Client => self.client_literal > 0 && self.login.is_none(),
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
        if *literal >= count {
            *literal -= count;
            if side == Side::Client {
                self.forget_login();
            }
            return;
        }
        *literal = 0;
        match side {
            Side::Client => {
                self.client.lose();
                self.is_client_inside = false;
                self.waits_for_leave = None;
                self.forget_login();
            }
            Side::Server => {
                self.server.lose();
                self.is_server_inside = false;
            }
        }
    }

    fn forget_login(&mut self) {
        if let Some((_, mut text)) = self.login.take() {
            text.zeroize();
        }
    }

    /// The session is over.
    pub fn end(&mut self, notes: &mut Notes<'_>) {
        if let Some((at, mut text)) = self.login.take() {
            // A LOGIN of which the end is missing: what was said was said.
            self.begin_login_command(&text, at, notes);
            text.zeroize();
        }
        if let Some(exchange) = self.exchange.take() {
            exchange.end(Ending::Unknown, Protocol::Imap, notes);
        }
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
            if let Some(length) = self.waits_for_leave.take() {
                // Nobody refused: the literal follows.
                self.client_literal = length;
            }
            if self.client_literal > 0 {
                let count = usize::try_from(self.client_literal).unwrap_or(usize::MAX);
                let taken = piece.take(count);
                self.client_literal -= taken.len() as u64;
                self.keep_login(taken);
                continue;
            }
            let mut lines = std::mem::replace(&mut self.client, Lines::new(Side::Client));
            if let Some(line) = lines.next(piece) {
                self.client_line(&line, notes);
            }
            self.client = lines;
        }
    }

    fn keep_login(&mut self, octets: &[u8]) {
        if let Some((_, text)) = &mut self.login {
            let room = LONGEST_LOGIN.saturating_sub(text.len());
            text.extend_from_slice(octets.get(..room).unwrap_or(octets));
        }
    }

    fn client_line(&mut self, line: &Line<'_>, notes: &mut Notes<'_>) {
        if notes.facts.has_failed {
            notes.facts.lines_after_failure += 1;
        }
        if !self.seen.length_note && line.length > 12_000 && self.exchange.is_none() {
            self.seen.length_note = true;
            notes.find("W602", line.at, format!("a line of {} octets", line.length));
        }
        let literal = announcement(line.octets);
        if self.is_client_inside {
            self.keep_login(line.octets);
        } else if self.client_command(line, notes) {
            return;
        }
        if let Some(literal) = literal {
            self.is_client_inside = true;
            self.keep_login(b"\r\n");
            if literal.waits && notes.has_seen(Side::Server) {
                self.waits_for_leave = Some(literal.length);
            } else {
                self.client_literal = literal.length;
            }
            return;
        }
        self.is_client_inside = false;
        if let Some((at, mut text)) = self.login.take() {
            self.begin_login_command(&text, at, notes);
            text.zeroize();
        }
    }

    /// The first line of a command, or an answer in a login; whether it was the latter.
    fn client_command(&mut self, line: &Line<'_>, notes: &mut Notes<'_>) -> bool {
        let mut words = line.octets.splitn(3, |it| *it == b' ');
        let tag = words.next().unwrap_or_default();
        let verb = words.next().unwrap_or_default().to_ascii_uppercase();
        let argument = words.next().unwrap_or_default();
        if self.awaits(Asked::StartTls)
            && (notes.has_seen(Side::Server) || self.asked_in == Some(line.at.packet))
        {
            let id = if verb == b"STARTTLS" { "W306" } else { "W304" };
            notes.find(id, line.at, "said behind STARTTLS, before its reply");
        }
        // The answer to a challenge has no tag, so it is one word.
        if let Some(exchange) = &mut self.exchange
            && verb.is_empty()
            && exchange.mechanism() != Mechanism::LoginCommand
        {
            exchange.respond(line.octets, notes.privacy);
            return true;
        }
        if verb.is_empty() {
            // DONE, which ends IDLE.
            return false;
        }
        let asked = self.on_verb(&verb, argument, line, notes);
        if self.outstanding.len() >= MOST_OUTSTANDING {
            self.outstanding.remove(0);
        }
        let tag = tag.get(..64).unwrap_or(tag).into();
        self.outstanding.push(Waiting { tag, asked });
        false
    }

    fn awaits(&self, asked: Asked) -> bool {
        self.outstanding.iter().any(|it| it.asked == asked)
    }

    fn on_verb(
        &mut self,
        verb: &[u8],
        argument: &[u8],
        line: &Line<'_>,
        notes: &mut Notes<'_>,
    ) -> Asked {
        match verb {
            b"STARTTLS" => {
                self.asked_in = Some(line.at.packet);
                notes.facts.upgrade = notes.facts.upgrade.max(Upgrade::Asked);
                Asked::StartTls
            }
            b"LOGIN" => {
                self.check_login_disabled(line.at, notes);
                self.login = Some((line.at, argument.to_vec()));
                Asked::Login
            }
            b"AUTHENTICATE" => {
                self.check_login_disabled(line.at, notes);
                let mut words = argument.split(|it| *it == b' ').filter(|it| !it.is_empty());
                let mechanism = Mechanism::find(words.next().unwrap_or_default());
                let mut exchange = Exchange::begin(mechanism, line.at);
                if let Some(initial) = words.next() {
                    exchange.respond(initial, notes.privacy);
                }
                self.replace_exchange(exchange, notes);
                Asked::Login
            }
            b"APPEND" => {
                if !self.seen.append_note {
                    self.seen.append_note = true;
                    notes.find("W203", line.at, "a mail was stored with APPEND");
                }
                Asked::Append
            }
            b"FETCH" | b"UID" if asks_for_body(argument) && !notes.has_seen(Side::Server) => {
                self.note_read(line.at, "asked for a mail; the answer was not seen", notes);
                Asked::Other
            }
            _ => Asked::Other,
        }
    }

    fn check_login_disabled(&mut self, at: At, notes: &mut Notes<'_>) {
        if self.seen.logindisabled {
            notes.find("W313", at, "a login although LOGINDISABLED was announced");
        }
    }

    fn replace_exchange(&mut self, exchange: Exchange, notes: &mut Notes<'_>) {
        if let Some(before) = self.exchange.replace(exchange) {
            before.end(Ending::Unknown, Protocol::Imap, notes);
        }
    }

    fn begin_login_command(&mut self, text: &[u8], at: At, notes: &mut Notes<'_>) {
        let mut exchange = Exchange::begin(Mechanism::LoginCommand, at);
        let mut rest = text;
        if let Some(mut name) = take_astring(&mut rest) {
            exchange.name(&name, notes.privacy);
            name.zeroize();
        }
        if let Some(mut password) = take_astring(&mut rest) {
            exchange.password(&password);
            password.zeroize();
        }
        self.replace_exchange(exchange, notes);
    }

    fn note_read(&mut self, at: At, evidence: &'static str, notes: &mut Notes<'_>) {
        notes.facts.read += 1;
        if !self.seen.read_note {
            self.seen.read_note = true;
            notes.find("W203", at, evidence);
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
        let mut words = line.octets.splitn(3, |it| *it == b' ');
        let tag = words.next().unwrap_or_default();
        let word = words.next().unwrap_or_default().to_ascii_uppercase();
        let rest = words.next().unwrap_or_default();
        match tag {
            b"+" => false,
            b"*" => {
                self.untagged(&word, rest, line.at, notes);
                false
            }
            tag => self.tagged(tag, &word, rest, line.at, notes),
        }
    }

    fn untagged(&mut self, word: &[u8], rest: &[u8], at: At, notes: &mut Notes<'_>) {
        let is_greeting = !self.is_greeted;
        self.is_greeted = true;
        match word {
            b"PREAUTH" if is_greeting || self.outstanding.is_empty() => {
                self.seen.has_logged_in = true;
                notes.find("W308", at, "PREAUTH on a connection in clear");
            }
            b"CAPABILITY" => self.capabilities(rest, at, notes),
            b"OK" | b"NO" | b"BAD" | b"BYE" => self.code(rest, at, notes),
            b"LIST" | b"LSUB" | b"STATUS" | b"SEARCH" | b"FLAGS" => self.data_before_tls(at, notes),
            word if word.first().is_some_and(u8::is_ascii_digit) => {
                self.data_before_tls(at, notes);
                if is_body(rest) {
                    self.note_read(at, "a mail was read", notes);
                }
            }
            _ => {}
        }
    }

    /// Data that only a logged-in client should get: before TLS it was put there by somebody.
    fn data_before_tls(&mut self, at: At, notes: &mut Notes<'_>) {
        if self.seen.has_logged_in || self.seen.untagged_note || self.exchange.is_some() {
            return;
        }
        if self.awaits(Asked::StartTls) {
            self.seen.untagged_note = true;
            notes.find("W310", at, "data without a tag before TLS");
        } else {
            self.seen.untagged.get_or_insert(at);
        }
    }

    fn code(&mut self, text: &[u8], at: At, notes: &mut Notes<'_>) {
        let Some(code) = text.strip_prefix(b"[") else {
            return;
        };
        let code = code.split(|it| *it == b']').next().unwrap_or_default();
        let mut words = code.splitn(2, |it| *it == b' ');
        let name = words.next().unwrap_or_default().to_ascii_uppercase();
        match name.as_slice() {
            b"CAPABILITY" => self.capabilities(words.next().unwrap_or_default(), at, notes),
            b"REFERRAL" if !self.seen.referral_note => {
                self.seen.referral_note = true;
                notes.find("W311", at, "a referral to another server, in clear");
            }
            _ => {}
        }
    }

    fn capabilities(&mut self, list: &[u8], at: At, notes: &mut Notes<'_>) {
        let has = |name: &[u8]| {
            list.split(|it| *it == b' ')
                .any(|it| it.eq_ignore_ascii_case(name))
        };
        let (starttls, disabled) = (has(b"STARTTLS"), has(b"LOGINDISABLED"));
        self.seen.logindisabled = disabled;
        if starttls {
            self.was_offered = true;
            notes.facts.upgrade = notes.facts.upgrade.max(Upgrade::Offered);
        } else if notes.facts.upgrade == Upgrade::Unknown {
            notes.facts.upgrade = Upgrade::NotOffered;
        }
        if !disabled && !self.seen.auth_note && !self.seen.has_logged_in {
            self.seen.auth_note = true;
            notes.find("W312", at, "logins offered before TLS (no LOGINDISABLED)");
        }
    }

    fn tagged(
        &mut self,
        tag: &[u8],
        word: &[u8],
        rest: &[u8],
        at: At,
        notes: &mut Notes<'_>,
    ) -> bool {
        if !matches!(word, b"OK" | b"NO" | b"BAD") {
            return false;
        }
        let good = word == b"OK";
        self.waits_for_leave = self.waits_for_leave.filter(|_| good);
        let place = self.outstanding.iter().position(|it| *it.tag == *tag);
        let asked = place.map(|at| self.outstanding.remove(at).asked);
        if asked == Some(Asked::Login) && good {
            self.seen.has_logged_in = true;
        }
        let accepted = match asked {
            Some(Asked::StartTls) => self.on_starttls(word, at, notes),
            Some(Asked::Login) => {
                if let Some((_, mut text)) = self.login.take() {
                    text.zeroize();
                }
                self.is_client_inside = false;
                if let Some(exchange) = self.exchange.take() {
                    let ending = if good {
                        Ending::Accepted
                    } else {
                        Ending::Rejected
                    };
                    exchange.end(ending, Protocol::Imap, notes);
                }
                false
            }
            None if good && says_logged_in(rest) => {
                self.seen.has_logged_in = true;
                Exchange::unseen(at).end(Ending::Accepted, Protocol::Imap, notes);
                false
            }
            _ => false,
        };
        self.code(rest, at, notes);
        accepted
    }

    fn on_starttls(&mut self, word: &[u8], at: At, notes: &mut Notes<'_>) -> bool {
        self.asked_in = None;
        if let Some(untagged) = self
            .seen
            .untagged
            .take()
            .filter(|_| !self.seen.untagged_note)
        {
            self.seen.untagged_note = true;
            notes.find("W310", untagged, "data without a tag before TLS");
        }
        if word == b"OK" {
            notes.facts.upgrade = Upgrade::Accepted;
            return true;
        }
        notes.facts.upgrade = Upgrade::Refused;
        notes.facts.has_failed = true;
        notes.find("W301", at, "STARTTLS answered with NO or BAD");
        // NO may be a server's trouble; who does not know a command that was just offered may have been given another.
        if self.was_offered && word == b"BAD" {
            notes.facts.is_stripped = true;
            notes.find("W307", at, "STARTTLS offered, then answered with BAD");
        }
        false
    }
}

/// An atom, a quoted string or a literal, from the front (RFC 9051 9, `astring`), more tolerant than a server: what leaked, leaked.
pub(super) fn take_astring(rest: &mut &[u8]) -> Option<Vec<u8>> {
    let trimmed = rest.trim_ascii_start();
    let (value, left) = match trimmed.split_first()? {
        (b'"', inner) => {
            let mut value = Vec::new();
            let mut octets = inner.iter();
            while let Some(octet) = octets.next() {
                match octet {
                    b'"' => break,
                    b'\\' => value.extend(octets.next()),
                    other => value.push(*other),
                }
            }
            (value, octets.as_slice())
        }
        (b'{' | b'~', _) if announced_line(trimmed).is_some() => {
            let (length, behind) = announced_line(trimmed)?;
            let length = length.min(behind.len());
            let (value, left) = behind.split_at(length);
            (value.to_vec(), left)
        }
        _ => {
            let end = trimmed
                .iter()
                .position(|it| matches!(it, b' ' | b'\r' | b'\n'));
            let (value, left) = trimmed.split_at(end.unwrap_or(trimmed.len()));
            (value.to_vec(), left)
        }
    };
    *rest = left;
    Some(value)
}

/// The announcement of a literal at the front, its length and what stands behind its line.
fn announced_line(text: &[u8]) -> Option<(usize, &[u8])> {
    let end = memchr::memmem::find(text, b"\r\n")?;
    let (line, behind) = text.split_at(end);
    let length = announcement(line)?.length;
    Some((usize::try_from(length).ok()?, behind.get(2..)?))
}

/// Whether a FETCH asks for a mail's text rather than for facts about it.
fn asks_for_body(argument: &[u8]) -> bool {
    let text = argument.to_ascii_uppercase();
    [
        &b"BODY["[..],
        b"BODY.PEEK[",
        b"RFC822.TEXT",
        b"RFC822)",
        b"RFC822 ",
        b"BINARY[",
    ]
    .iter()
    .any(|it| memchr::memmem::find(&text, it).is_some())
        || text.ends_with(b"RFC822")
}

/// Whether a FETCH response brings some.
fn is_body(rest: &[u8]) -> bool {
    let text = rest.to_ascii_uppercase();
    text.starts_with(b"FETCH")
        && [
            &b"BODY["[..],
            b"RFC822 {",
            b"RFC822 \"",
            b"RFC822.TEXT",
            b"RFC822.HEADER",
            b"BINARY[",
        ]
        .iter()
        .any(|it| memchr::memmem::find(&text, it).is_some())
}

/// What servers answer to a login, where the login itself was not seen.
fn says_logged_in(text: &[u8]) -> bool {
    let text = text.to_ascii_lowercase();
    [
        &b"logged in"[..],
        b"login completed",
        b"login ok",
        b"authenticate completed",
        b"authentication successful",
    ]
    .iter()
    .any(|it| memchr::memmem::find(&text, it).is_some())
}
