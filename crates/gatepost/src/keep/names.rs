//! Mailbox names as names of folders, and back.
//!
//! A mailbox's name is the words of whoever made it: nothing of it may lead out of the folder. Each level becomes one name in which
//! dots in front, separators and control characters stand as `%2E`; mailbox names hold no `%`, so that can be read back. In Maildir++ levels are
//! parted by dots and written in modified UTF-7, as other programs expect.

use gatepost_wire::imap::mutf7;

/// A level of a mailbox's name as the name of a folder or file.
pub(crate) fn level_to_file(level: &str) -> String {
    let mut name = String::new();
    for (index, character) in level.chars().enumerate() {
        let awkward = (character == '.' && index == 0)
            || character.is_control()
            || matches!(character, '/' | '\\' | '%' | ':');
        push(&mut name, character, awkward);
    }
    name
}

/// The same in a Maildir++ folder's name, without the dot in front.
pub(crate) fn level_to_maildir(level: &str) -> String {
    let mut name = String::new();
    for character in mutf7::encode(level).chars() {
        let awkward = character.is_control() || matches!(character, '.' | '/' | '\\' | '%' | ':');
        push(&mut name, character, awkward);
    }
    name
}

fn push(name: &mut String, character: char, awkward: bool) {
    if awkward {
        let mut octets = [0; 4];
        for octet in character.encode_utf8(&mut octets).bytes() {
            name.push_str(&format!("%{octet:02X}"));
        }
    } else {
        name.push(character);
    }
}

/// A mailbox's level from the name of a folder or file. What a mailbox's name cannot hold becomes `_`.
pub(crate) fn level_from_file(name: &str) -> String {
    clean(&unescape(name))
}

/// The levels of a mailbox's name from a Maildir++ folder's, without the dot in front.
pub(crate) fn levels_from_maildir(name: &str) -> String {
    let levels = name.split('.').filter(|level| !level.is_empty());
    let levels: Vec<String> = levels
        .map(|level| {
            let plain = unescape(level);
            clean(&mutf7::decode(plain.as_bytes()).unwrap_or(plain))
        })
        .collect();
    levels.join("/")
}

fn unescape(name: &str) -> String {
    let mut octets = Vec::with_capacity(name.len());
    let mut rest = name.as_bytes();
    while let Some((first, after)) = rest.split_first() {
        let hex = after
            .get(..2)
            .filter(|_| *first == b'%')
            .and_then(|digits| std::str::from_utf8(digits).ok())
            .and_then(|digits| u8::from_str_radix(digits, 16).ok());
        if let Some(octet) = hex {
            octets.push(octet);
            rest = &after[2..];
        } else {
            octets.push(*first);
            rest = after;
        }
    }
    String::from_utf8_lossy(&octets).into_owned()
}

/// What a mailbox's name cannot hold becomes `_`.
pub(crate) fn clean(level: &str) -> String {
    let impossible = |c: char| {
        c.is_control()
            || matches!(
                c,
                '%' | '*' | '/' | '\u{2028}' | '\u{2029}' | char::REPLACEMENT_CHARACTER
            )
    };
    level.replace(impossible, "_")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_come_back() {
        for level in [
            "Archive",
            "a.b",
            "..",
            ".hidden",
            "Entwürfe",
            "a & b",
            "日本",
            "x:y\\z",
        ] {
            assert_eq!(level_from_file(&level_to_file(level)), level);
            assert_eq!(levels_from_maildir(&level_to_maildir(level)), level);
        }
    }

    #[test]
    fn nothing_leads_elsewhere() {
        assert_eq!(level_to_file(".."), "%2E.");
        assert_eq!(level_to_maildir(".."), "%2E%2E");
        assert_eq!(level_to_file("a\0b"), "a%00b");
        assert_eq!(level_from_file("%2E%2E%2Fetc"), ".._etc");
        assert_eq!(level_from_file("a%00*%"), "a___");
        assert_eq!(levels_from_maildir("Lists.&AOQ-.x"), "Lists/ä/x");
        assert_eq!(levels_from_maildir("..a..b."), "a/b");
    }
}
