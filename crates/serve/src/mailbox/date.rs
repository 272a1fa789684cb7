//! The wall clock, and dates as mail writes them (RFC 5322 3.3).

use gatepost_wire::calendar::civil;
use std::time::{SystemTime, UNIX_EPOCH};

use gatepost_wire::imap::ask::InternalDate;

/// Seconds of a day.
pub const DAY: i64 = 86_400;

/// The time now, in UTC. Before 1970 the clock is wrong anyway: then it is 1970.
pub fn now() -> InternalDate {
    let since = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    InternalDate {
        unix: i64::try_from(since.as_secs()).unwrap_or_default(),
        offset_minutes: 0,
    }
}

/// A date-time with numeric offset, such as `Mon, 23 Nov 2026 17:05:00 +0000`.
pub fn rfc5322(date: InternalDate) -> String {
    const DAYS: [&str; 7] = ["Thu", "Fri", "Sat", "Sun", "Mon", "Tue", "Wed"];
    const MONTHS: [&str; 12] = [
        "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec",
    ];
    let offset = i64::from(date.offset_minutes);
    let local = date.unix.saturating_add(offset * 60);
    let (days, second) = (local.div_euclid(DAY), local.rem_euclid(DAY));
    let (year, month, day) = civil(days);
    let name = |names: &[&'static str], index: i64| {
        usize::try_from(index)
            .ok()
            .and_then(|at| names.get(at).copied())
            .unwrap_or("")
    };
    format!(
        "{}, {day} {} {year:04} {:02}:{:02}:{:02} {}{:02}{:02}",
        name(&DAYS, days.rem_euclid(7)),
        name(&MONTHS, month - 1),
        second / 3_600,
        second / 60 % 60,
        second % 60,
        if offset < 0 { '-' } else { '+' },
        offset.abs() / 60,
        offset.abs() % 60,
    )
}

/// Days from 1970-01-01 to a day of the calendar; the other way of [`civil`].
pub fn days(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let year_of_era = year.rem_euclid(400);
    let shifted_month = (month + 9) % 12;
    let day_of_year = (153 * shifted_month + 2) / 5 + day - 1;
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    era * 146_097 + day_of_era - 719_468
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_dates() {
        let at = |unix, offset_minutes| {
            rfc5322(InternalDate {
                unix,
                offset_minutes,
            })
        };
        assert_eq!(at(0, 0), "Thu, 1 Jan 1970 00:00:00 +0000");
        assert_eq!(at(951_782_400, 0), "Tue, 29 Feb 2000 00:00:00 +0000");
        assert_eq!(at(837_595_405, -420), "Wed, 17 Jul 1996 02:23:25 -0700");
        assert_eq!(at(-1, 330), "Thu, 1 Jan 1970 05:29:59 +0530");
    }

    #[test]
    fn calendar_both_ways() {
        for day in -200_000..200_000 {
            let (year, month, of_month) = civil(day);
            assert_eq!(days(year, month, of_month), day);
        }
    }
}
