//! One node with several leaves made by hand, all behind one link.

use std::fs;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use petiole_labtests::leaf::{self, Leaf, Terms};
use petiole_labtests::{Binaries, Netns, Spawned, eventually};
use serde_json::Value;
use tempfile::TempDir;

pub(crate) const WITHIN: Duration = Duration::from_secs(20);

/// The node and its leaves; everything goes with it.
pub(crate) struct Arena {
    // The agent goes before its namespace.
    _agent: Spawned,
    listeners: Vec<TcpListener>,
    pub(crate) node: Netns,
    _leaves: Netns,
    folder: TempDir,
    petiole: PathBuf,
}

/// The AS of a leaf.
pub(crate) fn asn(leaf: usize) -> u32 {
    65_001 + leaf as u32
}

/// The address of a leaf, its end of a /31.
pub(crate) fn address(leaf: usize) -> Ipv4Addr {
    Ipv4Addr::new(10, 122, 101, 2 * leaf as u8)
}

pub(crate) fn root() -> bool {
    let root = rustix::process::geteuid().is_root();
    if !root {
        println!("not checked: needs root for network namespaces");
    }
    root
}

impl Arena {
    /// Starts the agent with so many leaves; `hold` is the hold time in seconds that it proposes.
    pub(crate) fn new(leaves: usize, hold: u16) -> Result<Self> {
        let petiole = Binaries::find()?.agent.context("no agent: cargo build -p petiole, or set PETIOLE_BIN")?;
        let folder = TempDir::new()?;
        let (far, node) = (Netns::bare("session-leaf")?, Netns::bare("session-node")?);
        far.connect("eth1", &node, "eth1", 1500)?;
        node.exec(&["ip", "address", "add", "10.122.0.11/32", "dev", "lo"])?;
        let mut peers = String::new();
        for n in 0..leaves {
            let theirs = address(n);
            let ours = Ipv4Addr::from(u32::from(theirs) + 1);
            far.exec(&["ip", "address", "add", &format!("{theirs}/31"), "dev", "eth1"])?;
            node.exec(&["ip", "address", "add", &format!("{ours}/31"), "dev", "eth1"])?;
            peers += &format!("[[bgp.peer]]\naddress = \"{theirs}\"\nasn = {}\nhold_time = \"{hold}s\"\n", asn(n));
        }
        let path = folder.path().display();
        let text = format!(
            "[node]\nname = \"node1\"\nrouter_id = \"10.122.0.11\"\naddresses = [\"10.122.0.11/32\"]\n\
             [store]\nembedded = \"{path}/store\"\n[bgp]\nasn = 4200000011\n{peers}\
             [paths]\nstate = \"{path}/state\"\nrun = \"{path}/run\"\n"
        );
        fs::write(folder.path().join("petiole.toml"), text)?;
        let listeners: Result<Vec<TcpListener>> =
            (0..leaves).map(|n| leaf::listen(&far, SocketAddr::from((address(n), 179)))).collect();
        let script = "exec \"$0\" agent --config \"$1\" >\"$2\" 2>&1";
        let [config, log] = ["petiole.toml", "agent.log"].map(|f| folder.path().join(f).display().to_string());
        let agent = node.spawn(&["sh", "-c", script, &petiole.to_string_lossy(), &config, &log])?;
        Ok(Self { _agent: agent, listeners: listeners?, node, _leaves: far, folder, petiole })
    }

    /// The session of one leaf, established.
    pub(crate) fn establish(&self, leaf: usize, hold: u16) -> Result<Leaf> {
        self.establish_with(leaf, &Terms::usual(asn(leaf), hold))
    }

    pub(crate) fn establish_with(&self, leaf: usize, terms: &Terms) -> Result<Leaf> {
        Leaf::established(&self.listeners[leaf], terms, address(leaf), WITHIN).with_context(|| format!("leaf {leaf}"))
    }

    /// A connection of the node to one leaf, with nothing said yet.
    pub(crate) fn accept(&self, leaf: usize) -> Result<Leaf> {
        Leaf::accept(&self.listeners[leaf], WITHIN)
    }

    /// `petiole ARGS`.
    pub(crate) fn petiole(&self, args: &[&str]) -> Result<String> {
        let config = self.folder.path().join("petiole.toml");
        let [petiole, config] = [&self.petiole, &config].map(|p| p.to_string_lossy().into_owned());
        self.node.exec(&[&[petiole.as_str()], args, &["--config", &config]].concat())
    }

    pub(crate) fn json(&self, args: &[&str]) -> Result<Value> {
        Ok(serde_json::from_str(&self.petiole(&[args, &["-o", "json"]].concat())?)?)
    }

    /// What the agent says of a leaf.
    pub(crate) fn peer(&self, leaf: usize) -> Result<Value> {
        let peers = self.json(&["bgp", "peers"])?;
        let name = address(leaf).to_string();
        let mut peers = peers.as_array().into_iter().flatten();
        peers.find(|p| p["peer"] == name.as_str()).cloned().with_context(|| format!("{name} is no peer"))
    }

    /// Whether the kernel has a learned route to this prefix.
    pub(crate) fn in_kernel(&self, prefix: &str) -> Result<bool> {
        let routes = self.node.ip_json(&["route", "show", prefix, "proto", "179"])?;
        Ok(routes.as_array().is_some_and(|routes| !routes.is_empty()))
    }

    pub(crate) fn wait_in_kernel(&self, prefix: &str, there: bool) -> Result<()> {
        self.wait_in_kernel_within(prefix, there, WITHIN)
    }

    pub(crate) fn wait_in_kernel_within(&self, prefix: &str, there: bool, within: Duration) -> Result<()> {
        eventually(within, &format!("{prefix} in the kernel: {there}"), || -> Result<()> {
            ensure!(self.in_kernel(prefix)? == there, "it is otherwise");
            Ok(())
        })
    }
}
