//! BFD against real switches: two leaves of FRR, one of them unnumbered, and one of BIRD, all watched by one node.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use petiole_labtests::fabric::{self, Monitor};
use petiole_labtests::{Binaries, Lab, NodeHandle, Signal, Spawned, Topology, check, eventually, throughout};
use serde_json::Value;

/// From nothing to every session.
const JOIN: Duration = Duration::from_secs(40);
/// For what follows by itself.
const SOON: Duration = Duration::from_secs(15);
/// From a silent cut until nothing in the kernel leads to the leaf: 3 x 100 ms, and 50 ms for the rest.
const CUT: Duration = Duration::from_millis(350);
const CUTS: usize = 3;
/// Long enough for any of the leaf's timers to speak.
const QUIET: Duration = Duration::from_secs(5);

const LEAF2: &str = "fd00:122:102:2::";
/// Unnumbered.
const LEAF3: &str = "eth2";
const LEAF4: &str = "10.122.104.0";
const LEAF4_V6: &str = "fd00:122:104::";
/// What both FRR leaves announce.
const SHARED: [&str; 2] = ["10.120.201.0/24", "fd00:120:201::/48"];

struct Fabric {
    lab: Lab,
    worker: NodeHandle,
    leaf3: NodeHandle,
    leaf4: NodeHandle,
    _bird: Spawned,
}

#[test]
fn dead_ways_are_left_at_once_and_living_ones_are_not() -> Result<()> {
    if !rustix::process::geteuid().is_root() {
        println!("not checked: dead_ways_are_left_at_once_and_living_ones_are_not: needs root");
        return Ok(());
    }
    let fabric = up()?;
    everybody_is_up(&fabric)?;
    the_leaves_see_it_the_same_way(&fabric)?;
    packets_are_those_of_a_single_hop(&fabric)?;
    for _ in 0..CUTS {
        a_silent_cut_empties_the_way(&fabric)?;
    }
    admin_down_at_the_leaf_costs_nothing(&fabric)?;
    a_dead_daemon_keeps_a_strict_session_away(&fabric)?;
    a_restarted_agent_is_not_reset_again(&fabric)?;
    fabric.lab.down()
}

fn up() -> Result<Fabric> {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../containerlab/bfd.clab.yml");
    let binaries = Binaries::find()?;
    ensure!(binaries.agent.is_some(), "no agent: cargo build -p petiole, or set PETIOLE_BIN");
    let name = fabric::unique_name("bfd");
    let topology = Topology::load(&file, Some(&name), &|name| std::env::var(name).ok())?;
    let lab = Lab::up(&topology, &binaries)?;
    let [worker, leaf2, leaf3, leaf4] = ["worker4", "leaf2", "leaf3", "leaf4"].map(|name| lab.node(name));
    let bird = leaf2?.spawn(&["bird", "-f", "-c", "/etc/lab/bird.conf", "-s", "/run/bird.ctl"])?;
    Ok(Fabric { worker: worker?, leaf3: leaf3?, leaf4: leaf4?, lab, _bird: bird })
}

fn peer(worker: &NodeHandle, name: &str) -> Result<Value, String> {
    let peers = worker.petiole_json(&["bgp", "peers"]).map_err(|error| format!("{error:#}"))?;
    let mut all = peers.as_array().into_iter().flatten();
    all.find(|peer| peer["peer"] == name).cloned().ok_or_else(|| format!("no peer {name}: {peers}"))
}

/// Established, with BFD Up at the configured times.
fn is_watched(worker: &NodeHandle, name: &str) -> Result<(), String> {
    let peer = peer(worker, name)?;
    check(peer["state"] == "Established" && peer["bfd"]["state"] == "Up", &peer)?;
    let times = (&peer["bfd"]["transmit_interval_seconds"], &peer["bfd"]["detection_time_seconds"]);
    check(times.0 == 0.1 && times.1 == 0.3, &peer)
}

fn everybody_is_up(fabric: &Fabric) -> Result<()> {
    for name in [LEAF2, LEAF3, LEAF4] {
        eventually(JOIN, "watched", || is_watched(&fabric.worker, name))?;
    }
    for prefix in SHARED {
        eventually(SOON, "the load is shared over both leaves", || {
            let gateways = fabric::gateways(&fabric.worker, prefix).map_err(|error| format!("{error:#}"))?;
            check(gateways.len() == 2, format!("{gateways:?}"))
        })?;
    }
    Ok(())
}

