//! A cluster that runs: brought to the point where pods do, and asked by kubectl on the operator's machine.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, ensure};
use serde_json::Value;

use super::runtime;
use crate::fabric::{FAMILIES, Family, LEAVES, Member, Role, Stream, check_owners, members, services};
use crate::wait::eventually;
use crate::{Lab, NodeHandle, command};

/// The plain host with kubectl and the administrator's kubeconfig.
const OPERATOR: &str = "client1";
/// Where that host has the manifests: those of the lab, and those of Petiole.
const MANIFESTS: &str = "/usr/local/lib/manifests";
/// How long each stage may take, on a machine that is busy with something else.
const WITHIN: Duration = Duration::from_secs(180);

/// How far [`Cluster::start`] is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// The API answers at the anycast address, from three hops away.
    Api,
    /// `deploy/kubernetes/base` and `containerlab/kubernetes/manifests` are applied.
    Manifests,
    /// The DaemonSet has a pod on every worker, and all are Ready.
    Agents,
    /// Every worker is Ready.
    Nodes,
    /// The cluster's DNS has its pods.
    Names,
    /// The services are reached through both ingress nodes.
    Services,
}

impl Stage {
    /// For people.
    pub fn words(self) -> &'static str {
        match self {
            Self::Api => "the API answers at https://10.122.255.1:6443",
            Self::Manifests => "the manifests are applied",
            Self::Agents => "Petiole runs on every worker",
            Self::Nodes => "every worker is Ready",
            Self::Names => "the DNS of the cluster runs",
            Self::Services => "services are reached through both ingress nodes",
        }
    }
}

/// The cluster of a lab.
#[derive(Debug)]
pub struct Cluster<'a> {
    /// The lab it is in.
    pub lab: &'a Lab,
    operator: NodeHandle,
}

/// A pod, as the API has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pod {
    /// In the namespace `default`.
    pub name: String,
    /// The worker.
    pub node: String,
    /// IPv4 first.
    pub addresses: Vec<String>,
}

impl<'a> Cluster<'a> {
    /// Of a lab that is up.
    pub fn of(lab: &'a Lab) -> Result<Self> {
        Ok(Self { lab, operator: lab.node(OPERATOR)? })
    }

    /// Waits until the API answers, creates what a cluster begins with, and waits until pods run.
    pub fn start(lab: &'a Lab, progress: &dyn Fn(Stage, Duration)) -> Result<Self> {
        Self::start_with(lab, "", progress)
    }

    /// The same with these lines in `[ipam]` of the configuration that the DaemonSet's agents share.
    pub fn start_with(lab: &'a Lab, ipam: &str, progress: &dyn Fn(Stage, Duration)) -> Result<Self> {
        let begun = Instant::now();
        let cluster = Self::of(lab)?;
        eventually(WITHIN, Stage::Api.words(), || cluster.kubectl(&["get", "--raw", "/readyz"]))?;
        progress(Stage::Api, begun.elapsed());
        let base = cluster.base_with(ipam)?;
        for manifests in [base, format!("{MANIFESTS}/cluster")] {
            // An API that has just begun may not know its own default namespaces yet.
            eventually(WITHIN, &manifests, || cluster.kubectl(&["apply", "-k", &manifests]))?;
        }
        progress(Stage::Manifests, begun.elapsed());
        eventually(WITHIN, Stage::Agents.words(), || cluster.agents_ready())?;
        progress(Stage::Agents, begun.elapsed());
        eventually(WITHIN, Stage::Nodes.words(), || cluster.nodes_ready())?;
        progress(Stage::Nodes, begun.elapsed());
        let rollout = ["rollout", "status", "deployment/coredns", "-n", "kube-system", "--timeout=10s"];
        eventually(WITHIN, Stage::Names.words(), || cluster.kubectl(&rollout))?;
        progress(Stage::Names, begun.elapsed());
        // Without a Node object of its own a kube-proxy waits for one for 30 s.
        eventually(WITHIN, Stage::Services.words(), || cluster.services_announced())?;
        progress(Stage::Services, begun.elapsed());
        Ok(cluster)
    }

