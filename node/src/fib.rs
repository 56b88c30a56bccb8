//! From the Loc-RIB to the kernel: which learned routes are installed, and why the others are not.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;

use petiole_bgp::{NextHop, PeerId};
use petiole_dataplane::{Hop, LearnedRoute, LinkIndex};
use petiole_prefix::{Family, Prefix};

/// What the verdict on a learned route depends on, beside the route. Small; compared as a whole to know when to judge anew.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Terrain {
    /// Uplinks that are up, by leaf: the interface, and the subnets that are connected on it.
    pub uplinks: BTreeMap<PeerId, (LinkIndex, Vec<Prefix>)>,
    /// What is local to this node: blocks, configured announcements, addresses and prefixes on `lo`.
    pub local: BTreeSet<Prefix>,
    /// Blocks of this node, into which nobody may route but for single, borrowed addresses.
    pub blocks: Vec<Prefix>,
    /// Subnets that are connected on interfaces that are up.
    pub connected: BTreeSet<Prefix>,
    /// Both ends of the sessions: the leaves' addresses, and this node's on its uplinks.
    pub ends: BTreeSet<IpAddr>,
    /// `[bgp] accept_default`.
    pub accept_default: bool,
    /// Preferred source of IPv4 routes, if this node has it.
    pub source_v4: Option<IpAddr>,
    /// Preferred source of IPv6 routes, if this node has it.
    pub source_v6: Option<IpAddr>,
}

/// What becomes of a learned route.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Verdict {
    /// It goes into the kernel.
    Install(LearnedRoute),
    /// It does not.
    Refuse(Refusal),
}

/// Why a learned route is not installed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Refusal {
    /// The prefix is this node's own.
    Local,
    /// It would take a part of a block of this node away.
    InsideOwnBlock(Prefix),
    /// The subnet is connected.
    Connected,
    /// It would take an end of a link, or its own next hop, out of the subnet of an uplink.
    InsideUplink(Prefix),
    /// A default route, without `accept_default`.
    Default,
    /// No next hop is on the uplink of the leaf that sent it, or that uplink is down.
    NoUplink(Vec<IpAddr>),
}

impl Refusal {
    /// The stable code.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Local => "local_beats_learned",
            Self::InsideOwnBlock(_) => "inside_own_block",
            Self::Connected => "connected",
            Self::InsideUplink(_) => "inside_uplink",
            Self::Default => "default_refused",
            Self::NoUplink(_) => "next_hop_not_on_uplink",
        }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Local => f.write_str("it is local to this node, and local beats learned"),
            Self::InsideOwnBlock(block) => {
                write!(f, "it would take a part of this node's own block {block}; only single borrowed addresses may")
            }
            Self::Connected => f.write_str("the subnet is connected to this node"),
            Self::InsideUplink(net) => {
                write!(f, "it would take an end of the uplink subnet {net} away, on which sessions and next hops stand")
            }
            Self::Default => f.write_str(
                "a default route from a leaf is refused; set accept_default = true in [bgp] if it is wanted",
            ),
            Self::NoUplink(hops) => {
                let hops: Vec<String> = hops.iter().map(ToString::to_string).collect();
                write!(
                    f,
                    "next hop {} is not on the uplink of the leaf that sent it, or that uplink is down",
                    hops.join(", ")
                )
            }
        }
    }
}

impl Terrain {
    /// The verdict on one route.
    #[must_use]
    pub fn judge(&self, prefix: &Prefix, next_hops: &[NextHop]) -> Verdict {
        if self.local.contains(prefix) {
            return Verdict::Refuse(Refusal::Local);
        }
        if prefix.is_default() && !self.accept_default {
            return Verdict::Refuse(Refusal::Default);
        }
        if self.connected.contains(prefix) {
            return Verdict::Refuse(Refusal::Connected);
        }
        if let Some(net) = self.undercut(prefix, next_hops) {
            return Verdict::Refuse(Refusal::InsideUplink(net));
        }
        if let Some(block) = self.blocks.iter().find(|b| b.contains(prefix) && !prefix.is_host()) {
            return Verdict::Refuse(Refusal::InsideOwnBlock(*block));
        }
        let mut hops: Vec<Hop> = next_hops.iter().filter_map(|hop| self.resolve(hop)).collect();
        hops.sort();
        hops.dedup();
        if hops.is_empty() {
            return Verdict::Refuse(Refusal::NoUplink(next_hops.iter().map(|h| h.addr).collect()));
        }
        let prefsrc = match prefix.family() {
            Family::V4 => self.source_v4,
            Family::V6 => self.source_v6,
        };
        Verdict::Install(LearnedRoute { hops, prefsrc })
    }

