use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;
use crate::memory::{Compacted, Memory};
use crate::txn::{Change, Txn};

mod away;

const PREFIXES: [&str; 2] = ["/a/", "/b/"];

fn watch() -> Watch {
    Watch::new(PREFIXES.iter().map(|p| (*p).to_owned()).collect(), [7; 32], Duration::ZERO)
}

fn put(store: &mut Memory, key: &str, value: &str) {
    store.apply(&Txn::new().put(key, value)).unwrap();
}

fn actions(watch: &mut Watch) -> Vec<WatchAction> {
    std::iter::from_fn(|| watch.poll_action()).collect()
}

fn facts(watch: &mut Watch) -> Vec<Fact> {
    std::iter::from_fn(|| watch.poll_fact()).collect()
}

/// Answers lists from the store and confirms watches; what is watched from where is returned.
fn serve(watch: &mut Watch, store: &Memory, now: Duration) -> Vec<(WatchId, String, Revision)> {
    let mut watches = Vec::new();
    loop {
        let actions = actions(watch);
        if actions.is_empty() {
            return watches;
        }
        for action in actions {
            match action {
                WatchAction::List { id, prefix } => {
                    let kvs = store.list(&prefix).cloned().collect();
                    watch.handle_event(WatchEvent::Listed { id, revision: store.revision(), kvs }, now);
                }
                WatchAction::Watch { id, prefix, from } => {
                    watch.handle_event(WatchEvent::Started { id, revision: store.revision() }, now);
                    watches.push((id, prefix, from));
                }
                WatchAction::Cancel { id } => watches.retain(|w| w.0 != id),
            }
        }
    }
}

fn keys(facts: &[Fact]) -> Vec<String> {
    let word = |fact: &Fact| match fact {
        Fact::Put(kv) => format!("+{}", kv.key),
        Fact::Deleted { key, .. } => format!("-{key}"),
        Fact::InSync { .. } => "in sync".to_owned(),
        Fact::Lost { .. } => "lost".to_owned(),
        Fact::Reset { .. } => "reset".to_owned(),
    };
    facts.iter().map(word).collect()
}

#[test]
fn a_snapshot_then_in_sync_then_changes() {
    let mut store = Memory::new();
    put(&mut store, "/a/1", "x");
    put(&mut store, "/c/1", "not ours");
    let mut watch = watch();
    assert_eq!(watch.state().phase, WatchPhase::Listing);
    let watches = serve(&mut watch, &store, Duration::ZERO);
    assert_eq!(keys(&facts(&mut watch)), ["+/a/1", "in sync"]);
    assert_eq!(watch.state().phase, WatchPhase::InSync);
    assert_eq!(watches.iter().map(|w| w.2).collect::<Vec<_>>(), [4, 4]);

    put(&mut store, "/b/1", "y");
    let (id, prefix, from) = watches[1].clone();
    let changes = store.changes_since(&prefix, from).unwrap();
    let event = WatchEvent::Changes { id, revision: 4, changes };
    watch.handle_event(event.clone(), Duration::ZERO);
    assert_eq!(keys(&facts(&mut watch)), ["+/b/1"]);
    watch.handle_event(event, Duration::ZERO);
    assert_eq!(facts(&mut watch), [], "told once");
}

#[test]
fn a_broken_watch_freezes_and_resumes_without_a_list() {
    let mut store = Memory::new();
    put(&mut store, "/a/1", "x");
    let mut watch = watch();
    let watches = serve(&mut watch, &store, Duration::ZERO);
    facts(&mut watch);
    let reason = WatchEnd::Disconnected("reset by peer".into());
    watch.handle_event(WatchEvent::Ended { id: watches[0].0, reason }, Duration::from_secs(5));
    assert_eq!(keys(&facts(&mut watch)), ["lost"]);
    assert_eq!(watch.state().phase, WatchPhase::Frozen);
    assert!(watch.state().last_error.as_ref().unwrap().contains("reset by peer"));

    let (at, reason) = watch.poll_timeout().unwrap();
    assert_eq!(reason, WatchTimer::Retry);
    watch.handle_timeout(at);
    let asked = actions(&mut watch);
    let [WatchAction::Watch { id, from: 3, .. }] = asked[..] else { panic!("{asked:?}") };
    assert_eq!(watch.state().phase, WatchPhase::Frozen, "not before the store confirms");
    watch.handle_event(WatchEvent::Started { id, revision: 9 }, at);
    assert_eq!(keys(&facts(&mut watch)), ["in sync"]);
    assert_eq!(watch.state().last_error, None);
}

