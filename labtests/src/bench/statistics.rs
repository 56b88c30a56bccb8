//! What a series of measurements comes to.

use std::time::Duration;

use serde::Serialize;

/// A series, sorted. Milliseconds.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Series(Vec<f64>);

impl Series {
    /// Of any order.
    pub(crate) fn of(durations: &[Duration]) -> Self {
        let mut sorted: Vec<f64> = durations.iter().map(|duration| duration.as_secs_f64() * 1e3).collect();
        sorted.sort_by(f64::total_cmp);
        Self(sorted)
    }

    /// The smallest value that at least `share` of all values do not exceed (nearest rank); 0 where there is none.
    pub(crate) fn quantile(&self, share: f64) -> f64 {
        let count = self.0.len();
        let rank = (share * count as f64).ceil() as usize;
        self.0.get(rank.clamp(1, count.max(1)) - 1).copied().unwrap_or(0.0)
    }

    /// The largest value.
    pub(crate) fn max(&self) -> f64 {
        self.0.last().copied().unwrap_or(0.0)
    }

    /// All values, ascending.
    pub(crate) fn values(&self) -> &[f64] {
        &self.0
    }
}

/// One line of the result.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Measure {
    /// What was measured, from where to where.
    pub(crate) what: &'static str,
    /// The limit in milliseconds, and whether it is of the 99th percentile or of every run; None where it is told for
    /// comparison only.
    pub(crate) target: Option<Target>,
    /// Milliseconds.
    pub(crate) series: Series,
}

/// A limit in milliseconds.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Target {
    /// For 99 of 100.
    P99(f64),
    /// For each.
    Max(f64),
}

impl Measure {
    /// Whether the target is met; None where there is none.
    pub(crate) fn passed(&self) -> Option<bool> {
        let met = !self.series.0.is_empty();
        self.target.map(|target| {
            met && match target {
                Target::P99(limit) => self.series.quantile(0.99) < limit,
                Target::Max(limit) => self.series.max() < limit,
            }
        })
    }
}

#[cfg(test)]
mod tests;
