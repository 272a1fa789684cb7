//! NTLM as far as an examiner needs it ([MS-NLMP]): the message that begins a login and names nobody, and what the server's challenge tells of
//! the network it stands in. No answer to a challenge is made here, so nothing can log in. Sans-IO.
//!
//! A challenge that is cut, or points outside itself, is none: whoever cannot read it all must not say that it tells nothing.

use super::facts::Challenge;
use super::reply::escape;

const SIGNATURE: &[u8] = b"NTLMSSP\0";
const UNICODE: u32 = 0x0000_0001;
const TARGET_INFO: u32 = 0x0080_0000;
const VERSION: u32 = 0x0200_0000;
/// The most characters of a name that are kept: a name in DNS has no more (RFC 1035 2.3.4).
const LONGEST: usize = 255;

/// The message that begins a login ([MS-NLMP] 2.2.1.1): Unicode, OEM, the target asked for, NTLM, signed, extended security, 128 and 56 bits; the
/// fields for a domain and a workstation are empty.
pub(crate) fn negotiate() -> Vec<u8> {
    let flags = 0xa008_8207_u32;
    [
        SIGNATURE,
        &1_u32.to_le_bytes(),
        &flags.to_le_bytes(),
        &[0; 16],
    ]
    .concat()
}

/// Reads a challenge ([MS-NLMP] 2.2.1.2); none: it is not a whole one.
pub fn challenge(message: &[u8]) -> Option<Challenge> {
    let is_challenge = message.starts_with(SIGNATURE) && number(message, 8)? == 2;
    // Eight octets of challenge stand behind the flags.
    if !is_challenge || message.len() < 32 {
        return None;
    }
    let flags = number(message, 20)?;
    let mut told = Challenge {
        target: filled(name(field(message, 12)?, flags & UNICODE != 0)?),
        ..Challenge::default()
    };
    if flags & TARGET_INFO != 0 {
        pairs(field(message, 40)?, &mut told)?;
    }
    if flags & VERSION != 0 {
        let [major, minor, low, high] = *message.get(48..)?.first_chunk()?;
        let build = u16::from_le_bytes([low, high]);
        told.version = (major > 0).then(|| format!("{major}.{minor}.{build}"));
    }
    Some(told)
}

/// What is told of the server, a pair after the other ([MS-NLMP] 2.2.2.1).
fn pairs(mut rest: &[u8], told: &mut Challenge) -> Option<()> {
    while !rest.is_empty() {
        let (kind, behind) = rest.split_first_chunk::<2>()?;
        let (length, behind) = behind.split_first_chunk::<2>()?;
        let (value, behind) = behind.split_at_checked(usize::from(u16::from_le_bytes(*length)))?;
        let place = match u16::from_le_bytes(*kind) {
            0 => return Some(()),
            1 => &mut told.computer,
            2 => &mut told.domain,
            3 => &mut told.dns_computer,
            4 => &mut told.dns_domain,
            5 => &mut told.dns_forest,
            // Flags, the time, the target's other names: of the client's side, or public.
            _ => {
                rest = behind;
                continue;
            }
        };
        *place = filled(name(value, true)?);
        rest = behind;
    }
    Some(())
}

/// A name in UTF-16, or in whatever characters the server's machine has; empty where there is none.
fn name(octets: &[u8], is_unicode: bool) -> Option<String> {
    let text = if is_unicode {
        let (units, []) = octets.as_chunks::<2>() else {
            return None;
        };
        let units = units.iter().map(|it| u16::from_le_bytes(*it));
        let text = char::decode_utf16(units).map(|it| it.unwrap_or(char::REPLACEMENT_CHARACTER));
        text.take(LONGEST).collect()
    } else {
        let text = String::from_utf8_lossy(octets);
        text.chars().take(LONGEST).collect::<String>()
    };
    Some(escape(text.as_bytes()))
}

