//! `[ipam] source = "node"`: the ranges that a real kube-apiserver gives a node are in the kernel and at a leaf, and pods' addresses
//! come from them.

use std::net::IpAddr;
use std::path::Path;
use std::process::Command;

use serde_json::{Value, json};

use crate::leaf::Leaf;
use crate::place::{LEAF, Place, wait};
use crate::server::Server;

const V4: &str = "10.123.130.0/24";
const V6: &str = "fd00:123:8000:7::/64";
/// How their addresses begin.
const BOTH: [(&str, &str); 2] = [("v4", "10.123.130."), ("v6", "fd00:123:8000:7:")];

fn config(kubeconfig: &Path) -> String {
    format!(
        "[node]\nname = \"worker1\"\nrouter_id = \"10.122.0.11\"\nroles = [\"worker\"]\n[ipam]\nsource = \"node\"\n\
         [kubernetes]\nkubeconfig = \"{}\"\n{LEAF}",
        kubeconfig.display()
    )
}

/// A Node object with these ranges.
fn node(ranges: &[&str]) -> Value {
    let spec = match ranges {
        [] => json!({}),
        [first, ..] => json!({ "podCIDR": first, "podCIDRs": ranges }),
    };
    json!({ "apiVersion": "v1", "kind": "Node", "metadata": { "name": "worker1" }, "spec": spec })
}

/// What the kernel sends into a blackhole.
fn blackholes(place: &Place) -> Vec<String> {
    let of = |family: &str| {
        let mut ip = Command::new("nsenter");
        ip.arg(format!("--net={}", place.net().display()));
        let output = ip.args(["ip", "-j", family, "route", "show", "type", "blackhole"]).output().unwrap();
        let routes: Value = serde_json::from_slice(&output.stdout).unwrap_or_default();
        let routes = routes.as_array().cloned().unwrap_or_default();
        routes.iter().map(|route| route["dst"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    [of("-4"), of("-6")].concat()
}

fn has(place: &Place, ranges: &[&str]) {
    wait("the kernel has the ranges", || {
        let is = blackholes(place);
        (is == ranges).then_some(()).ok_or_else(|| format!("{is:?}"))
    });
    wait("status says so", || {
        let status = place.status()?;
        let announced = status["announcements"].as_array().into_iter().flatten();
        let announced = announced.filter(|it| it["code"] == "own_range" && it["announced"] == true);
        let announced: Vec<&str> = announced.filter_map(|it| it["prefix"].as_str()).collect();
        let is = announced == ranges && status["problems"] == json!([]);
        is.then_some(()).ok_or_else(|| format!("{status:#}"))
    });
}

/// The leaf has these, and nothing else of the node's.
fn sees(leaf: &Leaf, ranges: &[&str]) {
    wait("the leaf has the ranges", || {
        let table = leaf.table()?;
        table.iter().eq(ranges.iter()).then_some(()).ok_or_else(|| format!("{table:?}"))
    });
}

/// One address of each family, which begins so.
fn assigns(place: &Place, handle: &str, beginnings: &[(&str, &str)]) {
    for (family, beginning) in beginnings {
        wait("an address is assigned", || {
            let (_, words) =
                place.ask(&["ipam", "assign", "--handle", &format!("{handle}-{family}"), "--family", family]);
            let mut found = words.split_whitespace().filter(|word| word.trim_matches('"').parse::<IpAddr>().is_ok());
            found.find(|address| address.starts_with(beginning)).map(drop).ok_or_else(|| words.clone())
        });
    }
}

#[test]
fn the_ranges_that_the_api_gives_a_node_are_its_blocks_also_while_the_api_is_away() {
    let name = "the_ranges_that_the_api_gives_a_node_are_its_blocks_also_while_the_api_is_away";
    let Some(mut server) = Server::start(name) else { return };
    server.create(&node(&[]));
    let place = Place::new(&server);
    let leaf = Leaf::start(&place);
    let file = server.kubeconfig("agent");
    let agent = place.start(&config(&file));
    place.says(
        "watching",
        &["the Node object worker1 names no range for pods (spec.podCIDRs)", "--allocate-node-cidrs=true"],
    );
    assert!(blackholes(&place).is_empty(), "{:?}", blackholes(&place));

    // As the controller manager does it.
    let patch = json!({ "spec": { "podCIDR": V4, "podCIDRs": [V4, V6] } }).to_string();
    server.kubectl(&["patch", "node", "worker1", "--patch", &patch]);
    has(&place, &[V4, V6]);
    sees(&leaf, &[V4, V6]);
    assigns(&place, "first", &BOTH);

    server.kill();
    drop(agent);
    let agent = place.start(&config(&file));
    place.is_away();
    assigns(&place, "second", &BOTH);
    assert_eq!(blackholes(&place), [V4, V6]);
    sees(&leaf, &[V4, V6]);

    // Another object of that name, with another range: what the first one named may be anybody's.
    const OTHER: &str = "10.123.140.0/24";
    server.run();
    server.kubectl(&["delete", "node", "worker1"]);
    server.create(&node(&[OTHER]));
    place.says("watching", &["the Node object worker1 does not name that range any more", "delete the pods"]);
    assigns(&place, "third", &[("v4", "10.123.140.")]);
    sees(&leaf, &[OTHER]);
    // What is withdrawn stays in the kernel until the last packets that were sent to it have come.
    wait("the old ranges are gone from the kernel", || {
        let is = blackholes(&place);
        (is == [OTHER]).then_some(()).ok_or_else(|| format!("{is:?}"))
    });
    drop(agent);
}
