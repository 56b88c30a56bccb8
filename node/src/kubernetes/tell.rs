//! The node's part in [`network`](super::network): how its uplinks and addresses stand.

use std::time::Duration;

use petiole_store::watch::WatchPhase;

use super::network::Condition;
use super::{Away, Object, clip};
use crate::effect::Effect;
use crate::node::Node;

impl Node {
    /// Says in the node's own Node object how its network is.
    pub(crate) fn tell_kubernetes(&mut self) {
        if self.settings.kubernetes.is_none() {
            return;
        }
        let is = self.network();
        let is_open = self.kubernetes.is_open();
        let network = &mut self.kubernetes.network;
        network.judge(is, self.now.mono, self.now.wall);
        if is_open && let Some(action) = network.poll(self.now.mono) {
            self.push(Effect::Kubernetes(action));
        }
    }

    pub(crate) fn kubernetes_timeout(&self) -> Option<Duration> {
        let departed = self.departed_timeout()?;
        let network = self.kubernetes.network.poll_timeout(self.kubernetes.is_open());
        Some(network.map_or(departed, |at| at.min(departed)))
    }

    /// Takes in whether the API took what it was to be told.
    pub(super) fn told(&mut self, result: Result<(), Away>) {
        let spread = u64::from_le_bytes(std::array::from_fn(|n| self.seed.get(n).copied().unwrap_or_default()));
        self.kubernetes.network.handle_written(result, spread, self.now.mono);
    }

    /// How the network of this node is; `None` where nobody can tell: while it starts, and while the store is away, which is
    /// no news about uplinks, and none about addresses.
    fn network(&self) -> Option<Condition> {
        // An event takes 1024 octets.
        let unavailable = |reason: &str, message: String| {
            Some(Condition { unavailable: true, reason: reason.to_owned(), message: clip(&message) })
        };
        if self.is_drained() {
            let words = "an operator drained this node: everything is withdrawn until `petiole undrain`";
            return unavailable("Drained", words.to_owned());
        }
        if !self.dataplane.is_mirrored() {
            return None;
        }
        if self.settings.bgp.is_some() && !self.any_established() {
            let whys = self.uplinks.iter().map(|(peer, uplink)| match uplink {
                Err(why) => why.to_string(),
                Ok(uplink) if !uplink.up => format!("{}, which leads to {peer}, is down", uplink.name),
                Ok(_) => format!("{peer} does not answer, or not as configured"),
            });
            let whys: Vec<String> = whys.collect();
            return unavailable("NoUplink", format!("no session with a leaf is Established: {}", whys.join("; ")));
        }
        if self.watch.state().phase != WatchPhase::InSync {
            return None;
        }
        if let Some(why) = self.adds_refused() {
            return unavailable("NoAddresses", why);
        }
        let message = "sessions with leaves are Established, and there are addresses to give".to_owned();
        Some(Condition { unavailable: false, reason: "PetioleIsReady".to_owned(), message })
    }
}

impl super::Kubernetes {
    /// Whether there is an object to write to, and an API that answers.
    const fn is_open(&self) -> bool {
        matches!(self.object, Object::There) && self.away.is_none()
    }
}
