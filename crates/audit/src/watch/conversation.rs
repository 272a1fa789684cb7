//! One connection, from its first octet in each direction to the last one worth reading.
//!
//! ```text
//!   Detect ──mail──▶ Mail ──STARTTLS accepted──▶ Upgrading ──▶ Tls ──established──▶ Over
//!     │  ▲             │ ▲                          │           ▲
//!     │  └─ tunnel     │ └──── clear text (W302) ───┘           │
//!     │                └── hello before the reply ──▶ Early ────┤
//!     ├── TLS at once ──────────────────────────────────────────┘
//!     └── not mail ──▶ Over
//! ```
//!
//! The seam of the servers and clients holds here too: what was said before TLS is judged and left behind, and octets that stand where TLS
//! should are never read as the peer's words after it.

use super::detect::{self, Early, Service, Verdict};
use super::imap::Imap;
use super::lines::Piece;
use super::notes::{At, Notes, Protocol, Side, Upgrade};
use super::pop3::Pop3;
use super::sieve::Sieve;
use super::smtp::{Came, Smtp};
use super::tls::{Tls, begins_tls};

/// Pieces that are kept to tell what a connection speaks.
const MOST_PIECES: usize = 16;
/// Pieces that are let go in the midst of a connection before it is given up.
const MOST_DROPPED: u32 = 4096;

/// How a connection ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Closing {
    /// One side said it has nothing more to say.
    Fin(Side),
    /// One side broke it off.
    Reset(Side),
    /// The watch ended, or the flow was given up.
    Unseen,
}

/// A connection.
#[derive(Debug)]
pub struct Conversation {
    phase: Phase,
    service: Option<Service>,
    from_start: bool,
    is_reversed: bool,
}

#[derive(Debug)]
enum Phase {
    Detect(Detect),
    Mail(Mail),
    /// STARTTLS was accepted; TLS must come now.
    Upgrading(Upgrading),
    /// The client's TLS began before the server's reply to STARTTLS came.
    Early(Mail, Box<Tls>),
    Tls(Box<Tls>),
    Over,
}

/// The first octets, in the order they came.
#[derive(Debug, Default)]
struct Detect {
    pieces: Vec<(At, Vec<u8>)>,
    /// Pieces that were looked at and let go.
    dropped: u32,
    /// Octets are missing.
    has_lost: bool,
}

#[derive(Debug)]
struct Upgrading {
    mail: Mail,
    accepted: At,
    has_injection: bool,
}

#[derive(Debug)]
enum Mail {
    Smtp(Box<Smtp>),
    Imap(Box<Imap>),
    Pop3(Box<Pop3>),
    Sieve(Box<Sieve>),
}

impl Mail {
    fn new(protocol: Protocol) -> Self {
        match protocol {
            Protocol::Smtp => Self::Smtp(Box::default()),
            Protocol::Imap => Self::Imap(Box::default()),
            Protocol::Pop3 => Self::Pop3(Box::default()),
            Protocol::Sieve => Self::Sieve(Box::default()),
        }
    }

    fn hear(&mut self, piece: &mut Piece<'_>, notes: &mut Notes<'_>) -> Came {
        match self {
            Self::Smtp(it) => it.hear(piece, notes),
            Self::Imap(it) => it.hear(piece, notes),
            Self::Pop3(it) => it.hear(piece, notes),
            Self::Sieve(it) => it.hear(piece, notes),
        }
    }

    fn is_at_start(&self, side: Side) -> bool {
        match self {
            Self::Smtp(it) => it.is_at_start(side),
            Self::Imap(it) => it.is_at_start(side),
            Self::Pop3(it) => it.is_at_start(side),
            Self::Sieve(it) => it.is_at_start(side),
        }
    }

    fn is_bulk(&self, side: Side) -> bool {
        match self {
            Self::Smtp(it) => it.is_bulk(side),
            Self::Imap(it) => it.is_bulk(side),
            Self::Pop3(it) => it.is_bulk(side),
            Self::Sieve(it) => it.is_bulk(side),
        }
    }

    fn lose(&mut self, side: Side, count: u64) {
        match self {
            Self::Smtp(it) => it.lose(side, count),
            Self::Imap(it) => it.lose(side, count),
            Self::Pop3(it) => it.lose(side),
            Self::Sieve(it) => it.lose(side, count),
        }
    }

    fn settle(&mut self, side: Side) {
        match self {
            Self::Smtp(it) => it.settle(side),
            Self::Imap(it) => it.settle(side),
            Self::Pop3(it) => it.settle(side),
            Self::Sieve(it) => it.settle(side),
        }
    }

