//! The first octets of a session up to TLS 1.2, once TLS is up: renegotiation and heartbeats.
//!
//! Both are encrypted, so only the kinds and lengths of records tell of them. In each side's handshake one message is encrypted, Finished: one
//! more is the beginning of another handshake (RFC 5246 7.4.1.1). An answer to a heartbeat has the payload of its question (RFC 6520 4): one that
//! is much longer holds what was not asked for.

use super::notes::{At, Notes, Side};
use crate::finding::Severity;

/// How many octets of both sides are looked at.
const LIMIT: usize = 32 * 1024;
/// By how much an answer may be longer than its question: padding is the sender's choice.
const PADDING: usize = 512;

/// What is counted.
#[derive(Debug)]
pub(super) struct After {
    /// Encrypted messages of the handshake: client, server.
    handshakes: [u8; 2],
    /// The length of each side's last heartbeat.
    beats: [usize; 2],
    left: usize,
    has_told: [bool; 3],
}

impl After {
    pub(super) fn new(handshakes: [u8; 2]) -> Self {
        Self {
            handshakes,
            beats: [0; 2],
            left: LIMIT,
            has_told: [false; 3],
        }
    }

    /// So many octets more were seen: whether that is enough.
    pub(super) fn is_over(&mut self, count: usize) -> bool {
        self.left = self.left.saturating_sub(count);
        self.left == 0
    }

    pub(super) fn record(&mut self, kind: u8, length: usize, at: At, notes: &mut Notes<'_>) {
        let side = usize::from(at.side == Side::Server);
        match kind {
            22 => {
                if let Some(count) = self.handshakes.get_mut(side) {
                    *count = count.saturating_add(1);
                }
                if self.handshakes.iter().all(|it| *it > 1) {
                    self.tell(
                        0,
                        Severity::Medium,
                        "the handshake was done again inside the session",
                        at,
                        notes,
                    );
                }
            }
            24 => {
                let [client, server] = self.beats;
                let question = if at.side == Side::Client {
                    server
                } else {
                    client
                };
                if let Some(beat) = self.beats.get_mut(side) {
                    *beat = length;
                }
                if question > 0 && length > question + PADDING {
                    self.tell(
                        1,
                        Severity::Critical,
                        "a heartbeat much longer than the one it answers",
                        at,
                        notes,
                    );
                } else {
                    self.tell(2, Severity::Low, "heartbeats inside the session", at, notes);
                }
            }
            _ => {}
        }
    }

    /// Each once.
    fn tell(
        &mut self,
        which: usize,
        severity: Severity,
        evidence: &'static str,
        at: At,
        notes: &mut Notes<'_>,
    ) {
        if let Some(has_told) = self.has_told.get_mut(which)
            && !std::mem::replace(has_told, true)
        {
            notes.find_at("W511", severity, at, evidence);
        }
    }
}

/// A heartbeat before anything is encrypted: its length can be held against what it holds. At least 16 octets are padding (RFC 6520 4).
pub(super) fn on_heartbeat(claimed: u16, length: usize, at: At, notes: &mut Notes<'_>) {
    if usize::from(claimed) + 3 > length {
        notes.find_at(
            "W511",
            Severity::Critical,
            at,
            "a heartbeat that claims more octets than it holds",
        );
    } else {
        notes.find_at("W511", Severity::Low, at, "a heartbeat in clear");
    }
}
