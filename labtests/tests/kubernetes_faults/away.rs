//! The API is away, then etcd as well, then the API answers again and etcd does not: what runs goes on, and the leaves know it.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, ensure};
use petiole_labtests::connections::Connections;
use petiole_labtests::fabric::{Role, members};
use petiole_labtests::kubernetes::{Announced, Cluster, Pod, Scene, is_long, nothing_lost, runtime, streams};
use petiole_labtests::{Lab, NodeHandle, Signal, check, eventually, throughout};

const WITHIN: Duration = Duration::from_secs(90);
/// What a pod is told that gets no address: who is away, whatever it is that was tried.
const WORDS: &str = "the store did not answer";
/// The service is asked over this many new connections a second.
const RATE: u32 = 20;

/// For how long the API is away alone, both are, and etcd alone.
fn durations() -> [Duration; 3] {
    if is_long() { [300; 3] } else { [14, 18, 12] }.map(Duration::from_secs)
}

pub(crate) fn everything_is_away(scene: &Scene, announced: &Announced) -> Result<()> {
    let cluster = Cluster::of(&scene.lab)?;
    let one = cluster.run("front1", "worker1", "agnhost", &["netexec"])?;
    let four = cluster.run("front4", "worker4", "agnhost", &["netexec"])?;
    let traffic = begin(scene, &cluster, &one, &four)?;
    let [api, both, etcd] = durations();
    let quiet = announced.api_by(&[]);
    let begun = Instant::now();

    every_api_ends(&scene.lab)?;
    scene.settled(&quiet)?;
    let two = scene.lab.node("worker2")?;
    runtime::run(&two, "without-api")?;
    runs(&two, "without-api")?;
    scene.say(format!("without the API a new pod started, {:.1?} after it went", begun.elapsed()));
    hold(scene, &quiet, begun + api)?;

    every_master(&scene.lab, "etcd", Signal::STOP)?;
    let etcd_gone = Instant::now();
    let three = scene.lab.node("worker3")?;
    runtime::run(&three, "without-store")?;
    agents_begin_again(scene)?;
    scene.say(format!(
        "without the API and etcd the agents of worker1 and worker4 began again, {:.1?}",
        begun.elapsed()
    ));
    hold(scene, &quiet, etcd_gone + both)?;
    refused(&three, "without-store")?;

    members(Role::Master).try_for_each(|master| scene.lab.node(master.name)?.start("apiserver"))?;
    let api_gone = begun.elapsed();
    hold(scene, &quiet, etcd_gone + both + etcd)?;
    ensure!(runtime::running(&three, "without-store", "main")?.is_empty(), "a pod has an address that nobody assigned");
    every_master(&scene.lab, "etcd", Signal::CONT)?;
    let (back, etcd_gone) = (Instant::now(), etcd_gone.elapsed());
    println!("figure: the API was away for {api_gone:.1?}, etcd for {etcd_gone:.1?}");

    scene.settled(announced)?;
    println!("figure: the API is announced again {:.1?} after etcd was back", back.elapsed());
    runs(&three, "without-store")?;
    println!("figure: the pod that was refused runs {:.1?} after etcd was back", back.elapsed());
    eventually(WITHIN, "every worker is Ready", || cluster.nodes_ready())?;
    eventually(WITHIN, "the DaemonSet is Ready", || cluster.agents_ready())?;
    println!("figure: every worker is Ready {:.1?} after etcd was back", back.elapsed());
    said_in_words(&cluster)?;
    traffic.end(begun.elapsed())?;
    for (node, name) in [(&two, "without-api"), (&three, "without-store")] {
        runtime::end(node, name)?;
    }
    scene.say("everything is back");
    Ok(())
}

/// What goes on all the time.
struct Traffic {
    streams: Vec<petiole_labtests::fabric::Stream>,
    service: Connections,
}

/// From the plain host to pods, from pod to pod, and from kafka1 to a service through ingress.
fn begin(scene: &Scene, cluster: &Cluster<'_>, one: &Pod, four: &Pod) -> Result<Traffic> {
    cluster.kubectl(&["expose", "pod", "front4", "--port=8080"])?;
    let service = cluster.json(&["get", "service", "front4"])?;
    let address = service["spec"]["clusterIP"].as_str().context("a service without an address")?;
    let url = format!("http://{address}:8080/hostname");
    let kafka = scene.lab.node("kafka1")?;
    eventually(WITHIN, "kafka1 opens the service", || {
        (0..10).try_for_each(|_| kafka.exec(&["curl", "--silent", "--fail", "--max-time", "2", &url]).map(drop))
    })?;
    let mut all = streams(&scene.lab, &[one, four])?;
    for address in &four.addresses {
        all.push(cluster.stream(one, address)?);
    }
    Ok(Traffic { streams: all, service: Connections::start(&kafka, &url, None, RATE)? })
}

