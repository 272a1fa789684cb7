//! One direction of a TCP connection, put in order in bounded memory.
//!
//! - Sequence numbers are compared modulo 2^32. What comes early waits, at most [`MOST_HELD`] segments and [`MOST_OCTETS`] octets.
//! - Of what is sent twice the first version counts; while it matters, the last octets are kept and compared. A difference is a sign that
//!   somebody puts words into the stream.
//! - Where octets are missing for good the gap is told, with its length.

/// Segments that may wait.
pub const MOST_HELD: usize = 64;
/// Octets that may wait.
pub const MOST_OCTETS: usize = 256 * 1024;
/// Octets that are kept to be compared.
const MOST_HISTORY: usize = 64 * 1024;
/// The farthest a segment may lie ahead: the largest window there is (RFC 7323 2.3).
const FARTHEST: u32 = 1 << 30;

/// A segment's octets and what goes with them.
#[derive(Debug, Clone, Copy)]
pub struct Part<'a> {
    /// The number of its first octet.
    pub sequence: u32,
    /// The octets that were kept.
    pub octets: &'a [u8],
    /// How many there were.
    pub length: u32,
    /// The other side's octets its sender had.
    pub acknowledged: Option<u32>,
    /// The packet.
    pub packet: u64,
    /// When.
    pub time: u64,
}

/// A segment that waits.
#[derive(Debug)]
struct Held {
    sequence: u32,
    octets: Vec<u8>,
    length: u32,
    acknowledged: Option<u32>,
    packet: u64,
    time: u64,
}

/// What to do with a segment.
#[derive(Debug, PartialEq, Eq)]
pub enum Place {
    /// Its octets from this one on come next.
    Next(usize),
    /// Everything in it was there before.
    Old,
    /// It waits.
    Early,
    /// It does not belong here.
    Outside,
}

/// The numbers a sender gives its datagrams. Some count them, some draw them, many give none where a datagram must not be cut.
#[derive(Debug, Default, Clone, Copy)]
pub struct Datagrams {
    last: u16,
    /// Small steps in a row.
    steps: u8,
}

/// How many small steps make one who counts, and how large they may be: other connections are counted with.
const STEPS: u8 = 3;
const STEP: u16 = 16;
/// No step of one who counts is longer.
const LEAP: u16 = 1024;

impl Datagrams {
    /// The next one.
    pub fn note(&mut self, id: u16) {
        let step = id.wrapping_sub(self.last);
        let counts = id != 0 && self.last != 0 && (1..=STEP).contains(&step);
        self.steps = if counts {
            self.steps.saturating_add(1)
        } else {
            0
        };
        self.last = id;
    }

    /// Whether a datagram of this number cannot come from the same sender: that one counts, and this is no next number. Kernels answer for a
    /// connection they know nothing of with the number 0, which says nothing.
    #[must_use]
    pub fn is_foreign(&self, id: u16) -> bool {
        self.steps >= STEPS && id != 0 && id.wrapping_sub(self.last) > LEAP
    }
}

/// One direction.
#[derive(Debug, Default)]
#[expect(clippy::struct_excessive_bools, reason = "each is one thing seen")]
pub struct Stream {
    /// Whether `next` is known.
    pub is_started: bool,
    /// Whether a SYN was seen.
    pub has_syn: bool,
    /// The number of the octet that comes next.
    pub next: u32,
    /// Octets before it.
    pub offset: u64,
    /// The number behind the last octet, once known.
    pub end: Option<u32>,
    /// Whether the end was told.
    pub has_ended: bool,
    /// Whether any packet of it was seen.
    pub is_seen: bool,
    /// While nothing was seen of it: where it stands at least, by what the other side acknowledged.
    pub assumed: Option<u32>,
    /// Nothing of it will be seen.
    pub is_absent: bool,
    /// The numbers of its datagrams.
    pub datagrams: Datagrams,
    /// Hops of the last segment with octets.
    pub ttl: u8,
    held: Vec<Held>,
    held_octets: usize,
    history: Vec<u8>,
}

/// `a - b`, positive when `a` is ahead.
fn ahead(a: u32, b: u32) -> i32 {
    a.wrapping_sub(b).cast_signed()
}

impl Stream {
    /// Begins behind a SYN.
    pub fn start(&mut self, next: u32) {
        self.next = next;
        self.is_started = true;
    }

    /// The other side acknowledged this number.
    pub fn assume(&mut self, acknowledged: u32) {
        let is_lower = self.assumed.is_none_or(|it| ahead(acknowledged, it) < 0);
        if !self.is_started && is_lower {
            self.assumed = Some(acknowledged);
        }
    }

    /// How far behind an acknowledged number this side's known octets are.
    #[must_use]
    pub fn lag(&self, acknowledged: u32) -> u32 {
        let known = if self.is_started {
            Some(self.next)
        } else {
            self.assumed.filter(|_| !self.is_absent)
        };
        known.map_or(0, |known| acknowledged.wrapping_sub(known))
    }

