//! What goes into a [`Watch`](super::Watch) and what comes out.

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

/// The state of a [`Watch`](super::Watch), for `status` and metrics.
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

/// Why a [`Watch`](super::Watch) wants to be woken.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
pub enum WatchTimer {
    /// A failed list or watch is tried again.
    Retry,
    /// A list, or the confirmation of a watch, took too long.
    Patience,
    /// The periodic relist, which heals what a store's bug may have dropped.
    Relist,
}

impl WatchEvent {
    /// The request that this answers.
    #[must_use]
    pub const fn id(&self) -> WatchId {
        match self {
            Self::Listed { id, .. }
            | Self::ListFailed { id, .. }
            | Self::Started { id, .. }
            | Self::Changes { id, .. }
            | Self::Progress { id, .. }
            | Self::Ended { id, .. } => *id,
        }
    }
}
