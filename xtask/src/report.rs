//! The stages of `test` and `check`, and their closing summary: one line per stage.

mod stages;

use std::time::Duration;

pub(crate) use stages::{Stages, Verdict};

use crate::run::Counts;
use crate::terminal::Style;

/// How a stage ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    Passed,
    Failed,
    /// Not run, with the reason.
    Skipped(String),
}

/// One line of the summary.
pub(crate) struct Line {
    pub(crate) stage: &'static str,
    pub(crate) outcome: Outcome,
    pub(crate) took: Duration,
    pub(crate) counts: Option<Counts>,
}

/// All lines, in the order the stages ran.
#[derive(Default)]
pub(crate) struct Report {
    lines: Vec<Line>,
}

impl Report {
    pub(crate) fn add(&mut self, line: Line) {
        self.lines.push(line);
    }

    /// True when no stage failed.
    pub(crate) fn passed(&self) -> bool {
        self.lines.iter().all(|line| line.outcome != Outcome::Failed)
    }

    /// All tests that ran.
    pub(crate) fn tests_run(&self) -> u64 {
        self.lines.iter().filter_map(|line| line.counts).fold(0, |sum, counts| sum.saturating_add(counts.ran()))
    }

    /// The table, its last line a verdict.
    pub(crate) fn render(&self, style: Style) -> String {
        let width = self.lines.iter().map(|line| line.stage.len()).max().unwrap_or(0).max("stage".len());
        let mut text = style.bold(&format!("{:<width$}  {:<7}  {:>8}  tests", "stage", "result", "time"));
        text.push('\n');
        for line in &self.lines {
            // Padded before it is painted: colour codes have no width.
            let result = match &line.outcome {
                Outcome::Passed => style.good("ok     "),
                Outcome::Failed => style.bad("FAILED "),
                Outcome::Skipped(_) => style.dim("skipped"),
            };
            let last = match (&line.outcome, line.counts) {
                (Outcome::Skipped(why), _) => why.clone(),
                (_, Some(counts)) => shown_counts(counts),
                (_, None) => String::new(),
            };
            let row = format!("{:<width$}  {result}  {:>8}  {last}", line.stage, seconds(line.took));
            text.push_str(row.trim_end());
            text.push('\n');
        }
        let total = seconds(self.lines.iter().map(|line| line.took).sum());
        let failed: Vec<&str> =
            self.lines.iter().filter(|line| line.outcome == Outcome::Failed).map(|line| line.stage).collect();
        let verdict = if failed.is_empty() {
            format!("{} everything passed in {total}", style.good("ok:"))
        } else {
            format!("{} {} in {total}", style.bad("FAILED:"), failed.join(", "))
        };
        text.push_str(&verdict);
        text
    }
}

fn shown_counts(counts: Counts) -> String {
    let mut text = format!("{} passed", counts.passed);
    for (number, kind) in [(counts.failed, "failed"), (counts.ignored, "ignored")] {
        if number > 0 {
            text.push_str(&format!(", {number} {kind}"));
        }
    }
    text
}

fn seconds(took: Duration) -> String {
    format!("{:.1} s", took.as_secs_f64())
}

#[cfg(test)]
mod tests;
