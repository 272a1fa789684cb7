//! Probes that provoke: they send what no honest client sends, to learn whether a known hole is open. Only the tier that asks for consent runs
//! them.
//!
//! | module | provokes | harm where the hole is open |
//! |---|---|---|
//! | [`heartbeat`] | a heartbeat that claims sixteen octets and holds none | sixteen octets of the server's memory come back; they are counted and let go |
//! | [`early_ccs`] | `ChangeCipherSpec` before there are keys | the handshake fails |
//! | [`oracle`] | records in CBC that are wrong in one way or another | a few connections end |
//! | [`padding`] | RSA key exchanges with wrong paddings | a few handshakes fail |
//! | [`relay`] | a recipient elsewhere, taken back before any content; names asked for | none |
//! | [`smuggling`] | a mail to the owner's own mailbox, made to be refused, with false ends in it | a test mail in that mailbox, where the server does not count hops |

pub(crate) mod early_ccs;
pub(crate) mod heartbeat;
pub(crate) mod oracle;
#[cfg(test)]
mod oracle_tests;
pub(crate) mod padding;
pub(crate) mod relay;
pub(crate) mod smuggling;
#[cfg(test)]
mod tests;

use std::time::{Duration, Instant};

use gatepost_net::client::LegFailure;
use gatepost_wire::tls::{Offer, Piece, TLS13, TlsStream};

use super::{Errand, hello};
use crate::check::facts::{HelloAnswer, Provocation, Seen};
use crate::check::talk::Talk;

/// The least time a server has to refuse what was sent.
const WAIT: Duration = Duration::from_secs(1);

/// A handshake up to the end of the server's first words.
struct Flight {
    talk: Talk,
    stream: TlsStream,
    answer: HelloAnswer,
}

/// How it went on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Ending {
    /// A heartbeat came back.
    Heartbeat { claimed: u16, length: usize },
    /// An alert that is no mere warning.
    Alert(u8),
    /// The connection ended.
    Closed,
    /// Nothing, for as long as we waited.
    Silent,
    /// What is no TLS, or not in clear.
    Strange,
}

impl Ending {
    fn words(self) -> String {
        match self {
            Self::Heartbeat { length, .. } => format!("a heartbeat of {length} octets"),
            Self::Alert(number) => format!("alert {number}"),
            Self::Closed => "the connection was closed".to_owned(),
            Self::Silent => "no answer".to_owned(),
            Self::Strange => "words that have no place there".to_owned(),
        }
    }
}

impl Flight {
    /// Says a hello of TLS 1.2 at most and hears the answer out. What comes instead is the answer to the whole question.
    async fn begin(errand: &Errand, offer: &Offer) -> Result<Self, Seen<Provocation>> {
        let mut talk = errand.begin_tls().await.map_err(Seen::unknown)?;
        let written = talk.probe.write(&offer.record(), errand.patience).await;
        if written.is_err() {
            return Err(Seen::unknown("the connection was closed at the hello"));
        }
        let mut stream = TlsStream::default();
        match hello::hear(&mut talk, &mut stream, errand.patience).await {
            Seen::Known(answer) if answer.version.is_some_and(|it| it < TLS13) => Ok(Self {
                talk,
                stream,
                answer,
            }),
            Seen::Known(answer) => Err(Seen::Known(Provocation::Absent {
                why: match answer.alert {
                    Some(number) => format!("the hello was refused with alert {number}"),
                    None => "the hello was refused: the connection was closed".to_owned(),
                },
            })),
            Seen::Unknown { why, missing } => Err(Seen::Unknown { why, missing }),
            Seen::Unasked => Err(Seen::Unasked),
        }
    }

    /// A record of the version agreed on.
    fn record(&self, kind: u8, payload: &[u8]) -> Vec<u8> {
        let version = self.answer.version.unwrap_or(0x0303).to_be_bytes();
        let length = u16::try_from(payload.len()).unwrap_or(u16::MAX);
        [&[kind][..], &version, &length.to_be_bytes(), payload].concat()
    }

    /// False when it could not be written: the connection is gone, which [`Flight::ending`] will say.
    async fn write(&mut self, octets: &[u8], limit: Duration) -> bool {
        self.talk.probe.write(octets, limit).await.is_ok()
    }

    /// What comes next, within this time.
    async fn ending(&mut self, wait: Duration) -> Ending {
        let until = Instant::now() + wait;
        loop {
            while let Some(piece) = self.stream.next() {
                match piece {
                    Piece::Heartbeat { claimed, length } => {
                        return Ending::Heartbeat { claimed, length };
                    }
                    // A warning, and it goes on; but for the word that nothing more comes.
                    Piece::Alert {
                        level: 1,
                        description: 1..,
                    } => {}
                    Piece::Alert { description, .. } => return Ending::Alert(description),
                    Piece::NotTls | Piece::Malformed | Piece::TooLarge => return Ending::Strange,
                    _ => {}
                }
            }
            match self.talk.probe.read(until).await {
                Ok(()) => {
                    let octets = std::mem::take(self.talk.probe.received());
                    self.stream.push(&octets);
                }
                Err(LegFailure::TooSlow) => return Ending::Silent,
                Err(_) => return Ending::Closed,
            }
        }
    }
}

fn refused(how: impl Into<String>) -> Seen<Provocation> {
    Seen::Known(Provocation::Refused { how: how.into() })
}

fn worked(proof: impl Into<String>) -> Seen<Provocation> {
    Seen::Known(Provocation::Worked {
        proof: proof.into(),
    })
}

/// What each thing that was wrong is answered with, in words: an oracle is a server whose answers differ.
type Answers = Vec<(&'static str, String)>;

/// The answer to all of them, where it is one.
fn common(answers: &Answers) -> Option<&str> {
    let (_, first) = answers.first()?;
    let is_one = answers.iter().all(|(_, it)| it == first);
    is_one.then_some(first.as_str())
}

/// Answers that differ are a proof only when a second round differs alike.
fn twice(first: &Answers, again: Result<Answers, Seen<Provocation>>) -> Seen<Provocation> {
    match again {
        Ok(again) if again == *first => worked(told(first)),
        Ok(again) => Seen::unknown(format!(
            "answers differ from time to time: {}; then {}",
            told(first),
            told(&again)
        )),
        Err(seen) => seen,
    }
}

fn told(answers: &Answers) -> String {
    let words = answers
        .iter()
        .map(|(what, answer)| format!("{what}: {answer}"));
    words.collect::<Vec<_>>().join("; ")
}
