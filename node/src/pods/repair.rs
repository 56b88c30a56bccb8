//! What crashes left: records against kernel and store. Silence never counts: only a mirrored kernel and a store in sync do.

use std::collections::BTreeSet;
use std::time::Duration;

use petiole_dataplane::ident;

use super::{Asker, CniAnswer, EndpointState, Order, Pods, REPAIR, Stage};
use crate::effect::Effect;
use crate::input::EffectId;

/// When the repair looked last.
#[derive(Debug, Default)]
pub(super) struct Repair {
    /// The records were read; none before that.
    loaded: bool,
    unreadable: Vec<String>,
    kernel_at: Option<Duration>,
    store_at: Option<Duration>,
}

impl Repair {
    pub(super) fn load(&mut self, unreadable: Vec<String>) {
        self.loaded = true;
        self.unreadable = unreadable;
    }

    /// What is due and has to wait for kernel or store goes on with their next word.
    pub(super) fn poll_timeout(&self, now: Duration) -> Option<Duration> {
        let due = [self.kernel_at, self.store_at].into_iter().flatten().map(|at| at + REPAIR);
        due.filter(|at| *at > now).min()
    }

    pub(super) fn problems(&self) -> Vec<String> {
        self.unreadable.clone()
    }

    /// Whether every record is known.
    pub(super) const fn is_complete(&self) -> bool {
        self.loaded && self.unreadable.is_empty()
    }
}

impl Pods {
    /// Whether interfaces are to be compared now; to be asked only while the kernel is mirrored.
    pub(super) fn wants_kernel(&self) -> bool {
        self.repair.loaded && self.repair.kernel_at.is_none_or(|at| at + REPAIR <= self.now)
    }

    /// Whether addresses are to be compared now; to be asked only while the store is in sync.
    pub(super) fn wants_store(&self) -> bool {
        self.repair.loaded && self.repair.store_at.is_none_or(|at| at + REPAIR <= self.now)
    }

    /// Compares the records with the interfaces of this node: all that are there.
    pub(super) fn mend_kernel(&mut self, links: &BTreeSet<&str>) {
        let first = self.repair.kernel_at.replace(self.now).is_none();
        let mut dead = Vec::new();
        for (key, work) in &mut self.works {
            if work.stage == Stage::Live && !work.endpoint.attach.addresses_only {
                let missing = !links.contains(work.endpoint.host.as_str());
                // Twice in a row, but for the start, when nothing is under way. One that was to go is tried again.
                let going = work.endpoint.state == EndpointState::Releasing;
                if going || missing && (first || work.missed) {
                    dead.push(key.clone());
                }
                work.missed = missing;
            }
        }
        dead.extend(self.gateways_of_no_bridge(links, first));
        for key in dead {
            self.remove(&key, Asker::Nobody, Ok(CniAnswer::Done));
        }
        if !self.repair.unreadable.is_empty() {
            return;
        }
        let known: BTreeSet<&str> = self.works.values().map(|w| w.endpoint.host.as_str()).collect();
        let strays = links.iter().filter(|l| ident::is_own_interface(l) && !known.contains(**l));
        let strays: Vec<String> = strays.map(|l| (*l).to_owned()).collect();
        for host in strays {
            self.unwire_stray(host, None);
        }
    }

    pub(super) fn unwire_stray(&mut self, host: String, asker: Option<Asker>) {
        let id = self.order_id();
        self.orders.insert(id, Order::Stray(host.clone(), asker));
        self.push(Effect::Unwire { id: EffectId(id), host });
    }

    /// Compares the records with the handles whose addresses carry this agent's mark, all of this node.
    pub(super) fn mend_store(&mut self, handles: BTreeSet<String>) {
        self.repair.store_at = Some(self.now);
        if !self.repair.unreadable.is_empty() {
            return;
        }
        let known: BTreeSet<&str> = self.works.values().map(|w| w.endpoint.handle.as_str()).collect();
        let strays = handles.into_iter().filter(|h| !known.contains(h.as_str()));
        for handle in strays.collect::<Vec<_>>() {
            self.release_stray(handle);
        }
    }
}
