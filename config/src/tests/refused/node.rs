use super::*;

#[test]
fn names_that_keys_cannot_carry() {
    check(
        as_it_is,
        &[
            (
                r#"[node]
name = """#,
                r#"2:8: the node's name is empty: write `name` in [node], such as "worker1""#,
            ),
            (
                r#"[node]
name = "rack1/worker1""#,
                "2:8: the node's name has the character '/': names are parts of keys in the store, so use letters, digits, '.', '-' and '_'",
            ),
            (
                r#"[node]
name = "worker 1""#,
                "2:8: the node's name has the character ' ': names are parts of keys in the store, so use letters, digits, '.', '-' and '_'",
            ),
            (
                r#"[node]
name = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa""#,
                "2:8: the node's name has 254 bytes: a name has at most 253",
            ),
            (
                r#"[node]
name = "wörker""#,
                "2:8: the node's name has the character 'ö': names are parts of keys in the store, so use letters, digits, '.', '-' and '_'",
            ),
        ],
    );
}

#[test]
fn roles_that_do_not_exist() {
    check(
        as_it_is,
        &[
            (
                r#"[node]
roles = ["wroker"]"#,
                r#"2:10: there is no role "wroker": did you mean "worker"? The roles are worker, master and ingress"#,
            ),
            (
                r#"[node]
roles = ["gateway"]"#,
                r#"2:10: there is no role "gateway"; the roles are worker, master and ingress"#,
            ),
            (
                r#"[node]
roles = ["worker", "master", "worker"]"#,
                r#"2:30: role "worker" is already in line 2: remove one of the two"#,
            ),
            (
                r#"[node]
roles = ["Worker"]"#,
                r#"2:10: there is no role "Worker": did you mean "worker"? The roles are worker, master and ingress"#,
            ),
        ],
    );
}

#[test]
fn addresses_that_are_no_addresses_of_a_node() {
    check(
        as_it_is,
        &[
            (
                r#"[node]
router_id = "0.0.0.0""#,
                r#"2:13: `router_id` in [node] is 0.0.0.0, which shares addresses with 0.0.0.0/8 (no destinations): write the node's own stable IPv4 address, such as "10.122.0.11""#,
            ),
            (
                r#"[node]
router_id = "224.0.0.5""#,
                r#"2:13: `router_id` in [node] is 224.0.0.5, which shares addresses with 224.0.0.0/4 (multicast): write the node's own stable IPv4 address, such as "10.122.0.11""#,
            ),
            (
                r#"[node]
router_id = "127.0.0.1""#,
                r#"2:13: `router_id` in [node] is 127.0.0.1, which shares addresses with 127.0.0.0/8 (loopback): write the node's own stable IPv4 address, such as "10.122.0.11""#,
            ),
            (
                r#"[node]
router_id = "fd00::1""#,
                r#"2:13: `router_id` in [node] is fd00::1, but a router id is an IPv4 address (RFC 6286): write the node's own stable IPv4 address, such as "10.122.0.11""#,
            ),
            (
                r#"[node]
router_id = "10.122.0.11/32""#,
                r#"2:13: `router_id` in [node] is "10.122.0.11/32", which is no IP address: write "10.122.0.11""#,
            ),
            (
                r#"[node]
router_id = "worker1""#,
                r#"2:13: `router_id` in [node] is "worker1", which is no IP address: write an address such as "10.122.0.11""#,
            ),
            (
                r#"[node]
router_id = "255.255.255.255""#,
                r#"2:13: `router_id` in [node] is 255.255.255.255, which shares addresses with 240.0.0.0/4 (reserved): write the node's own stable IPv4 address, such as "10.122.0.11""#,
            ),
            (
                r#"[node]
addresses = ["10.122.0.0/24"]"#,
                "2:14: `addresses` in [node] is 10.122.0.0/24, which is more than one address: write the address itself with /32",
            ),
            (
                r#"[node]
addresses = ["10.122.0.11"]"#,
                r#"2:14: `addresses` in [node]: "10.122.0.11" has no length: write 10.122.0.11/32 for the single address"#,
            ),
            (
                r#"[node]
addresses = ["fd00:122::11/64"]"#,
                r#"2:14: `addresses` in [node] is fd00:122::11/64, which is more than one address: write "fd00:122::11/128""#,
            ),
            (
                r#"[node]
addresses = ["127.0.0.1/32"]"#,
                r#"2:14: `addresses` in [node] is 127.0.0.1/32, which shares addresses with 127.0.0.0/8 (loopback): write an address that the fabric can route, such as "10.122.0.11/32""#,
            ),
            (
                r#"[node]
addresses = ["fe80::1/128"]"#,
                r#"2:14: `addresses` in [node] is fe80::1/128, which shares addresses with fe80::/10 (link-local): write an address that the fabric can route, such as "10.122.0.11/32""#,
            ),
            (
                r#"[node]
addresses = ["10.122.0.11/32", "10.122.0.11/32"]"#,
                "2:32: address 10.122.0.11/32 is already in line 2: remove one of the two",
            ),
            (
                r#"[node]
addresses = ["worker1"]"#,
                r#"2:14: `addresses` in [node]: "worker1" is not an IP prefix such as 10.0.0.0/8 or fd00::/64"#,
            ),
        ],
    );
}

#[test]
fn paths_and_listeners_that_cannot_be_opened() {
    check(
        as_it_is,
        &[
            (
                r#"[paths]
state = "state""#,
                r#"2:9: `state` in [paths] is "state", which depends on where the agent was started: write an absolute path such as "/var/lib/petiole""#,
            ),
            (
                r#"[paths]
run = "./run""#,
                r#"2:7: `run` in [paths] is "./run", which depends on where the agent was started: write an absolute path such as "/run/petiole""#,
            ),
            (
                r#"[paths]
run = "/rrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrr""#,
                "2:7: `run` in [paths] is 91 bytes long, too long for the sockets in it: write a path of at most 90 bytes",
            ),
            (
                r#"[metrics]
listen = "9179""#,
                r#"2:10: `listen` in [metrics] is "9179", which is no address with a port: write "127.0.0.1:9179", or "[::]:9179" for every address"#,
            ),
            (
                r#"[metrics]
listen = ":9179""#,
                r#"2:10: `listen` in [metrics] is ":9179", which is no address with a port: write "127.0.0.1:9179", or "[::]:9179" for every address"#,
            ),
            (
                r#"[metrics]
listen = "*:9179""#,
                r#"2:10: `listen` in [metrics] is "*:9179", which is no address with a port: write "127.0.0.1:9179", or "[::]:9179" for every address"#,
            ),
            (
                r#"[metrics]
listen = "127.0.0.1""#,
                r#"2:10: `listen` in [metrics] is "127.0.0.1", which is no address with a port: write "127.0.0.1:9179""#,
            ),
            (
                r#"[metrics]
listen = "localhost:9179""#,
                r#"2:10: `listen` in [metrics] is "localhost:9179", which is no address with a port: write an address, not a name, such as "127.0.0.1:9179""#,
            ),
            (
                r#"[bgp]
asn = 65010
listen = "::""#,
                r#"3:10: `listen` in [bgp] is "::", which is no address with a port: write "[::]:179""#,
            ),
            (
                r#"[store]
embedded = "/s"
[bgp]
listen = "127.0.0.1:9179"
asn = 4200000011
[[bgp.peer]]
address = "10.122.101.0"
asn = 65001
"#,
                "4:10: `listen` in [bgp] is 127.0.0.1:9179, but the metrics' server listens at 127.0.0.1:9179: write another port for one of the two",
            ),
            (
                r#"[store]
embedded = "/s"
[bgp]
listen = "[::]:9000"
asn = 4200000011
[[bgp.peer]]
address = "10.122.101.0"
asn = 65001
[metrics]
listen = "127.0.0.1:9000"
"#,
                "10:10: `listen` in [metrics] is 127.0.0.1:9000, but BGP listens at [::]:9000: write another port for one of the two",
            ),
        ],
    );
}
