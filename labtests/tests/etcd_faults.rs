//! A node whose etcd behaves as etcds do: whatever it is that goes wrong there, `status` says it, and the leaf's table stays.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::Command;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, bail, ensure};
use petiole_labtests::plugin::Call;
use petiole_labtests::{Binaries, Netns, Signal, Spawned, check, eventually};
use serde_json::{Value, json};
use tempfile::TempDir;

const WITHIN: Duration = Duration::from_secs(60);
const LEAF: &str = "10.122.101.0";
const NODE: &str = "10.122.101.1";
const MEMBERS: [&str; 3] = ["http://127.0.0.1:2379", "http://127.0.0.1:3379", "http://127.0.0.1:4379"];
/// Small enough to be filled at once.
const QUOTA: &str = "2000000";
/// After which a token that was not used is not known any more, in seconds.
const TOKEN: &str = "3";

/// A leaf, and a node with three members of etcd beside its agent. Processes end before the namespaces.
struct Ground {
    members: Vec<Option<Spawned>>,
    _running: Vec<Spawned>,
    node: Netns,
    leaf: Netns,
    folder: TempDir,
    petiole: PathBuf,
    /// Namespaces of pods, with what they were given.
    pods: BTreeMap<String, String>,
}

impl Drop for Ground {
    fn drop(&mut self) {
        for pod in self.pods.keys() {
            let _gone = Command::new("ip").args(["netns", "del", pod]).status();
        }
    }
}

impl Ground {
    fn new() -> Result<Self> {
        let folder = TempDir::with_prefix("faults-")?;
        fs::set_permissions(folder.path(), Permissions::from_mode(0o755))?;
        let (leaf, node) = (Netns::bare("faults-leaf")?, Netns::bare("faults-node")?);
        leaf.connect("eth1", &node, "eth1", 1500)?;
        leaf.exec(&["ip", "address", "add", &format!("{LEAF}/31"), "dev", "eth1"])?;
        node.exec(&["ip", "address", "add", &format!("{NODE}/31"), "dev", "eth1"])?;
        node.exec(&["ip", "address", "add", "10.122.0.11/32", "dev", "lo"])?;
        let petiole = Binaries::find()?.agent.context("no agent: build it, or set PETIOLE_BIN")?;
        let mut ground =
            Self { members: Vec::new(), _running: Vec::new(), node, leaf, folder, petiole, pods: BTreeMap::new() };
        ground.node.exec(&["sysctl", "-qw", "net.ipv4.ip_forward=1"])?;
        for number in 0..MEMBERS.len() {
            let member = ground.member(number)?;
            ground.members.push(Some(member));
        }
        eventually(WITHIN, "etcd answers", || ground.etcdctl(&["endpoint", "health"]).map(drop))?;
        ground.users()?;
        ground.password("first")?;
        ground.frr()?;
        ground.agent()?;
        Ok(ground)
    }

    fn text(&self, name: &str) -> String {
        self.folder.path().join(name).to_string_lossy().into_owned()
    }

    fn spawn(&self, netns: &Netns, name: &str, argv: &[&str]) -> Result<Spawned> {
        let log = self.text(&format!("{name}.log"));
        netns.spawn(&[&["sh", "-c", "log=$1; shift; exec \"$@\" >>\"$log\" 2>&1", "sh", &log], argv].concat())
    }

    fn member(&self, number: usize) -> Result<Spawned> {
        let name = format!("m{number}");
        let peer = |n: usize| format!("http://127.0.0.1:{}380", n + 2);
        let cluster: Vec<String> = (0..MEMBERS.len()).map(|n| format!("m{n}={}", peer(n))).collect();
        let (client, own) = (MEMBERS[number], peer(number));
        let (data, cluster) = (self.text(&name), cluster.join(","));
        let argv = [
            &[
                "etcd",
                "--name",
                &name,
                "--data-dir",
                &data,
                "--listen-client-urls",
                client,
                "--advertise-client-urls",
                client,
            ][..],
            &[
                "--listen-peer-urls",
                &own,
                "--initial-advertise-peer-urls",
                &own,
                "--initial-cluster",
                &cluster,
                "--quota-backend-bytes",
                QUOTA,
                "--unsafe-no-fsync",
            ],
            &["--auth-token-ttl", TOKEN, "--bcrypt-cost", "4"],
        ];
        self.spawn(&self.node, &name, &argv.concat())
    }

