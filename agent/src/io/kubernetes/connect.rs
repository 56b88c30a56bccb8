//! A client out of a kubeconfig file, or of the service account of the agent's pod.

use std::path::Path;
use std::time::Duration;

use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Client, Config};
use petiole_node::config::KubernetesAccess;

/// What opening a connection may take.
const CONNECT: Duration = Duration::from_secs(5);

/// A client that has not asked anything yet.
///
/// # Errors
/// In words: which file is missing or wrong.
pub(super) async fn client(access: &KubernetesAccess) -> Result<Client, String> {
    let mut config = match access {
        KubernetesAccess::InCluster => Config::incluster_env().map_err(|e| {
            format!("this pod has no service account to ask with ({}): mount its token, or set `kubeconfig`", chain(&e))
        })?,
        KubernetesAccess::Kubeconfig(file) => from_file(file).await?,
    };
    config.connect_timeout = Some(CONNECT);
    // No program is run for credentials: the image has none, and the agent starts no child processes.
    if config.auth_info.exec.is_some() || config.auth_info.auth_provider.is_some() {
        return Err(
            "the kubeconfig asks another program for credentials: give it a token, a tokenFile or a client certificate"
                .to_owned(),
        );
    }
    Client::try_from(config).map_err(|e| chain(&e))
}

async fn from_file(file: &Path) -> Result<Config, String> {
    let wrong = |e: &dyn std::error::Error| format!("kubeconfig {}: {}", file.display(), chain(e));
    let owned = file.to_owned();
    let read = tokio::task::spawn_blocking(move || Kubeconfig::read_from(owned)).await;
    let kubeconfig = read.map_err(|e| wrong(&e))?.map_err(|e| wrong(&e))?;
    Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await.map_err(|e| wrong(&e))
}

/// An error with its causes.
pub(super) fn chain(error: &dyn std::error::Error) -> String {
    let mut words = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        let cause_words = cause.to_string();
        if !words.contains(&cause_words) {
            words = format!("{words}: {cause_words}");
        }
        next = cause.source();
    }
    words
}
