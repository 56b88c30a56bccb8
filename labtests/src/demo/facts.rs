//! What was observed, free of any judgement.

use std::collections::BTreeMap;
use std::net::IpAddr;

/// Everything that was observed of a fabric.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Facts {
    /// The switches' own sessions and tables, by switch.
    pub(crate) switches: BTreeMap<String, Switch>,
    /// Block to owner, as the store has it.
    pub(crate) blocks: BTreeMap<String, String>,
    /// How many next hops spine1's kernel has, by prefix.
    pub(crate) next_hops: BTreeMap<String, usize>,
    /// The pods' addresses, IPv4 and IPv6, or why there is none, by worker.
    pub(crate) pods: BTreeMap<String, Result<[IpAddr; 2], String>>,
    /// Packets to pods.
    pub(crate) probes: Vec<Probe>,
    /// TCP connections to a service, one entry per family.
    pub(crate) services: Vec<Service>,
}

/// A switch, as it describes itself.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Switch {
    /// The states of a neighbour's IPv4 and IPv6 session, by the neighbour's name.
    pub(crate) sessions: BTreeMap<String, [String; 2]>,
    /// The BGP table of both families: prefix to valid paths.
    pub(crate) table: BTreeMap<String, Vec<Path>>,
}

/// A path of a switch's table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Path {
    /// The AS that originated it; None for the switch's own.
    pub(crate) origin: Option<u32>,
    /// The neighbour it came from; empty for the switch's own.
    pub(crate) from: String,
    /// Whether it is the best path or shares the load with it.
    pub(crate) used: bool,
}

/// A ping of 1500 bytes that may not be fragmented, and a trace.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Probe {
    /// The client, or the worker whose pod sends.
    pub(crate) from: String,
    /// The worker whose pod answers.
    pub(crate) to: String,
    /// Index of the family.
    pub(crate) family: usize,
    /// Mean round trip in milliseconds, or what went wrong.
    pub(crate) ping: Result<f64, String>,
    /// Hops to the pod, itself included, or what went wrong.
    pub(crate) hops: Result<u32, String>,
}

/// TCP connections to one address of the service range.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Service {
    /// The address.
    pub(crate) address: String,
    /// Connections that were tried.
    pub(crate) tried: usize,
    /// Who answered how many of them.
    pub(crate) answered: BTreeMap<String, usize>,
    /// What the last failed connection said; empty where none failed.
    pub(crate) complaint: String,
}
