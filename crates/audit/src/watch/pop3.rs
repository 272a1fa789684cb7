//! A POP3 session as one who listens sees it (RFC 1939, 2449, 2595, 5034).

use std::collections::VecDeque;

use gatepost_wire::pop3::split_line;

use super::lines::{Line, Lines, Piece};
use super::login::{Ending, Exchange, Mechanism, Shown};
use super::notes::{At, Notes, Protocol, Side, Upgrade};
use super::smtp::Came;

/// Commands that may wait for their replies.
const MOST_OUTSTANDING: usize = 4096;

/// What a reply is awaited for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Asked {
    Capabilities,
    StartTls,
    User,
    Login,
    Read,
    /// A list of several lines.
    List,
    Other,
}

/// The tracker.
#[derive(Debug)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is one thing seen or told once"
)]
pub struct Pop3 {
    client: Lines,
    server: Lines,
    outstanding: VecDeque<Asked>,
    is_greeted: bool,
    has_timestamp: bool,
    /// The reply under way goes on to a dot.
    body: Option<Asked>,
    exchange: Option<Exchange>,
    asked_in: Option<u64>,
    was_offered: bool,
    capabilities: Capabilities,
    has_read_note: bool,
    has_auth_note: bool,
}

#[derive(Debug, Default, Clone, Copy)]
struct Capabilities {
    starttls: bool,
    auth: bool,
}

impl Default for Pop3 {
    fn default() -> Self {
        Self {
            client: Lines::new(Side::Client),
            server: Lines::new(Side::Server),
            outstanding: VecDeque::new(),
            is_greeted: false,
            has_timestamp: false,
            body: None,
            exchange: None,
            asked_in: None,
            was_offered: false,
            capabilities: Capabilities::default(),
            has_read_note: false,
            has_auth_note: false,
        }
    }
}

impl Pop3 {
    /// Whether this side's next octet begins a line.
    pub fn is_at_start(&self, side: Side) -> bool {
        match side {
            Side::Client => self.client.is_at_start(),
            Side::Server => self.server.is_at_start() && self.body.is_none(),
        }
    }

    /// Whether a mail is being sent to the client.
    pub fn is_bulk(&self, side: Side) -> bool {
        side == Side::Server && self.body == Some(Asked::Read)
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
        let side = piece.at.side;
        let lines = match side {
            Side::Client => &mut self.client,
            Side::Server => &mut self.server,
        };
        let mut lines = std::mem::replace(lines, Lines::new(side));
        let mut came = Came::Through;
        while let Some(line) = lines.next(piece) {
            if side == Side::Client {
                self.command(&line, notes);
            } else if self.reply(&line, notes) {
                came = Came::Accepted;
                break;
            }
        }
        match side {
            Side::Client => self.client = lines,
            Side::Server => self.server = lines,
        }
        came
    }

    /// Octets of this side are missing.
    pub fn lose(&mut self, side: Side) {
        match side {
            Side::Client => {
                self.client.lose();
                self.outstanding.clear();
            }
            Side::Server => {
                self.server.lose();
                // A mail may go on behind the gap; only its dot ends it.
                if self.body != Some(Asked::Read) {
                    self.body = None;
                    self.outstanding.clear();
                }
            }
        }
    }

    /// The session is over.
    pub fn end(&mut self, notes: &mut Notes<'_>) {
        if let Some(exchange) = self.exchange.take() {
            exchange.end(Ending::Unknown, Protocol::Pop3, notes);
        }
    }

    fn expect(&mut self, asked: Asked) {
        if self.outstanding.len() < MOST_OUTSTANDING {
            self.outstanding.push_back(asked);
        }
    }

