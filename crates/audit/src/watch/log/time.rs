//! Times as logs write them. Digits are read where they must stand: a line has one, so this must cost next to nothing.

/// RFC 3339, to the second, in nanoseconds since 1970.
pub(super) fn iso_time(text: &str) -> Option<u64> {
    let octets = text.as_bytes();
    (octets.get(10) == Some(&b'T')).then_some(())?;
    let local = civil_time(octets.get(..10)?, octets.get(11..19)?)?;
    let mut rest = octets.get(19..)?;
    if let [b'.', digits @ ..] = rest {
        let end = digits.iter().position(|it| !it.is_ascii_digit());
        rest = digits.get(end.unwrap_or(digits.len())..)?;
    }
    let (sign, zone) = match rest {
        [] | [b'Z'] => (0, rest),
        [b'+', zone @ ..] => (1, zone),
        [b'-', zone @ ..] => (-1, zone),
        _ => return None,
    };
    let (hours, minutes) = match zone {
        [a, b, b':', c, d] | [a, b, c, d] => (number(&[*a, *b])?, number(&[*c, *d])?),
        [a, b] if sign != 0 => (number(&[*a, *b])?, 0),
        _ if sign == 0 => (0, 0),
        _ => return None,
    };
    nanoseconds(local - sign * (hours * 3600 + minutes * 60))
}

/// Seconds since 1970 in nanoseconds.
pub(super) fn nanoseconds(seconds: i64) -> Option<u64> {
    u64::try_from(seconds).ok()?.checked_mul(1_000_000_000)
}

fn number(digits: &[u8]) -> Option<i64> {
    digits.iter().try_fold(0, |sum, it| {
        it.is_ascii_digit().then(|| sum * 10 + i64::from(it - b'0'))
    })
}

/// `2026-11-26` and `18:00:00` in seconds since 1970.
pub(super) fn civil_time(date: &[u8], clock: &[u8]) -> Option<i64> {
    let &[y1, y2, y3, y4, b'-', m1, m2, b'-', d1, d2] = date else {
        return None;
    };
    let &[h1, h2, b':', n1, n2, b':', s1, s2] = clock else {
        return None;
    };
    let (year, month, day) = (
        number(&[y1, y2, y3, y4])?,
        number(&[m1, m2])?,
        number(&[d1, d2])?,
    );
    let (hour, minute, second) = (number(&[h1, h2])?, number(&[n1, n2])?, number(&[s1, s2])?);
    let fits = (1970..3000).contains(&year) && (1..=12).contains(&month) && (1..=31).contains(&day);
    fits.then_some(())?;
    // Days since 1970 by the same rule that writes dates.
    let (year, month) = if month > 2 {
        (year, month - 3)
    } else {
        (year - 1, month + 9)
    };
    let (era, year_of_era) = (year / 400, year % 400);
    let day_of_year = (153 * month + 2) / 5 + day - 1;
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    let days = era * 146_097 + day_of_era - 719_468;
    Some(days * 86_400 + hour * 3600 + minute * 60 + second)
}
