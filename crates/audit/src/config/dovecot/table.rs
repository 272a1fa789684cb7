//! What Dovecot knows, by version: `settings.tsv`.

use std::collections::HashMap;
use std::sync::LazyLock;

/// One setting.
#[derive(Debug, PartialEq, Eq)]
pub struct Known {
    /// Its name.
    pub name: &'static str,
    /// Where it is known.
    pub era: Era,
    /// What stands in its place afterwards; none: nothing.
    pub instead: Option<&'static str>,
}

/// The versions that know a setting.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Era {
    /// 2.2 alone.
    Until22,
    /// 2.3 alone.
    Only23,
    /// 2.3 and 2.4.
    Both,
    /// From 2.4 on.
    From24,
}

static TABLE: LazyLock<HashMap<&'static str, Known>> = LazyLock::new(|| {
    include_str!("settings.tsv")
        .lines()
        .filter(|line| !line.starts_with('#'))
        .filter_map(row)
        .map(|known| (known.name, known))
        .collect()
});

fn row(line: &'static str) -> Option<Known> {
    let mut cells = line.split('\t');
    Some(Known {
        name: cells.next()?,
        era: match cells.next()? {
            "2.2" => Era::Until22,
            "2.3" => Era::Only23,
            "2.3+" => Era::Both,
            "2.4+" => Era::From24,
            _ => return None,
        },
        instead: cells.next().filter(|it| !it.is_empty() && *it != "-"),
    })
}

/// The setting of this name.
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
        let rows = include_str!("settings.tsv").lines();
        assert_eq!(
            TABLE.len(),
            rows.filter(|row| !row.starts_with('#')).count()
        );
        assert_eq!(
            find("ssl_cert").unwrap().instead,
            Some("ssl_server_cert_file")
        );
        assert_eq!(find("ssl_min_protocol").unwrap().era, Era::Both);
    }
}
