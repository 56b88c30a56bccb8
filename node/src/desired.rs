//! What this node may announce, and whether it does: a pure function of the facts, with a reason for every candidate.
//!
//! Candidates are the node's own things only: its blocks, its addresses, what `[[announce]]` configures, and what stands on
//! `lo`. Routes learned from a leaf are not an input, so no filter can make the node a transit.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::net::IpAddr;

use petiole_bgp::Ownership;
use petiole_config::{Announce, AnnounceKind, BlockSource};
use petiole_prefix::Prefix;

/// What a candidate is.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Kind {
    /// A pod block.
    Block,
    /// An address that a pod holds out of a block of another node.
    Borrowed,
    /// An address of `[node] addresses`.
    Address,
    /// An anycast address.
    Anycast,
    /// A service range.
    ServiceRange,
    /// Something on `lo` that nobody configured here.
    Loopback,
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Block => "block",
            Self::Borrowed => "borrowed address",
            Self::Address => "address",
            Self::Anycast => "anycast",
            Self::ServiceRange => "service-range",
            Self::Loopback => "loopback",
        })
    }
}

/// What the kernel holds of what makes an announcement true.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Proof {
    /// Packets that arrive are dealt with.
    InKernel,
    /// Not yet, in words.
    Missing(String),
}

/// What a health gate says about an `[[announce]]`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum GateState {
    /// No gate is configured.
    Ungated,
    /// Open.
    Open(String),
    /// Closed, in words.
    Closed(String),
}

/// An `[[announce]]` with its gate.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Configured<'a> {
    /// What is configured.
    pub announce: &'a Announce,
    /// What its gate says.
    pub gate: GateState,
}

/// What the operators' filters say of a candidate, and which of them said it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum FilterVerdict {
    /// No filter decides.
    FallThrough,
    /// The first that decides accepts.
    Accept(String),
    /// The first that decides rejects.
    Reject(String),
}

/// Everything the verdicts depend on, but for the filters and the kernel, which are asked.
#[derive(Debug)]
pub struct Facts<'a> {
    /// Blocks of this node, confirmed by the store or remembered from the same boot; or ranges, if the Node object names those.
    pub blocks: Vec<Prefix>,
    /// Who says that they are.
    pub source: BlockSource,
    /// Those of them whose pool says `disableBGPExport`.
    pub unexported: BTreeSet<Prefix>,
    /// Addresses that this node holds in blocks that are not its own, with the block of each.
    pub borrowed: BTreeMap<IpAddr, Prefix>,
    /// `[node] addresses`.
    pub addresses: &'a [Prefix],
    /// `[[announce]]`.
    pub configured: Vec<Configured<'a>>,
    /// Whether an operator withdrew everything.
    pub drained: bool,
    /// Addresses on `lo`, each with the length it was added with.
    pub loopback: Vec<(IpAddr, u8)>,
}

/// The verdict on one candidate, stored beside what follows from it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Decision {
    /// What it is.
    pub kind: Kind,
    /// The right to announce it, if it has one.
    pub ownership: Option<Ownership>,
    /// Why it is announced, or not.
    pub reason: Reason,
}

impl Decision {
    /// Whether it is announced.
    #[must_use]
    pub const fn announced(&self) -> bool {
        self.reason.announces()
    }
}

/// Why a candidate is announced, or not. The code is stable: metrics and scripts may use it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Reason {
    /// A confirmed block.
    OwnBlock,
    /// A range that the Node object names.
    OwnRange,
    /// Held here, out of another node's block.
    Borrowed(Prefix),
    /// The node's own address.
    OwnAddress,
    /// Configured without a gate.
    Ungated,
    /// Configured, and its gate is open.
    Healthy(String),
    /// On `lo`, and a filter accepts it.
    FilterAccepts(String),
    /// Its pool is not to be announced.
    ExportDisabled,
    /// Its gate is closed.
    Unhealthy(String),
    /// A filter rejects it.
    FilterRejects(String),
    /// On `lo`, but no filter accepts it.
    NoFilterAccepts,
    /// The kernel does not yet hold what makes it true.
    NotInKernel(String),
    /// An operator withdrew everything.
    Drained,
    /// Never leaves the host or the link, or is everything.
    NotAnnounceable,
}

