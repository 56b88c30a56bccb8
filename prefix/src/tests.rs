use super::*;
use proptest::prelude::*;

fn p(text: &str) -> Prefix {
    text.parse().unwrap()
}

#[test]
fn host_bits_are_refused_with_the_prefix_that_was_meant() {
    let error = "10.123.128.1/17".parse::<Prefix>().unwrap_err();
    assert_eq!(error.to_string(), "10.123.128.1/17 has host bits set: did you mean 10.123.128.0/17?");
}

#[test]
fn a_bare_address_is_refused_with_what_to_write() {
    let error = "fd00::1".parse::<Prefix>().unwrap_err();
    assert_eq!(error.to_string(), "\"fd00::1\" has no length: write fd00::1/128 for the single address");
}

#[test]
fn nonsense_is_refused() {
    for text in
        ["", "/", "10.0.0.0/", "10.0.0.0/33", "::/129", "10.0.0/8", "10.0.0.0/+8", "10.0.0.0/8 ", "10.0.0.0/256"]
    {
        assert!(text.parse::<Prefix>().is_err(), "{text:?} was taken");
    }
}

#[test]
fn host_routes_are_written_with_their_length() {
    assert_eq!(p("10.0.0.1/32").to_string(), "10.0.0.1/32");
    assert_eq!(format!("{:<14}|", p("10.0.0.1/32")), "10.0.0.1/32   |");
}

#[test]
fn subnets_are_counted_and_indexed() {
    let pool = p("10.123.128.0/17");
    assert_eq!(pool.subnet_count(26), 512);
    assert_eq!(pool.subnet(26, 0), Some(p("10.123.128.0/26")));
    assert_eq!(pool.subnet(26, 511), Some(p("10.123.255.192/26")));
    assert_eq!(pool.subnet(26, 512), None);
    assert_eq!(pool.subnet(16, 0), None);
    assert_eq!(p("::/0").subnet_count(128), u128::MAX);
    assert_eq!(p("::/0").subnet(128, u128::MAX), Some(Prefix::host(IpAddr::V6(Ipv6Addr::from_bits(u128::MAX)))));
}

#[test]
fn the_default_route_contains_its_family_only() {
    let all = Prefix::default_route(Family::V4);
    assert!(all.contains(&p("10.0.0.0/8")) && all.contains(&all) && !all.contains(&p("fd00::/8")));
}

fn any_prefix() -> impl Strategy<Value = Prefix> {
    prop_oneof![
        (any::<u32>(), 0u8..=32).prop_map(|(a, l)| Prefix::truncated(IpAddr::V4(Ipv4Addr::from_bits(a)), l).unwrap()),
        (any::<u128>(), 0u8..=128).prop_map(|(a, l)| Prefix::truncated(IpAddr::V6(Ipv6Addr::from_bits(a)), l).unwrap()),
    ]
}

proptest! {
    #[test]
    fn text_and_json_round_trip(prefix in any_prefix()) {
        prop_assert_eq!(prefix.to_string().parse::<Prefix>().unwrap(), prefix);
        let json = serde_json::to_string(&prefix).unwrap();
        prop_assert_eq!(serde_json::from_str::<Prefix>(&json).unwrap(), prefix);
    }

    #[test]
    fn any_text_is_parsed_or_refused(text in "\\PC{0,40}") {
        if let Ok(prefix) = text.parse::<Prefix>() {
            prop_assert_eq!(prefix.to_string().parse::<Prefix>().unwrap(), prefix);
        }
    }

    #[test]
    fn containing_is_a_partial_order_and_sorts_first(a in any_prefix(), b in any_prefix()) {
        prop_assert!(a.contains(&a));
        if a.contains(&b) && a != b {
            prop_assert!(!b.contains(&a) && a < b);
        }
    }

    #[test]
    fn subnets_lie_inside(prefix in any_prefix(), extra in 0u8..=16, index in 0u128..65536) {
        let len = prefix.len().saturating_add(extra).min(prefix.family().max_len());
        match prefix.subnet(len, index) {
            Some(sub) => prop_assert!(prefix.contains(&sub) && sub.len() == len && index < prefix.subnet_count(len)),
            None => prop_assert!(index >= prefix.subnet_count(len)),
        }
    }
}
