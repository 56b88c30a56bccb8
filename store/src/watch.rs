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

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::txn::{Change, KeyValue, Revision};

/// Names one list or one watch. Never reused: an event that carries the id of an abandoned request is ignored.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
pub struct WatchId(pub u64);

/// What the driver is to do.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum WatchAction {
    /// Read every key under the prefix, linearizably and at one revision (paged reads pin the first page's), and report
    /// [`WatchEvent::Listed`] or [`WatchEvent::ListFailed`].
    List {
        /// Comes back with the answer.
        id: WatchId,
        /// All keys that start with this text.
        prefix: String,
    },
    /// Watch the prefix: report [`WatchEvent::Started`] once the store accepted, then changes until [`WatchEvent::Ended`].
    Watch {
        /// Comes back with every event.
        id: WatchId,
        /// All keys that start with this text.
        prefix: String,
        /// The first revision whose changes are wanted.
        from: Revision,
    },
    /// Give up this list or watch. Events that are under way may still be reported; they are ignored.
    Cancel {
        /// Which.
        id: WatchId,
    },
}

/// What the store answered.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum WatchEvent {
    /// The complete answer to a list.
    Listed {
        /// Of the [`WatchAction::List`].
        id: WatchId,
        /// The revision at which it was read: the answer's header revision.
        revision: Revision,
        /// Every key under the prefix.
        kvs: Vec<KeyValue>,
    },
    /// A list failed or timed out.
    ListFailed {
        /// Of the [`WatchAction::List`].
        id: WatchId,
        /// What happened, in words.
        error: String,
    },
    /// The store accepted the watch: from here on every change comes.
    Started {
        /// Of the [`WatchAction::Watch`].
        id: WatchId,
        /// The header revision of the store's confirmation.
        revision: Revision,
    },
    /// Changes, in the order of their revisions.
    Changes {
        /// Of the [`WatchAction::Watch`].
        id: WatchId,
        /// The header revision.
        revision: Revision,
        /// At least one.
        changes: Vec<Change>,
    },
    /// The store says that everything up to this revision has been delivered.
    Progress {
        /// Of the [`WatchAction::Watch`].
        id: WatchId,
        /// Up to here.
        revision: Revision,
    },
    /// The watch is over.
    Ended {
        /// Of the [`WatchAction::Watch`].
        id: WatchId,
        /// Why.
        reason: WatchEnd,
    },
}

/// Why a watch ended.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum WatchEnd {
    /// The revision to start from, or to go on from, is no longer in the store's history.
    Compacted {
        /// The oldest revision that still is.
        at: Revision,
    },
    /// The store cancelled it, in its words.
    Cancelled(String),
    /// The connection broke, or never came up.
    Disconnected(String),
}

/// Something that is known about the keyspace.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum Fact {
    /// The key has this value.
    Put(KeyValue),
    /// The key is gone.
    Deleted {
        /// The key.
        key: String,
        /// The revision of the deletion, or of the list that lacked the key.
        mod_revision: Revision,
    },
    /// Every prefix has been told completely up to this revision. Repeated after each periodic relist.
    InSync {
        /// Everything that happened up to here has been told.
        revision: Revision,
    },
    /// Changes may be missed from now on: freeze. Nothing that was told is taken back.
    Lost {
        /// What happened, in words.
        error: String,
    },
    /// The store was replaced by an older copy of itself: revisions remembered from before mean nothing any more. The
    /// differences follow as facts, then [`Fact::InSync`].
    Reset {
        /// The highest revision seen before.
        was: Revision,
        /// The store's revision now.
        now: Revision,
    },
}

/// How much is known, for `status`.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum WatchPhase {
    /// Nothing was ever read; waiting to try again.
    Empty,
    /// The first complete read is under way.
    Listing,
    /// Everything is known and changes arrive.
    InSync,
    /// Everything was known once; changes may be missed at the moment.
    Frozen,
}

/// The state of a [`Watch`], for `status` and metrics.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct WatchState {
    /// How much is known.
    pub phase: WatchPhase,
    /// Since when (time since the start).
    pub since: Duration,
    /// The most recent error, in words; `None` after a success.
    pub last_error: Option<String>,
    /// The highest revision seen.
    pub revision: Revision,
    /// How many keys are known.
    pub keys: usize,
}

/// Why a [`Watch`] wants to be woken.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
pub enum WatchTimer {
    /// A failed list or watch is tried again.
    Retry,
    /// A list took too long.
    ListPatience,
    /// The periodic relist, which heals what a store's bug may have dropped.
    Relist,
}

/// Follows some prefixes of the keyspace; see the [module](self).
#[derive(Clone, Debug)]
pub struct Watch {
    state: WatchState,
}

impl Watch {
    /// Follows these prefixes, which must not contain each other; the seed is for the jitter of retries.
    #[must_use]
    pub fn new(prefixes: Vec<String>, seed: [u8; 32], now: Duration) -> Self {
        let _ = (prefixes, seed);
        Self { state: WatchState { phase: WatchPhase::Empty, since: now, last_error: None, revision: 0, keys: 0 } }
    }

    /// Takes in what the store answered.
    pub fn handle_event(&mut self, event: WatchEvent, now: Duration) {
        let _ = (event, now);
    }

    /// Acts on timers that are due.
    pub fn handle_timeout(&mut self, now: Duration) {
        let _ = now;
    }

    /// The next thing for the driver to do.
    pub fn poll_action(&mut self) -> Option<WatchAction> {
        None
    }

    /// The next fact.
    pub fn poll_fact(&mut self) -> Option<Fact> {
        None
    }

    /// When [`handle_timeout`](Self::handle_timeout) is wanted next.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<(Duration, WatchTimer)> {
        None
    }

    /// How much is known.
    #[must_use]
    pub fn state(&self) -> &WatchState {
        &self.state
    }
}
