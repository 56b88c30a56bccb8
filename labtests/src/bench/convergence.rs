//! How long it takes until the leaf knows: from a claim in the store, from a link that comes up, from a start.

use std::net::Ipv6Addr;
use std::path::Path;
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, bail};
use etcd_client::{Client, Compare, CompareOp, EventType, Txn, TxnOp, WatchOptions};
use serde_json::json;

use super::arena::{Arena, ETCD, LEAF, NODE};
use super::peer::{Event, Peer, What};
use super::statistics::{Measure, Series, Target};
use crate::{check, eventually};

/// Beyond this it is not slow but broken.
const PATIENCE: Duration = Duration::from_secs(20);
/// Where blocks and affinities live in Calico's layout.
const ROOT: &str = "/calico/ipam/v2/";

/// How often each is measured.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Runs {
    pub(crate) claims: u32,
    pub(crate) links: u32,
    pub(crate) starts: u32,
}

/// What came out of it.
#[derive(Debug)]
pub(crate) struct Outcome {
    pub(crate) measures: Vec<Measure>,
    /// Resident memory of the agent after all of it, bytes.
    pub(crate) resident: u64,
}

/// Measures everything on one node. `tell` hears how far it is.
pub(crate) fn run(petiole: &Path, runs: Runs, tell: &(dyn Fn(&str) + Sync)) -> Result<Outcome> {
    // The arena puts the thread into another network namespace; this one must stay where it is.
    thread::scope(|scope| {
        let bench = scope.spawn(|| {
            let mut arena = Arena::new(petiole)?;
            measure(&mut arena, runs, tell).map_err(|error| error.context(format!("the agent's log:\n{}", arena.log())))
        });
        bench.join().map_err(|_| anyhow!("the bench panicked"))?
    })
}

fn measure(arena: &mut Arena, runs: Runs, tell: &(dyn Fn(&str) + Sync)) -> Result<Outcome> {
    let mut peer = Peer::listen(format!("{LEAF}:179").parse()?)?;
    arena.start()?;
    peer.wait(PATIENCE, "the first session", |event| (event.what == What::Established).then_some(()))?;
    // Its first blocks show that store, kernel and session are all at work.
    let mut families = [false; 2];
    peer.wait(PATIENCE, "the first blocks of both families", |event| {
        for prefix in announced(event) {
            families[0] |= prefix.starts_with("10.123.") && prefix.ends_with("/26");
            families[1] |= prefix.ends_with("/122");
        }
        (families == [true; 2]).then_some(())
    })?;
    let mut measures = claims(&mut peer, runs.claims, tell)?;
    let resident = arena.resident().unwrap_or(0);
    measures.push(links(arena, &mut peer, runs.links, tell)?);
    measures.extend(starts(arena, &mut peer, runs.starts, tell)?);
    Ok(Outcome { measures, resident })
}

fn announced(event: &Event) -> &[String] {
    match &event.what {
        What::Update { announced, .. } => announced,
        _ => &[],
    }
}

fn withdrawn(event: &Event) -> &[String] {
    match &event.what {
        What::Update { withdrawn, .. } => withdrawn,
        _ => &[],
    }
}

/// A block of the pools that nobody has, by number: every other one of the other family.
fn block(number: u32) -> (&'static str, String) {
    // The last blocks of each pool are the last the agent would choose from the front of its own random order; which
    // it has is checked by the transaction.
    if number.is_multiple_of(2) {
        let at = 0x0a7b_ffc0 - number / 2 * 64;
        ("ipv4", format!("{}/26", std::net::Ipv4Addr::from(at)))
    } else {
        let at = u128::from(Ipv6Addr::new(0xfd00, 0x123, 0x8000, 0, 0, 0, 0, 0xffc0)) - u128::from(number / 2) * 64;
        ("ipv6", format!("{}/122", Ipv6Addr::from(at)))
    }
}

fn keys(family: &str, cidr: &str) -> [String; 2] {
    let cidr = cidr.replace('/', "-");
    [format!("{ROOT}assignment/{family}/block/{cidr}"), format!("{ROOT}host/{NODE}/{family}/block/{cidr}")]
}

