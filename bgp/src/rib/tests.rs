//! Tests of the RIB: the index and the table against plain maps, the decision as an order.

mod index;

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use super::attrs::Rank;
use super::decision::{Candidate, decide};
use super::*;
use crate::wire::{AsPath, Origin};

fn peer(n: u8) -> PeerId {
    PeerId::of_address(Ipv4Addr::new(10, 0, 0, n).into())
}

fn attributes(hops: u32, med: Option<u32>, next_hop: u8) -> Attributes {
    let path: Vec<u32> = (0..hops).map(|i| 65000 + i).collect();
    let mut attributes =
        Attributes::new(Origin::Igp, AsPath::sequence(&path), Ipv4Addr::new(10, 0, 0, next_hop).into());
    attributes.med = med;
    attributes
}

fn field(prefixes: &[Prefix], out: &mut Vec<u8>) {
    for prefix in prefixes {
        crate::wire::nlri::encode(prefix, out);
    }
}

impl Rib {
    fn put(&mut self, source: SourceId, prefixes: &[Prefix], attributes: Attributes, verdict: Option<Reason>) {
        let mut bytes = Vec::new();
        field(prefixes, &mut bytes);
        let id = self.intern(attributes);
        self.announce(source, &NlriField::new(prefixes[0].family(), &bytes).unwrap(), id, verdict);
        self.release(id);
    }

    fn take(&mut self, source: SourceId, prefixes: &[Prefix]) {
        let mut bytes = Vec::new();
        field(prefixes, &mut bytes);
        self.withdraw(source, &NlriField::new(prefixes[0].family(), &bytes).unwrap());
    }

    /// All batches, applied to what the forwarding table had.
    fn fetch(&mut self, fib: &mut BTreeMap<Prefix, LocRoute>) -> usize {
        let mut changes = 0;
        while let Some(batch) = self.changes() {
            changes += batch.changes.len();
            let prefixes: BTreeSet<_> = batch.changes.iter().map(|(p, _)| *p).collect();
            assert_eq!(prefixes.len(), batch.changes.len(), "a prefix twice in a batch");
            for (prefix, route) in batch.changes {
                match route {
                    Some(route) => fib.insert(prefix, route),
                    None => fib.remove(&prefix),
                };
            }
        }
        changes
    }
}

fn p(text: &str) -> Prefix {
    text.parse().unwrap()
}

fn rib() -> Rib {
    Rib::new([1, 2])
}

fn hops(route: &LocRoute) -> Vec<String> {
    route.next_hops.iter().map(|n| n.addr.to_string()).collect()
}

#[test]
fn equal_paths_are_used_together_and_a_longer_one_is_not() {
    let mut rib = rib();
    let mut fib = BTreeMap::new();
    let sources: Vec<_> = (1..=4).map(|n| rib.open(peer(n), [1, 1, 1, n].into()).unwrap()).collect();
    let prefix = p("10.0.0.0/24");
    for (n, length) in [(1, 2), (2, 3), (3, 2), (4, 2)] {
        rib.put(sources[n as usize - 1], &[prefix], attributes(length, None, n), None);
        rib.fetch(&mut fib);
    }
    assert_eq!(hops(&fib[&prefix]), ["10.0.0.1", "10.0.0.3", "10.0.0.4"]);
    assert_eq!(fib[&prefix].best.peer, peer(1));
    let reasons: BTreeMap<_, _> = rib.paths(None).map(|path| (path.peer, path.reason)).collect();
    assert_eq!(reasons[&peer(1)], Reason::Best);
    assert_eq!(reasons[&peer(2)], Reason::LostByAsPathLength);
    assert_eq!(reasons[&peer(3)], Reason::Multipath);
    rib.take(sources[0], &[prefix]);
    rib.fetch(&mut fib);
    assert_eq!(hops(&fib[&prefix]), ["10.0.0.3", "10.0.0.4"]);
    for source in &sources[1..] {
        rib.take(*source, &[prefix]);
    }
    rib.fetch(&mut fib);
    assert!(fib.is_empty());
    assert_eq!(rib.sizes(), (0, 0, 0));
}

#[test]
fn our_own_prefix_beats_what_is_learned_and_gives_it_back() {
    let mut rib = rib();
    let mut fib = BTreeMap::new();
    let source = rib.open(peer(1), [1, 1, 1, 1].into()).unwrap();
    let prefix = p("10.123.128.0/26");
    rib.put(source, &[prefix], attributes(1, None, 1), None);
    rib.fetch(&mut fib);
    assert_eq!(fib.len(), 1);
    rib.set_local([prefix].iter());
    rib.fetch(&mut fib);
    assert!(fib.is_empty());
    assert_eq!(rib.paths(Some(prefix)).next().unwrap().reason, Reason::LostToLocal);
    // Learned while it is ours: never shown.
    rib.put(source, &[prefix], attributes(2, None, 1), None);
    assert_eq!(rib.fetch(&mut fib), 0);
    rib.set_local([].iter());
    rib.fetch(&mut fib);
    assert_eq!(fib.len(), 1);
}

