//! What the runs come to: figures and ratios against their goals, in words and as a document.

use std::fmt::Write as _;
use std::time::Duration;

use serde_json::{Value, json};

use super::call::From;
use super::counters::{Counts, MVCC};
use super::{Counted, Outcome, Times};
use crate::bench::statistics::{Measure, Series};

/// How it was measured, for whoever reads a figure.
pub(crate) const METHOD: &str = "ptp and bridge are Debian's, with host-local, IPv4 only, no masquerading. Petiole runs its real agent: with etcd (one \
    member, data on the disk named above, fsync on) and with the embedded store, both IPv4 only like ptp, and with etcd \
    and both families. Every contender has a node's namespace and sixteen pods' namespaces of its own on the same machine, \
    and takes its turn in every round. A time runs from before the plugin's process is made until it has ended. A ratio is \
    of two contenders of one round; shown is the median of the rounds, for bursts of 16 at once that of the 16 times' \
    median and of the slowest of the 16. The first ping is an echo request sent from an open raw socket as soon as ADD's \
    process has ended; its time runs from there to the answer, 2 s where none came, and only one ping per pod is the \
    first: node and leaf, IPv4 and IPv6 take turns. Requests to etcd are its own count: gRPC calls that were handled, and \
    operations on its keys; a transaction's comparisons count as ranges there; other requests are the agent's heartbeat. \
    Between two operations is a pause of 25 ms or more, so that what goes on after an answer is not another's burden. The \
    leaf is a listener that notes every UPDATE of the session.";

/// The contender that the others are compared with.
const BASE: &str = "ptp";
/// The contender that the goals are about.
const JUDGED: &str = "etcd";
/// Milliseconds from ADD's return to the first ping's answer.
const PING: f64 = 1.0;

/// One line: a figure of every contender in milliseconds, and the ratios to the base.
struct Row {
    what: String,
    /// The largest ratio of the judged one.
    goal: Option<f64>,
    figures: Vec<f64>,
    /// The median of the rounds.
    ratios: Vec<f64>,
}

fn series(of: &[Duration]) -> Series {
    Series::of(of)
}

/// The middle value, or the mean of the middle two; 0 where there is none.
fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    let at = |index: usize| values.get(index).copied().unwrap_or(0.0);
    let middle = values.len() / 2;
    if values.len() % 2 == 1 { at(middle) } else { f64::midpoint(at(middle.saturating_sub(1)), at(middle)) }
}

/// The median of `one / base`, round by round.
fn ratio(one: &[f64], base: &[f64]) -> f64 {
    median(one.iter().zip(base).filter(|(_, base)| **base > 0.0).map(|(one, base)| one / base).collect())
}

fn ms(durations: &[Duration]) -> Vec<f64> {
    durations.iter().map(|d| d.as_secs_f64() * 1e3).collect()
}

/// A quantile of all, and its ratio by the same of each round.
fn row(
    outcome: &Outcome,
    what: &str,
    share: f64,
    goal: Option<f64>,
    rounds: &dyn Fn(&Times) -> Vec<Vec<Duration>>,
) -> Row {
    let all: Vec<Vec<Vec<Duration>>> = outcome.times.iter().map(rounds).collect();
    let per_round =
        |rounds: &[Vec<Duration>]| -> Vec<f64> { rounds.iter().map(|r| series(r).quantile(share)).collect() };
    let base = outcome.names.iter().position(|name| *name == BASE).and_then(|at| all.get(at));
    let base = base.map(|rounds| per_round(rounds)).unwrap_or_default();
    Row {
        what: what.to_owned(),
        goal,
        figures: all.iter().map(|rounds| series(&rounds.concat()).quantile(share)).collect(),
        ratios: all.iter().map(|rounds| ratio(&per_round(rounds), &base)).collect(),
    }
}

