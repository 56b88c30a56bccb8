use std::collections::BTreeSet;

use petiole_prefix::Family;
use petiole_store::value::{Block, Pool, Value};
use petiole_store::{Fact, Key, KeyValue};
use proptest::prelude::*;

use super::*;
use crate::types::IpamSettings;

fn pools(view: &View) -> Pools {
    let settings = IpamSettings { node: "n".into(), want_block: true, ..IpamSettings::default() };
    Pools::of(&view.pools, &settings)
}

fn view(pool: &str, block_size: u8, taken: &BTreeSet<u64>) -> View {
    let mut view = View::new("n".to_owned());
    let cidr: Prefix = pool.parse().unwrap();
    let mut revision = 0;
    let mut put = |key: Key, value: Vec<u8>| {
        revision += 1;
        let kv = KeyValue { key: key.to_string(), value, create_revision: revision, mod_revision: revision };
        view.fact(&Fact::Put(kv));
    };
    put(Key::Pool("p".into()), Pool::new("p", cidr, block_size, "u".into(), "t".into()).encode());
    for i in taken {
        let block = cidr.subnet(block_size, u128::from(*i)).unwrap();
        put(Key::Block(block), Block::new(block, Owner::Host("o".into()), 1).unwrap().encode());
    }
    view
}

#[test]
fn names_that_differ_in_a_digit_start_apart() {
    let starts: BTreeSet<u32> = (1..=64).map(|i| starting_point(&format!("worker{i}")) % 512).collect();
    assert!(starts.len() > 55, "{} different starting points for 64 names on 512 blocks", starts.len());
}

#[test]
fn a_pool_larger_than_any_loop_is_searched_at_once() {
    let view = view("fd00::/64", 122, &BTreeSet::new());
    let found = candidates(&view, &pools(&view), &Want::any(Family::V6), "n");
    assert_eq!(found.len(), LOOK_AHEAD + 1);
}

proptest! {
    #[test]
    fn a_candidate_is_free_and_there_is_one_while_any_is_free(
        taken in prop::collection::btree_set(0..16u64, 0..=16),
        node in "[a-z0-9.-]{1,12}",
    ) {
        let view = view("10.0.0.0/24", 28, &taken);
        let found = candidates(&view, &pools(&view), &Want::any(Family::V4), &node);
        prop_assert_eq!(found.is_empty(), taken.len() == 16);
        let cidrs: BTreeSet<Prefix> = found.iter().map(Candidate::cidr).collect();
        prop_assert_eq!(cidrs.len(), found.len(), "each once");
        prop_assert_eq!(found.len(), (16 - taken.len()).min(LOOK_AHEAD + 1));
        for cidr in cidrs {
            prop_assert!(cidr.len() == 28 && !view.blocks.contains_key(&cidr));
        }
        prop_assert!(candidates(&view, &pools(&view), &Want::any(Family::V6), &node).is_empty());
    }
}
