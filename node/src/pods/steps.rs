//! The steps of an endpoint, each begun by the outcome of the one before.

use std::collections::{BTreeMap, VecDeque};

use petiole_ipam::{AssignError, AssignRequest, ReleaseTarget, Reply, RequestId};

use super::{
    ANNOUNCE_PATIENCE, Ask, Asker, Attach, Attachment, CniAnswer, CniFailure, CniFault, CniReply, Endpoint,
    EndpointState, MARK, OWN_IDS, Order, PodAction, Pods, QUEUE_PATIENCE, RELEASE_AGAIN, ROUTE_PATIENCE, Stage, Step,
    Work,
};
use crate::effect::Effect;
use crate::event::Event;
use crate::input::{Done, EffectId};

impl Pods {
    /// Takes in an answer of the allocator; whether it was one of ours.
    pub(crate) fn handle_reply(&mut self, request: RequestId, reply: Reply) -> Option<Reply> {
        if request.0 & OWN_IDS == 0 {
            return Some(reply);
        }
        match (self.orders.remove(&request.0), reply) {
            (Some(Order::Step(key, Step::Assign)), reply) => self.assigned(&key, reply),
            (Some(Order::Step(key, Step::Release)), Ok(_)) => self.forget(&key),
            (Some(Order::Step(key, Step::Release)), Err(_)) => {
                if let Some(work) = self.works.get_mut(&key) {
                    work.stage = Stage::Releasing { again: Some(self.now + RELEASE_AGAIN) };
                }
            }
            _ => {}
        }
        None
    }

    /// Asks for addresses, and begins with the pair meanwhile.
    pub(super) fn begin(&mut self, key: Attachment, asker: Asker, attach: Attach) {
        let host = key.host_name();
        let handle = attach.handle();
        let twin = self.works.iter().find(|(_, w)| w.endpoint.host == host || w.endpoint.handle == handle);
        if let Some((other, _)) = twin {
            let words = format!(
                "{} {} cannot be told apart from {} {}; give the interface another name",
                key.container, key.interface, other.container, other.interface
            );
            return self.answer(asker, Err(CniFailure::new(CniFault::Exists, words)));
        }
        let clearing = |o: &Order| matches!(o, Order::Stray(name, _) if *name == host);
        if self.orders.values().any(clearing) {
            let words = format!("interface {host}, left by an agent that died, is being removed; try again");
            return self.answer(asker, Err(CniFailure::new(CniFault::TryAgain, words)));
        }
        let families = self.facts.families_of(&attach);
        if let Some(why) = self.facts.refusal.clone().filter(|_| families.is_empty()) {
            return self.answer(asker, Err(CniFailure::new(CniFault::TryAgain, why)));
        }
        let mut attributes = BTreeMap::from([(MARK.0.to_owned(), MARK.1.to_owned())]);
        if let Some((namespace, pod)) = &attach.pod {
            attributes.insert("namespace".to_owned(), namespace.clone());
            attributes.insert("pod".to_owned(), pod.clone());
        }
        let request = AssignRequest {
            handle: handle.clone(),
            families: families.clone(),
            attributes,
            addresses: attach.ips.clone(),
            pools: attach.pools.clone(),
        };
        let endpoint = Endpoint {
            version: 1,
            boot_id: self.boot_id.clone(),
            state: EndpointState::Live,
            handle,
            host,
            mac: attach.mac.unwrap_or_else(|| key.mac()),
            mtu: attach.mtu.unwrap_or(self.facts.mtu),
            addresses: Vec::new(),
            gateways: Vec::new(),
            since: self.wall,
            attach,
        };
        let id = self.order(&key, Step::Assign);
        self.actions.push_back(PodAction::Assign(RequestId(id), request));
        if let (Asker::Plugin(cni), false) = (asker, endpoint.attach.addresses_only) {
            self.push(Effect::Prepare { cni, endpoint: endpoint.clone(), families });
        }
        let work =
            Work { endpoint, stage: Stage::Assigning, asker, on_disk: false, waiting: VecDeque::new(), missed: false };
        self.works.insert(key, work);
    }

