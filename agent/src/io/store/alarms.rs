//! What etcd says is wrong with itself.

use std::sync::Arc;

use petiole_node::Input;
use tokio::sync::{Mutex, mpsc};

use super::words;

/// The alarms of the cluster: etcd says them with each status, and every client hears of the change.
#[derive(Clone)]
pub(super) struct Alarms {
    inputs: mpsc::Sender<Input>,
    told: Arc<Mutex<String>>,
}

impl Alarms {
    pub(super) fn new(inputs: mpsc::Sender<Input>) -> Self {
        Self { inputs, told: Arc::default() }
    }

    /// What a member says is wrong, if that is news.
    pub(super) async fn report(&self, member: &str, errors: &[String]) {
        let what = words::alarm(member, errors);
        let mut told = self.told.lock().await;
        if *told != what {
            told.clone_from(&what);
            let _ = self.inputs.send(Input::Trouble { part: "etcd".to_owned(), what }).await;
        }
    }
}

#[cfg(test)]
mod tests;
