//! Asking the switches, the store and the nodes.

use std::collections::BTreeMap;
use std::net::IpAddr;

use anyhow::{Context, Result, anyhow};
use serde_json::Value;

use super::facts::{Path, Probe, Service, Switch};
use super::parallel::at_once;
use super::plan;
use crate::{Lab, NodeHandle, fabric};

/// Connections per family to the service: enough that both ingress nodes should see some.
const CONNECTIONS: usize = 12;

/// Asks a switch for its sessions and tables.
pub(crate) fn switch(node: &NodeHandle) -> Result<Switch> {
    let queries = ["show bgp summary json", "show bgp ipv4 unicast json", "show bgp ipv6 unicast json"];
    let mut argv = vec!["vtysh"];
    argv.extend(queries.iter().flat_map(|query| ["-c", query]));
    let text = node.exec(&argv)?;
    let mut answers = serde_json::Deserializer::from_str(&text).into_iter::<Value>();
    let mut next = || -> Result<Value> {
        answers
            .next()
            .ok_or_else(|| anyhow!("{}: vtysh answered less than it was asked", node.name()))?
            .context("vtysh")
    };
    let [summary, v4, v6] = [next()?, next()?, next()?];
    Ok(read_switch(&summary, [&v4, &v6]))
}

/// Reads FRR's own JSON: `show bgp summary`, and `show bgp FAMILY unicast` of both families.
pub(crate) fn read_switch(summary: &Value, tables: [&Value; 2]) -> Switch {
    let mut switch = Switch::default();
    let mut names: BTreeMap<&str, &str> = BTreeMap::new();
    for (family, key) in ["ipv4Unicast", "ipv6Unicast"].into_iter().enumerate() {
        for (address, peer) in summary[key]["peers"].as_object().into_iter().flatten() {
            let name = peer["desc"].as_str().unwrap_or(address);
            names.insert(address, name);
            let states = switch.sessions.entry(name.to_owned()).or_default();
            states[family] = peer["state"].as_str().unwrap_or("unknown").to_owned();
        }
    }
    for table in tables {
        for (prefix, paths) in table["routes"].as_object().into_iter().flatten() {
            let valid = paths.as_array().into_iter().flatten().filter(|path| path["valid"] == true);
            let path = |path: &Value| Path {
                origin: path["path"].as_str().and_then(|path| path.split_ascii_whitespace().last()?.parse().ok()),
                from: path["peerId"].as_str().and_then(|id| names.get(id).copied()).unwrap_or_default().to_owned(),
                used: path["bestpath"] == true || path["multipath"] == true,
            };
            switch.table.insert(prefix.clone(), valid.map(path).collect());
        }
    }
    switch
}

/// Asks all switches at once; one that does not answer is left out.
pub(crate) fn switches(lab: &Lab) -> BTreeMap<String, Switch> {
    let nodes = plan::SWITCHES.into_iter().filter_map(|name| lab.node(name).ok());
    at_once(nodes.collect(), |node| Some((node.name().to_owned(), switch(node).ok()?))).into_iter().flatten().collect()
}

/// Reads the affinities from the store: block to owner. Calico's keys: `/calico/ipam/v2/host/NODE/ipv4/block/CIDR`, the
/// slash of the CIDR written as a dash.
pub(crate) fn blocks(lab: &Lab) -> Result<BTreeMap<String, String>> {
    let keys = lab.node("master1")?.exec(&["etcdctl", "get", "--prefix", "/calico/ipam/v2/host/", "--keys-only"])?;
    Ok(keys.lines().filter_map(read_affinity).collect())
}

fn read_affinity(key: &str) -> Option<(String, String)> {
    let (owner, rest) = key.strip_prefix("/calico/ipam/v2/host/")?.split_once('/')?;
    let cidr = rest.rsplit('/').next()?.replace('-', "/");
    Some((cidr, owner.to_owned()))
}

/// How many next hops a switch's kernel has for each of these prefixes.
pub(crate) fn next_hops(switch: &NodeHandle, prefixes: &[&str]) -> BTreeMap<String, usize> {
    let count = |prefix: &str| fabric::gateways(switch, prefix).map_or(0, |gateways| gateways.len());
    prefixes.iter().map(|prefix| ((*prefix).to_owned(), count(prefix))).collect()
}

