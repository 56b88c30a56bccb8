//! A second opinion on a keyspace, written from the format alone: raw JSON, no type of the allocator, and another way of
//! thinking. Where `petiole_ipam::check` walks values and looks for what is wrong with each, this keeps books: everything that
//! is said twice in the store is entered once with each sign, and what does not cancel out is wrong.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

const IPAM: &str = "/calico/ipam/v2/";

/// What does not add up: the account and the subject.
pub type Differences = BTreeSet<(&'static str, String)>;

/// Audits keys with their values; a value that is no JSON is `Value::Null`. Pools are not needed.
#[must_use]
pub fn audit(keyspace: &BTreeMap<String, Value>) -> Differences {
    let mut differences = Differences::new();
    // (handle, block): what handles say minus what blocks say.
    let mut handles: BTreeMap<(String, String), i64> = BTreeMap::new();
    // (owner, block): one bit for the affinity, one for the block.
    let mut owners: BTreeMap<(String, String), u8> = BTreeMap::new();
    let mut ranges: Vec<(u128, u128, String)> = Vec::new();
    let mut unreadable = BTreeSet::new();
    let mut empty = BTreeSet::new();
    let mut unfinished = Vec::new();
    for (key, value) in keyspace {
        let Some(rest) = key.strip_prefix(IPAM) else { continue };
        if !value.is_object() && !rest.starts_with("assignment/") {
            differences.insert(("garbage", key.clone()));
            unreadable.extend(rest.strip_prefix("handle/").map(str::to_owned));
            continue;
        }
        if let Some(block) = rest.strip_prefix("assignment/") {
            let cidr = cidr_of(block);
            if !audit_block(&cidr, value, &mut differences, &mut handles, &mut owners) {
                unreadable.insert(cidr.clone());
                differences.insert(("garbage", key.clone()));
            }
            ranges.extend(range(&cidr).map(|(from, to)| (from, to, cidr)));
        } else if let Some(name) = rest.strip_prefix("handle/") {
            let Some(blocks) = value["block"].as_object() else {
                differences.insert(("garbage", key.clone()));
                unreadable.insert(name.to_owned());
                continue;
            };
            if blocks.is_empty() {
                empty.insert(name.to_owned());
            }
            for (block, count) in blocks {
                *handles.entry((name.to_owned(), block.clone())).or_default() += count.as_i64().unwrap_or_default();
            }
        } else if let Some((kind, rest)) = rest.split_once('/')
            && matches!(kind, "host" | "virtual")
            && let Some((name, block)) = rest.split_once('/')
        {
            *owners.entry((format!("{kind}:{name}"), cidr_of(block))).or_default() |= 1;
            if !matches!(value["state"].as_str(), None | Some("" | "confirmed")) {
                unfinished.push((format!("{kind}:{name}"), cidr_of(block)));
            }
        }
    }
    for ((handle, block), balance) in handles {
        if balance != 0 && !unreadable.contains(&block) && !unreadable.contains(&handle) {
            empty.remove(&handle);
            differences.insert(("handle", format!("{handle} {block}")));
        }
    }
    differences.extend(empty.into_iter().map(|name| ("empty handle", name)));
    // Of a block that cannot be read nothing follows for its affinities, whatever their state.
    unfinished.retain(|(_, block)| !unreadable.contains(block));
    differences.extend(unfinished.into_iter().map(|(owner, block)| ("unfinished", format!("{owner} {block}"))));
    for ((owner, block), sides) in owners {
        if sides != 3 && !unreadable.contains(&block) {
            differences.insert(("owner", format!("{owner} {block}")));
        }
    }
    ranges.sort_unstable();
    for (at, (_, end, outer)) in ranges.iter().enumerate() {
        for (_, _, inner) in ranges.iter().skip(at + 1).take_while(|(from, ..)| from <= end) {
            differences.insert(("overlap", format!("{outer} {inner}")));
        }
    }
    differences
}

/// Books a block; `false` when it cannot be read.
fn audit_block(
    cidr: &str,
    block: &Value,
    differences: &mut Differences,
    handles: &mut BTreeMap<(String, String), i64>,
    owners: &mut BTreeMap<(String, String), u8>,
) -> bool {
    let (Some(allocations), Some(free)) = (block["allocations"].as_array(), block["unallocated"].as_array()) else {
        return false;
    };
    let none = Vec::new();
    let attributes = block["attributes"].as_array().unwrap_or(&none);
    // Every ordinal must be there exactly once: taken, or in the queue.
    let mut seen = vec![0u32; allocations.len()];
    for ordinal in free {
        let Some(times) = ordinal.as_u64().and_then(|o| seen.get_mut(usize::try_from(o).ok()?)) else { return false };
        *times += 1;
    }
    for (times, index) in seen.iter_mut().zip(allocations) {
        if let Some(index) = index.as_u64() {
            *times += 1;
            if usize::try_from(index).is_ok_and(|i| i >= attributes.len()) {
                return false;
            }
        }
    }
    if seen.iter().any(|times| *times > 1) {
        return false;
    }
    if seen.contains(&0) {
        differences.insert(("lost", cidr.to_owned()));
    }
    let mut is_used = false;
    for index in allocations.iter().filter_map(Value::as_u64) {
        let attribute = usize::try_from(index).ok().and_then(|i| attributes.get(i)).unwrap_or(&Value::Null);
        if attribute["releasedAt"].is_string() {
            continue;
        }
        is_used = true;
        match attribute["handle_id"].as_str() {
            Some(handle) => *handles.entry((handle.to_owned(), cidr.to_owned())).or_default() -= 1,
            None => {
                differences.insert(("no handle", cidr.to_owned()));
            }
        }
    }
    match block["affinity"].as_str() {
        Some(owner) => *owners.entry((owner.to_owned(), cidr.to_owned())).or_default() |= 2,
        None if !is_used => {
            differences.insert(("abandoned", cidr.to_owned()));
        }
        None => {}
    }
    true
}

/// `ipv4/block/10.0.0.0-26` to `10.0.0.0/26`.
fn cidr_of(rest: &str) -> String {
    let dashed = rest.rsplit('/').next().unwrap_or_default();
    dashed.rsplit_once('-').map_or_else(|| dashed.to_owned(), |(addr, len)| format!("{addr}/{len}"))
}

/// First and last address; IPv4 as in ::/96 does not meet IPv6 that is in use.
fn range(cidr: &str) -> Option<(u128, u128)> {
    let (addr, len) = cidr.split_once('/')?;
    let len: u32 = len.parse().ok()?;
    let (first, bits) = match addr.parse().ok()? {
        std::net::IpAddr::V4(a) => (u128::from(a.to_bits()), 32),
        std::net::IpAddr::V6(a) => (a.to_bits(), 128),
    };
    let size = 1u128.checked_shl(bits - len)?;
    Some((first, first + (size - 1)))
}