/// What FRR's bfdd says of its session with the node.
fn bfdd(leaf: &NodeHandle) -> Result<Value, String> {
    let peers = leaf.vtysh_json("show bfd peers json").map_err(|error| format!("{error:#}"))?;
    peers.as_array().and_then(|all| all.first()).cloned().ok_or_else(|| format!("no session: {peers}"))
}

fn the_leaves_see_it_the_same_way(fabric: &Fabric) -> Result<()> {
    for leaf in [&fabric.leaf3, &fabric.leaf4] {
        let seen = eventually(SOON, "bfdd is Up", || {
            let seen = bfdd(leaf)?;
            check(seen["status"] == "up", &seen)?;
            Ok::<_, String>(seen)
        })?;
        for key in ["remote-receive-interval", "remote-transmit-interval"] {
            ensure!(seen[key] == 100, "{}: {key}: {seen}", leaf.name());
        }
        ensure!(seen["remote-detect-multiplier"] == 3, "{seen}");
        let echo = seen["remote-echo-receive-interval"].as_str().map(str::to_owned);
        ensure!(echo.is_none_or(|echo| echo == "disabled"), "our echo is refused: {seen}");
    }
    let sessions = fabric.lab.node("leaf2")?.exec(&["birdc", "-s", "/run/bird.ctl", "show", "bfd", "sessions"])?;
    let line = sessions.lines().find(|line| line.contains("fd00:122:102:2::1")).context(sessions.clone())?;
    ensure!(line.contains(" Up "), "{sessions}");
    // Interval and timeout, in seconds.
    ensure!(line.contains("0.100") && line.contains("0.300"), "{sessions}");
    Ok(())
}

/// RFC 5881 sections 4 and 5, and the class of our BGP, as another's dissector reads it.
fn packets_are_those_of_a_single_hop(fabric: &Fabric) -> Result<()> {
    let fields = ["ip.src", "ip.ttl", "ip.dsfield.dscp", "udp.srcport", "bfd.version", "bfd.sta", "bfd.flags.c"];
    let mut argv = vec!["tshark", "-i", "eth1", "-c", "20", "-f", "ip and udp port 3784", "-T", "fields"];
    argv.extend(fields.iter().flat_map(|field| ["-e", field]));
    let text = fabric.worker.exec(&argv)?;
    let ours: Vec<Vec<&str>> =
        text.lines().map(|line| line.split('\t').collect()).filter(|f: &Vec<&str>| f[0] == "10.122.104.1").collect();
    ensure!(ours.len() > 5, "{text}");
    for packet in &ours {
        ensure!(packet[1] == "255" && packet[2] == "48" && packet[4] == "1" && packet[5] == "0x03", "{packet:?}");
        ensure!(packet[3] == ours[0][3] && packet[3].parse::<u16>()? >= 49152, "{packet:?}");
        ensure!(["0", "False"].contains(&packet[6]), "{packet:?}");
    }
    Ok(())
}

/// Everything of the link is dropped in both directions, and nobody is told. Gives the times before and after, in seconds
/// since the Unix epoch: the cut is between them.
fn cut(leaf: &NodeHandle, interface: &str) -> Result<(f64, f64)> {
    let rules = format!(
        "table inet cut {{ chain in {{ type filter hook input priority 0; iifname \"{interface}\" drop; }}; \
         chain out {{ type filter hook output priority 0; oifname \"{interface}\" drop; }}; }}"
    );
    leaf.write("/run/cut.nft", &rules)?;
    let times = leaf.sh("date +%s.%N; nft -f /run/cut.nft; date +%s.%N")?;
    let mut times = times.lines().map(str::parse::<f64>);
    let (before, after) = (times.next().context("a time")??, times.next().context("a time")??);
    Ok((before, after))
}

