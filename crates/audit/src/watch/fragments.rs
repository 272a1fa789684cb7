//! Fragments of IP datagrams, put together in bounded memory.
//!
//! Fragments that overlap are dropped with their whole datagram: no honest sender makes them, and what a receiver would see of them
//! depends on its kind (RFC 5722 forbids them in IPv6).

use std::collections::HashMap;

use super::ip::Envelope;

/// Datagrams that may wait at a time.
const MOST_WAITING: usize = 512;
/// Octets that may wait, of all datagrams.
const MOST_OCTETS: usize = 8 << 20;
/// Fragments of one datagram.
const MOST_PIECES: usize = 128;
/// The longest datagram there is.
const LONGEST: usize = 65_535;

/// Where a fragment belongs.
#[derive(Debug, Clone, Copy)]
pub struct Place {
    /// The datagram's number.
    pub id: u32,
    /// The fragment's first octet.
    pub offset: usize,
    /// Whether more follow behind it.
    pub more: bool,
}

#[derive(Debug, Default)]
struct Waiting {
    /// Sorted by offset.
    pieces: Vec<(usize, Vec<u8>)>,
    end: Option<usize>,
    is_spoilt: bool,
    /// When it began, as a running number.
    age: u64,
}

/// The datagrams of which parts are missing.
#[derive(Debug)]
pub struct Fragments {
    waiting: HashMap<(Envelope, u32), Waiting>,
    most_waiting: usize,
    octets: usize,
    most_octets: usize,
    age: u64,
    /// Datagrams given up.
    pub dropped: u64,
}

impl Default for Fragments {
    fn default() -> Self {
        Self::one_of(1)
    }
}

impl Fragments {
    /// With its part of the memory, where several share it.
    #[must_use]
    pub fn one_of(parts: usize) -> Self {
        Self {
            waiting: HashMap::new(),
            most_waiting: MOST_WAITING / parts.max(1),
            octets: 0,
            most_octets: MOST_OCTETS / parts.max(1),
            age: 0,
            dropped: 0,
        }
    }

    /// Adds a fragment. The payload, when all of it is there.
    pub fn add(&mut self, mut envelope: Envelope, place: Place, octets: &[u8]) -> Option<Vec<u8>> {
        // Fragments may have come different ways.
        envelope.ttl = 0;
        let key = (envelope, place.id);
        self.age += 1;
        if !self.waiting.contains_key(&key) {
            self.make_room(octets.len());
        }
        let waiting = self.waiting.entry(key).or_insert_with(|| Waiting {
            age: self.age,
            ..Waiting::default()
        });
        let before = waiting.octets();
        waiting.put(place, octets);
        self.octets = (self.octets + waiting.octets()).saturating_sub(before);
        if waiting.is_whole() {
            let whole = self.waiting.remove(&key)?;
            self.octets = self.octets.saturating_sub(whole.octets());
            return Some(whole.join());
        }
        None
    }

    /// Gives up the oldest ones until there is room.
    fn make_room(&mut self, octets: usize) {
        while self.waiting.len() >= self.most_waiting || self.octets + octets > self.most_octets {
            let oldest = self.waiting.iter().min_by_key(|it| it.1.age);
            let Some(key) = oldest.map(|it| *it.0) else {
                return;
            };
            if let Some(gone) = self.waiting.remove(&key) {
                self.octets = self.octets.saturating_sub(gone.octets());
                self.dropped += 1;
            }
        }
    }
}

impl Waiting {
    fn octets(&self) -> usize {
        self.pieces.iter().map(|it| it.1.len()).sum()
    }

    fn put(&mut self, place: Place, octets: &[u8]) {
        if self.is_spoilt {
            return;
        }
        let end = place.offset + octets.len();
        let at = self.pieces.partition_point(|it| it.0 < place.offset);
        if let Some((offset, same)) = self.pieces.get(at)
            && *offset == place.offset
            && same == octets
        {
            return;
        }
        let before = at.checked_sub(1).and_then(|at| self.pieces.get(at));
        let overlaps = before.is_some_and(|it| it.0 + it.1.len() > place.offset)
            || self.pieces.get(at).is_some_and(|it| it.0 < end);
        let is_long = end > LONGEST || self.pieces.len() >= MOST_PIECES;
        let contradicts = self
            .end
            .is_some_and(|known| end > known || (!place.more && end != known));
        if overlaps || is_long || contradicts {
            self.is_spoilt = true;
            self.pieces = Vec::new();
            return;
        }
        if !place.more {
            self.end = Some(end);
        }
        self.pieces.insert(at, (place.offset, octets.to_vec()));
    }

    fn is_whole(&self) -> bool {
        let mut at = 0;
        for (offset, octets) in &self.pieces {
            if *offset != at {
                return false;
            }
            at += octets.len();
        }
        self.end == Some(at) && at > 0
    }

    fn join(self) -> Vec<u8> {
        self.pieces.into_iter().flat_map(|it| it.1).collect()
    }
}
