//! One address on three masters, and a worker with two leaves: traffic goes where somebody answers.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, ensure};
use petiole_labtests::fabric::{
    self, FAMILIES, Family, LEAVES, MEMBERS, Member, Monitor, Role, SPINES, Stream, Uplink,
};
use petiole_labtests::{Lab, NodeHandle, check, eventually};

const SETTLE: Duration = Duration::from_secs(60);
/// What the masters' configuration says of their health checks.
const INTERVAL: f64 = 1.0;
const RISE: f64 = 2.0;
const FALL: f64 = 3.0;
/// From a gate's verdict to the leaf's forwarding table, at most.
const REACTION: f64 = 0.2;
/// A session comes back within this after its link.
const ESTABLISHED: Duration = Duration::from_secs(2);
/// A link's loss is made good within this where the link itself goes down.
const SWITCH_OVER: Duration = Duration::from_millis(500);

#[test]
fn traffic_goes_where_somebody_answers() -> Result<()> {
    if !rustix::process::geteuid().is_root() {
        println!("not checked: traffic_goes_where_somebody_answers: needs root");
        return Ok(());
    }
    let lab = fabric::clos("anycast")?;
    fabric::wait_settled(&lab, SETTLE)?;
    spines_share_the_load_over_three_racks(&lab)?;
    a_sick_master_is_left_out_and_comes_back(&lab)?;
    // One leaf is lost at the leaf's end, the other at the node's.
    a_worker_goes_on_with_one_leaf(&lab, "eth1", End::Leaf)?;
    a_worker_goes_on_with_one_leaf(&lab, "eth2", End::Node)?;
    lab.down()
}

fn masters(names: &[&str]) -> Vec<&'static Member> {
    fabric::members(Role::Master).filter(|member| names.contains(&member.name)).collect()
}

fn spines_share_the_load_over_three_racks(lab: &Lab) -> Result<()> {
    for spine in SPINES {
        let number = spine.trim_start_matches("spine");
        for family in FAMILIES {
            let anycast = fabric::anycast(family);
            let paths = fabric::paths(&lab.node(spine)?, anycast)?;
            let found: Vec<&[u32]> =
                paths.iter().filter(|path| path.used).map(|path| path.as_path.as_slice()).collect();
            let three: [&[u32]; 3] = [&[65_001, 4_200_000_001], &[65_002, 4_200_000_002], &[65_003, 4_200_000_003]];
            ensure!(found == three, "{spine}: {paths:?}");
            // Not only on paper: the spine's kernel has three ways. FRR takes the link-local of two IPv6 next hops.
            let gateways = fabric::gateways(&lab.node(spine)?, anycast)?;
            ensure!(gateways.len() == 3, "{spine}: {anycast} by {gateways:?}");
            if family == Family::V4 {
                let leaves = [1, 2, 3].map(|leaf| format!("10.121.{number}.{}", 2 * leaf + 1));
                ensure!(gateways == leaves, "{spine}: {anycast} by {gateways:?}");
            }
        }
    }
    Ok(())
}

/// When leaf2's kernel first had a route for the address that satisfies this, after an instant.
fn moved(monitor: &Monitor, after: f64, family: Family, by_master2: bool) -> Result<f64> {
    let address = fabric::anycast(family).split('/').next().unwrap_or_default();
    let link = Member::named("master2").context("master2")?.links(family).remove(0);
    let events = monitor.events()?;
    let found = events.iter().find(|event| {
        let here = event.what.contains(&format!(" {} ", link.leaf_interface.as_str()));
        event.at > after && !event.deleted && event.what.starts_with(&format!("{address} ")) && here == by_master2
    });
    Ok(found.ok_or_else(|| anyhow!("leaf2: {address} never moved; {events:?}"))?.at - after)
}

