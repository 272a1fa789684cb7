//! The table of connections: those that are read, and those of which all that is worth knowing is known.
//!
//! A settled connection costs one entry of the map and one look at it per packet. What may be read at a time is limited; when the limit is
//! reached, connections that have said nothing yet go first, so that a flood of openings cannot push out what is half read.

use std::collections::HashMap;
use std::hash::{BuildHasher, Hash, Hasher, RandomState};

use super::flow::Flow;
use super::ip::{ACK, SYN, Segment};

/// Connections read at a time, unless said otherwise.
pub(super) const MOST_FLOWS: usize = 200_000;
/// Settled connections that are remembered.
pub(super) const MOST_SETTLED: usize = 1 << 20;

/// Both ends of a connection, the lower one first, and the network.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Key {
    low: u128,
    high: u128,
    ports: u32,
    vlan: u32,
}

impl Key {
    pub(super) fn of(segment: &Segment<'_>) -> Self {
        let source = (segment.source, segment.source_port);
        let destination = (segment.destination, segment.destination_port);
        let (low, high) = if source <= destination {
            (source, destination)
        } else {
            (destination, source)
        };
        Self {
            low: low.0,
            high: high.0,
            ports: u32::from(low.1) << 16 | u32::from(high.1),
            vlan: segment.vlan,
        }
    }
}

/// What a connection is known by in the table: 128 bits of its key by a keyed hash, a third of the key's size. Two connections that share
/// one are no more to be expected than a guessed password, and cannot be made from outside: the seeds are random.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Print(u64, u64);

impl Hash for Print {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_u64(self.0);
    }
}

/// Multiply and fold, with random seeds: fast, and not to be guessed from outside.
#[derive(Debug, Clone)]
struct Seeds([(u64, u64); 2]);

impl Default for Seeds {
    fn default() -> Self {
        let random = RandomState::new();
        let seed = |number: u8| (random.hash_one(number) | 1, random.hash_one(!number) | 1);
        Self([seed(1), seed(2)])
    }
}

impl Seeds {
    fn print(&self, key: &Key) -> Print {
        let [first, second] = &self.0;
        let (low, high) = (halves(key.low), halves(key.high));
        let rest = u64::from(key.ports) << 32 | u64::from(key.vlan);
        let words = [low.0, low.1, high.0, high.1, rest];
        let fold = |(begin, seed): (u64, u64)| {
            let step = |state, value| fold(state, value, seed);
            // Once more, so that the last word is mixed as the others are.
            step(words.into_iter().fold(begin, step), begin)
        };
        Print(fold(*first), fold(*second))
    }
}

fn fold(state: u64, value: u64, seed: u64) -> u64 {
    let product = u128::from(state ^ value) * u128::from(seed ^ 0x9e37_79b9_7f4a_7c15);
    let (low, high) = halves(product);
    low ^ high.rotate_left(23)
}

/// A print is a hash already.
#[derive(Debug, Clone, Copy, Default)]
struct AsItIs(u64);

impl BuildHasher for AsItIs {
    type Hasher = Self;

    fn build_hasher(&self) -> Self {
        *self
    }
}

impl Hasher for AsItIs {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = fold(self.0, u64::from(*byte), 0);
        }
    }

    fn write_u64(&mut self, value: u64) {
        self.0 = value;
    }
}

fn halves(value: u128) -> (u64, u64) {
    let low = u64::try_from(value & u128::from(u64::MAX)).unwrap_or_default();
    let high = u64::try_from(value >> 64).unwrap_or_default();
    (low, high)
}

/// A connection of which nothing more is read.
#[derive(Debug)]
pub(super) struct Settled {
    /// The number of the client's SYN, 0 when it was not the last thing seen.
    first: u32,
    /// When something of it was last seen, in seconds: a table of a million is a third smaller than with nanoseconds.
    last: u32,
}

impl Settled {
    /// Something of it was seen.
    pub(super) fn touch(&mut self, now: u64) {
        self.last = seconds(now);
    }

    /// Whether this segment opens a new connection between the same ends.
    pub(super) fn is_reopened_by(&self, segment: &Segment<'_>) -> bool {
        segment.has(SYN) && !segment.has(ACK) && segment.sequence != self.first
    }
}

fn seconds(nanoseconds: u64) -> u32 {
    u32::try_from(nanoseconds / 1_000_000_000).unwrap_or(u32::MAX)
}

/// What is known of a connection.
#[derive(Debug)]
pub(super) enum Slot {
    /// It is read; this is its place.
    Live(u32),
    /// It is not read any more.
    Settled(Settled),
}

/// Flows as the table holds them: out of their boxes each would be held twice for a moment.
pub(super) type Flows = Vec<Box<Flow>>;

/// The table.
#[derive(Debug)]
pub(super) struct Table {
    slots: HashMap<Print, Slot, AsItIs>,
    seeds: Seeds,
    live: Vec<Option<Box<Flow>>>,
    /// What the flow in each place is known by.
    prints: Vec<Print>,
    free: Vec<u32>,
    most: usize,
    most_settled: usize,
}