impl Reason {
    const fn announces(&self) -> bool {
        match self {
            Self::OwnBlock
            | Self::OwnRange
            | Self::Borrowed(_)
            | Self::OwnAddress
            | Self::Ungated
            | Self::Healthy(_)
            | Self::FilterAccepts(_) => true,
            Self::ExportDisabled
            | Self::Unhealthy(_)
            | Self::FilterRejects(_)
            | Self::NoFilterAccepts
            | Self::NotInKernel(_)
            | Self::Drained
            | Self::NotAnnounceable => false,
        }
    }

    /// The stable code.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::OwnBlock => "own_block",
            Self::OwnRange => "own_range",
            Self::Borrowed(_) => "borrowed",
            Self::OwnAddress => "own_address",
            Self::Ungated => "ungated",
            Self::Healthy(_) => "healthy",
            Self::FilterAccepts(_) => "filter_accepts",
            Self::ExportDisabled => "export_disabled",
            Self::Unhealthy(_) => "unhealthy",
            Self::FilterRejects(_) => "filter_rejects",
            Self::NoFilterAccepts => "no_filter_accepts",
            Self::NotInKernel(_) => "not_in_kernel",
            Self::Drained => "drained",
            Self::NotAnnounceable => "not_announceable",
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::OwnBlock => f.write_str("the store says that this block is this node's"),
            Self::OwnRange => f.write_str("the Node object says that this range is this node's (spec.podCIDRs)"),
            Self::Borrowed(block) => write!(f, "a pod of this node holds it, borrowed from block {block}"),
            Self::OwnAddress => f.write_str("an address of this node ([node] addresses)"),
            Self::Ungated => f.write_str("configured in [[announce]] without a health check"),
            Self::Healthy(words) => write!(f, "configured in [[announce]], {words}"),
            Self::FilterAccepts(which) => write!(f, "on lo, and accepted by {which}"),
            Self::ExportDisabled => f.write_str("its pool says disableBGPExport"),
            Self::Unhealthy(words) => f.write_str(words),
            Self::FilterRejects(which) => write!(f, "rejected by {which}"),
            Self::NoFilterAccepts => f.write_str(
                "it is on lo, but neither [node] addresses nor [[announce]] names it and no custom filter accepts it",
            ),
            Self::NotInKernel(words) => write!(f, "the kernel does not hold it yet: {words}"),
            Self::Drained => f.write_str("this node is drained; `petiole undrain` announces it again"),
            Self::NotAnnounceable => {
                f.write_str("it never leaves the host: loopback, link-local, multicast or the default route")
            }
        }
    }
}

/// Every candidate with its verdict. `filter` tells what the operators' filters say of a prefix on an interface, `proof` what
/// the kernel holds of a candidate.
pub fn decide(
    facts: &Facts<'_>,
    filter: impl Fn(&Prefix, Option<&str>) -> FilterVerdict,
    proof: impl Fn(Kind, &Prefix) -> Proof,
) -> BTreeMap<Prefix, Decision> {
    let judged = candidates(facts).into_iter().map(|(prefix, (kind, claim))| {
        let decision = judge(prefix, kind, claim, &filter, &proof);
        match facts.drained && decision.announced() {
            true => (prefix, Decision { ownership: None, reason: Reason::Drained, ..decision }),
            false => (prefix, decision),
        }
    });
    judged.collect()
}

/// What a candidate rests on before filters and kernel are asked.
enum Claim {
    /// May be announced.
    Holds(Ownership, Reason),
    /// May not: its gate is closed, or its pool is not announced.
    Closed(Reason),
    /// Only if a filter accepts it.
    AsksFilter,
}

