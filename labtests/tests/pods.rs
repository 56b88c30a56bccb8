//! Pods by the real plugin and the real agent: a network namespace stands for a container.

use std::collections::BTreeMap;
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, ensure};
use petiole_labtests::ledger::audit;
use petiole_labtests::{Binaries, Lab, Netns, NodeHandle, Spawned, check, eventually, fabric};
use rustix::process::Signal;
use serde_json::{Value, json};
use tempfile::TempDir;

const WITHIN: Duration = Duration::from_secs(20);
const SETTLE: Duration = Duration::from_secs(60);
/// How often agent and plugin are killed, unless `PETIOLE_POD_KILLS` says otherwise.
const KILLS: u32 = 8;

fn root(test: &str) -> bool {
    let root = rustix::process::geteuid().is_root();
    if !root {
        println!("not checked: {test}: needs root");
    }
    root
}

/// Where etcd listens, in the node's own namespace.
const ETCD: &str = "127.0.0.1:2379";

/// A node of its own: one namespace, the embedded store or an etcd of its own, no leaf.
struct Alone {
    // Processes go before their namespace.
    agent: Option<Spawned>,
    etcd: Option<Spawned>,
    folder: TempDir,
    netns: Netns,
    petiole: PathBuf,
    plugin: PathBuf,
}

impl Alone {
    fn new() -> Result<Self> {
        Self::with(false)
    }

    fn with(is_etcd: bool) -> Result<Self> {
        let petiole = Binaries::find()?.agent.context("no agent binary: cargo build -p petiole")?;
        let plugin = petiole.with_file_name("petiole-cni");
        ensure!(plugin.is_file(), "no plugin: cargo build -p petiole-cni");
        let folder = TempDir::new()?;
        let netns = Netns::bare("pods-node")?;
        // The agent turns on what its pods need.
        for setting in ["net.ipv4.ip_forward=0", "net.ipv6.conf.all.forwarding=0"] {
            netns.exec(&["sysctl", "-qw", setting])?;
        }
        let path = folder.path().display();
        let mut etcd = None;
        let mut store = format!("embedded = \"{path}/store\"");
        if is_etcd {
            store = format!("etcd = {{ endpoints = [\"http://{ETCD}\"] }}");
            let script = format!(
                "exec etcd --data-dir {path}/etcd --listen-client-urls http://{ETCD} --advertise-client-urls http://{ETCD} \
                 --listen-peer-urls http://127.0.0.1:2380 >{path}/etcd.log 2>&1"
            );
            etcd = Some(netns.spawn(&["sh", "-c", &script])?);
        }
        let config = format!(
            "[node]\nname = \"worker1\"\nroles = [\"worker\"]\n\
             addresses = [\"10.122.0.11/32\", \"fd00:122::11/128\"]\n[store]\n{store}\n[ipam]\n\
             pools = [{{ cidr = \"10.123.128.0/17\" }}, {{ cidr = \"fd00:123:8000::/112\" }}]\n\
             [paths]\nstate = \"{path}/state\"\nrun = \"{path}/run\"\n"
        );
        fs::write(folder.path().join("petiole.toml"), config)?;
        let mut alone = Self { agent: None, etcd, folder, netns, petiole, plugin };
        alone.start()?;
        alone.wait_ready()?;
        Ok(alone)
    }

    fn start(&mut self) -> Result<()> {
        let script = format!(
            "exec {} agent --config {1}/petiole.toml >>{1}/log 2>&1",
            self.petiole.display(),
            self.folder.path().display()
        );
        self.agent = Some(self.netns.spawn(&["sh", "-c", &script])?);
        Ok(())
    }

    fn kill(&mut self) -> Result<()> {
        if let Some(agent) = self.agent.take() {
            agent.end(Signal::KILL)?;
        }
        Ok(())
    }

    fn log(&self) -> String {
        fs::read_to_string(self.folder.path().join("log")).unwrap_or_default()
    }

