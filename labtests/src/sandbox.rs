//! The inside of a node, from the first instruction in its namespaces to PID 1.
//!
//! The node sees the host's root through an overlay whose writable layer is a private tmpfs: it can write anywhere and
//! the host never notices, as in a container. Folders in which two nodes, or a node and the host, would meet (`/run`,
//! `/tmp`, configuration, state, logs) start empty. Nothing of the host's mounts stays reachable, so that a node never
//! keeps another lab's namespaces alive.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::Write;
use std::os::unix::fs::symlink;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, anyhow};
use rustix::mount::{
    MountFlags, MountPropagationFlags, UnmountFlags, mount, mount_bind_recursive, mount_change, mount_remount, unmount,
};
use serde::{Deserialize, Serialize};

use crate::topology::Bind;

/// The hidden subcommand of `petiole-lab` that calls [`enter`].
pub const SUBCOMMAND: &str = "node";

/// Folders that start empty in every node.
const PRIVATE: [&str; 6] = ["/etc/frr", "/etc/petiole", "/var/lib/petiole", "/var/lib/etcd", "/var/log", "/var/tmp"];
/// Devices a container has.
const DEVICES: [&str; 6] = ["null", "zero", "full", "random", "urandom", "tty"];

/// Everything PID 1's own setting up needs to know.
#[derive(Debug, Serialize, Deserialize)]
pub struct Spec {
    /// Host name.
    pub hostname: String,
    /// `net.*` settings.
    pub sysctls: BTreeMap<String, String>,
    /// Environment, complete.
    pub env: Vec<(String, String)>,
    /// Bind mounts.
    pub binds: Vec<Bind>,
    /// What becomes PID 1.
    pub argv: Vec<String>,
    /// An empty folder of the host on which the root is put together.
    pub stage: PathBuf,
    /// Written last: the host's number of this process.
    pub pid_file: PathBuf,
}

/// Puts the node's root together and becomes the node's PID 1. Called as the first process of new mount, UTS, IPC and PID
/// namespaces, inside the node's network namespace. Returns only on failure.
pub fn enter(spec: &Path) -> Result<std::convert::Infallible> {
    let text = fs::read(spec).with_context(|| format!("{}", spec.display()))?;
    let spec: Spec = serde_json::from_slice(&text)?;
    // /proc is still the host's, so this is the host's number.
    let pid = fs::read_link("/proc/self")?;
    let mut pid_file = File::create(&spec.pid_file)?;
    mount_change("/", MountPropagationFlags::PRIVATE | MountPropagationFlags::REC)?;
    let root = overlay(&spec.stage)?;
    host_mounts(&root)?;
    system_mounts(&root)?;
    for target in PRIVATE {
        tmpfs(&inside(&root, Path::new(target)), "mode=755")?;
    }
    identity(&root, &spec.hostname)?;
    for bind in &spec.binds {
        bind_mount(&root, bind)
            .with_context(|| format!("bind {} on {}", bind.source.display(), bind.target.display()))?;
    }
    std::env::set_current_dir(&root)?;
    rustix::process::pivot_root(".", ".").context("pivot_root")?;
    unmount(".", UnmountFlags::DETACH).context("detaching the host's root")?;
    std::env::set_current_dir("/")?;
    rustix::system::sethostname(spec.hostname.as_bytes())?;
    for (key, value) in &spec.sysctls {
        let path = sysctl_path(key);
        fs::write(&path, value).with_context(|| format!("sysctl {key}={value}"))?;
    }
    let (program, arguments) = spec.argv.split_first().ok_or_else(|| anyhow!("no command"))?;
    let lo = Command::new("ip").args(["link", "set", "lo", "up"]).env_clear().envs(spec.env.clone()).status()?;
    if !lo.success() {
        return Err(anyhow!("cannot bring lo up"));
    }
    let mut command = Command::new(program);
    command.args(arguments).env_clear().envs(spec.env.clone()).current_dir("/");
    write!(pid_file, "{}", pid.display())?;
    pid_file.write_all(b"\n")?;
    drop(pid_file);
    Err(command.exec()).with_context(|| format!("cannot run {program}"))
}

/// A name's dots are the path's slashes, and the other way round.
fn sysctl_path(key: &str) -> PathBuf {
    let path: String = key
        .chars()
        .map(|c| {
            if c == '.' {
                '/'
            } else if c == '/' {
                '.'
            } else {
                c
            }
        })
        .collect();
    Path::new("/proc/sys").join(path)
}

fn overlay(stage: &Path) -> Result<PathBuf> {
    tmpfs(stage, "mode=755")?;
    let [upper, work, root] = ["upper", "work", "root"].map(|name| stage.join(name));
    for path in [&upper, &work, &root] {
        fs::create_dir(path)?;
    }
    let options = format!("lowerdir=/,upperdir={},workdir={}", upper.display(), work.display());
    let options = std::ffi::CString::new(options)?;
    mount("overlay", &root, "overlay", MountFlags::empty(), options.as_c_str())
        .context("no overlay over the host's root; does this kernel have overlayfs (modprobe overlay)?")?;
    Ok(root)
}