    fn end(&mut self, notes: &mut Notes<'_>) {
        match self {
            Self::Smtp(it) => it.end(notes),
            Self::Imap(it) => it.end(notes),
            Self::Pop3(it) => it.end(notes),
            Self::Sieve(it) => it.end(notes),
        }
    }
}

impl Conversation {
    /// A connection to a port.
    #[must_use]
    pub fn new(port: u16, from_start: bool) -> Self {
        Self {
            phase: Phase::Detect(Detect::default()),
            service: detect::service(port),
            from_start,
            is_reversed: false,
        }
    }

    /// Whether nothing more is to be learnt.
    pub fn is_over(&self) -> bool {
        matches!(self.phase, Phase::Over)
    }

    /// Whether client and server turned out to be the other way round.
    pub fn is_reversed(&self) -> bool {
        self.is_reversed
    }

    /// Whether what this side said is kept for a while, to be compared with what is sent again.
    pub fn is_compared(&self, side: Side) -> bool {
        match &self.phase {
            Phase::Mail(mail) => !mail.is_bulk(side),
            Phase::Detect(_) | Phase::Upgrading(_) => true,
            Phase::Early(..) | Phase::Tls(_) | Phase::Over => false,
        }
    }

    /// Takes in what one side said.
    pub fn hear(&mut self, mut piece: Piece<'_>, notes: &mut Notes<'_>) {
        if self.is_reversed {
            piece.at.side = piece.at.side.other();
        }
        while !piece.is_empty() {
            let phase = std::mem::replace(&mut self.phase, Phase::Over);
            self.phase = match phase {
                Phase::Detect(detect) => {
                    self.phase = Phase::Over;
                    self.detect(detect, &mut piece, notes);
                    return;
                }
                Phase::Mail(mail) => Self::hear_mail(mail, &mut piece, notes),
                Phase::Upgrading(upgrading) => Self::hear_upgrading(upgrading, &mut piece, notes),
                Phase::Early(mail, tls) => Self::hear_early(mail, tls, &mut piece, notes),
                Phase::Tls(tls) => self.hear_tls(tls, &mut piece, notes),
                Phase::Over => return,
            };
        }
    }

    fn detect(&mut self, mut detect: Detect, piece: &mut Piece<'_>, notes: &mut Notes<'_>) {
        let at = piece.at;
        let room = detect::MOST + 1;
        let octets = piece.octets.get(..room).unwrap_or(piece.octets);
        let rest = Piece {
            octets: piece.octets.get(octets.len()..).unwrap_or_default(),
            at: At {
                offset: at.offset + octets.len() as u64,
                ..at
            },
        };
        detect.pieces.push((at, octets.to_vec()));
        self.decide(detect, false, notes);
        if !rest.is_empty() {
            // What was decided is not undone, so this goes on where the first part left off.
            let mut rest = rest;
            if self.is_reversed {
                rest.at.side = rest.at.side.other();
            }
            self.hear(rest, notes);
        }
    }

    /// Looks at the first octets again.
    fn decide(&mut self, mut detect: Detect, is_over: bool, notes: &mut Notes<'_>) {
        loop {
            let client = detect.said(Side::Client);
            let server = detect.said(Side::Server);
            let verdict = detect::decide(&Early {
                client: &client,
                server: &server,
                first: detect.pieces.first().map_or(Side::Client, |it| it.0.side),
                service: self.service,
                from_start: self.from_start,
                is_too_long: detect.pieces.len() > MOST_PIECES,
            });
            if verdict == Verdict::Other && self.is_patient(&detect) {
                // In the midst of a mail, say: a later line may tell.
                detect.dropped += 1;
                detect.pieces.clear();
                self.phase = Phase::Detect(detect);
                return;
            }
            match verdict {
                Verdict::Wait if is_over => return self.leave_open(&detect, notes),
                Verdict::Wait => {
                    self.phase = Phase::Detect(detect);
                    return;
                }
                Verdict::Tunnel {
                    client,
                    server,
                    port,
                    kind,
                } => {
                    detect.drop_front(Side::Client, client);
                    detect.drop_front(Side::Server, server);
                    notes.facts.tunnel = Some(kind);
                    self.service = detect::service(port);
                    if detect.pieces.is_empty() {
                        self.phase = Phase::Detect(detect);
                        return;
                    }
                }
                verdict => return self.begin(verdict, detect, notes),
            }
        }
    }

    /// Whether to go on looking: the beginning was not seen, and it is a port of mail.
    fn is_patient(&self, detect: &Detect) -> bool {
        !self.from_start && self.service.is_some() && detect.dropped < MOST_DROPPED
    }

