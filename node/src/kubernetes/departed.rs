//! Nodes that were deleted from the Kubernetes API for good: peers say so in the store, as an operator would.
//!
//! Silence is never death, and a missing object alone is not either. All of this must hold, all the time:
//! - nothing of the node's blocks is known to BGP, while every leaf has told all it knows;
//! - the node itself once wrote down which Node object is its own, and of which cluster: a node that never was in this one is nobody's to
//!   judge here, nor does an API server with an empty store know anything of those that were;
//! - the API says of that very cluster, over the whole grace time, that there is no such object. No answer begins it anew;
//! - most nodes are heard of.
//!
//! Then the node is forgotten, in one transaction that only one peer can make; what follows is [`petiole_ipam::reclaim`]'s, with a grace
//! time of its own. So the API is asked about silent nodes only, by name, and nobody watches all of them.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use petiole_prefix::Prefix;
use petiole_store::Revision;
use rand_chacha::ChaCha8Rng;
use rand_core::{Rng, SeedableRng};
use serde::{Deserialize, Serialize};

/// The API must say that the object is gone for the grace time, and that many times at least.
const ANSWERS: u32 = 5;
/// How long an answer is waited for, and what passes before it is tried again without one.
const PATIENCE: Duration = Duration::from_secs(30);

/// What follows from the grace time: all of it is in its proportions.
#[derive(Clone, Copy, Debug)]
struct Times {
    /// How long a node must be silent before anything is asked about it.
    silence: Duration,
    /// Peers begin up to this much later than the first.
    spread: Duration,
    /// How long the API must say that the object is gone.
    grace: Duration,
    /// Between two questions whose answer is that it is gone.
    ask: Duration,
    /// Between two questions about a node that is silent and not deleted, or of which nobody can say anything.
    later: Duration,
}

impl Times {
    fn of(grace: Duration) -> Self {
        Self { silence: grace / 2, spread: grace / 2, grace, ask: grace / 6, later: grace }
    }
}

/// Which Node object is a node's own, as it wrote it down itself.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(crate) struct Record {
    /// `metadata.name`.
    pub(crate) object: String,
    /// The cluster's identity.
    pub(crate) cluster: String,
}

/// What was found in the store about a silent node.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Dossier {
    pub(crate) record: Record,
    /// As of this revision.
    pub(crate) recorded: Revision,
    /// The node's own addresses.
    pub(crate) addresses: Vec<Prefix>,
}

/// What is to be done next about a node.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Deed {
    /// Read what the node wrote down.
    Read(String),
    /// Ask the API for the object.
    Ask(String),
    /// Write down that the node is gone for good.
    Forget(String, Dossier),
}

/// What is thought of the nodes that are silent.
#[derive(Debug)]
pub(crate) struct Departed {
    suspects: BTreeMap<String, Suspect>,
    /// So many of so many are silent that it is rather this node that hears nothing.
    too_many: Option<(usize, usize)>,
    times: Times,
    rng: ChaCha8Rng,
}

#[derive(Debug)]
struct Suspect {
    at: Duration,
    stage: Stage,
}

#[derive(Debug)]
enum Stage {
    Silent,
    Reading,
    Due(Dossier, Missing),
    Asked(Dossier, Missing),
    Forgetting,
}

/// Since when the API says that the object is gone, and how often it did.
type Missing = Option<(Duration, u32)>;

impl Departed {
    pub(crate) fn new(grace: Duration, seed: [u8; 32]) -> Self {
        let times = Times::of(grace);
        Self { suspects: BTreeMap::new(), too_many: None, times, rng: ChaCha8Rng::from_seed(seed) }
    }

    /// Takes in which of so many nodes are silent; `None` when that cannot be told, or nobody can be asked.
    pub(crate) fn turn(&mut self, silent: Option<(BTreeSet<String>, usize)>, now: Duration) -> Vec<Deed> {
        let Some((silent, of)) = silent else {
            self.suspects.clear();
            self.too_many = None;
            return Vec::new();
        };
        self.suspects.retain(|node, _| silent.contains(node));
        for node in &silent {
            if !self.suspects.contains_key(node) {
                let at = now
                    + self.times.silence
                    + self.times.spread.mul_f64(f64::from(self.rng.next_u32()) / f64::from(u32::MAX));
                self.suspects.insert(node.clone(), Suspect { at, stage: Stage::Silent });
            }
        }
        self.too_many = (silent.len() > 1.max(of / 2)).then_some((silent.len(), of));
        if self.too_many.is_some() {
            // What was asked so far was asked by a node that may hear nothing.
            self.suspects.clear();
            return Vec::new();
        }
        let mut deeds = Vec::new();
        for (node, suspect) in self.suspects.iter_mut().filter(|(_, s)| s.at <= now) {
            suspect.at = now + PATIENCE;
            suspect.stage = match std::mem::replace(&mut suspect.stage, Stage::Silent) {
                Stage::Silent | Stage::Reading | Stage::Forgetting => {
                    deeds.push(Deed::Read(node.clone()));
                    Stage::Reading
                }
                Stage::Due(dossier, missing) => {
                    deeds.push(Deed::Ask(dossier.record.object.clone()));
                    Stage::Asked(dossier, missing)
                }
                // No answer: what it would have been is unknown.
                Stage::Asked(dossier, _) => Stage::Due(dossier, None),
            };
        }
        deeds
    }

    /// What the node wrote down; `None` where it never did, or that cannot be read.
    pub(crate) fn handle_read(&mut self, node: &str, found: Option<Dossier>, now: Duration) {
        let Some(suspect) = self.suspects.get_mut(node) else { return };
        if !matches!(suspect.stage, Stage::Reading) {
            return;
        }
        (suspect.at, suspect.stage) = match found {
            Some(dossier) => (now, Stage::Due(dossier, None)),
            None => (now + self.times.later, Stage::Silent),
        };
    }

    /// The API's answer about an object: whether it is there, and whose answer that is; `None` without one.
    pub(crate) fn handle_answer(&mut self, object: &str, answer: Option<(&str, bool)>, now: Duration) -> Vec<Deed> {
        let mut deeds = Vec::new();
        for (node, suspect) in &mut self.suspects {
            let Stage::Asked(dossier, missing) = &suspect.stage else { continue };
            if dossier.record.object != object {
                continue;
            }
            let (dossier, missing) = (dossier.clone(), *missing);
            (suspect.at, suspect.stage) = match answer {
                None => (now + PATIENCE, Stage::Due(dossier, None)),
                // Read again first: it may have written something else by then.
                Some((cluster, there)) if there || cluster != dossier.record.cluster => {
                    (now + self.times.later, Stage::Silent)
                }
                Some(_) => {
                    let (since, answers) = missing.unwrap_or((now, 0));
                    if now >= since + self.times.grace && answers + 1 >= ANSWERS {
                        deeds.push(Deed::Forget(node.clone(), dossier));
                        (now + PATIENCE, Stage::Forgetting)
                    } else {
                        (now + self.times.ask, Stage::Due(dossier, Some((since, answers + 1))))
                    }
                }
            };
        }
        deeds
    }

    /// What a person should know.
    pub(crate) fn problem(&self) -> Option<String> {
        let (silent, of) = self.too_many?;
        Some(format!(
            "nothing is heard of {silent} of {of} nodes with blocks: none of them is taken for deleted meanwhile; where they are gone for good, \
             say so with `petiole ipam forget NODE`"
        ))
    }

    /// When something may be due.
    pub(crate) fn poll_timeout(&self) -> Option<Duration> {
        self.suspects.values().map(|s| s.at).min()
    }
}

#[cfg(test)]
mod tests;
