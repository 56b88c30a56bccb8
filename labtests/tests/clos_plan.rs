//! The reference fabric's files say what its address plan says, computed here from the plan's formulas.

use std::collections::{BTreeMap, BTreeSet};
use std::error::Error;
use std::net::Ipv6Addr;
use std::path::{Path, PathBuf};

use petiole_labtests::{Topology, fabric};

type Outcome = Result<(), Box<dyn Error>>;

/// Node, its number, and its uplinks as (leaf, port).
type Planned = (&'static str, u32, &'static [(u32, u32)]);

const NODES: [Planned; 9] = [
    ("worker1", 11, &[(1, 0)]),
    ("worker2", 12, &[(2, 0)]),
    ("worker3", 13, &[(3, 0)]),
    ("worker4", 14, &[(4, 0), (3, 3)]),
    ("master1", 1, &[(1, 1)]),
    ("master2", 2, &[(2, 1)]),
    ("master3", 3, &[(3, 1)]),
    ("ingress1", 4, &[(3, 2)]),
    ("ingress2", 5, &[(4, 1)]),
];

struct Uplink {
    leaf4: String,
    node4: String,
    leaf6: Ipv6Addr,
    node6: Ipv6Addr,
}

/// 10.122.(100+l).(2p)/31 and fd00:122:(100+l):p::/127, the leaf even.
fn uplink(leaf: u32, port: u32) -> Result<Uplink, Box<dyn Error>> {
    let six = |last: u32| format!("fd00:122:{}:{port}::{last}", 100 + leaf).parse();
    Ok(Uplink {
        leaf4: format!("10.122.{}.{}", 100 + leaf, 2 * port),
        node4: format!("10.122.{}.{}", 100 + leaf, 2 * port + 1),
        leaf6: six(0)?,
        node6: six(1)?,
    })
}

fn file(node: &str, name: &str) -> Result<String, Box<dyn Error>> {
    let path: PathBuf = Path::new(env!("CARGO_MANIFEST_DIR")).join("../containerlab/clos").join(node).join(name);
    Ok(std::fs::read_to_string(&path).map_err(|error| format!("{}: {error}", path.display()))?)
}

fn lines(text: &str) -> BTreeSet<String> {
    let lines = text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
    lines.map(str::to_owned).collect()
}

#[test]
fn links_follow_the_port_order() -> Outcome {
    let mut expected = BTreeSet::new();
    let mut link = |a: String, b: String| {
        let mut ends = [a, b];
        ends.sort();
        expected.insert(ends);
    };
    for spine in 1..=2 {
        for leaf in 1..=4 {
            link(format!("spine{spine}:eth{leaf}"), format!("leaf{leaf}:eth{spine}"));
        }
    }
    for (node, _, uplinks) in NODES {
        for ((leaf, port), own) in uplinks.iter().zip(1..) {
            link(format!("leaf{leaf}:eth{}", 3 + port), format!("{node}:eth{own}"));
        }
    }
    link("leaf1:eth10".to_owned(), "client1:eth1".to_owned());
    link("leaf4:eth10".to_owned(), "kafka1:eth1".to_owned());
    let topology = Topology::load(&fabric::topology_file(), None, &|_| None)?;
    let found: BTreeSet<[String; 2]> = topology
        .links
        .iter()
        .map(|link| {
            let mut ends = [&link.a, &link.b].map(|end| format!("{}:{}", end.node, end.interface));
            ends.sort();
            ends
        })
        .collect();
    assert_eq!(found, expected);
    assert_eq!(topology.links.len(), expected.len());
    assert_eq!(topology.nodes.len(), 17);
    Ok(())
}

#[test]
fn provisioning_is_the_plan_and_nothing_else() -> Outcome {
    for (node, number, uplinks) in NODES {
        let mut expected = BTreeSet::from([
            format!("addr add 10.122.0.{number}/32 dev lo"),
            format!("addr add fd00:122::{number}/128 dev lo"),
        ]);
        for ((leaf, port), own) in uplinks.iter().zip(1..) {
            let Uplink { leaf4, node4, leaf6, node6 } = uplink(*leaf, *port)?;
            expected.extend([
                format!("addr add {node4}/31 dev eth{own}"),
                format!("addr add {node6}/127 dev eth{own}"),
                format!("route append default via {leaf4} dev eth{own} metric 4096 proto static"),
                format!("route append default via {leaf6} dev eth{own} metric 4096 proto static"),
            ]);
        }
        assert_eq!(lines(&file(node, "network")?), expected, "{node}");
    }
    for (node, address4, gateway4, address6, gateway6) in [
        ("client1", "10.120.201.10/27", "10.120.201.30", "fd00:120:201:1::10/64", "fd00:120:201:1::1"),
        ("kafka1", "10.120.201.33/27", "10.120.201.62", "fd00:120:201:4::33/64", "fd00:120:201:4::1"),
    ] {
        let expected = [
            format!("addr add {address4} dev eth1"),
            format!("addr add {address6} dev eth1"),
            format!("route append default via {gateway4} dev eth1"),
            format!("route append default via {gateway6} dev eth1"),
        ];
        assert_eq!(lines(&file(node, "network")?), BTreeSet::from(expected), "{node}");
    }
    Ok(())
}

