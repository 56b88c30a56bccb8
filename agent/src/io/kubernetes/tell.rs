//! What is written into the API: the condition of the own Node object, and events about it.

use k8s_openapi::api::core::v1::{Event, EventSource, Node, ObjectReference};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, Time};
use k8s_openapi::jiff::Timestamp;
use kube::api::{Patch, PatchParams, PostParams};
use kube::{Api, Client, Error};
use petiole_node::kubernetes::{Condition, KubernetesAction, Note};

/// Where events about objects without a namespace are looked for.
const NAMESPACE: &str = "default";
/// Who says it.
const COMPONENT: &str = "petiole";

pub(super) async fn tell(client: &Client, node: &str, action: &KubernetesAction) -> Result<(), Error> {
    match action {
        KubernetesAction::Condition(condition) => write(client, node, condition).await,
        KubernetesAction::Note(note) => say(client, node, note).await,
        KubernetesAction::Ask { .. } => Ok(()),
    }
}

async fn write(client: &Client, node: &str, condition: &Condition) -> Result<(), Error> {
    let api: Api<Node> = Api::all(client.clone());
    let found = api.get(node).await?.status.and_then(|status| status.conditions).unwrap_or_default();
    let found: Result<Vec<_>, _> = found.iter().map(serde_json::to_value).collect();
    let found = found.map_err(Error::SerdeError)?;
    // The API's times have no fraction.
    let now = whole_seconds(Timestamp::now()).to_string();
    let Some(patch) = condition.patch(&found, &now) else { return Ok(()) };
    api.patch_status(node, &PatchParams::default(), &Patch::Strategic(patch)).await.map(drop)
}

async fn say(client: &Client, node: &str, note: &Note) -> Result<(), Error> {
    let at = i64::try_from(note.at / 1_000_000_000).ok().and_then(|seconds| Timestamp::from_second(seconds).ok());
    let at = Some(Time(at.unwrap_or(Timestamp::UNIX_EPOCH)));
    let event = Event {
        metadata: ObjectMeta {
            generate_name: Some(format!("{node}.")),
            namespace: Some(NAMESPACE.to_owned()),
            ..ObjectMeta::default()
        },
        involved_object: ObjectReference {
            api_version: Some("v1".to_owned()),
            kind: Some("Node".to_owned()),
            name: Some(node.to_owned()),
            // As the kubelet writes it, and kubectl looks for it.
            uid: Some(node.to_owned()),
            ..ObjectReference::default()
        },
        type_: Some(if note.warning { "Warning" } else { "Normal" }.to_owned()),
        reason: Some(note.reason.clone()),
        message: Some(note.message.clone()),
        source: Some(EventSource { component: Some(COMPONENT.to_owned()), host: Some(node.to_owned()) }),
        first_timestamp: at.clone(),
        last_timestamp: at,
        count: Some(1),
        ..Event::default()
    };
    let api: Api<Event> = Api::namespaced(client.clone(), NAMESPACE);
    api.create(&PostParams::default(), &event).await.map(drop)
}

fn whole_seconds(time: Timestamp) -> Timestamp {
    Timestamp::from_second(time.as_second()).unwrap_or(time)
}
