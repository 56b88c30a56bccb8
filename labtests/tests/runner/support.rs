//! Small labs, and what is left of one.

use std::path::Path;

use petiole_labtests::procs::Belonging;
use petiole_labtests::{Binaries, Lab, Topology, existing, fabric, state};

pub(crate) type Outcome = anyhow::Result<()>;

/// Two nodes and a link between them.
pub(crate) const PAIR: &str = "
name: pair
topology:
  defaults: { kind: linux, image: any, network-mode: none }
  nodes:
    a: { exec: ['ip addr add 192.0.2.0/31 dev eth1'] }
    b: { exec: ['ip addr add 192.0.2.1/31 dev eth1'] }
  links:
    - { endpoints: ['a:eth1', 'b:eth1'], mtu: 1400 }
";

/// Whether this user may make namespaces; says so by name where not.
pub(crate) fn root(test: &str) -> bool {
    let root = rustix::process::geteuid().is_root();
    if !root {
        println!("not checked: {test}: needs root");
    }
    root
}

pub(crate) fn binaries() -> anyhow::Result<Binaries> {
    Ok(Binaries { lab: existing(Path::new(env!("CARGO_BIN_EXE_petiole-lab")))?, agent: None })
}

/// The text as a lab with a name of its own, in a folder.
pub(crate) fn topology(text: &str, dir: &Path) -> anyhow::Result<Topology> {
    Ok(Topology::parse(text, dir, Some(&fabric::unique_name("runner")), &|_| None)?)
}

pub(crate) fn up(text: &str) -> anyhow::Result<Lab> {
    Lab::up(&topology(text, Path::new("/"))?, &binaries()?)
}

/// Everything on this machine that carries a lab's name: the runner's own search, and `/proc` and `/run` as such.
pub(crate) fn leftovers(lab: &str) -> Vec<String> {
    let mut found: Vec<String> = Vec::new();
    for folder in ["/run/netns", state::ROOT] {
        let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
        let names = entries.map(|entry| entry.path().display().to_string());
        found.extend(names.filter(|name| name.contains(lab)));
    }
    let mounts = std::fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    found.extend(mounts.lines().filter(|line| line.contains(lab)).map(str::to_owned));
    found.extend(Belonging::marked(&state::dir(lab)).find().into_values());
    for entry in std::fs::read_dir("/proc").into_iter().flatten().flatten() {
        let line = std::fs::read_to_string(entry.path().join("cmdline")).unwrap_or_default();
        if line.contains(lab) {
            found.push(line.replace('\0', " "));
        }
    }
    found
}
