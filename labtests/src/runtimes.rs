//! Debian's container runtimes inside a node of the lab: podman with its CNI backend, and containerd by `ctr run --cni`.
//!
//! Each keeps its state where it always does, on file systems of the node's own; nothing of a runtime of the host is seen or
//! touched. Images come from no registry: [`image`] packs one.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, anyhow, ensure};
use serde_json::{Value, json};

use crate::wait::eventually;
use crate::{Binaries, NodeHandle, Spawned, command};

/// The image's name, as both runtimes know it.
pub const IMAGE: &str = "localhost/box:latest";
/// Where a container answers TCP with what it is sent.
pub const ECHO_PORT: u16 = 7000;
/// Where the image lies in a node.
const ARCHIVE: &str = "/run/box.tar";
const WITHIN: Duration = Duration::from_secs(20);
const POLICY: &str = r#"{"default":[{"type":"insecureAcceptAnything"}]}"#;

/// Networks are CNI's. The lab's node has no systemd, and no right to limit what a container uses.
const CONTAINERS_CONF: &str = r#"[network]
network_backend = "cni"
cni_plugin_dirs = ["/opt/cni/bin", "/usr/lib/cni"]
default_network = "petiole"
[engine]
cgroup_manager = "cgroupfs"
events_logger = "file"
runtime = "crun"
[containers]
cgroups = "disabled"
"#;

const STORAGE_CONF: &str = r#"[storage]
driver = "vfs"
graphroot = "/var/lib/containers/storage"
runroot = "/run/containers/storage"
"#;

const CONTAINERD_TOML: &str = r#"version = 2
root = "/var/lib/containerd"
state = "/run/containerd"
disabled_plugins = ["io.containerd.grpc.v1.cri"]
"#;

/// An overlay cannot lie on the node's own, so both keep their layers on a tmpfs. runc wants the control groups, by
/// version 2 or version 1, whichever the machine has.
const PREPARE: &str = r#"set -e
for folder in /var/lib/containers /var/lib/containerd /var/lib/cni; do
    mkdir -p $folder
    mount -t tmpfs tmpfs $folder
done
if [ "$(stat -fc %T "$1")" = cgroup2fs ]; then
    mount -t cgroup2 cgroup2 /sys/fs/cgroup
else
    mount -t tmpfs tmpfs /sys/fs/cgroup
    tail -n +2 /proc/cgroups | while read -r name hierarchy rest; do
        [ "$hierarchy" = 0 ] && continue
        mkdir /sys/fs/cgroup/$name
        mount -t cgroup -o $name cgroup /sys/fs/cgroup/$name
    done
fi
"#;

/// A runtime.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Runtime {
    /// podman, which runs crun.
    Podman,
    /// containerd, which runs runc.
    Containerd,
}

/// Packs the image as an archive that `podman load` and `ctr image import` read (the format of `docker save`): one layer
/// with Debian's static busybox and links to what a container here needs of it.
pub fn image(folder: &Path) -> Result<PathBuf> {
    let busybox = ["/usr/bin/busybox", "/bin/busybox"].map(Path::new).into_iter().find(|path| path.is_file());
    let busybox = busybox.context("no busybox: apt-get install busybox-static")?;
    let (root, parts) = (folder.join("root"), folder.join("parts"));
    for path in ["bin", "etc", "proc", "sys", "dev", "tmp"].map(|name| root.join(name)).iter().chain([&parts]) {
        fs::create_dir_all(path)?;
    }
    fs::copy(busybox, root.join("bin/busybox"))?;
    fs::set_permissions(root.join("bin/busybox"), fs::Permissions::from_mode(0o755))?;
    for name in ["sh", "cat", "nc", "ip", "ping", "sleep"] {
        symlink("busybox", root.join("bin").join(name))?;
    }
    fs::write(root.join("etc/passwd"), "root:x:0:0:root:/:/bin/sh\n")?;
    let layer = parts.join("layer.tar");
    pack(&root, &["."], &layer)?;
    let sum = command::run(Command::new("sha256sum").arg(&layer))?;
    let sum = sum.split(' ').next().context("no checksum")?;
    let architecture = match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    };
    let serve = format!("exec nc -ll -p {ECHO_PORT} -e /bin/cat");
    let config = json!({
        "architecture": architecture, "os": "linux",
        "config": { "Cmd": ["/bin/sh", "-c", serve], "Env": ["PATH=/bin"] },
        "rootfs": { "type": "layers", "diff_ids": [format!("sha256:{sum}")] },
    });
    let manifest = json!([{ "Config": "config.json", "RepoTags": [IMAGE], "Layers": ["layer.tar"] }]);
    fs::write(parts.join("config.json"), config.to_string())?;
    fs::write(parts.join("manifest.json"), manifest.to_string())?;
    let archive = folder.join("box.tar");
    pack(&parts, &["manifest.json", "config.json", "layer.tar"], &archive)?;
    Ok(archive)
}

