use petiole_store::value::{Affinity, Pool};
use petiole_store::{Compare, Fact, Op};

use super::*;
use crate::types::IpamSettings;

fn known(keys: &[(Key, Vec<u8>)]) -> (View, Pools) {
    let mut view = View::new("n".to_owned());
    for (revision, (key, value)) in (1..).zip(keys) {
        let value = value.clone();
        view.fact(&Fact::Put(KeyValue {
            key: key.to_string(),
            value,
            create_revision: revision,
            mod_revision: revision,
        }));
    }
    let settings = IpamSettings { node: "n".into(), want_block: true, ..IpamSettings::default() };
    let pools = Pools::of(&view.pools, &settings);
    (view, pools)
}

fn one_block() -> (View, Pools) {
    let cidr: Prefix = "10.0.0.0/30".parse().unwrap();
    let owner = petiole_store::Owner::Host("n".into());
    known(&[
        (Key::Pool("p".into()), Pool::new("p", "10.0.0.0/24".parse().unwrap(), 30, "u".into(), "t".into()).encode()),
        (Key::Block(cidr), Block::new(cidr, owner, 5).unwrap().encode()),
        (Key::host_affinity("n", cidr), Affinity::confirmed().encode()),
    ])
}

fn pending(ask: Ask) -> Pending {
    Pending { id: RequestId(1), ask, deadline: Duration::ZERO, attempted: Vec::new(), waits_for: None }
}

fn assign(handle: &str) -> Pending {
    let (handle, families) = (handle.to_owned(), vec![Family::V4]);
    let attributes = BTreeMap::from([("pod".to_owned(), "p".to_owned())]);
    pending(Ask::Assign(AssignRequest { handle, families, attributes, ..AssignRequest::default() }))
}

#[test]
fn an_assignment_is_what_calico_would_write() {
    let (view, pools) = one_block();
    let (read, recent) = (BTreeMap::new(), Recent::default());
    let mut batch = Batch::new(&view, &pools, &read, &recent, "n", 1_795_360_224_017_814_164);
    let Planned::Change(addresses) = batch.add(&assign("net.cid")) else { panic!("no change") };
    assert_eq!(addresses, ["10.0.0.0".parse::<IpAddr>().unwrap()]);
    let txn = batch.into_txn().unwrap();
    let (block, handle) = ("/calico/ipam/v2/assignment/ipv4/block/10.0.0.0-30", "/calico/ipam/v2/handle/net.cid");
    assert_eq!(txn.when, [Compare::ModRevision(block.into(), 2), Compare::Absent(handle.into())]);
    let text = |op: &Op| match op {
        Op::Put { value, .. } => String::from_utf8(value.clone()).unwrap(),
        other => panic!("{other:?}"),
    };
    assert_eq!(
        text(&txn.then[0]),
        r#"{"cidr":"10.0.0.0/30","affinity":"host:n","affinity_claim_time":"1970-01-01T00:00:00Z","allocations":[0,null,null,null],"unallocated":[1,2,3],"attributes":[{"handle_id":"net.cid","secondary":{"node":"n","pod":"p","timestamp":"2026-11-22 15:10:24.017814164 +0000 UTC"}}],"sequenceNumber":6,"sequenceNumberForAllocation":{"0":5},"deleted":false}"#
    );
    assert_eq!(text(&txn.then[1]), r#"{"block":{"10.0.0.0/30":1},"deleted":false}"#);
}

#[test]
fn a_batch_that_cannot_add_a_request_is_unchanged() {
    let (view, pools) = one_block();
    let (read, recent) = (BTreeMap::new(), Recent::default());
    let mut batch = Batch::new(&view, &pools, &read, &recent, "n", 1);
    for i in 0..4 {
        assert!(matches!(batch.add(&assign(&i.to_string())), Planned::Change(_)));
    }
    assert!(matches!(batch.add(&assign("4")), Planned::NoAddress(_)));
    let mut both = assign("both");
    if let Ask::Assign(request) = &mut both.ask {
        request.families = vec![Family::V4, Family::V6];
    }
    assert!(matches!(batch.add(&both), Planned::NoAddress(_)));
    assert_eq!(batch.into_txn().unwrap().then.len(), 5, "one block, four handles");
}

#[test]
fn assign_and_release_in_one_batch_leave_nothing_behind() {
    let (view, pools) = one_block();
    let (read, recent) = (BTreeMap::new(), Recent::default());
    let mut batch = Batch::new(&view, &pools, &read, &recent, "n", 1);
    let Planned::Change(given) = batch.add(&assign("h")) else { panic!("no change") };
    let Planned::Change(back) = batch.add(&pending(Ask::Release(ReleaseTarget::Handle("h".into())))) else {
        panic!("no change")
    };
    assert_eq!(given, back);
    let txn = batch.into_txn().unwrap();
    assert!(!txn.then.iter().any(|op| op.key().contains("handle")), "{txn:?}");
}

#[test]
fn a_handle_that_cannot_be_read_is_named() {
    let (view, pools) = one_block();
    let key = Key::Handle("h".into()).to_string();
    let kv = KeyValue { key: key.clone(), value: b"junk".to_vec(), create_revision: 4, mod_revision: 4 };
    let read = BTreeMap::from([(key.clone(), Some(kv))]);
    let recent = Recent::default();
    let mut batch = Batch::new(&view, &pools, &read, &recent, "n", 1);
    for ask in [assign("h"), pending(Ask::Release(ReleaseTarget::Handle("h".into())))] {
        let Planned::Reply(Err(AssignError::Garbage(error))) = batch.add(&ask) else { panic!("no error") };
        assert!(error.contains(&key), "{error}");
    }
    assert!(batch.into_txn().is_none());
}

#[test]
fn a_handle_that_was_never_seen_is_read_before_it_is_said_to_hold_nothing() {
    let (view, pools) = one_block();
    let read = BTreeMap::new();
    let release = pending(Ask::Release(ReleaseTarget::Handle("h".into())));
    let Planned::Read(keys) = Batch::new(&view, &pools, &read, &Recent::default(), "n", 1).add(&release) else {
        panic!("no read")
    };
    assert_eq!(keys, [Key::Handle("h".into())]);
    let read = BTreeMap::from([(keys[0].to_string(), None)]);
    let recent = Recent::default();
    let mut batch = Batch::new(&view, &pools, &read, &recent, "n", 1);
    assert!(matches!(batch.add(&release), Planned::Reply(Ok(addresses)) if addresses.is_empty()));
}

#[test]
fn a_handle_that_is_not_there_must_stay_away() {
    let (mut view, pools) = one_block();
    let cidr: Prefix = "10.0.0.0/30".parse().unwrap();
    let mut held = view.blocks[&cidr].full.clone().unwrap();
    let attribute = Attribute { handle_id: Field::Is("h".into()), ..Attribute::default() };
    block::assign(&mut held, attribute, &[]);
    let key = Key::Block(cidr).to_string();
    view.fact(&Fact::Put(KeyValue { key, value: held.encode(), create_revision: 2, mod_revision: 4 }));
    let handle = Key::Handle("h".into()).to_string();
    let read = BTreeMap::from([(handle.clone(), None)]);
    let recent = Recent::default();
    let mut batch = Batch::new(&view, &pools, &read, &recent, "n", 1);
    let release = pending(Ask::Release(ReleaseTarget::Address("10.0.0.0".parse().unwrap())));
    assert!(matches!(batch.add(&release), Planned::Change(_)));
    assert!(batch.into_txn().unwrap().when.contains(&Compare::Absent(handle)));
}
