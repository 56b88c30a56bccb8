use super::*;

#[test]
fn unknown_keys_name_the_nearest_and_all_valid_ones() {
    check(
        as_it_is,
        &[
            (
                "nod = 1",
                r#"1:1: there is no section "nod": did you mean "node"? The sections are node, store, bgp, announce, ipam, kubernetes, paths, metrics, nodes"#,
            ),
            (
                "[Node]",
                r#"1:2: there is no section "Node": did you mean "node"? The sections are node, store, bgp, announce, ipam, kubernetes, paths, metrics, nodes"#,
            ),
            (
                "[networking]",
                r#"1:2: there is no section "networking"; the sections are node, store, bgp, announce, ipam, kubernetes, paths, metrics, nodes"#,
            ),
            (
                "[node]\nrolse = []",
                r#"2:1: [node] has no key "rolse": did you mean "roles"? Its keys are name, roles, router_id, addresses, labels"#,
            ),
            (
                r#"[node]
router-id = "1.2.3.4""#,
                r#"2:1: [node] has no key "router-id": did you mean "router_id"? Its keys are name, roles, router_id, addresses, labels"#,
            ),
            ("[node]\nx = 1", r#"2:1: [node] has no key "x"; its keys are name, roles, router_id, addresses, labels"#),
            (
                "[store]\netdc = {}",
                r#"2:1: [store] has no key "etdc": did you mean "etcd"? Its keys are etcd, embedded"#,
            ),
            (
                "[bgp]\nasn = 65010\nas = 1",
                r#"3:1: [bgp] has no key "as": did you mean "asn"? Its keys are asn, listen, accept_default, graceful_restart, communities, peer"#,
            ),
            (
                r#"[[bgp.peers]]
address = "10.0.0.1""#,
                r#"1:3: [bgp] needs `asn`: write the node's own AS number, asn = 4200000011
1:7: [bgp] has no key "peers": did you mean "peer"? Its keys are asn, listen, accept_default, graceful_restart, communities, peer"#,
            ),
            (
                r#"[[announce]]
kind = "anycast"
prefix = "10.0.0.1/32"
helth = {}"#,
                r#"4:1: [[announce]] has no key "helth": did you mean "health"? Its keys are kind, prefix, communities, health"#,
            ),
            (
                r#"[paths]
stat = "/a""#,
                r#"2:1: [paths] has no key "stat": did you mean "state"? Its keys are state, run"#,
            ),
            (
                r#"[metrics]
listen_address = "127.0.0.1:9179""#,
                r#"2:1: [metrics] has no key "listen_address"; its keys are listen"#,
            ),
        ],
    );
    check(
        peer,
        &[(
            r#"holdtime = "9s""#,
            r#"8:1: [[bgp.peer]] has no key "holdtime": did you mean "hold_time"? Its keys are address, interface, asn, hold_time, port, passive, bfd, max_prefix, role, strict_role, communities, send_hold_time, delay_open, add_path_receive, local_address, password_file, tcp_ao, ttl_security, graceful_restart"#,
        )],
    );
    check(
        health,
        &[(
            r#"{ htpp = "http://127.0.0.1/" }"#,
            r#"4:12: health has no key "htpp": did you mean "http"? Its keys are http, tcp, command, ca, insecure, interval, timeout, rise, fall"#,
        )],
    );
    check(
        pools,
        &[(
            r#"{ cidr = "10.0.0.0/16", blocksize = 26 }"#,
            r#"2:34: [[ipam.pools]] has no key "blocksize": did you mean "block_size"? Its keys are cidr, block_size, node_selector"#,
        )],
    );
    check(
        etcd,
        &[(
            r#"{ endpoint = ["http://10.0.0.1:2379"] }"#,
            r#"2:10: [store] etcd has no key "endpoint": did you mean "endpoints"? Its keys are endpoints, ca, cert, key, user, password_file"#,
        )],
    );
}

#[test]
fn what_is_no_toml_is_placed() {
    check(
        as_it_is,
        &[
            (
                "[node",
                "1:6: not valid TOML: unclosed table, expected `]`; the rest of the file is checked once this is right",
            ),
            (
                "name = ",
                "1:8: not valid TOML: string values must be quoted, expected literal string; the rest of the file is checked once this is right",
            ),
            (
                r#"[node]
name = "a"
name = "b""#,
                "3:1: not valid TOML: duplicate key; the rest of the file is checked once this is right",
            ),
            (
                "[node]\n[node]",
                "2:2: not valid TOML: duplicate key; the rest of the file is checked once this is right",
            ),
            (
                r#"a = "x
b = 1"#,
                r#"1:7: not valid TOML: invalid basic string, expected `"`; the rest of the file is checked once this is right"#,
            ),
            (
                "[node]\nname = worker1",
                "2:8: not valid TOML: string values must be quoted, expected literal string; the rest of the file is checked once this is right",
            ),
        ],
    );
}

#[test]
fn values_of_another_type_say_what_to_write() {
    check(
        as_it_is,
        &[
            ("node = 1", "1:8: [node] is a number: write it as a section, [node]"),
            ("[node]\nname = 5", r#"2:8: `name` in [node] is a number: write a name such as "worker1""#),
            (
                r#"[node]
roles = "worker""#,
                r#"2:9: `roles` in [node] is a string: write a list such as ["worker"]"#,
            ),
            (
                "[node]\nroles = [1]",
                r#"2:10: `roles` in [node] is a number: write roles as strings, such as ["worker"]"#,
            ),
            ("[node]\nrouter_id = 5", "2:13: `router_id` in [node] is a number: write an IP address, quoted"),
            (
                r#"[node]
addresses = "10.0.0.1/32""#,
                r#"2:13: `addresses` in [node] is a string: write a list such as ["10.122.0.11/32", "fd00:122::11/128"]"#,
            ),
            (
                r#"[bgp]
asn = "65001""#,
                "2:7: `asn` in [bgp] is a string: write the node's own AS number, such as 4200000011",
            ),
            (
                "[bgp]\nasn = 65001.5",
                "2:7: `asn` in [bgp] is a number with a fraction: write the node's own AS number, such as 4200000011",
            ),
            (
                "[bgp]\nasn = 65010\npeer = 5",
                "3:8: [[bgp.peer]] is a number: write it as a section with double brackets, [[bgp.peer]]",
            ),
            (
                r#"[bgp.peer]
address = "10.0.0.1""#,
                "1:1: [[bgp.peer]] is a table: write it as a section with double brackets, [[bgp.peer]]\n1:2: [bgp] needs `asn`: write the node's own AS number, asn = 4200000011",
            ),
            (
                r#"[announce]
kind = "anycast""#,
                "1:1: [[announce]] is a table: write it as a section with double brackets, [[announce]]",
            ),
            (
                r#"[store]
etcd = "http://10.0.0.1:2379""#,
                r#"2:8: [store] etcd is a string: write it as { endpoints = ["http://10.122.0.1:2379"] }"#,
            ),
            (
                r#"[ipam]
pools = { cidr = "10.0.0.0/16" }"#,
                r#"2:9: [[ipam.pools]] is a table: write it as a list, pools = [{ cidr = "10.123.128.0/17", block_size = 26 }]"#,
            ),
            ("[paths]\nstate = 1", "2:9: `state` in [paths] is a number: write a path, quoted"),
            (
                "[metrics]\nlisten = 9179",
                r#"2:10: `listen` in [metrics] is a number: write an address with a port, such as "127.0.0.1:9179""#,
            ),
            ("[store]\nembedded = true", "2:12: `embedded` in [store] is a boolean: write a path, quoted"),
            (
                "[bgp]\nasn = 65010\naccept_default = 1",
                "3:18: `accept_default` in [bgp] is a number: write true or false",
            ),
        ],
    );
    check(
        peer,
        &[
            (r#"passive = "yes""#, "8:11: `passive` in [[bgp.peer]] is a string: write true or false"),
            (r#"port = "179""#, "8:8: `port` in [[bgp.peer]] is a string: write a port such as 179"),
        ],
    );
    check(
        health,
        &[
            (
                r#""http://127.0.0.1:10256/healthz""#,
                r#"4:10: health is a string: write it as { http = "http://127.0.0.1:10256/healthz" }"#,
            ),
            (
                r#"{ command = "/bin/true" }"#,
                r#"4:22: `command` in health is a string: write a list, ["/usr/local/bin/check", "--quick"]"#,
            ),
            (
                "{ tcp = 6443 }",
                r#"4:18: `tcp` in health is a number: write an address with a port, such as "127.0.0.1:9179""#,
            ),
        ],
    );
    check(
        etcd,
        &[(
            r#"{ endpoints = "http://10.0.0.1:2379" }"#,
            r#"2:22: `endpoints` in [store] etcd is a string: write a list such as ["http://10.122.0.1:2379"]"#,
        )],
    );
}
