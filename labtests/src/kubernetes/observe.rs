//! What a cluster on the fabric owes its users, each observed for real: by the demo before one's eyes, by a test with the same
//! functions.

mod change;
mod reach;

use std::fmt;

use anyhow::{Context, Result, ensure};

pub use self::change::rolled_out;
use super::cluster::{Cluster, Pod};
use crate::demo::parallel::at_once;
use crate::demo::report::pod_prefix;
use crate::fabric::{Role, Stream, members};
use crate::{Lab, NodeHandle, fabric};

/// One thing that a user would try.
#[derive(Clone, Copy)]
pub struct Observation {
    /// What is owed.
    pub name: &'static str,
    see: fn(&Workload<'_>) -> Result<String>,
}

impl fmt::Debug for Observation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name)
    }
}

impl Observation {
    /// Sees it, and returns the figures.
    pub fn see(&self, workload: &Workload<'_>) -> Result<String> {
        (self.see)(workload).context(self.name)
    }
}

/// Everything, in an order in which each leaves the workload as the next one needs it: the last two switch machines off.
pub const ALL: [Observation; 10] = [
    Observation { name: "pods reach each other across racks", see: reach::pods_reach_each_other },
    Observation { name: "client1, three hops away, reaches pods", see: reach::the_client_reaches_pods },
    Observation { name: "client1 opens a Service through ingress", see: reach::the_client_opens_a_service },
    Observation { name: "a pod reaches kafka1 through its Service", see: reach::a_pod_reaches_kafka },
    Observation { name: "kubectl exec and logs, and names", see: reach::exec_and_logs },
    Observation { name: "switches have blocks only", see: reach::switches_have_blocks_only },
    Observation { name: "a Deployment of 60 pods comes and goes", see: change::a_deployment_comes_and_goes },
    Observation { name: "the DaemonSet is rolled over under traffic", see: change::the_agents_are_rolled_over },
    Observation { name: "leaf4 is powered off", see: change::a_leaf_is_powered_off },
    Observation { name: "master1 is powered off", see: change::a_master_is_powered_off },
];

/// The cluster with what is observed in it: a server on each worker, and a shell on worker2.
#[derive(Debug)]
pub struct Workload<'a> {
    /// Where it plays.
    pub cluster: Cluster<'a>,
    /// One per worker, in their order; each answers HTTP with its name.
    servers: Vec<Pod>,
    shell: Pod,
    client: NodeHandle,
}

/// Where agnhost's `netexec` answers HTTP.
const HTTP: &str = "8080";
/// What client1 sends from, IPv4 and IPv6.
const CLIENT: [&str; 2] = ["10.120.201.10", "fd00:120:201:1::10"];

impl<'a> Workload<'a> {
    /// Starts the pods, and the Service in front of the last server.
    pub fn start(cluster: Cluster<'a>) -> Result<Self> {
        let workers: Vec<&str> = members(Role::Worker).map(|worker| worker.name).collect();
        let started = at_once(workers, |worker| cluster.run(&server_on(worker), worker, "agnhost", &["netexec"]));
        let servers = started.into_iter().collect::<Result<Vec<_>>>()?;
        let shell = cluster.run("shell", "worker2", "box", &["sh", "-c", "echo a pod says; exec sleep 1000000"])?;
        let last = servers.last().context("no worker")?;
        let dual = r#"{"spec":{"ipFamilyPolicy":"RequireDualStack","ipFamilies":["IPv4","IPv6"]}}"#;
        cluster.kubectl(&["expose", "pod", &last.name, &format!("--port={HTTP}"), "--overrides", dual])?;
        let client = cluster.lab.node("client1")?;
        Ok(Self { cluster, servers, shell, client })
    }

    fn lab(&self) -> &'a Lab {
        self.cluster.lab
    }

    fn server(&self, worker: &str) -> Result<&Pod> {
        self.servers.iter().find(|pod| pod.node == worker).with_context(|| format!("no pod on {worker}"))
    }

    /// Pings from client1 to a worker's server, in both families, that go on until they are ended.
    fn streams(&self, worker: &str) -> Result<Vec<Stream>> {
        let pod = self.server(worker)?;
        CLIENT.iter().zip(&pod.addresses).map(|(from, to)| Stream::start(&self.client, from, to)).collect()
    }
}

fn server_on(worker: &str) -> String {
    format!("server-{worker}")
}

/// An address as a URL has it.
fn host(address: &str) -> String {
    if address.contains(':') { format!("[{address}]") } else { address.to_owned() }
}

/// `agnhost netexec` says which pod answered.
fn ask(client: &NodeHandle, address: &str) -> Result<String> {
    let url = format!("http://{}:{HTTP}/hostname", host(address));
    client.exec(&["curl", "--silent", "--show-error", "--fail", "--globoff", "--max-time", "3", &url])
}

/// No switch that runs has anything of the pods' pools but whole blocks. Returns how many the poorest has.
pub fn only_blocks(lab: &Lab) -> Result<usize> {
    let names = fabric::LEAVES.into_iter().chain(fabric::SPINES).collect();
    let found = at_once(names, |name| blocks_of(&lab.node(name)?));
    let found = found.into_iter().collect::<Result<Vec<_>>>()?;
    Ok(found.into_iter().flatten().min().unwrap_or(0))
}

/// How many blocks a switch has; `None` where it is powered off.
fn blocks_of(switch: &NodeHandle) -> Result<Option<usize>> {
    if switch.pid().is_none() {
        return Ok(None);
    }
    let mut found = 0;
    for family in ["ipv4", "ipv6"] {
        for prefix in fabric::prefixes(switch, family)? {
            let Some((length, block)) = pod_prefix(&prefix) else { continue };
            ensure!(length == block, "{} has {prefix}", switch.name());
            found += 1;
        }
    }
    Ok(Some(found))
}