fn filled(name: String) -> Option<String> {
    (!name.is_empty()).then_some(name)
}

/// What a field points to: its length, the room for it, and where it begins.
fn field(message: &[u8], at: usize) -> Option<&[u8]> {
    let length = usize::from(u16::from_le_bytes(*message.get(at..)?.first_chunk()?));
    let start = usize::try_from(number(message, at + 4)?).ok()?;
    if length == 0 {
        return Some(&[]);
    }
    message.get(start..start.checked_add(length)?)
}

fn number(message: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_le_bytes(*message.get(at..)?.first_chunk()?))
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// The example of [MS-NLMP] 4.2.4.3.
    pub(crate) const EXAMPLE: &[u8] = b"NTLMSSP\0\x02\0\0\0\x0c\0\x0c\0\x38\0\0\0\x33\x82\x8a\xe2\
        \x01\x23\x45\x67\x89\xab\xcd\xef\0\0\0\0\0\0\0\0\x24\0\x24\0\x44\0\0\0\x06\0\x70\x17\0\0\0\x0f\
        S\0e\0r\0v\0e\0r\0\x02\0\x0c\0D\0o\0m\0a\0i\0n\0\x01\0\x0c\0S\0e\0r\0v\0e\0r\0\0\0\0\0";

    #[test]
    fn the_example_of_the_specification_is_read_whole_and_cut_anywhere_not_at_all() {
        let told = challenge(EXAMPLE).unwrap();
        let expected = Challenge {
            target: Some("Server".to_owned()),
            computer: Some("Server".to_owned()),
            domain: Some("Domain".to_owned()),
            version: Some("6.0.6000".to_owned()),
            ..Challenge::default()
        };
        assert_eq!(told, expected);
        for cut in 0..EXAMPLE.len() {
            assert_eq!(challenge(&EXAMPLE[..cut]), None, "{cut}");
        }
    }

    #[test]
    fn the_beginning_names_nobody_and_is_no_challenge() {
        let message = negotiate();
        assert_eq!((message.len(), challenge(&message)), (32, None));
        assert!(message[16..].iter().all(|octet| *octet == 0));
    }

    #[test]
    fn an_old_challenge_has_a_name_and_nothing_more() {
        let old =
            b"NTLMSSP\0\x02\0\0\0\x04\0\x04\0\x28\0\0\0\x02\x02\0\0ABCDEFGH\0\0\0\0\0\0\0\0CORP";
        assert_eq!(challenge(old).unwrap().target, Some("CORP".to_owned()));
        for cut in 0..old.len() {
            assert_eq!(challenge(&old[..cut]), None, "{cut}");
        }
    }

    #[test]
    fn what_points_outside_or_is_half_a_character_is_no_challenge_and_none_is_believed() {
        for (at, octet) in [
            (8, 1),
            (12, 0x0b),
            (16, 0xff),
            (19, 0x80),
            (44, 0xff),
            (70, 0x0d),
        ] {
            let mut wrong = EXAMPLE.to_vec();
            wrong[at] = octet;
            assert_eq!(challenge(&wrong), None, "{at}");
        }
        // Whatever an octet is turned into, names stay within the message, and short.
        for at in 0..EXAMPLE.len() {
            for octet in [0, 1, 0x7f, 0x80, 0xd8, 0xff] {
                let mut wrong = EXAMPLE.to_vec();
                wrong[at] = octet;
                let told = challenge(&wrong).unwrap_or_default();
                let names = [told.target, told.computer, told.domain, told.dns_forest];
                let longest = names.iter().flatten().map(String::len).max();
                assert!(
                    longest.unwrap_or_default() < 8 * EXAMPLE.len(),
                    "{at} {octet}"
                );
            }
        }
        let mut driving = EXAMPLE.to_vec();
        driving[56] = 0x1b;
        assert_eq!(
            challenge(&driving).unwrap().target,
            Some("\\u{1b}erver".to_owned())
        );
    }
}
