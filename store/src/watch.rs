//! From a list and a stream of events to facts that are never half true.
//!
//! A [`Watch`] follows some prefixes of the keyspace. For each it lists, then watches from the revision of the list, and it
//! tells what it learns as [`Fact`]s. What it guarantees, whatever the store and the network do:
//!
//! - a key is only said to be deleted when a watched event says so, or a complete list that was asked for afterwards lacks it:
//!   an error, a compaction, a lost leader or an empty answer to a failed request delete nothing;
//! - facts of one key come in the order of their revisions, and none is told twice;
//! - [`Fact::InSync`] follows a complete picture of every prefix; [`Fact::Lost`] says that changes may be missed from now on;
//! - a store whose revisions went back (a restored backup) is asked twice before it is believed, and announces itself with
//!   [`Fact::Reset`].
//!
//! The driver carries out [`WatchAction`]s and reports [`WatchEvent`]s; it decides nothing. After every call that hands
//! something in, drain [`Watch::poll_action`] and [`Watch::poll_fact`], and ask [`Watch::poll_timeout`] again.

use std::collections::VecDeque;
use std::time::Duration;

use rand_chacha::ChaCha8Rng;
use rand_core::{Rng, SeedableRng};

use crate::txn::{KeyValue, Revision};

mod track;
mod types;

use track::{Stage, Track};
pub use types::{Fact, WatchAction, WatchEnd, WatchEvent, WatchId, WatchPhase, WatchState, WatchTimer};

/// How long a list may take, and the store may leave a watch unconfirmed, before it is asked again.
const PATIENCE: Duration = Duration::from_secs(60);
/// The first retry after a failure; doubled for each further one.
const RETRY_MIN: Duration = Duration::from_millis(100);
/// The longest pause between retries.
const RETRY_MAX: Duration = Duration::from_secs(10);
/// A compaction hits every watcher of the fleet at once: their lists are spread over this long.
const COMPACTED_SPREAD: Duration = Duration::from_secs(20);
/// A list whose revision went back is repeated after this long before it is believed.
const CONFIRM_RESET: Duration = Duration::from_secs(1);
/// How often everything is read again although nothing failed (0.75 to 1.25 times this).
const RELIST_EVERY: Duration = Duration::from_secs(30 * 60);
/// After so many watches in a row that the store itself cancelled, a list is tried: its error says more, and its success mends
/// more. A connection that breaks again and again, or is not to be had, never comes to that: when the store is back after it was
/// away from a whole fleet, it has enough to do.
const CANCELLED_BEFORE_LIST: u32 = 3;

/// Follows some prefixes of the keyspace; see the [module](self).
#[derive(Clone, Debug)]
pub struct Watch {
    tracks: Vec<Track>,
    rng: ChaCha8Rng,
    next_id: u64,
    actions: VecDeque<WatchAction>,
    facts: VecDeque<Fact>,
    state: WatchState,
    lost_told: bool,
}

impl Watch {
    /// Follows these prefixes, which must not contain each other; the seed is for the jitter of retries.
    #[must_use]
    pub fn new(prefixes: Vec<String>, seed: [u8; 32], now: Duration) -> Self {
        let mut this = Self {
            tracks: prefixes.into_iter().map(Track::new).collect(),
            rng: ChaCha8Rng::from_seed(seed),
            next_id: 0,
            actions: VecDeque::new(),
            facts: VecDeque::new(),
            state: WatchState { phase: WatchPhase::Empty, since: now, last_error: None, revision: 0, keys: 0 },
            lost_told: false,
        };
        for at in 0..this.tracks.len() {
            this.list(at, now);
        }
        this.update_state(now);
        this
    }

    /// Takes in what the store answered.
    pub fn handle_event(&mut self, event: WatchEvent, now: Duration) {
        let id = event.id();
        // An answer to a request that was given up in the meantime says nothing any more.
        let Some(at) = self.tracks.iter().position(|t| t.stage.id() == Some(id) && t.stage.expects(&event)) else {
            return;
        };
        match event {
            WatchEvent::Listed { revision, kvs, .. } => self.listed(at, revision, kvs, now),
            WatchEvent::ListFailed { error, .. } => self.list_failed(at, error, now),
            WatchEvent::Started { revision, .. } => self.started(at, revision, now),
            WatchEvent::Changes { changes, .. } => {
                self.alive(at);
                if let Some(track) = self.tracks.get_mut(at) {
                    self.facts.extend(changes.into_iter().filter_map(|c| track.change(c)));
                }
            }
            WatchEvent::Progress { revision, .. } => {
                self.alive(at);
                if let Some(track) = self.tracks.get_mut(at) {
                    track.progress(revision);
                }
            }
            WatchEvent::Ended { reason, .. } => self.ended(at, reason, now),
        }
        self.update_state(now);
    }