/// The product's own image by `cargo xtask image`: of the static programs that are there already, where `PETIOLE_XTASK` says
/// that a whole run built them, else of new ones.
pub fn product(folder: &Path) -> Result<PathBuf> {
    let archive = folder.join("petiole.tar");
    let mut xtask = match std::env::var_os("PETIOLE_XTASK") {
        Some(built) => {
            let agent = Binaries::find()?.agent.context("no agent")?;
            let mut xtask = Command::new(built);
            xtask.arg("image").arg("--programs").arg(agent.parent().context("no folder")?);
            xtask
        }
        None => {
            let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
            cargo.args(["run", "--quiet", "--package", "xtask", "--", "image"]);
            cargo
        }
    };
    command::run(xtask.arg("--tar").arg(&archive).current_dir(env!("CARGO_MANIFEST_DIR")))?;
    Ok(archive)
}

fn pack(folder: &Path, names: &[&str], archive: &Path) -> Result<()> {
    let mut tar = Command::new("tar");
    tar.arg("--create").args(["--owner=0", "--group=0"]).arg("--file").arg(archive).arg("--directory").arg(folder);
    command::run(tar.args(names)).map(drop)
}

/// A node with both runtimes, which have the image, and Petiole's plugin as `petiole cni install` puts it.
#[derive(Debug)]
pub struct Host {
    /// The node.
    pub node: NodeHandle,
    /// Control groups of containers lie below this one, in every hierarchy.
    group: String,
    _containerd: Spawned,
}

impl Host {
    /// Prepares a node that has none yet.
    pub fn prepare(node: NodeHandle, archive: &Path) -> Result<Self> {
        node.exec(&["sh", "-c", PREPARE, "sh", "/sys/fs/cgroup"])?;
        node.exec(&["petiole", "cni", "install"])?;
        node.exec(&["mkdir", "-p", "/etc/containers", "/etc/containerd"])?;
        for (path, text) in [
            ("/etc/containers/containers.conf", CONTAINERS_CONF),
            ("/etc/containers/storage.conf", STORAGE_CONF),
            ("/etc/containers/policy.json", POLICY),
            ("/etc/containerd/petiole.toml", CONTAINERD_TOML),
        ] {
            node.write(path, text)?;
        }
        let mut copy = node.command(&["sh", "-c", "cat >\"$0\"", ARCHIVE])?;
        let copied = command::feed(&mut copy, &fs::read(archive)?)?;
        ensure!(copied.status.success(), "{}: cannot copy the image", node.name());
        let line = "exec containerd --config /etc/containerd/petiole.toml >/run/containerd.log 2>&1";
        let containerd = node.spawn(&["sh", "-c", line])?;
        eventually(WITHIN, "containerd answers", || node.exec(&["ctr", "version"]))?;
        node.exec(&["podman", "load", "--quiet", "--input", ARCHIVE])?;
        node.exec(&["ctr", "image", "import", "--snapshotter", "native", ARCHIVE])?;
        let group = format!("/{}", node.record().container);
        Ok(Self { node, group, _containerd: containerd })
    }