    /// The subnet of an uplink that the route would harm. A longer prefix beats the connected one: a leaf could pull the
    /// session with another leaf over to itself, and the kernel refuses IPv6 routes whose gateway is behind a gateway. On a link with more
    /// than two ends single addresses may well be elsewhere, such as another machine's virtual address.
    fn undercut(&self, prefix: &Prefix, next_hops: &[NextHop]) -> Option<Prefix> {
        let subnets = self.uplinks.values().flat_map(|(_, subnets)| subnets);
        let mut around = subnets.filter(|net| net.contains(prefix) && *net != prefix);
        let harmed = |net: &&Prefix| {
            // /31 and /30, /127 and /126: nobody but the two ends lives there.
            net.len() + 2 >= net.family().max_len()
                || self.ends.iter().any(|end| prefix.contains_addr(*end))
                || next_hops.iter().any(|hop| prefix.contains_addr(hop.addr))
        };
        around.find(harmed).copied()
    }

    /// A next hop counts only on the uplink of the leaf that sent it: a leaf can't draw traffic to another's link.
    fn resolve(&self, hop: &NextHop) -> Option<Hop> {
        let (link, subnets) = self.uplinks.get(&hop.peer)?;
        let on_link = match hop.addr {
            IpAddr::V6(a) if a.is_unicast_link_local() => true,
            addr => subnets.iter().any(|net| net.contains_addr(addr)),
        };
        on_link.then_some(Hop { gateway: Some(hop.addr), link: *link })
    }
}

/// The learned routes in use and the terrain they are judged on.
#[derive(Debug, Default)]
pub struct Fib {
    terrain: Terrain,
    routes: BTreeMap<Prefix, Arc<[NextHop]>>,
    refused: usize,
}

/// Changes for the dataplane.
pub type Changes = Vec<(Prefix, Option<LearnedRoute>)>;

impl Fib {
    /// The terrain in force.
    #[must_use]
    pub const fn terrain(&self) -> &Terrain {
        &self.terrain
    }

    /// Takes a new terrain; everything is judged anew if it differs.
    pub fn set_terrain(&mut self, terrain: Terrain) -> Changes {
        if terrain == self.terrain {
            return Vec::new();
        }
        let before = std::mem::replace(&mut self.terrain, terrain);
        let mut changes = Vec::new();
        self.refused = 0;
        for (prefix, hops) in &self.routes {
            let now = self.terrain.judge(prefix, hops);
            self.refused += usize::from(matches!(now, Verdict::Refuse(_)));
            if now != before.judge(prefix, hops) {
                changes.push((*prefix, installed(now)));
            }
        }
        changes
    }

    /// Takes changes of the Loc-RIB.
    pub fn update(&mut self, changes: impl IntoIterator<Item = (Prefix, Option<Arc<[NextHop]>>)>) -> Changes {
        let mut out = Vec::new();
        for (prefix, hops) in changes {
            let verdict = hops.as_ref().map(|hops| self.terrain.judge(&prefix, hops));
            let old = match hops {
                Some(hops) => self.routes.insert(prefix, hops),
                None => self.routes.remove(&prefix),
            };
            if old.is_some_and(|old| matches!(self.terrain.judge(&prefix, &old), Verdict::Refuse(_))) {
                self.refused = self.refused.saturating_sub(1);
            }
            self.refused += usize::from(matches!(verdict, Some(Verdict::Refuse(_))));
            out.push((prefix, verdict.and_then(installed)));
        }
        out
    }

    /// The verdict on a route in the Loc-RIB.
    #[must_use]
    pub fn verdict(&self, prefix: &Prefix) -> Option<Verdict> {
        self.routes.get(prefix).map(|hops| self.terrain.judge(prefix, hops))
    }

    /// The routes in the Loc-RIB with their verdicts, in order.
    pub fn iter(&self) -> impl Iterator<Item = (&Prefix, Verdict)> {
        self.routes.iter().map(|(p, hops)| (p, self.terrain.judge(p, hops)))
    }

    /// How many routes the Loc-RIB holds.
    #[must_use]
    pub fn len(&self) -> usize {
        self.routes.len()
    }

    /// Whether it holds none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.routes.is_empty()
    }

    /// How many of them are refused.
    #[must_use]
    pub const fn refused(&self) -> usize {
        self.refused
    }
}

fn installed(verdict: Verdict) -> Option<LearnedRoute> {
    match verdict {
        Verdict::Install(route) => Some(route),
        Verdict::Refuse(_) => None,
    }
}

#[cfg(test)]
mod tests;