    /// The folder with Petiole's manifests, as the repository has them but for these lines: a copy where there are any.
    fn base_with(&self, ipam: &str) -> Result<String> {
        let base = format!("{MANIFESTS}/petiole/base");
        if ipam.is_empty() {
            return Ok(base);
        }
        let text = self.operator.read(&format!("{base}/petiole.toml"))?;
        let section = "[ipam]\n";
        ensure!(text.contains(section), "{base}/petiole.toml has no {section:?}");
        let own = "/run/manifests";
        self.operator.exec(&["cp", "--recursive", &base, own])?;
        self.operator.write(&format!("{own}/petiole.toml"), &text.replace(section, &format!("{section}{ipam}\n")))?;
        Ok(own.to_owned())
    }

    /// `kubectl ARGS` on the operator's machine.
    pub fn kubectl(&self, args: &[&str]) -> Result<String> {
        self.operator.exec(&[&["kubectl", "--request-timeout=10s"], args].concat())
    }

    /// `kubectl ARGS -o json`, read.
    pub fn json(&self, args: &[&str]) -> Result<Value> {
        command::json(&self.kubectl(&[args, &["-o", "json"]].concat())?)
    }

    /// `kubectl apply` of a manifest's text.
    pub fn apply(&self, manifest: &str) -> Result<String> {
        self.feed(&["apply", "-f", "-"], manifest)
    }

    /// `kubectl create` of objects that are not there yet, asking nothing about them.
    pub fn create(&self, manifest: &str) -> Result<String> {
        self.feed(&["create", "--validate=false", "-f", "-"], manifest)
    }

    fn feed(&self, args: &[&str], manifest: &str) -> Result<String> {
        let mut command = self.operator.command(&[&["kubectl", "--request-timeout=30s"], args].concat())?;
        let output = command::feed(&mut command, manifest.as_bytes())?;
        let [out, err] = [&output.stdout, &output.stderr].map(|bytes| String::from_utf8_lossy(bytes).into_owned());
        ensure!(output.status.success(), "kubectl {}: {}", args.join(" "), err.trim());
        Ok(out)
    }

    /// The machine that has kubectl.
    pub fn operator(&self) -> &NodeHandle {
        &self.operator
    }

    /// Whether every worker has its pod of the DaemonSet, Ready.
    pub fn agents_ready(&self) -> Result<()> {
        let status = self.json(&["get", "daemonset", "petiole", "-n", "petiole-system"])?;
        let status = &status["status"];
        let workers = members(Role::Worker).count();
        ensure!(status["numberReady"] == workers && status["updatedNumberScheduled"] == workers, "{status}");
        Ok(())
    }

    /// Whether exactly the workers are nodes, all Ready.
    pub fn nodes_ready(&self) -> Result<()> {
        let nodes = self.json(&["get", "nodes"])?;
        for member in members(Role::Worker) {
            let node = nodes["items"].as_array().into_iter().flatten().find(|n| n["metadata"]["name"] == member.name);
            let node = node.ok_or_else(|| anyhow!("{} has not joined", member.name))?;
            let conditions = node["status"]["conditions"].as_array();
            let ready = conditions.into_iter().flatten().find(|condition| condition["type"] == "Ready");
            let is = ready.is_some_and(|ready| ready["status"] == "True");
            ensure!(is, "{}: {}", member.name, ready.map_or(&Value::Null, |ready| &ready["message"]));
        }
        Ok(())
    }

    /// Whether the leaf of the operator's machine has the ranges from both ingress nodes, and one service answers.
    fn services_announced(&self) -> Result<()> {
        let owners: Vec<&Member> = members(Role::Ingress).collect();
        for leaf in LEAVES {
            for family in FAMILIES {
                check_owners(&self.lab.node(leaf)?, services(family), &owners)?;
            }
        }
        self.operator.exec(&["curl", "-sSk", "--max-time", "2", "https://10.123.0.1/readyz"]).map(drop)
    }

