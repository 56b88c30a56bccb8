//! Two checkers of one keyspace, written apart, agree: on every state that Calico itself went through, and on damage of any kind.
#![expect(clippy::unwrap_used, reason = "a test")]

use std::collections::BTreeMap;

use petiole_ipam::check::{Finding, check};
use petiole_labtests::ledger::{Differences, audit};
use petiole_store::KeyValue;
use proptest::prelude::*;
use serde_json::Value;

const KEYSPACE: &str = include_str!("../../store/tests/data/calico-etcd.jsonl");
const HISTORY: &str = include_str!("../../store/tests/data/calico-etcd-history.jsonl");

type Keyspace = BTreeMap<String, Value>;

fn recorded(text: &str) -> impl Iterator<Item = (String, Option<Value>)> {
    text.lines().map(|line| {
        let mut line: Value = serde_json::from_str(line).unwrap();
        let value = line.get_mut("value").map(Value::take);
        (line["key"].as_str().unwrap().to_owned(), value)
    })
}

/// What the allocator's own checker says, in the words of the other.
fn opinion(keyspace: &Keyspace) -> Differences {
    let kvs: Vec<KeyValue> = keyspace
        .iter()
        .map(|(key, value)| {
            let value = serde_json::to_vec(value).unwrap();
            KeyValue { key: key.clone(), value, create_revision: 1, mod_revision: 1 }
        })
        .collect();
    // Late enough that whatever was released has cooled down: the ledger knows no time.
    let found = check(&kvs, None, 0);
    let translated = found.into_iter().flat_map(|f| translate(f.finding));
    translated.collect()
}

fn translate(finding: Finding) -> Vec<(&'static str, String)> {
    let is_pending = |state| state != petiole_store::value::AffinityState::Confirmed;
    match finding {
        Finding::Garbage { key, .. } => vec![("garbage", key)],
        Finding::BlocksOverlap { outer, inner } => vec![("overlap", format!("{outer} {inner}"))],
        Finding::LostAddresses { block, .. } => vec![("lost", block.to_string())],
        Finding::AddressWithoutHandleId { block, .. } => vec![("no handle", block.to_string())],
        Finding::AbandonedBlock { block } => vec![("abandoned", block.to_string())],
        Finding::BlockWithoutAffinity { block, owner } => vec![("owner", format!("{owner} {block}"))],
        Finding::AffinityWithoutBlock { block, node, state }
        | Finding::AffinityToOthersBlock { block, node, state, .. } => {
            let mut both = vec![("owner", format!("{node} {block}"))];
            both.extend(is_pending(state).then(|| ("unfinished", format!("{node} {block}"))));
            both
        }
        Finding::Unconfirmed { block, node, .. } => vec![("unfinished", format!("{node} {block}"))],
        Finding::HandleWithoutAddress { handle, block, .. }
        | Finding::HandleCountDiffers { handle, block, .. }
        | Finding::AddressesWithoutHandle { handle, block, .. } => vec![("handle", format!("{handle} {block}"))],
        Finding::EmptyHandle { handle } => vec![("empty handle", handle)],
        // Not entered in the books.
        Finding::PoolsOverlap { .. }
        | Finding::OutsidePools { .. }
        | Finding::SizeDiffers { .. }
        | Finding::AttributesUnused { .. }
        | Finding::EndpointWithoutAddress { .. }
        | Finding::EndpointWithoutInterface { .. }
        | Finding::InterfaceWithoutEndpoint { .. }
        | Finding::AddressWithoutEndpoint { .. } => Vec::new(),
    }
}

#[test]
fn both_agree_on_every_state_that_calico_went_through() {
    let mut keyspace = Keyspace::new();
    let mut unsound = 0;
    for (key, value) in recorded(HISTORY) {
        match value {
            Some(value) => keyspace.insert(key, value),
            None => keyspace.remove(&key),
        };
        let differences = audit(&keyspace);
        unsound += usize::from(!differences.is_empty());
        assert_eq!(opinion(&keyspace), differences);
    }
    assert!(unsound > 20, "its single steps are seen as what they are: {unsound}");
}

fn keyspace() -> Keyspace {
    recorded(KEYSPACE).filter_map(|(key, value)| Some((key, value?))).collect()
}

/// One thing goes wrong; `at` and `how` choose what.
fn damage(keyspace: &mut Keyspace, at: usize, how: u8) {
    let ours: Vec<String> = keyspace.keys().filter(|k| k.starts_with("/calico/ipam/v2/")).cloned().collect();
    let key = ours[at % ours.len()].clone();
    let Some(value) = keyspace.get_mut(&key) else { return };
    if how > 1 && !value.is_object() {
        return;
    }
    match how {
        0 => drop(keyspace.remove(&key)),
        1 => *value = Value::Null,
        2 if key.contains("/handle/") => {
            for count in value["block"].as_object_mut().unwrap().values_mut() {
                *count = (count.as_u64().unwrap() + 1).into();
            }
        }
        2 | 3 if key.contains("/assignment/") => {
            let free = value["unallocated"].as_array_mut().unwrap();
            let taken = free.pop();
            if let (3, Some(twice)) = (how, taken) {
                free.extend([twice.clone(), twice]);
            }
        }
        4 if key.contains("/assignment/") => value["affinity"] = "host:somebody".into(),
        5 if key.contains("/assignment/") => value["affinity"] = Value::Null,
        6 if key.contains("/assignment/") => value["allocations"][at % 2] = 0.into(),
        7 if key.contains("/host/") => value["state"] = ["pending", "pendingDeletion", ""][at % 3].into(),
        8 if key.contains("/host/") => {
            let value = value.clone();
            let (before, block) = key.split_once("/ip").unwrap();
            keyspace.insert(format!("{before}-too/ip{block}"), value);
        }
        9 if key.contains("/handle/") => value["block"] = serde_json::json!({}),
        _ => {}
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn both_agree_on_damage_of_any_kind(deeds in proptest::collection::vec((any::<usize>(), 0..10u8), 0..8)) {
        let mut keyspace = keyspace();
        for (at, how) in deeds {
            damage(&mut keyspace, at, how);
        }
        prop_assert_eq!(opinion(&keyspace), audit(&keyspace));
    }
}