#[test]
fn after_a_compaction_a_list_tells_what_went_missing() {
    let mut store = Memory::new();
    put(&mut store, "/a/1", "x");
    put(&mut store, "/a/2", "x");
    let mut watch = watch();
    let watches = serve(&mut watch, &store, Duration::ZERO);
    facts(&mut watch);
    store.apply(&Txn::new().delete("/a/1").put("/a/2", "y").put("/a/3", "z")).unwrap();
    let reason = WatchEnd::Compacted { at: 4 };
    watch.handle_event(WatchEvent::Ended { id: watches[0].0, reason }, Duration::ZERO);
    assert_eq!(keys(&facts(&mut watch)), ["lost"]);
    let (at, _) = watch.poll_timeout().unwrap();
    watch.handle_timeout(at);
    serve(&mut watch, &store, at);
    assert_eq!(keys(&facts(&mut watch)), ["-/a/1", "+/a/2", "+/a/3", "in sync"]);
}

#[test]
fn an_error_or_silence_deletes_nothing() {
    let mut store = Memory::new();
    put(&mut store, "/a/1", "x");
    let mut watch = watch();
    serve(&mut watch, &store, Duration::ZERO);
    facts(&mut watch);
    let (relist, reason) = watch.poll_timeout().unwrap();
    assert_eq!(reason, WatchTimer::Relist);
    watch.handle_timeout(relist);
    let mut now = relist;
    for _ in 0..20 {
        for action in actions(&mut watch) {
            match action {
                WatchAction::List { id, .. } => {
                    watch.handle_event(WatchEvent::ListFailed { id, error: "no leader".into() }, now);
                }
                WatchAction::Watch { id, .. } => {
                    watch.handle_event(WatchEvent::Ended { id, reason: WatchEnd::Cancelled("denied".into()) }, now);
                }
                WatchAction::Cancel { .. } => {}
            }
        }
        now = watch.poll_timeout().unwrap().0;
        watch.handle_timeout(now);
    }
    assert_eq!(keys(&facts(&mut watch)), ["lost"], "and it says so once");
    assert_eq!(watch.state().phase, WatchPhase::Frozen);
    serve(&mut watch, &store, now);
    assert_eq!(keys(&facts(&mut watch)).last().unwrap(), "in sync");
}

#[test]
fn a_list_that_is_never_answered_is_asked_again() {
    let mut watch = watch();
    assert_eq!(actions(&mut watch).len(), 2);
    let (at, reason) = watch.poll_timeout().unwrap();
    assert_eq!((at, reason), (PATIENCE, WatchTimer::Patience));
    watch.handle_timeout(at);
    let cancelled = actions(&mut watch).into_iter().all(|a| matches!(a, WatchAction::Cancel { .. }));
    assert!(cancelled);
    assert_eq!(watch.state().phase, WatchPhase::Empty);
    let late = WatchEvent::Listed { id: WatchId(1), revision: 9, kvs: Vec::new() };
    watch.handle_event(late, at);
    assert_eq!(keys(&facts(&mut watch)), ["lost"], "a late answer says nothing");
}

#[test]
fn a_restored_backup_is_asked_twice_before_it_is_believed() {
    let mut store = Memory::new();
    put(&mut store, "/a/1", "x");
    put(&mut store, "/b/1", "x");
    let backup = store.clone();
    put(&mut store, "/a/2", "x");
    put(&mut store, "/b/2", "x");
    let mut watch = watch();
    serve(&mut watch, &store, Duration::ZERO);
    facts(&mut watch);

    let (mut now, _) = watch.poll_timeout().unwrap();
    watch.handle_timeout(now);
    serve(&mut watch, &backup, now);
    assert_eq!(keys(&facts(&mut watch)), ["lost"]);
    assert!(watch.state().last_error.as_ref().unwrap().contains("restored backup"));
    now = watch.poll_timeout().unwrap().0;
    watch.handle_timeout(now);
    serve(&mut watch, &backup, now);
    let told = keys(&facts(&mut watch));
    assert_eq!((told.first().unwrap().as_str(), told.last().unwrap().as_str()), ("reset", "in sync"));
    // Which prefix comes first is up to the jitter of the relists.
    let mut between = told[1..5].to_vec();
    between.sort();
    assert_eq!(between, ["+/a/1", "+/b/1", "-/a/2", "-/b/2"]);
}

