//! Answers to operators' questions.

use std::net::IpAddr;
use std::time::Duration;

use petiole_bgp::PeerId;
use petiole_dataplane::{RouteKey, RouteState, ident};
use petiole_ipam::{AssignRequest, ReleaseTarget, Reply, RequestId};
use petiole_prefix::Prefix;

use crate::announce::{block_key, range_key};
use crate::effect::Effect;
use crate::fib::Verdict;
use crate::input::QueryId;
use crate::node::Node;
use crate::policy;
use crate::sessions::peer_id;
use crate::survey::Purpose;
use crate::view::{
    AdvertisedView, Answer, BlockView, BlocksView, FibEntry, KeptView, PathView, PeerView, PoolView, Query, RouteTable,
};

impl Node {
    pub(crate) fn handle_query(&mut self, id: QueryId, query: Query) {
        let answer = match query {
            Query::Status => Answer::Status(Box::new(self.status())),
            Query::Peers => Answer::Peers(self.peers()),
            Query::Routes { table, peer } => match self.routes(table, peer) {
                Ok(answer) => answer,
                Err(why) => return self.push(Effect::Reply { id, answer: Err(why) }),
            },
            Query::Drain { after } => Answer::Drain(self.drain(after)),
            Query::Undrain => Answer::Drain(self.undrain()),
            Query::Stop { message } => return self.stop(id, message),
            Query::Peer { peer, order } => match self.order_peer(peer, order) {
                Ok(view) => Answer::Order(view),
                Err(why) => return self.push(Effect::Reply { id, answer: Err(why) }),
            },
            Query::Trace(peer) => match self.trace(&peer) {
                Ok(trace) => Answer::Trace(trace),
                Err(why) => return self.push(Effect::Reply { id, answer: Err(why) }),
            },
            Query::Blocks => Answer::Blocks(self.blocks()),
            Query::Fib => Answer::Fib(self.fib_entries()),
            Query::Why(prefix) => Answer::Why(Box::new(self.why(prefix))),
            Query::Metrics => Answer::Metrics(self.metrics()),
            Query::Check { repair } => return self.survey(id, Purpose::Check { repair }),
            Query::Show(address) => return self.survey(id, Purpose::Show(address)),
            Query::Forget { node, addresses } => return self.forget(id, node, addresses),
            Query::Assign { handle, families } => {
                let request = self.request(id);
                let ask = AssignRequest { handle, families, ..AssignRequest::default() };
                return self.ipam.handle_assign(request, ask, self.now.mono, self.now.wall);
            }
            Query::Release(addr) => {
                let request = self.request(id);
                return self.ipam.handle_release(request, ReleaseTarget::Address(addr), self.now.mono, self.now.wall);
            }
        };
        self.push(Effect::Reply { id, answer: Ok(answer) });
    }

    fn request(&mut self, id: QueryId) -> RequestId {
        self.last_request += 1;
        let request = RequestId(self.last_request);
        self.requests.insert(request, id);
        request
    }

    pub(crate) fn reply_ipam(&mut self, request: RequestId, reply: Reply) {
        let Some(id) = self.requests.remove(&request) else { return };
        let answer = reply
            .map(|addresses| Answer::Addresses(addresses.into_iter().map(Prefix::host).collect()))
            .map_err(|e| e.to_string());
        self.push(Effect::Reply { id, answer });
    }

    fn peers(&self) -> Vec<PeerView> {
        let Some(speaker) = &self.speaker else { return Vec::new() };
        speaker.peers().map(|peer| self.peer_view(&peer)).collect()
    }

