//! Keeps the last known good state on disk up to date.

use std::time::Duration;

use crate::effect::Effect;
use crate::event::Event;
use crate::health::Verdict;
use crate::node::Node;
use crate::saved::Saved;

/// Between two attempts to write the state.
const SAVE_AGAIN: Duration = Duration::from_secs(10);

impl Node {
    /// Writes the state down if it differs from what was written.
    pub(crate) fn save(&mut self) {
        // Nothing is worth saving before the store has spoken, or saved state was taken over: an empty file would replace it.
        // An operator's order is, whatever the store says.
        if self.saving.is_some() || !(self.store_seen || self.resumed || self.orders != self.found_orders) {
            return;
        }
        let content = Saved {
            version: 1,
            node: self.settings.node.name.clone(),
            boot_id: self.boot_id.clone(),
            written: 0,
            blocks: self.ipam.blocks().iter().map(|(cidr, block)| (*cidr, block.mod_revision)).collect(),
            ranges: self.kubernetes.ranges.named().clone(),
            borrowed: self.borrowed(),
            unexported: self.unexported(),
            filters: self.filters.texts(),
            gates: self
                .gates
                .iter()
                .zip(&self.settings.announce)
                .filter_map(|(gate, announce)| {
                    let verdict = gate.as_ref()?.verdict();
                    (verdict != Verdict::Unknown).then_some((announce.prefix, verdict == Verdict::Healthy))
                })
                .collect(),
            labels: self.kubernetes.labels().clone(),
            orders: self.orders.clone(),
        };
        if self.written.as_ref() == Some(&content) || self.save_again.is_some() {
            return;
        }
        let id = self.effect_id();
        self.saving = Some(id);
        self.effects.push_back(Effect::Save { id, saved: Saved { written: self.now.wall, ..content.clone() } });
        self.written = Some(content);
    }

    /// The state was written, or not: a folder that is full or read-only for a while must not be so for good.
    pub(crate) fn save_done(&mut self, outcome: Result<(), String>) {
        let known = self.troubles.remove("state").is_some();
        if let Err(why) = outcome {
            let what = format!(
                "cannot save the last known good state, tried again every {} s: {why}; make room on its disk, or its folder writable",
                SAVE_AGAIN.as_secs()
            );
            self.troubles.insert("state".to_owned(), what);
            self.written = None;
            self.save_again = Some(self.now.mono + SAVE_AGAIN);
            if !known {
                self.log(Event::SaveFailed(why));
            }
        }
    }
}
