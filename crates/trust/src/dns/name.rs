//! A domain name, always in lower case and absolute: names are compared, ordered and signed in this form (RFC 4034 6).
//!
//! Names beyond ASCII come in as A-labels; whoever has U-labels converts them first. A name never exceeds 255 octets and its
//! labels never 63 (RFC 1035 3.1), however it was made.

use std::cmp::Ordering;
use std::fmt;
use std::str::FromStr;

/// The most octets of a name on the wire.
const MAX_NAME: usize = 255;
/// The most octets of a label.
const MAX_LABEL: usize = 63;

/// A domain name in canonical form.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Name {
    /// Labels with their lengths, closed by the root's empty label.
    wire: Box<[u8]>,
}

/// Why something is no domain name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NameError {
    /// A label is empty or longer than 63 octets.
    Label,
    /// The name is longer than 255 octets.
    TooLong,
    /// A character beyond ASCII, or a broken escape.
    Character,
    /// On the wire: it ends early, or its compression pointers do not lead back.
    Wire,
}

impl fmt::Display for NameError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Label => "a label of the name is empty or longer than 63 octets",
            Self::TooLong => "the name is longer than 255 octets",
            Self::Character => {
                "the name has a character beyond ASCII (write it with xn--) or a broken escape"
            }
            Self::Wire => "the name is cut off or its compression does not lead back",
        })
    }
}

impl std::error::Error for NameError {}

impl Name {
    /// The root.
    pub fn root() -> Self {
        Self { wire: [0].into() }
    }

    /// A name of these labels, the left-most first.
    pub fn from_labels<'a>(labels: impl IntoIterator<Item = &'a [u8]>) -> Result<Self, NameError> {
        let mut wire = Vec::with_capacity(64);
        for label in labels {
            let length = u8::try_from(label.len()).unwrap_or(u8::MAX);
            if label.is_empty() || label.len() > MAX_LABEL {
                return Err(NameError::Label);
            }
            wire.push(length);
            wire.extend(label.iter().map(u8::to_ascii_lowercase));
        }
        wire.push(0);
        if wire.len() > MAX_NAME {
            return Err(NameError::TooLong);
        }
        Ok(Self { wire: wire.into() })
    }

    /// Reads a name at `at` of a message, following compression backwards only (RFC 1035 4.1.4). Returns it with the offset
    /// behind it.
    pub fn read(message: &[u8], at: usize) -> Result<(Self, usize), NameError> {
        let mut labels = Vec::new();
        let (mut at, mut behind, mut lowest) = (at, None, at);
        let mut octets = 1;
        loop {
            let length = *message.get(at).ok_or(NameError::Wire)?;
            match length {
                0 => break,
                1..=63 => {
                    let label = message
                        .get(at + 1..at + 1 + usize::from(length))
                        .ok_or(NameError::Wire)?;
                    octets += label.len() + 1;
                    if octets > MAX_NAME {
                        return Err(NameError::TooLong);
                    }
                    labels.push(label);
                    at += 1 + label.len();
                }
                0xc0.. => {
                    let low = *message.get(at + 1).ok_or(NameError::Wire)?;
                    let target = usize::from(length & 0x3f) << 8 | usize::from(low);
                    // Each jump leads further back than all before it: no loop, however it is knotted.
                    if target >= lowest {
                        return Err(NameError::Wire);
                    }
                    behind.get_or_insert(at + 2);
                    (at, lowest) = (target, target);
                }
                _ => return Err(NameError::Wire),
            }
        }
        Ok((Self::from_labels(labels)?, behind.unwrap_or(at + 1)))
    }

    /// The name on the wire, not compressed.
    pub fn as_wire(&self) -> &[u8] {
        &self.wire
    }

    /// The labels, the left-most first, without the root's.
    pub fn labels(&self) -> Vec<&[u8]> {
        let mut labels = Vec::new();
        let mut rest = &*self.wire;
        while let Some((length, tail)) = rest.split_first() {
            match tail.split_at_checked(usize::from(*length)) {
                Some((label, tail)) if *length > 0 => {
                    labels.push(label);
                    rest = tail;
                }
                _ => break,
            }
        }
        labels
    }

    /// How many labels the name has; the root has none.
    pub fn depth(&self) -> usize {
        self.labels().len()
    }

    /// Whether this is the root.
    pub fn is_root(&self) -> bool {
        self.wire.len() == 1
    }

    /// The last `labels` labels of the name; the whole name if it has no more.
    #[must_use]
    pub fn last(&self, labels: usize) -> Self {
        let mut skip = self.depth().saturating_sub(labels);
        let mut rest = &*self.wire;
        while skip > 0 {
            let length = rest.first().map_or(0, |length| usize::from(*length));
            rest = rest.get(length + 1..).unwrap_or(&[0]);
            skip -= 1;
        }
        Self { wire: rest.into() }
    }

    /// The name without its left-most label; none for the root.
    pub fn parent(&self) -> Option<Self> {
        let depth = self.depth();
        (depth > 0).then(|| self.last(depth - 1))
    }

    /// Whether this name is `other` or stands below it.
    pub fn is_within(&self, other: &Self) -> bool {
        let depth = other.depth();
        self.depth() >= depth && self.last(depth) == *other
    }

    /// The longest name that both are within.
    #[must_use]
    pub fn common(&self, other: &Self) -> Self {
        let (mine, theirs) = (self.labels(), other.labels());
        let same = mine
            .iter()
            .rev()
            .zip(theirs.iter().rev())
            .take_while(|(mine, theirs)| mine == theirs)
            .count();
        self.last(same)
    }

    /// This name with labels (given with dots between them) before it: `_25._tcp` before `mx.example`.
    pub fn below(&self, labels: &str) -> Result<Self, NameError> {
        Self::from_labels(labels.split('.').map(str::as_bytes).chain(self.labels()))
    }

    /// The wildcard directly below this name.
    pub(crate) fn wildcard(&self) -> Result<Self, NameError> {
        self.below("*")
    }

    /// Whether the left-most label is `*`.
    pub fn is_wildcard(&self) -> bool {
        self.wire.starts_with(b"\x01*")
    }
}

