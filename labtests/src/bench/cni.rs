//! Pods: what ADD and DEL take, beside Debian's `ptp` and `bridge` with `host-local`, what they ask of etcd, and what the leaf sees.

mod call;
mod counters;
mod node;
mod report;

use std::collections::BTreeSet;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};

use self::call::{Called, From};
use self::counters::Counts;
use self::node::{Contender, PARALLEL};
use super::peer::What;
use super::statistics::Series;

pub(crate) use report::{METHOD, document, measures, passed, table};

/// For what still goes on after an answer: nobody's work is to be counted as another's.
const PAUSE: Duration = Duration::from_millis(25);
/// A measured pod and a burst in every round of so many.
const PODS_PER_BURST: u32 = 5;

/// What one contender took. Times in milliseconds.
#[derive(Debug, Default)]
struct Times {
    add: Vec<Duration>,
    del: Vec<Duration>,
    /// One list a burst.
    adds: Vec<Vec<Duration>>,
    dels: Vec<Vec<Duration>>,
    /// From ADD's return to the answer to the first ping.
    pings: Vec<(From, Duration)>,
}

/// What came out of it.
#[derive(Debug)]
pub(crate) struct Outcome {
    names: Vec<&'static str>,
    times: Vec<Times>,
    counts: Vec<(&'static str, Counted)>,
    leaf: Leaf,
    /// What a write of 4 KiB and its fdatasync take on the disk that all of them use.
    disk: Series,
}

/// What a store was asked for so many pods.
#[derive(Debug, Default, Clone)]
struct Counted {
    pods: u64,
    adds: Counts,
    dels: Counts,
    /// Of each burst.
    bursts: Vec<[Counts; 2]>,
}

/// What the leaf was told from the first pod to the last.
#[derive(Debug, Default)]
struct Leaf {
    /// Before the first pod.
    known: BTreeSet<String>,
    updates: usize,
    announced: BTreeSet<String>,
    withdrawn: BTreeSet<String>,
    pods: u64,
}

impl Leaf {
    /// Nothing longer than a block, and no block taken away.
    fn blocks_only(&self) -> bool {
        self.withdrawn.is_empty() && self.announced.iter().all(|p| p.ends_with("/26") || p.ends_with("/122"))
    }
}

/// Measures so many pods of each contender. `tell` hears how far it is.
pub(crate) fn run(petiole: &Path, pods: u32, tell: &(dyn Fn(&str) + Sync)) -> Result<Outcome> {
    tell("etcd and the agents");
    let contenders = node::all(petiole)?;
    measure(&contenders, pods, tell).map_err(|error| {
        let logs = contenders.iter().map(Contender::log).collect::<Vec<_>>().join("\n");
        error.context(format!("the agents' logs:\n{logs}"))
    })
}

fn measure(contenders: &[Contender], pods: u32, tell: &(dyn Fn(&str) + Sync)) -> Result<Outcome> {
    let disk = disk(&contenders[0])?;
    for contender in contenders {
        contender.warm_up()?;
    }
    let mut leaf = Leaf::default();
    let watched = contenders.iter().find(|c| c.leaf().is_some()).context("no contender has a leaf")?;
    let mut peer = watched.leaf().context("no leaf")?;
    leaf.known = known(peer.seen());
    let mut times: Vec<Times> = contenders.iter().map(|_| Times::default()).collect();
    for round in 0..pods {
        tell(&format!("pod {} of {pods}", round + 1));
        for (contender, times) in contenders.iter().zip(&mut times) {
            one(contender, round, times)?;
        }
    }
    for round in 0..(pods / PODS_PER_BURST).max(1) {
        tell(&format!("burst {} of {}", round + 1, (pods / PODS_PER_BURST).max(1)));
        for (contender, times) in contenders.iter().zip(&mut times) {
            let (adds, dels) = burst(contender, round)?;
            times.adds.push(adds);
            times.dels.push(dels);
        }
    }
    let mut counts = Vec::new();
    for contender in contenders {
        tell(&format!("what {} asks of etcd", contender.name()));
        if let Some(counted) = count(contender)? {
            leaf.pods += if std::ptr::eq(contender, watched) { counted.pods * (1 + BURSTS) } else { 0 };
            counts.push((contender.name(), counted));
        }
    }
    leaf.pods += u64::from(pods) + times.first().map_or(0, |t| t.adds.iter().map(Vec::len).sum::<usize>() as u64);
    thread::sleep(Duration::from_secs(1));
    for event in peer.seen() {
        if let What::Update { announced, withdrawn } = event.what {
            leaf.updates += 1;
            leaf.announced.extend(announced);
            leaf.withdrawn.extend(withdrawn);
        }
    }
    Ok(Outcome { names: contenders.iter().map(Contender::name).collect(), times, counts, leaf, disk })
}

fn known(events: Vec<super::peer::Event>) -> BTreeSet<String> {
    let announced = events.into_iter().filter_map(|event| match event.what {
        What::Update { announced, .. } => Some(announced),
        _ => None,
    });
    announced.flatten().collect()
}

/// ADD, its first ping, DEL.
fn one(contender: &Contender, round: u32, times: &mut Times) -> Result<()> {
    thread::sleep(PAUSE);
    let container = format!("one{round}");
    let added = contender.add(0, &container)?;
    times.add.push(added.took());
    times.pings.extend(ping(contender, &added, round)?);
    thread::sleep(PAUSE);
    times.del.push(contender.del(0, &container)?.took());
    Ok(())
}

/// From every place in turn: only one ping is the first.
fn ping(contender: &Contender, added: &Called, round: u32) -> Result<Option<(From, Duration)>> {
    let pings = contender.pings(added)?;
    let place = usize::try_from(round).unwrap_or(0) % pings.len().max(1);
    let Some((from, address)) = pings.get(place) else { return Ok(None) };
    let answered = contender.ping(*from, *address)?;
    Ok(Some((*from, answered.saturating_duration_since(added.end))))
}

fn burst(contender: &Contender, round: u32) -> Result<(Vec<Duration>, Vec<Duration>)> {
    let ids: Vec<String> = (0..PARALLEL).map(|pod| format!("burst{round}-{pod}")).collect();
    thread::sleep(PAUSE * 4);
    let adds = contender.at_once("ADD", &ids)?;
    thread::sleep(PAUSE * 4);
    let dels = contender.at_once("DEL", &ids)?;
    thread::sleep(PAUSE * 4);
    Ok((adds, dels))
}

/// Bursts of which the requests are counted.
const BURSTS: u64 = 8;

fn count(contender: &Contender) -> Result<Option<Counted>> {
    let Some(mut before) = contender.settled()? else { return Ok(None) };
    let mut difference = || -> Result<Counts> {
        let after = contender.settled()?.unwrap_or_default();
        let difference = after.since(&before);
        before = after;
        Ok(difference)
    };
    let mut counted = Counted { pods: PARALLEL as u64, ..Counted::default() };
    for pod in 0..PARALLEL {
        contender.add(pod, &format!("counted{pod}"))?;
        thread::sleep(PAUSE);
    }
    counted.adds = difference()?;
    for pod in 0..PARALLEL {
        contender.del(pod, &format!("counted{pod}"))?;
        thread::sleep(PAUSE);
    }
    counted.dels = difference()?;
    for round in 0..BURSTS {
        let ids: Vec<String> = (0..PARALLEL).map(|pod| format!("many{round}-{pod}")).collect();
        contender.at_once("ADD", &ids)?;
        let adds = difference()?;
        contender.at_once("DEL", &ids)?;
        counted.bursts.push([adds, difference()?]);
    }
    Ok(Some(counted))
}

/// What the disk below etcd and the agents takes for a small durable write.
fn disk(contender: &Contender) -> Result<Series> {
    use std::io::Write as _;
    let mut file = std::fs::File::create(contender.folder().join("disk"))?;
    let mut times = Vec::new();
    for _ in 0..50 {
        let begin = Instant::now();
        file.write_all(&[0; 4096])?;
        file.sync_data()?;
        times.push(begin.elapsed());
    }
    Ok(Series::of(&times))
}
