//! Nodes join the fabric: what every switch and every kernel holds of it, and packets across the racks.

use std::collections::BTreeSet;
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail, ensure};
use petiole_labtests::fabric::{self, Blocks, FAMILIES, Family, LEAVES, MEMBERS, Member, Pod, Role, SPINES};
use petiole_labtests::procs::Identity;
use petiole_labtests::{Lab, eventually};
use serde_json::Value;

/// From the agents' start until the whole fabric knows them.
const JOIN: Duration = Duration::from_secs(30);
/// For what follows from that by itself.
const SOON: Duration = Duration::from_secs(10);

#[test]
fn nodes_join_the_fabric() -> Result<()> {
    if !rustix::process::geteuid().is_root() {
        println!("not checked: nodes_join_the_fabric: needs root");
        return Ok(());
    }
    let lab = fabric::clos("joins")?;
    let started = first_agent(&lab)?;
    let blocks = fabric::wait_settled(&lab, JOIN)?;
    let joined = uptime()? - started;
    println!("figure: every switch has everything {joined:.2} s after the agents' start");
    ensure!(joined <= JOIN.as_secs_f64(), "{joined:.2} s from the agents' start");

    the_blocks_are_blocks_of_the_pools(&blocks)?;
    nobody_tells_what_is_not_its_own(&lab, &blocks)?;
    every_worker_reaches_every_block(&lab, &blocks)?;
    nothing_but_the_plan_is_on_lo(&lab)?;
    pods_reach_each_other_at_full_size(&lab, &blocks)?;
    lab.down()
}

/// Seconds since boot.
fn uptime() -> Result<f64> {
    let text = std::fs::read_to_string("/proc/uptime")?;
    text.split(' ').next().and_then(|first| first.parse().ok()).ok_or_else(|| anyhow!("/proc/uptime: {text}"))
}

/// When the first agent was started, in seconds since boot, from the kernel's own record of the process.
fn first_agent(lab: &Lab) -> Result<f64> {
    let mut first = f64::MAX;
    for agent in fabric::AGENTS {
        let node = lab.node(agent)?;
        let identity = eventually(SOON, &format!("{agent} has an agent"), || {
            node.service("agent").and_then(Identity::of).ok_or_else(|| node.console())
        })?;
        // USER_HZ is 100 on every architecture that matters here.
        first = first.min(f64::from(u32::try_from(identity.start)?) / 100.0);
    }
    Ok(first)
}

/// /26 and /122 of the two pools, one of each for every worker, none twice.
fn the_blocks_are_blocks_of_the_pools(blocks: &Blocks) -> Result<()> {
    let workers: BTreeSet<&str> = fabric::members(Role::Worker).map(|member| member.name).collect();
    ensure!(blocks.keys().map(String::as_str).collect::<BTreeSet<_>>() == workers, "{blocks:?}");
    let mut seen = BTreeSet::new();
    for (worker, own) in blocks {
        ensure!(own.len() == 2, "{worker} has {own:?}");
        for block in own {
            ensure!(seen.insert(block), "{block} has two owners: {blocks:?}");
            let (pool, len) = match Family::of(block) {
                Family::V4 => ("10.123.", "/26"),
                Family::V6 => ("fd00:123:8000::", "/122"),
            };
            ensure!(block.starts_with(pool) && block.ends_with(len), "{worker} has {block}");
        }
    }
    Ok(())
}

/// What each leaf received from each node, before the leaf's choice, is what etcd and the plan say, to the prefix: so no
/// worker sends anything longer than its blocks but its own host route, and no node is a transit.
fn nobody_tells_what_is_not_its_own(lab: &Lab, blocks: &Blocks) -> Result<()> {
    for member in &MEMBERS {
        for family in FAMILIES {
            for link in member.links(family) {
                let told = fabric::told(&lab.node(link.leaf)?, member, family)?;
                let owns = member.owns(family, blocks);
                let prefixes: BTreeSet<String> = told.keys().cloned().collect();
                ensure!(prefixes == owns, "{} tells {} of {prefixes:?}, but owns {owns:?}", member.name, link.leaf);
                let strange: Vec<_> = told.iter().filter(|(_, hop)| **hop != link.address).collect();
                ensure!(
                    strange.is_empty(),
                    "{} to {}: next hop is not its link's: {strange:?}",
                    member.name,
                    link.leaf
                );
            }
        }
    }
    Ok(())
}

