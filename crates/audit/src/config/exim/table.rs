//! The options of Exim's main section: `options.tsv`.

use std::collections::HashMap;
use std::sync::LazyLock;

/// One option.
#[derive(Debug, PartialEq, Eq)]
pub struct Known {
    /// Its name.
    pub name: &'static str,
    /// A switch: it may stand alone, and with `no_` or `not_` before it.
    pub switch: bool,
}

static TABLE: LazyLock<HashMap<&'static str, Known>> = LazyLock::new(|| {
    let rows = include_str!("options.tsv").lines();
    rows.filter(|row| !row.starts_with('#'))
        .filter_map(|row| row.split_once('\t'))
        .map(|(name, kind)| {
            (
                name,
                Known {
                    name,
                    switch: kind == "bool",
                },
            )
        })
        .collect()
});

/// The option of this name.
#[must_use]
pub fn find(name: &str) -> Option<&'static Known> {
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
        let rows = include_str!("options.tsv").lines();
        assert_eq!(
            TABLE.len(),
            rows.filter(|row| !row.starts_with('#')).count()
        );
        assert!(find("tls_advertise_hosts").is_some() && find("drop_cr").unwrap().switch);
    }
}
