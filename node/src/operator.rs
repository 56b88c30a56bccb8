//! What operators order: to drain the node, to stop it, and to stop, start and clear sessions.
//!
//! A drain and a disabled session outlive the agent: they stand in the saved state, and hold under the same node name until they
//! are taken back, also over a boot. A node that is repaired must not come back by itself.

use std::collections::BTreeSet;
use std::time::Duration;

use petiole_bgp::wire::ShutdownText;
use petiole_bgp::{NoRefresh, PeerId};
use petiole_store::UnixNanos;
use serde::{Deserialize, Serialize};

use crate::effect::Effect;
use crate::event::Event;
use crate::input::QueryId;
use crate::node::Node;
use crate::view::{Answer, DrainView, OrderView, PeerOrder};

/// Orders in force.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Orders {
    /// The node is being drained, or is.
    #[serde(default)]
    pub drain: Option<Drain>,
    /// Sessions that an operator stopped.
    #[serde(default)]
    pub disabled: BTreeSet<PeerId>,
}

/// A drain (RFC 8326): everything is announced with GRACEFUL_SHUTDOWN first, so that leaves prefer other ways, and withdrawn
/// then.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Drain {
    /// When it was ordered.
    pub since: UnixNanos,
    /// How long everything is announced with GRACEFUL_SHUTDOWN before it is withdrawn; `None`: until told otherwise. An agent
    /// that is restarted meanwhile begins this time anew.
    pub after: Option<Duration>,
    /// Whether everything is withdrawn by now.
    pub withdrawn: bool,
}

impl Node {
    /// Whether everything is announced as about to go.
    pub(crate) fn is_draining(&self) -> bool {
        self.orders.drain.as_ref().is_some_and(|d| !d.withdrawn)
    }

    /// Whether nothing is announced.
    pub(crate) fn is_drained(&self) -> bool {
        self.orders.drain.as_ref().is_some_and(|d| d.withdrawn)
    }

    /// Takes up the orders of a former life.
    pub(crate) fn resume_orders(&mut self, orders: Orders) {
        self.orders = orders;
        self.drain_at = self.orders.drain.as_ref().filter(|d| !d.withdrawn).and_then(|d| d.after);
        self.drain_at = self.drain_at.map(|after| self.now.mono + after);
    }

    pub(crate) fn drain(&mut self, after: Option<Duration>) -> DrainView {
        let since = self.orders.drain.as_ref().map_or(self.now.wall, |d| d.since);
        let withdrawn = self.is_drained();
        if !withdrawn {
            self.drain_at = after.map(|after| self.now.mono + after);
        }
        if self.orders.drain.is_none() {
            self.log(Event::Draining { after });
        }
        self.orders.drain = Some(Drain { since, after, withdrawn });
        self.run_drain();
        self.mark_dirty();
        self.drain_view()
    }

    pub(crate) fn undrain(&mut self) -> DrainView {
        if self.orders.drain.take().is_some() {
            self.log(Event::Undrained);
            self.mark_dirty();
        }
        self.drain_at = None;
        self.drain_view()
    }

    /// Withdraws everything once the time for it has come.
    pub(crate) fn run_drain(&mut self) {
        if self.drain_at.take_if(|at| *at <= self.now.mono).is_some()
            && let Some(drain) = &mut self.orders.drain
        {
            drain.withdrawn = true;
            self.log(Event::Drained);
            self.mark_dirty();
        }
    }

    pub(crate) fn drain_view(&self) -> DrainView {
        let state = match (self.is_draining(), self.is_drained()) {
            (true, _) => "draining",
            (_, true) => "drained",
            _ => "none",
        };
        DrainView {
            state: state.to_owned(),
            since: self.orders.drain.as_ref().map(|d| d.since),
            withdraw_in_seconds: self.drain_at.map(|at| at.saturating_sub(self.now.mono).as_secs_f64()),
        }
    }

    /// Withdraws, says goodbye, and lets the agent end once both are on their way.
    pub(crate) fn stop(&mut self, id: QueryId, text: Option<ShutdownText>) {
        if let Some(speaker) = &mut self.speaker {
            speaker.stop_all(text, self.now.mono);
        }
        self.log(Event::Stopped);
        let done = "everything is withdrawn and every session ended; the agent ends".to_owned();
        self.stopping = Some(Effect::Reply { id, answer: Ok(Answer::Order(OrderView { done })) });
    }

    /// Carries out an order about one session.
    ///
    /// # Errors
    /// Why it can't be, with what to do.
    pub(crate) fn order_peer(&mut self, id: PeerId, order: PeerOrder) -> Result<OrderView, String> {
        self.known_peer(id)?;
        let now = self.now.mono;
        let disabled = self.orders.disabled.contains(&id);
        let done = match order {
            PeerOrder::Disable { message } => {
                if disabled {
                    return Err(format!("{id} is disabled already; `petiole bgp enable {id}` enables it"));
                }
                self.orders.disabled.insert(id);
                if let Some(speaker) = &mut self.speaker {
                    speaker.set_peer_enabled(id, false, message, now);
                }
                format!("{id} is disabled until `petiole bgp enable {id}`, also over a restart of the agent")
            }
            PeerOrder::Enable => {
                self.orders.disabled.remove(&id);
                if let Some(speaker) = &mut self.speaker {
                    speaker.set_peer_enabled(id, true, None, now);
                }
                format!("{id} is enabled")
            }
            PeerOrder::Clear { .. } | PeerOrder::Refresh if disabled => {
                return Err(format!("{id} is disabled; `petiole bgp enable {id}` enables it"));
            }
            PeerOrder::Clear { message } => {
                if let Some(speaker) = &mut self.speaker {
                    speaker.clear_peer(id, message, now);
                }
                format!("the session with {id} starts anew")
            }
            PeerOrder::Refresh => {
                let asked = match &mut self.speaker {
                    Some(speaker) => speaker.request_refresh(id, now),
                    None => Err(NoRefresh::NotEstablished),
                };
                asked.map_err(|why| {
                    format!("{id} cannot be asked for its routes again: {why}; `petiole bgp clear {id}` starts a new session")
                })?;
                format!("{id} was asked for all its routes again")
            }
        };
        self.log(Event::Ordered(done.clone()));
        Ok(OrderView { done })
    }
}
