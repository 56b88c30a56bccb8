//! Unnumbered peering against real switches: two leaves and a spine of FRR, no address on any link of the fabric but the
//! link-local ones, both families over every session.

use std::collections::BTreeSet;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, ensure};
use petiole_labtests::fabric::{self, FAMILIES, Family, Monitor, Pod};
use petiole_labtests::{Binaries, Lab, NodeHandle, Topology, check, eventually};
use rustix::process::Signal;
use serde_json::Value;

/// From nothing to every session and every route.
const JOIN: Duration = Duration::from_secs(30);
/// For what follows from that by itself.
const SOON: Duration = Duration::from_secs(10);
/// A leaf whose daemons were killed is back: FRR's start, its configuration, its first advertisement.
const LEAF_RESTART: Duration = Duration::from_secs(20);

/// Every link of the fabric, end by end; the client's is the estate's.
const FABRIC: [(&str, &[&str]); 5] = [
    ("spine1", &["eth1", "eth2"]),
    ("leaf1", &["eth1", "eth2", "eth3"]),
    ("leaf2", &["eth1", "eth2", "eth3"]),
    ("worker1", &["eth1", "eth2"]),
    ("worker2", &["eth1", "eth2"]),
];
const WORKERS: [&str; 2] = ["worker1", "worker2"];
/// What lies behind the spine.
const ESTATE: [&str; 2] = ["10.120.201.0/27", "fd00:120:201:1::/64"];
const CLIENT: [&str; 2] = ["10.120.201.10", "fd00:120:201:1::10"];

#[test]
fn both_families_over_link_local_sessions() -> Result<()> {
    if !rustix::process::geteuid().is_root() {
        println!("not checked: both_families_over_link_local_sessions: needs root");
        return Ok(());
    }
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../containerlab/unnumbered.clab.yml");
    let binaries = Binaries::find()?;
    ensure!(binaries.agent.is_some(), "no agent: cargo build -p petiole, or set PETIOLE_BIN");
    let name = fabric::unique_name("unnumbered");
    let topology = Topology::load(&file, Some(&name), &|name| std::env::var(name).ok())?;
    let start = Instant::now();
    let lab = Lab::up(&topology, &binaries)?;
    for leaf in ["leaf1", "leaf2"] {
        fabric::wait_established(&lab.node(leaf)?, &["spine1", "worker1", "worker2"], JOIN)?;
    }
    println!("figure: every session is established {:.2?} after the lab's beginning", start.elapsed());
    let (worker1, leaf1) = (lab.node("worker1")?, lab.node("leaf1")?);

    no_link_has_an_ipv4_address(&lab)?;
    the_sessions_are_link_local_as_the_leaf_sees_them(&leaf1)?;
    the_leaf_has_what_the_nodes_own(&lab)?;
    eventually(SOON, "worker1 has both leaves for the estate", || ecmp(&worker1, &["eth1", "eth2"]))?;
    packets_pass(&lab)?;

    an_agent_that_was_killed_finds_its_routes_again(&worker1, &leaf1)?;
    a_link_flap_is_over_at_once(&worker1, &leaf1)?;
    a_leaf_with_another_address_is_found_again(&worker1, &leaf1, true)?;
    a_leaf_with_another_address_is_found_again(&worker1, &leaf1, false)?;
    packets_pass_between_nodes(&lab)?;
    no_link_has_an_ipv4_address(&lab)?;
    lab.down()
}

fn addresses(node: &NodeHandle, family: Family, interface: &str) -> Result<BTreeSet<String>> {
    let shown = node.ip_json(&[family.ip(), "address", "show", "dev", interface])?;
    let all =
        shown.as_array().into_iter().flatten().flat_map(|link| link["addr_info"].as_array().into_iter().flatten());
    Ok(all.filter_map(|address| address["local"].as_str()).map(str::to_owned).collect())
}

fn link_local(node: &NodeHandle, interface: &str) -> Result<String> {
    let mut all = addresses(node, Family::V6, interface)?;
    ensure!(all.len() == 1 && all.iter().all(|a| a.starts_with("fe80::")), "{}: {all:?}", node.name());
    all.pop_first().context("an address")
}

fn no_link_has_an_ipv4_address(lab: &Lab) -> Result<()> {
    for (name, interfaces) in FABRIC {
        let node = lab.node(name)?;
        for interface in interfaces {
            let v4 = addresses(&node, Family::V4, interface)?;
            ensure!(v4.is_empty(), "{name} {interface} has {v4:?}");
            link_local(&node, interface)?;
        }
    }
    Ok(())
}

fn the_sessions_are_link_local_as_the_leaf_sees_them(leaf: &NodeHandle) -> Result<()> {
    let neighbours = leaf.vtysh_json("show bgp neighbors json")?;
    for interface in ["eth2", "eth3"] {
        let neighbour = &neighbours[interface];
        for end in ["hostLocal", "hostForeign"] {
            let address = neighbour[end].as_str().unwrap_or_default();
            ensure!(address.starts_with("fe80::"), "{interface}: {end} is {address:?}");
        }
        let capability = &neighbour["neighborCapabilities"]["extendedNexthop"];
        ensure!(capability == "advertisedAndReceived", "{interface}: extended next hop {capability}");
    }
    Ok(())
}

