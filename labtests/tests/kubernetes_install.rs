//! `deploy/kubernetes` on a cluster, as a user installs it: its agents go, the DaemonSet comes again and is rolled over, and pods
//! that run do not notice.
//!
//! `cargo xtask kubernetes test` builds the programs and runs this; without them it is skipped, and says so.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use petiole_labtests::fabric::{self, Member, Role, Stream, members};
use petiole_labtests::kubernetes::{self, Cluster};
use petiole_labtests::{Binaries, Lab, check, eventually};

const WITHIN: Duration = Duration::from_secs(120);
const NAMESPACE: &str = "petiole-system";
const CONFLIST: &str = "/etc/cni/net.d/10-petiole.conflist";

#[test]
fn the_daemon_set_is_installed_and_rolled_over_under_traffic() -> Result<()> {
    const TEST: &str = "the_daemon_set_is_installed_and_rolled_over_under_traffic";
    if !rustix::process::geteuid().is_root() {
        println!("not checked: {TEST}: needs root");
        return Ok(());
    }
    if std::env::var_os(kubernetes::FOLDER).is_none() {
        println!("not checked: {TEST}: builds Kubernetes, for minutes; run it with: cargo xtask kubernetes test");
        return Ok(());
    }
    kubernetes::prepare()?;
    let topology = kubernetes::load(&kubernetes::topology_file(), Some(&fabric::unique_name("install")))?;
    let lab = Lab::up(&topology, &Binaries::find()?)?;
    let begun = Instant::now();
    let cluster = Cluster::start(&lab, &|stage, took| println!("{took:.1?}: {}", stage.words()))?;

    let mut streams = Vec::new();
    for node in ["worker1", "worker4"] {
        let pod = cluster.run(&format!("before-{node}"), node, "agnhost", &["netexec"])?;
        for (source, address) in ["10.120.201.10", "fd00:120:201:1::10"].into_iter().zip(&pod.addresses) {
            streams.push(Stream::start(&lab.node("client1")?, source, address)?);
        }
    }
    cluster.kubectl(&["delete", "daemonset", "petiole", "-n", NAMESPACE, "--wait=false"])?;
    for worker in members(Role::Worker) {
        let node = lab.node(worker.name)?;
        eventually(WITHIN, "no agent runs", || {
            let alive = node.output(&["pgrep", "--exact", "petiole"]).map_err(|error| format!("{error:#}"))?;
            check(!alive.status.success(), "it runs")
        })?;
        node.exec(&["petiole", "cni", "install", "--uninstall"])?;
    }
    println!("{:.1?}: no agent runs, nor has a node the plugin", begun.elapsed());
    install(&lab)?;
    rolled_out(&cluster)?;
    println!("{:.1?}: the DaemonSet runs", begun.elapsed());
    for worker in members(Role::Worker) {
        is_the_pods(&lab, worker)?;
    }
    cluster.run("after", "worker2", "agnhost", &["netexec"])?;
    cluster.kubectl(&["rollout", "restart", "daemonset/petiole", "-n", NAMESPACE])?;
    rolled_out(&cluster)?;
    println!("{:.1?}: it is rolled over", begun.elapsed());
    for worker in members(Role::Worker) {
        is_the_pods(&lab, worker)?;
    }
    for stream in streams {
        let name = stream.name.clone();
        let loss = stream.end()?;
        println!("figure: {name}: {loss:?} over the install and a rolling update");
        ensure!(loss.sent > 1000 && loss.lost == 0, "{name}: {loss:?}");
    }
    lab.down()
}

/// `kubectl apply -k`, on the operator's machine, of exactly the files of this repository.
fn install(lab: &Lab) -> Result<()> {
    lab.node("client1")?.exec(&["kubectl", "apply", "-k", "/usr/local/lib/manifests/petiole/base"]).map(drop)
}

fn rolled_out(cluster: &Cluster<'_>) -> Result<()> {
    let status = ["rollout", "status", "daemonset/petiole", "-n", NAMESPACE, "--timeout=9s"];
    let done = eventually(WITHIN, "the DaemonSet is rolled out", || cluster.kubectl(&status).map(drop));
    done.with_context(|| {
        let of = |words: &[&str]| cluster.kubectl(words).unwrap_or_else(|error| format!("{error:#}"));
        let logs = ["logs", "-n", NAMESPACE, "daemonset/petiole", "--all-containers", "--tail=20"];
        format!("{}{}", of(&["describe", "pods", "-n", NAMESPACE]), of(&logs))
    })
}

/// The agent of the DaemonSet serves this node: it is ready, and the plugin of its image is there.
fn is_the_pods(lab: &Lab, worker: &Member) -> Result<()> {
    let node = lab.node(worker.name)?;
    eventually(WITHIN, &format!("{} is ready", worker.name), || {
        let status = node.petiole_json(&["status"])?;
        ensure!(status["ready"] == true && status["node"] == worker.name, "{status}");
        Ok::<(), anyhow::Error>(())
    })?;
    node.exec(&["test", "-x", "/opt/cni/bin/petiole"])?;
    node.exec(&["test", "-s", CONFLIST]).map(drop)
}
