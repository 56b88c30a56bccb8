//! Sessions with TCP MD5 signatures and GTSM, between the real agent and FRR, and between two agents where a key changes on both
//! sides: FRR ends a session whose password changes, by itself. Asserted on the leaf's own word and on the packets of the link.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use petiole_labtests::{Binaries, Netns, Spawned, check, eventually, throughout};
use serde_json::Value;
use tempfile::TempDir;

const WITHIN: Duration = Duration::from_secs(40);
const LEAF_ASN: u32 = 65_001;
const NODE_ASN: u32 = 4_200_000_011;

fn root() -> bool {
    let root = rustix::process::geteuid().is_root();
    if !root {
        println!("not checked: needs root for network namespaces");
    }
    root
}

fn words(error: anyhow::Error) -> String {
    format!("{error:#}")
}

/// What the session runs over: the leaf's end and the node's.
#[derive(Debug, Clone, Copy)]
struct Ends {
    leaf: &'static str,
    node: &'static str,
}

const V4: Ends = Ends { leaf: "10.122.101.0", node: "10.122.101.1" };
const V6: Ends = Ends { leaf: "fd00:122:101::", node: "fd00:122:101::1" };

/// Two namespaces and a link that is recorded. Processes end before them.
struct Ground {
    running: Vec<Spawned>,
    node: Netns,
    leaf: Netns,
    folder: TempDir,
    petiole: PathBuf,
}