fn rows(outcome: &Outcome) -> Vec<Row> {
    let each = |of: &[Duration]| of.iter().map(|d| vec![*d]).collect::<Vec<_>>();
    let add = |t: &Times| each(&t.add);
    let del = |t: &Times| each(&t.del);
    let adds = |t: &Times| t.adds.clone();
    let dels = |t: &Times| t.dels.clone();
    vec![
        row(outcome, "ADD, one after another, p50", 0.5, Some(0.5), &add),
        row(outcome, "ADD, one after another, p99", 0.99, None, &add),
        row(outcome, "DEL, one after another, p50", 0.5, Some(0.4), &del),
        row(outcome, "DEL, one after another, p99", 0.99, None, &del),
        row(outcome, "ADD, 16 at once, p50", 0.5, None, &adds),
        row(outcome, "ADD, 16 at once, p99", 0.99, Some(0.5), &adds),
        row(outcome, "DEL, 16 at once, p50", 0.5, None, &dels),
        row(outcome, "DEL, 16 at once, p99", 0.99, None, &dels),
    ]
}

fn judged(outcome: &Outcome) -> usize {
    outcome.names.iter().position(|name| *name == JUDGED).unwrap_or(0)
}

impl Row {
    fn passed(&self, judged: usize) -> Option<bool> {
        self.goal.map(|goal| self.ratios.get(judged).is_some_and(|ratio| *ratio > 0.0 && *ratio <= goal))
    }
}

/// First pings of one contender from one place.
struct Ping {
    who: &'static str,
    from: From,
    series: Series,
}

impl Ping {
    fn passed(&self) -> Option<bool> {
        self.who.starts_with(JUDGED).then(|| !self.series.values().is_empty() && self.series.quantile(0.99) <= PING)
    }
}

fn pings(outcome: &Outcome) -> Vec<Ping> {
    let mut all = Vec::new();
    for (who, times) in outcome.names.iter().zip(&outcome.times) {
        for from in [From::Node, From::Leaf] {
            let of: Vec<Duration> = times.pings.iter().filter(|(f, _)| *f == from).map(|(_, took)| *took).collect();
            if !of.is_empty() {
                all.push(Ping { who, from, series: Series::of(&of) });
            }
        }
    }
    all
}

impl Counted {
    fn burst(&self, which: usize) -> Counts {
        self.bursts.iter().filter_map(|burst| burst.get(which)).fold(Counts::default(), Counts::plus)
    }

    fn burst_pods(&self) -> u64 {
        self.pods.saturating_mul(u64::try_from(self.bursts.len()).unwrap_or(0))
    }

    /// Exactly one transaction for each, no read, and fewer transactions when they come together.
    fn passed(&self) -> bool {
        let once = |counts: &Counts| counts.get("Txn") == self.pods && counts.get("Range") == 0;
        let less = |counts: &Counts| counts.get("Txn") < self.burst_pods() && counts.get("Range") == 0;
        once(&self.adds) && once(&self.dels) && less(&self.burst(0)) && less(&self.burst(1))
    }

    fn columns(&self) -> [(&'static str, Counts, u64); 4] {
        [
            ("ADD", self.adds.clone(), self.pods),
            ("DEL", self.dels.clone(), self.pods),
            ("16 ADDs", self.burst(0), self.burst_pods()),
            ("16 DELs", self.burst(1), self.burst_pods()),
        ]
    }
}

/// Whether all goals are met.
pub(crate) fn passed(outcome: &Outcome) -> bool {
    let judged = judged(outcome);
    rows(outcome).iter().all(|row| row.passed(judged) != Some(false))
        && pings(outcome).iter().all(|ping| ping.passed() != Some(false))
        && outcome.counts.iter().all(|(_, counted)| counted.passed())
        && outcome.leaf.blocks_only()
}

const fn verdict(passed: Option<bool>) -> &'static str {
    match passed {
        Some(true) => "pass",
        Some(false) => "FAIL",
        None => "",
    }
}