    fn assigned(&mut self, key: &Attachment, reply: Reply) {
        let Some(work) = self.works.get_mut(key) else { return };
        let asker = work.asker;
        match reply {
            Ok(mut addresses) => {
                addresses.sort();
                work.endpoint.addresses = addresses;
                if work.waiting.iter().any(|(_, ask, _)| *ask == Ask::Del) {
                    let words = "the container was deleted meanwhile; try again";
                    return self.remove(key, asker, Err(CniFailure::new(CniFault::TryAgain, words)));
                }
                if let Err(outcome) = self.place_behind_gateway(key) {
                    // Without an outcome it begins again.
                    let asker = outcome.as_ref().map_or(Asker::Nobody, |_| asker);
                    return self.remove(key, asker, outcome.map_or(Ok(CniAnswer::Done), Err));
                }
                let Some(work) = self.works.get_mut(key) else { return };
                if work.endpoint.attach.addresses_only {
                    return self.finish(key);
                }
                let Asker::Plugin(cni) = asker else { return };
                work.stage = Stage::Wiring;
                let endpoint = work.endpoint.clone();
                let id = self.order(key, Step::Wire);
                self.push(Effect::Wire { id: EffectId(id), cni, endpoint });
            }
            Err(error) => {
                let fault = match &error {
                    AssignError::BadRequest(_) => CniFault::BadRequest,
                    AssignError::AddressInUse(_) => CniFault::AddressInUse,
                    AssignError::NoAddress { .. } if self.facts.refusal.is_some() => CniFault::Exhausted,
                    AssignError::Garbage(_) | AssignError::NoAddress { .. } | AssignError::StoreAway(_) => {
                        CniFault::TryAgain
                    }
                };
                // It may have been done all the same.
                let held = matches!(error, AssignError::StoreAway(_));
                let error = match (error, &self.facts.store) {
                    (AssignError::StoreAway(said), Some(why)) if !said.contains(why) => {
                        AssignError::StoreAway(format!("{said}, it cannot be read: {why}"))
                    }
                    (error, _) => error,
                };
                self.take_down(key, asker, Err(CniFailure::new(fault, error.to_string())), held);
            }
        }
    }

    /// Takes in the outcome of an effect; whether it was one of ours.
    pub(crate) fn handle_done(&mut self, id: EffectId, done: &Done) -> bool {
        if id.0 & OWN_IDS == 0 {
            return false;
        }
        let Done::Pod(result) = done else { return true };
        match self.orders.remove(&id.0) {
            Some(Order::Step(key, step)) => self.stepped(&key, step, result.clone()),
            Some(Order::Stray(_, asker)) => {
                if let Some(asker) = asker {
                    self.answer(asker, result.clone().map(|()| CniAnswer::Done));
                }
            }
            Some(Order::StrayHandle(_)) | None => {}
        }
        true
    }

    fn stepped(&mut self, key: &Attachment, step: Step, result: Result<(), CniFailure>) {
        let Some(work) = self.works.get_mut(key) else { return };
        let asker = work.asker;
        match (step, &mut work.stage, result) {
            (Step::Wire, Stage::Wiring, Ok(())) => self.finish(key),
            (Step::Wire, Stage::Wiring, Err(failure)) => self.remove(key, asker, Err(failure)),
            (Step::Record, Stage::Finishing { recorded, .. }, Ok(())) => {
                *recorded = true;
                self.finished(key);
            }
            (Step::Record, Stage::Finishing { .. }, Err(failure)) => self.remove(key, asker, Err(failure)),
            // Where the mark cannot be written, the start finds a live record whose pair is gone.
            (Step::Record, Stage::Unwiring { marked, .. }, _) => {
                *marked = true;
                self.unwired(key);
            }
            (Step::Unwire, Stage::Unwiring { unwired, .. }, Ok(())) => {
                *unwired = true;
                self.unwired(key);
            }
            (Step::Unwire, Stage::Unwiring { .. }, Err(failure)) => {
                // Still there: its addresses must not go to another. Whoever asks again begins again, and so does the repair.
                work.stage = Stage::Live;
                work.missed = false;
                self.changed = true;
                let waiting = std::mem::take(&mut work.waiting);
                self.answer(asker, Err(failure.clone()));
                // It would fail each of them, and again as long as one waits.
                for (asker, ..) in waiting {
                    self.answer(asker, Err(failure.clone()));
                }
            }
            (Step::Look, Stage::Looking { again }, result) => {
                let again = again.take();
                work.stage = Stage::Live;
                self.looked(key, asker, again, result);
            }
            (Step::Forget, Stage::Forgetting, _) => self.removed(key),
            _ => {}
        }
    }

