//! The base subject of a message: what is left when `Re:`, `[list]` and `(fwd)` are taken off (RFC 5256 2.1).

use super::mime::field::first;
use super::texts::decoded_case;

/// A base subject, and whether something about a reply or a forward was taken off.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Subject {
    /// In lower case, for comparison.
    pub base: String,
    /// `Re:`, `Fwd:` and the like.
    pub is_reply: bool,
}

/// The base subject of a header; empty when it has none.
pub fn subject(header: &[u8]) -> Subject {
    let text = first(header, "Subject").map(|field| decoded_case(&field));
    base(&text.unwrap_or_default())
}

/// The base of a subject, decoded.
pub fn base(text: &str) -> Subject {
    let words: Vec<&str> = text.split_whitespace().collect();
    let mut rest = words.join(" ").to_lowercase();
    let mut is_reply = false;
    loop {
        while let Some(shorter) = rest.strip_suffix("(fwd)") {
            rest.truncate(shorter.trim_end().len());
            is_reply = true;
        }
        rest = leaders(&rest, &mut is_reply).to_owned();
        let forwarded = rest
            .strip_prefix("[fwd:")
            .and_then(|inner| inner.strip_suffix(']'));
        let Some(inner) = forwarded.map(|inner| inner.trim().to_owned()) else {
            return Subject {
                base: rest,
                is_reply,
            };
        };
        is_reply = true;
        rest = inner;
    }
}

/// Takes off everything at the beginning that is no subject.
fn leaders<'a>(text: &'a str, is_reply: &mut bool) -> &'a str {
    let mut rest = text.trim_start();
    loop {
        if let Some(after) = refwd(rest) {
            *is_reply = true;
            rest = after.trim_start();
            continue;
        }
        // A `[blob]` goes only if something is left.
        match blob(rest) {
            Some(after) if !after.is_empty() && !rest.starts_with("[fwd:") => rest = after,
            _ => return rest,
        }
    }
}

/// `[x] re [y]:` and what is behind it.
fn refwd(text: &str) -> Option<&str> {
    let mut rest = text;
    while let Some(after) = blob(rest) {
        rest = after;
    }
    let after = ["re", "fwd", "fw"]
        .iter()
        .find_map(|word| rest.strip_prefix(word))?
        .trim_start();
    blob(after).unwrap_or(after).strip_prefix(':')
}

/// `[…]` and the space behind it.
fn blob(text: &str) -> Option<&str> {
    let inner = text.strip_prefix('[')?;
    let end = inner.find(['[', ']'])?;
    inner.get(end..)?.strip_prefix(']').map(str::trim_start)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_added_is_taken_off() {
        for (text, wanted, is_reply) in [
            ("Hello", "hello", false),
            ("Re: Hello", "hello", true),
            ("RE:  re : Hello  there (fwd)", "hello there", true),
            ("Fw: [list] Hello", "hello", true),
            ("[list] Re[2]: Hello", "hello", true),
            ("[list] Hello", "hello", false),
            ("[alone]", "[alone]", false),
            ("[Fwd: Re: Hello]", "hello", true),
            ("Regarding Hello", "regarding hello", false),
            ("", "", false),
            ("Re:", "", true),
        ] {
            let found = base(text);
            assert_eq!(
                (found.base.as_str(), found.is_reply),
                (wanted, is_reply),
                "{text}"
            );
        }
    }
}
