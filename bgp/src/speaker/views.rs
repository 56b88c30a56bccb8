//! What an operator sees of the speaker.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use petiole_prefix::{Family, Prefix};

use super::Speaker;
use crate::config::{ConnId, PeerId};
use crate::ended::DownReason;
use crate::rib::{LLGR_STALE, LocRoute, SourceId};
use crate::session::Timer;
use crate::session::peer::{Conn, Peer};
use crate::session::retention::Retention;
use crate::trace::TraceEntry;
use crate::view::{
    AdvertisedView, KeptView, NotAnnounced, NotAnnouncedBecause, PathView, PeerView, RetentionView, RibSizes,
    SessionState, SessionView, StaleView,
};
use crate::wire::Attributes;

impl Speaker {
    /// All neighbours, in order.
    pub fn peers(&self) -> impl Iterator<Item = PeerView> {
        self.peers.iter().map(|(id, peer)| self.peer_view(*id, peer))
    }

    /// The last messages and states of one neighbour, oldest first.
    #[must_use]
    pub fn trace(&self, peer: PeerId) -> Vec<TraceEntry> {
        self.peers.get(&peer).map(|p| p.trace.entries()).unwrap_or_default()
    }

    /// The state of one neighbour; cheaper than its whole view.
    #[must_use]
    pub fn state(&self, peer: PeerId) -> Option<SessionState> {
        self.peers.get(&peer).map(Peer::view_state)
    }

    fn peer_view(&self, id: PeerId, peer: &Peer) -> PeerView {
        let state = peer.view_state();
        let session = peer.established().and_then(|c| self.session_view(c));
        let not_announced = match peer.established().and_then(|c| c.session.as_ref()) {
            Some(session) => peer
                .config
                .families
                .iter()
                .filter_map(|f| Some(NotAnnounced { family: *f, why: session.adj_out.context().obstacle(*f)? }))
                .collect(),
            None => Vec::new(),
        };
        PeerView {
            id,
            remote: peer.config.remote,
            remote_asn: peer.config.remote_asn,
            state,
            state_reason: state_reason(peer, state),
            since: peer.state_since.1,
            session,
            established_count: peer.established_count,
            failures: peer.failures,
            retention: peer.retention.as_ref().map(|retention| self.retention_view(id, retention)),
            retry_at: peer.timers.get(Timer::ConnectRetry),
            last_error: peer.last_down.as_ref().map(ToString::to_string),
            last_notification_sent: peer.last_sent.clone(),
            last_notification_received: peer.last_received.clone(),
            counters: peer.counters,
            prefix_usage: peer.limit_usage(|family| {
                let session = peer.established().and_then(|c| c.session.as_ref());
                session.map_or(0, |s| s.adj_in.count(&self.rib, family))
            }),
            not_announced,
        }
    }

    fn session_view(&self, conn: &Conn) -> Option<SessionView> {
        let (negotiated, session, (local, remote)) = (conn.negotiated()?, conn.session.as_ref()?, conn.ends?);
        let ctx = session.adj_out.context();
        Some(SessionView {
            established_at: session.at,
            uptime: self.now.saturating_sub(session.at),
            local,
            remote,
            dialled: matches!(conn.id, ConnId::Dialled(_)),
            asn: negotiated.asn,
            router_id: negotiated.router_id,
            hold_time: negotiated.hold_time,
            keepalive: negotiated.keepalive(),
            families: negotiated.update.families.iter().copied().collect(),
            four_octet_as: negotiated.update.four_octet_as,
            route_refresh: negotiated.route_refresh,
            enhanced_refresh: negotiated.enhanced_refresh,
            max_message_in: negotiated.max_message_in(),
            max_message_out: negotiated.max_message_out(),
            add_path_receive: negotiated.update.add_path.iter().copied().collect(),
            extended_next_hop: negotiated.update.extended_next_hop,
            capabilities_sent: conn.our_open.as_ref().map(|o| o.capabilities.clone()).unwrap_or_default(),
            capabilities_received: negotiated.capabilities_received.clone(),
            end_of_rib_received: session.end_of_rib_received.iter().copied().collect(),
            end_of_rib_sent: session.adj_out.end_of_rib_sent().iter().copied().collect(),
            prefixes_received: Family::BOTH.into_iter().map(|f| session.adj_in.count(&self.rib, f)).sum(),
            prefixes_advertised: session.adj_out.len() as u64,
            next_hop_v4: ctx.next_hop_v4,
            next_hop_v6: ctx.next_hop_v6,
        })
    }

