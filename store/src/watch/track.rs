//! One prefix: what is known under it, and which request is under way.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::{Fact, WatchEvent, WatchId, WatchTimer};
use crate::txn::{Change, KeyValue, Revision};

/// What is under way for a prefix.
#[derive(Clone, Copy, Debug)]
pub(super) enum Stage {
    /// Nothing; list at this time.
    WaitToList { until: Duration },
    /// Nothing; watch on at this time.
    WaitToWatch { until: Duration },
    /// A list.
    Listing { id: WatchId, deadline: Duration },
    /// A watch that the store has not confirmed.
    Starting { id: WatchId, deadline: Duration },
    /// A live watch.
    Watching { id: WatchId },
}

impl Stage {
    pub(super) const fn id(self) -> Option<WatchId> {
        match self {
            Self::WaitToList { .. } | Self::WaitToWatch { .. } => None,
            Self::Listing { id, .. } | Self::Starting { id, .. } | Self::Watching { id } => Some(id),
        }
    }

    /// Whether this kind of event answers the request that is under way.
    pub(super) const fn expects(self, event: &WatchEvent) -> bool {
        let of_a_list = matches!(event, WatchEvent::Listed { .. } | WatchEvent::ListFailed { .. });
        match self {
            Self::WaitToList { .. } | Self::WaitToWatch { .. } => false,
            Self::Listing { .. } => of_a_list,
            Self::Starting { .. } | Self::Watching { .. } => !of_a_list,
        }
    }
}

/// What was last told about a key: enough to see whether a list differs, without keeping the value.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Known {
    mod_revision: Revision,
    fingerprint: u64,
}

impl Known {
    fn of(kv: &KeyValue) -> Self {
        Self { mod_revision: kv.mod_revision, fingerprint: fnv1a(&kv.value) }
    }
}

/// One prefix.
#[derive(Clone, Debug)]
pub(super) struct Track {
    pub(super) prefix: String,
    pub(super) stage: Stage,
    /// Whether everything is known and a live watch tells what changes.
    pub(super) fresh: bool,
    /// Failures since the last success.
    pub(super) failures: u32,
    /// The list that is waited for did not fail: it comes later so that not all nodes list at once.
    pub(super) is_put_off: bool,
    /// Watches in a row that the store cancelled.
    pub(super) cancelled: u32,
    /// When everything is read again.
    pub(super) relist_at: Duration,
    /// Whether the last list was of an older history than what is known.
    pub(super) reset_suspected: bool,
    /// Everything before this revision has been told: where a watch goes on.
    pub(super) next: Revision,
    /// The highest revision of a list or a change.
    pub(super) highest: Revision,
    /// The highest revision of a change that the present watch brought; a stream never goes back.
    seen: Revision,
    /// The revision of the last progress notice on the present watch.
    progressed: Revision,
    known: BTreeMap<String, Known>,
}

impl Track {
    pub(super) const fn new(prefix: String) -> Self {
        Self {
            prefix,
            stage: Stage::WaitToList { until: Duration::ZERO },
            fresh: false,
            failures: 0,
            is_put_off: false,
            cancelled: 0,
            relist_at: Duration::MAX,
            reset_suspected: false,
            next: 1,
            highest: 0,
            seen: 0,
            progressed: 0,
            known: BTreeMap::new(),
        }
    }

    pub(super) fn keys(&self) -> usize {
        self.known.len()
    }

    pub(super) const fn timeout(&self) -> (Duration, WatchTimer) {
        match self.stage {
            Stage::WaitToList { until } | Stage::WaitToWatch { until } => (until, WatchTimer::Retry),
            Stage::Listing { deadline, .. } | Stage::Starting { deadline, .. } => (deadline, WatchTimer::Patience),
            Stage::Watching { .. } => (self.relist_at, WatchTimer::Relist),
        }
    }

    pub(super) const fn new_stream(&mut self) {
        self.seen = self.next;
        self.progressed = 0;
    }

    /// Whether a list is of an older history than what is known, or of another one.
    pub(super) fn is_older(&self, revision: Revision, kvs: &[KeyValue]) -> bool {
        let differs = |kv: &KeyValue| {
            self.known.get(&kv.key).is_some_and(|known| {
                kv.mod_revision < known.mod_revision
                    || (kv.mod_revision == known.mod_revision && Known::of(kv) != *known)
            })
        };
        revision < self.highest || kvs.iter().any(differs)
    }

    /// The store has another history now: its revisions cannot be compared with those that are known.
    pub(super) fn forget_revisions(&mut self) {
        self.next = 1;
        self.highest = 0;
        for known in self.known.values_mut() {
            known.mod_revision = 0;
        }
    }

    /// The differences between what is known and a complete list: what is gone first, then what is new.
    pub(super) fn snapshot(&mut self, revision: Revision, mut kvs: Vec<KeyValue>) -> Vec<Fact> {
        kvs.retain(|kv| kv.key.starts_with(&self.prefix));
        let present: BTreeSet<&str> = kvs.iter().map(|kv| kv.key.as_str()).collect();
        let gone: Vec<String> = self.known.keys().filter(|k| !present.contains(k.as_str())).cloned().collect();
        let mut facts = Vec::new();
        for key in gone {
            self.known.remove(&key);
            facts.push(Fact::Deleted { key, mod_revision: revision });
        }
        for kv in kvs {
            let known = Known::of(&kv);
            if self.known.get(&kv.key) != Some(&known) {
                self.known.insert(kv.key.clone(), known);
                facts.push(Fact::Put(kv));
            }
        }
        self.next = revision.saturating_add(1);
        self.highest = revision;
        facts
    }

    /// Takes in a change of the present watch; `None` when it is not news.
    pub(super) fn change(&mut self, change: Change) -> Option<Fact> {
        let revision = change.mod_revision();
        if revision < self.seen || !change.key().starts_with(&self.prefix) {
            return None;
        }
        self.seen = revision;
        // A revision may reach us in parts, so a resumed watch asks for it again.
        self.next = self.next.max(revision);
        self.highest = self.highest.max(revision);
        match change {
            Change::Put(kv) => {
                let known = Known::of(&kv);
                if self.known.get(&kv.key).is_some_and(|k| k.mod_revision >= kv.mod_revision) {
                    return None;
                }
                self.known.insert(kv.key.clone(), known);
                Some(Fact::Put(kv))
            }
            Change::Delete { key, mod_revision } => {
                if self.known.get(&key).is_none_or(|k| k.mod_revision >= mod_revision) {
                    return None;
                }
                self.known.remove(&key);
                Some(Fact::Deleted { key, mod_revision })
            }
        }
    }

    /// Takes in a progress notice.
    ///
    /// etcd before 3.4.25 and 3.5.8 may send one ahead of events that it covers (etcd issue 15220), so it is only relied on
    /// when the next one has arrived.
    pub(super) fn progress(&mut self, revision: Revision) {
        if self.progressed > 0 {
            self.next = self.next.max(self.progressed.saturating_add(1));
        }
        self.progressed = self.progressed.max(revision);
    }
}

/// FNV-1a, 64 bits: differences between values, not an adversary, are to be seen.
fn fnv1a(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, b| (hash ^ u64::from(*b)).wrapping_mul(0x0100_0000_01b3))
}