fn a_silent_cut_empties_the_way(fabric: &Fabric) -> Result<()> {
    let Fabric { worker, leaf4, .. } = fabric;
    let monitor = Monitor::start(worker)?;
    let (before, after) = cut(leaf4, "eth3")?;
    for prefix in SHARED {
        eventually(SOON, "the way is left", || {
            let gateways = fabric::gateways(worker, prefix).map_err(|error| format!("{error:#}"))?;
            check(gateways.len() == 1, format!("{gateways:?}"))
        })?;
    }
    for family in ["-4", "-6"] {
        let routes = worker.ip_json(&[family, "route", "show", "proto", "179"])?.to_string();
        ensure!(!routes.contains(LEAF4) && !routes.contains(&format!("\"{LEAF4_V6}\"")), "{routes}");
    }
    let events = monitor.events()?;
    let last = events.iter().filter(|event| event.at >= before).map(|event| event.at).fold(before, f64::max);
    let (most, least) = (last - before, last - after);
    println!(
        "figure: {:.0} to {:.0} ms from a silent cut until no route of the node leads to the leaf",
        least * 1000.0,
        most * 1000.0
    );
    ensure!(least <= CUT.as_secs_f64(), "{events:#?}");
    let down = peer(worker, LEAF4).map_err(anyhow::Error::msg)?;
    ensure!(down["last_notification_sent"] == "cease: BFD down (6/10)", "{down}");
    ensure!(down["bfd"]["diagnostic"] == "control detection time expired", "{down}");
    is_watched(worker, LEAF3).map_err(anyhow::Error::msg)?;
    leaf4.exec(&["nft", "delete", "table", "inet", "cut"])?;
    everybody_is_up(fabric)
}

/// RFC 5882 section 3.2.
fn admin_down_at_the_leaf_costs_nothing(fabric: &Fabric) -> Result<()> {
    let Fabric { worker, leaf4, .. } = fabric;
    let ups = |peer: &Value| peer["established_count"].as_u64();
    let before = ups(&peer(worker, LEAF4).map_err(anyhow::Error::msg)?);
    leaf4.vtysh_configure(&["bfd", "profile nodes", "shutdown"])?;
    eventually(SOON, "the node hears of it", || {
        let peer = peer(worker, LEAF4)?;
        check(peer["bfd"]["remote_state"] == "AdminDown", &peer)
    })?;
    throughout(QUIET, "the BGP session stays", || {
        let peer = peer(worker, LEAF4)?;
        check(peer["state"] == "Established" && ups(&peer) == before, &peer)
    })?;
    leaf4.vtysh_configure(&["bfd", "profile nodes", "no shutdown"])?;
    eventually(SOON, "watched again", || is_watched(worker, LEAF4))?;
    ensure!(ups(&peer(worker, LEAF4).map_err(anyhow::Error::msg)?) == before, "the session was reset");
    Ok(())
}

fn a_dead_daemon_keeps_a_strict_session_away(fabric: &Fabric) -> Result<()> {
    let Fabric { worker, leaf4, .. } = fabric;
    leaf4.stop("bfdd", Signal::KILL)?;
    eventually(SOON, "the session goes with BFD", || {
        let peer = peer(worker, LEAF4)?;
        check(peer["state"] == "Idle", &peer)
    })?;
    throughout(QUIET, "it does not come back without", || {
        let peer = peer(worker, LEAF4)?;
        check(peer["state"] == "Idle", &peer)
    })?;
    leaf4.start("bfdd")?;
    eventually(JOIN, "it comes back with BFD", || is_watched(worker, LEAF4))
}

/// BFD goes down and up at the leaf before BGP is back: a leaf that hears of it later resets the fresh session.
fn a_restarted_agent_is_not_reset_again(fabric: &Fabric) -> Result<()> {
    let Fabric { worker, leaf4, .. } = fabric;
    for signal in [Signal::KILL, Signal::TERM] {
        worker.stop("agent", signal)?;
        worker.start("agent")?;
        eventually(JOIN, "the agent answers", || worker.petiole_json(&["status"]).map(drop))?;
        everybody_is_up(fabric)?;
        throughout(QUIET, "no session is reset", || {
            for name in [LEAF2, LEAF4] {
                let peer = peer(worker, name)?;
                check(peer["established_count"] == 1 && peer["state"] == "Established", &peer)?;
            }
            Ok::<(), String>(())
        })?;
        let seen = bfdd(leaf4).map_err(anyhow::Error::msg)?;
        ensure!(seen["status"] == "up", "{seen}");
        // FRR 8.4 has no BFD session on an unnumbered link before BGP is up there, and may take its first state for a failure:
        // that session may come up twice.
        eventually(JOIN, "the unnumbered session is watched again", || is_watched(worker, LEAF3))?;
    }
    Ok(())
}
