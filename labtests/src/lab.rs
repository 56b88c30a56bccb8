//! A lab from its topology to its end.

mod power;

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs::{self, File};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, bail};

use crate::node::NodeHandle;
use crate::procs::{Belonging, Identity, MARK};
use crate::sandbox::Spec;
use crate::state::{self, NodeRecord, Record, StateDir};
use crate::topology::{Bind, End, Link, Topology};
use crate::{cgroups, netns, sandbox};

/// PATH inside nodes, Docker's own.
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
/// How long a node may take to put its root together, on a machine that is busy with something else.
const NODE_START: Duration = Duration::from_secs(30);
/// How long killed processes may take to be gone.
const KILL: Duration = Duration::from_secs(10);

/// The binaries that are put into every node.
#[derive(Debug, Clone)]
pub struct Binaries {
    /// `petiole-lab`: it is the first process of a node, and gives nodes their small servers.
    pub lab: PathBuf,
    /// `petiole`; None leaves the agent out, and its service fails and stays dead.
    pub agent: Option<PathBuf>,
}

impl Binaries {
    /// `petiole-lab` is this program or lies beside it (a test's lies one folder down); `petiole` is what
    /// `PETIOLE_BIN` says, or lies beside it, or is left out.
    pub fn find() -> Result<Self> {
        let own = std::env::current_exe()?;
        let folders: Vec<&Path> = own.ancestors().skip(1).take(2).collect();
        let beside = |name: &str| folders.iter().map(|folder| folder.join(name)).find(|path| path.is_file());
        let lab = beside("petiole-lab").ok_or_else(|| {
            anyhow!("petiole-lab is not beside {}; build it: cargo build -p petiole-labtests", own.display())
        })?;
        let agent = match std::env::var_os("PETIOLE_BIN").map(PathBuf::from) {
            Some(path) => Some(existing(&path).context("PETIOLE_BIN")?),
            None => beside("petiole"),
        };
        Ok(Self { lab, agent })
    }

    /// `petiole-cni`, where it lies beside the agent: `petiole cni install` takes it from there.
    pub fn plugin(&self) -> Option<PathBuf> {
        self.agent.as_ref().map(|agent| agent.with_file_name("petiole-cni")).filter(|plugin| plugin.is_file())
    }
}

/// The path made absolute, of a file that is there.
pub fn existing(path: &Path) -> Result<PathBuf> {
    path.canonicalize().with_context(|| format!("{}", path.display()))
}

/// How far `up` is.
#[derive(Debug, Clone)]
pub enum Progress<'a> {
    /// So many nodes of so many have their PID 1.
    Nodes(usize, usize),
    /// The links exist.
    Links(usize),
    /// A line of a node's `exec` failed; the lab goes on.
    ExecFailed(&'a str, String),
    /// All is done.
    Up(Duration),
}

/// A running lab. Dropped, it goes, unless [`Lab::keep`] was said.
#[derive(Debug)]
pub struct Lab {
    record: Record,
    shims: Mutex<Vec<Child>>,
    kept: bool,
}

impl Lab {
    /// Brings a topology up for a test: the lab ends with this value, and at the latest when a later test finds that
    /// this process is gone. With `LABTESTS_KEEP` in the environment it stays, for a person to look into.
    pub fn up(topology: &Topology, binaries: &Binaries) -> Result<Self> {
        sweep()?;
        if std::env::var_os("LABTESTS_KEEP").is_some() {
            eprintln!("keeping lab {}: petiole-lab down --name {0}", topology.name);
            return Self::up_kept(topology, binaries, &|_| ());
        }
        let own = i32::try_from(std::process::id()).ok().and_then(Identity::of);
        Self::start(topology, binaries, own, &|_| ())
    }

