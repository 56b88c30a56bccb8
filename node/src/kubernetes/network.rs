//! The condition `NetworkUnavailable` of the node's own Node object, and the events about it.
//!
//! Kubernetes gives a node of which it is `True` the taint `node.kubernetes.io/network-unavailable:NoSchedule`: new pods go elsewhere,
//! those that run stay. So nothing is said before it held for [`HOLD`]; what cannot be judged leaves the condition as it is; and it is
//! written on a change only.

use std::collections::VecDeque;
use std::time::Duration;

use petiole_store::UnixNanos;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::{Away, KubernetesAction, clip, pause};

/// How long the network must have been unavailable before anybody is told: a leaf that restarts, and an agent, take less.
pub(super) const HOLD: Duration = Duration::from_secs(10);
/// Between two writes.
const EVERY: Duration = Duration::from_secs(5);
/// Events that wait for an API that answers; the oldest go first.
const MOST: usize = 8;
/// The type of the condition.
const TYPE: &str = "NetworkUnavailable";

/// What the condition says.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Condition {
    /// Whether it is `True`: pods of this node cannot be reached, or get no addresses.
    pub unavailable: bool,
    /// One word: `NoUplink`, `NoAddresses`, `Drained` or `PetioleIsReady`.
    pub reason: String,
    /// In words.
    pub message: String,
}

impl Condition {
    /// What is to be written into the Node object, as a strategic merge patch of its status; `None` where it says so already. `found`
    /// is the object's `status.conditions`, and `now` is in the form of RFC 3339.
    #[must_use]
    pub fn patch(&self, found: &[Value], now: &str) -> Option<Value> {
        let status = if self.unavailable { "True" } else { "False" };
        let old = found.iter().find(|it| it["type"] == TYPE);
        let is_same = |old: &&Value| old["status"] == status;
        if old.filter(is_same).is_some_and(|old| old["reason"] == self.reason.as_str()) {
            return None;
        }
        let since = old.filter(is_same).and_then(|old| old["lastTransitionTime"].as_str()).unwrap_or(now);
        Some(json!({ "status": { "conditions": [{
            "type": TYPE,
            "status": status,
            "reason": self.reason,
            "message": self.message,
            "lastHeartbeatTime": now,
            "lastTransitionTime": since,
        }] } }))
    }
}

/// An event about the Node object.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Note {
    /// Whether something is wrong; otherwise it is over.
    pub warning: bool,
    /// One word.
    pub reason: String,
    /// In words.
    pub message: String,
    /// When it happened; the API may be told much later.
    pub at: UnixNanos,
}

/// What the Node object should say, and what it says.
#[derive(Debug, Default)]
pub(super) struct Network {
    spell: Option<Spell>,
    wanted: Option<Condition>,
    /// As the API took it in this life.
    said: Option<Condition>,
    notes: VecDeque<Note>,
    under_way: Option<KubernetesAction>,
    not_before: Duration,
    failures: u32,
    /// Why the last write failed.
    refused: Option<Away>,
}

/// The network is unavailable.
#[derive(Debug)]
struct Spell {
    since: Duration,
    /// The reason that an event was made of.
    noted: Option<String>,
}

impl Network {
    /// Takes in how things stand; `None` where that cannot be said.
    pub(super) fn judge(&mut self, is: Option<Condition>, now: Duration, wall: UnixNanos) {
        let Some(is) = is else {
            // What was not said yet has to last anew, once it can be said; its timer would be due all the time.
            self.spell.take_if(|spell| spell.noted.is_none());
            return;
        };
        if !is.unavailable {
            let ended = self.spell.take();
            if let Some(spell) = ended.filter(|spell| spell.noted.is_some()) {
                let seconds = now.saturating_sub(spell.since).as_secs();
                let message = format!("the network is available again after {seconds} s: {}", is.message);
                self.note(Note { warning: false, reason: "NetworkAvailable".to_owned(), message, at: wall });
            }
            self.want(is);
            return;
        }
        let spell = self.spell.get_or_insert(Spell { since: now, noted: None });
        if now < spell.since + HOLD {
            return;
        }
        if spell.noted.as_ref() != Some(&is.reason) {
            spell.noted = Some(is.reason.clone());
            let (reason, message) = (is.reason.clone(), is.message.clone());
            self.note(Note { warning: true, reason, message, at: wall });
        }
        self.want(is);
    }

    /// Other words for the same reason are no news.
    fn want(&mut self, is: Condition) {
        if self.wanted.as_ref().is_none_or(|old| !is_same(old, &is)) {
            self.wanted = Some(is);
        }
    }

    fn note(&mut self, note: Note) {
        if self.notes.len() >= MOST {
            self.notes.pop_front();
        }
        self.notes.push_back(note);
    }

    /// There is no Node object: the next one says nothing yet.
    pub(super) fn forget(&mut self) {
        self.said = None;
    }

    /// What to write next.
    pub(super) fn poll(&mut self, now: Duration) -> Option<KubernetesAction> {
        if self.under_way.is_some() || now < self.not_before {
            return None;
        }
        self.under_way = self.next();
        self.under_way.clone()
    }

    fn next(&self) -> Option<KubernetesAction> {
        let condition = self.wanted.as_ref().filter(|is| self.said.as_ref().is_none_or(|old| !is_same(old, is)));
        let condition = condition.map(|is| KubernetesAction::Condition(is.clone()));
        condition.or_else(|| self.notes.front().map(|note| KubernetesAction::Note(note.clone())))
    }

    /// Takes in the outcome of the write. `spread` is the same all the time, and another on every node.
    pub(super) fn handle_written(&mut self, result: Result<(), Away>, spread: u64, now: Duration) {
        let Some(action) = self.under_way.take() else { return };
        match result {
            Ok(()) => {
                self.refused = None;
                self.failures = 0;
                self.not_before = now + EVERY;
                match action {
                    KubernetesAction::Condition(said) => self.said = Some(said),
                    KubernetesAction::Note(note) => self.notes.retain(|it| *it != note),
                    KubernetesAction::Ask { .. } => {}
                }
            }
            Err(why) => {
                self.refused = Some(why);
                self.not_before = now + EVERY.max(pause(self.failures, spread));
                self.failures = self.failures.saturating_add(1);
            }
        }
    }

    /// When there may be something to do; `is_open`: the API answers, and has the object.
    pub(super) fn poll_timeout(&self, is_open: bool) -> Option<Duration> {
        let write = (is_open && self.under_way.is_none() && self.next().is_some()).then_some(self.not_before);
        let hold = self.spell.as_ref().filter(|spell| spell.noted.is_none()).map(|spell| spell.since + HOLD);
        [write, hold].into_iter().flatten().min()
    }

    /// What a person should know; that the API is away is said elsewhere.
    pub(super) fn problem(&self, node: &str) -> Option<String> {
        let why = match self.refused.as_ref()? {
            Away::Forbidden(why) => format!(
                "forbids (403): {}; give this account the rights of deploy/kubernetes/base/clusterrole.yaml",
                clip(why)
            ),
            Away::Answer(why) => format!("gave no usable answer: {}", clip(why)),
            Away::Access(_) | Away::Unreachable(_) | Away::Unauthorized => return None,
        };
        Some(format!(
            "the Node object {node} does not say how this node's network is, for the Kubernetes API server {why}; pods are served all the same"
        ))
    }
}

fn is_same(one: &Condition, other: &Condition) -> bool {
    (one.unavailable, &one.reason) == (other.unavailable, &other.reason)
}

#[cfg(test)]
mod tests;
