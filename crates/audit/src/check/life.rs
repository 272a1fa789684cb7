//! How long a certificate lives. A warning a fixed number of days before the end is too late for one that lives a year and too early for
//! one that lives six days: here it is due when a third of the life is left, which is when automatic renewal has had its chance.

use std::time::{SystemTime, UNIX_EPOCH};

use gatepost_trust::cert::{Description, describe};

use super::facts::{Facts, certificates};

/// The life of the certificate a service showed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Life {
    /// The service.
    pub subject: String,
    /// Its first second, since 1970.
    pub from: u64,
    /// Its last second, since 1970.
    pub to: u64,
}

impl Life {
    /// Of the certificate these facts hold, if they hold one that can be read.
    #[must_use]
    pub fn of(facts: &Facts) -> Option<Self> {
        let leaf = leaf(facts)?;
        Some(Self {
            subject: facts.target.to_string(),
            from: seconds(leaf.not_before),
            to: seconds(leaf.not_after),
        })
    }

    /// From when on it should have been renewed: a third of its life is left.
    #[must_use]
    pub const fn due(&self) -> u64 {
        self.to
            .saturating_sub(self.to.saturating_sub(self.from) / 3)
    }

    /// What is to be said of it now; nothing while there is time.
    #[must_use]
    pub fn alarm(&self, now: u64) -> Option<String> {
        let days = |seconds: u64| seconds / 86_400;
        let whole = days(self.to.saturating_sub(self.from));
        if now > self.to {
            Some(format!(
                "the certificate ended {} days ago",
                days(now - self.to)
            ))
        } else if now >= self.due() {
            Some(format!(
                "the certificate ends in {} days: less than a third of its {whole} days is left, and it was not renewed",
                days(self.to - now)
            ))
        } else {
            None
        }
    }
}

/// What the server's own certificate says, by the full handshake.
#[must_use]
pub fn leaf(facts: &Facts) -> Option<Description> {
    let chain = certificates(&facts.handshake.known()?.chain);
    describe(chain.first()?).ok()
}

/// Seconds since 1970; 0 for what lies before.
#[must_use]
pub fn seconds(time: SystemTime) -> u64 {
    time.duration_since(UNIX_EPOCH).map_or(0, |it| it.as_secs())
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY: u64 = 86_400;

    fn life(days: u64) -> Life {
        Life {
            subject: "x".to_owned(),
            from: 1000 * DAY,
            to: (1000 + days) * DAY,
        }
    }

    #[test]
    fn the_alarm_is_scaled_to_the_life() {
        // 90 days: at 60, as with the usual renewal; 6 days: at 4; a year: at 243.
        for (days, due) in [(90, 60), (6, 4), (365, 244)] {
            let life = life(days);
            assert_eq!(life.alarm((1000 + due) * DAY - DAY), None, "{days}");
            assert!(life.alarm((1000 + due) * DAY).is_some(), "{days}");
        }
    }

    #[test]
    fn what_is_over_is_over() {
        assert!(
            life(90)
                .alarm(1092 * DAY)
                .unwrap()
                .contains("ended 2 days ago")
        );
        assert_eq!(life(90).alarm(1000 * DAY), None);
    }
}
