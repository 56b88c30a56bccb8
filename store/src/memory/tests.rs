use super::*;

#[test]
fn a_transaction_is_all_or_nothing_and_one_revision() {
    let mut store = Memory::new();
    let claim = Txn::new().absent("/a").absent("/b").put("/a", "1").put("/b", "2").otherwise_get("/a");
    let first = store.apply(&claim).unwrap();
    assert!(first.outcome.succeeded);
    assert_eq!(first.outcome.revision, 2);
    assert_eq!(first.changes.iter().map(Change::mod_revision).collect::<Vec<_>>(), [2, 2]);

    let second = store.apply(&claim).unwrap();
    assert!(!second.outcome.succeeded);
    assert_eq!(second.outcome.revision, 2);
    assert!(second.changes.is_empty());
    assert!(matches!(&second.outcome.results[..], [OpResult::Got(Some(kv))] if kv.value == b"1"));
}

#[test]
fn only_changes_make_a_revision() {
    let mut store = Memory::new();
    let applied = store.apply(&Txn::new().delete("/a").get("/a")).unwrap();
    assert_eq!(applied.outcome.results, [OpResult::Deleted(0), OpResult::Got(None)]);
    assert_eq!(store.revision(), 1);
    store.apply(&Txn::new().put("/a", "1")).unwrap();
    let kv = store.get("/a").unwrap().clone();
    assert_eq!((kv.create_revision, kv.mod_revision), (2, 2));
    store.apply(&Txn::new().unchanged("/a", 2).put("/a", "2")).unwrap();
    let kv = store.get("/a").unwrap().clone();
    assert_eq!((kv.create_revision, kv.mod_revision), (2, 3));
    assert!(!store.apply(&Txn::new().unchanged("/a", 2).delete("/a")).unwrap().outcome.succeeded);
    assert!(
        store.apply(&Txn::new().unchanged("/b", 0)).unwrap().outcome.succeeded,
        "an absent key compares as revision 0"
    );
}

#[test]
fn what_etcd_refuses_is_refused_and_changes_nothing() {
    let mut store = Memory::new();
    let twice = Txn::new().put("/a", "1").delete("/a");
    let many = (0..129).fold(Txn::new(), |txn, i| txn.put(format!("/{i}"), "x"));
    for txn in [twice, many, Txn::new().put("", "x")] {
        assert!(matches!(store.apply(&txn), Err(StoreError::Refused(_))));
    }
    assert_eq!(store.revision(), 1);
    assert_eq!(store.list("").count(), 0);
}

#[test]
fn a_prefix_is_a_prefix_of_the_text() {
    let mut store = Memory::new();
    store.apply(&Txn::new().put("/a/1", "").put("/a", "").put("/b", "").put("/a0", "")).unwrap();
    let keys = |prefix| store.list(prefix).map(|kv| kv.key.as_str()).collect::<Vec<_>>();
    assert_eq!(keys("/a/"), ["/a/1"]);
    assert_eq!(keys("/a"), ["/a", "/a/1", "/a0"]);
    assert_eq!(keys(""), ["/a", "/a/1", "/a0", "/b"]);
}

#[test]
fn the_log_reaches_back_to_the_compaction_and_no_further() {
    let mut store = Memory::new();
    for i in 0..5 {
        store.apply(&Txn::new().put("/a", i.to_string())).unwrap();
    }
    assert_eq!(store.changes_since("/a", 1).unwrap().len(), 5);
    assert_eq!(store.changes_since("/b", 1).unwrap(), []);
    store.compact(4);
    assert_eq!(store.changes_since("/a", 3), Err(Compacted { at: 4 }));
    let left: Vec<Revision> = store.changes_since("/a", 4).unwrap().iter().map(Change::mod_revision).collect();
    assert_eq!(left, [4, 5, 6]);
    assert_eq!(store.changes_since("/a", 7).unwrap(), []);
}

#[test]
fn a_restored_store_goes_on_where_it_was() {
    let mut store = Memory::new();
    store.apply(&Txn::new().put("/a", "1")).unwrap();
    store.apply(&Txn::new().put("/b", "1").put("/a", "2")).unwrap();
    store.apply(&Txn::new().delete("/b")).unwrap();
    let mut again = Memory::restore(store.list("").cloned().collect(), store.revision());
    assert_eq!(again.revision(), 4);
    assert_eq!(again.get("/a"), store.get("/a"));
    assert!(again.changes_since("/a", 4).is_err(), "its history is gone");
    again.apply(&Txn::new().unchanged("/a", 3).put("/a", "3")).unwrap();
    assert_eq!(again.changes_since("/a", 5).unwrap().len(), 1);
}

#[test]
fn the_log_is_bounded() {
    let mut store = Memory::new();
    for i in 0..LOG_LIMIT + 10 {
        store.apply(&Txn::new().put("/a", i.to_string())).unwrap();
    }
    assert_eq!(store.log.len(), LOG_LIMIT);
    assert!(store.changes_since("/a", 2).is_err());
    assert!(store.changes_since("/a", 12).is_ok());
}
