//! One node of a running lab, from outside.

use std::fs;
use std::io::Write;
use std::path::PathBuf;
use std::process::{Command, Output};
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail};
use rustix::process::Signal;
use serde_json::Value;

use crate::command::{self, Spawned};
use crate::procs::{self, Belonging, Identity};
use crate::state::{self, NodeRecord};
use crate::wait::{check, eventually};

/// A handle; the node itself does not notice it.
#[derive(Debug, Clone)]
pub struct NodeHandle {
    lab: PathBuf,
    record: NodeRecord,
}

impl NodeHandle {
    pub(crate) fn new(lab: PathBuf, record: NodeRecord) -> Self {
        Self { lab, record }
    }

    /// Its name in the topology.
    pub fn name(&self) -> &str {
        &self.record.name
    }

    /// What was recorded of it.
    pub fn record(&self) -> &NodeRecord {
        &self.record
    }

    /// The host's id of its PID 1, while that runs.
    pub fn pid(&self) -> Option<i32> {
        let text = fs::read_to_string(self.dir().join("pid")).ok()?;
        let pid = text.trim().parse().ok()?;
        // The number may have gone to another process since; a lab's processes carry the lab's mark.
        let ours = Belonging::marked(&self.lab);
        Identity::of(pid).filter(|identity| identity.alive() && ours.includes(pid)).map(|identity| identity.pid)
    }

    /// What PID 1 wrote, and what the runner noted.
    pub fn console(&self) -> String {
        fs::read_to_string(self.dir().join("console.log")).unwrap_or_default()
    }

    pub(crate) fn note(&self, text: &str) {
        let console = fs::OpenOptions::new().append(true).open(self.dir().join("console.log"));
        let _noted = console.and_then(|mut console| writeln!(console, "petiole-lab: {text}"));
    }

    fn dir(&self) -> PathBuf {
        state::node_dir(&self.lab, &self.record.name)
    }

    /// A command that will run inside all of the node's namespaces, with the node's environment.
    pub fn command(&self, argv: &[&str]) -> Result<Command> {
        let pid = self.pid().ok_or_else(|| anyhow!("node `{}` is not running", self.record.name))?;
        let mut command = Command::new("nsenter");
        command
            .args(["--target", &pid.to_string(), "--mount", "--uts", "--ipc", "--net", "--pid", "--"])
            .args(argv)
            .env_clear()
            .envs(self.record.env.iter().map(|(key, value)| (key, value)));
        Ok(command)
    }

    /// Runs a command to its end, whatever the end is.
    pub fn output(&self, argv: &[&str]) -> Result<Output> {
        command::output(&mut self.command(argv)?).with_context(|| self.record.name.clone())
    }

    /// Runs a command to its end and returns what it wrote; a failure is an error with its complaint.
    pub fn exec(&self, argv: &[&str]) -> Result<String> {
        command::run(&mut self.command(argv)?).with_context(|| self.record.name.clone())
    }

    /// Runs a line of shell.
    pub fn sh(&self, script: &str) -> Result<String> {
        self.exec(&["sh", "-c", script])
    }

    /// Starts a command and returns at once.
    pub fn spawn(&self, argv: &[&str]) -> Result<Spawned> {
        Spawned::nested(self.command(argv)?).with_context(|| self.record.name.clone())
    }

    /// `vtysh -c COMMAND`, read as JSON: `show bgp ipv4 unicast json`.
    pub fn vtysh_json(&self, command: &str) -> Result<Value> {
        command::json(&self.exec(&["vtysh", "-c", command])?)
    }

    /// Lines of FRR configuration, entered as in `configure terminal`.
    pub fn vtysh_configure(&self, lines: &[&str]) -> Result<()> {
        let mut argv = vec!["vtysh", "-c", "configure terminal"];
        argv.extend(lines.iter().flat_map(|line| ["-c", line]));
        self.exec(&argv).map(drop)
    }

    /// `ip -json ARGS`, read: `["-6", "route", "show"]`.
    pub fn ip_json(&self, args: &[&str]) -> Result<Value> {
        command::json(&self.exec(&[&["ip", "-json"], args].concat())?)
    }

    /// `petiole ARGS -o json`, read.
    pub fn petiole_json(&self, args: &[&str]) -> Result<Value> {
        command::json(&self.exec(&[&["petiole"], args, &["-o", "json"]].concat())?)
    }

