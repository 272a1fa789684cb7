//! Trust anchors: where validation begins, as data.
//!
//! The root's are compiled in (IANA, <https://data.iana.org/root-anchors/root-anchors.xml>): the key of 2017 and that of 2024, which
//! signs from October 2026 on. Others are read from text: `DS` and `DNSKEY` records as in a zone file.

use super::name::Name;
use super::signature::{Ds, Key};

/// The hashes of the root's keys (tags 20326 and 38696).
const ROOT: &str = "\
. IN DS 20326 8 2 E06D44B80B8F1D39A95C0B0D7C65D08458E880409BBC683457104237C7F8EC8D
. IN DS 38696 8 2 683D2D0ACB8C9B712A1948B27F741219298D0A450D612C483AF444A4C0FB2B16
";

/// Names with the keys, or hashes of keys, that are trusted there.
#[derive(Debug, Clone)]
pub struct Anchors {
    entries: Vec<Anchor>,
}

#[derive(Debug, Clone)]
struct Anchor {
    zone: Name,
    trusted: Trusted,
}

#[derive(Debug, Clone)]
enum Trusted {
    Hash(Ds),
    Key(Key),
}

/// A line of trust anchors that cannot be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AnchorError {
    /// Its number, from 1; 0 if there was no anchor at all.
    pub line: usize,
}

impl std::fmt::Display for AnchorError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.line {
            0 => f.write_str("there is no trust anchor in it"),
            line => write!(
                f,
                "line {line} is no DS or DNSKEY record with an algorithm known here"
            ),
        }
    }
}

impl std::error::Error for AnchorError {}

impl Anchors {
    /// The root's, as compiled in.
    pub fn root() -> Self {
        Self::parse(ROOT).unwrap_or(Self {
            entries: Vec::new(),
        })
    }

    /// Reads anchors, one record a line: `ZONE [TTL] [IN] DS …` or `ZONE [TTL] [IN] DNSKEY …`; `;` begins a comment.
    pub fn parse(text: &str) -> Result<Self, AnchorError> {
        let mut entries = Vec::new();
        for (number, line) in text.lines().enumerate() {
            let line = line.split(';').next().unwrap_or("").trim();
            if !line.is_empty() {
                entries.push(parse_line(line).ok_or(AnchorError { line: number + 1 })?);
            }
        }
        if entries.is_empty() {
            return Err(AnchorError { line: 0 });
        }
        Ok(Self { entries })
    }

    /// The deepest zone with an anchor at or above a name.
    pub(crate) fn above(&self, name: &Name) -> Option<&Name> {
        self.entries
            .iter()
            .map(|anchor| &anchor.zone)
            .filter(|zone| name.is_within(zone))
            .max_by_key(|zone| zone.depth())
    }

    /// Whether a key of a zone is trusted.
    pub(crate) fn trust(&self, zone: &Name, key: &Key) -> bool {
        self.entries.iter().any(|anchor| {
            anchor.zone == *zone
                && match &anchor.trusted {
                    Trusted::Hash(ds) => ds.fits(zone, key),
                    Trusted::Key(trusted) => trusted == key,
                }
        })
    }
}

fn parse_line(line: &str) -> Option<Anchor> {
    let mut fields = line.split_ascii_whitespace();
    let zone = fields.next()?.parse().ok()?;
    let mut kind = fields.next()?;
    while kind.bytes().all(|octet| octet.is_ascii_digit()) || kind.eq_ignore_ascii_case("IN") {
        kind = fields.next()?;
    }
    let first: u16 = fields.next()?.parse().ok()?;
    let second: u8 = fields.next()?.parse().ok()?;
    let third: u8 = fields.next()?.parse().ok()?;
    let rest: String = fields.collect();
    let mut rdata = first.to_be_bytes().to_vec();
    rdata.extend([second, third]);
    let trusted = if kind.eq_ignore_ascii_case("DS") {
        rdata.extend(hexadecimal(&rest)?);
        Trusted::Hash(Ds::from_rdata(&rdata).filter(Ds::is_supported)?)
    } else if kind.eq_ignore_ascii_case("DNSKEY") {
        rdata.extend(base64(&rest)?);
        let key = Key::from_rdata(&rdata).filter(Key::is_usable)?;
        super::signature::is_supported(key.algorithm()).then_some(Trusted::Key(key))?
    } else {
        return None;
    };
    Some(Anchor { zone, trusted })
}

fn hexadecimal(text: &str) -> Option<Vec<u8>> {
    if !text.len().is_multiple_of(2) {
        return None;
    }
    text.as_bytes()
        .chunks_exact(2)
        .map(|pair| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok())
        .collect()
}

