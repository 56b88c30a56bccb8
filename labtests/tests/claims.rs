//! Many agents claim blocks from one real etcd at the same instant: bare namespaces, no switches.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use petiole_labtests::{Binaries, Netns, Spawned, check, eventually};
use serde_json::Value;
use tempfile::TempDir;

const ETCD: &str = "192.0.2.1:2379";
const WITHIN: Duration = Duration::from_secs(30);
/// Calico's layout.
const BLOCKS: &str = "/calico/ipam/v2/assignment/ipv4/block/";
const AFFINITIES: &str = "/calico/ipam/v2/host/";

/// A hub with one etcd, and a namespace for each agent on its bridge.
struct Crowd {
    folder: TempDir,
    hub: Netns,
    agents: Vec<Agent>,
    petiole: PathBuf,
    _etcd: Spawned,
}

struct Agent {
    name: String,
    netns: Netns,
    folder: PathBuf,
    process: Option<Spawned>,
}

impl Crowd {
    fn new(size: usize, pool: &str) -> Result<Self> {
        let petiole = Binaries::find()?.agent.context("no agent binary")?;
        let folder = TempDir::new()?;
        let hub = Netns::bare("claims-hub")?;
        hub.exec(&["ip", "link", "add", "br0", "type", "bridge"])?;
        hub.exec(&["ip", "addr", "add", "192.0.2.1/24", "dev", "br0"])?;
        hub.exec(&["ip", "link", "set", "br0", "up"])?;
        let data = folder.path().join("etcd");
        let script = format!(
            "exec etcd --data-dir {} --listen-client-urls http://{ETCD} --advertise-client-urls http://{ETCD} \
             --listen-peer-urls http://127.0.0.1:2380 >{} 2>&1",
            data.display(),
            folder.path().join("etcd.log").display()
        );
        let etcd = hub.spawn(&["sh", "-c", &script])?;
        let mut crowd = Self { folder, hub, agents: Vec::new(), petiole, _etcd: etcd };
        eventually(WITHIN, "etcd answers", || crowd.etcdctl(&["endpoint", "health"]).map_err(|e| format!("{e:#}")))?;
        for number in 0..size {
            let agent = crowd.agent(number, pool)?;
            crowd.agents.push(agent);
        }
        Ok(crowd)
    }

    fn agent(&self, number: usize, pool: &str) -> Result<Agent> {
        let name = format!("node{number:02}");
        let netns = Netns::bare("claims")?;
        let port = format!("p{number}");
        netns.connect("eth1", &self.hub, &port, 1500)?;
        self.hub.exec(&["ip", "link", "set", &port, "master", "br0"])?;
        netns.exec(&["ip", "addr", "add", &format!("192.0.2.{}/24", 10 + number), "dev", "eth1"])?;
        let folder = self.folder.path().join(&name);
        fs::create_dir_all(&folder)?;
        let config = format!(
            "[node]\nname = \"{name}\"\nroles = [\"worker\"]\n\
             [store]\netcd = {{ endpoints = [\"http://{ETCD}\"] }}\n\
             [ipam]\npools = [{{ cidr = \"{pool}\", block_size = 26 }}]\n\
             [paths]\nstate = \"{0}/state\"\nrun = \"{0}/run\"\n",
            folder.display()
        );
        fs::write(folder.join("petiole.toml"), config)?;
        Ok(Agent { name, netns, folder, process: None })
    }

    /// All agents in the same instant, as far as one can start processes.
    fn start(&mut self) -> Result<()> {
        for agent in &mut self.agents {
            let script = format!(
                "exec {} agent --config {1}/petiole.toml >{1}/log 2>&1",
                self.petiole.display(),
                agent.folder.display()
            );
            agent.process = Some(agent.netns.spawn(&["sh", "-c", &script])?);
        }
        Ok(())
    }

    fn etcdctl(&self, args: &[&str]) -> Result<String> {
        let endpoint = format!("--endpoints=http://{ETCD}");
        self.hub.exec(&[&["env", "ETCDCTL_API=3", "etcdctl", &endpoint], args].concat())
    }

    /// The owners of the blocks as etcd's own tool shows them: block key to node.
    fn owners(&self) -> Result<BTreeMap<String, String>> {
        let text = self.etcdctl(&["get", "--prefix", BLOCKS])?;
        let lines: Vec<&str> = text.lines().filter(|line| !line.is_empty()).collect();
        let owner = |value: &str| -> Result<String> {
            let block: Value = serde_json::from_str(value)?;
            let owner = block["affinity"].as_str().unwrap_or("nobody");
            Ok(owner.trim_start_matches("host:").to_owned())
        };
        lines
            .chunks(2)
            .map(|pair| Ok((pair[0].to_owned(), owner(pair.get(1).context("a key without a value")?)?)))
            .collect()
    }

    /// Every owner that any block ever had, out of the store's whole history.
    fn owners_ever(&self) -> Result<BTreeMap<String, BTreeSet<String>>> {
        let endpoint = format!("--endpoints=http://{ETCD}");
        let script =
            format!("ETCDCTL_API=3 timeout 2 etcdctl {endpoint} watch --prefix --rev=1 {BLOCKS} || test $? = 124");
        let text = self.hub.exec(&["sh", "-c", &script])?;
        let mut ever: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
        let mut key = "";
        for line in text.lines() {
            if line.starts_with(BLOCKS) {
                key = line;
            } else if let Ok(block) = serde_json::from_str::<Value>(line)
                && let Some(owner) = block["affinity"].as_str()
            {
                ever.entry(key.to_owned()).or_default().insert(owner.to_owned());
            }
        }
        Ok(ever)
    }

