//! `deploy/systemd/petiole.service` under a real systemd, on a master and an ingress node of the fabric: nothing is lost
//! when it restarts, hangs or is killed, an operator's stop stays, and a reboot withdraws first and announces again soon.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, ensure};
use petiole_labtests::fabric::{self, FAMILIES, Family, Member, Monitor, Role, Stream};
use petiole_labtests::systemd::Machine;
use petiole_labtests::{Binaries, Lab, NodeHandle, check, eventually, throughout};

const SETTLE: Duration = Duration::from_secs(60);
/// Until a leaf says what it should after a change of the node's; the health check alone needs 2 probes, a second apart.
const TOLD: Duration = Duration::from_secs(15);
/// The unit's watchdog, its restarting, and its back-off, on a machine that is busy.
const REVIVED: Duration = Duration::from_secs(30);
/// From PID 1's start on a machine that had lost everything to the leaf's table.
const REBOOT: Duration = Duration::from_secs(5);

/// What runs from the unit here, what it is for, and who in its rack uses that.
struct Place {
    name: &'static str,
    user: &'static str,
    /// What it announces for its role.
    announced: fn(Family) -> &'static str,
    /// An address of that.
    served: [&'static str; 2],
}

const PLACES: [Place; 2] = [
    Place {
        name: "master2",
        user: "worker2",
        announced: fabric::anycast,
        served: ["10.122.255.1", "fd00:122:ffff::1"],
    },
    Place { name: "ingress1", user: "worker3", announced: fabric::services, served: ["10.123.79.211", "fd00:123::79"] },
];

#[test]
fn the_unit_keeps_a_node_on_the_fabric() -> Result<()> {
    if !rustix::process::geteuid().is_root() {
        println!("not checked: the_unit_keeps_a_node_on_the_fabric: needs root");
        return Ok(());
    }
    let binaries = Binaries::find()?;
    let lab = fabric::clos("systemd")?;
    fabric::wait_settled(&lab, SETTLE)?;
    std::thread::scope(|scope| {
        let (lab, binaries) = (&lab, &binaries);
        let threads = PLACES.map(|place| scope.spawn(move || one(lab, binaries, &place).context(place.name)));
        let join = |thread: std::thread::ScopedJoinHandle<'_, Result<()>>| {
            thread.join().unwrap_or_else(|_| Err(anyhow!("a thread panicked")))
        };
        threads.into_iter().map(join).collect::<Result<Vec<()>>>()
    })?;
    lab.down()
}

fn one(lab: &Lab, binaries: &Binaries, place: &Place) -> Result<()> {
    let node = lab.node(place.name)?;
    node.exec(&["petiole", "stop"])?;
    wait_told(lab, place, false, TOLD)?;
    let mut machine = Machine::new(&node, binaries)?;
    machine.power_on()?;
    machine.wait_running()?;
    wait_told(lab, place, true, TOLD)?;
    let played = all_of_it(lab, place, &mut machine);
    played.with_context(|| machine.journal().unwrap_or_else(|error| format!("{error:#}")))
}

fn all_of_it(lab: &Lab, place: &Place, machine: &mut Machine) -> Result<()> {
    it_has_the_rights_it_needs_and_no_more(machine)?;
    nothing_is_lost(lab, place, machine, "SIGSTOP of the loop", |machine| signal(machine, "STOP"))?;
    nothing_is_lost(lab, place, machine, "SIGKILL", |machine| signal(machine, "KILL"))?;
    nothing_is_lost(lab, place, machine, "systemctl restart", |machine| {
        machine.exec(&["systemctl", "restart", "petiole"]).map(drop)
    })?;
    let journal = machine.journal()?;
    ensure!(journal.contains("Watchdog timeout"), "the watchdog saw nothing:\n{journal}");
    an_operators_stop_stays(lab, place, machine)?;
    a_reboot(lab, place, machine)
}

fn signal(machine: &Machine, name: &str) -> Result<()> {
    machine.exec(&["systemctl", "kill", "--kill-whom=main", "--signal", name, "petiole"]).map(drop)
}

/// Waits until the node's leaf has, or has no more, what the place announces, by the node's own link.
fn wait_told(lab: &Lab, place: &Place, told: bool, within: Duration) -> Result<()> {
    let member = Member::named(place.name).context(place.name)?;
    let link = member.links(Family::V4).remove(0);
    let leaf = lab.node(link.leaf)?;
    for family in FAMILIES {
        let prefix = (place.announced)(family);
        eventually(within, &format!("{} is told {prefix}: {told}", link.leaf), || {
            let paths = fabric::paths(&leaf, prefix)?;
            let own = paths.iter().any(|path| path.peer == link.address && path.used);
            check(own == told, format!("{paths:?}")).map_err(anyhow::Error::msg)
        })?;
    }
    Ok(())
}

fn it_has_the_rights_it_needs_and_no_more(machine: &Machine) -> Result<()> {
    let pid = machine.property("MainPID")?;
    let status = machine.exec(&["cat", &format!("/proc/{pid}/status")])?;
    let field = |name: &str| status.lines().find_map(|line| line.strip_prefix(name)).unwrap_or_default().trim();
    // linux/capability.h: 10 is NET_BIND_SERVICE, 12 NET_ADMIN, 13 NET_RAW, 23 SYS_NICE.
    let rights = 1_u64 << 10 | 1 << 12 | 1 << 13 | 1 << 23;
    for set in ["CapEff:", "CapPrm:", "CapBnd:"] {
        ensure!(u64::from_str_radix(field(set), 16) == Ok(rights), "{set} {}", field(set));
    }
    ensure!(field("NoNewPrivs:") == "1" && field("Seccomp:") == "2", "{status}");
    // A master that went off the fabric takes its member of etcd with it, which needs a moment to come back.
    eventually(TOLD, "nothing is missing", || {
        let status = machine.exec(&["petiole", "status", "-o", "json"])?;
        let status: serde_json::Value = serde_json::from_str(&status)?;
        ensure!(status["problems"].as_array().is_some_and(Vec::is_empty), "{}", status["problems"]);
        Ok(())
    })
}

