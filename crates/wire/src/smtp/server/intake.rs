//! Content coming in, by DATA or by BDAT: cut out of the stream, looked at, and passed on in pieces.
//!
//! Pieces have exactly [`PIECE_OCTETS`] octets but for the last, so the questions do not depend on segments. Content with
//! a fault is forgotten by the backend at once and read to its true end; only then comes the reply, so that nothing of it is
//! ever taken for a command [SMTP-SMUG-01].

use super::core::Core;
use super::state::{Asked, Drain, Rest, Spoken, State, Transaction, Turn};
use crate::inbox::Inbox;
use crate::session::Why;
use crate::smtp::ask::{Ask, Body, Envelope, Refusal};
use crate::smtp::command::Chunk;
use crate::smtp::content::ContentCheck;
use crate::smtp::data::DataDecoder;
use crate::smtp::relay::Passed;
use crate::smtp::reply;

/// The size of a piece of content.
const PIECE_OCTETS: usize = 64 * 1024;

/// A message coming in.
pub(super) struct Intake {
    piece: Vec<u8>,
    check: ContentCheck,
    framing: Framing,
    /// Octets read, stuffing and refused ones counted.
    read: u64,
    /// The session may read this many before it gives up on the client.
    bound: u64,
    /// The backend knows of the message no more; what still comes is thrown away.
    dropped: bool,
    /// Why the backend refused it.
    refusal: Option<Spoken>,
}

/// How the end of the content is found.
enum Framing {
    /// By `CRLF "." CRLF`.
    Data { decoder: DataDecoder, ended: bool },
    /// By counting.
    Chunk { left: u64, last: bool },
}

impl Intake {
    /// The question with which content by DATA begins.
    pub(super) fn by_data(transaction: Transaction, core: &Core) -> Turn {
        Self::begin(
            transaction,
            core,
            Framing::Data {
                decoder: DataDecoder::default(),
                ended: false,
            },
        )
    }

    /// The question with which content by BDAT begins.
    pub(super) fn by_chunks(transaction: Transaction, core: &Core, chunk: Chunk) -> Turn {
        Self::begin(
            transaction,
            core,
            Framing::Chunk {
                left: chunk.octets,
                last: chunk.last,
            },
        )
    }

    fn begin(transaction: Transaction, core: &Core, framing: Framing) -> Turn {
        let limit = core.config.limits.message_octets;
        let intake = Self {
            piece: Vec::new(),
            check: match transaction.mail.body {
                Body::BinaryMime => ContentCheck::of_binary(limit),
                Body::SevenBit | Body::EightBitMime => ContentCheck::new(limit),
            },
            framing,
            read: 0,
            bound: far_over(limit),
            dropped: false,
            refusal: None,
        };
        let trace = core.trace(&transaction);
        let envelope = Envelope {
            mail: transaction.mail,
            recipients: transaction.recipients,
            trace,
        };
        Turn::Ask(
            Ask::Begin(Box::new(envelope)),
            Asked::Begin(Box::new(intake)),
        )
    }

    /// The backend's answer to the beginning.
    pub(super) fn begun(self: Box<Self>, verdict: Result<(), Refusal>, core: &mut Core) -> Turn {
        match (verdict, &self.framing) {
            (Ok(()), Framing::Data { .. }) => Turn::Go(State::Prompt(self)),
            (Ok(()), Framing::Chunk { .. }) => Turn::Go(State::Content(self)),
            (Err(refusal), framing) => refuse(framing, Spoken::Own(refusal.into()), core),
        }
    }

    /// The same from the server behind this one.
    pub(super) fn not_begun(&self, passed: &Passed, core: &mut Core) -> Turn {
        refuse(
            &self.framing,
            Spoken::Passed(Box::new(passed.clone())),
            core,
        )
    }

    /// Writes 354, if nothing has come before it [SMTP-SMUG-04].
    pub(super) fn prompt(self: Box<Self>, core: &mut Core, inbox: &Inbox) -> Turn {
        if !inbox.is_empty() {
            return core.leave(reply::OUT_OF_SYNC, Why::OutOfSync);
        }
        core.say(reply::SEND_CONTENT);
        Turn::Go(State::Content(self))
    }

    /// The next chunk of a message.
    pub(super) fn chunk(mut self: Box<Self>, chunk: Chunk, core: &mut Core) -> Turn {
        if chunk.octets > self.bound.saturating_sub(self.read) {
            return core.leave(reply::TOO_MUCH_DATA, Why::LimitExceeded);
        }
        self.framing = Framing::Chunk {
            left: chunk.octets,
            last: chunk.last,
        };
        Turn::Go(State::Content(self))
    }

