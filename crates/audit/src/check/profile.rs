//! By what a service is judged: profiles are data (`profiles.tsv`), each with its source and date.
//!
//! A profile says how grave it is that something is missing, or is there; what is broken is as grave in each of them. `info` is told and not
//! counted against the service.

use crate::finding::Severity;

/// A profile.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Profile {
    /// Its name.
    pub name: &'static str,
    /// What it follows, and of when.
    pub title: &'static str,
    rows: Vec<(&'static str, &'static str)>,
}

/// The one that is taken when none is named.
pub const DEFAULT: &str = "rfc9325";

fn rows() -> impl Iterator<Item = (&'static str, &'static str, &'static str)> {
    let lines = include_str!("profiles.tsv").lines();
    lines
        .filter(|line| !line.starts_with('#'))
        .filter_map(|line| {
            let mut cells = line.split('\t');
            Some((cells.next()?, cells.next()?, cells.next()?))
        })
}

/// The names of all profiles.
#[must_use]
pub fn names() -> Vec<&'static str> {
    let titles = rows().filter(|row| row.1 == "title");
    titles.map(|row| row.0).collect()
}

impl Profile {
    /// The profile with this name.
    #[must_use]
    pub fn find(name: &str) -> Option<Self> {
        let own: Vec<_> = rows().filter(|row| row.0 == name).collect();
        let title = own.iter().find(|row| row.1 == "title")?;
        Some(Self {
            name: title.0,
            title: title.2,
            rows: own.iter().map(|row| (row.1, row.2)).collect(),
        })
    }

    fn value(&self, key: &str) -> &'static str {
        let row = self.rows.iter().find(|row| row.0 == key);
        row.map_or("", |row| row.1)
    }

    /// How grave this is; `medium` where the profile says nothing.
    pub(crate) fn severity(&self, key: &str) -> Severity {
        Severity::parse(self.value(key)).unwrap_or(Severity::Medium)
    }

    /// A number: bits.
    pub(crate) fn bits(&self, key: &str) -> usize {
        self.value(key).parse().unwrap_or(2048)
    }

    /// Whether something that is usually wanted is not to be there.
    pub(crate) fn forbids(&self, key: &str) -> bool {
        self.value(key) == "forbidden"
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_profile_says_everything() {
        let keys = [
            "tls13",
            "tls12",
            "old",
            "old-mx",
            "anon-mx",
            "krsa",
            "dhe",
            "cbc",
            "ccm8",
            "pq",
            "order",
            "order-below",
            "mx-trust",
            "mx-chain",
        ];
        assert!(names().contains(&DEFAULT));
        for name in names() {
            let profile = Profile::find(name).unwrap();
            for key in keys {
                let value = profile.value(key);
                assert!(
                    Severity::parse(value).is_some() || value == "forbidden",
                    "{name} {key} {value}"
                );
            }
            for key in ["rsa", "dh"] {
                assert!(profile.value(key).parse::<usize>().is_ok(), "{name} {key}");
            }
        }
        assert!(Profile::find("nonsense").is_none());
    }
}
