//! What containerd runs on a worker, asked there: with or without an API that knows of it.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::json;

use crate::NodeHandle;
use crate::wait::{check, eventually};

/// Where a worker's kubelet looks for pods of its own.
const MANIFESTS: &str = "/etc/kubernetes/manifests";
/// How long containerd may take to see a container's end.
const KILLED: Duration = Duration::from_secs(10);

fn ctr(node: &NodeHandle, args: &[&str]) -> Result<String> {
    node.exec(&[&["ctr", "--namespace", "k8s.io"], args].concat())
}

/// The containers that run, with the process of each as the node numbers it.
pub fn tasks(node: &NodeHandle) -> Result<BTreeMap<String, String>> {
    let text = ctr(node, &["task", "list"])?;
    let mut tasks = BTreeMap::new();
    for line in text.lines().filter(|line| line.contains("RUNNING")) {
        let mut words = line.split_whitespace();
        if let Some((id, pid)) = words.next().zip(words.next()) {
            tasks.insert(id.to_owned(), pid.to_owned());
        }
    }
    Ok(tasks)
}

/// Those of a pod's containers that run, by the beginning of the pod's name: `main` for what its manifest calls so, `POD` for
/// its sandbox.
pub fn running(node: &NodeHandle, pod: &str, container: &str) -> Result<Vec<String>> {
    let label = if container == "POD" {
        r#"labels."io.cri-containerd.kind"==sandbox"#.to_owned()
    } else {
        format!(r#"labels."io.kubernetes.container.name"=={container}"#)
    };
    let filter = format!(r#"{label},labels."io.kubernetes.pod.name"~=^{pod}"#);
    let known = ctr(node, &["containers", "list", "--quiet", &filter])?;
    let tasks = tasks(node)?;
    Ok(known.lines().map(str::trim).filter(|id| tasks.contains_key(*id)).map(str::to_owned).collect())
}

/// Kills a pod's container, by no hand of the kubelet's.
pub fn kill(node: &NodeHandle, pod: &str, container: &str) -> Result<()> {
    let found = running(node, pod, container)?;
    ensure!(!found.is_empty(), "{}: no container {container} of {pod} runs", node.name());
    for id in &found {
        ctr(node, &["task", "kill", "--signal", "SIGKILL", id])?;
        eventually(KILLED, "the container is dead", || {
            let tasks = tasks(node).map_err(|error| format!("{error:#}"))?;
            check(!tasks.contains_key(id), "it runs")
        })?;
    }
    Ok(())
}

/// Hands a pod to the kubelet alone: it starts it without having asked the API, which learns of it as NAME-NODE.
pub fn run(node: &NodeHandle, name: &str) -> Result<()> {
    let manifest = json!({
        "apiVersion": "v1", "kind": "Pod", "metadata": { "name": name },
        "spec": {
            "terminationGracePeriodSeconds": 0,
            "containers": [{
                "name": "main", "image": "localhost/agnhost:latest", "imagePullPolicy": "Never", "args": ["netexec"],
            }],
        },
    });
    // The kubelet reads a file when it appears: it appears whole.
    let path = format!("{MANIFESTS}/{name}.json");
    let beside = "/etc/kubernetes/next.json";
    node.write(beside, &manifest.to_string())?;
    node.exec(&["mv", beside, &path]).map(drop).with_context(|| path)
}

/// Takes it back.
pub fn end(node: &NodeHandle, name: &str) -> Result<()> {
    node.exec(&["rm", &format!("{MANIFESTS}/{name}.json")]).map(drop)
}
