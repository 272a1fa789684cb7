//! Grams: runs of three octets, hashed.

use std::fmt;

/// How many places grams are hashed to before a mark's width is known.
const PLACES: usize = 1 << 16;
/// Widths a mark may have, in bits.
const WIDTHS: [u32; 17] = [
    256, 384, 512, 768, 1_024, 1_536, 2_048, 3_072, 4_096, 6_144, 8_192, 12_288, 16_384, 24_576,
    32_768, 49_152, 65_536,
];
/// With more grams even the widest mark is so full that it tells nothing.
const MOST_GRAMS: u32 = 45_000;
/// Grams of one text that are looked up: more would hardly narrow any further.
const MOST_ASKED: usize = 48;

/// Where a gram is hashed to.
fn place(gram: u32) -> u16 {
    (gram.wrapping_mul(0x9E37_79B1) >> 16) as u16
}

/// The bit of a mark that a place falls to.
pub(crate) fn bit(place: u16, width: u32) -> u32 {
    (u32::from(place) * (width >> 8)) >> 8
}

/// The grams of a message, while its texts are read. Memory does not grow with them.
pub struct Grams {
    places: Box<[u64]>,
    count: u32,
    /// The last two octets of the text so far.
    tail: u32,
    /// How many octets of the text there were, up to two.
    seen: u32,
}

impl fmt::Debug for Grams {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Grams")
            .field("count", &self.count)
            .finish_non_exhaustive()
    }
}

impl Grams {
    pub(crate) fn new() -> Self {
        Self {
            places: vec![0; PLACES / 64].into(),
            count: 0,
            tail: 0,
            seen: 0,
        }
    }

    /// Begins a text: no gram reaches from the last one into it.
    pub fn begin(&mut self) {
        self.seen = 0;
    }

    /// Adds the next piece of the text, in the case in which it is looked for. Says whether more makes a difference.
    pub fn push(&mut self, piece: &str) -> bool {
        for octet in piece.bytes() {
            let gram = (self.tail << 8 | u32::from(octet)) & 0x00FF_FFFF;
            self.tail = gram;
            if self.seen < 2 {
                self.seen += 1;
                continue;
            }
            let place = usize::from(place(gram));
            let (word, mask) = (&mut self.places[place / 64], 1 << (place % 64));
            self.count += u32::from(*word & mask == 0);
            *word |= mask;
        }
        self.count <= MOST_GRAMS
    }

    pub(crate) fn clear(&mut self) {
        self.places.fill(0);
        (self.count, self.seen) = (0, 0);
    }

    /// The mark, in the width that suits it.
    pub(crate) fn mark(&self) -> Bits {
        let wanted = self.count * 11 / 5;
        let width = WIDTHS.into_iter().find(|width| *width >= wanted);
        let width = match width.or(WIDTHS.last().copied()) {
            Some(width) if self.count <= MOST_GRAMS => width,
            _ => return Bits::full(),
        };
        let mut bits = vec![0; width as usize / 8];
        for (index, word) in self.places.iter().enumerate() {
            let mut rest = *word;
            while rest != 0 {
                let place = index * 64 + rest.trailing_zeros() as usize;
                let bit = bit(u16::try_from(place).unwrap_or_default(), width) as usize;
                bits[bit / 8] |= 1 << (bit % 8);
                rest &= rest - 1;
            }
        }
        Bits { width, bits }
    }
}

/// A message's mark.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Bits {
    /// 0: the message is always a candidate.
    pub(crate) width: u32,
    pub(crate) bits: Vec<u8>,
}

impl Bits {
    /// What tells nothing.
    pub(crate) const fn full() -> Self {
        Self {
            width: 0,
            bits: Vec::new(),
        }
    }
}

/// What a message must hold, as far as the index can tell, to be worth looking at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Hint {
    /// Nothing that the index knows: every message may be meant.
    Any,
    /// All these grams, by their places.
    Grams(Vec<u16>),
    /// What all of these say.
    All(Vec<Hint>),
    /// What one of these says.
    One(Vec<Hint>),
}

