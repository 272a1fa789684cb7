//! What Postfix knows, by version: `parameters.tsv`.

use std::collections::HashMap;
use std::sync::LazyLock;

use super::super::Version;

/// One parameter.
#[derive(Debug, PartialEq, Eq)]
pub struct Parameter {
    /// Its name.
    pub name: &'static str,
    /// The first version that knows it; none: older than 2.0.
    pub since: Option<Version>,
    /// The version from which it is deprecated.
    pub deprecated: Option<Version>,
    /// What stands in its place; none: nothing needs to.
    pub instead: Option<&'static str>,
    /// The documented default, not expanded; empty where it depends on the machine or the version.
    pub default: &'static str,
}

/// The newest version the table knows.
pub const NEWEST: Version = Version(3, 11);

/// Endings of parameters that are named after a transport of master.cf.
pub(super) const SUFFIXES: &[&str] = &[
    "_delivery_slot_cost",
    "_delivery_slot_discount",
    "_delivery_slot_loan",
    "_destination_concurrency_failed_cohort_limit",
    "_destination_concurrency_limit",
    "_destination_concurrency_negative_feedback",
    "_destination_concurrency_positive_feedback",
    "_destination_rate_delay",
    "_destination_recipient_limit",
    "_extra_recipient_limit",
    "_initial_destination_concurrency",
    "_minimum_delivery_slots",
    "_recipient_limit",
    "_recipient_refill_delay",
    "_recipient_refill_limit",
    "_time_limit",
    "_transport_rate_delay",
];

static TABLE: LazyLock<HashMap<&'static str, Parameter>> = LazyLock::new(|| {
    include_str!("parameters.tsv")
        .lines()
        .filter(|line| !line.starts_with('#'))
        .filter_map(row)
        .map(|parameter| (parameter.name, parameter))
        .collect()
});

fn row(line: &'static str) -> Option<Parameter> {
    let mut cells = line.split('\t');
    let name = cells.next().filter(|name| !name.is_empty())?;
    let since = Version::parse(cells.next()?);
    let deprecated = Version::parse(cells.next()?);
    let instead = cells.next()?;
    Some(Parameter {
        name,
        since,
        deprecated,
        instead: Some(instead).filter(|it| !it.is_empty() && *it != "-"),
        default: cells.next()?,
    })
}

/// The parameter of this name.
#[must_use]
pub fn find(name: &str) -> Option<&'static Parameter> {
    TABLE.get(name)
}

/// Every name.
pub fn names() -> impl Iterator<Item = &'static str> {
    TABLE.keys().copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_row_is_read() {
        let rows = include_str!("parameters.tsv").lines();
        assert_eq!(
            TABLE.len(),
            rows.filter(|row| !row.starts_with('#')).count()
        );
        let use_tls = find("smtpd_use_tls").unwrap();
        assert_eq!(use_tls.deprecated, Some(Version(3, 9)));
        assert_eq!(use_tls.instead, Some("smtpd_tls_security_level"));
        assert_eq!(
            find("smtpd_tls_chain_files").unwrap().since,
            Some(Version(3, 4))
        );
        // [CFG-PF-01] Postfix has none of these.
        assert!(names().all(|name| !name.starts_with("imap_") && !name.starts_with("pop3_")));
    }

    #[test]
    fn what_stands_in_the_place_of_a_parameter_is_one() {
        for parameter in TABLE.values() {
            if let Some(instead) = parameter.instead {
                assert!(find(instead).is_some(), "{}: {instead}", parameter.name);
            }
        }
    }
}