/// The canonical order of RFC 4034 6.1: by label from the right, octet by octet.
impl Ord for Name {
    fn cmp(&self, other: &Self) -> Ordering {
        self.labels()
            .into_iter()
            .rev()
            .cmp(other.labels().into_iter().rev())
    }
}

impl PartialOrd for Name {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

/// With or without the final dot; always absolute. `\.` and `\DDD` as in zone files.
impl FromStr for Name {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        if text == "." {
            return Ok(Self::root());
        }
        let mut labels = vec![Vec::new()];
        let mut octets = text.bytes();
        while let Some(octet) = octets.next() {
            match octet {
                b'.' => labels.push(Vec::new()),
                b'\\' => {
                    let octet = unescape(&mut octets).ok_or(NameError::Character)?;
                    labels.last_mut().ok_or(NameError::Label)?.push(octet);
                }
                0x21..=0x7e => labels.last_mut().ok_or(NameError::Label)?.push(octet),
                _ => return Err(NameError::Character),
            }
        }
        if labels.len() > 1 && labels.last().is_some_and(Vec::is_empty) {
            labels.pop();
        }
        Self::from_labels(labels.iter().map(Vec::as_slice))
    }
}

fn unescape(octets: &mut std::str::Bytes<'_>) -> Option<u8> {
    let first = octets.next()?;
    if !first.is_ascii_digit() {
        return first.is_ascii_graphic().then_some(first);
    }
    let mut value = u16::from(first - b'0');
    for _ in 0..2 {
        let digit = octets.next().filter(u8::is_ascii_digit)?;
        value = value * 10 + u16::from(digit - b'0');
    }
    u8::try_from(value).ok()
}

/// Without the final dot, as host names are written in mail; the root is `.`.
impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_root() {
            return f.write_str(".");
        }
        for (position, label) in self.labels().into_iter().enumerate() {
            if position > 0 {
                f.write_str(".")?;
            }
            for octet in label {
                match octet {
                    b'.' | b'\\' | b'"' | b';' | b'(' | b')' => {
                        write!(f, "\\{}", char::from(*octet))?;
                    }
                    0x21..=0x7e => write!(f, "{}", char::from(*octet))?,
                    _ => write!(f, "\\{octet:03}")?,
                }
            }
        }
        Ok(())
    }
}

impl fmt::Debug for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(text: &str) -> Name {
        text.parse().unwrap()
    }

    #[test]
    fn names_are_read_in_any_case_with_and_without_the_dot() {
        assert_eq!(name("MX.Example."), name("mx.example"));
        assert_eq!(name("mx.example").to_string(), "mx.example");
        assert_eq!(name(".").to_string(), ".");
        assert_eq!(name(r"a\.b\032c.d").to_string(), r"a\.b\032c.d");
        assert_eq!(name("a.b").as_wire(), b"\x01a\x01b\0");
    }

    #[test]
    fn what_is_no_name_is_refused() {
        assert_eq!("".parse::<Name>(), Err(NameError::Label));
        assert_eq!("a..b".parse::<Name>(), Err(NameError::Label));
        assert_eq!("ä.example".parse::<Name>(), Err(NameError::Character));
        assert_eq!(r"a\25".parse::<Name>(), Err(NameError::Character));
        assert_eq!("a".repeat(64).parse::<Name>(), Err(NameError::Label));
        assert_eq!(
            ["a"; 128].join(".").parse::<Name>(),
            Err(NameError::TooLong)
        );
    }

    #[test]
    fn the_order_is_that_of_rfc_4034() {
        let in_order = [
            "example",
            "a.example",
            "yljkjljk.a.example",
            "Z.a.example",
            "zABC.a.EXAMPLE",
            "z.example",
            r"\001.z.example",
            "*.z.example",
            r"\200.z.example",
        ];
        let mut sorted: Vec<Name> = in_order.iter().map(|text| name(text)).collect();
        sorted.reverse();
        sorted.sort();
        let expected: Vec<Name> = in_order.iter().map(|text| name(text)).collect();
        assert_eq!(sorted, expected);
    }

    #[test]
    fn names_know_their_family() {
        let host = name("mx.mail.example");
        assert_eq!(host.parent(), Some(name("mail.example")));
        assert!(host.is_within(&name("example")) && host.is_within(&host));
        assert!(!name("anexample").is_within(&name("example")));
        assert_eq!(host.common(&name("www.example")), name("example"));
        assert_eq!(host.last(0), Name::root());
        assert_eq!(host.last(9), host);
        assert_eq!(Name::root().parent(), None);
        assert_eq!(name("a").below("_25._tcp"), Ok(name("_25._tcp.a")));
    }

    #[test]
    fn compression_leads_back_only() {
        let message = b"\x01b\0\x01a\xc0\x00";
        assert_eq!(Name::read(message, 3), Ok((name("a.b"), 7)));
        assert_eq!(Name::read(b"\xc0\x00", 0), Err(NameError::Wire));
        assert_eq!(Name::read(b"\xc0\x02\xc0\x00", 2), Err(NameError::Wire));
        assert_eq!(Name::read(b"\x05abc", 0), Err(NameError::Wire));
        assert_eq!(Name::read(b"\x40", 0), Err(NameError::Wire));
    }
}