/// One claim a prefix. Where several name the same, what is configured decides: an `[[announce]]` with its gate before all.
fn candidates(facts: &Facts<'_>) -> BTreeMap<Prefix, (Kind, Claim)> {
    let mut found = BTreeMap::new();
    for configured in &facts.configured {
        let prefix = configured.announce.prefix;
        let (kind, ownership) = match configured.announce.kind {
            AnnounceKind::Anycast => (Kind::Anycast, Ownership::Anycast { prefix }),
            AnnounceKind::ServiceRange => (Kind::ServiceRange, Ownership::ServiceRange { range: prefix }),
        };
        let claim = match &configured.gate {
            GateState::Ungated => Claim::Holds(ownership, Reason::Ungated),
            GateState::Open(words) => Claim::Holds(ownership, Reason::Healthy(words.clone())),
            GateState::Closed(words) => Claim::Closed(Reason::Unhealthy(words.clone())),
        };
        found.entry(prefix).or_insert((kind, claim));
    }
    for prefix in facts.addresses {
        let claim = Claim::Holds(Ownership::NodeAddress { address: prefix.addr() }, Reason::OwnAddress);
        found.entry(*prefix).or_insert((Kind::Address, claim));
    }
    for cidr in &facts.blocks {
        let claim = if facts.unexported.contains(cidr) {
            Claim::Closed(Reason::ExportDisabled)
        } else {
            let reason = match facts.source {
                BlockSource::Store => Reason::OwnBlock,
                BlockSource::Node => Reason::OwnRange,
            };
            Claim::Holds(Ownership::Block { cidr: *cidr }, reason)
        };
        found.entry(*cidr).or_insert((Kind::Block, claim));
    }
    for (address, block) in &facts.borrowed {
        let (address, block) = (*address, *block);
        let claim = if facts.unexported.contains(&block) {
            Claim::Closed(Reason::ExportDisabled)
        } else {
            Claim::Holds(Ownership::BorrowedAddress { address, block }, Reason::Borrowed(block))
        };
        found.entry(Prefix::host(address)).or_insert((Kind::Borrowed, claim));
    }
    for (addr, len) in &facts.loopback {
        // Both the address and the prefix that it was added with: `ip addr add 10.123.0.0/17 dev lo` means the range.
        for prefix in [Some(Prefix::host(*addr)), Prefix::truncated(*addr, *len).ok()].into_iter().flatten() {
            found.entry(prefix).or_insert((Kind::Loopback, Claim::AsksFilter));
        }
    }
    found
}

fn judge(
    prefix: Prefix,
    kind: Kind,
    claim: Claim,
    filter: &impl Fn(&Prefix, Option<&str>) -> FilterVerdict,
    proof: &impl Fn(Kind, &Prefix) -> Proof,
) -> Decision {
    let denied = |reason| Decision { kind, ownership: None, reason };
    if !announceable(&prefix) {
        return denied(Reason::NotAnnounceable);
    }
    // Blocks and pods' addresses have no interface of their own; everything else is on, or routed to, `lo`.
    let ifname = (!matches!(kind, Kind::Block | Kind::Borrowed)).then_some("lo");
    // Filters see every candidate, but for what is configured they can only say no, and a closed gate is not theirs to open.
    let (ownership, reason) = match (claim, filter(&prefix, ifname)) {
        (Claim::Closed(reason), _) => return denied(reason),
        (_, FilterVerdict::Reject(which)) => return denied(Reason::FilterRejects(which)),
        (Claim::Holds(ownership, reason), FilterVerdict::Accept(_) | FilterVerdict::FallThrough) => (ownership, reason),
        (Claim::AsksFilter, FilterVerdict::Accept(which)) => {
            (Ownership::LoopbackPrefix { prefix, filter: which.clone() }, Reason::FilterAccepts(which))
        }
        (Claim::AsksFilter, FilterVerdict::FallThrough) => return denied(Reason::NoFilterAccepts),
    };
    match proof(kind, &prefix) {
        Proof::InKernel => Decision { kind, ownership: Some(ownership), reason },
        Proof::Missing(words) => denied(Reason::NotInKernel(words)),
    }
}

/// The export guard's own rule, so that what it would stop has a reason here.
fn announceable(prefix: &Prefix) -> bool {
    !prefix.is_default() && !petiole_bgp::wire::is_martian(prefix)
}

#[cfg(test)]
mod tests;
