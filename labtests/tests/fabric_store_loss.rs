//! Losing the store freezes: nothing that any switch or kernel holds changes, whatever the agents do meanwhile.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, ensure};
use petiole_labtests::fabric::{self, AGENTS, Blocks, FAMILIES, Family, LEAVES, Member, Monitor, SPINES, Table};
use petiole_labtests::{Lab, Signal, eventually, throughout};

const SETTLE: Duration = Duration::from_secs(60);
/// For so long nothing changes.
const FROZEN: Duration = Duration::from_secs(60);
/// A restarted agent has told its leaf everything within this.
const RESTART: Duration = Duration::from_secs(15);
/// Two members of etcd come back, elect, and every agent has read everything again.
const THAW: Duration = Duration::from_secs(40);
/// The worker whose agent is restarted without a store.
const RESTARTED: &str = "worker1";

#[test]
fn losing_the_store_changes_nothing() -> Result<()> {
    if !rustix::process::geteuid().is_root() {
        println!("not checked: losing_the_store_changes_nothing: needs root");
        return Ok(());
    }
    let lab = fabric::clos("storeloss")?;
    let blocks = fabric::wait_settled(&lab, SETTLE)?;
    wait_store(&lab, &AGENTS, "in sync", RESTART)?;
    let mut monitors = BTreeMap::new();
    for name in AGENTS.iter().chain(&LEAVES) {
        monitors.insert(*name, Monitor::start(&lab.node(name)?)?);
    }
    let before = tables(&lab, &LEAVES.iter().chain(&SPINES).copied().collect::<Vec<_>>())?;
    let restarted = Member::named(RESTARTED).context(RESTARTED)?;

    for master in ["master1", "master2"] {
        lab.node(master)?.stop("etcd", Signal::KILL)?;
    }
    let start = Instant::now();
    // Four things at once, or the test would take as many times as long.
    std::thread::scope(|scope| {
        let (lab, before) = (&lab, &before);
        let watch =
            scope.spawn(move || throughout(FROZEN, "the leaves' tables stay", || same_tables(lab, before, &LEAVES)));
        let restarts = an_agent_restarts_without_a_store(lab, restarted, &blocks);
        let watched = watch.join().unwrap_or_else(|_| Err(anyhow!("the watch panicked")));
        watched.and(restarts)
    })?;
    ensure!(start.elapsed() >= FROZEN, "{:?}", start.elapsed());
    // One that has seen no store since its start has nothing that could freeze, but what it saved.
    let others: Vec<&str> = AGENTS.into_iter().filter(|agent| *agent != RESTARTED).collect();
    wait_store(&lab, &others, "frozen", Duration::ZERO)?;
    same_tables(&lab, &before, &LEAVES)?;

    for master in ["master1", "master2"] {
        lab.node(master)?.start("etcd")?;
    }
    let start = Instant::now();
    wait_store(&lab, &AGENTS, "in sync", THAW)?;
    println!("figure: every agent in sync {:.2?} after two members were started again", start.elapsed());
    let all: Vec<&str> = LEAVES.iter().chain(&SPINES).copied().collect();
    throughout(Duration::from_secs(3), "nothing changes with the store's return", || same_tables(&lab, &before, &all))?;
    ensure!(fabric::blocks(&lab, "master3")? == blocks, "blocks are claimed or lost: {blocks:?}");
    nothing_went(&monitors)?;
    // The agents have read their kernels again meanwhile, and found what they thought there was.
    for agent in AGENTS {
        let metrics = lab.node(agent)?.exec(&["curl", "--silent", "--fail", "http://127.0.0.1:9179/metrics"])?;
        let drift = metrics.lines().find(|line| line.starts_with("petiole_fib_drift_found_total"));
        ensure!(drift == Some("petiole_fib_drift_found_total 0.0"), "{agent}: {drift:?}");
    }
    lab.down()
}

