//! Dates as Calico writes them, from nanoseconds since the Unix epoch; the proleptic Gregorian calendar, always UTC.

use crate::UnixNanos;

const NANOS: u64 = 1_000_000_000;
const DAY: u64 = 86_400;

/// `2026-11-22T15:10:27Z`, as in claim times and `releasedAt`: RFC 3339, whole seconds.
#[must_use]
pub fn rfc3339(wall: UnixNanos) -> String {
    let t = Civil::of(wall / NANOS);
    format!("{:04}-{:02}-{:02}T{:02}:{:02}:{:02}Z", t.year, t.month, t.day, t.hour, t.minute, t.second)
}

/// `2026-11-22 15:10:27.209095652 +0000 UTC`, as in the attributes of allocations: what Go's `Time.String` prints, which
/// drops trailing zeros of the fraction, and the fraction when it is zero.
#[must_use]
pub fn go_string(wall: UnixNanos) -> String {
    let t = Civil::of(wall / NANOS);
    let fraction = match wall % NANOS {
        0 => String::new(),
        nanos => format!(".{nanos:09}").trim_end_matches('0').to_owned(),
    };
    format!(
        "{:04}-{:02}-{:02} {:02}:{:02}:{:02}{fraction} +0000 UTC",
        t.year, t.month, t.day, t.hour, t.minute, t.second
    )
}

/// Reads an RFC 3339 date, with or without a fraction, in any offset. `None` for anything else, or before 1970.
#[must_use]
pub fn parse_rfc3339(text: &str) -> Option<UnixNanos> {
    let number = |from: usize, to: usize| -> Option<u64> {
        let digits = text.get(from..to)?;
        if digits.bytes().all(|b| b.is_ascii_digit()) { digits.parse().ok() } else { None }
    };
    let separators = [(4, b'-'), (7, b'-'), (13, b':'), (16, b':')];
    if separators.iter().any(|(at, b)| text.as_bytes().get(*at) != Some(b))
        || !matches!(text.as_bytes().get(10)?, b'T' | b't')
    {
        return None;
    }
    let (year, month, day) = (number(0, 4)?, number(5, 7)?, number(8, 10)?);
    let (hour, minute, second) = (number(11, 13)?, number(14, 16)?, number(17, 19)?);
    if !(1..=12).contains(&month) || !(1..=31).contains(&day) || hour > 23 || minute > 59 || second > 60 || year < 1970
    {
        return None;
    }
    let rest = text.get(19..)?;
    let (nanos, offset) = match rest.strip_prefix('.') {
        None => (0, rest),
        Some(rest) => {
            let end = rest.bytes().position(|b| !b.is_ascii_digit())?;
            let (digits, offset) = rest.split_at_checked(end)?;
            if digits.is_empty() || digits.len() > 9 {
                return None;
            }
            (format!("{digits:0<9}").parse::<u64>().ok()?, offset)
        }
    };
    let seconds = days_before(year, month, day)? * DAY + hour * 3600 + minute * 60 + second;
    let seconds = match (offset.as_bytes().first()?, offset.len()) {
        (b'Z' | b'z', 1) => seconds,
        (sign @ (b'+' | b'-'), 6) if offset.as_bytes().get(3) == Some(&b':') => {
            let hours: u64 = offset.get(1..3)?.parse().ok()?;
            let minutes: u64 = offset.get(4..6)?.parse().ok()?;
            let shift = hours.checked_mul(3600)?.checked_add(minutes.checked_mul(60)?)?;
            if *sign == b'+' { seconds.checked_sub(shift)? } else { seconds.checked_add(shift)? }
        }
        _ => return None,
    };
    seconds.checked_mul(NANOS)?.checked_add(nanos)
}

struct Civil {
    year: u64,
    month: u64,
    day: u64,
    hour: u64,
    minute: u64,
    second: u64,
}

impl Civil {
    fn of(seconds: u64) -> Self {
        let (mut days, of_day) = (seconds / DAY, seconds % DAY);
        let mut year = 1970;
        // Whole cycles of 400 years first, so that the loop below is short for any input.
        year += days / 146_097 * 400;
        days %= 146_097;
        while days >= year_days(year) {
            days -= year_days(year);
            year += 1;
        }
        let mut month = 1;
        while days >= month_days(year, month) {
            days -= month_days(year, month);
            month += 1;
        }
        Self { year, month, day: days + 1, hour: of_day / 3600, minute: of_day / 60 % 60, second: of_day % 60 }
    }
}

fn days_before(year: u64, month: u64, day: u64) -> Option<u64> {
    if day > month_days(year, month) {
        return None;
    }
    let years: u64 = (1970..year).map(year_days).sum();
    let months: u64 = (1..month).map(|m| month_days(year, m)).sum();
    Some(years + months + day - 1)
}

const fn is_leap(year: u64) -> bool {
    year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400))
}

const fn year_days(year: u64) -> u64 {
    if is_leap(year) { 366 } else { 365 }
}

const fn month_days(year: u64, month: u64) -> u64 {
    match month {
        4 | 6 | 9 | 11 => 30,
        2 if is_leap(year) => 29,
        2 => 28,
        _ => 31,
    }
}

#[cfg(test)]
mod tests;
