//! What the reference fabric shows when all is well, from its address plan.

/// Both families, in the order of every pair of this module.
pub(crate) const FAMILIES: [&str; 2] = ["ipv4", "ipv6"];
/// The six switches, in the order of the table's columns.
pub(crate) const SWITCHES: [&str; 6] = ["spine1", "spine2", "leaf1", "leaf2", "leaf3", "leaf4"];
/// The nodes that own a pod block.
pub(crate) const WORKERS: [&str; 4] = ["worker1", "worker2", "worker3", "worker4"];
/// The plain host that asks for everything.
pub(crate) const CLIENT: &str = "client1";
/// The anycast address of the masters.
pub(crate) const ANYCAST: [&str; 2] = ["10.122.255.1/32", "fd00:122:ffff::1/128"];
/// The service range of the ingress nodes.
pub(crate) const SERVICES: [&str; 2] = ["10.123.0.0/17", "fd00:123::/112"];
/// One service: any address of the range does.
pub(crate) const SERVICE: [&str; 2] = ["10.123.79.211", "fd00:123::4fd3"];
/// The length of a pod block.
pub(crate) const BLOCK_LENGTH: [u8; 2] = [26, 122];

/// A node with an agent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Agent {
    pub(crate) name: &'static str,
    /// Its number, from which its AS and addresses follow.
    pub(crate) number: u32,
    /// The leaves it has an uplink to, by number.
    pub(crate) racks: &'static [usize],
}

const fn agent(name: &'static str, number: u32, racks: &'static [usize]) -> Agent {
    Agent { name, number, racks }
}

/// All nine, in the order in which they are shown.
pub(crate) const AGENTS: [Agent; 9] = [
    agent("master1", 1, &[1]),
    agent("master2", 2, &[2]),
    agent("master3", 3, &[3]),
    agent("ingress1", 4, &[3]),
    agent("ingress2", 5, &[4]),
    agent("worker1", 11, &[1]),
    agent("worker2", 12, &[2]),
    agent("worker3", 13, &[3]),
    agent("worker4", 14, &[4, 3]),
];

impl Agent {
    /// Its own AS.
    pub(crate) fn asn(self) -> u32 {
        4_200_000_000 + self.number
    }

    /// Its stable addresses.
    pub(crate) fn addresses(self) -> [String; 2] {
        [format!("10.122.0.{}/32", self.number), format!("fd00:122::{}/128", self.number)]
    }

    pub(crate) fn is_master(self) -> bool {
        self.name.starts_with("master")
    }

    pub(crate) fn is_ingress(self) -> bool {
        self.name.starts_with("ingress")
    }

    pub(crate) fn is_worker(self) -> bool {
        self.name.starts_with("worker")
    }
}

/// A prefix that several nodes announce.
#[derive(Debug, Clone)]
pub(crate) struct Shared {
    pub(crate) prefixes: [&'static str; 2],
    pub(crate) kind: &'static str,
    pub(crate) origins: Vec<Agent>,
}

/// Both of them.
pub(crate) fn shared() -> [Shared; 2] {
    let (masters, ingress) = AGENTS.into_iter().filter(|agent| !agent.is_worker()).partition(|agent| agent.is_master());
    [
        Shared { prefixes: ANYCAST, kind: "anycast", origins: masters },
        Shared { prefixes: SERVICES, kind: "service-range", origins: ingress },
    ]
}

/// The agent of this name.
pub(crate) fn named(name: &str) -> Option<Agent> {
    AGENTS.into_iter().find(|agent| agent.name == name)
}

/// The sessions a switch has: its neighbours by name.
pub(crate) fn neighbours(switch: &str) -> Vec<&'static str> {
    let Some(rack) = rack_of(switch) else { return SWITCHES[2..].to_vec() };
    let nodes = AGENTS.into_iter().filter(|agent| agent.racks.contains(&rack)).map(|agent| agent.name);
    SWITCHES[..2].iter().copied().chain(nodes).collect()
}

/// A leaf's number.
pub(crate) fn rack_of(switch: &str) -> Option<usize> {
    switch.strip_prefix("leaf")?.parse().ok()
}

/// How many hops a trace shows from `from` (the client, or the pod of a worker) to the pod of `to`: the worker it comes
/// from, the switches, the worker of the pod, the pod itself. Racks that share a leaf are one switch apart, others three.
pub(crate) fn hops(from: &str, to: &str) -> u32 {
    let racks = |name: &str| named(name).map_or(&[1][..], |agent| agent.racks);
    let near = racks(from).iter().any(|rack| racks(to).contains(rack));
    u32::from(from != CLIENT) + if near { 1 } else { 3 } + 2
}