    fn wait_ready(&self) -> Result<()> {
        eventually(WITHIN, "STATUS is served", || self.cni("STATUS", "", None, None).map_err(|e| format!("{e:#}")))?;
        Ok(())
    }

    fn conf(&self, prev: Option<&Value>) -> Value {
        let socket = self.folder.path().join("run/cni.sock");
        let mut conf = json!({ "cniVersion": "1.1.0", "name": "pods", "type": "petiole", "socket": socket });
        if let (Some(prev), Some(map)) = (prev, conf.as_object_mut()) {
            map.insert("prevResult".to_owned(), prev.clone());
        }
        conf
    }

    fn begin(
        &self,
        command: &str,
        container: &str,
        netns: Option<&Netns>,
        prev: Option<&Value>,
    ) -> Result<std::process::Child> {
        let mut plugin = Command::new(&self.plugin);
        plugin.env_clear().env("CNI_COMMAND", command).env("CNI_PATH", "/opt/cni/bin");
        if !container.is_empty() {
            plugin.env("CNI_CONTAINERID", container).env("CNI_IFNAME", "eth0");
        }
        if let Some(netns) = netns {
            plugin.env("CNI_NETNS", format!("/run/netns/{}", netns.name()));
        }
        let mut child = plugin.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
        let mut stdin = child.stdin.take().context("no stdin")?;
        stdin.write_all(self.conf(prev).to_string().as_bytes())?;
        Ok(child)
    }

    /// What the plugin says; an error of it is an error here.
    fn cni(&self, command: &str, container: &str, netns: Option<&Netns>, prev: Option<&Value>) -> Result<Value> {
        let output = self.begin(command, container, netns, prev)?.wait_with_output()?;
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        ensure!(output.status.success(), "{command} {container}: {text}");
        if text.trim().is_empty() {
            return Ok(Value::Null);
        }
        Ok(serde_json::from_str(&text)?)
    }

    fn interfaces(&self) -> Result<Vec<String>> {
        let links = self.netns.ip_json(&["link"])?;
        let names = links.as_array().into_iter().flatten().filter_map(|l| l["ifname"].as_str());
        Ok(names.filter(|n| n.starts_with("pet")).map(str::to_owned).collect())
    }

    fn pod_routes(&self) -> Result<Vec<String>> {
        let mut found = Vec::new();
        for family in ["-4", "-6"] {
            let routes = self.netns.ip_json(&[family, "route", "show", "proto", "179", "metric", "512"])?;
            found.extend(routes.as_array().into_iter().flatten().filter_map(|r| r["dst"].as_str().map(str::to_owned)));
        }
        Ok(found)
    }

    fn records(&self) -> Result<Vec<String>> {
        let entries = fs::read_dir(self.folder.path().join("state/endpoints"))?;
        entries.map(|e| Ok(e?.file_name().to_string_lossy().into_owned())).collect()
    }

    fn used(&self) -> Result<u64> {
        let socket = self.folder.path().join("run/api.sock");
        let text = self.netns.exec(&[
            "curl",
            "-sf",
            "--unix-socket",
            &socket.display().to_string(),
            "http://localhost/v1/ipam/blocks",
        ])?;
        let view: Value = serde_json::from_str(&text)?;
        let blocks = view["blocks"].as_array().context("no blocks")?;
        Ok(blocks.iter().filter_map(|b| b["used"].as_u64()).sum())
    }

    fn nothing_left(&self) -> Result<()> {
        let (interfaces, routes, records, used) =
            (self.interfaces()?, self.pod_routes()?, self.records()?, self.used()?);
        ensure!(
            interfaces.is_empty() && routes.is_empty() && records.is_empty() && used == 0,
            "left: {interfaces:?} {routes:?} {records:?}, {used} addresses"
        );
        self.is_consistent_with(0)
    }