#[test]
fn rejected_paths_are_kept_with_their_reason_and_not_used() {
    let mut rib = rib();
    let mut fib = BTreeMap::new();
    let source = rib.open(peer(1), [1, 1, 1, 1].into()).unwrap();
    let prefix = p("10.0.0.0/24");
    rib.put(source, &[prefix], attributes(1, None, 1), Some(Reason::RejectedOwnAs));
    rib.put(source, &[p("127.1.0.0/16")], attributes(1, None, 1), None);
    assert_eq!(rib.fetch(&mut fib), 0);
    let reasons: Vec<_> = rib.paths(None).map(|path| path.reason).collect();
    assert_eq!(reasons, [Reason::RejectedOwnAs, Reason::RejectedMartianPrefix]);
    rib.put(source, &[prefix], attributes(1, None, 1), None);
    rib.fetch(&mut fib);
    assert_eq!(fib.len(), 1);
    rib.put(source, &[prefix], attributes(1, None, 1), Some(Reason::RejectedOwnAs));
    rib.fetch(&mut fib);
    assert!(fib.is_empty());
}

#[test]
fn an_unchanged_announcement_changes_nothing_and_keeps_nothing() {
    let mut rib = rib();
    let mut fib = BTreeMap::new();
    let source = rib.open(peer(1), [1, 1, 1, 1].into()).unwrap();
    let prefixes: Vec<Prefix> = (0..200).map(|i| p(&format!("10.0.{i}.0/24"))).collect();
    for _ in 0..3 {
        rib.put(source, &prefixes, attributes(1, None, 1), None);
    }
    assert_eq!(rib.fetch(&mut fib), 200);
    rib.put(source, &prefixes, attributes(1, None, 1), None);
    assert_eq!(rib.fetch(&mut fib), 0);
    assert_eq!(rib.sizes(), (200, 0, 1));
    assert_eq!(rib.family_count(source, Family::V4), 200);
}

#[test]
fn an_ended_session_is_swept_in_pieces_while_the_next_one_goes_on() {
    let mut rib = rib();
    let mut fib = BTreeMap::new();
    let old = rib.open(peer(1), [1, 1, 1, 1].into()).unwrap();
    let prefixes: Vec<Prefix> = (0..250).map(|i| p(&format!("10.0.{i}.0/24"))).collect();
    rib.put(old, &prefixes, attributes(1, None, 1), None);
    rib.fetch(&mut fib);
    rib.close(old);
    let new = rib.open(peer(1), [1, 1, 1, 1].into()).unwrap();
    assert_ne!(old, new);
    rib.put(new, &prefixes[100..150], attributes(2, None, 1), None);
    let mut steps = 0;
    while rib.is_sweeping() {
        rib.sweep(&mut 10);
        steps += 1;
    }
    assert!(steps >= 20, "{steps}");
    rib.fetch(&mut fib);
    assert_eq!(fib.len(), 50);
    assert!(fib.values().all(|r| r.best.attributes.as_path.hops() == 2));
    assert_eq!(rib.sizes(), (50, 0, 1));
    assert_eq!(rib.family_count(new, Family::V4), 50);
}

#[test]
fn the_longest_match_is_found() {
    let mut rib = rib();
    let source = rib.open(peer(1), [1, 1, 1, 1].into()).unwrap();
    rib.put(source, &[p("0.0.0.0/0"), p("10.0.0.0/8"), p("10.1.0.0/16")], attributes(1, None, 1), None);
    rib.put(source, &[p("fd00::/16")], attributes(1, None, 1), None);
    let find = |text: &str| rib.best_match(text.parse().unwrap()).map(|(prefix, _)| prefix.to_string());
    assert_eq!(find("10.1.2.3").as_deref(), Some("10.1.0.0/16"));
    assert_eq!(find("10.2.2.3").as_deref(), Some("10.0.0.0/8"));
    assert_eq!(find("11.2.2.3").as_deref(), Some("0.0.0.0/0"));
    assert_eq!(find("fd00::9").as_deref(), Some("fd00::/16"));
    assert_eq!(find("fe00::9"), None);
    assert!(rib.lookup(p("10.1.0.0/16")).is_some());
    assert!(rib.lookup(p("10.1.0.0/17")).is_none());
}

