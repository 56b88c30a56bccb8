//! Two namespaces and a link between them, the agent in one, FRR or another agent in the other.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use petiole_labtests::{Binaries, Netns, Spawned, check, eventually, throughout};
use serde_json::Value;
use tempfile::TempDir;

pub(super) const WITHIN: Duration = Duration::from_secs(40);
pub(super) const LEAF_ASN: u32 = 65_001;
pub(super) const NODE_ASN: u32 = 4_200_000_011;

pub(super) fn root() -> bool {
    let root = rustix::process::geteuid().is_root();
    if !root {
        println!("not checked: needs root for network namespaces");
    }
    root
}

pub(super) fn words(error: anyhow::Error) -> String {
    format!("{error:#}")
}

/// What the session runs over: the leaf's end and the node's.
#[derive(Debug, Clone, Copy)]
pub(super) struct Ends {
    pub(super) leaf: &'static str,
    pub(super) node: &'static str,
}

pub(super) const V4: Ends = Ends { leaf: "10.122.101.0", node: "10.122.101.1" };
pub(super) const V6: Ends = Ends { leaf: "fd00:122:101::", node: "fd00:122:101::1" };

/// Two namespaces and a link that is recorded. Processes end before them.
pub(super) struct Ground {
    pub(super) running: Vec<Spawned>,
    pub(super) node: Netns,
    pub(super) leaf: Netns,
    pub(super) folder: TempDir,
    pub(super) petiole: PathBuf,
}

impl Ground {
    pub(super) fn new() -> Result<Self> {
        let folder = TempDir::with_prefix("secured-")?;
        fs::set_permissions(folder.path(), Permissions::from_mode(0o755))?;
        let (leaf, node) = (Netns::bare("secured-leaf")?, Netns::bare("secured-node")?);
        for netns in [&leaf, &node] {
            let settings = ["all", "default"].map(|name| format!("net.ipv6.conf.{name}.accept_dad=0"));
            netns.exec(&["sysctl", "-q", &settings[0], &settings[1]])?;
        }
        leaf.connect("eth1", &node, "eth1", 1500)?;
        for (netns, v4, v6) in [(&leaf, V4.leaf, V6.leaf), (&node, V4.node, V6.node)] {
            netns.exec(&["ip", "address", "add", &format!("{v4}/31"), "dev", "eth1"])?;
            netns.exec(&["ip", "address", "add", &format!("{v6}/127"), "dev", "eth1", "nodad"])?;
        }
        node.exec(&["ip", "address", "add", "10.122.0.11/32", "dev", "lo"])?;
        let petiole = Binaries::find()?.agent.context("no agent: build it, or set PETIOLE_BIN")?;
        let mut ground = Self { running: Vec::new(), node, leaf, folder, petiole };
        let pcap = ground.text("link.pcap");
        let argv = [
            "tcpdump",
            "-i",
            "eth1",
            "-U",
            "--immediate-mode",
            "-Z",
            "root",
            "-w",
            &pcap,
            "tcp port 179 and not net 10.122.102.0/28",
        ];
        let tcpdump = ground.spawn(&ground.node, "tcpdump", &argv)?;
        ground.running.push(tcpdump);
        eventually(WITHIN, "tcpdump records", || {
            let length = fs::metadata(&pcap).map(|file| file.len()).unwrap_or(0);
            check(length >= 24, "no file yet")
        })?;
        Ok(ground)
    }

    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub(super) fn text(&self, name: &str) -> String {
        self.path(name).to_string_lossy().into_owned()
    }

    pub(super) fn spawn(&self, netns: &Netns, name: &str, argv: &[&str]) -> Result<Spawned> {
        let log = self.text(&format!("{name}.log"));
        let script = "log=$1; shift; exec \"$@\" >>\"$log\" 2>&1";
        netns.spawn(&[&["sh", "-c", script, "sh", &log], argv].concat())
    }

