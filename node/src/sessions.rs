//! The speaker's place in the node: its neighbours, its uplinks, and what it reports.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::time::Duration;

use petiole_bgp::{
    ConnId, LimitLevel, LocalConfig, PeerConfig, PeerId, RemoteAsn, RestartPolicy, SessionState, Speaker, SpeakerEvent,
};
use petiole_config::{GracefulRestartSettings, Neighbour, PeerSettings};
use petiole_dataplane::ident;
use petiole_prefix::{Family, Prefix};

use crate::detection;
use crate::effect::Effect;
use crate::event::Event;
use crate::fib::Terrain;
use crate::node::Node;
use crate::policy;
use crate::seed;
use crate::uplink::{NoUplink, Uplink};

/// The longest wait between two attempts to reach a leaf. A link that comes up is tried at once.
const CONNECT_RETRY: Duration = Duration::from_secs(5);

impl Node {
    /// Links or addresses changed: finds the uplinks anew and tells the speaker.
    pub(crate) fn update_sessions(&mut self) {
        let Some(bgp) = self.settings.bgp.clone() else { return };
        let now = self.now.mono;
        let goes_on = *self.goes_on.get_or_insert_with(|| {
            self.resumed || self.dataplane.observed_routes().any(|(_, route)| route.protocol == ident::ROUTE_PROTOCOL)
        });
        if self.speaker.is_none() {
            let Some(router_id) = self.router_id() else { return };
            let local = LocalConfig { asn: bgp.asn, router_id };
            let mut speaker = Speaker::new(local, seed::derive(&self.seed, "bgp"), now);
            speaker.hold_end_of_rib(!self.order.end_of_rib_released(), now);
            if goes_on {
                speaker.set_restart(Family::BOTH.into_iter().collect(), now);
            }
            self.speaker = Some(speaker);
        }
        self.uplinks =
            bgp.peers.iter().filter_map(|settings| Some((peer_id(settings)?, self.uplink(settings)))).collect();
        self.use_taken();
        let ways: BTreeMap<PeerId, Uplink> =
            self.uplinks.iter().filter_map(|(id, uplink)| Some((*id, self.way(*id, uplink)?))).collect();
        self.last_uplinks = ways.clone();
        let Some(speaker) = &mut self.speaker else { return };
        let mut peers = BTreeMap::new();
        for settings in &bgp.peers {
            let Some(id) = peer_id(settings) else { continue };
            let Some(uplink) = ways.get(&id) else { continue };
            let asn = settings.asn.map_or(RemoteAsn::External, RemoteAsn::Is);
            let config = PeerConfig {
                port: settings.port,
                local_address: Some(settings.local_address.unwrap_or(uplink.local)),
                hold_time: settings.hold_time,
                connect_retry: CONNECT_RETRY,
                passive: settings.passive,
                graceful_restart: settings.graceful_restart.map(restart_policy),
                scope_id: uplink.scope_id,
                starts_disabled: self.orders.disabled.contains(&id),
                bfd: detection::policy(settings),
                ..PeerConfig::new(uplink.remote, asn)
            };
            peers.insert(id, policy::limited(config, &settings.policy));
        }
        speaker.set_peers(peers, now);
        for (id, uplink) in &ways {
            speaker.set_next_hops(*id, uplink.v4, uplink.v6, now);
            speaker.handle_uplink(*id, uplink.up, now);
        }
        self.update_bfd(&ways);
    }

    /// The way to a leaf for the speaker. A leaf that was found on an interface stays a neighbour while the link is down or
    /// nobody is heard there, so that its session ends as one of a lost link and is not forgotten.
    fn way(&self, id: PeerId, uplink: &Result<Uplink, NoUplink>) -> Option<Uplink> {
        match uplink {
            Ok(uplink) => Some(uplink.clone()),
            Err(_) => {
                let last = self.last_uplinks.get(&id).filter(|_| id.interface().is_some())?;
                Some(Uplink { up: false, ..last.clone() })
            }
        }
    }

    fn uplink(&self, settings: &PeerSettings) -> Result<Uplink, NoUplink> {
        match &settings.neighbour {
            Neighbour::Address(addr) => self.topology.uplink(*addr),
            Neighbour::Interface(name) => {
                self.topology.uplink_on(name, self.neighbours.neighbour(name)).map_err(|why| match why {
                    NoUplink::NoLinkLocal { name, .. } => {
                        NoUplink::NoLinkLocal { why: self.neighbours.why_no_address(&name), name }
                    }
                    other => other,
                })
            }
        }
    }

