//! A key of DKIM in DNS (RFC 6376 3.6.1, RFC 8301, RFC 8463).

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::judge::tally::Tally;
use super::tags;
use crate::check::der::{RsaKey, SEQUENCE, element};
use crate::finding::Severity;

/// Keys shorter than this do not count (RFC 8301 3.2).
const LEAST: usize = 1024;
/// Keys are to be at least this long (RFC 8301 3.2).
const GOOD: usize = 2048;

/// A key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// RSA with a modulus of so many bits.
    Rsa(usize),
    /// Ed25519.
    Ed25519,
    /// Taken back: an empty `p`.
    Revoked,
}

/// A record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Key {
    kind: Kind,
    testing: bool,
}

/// Reads a record.
pub(super) fn read(text: &str) -> Result<Key, String> {
    let tags = tags::read(text).ok_or("it is not tags of name=value with semicolons between")?;
    if tags::value(&tags, "v").is_some_and(|version| version != "DKIM1") {
        return Err("its version is not DKIM1".into());
    }
    let data = tags::value(&tags, "p").ok_or("it has no key (p)")?;
    let flags = tags::value(&tags, "t").unwrap_or_default();
    let testing = flags.split(':').any(|flag| flag.trim() == "y");
    let compact: String = data.split_whitespace().collect();
    let octets = STANDARD
        .decode(&compact)
        .map_err(|_| "its key is not base64")?;
    let kind = match tags::value(&tags, "k").unwrap_or("rsa") {
        _ if compact.is_empty() => Kind::Revoked,
        "rsa" => Kind::Rsa(modulus_bits(&octets).ok_or("its key is no RSA key")?),
        "ed25519" if octets.len() == 32 => Kind::Ed25519,
        "ed25519" => return Err("its key is no Ed25519 key".into()),
        other => return Err(format!("its kind of key is not known ({other})")),
    };
    Ok(Key { kind, testing })
}

impl Key {
    /// Says what the key is worth.
    pub(super) fn judge(self, owner: &str, tally: &mut Tally) {
        let longer = format!(
            "a key of 2048 bits at a new selector; take {owner} out when nothing signed with it is under way"
        );
        match self.kind {
            Kind::Revoked => tally.warn(
                Severity::Low,
                format!("{owner}: the key was taken back"),
                format!("sign with another selector, or take {owner} out"),
            ),
            Kind::Rsa(bits) if bits < LEAST => tally.fail(
                Severity::Medium,
                format!("{owner}: {bits} bits: receivers do not count it"),
                longer,
            ),
            Kind::Rsa(bits) if bits < GOOD => {
                tally.warn(Severity::Low, format!("{owner}: {bits} bits"), longer);
            }
            Kind::Rsa(bits) => tally.pass(format!("{owner}: RSA, {bits} bits")),
            Kind::Ed25519 => tally.pass(format!("{owner}: Ed25519")),
        }
        if self.testing {
            tally.warn(
                Severity::Low,
                format!("{owner}: t=y: receivers treat the mail as not signed"),
                "take t=y out",
            );
        }
    }
}

/// The size of the modulus: in `SubjectPublicKeyInfo`, or in the bare key some publish.
fn modulus_bits(octets: &[u8]) -> Option<usize> {
    let (content, rest) = element(octets, SEQUENCE)?;
    let key = match element(content, SEQUENCE) {
        Some(_) => RsaKey::of_spki(content),
        None => RsaKey::of_content(content),
    };
    key.filter(|_| rest.is_empty()).map(|it| it.bits())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A `SubjectPublicKeyInfo` with a modulus of so many octets.
    pub(crate) fn spki(modulus: usize) -> Vec<u8> {
        let wrap = |tag: u8, content: &[u8]| {
            let length = u16::try_from(content.len()).unwrap().to_be_bytes();
            [&[tag, 0x82][..], &length, content].concat()
        };
        let number = [&[0][..], &vec![0xc1; modulus]].concat();
        let key = wrap(0x30, &[wrap(2, &number), vec![2, 3, 1, 0, 1]].concat());
        let algorithm = [0x30, 13, 6, 9, 42, 134, 72, 134, 247, 13, 1, 1, 1, 5, 0];
        let bits = wrap(3, &[&[0][..], &key].concat());
        wrap(0x30, &[&algorithm[..], &bits].concat())
    }

    #[test]
    fn keys_are_read_by_kind_and_size() {
        let text = |key: &[u8], more: &str| format!("v=DKIM1; {more}p={}", STANDARD.encode(key));
        let kind = |text: &str| read(text).map(|it| it.kind);
        assert_eq!(kind(&text(&spki(256), "")), Ok(Kind::Rsa(2048)));
        assert_eq!(kind(&text(&spki(64), "k=rsa; ")), Ok(Kind::Rsa(512)));
        assert_eq!(kind(&text(&[7; 32], "k=ed25519; ")), Ok(Kind::Ed25519));
        assert_eq!(kind("v=DKIM1; p="), Ok(Kind::Revoked));
        assert!(read("p=; t=s:y").unwrap().testing);
        for bad in [
            "v=DKIM2; p=",
            "v=DKIM1",
            "k=ed25519; p=AAAA",
            "k=x; p=AAAA",
            "p=!",
            "p=AAAA",
            "hello",
        ] {
            assert!(read(bad).is_err(), "{bad}");
        }
    }
}