    /// Acts on timers that are due.
    pub fn handle_timeout(&mut self, now: Duration) {
        for at in 0..self.tracks.len() {
            let Some(track) = self.tracks.get(at) else { continue };
            match track.stage {
                Stage::WaitToList { until } if until <= now => self.list(at, now),
                Stage::WaitToWatch { until } if until <= now => self.watch(at, now),
                Stage::Listing { id, deadline } if deadline <= now => {
                    self.actions.push_back(WatchAction::Cancel { id });
                    self.list_failed(at, format!("no answer to a list within {} s", PATIENCE.as_secs()), now);
                }
                Stage::Starting { id, deadline } if deadline <= now => {
                    self.actions.push_back(WatchAction::Cancel { id });
                    let words = format!("a watch was not confirmed within {} s", PATIENCE.as_secs());
                    self.ended(at, WatchEnd::Disconnected(words), now);
                }
                Stage::Watching { id } if track.relist_at <= now => {
                    self.actions.push_back(WatchAction::Cancel { id });
                    self.list(at, now);
                }
                _ => {}
            }
        }
        self.update_state(now);
    }

    /// Somebody waits for what the store holds: lists that were only put off to be spread over the fleet begin now. Those that
    /// failed are paced as before.
    pub fn hurry(&mut self, now: Duration) {
        for at in 0..self.tracks.len() {
            if self.tracks.get(at).is_some_and(|t| matches!(t.stage, Stage::WaitToList { .. }) && t.is_put_off) {
                self.list(at, now);
            }
        }
    }

    /// The next thing for the driver to do.
    pub fn poll_action(&mut self) -> Option<WatchAction> {
        self.actions.pop_front()
    }

    /// The next fact.
    pub fn poll_fact(&mut self) -> Option<Fact> {
        self.facts.pop_front()
    }

