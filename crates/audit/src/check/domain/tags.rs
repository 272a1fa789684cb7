//! Lists of `tag=value` with semicolons between: how DKIM, DMARC and TLS reporting write their records (RFC 6376 3.2).

/// The tags of a record in their order, white space taken away. None when a part is not `tag=value`.
pub(super) fn read(text: &str) -> Option<Vec<(&str, &str)>> {
    let mut tags = Vec::new();
    for part in text.split(';') {
        let part = part.trim();
        if part.is_empty() {
            continue;
        }
        let (name, value) = part.split_once('=')?;
        let (name, value) = (name.trim(), value.trim());
        let named = |octet: u8| octet.is_ascii_alphanumeric() || b"_-.".contains(&octet);
        if name.is_empty() || !name.bytes().all(named) {
            return None;
        }
        tags.push((name, value));
    }
    Some(tags)
}

/// The value of a tag.
pub(super) fn value<'a>(tags: &[(&'a str, &'a str)], name: &str) -> Option<&'a str> {
    tags.iter()
        .find(|(tag, _)| *tag == name)
        .map(|(_, value)| *value)
}

/// A tag that stands twice.
pub(super) fn twice<'a>(tags: &[(&'a str, &'a str)]) -> Option<&'a str> {
    tags.iter().enumerate().find_map(|(place, (tag, _))| {
        let before = tags.iter().take(place);
        before
            .clone()
            .any(|(other, _)| other == tag)
            .then_some(*tag)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tags_are_read_in_order_and_nothing_else_is() {
        let tags = read("v=DMARC1; p = reject ;rua=mailto:a@b.test?x=1;").unwrap();
        assert_eq!(
            tags,
            [
                ("v", "DMARC1"),
                ("p", "reject"),
                ("rua", "mailto:a@b.test?x=1")
            ]
        );
        assert_eq!(value(&tags, "p"), Some("reject"));
        assert_eq!(value(&tags, "sp"), None);
        assert_eq!(read("v=DMARC1; reject"), None);
        assert_eq!(read("=x"), None);
        assert_eq!(twice(&read("a=1;b=2;a=3").unwrap()), Some("a"));
        assert_eq!(twice(&tags), None);
    }
}
