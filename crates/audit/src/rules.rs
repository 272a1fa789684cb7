//! The rule table. Rules are data, so that a report, a page and a test read the same sentence. Each part of the audit keeps its own
//! rows in `rules/PART.tsv`: `id`, `severity`, `source`, `text`, and then, where there is one to give whatever the target, `fix`, and
//! the `versions` of the program the rule is about. Ids are unique over all files.

use std::collections::HashMap;
use std::sync::LazyLock;

use crate::finding::Severity;

/// One rule.
#[derive(Debug, PartialEq, Eq)]
pub struct Rule {
    /// Stable, never used again for something else.
    pub id: &'static str,
    /// How bad it is when it has something to say.
    pub severity: Severity,
    /// Where that is written.
    pub source: &'static str,
    /// What it really means, and why it matters.
    pub text: &'static str,
    /// What to do, where that is the same for every target.
    pub fix: Option<&'static str>,
    /// The versions of the program it is about, such as `Postfix 3.9`; none for all.
    pub versions: Option<&'static str>,
}

/// The rows of every part.
const FILES: &[&str] = &[
    include_str!("rules/check.tsv"),
    include_str!("rules/config.tsv"),
    include_str!("rules/watch.tsv"),
];

static TABLE: LazyLock<Vec<Rule>> = LazyLock::new(|| {
    FILES
        .iter()
        .flat_map(|file| file.lines().filter_map(row))
        .collect()
});

/// Where each rule stands. A log can have a finding in every line.
static PLACES: LazyLock<HashMap<&'static str, &'static Rule>> =
    LazyLock::new(|| TABLE.iter().map(|it| (it.id, it)).collect());

fn row(line: &'static str) -> Option<Rule> {
    if line.starts_with('#') {
        return None;
    }
    let mut cells = line.split('\t');
    let optional = |cell: Option<&'static str>| cell.filter(|text| !text.is_empty());
    Some(Rule {
        id: cells.next()?,
        severity: Severity::parse(cells.next()?)?,
        source: cells.next()?,
        text: cells.next()?,
        fix: optional(cells.next()),
        versions: optional(cells.next()),
    })
}

/// Every rule.
#[must_use]
pub fn all() -> &'static [Rule] {
    &TABLE
}

/// The rule with this id.
#[must_use]
pub fn find(id: &str) -> Option<&'static Rule> {
    PLACES.get(id).copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_row_is_a_rule() {
        let rows = FILES.iter().flat_map(|file| file.lines());
        let rows = rows.filter(|line| !line.starts_with('#') && !line.is_empty());
        assert_eq!(all().len(), rows.count());
    }

    #[test]
    fn no_id_stands_twice_and_every_rule_has_words_and_a_source() {
        let mut seen = std::collections::HashSet::new();
        for rule in all() {
            assert!(seen.insert(rule.id), "{} stands twice", rule.id);
            assert!(
                !rule.source.is_empty() && !rule.text.is_empty(),
                "{}",
                rule.id
            );
        }
    }
}