/// An empty block of this node, and its confirmed affinity.
fn values(cidr: &str, number: u32) -> [String; 2] {
    let block = json!({
        "cidr": cidr,
        "affinity": format!("host:{NODE}"),
        "allocations": vec![None::<u32>; 64],
        "unallocated": (0..64).collect::<Vec<u32>>(),
        "attributes": null,
        "sequenceNumber": 1_795_360_000_000_000_000_u64 + u64::from(number),
        "sequenceNumberForAllocation": {},
        "deleted": false,
    });
    let affinity = json!({ "state": "confirmed", "deleted": false });
    [block.to_string(), affinity.to_string()]
}

/// The store from outside, with a watcher of its own.
struct Store {
    runtime: tokio::runtime::Runtime,
    client: Client,
    /// When the watcher saw a change of an affinity, and whether it was there afterwards.
    seen: Receiver<(Instant, String, bool)>,
}

impl Store {
    fn open() -> Result<Self> {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
        let (sender, seen) = channel();
        let client = runtime.block_on(async {
            let client = Client::connect([format!("http://{ETCD}")], None).await.context("etcd")?;
            let mut watching = client.clone();
            let options = WatchOptions::new().with_prefix();
            let mut stream = watching.watch(format!("{ROOT}host/{NODE}/"), Some(options)).await.context("watch")?;
            tokio::spawn(async move {
                while let Ok(Some(response)) = stream.message().await {
                    let at = Instant::now();
                    for event in response.events() {
                        let Some(key) = event.kv().and_then(|kv| kv.key_str().ok()) else { continue };
                        let _unheard = sender.send((at, key.to_owned(), event.event_type() == EventType::Put));
                    }
                }
            });
            anyhow::Ok(client)
        })?;
        Ok(Self { runtime, client, seen })
    }

    /// Runs the transaction. Returns the instant it was sent, and the instant of the commit: the earlier of the answer
    /// and the watcher's event.
    fn commit(&mut self, txn: Txn, key: &str, put: bool) -> Result<[Instant; 2]> {
        let sent = Instant::now();
        let answer = self.runtime.block_on(self.client.txn(txn)).context("transaction")?;
        let answered = Instant::now();
        if !answer.succeeded() {
            bail!("{key} is in use already");
        }
        loop {
            let (at, seen, there) = self.seen.recv_timeout(PATIENCE).context("the watcher sees nothing")?;
            if seen == key && there == put {
                return Ok([sent, answered.min(at)]);
            }
        }
    }
}

fn claims(peer: &mut Peer, count: u32, tell: &(dyn Fn(&str) + Sync)) -> Result<Vec<Measure>> {
    let mut store = Store::open()?;
    let mut times: [Vec<Duration>; 4] = Default::default();
    for number in 0..count {
        tell(&format!("claim {} of {count}", number + 1));
        let (family, cidr) = block(number);
        let [block_key, affinity_key] = keys(family, &cidr);
        let [block_value, affinity_value] = values(&cidr, number);
        peer.drain();
        let put = Txn::new().when([Compare::version(block_key.clone(), CompareOp::Equal, 0)]).and_then([
            TxnOp::put(block_key.clone(), block_value, None),
            TxnOp::put(affinity_key.clone(), affinity_value, None),
        ]);
        let [sent, committed] = store.commit(put, &affinity_key, true)?;
        let what = format!("the UPDATE that announces {cidr}");
        let at = peer.wait(PATIENCE, &what, |event| announced(event).contains(&cidr).then_some(event.at))?;
        times[0].push(at.saturating_duration_since(committed));
        times[2].push(at.saturating_duration_since(sent));
        let delete = Txn::new().and_then([TxnOp::delete(block_key, None), TxnOp::delete(affinity_key.clone(), None)]);
        let [sent, committed] = store.commit(delete, &affinity_key, false)?;
        let what = format!("the UPDATE that withdraws {cidr}");
        let at = peer.wait(PATIENCE, &what, |event| withdrawn(event).contains(&cidr).then_some(event.at))?;
        times[1].push(at.saturating_duration_since(committed));
        times[3].push(at.saturating_duration_since(sent));
    }
    let whats = [
        ("claim committed in etcd -> UPDATE at the leaf", Some(Target::P99(5.0))),
        ("claim deleted in etcd -> withdrawal at the leaf", None),
        ("the same claim, from sending the transaction", None),
        ("the same deletion, from sending the transaction", None),
    ];
    let measure =
        |((what, target), times): ((_, _), &Vec<Duration>)| Measure { what, target, series: Series::of(times) };
    Ok(whats.into_iter().zip(&times).map(measure).collect())
}

