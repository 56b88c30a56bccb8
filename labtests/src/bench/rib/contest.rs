//! Both receivers on one link, one after the other: started, fed, looked at from outside.

use std::fs;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4, TcpStream};
use std::os::fd::AsFd;
use std::path::Path;
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, bail};
use rustix::net::{AddressFamily, SocketType, bind, connect, socket};
use serde::Serialize;
use tempfile::TempDir;

use super::feed::{Leaf, NODE, NODE_ASN, PORT};
use super::receiver::Report;
use crate::bench::wire::{self, Message};
use crate::{Netns, Spawned, eventually};

/// Beyond this it is not slow but broken.
const PATIENCE: Duration = Duration::from_secs(60);

/// Who receives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Who {
    Petiole,
    Bird,
}

/// What a step of a round came to.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Step {
    /// Processor time of the receiver from before the step until it was idle again, seconds.
    pub(crate) cpu: f64,
    /// Proportional set size above the empty process, bytes.
    pub(crate) pss: u64,
    /// Resident set size above the empty process, bytes.
    pub(crate) rss: u64,
    /// What Petiole's receiver said of itself.
    pub(crate) report: Option<Report>,
}

/// Two namespaces and a link.
#[derive(Debug)]
pub(crate) struct Link {
    // Goes with this value.
    _leaf: Netns,
    node: Netns,
    folder: TempDir,
}

impl Link {
    /// From here on the calling thread lives in the leaves' network namespace.
    pub(crate) fn new() -> Result<Self> {
        let (leaf, node) = (Netns::bare("bench-rib-leaf")?, Netns::bare("bench-rib-node")?);
        leaf.connect("eth1", &node, "eth1", 1500)?;
        let on_leaf: Vec<String> = Leaf::BOTH
            .iter()
            .flat_map(|leaf| [format!("{}/24", leaf.address()), format!("{}/64", leaf.address6())])
            .collect();
        let on_node = [format!("{NODE}/24"), format!("{}/64", Leaf(NODE.octets()[3]).address6())];
        for (netns, addresses) in [(&leaf, on_leaf.as_slice()), (&node, on_node.as_slice())] {
            for address in addresses {
                let words = ["ip", "address", "add", address.as_str(), "dev", "eth1"];
                let nodad: &[&str] = if address.contains(':') { &["nodad"] } else { &[] };
                netns.exec(&[&words, nodad].concat())?;
            }
        }
        let namespace = fs::File::open(Path::new("/run/netns").join(leaf.name()))?;
        let kind = Some(rustix::thread::LinkNameSpaceType::Network);
        rustix::thread::move_into_link_name_space(namespace.as_fd(), kind).context("setns")?;
        Ok(Self { _leaf: leaf, node, folder: TempDir::new()? })
    }

    /// Starts a receiver and waits until it answers.
    pub(crate) fn start(&self, who: Who) -> Result<Receiver<'_>> {
        let process = match who {
            Who::Petiole => {
                let program = std::env::current_exe()?;
                let listen = format!("{NODE}:{PORT}");
                self.node.spawn(&[&program.to_string_lossy(), "rib-receiver", "--listen", &listen])?
            }
            Who::Bird => {
                let config = self.file("bird.conf");
                fs::write(&config, bird_conf())?;
                let _leftover = fs::remove_file(self.file("bird.ctl"));
                self.node.spawn(&["bird", "-f", "-c", &config, "-s", &self.file("bird.ctl")])?
            }
        };
        let mut receiver = Receiver { who, process, link: self, empty: (0, 0), sessions: Vec::new() };
        eventually(Duration::from_secs(10), "the receiver answers", || receiver.progress().map(drop))?;
        receiver.settle(|_| true)?;
        receiver.empty = receiver.memory()?;
        Ok(receiver)
    }

    fn file(&self, name: &str) -> String {
        self.folder.path().join(name).display().to_string()
    }
}

/// No kernel protocol: it only takes in. `device` tells it which next hops are on the link.
fn bird_conf() -> String {
    let mut text = format!("router id {NODE};\nprotocol device {{}}\n");
    for leaf in Leaf::BOTH {
        text += &format!(
            "protocol bgp leaf{} {{\n  local {NODE} port {PORT} as {NODE_ASN};\n  neighbor {} as {};\n  passive;\n  \
             ipv4 {{ import all; export none; }};\n  ipv6 {{ import all; export none; }};\n}}\n",
            leaf.0,
            leaf.address(),
            leaf.asn()
        );
    }
    text
}

/// How far a receiver is.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Progress {
    /// Prefixes announced to it since its start.
    pub(crate) announced: u64,
    /// Paths it holds.
    pub(crate) paths: u64,
    report: Option<Report>,
}

/// A receiver that runs.
#[derive(Debug)]
pub(crate) struct Receiver<'a> {
    who: Who,
    process: Spawned,
    link: &'a Link,
    /// PSS and RSS of the process before its first session.
    empty: (u64, u64),
    sessions: Vec<(Leaf, TcpStream)>,
}

