//! A real systemd in the network of a lab's node: `systemd-nspawn` boots a Debian tree there, and the unit of
//! `deploy/systemd/` runs in it as it would on a machine.
//!
//! The tree comes from Debian's archive once and is kept under `target/`; every machine gets a copy of its own. It shares
//! nothing with the node but its network: the node's other services go on beside it.

use std::fs::{self, File};
use std::os::unix::fs::symlink;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::Mutex;
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail, ensure};
use rustix::process::Signal;
use tempfile::TempDir;

use crate::wait::{check, eventually};
use crate::{Binaries, NodeHandle, command, netns, procs};

/// What the tree has beside the packages that every Debian has.
const PACKAGES: &str = "systemd,systemd-sysv,iproute2,procps";
const SUITE: &str = "bookworm";
const UNIT: &str = "petiole.service";
/// From the start of PID 1 until systemd says that it is running.
const BOOT: Duration = Duration::from_secs(60);
/// From the order to power off until PID 1 is gone.
const OFF: Duration = Duration::from_secs(30);

/// The folder of the tree, made if it is not there yet, which takes a quarter of a minute and needs Debian's archive.
fn tree() -> Result<PathBuf> {
    static ONE: Mutex<()> = Mutex::new(());
    let _one = ONE.lock().map_err(|_| anyhow!("another test failed while it made the tree"))?;
    let own = std::env::current_exe()?;
    // target/PROFILE/deps/TEST
    let target = own.ancestors().nth(3);
    let folder = target.with_context(|| format!("{} is in no target folder", own.display()))?.join("systemd");
    fs::create_dir_all(&folder)?;
    // What it is made of is in its name, so that another list makes another tree.
    let recipe = format!("{SUITE} {PACKAGES} {}", std::env::consts::ARCH);
    let tree = folder.join(format!("{:016x}", digest(&recipe)));
    if tree.is_dir() {
        return Ok(tree);
    }
    let made = TempDir::new_in(&folder)?;
    let root = made.path().join("root");
    let mut mmdebstrap = Command::new("mmdebstrap");
    mmdebstrap.args(["--quiet", "--mode=root", "--variant=minbase", "--format=directory"]);
    mmdebstrap.arg(format!("--include={PACKAGES}")).arg("--dpkgopt=path-exclude=/usr/share/doc/*");
    mmdebstrap.arg(SUITE).arg(&root);
    command::run(&mut mmdebstrap).context("cannot make a Debian tree; it needs mmdebstrap and Debian's archive")?;
    // Another process may have been faster.
    if fs::rename(&root, &tree).is_err() {
        ensure!(tree.is_dir(), "cannot move the tree to {}", tree.display());
    }
    Ok(tree)
}

/// FNV-1a.
fn digest(text: &str) -> u64 {
    text.bytes().fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
}

/// A machine that boots systemd, with the unit enabled and the node's own configuration. It goes with this value.
#[derive(Debug)]
pub struct Machine {
    node: NodeHandle,
    root: PathBuf,
    folder: TempDir,
    group: Group,
    nspawn: Option<Child>,
}

impl Machine {
    /// Makes the machine; nothing runs yet.
    pub fn new(node: &NodeHandle, binaries: &Binaries) -> Result<Self> {
        let tree = tree()?;
        let folder = TempDir::new_in(tree.parent().context("no folder")?)?;
        let root = folder.path().join("root");
        command::run(Command::new("cp").args(["--archive", "--reflink=auto"]).arg(&tree).arg(&root))?;
        let agent = binaries.agent.as_ref().context("no agent: cargo build -p petiole, or set PETIOLE_BIN")?;
        fs::copy(agent, root.join("usr/local/bin/petiole"))?;
        fs::create_dir_all(root.join("etc/petiole"))?;
        fs::write(root.join("etc/petiole/petiole.toml"), node.read("/etc/petiole/petiole.toml")?)?;
        let unit = Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy/systemd").join(UNIT);
        fs::copy(unit, root.join("etc/systemd/system").join(UNIT))?;
        // What `systemctl enable` does.
        let wants = root.join("etc/systemd/system/multi-user.target.wants");
        fs::create_dir_all(&wants)?;
        symlink(format!("/etc/systemd/system/{UNIT}"), wants.join(UNIT))?;
        fs::write(root.join("etc/hostname"), format!("{}\n", node.name()))?;
        let group = Group::new(&node.record().container)?;
        Ok(Self { node: node.clone(), root, folder, group, nspawn: None })
    }

    /// Powers it on and returns when PID 1 is there.
    pub fn power_on(&mut self) -> Result<()> {
        ensure!(self.nspawn.is_none(), "{} is powered on already", self.node.name());
        let console = File::options().create(true).append(true).open(self.console_file())?;
        let network = netns::path(&self.node.record().container);
        let mut nspawn = self.group.command("systemd-nspawn");
        nspawn.arg("--directory").arg(&self.root).arg(format!("--machine={}", self.node.name()));
        // Nobody here to register with. A machine has a network of its own, so systemd may change it; nspawn gives the right to
        // that only where it makes the network itself.
        nspawn.args(["--quiet", "--keep-unit", "--register=no", "--capability=CAP_NET_ADMIN"]);
        nspawn.args(["--drop-capability=CAP_SYS_RESOURCE", "--resolv-conf=off", "--timezone=off"]);
        nspawn.arg(format!("--network-namespace-path={}", network.display())).arg("--boot");
        nspawn.envs(self.node.record().env.iter().filter(|(key, _)| key == procs::MARK).cloned());
        nspawn.stdin(Stdio::null()).stdout(console.try_clone()?).stderr(console).process_group(0);
        self.nspawn = Some(nspawn.spawn().context("systemd-nspawn")?);
        let up = eventually(BOOT, &format!("{}: PID 1 is there", self.node.name()), || self.pid1().map(drop));
        up.with_context(|| self.console())
    }

