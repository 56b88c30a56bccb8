//! A store for one node alone: memory in front, one file behind, written before anything is answered.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use petiole_node::Input;
use petiole_node::store::memory::Memory;
use petiole_node::store::watch::{WatchAction, WatchEnd, WatchEvent, WatchId};
use petiole_node::store::{Change, KeyValue, Revision, StoreError, Txn, TxnOutcome};
use redb::{Database, ReadableDatabase, ReadableTable, TableDefinition};
use tokio::sync::mpsc;

use super::{Order, done};

/// Key to the revisions of its creation and last write, and its value.
const KEYS: TableDefinition<'_, &str, (i64, i64, &[u8])> = TableDefinition::new("keys");
/// `revision`, and nothing else.
const META: TableDefinition<'_, &str, i64> = TableDefinition::new("meta");
const REVISION: &str = "revision";
const FILE: &str = "store.redb";

/// Bytes of redb's cache: everything is in memory already.
const CACHE: usize = 1 << 20;

/// The open store.
pub(super) struct Embedded {
    file: PathBuf,
    database: Database,
    memory: Memory,
    watches: BTreeMap<WatchId, Watched>,
}

struct Watched {
    prefix: String,
    next: Revision,
}

impl Embedded {
    /// Open the file in this folder, or make it.
    pub(super) fn open(folder: &Path) -> Result<Self, String> {
        let file = folder.join(FILE);
        fs::create_dir_all(folder).map_err(|e| {
            format!(
                "cannot make the embedded store's folder {}: {e}; set [store] embedded to one that can be written",
                folder.display()
            )
        })?;
        let database = Database::builder().set_cache_size(CACHE).create(&file).map_err(|e| match e {
            redb::DatabaseError::DatabaseAlreadyOpen => {
                format!("the embedded store {} is in use by another process: stop that agent first", file.display())
            }
            e => format!(
                "cannot open the embedded store {}: {e}; if the file is damaged, move it away and start again: blocks and addresses \
                 of this node are then assigned anew",
                file.display()
            ),
        })?;
        let memory = load(&database).map_err(|e| format!("cannot read the embedded store {}: {e}", file.display()))?;
        Ok(Self { file, database, memory, watches: BTreeMap::new() })
    }

    /// Serve until nobody can order any more.
    pub(super) fn serve(mut self, mut orders: mpsc::UnboundedReceiver<Order>, inputs: &mpsc::Sender<Input>) {
        while let Some(order) = orders.blocking_recv() {
            for input in self.order(order) {
                if inputs.blocking_send(input).is_err() {
                    return;
                }
            }
        }
    }

    fn order(&mut self, order: Order) -> Vec<Input> {
        match order {
            Order::Txn(id, txn) => {
                let (outcome, mut events) = self.txn(&txn);
                let mut inputs = vec![done(id, outcome)];
                inputs.extend(events.drain(..).map(Input::Store));
                inputs
            }
            Order::Watch(WatchAction::List { id, prefix }) => {
                let kvs = self.memory.list(&prefix).cloned().collect();
                vec![Input::Store(WatchEvent::Listed { id, revision: self.memory.revision(), kvs })]
            }
            Order::Watch(WatchAction::Watch { id, prefix, from }) => {
                self.watch(id, prefix, from).into_iter().map(Input::Store).collect()
            }
            Order::Watch(WatchAction::Cancel { id }) => {
                self.watches.remove(&id);
                Vec::new()
            }
        }
    }

    fn watch(&mut self, id: WatchId, prefix: String, from: Revision) -> Vec<WatchEvent> {
        let revision = self.memory.revision();
        let mut events = vec![WatchEvent::Started { id, revision }];
        match self.memory.changes_since(&prefix, from) {
            Err(compacted) => events.push(WatchEvent::Ended { id, reason: WatchEnd::Compacted { at: compacted.at } }),
            Ok(changes) => {
                if !changes.is_empty() {
                    events.push(WatchEvent::Changes { id, revision, changes });
                }
                self.watches.insert(id, Watched { prefix, next: from.max(revision.saturating_add(1)) });
            }
        }
        events
    }

    fn txn(&mut self, txn: &Txn) -> (Result<TxnOutcome, StoreError>, Vec<WatchEvent>) {
        let applied = match self.memory.apply(txn) {
            Ok(applied) => applied,
            Err(refused) => return (Err(refused), Vec::new()),
        };
        let revision = applied.outcome.revision;
        if applied.changes.is_empty() {
            return (Ok(applied.outcome), Vec::new());
        }
        if let Err(e) = persist(&self.database, &applied.changes, revision) {
            return self.not_durable(&e);
        }
        let events = self.watches.iter_mut().filter_map(|(&id, watched)| {
            let changes: Vec<Change> = applied
                .changes
                .iter()
                .filter(|c| revision >= watched.next && c.key().starts_with(&watched.prefix))
                .cloned()
                .collect();
            (!changes.is_empty()).then_some(WatchEvent::Changes { id, revision, changes })
        });
        (Ok(applied.outcome), events.collect())
    }

    /// The file decides what is true: what could not be written is forgotten, and every watcher asks anew.
    fn not_durable(&mut self, error: &redb::Error) -> (Result<TxnOutcome, StoreError>, Vec<WatchEvent>) {
        let words = format!("cannot write the embedded store {}: {error}; check the disk", self.file.display());
        let outcome = match load(&self.database) {
            Ok(memory) => {
                self.memory = memory;
                StoreError::Unknown(words.clone())
            }
            Err(e) => StoreError::Unknown(format!("{words}, and it cannot be read either: {e}")),
        };
        let end = |id| WatchEvent::Ended { id, reason: WatchEnd::Disconnected(words.clone()) };
        let events = std::mem::take(&mut self.watches).into_keys().map(end).collect();
        (Err(outcome), events)
    }
}

fn load(database: &Database) -> Result<Memory, redb::Error> {
    let read = database.begin_read()?;
    let meta = match read.open_table(META) {
        Ok(meta) => meta,
        Err(redb::TableError::TableDoesNotExist(_)) => return Ok(Memory::new()),
        Err(e) => return Err(e.into()),
    };
    let revision = meta.get(REVISION)?.map_or(1, |r| r.value());
    let mut kvs = Vec::new();
    for entry in read.open_table(KEYS)?.iter()? {
        let (key, value) = entry?;
        let (create_revision, mod_revision, value) = value.value();
        kvs.push(KeyValue { key: key.value().to_owned(), value: value.to_vec(), create_revision, mod_revision });
    }
    Ok(Memory::restore(kvs, revision))
}

/// On disk when this returns: redb's transactions flush before they are done, unless told otherwise.
fn persist(database: &Database, changes: &[Change], revision: Revision) -> Result<(), redb::Error> {
    let write = database.begin_write()?;
    {
        let mut keys = write.open_table(KEYS)?;
        for change in changes {
            match change {
                Change::Put(kv) => {
                    drop(keys.insert(kv.key.as_str(), (kv.create_revision, kv.mod_revision, kv.value.as_slice()))?)
                }
                Change::Delete { key, .. } => drop(keys.remove(key.as_str())?),
            }
        }
        write.open_table(META)?.insert(REVISION, revision)?;
    }
    write.commit()?;
    Ok(())
}

#[cfg(test)]
mod tests;