    fn peer_view(&self, peer: &petiole_bgp::PeerView) -> PeerView {
        let words = |list: &[petiole_prefix::Family]| list.iter().map(ToString::to_string).collect::<Vec<_>>();
        let session = peer.session.as_ref();
        PeerView {
            peer: peer.id.to_string(),
            configured_asn: match peer.remote_asn {
                petiole_bgp::RemoteAsn::Is(asn) => asn.to_string(),
                petiole_bgp::RemoteAsn::External => "external".to_owned(),
            },
            asn: session.map(|s| s.asn),
            router_id: session.map(|s| IpAddr::V4(s.router_id)),
            state: peer.state.name().to_owned(),
            state_reason: peer.state_reason.clone(),
            state_seconds: self.now.mono.saturating_sub(peer.since).as_secs_f64(),
            uplink: self.uplink_name(peer.id),
            local: session.map(|s| s.local.to_string()),
            remote: session.map(|s| s.remote.to_string()),
            hold_time_seconds: session.map(|s| s.hold_time.as_secs_f64()),
            keepalive_seconds: session.map(|s| s.keepalive.as_secs_f64()),
            families: session.map(|s| words(&s.families)).unwrap_or_default(),
            capabilities_sent: session
                .map(|s| s.capabilities_sent.iter().map(ToString::to_string).collect())
                .unwrap_or_default(),
            capabilities_received: session
                .map(|s| s.capabilities_received.iter().map(ToString::to_string).collect())
                .unwrap_or_default(),
            negotiated: session.map(petiole_bgp::view::SessionView::terms).unwrap_or_default(),
            end_of_rib_received: session.map(|s| words(&s.end_of_rib_received)).unwrap_or_default(),
            end_of_rib_sent: session.map(|s| words(&s.end_of_rib_sent)).unwrap_or_default(),
            prefixes_received: session.map_or(0, |s| s.prefixes_received),
            prefixes_advertised: session.map_or(0, |s| s.prefixes_advertised),
            established_count: peer.established_count,
            messages_in: peer.counters.messages_in,
            messages_out: peer.counters.messages_out,
            updates_in: peer.counters.updates_in,
            updates_out: peer.counters.updates_out,
            update_errors: peer.counters.update_errors,
            guard_drops: peer.counters.guard_drops,
            retry_in_seconds: peer.retry_at.map(|at| at.saturating_sub(self.now.mono).as_secs_f64()),
            last_error: peer.last_error.clone(),
            last_notification_sent: peer.last_notification_sent.as_ref().map(ToString::to_string),
            last_notification_received: peer.last_notification_received.as_ref().map(ToString::to_string),
            not_announced: peer.not_announced.iter().map(|n| format!("{}: {}", n.family, n.why)).collect(),
            bfd: self.bfd_view(peer.id),
            kept: self.kept(peer),
            prefix_limits: peer.prefix_usage.iter().map(ToString::to_string).collect(),
        }
    }

    fn kept(&self, peer: &petiole_bgp::PeerView) -> Vec<KeptView> {
        let Some(retention) = &peer.retention else { return Vec::new() };
        let kept = |kept: &petiole_bgp::view::KeptView| KeptView {
            family: kept.family.to_string(),
            paths: kept.paths,
            seconds: self.now.mono.saturating_sub(retention.since).as_secs_f64(),
            seconds_left: kept.until.saturating_sub(self.now.mono).as_secs_f64(),
            long_lived: kept.long_lived,
            back: retention.back,
            why: retention.why.clone(),
        };
        retention.families.iter().map(kept).collect()
    }

    fn routes(&self, table: RouteTable, id: Option<PeerId>) -> Result<Answer, String> {
        if let Some(id) = id {
            self.known_peer(id)?;
        }
        Ok(match table {
            RouteTable::Best => Answer::Received(self.received(id, None).into_iter().filter(|p| p.used).collect()),
            RouteTable::Received => Answer::Received(self.received(id, None)),
            RouteTable::Advertised => Answer::Advertised(self.advertised(id)),
        })
    }

    pub(crate) fn known_peer(&self, id: PeerId) -> Result<(), String> {
        let peers = self.settings.bgp.as_ref().map(|b| b.peers.as_slice()).unwrap_or_default();
        if peers.iter().any(|p| peer_id(p) == Some(id)) {
            return Ok(());
        }
        let known: Vec<String> = peers.iter().map(|p| p.neighbour.to_string()).collect();
        let known = if known.is_empty() {
            "none is configured".to_owned()
        } else {
            format!("configured: {}", known.join(", "))
        };
        Err(format!("no peer {id} ({known}), and the tables are `received` and `advertised`; see `petiole bgp peers`"))
    }

    pub(crate) fn received(&self, peer: Option<PeerId>, prefix: Option<Prefix>) -> Vec<PathView> {
        let Some(speaker) = &self.speaker else { return Vec::new() };
        speaker.routes_received(peer, prefix).iter().map(|path| path_view(path, self.now.mono)).collect()
    }

    pub(crate) fn advertised(&self, peer: Option<PeerId>) -> Vec<AdvertisedView> {
        let Some(speaker) = &self.speaker else { return Vec::new() };
        speaker
            .routes_advertised(peer)
            .into_iter()
            .map(|a| AdvertisedView {
                prefix: a.prefix,
                peer: a.peer.to_string(),
                ownership: a.ownership.to_string(),
                next_hop: a.sent.as_ref().map(|s| s.next_hop),
                communities: a.sent.as_ref().map_or_else(Vec::new, |s| {
                    policy::written(s.communities.standard(), s.communities.extended(), s.communities.large())
                }),
                age_seconds: a.sent.map(|s| self.now.mono.saturating_sub(s.at).as_secs_f64()),
                not_announced: a.not_announced.map(|n| n.to_string()),
            })
            .collect()
    }

