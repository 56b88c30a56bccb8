//! What many nodes cost one real etcd: while they claim their blocks all at once, while nothing happens, and after a compaction.
//!
//! The nodes are the agent's own driver, watch and allocator, in this process; etcd's own counters say what was asked of it.

mod fleet;
mod server;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};

use fleet::{Fleet, Said};
use server::{Counts, Etcd};

/// The processors are shared with etcd: nobody measures how long it takes.
const WITHIN: Duration = Duration::from_secs(900);
/// How long nothing happens while the requests are counted.
const IDLE: Duration = Duration::from_secs(60);
/// Two answers about a watch's progress come within this.
const PROGRESS: Duration = Duration::from_secs(200);
/// Requests a second that an idle fleet of a thousand may cost.
const IDLE_TARGET: f64 = 200.0;
/// Transactions a claim.
const CLAIM_TARGET: f64 = 1.2;

/// One thing that was measured beside its goal.
struct Line {
    what: String,
    goal: String,
    measured: String,
    passed: bool,
}

fn line(what: impl Into<String>, goal: impl Into<String>, measured: impl Into<String>, passed: bool) -> Line {
    Line { what: what.into(), goal: goal.into(), measured: measured.into(), passed }
}

fn table(lines: &[Line]) -> String {
    let mut text = format!("{:<62} {:>22}  MEASURED\n", "WHAT", "GOAL");
    for line in lines {
        let verdict = if line.passed { "pass" } else { "FAIL" };
        let _ = writeln!(text, "{:<62} {:>22}  {verdict} {}", line.what, line.goal, line.measured);
    }
    text
}

fn document(name: &str, lines: &[Line]) -> Value {
    let rows: Vec<Value> = lines
        .iter()
        .map(|l| json!({ "what": l.what, "goal": l.goal, "measured": l.measured, "passed": l.passed }))
        .collect();
    json!({ "bench": name, "lines": rows })
}

/// An etcd with one pool, created before anybody asks.
fn etcd_with_pool(cidr: &str) -> Result<Etcd> {
    let etcd = Etcd::start()?;
    let pool = json!({
        "kind": "IPPool", "apiVersion": "projectcalico.org/v3", "metadata": { "name": "pool" },
        "spec": { "cidr": cidr, "blockSize": 26, "ipipMode": "Never", "vxlanMode": "Never", "nodeSelector": "all()",
                  "allowedUses": ["Workload", "Tunnel"], "assignmentMode": "Automatic" },
    });
    etcd.ctl(&["put", "/calico/resources/v3/projectcalico.org/ippools/pool", &pool.to_string()])?;
    Ok(etcd)
}

fn with_block(said: &[Said]) -> usize {
    said.iter().filter(|node| !node.blocks.is_empty()).count()
}

/// How often somebody else was faster, and what was given up, by its first words.
fn fared(said: &[Said]) -> String {
    let conflicts: u64 = said.iter().map(|node| node.conflicts).sum();
    let mut given_up: BTreeMap<String, u64> = BTreeMap::new();
    for why in said.iter().flat_map(|node| &node.given_up) {
        let words = why.split_whitespace().filter(|w| !w.contains("http://")).take(9);
        *given_up.entry(words.collect::<Vec<_>>().join(" ")).or_default() += 1;
    }
    let given_up: Vec<String> = given_up.iter().map(|(why, n)| format!("{n} x {why}")).collect();
    let given_up = if given_up.is_empty() { "nothing".to_owned() } else { given_up.join(", ") };
    format!("{conflicts} met another's, {given_up} given up")
}

/// What etcd itself holds: blocks, and how many different nodes own them.
fn owners(etcd: &Etcd) -> Result<(usize, usize)> {
    let text = etcd.ctl(&["get", "--prefix", "--print-value-only", "/calico/ipam/v2/assignment/ipv4/block/"])?;
    let mut owners = BTreeSet::new();
    let mut blocks = 0;
    for value in text.lines().filter(|line| !line.is_empty()) {
        let block: Value = serde_json::from_str(value)?;
        owners.insert(block["affinity"].as_str().context("a block without an owner")?.to_owned());
        blocks += 1;
    }
    Ok((blocks, owners.len()))
}

/// Claims: enough blocks for all, and too few.
pub(super) fn claims(tell: &dyn Fn(&str)) -> Result<(bool, String, Value)> {
    let mut lines = Vec::new();
    for (nodes, cidr, blocks) in [(1000, "10.128.0.0/14", 4096), (600, "10.123.0.0/17", 512_usize)] {
        tell(&format!("{nodes} nodes claim on {blocks} blocks"));
        let etcd = etcd_with_pool(cidr)?;
        let before = etcd.counts()?;
        let fleet = Fleet::start(&etcd.endpoint(), nodes)?;
        let wanted = nodes.min(blocks);
        let told = |said: &[Said]| {
            let why = |node: &&Said| node.problems.iter().any(|p| p.contains("exhausted"));
            said.iter().filter(|node| node.blocks.is_empty()).filter(why).count()
        };
        let took = fleet.until("every node has a block or says why not", WITHIN, |said| {
            with_block(said) == wanted && told(said) == nodes - wanted
        })?;
        let asked = etcd.counts()?.since(&before);
        let said = fleet.said();
        let (held, owners) = owners(&etcd)?;
        let different: BTreeSet<_> = said.iter().flat_map(|node| &node.blocks).collect();
        let each = asked.of("Txn") as f64 / wanted as f64;
        let what = format!("{nodes} nodes at once, {blocks} blocks");
        let exact = with_block(&said) == wanted && different.len() == wanted && (held, owners) == (wanted, wanted);
        lines.push(line(
            format!("{what}: nodes with a block of their own"),
            wanted.to_string(),
            format!("{owners} by etcd's data, {:.1} s", took.as_secs_f64()),
            exact,
        ));
        if blocks >= nodes {
            lines.push(line(
                format!("{what}: transactions per claim"),
                format!("at most {CLAIM_TARGET}"),
                format!("{each:.3} ({}; {}; etcd {:.1} s of processor)", asked.words(), fared(&said), asked.cpu),
                each <= CLAIM_TARGET,
            ));
        } else {
            let why = told(&said);
            let sample = said.iter().find_map(|node| node.problems.first()).cloned().unwrap_or_default();
            lines.push(line(
                format!("{what}: the others say why"),
                (nodes - wanted).to_string(),
                format!("{why} ({}; {}): {sample}", asked.words(), fared(&said)),
                why == nodes - wanted,
            ));
        }
    }
    let passed = lines.iter().all(|line| line.passed);
    Ok((passed, table(&lines), document("claims", &lines)))
}

