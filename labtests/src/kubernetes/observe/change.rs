//! What users notice of changes, planned and not.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use serde_json::json;

use super::{Cluster, Workload, at_once, only_blocks};
use crate::demo::report::pod_prefix;
use crate::fabric::{LEAVES, Loss, Monitor, Stream};
use crate::wait::{check, eventually, throughout};

const WITHIN: Duration = Duration::from_secs(120);
/// How long the API may be away for those who come anew after the leaf's interface to a master went.
const FAILOVER: Duration = Duration::from_secs(5);
/// How long what should not notice a dead leaf is looked at.
const AFTER: Duration = Duration::from_secs(3);
const PODS: usize = 60;
/// Of Petiole's own objects.
const NAMESPACE: &str = "petiole-system";
/// The least that a stream has to have sent before its loss says anything.
const PINGS: u32 = 200;

pub(super) fn a_deployment_comes_and_goes(workload: &Workload<'_>) -> Result<String> {
    let cluster = &workload.cluster;
    let manifest = json!({
        "apiVersion": "apps/v1", "kind": "Deployment", "metadata": { "name": "many" },
        "spec": {
            "replicas": 0, "selector": { "matchLabels": { "app": "many" } },
            "template": {
                "metadata": { "labels": { "app": "many" } },
                "spec": {
                    "terminationGracePeriodSeconds": 0,
                    "containers": [{
                        "name": "main", "image": "localhost/box:latest", "imagePullPolicy": "Never",
                        "command": ["sleep", "1000000"],
                    }],
                },
            },
        },
    });
    cluster.apply(&manifest.to_string())?;
    let leaves = at_once(LEAVES.to_vec(), |leaf| Monitor::start(&workload.lab().node(leaf)?));
    let leaves = leaves.into_iter().collect::<Result<Vec<_>>>()?;
    let mut looks = 0;
    let mut grown = Vec::new();
    for wanted in [PODS, 0] {
        let begun = Instant::now();
        cluster.kubectl(&["scale", "deployment/many", &format!("--replicas={wanted}")])?;
        loop {
            looks += 1;
            let least = only_blocks(workload.lab())?;
            ensure!(least >= 2 * workload.servers.len(), "a switch has {least} blocks only");
            let status = cluster.json(&["get", "pods", "-l", "app=many"])?;
            let pods = status["items"].as_array().map(Vec::as_slice).unwrap_or_default();
            let is_ready = |pod: &&serde_json::Value| {
                let conditions = pod["status"]["conditions"].as_array().into_iter().flatten();
                conditions.into_iter().any(|c| c["type"] == "Ready" && c["status"] == "True")
            };
            let ready = pods.iter().filter(is_ready).count();
            if ready == wanted && pods.len() == wanted {
                break;
            }
            ensure!(begun.elapsed() < WITHIN, "{ready} of {} pods are Ready, not {wanted}", pods.len());
        }
        grown.push(begun.elapsed().as_secs_f64());
    }
    cluster.kubectl(&["delete", "deployment", "many", "--wait=false"])?;
    // What came and went between two looks was an event of a leaf's kernel.
    let mut changes = 0;
    for leaf in leaves {
        for event in leaf.events()? {
            let mut prefixes = event.what.split_whitespace().filter_map(|word| Some((word, pod_prefix(word)?)));
            let Some((prefix, (length, block))) = prefixes.next() else { continue };
            ensure!(length == block, "a leaf's kernel had {prefix}: {}", event.what);
            changes += 1;
        }
    }
    let [up, down] = [0, 1].map(|at| grown.get(at).copied().unwrap_or_default());
    Ok(format!(
        "Ready after {up:.0} s, gone after {down:.0} s; {looks} looks at all switches, {changes} routes changed: /26 and /122 only"
    ))
}

/// Waits until the DaemonSet's pods are all of today's kind and Ready; fails with what they say otherwise.
pub fn rolled_out(cluster: &Cluster<'_>) -> Result<()> {
    let status = ["rollout", "status", "daemonset/petiole", "-n", NAMESPACE, "--timeout=9s"];
    let done = eventually(WITHIN, "the DaemonSet is rolled out", || cluster.kubectl(&status).map(drop));
    done.with_context(|| {
        let of = |words: &[&str]| cluster.kubectl(words).unwrap_or_else(|error| format!("{error:#}"));
        let logs = ["logs", "-n", NAMESPACE, "daemonset/petiole", "--all-containers", "--tail=20"];
        format!("{}{}", of(&["describe", "pods", "-n", NAMESPACE]), of(&logs))
    })
}

