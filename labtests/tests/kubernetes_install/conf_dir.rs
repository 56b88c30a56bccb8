//! A CNI configuration of somebody else's, which sorts before Petiole's.

use anyhow::{Result, ensure};
use petiole_labtests::eventually;
use petiole_labtests::kubernetes::{Cluster, Scene};

use super::{NAMESPACE, WITHIN};

const WORKER: &str = "worker3";
const OTHER: &str = "/etc/cni/net.d/05-other.conflist";
/// Of a plugin that this node does not have.
const TEXT: &str = r#"{ "cniVersion": "1.0.0", "name": "other", "plugins": [{ "type": "other" }] }"#;
const WORDS: &str = "/etc/cni/net.d/05-other.conflist sorts before 10-petiole.conflist";

/// Agent and `cni install` say which file wins and what to do, the pod's event which plugin its runtime asks; once the file is gone
/// the pod that waited starts by itself.
pub(super) fn a_configuration_that_sorts_before_is_said_in_words(scene: &Scene, cluster: &Cluster<'_>) -> Result<()> {
    let node = scene.lab.node(WORKER)?;
    node.write(OTHER, TEXT)?;
    eventually(WITHIN, "status says it", || {
        let problems = node.petiole_json(&["status"])?["problems"].to_string();
        ensure!(problems.contains(WORDS) && problems.contains("remove it"), "{problems}");
        Ok::<(), anyhow::Error>(())
    })?;
    cluster.order("misled", WORKER, "agnhost", &["netexec"])?;
    let on = format!("--field-selector=spec.nodeName={WORKER}");
    let agent = cluster.kubectl(&["get", "pods", "-n", NAMESPACE, &on, "-o", "name"])?;
    let log = cluster.kubectl(&["logs", "-n", NAMESPACE, agent.trim(), "--container=agent", "--tail=20"])?;
    ensure!(log.contains(WORDS), "{log}");
    eventually(WITHIN, "the pod's events name the plugin", || {
        let events = cluster.kubectl(&["get", "events", "--field-selector", "involvedObject.name=misled"])?;
        ensure!(events.contains("failed to find plugin \"other\""), "{events}");
        Ok::<(), anyhow::Error>(())
    })?;
    let installed = node.output(&["petiole", "cni", "install"])?;
    let said = String::from_utf8_lossy(&installed.stderr);
    ensure!(said.contains(WORDS), "{said}");
    node.exec(&["rm", OTHER])?;
    cluster.ready("misled")?;
    eventually(WITHIN, "status says nothing of it", || {
        let problems = node.petiole_json(&["status"])?["problems"].to_string();
        ensure!(!problems.contains(OTHER), "{problems}");
        Ok::<(), anyhow::Error>(())
    })?;
    scene.say("a configuration that sorts before ours: status, log and event said it; without it the pod that waited is Ready");
    Ok(())
}