    /// As somebody who may do everything.
    fn etcdctl(&self, args: &[&str]) -> Result<String> {
        let endpoints = format!("--endpoints={}", MEMBERS.join(","));
        let user: &[&str] =
            if self.folder.path().join("etcd.password").exists() { &["--user", "root:root"] } else { &[] };
        self.node.exec(&[&["env", "ETCDCTL_API=3", "etcdctl", &endpoints], user, args].concat())
    }

    fn users(&self) -> Result<()> {
        for args in [
            &["user", "add", "root:root"][..],
            &["role", "add", "root"],
            &["user", "grant-role", "root", "root"],
            &["user", "add", "petiole:first"],
            &["role", "add", "node"],
            &["role", "grant-permission", "node", "--prefix", "readwrite", "/calico/"],
            &["role", "grant-permission", "node", "--prefix", "readwrite", "/petiole/"],
            &["user", "grant-role", "petiole", "node"],
            &["auth", "enable"],
        ] {
            let done = self.etcdctl(args);
            ensure!(done.is_ok() || args == ["role", "add", "root"], "{args:?}: {done:?}");
        }
        Ok(())
    }

    fn password(&self, password: &str) -> Result<()> {
        let new = self.folder.path().join("new");
        fs::write(&new, password)?;
        fs::set_permissions(&new, Permissions::from_mode(0o600))?;
        Ok(fs::rename(new, self.folder.path().join("etcd.password"))?)
    }

    fn frr(&mut self) -> Result<()> {
        let folder = self.text("frr");
        fs::create_dir_all(&folder)?;
        let config = format!(
            "log stdout debugging\ndebug bgp updates in\nrouter bgp 65001\n bgp router-id 10.121.255.1\n \
             no bgp ebgp-requires-policy\n neighbor {NODE} remote-as 4200000011\n neighbor {NODE} timers 3 9\n \
             neighbor {NODE} timers connect 1\nexit\n"
        );
        fs::write(format!("{folder}/zebra.conf"), "log stdout informational\n")?;
        fs::write(format!("{folder}/bgpd.conf"), config)?;
        self.leaf.exec(&["chown", "-R", "frr:frr", &folder])?;
        for program in ["zebra", "bgpd"] {
            let file = |name: &str| format!("{folder}/{name}");
            let (conf, pid) = (file(&format!("{program}.conf")), file(&format!("{program}.pid")));
            let path = format!("/usr/lib/frr/{program}");
            let argv = [&path, "-f", &conf, "-i", &pid, "-z", &file("zserv"), "--vty_socket", &folder, "-P", "0"];
            let daemon = self.spawn(&self.leaf, program, &argv)?;
            self._running.push(daemon);
            let socket = self.folder.path().join("frr/zserv");
            eventually(WITHIN, "zebra answers", || check(socket.exists(), "no socket"))?;
        }
        Ok(())
    }

    fn agent(&mut self) -> Result<()> {
        let folder = self.text("agent");
        fs::create_dir_all(&folder)?;
        let (endpoints, password) = (MEMBERS.map(|url| format!("\"{url}\"")).join(", "), self.text("etcd.password"));
        let config = format!(
            "[node]\nname = \"worker1\"\nroles = [\"worker\"]\nrouter_id = \"10.122.0.11\"\naddresses = [\"10.122.0.11/32\"]\n\
             [store]\netcd = {{ endpoints = [{endpoints}], user = \"petiole\", password_file = \"{password}\" }}\n\
             [ipam]\npools = [{{ cidr = \"10.123.128.0/24\", block_size = 26 }}]\n\
             [paths]\nstate = \"{folder}\"\nrun = \"{folder}\"\n[bgp]\nasn = 4200000011\n\
             [[bgp.peer]]\naddress = \"{LEAF}\"\nasn = 65001\nhold_time = \"9s\"\n"
        );
        let file = self.text("petiole.toml");
        fs::write(&file, config)?;
        let petiole = self.petiole.to_string_lossy().into_owned();
        let agent = self.spawn(&self.node, "agent", &[&petiole, "agent", "--config", &file])?;
        self._running.push(agent);
        Ok(())
    }

