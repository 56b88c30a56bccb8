//! A cluster for a test: up, in one go, and what its switches say of it.

use std::collections::BTreeMap;
use std::fmt::Display;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};

use super::{Cluster, Pod};
use crate::fabric::{self, Blocks, FAMILIES, Family, LEAVES, Member, Role, SPINES, Stream, members, owners};
use crate::{Binaries, Lab, NodeHandle, Topology, eventually};

/// The programs of Kubernetes, where the environment names them; the long form of a test, where it says so.
pub const LONG: &str = "PETIOLE_KUBERNETES_LONG";

/// How long the fabric may take to what is expected of it, on a machine that is busy with something else.
const SETTLED: Duration = Duration::from_secs(60);

/// A lab with a cluster in it, and the topology that its nodes are powered on with.
#[derive(Debug)]
pub struct Scene {
    /// The lab.
    pub lab: Lab,
    /// What it was made of.
    pub topology: Topology,
    /// What is put into every node.
    pub binaries: Binaries,
    begun: Instant,
}

/// Whether tests are to take their time.
pub fn is_long() -> bool {
    std::env::var_os(LONG).is_some_and(|value| !value.is_empty() && value != "0")
}

impl Scene {
    /// The nodes, powered on; nothing where root or the programs are missing, which is said.
    pub fn up(test: &str, stem: &str) -> Result<Option<Self>> {
        Self::up_with(test, stem, |_| Ok(()))
    }

    /// The same with a topology that is changed first.
    pub fn up_with(test: &str, stem: &str, change: impl FnOnce(&mut Topology) -> Result<()>) -> Result<Option<Self>> {
        if !rustix::process::geteuid().is_root() {
            println!("not checked: {test}: needs root");
            return Ok(None);
        }
        if std::env::var_os(super::FOLDER).is_none() {
            println!("not checked: {test}: builds Kubernetes, for minutes; run it with: cargo xtask kubernetes test");
            return Ok(None);
        }
        super::prepare()?;
        let binaries = Binaries::find()?;
        ensure!(
            binaries.agent.is_some() && binaries.plugin().is_some(),
            "no agent or no plugin: cargo build --workspace"
        );
        let mut topology = super::load(&super::topology_file(), Some(&fabric::unique_name(stem)))?;
        change(&mut topology)?;
        let lab = Lab::up(&topology, &binaries)?;
        Ok(Some(Self { lab, topology, binaries, begun: Instant::now() }))
    }

    /// Waits until the cluster runs.
    pub fn cluster(&self) -> Result<Cluster<'_>> {
        Cluster::start(&self.lab, &|stage, _| self.say(stage.words()))
    }

    /// A line with the time since the nodes were powered on.
    pub fn say(&self, what: impl Display) {
        println!("{:.1?}: {what}", self.begun.elapsed());
    }

    /// Pulls a node's plug. A master keeps its disk, as etcd expects of it.
    pub fn power_off(&mut self, name: &str) -> Result<()> {
        match Member::named(name).map(|member| member.role) {
            Some(Role::Master) => self.lab.power_off_with_disk(&mut self.topology, name, "/var/lib/etcd"),
            _ => self.lab.power_off(name),
        }
    }

    /// Powers it on again.
    pub fn power_on(&self, name: &str) -> Result<()> {
        self.lab.power_on(&self.topology, &self.binaries, name)
    }

    /// Waits until every switch has from the nodes what they own, by the right paths, and nothing else of theirs.
    pub fn settled(&self, announced: &Announced) -> Result<()> {
        eventually(SETTLED, "every switch has what the nodes announce", || announced.check(&self.lab))
    }
}

/// What the switches are expected to have.
#[derive(Debug, Clone)]
pub struct Announced {
    /// Blocks by their nodes.
    pub blocks: Blocks,
    /// The masters that announce the anycast address.
    pub api: Vec<&'static Member>,
    /// Nodes that announce nothing.
    pub silent: Vec<&'static str>,
}

impl Announced {
    /// Everything that the store has blocks for, from every node.
    pub fn all(lab: &Lab) -> Result<Self> {
        Ok(Self { blocks: fabric::blocks(lab, "master2")?, api: members(Role::Master).collect(), silent: Vec::new() })
    }

    /// The same with the anycast address from these masters only.
    #[must_use]
    pub fn api_by(&self, names: &[&str]) -> Self {
        let api = members(Role::Master).filter(|member| names.contains(&member.name)).collect();
        Self { api, ..self.clone() }
    }

    /// The same without these nodes.
    #[must_use]
    pub fn without(&self, names: &[&'static str]) -> Self {
        let mut less = self.clone();
        less.silent.extend(names);
        less.api.retain(|member| !names.contains(&member.name));
        less
    }

    /// Who owns what, of a family.
    fn owners(&self, family: Family) -> BTreeMap<String, Vec<&'static Member>> {
        let mut owners = owners(family, &self.blocks);
        owners.insert(fabric::anycast(family).to_owned(), self.api.clone());
        for owners in owners.values_mut() {
            owners.retain(|owner| !self.silent.contains(&owner.name));
        }
        owners.retain(|_, owners| !owners.is_empty());
        owners
    }

    /// Whether every switch has exactly that.
    pub fn check(&self, lab: &Lab) -> Result<()> {
        for switch in SPINES.iter().chain(&LEAVES) {
            self.check_switch(&lab.node(switch)?)?;
        }
        Ok(())
    }

    /// Whether one switch has exactly that.
    pub fn check_switch(&self, switch: &NodeHandle) -> Result<()> {
        FAMILIES.into_iter().try_for_each(|family| fabric::check_owned(switch, family, &self.owners(family)))
    }
}

/// Streams from the plain host to each address of these pods.
pub fn streams(lab: &Lab, pods: &[&Pod]) -> Result<Vec<Stream>> {
    let client = lab.node("client1")?;
    let mut streams = Vec::new();
    for address in pods.iter().flat_map(|pod| &pod.addresses) {
        let source = Family::of(address).pick("10.120.201.10", "fd00:120:201:1::10");
        streams.push(Stream::start(&client, source, address)?);
    }
    Ok(streams)
}

/// Ends streams of which nothing may be lost.
pub fn nothing_lost(streams: Vec<Stream>, over: &str) -> Result<()> {
    for stream in streams {
        let name = stream.name.clone();
        let loss = stream.end().with_context(|| name.clone())?;
        println!("figure: {name}: {loss:?} over {over}");
        ensure!(loss.sent > 100 && loss.lost == 0, "{name}: {loss:?} over {over}");
    }
    Ok(())
}
