use proptest::prelude::*;

use super::*;

#[test]
fn names_are_those_of_resources_and_the_same_everywhere() {
    for (cidr, name) in [
        ("10.123.128.0/17", "petiole-10-123-128-0-17"),
        ("fd00:123:8000::/112", "petiole-fd00-123-8000-112"),
        ("::/100", "petiole--100"),
    ] {
        assert_eq!(name_for(cidr.parse().unwrap()), name);
    }
}

fn pools(selectors: &[(&str, &str)], labels: &[(&str, &str)]) -> Pools {
    let pool = |(n, (name, selector)): (usize, &(&str, &str))| {
        let cidr = Prefix::new(std::net::Ipv4Addr::new(10, 0, n as u8, 0).into(), 24).unwrap();
        let mut pool = Pool::new(name, cidr, 26, String::new(), String::new());
        pool.spec.node_selector = (*selector).to_owned();
        ((*name).to_owned(), pool)
    };
    let store = selectors.iter().enumerate().map(pool).collect();
    let labels = labels.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
    Pools::of(&store, &IpamSettings { labels, ..IpamSettings::default() })
}

fn names(pools: &[Usable]) -> Vec<&str> {
    pools.iter().map(|p| p.name.as_str()).collect()
}

#[test]
fn nothing_is_taken_from_a_pool_that_overlaps_what_is_not_for_pods_nor_is_it_made() {
    let range = |text: &str| text.parse::<Prefix>().unwrap();
    let pool =
        |name: &str, cidr: &str| (name.to_owned(), Pool::new(name, range(cidr), 26, String::new(), String::new()));
    let store = BTreeMap::from([pool("good", "10.1.0.0/24"), pool("services", "10.2.0.0/16")]);
    let taken = BTreeMap::from([
        (range("10.2.128.0/20"), "the service range".to_owned()),
        (range("10.3.0.0/31"), "a link".to_owned()),
    ]);
    let spec = PoolSpec { cidr: range("10.3.0.0/24"), block_size: 26 };
    let found = Pools::of(&store, &IpamSettings { taken, pools: vec![spec], ..IpamSettings::default() });
    assert_eq!(names(&found.usable), ["good"]);
    assert!(found.missing.is_empty() && found.on_demand.is_empty());
    let problems: Vec<String> = found.problems.iter().map(ToString::to_string).collect();
    let end = "so that an address would belong to both: give pods a pool of their own, and delete this one once no pod has an address of it";
    assert_eq!(
        problems,
        [
            format!(
                "no block is claimed from pool services (10.2.0.0/16): it overlaps 10.2.128.0/20, the service range, {end}"
            ),
            format!(
                "no block is claimed from pool petiole-10-3-0-0-24 (10.3.0.0/24): it overlaps 10.3.0.0/31, a link, {end}"
            ),
        ]
    );
}

#[test]
fn a_nodes_labels_decide_which_pools_it_takes_from() {
    let selectors = [
        ("all", "all()"),
        ("empty", " "),
        ("others", "rack != 'r1'"),
        ("rack", "rack == 'r1' && !has(gpu)"),
        ("wrong", "rack = 1"),
    ];
    let found = pools(&selectors, &[("rack", "r1")]);
    assert_eq!(names(&found.usable), ["all", "empty", "rack"]);
    // As in Calico, a selector says nothing to who names the pool; one that cannot be read does.
    assert_eq!(names(&found.on_demand), ["others"]);
    assert_eq!(
        found.refused["others"],
        "its nodeSelector \"rack != 'r1'\" does not select this node, which has the labels rack=r1: only requests that name it are served"
    );
    let wrong = "its nodeSelector \"rack = 1\" cannot be read, column 6: ==, !=, in, not in, contains, starts with or ends with after \
                 rack is expected, and \"=\" stands there: correct it with `calicoctl apply -f`";
    assert_eq!(found.refused["wrong"], wrong);
    assert_eq!(
        found.problems.iter().map(ToString::to_string).collect::<Vec<_>>(),
        [format!("no block is claimed from pool wrong (10.0.4.0/24): {wrong}")]
    );
    let found = pools(&selectors, &[]);
    assert_eq!(names(&found.usable), ["all", "empty", "others"]);
    assert!(found.refused["rack"].contains("does not select this node, which has no labels ([node] labels)"));
}

#[test]
fn where_no_pool_can_be_used_each_says_why() {
    let many: Vec<String> = (0..5).map(|n| format!("p{n}")).collect();
    let selectors: Vec<(&str, &str)> = many.iter().map(|name| (name.as_str(), "has(x)")).collect();
    let (found, store) = (pools(&selectors[..2], &[]), |n: usize| -> BTreeMap<String, Pool> {
        let cidr = |i: usize| Prefix::new(std::net::Ipv4Addr::new(10, 0, i as u8, 0).into(), 24).unwrap();
        (0..n).map(|i| (many[i].clone(), Pool::new(&many[i], cidr(i), 26, String::new(), String::new()))).collect()
    });
    let why = found.why_none(Family::V4, &store(2));
    assert!(why.starts_with("p0 (10.0.0.0/24): its nodeSelector") && why.contains("; p1 (10.0.1.0/24): "), "{why}");
    assert_eq!(found.why_none(Family::V6, &store(2)), "the store has no IPv6 pool");
    let why = pools(&selectors, &[]).why_none(Family::V4, &store(5));
    assert!(why.ends_with("; and 2 more, which `petiole ipam blocks` lists") && !why.contains("p3 ("), "{why}");
}

proptest! {
    /// Whatever a pool's selector says, nothing goes wrong, and the pool is in at most one list.
    #[test]
    fn any_selector_makes_a_pool_usable_or_says_why_not(text in "\\PC{0,40}|[a!&|(){}'=hasintl ]{0,40}") {
        let found = pools(&[("p", &text)], &[("a", "x")]);
        prop_assert!(found.usable.len() + found.on_demand.len() <= 1);
        prop_assert_eq!(found.usable.is_empty(), found.refused.contains_key("p"));
    }


    #[test]
    fn a_name_is_a_dns_label_that_the_store_accepts(bits in any::<u128>(), len in 64..=128u8) {
        let cidr = Prefix::truncated(std::net::Ipv6Addr::from_bits(bits).into(), len).unwrap();
        let name = name_for(cidr);
        prop_assert!(name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-'), "{name}");
        prop_assert!(name.len() <= 63 && name.ends_with(|c: char| c.is_ascii_digit()));
        prop_assert!(petiole_store::Key::parse(&petiole_store::Key::Pool(name).to_string()).is_ok());
    }
}
