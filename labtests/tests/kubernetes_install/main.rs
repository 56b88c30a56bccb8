//! `deploy/kubernetes` on a cluster, as a user installs it: its agents go, the DaemonSet comes again and is rolled over, to an etcd
//! that asks for the certificate of a Secret; a kube-proxy of an overlay takes over, a configuration of somebody else's comes
//! between, and pods that run do not notice.

mod conf_dir;
mod overlays;
mod readme;
mod rights;
mod secret;

use std::time::Duration;

use anyhow::{Result, ensure};
use petiole_labtests::fabric::{Member, Role, Stream, members};
use petiole_labtests::kubernetes::etcd::Guarded;
use petiole_labtests::kubernetes::observe::rolled_out;
use petiole_labtests::kubernetes::{Cluster, Scene, nothing_lost};
use petiole_labtests::{Lab, NodeHandle, check, eventually};
use serde_json::json;

const WITHIN: Duration = Duration::from_secs(120);
const NAMESPACE: &str = "petiole-system";
/// What the Node object says of its network.
const NETWORK: &str = r#"jsonpath={range .status.conditions[?(@.type=="NetworkUnavailable")]}{.status} {.reason}{end}"#;
const CONFLIST: &str = "/etc/cni/net.d/10-petiole.conflist";
/// Where the operator of the machine with kubectl works.
const FOLDER: &str = "/run/operator";

#[test]
fn the_daemon_set_is_installed_and_rolled_over_under_traffic() -> Result<()> {
    const TEST: &str = "the_daemon_set_is_installed_and_rolled_over_under_traffic";
    let mut guarded = None;
    let up = Scene::up_with(TEST, "install", |topology| {
        guarded = Some(Guarded::prepare(topology)?);
        Ok(())
    })?;
    let Some(scene) = up else { return Ok(()) };
    let lab = &scene.lab;
    let cluster = scene.cluster()?;

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
        no_agent_runs(&node)?;
        node.exec(&["petiole", "cni", "install", "--uninstall"])?;
    }
    scene.say("no agent runs, nor has a node the plugin");
    install(lab)?;
    rolled_out(&cluster)?;
    scene.say("the DaemonSet runs");
    for worker in members(Role::Worker) {
        is_the_pods(lab, &cluster, worker)?;
    }
    cluster.run("after", "worker2", "agnhost", &["netexec"])?;
    secret::a_wrong_one_is_said_in_words(&scene, &cluster)?;
    secret::the_right_one_is_enough(&scene, &cluster)?;
    readme::run(lab, "Verify")?;
    readme::run(lab, "Upgrade")?;
    rights::what_the_api_refuses_is_said_in_words(&scene, &cluster)?;
    overlays::kube_proxy_takes_over(&scene, &cluster)?;
    overlays::the_server_takes_the_migration(&scene, &cluster)?;
    conf_dir::a_configuration_that_sorts_before_is_said_in_words(&scene, &cluster)?;
    nothing_lost(streams, "the install, a rolling update, and all of the rest")?;
    it_is_removed(&scene)?;
    scene.lab.down()
}

/// What the documentation says about a removal leaves no agent, no plugin and no object.
fn it_is_removed(scene: &Scene) -> Result<()> {
    readme::run(&scene.lab, "Remove")?;
    for worker in members(Role::Worker) {
        no_agent_runs(&scene.lab.node(worker.name)?)?;
    }
    let left = "ls -A /var/lib/petiole; find /etc/cni/net.d /opt/cni/bin -name '*petiole*'";
    let left = scene.lab.node(readme::NODE)?.exec(&["sh", "-c", left])?;
    ensure!(left.trim().is_empty(), "{left}");
    let objects = [
        "get",
        "namespaces,clusterroles,clusterrolebindings,validatingadmissionpolicies,validatingadmissionpolicybindings",
        "-o",
        "name",
    ];
    let left = scene.lab.node("client1")?.exec(&[&["kubectl"], &objects[..]].concat())?;
    // The kube-proxy of the overlay is no part of what was asked to go.
    let ours = |name: &&str| name.contains("petiole") && !name.ends_with("petiole:kube-proxy");
    let left: Vec<&str> = left.lines().filter(ours).collect();
    ensure!(left.is_empty(), "{left:?}");
    scene.say("it is removed");
    Ok(())
}

fn no_agent_runs(node: &NodeHandle) -> Result<()> {
    eventually(WITHIN, "no agent runs", || {
        let alive = node.output(&["pgrep", "--exact", "petiole"]).map_err(|error| format!("{error:#}"))?;
        check(!alive.status.success(), "it runs")
    })
}

/// `kubectl apply -k`, on the operator's machine, of exactly the files of this repository.
fn install(lab: &Lab) -> Result<()> {
    lab.node("client1")?.exec(&["kubectl", "apply", "-k", "/usr/local/lib/manifests/petiole/base"]).map(drop)
}

/// The agent of the DaemonSet serves this node: it is ready, and the plugin of its image is there.
fn is_the_pods(lab: &Lab, cluster: &Cluster<'_>, worker: &Member) -> Result<()> {
    let node = lab.node(worker.name)?;
    eventually(WITHIN, &format!("{} is ready", worker.name), || {
        let status = node.petiole_json(&["status"])?;
        ensure!(status["ready"] == true && status["node"] == worker.name, "{status}");
        Ok::<(), anyhow::Error>(())
    })?;
    eventually(WITHIN, &format!("{} is a witness of its own Node object", worker.name), || {
        let status = node.petiole_json(&["status"])?;
        ensure!(status["kubernetes"]["state"] == "watching" && status["problems"] == json!([]), "{status:#}");
        let said = cluster.kubectl(&["get", "node", worker.name, "--output", NETWORK])?;
        ensure!(said.trim() == "False PetioleIsReady", "NetworkUnavailable: {said}");
        Ok::<(), anyhow::Error>(())
    })?;
    node.exec(&["test", "-x", "/opt/cni/bin/petiole"])?;
    node.exec(&["test", "-s", CONFLIST]).map(drop)
}
