//! When the API server is asked, and for what: one list of one object, then watches that go on where the last one ended.

use std::time::Duration;

/// The first pause after a failure; each further one is twice as long.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
/// The longest pause.
pub(super) const LAST_PAUSE: Duration = Duration::from_secs(30);
/// A server that has forgotten where watches were has forgotten it for every node at once: the lists spread over this time.
const RELIST_SPREAD: Duration = Duration::from_secs(30);
/// Between a watch that ended in order and the next one, at most.
const AGAIN: Duration = Duration::from_millis(500);

/// What to ask.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Ask {
    /// The object as it is now.
    List,
    /// What changed since this `resourceVersion`.
    Watch(String),
}

/// Where the watch of one object stands. A failure never leads to a list, only an answer that the version is gone does.
#[derive(Clone, Debug)]
pub struct Follow {
    spread: u64,
    resume: Option<String>,
    failures: u32,
    pause: Duration,
    turns: u32,
}

impl Follow {
    /// Begins with a list. `spread` is random, and another one on every node.
    #[must_use]
    pub const fn new(spread: u64) -> Self {
        Self { spread, resume: None, failures: 0, pause: Duration::ZERO, turns: 0 }
    }

    /// How long to wait, and what to ask then.
    #[must_use]
    pub fn next(&self) -> (Duration, Ask) {
        (self.pause, self.resume.clone().map_or(Ask::List, Ask::Watch))
    }

    /// A list, an event or a bookmark came, with this version.
    pub fn seen(&mut self, version: &str) {
        self.failures = 0;
        self.pause = Duration::ZERO;
        // "0" and nothing mean "any", which a watch would answer with all there is.
        if !version.is_empty() && version != "0" {
            self.resume = Some(version.to_owned());
        }
    }

    /// The server ended the watch in order.
    pub fn ended(&mut self) {
        self.pause = self.part_of(AGAIN);
    }

    /// The server does not know the version any more.
    pub fn gone(&mut self) {
        self.resume = None;
        self.pause = self.part_of(RELIST_SPREAD);
    }

    /// No answer, or none that can be used.
    pub fn failed(&mut self) {
        self.pause = pause(self.failures, self.spread);
        self.failures = self.failures.saturating_add(1);
    }

    fn part_of(&mut self, whole: Duration) -> Duration {
        self.turns = self.turns.wrapping_add(1);
        whole * part(self.turns, self.spread) / 1024
    }
}

/// How long to wait after so many failures in a row, from 0: half of it is fixed, half is spread over the nodes.
#[must_use]
pub fn pause(failures: u32, spread: u64) -> Duration {
    let whole = FIRST_PAUSE.saturating_mul(1 << failures.min(5)).min(LAST_PAUSE);
    whole / 2 + whole / 2 * part(failures, spread) / 1024
}

/// Below 1024, another one each turn.
fn part(turn: u32, spread: u64) -> u32 {
    u32::try_from(spread.rotate_left(turn.wrapping_mul(7)) % 1024).unwrap_or_default()
}

#[cfg(test)]
mod tests;
