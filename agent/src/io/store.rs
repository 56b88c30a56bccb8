//! The store: an etcd cluster, or a file of this node's own. Both take the same orders and give the same answers.

mod alarms;
mod diagnosis;
mod embedded;
mod etcd;
mod heartbeat;
mod login;
mod members;
mod pulse;
mod quiet;
mod spread;
mod words;

use std::path::Path;

use petiole_node::config::{EtcdSettings, StoreSettings};
use petiole_node::store::watch::WatchAction;
use petiole_node::store::{StoreError, Txn, TxnOutcome};
use petiole_node::{Done, EffectId, Input};
use tokio::sync::mpsc;

/// What the store is asked.
#[derive(Debug)]
enum Order {
    Watch(WatchAction),
    Txn(EffectId, Txn),
}

/// The agent's end of its store. Orders never wait; answers arrive as inputs.
#[derive(Debug)]
pub struct Store {
    // Without a bound: the node keeps few requests under way, and the loop must never wait for a driver that waits for it.
    orders: mpsc::UnboundedSender<Order>,
}

impl Store {
    /// Begin to serve orders; nothing is connected before the first one. `spread` decides which member is asked first, so that
    /// many nodes do not all ask the same.
    ///
    /// # Errors
    /// In words, when the embedded store cannot be opened. etcd may be away for as long as it likes.
    pub fn start(settings: &StoreSettings, spread: u64, inputs: mpsc::Sender<Input>) -> Result<Self, String> {
        match settings {
            StoreSettings::Etcd(etcd) => Ok(Self::etcd(etcd.clone(), spread, inputs)),
            StoreSettings::Embedded(folder) => Self::embedded(folder, inputs),
        }
    }

    fn etcd(settings: EtcdSettings, spread: u64, inputs: mpsc::Sender<Input>) -> Self {
        let (orders, receiver) = mpsc::unbounded_channel();
        tokio::spawn(etcd::run(settings, spread, receiver, inputs));
        Self { orders }
    }

    fn embedded(folder: &Path, inputs: mpsc::Sender<Input>) -> Result<Self, String> {
        let (orders, receiver) = mpsc::unbounded_channel();
        let store = embedded::Embedded::open(folder)?;
        // A thread of its own: it waits for the disk.
        std::thread::Builder::new()
            .name("store".to_owned())
            .spawn(move || store.serve(receiver, &inputs))
            .map_err(|e| format!("cannot start the embedded store: {e}"))?;
        Ok(Self { orders })
    }

    /// List, watch or give up.
    pub fn watch(&self, action: WatchAction) {
        // The driver is gone only when the agent is ending.
        let _ = self.orders.send(Order::Watch(action));
    }

    /// Run a transaction once.
    pub fn txn(&self, id: EffectId, txn: Txn) {
        let _ = self.orders.send(Order::Txn(id, txn));
    }
}

fn done(id: EffectId, result: Result<TxnOutcome, StoreError>) -> Input {
    Input::Done { id, result: Done::Txn(result) }
}
