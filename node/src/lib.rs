//! The brain of one node: one pure state machine.
//!
//! [`Node`] joins what the store says, what the kernel holds, what the leaves announce and what the operator asked for. The
//! agent calls, in a loop: [`Node::handle`] for every input, [`Node::handle_timeout`] when [`Node::poll_timeout`] is due, and
//! after each of them [`Node::poll_effect`] until it is empty.

#![deny(clippy::disallowed_methods, clippy::disallowed_types)]

mod announce;
mod answer;

pub mod conf_dir;
pub mod desired;
mod detection;
pub mod effect;
pub mod event;
pub mod fib;
mod filters;
pub mod forwarding;
pub mod gate;
pub mod health;
pub mod input;
mod keep;
pub mod kubernetes;
mod metrics;
pub mod neighbour;
mod node;
mod operator;
pub mod pods;
mod policy;
mod probes;
mod problems;
pub mod saved;
mod seed;
mod sessions;
mod status;
mod survey;
mod trace;
pub mod uplink;
pub mod view;
mod why;

pub use detection::BfdReport;
pub use effect::Effect;
pub use event::{Event, Level};
pub use input::{Done, EffectId, GateId, Input, Now, QueryId, UnixNanos};
pub use node::{Node, TimerReason};
pub use operator::{Drain, Orders};
pub use saved::Saved;

// The agent sees the pure crates through the node, which re-exports what inputs and effects carry.
pub use petiole_bfd as bfd;
pub use petiole_bgp as bgp;
pub use petiole_config as config;
pub use petiole_dataplane as dataplane;
pub use petiole_ipam as ipam;
pub use petiole_prefix as prefix;
pub use petiole_store as store;