/// These agents say this of their store.
fn wait_store(lab: &Lab, agents: &[&str], state: &str, within: Duration) -> Result<()> {
    for agent in agents {
        eventually(within, &format!("{agent}: the store is {state}"), || {
            let status = lab.node(agent)?.petiole_json(&["status"])?;
            ensure!(status["store"]["state"] == state, "{}", status["store"]);
            Ok(())
        })?;
    }
    Ok(())
}

type Tables = BTreeMap<(String, Family), Table>;

fn tables(lab: &Lab, switches: &[&str]) -> Result<Tables> {
    let mut tables = Tables::new();
    for switch in switches {
        for family in FAMILIES {
            tables.insert(((*switch).to_owned(), family), fabric::table(&lab.node(switch)?, family)?);
        }
    }
    Ok(tables)
}

/// All paths of all prefixes are as they were, and are used as they were.
fn same_tables(lab: &Lab, before: &Tables, switches: &[&str]) -> Result<()> {
    for ((switch, family), now) in tables(lab, switches)? {
        let then = before.get(&(switch.clone(), family)).cloned().unwrap_or_default();
        ensure!(!then.is_empty(), "{switch}: an empty table proves nothing");
        for (prefix, paths) in &then {
            ensure!(now.get(prefix) == Some(paths), "{switch}: {prefix}: was {paths:?}, is {:?}", now.get(prefix));
        }
        ensure!(
            now.len() == then.len(),
            "{switch}: {:?} is new",
            now.keys().find(|prefix| !then.contains_key(*prefix))
        );
    }
    Ok(())
}

/// By SIGTERM and by SIGKILL: the leaf is told the same as before, from the state on disk.
fn an_agent_restarts_without_a_store(lab: &Lab, member: &Member, blocks: &Blocks) -> Result<()> {
    wait_store(lab, &AGENTS, "frozen", RESTART)?;
    let node = lab.node(member.name)?;
    let link = member.links(Family::V4).remove(0);
    let (leaf, node_end) = (lab.node(link.leaf)?, link.address);
    for (name, signal) in [("SIGTERM", Signal::TERM), ("SIGKILL", Signal::KILL)] {
        node.stop("agent", signal)?;
        eventually(RESTART, "the leaf notices", || {
            let summary = leaf.vtysh_json("show bgp ipv4 unicast summary json")?;
            let state = &summary["peers"][&node_end]["state"];
            ensure!(state.is_string() && state != "Established", "{summary}");
            Ok(())
        })?;
        let start = Instant::now();
        node.start("agent")?;
        eventually(RESTART, &format!("after {name} {} tells what it told", member.name), || {
            for (family, link) in FAMILIES.into_iter().flat_map(|f| member.links(f).into_iter().map(move |l| (f, l))) {
                let told = fabric::told(&leaf, member, family)?;
                let owns = member.owns(family, blocks);
                ensure!(told.keys().cloned().collect::<BTreeSet<_>>() == owns, "{told:?}, not {owns:?}");
                ensure!(told.values().all(|hop| *hop == link.address), "{told:?}");
            }
            Ok(())
        })?;
        println!("figure: {name} without a store: the leaf knows all again {:.2?} after the start", start.elapsed());
        throughout(Duration::from_secs(2), "and goes on telling it", || {
            fabric::check_owners(&leaf, &member.host(Family::V4), &[member])?;
            member.owns(Family::V4, blocks).iter().try_for_each(|own| fabric::check_owners(&leaf, own, &[member]))
        })?;
        let status = node.petiole_json(&["status"])?;
        ensure!(status["store"]["state"] != "in sync", "the store was there all the time: {}", status["store"]);
    }
    Ok(())
}

/// No kernel lost a route or an address: not the leaf of the restarted agent either, which waited for it.
fn nothing_went(monitors: &BTreeMap<&str, Monitor>) -> Result<()> {
    for (name, monitor) in monitors {
        let gone = monitor.deletions()?;
        ensure!(gone.is_empty(), "{name}: deleted: {gone:#?}");
    }
    Ok(())
}
