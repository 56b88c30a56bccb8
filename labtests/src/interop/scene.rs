//! Two network namespaces, the agent in one and a daemon in the other, and a record of what they say to each other.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::net::IpAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, bail};
use serde_json::Value;
use tempfile::TempDir;

use super::capture::{self, Message};
use super::daemon::{Daemon, Kind, Place, Session, Unsupported};
use super::tools::Tools;
use super::wanted::{Link, NODE_ASN, Route, Transport, Wanted};
use crate::demo::interrupt::Interrupt;
use crate::procs::Identity;
use crate::{Binaries, Netns, Signal, Spawned, check, eventually};

/// Namespaces of this command start with it; the number of its process follows.
pub(crate) const PREFIX: &str = "interop";
/// How long a session may take to be Established, from the start of both sides.
const SESSION: Duration = Duration::from_secs(30);
/// How long a change may take to be seen at the other side.
pub(crate) const CHANGE: Duration = Duration::from_secs(15);
/// The node's own addresses and its anycast addresses: what it announces.
pub(crate) const OWN: [&str; 2] = ["10.122.0.11/32", "fd00:122::11/128"];
pub(crate) const ANYCAST: [&str; 2] = ["10.122.255.1/32", "fd00:122:ffff::1/128"];
/// Answers while the file `healthy` is there.
const HEALTH: &str = "127.0.0.1:9080";
const LINKS: u8 = 2;

/// What all scenes share.
#[derive(Debug, Clone)]
pub(crate) struct Means {
    pub(crate) binaries: Binaries,
    pub(crate) petiole: PathBuf,
    pub(crate) tools: Tools,
    pub(crate) interrupt: Interrupt,
}

/// A failure that waiting cannot mend.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
struct Over(anyhow::Error);

/// One daemon and one node, for one feature; all of it goes with this value.
#[derive(Debug)]
pub(crate) struct Scene {
    pub(crate) kind: Kind,
    pub(crate) daemon: Box<dyn Daemon>,
    agent: Option<Spawned>,
    // Never asked again, but they run for as long as the scene does.
    _health: Spawned,
    capture: Option<Spawned>,
    monitor: Option<Spawned>,
    link_local: Option<IpAddr>,
    pub(crate) place: Place,
    pub(crate) node: Netns,
    folder: TempDir,
    means: Means,
    transport: Transport,
    /// What was left out of a check that passed, with the fact that says so.
    pub(crate) notes: Vec<String>,
}

