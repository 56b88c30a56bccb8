use petiole_store::Memory;
use petiole_store::value::{Attribute, Field};

use super::*;

const WALL: UnixNanos = 1_795_360_224_000_000_000;

fn put(store: &mut Memory, key: &Key, value: Vec<u8>) {
    store.apply(&Txn::new().put(key, value)).unwrap();
}

fn p(text: &str) -> Prefix {
    text.parse().unwrap()
}

/// A pool, a block of node `n` with one address of handle `h`, and everything that belongs to it.
fn sound() -> Memory {
    let mut store = Memory::new();
    let cidr = p("10.0.0.0/30");
    let pool = Pool::new("p", p("10.0.0.0/24"), 30, "u".into(), "t".into());
    put(&mut store, &Key::Pool("p".into()), pool.encode());
    put(&mut store, &Key::Block(cidr), block_with("h").encode());
    put(&mut store, &Key::host_affinity("n", cidr), Affinity::confirmed().encode());
    let mut handle = Handle::default();
    handle.add(cidr);
    put(&mut store, &Key::Handle("h".into()), handle.encode());
    store
}

fn block_with(handle: &str) -> Block {
    let mut block = Block::new(p("10.0.0.0/30"), Owner::Host("n".into()), 5).unwrap();
    let attribute = Attribute { handle_id: Field::Is(handle.into()), ..Attribute::default() };
    block::assign(&mut block, attribute, &[]);
    block
}

fn run(store: &Memory) -> Vec<Found> {
    let kvs: Vec<KeyValue> = store.list("").cloned().collect();
    check(&kvs, None, WALL)
}

/// The kinds that are found, and those that are left after every repair.
fn kinds(store: &mut Memory) -> (Vec<String>, Vec<String>) {
    let name = |f: &Found| serde_json::to_value(&f.finding).unwrap()["kind"].as_str().unwrap().to_owned();
    let before: Vec<String> = run(store).iter().map(name).collect();
    for found in run(store) {
        if let Some(txn) = found.repair {
            for op in &txn.then {
                assert!(txn.when.iter().any(|c| c.key() == op.key()), "{} was not looked at: {txn:?}", op.key());
            }
            assert!(store.apply(&txn).unwrap().outcome.succeeded);
        }
    }
    (before, run(store).iter().map(name).collect())
}

#[test]
fn what_is_sound_is_found_sound() {
    assert_eq!(run(&sound()), []);
}

