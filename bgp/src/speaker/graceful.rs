//! Graceful restart: what is said of our own (RFC 4724 section 4.1), and what is kept of a neighbour's (section 4.2).

use std::collections::BTreeSet;
use std::time::Duration;

use petiole_prefix::Family;

use super::Speaker;
use crate::session::Peer;
use crate::session::graceful::OwnRestart;

/// That this life goes on with what a former one left.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Restarted {
    at: Duration,
    forwarding: BTreeSet<Family>,
}

impl Restarted {
    /// What the next OPEN to this neighbour says. Once it was told everything, the session may end and come back without any
    /// restart of ours: forwarding goes on meanwhile.
    pub(super) fn towards(this: Option<&Self>, peer: &Peer, now: Duration) -> OwnRestart {
        if peer.told_all {
            return OwnRestart { restarted: false, forwarding: Family::BOTH.into_iter().collect() };
        }
        let Some(this) = this else { return OwnRestart::default() };
        let waited_for = peer.config.graceful_restart.map(|policy| this.at + policy.restart_time);
        OwnRestart { restarted: waited_for.is_some_and(|until| now < until), forwarding: this.forwarding.clone() }
    }
}

impl Speaker {
    /// Tells that this life is a restart, and for which families what the former life announced is still forwarded: R and F
    /// bits of the graceful restart capability. R is set until a neighbour was told everything, or its restart time is over;
    /// F of these families for good. To be called before [`set_peers`](Self::set_peers); without it, this is a fresh start.
    pub fn set_restart(&mut self, forwarding: BTreeSet<Family>, now: Duration) {
        self.advance(now);
        self.restarted = Some(Restarted { at: now, forwarding });
    }
}
