use std::collections::BTreeMap;

use petiole_store::value::Value;
use proptest::prelude::*;
use serde_json::Value as Json;

use super::*;

/// Every write that a real Calico made, in order; see the store's tests.
const HISTORY: &str = include_str!("../../../store/tests/data/calico-etcd-history.jsonl");

fn writes_of_blocks() -> impl Iterator<Item = (i64, String, Block)> {
    HISTORY.lines().filter_map(|line| {
        let line: Json = serde_json::from_str(line).unwrap();
        let key = line["key"].as_str()?.to_owned();
        let value = serde_json::to_vec(line.get("value")?).unwrap();
        Block::decode(&key, &value).ok().map(|block| (line["rev"].as_i64().unwrap(), key, block))
    })
}

/// The date in an attribute, in nanoseconds: the tombstone's, or the block's own clock.
fn released_at(block: &Block) -> Option<UnixNanos> {
    let attributes = block.attributes.as_ref()?;
    attributes.iter().filter_map(|a| parse_rfc3339(a.released_at.get()?)).max()
}

/// What makes `after` out of `before`, done by our functions; `None` when it is nothing that they do.
fn same_step(before: &Block, after: &Block, cooldown: Duration) -> Option<(&'static str, Block)> {
    let changed: Vec<u16> =
        (0u16..).take(before.allocations.len()).filter(|o| before.attribute(*o) != after.attribute(*o)).collect();
    let mut ours = before.clone();
    let first = *changed.first()?;
    if before.attribute(first).is_none() {
        let attribute = after.attribute(first)?.clone();
        assign(&mut ours, attribute, &[])?;
        return Some(("assign", ours));
    }
    let wall = released_at(after).unwrap_or(u64::MAX);
    let kept = |o: &u16| before.sequence_number_for_allocation.get(o) == after.sequence_number_for_allocation.get(o);
    let by = if cooldown.is_zero() || kept(&first) { By::Handle } else { By::Address };
    release(&mut ours, &changed, by, wall);
    collect(&mut ours, cooldown, wall);
    Some(("release", ours))
}

#[test]
fn each_of_calicos_steps_gives_the_same_bytes_when_we_take_it() {
    let mut last: BTreeMap<String, Block> = BTreeMap::new();
    let mut steps: BTreeMap<&str, usize> = BTreeMap::new();
    for (revision, key, after) in writes_of_blocks() {
        // The cooldown was set to 600 s at this revision.
        let cooldown = Duration::from_secs(if revision > 132 { 600 } else { 0 });
        if let Some(before) = last.insert(key.clone(), after.clone())
            && let Some((step, ours)) = same_step(&before, &after, cooldown)
        {
            // One address was asked for by name, which takes it out of turn.
            if ours.unallocated != after.unallocated && step == "assign" {
                assert_eq!(revision, 111);
                continue;
            }
            *steps.entry(step).or_default() += 1;
            let (ours, theirs) = (ours.encode(), after.encode());
            assert_eq!(
                String::from_utf8(ours).unwrap(),
                String::from_utf8(theirs).unwrap(),
                "{step} of revision {revision}"
            );
        }
    }
    assert_eq!(steps, BTreeMap::from([("assign", 21), ("release", 7)]));
}

fn attribute(handle: &str) -> Attribute {
    Attribute { handle_id: petiole_store::value::Field::Is(handle.to_owned()), ..Attribute::default() }
}

#[test]
fn the_address_that_has_been_free_for_longest_comes_first() {
    let mut block = Block::new("10.0.0.0/30".parse().unwrap(), Owner::Host("n".into()), 5).unwrap();
    assert_eq!(assign(&mut block, attribute("a"), &[]), Some(0));
    release(&mut block, &[0], By::Handle, 1_000);
    collect(&mut block, Duration::ZERO, 1_000);
    let order: Vec<Option<u16>> = (0..5).map(|i| assign(&mut block, attribute(&i.to_string()), &[])).collect();
    assert_eq!(order, [Some(1), Some(2), Some(3), Some(0), None]);
}