    /// Waits until systemd has started everything.
    pub fn wait_running(&self) -> Result<()> {
        eventually(BOOT, &format!("{}: systemd is running", self.node.name()), || {
            let state = self.output(&["systemctl", "is-system-running"])?;
            let state = String::from_utf8_lossy(&state.stdout).trim().to_owned();
            check(state == "running", state).map_err(anyhow::Error::msg)
        })
        .with_context(|| self.console())
    }

    /// Shuts it down in order.
    pub fn power_off(&mut self) -> Result<()> {
        // The answer may not come any more.
        let _ = self.output(&["systemctl", "poweroff", "--no-block"])?;
        self.wait_off()
    }

    fn wait_off(&mut self) -> Result<()> {
        let name = self.node.name().to_owned();
        let Some(nspawn) = self.nspawn.as_mut() else { return Ok(()) };
        let off = eventually(OFF, &format!("{name}: it is off"), || match nspawn.try_wait() {
            Ok(Some(_)) => Ok(()),
            Ok(None) => Err("it runs".to_owned()),
            Err(error) => Err(error.to_string()),
        });
        off.with_context(|| self.console())?;
        self.nspawn = None;
        Ok(())
    }

    fn pid1(&self) -> Result<i32> {
        let nspawn = self.nspawn.as_ref().with_context(|| format!("{} is off", self.node.name()))?;
        let child = procs::children(i32::try_from(nspawn.id())?).first().copied();
        let pid = child.with_context(|| format!("{}: no PID 1", self.node.name()))?;
        let comm = fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
        ensure!(comm.trim() == "systemd", "PID 1 is still {comm}");
        Ok(pid)
    }

    /// Runs a command inside to its end, whatever the end is.
    pub fn output(&self, argv: &[&str]) -> Result<Output> {
        let pid = self.pid1()?;
        let mut nsenter = Command::new("nsenter");
        nsenter.args(["--target", &pid.to_string(), "--mount", "--uts", "--ipc", "--net", "--pid", "--"]).args(argv);
        nsenter.env_clear().env("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin");
        command::output(&mut nsenter)
    }

    /// Runs a command inside to its end and returns what it wrote; a failure is an error with its complaint.
    pub fn exec(&self, argv: &[&str]) -> Result<String> {
        let output = self.output(argv)?;
        if !output.status.success() {
            let [out, err] = [&output.stdout, &output.stderr].map(|bytes| String::from_utf8_lossy(bytes));
            bail!("{}: {argv:?}: {} {} {}", self.node.name(), output.status, err.trim(), out.trim());
        }
        Ok(String::from_utf8(output.stdout)?)
    }

    /// A property of the unit: `MainPID`, `NRestarts`, `ActiveState`, `Result`.
    pub fn property(&self, name: &str) -> Result<String> {
        Ok(self.exec(&["systemctl", "show", "--property", name, "--value", UNIT])?.trim().to_owned())
    }

    /// What the unit wrote, and what systemd wrote of it.
    pub fn journal(&self) -> Result<String> {
        self.exec(&["journalctl", "--no-pager", "--boot", "--unit", UNIT])
    }

    fn console_file(&self) -> PathBuf {
        self.folder.path().join("console.log")
    }

    /// What PID 1 wrote while it booted.
    fn console(&self) -> String {
        fs::read_to_string(self.console_file()).unwrap_or_default()
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        let pid1 = self.pid1();
        let Some(mut nspawn) = self.nspawn.take() else { return };
        // All that it started dies with PID 1.
        if let Ok(pid) = pid1 {
            procs::signal(pid, Signal::KILL);
        }
        let _gone = nspawn.kill();
        let _status = nspawn.wait();
    }
}

/// The control groups of one machine: nspawn makes its own below those that it is started in, under names that would be the
/// same for two machines.
#[derive(Debug)]
struct Group {
    folders: Vec<PathBuf>,
    legacy: bool,
}

impl Group {
    fn new(name: &str) -> Result<Self> {
        let all = Path::new("/sys/fs/cgroup");
        // Version 1 has a hierarchy for systemd alone, and often version 2 beside it.
        let legacy = all.join("systemd").is_dir();
        let hierarchies = if legacy { vec![all.join("systemd"), all.join("unified")] } else { vec![all.to_owned()] };
        let mut group = Self { folders: Vec::new(), legacy };
        for hierarchy in hierarchies.into_iter().filter(|folder| folder.is_dir()) {
            let folder = hierarchy.join(name);
            fs::create_dir_all(&folder).with_context(|| format!("cannot make {}", folder.display()))?;
            group.folders.push(folder);
        }
        Ok(group)
    }

    /// A command that begins in these groups.
    fn command(&self, program: &str) -> Command {
        let mut sh = Command::new("sh");
        let join: String = self.folders.iter().map(|f| format!("echo $$ >{}/cgroup.procs && ", f.display())).collect();
        sh.args(["-c", &format!("{join}exec \"$@\""), "sh", program]);
        if self.legacy {
            sh.env("SYSTEMD_NSPAWN_UNIFIED_HIERARCHY", "0");
        }
        sh
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        for folder in &self.folders {
            // The kernel takes a moment to forget the last process.
            let gone = eventually(Duration::from_secs(5), "the control groups are empty", || remove(folder));
            if let Err(error) = gone {
                eprintln!("{error:#}");
            }
        }
    }
}

/// Removes a control group and those below it.
fn remove(folder: &Path) -> std::io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            remove(&path)?;
        }
    }
    fs::remove_dir(folder)
}
