use petiole_node::EffectId;
use petiole_node::store::{Compare, Op, OpResult};

use super::*;

fn put(key: &str, value: &str) -> Txn {
    Txn {
        when: vec![Compare::Absent(key.into())],
        then: vec![Op::Put { key: key.into(), value: value.into() }],
        otherwise: vec![Op::Get(key.into())],
    }
}

fn outcome(store: &mut Embedded, txn: Txn) -> TxnOutcome {
    let mut inputs = store.order(Order::Txn(EffectId(1), txn));
    match inputs.remove(0) {
        Input::Done { id: EffectId(1), result: petiole_node::Done::Txn(Ok(outcome)) } => outcome,
        other => panic!("{other:?}"),
    }
}

#[test]
fn what_was_answered_survives_a_kill() {
    let dir = tempfile::tempdir().unwrap();
    let copy = tempfile::tempdir().unwrap();
    let mut store = Embedded::open(dir.path()).unwrap();
    let first = outcome(&mut store, put("/a", "1"));
    assert!(first.succeeded);
    // A killed agent leaves the file as it is at this moment, without any closing word.
    fs::copy(dir.path().join(FILE), copy.path().join(FILE)).unwrap();
    let mut killed = Embedded::open(copy.path()).unwrap();
    let again = outcome(&mut killed, put("/a", "2"));
    assert!(!again.succeeded, "the first put was lost");
    let OpResult::Got(Some(kv)) = &again.results[0] else { panic!("{again:?}") };
    assert_eq!((kv.value.as_slice(), kv.mod_revision), (&b"1"[..], first.revision));
    assert_eq!(again.revision, first.revision, "revisions went back");
}

#[test]
fn deletions_survive_and_revisions_never_go_back() {
    let dir = tempfile::tempdir().unwrap();
    let mut store = Embedded::open(dir.path()).unwrap();
    outcome(&mut store, put("/a", "1"));
    let deleted = outcome(&mut store, Txn { then: vec![Op::Delete("/a".into())], ..Txn::default() });
    assert_eq!(deleted.results, [OpResult::Deleted(1)]);
    drop(store);
    let mut store = Embedded::open(dir.path()).unwrap();
    let next = outcome(&mut store, put("/a", "2"));
    assert!(next.succeeded);
    assert_eq!(next.revision, deleted.revision + 1);
}

#[test]
fn watches_tell_changes_under_their_prefix_after_the_answer() {
    let dir = tempfile::tempdir().unwrap();
    let mut store = Embedded::open(dir.path()).unwrap();
    let watch = WatchAction::Watch { id: WatchId(7), prefix: "/a/".into(), from: store.memory.revision() + 1 };
    let started = store.order(Order::Watch(watch));
    assert!(matches!(started[..], [Input::Store(WatchEvent::Started { id: WatchId(7), .. })]), "{started:?}");
    let other = store.order(Order::Txn(EffectId(1), put("/b/x", "1")));
    assert_eq!(other.len(), 1, "{other:?}");
    let ours = store.order(Order::Txn(EffectId(2), put("/a/x", "1")));
    let [Input::Done { .. }, Input::Store(WatchEvent::Changes { id: WatchId(7), changes, .. })] = &ours[..] else {
        panic!("{ours:?}")
    };
    assert_eq!(changes.len(), 1);
    store.order(Order::Watch(WatchAction::Cancel { id: WatchId(7) }));
    assert_eq!(store.order(Order::Txn(EffectId(3), put("/a/y", "1"))).len(), 1);
}

#[test]
fn history_before_a_restart_is_compacted() {
    let dir = tempfile::tempdir().unwrap();
    let mut store = Embedded::open(dir.path()).unwrap();
    outcome(&mut store, put("/a", "1"));
    drop(store);
    let mut store = Embedded::open(dir.path()).unwrap();
    let inputs = store.order(Order::Watch(WatchAction::Watch { id: WatchId(1), prefix: "/".into(), from: 1 }));
    let Some(Input::Store(WatchEvent::Ended { reason: WatchEnd::Compacted { at }, .. })) = inputs.last() else {
        panic!("{inputs:?}")
    };
    assert_eq!(*at, store.memory.revision() + 1);
}

#[test]
fn a_second_process_is_told_who_has_the_file() {
    let dir = tempfile::tempdir().unwrap();
    let _first = Embedded::open(dir.path()).unwrap();
    let Err(words) = Embedded::open(dir.path()) else { panic!("opened twice") };
    assert!(words.contains("in use by another process"), "{words}");
}

#[test]
fn a_damaged_file_is_named_with_what_to_do() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join(FILE), vec![b'x'; 8192]).unwrap();
    let Err(words) = Embedded::open(dir.path()) else { panic!("opened garbage") };
    assert!(words.contains("store.redb") && words.contains("move it away"), "{words}");
}
