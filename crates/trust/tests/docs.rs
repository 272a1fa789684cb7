//! The page on refusals names every reason there is, and no other.

use std::collections::BTreeSet;

/// Labels such as `E-CERT-NAME` in a text, between the given marks.
fn labels(text: &str, mark: char) -> BTreeSet<&str> {
    let parts = text.split(mark);
    let is_label = |it: &&str| {
        let rest = it.strip_prefix("E-");
        rest.is_some_and(|rest| rest.bytes().all(|it| it == b'-' || it.is_ascii_uppercase()))
    };
    parts.filter(is_label).collect()
}

#[test]
fn every_reason_is_documented() {
    let page = include_str!("../../../docs/verification.md");
    let source = include_str!("../src/verify/reason.rs");
    assert_eq!(labels(page, '`'), labels(source, '"'));
}
