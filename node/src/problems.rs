//! What a person should know, and when it began and ended.

use std::collections::BTreeSet;

use petiole_ipam::Problem;

use crate::effect::Effect;
use crate::event::Event;
use crate::node::Node;
use crate::uplink::NoUplink;

impl Node {
    pub(crate) fn log(&mut self, event: Event) {
        self.traces.note(&event, |name| self.uplinks.keys().any(|id| id.to_string() == name), self.now.mono);
        self.effects.push_back(Effect::Log(event));
    }

    pub(crate) fn push(&mut self, effect: Effect) {
        self.effects.push_back(effect);
    }

    pub(crate) fn report_problems(&mut self) {
        let now = self.current_problems();
        if now == self.problems {
            return;
        }
        for what in now.difference(&self.problems) {
            self.effects.push_back(Effect::Log(Event::Problem(what.clone())));
        }
        for what in self.problems.difference(&now) {
            self.effects.push_back(Effect::Log(Event::ProblemOver(what.clone())));
        }
        self.problems = now;
    }

    fn current_problems(&self) -> BTreeSet<String> {
        let mut problems: BTreeSet<String> = self.troubles.values().cloned().collect();
        // What is lacking there is a range of the Node object.
        let lacks_range = self.range_refusal().is_some();
        let of_pools = self.ipam.problems().into_iter().filter(|p| !(lacks_range && matches!(p, Problem::NoPool)));
        problems.extend(of_pools.map(|p| p.to_string()));
        problems.extend(self.dataplane.problems().iter().map(ToString::to_string));
        problems.extend(self.filters.problems());
        problems.extend(self.pods.problems());
        problems.extend(self.forwarding.problems());
        problems.extend(self.limit_problems());
        problems.extend(self.kubernetes_problems());
        // One that was not heard is a problem once it had the time to answer.
        let unheard = |why: &&NoUplink| !matches!(why, NoUplink::NoNeighbour { .. });
        problems
            .extend(self.uplinks.values().filter_map(|u| u.as_ref().err()).filter(unheard).map(ToString::to_string));
        problems.extend(self.neighbours.problems());
        if self.settings.bgp.is_some() && self.speaker.is_none() && self.dataplane.is_mirrored() {
            problems
                .insert("no BGP identifier: set router_id in [node], or put a global IPv4 address on lo".to_owned());
        }
        problems
    }
}