    fn looked(&mut self, key: &Attachment, asker: Asker, again: Option<Box<Attach>>, result: Result<(), CniFailure>) {
        let Some(work) = self.works.get_mut(key) else { return };
        match (result, again) {
            (Ok(()), Some(_)) => {
                let endpoint = Box::new(work.endpoint.clone());
                self.answer(asker, Ok(CniAnswer::Added(endpoint)));
            }
            (Ok(()), None) => self.answer(asker, Ok(CniAnswer::Done)),
            // What is left of it makes room for a new one; the plugin waits.
            (Err(_), Some(attach)) => {
                work.waiting.push_front((asker, Ask::Add(attach), self.now + QUEUE_PATIENCE));
                return self.remove(key, Asker::Nobody, Ok(CniAnswer::Done));
            }
            (Err(failure), None) => self.answer(asker, Err(failure)),
        }
        self.serve_next(key);
    }

    /// Record and routes, both at once.
    fn finish(&mut self, key: &Attachment) {
        let Some(work) = self.works.get_mut(key) else { return };
        let unrouted = !work.endpoint.attach.is_routed();
        let deadline = self.now + ROUTE_PATIENCE;
        work.stage = Stage::Finishing { recorded: false, routed: unrouted, announced: unrouted, deadline };
        work.on_disk = true;
        let endpoint = work.endpoint.clone();
        self.changed = true;
        let id = self.order(key, Step::Record);
        self.push(Effect::Record { id: EffectId(id), endpoint });
    }

    /// The endpoints whose routes the kernel has not confirmed.
    pub(crate) fn routing(&self) -> Vec<Endpoint> {
        let routing = |w: &&Work| matches!(w.stage, Stage::Finishing { routed: false, .. });
        self.works.values().filter(routing).map(|w| w.endpoint.clone()).collect()
    }

    /// The kernel holds the routes of an endpoint, or will not.
    pub(crate) fn handle_routed(&mut self, key: &Attachment, result: Result<(), String>) {
        let Some(work) = self.works.get_mut(key) else { return };
        let asker = work.asker;
        match (&mut work.stage, result) {
            (Stage::Finishing { routed, deadline, .. }, Ok(())) => {
                *routed = true;
                *deadline = self.now + ANNOUNCE_PATIENCE;
            }
            (Stage::Finishing { .. }, Err(why)) => {
                let words = format!("the kernel has no route to {:?}: {why}", work.endpoint.addresses);
                self.remove(key, asker, Err(CniFailure::new(CniFault::Kernel, words)));
            }
            _ => {}
        }
    }

    /// The endpoints whose routes the kernel has, and whose addresses the leaves may have to be told of.
    pub(crate) fn announcing(&self) -> Vec<Endpoint> {
        let announcing = |w: &&Work| matches!(w.stage, Stage::Finishing { routed: true, announced: false, .. });
        self.works.values().filter(announcing).map(|w| w.endpoint.clone()).collect()
    }

    /// Whether there is any such endpoint.
    pub(crate) fn is_announcing(&self) -> bool {
        self.works.values().any(|w| matches!(w.stage, Stage::Finishing { routed: true, announced: false, .. }))
    }