fn a_sick_master_is_left_out_and_comes_back(lab: &Lab) -> Result<()> {
    let (master2, leaf2) = (lab.node("master2")?, lab.node("leaf2")?);
    let monitor = Monitor::start(&leaf2)?;
    let others = [Monitor::start(&lab.node("leaf1")?)?, Monitor::start(&lab.node("leaf3")?)?];
    // worker2 is in master2's rack.
    let mut streams = Vec::new();
    for (from, own) in [("worker2", "worker2"), ("worker1", "worker1")] {
        for family in FAMILIES {
            let source = Member::named(own).context(own)?.address(family);
            let address = fabric::anycast(family).split('/').next().unwrap_or_default();
            streams.push(Stream::start(&lab.node(from)?, &source, address)?);
        }
    }

    master2.health(false)?;
    // The endpoint answers by a file; the kernel knows when that went.
    let off = fabric::changed(&master2, "/run")?;
    let rest = masters(&["master1", "master3"]);
    wait_owners(lab, &rest, Duration::from_secs(10))?;
    for family in FAMILIES {
        let after = moved(&monitor, off, family, false)?;
        println!("figure: {family:?} anycast path gone from leaf2 {after:.3} s after the endpoint was off");
        ensure!(after <= INTERVAL * FALL + REACTION, "{family:?}: {after:.3} s");
        ensure!(after >= INTERVAL * (FALL - 1.0), "{family:?}: no {FALL} probes can have failed within {after:.3} s");
    }
    // The gate is about telling others: the address itself stays.
    let own = master2.ip_json(&["address", "show", "dev", "lo", "to", fabric::anycast(Family::V4)])?;
    ensure!(own.as_array().is_some_and(|links| links.iter().any(|link| link["ifname"] == "lo")), "{own}");

    master2.health(true)?;
    let on = fabric::changed(&master2, "/run")?;
    wait_owners(lab, &masters(&["master1", "master2", "master3"]), Duration::from_secs(10))?;
    for family in FAMILIES {
        let after = moved(&monitor, on, family, true)?;
        println!("figure: {family:?} anycast path back on leaf2 {after:.3} s after the endpoint was on");
        ensure!(after <= INTERVAL * RISE + REACTION, "{family:?}: {after:.3} s");
    }
    for (leaf, monitor) in ["leaf1", "leaf3"].iter().zip(&others) {
        let gone = monitor.deletions()?;
        ensure!(gone.is_empty(), "{leaf} lost something: {gone:?}");
    }
    for stream in streams {
        let name = stream.name.clone();
        let loss = stream.end()?;
        // A leaf may turn to the spines some milliseconds before they turn from it; master2 itself answers all the time.
        ensure!(loss.sent > 100 && loss.outage() <= SWITCH_OVER, "{name}: {loss:?}");
        println!("figure: {name}: {loss:?} over master2's going and coming");
    }
    Ok(())
}

/// Waits until every switch has the anycast addresses from these and nobody else.
fn wait_owners(lab: &Lab, owners: &[&Member], within: Duration) -> Result<()> {
    for switch in LEAVES.iter().chain(&SPINES) {
        let switch = lab.node(switch)?;
        for family in FAMILIES {
            let what = format!("{} has {} from {} masters", switch.name(), fabric::anycast(family), owners.len());
            eventually(within, &what, || fabric::check_owners(&switch, fabric::anycast(family), owners))?;
        }
    }
    Ok(())
}

/// Where a link is taken down.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    Leaf,
    Node,
}

/// Kernel routes of worker4 to what it reaches by either leaf have these gateways.
fn wait_gateways(
    worker4: &NodeHandle,
    links: &[Vec<Uplink>; 2],
    without: Option<&str>,
    within: Duration,
) -> Result<()> {
    let member = Member::named("worker1").context("worker1")?;
    for (family, links) in FAMILIES.into_iter().zip(links) {
        let kept = links.iter().filter(|link| Some(link.interface.as_str()) != without);
        let mut expected: Vec<&str> = kept.map(|link| link.gateway.as_str()).collect();
        expected.sort_unstable();
        for prefix in [member.host(family), fabric::services(family).to_owned()] {
            eventually(within, &format!("worker4 reaches {prefix} by {expected:?}"), || {
                let found = fabric::gateways(worker4, &prefix)?;
                ensure!(found == expected, "{found:?}");
                Ok(())
            })?;
        }
    }
    Ok(())
}

