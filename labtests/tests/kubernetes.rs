//! A cluster of Kubernetes' own programs on the reference fabric.
//!
//! `cargo xtask kubernetes test` builds the programs and runs this; without them it is skipped, and says so.

use std::fmt::Display;
use std::net::Ipv4Addr;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use petiole_labtests::kubernetes::{self, Cluster, Pod};
use petiole_labtests::{Binaries, Lab, NodeHandle, eventually, fabric};

const WITHIN: Duration = Duration::from_secs(60);
/// Where agnhost's `netexec` answers HTTP.
const HTTP: &str = "8080";
/// How long the API may be away for those who come anew after the leaf's interface to a master went.
const FAILOVER: Duration = Duration::from_secs(5);

/// The cluster, up; nothing where the programs are missing, which is said.
fn up(test: &str, stem: &str) -> Result<Option<Lab>> {
    if !rustix::process::geteuid().is_root() {
        println!("not checked: {test}: needs root");
        return Ok(None);
    }
    if std::env::var_os(kubernetes::FOLDER).is_none() {
        println!("not checked: {test}: builds Kubernetes, for minutes; run it with: cargo xtask kubernetes test");
        return Ok(None);
    }
    kubernetes::prepare()?;
    let binaries = Binaries::find()?;
    ensure!(binaries.agent.is_some() && binaries.plugin().is_some(), "no agent or no plugin: cargo build --workspace");
    let topology = kubernetes::load(&kubernetes::topology_file(), Some(&fabric::unique_name(stem)))?;
    Lab::up(&topology, &binaries).map(Some)
}

fn start(lab: &Lab) -> Result<Cluster<'_>> {
    Cluster::start(lab, &|stage, took| println!("{took:.1?}: {}", stage.words()))
}

/// An address as a URL has it.
fn host(address: &str) -> String {
    if address.contains(':') { format!("[{address}]") } else { address.to_owned() }
}

/// `agnhost netexec` says which pod answered.
fn ask(client: &NodeHandle, address: &str) -> Result<String> {
    let url = format!("http://{}:{HTTP}/hostname", host(address));
    client.exec(&["curl", "--silent", "--show-error", "--fail", "--globoff", "--max-time", "3", &url])
}

/// The addresses of a Service, IPv4 first.
fn service(cluster: &Cluster<'_>, name: &str) -> Result<Vec<String>> {
    let service = cluster.json(&["get", "service", name])?;
    let addresses = service["spec"]["clusterIPs"].as_array().into_iter().flatten();
    Ok(addresses.filter_map(|address| address.as_str().map(str::to_owned)).collect())
}

fn step(begun: Instant, what: impl Display) {
    println!("{:.1?}: {what}", begun.elapsed());
}

/// No switch has anything of the pods' pool but whole blocks.
fn only_blocks(lab: &Lab) -> Result<()> {
    for leaf in fabric::LEAVES.iter().chain(&fabric::SPINES) {
        let mut found = 0;
        for prefix in fabric::prefixes(&lab.node(leaf)?, "ipv4")? {
            let (address, length) = prefix.split_once('/').context("a prefix")?;
            let address: Ipv4Addr = address.parse()?;
            let [a, b, c, _] = address.octets();
            if (a, b) == (10, 123) && c >= 128 {
                ensure!(length == "26", "{leaf} has {prefix}");
                found += 1;
            }
        }
        ensure!(found >= 4, "{leaf} has {found} blocks");
        for prefix in fabric::prefixes(&lab.node(leaf)?, "ipv6")? {
            ensure!(!prefix.starts_with("fd00:123:8000:") || prefix.ends_with("/122"), "{leaf} has {prefix}");
        }
    }
    Ok(())
}

fn pods_reach_each_other(cluster: &Cluster<'_>, begun: Instant) -> Result<Pod> {
    let one = cluster.run("one", "worker1", "agnhost", &["netexec"])?;
    let four = cluster.run("four", "worker4", "agnhost", &["netexec"])?;
    ensure!(one.addresses.len() == 2 && four.addresses.len() == 2, "{one:?} {four:?}");
    for (from, to) in [(&one, &four), (&four, &one)] {
        for address in &to.addresses {
            eventually(WITHIN, "a pod reaches another", || cluster.ping(from, address, 1500))?;
        }
    }
    let operator = cluster.lab.node("client1")?;
    for address in &four.addresses {
        operator.ping(address, 1500, 3)?;
        ensure!(ask(&operator, address)? == "four", "{address}");
    }
    step(begun, "pods across racks at 1500 octets, and client1 to a pod");
    Ok(one)
}

