//! An SMTP session as one who listens sees it: commands and replies are joined, and what is said before TLS is judged.
//!
//! Replies answer commands in order (RFC 5321 4.1, RFC 2920), so each reply line is matched with the oldest command without one. Where only
//! one side is seen the other is not invented: what would have to be known from it is "unknown", and claims are no stronger than that.

use std::collections::VecDeque;

use gatepost_wire::smtp::client::{ReplyLine, keyword_looks_masked};
use gatepost_wire::smtp::command;
use gatepost_wire::smtp::data::DataDecoder;
use gatepost_wire::smtp::table::Verb;

use super::lines::{Line, Lines, Piece};
use super::login::{Ending, Exchange, Mechanism};
use super::notes::{At, Notes, Protocol, Side, Upgrade};

/// Commands that may wait for their replies; more than any client pipelines.
const MOST_OUTSTANDING: usize = 1024;
/// The longest command line (RFC 5321 4.5.3.1.4), with what extensions add.
const LONGEST_COMMAND: usize = 2048;

/// What a reply is awaited for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Asked {
    Hello { extended: bool },
    StartTls,
    Auth,
    Mail,
    Data,
    Content,
    Other,
}

/// How the client's next octets are read.
#[derive(Debug, Clone, Copy)]
enum Mode {
    Commands,
    /// The content of a message up to its dot, and the octets before the present one.
    Content(DataDecoder, [u8; 4]),
    /// A chunk of so many octets.
    Chunk(u64),
}

/// The transaction under way.
#[derive(Debug, Clone, Copy)]
struct Transaction {
    at: At,
    has_content: bool,
}

/// What the tracker came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use]
pub enum Came {
    /// To the end of what was given.
    Through,
    /// To an accepted STARTTLS. What is left stands behind it.
    Accepted,
}

/// The tracker.
#[derive(Debug)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is one thing seen or told once"
)]
pub struct Smtp {
    client: Lines,
    server: Lines,
    mode: Mode,
    outstanding: VecDeque<Asked>,
    /// The server has greeted.
    is_greeted: bool,
    /// What the reply to EHLO said so far.
    capabilities: Capabilities,
    exchange: Option<Exchange>,
    transaction: Option<Transaction>,
    /// STARTTLS was said and not answered, in this packet.
    asked_in: Option<u64>,
    was_offered: bool,
    has_auth_note: bool,
    has_pipelining_note: bool,
    has_length_note: bool,
    has_ending_note: bool,
}

#[derive(Debug, Default, Clone, Copy)]
#[expect(clippy::struct_excessive_bools, reason = "each is one keyword")]
struct Capabilities {
    starttls: bool,
    auth: bool,
    pipelining: bool,
    masked: bool,
    /// Lines of the reply so far; the first one greets.
    lines: u16,
    /// Part of the reply is missing.
    is_broken: bool,
}

impl Default for Smtp {
    fn default() -> Self {
        Self {
            client: Lines::new(Side::Client),
            server: Lines::new(Side::Server),
            mode: Mode::Commands,
            outstanding: VecDeque::new(),
            is_greeted: false,
            capabilities: Capabilities::default(),
            exchange: None,
            transaction: None,
            asked_in: None,
            was_offered: false,
            has_auth_note: false,
            has_pipelining_note: false,
            has_length_note: false,
            has_ending_note: false,
        }
    }
}

impl Smtp {
    /// Whether this side's next octet begins a line.
    pub fn is_at_start(&self, side: Side) -> bool {
        match side {
            Side::Client => matches!(self.mode, Mode::Commands) && self.client.is_at_start(),
            Side::Server => self.server.is_at_start(),
        }
    }

    /// Whether the client sends content now, which need not be compared with what is sent again.
    pub fn is_bulk(&self, side: Side) -> bool {
        side == Side::Client && !matches!(self.mode, Mode::Commands)
    }