    /// Loads another image and runs it to its end, once by each runtime, without a network; returns what they printed.
    pub fn once(&self, archive: &Path, image: &str, words: &[&str]) -> Result<[String; 2]> {
        let mut copy = self.node.command(&["sh", "-c", "cat >\"$0\"", "/run/once.tar"])?;
        let copied = command::feed(&mut copy, &fs::read(archive)?)?;
        ensure!(copied.status.success(), "{}: cannot copy the image", self.node.name());
        self.node.exec(&["podman", "load", "--quiet", "--input", "/run/once.tar"])?;
        self.node.exec(&["ctr", "image", "import", "--snapshotter", "native", "/run/once.tar"])?;
        let podman = ["podman", "run", "--rm", "--network", "none", "--read-only", image];
        let group = format!("{}/once", self.group);
        let ctr = ["ctr", "run", "--rm", "--snapshotter", "native", "--read-only", "--cgroup", &group, image, "once"];
        // Words replace the image's command behind its entry point for podman, and both for ctr.
        let entry = ["/usr/local/bin/petiole"];
        Ok([self.node.exec(&[&podman, words].concat())?, self.node.exec(&[&ctr, &entry[..], words].concat())?])
    }

    /// Runs a container that echoes, as a user would, and waits until it does.
    pub fn run(&self, runtime: Runtime, name: &str) -> Result<Container<'_>> {
        let attached = match runtime {
            Runtime::Podman => {
                self.node.exec(&["podman", "run", "--detach", "--name", name, IMAGE])?;
                None
            }
            // In the foreground: only so `ctr` of 1.6 runs the plugin again at the end.
            Runtime::Containerd => {
                let group = format!("{}/{name}", self.group);
                let run = ["ctr", "run", "--rm", "--cni", "--snapshotter", "native", "--cgroup", &group, IMAGE, name];
                Some(self.node.spawn(&run)?)
            }
        };
        let mut container = Container {
            host: self,
            runtime,
            name: name.to_owned(),
            attached,
            pid: String::new(),
            addresses: Vec::new(),
        };
        eventually(WITHIN, "the container runs, and has its addresses", || container.look())?;
        Ok(container)
    }

    /// The same by podman, in a network of this name and with its echo at a port of the host.
    pub fn publish(&self, name: &str, network: &str, port: u16) -> Result<Container<'_>> {
        let port = format!("{port}:{ECHO_PORT}");
        self.node.exec(&[
            "podman",
            "run",
            "--detach",
            "--name",
            name,
            "--network",
            network,
            "--publish",
            &port,
            IMAGE,
        ])?;
        let (runtime, name) = (Runtime::Podman, name.to_owned());
        let mut container =
            Container { host: self, runtime, name, attached: None, pid: String::new(), addresses: Vec::new() };
        eventually(WITHIN, "the container runs, and has its addresses", || container.look())?;
        Ok(container)
    }

    /// The same by containerd, detached: nobody runs the plugin at its end.
    pub fn run_forgotten(&self, name: &str) -> Result<Container<'_>> {
        let group = format!("{}/{name}", self.group);
        let run = ["ctr", "run", "--detach", "--cni", "--snapshotter", "native", "--cgroup", &group, IMAGE, name];
        self.node.exec(&run)?;
        let (runtime, name) = (Runtime::Containerd, name.to_owned());
        let mut container =
            Container { host: self, runtime, name, attached: None, pid: String::new(), addresses: Vec::new() };
        eventually(WITHIN, "the container runs, and has its addresses", || container.look())?;
        Ok(container)
    }
}

/// What a test that failed left in the control groups is killed; they are the machine's, and would stay.
const TIDY: &str = r#"for group in "/sys/fs/cgroup$0" /sys/fs/cgroup/*"$0"; do
    [ -d "$group" ] || continue
    find "$group" -name cgroup.procs -exec cat {} + | xargs -r kill -9 2>/dev/null
    tries=100
    while [ $tries -gt 0 ] && ! find "$group" -depth -type d -exec rmdir {} + 2>/dev/null; do
        sleep 0.02
        tries=$((tries - 1))
    done
done
true"#;

impl Drop for Host {
    fn drop(&mut self) {
        let _tidied = self.node.exec(&["sh", "-c", TIDY, &self.group]);
    }
}

/// A container that runs.
#[derive(Debug)]
pub struct Container<'a> {
    host: &'a Host,
    runtime: Runtime,
    /// Its name.
    pub name: String,
    attached: Option<Spawned>,
    /// Of its first process, as the node counts.
    pid: String,
    /// IPv4 first; what the kernel shows inside of it.
    pub addresses: Vec<String>,
}

