use super::*;

fn attributed() -> Block {
    let mut block = Block::new("10.0.0.0/30".parse().unwrap(), "host:n1".parse().unwrap(), 1_000).unwrap();
    block.allocations[2] = Some(0);
    block.unallocated.retain(|o| *o != 2);
    block.attributes = Some(vec![Attribute { handle_id: Field::Is("h".into()), ..Attribute::default() }]);
    block
}

#[test]
fn a_new_block_is_written_as_calico_writes_one() {
    let block =
        Block::new("10.200.0.0/29".parse().unwrap(), "host:dn3".parse().unwrap(), 1_795_360_226_004_038_645).unwrap();
    let expected = r#"{"cidr":"10.200.0.0/29","affinity":"host:dn3","affinity_claim_time":"2026-11-22T15:10:26Z","allocations":[null,null,null,null,null,null,null,null],"unallocated":[0,1,2,3,4,5,6,7],"attributes":null,"sequenceNumber":1795360226004038645,"sequenceNumberForAllocation":{},"deleted":false}"#;
    assert_eq!(String::from_utf8(block.encode()).unwrap(), expected);
}

#[test]
fn unknown_fields_survive_and_absent_stays_apart_from_null() {
    let key = "/calico/ipam/v2/assignment/ipv4/block/10.0.0.0-31";
    let text = r#"{"cidr":"10.0.0.0/31","affinity":null,"allocations":[0,1],"unallocated":[],"attributes":[{"handle_id":null,"secondary":null,"releasedAt":"2026-11-22T15:10:29Z"},{"handle_id":"h","new":[1,{"deep":18446744073709551615}]}],"sequenceNumber":18446744073709551615,"sequenceNumberForAllocation":{"0":18446744073709551614},"deleted":false,"future":{"z":1,"a":2}}"#;
    let block = Block::decode(key, text.as_bytes()).unwrap();
    assert_eq!(String::from_utf8(block.encode()).unwrap(), text);
    assert_eq!(block.live().map(|(o, _)| o).collect::<Vec<_>>(), [1]);
    assert_eq!(block.held_by("h"), ["10.0.0.1".parse::<std::net::IpAddr>().unwrap()]);
}

#[test]
fn garbage_is_named_with_its_key_and_what_is_wrong() {
    let key = "/calico/ipam/v2/assignment/ipv4/block/10.0.0.0-30";
    let mut duplicate = attributed();
    duplicate.unallocated.push(0);
    let mut both = attributed();
    both.unallocated.push(2);
    let mut outside = attributed();
    outside.unallocated.push(4);
    let mut dangling = attributed();
    dangling.allocations[3] = Some(1);
    let mut short = attributed();
    short.allocations.pop();
    let mut moved = attributed();
    moved.cidr = "10.0.0.4/30".parse().unwrap();
    for (value, part) in [
        (b"".to_vec(), "EOF"),
        (b"{".to_vec(), "line 1 column 1"),
        (b"[]".to_vec(), "invalid"),
        (b"\xff\xfe".to_vec(), "line 1"),
        (br#"{"cidr":"10.0.0.1/30"}"#.to_vec(), "host bits"),
        (duplicate.encode(), "ordinal 0 is free twice"),
        (both.encode(), "ordinal 2 is both free and allocated"),
        (outside.encode(), "ordinal 4 is free but outside"),
        (dangling.encode(), "attribute 1 of 1"),
        (short.encode(), "3 allocations instead of 4"),
        (moved.encode(), "its range is 10.0.0.4/30"),
    ] {
        let error = Block::decode(key, &value).unwrap_err().to_string();
        assert!(error.contains(key) && error.contains(part), "{error}");
    }
    Block::decode(key, &attributed().encode()).unwrap();
}

#[test]
fn old_affinities_are_confirmed() {
    let key = "/calico/ipam/v2/host/n1/ipv4/block/10.0.0.0-26";
    for value in ["", "\"\"", "{}", r#"{"state":""}"#, r#"{"state":"confirmed","deleted":false}"#] {
        assert_eq!(Affinity::decode(key, value.as_bytes()).unwrap().state, AffinityState::Confirmed, "{value}");
    }
    assert!(Affinity::decode(key, br#"{"state":"maybe"}"#).unwrap_err().to_string().contains("maybe"));
    assert_eq!(Affinity::confirmed().encode(), br#"{"state":"confirmed","deleted":false}"#);
}

#[test]
fn absent_fields_of_the_configuration_are_false() {
    let present = IpamConfig::decode("/calico/ipam/v2/config", br#"{"strict_affinity":true}"#).unwrap();
    assert!(!present.auto_allocate_blocks);
    assert!(IpamConfig::default().auto_allocate_blocks);
    assert_eq!(present.max_blocks(), 20);
}

#[test]
fn pools_that_cannot_be_are_refused() {
    let pool = |name: &str, cidr: &str, size: u8| {
        Pool::new(name, cidr.parse().unwrap(), size, "u".into(), "t".into()).encode()
    };
    let key = "/calico/resources/v3/projectcalico.org/ippools/p";
    for (value, part) in [
        (pool("q", "10.0.0.0/16", 26), "named \"q\""),
        (pool("p", "10.0.0.0/16", 19), "block size 19 is not in 20 to 32"),
        (pool("p", "fd00::/112", 26), "block size 26 is not in 116 to 128"),
        (pool("p", "10.0.0.0/28", 26), "do not fit"),
    ] {
        let error = Pool::decode(key, &value).unwrap_err().to_string();
        assert!(error.contains(part), "{error}");
    }
    assert_eq!(Pool::decode(key, &pool("p", "10.0.0.0/16", 0)).unwrap().block_size(), 26);
}

#[test]
fn a_value_of_another_kind_is_refused() {
    let error = Handle::decode("/calico/ipam/v2/config", br#"{"block":{}}"#).unwrap_err();
    assert_eq!(error.to_string(), "key /calico/ipam/v2/config holds no handle");
}
