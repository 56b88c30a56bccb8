//! Signs of life of the agent's loop, for `/healthz`, the watchdog and the metrics.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use super::clock::Clock;

/// A loop that has not turned for this long is stuck: it turns at least once a second.
const STUCK: Duration = Duration::from_secs(5);

/// Written by the loop, read by everybody.
#[derive(Debug)]
pub struct Heart {
    clock: Clock,
    last_turn: AtomicU64,
    turns: AtomicU64,
    lag: AtomicU64,
}

impl Heart {
    /// A heart that beats from now on.
    #[must_use]
    pub fn new(clock: Clock) -> Self {
        Self {
            clock,
            last_turn: AtomicU64::new(micros(clock.mono())),
            turns: AtomicU64::new(0),
            lag: AtomicU64::new(0),
        }
    }

    /// The loop turned.
    pub fn beat(&self, now: Duration) {
        self.last_turn.store(micros(now), Ordering::Relaxed);
        self.turns.fetch_add(1, Ordering::Relaxed);
    }

    /// How much later than asked the loop woke up.
    pub fn late(&self, by: Duration) {
        self.lag.store(micros(by), Ordering::Relaxed);
    }

    /// Turns of the loop so far.
    #[must_use]
    pub fn turns(&self) -> u64 {
        self.turns.load(Ordering::Relaxed)
    }

    /// How late the loop was at its last regular wake-up.
    #[must_use]
    pub fn lag(&self) -> Duration {
        Duration::from_micros(self.lag.load(Ordering::Relaxed))
    }

    /// Start of the process's clock.
    #[must_use]
    pub const fn clock(&self) -> &Clock {
        &self.clock
    }

    /// # Errors
    /// For how long the loop has been stuck.
    pub fn check(&self) -> Result<(), Duration> {
        let silent = self.clock.mono().saturating_sub(Duration::from_micros(self.last_turn.load(Ordering::Relaxed)));
        if silent < STUCK { Ok(()) } else { Err(silent) }
    }
}

fn micros(d: Duration) -> u64 {
    u64::try_from(d.as_micros()).unwrap_or(u64::MAX)
}