/// The kernel of every node has what the others announce, by the uplinks with the shortest path, from its own address, and
/// its own block as a blackhole.
fn every_worker_reaches_every_block(lab: &Lab, blocks: &Blocks) -> Result<()> {
    for member in &MEMBERS {
        let node = lab.node(member.name)?;
        for family in FAMILIES {
            let what = format!("{}: the kernel has what the fabric announces", member.name);
            eventually(SOON, &what, || {
                let routes = node.ip_json(&[family.ip(), "-details", "route", "show", "table", "main"])?;
                let routes = routes.as_array().cloned().unwrap_or_default();
                let owners = fabric::owners(family, blocks);
                owners.iter().try_for_each(|(prefix, owners)| in_kernel(&routes, member, family, prefix, owners))
            })?;
        }
    }
    Ok(())
}

fn in_kernel(routes: &[Value], member: &Member, family: Family, prefix: &str, owners: &[&Member]) -> Result<()> {
    // A host route is shown without its length.
    let shown = prefix.strip_suffix(family.pick("/32", "/128")).unwrap_or(prefix);
    let found: Vec<&Value> = routes.iter().filter(|route| route["dst"] == shown).collect();
    if owners.contains(&member) && !is_block(prefix) {
        // An own address or range is in the table local; IPv6 has a route of the kernel's for an address here, too.
        let by_kernel = found.iter().all(|route| route["protocol"] == "kernel" && route["dev"] == "lo");
        ensure!(by_kernel, "its own {prefix}: {found:?}");
        return Ok(());
    }
    let [route] = found.as_slice() else { bail!("{prefix}: {found:?}") };
    ensure!(route["protocol"] == "179", "{route}");
    if owners.contains(&member) {
        ensure!(route["type"] == "blackhole", "{route}");
        return Ok(());
    }
    ensure!(route["type"] == "unicast", "{route}");
    ensure!(route["prefsrc"] == member.address(family).as_str(), "{route}");
    let gateways = fabric::gateways_of(route);
    let expected = member.gateways_to(owners, family);
    ensure!(gateways == expected, "{prefix}: {gateways:?}, not {expected:?}: {route}");
    Ok(())
}

fn is_block(prefix: &str) -> bool {
    prefix.ends_with("/26") || prefix.ends_with("/122")
}

/// The node's own addresses, the anycast address of a master so that it never is a source, and no address of a range.
fn nothing_but_the_plan_is_on_lo(lab: &Lab) -> Result<()> {
    for member in &MEMBERS {
        let links = lab.node(member.name)?.ip_json(&["address", "show", "dev", "lo"])?;
        let addresses = links[0]["addr_info"].as_array().cloned().unwrap_or_default();
        let mut found = BTreeSet::new();
        for address in &addresses {
            let prefix = format!("{}/{}", address["local"].as_str().unwrap_or_default(), address["prefixlen"]);
            if FAMILIES.into_iter().any(|family| fabric::anycast(family) == prefix) {
                let passed_by = address["scope"] == "link" || address["deprecated"] == true;
                ensure!(passed_by, "{}: {address} can be a source", member.name);
            }
            found.insert(prefix);
        }
        let mut expected = BTreeSet::from(["127.0.0.1/8".to_owned(), "::1/128".to_owned()]);
        for family in FAMILIES {
            expected.insert(member.host(family));
            if member.role == Role::Master {
                expected.insert(fabric::anycast(family).to_owned());
            }
        }
        ensure!(found == expected, "{}: {found:?}, not {expected:?}", member.name);
    }
    Ok(())
}

