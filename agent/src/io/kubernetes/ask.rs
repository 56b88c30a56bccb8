//! Questions about Node objects by name, and what is written into the own one.

use k8s_openapi::api::core::v1::{Namespace, Node};
use k8s_openapi::api::networking::v1::ServiceCIDR;
use kube::api::ListParams;
use kube::{Api, Client, Error};
use petiole_node::Input;
use petiole_node::config::KubernetesSettings;
use petiole_node::kubernetes::{Away, KubernetesAction, KubernetesEvent};
use tokio::sync::mpsc;
use tokio::time::timeout;

use super::{ANSWER, connect, silence, tell, words};

/// The namespace that every cluster has from its beginning to its end.
const SYSTEM: &str = "kube-system";

/// Carries out one action after the other.
pub(super) async fn serve(
    settings: KubernetesSettings,
    mut actions: mpsc::UnboundedReceiver<KubernetesAction>,
    inputs: mpsc::Sender<Input>,
) {
    let mut client = None;
    while let Some(action) = actions.recv().await {
        let mut lacks = None;
        if client.is_none() {
            match connect::client(&settings.access).await {
                Ok(new) => client = Some(new),
                Err(words) => lacks = Some(words),
            }
        }
        let (event, is_answered) = match action {
            KubernetesAction::Ask { object } => {
                let answer = match &client {
                    Some(client) => timeout(ANSWER, ask(client, &object)).await.ok().and_then(Result::ok),
                    None => None,
                };
                let is_answered = answer.is_some();
                (KubernetesEvent::Asked { object, answer }, is_answered)
            }
            KubernetesAction::Condition(_) | KubernetesAction::Note(_) => {
                let result = match &client {
                    Some(client) => timeout(ANSWER, tell::tell(client, &settings.node, &action))
                        .await
                        .map_err(|_| Away::Unreachable(silence()))
                        .and_then(|answer| answer.map_err(|error| words::away(&error))),
                    None => Err(Away::Access(lacks.unwrap_or_default())),
                };
                let is_answered = result.is_ok();
                (KubernetesEvent::Told(result), is_answered)
            }
        };
        if !is_answered {
            // The next one reads the files anew.
            client = None;
        }
        if inputs.send(Input::Kubernetes(event)).await.is_err() {
            return;
        }
    }
}

/// Both are read from the API's store itself, not from a server's memory of it.
async fn ask(client: &Client, object: &str) -> Result<(String, bool), Error> {
    let cluster = cluster(client).await?;
    let api: Api<Node> = Api::all(client.clone());
    Ok((cluster, api.get_metadata_opt(object).await?.is_some()))
}

/// The identity of the cluster.
pub(super) async fn cluster(client: &Client) -> Result<String, Error> {
    let api: Api<Namespace> = Api::all(client.clone());
    Ok(api.get_metadata(SYSTEM).await?.metadata.uid.unwrap_or_default())
}

/// The ranges that Services get their addresses from.
pub(super) async fn services(client: &Client) -> Result<Vec<String>, Error> {
    let api: Api<ServiceCIDR> = Api::all(client.clone());
    let list = api.list(&ListParams::default().match_any()).await?;
    Ok(list.items.into_iter().filter_map(|it| it.spec).filter_map(|spec| spec.cidrs).flatten().collect())
}
