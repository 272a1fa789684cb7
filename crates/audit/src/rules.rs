//! The rule table. Rules are data, so that a report, a page and a test read the same sentence.

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
    /// What the line really means.
    pub text: &'static str,
}

static TABLE: LazyLock<Vec<Rule>> =
    LazyLock::new(|| include_str!("rules.tsv").lines().filter_map(row).collect());

fn row(line: &'static str) -> Option<Rule> {
    let mut cells = line.split('\t');
    Some(Rule {
        id: cells.next()?,
        severity: Severity::parse(cells.next()?)?,
        source: cells.next()?,
        text: cells.next()?,
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
    TABLE.iter().find(|rule| rule.id == id)
}

#[cfg(test)]
mod tests {
    #[test]
    fn every_row_is_a_rule() {
        assert_eq!(
            super::all().len() + 1,
            include_str!("rules.tsv").lines().count()
        );
    }
}
