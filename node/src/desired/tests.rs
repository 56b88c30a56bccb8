use super::*;
use petiole_config::{Announce, AnnounceKind};
use proptest::prelude::*;

fn p(text: &str) -> Prefix {
    text.parse().unwrap()
}

fn announce(kind: AnnounceKind, prefix: &str) -> Announce {
    Announce { kind, prefix: p(prefix), communities: Default::default(), health: None }
}

fn facts<'a>(configured: Vec<Configured<'a>>, addresses: &'a [Prefix]) -> Facts<'a> {
    Facts {
        drained: false,
        blocks: vec![p("10.123.140.64/26")],
        source: BlockSource::Store,
        unexported: BTreeSet::new(),
        borrowed: BTreeMap::new(),
        addresses,
        configured,
        loopback: vec![
            ("127.0.0.1".parse().unwrap(), 8),
            ("10.122.0.14".parse().unwrap(), 32),
            ("10.123.0.0".parse().unwrap(), 17),
        ],
    }
}

fn silent(_: &Prefix, _: Option<&str>) -> FilterVerdict {
    FilterVerdict::FallThrough
}

fn held(_: Kind, _: &Prefix) -> Proof {
    Proof::InKernel
}

fn code(decisions: &BTreeMap<Prefix, Decision>, prefix: &str) -> &'static str {
    decisions.get(&p(prefix)).map_or("no candidate", |d| d.reason.code())
}

#[test]
fn a_worker_announces_its_block_and_its_address_and_nothing_else_of_lo() {
    let own = [p("10.122.0.14/32")];
    let decisions = decide(&facts(vec![], &own), silent, held);
    let announced: Vec<String> = decisions.iter().filter(|(_, d)| d.announced()).map(|(p, _)| p.to_string()).collect();
    assert_eq!(announced, ["10.122.0.14/32", "10.123.140.64/26"]);
    assert_eq!(code(&decisions, "10.123.0.0/17"), "no_filter_accepts");
    assert_eq!(code(&decisions, "127.0.0.0/8"), "not_announceable");
}

#[test]
fn a_pool_that_is_not_exported_keeps_its_blocks_at_home_whatever_filters_say() {
    let mut facts = facts(vec![], &[]);
    facts.unexported = BTreeSet::from([p("10.123.140.64/26")]);
    let accept_all = |_: &Prefix, _: Option<&str>| FilterVerdict::Accept("all".to_owned());
    assert_eq!(code(&decide(&facts, accept_all, held), "10.123.140.64/26"), "export_disabled");
}

#[test]
fn the_operators_two_commands_make_a_node_announce_the_range() {
    let filter = |net: &Prefix, _: Option<&str>| {
        if *net == p("10.123.0.0/17") {
            FilterVerdict::Accept("services".to_owned())
        } else {
            FilterVerdict::FallThrough
        }
    };
    let decisions = decide(&facts(vec![], &[]), filter, held);
    assert_eq!(code(&decisions, "10.123.0.0/17"), "filter_accepts");
    assert_eq!(code(&decisions, "10.123.0.0/32"), "no_filter_accepts");
}

#[test]
fn a_filter_cannot_open_a_closed_gate_but_may_reject_what_is_healthy() {
    let anycast = announce(AnnounceKind::Anycast, "10.122.255.1/32");
    let accept_all = |_: &Prefix, _: Option<&str>| FilterVerdict::Accept("all".to_owned());
    let closed = Configured { announce: &anycast, gate: GateState::Closed("unhealthy: refused".to_owned()) };
    let decisions = decide(&facts(vec![closed], &[]), accept_all, held);
    assert_eq!(code(&decisions, "10.122.255.1/32"), "unhealthy");
    let open = Configured { announce: &anycast, gate: GateState::Open("healthy".to_owned()) };
    let reject_all = |_: &Prefix, _: Option<&str>| FilterVerdict::Reject("none".to_owned());
    let decisions = decide(&facts(vec![open], &[]), reject_all, held);
    assert_eq!(code(&decisions, "10.122.255.1/32"), "filter_rejects");
    assert!(decisions.values().all(|d| !d.announced()));
}

