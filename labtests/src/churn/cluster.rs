//! Three members of etcd and the agents, each in a namespace of its own on one bridge.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result, anyhow, ensure};
use serde_json::Value;
use tempfile::TempDir;

use crate::{Binaries, Netns, Signal, Spawned, eventually};

/// How many members etcd has.
pub(super) const MEMBERS: usize = 3;
/// Lengths of blocks of 8 addresses.
const BLOCKS: [u32; 2] = [29, 125];
const IPAM: &str = "/calico/ipam/v2/";
const WITHIN: Duration = Duration::from_secs(60);

/// The whole of it; it goes with this value.
#[derive(Debug)]
pub(super) struct Cluster {
    // Processes go before their namespaces.
    pub(super) members: Vec<Place>,
    pub(super) agents: Vec<Place>,
    hub: Netns,
    pools: String,
    pub(super) plugin: PathBuf,
    pub(super) petiole: PathBuf,
    folder: TempDir,
}

/// A namespace with its one program.
#[derive(Debug)]
pub(super) struct Place {
    process: Mutex<Option<Spawned>>,
    pub(super) name: String,
    pub(super) address: String,
    pub(super) netns: Netns,
    pub(super) folder: PathBuf,
    script: String,
}

impl Cluster {
    /// Everything runs and every agent would serve an ADD.
    pub(super) fn up(agents: usize) -> Result<Self> {
        let petiole = Binaries::find()?.agent.context("no agent binary: cargo build -p petiole")?;
        let plugin = petiole.with_file_name("petiole-cni");
        ensure!(plugin.is_file(), "no plugin: cargo build -p petiole-cni");
        let folder = TempDir::new()?;
        let hub = Netns::bare("churn-hub")?;
        hub.exec(&["ip", "link", "add", "br0", "type", "bridge"])?;
        hub.exec(&["ip", "addr", "add", "192.0.2.254/24", "dev", "br0"])?;
        hub.exec(&["ip", "link", "set", "br0", "up"])?;
        let mut cluster =
            Self { members: Vec::new(), agents: Vec::new(), hub, pools: pools(agents), plugin, petiole, folder };
        for number in 0..MEMBERS {
            let member = cluster.member(number)?;
            member.start()?;
            cluster.members.push(member);
        }
        eventually(WITHIN, "etcd answers", || cluster.etcdctl(&["endpoint", "health"]))?;
        for number in 0..agents {
            let agent = cluster.agent(number)?;
            agent.start()?;
            cluster.agents.push(agent);
        }
        for agent in &cluster.agents {
            eventually(WITHIN, "an agent has a block", || cluster.has_block(agent))?;
        }
        Ok(cluster)
    }

    fn place(&self, name: String, host: usize, port: &str) -> Result<Place> {
        let netns = Netns::bare("churn")?;
        netns.connect("eth1", &self.hub, port, 1500)?;
        self.hub.exec(&["ip", "link", "set", port, "master", "br0"])?;
        let address = format!("192.0.2.{host}");
        netns.exec(&["ip", "addr", "add", &format!("{address}/24"), "dev", "eth1"])?;
        let folder = self.folder.path().join(&name);
        fs::create_dir_all(&folder)?;
        Ok(Place { process: Mutex::new(None), name, address, netns, folder, script: String::new() })
    }

    fn member(&self, number: usize) -> Result<Place> {
        let mut place = self.place(format!("member{number}"), number + 1, &format!("m{number}"))?;
        let cluster: Vec<String> = (0..MEMBERS).map(|n| format!("member{n}=http://192.0.2.{}:2380", n + 1)).collect();
        place.script = format!(
            "exec etcd --name {0} --data-dir {1}/data --listen-client-urls http://{2}:2379 \
             --advertise-client-urls http://{2}:2379 --listen-peer-urls http://{2}:2380 \
             --initial-advertise-peer-urls http://{2}:2380 --initial-cluster {3} --initial-cluster-state new \
             --heartbeat-interval 200 --election-timeout 2000 >>{1}/log 2>&1",
            place.name,
            place.folder.display(),
            place.address,
            cluster.join(",")
        );
        Ok(place)
    }

    fn agent(&self, number: usize) -> Result<Place> {
        let mut place = self.place(format!("node{number}"), number + 11, &format!("p{number}"))?;
        for setting in ["net.ipv4.ip_forward=1", "net.ipv6.conf.all.forwarding=1"] {
            place.netns.exec(&["sysctl", "-qw", setting])?;
        }
        let endpoints: Vec<String> = self.members.iter().map(|m| format!("\"http://{}:2379\"", m.address)).collect();
        let folder = place.folder.display();
        let config = format!(
            "[node]\nname = \"{0}\"\nroles = [\"worker\"]\n[store]\netcd = {{ endpoints = [{1}] }}\n[ipam]\n\
             pools = [{2}]\n[paths]\nstate = \"{folder}/state\"\nrun = \"{folder}/run\"\n",
            place.name,
            endpoints.join(", "),
            self.pools
        );
        fs::write(place.folder.join("petiole.toml"), config)?;
        place.script =
            format!("exec {} agent --config {folder}/petiole.toml >>{folder}/log 2>&1", self.petiole.display());
        Ok(place)
    }

