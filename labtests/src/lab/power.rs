//! A node without its power, and with it again.

use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, anyhow};
use rustix::process::Signal;

use super::{KILL, Lab, link_batch_of, start_node};
use crate::lab::Binaries;
use crate::procs::{Belonging, signal};
use crate::state::{self, StateDir};
use crate::topology::Bind;
use crate::{Topology, cgroups, command, netns};

impl Lab {
    /// Pulls the plug: nothing that the node had to say leaves it any more, its neighbours' interfaces lose their carrier and
    /// go, and all that it held in memory and on its disks is lost.
    pub fn power_off(&self, name: &str) -> Result<()> {
        self.unplug(name, || Ok(()))
    }

    /// Pulls the plug of a machine whose disk holds this folder: what was written there until then is there again when it is
    /// powered on with this topology.
    pub fn power_off_with_disk(&self, topology: &mut Topology, name: &str, folder: &str) -> Result<()> {
        let pid = self.node(name)?.pid().with_context(|| format!("{name} is not running"))?;
        let node = topology.nodes.get_mut(name).with_context(|| format!("no node `{name}`"))?;
        let disk = tempfile::Builder::new().prefix("disk-").tempdir_in(state::dir(&self.record.name))?.keep();
        self.unplug(name, || {
            // Everything in it stands still, in the midst of whatever it wrote.
            let source = format!("/proc/{pid}/root{folder}/.");
            command::run(Command::new("cp").args(["--archive", &source]).arg(&disk)).map(drop)
        })?;
        let target = Path::new(folder).to_owned();
        node.binds.retain(|bind| bind.target != target);
        node.binds.push(Bind { source: disk, target, read_only: false });
        Ok(())
    }

    /// `frozen` is done when nothing in the node moves any more.
    fn unplug(&self, name: &str, frozen: impl FnOnce() -> Result<()>) -> Result<()> {
        let node = self.node(name)?;
        let record = node.record();
        let dir = state::dir(&self.record.name);
        // First the links: a process that is killed still closes its connections, a machine without power does not. They would
        // not go by themselves: what such a connection has still to say keeps the namespace for minutes.
        let lines: String = record.links.iter().map(|(own, _)| format!("link del {own}\n")).collect();
        netns::batch(Some(&record.container), &lines, &dir)?;
        let mut inside = Belonging::default();
        inside.or_in(&netns::path(&record.container));
        for pid in inside.find().into_keys() {
            signal(pid, Signal::STOP);
        }
        frozen()?;
        if let Some(pid) = node.pid() {
            signal(pid, Signal::KILL);
        }
        inside.kill(KILL)?;
        netns::remove(&record.container)?;
        cgroups::remove(&record.container)
    }

    /// Starts a node that was powered off: with the address plan's links, and with nothing of what it knew.
    pub fn power_on(&self, topology: &Topology, binaries: &Binaries, name: &str) -> Result<()> {
        let node = self.node(name)?;
        let record = node.record();
        let dir = state::dir(&self.record.name);
        let state = StateDir::lock(&self.record.name)?;
        // It would be taken for the new one's.
        match fs::remove_file(state.node(name)?.join("pid")) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error.into()),
            _ => {}
        }
        let shim = start_node(topology, record, binaries, &state, &dir)?;
        self.shims.lock().map_err(|_| anyhow!("a thread that started a node panicked"))?.push(shim);
        let links = topology.links.iter().filter(|link| link.a.node == name || link.b.node == name);
        netns::batch(None, &link_batch_of(topology, links)?, &dir).context("cannot make the links")?;
        let own: String = record.links.iter().map(|(own, _)| format!("link set {own} up\n")).collect();
        netns::batch(Some(&record.container), &own, &dir)?;
        for (_, far) in &record.links {
            let (far, interface) = far.split_once(':').context("a far end")?;
            netns::batch(Some(&self.node(far)?.record().container), &format!("link set {interface} up\n"), &dir)?;
        }
        Ok(())
    }
}