#[test]
fn accepting_everything_on_lo_never_announces_loopback_link_local_or_the_default() {
    let accept_all = |_: &Prefix, _: Option<&str>| FilterVerdict::Accept("all".to_owned());
    let mut facts = facts(vec![], &[]);
    for address in ["127.0.0.1/8", "::1/128", "fe80::1/64", "169.254.1.1/32", "0.0.0.0/0", "224.0.0.1/32", "::/0"] {
        let (addr, len) = address.split_once('/').unwrap();
        facts.loopback.push((addr.parse().unwrap(), len.parse().unwrap()));
    }
    let decisions = decide(&facts, accept_all, held);
    let announced: Vec<String> = decisions.iter().filter(|(_, d)| d.announced()).map(|(p, _)| p.to_string()).collect();
    assert_eq!(announced, ["10.122.0.14/32", "10.123.0.0/17", "10.123.0.0/32", "10.123.140.64/26"]);
}

#[test]
fn nothing_is_announced_before_the_kernel_holds_it() {
    let own = [p("10.122.0.14/32")];
    let missing = |kind: Kind, _: &Prefix| {
        if kind == Kind::Block { Proof::Missing("it is being written".to_owned()) } else { Proof::InKernel }
    };
    let decisions = decide(&facts(vec![], &own), silent, missing);
    assert_eq!(code(&decisions, "10.123.140.64/26"), "not_in_kernel");
    assert_eq!(code(&decisions, "10.122.0.14/32"), "own_address");
}

#[test]
fn a_borrowed_address_is_announced_as_a_host_route_once_its_pod_has_one() {
    let mut facts = facts(vec![], &[]);
    facts.borrowed.insert("10.123.150.7".parse().unwrap(), p("10.123.150.0/26"));
    let decisions = decide(&facts, silent, held);
    assert_eq!(code(&decisions, "10.123.150.7/32"), "borrowed");
    assert_eq!(code(&decisions, "10.123.150.0/26"), "no candidate");
    let missing = |kind: Kind, _: &Prefix| {
        if kind == Kind::Borrowed { Proof::Missing("no pod yet".to_owned()) } else { Proof::InKernel }
    };
    assert_eq!(code(&decide(&facts, silent, missing), "10.123.150.7/32"), "not_in_kernel");
    facts.unexported.insert(p("10.123.150.0/26"));
    assert_eq!(code(&decide(&facts, silent, held), "10.123.150.7/32"), "export_disabled");
}

proptest! {
    /// Whatever the facts say, what is announced carries proof of exactly that prefix, accepted by the export guard.
    #[test]
    fn every_announcement_has_a_proof_that_the_guard_accepts(
        blocks in proptest::collection::vec((any::<u32>(), 20u8..=32), 0..4),
        loopback in proptest::collection::vec((any::<u32>(), 0u8..=32), 0..4),
        range in (any::<u32>(), 1u8..=32), gate in 0u8..3, verdicts in any::<u64>(),
    ) {
        let prefix = |(addr, len): (u32, u8)| Prefix::truncated(std::net::Ipv4Addr::from_bits(addr).into(), len).unwrap();
        let service = Announce { kind: AnnounceKind::ServiceRange, prefix: prefix(range), communities: Default::default(), health: None };
        let gate = match gate { 0 => GateState::Ungated, 1 => GateState::Open(String::new()), _ => GateState::Closed(String::new()) };
        let closed = matches!(gate, GateState::Closed(_));
        let facts = Facts {
        drained: false,
            blocks: blocks.into_iter().map(prefix).collect(),
            source: BlockSource::Node,
            unexported: BTreeSet::new(),
        borrowed: BTreeMap::new(),
            addresses: &[],
            configured: vec![Configured { announce: &service, gate }],
            loopback: loopback.into_iter().map(|(a, l)| (IpAddr::V4(std::net::Ipv4Addr::from_bits(a)), l)).collect(),
        };
        let filter = |net: &Prefix, _: Option<&str>| match (verdicts >> (net.len() & 31)) & 3 {
            0 => FilterVerdict::FallThrough, 1 => FilterVerdict::Reject("r".to_owned()), _ => FilterVerdict::Accept("a".to_owned()),
        };
        for (prefix, decision) in decide(&facts, filter, held) {
            prop_assert_eq!(decision.announced(), decision.ownership.is_some());
            if let Some(ownership) = decision.ownership {
                prop_assert!(petiole_bgp::Originated::new(prefix, ownership).is_ok(), "{} refused by the guard", prefix);
                prop_assert!(!(closed && prefix == service.prefix), "a closed gate was overridden");
            }
        }
    }
}