    fn command(&mut self, line: &Line<'_>, notes: &mut Notes<'_>) {
        if notes.facts.has_failed {
            notes.facts.lines_after_failure += 1;
        }
        let (word, argument) = split_line(line.octets);
        let word = word
            .get(..4)
            .filter(|_| word.len() == 4)
            .unwrap_or(word)
            .to_ascii_uppercase();
        let is_stls = word == b"STLS";
        let awaits_tls = self.outstanding.contains(&Asked::StartTls);
        if awaits_tls && (notes.has_seen(Side::Server) || self.asked_in == Some(line.at.packet)) {
            let id = if is_stls { "W306" } else { "W304" };
            notes.find(id, line.at, "said behind STLS, before its reply");
        }
        let argument = argument.unwrap_or_default();
        let is_answer = self.outstanding.front() == Some(&Asked::Login)
            || (!notes.has_seen(Side::Server) && self.outstanding.back() == Some(&Asked::Login));
        if is_answer
            && !is_keyword(&word)
            && let Some(exchange) = &mut self.exchange
            && exchange.mechanism() != Mechanism::UserPass
        {
            exchange.respond(line.octets, notes.privacy);
            return;
        }
        self.on_command(&word, argument, line.at, notes);
    }

    fn on_command(&mut self, word: &[u8], argument: &[u8], at: At, notes: &mut Notes<'_>) {
        match word {
            b"CAPA" => {
                self.capabilities = Capabilities::default();
                self.expect(Asked::Capabilities);
            }
            b"STLS" => {
                self.asked_in = Some(at.packet);
                notes.facts.upgrade = notes.facts.upgrade.max(Upgrade::Asked);
                self.expect(Asked::StartTls);
            }
            b"USER" => {
                let exchange = self.begin(Mechanism::UserPass, at, notes);
                exchange.name(argument, notes.privacy);
                self.expect(Asked::User);
            }
            b"PASS" => {
                let exchange = match &mut self.exchange {
                    Some(exchange) if exchange.mechanism() == Mechanism::UserPass => exchange,
                    _ => self.begin(Mechanism::UserPass, at, notes),
                };
                exchange.password(argument);
                self.expect(Asked::Login);
            }
            b"APOP" => {
                let name = argument.split(|it| *it == b' ').next().unwrap_or_default();
                let exchange = self.begin(Mechanism::Apop, at, notes);
                exchange.name(name, notes.privacy);
                if name.len() < argument.len() {
                    exchange.show(Shown::Challenge);
                }
                self.expect(Asked::Login);
            }
            b"AUTH" => {
                let mut words = argument.split(|it| *it == b' ').filter(|it| !it.is_empty());
                let Some(name) = words.next() else {
                    // Without an argument it asks which mechanisms there are (RFC 1734's drafts).
                    return self.expect(Asked::List);
                };
                let exchange = self.begin(Mechanism::find(name), at, notes);
                if let Some(initial) = words.next() {
                    exchange.respond(initial, notes.privacy);
                }
                self.expect(Asked::Login);
            }
            b"RETR" | b"TOP" => {
                if !notes.has_seen(Side::Server) {
                    self.note_read(at, "asked for a mail; the answer was not seen", notes);
                }
                self.expect(Asked::Read);
            }
            b"LIST" | b"UIDL" if argument.is_empty() => self.expect(Asked::List),
            _ => self.expect(Asked::Other),
        }
    }

    fn begin(&mut self, mechanism: Mechanism, at: At, notes: &mut Notes<'_>) -> &mut Exchange {
        if let Some(exchange) = self.exchange.take() {
            exchange.end(Ending::Unknown, Protocol::Pop3, notes);
        }
        self.exchange.insert(Exchange::begin(mechanism, at))
    }

    fn note_read(&mut self, at: At, evidence: &'static str, notes: &mut Notes<'_>) {
        notes.facts.read += 1;
        if !self.has_read_note {
            self.has_read_note = true;
            notes.find("W203", at, evidence);
        }
    }

    /// One line of the server; whether STLS is accepted with it.
    fn reply(&mut self, line: &Line<'_>, notes: &mut Notes<'_>) -> bool {
        if let Some(asked) = self.body {
            if line.octets == b"." {
                self.body = None;
                self.end_of_body(asked, line.at, notes);
            } else if asked == Asked::Capabilities {
                self.capability(line.octets);
            }
            return false;
        }
        let good = starts_with(line.octets, b"+OK");
        let bad = starts_with(line.octets, b"-ERR");
        if !good && !bad {
            // `+` and a challenge leave the command open.
            return false;
        }
        if !self.is_greeted {
            self.is_greeted = true;
            self.has_timestamp = has_timestamp(line.octets);
            if self.outstanding.is_empty() {
                return false;
            }
        }
        let asked = self.outstanding.pop_front();
        self.on_reply(asked, good, line, notes)
    }