    fn status(&self) -> Result<Value> {
        let (petiole, file) = (self.petiole.to_string_lossy(), self.text("petiole.toml"));
        let text =
            self.node.exec(&["timeout", "-k", "1", "10", &petiole, "status", "-o", "json", "--config", &file])?;
        Ok(serde_json::from_str(&text)?)
    }

    /// What the leaf has from the node.
    fn told(&self) -> Result<BTreeSet<String>> {
        let folder = self.text("frr");
        let text = self.leaf.exec(&["vtysh", "--vty_socket", &folder, "-c", "show bgp ipv4 unicast json"])?;
        let table: Value = serde_json::from_str(&text)?;
        Ok(table["routes"].as_object().context("no routes")?.keys().cloned().collect())
    }

    /// The store's state and that one of the node's words about it has this in it.
    fn says(&self, words: &str) -> Result<()> {
        eventually(WITHIN, &format!("`status` says {words:?}"), || {
            let status = self.status()?;
            let all = format!("{} {}", status["store"]["error"], status["problems"]).replace("\\\"", "\"");
            ensure!(all.contains(words), "{} {}", status["store"], status["problems"]);
            Ok(())
        })
    }

    fn well(&self) -> Result<()> {
        eventually(WITHIN, "the store is in sync and nothing is wrong", || {
            let status = self.status()?;
            ensure!(status["store"]["state"] == "in sync", "{}", status["store"]);
            ensure!(status["problems"].as_array().is_some_and(Vec::is_empty), "{}", status["problems"]);
            Ok(())
        })
    }

    fn signal_all(&self, signal: Signal) {
        for member in self.members.iter().flatten() {
            member.signal(signal);
        }
    }

    fn kill(&mut self, number: usize) -> Result<()> {
        self.members[number].take().map_or(Ok(()), |member| member.end(Signal::KILL).map(drop))
    }

    fn start(&mut self, number: usize) -> Result<()> {
        self.members[number] = Some(self.member(number)?);
        Ok(())
    }

    fn answers(&self) -> Result<()> {
        eventually(WITHIN, "every member of etcd answers", || self.etcdctl(&["endpoint", "health"]).map(drop))
    }

    /// One dies; the others are left alone with it for a moment.
    fn restart(&mut self, number: usize) -> Result<()> {
        self.kill(number)?;
        std::thread::sleep(Duration::from_secs(1));
        self.start(number)?;
        self.answers()
    }

    /// All die at once, and with them every watch and token.
    fn restart_all(&mut self) -> Result<()> {
        for number in 0..MEMBERS.len() {
            self.kill(number)?;
        }
        for number in 0..MEMBERS.len() {
            self.start(number)?;
        }
        self.answers()
    }

    fn cni(&self, command: &str, pod: &str) -> Result<Value> {
        let socket = self.text("agent/cni.sock");
        let conf =
            json!({ "cniVersion": "1.0.0", "name": "faults", "type": "petiole", "timeout": "20s", "socket": socket });
        let plugin = self.petiole.with_file_name("petiole-cni");
        Call::new(&plugin, command, pod, conf).netns(format!("/run/netns/{pod}")).run()
    }

    fn netns(&mut self) -> Result<String> {
        let pod = format!("faults-{}-{}", std::process::id(), self.pods.len());
        ensure!(Command::new("ip").args(["netns", "add", &pod]).status()?.success(), "no namespace {pod}");
        self.pods.insert(pod.clone(), String::new());
        Ok(pod)
    }