/// From each source to each pod that exists, both families.
pub(crate) fn probes(lab: &Lab, pods: &BTreeMap<String, Result<[IpAddr; 2], String>>) -> Vec<Probe> {
    let sources = std::iter::once(plan::CLIENT).chain(pods.keys().map(String::as_str));
    let mut wanted = Vec::new();
    for from in sources {
        for (to, addresses) in pods.iter().filter(|(to, _)| *to != from) {
            let Ok(addresses) = addresses else { continue };
            wanted.extend(addresses.iter().enumerate().map(|(family, address)| (from, to, family, *address)));
        }
    }
    at_once(wanted, |(from, to, family, address)| {
        let ping = probe(lab, from, *address, ping).map_err(|error| format!("{error:#}"));
        // A trace to what does not answer takes seconds and says nothing new.
        let hops = match &ping {
            Ok(_) => probe(lab, from, *address, trace).map_err(|error| format!("{error:#}")),
            Err(_) => Err("not traced, for it does not answer".to_owned()),
        };
        Probe { from: (*from).to_owned(), to: (*to).clone(), family: *family, ping, hops }
    })
}

type Run<'a> = &'a dyn Fn(&[&str]) -> Result<String>;

fn probe<T>(lab: &Lab, from: &str, to: IpAddr, ask: impl Fn(Run<'_>, IpAddr) -> Result<T>) -> Result<T> {
    let node = lab.node(from)?;
    let pod = format!("--net={}", super::pods::NAMESPACE);
    let run = |argv: &[&str]| -> Result<String> {
        let within: &[&str] = if from == plan::CLIENT { &[] } else { &["nsenter", &pod, "--"] };
        let output = node.output(&[within, argv].concat())?;
        // ping and traceroute say on standard output what went wrong.
        Ok(String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned())
    };
    ask(&run, to)
}

/// IPv4 and ICMP have 20 + 8 bytes of header, IPv6 and ICMPv6 40 + 8; with `-M do` nobody may fragment.
fn ping(run: Run<'_>, to: IpAddr) -> Result<f64> {
    let size = if to.is_ipv4() { "1472" } else { "1452" };
    let said = run(&["ping", "-n", "-q", "-M", "do", "-s", size, "-c", "3", "-i", "0.02", "-W", "1", &to.to_string()])?;
    read_ping(&said).ok_or_else(|| anyhow!("ping {to}: {}", complaint(&said)))
}

/// The mean of iputils' `rtt min/avg/max/mdev = a/b/c/d ms`, where every request was answered.
fn read_ping(said: &str) -> Option<f64> {
    let whole = said.contains(" 0% packet loss");
    let figures = said.lines().find_map(|line| line.strip_prefix("rtt ")?.split(" = ").nth(1))?;
    figures.split('/').nth(1)?.parse().ok().filter(|_| whole)
}

fn trace(run: Run<'_>, to: IpAddr) -> Result<u32> {
    let said = run(&["traceroute", "-n", "-I", "-q", "1", "-w", "1", "-m", "8", &to.to_string()])?;
    read_trace(&said, to).ok_or_else(|| anyhow!("traceroute {to}: {}", complaint(&said)))
}

/// The number of the line that names the destination.
fn read_trace(said: &str, to: IpAddr) -> Option<u32> {
    said.lines().skip(1).find_map(|line| {
        let mut words = line.split_ascii_whitespace();
        let (hop, address) = (words.next()?.parse().ok()?, words.next()?);
        (address.parse() == Ok(to)).then_some(hop)
    })
}

/// What is worth repeating of a program's output: its last line that says something.
fn complaint(said: &str) -> &str {
    said.lines().rev().map(str::trim).find(|line| !line.is_empty()).unwrap_or("no answer")
}

/// TCP connections from the client to the service, both families at once.
pub(crate) fn services(lab: &Lab) -> Result<Vec<Service>> {
    let client = lab.node(plan::CLIENT)?;
    Ok(at_once(plan::SERVICE.to_vec(), |address| service(&client, address)))
}

/// The ingress nodes' server says who it is as soon as it accepts.
fn service(client: &NodeHandle, address: &str) -> Service {
    let target = if address.contains(':') { format!("TCP6:[{address}]") } else { format!("TCP4:{address}") };
    let target = format!("{target}:80,connect-timeout=2");
    let mut service =
        Service { address: address.to_owned(), tried: 0, answered: BTreeMap::new(), complaint: String::new() };
    for _ in 0..CONNECTIONS {
        service.tried += 1;
        // It sends nothing and closes its half, which ends the server's; `-t` is how long the answer may then take.
        let output = client.output(&["socat", "-t", "2", "STDIO", &target]);
        let said =
            output.map(|output| [output.stdout, output.stderr].map(|b| String::from_utf8_lossy(&b).into_owned()));
        match said {
            Ok([greeting, complaint_text]) => match greeting.split_ascii_whitespace().next() {
                Some(name) => *service.answered.entry(name.to_owned()).or_default() += 1,
                None => service.complaint = complaint(&complaint_text).to_owned(),
            },
            Err(error) => service.complaint = format!("{error:#}"),
        }
        if service.answered.is_empty() {
            // Each further failure would cost seconds and show the same.
            break;
        }
    }
    service
}

#[cfg(test)]
mod tests;
