//! The reference fabric for tests: the lab of `containerlab/clos.clab.yml` under a name of its own, and the questions a
//! test asks its switches.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use anyhow::{Context, Result, anyhow};
use serde_json::Value;

use crate::wait::{check, eventually};
use crate::{Binaries, Lab, NodeHandle, Topology};

/// Both spines.
pub const SPINES: [&str; 2] = ["spine1", "spine2"];
/// The four leaves, rack by rack.
pub const LEAVES: [&str; 4] = ["leaf1", "leaf2", "leaf3", "leaf4"];
/// The nodes with an agent: masters, ingress, workers.
pub const AGENTS: [&str; 9] =
    ["master1", "master2", "master3", "ingress1", "ingress2", "worker1", "worker2", "worker3", "worker4"];

/// A path of a switch's BGP table.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct BgpPath {
    /// AS path, nearest first.
    pub as_path: Vec<u32>,
    /// The peer it came from; empty for the switch's own.
    pub peer: String,
    /// Whether it is the best path or shares the load with it.
    pub used: bool,
}

/// The workspace's `containerlab/clos.clab.yml`.
pub fn topology_file() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../containerlab/clos.clab.yml")
}

/// A lab name that no other test uses at the same time.
pub fn unique_name(stem: &str) -> String {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    format!("{stem}-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed))
}

/// The fabric, up, with the agents started; it goes with the value. Fails where there is no agent binary.
pub fn clos(stem: &str) -> Result<Lab> {
    let binaries = Binaries::find()?;
    if binaries.agent.is_none() {
        return Err(anyhow!("no agent: cargo build -p petiole, or set PETIOLE_BIN"));
    }
    clos_with(stem, &binaries)
}

/// The fabric with these binaries.
pub fn clos_with(stem: &str, binaries: &Binaries) -> Result<Lab> {
    let topology = Topology::load(&topology_file(), Some(&unique_name(stem)), &|name| std::env::var(name).ok())?;
    Lab::up(&topology, binaries)
}

/// Waits until every session between spines and leaves is established, both families.
pub fn wait_switches(lab: &Lab, within: Duration) -> Result<()> {
    for spine in SPINES {
        wait_established(&lab.node(spine)?, &LEAVES, within)?;
    }
    Ok(())
}

/// Waits until every session between the leaves and these nodes is established, both families.
pub fn wait_agents(lab: &Lab, agents: &[&str], within: Duration) -> Result<()> {
    for leaf in LEAVES {
        let leaf = lab.node(leaf)?;
        let ends = leaf.record().links.iter().filter_map(|(_, far)| far.split(':').next());
        let mine: Vec<&str> = ends.filter(|far| agents.contains(far)).collect();
        wait_established(&leaf, &mine, within)?;
    }
    Ok(())
}

/// Waits until the switch's sessions to these neighbours, named by description, are established, both families.
pub fn wait_established(switch: &NodeHandle, neighbours: &[&str], within: Duration) -> Result<()> {
    let what = format!("{}: established with {neighbours:?}", switch.name());
    eventually(within, &what, || {
        let summary = switch.vtysh_json("show bgp summary json").map_err(|error| format!("{error:#}"))?;
        for family in ["ipv4Unicast", "ipv6Unicast"] {
            for neighbour in neighbours {
                let state = peer_state(&summary[family]["peers"], neighbour);
                check(state == "Established", format!("{family} {neighbour} {state}"))?;
            }
        }
        Ok::<(), String>(())
    })
}

fn peer_state(peers: &Value, description: &str) -> String {
    let mut peers = peers.as_object().into_iter().flat_map(|peers| peers.values());
    let peer = peers.find(|peer| peer["desc"] == description);
    peer.and_then(|peer| peer["state"].as_str()).unwrap_or("absent").to_owned()
}

/// The paths a switch's BGP table has for exactly this prefix, sorted; none where it has none.
pub fn paths(switch: &NodeHandle, prefix: &str) -> Result<Vec<BgpPath>> {
    let family = if prefix.contains(':') { "ipv6" } else { "ipv4" };
    let entry = switch.vtysh_json(&format!("show bgp {family} unicast {prefix} json"))?;
    // A longer query than a prefix answers with the covering entry.
    if entry["prefix"] != prefix {
        return Ok(Vec::new());
    }
    let mut paths = Vec::new();
    for path in entry["paths"].as_array().into_iter().flatten().filter(|path| path["valid"] == true) {
        let text = path["aspath"]["string"].as_str().unwrap_or_default();
        let as_path = match text {
            "Local" => Vec::new(),
            text => text.split_ascii_whitespace().map(str::parse).collect::<Result<_, _>>().context("AS path")?,
        };
        paths.push(BgpPath {
            as_path,
            peer: path["peer"]["peerId"].as_str().unwrap_or_default().to_owned(),
            used: path["bestpath"]["overall"] == true || path["multipath"] == true,
        });
    }
    paths.sort();
    Ok(paths)
}

/// The origin ASes of the used paths, sorted: who a switch sends packets for this prefix to.
pub fn origins(switch: &NodeHandle, prefix: &str) -> Result<Vec<u32>> {
    let used = paths(switch, prefix)?.into_iter().filter(|path| path.used);
    let mut origins: Vec<u32> = used.filter_map(|path| path.as_path.last().copied()).collect();
    origins.sort_unstable();
    Ok(origins)
}

/// All prefixes of a family in a switch's BGP table, sorted as text.
pub fn prefixes(switch: &NodeHandle, family: &str) -> Result<Vec<String>> {
    let table = switch.vtysh_json(&format!("show bgp {family} unicast json"))?;
    let mut prefixes: Vec<String> = table["routes"].as_object().into_iter().flat_map(|r| r.keys().cloned()).collect();
    prefixes.sort();
    Ok(prefixes)
}

/// The gateways a node's kernel has for exactly this prefix in its main table, sorted; none where it has no such route.
pub fn gateways(node: &NodeHandle, prefix: &str) -> Result<Vec<String>> {
    let family = if prefix.contains(':') { "-6" } else { "-4" };
    let routes = node.ip_json(&[family, "route", "show", "exact", prefix])?;
    let mut gateways: Vec<String> = Vec::new();
    for route in routes.as_array().into_iter().flatten() {
        let hops = route["nexthops"].as_array().map_or_else(|| vec![route], |hops| hops.iter().collect());
        let of = |hop: &Value| hop["gateway"].as_str().or_else(|| hop["via"]["host"].as_str()).map(str::to_owned);
        gateways.extend(hops.into_iter().filter_map(of));
    }
    gateways.sort();
    Ok(gateways)
}
