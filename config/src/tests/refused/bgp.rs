use super::*;

#[test]
fn restart_times_that_cannot_be_said() {
    check(
        peer,
        &[
            (
                r#"graceful_restart = { restart_time = "4096s" }"#,
                "8:37: `restart_time` in graceful_restart is 4096s: write whole seconds, \"1s\" to \"4095s\"",
            ),
            (
                r#"graceful_restart = { stale_time = "1500ms" }"#,
                "8:35: `stale_time` in graceful_restart is 1500ms: write whole seconds, \"1s\" to \"24h\"",
            ),
            (
                "graceful_restart = \"on\"",
                "8:20: graceful_restart is a string: write it as true, false or a table, graceful_restart = { restart_time = \"120s\" }",
            ),
        ],
    );
}

#[test]
fn as_numbers_that_no_one_may_use() {
    check(
        own_asn,
        &[
            (
                "0",
                "2:7: `asn` in [bgp] is 0, which no speaker may use (RFC 7607): write the AS number of the node, such as 4200000011",
            ),
            (
                "23456",
                "2:7: `asn` in [bgp] is 23456, AS_TRANS, the stand-in for numbers that need four octets (RFC 6793): write the AS number of the node, such as 4200000011",
            ),
            (
                "65535",
                "2:7: `asn` in [bgp] is 65535, the last of its range and reserved (RFC 7300): write the AS number of the node, such as 4200000011",
            ),
            (
                "4294967295",
                "2:7: `asn` in [bgp] is 4294967295, the last of its range and reserved (RFC 7300): write the AS number of the node, such as 4200000011",
            ),
            ("4294967296", "2:7: `asn` in [bgp] is 4294967296: write a number from 1 to 4294967294"),
            ("-1", "2:7: `asn` in [bgp] is -1: write a number from 1 to 4294967294"),
        ],
    );
    check(
        as_it_is,
        &[
            ("[bgp]", "1:1: [bgp] needs `asn`: write the node's own AS number, asn = 4200000011"),
            (
                r#"[store]
embedded = "/s"
[bgp]
asn = 65010
[[bgp.peer]]
address = "10.0.0.1"
"#,
                r#"5:1: [[bgp.peer]] needs `asn`: write the leaf's AS number, asn = 65001, or asn = "external" for any but our own"#,
            ),
            (
                r#"[store]
embedded = "/s"
[[bgp.peer]]
address = "10.0.0.1"
asn = 65001
"#,
                "3:3: [bgp] needs `asn`: write the node's own AS number, asn = 4200000011",
            ),
            (
                r#"[store]
embedded = "/s"
[bgp]
asn = 65010
[[bgp.peer]]
asn = 65001
"#,
                r#"5:1: [[bgp.peer]] needs `address`: write the leaf's address on that uplink, address = "10.122.101.0", or interface = "eth1" for the router heard there"#,
            ),
        ],
    );
    check(
        peer,
        &[
            (
                "asn = 0",
                "7:7: `asn` in [[bgp.peer]] is 0, which no speaker may use (RFC 7607): write the AS number of the leaf, such as 65001",
            ),
            (
                "asn = 23456",
                "7:7: `asn` in [[bgp.peer]] is 23456, AS_TRANS, the stand-in for numbers that need four octets (RFC 6793): write the AS number of the leaf, such as 65001",
            ),
            (
                "asn = 65535",
                "7:7: `asn` in [[bgp.peer]] is 65535, the last of its range and reserved (RFC 7300): write the AS number of the leaf, such as 65001",
            ),
            (
                "asn = 4294967295",
                "7:7: `asn` in [[bgp.peer]] is 4294967295, the last of its range and reserved (RFC 7300): write the AS number of the leaf, such as 65001",
            ),
            (
                r#"asn = "internal""#,
                r#"7:7: `asn` in [[bgp.peer]] is "internal": write a number such as 65001, or "external" for any AS but our own"#,
            ),
            (
                "asn = 4200000011",
                "7:7: `asn` in [[bgp.peer]] is 4200000011, our own AS: a node speaks eBGP only, so leaf and node need different AS numbers",
            ),
            ("asn = true", r#"7:7: `asn` in [[bgp.peer]] is a boolean: write a number such as 65001, or "external""#),
        ],
    );
}

#[test]
fn peers_that_nobody_can_be() {
    check(
        peer_at,
        &[
            (
                r#""0.0.0.0""#,
                r#"6:11: `address` in [[bgp.peer]] is 0.0.0.0, which is no destination: write the leaf's address on that uplink, such as "10.122.101.0""#,
            ),
            (
                r#""::""#,
                r#"6:11: `address` in [[bgp.peer]] is ::, which is no destination: write the leaf's address on that uplink, such as "10.122.101.0""#,
            ),
            (
                r#""224.0.0.5""#,
                r#"6:11: `address` in [[bgp.peer]] is 224.0.0.5, which is multicast: write the leaf's address on that uplink, such as "10.122.101.0""#,
            ),
            (
                r#""ff02::1""#,
                r#"6:11: `address` in [[bgp.peer]] is ff02::1, which is multicast: write the leaf's address on that uplink, such as "10.122.101.0""#,
            ),
            (
                r#""127.0.0.1""#,
                r#"6:11: `address` in [[bgp.peer]] is 127.0.0.1, which is this node itself: write the leaf's address on that uplink, such as "10.122.101.0""#,
            ),
            (
                r#""::1""#,
                r#"6:11: `address` in [[bgp.peer]] is ::1, which is this node itself: write the leaf's address on that uplink, such as "10.122.101.0""#,
            ),
            (
                r#""255.255.255.255""#,
                r#"6:11: `address` in [[bgp.peer]] is 255.255.255.255, which is everybody on the link: write the leaf's address on that uplink, such as "10.122.101.0""#,
            ),
            (
                r#""fe80::1""#,
                r#"6:11: `address` in [[bgp.peer]] is fe80::1, which is link-local: write interface = "eth1" instead, and the leaf is found on that link"#,
            ),
            (
                r#""fe80::1%eth0""#,
                r#"6:11: `address` in [[bgp.peer]] is "fe80::1%eth0", which is no IP address: write an address such as "10.122.101.0""#,
            ),
            (
                r#""::ffff:10.0.0.1""#,
                r#"6:11: `address` in [[bgp.peer]] is ::ffff:10.0.0.1, which is an IPv4 address written as IPv6: write the leaf's address on that uplink, such as "10.122.101.0""#,
            ),
            (
                r#""leaf1""#,
                r#"6:11: `address` in [[bgp.peer]] is "leaf1", which is no IP address: write an address such as "10.122.101.0""#,
            ),
            (
                r#""10.122.101.0/31""#,
                r#"6:11: `address` in [[bgp.peer]] is "10.122.101.0/31", which is no IP address: write "10.122.101.0""#,
            ),
            (
                r#""10.122.101.0:179""#,
                r#"6:11: `address` in [[bgp.peer]] is "10.122.101.0:179", which is no IP address: write "10.122.101.0""#,
            ),
        ],
    );
    check(
        as_it_is,
        &[
            (
                r#"[store]
embedded = "/s"
[bgp]
asn = 4200000011
[[bgp.peer]]
address = "10.122.101.0"
asn = 65001
[[bgp.peer]]
address = "10.122.101.0"
asn = 65002
"#,
                "9:11: peer 10.122.101.0 is already in line 6: remove one of the two",
            ),
            (
                r#"[node]
addresses = ["10.122.0.11/32"]
[store]
embedded = "/s"
[bgp]
asn = 4200000011
[[bgp.peer]]
address = "10.122.0.11"
asn = 65001
"#,
                "8:11: the peer 10.122.0.11 is this node itself (the node's address 10.122.0.11/32, line 2): write the leaf's address on that uplink",
            ),
            (
                r#"[node]
router_id = "10.122.0.11"
addresses = ["10.122.0.11/32"]
[store]
embedded = "/s"
[bgp]
asn = 4200000011
[[bgp.peer]]
address = "10.122.0.11"
asn = 65001
"#,
                "9:11: the peer 10.122.0.11 is this node itself (the node's address 10.122.0.11/32, line 3): write the leaf's address on that uplink",
            ),
            (
                r#"[node]
router_id = "10.122.0.11"
[store]
embedded = "/s"
[bgp]
asn = 4200000011
[[bgp.peer]]
address = "10.122.0.11"
asn = 65001
"#,
                "8:11: the peer 10.122.0.11 is this node itself (router id 10.122.0.11, line 2): write the leaf's address on that uplink",
            ),
            (
                r#"[store]
embedded = "/s"
[bgp]
asn = 4200000011
[[bgp.peer]]
address = "10.122.255.1"
asn = 65001
[[announce]]
kind = "anycast"
prefix = "10.122.255.1/32"
"#,
                "6:11: the peer 10.122.255.1 is this node itself (anycast 10.122.255.1/32, line 10): write the leaf's address on that uplink",
            ),
            (
                r#"[store]
embedded = "/s"
[bgp]
asn = 4200000011
[[bgp.peer]]
address = "10.123.0.1"
asn = 65001
[[announce]]
kind = "service-range"
prefix = "10.123.0.0/17"
"#,
                "10:10: service range 10.123.0.0/17 overlaps peer 10.123.0.1 (line 6): the range is local on this node, so the session would end here; a leaf's address is never inside it",
            ),
            (
                r#"[store]
embedded = "/s"
[bgp]
asn = 4200000011
[[bgp.peer]]
address = "10.123.128.1"
asn = 65001
[ipam]
pools = [{ cidr = "10.123.128.0/17" }]
"#,
                "9:19: pool 10.123.128.0/17 overlaps peer 10.123.128.1 (line 6): the blackhole of a block would swallow the session; a leaf's address is never inside a pool",
            ),
        ],
    );
}

#[test]
fn hold_times_and_ports_that_bgp_cannot_carry() {
    check(
        peer,
        &[
            (
                r#"hold_time = "1s""#,
                r#"8:13: `hold_time` is 1s: BGP (RFC 4271, section 4.2) allows whole seconds, at least "3s" and at most "65535s", or "0s" for a session without keepalives"#,
            ),
            (
                r#"hold_time = "2s""#,
                r#"8:13: `hold_time` is 2s: BGP (RFC 4271, section 4.2) allows whole seconds, at least "3s" and at most "65535s", or "0s" for a session without keepalives"#,
            ),
            (
                r#"hold_time = "500ms""#,
                r#"8:13: `hold_time` is 500ms: BGP (RFC 4271, section 4.2) allows whole seconds, at least "3s" and at most "65535s", or "0s" for a session without keepalives"#,
            ),
            (
                r#"hold_time = "3500ms""#,
                r#"8:13: `hold_time` is 3500ms: BGP (RFC 4271, section 4.2) allows whole seconds, at least "3s" and at most "65535s", or "0s" for a session without keepalives"#,
            ),
            (
                r#"hold_time = "20h""#,
                r#"8:13: `hold_time` is 20h: BGP (RFC 4271, section 4.2) allows whole seconds, at least "3s" and at most "65535s", or "0s" for a session without keepalives"#,
            ),
            ("port = 0", "8:8: `port` in [[bgp.peer]] is 0: write a number from 1 to 65535"),
            ("port = 70000", "8:8: `port` in [[bgp.peer]] is 70000: write a number from 1 to 65535"),
        ],
    );
}

#[test]
fn durations_without_a_unit() {
    check(
        peer,
        &[
            (
                r#"hold_time = "9""#,
                r#"8:13: `hold_time` in [[bgp.peer]] is no duration: "9" should be "9s"; a duration is a whole number with its unit, one of ms, s, m and h, such as "500ms" or "9s""#,
            ),
            (
                r#"hold_time = "9 sec""#,
                r#"8:13: `hold_time` in [[bgp.peer]] is no duration: "9 sec" should be "9s"; a duration is a whole number with its unit, one of ms, s, m and h, such as "500ms" or "9s""#,
            ),
            (
                "hold_time = 9",
                r#"8:13: `hold_time` in [[bgp.peer]] is no duration: 9 should be "9s"; a duration is a whole number with its unit, one of ms, s, m and h, such as "500ms" or "9s""#,
            ),
            (
                r#"hold_time = "9 Seconds""#,
                r#"8:13: `hold_time` in [[bgp.peer]] is no duration: "9 Seconds" should be "9s"; a duration is a whole number with its unit, one of ms, s, m and h, such as "500ms" or "9s""#,
            ),
            (
                r#"hold_time = "nine""#,
                r#"8:13: `hold_time` in [[bgp.peer]] is no duration: "nine" cannot be read; a duration is a whole number with its unit, one of ms, s, m and h, such as "500ms" or "9s""#,
            ),
            (
                r#"hold_time = """#,
                r#"8:13: `hold_time` in [[bgp.peer]] is no duration: "" cannot be read; a duration is a whole number with its unit, one of ms, s, m and h, such as "500ms" or "9s""#,
            ),
            (
                r#"hold_time = "-9s""#,
                r#"8:13: `hold_time` in [[bgp.peer]] is no duration: "-9s" cannot be read; a duration is a whole number with its unit, one of ms, s, m and h, such as "500ms" or "9s""#,
            ),
            (
                r#"hold_time = "1.5s""#,
                r#"8:13: `hold_time` in [[bgp.peer]] is no duration: "1.5s" cannot be read; a duration is a whole number with its unit, one of ms, s, m and h, such as "500ms" or "9s""#,
            ),
            (
                r#"hold_time = "1m30s""#,
                r#"8:13: `hold_time` in [[bgp.peer]] is no duration: "1m30s" cannot be read; a duration is a whole number with its unit, one of ms, s, m and h, such as "500ms" or "9s""#,
            ),
            (
                r#"hold_time = "99999999999999999999s""#,
                r#"8:13: `hold_time` in [[bgp.peer]] is no duration: "99999999999999999999s" cannot be read; a duration is a whole number with its unit, one of ms, s, m and h, such as "500ms" or "9s""#,
            ),
            (
                "hold_time = true",
                r#"8:13: `hold_time` in [[bgp.peer]] is a boolean: write a duration such as "9s" or "500ms""#,
            ),
            (
                "hold_time = 1.5",
                r#"8:13: `hold_time` in [[bgp.peer]] is a number with a fraction: write a duration such as "9s" or "500ms""#,
            ),
        ],
    );
}

#[test]
fn interfaces_that_no_leaf_can_be_found_on() {
    let peer_on = |name: &str| {
        format!(
            "[store]\nembedded = \"/s\"\n[bgp]\nasn = 4200000011\n[[bgp.peer]]\ninterface = {name}\nasn = \"external\"\n"
        )
    };
    let says = |text: &str, why: &str| {
        format!("6:13: `interface` in [[bgp.peer]] is {text}, {why}; write the uplink's name, such as \"eth1\"")
    };
    let cases = [
        (r#""""#, "which is empty"),
        (r#""..""#, "which no interface can have for its name"),
        (r#""lo""#, "which is this node itself"),
        (r#""sixteen-bytes-xx""#, "which is longer than the 15 bytes of an interface's name"),
        (r#""eth1/0""#, "which has a character that no interface's name has"),
        (r#""eth 1""#, "which has a character that no interface's name has"),
        (r#""10.0.0.1""#, "which is an address: write it as `address`"),
    ];
    for (name, why) in cases {
        check(peer_on, &[(name, &says(name, why))]);
    }
    check(peer_on, &[("1", r#"6:13: `interface` in [[bgp.peer]] is a number: write an interface such as "eth1""#)]);
    check(
        |more| peer_on(&format!("\"eth1\"\n{more}")),
        &[(
            r#"address = "10.122.101.0""#,
            "7:11: [[bgp.peer]] has both `address` and `interface`: keep `address` for a leaf on a subnet of this node, or `interface` for one that is found on that link",
        )],
    );
    check(
        |more| peer_on("\"eth1\"") + more,
        &[(
            "[[bgp.peer]]\ninterface = \"eth1\"\nasn = 65002",
            "9:13: peer eth1 is already in line 6: remove one of the two",
        )],
    );
    let misspelt = "[store]\nembedded = \"/s\"\n[bgp]\nasn = 65010\n[[bgp.peer]]\ninterfce = \"eth1\"\nasn = 65001";
    assert_eq!(bad(misspelt).lines().count(), 1, "one mistake, one message: {}", bad(misspelt));
}

#[test]
fn what_secures_a_session_and_can_not() {
    let unnumbered = |line: &str| peer(line).replace("address = \"10.122.101.0\"", "interface = \"eth1\"");
    check(
        unnumbered,
        &[
            (
                "password_file = \"/k\"",
                "8:17: `password_file` in [[bgp.peer]] does not go with `interface`: the key of a signature hangs on an address; write the leaf's `address`, or take `password_file` out",
            ),
            (
                "tcp_ao = { key_file = \"/k\" }",
                "8:10: `tcp_ao` in [[bgp.peer]] does not go with `interface`: the key of a signature hangs on an address; write the leaf's `address`, or take `tcp_ao` out",
            ),
            (
                r#"local_address = "10.0.0.1""#,
                "8:17: `local_address` in [[bgp.peer]] does not go with `interface`: an unnumbered session has the link's own; write the leaf's `address`, or take `local_address` out",
            ),
        ],
    );
    check(
        peer,
        &[
            (
                "password_file = \"leaf.key\"",
                r#"8:17: `password_file` in [[bgp.peer]] is "leaf.key", which depends on where the agent was started: write an absolute path such as "/etc/petiole/leaf.key""#,
            ),
            (r#"ttl_security = "on""#, r#"8:16: `ttl_security` in [[bgp.peer]] is a string: write true or false"#),
            (
                r#"local_address = "fd00::1""#,
                "8:17: `local_address` in [[bgp.peer]] is fd00::1, and `address` is of the other family: write an address of this node, of the family of `address`",
            ),
            (
                r#"local_address = "0.0.0.0""#,
                "8:17: `local_address` in [[bgp.peer]] is 0.0.0.0, which is every address; without the key it is the uplink's: write an address of this node, of the family of `address`",
            ),
            (
                "password_file = \"/k\"\ntcp_ao = { key_file = \"/k\" }",
                "9:10: [[bgp.peer]] has both `password_file` and `tcp_ao`, and a connection has one of the two signatures (RFC 5925): keep that which the leaf has",
            ),
            (
                r#"tcp_ao = { key_file = "/k", algorithm = "md5" }"#,
                r#"8:41: there is no algorithm "md5" of tcp_ao: write "hmac-sha-1-96" or "aes-128-cmac-96""#,
            ),
            (
                r#"tcp_ao = { send_id = 256, key_file = "/k" }"#,
                "8:22: `send_id` in tcp_ao is 256: write a number from 0 to 255",
            ),
            (
                "tcp_ao = {}",
                "8:10: tcp_ao needs `key_file`: write the file with the key, key_file = \"/etc/petiole/leaf.key\"",
            ),
        ],
    );
}
