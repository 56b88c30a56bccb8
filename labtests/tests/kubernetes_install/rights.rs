//! What the API server refuses the agents.

use std::time::Duration;

use anyhow::{Result, ensure};
use petiole_labtests::kubernetes::{Cluster, Scene, runtime};
use petiole_labtests::{NodeHandle, eventually};

use super::{FOLDER, NAMESPACE, WITHIN};

/// For how long an API server takes a token without another look at it, and a bit.
const REMEMBERED: Duration = Duration::from_secs(12);

/// Rights that are too small and a token that is none any more: each is said in words, where the agent begins anew with them; pods
/// start there all the same, and both are over when they are right again.
pub(super) fn what_the_api_refuses_is_said_in_words(scene: &Scene, cluster: &Cluster<'_>) -> Result<()> {
    let [small, expired] = ["worker1", "worker4"].map(|name| scene.lab.node(name));
    let (small, expired) = (small?, expired?);
    cluster.kubectl(&["delete", "clusterrolebinding", "petiole"])?;
    begin_anew(&small)?;
    said(&small, "forbids (403)")?;
    // The tokens of one that is deleted are void, as those that have expired are.
    cluster.kubectl(&["delete", "serviceaccount", "petiole", "-n", NAMESPACE])?;
    cluster.kubectl(&["apply", "-k", &format!("{FOLDER}/mine/base")])?;
    std::thread::sleep(REMEMBERED);
    begin_anew(&expired)?;
    said(&expired, "does not accept this node's credentials (401), which have expired")?;
    cluster.run("without-api", "worker4", "agnhost", &["netexec"])?;
    cluster.kubectl(&["delete", "pods", "-n", NAMESPACE, "--field-selector=spec.nodeName=worker4"])?;
    // The other one's own is void too.
    cluster.kubectl(&["delete", "pods", "-n", NAMESPACE, "--field-selector=spec.nodeName=worker1"])?;
    for node in [&small, &expired] {
        eventually(WITHIN, "the agent sees its Node object again", || {
            let status = node.petiole_json(&["status"])?;
            ensure!(status["kubernetes"]["state"] == "watching" && status["ready"] == true, "{status}");
            Ok::<(), anyhow::Error>(())
        })?;
    }
    scene.say("rights that are too small, and a token that is void, are said in words");
    Ok(())
}

/// The agent's container is killed: the next one has the same pod, and so the same token.
fn begin_anew(node: &NodeHandle) -> Result<()> {
    runtime::kill(node, "petiole", "agent")
}

fn said(node: &NodeHandle, words: &str) -> Result<()> {
    eventually(WITHIN, "status says what the API refuses", || {
        let problems = node.petiole_json(&["status"])?["problems"].to_string();
        ensure!(problems.contains(words), "{problems}");
        Ok::<(), anyhow::Error>(())
    })
}
