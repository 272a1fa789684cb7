//! The TRANSACTION state (RFC 1939 5): the maildrop as it was at login, the messages marked deleted, and the long reply being
//! written, if there is one.
//!
//! Long replies are made in portions: the next one only when the last has been written, so memory does not grow with the
//! message or the maildrop.

use std::collections::BTreeSet;

use super::ask::{Ask, Fault, Maildrop};
use super::command::{Verb, number};
use super::encode::{Encoder, Extent};
use super::reply::{self, Refusal};

/// How much of a message is asked for at once, and about how long a portion of a listing is.
const PORTION: u32 = 64 * 1024;

/// An open maildrop.
#[derive(Debug)]
pub(super) struct Transaction {
    maildrop: Maildrop,
    /// Indexes into the maildrop.
    deleted: BTreeSet<usize>,
    work: Work,
}

/// The long reply under way.
#[derive(Debug)]
enum Work {
    None,
    Listing { of: Of, next: usize },
    Retrieving(Retrieval),
}

/// What a listing is of.
#[derive(Debug, Clone, Copy)]
enum Of {
    Sizes,
    UniqueIds,
}

#[derive(Debug)]
struct Retrieval {
    uid: u32,
    size: u64,
    offset: u64,
    encoder: Encoder,
    asked: bool,
}

/// What the long reply needs next.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Need {
    /// Nothing: there is none, or a portion was just made.
    Nothing,
    /// The output to be written before more is made.
    Write,
    /// An answer.
    Ask(Ask),
    /// The answer to what was asked before.
    Answer,
}

impl Transaction {
    pub(super) fn new(maildrop: Maildrop) -> Self {
        Self {
            maildrop,
            deleted: BTreeSet::new(),
            work: Work::None,
        }
    }

    /// Whether a long reply is under way.
    pub(super) fn is_busy(&self) -> bool {
        !matches!(self.work, Work::None)
    }

    /// How many messages there are and their octets, without those marked deleted.
    pub(super) fn extent(&self) -> (usize, u64) {
        let kept = self
            .maildrop
            .messages
            .iter()
            .enumerate()
            .filter(|(index, _)| !self.deleted.contains(index));
        kept.fold((0, 0), |(count, octets), (_, (_, size))| {
            (count + 1, octets.saturating_add(*size))
        })
    }

    /// The UIDs marked deleted, in order.
    pub(super) fn deleted(&self) -> Vec<u32> {
        self.deleted
            .iter()
            .filter_map(|index| self.maildrop.messages.get(*index))
            .map(|(uid, _)| *uid)
            .collect()
    }

    /// Carries out a command of this state.
    pub(super) fn on(
        &mut self,
        verb: Verb,
        argument: Option<&str>,
        output: &mut Vec<u8>,
    ) -> Result<(), Refusal> {
        let mut words = argument
            .into_iter()
            .flat_map(|it| it.trim_end_matches(' ').split(' '));
        let (first, second) = (words.next(), words.next());
        if words.next().is_some() {
            return Err(Refusal::Syntax);
        }
        match (verb, first, second) {
            (Verb::Stat, None, None) => {
                let (count, octets) = self.extent();
                reply::ok(output, format_args!("{count} {octets}"));
            }
            (Verb::List, None, None) => {
                let (count, octets) = self.extent();
                reply::ok(output, format_args!("{count} messages ({octets} octets)"));
                self.work = Work::Listing {
                    of: Of::Sizes,
                    next: 0,
                };
            }
            (Verb::Uidl, None, None) => {
                reply::ok(output, format_args!("unique-ids follow"));
                self.work = Work::Listing {
                    of: Of::UniqueIds,
                    next: 0,
                };
            }
            (Verb::List, Some(message), None) => self.list_one(Of::Sizes, message, output)?,
            (Verb::Uidl, Some(message), None) => self.list_one(Of::UniqueIds, message, output)?,
            (Verb::Retr, Some(message), None) => self.retrieve(message, Extent::Whole)?,
            (Verb::Top, Some(message), Some(lines)) => self.retrieve(
                message,
                Extent::Header {
                    then: number(lines)?,
                },
            )?,
            (Verb::Dele, Some(message), None) => {
                let (index, _) = self.find(message)?;
                self.deleted.insert(index);
                reply::ok(output, format_args!("message {} deleted", index + 1));
            }
            (Verb::Rset, None, None) => {
                self.deleted.clear();
                let (count, octets) = self.extent();
                reply::ok(output, format_args!("{count} messages ({octets} octets)"));
            }
            (Verb::Noop, None, None) => reply::ok(output, format_args!("nothing done")),
            _ => return Err(Refusal::Syntax),
        }
        Ok(())
    }

