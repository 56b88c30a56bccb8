//! What Project Calico really wrote, read and written back: `data/calico-etcd.jsonl` is a whole keyspace,
//! `data/calico-etcd-history.jsonl` every write that led to it, both recorded from Calico 3.34 with etcd 3.4.
#![expect(clippy::unwrap_used, reason = "a test")]

use petiole_store::key::{Key, KeyError};
use petiole_store::value::{Affinity, Block, Handle, IpamConfig, Pool, Reservation, Value};
use serde_json::Value as Json;

const KEYSPACE: &str = include_str!("data/calico-etcd.jsonl");
const HISTORY: &str = include_str!("data/calico-etcd-history.jsonl");

/// The key and the bytes of every value in a recording; Calico writes JSON without spaces, and the recorded lengths agree.
fn recorded(text: &str) -> impl Iterator<Item = (String, Vec<u8>)> {
    text.lines().filter_map(|line| {
        let line: Json = serde_json::from_str(line).unwrap();
        let value = serde_json::to_vec(line.get("value")?).unwrap();
        if let Some(len) = line.get("raw_len") {
            assert_eq!(len.as_u64().unwrap(), value.len() as u64);
        }
        Some((line["key"].as_str().unwrap().to_owned(), value))
    })
}

fn rewritten(key: &str, value: &[u8]) -> Option<Vec<u8>> {
    Some(match Key::parse(key) {
        Err(KeyError::Foreign(_)) => return None,
        Err(e) => unreachable!("{e}"),
        Ok(Key::Block(_)) => Block::decode(key, value).unwrap().encode(),
        Ok(Key::Affinity { .. }) => Affinity::decode(key, value).unwrap().encode(),
        Ok(Key::Handle(_)) => Handle::decode(key, value).unwrap().encode(),
        Ok(Key::IpamConfig) => IpamConfig::decode(key, value).unwrap().encode(),
        Ok(Key::Pool(_)) => Pool::decode(key, value).unwrap().encode(),
        Ok(Key::Reservation(_)) => Reservation::decode(key, value).unwrap().encode(),
        Ok(other) => unreachable!("Calico does not write {other:?}"),
    })
}

#[test]
fn every_value_is_written_back_byte_for_byte() {
    let mut known = 0;
    for (key, value) in recorded(KEYSPACE).chain(recorded(HISTORY)) {
        let Some(again) = rewritten(&key, &value) else { continue };
        known += 1;
        assert_eq!(String::from_utf8(again).unwrap(), String::from_utf8(value).unwrap(), "{key}");
    }
    assert!(known > 120, "only {known} values were looked at");
}

#[test]
fn any_damage_to_a_value_is_an_error_or_a_value_but_no_panic() {
    for (key, value) in recorded(KEYSPACE) {
        for at in (0..value.len()).step_by(7) {
            let mut damaged = value.clone();
            damaged[at] = damaged[at].wrapping_add(1);
            drop(damaged_is_read(&key, &damaged));
            drop(damaged_is_read(&key, &value[..at]));
        }
    }
}

fn damaged_is_read(key: &str, value: &[u8]) -> Vec<String> {
    let errors = [
        Block::decode(key, value).err(),
        Affinity::decode(key, value).err(),
        Handle::decode(key, value).err(),
        IpamConfig::decode(key, value).err(),
        Pool::decode(key, value).err(),
        Reservation::decode(key, value).err(),
    ];
    errors.into_iter().flatten().map(|e| e.to_string()).collect()
}