    fn on_reply(
        &mut self,
        asked: Option<Asked>,
        good: bool,
        line: &Line<'_>,
        notes: &mut Notes<'_>,
    ) -> bool {
        match asked {
            Some(Asked::Capabilities | Asked::List) if good => self.body = asked,
            Some(Asked::Read) if good => {
                self.note_read(line.at, "a mail was read", notes);
                self.body = asked;
            }
            Some(Asked::StartTls) => {
                self.asked_in = None;
                if good {
                    notes.facts.upgrade = Upgrade::Accepted;
                    return true;
                }
                notes.facts.upgrade = Upgrade::Refused;
                notes.facts.has_failed = true;
                notes.find("W301", line.at, "STLS answered with -ERR");
                if self.was_offered {
                    notes.facts.is_stripped = true;
                    notes.find("W307", line.at, "STLS offered, then answered with -ERR");
                }
            }
            Some(Asked::User) if !good => self.end_login(Ending::Rejected, notes),
            Some(Asked::Login) => {
                self.end_login(
                    if good {
                        Ending::Accepted
                    } else {
                        Ending::Rejected
                    },
                    notes,
                );
            }
            None if good && says_logged_in(line.octets) => {
                Exchange::unseen(line.at).end(Ending::Accepted, Protocol::Pop3, notes);
            }
            _ => {}
        }
        false
    }

    fn end_login(&mut self, ending: Ending, notes: &mut Notes<'_>) {
        if let Some(exchange) = self.exchange.take() {
            exchange.end(ending, Protocol::Pop3, notes);
        }
    }

    fn capability(&mut self, line: &[u8]) {
        let (word, argument) = split_line(line);
        match word.to_ascii_uppercase().as_slice() {
            b"STLS" => self.capabilities.starttls = true,
            b"USER" => self.capabilities.auth = true,
            b"SASL" => self.capabilities.auth |= argument.is_some_and(|it| !it.is_empty()),
            _ => {}
        }
    }

    fn end_of_body(&mut self, asked: Asked, at: At, notes: &mut Notes<'_>) {
        if asked != Asked::Capabilities {
            return;
        }
        if self.capabilities.starttls {
            self.was_offered = true;
            notes.facts.upgrade = notes.facts.upgrade.max(Upgrade::Offered);
        } else if notes.facts.upgrade == Upgrade::Unknown {
            notes.facts.upgrade = Upgrade::NotOffered;
        }
        if self.capabilities.auth && !self.has_auth_note {
            self.has_auth_note = true;
            notes.find("W312", at, "USER or SASL offered before TLS");
        }
    }
}

fn is_keyword(word: &[u8]) -> bool {
    const WORDS: [&[u8]; 14] = [
        b"AUTH", b"CAPA", b"DELE", b"LIST", b"NOOP", b"PASS", b"QUIT", b"RETR", b"RSET", b"STAT",
        b"STLS", b"UIDL", b"USER", b"APOP",
    ];
    WORDS.contains(&word)
}

fn starts_with(line: &[u8], word: &[u8]) -> bool {
    line.get(..word.len())
        .is_some_and(|it| it.eq_ignore_ascii_case(word))
}

/// `<…@…>`, which offers APOP (RFC 1939 7).
fn has_timestamp(line: &[u8]) -> bool {
    let from = memchr::memchr(b'<', line);
    from.and_then(|at| line.get(at..))
        .is_some_and(|it| it.contains(&b'@') && it.contains(&b'>'))
}

/// What servers answer to a login, where the login itself was not seen.
fn says_logged_in(line: &[u8]) -> bool {
    let text = line.to_ascii_lowercase();
    [
        &b"logged in"[..],
        b"mailbox locked",
        b"maildrop",
        b"mailbox open",
        b"welcome",
    ]
    .iter()
    .any(|it| memchr::memmem::find(&text, it).is_some())
}