    /// Replaces a file inside the node; the host's stays as it is.
    pub fn write(&self, path: &str, content: &str) -> Result<()> {
        let mut command = self.command(&["sh", "-c", "cat >\"$0\"", path])?;
        let output = command::feed(&mut command, content.as_bytes())?;
        if !output.status.success() {
            bail!("{}: {path}: {}", self.record.name, String::from_utf8_lossy(&output.stderr).trim());
        }
        Ok(())
    }

    /// Runs a command that reads these bytes.
    pub fn feed(&self, argv: &[&str], input: &[u8]) -> Result<()> {
        let output = command::feed(&mut self.command(argv)?, input)?;
        if !output.status.success() {
            bail!("{}: {argv:?}: {}", self.record.name, String::from_utf8_lossy(&output.stderr).trim());
        }
        Ok(())
    }

    /// Reads a file inside the node.
    pub fn read(&self, path: &str) -> Result<String> {
        self.exec(&["cat", path])
    }

    /// What a service wrote.
    pub fn log(&self, service: &str) -> Result<String> {
        self.read(&format!("/run/lab/{service}.log"))
    }

    /// The host's id of a service's process, while it runs.
    pub fn service(&self, service: &str) -> Option<i32> {
        let inner = self.read(&format!("/run/lab/{service}.pid")).ok()?.trim().parse().ok()?;
        procs::outer(self.pid()?, inner)
    }

    /// Sends a signal to a service.
    pub fn kill(&self, service: &str, signal: Signal) -> Result<()> {
        let pid = self.service(service);
        let pid = pid.ok_or_else(|| anyhow!("{}: service `{service}` is not running", self.record.name))?;
        procs::signal(pid, signal);
        Ok(())
    }

    /// Sends a signal to a service and waits until its process is gone.
    pub fn stop(&self, service: &str, signal: Signal) -> Result<()> {
        let pid = self.service(service).and_then(Identity::of);
        let identity = pid.ok_or_else(|| anyhow!("{}: service `{service}` is not running", self.record.name))?;
        procs::signal(identity.pid, signal);
        let what = format!("{}: {service} ends", self.record.name);
        eventually(Duration::from_secs(30), &what, || check(!identity.alive(), "it runs"))
    }

    /// Starts a service that ended: nothing starts again by itself.
    pub fn start(&self, service: &str) -> Result<()> {
        self.exec(&["/usr/local/lib/lab/init.sh", "start", service]).map(drop)
    }

    /// Turns the node's health endpoint on or off.
    pub fn health(&self, healthy: bool) -> Result<()> {
        self.exec(if healthy { &["touch", "/run/health"] } else { &["rm", "-f", "/run/health"] }).map(drop)
    }

    /// Sets an interface down.
    pub fn link_down(&self, interface: &str) -> Result<()> {
        self.exec(&["ip", "link", "set", interface, "down"]).map(drop)
    }

    /// Sets an interface up.
    pub fn link_up(&self, interface: &str) -> Result<()> {
        self.exec(&["ip", "link", "set", interface, "up"]).map(drop)
    }

    /// Sends `count` pings of `size` bytes of IP packet, not to be fragmented; fails unless all are answered.
    pub fn ping(&self, address: &str, size: u32, count: u32) -> Result<()> {
        self.ping_by(&[], address, size, count)
    }

    /// The same, with the beginning of a command that runs `ping` elsewhere in the node.
    pub(crate) fn ping_by(&self, by: &[&str], address: &str, size: u32, count: u32) -> Result<()> {
        // IPv4 and ICMP have 20 + 8 bytes of header, IPv6 and ICMPv6 40 + 8.
        let payload = size.saturating_sub(if address.contains(':') { 48 } else { 28 });
        let [payload, count] = [payload, count].map(|n| n.to_string());
        let argv = ["ping", "-n", "-q", "-M", "do", "-i", "0.05", "-W", "1", "-s", &payload, "-c", &count, address];
        let output = self.output(&[by, &argv].concat())?;
        let said = String::from_utf8_lossy(&output.stdout);
        if !output.status.success() || !said.contains(" 0% packet loss") {
            bail!("{}: ping {address}: {}{}", self.record.name, said.trim(), String::from_utf8_lossy(&output.stderr));
        }
        Ok(())
    }
}