/// The result for a person.
pub(crate) fn table(machine: &str, outcome: &Outcome) -> String {
    let mut text = format!(
        "pods on {machine}; milliseconds\ndisk: a durable write of 4 KiB takes {:.2} ms, p99 {:.2}\n\n",
        outcome.disk.quantile(0.5),
        outcome.disk.quantile(0.99)
    );
    let line = |text: &mut String, what: &str, goal: &str, figures: &[String], ratios: &[String], verdict: &str| {
        let mut out = format!("{what:<28} {goal:>8} ");
        out.extend(figures.iter().map(|f| format!(" {f:>10}")));
        out.extend(ratios.iter().map(|r| format!(" {r:>14}")));
        let _ = writeln!(text, "{}", format!("{out}  {verdict}").trim_end());
    };
    let ours: Vec<usize> = (0..outcome.names.len()).filter(|n| !matches!(outcome.names[*n], BASE | "bridge")).collect();
    let heads: Vec<String> = outcome.names.iter().map(|name| (*name).to_owned()).collect();
    let over: Vec<String> = ours.iter().map(|n| format!("{} : {BASE}", outcome.names[*n])).collect();
    line(&mut text, "WHAT", "GOAL", &heads, &over, "");
    for row in rows(outcome) {
        let goal = row.goal.map_or_else(|| "-".to_owned(), |goal| format!("{goal} x"));
        let figures: Vec<String> = row.figures.iter().map(|f| format!("{f:.2}")).collect();
        let ratios: Vec<String> = ours.iter().filter_map(|n| Some(format!("{:.2} x", row.ratios.get(*n)?))).collect();
        line(&mut text, &row.what, &goal, &figures, &ratios, verdict(row.passed(judged(outcome))));
    }
    let _ = writeln!(
        text,
        "\n{:<28} {:>8}  {:>6} {:>8} {:>8} {:>8}",
        "FIRST PING AFTER ADD", "GOAL", "PINGS", "P50", "P99", "MAX"
    );
    for ping in pings(outcome) {
        let what = format!("{} from its {}", ping.who, format!("{:?}", ping.from).to_lowercase());
        let goal = if ping.passed().is_some() { format!("p99 {PING}") } else { "-".to_owned() };
        let out = format!(
            "{what:<28} {goal:>8}  {:>6} {:>8.3} {:>8.3} {:>8.3}  {}",
            ping.series.values().len(),
            ping.series.quantile(0.5),
            ping.series.quantile(0.99),
            ping.series.max(),
            verdict(ping.passed())
        );
        let _ = writeln!(text, "{}", out.trim_end());
    }
    for (who, counted) in &outcome.counts {
        text += &asked(who, counted);
    }
    text += &seen(outcome);
    text
}

fn asked(who: &str, counted: &Counted) -> String {
    let columns = counted.columns();
    let mut text = format!("\n{:<28} {:>8} ", format!("ASKED OF {}", who.to_uppercase()), "GOAL");
    text.extend(columns.iter().map(|(head, ..)| format!(" {head:>10}")));
    text += "   each for one pod\n";
    let kinds = ["transactions", "reads", "other requests"].into_iter().map(str::to_owned);
    for kind in kinds.chain(MVCC.iter().map(|m| format!("mvcc {m}"))) {
        let value = |counts: &Counts| match kind.as_str() {
            "transactions" => counts.get("Txn"),
            "reads" => counts.get("Range"),
            "other requests" => counts.other_requests(),
            kind => counts.get(kind),
        };
        let goal = match kind.as_str() {
            "transactions" => "1",
            "reads" => "0",
            _ => "-",
        };
        let mut out = format!("{kind:<28} {goal:>8} ");
        for (_, counts, pods) in &columns {
            let _ = write!(out, " {:>10.2}", value(counts) as f64 / (*pods).max(1) as f64);
        }
        if kind == "transactions" {
            let _ = write!(out, "  {}", verdict(Some(counted.passed())));
        }
        let _ = writeln!(text, "{}", out.trim_end());
    }
    text
}

