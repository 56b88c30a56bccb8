//! The ranges that the Node object gives this node (`spec.podCIDRs`), where they take the place of blocks of the store's pools:
//! each is announced as it is, and the blocks that pods' addresses come from lie inside, in a store of this node alone.

use std::collections::BTreeSet;

use petiole_config::{BlockSource, KubernetesSettings, Role};
use petiole_prefix::Prefix;

use super::clip;
use crate::node::Node;

/// What the Node object names.
#[derive(Debug, Default)]
pub(crate) struct Ranges {
    named: BTreeSet<Prefix>,
    /// The object was seen in this life.
    is_heard: bool,
    /// What it names and nobody can read.
    unread: Vec<String>,
}

impl Ranges {
    /// An object that names none takes nothing away: one that the kubelet made anew is given its ranges a moment later. One that
    /// names others does, at once: what it named before may be another node's by now.
    pub(super) fn handle(&mut self, found: &[String]) {
        self.is_heard = true;
        let (read, unread): (Vec<_>, Vec<_>) =
            found.iter().map(|text| (text, text.parse())).partition(|(_, it)| it.is_ok());
        self.unread = unread.into_iter().map(|(text, _)| clip(text)).collect();
        let read: BTreeSet<Prefix> = read.into_iter().filter_map(|(_, it)| it.ok()).collect();
        if !read.is_empty() {
            self.named = read;
        }
    }

    /// As they were named last.
    pub(crate) const fn named(&self) -> &BTreeSet<Prefix> {
        &self.named
    }
}

impl Node {
    /// What this node may announce for its pods: its blocks, or the ranges that they come from.
    pub(crate) fn entitled(&self) -> BTreeSet<Prefix> {
        match self.range_settings() {
            None => self.ipam.blocks().keys().copied().collect(),
            Some(_) => self.kubernetes.ranges.named.clone(),
        }
    }

    /// The ranges of an earlier life in this boot, until the API has spoken.
    pub(crate) fn resume_ranges(&mut self, ranges: BTreeSet<Prefix>) {
        if self.range_settings().is_some() {
            self.kubernetes.ranges.named = ranges;
            self.use_ranges();
        }
    }

    pub(super) fn use_ranges(&mut self) {
        if self.range_settings().is_some() {
            self.ipam.set_ranges(&self.kubernetes.ranges.named, self.now.mono, self.now.wall);
        }
    }

    /// Whether it is known which ranges are this node's, as far as that is for the API to say.
    pub(crate) fn is_told_of_ranges(&self) -> bool {
        let ranges = &self.kubernetes.ranges;
        self.range_settings().is_none() || ranges.is_heard || !ranges.named.is_empty()
    }

    /// Why no pod gets an address for want of a range.
    pub(crate) fn range_refusal(&self) -> Option<String> {
        let KubernetesSettings { node, .. } = self.range_settings()?;
        let ranges = &self.kubernetes.ranges;
        if !ranges.named.is_empty() {
            return None;
        }
        Some(if ranges.is_heard {
            format!(
                "the Node object {node} names no range for pods (spec.podCIDRs): run kube-controller-manager with --allocate-node-cidrs=true and \
                 --cluster-cidr, or take blocks from a store ([ipam] source = \"store\")"
            )
        } else {
            format!(
                "the Kubernetes API has not said yet which ranges are this node's (spec.podCIDRs of the Node object {node})"
            )
        })
    }

    pub(super) fn range_problems(&self) -> Vec<String> {
        let Some(KubernetesSettings { node, .. }) = self.range_settings() else { return Vec::new() };
        let Ranges { named, is_heard, unread } = &self.kubernetes.ranges;
        let mut problems: Vec<String> = self.range_refusal().filter(|_| *is_heard).into_iter().collect();
        for text in unread {
            problems.push(format!(
                "spec.podCIDRs of the Node object {node} names {text:?}, which is no range and is left out: see what gave it to the node"
            ));
        }
        let outside = self.ipam.blocks().values().filter(|block| {
            block.used > 0 && !named.is_empty() && !named.iter().any(|range| range.contains(&block.cidr))
        });
        for block in outside {
            problems.push(format!(
                "{} address(es) of block {} are held here, and the Node object {node} does not name that range any more, so that nobody is \
                 told of it: delete the pods that have them, and they start again with others",
                block.used, block.cidr
            ));
        }
        problems
    }

    /// `[kubernetes]`, where it is for the Node object to say the ranges.
    fn range_settings(&self) -> Option<&KubernetesSettings> {
        let is_asked =
            self.settings.ipam.source == BlockSource::Node && self.settings.node.roles.contains(&Role::Worker);
        self.settings.kubernetes.as_ref().filter(|_| is_asked)
    }
}
