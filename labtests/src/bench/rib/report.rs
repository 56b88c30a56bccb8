//! What the rounds come to: ratios against their targets, in words and as a document.

use std::fmt::Write as _;

use serde_json::{Value, json};

use super::receiver::Report;
use super::{Outcome, PREFIXES, Round, Run, Step};

/// How it was measured, for whoever reads a figure.
pub(crate) const METHOD: &str = "Both receivers take in the same bytes over a TCP session on a veth link, each in a fresh \
    process, one right after the other, who is first taking turns. Petiole is its speaker behind plain sockets, one thread, \
    reads of 64 KiB, every batch of route changes fetched and dropped; not the whole agent. BIRD is Debian's, with the \
    protocols device and bgp only, no kernel protocol. CPU is the kernel's count of the process's time, user and system, from \
    before the connection until the process is idle with everything taken in. Memory is PSS above the same process before its \
    first session. Ratios are of the two receivers of one round; shown are the medians. Times inside the speaker are of the \
    processor, per call.";

/// The median of a ratio, or of a figure, over the rounds.
#[derive(Debug, Clone)]
pub(crate) struct Line {
    pub(crate) what: &'static str,
    pub(crate) unit: &'static str,
    pub(crate) target: Option<Limit>,
    /// One value per round.
    pub(crate) values: Vec<f64>,
    /// Medians of what the ratio is of: Petiole, BIRD.
    pub(crate) of: Option<[f64; 2]>,
}

#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Limit {
    AtMost(f64),
    AtLeast(f64),
}

impl Line {
    pub(crate) fn median(&self) -> f64 {
        median(&self.values)
    }

    pub(crate) fn passed(&self) -> Option<bool> {
        let median = self.median();
        self.target.map(|limit| {
            !self.values.is_empty()
                && match limit {
                    Limit::AtMost(limit) => median <= limit,
                    Limit::AtLeast(limit) => median >= limit,
                }
        })
    }
}

/// The middle value, or the mean of the middle two; 0 where there is none.
pub(crate) fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let at = |index: usize| sorted.get(index).copied().unwrap_or(0.0);
    let middle = sorted.len() / 2;
    if sorted.len() % 2 == 1 { at(middle) } else { f64::midpoint(at(middle.saturating_sub(1)), at(middle)) }
}

const MEBI: f64 = 1_048_576.0;

fn cpu_ms(step: &Step) -> f64 {
    step.cpu * 1e3
}

fn mib(step: &Step) -> f64 {
    step.pss as f64 / MEBI
}

fn ratio(
    what: &'static str,
    unit: &'static str,
    target: Option<f64>,
    rounds: &[Round],
    of: impl Fn(&Run) -> f64,
) -> Line {
    let [petiole, bird]: [Vec<f64>; 2] =
        [rounds.iter().map(|r| of(&r.petiole)).collect(), rounds.iter().map(|r| of(&r.bird)).collect()];
    let values = petiole.iter().zip(&bird).map(|(petiole, bird)| petiole / bird.max(f64::MIN_POSITIVE)).collect();
    let of = Some([median(&petiole), median(&bird)]);
    Line { what, unit, target: target.map(Limit::AtMost), values, of }
}

fn figure(
    what: &'static str,
    unit: &'static str,
    target: Option<Limit>,
    rounds: &[Round],
    of: impl Fn(&Run) -> f64,
) -> Line {
    Line { what, unit, target, values: rounds.iter().map(|round| of(&round.petiole)).collect(), of: None }
}

fn said(step: &Step) -> Report {
    step.report.clone().unwrap_or_default()
}

/// Ratios to BIRD.
pub(crate) fn ratios(outcome: &Outcome) -> Vec<Line> {
    let (uniform, mixed) = (&outcome.uniform, &outcome.mixed);
    vec![
        ratio("CPU, first path", "ms", Some(0.8), uniform, |run| cpu_ms(&run.first)),
        ratio("CPU, second path", "ms", Some(0.8), uniform, |run| cpu_ms(&run.second)),
        ratio("memory, one path", "MiB", Some(0.5), uniform, |run| mib(&run.first)),
        ratio("memory, two paths", "MiB", Some(0.6), uniform, |run| mib(&run.second)),
        ratio("CPU, the same announced again", "ms", None, uniform, |run| cpu_ms(&run.again)),
        ratio("CPU, first leaf lost", "ms", None, uniform, |run| cpu_ms(&run.lost)),
        ratio("mixed feed: CPU, first path", "ms", None, mixed, |run| cpu_ms(&run.first)),
        ratio("mixed feed: CPU, second path", "ms", None, mixed, |run| cpu_ms(&run.second)),
        ratio("mixed feed: memory, one path", "MiB", None, mixed, |run| mib(&run.first)),
        ratio("mixed feed: memory, two paths", "MiB", None, mixed, |run| mib(&run.second)),
    ]
}