    /// Takes out of the speaker what it has to say.
    pub(crate) fn drain_speaker(&mut self) {
        let Some(speaker) = &mut self.speaker else { return };
        let mut actions = Vec::new();
        let mut events = Vec::new();
        while let Some(action) = speaker.poll_action() {
            actions.push(Effect::Bgp(action));
        }
        while let Some(event) = speaker.poll_event() {
            events.push(event);
        }
        while let Some(batch) = speaker.poll_route_changes() {
            let changes = batch.changes.into_iter().map(|(prefix, route)| (prefix, route.map(|r| r.next_hops)));
            let changes = self.fib.update(changes);
            self.dataplane.update_learned(changes);
        }
        for action in actions {
            self.push(action);
        }
        for event in events {
            self.note(event);
        }
    }

    fn note(&mut self, event: SpeakerEvent) {
        match event {
            SpeakerEvent::PeerUp { peer, asn, .. } => {
                self.set_established(peer, true);
                self.leaves_in_sync = self.all_leaves_in_sync();
                self.log(Event::PeerUp { peer: peer.to_string(), asn });
            }
            SpeakerEvent::PeerDown { peer, reason, .. } => {
                self.set_established(peer, false);
                self.leaves_in_sync = false;
                self.log(Event::PeerDown { peer: peer.to_string(), reason: reason.to_string() });
            }
            SpeakerEvent::PrefixLimit { peer, usage } => {
                self.log(Event::PrefixLimit {
                    peer: peer.to_string(),
                    fine: usage.level == LimitLevel::Fine,
                    usage: usage.to_string(),
                });
            }
            SpeakerEvent::EndOfRibReceived { peer, family, .. } => {
                self.leaves_in_sync = self.all_leaves_in_sync();
                self.log(Event::PeerNote { peer: peer.to_string(), what: format!("has sent its {family} routes") });
            }
            SpeakerEvent::EndOfRibSent { peer, family, .. } => {
                self.log(Event::PeerNote { peer: peer.to_string(), what: format!("was sent our {family} routes") });
            }
            SpeakerEvent::PathsKept { peer, family, at, paths, until, long_lived } => {
                let time = until.saturating_sub(at).as_secs();
                let how = if long_lived { ", only where there is nothing else" } else { "" };
                let what = format!("{paths} {family} routes stay in use for {time} s while it is away{how}");
                self.log(Event::Retention { peer: peer.to_string(), what });
            }
            SpeakerEvent::PathsLapsed { peer, family, paths, why, .. } => {
                let what = format!("of the {family} routes kept of its former session {paths} go: {why}");
                self.log(Event::Retention { peer: peer.to_string(), what });
            }
            SpeakerEvent::ConnectionLost { peer, reason, .. } => {
                self.log(Event::PeerNote { peer: peer.to_string(), what: reason.to_string() });
            }
            SpeakerEvent::ConnectionRefused { remote, why } => {
                self.log(Event::PeerNote {
                    peer: remote.ip().to_string(),
                    what: format!("connection from {remote} refused: {why}"),
                });
            }
            SpeakerEvent::NotificationSent { peer, notification } => {
                self.log(Event::PeerNote { peer: peer.to_string(), what: format!("sent NOTIFICATION {notification}") });
            }
            SpeakerEvent::NotificationReceived { peer, notification } => {
                self.log(Event::PeerNote {
                    peer: peer.to_string(),
                    what: format!("received NOTIFICATION {notification}"),
                });
            }
            SpeakerEvent::UpdateError { peer, treatment, fault } => {
                let what = format!("malformed UPDATE ({fault}), handled by {treatment}");
                self.log(Event::PeerNote { peer: peer.to_string(), what });
            }
            SpeakerEvent::RefreshRequested { peer, family } => {
                self.log(Event::PeerNote {
                    peer: peer.to_string(),
                    what: format!("asked for our {family} routes again"),
                });
            }
            SpeakerEvent::Refreshed { peer, family, removed, in_time } => {
                let end = if in_time { "" } else { ", without an end in time" };
                let what = format!("sent its {family} routes again{end}; {removed} it did not repeat are gone");
                self.log(Event::PeerNote { peer: peer.to_string(), what });
            }
            SpeakerEvent::Advertised { peer, prefixes, .. } => {
                self.log(Event::PeerNote { peer: peer.to_string(), what: format!("told of {}", list(&prefixes)) });
            }
            SpeakerEvent::Withdrawn { peer, prefixes, .. } => {
                self.log(Event::PeerNote {
                    peer: peer.to_string(),
                    what: format!("told to forget {}", list(&prefixes)),
                });
            }
            SpeakerEvent::GuardDropped { peer, error } => {
                self.guard_stops += 1;
                self.log(Event::GuardStopped(format!("towards {peer}: {error}")));
            }
        }
    }

    fn set_established(&mut self, peer: PeerId, established: bool) {
        if let Some(interface) = peer.interface() {
            self.neighbours.set_established(interface, established, self.now.mono);
        }
    }

