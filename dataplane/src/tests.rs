//! Scenarios, each a sentence of the ownership rules; random histories are in `random`.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::*;
use crate::ident::*;

mod model;
mod random;
mod world;

use model::{EEXIST, ENETUNREACH, EPERM, LO, address, error, ip};
use world::{Fault, World, blackhole, foreign, key, over, own};

fn ready() -> World {
    let mut world = World::new();
    world.want_addresses(BTreeSet::from([own("10.9.9.9", 32), own("fd00:9::9", 128)]));
    world.sweep();
    world.settle();
    world
}

const A: &str = "10.20.0.0/26";
const A6: &str = "fd00:20::/122";

#[test]
fn nothing_is_planned_before_the_first_dump() {
    let mut world = World::new();
    world.want(A, Some(over(&[2], None, false)));
    world.sweep();
    assert!(!world.start_plan());
    assert!(world.ask_dump());
    assert!(!world.dataplane.poll_dump_wanted(), "asked once");
    assert!(!world.start_plan());
    world.settle();
    world.check();
    assert_eq!(world.dataplane.state(&key(A)), RouteState::InKernel);
    assert!(world.dataplane.in_sync());
}

#[test]
fn the_source_is_put_on_before_the_routes_that_use_it() {
    let mut world = World::new();
    world.want(A, Some(over(&[2, 3], Some("10.9.9.9"), false)));
    world.want_addresses(BTreeSet::from([own("10.9.9.9", 32)]));
    world.settle();
    world.check();
    assert!(matches!(world.steps[0], Step::AddAddress(_)));
    assert!(matches!(&world.steps[1], Step::PutRoute(_, r, Put::Create) if r.hops.len() == 2));
    assert_eq!(world.steps.len(), 2);
}

