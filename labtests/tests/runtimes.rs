//! Containers of Debian's own runtimes, on two nodes of the fabric that share no rack and no leaf's subnet.

use std::net::{Ipv4Addr, Ipv6Addr};
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use petiole_labtests::runtimes::{self, Container, ECHO_PORT, Host, Runtime, image};
use petiole_labtests::{Lab, NodeHandle, Signal, eventually, fabric};
use serde_json::Value;
use tempfile::TempDir;

const SETTLE: Duration = Duration::from_secs(60);
const WITHIN: Duration = Duration::from_secs(20);
const CLIENT: [&str; 2] = ["10.120.201.10", "fd00:120:201:1::10"];

/// Whether the store holds an address as assigned, by its block's own value.
fn assigned(lab: &Lab, address: &str) -> Result<bool> {
    let (prefix, length): (u128, u32) = match address.parse::<Ipv4Addr>() {
        Ok(v4) => (u32::from(v4).into(), 26),
        Err(_) => (address.parse::<Ipv6Addr>()?.into(), 122),
    };
    // Blocks of both families have 64 addresses.
    let (base, ordinal) = (prefix & !63, usize::try_from(prefix & 63)?);
    let cidr = match u32::try_from(base) {
        Ok(v4) => format!("{}/{length}", Ipv4Addr::from(v4)),
        Err(_) => format!("{}/{length}", Ipv6Addr::from(base)),
    };
    let get = ["etcdctl", "get", "--prefix", "/calico/ipam/v2/assignment/", "--print-value-only"];
    for value in lab.node("master1")?.exec(&get)?.lines().filter(|line| !line.trim().is_empty()) {
        let block: Value = serde_json::from_str(value)?;
        if block["cidr"] == cidr.as_str() {
            let slot = block["allocations"].get(ordinal).with_context(|| format!("{cidr} has no slot {ordinal}"))?;
            return Ok(!slot.is_null());
        }
    }
    anyhow::bail!("no block {cidr}")
}

fn tables(lab: &Lab) -> Result<Vec<Vec<String>>> {
    let mut all = Vec::new();
    for leaf in fabric::LEAVES {
        for family in ["ipv4", "ipv6"] {
            all.push(fabric::prefixes(&lab.node(leaf)?, family)?);
        }
    }
    Ok(all)
}

/// Ours first, then those of the reference plugins that follow it.
const CHAINED: &str = r#"{ "cniVersion": "1.0.0", "name": "chained", "plugins": [
    { "type": "petiole", "capabilities": { "ips": true, "mac": true } },
    { "type": "portmap", "capabilities": { "portMappings": true } },
    { "type": "bandwidth", "ingressRate": 80000000, "ingressBurst": 8000000, "egressRate": 80000000, "egressBurst": 8000000 },
    { "type": "tuning", "sysctl": { "net.core.somaxconn": "500" } }
] }"#;

/// A port of the host leads to a container, its rate is limited and its setting is made; then nothing of that is left.
fn chained(lab: &Lab, host: &Host) -> Result<Vec<String>> {
    host.node.write("/etc/cni/net.d/20-chained.conflist", CHAINED)?;
    let container = host.publish("published", "chained", 8080)?;
    let client = lab.node("client1")?;
    for node in ["TCP4:10.122.0.11", "TCP6:[fd00:122::11]"] {
        let line = format!("echo word | socat -T 2 -t 2 - {node}:8080,connect-timeout=2");
        said(client.exec(&["sh", "-c", &line])?, node)?;
    }
    ensure!(container.exec(&["cat", "/proc/sys/net/core/somaxconn"])?.trim() == "500");
    let limits = host.node.exec(&["tc", "qdisc"])?;
    ensure!(limits.contains("qdisc tbf 1: dev pet"), "{limits}");
    let addresses = container.addresses.clone();
    container.remove()?;
    let rules = host.node.sh("iptables -t nat -S; ip6tables -t nat -S; tc qdisc")?;
    ensure!(!rules.contains("8080") && !rules.contains("tbf"), "left: {rules}");
    Ok(addresses)
}

