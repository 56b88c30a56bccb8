//! A watch on which nothing happens: it is asked for its progress, so that it can go on from there after a break although etcd
//! compacts what was before, and so that a stream that is dead is found although nothing is sent on it.

use std::time::Duration;

use tokio::time::Instant;

use super::spread::pause;

/// How long nothing may be heard before the member is asked: 0.8 to 1.2 times this. Two answers are needed to go on from the
/// first (etcd issue 15220), and etcd is compacted every five minutes in a usual Kubernetes.
const QUIET: Duration = Duration::from_secs(75);
/// How long the answer may take.
const PATIENCE: Duration = Duration::from_secs(10);

/// What is to be done on a quiet stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Due {
    /// Ask for progress.
    Ask,
    /// Nothing came after that: the stream is dead.
    GiveUp,
}

/// When something was heard last.
#[derive(Debug)]
pub(super) struct Quiet {
    spread: u64,
    round: u64,
    until: Instant,
    asked: bool,
}

impl Quiet {
    pub(super) fn new(spread: u64, now: Instant) -> Self {
        let mut quiet = Self { spread, round: 0, until: now, asked: false };
        quiet.heard(now);
        quiet
    }

    /// Something came.
    pub(super) fn heard(&mut self, now: Instant) {
        self.round += 1;
        self.until = now + pause(self.spread, self.round, QUIET.mul_f32(0.8), QUIET.mul_f32(1.2));
        self.asked = false;
    }

    /// Until when it may stay quiet.
    pub(super) const fn until(&self) -> Instant {
        self.until
    }

    /// It was quiet until then.
    pub(super) fn due(&mut self, now: Instant) -> Due {
        if self.asked {
            return Due::GiveUp;
        }
        self.asked = true;
        self.until = now + PATIENCE;
        Due::Ask
    }
}

#[cfg(test)]
mod tests;
