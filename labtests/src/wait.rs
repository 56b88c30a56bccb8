//! Waiting for what the other side will do in its own time, without guessing how long it takes.

use std::fmt::Display;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};

/// Between two looks.
const POLL: Duration = Duration::from_millis(25);

/// Looks until `probe` gives a value, and returns it. Fails after `within`, with what the last look saw.
pub fn eventually<T, E: Display>(within: Duration, what: &str, mut probe: impl FnMut() -> Result<T, E>) -> Result<T> {
    let start = Instant::now();
    loop {
        let last = match probe() {
            Ok(value) => return Ok(value),
            Err(last) => last,
        };
        if start.elapsed() >= within {
            bail!("not within {within:?}: {what}; last seen: {last:#}");
        }
        std::thread::sleep(POLL);
    }
}

/// Looks again and again for the whole of `period`; fails at the first look that finds something else.
pub fn throughout<T, E: Display>(period: Duration, what: &str, mut probe: impl FnMut() -> Result<T, E>) -> Result<()> {
    let start = Instant::now();
    loop {
        if let Err(seen) = probe() {
            bail!("after {:?}, no longer: {what}; seen: {seen:#}", start.elapsed());
        }
        if start.elapsed() >= period {
            return Ok(());
        }
        std::thread::sleep(POLL);
    }
}

/// Turns a condition into what [`eventually`] asks for: `seen` is told when it does not hold.
pub fn check(holds: bool, seen: impl Display) -> Result<(), String> {
    if holds { Ok(()) } else { Err(seen.to_string()) }
}
