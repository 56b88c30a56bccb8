//! The agents' resident memory on the reference fabric.

use std::time::Duration;

use anyhow::{Context, Result};
use serde::Serialize;

use crate::{Binaries, fabric, procs};

/// One node's agent.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Resident {
    pub(crate) name: String,
    pub(crate) bytes: u64,
}

/// Brings the fabric up, waits until every session is established, reads the memory of every agent.
pub(crate) fn in_the_fabric(binaries: &Binaries) -> Result<Vec<Resident>> {
    let lab = fabric::clos_with("bench", binaries)?;
    fabric::wait_switches(&lab, Duration::from_secs(60))?;
    fabric::wait_agents(&lab, &fabric::AGENTS, Duration::from_secs(60))?;
    let agents = fabric::AGENTS.into_iter().map(|name| {
        let pid = lab.node(name)?.service("agent").with_context(|| format!("{name}: no agent"))?;
        let bytes = procs::resident(pid).with_context(|| format!("{name}: its agent is gone"))?;
        Ok(Resident { name: name.to_owned(), bytes })
    });
    let agents: Result<Vec<Resident>> = agents.collect();
    lab.down()?;
    agents
}