    /// How many transactions etcd has served, by its own count.
    fn transactions(&self) -> Result<f64> {
        let text = self.hub.exec(&["curl", "-s", &format!("http://{ETCD}/metrics")])?;
        let served = r#"grpc_server_handled_total{grpc_code="OK",grpc_method="Txn""#;
        let line = text.lines().find(|line| line.starts_with(served)).context("etcd counts no transactions")?;
        Ok(line.rsplit(' ').next().context("no value")?.parse()?)
    }
}

impl Agent {
    fn status(&self, petiole: &Path) -> Result<Value> {
        let socket = self.folder.join("run/api.sock");
        let text = self.netns.exec(&[
            &petiole.display().to_string(),
            "status",
            "--socket",
            &socket.display().to_string(),
            "-o",
            "json",
        ])?;
        Ok(serde_json::from_str(&text)?)
    }
}

fn root() -> bool {
    let root = rustix::process::geteuid().is_root();
    if !root {
        println!("not checked: needs root for network namespaces");
    }
    root
}

#[test]
fn twenty_agents_at_once_get_twenty_different_blocks() -> Result<()> {
    if !root() {
        return Ok(());
    }
    let mut crowd = Crowd::new(20, "10.123.128.0/17")?;
    let before = crowd.transactions().unwrap_or(0.0);
    crowd.start()?;
    let names: BTreeSet<String> = crowd.agents.iter().map(|agent| agent.name.clone()).collect();
    eventually(WITHIN, "every agent owns a block", || {
        let owners = crowd.owners().map_err(|e| format!("{e:#}"))?;
        let with_block: BTreeSet<String> = owners.values().cloned().collect();
        check(with_block == names && owners.len() == 20, format!("{owners:?}"))
    })?;
    // The agents say the same, and the store's history knows no block of two.
    for agent in &crowd.agents {
        eventually(WITHIN, "the agent knows its block", || {
            let status = agent.status(&crowd.petiole).map_err(|e| format!("{e:#}"))?;
            check(status["blocks"].as_array().is_some_and(|blocks| blocks.len() == 1), &status)
        })?;
    }
    for (block, owners) in crowd.owners_ever()? {
        ensure!(owners.len() == 1, "{block} had several owners: {owners:?}");
    }
    let affinities = crowd.etcdctl(&["get", "--prefix", "--print-value-only", AFFINITIES])?;
    let confirmed = affinities.lines().filter(|line| line.contains(r#""state":"confirmed""#)).count();
    ensure!(confirmed == 20, "{affinities}");
    println!("20 claims at once took {} transactions, the pool's creation included", crowd.transactions()? - before);
    Ok(())
}

#[test]
fn a_pool_of_four_blocks_serves_four_and_the_others_as_soon_as_one_is_freed() -> Result<()> {
    if !root() {
        return Ok(());
    }
    let mut crowd = Crowd::new(6, "10.123.128.0/24")?;
    crowd.start()?;
    let waiting = eventually(WITHIN, "four agents have a block, two say why not", || {
        let owners = crowd.owners().map_err(|e| format!("{e:#}"))?;
        check(owners.len() == 4, format!("{owners:?}"))?;
        let mut waiting = Vec::new();
        for agent in crowd.agents.iter().filter(|agent| !owners.values().any(|owner| *owner == agent.name)) {
            let status = agent.status(&crowd.petiole).map_err(|e| format!("{e:#}"))?;
            let told = status["problems"].as_array().is_some_and(|problems| {
                problems
                    .iter()
                    .any(|p| p.as_str().is_some_and(|p| p.contains("10.123.128.0/24") && p.contains("exhausted")))
            });
            check(told, &status)?;
            waiting.push(agent.name.clone());
        }
        Ok::<_, String>(waiting)
    })?;
    ensure!(waiting.len() == 2, "{waiting:?}");
    for agent in crowd.agents.iter().filter(|agent| waiting.contains(&agent.name)) {
        let metrics = agent.netns.exec(&["curl", "-s", "http://127.0.0.1:9179/metrics"])?;
        let blocked = metrics.lines().find(|line| line.starts_with("petiole_ipam_claims_blocked")).unwrap_or_default();
        ensure!(blocked.ends_with(" 1") || blocked.ends_with(" 1.0"), "{}: {blocked:?}", agent.name);
        let log = fs::read_to_string(agent.folder.join("log"))?;
        ensure!(log.contains("exhausted"), "{}: {log}", agent.name);
    }

    // What `calicoctl` does when a node gives its blocks back: the block and its affinity go. Its agent is gone first.
    for round in 0..2 {
        let (key, owner) =
            crowd.owners()?.into_iter().find(|(_, owner)| !waiting.contains(owner)).context("no owner")?;
        let agent = crowd.agents.iter_mut().find(|agent| agent.name == owner).context("no such agent")?;
        if let Some(process) = agent.process.take() {
            process.end(petiole_labtests::Signal::KILL)?;
        }
        let block = key.trim_start_matches(BLOCKS);
        crowd.etcdctl(&["del", &format!("{AFFINITIES}{owner}/ipv4/block/{block}")])?;
        crowd.etcdctl(&["del", &key])?;
        eventually(Duration::from_secs(5), "a waiting agent takes the freed block", || {
            let owners = crowd.owners().map_err(|e| format!("{e:#}"))?;
            let served = owners.values().filter(|owner| waiting.contains(owner)).count();
            check(served == round + 1 && owners.len() == 4, format!("{owners:?}"))
        })?;
    }
    for agent in crowd.agents.iter().filter(|agent| waiting.contains(&agent.name)) {
        eventually(WITHIN, "the served agents have nothing to complain about", || {
            let status = agent.status(&crowd.petiole).map_err(|e| format!("{e:#}"))?;
            check(status["problems"].as_array().is_some_and(Vec::is_empty), &status["problems"])
        })?;
    }
    Ok(())
}
