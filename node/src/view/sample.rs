//! Values of `/metrics`.

use serde::{Deserialize, Serialize};

/// What a metric counts.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SampleKind {
    /// Only grows.
    Counter,
    /// Goes up and down.
    Gauge,
    /// How often a value was at most so large; `value` is the sum of all.
    Histogram,
}

/// One value of `/metrics`.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Sample {
    /// Name with the unit, without the `_total` of counters.
    pub name: String,
    /// What it means.
    pub help: String,
    /// What it counts.
    pub kind: SampleKind,
    /// Labels, in order.
    pub labels: Vec<(String, String)>,
    /// The value.
    pub value: f64,
    /// Of a histogram: upper bounds in order, the last [`f64::MAX`] for no bound, each with how many values are at most that
    /// and above the one before.
    #[serde(default)]
    pub buckets: Vec<(f64, u64)>,
}
