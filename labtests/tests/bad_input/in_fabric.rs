//! Bad input on the fabric: what the leaves have from the node stays as it is.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use petiole_labtests::fabric::{self, FAMILIES, Member};
use petiole_labtests::{NodeHandle, Signal, check, eventually, throughout};

use crate::{WITHIN, has_problem, root, said};

const SETTLE: Duration = Duration::from_secs(60);

/// What a leaf has from a node, both families.
fn told(leaf: &NodeHandle, name: &str) -> Result<BTreeMap<String, String>> {
    let member = Member::named(name).context("no such node")?;
    let mut told = BTreeMap::new();
    for family in FAMILIES {
        told.extend(fabric::told(leaf, member, family)?);
    }
    Ok(told)
}

fn problem(node: &NodeHandle, words: &[&str], there: bool) -> Result<()> {
    eventually(WITHIN, &format!("{}: {words:?} in status: {there}", node.name()), || {
        let status = node.petiole_json(&["status"]).map_err(said)?;
        check(has_problem(&status, words) == there, format!("{:#}", status["problems"]))
    })
}

#[test]
fn garbage_in_blocks_is_named_and_their_owners_go_on() -> Result<()> {
    if !root() {
        return Ok(());
    }
    let lab = fabric::clos("garbage")?;
    let blocks = fabric::wait_settled(&lab, SETTLE)?;
    let (worker1, leaf1, leaf2) = (lab.node("worker1")?, lab.node("leaf1")?, lab.node("leaf2")?);
    let etcdctl = |args: &[&str]| lab.node("master1")?.exec(&[&["etcdctl"], args].concat());
    let key = |name: &str, v6: bool| -> Result<String> {
        let mut own = blocks.get(name).into_iter().flatten();
        let block = own.find(|block| block.contains(':') == v6).context("no block")?;
        let family = if v6 { "ipv6" } else { "ipv4" };
        Ok(format!("/calico/ipam/v2/assignment/{family}/block/{}", block.replace('/', "-")))
    };
    let keys = [key("worker1", false)?, key("worker1", true)?, key("worker2", false)?];
    let before = [told(&leaf1, "worker1")?, told(&leaf2, "worker2")?];
    let mut values = Vec::new();
    for key in &keys {
        let value = etcdctl(&["get", "--print-value-only", key])?;
        ensure!(value.contains("\"cidr\""), "{key}: {value}");
        values.push(value.trim_end().to_owned());
    }
    let unchanged = |what: &str| {
        throughout(Duration::from_secs(1), what, || {
            for ((leaf, name), before) in [(&leaf1, "worker1"), (&leaf2, "worker2")].iter().zip(&before) {
                let now = told(leaf, name).map_err(said)?;
                check(now == *before, format!("{}: {now:?}, before {before:?}", leaf.name()))?;
            }
            Ok::<(), String>(())
        })
    };
    for (key, garbage) in keys.iter().zip(["{\"cidr\": \"10.123", "[]", "\u{1}\u{2} not JSON"]) {
        etcdctl(&["put", key, garbage])?;
    }
    for key in &keys {
        problem(&worker1, &[key, "repair or delete the key"], true)?;
    }
    unchanged("leaves have what they had")?;
    // Nor does a restart lose it: what the store said before the garbage is on disk. New addresses cannot come out of a block
    // that nobody can read, so that the node may have claimed another one meanwhile.
    let all_there = |now: &BTreeMap<String, String>| before[0].iter().all(|(prefix, hop)| now.get(prefix) == Some(hop));
    worker1.stop("agent", Signal::KILL)?;
    worker1.start("agent")?;
    fabric::wait_agents(&lab, &["worker1"], WITHIN)?;
    problem(&worker1, &[&keys[0], "repair or delete the key"], true)?;
    eventually(WITHIN, "leaf1 has it again after a restart", || {
        let now = told(&leaf1, "worker1").map_err(said)?;
        check(all_there(&now), format!("{now:?}, before {:?}", before[0]))
    })?;
    for (key, value) in keys.iter().zip(&values) {
        etcdctl(&["put", key, value])?;
    }
    problem(&worker1, &["repair or delete the key"], false)?;
    throughout(Duration::from_secs(1), "the repair takes nothing away", || {
        let now = told(&leaf1, "worker1").map_err(said)?;
        check(all_there(&now), format!("{now:?}, before {:?}", before[0]))?;
        check(told(&leaf2, "worker2").map_err(said)? == before[1], "worker2's changed")
    })?;
    // What is announced is what the store says, no more.
    let member = Member::named("worker1").context("no worker1")?;
    let blocks = fabric::blocks(&lab, "master1")?;
    let owned: Vec<String> = FAMILIES.iter().flat_map(|family| member.owns(*family, &blocks)).collect();
    let now = told(&leaf1, "worker1")?;
    ensure!(owned.len() == now.len() && owned.iter().all(|own| now.contains_key(own)), "{now:?}, owned {owned:?}");
    ensure!(!worker1.log("agent")?.contains("panicked"));
    lab.down()
}

#[test]
fn with_port_179_taken_sessions_come_up_by_dialling() -> Result<()> {
    if !root() {
        return Ok(());
    }
    let lab = fabric::clos("taken")?;
    fabric::wait_settled(&lab, SETTLE)?;
    let (worker4, leaves) = (lab.node("worker4")?, [lab.node("leaf3")?, lab.node("leaf4")?]);
    let before = [told(&leaves[0], "worker4")?, told(&leaves[1], "worker4")?];
    worker4.stop("agent", Signal::TERM)?;
    // Not only there: it accepts, and sends back to FRR what FRR says.
    let taker = worker4.spawn(&["petiole-lab", "echo", "--listen", "[::]:179"])?;
    eventually(WITHIN, "something else listens on port 179", || {
        let listening = worker4.exec(&["ss", "-Hltn", "sport = :179"]).map_err(said)?;
        check(!listening.trim().is_empty(), "nothing listens")
    })?;
    worker4.start("agent")?;
    let words = ["port 179 is taken by another process", "ss -ltnp"];
    problem(&worker4, &words, true)?;
    fabric::wait_agents(&lab, &["worker4"], Duration::from_secs(60))?;
    for (leaf, before) in leaves.iter().zip(&before) {
        eventually(WITHIN, "the leaf has what it had", || {
            let now = told(leaf, "worker4").map_err(said)?;
            check(now == *before, format!("{now:?}, before {before:?}"))
        })?;
    }
    let peers = worker4.petiole_json(&["bgp", "peers"])?;
    for peer in peers.as_array().into_iter().flatten() {
        ensure!(peer["remote"].as_str().is_some_and(|remote| remote.ends_with(":179")), "not dialled: {peer:#}");
    }
    taker.end(Signal::KILL)?;
    problem(&worker4, &words, false)?;
    eventually(WITHIN, "the agent listens", || {
        let listening = worker4.exec(&["ss", "-Hltnp", "sport = :179"]).map_err(said)?;
        check(listening.contains("petiole"), listening)
    })?;
    lab.down()
}