/// RFC 4648 4, padding wanted nowhere.
fn base64(text: &str) -> Option<Vec<u8>> {
    let (mut bits, mut count, mut octets) = (0u32, 0u32, Vec::new());
    for digit in text.trim_end_matches('=').bytes() {
        let value = match digit {
            b'A'..=b'Z' => digit - b'A',
            b'a'..=b'z' => digit - b'a' + 26,
            b'0'..=b'9' => digit - b'0' + 52,
            b'+' => 62,
            b'/' => 63,
            _ => return None,
        };
        bits = (bits << 6 | u32::from(value)) & 0xffff;
        count += 6;
        if count >= 8 {
            count -= 8;
            octets.push(u8::try_from(bits >> count & 0xff).ok()?);
        }
    }
    Some(octets)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The root's key signing keys of 2017 and 2024.
    const KEYS: [&str; 2] = [
        "AwEAAaz/tAm8yTn4Mfeh5eyI96WSVexTBAvkMgJzkKTOiW1vkIbzxeF3+/4RgWOq7HrxRixHlFlExOLAJr5emLvN7SWXgnLh4+B5xQlNVz8Og8kvArMtNROxVQuCaSnIDdD5LKyWbRd2n9WGe2R8PzgCmr3EgVLrjyBxWezF0jLHwVN8efS3rCj/EWgvIWgb9tarpVUDK/b58Da+sqqls3eNbuv7pr+eoZG+SrDK6nWeL3c6H5Apxz7LjVc1uTIdsIXxuOLYA4/ilBmSVIzuDWfdRUfhHdY6+cn8HFRm+2hM8AnXGXws9555KrUB5qihylGa8subX2Nn6UwNR1AkUTV74bU=",
        "AwEAAa96jeuknZlaeSrvyAJj6ZHv28hhOKkx3rLGXVaC6rXTsDc449/cidltpkyGwCJNnOAlFNKF2jBosZBU5eeHspaQWOmOElZsjICMQMC3aeHbGiShvZsx4wMYSjH8e7Vrhbu6irwCzVBApESjbUdpWWmEnhathWu1jo+siFUiRAAxm9qyJNg/wOZqqzL/dL/q8PkcRU5oUKEpUge71M3ej2/7CPqpdVwuMoTvoB+ZOT4YeGyxMvHmbrxlFzGOHOijtzN+u1TQNatX2XBuzZNQ1K+s2CXkPIZo7s6JgZyvaBevYtxPvYLw4z9mR7K2vaF18UYH9Z9GNUUeayffKC73PYc=",
    ];

    #[test]
    fn the_root_has_two() {
        let anchors = Anchors::root();
        assert_eq!(anchors.entries.len(), 2);
        for public in KEYS {
            let rdata = [vec![1, 1, 3, 8], base64(public).unwrap()].concat();
            let key = Key::from_rdata(&rdata).unwrap();
            assert!(anchors.trust(&Name::root(), &key), "{public}");
        }
        assert_eq!(
            anchors.above(&"mx.example".parse().unwrap()),
            Some(&Name::root())
        );
    }

    // The hash of RFC 4034 5.4 is that of its key.
    #[test]
    fn a_key_is_trusted_by_itself_and_by_its_hash() {
        let public = "AQOeiiR0GOMYkDshWoSKz9XzfwJr1AYtsmx3TGkJaNXVbfi/2pHm822aJ5iI9BMzNXxeYCmZDRD99WYwYqUSdjMmmAphXdvxegXd/M5+X7OrzKBaMbCVdFLUUh6DhweJBjEVv5f2wwjM9XzcnOf+EPbtG9DMBmADjFDc2w/rljwvFw==";
        let zone: Name = "dskey.example.com".parse().unwrap();
        let rdata = [vec![1, 0, 3, 5], base64(public).unwrap()].concat();
        let key = Key::from_rdata(&rdata).unwrap();
        let hash =
            "dskey.example.com. 86400 IN DS 60485 5 1 ( 2BB183AF5F22588179A53B0A98631FAD1A292118 )";
        let hash = hash.replace(['(', ')'], "");
        for line in [
            hash,
            format!("dskey.example.com. IN DNSKEY 256 3 5 {public}"),
        ] {
            let anchors = Anchors::parse(&line).unwrap();
            assert!(anchors.trust(&zone, &key), "{line}");
            assert!(!anchors.trust(&Name::root(), &key));
        }
    }

    #[test]
    fn what_is_no_anchor_is_named_by_its_line() {
        assert_eq!(
            Anchors::parse("; nothing\n").err(),
            Some(AnchorError { line: 0 })
        );
        let wrong = [
            ". IN A 127.0.0.1",
            ". IN DS 1 16 2 00",
            ". IN DS 1 8 2 0",
            ". DNSKEY 0 3 8 AAAA",
        ];
        for wrong in wrong {
            let text = format!("{ROOT}{wrong}");
            assert_eq!(
                Anchors::parse(&text).err(),
                Some(AnchorError { line: 3 }),
                "{wrong}"
            );
        }
    }
}