impl Traffic {
    fn end(self, over: Duration) -> Result<()> {
        let service = self.service.end()?;
        println!("figure: kafka1 to a service: {} of {} new connections broken", service.broken.len(), service.begun);
        ensure!(service.broken.is_empty() && service.begun > 100, "{service:?}");
        nothing_lost(self.streams, &format!("{over:.1?} with API and etcd away"))
    }
}

fn every_master(lab: &Lab, service: &str, signal: Signal) -> Result<()> {
    members(Role::Master).try_for_each(|master| lab.node(master.name)?.kill(service, signal))
}

/// Killed, and not started again: whoever has a connection is told so, and a new one is refused until no master is announced.
fn every_api_ends(lab: &Lab) -> Result<()> {
    for master in members(Role::Master) {
        lab.node(master.name)?.exec(&["touch", "/run/lab/apiserver.off"])?;
    }
    every_master(lab, "apiserver", Signal::KILL)
}

/// Looks at the leaves until then: blocks, the nodes' addresses and the service range are there, and nothing else.
fn hold(scene: &Scene, announced: &Announced, until: Instant) -> Result<()> {
    let left = until.saturating_duration_since(Instant::now());
    throughout(left, "the leaves have what the nodes announce", || announced.check(&scene.lab))
}

/// A pod runs on its node, whatever the API knows.
fn runs(node: &NodeHandle, pod: &str) -> Result<()> {
    eventually(WITHIN, &format!("{pod} runs"), || {
        let running = runtime::running(node, pod, "main")?;
        ensure!(!running.is_empty(), "{}", complaints(node, pod)?);
        Ok::<_, anyhow::Error>(())
    })
}

/// The kubelet's last words about a pod.
fn complaints(node: &NodeHandle, pod: &str) -> Result<String> {
    let log = node.log("kubelet")?;
    let last = log.lines().rfind(|line| line.contains(pod) && line.contains("CreatePodSandbox"));
    Ok(last.unwrap_or("the kubelet says nothing of it").to_owned())
}

/// On one worker the agent alone is killed, on another the DaemonSet's whole pod: both begin again without API and etcd.
fn agents_begin_again(scene: &Scene) -> Result<()> {
    for (worker, container) in [("worker1", "agent"), ("worker4", "POD")] {
        let node = scene.lab.node(worker)?;
        let before = agent(&node)?;
        runtime::kill(&node, "petiole-", container)?;
        eventually(WITHIN, &format!("{worker}'s agent runs again"), || {
            let now = agent(&node)?;
            ensure!(now != before, "it is still {now}");
            let status = node.petiole_json(&["status"])?;
            ensure!(status["ready"] == true, "{status}");
            ensure!(status["store"]["state"] != "in sync", "{status}");
            Ok::<_, anyhow::Error>(())
        })?;
    }
    Ok(())
}

/// The agent's process, as its node numbers it.
fn agent(node: &NodeHandle) -> Result<String> {
    Ok(node.exec(&["pgrep", "--exact", "petiole"])?.trim().to_owned())
}

/// The pod does not run, and its node says why in words that name who is away.
fn refused(node: &NodeHandle, pod: &str) -> Result<()> {
    let said = eventually(WITHIN, "the kubelet was refused an address", || {
        let said = complaints(node, pod).map_err(|error| format!("{error:#}"))?;
        check(said.contains(WORDS), &said).map(|()| said)
    })?;
    println!("  refused: {}", said.chars().take(600).collect::<String>());
    ensure!(runtime::running(node, pod, "main")?.is_empty(), "{pod} runs without etcd");
    Ok(())
}

/// The API, once it is back, has it in the pod's events.
fn said_in_words(cluster: &Cluster<'_>) -> Result<()> {
    let field = "--field-selector=involvedObject.name=without-store-worker3,reason=FailedCreatePodSandBox";
    eventually(WITHIN, "the pod's events say why it did not start", || {
        let events = cluster.json(&["get", "events", field])?;
        let message = events["items"].as_array().and_then(|items| items.first()).map(|item| &item["message"]);
        let message = message.and_then(|message| message.as_str()).ok_or_else(|| anyhow!("no event: {events}"))?;
        ensure!(message.contains(WORDS), "{message}");
        println!("  event: {message}");
        Ok(())
    })
}