impl Ground {
    fn new() -> Result<Self> {
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
        let argv = ["tcpdump", "-i", "eth1", "-U", "--immediate-mode", "-Z", "root", "-w", &pcap, "tcp", "port", "179"];
        let tcpdump = ground.spawn(&ground.node, "tcpdump", &argv)?;
        ground.running.push(tcpdump);
        eventually(WITHIN, "tcpdump records", || {
            let length = fs::metadata(&pcap).map(|file| file.len()).unwrap_or(0);
            check(length >= 24, "no file yet")
        })?;
        Ok(ground)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn text(&self, name: &str) -> String {
        self.path(name).to_string_lossy().into_owned()
    }

    fn spawn(&self, netns: &Netns, name: &str, argv: &[&str]) -> Result<Spawned> {
        let log = self.text(&format!("{name}.log"));
        let script = "log=$1; shift; exec \"$@\" >>\"$log\" 2>&1";
        netns.spawn(&[&["sh", "-c", script, "sh", &log], argv].concat())
    }

    /// A key file as an operator puts it there: whole from the first moment, and readable by its owner only.
    fn key(&self, name: &str, key: &str) -> Result<()> {
        let new = self.path("new");
        fs::write(&new, format!("{key}\n"))?;
        fs::set_permissions(&new, Permissions::from_mode(0o600))?;
        Ok(fs::rename(new, self.path(name))?)
    }

    /// An agent with one neighbour, in the node's namespace or in the leaf's.
    fn agent(&self, name: &str, netns: &Netns, asn: u32, neighbour: (&str, u32), more: &str) -> Result<Spawned> {
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

    fn ask(&self, name: &str, netns: &Netns, what: &[&str]) -> Result<Value> {
        let (petiole, config) = (self.petiole.to_string_lossy(), self.text(&format!("{name}.toml")));
        let argv = ["timeout", "-k", "1", "10", &petiole];
        let text = netns.exec(&[&argv, what, &["-o", "json", "--config", &config]].concat())?;
        Ok(serde_json::from_str(&text)?)
    }

    /// Everything the node's agent says about why there is no session.
    fn said(&self) -> Result<(String, String)> {
        let peers = self.ask("node", &self.node, &["bgp", "peers"])?;
        let status = self.ask("node", &self.node, &["status"])?;
        Ok((format!("{} {}", peers[0]["state_reason"], peers[0]["last_error"]), status["problems"].to_string()))
    }

    fn says(&self, peer: &str, problem: &str) -> Result<()> {
        eventually(WITHIN, "the agent says why", || {
            let (seen, problems) = self.said()?;
            ensure!(seen.contains(peer), "`bgp peers` says {seen}, not {peer:?}");
            ensure!(problems.contains(problem), "`status` says {problems}, not {problem:?}");
            Ok(())
        })
    }

    fn log(&self, name: &str) -> String {
        let text = fs::read_to_string(self.path(&format!("{name}.log"))).unwrap_or_default();
        let lines: Vec<&str> = text.lines().collect();
        lines.get(lines.len().saturating_sub(15)..).unwrap_or_default().join("\n")
    }

    /// The frames of the record that a display filter shows.
    fn frames(&self, filter: &str) -> Result<Vec<String>> {
        let shown = self.node.exec(&["tshark", "-r", &self.text("link.pcap"), "-Y", filter])?;
        Ok(shown.lines().map(str::to_owned).collect())
    }

    /// The segments with data whose signature was made with this key.
    fn signed_with(&self, key: &str) -> Result<usize> {
        let shown = self.node.exec(&["tcpdump", "-nvv", "-r", &self.text("link.pcap"), "-M", key])?;
        Ok(shown.lines().filter(|line| line.contains("md5 valid") && !line.contains("length 0")).count())
    }
}

/// FRR as the leaf.
struct Frr<'a> {
    ground: &'a Ground,
    ends: Ends,
    _running: Vec<Spawned>,
}

impl<'a> Frr<'a> {
    fn start(ground: &'a Ground, ends: Ends, more: &str) -> Result<Self> {
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

    fn vtysh(&self, lines: &[&str]) -> Result<String> {
        let folder = self.ground.text("frr");
        let mut argv = vec!["vtysh", "--vty_socket", &folder];
        for line in lines {
            argv.extend(["-c", line]);
        }
        self.ground.leaf.exec(&argv)
    }

    fn set(&self, line: &str) -> Result<()> {
        self.vtysh(&["configure terminal", &format!("router bgp {LEAF_ASN}"), line]).map(drop)
    }

    fn state(&self) -> Result<String> {
        let node = self.ends.node;
        let all: Value = serde_json::from_str(&self.vtysh(&[&format!("show bgp neighbors {node} json")])?)?;
        Ok(all[node]["bgpState"].as_str().context("no such neighbour")?.to_owned())
    }

    fn established(&self) -> Result<()> {
        eventually(WITHIN, "the leaf says Established", || {
            let state = self.state()?;
            ensure!(state == "Established", "{state}");
            Ok(())
        })
        .with_context(|| format!("agent: {}\nbgpd: {}", self.ground.log("node"), self.ground.log("bgpd")))
    }

    /// The session is gone and stays away.
    fn refused(&self) -> Result<()> {
        let away = || {
            let state = self.state()?;
            ensure!(state != "Established", "{state}");
            Ok(())
        };
        eventually::<(), anyhow::Error>(WITHIN, "the leaf has no session", away)?;
        throughout::<(), anyhow::Error>(Duration::from_secs(5), "the leaf has no session", away)
    }
}

fn right_wrong_missing(ends: Ends) -> Result<()> {
    let ground = Ground::new()?;
    let (node, path) = (ends.node, ground.text("leaf.key"));
    ground.key("leaf.key", "right")?;
    let frr = Frr::start(&ground, ends, &format!("neighbor {node} password right"))?;
    let agent =
        ground.agent("node", &ground.node, NODE_ASN, (ends.leaf, LEAF_ASN), &format!("password_file = \"{path}\""))?;
    frr.established()?;
    ensure!(ground.signed_with("right")? > 2, "nothing on the link has the key's signature");

    frr.set(&format!("neighbor {node} password wrong"))?;
    frr.refused()?;
    ground
        .says("with a wrong TCP MD5 signature arrived here meanwhile: the keys differ", "the keys differ; compare")?;

    frr.set(&format!("no neighbor {node} password"))?;
    frr.refused()?;
    ground.says("the leaf has no key for us", "TCP MD5 signature")?;

    // The agent goes on living through all of it: a key that fits is all that was missing.
    ground.key("leaf.key", "second")?;
    frr.set(&format!("neighbor {node} password second"))?;
    frr.established()?;
    eventually(WITHIN, "no problem is left", || {
        let (_, problems) = ground.said()?;
        ensure!(!problems.contains("MD5"), "{problems}");
        Ok(())
    })?;

    fs::remove_file(ground.path("leaf.key"))?;
    frr.refused()?;
    ground.says("does not exist", "no session with")?;
    fs::write(ground.path("leaf.key"), "second")?;
    fs::set_permissions(ground.path("leaf.key"), Permissions::from_mode(0o644))?;
    ground.says("everybody may use the key in", "chmod 600")?;
    frr.refused()?;
    fs::set_permissions(ground.path("leaf.key"), Permissions::from_mode(0o600))?;
    frr.established()?;

    // With a key on our side, no segment ever carried data without a signature, whatever the leaf did.
    let unsigned = ground.frames("tcp.len > 0 && !tcp.options.md5")?;
    ensure!(unsigned.is_empty(), "unsigned data: {unsigned:#?}");
    ensure!(!ground.frames("tcp.len > 0 && tcp.options.md5")?.is_empty(), "no signed data was recorded");

    drop(agent);
    let _unsigned = ground.agent("node", &ground.node, NODE_ASN, (ends.leaf, LEAF_ASN), "")?;
    ground
        .says("with a TCP MD5 signature arrived here meanwhile, and there is no password_file", "set password_file")?;
    frr.refused()?;
    Ok(())
}

#[test]
fn md5_right_wrong_missing_over_ipv4() -> Result<(), String> {
    if root() { right_wrong_missing(V4).map_err(words) } else { Ok(()) }
}

#[test]
fn md5_right_wrong_missing_over_ipv6() -> Result<(), String> {
    if root() { right_wrong_missing(V6).map_err(words) } else { Ok(()) }
}

fn rotated(ends: Ends) -> Result<()> {
    let ground = Ground::new()?;
    let sides = [
        ("node", &ground.node, NODE_ASN, (ends.leaf, LEAF_ASN)),
        ("leaf", &ground.leaf, LEAF_ASN, (ends.node, NODE_ASN)),
    ];
    let mut agents = Vec::new();
    for (name, netns, asn, neighbour) in sides {
        ground.key(&format!("{name}.key"), "old")?;
        let more = format!("password_file = \"{}\"", ground.text(&format!("{name}.key")));
        agents.push(ground.agent(name, netns, asn, neighbour, &more)?);
    }
    let session = |name: &str, netns: &Netns| -> Result<Value> {
        let peers = ground.ask(name, netns, &["bgp", "peers"])?;
        let peer = &peers[0];
        ensure!(peer["state"] == "established" || peer["state"] == "Established", "{name}: {peer:#}");
        Ok(peer.clone())
    };
    for (name, netns, ..) in sides {
        eventually(WITHIN, "the session is up", || session(name, netns).map(drop))?;
    }
    let before = ground.signed_with("new")?;
    ensure!(before == 0, "{before} segments have a key that nobody has yet");
    ground.key("node.key", "new")?;
    ground.key("leaf.key", "new")?;
    for (name, ..) in sides {
        eventually(WITHIN, "the new key is taken", || {
            check(ground.log(name).contains("is used from now on"), ground.log(name)).map_err(anyhow::Error::msg)
        })?;
    }
    // Longer than the hold time: keepalives under the new key hold the session, and nothing else could.
    throughout(Duration::from_secs(14), "the session is up", || {
        sides.iter().try_for_each(|(name, netns, ..)| session(name, netns).map(drop))
    })?;
    for (name, netns, ..) in sides {
        let peer = session(name, netns)?;
        ensure!(peer["established_count"] == 1, "{name}: the session was dropped: {peer:#}");
    }
    ensure!(ground.signed_with("new")? >= 4, "keepalives of both sides have the new key");
    let ended = ground.frames("tcp.flags.reset == 1 || tcp.flags.fin == 1")?;
    let unsigned = ground.frames("tcp.len > 0 && !tcp.options.md5")?;
    ensure!(unsigned.is_empty(), "unsigned data: {unsigned:#?}");
    println!("{} segments ended a connection (of two simultaneous ones, at first)", ended.len());
    Ok(())
}

#[test]
fn md5_rotated_on_both_sides_keeps_the_session() -> Result<(), String> {
    if root() { rotated(V4).and_then(|()| rotated(V6)).map_err(words) } else { Ok(()) }
}

fn gtsm(ends: Ends, far: &str) -> Result<()> {
    let ground = Ground::new()?;
    let node = ends.node;
    let frr = Frr::start(&ground, ends, "")?;
    let _agent = ground.agent("node", &ground.node, NODE_ASN, (ends.leaf, LEAF_ASN), "ttl_security = true")?;
    // FRR accepts with TTL 255 and speaks with TTL 1: there is a connection, but not a byte is heard.
    ground.says("with a TTL below 255 arrived here meanwhile", "has a TTL below 255")?;
    frr.refused()?;
    frr.set(&format!("neighbor {node} ttl-security hops 1"))?;
    frr.established()?;
    let far = ground.frames(&far.replace("NODE", node))?;
    ensure!(far.is_empty(), "sent by the node with a TTL below 255: {far:#?}");
    Ok(())
}

#[test]
fn gtsm_hears_only_the_link() -> Result<(), String> {
    if !root() {
        return Ok(());
    }
    gtsm(V4, "ip.src == NODE && ip.ttl < 255 && tcp.flags.reset == 0")
        .and_then(|()| gtsm(V6, "ipv6.src == NODE && ipv6.hlim < 255 && tcp.flags.reset == 0"))
        .map_err(words)
}
