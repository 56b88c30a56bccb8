//! Questions about the whole cluster's addresses: the keyspace is listed for each, and what is found can be set right.

use std::collections::{BTreeMap, BTreeSet};

use petiole_ipam::check::{self, Found};
use petiole_ipam::{WATCHED_PREFIXES, reclaim};
use petiole_prefix::Prefix;
use petiole_store::key::Key;
use petiole_store::{KeyValue, StoreError, TxnOutcome, WatchAction, WatchEvent, WatchId};

use crate::effect::Effect;
use crate::input::{EffectId, QueryId};
use crate::node::Node;
use crate::pods::Witness;
use crate::view::{Answer, CheckView, FindingView, ForgottenView, RepairView, ShowView};

/// What is wanted of a survey.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Purpose {
    /// Contradictions.
    Check {
        /// Whether what is safe to repair is repaired.
        repair: bool,
    },
    /// Who holds which address, or this one.
    Show(Option<std::net::IpAddr>),
}

/// One question that is not answered yet.
#[derive(Debug)]
struct Survey {
    query: QueryId,
    purpose: Purpose,
    lists: Vec<WatchId>,
    /// This node's pods when the lists were asked for.
    witness: Witness,
    kvs: Vec<KeyValue>,
    findings: Vec<FindingView>,
    /// Repairs under way, each with its place in the findings.
    repairs: BTreeMap<EffectId, usize>,
}

/// An order to forget a node.
#[derive(Debug)]
struct Forget {
    query: QueryId,
    node: String,
    /// The node's own, as the operator says, and as the node said.
    addresses: BTreeSet<Prefix>,
}

/// The open questions.
#[derive(Debug, Default)]
pub(crate) struct Surveys {
    open: Vec<Survey>,
    /// Orders to forget a node, while the store is asked what the node's own addresses are.
    forgets: BTreeMap<WatchId, Forget>,
    /// The same, while the store has not taken them yet.
    orders: BTreeMap<EffectId, Forget>,
    lists: u64,
}

impl Node {
    /// Lists what the answer rests on.
    pub(crate) fn survey(&mut self, query: QueryId, purpose: Purpose) {
        let mut lists = Vec::new();
        for prefix in WATCHED_PREFIXES {
            lists.push(self.list(prefix.to_owned()));
        }
        let witness = self.pods.witness(&self.settings.node.name);
        let (kvs, findings, repairs) = (Vec::new(), Vec::new(), BTreeMap::new());
        self.surveys.open.push(Survey { query, purpose, lists, witness, kvs, findings, repairs });
    }

    /// Writes down that a node is gone for good.
    pub(crate) fn forget(&mut self, query: QueryId, node: String, addresses: Vec<Prefix>) {
        let wrong = if node == self.settings.node.name {
            Some("this node is alive: ask another one".to_owned())
        } else if node.is_empty() || node.contains('/') {
            Some(format!("{node:?} is no node's name"))
        } else {
            None
        };
        if let Some(why) = wrong {
            return self.push(Effect::Reply { id: query, answer: Err(why) });
        }
        let id = self.list(Key::life(&node).to_string());
        let addresses = addresses.into_iter().collect();
        self.surveys.forgets.insert(id, Forget { query, node, addresses });
    }

    fn list(&mut self, prefix: String) -> WatchId {
        // From the far end, so that no list of the watch has the same name.
        let id = WatchId(u64::MAX - self.surveys.lists);
        self.surveys.lists += 1;
        self.push(Effect::Store(WatchAction::List { id, prefix }));
        id
    }

    /// The node's own addresses, as it wrote them down, belong to the order.
    fn forget_listed(&mut self, mut order: Forget, event: WatchEvent) {
        match event {
            WatchEvent::Listed { kvs, .. } => {
                // A list is of a prefix: a longer name may begin with this one.
                let key = Key::life(&order.node).to_string();
                let said = kvs.iter().filter(|kv| kv.key == key).flat_map(|kv| reclaim::addresses_in(&kv.value));
                order.addresses.extend(said);
                let addresses = order.addresses.iter().copied().collect();
                let txn = reclaim::forget(&order.node, addresses, self.now.wall);
                let id = self.effect_id();
                self.surveys.orders.insert(id, order);
                self.push(Effect::Txn { id, txn });
            }
            WatchEvent::ListFailed { error, .. } => {
                let why = format!("the store cannot be read: {error}; `petiole status` says more");
                self.push(Effect::Reply { id: order.query, answer: Err(why) });
            }
            _ => {}
        }
    }

    /// Takes in what the store answered to a survey's list; gives back what is not one's.
    pub(crate) fn survey_event(&mut self, event: WatchEvent) -> Option<WatchEvent> {
        let id = event.id();
        if let Some(order) = self.surveys.forgets.remove(&id) {
            self.forget_listed(order, event);
            return None;
        }
        let Some(at) = self.surveys.open.iter().position(|s| s.lists.contains(&id)) else { return Some(event) };
        match event {
            WatchEvent::Listed { kvs, .. } => {
                if let Some(survey) = self.surveys.open.get_mut(at) {
                    survey.lists.retain(|l| *l != id);
                    survey.kvs.extend(kvs);
                    if survey.lists.is_empty() {
                        self.judge_survey(at);
                    }
                }
            }
            WatchEvent::ListFailed { error, .. } => {
                let survey = self.surveys.open.remove(at);
                let why = format!("the store cannot be read: {error}; `petiole status` says more");
                self.push(Effect::Reply { id: survey.query, answer: Err(why) });
            }
            _ => {}
        }
        None
    }

