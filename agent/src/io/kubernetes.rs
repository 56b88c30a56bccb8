//! The Kubernetes API: this node's own Node object, watched, and told how the node's network is.

mod ask;
mod connect;
mod tell;
mod words;

use std::pin::pin;
use std::time::Duration;

use futures::{Stream, StreamExt};
use k8s_openapi::api::core::v1::Node;
use kube::api::{ApiResource, NotUsed, Object, ObjectList};
use kube::api::{ListParams, WatchParams};
use kube::core::{PartialObjectMeta, WatchEvent};
use kube::{Api, Client, Error};
use petiole_node::Input;
use petiole_node::config::{BlockSource, KubernetesSettings};
use petiole_node::kubernetes::{Ask, Away, Follow, KubernetesAction, KubernetesEvent};
use serde::Deserialize;
use tokio::sync::mpsc;
use tokio::time::timeout;

/// What a request other than a watch may take.
const ANSWER: Duration = Duration::from_secs(10);
/// What the server is asked to end a watch after, in seconds; the next one goes on where it ended.
const WATCH: u32 = 240;
/// A watch without a word for so long is dead: servers send a bookmark about once a minute.
const SILENCE: Duration = Duration::from_secs(150);
/// 410: the server has no history from that version on.
const GONE: u16 = 410;
/// 401: another look at the files may help.
const UNAUTHORIZED: u16 = 401;

/// What the loop hands questions to.
#[derive(Debug)]
pub struct Kubernetes {
    actions: mpsc::UnboundedSender<KubernetesAction>,
}

impl Kubernetes {
    /// Watches until the agent ends. `spread` is random, and another one on every node. The ranges of the Node object are asked
    /// for where they are this node's blocks.
    #[must_use]
    pub fn start(settings: KubernetesSettings, source: BlockSource, spread: u64, inputs: mpsc::Sender<Input>) -> Self {
        // The node asks anew only after an answer, or half a minute.
        let (actions, receiver) = mpsc::unbounded_channel();
        tokio::spawn(ask::serve(settings.clone(), receiver, inputs.clone()));
        let mut watching =
            Watching { settings, source, client: None, is_known: false, follow: Follow::new(spread), inputs };
        tokio::spawn(async move { while watching.turn().await.is_ok() {} });
        Self { actions }
    }

    /// Hands it over; nothing here waits.
    pub fn act(&self, action: KubernetesAction) {
        let _ = self.actions.send(action);
    }
}

struct Watching {
    settings: KubernetesSettings,
    source: BlockSource,
    client: Option<Client>,
    /// Whether the client's cluster was told.
    is_known: bool,
    follow: Follow,
    inputs: mpsc::Sender<Input>,
}

/// Nobody listens any more.
struct Over;

impl Watching {
    async fn turn(&mut self) -> Result<(), Over> {
        let (pause, ask) = self.follow.next();
        tokio::time::sleep(pause).await;
        let client = match &self.client {
            Some(client) => client.clone(),
            None => match connect::client(&self.settings.access).await {
                Ok(client) => self.client.insert(client).clone(),
                Err(words) => return self.failed(Away::Access(words)).await,
            },
        };
        if !self.is_known {
            match timeout(ANSWER, ask::cluster(&client)).await {
                Ok(Ok(cluster)) => {
                    self.is_known = true;
                    self.tell(KubernetesEvent::Cluster(cluster)).await?;
                    // Without it all the rest goes on.
                    if let Ok(found) = timeout(ANSWER, ask::services(&client)).await {
                        let found = found.map_err(|error| words::away(&error));
                        self.tell(KubernetesEvent::Services(found)).await?;
                    }
                }
                Ok(Err(error)) => return self.refused(&error).await,
                Err(_) => return self.failed(Away::Unreachable(silence())).await,
            }
        }
        match self.source {
            BlockSource::Store => {
                let api: Api<Node> = Api::all(client);
                match ask {
                    Ask::List => self.listed(timeout(ANSWER, api.list_metadata(&self.only_own())).await).await,
                    Ask::Watch(from) => {
                        let answer = timeout(ANSWER, api.watch_metadata(&self.only_changes(), &from)).await;
                        self.follow_it(answer).await
                    }
                }
            }
            BlockSource::Node => {
                let api: Api<WithRanges> = Api::all_with(client, &ApiResource::erase::<Node>(&()));
                match ask {
                    Ask::List => self.listed(timeout(ANSWER, api.list(&self.only_own())).await).await,
                    Ask::Watch(from) => {
                        let answer = timeout(ANSWER, api.watch(&self.only_changes(), &from)).await;
                        self.follow_it(answer).await
                    }
                }
            }
        }
    }