/// The image that a DaemonSet runs, by both: read-only, and with nothing of a distribution.
fn the_products_image_runs(host: &Host, folder: &Path) -> Result<()> {
    let image = concat!("localhost/petiole:", env!("CARGO_PKG_VERSION"));
    for printed in host.once(&runtimes::product(folder)?, image, &["--version"])? {
        ensure!(printed.trim() == concat!("petiole ", env!("CARGO_PKG_VERSION")), "{printed}");
    }
    Ok(())
}

/// GC as a runtime asks for it, of everything in the network.
fn collect_all(node: &NodeHandle) -> Result<()> {
    let conf = r#"{"cniVersion":"1.1.0","name":"petiole","type":"petiole","cni.dev/valid-attachments":[]}"#;
    let line = format!("echo '{conf}' | CNI_COMMAND=GC CNI_PATH=/opt/cni/bin /opt/cni/bin/petiole");
    node.sh(&line).map(drop)
}

/// What a container leaves on its node, if anything.
fn left(node: &NodeHandle) -> Result<Vec<String>> {
    let mut found = Vec::new();
    for link in node.ip_json(&["link"])?.as_array().into_iter().flatten() {
        found.extend(link["ifname"].as_str().filter(|name| name.starts_with("pet")).map(str::to_owned));
    }
    for family in ["-4", "-6"] {
        let routes = node.ip_json(&[family, "route", "show", "proto", "179", "metric", "512"])?;
        found.extend(routes.as_array().into_iter().flatten().filter_map(|r| r["dst"].as_str().map(str::to_owned)));
    }
    found.extend(node.exec(&["ls", "/var/lib/petiole/endpoints"])?.lines().map(str::to_owned));
    Ok(found)
}

/// Says a word over TCP and wants it back.
fn echo(run: impl Fn(&[&str]) -> Result<String>, address: &str) -> Result<()> {
    let to = if address.contains(':') { format!("TCP6:[{address}]") } else { format!("TCP4:{address}") };
    said(run(&["sh", "-c", &format!("echo word | socat -T 2 -t 2 - {to}:{ECHO_PORT},connect-timeout=2")])?, address)
}

/// The same by the image's own tools: nobody looks into the container from its node.
fn echo_inside(from: &Container<'_>, address: &str) -> Result<()> {
    said(from.exec(&["sh", "-c", &format!("echo word | nc -w 2 {address} {ECHO_PORT}")])?, address)
}

fn said(text: String, address: &str) -> Result<()> {
    ensure!(text.trim() == "word", "{address} said {text:?}");
    Ok(())
}

fn reach(from: &Container<'_>, to: &Container<'_>) -> Result<()> {
    for address in &to.addresses {
        from.ping(address, 1500)?;
        echo(|argv| from.inside(argv), address).with_context(|| format!("{} to {}", from.name, to.name))?;
    }
    Ok(())
}

fn gone(lab: &Lab, hosts: &[&Host], addresses: &[String], within: Duration) -> Result<()> {
    eventually(within, "nothing is left of the containers", || {
        for host in hosts {
            let left = left(&host.node)?;
            ensure!(left.is_empty(), "{}: {left:?}", host.node.name());
        }
        for address in addresses {
            ensure!(!assigned(lab, address)?, "{address} is still assigned in the store");
        }
        Ok::<_, anyhow::Error>(())
    })
}

