//! The rule table and the code speak of the same rules: no row that nothing can ever say, no id without its row.

#![allow(clippy::unwrap_used)] // a test may fail by panicking

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use gatepost_audit::rules;

/// Where ids of findings are written: this room, and the verb that gathers what it needs.
const ROOMS: [&str; 2] = ["src", "../gatepost/src"];

/// Words in quotes that look like ids, in every source file below.
fn words(folder: &Path, found: &mut BTreeSet<String>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            words(&path, found);
        } else if path.extension().is_some_and(|it| it == "rs") {
            let text = fs::read_to_string(&path).unwrap();
            let quoted = text.split('"').filter(|it| is_id(it));
            found.extend(quoted.map(str::to_owned));
        }
    }
}

/// `STLS-001`, `CIPH-kRSA`, `PF-LEVEL-MAY`, `W304`.
fn is_id(word: &str) -> bool {
    let ascii = word
        .bytes()
        .all(|it| it.is_ascii_alphanumeric() || it == b'-');
    let watched = word.len() == 4
        && word.starts_with('W')
        && word.bytes().skip(1).all(|it| it.is_ascii_digit());
    watched || (ascii && prefix(word).is_some())
}

/// The letters before the first hyphen, where they are those of a rule.
fn prefix(word: &str) -> Option<&str> {
    let (prefix, rest) = word.split_once('-')?;
    let known = rules::all()
        .iter()
        .filter_map(|it| it.id.split_once('-'))
        .any(|(known, _)| known == prefix);
    let shaped = rest.bytes().next()?.is_ascii_alphanumeric();
    (known && shaped).then_some(prefix)
}

#[test]
fn every_rule_is_said_somewhere_and_every_id_has_its_rule() {
    let mut used = BTreeSet::new();
    for room in ROOMS {
        words(&Path::new(env!("CARGO_MANIFEST_DIR")).join(room), &mut used);
    }
    let known: BTreeSet<String> = rules::all().iter().map(|it| it.id.to_owned()).collect();
    let silent: Vec<_> = known.difference(&used).collect();
    assert!(silent.is_empty(), "rules nobody says: {silent:?}");
    let nameless: Vec<_> = used.difference(&known).collect();
    assert!(nameless.is_empty(), "ids without a rule: {nameless:?}");
}

fn page(name: &str) -> String {
    let docs = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs");
    fs::read_to_string(docs.join(name)).unwrap()
}

/// What stands between backticks.
fn in_backticks(text: &str) -> impl Iterator<Item = &str> {
    text.split('`').skip(1).step_by(2)
}

#[test]
fn pages_name_rules_that_exist() {
    let known: BTreeSet<&str> = rules::all().iter().map(|it| it.id).collect();
    for name in [
        "check.md",
        "check-domain.md",
        "check-lists.md",
        "check-reports.md",
        "check-internet-nl.md",
    ] {
        let text = page(name);
        let ids: Vec<&str> = in_backticks(&text).filter(|it| is_id(it)).collect();
        let gone: Vec<_> = ids.iter().filter(|it| !known.contains(*it)).collect();
        assert!(gone.is_empty(), "{name} names rules that are not: {gone:?}");
    }
}

// [NAT-NL-01] what internet.nl's mail test asks, each with its rule here, or with the reason why there is none
#[test]
fn each_question_of_internet_nl_has_its_rule_or_a_reason() {
    let text = page("check-internet-nl.md");
    let rows = text.lines().filter(|it| it.starts_with("| "));
    let rows: Vec<Vec<&str>> = rows
        .skip(1)
        .map(|it| it.split('|').map(str::trim).collect())
        .collect();
    // 30 of IPv6, DNSSEC, forged mail, STARTTLS and DANE, six of routes, and two that came with version 1.11.
    assert_eq!(rows.len(), 38, "{rows:?}");
    let mut asked = BTreeSet::new();
    for row in rows {
        let ["", question, ours, differs, ""] = row[..] else {
            panic!("not a row of three: {row:?}");
        };
        assert!(asked.insert(question), "{question} stands twice");
        if ours == "not covered" {
            assert!(!differs.is_empty(), "{question}: no reason");
            continue;
        }
        let ids: Vec<&str> = in_backticks(ours).collect();
        assert!(!ids.is_empty(), "{question}: neither rule nor reason");
        for id in ids {
            assert!(rules::find(id).is_some(), "{question}: no rule {id}");
        }
    }
}
