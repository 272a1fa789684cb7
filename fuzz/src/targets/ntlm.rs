//! What a server's NTLM challenge tells ([MS-NLMP] 2.2.1.2).

use gatepost_audit::check::ntlm;

use crate::Target;
use crate::behaviour;

/// The example of [MS-NLMP] 4.2.4.3.
const EXAMPLE: &[u8] = b"NTLMSSP\0\x02\0\0\0\x0c\0\x0c\0\x38\0\0\0\x33\x82\x8a\xe2\
    \x01\x23\x45\x67\x89\xab\xcd\xef\0\0\0\0\0\0\0\0\x24\0\x24\0\x44\0\0\0\x06\0\x70\x17\0\0\0\x0f\
    S\0e\0r\0v\0e\0r\0\x02\0\x0c\0D\0o\0m\0a\0i\0n\0\x01\0\x0c\0S\0e\0r\0v\0e\0r\0\0\0\0\0";

/// A challenge of before there was more in it than a name.
const OLD: &[u8] =
    b"NTLMSSP\0\x02\0\0\0\x04\0\x04\0\x28\0\0\0\x02\x02\0\0ABCDEFGH\0\0\0\0\0\0\0\0CORP";

/// A challenge.
pub const NTLM: Target = Target {
    name: "ntlm",
    run: challenge,
    seeds: || vec![EXAMPLE.to_vec(), OLD.to_vec()],
    words: &[
        "NTLMSSP\0\u{2}\0\0\0",
        "\u{1}\0\u{c}\0",
        "\u{3}\0\u{c}\0",
        "\u{4}\0\u{c}\0",
        "\u{5}\0\u{c}\0",
        "\u{7}\0\u{8}\0",
        "\0\0\0\0",
    ],
};

/// The most octets of a name that is shown: 255 characters, each escaped with ten at most.
const LONGEST: usize = 2550;

/// Reads a challenge.
///
/// # Panics
/// When what is to be shown could drive a terminal, or has no end.
pub fn challenge(data: &[u8]) {
    let told = ntlm::challenge(data);
    behaviour::note(told.is_some());
    let Some(told) = told else { return };
    let names = [
        told.target,
        told.computer,
        told.domain,
        told.dns_computer,
        told.dns_domain,
        told.dns_forest,
    ];
    behaviour::note(names.each_ref().map(Option::is_some));
    for name in names.iter().flatten() {
        assert!(!name.is_empty() && name.len() <= LONGEST, "{}", name.len());
        assert!(!name.contains(char::is_control), "{name:?}");
    }
    let is_number = |it: char| it.is_ascii_digit() || it == '.';
    assert!(
        told.version.is_none_or(|it| it.chars().all(is_number)),
        "a version that is no number"
    );
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_seeds_are_read_as_what_they_are() {
        for seed in (NTLM.seeds)() {
            assert!(ntlm::challenge(&seed).is_some_and(|it| it.target.is_some()));
        }
    }
}
