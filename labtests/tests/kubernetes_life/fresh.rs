//! A node joins that neither the API nor the store has seen before.

use std::sync::mpsc::RecvTimeoutError;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use petiole_labtests::connections::now;
use petiole_labtests::fabric::{self, FAMILIES, LEAVES, Monitor, changed};
use petiole_labtests::kubernetes::news::{News, Watch, watch};
use petiole_labtests::kubernetes::{Announced, Cluster, Scene};
use petiole_labtests::{NodeHandle, eventually};

use crate::hold;

const WITHIN: Duration = Duration::from_secs(120);
const NEW: &str = "worker4";
/// From the kubelet's start to Ready, and to the blocks' being on every leaf, in seconds.
const GOAL: f64 = 10.0;
/// It changes when a configuration comes.
const CONFIGURATIONS: &str = "/etc/cni/net.d";

/// It has no power, and was deleted: neither the API nor the store knows it any more.
pub(crate) fn a_node_joins(scene: &Scene) -> Result<()> {
    let cluster = Cluster::of(&scene.lab)?;
    // Their own owner would wait for a minute to see that the node does not come again.
    let pods = format!("--field-selector=spec.nodeName={NEW}");
    cluster.kubectl(&["delete", "pods", "--all-namespaces", &pods, "--force", "--grace-period=0", "--wait=false"])?;
    let leaves = LEAVES.iter().map(|leaf| Monitor::start(&scene.lab.node(leaf)?)).collect::<Result<Vec<_>>>()?;
    let nodes = watch(&cluster, &["nodes"])?;
    let pods = watch(&cluster, &["pods", "-n", "petiole-system", "-l", "app.kubernetes.io/name=petiole"])?;
    let on = now();
    scene.power_on(NEW)?;
    let node = scene.lab.node(NEW)?;
    let kubelet = kubelet_began(&node)?;
    println!("  {NEW} has its images and starts the kubelet {:.1} s after its power", kubelet - on);
    let known = first(&nodes, "known to the API", |news| news.name() == NEW)?;
    let ready = first(&nodes, "Ready", |news| news.name() == NEW && news.ready())?;
    let mine = |news: &News| news.object["spec"]["nodeName"] == NEW && news.at > kubelet;
    let runs = |news: &News, kind: &str, state: &str| {
        news.object["status"][kind][0]["state"][state]["startedAt"].is_string() && mine(news)
    };
    let stages = [
        ("known to the API", known),
        ("its pod of the DaemonSet", first(&pods, "a pod", mine)?),
        (
            "the plugin's installation is over",
            first(&pods, "done", |news| runs(news, "initContainerStatuses", "terminated"))?,
        ),
        ("the agent runs", first(&pods, "an agent", |news| runs(news, "containerStatuses", "running"))?),
        ("the CNI configuration", changed(&node, CONFIGURATIONS)?),
        ("Ready", ready),
    ];
    for (what, at) in stages {
        println!("  {:.2} s after the kubelet's start: {what}", at - kubelet);
    }
    hold("a fresh node is Ready after its kubelet's start", ready - kubelet, GOAL)?;

    let own = eventually(WITHIN, "it has blocks", || {
        let own = fabric::blocks(&scene.lab, "master2")?.remove(NEW).unwrap_or_default();
        ensure!(own.len() >= FAMILIES.len(), "{own:?}");
        Ok::<_, anyhow::Error>(own)
    })?;
    scene.settled(&Announced::all(&scene.lab)?)?;
    let mut last = 0.0_f64;
    for (leaf, monitor) in LEAVES.iter().zip(&leaves) {
        let events = monitor.events()?;
        for block in &own {
            let is = |what: &str| what.split_whitespace().next() == Some(block);
            let came = events.iter().find(|event| event.at > on && !event.deleted && is(&event.what));
            last = last.max(came.with_context(|| format!("{leaf} did not learn {block}"))?.at);
        }
    }
    hold("its blocks are on every leaf after its kubelet's start", last - kubelet, GOAL)?;
    eventually(WITHIN, "the DaemonSet is Ready", || cluster.agents_ready())
}

/// When the kubelet itself was started, its images being there.
fn kubelet_began(node: &NodeHandle) -> Result<f64> {
    let file = "/run/lab/kubelet.pid";
    eventually(WITHIN, "the kubelet runs", || {
        let script = format!("grep -q -x kubelet /proc/$(cat {file})/comm && stat --format %.9Y {file}");
        let text = node.sh(&script)?;
        text.trim().parse::<f64>().with_context(|| text)
    })
}

/// When the API's watchers were first told this.
fn first(told: &Watch, what: &str, is: impl Fn(&News) -> bool) -> Result<f64> {
    let begun = Instant::now();
    loop {
        match told.news.recv_timeout(Duration::from_secs(1)) {
            Ok(news) if news.kind != "DELETED" && is(&news) => return Ok(news.at),
            Ok(_) | Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => bail!("the watch has ended"),
        }
        ensure!(begun.elapsed() < WITHIN, "{NEW} is not {what}");
    }
}
