//! Ranges that are not for pods: those that Services get their addresses from, as the API says, and the subnets of uplinks.

use std::collections::{BTreeMap, BTreeSet};

use petiole_dataplane::LinkIndex;
use petiole_prefix::Prefix;

use super::{Away, clip};
use crate::node::Node;

/// What the API said of them.
#[derive(Debug, Default)]
pub(super) struct Services {
    ranges: BTreeSet<Prefix>,
    /// Why it says nothing.
    refused: Option<String>,
}

impl Services {
    /// What cannot be read is nothing that a pool could overlap.
    pub(super) fn handle(&mut self, found: Result<Vec<String>, Away>) {
        self.refused = None;
        match found {
            Ok(found) => self.ranges = found.iter().filter_map(|text| text.parse().ok()).collect(),
            Err(Away::Forbidden(why)) => self.refused = Some(why),
            // Said elsewhere, or an API that knows of no such objects yet.
            Err(_) => {}
        }
    }

    pub(super) fn problem(&self) -> Option<String> {
        let why = self.refused.as_ref()?;
        Some(format!(
            "nobody can tell whether a pool overlaps the service range, for the Kubernetes API server forbids (403): {}; give this account the \
             rights of deploy/kubernetes/base/clusterrole.yaml",
            clip(why)
        ))
    }
}

impl Node {
    /// Keeps pods out of what is others'.
    pub(crate) fn use_taken(&mut self) {
        let links: BTreeMap<LinkIndex, &str> =
            self.uplinks.values().flatten().map(|u| (u.link, u.name.as_str())).collect();
        let subnets = self.topology.connected().filter_map(|(subnet, link)| {
            let name = links.get(&link)?;
            Some((subnet, format!("the subnet of the uplink {name}")))
        });
        let services = self.kubernetes.services.ranges.iter();
        let services = services.map(|range| (*range, "the service range of the Kubernetes API".to_owned()));
        let taken = subnets.chain(services).collect();
        self.ipam.set_taken(taken, self.now.mono, self.now.wall);
    }
}