#[test]
fn a_progress_notice_is_trusted_when_the_next_has_come() {
    let store = Memory::new();
    let mut watch = watch();
    let watches = serve(&mut watch, &store, Duration::ZERO);
    let id = watches[0].0;
    for revision in [100, 200] {
        watch.handle_event(WatchEvent::Progress { id, revision }, Duration::ZERO);
    }
    watch.handle_event(WatchEvent::Ended { id, reason: WatchEnd::Disconnected("x".into()) }, Duration::ZERO);
    let (at, _) = watch.poll_timeout().unwrap();
    watch.handle_timeout(at);
    assert!(matches!(actions(&mut watch)[..], [WatchAction::Watch { from: 101, .. }]));
}

#[test]
fn a_stream_that_repeats_itself_brings_nothing_back() {
    let mut store = Memory::new();
    let mut watch = watch();
    let watches = serve(&mut watch, &store, Duration::ZERO);
    facts(&mut watch);
    put(&mut store, "/a/1", "x");
    store.apply(&Txn::new().delete("/a/1")).unwrap();
    put(&mut store, "/a/2", "x");
    let changes = store.changes_since("/a/", 1).unwrap();
    for _ in 0..2 {
        let event = WatchEvent::Changes { id: watches[0].0, revision: 4, changes: changes.clone() };
        watch.handle_event(event, Duration::ZERO);
    }
    assert_eq!(keys(&facts(&mut watch)), ["+/a/1", "-/a/1", "+/a/2"]);
}

#[test]
fn an_answer_of_the_wrong_kind_is_no_answer() {
    let mut store = Memory::new();
    put(&mut store, "/a/1", "x");
    let mut watch = watch();
    let [WatchAction::List { id, .. }, _] = actions(&mut watch)[..] else { panic!("two lists") };
    watch.handle_event(
        WatchEvent::Changes { id, revision: 2, changes: store.changes_since("/a/", 1).unwrap() },
        Duration::ZERO,
    );
    watch.handle_event(WatchEvent::Started { id, revision: 2 }, Duration::ZERO);
    assert_eq!(facts(&mut watch), []);
    let kvs = store.list("/a/").cloned().collect();
    watch.handle_event(WatchEvent::Listed { id, revision: 2, kvs }, Duration::ZERO);
    let [WatchAction::Watch { id, .. }] = actions(&mut watch)[..] else { panic!("a watch") };
    facts(&mut watch);
    watch.handle_event(WatchEvent::Listed { id, revision: 9, kvs: Vec::new() }, Duration::ZERO);
    assert_eq!(facts(&mut watch), [], "a watch's id on an empty list deletes nothing");
}

/// What happens to a store and its watcher in the property test.
#[derive(Clone, Debug)]
enum Deed {
    Put(u8, u8),
    Delete(u8),
    /// Some of the outstanding requests, or of the changes, are served.
    Serve(u8),
    Fail(u8),
    Break(u8),
    Compact,
    Backup,
    Restore,
    Wait,
}

fn any_deed() -> impl Strategy<Value = Deed> {
    prop_oneof![
        6 => (any::<u8>(), any::<u8>()).prop_map(|(k, v)| Deed::Put(k, v)),
        4 => any::<u8>().prop_map(Deed::Delete),
        10 => any::<u8>().prop_map(Deed::Serve),
        1 => any::<u8>().prop_map(Deed::Fail),
        2 => any::<u8>().prop_map(Deed::Break),
        1 => Just(Deed::Compact),
        1 => Just(Deed::Backup),
        1 => Just(Deed::Restore),
        4 => Just(Deed::Wait),
    ]
}