/// What Petiole's receiver measured of itself.
pub(crate) fn figures(outcome: &Outcome) -> Vec<Line> {
    let rounds = &outcome.uniform;
    let rate = |step: &Step| f64::from(PREFIXES) / said(step).working.max(f64::MIN_POSITIVE) / 1e6;
    let steps = |run: &Run| [said(&run.first), said(&run.second), said(&run.again)];
    let longest = |reports: &[Report], of: fn(&Report) -> f64| reports.iter().map(of).fold(0.0, f64::max) * 1e3;
    let rate_goal = Some(Limit::AtLeast(4.0));
    let call_goal = Some(Limit::AtMost(2.0));
    vec![
        figure("decode, insert, decide: first path", "M/s", rate_goal, rounds, |run| rate(&run.first)),
        figure("decode, insert, decide: second path", "M/s", rate_goal, rounds, |run| rate(&run.second)),
        figure("heap kept by the same announced again", "B", Some(Limit::AtMost(0.0)), rounds, |run| {
            said(&run.again).held as f64 - said(&run.second).held as f64
        }),
        figure("longest call while feeds come in", "ms", call_goal, rounds, |run| {
            longest(&steps(run), |report| report.longest_work)
        }),
        figure("longest call after a leaf is lost", "ms", call_goal, rounds, |run| {
            longest(&[said(&run.lost)], |report| report.longest_work)
        }),
        figure("longest fetch of a batch of changes", "ms", call_goal, rounds, |run| {
            longest(&[&steps(run)[..], &[said(&run.lost)]].concat(), |report| report.longest_drain)
        }),
        figure("longest turn of the loop, by the wall clock", "ms", Some(Limit::AtMost(100.0)), rounds, |run| {
            longest(&[&steps(run)[..], &[said(&run.lost)]].concat(), |report| report.longest_turn)
        }),
    ]
}

/// Whether all targets are met.
pub(crate) fn passed(outcome: &Outcome) -> bool {
    ratios(outcome).iter().chain(&figures(outcome)).all(|line| line.passed() != Some(false))
}

fn goal(line: &Line) -> String {
    match line.target {
        Some(Limit::AtMost(limit)) => format!("<= {limit}"),
        Some(Limit::AtLeast(limit)) => format!(">= {limit}"),
        None => "-".to_owned(),
    }
}

fn verdict(line: &Line) -> &'static str {
    match line.passed() {
        Some(true) => "pass",
        Some(false) => "FAIL",
        None => "",
    }
}

fn spread(line: &Line) -> [f64; 2] {
    let low = line.values.iter().copied().fold(f64::INFINITY, f64::min);
    [low, line.values.iter().copied().fold(0.0, f64::max)]
}

pub(crate) fn table(machine: &str, outcome: &Outcome) -> String {
    let mut text = format!(
        "rib on {machine}; {PREFIXES} prefixes per leaf; {} rounds, {} of the mixed feed\n\n",
        outcome.uniform.len(),
        outcome.mixed.len()
    );
    let head = ("PETIOLE : BIRD", "TARGET", "MEDIAN", "FROM", "TO", "PETIOLE", "BIRD");
    let _ = writeln!(
        text,
        "{:<44} {:>7} {:>7} {:>7} {:>7} {:>9} {:>9}",
        head.0, head.1, head.2, head.3, head.4, head.5, head.6
    );
    for line in &ratios(outcome) {
        let ([from, to], [petiole, bird], unit) = (spread(line), line.of.unwrap_or_default(), line.unit);
        let row = format!(
            "{:<44} {:>7} {:>7.2} {from:>7.2} {to:>7.2} {petiole:>9.1} {bird:>9.1} {unit:<3}  {}",
            line.what,
            goal(line),
            line.median(),
            verdict(line)
        );
        let _ = writeln!(text, "{}", row.trim_end());
    }
    let _ = writeln!(text, "\n{:<44} {:>7} {:>7} {:>7} {:>7}", "PETIOLE", head.1, head.2, head.3, head.4);
    for line in &figures(outcome) {
        let [from, to] = spread(line);
        let row = format!(
            "{:<44} {:>7} {:>7.2} {from:>7.2} {to:>7.2} {:<3}  {}",
            line.what,
            goal(line),
            line.median(),
            line.unit,
            verdict(line)
        );
        let _ = writeln!(text, "{}", row.trim_end());
    }
    text
}

pub(crate) fn document(machine: &str, outcome: &Outcome) -> Value {
    let lines = |lines: Vec<Line>| -> Vec<Value> {
        lines
            .iter()
            .map(|line| {
                json!({
                    "what": line.what,
                    "unit": line.unit,
                    "target": goal(line),
                    "median": line.median(),
                    "passed": line.passed(),
                    "values": line.values,
                    "petiole": line.of.map(|of| of[0]),
                    "bird": line.of.map(|of| of[1]),
                })
            })
            .collect()
    };
    json!({
        "bench": "rib",
        "machine": machine,
        "method": METHOD,
        "prefixes": PREFIXES,
        "ratios": lines(ratios(outcome)),
        "figures": lines(figures(outcome)),
        "rounds": outcome,
    })
}
