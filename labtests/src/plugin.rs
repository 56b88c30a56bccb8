//! CNI plugins as a container runtime runs them.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};

use crate::{Netns, NodeHandle};

/// One call of a plugin for the interface `eth0`.
#[derive(Clone, Debug)]
pub struct Call<'a> {
    /// The executable, and what it is to be run by, if anything.
    pub argv: Vec<PathBuf>,
    /// `CNI_COMMAND`.
    pub command: &'a str,
    /// `CNI_CONTAINERID`; empty for none.
    pub container: &'a str,
    /// `CNI_NETNS`.
    pub netns: Option<String>,
    /// Standard input.
    pub conf: Value,
}

impl<'a> Call<'a> {
    /// A plugin that is run here.
    #[must_use]
    pub fn new(plugin: &Path, command: &'a str, container: &'a str, conf: Value) -> Self {
        Self { argv: vec![plugin.to_owned()], command, container, netns: None, conf }
    }

    /// With the namespace of this path.
    #[must_use]
    pub fn netns(mut self, path: impl Into<String>) -> Self {
        self.netns = Some(path.into());
        self
    }

    /// A plugin that is run in a node's namespace: one that touches interfaces itself.
    #[must_use]
    pub fn on(mut self, node: &Netns) -> Self {
        let by = ["ip", "netns", "exec", node.name()].map(PathBuf::from);
        self.argv.splice(0..0, by);
        self
    }

    /// Runs it.
    ///
    /// # Errors
    /// It cannot be run, or does not read.
    pub fn begin(&self) -> Result<Child> {
        let (program, rest) = self.argv.split_first().context("no plugin")?;
        let mut plugin = Command::new(program);
        plugin.args(rest).env_clear().env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin");
        plugin.env("CNI_COMMAND", self.command).env("CNI_PATH", "/opt/cni/bin:/usr/lib/cni");
        if !self.container.is_empty() {
            plugin.env("CNI_CONTAINERID", self.container).env("CNI_IFNAME", "eth0");
        }
        if let Some(netns) = &self.netns {
            plugin.env("CNI_NETNS", netns);
        }
        let plugin = plugin.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = plugin.spawn().with_context(|| format!("cannot run {:?}", self.argv))?;
        child.stdin.take().context("no stdin")?.write_all(self.conf.to_string().as_bytes())?;
        Ok(child)
    }

    /// What it prints, `null` for nothing; the inner error is the plugin's own, as it printed it.
    ///
    /// # Errors
    /// It cannot be run, or prints what is no JSON.
    pub fn answer(&self) -> Result<Result<Value, Value>> {
        let output = self.begin()?.wait_with_output()?;
        let text = String::from_utf8_lossy(&output.stdout);
        let printed = if text.trim().is_empty() { Value::Null } else { serde_json::from_str(&text)? };
        Ok(if output.status.success() { Ok(printed) } else { Err(printed) })
    }

    /// What it prints; an error of it is an error here.
    ///
    /// # Errors
    /// As above.
    pub fn run(&self) -> Result<Value> {
        self.answer()?.map_err(|failure| anyhow::anyhow!("{} {}: {failure}", self.command, self.container))
    }
}

/// A container on a node of a lab: a namespace with a name.
#[derive(Clone, Debug)]
pub struct Pod {
    /// Its node.
    pub node: NodeHandle,
    /// Its name, and its namespace's.
    pub name: &'static str,
    plugin: PathBuf,
}

impl Pod {
    /// A new one, on no network.
    ///
    /// # Errors
    /// The name is taken there.
    pub fn new(node: NodeHandle, name: &'static str, plugin: &Path) -> Result<Self> {
        node.exec(&["ip", "netns", "add", name])?;
        Ok(Self { node, name, plugin: plugin.to_owned() })
    }

    /// The plugin runs outside: it needs no more of the node than the agent's socket and the open namespace.
    ///
    /// # Errors
    /// What the plugin says.
    pub fn cni(&self, command: &str, ips: &[String]) -> Result<Value> {
        let inside = format!("/proc/{}/root", self.node.pid().context("the node does not run")?);
        let conf = json!({
            "cniVersion": "1.1.0", "name": "pods", "type": "petiole", "socket": format!("{inside}/run/petiole/cni.sock"),
            "runtimeConfig": { "ips": ips },
        });
        let call = Call::new(&self.plugin, command, self.name, conf);
        call.netns(format!("{inside}/run/netns/{}", self.name)).run()
    }
}

/// The addresses of a result, IPv4 first.
///
/// # Errors
/// It has no list of them.
pub fn addresses(result: &Value) -> Result<Vec<String>> {
    let ips = result["ips"].as_array().context("no ips")?;
    let hosts = ips.iter().filter_map(|ip| ip["address"].as_str()?.split_once('/').map(|(a, _)| a.to_owned()));
    let hosts: Vec<String> = hosts.collect();
    ensure!(hosts.len() == ips.len(), "an address without a length: {result}");
    Ok(hosts)
}