    /// Starts a pod of an image that is there, on one worker, and waits until it is Ready.
    pub fn run(&self, name: &str, node: &str, image: &str, args: &[&str]) -> Result<Pod> {
        self.order(name, node, image, args)?;
        self.ready(name)
    }

    /// Waits until a pod is Ready.
    pub fn ready(&self, name: &str) -> Result<Pod> {
        eventually(WITHIN, &format!("pod {name} is Ready"), || self.pod(name))
    }

    /// Has a pod of an image that is there started, on one worker, and does not wait for it.
    pub fn order(&self, name: &str, node: &str, image: &str, args: &[&str]) -> Result<()> {
        let manifest = serde_json::json!({
            "apiVersion": "v1", "kind": "Pod",
            "metadata": { "name": name, "labels": { "app": name } },
            "spec": {
                "nodeName": node, "terminationGracePeriodSeconds": 0,
                "containers": [{
                    "name": "main", "image": format!("localhost/{image}:latest"), "imagePullPolicy": "Never",
                    "args": args,
                }],
            },
        });
        // The controller that makes the namespace's service account may be slower than we are.
        eventually(WITHIN, "the pod is created", || self.apply(&manifest.to_string())).map(drop)
    }

    /// A pod that is Ready.
    pub fn pod(&self, name: &str) -> Result<Pod> {
        let pod = self.json(&["get", "pod", name])?;
        let status = &pod["status"];
        let conditions = status["conditions"].as_array().into_iter().flatten();
        let is = conditions.into_iter().any(|c| c["type"] == "Ready" && c["status"] == "True");
        ensure!(is, "{}: {}", status["phase"], status["containerStatuses"][0]["state"]);
        let addresses = status["podIPs"].as_array().into_iter().flatten();
        Ok(Pod {
            name: name.to_owned(),
            node: pod["spec"]["nodeName"].as_str().unwrap_or_default().to_owned(),
            addresses: addresses.filter_map(|ip| ip["ip"].as_str().map(str::to_owned)).collect(),
        })
    }

    /// Runs a command of a pod's image in it.
    pub fn exec(&self, pod: &Pod, argv: &[&str]) -> Result<String> {
        self.kubectl(&[&["exec", pod.name.as_str(), "--"], argv].concat())
    }

    /// The addresses of a Service, IPv4 first.
    pub fn service(&self, name: &str) -> Result<Vec<String>> {
        let service = self.json(&["get", "service", name])?;
        let addresses = service["spec"]["clusterIPs"].as_array().into_iter().flatten();
        Ok(addresses.filter_map(|address| address.as_str().map(str::to_owned)).collect())
    }

    /// Sends an IP packet of this many octets that must not be fragmented, out of a pod; it has to be answered. The node's
    /// own `ping` goes into the pod's network: the image's cannot forbid fragments.
    pub fn ping(&self, pod: &Pod, address: &str, size: u32) -> Result<()> {
        let (node, pid) = (self.lab.node(&pod.node)?, self.process(pod)?);
        node.ping_by(&["nsenter", "--net", "--target", &pid], address, size, 1).with_context(|| pod.name.clone())
    }

    /// Pings that go on out of a pod.
    pub fn stream(&self, pod: &Pod, address: &str) -> Result<Stream> {
        let (node, pid) = (self.lab.node(&pod.node)?, self.process(pod)?);
        let family = Family::of(address);
        let source = pod.addresses.iter().find(|own| Family::of(own) == family).context("no such family")?;
        Stream::start_by(&node, &["nsenter", "--net", "--target", &pid], source, address)
    }

    /// The process of a pod's container, as its node numbers it.
    fn process(&self, pod: &Pod) -> Result<String> {
        let status = self.json(&["get", "pod", &pod.name])?;
        let id = status["status"]["containerStatuses"][0]["containerID"].as_str().unwrap_or_default();
        let id = id.strip_prefix("containerd://").with_context(|| format!("{}: container {id:?}", pod.name))?;
        let task = runtime::tasks(&self.lab.node(&pod.node)?)?.remove(id);
        task.with_context(|| format!("{}: {}: no task {id}", pod.node, pod.name))
    }
}