    /// Brings a topology up for a program that shows how far it is: the lab ends with this value.
    pub fn up_watched(
        topology: &Topology,
        binaries: &Binaries,
        progress: &(dyn Fn(Progress<'_>) + Sync),
    ) -> Result<Self> {
        sweep()?;
        let own = i32::try_from(std::process::id()).ok().and_then(Identity::of);
        Self::start(topology, binaries, own, progress)
    }

    /// Brings a topology up for a person: it stays until `down`.
    pub fn up_kept(topology: &Topology, binaries: &Binaries, progress: &(dyn Fn(Progress<'_>) + Sync)) -> Result<Self> {
        Ok(Self::start(topology, binaries, None, progress)?.keep())
    }

    /// A lab that is up already.
    pub fn attach(name: &str) -> Result<Self> {
        let record =
            state::read(name)?.ok_or_else(|| anyhow!("there is no lab `{name}`; these are up: {}", labs_shown()))?;
        Ok(Self { record, shims: Mutex::default(), kept: true })
    }

    /// Lets the lab outlive this value.
    #[must_use]
    pub fn keep(mut self) -> Self {
        self.kept = true;
        self
    }

    /// The lab's record.
    pub fn record(&self) -> &Record {
        &self.record
    }

    /// One of its nodes.
    pub fn node(&self, name: &str) -> Result<NodeHandle> {
        let record = self.record.nodes.iter().find(|node| node.name == name);
        let record = record.ok_or_else(|| anyhow!("lab `{}` has no node `{name}`", self.record.name))?;
        Ok(NodeHandle::new(state::dir(&self.record.name), record.clone()))
    }

    /// All of its nodes, by name.
    pub fn nodes(&self) -> impl Iterator<Item = NodeHandle> {
        let dir = state::dir(&self.record.name);
        self.record.nodes.iter().map(move |record| NodeHandle::new(dir.clone(), record.clone()))
    }

    /// Takes the lab down and says whether that worked, which dropping cannot. A lab that is to outlive its value
    /// stays.
    pub fn down(mut self) -> Result<()> {
        if self.kept {
            return Ok(());
        }
        self.kept = true;
        self.end()
    }

    fn end(&mut self) -> Result<()> {
        let result = down(&self.record.name);
        for mut shim in self.shims.get_mut().unwrap_or_else(PoisonError::into_inner).drain(..) {
            // Dead already, unless taking down failed; a lab that cannot be taken down must not hang its test.
            let _dead = shim.kill();
            let _status = shim.wait();
        }
        result.map(drop)
    }

    fn start(
        topology: &Topology,
        binaries: &Binaries,
        owner: Option<Identity>,
        progress: &(dyn Fn(Progress<'_>) + Sync),
    ) -> Result<Self> {
        let started = Instant::now();
        let state = StateDir::lock(&topology.name)?;
        if let Some(old) = state::read(&topology.name)? {
            let orphan = old.owner.is_some_and(|owner| !owner.alive());
            if old.complete && !orphan {
                bail!("lab `{0}` is up already: petiole-lab down --name {0}", topology.name);
            }
            clear(&old)?;
        }
        for node in topology.nodes.keys() {
            let name = topology.container(node);
            if netns::path(&name).exists() {
                bail!(
                    "a network namespace `{name}` exists and is not of a lab known here; remove it or use another name"
                );
            }
        }
        let mut lab = Self { record: record(topology, owner), shims: Mutex::default(), kept: false };
        state.write(&lab.record)?;
        // From here on a failure takes everything down again; the lock must be free for that.
        let made = lab.make(topology, binaries, &state, progress);
        if made.is_ok() {
            lab.record.complete = true;
            state.write(&lab.record)?;
        }
        drop(state);
        match made {
            Ok(()) => {
                progress(Progress::Up(started.elapsed()));
                Ok(lab)
            }
            Err(error) => {
                lab.down().context("and then the lab could not be taken down")?;
                Err(error)
            }
        }
    }

    fn make(
        &mut self,
        topology: &Topology,
        binaries: &Binaries,
        state: &StateDir,
        progress: &(dyn Fn(Progress<'_>) + Sync),
    ) -> Result<()> {
        let dir = state::dir(&self.record.name);
        let total = self.record.nodes.len();
        let started: Vec<Result<Child>> = std::thread::scope(|scope| {
            let starts: Vec<_> = self
                .record
                .nodes
                .iter()
                .map(|node| scope.spawn(|| start_node(topology, node, binaries, state, &dir)))
                .collect();
            let mut results = Vec::new();
            for start in starts {
                results.push(start.join().unwrap_or_else(|_| Err(anyhow!("a node's start panicked"))));
                progress(Progress::Nodes(results.len(), total));
            }
            results
        });
        let mut failed = None;
        for result in started {
            match result {
                Ok(shim) => self.shims.get_mut().unwrap_or_else(PoisonError::into_inner).push(shim),
                Err(error) => failed = Some(failed.unwrap_or(error)),
            }
        }
        if let Some(error) = failed {
            return Err(error);
        }
        netns::batch(None, &link_batch_of(topology, topology.links.iter())?, &dir).context("cannot make the links")?;
        // An end of a veth pair cannot be made up before the other end exists.
        let one = |node: &NodeRecord| {
            let lines: String = node.links.iter().map(|(own, _)| format!("link set {own} up\n")).collect();
            netns::batch(Some(&node.container), &lines, &dir)
        };
        let one = &one;
        let ups: Vec<Result<()>> = std::thread::scope(|scope| {
            let ups: Vec<_> = self.record.nodes.iter().map(|node| scope.spawn(move || one(node))).collect();
            ups.into_iter().map(|up| up.join().unwrap_or_else(|_| Err(anyhow!("a link's start panicked")))).collect()
        });
        ups.into_iter().collect::<Result<()>>()?;
        progress(Progress::Links(topology.links.len()));
        std::thread::scope(|scope| {
            for node in self.nodes() {
                let lines = topology.nodes.get(node.name()).map(|node| node.exec.as_slice()).unwrap_or_default();
                if !lines.is_empty() {
                    scope.spawn(move || exec_lines(&node, lines, progress));
                }
            }
        });
        Ok(())
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        if !self.kept
            && let Err(error) = self.end()
        {
            eprintln!("lab {}: {error:#}", self.record.name);
        }
    }
}

/// Takes a lab down, also one whose `up` was killed half way. Returns whether there was anything to take down.
pub fn down(name: &str) -> Result<bool> {
    let dir = state::dir(name);
    if !dir.exists() && Belonging::marked(&dir).find().is_empty() {
        return Ok(false);
    }
    let state = StateDir::lock(name)?;
    match state::read(name)? {
        Some(record) => clear(&record)?,
        // Killed before it wrote the record: nothing but its own children can be there.
        None => Belonging::marked(&dir).kill(KILL)?,
    }
    state.remove()?;
    Ok(true)
}

/// Takes down the labs whose owners are gone: tests that were killed.
pub fn sweep() -> Result<()> {
    for name in state::labs()? {
        let Ok(Some(record)) = state::read(&name) else { continue };
        if record.owner.is_some_and(|owner| !owner.alive()) {
            // Another test may be sweeping the same one.
            let _swept = down(&name);
        }
    }
    Ok(())
}

/// Ends everything the record names. Twice, because what was being started when the first scan passed by is found by
/// the second; nothing is left then that could start something.
fn clear(record: &Record) -> Result<()> {
    let mut belonging = Belonging::marked(&state::dir(&record.name));
    for _round in 0..2 {
        for node in &record.nodes {
            belonging.or_in(&netns::path(&node.container));
        }
        belonging.kill(KILL)?;
        for node in &record.nodes {
            netns::remove(&node.container)?;
            cgroups::remove(&node.container)?;
        }
    }
    Ok(())
}

fn labs_shown() -> String {
    match state::labs() {
        Ok(labs) if !labs.is_empty() => labs.join(", "),
        _ => "none".to_owned(),
    }
}

fn record(topology: &Topology, owner: Option<Identity>) -> Record {
    let mark = state::dir(&topology.name).display().to_string();
    let mut links: BTreeMap<&str, Vec<(String, String)>> = BTreeMap::new();
    for link in &topology.links {
        for (own, other) in [(&link.a, &link.b), (&link.b, &link.a)] {
            let far = format!("{}:{}", other.node, other.interface);
            links.entry(&own.node).or_default().push((own.interface.clone(), far));
        }
    }
    for ends in links.values_mut() {
        // eth2 before eth10.
        ends.sort_by_key(|(own, _)| (own.len(), own.clone()));
    }
    let node = |(name, node): (&String, &crate::topology::Node)| {
        let mut env = BTreeMap::from([("PATH".to_owned(), PATH.to_owned()), ("HOME".to_owned(), "/root".to_owned())]);
        env.insert("HOSTNAME".to_owned(), node.hostname.clone());
        env.extend(node.env.clone());
        env.insert(MARK.to_owned(), mark.clone());
        NodeRecord {
            name: name.clone(),
            kind: node.kind.clone(),
            container: topology.container(name),
            env: env.into_iter().collect(),
            links: links.remove(name.as_str()).unwrap_or_default(),
        }
    };
    Record {
        name: topology.name.clone(),
        topology: topology.dir.clone(),
        complete: false,
        owner,
        nodes: topology.nodes.iter().map(node).collect(),
    }
}

/// Starts a node's PID 1 and waits until it is the program the file names. The child is the process that stands
/// between the host and the node's PID namespace: it ends with PID 1, and PID 1 with it.
fn start_node(
    topology: &Topology,
    record: &NodeRecord,
    binaries: &Binaries,
    state: &StateDir,
    lab: &Path,
) -> Result<Child> {
    let name = &record.name;
    let node = topology.nodes.get(name).ok_or_else(|| anyhow!("no node `{name}`"))?;
    let dir = state.node(name)?;
    let stage = dir.join("stage");
    fs::create_dir_all(&stage)?;
    let mut binds = node.binds.clone();
    let plugin = binaries.plugin();
    let agent = binaries.agent.as_ref();
    let programs = [("petiole-lab", Some(&binaries.lab)), ("petiole", agent), ("petiole-cni", plugin.as_ref())];
    for (program, source) in programs {
        let target = Path::new("/usr/local/bin").join(program);
        if let Some(source) = source
            && !binds.iter().any(|bind| bind.target == target)
        {
            binds.push(Bind { source: existing(source)?, target, read_only: true });
        }
    }
    let spec = Spec {
        hostname: node.hostname.clone(),
        sysctls: node.sysctls.clone(),
        env: record.env.clone(),
        binds,
        argv: node.argv.clone(),
        stage,
        pid_file: dir.join("pid"),
    };
    let spec_file = dir.join("spec.json");
    fs::write(&spec_file, serde_json::to_vec_pretty(&spec)?)?;
    netns::add(&record.container, Some(lab))?;

    let console = File::create(dir.join("console.log"))?;
    let mut command = Command::new("nsenter");
    command
        .arg(format!("--net={}", netns::path(&record.container).display()))
        .args(["--", "unshare", "--mount", "--uts", "--ipc", "--pid", "--fork", "--kill-child=KILL", "--"])
        .arg(&binaries.lab)
        .arg(sandbox::SUBCOMMAND)
        .arg(&spec_file)
        .env(MARK, lab)
        .stdin(Stdio::null())
        .stdout(console.try_clone()?)
        .stderr(console)
        // A person's Ctrl-C is meant for the program in front, not for the nodes.
        .process_group(0);
    let mut shim = command.spawn().context("nsenter")?;
    let deadline = Instant::now() + NODE_START;
    loop {
        if is_running(&spec.pid_file, &spec_file) {
            return Ok(shim);
        }
        let ended = shim.try_wait()?;
        if ended.is_some() || Instant::now() > deadline {
            let said = fs::read_to_string(dir.join("console.log")).unwrap_or_default();
            let how = ended.map_or_else(|| format!("not up after {NODE_START:?}"), |status| status.to_string());
            bail!("node `{name}` did not start: {how}: {}", said.trim());
        }
        std::thread::sleep(Duration::from_millis(3));
    }
}

/// Whether the process of the pid file has become the node's program: its command line names the spec no more.
fn is_running(pid_file: &Path, spec_file: &Path) -> bool {
    let text = fs::read_to_string(pid_file).unwrap_or_default();
    let Some(pid) = text.strip_suffix('\n') else { return false };
    let line = fs::read_to_string(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    !line.is_empty() && !line.contains(&*spec_file.to_string_lossy())
}

fn link_batch_of<'a>(topology: &Topology, links: impl Iterator<Item = &'a Link>) -> Result<String> {
    let mut text = String::new();
    for link in links {
        let end = |end: &End| {
            let mac = end.mac.clone().unwrap_or_else(|| mac(&topology.name, end));
            let space = topology.container(&end.node);
            format!("name {} netns {space} address {mac} mtu {}", end.interface, link.mtu)
        };
        writeln!(text, "link add {} type veth peer {}", end(&link.a), end(&link.b))?;
    }
    Ok(text)
}

/// containerlab's own prefix, then 24 bits that depend on lab, node and interface only: the same lab has the same
/// addresses every time (FNV-1a).
fn mac(lab: &str, end: &End) -> String {
    let text = format!("{lab}\0{}\0{}", end.node, end.interface);
    let hash = text.bytes().fold(0x811c_9dc5_u32, |hash, byte| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193));
    let [a, b, c, d] = hash.to_be_bytes();
    format!("aa:c1:ab:{:02x}:{c:02x}:{d:02x}", a ^ b)
}

/// As containerlab does: one after the other, and a failing one does not stop the lab.
fn exec_lines(node: &NodeHandle, lines: &[Vec<String>], progress: &(dyn Fn(Progress<'_>) + Sync)) {
    for line in lines {
        let argv: Vec<&str> = line.iter().map(String::as_str).collect();
        let result = node.output(&argv);
        let failure = match result {
            Ok(output) if output.status.success() => continue,
            Ok(output) => {
                let said = String::from_utf8_lossy(&output.stderr).trim().to_owned();
                format!("`{}`: {}: {said}", shell_words::join(line), output.status)
            }
            Err(error) => format!("`{}`: {error:#}", shell_words::join(line)),
        };
        node.note(&failure);
        progress(Progress::ExecFailed(node.name(), failure));
    }
}
