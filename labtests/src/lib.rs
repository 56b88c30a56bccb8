//! The lab: a containerlab topology in network namespaces, and what tests need to drive it.
//!
//! ```no_run
//! use std::time::Duration;
//! use petiole_labtests::{Binaries, Lab, Topology, check, eventually};
//!
//! # fn main() -> anyhow::Result<()> {
//! let topology = Topology::load("containerlab/clos.clab.yml".as_ref(), Some("mine"), &|name| std::env::var(name).ok())?;
//! let lab = Lab::up(&topology, &Binaries::find()?)?;
//! let leaf1 = lab.node("leaf1")?;
//! eventually(Duration::from_secs(30), "leaf1 knows a pod block", || {
//!     let table = leaf1.vtysh_json("show bgp ipv4 unicast json").map_err(|error| error.to_string())?;
//!     check(table["routes"].get("10.123.128.0/26").is_some(), &table["routes"])
//! })?;
//! # Ok(())
//! # }
//! ```

pub mod arena;
pub mod bench;
mod cgroups;
pub mod churn;
mod command;
pub mod connections;
pub mod datagrams;
pub mod demo;
pub mod fabric;
pub mod interop;
pub mod kubernetes;
mod lab;
pub mod leaf;
pub mod ledger;
mod netns;
mod node;
pub mod plugin;
pub mod procs;
pub mod runtimes;
pub mod sandbox;
pub mod serve;
pub mod state;
pub mod systemd;
pub mod topology;
mod wait;

pub use command::Spawned;
pub use lab::{Binaries, Lab, Progress, down, existing, sweep};
pub use netns::Netns;
pub use node::NodeHandle;
pub use rustix::process::Signal;
pub use topology::Topology;
pub use wait::{check, eventually, throughout};