impl Receiver<'_> {
    /// Sends bytes over the leaf's session, opened if there is none, and waits until they are absorbed.
    pub(crate) fn feed(&mut self, leaf: Leaf, bytes: &[u8], done: impl Fn(&Progress) -> bool) -> Result<Step> {
        let before = self.cpu()?;
        if !self.sessions.iter().any(|(of, _)| *of == leaf) {
            self.sessions.push((leaf, open(leaf)?));
        }
        if let Some((_, stream)) = self.sessions.iter_mut().find(|(of, _)| *of == leaf) {
            stream.write_all(bytes)?;
        }
        self.step(before, done)
    }

    /// Closes the leaf's connection without a word, and waits until its paths are gone.
    pub(crate) fn lose(&mut self, leaf: Leaf, done: impl Fn(&Progress) -> bool) -> Result<Step> {
        let before = self.cpu()?;
        self.sessions.retain(|(of, _)| *of != leaf);
        self.step(before, done)
    }

    fn step(&self, before: f64, done: impl Fn(&Progress) -> bool) -> Result<Step> {
        let (after, report) = self.settle(done)?;
        let (pss, rss) = self.memory()?;
        let above = |now: u64, empty: u64| now.saturating_sub(empty);
        Ok(Step { cpu: after - before, pss: above(pss, self.empty.0), rss: above(rss, self.empty.1), report })
    }

    /// Waits until the process has had no processor for a while and is `done`. Returns its processor time, without what
    /// answering took.
    fn settle(&self, done: impl Fn(&Progress) -> bool) -> Result<(f64, Option<Report>)> {
        let end = Instant::now() + PATIENCE;
        let mut answering = 0.0;
        loop {
            let mut busy = self.cpu()?;
            loop {
                thread::sleep(Duration::from_millis(100));
                let now = self.cpu()?;
                // Timers of its own cost less than this.
                if now - busy < 0.000_5 {
                    busy = now;
                    break;
                }
                busy = now;
            }
            let progress = self.progress().map_err(|error| anyhow!(error))?;
            if done(&progress) {
                return Ok((busy - answering, progress.report));
            }
            if Instant::now() > end {
                bail!("{:?} is not done within {PATIENCE:?}: {progress:?}", self.who);
            }
            answering += self.cpu()? - busy;
        }
    }

    /// Asks it.
    fn progress(&self) -> Result<Progress, String> {
        let words = |error: &dyn std::fmt::Display| error.to_string();
        match self.who {
            Who::Petiole => {
                let mut stream = TcpStream::connect((NODE, PORT + 1)).map_err(|e| words(&e))?;
                let mut text = Vec::new();
                stream.read_to_end(&mut text).map_err(|e| words(&e))?;
                let report: Report = serde_json::from_slice(&text).map_err(|e| words(&e))?;
                Ok(Progress { announced: report.announced, paths: report.paths, report: Some(report) })
            }
            Who::Bird => {
                let control = self.link.file("bird.ctl");
                let output = Command::new("birdc").args(["-s", &control, "show", "protocols", "all"]).output();
                let output = output.map_err(|e| words(&e))?;
                let text = String::from_utf8_lossy(&output.stdout);
                bird_progress(&text).ok_or_else(|| format!("birdc: {text}"))
            }
        }
    }

    fn pid(&self) -> Result<i32> {
        self.process.pid().ok_or_else(|| anyhow!("{:?} has ended", self.who))
    }

    /// Processor time, user and system, of its one thread, seconds: to the nanosecond, where `utime` and `stime` count ticks.
    fn cpu(&self) -> Result<f64> {
        let text = fs::read_to_string(format!("/proc/{}/schedstat", self.pid()?))?;
        let nanoseconds = text.split_ascii_whitespace().next().and_then(|field| field.parse::<u64>().ok());
        nanoseconds.map(|n| n as f64 / 1e9).context("schedstat")
    }

    /// PSS and RSS, bytes.
    fn memory(&self) -> Result<(u64, u64)> {
        let text = fs::read_to_string(format!("/proc/{}/smaps_rollup", self.pid()?))?;
        let field = |name: &str| {
            let line = text.lines().find_map(|line| line.strip_prefix(name))?;
            Some(line.split_ascii_whitespace().next()?.parse::<u64>().ok()? * 1024)
        };
        field("Pss:").zip(field("Rss:")).context("smaps_rollup")
    }
}

/// The sums over all sessions and families of `birdc show protocols all`; `None` if it names none.
pub(crate) fn bird_progress(text: &str) -> Option<Progress> {
    let mut progress = Progress { announced: 0, paths: 0, report: None };
    let number = |text: &str| text.split_ascii_whitespace().next().and_then(|word| word.parse::<u64>().ok());
    for line in text.lines().map(str::trim) {
        if let Some(rest) = line.strip_prefix("Import updates:") {
            progress.announced += number(rest)?;
        } else if let Some(rest) = line.strip_prefix("Routes:") {
            progress.paths += number(rest)?;
        }
    }
    text.contains("leaf1").then_some(progress)
}

/// Opens a session as the leaf.
fn open(leaf: Leaf) -> Result<TcpStream> {
    let socket = socket(AddressFamily::INET, SocketType::STREAM, None)?;
    let at = |address: Ipv4Addr, port| SocketAddr::V4(SocketAddrV4::new(address, port));
    bind(&socket, &at(leaf.address(), 0))?;
    connect(&socket, &at(NODE, PORT)).context("the receiver does not listen")?;
    let mut stream = TcpStream::from(socket);
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    // No hold time: nothing has to be said while a feed is on its way.
    stream.write_all(&wire::open(leaf.asn(), leaf.address(), 0))?;
    let mut buffer = Vec::new();
    let mut chunk = [0; 4096];
    loop {
        match wire::take(&mut buffer).map_err(anyhow::Error::msg)? {
            Some(Message::Keepalive) => break,
            Some(Message::Open | Message::Update { .. }) => {}
            Some(Message::Other(kind)) => bail!("the session was refused by a message of type {kind}"),
            None => {
                let length = stream.read(&mut chunk)?;
                if length == 0 {
                    bail!("the session was refused");
                }
                buffer.extend(chunk.get(..length).unwrap_or_default());
            }
        }
    }
    stream.write_all(&wire::keepalive())?;
    Ok(stream)
}
