//! One node and its leaf, nothing else: two namespaces and a link, a real etcd beside the leaf, the real agent.

use std::fs;
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow};
use serde_json::Value;
use tempfile::TempDir;

use crate::procs::{self, Identity};
use crate::{Netns, Signal, Spawned, check, eventually};

/// The node's name in the store.
pub(crate) const NODE: &str = "node1";
/// The leaf's end of the link.
pub(crate) const LEAF: &str = "10.122.101.0";
/// Where etcd listens.
pub(crate) const ETCD: &str = "10.122.101.0:2379";
/// The node's own address.
const OWN: &str = "10.122.0.11/32";

/// Link addresses as in the reference fabric.
const LEAF_LINK: &str = "address add 10.122.101.0/31 dev eth1
address add fd00:122:101::/127 dev eth1 nodad
";
const NODE_LINK: &str = "address add 10.122.0.11/32 dev lo
address add fd00:122::11/128 dev lo nodad
address add 10.122.101.1/31 dev eth1
address add fd00:122:101::1/127 dev eth1 nodad
";

/// Namespaces, etcd and the agent's files; all of it goes with this value.
#[derive(Debug)]
pub(crate) struct Arena {
    // In the order of their end: the agent before its store, processes before their namespaces.
    agent: Option<Spawned>,
    _etcd: Spawned,
    node: Netns,
    _leaf: Netns,
    folder: TempDir,
    petiole: PathBuf,
}

impl Arena {
    /// Makes everything but the agent's process. From here on the calling thread, and those it starts, live in the
    /// leaf's network namespace.
    pub(crate) fn new(petiole: &Path) -> Result<Self> {
        let folder = TempDir::new()?;
        let (leaf, node) = (Netns::bare("bench-leaf")?, Netns::bare("bench-node")?);
        for netns in [&leaf, &node] {
            let names = ["all", "default"];
            let keep = names.map(|name| format!("net.ipv6.conf.{name}.keep_addr_on_down=1"));
            let dad = names.map(|name| format!("net.ipv6.conf.{name}.accept_dad=0"));
            let settings = keep.iter().chain(&dad).map(String::as_str);
            netns.exec(&["sysctl", "-q"].into_iter().chain(settings).collect::<Vec<_>>())?;
        }
        leaf.connect("eth1", &node, "eth1", 1500)?;
        for (netns, lines) in [(&leaf, LEAF_LINK), (&node, NODE_LINK)] {
            let file = folder.path().join("batch");
            fs::write(&file, lines)?;
            netns.exec(&["ip", "-batch", &file.to_string_lossy()])?;
        }
        let path = folder.path().display();
        let script = format!(
            "exec etcd --data-dir {path}/etcd --listen-client-urls http://{ETCD} --advertise-client-urls http://{ETCD} \
             --listen-peer-urls http://127.0.0.1:2380 >{path}/etcd.log 2>&1"
        );
        let etcd = leaf.spawn(&["sh", "-c", &script])?;
        let namespace = fs::File::open(Path::new("/run/netns").join(leaf.name()))?;
        let kind = Some(rustix::thread::LinkNameSpaceType::Network);
        rustix::thread::move_into_link_name_space(std::os::fd::AsFd::as_fd(&namespace), kind).context("setns")?;
        eventually(Duration::from_secs(30), "etcd answers", || TcpStream::connect(ETCD).map(drop))?;
        let arena = Self { agent: None, _etcd: etcd, node, _leaf: leaf, folder, petiole: petiole.to_owned() };
        fs::write(arena.config(), arena.configuration())?;
        Ok(arena)
    }

    fn config(&self) -> PathBuf {
        self.folder.path().join("petiole.toml")
    }

    fn configuration(&self) -> String {
        let (folder, asn) = (self.folder.path().display(), super::peer::ASN);
        format!(
            "[node]\nname = \"{NODE}\"\nroles = [\"worker\"]\nrouter_id = \"10.122.0.11\"\n\
             addresses = [\"{OWN}\", \"fd00:122::11/128\"]\n\
             [store]\netcd = {{ endpoints = [\"http://{ETCD}\"] }}\n\
             [bgp]\nasn = 4200000011\n[[bgp.peer]]\naddress = \"{LEAF}\"\nasn = {asn}\nhold_time = \"9s\"\n\
             [ipam]\npools = [\n  {{ cidr = \"10.123.128.0/17\", block_size = 26 }},\n  \
             {{ cidr = \"fd00:123:8000::/112\", block_size = 122 }},\n]\n\
             [paths]\nstate = \"{folder}/state\"\nrun = \"{folder}/run\"\n"
        )
    }

    /// Starts the agent and returns the instant before it was started.
    pub(crate) fn start(&mut self) -> Result<Instant> {
        let [petiole, config] = [&self.petiole, &self.config()].map(|path| path.to_string_lossy().into_owned());
        let log = self.folder.path().join("agent.log");
        let script = "exec \"$0\" agent --config \"$1\" >>\"$2\" 2>&1";
        let begin = Instant::now();
        self.agent = Some(self.node.spawn(&["sh", "-c", script, &petiole, &config, &log.to_string_lossy()])?);
        Ok(begin)
    }

    /// Kills the agent and waits until it is gone.
    pub(crate) fn kill(&mut self) -> Result<()> {
        let Some(agent) = self.agent.take() else { return Ok(()) };
        let process = agent.pid().and_then(Identity::of);
        agent.signal(Signal::KILL);
        drop(agent);
        match process {
            Some(process) => {
                eventually(Duration::from_secs(5), "the agent ends", || check(!process.alive(), "it runs"))
            }
            None => Ok(()),
        }
    }

    /// The agent's resident memory, bytes.
    pub(crate) fn resident(&self) -> Option<u64> {
        procs::resident(self.agent.as_ref()?.pid()?)
    }

    /// The state of the one session, as the agent says.
    pub(crate) fn session(&self) -> Result<String> {
        let config = self.config();
        let petiole = self.petiole.to_string_lossy();
        let text = self.node.exec(&[&*petiole, "status", "-o", "json", "--config", &config.to_string_lossy()])?;
        let status: Value = serde_json::from_str(&text)?;
        let state = status["peers"][0]["state"].as_str();
        state.map(str::to_owned).ok_or_else(|| anyhow!("status names no peer"))
    }

    /// Sets the node's end of the link.
    pub(crate) fn link(&self, state: &str) -> Result<()> {
        self.node.exec(&["ip", "link", "set", "eth1", state]).map(drop)
    }

    /// The last lines of the agent's log, for a person who has to find out.
    pub(crate) fn log(&self) -> String {
        let text = fs::read_to_string(self.folder.path().join("agent.log")).unwrap_or_default();
        let lines: Vec<&str> = text.lines().collect();
        lines.get(lines.len().saturating_sub(30)..).unwrap_or_default().join("\n")
    }
}
