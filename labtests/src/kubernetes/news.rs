//! What the API's watchers are told, when they are told it: `kubectl get --watch`.

use std::sync::mpsc::{self, Receiver};

use anyhow::{Context, Result};
use serde_json::Value;

use super::Cluster;
use crate::{Spawned, connections};

/// A change of an object.
#[derive(Debug)]
pub struct News {
    /// In seconds since the Unix epoch, when `kubectl` had printed it.
    pub at: f64,
    /// `ADDED`, `MODIFIED`, `DELETED`.
    pub kind: String,
    /// As it is now.
    pub object: Value,
}

/// A watch that goes on until this is dropped.
#[derive(Debug)]
pub struct Watch {
    /// It is disconnected when the watch has ended.
    pub news: Receiver<News>,
    _kubectl: Spawned,
}

impl News {
    /// The object's.
    pub fn name(&self) -> &str {
        self.object["metadata"]["name"].as_str().unwrap_or_default()
    }

    /// Whether the node or pod has the condition Ready.
    pub fn ready(&self) -> bool {
        let conditions = self.object["status"]["conditions"].as_array().into_iter().flatten();
        conditions.into_iter().any(|c| c["type"] == "Ready" && c["status"] == "True")
    }
}

/// Everything that happens to these objects from now on, those that are there first: `kubectl get WHAT`.
pub fn watch(cluster: &Cluster<'_>, what: &[&str]) -> Result<Watch> {
    let argv = [&["kubectl", "get", "--watch", "--output-watch-events", "-o", "json"], what].concat();
    let mut kubectl = cluster.operator().spawn(&argv)?;
    let output = kubectl.child().stdout.take().context("no output of kubectl")?;
    let (sender, news) = mpsc::channel();
    std::thread::spawn(move || {
        for event in serde_json::Deserializer::from_reader(output).into_iter::<Value>() {
            // The end of the watch, which the receiver notices.
            let Ok(mut event) = event else { return };
            let kind = event["type"].as_str().unwrap_or_default().to_owned();
            if sender.send(News { at: connections::now(), kind, object: event["object"].take() }).is_err() {
                return;
            }
        }
    });
    Ok(Watch { news, _kubectl: kubectl })
}
