//! The files a log was rotated into: `mail.log.1`, `mail.log.2.gz`, `mail.log-20261126`, the oldest first.

use std::cmp::Reverse;
use std::io;
use std::path::{Path, PathBuf};

/// The files beside a log that hold what it held before.
pub(super) fn beside(path: &Path) -> io::Result<Vec<PathBuf>> {
    let Some(name) = path.file_name().and_then(|it| it.to_str()) else {
        return Ok(Vec::new());
    };
    let folder = match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    };
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder)? {
        let entry = entry?;
        if let Some(age) = entry.file_name().to_str().and_then(|it| age(it, name)) {
            found.push((age, folder.join(entry.file_name())));
        }
    }
    found.sort();
    Ok(found.into_iter().map(|it| it.1).collect())
}

/// What sorts older files before younger ones: dates go up, numbers go down.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Age {
    Dated(u64),
    Numbered(Reverse<u64>),
}

fn age(candidate: &str, name: &str) -> Option<Age> {
    let rest = candidate.strip_prefix(name)?;
    let rest = rest
        .strip_suffix(".gz")
        .or_else(|| rest.strip_suffix(".zst"))
        .unwrap_or(rest);
    let digits = |it: &str| {
        let is_number =
            !it.is_empty() && it.len() <= 14 && it.bytes().all(|it| it.is_ascii_digit());
        is_number.then(|| it.parse::<u64>().ok()).flatten()
    };
    if let Some(number) = rest.strip_prefix('.') {
        return digits(number).map(|it| Age::Numbered(Reverse(it)));
    }
    digits(rest.strip_prefix('-')?).map(Age::Dated)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_first_and_nothing_else() {
        let folder = tempfile::tempdir().unwrap();
        for name in [
            "mail.log",
            "mail.log.1",
            "mail.log.2.gz",
            "mail.log.10.zst",
            "mail.log-20261125",
            "mail.log-20261124.gz",
            "mail.log.bak",
            "mail.log-",
            "mail.log.",
            "mail.logs.1",
            "xmail.log.1",
        ] {
            std::fs::write(folder.path().join(name), "").unwrap();
        }
        let found = beside(&folder.path().join("mail.log")).unwrap();
        let names: Vec<&str> = found
            .iter()
            .filter_map(|it| it.file_name()?.to_str())
            .collect();
        assert_eq!(
            names,
            [
                "mail.log-20261124.gz",
                "mail.log-20261125",
                "mail.log.10.zst",
                "mail.log.2.gz",
                "mail.log.1"
            ]
        );
    }
}
