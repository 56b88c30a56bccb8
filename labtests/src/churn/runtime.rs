//! A container runtime on each node: ADD and DEL through the plugin, in several threads, as one that is killed now and then.

use std::collections::BTreeSet;
use std::io::Write;
use std::net::IpAddr;
use std::process::{Command, Output, Stdio};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use serde_json::{Value, json};

use super::Rest;
use super::book::Book;
use super::cluster::Cluster;
use super::random::Random;

/// How many containers a node wants at most.
const MOST: u64 = 36;
/// How long a number of containers is wanted.
const WANTED_FOR: (u64, u64) = (4, 20);
/// How long DELs may take once nothing fails any more.
const PATIENCE: Duration = Duration::from_secs(120);

/// The runtime of one node; each thread has containers of its own.
#[derive(Debug)]
pub(super) struct Runtime<'a> {
    pub(super) cluster: &'a Cluster,
    pub(super) book: &'a Book,
    /// No ADD any more, and no DEL of what lives.
    pub(super) settle: &'a AtomicBool,
    pub(super) node: usize,
    pub(super) thread: usize,
    pub(super) random: Random,
    /// Counts containers, over all threads.
    pub(super) numbers: &'a AtomicU64,
    /// When fewer are wanted.
    pub(super) rest: Option<Rest>,
    containers: Vec<String>,
    /// A DEL of these has begun and did not succeed, or an ADD failed.
    dying: Vec<String>,
}

