use super::*;
use proptest::prelude::*;

fn p(text: &str) -> Prefix {
    text.parse().unwrap()
}

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

fn leaf(text: &str) -> PeerId {
    PeerId::of_address(ip(text))
}

fn via(leaf_addr: &str) -> NextHop {
    NextHop { peer: leaf(leaf_addr), addr: ip(leaf_addr) }
}

/// worker4: two leaves, one block, the range local by hand.
fn terrain() -> Terrain {
    Terrain {
        uplinks: BTreeMap::from([
            (leaf("10.122.104.0"), (2, vec![p("10.122.104.0/31"), p("fd00:122:104::/127")])),
            (leaf("10.122.103.4"), (3, vec![p("10.122.103.4/31")])),
        ]),
        local: BTreeSet::from([p("10.123.140.64/26"), p("10.122.0.14/32"), p("10.123.0.0/17")]),
        blocks: vec![p("10.123.140.64/26")],
        connected: BTreeSet::from([p("10.122.104.0/31"), p("10.122.103.4/31")]),
        ends: BTreeSet::from([ip("10.122.104.0"), ip("10.122.104.1"), ip("10.122.103.4"), ip("10.122.103.5")]),
        accept_default: false,
        source_v4: Some(ip("10.122.0.14")),
        source_v6: None,
    }
}

fn refusal(prefix: &str, hops: &[NextHop]) -> &'static str {
    match terrain().judge(&p(prefix), hops) {
        Verdict::Refuse(why) => why.code(),
        Verdict::Install(route) => panic!("{prefix} was installed: {route:?}"),
    }
}

#[test]
fn equal_paths_over_two_leaves_become_one_route_with_our_source() {
    let verdict = terrain().judge(&p("10.122.255.1/32"), &[via("10.122.104.0"), via("10.122.103.4")]);
    let Verdict::Install(route) = verdict else { panic!("{verdict:?}") };
    assert_eq!(route.prefsrc, Some(ip("10.122.0.14")));
    assert_eq!(route.hops.iter().map(|h| h.link).collect::<Vec<_>>(), [3, 2]);
}

#[test]
fn what_a_hostile_leaf_sends_back_is_refused_with_its_reason() {
    let hop = [via("10.122.104.0")];
    assert_eq!(refusal("0.0.0.0/0", &hop), "default_refused");
    assert_eq!(refusal("10.123.140.64/26", &hop), "local_beats_learned");
    assert_eq!(refusal("10.123.0.0/17", &hop), "local_beats_learned");
    assert_eq!(refusal("10.123.140.64/27", &hop), "inside_own_block");
    assert_eq!(refusal("10.122.104.0/31", &hop), "connected");
    let stolen = NextHop { peer: leaf("10.122.104.0"), addr: ip("10.122.103.4") };
    assert_eq!(refusal("10.9.0.0/16", &[stolen]), "next_hop_not_on_uplink");
}

#[test]
fn no_leaf_takes_an_end_of_a_link_away() {
    // The leaf's own end, ours, the gateway of the other family, and an end of another leaf's link.
    for prefix in ["10.122.104.0/32", "10.122.104.1/32", "fd00:122:104::/128", "10.122.103.4/32"] {
        assert_eq!(refusal(prefix, &[via("10.122.104.0")]), "inside_uplink", "{prefix}");
    }
    // A covering prefix loses against the connected subnet anyway.
    assert!(matches!(terrain().judge(&p("10.122.104.0/30"), &[via("10.122.104.0")]), Verdict::Install(_)));
    // A link with many machines: others may move, the leaf, this node and the next hop may not.
    let mut shared = terrain();
    shared.uplinks.insert(leaf("192.0.2.1"), (4, vec![p("192.0.2.0/24")]));
    shared.ends.extend([ip("192.0.2.1"), ip("192.0.2.9")]);
    let verdict =
        |prefix: &str, hop: &str| shared.judge(&p(prefix), &[NextHop { peer: leaf("192.0.2.1"), addr: ip(hop) }]);
    let refused = Verdict::Refuse(Refusal::InsideUplink(p("192.0.2.0/24")));
    assert!(matches!(verdict("192.0.2.77/32", "192.0.2.1"), Verdict::Install(_)));
    assert_eq!(verdict("192.0.2.77/32", "192.0.2.77"), refused);
    assert_eq!(verdict("192.0.2.9/32", "192.0.2.1"), refused);
    assert_eq!(verdict("192.0.2.0/30", "192.0.2.200"), refused);
}

#[test]
fn a_borrowed_address_out_of_our_block_is_routed_to_its_borrower() {
    assert!(matches!(terrain().judge(&p("10.123.140.70/32"), &[via("10.122.104.0")]), Verdict::Install(_)));
}

#[test]
fn a_dead_uplink_leaves_the_other_hop() {
    let mut fib = Fib::default();
    let _ = fib.set_terrain(terrain());
    let hops: Arc<[NextHop]> = [via("10.122.103.4"), via("10.122.104.0")].into();
    let _ = fib.update([(p("10.9.0.0/16"), Some(hops))]);
    let mut one = terrain();
    one.uplinks.remove(&leaf("10.122.103.4"));
    let changes = fib.set_terrain(one);
    let [(_, Some(route))] = changes.as_slice() else { panic!("{changes:?}") };
    assert_eq!(route.hops, [Hop { gateway: Some(ip("10.122.104.0")), link: 2 }]);
}

proptest! {
    /// Whatever order routes and terrains come in, the changes add up to judging the last routes on the last terrain.
    #[test]
    fn changes_add_up(steps in proptest::collection::vec((0u8..6, 0u8..4, any::<bool>(), any::<bool>()), 1..40)) {
        let prefixes = ["0.0.0.0/0", "10.123.140.64/26", "10.9.0.0/16", "10.8.0.0/16", "10.122.104.0/32", "10.123.140.70/32"];
        let mut fib = Fib::default();
        let mut kernel: BTreeMap<Prefix, LearnedRoute> = BTreeMap::new();
        for (which, hops, second, default) in steps {
            let mut next = terrain();
            next.accept_default = default;
            if second { next.uplinks.remove(&leaf("10.122.103.4")); }
            let mut changes = fib.set_terrain(next);
            let hops: Vec<NextHop> = [via("10.122.103.4"), via("10.122.104.0")].into_iter()
                .enumerate().filter(|(i, _)| hops & (1 << i) != 0).map(|(_, h)| h).collect();
            let hops = (!hops.is_empty()).then(|| Arc::from(hops));
            changes.extend(fib.update([(p(prefixes[which as usize]), hops)]));
            for (prefix, route) in changes {
                match route { Some(r) => { kernel.insert(prefix, r); } None => { kernel.remove(&prefix); } }
            }
        }
        let expected: BTreeMap<Prefix, LearnedRoute> = fib.iter()
            .filter_map(|(p, v)| installed(v).map(|r| (*p, r))).collect();
        prop_assert_eq!(kernel, expected);
        prop_assert_eq!(fib.refused(), fib.iter().filter(|(_, v)| matches!(v, Verdict::Refuse(_))).count());
    }
}