#[test]
fn containers_of_podman_and_containerd_reach_each_other_across_racks_and_give_back_what_they_had() -> Result<()> {
    if !rustix::process::geteuid().is_root() {
        println!("not checked: containers of podman and containerd: needs root");
        return Ok(());
    }
    let begun = Instant::now();
    let folder = TempDir::new()?;
    let archive = image(folder.path())?;
    let lab = fabric::clos("runtimes")?;
    let one = Host::prepare(lab.node("worker1")?, &archive)?;
    let four = Host::prepare(lab.node("worker4")?, &archive)?;
    fabric::wait_settled(&lab, SETTLE)?;
    // The lab's workers begin without forwarding, and with strict filtering of sources.
    for (host, keys) in [
        (&one, &["net.ipv4.ip_forward", "net.ipv6.conf.all.forwarding"][..]),
        (&four, &["net.ipv4.ip_forward", "net.ipv4.conf.eth1.rp_filter", "net.ipv4.conf.eth2.rp_filter"]),
    ] {
        let status = host.node.petiole_json(&["status"])?;
        for key in keys {
            let said = status["settings"].as_array().into_iter().flatten().find(|s| s["key"] == *key);
            let said = said.with_context(|| format!("{}: status says nothing of {key}", host.node.name()))?;
            let is = host.node.exec(&["sysctl", "-n", key])?;
            ensure!(said["error"].is_null() && said["value"] == is.trim().parse::<u32>()?, "{key} = {is}, but {said}");
        }
    }
    let before = tables(&lab)?;

    // Nobody tells the agents that these are over: one is asked by GC, the other is started again in the end.
    let mut spent = Vec::new();
    for host in [&one, &four] {
        let forgotten = host.run_forgotten("forgotten")?;
        spent.extend(forgotten.addresses.clone());
        forgotten.kill()?;
    }
    collect_all(&one.node)?;
    gone(&lab, &[&one], &spent[..2], WITHIN)?;
    println!("{:.1?}: both nodes are ready", begun.elapsed());

    for round in ["removed", "killed"] {
        let run = |host, runtime, name: &str| Host::run(host, runtime, &format!("{name}-{round}"));
        let containers = [
            run(&one, Runtime::Podman, "p1")?,
            run(&one, Runtime::Containerd, "c1")?,
            run(&four, Runtime::Podman, "p4")?,
            run(&four, Runtime::Containerd, "c4")?,
        ];
        for from in &containers {
            for to in containers.iter().filter(|to| to.name != from.name) {
                reach(from, to)?;
            }
            for address in CLIENT {
                from.ping(address, 1500)?;
            }
            let client = lab.node("client1")?;
            for address in &from.addresses {
                client.ping(address, 1500, 1)?;
                echo(|argv| client.exec(argv), address)?;
                ensure!(assigned(&lab, address)?, "{address} of {} is not in the store", from.name);
            }
        }
        for (from, to) in [(0, 3), (1, 2), (2, 1), (3, 0)].map(|(from, to)| (&containers[from], &containers[to])) {
            for address in &to.addresses {
                echo_inside(from, address)?;
            }
        }
        ensure!(tables(&lab)? == before, "a leaf's table changed with containers: {:?}", tables(&lab)?);
        let addresses: Vec<String> = containers.iter().flat_map(|c| c.addresses.clone()).collect();
        let distinct: std::collections::BTreeSet<&String> = addresses.iter().collect();
        ensure!(distinct.len() == 8, "{addresses:?}");
        for container in containers {
            if round == "killed" { container.kill()? } else { container.remove()? }
        }
        gone(&lab, &[&one], &addresses, WITHIN)?;
        eventually(WITHIN, "the addresses are free again", || {
            for address in &addresses {
                ensure!(!assigned(&lab, address)?, "{address} is still assigned");
            }
            Ok::<_, anyhow::Error>(())
        })?;
        spent.extend(addresses);
        println!("{:.1?}: four containers {round}", begun.elapsed());
    }
    the_products_image_runs(&one, folder.path())?;
    spent.extend(chained(&lab, &one)?);
    println!("{:.1?}: portmap, bandwidth and tuning followed", begun.elapsed());
    // An agent that starts compares records and kernel at once; one that runs, twice with 30 s between.
    four.node.stop("agent", Signal::KILL)?;
    four.node.start("agent")?;
    gone(&lab, &[&one, &four], &spent, WITHIN)?;
    fabric::wait_settled(&lab, SETTLE)?;
    ensure!(tables(&lab)? == before, "a leaf's table changed with containers: {:?}", tables(&lab)?);
    for host in [&one, &four] {
        let check = host.node.exec(&["petiole", "ipam", "check"])?;
        println!("{}: {}", host.node.name(), check.trim());
    }
    println!("{:.1?}: nothing is left", begun.elapsed());
    Ok(())
}
