use super::*;
use crate::demo::facts::{Path, Probe, Service};

/// A fabric on which all is well, from the plan alone.
pub(crate) fn perfect() -> Facts {
    let mut facts = Facts::default();
    let mut announced: Vec<(String, Agent)> = Vec::new();
    for agent in plan::AGENTS {
        announced.extend(agent.addresses().map(|prefix| (prefix, agent)));
        let shared = if agent.is_master() { Some(plan::ANYCAST) } else { agent.is_ingress().then_some(plan::SERVICES) };
        announced.extend(shared.into_iter().flatten().map(|prefix| (prefix.to_owned(), agent)));
        if agent.is_worker() {
            for prefix in [
                format!("10.123.130.{}/26", (agent.number - 11) * 64),
                format!("fd00:123:8000::{}40/122", agent.number),
            ] {
                facts.blocks.insert(prefix.clone(), agent.name.to_owned());
                announced.push((prefix, agent));
            }
        }
    }
    for name in plan::SWITCHES {
        let mut switch = Switch::default();
        for neighbour in plan::neighbours(name) {
            switch.sessions.insert(neighbour.to_owned(), ["Established", "Established"].map(str::to_owned));
        }
        for (prefix, agent) in &announced {
            let paths = switch.table.entry(prefix.clone()).or_default();
            match plan::rack_of(name) {
                // A leaf has its own nodes' paths, and each spine's best.
                Some(rack) if agent.racks.contains(&rack) => paths.push(path(*agent, agent.name)),
                Some(_) if paths.is_empty() => paths.push(path(*agent, "spine1")),
                Some(_) => {}
                None => paths.extend(agent.racks.iter().map(|rack| path(*agent, &format!("leaf{rack}")))),
            }
        }
        facts.switches.insert(name.to_owned(), switch);
    }
    facts.next_hops = [3, 3, 2, 2]
        .into_iter()
        .zip(plan::ANYCAST.into_iter().chain(plan::SERVICES))
        .map(|(n, p)| (p.to_owned(), n))
        .collect();
    for worker in plan::WORKERS {
        let number = plan::named(worker).unwrap().number;
        let addresses = [format!("10.123.130.{}", (number - 11) * 64 + 1), format!("fd00:123:8000::{number}41")];
        facts.pods.insert(worker.to_owned(), Ok(addresses.map(|text| text.parse().unwrap())));
        for from in [plan::CLIENT].into_iter().chain(plan::WORKERS).filter(|from| *from != worker) {
            for family in 0..2 {
                let (from, to) = (from.to_owned(), worker.to_owned());
                let hops = Ok(plan::hops(&from, &to));
                facts.probes.push(Probe { from, to, family, ping: Ok(0.125), hops });
            }
        }
    }
    let answered = || BTreeMap::from([("ingress1".to_owned(), 5), ("ingress2".to_owned(), 7)]);
    let service = |address: &str| Service {
        address: address.to_owned(),
        tried: 12,
        answered: answered(),
        complaint: String::new(),
    };
    facts.services = plan::SERVICE.into_iter().map(service).collect();
    facts
}

fn path(agent: Agent, from: &str) -> Path {
    Path { origin: Some(agent.asn()), from: from.to_owned(), used: true }
}

/// The failures of a fabric that is perfect but for this.
fn failures(spoil: impl FnOnce(&mut Facts)) -> Vec<String> {
    let mut facts = perfect();
    spoil(&mut facts);
    let report = Report::of(&facts);
    assert_eq!(report.passed(), report.failures.is_empty());
    report.failures
}

fn table<'a>(facts: &'a mut Facts, switch: &str) -> &'a mut BTreeMap<String, Vec<Path>> {
    &mut facts.switches.get_mut(switch).unwrap().table
}

#[test]
fn a_perfect_fabric_passes() {
    assert_eq!(failures(|_| ()), Vec::<String>::new());
}

#[test]
fn nothing_at_all_fails_everywhere() {
    let report = Report::of(&Facts::default());
    assert!(!report.passed());
    assert!(report.failures.len() > 200, "{}", report.failures.len());
}

#[test]
fn one_end_of_one_session_in_one_family_is_enough_to_fail() {
    let found = failures(|facts| {
        facts.switches.get_mut("leaf3").unwrap().sessions.get_mut("worker4").unwrap()[1] = "Active".to_owned();
    });
    assert_eq!(found, ["leaf3: its session with worker4 is Active"]);
}

#[test]
fn a_missing_path_is_named_with_switch_prefix_and_owner() {
    let found = failures(|facts| drop(table(facts, "leaf2").remove("10.122.0.13/32")));
    assert_eq!(found, ["leaf2 has no path for 10.122.0.13/32 (address) from worker3 (AS 4200000013)"]);
}