    /// Where a segment belongs.
    #[must_use]
    pub fn place(&self, part: &Part<'_>) -> Place {
        let distance = ahead(part.sequence, self.next);
        if distance > 0 {
            let is_far = distance.unsigned_abs() > FARTHEST;
            return if is_far { Place::Outside } else { Place::Early };
        }
        let known = distance.unsigned_abs();
        if known > FARTHEST {
            return Place::Outside;
        }
        if known >= part.length {
            return Place::Old;
        }
        Place::Next(known as usize)
    }

    /// Whether a segment that was sent again says something else than before. Keep-alives repeat one octet that means nothing.
    #[must_use]
    pub fn contradicts(&self, part: &Part<'_>) -> bool {
        let behind = usize::try_from(ahead(self.next, part.sequence)).unwrap_or(0);
        if behind == 0 || part.octets.len() <= 1 {
            return false;
        }
        let Some(from) = self.history.len().checked_sub(behind) else {
            // It begins before what was kept: the part that was kept is compared.
            let skip = behind - self.history.len();
            let again = part.octets.get(skip..).unwrap_or_default();
            return differs(&self.history, again);
        };
        differs(self.history.get(from..).unwrap_or_default(), part.octets)
    }

    /// Octets come next: counts them, and keeps them for a while where they are to be compared.
    pub fn advance(&mut self, octets: &[u8], is_compared: bool) {
        let count = u32::try_from(octets.len()).unwrap_or(u32::MAX);
        self.next = self.next.wrapping_add(count);
        self.offset += u64::from(count);
        if !is_compared {
            self.history = Vec::new();
            return;
        }
        if octets.len() > MOST_HISTORY {
            self.history = Vec::new();
            return;
        }
        let surplus = (self.history.len() + octets.len()).saturating_sub(MOST_HISTORY);
        if surplus > 0 {
            self.history
                .drain(..surplus.max(MOST_HISTORY / 4).min(self.history.len()));
        }
        self.history.extend_from_slice(octets);
    }

    /// Passes over octets that are missing.
    pub fn skip(&mut self, count: u32) {
        self.next = self.next.wrapping_add(count);
        self.offset += u64::from(count);
        self.history = Vec::new();
    }

    /// Keeps a segment that came early. False when it contradicts another that waits.
    pub fn hold(&mut self, part: &Part<'_>) -> bool {
        let at = self
            .held
            .partition_point(|it| ahead(it.sequence, part.sequence) < 0);
        let mut agrees = true;
        for held in &self.held {
            let from = ahead(part.sequence, held.sequence);
            let (mine, theirs) = if from >= 0 {
                (part.octets, held.octets.get(from.unsigned_abs() as usize..))
            } else {
                let mine = part.octets.get(from.unsigned_abs() as usize..);
                (mine.unwrap_or_default(), Some(held.octets.as_slice()))
            };
            agrees &= !differs(theirs.unwrap_or_default(), mine);
        }
        let is_twice = self
            .held
            .get(at)
            .is_some_and(|it| it.sequence == part.sequence && it.length >= part.length);
        if !is_twice {
            self.held_octets += part.octets.len();
            self.held.insert(
                at,
                Held {
                    sequence: part.sequence,
                    octets: part.octets.to_vec(),
                    length: part.length,
                    acknowledged: part.acknowledged,
                    packet: part.packet,
                    time: part.time,
                },
            );
        }
        agrees
    }

    /// Whether too much waits.
    #[must_use]
    pub fn is_full(&self) -> bool {
        self.held.len() > MOST_HELD || self.held_octets > MOST_OCTETS
    }

    /// Whether nothing waits.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        self.held.is_empty()
    }

    /// When the first of what waits was seen.
    #[must_use]
    pub fn waits_since(&self) -> Option<u64> {
        self.held.iter().map(|it| it.time).min()
    }

    /// How many segments wait.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.held.len()
    }

    /// The first that waits: its distance from what comes next, and what its sender had of the other side.
    #[must_use]
    pub fn first_held(&self) -> Option<(i32, Option<u32>, u64)> {
        let first = self.held.first()?;
        Some((
            ahead(first.sequence, self.next),
            first.acknowledged,
            first.time,
        ))
    }

    /// The lowest number that waits.
    #[must_use]
    pub fn lowest_held(&self) -> Option<u32> {
        self.held.first().map(|it| it.sequence)
    }

    /// Takes out the first that waits.
    pub fn take_held(&mut self) -> Option<HeldPart> {
        if self.held.is_empty() {
            return None;
        }
        let held = self.held.remove(0);
        self.held_octets -= held.octets.len();
        Some(HeldPart(held))
    }
}

/// A segment that waited, taken out.
#[derive(Debug)]
pub struct HeldPart(Held);

impl HeldPart {
    /// As it came.
    #[must_use]
    pub fn part(&self) -> Part<'_> {
        Part {
            sequence: self.0.sequence,
            octets: &self.0.octets,
            length: self.0.length,
            acknowledged: self.0.acknowledged,
            packet: self.0.packet,
            time: self.0.time,
        }
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        zeroize::Zeroize::zeroize(&mut self.octets);
    }
}

/// Whether two versions of the same octets differ, as far as both are there.
fn differs(one: &[u8], other: &[u8]) -> bool {
    let count = one.len().min(other.len());
    one.get(..count) != other.get(..count)
}