impl<'a> Runtime<'a> {
    pub(super) fn new(
        (cluster, book, settle): (&'a Cluster, &'a Book, &'a AtomicBool),
        (node, thread): (usize, usize),
        seed: u64,
        numbers: &'a AtomicU64,
        rest: Option<Rest>,
    ) -> Self {
        let random = Random::new(seed, 100 + u64::try_from(10 * node + thread).unwrap_or_default());
        let (containers, dying) = (Vec::new(), Vec::new());
        Self { cluster, book, settle, node, thread, random, numbers, rest, containers, dying }
    }

    /// Until all is settled: whether it is.
    pub(super) fn churn(&mut self) -> bool {
        let mut wanted = 0;
        let mut until = Instant::now();
        while !self.settle.load(Ordering::Relaxed) {
            if until <= Instant::now() {
                // Two threads share what a node wants.
                let most = self.rest.filter(Rest::is_now).map_or(MOST, |_| Rest::most(self.node));
                wanted = usize::try_from(self.random.between(0, most / 2)).unwrap_or_default();
                until = Instant::now() + Duration::from_secs(self.random.between(WANTED_FOR.0, WANTED_FOR.1));
            }
            self.step(wanted);
        }
        self.until_dead()
    }

    /// DELs all that is left; whether nothing is.
    pub(super) fn finish(&mut self) -> bool {
        self.dying.append(&mut self.containers);
        self.until_dead()
    }

    fn until_dead(&mut self) -> bool {
        let begun = Instant::now();
        while !self.dying.is_empty() && begun.elapsed() < PATIENCE {
            self.del_one();
        }
        self.dying.is_empty()
    }

    fn step(&mut self, wanted: usize) {
        let more = self.containers.len() < wanted;
        if !self.dying.is_empty() && self.random.percent(40) {
            self.del_one();
        } else if more && self.random.percent(85) || self.containers.is_empty() && wanted > 0 {
            self.add();
        } else if !self.containers.is_empty() && (!more || self.random.percent(50)) {
            let at = self.random.below(u64::try_from(self.containers.len()).unwrap_or(1));
            let container = self.containers.swap_remove(usize::try_from(at).unwrap_or_default());
            self.dying.push(container);
            self.del_one();
        } else {
            std::thread::sleep(Duration::from_millis(self.random.between(5, 50)));
        }
    }

    fn add(&mut self) {
        let number = self.numbers.fetch_add(1, Ordering::Relaxed);
        let container = format!("c{number}t{}", self.thread);
        if let Err(error) = ip(&["netns", "add", &netns(&container)]) {
            self.book.pages().breach(format!("no namespace could be made: {error:#}"));
            return;
        }
        let kill = self.random.percent(4).then(|| Duration::from_micros(self.random.below(40_000)));
        match self.call("ADD", &container, kill) {
            Ok(result) => {
                self.book.added(self.node, &container, addresses(&result));
                // Runtimes say it again.
                if self.random.percent(3)
                    && let Ok(again) = self.call("ADD", &container, None)
                {
                    self.book.added(self.node, &container, addresses(&again));
                }
                self.containers.push(container);
            }
            Err(words) => {
                self.book.failed("ADD", &words);
                self.dying.push(container);
                std::thread::sleep(Duration::from_millis(self.random.between(10, 200)));
            }
        }
    }

    /// The next DEL that is due.
    fn del_one(&mut self) {
        let Some(container) = (!self.dying.is_empty()).then(|| self.dying.remove(0)) else { return };
        self.book.dying(&container);
        // Now and then the namespace is gone before.
        let is_early = self.random.percent(10);
        if is_early {
            let _may_be_gone = ip(&["netns", "del", &netns(&container)]);
        }
        let kill = self.random.percent(3).then(|| Duration::from_micros(self.random.below(30_000)));
        match self.call("DEL", &container, kill) {
            Ok(_) => {
                self.book.deleted(self.node);
                if self.random.percent(5) {
                    // And again: of what is not there.
                    if let Err(words) = self.call("DEL", &container, None) {
                        self.book.failed("DEL again", &words);
                    }
                }
                let _may_be_gone = ip(&["netns", "del", &netns(&container)]);
            }
            Err(words) => {
                self.book.failed("DEL", &words);
                self.dying.push(container);
                std::thread::sleep(Duration::from_millis(self.random.between(10, 200)));
            }
        }
    }

    /// What the plugin answers; `kill` is when it is killed.
    fn call(&self, command: &str, container: &str, kill: Option<Duration>) -> Result<Value, String> {
        let output = self.plugin(command, container, kill).map_err(|e| format!("{e:#}"))?;
        let text = String::from_utf8_lossy(&output.stdout);
        let answer: Value = serde_json::from_str(&text).unwrap_or(Value::Null);
        if output.status.success() {
            return Ok(answer);
        }
        if output.status.code().is_none() {
            return Err("the plugin was killed".to_owned());
        }
        Err(format!("{} {}", answer["msg"].as_str().unwrap_or(&text), answer["details"].as_str().unwrap_or_default()))
    }

    fn plugin(&self, command: &str, container: &str, kill: Option<Duration>) -> Result<Output> {
        let agent = self.cluster.agents.get(self.node).context("no such node")?;
        let mut plugin = Command::new(&self.cluster.plugin);
        plugin.env_clear().env("CNI_COMMAND", command).env("CNI_PATH", "/opt/cni/bin").env("CNI_IFNAME", "eth0");
        plugin.env("CNI_CONTAINERID", container).env("CNI_NETNS", format!("/run/netns/{}", netns(container)));
        let mut child = plugin.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn()?;
        let conf = json!({
            "cniVersion": "1.0.0", "name": "churn", "type": "petiole", "timeout": "12s",
            "socket": agent.folder.join("run/cni.sock"),
        });
        // One that was killed before does not read.
        let _ = child.stdin.take().context("no stdin")?.write_all(conf.to_string().as_bytes());
        if let Some(kill) = kill {
            std::thread::sleep(kill);
            self.book.pages().plugin_kills += 1;
            child.kill()?;
        }
        Ok(child.wait_with_output()?)
    }
}

fn netns(container: &str) -> String {
    format!("churn-{}-{container}", std::process::id())
}

/// Removes what containers of this process are left: the run is over.
pub(super) fn sweep() {
    let prefix = netns("c");
    let entries = std::fs::read_dir("/run/netns").into_iter().flatten().flatten();
    let names: BTreeSet<String> = entries.map(|e| e.file_name().to_string_lossy().into_owned()).collect();
    for name in names.iter().filter(|name| name.starts_with(&prefix)) {
        let _ = ip(&["netns", "del", name]);
    }
}

fn ip(argv: &[&str]) -> Result<String> {
    crate::command::run(Command::new("ip").args(argv))
}

fn addresses(result: &Value) -> Vec<IpAddr> {
    let ips = result["ips"].as_array().into_iter().flatten();
    ips.filter_map(|ip| ip["address"].as_str()?.split_once('/')?.0.parse().ok()).collect()
}