impl Scene {
    /// Namespaces, links and the record; neither side is started.
    pub(crate) fn new(kind: Kind, means: &Means) -> Result<Self> {
        let folder = TempDir::with_prefix("interop-")?;
        // Daemons that give root up have to come in.
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755))?;
        let leaf_folder = folder.path().join("leaf");
        fs::create_dir(&leaf_folder)?;
        let prefix = format!("{PREFIX}-{}", kind.id());
        let leaf = Rc::new(Netns::bare(&format!("{prefix}-leaf"))?);
        let node = Netns::bare(&format!("{prefix}-node"))?;
        for netns in [&*leaf, &node] {
            let settings = ["all", "default"].map(|name| format!("net.ipv6.conf.{name}.accept_dad=0"));
            netns.exec(&["sysctl", "-q", &settings[0], &settings[1]])?;
        }
        for link in (0..LINKS).map(Link) {
            leaf.connect(&link.interface(), &node, &link.interface(), 1500)?;
        }
        node.exec(&["ip", "address", "add", OWN[0], "dev", "lo"])?;
        node.exec(&["ip", "address", "add", OWN[1], "dev", "lo", "nodad"])?;
        for link in (0..LINKS).map(Link) {
            for (netns, side) in [(&*leaf, Link::leaf as fn(Link, Transport) -> String), (&node, Link::node)] {
                let (v4, v6) = (side(link, Transport::V4) + "/31", side(link, Transport::V6) + "/127");
                netns.exec(&["ip", "address", "add", &v4, "dev", &link.interface()])?;
                netns.exec(&["ip", "address", "add", &v6, "dev", &link.interface(), "nodad"])?;
            }
        }
        let shown = node.ip_json(&["-6", "address", "show", "dev", "eth1", "scope", "link"])?;
        let link_local = shown[0]["addr_info"][0]["local"].as_str().and_then(|address| address.parse().ok());
        let place = Place { netns: leaf, folder: leaf_folder };
        let healthy = folder.path().join("healthy");
        fs::write(&healthy, "")?;
        let program = means.binaries.lab.to_string_lossy();
        let health = node.spawn(&[&program, "health", "--listen", HEALTH, "--file", &healthy.to_string_lossy()])?;
        let daemon = kind.daemon(place.clone(), &means.tools);
        Ok(Self {
            kind,
            daemon,
            agent: None,
            _health: health,
            capture: None,
            monitor: None,
            link_local,
            place,
            node,
            folder,
            means: means.clone(),
            transport: Transport::V4,
            notes: Vec::new(),
        })
    }

    /// Begins anew: fresh namespaces, neither side started.
    pub(crate) fn renew(&mut self) -> Result<()> {
        *self = Self::new(self.kind, &self.means.clone())?;
        Ok(())
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Starts both sides and waits until every session is Established, in the daemon's word.
    pub(crate) fn up(&mut self, wanted: &Wanted) -> Result<()> {
        self.start(wanted)?;
        for link in wanted.links() {
            self.established(link)?;
        }
        Ok(())
    }

    /// Those of the leaf's routes whose next hop can be used over this session; what is left out is noted.
    pub(crate) fn usable<'a>(&mut self, routes: &'a [Route]) -> Vec<&'a Route> {
        let other = |route: &&Route| route.is_v6() != (self.transport == Transport::V6);
        match self.daemon.announces_other_family() {
            Err(fact) if routes.iter().any(|route| other(&route)) => {
                self.notes.push(fact.to_owned());
                routes.iter().filter(|route| !other(route)).collect()
            }
            _ => routes.iter().collect(),
        }
    }

    /// Starts the record, the daemon, then the agent.
    pub(crate) fn start(&mut self, wanted: &Wanted) -> Result<()> {
        self.transport = wanted.transport;
        if wanted.unnumbered {
            for netns in [&*self.place.netns, &self.node] {
                for link in wanted.links() {
                    netns.exec(&["ip", "-4", "address", "flush", "dev", &link.interface()])?;
                    netns.exec(&["ip", "-6", "address", "flush", "dev", &link.interface(), "scope", "global"])?;
                }
            }
        }
        if let Some(key) = wanted.node_key {
            let file = self.path("key");
            fs::write(&file, key)?;
            fs::set_permissions(&file, fs::Permissions::from_mode(0o600))?;
        }
        self.record()?;
        self.daemon.start(wanted).with_context(|| format!("{} does not start", self.kind.name()))?;
        fs::write(self.path("petiole.toml"), self.configuration(wanted))?;
        self.start_agent()
    }

    /// Waits for a session, in the daemon's word.
    pub(crate) fn established(&self, link: Link) -> Result<Session> {
        self.wait(SESSION, "the daemon says Established", || {
            if self.agent.as_ref().is_some_and(|agent| agent.pid().is_none()) {
                return Err(Over(anyhow!("the agent ended")).into());
            }
            let session = self.daemon.session(link)?;
            check(session.established, &session.state).map_err(anyhow::Error::msg).map(|()| session)
        })
    }

    fn record(&mut self) -> Result<()> {
        let file = self.path("session.pcap").to_string_lossy().into_owned();
        let interface = Link(0).interface();
        let argv =
            ["tcpdump", "-i", &interface, "-U", "--immediate-mode", "-Z", "root", "-w", &file, "tcp", "port", "179"];
        self.capture = Some(self.place.spawn("tcpdump.log", &argv)?);
        eventually(Duration::from_secs(10), "tcpdump records", || {
            let length = fs::metadata(&file).map(|file| file.len()).unwrap_or(0);
            check(length >= 24, "no file yet")
        })
    }

    fn configuration(&self, wanted: &Wanted) -> String {
        let folder = self.folder.path().display();
        let mut text = format!(
            "[node]\nname = \"node1\"\nrouter_id = \"10.122.0.11\"\naddresses = [\"{}\", \"{}\"]\n\
             [store]\nembedded = \"{folder}/store\"\n[paths]\nstate = \"{folder}/state\"\nrun = \"{folder}/run\"\n\
             [bgp]\nasn = {NODE_ASN}\n",
            OWN[0], OWN[1]
        );
        for link in wanted.links() {
            let (leaf, hold, passive) = (link.leaf(wanted.transport), wanted.node_hold, wanted.node_passive);
            text.push_str(&format!(
                "[[bgp.peer]]\n{}\nhold_time = \"{hold}s\"\npassive = {passive}\n{}\n",
                if wanted.unnumbered {
                    format!("interface = \"{}\"\nasn = \"external\"", link.interface())
                } else {
                    format!("address = \"{leaf}\"\nasn = 65001")
                },
                wanted.node_extra
            ));
            if wanted.node_key.is_some() {
                text.push_str(&format!("password_file = \"{folder}/key\"\n"));
            }
            if wanted.bfd {
                text.push_str("bfd = { interval = \"100ms\", multiplier = 3 }\n");
            }
            if wanted.ttl_security {
                text.push_str("ttl_security = true\n");
            }
        }
        for prefix in ANYCAST {
            text.push_str(&format!(
                "[[announce]]\nkind = \"anycast\"\nprefix = \"{prefix}\"\n\
                 health = {{ http = \"http://{HEALTH}/\", interval = \"200ms\", timeout = \"200ms\", rise = 1, fall = 1 }}\n"
            ));
        }
        text
    }

    /// Starts the agent with the configuration as it lies.
    pub(crate) fn start_agent(&mut self) -> Result<()> {
        let [petiole, config, log] = [&self.means.petiole, &self.path("petiole.toml"), &self.path("agent.log")]
            .map(|path| path.to_string_lossy().into_owned());
        let script = "exec \"$0\" agent --config \"$1\" >>\"$2\" 2>&1";
        self.agent = Some(self.node.spawn(&["sh", "-c", script, &petiole, &config, &log])?);
        Ok(())
    }

    /// Sends the agent a signal.
    pub(crate) fn signal_agent(&self, signal: Signal) {
        if let Some(agent) = &self.agent {
            agent.signal(signal);
        }
    }

    /// Ends the agent by a signal and waits until it is gone.
    pub(crate) fn end_agent(&mut self, signal: Signal) -> Result<()> {
        let Some(agent) = self.agent.take() else { return Ok(()) };
        let process = agent.pid().and_then(Identity::of);
        agent.signal(signal);
        if let Some(process) = process {
            eventually(Duration::from_secs(10), "the agent ends", || check(!process.alive(), "it runs"))?;
        }
        Ok(())
    }

    /// The health of what stands behind the anycast addresses.
    pub(crate) fn set_healthy(&self, healthy: bool) -> Result<()> {
        let file = self.path("healthy");
        Ok(if healthy { fs::write(file, "") } else { fs::remove_file(file) }?)
    }

    /// Asks the agent.
    pub(crate) fn petiole(&self, words: &[&str]) -> Result<Value> {
        let [petiole, config] =
            [&self.means.petiole, &self.path("petiole.toml")].map(|path| path.to_string_lossy().into_owned());
        let argv = ["timeout", "-k", "1", "10", &petiole];
        let text = self.node.exec(&[&argv, words, &["-o", "json", "--config", &config]].concat())?;
        serde_json::from_str(&text).with_context(|| format!("petiole {words:?}: {text}"))
    }

    /// What the agent says of its session over a link.
    pub(crate) fn peer(&self, link: Link) -> Result<Value> {
        let leaf = link.leaf(self.transport);
        let peers = self.petiole(&["bgp", "peers"])?;
        let found = peers.as_array().into_iter().flatten().find(|peer| peer["peer"] == leaf.as_str());
        found.cloned().ok_or_else(|| anyhow!("`bgp peers` does not show {leaf}"))
    }

    /// The agent's routes in the node's kernel: prefix to next hops.
    pub(crate) fn kernel(&self) -> Result<BTreeMap<String, BTreeSet<String>>> {
        let mut found: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
        for (family, length) in [("-4", "/32"), ("-6", "/128")] {
            let routes = self.node.ip_json(&[family, "route", "show", "proto", "179"])?;
            for route in routes.as_array().into_iter().flatten() {
                let prefix = route["dst"].as_str().unwrap_or_default();
                let prefix = if prefix.contains('/') || prefix == "default" {
                    prefix.to_owned()
                } else {
                    prefix.to_owned() + length
                };
                let hops = route["nexthops"].as_array().into_iter().flatten().chain([route]);
                let gateway =
                    |hop: &Value| hop["gateway"].as_str().or_else(|| hop["via"]["host"].as_str()).map(str::to_owned);
                found.entry(prefix).or_default().extend(hops.filter_map(gateway));
            }
        }
        Ok(found)
    }

    /// Notes every change of the node's routes from now on.
    pub(crate) fn watch_routes(&mut self) -> Result<()> {
        let file = self.path("routes").to_string_lossy().into_owned();
        let script = "exec ip monitor route >\"$1\"";
        self.monitor = Some(self.node.spawn(&["sh", "-c", script, "sh", &file])?);
        eventually(Duration::from_secs(5), "the monitor runs", || check(Path::new(&file).exists(), "not yet"))
    }

    /// What was deleted from the node's kernel since.
    pub(crate) fn deleted(&self) -> Vec<String> {
        let text = fs::read_to_string(self.path("routes")).unwrap_or_default();
        let ours = text.lines().filter(|line| line.starts_with("Deleted") && line.contains("proto 179"));
        ours.map(str::to_owned).collect()
    }

    /// The packets of the first link so far: who sent it, its TTL, and whether it is signed (RFC 2385).
    pub(crate) fn packets(&self) -> Vec<capture::Packet> {
        capture::packets(&self.path("session.pcap"), |address| self.is_node(address))
    }

    /// The record itself.
    pub(crate) fn record_file(&self) -> PathBuf {
        self.path("session.pcap")
    }

    fn is_node(&self, address: IpAddr) -> bool {
        let names = [Transport::V4, Transport::V6].map(|transport| Link(0).node(transport));
        names.iter().any(|name| name.parse() == Ok(address)) || self.link_local == Some(address)
    }

    /// The messages of the first link so far.
    pub(crate) fn messages(&self) -> Vec<Message> {
        capture::messages(&self.path("session.pcap"), |address| self.is_node(address))
    }

    /// The established connections between the two, as the leaf's kernel has them: local and remote port.
    pub(crate) fn connections(&self) -> Result<Vec<(u16, u16)>> {
        let filter = ["state", "established", "( sport = :179 or dport = :179 )"];
        let text = self.place.exec(&[&["ss", "-Htn"], &filter[..]].concat())?;
        let port = |text: &str| text.rsplit_once(':')?.1.parse().ok();
        let line = |line: &str| {
            let mut ends = line.split_ascii_whitespace().filter(|word| word.contains(':'));
            Some((port(ends.next()?)?, port(ends.next()?)?))
        };
        Ok(text.lines().filter_map(line).collect())
    }

    /// Looks until `probe` has a value; gives up after `within`, and when the command is interrupted.
    pub(crate) fn wait<T>(&self, within: Duration, what: &str, mut probe: impl FnMut() -> Result<T>) -> Result<T> {
        let start = Instant::now();
        loop {
            self.means.interrupt.check()?;
            let last = match probe() {
                Ok(value) => return Ok(value),
                Err(last) if last.is::<Unsupported>() || last.is::<Over>() => return Err(last),
                Err(last) => last,
            };
            if start.elapsed() >= within {
                bail!("not within {within:?}: {what}; last seen: {last:#}");
            }
            std::thread::sleep(Duration::from_millis(100));
        }
    }

    /// Fails unless the daemon goes on saying Established, over the same connection count, for so long.
    pub(crate) fn stays(&self, link: Link, period: Duration) -> Result<()> {
        let start = Instant::now();
        while start.elapsed() < period {
            self.means.interrupt.check()?;
            let session = self.daemon.session(link)?;
            if !session.established {
                bail!("after {:?} the session is {}", start.elapsed(), session.state);
            }
            std::thread::sleep(Duration::from_millis(250));
        }
        Ok(())
    }

    /// The last lines of both sides, for a person who has to find out.
    pub(crate) fn logs(&self) -> String {
        let text = fs::read_to_string(self.path("agent.log")).unwrap_or_default();
        let lines: Vec<&str> = text.lines().collect();
        let agent = lines.get(lines.len().saturating_sub(12)..).unwrap_or_default().join("\n");
        let messages = self.messages();
        let said: Vec<_> = messages.iter().filter(|message| message.kind() != capture::KEEPALIVE).collect();
        let last = said.get(said.len().saturating_sub(12)..).unwrap_or_default();
        let hex = |bytes: &[u8]| bytes.iter().take(80).map(|byte| format!("{byte:02x}")).collect::<String>();
        let wire: Vec<String> = last.iter().map(|m| format!("{:?} {} {}", m.sender, m.kind(), hex(m.body()))).collect();
        format!("--- agent\n{agent}\n--- {}\n{}\n--- wire\n{}", self.kind.name(), self.daemon.log(), wire.join("\n"))
    }
}