#[test]
fn agents_are_configured_by_the_plan() -> Outcome {
    for (node, number, uplinks) in NODES {
        let config: toml::Table = toml::from_str(&file(node, "petiole.toml")?)?;
        let role = node.trim_end_matches(char::is_numeric);
        let mut expected: toml::Table = toml::from_str(&format!(
            "[node]\nname = '{node}'\nroles = ['{role}']\nrouter_id = '10.122.0.{number}'\n\
             addresses = ['10.122.0.{number}/32', 'fd00:122::{number}/128']\n\
             [store]\netcd = {{ endpoints = ['http://10.122.0.1:2379', 'http://10.122.0.2:2379', \
             'http://10.122.0.3:2379'] }}\n[bgp]\nasn = {}\n",
            4_200_000_000_u32 + number
        ))?;
        let mut text = String::new();
        for (leaf, port) in uplinks {
            let peer = uplink(*leaf, *port)?.leaf4;
            text += &format!("[[bgp.peer]]\naddress = '{peer}'\nasn = {}\nhold_time = '9s'\n", 65000 + leaf);
        }
        let announce = |kind: &str, prefixes: [&str; 2], health: &str| {
            let one = |prefix: &str| {
                format!(
                    "[[announce]]\nkind = '{kind}'\nprefix = '{prefix}'\n\
                     health = {{ http = '{health}', interval = '1s', rise = 2, fall = 3 }}\n"
                )
            };
            prefixes.map(one).concat()
        };
        text += &match role {
            "worker" => "[ipam]\npools = [{ cidr = '10.123.128.0/17', block_size = 26 }, \
                         { cidr = 'fd00:123:8000::/112', block_size = 122 }]\n"
                .to_owned(),
            "master" => {
                let prefixes = ["10.122.255.1/32", "fd00:122:ffff::1/128"];
                announce("anycast", prefixes, "http://127.0.0.1:6443/readyz")
            }
            _ => announce("service-range", ["10.123.0.0/17", "fd00:123::/112"], "http://127.0.0.1:10256/healthz"),
        };
        let rest: toml::Table = toml::from_str(&text)?;
        for (key, value) in rest {
            match (expected.get_mut(&key), value) {
                (Some(toml::Value::Table(table)), toml::Value::Table(more)) => table.extend(more),
                (_, value) => drop(expected.insert(key, value)),
            }
        }
        assert_eq!(config, expected, "{node}");
    }
    Ok(())
}

/// Interface addresses and neighbours of an FRR configuration.
fn switch(text: &str) -> (BTreeMap<String, BTreeSet<String>>, BTreeSet<String>) {
    let (mut interfaces, mut neighbours) = (BTreeMap::<String, BTreeSet<String>>::new(), BTreeSet::new());
    let mut current = String::new();
    for line in text.lines() {
        if let Some(name) = line.strip_prefix("interface ") {
            current = name.to_owned();
        }
        if let Some(address) = line.strip_prefix(" ip address ").or_else(|| line.strip_prefix(" ipv6 address ")) {
            interfaces.entry(current.clone()).or_default().insert(address.to_owned());
        }
        if let Some(neighbour) = line.strip_prefix(" neighbor ").filter(|line| line.contains(" remote-as ")) {
            neighbours.insert(neighbour.to_owned());
        }
    }
    (interfaces, neighbours)
}

#[test]
fn switches_are_configured_by_the_plan() -> Outcome {
    let fabric = |spine: u32, leaf: u32| -> Result<[String; 4], Box<dyn Error>> {
        let six = |last: u32| format!("fd00:121:{spine}:{leaf}::{last}").parse::<Ipv6Addr>();
        Ok([
            format!("10.121.{spine}.{}", 2 * leaf),
            six(0)?.to_string(),
            format!("10.121.{spine}.{}", 2 * leaf + 1),
            six(1)?.to_string(),
        ])
    };
    let addresses = |four: &str, six: &str| BTreeSet::from([format!("{four}/31"), format!("{six}/127")]);
    for spine in 1..=2 {
        let text = file(&format!("spine{spine}"), "frr.conf")?;
        let (mut interfaces, mut neighbours) = (BTreeMap::new(), BTreeSet::new());
        for leaf in 1..=4 {
            let [own4, own6, far4, _] = fabric(spine, leaf)?;
            interfaces.insert(format!("eth{leaf}"), addresses(&own4, &own6));
            neighbours.insert(format!("{far4} remote-as {}", 65000 + leaf));
        }
        assert_eq!(switch(&text), (interfaces, neighbours), "spine{spine}");
        assert!(text.contains("router bgp 64600\n"));
    }
    for leaf in 1..=4 {
        let text = file(&format!("leaf{leaf}"), "frr.conf")?;
        let (mut interfaces, mut neighbours) = (BTreeMap::new(), BTreeSet::new());
        for spine in 1..=2 {
            let [far4, _, own4, own6] = fabric(spine, leaf)?;
            interfaces.insert(format!("eth{spine}"), addresses(&own4, &own6));
            neighbours.insert(format!("{far4} remote-as 64600"));
        }
        for (_, number, uplinks) in NODES {
            for (_, port) in uplinks.iter().filter(|(l, _)| *l == leaf) {
                let link = uplink(leaf, *port)?;
                interfaces.insert(format!("eth{}", 3 + port), addresses(&link.leaf4, &link.leaf6.to_string()));
                neighbours.insert(format!("{} remote-as {}", link.node4, 4_200_000_000_u32 + number));
            }
        }
        if let Some(gateway) = [(1, "10.120.201.30/27"), (4, "10.120.201.62/27")].iter().find(|(l, _)| *l == leaf) {
            let six = format!("fd00:120:201:{leaf}::1/64");
            interfaces.insert("eth10".to_owned(), BTreeSet::from([gateway.1.to_owned(), six]));
        }
        assert_eq!(switch(&text), (interfaces, neighbours), "leaf{leaf}");
        assert!(text.contains(&format!("router bgp {}\n", 65000 + leaf)));
    }
    Ok(())
}