    fn judge_survey(&mut self, at: usize) {
        let Some(survey) = self.surveys.open.get(at) else { return };
        let repair = match survey.purpose {
            Purpose::Show(wanted) => {
                let addresses = check::held(&survey.kvs).into_iter().filter(|h| wanted.is_none_or(|w| w == h.address));
                let notes = wanted.map(|addr| self.ipam.notes_on(addr)).unwrap_or_default();
                let view = ShowView { addresses: addresses.collect(), notes };
                return self.answer_survey(at, Answer::Show(view));
            }
            Purpose::Check { repair } => repair,
        };
        let witness = Witness::steady(&survey.witness, self.pods.witness(&self.settings.node.name));
        let mut found = check::check(&survey.kvs, Some(&witness.endpoints), self.now.wall);
        if self.dataplane.is_mirrored() {
            let links: BTreeSet<&str> = self.dataplane.links().map(|l| l.name.as_str()).collect();
            let wrong = witness.against(&links);
            found.extend(wrong.into_iter().map(|finding| Found { finding, repair: None }));
        }
        let mut repairs = BTreeMap::new();
        let mut findings = Vec::new();
        for Found { finding, repair: txn } in found {
            let state = match (&txn, repair) {
                (None, true) if self.pods.mend(&finding) => RepairView::Begun,
                (None, false) if self.pods.can_mend(&finding) => RepairView::Possible,
                (None, _) => RepairView::No,
                (Some(_), _) => RepairView::Possible,
            };
            findings.push(FindingView { text: finding.to_string(), finding, repair: state });
            if let (Some(txn), true) = (txn, repair) {
                let id = self.effect_id();
                repairs.insert(id, findings.len() - 1);
                self.push(Effect::Txn { id, txn });
            }
        }
        if let Some(survey) = self.surveys.open.get_mut(at) {
            survey.findings = findings;
            survey.repairs = repairs;
            if survey.repairs.is_empty() {
                self.answer_check(at);
            }
        }
    }

    /// Takes in the outcome of a repair or an order; `false` when it is neither.
    pub(crate) fn survey_done(&mut self, id: EffectId, outcome: &Result<TxnOutcome, StoreError>) -> bool {
        if let Some(Forget { query, node, addresses }) = self.surveys.orders.remove(&id) {
            let addresses = addresses.into_iter().collect();
            let answer = match outcome {
                Ok(_) => Ok(Answer::Forgotten(ForgottenView { node, addresses })),
                Err(e) => Err(e.to_string()),
            };
            self.push(Effect::Reply { id: query, answer });
            return true;
        }
        let Some(at) = self.surveys.open.iter().position(|s| s.repairs.contains_key(&id)) else { return false };
        let Some(survey) = self.surveys.open.get_mut(at) else { return false };
        let place = survey.repairs.remove(&id);
        if let Some(finding) = place.and_then(|p| survey.findings.get_mut(p)) {
            finding.repair = match outcome {
                Ok(outcome) if outcome.succeeded => RepairView::Done,
                Ok(_) => RepairView::Overtaken,
                Err(_) => RepairView::Unknown,
            };
        }
        if survey.repairs.is_empty() {
            self.answer_check(at);
        }
        true
    }

    fn answer_check(&mut self, at: usize) {
        let Some(survey) = self.surveys.open.get_mut(at) else { return };
        let findings = std::mem::take(&mut survey.findings);
        let clean = findings.iter().all(|f| f.repair == RepairView::Done);
        let kernel = if self.dataplane.is_mirrored() { "and interfaces" } else { "(its interfaces are not read yet)" };
        let scope = format!(
            "all of the store's IPAM keys, and the pods {kernel} of {0}; what other nodes' containers use cannot be seen from {0}: \
             run it there too",
            self.settings.node.name
        );
        self.answer_survey(at, Answer::Check(CheckView { clean, scope, findings }));
    }

    fn answer_survey(&mut self, at: usize, answer: Answer) {
        let survey = self.surveys.open.remove(at);
        self.push(Effect::Reply { id: survey.query, answer: Ok(answer) });
    }

    /// Tells the allocator whether forgotten nodes are heard of.
    pub(crate) fn tell_reachability(&mut self) {
        let wanted = self.ipam.wanted_reachability();
        if wanted.is_empty() {
            return;
        }
        let speaker = self.speaker.as_ref().filter(|_| self.leaves_in_sync);
        let present = speaker.map(|s| wanted.into_iter().filter(|p| s.lookup(*p).is_some()).collect());
        self.ipam.handle_reachable(present.as_ref(), self.now.mono, self.now.wall);
    }
}