    /// By the agent's own checker, and where the store can be read from outside by the one that was written apart.
    fn is_consistent_with(&self, pods: usize) -> Result<()> {
        let socket = self.folder.path().join("run/api.sock").display().to_string();
        let petiole = self.petiole.display().to_string();
        let said = self.netns.command(&[&petiole, "ipam", "check", "--socket", &socket, "-o", "json"]).output()?;
        let view: Value = serde_json::from_slice(&said.stdout).context("`ipam check` says nothing")?;
        ensure!(view["clean"] == true && said.status.success(), "{view}");
        if self.etcd.is_some() {
            let text = self.netns.exec(&["env", "ETCDCTL_API=3", "etcdctl", "get", "--prefix", "/calico/ipam/v2/"])?;
            let mut lines = text.lines();
            let mut keyspace = BTreeMap::new();
            while let (Some(key), Some(value)) = (lines.next(), lines.next()) {
                keyspace.insert(key.to_owned(), serde_json::from_str(value).unwrap_or(Value::Null));
            }
            let differences = audit(&keyspace);
            ensure!(!keyspace.is_empty() && differences.is_empty(), "{differences:?}");
            let handles: Vec<&String> = keyspace.keys().filter(|key| key.contains("/handle/")).collect();
            ensure!(handles.len() == pods, "{handles:?}");
        }
        Ok(())
    }
}

/// The addresses of a result, IPv4 first.
fn addresses(result: &Value) -> Result<Vec<String>> {
    let ips = result["ips"].as_array().context("no ips")?;
    let hosts = ips.iter().filter_map(|ip| ip["address"].as_str()?.split_once('/').map(|(a, _)| a.to_owned()));
    Ok(hosts.collect())
}

#[test]
fn a_pod_is_reachable_when_add_answers_and_del_leaves_nothing() -> Result<()> {
    if !root("a_pod_is_reachable_when_add_answers_and_del_leaves_nothing") {
        return Ok(());
    }
    let node = Alone::new()?;
    let pods = [Netns::bare("pods-a")?, Netns::bare("pods-b")?];
    let mut results = Vec::new();
    for (number, pod) in pods.iter().enumerate() {
        let begun = Instant::now();
        let result =
            node.cni("ADD", &format!("c{number}"), Some(pod), None).map_err(|e| anyhow!("{e:#}\n{}", node.log()))?;
        let took = begun.elapsed();
        let found = addresses(&result)?;
        ensure!(found.len() == 2, "{result}");
        for address in &found {
            let ping = node.netns.exec(&["ping", "-c", "1", "-W", "1", "-M", "do", "-s", "1400", address])?;
            let time = ping.split("time=").nth(1).and_then(|t| t.split(' ').next()).unwrap_or("?");
            println!("ADD took {took:?}; the first ping to {address} {time} ms");
        }
        let again = node.cni("ADD", &format!("c{number}"), Some(pod), None)?;
        ensure!(again == result, "{again} is not {result}");
        node.cni("CHECK", &format!("c{number}"), Some(pod), Some(&result))?;
        results.push(result);
    }
    for (from, to) in [(0, 1), (1, 0)] {
        for address in addresses(&results[to])? {
            pods[from].exec(&["ping", "-c", "1", "-W", "1", "-M", "do", "-s", "1400", &address])?;
        }
    }
    ensure!(node.interfaces()?.len() == 2 && node.pod_routes()?.len() == 4, "{:?}", node.pod_routes());
    let link = pods[0].ip_json(&["link", "show", "dev", "eth0"])?;
    ensure!(link[0]["address"] == results[0]["interfaces"][1]["mac"] && link[0]["mtu"] == 1500, "{link}");

    pods[1].exec(&["ip", "addr", "flush", "dev", "eth0", "scope", "global"])?;
    let check = node.cni("CHECK", "c1", Some(&pods[1]), Some(&results[1]));
    ensure!(check.is_err(), "CHECK does not see that the addresses are gone");

    node.cni("DEL", "c0", Some(&pods[0]), None)?;
    let [_, second] = pods;
    // The namespace is gone before the second is deleted.
    drop(second);
    node.cni("DEL", "c1", None, None)?;
    node.cni("DEL", "c1", None, None)?;
    node.cni("DEL", "never-seen", None, None)?;
    eventually(WITHIN, "nothing is left", || node.nothing_left())?;
    Ok(())
}

