//! What the Kubernetes API says about this node, and what is lacking where it says nothing.
//!
//! The API server is a witness, never a store: without it everything goes on with what was seen last.

mod departed;
mod follow;
mod network;
mod peers;
mod ranges;
mod services;
mod tell;

use std::collections::BTreeMap;
use std::time::Duration;

use petiole_config::{KubernetesAccess, KubernetesSettings};
use serde::{Deserialize, Serialize};

use crate::input::EffectId;
use crate::node::Node;
use crate::seed;
use crate::view::KubernetesView;
use departed::{Departed, Record};
use network::Network;
use peers::Sent;
use ranges::Ranges;
use services::Services;

pub use follow::{Ask, Follow, pause};
pub use network::{Condition, Note};

/// As much of an API server's words as is repeated, in characters.
const LONGEST: usize = 300;

/// What the driver saw or met at the API server.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum KubernetesEvent {
    /// The Node object, as it is now.
    Node {
        /// `metadata.labels`.
        labels: BTreeMap<String, String>,
        /// `spec.podCIDRs`, or `spec.podCIDR` where there are none; `None` where nobody asked for them.
        #[serde(default)]
        ranges: Option<Vec<String>>,
    },
    /// The API server answered that there is none of this name.
    Missing,
    /// It was deleted while it was watched.
    Deleted,
    /// The API server answers again, and nothing is new.
    Watching,
    /// The identity of the cluster whose API this is: the uid of its namespace kube-system.
    Cluster(String),
    /// The ranges that Services get their addresses from.
    Services(Result<Vec<String>, Away>),
    /// The answer to [`KubernetesAction::Ask`].
    Asked {
        /// Of which object.
        object: String,
        /// The identity of the cluster, and whether the object is there; `None` without an answer.
        answer: Option<(String, bool)>,
    },
    /// The outcome of [`KubernetesAction::Condition`] or [`KubernetesAction::Note`].
    Told(Result<(), Away>),
    /// No answer that could be used.
    Away(Away),
}

/// What the driver is to do at the API server.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum KubernetesAction {
    /// Ask whether there is a Node object of this name; comes back as [`KubernetesEvent::Asked`].
    Ask {
        /// The name.
        object: String,
    },
    /// Write it into the node's own Node object, unless it is there; comes back as [`KubernetesEvent::Told`].
    Condition(Condition),
    /// Make an event of it about the node's own Node object; comes back as [`KubernetesEvent::Told`].
    Note(Note),
}

/// Why the API server is of no use.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum Away {
    /// The kubeconfig or the service account cannot be used; in words.
    Access(String),
    /// No connection, or one that broke; in words.
    Unreachable(String),
    /// 401.
    Unauthorized,
    /// 403, with the server's words, which name verb and resource.
    Forbidden(String),
    /// Another answer that is of no use; in words.
    Answer(String),
}

/// What is known of the own Node object.
#[derive(Debug)]
pub(crate) struct Kubernetes {
    labels: BTreeMap<String, String>,
    object: Object,
    /// Why nothing is heard of it now.
    away: Option<Away>,
    /// Whose API it is.
    cluster: Option<String>,
    services: Services,
    pub(crate) ranges: Ranges,
    /// What this node wrote down in this life.
    recorded: Option<Record>,
    departed: Departed,
    network: Network,
    sent: BTreeMap<EffectId, Sent>,
    /// When silent nodes are looked for again.
    look_at: Duration,
}

/// The Node object, as it was seen last.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
enum Object {
    /// Not seen in this life.
    #[default]
    Unseen,
    There,
    Missing,
    Deleted,
}

impl Kubernetes {
    pub(crate) fn new(grace: Duration, seed: &[u8; 32]) -> Self {
        Self {
            labels: BTreeMap::new(),
            object: Object::default(),
            away: None,
            cluster: None,
            services: Services::default(),
            ranges: Ranges::default(),
            recorded: None,
            departed: Departed::new(grace, seed::derive(seed, "departed")),
            network: Network::default(),
            sent: BTreeMap::new(),
            look_at: Duration::ZERO,
        }
    }

    /// Goes on with the labels that an earlier life saw.
    pub(crate) fn restore(&mut self, labels: BTreeMap<String, String>) {
        self.labels = labels;
    }

    /// The labels of the Node object, as they were seen last.
    pub(crate) const fn labels(&self) -> &BTreeMap<String, String> {
        &self.labels
    }

    /// A Node object that is gone takes no label away: the node's pods are still here.
    pub(crate) fn handle(&mut self, event: KubernetesEvent) {
        self.away = None;
        match event {
            KubernetesEvent::Node { labels, ranges } => {
                self.labels = labels;
                if let Some(ranges) = ranges {
                    self.ranges.handle(&ranges);
                }
                self.object = Object::There;
            }
            KubernetesEvent::Missing => self.gone(Object::Missing),
            KubernetesEvent::Deleted => self.gone(Object::Deleted),
            KubernetesEvent::Watching | KubernetesEvent::Asked { .. } | KubernetesEvent::Told(_) => {}
            KubernetesEvent::Services(found) => self.services.handle(found),
            KubernetesEvent::Cluster(cluster) => self.cluster = Some(cluster),
            KubernetesEvent::Away(why) => self.away = Some(why),
        }
    }