impl Table {
    pub(super) fn new(most: usize, most_settled: usize) -> Self {
        Self {
            slots: HashMap::default(),
            seeds: Seeds::default(),
            live: Vec::new(),
            prints: Vec::new(),
            free: Vec::new(),
            most: most.max(16),
            most_settled: most_settled.max(16),
        }
    }

    pub(super) fn find(&mut self, key: &Key) -> Option<&mut Slot> {
        self.slots.get_mut(&self.seeds.print(key))
    }

    pub(super) fn flow(&self, place: u32) -> Option<&Flow> {
        self.live.get(place as usize)?.as_deref()
    }

    pub(super) fn insert(&mut self, key: Key, flow: Box<Flow>) -> u32 {
        let print = self.seeds.print(&key);
        let place = self.free.pop().unwrap_or_else(|| {
            self.live.push(None);
            self.prints.push(print);
            u32::try_from(self.live.len() - 1).unwrap_or(u32::MAX)
        });
        if let Some(slot) = self.live.get_mut(place as usize) {
            *slot = Some(flow);
        }
        if let Some(slot) = self.prints.get_mut(place as usize) {
            *slot = print;
        }
        self.slots.insert(print, Slot::Live(place));
        place
    }

    /// Takes a flow out, to be read; its place stays its own.
    pub(super) fn take(&mut self, place: u32) -> Option<Box<Flow>> {
        self.live.get_mut(place as usize)?.take()
    }

    pub(super) fn give_back(&mut self, place: u32, flow: Box<Flow>) {
        if let Some(slot) = self.live.get_mut(place as usize) {
            *slot = Some(flow);
        }
    }

    /// A flow that was taken out is over.
    pub(super) fn settle(&mut self, key: Key, place: u32, first: u32, now: u64) {
        self.release(place);
        let settled = Settled {
            first,
            last: seconds(now),
        };
        self.slots
            .insert(self.seeds.print(&key), Slot::Settled(settled));
        if self.slots.len() > self.most_settled + self.most {
            self.forget_half();
        }
    }

    fn release(&mut self, place: u32) {
        self.free.push(place);
    }

    fn forget_half(&mut self) {
        let mut times: Vec<u32> = self
            .slots
            .values()
            .filter_map(|it| match it {
                Slot::Settled(settled) => Some(settled.last),
                Slot::Live(_) => None,
            })
            .collect();
        let middle = times.len() / 2;
        let (_, border, _) = times.select_nth_unstable(middle);
        let border = *border;
        self.slots.retain(|_, it| match it {
            Slot::Settled(settled) => settled.last > border,
            Slot::Live(_) => true,
        });
    }

    /// Takes out flows until there is room for one more: idle ones first, silent ones before others.
    pub(super) fn make_room(&mut self, now: u64) -> Flows {
        let used = self.live.len() - self.free.len();
        if used < self.most {
            return Vec::new();
        }
        let mut order: Vec<(bool, u64, u32)> = Vec::new();
        for (place, flow) in (0_u32..).zip(&self.live) {
            if let Some(flow) = flow {
                order.push((flow.facts.protocol.is_some(), flow.last.min(now), place));
            }
        }
        order.sort_unstable();
        order.truncate((self.most / 16).max(1));
        let places: Vec<u32> = order.into_iter().map(|it| it.2).collect();
        places
            .into_iter()
            .filter_map(|place| self.remove(place))
            .collect()
    }

    /// Takes out flows of which nothing was seen for so long.
    pub(super) fn take_idle(&mut self, now: u64, patience: u64) -> Flows {
        let is_idle = |it: &Flow| now.saturating_sub(it.last) > patience;
        let places: Vec<u32> = (0_u32..)
            .zip(&self.live)
            .filter(|(_, flow)| flow.as_deref().is_some_and(is_idle))
            .map(|it| it.0)
            .collect();
        places
            .into_iter()
            .filter_map(|place| self.remove(place))
            .collect()
    }

    fn remove(&mut self, place: u32) -> Option<Box<Flow>> {
        let flow = self.take(place)?;
        if let Some(print) = self.prints.get(place as usize) {
            self.slots.remove(print);
        }
        self.release(place);
        Some(flow)
    }

    /// Takes out everything. The flows stay where they are: moved together they would be held twice for a moment.
    pub(super) fn take_all(&mut self) -> Flows {
        self.slots.clear();
        self.prints.clear();
        self.free.clear();
        let live = std::mem::take(&mut self.live);
        live.into_iter().flatten().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::super::{imap::Imap, pop3::Pop3, sieve::Sieve, smtp::Smtp};
    use super::*;

    /// The budget is 1,536 octets for a connection in its clear phase and 160 for a settled one; of the first the words heard, what the
    /// allocator adds and the table take the rest.
    #[test]
    fn what_is_kept_for_a_connection_stays_small() {
        let tracker = size_of::<Smtp>()
            .max(size_of::<Imap>())
            .max(size_of::<Pop3>())
            .max(size_of::<Sieve>());
        assert!(size_of::<Flow>() <= 512, "{}", size_of::<Flow>());
        assert!(tracker <= 464, "{tracker}");
        assert!(size_of::<Slot>() <= 12 && size_of::<(Print, Slot)>() <= 32);
    }
}
