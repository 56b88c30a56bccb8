//! Pods that Debian's `ptp` wires, with addresses of ours.

use std::path::Path;

use anyhow::{Context, Result, ensure};
use petiole_labtests::{Lab, NodeHandle, eventually};
use serde_json::{Value, json};

use super::{WITHIN, addresses};

/// Runs `ptp` on the node as a runtime does; nothing printed is `null`.
fn ptp(node: &NodeHandle, command: &str, pod: &str, prev: Option<&Value>) -> Result<Value> {
    let mut conf = json!({ "cniVersion": "1.0.0", "name": "routed", "type": "ptp", "ipam": { "type": "petiole" } });
    if let (Some(prev), Some(map)) = (prev, conf.as_object_mut()) {
        map.insert("prevResult".to_owned(), prev.clone());
    }
    let script = format!(
        "printf %s '{conf}' | CNI_COMMAND={command} CNI_CONTAINERID={pod} CNI_IFNAME=eth0 CNI_NETNS=/run/netns/{pod} \
         CNI_PATH=/run/delegated:/usr/lib/cni /usr/lib/cni/ptp"
    );
    let printed = node.sh(&script)?;
    Ok(if printed.trim().is_empty() { Value::Null } else { serde_json::from_str(&printed)? })
}

fn ping(node: &NodeHandle, pod: &str, address: &str) -> Result<()> {
    let size = if address.contains(':') { "1452" } else { "1472" };
    node.exec(&["ip", "netns", "exec", pod, "ping", "-c", "1", "-W", "2", "-M", "do", "-s", size, address]).map(drop)
}

/// A pod on each of two racks, which reach each other, a pod that we wired, and a client; nothing of them is left after DEL.
pub(crate) fn reach_all(lab: &Lab, plugin: &Path, wired: &[String]) -> Result<()> {
    let mut pods = Vec::new();
    for (worker, name) in [("worker1", "d1"), ("worker4", "d4")] {
        let node = lab.node(worker)?;
        node.exec(&["mkdir", "-p", "/run/delegated"])?;
        let inside = format!("/proc/{}/root/run/delegated/petiole", node.pid().context("the node does not run")?);
        std::fs::copy(plugin, inside)?;
        node.exec(&["ip", "netns", "add", name])?;
        let own = node.sh("ip -o -4 addr show dev lo scope global")?;
        let result = ptp(&node, "ADD", name, None)?;
        ptp(&node, "CHECK", name, Some(&result))?;
        pods.push((node, name, own, result));
    }
    for (node, name, _, result) in &pods {
        ensure!(addresses(result)?.len() == 2, "{result}");
        let others = pods.iter().filter(|(_, other, ..)| other != name);
        let others = others.map(|(.., result)| addresses(result)).collect::<Result<Vec<_>>>()?.concat();
        let clients = ["10.120.201.10", "fd00:120:201:1::10"].map(str::to_owned);
        for address in others.iter().chain(wired).chain(&clients) {
            // `ptp` does not wait until its IPv6 addresses are no longer tentative.
            eventually(WITHIN, "an answer", || ping(node, name, address))
                .with_context(|| format!("{name}: {result}"))?;
        }
    }
    for (node, name, own, result) in &pods {
        ptp(node, "DEL", name, None)?;
        ptp(node, "DEL", name, None)?;
        let now = node.sh("ip -o -4 addr show dev lo scope global")?;
        ensure!(now == *own, "the node's own address: {own} before, {now} now");
        let held = node.petiole_json(&["ipam", "show"])?.to_string();
        for address in addresses(result)? {
            ensure!(!held.contains(&format!("\"{address}\"")), "{address} is still held: {held}");
        }
        eventually(WITHIN, "`ipam check` is clean", || {
            let said = node.petiole_json(&["ipam", "check"])?;
            ensure!(said["clean"] == true, "{said}");
            Ok::<_, anyhow::Error>(())
        })?;
    }
    Ok(())
}
