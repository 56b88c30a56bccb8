//! The reference fabric without any agent: real switches, real etcd, plain hosts.

use std::time::Duration;

use petiole_labtests::{Binaries, check, eventually, fabric};

#[test]
fn the_fabric_comes_up_without_agents() -> anyhow::Result<()> {
    if !rustix::process::geteuid().is_root() {
        println!("not checked: the_fabric_comes_up_without_agents: needs root");
        return Ok(());
    }
    let binaries = Binaries { agent: None, ..Binaries::find()? };
    let lab = fabric::clos_with("switches", &binaries)?;
    fabric::wait_switches(&lab, Duration::from_secs(60))?;
    let within = Duration::from_secs(20);

    let (client1, kafka1) = (lab.node("client1")?, lab.node("kafka1")?);
    for (from, address) in [(&client1, "10.120.201.33"), (&kafka1, "fd00:120:201:1::10")] {
        let ping = || from.ping(address, 1500, 3).map_err(|error| format!("{error:#}"));
        eventually(within, "the estate's hosts reach each other at full size", ping)?;
    }
    // The other rack's estate by both spines, both families.
    let leaf1 = lab.node("leaf1")?;
    for prefix in ["10.120.201.32/27", "fd00:120:201:4::/64"] {
        eventually(within, "leaf1 shares the load over both spines", || {
            let paths = fabric::paths(&leaf1, prefix).map_err(|error| format!("{error:#}"))?;
            let used = paths.iter().filter(|path| path.used && path.as_path == [64600, 65004]).count();
            check(used == 2, format!("{paths:?}"))?;
            let gateways = fabric::gateways(&leaf1, prefix).map_err(|error| format!("{error:#}"))?;
            check(gateways.len() == 2, format!("{gateways:?}"))
        })?;
    }
    // A link address is reachable everywhere, and that is all that is known of a node without its agent.
    // It is the second one of worker4, whose answers leave by the first: the agent would have loosened its filter of sources.
    lab.node("worker4")?.exec(&["sysctl", "-qw", "net.ipv4.conf.all.rp_filter=2"])?;
    for address in ["10.122.103.7", "fd00:122:103:3::1"] {
        client1.ping(address, 1500, 1)?;
    }
    let known = fabric::prefixes(&leaf1, "ipv4")?;
    assert!(known.iter().all(|prefix| !prefix.starts_with("10.122.0.") && !prefix.starts_with("10.123.")), "{known:?}");
    assert!(fabric::paths(&leaf1, "10.122.0.1/32")?.is_empty());

    // etcd needs the masters' own addresses and nothing else: given by hand here, by the agents otherwise.
    for (number, leaf) in [(1, "leaf1"), (2, "leaf2"), (3, "leaf3")] {
        let leaf = lab.node(leaf)?;
        leaf.vtysh_configure(&[
            &format!("router bgp 6500{number}"),
            "address-family ipv4 unicast",
            "redistribute kernel",
        ])?;
        leaf.exec(&["ip", "route", "add", &format!("10.122.0.{number}/32"), "via", &format!("10.122.10{number}.3")])?;
    }
    let worker4 = lab.node("worker4")?;
    eventually(Duration::from_secs(60), "three healthy members as worker4 sees them", || {
        let said = worker4.sh("etcdctl endpoint health 2>&1 || true").map_err(|error| format!("{error:#}"))?;
        check(said.matches("is healthy").count() == 3, said)
    })?;
    worker4.exec(&["etcdctl", "put", "/petiole/v1/test", "x"])?;

    // A link down at a node and up again: addresses and default are as provisioning left them.
    let worker1 = lab.node("worker1")?;
    let before =
        (worker1.ip_json(&["-4", "route"])?, worker1.exec(&["ip", "-6", "-o", "addr", "show", "dev", "eth1"])?);
    worker1.link_down("eth1")?;
    worker1.link_up("eth1")?;
    eventually(within, "worker1 is as before", || {
        let routes = worker1.ip_json(&["-4", "route"]).map_err(|error| format!("{error:#}"))?;
        check(routes == before.0, routes)?;
        let addresses = worker1.exec(&["ip", "-6", "-o", "addr", "show", "dev", "eth1"]);
        let addresses = addresses.map_err(|error| format!("{error:#}"))?;
        check(addresses == before.1, addresses)
    })?;
    lab.down()
}
