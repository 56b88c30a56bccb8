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
