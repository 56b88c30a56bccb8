//! The speaker: all sessions and the RIBs of one node.

mod bfd;
mod graceful;
mod import;
mod inbound;
mod operator;
mod outbound;
mod retention;
mod sessions;
mod views;

pub use operator::NoRefresh;

use std::collections::{BTreeMap, VecDeque};
use std::net::{Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use petiole_prefix::Prefix;
use rand_chacha::ChaCha8Rng;
use rand_core::{Rng, SeedableRng};

use crate::config::{ConnId, LocalConfig, PeerConfig, PeerId};
use crate::event::{Action, Event, SpeakerEvent, TimerReason};
use crate::guard::Originated;
use crate::rib::{Rib, RouteChanges};
use crate::session::fsm::StopReason;
use crate::session::{Established, Input, Peer, Timer, Timers};
use graceful::Restarted;

/// Prefixes worked into the RIB per call: about a millisecond.
const BUDGET: usize = 4096;

/// Slots of the table looked at per call for what ended sessions left; a look costs a fraction of an insertion.
const SWEEP: usize = 8192;

/// Reports kept for a caller that does not fetch them.
const REPORTS: usize = 8192;

/// A BGP-4 speaker.
///
/// | class | methods |
/// |---|---|
/// | what should be | [`set_peers`](Self::set_peers), [`set_originated`](Self::set_originated), [`set_next_hops`](Self::set_next_hops), [`set_peer_enabled`](Self::set_peer_enabled), [`clear_peer`](Self::clear_peer), [`stop_all`](Self::stop_all), [`hold_end_of_rib`](Self::hold_end_of_rib), [`set_restart`](Self::set_restart) |
/// | what happened | [`handle_event`](Self::handle_event), [`handle_uplink`](Self::handle_uplink), [`handle_timeout`](Self::handle_timeout) |
/// | what to do | [`poll_action`](Self::poll_action), [`poll_event`](Self::poll_event), [`poll_route_changes`](Self::poll_route_changes), [`poll_timeout`](Self::poll_timeout) |
/// | how it is | [`peers`](Self::peers), [`routes_received`](Self::routes_received), [`routes_advertised`](Self::routes_advertised), [`lookup`](Self::lookup), [`best_match`](Self::best_match) |
///
/// Call one method of the first two classes, drain [`poll_action`](Self::poll_action), [`poll_event`](Self::poll_event) and
/// [`poll_route_changes`](Self::poll_route_changes), then wait until [`poll_timeout`](Self::poll_timeout) at the latest. No call
/// does more than about a millisecond of work: what is left over makes `poll_timeout` due at once. `now` never goes back.
pub struct Speaker {
    local: LocalConfig,
    /// The time of the last call.
    now: Duration,
    peers: BTreeMap<PeerId, Peer>,
    /// Living connections.
    conns: BTreeMap<ConnId, PeerId>,
    next_dialled: u64,
    /// The dice of all neighbours are streams of this one.
    rng: ChaCha8Rng,
    originated: BTreeMap<Prefix, Originated>,
    end_of_rib_held: bool,
    restarted: Option<Restarted>,
    rib: Rib,
    actions: VecDeque<Action>,
    events: Reports,
    /// Whose put-off input was worked on last, so that all get their turn.
    last_worked: Option<ConnId>,
    /// When this node last stood still, and for how long.
    stall: Option<(Duration, Duration)>,
}

/// Reports not fetched yet; the oldest are lost when nobody fetches them.
#[derive(Default)]
struct Reports(VecDeque<SpeakerEvent>);

impl Reports {
    fn push(&mut self, event: SpeakerEvent) {
        if self.0.len() >= REPORTS {
            self.0.pop_front();
        }
        self.0.push_back(event);
    }
}

impl Speaker {
    /// A speaker without neighbours. `seed` serves the jitter of timers and the hash of the tables.
    #[must_use]
    pub fn new(local: LocalConfig, seed: [u8; 32], now: Duration) -> Self {
        let mut rng = ChaCha8Rng::from_seed(seed);
        let rib = Rib::new([rng.next_u64(), rng.next_u64()]);
        Self {
            local,
            now,
            peers: BTreeMap::new(),
            conns: BTreeMap::new(),
            next_dialled: 0,
            rng,
            originated: BTreeMap::new(),
            end_of_rib_held: false,
            restarted: None,
            rib,
            actions: VecDeque::new(),
            events: Reports::default(),
            last_worked: None,
            stall: None,
        }
    }

    /// Who we are.
    #[must_use]
    pub const fn local(&self) -> &LocalConfig {
        &self.local
    }

    /// Replaces the whole set of neighbours. Sessions of unchanged ones are untouched; changed ones start anew (Cease 6/6),
    /// removed ones end (Cease 6/3), new ones are dialled at once.
    pub fn set_peers(&mut self, mut peers: BTreeMap<PeerId, PeerConfig>, now: Duration) {
        self.advance(now);
        let old: Vec<PeerId> = self.peers.keys().copied().collect();
        for id in old {
            let Some(config) = peers.remove(&id) else {
                self.stop(id, StopReason::Deconfigured, now);
                self.peers.remove(&id);
                continue;
            };
            let Some(peer) = self.peers.get_mut(&id) else { continue };
            let (bfd, waited_for_bfd) = (peer.config.bfd, !peer.bfd_allows());
            if config.keeps_session_of(&peer.config) {
                for session in sessions_of([&mut *peer]) {
                    session.adj_out.set_communities(&config.communities);
                }
                if config.max_prefix != peer.config.max_prefix {
                    peer.limit_levels = Default::default();
                    let was_held = peer.held.is_some();
                    peer.release();
                    peer.config = config;
                    let conn = peer.established().map(|c| c.id);
                    if let Some(conn) = conn {
                        self.check_limits(id, conn, now);
                    } else if was_held {
                        self.dial(id, now);
                    }
                } else {
                    peer.config = config;
                }
                if let Some(peer) = self.peers.get_mut(&id) {
                    peer.bfd_configured(bfd, now);
                }
                if waited_for_bfd {
                    self.dial(id, now);
                }
                continue;
            }
            self.stop(id, StopReason::ConfigChanged, now);
            if let Some(peer) = self.peers.get_mut(&id) {
                peer.misconfigured = config.check(&self.local).err();
                peer.config = config;
                peer.bfd_configured(bfd, now);
                peer.forgive();
                peer.release();
            }
            self.dial(id, now);
        }
        for (id, config) in peers {
            let misconfigured = config.check(&self.local).err();
            // A stream per neighbour, so that one's draws don't shift another's.
            let mut rng = self.rng.clone();
            rng.set_stream(stream_of(id));
            let mut peer = Peer::new(config, misconfigured, rng, now);
            peer.await_bfd(now);
            self.peers.insert(id, peer);
            self.dial(id, now);
        }
        self.finish(now);
    }

    /// Tells the state of the uplink a neighbour is reached by. Down ends the session at once; up dials at once, whatever the
    /// back-off. Uplinks are up at first.
    pub fn handle_uplink(&mut self, peer: PeerId, up: bool, now: Duration) {
        self.advance(now);
        let Some(p) = self.peers.get_mut(&peer).filter(|p| p.link_up != up) else { return };
        p.link_up = up;
        if up {
            // Failures over a dead link say nothing about a living one; its first moments may well bring another.
            p.failures = 0;
            p.await_bfd(now);
            self.dial(peer, now);
        } else {
            self.stop(peer, StopReason::LinkDown, now);
        }
        self.finish(now);
    }

    /// Replaces the whole set of what we announce. Withdrawals go before announcements, and both as soon as the connections
    /// take them.
    pub fn set_originated(&mut self, set: BTreeMap<Prefix, Originated>, now: Duration) {
        self.advance(now);
        if set == self.originated {
            return;
        }
        self.originated = set;
        self.rib.set_local(self.originated.keys());
        let Self { peers, rib, .. } = self;
        for session in sessions_of(peers.values_mut()) {
            session.adj_out.mark_stale();
            session.forget_last(rib);
        }
        self.finish(now);
    }

    /// Our next hops towards a neighbour, for families its session does not run over. The family it does run over uses the
    /// session's own local address, unless one is given here; either may be link-local. IPv4 without a next hop of its own goes
    /// with the IPv6 one where both sides agreed on that (RFC 8950). A family without a next hop is not announced.
    pub fn set_next_hops(&mut self, peer: PeerId, v4: Option<Ipv4Addr>, v6: Option<Ipv6Addr>, now: Duration) {
        self.advance(now);
        let Some(p) = self.peers.get_mut(&peer) else { return };
        p.next_hops = (v4, v6);
        let local = p.established().and_then(|c| c.ends).map(|(local, _)| local);
        if let Some(local) = local {
            let (v4, v6) = p.next_hops_over(local);
            for session in sessions_of([p]) {
                session.adj_out.set_next_hops(v4, v6);
                session.forget_last(&mut self.rib);
            }
        }
        self.finish(now);
    }

    /// Holds back our End-of-RIB markers until the node's state is complete. Not held at first. Announcements are not held:
    /// what is in the originated set has its proof.
    pub fn hold_end_of_rib(&mut self, held: bool, now: Duration) {
        self.advance(now);
        self.end_of_rib_held = held;
        self.finish(now);
    }

    /// Takes in what happened on a connection. Events of unknown or closed connections are ignored.
    pub fn handle_event(&mut self, event: Event, now: Duration) {
        self.advance(now);
        match event {
            Event::Connected { conn, local, remote } => self.connected(conn, local, remote, now),
            Event::ConnectFailed { conn, error } => self.closed(conn, Input::ConnectFailed(error), now),
            Event::Accepted { conn, local, remote } => self.accepted(conn, local, remote, now),
            Event::Received { conn, bytes } => self.received(conn, &bytes, now),
            Event::Closed { conn, error } => self.closed(conn, Input::TcpClosed(error), now),
            Event::Written { conn, bytes } => {
                let id = self.conns.get(&conn);
                if let Some(peer) = id.and_then(|id| self.peers.get_mut(id)) {
                    peer.taken(conn, bytes, now);
                }
            }
            Event::Looked { conn, unread, silent } => {
                let id = self.conns.get(&conn);
                if let Some(c) = id.and_then(|id| self.peers.get_mut(id)).and_then(|p| p.conn(conn)) {
                    c.looked = Some((unread, silent));
                }
            }
            Event::Stalled { by } => self.stall = Some((now, by)),
            Event::Hint { conn, what } => {
                let id = self.conns.get(&conn);
                if let Some(c) = id.and_then(|id| self.peers.get_mut(id)).and_then(|p| p.conn(conn)) {
                    c.hint = Some(what).filter(|what| !what.is_empty());
                }
            }
        }
        self.finish(now);
    }

    fn closed(&mut self, conn: ConnId, input: Input, now: Duration) {
        let Some(id) = self.conns.get(&conn).copied() else { return };
        if let Input::TcpClosed(error) = &input
            && let Some(c) = self.peers.get_mut(&id).and_then(|p| p.conn(conn)).filter(|c| c.backlog)
        {
            // What came before the close may be the reason for it.
            c.eof = Some(error.clone());
            return;
        }
        self.step(id, conn, input, now);
    }

    /// Runs the timers that are due and goes on with work put off.
    pub fn handle_timeout(&mut self, now: Duration) {
        self.advance(now);
        let ids: Vec<PeerId> = self.peers.keys().copied().collect();
        for id in ids {
            self.run_timers(id, now);
        }
        let mut budget = BUDGET;
        // From the one after the last, round to it.
        let waiting =
            |(_, p): (&PeerId, &Peer)| -> Vec<ConnId> { p.conns.iter().filter(|c| c.backlog).map(|c| c.id).collect() };
        let mut waiting: Vec<ConnId> = self.peers.iter().flat_map(waiting).collect();
        waiting.sort_unstable();
        if let Some(last) = self.last_worked {
            let behind = waiting.partition_point(|c| *c <= last);
            waiting.rotate_left(behind);
        }
        for conn in waiting {
            if budget == 0 {
                break;
            }
            if let Some(id) = self.conns.get(&conn).copied() {
                self.read(id, conn, &mut budget, now);
                self.last_worked = Some(conn);
            }
        }
        self.finish(now);
    }

    /// Connections whose hold timer is due, for a look at their sockets ([`Event::Looked`]) before
    /// [`handle_timeout`](Self::handle_timeout) judges whose fault it was.
    #[must_use]
    pub fn hold_due(&self, now: Duration) -> Vec<ConnId> {
        let conns = self.peers.values().flat_map(|p| &p.conns);
        conns.filter(|c| c.timers.get(Timer::Hold).is_some_and(|at| at <= now)).map(|c| c.id).collect()
    }

    /// What the driver is to do next.
    pub fn poll_action(&mut self) -> Option<Action> {
        self.actions.pop_front()
    }

    /// The next report.
    pub fn poll_event(&mut self) -> Option<SpeakerEvent> {
        self.events.0.pop_front()
    }

    /// The next batch of changes of the routes in use; about a thousand at most. What is not fetched is kept and coalesced.
    pub fn poll_route_changes(&mut self) -> Option<RouteChanges> {
        self.rib.changes()
    }

    /// When to call [`handle_timeout`](Self::handle_timeout), and why.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<(Duration, TimerReason)> {
        let peers = self.peers.values();
        let backlog = self.rib.is_sweeping() || peers.clone().any(|p| p.conns.iter().any(|c| c.backlog));
        if backlog {
            return Some((self.now, TimerReason::Backlog));
        }
        let timers = peers.flat_map(|p| p.conns.iter().map(|c| &c.timers).chain([&p.timers]));
        timers.filter_map(Timers::next).min()
    }

    /// Whether a hold timer is due: whatever has arrived should be handed over before [`handle_timeout`](Self::handle_timeout).
    #[must_use]
    pub fn is_hold_due(&self, now: Duration) -> bool {
        let mut conns = self.peers.values().flat_map(|p| &p.conns);
        conns.any(|c| c.timers.get(Timer::Hold).is_some_and(|at| at <= now))
    }

    fn advance(&mut self, now: Duration) {
        self.now = self.now.max(now);
    }

    /// What ends every call: a piece of the search for what ended sessions left, and what the peers are to be told.
    fn finish(&mut self, now: Duration) {
        if self.rib.is_sweeping() {
            self.rib.sweep(&mut { SWEEP });
        }
        self.flush(now);
    }

    fn report(&mut self, event: SpeakerEvent) {
        self.events.push(event);
    }
}

fn sessions_of<'a>(peers: impl IntoIterator<Item = &'a mut Peer>) -> impl Iterator<Item = &'a mut Established> {
    peers.into_iter().flat_map(|p| &mut p.conns).filter_map(|c| c.session.as_deref_mut())
}

/// Tells the streams of different neighbours apart; any injective enough function does.
fn stream_of(id: PeerId) -> u64 {
    let text = id.to_string();
    text.bytes().fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
}

#[cfg(test)]
mod tests;
