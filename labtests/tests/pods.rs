//! Pods by the real plugin and the real agent: a network namespace stands for a container.

use std::path::Path;
use std::time::{Duration, Instant};

#[path = "pods/alone.rs"]
mod alone;
#[path = "pods/chained.rs"]
mod chained;
#[path = "pods/delegated.rs"]
mod delegated;
#[path = "pods/preparing.rs"]
mod preparing;

use alone::{Alone, root};
use anyhow::{Context, Result, anyhow, ensure};
use petiole_labtests::plugin::{Pod, addresses};
use petiole_labtests::{Binaries, Lab, Netns, check, eventually, fabric};

const WITHIN: Duration = Duration::from_secs(20);
const SETTLE: Duration = Duration::from_secs(60);
/// How often agent and plugin are killed, unless `PETIOLE_POD_KILLS` says otherwise.
const KILLS: u32 = 8;

#[test]
fn a_pod_is_reachable_when_add_answers_and_del_leaves_nothing() -> Result<()> {
    if !root("a_pod_is_reachable_when_add_answers_and_del_leaves_nothing") {
        return Ok(());
    }
    let node = Alone::new()?;
    let pods = [Netns::bare("pods-a")?, Netns::bare("pods-b")?];
    let mut results = Vec::new();
    for (number, pod) in pods.iter().enumerate() {
        let begun = Instant::now();
        let result =
            node.cni("ADD", &format!("c{number}"), Some(pod), None).map_err(|e| anyhow!("{e:#}\n{}", node.log()))?;
        let took = begun.elapsed();
        let found = addresses(&result)?;
        ensure!(found.len() == 2, "{result}");
        for address in &found {
            let ping = node.netns.exec(&["ping", "-c", "1", "-W", "1", "-M", "do", "-s", "1400", address])?;
            let time = ping.split("time=").nth(1).and_then(|t| t.split(' ').next()).unwrap_or("?");
            println!("ADD took {took:?}; the first ping to {address} {time} ms");
        }
        let again = node.cni("ADD", &format!("c{number}"), Some(pod), None)?;
        ensure!(again == result, "{again} is not {result}");
        node.cni("CHECK", &format!("c{number}"), Some(pod), Some(&result))?;
        results.push(result);
    }
    for (from, to) in [(0, 1), (1, 0)] {
        for address in addresses(&results[to])? {
            pods[from].exec(&["ping", "-c", "1", "-W", "1", "-M", "do", "-s", "1400", &address])?;
        }
    }
    ensure!(node.interfaces()?.len() == 2 && node.pod_routes()?.len() == 4, "{:?}", node.pod_routes());
    let link = pods[0].ip_json(&["link", "show", "dev", "eth0"])?;
    ensure!(link[0]["address"] == results[0]["interfaces"][1]["mac"] && link[0]["mtu"] == 1500, "{link}");

    pods[1].exec(&["ip", "addr", "flush", "dev", "eth0", "scope", "global"])?;
    let check = node.cni("CHECK", "c1", Some(&pods[1]), Some(&results[1]));
    ensure!(check.is_err(), "CHECK does not see that the addresses are gone");

    node.cni("DEL", "c0", Some(&pods[0]), None)?;
    let [_, second] = pods;
    // The namespace is gone before the second is deleted.
    drop(second);
    node.cni("DEL", "c1", None, None)?;
    node.cni("DEL", "c1", None, None)?;
    node.cni("DEL", "never-seen", None, None)?;
    eventually(WITHIN, "nothing is left", || node.nothing_left())?;
    Ok(())
}

#[test]
fn kill_9_of_plugin_and_agent_leaves_nothing() -> Result<()> {
    if !root("kill_9_of_plugin_and_agent_leaves_nothing") {
        return Ok(());
    }
    kill_9(Alone::new()?)
}

#[test]
fn kill_9_of_plugin_and_agent_leaves_nothing_in_etcd() -> Result<()> {
    if !root("kill_9_of_plugin_and_agent_leaves_nothing_in_etcd") {
        return Ok(());
    }
    kill_9(Alone::with(true)?)
}