/// An idle fleet, and what a compaction and a restart of etcd make it ask.
pub(super) fn idle(nodes: usize, tell: &dyn Fn(&str)) -> Result<(bool, String, Value)> {
    let mut etcd = etcd_with_pool("10.128.0.0/14")?;
    tell(&format!("{nodes} nodes start"));
    let fleet = Fleet::start(&etcd.endpoint(), nodes)?;
    let all = |said: &[Said]| said.iter().all(|node| node.in_sync && !node.blocks.is_empty());
    fleet.until("every node has its block", WITHIN, all)?;
    std::thread::sleep(Duration::from_secs(20));
    let mut lines = Vec::new();
    let scaled = |rate: f64| rate * 1000.0 / nodes as f64;

    tell("idle");
    let quiet = counted(&etcd, IDLE)?;
    let rate = quiet.total() as f64 / IDLE.as_secs_f64();
    lines.push(line(
        format!("{nodes} idle nodes, {} s: requests a second", IDLE.as_secs()),
        format!("under {:.0} per 1,000", IDLE_TARGET),
        format!("{rate:.1} ({}; etcd {:.1} % of a core)", quiet.words(), 100.0 * quiet.cpu / IDLE.as_secs_f64()),
        scaled(rate) < IDLE_TARGET,
    ));

    tell("a compaction while everybody watches");
    compact(&etcd)?;
    let compacted = counted(&etcd, Duration::from_secs(30))?;
    lines.push(line(
        "a compaction while they watch: lists in 30 s",
        "0",
        format!("{} ({})", compacted.of("Range"), compacted.words()),
        compacted.of("Range") == 0,
    ));

    for n in 0..100 {
        etcd.ctl(&["put", "/foreign", &n.to_string()])?;
    }
    tell("watches are asked how far they are");
    std::thread::sleep(PROGRESS);
    compact(&etcd)?;
    tell("etcd is killed and started again");
    let (resumed, _, took) = back(&mut etcd, &fleet)?;
    lines.push(line(
        "killed and started again over compacted revisions: lists",
        "0",
        format!("{} ({}); all in sync after {:.1} s", resumed.of("Range"), resumed.words(), took.as_secs_f64()),
        resumed.of("Range") == 0,
    ));

    // The worst: compacted to the head, and everybody has to connect anew at once.
    for n in 0..100 {
        etcd.ctl(&["put", "/foreign", &n.to_string()])?;
    }
    compact(&etcd)?;
    tell("and again, compacted to the head");
    let (worst, peak, took) = back(&mut etcd, &fleet)?;
    let (lists, everything) = (worst.of("Range"), nodes as u64 * 5);
    lines.push(line(
        "compacted to the head in that moment: most lists in one second",
        format!("under {} of {everything}", everything / 5),
        format!("{peak} of {lists}; all in sync after {:.1} s", took.as_secs_f64()),
        peak < everything / 5,
    ));
    ensure!(owners(&etcd)? == (nodes, nodes), "a block was lost, or claimed twice");
    let passed = lines.iter().all(|line| line.passed);
    Ok((passed, table(&lines), document("etcd", &lines)))
}

/// What is asked in a period.
fn counted(etcd: &Etcd, period: Duration) -> Result<Counts> {
    let before = etcd.counts()?;
    std::thread::sleep(period);
    Ok(etcd.counts()?.since(&before))
}

fn revision(etcd: &Etcd) -> Result<i64> {
    let status: Value = serde_json::from_str(&etcd.ctl(&["endpoint", "status", "-w", "json"])?)?;
    status[0]["Status"]["header"]["revision"].as_i64().context("etcd says no revision")
}

fn compact(etcd: &Etcd) -> Result<()> {
    etcd.ctl(&["compact", &revision(etcd)?.to_string()]).map(drop)
}

/// Restarts etcd; what it was asked until all nodes are in sync again, the most lists in one second, and how long it took.
fn back(etcd: &mut Etcd, fleet: &Fleet) -> Result<(Counts, u64, Duration)> {
    etcd.restart()?;
    let start = Instant::now();
    let (mut peak, mut last) = (0, etcd.counts()?);
    let mut second = Instant::now();
    let took = loop {
        std::thread::sleep(Duration::from_secs(1).saturating_sub(second.elapsed()));
        let (now, took) = (etcd.counts()?, second.elapsed());
        second = Instant::now();
        let rate = now.since(&last).of("Range") as f64 / took.as_secs_f64();
        peak = peak.max(rate.round() as u64);
        last = now;
        // Those that have not noticed yet call themselves in sync as well.
        if start.elapsed() > Duration::from_secs(10) && fleet.said().iter().all(|node| node.in_sync) {
            break start.elapsed();
        }
        ensure!(start.elapsed() < WITHIN, "not every node is in sync again");
    };
    Ok((last, peak, took))
}
