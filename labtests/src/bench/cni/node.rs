//! The contenders: each a node in a namespace of its own, with its pods' namespaces, which are used again and again.

use std::fs;
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::{Barrier, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, ensure};
use tempfile::TempDir;

use super::call::{self, Called, From, Pinger};
use super::counters::Counts;
use crate::bench::peer::{self, Peer, What};
use crate::{Netns, Spawned, eventually};

/// Pods of a burst.
pub(super) const PARALLEL: usize = 16;
/// Beyond this it is not slow but broken.
const PATIENCE: Duration = Duration::from_secs(30);
const ETCD: &str = "10.122.101.0:2379";
const LEAF: &str = "10.122.101.0";
const DEBIAN: &str = "/usr/lib/cni";

/// A node that wires pods by one plugin.
#[derive(Debug)]
pub(super) struct Contender {
    name: &'static str,
    // In the order of their end: the agent before its store, processes before their namespaces.
    _agent: Option<Spawned>,
    etcd: Option<Spawned>,
    plugin: PathBuf,
    pinger: Pinger,
    leaf_pinger: Option<Pinger>,
    peer: Option<Mutex<Peer>>,
    pods: Vec<Netns>,
    node: Netns,
    leaf: Option<Netns>,
    folder: TempDir,
}

/// What an agent keeps its addresses in, and the families of its pools.
#[derive(Debug, Clone, Copy)]
struct Kind {
    etcd: bool,
    dual: bool,
}

/// The order in which they take turns.
pub(super) fn all(petiole: &Path) -> Result<Vec<Contender>> {
    let plugin = petiole.with_file_name("petiole-cni");
    ensure!(plugin.is_file(), "no plugin beside the agent: cargo build -p petiole-cni");
    Ok(vec![
        debian("ptp", r#""ipMasq": false"#, "10.201.0.0/24")?,
        debian("bridge", r#""bridge": "cni0", "isGateway": true, "ipMasq": false"#, "10.202.0.0/24")?,
        petiole_node("etcd", petiole, &plugin, Kind { etcd: true, dual: false })?,
        petiole_node("embedded", petiole, &plugin, Kind { etcd: false, dual: false })?,
        petiole_node("etcd, dual", petiole, &plugin, Kind { etcd: true, dual: true })?,
    ])
}

fn pods() -> Result<Vec<Netns>> {
    (0..PARALLEL).map(|_| Netns::bare("bench-pod")).collect()
}

fn debian(name: &'static str, settings: &str, subnet: &str) -> Result<Contender> {
    let folder = TempDir::new()?;
    let node = Netns::bare("bench-cni")?;
    let conf = format!(
        r#"{{"cniVersion": "1.0.0", "name": "pods", "type": "{name}", {settings}, "ipam": {{"type": "host-local",
        "dataDir": "{}", "ranges": [[{{"subnet": "{subnet}"}}]], "routes": [{{"dst": "0.0.0.0/0"}}]}}}}"#,
        folder.path().join("host-local").display()
    );
    fs::write(folder.path().join("conf"), conf)?;
    Ok(Contender {
        name,
        _agent: None,
        etcd: None,
        plugin: Path::new(DEBIAN).join(name),
        pinger: Pinger::open(&node)?,
        leaf_pinger: None,
        peer: None,
        pods: pods()?,
        node,
        leaf: None,
        folder,
    })
}

