//! Rendezvous hashing: every upstream has a score for every user, and the highest wins. When one goes, only its users move.

use aws_lc_rs::digest::{SHA256, digest};

/// The score of a place for a name; higher wins. A place of weight 2 wins twice as often as one of weight 1.
pub(super) fn score(name: &str, place: &str, weight: u32) -> f64 {
    // A length between them, so that no two pairs look alike.
    let text = format!("{}:{name}{place}", name.len());
    let hash = digest(&SHA256, text.as_bytes());
    let first = hash.as_ref().first_chunk().copied().unwrap_or_default();
    // 32 bits are exact in a float; the half keeps it off 0 and 1.
    let even = (f64::from(u32::from_be_bytes(first)) + 0.5) / 4_294_967_296.0;
    -f64::from(weight) / even.ln()
}

#[cfg(test)]
mod tests {
    use super::score;

    #[test]
    fn a_heavier_place_wins_more_often_and_scores_do_not_change() {
        let mut heavy = 0;
        for number in 0..1000 {
            let name = format!("user{number}");
            if score(&name, "b", 3) > score(&name, "a", 1) {
                heavy += 1;
            }
        }
        assert!((700..800).contains(&heavy), "{heavy}");
        // Gates of different builds must agree.
        assert!(
            (score("anna", "127.0.0.1:143", 1) - score("anna", "127.0.0.1:143", 1)).abs()
                < f64::EPSILON
        );
    }
}