fn any_candidate() -> impl Strategy<Value = (Rank, bool)> {
    let origin = prop_oneof![Just(Origin::Igp), Just(Origin::Egp), Just(Origin::Incomplete)];
    (1u16..4, origin, 1u32..4, 0u32..3, any::<bool>(), any::<bool>()).prop_map(
        |(hops, origin, neighbour, med, long_lived, rejected)| {
            (Rank { hops, origin, neighbour, med, long_lived, not_for_long: false }, rejected)
        },
    )
}

fn decided(candidates: &[(Rank, bool, u8)], local: bool) -> BTreeMap<u8, Reason> {
    let mut list: Vec<Candidate<u8>> = candidates
        .iter()
        .map(|(rank, rejected, tie)| Candidate {
            rank: *rank,
            tie: *tie,
            reason: if *rejected { Reason::RejectedOwnAs } else { Reason::Undecided },
        })
        .collect();
    decide(&mut list, local);
    list.iter().map(|c| (c.tie, c.reason)).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn the_decision_does_not_depend_on_order(
        (candidates, shuffled) in prop::collection::vec(any_candidate(), 0..8).prop_flat_map(|list| {
            let list: Vec<_> = list.into_iter().zip(0u8..).map(|((rank, rejected), tie)| (rank, rejected, tie)).collect();
            (Just(list.clone()), Just(list).prop_shuffle())
        }),
        local in any::<bool>(),
    ) {
        let outcome = decided(&candidates, local);
        prop_assert_eq!(&outcome, &decided(&shuffled, local));
        // Deciding again what was decided changes nothing.
        let mut again: Vec<Candidate<u8>> = candidates
            .iter()
            .map(|(rank, _, tie)| Candidate { rank: *rank, tie: *tie, reason: outcome[tie] })
            .collect();
        decide(&mut again, local);
        prop_assert!(again.iter().all(|c| c.reason == outcome[&c.tie]));
        // One best, if any path is welcome; nothing is left undecided.
        let welcome = candidates.iter().filter(|(_, rejected, _)| !rejected).count();
        let best = outcome.values().filter(|r| **r == Reason::Best).count();
        prop_assert_eq!(best, usize::from(welcome > 0 && !local));
        prop_assert!(outcome.values().all(|r| *r != Reason::Undecided));
        // A path that lost does not come back when another loser goes: what is used stays used.
        for gone in outcome.iter().filter(|(_, r)| !r.is_used()).map(|(tie, _)| *tie) {
            let rest: Vec<_> = candidates.iter().copied().filter(|(_, _, tie)| *tie != gone).collect();
            let after = decided(&rest, local);
            for (tie, reason) in outcome.iter().filter(|(_, r)| r.is_used()) {
                prop_assert_eq!(after[tie], *reason);
            }
        }
    }

    /// "Preferred to" between single paths of one neighbouring AS, where all steps compare, is a total order.
    #[test]
    fn within_one_as_preference_is_a_total_order(a in any_candidate(), b in any_candidate(), c in any_candidate()) {
        let same_as = |(mut rank, _): (Rank, bool)| { rank.neighbour = 1; rank };
        let (a, b, c) = (same_as(a), same_as(b), same_as(c));
        // 1: first wins, 0: both are used, -1: second wins.
        let compare = |x: Rank, y: Rank| {
            let outcome = decided(&[(x, false, 0), (y, false, 1)], false);
            i8::from(outcome[&0].is_used()) - i8::from(outcome[&1].is_used())
        };
        prop_assert_eq!(compare(a, b), -compare(b, a));
        prop_assert_eq!(compare(a, a), 0);
        if compare(a, b) >= 0 && compare(b, c) >= 0 {
            prop_assert!(compare(a, c) >= 0);
            prop_assert_eq!(compare(a, c) == 0, compare(a, b) == 0 && compare(b, c) == 0);
        }
    }
}

/// One change of the table.
#[derive(Clone, Debug)]
enum Change {
    Announce { source: usize, prefixes: Vec<usize>, hops: u32, rejected: bool },
    Withdraw { source: usize, prefixes: Vec<usize> },
    Restart { source: usize },
    Local { prefixes: Vec<usize> },
    Sweep { budget: usize },
    Fetch,
}