    /// The next line of this side begins with its next octet.
    pub fn settle(&mut self, side: Side) {
        match side {
            Side::Client => self.client.settle(),
            Side::Server => self.server.settle(),
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

    /// Octets of this side are missing.
    pub fn lose(&mut self, side: Side, count: u64) {
        match (side, &mut self.mode) {
            (Side::Client, Mode::Chunk(left)) if *left >= count => *left -= count,
            (Side::Client, Mode::Content(..)) => {
                self.mode = Mode::Content(DataDecoder::in_text(), [0; 4]);
            }
            (Side::Client, _) => {
                self.mode = Mode::Commands;
                self.client.lose();
                // Commands may be among what is missing: replies can no longer be matched.
                self.outstanding.clear();
            }
            (Side::Server, _) => {
                self.server.lose();
                self.capabilities.is_broken = true;
                self.outstanding.clear();
            }
        }
    }

    /// The session is over.
    pub fn end(&mut self, notes: &mut Notes<'_>) {
        if let Some(exchange) = self.exchange.take() {
            exchange.end(Ending::Unknown, Protocol::Smtp, notes);
        }
        self.close_transaction(notes);
    }

    fn hear_client(&mut self, piece: &mut Piece<'_>, notes: &mut Notes<'_>) {
        while !piece.is_empty() {
            match self.mode {
                Mode::Content(decoder, before) => self.content(decoder, before, piece, notes),
                Mode::Chunk(left) => {
                    let count = usize::try_from(left).unwrap_or(usize::MAX);
                    let taken = piece.take(count).len() as u64;
                    self.mode = if taken == left {
                        Mode::Commands
                    } else {
                        Mode::Chunk(left - taken)
                    };
                }
                Mode::Commands => {
                    let mut lines = std::mem::replace(&mut self.client, Lines::new(Side::Client));
                    let line = lines.next(piece);
                    if let Some(line) = line {
                        self.command(line, !piece.is_empty(), notes);
                    }
                    self.client = lines;
                }
            }
        }
    }

    fn content(
        &mut self,
        mut decoder: DataDecoder,
        before: [u8; 4],
        piece: &mut Piece<'_>,
        notes: &mut Notes<'_>,
    ) {
        let at = piece.at;
        notes.scratch.clear();
        let found = decoder.decode(piece.octets, notes.scratch, usize::MAX);
        let taken = piece.take(found.consumed);
        if !self.has_ending_note && has_bare_ending(before, taken) {
            self.has_ending_note = true;
            notes.find("W601", at, "a dot between line ends of which one is bare");
        }
        notes.scratch.clear();
        self.mode = if found.ended {
            self.expect(Asked::Content);
            self.close_transaction(notes);
            Mode::Commands
        } else {
            Mode::Content(decoder, last_four(before, taken))
        };
    }

    fn expect(&mut self, asked: Asked) {
        if self.outstanding.len() < MOST_OUTSTANDING {
            self.outstanding.push_back(asked);
        }
    }

    fn command(&mut self, line: Line<'_>, more_follows: bool, notes: &mut Notes<'_>) {
        if notes.facts.has_failed {
            notes.facts.lines_after_failure += 1;
        }
        let split = command::split(line.octets);
        let awaits_tls = self.outstanding.contains(&Asked::StartTls);
        if awaits_tls && (notes.has_seen(Side::Server) || self.asked_in == Some(line.at.packet)) {
            let is_again = matches!(&split, Ok((row, _)) if row.verb == Verb::StartTls);
            let id = if is_again { "W306" } else { "W304" };
            notes.find(id, line.at, "said behind STARTTLS, before its reply");
        }
        if self.answers_login(&line, notes) {
            return;
        }
        if !self.has_length_note && line.length > LONGEST_COMMAND {
            self.has_length_note = true;
            notes.find(
                "W602",
                line.at,
                format!("a command line of {} octets", line.length),
            );
        }
        let is_lhlo = line
            .octets
            .get(..5)
            .is_some_and(|it| it.eq_ignore_ascii_case(b"LHLO "));
        let (verb, argument) = match split {
            Ok((row, argument)) => (row.verb, argument),
            Err(_) if is_lhlo => (Verb::Ehlo, line.octets),
            Err(_) => return self.expect(Asked::Other),
        };
        self.check_pipelining(verb, line.at, more_follows, notes);
        self.on_verb(verb, argument, line.at, notes);
    }

    /// EHLO, DATA, AUTH and STARTTLS end a group of commands (RFC 2920 3.1).
    fn check_pipelining(&mut self, verb: Verb, at: At, more_follows: bool, notes: &mut Notes<'_>) {
        let ends_group = matches!(verb, Verb::Ehlo | Verb::Helo | Verb::Data);
        if more_follows && ends_group && !self.has_pipelining_note {
            self.has_pipelining_note = true;
            notes.find(
                "W602",
                at,
                "more in the same segment behind a command that ends a group",
            );
        }
    }

    fn on_verb(&mut self, verb: Verb, argument: &[u8], at: At, notes: &mut Notes<'_>) {
        match verb {
            Verb::Ehlo | Verb::Helo => {
                self.capabilities = Capabilities::default();
                self.expect(Asked::Hello {
                    extended: verb == Verb::Ehlo,
                });
            }
            Verb::StartTls => {
                self.asked_in = Some(at.packet);
                notes.facts.upgrade = notes.facts.upgrade.max(Upgrade::Asked);
                self.expect(Asked::StartTls);
            }
            Verb::Auth => self.begin_login(argument, at, notes),
            Verb::Mail => {
                self.close_transaction(notes);
                self.transaction = Some(Transaction {
                    at,
                    has_content: false,
                });
                self.expect(Asked::Mail);
            }
            Verb::Data => {
                self.expect(Asked::Data);
                // Where the server is seen, its leave comes first.
                if !notes.has_seen(Side::Server) {
                    self.begin_content(at, notes);
                }
            }
            Verb::Bdat => {
                self.begin_transaction(at);
                self.mark_content();
                let mut words = argument.split(|it| *it == b' ');
                let digits = words.next().and_then(|it| std::str::from_utf8(it).ok());
                if let Some(octets) = digits.and_then(|it| it.parse().ok()).filter(|it| *it > 0) {
                    self.mode = Mode::Chunk(octets);
                }
                if words
                    .next()
                    .is_some_and(|it| it.eq_ignore_ascii_case(b"LAST"))
                {
                    self.expect(Asked::Content);
                    self.close_transaction(notes);
                } else {
                    self.expect(Asked::Other);
                }
            }
            Verb::Rset | Verb::Quit => {
                self.close_transaction(notes);
                self.expect(Asked::Other);
            }
            _ => self.expect(Asked::Other),
        }
    }

    fn begin_transaction(&mut self, at: At) {
        self.transaction.get_or_insert(Transaction {
            at,
            has_content: false,
        });
    }

    fn mark_content(&mut self) {
        if let Some(transaction) = &mut self.transaction {
            transaction.has_content = true;
        }
    }

    fn begin_content(&mut self, at: At, notes: &mut Notes<'_>) {
        self.begin_transaction(at);
        self.mark_content();
        self.mode = Mode::Content(DataDecoder::default(), *b"\0\0\r\n");
        let _ = notes;
    }

    /// A transaction is over: tells that it went in clear.
    fn close_transaction(&mut self, notes: &mut Notes<'_>) {
        let Some(transaction) = self.transaction.take() else {
            return;
        };
        let (content, at) = (transaction.has_content, transaction.at);
        if content {
            notes.facts.sent += 1;
        }
        match (self.was_offered, content, notes.facts.upgrade) {
            (true, true, _) => notes.find("W201", at, "a mail, although STARTTLS had been offered"),
            (true, false, _) => {
                notes.find(
                    "W201",
                    at,
                    "sender and recipients, although STARTTLS had been offered",
                );
            }
            (false, true, Upgrade::NotOffered) => {
                notes.find("W202", at, "a mail; STARTTLS was not offered");
            }
            (false, true, _) => {
                notes.find(
                    "W202",
                    at,
                    "a mail; whether STARTTLS was offered was not seen",
                );
            }
            (false, false, _) => {}
        }
    }

    fn begin_login(&mut self, argument: &[u8], at: At, notes: &mut Notes<'_>) {
        if let Some(exchange) = self.exchange.take() {
            exchange.end(Ending::Aborted, Protocol::Smtp, notes);
        }
        let mut words = argument.split(|it| *it == b' ').filter(|it| !it.is_empty());
        let mut exchange = Exchange::begin(Mechanism::find(words.next().unwrap_or_default()), at);
        if let Some(initial) = words.next() {
            exchange.respond(initial, notes.privacy);
        }
        self.exchange = Some(exchange);
        self.expect(Asked::Auth);
    }

    /// Whether the line is the client's part of a login rather than a command.
    fn answers_login(&mut self, line: &Line<'_>, notes: &mut Notes<'_>) -> bool {
        let Some(exchange) = &mut self.exchange else {
            return false;
        };
        let is_open =
            self.outstanding.front() == Some(&Asked::Auth) || !notes.has_seen(Side::Server);
        let is_command = command::split(line.octets).is_ok();
        if !is_open || is_command {
            return false;
        }
        exchange.respond(line.octets, notes.privacy);
        true
    }

    fn hear_server(&mut self, piece: &mut Piece<'_>, notes: &mut Notes<'_>) -> Came {
        let mut lines = std::mem::replace(&mut self.server, Lines::new(Side::Server));
        let mut came = Came::Through;
        while let Some(line) = lines.next(piece) {
            if self.reply(&line, notes) {
                came = Came::Accepted;
                break;
            }
        }
        self.server = lines;
        came
    }

    /// One line of a reply; whether STARTTLS is accepted with it.
    fn reply(&mut self, line: &Line<'_>, notes: &mut Notes<'_>) -> bool {
        let Some(reply) = ReplyLine::parse(line.octets) else {
            return false;
        };
        if !self.is_greeted {
            self.is_greeted = reply.is_last;
            // A banner, unless the watch began later.
            let is_banner = reply.code == 220 && self.outstanding.front() != Some(&Asked::StartTls);
            if is_banner || self.outstanding.is_empty() {
                return false;
            }
        }
        let asked = self.outstanding.front().copied();
        if let Some(Asked::Hello { extended: true }) = asked {
            self.capability(&reply, line.at, notes);
        } else if asked.is_none() && reply.code == 250 {
            self.capability(&reply, line.at, notes);
        }
        if !reply.is_last {
            return false;
        }
        // A challenge or a leave to go on leaves the command open.
        if reply.code == 334 {
            return false;
        }
        self.outstanding.pop_front();
        self.on_reply(asked, reply.code, line.at, notes)
    }

    fn on_reply(&mut self, asked: Option<Asked>, code: u16, at: At, notes: &mut Notes<'_>) -> bool {
        match asked {
            Some(Asked::Hello { extended }) => self.on_hello(extended, code, at, notes),
            Some(Asked::StartTls) => {
                self.asked_in = None;
                if code == 220 {
                    notes.facts.upgrade = Upgrade::Accepted;
                    return true;
                }
                self.on_refusal(code, at, notes);
            }
            Some(Asked::Auth) => {
                if let Some(exchange) = self.exchange.take() {
                    let good = code / 100 == 2;
                    let ending = if good {
                        Ending::Accepted
                    } else {
                        Ending::Rejected
                    };
                    exchange.end(ending, Protocol::Smtp, notes);
                }
            }
            Some(Asked::Data) if code == 354 => {
                self.begin_content(at, notes);
            }
            None if code == 250 => {
                // Only the server is seen: a reply of several lines with keywords is that to EHLO.
                if self.capabilities.lines > 1 {
                    self.on_hello(true, code, at, notes);
                }
                self.capabilities = Capabilities::default();
            }
            None if code == 235 => {
                Exchange::unseen(at).end(Ending::Accepted, Protocol::Smtp, notes);
            }
            _ => {}
        }
        false
    }

    fn on_refusal(&mut self, code: u16, at: At, notes: &mut Notes<'_>) {
        notes.facts.upgrade = Upgrade::Refused;
        notes.facts.has_failed = true;
        notes.find("W301", at, format!("STARTTLS answered with {code}"));
        // 5xx by a server that has just offered it: somebody in between may have changed the command.
        if self.was_offered && code >= 500 {
            notes.facts.is_stripped = true;
            notes.find(
                "W307",
                at,
                format!("STARTTLS offered, then answered with {code}"),
            );
        }
    }

    fn capability(&mut self, reply: &ReplyLine<'_>, at: At, notes: &mut Notes<'_>) {
        let mut words = reply
            .text
            .split(|it| *it == b' ')
            .filter(|it| !it.is_empty());
        let keyword = words.next().unwrap_or_default().to_ascii_uppercase();
        let seen = &mut self.capabilities;
        seen.lines = seen.lines.saturating_add(1);
        if seen.lines == 1 {
            return;
        }
        let is_blank = keyword.is_empty() && reply.text.len() >= 8;
        match keyword.as_slice() {
            b"STARTTLS" => seen.starttls = true,
            b"PIPELINING" => seen.pipelining = true,
            b"AUTH" => seen.auth |= words.next().is_some(),
            other if other.starts_with(b"AUTH=") && other.len() > 5 => seen.auth = true,
            _ if (is_blank || keyword_looks_masked(reply.text)) && !seen.masked => {
                seen.masked = true;
                notes.facts.is_stripped = true;
                notes.find("W307", at, "a keyword of the EHLO reply is overwritten");
            }
            _ => {}
        }
    }

    fn on_hello(&mut self, extended: bool, code: u16, at: At, notes: &mut Notes<'_>) {
        if code != 250 {
            return;
        }
        let seen = self.capabilities;
        let upgrade = &mut notes.facts.upgrade;
        if seen.starttls {
            self.was_offered = true;
            *upgrade = (*upgrade).max(Upgrade::Offered);
        } else if !(seen.is_broken && extended) && *upgrade == Upgrade::Unknown {
            *upgrade = Upgrade::NotOffered;
        }
        if seen.auth && !self.has_auth_note {
            self.has_auth_note = true;
            notes.find("W312", at, "AUTH offered before TLS");
        }
    }
}

fn last_four(before: [u8; 4], octets: &[u8]) -> [u8; 4] {
    let mut kept = before;
    for octet in octets
        .get(octets.len().saturating_sub(4)..)
        .unwrap_or_default()
    {
        kept.rotate_left(1);
        kept[3] = *octet;
    }
    kept
}

/// A dot alone on a line by the reckoning of a program that takes a bare CR or LF for a line end: `LF.LF`, `LF.CRLF`, `CR.CR`, `CRLF.LF`.
fn has_bare_ending(before: [u8; 4], octets: &[u8]) -> bool {
    let found = |window: &[u8]| match window {
        [a, b, b'.', c, d] => {
            let bare_before = (*b == b'\n' && *a != b'\r') || *b == b'\r';
            let ends_bare = *c == b'\n' || (*c == b'\r' && *d != b'\n');
            let ends = matches!(c, b'\r' | b'\n');
            (bare_before && ends) || (*b == b'\n' && ends_bare)
        }
        _ => false,
    };
    let [a, b, c, d] = before;
    let mut next = octets.iter().copied();
    let head = [a, b, c, d].map(Some);
    let tail: [Option<u8>; 4] = std::array::from_fn(|_| next.next());
    let mut border = [0; 8];
    let known = head.into_iter().chain(tail).flatten();
    let count = border
        .iter_mut()
        .zip(known)
        .map(|(to, from)| *to = from)
        .count();
    if border
        .get(..count)
        .is_some_and(|it| it.windows(5).any(found))
    {
        return true;
    }
    memchr::memchr_iter(b'.', octets).any(|at| {
        at.checked_sub(2)
            .and_then(|from| octets.get(from..from + 5))
            .is_some_and(found)
    })
}
