use petiole_store::value::{Block, Value};

use super::*;

fn view() -> View {
    View::new("n".to_owned())
}

fn put(cidr: &str, owner: &str, mod_revision: Revision) -> KeyValue {
    let cidr: Prefix = cidr.parse().unwrap();
    let value = Block::new(cidr, Owner::Host(owner.to_owned()), 1).unwrap().encode();
    KeyValue { key: Key::Block(cidr).to_string(), value, create_revision: mod_revision, mod_revision }
}

fn owner(view: &View, cidr: &str) -> Option<String> {
    let entry = view.blocks.get(&cidr.parse().unwrap())?;
    Some(entry.owner.as_ref()?.to_string())
}

const CIDR: &str = "10.0.0.0/26";

#[test]
fn an_outcome_overtakes_the_watch_and_is_not_undone_by_it() {
    let mut view = view();
    let (old, new) = (put(CIDR, "other", 5), put(CIDR, "n", 9));
    view.learn(&new.key, Some(&new), 9);
    assert!(view.is_mine(CIDR.parse().unwrap()));
    // The watch catches up.
    view.fact(&Fact::Put(old));
    view.fact(&Fact::Deleted { key: new.key.clone(), mod_revision: 7 });
    assert!(view.is_mine(CIDR.parse().unwrap()));
    view.fact(&Fact::Put(new.clone()));
    view.fact(&Fact::Deleted { key: new.key, mod_revision: 12 });
    assert_eq!(owner(&view, CIDR), None);
}

#[test]
fn the_watch_overtakes_an_outcome_and_is_not_undone_by_it() {
    let mut view = view();
    let (ours, theirs) = (put(CIDR, "n", 9), put(CIDR, "other", 12));
    view.fact(&Fact::Put(ours.clone()));
    view.fact(&Fact::Deleted { key: ours.key.clone(), mod_revision: 11 });
    view.learn(&ours.key, Some(&ours), 9);
    assert_eq!(owner(&view, CIDR), None, "deleted since");
    view.fact(&Fact::Put(theirs));
    view.learn(&ours.key, None, 10);
    assert_eq!(owner(&view, CIDR).unwrap(), "host:other");
}

#[test]
fn a_deletion_of_ours_is_not_undone_by_a_watch_that_lags() {
    let mut view = view();
    let kv = put(CIDR, "n", 5);
    view.fact(&Fact::Put(kv.clone()));
    view.learn(&kv.key, None, 9);
    let again = put(CIDR, "n", 8);
    view.fact(&Fact::Put(again));
    assert_eq!(owner(&view, CIDR), None);
    view.fact(&Fact::Deleted { key: kv.key, mod_revision: 9 });
    view.fact(&Fact::Put(put(CIDR, "other", 10)));
    assert_eq!(owner(&view, CIDR).unwrap(), "host:other");
}

#[test]
fn what_a_snapshot_lacks_is_gone_although_only_an_outcome_told_of_it() {
    let mut view = view();
    let kv = put(CIDR, "other", 5);
    view.learn(&kv.key, Some(&kv), 6);
    view.fact(&Fact::Lost { error: "x".into() });
    view.fact(&Fact::InSync { revision: 5 });
    assert!(owner(&view, CIDR).is_some(), "the snapshot is older");
    view.fact(&Fact::InSync { revision: 10 });
    assert_eq!(owner(&view, CIDR), None, "deleted in between, and the watch never knew it");
}

#[test]
fn what_the_watch_knows_too_stays() {
    let mut view = view();
    let kv = put(CIDR, "other", 5);
    view.learn(&kv.key, Some(&kv), 6);
    view.fact(&Fact::Put(kv));
    view.fact(&Fact::InSync { revision: 10 });
    assert!(owner(&view, CIDR).is_some());
}

#[test]
fn after_a_reset_lower_revisions_count() {
    let mut view = view();
    view.fact(&Fact::Put(put(CIDR, "n", 50)));
    let other = put("10.0.0.64/26", "n", 60);
    view.learn(&other.key, Some(&other), 60);
    view.fact(&Fact::Reset { was: 60, now: 7 });
    assert_eq!(owner(&view, "10.0.0.64/26"), None, "the old store's outcome is void");
    view.fact(&Fact::Put(put(CIDR, "other", 3)));
    view.learn(&other.key, Some(&put("10.0.0.64/26", "other", 6)), 8);
    assert_eq!(owner(&view, CIDR).unwrap(), "host:other");
    assert_eq!(owner(&view, "10.0.0.64/26").unwrap(), "host:other");
}

#[test]
fn a_block_of_any_size_takes_what_it_overlaps() {
    let mut view = view();
    view.fact(&Fact::Put(put("10.0.0.64/28", "other", 5)));
    view.fact(&Fact::Put(put("10.0.1.0/24", "other", 6)));
    let lengths = view.lengths();
    for (cidr, is_taken) in [
        ("10.0.0.64/26", true),
        ("10.0.0.0/26", false),
        ("10.0.0.64/28", true),
        ("10.0.0.72/30", true),
        ("10.0.0.80/28", false),
        ("10.0.1.128/26", true),
        ("10.0.2.0/26", false),
    ] {
        assert_eq!(view.is_taken(cidr.parse().unwrap(), &lengths), is_taken, "{cidr}");
    }
}
