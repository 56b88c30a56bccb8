//! `petiole why PREFIX`: the chain of decisions behind a prefix, also for one that is not there.
//!
//! Nothing is judged again here: the verdicts on candidates are stored, those on learned paths lie in the RIB, and the FIB's
//! verdict is the function that decided.

use petiole_config::BlockSource;
use petiole_prefix::{Family, Prefix};

use crate::desired::{Decision, Kind, Reason};
use crate::fib::Verdict;
use crate::node::Node;
use crate::view::{PathView, WhyStep, WhyView};

impl Node {
    pub(crate) fn why(&self, prefix: Prefix) -> WhyView {
        let received = self.received(None, Some(prefix));
        let advertised: Vec<_> = self.advertised(None).into_iter().filter(|a| a.prefix == prefix).collect();
        let decision = self.decisions.get(&prefix).map(|(decision, _)| decision);
        let mut steps = Vec::new();
        if let Some(decision) = decision {
            steps.extend(candidate_steps(decision, self.settings.ipam.source));
            for told in &advertised {
                let (pass, code, detail) = match (&told.not_announced, told.next_hop) {
                    (Some(why), _) => (false, "not_told", format!("{} was not told: {why}", told.peer)),
                    (None, Some(hop)) => (true, "told", format!("{} was told, next hop {hop}", told.peer)),
                    (None, None) => (true, "told", format!("{} was told", told.peer)),
                };
                steps.push(step("advertisement", pass, code, detail));
            }
            if decision.announced() && advertised.is_empty() {
                steps.push(step(
                    "advertisement",
                    false,
                    "no_session",
                    "no leaf to tell: no session is configured".to_owned(),
                ));
            }
        }
        for path in &received {
            let detail = format!("from {} (AS path {}): {}", path.peer, path.as_path, path.why);
            steps.push(step("decision", path.used, if path.used { "used" } else { "not_used" }, detail));
        }
        let fib = self.fib.verdict(&prefix);
        match &fib {
            Some(Verdict::Refuse(why)) => {
                steps.push(step("fib", false, why.code(), format!("kept out of the kernel: {why}")))
            }
            Some(Verdict::Install(_)) => steps.push(step("fib", true, "install", "goes into the kernel".to_owned())),
            None => {}
        }
        let kernel = self.kernel_entry(prefix);
        let (verdict, summary) = self.summary(prefix, decision, &received, fib.as_ref());
        if decision.is_none() && received.is_empty() {
            steps.extend(self.unknown_steps(prefix));
        }
        WhyView { prefix, verdict: verdict.to_owned(), summary, steps, received, advertised, kernel }
    }

    fn summary(
        &self,
        prefix: Prefix,
        decision: Option<&Decision>,
        received: &[PathView],
        fib: Option<&Verdict>,
    ) -> (&'static str, String) {
        if let Some(decision) = decision {
            let also = if received.is_empty() { "" } else { "; leaves send it back, which changes nothing" };
            return if decision.announced() {
                ("announced", format!("{prefix} is announced: {}{also}", decision.reason))
            } else {
                ("not announced", format!("{prefix} is not announced: {}", decision.reason))
            };
        }
        let used: Vec<&str> = received.iter().filter(|p| p.used).map(|p| p.peer.as_str()).collect();
        match fib {
            Some(Verdict::Install(_)) => (
                "learned",
                format!("{prefix} is learned from {} and never announced: a node is not a transit", used.join(", ")),
            ),
            Some(Verdict::Refuse(why)) => {
                ("learned", format!("{prefix} is learned from {} but not used: {why}", used.join(", ")))
            }
            None if !received.is_empty() => ("learned", format!("{prefix} is received, but no path is used")),
            None => ("unknown", format!("{prefix} is not announced and not learned: nothing here knows it")),
        }
    }