    fn retention_view(&self, id: PeerId, retention: &Retention) -> RetentionView {
        let families = retention.families.iter().map(|(family, kept)| KeptView {
            family: *family,
            paths: self.kept_paths(id, *family),
            until: kept.until,
            long_lived: kept.long_lived,
        });
        RetentionView {
            since: retention.since,
            why: retention.why.to_string(),
            back: retention.back,
            families: families.collect(),
        }
    }

    fn stale_view(&self, peer: PeerId, (since, long_lived): (Duration, bool)) -> StaleView {
        let retention = self.peers.get(&peer).and_then(|p| p.retention.as_ref());
        let why = match retention {
            Some(retention) if retention.back => "its neighbour is back, and has not sent it again yet".to_owned(),
            Some(retention) => format!("its neighbour may be restarting: {}", retention.why),
            None => "about to go".to_owned(),
        };
        StaleView { since, long_lived, why }
    }

    /// What was received: all paths, of one neighbour or all, to one destination or all; sorted by prefix, then peer.
    #[must_use]
    pub fn routes_received(&self, peer: Option<PeerId>, prefix: Option<Prefix>) -> Vec<PathView> {
        let mut paths: Vec<PathView> = self
            .rib
            .paths(prefix)
            .filter(|p| peer.is_none_or(|peer| peer == p.peer))
            .map(|p| PathView {
                prefix: p.prefix,
                peer: p.peer,
                path_id: self.path_id(p.peer, &p.prefix, p.source),
                reason: p.reason,
                why: p.reason.to_string(),
                attributes: match p.stale {
                    Some((_, true)) => marked(p.attributes),
                    _ => p.attributes.clone(),
                },
                stale: p.stale.map(|stale| self.stale_view(p.peer, stale)),
            })
            .collect();
        paths.sort_by_key(|p| (p.prefix, p.peer, p.path_id));
        paths
    }

    fn path_id(&self, peer: PeerId, prefix: &Prefix, source: SourceId) -> Option<u32> {
        let peer = self.peers.get(&peer)?;
        let session = peer.established().and_then(|conn| conn.session.as_ref());
        let former = || peer.kept.iter().flatten().find_map(|kept| kept.path_id(prefix, source));
        session.and_then(|session| session.adj_in.path_id(prefix, source)).or_else(former)
    }

    /// What is ours, neighbour by neighbour: what it was told, or why it was not; sorted by prefix, then peer.
    #[must_use]
    pub fn routes_advertised(&self, peer: Option<PeerId>) -> Vec<AdvertisedView> {
        let peers: Vec<_> = self.peers.iter().filter(|(id, _)| peer.is_none_or(|peer| peer == **id)).collect();
        let mut views = Vec::new();
        for (prefix, originated) in &self.originated {
            for (id, peer) in &peers {
                let session = peer.established().and_then(|c| c.session.as_ref());
                let (sent, not_announced) = match session {
                    Some(s) => (s.adj_out.told(prefix), s.adj_out.not_told(prefix)),
                    None => (None, Some(NotAnnouncedBecause::NotEstablished)),
                };
                let ownership = originated.proof().clone();
                views.push(AdvertisedView { prefix: *prefix, peer: **id, ownership, sent, not_announced });
            }
        }
        views
    }

