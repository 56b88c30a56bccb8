//! A borrowed address on the fabric: a pod of one rack holds an address out of the block of a node of another, and is reached
//! right after ADD, also by the pods of the block's owner.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use petiole_labtests::plugin::Pod;
use petiole_labtests::{Binaries, NodeHandle, eventually, fabric};

const SETTLE: Duration = Duration::from_secs(60);
const WITHIN: Duration = Duration::from_secs(20);
/// Four hops of BGP with FRR's daemons between, on a machine that is busy with ten of them.
const SPREAD: Duration = Duration::from_secs(3);

/// How long after now the first answer comes, by one echo request every 10 ms.
fn first_answer(node: &NodeHandle, pod: Option<&str>, address: &str) -> Result<Duration> {
    let from = pod.map(|name| format!("ip netns exec {name} ")).unwrap_or_default();
    let count = SPREAD.as_millis() / 10;
    let begun = Instant::now();
    let said = node.sh(&format!("{from}ping -i 0.01 -c {count} -W 1 {address} | grep -m1 icmp_seq= || true"))?;
    let sequence = said.split("icmp_seq=").nth(1).and_then(|s| s.split(' ').next()).and_then(|n| n.parse::<u64>().ok());
    let sequence = sequence.with_context(|| {
        format!("{} {pod:?} has no answer from {address} within {SPREAD:?} ({:?})", node.name(), begun.elapsed())
    })?;
    Ok(Duration::from_millis((sequence - 1) * 10))
}

fn host(address: &str) -> String {
    format!("{address}/{}", if address.contains(':') { 128 } else { 32 })
}

/// A free address of a block: the 40th.
fn within(block: &str) -> Result<String> {
    let (base, _) = block.split_once('/').context("no length")?;
    Ok(match base.parse()? {
        std::net::IpAddr::V4(a) => std::net::Ipv4Addr::from_bits(a.to_bits() + 40).to_string(),
        std::net::IpAddr::V6(a) => std::net::Ipv6Addr::from_bits(a.to_bits() + 40).to_string(),
    })
}

/// How a node's kernel sends to an address.
fn way(node: &NodeHandle, address: &str) -> String {
    node.sh(&format!("ip route get {address} 2>&1 || true")).unwrap_or_else(|e| e.to_string())
}

#[test]
fn a_borrowed_address_is_reached_across_racks_right_after_add() -> Result<()> {
    if !rustix::process::geteuid().is_root() {
        println!("not checked: a_borrowed_address_is_reached_across_racks_right_after_add: needs root");
        return Ok(());
    }
    let plugin = Binaries::find()?.agent.context("no agent binary")?.with_file_name("petiole-cni");
    ensure!(plugin.is_file(), "no plugin: cargo build -p petiole-cni");
    let lab = fabric::clos("borrow")?;
    let blocks = fabric::wait_settled(&lab, SETTLE)?;
    let owner = Pod::new(lab.node("worker1")?, "p1", &plugin)?;
    owner.cni("ADD", &[])?;
    let wanted: Vec<String> = blocks["worker1"].iter().map(|block| within(block)).collect::<Result<_>>()?;
    ensure!(wanted.len() == 2, "{blocks:?}");
    for address in &wanted {
        // Blackholes are what a free address of the owner's block meets there.
        ensure!(!way(&owner.node, address).contains("via"), "{}", way(&owner.node, address));
    }

    let borrower = Pod::new(lab.node("worker4")?, "p4", &plugin)?;
    let begun = Instant::now();
    let result = borrower.cni("ADD", &wanted)?;
    println!("ADD with two borrowed addresses took {:?}", begun.elapsed());
    let client = lab.node("client1")?;
    let askers: [(&NodeHandle, Option<&str>); 2] = [(&owner.node, Some("p1")), (&client, None)];
    let took = std::thread::scope(|scope| {
        let asked: Vec<_> = askers
            .iter()
            .flat_map(|(node, pod)| wanted.iter().map(move |address| (*node, *pod, address)))
            .map(|(node, pod, address)| (node.name(), address, scope.spawn(move || first_answer(node, pod, address))))
            .collect();
        let ended = asked.into_iter().map(|(name, address, thread)| {
            let took = thread.join().map_err(|_| anyhow::anyhow!("a ping panicked"))??;
            Ok((name, address, took))
        });
        ended.collect::<Result<Vec<_>>>()
    })?;
    for (name, address, took) in &took {
        println!("{address} answers {name} {} ms after ADD", took.as_millis());
    }
    ensure!(result["ips"].as_array().is_some_and(|ips| ips.len() == 2), "{result}");

    let (leaf1, leaf4) = (lab.node("leaf1")?, lab.node("leaf4")?);
    let member = fabric::Member::named("worker4").context("no worker4")?;
    for address in &wanted {
        let family = fabric::Family::of(address);
        ensure!(way(&owner.node, address).contains("via"), "{}", way(&owner.node, address));
        ensure!(fabric::told(&leaf4, member, family)?.contains_key(&host(address)), "leaf4 was not told");
        let origins = fabric::origins(&leaf1, &host(address))?;
        ensure!(!origins.is_empty() && origins.iter().all(|o| *o == member.asn()), "{origins:?}");
    }

    borrower.cni("DEL", &[])?;
    for address in &wanted {
        eventually(WITHIN, "the host route is gone everywhere", || {
            let paths = fabric::paths(&leaf1, &host(address))?;
            ensure!(paths.is_empty(), "{paths:?}");
            ensure!(!way(&owner.node, address).contains("via"), "{}", way(&owner.node, address));
            Ok::<_, anyhow::Error>(())
        })?;
    }
    owner.cni("DEL", &[])?;
    fabric::wait_settled(&lab, SETTLE)?;
    lab.down()
}