#[test]
fn a_leaf_must_have_the_anycast_of_its_own_rack() {
    let found = failures(|facts| {
        table(facts, "leaf2").insert("10.122.255.1/32".to_owned(), vec![path(plan::AGENTS[0], "spine1")]);
    });
    assert_eq!(found, ["leaf2 has no path for 10.122.255.1/32 (anycast) from master2 (AS 4200000002)"]);
}

#[test]
fn a_block_announced_by_another_node_fails() {
    let found = failures(|facts| {
        let paths = table(facts, "spine2").get_mut("10.123.130.64/26").unwrap();
        paths.push(path(plan::AGENTS[8], "leaf4"));
    });
    assert_eq!(found, ["spine2 has a path for 10.123.130.64/26 (block) from AS 4200000014, which does not own it"]);
}

#[test]
fn a_worker_without_a_block_fails() {
    let found = failures(|facts| facts.blocks.retain(|_, owner| owner != "worker2"));
    assert!(found.contains(&"worker2: the store has no ipv4 block of this worker".to_owned()), "{found:?}");
    assert!(found.contains(&"worker2: the store has no ipv6 block of this worker".to_owned()), "{found:?}");
}

#[test]
fn a_route_longer_than_a_block_fails_and_one_elsewhere_does_not() {
    let found = failures(|facts| {
        table(facts, "spine1").insert("10.123.130.1/32".to_owned(), vec![path(plan::AGENTS[5], "leaf1")]);
        table(facts, "spine1").insert("10.124.0.1/32".to_owned(), vec![path(plan::AGENTS[5], "leaf1")]);
    });
    assert_eq!(found, ["spine1 has more specific routes than pod blocks: [\"10.123.130.1/32\"]"]);
}

#[test]
fn ecmp_needs_every_path_in_use_and_in_the_kernel() {
    let found = failures(|facts| {
        table(facts, "spine1").get_mut("10.123.0.0/17").unwrap()[0].used = false;
        facts.next_hops.insert("fd00:122:ffff::1/128".to_owned(), 1);
    });
    assert_eq!(found.len(), 2, "{found:?}");
    assert!(found[0].starts_with("spine1's kernel has 1 next hops for fd00:122:ffff::1/128"), "{found:?}");
    assert!(found[1].starts_with("spine1 spreads 10.123.0.0/17 over"), "{found:?}");
}

#[test]
fn a_lost_packet_and_a_detour_fail() {
    let found = failures(|facts| {
        facts.probes[0].ping = Err("no answer".to_owned());
        facts.probes[3].hops = Ok(9);
    });
    assert_eq!(found.len(), 2, "{found:?}");
    assert!(found[0].ends_with("does not reach the pod on worker1 (ipv4, 1500 bytes): no answer"), "{found:?}");
    assert!(found[1].contains("9 hops, not"), "{found:?}");
}

#[test]
fn a_packet_that_was_never_sent_fails() {
    let found = failures(|facts| drop(facts.probes.pop()));
    assert_eq!(found.len(), 2, "ping and hops: {found:?}");
    assert!(found[0].ends_with("nothing was sent"), "{found:?}");
}

#[test]
fn a_pod_that_was_not_wired_or_is_outside_its_workers_block_fails() {
    let found = failures(|facts| drop(facts.pods.insert("worker1".to_owned(), Err("pool full".to_owned()))));
    assert_eq!(found, ["worker1: no pod: pool full"]);
    let found = failures(|facts| {
        let other = facts.pods["worker2"].clone();
        facts.pods.insert("worker1".to_owned(), other);
    });
    assert_eq!(found[0], "worker1: the pod's address 10.123.130.65 lies in no block of this worker");
}

#[test]
fn a_service_must_answer_always_and_from_an_ingress_node() {
    let found = failures(|facts| {
        facts.services[0].answered.remove("ingress2");
        facts.services[1].answered = BTreeMap::from([("worker1".to_owned(), 12)]);
    });
    assert_eq!(found.len(), 2, "{found:?}");
    assert!(found[0].contains("5 of 12 connections"), "{found:?}");
    assert!(found[1].contains("worker1"), "{found:?}");
    assert_eq!(failures(|facts| facts.services.clear()).len(), 2);
}

#[test]
fn prefixes_compare_by_their_bits() {
    assert!(contains("10.123.128.0/17", "10.123.255.255"));
    assert!(!contains("10.123.128.0/17", "10.123.127.255/32"));
    assert!(!contains("10.123.128.0/17", "10.0.0.0/8"));
    assert!(contains("fd00:123:8000::/112", "fd00:123:8000::21c0/122"));
    assert!(!contains("fd00:123:8000::/112", "fd00:123:8000:0:0:0:1:0/122"));
    assert!(!contains("::/0", "10.0.0.0/8"));
    assert!(contains("0.0.0.0/0", "10.0.0.0/8"));
    assert!(!contains("10.0.0.0/40", "10.0.0.0/8") && !contains("x", "10.0.0.0/8"));
}
