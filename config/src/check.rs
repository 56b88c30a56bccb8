//! What concerns two sections at once, and the step from draft to [`Settings`].

use petiole_prefix::Prefix;

use crate::problem::{Notice, Problem};
use crate::reader::{At, Report};
use crate::schema::{BgpDraft, Draft, StoreDraft};
use crate::settings::{
    AnnounceKind, BgpSettings, BlockSource, IpamSettings, KubernetesSettings, NodeSettings, Role, Settings,
    StoreSettings,
};

/// Checks the draft as a whole and makes settings of it. They count only if nothing was reported.
pub(crate) fn finish(report: &mut Report<'_>, draft: Draft, name: String) -> Settings {
    check_overlaps(report, &draft);
    check_peers(report, &draft);
    check_announce(report, &draft);
    check_listeners(report, &draft);
    check_source(report, &draft);
    let bgp = draft.bgp.and_then(|bgp| finish_bgp(report, bgp));
    let embedded = StoreSettings::Embedded(draft.paths.state.join(StoreSettings::EMBEDDED));
    let store = match draft.store {
        Some(At { value: StoreDraft::Etcd(etcd), .. }) => StoreSettings::Etcd(etcd),
        Some(At { value: StoreDraft::Embedded(path), .. }) => StoreSettings::Embedded(path),
        Some(At { value: StoreDraft::Unsaid { .. }, .. }) | None => embedded,
    };
    let kubernetes =
        draft.kubernetes.map(|k| KubernetesSettings { access: k.access, node: k.node.unwrap_or_else(|| name.clone()) });
    Settings {
        node: NodeSettings {
            name,
            roles: draft.node.roles.iter().map(|role| role.value).collect(),
            router_id: draft.node.router_id.map(|id| id.value),
            addresses: draft.node.addresses.iter().map(|addr| addr.value).collect(),
            labels: draft.node.labels,
        },
        store,
        bgp,
        announce: draft.announce.into_iter().map(|a| a.announce.value).collect(),
        ipam: IpamSettings {
            source: draft.ipam.source.map_or(BlockSource::Store, |source| source.value),
            pools: draft.ipam.pools.into_iter().map(|pool| pool.value).collect(),
            reserved: draft.ipam.reserved.into_iter().map(|range| range.value).collect(),
            grace_time: draft.ipam.grace_time.unwrap_or(IpamSettings::GRACE_TIME),
        },
        kubernetes,
        paths: draft.paths,
        metrics_listen: draft.metrics_listen.map_or(Settings::METRICS_LISTEN, |listen| listen.value),
    }
}

/// `None` where no peer is configured: then there is nothing to speak.
fn finish_bgp(report: &mut Report<'_>, bgp: BgpDraft) -> Option<BgpSettings> {
    if bgp.first_peer.is_none() {
        report.warn(bgp.at, Notice::NoPeers);
        return None;
    }
    Some(BgpSettings {
        // 0 stands for an AS number that was reported as missing or bad, so it never gets out.
        asn: bgp.asn.map_or(0, |asn| asn.value),
        listen: bgp.listen.map_or(BgpSettings::LISTEN, |listen| listen.value),
        accept_default: bgp.accept_default,
        communities: bgp.communities,
        peers: bgp.peers.into_iter().map(|peer| peer.peer.value).collect(),
    })
}

/// Two listeners at one address: the second would fail when the agent starts.
fn check_listeners(report: &mut Report<'_>, draft: &Draft) {
    let bgp = draft.bgp.as_ref().and_then(|bgp| bgp.listen);
    let (ours, metrics) = (bgp.map_or(BgpSettings::LISTEN, |l| l.value), draft.metrics_listen);
    let theirs = metrics.map_or(Settings::METRICS_LISTEN, |l| l.value);
    let meet = ours.ip() == theirs.ip() || ours.ip().is_unspecified() || theirs.ip().is_unspecified();
    if draft.bgp.is_none() || ours.port() != theirs.port() || ours.port() == 0 || !meet {
        return;
    }
    // At least one was said, for the defaults do not meet.
    if let Some(metrics) = metrics {
        let (section, other) = ("[metrics]", "BGP");
        report.error(metrics.at, Problem::ListenTwice { section, addr: theirs, other, other_addr: ours });
    } else if let Some(bgp) = bgp {
        let (section, other) = ("[bgp]", "the metrics' server");
        report.error(bgp.at, Problem::ListenTwice { section, addr: ours, other, other_addr: theirs });
    }
}