#[test]
fn reserved_addresses_are_passed_over() {
    let mut block = Block::new("10.0.0.0/30".parse().unwrap(), Owner::Host("n".into()), 5).unwrap();
    let reserved = ["10.0.0.0/31".parse().unwrap(), "10.0.0.3/32".parse().unwrap()];
    assert_eq!(assign(&mut block, attribute("a"), &reserved), Some(2));
    assert_eq!(assign(&mut block, attribute("b"), &reserved), None);
}

#[test]
fn a_date_that_only_another_clock_can_have_written_keeps_nothing_back() {
    let key = "/calico/ipam/v2/assignment/ipv4/block/10.0.0.0-30";
    let (hour, now) = (3_600_000_000_000, 1_795_360_224_000_000_000);
    for (cooldown, ahead, is_free) in
        [(0, hour, true), (0, 0, true), (60, hour, true), (60, 59_000_000_000, false), (60, 60_000_000_000, true)]
    {
        let cidr = "10.0.0.0/30".parse().unwrap();
        let mut block = Block::new(cidr, Owner::Host("n".to_owned()), now).unwrap();
        let ordinal = assign(&mut block, attribute("a"), &[]).unwrap();
        release(&mut block, &[ordinal], By::Handle, now + ahead);
        assert_eq!(is_empty(&block, Duration::from_secs(cooldown), now), is_free, "{cooldown} {ahead}");
        collect(&mut block, Duration::from_secs(cooldown), now);
        assert_eq!(block.unallocated.len(), if is_free { 4 } else { 3 }, "{cooldown} {ahead}");
        assert!(Block::decode(key, &block.encode()).is_ok());
    }
}

#[test]
fn an_address_cools_down_before_it_is_free() {
    let second = 1_000_000_000;
    let mut block = Block::new("10.0.0.0/32".parse().unwrap(), Owner::Host("n".into()), 5).unwrap();
    assign(&mut block, attribute("a"), &[]);
    release(&mut block, &[0], By::Handle, 100 * second);
    let cooldown = Duration::from_secs(60);
    collect(&mut block, cooldown, 159 * second);
    assert_eq!((block.used(), block.free(), block.live().count()), (1, 0, 0));
    collect(&mut block, cooldown, 160 * second);
    assert_eq!((block.used(), block.free()), (0, 1));
    assert_eq!(block.attributes, Some(Vec::new()));
    assert!(block.sequence_number_for_allocation.is_empty());
}

proptest! {
    #[test]
    fn a_block_never_contradicts_itself(deeds in prop::collection::vec((0..3u8, 0..16u16, 0..5u8), 0..80)) {
        let cidr = "10.0.0.0/28".parse().unwrap();
        let key = petiole_store::Key::Block(cidr).to_string();
        let mut block = Block::new(cidr, Owner::Host("n".into()), 5).unwrap();
        let mut held: BTreeMap<u16, String> = BTreeMap::new();
        for (now, (deed, ordinal, handle)) in deeds.into_iter().enumerate() {
            let wall = now as u64 * 1_000_000_000;
            match deed {
                0 => {
                    let handle = format!("h{handle}");
                    if let Some(ordinal) = assign(&mut block, attribute(&handle), &[]) {
                        prop_assert!(held.insert(ordinal, handle).is_none(), "{ordinal} was held");
                    }
                }
                1 => {
                    if held.remove(&ordinal).is_some() {
                        release(&mut block, &[ordinal], By::Address, wall);
                    }
                }
                _ => collect(&mut block, Duration::from_secs(7), wall),
            }
            Block::decode(&key, &block.encode()).unwrap();
            let live: BTreeMap<u16, String> =
                block.live().map(|(o, a)| (o, a.handle_id.get().unwrap().clone())).collect();
            prop_assert_eq!(&live, &held);
            prop_assert_eq!(block.used() + block.free(), 16);
        }
    }
}
