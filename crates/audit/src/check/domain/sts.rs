//! The two texts of MTA-STS, as an auditor reads them: what a sender takes from them, and what it passes over in silence.

use gatepost_trust::mta_sts::{RecordError, find_record};

use super::facts::Told;

/// The keys of a policy (RFC 8461 3.2).
const KEYS: [&str; 4] = ["version", "mode", "max_age", "mx"];

/// The id of the record, where there is one that counts.
pub(super) fn id(record: &Told<String>) -> Option<String> {
    read(record).ok().flatten()
}

/// The id, as senders read it [STS-01].
pub(super) fn read(record: &Told<String>) -> Result<Option<String>, RecordError> {
    let texts: Vec<Vec<u8>> = record
        .records
        .iter()
        .map(|text| text.clone().into_bytes())
        .collect();
    Ok(find_record(&texts)?.map(|id| id.as_str().to_owned()))
}

/// What senders pass over, though somebody meant something by it.
pub(super) fn oddities(body: &str) -> Vec<String> {
    let mut odd = Vec::new();
    let mut seen: Vec<&str> = Vec::new();
    for line in body.lines() {
        let Some((key, value)) = line.split_once(':') else {
            continue;
        };
        let (key, value) = (key.trim(), value.trim());
        if !KEYS.contains(&key) {
            odd.push(match near(key) {
                Some(meant) => format!("{key:?} is not known and passed over; {meant:?} is meant?"),
                None => format!("{key:?} is not known and passed over"),
            });
        } else if key != "mx" && seen.contains(&key) {
            odd.push(format!("{key} stands twice; the first counts"));
        } else if key == "mx" && value.parse::<std::net::IpAddr>().is_ok() {
            odd.push(format!("mx: {value} is an address; policies name hosts"));
        } else if key == "mx" && value.ends_with('.') {
            odd.push(format!(
                "mx: {value} ends in a dot, which some senders do not match"
            ));
        }
        seen.push(key);
    }
    odd
}

/// A key that differs by case, or by one letter too many, too few or wrong.
fn near(key: &str) -> Option<&'static str> {
    let lower = key.to_ascii_lowercase();
    KEYS.into_iter().find(|known| distance(&lower, known) <= 1)
}

/// 0, 1, or more than 1.
fn distance(left: &str, right: &str) -> usize {
    let (left, right) = (left.as_bytes(), right.as_bytes());
    let front = left.iter().zip(right).take_while(|(a, b)| a == b).count();
    let (left, right) = (left.get(front..), right.get(front..));
    let (left, right) = (left.unwrap_or_default(), right.unwrap_or_default());
    let back = left.iter().rev().zip(right.iter().rev());
    let back = back.take_while(|(a, b)| a == b).count();
    left.len().max(right.len()) - back
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slips_of_the_pen_are_named() {
        let odd = |body: &str| oddities(body).join("; ");
        assert_eq!(odd("version: STSv1\r\nmode: none\r\nmax_age: 1\r\n"), "");
        assert!(odd("nmx: a.test").contains("\"mx\" is meant"));
        assert!(odd("Mode: enforce").contains("\"mode\" is meant"));
        assert!(odd("max-age: 1").contains("\"max_age\" is meant"));
        assert!(!odd("extension: 1").contains("meant"));
        assert!(odd("mode: none\nmode: enforce").contains("twice"));
        assert!(odd("mx: 192.0.2.1").contains("address"));
        assert!(odd("mx: a.test.").contains("dot"));
    }

    #[test]
    fn distance_counts_one_edit() {
        for (left, right, edits) in [
            ("mx", "mx", 0),
            ("nmx", "mx", 1),
            ("m", "mx", 1),
            ("mz", "mx", 1),
        ] {
            assert_eq!(distance(left, right), edits, "{left} {right}");
        }
        assert!(distance("host", "mx") > 1);
    }
}
