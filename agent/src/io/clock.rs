//! The only place that reads clocks.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use petiole_node::Now;

/// Both clocks of one agent, counted from its start.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    start: Instant,
    started_wall: Duration,
}

impl Clock {
    /// A clock that starts now.
    #[must_use]
    pub fn start() -> Self {
        Self { start: Instant::now(), started_wall: wall() }
    }

    /// Both clocks, read once.
    #[must_use]
    pub fn now(&self) -> Now {
        Now { mono: self.start.elapsed(), wall: u64::try_from(wall().as_nanos()).unwrap_or(u64::MAX) }
    }

    /// Time since the start.
    #[must_use]
    pub fn mono(&self) -> Duration {
        self.start.elapsed()
    }

    /// The start on the wall clock, since the Unix epoch.
    #[must_use]
    pub const fn started(&self) -> Duration {
        self.started_wall
    }

    /// The runtime's name for a point in time; a point too far to be named is a year away.
    #[must_use]
    pub fn instant(&self, mono: Duration) -> tokio::time::Instant {
        const YEAR: Duration = Duration::from_secs(365 * 24 * 3600);
        tokio::time::Instant::from_std(
            self.start.checked_add(mono.min(self.start.elapsed() + YEAR)).unwrap_or(self.start),
        )
    }
}

/// The wall clock since the Unix epoch; a clock set before it counts as the epoch itself.
#[must_use]
pub fn wall() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
}
