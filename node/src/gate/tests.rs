use super::*;

const NOTHING: Conditions =
    Conditions { store_in_sync: false, resumed: false, gates_decided: false, leaves_in_sync: false, mirrored: true };

fn at(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

#[test]
fn own_objects_are_swept_only_after_a_fresh_store() {
    let mut order = Order::new(at(0));
    let resumed = Conditions { resumed: true, gates_decided: true, ..NOTHING };
    assert_eq!(order.allow_sweeps(resumed, at(3600)), [Sweep::Learned], "last known good never counts as in sync");
    let fresh = Conditions { store_in_sync: true, ..NOTHING };
    assert_eq!(order.allow_sweeps(Conditions { mirrored: false, ..fresh }, at(3601)), []);
    assert_eq!(order.allow_sweeps(fresh, at(3602)), [Sweep::Addresses, Sweep::Static]);
    assert_eq!(order.allow_sweeps(fresh, at(3603)), [], "once is enough");
}

#[test]
fn learned_routes_wait_for_the_leaves_or_their_time() {
    let mut order = Order::new(at(0));
    assert_eq!(order.allow_sweeps(NOTHING, at(89)), []);
    assert_eq!(order.allow_sweeps(NOTHING, at(90)), [Sweep::Learned]);
    let in_sync = Conditions { leaves_in_sync: true, ..NOTHING };
    let mut order = Order::new(at(0));
    assert_eq!(order.allow_sweeps(in_sync, at(1)), [], "End-of-RIB alone is no proof of a full table");
    assert_eq!(order.poll_timeout(), Some(at(10)));
    assert_eq!(order.allow_sweeps(NOTHING, at(5)), [], "a session that went down counts from its return");
    assert_eq!(order.allow_sweeps(in_sync, at(6)), []);
    assert_eq!(order.allow_sweeps(in_sync, at(16)), [Sweep::Learned]);
}

#[test]
fn end_of_rib_waits_for_the_store_or_saved_state_and_every_gate_but_ten_seconds_at_most() {
    let mut order = Order::new(at(0));
    assert!(!order.release_end_of_rib(Conditions { resumed: true, ..NOTHING }, at(1)), "a gate has no verdict");
    assert!(!order.release_end_of_rib(Conditions { gates_decided: true, ..NOTHING }, at(1)), "nothing is known");
    assert!(order.release_end_of_rib(Conditions { resumed: true, gates_decided: true, ..NOTHING }, at(1)));
    assert!(!order.release_end_of_rib(NOTHING, at(20)), "once");
    let mut late = Order::new(at(0));
    assert_eq!(late.poll_timeout(), Some(at(10)));
    assert!(!late.release_end_of_rib(NOTHING, at(9)) && late.release_end_of_rib(NOTHING, at(10)));
}

#[test]
fn what_was_withdrawn_lingers_and_then_goes() {
    let block: Prefix = "10.123.140.64/26".parse().unwrap();
    let none = BTreeSet::new();
    let mut order = Order::new(at(0));
    assert_eq!(order.keep(&BTreeSet::from([block]), &none, at(1)), BTreeSet::from([block]));
    assert_eq!(order.keep(&none, &BTreeSet::from([block]), at(2)), BTreeSet::from([block]));
    assert_eq!(order.poll_timeout(), Some(at(3)));
    assert_eq!(order.keep(&none, &none, at(3)), none);
}
