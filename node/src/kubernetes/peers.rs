//! The node's part in [`departed`](super::departed): what it writes down of itself, and what it reads and asks about others.

use std::collections::BTreeSet;
use std::time::Duration;

use petiole_ipam::reclaim;
use petiole_store::key::Key;
use petiole_store::watch::WatchPhase;
use petiole_store::{KeyValue, OpResult, StoreError, Txn, TxnOutcome};

use super::departed::{Deed, Dossier, Record};
use super::{KubernetesAction, Object};
use crate::effect::Effect;
use crate::event::Event;
use crate::input::EffectId;
use crate::node::Node;

/// Between two looks at who is silent.
const LOOK: Duration = Duration::from_secs(5);

/// A transaction that is under way.
#[derive(Debug)]
pub(super) enum Sent {
    /// What this node wrote down of itself.
    Record(Record),
    /// What another one did.
    Read(String),
    /// That another one is gone.
    Forget(String),
}

impl Node {
    /// When [`look_for_departed`](Self::look_for_departed) is due.
    pub(crate) fn departed_timeout(&self) -> Option<Duration> {
        self.settings.kubernetes.is_some().then_some(self.kubernetes.look_at)
    }

    pub(crate) fn look_for_departed(&mut self) {
        if self.settings.kubernetes.is_none() || self.now.mono < self.kubernetes.look_at {
            return;
        }
        self.write_record();
        let silent = self.silent_hosts();
        let deeds = self.kubernetes.departed.turn(silent, self.now.mono);
        let next = self.kubernetes.departed.poll_timeout().map_or(LOOK, |at| at.saturating_sub(self.now.mono));
        self.kubernetes.look_at = self.now.mono + next.clamp(Duration::from_secs(1), LOOK);
        self.carry_out(deeds);
    }

    fn carry_out(&mut self, deeds: Vec<Deed>) {
        for deed in deeds {
            match deed {
                Deed::Read(node) => {
                    let txn = Txn::new().get(Key::node_object(&node)).get(Key::life(&node));
                    self.send(Sent::Read(node), txn);
                }
                Deed::Ask(object) => self.push(Effect::Kubernetes(KubernetesAction::Ask { object })),
                Deed::Forget(node, dossier) => {
                    let key = Key::node_object(&node);
                    let txn = reclaim::forget(&node, dossier.addresses, self.now.wall)
                        .absent(Key::forgotten(&node))
                        .unchanged(&key, dossier.recorded)
                        .delete(&key);
                    self.send(Sent::Forget(node), txn);
                }
            }
        }
    }

    fn send(&mut self, what: Sent, txn: Txn) {
        let id = self.effect_id();
        self.kubernetes.sent.insert(id, what);
        self.push(Effect::Txn { id, txn });
    }

    /// Lets peers know which Node object is this node's, so that they can tell whether it was deleted.
    fn write_record(&mut self) {
        let (Some(settings), Some(cluster)) = (&self.settings.kubernetes, &self.kubernetes.cluster) else { return };
        let record = Record { object: settings.node.clone(), cluster: cluster.clone() };
        let is_under_way = self.kubernetes.sent.values().any(|sent| matches!(sent, Sent::Record(_)));
        if self.kubernetes.object != Object::There
            || cluster.is_empty()
            || self.watch.state().phase != WatchPhase::InSync
            || is_under_way
            || self.kubernetes.recorded.as_ref() == Some(&record)
        {
            return;
        }
        let Ok(value) = serde_json::to_vec(&record) else { return };
        let txn = Txn::new().put(Key::node_object(&self.settings.node.name), value);
        self.send(Sent::Record(record), txn);
    }

    /// Nodes none of whose blocks is known to BGP, and how many have blocks; `None` when that cannot be told.
    fn silent_hosts(&self) -> Option<(BTreeSet<String>, usize)> {
        let speaker = self.speaker.as_ref().filter(|_| self.leaves_in_sync)?;
        let is_witness = self.kubernetes.object == Object::There && self.kubernetes.away.is_none();
        if !is_witness || self.watch.state().phase != WatchPhase::InSync {
            return None;
        }
        let hosts = self.ipam.hosts();
        let is_silent = |(host, blocks): &(&&str, &Vec<_>)| {
            **host != self.settings.node.name && blocks.iter().all(|block| speaker.lookup(*block).is_none())
        };
        let silent = hosts.iter().filter(is_silent).map(|(host, _)| (*host).to_owned()).collect();
        Some((silent, hosts.len()))
    }

    /// Takes in what the API says of an object.
    pub(super) fn asked(&mut self, object: &str, answer: Option<(&str, bool)>) {
        let deeds = self.kubernetes.departed.handle_answer(object, answer, self.now.mono);
        self.carry_out(deeds);
    }

    /// Takes in the outcome of a transaction of these; `false` when it is none.
    pub(crate) fn departed_done(&mut self, id: EffectId, outcome: &Result<TxnOutcome, StoreError>) -> bool {
        let Some(sent) = self.kubernetes.sent.remove(&id) else { return false };
        match (sent, outcome) {
            (Sent::Record(record), Ok(outcome)) if outcome.succeeded => self.kubernetes.recorded = Some(record),
            (Sent::Read(node), Ok(outcome)) => {
                let found = dossier(&node, outcome);
                self.kubernetes.departed.handle_read(&node, found, self.now.mono);
            }
            (Sent::Read(node), Err(_)) => self.kubernetes.departed.handle_read(&node, None, self.now.mono),
            (Sent::Forget(node), Ok(outcome)) if outcome.succeeded => self.log(Event::NodeDeleted(node)),
            // A record is written again at the next look; a note, once the node was looked at again.
            (Sent::Record(_) | Sent::Forget(_), _) => {}
        }
        true
    }
}

fn dossier(node: &str, outcome: &TxnOutcome) -> Option<Dossier> {
    let found = |key: Key| -> Option<&KeyValue> {
        let key = key.to_string();
        outcome.results.iter().find_map(|result| match result {
            OpResult::Got(Some(kv)) if kv.key == key => Some(kv),
            _ => None,
        })
    };
    let kv = found(Key::node_object(node))?;
    let record = serde_json::from_slice(&kv.value).ok()?;
    let addresses = found(Key::life(node)).map(|kv| reclaim::addresses_in(&kv.value)).unwrap_or_default();
    Some(Dossier { record, recorded: kv.mod_revision, addresses })
}