#[test]
fn each_contradiction_is_found_and_repaired_where_that_is_safe() {
    type Damage = fn(&mut Memory);
    let cases: &[(Damage, &[&str], &[&str])] = &[
        (|s| put(s, &Key::Handle("h".into()), b"{".to_vec()), &["garbage"], &["garbage"]),
        (|s| put(s, &Key::Block(p("10.0.0.0/30")), b"{}".to_vec()), &["garbage"], &["garbage"]),
        (
            |s| put(s, &Key::Pool("q".into()), Pool::new("q", p("10.0.0.0/25"), 30, "u".into(), "t".into()).encode()),
            &["pools_overlap"],
            &["pools_overlap"],
        ),
        (
            |s| {
                let inner = Block::new(p("10.0.0.0/31"), Owner::Host("o".into()), 1).unwrap();
                put(s, &Key::Block(inner.cidr), inner.encode());
            },
            &["blocks_overlap", "size_differs", "block_without_affinity"],
            &["blocks_overlap", "size_differs"],
        ),
        (
            |s| {
                let out = Block::new(p("10.9.0.0/30"), Owner::Host("o".into()), 1).unwrap();
                put(s, &Key::Block(out.cidr), out.encode());
            },
            &["outside_pools", "block_without_affinity"],
            &["outside_pools"],
        ),
        (
            |s| {
                let mut out = Block::new(p("10.0.0.4/30"), Owner::Host("o".into()), 1).unwrap();
                out.affinity = None;
                put(s, &Key::Block(out.cidr), out.encode());
            },
            &["abandoned_block"],
            &[],
        ),
        (
            |s| {
                s.apply(&Txn::new().delete(Key::host_affinity("n", p("10.0.0.0/30")))).unwrap();
            },
            &["block_without_affinity"],
            &[],
        ),
        (
            |s| {
                let mut block = block_with("h");
                block.unallocated.retain(|o| *o != 2);
                put(s, &Key::Block(block.cidr), block.encode());
            },
            &["lost_addresses"],
            &[],
        ),
        (
            |s| {
                let mut block = block_with("h");
                block.attributes.get_or_insert_default().push(Attribute::default());
                put(s, &Key::Block(block.cidr), block.encode());
            },
            &["attributes_unused"],
            &["attributes_unused"],
        ),
        (
            |s| put(s, &Key::host_affinity("o", p("10.0.0.0/30")), Affinity::confirmed().encode()),
            &["affinity_to_others_block"],
            &[],
        ),
        (
            |s| put(s, &Key::host_affinity("o", p("10.0.0.8/30")), Affinity::confirmed().encode()),
            &["affinity_without_block"],
            &[],
        ),
        (
            |s| put(s, &Key::host_affinity("o", p("10.0.0.8/30")), br#"{"state":"pending"}"#.to_vec()),
            &["affinity_without_block"],
            &["affinity_without_block"],
        ),
        (
            |s| put(s, &Key::host_affinity("n", p("10.0.0.0/30")), br#"{"state":"pendingDeletion"}"#.to_vec()),
            &["unconfirmed"],
            &["unconfirmed"],
        ),
        (
            |s| put(s, &Key::Handle("h".into()), br#"{"block":{"10.0.0.0/30":2}}"#.to_vec()),
            &["handle_count_differs"],
            &[],
        ),
        (
            |s| put(s, &Key::Handle("h".into()), br#"{"block":{"10.0.0.0/30":1,"10.0.0.4/30":1}}"#.to_vec()),
            &["handle_without_address"],
            &[],
        ),
        (
            |s| put(s, &Key::Handle("x".into()), br#"{"block":{"10.0.0.4/30":1}}"#.to_vec()),
            &["handle_without_address"],
            &[],
        ),
        (|s| put(s, &Key::Handle("x".into()), br#"{"block":{}}"#.to_vec()), &["empty_handle"], &[]),
        (
            |s| {
                s.apply(&Txn::new().delete(Key::Handle("h".into()))).unwrap();
            },
            &["addresses_without_handle"],
            &[],
        ),
    ];
    for (number, (damage, found, left)) in cases.iter().enumerate() {
        let mut store = sound();
        damage(&mut store);
        let (before, after) = kinds(&mut store);
        let sorted = |v: &[&str]| v.iter().map(|s| (*s).to_owned()).collect::<BTreeSet<_>>();
        assert_eq!(before.into_iter().collect::<BTreeSet<_>>(), sorted(found), "case {number}");
        assert_eq!(after.into_iter().collect::<BTreeSet<_>>(), sorted(left), "case {number}, repaired");
    }
}

#[test]
fn a_repair_that_was_overtaken_is_not_carried_out() {
    let mut store = sound();
    put(&mut store, &Key::Handle("h".into()), br#"{"block":{"10.0.0.0/30":2}}"#.to_vec());
    let repair = run(&store)[0].repair.clone().unwrap();
    put(&mut store, &Key::Block(p("10.0.0.0/30")), block_with("h").encode());
    assert!(!store.apply(&repair).unwrap().outcome.succeeded);
}

#[test]
fn a_nodes_pods_are_held_against_the_store() {
    let store = sound();
    let kvs: Vec<KeyValue> = store.list("").cloned().collect();
    let held = BTreeMap::from([
        ("h".to_owned(), BTreeSet::from(["10.0.0.0".parse().unwrap()])),
        ("other".to_owned(), BTreeSet::from(["10.0.0.0".parse().unwrap(), "10.0.0.1".parse().unwrap()])),
    ]);
    let endpoints = Endpoints { node: "n".into(), held, ..Endpoints::default() };
    let found = check(&kvs, Some(&endpoints), WALL);
    let words: Vec<String> = found.iter().map(|f| f.finding.to_string()).collect();
    assert_eq!(
        words,
        ["other of this node uses 10.0.0.0, which h holds", "other of this node uses 10.0.0.1, which nobody holds",]
    );
}

#[test]
fn calicos_own_keyspace_is_sound_but_for_what_it_left_behind() {
    let mut store = Memory::new();
    for line in include_str!("../../../store/tests/data/calico-etcd.jsonl").lines() {
        let line: serde_json::Value = serde_json::from_str(line).unwrap();
        let key = line["key"].as_str().unwrap();
        store.apply(&Txn::new().put(key, serde_json::to_vec(&line["value"]).unwrap())).unwrap();
    }
    let words: Vec<String> = run(&store).iter().map(|f| f.finding.to_string()).collect();
    assert!(
        words.iter().all(|w| w.contains("no owner and no address") || w.contains("whose blocks are")),
        "{words:#?}"
    );
}
