//! What this node's pods have to say when the whole store is checked: only what held all the time while it was read.

use std::collections::{BTreeMap, BTreeSet};

use petiole_dataplane::ident;
use petiole_ipam::check::{Endpoints, Finding};
use petiole_ipam::{ReleaseTarget, RequestId};

use super::{Asker, Attachment, CniAnswer, MARK, Order, PodAction, Pods, Stage};

/// The pods of this node at one time.
#[derive(Clone, Debug)]
pub(crate) struct Witness {
    /// Those that are attached, with their addresses.
    pub(crate) endpoints: Endpoints,
    /// Handle to the host's end of those that are attached.
    attached: BTreeMap<String, String>,
    /// Host's ends of all of which anything is known.
    interfaces: BTreeSet<String>,
}

impl Witness {
    /// What held at both times.
    pub(crate) fn steady(before: &Self, after: Self) -> Self {
        let mut attached = after.attached;
        attached.retain(|handle, host| before.attached.get(handle) == Some(host));
        let interfaces = before.interfaces.union(&after.interfaces).cloned().collect();
        Self { endpoints: Endpoints::steady(&before.endpoints, after.endpoints), attached, interfaces }
    }

    /// What contradicts the interfaces of the node; these are all of them.
    pub(crate) fn against(&self, links: &BTreeSet<&str>) -> Vec<Finding> {
        let missing = self.attached.iter().filter(|(_, host)| !links.contains(host.as_str()));
        let missing = missing.map(|(handle, host)| Finding::EndpointWithoutInterface {
            handle: handle.clone(),
            interface: host.clone(),
        });
        let strays = links.iter().filter(|l| ident::is_own_interface(l) && !self.interfaces.contains(**l));
        let strays = strays.map(|l| Finding::InterfaceWithoutEndpoint { interface: (*l).to_owned() });
        missing.chain(strays).collect()
    }
}

impl Pods {
    /// What the pods are now.
    pub(crate) fn witness(&self, node: &str) -> Witness {
        let mark = (MARK.0.to_owned(), MARK.1.to_owned());
        let mut endpoints = Endpoints { node: node.to_owned(), mark, ..Endpoints::default() };
        let mut attached = BTreeMap::new();
        for work in self.works.values() {
            let endpoint = &work.endpoint;
            if work.stage == Stage::Live {
                endpoints.held.insert(endpoint.handle.clone(), endpoint.addresses.iter().copied().collect());
                if !endpoint.attach.addresses_only {
                    attached.insert(endpoint.handle.clone(), endpoint.host.clone());
                }
            } else {
                endpoints.under_way.insert(endpoint.handle.clone());
            }
        }
        let interfaces = self.works.values().map(|w| w.endpoint.host.clone()).collect();
        Witness { endpoints, attached, interfaces }
    }

    /// Whether this node alone can set it right, and surely: what is not recorded may be a pod whose record cannot be read.
    pub(crate) fn can_mend(&self, finding: &Finding) -> bool {
        match finding {
            Finding::EndpointWithoutInterface { handle, .. } => self.attached_as(handle).is_some(),
            Finding::InterfaceWithoutEndpoint { .. } | Finding::AddressWithoutEndpoint { .. } => {
                self.repair.is_complete()
            }
            _ => false,
        }
    }

    /// Begins to set it right; `false` where that is not this node's, or not sure.
    pub(crate) fn mend(&mut self, finding: &Finding) -> bool {
        if !self.can_mend(finding) {
            return false;
        }
        match finding {
            Finding::EndpointWithoutInterface { handle, .. } => {
                if let Some(key) = self.attached_as(handle) {
                    self.remove(&key, Asker::Nobody, Ok(CniAnswer::Done));
                }
            }
            Finding::InterfaceWithoutEndpoint { interface } => self.unwire_stray(interface.clone(), None),
            Finding::AddressWithoutEndpoint { handle, .. } => self.release_stray(handle.clone()),
            _ => return false,
        }
        true
    }

    /// Gives back what a handle holds that no record knows, unless that is under way.
    pub(super) fn release_stray(&mut self, handle: String) {
        if self.orders.values().any(|o| matches!(o, Order::StrayHandle(other) if *other == handle)) {
            return;
        }
        let id = self.order_id();
        self.orders.insert(id, Order::StrayHandle(handle.clone()));
        self.actions.push_back(PodAction::Release(RequestId(id), ReleaseTarget::Handle(handle)));
    }

    fn attached_as(&self, handle: &str) -> Option<Attachment> {
        let work = self.works.iter().find(|(_, w)| w.endpoint.handle == handle && w.stage == Stage::Live);
        work.map(|(key, _)| key.clone())
    }
}
