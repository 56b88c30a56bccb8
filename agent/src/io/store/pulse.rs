//! Signs of life of one member, and how long one waits for them.
//!
//! Slow is not dead: a fleet that gives a slow member up and begins again costs it connections, watches and lists, which keep it
//! slow. So only silence counts: nothing heard at all, on any stream, while an answer is due. And each silence makes patience
//! longer, until answers come again.

use std::pin::pin;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::Duration;

use tokio::sync::{Notify, watch};
use tokio::time::Instant;

use super::spread::pause;

/// An answer that takes longer makes one ask whether the member is still there; doubled up to [`LATE_MAX`] for the same answer.
const LATE: Duration = Duration::from_millis(300);
const LATE_MAX: Duration = Duration::from_secs(5);
/// Patience is counted in parts, so that the time in which this process was stopped, or starved, does not count.
const PARTS: u32 = 4;
/// A member that tells other things and yet does not answer is given up after this many times of patience.
const AT_MOST: u32 = 20;
/// The least and the most that counts as unusually long. etcd gives up itself what it could not commit within 7 s, and says so
/// (`Config.ReqTimeout` with the usual election timeout).
const UNUSUAL: (Duration, Duration) = (Duration::from_secs(8), Duration::from_secs(30));
/// How often patience is doubled at most.
const STRAIN_MAX: u32 = 3;

/// What was heard of one member.
#[derive(Debug)]
pub(super) struct Pulse {
    /// Counts what was heard.
    heard: AtomicU64,
    /// The term of its leader, as far as it was asked.
    term: watch::Sender<u64>,
    doubt: Notify,
    /// How long answers take these days, in milliseconds.
    pace: AtomicU64,
}

impl Pulse {
    /// Its first answer took that long, and said that this is the term of its leader.
    pub(super) fn new(term: u64, took: Duration) -> Self {
        let pace = AtomicU64::new(millis(took));
        Self { heard: AtomicU64::new(0), term: watch::Sender::new(term), doubt: Notify::new(), pace }
    }

    /// Several times as long as answers have taken lately.
    pub(super) fn unusually_long(&self) -> Duration {
        let pace = Duration::from_millis(self.pace.load(Ordering::Relaxed));
        (pace * 4).clamp(UNUSUAL.0, UNUSUAL.1)
    }

    /// Something came from it.
    pub(super) fn heard(&self) {
        self.heard.fetch_add(1, Ordering::Relaxed);
    }

    /// It says that this is the term of its leader.
    pub(super) fn learn_term(&self, term: u64) {
        self.term.send_if_modified(|known| std::mem::replace(known, term) != term);
    }

    /// To be awaited later: ends when its leader is of another term than now.
    pub(super) fn another_term(&self) -> impl Future<Output = ()> + use<> {
        let mut terms = self.term.subscribe();
        let now = *terms.borrow_and_update();
        async move {
            if terms.wait_for(|term| *term != now).await.is_err() {
                std::future::pending().await
            }
        }
    }

    /// Wait for an answer; while it is late, have the member asked whether it is still there.
    pub(super) async fn answer<T, E>(&self, answer: impl Future<Output = Result<T, E>>) -> Result<T, E> {
        let (mut answer, mut late, begun) = (pin!(answer), LATE, Instant::now());
        let answer = loop {
            match tokio::time::timeout(late, &mut answer).await {
                Ok(answer) => break answer,
                Err(_) => self.doubt.notify_one(),
            }
            late = (late * 2).min(LATE_MAX);
        };
        if answer.is_ok() {
            self.heard();
            // Quick ones make a slow one be forgotten, but not at once: some questions are small.
            let took = millis(begun.elapsed());
            let _was = self.pace.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |pace| Some(took.max(pace / 2)));
        }
        answer
    }

    /// Ends when an answer is late.
    pub(super) async fn doubted(&self) {
        self.doubt.notified().await;
    }

    /// The answer; `None` when nothing at all was heard of the member for as long as one is patient.
    pub(super) async fn unless_silent<T>(&self, answer: impl Future<Output = T>, patience: Duration) -> Option<T> {
        let mut answer = pin!(answer);
        let (mut heard, mut silent) = (self.heard.load(Ordering::Relaxed), 0);
        for _ in 0..PARTS * AT_MOST {
            let begun = Instant::now();
            if let Ok(answer) = tokio::time::timeout(patience / PARTS, &mut answer).await {
                self.heard();
                return Some(answer);
            }
            let now = self.heard.load(Ordering::Relaxed);
            // This process is itself so slow that it cannot judge others.
            let is_late = begun.elapsed() > patience / PARTS * 2;
            silent = if now == heard && !is_late { silent + 1 } else { 0 };
            heard = now;
            if silent == PARTS {
                return None;
            }
        }
        None
    }
}

/// How far patience is stretched: doubled with each silence, halved with each answer.
#[derive(Debug)]
pub(super) struct Strain {
    doubled: AtomicU32,
    spread: u64,
}

impl Strain {
    pub(super) fn new(spread: u64) -> Self {
        Self { doubled: AtomicU32::new(0), spread }
    }

    /// This much or up to a quarter more, so that not all nodes lose patience in the same moment, and doubled as often as need be.
    pub(super) fn patience(&self, usual: Duration) -> Duration {
        let doubled = self.doubled.load(Ordering::Relaxed).min(STRAIN_MAX);
        pause(self.spread, u64::from(doubled), usual, usual * 5 / 4) * (1 << doubled)
    }

    /// Nobody answered.
    pub(super) fn grow(&self) {
        let more = |doubled: u32| Some(doubled.saturating_add(1).min(STRAIN_MAX));
        let _was = self.doubled.fetch_update(Ordering::Relaxed, Ordering::Relaxed, more);
    }

    /// Somebody answered.
    pub(super) fn ease(&self) {
        let _was = self.doubled.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |doubled| doubled.checked_sub(1));
    }
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests;