    /// A key file as an operator puts it there: whole from the first moment, and readable by its owner only.
    pub(super) fn key(&self, name: &str, key: &str) -> Result<()> {
        let new = self.path("new");
        fs::write(&new, format!("{key}\n"))?;
        fs::set_permissions(&new, Permissions::from_mode(0o600))?;
        Ok(fs::rename(new, self.path(name))?)
    }

    /// An agent with one neighbour, in the node's namespace or in the leaf's.
    pub(super) fn agent(
        &self,
        name: &str,
        netns: &Netns,
        asn: u32,
        neighbour: (&str, u32),
        more: &str,
    ) -> Result<Spawned> {
        let folder = self.path(name);
        fs::create_dir_all(&folder)?;
        let folder = folder.display();
        let (address, remote) = neighbour;
        let id = if asn == LEAF_ASN { "10.121.255.1" } else { "10.122.0.11" };
        let config = format!(
            "[node]\nname = \"{name}\"\nrouter_id = \"{id}\"\n[store]\nembedded = \"{folder}/store\"\n\
             [paths]\nstate = \"{folder}\"\nrun = \"{folder}\"\n[bgp]\nasn = {asn}\n\
             [[bgp.peer]]\naddress = \"{address}\"\nasn = {remote}\nhold_time = \"9s\"\n{more}\n"
        );
        let file = self.text(&format!("{name}.toml"));
        fs::write(&file, config)?;
        self.spawn(netns, name, &[&self.petiole.to_string_lossy(), "agent", "--config", &file])
    }

    pub(super) fn ask(&self, name: &str, netns: &Netns, what: &[&str]) -> Result<Value> {
        let (petiole, config) = (self.petiole.to_string_lossy(), self.text(&format!("{name}.toml")));
        let argv = ["timeout", "-k", "1", "10", &petiole];
        let text = netns.exec(&[&argv, what, &["-o", "json", "--config", &config]].concat())?;
        Ok(serde_json::from_str(&text)?)
    }

    /// Everything the node's agent says about why there is no session.
    pub(super) fn said(&self) -> Result<(String, String)> {
        let peers = self.ask("node", &self.node, &["bgp", "peers"])?;
        let status = self.ask("node", &self.node, &["status"])?;
        Ok((format!("{} {}", peers[0]["state_reason"], peers[0]["last_error"]), status["problems"].to_string()))
    }

    pub(super) fn says(&self, peer: &str, problem: &str) -> Result<()> {
        eventually(WITHIN, "the agent says why", || {
            let (seen, problems) = self.said()?;
            ensure!(seen.contains(peer), "`bgp peers` says {seen}, not {peer:?}");
            ensure!(problems.contains(problem), "`status` says {problems}, not {problem:?}");
            Ok(())
        })
    }

    pub(super) fn log(&self, name: &str) -> String {
        let text = fs::read_to_string(self.path(&format!("{name}.log"))).unwrap_or_default();
        let lines: Vec<&str> = text.lines().collect();
        lines.get(lines.len().saturating_sub(15)..).unwrap_or_default().join("\n")
    }

    /// The frames of the record that a display filter shows.
    pub(super) fn frames(&self, filter: &str) -> Result<Vec<String>> {
        let shown = self.node.exec(&["tshark", "-r", &self.text("link.pcap"), "-Y", filter])?;
        Ok(shown.lines().map(str::to_owned).collect())
    }

    /// When the node sent BGP messages to the leaf of the session, in seconds.
    pub(super) fn sent(&self) -> Result<Vec<f64>> {
        let filter = format!("ip.src == {} && ip.dst == {} && tcp.len > 0", V4.node, V4.leaf);
        let argv = ["tshark", "-r", &self.text("link.pcap"), "-Y", &filter, "-T", "fields", "-e", "frame.time_epoch"];
        let shown = self.node.exec(&argv)?;
        Ok(shown.lines().filter_map(|line| line.parse().ok()).collect())
    }

