//! Pods that Debian's `ptp` and `bridge` wire, with addresses of ours.

use std::path::Path;

use anyhow::{Context, Result, ensure};
use petiole_labtests::plugin::addresses;
use petiole_labtests::{Lab, NodeHandle, eventually};
use serde_json::{Value, json};

use super::WITHIN;

/// The bridge that `bridge` makes.
const BRIDGE: &str = "cni0";

/// As its users write it.
fn bridged() -> Value {
    json!({ "type": "bridge", "bridge": BRIDGE, "isGateway": true, "ipMasq": false })
}

/// Runs another plugin on the node as a runtime does; nothing printed is `null`.
fn run(node: &NodeHandle, plugin: &Value, command: &str, pod: &str, prev: Option<&Value>) -> Result<Value> {
    let mut conf = json!({ "cniVersion": "1.0.0", "name": "delegated", "ipam": { "type": "petiole" } });
    let map = conf.as_object_mut().context("no object")?;
    map.extend(plugin.as_object().cloned().unwrap_or_default());
    map.extend(prev.map(|prev| ("prevResult".to_owned(), prev.clone())));
    let kind = plugin["type"].as_str().context("no type")?;
    // What it says on failure is on standard output.
    let script = format!(
        "printf %s '{conf}' | CNI_COMMAND={command} CNI_CONTAINERID={pod} CNI_IFNAME=eth0 CNI_NETNS=/run/netns/{pod} \
         CNI_PATH=/run/delegated:/usr/lib/cni /usr/lib/cni/{kind} || true"
    );
    let printed = node.sh(&script)?;
    let result = if printed.trim().is_empty() { Value::Null } else { serde_json::from_str(&printed)? };
    ensure!(result["code"].is_null(), "{result}");
    Ok(result)
}

fn ping(node: &NodeHandle, pod: &str, address: &str) -> Result<()> {
    let size = if address.contains(':') { "1452" } else { "1472" };
    node.exec(&["ip", "netns", "exec", pod, "ping", "-c", "1", "-W", "2", "-M", "do", "-s", size, address]).map(drop)
}

/// Pods on two racks, which reach each other, a pod that we wired, and a client; nothing of them is left after DEL.
pub(crate) fn reach_all(lab: &Lab, plugin: &Path, wired: &[String]) -> Result<()> {
    for worker in ["worker1", "worker4"] {
        let node = lab.node(worker)?;
        node.exec(&["mkdir", "-p", "/run/delegated"])?;
        let inside = format!("/proc/{}/root/run/delegated/petiole", node.pid().context("the node does not run")?);
        std::fs::copy(plugin, inside)?;
    }
    reach_all_by(lab, &json!({ "type": "ptp" }), &[("worker1", "d1"), ("worker4", "d4")], wired)?;
    let node = lab.node("worker1")?;
    node.exec(&["ip", "netns", "add", "b0"])?;
    let refused = run(&node, &json!({ "type": "bridge", "bridge": BRIDGE }), "ADD", "b0", None);
    let said = refused.err().context("a bridge that is no gateway was served")?.to_string();
    ensure!(said.contains("\"code\":7") && said.contains("write \\\"isGateway\\\": true"), "{said}");
    reach_all_by(lab, &bridged(), &[("worker1", "b1"), ("worker1", "b2"), ("worker4", "b4")], wired)
}

fn reach_all_by(lab: &Lab, by: &Value, wanted: &[(&str, &str)], wired: &[String]) -> Result<()> {
    let mut pods = Vec::new();
    for (worker, name) in wanted {
        let node = lab.node(worker)?;
        node.exec(&["ip", "netns", "add", name])?;
        let own = node.sh("ip -o -4 addr show dev lo scope global")?;
        let result = run(&node, by, "ADD", name, None)?;
        run(&node, by, "CHECK", name, Some(&result))?;
        pods.push((node, name, own, result));
    }
    let client = lab.node("client1")?;
    for (node, name, _, result) in &pods {
        let own = addresses(result)?;
        ensure!(own.len() == 2, "{result}");
        let gateways = result["ips"].as_array().into_iter().flatten().filter_map(|ip| ip["gateway"].as_str());
        let gateways: Vec<String> = gateways.filter(|g| !g.starts_with("fe80:")).map(str::to_owned).collect();
        let others = pods.iter().filter(|(_, other, ..)| other != name);
        let others = others.map(|(.., result)| addresses(result)).collect::<Result<Vec<_>>>()?.concat();
        let clients = ["10.120.201.10", "fd00:120:201:1::10"].map(str::to_owned);
        for address in others.iter().chain(wired).chain(&clients).chain(&gateways) {
            // Neither of them waits until its IPv6 addresses are no longer tentative.
            eventually(WITHIN, "an answer", || ping(node, name, address))
                .with_context(|| format!("{name}: {result}"))?;
        }
        for address in &own {
            client.exec(&["ping", "-c", "1", "-W", "2", address])?;
        }
    }
    for (node, name, own, result) in &pods {
        run(node, by, "DEL", name, None)?;
        run(node, by, "DEL", name, None)?;
        let now = node.sh("ip -o -4 addr show dev lo scope global")?;
        ensure!(now == *own, "the node's own address: {own} before, {now} now");
        let held = node.petiole_json(&["ipam", "show"])?.to_string();
        for address in addresses(result)? {
            ensure!(!held.contains(&format!("\"{address}\"")), "{address} is still held: {held}");
            let routes = node.sh("ip -4 route; ip -6 route")?;
            ensure!(!routes.contains(&format!("{address} ")), "a route to {address} is left: {routes}");
        }
        eventually(WITHIN, "`ipam check` is clean", || {
            let said = node.petiole_json(&["ipam", "check"])?;
            ensure!(said["clean"] == true, "{said}");
            Ok::<_, anyhow::Error>(())
        })?;
    }
    Ok(())
}