    /// Too little was said, or seen, to tell what it was. On a port of mail that is a session of which nothing is known.
    fn leave_open(&mut self, detect: &Detect, notes: &mut Notes<'_>) {
        let was_said = detect.has_lost || !detect.pieces.is_empty();
        if let Some(service) = self.service.filter(|_| was_said) {
            notes.facts.protocol = Some(service.protocol);
            notes.facts.is_untold = true;
        }
    }

    fn begin(&mut self, verdict: Verdict, detect: Detect, notes: &mut Notes<'_>) {
        let implicit = self.service.is_some_and(|it| it.is_implicit);
        let Some(&(first, _)) = detect.pieces.first() else {
            return;
        };
        match verdict {
            Verdict::Mail(protocol) | Verdict::Reversed(protocol) => {
                self.is_reversed = matches!(verdict, Verdict::Reversed(_));
                notes.facts.protocol = Some(protocol);
                if implicit {
                    notes.find("W401", first, "clear text where TLS begins at once");
                }
                self.phase = Phase::Mail(Mail::new(protocol));
            }
            Verdict::Tls(protocol) => {
                notes.facts.protocol = Some(protocol);
                notes.facts.is_implicit = true;
                if self.service.is_some_and(|it| !it.is_implicit) {
                    notes.find(
                        "W403",
                        first,
                        "TLS at once on a port where clear text begins",
                    );
                }
                self.phase = Phase::Tls(Box::default());
            }
            Verdict::Running(protocol) => {
                notes.facts.protocol = Some(protocol);
                notes.facts.is_implicit = implicit;
                notes.facts.tls.get_or_insert_default().is_established = true;
                return;
            }
            _ => {
                let has_begun = self.from_start && !detect.pieces.is_empty();
                if let Some(service) = self.service.filter(|_| has_begun) {
                    notes.facts.protocol = Some(service.protocol);
                    notes.facts.is_untold = true;
                    notes.find("W402", first, "neither mail nor TLS on a port of mail");
                }
                return;
            }
        }
        let reversed = std::mem::take(&mut self.is_reversed);
        for (mut at, octets) in detect.pieces {
            if reversed {
                at.side = at.side.other();
            }
            let octets = zeroize::Zeroizing::new(octets);
            self.hear(
                Piece {
                    octets: &octets,
                    at,
                },
                notes,
            );
        }
        self.is_reversed = reversed;
    }

    fn hear_mail(mut mail: Mail, piece: &mut Piece<'_>, notes: &mut Notes<'_>) -> Phase {
        // TLS where a line should begin: the upgrade itself was not seen, or its reply is still to come.
        if piece.octets.len() >= 6 && begins_tls(piece.octets) && mail.is_at_start(piece.at.side) {
            let is_asked = notes.facts.upgrade == Upgrade::Asked && notes.has_seen(Side::Server);
            if is_asked && piece.at.side == Side::Client {
                return Phase::Early(mail, Box::default());
            }
            mail.end(notes);
            notes.facts.upgrade = Upgrade::Accepted;
            return Phase::Tls(Box::default());
        }
        match mail.hear(piece, notes) {
            Came::Through => Phase::Mail(mail),
            Came::Accepted => Phase::Upgrading(Upgrading {
                mail,
                accepted: piece.at,
                has_injection: false,
            }),
        }
    }

    fn hear_early(
        mut mail: Mail,
        mut tls: Box<Tls>,
        piece: &mut Piece<'_>,
        notes: &mut Notes<'_>,
    ) -> Phase {
        if piece.at.side == Side::Client {
            tls.hear(piece, notes);
            return Phase::Early(mail, tls);
        }
        if begins_tls(piece.octets) || mail.hear(piece, notes) == Came::Accepted {
            mail.end(notes);
            notes.facts.upgrade = Upgrade::Accepted;
            if !piece.is_empty() && !begins_tls(piece.octets) {
                notes.find(
                    "W305",
                    piece.at,
                    "octets behind the reply that accepts STARTTLS",
                );
                let at = memchr::memmem::find_iter(piece.octets, &[22, 3])
                    .find(|at| piece.octets.get(*at..).is_some_and(begins_tls));
                piece.take(at.unwrap_or(usize::MAX));
            }
            return Phase::Tls(tls);
        }
        Phase::Early(mail, tls)
    }