    fn only_own(&self) -> ListParams {
        // Any version will do: the server answers from memory, and the watch tells what is newer.
        ListParams::default().fields(&self.selector()).match_any()
    }

    fn only_changes(&self) -> WatchParams {
        WatchParams::default().fields(&self.selector()).timeout(WATCH)
    }

    fn selector(&self) -> String {
        format!("metadata.name={}", self.settings.node)
    }

    async fn listed<K: Seen>(&mut self, answer: Answer<ObjectList<K>>) -> Result<(), Over> {
        match answer {
            Ok(Ok(list)) => {
                self.follow.seen(list.metadata.resource_version.as_deref().unwrap_or_default());
                let event = list.items.into_iter().next().map_or(KubernetesEvent::Missing, K::event);
                self.tell(event).await
            }
            Ok(Err(error)) => self.refused(&error).await,
            Err(_) => self.failed(Away::Unreachable(silence())).await,
        }
    }

    async fn follow_it<K: Seen>(
        &mut self,
        answer: Answer<impl Stream<Item = Result<WatchEvent<K>, Error>>>,
    ) -> Result<(), Over> {
        let stream = match answer {
            Ok(Ok(stream)) => stream,
            Ok(Err(error)) => return self.refused(&error).await,
            Err(_) => return self.failed(Away::Unreachable(silence())).await,
        };
        self.tell(KubernetesEvent::Watching).await?;
        let mut stream = pin!(stream);
        loop {
            let event = match timeout(SILENCE, stream.next()).await {
                Err(_) => {
                    let words = format!("the watch was silent for {} s", SILENCE.as_secs());
                    return self.failed(Away::Unreachable(words)).await;
                }
                Ok(None) => {
                    self.follow.ended();
                    return Ok(());
                }
                Ok(Some(Err(error))) => return self.refused(&error).await,
                Ok(Some(Ok(event))) => event,
            };
            match event {
                WatchEvent::Added(node) | WatchEvent::Modified(node) => {
                    self.follow.seen(node.version());
                    self.tell(node.event()).await?;
                }
                WatchEvent::Deleted(node) => {
                    self.follow.seen(node.version());
                    self.tell(KubernetesEvent::Deleted).await?;
                }
                WatchEvent::Bookmark(bookmark) => self.follow.seen(&bookmark.metadata.resource_version),
                WatchEvent::Error(status) => return self.refused(&Error::Api(status)).await,
            }
        }
    }

    async fn refused(&mut self, error: &Error) -> Result<(), Over> {
        match error {
            Error::Api(status) if status.code == GONE => {
                self.follow.gone();
                return Ok(());
            }
            Error::Api(status) if status.code != UNAUTHORIZED => {}
            // The files may hold other credentials, authorities or addresses by now.
            _ => {
                self.client = None;
                self.is_known = false;
            }
        }
        self.failed(words::away(error)).await
    }

    async fn failed(&mut self, why: Away) -> Result<(), Over> {
        self.follow.failed();
        self.tell(KubernetesEvent::Away(why)).await
    }

    async fn tell(&self, event: KubernetesEvent) -> Result<(), Over> {
        self.inputs.send(Input::Kubernetes(event)).await.map_err(|_| Over)
    }
}

fn silence() -> String {
    format!("no answer within {} s", ANSWER.as_secs())
}

type Answer<T> = Result<Result<T, Error>, tokio::time::error::Elapsed>;

/// As much of the Node object as is asked for.
trait Seen: Clone {
    fn version(&self) -> &str;
    fn event(self) -> KubernetesEvent;
}

impl Seen for PartialObjectMeta<Node> {
    fn version(&self) -> &str {
        self.metadata.resource_version.as_deref().unwrap_or_default()
    }

    fn event(self) -> KubernetesEvent {
        KubernetesEvent::Node { labels: self.metadata.labels.unwrap_or_default(), ranges: None }
    }
}

/// A Node object without its status.
type WithRanges = Object<Spec, NotUsed>;

/// What is read of `spec`.
#[derive(Clone, Debug, Default, Deserialize)]
struct Spec {
    #[serde(default, rename = "podCIDRs")]
    ranges: Vec<String>,
    #[serde(default, rename = "podCIDR")]
    first: Option<String>,
}

impl Seen for WithRanges {
    fn version(&self) -> &str {
        self.metadata.resource_version.as_deref().unwrap_or_default()
    }

    fn event(self) -> KubernetesEvent {
        let Spec { mut ranges, first } = self.spec;
        if ranges.is_empty() {
            ranges.extend(first);
        }
        KubernetesEvent::Node { labels: self.metadata.labels.unwrap_or_default(), ranges: Some(ranges) }
    }
}
