//! From what was observed to a verdict: every observation that the fabric owes is noted, held or not.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use super::facts::{Facts, Switch};
use super::plan::{self, Agent};

/// The verdict, ready to be drawn.
#[derive(Debug, Clone, Default)]
pub(crate) struct Report {
    /// Whether both families of a session are established, by switch and neighbour; otherwise its state.
    pub(crate) sessions: BTreeMap<(String, String), Result<(), String>>,
    /// Who announces what, and where it is seen.
    pub(crate) rows: Vec<Row>,
    /// How spine1 shares the load.
    pub(crate) shares: Vec<Share>,
    /// Packets to pods, by sender and the worker of the pod that answers.
    pub(crate) cells: BTreeMap<(String, String), Cell>,
    /// The pods' addresses by worker.
    pub(crate) pods: BTreeMap<String, [String; 2]>,
    /// Connections to the service.
    pub(crate) services: Vec<Answered>,
    /// How many observations were due.
    pub(crate) due: usize,
    /// One sentence for each that was not made.
    pub(crate) failures: Vec<String>,
}

/// One announcement of one node, both families.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Row {
    pub(crate) prefixes: [String; 2],
    pub(crate) kind: &'static str,
    pub(crate) agent: Agent,
    /// By switch, both families.
    pub(crate) seen: [[Seen; 2]; 6],
}

/// Whether a switch has an announcement.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Seen {
    /// It has a path from this node.
    Yes,
    /// It has the prefix from another node, which is as good: a switch passes on its best path only.
    Elsewhere,
    /// It is missing.
    No,
}

/// How spine1 spreads a prefix.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Share {
    pub(crate) prefix: String,
    /// Leaf and origin of every path in use.
    pub(crate) paths: BTreeSet<(String, String)>,
    /// Next hops in spine1's kernel.
    pub(crate) kernel: usize,
    pub(crate) holds: bool,
}

/// From one sender to one pod; both families.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Cell {
    /// Milliseconds, where it was answered.
    pub(crate) pings: [Option<f64>; 2],
    /// Hops, where the trace arrived.
    pub(crate) hops: [Option<u32>; 2],
    /// Whether the hops are those of the plan.
    pub(crate) hops_hold: bool,
}

/// Connections to one address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Answered {
    pub(crate) address: String,
    pub(crate) tried: usize,
    pub(crate) by: BTreeMap<String, usize>,
    pub(crate) holds: bool,
}

impl Report {
    /// Whether everything was observed.
    pub(crate) fn passed(&self) -> bool {
        self.failures.is_empty()
    }

    /// Judges everything.
    pub(crate) fn of(facts: &Facts) -> Self {
        let mut report = Self::control_plane(facts);
        report.probes(facts);
        report.services(facts);
        report
    }

    /// Judges sessions and tables only: what has to hold before packets are worth sending.
    pub(crate) fn control_plane(facts: &Facts) -> Self {
        let mut report = Self::default();
        report.sessions(facts);
        report.announcements(facts);
        report.nothing_longer(facts);
        report.shares(facts);
        report
    }

    fn note(&mut self, holds: bool, otherwise: impl FnOnce() -> String) -> bool {
        self.due += 1;
        if !holds {
            self.failures.push(otherwise());
        }
        holds
    }

    fn sessions(&mut self, facts: &Facts) {
        for switch in plan::SWITCHES {
            for neighbour in plan::neighbours(switch) {
                let states = facts.switches.get(switch).and_then(|switch| switch.sessions.get(neighbour));
                let absent = "absent".to_owned();
                let states: Vec<&String> = states.map_or_else(|| vec![&absent], |states| states.iter().collect());
                let down = states.into_iter().find(|state| *state != "Established").cloned();
                self.note(down.is_none(), || {
                    format!("{switch}: its session with {neighbour} is {}", down.as_deref().unwrap_or_default())
                });
                self.sessions.insert((switch.to_owned(), neighbour.to_owned()), down.map_or(Ok(()), Err));
            }
        }
    }

    fn announcements(&mut self, facts: &Facts) {
        for agent in plan::AGENTS {
            self.announcement(facts, agent.addresses(), "address", agent, &[agent]);
        }
        for plan::Shared { prefixes, kind, origins } in plan::shared() {
            for agent in &origins {
                self.announcement(facts, prefixes.map(str::to_owned), kind, *agent, &origins);
            }
        }
        for agent in plan::AGENTS.into_iter().filter(|agent| agent.is_worker()) {
            let mut owned: [Vec<String>; 2] = Default::default();
            for (block, _) in facts.blocks.iter().filter(|(_, owner)| *owner == agent.name) {
                owned[usize::from(block.contains(':'))].push(block.clone());
            }
            for (family, name) in plan::FAMILIES.into_iter().enumerate() {
                let some = !owned[family].is_empty();
                self.note(some, || format!("{}: the store has no {name} block of this worker", agent.name));
            }
            let rows = owned.iter().map(Vec::len).max().unwrap_or(0).max(1);
            for row in 0..rows {
                let prefix = |family: usize| owned[family].get(row).cloned().unwrap_or_default();
                self.announcement(facts, [prefix(0), prefix(1)], "block", agent, &[agent]);
            }
        }
    }