#[test]
fn kill_9_of_plugin_and_agent_leaves_nothing() -> Result<()> {
    if !root("kill_9_of_plugin_and_agent_leaves_nothing") {
        return Ok(());
    }
    kill_9(Alone::new()?)
}

#[test]
fn kill_9_of_plugin_and_agent_leaves_nothing_in_etcd() -> Result<()> {
    if !root("kill_9_of_plugin_and_agent_leaves_nothing_in_etcd") {
        return Ok(());
    }
    kill_9(Alone::with(true)?)
}

fn kill_9(mut node: Alone) -> Result<()> {
    let kills = std::env::var("PETIOLE_POD_KILLS").ok().and_then(|n| n.parse().ok()).unwrap_or(KILLS);
    // Any sequence does; this one is the same every time.
    let mut random = 0x2545_f491_4f6c_dd1d_u64;
    let mut next = |below: u64| {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        random % below
    };
    // As long as each takes here and now, so that the instants are those of its own steps.
    let (adding, deleting) = (0..3).try_fold((0, 0), |(adding, deleting), _| -> Result<_> {
        let pod = Netns::bare("pods-k")?;
        let begun = Instant::now();
        node.cni("ADD", "timed", Some(&pod), None)?;
        let added = begun.elapsed();
        node.cni("DEL", "timed", Some(&pod), None)?;
        let micros = |time: Duration| u64::try_from(time.as_micros()).unwrap_or(u64::MAX);
        Ok((adding.max(micros(added)), deleting.max(micros(begun.elapsed() - added))))
    })?;
    let mut served = 0;
    for round in 0..kills {
        let pod = Netns::bare("pods-k")?;
        let container = format!("k{round}");
        let mut add = node.begin("ADD", &container, Some(&pod), None)?;
        let del_too = next(3) == 0;
        if del_too {
            add.wait()?;
            let mut del = node.begin("DEL", &container, Some(&pod), None)?;
            std::thread::sleep(Duration::from_micros(next(deleting * 5 / 4)));
            node.kill()?;
            del.kill()?;
            del.wait()?;
        } else {
            std::thread::sleep(Duration::from_micros(next(adding * 5 / 4)));
            if next(2) == 0 {
                add.kill()?;
            }
            node.kill()?;
            served += u32::from(add.wait()?.success());
        }
        node.start()?;
        // What a runtime does after a failed ADD, and again until it is done.
        eventually(WITHIN, "DEL is served", || {
            node.cni("DEL", &container, Some(&pod), None).map_err(|e| format!("{e:#}\n{}", node.log()))
        })?;
    }
    println!(
        "{kills} kills within {adding} us of an ADD or {deleting} us of a DEL; {served} ADDs were answered before"
    );
    node.wait_ready()?;
    // Also with a container there.
    let pod = Netns::bare("pods-k")?;
    node.cni("ADD", "last", Some(&pod), None)?;
    eventually(SETTLE, "nothing contradicts anything", || {
        ensure!(node.interfaces()?.len() == 1 && node.used()? == 2, "{:?}, {} used", node.interfaces()?, node.used()?);
        node.is_consistent_with(1)
    })?;
    node.cni("DEL", "last", Some(&pod), None)?;
    eventually(WITHIN, "nothing is left", || node.nothing_left())?;
    // Nor does a fresh agent find anything.
    node.kill()?;
    node.start()?;
    node.wait_ready()?;
    node.nothing_left()
}

/// A container on a node of the fabric.
struct Pod {
    node: NodeHandle,
    name: &'static str,
    plugin: PathBuf,
}