/// Each worker's own addresses and blocks, from its origin AS, over its own link.
fn the_leaf_has_what_the_nodes_own(lab: &Lab) -> Result<()> {
    let leaf = lab.node("leaf1")?;
    for number in [1, 2] {
        let worker = lab.node(&format!("worker{number}"))?;
        let end = link_local(&worker, "eth1")?;
        let status = eventually(SOON, "a block of each family", || {
            let status = worker.petiole_json(&["status"])?;
            ensure!(status["blocks"].as_array().map(Vec::len) == Some(2), "{status}");
            anyhow::Ok(status)
        })?;
        let blocks = status["blocks"].as_array().into_iter().flatten().filter_map(Value::as_str).map(str::to_owned);
        let own = [format!("10.122.0.1{number}/32"), format!("fd00:122::1{number}/128")];
        for prefix in blocks.chain(own) {
            let what = format!("leaf1 has {prefix} of worker{number}");
            eventually(SOON, &what, || {
                let paths = fabric::paths(&leaf, &prefix)?;
                let direct = paths
                    .iter()
                    .any(|p| p.used && p.as_path == [4_200_000_010 + number] && p.peer == end && p.next_hop == end);
                ensure!(direct, "{paths:?}");
                anyhow::Ok(())
            })?;
        }
    }
    Ok(())
}

/// The node's way to the estate goes over exactly these links, by the link-local address of the leaf, from the node's own
/// address.
fn ecmp(node: &NodeHandle, interfaces: &[&str]) -> Result<()> {
    for (family, prefix) in FAMILIES.into_iter().zip(ESTATE) {
        let shown = node.ip_json(&[family.ip(), "route", "show", prefix])?;
        let route = shown.as_array().and_then(|all| all.first()).ok_or_else(|| anyhow!("no route to {prefix}"))?;
        let source = family.pick("10.122.0.11", "fd00:122::11");
        ensure!(route["prefsrc"] == source, "{prefix} from {}", route["prefsrc"]);
        let one = std::slice::from_ref(route);
        let hops = route["nexthops"].as_array().map_or(one, Vec::as_slice);
        let over: BTreeSet<&str> = hops.iter().filter_map(|hop| hop["dev"].as_str()).collect();
        ensure!(over == interfaces.iter().copied().collect(), "{prefix} over {over:?}");
        for hop in hops {
            let gateway = match family {
                Family::V4 => {
                    ensure!(hop["via"]["family"] == "inet6" && hop["gateway"].is_null(), "{prefix}: {hop}");
                    &hop["via"]["host"]
                }
                Family::V6 => &hop["gateway"],
            };
            ensure!(gateway.as_str().is_some_and(|g| g.starts_with("fe80::")), "{prefix}: {hop}");
        }
    }
    Ok(())
}

/// The interface that the node reaches leaf1 by now, and the address it sends to.
fn gateway_on(node: &NodeHandle, interface: &str) -> Result<String> {
    let shown = node.ip_json(&["-4", "route", "show", ESTATE[0]])?;
    let route = shown.as_array().and_then(|all| all.first()).ok_or_else(|| anyhow!("no route"))?;
    let hops = route["nexthops"].as_array().ok_or_else(|| anyhow!("one way only: {route}"))?;
    let hop = hops.iter().find(|hop| hop["dev"] == interface).ok_or_else(|| anyhow!("not by {interface}: {route}"))?;
    hop["via"]["host"].as_str().map(str::to_owned).ok_or_else(|| anyhow!("{hop}"))
}

/// From the node's own address and from a pod to the client, between pods, and back, at full size.
fn packets_pass(lab: &Lab) -> Result<()> {
    packets_pass_between_nodes(lab)?;
    let [one, two] = WORKERS.map(|worker| Pod::wire(&lab.node(worker)?, &format!("p-{worker}")));
    let (one, two) = (one?, two?);
    let client = lab.node("client1")?;
    for (family, address) in FAMILIES.into_iter().zip(CLIENT) {
        one.ping(address, 1500, 5)?;
        one.ping(two.address(family), 1500, 5)?;
        client.ping(two.address(family), 1500, 5)?;
    }
    Ok(())
}

fn packets_pass_between_nodes(lab: &Lab) -> Result<()> {
    let worker1 = lab.node("worker1")?;
    for address in CLIENT.into_iter().chain(["10.122.0.12", "fd00:122::12"]) {
        eventually(SOON, &format!("worker1 reaches {address}"), || worker1.ping(address, 1500, 5))?;
    }
    Ok(())
}