/// 1500 bytes with DF: between every two pods, from a plain host to every pod, and between own addresses.
fn pods_reach_each_other_at_full_size(lab: &Lab, blocks: &Blocks) -> Result<()> {
    let mut pods = Vec::new();
    for member in fabric::members(Role::Worker) {
        let pod = Pod::wire(&lab.node(member.name)?, "pod0")?;
        for family in FAMILIES {
            // Inside one of the worker's blocks: the kernel's own arithmetic says so.
            let block = blocks[member.name].iter().find(|block| Family::of(block) == family);
            let block = block.with_context(|| format!("{}: no {family:?} block", member.name))?;
            let covering = ["route", "show", "table", "main", "match", pod.address(family)];
            let covering = pod.node().ip_json(&[&[family.ip()], &covering[..]].concat())?;
            let covering = covering.as_array().cloned().unwrap_or_default();
            ensure!(covering.iter().any(|route| route["dst"] == block.as_str()), "{covering:?}: not in {block}");
        }
        pods.push(pod);
    }
    let client1 = lab.node("client1")?;
    let pods = &pods;
    // One thread for each source; a first packet may have to wait for a neighbour's address.
    let from_pod = |source: usize| -> Result<()> {
        for (index, target) in pods.iter().enumerate().filter(|(index, _)| *index != source) {
            for family in FAMILIES {
                let ping = pods[source].ping(target.address(family), 1500, 3);
                ping.with_context(|| format!("pod {source} to pod {index}"))?;
            }
        }
        Ok(())
    };
    let from_pod = &from_pod;
    std::thread::scope(|scope| {
        let mut threads: Vec<_> = (0..pods.len()).map(|source| scope.spawn(move || from_pod(source))).collect();
        let client1 = &client1;
        threads.push(scope.spawn(move || {
            for pod in pods {
                for family in FAMILIES {
                    client1.ping(pod.address(family), 1500, 3)?;
                }
            }
            for member in &MEMBERS {
                for family in FAMILIES {
                    client1.ping(&member.address(family), 1500, 1)?;
                }
            }
            Ok(())
        }));
        let join = |thread: std::thread::ScopedJoinHandle<'_, Result<()>>| {
            thread.join().unwrap_or_else(|_| Err(anyhow!("a thread panicked")))
        };
        threads.into_iter().map(join).collect::<Result<Vec<()>>>()
    })?;
    // A packet of more than the fabric's size does not get through: the size above was the real one.
    ensure!(pods[0].ping(pods[1].address(Family::V4), 1501, 1).is_err(), "1501 bytes crossed links of 1500");
    // A free address of a block ends at its owner, it does not bounce between node and leaf.
    let mut of_worker2 = blocks["worker2"].iter().filter_map(|block| block.strip_suffix("/26"));
    let (net, first) = of_worker2.next().and_then(|block| block.rsplit_once('.')).context("worker2: no block")?;
    let free = format!("{net}.{}", first.parse::<u8>()? | 63);
    let said = client1.output(&["ping", "-n", "-c", "1", "-W", "1", &free])?;
    let said = String::from_utf8_lossy(&said.stdout).into_owned();
    ensure!(!said.contains("Time to live exceeded") && said.contains(" 0 received"), "{free}: {said}");
    Ok(())
}

/// The plan's own arithmetic, against paths written out by hand.
#[test]
fn the_plan_knows_every_switch() {
    for switch in SPINES.iter().chain(&LEAVES) {
        for member in &MEMBERS {
            let (paths, count) = fabric::positions(switch, &[member]);
            assert!(count >= 1 && paths.iter().all(|path| path.last() == Some(&member.asn())), "{switch} {paths:?}");
        }
    }
    let worker4 = Member::named("worker4").unwrap();
    let worker3 = Member::named("worker3").unwrap();
    assert_eq!(fabric::positions("leaf1", &[worker3]), (BTreeSet::from([vec![64_600, 65_003, 4_200_000_013]]), 2));
    assert_eq!(
        fabric::positions("spine2", &[worker4]),
        (BTreeSet::from([vec![65_003, 4_200_000_014], vec![65_004, 4_200_000_014]]), 2)
    );
    assert_eq!(fabric::positions("leaf3", &[worker4, worker3]).1, 2);
    assert_eq!(worker4.gateways_to(&[worker3], Family::V4), ["10.122.103.6"]);
    assert_eq!(
        worker4.gateways_to(&[Member::named("worker1").unwrap()], Family::V6),
        ["fd00:122:103:3::", "fd00:122:104::"]
    );
}