    /// A new pod is given an address that none of the others has.
    fn pod(&mut self) -> Result<String> {
        let pod = self.netns()?;
        let address = self.cni("ADD", &pod)?["ips"][0]["address"].as_str().context("no address")?.to_owned();
        ensure!(!self.pods.values().any(|other| *other == address), "{address} is given twice: {:?}", self.pods);
        self.pods.insert(pod.clone(), address);
        Ok(pod)
    }

    /// What etcd says is held, by handle.
    fn held(&self) -> Result<usize> {
        let handles = self.etcdctl(&["get", "--prefix", "--keys-only", "/calico/ipam/v2/handle/"])?;
        Ok(handles.lines().filter(|line| !line.is_empty()).count())
    }

    fn revision(&self) -> Result<String> {
        let status: Value = serde_json::from_str(&self.etcdctl(&["endpoint", "status", "-w", "json"])?)?;
        Ok(status[0]["Status"]["header"]["revision"].to_string())
    }

    fn owners(&self) -> Result<String> {
        self.etcdctl(&["get", "--prefix", "/calico/ipam/v2/host/"])
    }
}

/// Runs the faults one after another while the leaf's table is looked at all the time.
fn faults(ground: &mut Ground) -> Result<()> {
    let begun = Instant::now();
    let after = |what: &str| println!("{:5.1} s: {what}", begun.elapsed().as_secs_f64());
    for number in 0..MEMBERS.len() {
        ground.restart(number).with_context(|| format!("member {number} dies"))?;
    }
    ground.well()?;
    ground.pod()?;
    after("members died one after another");

    ground.kill(0)?;
    ground.kill(1)?;
    ground.says("leader")?;
    ground.start(0)?;
    ground.start(1)?;
    ground.well()?;
    ground.pod()?;
    after("two of three were gone, and with them the leader");

    ground.etcdctl(&["user", "revoke-role", "petiole", "node"])?;
    ground.restart_all()?;
    ground.says("does not let user \"petiole\" read /calico/")?;
    // Nobody of this node watches: what is compacted now is missed.
    for n in 0..10 {
        ground.etcdctl(&["put", "/foreign", &n.to_string()])?;
    }
    let revision = ground.revision()?;
    ground.etcdctl(&["compact", &revision])?;
    ground.etcdctl(&["user", "grant-role", "petiole", "node"])?;
    ground.well()?;
    ground.pod()?;
    after("a role was taken and given, over a compaction");

    ground.etcdctl(&["user", "delete", "petiole"])?;
    ground.etcdctl(&["user", "add", "petiole:second"])?;
    ground.etcdctl(&["user", "grant-role", "petiole", "node"])?;
    ground.restart_all()?;
    ground.says("refuses the login of user \"petiole\"")?;
    ground.password("second")?;
    ground.well()?;
    ground.pod()?;
    // Nothing to be seen of it: the next request has another.
    std::thread::sleep(Duration::from_secs(TOKEN.parse::<u64>()? + 1));
    ground.pod()?;
    ground.well()?;
    after("a password was changed, and a token expired");

    let value = "x".repeat(100_000);
    for _ in 0..100 {
        if ground.etcdctl(&["put", "/fill", &value]).is_err() {
            break;
        }
    }
    ground.says("the database of etcd has reached its quota")?;
    let waiting = ground.netns()?;
    let Err(refused) = ground.cni("ADD", &waiting) else { bail!("an address was given that etcd does not know") };
    ensure!(format!("{refused:#}").contains("quota"), "{refused:#}");
    let released = ground.pods.keys().next().cloned().context("no pod")?;
    ground.cni("DEL", &released).context("while nothing can be written")?;
    let revision = ground.revision()?;
    ground.etcdctl(&["compact", "--physical", &revision])?;
    ground.etcdctl(&["defrag"])?;
    ground.etcdctl(&["alarm", "disarm"])?;
    ground.well()?;
    ground.pod()?;
    after("the database was full");

    // A disk that hangs: longer and shorter than patience.
    std::thread::scope(|scope| -> Result<()> {
        let members: Vec<&Spawned> = ground.members.iter().flatten().collect();
        let rhythm = scope.spawn(move || {
            for stopped in [300, 900, 1800, 2600, 900, 300] {
                members.iter().for_each(|member| member.signal(Signal::STOP));
                std::thread::sleep(Duration::from_millis(stopped));
                members.iter().for_each(|member| member.signal(Signal::CONT));
                std::thread::sleep(Duration::from_millis(400));
            }
        });
        rhythm.join().map_err(|_| anyhow!("the rhythm panicked"))
    })?;
    ground.well()?;
    ground.pod()?;
    after("the disk hung");

    ground.signal_all(Signal::STOP);
    ground.says("has stopped answering").or_else(|_| ground.says("no answer from"))?;
    ground.signal_all(Signal::CONT);
    ground.well()?;
    ground.pod()?;
    after("all members went silent");

    // One was given back, one was never given.
    let wanted = ground.pods.len() - 2;
    eventually(WITHIN, "etcd knows the address of each pod, and no other", || {
        let held = ground.held()?;
        ensure!(held == wanted, "{held} of {wanted}: {:?}", ground.pods);
        Ok(())
    })
}