    /// The leaves know all they have to of an endpoint, or did not take it in time.
    pub(crate) fn handle_announced(&mut self, key: &Attachment, in_time: bool) {
        let Some(work) = self.works.get_mut(key) else { return };
        let Stage::Finishing { announced, .. } = &mut work.stage else { return };
        *announced = true;
        if !in_time {
            let (container, interface) = (key.container.clone(), key.interface.clone());
            let event = Event::BorrowedUntold { container, interface, addresses: work.endpoint.addresses.clone() };
            self.push(Effect::Log(event));
        }
        self.finished(key);
    }

    fn finished(&mut self, key: &Attachment) {
        let Some(work) = self.works.get_mut(key) else { return };
        if !matches!(work.stage, Stage::Finishing { recorded: true, routed: true, announced: true, .. }) {
            return;
        }
        work.stage = Stage::Live;
        let (asker, endpoint) = (work.asker, Box::new(work.endpoint.clone()));
        self.answer(asker, Ok(CniAnswer::Added(endpoint)));
        self.serve_next(key);
    }

    /// Takes everything of an endpoint away, and answers with the outcome when only the store is left to be told.
    pub(super) fn remove(&mut self, key: &Attachment, asker: Asker, outcome: CniReply) {
        self.take_down(key, asker, outcome, true);
    }

    fn take_down(&mut self, key: &Attachment, asker: Asker, outcome: CniReply, held: bool) {
        self.refuse_behind_gateway(key, &outcome);
        let Some(work) = self.works.get_mut(key) else { return };
        work.asker = asker;
        work.endpoint.state = EndpointState::Releasing;
        let unwired = work.endpoint.attach.addresses_only;
        let marked = !work.on_disk;
        work.stage = Stage::Unwiring { unwired, marked, held, outcome };
        self.changed = true;
        let endpoint = work.endpoint.clone();
        if !unwired {
            let id = self.order(key, Step::Unwire);
            self.push(Effect::Unwire { id: EffectId(id), host: endpoint.host.clone() });
        }
        if !marked {
            let id = self.order(key, Step::Record);
            self.push(Effect::Record { id: EffectId(id), endpoint });
        }
        self.unwired(key);
    }

    fn unwired(&mut self, key: &Attachment) {
        let Some(work) = self.works.get_mut(key) else { return };
        let Stage::Unwiring { unwired: true, marked: true, held, outcome } = &work.stage else { return };
        let (asker, held, outcome) = (work.asker, *held, outcome.clone());
        self.answer(asker, outcome);
        if held { self.release(key) } else { self.removed(key) }
    }

    pub(super) fn release(&mut self, key: &Attachment) {
        let Some(work) = self.works.get_mut(key) else { return };
        work.stage = Stage::Releasing { again: None };
        let target = ReleaseTarget::Handle(work.endpoint.handle.clone());
        // Nothing more can be done for those who wait for the same.
        let (served, waiting): (VecDeque<_>, VecDeque<_>) =
            std::mem::take(&mut work.waiting).into_iter().partition(|(_, ask, _)| *ask == Ask::Del);
        work.waiting = waiting;
        for (asker, ..) in served {
            self.answer(asker, Ok(CniAnswer::Done));
        }
        let id = self.order(key, Step::Release);
        self.actions.push_back(PodAction::Release(RequestId(id), target));
    }

    fn forget(&mut self, key: &Attachment) {
        let Some(work) = self.works.get_mut(key) else { return };
        if !work.on_disk {
            return self.removed(key);
        }
        work.stage = Stage::Forgetting;
        let host = work.endpoint.host.clone();
        let id = self.order(key, Step::Forget);
        self.push(Effect::Forget { id: EffectId(id), host });
    }

    /// Nothing is left of it; those who waited begin anew.
    pub(super) fn removed(&mut self, key: &Attachment) {
        let Some(work) = self.works.remove(key) else { return };
        self.changed = true;
        for (asker, ask, _) in work.waiting {
            self.ask(ask.about(key), asker, ask);
        }
    }

    fn serve_next(&mut self, key: &Attachment) {
        // Each may begin something that the next must wait for.
        let Some(work) = self.works.get_mut(key) else { return };
        for (asker, ask, _) in std::mem::take(&mut work.waiting) {
            self.ask(ask.about(key), asker, ask);
        }
    }
}
