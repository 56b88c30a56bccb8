//! A node loses its power and gets it back: its neighbours see the links go and come, and it begins with nothing.

use std::time::Duration;

use anyhow::{Result, ensure};
use petiole_labtests::{Binaries, Topology, eventually, fabric};

const SETTLE: Duration = Duration::from_secs(60);

#[test]
fn a_node_without_power_is_gone_at_once_and_begins_anew_with_it() -> Result<()> {
    if !rustix::process::geteuid().is_root() {
        println!("not checked: a_node_without_power_is_gone_at_once_and_begins_anew_with_it: needs root");
        return Ok(());
    }
    let lab = fabric::clos("power")?;
    fabric::wait_settled(&lab, SETTLE)?;
    let worker = lab.node("worker1")?;
    worker.write("/var/lib/petiole/mark", "here")?;
    lab.power_off("worker1")?;
    ensure!(worker.pid().is_none(), "worker1 runs");
    let leaf = lab.node("leaf1")?;
    // No end of a connection was seen: it is the link that tells, not a timer of 9 s.
    eventually(Duration::from_secs(5), "no packet goes to worker1", || {
        let known = fabric::gateways(&leaf, "10.122.0.11")?;
        ensure!(known.is_empty(), "leaf1 has {known:?}");
        Ok::<_, anyhow::Error>(())
    })?;
    let (file, name) = (fabric::topology_file(), lab.record().name.clone());
    let topology = Topology::load(&file, Some(&name), &|name| std::env::var(name).ok())?;
    lab.power_on(&topology, &Binaries::find()?, "worker1")?;
    ensure!(worker.output(&["test", "-e", "/var/lib/petiole/mark"])?.status.code() == Some(1), "worker1 kept a file");
    fabric::wait_settled(&lab, SETTLE)?;
    worker.ping("10.122.0.14", 1500, 3)?;
    lab.down()
}