fn a_worker_goes_on_with_one_leaf(lab: &Lab, interface: &str, end: End) -> Result<()> {
    let (member, worker4) = (Member::named("worker4").context("worker4")?, lab.node("worker4")?);
    let links = FAMILIES.map(|family| member.links(family));
    let cut = links[0].iter().find(|link| link.interface == interface).context("no such uplink")?.clone();
    let leaf = lab.node(cut.leaf)?;
    wait_gateways(&worker4, &links, None, Duration::from_secs(5))?;

    // To enough addresses that both uplinks are used, there and back.
    let mut streams = Vec::new();
    for family in FAMILIES {
        for far in MEMBERS.iter().filter(|far| far.leaves().all(|leaf| leaf < 3)) {
            let link = far.links(family).remove(0).address;
            for address in [far.address(family), link] {
                streams.push(Stream::start(&worker4, &member.address(family), &address)?);
            }
        }
    }
    let crossing = || -> Result<u64> {
        let stats = worker4.ip_json(&["-statistics", "link", "show", "dev", interface])?;
        stats[0]["stats64"]["tx"]["packets"].as_u64().with_context(|| format!("{stats}"))
    };
    let before = crossing()?;
    eventually(Duration::from_secs(5), "the streams use the link that will go", || {
        let after = crossing()?;
        ensure!(after > before + 100, "{} packets", after - before);
        Ok(())
    })?;

    let set = |up: bool| match end {
        End::Leaf if up => leaf.link_up(&cut.leaf_interface),
        End::Leaf => leaf.link_down(&cut.leaf_interface),
        End::Node if up => worker4.link_up(interface),
        End::Node => worker4.link_down(interface),
    };
    set(false)?;
    wait_gateways(&worker4, &links, Some(interface), Duration::from_secs(5))?;
    eventually(Duration::from_secs(5), "the leaf has worker4 from elsewhere", || {
        let path = fabric::paths(&leaf, &member.host(Family::V4))?;
        ensure!(path.iter().any(|path| path.used && path.as_path.len() == 3), "{path:?}");
        Ok(())
    })?;
    let mut worst = Duration::ZERO;
    for stream in streams {
        let name = stream.name.clone();
        let outage = stream.end()?.outage();
        worst = worst.max(outage);
        ensure!(outage <= SWITCH_OVER, "{name}: {outage:?} without {interface}, taken down at the {end:?}'s end");
    }
    println!("figure: {interface} down at the {end:?}'s end: {worst:?} of loss in the worst of the streams");

    // With one leaf nothing is lost, in both directions, and on the way back to two neither, but for the switch-over.
    let client1 = lab.node("client1")?;
    for family in FAMILIES {
        client1.ping(&member.address(family), 1500, 20)?;
    }
    let mut streams = Vec::new();
    for (source, address) in
        [("10.120.201.10", member.address(Family::V4)), ("fd00:120:201:1::10", member.address(Family::V6))]
    {
        streams.push(Stream::start(&client1, source, &address)?);
    }
    let start = Instant::now();
    set(true)?;
    fabric::wait_established(&leaf, &["worker4"], ESTABLISHED)?;
    let took = start.elapsed();
    println!("figure: {interface} up again at the {end:?}'s end: Established {took:.2?} later");
    ensure!(took <= ESTABLISHED, "{took:?}");
    wait_gateways(&worker4, &links, None, Duration::from_secs(5))?;
    eventually(Duration::from_secs(5), "the leaf has worker4 by its own link", || {
        let owners = [member];
        FAMILIES.into_iter().try_for_each(|family| fabric::check_owners(&leaf, &member.host(family), &owners))
    })?;
    for stream in streams {
        let name = stream.name.clone();
        let loss = stream.end()?;
        check(loss.outage() <= SWITCH_OVER, format!("{name}: {loss:?}")).map_err(|wrong| anyhow!(wrong))?;
        println!("figure: {name}: {loss:?} over the way back to two leaves");
    }
    Ok(())
}