fn kill_9(mut node: Alone) -> Result<()> {
    let kills = std::env::var("PETIOLE_POD_KILLS").ok().and_then(|n| n.parse().ok()).unwrap_or(KILLS);
    // Any sequence does; this one is the same every time.
    let mut random = 0x2545_f491_4f6c_dd1d_u64;
    let mut next = |below: u64| {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        random % below
    };
    // As long as each takes here and now, so that the instants are those of its own steps.
    let (adding, deleting) = (0..3).try_fold((0, 0), |(adding, deleting), _| -> Result<_> {
        let pod = Netns::bare("pods-k")?;
        let begun = Instant::now();
        node.cni("ADD", "timed", Some(&pod), None)?;
        let added = begun.elapsed();
        node.cni("DEL", "timed", Some(&pod), None)?;
        let micros = |time: Duration| u64::try_from(time.as_micros()).unwrap_or(u64::MAX);
        Ok((adding.max(micros(added)), deleting.max(micros(begun.elapsed() - added))))
    })?;
    let mut served = 0;
    for round in 0..kills {
        let pod = Netns::bare("pods-k")?;
        let container = format!("k{round}");
        let mut add = node.begin("ADD", &container, Some(&pod), None)?;
        let del_too = next(3) == 0;
        if del_too {
            add.wait()?;
            let mut del = node.begin("DEL", &container, Some(&pod), None)?;
            std::thread::sleep(Duration::from_micros(next(deleting * 5 / 4)));
            node.kill()?;
            del.kill()?;
            del.wait()?;
        } else {
            std::thread::sleep(Duration::from_micros(next(adding * 5 / 4)));
            if next(2) == 0 {
                add.kill()?;
            }
            node.kill()?;
            served += u32::from(add.wait()?.success());
        }
        node.start()?;
        // What a runtime does after a failed ADD, and again until it is done.
        eventually(WITHIN, "DEL is served", || {
            node.cni("DEL", &container, Some(&pod), None).map_err(|e| format!("{e:#}\n{}", node.log()))
        })?;
    }
    println!(
        "{kills} kills within {adding} us of an ADD or {deleting} us of a DEL; {served} ADDs were answered before"
    );
    node.wait_ready()?;
    // Also with a container there.
    let pod = Netns::bare("pods-k")?;
    node.cni("ADD", "last", Some(&pod), None)?;
    eventually(SETTLE, "nothing contradicts anything", || {
        ensure!(node.interfaces()?.len() == 1 && node.used()? == 2, "{:?}, {} used", node.interfaces()?, node.used()?);
        node.is_consistent_with(1)
    })?;
    node.cni("DEL", "last", Some(&pod), None)?;
    eventually(WITHIN, "nothing is left", || node.nothing_left())?;
    // Nor does a fresh agent find anything.
    node.kill()?;
    node.start()?;
    node.wait_ready()?;
    node.nothing_left()
}

fn ping(pod: &Pod, address: &str) -> Result<()> {
    // 1500 octets with either family's headers.
    let size = if address.contains(':') { "1452" } else { "1472" };
    let argv = ["ip", "netns", "exec", pod.name, "ping", "-c", "1", "-W", "2", "-M", "do", "-s", size, address];
    pod.node.exec(&argv).map(drop)
}

fn wired(lab: &Lab, node: &str, name: &'static str, plugin: &Path) -> Result<(Pod, Vec<String>)> {
    let pod = Pod::new(lab.node(node)?, name, plugin)?;
    let result = pod.cni("ADD", &[])?;
    let addresses = addresses(&result)?;
    Ok((pod, addresses))
}

#[test]
fn pods_of_two_racks_reach_each_other_and_the_leaf_sees_blocks_only() -> Result<()> {
    if !root("pods_of_two_racks_reach_each_other_and_the_leaf_sees_blocks_only") {
        return Ok(());
    }
    let plugin = Binaries::find()?.agent.context("no agent binary")?.with_file_name("petiole-cni");
    ensure!(plugin.is_file(), "no plugin: cargo build -p petiole-cni");
    let lab = fabric::clos("pods")?;
    fabric::wait_settled(&lab, SETTLE)?;
    let tables = |lab: &Lab| -> Result<Vec<Vec<String>>> {
        let mut all = Vec::new();
        for leaf in ["leaf1", "leaf4"] {
            for family in ["ipv4", "ipv6"] {
                all.push(fabric::prefixes(&lab.node(leaf)?, family)?);
            }
        }
        Ok(all)
    };
    let before = tables(&lab)?;
    let (one, ones) = wired(&lab, "worker1", "p1", &plugin)?;
    let (four, fours) = wired(&lab, "worker4", "p4", &plugin)?;
    for address in &fours {
        ping(&one, address)?;
    }
    for address in &ones {
        ping(&four, address)?;
    }
    for client in ["10.120.201.10", "fd00:120:201:1::10"] {
        ping(&four, client)?;
    }
    ensure!(tables(&lab)? == before, "the leaves' tables changed with pods");
    delegated::reach_all(&lab, &plugin, &fours)?;
    for pod in [&one, &four] {
        pod.cni("DEL", &[])?;
        let links = pod.node.sh("ip -o link | grep -c ': pet' || true")?;
        ensure!(links.trim() == "0", "{links}");
        eventually(WITHIN, "no pod route", || {
            let routes = pod.node.sh("(ip -4 route; ip -6 route) | grep -c 'metric 512' || true")?;
            ensure!(routes.trim() == "0", "{routes}");
            Ok::<_, anyhow::Error>(())
        })?;
    }
    check(tables(&lab)? == before, "the leaves' tables changed with pods").map_err(anyhow::Error::msg)?;
    lab.down()
}