fn seen(outcome: &Outcome) -> String {
    let leaf = &outcome.leaf;
    let list = |set: &std::collections::BTreeSet<String>| {
        let all: Vec<&str> = set.iter().map(String::as_str).collect();
        if all.is_empty() { "nothing".to_owned() } else { all.join(" ") }
    };
    format!(
        "\nThe leaf, while {} pods came and went: {} UPDATEs, announced {}, withdrawn {}; before: {}  {}\n",
        leaf.pods,
        leaf.updates,
        list(&leaf.announced),
        list(&leaf.withdrawn),
        list(&leaf.known),
        verdict(Some(leaf.blocks_only()))
    )
}

/// What the picture shows.
pub(crate) fn measures(outcome: &Outcome) -> Vec<Measure> {
    let names: [(&str, [&'static str; 3]); 2] = [
        (BASE, ["ptp + host-local: ADD", "ptp + host-local: DEL", "ptp + host-local: 16 ADDs at once"]),
        (JUDGED, ["Petiole with etcd: ADD", "Petiole with etcd: DEL", "Petiole with etcd: 16 ADDs at once"]),
    ];
    let mut all = Vec::new();
    for (who, whats) in names {
        let Some(at) = outcome.names.iter().position(|name| *name == who) else { continue };
        let Some(times) = outcome.times.get(at) else { continue };
        for (what, of) in whats.into_iter().zip([times.add.clone(), times.del.clone(), times.adds.concat()]) {
            all.push(Measure { what, target: None, series: Series::of(&of) });
        }
    }
    all
}

/// The result for a program.
pub(crate) fn document(machine: &str, outcome: &Outcome) -> Value {
    let judged = judged(outcome);
    let by_name = |values: &[f64]| -> Value {
        outcome.names.iter().zip(values).map(|(name, value)| ((*name).to_owned(), json!(value))).collect()
    };
    let rows: Vec<Value> = rows(outcome)
        .iter()
        .map(|row| {
            json!({
                "what": row.what, "goal": row.goal, "passed": row.passed(judged), "ms": by_name(&row.figures),
                "ratio": by_name(&row.ratios),
            })
        })
        .collect();
    let pings: Vec<Value> = pings(outcome)
        .iter()
        .map(|ping| {
            json!({
                "who": ping.who, "from": format!("{:?}", ping.from).to_lowercase(), "pings": ping.series.values().len(),
                "p50": ping.series.quantile(0.5), "p99": ping.series.quantile(0.99), "max": ping.series.max(),
                "goal_p99": PING, "passed": ping.passed(),
            })
        })
        .collect();
    let samples: serde_json::Map<String, Value> = outcome
        .names
        .iter()
        .zip(&outcome.times)
        .map(|(name, t)| {
            let lists = |of: &[Vec<Duration>]| of.iter().map(|l| ms(l)).collect::<Vec<_>>();
            let all = json!({ "add": ms(&t.add), "del": ms(&t.del), "adds": lists(&t.adds), "dels": lists(&t.dels) });
            ((*name).to_owned(), all)
        })
        .collect();
    let counts: Vec<Value> = outcome
        .counts
        .iter()
        .map(|(who, counted)| {
            let of = counted
                .columns()
                .map(|(what, counts, pods)| json!({ "what": what, "pods": pods, "asked": counts.all() }));
            json!({ "who": who, "passed": counted.passed(), "counted": of })
        })
        .collect();
    let leaf = &outcome.leaf;
    json!({
        "bench": "cni",
        "machine": machine,
        "method": METHOD,
        "passed": passed(outcome),
        "disk_ms": { "p50": outcome.disk.quantile(0.5), "p99": outcome.disk.quantile(0.99) },
        "rows": rows,
        "first_ping_ms": pings,
        "etcd": counts,
        "leaf": {
            "pods": leaf.pods, "updates": leaf.updates, "announced": leaf.announced, "withdrawn": leaf.withdrawn,
            "before": leaf.known, "passed": leaf.blocks_only(),
        },
        "samples_ms": samples,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ratio_is_the_median_of_the_rounds() {
        assert!((ratio(&[1.0, 9.0, 2.0], &[2.0, 3.0, 4.0]) - 0.5).abs() < 1e-9);
        assert!((ratio(&[], &[])).abs() < 1e-9);
    }
}
