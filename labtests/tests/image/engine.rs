//! A Docker engine of one test's own: its files in one folder, its processes in one PID namespace, its mounts in one
//! mount namespace, its cgroups below one name. When it is dropped, nothing of it is left, whatever state it was in.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use petiole_labtests::{check, eventually};
use tempfile::TempDir;

/// What becomes PID 1 of the engine's namespaces. containerd keeps things in /opt and /run wherever its own folders are.
const START: &str = r#"mount -t tmpfs tmpfs /opt && mount -t tmpfs tmpfs /run && exec dockerd "$@""#;

pub(crate) struct Engine {
    folder: TempDir,
    process: Child,
    /// The name of its folder in every cgroup hierarchy.
    cgroup: String,
}

impl Engine {
    /// Starts an engine without networks, and waits until it answers.
    pub(crate) fn start() -> Result<Self> {
        if !Path::new("/usr/sbin/dockerd").is_file() {
            bail!("dockerd is not installed: run `cargo xtask test`, or as root apt-get install docker.io");
        }
        let folder = TempDir::with_prefix("petiole-image-")?;
        let at = |name: &str| folder.path().join(name).display().to_string();
        let cgroup = format!("petiole-image-{}", std::process::id());
        // The machine's own /etc/docker/daemon.json is not read.
        std::fs::write(at("daemon.json"), "{}")?;
        let log = File::create(at("log"))?;
        let process = Command::new("setpriv")
            // Not even a killed test leaves an engine.
            .args(["--pdeathsig", "KILL", "--"])
            .args([
                "unshare",
                "--mount",
                "--propagation",
                "private",
                "--pid",
                "--fork",
                "--kill-child=KILL",
                "--mount-proc",
                "--",
            ])
            .args(["sh", "-c", START, "dockerd"])
            .args(["--config-file", &at("daemon.json"), "--host", &format!("unix://{}", at("docker.sock"))])
            .args(["--data-root", &at("data"), "--exec-root", &at("exec"), "--pidfile", &at("pid")])
            .args([
                "--storage-driver",
                "vfs",
                "--exec-opt",
                "native.cgroupdriver=cgroupfs",
                "--cgroup-parent",
                &format!("/{cgroup}"),
            ])
            // The host's packet filter and links stay as they are: containers here have no network of Docker's.
            .args([
                "--bridge",
                "none",
                "--iptables=false",
                "--ip6tables=false",
                "--ip-forward=false",
                "--ip-masq=false",
            ])
            // A negative one needs CAP_SYS_RESOURCE, which not every root has.
            .args(["--oom-score-adjust", "0"])
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn()
            .context("cannot run setpriv")?;
        let mut engine = Self { folder, process, cgroup };
        let answered = eventually(Duration::from_secs(30), "the Docker engine answers", || {
            if let Some(status) = engine.process.try_wait().map_err(|error| error.to_string())? {
                return Err(format!("it ended: {status}"));
            }
            let output = engine.command().args(["version"]).output().map_err(|error| error.to_string())?;
            check(output.status.success(), String::from_utf8_lossy(&output.stderr))
        });
        answered.with_context(|| engine.log())?;
        Ok(engine)
    }

    /// The path of its socket, as `DOCKER_HOST` names it.
    pub(crate) fn host(&self) -> String {
        format!("unix://{}", self.folder.path().join("docker.sock").display())
    }

    /// Runs `docker WORDS...`, and returns what it printed.
    pub(crate) fn docker(&self, words: &[&str]) -> Result<String> {
        let output = self.output(words)?;
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        if !output.status.success() {
            let errors = String::from_utf8_lossy(&output.stderr);
            bail!("docker {}: {}\n{said}{errors}", words.join(" "), output.status);
        }
        Ok(said)
    }

    pub(crate) fn output(&self, words: &[&str]) -> Result<Output> {
        Ok(self.command().args(words).output()?)
    }

    /// The client, with no configuration but where the engine is.
    fn command(&self) -> Command {
        let mut command = Command::new("docker");
        command.env("DOCKER_HOST", self.host()).env("DOCKER_CONFIG", self.folder.path());
        command.env_remove("DOCKER_CONTEXT");
        command
    }

    fn log(&self) -> String {
        let text = std::fs::read_to_string(self.folder.path().join("log")).unwrap_or_default();
        let mut last: Vec<&str> = text.lines().rev().take(20).collect();
        last.reverse();
        format!("the engine's last words:\n{}", last.join("\n"))
    }

    /// Ends everything and waits until it is gone.
    fn end(&mut self) -> Result<()> {
        // The first process of the PID namespace dies with this one, and with it every container.
        self.process.kill()?;
        self.process.wait()?;
        let cgroup = self.cgroup.clone();
        eventually(Duration::from_secs(20), "the engine's cgroups are empty", || {
            for hierarchy in hierarchies(&cgroup) {
                remove_cgroup(&hierarchy).map_err(|error| format!("{}: {error}", hierarchy.display()))?;
            }
            Ok::<(), String>(())
        })
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        if let Err(error) = self.end() {
            eprintln!("the Docker engine was not ended cleanly: {error:#}");
        }
    }
}

/// The folders of that name below every hierarchy (cgroup v1), and below the one (v2).
fn hierarchies(name: &str) -> Vec<PathBuf> {
    let top = PathBuf::from("/sys/fs/cgroup");
    let below = std::fs::read_dir(&top).into_iter().flatten().flatten().map(|entry| entry.path().join(name));
    below.chain([top.join(name)]).filter(|folder| folder.is_dir()).collect()
}

/// Removes a cgroup and those below it; a cgroup's files are the kernel's and go with it.
fn remove_cgroup(folder: &Path) -> std::io::Result<()> {
    for entry in std::fs::read_dir(folder)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            remove_cgroup(&entry.path())?;
        }
    }
    std::fs::remove_dir(folder)
}
