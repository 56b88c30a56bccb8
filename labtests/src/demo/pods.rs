//! One pod per worker, wired by hand where the plugin will do it: a network namespace, a veth pair, an address of the
//! worker's block, and a link-local gateway.

use std::net::IpAddr;

use anyhow::{Context, Result, anyhow, bail};

use super::plan;
use crate::{Lab, NodeHandle};

/// The pod's namespace, as its worker sees it. It is mounted in the worker's private `/run`, so it goes with the worker.
pub(crate) const NAMESPACE: &str = "/run/netns/pod";
/// Under which the address is assigned.
pub(crate) const HANDLE: &str = "demo";

/// $1 and $2 are the addresses. The worker answers at the gateway's addresses on its end of the pair; they are the same
/// on every worker and never leave the link.
const WIRE: &str = "set -e
ip netns add pod
ip link add veth-pod mtu 1500 type veth peer name eth0 mtu 1500 netns pod
ip address add 169.254.1.1/32 dev veth-pod scope link
ip -6 address add fe80::1/64 dev veth-pod nodad
ip link set veth-pod up
ip route add $1/32 dev veth-pod
ip -6 route add $2/128 dev veth-pod
ip -n pod link set lo up
ip -n pod link set eth0 up
ip -n pod address add $1/32 dev eth0
ip -n pod -6 address add $2/128 dev eth0 nodad
ip -n pod route add 169.254.1.1 dev eth0 scope link
ip -n pod route add default via 169.254.1.1 dev eth0
ip -n pod -6 route add default via fe80::1 dev eth0
";

/// Wires the pod of every worker at once.
pub(crate) fn wire(lab: &Lab) -> std::collections::BTreeMap<String, Result<[IpAddr; 2], String>> {
    let one = |name: &&str| {
        let wired = lab.node(name).and_then(|worker| wire_one(&worker));
        ((*name).to_owned(), wired.map_err(|error| format!("{error:#}")))
    };
    super::parallel::at_once(plan::WORKERS.to_vec(), one).into_iter().collect()
}

fn wire_one(worker: &NodeHandle) -> Result<[IpAddr; 2]> {
    let answer = worker.petiole_json(&["ipam", "assign", "--handle", HANDLE])?;
    let addresses = answer["addresses"].as_array().into_iter().flatten();
    let texts = addresses.filter_map(|address| address.as_str()?.split('/').next());
    let addresses: Vec<IpAddr> = texts.map(|text| text.parse().context("assigned address")).collect::<Result<_>>()?;
    let find = |v4: bool| addresses.iter().copied().find(|address| address.is_ipv4() == v4);
    let (Some(v4), Some(v6)) = (find(true), find(false)) else {
        bail!("{}: no address of each family: {answer}", worker.name());
    };
    worker
        .exec(&["sh", "-c", WIRE, "sh", &v4.to_string(), &v6.to_string()])
        .map_err(|error| anyhow!("cannot wire the pod: {error:#}"))?;
    Ok([v4, v6])
}
