//! What many nodes ask of a store in the same moment.

use std::collections::BTreeMap;
use std::time::Duration;

use petiole_store::watch::{Watch, WatchAction, WatchEnd, WatchEvent, WatchId, WatchTimer};

const NODES: u16 = 1000;
const PREFIXES: [&str; 5] = ["/a/", "/b/", "/c/", "/d/", "/e/"];
const START: Duration = Duration::from_secs(100);

/// A node of its own seed that has listed everything at revision 10 and watches; what it watches.
fn watching(node: u16) -> (Watch, Vec<WatchId>) {
    let mut seed = [0; 32];
    seed[..2].copy_from_slice(&node.to_be_bytes());
    let mut watch = Watch::new(PREFIXES.map(str::to_owned).to_vec(), seed, START);
    let mut ids = Vec::new();
    while let Some(action) = watch.poll_action() {
        match action {
            WatchAction::List { id, .. } => {
                watch.handle_event(WatchEvent::Listed { id, revision: 10, kvs: Vec::new() }, START);
            }
            WatchAction::Watch { id, .. } => {
                watch.handle_event(WatchEvent::Started { id, revision: 10 }, START);
                ids.push(id);
            }
            WatchAction::Cancel { .. } => {}
        }
    }
    (watch, ids)
}

/// Every watch of every node ends in the same moment; how many lists are asked in each second after it, and how many watches
/// go on from which revision.
fn ended(reason: &WatchEnd, progress: &[i64]) -> (BTreeMap<u64, usize>, BTreeMap<i64, usize>) {
    let (mut lists, mut resumed) = (BTreeMap::new(), BTreeMap::new());
    for node in 0..NODES {
        let (mut watch, ids) = watching(node);
        for id in ids {
            for revision in progress {
                watch.handle_event(WatchEvent::Progress { id, revision: *revision }, START);
            }
            watch.handle_event(WatchEvent::Ended { id, reason: reason.clone() }, START);
        }
        while let Some((at, WatchTimer::Retry)) = watch.poll_timeout() {
            watch.handle_timeout(at);
            while let Some(action) = watch.poll_action() {
                match action {
                    WatchAction::List { .. } => *lists.entry((at - START).as_secs()).or_default() += 1,
                    WatchAction::Watch { from, .. } => *resumed.entry(from).or_default() += 1,
                    WatchAction::Cancel { .. } => {}
                }
            }
        }
    }
    (lists, resumed)
}

#[test]
fn after_a_restart_of_the_store_nobody_lists() {
    let gone = WatchEnd::Disconnected("gone".to_owned());
    let all = usize::from(NODES) * PREFIXES.len();
    assert_eq!(ended(&gone, &[]), (BTreeMap::new(), BTreeMap::from([(11, all)])));
    // Two answers to the question how far a watch is: it goes on after the first, whatever was compacted before.
    assert_eq!(ended(&gone, &[500, 900]), (BTreeMap::new(), BTreeMap::from([(501, all)])));
}

#[test]
fn after_a_compaction_of_what_everybody_missed_the_lists_are_spread() {
    let (lists, resumed) = ended(&WatchEnd::Compacted { at: 1000 }, &[]);
    assert_eq!(resumed, BTreeMap::new());
    assert_eq!(lists.values().sum::<usize>(), usize::from(NODES) * PREFIXES.len());
    let most = lists.values().max().copied().unwrap_or_default();
    assert!(most < 400 && lists.len() == 20, "{lists:?}");
}