/// Ranges of the Node object need the API, and nobody else who gives ranges.
fn check_source(report: &mut Report<'_>, draft: &Draft) {
    let Some(source) = draft.ipam.source.filter(|source| source.value == BlockSource::Node) else { return };
    if !draft.kubernetes_said {
        report.error(source.at, Problem::SourceWithoutKubernetes);
    }
    if matches!(draft.store, Some(At { value: StoreDraft::Etcd(_), .. })) {
        report.error(source.at, Problem::SourceWithEtcd);
    }
    for pool in &draft.ipam.pools {
        report.error(pool.at, Problem::SourceWithPools(pool.value.cidr));
    }
}

fn check_peers(report: &mut Report<'_>, draft: &Draft) {
    let Some(bgp) = &draft.bgp else { return };
    match (&draft.store, bgp.first_peer) {
        (None, Some(at)) => report.error(at, Problem::StoreNotSaid),
        (Some(At { at, value: StoreDraft::Unsaid { reported: false } }), Some(_)) => {
            report.error(*at, Problem::StoreNotSaid)
        }
        (None | Some(_), None | Some(_)) => {}
    }
    for (n, peer) in bgp.peers.iter().enumerate() {
        let At { at, value: settings } = &peer.peer;
        if let (Some(own), Some(asn)) = (bgp.asn, settings.asn)
            && own.value == asn
        {
            report.error(peer.asn_at, Problem::InternalPeer(asn));
        }
        let same = |other: &&crate::schema::PeerDraft| other.peer.value.neighbour == settings.neighbour;
        if let Some(first) = bgp.peers.iter().take(n).find(same) {
            let first = report.line(first.peer.at);
            report.error(*at, Problem::Twice { what: format!("peer {}", settings.neighbour), first });
        }
    }
}

fn check_announce(report: &mut Report<'_>, draft: &Draft) {
    let peers = draft.bgp.as_ref().is_some_and(|bgp| bgp.first_peer.is_some());
    for (n, a) in draft.announce.iter().enumerate() {
        let At { at, value: announce } = &a.announce;
        if !peers {
            report.warn(*at, Notice::AnnounceWithoutPeers(announce.prefix));
        }
        let same = |other: &&crate::schema::AnnounceDraft| other.announce.value.prefix == announce.prefix;
        if let Some(first) = draft.announce.iter().take(n).find(same) {
            let first = report.line(first.announce.at);
            report.error(*at, Problem::Twice { what: format!("an announcement of {}", announce.prefix), first });
        }
    }
    for role in &draft.node.roles {
        let kind = match role.value {
            Role::Worker => continue,
            Role::Master => AnnounceKind::Anycast,
            Role::Ingress => AnnounceKind::ServiceRange,
        };
        if !draft.announce.iter().any(|a| a.announce.value.kind == kind) {
            report.warn(role.at, Notice::RoleWithoutAnnounce { role: role.value.name(), kind: kind.name() });
        }
    }
}

/// Something that claims addresses.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Claim {
    Pool,
    ServiceRange,
    Anycast,
    OwnAddress,
    RouterId,
    Peer,
}

impl Claim {
    fn describe(self, prefix: &Prefix) -> String {
        match self {
            Self::Pool => format!("pool {prefix}"),
            Self::ServiceRange => format!("service range {prefix}"),
            Self::Anycast => format!("anycast {prefix}"),
            Self::OwnAddress => format!("the node's address {prefix}"),
            Self::RouterId => format!("router id {}", prefix.addr()),
            Self::Peer => format!("peer {}", prefix.addr()),
        }
    }