    fn hear_upgrading(mut this: Upgrading, piece: &mut Piece<'_>, notes: &mut Notes<'_>) -> Phase {
        if begins_tls(piece.octets) {
            this.mail.end(notes);
            return Phase::Tls(Box::default());
        }
        if piece.at.side == Side::Server {
            if !this.has_injection {
                this.has_injection = true;
                notes.find(
                    "W305",
                    piece.at,
                    "octets behind the reply that accepts STARTTLS",
                );
            }
            // The server's TLS may begin behind what was put in.
            let at = memchr::memmem::find_iter(piece.octets, &[22, 3])
                .find(|at| piece.octets.get(*at..).is_some_and(begins_tls));
            piece.take(at.unwrap_or(usize::MAX));
            return Phase::Upgrading(this);
        }
        notes.facts.has_failed = true;
        notes.find(
            "W302",
            piece.at,
            "STARTTLS was accepted, and clear text follows",
        );
        this.mail.settle(Side::Client);
        this.mail.settle(Side::Server);
        Phase::Mail(this.mail)
    }

    fn hear_tls(
        &mut self,
        mut tls: Box<Tls>,
        piece: &mut Piece<'_>,
        notes: &mut Notes<'_>,
    ) -> Phase {
        let is_banner = piece.at.side == Side::Server
            && notes.facts.is_implicit
            && !tls.has_server_hello()
            && matches!(
                piece.octets,
                [b'2', b'2', b'0', ..] | [b'*', b' ', ..] | [b'+', b'O', b'K', ..] | [b'"', ..]
            );
        if is_banner {
            let implicit = self.service.is_some_and(|it| it.is_implicit);
            notes.facts.has_failed = true;
            let id = if implicit { "W401" } else { "W303" };
            notes.find(
                id,
                piece.at,
                "a hello of TLS was answered with a banner in clear",
            );
            let protocol = notes.facts.protocol.unwrap_or(Protocol::Smtp);
            return Phase::Mail(Mail::new(protocol));
        }
        tls.hear(piece, notes);
        if tls.is_over() {
            Phase::Over
        } else {
            Phase::Tls(tls)
        }
    }

    /// Octets of one side are missing.
    pub fn lose(&mut self, side: Side, count: u64, at: At, notes: &mut Notes<'_>) {
        let side = if self.is_reversed { side.other() } else { side };
        notes.facts.missing += count;
        match &mut self.phase {
            Phase::Detect(detect) => {
                // What comes behind the gap is read like a connection that was open already.
                detect.pieces.retain(|it| it.0.side != side);
                detect.has_lost = true;
                self.from_start = false;
            }
            Phase::Mail(mail) => {
                let in_bulk = mail.is_bulk(side);
                mail.lose(side, count);
                if !in_bulk && notes.facts.tls.is_none() {
                    let evidence = format!(
                        "{count} octets of the {} are missing before TLS",
                        side.word()
                    );
                    notes.find("W901", at, evidence);
                }
            }
            Phase::Upgrading(it) => it.mail.lose(side, count),
            Phase::Early(mail, tls) => {
                mail.lose(side, count);
                tls.lose();
            }
            Phase::Tls(tls) => tls.lose(),
            Phase::Over => {}
        }
    }

    /// The connection is over.
    pub fn end(&mut self, closing: Closing, at: At, notes: &mut Notes<'_>) {
        let how = match closing {
            Closing::Fin(_) => "closed",
            Closing::Reset(_) => "broke off",
            Closing::Unseen => "",
        };
        if let Phase::Detect(detect) = &mut self.phase {
            let detect = std::mem::take(detect);
            self.decide(detect, true, notes);
        }
        match std::mem::replace(&mut self.phase, Phase::Over) {
            Phase::Mail(mut mail) | Phase::Early(mut mail, _) => mail.end(notes),
            Phase::Upgrading(mut it) => {
                it.mail.end(notes);
                if it.has_injection {
                    notes.facts.has_failed = true;
                    notes.find(
                        "W302",
                        it.accepted,
                        "STARTTLS was accepted, and something else followed",
                    );
                } else if closing != Closing::Unseen {
                    notes.facts.has_failed = true;
                    let evidence =
                        format!("STARTTLS was accepted, then the {} {how}", at.side.word());
                    notes.find("W303", it.accepted, evidence);
                }
            }
            Phase::Tls(mut tls) if closing != Closing::Unseen => tls.end(how, at, notes),
            _ => {}
        }
    }
}

impl Detect {
    fn said(&self, side: Side) -> Vec<u8> {
        let pieces = self.pieces.iter().filter(|it| it.0.side == side);
        pieces
            .flat_map(|it| it.1.iter().copied())
            .take(detect::MOST * 2)
            .collect()
    }

    fn drop_front(&mut self, side: Side, mut count: usize) {
        for (at, octets) in self.pieces.iter_mut().filter(|it| it.0.side == side) {
            let cut = count.min(octets.len());
            octets.drain(..cut);
            at.offset += cut as u64;
            count -= cut;
        }
        self.pieces.retain(|it| !it.1.is_empty());
    }
}
