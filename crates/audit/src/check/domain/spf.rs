//! SPF records (RFC 7208): reading one, and what its evaluation asks DNS. A mechanism whose name depends on the message (macros) is
//! counted and not asked.

/// Whether a text is an SPF record (RFC 7208 4.5).
#[must_use]
pub fn is_record(text: &str) -> bool {
    let version = text.get(..6);
    version.is_some_and(|it| it.eq_ignore_ascii_case("v=spf1"))
        && text.as_bytes().get(6).is_none_or(|octet| *octet == b' ')
}

/// What a mechanism asks DNS.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ask {
    /// Another record of SPF: `include`, `redirect`.
    Record,
    /// Addresses: `a`, `exists`.
    Addresses,
    /// Mail exchanges: `mx`.
    Exchanges,
    /// Names of the sender's address: `ptr`.
    Names,
}

/// A term that costs a lookup.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Term {
    /// As it is written.
    pub text: String,
    /// What it asks.
    pub ask: Ask,
    /// The name; none where it depends on the message.
    pub name: Option<String>,
}

/// A record, read.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Record {
    /// The terms that cost a lookup, `redirect` last and only where it counts.
    pub terms: Vec<Term>,
    /// What stands before `all`: `+`, `-`, `~` or `?`; none without `all`.
    pub all: Option<char>,
    /// Whether another record decides in the end.
    pub redirects: bool,
}

/// Reads a record of `domain`.
///
/// # Errors
/// The term that is wrong, as it is written.
pub fn read(text: &str, domain: &str) -> Result<Record, String> {
    let mut record = Record::default();
    let mut redirect = None;
    for word in text.split(' ').skip(1).filter(|word| !word.is_empty()) {
        if let Some((name, value)) = modifier(word) {
            match name.to_ascii_lowercase().as_str() {
                "redirect" if redirect.is_some() || !is_domain(value) => {
                    return Err(word.to_owned());
                }
                "redirect" => redirect = Some((word, value)),
                _ => (),
            }
            continue;
        }
        mechanism(word, domain, &mut record)?;
    }
    if let Some((word, value)) = redirect
        && record.all.is_none()
    {
        // RFC 7208 6.1: beside `all` a redirect is never used.
        record.redirects = true;
        record.terms.push(Term {
            text: word.to_owned(),
            ask: Ask::Record,
            name: fixed(value),
        });
    }
    Ok(record)
}

/// `name=value`, where the name is one of a modifier.
fn modifier(word: &str) -> Option<(&str, &str)> {
    let (name, value) = word.split_once('=')?;
    let good = name.starts_with(|first: char| first.is_ascii_alphabetic())
        && name
            .bytes()
            .all(|octet| octet.is_ascii_alphanumeric() || b"-_.".contains(&octet));
    good.then_some((name, value))
}

fn mechanism(word: &str, domain: &str, record: &mut Record) -> Result<(), String> {
    let wrong = || word.to_owned();
    let (qualifier, rest) = match word.chars().next() {
        Some(sign @ ('+' | '-' | '~' | '?')) => (sign, word.get(1..).unwrap_or_default()),
        _ => ('+', word),
    };
    let (name, value) = match rest.find([':', '/']) {
        Some(at) => rest.split_at(at),
        None => (rest, ""),
    };
    let given = value.strip_prefix(':');
    let ask = match name.to_ascii_lowercase().as_str() {
        "all" if value.is_empty() => {
            // What stands behind `all` is never looked at.
            record.all.get_or_insert(qualifier);
            return Ok(());
        }
        "ip4" => return address(given, false).ok_or_else(wrong),
        "ip6" => return address(given, true).ok_or_else(wrong),
        "include" => Ask::Record,
        "exists" | "a" => Ask::Addresses,
        "mx" => Ask::Exchanges,
        "ptr" => Ask::Names,
        _ => return Err(wrong()),
    };
    let own = matches!(name.to_ascii_lowercase().as_str(), "a" | "mx" | "ptr");
    let target = match given {
        Some(target) => host(target, own).ok_or_else(wrong)?,
        None if own && is_mask(value) => domain,
        None => return Err(wrong()),
    };
    if record.all.is_none() {
        record.terms.push(Term {
            text: word.to_owned(),
            ask,
            name: fixed(target),
        });
    }
    Ok(())
}

/// The name before a mask of `a` and `mx`.
fn host(target: &str, masked: bool) -> Option<&str> {
    // A slash may stand inside a macro; a mask is at the end.
    let plain = !target.contains('%');
    let (name, mask) = match target.find('/') {
        Some(at) if plain => target.split_at(at),
        _ => (target, ""),
    };
    let good = is_domain(name) && (mask.is_empty() || masked && is_mask(mask));
    good.then_some(name)
}