#[test]
fn an_anycast_address_goes_on_after_the_nodes_own() {
    let mut world = World::new();
    let anycast = AddressWant { scope: Scope::Link, ..own("10.0.0.1", 32) };
    let anycast6 = AddressWant { deprecated: true, ..own("fd00::1", 128) };
    world.want_addresses(BTreeSet::from([anycast, anycast6, own("10.9.9.9", 32), own("fd00:9::9", 128)]));
    world.settle();
    let order: Vec<_> = world
        .steps
        .iter()
        .map(|s| match s {
            Step::AddAddress(a) => (a.deprecated, a.scope),
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(order, [(false, Scope::Global), (false, Scope::Global), (false, Scope::Link), (true, Scope::Global)]);
}

#[test]
fn a_change_of_the_hop_set_is_one_replace() {
    let mut world = ready();
    for prefix in [A, A6] {
        let v6 = prefix == A6;
        world.want(prefix, Some(over(&[2], None, v6)));
        world.settle();
        world.steps.clear();
        world.want(prefix, Some(over(&[3, 2, 3], None, v6)));
        world.settle();
        assert!(
            matches!(&world.steps[..], [Step::PutRoute(k, r, Put::Replace)] if *k == key(prefix) && r.hops.len() == 2)
        );
        world.check();
    }
}

#[test]
fn a_foreign_route_with_our_key_keeps_it_until_it_goes() {
    for prefix in [A, "0.0.0.0/0"] {
        let mut world = ready();
        world.kernel.put(key(prefix), foreign(2), Put::Create).expect("theirs");
        world.settle();
        world.steps.clear();
        world.want(prefix, Some(over(&[3], None, false)));
        world.settle();
        world.check();
        assert_eq!(world.steps, []);
        assert_eq!(world.dataplane.state(&key(prefix)), RouteState::HeldByForeign { route: foreign(2) });
        let problem = world.dataplane.problems().pop().expect("said");
        assert!(matches!(problem, Problem::RoutesHeld { count: 1, protocol: 4, .. }), "{problem}");

        world.kernel.delete(&key(prefix), 4).expect("it goes");
        world.settle();
        assert_eq!(world.dataplane.state(&key(prefix)), RouteState::InKernel);
        assert_eq!(world.dataplane.problems(), []);
    }
}

#[test]
fn a_foreign_route_that_takes_our_place_is_not_fought() {
    let mut world = ready();
    world.want(A, Some(over(&[2], None, false)));
    world.settle();
    world.kernel.put(key(A), foreign(3), Put::Replace).expect("theirs");
    world.settle();
    world.check();
    assert_eq!(world.kernel.foreign()[&key(A)], [foreign(3)]);
    // Beside ours, as after `ip route append`: what is there is used, but a replace might hit theirs.
    let mut world = ready();
    world.want(A, Some(over(&[2], None, false)));
    world.settle();
    world.kernel.append(key(A), foreign(3));
    world.settle();
    world.want(A, Some(over(&[2, 3], None, false)));
    world.settle();
    world.check();
    assert_eq!(world.kernel.routes[&key(A)].len(), 2);
    world.kernel.delete(&key(A), 4).expect("theirs goes");
    world.settle();
    assert_eq!(world.dataplane.state(&key(A)), RouteState::InKernel);
}

#[test]
fn drift_is_found_by_value_and_put_right() {
    for prefix in [A, A6] {
        let v6 = prefix == A6;
        let mut world = ready();
        world.want(prefix, Some(over(&[2, 3], None, v6)));
        world.settle();
        // Same key, other hops; told once, found by the periodic dump the second time.
        for (n, told) in [(1, true), (2, false)] {
            let mut other = world.kernel.routes[&key(prefix)][0].clone();
            other.hops.pop();
            world.kernel.put(key(prefix), other, Put::Replace).expect("changed");
            if !told {
                world.kernel.told.clear();
                let (at, reason) = world.dataplane.poll_timeout().expect("a check");
                assert_eq!(reason, TimerReason::Resync);
                world.advance(at);
            }
            world.settle();
            world.check();
            let counters = world.dataplane.counters();
            assert_eq!((counters.drift_found, counters.drift_repaired), (n, n));
        }
        world.kernel.delete(&key(prefix), ROUTE_PROTOCOL).expect("deleted");
        world.settle();
        world.check();
        assert_eq!(world.dataplane.counters().drift_repaired, 3);
    }
}

#[test]
fn a_link_that_goes_down_takes_its_hop_at_once_and_brings_it_back() {
    for prefix in [A, A6] {
        for carrier_only in [true, false] {
            let v6 = prefix == A6;
            let mut world = ready();
            world.want(prefix, Some(over(&[2, 3], None, v6)));
            world.settle();
            world.steps.clear();
            world.kernel.set_link(2, carrier_only, false);
            world.deliver(1);
            assert!(world.start_plan(), "no waiting for a dump");
            world.settle();
            world.check();
            assert!(
                matches!(&world.steps[..], [Step::PutRoute(_, r, Put::Replace)] if r.hops.iter().all(|h| h.link == 3))
            );

            world.kernel.set_link(3, carrier_only, false);
            world.settle();
            world.check();
            assert_eq!(world.dataplane.state(&key(prefix)), RouteState::LinkDown);
            world.kernel.restore_link(3);
            world.kernel.restore_link(2);
            world.settle();
            world.check();
            assert_eq!(world.kernel.ours()[&key(prefix)].hops.len(), 2);
            assert_eq!(world.dataplane.counters().drift_found, 0, "links are no drift");
        }
    }
}

#[test]
fn what_a_link_takes_with_it_is_written_again_before_any_dump_tells() {
    for prefix in [A, A6] {
        for address_only in [false, true] {
            let mut world = ready();
            world.want(prefix, Some(over(&[2], None, prefix == A6)));
            world.settle();
            world.steps.clear();
            let lost = if address_only {
                world.kernel.delete_address(&address(2, "10.1.2.1", 24, 0)).expect("it goes");
                prefix == A
            } else {
                world.kernel.set_link(2, false, false);
                true
            };
            world.deliver(usize::MAX);
            world.kernel.restore_link(2);
            world.deliver(usize::MAX);
            assert_eq!(world.start_plan(), lost);
            let created = |s: &Step| matches!(s, Step::PutRoute(k, _, Put::Create) if *k == key(prefix));
            assert_eq!(world.steps.iter().any(created), lost);
            world.settle();
            world.check();
        }
    }
}

#[test]
fn routes_lost_with_an_interface_or_a_source_come_back_with_it() {
    for (prefix, source) in [(A, "10.9.9.9"), (A6, "fd00:9::9")] {
        let v6 = prefix == A6;
        let mut world = ready();
        world.want(prefix, Some(over(&[2, 3], Some(source), v6)));
        world.settle();
        world.kernel.remove_link(2);
        world.settle();
        world.check();
        assert_eq!(world.kernel.ours()[&key(prefix)].hops.len(), 1);
        world.kernel.restore_link(2);
        world.settle();
        world.check();

        let on_lo = address(LO, source, if v6 { 128 } else { 32 }, ADDRESS_PROTOCOL);
        world.kernel.delete_address(&on_lo).expect("somebody takes it off");
        world.settle();
        world.check();
        assert_eq!(world.dataplane.state(&key(prefix)), RouteState::InKernel);
        assert_eq!(world.kernel.ours()[&key(prefix)].prefsrc, Some(ip(source)));
    }
}

#[test]
fn a_source_that_is_nowhere_is_waited_for() {
    let mut world = ready();
    world.want(A, Some(over(&[2], Some("10.8.8.8"), false)));
    world.settle();
    world.check();
    assert_eq!(world.dataplane.state(&key(A)), RouteState::SourceMissing { source: ip("10.8.8.8") });
    assert!(world.dataplane.problems()[0].to_string().contains("10.8.8.8"));
    world.kernel.add_address(address(2, "10.8.8.8", 32, 0)).expect("it comes");
    world.settle();
    assert_eq!(world.dataplane.state(&key(A)), RouteState::InKernel);
}

#[test]
fn refusals_are_retried_with_growing_waits() {
    let mut world = ready();
    world.faults = vec![Fault::Errno(ENETUNREACH); 4];
    world.want(A, Some(over(&[2], None, false)));
    let mut waits = Vec::new();
    while world.start_plan() {
        world.finish_plan();
        if let RouteState::Failed { error: e, retry_at } = world.dataplane.state(&key(A)) {
            assert_eq!(e, error(ENETUNREACH));
            assert!(!world.start_plan(), "not before its time");
            waits.push((retry_at - world.now).as_millis());
            world.advance(retry_at);
        }
    }
    assert_eq!(waits, [100, 200, 400, 800]);
    world.check();
}

#[test]
fn what_cannot_work_is_said_in_words_and_tried_again_at_the_resync() {
    let mut world = ready();
    world.faults = vec![Fault::Errno(EPERM)];
    world.want(A, Some(over(&[2], None, false)));
    assert!(world.start_plan() && world.finish_plan());
    let problem = world.dataplane.problems().pop().expect("said").to_string();
    assert!(problem.contains("CAP_NET_ADMIN") && problem.contains(A), "{problem}");
    assert!(!world.dataplane.in_sync());
    let RouteState::Failed { retry_at, .. } = world.dataplane.state(&key(A)) else { panic!("failed") };
    assert_eq!(retry_at - world.now, Duration::from_secs(60));
    // Another wish is another attempt.
    world.want(A, Some(over(&[3], None, false)));
    world.settle();
    world.check();
}

#[test]
fn a_key_that_is_taken_unseen_is_looked_up() {
    let mut world = ready();
    world.kernel.put(key(A), foreign(2), Put::Create).expect("theirs");
    world.kernel.told.clear();
    world.want(A, Some(over(&[3], None, false)));
    assert!(world.start_plan() && world.finish_plan());
    assert!(matches!(world.dataplane.state(&key(A)), RouteState::Failed { error: e, .. } if e.errno == EEXIST));
    world.settle();
    world.check();
    assert!(matches!(world.dataplane.state(&key(A)), RouteState::HeldByForeign { .. }));
}

#[test]
fn what_is_left_of_an_earlier_life_is_kept_until_the_sweep() {
    let mut world = ready();
    world.want(A, Some(over(&[2], Some("10.9.9.9"), false)));
    world.want("10.21.0.0/26", Some(over(&[2], None, false)));
    world.want_static(BTreeMap::from([(key("10.30.0.0/26"), blackhole())]));
    world.settle();
    let before = world.kernel.clone();
    world.steps.clear();
    world.crash(0);
    world.learned.remove(&"10.21.0.0/26".parse().expect("a prefix"));
    world.settle();
    assert_eq!(world.dataplane.state(&key(A)), RouteState::Adopted);
    world.tell_all();
    world.settle();
    assert_eq!(world.steps, [], "everything wanted is there already");
    assert_eq!(world.kernel.routes, before.routes);
    assert_eq!(world.dataplane.state(&key("10.21.0.0/26")), RouteState::Adopted);
    world.dataplane.allow_sweep(Sweep::Static);
    world.settle();
    assert_eq!(world.steps, [], "another class");
    world.sweep();
    world.settle();
    world.check();
    assert!(matches!(&world.steps[..], [Step::DeleteRoute(k, _)] if *k == key("10.21.0.0/26")));
}

#[test]
fn what_a_leaf_withdraws_goes_at_once_however_long_the_sweep_waits() {
    let mut world = ready();
    world.want(A, Some(over(&[2], None, false)));
    world.want("10.21.0.0/26", Some(over(&[2], None, false)));
    world.settle();
    world.crash(0);
    world.settle();
    world.tell_all();
    world.settle();
    world.steps.clear();
    world.want(A, None);
    world.settle();
    assert!(matches!(&world.steps[..], [Step::DeleteRoute(k, _)] if *k == key(A)), "{:?}", world.steps);
    assert!(!world.kernel.routes.contains_key(&key(A)));
    assert!(world.kernel.routes.contains_key(&key("10.21.0.0/26")), "what is still announced stays");
    // Announced and withdrawn again while the kernel is being told.
    world.want(A, Some(over(&[2], None, false)));
    assert!(world.start_plan());
    world.want(A, None);
    assert!(world.finish_plan());
    world.settle();
    assert!(!world.kernel.routes.contains_key(&key(A)));
}

#[test]
fn an_address_of_others_is_used_and_left_alone() {
    let mut world = World::new();
    for (addr, len) in [("10.9.9.9", 32), ("fd00:9::9", 64)] {
        world.kernel.add_address(address(LO, addr, len, 0)).expect("provisioned");
    }
    world.want_addresses(BTreeSet::from([own("10.9.9.9", 32), own("fd00:9::9", 128)]));
    world.want(A, Some(over(&[2], Some("10.9.9.9"), false)));
    world.want(A6, Some(over(&[2], Some("fd00:9::9"), true)));
    world.sweep();
    world.settle();
    world.check();
    assert!(world.steps.iter().all(|s| matches!(s, Step::PutRoute(..))), "{:?}", world.steps);
    assert!(matches!(world.dataplane.address_state(ip("10.9.9.9"), 32), AddressState::HeldByForeign { .. }));
    assert!(matches!(world.dataplane.problems()[..], [Problem::AddressHeld { held_len: 64, .. }]));
    world.want_addresses(BTreeSet::new());
    world.settle();
    assert!(world.kernel.is_local(ip("10.9.9.9")));
}

#[test]
fn an_address_that_others_put_on_just_before_us_is_no_refusal() {
    for told_first in [true, false] {
        let mut world = World::new();
        world.settle();
        world.want_addresses(BTreeSet::from([own("10.9.9.9", 32), own("fd00:9::9", 128)]));
        assert!(world.start_plan());
        for (addr, len) in [("10.9.9.9", 32), ("fd00:9::9", 128)] {
            world.kernel.add_address(address(LO, addr, len, 0)).expect("provisioned meanwhile");
        }
        assert!(!told_first || world.deliver(usize::MAX));
        assert!(world.finish_plan());
        world.settle();
        world.check();
        assert_eq!(world.dataplane.problems(), [], "told first: {told_first}");
        assert!(world.dataplane.in_sync());
    }
}

#[test]
fn a_source_is_taken_off_only_after_the_last_route_that_uses_it() {
    let mut world = ready();
    world.want(A, Some(over(&[2], Some("10.9.9.9"), false)));
    world.settle();
    world.want_addresses(BTreeSet::from([own("10.9.9.10", 32)]));
    world.settle();
    assert!(world.kernel.is_local(ip("10.9.9.9")), "still the source of a wanted route");
    world.steps.clear();
    world.want(A, Some(over(&[2], Some("10.9.9.10"), false)));
    world.settle();
    assert!(
        matches!(&world.steps[..], [Step::PutRoute(.., Put::Replace), Step::DeleteAddress(a)] if a.addr == ip("10.9.9.9"))
    );
    world.check();
}

#[test]
fn an_address_of_ours_with_another_scope_is_changed_with_its_routes_restored() {
    let mut world = ready();
    world.want(A, Some(over(&[2], Some("10.9.9.9"), false)));
    world.settle();
    world.steps.clear();
    world.want_addresses(BTreeSet::from([AddressWant { scope: Scope::Link, ..own("10.9.9.9", 32) }]));
    world.settle();
    world.check();
    assert_eq!(world.dataplane.address_state(ip("10.9.9.9"), 32), AddressState::InKernel);
    assert_eq!(world.dataplane.state(&key(A)), RouteState::InKernel);
}

#[test]
fn the_nodes_own_route_stands_before_a_learned_one() {
    let mut world = ready();
    world.want(A, Some(over(&[2], None, false)));
    world.settle();
    world.want_static(BTreeMap::from([(key(A), blackhole())]));
    world.want(A, Some(over(&[3], None, false)));
    world.settle();
    world.check();
    assert_eq!(world.kernel.ours()[&key(A)], blackhole());
    world.steps.clear();
    world.want_static(BTreeMap::new());
    world.settle();
    world.check();
    assert!(matches!(&world.steps[..], [Step::PutRoute(.., Put::Replace)]));
}

#[test]
fn plans_are_bounded_and_write_before_they_delete() {
    let mut world = ready();
    let prefix = |i: u32| format!("10.{}.{}.0/24", 100 + i / 256, i % 256);
    for i in 0..5_000 {
        world.want(&prefix(i), Some(over(&[2], None, false)));
    }
    world.settle();
    for i in 0..5_000 {
        world.want(&prefix(i), None);
    }
    for i in 5_000..10_000 {
        world.want(&prefix(i), Some(over(&[2, 3], None, false)));
    }
    world.steps.clear();
    assert!(world.start_plan());
    assert_eq!(world.plan.as_ref().map(|p| p.steps.len()), Some(4096));
    world.settle();
    world.check();
    let first_delete = world.steps.iter().position(|s| matches!(s, Step::DeleteRoute(..)));
    let last_put = world.steps.iter().rposition(|s| matches!(s, Step::PutRoute(..)));
    assert!(first_delete > last_put);
    assert_eq!(world.dataplane.observed_routes().count(), 5_000);
}

#[test]
fn a_dump_does_not_unsay_what_a_plan_did_meanwhile() {
    let mut world = ready();
    world.want(A, Some(over(&[2], None, false)));
    world.settle();
    let before = world.dataplane.counters();
    let (at, _) = world.dataplane.poll_timeout().expect("a check");
    world.advance(at);
    assert!(world.ask_dump() && world.read_dump(0), "the dump has seen the old table");
    world.want(A, None);
    world.want(A6, Some(over(&[2], None, true)));
    assert!(world.start_plan() && world.finish_plan());
    world.steps.clear();
    world.settle();
    assert_eq!(world.steps, []);
    assert_eq!(world.dataplane.state(&key(A6)), RouteState::InKernel);
    assert_eq!(world.dataplane.state(&key(A)), RouteState::Absent);
    assert_eq!(world.dataplane.counters().drift_found, before.drift_found);
    world.check();
}

#[test]
fn somebody_who_interferes_with_a_plan_under_way_is_found_out() {
    let mut world = ready();
    world.want(A, Some(over(&[2], None, false)));
    assert!(world.start_plan());
    let plan = world.plan.take().expect("started");
    let results = plan.steps.iter().map(|s| world.kernel.apply(s)).collect();
    // Told before the answer, which says that all is well.
    world.kernel.delete(&key(A), ROUTE_PROTOCOL).expect("deleted");
    world.deliver(1);
    world.dataplane.handle_done(plan.id, results, world.now);
    world.settle();
    world.check();
    assert_eq!(world.kernel.ours().len(), 1);
}

#[test]
fn values_are_stored_once_and_freed() {
    let mut world = ready();
    for i in 0..100_u8 {
        world.want(&format!("10.100.{i}.0/24"), Some(over(&[2, 3], None, false)));
    }
    world.settle();
    world.kernel.set_link(2, false, false);
    world.settle();
    // The wish, and what is left of it.
    assert_eq!(world.dataplane.values.len(), 2);
    for i in 0..100_u8 {
        world.want(&format!("10.100.{i}.0/24"), None);
    }
    world.settle();
    assert_eq!(world.dataplane.values.len(), 0);
}

#[test]
fn a_dump_that_does_not_come_is_asked_for_again_and_said() {
    let mut world = ready();
    let (at, _) = world.dataplane.poll_timeout().expect("a check");
    world.advance(at);
    assert!(world.dataplane.poll_dump_wanted());
    let (at, reason) = world.dataplane.poll_timeout().expect("overdue");
    assert_eq!(reason, TimerReason::DumpOverdue);
    world.advance(at);
    assert!(matches!(world.dataplane.problems()[..], [Problem::DumpOverdue { .. }]));
    assert!(world.dataplane.poll_dump_wanted());
    world.dump_asked = true;
    world.settle();
    assert_eq!(world.dataplane.problems(), []);
}
