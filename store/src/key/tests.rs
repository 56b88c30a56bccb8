use proptest::prelude::*;

use super::*;

#[test]
fn keys_are_the_ones_calico_writes() {
    for (text, key) in [
        ("/calico/ipam/v2/assignment/ipv4/block/10.123.151.64-26", Key::Block("10.123.151.64/26".parse().unwrap())),
        (
            "/calico/ipam/v2/assignment/ipv6/block/fd00:10:123::c040-122",
            Key::Block("fd00:10:123::c040/122".parse().unwrap()),
        ),
        (
            "/calico/ipam/v2/host/node-with.dots/ipv4/block/10.201.0.32-28",
            Key::host_affinity("node-with.dots", "10.201.0.32/28".parse().unwrap()),
        ),
        (
            "/calico/ipam/v2/virtual/load-balancer/ipv4/block/10.0.0.0-26",
            Key::Affinity { owner: Owner::Virtual("load-balancer".into()), block: "10.0.0.0/26".parse().unwrap() },
        ),
        ("/calico/ipam/v2/handle/calnet.cid1", Key::Handle("calnet.cid1".into())),
        ("/calico/ipam/v2/config", Key::IpamConfig),
        ("/calico/resources/v3/projectcalico.org/ippools/pool-a", Key::Pool("pool-a".into())),
        ("/calico/resources/v3/projectcalico.org/ipreservations/resv-1", Key::Reservation("resv-1".into())),
        (
            "/calico/bgp/v1/global/custom_filters/v4/services",
            Key::CustomFilter { family: Family::V4, name: "services".into() },
        ),
        ("/petiole/v1/nodes/worker1", Key::Own("nodes/worker1".into())),
    ] {
        assert_eq!(Key::parse(text).unwrap(), key, "{text}");
        assert_eq!(key.to_string(), text);
    }
}

#[test]
fn what_cannot_be_a_key_is_named() {
    for (text, part) in [
        ("/calico/ipam/v2/assignment/ipv4/block/10.123.151.65-26", "host bits"),
        ("/calico/ipam/v2/assignment/ipv6/block/10.123.151.64-26", "not like"),
        ("/calico/ipam/v2/assignment/ipv6/block/fd00:0:0::-122", "not like"),
        ("/calico/ipam/v2/assignment/ipv4/block/10.0.0.0-026", "not like"),
        ("/calico/ipam/v2/host//ipv4/block/10.0.0.0-26", "no name"),
        ("/calico/ipam/v2/handle/", "no name"),
        ("/calico/bgp/v1/global/custom_filters/v5/x", "neither"),
    ] {
        let error = Key::parse(text).unwrap_err();
        assert!(matches!(error, KeyError::Malformed { .. }), "{text}: {error}");
        assert!(error.to_string().contains(part), "{error}");
    }
    assert!(matches!(Key::parse("/registry/pods/x"), Err(KeyError::Foreign(_))));
    assert!(matches!(Key::parse("/calico/ipam/v2/host/dn1"), Err(KeyError::Foreign(_))));
}

proptest! {
    #[test]
    fn a_key_that_parses_displays_as_the_same_text(
        head in prop::sample::select(vec![
            IPAM_PREFIX, BLOCKS_PREFIX, HOST_PREFIX, VIRTUAL_PREFIX, HANDLE_PREFIX, CONFIG_KEY, POOLS_PREFIX, FILTERS_PREFIX,
            OWN_PREFIX, "/calico/ipam/v2/assignment/ipv4/block/", "/calico/ipam/v2/assignment/ipv6/block/", "",
        ]),
        tail in "[a-z0-9:./-]{0,24}|\\PC{0,16}",
    ) {
        let text = format!("{head}{tail}");
        if let Ok(key) = Key::parse(&text) {
            prop_assert_eq!(key.to_string(), text);
        }
    }
}
