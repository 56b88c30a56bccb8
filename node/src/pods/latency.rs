//! How long ADD and DEL take.

use std::collections::BTreeMap;
use std::time::Duration;

use super::{CniId, CniRequest, Pods};

/// Upper bounds, in milliseconds; one more has none.
const BOUNDS: [u64; 12] = [1, 2, 5, 10, 20, 50, 100, 200, 500, 1_000, 5_000, 10_000];

/// What is measured.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) enum Command {
    Add,
    Del,
}

impl Command {
    /// Stable, for metrics.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Add => "add",
            Self::Del => "del",
        }
    }
}

/// Times of one command with one outcome.
#[derive(Clone, Debug, Default)]
pub(crate) struct Latency {
    sum: Duration,
    /// How many fell into each bound, and above all of them.
    counts: [u64; BOUNDS.len() + 1],
}

impl Latency {
    fn note(&mut self, took: Duration) {
        self.sum = self.sum.saturating_add(took);
        let place = BOUNDS.partition_point(|bound| took > Duration::from_millis(*bound));
        if let Some(count) = self.counts.get_mut(place) {
            *count += 1;
        }
    }

    /// All of them together.
    pub(crate) const fn sum(&self) -> Duration {
        self.sum
    }

    /// Upper bounds in seconds, with how many values lie between each and the one before.
    pub(crate) fn buckets(&self) -> Vec<(f64, u64)> {
        let bounds = BOUNDS.iter().map(|ms| Duration::from_millis(*ms).as_secs_f64()).chain([f64::MAX]);
        bounds.zip(self.counts).collect()
    }
}

/// Times of all requests that were answered, and when those began that were not.
#[derive(Debug, Default)]
pub(super) struct Latencies {
    begun: BTreeMap<CniId, (Command, Duration)>,
    ended: BTreeMap<(Command, bool), Latency>,
}

impl Latencies {
    pub(super) fn begin(&mut self, id: CniId, request: &CniRequest, now: Duration) {
        let command = match request {
            CniRequest::Add(_) => Command::Add,
            CniRequest::Del(_) => Command::Del,
            CniRequest::Check { .. } | CniRequest::Status | CniRequest::Gc { .. } => return,
        };
        self.begun.insert(id, (command, now));
    }

    pub(super) fn end(&mut self, id: CniId, is_served: bool, now: Duration) {
        if let Some((command, begun)) = self.begun.remove(&id) {
            self.ended.entry((command, is_served)).or_default().note(now.saturating_sub(begun));
        }
    }
}

impl Pods {
    /// By command, and whether it was served.
    pub(crate) const fn latencies(&self) -> &BTreeMap<(Command, bool), Latency> {
        &self.latencies.ended
    }
}
