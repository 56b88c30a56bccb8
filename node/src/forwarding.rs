//! What the kernel must do for pods beside routes: forward. Decided here, read and written by the driver.
//!
//! Only where pods are to be (a worker, and forwarding only of the families of its blocks), and nothing is ever turned off: a
//! setting goes from "drops pods' packets" to "does not". Where forwarding of IPv6 comes on, the kernel stops heeding router advertisements
//! (`Documentation/networking/ip-sysctl`, accept_ra = 1), so interfaces that heed them are told to go on first.

use std::collections::BTreeSet;

use petiole_config::Role;
use petiole_prefix::Family;
use serde::{Deserialize, Serialize};

use crate::effect::Effect;
use crate::event::Event;
use crate::node::Node;

/// For what the kernel is to forward.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Wanted {
    /// Families that pods have addresses of.
    pub families: BTreeSet<Family>,
    /// Names of the interfaces that lead to leaves.
    pub uplinks: BTreeSet<String>,
}

/// One setting that has to change.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
pub struct Setting {
    /// As `sysctl` takes it, but with slashes, because an interface's name may have dots: `net/ipv4/ip_forward`.
    pub key: String,
    /// What it was.
    pub was: u32,
    /// What it has to be.
    pub value: u32,
}

/// What became of one.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Outcome {
    /// Which.
    pub setting: Setting,
    /// `Err` in words.
    pub result: Result<(), String>,
}

/// What has to change, in the order in which it has to. `read` gives a setting's value, none for what is not there (a kernel
/// without IPv6, an interface that went); `learning` are the interfaces with routes out of router advertisements.
pub fn plan(wanted: &Wanted, learning: &BTreeSet<String>, read: impl Fn(&str) -> Option<u32>) -> Vec<Setting> {
    let mut plan = Vec::new();
    let mut change = |key: String, is: &dyn Fn(u32) -> bool, value: u32| {
        if let Some(was) = read(&key).filter(|was| is(*was)) {
            plan.push(Setting { key, was, value });
        }
    };
    if wanted.families.contains(&Family::V4) {
        change("net/ipv4/ip_forward".to_owned(), &|was| was == 0, 1);
    }
    // A reply may come by another leaf than the packet went to, the store's too: strict filtering drops it, loose does not. The
    // kernel takes the greater of the interface's and of all.
    if wanted.uplinks.len() > 1 {
        let all = read("net/ipv4/conf/all/rp_filter").unwrap_or(0);
        for uplink in &wanted.uplinks {
            change(format!("net/ipv4/conf/{uplink}/rp_filter"), &|was| was.max(all) == 1, 2);
        }
    }
    if wanted.families.contains(&Family::V6) && read("net/ipv6/conf/all/forwarding") == Some(0) {
        for interface in learning.union(&wanted.uplinks) {
            if read(&format!("net/ipv6/conf/{interface}/forwarding")) == Some(0) {
                change(format!("net/ipv6/conf/{interface}/accept_ra"), &|was| was == 1, 2);
            }
        }
        change("net/ipv6/conf/all/forwarding".to_owned(), &|was| was == 0, 1);
    }
    plan
}

/// The interfaces with a route that the kernel made of a router advertisement, by `/proc/net/ipv6_route`.
pub fn learning(table: &str) -> BTreeSet<String> {
    /// `RTF_ADDRCONF` of `include/uapi/linux/ipv6_route.h`.
    const ADDRCONF: u32 = 0x0004_0000;
    let interface = |line: &str| {
        let mut fields = line.split_ascii_whitespace().skip(8);
        let flags = u32::from_str_radix(fields.next()?, 16).ok()?;
        fields.next().filter(|_| flags & ADDRCONF != 0).map(str::to_owned)
    };
    table.lines().filter_map(interface).collect()
}

/// A setting of the kernel that the agent changed, or could not change.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct SettingView {
    /// As `sysctl` writes it.
    pub key: String,
    /// What it was.
    pub was: u32,
    /// What pods need.
    pub value: u32,
    /// Why it could not be written.
    pub error: Option<String>,
}

/// What was ordered, and what came of it.
#[derive(Debug, Default)]
pub(crate) struct Forwarding {
    ordered: Wanted,
    outcomes: Vec<Outcome>,
}

impl Forwarding {
    pub(crate) fn views(&self) -> Vec<SettingView> {
        let view = |outcome: &Outcome| SettingView {
            key: dotted(&outcome.setting.key),
            was: outcome.setting.was,
            value: outcome.setting.value,
            error: outcome.result.as_ref().err().cloned(),
        };
        self.outcomes.iter().map(view).collect()
    }

    pub(crate) fn problems(&self) -> impl Iterator<Item = String> {
        self.outcomes.iter().filter_map(|outcome| {
            let why = outcome.result.as_ref().err()?;
            let (key, value) = (dotted(&outcome.setting.key), outcome.setting.value);
            Some(format!(
                "pods are cut off, or may be: {key} has to be {value}, and the agent cannot write it: {why}; run `sysctl -w {key}={value}` on \
                 the node, or give the agent CAP_NET_ADMIN and a /proc/sys that can be written"
            ))
        })
    }
}

/// As `sysctl` writes it: what is a dot in an interface's name is a slash there.
fn dotted(key: &str) -> String {
    let swap = |c| match c {
        '/' => '.',
        '.' => '/',
        c => c,
    };
    key.chars().map(swap).collect()
}

impl Node {
    /// Orders what pods need, whenever that became more or other.
    pub(crate) fn settle_forwarding(&mut self) {
        if !self.dataplane.is_mirrored() || !self.settings.node.roles.contains(&Role::Worker) {
            return;
        }
        let families = self.owned.iter().map(|block| block.family()).collect();
        let uplinks = self.uplinks.values().flatten().map(|uplink| uplink.name.clone()).collect();
        let wanted = Wanted { families, uplinks };
        if wanted != self.forwarding.ordered {
            self.forwarding.ordered = wanted.clone();
            self.effects.push_back(Effect::Forward(wanted));
        }
    }

    pub(crate) fn handle_forwarding(&mut self, outcomes: Vec<Outcome>) {
        for outcome in &outcomes {
            if outcome.result.is_ok() {
                let Setting { key, was, value } = &outcome.setting;
                self.log(Event::Set { key: dotted(key), was: *was, value: *value });
            }
        }
        // What failed before was tried again if it is still wrong.
        self.forwarding
            .outcomes
            .retain(|old| old.result.is_ok() && outcomes.iter().all(|new| new.setting.key != old.setting.key));
        self.forwarding.outcomes.extend(outcomes);
    }
}

#[cfg(test)]
mod tests;