    /// Why two claims must not share an address; `None` where they may.
    ///
    /// Announcements may lie inside each other: a shorter one and a part of it under its own health check is sound.
    const fn harm(self, other: Self) -> Option<&'static str> {
        Some(match (self, other) {
            (Self::Pool, Self::Pool) => "both would give out the same addresses; give each pool its own range",
            (Self::Pool, Self::ServiceRange) | (Self::ServiceRange, Self::Pool) => {
                "an address would belong to a pod and to a service; give each its own range"
            }
            (Self::Pool, Self::Anycast) | (Self::Anycast, Self::Pool) => {
                "a pod could get the anycast address; take that from outside the pools"
            }
            (Self::Pool, Self::OwnAddress | Self::RouterId) | (Self::OwnAddress | Self::RouterId, Self::Pool) => {
                "a pod could get the node's address; take that from outside the pools"
            }
            (Self::Pool, Self::Peer) | (Self::Peer, Self::Pool) => {
                "the blackhole of a block would swallow the session; a leaf's address is never inside a pool"
            }
            (Self::ServiceRange, Self::OwnAddress | Self::RouterId)
            | (Self::OwnAddress | Self::RouterId, Self::ServiceRange) => {
                "every ingress node would answer for this node; take its address from outside the service range"
            }
            (Self::ServiceRange, Self::Peer) | (Self::Peer, Self::ServiceRange) => {
                "the range is local on this node, so the session would end here; a leaf's address is never inside it"
            }
            (Self::Anycast, Self::OwnAddress | Self::RouterId) | (Self::OwnAddress | Self::RouterId, Self::Anycast) => {
                "other nodes have the anycast address too, so this node needs one of its own"
            }
            (Self::ServiceRange | Self::Anycast, Self::ServiceRange | Self::Anycast)
            | (Self::OwnAddress | Self::RouterId, Self::OwnAddress | Self::RouterId)
            // A peer that is ourselves gets a message of its own, and so does one that is there twice.
            | (Self::Peer, Self::Anycast | Self::OwnAddress | Self::RouterId | Self::Peer)
            | (Self::Anycast | Self::OwnAddress | Self::RouterId, Self::Peer) => return None,
        })
    }
}

fn check_overlaps(report: &mut Report<'_>, draft: &Draft) {
    let mut claims = claims(draft);
    claims.sort_by_key(|(at, ..)| *at);
    for (n, (at, claim, prefix)) in claims.iter().enumerate() {
        for (first_at, first, other) in claims.iter().take(n).filter(|(.., other)| other.overlaps(prefix)) {
            let own = |claim| matches!(claim, Claim::Anycast | Claim::OwnAddress | Claim::RouterId);
            let peer_is_self = match (*claim, *first) {
                (Claim::Peer, ours) if own(ours) => Some((*at, ours.describe(other), *first_at)),
                (ours, Claim::Peer) if own(ours) => Some((*first_at, ours.describe(prefix), *at)),
                _ => None,
            };
            if let Some((at, what, line)) = peer_is_self {
                let (addr, line) = (prefix.addr().to_string(), report.line(line));
                report.error(at, Problem::PeerIsSelf { addr, what, line });
            } else if let Some(why) = claim.harm(*first) {
                let line = report.line(*first_at);
                let (one, other) = (claim.describe(prefix), first.describe(other));
                report.error(*at, Problem::Overlap { one, other, line, why });
            }
        }
    }
}

/// Everything in the text that claims addresses, with its place.
fn claims(draft: &Draft) -> Vec<(usize, Claim, Prefix)> {
    let mut claims: Vec<(usize, Claim, Prefix)> = Vec::new();
    claims.extend(draft.ipam.pools.iter().map(|pool| (pool.at, Claim::Pool, pool.value.cidr)));
    claims.extend(draft.announce.iter().map(|a| match a.announce.value.kind {
        AnnounceKind::Anycast => (a.announce.at, Claim::Anycast, a.announce.value.prefix),
        AnnounceKind::ServiceRange => (a.announce.at, Claim::ServiceRange, a.announce.value.prefix),
    }));
    claims.extend(draft.node.addresses.iter().map(|addr| (addr.at, Claim::OwnAddress, addr.value)));
    if let Some(id) = draft.node.router_id {
        let id = (id.at, Claim::RouterId, Prefix::host(id.value.into()));
        // As a rule it is one of the addresses: one mistake, one message.
        if !draft.node.addresses.iter().any(|addr| addr.value == id.2) {
            claims.push(id);
        }
    }
    for peer in draft.bgp.iter().flat_map(|bgp| &bgp.peers) {
        if let Some(addr) = peer.peer.value.neighbour.address() {
            claims.push((peer.peer.at, Claim::Peer, Prefix::host(addr)));
        }
    }
    claims
}
