//! Mutations: bit flips, bytes, deletions, copies, words, splices, truncation.

/// A small deterministic generator (splitmix64): the same seed gives the same run.
#[derive(Debug, Clone)]
pub struct Random(u64);

impl Random {
    /// Begins with a seed.
    pub const fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// The next number.
    pub fn draw(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number below `bound`; 0 when `bound` is 0.
    pub fn below(&mut self, bound: usize) -> usize {
        let bound = u64::try_from(bound).unwrap_or(u64::MAX);
        usize::try_from(self.draw().checked_rem(bound).unwrap_or(0)).unwrap_or(0)
    }

    /// One of the items.
    pub fn pick<'a, T>(&mut self, items: &'a [T]) -> Option<&'a T> {
        items.get(self.below(items.len()))
    }
}

/// Bytes that mean something in the protocols.
const BYTES: &[u8] = b"\r\n\0 .<>:\"()*+-=[]{}%\\@\x16\x7f\x80\xff0123456789";

/// The longest input made.
const LONGEST: usize = 64 << 10;

/// Makes a new input from one of the pool.
pub fn mutate(random: &mut Random, pool: &[Vec<u8>], words: &[&str]) -> Vec<u8> {
    let mut data = random.pick(pool).cloned().unwrap_or_default();
    for _ in 0..=random.below(6) {
        once(random, &mut data, pool, words);
    }
    data.truncate(LONGEST);
    data
}

fn once(random: &mut Random, data: &mut Vec<u8>, pool: &[Vec<u8>], words: &[&str]) {
    let at = random.below(data.len() + 1);
    let end = (at + 1 + random.below(16)).min(data.len()).max(at);
    match random.below(10) {
        0 => flip(random, data, at),
        1 | 2 => set(data, at, random.pick(BYTES).copied().unwrap_or_default()),
        3 => data.insert(at, random.pick(BYTES).copied().unwrap_or_default()),
        4 => drop(data.drain(at..end)),
        5 => data.extend_from_within(at..end),
        6 | 7 => insert(
            data,
            at,
            random.pick(words).copied().unwrap_or_default().as_bytes(),
        ),
        8 => splice(random, data, at, pool),
        _ => repeat_or_truncate(random, data, at, end),
    }
}

fn flip(random: &mut Random, data: &mut [u8], at: usize) {
    if let Some(byte) = data.get_mut(at) {
        *byte ^= 1 << random.below(8);
    }
}

fn set(data: &mut [u8], at: usize, value: u8) {
    if let Some(byte) = data.get_mut(at) {
        *byte = value;
    }
}

fn insert(data: &mut Vec<u8>, at: usize, bytes: &[u8]) {
    data.splice(at..at, bytes.iter().copied());
}

/// The beginning of this input and the end of another.
fn splice(random: &mut Random, data: &mut Vec<u8>, at: usize, pool: &[Vec<u8>]) {
    let Some(other) = random.pick(pool) else {
        return;
    };
    let from = random.below(other.len() + 1);
    data.truncate(at);
    data.extend_from_slice(&other[from..]);
}

fn repeat_or_truncate(random: &mut Random, data: &mut Vec<u8>, at: usize, end: usize) {
    if random.below(2) == 0 {
        data.truncate(at);
        return;
    }
    let piece = data[at..end].repeat(1 + random.below(600));
    insert(data, at, &piece);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_seed_makes_the_same_inputs() {
        let pool = vec![b"EHLO a\r\n".to_vec(), b"QUIT\r\n".to_vec()];
        let make = || {
            let mut random = Random::new(7);
            (0..200)
                .map(|_| mutate(&mut random, &pool, &["NOOP"]))
                .collect::<Vec<_>>()
        };
        let inputs = make();
        assert_eq!(inputs, make());
        assert!(inputs.iter().filter(|data| !pool.contains(data)).count() > 100);
    }

    #[test]
    fn an_empty_pool_is_no_trouble() {
        let mut random = Random::new(1);
        for _ in 0..1000 {
            let _ = mutate(&mut random, &[], &[]);
        }
    }
}