    /// One row. `origins` may announce the prefix; where there are several, a leaf has to see those of its own rack.
    fn announcement(
        &mut self,
        facts: &Facts,
        prefixes: [String; 2],
        kind: &'static str,
        agent: Agent,
        origins: &[Agent],
    ) {
        let mut seen = [[Seen::No; 2]; 6];
        for (column, name) in plan::SWITCHES.into_iter().enumerate() {
            let near = plan::rack_of(name).is_none_or(|rack| agent.racks.contains(&rack)) || origins.len() == 1;
            for (family, prefix) in prefixes.iter().enumerate().filter(|(_, prefix)| !prefix.is_empty()) {
                let paths = facts.switches.get(name).and_then(|switch| switch.table.get(prefix));
                let paths = paths.map(Vec::as_slice).unwrap_or_default();
                let has = |agent: &Agent| paths.iter().any(|path| path.origin == Some(agent.asn()));
                seen[column][family] = if has(&agent) {
                    Seen::Yes
                } else if !near && origins.iter().any(has) {
                    Seen::Elsewhere
                } else {
                    Seen::No
                };
                self.note(seen[column][family] != Seen::No, || {
                    format!("{name} has no path for {prefix} ({kind}) from {} (AS {})", agent.name, agent.asn())
                });
                let stranger = paths.iter().find(|path| origins.iter().all(|own| path.origin != Some(own.asn())));
                self.note(stranger.is_none(), || {
                    let origin = stranger
                        .and_then(|path| path.origin)
                        .map_or_else(|| "itself".to_owned(), |asn| asn.to_string());
                    format!("{name} has a path for {prefix} ({kind}) from AS {origin}, which does not own it")
                });
            }
        }
        self.rows.push(Row { prefixes, kind, agent, seen });
    }

    fn nothing_longer(&mut self, facts: &Facts) {
        for (name, switch) in &facts.switches {
            let longer: Vec<&String> = switch.table.keys().filter(|prefix| longer_than_block(prefix)).collect();
            self.note(longer.is_empty(), || format!("{name} has more specific routes than pod blocks: {longer:?}"));
        }
    }

    fn shares(&mut self, facts: &Facts) {
        let nothing = Switch::default();
        let spine = facts.switches.get("spine1").unwrap_or(&nothing);
        for plan::Shared { prefixes, origins, .. } in plan::shared() {
            let ends = |agent: &Agent| {
                agent.racks.iter().map(|rack| (format!("leaf{rack}"), agent.name.to_owned())).collect::<Vec<_>>()
            };
            let expected: BTreeSet<(String, String)> = origins.iter().flat_map(ends).collect();
            for prefix in prefixes {
                let used = spine.table.get(prefix).into_iter().flatten().filter(|path| path.used);
                let paths: BTreeSet<_> = used.map(|path| (path.from.clone(), origin_name(path.origin))).collect();
                let kernel = facts.next_hops.get(prefix).copied().unwrap_or(0);
                let all = self
                    .note(paths == expected, || format!("spine1 spreads {prefix} over {paths:?}, not {expected:?}"));
                let held = self.note(kernel == expected.len(), || {
                    format!("spine1's kernel has {kernel} next hops for {prefix}, not {}", expected.len())
                });
                self.shares.push(Share { prefix: prefix.to_owned(), paths, kernel, holds: all && held });
            }
        }
    }

    fn probes(&mut self, facts: &Facts) {
        for worker in plan::WORKERS {
            match facts.pods.get(worker) {
                Some(Ok(addresses)) => {
                    self.note(true, String::new);
                    self.pods.insert(worker.to_owned(), addresses.map(|address| address.to_string()));
                    for address in addresses {
                        self.note(in_own_block(facts, worker, *address), || {
                            format!("{worker}: the pod's address {address} lies in no block of this worker")
                        });
                    }
                }
                Some(Err(why)) => {
                    self.note(false, || format!("{worker}: no pod: {why}"));
                }
                None => {
                    self.note(false, || format!("{worker}: no pod was wired"));
                }
            }
        }
        for from in std::iter::once(plan::CLIENT).chain(plan::WORKERS) {
            for to in plan::WORKERS.into_iter().filter(|to| *to != from) {
                let cell = self.cell(facts, from, to);
                self.cells.insert((from.to_owned(), to.to_owned()), cell);
            }
        }
    }