fn services_are_reached(cluster: &Cluster<'_>, one: &Pod, begun: Instant) -> Result<()> {
    let client = cluster.lab.node("client1")?;
    let port = format!("--port={HTTP}");
    cluster.kubectl(&["expose", "pod", "four", &port, "--overrides", DUAL])?;
    let addresses = service(cluster, "four")?;
    ensure!(addresses.len() == 2, "{addresses:?}");
    for address in &addresses {
        // Every one of some new connections: ECMP spreads them over both ingress nodes.
        eventually(WITHIN, "client1 opens the Service by its address", || {
            for _ in 0..20 {
                let said = ask(&client, address)?;
                ensure!(said == "four", "{address} said {said}");
            }
            Ok(())
        })?;
    }
    step(begun, format!("client1 opens {addresses:?} through ingress"));

    let kafka = service(cluster, "kafka")?;
    let inside = cluster.run("box", "worker2", "box", &["sh", "-c", "echo a pod says; exec sleep 1000000"])?;
    for address in &kafka {
        eventually(WITHIN, "a pod reaches kafka1 through its Service", || {
            let line = format!("echo word | nc -w 2 {address} 9092");
            let said = cluster.exec(&inside, &["sh", "-c", &line])?;
            ensure!(said.contains("kafka1") && said.contains("word"), "{said}");
            Ok::<_, anyhow::Error>(())
        })?;
    }
    let logs = cluster.kubectl(&["logs", "box"])?;
    ensure!(logs.trim() == "a pod says", "{logs}");
    let name = "kafka.default.svc.cluster.local";
    eventually(WITHIN, "a pod asks for a name", || {
        let said = cluster.exec(&inside, &["nslookup", name])?;
        ensure!(kafka.iter().all(|address| said.contains(address.as_str())), "{said}, but {kafka:?}");
        Ok::<_, anyhow::Error>(())
    })?;
    // A name alone, completed by what the kubelet wrote into the pod.
    cluster.exec(one, &["/bin/agnhost", "connect", &format!("four:{HTTP}"), "--timeout=3s"])?;
    step(begun, "kafka1 by its Service, exec, logs, names");
    Ok(())
}

const DUAL: &str = r#"{"spec":{"ipFamilyPolicy":"RequireDualStack","ipFamilies":["IPv4","IPv6"]}}"#;

/// The leaf of one master loses it without a word; who asks the anycast address is soon answered by the others.
fn the_api_survives_a_master(cluster: &Cluster<'_>, begun: Instant) -> Result<()> {
    let off = Instant::now();
    cluster.lab.power_off("master1")?;
    // client1 and master1 are in one rack: it is master1 that client1 had asked.
    eventually(FAILOVER, "the API answers without master1", || {
        cluster.kubectl(&["--request-timeout=1s", "get", "--raw", "/readyz"])
    })?;
    step(begun, format!("the API answered {:.1?} after master1 was powered off", off.elapsed()));
    cluster.kubectl(&["delete", "pod", "one", "--grace-period=0", "--wait=false"])?;
    cluster.run("after", "worker3", "agnhost", &["netexec"])?;
    eventually(WITHIN, "the API knows of the pod's end", || {
        let left = cluster.kubectl(&["get", "pod", "one", "--ignore-not-found", "-o", "name"])?;
        ensure!(left.trim().is_empty(), "{left}");
        Ok::<_, anyhow::Error>(())
    })?;
    step(begun, "a pod started and one ended without master1");
    Ok(())
}

#[test]
fn a_cluster_runs_on_the_fabric_and_its_api_survives_a_master() -> Result<()> {
    let Some(lab) = up("a_cluster_runs_on_the_fabric_and_its_api_survives_a_master", "kube")? else { return Ok(()) };
    let begun = Instant::now();
    let cluster = start(&lab)?;
    let one = pods_reach_each_other(&cluster, begun)?;
    services_are_reached(&cluster, &one, begun)?;
    only_blocks(&lab)?;
    the_api_survives_a_master(&cluster, begun)?;
    only_blocks(&lab)?;
    let containers: Vec<String> = lab.nodes().map(|node| node.record().container.clone()).collect();
    lab.down()?;
    for container in containers {
        for hierarchy in std::fs::read_dir("/sys/fs/cgroup")? {
            let left = hierarchy?.path().join(&container);
            ensure!(!left.exists(), "{} is left", left.display());
        }
        ensure!(!Path::new("/run/netns").join(&container).exists(), "namespace {container} is left");
    }
    step(begun, "nothing is left");
    Ok(())
}