#[test]
fn whatever_etcd_does_status_says_it_and_the_leaf_keeps_its_table() -> Result<(), String> {
    if !rustix::process::geteuid().is_root() {
        println!("not checked: needs root for network namespaces");
        return Ok(());
    }
    run().map_err(|e| format!("{e:#}"))
}

fn run() -> Result<()> {
    let mut ground = Ground::new()?;
    let done = fire(&mut ground);
    if done.is_err() {
        let log = fs::read_to_string(ground.text("agent.log")).unwrap_or_default();
        let from = log.len().saturating_sub(6000);
        println!("{}\n{:?}", log.get(from..).unwrap_or(&log), ground.status());
    }
    done
}

fn fire(ground: &mut Ground) -> Result<()> {
    eventually(WITHIN, "the leaf has the node's address and its block", || {
        let told = ground.told()?;
        ensure!(told.len() == 2 && told.contains("10.122.0.11/32"), "{told:?} {:?}", ground.status());
        Ok(())
    })?;
    let (told, owners) = (ground.told()?, ground.owners()?);
    let (end, looks) = (AtomicBool::new(false), AtomicUsize::new(0));
    let folder = ground.text("frr");
    let leaf = ground.leaf.name().to_owned();
    std::thread::scope(|scope| -> Result<()> {
        let watch = scope.spawn(|| -> Result<()> {
            while !end.load(Ordering::Relaxed) {
                let argv =
                    ["netns", "exec", &leaf, "vtysh", "--vty_socket", &folder, "-c", "show bgp ipv4 unicast json"];
                let output = Command::new("ip").args(argv).output()?;
                let table: Value = serde_json::from_slice(&output.stdout)?;
                let now: BTreeSet<String> = table["routes"].as_object().context("no routes")?.keys().cloned().collect();
                ensure!(now == told, "the leaf has {now:?}, not {told:?}");
                looks.fetch_add(1, Ordering::Relaxed);
                std::thread::sleep(Duration::from_millis(200));
            }
            Ok(())
        });
        let done = faults(ground);
        end.store(true, Ordering::Relaxed);
        let watched = watch.join().unwrap_or_else(|_| Err(anyhow!("the watch panicked")));
        done.and(watched)
    })?;
    let looks = looks.load(Ordering::Relaxed);
    ensure!(looks > 50, "the leaf was looked at {looks} times only");
    ensure!(ground.owners()? == owners, "the block has changed hands");
    // Also between two looks: bgpd writes what it hears.
    let log = fs::read_to_string(ground.text("bgpd.log"))?;
    ensure!(log.contains("rcvd"), "bgpd writes nothing of updates: {log}");
    let withdrawn: Vec<&str> = log.lines().filter(|line| line.contains("withdrawn")).collect();
    ensure!(withdrawn.is_empty(), "{withdrawn:#?}");
    Ok(())
}