fn any_change() -> impl Strategy<Value = Change> {
    // Some at once, some twice: a message's prefixes are worked off together.
    let some = || prop::collection::vec(0..12usize, 1..8);
    prop_oneof![
        8 => (0..5usize, some(), 1u32..4, prop::bool::weighted(0.2))
            .prop_map(|(source, prefixes, hops, rejected)| Change::Announce { source, prefixes, hops, rejected }),
        4 => (0..5usize, some()).prop_map(|(source, prefixes)| Change::Withdraw { source, prefixes }),
        1 => (0..5usize).prop_map(|source| Change::Restart { source }),
        1 => prop::collection::vec(0..12usize, 0..4).prop_map(|prefixes| Change::Local { prefixes }),
        2 => (0..10usize).prop_map(|budget| Change::Sweep { budget }),
        2 => Just(Change::Fetch),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1000))]

    /// The table and its batches against a map of maps that decides everything anew.
    #[test]
    fn any_changes_leave_what_a_plain_map_would(changes in prop::collection::vec(any_change(), 0..120)) {
        let mut rib = rib();
        let mut fib = BTreeMap::new();
        let mut sources: Vec<SourceId> =
            (1..=5).map(|n| rib.open(peer(n), [1, 1, 1, n].into()).unwrap()).collect();
        let prefixes: Vec<Prefix> = (0..6)
            .flat_map(|i| [p(&format!("10.{i}.0.0/16")), p(&format!("fd00:{i}::/32"))])
            .collect();
        let mut model: BTreeMap<(usize, usize), (u32, bool)> = BTreeMap::new();
        let mut local: BTreeSet<usize> = BTreeSet::new();
        let fields = |chosen: &[usize]| -> Vec<Vec<Prefix>> {
            let of = |family| chosen.iter().map(|i| prefixes[*i]).filter(|p| p.family() == family).collect();
            Family::BOTH.map(of).into_iter().filter(|field: &Vec<Prefix>| !field.is_empty()).collect()
        };
        let end = [Change::Sweep { budget: 1000 }, Change::Sweep { budget: 1000 }, Change::Fetch];
        for change in changes.into_iter().chain(end) {
            match change {
                Change::Announce { source, prefixes, hops, rejected } => {
                    let verdict = rejected.then_some(Reason::RejectedOwnAs);
                    for field in fields(&prefixes) {
                        rib.put(sources[source], &field, attributes(hops, None, source as u8 + 1), verdict);
                    }
                    model.extend(prefixes.iter().map(|prefix| ((*prefix, source), (hops, rejected))));
                }
                Change::Withdraw { source, prefixes } => {
                    fields(&prefixes).iter().for_each(|field| rib.take(sources[source], field));
                    model.retain(|(prefix, from), _| *from != source || !prefixes.contains(prefix));
                }
                Change::Restart { source } => {
                    rib.close(sources[source]);
                    let n = source as u8 + 1;
                    sources[source] = rib.open(peer(n), [1, 1, 1, n].into()).unwrap();
                    model.retain(|(_, s), _| *s != source);
                }
                Change::Local { prefixes: ours } => {
                    local = ours.into_iter().collect();
                    let set: Vec<Prefix> = local.iter().map(|i| prefixes[*i]).collect();
                    rib.set_local(set.iter());
                }
                Change::Sweep { budget } => rib.sweep(&mut { budget }),
                Change::Fetch => { rib.fetch(&mut fib); }
            }
        }
        let mut expected = BTreeMap::new();
        for (i, prefix) in prefixes.iter().enumerate() {
            let paths: Vec<(usize, u32)> =
                model.range((i, 0)..(i + 1, 0)).filter(|(_, v)| !v.1).map(|((_, s), v)| (*s, v.0)).collect();
            let Some(shortest) = paths.iter().map(|(_, hops)| *hops).min().filter(|_| !local.contains(&i)) else {
                continue;
            };
            let used: Vec<String> = paths
                .iter()
                .filter(|(_, hops)| *hops == shortest)
                .map(|(source, _)| format!("10.0.0.{}", source + 1))
                .collect();
            expected.insert(*prefix, used);
        }
        let found: BTreeMap<Prefix, Vec<String>> = fib.iter().map(|(prefix, route)| (*prefix, hops(route))).collect();
        prop_assert_eq!(&found, &expected);
        for (prefix, route) in &fib {
            let now = rib.lookup(*prefix);
            prop_assert_eq!(now.as_ref(), Some(route));
        }
        prop_assert_eq!(rib.paths(None).count(), model.len());
        let live: BTreeSet<usize> = model.keys().map(|(prefix, _)| *prefix).collect();
        let (v4, v6, sets) = rib.sizes();
        prop_assert_eq!(v4 + v6, live.len());
        let attributes: BTreeSet<_> = model.iter().map(|((_, source), (hops, _))| (*source, *hops)).collect();
        prop_assert_eq!(sets, attributes.len());
    }
}
