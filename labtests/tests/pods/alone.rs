//! A node of its own, and what may be left of pods on it.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;

use anyhow::{Context, Result, ensure};
use petiole_labtests::ledger::audit;
use petiole_labtests::plugin::Call;
use petiole_labtests::{Binaries, Netns, Spawned, eventually};
use rustix::process::Signal;
use serde_json::{Value, json};
use tempfile::TempDir;

use super::WITHIN;

pub(crate) fn root(test: &str) -> bool {
    let root = rustix::process::geteuid().is_root();
    if !root {
        println!("not checked: {test}: needs root");
    }
    root
}

/// Where etcd listens, in the node's own namespace.
pub(crate) const ETCD: &str = "127.0.0.1:2379";

/// A node of its own: one namespace, the embedded store or an etcd of its own, no leaf.
pub(crate) struct Alone {
    // Processes go before their namespace.
    agent: Option<Spawned>,
    pub(crate) etcd: Option<Spawned>,
    folder: TempDir,
    pub(crate) netns: Netns,
    petiole: PathBuf,
    plugin: PathBuf,
}

impl Alone {
    pub(crate) fn new() -> Result<Self> {
        Self::with(false)
    }

    pub(crate) fn with(is_etcd: bool) -> Result<Self> {
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

    pub(crate) fn start(&mut self) -> Result<()> {
        let script = format!(
            "exec {} agent --config {1}/petiole.toml >>{1}/log 2>&1",
            self.petiole.display(),
            self.folder.path().display()
        );
        self.agent = Some(self.netns.spawn(&["sh", "-c", &script])?);
        Ok(())
    }

    pub(crate) fn kill(&mut self) -> Result<()> {
        if let Some(agent) = self.agent.take() {
            agent.end(Signal::KILL)?;
        }
        Ok(())
    }

    pub(crate) fn log(&self) -> String {
        fs::read_to_string(self.folder.path().join("log")).unwrap_or_default()
    }

    pub(crate) fn wait_ready(&self) -> Result<()> {
        eventually(WITHIN, "STATUS is served", || self.cni("STATUS", "", None, None).map_err(|e| format!("{e:#}")))?;
        Ok(())
    }

    pub(crate) fn conf(&self, prev: Option<&Value>) -> Value {
        let socket = self.folder.path().join("run/cni.sock");
        let mut conf = json!({ "cniVersion": "1.1.0", "name": "pods", "type": "petiole", "socket": socket });
        if let (Some(prev), Some(map)) = (prev, conf.as_object_mut()) {
            map.insert("prevResult".to_owned(), prev.clone());
        }
        conf
    }

    pub(crate) fn call<'a>(
        &self,
        command: &'a str,
        container: &'a str,
        netns: Option<&Netns>,
        conf: Value,
    ) -> Call<'a> {
        let call = Call::new(&self.plugin, command, container, conf);
        Call { netns: netns.map(|netns| format!("/run/netns/{}", netns.name())), ..call }
    }

    pub(crate) fn begin(
        &self,
        command: &str,
        container: &str,
        netns: Option<&Netns>,
        prev: Option<&Value>,
    ) -> Result<std::process::Child> {
        self.call(command, container, netns, self.conf(prev)).begin()
    }

    /// What the plugin says; an error of it is an error here.
    pub(crate) fn cni(
        &self,
        command: &str,
        container: &str,
        netns: Option<&Netns>,
        prev: Option<&Value>,
    ) -> Result<Value> {
        self.call(command, container, netns, self.conf(prev)).run()
    }

    pub(crate) fn interfaces(&self) -> Result<Vec<String>> {
        let links = self.netns.ip_json(&["link"])?;
        let names = links.as_array().into_iter().flatten().filter_map(|l| l["ifname"].as_str());
        Ok(names.filter(|n| n.starts_with("pet")).map(str::to_owned).collect())
    }

    pub(crate) fn pod_routes(&self) -> Result<Vec<String>> {
        let mut found = Vec::new();
        for family in ["-4", "-6"] {
            let routes = self.netns.ip_json(&[family, "route", "show", "proto", "179", "metric", "512"])?;
            found.extend(routes.as_array().into_iter().flatten().filter_map(|r| r["dst"].as_str().map(str::to_owned)));
        }
        Ok(found)
    }

    pub(crate) fn records(&self) -> Result<Vec<String>> {
        let entries = fs::read_dir(self.folder.path().join("state/endpoints"))?;
        entries.map(|e| Ok(e?.file_name().to_string_lossy().into_owned())).collect()
    }

    pub(crate) fn used(&self) -> Result<u64> {
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

    pub(crate) fn nothing_left(&self) -> Result<()> {
        let (interfaces, routes, records, used) =
            (self.interfaces()?, self.pod_routes()?, self.records()?, self.used()?);
        ensure!(
            interfaces.is_empty() && routes.is_empty() && records.is_empty() && used == 0,
            "left: {interfaces:?} {routes:?} {records:?}, {used} addresses"
        );
        self.is_consistent_with(0)
    }

    /// By the agent's own checker, and where the store can be read from outside by the one that was written apart.
    pub(crate) fn is_consistent_with(&self, pods: usize) -> Result<()> {
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