struct World {
    store: Memory,
    backup: Memory,
    watch: Watch,
    now: Duration,
    asked: Vec<WatchAction>,
    streams: BTreeMap<WatchId, (String, Revision)>,
    /// What the facts amount to.
    told: BTreeMap<String, (Vec<u8>, Revision)>,
    /// Every key that the store ever deleted or lost to a backup.
    gone: BTreeMap<String, usize>,
    in_sync: bool,
    lost: bool,
}

impl World {
    fn new() -> Self {
        let (store, watch) = (Memory::new(), watch());
        Self {
            backup: store.clone(),
            store,
            watch,
            now: Duration::ZERO,
            asked: Vec::new(),
            streams: BTreeMap::new(),
            told: BTreeMap::new(),
            gone: BTreeMap::new(),
            in_sync: false,
            lost: false,
        }
    }

    fn key(n: u8) -> String {
        format!("{}{}", ["/a/", "/b/", "/c/"][usize::from(n % 3)], n / 3 % 4)
    }

    fn deed(&mut self, deed: &Deed) {
        match deed {
            Deed::Put(k, v) => put(&mut self.store, &Self::key(*k), &v.to_string()),
            Deed::Delete(k) => {
                *self.gone.entry(Self::key(*k)).or_default() += 1;
                self.store.apply(&Txn::new().delete(Self::key(*k))).unwrap();
            }
            Deed::Serve(n) => self.serve(usize::from(*n)),
            Deed::Fail(n) => {
                if let Some(at) = usize::from(*n).checked_rem(self.asked.len()) {
                    let (id, error) = match self.asked.remove(at) {
                        WatchAction::List { id, .. } => (id, "no leader".to_owned()),
                        WatchAction::Watch { id, .. } => {
                            let reason = WatchEnd::Disconnected("no leader".into());
                            self.watch.handle_event(WatchEvent::Ended { id, reason }, self.now);
                            return;
                        }
                        WatchAction::Cancel { .. } => return,
                    };
                    self.watch.handle_event(WatchEvent::ListFailed { id, error }, self.now);
                }
            }
            Deed::Break(n) => {
                if let Some(at) = usize::from(*n).checked_rem(self.streams.len()) {
                    let id = *self.streams.keys().nth(at).unwrap();
                    self.streams.remove(&id);
                    let reason = WatchEnd::Disconnected("broken".into());
                    self.watch.handle_event(WatchEvent::Ended { id, reason }, self.now);
                }
            }
            Deed::Compact => self.store.compact(Revision::MAX),
            Deed::Backup => self.backup = self.store.clone(),
            Deed::Restore => {
                for prefix in PREFIXES {
                    for kv in self.store.list(prefix) {
                        *self.gone.entry(kv.key.clone()).or_default() += 1;
                    }
                }
                self.store = self.backup.clone();
                // Every connection breaks when a cluster is replaced.
                for id in std::mem::take(&mut self.streams).into_keys() {
                    let reason = WatchEnd::Disconnected("restored".into());
                    self.watch.handle_event(WatchEvent::Ended { id, reason }, self.now);
                }
            }
            Deed::Wait => {
                self.now = self.now.max(self.watch.poll_timeout().unwrap().0);
                self.watch.handle_timeout(self.now);
            }
        }
    }

    fn serve(&mut self, n: usize) {
        let total = self.asked.len() + self.streams.len();
        let Some(at) = n.checked_rem(total) else { return };
        if at < self.asked.len() {
            match self.asked.remove(at) {
                WatchAction::List { id, prefix } => {
                    let kvs = self.store.list(&prefix).cloned().collect();
                    let revision = self.store.revision();
                    self.watch.handle_event(WatchEvent::Listed { id, revision, kvs }, self.now);
                }
                WatchAction::Watch { id, prefix, from } => {
                    self.streams.insert(id, (prefix, from));
                    let revision = self.store.revision();
                    self.watch.handle_event(WatchEvent::Started { id, revision }, self.now);
                }
                WatchAction::Cancel { .. } => {}
            }
            return;
        }
        let (id, (prefix, from)) =
            self.streams.iter().nth(at - self.asked.len()).map(|(i, s)| (*i, s.clone())).unwrap();
        match self.store.changes_since(&prefix, from) {
            Ok(changes) => {
                let Some(first) = changes.first().map(Change::mod_revision) else { return };
                let changes = changes.into_iter().take_while(|c| c.mod_revision() == first).collect();
                self.streams.insert(id, (prefix, first + 1));
                let revision = self.store.revision();
                self.watch.handle_event(WatchEvent::Changes { id, revision, changes }, self.now);
            }
            Err(Compacted { at }) => {
                self.streams.remove(&id);
                self.watch.handle_event(WatchEvent::Ended { id, reason: WatchEnd::Compacted { at } }, self.now);
            }
        }
    }