impl Hint {
    /// A text, in the case in which texts were pushed. Shorter than three octets it says nothing.
    pub fn text(text: &str) -> Self {
        let mut places: Vec<u16> = text
            .as_bytes()
            .windows(3)
            .map(|gram| place(u32::from_be_bytes([0, gram[0], gram[1], gram[2]])))
            .collect();
        places.sort_unstable();
        places.dedup();
        places.truncate(MOST_ASKED);
        if places.is_empty() {
            Self::Any
        } else {
            Self::Grams(places)
        }
    }

    /// What all of them say.
    pub fn all(hints: impl IntoIterator<Item = Self>) -> Self {
        let mut hints: Vec<Self> = hints
            .into_iter()
            .filter(|hint| *hint != Self::Any)
            .collect();
        match (hints.len(), hints.pop()) {
            (1, Some(only)) => only,
            (_, Some(last)) => {
                hints.push(last);
                Self::All(hints)
            }
            (_, None) => Self::Any,
        }
    }

    /// What one of them says.
    pub fn one(hints: impl IntoIterator<Item = Self>) -> Self {
        let hints: Vec<Self> = hints.into_iter().collect();
        if hints.contains(&Self::Any) {
            Self::Any
        } else {
            Self::One(hints)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn grams(texts: &[&str]) -> Grams {
        let mut grams = Grams::new();
        for text in texts {
            grams.begin();
            grams.push(text);
        }
        grams
    }

    fn may_hold(mark: &Bits, text: &str) -> bool {
        match Hint::text(text) {
            Hint::Grams(places) => places.iter().all(|place| {
                let bit = bit(*place, mark.width) as usize;
                mark.bits[bit / 8] & (1 << (bit % 8)) != 0
            }),
            _ => true,
        }
    }

    #[test]
    fn what_was_pushed_is_found_also_across_pieces() {
        let mut grams = Grams::new();
        grams.begin();
        for piece in ["the que", "", "e", "n of ", "grüße"] {
            assert!(grams.push(piece));
        }
        let mark = grams.mark();
        for text in ["queen", "e queen of g", "rüß", "ü", "of", ""] {
            assert!(may_hold(&mark, text), "{text}");
        }
        for text in ["quee n", "king", "grusse"] {
            assert!(!may_hold(&mark, text), "{text}");
        }
    }

    #[test]
    fn no_gram_reaches_from_one_text_into_the_next() {
        let mark = grams(&["ab", "cd"]).mark();
        assert_eq!(mark.bits, vec![0; 32]);
    }

    #[test]
    fn marks_are_as_wide_as_they_must_be() {
        assert_eq!(grams(&["short"]).mark().width, 256);
        let word = |number: u32| format!("{:04x}", number.wrapping_mul(40_503) & 0xFFFF);
        let text = (0..1_000).map(word).collect::<Vec<_>>().join(" ");
        let wide = grams(&[&text]);
        let width = wide.mark().width;
        assert!(
            width >= wide.count * 2 && width <= wide.count * 4,
            "{width} {}",
            wide.count
        );
    }

    #[test]
    fn what_has_nearly_all_grams_is_always_a_candidate() {
        let mut grams = Grams::new();
        let mut more = true;
        for number in 0..400_000_u32 {
            grams.begin();
            more = grams.push(&format!("{:x}", number.wrapping_mul(0x9E37_79B1)));
            let octets = number
                .wrapping_mul(2_654_435_761)
                .to_be_bytes()
                .map(|octet| octet & 0x7F);
            more &= grams.push(std::str::from_utf8(&octets).unwrap());
            if !more {
                break;
            }
        }
        assert!(!more);
        assert_eq!(grams.mark(), Bits::full());
        grams.clear();
        assert_eq!(grams.mark().width, 256);
    }

    #[test]
    fn hints_that_say_nothing_are_left_out() {
        let one = Hint::text("one");
        assert_eq!(Hint::text("on"), Hint::Any);
        assert_eq!(Hint::all([Hint::Any, one.clone()]), one);
        assert_eq!(Hint::all([Hint::Any, Hint::Any]), Hint::Any);
        assert_eq!(Hint::one([Hint::Any, one.clone()]), Hint::Any);
        assert_eq!(
            Hint::one([one.clone(), one.clone()]),
            Hint::One(vec![one.clone(), one])
        );
    }
}
