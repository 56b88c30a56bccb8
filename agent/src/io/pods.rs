//! Pods: their interfaces and the records of their endpoints. Each order runs on a thread of its own that ends with it: it waits
//! for the kernel and the disk, and may end up in another network namespace.

use std::sync::Arc;
use std::thread;

use petiole_node::pods::{CniFailure, CniFault, CniId, Endpoint};
use petiole_node::{Done, EffectId, Input};
use tokio::sync::mpsc;

use super::cni::Desk;

mod gone;
mod netlink;
pub mod records;
mod wire;

use records::Records;

/// Hands orders about pods to threads.
#[derive(Clone, Debug)]
pub struct Pods {
    desk: Desk,
    records: Arc<Records>,
    inputs: mpsc::Sender<Input>,
}

impl Pods {
    /// Works for the requests on this desk.
    #[must_use]
    pub fn new(desk: Desk, records: Records, inputs: mpsc::Sender<Input>) -> Self {
        Self { desk, records: Arc::new(records), inputs }
    }

    /// Make a pair.
    pub fn wire(&self, id: EffectId, cni: CniId, endpoint: Endpoint) {
        let netns = self.desk.netns(cni);
        self.order(id, move || match netns {
            Some(netns) => wire::wire(&endpoint, std::os::fd::AsFd::as_fd(&*netns)),
            None => Err(without_namespace()),
        });
    }

    /// Look at a pair.
    pub fn look(&self, id: EffectId, cni: CniId, endpoint: Endpoint) {
        let netns = self.desk.netns(cni);
        self.order(id, move || match netns {
            Some(netns) => wire::look(&endpoint, std::os::fd::AsFd::as_fd(&*netns)),
            None => Err(without_namespace()),
        });
    }

    /// Delete a pair.
    pub fn unwire(&self, id: EffectId, host: String) {
        self.order(id, move || wire::unwire(&host));
    }

    /// Write a record.
    pub fn record(&self, id: EffectId, endpoint: Endpoint) {
        let records = Arc::clone(&self.records);
        self.order(id, move || records.write(&endpoint).map_err(|words| CniFailure { kind: CniFault::Io, words }));
    }

    /// Delete a record.
    pub fn forget(&self, id: EffectId, host: String) {
        let records = Arc::clone(&self.records);
        self.order(id, move || records.remove(&host).map_err(|words| CniFailure { kind: CniFault::Io, words }));
    }

    fn order(&self, id: EffectId, work: impl FnOnce() -> Result<(), CniFailure> + Send + 'static) {
        let inputs = self.inputs.clone();
        let answer = move |result| {
            let _ = inputs.blocking_send(Input::Done { id, result: Done::Pod(result) });
        };
        let told = answer.clone();
        let begun = thread::Builder::new().name("pod".to_owned()).spawn(move || answer(work()));
        if let Err(e) = begun {
            // The loop must not wait for its own queue.
            tokio::task::spawn_blocking(move || {
                let words = format!("cannot start a thread: {e}; raise the limit of tasks (TasksMax, ulimit -u)");
                told(Err(CniFailure { kind: CniFault::TryAgain, words }));
            });
        }
    }
}

fn without_namespace() -> CniFailure {
    let words = "no network namespace came with the request: is CNI_NETNS set, and does it exist?".to_owned();
    CniFailure { kind: CniFault::BadRequest, words }
}
