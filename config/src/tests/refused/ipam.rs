use super::*;

#[test]
fn pools_that_cannot_be_used() {
    check(
        pools,
        &[
            (
                "{ block_size = 26 }",
                r#"2:10: [[ipam.pools]] needs `cidr`: write the pool's prefix, cidr = "10.123.128.0/17""#,
            ),
            (
                r#"{ cidr = "10.123.128.1/17" }"#,
                "2:19: `cidr` in [[ipam.pools]]: 10.123.128.1/17 has host bits set: did you mean 10.123.128.0/17?",
            ),
            (
                r#"{ cidr = "10.0.0.0/16", block_size = 19 }"#,
                "2:47: `block_size` of pool 10.0.0.0/16 is 19: write 20 to 32",
            ),
            (
                r#"{ cidr = "10.0.0.0/16", block_size = 33 }"#,
                "2:47: `block_size` of pool 10.0.0.0/16 is 33: write 20 to 32",
            ),
            (
                r#"{ cidr = "10.0.0.0/24", block_size = 23 }"#,
                "2:47: `block_size` of pool 10.0.0.0/24 is 23: write 24 to 32, for a block cannot be larger than its pool",
            ),
            (
                r#"{ cidr = "10.0.0.0/28" }"#,
                "2:19: pool 10.0.0.0/28 is smaller than one block of the default size /26: write block_size, 28 to 32",
            ),
            (
                r#"{ cidr = "fd00::/112", block_size = 26 }"#,
                "2:46: `block_size` of pool fd00::/112 is 26: write 116 to 128, for a block cannot be larger than its pool",
            ),
            (
                r#"{ cidr = "fd00::/112", block_size = 129 }"#,
                "2:46: `block_size` of pool fd00::/112 is 129: write 116 to 128",
            ),
            (
                r#"{ cidr = "10.0.0.0/16", block_size = 300 }"#,
                "2:47: `block_size` in [[ipam.pools]] is 300: write a number from 0 to 255",
            ),
            (
                r#"{ cidr = "10.0.0.0/16", block_size = "26" }"#,
                "2:47: `block_size` in [[ipam.pools]] is a string: write a number such as 26",
            ),
            (
                r#"{ cidr = "0.0.0.0/0" }"#,
                r#"2:19: `cidr` in [[ipam.pools]] is 0.0.0.0/0, a default route, which draws the whole fabric's traffic: write a prefix that the fabric can route, such as "10.123.128.0/17""#,
            ),
            (
                r#"{ cidr = "169.254.0.0/16" }"#,
                r#"2:19: `cidr` in [[ipam.pools]] is 169.254.0.0/16, which shares addresses with 169.254.0.0/16 (link-local): write a prefix that the fabric can route, such as "10.123.128.0/17""#,
            ),
        ],
    );
    check(
        as_it_is,
        &[(
            "[ipam]\npools = [5]",
            r#"2:10: [[ipam.pools]] is a number: write it as a list, pools = [{ cidr = "10.123.128.0/17", block_size = 26 }]"#,
        )],
    );
}

#[test]
fn a_source_that_does_not_fit() {
    const FITS: &str = "[kubernetes]\nin_cluster = true\n";
    let etcd = format!("[ipam]\nsource = \"node\"\n{FITS}[store]\netcd = {{ endpoints = [\"http://10.0.0.1:2379\"] }}");
    let pools = format!("[ipam]\nsource = \"node\"\npools = [{{ cidr = \"10.0.0.0/16\" }}]\n{FITS}");
    check(
        as_it_is,
        &[
            (
                "[ipam]\nsource = \"etcd\"",
                r#"2:10: `source` in [ipam] is "etcd": write "store" (blocks of the store's pools) or "node" (spec.podCIDRs of the Node object)"#,
            ),
            (
                "[ipam]\nsource = \"node\"",
                r#"2:10: [ipam] source = "node" takes this node's ranges from its Node object: add [kubernetes] with kubeconfig or in_cluster"#,
            ),
            (
                &etcd,
                r#"2:10: [ipam] source = "node" is for clusters without an etcd for Petiole: write embedded = "/var/lib/petiole/store" in [store], or leave [ipam] source away and let the store's pools have the blocks"#,
            ),
            (
                &pools,
                r#"3:19: pool 10.0.0.0/16 does not go with source = "node", where the Node object says the ranges: remove one of them"#,
            ),
        ],
    );
}

