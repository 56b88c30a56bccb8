//! Pods made and deleted, some at a time, and how long each took to be Ready, as the API's watchers see it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::mpsc::RecvTimeoutError;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use serde_json::json;

use super::Cluster;
use super::news::watch;
use crate::command;
use crate::fabric::{Member, Role, members};

/// Orders to the API are gathered for so long: every one costs a `kubectl`.
const GATHERED: Duration = Duration::from_millis(250);
/// Without any news for this long something is stuck.
const STUCK: Duration = Duration::from_secs(180);

/// What there is to do.
#[derive(Debug, Clone, Copy)]
pub struct Churn<'a> {
    /// Of the pods' names, and their label.
    pub name: &'a str,
    /// How many pods, all in all.
    pub pods: usize,
    /// How many at a time.
    pub at_once: usize,
    /// The workers that they are on, in turn.
    pub workers: &'a [&'a Member],
}

/// A pod that was Ready.
#[derive(Debug, Clone)]
pub struct Made {
    /// From its object's creation.
    pub took: Duration,
    /// Its first address.
    pub address: String,
}

/// A pod on its way.
#[derive(Debug, Clone, Copy, PartialEq)]
enum State {
    /// The API has it since then.
    Made(Option<f64>),
    /// It was Ready, and is to go.
    Ready,
    /// It is told to.
    Told,
}

impl Churn<'_> {
    /// Makes the pods, each on the worker whose turn it is, deletes each once it is Ready, and returns how long each took from
    /// its object's creation to Ready. `at` is called after every pod that is gone, with their number.
    pub fn run(&self, cluster: &Cluster<'_>, at: &mut dyn FnMut(usize) -> Result<()>) -> Result<Vec<Made>> {
        let label = format!("churn={}", self.name);
        let watch = watch(cluster, &["pods", "-l", &label])?;
        let mut pods: BTreeMap<String, State> = BTreeMap::new();
        let (mut made, mut gone) = (0, 0);
        let mut took = Vec::new();
        let mut heard = Instant::now();
        while gone < self.pods {
            let fresh = self.pods.min(made + self.at_once.saturating_sub(pods.len()));
            if fresh > made {
                let names: Vec<String> = (made..fresh).map(|number| format!("{}-{number}", self.name)).collect();
                pods.extend(names.iter().map(|name| (name.clone(), State::Made(None))));
                self.make(cluster, made..fresh)?;
                made = fresh;
            }
            let ready: Vec<String> =
                pods.iter().filter(|(_, state)| **state == State::Ready).map(|(name, _)| name.clone()).collect();
            if !ready.is_empty() {
                let mut args = vec!["delete", "pod", "--wait=false", "--grace-period=0"];
                args.extend(ready.iter().map(String::as_str));
                cluster.kubectl(&args)?;
                pods.extend(ready.into_iter().map(|name| (name, State::Told)));
            }
            let until = Instant::now() + GATHERED;
            loop {
                let news = match watch.news.recv_timeout(until.saturating_duration_since(Instant::now())) {
                    Ok(news) => news,
                    Err(RecvTimeoutError::Timeout) => break,
                    Err(RecvTimeoutError::Disconnected) => bail!("the watch of pods has ended"),
                };
                heard = Instant::now();
                let Some(state) = pods.get_mut(news.name()) else { continue };
                match (*state, news.kind.as_str()) {
                    (_, "DELETED") => {
                        ensure!(*state == State::Told, "{} went by itself: {state:?}", news.name());
                        pods.remove(news.name());
                        gone += 1;
                        at(gone)?;
                    }
                    (State::Made(None), _) => *state = State::Made(Some(news.at)),
                    (State::Made(Some(since)), _) if news.ready() => {
                        let address = news.object["status"]["podIP"].as_str().unwrap_or_default().to_owned();
                        took.push(Made { took: Duration::from_secs_f64((news.at - since).max(0.0)), address });
                        *state = State::Ready;
                    }
                    _ => {}
                }
            }
            ensure!(heard.elapsed() < STUCK, "nothing happens any more: {gone} of {} gone, {pods:?}", self.pods);
        }
        Ok(took)
    }

    fn make(&self, cluster: &Cluster<'_>, numbers: std::ops::Range<usize>) -> Result<()> {
        let pod = |number: usize| {
            let worker = number.checked_rem(self.workers.len()).and_then(|index| self.workers.get(index));
            let worker = worker.map(|worker| worker.name);
            json!({
                "apiVersion": "v1", "kind": "Pod",
                "metadata": { "name": format!("{}-{number}", self.name), "labels": { "churn": self.name } },
                "spec": {
                    "nodeName": worker, "terminationGracePeriodSeconds": 0, "automountServiceAccountToken": false,
                    "containers": [{
                        "name": "main", "image": "localhost/pause:latest", "imagePullPolicy": "Never",
                    }],
                },
            })
        };
        let list = json!({ "apiVersion": "v1", "kind": "List", "items": numbers.map(pod).collect::<Vec<_>>() });
        cluster.create(&list.to_string()).map(drop)
    }
}

