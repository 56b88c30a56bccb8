//! Health probes: when one is due, and what its outcome changes.

use crate::effect::Effect;
use crate::event::Event;
use crate::health::Verdict;
use crate::input::GateId;
use crate::node::Node;

impl Node {
    pub(crate) fn handle_probed(&mut self, id: GateId, result: Result<(), String>) {
        let index = usize::try_from(id.0).unwrap_or(usize::MAX);
        let (Some(Some(gate)), Some(announce)) = (self.gates.get_mut(index), self.settings.announce.get(index)) else {
            return;
        };
        let before = gate.verdict();
        gate.handle_result(result);
        if gate.verdict() != before {
            let healthy = gate.verdict() == Verdict::Healthy;
            let event = Event::Gate { prefix: announce.prefix, healthy, detail: gate.words() };
            self.mark_dirty();
            self.log(event);
        }
    }

    pub(crate) fn probe(&mut self) {
        for (index, gate) in self.gates.iter_mut().enumerate() {
            let Some((check, timeout)) = gate.as_mut().and_then(|g| g.poll_probe(self.now.mono)) else { continue };
            let gate = GateId(u32::try_from(index).unwrap_or(u32::MAX));
            self.effects.push_back(Effect::Probe { gate, check, timeout });
        }
    }
}