    /// Goes on with the long reply. To be called while [`Transaction::is_busy`], with little output waiting.
    pub(super) fn work(&mut self, output: &mut Vec<u8>) -> Need {
        match &mut self.work {
            Work::None => Need::Nothing,
            Work::Listing { of, next } => {
                let (of, from) = (*of, *next);
                self.list_portion(of, from, output);
                Need::Nothing
            }
            Work::Retrieving(retrieval) if retrieval.asked => Need::Answer,
            Work::Retrieving(retrieval) if retrieval.offset > 0 && !output.is_empty() => {
                Need::Write
            }
            Work::Retrieving(retrieval) => {
                retrieval.asked = true;
                Need::Ask(Ask::Read {
                    uid: retrieval.uid,
                    offset: retrieval.offset,
                    length: PORTION,
                })
            }
        }
    }

    /// Takes the octets asked for. The error means that the reply has begun and cannot be ended: only closing tells the client
    /// that the message is not whole.
    pub(super) fn octets(
        &mut self,
        answer: Result<Vec<u8>, Fault>,
        output: &mut Vec<u8>,
    ) -> Result<(), Fault> {
        let Work::Retrieving(mut retrieval) = std::mem::replace(&mut self.work, Work::None) else {
            return Err(Fault);
        };
        let piece = match answer {
            Ok(piece) if piece.len() <= PORTION as usize && retrieval.asked => piece,
            Ok(_) => return Err(Fault),
            Err(Fault) if retrieval.offset > 0 => return Err(Fault),
            Err(Fault) => {
                reply::err(output, Refusal::Unreadable);
                return Ok(());
            }
        };
        if retrieval.offset == 0 {
            reply::ok(output, format_args!("{} octets", retrieval.size));
        }
        retrieval.encoder.push(&piece, output);
        if piece.len() < PORTION as usize || retrieval.encoder.is_satisfied() {
            retrieval.encoder.finish(output);
        } else {
            retrieval.offset += u64::from(PORTION);
            retrieval.asked = false;
            self.work = Work::Retrieving(retrieval);
        }
        Ok(())
    }

    fn retrieve(&mut self, message: &str, extent: Extent) -> Result<(), Refusal> {
        let (_, (uid, size)) = self.find(message)?;
        self.work = Work::Retrieving(Retrieval {
            uid,
            size,
            offset: 0,
            encoder: Encoder::new(extent),
            asked: false,
        });
        Ok(())
    }

    /// Index, UID and size of a message by its number, unless it is marked deleted.
    fn find(&self, message: &str) -> Result<(usize, (u32, u64)), Refusal> {
        let index = usize::try_from(number(message)?)
            .ok()
            .and_then(|it| it.checked_sub(1));
        let index = index.ok_or(Refusal::NoSuchMessage)?;
        let found = self
            .maildrop
            .messages
            .get(index)
            .ok_or(Refusal::NoSuchMessage)?;
        if self.deleted.contains(&index) {
            return Err(Refusal::AlreadyDeleted);
        }
        Ok((index, *found))
    }

    fn list_one(&self, of: Of, message: &str, output: &mut Vec<u8>) -> Result<(), Refusal> {
        let (index, (uid, size)) = self.find(message)?;
        match of {
            Of::Sizes => reply::ok(output, format_args!("{} {size}", index + 1)),
            Of::UniqueIds => reply::ok(
                output,
                format_args!("{} {}.{uid}", index + 1, self.maildrop.uidvalidity),
            ),
        }
        Ok(())
    }

    fn list_portion(&mut self, of: Of, from: usize, output: &mut Vec<u8>) {
        for (index, (uid, size)) in self.maildrop.messages.iter().enumerate().skip(from) {
            if output.len() >= PORTION as usize {
                self.work = Work::Listing { of, next: index };
                return;
            }
            if self.deleted.contains(&index) {
                continue;
            }
            match of {
                Of::Sizes => reply::line(output, format_args!("{} {size}", index + 1)),
                Of::UniqueIds => reply::line(
                    output,
                    format_args!("{} {}.{uid}", index + 1, self.maildrop.uidvalidity),
                ),
            }
        }
        reply::line(output, format_args!("."));
        self.work = Work::None;
    }
}