    fn all_leaves_in_sync(&self) -> bool {
        let Some(speaker) = &self.speaker else { return false };
        let configured = self.settings.bgp.as_ref().map_or(0, |b| b.peers.len());
        let in_sync = speaker
            .peers()
            .filter(|p| {
                p.session.as_ref().is_some_and(|s| s.families.iter().all(|f| s.end_of_rib_received.contains(f)))
            })
            .count();
        configured > 0 && in_sync == configured
    }

    /// Leaves that send too many prefixes, or did and are left alone.
    pub(crate) fn limit_problems(&self) -> Vec<String> {
        let Some(speaker) = &self.speaker else { return Vec::new() };
        let mut problems = Vec::new();
        for (peer, level, held) in speaker.limits() {
            if let Some(many) = held {
                problems.push(format!("there is no session with {peer}: {many}"));
            } else if level == LimitLevel::Over {
                problems.push(format!(
                    "{peer} sends more prefixes than its max_prefix allows: look at `petiole bgp peers`, then at the leaf's policy, or raise the limit"
                ));
            }
        }
        problems
    }

    /// Connections whose hold timer is due, for a look at their sockets before [`handle_timeout`](Self::handle_timeout).
    #[must_use]
    pub fn hold_due(&self, now: Duration) -> Vec<ConnId> {
        self.speaker.as_ref().map(|speaker| speaker.hold_due(now)).unwrap_or_default()
    }

    /// Whether a timer is due that declares a leaf silent: what lies unread in the sockets is to be handed over first.
    #[must_use]
    pub fn judges_silence(&self, now: Duration) -> bool {
        self.speaker.as_ref().is_some_and(|s| s.is_hold_due(now))
    }

    /// Whether at least one session is Established.
    pub(crate) fn any_established(&self) -> bool {
        self.speaker.as_ref().is_some_and(|s| s.peers().any(|p| p.state == SessionState::Established))
    }

    /// What learned routes are judged on.
    pub(crate) fn terrain(&self) -> Terrain {
        let connected: Vec<(Prefix, u32)> = self.topology.connected().collect();
        let uplinks = self
            .uplinks
            .iter()
            .filter_map(|(id, uplink)| {
                let uplink = uplink.as_ref().ok().filter(|u| u.up)?;
                let subnets = connected.iter().filter(|(_, link)| *link == uplink.link).map(|(net, _)| *net).collect();
                Some((*id, (uplink.link, subnets)))
            })
            .collect();
        let mut ends: BTreeSet<IpAddr> =
            self.settings.bgp.iter().flat_map(|b| b.peers.iter().filter_map(|p| p.neighbour.address())).collect();
        for uplink in self.uplinks.values().filter_map(|u| u.as_ref().ok()) {
            ends.extend([uplink.local, uplink.remote]);
            ends.extend(uplink.v4.map(IpAddr::V4));
            ends.extend(uplink.v6.map(IpAddr::V6));
        }
        let mut local: BTreeSet<Prefix> = self.owned.clone();
        local.extend(self.settings.announce.iter().map(|a| a.prefix));
        local.extend(self.settings.node.addresses.iter().copied());
        for address in self.topology.on_loopback() {
            local.insert(Prefix::host(address.addr));
            local.extend(Prefix::truncated(address.addr, address.len));
        }
        Terrain {
            uplinks,
            local,
            blocks: self.owned.iter().copied().collect(),
            connected: connected.into_iter().map(|(net, _)| net).collect(),
            ends,
            accept_default: self.settings.bgp.as_ref().is_some_and(|b| b.accept_default),
            source_v4: self.source(Family::V4),
            source_v6: self.source(Family::V6),
        }
    }

    /// The uplink of a leaf, by interface name.
    pub(crate) fn uplink_name(&self, peer: PeerId) -> Option<String> {
        let found = self.uplinks.get(&peer).and_then(|u| u.as_ref().ok()).map(|u| u.name.clone());
        found.or_else(|| peer.interface().map(str::to_owned))
    }
}

/// The speaker's name of a configured neighbour; the configuration lets none through that has none.
pub(crate) fn peer_id(settings: &PeerSettings) -> Option<PeerId> {
    match &settings.neighbour {
        Neighbour::Address(addr) => Some(PeerId::of_address(*addr)),
        Neighbour::Interface(name) => PeerId::of_interface(name),
    }
}

const fn restart_policy(settings: GracefulRestartSettings) -> RestartPolicy {
    let GracefulRestartSettings { restart_time, stale_time, long_lived_time } = settings;
    RestartPolicy { restart_time, stale_time, long_lived_time }
}

fn list(prefixes: &[Prefix]) -> String {
    let some: Vec<String> = prefixes.iter().take(8).map(ToString::to_string).collect();
    match prefixes.len().saturating_sub(some.len()) {
        0 => some.join(", "),
        more => format!("{} and {more} more", some.join(", ")),
    }
}