/// Streams to what the node serves, from its rack and from far away, while something happens to its agent.
fn nothing_is_lost(
    lab: &Lab,
    place: &Place,
    machine: &Machine,
    what: &str,
    happens: impl Fn(&Machine) -> Result<()>,
) -> Result<()> {
    let member = Member::named(place.name).context(place.name)?;
    let leaf = lab.node(member.links(Family::V4).remove(0).leaf)?;
    let user = Member::named(place.user).context(place.user)?;
    let (near, far) = (lab.node(place.user)?, lab.node("client1")?);
    let monitor = Monitor::start(&leaf)?;
    let mut streams = Vec::new();
    for (family, served) in FAMILIES.into_iter().zip(place.served) {
        let estate = family.pick("10.120.201.10", "fd00:120:201:1::10");
        streams.push(Stream::start(&near, &user.address(family), served)?);
        streams.push(Stream::start(&far, estate, &member.address(family))?);
    }
    let (pid, began) = (machine.property("MainPID")?, Instant::now());
    happens(machine)?;
    eventually(REVIVED, &format!("{what}: another agent is up"), || -> Result<()> {
        let (now, state) = (machine.property("MainPID")?, machine.property("ActiveState")?);
        ensure!(now != pid && state == "active", "{state}, process {now}");
        Ok(())
    })?;
    let revived = began.elapsed();
    // The new agent's session, and what the leaf makes of it, are part of the story.
    eventually(REVIVED, &format!("{what}: the leaf hears the new agent"), || {
        let peers = machine.exec(&["petiole", "bgp", "peers", "-o", "json"])?;
        let peers: serde_json::Value = serde_json::from_str(&peers)?;
        ensure!(peers[0]["state"] == "Established", "{peers}");
        Ok::<(), anyhow::Error>(())
    })?;
    fabric::wait_established(&leaf, &[place.name], REVIVED)?;
    wait_told(lab, place, true, TOLD)?;
    throughout(Duration::from_secs(3), "the leaf keeps what it was told", || {
        wait_told(lab, place, true, Duration::ZERO).map_err(|error| format!("{error:#}"))
    })?;
    for stream in streams {
        let name = stream.name.clone();
        let loss = stream.end()?;
        ensure!(loss.sent > 200 && loss.lost == 0, "{what}: {name}: {loss:?}");
    }
    // Meanwhile the other place goes and comes.
    let own: Vec<String> = FAMILIES
        .into_iter()
        .flat_map(|family| [(place.announced)(family).to_owned(), member.host(family)])
        .map(|prefix| format!("{} ", prefix.trim_end_matches("/32").trim_end_matches("/128")))
        .collect();
    let mut gone = monitor.deletions()?;
    gone.retain(|what| own.iter().any(|prefix| what.starts_with(prefix)));
    ensure!(gone.is_empty(), "{what}: {} deleted {gone:?}", leaf.name());
    println!("figure: {}: {what}: another agent after {revived:.2?}, nothing lost in 4 streams", place.name);
    Ok(())
}

fn an_operators_stop_stays(lab: &Lab, place: &Place, machine: &Machine) -> Result<()> {
    machine.exec(&["petiole", "stop", "--message", "the lab's operator"])?;
    wait_told(lab, place, false, TOLD)?;
    eventually(TOLD, "the unit is stopped", || {
        let state = machine.property("ActiveState")?;
        ensure!(state == "inactive", "{state}");
        Ok::<(), anyhow::Error>(())
    })?;
    throughout(Duration::from_secs(3), "it stays stopped", || {
        let state = machine.property("ActiveState").map_err(|error| format!("{error:#}"))?;
        check(state == "inactive", state)
    })?;
    machine.exec(&["systemctl", "start", "petiole"])?;
    wait_told(lab, place, true, TOLD)
}

/// Off and on again, with nothing left in the kernel, as after a real one.
fn a_reboot(lab: &Lab, place: &Place, machine: &mut Machine) -> Result<()> {
    let node = lab.node(place.name)?;
    machine.power_off()?;
    // It said so: a leaf that was only left would keep the routes for restart_time.
    wait_told(lab, place, false, Duration::from_secs(1))?;
    forget(&node, place)?;
    let start = Instant::now();
    machine.power_on()?;
    wait_told(lab, place, true, SETTLE)?;
    let took = start.elapsed();
    println!("figure: {}: announced again {took:.2?} after PID 1 was started", place.name);
    ensure!(took <= REBOOT, "{took:?}");
    machine.wait_running()
}

/// A kernel that has just started: what provisioning gives it, and nothing of the agent's.
fn forget(node: &NodeHandle, place: &Place) -> Result<()> {
    let member = Member::named(place.name).context(place.name)?;
    ensure!(member.role != Role::Worker, "a worker has pods");
    for interface in ["eth1", "lo"] {
        node.exec(&["ip", "link", "set", interface, "down"])?;
        for family in FAMILIES {
            node.exec(&["ip", family.ip(), "address", "flush", "dev", interface])?;
        }
    }
    node.sh("ip route flush table all proto 179; ip -6 route flush table all proto 179; true")?;
    for interface in ["lo", "eth1"] {
        node.exec(&["ip", "link", "set", interface, "up"])?;
    }
    node.sh("ip address add 127.0.0.1/8 dev lo; ip -6 address add ::1/128 dev lo; ip -force -batch /etc/lab/network 2>/dev/null; true")?;
    Ok(())
}
