//! The operators' filters as the store has them, the last good text of each in force.

use std::collections::{BTreeMap, BTreeSet};

use petiole_prefix::{Family, Prefix};
use petiole_store::filter::{Candidate, FilterSet, Verdict};
use petiole_store::watch::Fact;

use crate::desired::FilterVerdict;

/// The folder of the filters in the store; below it `v4/` and `v6/`.
pub(crate) const CUSTOM_FILTERS: &str = "/calico/bgp/v1/global/custom_filters/";

/// The filters of both families, under their full keys.
#[derive(Debug)]
pub(crate) struct Filters {
    v4: FilterSet,
    v6: FilterSet,
    /// Keys that come from the saved state and that the store has not confirmed.
    unconfirmed: BTreeSet<String>,
    /// Keys that are neither under `v4/` nor under `v6/`.
    stray: BTreeSet<String>,
}

impl Filters {
    /// No filter.
    pub(crate) const fn new() -> Self {
        Self {
            v4: FilterSet::new(Family::V4),
            v6: FilterSet::new(Family::V6),
            unconfirmed: BTreeSet::new(),
            stray: BTreeSet::new(),
        }
    }

    /// Takes over the texts that were in force in a former life.
    pub(crate) fn restore(&mut self, texts: &BTreeMap<String, String>) {
        for (key, text) in texts {
            self.unconfirmed.insert(key.clone());
            self.update(key, Some(text.as_bytes()));
        }
    }

    /// Takes in a fact; others than filters' are ignored.
    pub(crate) fn handle_fact(&mut self, fact: &Fact) {
        match fact {
            Fact::Put(kv) if kv.key.starts_with(CUSTOM_FILTERS) => {
                self.unconfirmed.remove(&kv.key);
                self.update(&kv.key, Some(&kv.value));
            }
            Fact::Deleted { key, .. } if key.starts_with(CUSTOM_FILTERS) => {
                self.unconfirmed.remove(key);
                self.update(key, None);
            }
            Fact::Put(_) | Fact::Deleted { .. } | Fact::InSync { .. } | Fact::Lost { .. } | Fact::Reset { .. } => {}
        }
    }

    /// The store is in sync: what it did not confirm is gone.
    pub(crate) fn settle(&mut self) {
        for key in std::mem::take(&mut self.unconfirmed) {
            self.update(&key, None);
        }
    }

    /// What the filters say of a candidate.
    pub(crate) fn judge(&self, prefix: &Prefix, ifname: Option<&str>) -> FilterVerdict {
        let set = match prefix.family() {
            Family::V4 => &self.v4,
            Family::V6 => &self.v6,
        };
        let decision = set.evaluate(&Candidate { net: *prefix, ifname });
        let which =
            decision.by.map_or_else(String::new, |(key, at)| format!("{key} (line {}, column {})", at.line, at.column));
        match decision.verdict {
            Verdict::Accept => FilterVerdict::Accept(which),
            Verdict::Reject => FilterVerdict::Reject(which),
            Verdict::FallThrough => FilterVerdict::FallThrough,
        }
    }

    /// What cannot be used, with line and column.
    pub(crate) fn problems(&self) -> Vec<String> {
        let rejected = self.v4.rejected().chain(self.v6.rejected()).map(|r| {
            let meanwhile =
                if r.last_good_in_force { "its last good value stays in force" } else { "nothing of it is in force" };
            format!("custom filter {}: {}; {meanwhile}: correct it with etcdctl put, or delete the key", r.key, r.error)
        });
        let stray = self.stray.iter().map(|key| {
            format!("custom filter {key} is not used: filters stand under {CUSTOM_FILTERS}v4/ or {CUSTOM_FILTERS}v6/")
        });
        rejected.chain(stray).collect()
    }

    /// The keys whose value cannot be parsed, with line and column.
    pub(crate) fn mistakes(&self) -> impl Iterator<Item = (&str, usize, usize)> {
        self.v4.rejected().chain(self.v6.rejected()).map(|r| (r.key, r.error.line, r.error.column))
    }

    /// The texts in force, for the saved state.
    pub(crate) fn texts(&self) -> BTreeMap<String, String> {
        let in_force = self.v4.in_force().chain(self.v6.in_force());
        in_force.map(|(key, filter)| (key.to_owned(), filter.text().to_owned())).collect()
    }

    fn update(&mut self, key: &str, value: Option<&[u8]>) {
        let set = match key.strip_prefix(CUSTOM_FILTERS).and_then(|rest| rest.split_once('/')) {
            Some(("v4", _)) => &mut self.v4,
            Some(("v6", _)) => &mut self.v6,
            Some(_) | None => {
                match value {
                    Some(_) => self.stray.insert(key.to_owned()),
                    None => self.stray.remove(key),
                };
                return;
            }
        };
        set.update_key(key, value);
    }
}

#[cfg(test)]
mod tests;