impl Pod {
    /// The plugin runs outside: it needs no more of the node than the agent's socket and the open namespace.
    fn cni(&self, command: &str) -> Result<Value> {
        let inside = format!("/proc/{}/root", self.node.pid().context("the node does not run")?);
        let conf = json!({
            "cniVersion": "1.1.0", "name": "pods", "type": "petiole", "socket": format!("{inside}/run/petiole/cni.sock"),
        });
        let mut plugin = Command::new(&self.plugin);
        plugin.env_clear().env("CNI_COMMAND", command).env("CNI_PATH", "/opt/cni/bin");
        plugin.env("CNI_CONTAINERID", self.name).env("CNI_IFNAME", "eth0");
        plugin.env("CNI_NETNS", format!("{inside}/run/netns/{}", self.name));
        let mut child = plugin.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
        child.stdin.take().context("no stdin")?.write_all(conf.to_string().as_bytes())?;
        let output = child.wait_with_output()?;
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        ensure!(output.status.success(), "{command} {}: {text}", self.name);
        Ok(if text.trim().is_empty() { Value::Null } else { serde_json::from_str(&text)? })
    }

    fn ping(&self, address: &str) -> Result<()> {
        // 1500 octets with either family's headers.
        let size = if address.contains(':') { "1452" } else { "1472" };
        let argv = ["ip", "netns", "exec", self.name, "ping", "-c", "1", "-W", "2", "-M", "do", "-s", size, address];
        self.node.exec(&argv).map(drop)
    }
}

fn wired(lab: &Lab, node: &str, name: &'static str, plugin: &Path) -> Result<(Pod, Vec<String>)> {
    let node = lab.node(node)?;
    node.exec(&["ip", "netns", "add", name])?;
    let pod = Pod { node, name, plugin: plugin.to_owned() };
    let result = pod.cni("ADD")?;
    let addresses = addresses(&result)?;
    Ok((pod, addresses))
}

#[test]
fn pods_of_two_racks_reach_each_other_and_the_leaf_sees_blocks_only() -> Result<()> {
    if !root("pods_of_two_racks_reach_each_other_and_the_leaf_sees_blocks_only") {
        return Ok(());
    }
    let plugin = Binaries::find()?.agent.context("no agent binary")?.with_file_name("petiole-cni");
    ensure!(plugin.is_file(), "no plugin: cargo build -p petiole-cni");
    let lab = fabric::clos("pods")?;
    fabric::wait_settled(&lab, SETTLE)?;
    let tables = |lab: &Lab| -> Result<Vec<Vec<String>>> {
        let mut all = Vec::new();
        for leaf in ["leaf1", "leaf4"] {
            for family in ["ipv4", "ipv6"] {
                all.push(fabric::prefixes(&lab.node(leaf)?, family)?);
            }
        }
        Ok(all)
    };
    let before = tables(&lab)?;
    let (one, ones) = wired(&lab, "worker1", "p1", &plugin)?;
    let (four, fours) = wired(&lab, "worker4", "p4", &plugin)?;
    for address in &fours {
        one.ping(address)?;
    }
    for address in &ones {
        four.ping(address)?;
    }
    for client in ["10.120.201.10", "fd00:120:201:1::10"] {
        four.ping(client)?;
    }
    ensure!(tables(&lab)? == before, "the leaves' tables changed with pods");
    for pod in [&one, &four] {
        pod.cni("DEL")?;
        let links = pod.node.sh("ip -o link | grep -c ': pet' || true")?;
        ensure!(links.trim() == "0", "{links}");
        eventually(WITHIN, "no pod route", || {
            let routes = pod.node.sh("(ip -4 route; ip -6 route) | grep -c 'metric 512' || true")?;
            ensure!(routes.trim() == "0", "{routes}");
            Ok::<_, anyhow::Error>(())
        })?;
    }
    check(tables(&lab)? == before, "the leaves' tables changed with pods").map_err(anyhow::Error::msg)?;
    lab.down()
}
