//! The Secret with which the agents come to etcd.

use anyhow::{Result, ensure};
use petiole_labtests::eventually;
use petiole_labtests::fabric::{Role, members};
use petiole_labtests::kubernetes::etcd::{Client, Guarded};
use petiole_labtests::kubernetes::observe::rolled_out;
use petiole_labtests::kubernetes::{Announced, Cluster, Scene};

use super::{FOLDER, NAMESPACE, WITHIN, is_the_pods, readme};

/// A copy of the manifests for an etcd that asks for a certificate, and a Secret with one that it does not trust: the agents go on
/// with what they know, and say whose fault it is wherever one would look.
pub(super) fn a_wrong_one_is_said_in_words(scene: &Scene, cluster: &Cluster<'_>) -> Result<()> {
    let announced = Announced::all(&scene.lab)?;
    let copy = format!(
        "mkdir {FOLDER} && cd {FOLDER} && cp -r /usr/local/lib/manifests/petiole mine && {} && \
         sed -i 's,^etcd = .*,{},' mine/base/petiole.toml",
        Guarded::fetch(Client::Stranger),
        Guarded::setting().replace(',', "\\,")
    );
    scene.lab.node("client1")?.exec(&["sh", "-c", &copy])?;
    readme::run(&scene.lab, "Install")?;
    rolled_out(cluster)?;
    scene.say("rolled over, to a Secret of a stranger");
    cluster.order("patient", "worker2", "agnhost", &["netexec"])?;
    for worker in members(Role::Worker) {
        let node = scene.lab.node(worker.name)?;
        eventually(WITHIN, "status says what is wrong with the Secret", || {
            let store = node.petiole_json(&["status"])?["store"].clone();
            ensure!(store["state"] == "connecting" && store["error"].as_str().is_some_and(named), "{store}");
            Ok::<(), anyhow::Error>(())
        })?;
    }
    eventually(WITHIN, "the log says it", || {
        let log = cluster.kubectl(&["logs", "-n", NAMESPACE, "daemonset/petiole", "--tail=50"])?;
        ensure!(named(&log), "{log}");
        Ok::<(), anyhow::Error>(())
    })?;
    eventually(WITHIN, "the pod's events say it", || {
        let events = cluster.kubectl(&["get", "events", "--field-selector", "involvedObject.name=patient"])?;
        ensure!(named(&events), "{events}");
        Ok::<(), anyhow::Error>(())
    })?;
    scene.settled(&announced)?;
    scene.say("status, log and the event of a pod say that etcd refuses the certificate");
    Ok(())
}

fn named(words: &str) -> bool {
    words.contains("refused our client certificate")
}

/// With a certificate that etcd trusts every agent has its store, without a restart, and the pod that waited starts by itself.
pub(super) fn the_right_one_is_enough(scene: &Scene, cluster: &Cluster<'_>) -> Result<()> {
    let pods = || -> Result<Vec<String>> {
        let pods = cluster.json(&["get", "pods", "-n", NAMESPACE])?;
        let names = pods["items"].as_array().into_iter().flatten().map(|pod| pod["metadata"]["uid"].to_string());
        Ok(names.collect())
    };
    let before = pods()?;
    scene.lab.node("client1")?.exec(&["sh", "-c", &format!("cd {FOLDER} && {}", Guarded::fetch(Client::Ours))])?;
    readme::run(&scene.lab, "Renew the Secret")?;
    for worker in members(Role::Worker) {
        let node = scene.lab.node(worker.name)?;
        eventually(WITHIN, "the agent has its store", || {
            let store = node.petiole_json(&["status"])?["store"].clone();
            ensure!(store["state"] == "in sync" && store["kind"].to_string().contains("https://"), "{store}");
            Ok::<(), anyhow::Error>(())
        })?;
        is_the_pods(&scene.lab, cluster, worker)?;
    }
    cluster.ready("patient")?;
    ensure!(pods()? == before, "agents were restarted");
    scene.say("a Secret that etcd trusts: every agent has its store, and the pod that waited is Ready");
    Ok(())
}
