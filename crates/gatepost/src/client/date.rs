//! Dates as mail writes them. In UTC: where the user is is nobody's business.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use gatepost_wire::calendar::civil;

const DAYS: [&str; 7] = ["Thu", "Fri", "Sat", "Sun", "Mon", "Tue", "Wed"];
const MONTHS: [&str; 12] = [
    "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec",
];

struct Parts {
    weekday: &'static str,
    year: i64,
    month: i64,
    day: i64,
    second_of_day: u64,
}

fn parts(time: SystemTime) -> Parts {
    let seconds = time
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default()
        .as_secs();
    let days = seconds / 86_400;
    let (year, month, day) = civil(i64::try_from(days).unwrap_or_default());
    let weekday = usize::try_from(days % 7).map_or("Thu", |day| DAYS[day]);
    Parts {
        weekday,
        year,
        month,
        day,
        second_of_day: seconds % 86_400,
    }
}

/// The name of a month, from 1.
pub(crate) fn month_name(month: i64) -> &'static str {
    let index = usize::try_from(month - 1).unwrap_or_default();
    MONTHS.get(index).copied().unwrap_or("Jan")
}

impl Parts {
    fn clock(&self) -> String {
        let second = self.second_of_day;
        format!(
            "{:02}:{:02}:{:02}",
            second / 3600,
            second / 60 % 60,
            second % 60
        )
    }
}

/// For a Date field (RFC 5322 section 3.3).
pub(crate) fn field(time: SystemTime) -> String {
    let parts = parts(time);
    format!(
        "{}, {} {} {:04} {} +0000",
        parts.weekday,
        parts.day,
        month_name(parts.month),
        parts.year,
        parts.clock()
    )
}

/// For the separator line of an mbox file (RFC 4155), as asctime writes it.
pub(crate) fn asctime(time: SystemTime) -> String {
    let parts = parts(time);
    format!(
        "{} {} {:>2} {} {:04}",
        parts.weekday,
        month_name(parts.month),
        parts.day,
        parts.clock(),
        parts.year
    )
}

/// As RFC 3339 writes it.
pub(crate) fn rfc3339(time: SystemTime) -> String {
    let parts = parts(time);
    format!(
        "{:04}-{:02}-{:02}T{}Z",
        parts.year,
        parts.month,
        parts.day,
        parts.clock()
    )
}

/// A day as IMAP's SEARCH wants it: `2026-11-26` becomes `26-Nov-2026`.
pub(crate) fn imap_day(text: &str) -> Option<String> {
    let mut numbers = text.split('-').map(|part| {
        let digits = part.bytes().all(|octet| octet.is_ascii_digit());
        digits.then(|| part.parse::<i64>().ok()).flatten()
    });
    let (year, month, day) = (numbers.next()??, numbers.next()??, numbers.next()??);
    let good = numbers.next().is_none()
        && (1970..=9999).contains(&year)
        && (1..=12).contains(&month)
        && (1..=31).contains(&day);
    good.then(|| format!("{day}-{}-{year:04}", month_name(month)))
}

/// Reads IMAP's date-time (RFC 9051 section 9): `26-Nov-2026 13:05:07 +0100`.
pub(crate) fn from_imap(text: &str) -> Option<SystemTime> {
    let mut words = text.split_ascii_whitespace();
    let (day, clock, zone) = (words.next()?, words.next()?, words.next()?);
    let mut day = day.splitn(3, '-');
    let (date, month, year) = (day.next()?, day.next()?, day.next()?);
    let month = MONTHS
        .iter()
        .position(|name| name.eq_ignore_ascii_case(month))?;
    let days = days_from_civil(
        year.parse()
            .ok()
            .filter(|year| (1970..=9999).contains(year))?,
        i64::try_from(month).ok()? + 1,
        date.parse().ok().filter(|day| (1..=31).contains(day))?,
    );
    let mut clock = clock.splitn(3, ':').map(str::parse::<i64>);
    let second = clock.next()?.ok()? * 3600 + clock.next()?.ok()? * 60 + clock.next()?.ok()?;
    let offset: i64 = zone.get(1..)?.parse().ok()?;
    let offset =
        (offset / 100 * 3600 + offset % 100 * 60) * if zone.starts_with('-') { -1 } else { 1 };
    let total = days * 86_400 + second - offset;
    u64::try_from(total)
        .ok()
        .map(|seconds| UNIX_EPOCH + Duration::from_secs(seconds))
}

/// The day number of a date: the inverse of [`civil`], found by closing in on it.
fn days_from_civil(year: i64, month: i64, day: i64) -> i64 {
    let mut days = (year - 1970) * 365 + (month - 1) * 30 + day - 1;
    // Never more than a few leap days and month ends away.
    while civil(days) < (year, month, day) {
        days += 1;
    }
    days
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_moment_in_every_form() {
        let moment = from_imap("26-Nov-2026 14:05:07 +0100").unwrap();
        assert_eq!(field(moment), "Thu, 26 Nov 2026 13:05:07 +0000");
        assert_eq!(asctime(moment), "Thu Nov 26 13:05:07 2026");
        assert_eq!(rfc3339(moment), "2026-11-26T13:05:07Z");
        assert_eq!(from_imap("26-Nov-2026 05:35:07 -0730"), Some(moment));
        assert_eq!(from_imap(" 1-Jan-1970 00:00:00 +0000"), Some(UNIX_EPOCH));
        assert_eq!(
            rfc3339(from_imap("29-feb-2024 23:59:59 +0000").unwrap()),
            "2024-02-29T23:59:59Z"
        );
        for bad in [
            "",
            "26-Nov-2026",
            "26-Foo-2026 14:05:07 +0100",
            "x-Nov-2026 14:05:07 +0100",
            "1-Jan-1960 00:00:00 +0000",
        ] {
            assert_eq!(from_imap(bad), None, "{bad}");
        }
    }

    #[test]
    fn a_day_to_search_for() {
        assert_eq!(imap_day("2026-11-06").as_deref(), Some("6-Nov-2026"));
        for bad in ["2026-13-01", "2026-1", "2026-01-01-01", "+026-01-01", "x"] {
            assert_eq!(imap_day(bad), None, "{bad}");
        }
    }
}
