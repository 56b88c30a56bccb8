//! What the project needs from Debian, and installing what is missing of it.
//!
//! Nothing may be left running: a fabric's FRR and etcd live in namespaces of their own, and a service started by the
//! installation would hold their ports and change the host's routes.

mod apt;
mod policy;

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::terminal;

/// What a command is about to do, and so which packages it needs. All but the first need what a build needs, and all
/// but the first two what a lab needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Need {
    /// Compile the workspace.
    Build,
    /// Run topologies in network namespaces.
    Lab,
    /// Run other BGP daemons against the agent.
    Interop,
    /// Build and start the container image.
    Image,
}

impl Need {
    /// Whether what `other` needs is needed as well.
    fn covers(self, other: Self) -> bool {
        other == self || (other < self && other <= Self::Lab)
    }
}

/// One Debian package.
pub(crate) struct Package {
    /// Its name in Debian 12.
    pub(crate) name: &'static str,
    /// A file that shows, on a system without dpkg, that the same thing is there: a program, or an absolute path.
    pub(crate) proof: &'static str,
    need: Need,
    /// systemd units that its installation enables; they are disabled again.
    units: &'static [&'static str],
}

const fn package(need: Need, name: &'static str, proof: &'static str) -> Package {
    Package { name, proof, need, units: &[] }
}

const fn daemon(need: Need, name: &'static str, proof: &'static str, units: &'static [&'static str]) -> Package {
    Package { name, proof, need, units }
}

/// Everything, in the order it is shown in.
const PACKAGES: &[Package] = &[
    // etcd-client's build script compiles etcd's .proto files, which import Google's.
    package(Need::Build, "protobuf-compiler", "protoc"),
    package(Need::Build, "libprotobuf-dev", "/usr/include/google/protobuf/any.proto"),
    // The linker that rustc calls, and the C and assembler parts of ring.
    package(Need::Build, "gcc", "cc"),
    package(Need::Build, "libc6-dev", "/usr/include/stdlib.h"),
    // The switches and the store.
    daemon(Need::Lab, "frr", "/usr/lib/frr/bgpd", &["frr.service"]),
    // What `bench rib` measures beside, and one of the daemons of `interop`.
    daemon(Need::Lab, "bird2", "bird", &["bird.service"]),
    daemon(Need::Lab, "etcd-server", "etcd", &["etcd.service"]),
    package(Need::Lab, "etcd-client", "etcdctl"),
    // CNI plugins that delegate to ours, and that follow it.
    package(Need::Lab, "containernetworking-plugins", "/usr/lib/cni/ptp"),
    // Runtimes that run our plugin, and the one program of their containers.
    daemon(
        Need::Lab,
        "podman",
        "podman",
        &["podman.service", "podman.socket", "podman-auto-update.timer", "podman-restart.service"],
    ),
    package(Need::Lab, "crun", "crun"),
    daemon(Need::Lab, "containerd", "containerd", &["containerd.service"]),
    package(Need::Lab, "runc", "runc"),
    package(Need::Lab, "busybox-static", "busybox"),
    // A real systemd for the unit: in a Debian tree, booted in a node's network.
    daemon(Need::Lab, "systemd-container", "systemd-nspawn", &["machines.target"]),
    package(Need::Lab, "mmdebstrap", "mmdebstrap"),
    // What the reference plugin for ports of the host runs.
    package(Need::Lab, "iptables", "iptables"),
    // What the topology's `exec` lines and the tests run inside the nodes.
    package(Need::Lab, "iproute2", "ip"),
    package(Need::Lab, "iputils-ping", "ping"),
    package(Need::Lab, "traceroute", "traceroute"),
    package(Need::Lab, "nftables", "nft"),
    package(Need::Lab, "socat", "socat"),
    package(Need::Lab, "tcpdump", "tcpdump"),
    package(Need::Lab, "tshark", "tshark"),
    package(Need::Lab, "curl", "curl"),
    package(Need::Lab, "openssl", "openssl"),
    package(Need::Lab, "procps", "sysctl"),
    package(Need::Lab, "util-linux", "nsenter"),
    // The daemons beside FRR and BIRD.
    daemon(Need::Interop, "gobgpd", "gobgpd", &["gobgpd.service"]),
    daemon(Need::Interop, "openbgpd", "bgpctl", &["openbgpd.service"]),
    daemon(Need::Interop, "exabgp", "exabgp", &["exabgp.service"]),
    // ExaBGP 5 comes from PyPI into an environment of its own.
    package(Need::Interop, "python3-venv", "/usr/lib/python3.11/ensurepip/__init__.py"),
    daemon(Need::Image, "docker.io", "dockerd", &["docker.service", "docker.socket", "containerd.service"]),
];

