//! Keeping the paths of a neighbour that restarts (RFC 4724 section 4.2).

use std::time::Duration;

use petiole_prefix::Family;

use super::Speaker;
use crate::config::{ConnId, PeerId};
use crate::ended::DownReason;
use crate::event::SpeakerEvent;
use crate::session::Timer;
use crate::session::peer::Established;
use crate::session::retention::{AtEnd, Retention, RetentionEnd, Terms, Turn};

/// How long a connection may be on its way, to be accepted after another has become Established.
const UNDER_WAY: Duration = Duration::from_secs(5);

impl Speaker {
    /// An Established session has ended: its paths go, or are kept.
    pub(super) fn retain(&mut self, id: PeerId, session: Established, reason: &DownReason, now: Duration) {
        let Some(peer) = self.peers.get_mut(&id) else { return };
        let AtEnd { kept, retention, lapsed } = Retention::at_end(peer.retention.take(), &session.restart, reason, now);
        for (family, why) in lapsed {
            self.lapse(id, family, why, now);
        }
        let Some(peer) = self.peers.get_mut(&id) else { return };
        for (family, all) in Family::BOTH.into_iter().zip(session.adj_in.into_kept()) {
            for part in all {
                if kept.contains(&family) {
                    part.sources.iter().for_each(|source| self.rib.keep(*source, now));
                    peer.kept[family as usize].push(part);
                } else {
                    part.sources.iter().for_each(|source| self.rib.close(*source));
                }
            }
        }
        let families = retention.iter().flat_map(|r| &r.families).map(|(family, kept)| (*family, kept.until));
        let families: Vec<_> = families.collect();
        peer.retention = retention;
        for (family, until) in families {
            let paths = self.kept_paths(id, family);
            self.report(SpeakerEvent::PathsKept { peer: id, family, at: now, paths, until, long_lived: false });
        }
        self.watch_retention(id);
    }

    /// A session is Established: what is kept waits for it to say everything again, if it has gone on forwarding.
    pub(super) fn resume(&mut self, id: PeerId, terms: &Terms, now: Duration) {
        let Some(retention) = self.peers.get_mut(&id).and_then(|p| p.retention.as_mut()) else { return };
        for family in retention.is_back(terms) {
            self.lapse(id, family, RetentionEnd::NotForwarded, now);
        }
        self.succeed(id);
        self.watch_retention(id);
    }

    /// The neighbour has sent all it has of a family.
    pub(super) fn confirm(&mut self, id: PeerId, family: Family, now: Duration) {
        let Some(retention) = self.peers.get_mut(&id).and_then(|p| p.retention.as_mut()) else { return };
        if retention.families.remove(&family).is_some() {
            self.lapse(id, family, RetentionEnd::Confirmed, now);
            self.watch_retention(id);
        }
    }

    /// Nothing is kept of a neighbour any longer.
    pub(super) fn forget_kept(&mut self, id: PeerId, now: Duration) {
        let Some(retention) = self.peers.get_mut(&id).and_then(|p| p.retention.take()) else { return };
        for family in retention.families.keys() {
            self.lapse(id, *family, RetentionEnd::Ended, now);
        }
        self.watch_retention(id);
    }

    /// The timer of what is kept has run out.
    pub(super) fn retention_due(&mut self, id: PeerId, now: Duration) {
        let Some(retention) = self.peers.get_mut(&id).and_then(|p| p.retention.as_mut()) else { return };
        for (family, turn) in retention.turns(now) {
            match turn {
                Turn::Lapse(why) => self.lapse(id, family, why, now),
                Turn::Age(until) => {
                    let paths = self.kept_paths(id, family);
                    let kept = self.peers.get(&id).map(|p| p.kept[family as usize].clone()).unwrap_or_default();
                    kept.iter().flat_map(|part| &part.sources).for_each(|source| self.rib.age(*source));
                    self.report(SpeakerEvent::PathsKept { peer: id, family, at: now, paths, until, long_lived: true });
                }
            }
        }
        self.watch_retention(id);
    }

    /// Whether a neighbour that opens another connection beside its Established one must have lost that in a restart. One of
    /// which it says that it restarts gracefully would not open another otherwise (RFC 4724 section 5); but in the first
    /// moments of a session a connection may come that was on its way before.
    pub(super) fn has_restarted(&self, id: PeerId, established: ConnId, now: Duration) -> bool {
        let conn = self.peers.get(&id).and_then(|p| p.conns.iter().find(|c| c.id == established));
        let session = conn.and_then(|c| c.session.as_ref());
        session.is_some_and(|s| s.restart.any() && now.saturating_sub(s.at) >= UNDER_WAY)
    }

    fn lapse(&mut self, id: PeerId, family: Family, why: RetentionEnd, now: Duration) {
        let paths = self.kept_paths(id, family);
        let kept = self.peers.get_mut(&id).map(|p| std::mem::take(&mut p.kept[family as usize])).unwrap_or_default();
        kept.iter().flat_map(|part| &part.sources).for_each(|source| self.rib.close(*source));
        // Before a source's number is given to another.
        self.succeed(id);
        self.report(SpeakerEvent::PathsLapsed { peer: id, family, at: now, paths, why });
    }

    /// How many paths of a family are kept of a neighbour's former sessions.
    pub(super) fn kept_paths(&self, id: PeerId, family: Family) -> u64 {
        let kept = self.peers.get(&id).map(|p| p.kept[family as usize].as_slice()).unwrap_or_default();
        kept.iter().flat_map(|part| &part.sources).map(|source| self.rib.family_count(*source, family)).sum()
    }

    /// Tells the session that is there, if one is, what is kept of former ones.
    fn succeed(&mut self, id: PeerId) {
        let Some(peer) = self.peers.get_mut(&id) else { return };
        for session in peer.conns.iter_mut().filter_map(|c| c.session.as_deref_mut()) {
            for family in Family::BOTH {
                session.adj_in.succeed(family, &peer.kept[family as usize]);
            }
        }
    }

    fn watch_retention(&mut self, id: PeerId) {
        let Some(peer) = self.peers.get_mut(&id) else { return };
        peer.retention.take_if(|retention| retention.families.is_empty());
        match peer.retention.as_ref().and_then(Retention::next) {
            Some(at) => peer.timers.set(Timer::Retention, at),
            None => peer.timers.stop(Timer::Retention),
        }
    }
}