#[test]
fn selectors_and_reserved_ranges_that_say_nothing_useful() {
    check(
        pools,
        &[
            (
                r#"{ cidr = "10.0.0.0/16", node_selector = "rack = 'r1'" }"#,
                r#"2:50: `node_selector` of pool 10.0.0.0/16: column 6: ==, !=, in, not in, contains, starts with or ends with after rack is expected, and "=" stands there; write it as Calico does, such as "rack == 'r1' && !has(gpu)""#,
            ),
            (
                r#"{ cidr = "10.0.0.0/16", node_selector = 1 }"#,
                r#"2:50: `node_selector` in [[ipam.pools]] is a number: write a selector such as "rack == 'r1'""#,
            ),
        ],
    );
    check(
        as_it_is,
        &[
            (
                "[ipam]\nreserved = \"10.0.0.0/28\"",
                r#"2:12: `reserved` in [ipam] is a string: write a list such as ["10.123.128.0/28"]"#,
            ),
            (
                "[ipam]\ngrace_time = \"4s\"",
                r#"2:14: `grace_time` in [ipam] is 4s: write whole seconds, "5s" to "24h""#,
            ),
            (
                "[ipam]\nreserved = [\"10.0.0.1/28\"]",
                "2:13: `reserved` in [ipam]: 10.0.0.1/28 has host bits set: did you mean 10.0.0.0/28?",
            ),
            (
                "[ipam]\nreserved = [\"10.0.0.0/28\", \"10.0.0.0/28\"]",
                "2:28: range 10.0.0.0/28 is already in line 2: remove one of the two",
            ),
            (
                "[ipam]\nreserved = [\"::/0\"]",
                r#"2:13: `reserved` in [ipam] is ::/0, a default route, which draws the whole fabric's traffic: write a range of one of the pools, such as "10.123.128.0/28""#,
            ),
        ],
    );
}

#[test]
fn labels_that_no_selector_could_name() {
    check(
        as_it_is,
        &[
            ("[node]\nlabels = 1", r#"2:10: `labels` in [node] is a number: write a table such as { rack = "r1" }"#),
            ("[node]\nlabels = { rack = 1 }", r#"2:19: label rack in [node] is a number: write a string such as "r1""#),
            (
                "[node]\nlabels = { \"a b\" = \"x\" }",
                r#"2:12: label "a b" in [node] has other characters than letters, digits and _ . / -: write a key such as rack or topology.kubernetes.io/zone"#,
            ),
            (
                "[node]\nlabels = { 1a = \"x\" }",
                r#"2:12: label "1a" in [node] begins with a digit, so that no selector can name it: write a key such as rack or topology.kubernetes.io/zone"#,
            ),
            (
                "[node]\nlabels = { rack = \"r 1\" }",
                r#"2:19: label rack in [node] is "r 1": write at most 63 letters, digits and _ . -"#,
            ),
        ],
    );
}

#[test]
fn ranges_that_harm_each_other() {
    check(
        pools,
        &[(
            r#"{ cidr = "10.123.128.0/17" }, { cidr = "10.123.192.0/18" }"#,
            "2:49: pool 10.123.192.0/18 overlaps pool 10.123.128.0/17 (line 2): both would give out the same addresses; give each pool its own range",
        )],
    );
    check(
        as_it_is,
        &[
            (
                r#"[[announce]]
kind = "service-range"
prefix = "10.123.0.0/16"
[ipam]
pools = [{ cidr = "10.123.128.0/17" }]
"#,
                "5:19: pool 10.123.128.0/17 overlaps service range 10.123.0.0/16 (line 3): an address would belong to a pod and to a service; give each its own range",
            ),
            (
                r#"[[announce]]
kind = "anycast"
prefix = "10.123.128.5/32"
[ipam]
pools = [{ cidr = "10.123.128.0/17" }]
"#,
                "5:19: pool 10.123.128.0/17 overlaps anycast 10.123.128.5/32 (line 3): a pod could get the anycast address; take that from outside the pools",
            ),
            (
                r#"[node]
addresses = ["10.123.128.7/32"]
[ipam]
pools = [{ cidr = "10.123.128.0/17" }]
"#,
                "4:19: pool 10.123.128.0/17 overlaps the node's address 10.123.128.7/32 (line 2): a pod could get the node's address; take that from outside the pools",
            ),
            (
                r#"[node]
router_id = "10.123.128.7"
[ipam]
pools = [{ cidr = "10.123.128.0/17" }]
"#,
                "4:19: pool 10.123.128.0/17 overlaps router id 10.123.128.7 (line 2): a pod could get the node's address; take that from outside the pools",
            ),
            (
                r#"[node]
addresses = ["10.123.0.7/32"]
[[announce]]
kind = "service-range"
prefix = "10.123.0.0/17"
"#,
                "5:10: service range 10.123.0.0/17 overlaps the node's address 10.123.0.7/32 (line 2): every ingress node would answer for this node; take its address from outside the service range",
            ),
            (
                r#"[node]
addresses = ["10.122.255.1/32"]
[[announce]]
kind = "anycast"
prefix = "10.122.255.1/32"
"#,
                "5:10: anycast 10.122.255.1/32 overlaps the node's address 10.122.255.1/32 (line 2): other nodes have the anycast address too, so this node needs one of its own",
            ),
            (
                r#"[node]
router_id = "10.122.255.1"
[[announce]]
kind = "anycast"
prefix = "10.122.255.1/32"
"#,
                "5:10: anycast 10.122.255.1/32 overlaps router id 10.122.255.1 (line 2): other nodes have the anycast address too, so this node needs one of its own",
            ),
        ],
    );
}
