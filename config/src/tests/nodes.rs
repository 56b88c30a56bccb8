use super::*;

/// What all nodes share, and what two of them have for themselves.
const CLUSTER: &str = r#"
[node]
roles = ["worker"]

[store]
etcd = { endpoints = ["http://10.122.0.1:2379"] }

[bgp]
asn = 4200000099
accept_default = true

[ipam]
pools = [{ cidr = "10.123.128.0/17" }]

[nodes.worker1]
node = { router_id = "10.122.0.11", addresses = ["10.122.0.11/32"] }
bgp = { asn = 4200000011, peer = [{ address = "10.122.101.0", asn = 65001 }] }

[nodes."worker2.example.com".node]
roles = ["worker", "ingress"]

[[nodes."worker2.example.com".bgp.peer]]
address = "10.122.102.0"
asn = 65002
"#;

fn as_node(name: &str, text: &str) -> Result<(Settings, Vec<Warning>), ConfigErrors> {
    let environment = BTreeMap::from([(NODE_NAME.to_owned(), name.to_owned())]);
    load(text, "petiole.toml", &Facts { hostname: "host1".to_owned(), environment })
}

#[test]
fn a_nodes_section_goes_before_what_all_share_key_by_key() {
    let (settings, warnings) = as_node("worker1", CLUSTER).unwrap();
    assert_eq!(warnings, []);
    assert_eq!(settings.node.name, "worker1");
    assert_eq!(settings.node.roles.iter().copied().collect::<Vec<_>>(), [Role::Worker]);
    assert_eq!(settings.node.router_id, Some("10.122.0.11".parse().unwrap()));
    let bgp = settings.bgp.unwrap();
    assert_eq!((bgp.asn, bgp.accept_default, bgp.peers.len()), (4_200_000_011, true, 1));
    assert_eq!(settings.ipam.pools.len(), 1);

    let (settings, _) = as_node("worker2.example.com", CLUSTER).unwrap();
    assert_eq!(settings.node.roles.len(), 2, "a list is replaced");
    let bgp = settings.bgp.unwrap();
    assert_eq!((bgp.asn, bgp.peers.len()), (4_200_000_099, 1));
    assert_eq!(nodes(CLUSTER), ["worker1", "worker2.example.com"]);
    assert_eq!(nodes("[node]\n"), [""; 0]);
}

#[test]
fn whose_section_counts_is_said_by_the_environment_then_the_file_then_the_host() {
    let text =
        "[nodes]\na.metrics.listen = '[::1]:1'\nb.metrics.listen = '[::1]:2'\nhost1.metrics.listen = '[::1]:3'\n";
    let port = |text: &str, environment: Option<&str>| {
        let environment = environment.map(|name| (NODE_NAME.to_owned(), name.to_owned()));
        let facts = Facts { hostname: "host1".to_owned(), environment: environment.into_iter().collect() };
        load(text, "petiole.toml", &facts).unwrap().0.metrics_listen.port()
    };
    let named = format!("[node]\nname = \"a\"\n{text}");
    assert_eq!([port(text, None), port(&named, None), port(&named, Some("b"))], [3, 1, 2]);
}

#[test]
fn a_node_without_a_section_is_told() {
    let text = "[nodes.a.node]\nroles = []\n";
    let warning =
        "petiole.toml:1:2: there is no [nodes.host1] for this node, so it has only what the rest of the file says";
    assert_eq!(warned(text), warning);
}

#[test]
fn mistakes_in_sections_are_named_at_their_place() {
    let errors = as_node("worker1", &CLUSTER.replace("asn = 65001", "asn = 65001, hold_tme = \"9s\"")).unwrap_err();
    assert!(errors.to_string().starts_with("petiole.toml:17:76: [[bgp.peer]] has no key \"hold_tme\""), "{errors}");
    let errors = as_node("worker1", &CLUSTER.replace("\"10.122.0.11/32\"", "\"10.122.0.0/16\"")).unwrap_err();
    assert!(errors.to_string().starts_with("petiole.toml:16:"), "{errors}");
    // Another node's mistake is not this node's.
    as_node("worker1", &CLUSTER.replace("asn = 65002", "asn = 0")).unwrap();
    as_node("worker2.example.com", &CLUSTER.replace("asn = 65002", "asn = 0")).unwrap_err();

    assert_eq!(bad("nodes = 1\n"), "petiole.toml:1:9: [nodes] is a number: write it as [nodes.worker1]");
    assert_eq!(bad("nodes.host1 = 1\n"), "petiole.toml:1:7: [nodes.NAME] is a number: write it as [nodes.worker1]");
    let nested = bad("[nodes.host1.nodes.host1.bgp]\nasn = 1\n");
    let valid =
        "there is no section \"nodes\"; the sections are node, store, bgp, announce, ipam, kubernetes, paths, metrics";
    assert!(nested.contains(valid), "{nested}");
    assert!(bad("[nodes.\"a/b\".bgp]\nasn = 1\n").contains("'/'"));
}

#[test]
fn one_mistake_that_all_share_is_one_mistake() {
    let text = CLUSTER.replace("[ipam]", "[ipma]");
    let all = ["worker1", "worker2.example.com"].map(|name| as_node(name, &text).unwrap_err());
    assert_eq!(ConfigErrors::together(all.to_vec()).unwrap().iter().count(), 1);
    assert_eq!(ConfigErrors::together(Vec::new()), None);
}