    fn blocks(&self) -> BlocksView {
        let pools = self.ipam.pools().into_iter().map(|p| PoolView {
            name: p.name,
            cidr: p.cidr,
            block_size: p.block_size,
            total: p.blocks,
            claimed: p.claimed,
            refused: p.refused,
        });
        let blocks = self.ipam.all_blocks().into_iter().map(|b| BlockView {
            cidr: b.cidr,
            ours: self.ipam.blocks().contains_key(&b.cidr),
            owner: b.owner,
            used: u32::try_from(b.used).unwrap_or(u32::MAX),
            size: u32::try_from(b.cidr.subnet_count(b.cidr.family().max_len())).unwrap_or(u32::MAX),
        });
        BlocksView { pools: pools.collect(), blocks: blocks.collect() }
    }

    fn fib_entries(&self) -> Vec<FibEntry> {
        let mut entries: Vec<FibEntry> =
            self.owned.iter().map(|b| self.own_entry(*b, "block", &block_key(*b))).collect();
        for announce in &self.settings.announce {
            if announce.kind == petiole_config::AnnounceKind::ServiceRange {
                entries.push(self.own_entry(announce.prefix, "range", &range_key(announce.prefix)));
            }
        }
        entries.extend(self.fib.iter().map(|(prefix, verdict)| self.learned_entry(*prefix, &verdict)));
        entries.sort_by_key(|e| (e.prefix, e.kind.clone()));
        entries
    }

    fn own_entry(&self, prefix: Prefix, kind: &str, key: &RouteKey) -> FibEntry {
        let (state, reason) = state_and_reason(&self.dataplane.state(key));
        FibEntry { prefix, kind: kind.to_owned(), hops: Vec::new(), prefsrc: None, state, reason }
    }

    fn learned_entry(&self, prefix: Prefix, verdict: &Verdict) -> FibEntry {
        let kind = "learned".to_owned();
        match verdict {
            Verdict::Refuse(why) => FibEntry {
                prefix,
                kind,
                hops: Vec::new(),
                prefsrc: None,
                state: "not installed".to_owned(),
                reason: why.to_string(),
            },
            Verdict::Install(route) => {
                let hops = route.hops.iter().map(|hop| {
                    let via = hop.gateway.map(|g| format!("via {g} ")).unwrap_or_default();
                    format!("{via}dev {}", self.topology.link_name(hop.link))
                });
                let (state, reason) = state_and_reason(&self.dataplane.state(&learned_key(prefix)));
                FibEntry { prefix, kind, hops: hops.collect(), prefsrc: route.prefsrc, state, reason }
            }
        }
    }

    /// What the kernel holds, or should hold, for exactly this prefix.
    pub(crate) fn kernel_entry(&self, prefix: Prefix) -> Option<FibEntry> {
        if self.owned.contains(&prefix) {
            return Some(self.own_entry(prefix, "block", &block_key(prefix)));
        }
        let range =
            |a: &petiole_config::Announce| a.kind == petiole_config::AnnounceKind::ServiceRange && a.prefix == prefix;
        if self.settings.announce.iter().any(range) {
            return Some(self.own_entry(prefix, "range", &range_key(prefix)));
        }
        self.fib.verdict(&prefix).map(|verdict| self.learned_entry(prefix, &verdict))
    }

    /// Time since the agent's start.
    pub(crate) fn uptime(&self) -> Duration {
        self.now.mono.saturating_sub(self.start)
    }
}

fn path_view(path: &petiole_bgp::PathView, now: Duration) -> PathView {
    PathView {
        prefix: path.prefix,
        peer: path.peer.to_string(),
        path_id: path.path_id,
        used: path.reason.is_used(),
        why: path.why.clone(),
        next_hop: Some(path.attributes.next_hop),
        as_path: path.attributes.as_path.to_string(),
        med: path.attributes.med,
        communities: policy::written(
            &path.attributes.communities,
            &path.attributes.extended_communities,
            &path.attributes.large_communities,
        ),
        only_to_customer: path.attributes.only_to_customer,
        stale_seconds: path.stale.as_ref().map(|s| now.saturating_sub(s.since).as_secs_f64()),
        kept_because: path.stale.as_ref().map(|s| {
            let how = if s.long_lived { "long-lived stale" } else { "stale" };
            format!("{how}: {}", s.why)
        }),
    }
}

/// Where a learned route stands in the kernel.
pub(crate) const fn learned_key(prefix: Prefix) -> RouteKey {
    RouteKey { prefix, table: ident::TABLE_MAIN, metric: ident::METRIC_LEARNED }
}

fn state_and_reason(state: &RouteState) -> (String, String) {
    let name = match state {
        RouteState::InKernel => return ("in kernel".to_owned(), String::new()),
        RouteState::Pending => "pending",
        RouteState::LinkDown => "link down",
        RouteState::SourceMissing { .. } => "source missing",
        RouteState::Failed { .. } => "failed",
        RouteState::HeldByForeign { .. } => "held by a foreign route",
        RouteState::Adopted => "adopted",
        RouteState::Absent => "absent",
    };
    (name.to_owned(), state.to_string())
}
