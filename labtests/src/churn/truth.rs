//! What must hold: while everything fails, and when all is well again. Asked of etcd, the kernel and the disk by their own tools.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::net::IpAddr;
use std::time::Duration;

use anyhow::{Result, bail, ensure};
use serde_json::Value;

use super::book::{self, Book};
use super::cluster::{Cluster, Place};
use crate::eventually;
use crate::ledger::audit;

/// In which all is well again: the repair looks every 30 s, and some things twice.
const WITHIN: Duration = Duration::from_secs(150);

/// What a snapshot showed of the pools.
#[derive(Debug, Default)]
pub(super) struct Seen {
    pub(super) snapshots: u64,
    pub(super) unread: u64,
    pub(super) most_blocks: usize,
    pub(super) most_held: usize,
    pub(super) most_borrowed: usize,
    /// Block and owner, ever.
    pub(super) claims: BTreeSet<(String, String)>,
}

impl Seen {
    /// Who lives while the store is read has its addresses there; nothing else is asked while things are under way.
    pub(super) fn look(&mut self, cluster: &Cluster, book: &Book) {
        let before = book.pages().live.clone();
        let Ok(keyspace) = cluster.keyspace() else {
            self.unread += 1;
            return;
        };
        self.snapshots += 1;
        let holders = book::holders(&keyspace);
        let mut pages = book.pages();
        let lived = before.iter().filter(|(container, live)| pages.live.get(*container) == Some(*live));
        let mut wrong = Vec::new();
        for (container, live) in lived {
            for address in &live.addresses {
                let wanted = (format!("churn.{container}"), format!("node{}", live.node));
                if holders.get(address) != Some(&wanted) {
                    let found = holders.get(address);
                    wrong.push(format!(
                        "{container} on node{} lives with {address}; etcd gives it to {found:?}",
                        live.node
                    ));
                }
            }
        }
        for words in wrong {
            pages.breach(words);
        }
        drop(pages);
        self.count(&keyspace, holders.len());
    }

    /// Blocks that had several owners, one after another.
    pub(super) fn changed_hands(&self) -> usize {
        let mut owners: BTreeMap<&str, usize> = BTreeMap::new();
        for (block, _) in self.claims.iter().filter(|(_, owner)| !owner.is_empty()) {
            *owners.entry(block).or_default() += 1;
        }
        owners.values().filter(|n| **n > 1).count()
    }

    fn count(&mut self, keyspace: &BTreeMap<String, Value>, held: usize) {
        let blocks = keyspace.iter().filter(|(key, _)| key.contains("/assignment/"));
        let mut borrowed = 0;
        let mut number = 0;
        for (key, block) in blocks {
            number += 1;
            let owner = block["affinity"].as_str().unwrap_or_default();
            self.claims.insert((key.clone(), owner.to_owned()));
            let one = BTreeMap::from([(key.clone(), block.clone())]);
            borrowed += book::holders(&one).values().filter(|(_, node)| format!("host:{node}") != owner).count();
        }
        self.most_blocks = self.most_blocks.max(number);
        self.most_held = self.most_held.max(held);
        self.most_borrowed = self.most_borrowed.max(borrowed);
    }
}

/// Waits until the store, the kernels, the records and the book say the same, and both checkers nothing.
pub(super) fn all_is_well(cluster: &Cluster, book: &Book) -> Result<Duration> {
    let begun = std::time::Instant::now();
    eventually(WITHIN, "all is well again", || {
        std::thread::sleep(Duration::from_millis(500));
        look(cluster, book)
    })?;
    Ok(begun.elapsed())
}

fn look(cluster: &Cluster, book: &Book) -> Result<()> {
    let keyspace = cluster.keyspace()?;
    let differences = audit(&keyspace);
    ensure!(differences.is_empty(), "the ledger: {differences:?}");
    let live = book.pages().live.clone();
    let mut wanted: BTreeMap<IpAddr, (String, String)> = BTreeMap::new();
    for (container, live) in &live {
        let holder = (format!("churn.{container}"), format!("node{}", live.node));
        wanted.extend(live.addresses.iter().map(|a| (*a, holder.clone())));
    }
    let held = book::holders(&keyspace);
    ensure!(held == wanted, "{}", differing("etcd", &held, &wanted));
    for (number, agent) in cluster.agents.iter().enumerate() {
        let here: BTreeSet<IpAddr> =
            live.values().filter(|l| l.node == number).flat_map(|l| l.addresses.iter().copied()).collect();
        let pods = live.values().filter(|l| l.node == number).count();
        let (routes, records, interfaces) = (routes(agent)?, records(agent)?, interfaces(agent)?);
        ensure!(routes == here, "routes of {}: {routes:?}, not {here:?}", agent.name);
        ensure!(records == here, "records of {}: {records:?}, not {here:?}", agent.name);
        ensure!(interfaces.len() == pods, "interfaces of {}: {interfaces:?} for {pods} pods", agent.name);
        let check = cluster.ask(agent, &["ipam", "check"])?;
        ensure!(check["clean"] == true, "`ipam check` on {}: {check}", agent.name);
    }
    Ok(())
}

fn differing<V: PartialEq + std::fmt::Debug>(
    who: &str,
    have: &BTreeMap<IpAddr, V>,
    want: &BTreeMap<IpAddr, V>,
) -> String {
    let too_many: Vec<_> = have.iter().filter(|(a, v)| want.get(*a) != Some(*v)).collect();
    let missing: Vec<_> = want.iter().filter(|(a, v)| have.get(*a) != Some(*v)).collect();
    format!("{who} has {too_many:?} too many, and misses {missing:?}")
}

fn routes(agent: &Place) -> Result<BTreeSet<IpAddr>> {
    let mut found = BTreeSet::new();
    for family in ["-4", "-6"] {
        let routes = agent.netns.ip_json(&[family, "route", "show", "proto", "179", "metric", "512"])?;
        found.extend(routes.as_array().into_iter().flatten().filter_map(|r| r["dst"].as_str()?.parse::<IpAddr>().ok()));
    }
    Ok(found)
}

fn interfaces(agent: &Place) -> Result<Vec<String>> {
    let links = agent.netns.ip_json(&["link"])?;
    let names = links.as_array().into_iter().flatten().filter_map(|l| l["ifname"].as_str());
    Ok(names.filter(|n| n.starts_with("pet")).map(str::to_owned).collect())
}

fn records(agent: &Place) -> Result<BTreeSet<IpAddr>> {
    let mut found = BTreeSet::new();
    for entry in fs::read_dir(agent.folder.join("state/endpoints"))? {
        let path = entry?.path();
        let record: Value = serde_json::from_slice(&fs::read(&path)?).unwrap_or_default();
        let Some(addresses) = record["addresses"].as_array() else { bail!("{} is no record", path.display()) };
        found.extend(addresses.iter().filter_map(|a| a.as_str()?.parse::<IpAddr>().ok()));
    }
    Ok(found)
}