    fn etcdctl(&self, args: &[&str]) -> Result<String> {
        let endpoints: Vec<String> = self.members.iter().map(|m| format!("http://{}:2379", m.address)).collect();
        let endpoints = format!("--endpoints={}", endpoints.join(","));
        let begin = ["env", "ETCDCTL_API=3", "etcdctl", "--command-timeout=3s", "--dial-timeout=1s", &endpoints];
        self.hub.exec(&[begin.as_slice(), args].concat())
    }

    /// All of IPAM's keys, as a majority has them.
    pub(super) fn keyspace(&self) -> Result<BTreeMap<String, Value>> {
        let text = self.etcdctl(&["get", "--prefix", IPAM])?;
        let mut lines = text.lines();
        let mut keyspace = BTreeMap::new();
        while let (Some(key), Some(value)) = (lines.next(), lines.next()) {
            keyspace.insert(key.to_owned(), serde_json::from_str(value).unwrap_or(Value::Null));
        }
        Ok(keyspace)
    }

    /// What `petiole COMMAND -o json` of a node answers; the exit status is in it.
    pub(super) fn ask(&self, agent: &Place, command: &[&str]) -> Result<Value> {
        let socket = agent.folder.join("run/api.sock").display().to_string();
        let petiole = self.petiole.display().to_string();
        let argv = [&["timeout", "10", petiole.as_str()], command, &["--socket", &socket, "-o", "json"]].concat();
        let output = agent.netns.command(&argv).output()?;
        serde_json::from_slice(&output.stdout).map_err(|_| {
            let why = String::from_utf8_lossy(&output.stderr).into_owned();
            anyhow!("{}: {}: {why}", agent.name, command.join(" "))
        })
    }

    fn has_block(&self, agent: &Place) -> Result<()> {
        let status = self.ask(agent, &["status"])?;
        ensure!(
            status["blocks"].as_array().is_some_and(|blocks| !blocks.is_empty()),
            "{}: {}",
            agent.name,
            agent.log()
        );
        Ok(())
    }

    /// The last lines of every program's log.
    pub(super) fn logs(&self) -> String {
        let mut text = String::new();
        for place in self.agents.iter().chain(&self.members) {
            let _ = writeln!(text, "--- {}\n{}", place.name, place.log());
        }
        text
    }

    /// Keeps the folder with all logs, and says where.
    pub(super) fn keep(&mut self) -> &Path {
        self.folder.disable_cleanup(true);
        self.folder.path()
    }
}

/// Two blocks of each family for each agent: few enough for claims, borrowing and exhaustion to meet all the time.
fn pools(agents: usize) -> String {
    let bits = (2 * agents).next_power_of_two().ilog2();
    let [v4, v6] = BLOCKS;
    format!(
        "{{ cidr = \"10.123.128.0/{}\", block_size = {v4} }}, {{ cidr = \"fd00:123:8000::/{}\", block_size = {v6} }}",
        v4 - bits,
        v6 - bits
    )
}

impl Place {
    fn process(&self) -> MutexGuard<'_, Option<Spawned>> {
        self.process.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Starts the program, unless it runs.
    pub(super) fn start(&self) -> Result<()> {
        let mut process = self.process();
        if process.as_ref().is_none_or(|p| p.pid().is_none()) {
            *process = Some(self.netns.spawn(&["sh", "-c", &self.script])?);
        }
        Ok(())
    }

    /// SIGKILL.
    pub(super) fn kill(&self) -> Result<()> {
        if let Some(process) = self.process().take() {
            process.end(Signal::KILL)?;
        }
        Ok(())
    }

    pub(super) fn signal(&self, signal: Signal) {
        if let Some(process) = self.process().as_ref() {
            process.signal(signal);
        }
    }

    /// Drops what comes from these addresses, and with `both` what goes there too.
    pub(super) fn cut(&self, others: &[&str], both: bool) -> Result<()> {
        let others = others.join(", ");
        let mut rules = format!(
            "table ip churn {{\n chain in {{ type filter hook input priority 0; ip saddr {{ {others} }} drop; }}\n"
        );
        if both {
            let _ =
                writeln!(rules, " chain out {{ type filter hook output priority 0; ip daddr {{ {others} }} drop; }}");
        }
        rules.push_str("}\n");
        let file = self.folder.join("cut.nft");
        fs::write(&file, rules)?;
        self.netns.exec(&["nft", "-f", &file.display().to_string()]).map(drop)
    }

    /// Takes back [`cut`](Self::cut).
    pub(super) fn heal(&self) -> Result<()> {
        self.netns.exec(&["nft", "delete", "table", "ip", "churn"]).map(drop)
    }

    fn log(&self) -> String {
        let text = fs::read(self.folder.join("log")).unwrap_or_default();
        let text = String::from_utf8_lossy(&text);
        let lines: Vec<&str> = text.lines().collect();
        lines.get(lines.len().saturating_sub(8)..).unwrap_or_default().join("\n")
    }
}
