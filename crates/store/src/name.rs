//! Mailbox names: which ones are possible, and how they nest.
//!
//! Levels are parted by `/`. `INBOX` is the same mailbox in any case (RFC 9051 5.1), also as the first level of a longer
//! name; all other names are compared octet by octet.

use crate::Error;

/// The longest name, in octets.
const LONGEST: usize = 1000;
/// The longest level, in octets.
const LONGEST_LEVEL: usize = 255;
/// The most levels.
const DEEPEST: usize = 20;

/// The one mailbox every account has.
pub(crate) const INBOX: &str = "INBOX";

/// The name as it is kept: INBOX in upper case.
pub(crate) fn canonical(name: &str) -> String {
    let first = name.split('/').next().unwrap_or_default();
    if first.eq_ignore_ascii_case(INBOX) {
        format!("{INBOX}{}", &name[first.len()..])
    } else {
        name.to_owned()
    }
}

/// The same, for a name that is to come into being: refused if it could not be told to every client.
pub(crate) fn check(name: &str) -> Result<String, Error> {
    let levels_fit = name
        .split('/')
        .all(|level| (1..=LONGEST_LEVEL).contains(&level.len()));
    let depth_fits = name.split('/').count() <= DEEPEST;
    // `%` and `*` are LIST's wildcards: a name with them cannot be asked for. U+FFFD marks a name that was not UTF-8.
    let characters_fit = !name.contains(|c: char| {
        c.is_control()
            || matches!(
                c,
                '%' | '*' | '\u{2028}' | '\u{2029}' | char::REPLACEMENT_CHARACTER
            )
    });
    if levels_fit && depth_fits && characters_fit && name.len() <= LONGEST {
        Ok(canonical(name))
    } else {
        Err(Error::Cannot)
    }
}

/// The names above it, from the top.
pub(crate) fn parents(name: &str) -> impl Iterator<Item = &str> {
    name.match_indices('/').map(|(at, _)| &name[..at])
}

/// The bounds of the names below it, for a range of octets: from the first (inclusive) to the last (exclusive).
pub(crate) fn below(name: &str) -> (String, String) {
    // '0' stands directly behind '/'.
    (format!("{name}/"), format!("{name}0"))
}

#[cfg(test)]
mod tests {
    use super::{below, canonical, check, parents};
    use crate::Error;

    #[test]
    fn inbox_is_one_in_any_case() {
        assert_eq!(canonical("iNbOx"), "INBOX");
        assert_eq!(canonical("inbox/Work"), "INBOX/Work");
        assert_eq!(canonical("Inboxes"), "Inboxes");
        assert_eq!(check("inbox/a").unwrap(), "INBOX/a");
    }

    #[test]
    fn impossible_names_are_refused() {
        let long_level = "x".repeat(256);
        let long = format!("{0}/{0}/{0}/{0}", "y".repeat(255));
        let deep = vec!["d"; 21].join("/");
        for name in [
            "",
            "/",
            "/a",
            "a/",
            "a//b",
            "a\u{7f}",
            "a\r\n",
            "a%",
            "*",
            "\u{2028}",
            &long_level,
            &long,
            &deep,
        ] {
            assert_eq!(check(name), Err(Error::Cannot), "{name:?}");
        }
        for name in [
            "a",
            "Übung/日本語",
            "a b",
            "a&b",
            "\"",
            "\\",
            ".",
            "..",
            &vec!["d"; 20].join("/"),
        ] {
            assert_eq!(check(name).as_deref(), Ok(name));
        }
    }

    #[test]
    fn nesting() {
        assert_eq!(parents("a/b/c").collect::<Vec<_>>(), ["a", "a/b"]);
        assert_eq!(parents("a").count(), 0);
        let (from, to) = below("a");
        assert!(
            from.as_str() <= "a/b"
                && "a/\u{10ffff}" < to.as_str()
                && "a0" >= to.as_str()
                && "a" < from.as_str()
        );
    }
}