impl Container<'_> {
    /// The node's handle.
    pub fn node(&self) -> &NodeHandle {
        &self.host.node
    }

    fn look(&mut self) -> Result<()> {
        let node = &self.host.node;
        self.pid = match self.runtime {
            Runtime::Podman => {
                node.exec(&["podman", "inspect", "--format", "{{.State.Pid}}", &self.name])?.trim().to_owned()
            }
            Runtime::Containerd => {
                let tasks = node.exec(&["ctr", "task", "list"])?;
                let mut lines = tasks.lines().map(|line| line.split_whitespace().collect::<Vec<_>>());
                let line = lines.find(|line| line.first() == Some(&self.name.as_str()) && line.contains(&"RUNNING"));
                line.and_then(|line| line.get(1).map(|pid| (*pid).to_owned())).ok_or_else(|| anyhow!("{tasks}"))?
            }
        };
        let shown = self.inside(&["ip", "-json", "address", "show", "dev", "eth0", "scope", "global"])?;
        let shown: Value = command::json(&shown)?;
        let infos = shown[0]["addr_info"].as_array().into_iter().flatten();
        self.addresses = infos.filter_map(|info| info["local"].as_str().map(str::to_owned)).collect();
        ensure!(self.addresses.len() == 2, "{} has {shown}", self.name);
        let listens = self.inside(&["ss", "-Hltn", &format!("sport = :{ECHO_PORT}")])?;
        ensure!(!listens.trim().is_empty(), "{} does not listen", self.name);
        Ok(())
    }

    /// The beginning of a command of the node in the container's network namespace.
    fn by(&self) -> [&str; 4] {
        ["nsenter", "--net", "--target", &self.pid]
    }

    /// Runs a command of the node in the container's network namespace.
    pub fn inside(&self, argv: &[&str]) -> Result<String> {
        self.host.node.exec(&[&self.by(), argv].concat())
    }

    /// Runs a command of the image in the container, by its runtime.
    pub fn exec(&self, argv: &[&str]) -> Result<String> {
        let name = self.name.as_str();
        let begin = match self.runtime {
            Runtime::Podman => vec!["podman", "exec", name],
            Runtime::Containerd => vec!["ctr", "task", "exec", "--exec-id", "test", name],
        };
        self.host.node.exec(&[&begin, argv].concat())
    }

    /// Sends an IP packet of this many octets that must not be fragmented; it has to be answered.
    pub fn ping(&self, address: &str, size: u32) -> Result<()> {
        self.host.node.ping_by(&self.by(), address, size, 1).with_context(|| self.name.clone())
    }

    /// Ends it as a user would, and waits until its runtime knows nothing of it.
    pub fn remove(mut self) -> Result<()> {
        let node = &self.host.node;
        match self.runtime {
            Runtime::Podman => node.exec(&["podman", "rm", "--force", "--time", "0", &self.name]).map(drop),
            Runtime::Containerd => {
                node.exec(&["ctr", "task", "kill", "--signal", "SIGKILL", &self.name])?;
                self.over()
            }
        }
    }

    /// Kills its first process behind the runtime's back, then does what a user does with what is left.
    pub fn kill(mut self) -> Result<()> {
        let node = &self.host.node;
        node.exec(&["kill", "-9", &self.pid])?;
        match self.runtime {
            Runtime::Podman => node.exec(&["podman", "rm", "--force", "--time", "0", &self.name]).map(drop),
            Runtime::Containerd => self.over(),
        }
    }

    fn over(&mut self) -> Result<()> {
        let node = &self.host.node;
        if let Some(mut attached) = self.attached.take() {
            // `--rm` has removed task and container when it ends, and says how the container did.
            attached.wait()?;
        } else {
            eventually(WITHIN, "the task is over", || node.exec(&["ctr", "task", "rm", &self.name]))?;
            node.exec(&["ctr", "container", "rm", &self.name])?;
        }
        let left = node.exec(&["ctr", "container", "list", "--quiet"])?;
        ensure!(!left.lines().any(|line| line == self.name), "containerd still has {left}");
        Ok(())
    }
}
