//! Kubernetes on the reference fabric: what `containerlab/kubernetes.clab.yml` binds, and a cluster that runs.
//!
//! The programs are Kubernetes' own, built by `cargo xtask kubernetes build` in a folder that `PETIOLE_KUBERNETES` names, or
//! beside this program's own in the target folder. Beside them lie the certificates of the address plan and the images,
//! both made here: no registry and no network is asked when a cluster starts.

pub mod bridge;
mod certificates;
pub mod churn;
mod cluster;
pub mod etcd;
mod images;
pub mod news;
pub mod observe;
pub mod runtime;
mod scene;

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};

pub use self::certificates::PLACE;
pub use self::cluster::{Cluster, Pod, Stage};
pub use self::scene::{Announced, LONG, Scene, is_long, nothing_lost, streams};
use crate::Topology;

/// The environment's word for the folder.
pub const FOLDER: &str = "PETIOLE_KUBERNETES";

/// The programs without which nothing starts.
const PROGRAMS: [&str; 8] = [
    "kube-apiserver",
    "kube-controller-manager",
    "kube-scheduler",
    "kubelet",
    "kube-proxy",
    "kubectl",
    "agnhost",
    "coredns",
];

/// The folder with the programs, where they are all built: what the environment says, else `kubernetes` in the target folder
/// that this program lies in.
pub fn built() -> Result<PathBuf> {
    let folder = match std::env::var_os(FOLDER) {
        Some(folder) => PathBuf::from(folder),
        None => {
            let own = std::env::current_exe()?;
            let mut folders = own.ancestors().skip(1).take(4).map(|folder| folder.join("kubernetes"));
            folders.find(|folder| folder.join("bin").is_dir()).context(TO_BUILD)?
        }
    };
    for program in PROGRAMS {
        let path = folder.join("bin").join(program);
        ensure!(path.is_file(), "{} is missing; {TO_BUILD}", path.display());
    }
    folder.canonicalize().with_context(|| folder.display().to_string())
}

/// Makes the image that the overlay with-kube-proxy runs, and returns where nodes see it.
pub fn prepare_kube_proxy() -> Result<String> {
    images::make_kube_proxy(&built()?).context("the image of kube-proxy")
}

/// Petiole's own image: what the DaemonSet runs.
const IMAGE: &str = "images/petiole.tar";
const TO_BUILD: &str = "the programs of Kubernetes are not built: cargo xtask kubernetes build";

/// The workspace's `containerlab/kubernetes.clab.yml`.
pub fn topology_file() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../containerlab/kubernetes.clab.yml")
}

/// Reads a topology that may bind the folder: with the programs where they are built, without them as the file has it.
pub fn load(path: &Path, name: Option<&str>) -> Result<Topology> {
    let folder = built().ok().map(|folder| folder.display().to_string());
    let lookup = |variable: &str| match (variable, &folder) {
        (FOLDER, Some(folder)) => Some(folder.clone()),
        _ => std::env::var(variable).ok(),
    };
    Ok(Topology::load(path, name, &lookup)?)
}

/// Whether the topology is one of a cluster.
pub fn wanted(topology: &Topology) -> bool {
    topology.nodes.values().any(|node| node.binds.iter().any(|bind| bind.target == Path::new(PLACE)))
}

/// Makes what the nodes need beside the programs, where it is not there yet.
pub fn prepare() -> Result<()> {
    let folder = built()?;
    certificates::make(&folder).context("certificates")?;
    images::make(&folder).context("images")?;
    let own = folder.join(IMAGE);
    ensure!(own.is_file(), "{} is missing: cargo xtask image --tar {0}", own.display());
    Ok(())
}