/// The addresses that the store has assigned, with what it knows of each: read from etcd, whose blocks have a number for every
/// address that is taken.
pub fn assigned(cluster: &Cluster<'_>) -> Result<BTreeMap<String, String>> {
    let get = ["etcdctl", "get", "--prefix", "/calico/ipam/v2/assignment/", "--print-value-only"];
    let text = cluster.lab.node("master2")?.exec(&get)?;
    let mut assigned = BTreeMap::new();
    for value in text.lines().filter(|line| !line.trim().is_empty()) {
        let block = command::json(value)?;
        let (base, _) = block["cidr"].as_str().and_then(|cidr| cidr.split_once('/')).context("a block without cidr")?;
        let base: std::net::IpAddr = base.parse().context("a block's address")?;
        for (ordinal, taken) in block["allocations"].as_array().into_iter().flatten().enumerate() {
            let Some(index) = taken.as_u64().and_then(|index| usize::try_from(index).ok()) else { continue };
            let address: std::net::IpAddr = match base {
                std::net::IpAddr::V4(base) => {
                    std::net::Ipv4Addr::from_bits(base.to_bits().wrapping_add(u32::try_from(ordinal)?)).into()
                }
                std::net::IpAddr::V6(base) => {
                    std::net::Ipv6Addr::from_bits(base.to_bits().wrapping_add(ordinal as u128)).into()
                }
            };
            assigned.insert(address.to_string(), block["attributes"][index].to_string());
        }
    }
    Ok(assigned)
}

/// The addresses of the pods that the API has, those of the nodes' own network left out, with the pods' names.
pub fn of_pods(cluster: &Cluster<'_>) -> Result<BTreeMap<String, String>> {
    let all = cluster.json(&["get", "pods", "--all-namespaces"])?;
    let mut addresses = BTreeMap::new();
    for pod in all["items"].as_array().into_iter().flatten().filter(|pod| pod["spec"]["hostNetwork"] != true) {
        for ip in pod["status"]["podIPs"].as_array().into_iter().flatten() {
            let ip = ip["ip"].as_str().context("a pod's address")?;
            addresses.insert(ip.to_owned(), pod["metadata"]["name"].to_string());
        }
    }
    Ok(addresses)
}

/// No address is assigned that no pod has, none is a pod's that is not assigned, and every worker finds its IPAM in order.
pub fn nothing_leaked(cluster: &Cluster<'_>) -> Result<usize> {
    let (assigned, pods) = (assigned(cluster)?, of_pods(cluster)?);
    let of = |map: &BTreeMap<String, String>| map.keys().cloned().collect::<BTreeSet<_>>();
    let only = |these: &BTreeMap<String, String>, those: &BTreeMap<String, String>| {
        let only: Vec<_> = of(these).difference(&of(those)).map(|ip| format!("{ip} {}", these[ip])).collect();
        only.join(", ")
    };
    ensure!(
        of(&assigned) == of(&pods),
        "leaked: [{}]; unknown to the store: [{}]",
        only(&assigned, &pods),
        only(&pods, &assigned)
    );
    for worker in members(Role::Worker) {
        let output = cluster.lab.node(worker.name)?.output(&["petiole", "ipam", "check", "-o", "json"])?;
        let said = command::json(&String::from_utf8_lossy(&output.stdout))?;
        ensure!(output.status.success() && said["clean"] == true, "{}: {}", worker.name, said["findings"]);
    }
    Ok(pods.len())
}