    /// Whether every session that can tell of this prefix of ours has told of it, down to the kernel's taking the message's last
    /// octet. True also where there is no such session: nobody is to be waited for then.
    #[must_use]
    pub fn is_told(&self, prefix: &Prefix) -> bool {
        let sessions =
            self.peers.values().filter_map(|peer| peer.established()).filter_map(|c| Some((c, c.session.as_ref()?)));
        sessions.into_iter().all(|(conn, session)| match session.adj_out.not_told(prefix) {
            None => session.adj_out.is_within(prefix, conn.octets_taken()),
            Some(NotAnnouncedBecause::Queued) => false,
            Some(_) => true,
        })
    }

    /// The learned route in use for exactly this prefix.
    #[must_use]
    pub fn lookup(&self, prefix: Prefix) -> Option<LocRoute> {
        self.rib.lookup(prefix)
    }

    /// The learned route in use with the longest prefix that holds this address.
    #[must_use]
    pub fn best_match(&self, addr: IpAddr) -> Option<(Prefix, LocRoute)> {
        self.rib.best_match(addr)
    }

    /// How much the tables hold.
    #[must_use]
    pub fn rib_sizes(&self) -> RibSizes {
        let (v4, v6, attribute_sets) = self.rib.sizes();
        RibSizes { v4, v6, attribute_sets }
    }

    /// The families for which a peer has finished its initial routes, in its present session.
    #[must_use]
    pub fn end_of_rib_received(&self, peer: PeerId, family: Family) -> bool {
        let session = self.peers.get(&peer).and_then(Peer::established).and_then(|c| c.session.as_ref());
        session.is_some_and(|s| s.end_of_rib_received.contains(&family))
    }
}

/// The attributes as they would be passed on (RFC 9494 section 4.2), were anything learned passed on.
fn marked(attributes: &Arc<Attributes>) -> Arc<Attributes> {
    if attributes.communities.contains(&LLGR_STALE) {
        return attributes.clone();
    }
    let mut marked = Attributes::clone(attributes);
    marked.communities = marked.communities.iter().copied().chain([LLGR_STALE]).collect();
    Arc::new(marked)
}

fn state_reason(peer: &Peer, state: SessionState) -> Option<String> {
    if state == SessionState::Established {
        return None;
    }
    if let Some(error) = &peer.misconfigured {
        return Some(error.to_string());
    }
    if let Some(many) = peer.held.filter(|_| peer.enabled) {
        return Some(many.to_string());
    }
    Some(match (peer.enabled, peer.link_up, state) {
        (false, _, _) => "disabled by the operator".to_owned(),
        (_, false, _) => "its uplink is down".to_owned(),
        (_, _, SessionState::Idle) if !peer.bfd_allows() => match &peer.last_down {
            Some(reason @ DownReason::BfdDown { .. }) => format!("waits for BFD; {reason}"),
            Some(_) | None => "waits for BFD".to_owned(),
        },
        (_, _, SessionState::Idle) => format!("failed {} times in a row and waits", peer.faults),
        (_, _, SessionState::Active) if peer.config.passive => "waits for the neighbour to connect".to_owned(),
        (_, _, SessionState::Active) => match &peer.last_down {
            Some(reason) => format!("waits to try again; {reason}"),
            None => "waits to connect".to_owned(),
        },
        (_, _, SessionState::Connect) => hinted(peer, "connecting"),
        (_, _, SessionState::OpenSent) => hinted(peer, "waits for the neighbour's OPEN"),
        _ => hinted(peer, "waits for the neighbour's KEEPALIVE"),
    })
}

/// With why that may not come, where the driver can tell.
fn hinted(peer: &Peer, awaited: &str) -> String {
    match peer.conns.iter().find_map(|c| c.hint.as_ref()) {
        Some(hint) => format!("{awaited}; {hint}"),
        None => awaited.to_owned(),
    }
}
