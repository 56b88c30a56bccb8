//! Health gates: probes with rise and fall.
//!
//! A gate opens after `rise` successes in a row and closes with the `fall`-th failure in a row, at once. Before its first
//! verdict it is closed, unless the verdict of the same boot was recorded: then it goes on from there, so that a restarted
//! agent neither withdraws a healthy service nor announces a sick one.

use std::time::Duration;

use petiole_config::{HealthCheck, HealthSettings};

/// What a gate says.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Verdict {
    /// No verdict yet.
    Unknown,
    /// Open.
    Healthy,
    /// Closed.
    Unhealthy,
}

/// One gate.
#[derive(Debug)]
pub struct Gate {
    settings: HealthSettings,
    verdict: Verdict,
    /// Positive: successes in a row; negative: failures in a row.
    streak: i64,
    last: Option<Result<(), String>>,
    next_probe: Duration,
    in_flight: bool,
}

impl Gate {
    /// A gate whose first probe is due now.
    #[must_use]
    pub const fn new(settings: HealthSettings, now: Duration) -> Self {
        Self { settings, verdict: Verdict::Unknown, streak: 0, last: None, next_probe: now, in_flight: false }
    }

    /// Goes on from a recorded verdict, if there is none of its own yet.
    pub const fn resume(&mut self, healthy: bool) {
        if matches!(self.verdict, Verdict::Unknown) {
            self.verdict = if healthy { Verdict::Healthy } else { Verdict::Unhealthy };
        }
    }

    /// The probe to run now, if one is due: what to ask, and how long it may take.
    ///
    /// Probes start every `interval`, whatever they take; a late one does not make the next two run together.
    pub fn poll_probe(&mut self, now: Duration) -> Option<(HealthCheck, Duration)> {
        if self.in_flight || now < self.next_probe {
            return None;
        }
        self.in_flight = true;
        self.next_probe += self.settings.interval;
        if self.next_probe <= now {
            self.next_probe = now + self.settings.interval;
        }
        Some((self.settings.check.clone(), self.settings.timeout))
    }

    /// When the next probe is due; `None` while one is under way.
    #[must_use]
    pub const fn poll_timeout(&self) -> Option<Duration> {
        if self.in_flight { None } else { Some(self.next_probe) }
    }

    /// Takes a probe's result; `true` if the verdict changed.
    pub fn handle_result(&mut self, result: Result<(), String>) -> bool {
        self.in_flight = false;
        let before = self.verdict;
        if result.is_ok() {
            self.streak = self.streak.max(0).saturating_add(1);
            if self.streak >= i64::from(self.settings.rise) {
                self.verdict = Verdict::Healthy;
            }
        } else {
            self.streak = self.streak.min(0).saturating_sub(1);
            if self.streak <= -i64::from(self.settings.fall) {
                self.verdict = Verdict::Unhealthy;
            }
        }
        self.last = Some(result);
        self.verdict != before
    }

    /// The verdict in force.
    #[must_use]
    pub const fn verdict(&self) -> Verdict {
        self.verdict
    }

    /// Successes (positive) or failures (negative) in a row.
    #[must_use]
    pub const fn streak(&self) -> i64 {
        self.streak
    }

    /// The last probe in words; `None` before the first.
    #[must_use]
    pub fn last_words(&self) -> Option<String> {
        self.last.as_ref().map(|r| match r {
            Ok(()) => "ok".to_owned(),
            Err(why) => why.clone(),
        })
    }

    /// Why the gate is as it is, in words.
    #[must_use]
    pub fn words(&self) -> String {
        let last = self.last_words().unwrap_or_else(|| "no probe has ended yet".to_owned());
        match self.verdict {
            Verdict::Unknown => format!(
                "no verdict yet: {} of {} good probes in a row, last: {last}",
                self.streak.max(0),
                self.settings.rise
            ),
            Verdict::Healthy => format!("healthy, last probe: {last}"),
            Verdict::Unhealthy => {
                format!(
                    "unhealthy: {last}; opens after {} good probes in a row, now {}",
                    self.settings.rise,
                    self.streak.max(0)
                )
            }
        }
    }

    /// What is probed, in words.
    #[must_use]
    pub fn check_words(&self) -> String {
        check_words(&self.settings)
    }
}

fn check_words(settings: &HealthSettings) -> String {
    let check = match &settings.check {
        HealthCheck::Http { url, .. } => format!("GET {url}"),
        HealthCheck::Tcp(addr) => format!("connect to {addr}"),
        HealthCheck::Command(argv) => argv.join(" "),
    };
    format!("{check} every {:?}, rise {}, fall {}", settings.interval, settings.rise, settings.fall)
}

#[cfg(test)]
mod tests;