    /// The segments with data whose signature was made with this key.
    pub(super) fn signed_with(&self, key: &str) -> Result<usize> {
        let shown = self.node.exec(&["tcpdump", "-nvv", "-r", &self.text("link.pcap"), "-M", key])?;
        Ok(shown.lines().filter(|line| line.contains("md5 valid") && !line.contains("length 0")).count())
    }
}

/// FRR as the leaf.
pub(super) struct Frr<'a> {
    pub(super) ground: &'a Ground,
    pub(super) ends: Ends,
    _running: Vec<Spawned>,
}

impl<'a> Frr<'a> {
    pub(super) fn start(ground: &'a Ground, ends: Ends, more: &str) -> Result<Self> {
        let folder = ground.path("frr");
        fs::create_dir_all(&folder)?;
        let node = ends.node;
        let config = format!(
            "log stdout informational\nrouter bgp {LEAF_ASN}\n bgp router-id 10.121.255.1\n no bgp ebgp-requires-policy\n \
             no bgp default ipv4-unicast\n neighbor {node} remote-as {NODE_ASN}\n neighbor {node} timers 3 9\n \
             neighbor {node} timers connect 1\n {more}\n address-family ipv4 unicast\n  neighbor {node} activate\n \
             exit-address-family\n address-family ipv6 unicast\n  neighbor {node} activate\n exit-address-family\nexit\n"
        );
        fs::write(folder.join("zebra.conf"), "log stdout informational\n")?;
        fs::write(folder.join("bgpd.conf"), config)?;
        ground.leaf.exec(&["chown", "-R", "frr:frr", &folder.to_string_lossy()])?;
        let run = |program: &str| {
            let file = |name: &str| folder.join(name).to_string_lossy().into_owned();
            let (conf, pid) = (file(&format!("{program}.conf")), file(&format!("{program}.pid")));
            let program_path = format!("/usr/lib/frr/{program}");
            let argv = [&program_path, "-f", &conf, "-i", &pid, "-z", &file("zserv"), "--vty_socket"];
            ground.spawn(&ground.leaf, program, &[&argv[..], &[&folder.to_string_lossy(), "-P", "0"]].concat())
        };
        let zebra = run("zebra")?;
        let socket = folder.join("zserv");
        eventually(WITHIN, "zebra answers", || {
            check(Path::new(&socket).exists(), "no socket").map_err(anyhow::Error::msg)
        })?;
        let frr = Self { ground, ends, _running: vec![zebra, run("bgpd")?] };
        eventually(WITHIN, "bgpd answers", || frr.state())?;
        Ok(frr)
    }

    pub(super) fn vtysh(&self, lines: &[&str]) -> Result<String> {
        let folder = self.ground.text("frr");
        let mut argv = vec!["vtysh", "--vty_socket", &folder];
        for line in lines {
            argv.extend(["-c", line]);
        }
        self.ground.leaf.exec(&argv)
    }

    pub(super) fn set(&self, line: &str) -> Result<()> {
        self.vtysh(&["configure terminal", &format!("router bgp {LEAF_ASN}"), line]).map(drop)
    }

    pub(super) fn state(&self) -> Result<String> {
        let node = self.ends.node;
        let all: Value = serde_json::from_str(&self.vtysh(&[&format!("show bgp neighbors {node} json")])?)?;
        Ok(all[node]["bgpState"].as_str().context("no such neighbour")?.to_owned())
    }

    pub(super) fn established(&self) -> Result<()> {
        eventually(WITHIN, "the leaf says Established", || {
            let state = self.state()?;
            ensure!(state == "Established", "{state}");
            Ok(())
        })
        .with_context(|| format!("agent: {}\nbgpd: {}", self.ground.log("node"), self.ground.log("bgpd")))
    }

    /// The session is gone and stays away.
    pub(super) fn refused(&self) -> Result<()> {
        let away = || {
            let state = self.state()?;
            ensure!(state != "Established", "{state}");
            Ok(())
        };
        eventually::<(), anyhow::Error>(WITHIN, "the leaf has no session", away)?;
        throughout::<(), anyhow::Error>(Duration::from_secs(5), "the leaf has no session", away)
    }
}
