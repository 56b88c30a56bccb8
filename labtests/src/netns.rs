//! Named network namespaces (`ip netns`) and the links between them.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use rustix::mount::{UnmountFlags, unmount};
use serde_json::Value;

use crate::command::{self, Spawned};
use crate::procs::Belonging;

/// The file of a named namespace.
pub(crate) fn path(name: &str) -> PathBuf {
    Path::new("/run/netns").join(name)
}

/// Makes a namespace; `mark` goes to the child that makes it.
pub(crate) fn add(name: &str, mark: Option<&Path>) -> Result<()> {
    let mut ip = Command::new("ip");
    ip.args(["netns", "add", name]);
    if let Some(mark) = mark {
        ip.env(crate::procs::MARK, mark);
    }
    command::run(&mut ip).map(drop)
}

/// Removes a namespace's name; a name that is not there is no error. The namespace goes with its last process.
pub(crate) fn remove(name: &str) -> Result<()> {
    let path = path(name);
    // More than one mount lies on the file when its making was interrupted and begun again.
    while unmount(&path, UnmountFlags::DETACH).is_ok() {}
    match fs::remove_file(&path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(error).with_context(|| format!("cannot remove {}", path.display()))
        }
        _ => Ok(()),
    }
}

/// A bare network namespace with `lo` up, for tests that need no switches: no private mounts, no PID 1. It goes with
/// this value, and its processes with it.
#[derive(Debug)]
pub struct Netns {
    name: String,
}

impl Netns {
    /// Makes a namespace whose name starts with `prefix` and is used by nobody else.
    pub fn bare(prefix: &str) -> Result<Self> {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let name = format!("{prefix}-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        add(&name, None)?;
        let netns = Self { name };
        netns.exec(&["ip", "link", "set", "lo", "up"])?;
        Ok(netns)
    }

    /// Its name, as `ip netns` shows it.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// A command that will run inside.
    pub fn command(&self, argv: &[&str]) -> Command {
        let mut command = Command::new("nsenter");
        command.arg(format!("--net={}", path(&self.name).display())).arg("--").args(argv);
        command
    }

    /// Runs a command inside to its end and returns what it wrote; a failure is an error with its complaint.
    pub fn exec(&self, argv: &[&str]) -> Result<String> {
        command::run(self.command(argv).stdin(Stdio::null())).with_context(|| self.name.clone())
    }

    /// Starts a command inside.
    pub fn spawn(&self, argv: &[&str]) -> Result<Spawned> {
        Spawned::direct(self.command(argv)).with_context(|| self.name.clone())
    }

    /// `ip -json ARGS`, read.
    pub fn ip_json(&self, args: &[&str]) -> Result<Value> {
        command::json(&self.exec(&[&["ip", "-json"], args].concat())?)
    }

    /// Joins two namespaces by a veth pair, both ends up.
    pub fn connect(&self, interface: &str, peer: &Self, peer_interface: &str, mtu: u32) -> Result<()> {
        let mtu = mtu.to_string();
        let mtu = mtu.as_str();
        command::run(Command::new("ip").args([
            "link",
            "add",
            "name",
            interface,
            "netns",
            &self.name,
            "mtu",
            mtu,
            "type",
            "veth",
            "peer",
            "name",
            peer_interface,
            "netns",
            &peer.name,
            "mtu",
            mtu,
        ]))?;
        // An end cannot be made up before the other end exists.
        self.exec(&["ip", "link", "set", interface, "up"])?;
        peer.exec(&["ip", "link", "set", peer_interface, "up"]).map(drop)
    }
}

impl Drop for Netns {
    fn drop(&mut self) {
        let mut inside = Belonging::default();
        inside.or_in(&path(&self.name));
        if let Err(error) = inside.kill(Duration::from_secs(5)).and_then(|()| remove(&self.name)) {
            eprintln!("namespace {}: {error:#}", self.name);
        }
    }
}

/// Runs the lines of an `ip -batch`, on the host or in a namespace.
pub(crate) fn batch(netns: Option<&str>, lines: &str, mark: &Path) -> Result<()> {
    if lines.is_empty() {
        return Ok(());
    }
    let mut ip = match netns {
        None => Command::new("ip"),
        Some(name) => {
            let mut nsenter = Command::new("nsenter");
            nsenter.arg(format!("--net={}", path(name).display())).args(["--", "ip"]);
            nsenter
        }
    };
    ip.args(["-batch", "-"]).env(crate::procs::MARK, mark);
    let output = command::feed(&mut ip, lines.as_bytes())?;
    if !output.status.success() {
        bail!("{}: ip: {}", netns.unwrap_or("host"), String::from_utf8_lossy(&output.stderr).trim());
    }
    Ok(())
}