/// Makes sure that everything `need` asks for is installed.
///
/// # Errors
/// Names the packages to install by hand where this cannot do it: not Debian, not root, no archive within reach.
pub(crate) fn ensure(need: Need) -> Result<()> {
    let wanted: Vec<&Package> = PACKAGES.iter().filter(|package| need.covers(package.need)).collect();
    let missing = if on_debian() { missing_by_dpkg(&wanted)? } else { missing_by_file(&wanted) };
    if missing.is_empty() {
        return Ok(());
    }
    let names: Vec<&str> = missing.iter().map(|package| package.name).collect();
    let by_hand = format!("apt-get install --no-install-recommends {}", names.join(" "));
    if !on_debian() {
        let what: Vec<String> = missing.iter().map(|p| format!("  {:<20} ({})", p.name, p.proof)).collect();
        bail!(
            "this is not Debian, so nothing can be installed for you; install what gives these, by the names they have \
             in Debian 12 (in brackets the program or file looked for):\n{}",
            what.join("\n")
        );
    }
    if !is_root()? {
        bail!("{} packages are missing and only root can install them; as root: {by_hand}", names.len());
    }
    let style = terminal::err();
    eprintln!("{} {}", style.bold("installing from Debian:"), names.join(" "));
    let units: Vec<&str> = missing.iter().flat_map(|package| package.units.iter().copied()).collect();
    apt::install(&names).with_context(|| {
        format!("the packages could not be installed; with a Debian archive within reach, as root: {by_hand}")
    })?;
    policy::disable(&units);
    let left = missing_by_dpkg(&missing)?;
    if let Some(package) = left.first() {
        bail!("apt-get succeeded, but {} is still not installed; see `dpkg -s {}`", package.name, package.name);
    }
    eprintln!("{} {} packages installed, none of their services started", style.good("ok"), names.len());
    Ok(())
}

fn on_debian() -> bool {
    in_path("dpkg-query") && in_path("apt-get")
}

/// Asks dpkg once for all of them.
fn missing_by_dpkg<'a>(wanted: &[&'a Package]) -> Result<Vec<&'a Package>> {
    // It fails when it knows nothing of one name, and still prints the others: the status says nothing here.
    let output = Command::new("dpkg-query")
        .args(["--show", "--showformat", "${Package} ${db:Status-Status}\n"])
        .args(wanted.iter().map(|package| package.name))
        .output()
        .context("cannot run dpkg-query")?;
    let installed = installed_names(&String::from_utf8_lossy(&output.stdout));
    Ok(wanted.iter().copied().filter(|package| !installed.contains(package.name)).collect())
}

/// The names on lines `NAME installed`; a package removed but not purged stays known with another status.
fn installed_names(listing: &str) -> BTreeSet<String> {
    listing.lines().filter_map(|line| line.strip_suffix(" installed")).map(str::to_owned).collect()
}

fn missing_by_file<'a>(wanted: &[&'a Package]) -> Vec<&'a Package> {
    let present = |proof: &str| if proof.starts_with('/') { Path::new(proof).exists() } else { in_path(proof) };
    wanted.iter().copied().filter(|package| !present(package.proof)).collect()
}

/// Whether a program is in the path, or in the folders that root's path has and another user's may not.
pub(crate) fn in_path(program: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .chain(["/usr/sbin".into(), "/sbin".into()])
        .any(|folder| folder.join(program).is_file())
}

/// Whether the effective user is root.
fn is_root() -> Result<bool> {
    let status = std::fs::read_to_string("/proc/self/status").context("cannot read /proc/self/status")?;
    Ok(effective_uid(&status) == Some(0))
}

/// The second number of the `Uid:` line: real, effective, saved, file system.
fn effective_uid(status: &str) -> Option<u32> {
    status.lines().find_map(|line| line.strip_prefix("Uid:"))?.split_whitespace().nth(1)?.parse().ok()
}

/// Fails early and clearly where a command needs root.
pub(crate) fn must_be_root(what: &str) -> Result<()> {
    if is_root()? {
        return Ok(());
    }
    bail!("{what} makes network namespaces, which needs root; run it again as root")
}

#[cfg(test)]
mod tests;