    fn holds(&self) -> BTreeMap<String, (Vec<u8>, Revision)> {
        let kvs = PREFIXES.iter().flat_map(|prefix| self.store.list(prefix));
        kvs.map(|kv| (kv.key.clone(), (kv.value.clone(), kv.mod_revision))).collect()
    }

    /// Serves everything until nothing is left to do, with relists of each prefix or without any.
    fn settle(&mut self, with_relists: bool) {
        let mut relists: usize = if with_relists { 8 } else { 0 };
        for n in (0..=255).cycle().take(10_000) {
            let lags = |(prefix, from): &(String, Revision)| self.store.changes_since(prefix, *from) != Ok(Vec::new());
            if !self.asked.is_empty() || self.streams.values().any(lags) {
                self.deed(&Deed::Serve(n));
            } else if let (true, Some((_, WatchTimer::Relist))) = (self.in_sync, self.watch.poll_timeout()) {
                match relists.checked_sub(1) {
                    None => return,
                    Some(left) => relists = left,
                }
                self.deed(&Deed::Wait);
            } else {
                self.deed(&Deed::Wait);
            }
            self.drain();
        }
        panic!("no quiescence");
    }

    fn drain(&mut self) {
        while let Some(action) = self.watch.poll_action() {
            if let WatchAction::Cancel { id } = action {
                self.streams.remove(&id);
                self.asked.retain(|a| match a {
                    WatchAction::List { id: i, .. } | WatchAction::Watch { id: i, .. } => *i != id,
                    WatchAction::Cancel { .. } => false,
                });
            } else {
                self.asked.push(action);
            }
        }
        while let Some(fact) = self.watch.poll_fact() {
            match fact {
                Fact::Put(kv) => {
                    let before = self.told.insert(kv.key, (kv.value, kv.mod_revision));
                    assert!(before.is_none_or(|(_, r)| r < kv.mod_revision), "told in order");
                }
                Fact::Deleted { key, .. } => {
                    assert!(self.told.remove(&key).is_some(), "{key} was not known");
                    assert!(self.gone.contains_key(&key), "{key} was never deleted");
                }
                Fact::InSync { .. } => {
                    self.in_sync = true;
                    self.lost = false;
                }
                Fact::Lost { .. } => {
                    assert!(!std::mem::replace(&mut self.lost, true), "said once");
                    self.in_sync = false;
                }
                Fact::Reset { .. } => {
                    assert!(!self.in_sync);
                    self.told.values_mut().for_each(|(_, r)| *r = 0);
                }
            }
        }
        assert_eq!(self.in_sync, self.watch.state().phase == WatchPhase::InSync);
    }
}

proptest! {
    #[test]
    fn what_is_told_amounts_to_what_the_store_holds(deeds in prop::collection::vec(any_deed(), 0..120)) {
        let mut world = World::new();
        world.drain();
        for deed in &deeds {
            world.deed(deed);
            world.drain();
        }
        // Quiet now: everything is served, first without the periodic relist, which would heal anything.
        world.settle(false);
        if !deeds.iter().any(|d| matches!(d, Deed::Restore)) {
            prop_assert_eq!(&world.told, &world.holds());
        }
        world.settle(true);
        prop_assert!(world.in_sync, "{:?}", world.watch.state());
        prop_assert_eq!(&world.told, &world.holds());
        prop_assert_eq!(world.watch.state().keys, world.told.len());
    }
}
