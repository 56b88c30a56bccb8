//! A restarted agent takes over what its predecessor left in the kernel, and what is not its own it leaves alone.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, ensure};
use petiole_labtests::fabric::{self, Blocks, FAMILIES, Family, Member, Monitor};
use petiole_labtests::{Lab, NodeHandle, Signal, check, eventually, throughout};
use serde_json::Value;

const SETTLE: Duration = Duration::from_secs(60);
/// From an agent's start until it has swept, which waits for store and leaves.
const RESTART: Duration = Duration::from_secs(20);
/// One node of each role.
const NODES: [&str; 3] = ["worker1", "master1", "ingress1"];

#[test]
fn a_restart_adopts_what_the_kernel_holds() -> Result<()> {
    if !rustix::process::geteuid().is_root() {
        println!("not checked: a_restart_adopts_what_the_kernel_holds: needs root");
        return Ok(());
    }
    let lab = fabric::clos("restart")?;
    let blocks = fabric::wait_settled(&lab, SETTLE)?;
    // All at once, or the sweeps, which wait for leaves to settle, would take three times as long.
    std::thread::scope(|scope| {
        let (lab, blocks) = (&lab, &blocks);
        let threads = NODES.map(|name| scope.spawn(move || an_agent_takes_over(lab, name, blocks)));
        let join = |thread: std::thread::ScopedJoinHandle<'_, Result<()>>| {
            thread.join().unwrap_or_else(|_| Err(anyhow!("a thread panicked")))
        };
        threads.into_iter().map(join).collect::<Result<Vec<()>>>()
    })?;
    removal_leaves_everything_foreign(&lab)?;
    lab.down()
}

/// Over a SIGTERM and a SIGKILL nothing goes that is wanted.
fn an_agent_takes_over(lab: &Lab, name: &str, blocks: &Blocks) -> Result<()> {
    let member = Member::named(name).context(name.to_owned())?;
    let node = lab.node(name)?;
    wait_filled(&node, member)?;
    others_routes_come(&node, member)?;
    let before = Kernel::of(&node)?;
    before.has_foreign(member)?;
    let monitor = Monitor::start(&node)?;
    for signal in [Signal::TERM, Signal::KILL] {
        restarts(lab, &node, member, blocks, &before, signal)?;
    }
    let stale: BTreeSet<&str> = FAMILIES.into_iter().map(stale).collect();
    let first = |what: &String| what.split(' ').next().unwrap_or_default().to_owned();
    // Nor goes what the other two announce: their leaves wait for them.
    let gone = monitor.deletions()?;
    let strange: Vec<&String> = gone.iter().filter(|what| !stale.contains(first(what).as_str())).collect();
    ensure!(strange.is_empty(), "{name}: deleted over two restarts: {strange:#?}");
    ensure!(gone.len() == 2 * stale.len(), "{name}: the monitor did not see the sweeps: {gone:?}");
    Ok(())
}

/// Everything a kernel has of routes, in every table, and of addresses.
#[derive(Debug, PartialEq, Eq)]
struct Kernel {
    routes: BTreeSet<String>,
    addresses: BTreeSet<String>,
}

impl Kernel {
    /// As sets: the order of a dump says nothing.
    fn of(node: &NodeHandle) -> Result<Self> {
        let mut routes = BTreeSet::new();
        for family in FAMILIES {
            let dump = node.ip_json(&[family.ip(), "-details", "route", "show", "table", "all"])?;
            routes.extend(dump.as_array().into_iter().flatten().map(Value::to_string));
        }
        let mut addresses = BTreeSet::new();
        for link in node.ip_json(&["-details", "address", "show"])?.as_array().into_iter().flatten() {
            let of = link["addr_info"].as_array().into_iter().flatten();
            addresses.extend(of.map(|address| format!("{} {address}", link["ifname"])));
        }
        Ok(Self { routes, addresses })
    }

    /// What is here and not there, with a sign for which.
    fn difference(&self, then: &Self) -> Vec<String> {
        let sets = [(&self.routes, &then.routes), (&self.addresses, &then.addresses)];
        let new = sets.iter().flat_map(|(now, then)| now.difference(then)).map(|one| format!("+ {one}"));
        let old = sets.iter().flat_map(|(now, then)| then.difference(now)).map(|one| format!("- {one}"));
        new.chain(old).collect()
    }

    fn has_foreign(&self, member: &Member) -> Result<()> {
        for words in foreign(member).iter().flat_map(|(_, route)| route.first()) {
            let found = self.routes.iter().any(|route| route.contains(&format!("\"dst\":\"{words}\"")));
            ensure!(found, "{}: no route to {words}", member.name);
        }
        Ok(())
    }
}

