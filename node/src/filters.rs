//! The operators' filters as the store has them, the last good text of each in force.

use std::collections::{BTreeMap, BTreeSet};

use petiole_prefix::Prefix;
use petiole_store::watch::Fact;

use crate::desired::FilterVerdict;

/// The folder of the filters in the store; below it `v4/` and `v6/`.
pub(crate) const CUSTOM_FILTERS: &str = "/calico/bgp/v1/global/custom_filters/";

/// The filters of both families.
#[derive(Debug, Default)]
pub(crate) struct Filters {
    texts: BTreeMap<String, String>,
    /// Keys that come from the saved state and that the store has not confirmed.
    unconfirmed: BTreeSet<String>,
}

impl Filters {
    /// Takes over the texts that were in force in a former life.
    pub(crate) fn restore(&mut self, texts: &BTreeMap<String, String>) {
        for (key, text) in texts {
            self.unconfirmed.insert(key.clone());
            self.put(key, text);
        }
    }

    /// Takes in a fact; others than filters' are ignored.
    pub(crate) fn handle_fact(&mut self, fact: &Fact) {
        match fact {
            Fact::Put(kv) if kv.key.starts_with(CUSTOM_FILTERS) => {
                self.unconfirmed.remove(&kv.key);
                self.put(&kv.key, &String::from_utf8_lossy(&kv.value));
            }
            Fact::Deleted { key, .. } if key.starts_with(CUSTOM_FILTERS) => self.remove(key),
            Fact::Put(_) | Fact::Deleted { .. } | Fact::InSync { .. } | Fact::Lost { .. } | Fact::Reset { .. } => {}
        }
    }

    /// The store is in sync: what it did not confirm is gone.
    pub(crate) fn settle(&mut self) {
        for key in std::mem::take(&mut self.unconfirmed) {
            self.remove(&key);
        }
    }

    /// What the filters say of a candidate.
    pub(crate) fn judge(&self, prefix: &Prefix, ifname: Option<&str>) -> FilterVerdict {
        let _ = (prefix, ifname);
        FilterVerdict::FallThrough
    }

    /// What cannot be parsed, with line and column.
    pub(crate) fn problems(&self) -> Vec<String> {
        Vec::new()
    }

    /// The texts in force, for the saved state.
    pub(crate) fn texts(&self) -> BTreeMap<String, String> {
        self.texts.clone()
    }

    fn put(&mut self, key: &str, text: &str) {
        self.texts.insert(key.to_owned(), text.to_owned());
    }

    fn remove(&mut self, key: &str) {
        self.unconfirmed.remove(key);
        self.texts.remove(key);
    }
}
