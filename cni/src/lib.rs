//! CNI types and RPC frames: what the container runtime says to the plugin, and what the plugin says to the agent.
//!
//! The plugin is a messenger. It turns the runtime's environment and configuration into one [`rpc::Request`], hands it to
//! the agent over a unix socket together with the open network namespace, and turns the one [`rpc::Response`] into what
//! the CNI specification asks for. The agent does everything else.

pub mod address;
pub mod ask;
pub mod call;
pub mod conf;
mod id;
pub mod rpc;
pub mod socket;
pub mod spec;

pub use address::{Cidr, Mac};