    /// What stands nearest to a prefix that is neither ours nor learned.
    fn unknown_steps(&self, prefix: Prefix) -> Vec<WhyStep> {
        let mut steps = Vec::new();
        for pool in self.ipam.pools().iter().filter(|p| p.cidr.overlaps(&prefix)) {
            steps.push(step(
                "ownership",
                false,
                "in_pool",
                format!("it lies in pool {} ({}, blocks of /{})", pool.name, pool.cidr, pool.block_size),
            ));
            if let Some(why) = &pool.refused {
                steps.push(step(
                    "ownership",
                    false,
                    "pool_refused",
                    format!("this node claims no block of that pool: {why}"),
                ));
            }
            if pool.cidr.contains(&prefix) && prefix.len() > pool.block_size && !prefix.is_host() {
                steps.push(step(
                    "ownership",
                    false,
                    "not_a_block",
                    format!(
                        "it is longer than a block: nothing longer than /{} is announced from a pool",
                        pool.block_size
                    ),
                ));
            }
        }
        for block in self.ipam.all_blocks().iter().filter(|b| b.cidr.overlaps(&prefix)).take(8) {
            let owner = block.owner.as_ref().map_or_else(|| "nobody".to_owned(), |o| format!("node {o}"));
            let (code, detail) = if let Some(own) = self.owned.iter().find(|own| own.contains(&block.cidr)) {
                ("own_block", format!("it lies in block {own} of this node, which is announced as a whole"))
            } else {
                ("foreign_block", format!("block {} belongs to {owner}, not to this node", block.cidr))
            };
            steps.push(step("ownership", false, code, detail));
        }
        for (own, (decision, _)) in
            self.decisions.iter().filter(|(own, _)| own.overlaps(&prefix) && !self.owned.contains(*own))
        {
            steps.push(step(
                "ownership",
                false,
                "near",
                format!(
                    "it overlaps {own} ({}), which is {}",
                    decision.kind,
                    if decision.announced() { "announced" } else { "not announced" }
                ),
            ));
        }
        if let Some((covering, route)) = self.speaker.as_ref().and_then(|s| s.best_match(prefix.addr()))
            && covering != prefix
        {
            let from: Vec<String> = route.next_hops.iter().map(|h| h.peer.to_string()).collect();
            steps.push(step(
                "decision",
                false,
                "covered",
                format!("packets for it follow {covering}, learned from {}", from.join(", ")),
            ));
        }
        let roles: Vec<&str> = self.settings.node.roles.iter().map(|r| crate::status::role_name(*r)).collect();
        let roles = if roles.is_empty() { "no role".to_owned() } else { format!("role {}", roles.join(", ")) };
        let family = if prefix.family() == Family::V4 { "v4" } else { "v6" };
        steps.push(step(
            "role",
            false,
            "not_ours",
            format!(
                "this node ({roles}) announces its blocks, [node] addresses, [[announce]] prefixes, and prefixes on lo that a filter under \
                 /calico/bgp/v1/global/custom_filters/{family}/ accepts; {prefix} is none of these"
            ),
        ));
        steps
    }
}

fn candidate_steps(decision: &Decision, source: BlockSource) -> Vec<WhyStep> {
    let kind = decision.kind;
    let claim = match kind {
        Kind::Block => match source {
            BlockSource::Store => "the store gives this block to this node".to_owned(),
            BlockSource::Node => "the Node object gives this range to this node".to_owned(),
        },
        Kind::Borrowed => "the store gives this address of another node's block to a pod of this node".to_owned(),
        Kind::Address => "an address of this node ([node] addresses)".to_owned(),
        Kind::Anycast | Kind::ServiceRange => format!("configured in [[announce]] as {kind}"),
        Kind::Loopback => "found on lo".to_owned(),
    };
    let mut steps = vec![step("ownership", true, "candidate", claim)];
    let words = decision.reason.to_string();
    let question = match &decision.reason {
        Reason::OwnBlock | Reason::OwnRange | Reason::Borrowed(_) | Reason::OwnAddress | Reason::Ungated => None,
        Reason::ExportDisabled => Some("pool"),
        Reason::Healthy(_) | Reason::Unhealthy(_) => Some("health"),
        Reason::FilterAccepts(_) | Reason::FilterRejects(_) | Reason::NoFilterAccepts => Some("filter"),
        Reason::NotInKernel(_) => None,
        Reason::Drained => Some("drain"),
        Reason::NotAnnounceable => Some("guard"),
    };
    if let Some(question) = question {
        steps.push(step(question, decision.announced(), decision.reason.code(), words.clone()));
    }
    if decision.announced() {
        steps.push(step("kernel", true, "in_kernel", "the kernel holds what makes it true".to_owned()));
        steps.push(step(
            "guard",
            true,
            "proven",
            decision.ownership.as_ref().map(ToString::to_string).unwrap_or_default(),
        ));
    } else if matches!(decision.reason, Reason::NotInKernel(_)) {
        steps.push(step("kernel", false, decision.reason.code(), words));
    }
    steps
}

fn step(question: &str, pass: bool, code: &str, detail: String) -> WhyStep {
    WhyStep { question: question.to_owned(), pass, code: code.to_owned(), detail }
}