/// Whether a text is a domain as a term may give it: its last label has a dot before it and is no number, or a macro ends it
/// (RFC 7208 7.1, `domain-spec`).
fn is_domain(text: &str) -> bool {
    let visible = text.bytes().all(|octet| octet.is_ascii_graphic());
    let macro_ends_it = ["}", "%%", "%_", "%-"]
        .iter()
        .any(|end| text.ends_with(end) && text.contains('%'));
    let label = text.strip_suffix('.').unwrap_or(text).rsplit_once('.');
    visible && (macro_ends_it || label.is_some_and(|(_, last)| is_top_label(last)))
}

/// Letters, digits and hyphens, not digits alone, no hyphen at an end (RFC 7208 7.1, `toplabel`).
fn is_top_label(label: &str) -> bool {
    let known = |octet: u8| octet.is_ascii_alphanumeric() || octet == b'-';
    !label.is_empty()
        && label.bytes().all(known)
        && label.bytes().any(|octet| !octet.is_ascii_digit())
        && !label.starts_with('-')
        && !label.ends_with('-')
}

/// Nothing, `/24`, `//64` or `/24//64`.
fn is_mask(text: &str) -> bool {
    let number = |text: &str, most: u8| {
        !text.is_empty() && text.parse::<u8>().is_ok_and(|bits| bits <= most)
    };
    if text.is_empty() {
        return true;
    }
    let Some(rest) = text.strip_prefix('/') else {
        return false;
    };
    if let Some(six) = rest.strip_prefix('/') {
        return number(six, 128);
    }
    match rest.split_once("//") {
        Some((four, six)) => number(four, 32) && number(six, 128),
        None => number(rest, 32),
    }
}

fn address(value: Option<&str>, six: bool) -> Option<()> {
    let (address, bits) = match value?.split_once('/') {
        Some((address, bits)) => (address, Some(bits)),
        None => (value?, None),
    };
    let most = if six { 128 } else { 32 };
    let good = if six {
        address.parse::<std::net::Ipv6Addr>().is_ok()
    } else {
        address.parse::<std::net::Ipv4Addr>().is_ok()
    };
    let bits = bits.is_none_or(|bits| bits.parse::<u8>().is_ok_and(|bits| bits <= most));
    (good && bits).then_some(())
}

/// A name that does not depend on the message.
fn fixed(name: &str) -> Option<String> {
    (!name.contains('%')).then(|| name.trim_end_matches('.').to_ascii_lowercase())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_is_known_by_its_first_word() {
        assert!(is_record("v=spf1"));
        assert!(is_record("V=SPF1 -all"));
        assert!(!is_record("v=spf10 -all"));
        assert!(!is_record("v=spf"));
    }

    #[test]
    fn what_costs_a_lookup_is_found_and_nothing_behind_all() {
        let text = "v=spf1 a mx/24 a:mail.e.test/24//64 ip4:192.0.2.0/24 ip6:2001:db8::/32 include:_spf.e.test exists:%{i}.e.test ~all mx:x.test";
        let record = read(text, "e.test").unwrap();
        let asked: Vec<(&str, Ask, Option<&str>)> = record
            .terms
            .iter()
            .map(|it| (it.text.as_str(), it.ask, it.name.as_deref()))
            .collect();
        assert_eq!(
            asked,
            [
                ("a", Ask::Addresses, Some("e.test")),
                ("mx/24", Ask::Exchanges, Some("e.test")),
                ("a:mail.e.test/24//64", Ask::Addresses, Some("mail.e.test")),
                ("include:_spf.e.test", Ask::Record, Some("_spf.e.test")),
                ("exists:%{i}.e.test", Ask::Addresses, None),
            ]
        );
        assert_eq!((record.all, record.redirects), (Some('~'), false));
        let redirect = read("v=spf1 redirect=_spf.e.test", "e.test").unwrap();
        assert!(redirect.redirects && redirect.terms.len() == 1);
        let moot = read("v=spf1 redirect=_spf.e.test -all", "e.test").unwrap();
        assert!(!moot.redirects && moot.terms.is_empty());
    }

    #[test]
    fn mistakes_are_named() {
        for word in [
            "ipv4:192.0.2.1",
            "ip4:192.0.2.256",
            "ip4:192.0.2.0/33",
            "ip6:192.0.2.1",
            "include",
            "include:",
            "exists",
            "a:x.test/99",
            "all:x",
            "-al",
            "mx/x",
            "redirect=",
            "redirect=.",
            "a:.",
            "a:..",
            "mx:localhost",
            "include:x.1",
            "exists:x.-y",
            "a:%{i}.test\u{1}",
            "a:\u{e9}.test",
        ] {
            let said = read(&format!("v=spf1 {word} -all"), "e.test");
            assert_eq!(said, Err(word.to_owned()));
        }
        for word in [
            "a:x.test.",
            "a:x.1a",
            "exists:%{i}",
            "include:_x.xn--p1ai",
            "mx:x%%",
        ] {
            assert!(
                read(&format!("v=spf1 {word} -all"), "e.test").is_ok(),
                "{word}"
            );
        }
        // Unknown modifiers are passed over (RFC 7208 6).
        assert!(read("v=spf1 exp=x.test future=1 -all", "e.test").is_ok());
    }
}
