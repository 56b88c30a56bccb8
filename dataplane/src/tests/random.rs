//! Random histories: wishes, other programs, failures and crashes in any order, and then peace.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;
use proptest::sample::{Index, select, subsequence};

use super::model::*;
use super::world::*;
use crate::ident::*;
use crate::*;

#[derive(Clone, Debug)]
enum Op {
    Want(&'static str, Option<(Vec<LinkIndex>, bool)>),
    Statics(Vec<&'static str>),
    Addresses(Vec<(&'static str, u8)>),
    Link(LinkIndex, bool, bool),
    RemoveLink(LinkIndex),
    RestoreLink(LinkIndex),
    Theirs(&'static str, u8),
    TheirsAppend(&'static str),
    TheirsDelete(&'static str, u8),
    OursChanged(&'static str, LinkIndex),
    AddressAdd(&'static str),
    AddressDelete(Index),
    Fault(Fault),
    Overrun,
    Deliver(usize),
    StartPlan,
    FinishPlan,
    AskDump,
    ReadDump(usize),
    Advance(u64),
    Settle,
    Crash(usize),
    TellAll,
}

const PREFIXES: [&str; 6] = ["0.0.0.0/0", "10.20.0.0/26", "10.20.0.64/26", "10.30.0.0/26", "fd00:20::/122", "::/0"];
const SOURCES: [(&str, u8); 4] = [("10.9.9.9", 32), ("fd00:9::9", 128), ("10.8.0.0", 17), ("fd00:8::1", 128)];

fn op() -> impl Strategy<Value = Op> {
    let prefix = || select(&PREFIXES[..]);
    let link = || 2..=3_u32;
    let hops = || (subsequence(vec![2, 3], 0..=2), any::<bool>());
    prop_oneof![
        8 => (prefix(), prop::option::weighted(0.8, hops())).prop_map(|(p, h)| Op::Want(p, h)),
        2 => subsequence(vec!["10.20.0.0/26", "10.30.0.0/26", "fd00:20::/122"], 0..=3).prop_map(Op::Statics),
        2 => subsequence(SOURCES.to_vec(), 0..=4).prop_map(Op::Addresses),
        3 => (link(), any::<bool>(), any::<bool>()).prop_map(|(l, u, c)| Op::Link(l, u, c)),
        1 => link().prop_map(Op::RemoveLink),
        3 => link().prop_map(Op::RestoreLink),
        2 => (prefix(), 0..2_u8).prop_map(|(p, how)| Op::Theirs(p, how)),
        1 => prefix().prop_map(Op::TheirsAppend),
        4 => (prefix(), select(vec![4, ROUTE_PROTOCOL])).prop_map(|(p, n)| Op::TheirsDelete(p, n)),
        2 => (prefix(), link()).prop_map(|(p, l)| Op::OursChanged(p, l)),
        1 => select(&SOURCES[..]).prop_map(|(a, _)| Op::AddressAdd(a)),
        2 => any::<Index>().prop_map(Op::AddressDelete),
        3 => select(vec![Fault::Errno(ENETDOWN), Fault::Errno(EEXIST), Fault::Errno(ESRCH), Fault::Errno(EPERM),
            Fault::Errno(4), Fault::Errno(105), Fault::HalfApplied]).prop_map(Op::Fault),
        1 => Just(Op::Overrun),
        6 => (1..6_usize).prop_map(Op::Deliver),
        6 => Just(Op::StartPlan),
        6 => Just(Op::FinishPlan),
        3 => Just(Op::AskDump),
        3 => (0..4_usize).prop_map(Op::ReadDump),
        2 => (1..40_000_u64).prop_map(Op::Advance),
        2 => Just(Op::Settle),
        1 => (0..4_usize).prop_map(Op::Crash),
        2 => Just(Op::TellAll),
    ]
}

fn source(prefix: &str) -> &'static str {
    if prefix.contains(':') { "fd00:9::9" } else { "10.9.9.9" }
}

fn act(world: &mut World, op: Op) {
    match op {
        Op::Want(prefix, hops) => {
            let v6 = prefix.contains(':');
            let route = hops.map(|(links, with)| over(&links, with.then(|| source(prefix)), v6));
            world.want(prefix, route);
        }
        Op::Statics(prefixes) => {
            let routes = prefixes.into_iter().map(|p| (key(p), blackhole())).collect();
            world.want_static(routes);
        }
        Op::Addresses(wants) => world.want_addresses(wants.into_iter().map(|(a, l)| own(a, l)).collect()),
        Op::Link(link, up, carrier) => world.kernel.set_link(link, up, carrier),
        Op::RemoveLink(link) => world.kernel.remove_link(link),
        Op::RestoreLink(link) => world.kernel.restore_link(link),
        Op::Theirs(prefix, how) => {
            let put = if how == 0 { Put::Create } else { Put::Replace };
            world.kernel.put(key(prefix), foreign(2), put).ok();
        }
        Op::TheirsAppend(prefix) => {
            // IPv6 would make it a hop of ours: that is a change of ours, which `OursChanged` does.
            if !prefix.contains(':') {
                world.kernel.append(key(prefix), foreign(3));
            }
        }
        Op::TheirsDelete(prefix, protocol) => drop(world.kernel.delete(&key(prefix), protocol)),
        Op::OursChanged(prefix, link) => {
            let hops = over(&[link], None, prefix.contains(':')).hops;
            let route = Route { kind: RouteKind::Unicast, protocol: ROUTE_PROTOCOL, prefsrc: None, hops };
            world.kernel.put(key(prefix), route, Put::Replace).ok();
        }
        Op::AddressAdd(addr) => {
            let len = if addr.contains(':') { 128 } else { 32 };
            world.kernel.add_address(address(LO, addr, len, 0)).ok();
        }
        Op::AddressDelete(which) => {
            if !world.kernel.addresses.is_empty() {
                let gone = which.get(&world.kernel.addresses).clone();
                world.kernel.delete_address(&gone).expect("it is there");
            }
        }
        Op::Fault(fault) => world.faults.push(fault),
        Op::Overrun => world.overrun(),
        Op::Deliver(count) => drop(world.deliver(count)),
        Op::StartPlan => drop(world.start_plan()),
        Op::FinishPlan => drop(world.finish_plan()),
        Op::AskDump => drop(world.ask_dump()),
        Op::ReadDump(late) => drop(world.read_dump(late)),
        Op::Advance(ms) => {
            let to = world.now + std::time::Duration::from_millis(ms);
            world.advance(to);
        }
        Op::Settle => world.settle(),
        Op::Crash(after) => world.crash(after),
        Op::TellAll => {
            // A wish that is complete again allows the sweep.
            world.tell_all();
            world.sweep();
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: ProptestConfig::default().cases.max(500), ..ProptestConfig::default() })]

    /// Whatever happened: the kernel ends up with what is wanted of ours, what is foreign is as its owners left it (checked at
    /// every step by the world and the model), and nothing wanted was deleted on the way.
    #[test]
    fn the_kernel_ends_up_as_wanted(ops in prop::collection::vec(op(), 1..80)) {
        let mut world = World::new();
        for op in ops {
            act(&mut world, op);
        }
        world.faults.clear();
        if !world.told {
            world.tell_all();
        }
        world.settle();
        // What no notification can tell is found by the periodic check, and what was refused for good is tried again with it.
        let later = world.now + Settings::default().resync * 2;
        world.advance(later);
        world.settle();
        world.sweep();
        world.settle();
        world.check();
    }

    /// A restart with the same wishes writes nothing at all.
    #[test]
    fn a_restart_with_the_same_wishes_writes_nothing(
        wants in prop::collection::btree_map(select(&PREFIXES[..]), (subsequence(vec![2, 3], 1..=2), any::<bool>()), 0..6),
        statics in subsequence(vec!["10.20.0.0/26", "10.30.0.0/26"], 0..=2),
    ) {
        let mut world = World::new();
        world.want_addresses(BTreeSet::from([own("10.9.9.9", 32), own("fd00:9::9", 128)]));
        world.want_static(statics.into_iter().map(|p| (key(p), blackhole())).collect::<BTreeMap<_, _>>());
        for (prefix, (links, with)) in wants {
            world.want(prefix, Some(over(&links, with.then(|| source(prefix)), prefix.contains(':'))));
        }
        world.sweep();
        world.settle();
        world.check();
        world.steps.clear();
        world.crash(0);
        world.settle();
        world.tell_all();
        world.sweep();
        world.settle();
        world.check();
        prop_assert_eq!(&world.steps, &Vec::<Step>::new());
    }
}
