//! One node with several leaves made by hand, all behind one link: for tests and benches that need a session and no fabric.

use std::fs;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, anyhow, ensure};
use serde_json::Value;
use tempfile::TempDir;

use crate::leaf::{self, Leaf, Terms};
use crate::{Binaries, Netns, Spawned, eventually};

/// What the agent may take for something it does at once, on a busy machine.
pub const WITHIN: Duration = Duration::from_secs(20);

/// The node and its leaves; everything goes with it.
#[derive(Debug)]
pub struct Arena {
    // The agent goes before its namespace.
    agent: Spawned,
    listeners: Vec<TcpListener>,
    /// Where the agent runs.
    pub node: Netns,
    /// Where all leaves are.
    pub leaves: Netns,
    folder: TempDir,
    petiole: PathBuf,
}

/// The AS of a leaf.
#[must_use]
pub fn asn(leaf: usize) -> u32 {
    65_001 + leaf as u32
}

/// The address of a leaf, its end of a /31.
#[must_use]
pub fn address(leaf: usize) -> Ipv4Addr {
    Ipv4Addr::new(10, 122, 101, 2 * leaf as u8)
}

/// Whether the caller is root; says so where it is not.
#[must_use]
pub fn root() -> bool {
    let root = rustix::process::geteuid().is_root();
    if !root {
        println!("not checked: needs root for network namespaces");
    }
    root
}

impl Arena {
    /// Starts the agent that was built with so many leaves; `hold` is the hold time in seconds that it proposes.
    pub fn new(leaves: usize, hold: u16) -> Result<Self> {
        Self::with(leaves, hold, "")
    }

    /// The same, with more lines in the configuration of every leaf.
    pub fn with(leaves: usize, hold: u16, more: &str) -> Result<Self> {
        let petiole = Binaries::find()?.agent.context("no agent: cargo build -p petiole, or set PETIOLE_BIN")?;
        Self::of(&petiole, leaves, hold, more)
    }

    /// The same, of this agent.
    pub fn of(petiole: &Path, leaves: usize, hold: u16, more: &str) -> Result<Self> {
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
            let asn = asn(n);
            peers += &format!("[[bgp.peer]]\naddress = \"{theirs}\"\nasn = {asn}\nhold_time = \"{hold}s\"\n{more}\n");
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
        Ok(Self { agent, listeners: listeners?, node, leaves: far, folder, petiole: petiole.to_owned() })
    }

    /// The agent's process.
    pub fn pid(&self) -> Result<i32> {
        self.agent.pid().context("the agent ended")
    }

    /// What the agent wrote.
    #[must_use]
    pub fn log(&self) -> String {
        fs::read_to_string(self.folder.path().join("agent.log")).unwrap_or_default()
    }

    fn listener(&self, leaf: usize) -> Result<&TcpListener> {
        self.listeners.get(leaf).ok_or_else(|| anyhow!("no leaf {leaf}"))
    }

    /// The session of one leaf, established.
    pub fn establish(&self, leaf: usize, hold: u16) -> Result<Leaf> {
        self.establish_with(leaf, &Terms::usual(asn(leaf), hold))
    }

    /// The same, on these terms.
    pub fn establish_with(&self, leaf: usize, terms: &Terms) -> Result<Leaf> {
        Leaf::established(self.listener(leaf)?, terms, address(leaf), WITHIN)
            .with_context(|| format!("leaf {leaf}: {}", self.log()))
    }

    /// A connection of the node to one leaf, with nothing said yet.
    pub fn accept(&self, leaf: usize) -> Result<Leaf> {
        Leaf::accept(self.listener(leaf)?, WITHIN)
    }

    /// `petiole ARGS`.
    pub fn petiole(&self, args: &[&str]) -> Result<String> {
        let config = self.folder.path().join("petiole.toml");
        let [petiole, config] = [&self.petiole, &config].map(|p| p.to_string_lossy().into_owned());
        self.node.exec(&[&[petiole.as_str()], args, &["--config", &config]].concat())
    }

    /// `petiole ARGS -o json`, read.
    pub fn json(&self, args: &[&str]) -> Result<Value> {
        Ok(serde_json::from_str(&self.petiole(&[args, &["-o", "json"]].concat())?)?)
    }

    /// What the agent says of a leaf.
    pub fn peer(&self, leaf: usize) -> Result<Value> {
        let peers = self.json(&["bgp", "peers"])?;
        let name = address(leaf).to_string();
        let mut peers = peers.as_array().into_iter().flatten();
        peers.find(|p| p["peer"] == name.as_str()).cloned().with_context(|| format!("{name} is no peer"))
    }

    /// Whether the kernel has a learned route to this prefix.
    pub fn in_kernel(&self, prefix: &str) -> Result<bool> {
        let routes = self.node.ip_json(&["route", "show", prefix, "proto", "179"])?;
        Ok(routes.as_array().is_some_and(|routes| !routes.is_empty()))
    }

    /// Waits until the kernel has a learned route to this prefix, or has none any more.
    pub fn wait_in_kernel(&self, prefix: &str, there: bool) -> Result<()> {
        self.wait_in_kernel_within(prefix, there, WITHIN)
    }

    /// The same, for so long.
    pub fn wait_in_kernel_within(&self, prefix: &str, there: bool, within: Duration) -> Result<()> {
        eventually(within, &format!("{prefix} in the kernel: {there}"), || -> Result<()> {
            ensure!(self.in_kernel(prefix)? == there, "it is otherwise");
            Ok(())
        })
    }
}
