//! Names that are nearly right.

/// Edits (insert, remove, replace) between two texts, or none when there are more than `most`.
fn distance(left: &[u8], right: &[u8], most: usize) -> Option<usize> {
    if left.len().abs_diff(right.len()) > most {
        return None;
    }
    let mut row: Vec<usize> = (0..=right.len()).collect();
    for (i, l) in left.iter().enumerate() {
        let mut diagonal = i;
        let mut before = i + 1;
        for (cell, r) in row.iter_mut().skip(1).zip(right) {
            let replaced = diagonal + usize::from(l != r);
            diagonal = *cell;
            *cell = replaced.min(diagonal + 1).min(before + 1);
            before = *cell;
        }
        if let Some(first) = row.first_mut() {
            *first = i + 1;
        }
        if row.iter().min().is_some_and(|least| *least > most) {
            return None;
        }
    }
    row.last().copied().filter(|edits| *edits <= most)
}

/// The name nearest to a misspelt one, if any is near: at most three edits, and no more than a quarter of its length.
pub fn nearest<'a>(name: &str, known: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let most = (name.len() / 4).clamp(1, 3);
    if name.len() > 80 {
        return None;
    }
    known
        .filter_map(|it| Some((distance(name.as_bytes(), it.as_bytes(), most)?, it)))
        .min()
        .map(|(_, it)| it)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn near_is_found_and_far_is_not() {
        let known = ["smtpd_tls_auth_only", "smtpd_tls_cert_file", "ssl"];
        let find = |name| nearest(name, known.iter().copied());
        assert_eq!(find("smtpd_tls_auth_onyl"), Some("smtpd_tls_auth_only"));
        assert_eq!(find("smtp_tls_cert_file"), Some("smtpd_tls_cert_file"));
        assert_eq!(find("ssk"), Some("ssl"));
        assert_eq!(find("completely_different"), None);
        assert_eq!(find(&"x".repeat(100_000)), None);
    }
}
