//! What operators do to single neighbours, and what limits do to them.

use std::time::Duration;

use petiole_prefix::Family;

use super::Speaker;
use crate::config::{ConnId, PeerId};
use crate::ended::TooManyPrefixes;
use crate::event::SpeakerEvent;
use crate::limit::{LimitLevel, OverLimit, PrefixUsage};
use crate::session::Timer;
use crate::session::fsm::StopReason;
use crate::session::peer::Peer;
use crate::view::SessionState;
use crate::wire::{Afi, RouteRefresh, Safi, ShutdownText};

/// Why a neighbour can't be asked for its routes again.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum NoRefresh {
    /// Nobody has this name.
    #[error("there is no such neighbour")]
    Unknown,
    /// There is no session.
    #[error("there is no session with it")]
    NotEstablished,
    /// It does not know the message (RFC 2918).
    #[error("it did not offer route refresh")]
    NotOffered,
}

impl Speaker {
    /// Lets an operator stop one neighbour (Cease 6/2, with a text) and start it again. Neighbours are enabled at first. To
    /// enable one forgets its failures and whatever else keeps it idle.
    pub fn set_peer_enabled(&mut self, peer: PeerId, enabled: bool, text: Option<ShutdownText>, now: Duration) {
        self.advance(now);
        let Some(p) = self.peers.get_mut(&peer).filter(|p| p.enabled != enabled || (enabled && p.held.is_some()))
        else {
            return;
        };
        p.enabled = enabled;
        p.forgive();
        p.release();
        if enabled {
            self.dial(peer, now);
        } else {
            self.stop(peer, StopReason::Disabled(text), now);
        }
        self.finish(now);
    }

    /// Ends the session with a neighbour (Cease 6/4, with a text) and starts anew at once, whatever kept it from that.
    pub fn clear_peer(&mut self, peer: PeerId, text: Option<ShutdownText>, now: Duration) {
        self.advance(now);
        self.stop(peer, StopReason::Cleared(text), now);
        if let Some(p) = self.peers.get_mut(&peer) {
            p.forgive();
            p.release();
        }
        self.dial(peer, now);
        self.finish(now);
    }

    /// Asks a neighbour for all its routes again (RFC 2918), of every family of the session.
    ///
    /// # Errors
    /// Why it can't be asked.
    pub fn request_refresh(&mut self, peer: PeerId, now: Duration) -> Result<(), NoRefresh> {
        self.advance(now);
        let p = self.peers.get(&peer).ok_or(NoRefresh::Unknown)?;
        let c = p.established().ok_or(NoRefresh::NotEstablished)?;
        let negotiated = c.negotiated().ok_or(NoRefresh::NotEstablished)?;
        if !negotiated.route_refresh {
            return Err(NoRefresh::NotOffered);
        }
        let conn = c.id;
        for family in negotiated.update.families.clone() {
            let mut bytes = Vec::new();
            RouteRefresh { afi: Afi::of(family), subtype: 0, safi: Safi::Unicast }.encode(&mut bytes);
            self.transmit(peer, conn, bytes);
        }
        self.finish(now);
        Ok(())
    }

    /// Ends all sessions for good (Cease 6/2, with a text), and begins none any more. What was announced is withdrawn first, for
    /// a peer that would keep it.
    pub fn stop_all(&mut self, text: Option<ShutdownText>, now: Duration) {
        self.advance(now);
        self.originated.clear();
        for session in super::sessions_of(self.peers.values_mut()) {
            session.adj_out.mark_stale();
        }
        self.flush(now);
        let ids: Vec<PeerId> = self.peers.keys().copied().collect();
        for id in ids {
            if let Some(p) = self.peers.get_mut(&id) {
                p.enabled = false;
            }
            self.stop(id, StopReason::Stopped(text.clone()), now);
        }
        self.finish(now);
    }

    /// The neighbours with what they use of their limits at most, and why they are left alone, if they are; cheap.
    pub fn limits(&self) -> impl Iterator<Item = (PeerId, LimitLevel, Option<TooManyPrefixes>)> {
        self.peers.iter().map(|(id, p)| {
            let [v4, v6] = p.limit_levels;
            let level = if p.view_state() == SessionState::Established { v4.max(v6) } else { LimitLevel::Fine };
            (*id, level, p.held)
        })
    }

    /// Holds what a session has sent against the neighbour's limits.
    pub(super) fn check_limits(&mut self, id: PeerId, conn: ConnId, now: Duration) {
        let Self { peers, rib, events, .. } = self;
        let Some(peer) = peers.get_mut(&id) else { return };
        let Some(max) = peer.config.max_prefix else { return };
        let session = peer.conns.iter().find(|c| c.id == conn).and_then(|c| c.session.as_ref());
        let Some(adj_in) = session.map(|s| &s.adj_in) else { return };
        let mut over = None;
        for (family, known) in Family::BOTH.into_iter().zip(&mut peer.limit_levels) {
            let count = adj_in.count(rib, family);
            let level = max.level(count, *known);
            if level != *known {
                *known = level;
                let usage = PrefixUsage { family, count, limit: max.limit, level };
                events.push(SpeakerEvent::PrefixLimit { peer: id, usage });
            }
            if level == LimitLevel::Over {
                over = over.or(Some(family));
            }
        }
        let (Some(family), limit) = (over, max.limit) else { return };
        let restart_after = match max.action {
            OverLimit::Warn => return,
            OverLimit::Restart { after } => Some(after),
            OverLimit::Idle => None,
        };
        let many = TooManyPrefixes { family, limit, restart_after };
        peer.held = Some(many);
        self.stop(id, StopReason::TooManyPrefixes(many), now);
        if let (Some(after), Some(peer)) = (restart_after, self.peers.get_mut(&id)) {
            peer.timers.set(Timer::IdleHold, now + after);
        }
    }

    /// The time for which a neighbour over its limit is left alone is over.
    pub(super) fn idle_hold_over(&mut self, id: PeerId, now: Duration) {
        if let Some(peer) = self.peers.get_mut(&id) {
            peer.release();
        }
        self.dial(id, now);
    }
}

impl Peer {
    /// How much of its limits it uses, while there is a session.
    pub(crate) fn limit_usage(&self, count: impl Fn(Family) -> u64) -> Vec<PrefixUsage> {
        let Some(max) = self.config.max_prefix.filter(|_| self.view_state() == SessionState::Established) else {
            return Vec::new();
        };
        let usage = |(family, level)| PrefixUsage { family, count: count(family), limit: max.limit, level };
        Family::BOTH.into_iter().zip(self.limit_levels).map(usage).collect()
    }
}