    fn cell(&mut self, facts: &Facts, from: &str, to: &str) -> Cell {
        let mut cell = Cell { hops_hold: true, ..Cell::default() };
        let sender = if from == plan::CLIENT { from.to_owned() } else { format!("the pod on {from}") };
        for (family, name) in plan::FAMILIES.into_iter().enumerate() {
            let probe =
                facts.probes.iter().find(|probe| probe.from == from && probe.to == to && probe.family == family);
            let not_sent = Err("nothing was sent".to_owned());
            let ping = probe.map_or(&not_sent, |probe| &probe.ping);
            self.note(ping.is_ok(), || {
                let why = ping.as_ref().err().map(String::as_str).unwrap_or_default();
                format!("{sender} does not reach the pod on {to} ({name}, 1500 bytes): {why}")
            });
            cell.pings[family] = ping.as_ref().ok().copied();
            let hops = probe.map_or_else(|| Err("nothing was sent".to_owned()), |probe| probe.hops.clone());
            let wanted = plan::hops(from, to);
            cell.hops_hold &= self.note(hops == Ok(wanted), || {
                let found = hops.as_ref().map_or_else(Clone::clone, |hops| format!("{hops} hops"));
                format!("from {sender} to the pod on {to} ({name}): {found}, not {wanted} hops")
            });
            cell.hops[family] = hops.ok();
        }
        cell
    }

    fn services(&mut self, facts: &Facts) {
        for address in plan::SERVICE {
            let Some(service) = facts.services.iter().find(|service| service.address == address) else {
                self.note(false, || format!("no connection to {address} was tried"));
                continue;
            };
            let ingress = |name: &str| plan::named(name).is_some_and(Agent::is_ingress);
            let answered: usize = service.answered.values().sum();
            let all = answered == service.tried && answered > 0;
            let right = service.answered.keys().all(|name| ingress(name));
            let holds = self.note(all && right, || {
                let by: Vec<&String> = service.answered.keys().collect();
                let (tried, why) = (service.tried, &service.complaint);
                format!("TCP to {address}: {answered} of {tried} connections were answered, by {by:?} {why}")
            });
            let (address, by) = (address.to_owned(), service.answered.clone());
            self.services.push(Answered { address, tried: service.tried, by, holds });
        }
    }
}

fn origin_name(origin: Option<u32>) -> String {
    let agent = plan::AGENTS.into_iter().find(|agent| Some(agent.asn()) == origin);
    agent.map_or_else(|| origin.map_or_else(String::new, |asn| format!("AS {asn}")), |agent| agent.name.to_owned())
}

/// An address as one number with its width, or a prefix with its length.
fn parse(prefix: &str) -> Option<(u128, u8, u8)> {
    let (address, length) = prefix.split_once('/').unwrap_or((prefix, ""));
    let (bits, width) = match address.parse().ok()? {
        IpAddr::V4(v4) => (u128::from(u32::from(v4)), 32),
        IpAddr::V6(v6) => (u128::from(v6), 128),
    };
    let length = if length.is_empty() { width } else { length.parse().ok().filter(|length| *length <= width)? };
    Some((bits, width, length))
}

fn contains(outer: &str, inner: &str) -> bool {
    let (Some((outer, width, length)), Some((inner, inner_width, inner_length))) = (parse(outer), parse(inner)) else {
        return false;
    };
    let shift = u32::from(width - length);
    let top = |bits: u128| bits.checked_shr(shift).unwrap_or(0);
    width == inner_width && inner_length >= length && top(outer) == top(inner)
}

fn longer_than_block(prefix: &str) -> bool {
    pod_prefix(prefix).is_some_and(|(length, block)| length > block)
}

/// The length of a prefix that lies in a pool of the pods, and that of its blocks.
pub(crate) fn pod_prefix(prefix: &str) -> Option<(u8, u8)> {
    let pools = ["10.123.128.0/17", "fd00:123:8000::/112"];
    let (_, _, length) = parse(prefix)?;
    let mut blocks = pools.into_iter().zip(plan::BLOCK_LENGTH).filter(|(pool, _)| contains(pool, prefix));
    blocks.next().map(|(_, block)| (length, block))
}

fn in_own_block(facts: &Facts, worker: &str, address: IpAddr) -> bool {
    let mut own = facts.blocks.iter().filter(|(_, owner)| *owner == worker);
    own.any(|(block, _)| contains(block, &address.to_string()))
}

#[cfg(test)]
pub(crate) mod tests;