/// An administrator's static routes and the default routes of DHCP and router advertisements; one static leads where a
/// learned route leads, with the same metric.
fn foreign(member: &Member) -> Vec<(Family, Vec<String>)> {
    let mut routes = Vec::new();
    for family in FAMILIES {
        let gateway = member.links(family).remove(0).gateway;
        let mut add = |prefix: &str, rest: &str| {
            let words = format!("{prefix} via {gateway} dev eth1 {rest}");
            routes.push((family, words.split(' ').map(str::to_owned).collect()));
        };
        match family {
            Family::V4 => {
                add("10.77.0.0/16", "proto static");
                add("10.120.201.32/27", "proto static metric 50");
                add("default", "proto dhcp metric 100");
            }
            Family::V6 => {
                add("fd00:77::/64", "proto static");
                add("fd00:120:201:4::/64", "proto static metric 50");
                add("default", "proto ra metric 100");
            }
        }
    }
    routes
}

fn others_routes_come(node: &NodeHandle, member: &Member) -> Result<()> {
    for (family, route) in foreign(member) {
        let words: Vec<&str> = route.iter().map(String::as_str).collect();
        node.exec(&[&["ip", family.ip(), "route", "add"], words.as_slice()].concat())?;
    }
    Ok(())
}

/// Looks like ours, and nobody wants it: left by an agent that did not get round to removing it.
fn stale(family: Family) -> &'static str {
    family.pick("10.99.0.0/24", "fd00:99::/64")
}

/// The kernel has all that the agent wants to write there.
fn wait_filled(node: &NodeHandle, member: &Member) -> Result<()> {
    eventually(RESTART, &format!("{}: all routes are in the kernel", member.name), || {
        let status = node.petiole_json(&["status"])?;
        let metrics = node.exec(&["curl", "--silent", "--fail", "http://127.0.0.1:9179/metrics"])?;
        let wanted = metrics.lines().find_map(|line| line.strip_prefix("petiole_fib_routes ")?.parse::<f64>().ok());
        let held = status["routes_in_kernel"].as_f64();
        ensure!(status["ready"] == true && wanted > Some(0.0) && wanted == held, "{held:?} of {wanted:?}: {status}");
        Ok(())
    })
}

fn restarts(
    lab: &Lab,
    node: &NodeHandle,
    member: &Member,
    blocks: &Blocks,
    before: &Kernel,
    signal: Signal,
) -> Result<()> {
    let signal_name = if signal == Signal::TERM { "SIGTERM" } else { "SIGKILL" };
    let what = format!("{} after {signal_name}", member.name);
    node.stop("agent", signal)?;
    let now = Kernel::of(node)?;
    ensure!(now == *before, "{what}: while no agent runs: {:#?}", now.difference(before));
    for family in FAMILIES {
        let gateway = member.links(family).remove(0).gateway;
        let words = [stale(family), "via", &gateway, "dev", "eth1", "proto", "179", "metric", "1024"];
        node.exec(&[&["ip", family.ip(), "route", "add"], &words[..]].concat())?;
    }
    let start = Instant::now();
    node.start("agent")?;
    let told = || -> Result<()> {
        for family in FAMILIES {
            for link in member.links(family) {
                let told = fabric::told(&lab.node(link.leaf)?, member, family)?;
                let owns = member.owns(family, blocks);
                ensure!(told.keys().cloned().collect::<BTreeSet<_>>() == owns, "{told:?}, not {owns:?}");
            }
        }
        Ok(())
    };
    eventually(RESTART, &format!("{what}: the leaf is told everything"), told)?;
    println!("figure: {what}: the leaf knows everything {:.2?} after the start", start.elapsed());
    // The stale ones go, and then and only then has the sweep passed over all the others.
    eventually(RESTART, &format!("{what}: the kernel is as it was"), || {
        let now = Kernel::of(node)?;
        check(now == *before, format!("{:#?}", now.difference(before))).map_err(anyhow::Error::msg)
    })?;
    println!("figure: {what}: swept {:.2?} after the start", start.elapsed());
    Ok(())
}

/// An agent that is taken away leaves what it found, and forwarding goes on with what it wrote.
fn removal_leaves_everything_foreign(lab: &Lab) -> Result<()> {
    let (name, member) = ("worker1", Member::named("worker1").context("worker1")?);
    let node = lab.node(name)?;
    let before = Kernel::of(&node)?;
    node.stop("agent", Signal::KILL)?;
    throughout(Duration::from_secs(2), "worker1's kernel is as the agent left it", || {
        let now = Kernel::of(&node)?;
        now.has_foreign(member)?;
        check(now == before, format!("{:#?}", now.difference(&before))).map_err(anyhow::Error::msg)
    })?;
    // A static route and a learned one, by addresses that do not need the agent's announcements to come back.
    let link = member.links(Family::V4).remove(0);
    node.exec(&["ping", "-n", "-c", "1", "-W", "2", "-I", &link.address, "10.120.201.33"]).map(drop)
}