    /// When [`handle_timeout`](Self::handle_timeout) is wanted next.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<(Duration, WatchTimer)> {
        self.tracks.iter().map(Track::timeout).min()
    }

    /// How much is known.
    #[must_use]
    pub const fn state(&self) -> &WatchState {
        &self.state
    }

    fn list(&mut self, at: usize, now: Duration) {
        let id = self.fresh_id();
        let Some(track) = self.tracks.get_mut(at) else { return };
        track.stage = Stage::Listing { id, deadline: now + PATIENCE };
        track.is_put_off = false;
        self.actions.push_back(WatchAction::List { id, prefix: track.prefix.clone() });
    }

    fn watch(&mut self, at: usize, now: Duration) {
        let id = self.fresh_id();
        let Some(track) = self.tracks.get_mut(at) else { return };
        track.stage = Stage::Starting { id, deadline: now + PATIENCE };
        track.new_stream();
        self.actions.push_back(WatchAction::Watch { id, prefix: track.prefix.clone(), from: track.next });
    }

    fn listed(&mut self, at: usize, revision: Revision, kvs: Vec<KeyValue>, now: Duration) {
        let relist_in = self.jitter(RELIST_EVERY.mul_f32(0.75), RELIST_EVERY.mul_f32(1.25));
        let Some(track) = self.tracks.get_mut(at) else { return };
        if track.is_older(revision, &kvs) {
            if !track.reset_suspected {
                track.reset_suspected = true;
                let error = format!(
                    "the store's revisions went back (from {} to {revision}): it looks like a restored backup; asking again",
                    track.highest
                );
                track.stage = Stage::WaitToList { until: now + CONFIRM_RESET };
                self.lost(at, error);
                return;
            }
            self.reset(at, revision, now);
        }
        let Some(track) = self.tracks.get_mut(at) else { return };
        track.reset_suspected = false;
        track.failures = 0;
        track.cancelled = 0;
        track.relist_at = now + relist_in;
        self.facts.extend(track.snapshot(revision, kvs));
        self.watch(at, now);
        if let Some(track) = self.tracks.get_mut(at) {
            track.fresh = true;
        }
        self.tell_if_in_sync();
    }

    /// One prefix turned out to be of another history, so all of them are: each is listed again and believed as it is.
    fn reset(&mut self, at: usize, revision: Revision, now: Duration) {
        let was = self.tracks.iter().map(|t| t.highest).max().unwrap_or(0);
        self.facts.push_back(Fact::Reset { was, now: revision });
        for other in 0..self.tracks.len() {
            let Some(track) = self.tracks.get_mut(other) else { continue };
            track.forget_revisions();
            if other == at {
                continue;
            }
            track.fresh = false;
            if let Some(id) = track.stage.id() {
                self.actions.push_back(WatchAction::Cancel { id });
            }
            self.list(other, now);
        }
    }

    fn list_failed(&mut self, at: usize, error: String, now: Duration) {
        let pause = self.back_off(at);
        let Some(track) = self.tracks.get_mut(at) else { return };
        track.stage = Stage::WaitToList { until: now + pause };
        self.lost(at, error);
    }

    fn ended(&mut self, at: usize, reason: WatchEnd, now: Duration) {
        let (compacted, cancelled) =
            (matches!(reason, WatchEnd::Compacted { .. }), matches!(reason, WatchEnd::Cancelled(_)));
        let error = match reason {
            WatchEnd::Compacted { at } => {
                format!("revisions before {at} were compacted away while this node was not watching")
            }
            WatchEnd::Cancelled(why) => format!("the store cancelled the watch: {why}"),
            WatchEnd::Disconnected(why) => format!("the watch broke: {why}"),
        };
        let spread = self.jitter(Duration::ZERO, COMPACTED_SPREAD);
        let pause = self.back_off(at);
        let Some(track) = self.tracks.get_mut(at) else { return };
        track.cancelled = if cancelled { track.cancelled.saturating_add(1) } else { 0 };
        track.is_put_off = compacted;
        track.stage = if compacted {
            Stage::WaitToList { until: now + spread.max(pause) }
        } else if track.cancelled > CANCELLED_BEFORE_LIST {
            Stage::WaitToList { until: now + pause }
        } else {
            Stage::WaitToWatch { until: now + pause }
        };
        self.lost(at, error);
    }

    /// The store accepted a watch. One that is behind what is known may be a member that lags, or a restored backup, which
    /// would never tell what it did before the revision that the watch starts from: a list decides.
    fn started(&mut self, at: usize, revision: Revision, now: Duration) {
        let Some(track) = self.tracks.get(at) else { return };
        let (highest, id) = (track.highest, track.stage.id());
        if revision >= highest {
            self.alive(at);
            return;
        }
        self.actions.extend(id.map(|id| WatchAction::Cancel { id }));
        self.lost(at, format!("the store is at revision {revision}, behind the {highest} that it told before"));
        self.list(at, now);
    }

    /// The watch shows a sign of life, so whatever happens from now on is told.
    fn alive(&mut self, at: usize) {
        let Some(track) = self.tracks.get_mut(at) else { return };
        let Stage::Starting { id, .. } = track.stage else { return };
        track.stage = Stage::Watching { id };
        track.failures = 0;
        track.cancelled = 0;
        if !track.fresh {
            track.fresh = true;
            self.tell_if_in_sync();
        }
    }

    fn lost(&mut self, at: usize, error: String) {
        if let Some(track) = self.tracks.get_mut(at) {
            track.fresh = false;
        }
        if !self.lost_told {
            self.lost_told = true;
            self.facts.push_back(Fact::Lost { error: error.clone() });
        }
        self.state.last_error = Some(error);
    }

    fn tell_if_in_sync(&mut self) {
        if self.tracks.iter().all(|t| t.fresh) {
            self.lost_told = false;
            self.state.last_error = None;
            let revision = self.tracks.iter().map(|t| t.next - 1).min().unwrap_or(0);
            self.facts.push_back(Fact::InSync { revision });
        }
    }

    fn update_state(&mut self, now: Duration) {
        self.state.revision = self.tracks.iter().map(|t| t.highest).fold(0, Revision::max);
        self.state.keys = self.tracks.iter().map(Track::keys).sum();
        let was_known = matches!(self.state.phase, WatchPhase::InSync | WatchPhase::Frozen);
        let phase = if self.tracks.iter().all(|t| t.fresh) {
            WatchPhase::InSync
        } else if was_known {
            WatchPhase::Frozen
        } else if self.tracks.iter().any(|t| matches!(t.stage, Stage::WaitToList { .. } | Stage::WaitToWatch { .. })) {
            WatchPhase::Empty
        } else {
            WatchPhase::Listing
        };
        if phase != self.state.phase {
            self.state.phase = phase;
            self.state.since = now;
        }
    }

    const fn fresh_id(&mut self) -> WatchId {
        self.next_id += 1;
        WatchId(self.next_id)
    }

    /// Counts a failure and says how long to pause after it.
    fn back_off(&mut self, at: usize) -> Duration {
        let Some(track) = self.tracks.get_mut(at) else { return RETRY_MAX };
        let pause = RETRY_MIN.saturating_mul(1 << track.failures.min(8)).min(RETRY_MAX);
        track.failures = track.failures.saturating_add(1);
        self.jitter(pause / 2, pause)
    }

    fn jitter(&mut self, from: Duration, to: Duration) -> Duration {
        let part = f64::from(self.rng.next_u32()) / f64::from(u32::MAX);
        from + to.saturating_sub(from).mul_f64(part)
    }
}

#[cfg(test)]
mod tests;