fn state_on_leaf(leaf: &NodeHandle, interface: &str) -> Result<(String, String)> {
    let summary = leaf.vtysh_json("show bgp summary json")?;
    let state = |family: &str| summary[family]["peers"][interface]["state"].as_str().unwrap_or("absent").to_owned();
    Ok((state("ipv4Unicast"), state("ipv6Unicast")))
}

fn wait_up(leaf: &NodeHandle, within: Duration) -> Result<()> {
    eventually(within, "the leaf's session with worker1", || {
        let state = state_on_leaf(leaf, "eth2")?;
        ensure!(state == ("Established".to_owned(), "Established".to_owned()), "{state:?}");
        anyhow::Ok(())
    })
}

fn an_agent_that_was_killed_finds_its_routes_again(worker: &NodeHandle, leaf: &NodeHandle) -> Result<()> {
    let routes = |family: Family| worker.ip_json(&[family.ip(), "route", "show", "proto", "179"]);
    let before = (routes(Family::V4)?, routes(Family::V6)?);
    let monitor = Monitor::start(worker)?;
    worker.stop("agent", Signal::KILL)?;
    eventually(SOON, "the leaf sees that the session ended", || {
        let state = state_on_leaf(leaf, "eth2")?;
        ensure!(state.0 != "Established", "{state:?}");
        anyhow::Ok(())
    })?;
    let start = Instant::now();
    worker.start("agent")?;
    wait_up(leaf, SOON)?;
    println!("figure: a killed agent has its session back {:.2?} after its start", start.elapsed());
    eventually(SOON, "the agent says that its leaves are in sync", || {
        let peers = worker.petiole_json(&["bgp", "peers"])?;
        let told = |peer: &Value| peer["end_of_rib_received"].as_array().map_or(0, Vec::len);
        let all = peers.as_array().is_some_and(|peers| peers.iter().all(|peer| told(peer) == 2));
        check(all, &peers).map_err(anyhow::Error::msg)
    })?;
    eventually(SOON, "the kernel is as it was", || {
        let now = (routes(Family::V4)?, routes(Family::V6)?);
        check(now == before, format!("{now:?}, not {before:?}")).map_err(anyhow::Error::msg)
    })?;
    let touched: Vec<String> = monitor.deletions()?.into_iter().filter(|what| what.contains("proto 179")).collect();
    ensure!(touched.is_empty(), "adopted routes were deleted: {touched:?}");
    Ok(())
}

fn a_link_flap_is_over_at_once(worker: &NodeHandle, leaf: &NodeHandle) -> Result<()> {
    leaf.link_down("eth2")?;
    eventually(SOON, "worker1 uses the other leaf only", || ecmp(worker, &["eth2"]))?;
    let peers = worker.petiole_json(&["bgp", "peers"])?;
    let eth1 = peers.as_array().into_iter().flatten().find(|peer| peer["peer"] == "eth1").cloned();
    ensure!(eth1.as_ref().is_some_and(|peer| peer["last_error"] == "the uplink went down"), "{eth1:?}");
    eventually(SOON, "the other leaf is enough", || worker.ping(CLIENT[0], 1500, 5))?;
    let start = Instant::now();
    leaf.link_up("eth2")?;
    eventually(SOON, "both leaves again", || ecmp(worker, &["eth1", "eth2"]))?;
    println!("figure: both leaves are used again {:.2?} after the link came up", start.elapsed());
    Ok(())
}

/// The leaf's daemons are killed, its end of the link gets another address, and they start again: with another hardware address,
/// for which the link goes down, and without the link's noticing.
fn a_leaf_with_another_address_is_found_again(worker: &NodeHandle, leaf: &NodeHandle, hardware: bool) -> Result<()> {
    let old = link_local(leaf, "eth2")?;
    ensure!(gateway_on(worker, "eth1")? == old, "{old} is not the gateway");
    for daemon in ["bgpd", "zebra"] {
        leaf.stop(daemon, Signal::KILL)?;
    }
    let new = if hardware {
        leaf.sh("ip link set eth2 down; ip link set eth2 address 02:00:5e:00:53:01; ip link set eth2 up")?;
        "fe80::5eff:fe00:5301"
    } else {
        leaf.sh(&format!("ip -6 addr add fe80::5302/64 dev eth2 nodad; ip -6 addr del {old}/64 dev eth2"))?;
        "fe80::5302"
    };
    let start = Instant::now();
    for daemon in ["zebra", "bgpd"] {
        leaf.start(daemon)?;
    }
    eventually(LEAF_RESTART, "the leaf's new address is the gateway", || {
        let gateway = gateway_on(worker, "eth1")?;
        check(gateway == new, format!("{gateway}, not {new}")).map_err(anyhow::Error::msg)
    })?;
    println!("figure: the leaf is used at its new address {:.2?} after its daemons' start", start.elapsed());
    wait_up(leaf, SOON)?;
    ensure!(link_local(leaf, "eth2")? == new, "the leaf has another address");
    Ok(())
}
