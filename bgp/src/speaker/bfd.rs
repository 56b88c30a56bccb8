//! BFD's say in sessions (RFC 5882): when they end by it, and when they wait for it.

use std::time::Duration;

use super::Speaker;
use crate::bfd::{BfdPolicy, BfdState, BfdStatus};
use crate::config::{ConnId, PeerId};
use crate::session::fsm::StopReason;
use crate::session::peer::Peer;
use crate::session::{Input, Timer};

impl Speaker {
    /// Takes in how a neighbour's BFD session is; without effect where none is configured. A failure ends what was opened
    /// before it (Cease 6/10, RFC 9384); Up begins a session that waited for it.
    pub fn handle_bfd(&mut self, peer: PeerId, status: BfdStatus, now: Duration) {
        self.advance(now);
        let Some(p) = self.peers.get_mut(&peer) else { return };
        let Some(policy) = p.config.bfd else { return };
        let before = p.bfd.replace(status).unwrap_or_default();
        let comes = status.lets_pass() && !before.lets_pass();
        // Further word of BFD that is Up already neither shortens the wait nor takes the dial away that ends it.
        if comes && status.state == BfdState::Up && p.established_count == 0 {
            // After our restart the neighbour's BGP may hear of the failure before only now: it must not find a session.
            p.timers.set(Timer::BfdWait, now + BfdPolicy::SETTLE);
        } else if comes {
            p.timers.stop(Timer::BfdWait);
        }
        if let Some(at) = status.failed_at.filter(|at| before.failed_at.is_none_or(|known| known < *at)) {
            self.bfd_failed(peer, policy, status, at, now);
        }
        if comes {
            // What failed on a dead way says nothing about a living one.
            if let Some(p) = self.peers.get_mut(&peer) {
                p.failures = 0;
            }
            self.dial(peer, now);
        }
        self.finish(now);
    }

    fn bfd_failed(&mut self, id: PeerId, policy: BfdPolicy, status: BfdStatus, at: Duration, now: Duration) {
        let Some(p) = self.peers.get_mut(&id) else { return };
        p.await_bfd(now);
        let all = policy.strict && !status.lets_pass();
        let doomed = p.conns.iter().filter(|c| all || c.opened_at.is_none_or(|opened| opened <= at));
        let doomed: Vec<ConnId> = doomed.map(|c| c.id).collect();
        let BfdStatus { control_plane_independent, began_anew, .. } = status;
        let why = StopReason::BfdDown { control_plane_independent, began_anew };
        for conn in doomed {
            self.step(id, conn, Input::Stop(why.clone()), now);
        }
        if status.control_plane_independent {
            // The way is gone: nothing may be kept that goes over it (RFC 5882 section 4.3.2).
            self.forget_kept(id, now);
        }
        if let Some(p) = self.peers.get_mut(&id) {
            p.note_state(now);
        }
    }
}

impl Peer {
    /// Begins the wait for BFD, where it is due.
    pub(crate) fn await_bfd(&mut self, now: Duration) {
        let waits = self.config.bfd.is_some_and(|policy| !policy.strict) && !self.bfd_is_up();
        if waits {
            self.timers.set(Timer::BfdWait, now + BfdPolicy::WAIT);
        }
    }

    /// BFD was configured, or is not any more.
    pub(crate) fn bfd_configured(&mut self, before: Option<BfdPolicy>, now: Duration) {
        if self.config.bfd.is_none() {
            self.bfd = None;
            self.timers.stop(Timer::BfdWait);
        } else if before.is_none() && self.conns.is_empty() {
            self.await_bfd(now);
        }
    }

    /// A neighbour that restarts is not told End-of-RIB at once where BFD watches it. FRR 8.4 makes its BFD session anew when its
    /// BGP is up and resets that; by then it must not have chosen, for it would take our routes out of its kernel.
    pub(crate) fn await_restart(&mut self, conn: ConnId, now: Duration) {
        if self.config.bfd.is_none() {
            return;
        }
        if let Some(c) = self.conn(conn)
            && let Some(negotiated) = c.negotiated()
            && negotiated.graceful_restart.as_ref().is_some_and(|restart| restart.restarted)
        {
            c.timers.set(Timer::Settle, now + BfdPolicy::SETTLE);
        }
    }

    fn bfd_is_up(&self) -> bool {
        self.bfd.is_some_and(|status| status.lets_pass())
    }

    /// Whether BFD lets a session begin.
    pub(crate) fn bfd_allows(&self) -> bool {
        match self.config.bfd {
            None => true,
            Some(policy) => (self.bfd_is_up() || !policy.strict) && self.timers.get(Timer::BfdWait).is_none(),
        }
    }
}
