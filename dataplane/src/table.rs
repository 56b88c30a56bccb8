//! The routes, by key: what is wanted and what the kernel holds of ours, side by side.

use std::collections::BTreeMap;

use petiole_prefix::Prefix;

use crate::kernel::RouteKey;
use crate::values::ValueId;

/// One route: wanted, held, or both.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub(crate) struct Entry {
    pub(crate) want: Option<ValueId>,
    pub(crate) have: Option<ValueId>,
    /// The dump under way has told it.
    pub(crate) seen: bool,
}

impl Entry {
    const fn is_empty(&self) -> bool {
        self.want.is_none() && self.have.is_none()
    }
}

/// All routes of ours. Table and metric are few, so they index the outer map: an entry costs its prefix and twelve bytes.
#[derive(Debug, Default)]
pub(crate) struct Table {
    layers: BTreeMap<(u32, u32), BTreeMap<Prefix, Entry>>,
}

impl Table {
    pub(crate) fn get(&self, key: &RouteKey) -> Entry {
        self.layers.get(&(key.table, key.metric)).and_then(|l| l.get(&key.prefix)).copied().unwrap_or_default()
    }

    /// Stores the entry; one that neither wants nor has anything is dropped.
    pub(crate) fn set(&mut self, key: &RouteKey, entry: Entry) {
        let at = (key.table, key.metric);
        if !entry.is_empty() {
            self.layers.entry(at).or_default().insert(key.prefix, entry);
        } else if let Some(layer) = self.layers.get_mut(&at) {
            layer.remove(&key.prefix);
            if layer.is_empty() {
                self.layers.remove(&at);
            }
        }
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (RouteKey, Entry)> {
        self.layers.iter().flat_map(|(&(table, metric), layer)| {
            layer.iter().map(move |(&prefix, &entry)| (RouteKey { prefix, table, metric }, entry))
        })
    }

    /// The keys whose entries satisfy the condition, so that the table can be changed while they are gone through.
    pub(crate) fn keys_where(&self, condition: impl Fn(&Entry) -> bool) -> Vec<RouteKey> {
        self.iter().filter(|(_, e)| condition(e)).map(|(k, _)| k).collect()
    }

    /// Clears the mark of every entry.
    pub(crate) fn clear_seen(&mut self) {
        for entry in self.layers.values_mut().flat_map(BTreeMap::values_mut) {
            entry.seen = false;
        }
    }
}