/// An overlay sees one file system only: programs and libraries on others are bound, read only.
fn host_mounts(root: &Path) -> Result<()> {
    let table = fs::read_to_string("/proc/self/mountinfo")?;
    for point in table.lines().filter_map(|line| line.split(' ').nth(4)) {
        let wanted = ["/usr", "/bin", "/sbin", "/lib", "/lib64", "/opt", "/nix", "/etc/alternatives"];
        if wanted.iter().any(|top| Path::new(point).starts_with(top)) && !point.contains('\\') {
            let source = PathBuf::from(point);
            if source.exists() {
                bind_mount(root, &Bind { target: source.clone(), source, read_only: true })?;
            }
        }
    }
    Ok(())
}

fn system_mounts(root: &Path) -> Result<()> {
    let quiet = MountFlags::NOSUID | MountFlags::NODEV | MountFlags::NOEXEC;
    mount("proc", root.join("proc"), "proc", quiet, None).context("proc")?;
    mount("sysfs", root.join("sys"), "sysfs", quiet | MountFlags::RDONLY, None).context("sysfs")?;
    tmpfs(&root.join("run"), "mode=755")?;
    tmpfs(&root.join("tmp"), "mode=1777")?;
    let dev = root.join("dev");
    tmpfs(&dev, "mode=755")?;
    for name in DEVICES {
        let source = Path::new("/dev").join(name);
        if source.exists() {
            bind_mount(root, &Bind { target: source.clone(), source, read_only: false })?;
        }
    }
    for (name, target) in [
        ("fd", "/proc/self/fd"),
        ("stdin", "/proc/self/fd/0"),
        ("stdout", "/proc/self/fd/1"),
        ("stderr", "/proc/self/fd/2"),
        ("ptmx", "pts/ptmx"),
    ] {
        symlink(target, dev.join(name))?;
    }
    fs::create_dir(dev.join("pts"))?;
    mount("devpts", dev.join("pts"), "devpts", MountFlags::empty(), c"newinstance,ptmxmode=0666,mode=620")
        .context("devpts")?;
    tmpfs(&dev.join("shm"), "mode=1777")?;
    fs::create_dir_all(root.join("run/lock"))?;
    Ok(())
}

/// Own name, and no name service: a node never reaches another one by name.
fn identity(root: &Path, hostname: &str) -> Result<()> {
    replace(&root.join("etc/hostname"), &format!("{hostname}\n"))?;
    replace(
        &root.join("etc/hosts"),
        &format!("127.0.0.1 localhost\n::1 localhost ip6-localhost ip6-loopback\n127.0.1.1 {hostname}\n"),
    )?;
    replace(&root.join("etc/resolv.conf"), "")
}

/// Writes a file anew: what was there may be a link to somewhere else.
fn replace(path: &Path, text: &str) -> Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error.into()),
        _ => {}
    }
    fs::write(path, text).with_context(|| format!("{}", path.display()))
}

fn tmpfs(path: &Path, options: &str) -> Result<()> {
    fs::create_dir_all(path)?;
    let options = std::ffi::CString::new(options)?;
    mount("tmpfs", path, "tmpfs", MountFlags::NOSUID | MountFlags::NODEV, options.as_c_str())
        .with_context(|| format!("tmpfs on {}", path.display()))
}

fn bind_mount(root: &Path, bind: &Bind) -> Result<()> {
    let target = inside(root, &bind.target);
    if bind.source.is_dir() {
        fs::create_dir_all(&target)?;
    } else if !target.exists() {
        if let Some(parent) = target.parent() {
            fs::create_dir_all(parent)?;
        }
        File::create(&target)?;
    }
    mount_bind_recursive(&bind.source, &target)?;
    if bind.read_only {
        mount_remount(&target, MountFlags::BIND | MountFlags::RDONLY, c"")?;
    }
    Ok(())
}

/// A path of the node as seen from outside. Links in it are followed inside the node's root, one folder after the
/// other: `/var/run` leads to the node's `/run`, never to the host's.
fn inside(root: &Path, path: &Path) -> PathBuf {
    let mut pending: Vec<PathBuf> = vec![path.to_owned()];
    let mut done = root.to_owned();
    let mut links = 0;
    while let Some(next) = pending.pop() {
        let mut parts = next.components();
        let Some(part) = parts.next() else { continue };
        let rest = parts.as_path().to_owned();
        if rest != Path::new("") {
            pending.push(rest);
        }
        match part {
            std::path::Component::RootDir => done = root.to_owned(),
            std::path::Component::ParentDir if done != root => drop(done.pop()),
            std::path::Component::Normal(name) => match fs::read_link(done.join(name)) {
                // 40 is the kernel's own limit (path_resolution(7)).
                Ok(link) if links < 40 => {
                    links += 1;
                    pending.push(link);
                }
                _ => done.push(name),
            },
            _ => {}
        }
    }
    done
}