pub(super) fn the_agents_are_rolled_over(workload: &Workload<'_>) -> Result<String> {
    let mut streams = Vec::new();
    for pod in &workload.servers {
        streams.extend(workload.streams(&pod.node)?);
    }
    let begun = Instant::now();
    workload.cluster.kubectl(&["rollout", "restart", "daemonset/petiole", "-n", NAMESPACE])?;
    rolled_out(&workload.cluster)?;
    let took = begun.elapsed().as_secs_f64();
    let (sent, lost) = sums(&ended(streams)?);
    ensure!(lost == 0, "{lost} of {sent} packets were lost");
    Ok(format!("four agents in {took:.0} s, {lost} of {sent} packets to pods lost"))
}

pub(super) fn a_leaf_is_powered_off(workload: &Workload<'_>) -> Result<String> {
    let mut others = Vec::new();
    for worker in ["worker1", "worker2", "worker3"] {
        others.extend(workload.streams(worker)?);
    }
    let second = workload.streams("worker4")?;
    workload.lab().power_off("leaf4")?;
    for spine in crate::fabric::SPINES {
        let spine = workload.lab().node(spine)?;
        eventually(WITHIN, "a spine has nothing from leaf4", || {
            let seen = crate::demo::observe::switch(&spine).map_err(|error| format!("{error:#}"))?;
            let paths = seen.table.values().flatten().filter(|path| path.from == "leaf4").count();
            check(paths == 0, format!("{paths} paths"))
        })?;
    }
    // What comes after it is as much of it as the moment itself.
    throughout(AFTER, "every worker is Ready", || workload.cluster.nodes_ready())?;
    let (sent, lost) = sums(&ended(others)?);
    ensure!(lost == 0, "behind other leaves {lost} of {sent} packets were lost");
    let beside = ended(second)?;
    let outage = beside.iter().map(|loss| loss.outage()).max().unwrap_or_default();
    ensure!(outage < FAILOVER, "worker4 was away for {outage:?}, though leaf3 leads to it as well");
    Ok(format!(
        "behind the other leaves {lost} of {sent} packets lost; worker4, on two leaves, away for {} ms",
        outage.as_millis()
    ))
}

pub(super) fn a_master_is_powered_off(workload: &Workload<'_>) -> Result<String> {
    let cluster = &workload.cluster;
    let off = Instant::now();
    workload.lab().power_off("master1")?;
    // client1 and master1 are in one rack: it is master1 that client1 had asked.
    eventually(FAILOVER, "the API answers without master1", || {
        cluster.kubectl(&["--request-timeout=1s", "get", "--raw", "/readyz"])
    })?;
    let answered = off.elapsed().as_millis();
    let gone = workload.server("worker1")?;
    // An API server that had asked master1's etcd waits for it until it gives up.
    eventually(WITHIN, "the API takes a change without master1", || {
        cluster.kubectl(&["delete", "pod", &gone.name, "--ignore-not-found", "--grace-period=0", "--wait=false"])
    })?;
    let written = off.elapsed().as_secs_f64();
    let begun = Instant::now();
    cluster.run("after", "worker3", "agnhost", &["netexec"])?;
    let started = begun.elapsed().as_secs_f64();
    eventually(WITHIN, "the API knows of the pod's end", || {
        let left = cluster.kubectl(&["get", "pod", &gone.name, "--ignore-not-found", "-o", "name"])?;
        ensure!(left.trim().is_empty(), "{left}");
        Ok::<_, anyhow::Error>(())
    })?;
    only_blocks(workload.lab())?;
    Ok(format!(
        "the API answered {answered} ms later, took a change after {written:.1} s; a pod started without it in {started:.0} s"
    ))
}

fn ended(streams: Vec<Stream>) -> Result<Vec<Loss>> {
    let mut losses = Vec::new();
    for stream in streams {
        let name = stream.name.clone();
        let loss = stream.end()?;
        ensure!(loss.sent >= PINGS, "{name}: only {} pings were sent", loss.sent);
        losses.push(loss);
    }
    Ok(losses)
}

fn sums(losses: &[Loss]) -> (u32, u32) {
    losses.iter().fold((0, 0), |(sent, lost), loss| (sent + loss.sent, lost + loss.lost))
}