    fn gone(&mut self, how: Object) {
        self.object = how;
        self.network.forget();
    }

    /// Both kinds of labels; the configuration's go before, for it is written for this agent.
    pub(crate) fn merged(&self, own: &BTreeMap<String, String>) -> BTreeMap<String, String> {
        let mut labels = self.labels.clone();
        labels.extend(own.iter().map(|(key, value)| (key.clone(), value.clone())));
        labels
    }

    /// What is wrong, with what to do.
    pub(crate) fn problem(&self, settings: &KubernetesSettings) -> Option<String> {
        let KubernetesSettings { access, node } = settings;
        let credentials = match access {
            KubernetesAccess::Kubeconfig(file) => format!("renew {}", file.display()),
            KubernetesAccess::InCluster => "look at the pod's service account".to_owned(),
        };
        let Some(away) = &self.away else { return self.object_problem(node) };
        Some(match away {
            Away::Access(why) => {
                format!("no access to the Kubernetes API: {}; {GOES_ON}", clip(why))
            }
            Away::Unreachable(why) => {
                format!("the Kubernetes API server is unreachable: {}; {GOES_ON}", clip(why))
            }
            Away::Unauthorized => format!(
                "the Kubernetes API server does not accept this node's credentials (401), which have expired or are another cluster's: {credentials}; {GOES_ON}"
            ),
            Away::Forbidden(why) => format!(
                "the Kubernetes API server forbids (403): {}; give this account the rights of deploy/kubernetes/base/clusterrole.yaml; {GOES_ON}",
                clip(why)
            ),
            Away::Answer(why) => {
                format!("the Kubernetes API server gave no usable answer: {}; {GOES_ON}", clip(why))
            }
        })
    }

    fn object_problem(&self, node: &str) -> Option<String> {
        match self.object {
            Object::Unseen | Object::There => None,
            Object::Missing => Some(format!(
                "the Kubernetes API has no Node object {node}: set `node` in [kubernetes] to its name as `kubectl get nodes` shows it, or let its kubelet register it"
            )),
            Object::Deleted => Some(format!(
                "the Node object {node} was deleted from the Kubernetes API: this node goes on as it was; stop its agent if it is to leave"
            )),
        }
    }

    fn state(&self) -> &'static str {
        match (&self.away, self.object) {
            (Some(_), _) => "away",
            (None, Object::Unseen) => "connecting",
            (None, Object::There) => "watching",
            (None, Object::Missing) => "missing",
            (None, Object::Deleted) => "deleted",
        }
    }
}

/// What follows from an API server that is away.
const GOES_ON: &str = "everything goes on with the labels seen last";

/// Words from outside on one line, and not too many of them.
fn clip(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).take(LONGEST).collect()
}

impl Node {
    pub(crate) fn handle_kubernetes(&mut self, event: KubernetesEvent) {
        // Without the section there is no driver, but a recording may come from a node that had one.
        if self.settings.kubernetes.is_none() {
            return;
        }
        match event {
            // The one who asks and tells says nothing about the watch.
            KubernetesEvent::Asked { object, answer } => {
                self.asked(&object, answer.as_ref().map(|(cluster, there)| (cluster.as_str(), *there)));
            }
            KubernetesEvent::Told(result) => self.told(result),
            event => {
                self.kubernetes.handle(event);
                self.use_labels();
                self.use_taken();
                self.use_ranges();
            }
        }
    }

    /// Labels of an earlier life, until the API has spoken.
    pub(crate) fn resume_labels(&mut self, labels: BTreeMap<String, String>) {
        if self.settings.kubernetes.is_some() {
            self.kubernetes.restore(labels);
            self.use_labels();
        }
    }

    fn use_labels(&mut self) {
        let labels = self.kubernetes.merged(&self.settings.node.labels);
        self.ipam.set_labels(labels, self.now.mono, self.now.wall);
    }

    pub(crate) fn kubernetes_view(&self) -> Option<KubernetesView> {
        let settings = self.settings.kubernetes.as_ref()?;
        Some(KubernetesView {
            node: settings.node.clone(),
            state: self.kubernetes.state().to_owned(),
            labels: self.kubernetes.labels().clone(),
        })
    }

    pub(crate) fn kubernetes_problems(&self) -> impl Iterator<Item = String> {
        let settings = self.settings.kubernetes.as_ref();
        let problem = settings.and_then(|settings| self.kubernetes.problem(settings));
        let untold = settings.and_then(|settings| self.kubernetes.network.problem(&settings.node));
        problem
            .into_iter()
            .chain(self.kubernetes.departed.problem())
            .chain(untold)
            .chain(self.kubernetes.services.problem())
            .chain(self.range_problems())
    }
}

#[cfg(test)]
mod tests;
