//! The speaker: all sessions and the RIBs of one node.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use petiole_prefix::Prefix;

use crate::config::{LocalConfig, PeerConfig, PeerId};
use crate::event::{Action, Event, SpeakerEvent, TimerReason};
use crate::guard::Originated;
use crate::rib::{LocRoute, RouteChanges};
use crate::view::{AdvertisedView, PathView, PeerView};

/// A BGP-4 speaker.
///
/// | class | methods |
/// |---|---|
/// | what should be | [`set_peers`](Self::set_peers), [`set_originated`](Self::set_originated), [`set_next_hops`](Self::set_next_hops), [`set_peer_enabled`](Self::set_peer_enabled), [`hold_end_of_rib`](Self::hold_end_of_rib) |
/// | what happened | [`handle_event`](Self::handle_event), [`handle_uplink`](Self::handle_uplink), [`handle_timeout`](Self::handle_timeout) |
/// | what to do | [`poll_action`](Self::poll_action), [`poll_event`](Self::poll_event), [`poll_route_changes`](Self::poll_route_changes), [`poll_timeout`](Self::poll_timeout) |
/// | how it is | [`peers`](Self::peers), [`routes_received`](Self::routes_received), [`routes_advertised`](Self::routes_advertised), [`lookup`](Self::lookup), [`best_match`](Self::best_match) |
///
/// Call one method of the first two classes, drain [`poll_action`](Self::poll_action), [`poll_event`](Self::poll_event) and
/// [`poll_route_changes`](Self::poll_route_changes), then wait until [`poll_timeout`](Self::poll_timeout) at the latest. No call
/// does more than about a millisecond of work: what is left over makes `poll_timeout` due at once. `now` never goes back.
pub struct Speaker {
    local: LocalConfig,
}

impl Speaker {
    /// A speaker without neighbours. `seed` serves the jitter of timers and the hash of the tables.
    #[must_use]
    pub fn new(local: LocalConfig, _seed: [u8; 32], _now: Duration) -> Self {
        Self { local }
    }

    /// Who we are.
    #[must_use]
    pub const fn local(&self) -> &LocalConfig {
        &self.local
    }

    /// Replaces the whole set of neighbours. Sessions of unchanged ones are untouched; changed ones start anew (Cease 6/6),
    /// removed ones end (Cease 6/3), new ones are dialled at once.
    pub fn set_peers(&mut self, _peers: BTreeMap<PeerId, PeerConfig>, _now: Duration) {}

    /// Lets an operator stop one neighbour (Cease 6/2) and start it again. Neighbours are enabled at first.
    pub fn set_peer_enabled(&mut self, _peer: PeerId, _enabled: bool, _now: Duration) {}

    /// Tells the state of the uplink a neighbour is reached by. Down ends the session at once; up dials at once, whatever the
    /// back-off. Uplinks are up at first.
    pub fn handle_uplink(&mut self, _peer: PeerId, _up: bool, _now: Duration) {}

    /// Replaces the whole set of what we announce. Withdrawals go before announcements, and both as soon as the connections
    /// take them.
    pub fn set_originated(&mut self, _set: BTreeMap<Prefix, Originated>, _now: Duration) {}

    /// Our next hops towards a neighbour, for families its session does not run over. The family it does run over uses the
    /// session's own local address, unless one is given here. A family without a next hop is not announced.
    pub fn set_next_hops(&mut self, _peer: PeerId, _v4: Option<Ipv4Addr>, _v6: Option<Ipv6Addr>, _now: Duration) {}

    /// Holds back our End-of-RIB markers until the node's state is complete. Not held at first. Announcements are not held:
    /// what is in the originated set has its proof.
    pub fn hold_end_of_rib(&mut self, _held: bool, _now: Duration) {}

    /// Takes in what happened on a connection. Events of unknown or closed connections are ignored.
    pub fn handle_event(&mut self, _event: Event, _now: Duration) {}

    /// Runs the timers that are due and goes on with work put off.
    pub fn handle_timeout(&mut self, _now: Duration) {}

    /// What the driver is to do next.
    pub fn poll_action(&mut self) -> Option<Action> {
        None
    }

    /// The next report.
    pub fn poll_event(&mut self) -> Option<SpeakerEvent> {
        None
    }

    /// The next batch of changes of the routes in use; about a thousand at most. What is not fetched is kept and coalesced.
    pub fn poll_route_changes(&mut self) -> Option<RouteChanges> {
        None
    }

    /// When to call [`handle_timeout`](Self::handle_timeout), and why.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<(Duration, TimerReason)> {
        None
    }

    /// All neighbours, in order.
    pub fn peers(&self) -> impl Iterator<Item = PeerView> {
        std::iter::empty()
    }

    /// What was received: all paths, of one neighbour or all, to one destination or all; sorted by prefix, then peer.
    #[must_use]
    pub fn routes_received(&self, _peer: Option<PeerId>, _prefix: Option<Prefix>) -> Vec<PathView> {
        Vec::new()
    }

    /// What is ours, neighbour by neighbour: what it was told, or why it was not; sorted by prefix, then peer.
    #[must_use]
    pub fn routes_advertised(&self, _peer: Option<PeerId>) -> Vec<AdvertisedView> {
        Vec::new()
    }

    /// The learned route in use for exactly this prefix.
    #[must_use]
    pub fn lookup(&self, _prefix: Prefix) -> Option<LocRoute> {
        None
    }

    /// The learned route in use with the longest prefix that holds this address.
    #[must_use]
    pub fn best_match(&self, _addr: IpAddr) -> Option<(Prefix, LocRoute)> {
        None
    }
}