fn petiole_node(name: &'static str, petiole: &Path, plugin: &Path, kind: Kind) -> Result<Contender> {
    let folder = TempDir::new()?;
    let path = folder.path().display();
    let node = Netns::bare("bench-cni")?;
    for setting in ["net.ipv4.ip_forward=1", "net.ipv6.conf.all.forwarding=1"] {
        node.exec(&["sysctl", "-qw", setting])?;
    }
    for own in ["10.122.0.11/32", "fd00:122::11/128"] {
        node.exec(&["ip", "address", "add", own, "dev", "lo"])?;
    }
    let (mut leaf, mut etcd, mut store, mut bgp) = (None, None, format!("embedded = \"{path}/store\""), String::new());
    let mut known = None;
    if kind.etcd {
        let far = Netns::bare("bench-leaf")?;
        far.connect("eth1", &node, "eth1", 1500)?;
        for argv in ["address add 10.122.101.0/31 dev eth1", "route add 10.123.128.0/17 via 10.122.101.1"] {
            far.exec(&["ip"].into_iter().chain(argv.split(' ')).collect::<Vec<_>>())?;
            if argv.starts_with("address") {
                node.exec(&["ip", "address", "add", "10.122.101.1/31", "dev", "eth1"])?;
            }
        }
        let script = format!(
            "exec etcd --data-dir {path}/etcd --listen-client-urls http://{ETCD} --advertise-client-urls http://{ETCD} \
             --listen-peer-urls http://127.0.0.1:2380 >{path}/etcd.log 2>&1"
        );
        etcd = Some(far.spawn(&["sh", "-c", &script])?);
        call::inside(&far, || eventually(PATIENCE, "etcd answers", || TcpStream::connect(ETCD).map(drop)))?;
        let address: SocketAddr = format!("{LEAF}:179").parse()?;
        known = Some(call::inside(&far, || Peer::listen(address))?);
        leaf = Some(far);
        store = format!("etcd = {{ endpoints = [\"http://{ETCD}\"] }}");
        bgp = format!(
            "[bgp]\nasn = 4200000011\n[[bgp.peer]]\naddress = \"{LEAF}\"\nasn = {}\nhold_time = \"90s\"\n",
            peer::ASN
        );
    }
    let (own, pool) =
        if kind.dual { (", \"fd00:122::11/128\"", ", { cidr = \"fd00:123:8000::/112\" }") } else { ("", "") };
    let config = format!(
        "[node]\nname = \"node1\"\nroles = [\"worker\"]\nrouter_id = \"10.122.0.11\"\n\
         addresses = [\"10.122.0.11/32\"{own}]\n[store]\n{store}\n{bgp}\
         [ipam]\npools = [{{ cidr = \"10.123.128.0/17\" }}{pool}]\n\
         [paths]\nstate = \"{path}/state\"\nrun = \"{path}/run\"\n"
    );
    fs::write(folder.path().join("petiole.toml"), config)?;
    let conf =
        format!(r#"{{"cniVersion": "1.0.0", "name": "pods", "type": "petiole", "socket": "{path}/run/cni.sock"}}"#);
    fs::write(folder.path().join("conf"), conf)?;
    let script = format!("exec {} agent --config {path}/petiole.toml >{path}/log 2>&1", petiole.display());
    let agent = node.spawn(&["sh", "-c", &script])?;
    if let Some(peer) = &mut known {
        peer.wait(PATIENCE, "the session", |event| (event.what == What::Established).then_some(()))?;
    }
    Ok(Contender {
        name,
        _agent: Some(agent),
        etcd,
        plugin: plugin.to_owned(),
        pinger: Pinger::open(&node)?,
        leaf_pinger: leaf.as_ref().map(Pinger::open).transpose()?,
        peer: known.map(Mutex::new),
        pods: pods()?,
        node,
        leaf,
        folder,
    })
}

impl Contender {
    pub(super) const fn name(&self) -> &'static str {
        self.name
    }

    pub(super) fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// The last lines of the agent's log.
    pub(super) fn log(&self) -> String {
        let text = fs::read_to_string(self.folder.path().join("log")).unwrap_or_default();
        let lines: Vec<&str> = text.lines().collect();
        format!("{}: {}", self.name, lines.get(lines.len().saturating_sub(10)..).unwrap_or_default().join("\n"))
    }

    /// What the leaf hears, where there is one.
    pub(super) fn leaf(&self) -> Option<MutexGuard<'_, Peer>> {
        self.peer.as_ref().map(|peer| peer.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Every pod once, so that nothing is for the first time later on.
    pub(super) fn warm_up(&self) -> Result<()> {
        eventually(PATIENCE, "the first ADD is served", || self.add(0, "warm").map_err(|error| format!("{error:#}")))?;
        self.del(0, "warm")?;
        for pod in 0..PARALLEL {
            let container = format!("warm{pod}");
            let added = self.add(pod, &container)?;
            for (from, address) in self.pings(&added)? {
                self.ping(from, address)?;
            }
            self.del(pod, &container)?;
        }
        thread::sleep(Duration::from_secs(1));
        Ok(())
    }

    pub(super) fn add(&self, pod: usize, container: &str) -> Result<Called> {
        self.call("ADD", pod, container)
    }

    pub(super) fn del(&self, pod: usize, container: &str) -> Result<Called> {
        self.call("DEL", pod, container)
    }

    fn call(&self, command: &str, pod: usize, container: &str) -> Result<Called> {
        call::inside(&self.node, || self.run(command, pod, container))
    }

    /// In this thread's namespace.
    fn run(&self, command: &str, pod: usize, container: &str) -> Result<Called> {
        let pod = self.pods.get(pod).context("no such pod")?;
        call::plugin(&self.plugin, &self.folder.path().join("conf"), command, container, pod)
    }

    /// All of these at the same time, by threads that are all ready; what each took.
    pub(super) fn at_once(&self, command: &str, containers: &[String]) -> Result<Vec<Duration>> {
        let ready = Barrier::new(containers.len());
        thread::scope(|scope| {
            let mut running = Vec::new();
            for (pod, container) in containers.iter().enumerate() {
                let ready = &ready;
                running.push(scope.spawn(move || -> Result<Duration> {
                    let entered = call::enter(&self.node);
                    ready.wait();
                    entered?;
                    Ok(self.run(command, pod, container)?.took())
                }));
            }
            running.into_iter().map(|t| t.join().map_err(|_| anyhow!("a thread of the bench panicked"))?).collect()
        })
    }

    /// The places a pod is pinged from, and at which address.
    pub(super) fn pings(&self, added: &Called) -> Result<Vec<(From, IpAddr)>> {
        let addresses = added.addresses()?;
        let from_node = addresses.iter().map(|a| (From::Node, *a));
        // The leaf has no IPv6 of its own here.
        let from_leaf = addresses.iter().filter(|a| a.is_ipv4() && self.leaf.is_some()).map(|a| (From::Leaf, *a));
        Ok(from_node.chain(from_leaf).collect())
    }

    /// When the answer to one ping was there.
    pub(super) fn ping(&self, from: From, address: IpAddr) -> Result<Instant> {
        let pinger = match from {
            From::Node => &self.pinger,
            From::Leaf => self.leaf_pinger.as_ref().context("no leaf")?,
        };
        pinger.ping(address, 1)
    }

    /// What etcd was asked so far, once nothing is added to it any more; `None` where there is no etcd.
    pub(super) fn settled(&self) -> Result<Option<Counts>> {
        let Some(leaf) = self.leaf.as_ref().filter(|_| self.etcd.is_some()) else { return Ok(None) };
        call::inside(leaf, || {
            let mut last = Counts::read(ETCD)?;
            let mut same = 0;
            let end = Instant::now() + PATIENCE;
            while Instant::now() < end {
                thread::sleep(Duration::from_millis(60));
                let now = Counts::read(ETCD)?;
                same = if now == last { same + 1 } else { 0 };
                last = now;
                if same == 3 {
                    return Ok(Some(last));
                }
            }
            Err(anyhow!("etcd is asked for something all the time: {:?}", last.all()))
        })
    }
}