    /// Takes what has come.
    pub(super) fn on(mut self: Box<Self>, core: &mut Core, inbox: &mut Inbox) -> Turn {
        loop {
            if self.read > self.bound {
                return core.leave(reply::TOO_MUCH_DATA, Why::LimitExceeded);
            }
            if self.framing.ended() {
                return self.finish(core);
            }
            if inbox.is_empty() {
                return Turn::More(State::Content(self));
            }
            self.fill(inbox);
            if let Some(ask) = self.demand() {
                return Turn::Ask(ask, Asked::Content(self));
            }
        }
    }

    /// Moves octets from the inbox into the piece, until one of them is done. Nothing is altered but the stuffing, and octets over
    /// 127 are welcome whatever BODY said [SMTP-BASE-13] [SMTP-8BIT-01].
    fn fill(&mut self, inbox: &mut Inbox) {
        let from = self.piece.len();
        let consumed = match &mut self.framing {
            Framing::Data { decoder, ended } => {
                let decoded = decoder.decode(inbox.waiting(), &mut self.piece, PIECE_OCTETS);
                *ended = decoded.ended;
                decoded.consumed
            }
            Framing::Chunk { left, .. } => {
                let room = PIECE_OCTETS - from;
                let count = usize::try_from(*left)
                    .unwrap_or(usize::MAX)
                    .min(inbox.len())
                    .min(room);
                self.piece
                    .extend_from_slice(inbox.waiting().get(..count).unwrap_or_default());
                *left -= count as u64;
                count
            }
        };
        inbox.consume(consumed);
        self.read += consumed as u64;
        self.check.push(self.piece.get(from..).unwrap_or_default());
    }

    /// What the backend must be told now.
    fn demand(&mut self) -> Option<Ask> {
        if self.dropped {
            self.piece.clear();
        } else if self.check.fault().is_some() {
            self.dropped = true;
            self.piece = Vec::new();
            return Some(Ask::Abort);
        } else if self.piece.len() == PIECE_OCTETS {
            return Some(Ask::Content(std::mem::take(&mut self.piece)));
        }
        None
    }

    /// The backend's answer to a piece.
    pub(super) fn answered(mut self: Box<Self>, verdict: Result<(), Refusal>) -> Turn {
        if let (Err(refusal), false) = (verdict, self.dropped) {
            self.dropped = true;
            self.refusal = Some(Spoken::Own(refusal.into()));
        }
        Turn::Go(State::Content(self))
    }

    /// The refusal of the server behind this one.
    pub(super) fn passed(mut self: Box<Self>, passed: Passed) -> Turn {
        if !self.dropped {
            self.dropped = true;
            self.refusal = Some(Spoken::Passed(Box::new(passed)));
        }
        Turn::Go(State::Content(self))
    }

    /// The chunk or the message is complete.
    fn finish(mut self: Box<Self>, core: &mut Core) -> Turn {
        let whole = self.framing.is_whole();
        if whole {
            self.check.end();
        }
        if let Some(ask) = self.demand() {
            return Turn::Ask(ask, Asked::Content(self));
        }
        if self.dropped {
            self.refused().say(core);
            let rest = if whole { Rest::Ready } else { Rest::Failed };
            return Turn::Go(State::Rest(rest));
        }
        if !whole {
            reply::write_chunk(self.check.size(), &mut core.out);
            return Turn::Go(State::Rest(Rest::Chunks(self)));
        }
        if self.piece.is_empty() {
            return Turn::Ask(Ask::Commit, Asked::Commit);
        }
        let piece = std::mem::take(&mut self.piece);
        Turn::Ask(Ask::Content(piece), Asked::Content(self))
    }

    /// The backend's reason goes before ours: it came first.
    fn refused(&mut self) -> Spoken {
        let ours = self
            .check
            .fault()
            .map_or(reply::OUR_FAULT_CLOSING, crate::smtp::content::Fault::reply);
        self.refusal.take().unwrap_or(Spoken::Own(ours))
    }
}

/// The content is not wanted: that of a chunk comes all the same, and is thrown away.
fn refuse(framing: &Framing, reply: Spoken, core: &mut Core) -> Turn {
    match *framing {
        Framing::Data { .. } => {
            reply.say(core);
            Turn::Go(State::Rest(Rest::Ready))
        }
        Framing::Chunk { left, last } => {
            let back = if last { Rest::Ready } else { Rest::Failed };
            let drain = Drain {
                octets: left,
                reply,
                counts: false,
                back,
                after: None,
            };
            Turn::Go(State::Drain(Box::new(drain)))
        }
    }
}

impl Framing {
    fn ended(&self) -> bool {
        match *self {
            Self::Data { ended, .. } => ended,
            Self::Chunk { left, .. } => left == 0,
        }
    }

    /// Whether its end is the end of the message.
    fn is_whole(&self) -> bool {
        match *self {
            Self::Data { .. } => true,
            Self::Chunk { last, .. } => last,
        }
    }
}

/// How many octets are read of a message whose limit is this. Content over the limit is read to its end so that the client
/// gets its 552, but not without end.
pub(super) const fn far_over(limit: u64) -> u64 {
    limit.saturating_mul(2)
}
