//! What the runtime knows: which container it was told has which address. It is kept apart from everything of Petiole's.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use serde_json::Value;

/// A container that ADD was answered for, and for which no DEL has begun since.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Live {
    pub(super) node: usize,
    pub(super) addresses: Vec<IpAddr>,
}

/// The book, for all threads.
#[derive(Debug)]
pub(super) struct Book(Mutex<Pages>);

#[derive(Debug)]
pub(super) struct Pages {
    pub(super) live: BTreeMap<String, Live>,
    holders: BTreeMap<IpAddr, String>,
    /// What must not happen, and did.
    pub(super) breaches: Vec<String>,
    pub(super) adds: u64,
    pub(super) dels: u64,
    pub(super) plugin_kills: u64,
    /// Command and words, without what differs from one to the next.
    pub(super) failures: BTreeMap<String, u64>,
    pub(super) faults: BTreeMap<&'static str, u64>,
    pub(super) most_live: usize,
    last: Vec<Instant>,
    /// The longest time in which no call of a node succeeded, for each.
    pub(super) longest: Vec<Duration>,
    last_of_all: Instant,
    /// The same of all nodes together.
    pub(super) longest_of_all: Duration,
}

impl Book {
    pub(super) fn new(nodes: usize) -> Self {
        let now = Instant::now();
        Self(Mutex::new(Pages {
            live: BTreeMap::new(),
            holders: BTreeMap::new(),
            breaches: Vec::new(),
            adds: 0,
            dels: 0,
            plugin_kills: 0,
            failures: BTreeMap::new(),
            faults: BTreeMap::new(),
            most_live: 0,
            last: vec![now; nodes],
            longest: vec![Duration::ZERO; nodes],
            last_of_all: now,
            longest_of_all: Duration::ZERO,
        }))
    }

    pub(super) fn pages(&self) -> MutexGuard<'_, Pages> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// ADD was answered.
    pub(super) fn added(&self, node: usize, container: &str, addresses: Vec<IpAddr>) {
        let mut pages = self.pages();
        pages.adds += 1;
        pages.success(node);
        for address in &addresses {
            if let Some(other) = pages.holders.insert(*address, container.to_owned())
                && other != container
            {
                let there = pages.live.get(&other).map_or_else(|| "no node".to_owned(), |l| format!("node{}", l.node));
                let words =
                    format!("{address} was answered to {container} on node{node} while {other} on {there} has it");
                pages.breach(words);
            }
        }
        let before = pages.live.insert(container.to_owned(), Live { node, addresses: addresses.clone() });
        if let Some(before) = before
            && before.addresses != addresses
        {
            pages.breach(format!("{container} was told {:?} first and {addresses:?} then", before.addresses));
        }
        pages.most_live = pages.most_live.max(pages.live.len());
    }

    /// DEL is about to begin.
    pub(super) fn dying(&self, container: &str) {
        let mut pages = self.pages();
        if let Some(live) = pages.live.remove(container) {
            for address in live.addresses {
                if pages.holders.get(&address).is_some_and(|c| c == container) {
                    pages.holders.remove(&address);
                }
            }
        }
    }

    pub(super) fn deleted(&self, node: usize) {
        let mut pages = self.pages();
        pages.dels += 1;
        pages.success(node);
    }

    pub(super) fn failed(&self, command: &str, words: &str) {
        *self.pages().failures.entry(format!("{command}: {}", without_names(words))).or_default() += 1;
    }
}

impl Pages {
    pub(super) fn breach(&mut self, words: String) {
        eprintln!("BREACH: {words}");
        self.breaches.push(words);
    }

    fn success(&mut self, node: usize) {
        let now = Instant::now();
        if let (Some(last), Some(longest)) = (self.last.get_mut(node), self.longest.get_mut(node)) {
            *longest = (*longest).max(now.duration_since(std::mem::replace(last, now)));
        }
        self.longest_of_all =
            self.longest_of_all.max(now.duration_since(std::mem::replace(&mut self.last_of_all, now)));
    }
}

/// What a store's keys say of who has which address: handle and node by address, cooling ones left out.
pub(super) fn holders(keyspace: &BTreeMap<String, Value>) -> BTreeMap<IpAddr, (String, String)> {
    let mut holders = BTreeMap::new();
    for (_, block) in keyspace.iter().filter(|(key, _)| key.contains("/assignment/")) {
        let first = block["cidr"].as_str().and_then(|c| c.split_once('/')?.0.parse().ok());
        let Some(first) = first else { continue };
        for (ordinal, index) in block["allocations"].as_array().into_iter().flatten().enumerate() {
            let index = index.as_u64().and_then(|i| usize::try_from(i).ok());
            let Some(attribute) = index.and_then(|i| block["attributes"].get(i)) else { continue };
            if attribute["releasedAt"].is_string() {
                continue;
            }
            let handle = attribute["handle_id"].as_str().unwrap_or_default().to_owned();
            let node = attribute["secondary"]["node"].as_str().unwrap_or_default().to_owned();
            holders.extend(nth(first, ordinal).map(|address| (address, (handle, node))));
        }
    }
    holders
}

fn nth(first: IpAddr, ordinal: usize) -> Option<IpAddr> {
    Some(match first {
        IpAddr::V4(a) => IpAddr::V4((a.to_bits() + u32::try_from(ordinal).ok()?).into()),
        IpAddr::V6(a) => IpAddr::V6((a.to_bits() + u128::try_from(ordinal).ok()?).into()),
    })
}

/// Words with a digit, and what follows a colon that one of them has, would make every failure another.
fn without_names(words: &str) -> String {
    let words = words.split_whitespace().map(|w| if w.contains(|c: char| c.is_ascii_digit()) { "…" } else { w });
    let text = words.collect::<Vec<_>>().join(" ");
    text.chars().take(110).collect()
}
