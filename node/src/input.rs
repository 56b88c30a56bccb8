//! What the world tells the node.

use std::time::Duration;

use petiole_dataplane::{KernelEvent, PlanId, StepResult};
use petiole_store::watch::WatchEvent;
use petiole_store::{StoreError, TxnOutcome};
use serde::{Deserialize, Serialize};

use crate::detection::BfdReport;
use crate::forwarding::Outcome;
use crate::kubernetes::KubernetesEvent;
use crate::neighbour::DiscoveryEvent;
use crate::pods::{CniFailure, CniId, CniRequest, FoundEndpoints};
use crate::saved::Saved;
use crate::view::Query;

/// Wall time is for data that carries dates and for people; never a decision's ground.
pub use petiole_store::UnixNanos;

/// The time of one [`Node::handle`](crate::Node::handle): both clocks are read once per turn of the agent's loop.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Now {
    /// Since the agent's start; never goes back.
    pub mono: Duration,
    /// The wall clock; may jump.
    pub wall: UnixNanos,
}

/// Identifies an [`Effect`](crate::Effect) whose outcome comes back.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
pub struct EffectId(pub u64);

/// Identifies a question of an operator; chosen by the driver that took it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
pub struct QueryId(pub u64);

/// Index of a health gate: the position of its `[[announce]]` in the settings.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
pub struct GateId(pub u32);

/// Everything that can happen to a node.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum Input {
    /// The first input: what the agent found on disk.
    Started {
        /// `/proc/sys/kernel/random/boot_id`: saved blocks count only within one boot.
        boot_id: String,
        /// The last known good state; `None` where there is none, or it could not be read (the driver logs why).
        saved: Option<Box<Saved>>,
    },
    /// Lists, changes and failures of the store's watch.
    Store(WatchEvent),
    /// A BGP connection came, went, or brought bytes.
    Bgp(petiole_bgp::Event),
    /// BFD sessions changed, or their counters.
    Bfd(BfdReport),
    /// A router was heard on an unnumbered link, or the link's settings were looked at.
    Discovery(DiscoveryEvent),
    /// Links, addresses and routes of the kernel.
    Kernel(Vec<KernelEvent>),
    /// A health probe ended.
    Probed {
        /// Whose probe.
        gate: GateId,
        /// `Err` says in words what was wrong.
        result: Result<(), String>,
    },
    /// An operator asks.
    Query {
        /// Comes back with the answer.
        id: QueryId,
        /// The question.
        query: Query,
    },
    /// An effect was carried out, or failed.
    Done {
        /// Which.
        id: EffectId,
        /// Its outcome.
        result: Done,
    },
    /// A plan was carried out.
    Applied {
        /// Which.
        id: PlanId,
        /// One result a step.
        results: Vec<StepResult>,
    },
    /// The second input: the records of endpoints that the agent found on disk. Nothing of pods is cleaned up before.
    Endpoints(FoundEndpoints),
    /// The CNI plugin asks.
    Cni {
        /// Comes back with the answer.
        id: CniId,
        /// What it wants.
        request: CniRequest,
    },
    /// The Kubernetes API spoke of this node, or is away.
    Kubernetes(KubernetesEvent),
    /// Settings of the kernel that [`Effect::Forward`](crate::Effect::Forward) had to change.
    Forwarding(Vec<Outcome>),
    /// The driver met trouble that no effect asked about, such as a listening address in use; empty words clear it.
    Trouble {
        /// Which part of the agent: `listen`, `api`, `metrics`, `state`.
        part: String,
        /// In words, with what to do; empty when it is over.
        what: String,
    },
}

/// The outcome of an effect.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum Done {
    /// Of [`Effect::Txn`](crate::Effect::Txn).
    Txn(Result<TxnOutcome, StoreError>),
    /// Of [`Effect::Save`](crate::Effect::Save): `Err` in words.
    Saved(Result<(), String>),
    /// Of [`Effect::Wire`](crate::Effect::Wire), `Unwire`, `Look`, `Record` and `Forget`.
    Pod(Result<(), CniFailure>),
}
