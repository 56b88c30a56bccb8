//! What the node wants done.

use std::collections::BTreeMap;
use std::time::Duration;

use petiole_bfd::{SessionConfig, SessionId};
use petiole_config::HealthCheck;
use petiole_dataplane::Plan;
use petiole_prefix::Family;
use petiole_store::Txn;
use petiole_store::watch::WatchAction;
use serde::{Deserialize, Serialize};

use crate::event::Event;
use crate::forwarding::Wanted;
use crate::input::{EffectId, GateId, QueryId};
use crate::kubernetes::KubernetesAction;
use crate::neighbour::DiscoveryAction;
use crate::pods::{CniId, CniReply, Endpoint};
use crate::saved::Saved;
use crate::view::Answer;

/// One thing to do, in order. A driver carries it out without deciding anything.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum Effect {
    /// List or watch a part of the store.
    Store(WatchAction),
    /// Run a transaction; comes back as [`Done::Txn`](crate::Done::Txn).
    Txn {
        /// Comes back with the outcome.
        id: EffectId,
        /// What to run. Never retried by the driver: an unknown outcome is the node's to resolve.
        txn: Txn,
    },
    /// Dial, send or close.
    Bgp(petiole_bgp::Action),
    /// Have these BFD sessions and no others.
    Bfd(#[serde(with = "crate::detection::pairs")] BTreeMap<SessionId, SessionConfig>),
    /// Listen on an unnumbered link, or send a solicitation or an advertisement.
    Discovery(DiscoveryAction),
    /// Change the kernel; comes back as [`Input::Applied`](crate::Input::Applied).
    Apply(Plan),
    /// Dump links, addresses and routes.
    Dump,
    /// Run a health probe once; comes back as [`Input::Probed`](crate::Input::Probed), at the latest after `timeout`.
    Probe {
        /// Whose.
        gate: GateId,
        /// What to ask.
        check: HealthCheck,
        /// How long it may take.
        timeout: Duration,
    },
    /// Write the last known good state, atomically; comes back as [`Done::Saved`](crate::Done::Saved).
    Save {
        /// Comes back with the outcome.
        id: EffectId,
        /// What to write.
        saved: Saved,
    },
    /// Begin with the pair of interfaces of an endpoint whose addresses are still asked for: all of it that needs none. Does not come
    /// back; [`Effect::Wire`] of the same name goes on with it and tells what failed, [`Effect::Unwire`] takes it away.
    Prepare {
        /// The request that the namespace came with.
        cni: CniId,
        /// What to make, without addresses.
        endpoint: Endpoint,
        /// The families that it will have an address of.
        families: Vec<Family>,
    },
    /// Make the pair of interfaces of an endpoint, and everything inside its namespace; comes back as
    /// [`Done::Pod`](crate::Done::Pod). A failure leaves nothing behind. An interface of the same name that is there already is left
    /// from an agent that died, and goes first.
    Wire {
        /// Comes back with the outcome.
        id: EffectId,
        /// The request that the namespace came with.
        cni: CniId,
        /// What to make.
        endpoint: Endpoint,
    },
    /// Let the kernel forward for pods: read and plan with [`forwarding::plan`](crate::forwarding::plan), write; comes back as
    /// [`Input::Forwarding`](crate::Input::Forwarding).
    Forward(Wanted),
    /// Look whether an endpoint is as [`Effect::Wire`] made it, in the namespace that came with the request; comes back as
    /// [`Done::Pod`](crate::Done::Pod).
    Look {
        /// Comes back with the outcome.
        id: EffectId,
        /// The request that the namespace came with.
        cni: CniId,
        /// What should be there.
        endpoint: Endpoint,
    },
    /// Delete a pair of interfaces; one that is not there is no error. Comes back as [`Done::Pod`](crate::Done::Pod).
    Unwire {
        /// Comes back with the outcome.
        id: EffectId,
        /// The name of the host's end.
        host: String,
    },
    /// Write the record of an endpoint, named by its `host`, atomically; comes back as [`Done::Pod`](crate::Done::Pod).
    Record {
        /// Comes back with the outcome.
        id: EffectId,
        /// What to write.
        endpoint: Endpoint,
    },
    /// Delete a record; one that is not there is no error. Comes back as [`Done::Pod`](crate::Done::Pod).
    Forget {
        /// Comes back with the outcome.
        id: EffectId,
        /// The name of the host's end.
        host: String,
    },
    /// Answer the CNI plugin; the namespace that came with the request can be closed.
    CniReply {
        /// Whose request.
        id: CniId,
        /// The answer.
        result: CniReply,
    },
    /// Ask the Kubernetes API.
    Kubernetes(KubernetesAction),
    /// Answer an operator.
    Reply {
        /// Whose question.
        id: QueryId,
        /// The answer; `Err` in words, ending with the next step.
        answer: Result<Answer, String>,
    },
    /// End the agent, once everything before is done and the sessions' last words are written.
    Exit,
    /// Say it in the log.
    Log(Event),
}