fn links(arena: &Arena, peer: &mut Peer, count: u32, tell: &(dyn Fn(&str) + Sync)) -> Result<Measure> {
    let mut times = Vec::new();
    for number in 0..count {
        tell(&format!("link {} of {count}", number + 1));
        arena.link("down")?;
        eventually(PATIENCE, "the agent notices that the link is down", || {
            let state = arena.session().map_err(|error| format!("{error:#}"))?;
            check(state != "Established", state)
        })?;
        // How long it was down decides where in its retries the agent is: every run at another place.
        thread::sleep(Duration::from_millis(300 + u64::from(number) * 170));
        peer.drain();
        let begin = Instant::now();
        arena.link("up")?;
        let at = peer.wait(PATIENCE, "Established", |event| (event.what == What::Established).then_some(event.at))?;
        times.push(at.saturating_duration_since(begin));
    }
    Ok(Measure { what: "ip link set up -> Established", target: Some(Target::Max(2000.0)), series: Series::of(&times) })
}

fn starts(arena: &mut Arena, peer: &mut Peer, count: u32, tell: &(dyn Fn(&str) + Sync)) -> Result<[Measure; 2]> {
    let mut times: [Vec<Duration>; 2] = Default::default();
    for number in 0..count {
        tell(&format!("start {} of {count}", number + 1));
        arena.kill()?;
        peer.drain();
        let begin = arena.start()?;
        let mut first = None;
        let blocks = peer.wait(PATIENCE, "the first block", |event| {
            let prefixes = announced(event);
            first = first.or_else(|| prefixes.first().map(|_| event.at));
            prefixes.iter().any(|prefix| prefix.ends_with("/26")).then_some(event.at)
        })?;
        times[0].push(first.unwrap_or(blocks).saturating_duration_since(begin));
        times[1].push(blocks.saturating_duration_since(begin));
    }
    let [first, block] = times.map(|times| Series::of(&times));
    let target = Some(Target::Max(1000.0));
    Ok([
        Measure { what: "agent started -> first announcement at the leaf", target, series: first },
        Measure { what: "agent started -> its pod block at the leaf", target: None, series: block },
    ])
}

/// What the numbers mean, for the reader of the table.
pub(crate) const METHOD: &str = "One agent, one etcd member with its data on disk, and a listener of the bench as the \
leaf, in two network namespaces joined by a veth pair. Blocks are written from outside in Calico's layout, block and \
affinity in one transaction; the agent adopts each, programs its blackhole and announces it. The commit is the earlier \
of two instants: the transaction was answered, or a watcher of the bench saw it; 0 means that the UPDATE was there \
before the bench had heard of the commit. An UPDATE's instant is when the leaf's read returned with it. Half of the \
claims are IPv4, half IPv6, one at a time. A link is set down at the node's end until the agent has noticed, then up; \
the time runs from before `ip` is started until the leaf has the node's OPEN and KEEPALIVE; a lost ARP request or SYN \
would cost the kernel's own second. Starts follow a SIGKILL; the time runs from before the process is made. A claim \
needs the kernel's RTNL lock, which all namespaces share: whoever makes or removes links elsewhere on the machine can \
delay it, and so can whoever wants the processors.";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_are_aligned_in_their_pools_and_never_the_same() {
        let blocks: std::collections::BTreeSet<_> = (0..512).map(block).collect();
        assert_eq!(blocks.len(), 512);
        assert_eq!(block(0), ("ipv4", "10.123.255.192/26".to_owned()));
        assert_eq!(block(511).1, "fd00:123:8000::c000/122");
        for (family, cidr) in blocks.iter().filter(|(family, _)| *family == "ipv4") {
            let address: std::net::Ipv4Addr = cidr.strip_suffix("/26").unwrap().parse().unwrap();
            assert!(u32::from(address) % 64 == 0 && cidr.as_str() >= "10.123.128", "{family} {cidr}");
        }
    }
}
