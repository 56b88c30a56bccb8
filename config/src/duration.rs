//! Durations as the configuration writes them: `"500ms"`, `"9s"`, `"1m"`, `"1h"`.

use std::time::Duration;

/// Parses a whole number with its unit.
///
/// # Errors
/// What was probably meant, if that can be guessed.
pub fn parse(text: &str) -> Result<Duration, Option<String>> {
    let digits = text.len() - text.trim_start_matches(|c: char| c.is_ascii_digit()).len();
    let (number, unit) = text.split_at(digits);
    let milliseconds = |number: &str, per: u64| number.parse::<u64>().ok().and_then(|n| n.checked_mul(per));
    if let Some(per) = milliseconds_per(unit) {
        return milliseconds(number, per).map(Duration::from_millis).ok_or(None);
    }
    // "9", "9 s", "9sec", "9 Seconds": say what they should look like.
    let word = unit.trim().to_ascii_lowercase();
    let unit = match word.as_str() {
        "" | "s" | "sec" | "secs" | "second" | "seconds" => "s",
        "ms" | "msec" | "msecs" | "millis" | "millisecond" | "milliseconds" => "ms",
        "m" | "min" | "mins" | "minute" | "minutes" => "m",
        "h" | "hr" | "hrs" | "hour" | "hours" => "h",
        _ => return Err(None),
    };
    Err(number.parse::<u32>().ok().map(|n| format!("{n}{unit}")))
}

/// The duration in the largest unit that is exact; below a millisecond is cut off.
pub(crate) fn print(duration: Duration) -> String {
    let ms = duration.as_millis();
    match [("h", 3_600_000), ("m", 60_000), ("s", 1000)].into_iter().find(|(_, per)| ms > 0 && ms.is_multiple_of(*per))
    {
        Some((unit, per)) => format!("{}{unit}", ms / per),
        None if ms == 0 => "0s".to_owned(),
        None => format!("{ms}ms"),
    }
}

fn milliseconds_per(unit: &str) -> Option<u64> {
    match unit {
        "ms" => Some(1),
        "s" => Some(1000),
        "m" => Some(60_000),
        "h" => Some(3_600_000),
        _ => None,
    }
}
