//! Pods: their interfaces and the records of their endpoints. Each order runs on a thread of its own that ends with it: it waits
//! for the kernel and the disk, and may end up in another network namespace.

use std::collections::BTreeMap;
use std::os::fd::AsFd;
use std::sync::mpsc::{SendError, Sender, channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};

use petiole_node::pods::{CniFailure, CniFault, CniId, Endpoint};
use petiole_node::prefix::Family;
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
    /// Pairs that wait for their addresses, by the name of the host's end.
    begun: Arc<Mutex<BTreeMap<String, Begun>>>,
}

#[derive(Debug)]
struct Begun {
    addressed: Sender<(EffectId, Box<Endpoint>)>,
    thread: JoinHandle<()>,
}

impl Pods {
    /// Works for the requests on this desk.
    #[must_use]
    pub fn new(desk: Desk, records: Records, inputs: mpsc::Sender<Input>) -> Self {
        Self { desk, records: Arc::new(records), inputs, begun: Arc::default() }
    }

    /// Begin with a pair while its addresses are asked for. Its thread waits for them; without an order for this pair it goes on as
    /// [`Pods::unwire`] says.
    pub fn prepare(&self, cni: CniId, endpoint: Endpoint, families: &[Family]) {
        let Some(netns) = self.desk.netns(cni) else { return };
        let has_v6 = families.contains(&Family::V6);
        let host = endpoint.host.clone();
        let answer = self.answer();
        let (addressed, waits) = channel::<(EffectId, Box<Endpoint>)>();
        let work = move || {
            let prepared = wire::prepare(&endpoint, has_v6, netns.as_fd());
            if let Ok((id, endpoint)) = waits.recv() {
                answer(id, prepared.and_then(|prepared| wire::wire(prepared, &endpoint)));
            }
        };
        // Without a thread the order to wire it makes it from the beginning, and says so if there is none for that either.
        if let Ok(thread) = thread::Builder::new().name("pod".to_owned()).spawn(work) {
            self.begun().insert(host, Begun { addressed, thread });
        }
    }

    /// Give a pair its addresses; one that nobody began is made whole.
    pub fn wire(&self, id: EffectId, cni: CniId, endpoint: Endpoint) {
        let begun = self.begun().remove(&endpoint.host);
        let endpoint = Box::new(endpoint);
        let endpoint = match begun {
            None => endpoint,
            Some(begun) => match begun.addressed.send((id, endpoint)) {
                Ok(()) => return,
                Err(SendError((_, endpoint))) => endpoint,
            },
        };
        let netns = self.desk.netns(cni);
        self.order(id, move || {
            let netns = netns.ok_or_else(without_namespace)?;
            let prepared = wire::prepare(&endpoint, endpoint.has(Family::V6), netns.as_fd())?;
            wire::wire(prepared, &endpoint)
        });
    }

    /// Look at a pair.
    pub fn look(&self, id: EffectId, cni: CniId, endpoint: Endpoint) {
        let netns = self.desk.netns(cni);
        self.order(id, move || wire::look(&endpoint, netns.ok_or_else(without_namespace)?.as_fd()));
    }

    /// Delete a pair, also one that is only begun.
    pub fn unwire(&self, id: EffectId, host: String) {
        let begun = self.begun().remove(&host);
        self.order(id, move || {
            if let Some(Begun { addressed, thread }) = begun {
                drop(addressed);
                // There is nothing to delete before it is done; one that panicked is.
                thread.join().ok();
            }
            wire::unwire(&host)
        });
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

    fn begun(&self) -> MutexGuard<'_, BTreeMap<String, Begun>> {
        self.begun.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn answer(&self) -> impl Fn(EffectId, Result<(), CniFailure>) + Clone + Send + 'static {
        let inputs = self.inputs.clone();
        move |id, result| {
            let _ = inputs.blocking_send(Input::Done { id, result: Done::Pod(result) });
        }
    }

    fn order(&self, id: EffectId, work: impl FnOnce() -> Result<(), CniFailure> + Send + 'static) {
        let answer = self.answer();
        let told = answer.clone();
        let begun = thread::Builder::new().name("pod".to_owned()).spawn(move || answer(id, work()));
        if let Err(e) = begun {
            // The loop must not wait for its own queue.
            tokio::task::spawn_blocking(move || {
                let words = format!("cannot start a thread: {e}; raise the limit of tasks (TasksMax, ulimit -u)");
                told(id, Err(CniFailure { kind: CniFault::TryAgain, words }));
            });
        }
    }
}

fn without_namespace() -> CniFailure {
    let words = "no network namespace came with the request: is CNI_NETNS set, and does it exist?".to_owned();
    CniFailure { kind: CniFault::BadRequest, words }
}
