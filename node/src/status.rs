//! `petiole status`: the node on one screen, with what to do next.

use std::collections::BTreeMap;
use std::net::IpAddr;

use petiole_config::{Role, StoreSettings};
use petiole_ipam::usage::Usage;
use petiole_prefix::Prefix;
use petiole_store::watch::WatchPhase;

use crate::health::Verdict;
use crate::node::Node;
use crate::sessions::peer_id;
use crate::view::{AddressesView, AnnouncementView, GateView, PeerLine, StatusView, StoreView};

impl Node {
    pub(crate) fn status(&self) -> StatusView {
        let not_ready = self.not_ready();
        StatusView {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            node: self.settings.node.name.clone(),
            roles: self.settings.node.roles.iter().map(|r| role_name(*r).to_owned()).collect(),
            router_id: self.router_id().map(IpAddr::V4),
            asn: self.settings.bgp.as_ref().map(|b| b.asn),
            uptime_seconds: self.uptime().as_secs_f64(),
            ready: not_ready.is_empty(),
            not_ready,
            store: self.store_view(),
            kubernetes: self.kubernetes_view(),
            peers: self.peer_lines(),
            gates: self.gate_views(),
            blocks: self.owned.iter().copied().collect(),
            announcements: self.announcement_views(),
            drain: self.drain_view(),
            pods: self.pods.counts(),
            settings: self.forwarding.views(),
            addresses: self.addresses_views(),
            adds_refused: self.adds_refused(),
            routes_learned: u64::try_from(self.fib.len()).unwrap_or(u64::MAX),
            routes_in_kernel: self.routes_in_kernel(),
            problems: self.problems.iter().cloned().collect(),
            next_steps: self.next_steps(),
        }
    }

    /// What `/readyz` waits for: one uplink Established, End-of-RIB sent, and the store in sync or frozen.
    pub(crate) fn not_ready(&self) -> Vec<String> {
        let mut missing = Vec::new();
        if !self.dataplane.is_mirrored() {
            missing.push("the kernel's state is being read".to_owned());
        }
        if self.settings.bgp.is_some() {
            if !self.any_established() {
                missing.push("no session with a leaf is Established".to_owned());
            }
            if !self.order.end_of_rib_released() {
                missing.push("End-of-RIB is not sent yet".to_owned());
            }
        }
        if !(self.store_seen || self.resumed) {
            missing.push("the store has not been read yet".to_owned());
        }
        if !self.is_told_of_ranges() {
            missing.push("the Kubernetes API has not said yet which ranges are this node's".to_owned());
        }
        missing
    }

    fn store_view(&self) -> StoreView {
        let kind = match &self.settings.store {
            StoreSettings::Etcd(etcd) => format!("etcd {}", etcd.endpoints.join(", ")),
            StoreSettings::Embedded(folder) => format!("embedded {}", folder.display()),
        };
        let state = self.watch.state();
        let name = match state.phase {
            WatchPhase::Empty => "connecting",
            WatchPhase::Listing => "listing",
            WatchPhase::InSync => "in sync",
            WatchPhase::Frozen => "frozen",
        };
        StoreView { kind, state: name.to_owned(), error: state.last_error.clone() }
    }

    fn peer_lines(&self) -> Vec<PeerLine> {
        let configured = self.settings.bgp.as_ref().map(|b| b.peers.as_slice()).unwrap_or_default();
        let spoken: Vec<_> = self.speaker.iter().flat_map(petiole_bgp::Speaker::peers).collect();
        configured
            .iter()
            .filter_map(|settings| Some((settings, peer_id(settings)?)))
            .map(|(settings, id)| {
                let view = spoken.iter().find(|v| v.id == id);
                let no_uplink = self.uplinks.get(&id).and_then(|u| u.as_ref().err()).map(ToString::to_string);
                PeerLine {
                    peer: id,
                    asn: settings.asn.or_else(|| view.and_then(|v| v.session.as_ref()).map(|s| s.asn)),
                    state: view.map_or_else(|| "Idle".to_owned(), |v| v.state.name().to_owned()),
                    uplink: self.uplink_name(id),
                    last_error: no_uplink
                        .or_else(|| view.and_then(|v| v.state_reason.clone().or_else(|| v.last_error.clone()))),
                }
            })
            .collect()
    }

    fn gate_views(&self) -> Vec<GateView> {
        let gates = self.gates.iter().zip(&self.settings.announce);
        gates
            .filter_map(|(gate, announce)| {
                let gate = gate.as_ref()?;
                let state = match gate.verdict() {
                    Verdict::Unknown => "unknown",
                    Verdict::Healthy => "healthy",
                    Verdict::Unhealthy => "unhealthy",
                };
                Some(GateView {
                    prefix: announce.prefix,
                    check: gate.check_words(),
                    state: state.to_owned(),
                    streak: gate.streak(),
                    last: gate.last_words(),
                })
            })
            .collect()
    }

    fn announcement_views(&self) -> Vec<AnnouncementView> {
        self.decisions
            .iter()
            .map(|(prefix, (decision, since))| AnnouncementView {
                prefix: *prefix,
                kind: decision.kind.to_string(),
                announced: decision.announced(),
                code: decision.reason.code().to_owned(),
                reason: decision.reason.to_string(),
                since: *since,
            })
            .collect()
    }

    fn addresses_views(&self) -> Vec<AddressesView> {
        let empty = |pool| AddressesView { pool, used: 0, lent: 0, free: 0, cooling: 0, reserved: 0, borrowed: 0 };
        let own = self.ipam.usage().into_iter().map(|(pool, usage)| {
            let Usage { used, lent, cooling, free, reserved } = usage;
            (pool, AddressesView { used, lent, free, cooling, reserved, ..empty(pool) })
        });
        let mut views: BTreeMap<Prefix, AddressesView> = own.collect();
        let pools = self.ipam.pools();
        for block in self.borrowed().into_values() {
            let pool = pools.iter().map(|p| p.cidr).find(|pool| pool.contains(&block)).unwrap_or(block);
            views.entry(pool).or_insert_with(|| empty(pool)).borrowed += 1;
        }
        views.into_values().collect()
    }

    /// Why a worker would refuse an ADD now.
    pub(crate) fn adds_refused(&self) -> Option<String> {
        self.pod_facts().refusal.filter(|_| self.settings.node.roles.contains(&Role::Worker))
    }

    fn next_steps(&self) -> Vec<String> {
        let mut steps = Vec::new();
        if self.settings.bgp.is_none() {
            steps.push(
                "no leaf is configured: add [bgp] asn and a [[bgp.peer]] per uplink to /etc/petiole/petiole.toml, and say [store] with it"
                    .to_owned(),
            );
        }
        if self.settings.node.roles.is_empty() {
            steps.push("this node has no role: set roles in [node] to any of worker, master, ingress".to_owned());
        }
        if self.settings.node.roles.contains(&Role::Worker) && self.ipam.pools().is_empty() && self.store_seen {
            steps.push(
                "a worker needs a pool: set [ipam] pools = [{ cidr = \"10.123.128.0/17\", block_size = 26 }], or create an IPPool with calicoctl"
                    .to_owned(),
            );
        }
        if !steps.is_empty() {
            steps.push(
                "check the file with `petiole config check /etc/petiole/petiole.toml`, then restart the agent"
                    .to_owned(),
            );
        }
        steps
    }
}

/// A role's name as the configuration writes it.
pub(crate) const fn role_name(role: Role) -> &'static str {
    match role {
        Role::Worker => "worker",
        Role::Master => "master",
        Role::Ingress => "ingress",
    }
}
